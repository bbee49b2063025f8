"""Frontier, ICERs, net benefit, acceptability, threshold prices: by hand, against published tables, as relations."""

import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simhcc.economics import (
    Psa,
    ce_plane,
    ceac,
    ceaf,
    efficiency_frontier,
    evpi,
    expected_loss,
    icer_table,
    inmb,
    inmb_curve,
    nhb,
    nmb,
    pairwise_icers,
    threshold_price,
)
from simhcc.errors import InputError


def table_of(names: str, costs: list[float], effects: list[float]) -> pd.DataFrame:
    return icer_table(names.split(), costs, effects).set_index("Strategy")


def psa_of(costs: dict[str, list[float]], effects: dict[str, list[float]]) -> Psa:
    return Psa(pd.DataFrame(costs), pd.DataFrame(effects))


# ------------------------------------------------------------------------------------------------ ICERs by hand


def test_neighbours_on_the_frontier_are_compared():
    table = table_of("A B C", [0, 100, 400], [0, 1, 2])
    assert list(table.index) == ["A", "B", "C"]
    assert list(table["Status"]) == ["ND", "ND", "ND"]
    assert math.isnan(table.loc["A", "ICER"])
    assert table.loc["B", "ICER"] == 100.0
    assert table.loc["C", ["Inc_Cost", "Inc_Effect", "ICER"]].tolist() == [300.0, 1.0, 300.0]


def test_rows_may_come_in_any_order():
    assert table_of("C A B", [400, 0, 100], [2, 0, 1]).loc["C", "ICER"] == 300.0


def test_costing_more_and_doing_less_is_strong_dominance():
    table = table_of("A B C", [0, 100, 150], [0, 1, 0.9])
    assert table.loc["C", "Status"] == "D"
    assert table.loc["C", "Note"] == "dominated by B"
    assert table.loc["C", ["Inc_Cost", "Inc_Effect", "ICER"]].isna().all()


@pytest.mark.parametrize(("cost", "effect"), [(100.0, 0.9), (101.0, 1.0)])
def test_equal_in_one_and_worse_in_the_other_is_strong_dominance(cost, effect):
    assert table_of("A B C", [0, 100, cost], [0, 1, effect]).loc["C", "Status"] == "D"


def test_a_mix_of_two_others_is_extended_dominance():
    # B costs 150 per unit, C then 50: half A and half C costs 100 for 1.0, B costs 150 for 1.0
    table = table_of("A B C", [0, 150, 200], [0, 1, 2])
    assert table.loc["B", "Status"] == "ED"
    assert table.loc["B", "Note"] == "extended dominance by a mix of A and C"
    assert table.loc["C", ["Inc_Cost", "ICER"]].tolist() == [200.0, 100.0]


def test_extended_dominance_can_run_backwards_over_several():
    # ICERs 50, 60, 70 and then 10: the last one pulls all three before it off the frontier but the first step
    table = table_of("A B C D E", [0, 50, 110, 180, 190], [0, 1, 2, 3, 4])
    assert table["Status"].to_dict() == {"A": "ND", "B": "ED", "C": "ED", "D": "ED", "E": "ND"}
    assert table.loc["E", "ICER"] == 47.5


def test_three_on_a_line_all_stay():
    table = table_of("A B C", [0, 100, 300], [0, 0.1, 0.3])
    assert list(table["Status"]) == ["ND", "ND", "ND"]
    assert table["ICER"].tolist()[1:] == pytest.approx([1000.0, 1000.0])


def test_identical_strategies_share_status_and_icer():
    table = table_of("A B B2 C C2", [0, 100, 100, 120, 120], [0, 1, 1, 0.5, 0.5])
    assert table["Status"].to_dict() == {"A": "ND", "B": "ND", "B2": "ND", "C": "D", "C2": "D"}
    assert table.loc["B2", "ICER"] == 100.0
    assert table.loc["B2", "Note"] == "same cost and effect as B"
    assert table.loc["C2", "Note"] == "same cost and effect as C; dominated by B"
    assert efficiency_frontier(["A", "B", "B2"], [0, 100, 100], [0, 1, 1])["Strategy"].tolist() == ["A", "B"]


def test_identical_cheapest_strategies_have_no_icer():
    table = table_of("A A2 B", [0, 0, 100], [0, 0, 1])
    assert table["ICER"].isna().tolist() == [True, True, False]


