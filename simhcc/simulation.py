"""simulate(evaluation, values, cohort) -> Outcomes: the one function that every analysis calls.

A work item is (draw, block of patients) with all strategies inside it, so paired differences need no second pass. Items are
handed to threads in chunks; results are added in order, so they are the same bits for any number of threads.
"""

from __future__ import annotations

import copy
import difflib
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simhcc import outcomes as _outcomes
from simhcc.engine import compiled as _compiled
from simhcc.engine import kernel
from simhcc.engine import layout as at
from simhcc.engine.directory import Spaces
from simhcc.engine.rng import PATIENT_LIMIT, split_seed
from simhcc.errors import ModelError, SimulationError
from simhcc.expressions import Expression, as_expression, evaluate, leaves
from simhcc.graph import Channel, Endpoint, Pathway, Reward, Strategy
from simhcc.model import LARGE_PATHWAY, Names, RewardNames, Values, build, build_rewards, draws_of, is_large, names_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

COMPILING = "Compiling the simulation engine (once, about a minute) ..."
CHUNKS_PER_THREAD = 4
MOST_ITEMS_PATIENTS = 400_000
"""patient-strategies in one chunk, so that Ctrl-C and progress are never far away"""
SMALL_PATHWAY_BLOCK = 4096


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A question put to the engine: pathway, strategies and what is summed. Times are months."""

    pathway: Pathway
    strategies: tuple[Strategy, ...]
    channels: tuple[Channel, ...]
    rewards: tuple[Reward, ...]
    endpoints: tuple[Endpoint, ...] = ()
    horizon: float
    comparator: str | None = None
    """strategy that the others are compared with; the first one by default"""
    landmarks: tuple[float, ...] = ()
    restrictions: tuple[float, ...] = ()
    crosses: tuple[tuple[str, str], ...] = ()
    """pairs of channels whose covariance is kept, such as cost and qaly"""
    all_pairs: bool = False
    """keep the paired difference of every two strategies, not only of each with the comparator"""
    grid_step: float | None = 1.0
    """months between the points of survival curves and state occupancy; None keeps no curves"""
    trace: bool = False
    """keep the share of patients in each state at each grid time"""
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.strategies:
            raise ModelError("an evaluation needs at least one strategy")
        ids = [strategy.id for strategy in self.strategies]
        for strategy in ids:
            if ids.count(strategy) > 1:
                raise ModelError(f"strategy {strategy!r} is given twice; ids must differ")
        if self.comparator is not None and self.comparator not in ids:
            raise ModelError(f"comparator {self.comparator!r} is not one of the strategies {', '.join(ids)}")
        if not (0.0 < self.horizon < np.inf):
            raise ModelError(f"horizon {self.horizon:g} months is not above 0 and finite")
        if self.grid_step is not None and not (0.0 < self.grid_step <= self.horizon):
            raise ModelError(f"grid step {self.grid_step:g} months is not above 0 and at most the horizon")
        for months in (*self.landmarks, *self.restrictions):
            if not (0.0 < months <= self.horizon):
                raise ModelError(f"landmark or restriction at {months:g} months lies outside the horizon")
        known = [channel.id for channel in self.channels]
        for pair in self.crosses:
            for name in pair:
                if name not in known:
                    raise ModelError(f"covariance of channel {name!r}: there is no such channel")

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the strategies, in order."""
        return tuple(strategy.id for strategy in self.strategies)

    @property
    def reference(self) -> str:
        """The comparator's id."""
        return self.comparator if self.comparator is not None else self.strategies[0].id

    @property
    def pair_ids(self) -> tuple[tuple[str, str], ...]:
        """(strategy, other) of each paired difference strategy - other."""
        if self.all_pairs:
            ids = self.ids
            return tuple((ids[j], ids[i]) for i in range(len(ids)) for j in range(i + 1, len(ids)))
        return tuple((s, self.reference) for s in self.ids if s != self.reference)


