"""Time the analysis of 10,000 replicates of a 600-patient, two-arm trial, beside lifelines per replicate.

    python benchmarks/trial_statistics.py [--replicates 10000] [--patients 600] [--threads 2] [--lifelines 20]

Each replicate gets Kaplan-Meier medians with limits, landmarks with limits, restricted means, a stratified log-rank
test, a stratified Cox model and three hazard ratios by period; lifelines does the same without the limits of the
median and the restricted mean's variance. Compilation (once per installation) is timed apart.
"""

from __future__ import annotations

import argparse
import itertools
import time
import warnings

import numpy as np
from lifelines import CoxPHFitter, KaplanMeierFitter
from lifelines.statistics import logrank_test
from lifelines.utils import restricted_mean_survival_time
from pandas import DataFrame

from simhcc.trials.statistics import TrialAnalysis, analyse_replicates, apply_follow_up

LANDMARKS = (12.0, 24.0, 36.0)
EDGES = (0.0, 12.0, 24.0, 36.0)
TAU = 36.0

Trials = dict[str, np.ndarray]


def simulate(replicates: int, patients: int, seed: int = 1) -> Trials:
    """Exponential survival of median 20 months, hazard ratio 0.75, four strata, 24 months of accrual, 5 % drop-out."""
    rng = np.random.default_rng(seed)
    shape = (replicates, patients)
    arm = rng.permuted(np.tile(np.arange(patients) % 2, (replicates, 1)), axis=1)
    stratum = rng.integers(0, 4, shape)
    rate = np.log(2.0) / 20.0 * np.where(arm == 1, 0.75, 1.0) * 1.2**stratum
    seen = apply_follow_up(
        rng.exponential(1.0, shape) / rate, rng.uniform(0.0, 24.0, shape), 42.0, rng.exponential(400.0, shape)
    )
    return {"time": seen.time, "event": seen.event, "arm": arm, "stratum": stratum}


def ours(trials: Trials, threads: int) -> TrialAnalysis:
    return analyse_replicates(
        trials["time"],
        trials["event"],
        trials["arm"],
        stratum=trials["stratum"],
        landmarks=LANDMARKS,
        tau=TAU,
        period_edges=EDGES,
        threads=threads,
    )


def theirs(time_: np.ndarray, event: np.ndarray, arm: np.ndarray, stratum: np.ndarray) -> float:
    """The same analysis of one replicate with lifelines; returns its log hazard ratio."""
    for a in (0, 1):
        fit = KaplanMeierFitter().fit(time_[arm == a], event[arm == a])
        fit.predict(LANDMARKS)
        restricted_mean_survival_time(fit, t=TAU)
    logrank_test(time_[arm == 1], time_[arm == 0], event[arm == 1], event[arm == 0])
    frame = DataFrame({"time": time_, "event": event.astype(float), "arm": arm.astype(float), "stratum": stratum})
    log_hr = CoxPHFitter().fit(frame, "time", "event", strata=["stratum"]).params_["arm"]
    for start, stop in itertools.pairwise(EDGES):
        part = frame[frame["time"] > start].copy()
        part["event"] *= part["time"] <= stop
        part["time"] = np.minimum(part["time"], stop)
        CoxPHFitter().fit(part, "time", "event", strata=["stratum"])
    return float(log_hr)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the compiled trial statistics.")
    parser.add_argument("--replicates", type=int, default=10_000)
    parser.add_argument("--patients", type=int, default=600)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--lifelines", type=int, default=20, help="replicates analysed with lifelines")
    arguments = parser.parse_args()

    began = time.perf_counter()
    ours(simulate(2, 40), arguments.threads)
    print(f"first call (compiling or loading)     {time.perf_counter() - began:8.2f} s")
    trials = simulate(arguments.replicates, arguments.patients)
    for threads in sorted({1, arguments.threads}):
        runs = []
        for _ in range(3):
            began, cpu = time.perf_counter(), time.process_time()
            analysis = ours(trials, threads)
            runs.append((time.perf_counter() - began, time.process_time() - cpu))
        elapsed, cpu = min(runs)
        print(
            f"{arguments.replicates} replicates, {threads} thread(s), best of 3 {elapsed:8.2f} s ({cpu:.2f} s of CPU)"
        )
    each = cpu / arguments.replicates
    count = min(arguments.lifelines, arguments.replicates)
    began = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        log_hr = [theirs(*(trials[key][k] for key in ("time", "event", "arm", "stratum"))) for k in range(count)]
    slow = (time.process_time() - began) / count
    print(f"CPU for one replicate   {1e6 * each:8.0f} us")
    print(f"the same, lifelines     {1e6 * slow:8.0f} us (mean of {count}), ratio {slow / each:.0f}")
    worst = np.abs(np.array(log_hr) - analysis.log_hr[:count]).max()
    print(f"largest difference of log hazard ratios {worst:.1e} (lifelines stops its iteration at 1e-7)")


if __name__ == "__main__":
    main()