def test_a_negative_cost_starts_the_frontier():
    # B saves 50: going from it to A costs 50 for 0.5; C costs 250 for 1 more
    table = table_of("A B C", [0, -50, 200], [1.0, 0.5, 1.5])
    assert list(table.index) == ["B", "A", "C"]
    assert table["ICER"].tolist()[1:] == [100.0, 400.0]


def test_a_negative_cost_and_a_better_effect_dominates_all():
    table = table_of("A B", [0, -50], [1.0, 1.5])
    assert table["Status"].to_dict() == {"B": "ND", "A": "D"}


def test_negative_effects_are_ordinary_numbers():
    assert table_of("A B", [0, 10], [-3, -2]).loc["B", "ICER"] == 10.0


def test_one_strategy_is_its_own_frontier():
    table = table_of("A", [5], [1])
    assert table.loc["A", "Status"] == "ND"
    frontier = efficiency_frontier(["A"], [5], [1])
    assert frontier[["WTP_From", "WTP_To"]].to_numpy().tolist() == [[0.0, np.inf]]


def test_the_frontier_says_for_which_willingness_to_pay_each_is_best():
    frontier = efficiency_frontier(["A", "B", "C", "X"], [0, 100, 400, 500], [0, 1, 2, 1])
    assert frontier["Strategy"].tolist() == ["A", "B", "C"]
    assert frontier["WTP_From"].tolist() == [0.0, 100.0, 300.0]
    assert frontier["WTP_To"].tolist() == [100.0, 300.0, np.inf]


def test_no_ratio_is_printed_where_it_means_nothing():
    names = ["ref", "NE", "SE", "SW", "NW", "N", "S", "E", "W", "same"]
    costs = [100, 150, 50, 50, 150, 150, 50, 100, 100, 100]
    effects = [1, 2, 2, 0.5, 0.5, 1, 1, 2, 0.5, 1]
    table = pairwise_icers(names, costs, effects, "ref").set_index("Strategy")
    assert table["Quadrant"].drop("same").tolist() == names[1:-1]
    assert table.loc["same", "Quadrant"] == "origin"
    assert table["ICER"].dropna().to_dict() == {"NE": 50.0, "SW": 100.0}
    assert table.loc["SE", "Reading"] == "dominates the comparator"


# ------------------------------------------------------------------------------------------------ published tables


def test_published_sick_sicker_tutorial():
    # Alarid-Escudero et al., An Introductory Tutorial on Cohort State-Transition Models in R, Med Decis Making
    # 2023;43:3-20, table of cost-effectiveness results: ICERs 72,988 and 125,764 from unrounded outcomes. QALYs are
    # printed to 0.001, so the ratios from the printed figures may be off by 0.001 / 1.473 and 0.001 / 0.952.
    table = table_of("SoC A B AB", [151_580, 284_805, 259_100, 378_875], [20.711, 21.499, 22.184, 23.137])
    assert table["Status"].to_dict() == {"SoC": "ND", "B": "ND", "AB": "ND", "A": "D"}
    assert table["Inc_Cost"].dropna().tolist() == pytest.approx([107_521, 119_775], abs=1.0)
    assert table["Inc_Effect"].dropna().tolist() == pytest.approx([1.473, 0.952], abs=0.0011)
    assert table.loc["B", "ICER"] == pytest.approx(72_988, rel=0.0007)
    assert table.loc["AB", "ICER"] == pytest.approx(125_764, rel=0.0011)


def test_published_hiv_screening_example():
    # The HIV screening example of the dampack vignette "Basic Cost Effectiveness Analysis": costs, quality-adjusted
    # life months, and the printed ICERs 37,500, 58,285.71 and 100,800; annual screening dominated.
    months = [277.25, 277.57, 277.78, 277.83, 277.76]
    names = ["status quo", "one time", "5yr", "3yr", "annual"]
    table = icer_table(names, [26_000, 27_000, 28_020, 28_440, 29_440], [m / 12 for m in months])
    assert table["Strategy"].tolist() == names
    assert table["Status"].tolist() == ["ND"] * 4 + ["D"]
    assert table["ICER"].tolist()[1:4] == pytest.approx([37_500, 58_285.71, 100_800], rel=1e-6)


