"""Sensitivity analyses: moves of parameters, errors from batches, roots, effects and variance shares with known answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cli_project import HR, RATE, assembled, invoke, tree_of, use
from scipy import special

from simhcc import distributions as dist
from simhcc.errors import InputError
from simhcc.inputs import ParameterSet, Scenario, load_scenario
from simhcc.inputs.dependence import CorrelationGroup, Posterior
from simhcc.inputs.reader import FrozenMap, Place
from simhcc.report import command, sensitivity_figures
from simhcc.simulation import simulate
from simhcc.uncertainty import deterministic, screening
from simhcc.uncertainty.factors import Axis, axes_of, blocks_of, evidence_group, factors_of, parse_ranges
from simhcc.uncertainty.outcome import Outcome, parse_outcome
from simhcc.uncertainty.points import Estimates, Points, evaluate
from simhcc.uncertainty.question import Question, ask, names_in

PLACE = Place("test", 1)


def uncertain_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small project, in which no number is fixed by the scenario."""
    root = use(tmp_path, monkeypatch)
    path = root / "scenarios" / "question.yaml"
    path.write_text(path.read_text(encoding="utf-8").partition("overrides:")[0], encoding="utf-8")
    return root


@pytest.fixture
def question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Question:
    uncertain_project(tmp_path, monkeypatch)
    scenario = load_scenario("question")
    return ask(scenario, scenario.load_parameters(), 4096, small)


def small(scenario: Scenario, numbers: ParameterSet) -> Any:
    """The small question; its own number is a parameter of nobody."""
    return assembled(scenario, numbers)


# ---------------------------------------------------------------------------------------------------------------------
# Points and their errors


def test_points_are_what_one_simulation_each_would_give(question: Question) -> None:
    rates = np.array([0.5, 1.0, 2.0]) * float(question.values[RATE][0])
    columns = ("ly", "os_60m", "rfs_24m")
    points = evaluate(question, {RATE: rates}, columns, ("os", "rfs"), name="test", threads=2)
    for k, rate in enumerate(rates):
        values = {**question.values, RATE: np.array([rate])}
        one = simulate(question.evaluation, values, question.cohort, patients=4096, luck=0, threads=1)
        for i, strategy in enumerate(points.strategies):
            for column in columns:
                mean = points.mean(strategy, column).value[k]
                assert mean == pytest.approx(one.means[0, i, one.column(column)], rel=1e-12)
            for endpoint in ("os", "rfs"):
                assert points.median(strategy, endpoint).value[k] == pytest.approx(
                    one.median(endpoint)[0, i], rel=1e-12
                )


