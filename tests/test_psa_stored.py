"""What a run keeps for decisions: prices without simulating, noise removed, thresholds, subgroups, value of information."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cli_project import invoke

from simhcc.economics import evpi, inmb
from simhcc.errors import InputError
from simhcc.uncertainty import information
from simhcc.uncertainty.decision import decide, noise_table, partition, price_thresholds, stratified, without_noise
from simhcc.uncertainty.stored import StoredPsa, load


def stored_by_hand(draws: int = 3) -> StoredPsa:
    """Three strategies: usual (no drug), new (10 vials of alpha, 2 of beta), other (4 of gamma, which has no price)."""
    units = np.zeros((draws, 3, 4))
    units[:, 0, 3], units[:, 1, 3], units[:, 2, 3] = 1.0, 2.0, 1.0
    units[:, 1, 0], units[:, 1, 1], units[:, 2, 2] = 10.0, 2.0, 4.0
    paid = np.tile([100.0, 50.0, 0.0, 1000.0], (draws, 1))
    cost = np.einsum("dsi,di->ds", units, paid)
    return StoredPsa(
        strategies=("usual", "new", "other"),
        comparator="usual",
        currency="CNY",
        wtp=(1000.0,),
        cost=cost,
        qaly=np.tile([1.0, 3.0, 4.0], (draws, 1)),
        ly=np.tile([2.0, 5.0, 6.0], (draws, 1)),
        noise=np.zeros((draws, 3, 3)),
        items=("prices.alpha", "prices.beta", "prices.gamma", "costs.visit"),
        units=units,
        unit_costs=paid,
        rest=np.zeros((draws, 3)),
        panel="effective",
        panels={
            "effective": {"alpha": 100.0, "beta": 50.0, "gamma": 0.0},
            "list": {"alpha": 300.0, "beta": 60.0, "gamma": 0.0},
        },
        without_price=("gamma",),
        patients=1000,
    )


def noisy(
    draws: int, sd: float, noise_sd: float, seed: int = 1, wtp: float = 1.0, mean: float = 0.0
) -> tuple[StoredPsa, np.ndarray]:
    """Two strategies at the same cost; the QALY difference is normal with sd between draws, and noise on top."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(mean, sd, draws)
    qaly = np.column_stack([np.full(draws, 5.0), 5.0 + truth + rng.normal(0.0, noise_sd, draws)])
    noise = np.zeros((draws, 2, 3))
    noise[:, 1, 1] = noise_sd**2
    empty = np.zeros((draws, 2, 0))
    found = StoredPsa(
        ("a", "b"), "a", "CNY", (wtp,), np.ones((draws, 2)), qaly, qaly, noise, (), empty, np.zeros((draws, 0)),
        np.ones((draws, 2)), "effective", {"effective": {}, "list": {}}, (), 100,
    )  # fmt: skip
    return found, truth


# -- prices


def test_a_price_moves_the_cost_of_those_who_use_the_drug_by_units_times_the_change() -> None:
    stored = stored_by_hand()
    moved = stored.repriced({"prices.alpha": 130.0}).cost - stored.cost
    assert np.array_equal(moved, np.tile([0.0, 300.0, 0.0], (3, 1)))
    both = stored.repriced({"prices.beta": 0.0, "costs.visit": 2000.0}).cost - stored.cost
    assert np.array_equal(both, np.tile([1000.0, 2000.0 - 100.0, 1000.0], (3, 1)))
    # There and back again.
    again = stored.repriced({"prices.alpha": 1.0}).repriced({"prices.alpha": 100.0})
    assert np.allclose(again.cost, stored.cost, rtol=1e-15)


def test_the_other_panel_is_all_its_prices() -> None:
    listed = stored_by_hand().with_panel("list")
    assert listed.panel == "list"
    assert listed.cost[0].tolist() == [1000.0, 3000.0 + 120.0 + 2000.0, 1000.0]
    with pytest.raises(InputError, match="effective or list"):
        stored_by_hand().with_panel("wholesale")


def test_a_strategy_without_a_price_stays_out_until_the_drug_has_one() -> None:
    stored = stored_by_hand()
    assert stored.priced == ("usual", "new") and stored.unpriced == {"other": ("gamma",)}
    icer = decide(stored).icer.set_index("Strategy")
    assert icer.loc["other", "Status"] == "unpriced" and math.isnan(icer.loc["other", "Cost"])
    assert "other" not in set(decide(stored).nmb["Strategy"])
    known = stored.repriced({"prices.gamma": 200.0})
    assert known.priced == ("usual", "new", "other")
    assert decide(known).icer.set_index("Strategy").loc["other", "Cost"] == 1800.0


