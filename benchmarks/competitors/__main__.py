"""python -m benchmarks.competitors: check every program against the exact answer, then print its speed."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
from scipy import stats

from benchmarks.reference_workload import OUTCOMES, REFERENCE, SIZES, Array, exact

# How often the whole check may cry wolf, and the runs it takes: draws give the standard error of the mean.
FALSE_ALARM = 1e-6
CHECK_PATIENTS, CHECK_DRAWS = 1_000, 400


class Program(NamedTuple):
    """One row of the benchmark: its name, how to run it for the check and how to run it on the clock."""

    name: str
    checked: Callable[[int, int, int], Array]
    timed: Callable[[int, int, int], Array]


def programs(threads: int | None) -> list[Program]:
    """The programs that are installed, slowest kind first; `threads` is for those that take it."""
    from benchmarks.competitors import numba_scalar, numpy_chunked, numpy_plain, simhcc_engine

    found = []
    if find_spec("heormodel"):
        from benchmarks.competitors import heormodel_continuous

        run = partial(heormodel_continuous.simulate, threads=threads)
        found.append(Program("heormodel", run, partial(run, life_years=False)))
    else:
        print("heormodel is not installed: pip install heormodel, or the extra `benchmark`", file=sys.stderr)
    found.append(Program("numpy, plain, one thread", numpy_plain.simulate, numpy_plain.simulate))
    # The last two are written by hand for this one model; simhcc runs any pathway and keeps survival curves as well.
    for name, module in (
        ("simhcc", simhcc_engine),
        ("numpy, chunked, by hand", numpy_chunked),
        ("numba, scalar, by hand", numba_scalar),
    ):
        found.append(
            Program(name, partial(module.simulate, threads=threads), partial(module.simulate, threads=threads))
        )
    return found


def deviations(per_draw: Array) -> dict[str, dict[str, float]]:
    """(mean - exact) / standard error for each strategy and outcome; the error comes from the spread between draws."""
    mean = per_draw.mean(axis=0)
    error = per_draw.std(axis=0, ddof=1) / np.sqrt(len(per_draw))
    answer = exact()
    return {
        strategy: {
            outcome: float((mean[row, column] - answer[strategy][outcome]) / error[row, column])
            for column, outcome in enumerate(OUTCOMES)
        }
        for row, strategy in enumerate(REFERENCE.hazard_ratios)
    }


def allowed_deviation(n_draws: int) -> float:
    """The standard errors within which all strategies and outcomes stay but once in a million checks (Bonferroni)."""
    comparisons = len(REFERENCE.hazard_ratios) * len(OUTCOMES)
    return float(stats.t.isf(FALSE_ALARM / comparisons / 2.0, n_draws - 1))


def seconds(run: Callable[[int, int, int], Array], patients: int, n_draws: int, repeats: int) -> float:
    """The shortest of `repeats` runs, after one that compiles and starts what has to be started."""
    run(min(patients, 1_000), min(n_draws, 8), 0)
    best = np.inf
    for seed in range(1, repeats + 1):
        started = time.perf_counter()
        run(patients, n_draws, seed)
        best = min(best, time.perf_counter() - started)
    return best


def main() -> int:
    """Print checks and speeds; exit code 1 where a program disagrees with the exact answer."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.competitors", description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the fastest counts (default 3)")
    parser.add_argument("--threads", type=int, help="threads or processes a program may use (default: one a processor)")
    parser.add_argument("--check-only", action="store_true", help="compare with the exact answer and stop")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    options = parser.parse_args()
    if options.repeats < 1 or (options.threads is not None and options.threads < 1):
        parser.error("--repeats and --threads start at 1")

    limit = allowed_deviation(CHECK_DRAWS)
    answer = exact()
    report: dict[str, dict[str, object]] = {}
    failed = []
    rows = programs(options.threads)
    if not options.json:
        print(
            f"Discounted life years, {CHECK_PATIENTS} patients x {CHECK_DRAWS} draws; in brackets the largest deviation"
        )
        print(f"of life years, QALYs and cost from the exact answer in standard errors (allowed: {limit:.1f})")
        print(f"  {'exact':<26}" + "".join(f"{name} {values['ly']:.5f}   " for name, values in answer.items()))
    for program in rows:
        per_draw = program.checked(CHECK_PATIENTS, CHECK_DRAWS, 20_261_101)
        away = deviations(per_draw)
        largest = np.max(np.abs([list(values.values()) for values in away.values()]))
        # NaN compares false with everything, so the passing side is the one that is asked for.
        passed = bool(largest <= limit)
        if not passed:
            failed.append(program.name)
        means = per_draw.mean(axis=0)[:, 0]
        report[program.name] = {"passed": passed, "deviations": away}
        if not options.json:
            shown = "".join(f"{s} {m:.5f}   " for s, m in zip(REFERENCE.hazard_ratios, means, strict=True))
            print(f"  {program.name:<26}{shown}({largest:.1f}){'' if passed else '  DISAGREES'}")
    if not options.check_only:
        if not options.json:
            sizes = "".join(f"{f'({key}) {n:,} x {k:,}':>24}" for key, (n, k) in SIZES.items())
            print(f"\nMillion patient-strategies per second, fastest of {options.repeats}; patients x draws")
            print(f"  {'':<26}{sizes}")
        for program in rows:
            speeds = {}
            for key, (patients, n_draws) in SIZES.items():
                lives = patients * n_draws * len(REFERENCE.hazard_ratios)
                speeds[key] = lives / seconds(program.timed, patients, n_draws, options.repeats)
            report[program.name]["patient_strategies_per_second"] = speeds
            if not options.json:
                print(f"  {program.name:<26}" + "".join(f"{speed / 1e6:>24.2f}" for speed in speeds.values()))
    if options.json:
        print(json.dumps({"exact": answer, "allowed_deviation": limit, "programs": report}, indent=1))
    for name in failed:
        print(f"{name} disagrees with the exact answer", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
