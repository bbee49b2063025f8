"""What the tests of the engine share: histories out of the kernel, small graphs, and sums over histories by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from oracle import Life, Mark, Oracle, Visit

from simhcc import outcomes
from simhcc.engine.arithmetic import log_array
from simhcc.engine.rng import uniforms
from simhcc.expressions import (
    MONTHS,
    MONTHS_IN_STATE,
    Operand,
    attribute,
    exp,
    maximum,
    minimum,
    parameter,
    receiving,
    standard_normal,
    uniform,
    where,
)
from simhcc.graph import (
    AdministrationReward,
    Attribute,
    Branch,
    Chance,
    Channel,
    Clock,
    Decision,
    Edge,
    Effect,
    End,
    Endpoint,
    Hazard,
    MarkReward,
    Node,
    Pathway,
    RateReward,
    Reward,
    Row,
    ScanSchedule,
    Scheduled,
    State,
    Strata,
    Strategy,
    TimeToDeathReward,
    Transition,
    Treatment,
    exponential,
)
from simhcc.model import as_values
from simhcc.simulation import Evaluation, Histories, Outcomes, block_of, histories, simulate

PLAIN = Strategy(id="plain")
NEVER = exponential(0.0)
"""a hazard that never fires"""


def weibull(shape: Operand, scale: Operand) -> Hazard:
    return Hazard("weibull", {"shape": shape, "scale": scale})


def pathway(*nodes: Node, **fields: Any) -> Pathway:
    """A pathway that starts at its first node."""
    return Pathway(name="test", start=fields.pop("start", nodes[0].name), nodes=nodes, **fields)


DEAD = End(name="dead")


def dying(rate: Operand = 0.1, **fields: Any) -> Transition:
    return Transition(name="die", to="dead", hazard=exponential(rate), **fields)


def only(name: str, *events: Any, **fields: Any) -> State:
    """A state with these transitions and scheduled events."""
    transitions = tuple(e for e in events if isinstance(e, Transition))
    scheduled = tuple(e for e in events if isinstance(e, Scheduled))
    return State(name=name, transitions=transitions, scheduled=scheduled, **fields)


def kernel_histories(
    graph: Pathway,
    strategy: Strategy = PLAIN,
    numbers: Mapping[str, Any] | None = None,
    *,
    patients: int,
    horizon: float,
    seed: int = 0,
    luck: int = 0,
    first_patient: int = 0,
    cohort: Mapping[str, Any] | None = None,
    block: int | None = None,
    buffer: int | None = None,
) -> list[Life]:
    """Histories of patients `first_patient` and on from the kernel; `buffer` is how many visits its buffer holds."""
    found = _histories(graph, strategy, numbers, patients, horizon, seed, luck, first_patient, cohort, block, buffer)
    lives = [Life() for _ in range(patients)]
    levels = {a.name: list(a.levels) for a in graph.attributes}
    columns = found.visits.columns
    for row in found.visits.to_dict("records"):
        tags = tuple(levels[name].index(row[name]) for name in columns if name in graph.tag)
        times = (row["entered"], row["left"], row["local_since"], row["systemic_since"])
        lives[row["patient"] - first_patient].visits.append(
            Visit(row["state"], row["local"], row["systemic"], tags, *times)
        )
    for row in found.marks.to_dict("records"):
        lives[row["patient"] - first_patient].marks.append(Mark(row["mark"], row["time"]))
    return lives


def endings(graph: Pathway, *, patients: int, horizon: float) -> list[list[str]]:
    """What ended each visit of each patient: "node/edge" or "horizon"."""
    visits = _histories(graph, PLAIN, None, patients, horizon).visits
    return [list(visits.ended_by[visits.patient == patient]) for patient in range(patients)]


def _histories(
    graph: Pathway,
    strategy: Strategy,
    numbers: Mapping[str, Any] | None,
    patients: int,
    horizon: float,
    seed: int = 0,
    luck: int = 0,
    first_patient: int = 0,
    cohort: Mapping[str, Any] | None = None,
    block: int | None = None,
    buffer: int | None = None,
) -> Histories:
    question = evaluation(graph, (strategy,), horizon=horizon, seed=seed, grid_step=None)
    given = {name: np.asarray(value, dtype=np.float64) for name, value in (cohort or {}).items()}
    with pytest.MonkeyPatch.context() as patch:
        if buffer is not None:
            # One step of all patients can write two visits and two marks each.
            assert buffer >= 2 * min(patients, block_of(graph, patients, block))
            patch.setattr(outcomes, "allocate", narrow(outcomes.allocate, buffer))
        return histories(
            question, as_values(numbers or {}), given, strategy=strategy.id, patients=patients, luck=luck,
            first_patient=first_patient, block=block,
        )  # fmt: skip


def narrow(allocate: Any, buffer: int) -> Any:
    """`outcomes.allocate` with buffers of few visits and marks, which must be emptied often."""

    def narrowed(*arguments: Any) -> outcomes.Work:
        work = allocate(*arguments)
        names = ("visit_reals", "visit_integers", "mark_reals", "mark_integers")
        return work._replace(**{name: np.ascontiguousarray(getattr(work, name)[..., :buffer]) for name in names})

    return narrowed


def oracle_histories(
    graph: Pathway,
    strategy: Strategy = PLAIN,
    numbers: Mapping[str, Any] | None = None,
    *,
    patients: int,
    horizon: float,
    seed: int = 0,
    luck: int = 0,
    first_patient: int = 0,
    cohort: Mapping[str, Any] | None = None,
) -> list[Life]:
    """The same histories from the plain second implementation."""
    oracle = Oracle(graph, strategy, numbers or {}, horizon, seed, luck)
    return [
        oracle.life(first_patient + i, {name: float(value[i]) for name, value in (cohort or {}).items()})
        for i in range(patients)
    ]


def same_as_oracle(
    graph: Pathway, strategy: Strategy = PLAIN, numbers: Mapping[str, Any] | None = None, **fields: Any
) -> list[Life]:
    """Histories from the kernel, after checking that the oracle gives the same bits."""
    slow_fields = {name: value for name, value in fields.items() if name not in ("block", "buffer")}
    fast = kernel_histories(graph, strategy, numbers, **fields)
    slow = oracle_histories(graph, strategy, numbers, **slow_fields)
    for number, (one, other) in enumerate(zip(fast, slow, strict=True)):
        assert one == other, f"patient {number}:\nkernel {one}\noracle {other}"
    return fast


def marks_of(life: Life, name: str) -> list[float]:
    return [time for mark, time in life.marks if mark == name]


def months_in(life: Life, state: str) -> float:
    return sum(v.left - v.entered for v in life.visits if v.state == state)


def evaluation(
    graph: Pathway,
    strategies: Sequence[Strategy] = (PLAIN,),
    rewards: Sequence[Reward] = (),
    channels: Sequence[Channel] = (Channel(id="ly", scale=1.0 / 12.0),),
    endpoints: Sequence[Endpoint] = (),
    horizon: float = 120.0,
    **fields: Any,
) -> Evaluation:
    """An evaluation with one channel, "ly", unless others are given."""
    return Evaluation(
        pathway=graph,
        strategies=tuple(strategies),
        channels=tuple(channels),
        rewards=tuple(rewards),
        endpoints=tuple(endpoints),
        horizon=horizon,
        **fields,
    )


def thresholds(purpose: str, patients: int, entry: int = 0, firing: int = 0, seed: int = 0, luck: int = 0) -> Any:
    """Unit-exponential thresholds of patients 0 and on, by their address."""
    return -log_array(uniforms(seed, luck, np.arange(patients), purpose, entry, firing))


def clinic() -> tuple[Pathway, tuple[Strategy, ...], dict[str, Any]]:
    """A small pathway that uses every part of the engine, three strategies, and its numbers."""
    age, liver, size, line = attribute("age"), attribute("liver"), attribute("size"), attribute("line")
    life_table = Strata(
        "sex",
        (
            Hazard("gompertz", {"shape": 0.006, "rate": parameter("mortality.rate")}),
            Hazard("pwexp", {"times": (0.0, 720.0, 840.0), "rates": (0.0005, 0.002, 0.006)}),
        ),
    )
    death_other = Transition(
        name="death_other",
        to="dead",
        hazard=life_table,
        clock=Clock.AGE,
        threshold="life",
        log_multiplier=0.2 * attribute("smoker"),
        mark="died_of_other",
    )
    stable = State(
        name="stable",
        transitions=(
            Transition(
                name="progress",
                to="restage",
                hazard=weibull(1.3, parameter("progress.scale")),
                log_multiplier=parameter("progress.log_hr_size") * size + where(liver >= 1.0, 0.3, 0.0),
                seen_at_scan="imaging",
                effect="progression",
                mark="progressed",
                updates={"line": line + 1.0, "size": size * 1.5},
            ),
            Transition(
                name="toxicity",
                to="STAY",
                hazard=Hazard("lnorm", {"meanlog": 2.0, "sdlog": 1.0}),
                clock=Clock.SYSTEMIC,
                log_multiplier=where(receiving("drug"), 0.0, -np.inf),
                mark="toxicity",
                updates={"toxicities": attribute("toxicities") + 1.0},
            ),
            Transition(
                name="liver_worsens",
                to="liver_check",
                hazard=Hazard("llogis", {"shape": 1.4, "scale": 60.0}),
                clock=Clock.MODEL,
                effect="liver",
                log_multiplier=0.4 * standard_normal("frailty"),
                updates={"liver": liver + 1.0},
            ),
            death_other,
            Transition(
                name="cancer_death",
                to="dead",
                hazard=Hazard("gengamma", {"mu": 4.5, "sigma": 0.9, "Q": 0.5}, cure=parameter("cured")),
                log_multiplier=0.5 * liver,
            ),
        ),
        scheduled=(
            Scheduled(name="visit", to="STAY", first=1.5, period=3.0, when=attribute("toxicities") > 0.0, mark="visit"),
            Scheduled(name="growth", to="STAY", first=0.5, period=2.5,
                      updates={"size": size * (0.9 + 0.25 * uniform("change"))}),
            Scheduled(name="stop_drug", to="STAY", first=parameter("drug.months"), origin=Clock.SYSTEMIC,
                      when=receiving("drug"), systemic="none", mark="stopped"),
            Scheduled(name="tace_again", to="plan", first=2.0, period=2.0, origin=Clock.LOCAL,
                      when=receiving("tace") & (attribute("sessions") < 3.0)),
            Scheduled(name="birthday", to="STAY", first=6.0, period=12.0, origin=Clock.MODEL, mark="birthday"),
        ),
    )  # fmt: skip
    late = State(
        name="late",
        transitions=(
            Transition(
                name="cancer_death",
                to="dead",
                hazard=weibull(0.8, 12.0),
                log_multiplier=0.3 * liver,
                effect="progression",
            ),
            death_other,
            Transition(
                name="rally",
                to="plan",
                hazard=Hazard("cumulative", {"times": (0.0, 6.0, 12.0, 24.0), "values": (0.0, 0.0, 0.4, 0.4)}),
                mark="rallied",
            ),
        ),
        scheduled=(Scheduled(name="hospice", to="hospice", first=9.0 - minimum(size, 8.0), mark="hospice"),),
    )
    hospice = only("hospice", dying(parameter("hospice.rate")), death_other)
    restage = Chance(
        name="restage",
        branches=(
            Branch(name="downstaged", weight=0.3, to="stable", updates={"size": maximum(size - 1.0, 0.5)}),
            Branch(name="operation", weight=0.1, to="operation"),
            Branch(name="advanced", weight=0.6, to="late"),
        ),
    )
    liver_check = Chance(
        name="liver_check",
        branches=(
            Branch(name="compensated", weight=exp(-0.5 * liver), to="STAY"),
            Branch(
                name="decompensated", weight=0.5 + 0.01 * (MONTHS - MONTHS_IN_STATE), to="late", mark="decompensated"
            ),
        ),
    )
    operation = Chance(
        name="operation",
        branches=(
            Branch(name="death", weight=parameter("operation.p_death"), to="dead", mark="operative_death"),
            Branch(name="survival", weight=1.0 - parameter("operation.p_death"), to="stable", local="none",
                   updates={"size": exp(0.3 * standard_normal("residual")), "sessions": 0.0}),
        ),
    )  # fmt: skip
    plan = Decision(
        name="plan",
        actions={
            "watch": Edge(to="stable"),
            "drug": Edge(to="stable", systemic="drug", mark="drug"),
            "tace": Edge(to="stable", local="tace", mark="tace", updates={"sessions": attribute("sessions") + 1.0},
                         restart=True),
            "palliative": Edge(to="late", systemic="none", local="none"),
        },
        default=(Row(do="watch"),),
    )  # fmt: skip
    graph = Pathway(
        name="clinic",
        start="plan",
        nodes=(plan, stable, late, hospice, restage, liver_check, operation, DEAD),
        attributes=(
            Attribute(name="age"),
            Attribute(name="sex", levels=("woman", "man")),
            Attribute(name="smoker", initial=1.0),
            Attribute(name="liver", initial=0.0),
            Attribute(name="size", initial=3.0),
            Attribute(name="line", initial=0.0, levels=("first", "second", "later")),
            Attribute(name="toxicities", initial=0.0),
            Attribute(name="sessions", initial=0.0),
        ),
        treatments=(
            Treatment(
                id="drug",
                slot="systemic",
                effects={
                    "progression": Effect(
                        ratio=parameter("drug.hr"), delay=1.0, share_postponed=0.5, steps=((8.0, 0.9),), off_ratio=0.7,
                        waning_half_life=3.0,
                    ),
                    "liver": Effect(ratio=1.2),
                },
            ),
            Treatment(id="tace", slot="local", effects={"progression": Effect(ratio=0.5, share_postponed=1.0)}),
        ),
        schedules=(ScanSchedule(name="imaging", segments=((2.0, 2.0), (12.0, 3.0), (36.0, 6.0)), origin=Clock.MODEL),),
        derived={"frail": (age > 70.0) | (liver >= 2.0)},
        tag=("line",),
        age_years="age",
    )  # fmt: skip
    fit = ~attribute("frail")
    strategies = (
        Strategy(id="watch"),
        Strategy(
            id="drug",
            tables={
                "plan": (
                    Row(do="palliative", when=line >= 3.0),
                    Row(do="drug", when=fit & ~receiving("drug")),
                    Row(do="watch"),
                )
            },
        ),
        Strategy(
            id="both",
            tables={
                "plan": (
                    Row(do="tace", when=(attribute("sessions") < 3.0) & (size < 5.0), systemic="drug"),
                    Row(do="palliative", when=attribute("frail") & (uniform("refuses") < 0.2)),
                    Row(do="watch"),
                )
            },
            numbers={"drug.months": 9.0},
        ),
    )
    numbers = {
        "mortality.rate": 2e-5,
        "progress.scale": 14.0,
        "progress.log_hr_size": 0.08,
        "cured": 0.15,
        "drug.months": 7.0,
        "drug.hr": 0.6,
        "hospice.rate": 0.4,
        "operation.p_death": 0.08,
    }
    return graph, strategies, numbers


def clinic_cohort(patients: int) -> dict[str, Any]:
    """Baseline attributes for the clinic, the same for each patient however many there are."""
    number = np.arange(patients)
    return {
        "age": 50.0 + number * 7.0 % 35.0,
        "sex": np.array(number % 3 == 0, dtype=np.float64),
        "size": 1.0 + number * 0.37 % 5.0,
    }


def clinic_evaluation(**fields: Any) -> tuple[Evaluation, dict[str, Any]]:
    """The clinic with every kind of reward, endpoints, covariances and a trace; and its values in one draw."""
    graph, strategies, numbers = clinic()
    channels = (
        Channel(id="ly", scale=1.0 / 12.0),
        Channel(id="qaly", discount=parameter("discount"), scale=1.0 / 12.0, age_bands=((60.0, 0.95), (75.0, 0.85))),
        Channel(id="cost", discount=parameter("discount")),
    )
    rewards: tuple[Reward, ...] = (
        RateReward(channel="ly", rate=1.0),
        RateReward(channel="qaly", rate=0.8, states=("stable",)),
        RateReward(channel="qaly", rate=0.6, states=("late",), tags={"line": ("first", "second")}),
        RateReward(channel="qaly", rate=0.3, states=("late", "hospice"), tags={"line": ("later",)}),
        RateReward(channel="qaly", rate=-0.05, systemic=("drug",)),
        RateReward(channel="cost", rate=100.0, local=("none",)),
        AdministrationReward(channel="cost", amount=900.0, treatment="drug", period=0.7, first=0.0, most=12.0),
        AdministrationReward(
            channel="cost", amount=70.0, treatment="drug", period=0.7, first=0.0, most=12.0, tags={"line": ("first",)}
        ),
        AdministrationReward(channel="cost", amount=10.0, treatment="tace", period=3.0, first=0.5, per="size_at_entry"),
        MarkReward(channel="cost", amount=2000.0, mark="tace"),
        MarkReward(channel="cost", amount=5000.0, mark="dead"),
        MarkReward(channel="cost", amount=30.0, mark="visit", per="age"),
        MarkReward(channel="qaly", amount=-0.2, mark="toxicity", months=1.5),
        MarkReward(channel="cost", amount=250.0, mark="toxicity", months=4.0),
        TimeToDeathReward(channel="qaly", rate=-0.1, start=0.0, stop=3.0),
    )
    endpoints = (
        Endpoint(id="os", marks=("dead",)),
        Endpoint(id="pfs", marks=("progressed", "decompensated", "dead")),
        Endpoint(id="os_after_progression", marks=("dead",), origin="progressed"),
    )
    graph = replace(graph, attributes=(*graph.attributes, Attribute(name="size_at_entry")))
    question = Evaluation(
        pathway=graph,
        strategies=strategies,
        channels=channels,
        rewards=rewards,
        endpoints=endpoints,
        horizon=fields.pop("horizon", 120.0),
        landmarks=(6.0, 24.0),
        restrictions=(12.0, 60.0),
        crosses=(("cost", "qaly"), ("ly", "ly")),
        all_pairs=True,
        trace=True,
        seed=fields.pop("seed", 11),
        **fields,
    )
    return question, {**numbers, "discount": 0.05}


def clinic_full_cohort(patients: int) -> dict[str, Any]:
    """Baseline attributes for `clinic_evaluation`."""
    cohort = clinic_cohort(patients)
    return {**cohort, "size_at_entry": cohort["size"]}


def all_tables(found: Outcomes) -> dict[str, Any]:
    """Every array of an outcome."""
    names = ("sums", "pair_sums", "cross_sums", "quantities", "endpoint_counts", "occupancy", "mark_sums")
    return {name: getattr(found, name) for name in names}


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Names of the arrays that are not the same bits (NaN is the same as NaN)."""
    return [name for name in one if not np.array_equal(one[name], other[name], equal_nan=True)]


