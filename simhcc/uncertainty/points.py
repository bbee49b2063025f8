"""Many parameter vectors ("points") evaluated with the same patients and the same luck, in one job of the runner.

Results are kept by batch of patients. Leaving out one batch at a time gives the Monte-Carlo error of anything computed from
them: a swing, a root, a ratio, a sensitivity index (the delete-a-group jackknife; Wolter, Introduction to Variance
Estimation, 2007, chapter 4).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhcc.analysis import buffers, prepared_once, question_inputs
from simhcc.engine.compiled import compiling
from simhcc.errors import InputError
from simhcc.runner import Address, Job, ProgressCallback, run, split
from simhcc.simulation import COMPILING, Evaluation, Prepared
from simhcc.uncertainty.question import Question

Floats = NDArray[np.float64]

SHARD_PATIENT_STRATEGIES = 200_000
"""patient-strategies in a shard: about a second"""
SPAN_POINTS = 256
"""points whose numbers are put in place together"""
LUCK = 0
"""the luck of every point"""


@dataclass(frozen=True)
class Estimates:
    """Numbers with what they would be without each batch of patients in turn.

    `value` has any shape; `without` has one more axis in front, of batches.
    """

    value: Floats
    without: Floats

    @property
    def mcse(self) -> Floats:
        """Monte-Carlo standard error: sqrt((B - 1) / B x sum of squared deviations of the B numbers)."""
        batches = self.without.shape[0]
        deviations = self.without - self.without.mean(axis=0)
        error: Floats = np.sqrt((batches - 1) / batches * (deviations**2).sum(axis=0))
        return error

    def map(self, function: Callable[[Floats], Any]) -> Estimates:
        """Estimates of a function of these numbers."""
        return Estimates(
            np.asarray(function(self.value), dtype=np.float64),
            np.stack([np.asarray(function(part), dtype=np.float64) for part in self.without]),
        )

    def with_(self, other: Estimates, function: Callable[[Floats, Floats], Floats]) -> Estimates:
        """Estimates of a function of these numbers and others from the same patients."""
        parts = [function(a, b) for a, b in zip(self.without, other.without, strict=True)]
        return Estimates(function(self.value, other.value), np.stack(parts))

    def __getitem__(self, key: Any) -> Estimates:
        return Estimates(self.value[key], self.without[(slice(None), *(key if isinstance(key, tuple) else (key,)))])


@dataclass(frozen=True)
class Points:
    """Sums over patients at each point: axes (point, batch, strategy, column); medians (point, 1 + batches, strategy, endpoint).

    `medians` holds the median with all patients first, then without each batch.
    """

    strategies: tuple[str, ...]
    columns: tuple[str, ...]
    endpoints: tuple[str, ...]
    sums: Floats
    counts: Floats
    medians: Floats
    patients: int

    def __len__(self) -> int:
        return self.sums.shape[0]

    @property
    def batches(self) -> int:
        """Number of batches of patients."""
        return self.sums.shape[1]

    def mean(self, strategy: str, column: str) -> Estimates:
        """Mean per patient at every point."""
        s, c = self.strategies.index(strategy), self.columns.index(column)
        total, count = self.sums[:, :, s, c], self.counts[:, :, s, c]
        with np.errstate(all="ignore"):
            whole = total.sum(axis=1) / count.sum(axis=1)
            without = (total.sum(axis=1)[:, None] - total) / (count.sum(axis=1)[:, None] - count)
        return Estimates(whole, without.T)

    def median(self, strategy: str, endpoint: str) -> Estimates:
        """Median in months at every point; NaN where it is not reached."""
        found = self.medians[:, :, self.strategies.index(strategy), self.endpoints.index(endpoint)]
        return Estimates(found[:, 0], found[:, 1:].T)


def evaluate(
    question: Question,
    rows: Mapping[str, Floats],
    columns: Sequence[str],
    medians: Sequence[str] = (),
    *,
    name: str,
    folder: str | Path | None = None,
    resume: bool = False,
    threads: int | None = None,
    dask: str | None = None,
    progress: ProgressCallback | None = None,
) -> Points:
    """Outcomes at every row of parameter values; what `rows` does not name stays at its base value.

    `rows` maps a parameter to shape (n,), or (n, k) for a vector. `columns` are columns of `simulation.Outcomes`,
    `medians` endpoints whose median is wanted. Raises InputError for an unknown outcome, and what `runner.run` raises.
    """
    job = make_job(question, rows, columns, medians, name)
    with run(job, folder, resume=resume, threads=threads, dask=dask, progress=progress) as shards:
        parts = [shard.arrays for shard in shards]
    arrays = {key: np.concatenate([part[key] for part in parts]) for key in ("sums", "counts", "medians")}
    return Points(question.evaluation.ids, tuple(columns), tuple(medians), patients=question.patients, **arrays)


def make_job(
    question: Question, rows: Mapping[str, Floats], columns: Sequence[str], medians: Sequence[str], name: str
) -> Job:
    """The runner's job for `evaluate`."""
    lengths = {len(value) for value in rows.values()}
    if len(lengths) != 1:
        raise InputError(f"rows of {sorted(lengths)} values", "the same number for every parameter", "rows")
    for key in rows:
        if key not in question.values:
            raise InputError(f"no parameter called {key!r}", "a parameter of the scenario", "rows")
    (n,) = lengths
    evaluation = question.evaluation if medians else replace(question.evaluation, grid_step=None)
    each = max(SHARD_PATIENT_STRATEGIES // (len(evaluation.strategies) * question.patients), 1)
    shards: list[Address] = []
    for lo, hi in split(n, -(-n // SPAN_POINTS)):
        for i, j in split(hi - lo, -(-(hi - lo) // each)):
            shards.append({"span": (lo, hi), "points": (i, j)})
    inputs = {
        "seed": evaluation.seed,
        "patients": question.patients,
        "block": question.block,
        **question_inputs(evaluation),
        "base": dict(question.values),
        "rows": {key: np.asarray(value, dtype=np.float64) for key, value in rows.items()},
        "cohort": dict(question.cohort),
        "columns": tuple(columns),
        "medians": tuple(medians),
    }
    return Job(name, "simhcc.uncertainty.points:shard", inputs, shards)


def shard(inputs: Mapping[str, Any], address: Address) -> dict[str, NDArray[Any]]:
    """Evaluate a range of points of a span, batch by batch."""
    prepared = _prepared(inputs, *address["span"])
    first, last = address["points"]
    blocks, strategies = prepared.blocks, len(prepared.evaluation.strategies)
    at = [prepared.column_names.index(name) for name in inputs["columns"]]
    endpoints = [prepared.reward_names.endpoints.index(name) for name in inputs["medians"]]
    sums = np.zeros((last - first, blocks, strategies, len(at)))
    counts = np.zeros_like(sums)
    medians = np.zeros((last - first, 1 + blocks, strategies, len(endpoints)))
    with compiling(COMPILING), np.errstate(all="ignore"):
        work = buffers(prepared)
        for point in range(first, last):
            reached = []
            for batch in range(blocks):
                _, found = prepared.run_range(point * blocks + batch, point * blocks + batch + 1, work)
                totals = found.columns.sum(axis=0)
                counts[point - first, batch] = totals[:, at, 0]
                sums[point - first, batch] = totals[:, at, 1]
                if endpoints:
                    reached.append(found.endpoint_counts[0][:, endpoints].astype(np.int64))
            if endpoints:
                by_batch = np.stack(reached)
                whole = by_batch.sum(axis=0)
                step = float(prepared.evaluation.grid_step or 1.0)
                sets = [whole, *(whole - part for part in by_batch)]
                medians[point - first] = np.stack([_median(part, step) for part in sets])
    return {"sums": sums, "counts": counts, "medians": medians}


def _median(counts: NDArray[np.int64], step: float) -> Floats:
    """Median in months from counts of events by grid interval, (strategies, endpoints, grid + 2); the last is who counted."""
    with np.errstate(all="ignore"):
        curve = 1.0 - np.cumsum(counts[..., :-1], axis=-1) / counts[..., -1:]
    below = curve <= 0.5
    place = below.argmax(axis=-1)
    before = np.maximum(place - 1, 0)
    high = np.take_along_axis(curve, before[..., None], -1)[..., 0]
    low = np.take_along_axis(curve, place[..., None], -1)[..., 0]
    with np.errstate(all="ignore"):
        share = np.where(high > low, (high - 0.5) / (high - low), 0.0)
    return np.where(below.any(axis=-1), step * (before + share * (place - before)), np.nan)


def _prepared(inputs: Mapping[str, Any], lo: int, hi: int) -> Prepared:
    """A span of points ready to run."""

    def prepare(evaluation: Evaluation) -> Prepared:
        n = hi - lo
        values = {name: np.broadcast_to(value, (n, *value.shape[1:])) for name, value in inputs["base"].items()}
        values |= {name: value[lo:hi] for name, value in inputs["rows"].items()}
        return Prepared(evaluation, values, inputs["cohort"], inputs["patients"], LUCK, block=inputs["block"])

    return prepared_once(inputs, (lo, hi), prepare, ("base", "rows"), inputs["block"])
