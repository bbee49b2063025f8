"""python -m benchmarks.pathway: speed of the whole disease model, all outcomes included.

Patient-strategies per second of the shipped scenarios in the base case, as `simhcc run` computes them, on one thread and
on two: reading, building and compiling are left out. Each figure is the best of several.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import numpy as np

from simhcc.assembly import assemble
from simhcc.inputs import load_scenario
from simhcc.simulation import simulate

SCENARIOS = ("resectable", "intermediate", "advanced")


def seconds(scenario: str, patients: int, threads: int, repeats: int) -> tuple[int, float]:
    """Strategies, and the shortest time that one more set of patients takes."""
    loaded = load_scenario(scenario)
    question, values, cohort = assemble(loaded, loaded.load_parameters())
    best = np.inf
    for _ in range(repeats):
        times = []
        # Building is paid once for any number of patients, so it cancels in the difference.
        for count in (patients // 4, patients):
            started = time.perf_counter()
            simulate(question, values, cohort, patients=count, threads=threads)
            times.append(time.perf_counter() - started)
        best = min(best, times[1] - times[0])
    return len(question.strategies), best


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pathway", description=__doc__)
    parser.add_argument("--patients", type=int, default=40_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report = {}
    for scenario in SCENARIOS:
        for threads in (1, 2):
            strategies, time_taken = seconds(scenario, options.patients, threads, options.repeats)
            speed = strategies * (options.patients - options.patients // 4) / time_taken / 1e6
            report[f"{scenario}, {strategies} strategies, {threads} threads, million/s"] = speed
    if options.json:
        print(json.dumps(report))
    else:
        for name, value in report.items():
            print(f"{name:<55}{value:8.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
