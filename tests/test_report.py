"""Tables, figures and folders of results, from tables written by hand."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from cli_project import invoke, tree_of, use

from simhcc.errors import InputError
from simhcc.expressions import parameter
from simhcc.graph import AdministrationReward, MarkReward, RateReward
from simhcc.inputs import list_scenarios, list_strategies, load_parameters, load_scenario
from simhcc.report import EVERYONE, Tables, read_folder, render, run_object, write_folder
from simhcc.report.figures import SETTING_ORDER, styles
from simhcc.report.record import currency_of, unpriced_drugs
from simhcc.report.tables import _icers, unpriced_strategies
from simhcc.report.terminal import NARROWEST

NAMES = ("sorafenib", "atezo_bev", "a_strategy_with_a_long_name")
OUTCOMES = {
    "os_12m": (0.5, 0.01), "os_24m": (0.25, 0.008), "os_36m": (0.125, 0.004), "os_60m": (0.0625, 0.002),
    "median_os_months": (12.0, 0.24), "median_pfs_months": (np.nan, np.nan), "ly": (1.5, 0.02), "qaly": (1.1, 0.015),
    "cost": (123456.7, 987.6),
}  # fmt: skip


def by_hand() -> Tables:
    rows = [
        {"subgroup": EVERYONE, "strategy": name, "outcome": outcome, "mean": mean * (1 + k / 10), "mcse": mcse}
        for k, name in enumerate(NAMES)
        for outcome, (mean, mcse) in OUTCOMES.items()
    ]
    summary = pd.DataFrame(rows)
    summary["lower"] = summary["upper"] = summary["mean"]
    differences = summary[summary["strategy"] != "sorafenib"].assign(comparator="sorafenib", mean=-0.25, mcse=0.125)
    icer = _icers(summary, {"a_strategy_with_a_long_name": ("tiragolumab",)}).assign(subgroup=EVERYONE)
    months = np.arange(0.0, 61.0)
    everyone = {"subgroup": EVERYONE, "mcse": 0.004, "sd": 0.02, "months": months}
    curves = pd.concat(
        pd.DataFrame({**everyone, "endpoint": e, "strategy": s, "free": 0.5 ** (months / 12 / (k + 1))})
        for k, s in enumerate(NAMES)
        for e in ("os", "pfs")
    )
    occupancy = pd.concat(
        pd.DataFrame(
            {
                "subgroup": EVERYONE,
                "strategy": s,
                "months": months,
                "state": state,
                "share": share * 0.5 ** (months / 12),
            }
        )
        for s in NAMES
        for state, share in (("systemic", 0.75), ("supportive", 0.25))
    )
    events = pd.DataFrame(
        [{"subgroup": EVERYONE, "strategy": s, "event": "dead_other", "mean": 0.1, "mcse": 0.01} for s in NAMES]
    )
    groups = pd.DataFrame([{"subgroup": EVERYONE, "label": "all", "patients": 20_000}])
    return Tables(summary, differences, icer, curves, occupancy, events, groups)


RECORD = {
    "scenario": "advanced", "population": "china_advanced", "setting": "advanced", "comparator": "sorafenib", "patients": 20_000,
    "iterations": 1, "seed": 1, "command": "simhcc run advanced", "currency": "CNY",
    "strategies": {"sorafenib": "Sorafenib", "atezo_bev": "Atezolizumab + bevacizumab", "a_strategy_with_a_long_name": ""},
}  # fmt: skip


def shown(width: int, iterations: int = 1) -> list[str]:
    text = render(
        by_hand(), setting="advanced", comparator="sorafenib", currency="CNY", iterations=iterations, width=width
    )
    return text.split("\n")


# -- tables in a terminal


def test_a_table_says_the_numbers_their_errors_and_what_is_missing() -> None:
    lines = shown(110)
    row = next(line for line in lines if line.startswith("sorafenib"))
    assert row.split() == ["sorafenib", "0.500", "±0.010", "0.250", "±0.008", "0.125", "±0.004", "0.062", "±0.002"]
    text = "\n".join(lines)
    assert "12.0 ±0.24" in text and "not reached" in text
    assert "123,457 ±988" in text and "cost, disc. (CNY)" in text
    assert "-0.250 ±0.125" in text
    assert "Left out: a_strategy_with_a_long_name, no price: tiragolumab." in text
    assert "standard error" in lines[-2]


@pytest.mark.parametrize("width", [20, 60, 80, 110, 200])
@pytest.mark.parametrize("iterations", [1, 50])
def test_no_line_of_a_table_is_wider_than_the_terminal(width: int, iterations: int) -> None:
    # Below the narrowest width a strategy and one outcome no longer fit.
    for line in shown(width, iterations):
        size = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)
        assert size <= max(width, NARROWEST), line


# -- ICER and drugs without a price


def test_icers_are_taken_along_the_frontier_and_the_unpriced_stand_last() -> None:
    rows = [
        {"strategy": name, "outcome": outcome, "mean": value}
        for name, cost, qaly in (("a", 100.0, 1.0), ("b", 300.0, 2.0), ("c", 250.0, 0.9), ("d", np.nan, 3.0))
        for outcome, value in (("cost", cost), ("qaly", qaly))
    ]
    table = _icers(pd.DataFrame(rows), {"d": ("x",)}).set_index("Strategy")
    assert list(table.index) == ["a", "b", "c", "d"]
    assert table.loc["b", "ICER"] == 200.0
    assert table["Status"].to_dict() == {"a": "ND", "b": "ND", "c": "D", "d": "unpriced"}
    assert "x" in table.loc["d", "Note"] and np.isnan(table.loc["d", "Cost"])


def test_a_strategy_is_without_price_only_if_somebody_gets_the_drug() -> None:
    terms = (
        AdministrationReward(channel="cost", amount=parameter("prices.list.tiragolumab"), treatment="any", period=1.0),
        AdministrationReward(channel="cost", amount=1.0, treatment="atezo_bev_tiragolumab", period=1.0),
        RateReward(channel="cost", rate=parameter("prices.list.sorafenib")),
        MarkReward(channel="cost", amount=parameter("prices.list.ramucirumab"), mark="m"),
    )
    # Axes (draws, strategies, terms); the second strategy gets the drug in the second draw only.
    quantities = np.zeros((2, 3, 4))
    quantities[:, :, 2] = 1.0
    quantities[1, 1, 0] = 0.001
    quantities[0, 2, 1] = 2.0
    outcomes = SimpleNamespace(strategies=("a", "b", "c"), terms=terms, quantities=quantities)
    drugs = {"tiragolumab": ("atezo_bev_tiragolumab",), "ramucirumab": ()}
    assert unpriced_strategies(SimpleNamespace(outcomes=outcomes), drugs) == {
        "b": ("tiragolumab",),
        "c": ("tiragolumab",),
    }


def test_the_packaged_numbers_name_drugs_without_a_price_and_the_money() -> None:
    parameters = load_parameters("china")
    assert currency_of(parameters) == "CNY" and currency_of(load_parameters("united_states")) == "USD"
    drugs = unpriced_drugs(parameters)
    flagged = {
        n.rpartition(".")[2] for n, p in parameters.items() if n.startswith("prices.unpriced.") and p.value == 1.0
    }
    assert set(drugs) == flagged and "tiragolumab" in flagged
    assert drugs["tiragolumab"] == ("atezo_bev_tiragolumab",)


# -- colours


@pytest.mark.parametrize("setting", range(len(SETTING_ORDER)))
def test_strategies_of_a_setting_look_different_and_the_same_everywhere(setting: int) -> None:
    names = SETTING_ORDER[setting]
    everything = styles(names)
    assert len({str(style) for style in everything.values()}) == len(names)
    for name in names:
        assert styles([name])[name] == everything[name]
    own = styles([*names, "my_own", "my_other"])
    assert len({str(style) for style in own.values()}) == len(names) + 2
    assert {name: own[name] for name in names} == everything


def test_every_shipped_strategy_has_a_fixed_place() -> None:
    shipped = set(list_strategies()) - {"standard_care"}
    for name in list_scenarios():
        shipped |= {strategy.id for strategy in load_scenario(name).strategies}
    assert shipped == {name for group in SETTING_ORDER for name in group}


# -- folders


def test_a_folder_is_read_back_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(tmp_path, monkeypatch)
    scenario = load_scenario("question")
    parameters = scenario.load_parameters()
    folder = write_folder(tmp_path / "a", by_hand(), RECORD, scenario, parameters)
    tables, record = read_folder(folder)
    assert record == RECORD
    assert json.dumps(run_object(tables, record, "x")) == json.dumps(run_object(by_hand(), RECORD, "x"))
    assert "NaN" not in json.dumps(run_object(tables, record, "x"))
    first = tree_of(folder)
    assert {
        "figures/survival_os.png",
        "figures/survival_os.svg",
        "figures/survival_pfs.svg",
        "figures/occupancy.png",
    } <= set(first)
    # The same results are the same files, figures too.
    assert first == tree_of(write_folder(tmp_path / "b", by_hand(), RECORD, scenario, parameters))
    svg = first["figures/survival_os.svg"].decode()
    assert "Atezolizumab + bevacizumab" in svg and "standard error" in svg and "20,000" in svg
    for style in styles(list(RECORD["strategies"])).values():
        assert style.colour.lower() in svg.lower()
    with pytest.raises(InputError, match="--overwrite"):
        write_folder(tmp_path / "a", by_hand(), RECORD, scenario, parameters)


def test_a_folder_that_is_no_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no results of a run"):
        read_folder(tmp_path)


def test_a_run_draws_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = use(tmp_path, monkeypatch)
    assert invoke("run", "question", "--patients", 200, "--iterations", 2, "--out", "out").exit_code == 0
    assert {path.name for path in (root / "out" / "figures").iterdir()} == {
        f"{name}.{kind}"
        for name in (
            "survival_os",
            "survival_pfs",
            "survival_os_young",
            "occupancy",
            "frontier",
            "ceac",
            "expected_loss",
            "evpi",
            "inmb",
            "ce_plane",
            "convergence",
            "waterfall_by_burden_len",
        )
        for kind in ("png", "svg")
    }
