"""Random small pathways: histories keep their rules, and outcomes are what one gets by adding up histories by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from engine_tools import (
    DEAD,
    PLAIN,
    clinic_evaluation,
    clinic_full_cohort,
    dying,
    evaluation,
    kernel_histories,
    marks_of,
    only,
    oracle_histories,
    pathway,
    same_as_oracle,
    weibull,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Life, Oracle, Stopped, Visit

from simhcc.errors import ModelError, SimulationError
from simhcc.expressions import (
    MONTHS,
    MONTHS_IN_STATE,
    Operand,
    as_expression,
    attribute,
    evaluate,
    months_on,
    receiving,
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
    Pathway,
    RateReward,
    Reward,
    Row,
    ScanSchedule,
    Scheduled,
    State,
    Strategy,
    TimeToDeathReward,
    Transition,
    Treatment,
    exponential,
)
from simhcc.model import as_values
from simhcc.simulation import Evaluation, endpoint_times, simulate

# -- random small pathways -----------------------------------------------------------------------------------------

HORIZON = 60.0
STATES = ("a", "b", "c")
INSTANT = ("toss", "plan")


def some(*choices: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(choices)


def quarter(low: float, high: float) -> st.SearchStrategy[float]:
    """Multiples of a quarter, so that events often meet."""
    return st.integers(round(4 * low), round(4 * high)).map(lambda k: k / 4.0)


HAZARDS = st.one_of(
    st.floats(0.01, 0.6).map(exponential),
    st.builds(weibull, st.floats(0.5, 2.0), st.floats(2.0, 40.0)),
    st.builds(lambda a, b: Hazard("gompertz", {"shape": a, "rate": b}), st.floats(-0.2, 0.05), st.floats(0.01, 0.2)),
    st.builds(lambda a, b: Hazard("llogis", {"shape": a, "scale": b}, cure=0.1), st.floats(0.8, 3.0), st.floats(3.0, 30.0)),
    st.builds(lambda a, b: Hazard("lnorm", {"meanlog": a, "sdlog": b}), st.floats(0.5, 3.0), st.floats(0.3, 1.2)),
    st.builds(lambda a, b: Hazard("pwexp", {"times": (0.0, 6.0), "rates": (a, b)}), st.floats(0.0, 0.3), st.floats(0.0, 0.3)),
)  # fmt: skip
MULTIPLIERS: st.SearchStrategy[Operand | None] = some(
    None,
    None,
    0.4 * attribute("x"),
    -0.02 * MONTHS,
    0.3 * receiving("drug") - 0.1 * attribute("x"),
    -0.1 * MONTHS_IN_STATE,
)
UPDATES: st.SearchStrategy[Mapping[str, Operand]] = some(
    {},
    {},
    {"x": 1.0 - attribute("x")},
    {"level": attribute("level") + 1.0},
    {"x": attribute("level"), "level": months_on("local")},
)


@st.composite
def edges(draw: Any, stay: bool = True, instant: bool = True) -> dict[str, Any]:
    """What an edge does; `stay` allows it to return to the stay and `instant` to lead to a chance or a decision."""
    targets = [*STATES, "dead"] + (["STAY", "STAY"] if stay else []) + (list(INSTANT) if instant else [])
    return {
        "to": draw(some(*targets)),
        "mark": draw(some(None, "seen", "treated")),
        "updates": draw(UPDATES),
        "local": draw(some(None, None, None, "none", "tace")),
        "systemic": draw(some(None, None, None, "none", "drug")),
        "restart": draw(some(False, False, True)),
    }


@st.composite
def states(draw: Any, name: str) -> State:
    transitions = [
        Transition(
            name=f"t{number}",
            hazard=draw(HAZARDS),
            clock=draw(some(Clock.STATE, Clock.STATE, Clock.MODEL, Clock.LOCAL, Clock.SYSTEMIC)),
            log_multiplier=draw(MULTIPLIERS),
            effect=draw(some(None, "effect")),
            seen_at_scan=draw(some(None, None, "scan")),
            **draw(edges()),
        )
        for number in range(draw(st.integers(0, 2)))
    ]
    scheduled = [
        Scheduled(
            name=f"s{number}",
            first=draw(quarter(0.5, 12.0)),
            period=draw(st.none() | quarter(1.0, 9.0)),
            origin=draw(some(Clock.STATE, Clock.MODEL, Clock.LOCAL, Clock.SYSTEMIC)),
            when=draw(some(None, None, attribute("x") == 1.0, receiving("tace"), MONTHS < 30.0)),
            **draw(edges()),
        )
        for number in range(draw(st.integers(0, 2)))
    ]
    origin = draw(some(Clock.STATE, Clock.MODEL, Clock.SYSTEMIC))
    alarm = Scheduled(
        name="alarm",
        first=attribute("alarm"),
        rearmed=True,
        origin=origin,
        when=draw(some(None, None, attribute("x") == 1.0)),
        **draw(edges()),
    )
    # Whatever it leads to, the time is set anew: some months on, or never again.
    later = MONTHS_IN_STATE + 2.0 if origin is Clock.STATE else MONTHS + 3.25
    alarm = replace(alarm, updates={**alarm.updates, "alarm": draw(some(later, MONTHS + 1.0, 1e9))})
    if draw(st.booleans()):
        scheduled.append(alarm)
    return only(name, LIFE, *transitions, *scheduled, dying(draw(st.floats(0.005, 0.05)), effect="effect"))


LIFE = Transition(name="other", to="dead", hazard=exponential(0.004), clock=Clock.MODEL, threshold="life", mark="other")


@st.composite
def effects(draw: Any) -> Effect:
    delay = draw(quarter(0.0, 4.0))
    return Effect(
        ratio=draw(st.floats(0.2, 1.5) | st.just(1.0)),
        share_postponed=draw(some(0.0, 0.0, 0.5, 1.0)),
        delay=delay,
        steps=draw(some((), ((delay + 3.0, 0.8),), ((delay + 2.5, 1.2), (delay + 6.0, 1.0)))),
        off_ratio=draw(some(1.0, 1.3, 0.6)),
        waning_half_life=draw(some(None, 2.0)),
    )


@st.composite
def pathways(draw: Any) -> Pathway:
    share = draw(st.floats(0.0, 1.0))
    by_patient = draw(st.booleans())
    weights: tuple[Operand, Operand] = (share, 1.0 - share)
    if by_patient:
        weights = (0.1 + attribute("x"), share + 0.01 * MONTHS)
    # The chance may lead to the decision, the decision to states only: no loop without time.
    toss_targets = draw(st.lists(some("a", "b", "c", "plan", "dead"), min_size=2, max_size=2))
    branches = tuple(
        Branch(name=f"b{k}", weight=w, **{**draw(edges(stay=False, instant=False)), "to": toss_targets[k]})
        for k, w in enumerate(weights)
    )
    plan = Decision(
        name="plan",
        actions={name: Edge(**draw(edges(stay=False, instant=False))) for name in ("one", "two")},
        default=(Row(do="one", when=draw(some(attribute("x") == 1.0, MONTHS > 9.0, receiving("drug")))), Row(do="two")),
    )
    # Every node can be reached, even if nothing in the random part leads there.
    first = Chance(name="first", branches=tuple(Branch(name=n, weight=0.2, to=n) for n in (*STATES, "toss", "plan")))
    return pathway(
        first,
        *(draw(states(name)) for name in STATES),
        Chance(name="toss", branches=branches),
        plan,
        DEAD,
        attributes=(
            Attribute(name="x", initial=0.0),
            Attribute(name="level", initial=0.0, levels=("low", "middle", "high")),
            Attribute(name="alarm", initial=draw(quarter(0.0, 6.0))),
        ),
        treatments=(
            Treatment(id="tace", slot="local", effects={"effect": draw(effects())}),
            Treatment(id="drug", slot="systemic", effects={"effect": draw(effects())}),
        ),
        schedules=(ScanSchedule(name="scan", segments=((2.0, draw(quarter(1.0, 6.0))), (15.0, 6.0)), origin=Clock.MODEL),),
        tag=draw(some((), ("level",))),
    )  # fmt: skip


def check_history(life: Life, graph: Pathway, horizon: float) -> None:
    """What must hold of any life."""
    deaths = marks_of(life, "dead")
    assert len(deaths) <= 1
    end = deaths[0] if deaths else horizon
    previous = 0.0
    for visit in life.visits:
        assert visit.entered == previous, "visits follow one another without gap or overlap"
        assert visit.left > visit.entered, "visits have a length"
        assert 0.0 <= visit.local_since <= visit.entered and 0.0 <= visit.systemic_since <= visit.entered
        assert visit.state in STATES
        previous = visit.left
    assert previous == end, "a life ends in an end or at the horizon"
    assert end <= horizon and (not deaths or end < horizon)
    times = [mark.time for mark in life.marks]
    assert times == sorted(times) and (not times or times[-1] <= end)
    if deaths:
        assert life.marks[-1].name == "dead", "nothing happens after an end"
    assert math.isclose(sum(v.left - v.entered for v in life.visits), end, rel_tol=1e-12, abs_tol=1e-12)


@settings(max_examples=120)
@given(graph=pathways(), luck=st.integers(0, 2**32 - 1))
def test_random_pathways_keep_the_rules_and_agree_with_the_plain_engine(graph: Pathway, luck: int) -> None:
    try:
        lives = same_as_oracle(graph, patients=12, horizon=HORIZON, luck=luck, buffer=24)
    except SimulationError as error:
        # A life that would go round for ever stops both engines.
        number = int(str(error).split("patient ")[1].split()[0])
        with pytest.raises(Stopped):
            Oracle(graph, PLAIN, {}, HORIZON, luck=luck).life(number)
        return
    for life in lives:
        check_history(life, graph, HORIZON)


@settings(max_examples=30)
@given(graph=pathways())
def test_probabilities_are_conserved(graph: Pathway) -> None:
    # At any time each patient is in exactly one state or dead; those alive are those whose visits go on.
    channels = (Channel(id="ly"), *(Channel(id=state) for state in STATES))
    rewards: list[Reward] = [RateReward(channel="ly", rate=1.0)]
    rewards += [RateReward(channel=state, rate=1.0, states=(state,)) for state in STATES]
    endpoint = Endpoint(id="os", marks=("dead",))
    question = evaluation(
        graph, rewards=rewards, channels=channels, endpoints=(endpoint,), horizon=HORIZON, trace=True,
        restrictions=(HORIZON,),
    )  # fmt: skip
    try:
        found = simulate(question, {}, patients=64, threads=1)
    except SimulationError:
        return
    alive = found.survival("os")[0, 0]
    assert np.allclose(found.occupancy[0].sum(axis=0)[:-1], alive[:-1], atol=1e-12)
    assert (np.diff(alive) <= 1e-12).all() and alive[0] <= 1.0
    means = dict(zip(found.columns, found.means[0, 0], strict=True))
    assert math.isclose(sum(means[state] for state in STATES), means["ly"], rel_tol=1e-12, abs_tol=1e-12)
    assert math.isclose(means["ly"], means["os_rmst_60"], rel_tol=1e-12, abs_tol=1e-12)
    lives = kernel_histories(graph, patients=64, horizon=HORIZON)
    for month in (0.0, 3.0, 24.0):
        inside = [sum(v.entered <= month < v.left for v in life.visits) for life in lives]
        assert set(inside) <= {0, 1}
        assert math.isclose(np.mean(inside), alive[int(month)], abs_tol=1e-12)


# -- outcomes by hand ----------------------------------------------------------------------------------------------


class ByHand:
    """Sums over histories as one would do them with a pencil: a loop over patients, and integrals of exp(-r t)."""

    def __init__(
        self, question: Evaluation, numbers: Mapping[str, Any], strategy: Strategy, cohort: Mapping[str, Any]
    ) -> None:
        self.question, self.cohort = question, cohort
        self.values = {name: np.array([float(value)]) for name, value in {**numbers, **strategy.numbers}.items()}
        self.levels = {a.name: a.levels for a in question.pathway.attributes}
        self.ends = {node.name for node in question.pathway.nodes if isinstance(node, End)}
        self.channels = {channel.id: channel for channel in question.channels}

    def number(self, operand: Operand) -> float:
        return float(np.ravel(evaluate(as_expression(operand), self.values))[0])

    def months(self, channel: str, patient: int, begin: float, end: float) -> float:
        """Weighted months between two times: discounted, each age band times its factor."""
        declared = self.channels[channel]
        rate = math.log1p(self.number(declared.discount)) / 12.0
        bands = [(-math.inf, 1.0)]
        if declared.age_bands:
            assert self.question.pathway.age_years is not None
            age = 12.0 * self.cohort[self.question.pathway.age_years][patient]
            bands += [(12.0 * self.number(start) - age, self.number(factor)) for start, factor in declared.age_bands]
        total = 0.0
        for place, (start, factor) in enumerate(bands):
            stop = bands[place + 1][0] if place + 1 < len(bands) else math.inf
            low, high = max(begin, start), min(end, stop)
            if high > low:
                whole = high - low if rate == 0.0 else (math.exp(-rate * low) - math.exp(-rate * high)) / rate
                total += factor * whole
        return total

    def weight(self, channel: str, time: float) -> float:
        return (1.0 + self.number(self.channels[channel].discount)) ** (-time / 12.0)

    def tagged(self, visit: Visit, wanted: Mapping[str, tuple[str, ...]]) -> bool:
        """Whether a visit has the levels wanted."""
        tags = dict(zip(self.question.pathway.tag, visit.tags, strict=True))
        return all(self.levels[name][tags[name]] in chosen for name, chosen in wanted.items())

    def quantity(self, reward: Reward, patient: int, life: Life) -> float:
        """How much of a reward a life contains: months, administrations or marks."""
        factor = 1.0
        if isinstance(reward, (AdministrationReward, MarkReward)) and reward.per is not None:
            factor = self.cohort[reward.per][patient]
        ends = [mark.time for mark in life.marks if mark.name in self.ends]
        end = ends[0] if ends else self.question.horizon
        if isinstance(reward, RateReward):
            total = 0.0
            for visit in life.visits:
                right = self.tagged(visit, reward.tags)
                right = right and (reward.states is None or visit.state in reward.states)
                right = right and (reward.local is None or visit.local in reward.local)
                right = right and (reward.systemic is None or visit.systemic in reward.systemic)
                if right:
                    total += self.months(reward.channel, patient, visit.entered, visit.left)
            return total
        if isinstance(reward, AdministrationReward):
            period, first = self.number(reward.period), self.number(reward.first)
            most = math.inf if reward.most is None else self.number(reward.most)
            total = 0.0
            for visit in life.visits:
                if not self.tagged(visit, reward.tags):
                    continue
                for slot, since in ((visit.local, visit.local_since), (visit.systemic, visit.systemic_since)):
                    if slot != reward.treatment:
                        continue
                    k = 0
                    while k < most and since + first + k * period < visit.left:
                        if since + first + k * period >= visit.entered:
                            total += factor * self.weight(reward.channel, since + first + k * period)
                        k += 1
            return total
        if isinstance(reward, MarkReward):
            times = marks_of(life, reward.mark)
            if reward.months is None:
                return factor * sum(self.weight(reward.channel, time) for time in times)
            covered: list[tuple[float, float]] = []
            for time in times:
                stop = min(time + self.number(reward.months), end)
                if covered and covered[-1][1] >= time:
                    covered[-1] = (covered[-1][0], max(stop, covered[-1][1]))
                elif stop > time:
                    covered.append((time, stop))
            return factor * sum(self.months(reward.channel, patient, a, b) for a, b in covered)
        if not ends:
            return 0.0
        begin, stop = max(end - self.number(reward.stop), 0.0), max(end - self.number(reward.start), 0.0)
        return self.months(reward.channel, patient, begin, stop)

    def amount(self, reward: Reward) -> float:
        return self.number(reward.amount if isinstance(reward, (AdministrationReward, MarkReward)) else reward.rate)

    def endpoint(self, endpoint: Endpoint, life: Life) -> float:
        """Time of an endpoint from its origin: infinite if never reached, NaN without an origin."""
        origin = 0.0
        if endpoint.origin is not None:
            origins = marks_of(life, endpoint.origin)
            if not origins:
                return math.nan
            origin = origins[0]
        times = [mark.time for mark in life.marks if mark.name in endpoint.marks and mark.time >= origin]
        return min(times) - origin if times else math.inf

    def columns(self, patient: int, life: Life) -> list[float]:
        sums = dict.fromkeys(self.channels, 0.0)
        for reward in self.question.rewards:
            sums[reward.channel] += self.amount(reward) * self.quantity(reward, patient, life)
        row = [sums[name] * channel.scale for name, channel in self.channels.items()]
        for endpoint in self.question.endpoints:
            time = self.endpoint(endpoint, life)
            missing = math.isnan(time)
            row += [math.nan if missing else float(time > month) for month in self.question.landmarks]
            row += [math.nan if missing else min(time, month) for month in self.question.restrictions]
        return row


def close(found: Any, expected: Any, tolerance: float = 1e-10) -> bool:
    return bool(np.allclose(found, expected, rtol=tolerance, atol=1e-9, equal_nan=True))


PATIENTS = 300


@pytest.fixture(scope="module")
def clinic_sums() -> tuple[Evaluation, Any, list[list[Life]], dict[str, Any], dict[str, Any]]:
    question, numbers = clinic_evaluation()
    cohort = clinic_full_cohort(PATIENTS)
    found = simulate(question, as_values(numbers), cohort, patients=PATIENTS, threads=1)
    lives = [
        kernel_histories(
            question.pathway,
            strategy,
            numbers,
            patients=PATIENTS,
            horizon=question.horizon,
            cohort=cohort,
            seed=question.seed,
        )
        for strategy in question.strategies
    ]
    return question, found, lives, cohort, numbers


def by_hand(clinic_sums: Any, strategy: int) -> np.ndarray:
    question, _, lives, cohort, numbers = clinic_sums
    hand = ByHand(question, numbers, question.strategies[strategy], cohort)
    return np.array([hand.columns(patient, life) for patient, life in enumerate(lives[strategy])])


@pytest.mark.parametrize("strategy", [0, 1, 2])
def test_life_years_qalys_costs_and_endpoints_are_those_of_the_histories(clinic_sums: Any, strategy: int) -> None:
    question, found, _, _, _ = clinic_sums
    table = by_hand(clinic_sums, strategy)
    for position, name in enumerate(found.columns):
        known = table[~np.isnan(table[:, position]), position]
        number, total, squares = found.sums[0, strategy, position]
        assert number == len(known), name
        assert close(total, known.sum()), name
        assert close(squares, (known**2).sum()), name
        if len(known) > 1:
            assert close(found.mcse[0, strategy, position], known.std(ddof=1) / math.sqrt(len(known)), 1e-7), name
    assert len(found.columns) == len(question.channels) + 4 * len(question.endpoints)


def test_paired_differences_and_covariances_are_those_of_the_histories(clinic_sums: Any) -> None:
    question, found, _, _, _ = clinic_sums
    tables = [by_hand(clinic_sums, strategy) for strategy in range(3)]
    ids = list(question.ids)
    for position, (one, other) in enumerate(found.pairs):
        difference = tables[ids.index(one)] - tables[ids.index(other)]
        for column in range(len(found.columns)):
            known = difference[~np.isnan(difference[:, column]), column]
            number, total, squares = found.pair_sums[0, position, column]
            assert number == len(known) and close(total, known.sum()) and close(squares, (known**2).sum(), 1e-9)
        covariance = np.cov(difference[:, found.column("cost")], difference[:, found.column("qaly")])[0, 1]
        assert close(found.cross_covariance("cost", "qaly")[0, 3 + position], covariance, 1e-8)
    for strategy, table in enumerate(tables):
        covariance = np.cov(table[:, found.column("cost")], table[:, found.column("qaly")])[0, 1]
        assert close(found.cross_covariance("cost", "qaly")[0, strategy], covariance, 1e-8)


@pytest.mark.parametrize("strategy", [0, 1, 2])
def test_quantities_price_to_the_same_sums(clinic_sums: Any, strategy: int) -> None:
    question, found, lives, cohort, numbers = clinic_sums
    hand = ByHand(question, numbers, question.strategies[strategy], cohort)
    totals = dict.fromkeys(found.columns, 0.0)
    for term, reward in enumerate(question.rewards):
        quantity = sum(hand.quantity(reward, patient, life) for patient, life in enumerate(lives[strategy]))
        assert close(found.quantities[0, strategy, term] * PATIENTS, quantity), reward
        totals[reward.channel] += hand.amount(reward) * found.quantities[0, strategy, term]
    for channel in question.channels:
        assert close(totals[channel.id] * channel.scale, found.means[0, strategy, found.column(channel.id)])


@pytest.mark.parametrize("strategy", [0, 1, 2])
def test_counts_curves_and_the_trace_are_those_of_the_histories(clinic_sums: Any, strategy: int) -> None:
    question, found, lives, cohort, numbers = clinic_sums
    hand = ByHand(question, numbers, question.strategies[strategy], cohort)
    for position, mark in enumerate(found.marks):
        counts = np.array([len(marks_of(life, mark)) for life in lives[strategy]])
        assert found.mark_sums[strategy, position].tolist() == [counts.sum(), (counts**2).sum()]
    for endpoint in question.endpoints:
        times = np.array([hand.endpoint(endpoint, life) for life in lives[strategy]])
        times = times[~np.isnan(times)]
        expected = [(times > month).mean() for month in found.grid]
        assert close(found.survival(endpoint.id)[0, strategy], expected)
    for position, state in enumerate(found.states):
        visits = [v for life in lives[strategy] for v in life.visits if v.state == state]
        expected = [sum(v.entered <= month < v.left for v in visits) / PATIENTS for month in found.grid]
        assert close(found.occupancy[strategy, position], expected)


def test_the_clinic_has_something_of_every_reward(clinic_sums: Any) -> None:
    # Otherwise a reward that is lost would not be noticed.
    question, found, _, _, _ = clinic_sums
    for term, reward in enumerate(question.rewards):
        assert (np.abs(found.quantities[0, :, term]) > 0.0).any(), reward
    for endpoint in question.endpoints:
        assert (found.survival(endpoint.id)[0, :, -1] < 1.0).all()


def one_patient(
    graph: Pathway, channel: Channel, reward: Reward, horizon: float = 40.0, cohort: dict[str, Any] | None = None
) -> float:
    question = evaluation(graph, rewards=(reward,), channels=(channel,), horizon=horizon)
    return float(simulate(question, {}, cohort, patients=1, threads=1).means[0, 0, 0])


def timed(*marks: float, death: float | None = None) -> Pathway:
    """One state with the mark "m" at the given months, and death at a month."""
    events = [Scheduled(name=f"m{k}", to="STAY", first=time, mark="m") for k, time in enumerate(marks)]
    end = Scheduled(name="end", to="dead", first=1e6 if death is None else death)
    return pathway(only("a", *events, end), DEAD)


YEARLY = Channel(id="v", discount=0.05)
PLAIN_SUM = Channel(id="v")


def test_one_year_at_five_percent() -> None:
    # integral of 1.05 ** (-t / 12) over twelve months: 12 (1 - 1 / 1.05) / ln 1.05
    assert math.isclose(one_patient(timed(death=12.0), YEARLY, RateReward(channel="v", rate=1.0)), 11.711962465307357)


def test_a_mark_is_discounted_to_its_time() -> None:
    assert math.isclose(
        one_patient(timed(24.0, death=30.0), YEARLY, MarkReward(channel="v", amount=2.0, mark="m")), 2.0 / 1.05**2
    )


@pytest.mark.parametrize(
    ("marks", "death", "expected"),
    [
        ((1.0, 10.0), 30.0, 6.0),
        ((1.0, 3.0), 30.0, 5.0),
        ((1.0, 4.0), 30.0, 6.0),
        ((1.0, 29.0), 30.0, 4.0),
        ((39.0,), None, 1.0),
    ],
)
def test_intervals_of_one_reward_extend_and_are_cut_at_the_end(
    marks: tuple[float, ...], death: float | None, expected: float
) -> None:
    reward = MarkReward(channel="v", amount=1.0, mark="m", months=3.0)
    assert math.isclose(one_patient(timed(*marks, death=death), PLAIN_SUM, reward), expected)


@pytest.mark.parametrize(("death", "expected"), [(30.0, 4.0), (3.0, 2.0), (0.5, 0.0), (None, 0.0)])
def test_time_to_death_is_counted_back_from_death_only(death: float | None, expected: float) -> None:
    reward = TimeToDeathReward(channel="v", rate=1.0, start=1.0, stop=5.0)
    assert math.isclose(one_patient(timed(death=death), PLAIN_SUM, reward), expected)


@pytest.mark.parametrize(
    ("period", "first", "most", "expected"),
    [
        (3.0, 0.0, None, 4.0),
        (3.0, 1.0, None, 4.0),
        (3.0, 7.0, None, 2.0),
        (4.0, 0.0, None, 3.0),
        (3.0, 0.0, 2.0, 2.0),
        (0.1, 0.0, None, 120.0),
    ],
)
def test_administrations_fall_at_the_start_and_each_period_until_the_treatment_stops(
    period: float, first: float, most: float | None, expected: float
) -> None:
    # Given for the twelve months from 5 to 17; what would be due at 17 is not given.
    start = Scheduled(name="start", to="STAY", first=5.0, systemic="drug")
    split = Scheduled(name="split", to="b", first=8.0)
    stop = Scheduled(name="stop", to="STAY", first=12.0, origin=Clock.SYSTEMIC, systemic="none", when=receiving("drug"))
    graph = pathway(
        only("a", dying(0.0), start, split),
        only("b", dying(0.0), stop),
        DEAD,
        treatments=(Treatment(id="drug", slot="systemic"),),
    )
    reward = AdministrationReward(channel="v", amount=1.0, treatment="drug", period=period, first=first, most=most)
    assert math.isclose(one_patient(graph, PLAIN_SUM, reward), expected)


def test_administrations_go_with_a_tag_and_their_number_does_not() -> None:
    # A drug is due monthly for 12 doses. From 4.5 months to 8.5 the tag says held, so that doses 5 to 8 are not given.
    held = Scheduled(name="hold", to="STAY", first=4.5, updates={"held": 1.0})
    again = Scheduled(name="again", to="STAY", first=8.5, updates={"held": 0.0})
    graph = pathway(
        only("a", dying(0.0), Scheduled(name="start", to="b", first=0.0, systemic="drug")),
        only("b", dying(0.0), held, again),
        DEAD,
        treatments=(Treatment(id="drug", slot="systemic"),),
        attributes=(Attribute(name="held", levels=("no", "yes"), initial=0.0),),
        tag=("held",),
    )
    every, given, not_given = (
        AdministrationReward(channel="v", amount=1.0, treatment="drug", period=1.0, most=12.0, tags=tags)
        for tags in ({}, {"held": ("no",)}, {"held": ("yes",)})
    )
    assert [one_patient(graph, PLAIN_SUM, reward) for reward in (every, given, not_given)] == [12.0, 8.0, 4.0]


@pytest.mark.parametrize(
    ("reward", "expected"),
    [
        # Age 70 is reached at 6 months and 71 at 18.
        (RateReward(channel="v", rate=1.0), 6.0 + 12.0 * 0.5 + 12.0 * 0.1),
        (MarkReward(channel="v", amount=1.0, mark="m", months=10.0), 9.0 * 0.5 + 1.0 * 0.1),
        (MarkReward(channel="v", amount=1.0, mark="m"), 1.0),
        (TimeToDeathReward(channel="v", rate=1.0, start=2.0, stop=14.0), 2.0 * 0.5 + 10.0 * 0.1),
    ],
)
def test_age_bands_weigh_what_accrues_in_time(reward: Reward, expected: float) -> None:
    graph = replace(timed(9.0, death=30.0), attributes=(Attribute(name="age"),), age_years="age")
    channel = Channel(id="v", age_bands=((70.0, 0.5), (71.0, 0.1)))
    assert math.isclose(one_patient(graph, channel, reward, cohort={"age": np.array([69.5])}), expected)


@pytest.mark.parametrize(
    ("marks", "endpoint", "expected"),
    [
        ((2.0, 7.0), Endpoint(id="e", marks=("m", "dead")), 2.0),
        ((2.0, 7.0), Endpoint(id="e", marks=("dead",), origin="m"), 18.0),
        # A mark that is also the origin must come again.
        ((2.0, 7.0), Endpoint(id="e", marks=("m", "dead"), origin="m"), 5.0),
        ((2.0,), Endpoint(id="e", marks=("m", "dead"), origin="m"), 18.0),
        ((), Endpoint(id="e", marks=("m",)), 30.0),
        ((), Endpoint(id="e", marks=("dead",), origin="m"), math.nan),
    ],
)
def test_an_endpoint_is_the_first_of_its_marks_after_its_origin(
    marks: tuple[float, ...], endpoint: Endpoint, expected: float
) -> None:
    graph = timed(*marks, 99.0, death=20.0)  # the mark exists, though nobody lives to month 99
    question = evaluation(graph, endpoints=(endpoint,), horizon=40.0, restrictions=(30.0,), landmarks=(4.0, 5.0))
    found = simulate(question, {}, patients=1, threads=1)
    assert found.columns[1:] == ("e_4m", "e_5m", "e_rmst_30")
    alive = [math.nan if math.isnan(expected) else float(expected > month) for month in (4.0, 5.0)]
    assert np.array_equal(found.means[0, 0, 1:], [*alive, expected], equal_nan=True)


def test_the_plain_engine_runs_the_evaluation_too() -> None:
    question, numbers = clinic_evaluation()
    cohort = clinic_full_cohort(20)
    options: dict[str, Any] = {"patients": 20, "horizon": 60.0, "cohort": cohort, "seed": 3}
    for strategy in question.strategies:
        slow = oracle_histories(question.pathway, strategy, numbers, **options)
        assert slow == kernel_histories(question.pathway, strategy, numbers, **options)


@pytest.mark.parametrize("threads", [1, 3])
def test_endpoint_times_are_those_of_the_histories_and_of_the_plain_engine(clinic_sums: Any, threads: int) -> None:
    question, _, lives, cohort, numbers = clinic_sums
    values = as_values(numbers)
    for strategy, own in enumerate(question.strategies):
        alone = replace(question, strategies=(own,), comparator=None)
        times = endpoint_times(alone, values, cohort, patients=PATIENTS, threads=threads)[0]
        hand = ByHand(question, numbers, own, cohort)
        for position, endpoint in enumerate(question.endpoints):
            expected = [hand.endpoint(endpoint, life) for life in lives[strategy]]
            np.testing.assert_allclose(times[position], expected, rtol=1e-12)
            assert np.isfinite(times[position]).any()


def test_endpoint_times_of_the_same_people_differ_only_where_an_attribute_does(clinic_sums: Any) -> None:
    question, _, _, cohort, numbers = clinic_sums
    alone = replace(question, strategies=question.strategies[:1], comparator=None)
    values = {name: np.repeat(value, 2, axis=0) for name, value in as_values(numbers).items()}
    twice = {name: np.tile(column, 2) for name, column in cohort.items()}
    shared = dict(patients=PATIENTS, luck=0, fresh_patients=True, threads=1)
    first, second = endpoint_times(alone, values, twice, same_numbers=True, **shared)
    np.testing.assert_array_equal(first, second)
    first, second = endpoint_times(alone, values, twice, **shared)
    assert not np.array_equal(first, second, equal_nan=True)


def test_endpoint_times_of_two_strategies_are_refused(clinic_sums: Any) -> None:
    question, _, _, cohort, numbers = clinic_sums
    with pytest.raises(ModelError, match="one strategy"):
        endpoint_times(question, as_values(numbers), cohort, patients=PATIENTS)
