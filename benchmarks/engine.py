"""python -m benchmarks.engine: the HCC-like workload, memory, start-up and compile time of the engine.

Speeds of the reference workload beside other programs: python -m benchmarks.competitors. Everything is measured in one run;
each figure is the best of several.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmarks import hcc_like, show
from benchmarks.competitors import simhcc_engine
from simhcc.simulation import simulate

FIRST_CALL = "from benchmarks.competitors.simhcc_engine import outcomes; outcomes(1000, 1, 1)"
MEMORY = (
    "import resource; from benchmarks.competitors.simhcc_engine import outcomes; outcomes(1000, 10000, 1); "
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
)


NODE_VISITS = """
import sys, warnings
warnings.simplefilter("ignore")
import numpy as np
from benchmarks import hcc_like
from simhcc.engine import kernel
from simhcc.simulation import simulate
visited, follow = [], kernel._follow_edges
def counting(space, node, draw, count, *rest):
    visited.append(int(count))
    return follow(space, node, draw, count, *rest)
kernel._follow_edges = counting
question = hcc_like.evaluation(calm=sys.argv[1] == "calm")
simulate(question, {"none": np.zeros(1)}, hcc_like.cohort(400), patients=400, threads=1)
print(sum(visited) / 400 / len(question.strategies) + 1.0)
"""
"""counts, uncompiled, the nodes that lives visit; the node in which a life ends is the one added"""
PACES = ("lively", "calm")


def speed(patients: int, draws: int, threads: int, repeats: int, calm: bool) -> float:
    """Patient-strategies per second of the HCC-like workload."""
    question = hcc_like.evaluation(calm=calm)
    cohort = hcc_like.cohort(patients)
    values = {"none": np.zeros(draws)}
    best = np.inf
    for _ in range(repeats):
        started = time.perf_counter()
        simulate(question, values, cohort, patients=patients, threads=threads)
        best = min(best, time.perf_counter() - started)
    return len(question.strategies) * patients * draws / best


def timed(code: str, *arguments: str, **environment: str) -> tuple[float, str]:
    """Seconds and standard output of a fresh process."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    return time.perf_counter() - started, done.stdout


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cold", action="store_true", help="also measure a cold compile")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    simhcc_engine.outcomes(1000, 1, 1)
    report: dict[str, float] = {}
    for pace in PACES:
        report[f"{pace}: nodes visited in a life"] = float(timed(NODE_VISITS, pace, NUMBA_DISABLE_JIT="1")[1])
        for patients, draws in ((1_000, 200), (10_000, 20)):
            for threads in (1, 2):
                report[f"{pace}: million/s, {patients:,} x {draws}, {threads} threads"] = (
                    speed(patients, draws, threads, options.repeats, pace == "calm") / 1e6
                )
    report["seconds, import and first cached call"] = min(timed(FIRST_CALL)[0] for _ in range(3))
    if sys.platform != "win32":
        # ru_maxrss is in kilobytes on Linux and in bytes on macOS.
        unit = 1e6 if sys.platform == "darwin" else 1e3
        report["MB, 1,000 patients x 10,000 draws"] = float(timed(MEMORY)[1]) / unit
    if options.cold:
        with tempfile.TemporaryDirectory() as empty:
            report["seconds, cold compile"] = timed(FIRST_CALL, NUMBA_CACHE_DIR=empty)[0]
    show(report, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