def test_a_wrong_item_or_price_is_refused_with_the_nearest_name() -> None:
    stored = stored_by_hand()
    with pytest.raises(InputError, match=r"prices\.alpha\?"):
        stored.repriced({"prices.alfa": 1.0})
    for value in (-1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="0 or more CNY"):
            stored.repriced({"prices.alpha": value})


def test_a_stored_run_is_read_back_the_same_and_its_file_has_the_same_bytes(tmp_path: Path) -> None:
    stored = stored_by_hand()
    stored.save(tmp_path / "one.zip")
    load(tmp_path / "one.zip").save(tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    found = load(tmp_path / "one.zip")
    assert found.strategies == stored.strategies and found.panels == stored.panels
    assert np.array_equal(found.units, stored.units) and np.array_equal(found.cost, stored.cost)
    (tmp_path / "half.zip").write_bytes((tmp_path / "one.zip").read_bytes()[:-200])
    for name in ("half.zip", "none.zip"):
        with pytest.raises(InputError, match="no stored analysis"):
            load(tmp_path / name)


def test_the_price_at_which_a_strategy_without_a_price_is_optimal_by_hand() -> None:
    # NMB at 1000 per QALY: usual 1000 - 1000 = 0, new 3000 - 3100 = -100, other 4000 - 1000 - 4 p.
    summary, curve = price_thresholds(stored_by_hand())
    rows = summary.set_index(["Strategy", "Drug", "Against"])
    assert rows.loc[("other", "gamma", "all"), "Threshold"] == 750.0
    assert rows.loc[("other", "gamma", "usual"), "Threshold"] == 750.0
    # new uses 10 alpha: it catches up with usual when 10 (100 - p) = 100.
    assert rows.loc[("new", "alpha", "all"), "Threshold"] == 90.0
    assert not rows.loc[("new", "alpha", "all"), "Optimal_Now"]
    assert ("usual", "alpha", "all") not in rows.index
    part = curve[(curve["Strategy"] == "other") & (curve["Drug"] == "gamma")]
    assert part.loc[part["Price"] <= 750.0, "P_Optimal"].eq(1.0).all()


def test_two_drugs_without_a_price_have_one_threshold_in_money() -> None:
    stored = stored_by_hand()
    units = stored.units.copy()
    units[:, 2, 1] = 3.0
    both = replace(
        stored,
        units=units,
        unit_costs=np.tile([100.0, 0.0, 0.0, 1000.0], (3, 1)),
        cost=np.tile([1000.0, 3000.0, 1000.0], (3, 1)),
        without_price=("beta", "gamma"),
    )
    assert both.unpriced == {"new": ("beta",), "other": ("beta", "gamma")}
    summary, _ = price_thresholds(both)
    row = summary[(summary["Strategy"] == "other") & (summary["Against"] == "usual")].iloc[0]
    assert row["Drug"] == "beta + gamma" and row["Threshold"] == 3000.0


# -- patients' noise


def test_increments_keep_their_mean_and_get_the_covariance_between_draws() -> None:
    rng = np.random.default_rng(5)
    draws = 4000
    truth = rng.multivariate_normal([2000.0, 0.1], [[250000.0, 20.0], [20.0, 0.01]], draws)
    noise_cov = np.array([[90000.0, -5.0], [-5.0, 0.004]])
    seen = truth + rng.multivariate_normal([0.0, 0.0], noise_cov, draws)
    stored = stored_by_hand(draws)
    cost, qaly = stored.cost.copy(), stored.qaly.copy()
    cost[:, 1], qaly[:, 1] = cost[:, 0] + seen[:, 0], qaly[:, 0] + seen[:, 1]
    noise = np.zeros((draws, 3, 3))
    noise[:, 1] = [90000.0, 0.004, -5.0]
    stored = replace(stored, cost=cost, qaly=qaly, noise=noise)
    clean = without_noise(stored)
    moved = np.column_stack([clean.costs["new"] - clean.costs["usual"], clean.effects["new"] - clean.effects["usual"]])
    assert np.allclose(moved.mean(axis=0), seen.mean(axis=0), rtol=1e-10)
    assert np.allclose(np.cov(moved, rowvar=False), np.cov(seen, rowvar=False) - noise_cov, rtol=1e-6)


def test_without_noise_nothing_moves_and_noise_beyond_the_variance_leaves_the_mean() -> None:
    stored, _ = noisy(500, 0.5, 0.0)
    assert np.allclose(without_noise(stored).effects["b"], stored.qaly[:, 1], rtol=1e-12)
    loud, _ = noisy(500, 0.0, 0.5)
    flat = without_noise(replace(loud, noise=4.0 * loud.noise)).effects["b"]
    assert np.allclose(flat, loud.qaly[:, 1].mean(), rtol=1e-9)


def test_evpi_without_noise_is_the_closed_form_and_the_raw_one_is_too_large() -> None:
    # INMB normal with mean 0: EVPI = sd / sqrt(2 pi). 20,000 draws: standard error of the estimate about 0.6 % of it.
    sd, noise = 1.0, 0.5
    stored, _ = noisy(20_000, sd, noise, seed=8)
    clean = float(evpi(without_noise(stored), 1.0)["EVPI"].iloc[0])
    raw = float(evpi(stored.psa(), 1.0)["EVPI"].iloc[0])
    assert clean == pytest.approx(sd / math.sqrt(2 * math.pi), rel=0.03)
    assert raw == pytest.approx(math.hypot(sd, noise) / math.sqrt(2 * math.pi), rel=0.03)
    assert raw > 1.08 * clean
    table = noise_table(stored).set_index("Outcome")
    assert table.loc["inmb_1", "Noise_Ratio"] == pytest.approx(0.25, rel=0.06)


def test_the_tables_of_a_decision_agree_with_each_other() -> None:
    stored, _ = noisy(400, 0.4, 0.3, mean=0.1)
    found = decide(stored)
    at = found.ceac[found.ceac["WTP"] == 1.0]
    assert at["Proportion"].sum() == pytest.approx(1.0) and at["Proportion_Raw"].sum() == pytest.approx(1.0)
    loss = found.loss[found.loss["WTP"] == 1.0]
    perfect = found.evpi[found.evpi["WTP"] == 1.0].iloc[0]
    assert loss["Expected_Loss"].min() == pytest.approx(perfect["EVPI"])
    assert loss["Expected_Loss_Raw"].min() == pytest.approx(perfect["EVPI_Raw"])
    row = found.nmb.set_index("Strategy").loc["b"]
    assert row["P_Positive"] == pytest.approx(float(at.set_index("Strategy").loc["b", "Proportion"]))
    assert row["INMB"] == pytest.approx(float(inmb(stored.psa(), 1.0, "a")["b"].mean()))
    assert found.convergence["Draws"].max() == 400


def test_a_base_case_has_no_tables_of_uncertainty() -> None:
    found = decide(stored_by_hand(1))
    for name in ("ceac", "ceaf", "loss", "evpi", "plane", "noise", "convergence"):
        assert getattr(found, name).empty, name
    row = found.nmb.set_index("Strategy").loc["new"]
    assert row["INMB"] == -100.0 == row["lower"] == row["upper"]


# -- subgroups


def test_subgroups_divide_the_population_only_if_everybody_is_in_exactly_one() -> None:
    age = np.array([50, 60, 70, 80])
    young, old, middle = age < 65, age >= 65, (age > 55) & (age < 75)
    assert partition({"young": young, "middle": middle, "old": old}) == ("young", "old")
    assert partition({"young": young, "middle": middle}) == ()
    assert partition({}) == ()


def test_choosing_by_subgroup_is_worth_the_gain_in_each_by_hand() -> None:
    low = stored_by_hand()
    # In the other half new gains 5 QALYs: NMB 5000 - 3100 = 1900 against 0; in the first it loses 100.
    high = replace(low, qaly=np.tile([1.0, 5.0, 4.0], (3, 1)))
    value, table = stratified({"low": low, "high": high}, {"low": 0.5, "high": 0.5}, [1000.0])
    # For all: new has 0.5 x (-100) + 0.5 x 1900 = 900; by subgroup 0.5 x 0 + 0.5 x 1900 = 950.
    assert value["Best_For_All"].iloc[0] == "new" and value["Value"].iloc[0] == pytest.approx(50.0)
    assert set(table["Strategy"]) == {"usual", "new"}


# -- value of information


def information_problem(draws: int = 3000) -> tuple[StoredPsa, pd.DataFrame]:
    """INMB = x + y / 2 + noise of patients, x and y standard normal; z says nothing."""
    rng = np.random.default_rng(11)
    x, y, z = rng.standard_normal((3, draws))
    stored, _ = noisy(draws, 0.0, 0.3, seed=12)
    qaly = stored.qaly.copy()
    qaly[:, 1] += x + 0.5 * y
    names = {"treatments.one.x": x, "treatments.one.y": y, "liver.z": z, "fixed.w": np.ones(draws)}
    return replace(stored, qaly=qaly), pd.DataFrame(names, index=pd.RangeIndex(1, draws + 1, name="iteration"))


def test_evppi_is_the_closed_form_and_what_says_nothing_is_worth_nothing() -> None:
    stored, draws = information_problem()
    groups, singles = information.partial_values(stored, draws, 1.0)
    alone = singles.set_index("Group")
    # Knowing a normal contribution of sd s is worth s / sqrt(2 pi) at indifference; 3,000 draws: error about 2 %.
    assert alone.loc["treatments.one.x", "EVPPI"] == pytest.approx(1.0 / math.sqrt(2 * math.pi), rel=0.08)
    assert alone.loc["treatments.one.y", "EVPPI"] == pytest.approx(0.5 / math.sqrt(2 * math.pi), rel=0.12)
    assert alone.loc["liver.z", "EVPPI"] == 0.0 and "no relation" in alone.loc["liver.z", "Note"]
    assert "fixed.w" not in alone.index
    table = groups.set_index("Group")
    ceiling = float(evpi(without_noise(stored), 1.0)["EVPI"].iloc[0])
    assert table.loc["treatments.one", "EVPPI"] == pytest.approx(math.sqrt(1.25 / (2 * math.pi)), rel=0.08)
    assert table["EVPPI"].max() <= ceiling
    assert list(table.columns[-2:]) == ["Parameters", "Used"] and table.loc["treatments.one", "Used"] == 2


def test_a_larger_group_is_never_worth_less() -> None:
    stored, draws = information_problem(600)
    nested = {"x": ["treatments.one.x"], "xz": ["treatments.one.x", "liver.z"], "all": list(draws.columns[:3])}
    table, _ = information.partial_values(stored, draws, 1.0, nested)
    worth = table.set_index("Group")["EVPPI"]
    assert worth["x"] <= worth["xz"] <= worth["all"]


def test_groups_are_by_evidence_or_by_pattern() -> None:
    names = ["treatments.a.x", "treatments.a.y", "treatments.b.x", "utility.u", "utility.decrement.v"]
    assert information.evidence_groups(names) == {
        "treatments.a": names[:2],
        "treatments.b": names[2:3],
        "utility": names[3:],
    }
    assert information.chosen_groups({"effects": ["treatments.*.x"]}, names) == {"effects": [names[0], names[2]]}
    with pytest.raises(InputError, match="no varied parameter"):
        information.chosen_groups({"none": ["surgery.*"]}, names)


def test_a_trial_of_another_size_has_arms_and_events_in_proportion() -> None:
    from simhcc.inputs.trials import load_trial

    trial = load_trial("emerald-3")
    counted = [arm for arm in trial.content.arms if arm.subset_of is None]
    planned = sum(arm.n for arm in counted)
    half = information._sized(trial, planned // 2, planned)
    for arm in counted:
        assert half.arm(arm.id).n == pytest.approx(arm.n / 2, abs=1)
    asked = information._reporting(trial)
    assert {row.endpoint for row in asked.content.contrasts} == {"PFS", "OS"}
    assert {row.reference for row in asked.content.contrasts} == {"tace"}
    assert not asked.content.verdicts and all(row.statistic in ("landmark", "orr") for row in asked.content.targets)


# -- the command


@pytest.fixture
def results(tmp_path: Path) -> Path:
    (tmp_path / "run" / "economics").mkdir(parents=True)
    stored_by_hand(40).save(tmp_path / "run" / "economics" / "stored.zip")
    return tmp_path / "run"


def test_reprice_prints_the_new_costs_and_writes_what_it_printed(results: Path, tmp_path: Path) -> None:
    import json

    done = invoke("reprice", results, "--set", "alpha=10", "--set", "prices.effective.gamma=100", "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["cost"] == {"usual": 1000.0, "new": 2200.0, "other": 1400.0}
    assert [row["item"] for row in found["changes"]] == ["prices.alpha", "prices.gamma"]
    done = invoke("reprice", results, "--set", "alpha=10", "--out", tmp_path / "cheap")
    assert done.exit_code == 0 and "2,200" in done.stdout
    assert pd.read_csv(tmp_path / "cheap" / "nmb.csv").set_index("Strategy").loc["new", "NMB"] == 800.0
    # What was written can be repriced again.
    again = invoke("reprice", tmp_path / "cheap", "--set", "alpha=100", "--json")
    assert json.loads(again.stdout)["cost"]["new"] == 3100.0


def test_prices_from_a_file_are_the_same_as_from_the_command_line(results: Path, tmp_path: Path) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text("alpha: 10\ncosts.visit: 500\n")
    one = invoke("reprice", results, "--prices", prices, "--json")
    two = invoke("reprice", results, "--set", "alpha=10", "--set", "costs.visit=500", "--json")
    assert one.exit_code == 0 and one.stdout == two.stdout
    prices.write_text("alpha: 10\nbeta: -3\n")
    refused = invoke("reprice", results, "--prices", prices)
    assert refused.exit_code == 2 and "prices.yaml:2" in refused.stderr and "0 or more" in refused.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "nothing to change"),
        (("--set", "alpha"), "ITEM=VALUE"),
        (("--set", "alpha=cheap"), "a number"),
        (("--set", "alfa=3"), "alpha?"),
        (("--set", "alpha=-3"), "0 or more"),
        (("--set", "prices.list.alpha=3"), "--panel list"),
        (("--panel", "gross"), "effective or list"),
    ],
)
def test_reprice_refuses_what_would_mean_nothing(results: Path, options: tuple[str, ...], words: str) -> None:
    done = invoke("reprice", results, *options)
    assert done.exit_code == 2 and words in done.stderr


