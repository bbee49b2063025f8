"""The public, typed way to declare a pathway: states, chance and decision nodes, ends, treatments and rewards.

A `Pathway` is structure only. Numbers are named in expressions (`parameter("surgery.p_death_90d")`) and given later; what a
strategy does stands in its decision tables (`Strategy`). `Pathway.check` refuses a graph that cannot be run and names the
thing; `Pathway.mermaid` draws it and `Pathway.describe` puts it in words. Times are months and hazards per month.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from simhcc.engine import hazards as _hazards
from simhcc.errors import ModelError
from simhcc.expressions import Expression, Operand, as_expression, depends_on_patient, in_words, leaves

STAY = "STAY"
"""Destination of an edge that returns to the running stay: entry clock, thresholds and counters go on."""

NO_TREATMENT = "none"
"""The treatment that fills both slots at entry."""

SLOTS = ("local", "systemic")


class Clock(IntEnum):
    """The time that a hazard runs on."""

    STATE = 0
    """Months since the running stay began (clock reset)."""
    MODEL = 1
    """Months since entry into the model (clock forward)."""
    LOCAL = 2
    """Months since the current local treatment started."""
    SYSTEMIC = 3
    """Months since the current systemic treatment started."""
    AGE = 4
    """Attained age in months; needs `Pathway.age_years`."""


@dataclass(frozen=True)
class Hazard:
    """A hazard by family and flexsurv's parameters, each a number or an expression of parameters.

    Families: `exponential(rate)`, `weibull(shape, scale)`, `weibullPH(shape, scale)`, `gompertz(shape, rate)`,
    `llogis(shape, scale)`, `lnorm(meanlog, sdlog)`, `gengamma(mu, sigma, Q)`, `survspline(gamma, knots)` on the log
    cumulative hazard, `pwexp(rates, times)` and `cumulative(times, values)`. The vectors of the last three are sequences of
    numbers or expressions, or the name of a vector parameter. `cure` is a share that never has the event (mixture cure).
    With `years=True` the times of a `pwexp` or `cumulative` are years and its rates per year, as in a life table.
    """

    family: str
    parameters: Mapping[str, Operand | Sequence[Operand] | str]
    cure: Operand | None = None
    years: bool = False

    def __post_init__(self) -> None:
        expected = HAZARD_PARAMETERS.get(self.family)
        if expected is None:
            raise ModelError(f"hazard family {self.family!r} is unknown; families: {', '.join(HAZARD_PARAMETERS)}")
        if set(self.parameters) != set(expected):
            raise ModelError(
                f"a {self.family} hazard takes the parameters {', '.join(expected)}, not {', '.join(self.parameters)}"
            )


HAZARD_PARAMETERS: dict[str, tuple[str, ...]] = {
    "exponential": ("rate",),
    "weibull": ("shape", "scale"),
    "weibullPH": ("shape", "scale"),
    "gompertz": ("shape", "rate"),
    "llogis": ("shape", "scale"),
    "lnorm": ("meanlog", "sdlog"),
    "gengamma": ("mu", "sigma", "Q"),
    "survspline": ("gamma", "knots"),
    "pwexp": ("rates", "times"),
    "cumulative": ("times", "values"),
}


def hazard_key(hazard: Hazard | Strata) -> tuple[object, ...]:
    """Structure of a hazard; two hazards with equal keys are one."""
    if isinstance(hazard, Strata):
        return (hazard.by, *(hazard_key(one) for one in hazard.hazards))
    parameters: list[object] = []
    for name, value in sorted(hazard.parameters.items()):
        if isinstance(value, str):
            parameters.append((name, value))
        elif isinstance(value, Sequence):
            parameters.append((name, *(as_expression(item).key for item in value)))
        else:
            parameters.append((name, as_expression(value).key))
    cure = None if hazard.cure is None else as_expression(hazard.cure).key
    return (hazard.family, cure, hazard.years, *parameters)


def exponential(rate: Operand) -> Hazard:
    """A constant hazard of `rate` per month."""
    return Hazard("exponential", {"rate": rate})


@dataclass(frozen=True)
class Strata:
    """One hazard per level of an attribute, such as a life table by sex; level k uses `hazards[k]`."""

    by: str
    hazards: tuple[Hazard, ...]


@dataclass(frozen=True, kw_only=True)
class Edge:
    """What happens on leaving a node, in this order: mark (with the old attributes), updates, treatment, destination.

    `to` is a node's name or `STAY`. `updates` are carried out in their order, each seeing the ones before. `local` and
    `systemic` fill a slot with a treatment (`"none"` empties it); giving the current one again changes nothing unless
    `restart` is set.
    """

    to: str
    mark: str | None = None
    updates: Mapping[str, Operand] = field(default_factory=dict)
    local: str | None = None
    systemic: str | None = None
    restart: bool = False


@dataclass(frozen=True, kw_only=True)
class Transition(Edge):
    """A competing event of a state that fires when its cumulative hazard reaches a unit-exponential threshold.

    `log_multiplier` is the log of a hazard ratio (log-linear in attributes, or any expression); it is limited to +-700,
    and minus infinity means never. `seen_at_scan` names a `ScanSchedule`: the event happens at its latent time and takes
    effect at the next scan. `threshold="life"` draws one threshold for life, carried through all states (model and age
    clocks only). `effect` is the name under which treatments act on this transition (its own name by default).
    """

    name: str
    hazard: Hazard | Strata
    clock: Clock = Clock.STATE
    log_multiplier: Operand | None = None
    seen_at_scan: str | None = None
    threshold: str = "stay"
    effect: str | None = None


@dataclass(frozen=True, kw_only=True)
class Scheduled(Edge):
    """An event at origin + first + k x period (k = 0, 1, ...; once if there is no period).

    The origin is the state's entry (`Clock.STATE`), entry into the model, or the start of a treatment. Due exactly at
    entry fires, due earlier is skipped. The counter belongs to the stay (state clock) or else to the treatment or life.
    `first` may be an expression of the patient; `when` switches the event off while it is 0.

    A `rearmed` event has no period: it happens at origin + first whenever that time comes, so as often as an edge gives
    `first` another value. What it leads to must do so before the stay goes on, or it would happen for ever at one time, which
    stops the run (rule 11 of `docs/engine.md`).
    """

    name: str
    first: Operand
    period: Operand | None = None
    origin: Clock = Clock.STATE
    when: Operand | None = None
    rearmed: bool = False


@dataclass(frozen=True, kw_only=True)
class ScanSchedule:
    """Times at which latent events are seen: segments (start, period) in months from the origin.

    Scans fall at start + k x period until the next segment starts; the first scan of a segment is at its start. The
    origin is a clock, or an attribute that holds a time in months since entry.
    """

    name: str
    segments: tuple[tuple[Operand, Operand], ...]
    origin: Clock | str = Clock.STATE


@dataclass(frozen=True, kw_only=True)
class State:
    """A node where time passes: competing transitions and scheduled events."""

    name: str
    transitions: tuple[Transition, ...] = ()
    scheduled: tuple[Scheduled, ...] = ()
    label: str = ""

    @property
    def events(self) -> tuple[Transition | Scheduled, ...]:
        """Transitions, then scheduled events, in declared order: the order in which equal times are taken."""
        return (*self.transitions, *self.scheduled)


@dataclass(frozen=True, kw_only=True)
class Branch(Edge):
    """One branch of a chance node, taken in proportion to its weight."""

    name: str
    weight: Operand


@dataclass(frozen=True, kw_only=True)
class Chance:
    """A node that draws one branch; weights that are numbers must sum to one."""

    name: str
    branches: tuple[Branch, ...]
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A node where the strategy's table decides: `actions` maps an action's name to its edge.

    `default` rows are inherited by every strategy that brings no table of its own for this node.
    """

    name: str
    actions: Mapping[str, Edge]
    default: tuple[Row, ...] = ()
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class End:
    """A node that stops the history; entering it leaves a mark of the node's name."""

    name: str
    label: str = ""


