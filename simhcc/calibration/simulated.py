"""Virtual trials of many parameter vectors, as one job for the runner: what the model says each figure should be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhcc.calibration.sampling import SHARES, logit, on_scale, repeated
from simhcc.calibration.specification import LATER_LINE, Module, fitted_rows
from simhcc.inputs import ParameterSet
from simhcc.inputs.trials import Trial, load_trial
from simhcc.runner import Address, Job, ProgressCallback, Results, run, split
from simhcc.trials.expected import expected
from simhcc.trials.pools import simulate_trial
from simhcc.trials.rows import Row, rows_of

Floats = NDArray[np.float64]

VECTORS_IN_SHARD = 20
POOL = 8192
"""patients from whom the repetitions of a trial are drawn"""


@dataclass(frozen=True)
class Figures:
    """The figures of one trial in a fit.

    `rows` are the published figures, `positions` their places among all of the trial's; `later` the arms whose published
    share with a later line is fitted as well, after the rows.
    """

    trial: Trial
    rows: tuple[Row, ...]
    positions: tuple[int, ...]
    later: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the figures, for tables."""
        return (*(row.name for row in self.rows), *(LATER_LINE.format(arm) for arm in self.later))

    @property
    def observed(self) -> Floats:
        """Published values on their scales."""
        own = [float(on_scale(row, np.array(row.published))) for row in self.rows]
        shares = [self.trial.arm(arm).subsequent.any for arm in self.later]  # type: ignore[union-attr]
        return np.array([*own, *(float(logit(np.array(share))) for share in shares)])

    @property
    def sds(self) -> list[float | None]:
        """Published standard deviations on the scales; None where they have to come from repetitions."""
        return [*(_published_sd(self.trial, row) for row in self.rows), *(None for _ in self.later)]

    @property
    def weights(self) -> Floats:
        """1, or one half for recalled figures."""
        half = [row.confirmed for row in self.rows]
        later = [self.trial.arm(arm).subsequent.confirmed for arm in self.later]  # type: ignore[union-attr]
        return np.where([*half, *later], 1.0, 0.5)

    def natural(self, values: Floats) -> Floats:
        """Values (..., figures) from their scales back to months, shares and ratios."""
        shares = np.array([*(row.statistic in SHARES for row in self.rows), *(True for _ in self.later)])
        back: Floats = np.where(shares, 1.0 / (1.0 + np.exp(-values)), np.exp(values))
        return back


def _published_sd(trial: Trial, row: Row) -> float | None:
    """A median's interval is used; the interval of a landmark or response too. Recalled intervals are not."""
    kind = trial.content.targets if row.kind == "target" else trial.content.contrasts
    return row.published_sd if kind[row.position].ci95_confirmed else None


def figures_of(module: Module, trial: Trial) -> Figures:
    """What a module fits of a trial."""
    chosen = fitted_rows(module, trial)
    later: tuple[str, ...] = ()
    if module.entry(trial.id).later_lines == "fit":
        later = tuple(a.id for a in trial.content.arms if a.subsequent is not None and a.subsequent.any is not None)
    return Figures(trial, tuple(row for _, row in chosen), tuple(k for k, _ in chosen), later)


def all_figures(trial: Trial) -> Figures:
    """All figures of a trial that the model predicts."""
    chosen = [(k, row) for k, row in enumerate(rows_of(trial)) if row.missing is None and np.isfinite(row.published)]
    return Figures(trial, tuple(row for _, row in chosen), tuple(k for k, _ in chosen), ())


def in_module(trial: Trial, effects: Sequence[str]) -> Trial:
    """The trial as a fit simulates it: where early recurrence has a random effect, its file's own level would be another."""
    if "early" not in effects or trial.content.level is None:
        return trial
    return replace(trial, content=trial.content.model_copy(update={"level": None}))