def test_published_guidebook_with_both_kinds_of_dominance():
    # The US Department of Veterans Affairs (HERC) cost-effectiveness page, as used in the tests of dampack
    # (tests/testthat/test_calculate_icers.R): C extendedly dominated, A strongly dominated.
    table = table_of("E D C B A UC", [55_000, 35_000, 25_000, 10_000, 12_000, 5_000], [5, 4, 3, 2, 1.5, 1])
    assert list(table.index) == ["UC", "B", "D", "E", "C", "A"]
    assert table["Status"].tolist() == ["ND", "ND", "ND", "ND", "ED", "D"]
    assert table["Inc_Cost"].dropna().tolist() == [5_000, 25_000, 20_000]
    assert table["ICER"].dropna().tolist() == [5_000, 12_500, 20_000]


def test_published_radiotherapy_model():
    # JNCI Cancer Spectr 2020;4:pkaa004, table 1: strategy 3 against 1 at 529,365.8 per QALY, strategy 2 dominated.
    # Effects are printed to 1e-6, so the ratio may be off by 1e-6 / 0.019688.
    table = table_of("1 2 3", [1695.865, 12_224.17, 12_118.17], [8.570992, 8.583273, 8.590681])
    assert table["Status"].to_dict() == {"1": "ND", "3": "ND", "2": "D"}
    assert table.loc["3", "Inc_Cost"] == pytest.approx(10_422.31, abs=0.01)
    assert table.loc["3", "ICER"] == pytest.approx(529_365.8, rel=6e-5)


def test_published_colorectal_screening_table():
    # Australia and New Zealand Health Policy 2005;2:10, table 7: the options left after both kinds of dominance, with
    # programme costs in dollars and life years gained; ICERs as printed (from unrounded life years).
    names = ["existing", "FOBT2", "DCBE5", "DCBE3", "FOBT1+DCBE5", "FOBT1+DCBE3"]
    costs = [0, 140_117_791, 248_112_291, 304_301_903, 370_181_240, 422_777_702]
    table = icer_table(names, costs, [0, 3_551, 6_023, 6_720, 7_076, 7_299])
    assert table["Status"].tolist() == ["ND"] * 6
    assert table["ICER"].tolist()[1:] == pytest.approx([39_459, 43_687, 80_616, 185_054, 235_859], rel=1e-4)


# ------------------------------------------------------------------------------------------- relations that must hold

OUTCOMES = st.lists(
    st.tuples(st.integers(-50, 50), st.integers(-20, 20)), min_size=1, max_size=8
)  # small whole numbers make ties, lines and duplicates common


def frontier_by_search(points: list[tuple[int, int]]) -> set[tuple[int, int]]:
    """Slow and independent: a point is on the frontier when it has the highest NMB at some willingness to pay >= 0."""
    ratios = [0.0]
    for c1, e1 in points:
        for c2, e2 in points:
            if e1 > e2 and c1 > c2:
                ratios.append((c1 - c2) / (e1 - e2))
    ratios = sorted(set(ratios))
    # between two crossing points, at them, and beyond the last
    trials = ratios + [(a + b) / 2 for a, b in pairwise(ratios)] + [ratios[-1] + 1.0]
    found = set()
    for wtp in trials:
        best = max(wtp * e - c for c, e in points)
        # equal NMB at wtp 0 or the last ratio alone is not enough for what is dominated
        found |= {(c, e) for c, e in points if wtp * e - c >= best - 1e-9}
    return {(c, e) for c, e in found if not any(c2 <= c and e2 >= e and (c2, e2) != (c, e) for c2, e2 in points)}


@given(OUTCOMES)
@settings(max_examples=100, deadline=None)
def test_the_frontier_is_what_some_willingness_to_pay_chooses(points):
    names = [f"s{i}" for i in range(len(points))]
    table = icer_table(names, [c for c, _ in points], [e for _, e in points])
    on_frontier = table[table["Status"] == "ND"]
    assert set(zip(on_frontier["Cost"], on_frontier["Effect"], strict=True)) == frontier_by_search(points)


@given(OUTCOMES)
@settings(max_examples=100, deadline=None)
def test_icers_are_positive_and_rise_along_the_frontier(points):
    names = [f"s{i}" for i in range(len(points))]
    frontier = efficiency_frontier(names, [c for c, _ in points], [e for _, e in points])
    icers = frontier["WTP_From"].to_numpy()[1:]
    assert (icers > 0.0).all()
    assert (np.diff(icers) >= -1e-9 * icers[:-1]).all()
    table = icer_table(names, [c for c, _ in points], [e for _, e in points])
    assert not (table["ICER"] <= 0.0).any()