def test_shards_and_threads_change_nothing(question: Question, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from simhcc.uncertainty import points as points_module

    rows = {RATE: np.linspace(0.001, 0.02, 7)}
    one = evaluate(question, rows, ("ly",), name="test", threads=1)
    monkeypatch.setattr(points_module, "SHARD_PATIENT_STRATEGIES", 1)
    monkeypatch.setattr(points_module, "SPAN_POINTS", 3)
    other = evaluate(question, rows, ("ly",), name="test", threads=3, folder=tmp_path / "kept")
    assert np.array_equal(one.sums, other.sums)
    again = evaluate(question, rows, ("ly",), name="test", folder=tmp_path / "kept", resume=True)
    assert np.array_equal(one.sums, again.sums)


def test_the_error_of_a_mean_is_that_of_its_patients(question: Question) -> None:
    points = evaluate(replace(question), {RATE: np.array([0.01])}, ("ly",), name="test")
    values = {**question.values, RATE: np.array([0.01])}
    one = simulate(question.evaluation, values, question.cohort, patients=4096, luck=0)
    error = points.mean(points.strategies[0], "ly").mcse[0]
    # Four batches know their own spread to within a factor; a wrong power of their number would miss by two.
    assert 0.3 < error / one.mcse[0, 0, one.column("ly")] < 2.2


def test_the_jackknife_by_hand() -> None:
    # Batches 1, 2, 3, 6 of equal size: mean 3, its standard error sd / 2 with sd 2.1602.
    batches = np.array([1.0, 2.0, 3.0, 6.0])
    without = (batches.sum() - batches) / 3.0
    mean = Estimates(np.array([3.0]), without[:, None])
    assert mean.mcse[0] == pytest.approx(np.std(batches, ddof=1) / 2.0)
    assert mean.map(lambda v: 10.0 * v).mcse[0] == pytest.approx(10.0 * mean.mcse[0])
    # What is the same in both cancels in the difference.
    assert mean.with_(mean, np.subtract).mcse[0] == 0.0


def test_common_luck_makes_a_difference_far_surer_than_its_parts(question: Question) -> None:
    rows = {RATE: np.array([0.0100, 0.0102])}
    points = evaluate(question, rows, ("ly",), name="test")
    level = points.mean(points.strategies[0], "ly")
    change = level.map(lambda v: v[1] - v[0])
    assert float(change.mcse) < 0.2 * float(level.mcse[0])
    assert float(change.value) < 0.0


# ---------------------------------------------------------------------------------------------------------------------
# How parameters move


def numbers_of(question: Question, groups: Any = (), posteriors: Any = ()) -> ParameterSet:
    n = question.parameters
    return ParameterSet(dict(n), n.sources, groups, posteriors, n.country, n.files)


def test_the_range_is_the_interval_of_the_distribution_unless_given(question: Question) -> None:
    numbers = question.parameters
    (axis,) = axes_of(numbers, [HR], {}, question.used())
    low, high = dist.central_interval(numbers[HR].uncertainty.marginals[0])  # type: ignore[union-attr]
    assert (axis.low, axis.high) == (low, high) and axis.basis.startswith("95 %")
    (given,) = axes_of(numbers, [HR], {HR: (0.2, 0.3)}, question.used())
    assert (given.low, given.high, given.basis) == (0.2, 0.3, "given")
    assert axis.probability_below(numbers, low) == pytest.approx(0.025)


def test_shares_of_a_dirichlet_keep_their_sum_and_proportions(question: Question) -> None:
    numbers = question.parameters
    name = next(n for n in numbers if numbers[n].is_vector and numbers[n].uncertainty is not None)
    base = np.array(numbers[name].value)
    axes = axes_of(numbers, [name], {}, frozenset(numbers))
    assert [axis.name for axis in axes] == [f"{name}.{k}" for k in range(len(base)) if base[k] > 0.0]
    (values,) = axes[0].values(numbers, np.array([0.1, 0.6])).values()
    assert values.sum(axis=1) == pytest.approx([1.0, 1.0])
    assert values[:, 0] == pytest.approx([0.1, 0.6])
    assert values[0, 1:] / values[0, 1:].sum() == pytest.approx(base[1:] / base[1:].sum())


def scored(numbers: ParameterSet, name: str, x: float) -> float:
    marginal = numbers[name].uncertainty.marginals[0]  # type: ignore[union-attr]
    return float(special.ndtri(marginal.cdf(x)))


def test_partners_move_along_their_correlation(question: Question) -> None:
    matrix = ((1.0, 0.5), (0.5, 1.0))
    group = CorrelationGroup((HR, RATE), matrix, PLACE, dist.correlation_root(matrix))
    numbers = numbers_of(question, [group])
    (axis,) = axes_of(numbers, [HR], {}, question.used())
    assert RATE in axis.moves
    moved = axis.values(numbers, np.array([axis.base, axis.high]))
    assert moved[RATE][0] == pytest.approx(float(numbers[RATE].base()), rel=1e-6)
    change = scored(numbers, HR, axis.high) - scored(numbers, HR, axis.base)
    assert scored(numbers, RATE, moved[RATE][1]) - scored(numbers, RATE, moved[RATE][0]) == pytest.approx(0.5 * change)


def posterior_of(question: Question) -> Posterior:
    """Draws in which the rate falls as the hazard ratio rises."""
    z = special.ndtri((np.arange(400) + 0.5) / 400)
    rng = np.random.default_rng(1)
    other = -0.8 * z + 0.6 * special.ndtri((rng.permutation(400) + 0.5) / 400)
    base = question.parameters
    draws = np.column_stack([float(base[HR].base()) * np.exp(0.2 * z), float(base[RATE].base()) * np.exp(0.3 * other)])
    return Posterior("fit", (HR, RATE), draws, "0" * 64, FrozenMap({}), PLACE, layer=9)


def test_calibrated_numbers_move_along_the_posterior(question: Question) -> None:
    numbers = numbers_of(question, (), [posterior_of(question)])
    (axis,) = axes_of(numbers, [HR], {}, question.used())
    assert axis.basis == "95 % of the posterior draws"
    moved = axis.values(numbers, np.array([axis.low, axis.base, axis.high]))
    assert moved[HR] == pytest.approx([axis.low, axis.base, axis.high])
    assert moved[RATE][1] == float(numbers[RATE].base())
    # The regression of one on the other, on the log scale on which both are normal.
    x, y = np.log(posterior_of(question).draws).T
    slope = np.corrcoef(x, y)[0, 1] * y.std() / x.std()
    logs = np.log(moved[RATE] / moved[RATE][1])
    assert slope < -0.8 and logs[[0, 2]] == pytest.approx(np.log(moved[HR][[0, 2]] / axis.base) * slope, rel=0.08)


def test_what_is_drawn_together_is_one_factor(question: Question) -> None:
    matrix = ((1.0, 0.5), (0.5, 1.0))
    group = CorrelationGroup((HR, RATE), matrix, PLACE, dist.correlation_root(matrix))
    numbers = numbers_of(question, [group])
    (block,) = [b for b in blocks_of(numbers, frozenset({HR, RATE}))]
    assert (block.members, block.size) == ((HR, RATE), 2)
    (factor,) = factors_of(numbers, frozenset({HR, RATE}), [HR], [])
    u = np.random.default_rng(2).random((20_000, 2))
    values = factor.values(numbers, u)
    scores = np.column_stack([special.ndtri(numbers[n].uncertainty.marginals[0].cdf(values[n])) for n in (HR, RATE)])  # type: ignore[union-attr]
    assert np.corrcoef(scores, rowvar=False)[0, 1] == pytest.approx(0.5, abs=0.03)
    with pytest.raises(InputError, match="each parameter in one factor"):
        factors_of(numbers, frozenset({HR, RATE}), [HR], [RATE.split(".")[0]])


def test_a_posterior_is_one_factor_whose_values_are_its_draws(question: Question) -> None:
    posterior = posterior_of(question)
    numbers = numbers_of(question, (), [posterior])
    (factor,) = factors_of(numbers, question.used(), [RATE], [])
    assert factor.size == 1 and set(factor.members) == {HR, RATE}
    values = factor.values(numbers, np.linspace(0.001, 0.999, 50)[:, None])
    rows = {tuple(row) for row in posterior.draws.tolist()}
    assert all(pair in rows for pair in zip(values[HR].tolist(), values[RATE].tolist(), strict=True))


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("treatments.stride.response_mix", "treatments.stride"),
        ("costs.state.supportive_per_month", "costs.state"),
        ("costs.visit", "costs"),
        ("tace.p_procedure_death", "tace"),
    ],
)
def test_evidence_groups(name: str, group: str) -> None:
    assert evidence_group(name) == group


