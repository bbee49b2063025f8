"""python -m benchmarks.pathway: speed of the whole disease model, all outcomes included.

Patient-strategies per second of the shipped scenarios in the base case, as `simhcc run` computes them, on one thread and
on two: reading, building and compiling are left out. Each figure is the best of several.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace

import numpy as np

from benchmarks import show
from simhcc.assembly import assemble
from simhcc.inputs import load_scenario
from simhcc.simulation import Prepared

SCENARIOS = ("resectable", "intermediate", "advanced")


def seconds(scenario: str, patients: int, threads: int, repeats: int) -> tuple[int, float]:
    """Strategies, and the shortest time that the patients take when the model has been built."""
    loaded = replace(load_scenario(scenario), patients=patients)
    question, values, cohort = assemble(loaded, loaded.load_parameters())
    built = Prepared(question, values, cohort, patients)
    best = np.inf
    for _ in range(repeats):
        started = time.perf_counter()
        built.execute(threads, None)
        best = min(best, time.perf_counter() - started)
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
            speed = strategies * options.patients / time_taken / 1e6
            report[f"{scenario}, {strategies} strategies, {threads} threads, million/s"] = speed
    show(report, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
