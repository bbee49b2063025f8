"""The economics of real runs: prices against a new simulation, splits that add up, sizes, exports, formats of others."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cli_project import invoke, use

from simhcc.analysis import simulated
from simhcc.assembly import assemble, state_utilities, utilities
from simhcc.economics import nmb, sample_size_split
from simhcc.expressions import as_expression, evaluate
from simhcc.graph import RateReward, TimeToDeathReward
from simhcc.inputs import load_parameters, load_scenario
from simhcc.report import command, decision_figures, figures
from simhcc.report.economics import drugs_without_price, money_names
from simhcc.report.exports import safe_id
from simhcc.uncertainty import sizes
from simhcc.uncertainty.budget import impacts, yearly_costs
from simhcc.uncertainty.stored import StoredPsa, load, store
from simhcc.uncertainty.waterfall import SPLITS, pieces_of, waterfalls

STRATEGIES = ("atezo_bev", "camre_rivo", "stride")
PATIENTS = 1024


def question(overrides: dict[str, float] | None = None, country: str = "china") -> tuple[Any, Any, Any, Any, Any]:
    """Three strategies of the advanced scenario, two draws: scenario, parameters, evaluation, values, result."""
    whole = load_scenario("advanced")
    scenario = replace(
        whole,
        strategies=tuple(whole.strategy(name) for name in STRATEGIES),
        iterations=2,
        patients=PATIENTS,
        country=country,
    )
    parameters = load_parameters(country, overrides=overrides)
    evaluation, values, cohort = assemble(scenario, parameters)
    evaluation = replace(evaluation, endpoints=(), landmarks=(), restrictions=(), grid_step=None, trace=False)
    return scenario, parameters, evaluation, values, simulated(evaluation, values, cohort, patients=PATIENTS, threads=1)


def kept(found: tuple[Any, Any, Any, Any, Any]) -> StoredPsa:
    _, parameters, evaluation, values, result = found
    return store(
        result, evaluation, values, money_names(parameters), currency="CNY", wtp=[99_665.0],
        without_price=drugs_without_price(parameters),
    )  # fmt: skip


@pytest.fixture(scope="module")
def base() -> tuple[Any, Any, Any, Any, Any]:
    return question()


# -- prices


def test_repricing_a_stored_run_is_what_a_new_simulation_gives(base: Any) -> None:
    changes = {
        "prices.effective.camrelizumab": 900.0,
        "prices.effective.bevacizumab": 10.0,
        "prices.effective.tremelimumab": 7.0,
    }
    again = question({**changes, "prices.unpriced.tremelimumab": 0.0})[-1].outcomes
    moved = kept(base).repriced({name.replace(".effective", ""): value for name, value in changes.items()})
    assert np.allclose(moved.cost, again.means[:, :, again.column("cost")], rtol=1e-10)
    assert np.allclose(moved.qaly, again.means[:, :, again.column("qaly")], rtol=0.0)
    assert moved.priced == STRATEGIES and kept(base).unpriced == {"stride": ("tremelimumab",)}


def test_the_list_panel_of_a_stored_run_is_what_a_new_simulation_gives(base: Any) -> None:
    again = question({"structure.list_prices": 1.0})[-1].outcomes
    moved = kept(base).with_panel("list")
    assert np.allclose(moved.cost, again.means[:, :, again.column("cost")], rtol=1e-10)


def test_costs_are_units_times_unit_costs_in_every_draw(base: Any) -> None:
    stored = kept(base)
    assert np.allclose(np.einsum("dsi,di->ds", stored.units, stored.unit_costs), stored.cost, rtol=1e-10)
    assert not stored.rest.any() and (stored.units >= -1e-12).all()
    # Prices are fixed over the draws, unit costs of care are not.
    at = {item: stored.unit_costs[:, k] for k, item in enumerate(stored.items)}
    assert np.ptp(at["prices.camrelizumab"]) == 0.0 and np.ptp(at["costs.procedure.resection"]) > 0.0


def test_money_in_another_currency_is_paid_at_the_rate() -> None:
    parameters = load_parameters("china")
    scenario = replace(load_scenario("advanced"), iterations=1, patients=10)
    plain = assemble(scenario, parameters)[1]["costs.visit"]
    leaf = replace(parameters["costs.visit"], unit="usd")
    dollars = type(parameters)({**parameters, "costs.visit": leaf}, parameters.sources, country="china")
    rate = float(parameters["economics.cny_per_usd"].base())
    assert assemble(scenario, dollars)[1]["costs.visit"] == pytest.approx(plain * rate)


# -- quality of life


def test_no_state_is_below_the_floor_or_above_the_norm_and_worse_states_are_worse() -> None:
    values = dict(load_parameters().sample(2000, 3))
    u = {name: np.broadcast_to(evaluate(state, values), (2000,)) for name, state in state_utilities().items()}
    norm = float(values["utility.norm.by_age"][0][1])
    for name, utility in u.items():
        assert (utility >= 0.0).all() and (utility <= norm).all(), name
    for better, worse in (
        ("disease_free", "systemic"), ("systemic", "systemic_later"), ("systemic_later", "supportive"),
        ("disease_free", "local_control"),
    ):  # fmt: skip
        assert (u[better] >= u[worse]).all()
    # The cap binds in some draws: utilities are drawn wider than it.
    assert (values["utility.disease_free"] > norm).any() and (u["disease_free"] == norm).any()


def test_the_limits_at_the_floor_never_spare_those_who_were_not_worse() -> None:
    values = dict(load_parameters().sample(2000, 3))
    # Far beyond its range, so that the limits bind in every draw.
    values["utility.decrement.decompensated"] = np.full(2000, 0.9)
    rows: dict[tuple[str, bool], Any] = {}
    last = np.zeros(2000)
    for reward in utilities("qaly"):
        if isinstance(reward, TimeToDeathReward):
            last = np.broadcast_to(evaluate(as_expression(reward.rate), values), (2000,))
        elif isinstance(reward, RateReward) and not reward.systemic and "phase" not in reward.tags:
            rate = np.broadcast_to(evaluate(as_expression(reward.rate), values), (2000,))
            rows[reward.states[0], "decompensated" in reward.tags] = rate
    assert last == pytest.approx(-np.minimum(values["utility.decrement.end_of_life"], rows["supportive", False]))
    for state in ("disease_free", "local_control", "supportive"):
        assert (rows[state, False] + rows[state, True] + last >= -1e-12).all(), state
        assert rows[state, False] + rows[state, True] + last == pytest.approx(0.0, abs=1e-9), state


# -- waterfalls


def test_every_split_adds_up_to_the_difference_and_pieces_to_the_mean(base: Any) -> None:
    _, _, evaluation, values, result = base
    outcomes = result.outcomes
    for channel in ("cost", "qaly", "ly"):
        total = sum(piece.amount for piece in pieces_of(result, evaluation, values, channel))
        assert np.allclose(total, outcomes.means[:, :, outcomes.column(channel)], rtol=1e-9), channel
    table = waterfalls(result, evaluation, values, ["atezo_bev", "camre_rivo"], "atezo_bev")
    assert set(table["Split"]) == set(SPLITS)
    for (outcome, split, strategy), part in table.groupby(["Outcome", "Split", "Strategy"]):
        rows, total = part[part["Part"] != "total"], part[part["Part"] == "total"].iloc[0]
        assert math.fsum(rows["Increment"]) == pytest.approx(total["Increment"], rel=1e-12)
        if len(rows):
            assert rows["Start"].iloc[0] == 0.0 and rows["End"].iloc[-1] == pytest.approx(total["Increment"], rel=1e-12)
        place = outcomes.strategies.index(strategy)
        column = outcomes.means[:, :, outcomes.column(outcome)]
        assert total["Increment"] == pytest.approx((column[:, place] - column[:, 0]).mean(), rel=1e-8), split
    drugs = table[(table["Outcome"] == "cost") & (table["Split"] == "drug") & (table["Strategy"] == "camre_rivo")]
    increments = drugs.set_index("Part")["Increment"]
    assert increments["atezolizumab"] < 0.0 < increments["camrelizumab"]


# -- budget


def test_yearly_costs_add_up_to_the_undiscounted_cost(base: Any) -> None:
    scenario, parameters, evaluation, _, _ = base
    one = replace(scenario, iterations=1, patients=PATIENTS)
    _, values, cohort = assemble(one, parameters)

    def run(cut: Any) -> Any:
        return simulated(cut, values, cohort, patients=PATIENTS, threads=1).outcomes

    streams = yearly_costs(evaluation, 3, run)
    assert list(streams.index) == [1, 2, 3] and (streams.iloc[0] > 0.0).all()
    channels = tuple(replace(c, discount=0.0) for c in evaluation.channels)
    cut = run(replace(evaluation, channels=channels, horizon=36.0))
    assert streams.sum().to_numpy() == pytest.approx(cut.means[0, :, cut.column("cost")], rel=1e-10)


def test_the_budget_of_a_slow_uptake_by_hand() -> None:
    streams = pd.DataFrame({"old": [100.0, 0.0], "new": [300.0, 40.0]}, index=pd.RangeIndex(1, 3))
    summary, detail = impacts(streams, 10.0, 2026, [0.5, 1.0], "old")
    # Half of each patient's year falls in the next calendar year. 2026: 5 move, (300 - 100) / 2 = 100 each. 2027: 10 move
    # at 100 each, and the 5 of the year before at (200 + 40) / 2 = 120 each.
    assert summary["Budget_Impact"].tolist() == [500.0, 1600.0] and summary["Year"].tolist() == [2026, 2027]
    assert set(detail["New"]) == {"new"}


# -- sizes


class Pilot:
    """What `sizes.choose` needs of a pilot: INMB with given variances between draws and between patients."""

    def __init__(self, between: float, per_patient: float, draws: int = 200, patients: int = 1024) -> None:
        rng = np.random.default_rng(4)
        truth = np.tile(rng.normal(0.0, math.sqrt(between), draws), 2)
        seen = truth + rng.normal(0.0, math.sqrt(per_patient / patients), 2 * draws)
        self.draws, self.patients, self.strategies = 2 * draws, patients, ("a", "b")
        self.means = np.zeros((2 * draws, 2, 2))
        self.means[:, 1, 1] = seen

    def column(self, name: str) -> int:
        return {"cost": 0, "qaly": 1}[name]


def test_patients_per_draw_follow_from_the_split_of_the_variance() -> None:
    # Noise of a patient is 1,000 times the variance between draws: 5 % needs 20,000 patients.
    found = sizes.choose(Pilot(1.0, 1000.0), "a", ["a", "b"], [1.0], most_patients=100_000, draws=None)
    assert found.patients % sizes.LEAF == 0
    assert found.patients == pytest.approx(20_000, rel=0.25)
    assert found.draws == max(sizes.TOTAL_PATIENTS // found.patients, sizes.FEWEST_DRAWS)
    few = sizes.choose(Pilot(1.0, 1000.0), "a", ["a", "b"], [1.0], most_patients=5000, draws=300)
    assert (few.patients, few.draws) == (5000, 300) and "would be needed" in few.words
    easy = sizes.choose(Pilot(1.0, 1.0), "a", ["a", "b"], [1.0], most_patients=100_000, draws=None)
    assert easy.patients == sizes.LEAF and easy.draws == sizes.MOST_DRAWS


def test_a_pilot_meets_each_draw_twice() -> None:
    values = sizes.pilot_values({"x": np.arange(10.0), "v": np.ones((10, 3)), "c": np.full(1, 2.0)}, 4)
    assert values["x"].tolist() == [0, 1, 2, 3, 0, 1, 2, 3] and values["v"].shape == (8, 3)
    assert values["c"].tolist() == [2.0] * 8
    # The halves are replicates in the sense of the pure function.
    table = sample_size_split(np.random.default_rng(1).normal(size=(4, 2, 1)), ["x"], patients=10, total_patients=100)
    assert len(table) == 2


# -- the command and its formats


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(figures, "draw_figures", lambda folder, tables, record: folder.mkdir())
    monkeypatch.setattr(decision_figures, "draw", lambda folder, found, labels, scenario: None)
    return use(tmp_path, monkeypatch)


def test_sizes_are_chosen_where_nobody_says_them_and_the_run_can_be_repeated(project: Path) -> None:
    done = invoke("run", "question", "--iterations", 12, "--no-subgroups", "--json", "--out", "one")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert "from a pilot of 12 draws x 2 replicates" in done.stderr
    assert (project / "one" / "economics" / "sizes.csv").exists() and "subgroups" not in found
    record = json.loads((project / "one" / "run.json").read_text())
    assert found["patients"] == record["patients"] and "pilot" in record["sizes"]
    again = invoke(*record["command"].split()[1:], "--json", "--out", "two")
    assert json.loads(again.stdout)["strategies"] == found["strategies"]
    # What is complete is shown again, with the sizes that the pilot chose.
    resumed = invoke("run", "question", "--iterations", 12, "--no-subgroups", "--json", "--out", "one", "--resume")
    assert json.loads(resumed.stdout) == found


@pytest.mark.parametrize("value", ["many", "0", "-3", "1.5"])
def test_a_number_of_iterations_is_a_whole_number_or_auto(project: Path, value: str) -> None:
    done = invoke("run", "question", f"--iterations={value}", "--out", "x")
    assert done.exit_code == 2 and "--iterations" in done.stderr and not (project / "x").exists()


def test_the_exports_have_the_shapes_that_other_programs_read(project: Path) -> None:
    done = invoke("run", "question", "--iterations", 40, "--patients", 300, "--out", "out")
    assert done.exit_code == 0, done.stderr
    psa = project / "out" / "psa"
    cost, effect = pd.read_csv(psa / "cost.csv"), pd.read_csv(psa / "effectiveness.csv")
    parameters, strategies = pd.read_csv(psa / "parameters.csv"), pd.read_csv(psa / "strategies.csv")
    assert list(cost.columns) == ["iteration", *strategies["id"]] == list(effect.columns)
    assert len(cost) == len(effect) == len(parameters) == 40 and cost["iteration"].tolist() == list(range(1, 41))
    assert not parameters.isna().any().any() and all(parameters[c].nunique() > 1 for c in parameters.columns)
    assert all(safe_id(name) == name for name in (*parameters.columns, *cost.columns))
    assert strategies["is_comparator"].tolist() == [True, False] and strategies["order"].tolist() == [1, 2]
    long = pd.read_csv(psa / "psa_long.csv", float_precision="round_trip")
    wide = long.pivot(index="iteration", columns="strategy", values="cost")
    assert np.array_equal(
        wide[strategies["id"]].to_numpy(), pd.read_csv(psa / "cost.csv", float_precision="round_trip").iloc[:, 1:]
    )
    pd.testing.assert_frame_equal(pd.read_parquet(psa / "psa_long.parquet"), long)
    columns = pd.read_csv(psa / "columns.csv", keep_default_na=False).set_index("column")
    assert list(columns.index) == list(long.columns) and (columns["meaning"].str.len() > 5).all()
    assert columns.loc[["cost", "qaly", "os_12m", "median_os_months"], "unit"].tolist() == [
        "currency",  # the small project names none
        "years",
        "share",
        "months",
    ]
    names = pd.read_csv(psa / "parameter_names.csv")
    assert names["column"].tolist() == list(parameters.columns[1:]) and names["unit"].notna().all()
    script = (psa / "load_in_R.R").read_text()
    for call in (
        "dampack::make_psa_obj(cost = cost, effectiveness = effectiveness, parameters = parameters",
        "BCEA::bcea(eff =",
        "voi::evppi(psa_voi, parameters, pars =",
    ):
        assert call in script
    about = json.loads((psa / "meta.json").read_text())
    for key in ("currency", "price_year", "perspective", "discount_rate_costs", "horizon_years", "seed", "iterations"):
        assert key in about
    for table in ("ceac", "ceaf", "expected_loss", "evpi", "nmb", "noise", "convergence"):
        assert len(pd.read_csv(project / "out" / "economics" / f"{table}.csv")), table


def test_the_workbook_holds_the_tables_with_numbers_as_numbers(project: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    assert invoke("run", "question", "--iterations", 5, "--patients", 200, "--out", "out").exit_code == 0
    book = openpyxl.load_workbook(project / "out" / "results.xlsx")
    for sheet in ("about", "summary", "icer", "nmb", "ceac", "evpi", "noise", "inputs", "sources"):
        assert sheet in book.sheetnames
    rows = list(book["nmb"].iter_rows(min_row=3, values_only=True))
    table = pd.read_csv(project / "out" / "economics" / "nmb.csv")
    assert list(rows[0]) == list(table.columns)
    at = rows[0].index("NMB")
    assert [row[at] for row in rows[1:]] == pytest.approx(table["NMB"].tolist(), rel=1e-8)
    # A number of the inputs can be reckoned with, a vector is text; every sheet says what it holds.
    inputs = {row[0]: row[1] for row in book["inputs"].iter_rows(min_row=4, values_only=True)}
    told = pd.read_csv(project / "out" / "inputs" / "parameters.csv", dtype=str).set_index("name")["value"]
    for name, value in told.items():
        assert inputs[name] == (value if " " in value else pytest.approx(float(value)))
    assert any(isinstance(value, float) for value in inputs.values())
    assert not [sheet.title for sheet in book.worksheets if not sheet["A1"].value]
    # Nothing that a spreadsheet would take for a formula or an error.
    for sheet in book.worksheets:
        for row in sheet.iter_rows():
            assert all(cell.data_type in ("n", "s", "b") for cell in row), sheet.title


@pytest.mark.parametrize(
    ("name", "expected"), [("a+b", "a_b"), ("2nd line", "x_2nd_line"), ("treatments.x.0", "treatments_x_0"), ("a", "a")]
)
def test_ids_are_safe_for_r(name: str, expected: str) -> None:
    assert safe_id(name) == expected


def test_voi_says_in_words_what_may_be_concluded(project: Path) -> None:
    done = invoke("run", "question", "--iterations", 120, "--patients", 200, "--no-subgroups", "--out", "out")
    assert done.exit_code == 0, done.stderr
    amounts = ("--wtp", 20000.25, "--patients-per-year", 1234567, "--years", 10, "--discount", 0.05)
    done = invoke("voi", "out", *amounts, "--quiet")
    assert done.exit_code == 0, done.stderr
    found = json.loads((project / "out" / "voi" / "voi.json").read_text())
    # What is typed again must be the same amount: no rounding, no exponent.
    assert "--wtp 20000.25" in found["command"] and "--patients-per-year 1234567 " in found["command"]
    stored = load(project / "out" / "economics" / "stored.zip")
    best = nmb(stored.psa(), 20000.25).mean().idxmax()
    assert f"As things are known, {best} has the highest expected net benefit" in done.stdout
    text = done.stdout.replace(",", "")
    assert f"For the {found['population']:.0f} patients" in text and "EVPI" in text
    for row in found["evppi"]:
        shown = f"{row['EVPPI']:.0f} ±{row['SE'] or 0.0:.0f}" in text
        assert shown == (row["EVPPI"] > 0.0) or row["EVPPI"] < 0.5, row
    # Nobody learns from a row of zeros.
    assert all(not re.match(r"\S+\s+0 ±", line) for line in done.stdout.splitlines())


def test_voi_of_a_run_reads_its_draws_and_refuses_what_has_no_effect(project: Path) -> None:
    assert (
        invoke("run", "question", "--iterations", 120, "--patients", 200, "--no-subgroups", "--out", "out").exit_code
        == 0
    )
    done = invoke("voi", "out", "--patients-per-year", 1000, "--years", 10, "--discount", 0.05, "--json", "--quiet")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    # Patients over ten years, discounted in continuous time: 1000 x (1 - 1.05^-10) / ln 1.05
    assert found["population"] == pytest.approx(1000 * (1 - 1.05**-10) / math.log(1.05))
    assert {row["Group"] for row in found["evppi"]} <= {"recurrence", "cost", "cutoffs"}
    assert (project / "out" / "voi" / "evppi.csv").exists() and (project / "out" / "voi" / "evppi.svg").exists()
    for options, words in (
        ((), "--overwrite"),
        (("--overwrite", "--sizes", "100"), "--trial"),
        (("--overwrite", "--years", "3"), "--patients-per-year"),
        (("--overwrite", "--group", "x=nothing.*"), "no varied parameter"),
        (("--overwrite", "--wtp", "-1"), "0 or more"),
    ):
        refused = invoke("voi", "out", *options)
        assert refused.exit_code == 2 and words in refused.stderr, (options, refused.stderr)
    assert command.AUTO == "auto"


@pytest.mark.parametrize("change", ["no wtp", "one strategy"])
@pytest.mark.parametrize("iterations", [1, 4])
def test_a_scenario_with_little_to_compare_is_still_run_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, iterations: int
) -> None:
    # With its figures: they are what trips over empty tables.
    project = use(tmp_path, monkeypatch)
    path = project / "scenarios" / "question.yaml"
    text = path.read_text()
    if change == "no wtp":
        text = text.replace("wtp: [100000]\n", "")
    else:
        text = text.replace("  - {id: by_burden, options: {backbone: len_pembro}, as: by_burden_len}\n", "")
    path.write_text(text)
    done = invoke("run", "question", "--patients", 100, "--iterations", iterations, "--no-subgroups", "--out", "out")
    assert done.exit_code == 0, done.stderr
    assert (project / "out" / "economics" / "stored.zip").exists() and (project / "out" / "run.json").exists()