def test_names_are_found_in_expressions_hazards_and_tables(question: Question) -> None:
    assert {HR, RATE, "cost.visit"} <= names_in(question.evaluation)
    assert "no.such" not in question.used()


# ---------------------------------------------------------------------------------------------------------------------
# Analyses of functions whose answer is known: the engine is left out


class Made:
    """Stands in for the simulation: `function(values) -> (rows,)`, with an error shared by all points and one of their own."""

    def __init__(self, question: Question, function: Any, shared: float = 0.0, own: float = 0.0) -> None:
        self.question, self.function, self.shared, self.own = question, function, shared, own
        self.calls: list[int] = []

    def __call__(self, rows: Mapping[str, Any], name: str) -> Points:
        n = len(next(iter(rows.values())))
        self.calls.append(n)
        values = {k: np.broadcast_to(v, (n, *v.shape[1:])) for k, v in self.question.values.items()} | dict(rows)
        rng = np.random.default_rng(5)
        batches = 16
        exact = np.asarray(self.function(values), dtype=float) * np.ones(n)
        noise = self.shared * rng.standard_normal((1, batches)) + self.own * rng.standard_normal((n, batches))
        sums = (exact[:, None] + noise)[:, :, None, None]
        return Points(("s",), ("y",), (), sums, np.ones_like(sums), np.zeros((n, 17, 1, 0)), 16 * 1024)


Y = Outcome("y", "s")


def axis(name: str, low: float, high: float, base: float) -> Axis:
    return Axis(name, name, None, base, low, high, "hazard_ratio", False, "given", "")


