"""python -m benchmarks.engine: the HCC-like workload, memory, start-up and compile time of the engine.

Speeds of the reference workload beside other programs: python -m benchmarks.competitors. Everything is measured in one run;
each figure is the best of several.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmarks import hcc_like
from benchmarks.competitors import simhcc_engine
from simhcc.simulation import histories, simulate

FIRST_CALL = "from benchmarks.competitors.simhcc_engine import outcomes; outcomes(1000, 1, 1)"
MEMORY = (
    "import resource; from benchmarks.competitors.simhcc_engine import outcomes; outcomes(1000, 10000, 1); "
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
)


def speed(patients: int, draws: int, threads: int, repeats: int) -> float:
    """Patient-strategies per second of the HCC-like workload."""
    question = hcc_like.evaluation()
    cohort = hcc_like.cohort(patients)
    values = {"none": np.zeros(draws)}
    best = np.inf
    for _ in range(repeats):
        started = time.perf_counter()
        simulate(question, values, cohort, patients=patients, threads=threads)
        best = min(best, time.perf_counter() - started)
    return len(question.strategies) * patients * draws / best


def node_visits() -> dict[str, float]:
    """Visits written and marks made in a life of the HCC-like workload."""
    kept = histories(
        hcc_like.evaluation(), {"none": np.zeros(1)}, hcc_like.cohort(2000), strategy="sessions", patients=2000
    )
    return {"visits a life": len(kept.visits) / 2000, "marks a life": len(kept.marks) / 2000}


def timed(code: str, **environment: str) -> tuple[float, str]:
    """Seconds and standard output of a fresh process."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env={**os.environ, **environment}
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
    report: dict[str, float] = dict(node_visits())
    for patients, draws in ((1_000, 200), (10_000, 20)):
        for threads in (1, 2):
            report[f"million/s, {patients:,} x {draws}, {threads} threads"] = (
                speed(patients, draws, threads, options.repeats) / 1e6
            )
    report["seconds, import and first cached call"] = min(timed(FIRST_CALL)[0] for _ in range(3))
    if sys.platform != "win32":
        # ru_maxrss is in kilobytes on Linux and in bytes on macOS.
        unit = 1e6 if sys.platform == "darwin" else 1e3
        report["MB, 1,000 patients x 10,000 draws"] = float(timed(MEMORY)[1]) / unit
    if options.cold:
        with tempfile.TemporaryDirectory() as empty:
            report["seconds, cold compile"] = timed(FIRST_CALL, NUMBA_CACHE_DIR=empty)[0]
    if options.json:
        print(json.dumps(report))
    else:
        for name, value in report.items():
            print(f"{name:<45}{value:10.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
