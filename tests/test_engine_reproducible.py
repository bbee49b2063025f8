"""The same patient lives the same life: whatever the threads, blocks, buffers, compiler, process or cohort size.

And common random numbers: strategies share each patient's luck, so their difference has a small variance.
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_tools import (
    DEAD,
    NEVER,
    all_tables,
    clinic,
    clinic_cohort,
    clinic_evaluation,
    clinic_full_cohort,
    differing,
    digest,
    dying,
    evaluation,
    kernel_histories,
    narrow,
    only,
    pathway,
    weibull,
)
from oracle import Life

from simhcc import model, outcomes
from simhcc.errors import ModelError
from simhcc.expressions import MONTHS, attribute, log, parameter, uniform
from simhcc.graph import (
    Attribute,
    Branch,
    Chance,
    Clock,
    Decision,
    Edge,
    Effect,
    Pathway,
    RateReward,
    Row,
    Scheduled,
    State,
    Strategy,
    Transition,
    Treatment,
    exponential,
)
from simhcc.model import LARGE_PATHWAY, as_values, is_large
from simhcc.simulation import Outcomes, simulate

TESTS = Path(__file__).resolve().parent
PATIENTS = 2_500
"""not a whole number of leaves of 1,024"""


def stays(life: Life) -> list[tuple[str, float, float]]:
    """State, begin and end of each uninterrupted time in one state, whatever the treatment."""
    found: list[tuple[str, float, float]] = []
    for visit in life.visits:
        if found and found[-1][0] == visit.state:
            found[-1] = (visit.state, found[-1][1], visit.left)
        else:
            found.append((visit.state, visit.entered, visit.left))
    return found


# -- threads, blocks, buffers --------------------------------------------------------------------------------------


def run(threads: int = 1, block: int = 1024, draws: int = 2, patients: int = PATIENTS) -> dict[str, Any]:
    question, numbers = clinic_evaluation()
    values = as_values(numbers, draws)
    values["progress.scale"] = np.linspace(10.0, 16.0, draws)
    cohort = clinic_full_cohort(patients)
    return all_tables(simulate(question, values, cohort, patients=patients, threads=threads, block=block))


@cache
def reference() -> dict[str, Any]:
    return run()


@pytest.mark.parametrize(("threads", "block"), [(2, 1024), (3, 1024), (1, 2048), (2, 4096), (3, 3000)])
def test_tables_are_the_same_bits_for_any_threads_and_blocks_of_whole_leaves(threads: int, block: int) -> None:
    assert differing(reference(), run(threads, block)) == []


def test_buffers_that_must_be_emptied_often_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, "allocate", narrow(outcomes.allocate, 2 * 1024))
    assert differing(reference(), run(2)) == []


def busy() -> Pathway:
    """States that are entered again from themselves beside stays that go on, with many visits."""
    treatments = (Treatment(id="tace", slot="local"), Treatment(id="drug", slot="systemic"))
    events = (
        Transition(name="renew", to="a", hazard=exponential(0.4), local="tace", restart=True),
        Transition(name="go_on", to="STAY", hazard=exponential(0.4), systemic="drug", restart=True),
        Transition(name="move", to="b", hazard=weibull(1.2, 6.0)),
        dying(0.01),
    )
    back = Transition(name="back", to="a", hazard=exponential(0.5), systemic="none")
    return pathway(only("a", *events), only("b", back, dying(0.02)), DEAD, treatments=treatments)


def test_tables_do_not_depend_on_when_a_buffer_fills(monkeypatch: pytest.MonkeyPatch) -> None:
    # Discounted months have rounding errors, so another order of patients within a leaf would change the last bits.
    rewards = tuple(RateReward(channel="ly", rate=rate, states=(s,)) for s, rate in (("a", 0.7), ("b", 0.3)))
    question = evaluation(busy(), rewards=rewards, horizon=100.0)
    found = [all_tables(simulate(question, {}, patients=4_096, threads=1, block=block)) for block in (1024, 2048, 4096)]
    monkeypatch.setattr(outcomes, "allocate", narrow(outcomes.allocate, 2 * 2048))
    found.append(all_tables(simulate(question, {}, patients=4_096, threads=1, block=2048)))
    for other in found[1:]:
        assert differing(found[0], other) == []


def test_a_pathway_of_many_attributes_lives_the_same_lives_in_another_order(monkeypatch: pytest.MonkeyPatch) -> None:
    small, idle = busy(), tuple(Attribute(name=f"idle_{k}", initial=0.0) for k in range(LARGE_PATHWAY + 1))
    large = replace(small, attributes=idle)
    assert is_large(large) and not is_large(small)
    assert kernel_histories(large, patients=300, horizon=100.0) == kernel_histories(small, patients=300, horizon=100.0)
    rewards = tuple(RateReward(channel="ly", rate=rate, states=(s,)) for s, rate in (("a", 0.7), ("b", 0.3)))
    questions = [evaluation(graph, rewards=rewards, horizon=100.0) for graph in (small, large)]
    by_node, longest_first = (simulate(question, {}, patients=4_096, threads=1) for question in questions)
    # The queue that is next shows in the rounding of what is summed over visits, and nowhere else.
    assert np.array_equal(by_node.sums, longest_first.sums) and np.array_equal(
        by_node.mark_sums, longest_first.mark_sums
    )
    assert np.allclose(by_node.quantities, longest_first.quantities, rtol=1e-13, atol=0.0)
    assert not np.array_equal(by_node.quantities, longest_first.quantities)
    again = all_tables(simulate(questions[1], {}, patients=4_096, threads=2))
    monkeypatch.setattr(outcomes, "allocate", narrow(outcomes.allocate, 2 * 1024))
    often = all_tables(simulate(questions[1], {}, patients=4_096, threads=1))
    assert differing(all_tables(longest_first), again) == [] and differing(again, often) == []
    with pytest.raises(ModelError, match=r"block 2048.*blocks of 1024"):
        simulate(questions[1], {}, patients=4_096, block=2048)


def test_the_order_of_the_attributes_in_memory_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    # The baseline attributes of the cohort find their way to other places too.
    (question, numbers), cohort = clinic_evaluation(), clinic_full_cohort(1_500)
    found = simulate(question, as_values(numbers), cohort, patients=1_500, threads=1)
    together = model._side_by_side
    monkeypatch.setattr(model, "_side_by_side", lambda *arguments: together(*arguments)[::-1])
    turned = simulate(question, as_values(numbers), cohort, patients=1_500, threads=1)
    assert not differing(all_tables(found), all_tables(turned))


def test_attributes_that_one_formula_uses_lie_in_one_line() -> None:
    # Eight attributes of one multiplier, spread over forty in the declaration, and two others that another one uses.
    attributes = tuple(Attribute(name=f"x{k}", initial=0.0) for k in range(40))
    used = [f"x{5 * k}" for k in range(8)]
    total = attribute(used[0])
    for name in used[1:]:
        total = total + attribute(name)
    both = (
        dying(0.1, log_multiplier=total),
        replace(dying(0.1, log_multiplier=attribute("x1") + attribute("x39")), name="x"),
    )
    graph = pathway(only("a", *both), DEAD, attributes=attributes)
    order = model.names_of(graph, [Strategy(id="s", tables={})]).attributes
    assert sorted(order) == sorted(a.name for a in attributes)
    assert set(order[:8]) == set(used) and set(order[8:10]) == {"x1", "x39"}


def test_a_changed_seed_or_luck_changes_the_tables() -> None:
    question, numbers = clinic_evaluation()
    cohort = clinic_full_cohort(50)
    base = all_tables(simulate(question, as_values(numbers), cohort, patients=50, threads=1))
    other_seed = simulate(replace(question, seed=12), as_values(numbers), cohort, patients=50, threads=1)
    other_luck = simulate(question, as_values(numbers), cohort, patients=50, threads=1, luck=1)
    assert "sums" in differing(base, all_tables(other_seed))
    assert "sums" in differing(base, all_tables(other_luck))


def test_luck_counts_draws_unless_it_is_said_to_be_constant() -> None:
    question, numbers = clinic_evaluation()
    cohort = clinic_full_cohort(50)
    counted = simulate(question, as_values(numbers, 3), cohort, patients=50, threads=1).sums
    constant = simulate(question, as_values(numbers, 3), cohort, patients=50, threads=1, luck=2).sums
    assert np.array_equal(counted[2], constant[2])
    assert np.array_equal(constant[0], constant[2])
    assert not np.array_equal(counted[0], counted[1])


# -- cohorts -------------------------------------------------------------------------------------------------------


def test_the_first_thousand_are_the_same_in_a_cohort_of_a_hundred_thousand() -> None:
    hazard = weibull(1.2, 14.0)
    graph = pathway(only("a", Transition(name="go", to="b", hazard=hazard), dying(0.02)), only("b", dying(0.1)), DEAD)
    few = kernel_histories(graph, patients=1_000, horizon=240.0)
    many = kernel_histories(graph, patients=100_000, horizon=240.0)
    assert few == many[:1_000]
    assert len({life.visits[0].left for life in many}) > 99_000


def test_the_first_patients_of_the_clinic_are_the_same_in_a_larger_cohort() -> None:
    graph, strategies, numbers = clinic()
    few = kernel_histories(graph, strategies[2], numbers, patients=500, horizon=60.0, cohort=clinic_cohort(500))
    many = kernel_histories(graph, strategies[2], numbers, patients=2_100, horizon=60.0, cohort=clinic_cohort(2_100))
    assert few == many[:500]


@pytest.mark.parametrize("number", [0, 77, 1_300])
def test_any_patient_can_be_run_alone(number: int) -> None:
    graph, strategies, numbers = clinic()
    cohort = clinic_cohort(1_400)
    many = kernel_histories(graph, strategies[1], numbers, patients=1_400, horizon=60.0, cohort=cohort, first_patient=9)
    own = {name: column[number : number + 1] for name, column in cohort.items()}
    alone = kernel_histories(
        graph, strategies[1], numbers, patients=1, horizon=60.0, cohort=own, first_patient=9 + number
    )
    assert alone == many[number : number + 1]


# -- compilers, processors, processes ------------------------------------------------------------------------------


def elsewhere(**environment: str) -> dict[str, str]:
    """`digest()` of another process."""
    path = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    found = subprocess.run(
        [sys.executable, "-c", "import json, engine_tools; print(json.dumps(engine_tools.digest()))"],
        env={**os.environ, "PYTHONPATH": path, **environment},
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    result: dict[str, str] = json.loads(found.stdout)
    return result


@cache
def here() -> dict[str, str]:
    return digest()


def test_another_process_gives_the_same_bits() -> None:
    assert elsewhere() == here()


def test_plain_python_gives_the_same_bits() -> None:
    assert elsewhere(NUMBA_DISABLE_JIT="1") == here()


@pytest.mark.slow  # compiles everything again
@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="these are processors of one kind")
@pytest.mark.parametrize(
    "features",
    [
        pytest.param({"NUMBA_CPU_NAME": "generic"}, id="without AVX"),
        pytest.param(
            {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "+avx2,+avx,+fma,+sse4.2,+popcnt"}, id="without AVX-512"
        ),
    ],
)
def test_other_processors_give_the_same_bits(features: dict[str, str]) -> None:
    assert elsewhere(**features) == here()


# -- what must change nothing --------------------------------------------------------------------------------------


def clinic_lives(graph: Pathway, strategy: Strategy, numbers: dict[str, Any]) -> list[Life]:
    return kernel_histories(graph, strategy, numbers, patients=400, horizon=120.0, cohort=clinic_cohort(400), luck=4)


def test_a_rule_that_never_applies_changes_nothing() -> None:
    graph, strategies, numbers = clinic()
    for strategy in strategies[1:]:
        never = Row(do="palliative", when=(MONTHS < 0.0) & (attribute("line") > 7.0), local="tace")
        longer = replace(strategy, tables={"plan": (never, never, *strategy.tables["plan"])})
        assert clinic_lives(graph, strategy, numbers) == clinic_lives(graph, longer, numbers)


def test_the_luck_of_a_row_does_not_depend_on_its_place_in_the_table() -> None:
    x = attribute("x")
    out = Scheduled(name="out", to="plan", first=1.0 + x)
    plan = Decision(name="plan", actions={"go": Edge(to="a", mark="planned")}, default=(Row(do="go"),))
    graph = pathway(plan, only("a", dying(0.05), out), DEAD, attributes=(Attribute(name="x", initial=0.0),))
    row = Row(do="go", updates={"x": uniform("wait")})
    short, long = (Strategy(id="s", tables={"plan": rows}) for rows in ((row,), (Row(do="go", when=x > 9.0), row)))
    lives = kernel_histories(graph, short, patients=100, horizon=60.0)
    assert lives == kernel_histories(graph, long, patients=100, horizon=60.0)
    assert len({mark.time for life in lives for mark in life.marks}) > 500


def test_a_strategy_that_differs_only_by_a_hazard_ratio_of_one_is_the_same() -> None:
    graph, strategies, numbers = clinic()
    stable = graph.node("stable")
    assert isinstance(stable, State)
    progress = stable.transitions[0]
    assert progress.log_multiplier is not None
    with_ratio = replace(progress, log_multiplier=progress.log_multiplier + log(parameter("hr")))
    other = replace(stable, transitions=(with_ratio, *stable.transitions[1:]))
    changed = replace(graph, nodes=tuple(other if node is stable else node for node in graph.nodes))
    for strategy in strategies:
        same = clinic_lives(graph, strategy, numbers)
        assert same == clinic_lives(
            changed, replace(strategy, numbers={**strategy.numbers, "hr": 1.0}), {**numbers, "hr": 0.5}
        )
        assert same != clinic_lives(changed, strategy, {**numbers, "hr": 0.5})


NEUTRAL: dict[str, Effect] = {
    "one step": Effect(ratio=1.0),
    "several steps": Effect(ratio=1.0, delay=2.0, steps=((3.0, 1.0), (7.5, 1.0)), off_ratio=1.0),
    "on the clock": Effect(ratio=1.0, share_postponed=1.0, steps=((4.0, 1.0),)),
    "half on the clock, waning": Effect(ratio=1.0, share_postponed=0.5, off_ratio=1.0, waning_half_life=4.0),
}


@pytest.mark.parametrize("name", NEUTRAL)
def test_a_treatment_with_a_hazard_ratio_of_one_is_the_same_as_none(name: str) -> None:
    # Given and stopped again within a stay that other events interrupt and change.
    drug = Treatment(id="drug", slot="systemic", effects={"go": NEUTRAL[name], "death": NEUTRAL[name]})
    events = (
        Transition(name="go", to="b", hazard=weibull(1.4, 20.0), log_multiplier=0.3 * attribute("x")),
        Transition(
            name="die", to="dead", hazard=weibull(0.8, 60.0), effect="death", log_multiplier=-0.2 * attribute("x")
        ),
        Scheduled(name="change", to="STAY", first=4.0, period=3.0, updates={"x": 1.0 - attribute("x")}),
        Scheduled(name="start", to="plan", first=5.0),
        Scheduled(name="stop", to="STAY", first=12.0, systemic="none"),
    )
    plan = Decision(
        name="plan",
        actions={"treat": Edge(to="STAY", systemic="drug"), "watch": Edge(to="STAY")},
        default=(Row(do="watch"),),
    )
    graph = pathway(
        only("a", *events),
        plan,
        only("b", dying(0.05, clock=Clock.MODEL, effect="death")),
        DEAD,
        treatments=(drug,),
        attributes=(Attribute(name="x", initial=1.0),),
    )
    watch, treat = Strategy(id="watch"), Strategy(id="treat", tables={"plan": (Row(do="treat"),)})
    untreated = kernel_histories(graph, watch, patients=500, horizon=200.0)
    treated = kernel_histories(graph, treat, patients=500, horizon=200.0)
    assert [(stays(life), life.marks) for life in untreated] == [(stays(life), life.marks) for life in treated]
    assert any(v.systemic == "drug" for life in treated for v in life.visits)


def test_equal_arms_differ_by_exactly_nothing() -> None:
    question, numbers = clinic_evaluation()
    twin = replace(question.strategies[2], id="twin")
    pair = replace(question, strategies=(question.strategies[2], twin))
    found = simulate(pair, as_values(numbers), clinic_full_cohort(1_500), patients=1_500, threads=2)
    assert (found.differences[np.isfinite(found.differences)] == 0.0).all()
    assert (found.difference_mcse[np.isfinite(found.difference_mcse)] == 0.0).all()
    assert (found.sums[:, 0] == found.sums[:, 1]).all()


def test_a_transition_with_hazard_zero_changes_nothing() -> None:
    graph, strategies, numbers = clinic()
    nodes = []
    for node in graph.nodes:
        if isinstance(node, State):
            first = Transition(
                name="impossible", to="late", hazard=NEVER, log_multiplier=attribute("size"), mark="never"
            )
            last = Transition(name="impossible_too", to="STAY", hazard=exponential(3.0), log_multiplier=-math.inf)
            node = replace(node, transitions=(first, *node.transitions, last))
        nodes.append(node)
    for strategy in strategies:
        assert clinic_lives(graph, strategy, numbers) == clinic_lives(
            replace(graph, nodes=tuple(nodes)), strategy, numbers
        )


def test_a_state_that_is_never_used_changes_nothing() -> None:
    graph, strategies, numbers = clinic()
    death_other = next(t for t in graph.node("stable").transitions if t.name == "death_other")  # type: ignore[union-attr]
    unused = only("unused", dying(0.1), death_other, Scheduled(name="tick", to="STAY", first=1.0, period=1.0))
    nodes = []
    for node in graph.nodes:
        if isinstance(node, Chance) and node.name == "restage":
            node = replace(node, branches=(Branch(name="nobody", weight=0.0, to="unused"), *node.branches))
        nodes.append(node)
    larger = replace(graph, nodes=(unused, *nodes))
    for strategy in strategies:
        assert clinic_lives(graph, strategy, numbers) == clinic_lives(larger, strategy, numbers)


def test_the_order_of_strategies_and_their_company_change_nothing() -> None:
    question, numbers = clinic_evaluation()
    cohort = clinic_full_cohort(1_100)
    together = simulate(question, as_values(numbers), cohort, patients=1_100, threads=1)
    backwards = replace(question, strategies=question.strategies[::-1])
    turned = simulate(backwards, as_values(numbers), cohort, patients=1_100, threads=1)
    assert np.array_equal(together.sums, turned.sums[:, ::-1], equal_nan=True)
    assert np.array_equal(together.endpoint_counts, turned.endpoint_counts[:, ::-1])
    for position, strategy in enumerate(question.strategies):
        alone = simulate(
            replace(question, strategies=(strategy,)), as_values(numbers), cohort, patients=1_100, threads=1
        )
        assert np.array_equal(alone.sums[:, 0], together.sums[:, position], equal_nan=True)


# -- common random numbers -----------------------------------------------------------------------------------------


def lines_of_treatment() -> tuple[Pathway, tuple[Strategy, ...]]:
    """Recurrence, then first, second and third line; the new strategy delays recurrence and skips the second line."""

    def line(name: str, following: str, scale: float) -> State:
        progress = Transition(name="progress", to=following, hazard=weibull(1.2, scale))
        return only(name, progress, dying(0.008))

    actions = {"second": Edge(to="second"), "third": Edge(to="third")}
    free = only(
        "free",
        Transition(name="recur", to="first", hazard=weibull(1.1, 30.0), log_multiplier=log(parameter("hr"))),
        dying(0.004),
    )
    then = Decision(name="then", actions=actions, default=(Row(do="second"),))
    graph = pathway(
        free, line("first", "then", 10.0), then, line("second", "third", 4.0), line("third", "late", 6.0),
        only("late", dying(0.12)), DEAD,
    )  # fmt: skip
    new = Strategy(id="new", numbers={"hr": 0.8}, tables={"then": (Row(do="third"),)})
    return graph, (Strategy(id="old"), new)


def paired_ratio(patients: int, common: Callable[[int], int]) -> float:
    """Variance of the difference in life years with independent seeds, over that with the seeds that `common` gives."""
    graph, (old, new) = lines_of_treatment()

    def years(strategy: Strategy, seed: int) -> np.ndarray:
        lives = kernel_histories(graph, strategy, {"hr": 1.0}, patients=patients, horizon=240.0, seed=seed)
        return np.array([life.visits[-1].left / 12.0 for life in lives])

    independent = np.var(years(new, 2) - years(old, 1))
    return float(independent / np.var(years(new, common(1)) - years(old, 1)))


def test_common_random_numbers_cut_the_variance_of_a_difference_at_least_tenfold() -> None:
    ratio = paired_ratio(8_000, lambda seed: seed)
    assert ratio >= 10.0
    # Without them there is nothing to gain: the check is able to fail.
    assert paired_ratio(2_000, lambda seed: seed + 7) < 1.3


def test_the_paired_error_of_the_tables_is_that_of_each_patients_own_difference() -> None:
    graph, strategies = lines_of_treatment()
    rewards = (RateReward(channel="ly", rate=1.0),)
    question = evaluation(graph, strategies, rewards, horizon=240.0, seed=1)
    found: Outcomes = simulate(question, as_values({"hr": 1.0}), patients=1_500, threads=1)
    lives = [
        np.array([sum(v.left - v.entered for v in life.visits) for life in kernel_histories(
            graph, s, {"hr": 1.0}, patients=1_500, horizon=240.0, seed=1)])
        for s in strategies
    ]  # fmt: skip
    difference = (lives[1] - lives[0]) / 12.0
    assert math.isclose(found.differences[0, 0, 0], difference.mean(), rel_tol=1e-11)
    assert math.isclose(found.difference_mcse[0, 0, 0], difference.std(ddof=1) / math.sqrt(1_500), rel_tol=1e-9)
    assert found.pairs == (("new", "old"),)