def test_a_tornado_by_hand(question: Question) -> None:
    run = Made(question, lambda v: 2.0 * v[HR] - 0.5 * v[RATE] + 0.0 * v["cost.visit"], shared=3.0)
    base = {name: float(question.values[name][0]) for name in (HR, RATE)}
    axes = [
        axis(RATE, base[RATE] - 1.0, base[RATE] + 1.0, base[RATE]),
        axis(HR, base[HR] - 1.0, base[HR] + 2.0, base[HR]),
    ]
    found = deterministic.tornado(question, Y, axes, run)
    assert list(found.table["parameter"]) == [HR, RATE]
    assert found.table["below"].tolist() == pytest.approx([-2.0, 0.5])
    assert found.table["above"].tolist() == pytest.approx([4.0, -0.5])
    assert found.table["swing"].tolist() == pytest.approx([6.0, -1.0])
    # Luck that all points share moves the level and no swing.
    assert found.base_mcse > 0.1 and found.table["swing_mcse"].max() < 1e-9
    assert not found.table["noise"].any() and run.calls == [5]


def test_noise_of_its_own_is_pointed_out(question: Question) -> None:
    run = Made(question, lambda v: 1e-3 * v[HR], own=1.0)
    axes = [axis(HR, 0.1 - 0.001 * k, 0.9, 0.5) for k in range(12)]
    found = deterministic.tornado(question, Y, axes, run)
    # Each is called noise in 93 of 100 cases (a t distribution with 15 degrees of freedom); fewer than 8 of 12 once in 4,000.
    assert found.table["noise"].sum() >= 8
    assert found.table["swing_mcse"].iloc[0] == pytest.approx(np.sqrt(2 / 16), rel=0.6)


def test_one_way_goes_through_the_base_value(question: Question) -> None:
    run = Made(question, lambda v: v[HR] ** 2)
    base = float(question.values[HR][0])
    found = deterministic.one_way(question, Y, [axis(HR, 0.0, 2.0, base)], 5, run)
    assert found.table["x"].tolist() == pytest.approx(sorted([0.0, 0.5, 1.0, 1.5, 2.0, base]))
    assert found.table["change"].tolist() == pytest.approx([x**2 - base**2 for x in found.table["x"]])


def test_two_way_is_every_pair(question: Question) -> None:
    run = Made(question, lambda v: v[HR] - 2.0 * v[RATE])
    axes = [axis(HR, 0.0, 1.0, 0.5), axis(RATE, 0.0, 1.0, 0.5)]
    found = deterministic.two_way(question, Y, axes, 3, 0.0, run)
    assert len(found.table) == 9
    assert (found.table["value"] - (found.table["x"] - 2.0 * found.table["y"])).abs().max() < 1e-12
    with pytest.raises(InputError, match="exactly two"):
        deterministic.two_way(question, Y, axes[:1], 3, 0.0, run)


def test_a_threshold_is_the_root(question: Question) -> None:
    run = Made(question, lambda v: v[HR] ** 3 - 0.3)
    found = deterministic.threshold(question, Y, [axis(HR, 0.0, 2.0, 0.5)], 0.0, run)
    (row,) = found.table.to_dict("records")
    assert row["status"] == "threshold" and row["side"] == "above"
    assert row["threshold"] == pytest.approx(0.3 ** (1 / 3), abs=2e-5)
    assert row["mcse"] < 1e-6 and abs(row["lower"] - row["upper"]) < 0.02
    assert "rising" in row["reading"]


def test_the_error_of_a_threshold_is_that_of_the_outcome_over_the_slope(question: Question) -> None:
    run = Made(question, lambda v: 4.0 * (v[HR] - 1.0), shared=0.4)
    found = deterministic.threshold(question, Y, [axis(HR, 0.0, 2.0, 0.5)], 0.0, run)
    row = found.table.iloc[0]
    error = found.curve["mcse"].iloc[0]
    assert row["mcse"] == pytest.approx(error / 4.0)
    # Everything within 1.96 errors cannot be told from the threshold.
    assert row["lower"] == pytest.approx(row["threshold"] - 1.96 * error / 4.0, abs=1e-3)
    assert row["upper"] == pytest.approx(row["threshold"] + 1.96 * error / 4.0, abs=1e-3)


def test_every_crossing_is_reported(question: Question) -> None:
    run = Made(question, lambda v: (v[HR] - 0.4) * (v[HR] - 1.7))
    found = deterministic.threshold(question, Y, [axis(HR, 0.0, 2.0, 1.0)], 0.0, run)
    assert found.table["threshold"].tolist() == pytest.approx([0.4, 1.7], abs=1e-3)
    assert found.table["side"].tolist() == ["below", "above"]