@given(OUTCOMES, st.integers(0, 7), st.integers(1, 9), st.integers(0, 9))
@settings(max_examples=100, deadline=None)
def test_adding_a_dominated_strategy_changes_nobody_else(points, which, dearer, worse):
    names = [f"s{i}" for i in range(len(points))]
    costs, effects = [c for c, _ in points], [e for _, e in points]
    at = which % len(points)
    before = icer_table(names, costs, effects)
    after = icer_table([*names, "new"], [*costs, costs[at] + dearer], [*effects, effects[at] - worse])
    assert after.set_index("Strategy").loc["new", "Status"] == "D"
    left = after[after["Strategy"] != "new"].reset_index(drop=True)
    pd.testing.assert_frame_equal(left.drop(columns="Note"), before.drop(columns="Note"))


# ------------------------------------------------------------------------------------------------------ net benefit

TWO = psa_of({"A": [0, 0, 0, 0], "B": [10, 10, 30, 10]}, {"A": [1, 1, 1, 1], "B": [2, 1.5, 2, 0.5]})


def test_net_benefit_in_money_and_in_health():
    assert nmb(TWO, 20)["B"].tolist() == [30, 20, 10, 0]
    assert nhb(TWO, 20)["B"].tolist() == [1.5, 1.0, 0.5, 0.0]
    assert inmb(TWO, 20, "A")["B"].tolist() == [10, 0, -10, -20]
    assert inmb(TWO, 20, "B")["A"].tolist() == [-10, 0, 10, 20]


def test_the_curve_of_incremental_benefit_carries_its_error():
    row = inmb_curve(TWO, [20], "A").iloc[0]
    assert row["mean"] == -5.0
    assert row["mcse"] == pytest.approx(np.std([10, 0, -10, -20], ddof=1) / 2)
    assert row["lower"] == pytest.approx(np.quantile([10, 0, -10, -20], 0.025))
    assert row["P_Positive"] == 0.25
    assert (row["Strategy"], row["Comparator"]) == ("B", "A")


def test_strategies_and_draws_are_joined_by_name():
    costs = pd.DataFrame({"A": [1.0, 2.0], "B": [3.0, 4.0]}, index=["d1", "d2"])
    effects = pd.DataFrame({"B": [30.0, 40.0], "A": [10.0, 20.0]}, index=["d1", "d2"])
    swapped = Psa(costs, effects.iloc[::-1])
    assert nmb(swapped, 1).loc["d1"].tolist() == [9.0, 27.0]
    long = pd.DataFrame(
        {
            "strategy": ["B", "A", "A", "B"],
            "iteration": [2, 1, 2, 1],
            "cost": [4.0, 1.0, 2.0, 3.0],
            "qaly": [8, 5, 6, 7.0],
        }
    )
    tidy = Psa.from_long(long)
    assert tidy.strategies == ["B", "A"]
    assert tidy.costs.loc[1].to_dict() == {"B": 3.0, "A": 1.0}
    assert tidy.effects.loc[2].to_dict() == {"B": 8.0, "A": 6.0}
    assert tidy.select(["A"]).strategies == ["A"]


def test_means_carry_their_error():
    row = TWO.means().set_index("Strategy").loc["B"]
    assert row["Cost"] == 15.0
    assert row["Cost_MCSE"] == pytest.approx(5.0)  # sd of 10, 10, 30, 10 is 10; over sqrt(4)
    assert row["Effect"] == 1.5


def test_the_table_is_a_copy():
    costs = pd.DataFrame({"A": [1.0]})
    psa = Psa(costs, pd.DataFrame({"A": [1.0]}))
    costs.loc[0, "A"] = 99.0
    assert psa.costs.loc[0, "A"] == 1.0


# --------------------------------------------------------------------------------------------- cost-effectiveness plane


def test_quadrants_count_paired_draws_and_axes():
    psa = psa_of({"A": [0] * 5, "B": [1, -1, -1, 1, 0]}, {"A": [0] * 5, "B": [1, 1, -1, -1, 1]})
    row = ce_plane(psa, "A").quadrants.iloc[0]
    assert row[["NE", "SE", "SW", "NW", "Axis"]].tolist() == [0.2] * 5


