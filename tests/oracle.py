"""A plain, slow, second implementation of the engine: one patient at a time, by names, straight from the declaration.

It shares with the kernel only the mathematics that is tested elsewhere (random numbers by address, logarithm,
exponential, cumulative hazards and their inverses), so both must give the same bits. What happens when, and in which
order, is written here a second time from the sixteen rules of the engine's semantics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from simhcc.engine import arithmetic, hazards, rng
from simhcc.expressions import Expression, depends_on_patient, evaluate
from simhcc.graph import (
    NO_TREATMENT,
    STAY,
    Chance,
    Clock,
    Decision,
    Edge,
    Effect,
    End,
    Hazard,
    Pathway,
    ScanSchedule,
    Scheduled,
    State,
    Strategy,
    Transition,
)

Number = np.float64
ZERO, ONE = Number(0.0), Number(1.0)
INFINITE = Number(np.inf)
MOST_INSTANTS, MOST_EVENTS, MOST_ENTRIES, MOST_FIRINGS = 64, 10_000, 4_096, 256
HORIZON = "horizon"


class Stopped(Exception):
    """A life that the engine must stop."""


class Visit(NamedTuple):
    state: str
    local: str
    systemic: str
    tags: tuple[int, ...]
    entered: float
    left: float
    local_since: float
    systemic_since: float


class Mark(NamedTuple):
    name: str
    time: float


@dataclass
class Life:
    visits: list[Visit] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)


@dataclass
class Slot:
    """A treatment slot: what it holds, since when, and what it held before."""

    treatment: str = NO_TREATMENT
    start: Number = ZERO
    previous: str = NO_TREATMENT
    previous_start: Number = ZERO
    stop: Number = ZERO


@dataclass
class Kept:
    """What a transition remembers while a stay (or, for life thresholds, a life) goes on."""

    left: Number
    """threshold not yet consumed at `since`"""
    since: Number
    own: Number
    """the transition's own time at `since`"""
    force: Force
    """multiplier and effects with which it was solved"""
    latent: Number = ZERO
    redraw: bool = False


@dataclass(frozen=True)
class Force:
    """What drives a hazard from some time on: multiplier, effects of both slots, clock origin."""

    multiplier: Number
    clock_start: Number
    """start of the treatment that the clock counts from (0 for other clocks)"""
    effects: tuple[object, ...]
    """(treatment, whether it is given, origin) in each slot, None without effect"""
    pieces: tuple[list[Piece], ...]
    steady: tuple[Number, Number] | None
    """(rate, speed) if they will not change any more, else None"""

    def changed(self, other: Force) -> bool:
        """Whether a time found under `other` must be found anew: steady effects count by value, others by origin."""
        if self.clock_start != other.clock_start:
            return True
        if self.steady is not None and other.steady is not None:
            return self.steady != other.steady
        return self.multiplier != other.multiplier or self.effects != other.effects


class Piece(NamedTuple):
    begins: Number
    rate: Number
    speed: Number


class Patient:
    """Everything that changes during one life."""

    def __init__(self, number: int, attributes: dict[str, Number]) -> None:
        self.number = number
        self.attributes = attributes
        self.now = ZERO
        self.stay_began = ZERO
        self.state: State | None = None
        self.slots = {"local": Slot(), "systemic": Slot()}
        self.entries: dict[str, int] = {}
        self.kept: dict[str, Kept] = {}
        self.for_life: dict[str, Kept] = {}
        self.firings: dict[str, int] = {}
        self.counters: dict[tuple[str, str], tuple[object, int]] = {}
        self.instants = 0
        self.events = 0
        self.open: tuple[Any, ...] | None = None
        self.opened = ZERO
        self.life = Life()