def test_reprice_of_something_else_is_refused(tmp_path: Path) -> None:
    done = invoke("reprice", tmp_path, "--set", "alpha=1")
    assert done.exit_code == 2 and "no stored analysis" in done.stderr


def test_an_estimate_that_falls_when_parameters_are_added_is_raised_and_says_so() -> None:
    table = pd.DataFrame(
        {"Group": ["a", "ab", "c"], "EVPPI": [3.0, 2.0, 1.0], "EVPPI_Raw": [3.0, 2.0, 1.0], "Note": ["", "", ""]}
    )
    members = {"a": ["a"], "ab": ["a", "b"], "c": ["c"]}
    found = information._raised(table, members, {"a": 3.0, "b": 4.0, "c": 0.5}).set_index("Group")
    assert found["EVPPI"].to_dict() == {"a": 3.0, "ab": 4.0, "c": 1.0}
    assert found.loc["ab", "Note"] == "raised to its part b" and found.loc["ab", "Clipped"] == 2.0
    alone = information._raised(table, members, {}).set_index("Group")
    assert alone.loc["ab", "EVPPI"] == 3.0 and alone.loc["ab", "Note"] == "raised to its subgroup a"


@pytest.mark.parametrize("draws", [1, 40])
@pytest.mark.parametrize("case", ["no price", "no wtp", "comparator without price", "one strategy"])
def test_a_run_in_which_little_can_be_compared_still_has_its_tables(case: str, draws: int) -> None:
    stored = stored_by_hand(draws)
    if case == "no price":
        units = stored.units.copy()
        units[:, :, 2] = 1.0
        stored = replace(stored, units=units)
        assert not stored.priced
    elif case == "no wtp":
        stored = replace(stored, wtp=())
    elif case == "comparator without price":
        stored = replace(stored, comparator="other")
    else:
        arrays = {name: getattr(stored, name)[:, :1] for name in ("cost", "qaly", "ly", "noise", "units", "rest")}
        stored = replace(stored, strategies=("usual",), **arrays)
    found = decide(stored)
    assert set(found.icer["Strategy"]) == set(stored.strategies)
    unpriced = set(found.icer.loc[found.icer["Status"] == "unpriced", "Strategy"])
    assert unpriced == set(stored.unpriced)
    assert found.nmb.empty == (case in ("no price", "no wtp"))
    if case == "comparator without price":
        assert found.nmb["INMB"].isna().all() and found.nmb["NMB"].notna().all()
