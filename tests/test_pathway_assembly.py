"""Assembly of a scenario: what is summed, what drugs cost, whom it is about."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from simhcc.assembly import COST_CATEGORIES, assemble, doses, drug_costs
from simhcc.errors import InputError
from simhcc.expressions import as_expression, evaluate, leaves
from simhcc.inputs import load_parameters, load_scenario
from simhcc.model import as_values
from simhcc.pathway.regimens import BY_ID, REGIMENS
from simhcc.report.economics import money_names
from simhcc.simulation import simulate
from simhcc.uncertainty.stored import StoredPsa, store

SCENARIOS = ("resectable", "intermediate", "advanced", "national")


@pytest.mark.parametrize("name", SCENARIOS)
def test_shipped_scenarios_name_strategies_of_their_setting_and_a_population(name: str) -> None:
    scenario = load_scenario(name)
    assert scenario.setting == name and scenario.population.is_file()
    assert scenario.comparator in [s.id for s in scenario.strategies]
    assert scenario.subgroups and scenario.label.zh


def test_costs_add_up_and_discounting_lowers_what_it_should() -> None:
    scenario = replace(load_scenario("national"), patients=2048)
    evaluation, values, cohort = assemble(scenario, scenario.load_parameters())
    outcomes = simulate(evaluation, values, cohort, patients=2048)
    means = {name: outcomes.means[0, :, outcomes.column(name)] for name in outcomes.columns[: 5 + len(COST_CATEGORIES)]}
    parts = sum(means[f"cost_{category}"] for category in COST_CATEGORIES)
    assert np.allclose(parts, means["cost"], rtol=1e-12)
    assert all((means[f"cost_{category}"] > 0).all() for category in COST_CATEGORIES)
    assert (means["ly"] < means["ly_undiscounted"]).all() and (means["qaly"] < means["qaly_undiscounted"]).all()
    # Quality of life lies between that of supportive care and that of the disease-free.
    weight = means["qaly_undiscounted"] / means["ly_undiscounted"]
    assert ((weight > 0.5) & (weight < 0.85)).all()


def test_draws_give_an_axis_and_other_patients() -> None:
    scenario = replace(load_scenario("advanced"), patients=1024, iterations=3)
    evaluation, values, cohort = assemble(scenario, scenario.load_parameters())
    assert all(np.asarray(value).shape[0] == 3 for value in values.values())
    assert len(cohort["age"]) == 3 * 1024
    two = replace(evaluation, strategies=evaluation.strategies[3:5], comparator=None)
    outcomes = simulate(two, values, cohort, patients=1024, fresh_patients=True)
    qaly = outcomes.per_draw("qaly").to_numpy()
    assert (
        np.isfinite(qaly).all() and (np.ptp(qaly, axis=0) > 0.0).all() and len(np.unique(outcomes.means[:, 0, 0])) == 3
    )


def test_the_societal_perspective_is_refused_and_the_payer_pays_a_share() -> None:
    scenario = replace(load_scenario("advanced"), patients=64)
    parameters = scenario.load_parameters()
    with pytest.raises(InputError, match="indirect costs"):
        assemble(replace(scenario, perspective="societal"), parameters)
    small = replace(scenario, patients=1024, strategies=scenario.strategies[:1], comparator=scenario.strategies[0].id)
    cost = []
    for perspective in ("healthcare_system", "payer"):
        evaluation, values, cohort = assemble(replace(small, perspective=perspective), parameters)
        outcomes = simulate(evaluation, values, cohort, patients=1024)
        cost.append(float(outcomes.means[0, 0, outcomes.column("cost")]))
    assert math.isclose(cost[1], 0.7 * cost[0], rel_tol=1e-12)


def test_whole_vials_by_weight_unless_they_are_shared() -> None:
    base = load_parameters().base_values()
    weight = np.array([59.9, 60.0, 61.0])
    whole = doses(weight, base)
    # 15 mg/kg in vials of 100 mg: 8.985, 9.0 and 9.15 vials; lenvatinib 8 mg below 60 kg and 12 mg from there, tablets of 4 mg.
    assert whole["vials_bevacizumab"].tolist() == [9.0, 9.0, 10.0]
    assert whole["tablets_lenvatinib"].tolist() == [2.0, 3.0, 3.0]
    shared = doses(weight, {**base, "economics.vial_sharing": 1.0})
    assert np.allclose(shared["vials_bevacizumab"], [8.985, 9.0, 9.15])


def _amounts(regimen: str, changes: dict[str, float] | None = None) -> list[tuple[float, float, str | None]]:
    parameters = load_parameters()
    values = as_values({**parameters.base_values(), **(changes or {})})
    number = lambda x: float(np.asarray(evaluate(as_expression(x), values)).ravel()[0])  # noqa: E731
    return [(number(c.amount), number(c.period) * 30.44, c.per) for c in drug_costs(BY_ID[regimen], parameters)]


def test_drug_costs_by_hand() -> None:
    # Sorafenib: 800 mg a day in tablets of 200 mg, 80 % of the dose, 28 days, 30 yuan each.
    assert _amounts("sorafenib") == [(pytest.approx(4 * 28 * 0.8 * 30.0), pytest.approx(28.0), None)]
    # List prices instead: 95 yuan.
    assert _amounts("sorafenib", {"structure.list_prices": 1.0})[0][0] == pytest.approx(4 * 28 * 0.8 * 95.0)
    # Atezolizumab one vial of 14,760 at 95 %, one infusion, bevacizumab by vials at 95 %; every 21 days.
    atezolizumab, infusion, bevacizumab = _amounts("atezo_bev")
    assert atezolizumab[0] == pytest.approx(0.95 * 14760.0) and atezolizumab[1] == pytest.approx(21.0)
    assert infusion[0] == pytest.approx(411.92)
    assert bevacizumab == (pytest.approx(0.95 * 1150.0), pytest.approx(21.0), "vials_bevacizumab")
    # 1,120 mg of durvalumab are two vials of 500 mg and one of 120 mg.
    assert _amounts("durva_bev")[0][0] == pytest.approx(0.95 * (2 * 4160.0 + 1395.0), rel=1e-6) or any(
        amount == pytest.approx(0.95 * (2 * 4160.0 + 1395.0)) for amount, _, _ in _amounts("durva_bev")
    )


def test_the_drug_that_is_stopped_first_is_paid_while_it_is_given() -> None:
    parameters = load_parameters()
    for regimen in REGIMENS:
        drugs = [cost for cost in drug_costs(regimen, parameters) if cost.tags]
        if regimen.sheds is None:
            assert not drugs
            continue
        assert drugs and all(cost.tags == {"one_drug_stopped": ("no",)} for cost in drugs)
        assert {
            leaf for cost in drugs for leaf in leaves(cost.amount, "parameter") if leaf.startswith("prices.list.")
        } == {f"prices.list.{regimen.sheds}"}


@pytest.mark.parametrize(
    ("regimen", "drug", "other"),
    [("atezo_bev", "bevacizumab", "atezolizumab"), ("camre_rivo", "apatinib", "camrelizumab")],
)
def test_stopping_one_drug_saves_its_doses_and_no_others(regimen: str, drug: str, other: str) -> None:
    scenario = load_scenario("advanced")
    one = tuple(s for s in scenario.strategies if s.id in (regimen, "best_supportive_care"))
    scenario = replace(scenario, patients=1024, strategies=one, comparator="best_supportive_care")
    parameters = scenario.load_parameters()
    evaluation, values, cohort = assemble(scenario, parameters)
    # No bleeding, and one drug less changes nothing else; another branch draws another number for performance status.
    alone = {
        "treatments.atezo_bev.p_bleeding_acts": 0.0,
        "ecog.p_step_at_severe_toxicity": 0.0,
        "toxicity.rate_ratio_one_drug_left": 1.0,
        "systemic.progression_hr_after_one_drug_stopped": 1.0,
    }
    assert set(alone) <= set(values)
    units, years = [], []
    for share in (0.0, 0.6):
        given = {**values, **{k: np.asarray([v]) for k, v in {**alone, "toxicity.p_stop_one_drug": share}.items()}}
        outcomes = simulate(evaluation, given, cohort, patients=1024)
        made = SimpleNamespace(outcomes=outcomes)
        stored = store(made, evaluation, given, money_names(parameters), currency="CNY", wtp=(1.0,), without_price=())
        units.append([float(stored.drug_units(name)[regimen].iloc[0]) for name in (drug, other)])
        years.append(outcomes.means[:, :, outcomes.column("ly")])
    assert units[1][0] < 0.9 * units[0][0] and units[0][1] > 0.0
    # A visit ends where a drug is stopped, which rounds sums differently.
    assert units[1][1] == pytest.approx(units[0][1], rel=1e-9) and years[1] == pytest.approx(years[0], rel=1e-12)


@pytest.fixture(scope="module")
def drug_bills() -> dict[str, StoredPsa]:
    """Sorafenib and atezolizumab + bevacizumab for patients of 62 kg: as shipped, with vials shared, at list prices."""
    scenario = load_scenario("advanced")
    two = tuple(s for s in scenario.strategies if s.id in ("sorafenib", "atezo_bev"))
    scenario = replace(scenario, patients=1024, strategies=two, comparator="sorafenib")
    changes = {"as shipped": {}, "shared": {"economics.vial_sharing": 1.0}, "list": {"structure.list_prices": 1.0}}
    found = {}
    for name, change in changes.items():
        parameters = scenario.load_parameters()
        evaluation, values, cohort = assemble(scenario, parameters)
        values = {**values, **{key: np.asarray([value]) for key, value in change.items()}}
        weight = np.full_like(cohort["weight"], 62.0)
        cohort = {**cohort, "weight": weight, **doses(weight, {**parameters.base_values(), **change})}
        outcomes = simulate(evaluation, values, cohort, patients=1024)
        money = money_names(parameters)
        made = SimpleNamespace(outcomes=outcomes)
        found[name] = store(made, evaluation, values, money, currency="CNY", wtp=(1.0,), without_price=())
    return found


def _bill(stored: StoredPsa, drug: str) -> tuple[float, float]:
    """Units of a drug per patient with atezolizumab + bevacizumab first, and what they cost."""
    units = float(stored.drug_units(drug)["atezo_bev"].iloc[0])
    return units, units * float(stored.unit_costs[0, stored.items.index(f"prices.{drug}")])


def test_sharing_vials_pays_the_milligrams_of_a_run_and_nothing_else_changes(drug_bills: dict[str, StoredPsa]) -> None:
    whole, shared = drug_bills["as shipped"], drug_bills["shared"]
    # 62 kg x 15 mg = 930 mg: ten vials of 100 mg, or 9.3 of them where what is left goes to the next patient.
    units, cost = _bill(whole, "bevacizumab")
    assert units > 0.0 and _bill(shared, "bevacizumab") == pytest.approx((0.93 * units, 0.93 * cost), rel=1e-9)
    # 1,200 mg of atezolizumab are one vial, and tablets have no vials.
    for drug in ("atezolizumab", "lenvatinib", "sorafenib"):
        assert _bill(shared, drug) == pytest.approx(_bill(whole, drug), rel=1e-12, abs=1e-12)
    assert (shared.cost <= whole.cost).all() and np.array_equal(whole.qaly, shared.qaly)


def test_the_list_package_multiplies_a_drugs_bill_by_the_ratio_of_its_prices(drug_bills: dict[str, StoredPsa]) -> None:
    effective, listed = drug_bills["as shipped"], drug_bills["list"]
    # Originator 1,500 against biosimilar 1,150; 32,800 against 14,760 after assistance; generic lenvatinib 18 against 108.
    for drug, ratio in (("bevacizumab", 1500 / 1150), ("atezolizumab", 32800 / 14760), ("lenvatinib", 108 / 18)):
        units, cost = _bill(effective, drug)
        assert units > 0.0 and _bill(listed, drug) == pytest.approx((units, ratio * cost), rel=1e-12)
    assert (listed.cost > effective.cost).all() and np.array_equal(listed.qaly, effective.qaly)