@dataclass(frozen=True)
class Outcomes:
    """Results of a simulation: sums over patients for each draw and strategy.

    `columns` names what was summed: each channel, then "ENDPOINT_MONTHSm" (share free of the endpoint at the landmark)
    and "ENDPOINT_rmst_MONTHS" (restricted mean in months). Arrays have axes (draw, strategy or pair, column).
    """

    strategies: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    columns: tuple[str, ...]
    patients: int
    draws: int
    horizon: float
    sums: Floats
    pair_sums: Floats
    cross_sums: Floats
    crosses: tuple[tuple[str, str], ...]
    quantities: Floats
    """(draws, strategies, terms): mean discounted months, administrations or marks per patient"""
    terms: tuple[Reward, ...]
    endpoint_counts: Ints
    endpoints: tuple[str, ...]
    occupancy: Floats
    """(strategies, states, grid + 1): share of patients in each state at each grid time, over all draws"""
    states: tuple[str, ...]
    mark_sums: Floats
    marks: tuple[str, ...]
    grid_step: float | None
    names: Names = field(repr=False)

    # -- means and their Monte-Carlo errors

    @cached_property
    def means(self) -> Floats:
        """(draws, strategies, columns)"""
        return _mean(self.sums)

    @cached_property
    def mcse(self) -> Floats:
        """Monte-Carlo standard errors of `means`, from the patients of each draw."""
        return _mcse(self.sums)

    @cached_property
    def differences(self) -> Floats:
        """Paired differences (draws, pairs, columns)."""
        return _mean(self.pair_sums)

    @cached_property
    def difference_mcse(self) -> Floats:
        """Monte-Carlo standard errors of `differences`, from each patient's own difference."""
        return _mcse(self.pair_sums)

    def column(self, name: str) -> int:
        """Position of a column; raises ModelError with the nearest name."""
        try:
            return self.columns.index(name)
        except ValueError:
            import difflib

            near = difflib.get_close_matches(name, self.columns, 1, 0.5)
            hint = f"; the nearest is {near[0]!r}" if near else ""
            raise ModelError(f"outcome {name!r} is unknown{hint}") from None

    def per_draw(self, name: str) -> pd.DataFrame:
        """Mean of one outcome by draw (rows) and strategy (columns)."""
        return pd.DataFrame(self.means[:, :, self.column(name)], columns=list(self.strategies)).rename_axis("iteration")

    def table(self) -> pd.DataFrame:
        """One row per strategy and outcome: mean, mcse, lower, upper (95 % over draws; the mean for one draw)."""
        return _tidy(self.means, self.mcse, [{"strategy": s} for s in self.strategies], self.columns)

    def difference_table(self) -> pd.DataFrame:
        """The same for each paired difference strategy - comparator."""
        labels = [{"strategy": s, "comparator": other} for s, other in self.pairs]
        return _tidy(self.differences, self.difference_mcse, labels, self.columns)

    def cross_covariance(self, first: str, second: str) -> Floats:
        """Covariance between patients of two channels, for strategies then pairs: (draws, strategies + pairs)."""
        position = self.crosses.index((first, second))
        sums = np.concatenate([self.sums, self.pair_sums], axis=1)
        n = sums[:, :, self.column(first), 0]
        a, b = sums[:, :, self.column(first), 1], sums[:, :, self.column(second), 1]
        with np.errstate(all="ignore"):
            return (self.cross_sums[:, :, position] - a * b / n) / (n - 1)

    # -- curves

    @property
    def grid(self) -> Floats:
        """Times of the curves in months."""
        if self.grid_step is None:
            return np.zeros(0)
        return np.arange(self.endpoint_counts.shape[3] - 1) * self.grid_step

    def survival(self, endpoint: str) -> Floats:
        """Share free of the endpoint at each grid time, (draws, strategies, grid + 1)."""
        counts = self.endpoint_counts[:, :, self.endpoints.index(endpoint)]
        with np.errstate(all="ignore"):
            return 1.0 - np.cumsum(counts[:, :, :-1], axis=2) / counts[:, :, -1:]

    def median(self, endpoint: str) -> Floats:
        """Median in months, (draws, strategies): where the curve crosses one half, on a line between grid times.

        NaN where it is not reached within the horizon.
        """
        return _quantile_time(self.survival(endpoint), self.grid, 0.5)

    def median_mcse(self, endpoint: str) -> Floats:
        """Monte-Carlo standard error of `median`: sqrt(1/4 / n) / density, the density read off the curve's slope."""
        curve, grid = self.survival(endpoint), self.grid
        n = self.endpoint_counts[:, :, self.endpoints.index(endpoint), -1]
        error = 0.5 / np.sqrt(np.maximum(n, 1))
        upper = _quantile_time(curve, grid, np.minimum(0.5 + error, 1.0)[..., None])
        lower = _quantile_time(curve, grid, np.maximum(0.5 - error, 0.0)[..., None])
        return (lower - upper) / 2.0

    def repriced(self, evaluation: Evaluation, values: Values) -> Floats:
        """Channel means under new amounts without a new simulation: (draws, strategies, channels).

        `evaluation` has the rewards of this run with other amounts, and `values` the numbers they are priced with; the
        quantities (discounted months, administrations, marks) are those of this run. Raises ModelError when anything but
        amounts differs.
        """
        if len(evaluation.rewards) != len(self.terms):
            raise ModelError(f"{len(evaluation.rewards)} rewards cannot reprice a run with {len(self.terms)}")
        channel = {c.id: position for position, c in enumerate(evaluation.channels)}
        means = np.zeros((self.draws, len(self.strategies), len(channel)))
        for position, (new, old) in enumerate(zip(evaluation.rewards, self.terms, strict=True)):
            amount = "amount" if hasattr(old, "amount") else "rate"
            if type(new) is not type(old) or _without(new, amount) != _without(old, amount):
                raise ModelError(
                    f"reward {position + 1} ({new.channel}) differs from the run's in more than its amount"
                )
            try:
                price = evaluate(as_expression(getattr(new, amount)), values)
            except ModelError as error:
                raise ModelError(f"reward {position + 1} ({new.channel}): {error}") from None
            scale = evaluation.channels[channel[new.channel]].scale
            priced = np.broadcast_to(price, (self.draws,))[:, None] * self.quantities[:, :, position]
            means[:, :, channel[new.channel]] += priced * scale
        return means

    def mark_table(self) -> pd.DataFrame:
        """Mean number of each mark per patient, with its Monte-Carlo error, over all draws."""
        n = self.patients * self.draws
        total, squares = self.mark_sums[..., 0], self.mark_sums[..., 1]
        mean = total / n
        variance = np.maximum(squares / n - mean**2, 0.0) * n / max(n - 1, 1)
        rows = [
            {"strategy": s, "mark": m, "mean": mean[i, j], "mcse": np.sqrt(variance[i, j] / n)}
            for i, s in enumerate(self.strategies)
            for j, m in enumerate(self.marks)
        ]
        return pd.DataFrame(rows)


