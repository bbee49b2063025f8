"""The page of `simhcc reference`: its words follow from the numbers, and turn when the numbers do."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from simhcc.inputs import load_scenario
from simhcc.report import reference
from simhcc.report.reference import Lead, Origin, Setting

LABELS = {"old": "Old drug", "new": "New drug", "third": "Third drug"}
WTP = 100.0


def waterfall() -> pd.DataFrame:
    rows = []
    for strategy, drug, visits, gain in (("new", 70.0, -10.0, 0.5), ("third", 20.0, 5.0, 0.2)):
        for outcome, parts in (("cost", {"drug: x": drug, "visits": visits}), ("qaly", {"systemic": gain})):
            for part, value in (parts | {"total": sum(parts.values())}).items():
                rows.append(
                    {"Outcome": outcome, "Split": "part", "Strategy": strategy, "Part": part, "Increment": value}
                )
    for strategy, later in (("new", 50.0), ("third", 20.0)):
        line = {"Outcome": "cost", "Split": "line", "Strategy": strategy}
        rows += [
            line | {"Part": part, "Increment": value} for part, value in (("later lines", later), ("total", later))
        ]
    return pd.DataFrame(rows)


def tails(cured_qaly: float) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for case, label, gain in (("model", "own", 1.5), ("tail_durable", "Long control is cure", cured_qaly)):
        for strategy, qaly, cost in (("old", 1.0, 50.0), ("new", gain, 60.0)):
            for outcome, value in (("qaly", qaly), ("cost", cost), ("ly", 2.0)):
                beyond = 0.1 if case == "model" else math.nan
                rows.append(
                    {"months": 72.0, "strategy": strategy, "comparator": math.nan, "case": case, "label": label}
                    | {"outcome": outcome, "mean": value, "mcse": 0.0, "beyond": beyond}
                )
        for outcome, error in (("qaly", 0.01), ("cost", 1.0)):
            rows.append(
                {"months": 72.0, "strategy": "new", "comparator": "old", "case": case, "label": label}
                | {"outcome": outcome, "mean": 0.0, "mcse": error, "beyond": math.nan}
            )
    return pd.DataFrame(rows)


def setting(**changes: Any) -> Setting:
    lead = Lead("new", "old", 0.97, 0.01, 40.0, 2.0, -5.0, 80.0)
    icer = pd.DataFrame(
        {"Strategy": ["old", "new"], "Cost": [50.0, 60.0], "Effect": [1.0, 1.5], "ICER": [math.nan, 20.0]}
    ).assign(Status="ND", Note="")
    found = Setting(
        name="toy",
        record={"label": "Toy", "strategies": LABELS},
        about={"wtp": [WTP], "currency": "CNY", "comparator": "old", "price_panel": "effective"}
        | {"strategies_without_price": {"third": ["y"]}, "patients_per_year": 10.0},
        base=pd.DataFrame(),
        base_icer=pd.DataFrame(),
        summary=pd.DataFrame(),
        icer=icer,
        tables={},
        waterfall=waterfall(),
        voi={"evpi": [{"EVPI": 10.0, "MCSE": 1.0}], "population": None, "evppi": []},
        tails=pd.DataFrame(),
        lead=lead,
        panels={"effective": lead, "list": replace(lead, best="old", second="new")},
        origin=Origin(3, 2, {"assumed": 3}, 1, {}, {}),
        question="",
        note="",
    )
    return replace(found, **changes)


@pytest.mark.parametrize(
    ("chance", "error", "words"),
    [
        (0.97, 0.01, "the decision is clear"),
        (0.91, 0.01, "more likely right than wrong, but not clear"),
        (0.51, 0.02, "an open decision."),
        (0.30, 0.02, "every strategy is more likely not to be best than to be"),
    ],
)
def test_how_sure_it_is_follows_from_the_probability_less_its_error(chance: float, error: float, words: str) -> None:
    s = setting()
    text = " ".join(
        reference._verdict(replace(s, lead=replace(s.lead, chance=chance, chance_mcse=error)), LABELS, WTP, "CNY")
    )
    assert words in text and "New drug" in text and f"{100 * chance:.0f} % of draws" in text


def test_a_lead_within_two_errors_is_no_lead() -> None:
    s = setting()
    told = [
        " ".join(reference._verdict(replace(s, lead=replace(s.lead, gap=gap)), LABELS, WTP, "CNY"))
        for gap in (3.9, 4.1)
    ]
    assert "cannot be told from nothing" in told[0] and "cannot be told from nothing" not in told[1]


def test_the_parts_against_the_runner_up_are_the_difference_of_two_waterfalls() -> None:
    s = setting()
    (words,) = reference._drivers(replace(s, lead=replace(s.lead, second="third")), LABELS, "CNY")
    # 70 - 20 of drugs, -10 - 5 of visits: 35 in all, and 0.5 - 0.2 QALYs.
    assert "Against Third drug, New drug costs +35 CNY (drug: x +50, visits -15) and brings +0.300 QALYs" in words
    assert "cost by line: later lines +30." in words and "cost by line: later lines +50." in words
    assert "Against Old drug, New drug costs +60 CNY (drug: x +70, visits -10) and brings +0.500 QALYs" in words


def test_a_continuation_that_turns_the_decision_says_so() -> None:
    same, turned = (reference._by_tail(setting(tails=tails(q)), WTP, "CNY") for q in (1.6, 0.8))
    # 100 x 1.6 - 60 = 100 against 50; 100 x 0.8 - 60 = 20 against 50.
    assert "`new` is best, 50 CNY ahead of `old`" in same and "hangs on what comes later" not in same
    assert "`old` is best, 30 CNY ahead of `new`" in turned and "the decision hangs on what comes later" in turned
    # Its error is no more than 100 x 0.01 + 1 = 2: four is within two of them and six is not.
    near, far = (reference._by_tail(setting(tails=tails(q)), WTP, "CNY") for q in (1.139, 1.161))
    assert "within error" in near and "within error" not in far


def test_the_other_prices_name_their_own_winner() -> None:
    (words,) = reference._by_price(setting())
    assert words == "**Prices.** At list prices `old` is then best, in 97 % of draws."
    s = setting()
    assert "`new` is still best" in reference._by_price(replace(s, panels=dict.fromkeys(s.panels, s.lead)))[0]


def test_a_strategy_without_a_price_gets_the_price_at_which_it_would_be_best() -> None:
    row = {"subgroup": "all", "WTP": WTP, "Strategy": "third", "Drug": "y", "Against": "all", "Price": 0.0}
    row |= {"Threshold": 12.0, "From": 0.0, "lower": 3.0, "upper": math.inf, "P_Never": 0.25}
    rises = row | {"Strategy": "old", "From": 5.0}
    table = pd.DataFrame([row, rises])
    told = "\n".join(reference._thresholds(setting(tables={"price_thresholds": table}), LABELS, "CNY"))
    assert "| `third` | y | all | no price | 12 [3, any] | 25 % |" in told
    # A price that has to rise for a strategy to be best is nothing to ask for.
    assert "`old`" not in told


def test_only_groups_beyond_two_errors_are_named() -> None:
    groups = [{"Group": "a", "EVPPI": 5.0, "SE": 2.0}, {"Group": "b", "EVPPI": 5.0, "SE": 2.6}]
    s = setting(origin=Origin(3, 2, {"assumed": 3}, 1, {"a": {"assumed": 2, "published": 1}}, {}))
    told = "\n".join(reference._information(replace(s, voi=s.voi | {"evppi": groups}), "CNY"))
    assert "| `a` | 5 ±2 | 50 % | 2 assumed, 1 published |" in told and "`b`" not in told
    assert "No single group" in reference._information(s, "CNY")[0]


def test_what_was_fitted_is_named_and_so_is_what_stayed_with_its_prior() -> None:
    s = setting()
    assert "No number has been fitted" in reference._calibrated([s])
    fitted = replace(s, origin=replace(s.origin, calibrations={"advanced": ["systemic.x"]}))
    words = reference._calibrated([s, fitted])
    assert "posteriors `advanced`" in words and "`systemic.x`" in words and "No number" not in words


def test_the_numbers_behind_a_scenario_are_counted() -> None:
    found = reference._origin(load_scenario("advanced"), ["treatments.stride"])
    assert sum(found.grades.values()) == found.used > found.uncertain > 0
    assert 0 < sum(found.members["treatments.stride"].values()) <= found.uncertain
