"""Many simulations as one job: draws x patients cut into shards for the runner, and put together again in order.

Every analysis that simulates more than a moment goes through `simulated`. A shard is a pure function of its address and
inputs, so threads, a Dask cluster and an interrupted run give the same bits. Shards depend on the sizes of the work and
never on the machine.
"""

from __future__ import annotations

import io
import pickle
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhcc import outcomes as outcomes_
from simhcc.engine.compiled import compiling
from simhcc.errors import ModelError
from simhcc.expressions import Expression
from simhcc.model import Values, draws_of, names_of
from simhcc.runner import Address, Job, ProgressCallback, run, split
from simhcc.simulation import COMPILING, CohortLike, Evaluation, Outcomes, Prepared, block_of

Floats = NDArray[np.float64]

SHARD_PATIENT_STRATEGIES = 200_000
"""patient-strategies in a shard: about a second, so that Ctrl-C, progress and a lost worker cost little"""
BASE_CASE_PATIENT_STRATEGIES = 40_000
"""the same where there is one draw: small, so that all cores have something to do"""
SPAN_DRAWS = 1024
"""draws whose numbers are put in place together: that takes a second for few or many, and some 20 kB for each draw"""
KEPT_PREPARED = 2
SUMMED = ("columns", "pairs", "crosses", "quantities", "mark_counts")
"""arrays of a shard that are sums over patients, by leaf in a base case and by draw otherwise"""
ADDED = ("occupancy", "endpoint_counts", "curve_sums", "curve_squares")
"""arrays of a shard that are added up over all of them"""


@dataclass(frozen=True)
class Result:
    """What a job of simulations gives.

    `outcomes` holds sums for every draw; its `endpoint_counts` are added up over the draws (first axis of length 1), so
    that memory stays small: `curves` reads the survival curves off them. `medians` and `median_mcse` are months with axes
    (draw, strategy, endpoint), NaN where the median is not reached.
    """

    outcomes: Outcomes
    medians: Floats
    median_mcse: Floats
    curve_sd: Floats
    """(strategies, endpoints, grid times): standard deviation over the draws of the share free of an endpoint"""

    @property
    def iterations(self) -> int:
        """Number of draws of the parameters."""
        return self.outcomes.draws

    @property
    def patients(self) -> int:
        """Patients in each draw."""
        return self.outcomes.patients

    def curves(self, endpoint: str) -> Floats:
        """Share free of an endpoint over all draws together: (strategies, grid times)."""
        return self.outcomes.survival(endpoint)[0]

    def at_risk(self, endpoint: str) -> NDArray[np.int64]:
        """Patients counted for an endpoint, over all draws together, by strategy."""
        counts: NDArray[np.int64] = self.outcomes.endpoint_counts[0, :, self.outcomes.endpoints.index(endpoint), -1]
        return counts

    def curve_mcse(self, endpoint: str) -> Floats:
        """Monte-Carlo standard error of `curves`: binomial for one draw, from the spread of the draws for several."""
        if self.iterations > 1:
            return self.curve_sd[:, self.outcomes.endpoints.index(endpoint)] / np.sqrt(self.iterations)
        curves = self.curves(endpoint)
        with np.errstate(all="ignore"):
            error: Floats = np.sqrt(np.maximum(curves * (1.0 - curves), 0.0) / self.at_risk(endpoint)[:, None])
        return error


def simulated(
    evaluation: Evaluation,
    values: Values,
    cohort: CohortLike | None = None,
    *,
    patients: int,
    name: str = "run",
    folder: str | Path | None = None,
    resume: bool = False,
    threads: int | None = None,
    dask: str | None = None,
    progress: ProgressCallback | None = None,
) -> Result:
    """Run all strategies for every draw of `values` and return the joined result.

    With one draw (a base case) the patients are cut into shards; with several, the draws. Draw k has luck k. A cohort
    of more than `patients` columns gives each draw the next ones in turn, beginning again when too few are left.
    `folder`, `resume`, `threads`, `dask` and `progress` are those of `simhcc.runner.run`.

    Raises what `simhcc.simulation.simulate` and `simhcc.runner.run` raise.
    """
    job = make_job(evaluation, values, cohort, patients=patients, name=name)
    with run(job, folder, resume=resume, threads=threads, dask=dask, progress=progress) as shards:
        return _joined(evaluation, (shard.arrays for shard in shards), patients, draws_of(values))