def test_pairing_uses_each_draws_own_comparator():
    psa = psa_of({"A": [100, 0], "B": [101, 1]}, {"A": [5, 1], "B": [6, 2]})
    plane = ce_plane(psa, "A")
    assert plane.draws["Inc_Cost"].tolist() == [1.0, 1.0]
    assert plane.summary.loc[0, "SD_Cost"] == 0.0
    assert math.isnan(plane.summary.loc[0, "Correlation"])


def test_the_ellipse_has_the_chi_squared_radius_and_follows_the_correlation():
    rng = np.random.default_rng(5)
    draws = rng.multivariate_normal([2.0, 300.0], [[1.0, 80.0], [80.0, 10_000.0]], size=4000)
    psa = Psa(pd.DataFrame({"A": 0.0, "B": draws[:, 1]}), pd.DataFrame({"A": 0.0, "B": draws[:, 0]}))
    plane = ce_plane(psa, "A", level=0.95)
    outline = plane.ellipse[["Inc_Effect", "Inc_Cost"]].to_numpy()
    covariance = np.cov(draws.T)
    away = outline - draws.mean(axis=0)
    distance = np.einsum("ij,jk,ik->i", away, np.linalg.inv(covariance), away)
    assert distance == pytest.approx(5.991464547107979)  # chi-squared, 2 degrees of freedom, 0.95
    inside = np.einsum("ij,jk,ik->i", draws - draws.mean(0), np.linalg.inv(covariance), draws - draws.mean(0)) < 5.99146
    # 4000 draws: 0.95 +- 4.9 standard errors of 0.0034
    assert abs(inside.mean() - 0.95) < 0.017


# ------------------------------------------------------------------------------------------------ CEAC, CEAF and loss


def test_acceptability_counts_the_best_strategy_of_each_draw():
    curve = ceac(TWO, [20]).set_index("Strategy")
    # draw 2 is a tie: half each
    assert curve["Proportion"].to_dict() == {"A": 0.625, "B": 0.375}
    assert curve["On_Frontier"].to_dict() == {"A": True, "B": False}
    assert curve.loc["A", "MCSE"] == pytest.approx(math.sqrt(0.625 * 0.375 / 4))


def test_the_frontier_follows_the_mean_and_not_the_majority():
    # B is a little worse in 8 draws of 10 and much better in 2: expected INMB 0.2 x 100 - 0.8 x 5 = 16
    gain = [-5.0] * 8 + [100.0] * 2
    psa = psa_of({"A": [0.0] * 10, "B": [0.0] * 10}, {"A": [0.0] * 10, "B": gain})
    front = ceaf(psa, [1.0]).iloc[0]
    assert (front["Strategy"], front["Proportion"], front["NMB"]) == ("B", 0.2, 16.0)
    curve = ceac(psa, [1.0])
    assert curve.loc[curve["Proportion"].idxmax(), "Strategy"] == "A"


def test_identical_strategies_share_acceptability():
    psa = psa_of({"A": [1, 1], "A2": [1, 1], "B": [9, 9]}, {"A": [1, 1], "A2": [1, 1], "B": [1, 1]})
    assert ceac(psa, 5)["Proportion"].tolist() == [0.5, 0.5, 0.0]


def test_expected_loss_by_hand():
    # NMB at 20: A 20 20 20 20, B 30 20 10 0; loss of A 10 0 0 0, of B 0 0 10 20
    loss = expected_loss(TWO, [20]).set_index("Strategy")
    assert loss["Expected_Loss"].to_dict() == {"A": 2.5, "B": 7.5}
    assert evpi(TWO, 20)["EVPI"].tolist() == [2.5]


DRAWS = st.integers(2, 6).flatmap(
    lambda d: st.lists(st.lists(st.integers(-30, 30), min_size=2 * d, max_size=2 * d), min_size=1, max_size=12)
)


@given(DRAWS, st.floats(0, 1e5))
@settings(max_examples=80, deadline=None)
def test_loss_is_never_negative_and_its_lowest_is_evpi(rows, wtp):
    array = np.array(rows, dtype=float)
    d = array.shape[1] // 2
    names = [f"s{i}" for i in range(d)]
    psa = Psa(pd.DataFrame(array[:, :d], columns=names), pd.DataFrame(array[:, d:], columns=names))
    loss = expected_loss(psa, wtp)
    benefit = nmb(psa, wtp).to_numpy()
    scale = 1.0 + np.abs(benefit).max()
    assert (loss["Expected_Loss"] >= 0.0).all()
    expected = benefit.max(axis=1).mean() - benefit.mean(axis=0).max()
    assert loss["Expected_Loss"].min() == pytest.approx(expected, abs=1e-9 * scale)
    assert evpi(psa, wtp)["EVPI"].iloc[0] == pytest.approx(expected, abs=1e-9 * scale)
    curve = ceac(psa, wtp)
    assert curve["Proportion"].sum() == pytest.approx(1.0)
    assert curve["On_Frontier"].sum() == 1