def digest(patients: int = 200) -> dict[str, str]:
    """Fingerprints of histories and tables of the clinic, the same wherever and however they are calculated."""
    question, numbers = clinic_evaluation(horizon=72.0)
    question = replace(question, pathway=_with_formulas(question.pathway))
    cohort, values = clinic_full_cohort(patients), as_values(numbers)
    found = simulate(question, values, cohort, patients=patients, threads=1)
    arrays = {name: np.ascontiguousarray(array) for name, array in all_tables(found).items()}
    for strategy in question.strategies[1:]:
        lives = histories(question, values, cohort, strategy=strategy.id, patients=patients)
        numeric = lives.visits.select_dtypes("number").to_numpy(np.float64)
        arrays[f"visits under {strategy.id}"] = np.ascontiguousarray(numeric)
        arrays[f"marks under {strategy.id}"] = lives.marks["time"].to_numpy()
    return {
        name: hashlib.blake2s(np.nan_to_num(array, nan=-1.5).tobytes()).hexdigest() for name, array in arrays.items()
    }


def _with_formulas(graph: Pathway) -> Pathway:
    """The pathway without hazards that become large tables, which take long in plain Python and are tested elsewhere."""
    simple = Hazard("llogis", {"shape": 1.3, "scale": 70.0}, cure=parameter("cured"))
    nodes: list[Node] = []
    for node in graph.nodes:
        if isinstance(node, State):
            transitions = tuple(
                replace(t, hazard=simple) if isinstance(t.hazard, Hazard) and t.hazard.family == "gengamma" else t
                for t in node.transitions
            )
            nodes.append(replace(node, transitions=transitions))
        else:
            nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


class FromTheStart(np.ndarray):
    """An array that refuses to count from its end: what compiled parts must never do (`engine.compiled.link`)."""

    def _look(self, where: Any) -> None:
        for one in where if isinstance(where, tuple) else (where,):
            if not isinstance(one, slice) and int(one) < 0:
                raise IndexError(f"place {where} is counted from the end")

    def __getitem__(self, where: Any) -> Any:
        self._look(where)
        return super().__getitem__(where)

    def __setitem__(self, where: Any, value: Any) -> None:
        self._look(where)
        super().__setitem__(where, value)


def digest_from_the_start(patients: int) -> dict[str, str]:
    """`digest` with arrays that refuse to count from their end; only without compilation."""
    plain = outcomes.directory
    outcomes.directory = lambda arrays: [array.view(FromTheStart) for array in plain(arrays)]
    try:
        return digest(patients)
    finally:
        outcomes.directory = plain