def _check_prices(evaluation: Evaluation) -> None:
    """Refuse a strategy that replaces a parameter of a reward: rewards are the same for all strategies."""
    for position, reward in enumerate(evaluation.rewards, start=1):
        for name in reward.__dataclass_fields__:
            value = getattr(reward, name)
            if not isinstance(value, Expression):
                continue
            used = {*leaves(value, "parameter"), *leaves(value, "lookup")}
            for strategy in evaluation.strategies:
                for parameter in sorted(used & set(strategy.numbers)):
                    raise ModelError(
                        f"strategy {strategy.id!r} replaces parameter {parameter!r}, which reward {position} "
                        f"({reward.channel}) uses; rewards are the same for all strategies: let them differ by state, "
                        "treatment, tag or mark"
                    )


def _check_whole(name: str, value: object, lowest: int, limit: int) -> None:
    """Refuse anything but a whole number from `lowest` to `limit`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not lowest <= value <= limit:
        raise ModelError(f"{name} is {value!r}; it must be a whole number from {lowest} to {limit}")


def _without(reward: Reward, amount: str) -> dict[str, object]:
    """A reward's fields but its amount, expressions by their structure."""
    fields = {}
    for name in reward.__dataclass_fields__:
        value = getattr(reward, name)
        fields[name] = value.key if isinstance(value, Expression) else value
    fields.pop(amount)
    return fields


def _mean(sums: Floats) -> Floats:
    with np.errstate(all="ignore"):
        return sums[..., 1] / sums[..., 0]


def _mcse(sums: Floats) -> Floats:
    n, total, squares = sums[..., 0], sums[..., 1], sums[..., 2]
    with np.errstate(all="ignore"):
        variance = np.maximum(squares - total * total / n, 0.0) / (n - 1)
        return np.where(n > 1, np.sqrt(variance / n), np.nan)


def _tidy(means: Floats, mcse: Floats, labels: list[dict[str, str]], columns: tuple[str, ...]) -> pd.DataFrame:
    draws = means.shape[0]
    with np.errstate(all="ignore"):
        mean = means.mean(axis=0)
        # The mean over draws has the draws' own errors, and the spread of the draws themselves.
        error = np.sqrt((mcse**2).mean(axis=0) / draws) if draws == 1 else means.std(axis=0, ddof=1) / np.sqrt(draws)
        lower, upper = np.quantile(means, [0.025, 0.975], axis=0) if draws > 1 else (mean, mean)
    rows = []
    for position, label in enumerate(labels):
        for number, name in enumerate(columns):
            rows.append(
                {
                    **label,
                    "outcome": name,
                    "mean": mean[position, number],
                    "mcse": error[position, number],
                    "lower": lower[position, number],
                    "upper": upper[position, number],
                }
            )
    return pd.DataFrame(rows)


def _quantile_time(curve: Floats, grid: Floats, level: float | Floats) -> Floats:
    """First time at which a falling curve is at or below `level`, on a line between grid times; NaN if never."""
    below = curve <= level
    place = below.argmax(axis=2)
    reached = below.any(axis=2)
    place_before = np.maximum(place - 1, 0)
    after = np.take_along_axis(curve, place[..., None], 2)[..., 0]
    before = np.take_along_axis(curve, place_before[..., None], 2)[..., 0]
    target = np.broadcast_to(level, (*curve.shape[:2], 1))[..., 0] if isinstance(level, np.ndarray) else level
    with np.errstate(all="ignore"):
        share = np.where(before > after, (before - target) / (before - after), 0.0)
    return np.where(reached, grid[place_before] + share * (grid[place] - grid[place_before]), np.nan)