# ------------------------------------------------------------------------------------------------- threshold price


def test_threshold_price_by_hand():
    # At a price of 2 and wtp 10, NMB A 10, B 25 - 2 x 4 = 17: a lead of 7 over 4 units, so up to 2 + 7 / 4
    psa = psa_of({"A": [0.0], "B": [8.0]}, {"A": [1.0], "B": [2.5]})
    units = pd.DataFrame({"A": [0.0], "B": [4.0]})
    row = threshold_price(psa, units, "B", 10, price=2.0).summary.iloc[0]
    assert row["Threshold"] == 3.75
    assert (row["From"], row["Optimal_Now"], row["P_Never"]) == (0.0, True, 0.0)
    # NMB is equal at the threshold
    dearer = Psa(psa.costs + (3.75 - 2.0) * units, psa.effects)
    assert inmb(dearer, 10, "A").loc[0, "B"] == pytest.approx(0.0)


def test_a_rival_that_uses_more_of_the_product_sets_a_lower_limit():
    # NMB at price 0: A 0 (0 units), B 10 (1 unit), C 30 (5 units): B is best from (30 - 10) / 4 = 5 up to 10
    psa = psa_of({"A": [0.0], "B": [0.0], "C": [0.0]}, {"A": [0.0], "B": [10.0], "C": [30.0]})
    units = pd.DataFrame({"A": [0.0], "B": [1.0], "C": [5.0]})
    result = threshold_price(psa, units, "B", 1, price=0.0, prices=[4.0, 6.0, 11.0])
    row = result.summary.iloc[0]
    assert (row["From"], row["Threshold"], row["Optimal_Now"]) == (5.0, 10.0, False)
    assert result.curve["Optimal"].tolist() == [False, True, False]
    assert result.curve["P_Optimal"].tolist() == [0.0, 1.0, 0.0]


def test_no_price_helps_when_it_is_beaten_at_zero():
    psa = psa_of({"A": [0.0, 0.0], "B": [5.0, -3.0]}, {"A": [1.0, 1.0], "B": [1.0, 1.0]})
    units = pd.DataFrame({"A": [0.0, 0.0], "B": [1.0, 1.0]})
    row = threshold_price(psa, units, "B", 10, price=0.0).summary.iloc[0]
    assert math.isnan(row["Threshold"])  # expected lead -1 over 1 unit
    assert row["P_Never"] == 0.5
    assert (row["lower"], row["upper"]) == (3.0, 3.0)


def test_no_price_helps_against_a_better_rival_that_uses_as_much():
    psa = psa_of({"A": [0.0], "B": [0.0], "C": [0.0]}, {"A": [0.0], "B": [10.0], "C": [11.0]})
    row = threshold_price(psa, pd.DataFrame({"A": [0.0], "B": [2.0], "C": [2.0]}), "B", 1, price=1.0).summary.iloc[0]
    assert math.isnan(row["Threshold"])
    assert (row["P_Never"], row["Optimal_Now"]) == (1.0, False)


def test_no_price_is_too_high_for_a_strategy_without_the_product():
    psa = psa_of({"A": [0.0], "B": [2.0]}, {"A": [1.0], "B": [2.0]})
    row = threshold_price(psa, pd.DataFrame({"A": [0.0], "B": [1.0]}), "A", 10, price=2.0).summary.iloc[0]
    assert row["Threshold"] == np.inf
    assert row["From"] == 10.0  # B leads by 8 at a price of 2