def test_no_threshold_is_said_openly(question: Question) -> None:
    run = Made(question, lambda v: 1.0 + v[HR])
    found = deterministic.threshold(question, Y, [axis(HR, 0.0, 2.0, 1.0)], 0.0, run)
    row = found.table.iloc[0]
    assert row["status"] == "none" and np.isnan(row["threshold"])
    assert "no threshold within 0 to 2: y stays above 0 (1 to 3)" in row["reading"]
    assert run.calls == [10]


def test_an_outcome_without_a_value_leaves_the_threshold_undetermined(question: Question) -> None:
    run = Made(question, lambda v: np.where(v[HR] > 1.0, np.nan, 1.0))
    found = deterministic.threshold(question, Y, [axis(HR, 0.0, 2.0, 0.5)], 0.0, run)
    assert found.table["status"].tolist() == ["undetermined"]


# -- global


def uniform_numbers(question: Question, names: list[str]) -> tuple[ParameterSet, frozenset[str]]:
    """Three numbers, each uniform on (0, 1)."""
    numbers = dict(question.parameters)
    for name in names:
        uncertainty = replace(numbers[HR].uncertainty, kind="uniform", marginals=(dist.Uniform(0.0, 1.0),))  # type: ignore[type-var]
        numbers[name] = replace(numbers[HR], name=name, uncertainty=uncertainty)
    n = question.parameters
    return ParameterSet(numbers, n.sources, (), (), n.country, n.files), frozenset(names)


A, B, C, D = "test.a", "test.b", "test.c", "test.d"


def ishigami(values: Mapping[str, Any]) -> Any:
    a, b, c = (np.pi * (2.0 * values[name] - 1.0) for name in (A, B, C))
    return np.sin(a) + 7.0 * np.sin(b) ** 2 + 0.1 * c**4 * np.sin(a)


def world_of(question: Question, names: list[str]) -> tuple[Question, frozenset[str]]:
    numbers, used = uniform_numbers(question, names)
    values = dict(question.values) | {name: np.array([0.5]) for name in names}
    return replace(question, parameters=numbers, values=values), used


def test_sobol_indices_of_the_ishigami_function(question: Question) -> None:
    # Ishigami and Homma 1990, a = 7, b = 0.1: S1 0.314, 0.442, 0; ST 0.558, 0.442, 0.244.
    asked, used = world_of(question, [A, B, C, D])
    factors = factors_of(asked.parameters, used, [A, B, C, D], [])
    found = screening.sobol(asked, Y, factors, 1024, 3, Made(asked, ishigami), second_order=True)
    table = found.table.set_index("factor")
    assert found.idle == (D,) and found.noise < 1e-20
    for name, first, total in ((A, 0.3139, 0.5576), (B, 0.4424, 0.4424), (C, 0.0, 0.2437)):
        # Four half widths of the 95 % interval: about one false alarm in ten million.
        assert abs(table.loc[name, "S1"] - first) < 4.0 * table.loc[name, "S1_conf"] + 1e-3
        assert abs(table.loc[name, "ST"] - total) < 4.0 * table.loc[name, "ST_conf"] + 1e-3
    pairs = found.pairs.set_index(["first", "second"])["S2"]
    assert pairs[(A, C)] == pytest.approx(0.2437, abs=0.08) and abs(pairs[(A, B)]) < 0.08
    assert found.variance == pytest.approx(13.845, rel=0.05)


def test_a_group_holds_the_interactions_inside_it(question: Question) -> None:
    asked, used = world_of(question, [A, B, C])
    factors = factors_of(asked.parameters, used, [B], [f"{A}+{C}"])
    found = screening.sobol(asked, Y, factors, 512, 3, Made(asked, ishigami))
    table = found.table.set_index("factor")
    assert table.loc[f"{A}+{C}", "S1"] == pytest.approx(0.5576, abs=0.08)
    assert table.loc[f"{A}+{C}", "ST"] == pytest.approx(0.5576, abs=0.08)


