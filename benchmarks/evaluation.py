"""What the economic evaluation costs: new prices for a stored run, EVPPI of 30 parameters, and a whole probabilistic run.

    python benchmarks/evaluation.py [--results FOLDER]
    python benchmarks/evaluation.py --psa [--draws 1000] [--patients 10000] [--threads 2]

Without `--psa`: `simhcc reprice` as a process of its own, start of Python included, on a stored run of 1,000 draws (FOLDER, or
one of few patients made here), and EVPPI of 30 single parameters on 5,000 draws of six strategies. With it: `simhcc run` on
six strategies of the advanced scenario as a process of its own. Printed are wall time, CPU time and, for processes, the
largest memory held at any moment. On a machine that is busy with something else only CPU time means anything.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# As the command does: the threads of a linear-algebra library only wait for each other here.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from simhcc.economics import Psa, evppi  # noqa: E402

STRATEGIES = ("atezo_bev", "sorafenib", "lenvatinib", "sintilimab_bev", "camre_rivo", "stride")
SCENARIO = f"""\
id: six_strategies
label: {{en: "Advanced, six strategies"}}
extends: advanced
strategies: [{", ".join(STRATEGIES)}]
"""
NO_SUBGROUPS = "--no-subgroups"
PARAMETERS, DRAWS, WTP = 30, 5_000, 100_000.0


def process(place: Path, arguments: Sequence[str]) -> tuple[float, float, float]:
    """Run simhcc in a folder: wall seconds, CPU seconds, largest memory in MB (of the largest process so far)."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "simhcc", *arguments], cwd=place, env=environment, capture_output=True, text=True
    )
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, after.ru_maxrss / 1024.0


def scenario(place: Path) -> str:
    """Write the scenario of six strategies into a folder; returns its name."""
    (place / "scenarios").mkdir()
    (place / "scenarios" / "six_strategies.yaml").write_text(SCENARIO, encoding="utf-8")
    return "six_strategies"


def probabilistic(place: Path, draws: int, patients: int, threads: int) -> str:
    """A whole probabilistic run: simulation, tables, figures, workbook, exports."""
    arguments = ["run", scenario(place), "--iterations", str(draws), "--patients", str(patients), NO_SUBGROUPS]
    wall, cpu, memory = process(place, [*arguments, "--threads", str(threads), "--out", "psa"])
    size = f"{draws:,} draws x {patients:,} patients x {len(STRATEGIES)} strategies"
    return f"PSA, {size}, {threads} threads: {wall:.1f} s, {cpu:.1f} s of CPU, {memory:,.0f} MB at most"


def repricing(place: Path, results: Path | None, repeats: int) -> str:
    """New prices for a stored run, the best of several."""
    if results is None:
        process(
            place, ["run", scenario(place), "--iterations", "1000", "--patients", "64", NO_SUBGROUPS, "--out", "psa"]
        )
        results = place / "psa"
    found = [
        process(place, ["reprice", str(results.resolve()), "--set", "camrelizumab=1500", "--json"])
        for _ in range(repeats)
    ]
    wall, cpu, memory = min(found)
    peak = f", {memory:,.0f} MB at most" if results.parent != place else ""
    return f"new prices for {results.name}, a process of its own: {wall:.2f} s, {cpu:.2f} s of CPU{peak}"


def information(repeats: int) -> str:
    """EVPPI of 30 single parameters; the best of several."""
    rng = np.random.default_rng(1)
    inputs = pd.DataFrame(rng.normal(size=(DRAWS, PARAMETERS)), columns=[f"p{k}" for k in range(PARAMETERS)])
    weights = rng.normal(scale=0.02, size=(PARAMETERS, len(STRATEGIES)))
    x = inputs.to_numpy()
    effects = 1.5 + x @ weights + 0.1 * np.tanh(x @ weights)
    costs = 1.5e5 + 2e4 * (x @ rng.normal(scale=0.1, size=weights.shape)) + rng.normal(scale=1e3, size=effects.shape)
    names = list(STRATEGIES)
    psa = Psa(pd.DataFrame(costs, columns=names), pd.DataFrame(effects, columns=names))
    groups = {name: [name] for name in inputs}
    wall, cpu = min(timed(lambda: evppi(psa, inputs, groups, wtp=WTP)) for _ in range(repeats))
    size = f"{PARAMETERS} parameters, {DRAWS:,} draws, {len(STRATEGIES)} strategies"
    return f"EVPPI of {size}: {wall:.2f} s, {cpu:.2f} s of CPU"


def timed(call: Callable[[], Any]) -> tuple[float, float]:
    """Wall and CPU seconds of a call."""
    start, busy = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - start, time.process_time() - busy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--psa", action="store_true", help="a whole probabilistic run, and nothing else")
    parser.add_argument("--draws", type=int, default=1_000)
    parser.add_argument("--patients", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--results", type=Path, help="the folder of a probabilistic run, for new prices")
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if asked.psa:
            print(probabilistic(Path(scratch), asked.draws, asked.patients, asked.threads))
        else:
            print(information(asked.repeats), flush=True)
            print(repricing(Path(scratch), asked.results, asked.repeats))


if __name__ == "__main__":
    main()