def test_the_probability_band_is_that_of_the_draws():
    rng = np.random.default_rng(8)
    gain = rng.normal(50.0, 10.0, 2000)
    psa = Psa(pd.DataFrame({"A": 0.0, "B": np.zeros(2000)}), pd.DataFrame({"A": 0.0, "B": gain}))
    units = pd.DataFrame({"A": 0.0, "B": np.full(2000, 2.0)})
    result = threshold_price(psa, units, "B", 1.0, price=0.0, prices=[20.0, 25.0])
    row = result.summary.iloc[0]
    assert row["Threshold"] == pytest.approx(gain.mean() / 2)
    ranked = np.sort(gain / 2)  # 2.5 % and 97.5 % of positions 0 to 1999 are 49.975 and 1949.025
    assert (row["lower"], row["upper"]) == (pytest.approx(ranked[49]), pytest.approx(ranked[1950]))
    assert result.curve["P_Optimal"].tolist() == [(gain / 2 >= p).mean() for p in (20.0, 25.0)]


# ---------------------------------------------------------------------------------------------------- wrong input

GOOD = pd.DataFrame({"A": [1.0, 2.0], "B": [3.0, 4.0]})


@pytest.mark.parametrize(
    ("costs", "effects", "words"),
    [
        (GOOD.assign(B=[np.nan, 1.0]), GOOD, ["costs", "nan", "row 0", "'B'", "unpriced"]),
        (GOOD, GOOD.assign(A=[1.0, np.inf]), ["effects", "inf", "row 1", "'A'"]),
        (GOOD, GOOD.rename(columns={"B": "C"}), ["effects", "'B'", "'C'"]),
        (GOOD, GOOD.iloc[:1], ["effects", "1 draws", "the 2 draws"]),
        (GOOD.set_axis(["A", "A"], axis=1), GOOD, ["costs", "'A' more than once"]),
        (GOOD.set_axis([0, 0], axis=0), GOOD, ["costs", "row 0", "more than once"]),
        (GOOD.iloc[:0], GOOD.iloc[:0], ["0 rows"]),
        (GOOD.assign(A="x"), GOOD, ["costs", "not a number"]),
        (GOOD.to_numpy(), GOOD, ["ndarray", "DataFrame"]),
    ],
)
def test_wrong_tables_are_refused(costs, effects, words):
    with pytest.raises(InputError) as error:
        Psa(costs, effects)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: icer_table(["A", "B"], [1.0], [1.0, 2.0]), ["2 strategies, 1 costs and 2 effects"]),
        (lambda: icer_table(["A", "A"], [1.0, 2.0], [1.0, 2.0]), ["'A' more than once"]),
        (lambda: icer_table(["A", "B"], [1.0, math.nan], [1.0, 2.0]), ["nan", "'B'"]),
        (lambda: icer_table([], [], []), ["0 rows"]),
        (lambda: inmb(TWO, 20, "Z"), ["comparator", "'Z'", "['A', 'B']"]),
        (lambda: pairwise_icers(["A"], [1.0], [1.0], "B"), ["comparator", "'B'"]),
        (lambda: ce_plane(TWO, "Z"), ["comparator", "'Z'"]),
        (lambda: ce_plane(TWO, "A", level=95), ["level", "between 0 and 1"]),
        (lambda: nmb(TWO, -1.0), ["wtp", "0 or more"]),
        (lambda: nhb(TWO, 0.0), ["wtp", "above 0"]),
        (lambda: ceac(TWO, [1.0, math.nan]), ["wtp"]),
        (lambda: TWO.select(["A", "Q"]), ["'Q'"]),
        (lambda: threshold_price(TWO, GOOD, "B", 1, price=1.0), ["quantities", "draws"]),
        (lambda: threshold_price(TWO, TWO.costs * 0 + 2, "B", 1, price=1.0), ["same quantity"]),
        (lambda: threshold_price(TWO, TWO.costs - 5, "B", 1, price=1.0), ["negative quantity"]),
        (lambda: threshold_price(TWO, TWO.costs, "B", 1, price=-1.0), ["price", "0 or more"]),
        (
            lambda: Psa.from_long(
                pd.DataFrame({"strategy": ["A", "A"], "iteration": [1, 1], "cost": 1.0, "qaly": 1.0})
            ),
            ["'A' twice in draw 1"],
        ),
        (
            lambda: Psa.from_long(
                pd.DataFrame({"strategy": ["A", "B"], "iteration": [1, 2], "cost": 1.0, "qaly": 1.0})
            ),
            ["nan"],
        ),
        (lambda: Psa.from_long(pd.DataFrame({"strategy": ["A"]})), ["no column 'cost'"]),
    ],
)
def test_wrong_arguments_are_refused_with_the_remedy(call, words):
    with pytest.raises(InputError) as error:
        call()
    assert all(word in str(error.value) for word in words), str(error.value)