def test_noise_of_patients_is_measured_and_reported(question: Question) -> None:
    asked, used = world_of(question, [A, B])
    factors = factors_of(asked.parameters, used, [A, B], [])
    clean = Made(asked, lambda v: v[A] + v[B], shared=5.0)
    assert screening.sobol(asked, Y, factors, 64, 3, clean).noise < 1e-12
    # Own noise of sd 1 in 16 batches: variance 1/16 beside 1/6 from the two uniforms.
    noisy = screening.sobol(asked, Y, factors, 256, 3, Made(asked, lambda v: v[A] + v[B], own=1.0))
    assert noisy.noise == pytest.approx((1 / 16) / (1 / 6 + 1 / 16), rel=0.25)


def test_morris_effects_of_a_polynomial(question: Question) -> None:
    asked, used = world_of(question, [A, B, C])
    factors = factors_of(asked.parameters, used, [A, B, C], [])
    run = Made(asked, lambda v: 3.0 * v[A] - 2.0 * v[B] + 0.0 * v[C])
    found = screening.morris(asked, Y, factors, 8, 3, run)
    table = found.table.set_index("factor")
    # Effects per unit of the uniform, which SALib scales to the bounds: a linear function has the same everywhere.
    assert table.loc[A, "mu"] / table.loc[B, "mu"] == pytest.approx(-1.5)
    assert table["sigma"].max() < 1e-9 and found.idle == (C,)
    assert table.loc[A, "mu_star"] == pytest.approx(abs(table.loc[A, "mu"]))
    bent = screening.morris(asked, Y, factors, 8, 3, Made(asked, lambda v: v[A] * v[B]))
    assert bent.table["sigma"].min() > 0.0


def test_samples_must_be_a_power_of_two(question: Question) -> None:
    asked, used = world_of(question, [A])
    with pytest.raises(InputError, match="a power of two"):
        screening.sobol(asked, Y, factors_of(asked.parameters, used, [A], []), 100, 1, Made(asked, lambda v: v[A]))


def test_an_outcome_without_a_value_is_refused(question: Question) -> None:
    asked, used = world_of(question, [A])
    factors = factors_of(asked.parameters, used, [A], [])
    run = Made(asked, lambda v: np.where(v[A] > 0.5, np.nan, v[A]))
    with pytest.raises(InputError, match="no value at"):
        screening.sobol(asked, Y, factors, 16, 1, run)


# ---------------------------------------------------------------------------------------------------------------------
# Outcomes


def points_of(costs: list[float], effects: list[float]) -> Points:
    sums = np.array([[[[c, e] for c, e in zip(costs, effects, strict=True)]] * 4])
    return Points(("a", "b"), ("cost", "qaly"), (), sums, np.ones_like(sums), np.zeros((1, 5, 2, 0)), 4096)


def test_net_benefit_and_ratios_by_hand() -> None:
    points = points_of([100.0, 400.0], [1.0, 1.5])
    assert Outcome("nmb", "b", None, 1000.0).of(points).value == pytest.approx([1100.0])
    assert Outcome("nmb", "b", "a", 1000.0).of(points).value == pytest.approx([200.0])
    assert Outcome("icer", "b", "a").of(points).value == pytest.approx([600.0])
    # Less for more has no ratio.
    assert np.isnan(Outcome("icer", "a", "b").of(points).value).all()


@pytest.mark.parametrize(
    ("text", "difference", "expected", "words"),
    [
        ("os_60m", False, ("os_60m", None), "OS at 60 months, b"),
        ("difference_os_60m", False, ("os_60m", "a"), "difference in OS at 60 months, b against a"),
        ("os_60m", True, ("os_60m", "a"), "difference in OS at 60 months, b against a"),
        ("inmb", False, ("nmb", "a"), "INMB, b against a"),
        ("nmb", False, ("nmb", None), "NMB, b"),
        ("median_os_months", False, ("median_os_months", None), "median OS, b"),
        ("os_rmst_60", False, ("os_rmst_60", None), "mean OS within 60 months, b"),
        ("icer", False, ("icer", "a"), "ICER, b against a"),
    ],
)
def test_outcomes_are_named_as_in_the_results(text: str, difference: bool, expected: Any, words: str) -> None:
    columns = ("cost", "qaly", "os_60m", "os_rmst_60")
    found = parse_outcome(text, "b", "a", difference, columns, ["os"], 1.0)
    assert (found.name, found.comparator) == expected and found.words == words


def test_unknown_outcomes_and_ranges_are_refused() -> None:
    with pytest.raises(InputError, match="os_60m"):
        parse_outcome("os_61m", "b", "a", False, ("os_60m",), [], 1.0)
    with pytest.raises(InputError, match="compared with itself"):
        parse_outcome("inmb", "a", "a", False, ("cost", "qaly"), [], 1.0)
    for text in ("utility", "utility=1", "utility=high:low"):
        with pytest.raises(InputError, match="NAME=LOW:HIGH"):
            parse_ranges([text])


