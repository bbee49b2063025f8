"""Budget impact, the value of choosing by subgroup, and the waterfall of a difference."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simhcc.economics import Psa, budget_impact, decompose_increment, evpi, subgroup_value
from simhcc.errors import InputError

# -------------------------------------------------------------------------------------------------- budget impact

STREAMS = pd.DataFrame({"old": [10.0, 4.0], "new": [30.0, 6.0]}, index=[1, 2])
PATIENTS = pd.Series([100.0, 200.0, 300.0], index=[2026, 2027, 2028])
OLD = pd.DataFrame({"old": [1.0, 1.0, 1.0]}, index=PATIENTS.index)
MIX = pd.DataFrame({"old": [1.0, 0.5, 0.0], "new": [0.0, 0.5, 1.0]}, index=PATIENTS.index)


def test_cohorts_starting_on_the_first_of_january_by_hand():
    result = budget_impact(STREAMS, PATIENTS, MIX, OLD, entry="start")
    # without: 100 x 10; 200 x 10 + 100 x 4; 300 x 10 + 200 x 4
    assert result.summary["Cost_Without"].tolist() == [1000.0, 2400.0, 3800.0]
    # with: 1000; (100 x 10 + 100 x 4) + 100 x 30; 100 x 4 + (300 x 30 + 100 x 6)
    assert result.summary["Cost_With"].tolist() == [1000.0, 4400.0, 10_000.0]
    assert result.summary["Budget_Impact"].tolist() == [0.0, 2000.0, 6200.0]
    assert result.summary["Cumulative"].tolist() == [0.0, 2000.0, 8200.0]
    new = result.detail.query("World == 'with' and Strategy == 'new'")
    assert new["Patients_Starting"].tolist() == [0.0, 100.0, 300.0]
    assert new["Cost"].tolist() == [0.0, 3000.0, 9600.0]


def test_even_entry_puts_half_of_each_patient_year_in_the_next_calendar_year():
    result = budget_impact(STREAMS, PATIENTS, MIX, OLD)
    # calendar costs per patient: 5, 7, 2 for old
    assert result.summary["Cost_Without"].tolist() == [500.0, 1700.0, 3100.0]


def test_all_money_is_counted_once_when_the_window_is_long():
    years = pd.Index(range(2026, 2036))
    patients = pd.Series([100.0] + [0.0] * 9, index=years)
    uptake = pd.DataFrame({"new": 1.0, "old": 0.0}, index=years)
    for entry in ("start", "uniform"):
        result = budget_impact(STREAMS, patients, uptake, uptake, entry=entry)
        assert result.summary["Cost_With"].sum() == pytest.approx(3600.0)
        assert result.summary["Budget_Impact"].tolist() == [0.0] * 10


# ---------------------------------------------------------------------------------------------------- subgroups


def flat(**benefit: float) -> Psa:
    """Two equal draws; the benefit of each strategy is its effect at WTP 1."""
    effects = pd.DataFrame({name: [value, value] for name, value in benefit.items()})
    return Psa(effects * 0.0, effects)


def test_choosing_by_subgroup_by_hand():
    # low: A 10, B 6; high: A 2, B 8. For all (0.4 low): A 5.2, B 7.2. By subgroup: 0.4 x 10 + 0.6 x 8 = 8.8
    groups = {"low": flat(A=10, B=6), "high": flat(A=2, B=8)}
    result = subgroup_value(groups, {"low": 0.4, "high": 0.6}, 1.0)
    assert result.best_for_all == "B"
    assert result.value == pytest.approx(1.6)
    assert result.mcse == 0.0
    table = result.table.set_index(["Subgroup", "Strategy"])
    assert table["Best"].to_dict() == {
        ("low", "A"): True,
        ("low", "B"): False,
        ("high", "A"): False,
        ("high", "B"): True,
    }
    assert table.loc[("low", "A"), "NMB"] == 10.0
    assert result.value_perfect == pytest.approx(1.6)  # nothing is uncertain


def test_shares_decide_what_is_best_for_all():
    # 0.9 low: A 9.2, B 6.2, so A for all, and choosing by subgroup gains 0.1 x 6
    groups = {"low": flat(A=10, B=6), "high": flat(A=2, B=8)}
    result = subgroup_value(groups, {"low": 0.9, "high": 0.1}, 1.0)
    assert result.best_for_all == "A"
    assert result.value == pytest.approx(0.6)


def test_the_choice_follows_expected_benefit_over_draws():
    effects = pd.DataFrame({"A": [0.0, 0.0, 0.0], "B": [-1.0, -1.0, 5.0]})
    other = pd.DataFrame({"A": [9.0, 9.0, 9.0], "B": [0.0, 0.0, 0.0]})
    groups = {"low": Psa(effects * 0, effects), "high": Psa(other * 0, other)}
    result = subgroup_value(groups, {"low": 0.5, "high": 0.5}, 1.0)
    assert (result.best_for_all, result.value) == ("A", 0.5)  # half of the expected 1 of B in the low group


def test_no_value_where_all_subgroups_agree():
    groups = {"low": flat(A=10, B=6), "high": flat(A=9, B=8)}
    assert subgroup_value(groups, {"low": 0.4, "high": 0.6}, 1.0).value == 0.0


def test_with_one_subgroup_perfect_information_is_evpi():
    rng = np.random.default_rng(1)
    effects = pd.DataFrame(rng.standard_normal((300, 3)), columns=list("ABC"))
    psa = Psa(effects * 0.0, effects)
    result = subgroup_value({"all": psa}, {"all": 1.0}, 1.0)
    assert result.value == 0.0
    assert result.value_perfect == pytest.approx(evpi(psa, 1.0)["EVPI"].iloc[0])


def test_its_error_is_that_of_paired_draws():
    rng = np.random.default_rng(2)
    shift = rng.standard_normal(200)
    low = pd.DataFrame({"A": 5 + shift, "B": 3 + shift + 0.1 * rng.standard_normal(200)})
    high = pd.DataFrame({"A": 1 + shift, "B": 4 + shift + 0.1 * rng.standard_normal(200)})
    groups = {"low": Psa(low * 0, low), "high": Psa(high * 0, high)}
    result = subgroup_value(groups, {"low": 0.5, "high": 0.5}, 1.0)
    gain = 0.5 * (low["A"] - low["B"])  # B for all; the low group gains by A
    assert result.value == pytest.approx(gain.mean())
    assert result.mcse == pytest.approx(gain.std(ddof=1) / math.sqrt(200))


@given(st.lists(st.lists(st.integers(-9, 9), min_size=3, max_size=3), min_size=1, max_size=4), st.floats(0, 100))
@settings(max_examples=100, deadline=None)
def test_the_value_of_stratifying_is_never_negative(rows, wtp):
    groups = {f"g{i}": flat(A=row[0], B=row[1], C=row[2]) for i, row in enumerate(rows)}
    result = subgroup_value(groups, dict.fromkeys(groups, 1.0 / len(rows)), wtp)
    assert result.value >= 0.0
    assert result.value_perfect >= result.value - 1e-9


# ---------------------------------------------------------------------------------------------------- waterfall

PARTS = pd.DataFrame(
    [
        ("usual", "first", "drug", 100.0),
        ("usual", "care", "visit", 40.0),
        ("new", "first", "drug", 250.0),
        ("new", "first", "drug", 50.0),
        ("new", "second", "drug", 30.0),
        ("new", "care", "visit", 15.0),
    ],
    columns=["strategy", "line", "item", "value"],
)


def test_the_waterfall_by_hand():
    table = decompose_increment(PARTS, "usual", ["line", "item"])
    assert table["line"].tolist() == ["first", "second", "care", "total"]
    assert table["Increment"].tolist() == [200.0, 30.0, -25.0, 205.0]
    assert table["Start"].tolist() == [0.0, 200.0, 230.0, 0.0]
    assert table["End"].tolist() == [200.0, 230.0, 205.0, 205.0]
    assert table["mcse"].isna().all()
    assert (table["Strategy"] == "new").all()
    assert (table["Comparator"] == "usual").all()


def test_parts_can_be_split_another_way_with_the_same_total():
    table = decompose_increment(PARTS, "usual", ["item"]).set_index("item")
    assert table["Increment"].to_dict() == {"drug": 230.0, "visit": -25.0, "total": 205.0}


def test_draws_give_the_error_of_paired_differences():
    rows = [
        (draw, name, "drug", value)
        for draw, (old, new) in enumerate([(10.0, 12.0), (20.0, 26.0)])
        for name, value in (("usual", old), ("new", new))
    ]
    parts = pd.DataFrame(rows, columns=["draw", "strategy", "item", "value"])
    row = decompose_increment(parts, "usual", ["item"], iteration="draw").iloc[0]
    assert row["Increment"] == 4.0
    assert row["mcse"] == pytest.approx(2.0)  # differences 2 and 6
    assert row["lower"] == pytest.approx(np.quantile([2.0, 6.0], 0.025))


AMOUNTS = st.floats(-1e12, 1e12, allow_nan=False).map(lambda x: x / 3.0)


@given(st.lists(st.tuples(st.sampled_from("uabc"), st.sampled_from("xyzvw"), AMOUNTS), min_size=2, max_size=40))
@settings(max_examples=80, deadline=None)
def test_the_parts_add_up_to_the_last_bit(rows):
    rows = [("u", "x", 1.0), ("a", "y", 0.1), *rows]
    parts = pd.DataFrame(rows, columns=["strategy", "item", "value"])
    table = decompose_increment(parts, "u", ["item"])
    for name, group in table.groupby("Strategy"):
        inner, total = group.iloc[:-1], group.iloc[-1]
        assert total["item"] == "total"
        assert math.fsum(inner["Increment"]) == total["Increment"] == total["End"] == inner["End"].iloc[-1]
        assert inner["Start"].tolist() == [0.0, *inner["End"].iloc[:-1]]
        # and it is the difference between the strategies' sums
        ours = math.fsum(v for s, _, v in rows if s == name) - math.fsum(v for s, _, v in rows if s == "u")
        assert total["Increment"] == pytest.approx(ours, rel=1e-9, abs=1e-3)


# ------------------------------------------------------------------------------------------------------ wrong input

GROUPS = {"low": flat(A=1, B=2), "high": flat(A=2, B=1)}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: budget_impact(STREAMS, PATIENTS, MIX * 0.9, OLD), ["uptake_with", "sum to 0.9 in 2026"]),
        (lambda: budget_impact(STREAMS, PATIENTS, OLD, MIX.iloc[1:]), ["uptake_without", "2027, 2028", "2026"]),
        (lambda: budget_impact(STREAMS, PATIENTS, MIX, OLD.rename(columns={"old": "x"})), ["uptake_without", "'x'"]),
        (lambda: budget_impact(STREAMS, -PATIENTS, MIX, OLD), ["incidence", "negative"]),
        (lambda: budget_impact(STREAMS, PATIENTS, MIX * 3 - 1, OLD), ["uptake_with", "negative share"]),
        (lambda: budget_impact(STREAMS.set_axis([0, 1]), PATIENTS, MIX, OLD), ["yearly_costs", "1, 2, 3"]),
        (lambda: budget_impact(STREAMS, PATIENTS.drop(2027), MIX, OLD), ["incidence", "without gaps"]),
        (lambda: budget_impact(STREAMS, PATIENTS, MIX, OLD, entry="july"), ["entry", "'july'"]),
        (lambda: subgroup_value(GROUPS, {"low": 0.5, "high": 0.6}, 1.0), ["shares", "1.1"]),
        (lambda: subgroup_value(GROUPS, {"low": 1.0}, 1.0), ["shares", "'high'"]),
        (
            lambda: subgroup_value(GROUPS | {"high": flat(A=1, C=2)}, {"low": 0.5, "high": 0.5}, 1.0),
            ["'high'", "paired"],
        ),
        (lambda: subgroup_value({}, {}, 1.0), ["no subgroup"]),
        (lambda: decompose_increment(PARTS, "best", ["item"]), ["comparator", "'best'", "usual"]),
        (lambda: decompose_increment(PARTS, "usual", ["drug"]), ["no column 'drug'"]),
        (lambda: decompose_increment(PARTS, "usual", []), ["by"]),
        (lambda: decompose_increment(PARTS.assign(value=math.nan), "usual", ["item"]), ["value", "missing"]),
        (lambda: decompose_increment(PARTS.assign(value=math.inf), "usual", ["item"]), ["value", "inf"]),
        (lambda: decompose_increment(PARTS.query("strategy == 'new'"), "new", ["item"]), ["one strategy"]),
        (
            lambda: decompose_increment(PARTS.assign(draw=[1, 1, 1, 2, 2, 2]), "usual", ["item"], iteration="draw"),
            ["'usual'", "draw 2"],
        ),
    ],
)
def test_wrong_arguments_are_refused_with_the_remedy(call, words):
    with pytest.raises(InputError) as error:
        call()
    assert all(word in str(error.value) for word in words), str(error.value)