CohortLike = Mapping[str, Floats]


def simulate(
    evaluation: Evaluation,
    values: Values,
    cohort: CohortLike | None = None,
    *,
    patients: int,
    luck: Sequence[int] | NDArray[np.integer] | int | None = None,
    first_patient: int = 0,
    fresh_patients: bool = False,
    threads: int | None = None,
    block: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Outcomes:
    """Run all strategies of an evaluation for every draw of `values`.

    `values` maps parameters to arrays with an axis of draws. `cohort` maps attributes to arrays of patients; each draw uses
    the first `patients` of them, or, with `fresh_patients`, the next ones in turn (starting again at the end). `luck` is one
    number per draw (by default the draw's own number, as in a PSA) or one for all (constant luck). `block`, the patients
    that are run together (by default as many as is fastest), is rounded up to whole leaves of 1,024 patients. `progress`
    is called with (work items done, all).

    Raises ModelError for a pathway, numbers or cohort that cannot be run, and SimulationError, naming the patient, when a
    life would never end.
    """
    run = Prepared(evaluation, values, cohort, patients, luck, first_patient, fresh_patients, block)
    return run.execute(threads, progress)


def block_of(pathway: Pathway, patients: int, block: int | None = None) -> int:
    """Patients in a work item, in whole leaves of 1,024: `block`, by default as many as is fastest for the pathway.

    No result depends on it. Raises ModelError where a pathway of many attributes is given more than one leaf.
    """
    large = is_large(pathway)
    if block is None:
        block = at.LEAF if large else SMALL_PATHWAY_BLOCK
    if large and block > at.LEAF:
        raise ModelError(
            f"block {block}: a pathway of more than {LARGE_PATHWAY} attributes runs in blocks of {at.LEAF} patients"
        )
    return min(-(-block // at.LEAF), -(-patients // at.LEAF)) * at.LEAF


class Prepared:
    """An evaluation with its numbers in place, ready to run whole or by ranges of work items."""

    def __init__(
        self,
        evaluation: Evaluation,
        values: Values,
        cohort: CohortLike | None,
        patients: int,
        luck: Sequence[int] | NDArray[np.integer] | int | None = None,
        first_patient: int = 0,
        fresh_patients: bool = False,
        block: int | None = None,
    ) -> None:
        _check_whole("patients", patients, 1, PATIENT_LIMIT)
        if block is not None:
            _check_whole("block", block, 1, 1 << 20)
        _check_whole("first_patient", first_patient, 0, PATIENT_LIMIT - patients)
        self.evaluation = evaluation
        self.patients = patients
        self.draws = draws_of(values)
        if self.draws == 0:
            raise ModelError("values have no draws")
        self.block = block_of(evaluation.pathway, patients, block)
        for strategy in evaluation.strategies:
            evaluation.pathway.check(strategy)
        _check_prices(evaluation)
        self.names = names_of(evaluation.pathway, evaluation.strategies)
        self.cohort, self.columns, self.initial = self._cohort(cohort)
        available = self.cohort.shape[1]
        if cohort is None or not cohort:
            self.starts = np.zeros(self.draws, dtype=np.int64)
            available = patients
        elif available < patients:
            raise ModelError(f"the cohort has {available} patients, fewer than the {patients} asked for")
        windows = available // patients if fresh_patients else 1
        numbers = np.arange(self.draws, dtype=np.int64)
        self.starts = (numbers % windows) * patients
        self.ids = (self.starts + first_patient).astype(np.uint64)
        if not cohort:
            # Without attributes a patient is a number, so the next ones are always at hand.
            self.starts = np.zeros(self.draws, dtype=np.int64)
            self.ids = (first_patient + numbers * (patients if fresh_patients else 0)).astype(np.uint64)
        self.luck = self._luck(luck)
        brought = {name for name, row in zip(self.names.attributes, self.columns, strict=False) if row >= 0}
        models = [
            build(evaluation.pathway, strategy, values, self.names, brought=brought, checked=True)
            for strategy in evaluation.strategies
        ]
        self.models = _outcomes.stack(models)
        self._models = _outcomes.model_directories(self.models)
        self.rewards, self.reward_names = build_rewards(
            evaluation.pathway,
            self.names,
            evaluation.channels,
            evaluation.rewards,
            evaluation.endpoints,
            values,
            {name: row for name, row in zip(self.names.attributes, self.columns, strict=False) if row >= 0},
        )
        self.plan = self._plan(self.reward_names)
        self.key = split_seed(evaluation.seed)
        self.people = _outcomes.Patients(self.cohort, self.columns, self.initial, self.starts, self.ids, self.luck)

    def for_others(
        self, evaluation: Evaluation, cohort: CohortLike, patients: int, block: int | None = None
    ) -> Prepared:
        """The same models, which take longest to prepare, for the first patients of another cohort.

        The caller answers for `evaluation` being the same up to its horizon, and for the cohort bringing the same attributes.
        """
        other = copy.copy(self)
        other.evaluation, other.patients = evaluation, patients
        other.block = block_of(evaluation.pathway, patients, block)
        other.cohort, other.columns, other.initial = other._cohort(
            {name: column[:patients] for name, column in cohort.items()}
        )
        other.people = self.people._replace(cohort=other.cohort)
        return other

    @property
    def blocks(self) -> int:
        """Blocks of patients in a draw."""
        return -(-self.patients // self.block)

    @property
    def items(self) -> int:
        """Work items in all."""
        return self.draws * self.blocks

    @property
    def column_names(self) -> tuple[str, ...]:
        """What is summed for every patient, by name."""
        names = list(self.reward_names.channels)
        for endpoint in self.reward_names.endpoints:
            names += [f"{endpoint}_{months:g}m" for months in self.evaluation.landmarks]
            names += [f"{endpoint}_rmst_{months:g}" for months in self.evaluation.restrictions]
        return tuple(names)

    def _cohort(self, cohort: CohortLike | None) -> tuple[Floats, Ints, Floats]:
        given = dict(cohort or {})
        declared = {a.name: a for a in self.evaluation.pathway.attributes}
        # A cohort may know more than the pathway asks for, but not almost what it asks for.
        missing = declared.keys() - given.keys()
        for name in sorted(given.keys() - declared.keys()):
            near = difflib.get_close_matches(name, missing, 1, 0.8)
            if near:
                raise ModelError(f"cohort attribute {name!r} is not declared, and {near[0]!r} is missing")
        rows: list[Floats] = []
        columns = []
        initial = np.zeros(max(len(declared), 1))
        for position, name in enumerate(self.names.attributes):
            attribute = declared[name]
            if name in given:
                array = np.asarray(given[name], dtype=np.float64)
                if array.ndim != 1 or (rows and array.shape != rows[0].shape):
                    raise ModelError(
                        f"cohort attribute {name!r} has shape {array.shape}; all need one value per patient"
                    )
                if np.isnan(array).any():
                    raise ModelError(
                        f"cohort attribute {name!r} is not a number for patient {int(np.isnan(array).argmax())}"
                    )
                columns.append(len(rows))
                rows.append(array)
            elif attribute.initial is None:
                raise ModelError(f"the cohort lacks attribute {name!r}, which has no initial value")
            else:
                columns.append(-1)
                initial[position] = attribute.initial
        matrix = np.ascontiguousarray(np.stack(rows)) if rows else np.zeros((1, 1))
        return matrix, np.array(columns or [-1], dtype=np.int64), initial

    def _luck(self, luck: Sequence[int] | NDArray[np.integer] | int | None) -> NDArray[np.uint64]:
        if luck is None:
            numbers = np.arange(self.draws)
        elif isinstance(luck, (int, np.integer)):
            numbers = np.full(self.draws, luck)
        else:
            numbers = np.asarray(luck)
            if not np.issubdtype(numbers.dtype, np.integer):
                raise ModelError(f"luck must be whole numbers, not {numbers.dtype}")
            if numbers.shape != (self.draws,):
                raise ModelError(f"luck has {numbers.shape} numbers for {self.draws} draws")
        if (numbers < 0).any() or (numbers >= 2**32).any():
            raise ModelError("luck lies outside 0 to 2**32 - 1")
        return numbers.astype(np.uint64)

    def _plan(self, names: RewardNames) -> _outcomes.Plan:
        evaluation = self.evaluation
        ids = evaluation.ids
        channel = {name: position for position, name in enumerate(names.channels)}
        step = evaluation.grid_step
        return _outcomes.Plan(
            landmarks=np.array(evaluation.landmarks, dtype=np.float64),
            restrictions=np.array(evaluation.restrictions, dtype=np.float64),
            pairs=np.array([[ids.index(a), ids.index(b)] for a, b in evaluation.pair_ids], dtype=np.int64).reshape(
                -1, 2
            ),
            crosses=np.array([[channel[a], channel[b]] for a, b in evaluation.crosses], dtype=np.int64).reshape(-1, 2),
            step=np.array([step or 1.0]),
            grid=np.array(
                [
                    0 if step is None else int(np.floor(evaluation.horizon / step)),
                    int(evaluation.trace and step is not None),
                ],
                dtype=np.int64,
            ),
        )

    def chunks(self, threads: int) -> list[tuple[int, int]]:
        """Ranges of work items for the threads, of nearly equal size."""
        most = max(1, MOST_ITEMS_PATIENTS // (min(self.block, self.patients) * len(self.evaluation.strategies)))
        wanted = max(CHUNKS_PER_THREAD * threads, -(-self.items // most))
        number = min(self.items, -(-wanted // threads) * threads)
        edges = np.linspace(0, self.items, number + 1).round().astype(int)
        return [(int(a), int(b)) for a, b in pairwise(edges) if b > a]

    def empty(self, leaves: int, draws: int) -> _outcomes.Sums:
        """Zeroed results for a number of leaves and draws."""
        strategies = len(self.evaluation.strategies)
        columns, pairs = len(self.column_names), len(self.evaluation.pair_ids)
        endpoints, grid = max(len(self.reward_names.endpoints), 1), int(self.plan.grid[0])
        terms, marks = max(len(self.reward_names.terms), 1), max(len(self.names.marks), 1)
        return _outcomes.Sums(
            columns=np.zeros((leaves, strategies, columns, 3)),
            pairs=np.zeros((leaves, max(pairs, 1), columns, 3)),
            crosses=np.zeros((leaves, strategies + pairs, max(len(self.evaluation.crosses), 1))),
            quantities=np.zeros((leaves, strategies, terms)),
            endpoint_counts=np.zeros((draws, strategies, endpoints, grid + 2), dtype=np.int32),
            occupancy=np.zeros(
                (strategies, len(self.names.states), grid + 2 if self.plan.grid[1] else 1), dtype=np.int64
            ),
            mark_counts=np.zeros((leaves, strategies, marks, 2)),
        )

    def leaves(self, first: int, last: int) -> tuple[int, Ints]:
        """First leaf of a range of items, and the draw of each of its leaves."""
        per_draw = -(-self.patients // at.LEAF)
        in_block = self.block // at.LEAF
        begin = first // self.blocks * per_draw + first % self.blocks * in_block
        end = (last - 1) // self.blocks * per_draw + min(((last - 1) % self.blocks + 1) * in_block, per_draw)
        return begin, np.arange(begin, end) // per_draw

    def spaces(self, work: _outcomes.Work, sums: _outcomes.Sums, failed: Ints) -> Spaces:
        """The directory of each strategy's arrays; the caller keeps them alive while it is used."""
        return _outcomes.spaces_of(self._models, self.rewards, self.plan, self.people, work, sums, failed)

    def run_range(self, first: int, last: int, work: _outcomes.Work) -> tuple[Ints, _outcomes.Sums]:
        """Run work items `first` to `last`; returns the draw of each leaf and the leaves' sums."""
        _, draw_of = self.leaves(first, last)
        first_draw = first // self.blocks
        sums = self.empty(len(draw_of), (last - 1) // self.blocks - first_draw + 1)
        failed = np.zeros(4, dtype=np.int64)
        spaces = self.spaces(work, sums, failed)
        horizon = float(self.evaluation.horizon)
        strategies = len(self.evaluation.strategies)
        status = _compiled.calling(_outcomes.run_items)(
            spaces.together, strategies, self.key[0], self.key[1], horizon, self.patients, self.block, first, last,
            first_draw,
        )  # fmt: skip
        if status != at.OK:
            draw, strategy, patient, node = (int(i) for i in failed)
            raise SimulationError(
                f"strategy {self.evaluation.ids[strategy]!r}, draw {draw}: patient {patient} "
                f"{at.ERROR_WORDS[int(status)]}, at node {self.names.nodes[node]!r}"
            )
        return draw_of, sums

    def execute(self, threads: int | None, progress: Callable[[int, int], None] | None) -> Outcomes:
        """Run everything on `threads` threads (all cores by default) and add the results in order."""
        if threads is not None:
            _check_whole("threads", threads, 1, 1 << 10)
        threads = threads or os.cpu_count() or 1
        chunks = self.chunks(threads)
        total = self.empty(self.draws, self.draws)
        done = 0
        with _compiled.compiling(COMPILING):
            for (first, last), (draw_of, sums) in self._ordered(chunks, threads):
                _add(total, sums, draw_of, first // self.blocks)
                done += last - first
                if progress is not None:
                    progress(done, self.items)
        return self._outcomes(total)

    def _ordered(
        self, chunks: list[tuple[int, int]], threads: int
    ) -> Iterator[tuple[tuple[int, int], tuple[Ints, _outcomes.Sums]]]:
        """Results of the chunks in order, with a bounded number of them under way."""
        free: deque[_outcomes.Work] = deque()

        def one(first: int, last: int) -> tuple[Ints, _outcomes.Sums]:
            try:
                work = free.pop()
            except IndexError:
                work = _outcomes.allocate(self.models, self.rewards, self.plan, self.block)
            try:
                with np.errstate(all="ignore"):
                    return self.run_range(first, last, work)
            finally:
                free.append(work)

        if threads == 1 or len(chunks) == 1:
            for chunk in chunks:
                yield chunk, one(*chunk)
            return
        with ThreadPoolExecutor(threads) as pool:
            waiting: deque[tuple[tuple[int, int], Future[tuple[Ints, _outcomes.Sums]]]] = deque()
            todo = iter(chunks)
            try:
                for chunk in todo:
                    waiting.append((chunk, pool.submit(one, *chunk)))
                    if len(waiting) > 2 * threads:
                        ready, future = waiting.popleft()
                        yield ready, future.result()
                while waiting:
                    ready, future = waiting.popleft()
                    yield ready, future.result()
            finally:
                for _, future in waiting:
                    future.cancel()

    def _outcomes(self, total: _outcomes.Sums) -> Outcomes:
        patients = self.patients
        pairs = len(self.evaluation.pair_ids)
        occupancy = np.cumsum(total.occupancy, axis=2)[:, :, :-1] / (patients * self.draws)
        return Outcomes(
            strategies=self.evaluation.ids,
            pairs=self.evaluation.pair_ids,
            columns=self.column_names,
            patients=patients,
            draws=self.draws,
            horizon=float(self.evaluation.horizon),
            sums=total.columns,
            pair_sums=total.pairs[:, :pairs],
            cross_sums=total.crosses,
            crosses=self.evaluation.crosses,
            quantities=total.quantities[:, :, : len(self.reward_names.terms)] / patients,
            terms=self.reward_names.terms,
            endpoint_counts=total.endpoint_counts,
            endpoints=self.reward_names.endpoints,
            occupancy=occupancy,
            states=self.names.states,
            mark_sums=total.mark_counts.sum(axis=0),
            marks=self.names.marks,
            grid_step=self.evaluation.grid_step,
            names=self.names,
        )


@dataclass(frozen=True)
class Histories:
    """Visits and marks of individual patients, by name, in order of patient and time."""

    visits: pd.DataFrame
    """patient, state, local, systemic, tags, entered, left, local_since, systemic_since, ended_by ("horizon" or node/edge)"""
    marks: pd.DataFrame
    """patient, mark, time"""


def endpoint_times(
    evaluation: Evaluation,
    values: Values,
    cohort: CohortLike | None = None,
    *,
    patients: int,
    luck: Sequence[int] | NDArray[np.integer] | int | None = None,
    first_patient: int = 0,
    fresh_patients: bool = False,
    same_numbers: bool = False,
    threads: int | None = None,
) -> Floats:
    """When each patient reaches each endpoint of an evaluation with one strategy, (draws, endpoints, patients).

    Months from the endpoint's origin, infinite where it is not reached, NaN where its origin never comes; what a virtual trial
    or a study inside the simulation is made of. The lives are those that `simulate` sums up, arguments and errors as
    there. With `same_numbers` the patients of all draws have the numbers `first_patient` and on, although
    `fresh_patients` gives them columns of their own: the same people, of whom some attribute differs between draws.
    Raises ModelError for an evaluation with more than one strategy.
    """
    if len(evaluation.strategies) != 1:
        raise ModelError(f"endpoint times are of one strategy, not of {', '.join(evaluation.ids)}")
    run = Prepared(evaluation, values, cohort, patients, luck, first_patient, fresh_patients)
    if same_numbers:
        run.ids[:] = first_patient
    times = np.empty((run.draws, len(evaluation.endpoints), patients))

    def part(first: int, last: int) -> None:
        work = _outcomes.allocate(run.models, run.rewards, run.plan, run.block)
        for item in range(first, last):
            with np.errstate(all="ignore"):
                run.run_range(item, item + 1, work)
            draw, begin = item // run.blocks, item % run.blocks * run.block
            count = min(run.block, patients - begin)
            times[draw, :, begin : begin + count] = work.reached[: times.shape[1], :count]

    chunks = run.chunks(threads or os.cpu_count() or 1)
    with _compiled.compiling(COMPILING):
        if threads == 1 or len(chunks) == 1:
            part(0, run.items)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(lambda chunk: part(*chunk), chunks))
    return times


def histories(
    evaluation: Evaluation,
    values: Values,
    cohort: CohortLike | None = None,
    *,
    strategy: str,
    patients: int,
    draw: int = 0,
    luck: int | None = None,
    first_patient: int = 0,
    block: int | None = None,
) -> Histories:
    """Whole histories of patients under one strategy and one draw, for reading, testing and figures.

    The same lives as `simulate` sums up: patient `first_patient` + i is column i of `cohort`. Memory grows with `patients`.
    Raises what `simulate` raises, and ModelError for an unknown strategy.
    """
    run = Prepared(evaluation, values, cohort, patients, draw if luck is None else luck, first_patient, False, block)
    if strategy not in evaluation.ids:
        raise ModelError(f"strategy {strategy!r} is not one of {', '.join(evaluation.ids)}")
    if not 0 <= draw < run.draws:
        raise ModelError(f"draw {draw} does not exist; there are {run.draws}")
    position = evaluation.ids.index(strategy)
    work = _outcomes.allocate(run.models, run.rewards, run.plan, run.block)
    sums, failed = run.empty(1, 1), np.zeros(4, dtype=np.int64)
    spaces = run.spaces(work, sums, failed)
    space = spaces.each[position]
    visits: list[tuple[Ints, Floats]] = []
    marks: list[tuple[Ints, Floats]] = []
    horizon = float(evaluation.horizon)
    with _compiled.compiling(COMPILING), np.errstate(all="ignore"):
        begin_block, advance = _compiled.calling(kernel.begin_block), _compiled.calling(kernel.advance)
        for begin in range(0, patients, run.block):
            count = min(run.block, patients - begin)
            begin_block(space, int(run.starts[draw]) + begin, count)
            work.control[: at.CONTROL_SLOTS] = 0
            status = at.BUFFER_FULL
            while status == at.BUFFER_FULL:
                status = advance(
                    space, draw, horizon, np.uint64(run.ids[draw] + begin), run.luck[draw], run.key[0], run.key[1]
                )
                filled, marked = int(work.control[at.CONTROL_VISITS]), int(work.control[at.CONTROL_MARKS])
                offset = np.array([[begin + first_patient], [0], [0]])
                visits.append((work.visit_integers[:3, :filled] + offset, work.visit_reals[:, :filled].copy()))
                marks.append((work.mark_integers[:2, :marked] + offset[:2], work.mark_reals[:marked].copy()))
                work.control[at.CONTROL_VISITS] = work.control[at.CONTROL_MARKS] = 0
            if status != at.OK:
                patient = begin + first_patient + int(work.control[at.CONTROL_ERROR_PATIENT])
                raise SimulationError(
                    f"strategy {strategy!r}, draw {draw}: patient {patient} {at.ERROR_WORDS[int(status)]}, at node "
                    f"{run.names.nodes[int(work.control[at.CONTROL_ERROR_NODE])]!r}"
                )
    return Histories(_visit_table(run, position, visits), _mark_table(run, marks))


def _visit_table(run: Prepared, strategy: int, parts: list[tuple[Ints, Floats]]) -> pd.DataFrame:
    integers = np.concatenate([i for i, _ in parts], axis=1)
    reals = np.concatenate([r for _, r in parts], axis=1)
    names = names_of(run.evaluation.pathway, [run.evaluation.strategies[strategy]])
    cells = {int(cell): run.names.cell_words(int(cell)) for cell in np.unique(integers[at.VISIT_IN_CELL])}
    words = [cells[int(cell)] for cell in integers[at.VISIT_IN_CELL]]
    table = pd.DataFrame({"patient": integers[at.VISIT_PATIENT]})
    for name in ("state", "local", "systemic", *(tag for tag, _ in run.names.tags)):
        table[name] = [word[name] for word in words]
    table["entered"] = reals[at.VISIT_ENTERED]
    table["left"] = reals[at.VISIT_LEFT]
    table["local_since"] = reals[at.VISIT_LOCAL_SINCE]
    table["systemic_since"] = reals[at.VISIT_SYSTEMIC_SINCE]
    ended = integers[at.VISIT_ENDED_BY]
    table["ended_by"] = ["horizon" if edge == at.ENDED_BY_HORIZON else names.edges[edge] for edge in ended]
    return table.sort_values(["patient", "entered"], kind="stable").reset_index(drop=True)


def _mark_table(run: Prepared, parts: list[tuple[Ints, Floats]]) -> pd.DataFrame:
    integers = np.concatenate([i for i, _ in parts], axis=1)
    table = pd.DataFrame(
        {
            "patient": integers[at.MARK_PATIENT],
            "mark": [run.names.marks[mark] for mark in integers[at.MARK_NAME]],
            "time": np.concatenate([r for _, r in parts]),
        }
    )
    return table.sort_values(["patient", "time"], kind="stable").reset_index(drop=True)


def _add(total: _outcomes.Sums, part: _outcomes.Sums, draw_of: Ints, first_draw: int) -> None:
    """Add the leaves of a chunk to their draws, one after another, so that the order of additions is always the same."""
    for name in ("columns", "pairs", "crosses", "quantities", "mark_counts"):
        np.add.at(getattr(total, name), draw_of, getattr(part, name))
    draws = part.endpoint_counts.shape[0]
    total.endpoint_counts[first_draw : first_draw + draws] += part.endpoint_counts
    total.occupancy[...] += part.occupancy
