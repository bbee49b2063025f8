"""python -m benchmarks.scale: how time and memory grow with draws and patients, as a table and a figure.

Every point is a fresh process that runs the reference workload through the public API: draws at 1,000 patients each, and
patients at one draw. Writes scale.csv and scale.png beside this file.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd

FOLDER = Path(__file__).parent
POINT = """
import resource, sys, time
from benchmarks.competitors.simhcc_engine import outcomes
patients, draws = int(sys.argv[1]), int(sys.argv[2])
outcomes(1000, 1, 1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.perf_counter()
outcomes(patients, draws, 1)
print(time.perf_counter() - started, before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def point(patients: int, draws: int) -> dict[str, float]:
    """Seconds and memory of one run; memory in MB, before the run and at its highest."""
    done = subprocess.run(
        [sys.executable, "-c", POINT, str(patients), str(draws)], check=True, capture_output=True, text=True
    )
    seconds, before, after = (float(word) for word in done.stdout.split())
    unit = 1e6 if sys.platform == "darwin" else 1e3
    work = 2 * patients * draws
    return {
        "patients": patients,
        "draws": draws,
        "patient_strategies": work,
        "seconds": seconds,
        "million_per_second": work / seconds / 1e6,
        "mb_before": before / unit,
        "mb_highest": after / unit,
    }


def main() -> int:
    """Measure, write and print."""
    draws = [(1_000, 10**k) for k in range(2, 6)]
    patients = [(10**k, 1) for k in range(3, 7)]
    table = pd.DataFrame([point(*size) for size in (*draws, *patients)])
    table.to_csv(FOLDER / "scale.csv", index=False, float_format="%.4g")
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for rows, label, colour in (
        (table.iloc[: len(draws)], "draws of 1,000 patients", "#0072B2"),
        (table.iloc[len(draws) :], "patients in one draw", "#D55E00"),
    ):
        axes[0].loglog(rows["patient_strategies"], rows["seconds"], "o-", label=label, color=colour)
        axes[1].semilogx(rows["patient_strategies"], rows["mb_highest"], "o-", label=label, color=colour)
    axes[0].set(xlabel="patient-strategies", ylabel="seconds", title="Time")
    axes[1].set(xlabel="patient-strategies", ylabel="MB", title="Highest memory", ylim=(0, None))
    axes[0].legend(frameon=False)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(FOLDER / "scale.png", dpi=150)
    print(table.to_string(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
