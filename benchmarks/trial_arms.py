"""Published against simulated: the arms of the reference trials, each in its own population.

    python -m benchmarks.trial_arms [TRIAL ...] [--patients N] [--without-held-out] [--fitted]

The expected statistic of the model under the trial's own scans, caps, accrual and follow-up (`simhcc.trials`), without sampling
error and without a trial effect, with the numbers as they stand before the calibration (`--fitted`: at the centre of the stored
posterior). Misses are printed, not hidden. `--without-held-out` leaves out the figures that are to be
predicted, such as the overall survival of TACE combinations: nothing may be set by looking at them.
"""

from __future__ import annotations

import argparse

import pandas as pd

from simhcc.inputs import load_parameters
from simhcc.trials import expected, load_trial, simulate_trial

TRIALS = (
    "cares-009", "imbrave050", "keynote-937", "storm", "emerald-1", "leap-012", "emerald-3", "talentace", "cares-005",
    "haic-vs-tace", "imbrave150", "himalaya", "leap-002", "checkmate-9dw", "cares-310", "orient-32", "reflect",
)  # fmt: skip


def table(trial: str, patients: int, held_out: bool = True, fitted: bool = False) -> pd.DataFrame:
    """One row per published figure of an arm or contrast: published, simulated, difference, and how the figure is used."""
    numbers = load_parameters() if fitted else load_parameters(posteriors=())
    result = expected(simulate_trial(load_trial(trial), numbers, patients=patients, seed=1))
    rows = []
    for row, value in zip(result.rows, result.values[:, 0], strict=True):
        if row.missing is None and (held_out or row.use != "hold_out"):
            months = row.statistic == "median"
            rows.append(
                {
                    "trial": trial,
                    "arm": row.arm if row.reference is None else f"{row.arm} : {row.reference}",
                    "endpoint": row.endpoint + (f", {row.subgroup}" if row.subgroup else ""),
                    "statistic": row.statistic + ("" if row.time_months is None else f" {row.time_months:g}"),
                    "published": row.published,
                    "simulated": round(float(value), 1 if months else 3),
                    "difference": round(float(value) - row.published, 1 if months else 3),
                    "use": row.use,
                    "confirmed": row.confirmed,
                }
            )
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trials", nargs="*", default=list(TRIALS))
    parser.add_argument("--patients", type=int, default=20_000)
    parser.add_argument("--without-held-out", action="store_true")
    parser.add_argument("--fitted", action="store_true")
    given = parser.parse_args()
    for trial in given.trials:
        print(
            table(trial, given.patients, not given.without_held_out, given.fitted).to_string(index=False),
            end="\n\n",
            flush=True,
        )


if __name__ == "__main__":
    main()
