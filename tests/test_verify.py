"""`simhcc verify`: a sound model passes every check, and each check fails on a fault that only it can see."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import verify_world
from inputs_project import take_for_packaged
from verify_world import assembled

from simhcc.expressions import as_expression, evaluate
from simhcc.graph import Edge, exponential, hazard_key
from simhcc.inputs import ParameterSet, Scenario, load_scenario
from simhcc.simulation import Evaluation, Outcomes, simulate
from simhcc.uncertainty import bench as bench_module
from simhcc.uncertainty import checks, surgery
from simhcc.uncertainty.bench import INSTANT, PSA_DRAWS, SAMPLED, Bench
from simhcc.uncertainty.checks import CHECKS
from simhcc.uncertainty.verification import Verdict, verify

PATIENTS = 512
World = tuple[Scenario, ParameterSet]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("world")
    verify_world.write(root)
    with pytest.MonkeyPatch.context() as patch:
        take_for_packaged(root, patch)
        scenario = load_scenario("small")
        yield scenario, scenario.load_parameters()


def report(scenario: Scenario, parameters: ParameterSet, fault: str = "") -> dict[str, dict[str, float]]:
    """What the command would have stored."""
    evaluation, values, cohort = assembled(scenario, parameters, {fault})
    found = simulate(evaluation, values, cohort, patients=scenario.patients, threads=1)
    return {
        s: {c: float(found.means[0, i, j]) for j, c in enumerate(found.columns)} for i, s in enumerate(found.strategies)
    }


def bench_of(world: World, fault: str = "", **changes: Any) -> Bench:
    scenario, numbers = world
    settings: dict[str, Any] = {
        "scenario": scenario,
        "parameters": numbers,
        "assemble": lambda s, p: assembled(s, p, {fault}),
        "patients": PATIENTS,
        "threads": 1,
        "report": lambda s, p: report(s, p, fault),
        "doses": verify_world.vials,
    }
    return Bench(**(settings | changes))


def failing(verdicts: list[Verdict]) -> set[str]:
    return {verdict.id for verdict in verdicts if verdict.status == "failed"}


def test_a_sound_model_passes_every_check(world: World) -> None:
    verdicts = verify(bench_of(world))
    assert {v.id: v.detail for v in verdicts if v.status != "passed"} == {}
    assert len(verdicts) == len(CHECKS) == 43
    assert len({check.id for check in CHECKS}) == 43


# ---------------------------------------------------------------------------------------------------------------------
# Faults in what the model gives back: the simulation is run and then tampered with, where a condition holds


def tampered(monkeypatch: pytest.MonkeyPatch, change: Callable[[Evaluation, Outcomes], Outcomes]) -> None:
    def wrapped(evaluation: Evaluation, *arguments: Any, **options: Any) -> Outcomes:
        return change(evaluation, simulate(evaluation, *arguments, **options))

    monkeypatch.setattr(bench_module, "simulate", wrapped)


def hazard_of(evaluation: Evaluation, state: str, name: str) -> Any:
    node = evaluation.pathway.node(state)
    return next(t for t in node.transitions if t.name == name)  # type: ignore[union-attr]


def is_off(evaluation: Evaluation, state: str, name: str) -> bool:
    return hazard_key(hazard_of(evaluation, state, name).hazard) == hazard_key(exponential(0.0))


def with_mark(found: Outcomes, mark: str) -> Outcomes:
    sums = found.mark_sums.copy()
    sums[:, found.marks.index(mark), 0] += 1.0
    return replace(found, mark_sums=sums)


def with_sums(found: Outcomes, column: str, factor: float, strategy: int | slice = slice(None)) -> Outcomes:
    sums = found.sums.copy()
    sums[:, strategy, found.column(column), 1] *= factor
    sums[:, strategy, found.column(column), 2] *= factor**2
    return replace(found, sums=sums)


def survival_fault(monkeypatch: pytest.MonkeyPatch, change: Callable[[Any, str, Any], Any]) -> None:
    sound = Outcomes.survival

    def wrong(self: Outcomes, endpoint: str) -> Any:
        return change(self, endpoint, sound(self, endpoint).copy())

    monkeypatch.setattr(Outcomes, "survival", wrong)


def pfs_above_os(patch: pytest.MonkeyPatch) -> None:
    sound = Outcomes.survival

    def change(found: Outcomes, endpoint: str, curve: Any) -> Any:
        progressions = found.mark_sums[:, found.marks.index("progression"), 0]
        if endpoint == "pfs" and progressions.any() and curve.shape[2] > 200:
            curve[..., 200] = sound(found, "os")[..., 200] + 0.01
        return curve

    survival_fault(patch, change)


def the_dead_return(patch: pytest.MonkeyPatch) -> None:
    def change(found: Outcomes, endpoint: str, curve: Any) -> Any:
        curve[..., 40] -= 0.05
        return curve

    def states(evaluation: Evaluation, found: Outcomes) -> Outcomes:
        shares = found.occupancy.copy()
        if shares.shape[2] > 40:
            shares[:, found.states.index("progressed"), 40] -= 0.05
        return replace(found, occupancy=shares)

    survival_fault(patch, change)
    tampered(patch, states)


def some_live_for_ever(patch: pytest.MonkeyPatch) -> None:
    def change(found: Outcomes, endpoint: str, curve: Any) -> Any:
        curve[..., 50:] = np.maximum(curve[..., 50:], 0.01)
        return curve

    def states(evaluation: Evaluation, found: Outcomes) -> Outcomes:
        shares = found.occupancy.copy()
        missing = np.maximum(0.01 - shares[:, :, 50:].sum(axis=1), 0.0)
        shares[:, 0, 50:] += missing
        return replace(found, occupancy=shares)

    survival_fault(patch, change)
    tampered(patch, states)


def a_ratio_upside_down(patch: pytest.MonkeyPatch, edge: Edge) -> None:
    sound = surgery.faster

    def wrong(pathway: Any, chosen: Any, ratio: float) -> Any:
        upside_down = chosen(edge) and ratio == math.log(1.5)
        return sound(pathway, chosen, -ratio if upside_down else ratio)

    patch.setattr(surgery, "faster", wrong)


def an_immune_state(patch: pytest.MonkeyPatch) -> None:
    sound = surgery.faster

    def wrong(pathway: Any, chosen: Any, ratio: float) -> Any:
        return sound(pathway, (lambda edge: False) if ratio > 100.0 else chosen, ratio)

    patch.setattr(surgery, "faster", wrong)


def the_same_run_differs(patch: pytest.MonkeyPatch) -> None:
    seen: list[Evaluation] = []

    def change(evaluation: Evaluation, found: Outcomes) -> Outcomes:
        repeated = any(evaluation is other for other in seen)
        seen.append(evaluation)
        return with_sums(found, "ly", 1.001) if repeated and found.draws == 1 and evaluation.trace else found

    tampered(patch, change)


def sampling_fault(patch: pytest.MonkeyPatch, n: int, name: str, change: Callable[[Any], Any]) -> None:
    sound = ParameterSet.sample

    def wrong(self: ParameterSet, count: int, *arguments: Any, **options: Any) -> Any:
        draws = sound(self, count, *arguments, **options)
        return draws | {name: change(draws[name])} if count == n else draws

    patch.setattr(ParameterSet, "sample", wrong)


def table_fault(patch: pytest.MonkeyPatch, name: str, change: Callable[[Any, tuple[Any, ...]], Any]) -> None:
    sound = getattr(checks, name)
    patch.setattr(checks, name, lambda *arguments, **options: change(sound(*arguments, **options), arguments))


def wrong_frontier(table: pd.DataFrame, arguments: tuple[Any, ...]) -> pd.DataFrame:
    if list(arguments[0]) != ["old", "new"]:
        return table
    return table.assign(Status="ND", ICER=[np.nan, -1.0])


def plant(patch: pytest.MonkeyPatch, fault: str) -> None:
    """Plant a fault that does not stand in the world itself."""
    tampers: dict[str, Callable[[Evaluation, Outcomes], Outcomes]] = {
        "TV11": lambda e, f: replace(f, occupancy=f.occupancy * 0.99),
        "TV12": lambda e, f: with_sums(f, "os_12m", 1.5) if "os_12m" in f.columns else f,
        "TV15": lambda e, f: with_mark(f, "dead") if is_off(e, "free", "death") else f,
        "TV17": lambda e, f: (
            with_sums(f, "cost", 1.0001, 1) if e.strategies[0].tables == e.strategies[-1].tables else f
        ),
        "TV18": lambda e, f: with_mark(f, "progression") if is_off(e, "free", "progression") else f,
        "TV19": lambda e, f: with_sums(f, "cost", 1.0001) if e.strategies[0].id != "old" else f,
        "TV21": lambda e, f: replace(f, sums=f.sums + 1e-3) if e.horizon == INSTANT else f,
        "TV39": lambda e, f: replace(f, pair_sums=f.pair_sums * 1.1) if e.comparator == "new" else f,
        "TV43": lambda e, f: with_sums(f, "ly", 1.001) if e.grid_step == 0.25 else f,
    }
    if fault in tampers:
        tampered(patch, tampers[fault])
    others: dict[str, Callable[[], None]] = {
        "TV03": lambda: a_ratio_upside_down(patch, Edge(to="progressed", mark="progression")),
        "TV04": lambda: pfs_above_os(patch),
        "TV05": lambda: table_fault(patch, "gengamma_survival", lambda found, _: found * 1.001),
        "TV13": lambda: the_dead_return(patch),
        "TV14": lambda: some_live_for_ever(patch),
        "TV16": lambda: an_immune_state(patch),
        "TV20": lambda: a_ratio_upside_down(patch, Edge(to="dead")),
        "TV40": lambda: table_fault(patch, "pairwise_icers", lambda found, _: found.assign(ICER=1e99)),
        "TV41": lambda: table_fault(patch, "icer_table", wrong_frontier),
        "TV42": lambda: table_fault(patch, "nmb", lambda found, _: found + 1.0),
        "TV52": lambda: sampling_fault(patch, SAMPLED, "costs.state_free_per_month", lambda x: 1.5 * x),
        "TV53": lambda: sampling_fault(patch, PSA_DRAWS, "rates.death_per_month", lambda x: 2.0 * x),
        "TV54": lambda: table_fault(
            patch, "ceac", lambda f, a: f.assign(Proportion=0.99 * f["Proportion"]) if len(a[1]) > 1 else f
        ),
        "TV55": lambda: table_fault(
            patch, "ceac", lambda f, a: f.assign(Proportion=f["Proportion"].to_numpy()[::-1]) if len(a[1]) == 1 else f
        ),
        "TV56": lambda: table_fault(patch, "evpi", lambda f, a: f.assign(EVPI=-1.0) if len(a[1]) > 3 else f),
        "TV57": lambda: table_fault(
            patch, "axes_of", lambda found, _: [replace(axis, base=1.05 * axis.base) for axis in found]
        ),
        "TV58": lambda: the_same_run_differs(patch),
        "TV59": lambda: sampling_fault(patch, SAMPLED, "rates.death_progressed_per_month", lambda x: x[::-1]),
        "TV62": lambda: patch.setattr(ParameterSet, "override", lambda self, changes, where="": self),
    }
    if fault in others:
        others[fault]()


def numbers_with(numbers: ParameterSet, fault: str) -> ParameterSet:
    """Faults in the numbers themselves."""
    changed = dict(numbers)
    if fault == "TV06":
        changed["rates.hr_new"] = replace(changed["rates.hr_new"], reason=None)
    if fault == "TV07":
        name = "rates.severe_toxicity_rate_per_month"
        changed[name] = replace(changed[name], value=0.13)
    if fault == "TV63":
        changed["costs.price_year"] = replace(changed["economics.price_year"], name="costs.price_year")
    return ParameterSet(changed, numbers.sources, numbers.correlations, (), numbers.country, numbers.files)


@pytest.mark.parametrize("fault", [check.id for check in CHECKS])
def test_each_check_fails_on_its_planted_fault_and_no_other_does(
    world: World, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, numbers = world
    changes: dict[str, Any] = {}
    if fault in ("TV06", "TV07", "TV63"):
        changes["parameters"] = numbers_with(numbers, fault)
    if fault == "TV02":
        # Heavier patients get fewer vials.
        changes["doses"] = lambda weight, base: {"units": np.floor(100.0 / np.asarray(weight))}
    if fault == "TV61":
        changes["report"] = lambda s, p: {
            name: {column: 1.001 * value for column, value in row.items()} for name, row in report(s, p).items()
        }
    plant(monkeypatch, fault)
    verdicts = verify(bench_of(world, fault, **changes))
    details = {v.id: v.detail for v in verdicts if v.status == "failed"}
    assert set(details) == {fault}, details


# ---------------------------------------------------------------------------------------------------------------------
# What does not apply, what is refused


def test_what_does_not_apply_says_why(world: World) -> None:
    _, numbers = world
    known = {name: replace(p, uncertainty=None) for name, p in numbers.items()}
    certain = ParameterSet(known, numbers.sources, (), (), numbers.country, numbers.files)
    verdicts = verify(bench_of(world, parameters=certain, report=None), ["TV52", "TV54", "TV59", "TV61"])
    assert {v.id: v.status for v in verdicts} == dict.fromkeys(("TV52", "TV54", "TV59", "TV61"), "not applicable")
    assert {v.id: v.detail for v in verdicts}["TV52"] == "nothing that is used is uncertain"


def test_a_posterior_is_sampled_with_its_correlation_and_what_it_holds_fixed_counts_for_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from simhcc.inputs import Place, Posterior

    _, numbers = world
    rng = np.random.default_rng(3)
    one = rng.normal(size=300)
    names = ("rates.death_per_month", "rates.death_progressed_per_month", "costs.state_free_per_month")
    draws = np.column_stack([0.02 * np.exp(0.1 * one), 0.05 * np.exp(0.1 * one), np.full(300, 100.0)])
    joint = Posterior("toy", names, draws, "", {}, Place("toy", 1), 9)
    held = ParameterSet(dict(numbers), numbers.sources, (), (joint,), numbers.country, numbers.files)
    (sound,) = verify(bench_of(world, parameters=held, report=None), ["TV59"])
    assert (sound.status, sound.detail[:37]) == ("passed", "0 correlated groups and 1 posteriors:")
    sampling_fault(monkeypatch, SAMPLED, names[1], lambda x: x[::-1])
    (wrong,) = verify(bench_of(world, parameters=held, report=None), ["TV59"])
    assert wrong.status == "failed" and names[1] in wrong.detail and names[2] not in wrong.detail


def test_a_model_that_refuses_an_experiment_has_failed_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from simhcc.errors import ModelError

    def refuses(pathway: Any, chosen: Any) -> Any:
        raise ModelError("no such pathway")

    monkeypatch.setattr(surgery, "without", refuses)
    (verdict,) = verify(bench_of(world), ["TV18"])
    assert verdict.status == "failed" and "no such pathway" in verdict.detail


def test_an_unknown_check_is_refused(world: World) -> None:
    from simhcc.errors import InputError

    with pytest.raises(InputError, match="no check called 'TV99'"):
        verify(bench_of(world), ["TV99"])


# ---------------------------------------------------------------------------------------------------------------------
# Surgery


def test_who_had_only_shut_branches_goes_the_same_way_without_the_mark() -> None:
    from simhcc.expressions import parameter
    from simhcc.graph import Branch, Chance, End, Pathway, State

    p = parameter("p")
    graph = Pathway(
        name="g",
        start="c",
        nodes=(
            Chance(
                name="c",
                branches=(
                    Branch(name="a", weight=p, to="s"),
                    Branch(name="b", weight=1.0 - p, to="t", mark="progression"),
                    Branch(name="c", weight=0.0 * p, to="t"),
                ),
            ),
            State(name="s"),
            State(name="t"),
            End(name="dead"),
        ),
    )
    branches = surgery.without(graph, surgery.marked("progression")).nodes[0].branches  # type: ignore[union-attr]
    for value, expected in ((0.0, [0.0, 0.0, 1.0]), (0.4, [1.0, 0.0, 0.0])):
        shares = [float(evaluate(as_expression(b.weight), {"p": np.array([value])})[()].item()) for b in branches]
        assert shares == expected


def test_nodes_from_which_every_way_ends_count_as_ends() -> None:
    from simhcc.graph import Branch, Chance, End, Pathway, State, Transition

    graph = Pathway(
        name="g",
        start="a",
        nodes=(
            State(name="a", transitions=(Transition(name="t", to="how", hazard=exponential(0.1)),)),
            Chance(
                name="how",
                branches=(Branch(name="x", weight=0.5, to="dead"), Branch(name="y", weight=0.5, to="dead_other")),
            ),
            End(name="dead"),
            End(name="dead_other"),
        ),
    )
    assert surgery.ends_of(graph) == {"how", "dead", "dead_other"}
    closed = surgery.without(graph, surgery.deadly(graph))
    state = closed.nodes[0]
    assert hazard_key(state.transitions[0].hazard) == hazard_key(exponential(0.0))  # type: ignore[union-attr]
    # Branches that all lead to ends stay as they are: nobody comes there any more.
    assert closed.nodes[1] == graph.nodes[1]


def test_branches_that_are_shut_leave_their_share_to_the_others() -> None:
    from simhcc.graph import Branch, Chance, End, Pathway, State

    graph = Pathway(
        name="g",
        start="c",
        nodes=(
            Chance(
                name="c",
                branches=(
                    Branch(name="dies", weight=0.2, to="dead"),
                    Branch(name="b", weight=0.2, to="s"),
                    Branch(name="c", weight=0.6, to="s"),
                ),
            ),
            State(name="s"),
            End(name="dead"),
        ),
    )
    branches = surgery.without(graph, surgery.deadly(graph)).nodes[0].branches  # type: ignore[union-attr]
    shares = [float(evaluate(as_expression(b.weight), {})) for b in branches]
    assert shares == pytest.approx([0.0, 0.25, 0.75])
