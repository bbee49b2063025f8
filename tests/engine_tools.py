"""What the tests of the engine share: histories out of the kernel, small graphs, and sums over histories by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from oracle import HORIZON, Life, Mark, Oracle, Visit

from simhcc import outcomes
from simhcc.engine import kernel
from simhcc.engine import layout as at
from simhcc.engine.rng import split_seed
from simhcc.errors import SimulationError
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
    Node,
    Pathway,
    Reward,
    Row,
    ScanSchedule,
    Scheduled,
    State,
    Strata,
    Strategy,
    Transition,
    Treatment,
    exponential,
)
from simhcc.model import Names, as_values, build, names_of
from simhcc.simulation import Evaluation, Prepared

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
    return State(
        name=name, transitions=transitions, scheduled=tuple(e for e in events if e not in transitions), **fields
    )


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
    """Histories of patients `first_patient` and on, straight from the kernel, `block` patients at a time.

    `buffer` is the number of visits (and of marks) that fit into the buffers before they must be emptied.
    """
    ended_by: list[list[str]] = []
    return _histories(
        graph, strategy, numbers or {}, patients, horizon, seed, luck, first_patient, cohort, block, buffer, ended_by
    )


def endings(
    graph: Pathway, strategy: Strategy = PLAIN, numbers: Mapping[str, Any] | None = None, **fields: Any
) -> list[list[str]]:
    """What ended each visit of each patient: "node/edge" or "horizon"."""
    ended_by: list[list[str]] = []
    options = {"seed": 0, "luck": 0, "first_patient": 0, "cohort": None, "block": None, "buffer": None, **fields}
    _histories(graph, strategy, numbers or {}, ended_by=ended_by, **options)
    return ended_by


def _histories(
    graph: Pathway,
    strategy: Strategy,
    numbers: Mapping[str, Any],
    patients: int,
    horizon: float,
    seed: int,
    luck: int,
    first_patient: int,
    cohort: Mapping[str, Any] | None,
    block: int | None,
    buffer: int | None,
    ended_by: list[list[str]],
) -> list[Life]:
    names = names_of(graph, [strategy])
    model = build(graph, strategy, as_values(numbers), names)
    given = {name: np.asarray(value, dtype=np.float64) for name, value in (cohort or {}).items()}
    columns = np.full(max(len(names.attributes), 1), -1, dtype=np.int64)
    initial = np.zeros(max(len(names.attributes), 1))
    rows: list[Any] = []
    for position, declared in enumerate(graph.attributes):
        if declared.name in given:
            columns[position] = len(rows)
            rows.append(given[declared.name][:patients])
        else:
            assert declared.initial is not None
            initial[position] = declared.initial
    matrix = np.ascontiguousarray(np.stack(rows)) if rows else np.zeros((1, 1))
    k0, k1 = split_seed(seed)
    block = block or patients
    work = workspace(model, block, buffer)
    lives = [Life() for _ in range(patients)]
    ended_by.extend([] for _ in range(patients))
    for begin in range(0, patients, block):
        count = min(block, patients - begin)
        with np.errstate(all="ignore"):
            kernel.begin_block(
                model, work.reals, work.integers, work.lists, work.queued, matrix, columns, initial, begin, count
            )
            work.control[:] = 0
            status = at.BUFFER_FULL
            while status == at.BUFFER_FULL:
                status = kernel.advance(
                    model, 0, float(horizon), np.uint64(first_patient + begin), np.uint64(luck), k0, k1, work.reals,
                    work.integers, work.lists, work.queued, work.groups, work.visit_reals, work.visit_integers,
                    work.mark_reals, work.mark_integers, work.control,
                )  # fmt: skip
                _collect(names, work, lives, ended_by, begin)
        if status != at.OK:
            patient = first_patient + begin + int(work.control[at.CONTROL_ERROR_PATIENT])
            raise SimulationError(f"patient {patient} {at.ERROR_WORDS[int(status)]}")
    return lives


def workspace(model: at.Model, block: int, buffer: int | None = None) -> outcomes.Work:
    """Buffers for a block of patients, by the same function as a real run."""
    plain = Evaluation(
        pathway=pathway(only("a", dying()), DEAD),
        strategies=(PLAIN,),
        channels=(),
        rewards=(),
        horizon=1.0,
        grid_step=None,
    )
    prepared = Prepared(plain, {}, None, 1)
    work = outcomes.allocate(outcomes.stack([model]), prepared.rewards, prepared.plan, block)
    if buffer is None:
        return work
    assert buffer >= 2 * block, "one step of a whole block can write two visits and two marks each"
    return work._replace(
        visit_reals=np.zeros((4, buffer)),
        visit_integers=np.zeros((3, buffer), dtype=np.int64),
        mark_reals=np.zeros(buffer),
        mark_integers=np.zeros((2, buffer), dtype=np.int64),
    )


def _collect(names: Names, work: outcomes.Work, lives: list[Life], ended_by: list[list[str]], begin: int) -> None:
    for i in range(int(work.control[at.CONTROL_VISITS])):
        state, local, systemic, tag = (
            int(x) for x in np.unravel_index(work.visit_integers[at.VISIT_IN_CELL, i], names.cells)
        )
        levels = [len(labels) for _, labels in names.tags]
        patient = begin + int(work.visit_integers[at.VISIT_PATIENT, i])
        lives[patient].visits.append(
            Visit(
                names.states[state],
                names.local[local],
                names.systemic[systemic],
                tuple(int(level) for level in np.unravel_index(tag, levels)) if levels else (),
                *(float(work.visit_reals[row, i]) for row in range(4)),
            )
        )
        edge = int(work.visit_integers[at.VISIT_ENDED_BY, i])
        ended_by[patient].append(HORIZON if edge == at.ENDED_BY_HORIZON else names.edges[edge])
    for i in range(int(work.control[at.CONTROL_MARKS])):
        patient = begin + int(work.mark_integers[at.MARK_PATIENT, i])
        lives[patient].marks.append(
            Mark(names.marks[int(work.mark_integers[at.MARK_NAME, i])], float(work.mark_reals[i]))
        )
    work.control[at.CONTROL_VISITS] = 0
    work.control[at.CONTROL_MARKS] = 0


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


def chain(length: int, make: Any) -> list[Any]:
    """`make(number, name, next name)` for instant nodes i0 -> i1 -> ... -> after."""
    names = [f"i{number}" for number in range(length)] + ["after"]
    return [make(number, names[number], names[number + 1]) for number in range(length)]


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
            Scheduled(name="tace_again", to="plan", first=0.0, period=2.0, origin=Clock.LOCAL,
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