Node = State | Chance | Decision | End


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of a decision table: the first row whose `when` holds is carried out.

    `when=None` always holds. `local`, `systemic`, `updates` and `mark` add to, or replace, those of the action's edge.
    """

    do: str
    when: Expression | None = None
    local: str | None = None
    systemic: str | None = None
    updates: Mapping[str, Operand] = field(default_factory=dict)
    mark: str | None = None


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """A strategy to be compared: tables by decision node, and parameters that it replaces."""

    id: str
    tables: Mapping[str, tuple[Row, ...]] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A treatment's effect on a transition's hazard.

    While on treatment the hazard ratio is 1 until `delay` months and `ratio` afterwards (`steps` gives further (month, ratio)
    pairs since the start). `share_postponed` s splits it: the transition's own clock runs at speed ratio**s and its hazard
    is multiplied by ratio**(1 - s), so s = 0 is mode `rate` (risk avoided stays avoided) and s = 1 mode `clock` (the
    event is postponed). After stopping, having passed the delay, the hazard ratio is `off_ratio`, which wanes to 1 with
    `waning_half_life` months in steps of `waning_step`; without a half-life it stays.
    """

    ratio: Operand
    share_postponed: Operand = 0.0
    delay: Operand = 0.0
    steps: tuple[tuple[Operand, Operand], ...] = ()
    off_ratio: Operand = 1.0
    waning_half_life: Operand | None = None
    waning_step: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Treatment:
    """Something received, in one of the two slots; `effects` maps a transition's effect name to an `Effect`."""

    id: str
    slot: str
    effects: Mapping[str, Effect] = field(default_factory=dict)
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """A patient's attribute: taken from the cohort where it has one of this name, else `initial`.

    `initial=None` means the cohort must have it. `levels` names the codes 0, 1, 2, ... of a categorical attribute.
    """

    name: str
    initial: float | None = None
    levels: tuple[str, ...] = ()
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class Pathway:
    """A pathway graph.

    `start` is the node of entry at time 0. `derived` names expressions that decision tables may use like attributes.
    `tag` lists attributes (with `levels`) that split visits for rewards. `age_years` is the attribute with age at entry.
    """

    name: str
    start: str
    nodes: tuple[Node, ...]
    attributes: tuple[Attribute, ...] = ()
    treatments: tuple[Treatment, ...] = ()
    schedules: tuple[ScanSchedule, ...] = ()
    derived: Mapping[str, Expression] = field(default_factory=dict)
    derived_levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tag: tuple[str, ...] = ()
    age_years: str | None = None
    label: str = ""

    # -- reading ---------------------------------------------------------------------------------------------------

    def node(self, name: str) -> Node:
        """The node of this name; raises ModelError with the nearest name."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise ModelError(f"node {name!r} is unknown{_near(name, [n.name for n in self.nodes])}")

    def strategy_edges(self, strategy: Strategy, decision: Decision) -> list[tuple[Row, Edge]]:
        """The rows that a strategy follows at a decision node, each with the edge that it makes of its action."""
        rows = strategy.tables.get(decision.name, decision.default)
        return [(row, _row_edge(decision.actions[row.do], row)) for row in rows]

    def edges(self, strategy: Strategy) -> Iterator[tuple[Node, str, Edge]]:
        """All (node, edge name, edge) under a strategy, in declared order."""
        for node in self.nodes:
            if isinstance(node, State):
                for item in node.events:
                    yield node, item.name, item
            elif isinstance(node, Chance):
                for branch in node.branches:
                    yield node, branch.name, branch
            elif isinstance(node, Decision):
                for number, (row, edge) in enumerate(self.strategy_edges(strategy, node), start=1):
                    yield node, f"row {number}: {row.do}", edge

    # -- checking --------------------------------------------------------------------------------------------------

    def check(self, strategy: Strategy) -> None:
        """Raise ModelError, naming the thing and the remedy, if the graph cannot be run under `strategy`."""
        _check_names(self)
        names = {node.name for node in self.nodes}
        if self.start not in names:
            raise ModelError(f"start node {self.start!r} is unknown{_near(self.start, names)}")
        for decision in strategy.tables:
            if decision not in names or not isinstance(self.node(decision), Decision):
                known = [node.name for node in self.nodes if isinstance(node, Decision)]
                raise ModelError(
                    f"strategy {strategy.id!r} has a table for {decision!r}, which is not a decision node"
                    f"{_near(decision, known)}"
                )
        for node in self.nodes:
            _check_node(self, node, strategy)
        for node, name, edge in self.edges(strategy):
            _check_edge(self, f"{node.name}/{name}", edge)
        _check_life_thresholds(self)
        _check_reachable(self, strategy)
        _check_instant_cycles(self, strategy)
        _check_stays(self, strategy)
        _check_expressions(self, strategy)

    # -- drawing and words -----------------------------------------------------------------------------------------

    def mermaid(self, strategy: Strategy | None = None) -> str:
        """The graph as Mermaid flowchart text; with a strategy, only the actions that its tables take."""
        lines = ["flowchart TD"]
        position = {node.name: f"n{number}" for number, node in enumerate(self.nodes)}
        for node in self.nodes:
            text = _mermaid_text(node.label or node.name.replace("_", " "))
            shape = {State: ('["', '"]'), Chance: ('(("', '"))'), Decision: ('{"', '"}'), End: ('(["', '"])')}[
                type(node)
            ]
            lines.append(f"    {position[node.name]}{shape[0]}{text}{shape[1]}")
        for node in self.nodes:
            for name, edge in _drawn_edges(self, node, strategy):
                target = node.name if edge.to == STAY else edge.to
                arrow = "-.->" if edge.to == STAY else "-->"
                lines.append(f'    {position[node.name]} {arrow}|"{_mermaid_text(name)}"| {position[target]}')
        return "\n".join(lines) + "\n"

    def describe(self, strategy: Strategy) -> str:
        """The pathway under a strategy in words, node by node."""
        lines = [self.label or self.name.replace("_", " ")]
        if strategy.label or strategy.id:
            lines.append(f"Strategy: {strategy.label or strategy.id}")
        lines.append(f"A patient enters at {self.start.replace('_', ' ')}.")
        for node in self.nodes:
            lines.append("")
            lines.append(f"{node.label or node.name.replace('_', ' ')} ({_KIND_WORDS[type(node)]})")
            if isinstance(node, Decision):
                for row, edge in self.strategy_edges(strategy, node):
                    condition = "otherwise" if row.when is None else f"if {in_words(row.when)}"
                    lines.append(f"  {condition}: {row.do.replace('_', ' ')}{_edge_words(edge)}")
                continue
            for name, edge in _drawn_edges(self, node, strategy):
                lines.append(f"  {name.replace('_', ' ')}: {_cause_words(edge)}{_edge_words(edge)}")
        return "\n".join(lines) + "\n"


_KIND_WORDS = {State: "time passes", Chance: "chance", Decision: "decision", End: "end"}


def _row_edge(action: Edge, row: Row) -> Edge:
    return Edge(
        to=action.to,
        mark=row.mark if row.mark is not None else action.mark,
        updates={**action.updates, **row.updates},
        local=row.local if row.local is not None else action.local,
        systemic=row.systemic if row.systemic is not None else action.systemic,
        restart=action.restart,
    )


def _drawn_edges(pathway: Pathway, node: Node, strategy: Strategy | None) -> list[tuple[str, Edge]]:
    if isinstance(node, State):
        return [(item.name, item) for item in node.events]
    if isinstance(node, Chance):
        return [(branch.name, branch) for branch in node.branches]
    if isinstance(node, Decision):
        if strategy is None:
            return list(node.actions.items())
        taken: dict[str, Edge] = {}
        for row, edge in pathway.strategy_edges(strategy, node):
            taken.setdefault(row.do, edge)
        return list(taken.items())
    return []


def _mermaid_text(text: str) -> str:
    return text.replace('"', "#quot;").replace("_", " ")


def _cause_words(edge: Edge) -> str:
    if isinstance(edge, Transition):
        seen = ", seen at the next scan" if edge.seen_at_scan else ""
        hazard = "by stratum of " + edge.hazard.by if isinstance(edge.hazard, Strata) else edge.hazard.family
        return f"hazard ({hazard}, {edge.clock.name.lower()} clock{seen})"
    if isinstance(edge, Scheduled):
        every = f", then every {in_words(as_expression(edge.period))} months" if edge.period is not None else ""
        every = ", each time that is set" if edge.rearmed else every
        return f"at {in_words(as_expression(edge.first))} months of {edge.origin.name.lower()} time{every}"
    if isinstance(edge, Branch):
        return f"probability {in_words(as_expression(edge.weight))}"
    return ""


def _edge_words(edge: Edge) -> str:
    parts = []
    for slot, treatment in (("local", edge.local), ("systemic", edge.systemic)):
        if treatment == NO_TREATMENT:
            parts.append(f"stop {slot} treatment")
        elif treatment is not None:
            parts.append(f"start {treatment} ({slot})")
    parts += [f"{name} becomes {in_words(as_expression(value))}" for name, value in edge.updates.items()]
    parts.append("stay" if edge.to == STAY else f"go to {edge.to.replace('_', ' ')}")
    return " -> " + "; ".join(parts)


# -- checks --------------------------------------------------------------------------------------------------------


def _near(name: str, known: object) -> str:
    found = difflib.get_close_matches(name, list(known), 1, 0.5)  # type: ignore[call-overload]
    return f"; the nearest is {found[0]!r}" if found else ""


def _refuse_repeats(what: str, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if not name or name == STAY or "/" in name:
            raise ModelError(f"{what} cannot be named {name!r}: names are not empty, not STAY, and have no '/'")
        if name in seen:
            raise ModelError(f"{what} {name!r} is declared twice; names must differ")
        seen.add(name)


def _check_names(pathway: Pathway) -> None:
    _refuse_repeats("node", [node.name for node in pathway.nodes])
    _refuse_repeats("attribute", [*(a.name for a in pathway.attributes), *pathway.derived])
    if any(node.name == "life" for node in pathway.nodes):
        raise ModelError("a node cannot be named 'life', which addresses the thresholds for life")
    _check_derived(pathway)
    _refuse_repeats("treatment", [t.id for t in pathway.treatments])
    _refuse_repeats("scan schedule", [s.name for s in pathway.schedules])
    attributes = {a.name: a for a in pathway.attributes}
    for treatment in pathway.treatments:
        if treatment.id == NO_TREATMENT:
            raise ModelError("treatment 'none' stands for an empty slot and cannot be declared")
        if treatment.slot not in SLOTS:
            raise ModelError(f"treatment {treatment.id!r}: slot {treatment.slot!r} is unknown; slots: local, systemic")
    for name in pathway.tag:
        if name not in attributes:
            raise ModelError(f"tag attribute {name!r} is not declared{_near(name, attributes)}")
        if not attributes[name].levels:
            raise ModelError(f"tag attribute {name!r} needs levels, so that visits can be counted by them")
    if pathway.age_years is not None and pathway.age_years not in attributes:
        raise ModelError(f"age attribute {pathway.age_years!r} is not declared{_near(pathway.age_years, attributes)}")
    for schedule in pathway.schedules:
        if isinstance(schedule.origin, str) and schedule.origin not in attributes:
            raise ModelError(
                f"scan schedule {schedule.name!r}: origin attribute {schedule.origin!r} is not declared"
                f"{_near(schedule.origin, attributes)}"
            )
        if not schedule.segments:
            raise ModelError(f"scan schedule {schedule.name!r} has no segments")


def _check_derived(pathway: Pathway) -> None:
    """Derived expressions use attributes and each other, never in a circle."""
    attributes = [*(a.name for a in pathway.attributes), *pathway.derived]
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        if name in trail:
            raise ModelError(
                f"derived {' -> '.join([*trail[trail.index(name) :], name])} refer to each other in a circle"
            )
        if name in done:
            return
        for used in leaves(pathway.derived[name], "attribute"):
            if used not in attributes:
                raise ModelError(
                    f"derived {name!r} uses attribute {used!r}, which is not declared{_near(used, attributes)}"
                )
            if used in pathway.derived:
                visit(used, (*trail, name))
        done.add(name)

    for name in pathway.derived:
        visit(name, ())


def _check_node(pathway: Pathway, node: Node, strategy: Strategy) -> None:
    if isinstance(node, State):
        if not node.transitions and not node.scheduled:
            raise ModelError(
                f"state {node.name!r} has no transition and no scheduled event: use an End to stop a history"
            )
        _refuse_repeats(f"in state {node.name!r}, event", [item.name for item in node.events])
        for transition in node.transitions:
            _check_transition(pathway, node, transition)
        for event in node.scheduled:
            if event.origin is Clock.AGE:
                raise ModelError(f"{node.name}/{event.name}: a scheduled event cannot have attained age as its origin")
            if event.rearmed and (event.period is not None or not depends_on_patient(as_expression(event.first))):
                raise ModelError(
                    f"{node.name}/{event.name}: a rearmed event has no period, and a first time that depends on the patient, "
                    "so that an edge can set it anew"
                )
    elif isinstance(node, Chance):
        if not node.branches:
            raise ModelError(f"chance node {node.name!r} has no branches")
        _refuse_repeats(f"in chance node {node.name!r}, branch", [branch.name for branch in node.branches])
    elif isinstance(node, Decision):
        for source, rows in (("default", node.default), (strategy.id, strategy.tables.get(node.name, ()))):
            for number, row in enumerate(rows, start=1):
                if row.do not in node.actions:
                    raise ModelError(
                        f"decision {node.name!r}, table of {source!r}, row {number}: action {row.do!r} is unknown"
                        f"{_near(row.do, node.actions)}; actions: {', '.join(node.actions)}"
                    )
        rows = strategy.tables.get(node.name, node.default)
        if not rows:
            raise ModelError(
                f"strategy {strategy.id!r} has no table for decision {node.name!r}, which has no default rows"
            )
        if rows[-1].when is not None:
            raise ModelError(
                f"strategy {strategy.id!r}: the table for decision {node.name!r} can fall through; end it with a row "
                "without 'when'"
            )
        for number, row in enumerate(rows[:-1], start=1):
            if row.when is None:
                raise ModelError(
                    f"strategy {strategy.id!r}, decision {node.name!r}: row {number} always holds, so the rows after it "
                    "can never be reached"
                )


def _check_transition(pathway: Pathway, node: State, transition: Transition) -> None:
    place = f"{node.name}/{transition.name}"
    if not isinstance(transition.hazard, (Hazard, Strata)):
        raise ModelError(f"transition {place} has no hazard")
    if transition.clock is Clock.AGE and pathway.age_years is None:
        raise ModelError(f"transition {place} runs on attained age, but the pathway names no age attribute (age_years)")
    if transition.threshold not in ("stay", "life"):
        raise ModelError(f"transition {place}: threshold {transition.threshold!r} is unknown; use 'stay' or 'life'")
    if transition.seen_at_scan is not None and transition.seen_at_scan not in {s.name for s in pathway.schedules}:
        known = [s.name for s in pathway.schedules]
        raise ModelError(
            f"transition {place}: scan schedule {transition.seen_at_scan!r} is unknown{_near(transition.seen_at_scan, known)}"
        )
    if isinstance(transition.hazard, Strata):
        attributes = {a.name for a in pathway.attributes}
        if transition.hazard.by not in attributes:
            raise ModelError(
                f"transition {place}: strata attribute {transition.hazard.by!r} is not declared"
                f"{_near(transition.hazard.by, attributes)}"
            )
        if not transition.hazard.hazards:
            raise ModelError(f"transition {place} has no hazard in its strata")


def _check_edge(pathway: Pathway, place: str, edge: Edge) -> None:
    names = [node.name for node in pathway.nodes]
    if edge.to != STAY and edge.to not in names:
        raise ModelError(f"{place} leads to {edge.to!r}, which is not a node{_near(edge.to, names)}")
    attributes = [a.name for a in pathway.attributes]
    for name in edge.updates:
        if name not in attributes:
            raise ModelError(f"{place} updates {name!r}, which is not a declared attribute{_near(name, attributes)}")
    treatments = {t.id: t for t in pathway.treatments}
    for slot, treatment in (("local", edge.local), ("systemic", edge.systemic)):
        if treatment is None or treatment == NO_TREATMENT:
            continue
        if treatment not in treatments:
            raise ModelError(
                f"{place} gives treatment {treatment!r}, which is not declared{_near(treatment, treatments)}"
            )
        if treatments[treatment].slot != slot:
            raise ModelError(
                f"{place} gives {treatment!r} in the {slot} slot, but it is a {treatments[treatment].slot} treatment"
            )


def _check_life_thresholds(pathway: Pathway) -> None:
    states = [node for node in pathway.nodes if isinstance(node, State)]
    life: dict[str, Transition] = {}
    for state in states:
        for transition in state.transitions:
            if transition.threshold != "life":
                continue
            place = f"{state.name}/{transition.name}"
            if transition.clock not in (Clock.MODEL, Clock.AGE):
                raise ModelError(f"transition {place}: a threshold for life needs the model or the age clock")
            if transition.seen_at_scan is not None:
                raise ModelError(f"transition {place}: a threshold for life cannot be seen at a scan")
            if transition.to == STAY:
                raise ModelError(f"transition {place}: a threshold for life fires once and cannot return to the stay")
            first = life.setdefault(transition.name, transition)
            if hazard_key(first.hazard) != hazard_key(transition.hazard) or first.clock is not transition.clock:
                raise ModelError(
                    f"transition {place}: a threshold for life must have one hazard and one clock in every state"
                )
    for name in life:
        missing = [s.name for s in states if name not in [t.name for t in s.transitions]]
        if missing:
            raise ModelError(
                f"transition {name!r} has a threshold for life, so it must stand in every state; missing in {missing[0]!r}"
            )


def _targets(pathway: Pathway, strategy: Strategy) -> dict[str, set[str]]:
    targets: dict[str, set[str]] = {node.name: set() for node in pathway.nodes}
    for node, _, edge in pathway.edges(strategy):
        if edge.to != STAY:
            targets[node.name].add(edge.to)
    return targets


def _check_reachable(pathway: Pathway, strategy: Strategy) -> None:
    """A node that no declared edge can reach is a mistake; one that only this strategy avoids is not."""
    targets = _targets(pathway, strategy)
    for node in pathway.nodes:
        if isinstance(node, Decision):
            targets[node.name] |= {edge.to for edge in node.actions.values() if edge.to != STAY}
    reached, todo = {pathway.start}, [pathway.start]
    while todo:
        for name in targets[todo.pop()]:
            if name not in reached:
                reached.add(name)
                todo.append(name)
    lost = [node.name for node in pathway.nodes if node.name not in reached]
    if lost:
        raise ModelError(f"node {lost[0]!r} cannot be reached from the start node {pathway.start!r}")
    if not any(isinstance(node, State) for node in pathway.nodes):
        raise ModelError(f"pathway {pathway.name!r} has no state, so no time would pass")


def _check_instant_cycles(pathway: Pathway, strategy: Strategy) -> None:
    instant = {node.name for node in pathway.nodes if isinstance(node, (Chance, Decision))}
    targets = {name: sorted(to & instant) for name, to in _targets(pathway, strategy).items() if name in instant}
    colour: dict[str, int] = {}

    def visit(name: str, trail: list[str]) -> None:
        colour[name] = 1
        for target in targets[name]:
            if colour.get(target) == 1:
                loop = " -> ".join([*trail[trail.index(target) :], target])
                raise ModelError(
                    f"strategy {strategy.id!r}: the instant nodes {loop} form a loop that never passes time"
                )
            if target not in colour:
                visit(target, [*trail, target])
        colour[name] = 2

    for name in targets:
        if name not in colour:
            visit(name, [name])


def _check_stays(pathway: Pathway, strategy: Strategy) -> None:
    """STAY needs a running stay: it cannot be reached from the start before a state has been entered."""
    edges: dict[str, list[tuple[str, Edge]]] = {node.name: [] for node in pathway.nodes}
    for node, name, edge in pathway.edges(strategy):
        edges[node.name].append((name, edge))
    todo, seen = [pathway.start], {pathway.start}
    while todo:
        place = todo.pop()
        if isinstance(pathway.node(place), State):
            continue
        for name, edge in edges[place]:
            if edge.to == STAY:
                raise ModelError(f"{place}/{name} returns to a stay, but no state has been entered before it")
            if edge.to not in seen:
                seen.add(edge.to)
                todo.append(edge.to)


def expressions_of(pathway: Pathway, strategy: Strategy) -> Iterator[tuple[str, Expression]]:
    """All (place, expression) of a pathway under a strategy, hazards and effects included."""
    for node in pathway.nodes:
        if isinstance(node, State):
            for transition in node.transitions:
                place = f"{node.name}/{transition.name}"
                hazards = transition.hazard.hazards if isinstance(transition.hazard, Strata) else (transition.hazard,)
                for hazard in hazards:
                    for value in hazard.parameters.values():
                        yield from ((f"{place} (hazard)", e) for e in _hazard_expressions(value))
                    if hazard.cure is not None:
                        yield f"{place} (cure)", as_expression(hazard.cure)
                if transition.log_multiplier is not None:
                    yield f"{place} (log multiplier)", as_expression(transition.log_multiplier)
            for event in node.scheduled:
                place = f"{node.name}/{event.name}"
                yield f"{place} (first)", as_expression(event.first)
                if event.period is not None:
                    yield f"{place} (period)", as_expression(event.period)
                if event.when is not None:
                    yield f"{place} (when)", as_expression(event.when)
        elif isinstance(node, Chance):
            for branch in node.branches:
                yield f"{node.name}/{branch.name} (weight)", as_expression(branch.weight)
        elif isinstance(node, Decision):
            for number, (row, _) in enumerate(pathway.strategy_edges(strategy, node), start=1):
                if row.when is not None:
                    yield f"{node.name}/row {number} (when)", row.when
    for node, name, edge in pathway.edges(strategy):
        for target, value in edge.updates.items():
            yield f"{node.name}/{name} (update of {target})", as_expression(value)
    for treatment in pathway.treatments:
        for name, effect in treatment.effects.items():
            for value in _effect_operands(effect):
                yield f"effect of {treatment.id} on {name}", as_expression(value)
    for schedule in pathway.schedules:
        for segment in schedule.segments:
            for value in segment:
                yield f"scan schedule {schedule.name}", as_expression(value)


def _hazard_expressions(value: Operand | Sequence[Operand] | str) -> Iterator[Expression]:
    if isinstance(value, str):
        yield Expression("lookup", (as_expression(0.0),), value)
    elif isinstance(value, Sequence):
        for item in value:
            yield as_expression(item)
    else:
        yield as_expression(value)


def _effect_operands(effect: Effect) -> Iterator[Operand]:
    yield from (effect.ratio, effect.share_postponed, effect.delay, effect.off_ratio)
    if effect.waning_half_life is not None:
        yield effect.waning_half_life
    for step in effect.steps:
        yield from step


_PARAMETERS_ONLY = ("(hazard)", "(cure)", "(period)", "effect of", "scan schedule")


def _check_expressions(pathway: Pathway, strategy: Strategy) -> None:
    attributes = [*(a.name for a in pathway.attributes), *pathway.derived]
    treatments = [t.id for t in pathway.treatments]
    effects = {t.effect or t.name for node in pathway.nodes if isinstance(node, State) for t in node.transitions}
    for treatment in pathway.treatments:
        for name in treatment.effects:
            if name not in effects:
                raise ModelError(
                    f"treatment {treatment.id!r} acts on {name!r}, which no transition is called{_near(name, effects)}"
                )
    for place, expression in expressions_of(pathway, strategy):
        for name in sorted(expression.attributes.difference(attributes)):
            raise ModelError(f"{place} uses attribute {name!r}, which is not declared{_near(name, attributes)}")
        for name in sorted(expression.treatments.difference(treatments)):
            raise ModelError(f"{place} uses treatment {name!r}, which is not declared{_near(name, treatments)}")
        if any(part in place for part in _PARAMETERS_ONLY) and depends_on_patient(expression):
            raise ModelError(
                f"{place} may depend on parameters only, but {in_words(expression)} depends on the patient"
            )


# -- rewards -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Channel:
    """Something summed over a life: life years, QALYs, a cost category. `discount` is per year, 0.05 for 5 %."""

    id: str
    discount: Operand = 0.0
    scale: float = 1.0
    """Factor applied to the reported sum, such as 1/12 to turn months into years."""
    age_bands: tuple[tuple[Operand, Operand], ...] = ()
    """(age in years, factor): from each age on, what accrues in time is multiplied by the factor."""


@dataclass(frozen=True, kw_only=True)
class RateReward:
    """`rate` per month in `channel`, while in the named states and on the named treatments; None means any."""

    channel: str
    rate: Operand
    states: tuple[str, ...] | None = None
    local: tuple[str, ...] | None = None
    systemic: tuple[str, ...] | None = None
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class AdministrationReward:
    """`amount` in `channel` at start + first + k x period of a treatment (k = 0, 1, ..., `most` - 1) while it is given.

    A whole pack that is dispensed at the start of a cycle is an administration with the pack's period. `per` names an
    attribute that multiplies the amount (dose units by weight, for example). `tags` restricts it to times at which the
    patient has one of the levels; times that are left out count towards `most` all the same.
    """

    channel: str
    amount: Operand
    treatment: str
    period: Operand
    first: Operand = 0.0
    most: Operand | None = None
    per: str | None = None
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class MarkReward:
    """`amount` in `channel` each time the mark is made; `mark` may be an End's name.

    With `months`, `amount` is a rate per month over that many months from the mark, cut at death and at the horizon;
    overlapping intervals of one reward extend, they do not add.
    """

    channel: str
    amount: Operand
    mark: str
    months: Operand | None = None
    per: str | None = None


@dataclass(frozen=True, kw_only=True)
class TimeToDeathReward:
    """`rate` per month in `channel` during the months before death from `start` (inclusive) to `stop`; nobody is credited
    for time before entry, and a life that reaches the horizon has none."""

    channel: str
    rate: Operand
    start: Operand
    stop: Operand


Reward = RateReward | AdministrationReward | MarkReward | TimeToDeathReward


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Time to the first of `marks` (marks or End names) after `origin` (a mark; None is entry into the model).

    Patients in whom the origin never happens are not counted. `tau` is the restriction of the restricted mean.
    """

    id: str
    marks: tuple[str, ...]
    origin: str | None = None


FAMILY_CODES = _hazards.FAMILIES