class Oracle:
    """One pathway, strategy and set of numbers (names to scalars or vectors, one draw)."""

    def __init__(
        self,
        pathway: Pathway,
        strategy: Strategy,
        numbers: Mapping[str, Any],
        horizon: float,
        seed: int = 0,
        luck: int = 0,
    ) -> None:
        self.pathway, self.strategy = pathway, strategy
        self.horizon, self.seed, self.luck = Number(horizon), seed, luck
        replaced = {**numbers, **strategy.numbers}
        self.values = {name: np.asarray(value, dtype=np.float64)[None] for name, value in replaced.items()}
        self.nodes = {node.name: node for node in pathway.nodes}
        self.treatments = {treatment.id: treatment for treatment in pathway.treatments}
        self.schedules = {schedule.name: schedule for schedule in pathway.schedules}
        self.hazards: dict[int, tuple[Any, ...]] = {}
        # Kept only because they cost time; everything they are found by stays alive with the pathway.
        self.known_constants: dict[int, tuple[Any, Number]] = {}
        self.known_kinds: dict[int, tuple[Any, bool]] = {}
        self.known_steps: dict[tuple[int, bool], list[Piece]] = {}

    # -- expressions

    def constant(self, value: Any) -> Number:
        if not isinstance(value, Expression):
            return Number(value)
        if id(value) not in self.known_constants:
            number = Number(np.broadcast_to(evaluate(value, self.values), (1,))[0])
            self.known_constants[id(value)] = (value, number)
        return self.known_constants[id(value)][1]

    def value(self, operand: Any, patient: Patient, node: str, place: str, firing: int = 0) -> Number:
        """An expression for a patient now; `place` is the first part of the purpose of its random numbers."""
        if not isinstance(operand, Expression):
            return Number(operand)
        e = operand
        if e.operation == "attribute" and e.payload in self.pathway.derived:
            return self.value(self.pathway.derived[str(e.payload)], patient, node, place, firing)
        if not self.by_patient(e):
            return self.constant(e)
        if e.operation == "attribute":
            return patient.attributes[str(e.payload)]
        if e.operation == "uniform":
            return self.uniform(patient, f"{place}/{e.payload}", patient.entries[node] - 1, firing)
        if e.operation == "receiving":
            slot = self.treatments[str(e.payload)].slot
            return ONE if patient.slots[slot].treatment == e.payload else ZERO
        if e.operation == "builtin":
            since = {
                "months": ZERO,
                "months_in_state": patient.stay_began,
                "months_on_local": patient.slots["local"].start,
                "months_on_systemic": patient.slots["systemic"].start,
            }[str(e.payload)]
            return patient.now - since
        x = [self.value(operand, patient, node, place, firing) for operand in e.operands]
        return self.operation(e, x)

    def by_patient(self, e: Expression) -> bool:
        if id(e) not in self.known_kinds:
            self.known_kinds[id(e)] = (e, self.kind(e))
        return self.known_kinds[id(e)][1]

    def kind(self, e: Expression) -> bool:
        if e.operation == "attribute" and e.payload in self.pathway.derived:
            return self.by_patient(self.pathway.derived[str(e.payload)])
        return depends_on_patient(e) and (not e.operands or any(self.by_patient(o) for o in e.operands))

    def operation(self, e: Expression, x: list[Number]) -> Number:
        name = e.operation
        if name == "add":
            return x[0] + x[1]
        if name == "subtract":
            return x[0] - x[1]
        if name == "multiply":
            return x[0] * x[1]
        if name == "divide":
            return x[0] / x[1]
        if name == "negate":
            return -x[0]
        if name == "minimum":
            return x[1] if x[1] < x[0] else x[0]
        if name == "maximum":
            return x[1] if x[1] > x[0] else x[0]
        if name in ("less", "less_equal", "equal", "not_equal"):
            tests = {"less": x[0] < x[1], "less_equal": x[0] <= x[1], "equal": x[0] == x[1], "not_equal": x[0] != x[1]}
            return Number(tests[name])
        if name in ("and", "or"):
            first, second = x[0] != 0, x[1] != 0
            return Number(first and second) if name == "and" else Number(first or second)
        if name == "not":
            return Number(x[0] == 0)
        if name == "select":
            return x[1] if x[0] != 0 else x[2]
        if name == "floor":
            return np.floor(x[0])
        if name == "lookup":
            vector = self.values[str(e.payload)][0]
            return vector[int(min(max(x[0], 0), len(vector) - 1))]
        function = {
            "exp": arithmetic.exp_array,
            "log": arithmetic.log_array,
            "normal_quantile": arithmetic.normal_quantile_array,
        }[name]
        return Number(function(x[0]))

    def uniform(self, patient: Patient, purpose: str, entry: int, firing: int) -> Number:
        if firing >= MOST_FIRINGS:
            raise Stopped("firings")
        return Number(rng.uniforms(self.seed, self.luck, patient.number, purpose, entry, firing))

    def threshold(self, patient: Patient, purpose: str, entry: int, firing: int) -> Number:
        return Number(-arithmetic.log_array(self.uniform(patient, purpose, entry, firing)))

    # -- hazards and effects

    def hazard(self, transition: Transition, patient: Patient) -> tuple[Any, ...]:
        """(family code, p0, p1, cure, tables, offset, knots) for this patient."""
        hazard = transition.hazard
        if not isinstance(hazard, Hazard):
            level = int(min(max(patient.attributes[hazard.by], 0), len(hazard.hazards) - 1))
            hazard = hazard.hazards[level]
        if id(hazard) not in self.hazards:
            self.hazards[id(hazard)] = self.hazard_numbers(hazard)
        return self.hazards[id(hazard)]

    def hazard_numbers(self, hazard: Hazard) -> tuple[Any, ...]:
        family = hazard.family
        cure = ZERO if hazard.cure is None else self.constant(hazard.cure)
        if family in ("pwexp", "cumulative", "gengamma", "survspline"):
            p = {name: self.vector(value) for name, value in hazard.parameters.items()}
            if family == "pwexp":
                assert not hazard.years, "tables by years are not in the oracle"
                code, table = hazards.TABLE, hazards.pwexp_table(p["times"], p["rates"])
            elif family == "cumulative":
                code, table = hazards.TABLE, (p["times"] * (12.0 if hazard.years else 1.0), p["values"])
            elif family == "gengamma":
                code, table = hazards.LOGTABLE, hazards.gengamma_table(p["mu"], p["sigma"], p["Q"])
            else:
                code, table = hazards.LOGTABLE, hazards.survspline_table(p["gamma"], p["knots"])
            times, values = (np.ravel(x) for x in table)
            return code, ZERO, ZERO, cure, np.concatenate([times, values]), 0, len(times)
        number = {name: self.constant(value) for name, value in hazard.parameters.items()}
        if family == "weibullPH":
            scale = arithmetic.exp_array(-arithmetic.log_array(number["scale"]) / number["shape"])
            family, number = "weibull", {"shape": number["shape"], "scale": Number(scale)}
        code, names = hazards.FAMILIES[family]
        p0, p1 = (*(number[name] for name in names), ZERO)[:2]
        return code, p0, p1, cure, np.zeros(1), 0, 0

    def vector(self, value: Any) -> np.ndarray:
        if isinstance(value, str):
            return self.values[value][0]
        if isinstance(value, (tuple, list)):
            return np.array([self.constant(item) for item in value])
        return np.asarray(self.constant(value))

    def force(self, transition: Transition, patient: Patient, node: State) -> Force:
        """What drives a transition now."""
        name = transition.effect or transition.name
        multiplier = self.multiplier(transition, patient, node)
        effects: list[object] = []
        pieces: list[list[Piece]] = []
        for slot in patient.slots.values():
            on = slot.treatment != NO_TREATMENT
            treatment = slot.treatment if on else slot.previous
            effect = self.treatments[treatment].effects.get(name) if treatment != NO_TREATMENT else None
            steps: list[Piece] = []
            origin = slot.start if on else slot.stop
            if effect is not None and (on or slot.stop - slot.previous_start >= self.constant(effect.delay)):
                if (id(effect), on) not in self.known_steps:
                    self.known_steps[id(effect), on] = self.steps(effect, on)
                steps = self.known_steps[id(effect), on]
            effects.append((treatment, on, origin) if steps else None)
            pieces.append([Piece(origin + p.begins, p.rate, p.speed) for p in steps])
        rate, speed, end = self.in_force(pieces[0], patient.now)
        rate_2, speed_2, end_2 = self.in_force(pieces[1], patient.now)
        steady = (multiplier * rate * rate_2, speed * speed_2) if min(end, end_2) == INFINITE else None
        clock_start = ZERO
        if transition.clock in (Clock.LOCAL, Clock.SYSTEMIC):
            clock_start = patient.slots[transition.clock.name.lower()].start
        return Force(multiplier, clock_start, tuple(effects), tuple(pieces), steady)

    def steps(self, effect: Effect, on: bool) -> list[Piece]:
        """Steps in months since start (or stop): equal neighbours merged, and none where the ratio is 1 throughout."""
        share = self.constant(effect.share_postponed)
        steps: list[tuple[Number, Number]] = []
        if on:
            steps.append((self.constant(effect.delay), self.constant(effect.ratio)))
            steps += [(self.constant(month), self.constant(ratio)) for month, ratio in effect.steps]
        elif effect.waning_half_life is None:
            steps.append((ZERO, self.constant(effect.off_ratio)))
        else:
            half_life = self.constant(effect.waning_half_life)
            logarithm = arithmetic.log_array(self.constant(effect.off_ratio))
            count = math.ceil(10 * float(half_life) / effect.waning_step)
            for step in range(count):
                left = arithmetic.exp_array(-math.log(2.0) * ((step + 0.5) * effect.waning_step) / half_life)
                neutral = self.constant(effect.off_ratio) == 1.0
                ratio = ONE if neutral else Number(arithmetic.exp_array(logarithm * left))
                steps.append((Number(step * effect.waning_step), ratio))
            steps.append((Number(count * effect.waning_step), ONE))
        pieces: list[Piece] = []
        before = ONE
        for month, ratio in steps:
            if ratio == before:
                continue
            before = ratio
            log_ratio = arithmetic.log_array(ratio)
            if ratio == 1.0:
                rate = speed = ONE
            elif share == 0.0:
                rate, speed = ratio, ONE
            elif share == 1.0:
                rate, speed = ONE, ratio
            else:
                rate = Number(arithmetic.exp_array(log_ratio * (1.0 - share)))
                speed = Number(arithmetic.exp_array(log_ratio * share))
            pieces.append(Piece(month, rate, speed))
        return pieces

    @staticmethod
    def in_force(pieces: list[Piece], time: Number) -> tuple[Number, Number, Number]:
        """(rate, speed, end) of the piece in force."""
        rate, speed, end = ONE, ONE, INFINITE
        for piece in pieces:
            if piece.begins > time:
                end = piece.begins
                break
            rate, speed = piece.rate, piece.speed
        return rate, speed, end

    def solve(self, transition: Transition, patient: Patient, kept: Kept) -> Number:
        """Time at which the rest of the threshold is consumed."""
        h = self.hazard(transition, patient)
        time, u, left = kept.since, kept.own, kept.left
        while time < self.horizon:
            rate, speed, end = self.in_force(kept.force.pieces[0], time)
            rate_2, speed_2, end_2 = self.in_force(kept.force.pieces[1], time)
            rate, speed, end = kept.force.multiplier * rate * rate_2, speed * speed_2, min(end, end_2)
            used = Number(hazards.cumulative(*h, u))
            reached = Number(hazards.inverse(*h, left / rate + used))
            if end == INFINITE:
                return time + self.at_least_0(reached - u) / speed
            u_end = u + speed * (end - time)
            spent = rate * (Number(hazards.cumulative(*h, u_end)) - used)
            if spent >= left:
                return min(time + self.at_least_0(reached - u) / speed, end)
            left, u, time = left - spent, u_end, end
        return INFINITE

    @staticmethod
    def at_least_0(x: Number) -> Number:
        return ZERO if x < 0.0 else x

    def spend(self, transition: Transition, patient: Patient, kept: Kept) -> tuple[Number, Number]:
        """(hazard consumed since it was solved, own time reached)."""
        h = self.hazard(transition, patient)
        time, u, spent = kept.since, kept.own, ZERO
        while time < patient.now:
            rate, speed, end = self.in_force(kept.force.pieces[0], time)
            rate_2, speed_2, end_2 = self.in_force(kept.force.pieces[1], time)
            end = min(end, end_2, patient.now)
            u_end = u + speed * speed_2 * (end - time)
            more = Number(hazards.cumulative(*h, u_end)) - Number(hazards.cumulative(*h, u))
            spent = spent + kept.force.multiplier * rate * rate_2 * more
            u, time = u_end, end
        return spent, u

    # -- times

    def multiplier(self, transition: Transition, patient: Patient, node: State) -> Number:
        if transition.log_multiplier is None:
            return ONE
        x = self.value(transition.log_multiplier, patient, node.name, f"{node.name}/{transition.name}")
        if x != x:
            raise Stopped("NaN")
        return ZERO if x == -INFINITE else Number(arithmetic.exp_array(min(max(x, Number(-700)), Number(700))))

    def own_time(self, transition: Transition, patient: Patient) -> Number:
        if transition.clock is Clock.STATE:
            return patient.now - patient.stay_began
        if transition.clock is Clock.MODEL:
            return patient.now
        if transition.clock is Clock.AGE:
            assert self.pathway.age_years is not None
            return 12.0 * patient.attributes[self.pathway.age_years] + patient.now
        return patient.now - patient.slots[transition.clock.name.lower()].start

    def latent_time(self, transition: Transition, patient: Patient, node: State) -> Number:
        """When the transition happens by itself: drawn at entry, and solved again only when something has changed."""
        for_life = transition.threshold == "life"
        known = patient.for_life if for_life else patient.kept
        force = self.force(transition, patient, node)
        kept = known.get(transition.name)
        entry = patient.entries[node.name] - 1
        if kept is None:
            purpose = f"life/{transition.name}" if for_life else f"{node.name}/{transition.name}"
            threshold = self.threshold(patient, purpose, 0 if for_life else entry, 0)
            kept = Kept(threshold, patient.now, self.own_time(transition, patient), force)
        elif kept.redraw or (kept.latent > patient.now and force.changed(kept.force)):
            spent, own = self.spend(transition, patient, kept)
            if kept.force.clock_start != force.clock_start:
                own = self.own_time(transition, patient)
            left = self.at_least_0(kept.left - spent)
            if kept.redraw:
                firing = patient.firings[transition.name]
                left = self.threshold(patient, f"{node.name}/{transition.name}", entry, firing)
            kept = Kept(left, patient.now, own, force)
        else:
            return kept.latent
        kept.latent = self.solve(transition, patient, kept)
        if kept.latent != kept.latent:
            raise Stopped("NaN")
        known[transition.name] = kept
        return kept.latent

    def next_scan(self, schedule: ScanSchedule, patient: Patient, time: Number) -> Number:
        if isinstance(schedule.origin, str):
            origin = patient.attributes[schedule.origin]
        else:
            origin = self.origin(schedule.origin, patient)
        segments = [(self.constant(start), self.constant(period)) for start, period in schedule.segments]
        for number, (start, period) in enumerate(segments):
            limit = origin + segments[number + 1][0] if number + 1 < len(segments) else INFINITE
            k = self.first_k(origin + start, period, time)
            due = origin + start + k * period
            if due < limit:
                return due
        return INFINITE

    @staticmethod
    def first_k(begins: Number, period: Number, time: Number, least: int = 0) -> int:
        """The smallest whole k, at least `least`, with begins + k x period not before `time`."""
        k = max(least, math.floor((time - begins) / period) - 2, 0)
        while begins + k * period < time:
            k += 1
        return k

    def origin(self, clock: Clock, patient: Patient) -> Number:
        if clock is Clock.STATE:
            return patient.stay_began
        if clock is Clock.MODEL:
            return ZERO
        return patient.slots[clock.name.lower()].start

    def due(self, event: Scheduled, patient: Patient, node: State) -> tuple[Number, int]:
        """(time, k) of the next occurrence of a scheduled event."""
        place = f"{node.name}/{event.name}"
        origin = self.origin(event.origin, patient)
        first = self.value(event.first, patient, node.name, place)
        if first != first:
            raise Stopped("NaN")
        if event.origin is Clock.STATE:
            owner: object = patient.entries[node.name]
        elif event.origin is Clock.MODEL:
            owner = None
        else:
            slot = patient.slots[event.origin.name.lower()]
            owner = (slot.treatment, slot.start)
        known_owner, k = patient.counters.get((node.name, event.name), (owner, 0))
        k = k if known_owner == owner else 0
        patient.counters[node.name, event.name] = (owner, k)
        if event.when is not None and self.value(event.when, patient, node.name, place) == 0.0:
            return INFINITE, k
        if event.rearmed:
            due = origin + first
            return (due if due >= patient.now else INFINITE), k
        if event.period is None:
            due = origin + first
            return (due if k == 0 and due >= patient.now else INFINITE), k
        if first == INFINITE:
            return INFINITE, k
        period = self.constant(event.period)
        k = self.first_k(origin + first, period, patient.now, k)
        return origin + first + k * period, k

    # -- moving on

    def life(self, number: int, baseline: Mapping[str, float] | None = None) -> Life:
        """The life of patient `number`; `baseline` gives attributes that the cohort has."""
        given = baseline or {}
        attributes = {}
        for attribute in self.pathway.attributes:
            initial = given.get(attribute.name, attribute.initial)
            assert initial is not None
            attributes[attribute.name] = Number(initial)
        patient = Patient(number, attributes)
        with np.errstate(all="ignore"):
            self.run(patient)
        return patient.life

    def run(self, patient: Patient) -> None:
        target: str | None = self.pathway.start
        while target is not None:
            node = self.nodes[target] if target != STAY else patient.state
            assert node is not None
            if isinstance(node, State):
                target = self.pass_time(patient, node, begins=target != STAY)
            elif isinstance(node, End):
                patient.life.marks.append(Mark(node.name, float(patient.now)))
                self.close_visit(patient)
                return
            else:
                target = self.pass_instant(patient, node)

    def count_entry(self, patient: Patient, node: str) -> None:
        patient.entries[node] = patient.entries.get(node, 0) + 1
        if patient.entries[node] > MOST_ENTRIES:
            raise Stopped("entries")

    def count_instant(self, patient: Patient) -> None:
        patient.instants += 1
        if patient.instants > MOST_INSTANTS:
            raise Stopped("instants")

    def pass_instant(self, patient: Patient, node: Chance | Decision) -> str:
        self.count_entry(patient, node.name)
        self.count_instant(patient)
        if isinstance(node, Decision):
            for row, edge in self.pathway.strategy_edges(self.strategy, node):
                if row.when is None or self.value(row.when, patient, node.name, node.name) != 0.0:
                    return self.follow(patient, edge, node.name, node.name, 0)
            raise AssertionError(f"the table of {node.name} falls through")
        weights = [self.value(branch.weight, patient, node.name, node.name) for branch in node.branches]
        total = np.cumsum(weights)
        if not (total[-1] > 0.0 and total[-1] < np.inf and min(weights) >= 0.0):
            raise Stopped("weights")
        u = self.uniform(patient, node.name, patient.entries[node.name] - 1, 0)
        taken = len(node.branches) - 1
        for number in range(len(node.branches) - 1):
            if u * total[-1] < total[number]:
                taken = number
                break
        branch = node.branches[taken]
        return self.follow(patient, branch, node.name, f"{node.name}/{branch.name}", 0)

    def pass_time(self, patient: Patient, node: State, begins: bool) -> str | None:
        self.open_visit(patient, node)
        if begins:
            self.count_entry(patient, node.name)
            patient.state, patient.stay_began = node, patient.now
            patient.kept, patient.firings = {}, {}
        best, k_chosen = self.horizon, 0
        chosen: Transition | Scheduled | None = None
        for transition in node.transitions:
            time = self.latent_time(transition, patient, node)
            if transition.seen_at_scan is not None and time < self.horizon:
                time = self.next_scan(self.schedules[transition.seen_at_scan], patient, max(time, patient.now))
            if time < best:
                best, chosen = time, transition
        for event in node.scheduled:
            time, k = self.due(event, patient, node)
            if time < best:
                best, chosen, k_chosen = time, event, k
        if chosen is None:
            patient.now = self.horizon
            self.close_visit(patient)
            return None
        if best > patient.now:
            patient.instants = 0
        else:
            self.count_instant(patient)
        patient.now = best
        patient.events += 1
        if patient.events > MOST_EVENTS:
            raise Stopped("events")
        firing = patient.firings.get(chosen.name, 0)
        patient.firings[chosen.name] = firing + 1
        if isinstance(chosen, Transition):
            if chosen.threshold == "stay":
                patient.kept[chosen.name].redraw = True
                if firing + 1 >= MOST_FIRINGS:
                    raise Stopped("firings")
        else:
            owner, _ = patient.counters[node.name, chosen.name]
            patient.counters[node.name, chosen.name] = (owner, k_chosen + 1)
        return self.follow(patient, chosen, node.name, f"{node.name}/{chosen.name}", firing)

    def follow(self, patient: Patient, edge: Edge, node: str, place: str, firing: int) -> str:
        if edge.mark is not None:
            patient.life.marks.append(Mark(edge.mark, float(patient.now)))
        for name, operand in edge.updates.items():
            patient.attributes[name] = self.value(operand, patient, node, place, firing)
        for which, treatment in (("local", edge.local), ("systemic", edge.systemic)):
            slot = patient.slots[which]
            if treatment is None or (treatment == slot.treatment and not edge.restart):
                continue
            if slot.treatment != NO_TREATMENT:
                slot.previous, slot.previous_start, slot.stop = slot.treatment, slot.start, patient.now
            slot.treatment, slot.start = treatment, patient.now
        return edge.to

    # -- visits

    def open_visit(self, patient: Patient, node: State) -> None:
        tags = []
        for name in self.pathway.tag:
            levels = next(a.levels for a in self.pathway.attributes if a.name == name)
            tags.append(int(min(max(patient.attributes[name], 0), len(levels) - 1)))
        local, systemic = patient.slots["local"], patient.slots["systemic"]
        cell = (node.name, local.treatment, systemic.treatment, tuple(tags), local.start, systemic.start)
        if cell != patient.open:
            self.close_visit(patient)
            patient.open, patient.opened = cell, patient.now

    def close_visit(self, patient: Patient) -> None:
        if patient.open is not None and patient.now > patient.opened:
            state, local, systemic, tags, local_since, systemic_since = patient.open
            patient.life.visits.append(
                Visit(
                    state,
                    local,
                    systemic,
                    tags,
                    float(patient.opened),
                    float(patient.now),
                    float(local_since),
                    float(systemic_since),
                )
            )
        patient.open = None