def make_job(
    evaluation: Evaluation, values: Values, cohort: CohortLike | None, *, patients: int, name: str = "run"
) -> Job:
    """The runner's job for `simulated`. Raises ModelError for a cohort that is too small."""
    columns = {key: np.asarray(column, dtype=np.float64) for key, column in (cohort or {}).items()}
    available = min((len(column) for column in columns.values()), default=0)
    draws = draws_of(values)
    if columns and available < patients:
        raise ModelError(f"the cohort has {available} patients, fewer than the {patients} asked for")
    inputs = {
        "seed": evaluation.seed,
        "patients": patients,
        "iterations": draws,
        **question_inputs(evaluation),
        "values": {key: np.asarray(value, dtype=np.float64) for key, value in values.items()},
        "cohort": columns,
    }
    block = block_of(evaluation.pathway, patients)
    blocks = -(-patients // block)
    size = SHARD_PATIENT_STRATEGIES if draws > 1 else BASE_CASE_PATIENT_STRATEGIES
    most = max(size // (len(evaluation.strategies) * block), 1)
    shards: list[Address] = []
    if draws == 1:
        shards += [_address((0, 1), 0, piece) for piece in split(blocks, -(-blocks // most))]
    else:
        windows = max(available // patients, 1)
        # A span of draws stays inside one pass over the cohort, so that its patients follow one another.
        passes = [(lo, min(lo + windows, draws)) for lo in range(0, draws, windows)] if windows > 1 else [(0, draws)]
        for begin, end in passes:
            for lo, hi in split(end - begin, -(-(end - begin) // SPAN_DRAWS)):
                first = (begin + lo) % windows * patients
                whole = max(most // blocks, 1)
                for i, j in split(hi - lo, -(-(hi - lo) // whole)):
                    shards.append(_address((begin + lo, begin + hi), first, (i * blocks, j * blocks)))
    return Job(name, "simhcc.analysis:shard", inputs, shards)


def _address(span: tuple[int, int], first_patient: int, items: tuple[int, int]) -> Address:
    return {"draws": span, "first_patient": first_patient, "items": items}


def shard(inputs: Mapping[str, Any], address: Address) -> dict[str, NDArray[Any]]:
    """Simulate one shard: a range of work items (draw, block of patients) of a span of draws.

    Sums of a base case are left by leaf of 1,024 patients, so that adding them later is what one simulation does; those of
    several draws, of which a shard holds whole ones, are added up.
    """
    prepared, before = _prepared(inputs, address["draws"], address["first_patient"])
    work = buffers(prepared)
    first, last = (before * prepared.blocks + item for item in address["items"])
    with compiling(COMPILING), np.errstate(all="ignore"):
        draw_of, sums = prepared.run_range(first, last, work)
    arrays: dict[str, NDArray[Any]] = {name: getattr(sums, name) for name in SUMMED}
    if inputs["iterations"] > 1:
        local = draw_of - first // prepared.blocks
        for name, leaves in arrays.items():
            arrays[name] = np.zeros((int(local[-1]) + 1, *leaves.shape[1:]))
            np.add.at(arrays[name], local, leaves)
    arrays["occupancy"] = sums.occupancy
    arrays["endpoint_counts"] = sums.endpoint_counts.sum(axis=0, keepdims=True)
    if inputs["iterations"] == 1:
        return arrays
    draws = sums.endpoint_counts.shape[0]
    found = _outcomes(
        prepared.evaluation, inputs["patients"], draws, arrays | {"endpoint_counts": sums.endpoint_counts}
    )
    medians, errors = _medians(found)
    curves = _curves(found)
    arrays |= {"curve_sums": curves.sum(axis=0, keepdims=True), "curve_squares": (curves**2).sum(axis=0, keepdims=True)}
    return arrays | {"medians": medians, "median_mcse": errors}


_own = threading.local()


def buffers(prepared: Prepared) -> outcomes_.Work:
    """The buffers of this thread, which it keeps for the shards that follow: fresh ones cost a hundredth of a shard."""
    if getattr(_own, "prepared", None) is not prepared:
        _own.work = outcomes_.allocate(prepared.models, prepared.rewards, prepared.plan, prepared.block)
        _own.prepared = prepared
    work: outcomes_.Work = _own.work
    return work


def _prepared(inputs: Mapping[str, Any], span: tuple[int, int], first_patient: int) -> tuple[Prepared, int]:
    """A run that has a span of draws, and how many draws come before it there.

    Where few draws pass over the whole cohort, several passes are prepared together.
    """
    lo, hi = span
    patients = inputs["patients"]
    windows = max(min((len(column) for column in inputs["cohort"].values()), default=0) // patients, 1)
    together = SPAN_DRAWS // windows * windows
    if windows > 1 and together > windows:
        lo = lo // together * together
        hi = min(lo + together, inputs["iterations"])
    fresh = windows > 1 and hi - lo > 1
    until = first_patient + (min(hi - lo, windows) * patients if fresh else patients)

    def prepare(evaluation: Evaluation) -> Prepared:
        return Prepared(
            evaluation,
            {name: value[lo:hi] for name, value in inputs["values"].items()},
            {name: column[first_patient:until] for name, column in inputs["cohort"].items()},
            patients,
            np.arange(lo, hi),
            first_patient,
            fresh,
        )

    # Where draws have patients of their own, other patients are not just another cohort.
    numbers = ("values",) if inputs["iterations"] == 1 else ()
    return prepared_once(inputs, (lo, hi), prepare, numbers), span[0] - lo


def question_inputs(evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation as entries of a job's inputs, its horizon apart, for `prepared_once`."""
    return {"evaluation": packed(replace(evaluation, horizon=sys.float_info.max)), "horizon": evaluation.horizon}


_kept: dict[tuple[int, int, int], tuple[Mapping[str, Any], Prepared]] = {}
_preparing = threading.Lock()


def prepared_once(
    inputs: Mapping[str, Any],
    span: tuple[int, int],
    prepare: Callable[[Evaluation], Prepared],
    numbers: Sequence[str] = (),
    block: int | None = None,
) -> Prepared:
    """`prepare(evaluation)` for a span of a job's draws, kept for the shards that follow.

    To build the models takes longer than many a simulation. A job that differs from one before in patients alone (a
    subgroup), or without curves in the horizon (a year of the budget), takes over what was built for that one.
    `numbers` are the entries of `inputs` that must be the same for it; without any nothing is taken over. All patients
    must begin with the first column of the cohort then.
    """
    key = (id(inputs), *span)
    with _preparing:
        if key in _kept:
            return _kept[key][1]
        evaluation = replace(unpacked(inputs["evaluation"]), horizon=inputs["horizon"])
        same = [
            built
            for (_, *other_span), (other, built) in _kept.items()
            if numbers and tuple(other_span) == span and _same_models(inputs, other, evaluation, numbers)
        ]
        if same:
            ready = same[-1].for_others(evaluation, inputs["cohort"], inputs["patients"], block)
        else:
            ready = prepare(evaluation)
        while len(_kept) >= KEPT_PREPARED:
            _kept.pop(next(iter(_kept)))
        # With the inputs, so that their id stays their own.
        _kept[key] = (inputs, ready)
        return ready


def _same_models(
    inputs: Mapping[str, Any], other: Mapping[str, Any], evaluation: Evaluation, numbers: Sequence[str]
) -> bool:
    """Whether what was built from the inputs `other` is what would be built from `inputs`."""
    return (
        inputs["evaluation"] == other["evaluation"]
        and (evaluation.grid_step is None or inputs["horizon"] == other["horizon"])
        and all(
            inputs[entry].keys() == other.get(entry, {}).keys()
            and all(np.array_equal(value, other[entry][name]) for name, value in inputs[entry].items())
            for entry in numbers
        )
        and inputs["cohort"].keys() == other["cohort"].keys()
    )


def _curves(found: Outcomes) -> Floats:
    """(draws, strategies, endpoints, grid times)"""
    if found.grid_step is None or not found.endpoints:
        return np.zeros((found.draws, len(found.strategies), 0, 0))
    return np.stack([found.survival(endpoint) for endpoint in found.endpoints], axis=2)


def _medians(found: Outcomes) -> tuple[Floats, Floats]:
    if found.grid_step is None or not found.endpoints:
        empty = np.zeros((found.draws, len(found.strategies), 0))
        return empty, empty
    medians = np.stack([found.median(endpoint) for endpoint in found.endpoints], axis=2)
    errors = np.stack([found.median_mcse(endpoint) for endpoint in found.endpoints], axis=2)
    return medians, errors


def _joined(evaluation: Evaluation, parts: Iterable[Mapping[str, NDArray[Any]]], patients: int, draws: int) -> Result:
    """One result from the shards' arrays, taken up one after another in their order.

    What is added up takes the same room for any number of shards; a few numbers of each draw are kept.
    """
    added: dict[str, NDArray[Any]] = {}
    kept: dict[str, list[NDArray[Any]]] = {}
    for part in parts:
        for name, array in part.items():
            if name in ADDED:
                added[name] = added[name] + array if name in added else array.copy()
            elif name == "mark_counts" or (name in SUMMED and draws == 1):
                # One leaf after another, as the engine adds them: NumPy's own sum goes another way.
                total = added.setdefault(name, np.zeros((1, *array.shape[1:])))
                np.add.at(total, np.zeros(len(array), dtype=np.int64), array)
            else:
                # A copy, for the array may be a view of the whole shard.
                kept.setdefault(name, []).append(array.copy())
    arrays = added | {name: np.concatenate(pieces) for name, pieces in kept.items()}
    outcomes = _outcomes(evaluation, patients, draws, arrays)
    if draws > 1:
        total, squares = arrays["curve_sums"][0], arrays["curve_squares"][0]
        sd = np.sqrt(np.maximum(squares - total * total / draws, 0.0) / (draws - 1))
        return Result(outcomes, arrays["medians"], arrays["median_mcse"], sd)
    return Result(outcomes, *_medians(outcomes), np.zeros_like(_curves(outcomes)[0]))


def _outcomes(evaluation: Evaluation, patients: int, draws: int, arrays: Mapping[str, NDArray[Any]]) -> Outcomes:
    names = names_of(evaluation.pathway, evaluation.strategies)
    return Outcomes(
        strategies=evaluation.ids,
        pairs=evaluation.pair_ids,
        columns=_columns(evaluation),
        patients=patients,
        draws=draws,
        horizon=float(evaluation.horizon),
        sums=arrays["columns"],
        pair_sums=arrays["pairs"][:, : len(evaluation.pair_ids)],
        cross_sums=arrays["crosses"],
        crosses=evaluation.crosses,
        quantities=arrays["quantities"][:, :, : len(evaluation.rewards)] / patients,
        terms=evaluation.rewards,
        endpoint_counts=arrays["endpoint_counts"],
        endpoints=tuple(endpoint.id for endpoint in evaluation.endpoints),
        occupancy=np.cumsum(arrays["occupancy"], axis=2)[:, :, :-1] / (patients * draws),
        states=names.states,
        mark_sums=arrays["mark_counts"].sum(axis=0),
        marks=names.marks,
        grid_step=evaluation.grid_step,
        names=names,
    )


def _columns(evaluation: Evaluation) -> tuple[str, ...]:
    """Names of what is summed, as `Outcomes.columns` has them."""
    names = [channel.id for channel in evaluation.channels]
    for endpoint in evaluation.endpoints:
        names += [f"{endpoint.id}_{months:g}m" for months in evaluation.landmarks]
        names += [f"{endpoint.id}_rmst_{months:g}" for months in evaluation.restrictions]
    return tuple(names)


class _Packer(pickle.Pickler):
    """Pickles an evaluation so that equal ones give equal bytes."""

    def reducer_override(self, obj: Any) -> Any:
        """Leave out what an expression remembers of itself."""
        if isinstance(obj, Expression):
            return Expression, (obj.operation, obj.operands, obj.payload)
        return NotImplemented


def packed(evaluation: Evaluation) -> bytes:
    """An evaluation as bytes; equal ones give equal bytes."""
    buffer = io.BytesIO()
    packer = _Packer(buffer, protocol=5)
    # Without the memo, so that which of two equal texts is the same object makes no difference.
    packer.fast = True
    packer.dump(evaluation)
    return buffer.getvalue()


@lru_cache(maxsize=8)
def unpacked(content: bytes) -> Evaluation:
    """The evaluation that `packed` made into bytes."""
    evaluation = pickle.loads(content)
    assert isinstance(evaluation, Evaluation)
    return evaluation