# ---------------------------------------------------------------------------------------------------------------------
# The command


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small project; figures are drawn in a test of their own."""
    monkeypatch.setattr(sensitivity_figures, "draw", lambda kind, folder, found, record: folder.mkdir())
    root = uncertain_project(tmp_path, monkeypatch)
    monkeypatch.setattr(command, "assembled", small)
    return root


SMALL = ("--patients", 4096, "--strategy", "by_burden_len", "--quiet")


@pytest.mark.parametrize(
    ("kind", "options", "file"),
    [
        ("tornado", (), "tornado.csv"),
        ("one-way", ("--parameters", HR, "--points", 3), "one_way.csv"),
        ("two-way", ("--parameters", f"{HR},{RATE}", "--points", 3), "two_way.csv"),
        ("threshold", ("--parameters", HR), "thresholds.csv"),
        ("morris", ("--samples", 2, "--parameters", f"{HR},{RATE}"), "morris.csv"),
        ("sobol", ("--samples", 8, "--parameters", f"{HR},{RATE}"), "sobol.csv"),
    ],
)
def test_each_kind_prints_and_writes(project: Path, kind: str, options: tuple[Any, ...], file: str) -> None:
    done = invoke(
        "sensitivity", kind, "question", "--outcome", "difference_ly", *SMALL, *options, "--out", "found", "--json"
    )
    assert done.exit_code == 0, done.stderr
    content = json.loads(done.stdout)
    assert content["outcome"] == "difference_ly" and content["kind"] == kind
    table = pd.read_csv(project / "found" / file)
    assert len(table) == len(content[file.removesuffix(".csv")]) > 0
    assert not list(project.glob(".found*"))
    assert invoke("sensitivity", kind, "question", *SMALL, "--out", "found").exit_code == 2


def test_finished_results_are_given_back_and_others_refused(project: Path) -> None:
    asked = ("sensitivity", "tornado", "question", "--outcome", "ly", *SMALL, "--out", "found")
    first = invoke(*asked)
    before = tree_of(project / "found")
    again = invoke(*asked, "--resume")
    assert again.exit_code == 0 and again.stdout == first.stdout and tree_of(project / "found") == before
    other = invoke(*asked, "--resume", "--seed", 5)
    assert other.exit_code == 2 and "results of other inputs" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("tornado", "question", "--points", 5), "--points beside tornado"),
        (("sobol", "question", "--range", f"{HR}=0.1:0.9"), "--range beside sobol"),
        (("one-way", "question"), "one-way without --parameters"),
        (("threshold", "question", "--parameters", HR, "--outcome", "ly"), "--target VALUE"),
        (("tornado", "question", "--strategy", "nobody"), "no strategy 'nobody'"),
        (("tornado", "question", "--parameters", "no.such"), "no parameter or group called 'no.such'"),
        (("tornado", "question", "--outcome", "ly", "--wtp", 5), "--wtp beside ly"),
        (("tornado", "question", "--patients", 100), "at least 4,096"),
        (("one-way", "question", "--parameters", "strategy_like"), "no parameter or group"),
        (("tornado", "question", "--parameters", HR, "--range", f"{HR}=0.9:0.1"), "the lower limit first"),
        (("tornado", "question", "--resume"), "--resume without --out"),
    ],
)
def test_wrong_requests_are_refused_and_nothing_is_written(
    project: Path, arguments: tuple[Any, ...], words: str
) -> None:
    before = tree_of(project)
    extra = () if "--strategy" in arguments else ("--strategy", "by_burden_len")
    done = invoke("sensitivity", *arguments, *extra, "--quiet")
    assert done.exit_code == 2, done.stdout
    assert words in done.stderr
    assert tree_of(project) == before


def test_figures_are_drawn_and_the_same_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = uncertain_project(tmp_path, monkeypatch)
    asked = ("sensitivity", "tornado", "question", "--outcome", "ly", "--parameters", HR, *SMALL)
    for name in ("one", "two"):
        assert invoke(*asked, "--out", name).exit_code == 0
    one, two = (tree_of(root / name / "figures") for name in ("one", "two"))
    assert set(one) == {"tornado.png", "tornado.svg"} and one == two