def evaluate(
    trials: Sequence[Figures],
    base: Mapping[str, Any],
    values: Mapping[str, Floats],
    effects: Mapping[str, Mapping[str, Floats]],
    *,
    random_effects: Sequence[str],
    patients: int,
    seed: int,
    name: str,
    folder: Path | None = None,
    resume: bool = False,
    threads: int | None = None,
    dask: str | None = None,
    progress: ProgressCallback | None = None,
) -> dict[str, Floats]:
    """Expected figures by trial, (vectors, figures) on their scales, for many parameter vectors with the same luck.

    `base` holds all numbers, `values` those that differ between vectors, (vectors,) each; `effects` by trial the log
    hazard ratios of its random effects, (vectors,) each. A median that no trial would reach is NaN.
    """
    count = len(next(iter(values.values())))
    inputs = {
        "seed": seed,
        "patients": patients,
        "base": {key: np.asarray(value, np.float64) for key, value in base.items()},
        "values": dict(values),
        "effects": {one.trial.id: dict(effects[one.trial.id]) for one in trials},
        "random_effects": list(random_effects),
        "trials": {one.trial.id: as_input(one) for one in trials},
    }
    job = Job(name, "simhcc.calibration.simulated:shard", inputs, shards_of(trials, count, VECTORS_IN_SHARD, "vectors"))
    with run(job, folder, resume=resume, threads=threads, dask=dask, progress=progress) as results:
        return gathered(results, trials, count, "vectors")


def shards_of(trials: Sequence[Figures], count: int, at_once: int, rows: str) -> list[Address]:
    """One shard for each trial and range of `at_once` rows; `rows` is what a row is called (vectors, truths)."""
    return [{"trial": one.trial.id, rows: part} for part in split(count, -(-count // at_once)) for one in trials]


def gathered(results: Results, trials: Sequence[Figures], count: int, rows: str) -> dict[str, Floats]:
    """The figures of all shards by trial, (`count` rows, figures)."""
    found = {one.trial.id: np.empty((count, len(one.names))) for one in trials}
    for done in results:
        lo, hi = done.address[rows]
        found[done.address["trial"]][lo:hi] = done.arrays["figures"]
    return found


def shard(inputs: Mapping[str, Any], address: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Expected figures of one trial for a range of parameter vectors."""
    given = inputs["trials"][address["trial"]]
    lo, hi = address["vectors"]
    trial = in_module(read_trial(given), inputs["random_effects"])
    values = vectors(inputs["base"], inputs["values"], lo, hi)
    effects = {key: value[lo:hi] for key, value in inputs["effects"][address["trial"]].items()}
    pool = simulate_trial(
        trial, values, patients=inputs["patients"], seed=inputs["seed"], luck=0, effects=effects, threads=1
    )
    told = expected(pool)
    rows = [on_scale(told.rows[k], told.values[k]) for k in given["positions"]]
    rows += [logit(told.next_line[arm]) for arm in given["later"]]
    return {"figures": np.stack(rows, axis=1)}


def as_input(one: Figures) -> dict[str, Any]:
    """A trial and its figures as plain data for a job."""
    return {
        "path": str(one.trial.document.path),
        "sha256": one.trial.document.sha256,
        "user_dir": str(one.trial.user_dir) if one.trial.user_dir is not None else "",
        "positions": list(one.positions),
        "later": list(one.later),
    }


def read_trial(given: Mapping[str, Any]) -> Trial:
    """The trial of `as_input`."""
    return _trial(given["path"], given["user_dir"], given["sha256"])


def vectors(base: Mapping[str, Floats], values: Mapping[str, Floats], lo: int, hi: int) -> dict[str, Floats]:
    """All numbers of the parameter vectors `lo` to `hi`: those that differ between vectors, and those that stand."""
    return {
        key: values[key][lo:hi] if key in values else np.broadcast_to(value, (hi - lo, *np.shape(value)))
        for key, value in base.items()
    }


@lru_cache(maxsize=64)
def _trial(path: str, user_dir: str, sha256: str) -> Trial:
    return load_trial(path, user_dir or None)


def repetitions(
    one: Figures,
    numbers: Mapping[str, Any] | ParameterSet,
    random_effects: Sequence[str],
    replicates: int,
    seed: int,
    effects: Mapping[str, float] | None = None,
) -> Floats:
    """Figures of virtual repetitions of a trial at one parameter vector, (replicates, figures)."""
    pool = simulate_trial(
        in_module(one.trial, random_effects), numbers, patients=POOL, seed=seed, luck=0, effects=dict(effects or {})
    )
    return repeated(pool, one.positions, one.later, replicates, seed)
