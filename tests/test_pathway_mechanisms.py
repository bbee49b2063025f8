"""Single mechanisms of the pathway, each switched on and off or driven to where the answer is known by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pathway_project import base, cohort_of

from simhcc.assembly import assemble
from simhcc.graph import Channel, Endpoint, RateReward, Strategy
from simhcc.inputs import load_scenario
from simhcc.model import as_values
from simhcc.pathway.strategies import load_strategy
from simhcc.pathway.whole import DEATHS, ENDPOINTS, pathway
from simhcc.report import model_page
from simhcc.simulation import Evaluation, Outcomes, histories, simulate

PATIENTS = 2048


def cohort(population: str, **columns: float) -> dict:
    return cohort_of(population, PATIENTS) | {name: np.full(PATIENTS, value) for name, value in columns.items()}


def question(strategies: list[Strategy], horizon: float, *more: Endpoint) -> Evaluation:
    return Evaluation(
        pathway=pathway(),
        strategies=tuple(strategies),
        channels=(Channel(id="ly", scale=1 / 12),),
        rewards=(RateReward(channel="ly", rate=1.0),),
        endpoints=(*(e for e in ENDPOINTS if e.origin != "randomise"), *more),
        horizon=horizon,
        grid_step=0.05,
        seed=3,
    )


def run(
    population: str,
    names: list[str],
    changes: dict | None = None,
    horizon: float = 24.0,
    *more: Endpoint,
    **columns: float,
) -> Outcomes:
    asked = question([load_strategy(name) for name in names], horizon, *more)
    return simulate(asked, as_values({**base(), **(changes or {})}), cohort(population, **columns), patients=PATIENTS)


def marks_of(population: str, strategy: Strategy, changes: dict | None = None, horizon: float = 60.0, **columns: float):  # type: ignore[no-untyped-def]
    return histories(
        question([strategy], horizon),
        as_values({**base(), **(changes or {})}),
        cohort(population, **columns),
        strategy=strategy.id,
        patients=PATIENTS,
    ).marks


def a_patient(outcomes: Outcomes, mark: str, arm: int = 0) -> float:
    return float(outcomes.mark_sums[arm, outcomes.marks.index(mark), 0]) / PATIENTS


# -- surgery and follow-up -----------------------------------------------------------------------------------------


def test_toxicity_that_stops_the_drug_postpones_the_operation() -> None:
    drug = "treatments.adjuvant_camre_rivo."
    rare = {drug + "discontinuation_rate_per_month": 0.0, drug + "severe_toxicity_rate_early_per_month": 0.0}
    often = {**rare, drug + "discontinuation_rate_per_month": 50.0}
    operated = Endpoint(id="operated", marks=("operated",))
    wait, delay = base()["timing.wait_neoadjuvant_months"], base()["timing.toxicity_delay_months"]
    treated = {"ecog": 0.0, "child_pugh": 5.0, "frailty_z": 0.0}
    punctual = run("cares-009", ["perioperative_camre_rivo"], rare, 6.0, operated, **treated).survival("operated")[0, 0]
    late = run("cares-009", ["perioperative_camre_rivo"], often, 6.0, operated, **treated).survival("operated")[0, 0]
    # Everybody alive is operated at the planned time, or all of them one delay later; nobody has died by then but a few.
    assert punctual[round((wait + 0.1) / 0.05)] < 0.01 < 0.99 < punctual[round((wait - 0.1) / 0.05)]
    assert late[round((wait + 0.1) / 0.05)] > 0.98 and late[round((wait + delay + 0.1) / 0.05)] < 0.02


def test_irregular_follow_up_finds_recurrence_later_and_not_less_often() -> None:
    found = {}
    for regular, factor in ((1.0, 2.0), (0.0, 1.0), (0.0, 2.0)):
        outcomes = run(
            "china_resectable",
            ["surgery_alone"],
            {"schedule.scan_irregular_surveillance_factor": factor},
            36.0,
            cleared_at_entry=1.0,
            surveillance_regular=regular,
        )
        found[regular, factor] = outcomes.survival("ttr")[0, 0]
    # Scans every three months or every six: nothing can be seen at four months, and as much at six and at twelve.
    at = lambda key, month: found[key][round(month / 0.05) + 1]  # noqa: E731
    assert at((1.0, 2.0), 4.0) < 0.95 and at((0.0, 1.0), 4.0) < 0.95 and at((0.0, 2.0), 4.0) == 1.0
    for month in (6.0, 12.0, 24.0):
        assert at((0.0, 2.0), month) == pytest.approx(at((1.0, 2.0), month), abs=0.05)


def test_one_usual_adjuvant_tace_is_given_to_both_arms() -> None:
    outcomes = run(
        "imbrave050",
        ["surgery_alone", "adjuvant_atezo_bev"],
        {"adjuvant.share_with_usual_tace": 0.4, "adjuvant.p_start": 1.0},
        2.0,
        cleared_at_entry=1.0,
        ablation=0.0,
    )
    shares = [a_patient(outcomes, "adjuvant_tace", arm) for arm in (0, 1)]
    assert shares[0] == shares[1] == pytest.approx(0.4, abs=0.05)
    none = run("imbrave050", ["surgery_alone"], {"adjuvant.p_start": 1.0}, 2.0, cleared_at_entry=1.0)
    assert a_patient(none, "adjuvant_tace") == 0.0


def test_a_switch_gives_one_tace_with_microvascular_invasion() -> None:
    strategy = load_strategy("surgery_alone", tace_from_mvi=1)
    changes = {"adjuvant.p_start": 1.0}
    columns = {"cleared_at_entry": 1.0, "ablation": 0.0}
    with_invasion = marks_of("china_resectable", strategy, changes, 3.0, mvi=1.0, **columns)
    without = marks_of("china_resectable", strategy, changes, 3.0, mvi=0.0, **columns)
    assert (with_invasion["mark"] == "adjuvant_tace").sum() > 0.98 * PATIENTS
    assert (without["mark"] == "adjuvant_tace").sum() == 0


def test_end_stage_liver_disease_within_milan_may_be_transplanted() -> None:
    sick = {"ecog": 3.0, "nodules": 1.0, "diameter": 2.0, "pv": 0.0, "hv": 0.0, "ehs": 0.0, "age": 50.0}
    changes = {"transplant.p_transplant_at_recurrence": 0.5}
    outcomes = run("china_all_stages", ["pathway_usual_2020"], changes, 6.0, **sick)
    assert a_patient(outcomes, "transplanted") == pytest.approx(0.5, abs=0.06)
    old = run("china_all_stages", ["pathway_usual_2020"], changes, 6.0, **{**sick, "age": 70.0})
    assert a_patient(old, "transplanted") == 0.0


# -- drugs ---------------------------------------------------------------------------------------------------------


def test_bleeding_follows_the_liver_and_only_bevacizumab() -> None:
    strategies = ["atezo_bev", "len_pembro"]
    good = run("imbrave150", strategies, {}, 7.0, albi=-3.0)
    poor = run("imbrave150", strategies, {}, 7.0, albi=-2.0)
    # Over a course of seven months 0.031 and 0.102, less those who stop or die before.
    assert 0.015 < a_patient(good, "bleeding") < 0.04
    assert 0.05 < a_patient(poor, "bleeding") < 0.11
    assert a_patient(good, "bleeding", 1) == a_patient(poor, "bleeding", 1) == 0.0


def test_two_immune_drugs_may_kill_early_and_not_later() -> None:
    name = "treatments.nivo_ipi.early_death_excess_rate_per_month"
    none, some = (run("checkmate-9dw", ["nivo_ipi"], {name: rate}, 24.0).survival("os")[0, 0] for rate in (0.0, 0.1))
    early, late = round(3.0 / 0.05), round(9.0 / 0.05)
    # 0.1 a month over three months takes about 0.25 of those on the drug; from then on nothing more.
    assert 0.18 < 1.0 - some[early] / none[early] < 0.28
    assert some[late] / none[late] == pytest.approx(some[early] / none[early], abs=0.03)


def test_drugs_end_in_lasting_complete_response_after_two_years() -> None:
    strategy = load_strategy("response_adapted")
    always = {"treatments.atezo_bev.p_complete_given_response": 1.0, "conversion.p_operated_given_offered": 0.0}
    marks = marks_of("imbrave150", strategy, always, 40.0)
    ends = marks[marks["mark"] == "planned_stop"]
    times = ends["months" if "months" in ends else "time"]
    assert len(ends) > 0.02 * PATIENTS and times.min() == pytest.approx(24.0) and times.max() < 36.0
    never = marks_of("imbrave150", strategy, {**always, "treatments.atezo_bev.p_complete_given_response": 0.0}, 40.0)
    assert (never["mark"] == "planned_stop").sum() == 0


def test_stable_disease_has_no_progression_before_the_second_scan() -> None:
    stable = {
        "treatments.lenvatinib.response_mix": np.array([0.0, 1.0, 0.0]),
        "treatments.lenvatinib.p_long_control": 0.0,
        "systemic.progression_hr_before_first_scan": 1e-12,
        "schedule.scan_systemic_months": 2.0,
    }
    curve = run("leap-002", ["lenvatinib"], stable, 7.0).survival("ttp")[0, 0]
    assert curve[round(3.9 / 0.05)] == 1.0 and curve[round(4.1 / 0.05)] < 0.95


def test_frailty_makes_primary_progression_more_likely() -> None:
    frail, robust = (run("leap-002", ["lenvatinib"], {}, 3.0, frailty_z=z).survival("ttp")[0, 0] for z in (2.0, -2.0))
    assert robust[-1] - frail[-1] > 0.05


def test_an_immune_drug_raises_the_share_that_lives_long_and_nothing_else_here() -> None:
    name = "post_progression.long_lived_or_ici"
    same, more = (
        run("imbrave150", ["atezo_bev", "best_supportive_care"], {name: odds}, 61.0).survival("os")[0]
        for odds in (1.0, 3.0)
    )
    at = round(48.0 / 0.05)
    assert more[0][at] - same[0][at] > 0.03
    assert np.array_equal(more[1], same[1])


def test_antivirals_cost_their_price_as_long_as_life_lasts() -> None:
    scenario = replace(load_scenario("advanced"), patients=512)
    chosen = replace(scenario, strategies=scenario.strategies[:1], comparator=scenario.strategies[0].id)
    evaluation, values, columns = assemble(chosen, scenario.load_parameters())
    price = 100.0

    def means(antiviral: float, extra: float) -> tuple[float, float]:
        changed = {**values, "costs.antiviral_per_month": np.array([extra])}
        patients = {**columns, "hbv": np.ones(512), "antiviral": np.full(512, antiviral)}
        outcomes = simulate(evaluation, changed, patients, patients=512)
        return tuple(float(outcomes.means[0, 0, outcomes.column(name)]) for name in ("cost", "ly"))  # type: ignore[return-value]

    (cost, ly), (dearer, _) = means(1.0, 0.0), means(1.0, price)
    # Costs and effects are discounted alike, so the months of the discounted life years are what is paid for.
    assert float(values["economics.discount_rate_costs"][0]) == float(values["economics.discount_rate_effects"][0])
    assert dearer - cost == pytest.approx(12.0 * ly * price, rel=1e-9)
    assert means(0.0, price)[0] == means(0.0, 0.0)[0]


def test_long_control_may_end_a_while_after_the_drug() -> None:
    # Half in long control, the drug stopped at once for toxicity: nothing changes until the effect ends.
    name = "treatments.atezo_bev."
    controlled = {
        name + "p_long_control": 0.5,
        name + "response_mix": np.array([0.324, 0.176, 0.5]),
        name + "discontinuation_rate_per_month": 50.0,
        "systemic.p_early_progression_long_control_other": 0.0,
        "systemic.progression_rate_long_control_per_month": 1e-9,
    }
    ends = "structure.effect_ends_after_stop_months"
    lasting = run("imbrave150", ["atezo_bev"], controlled, 40.0).survival("ttp")[0, 0]
    ended = run("imbrave150", ["atezo_bev"], {**controlled, ends: 24.0}, 40.0).survival("ttp")[0, 0]
    before, after = round(23.9 / 0.05), round(36.0 / 0.05)
    assert np.array_equal(lasting[: before + 1], ended[: before + 1]) and lasting[after] > 0.4
    assert lasting[after] - ended[after] > 0.2


def _toxic(one_drug: float, **more: float) -> dict[str, float]:
    """Severe toxicity for all on atezolizumab and bevacizumab, none of it a bleeding, fatal or a reason to stop everything."""
    name = "treatments.atezo_bev."
    return {
        name + "severe_toxicity_rate_early_per_month": 2.0,
        name + "discontinuation_rate_per_month": 0.0,
        name + "p_bleeding_acts": 0.0,
        name + "p_death_given_severe_toxicity": 0.0,
        "toxicity.p_dose_reduced": 0.0,
        "toxicity.p_stop_one_drug": one_drug,
        # Another branch draws another number for performance status.
        "ecog.p_step_at_severe_toxicity": 0.0,
        "toxicity.rate_ratio_one_drug_left": 1.0,
        "systemic.progression_hr_after_one_drug_stopped": 1.0,
        **more,
    }


def test_one_drug_is_stopped_once_and_the_others_go_on() -> None:
    lives = {
        share: marks_of("imbrave150", load_strategy("atezo_bev"), _toxic(share), 12.0) for share in (0.0, 0.5, 1.0)
    }
    begun = "one_drug_stopped"
    assert not (lives[0.0]["mark"] == begun).any()
    first_line_ends = ("stopped_at_progression", "next_line", *DEATHS)
    for share in (0.5, 1.0):
        marks = lives[share]
        events = marks[marks["mark"].isin([begun, "severe_toxicity"])]
        ended = marks[marks["mark"].isin(first_line_ends)].groupby("patient")["time"].min()
        first_line = events[events["time"] < events["patient"].map(ended).fillna(np.inf)]
        stopped = first_line[first_line["mark"] == begun]
        assert stopped["patient"].is_unique and len(stopped) > 0.8 * PATIENTS
        # Of the first severe events the share; of the later ones of a patient who has stopped one drug, none.
        firsts = first_line.sort_values("time").groupby("patient").first()
        assert (firsts["mark"] == begun).mean() == pytest.approx(share, abs=3.5 * np.sqrt(0.25 / len(firsts)))
    # Where one drug less changes nothing else, everybody lives the same life, event by event.
    same = [m.assign(mark=m["mark"].replace(begun, "severe_toxicity")) for m in lives.values()]
    assert same[0].equals(same[1]) and same[0].equals(same[2])


def test_what_is_left_of_a_combination_is_less_toxic_and_progresses_by_the_published_ratio() -> None:
    ratio = "toxicity.rate_ratio_one_drug_left"
    events = {}
    for value in (1.0, 0.25):
        outcomes = run("imbrave150", ["atezo_bev"], _toxic(1.0, **{ratio: value}), 2.0)
        events[value] = a_patient(outcomes, "severe_toxicity")
    # Hardly anyone progresses or dies in two months: after the first event the rate is 2 a month, or a quarter of it. The
    # first takes half a month on average, which leaves 2 - (1 - exp(-4)) / 2 months.
    left = 2.0 - (1.0 - np.exp(-4.0)) / 2.0
    assert events[1.0] == pytest.approx(2.0 * left, rel=0.15) and events[0.25] == pytest.approx(0.5 * left, rel=0.15)
    assert events[0.25] / events[1.0] == pytest.approx(0.25, rel=0.08)
    worse = "systemic.progression_hr_after_one_drug_stopped"
    free = [
        run("imbrave150", ["atezo_bev"], _toxic(1.0, **{worse: value})).survival("pfs")[0, 0, 240]
        for value in (1.0, 3.0)
    ]
    kept = [
        run("imbrave150", ["atezo_bev"], _toxic(0.0, **{worse: value})).survival("pfs")[0, 0] for value in (1.0, 3.0)
    ]
    assert free[1] < 0.6 * free[0] and np.array_equal(kept[0], kept[1])


def test_a_severe_bleeding_ends_bevacizumab() -> None:
    name, bleeding = "treatments.atezo_bev.", "liver.bleeding_bevacizumab."
    changes = _toxic(0.0, **{name + "p_bleeding_acts": 1.0, bleeding + "p_albi_1": 0.9, bleeding + "p_albi_2_3": 0.9})
    changes |= {bleeding + "max_share_of_severe": 1.0, bleeding + "p_death": 0.0}
    marks = marks_of("imbrave150", load_strategy("atezo_bev"), changes, 3.0)
    bled = marks[marks["mark"] == "bleeding"]
    assert len(bled) > 0.2 * PATIENTS and bled["patient"].is_unique


# -- local treatment -----------------------------------------------------------------------------------------------


def test_sessions_of_a_course_keep_their_distance_and_go_on_as_long_as_they_work() -> None:
    changes = {
        "tace.response_low": np.array([0.001, 0.997, 0.001, 0.001]),
        "tace.response_mid": np.array([0.001, 0.997, 0.001, 0.001]),
        "tace.session_2_response_odds": 1.0,
        "tace.later_session_response_odds": 1.0,
        "tace.progression_rate_low_per_month": 1e-9,
        "tace.progression_rate_mid_per_month": 1e-9,
        **{f"tace.p_lasting_liver_step_albi_{grade}": 0.0 for grade in ("1", "2a", "2b")},
    }
    marks = marks_of("leap-012", load_strategy("tace_sequential"), changes, 24.0, diameter=3.0, nodules=1.0)
    sessions = marks[marks["mark"] == "tace_session"].sort_values(
        ["patient", "months" if "months" in marks else "time"]
    )
    time = "months" if "months" in marks else "time"
    gaps = sessions.groupby("patient")[time].diff().dropna()
    expected = base()["tace.scan_after_session_months"] + base()["tace.retreatment_wait_months"]
    # A new tumour that is seen before the scan of a session is treated sooner, and never within the least interval.
    assert gaps.median() == pytest.approx(expected) and gaps.min() > base()["tace.session_interval_min_months"]
    # At 0.5 months and every 2.5 months afterwards: ten in two years.
    assert sessions.groupby("patient").size().median() == 10


def test_a_session_is_what_the_local_slot_says_also_after_an_operation_was_declined() -> None:
    # Who declines the operation under HAIC goes on with HAIC, not with a session of TACE, and has no fourth block.
    graph = question([load_strategy("conversion_resection")], 60.0)
    population = cohort("china_potentially_resectable", diameter=9.0)
    changes = {"conversion.p_operated_given_offered": 0.2}
    found = histories(
        graph, as_values({**base(), **changes}), population, strategy="conversion_resection", patients=1500
    )
    visits, marks = found.visits, found.marks
    seen = {"tace_session": 0, "haic_block": 0}
    for row in marks[marks["mark"].isin(seen)].itertuples():
        at = visits[(visits["patient"] == row.patient) & (visits["entered"] <= row.time) & (visits["left"] >= row.time)]
        assert ("tace" if row.mark == "tace_session" else "haic") in set(at["local"]), row
        seen[row.mark] += 1
    assert min(seen.values()) > 100
    assert marks[marks["mark"] == "haic_block"].groupby("patient").size().max() <= 3


def test_a_lasting_loss_of_liver_function_closes_tace() -> None:
    always = {f"tace.p_lasting_liver_step_albi_{grade}": 0.999 for grade in ("1", "2a", "2b")}
    closing = run("leap-012", ["tace_sequential"], always, 24.0, albi=-2.4)
    sparing = run("leap-012", ["tace_sequential"], {name: 0.0 for name in always}, 24.0, albi=-2.4)
    assert a_patient(closing, "tace_session") < 1.2 < 1.6 < a_patient(sparing, "tace_session")


def test_the_first_session_can_show_primary_progression() -> None:
    names = ("low", "mid", "high")
    none = {f"tace.response_{n}": np.array([0.3, 0.3, 0.4, 0.0]) for n in names}
    half = {f"tace.response_{n}": np.array([0.3, 0.3, 0.1, 0.3]) for n in names}
    first, second = (run("emerald-1", ["tace_sequential"], c, 5.0).survival("ttp")[0, 0] for c in (none, half))
    # Shown by the first scan after the first session has been judged, and not before.
    assert np.array_equal(first[: round(3.9 / 0.05)], second[: round(3.9 / 0.05)])
    seen = round(4.2 / 0.05)
    assert 0.15 < first[seen] - second[seen] < 0.35


def test_drugs_raise_the_reviewed_responses_by_the_published_odds_ratio() -> None:
    # Low burden: 0.44 + 0.34 respond locally, of which a review confirms c; with drugs the odds of that share times the ratio.
    confirmed, ratio = base()["response_criteria.p_session_response_confirmed"], 1.8
    names = ["tace_sequential", "tace_len_pembro"]
    columns = {"nodules": 1.0, "diameter": 3.0, "infiltrative": 0.0, "pv": 0.0, "ehs": 0.0}
    for or_given in (ratio, 1.0):
        changes = {
            "treatments.len_pembro.tace_response_or": or_given,
            "tace.response_low": np.array([0.44, 0.34, 0.17, 0.05]),
        }
        outcomes = run("leap-012", names, changes, 2.5, **columns)
        alone, together = (a_patient(outcomes, "response_observed", arm) for arm in (0, 1))
        share = confirmed * 0.78
        odds = or_given * share / (1.0 - share)
        # A few die or cannot have a session; the logistic-normal mean is an approximation.
        assert alone == pytest.approx(share, abs=0.03) and together == pytest.approx(odds / (1.0 + odds), abs=0.03)


def test_a_response_counts_in_the_first_treatment_and_before_progression() -> None:
    for name, population in (
        ("tace_sequential", "leap-012"),
        ("tace_len_pembro", "leap-012"),
        ("atezo_bev", "imbrave150"),
    ):
        marks = marks_of(population, load_strategy(name), None, 60.0).set_index("patient")
        time = "months" if "months" in marks else "time"
        first = {
            mark: marks[marks["mark"] == mark].groupby(level=0)[time].min()
            for mark in ("response_observed", "progression", "next_line")
        }
        last = marks[marks["mark"] == "response_observed"].groupby(level=0)[time].max()
        assert len(last) > 0.2 * PATIENTS and len(first["next_line"]) > 0.2 * PATIENTS
        for end in ("progression", "next_line"):
            both = last.index.intersection(first[end].index)
            assert (last[both] <= first[end][both]).all(), (name, end)


def test_drugs_that_start_with_tace_are_a_line_of_systemic_therapy() -> None:
    # A cap of one line leaves nothing after TACE with drugs, and one line after TACE alone.
    outcomes = run("leap-012", ["tace_sequential", "tace_len_pembro"], {"next_line.max_lines": 1.0}, 60.0)
    assert a_patient(outcomes, "next_line", 0) > 0.3 and a_patient(outcomes, "next_line", 1) == 0.0


def test_haic_acts_on_progression_by_its_hazard_ratio() -> None:
    curves = [
        run("haic-vs-tace", ["haic_alone"], {"haic.progression_hr_vs_tace": ratio}, 24.0).survival("ttp")[0, 0]
        for ratio in (0.3, 1.0)
    ]
    assert curves[0][round(12 / 0.05)] - curves[1][round(12 / 0.05)] > 0.15


# -- run-in --------------------------------------------------------------------------------------------------------


def test_the_run_in_randomises_the_same_people_at_its_end() -> None:
    arms = [marks_of("talentop", load_strategy(f"run_in_then_{arm}"), {}, 12.0) for arm in ("resection", "continued")]
    time = "months" if "months" in arms[0] else "time"
    randomised = [m[m["mark"] == "randomise"] for m in arms]
    assert sorted(randomised[0]["patient"]) == sorted(randomised[1]["patient"])
    assert np.allclose(randomised[0][time], base()["talentop.run_in_months"])
    # 0.38 (0.2 to 0.5) pass by the clinical model: no progression times resectable.
    assert 0.2 < len(randomised[0]) / PATIENTS < 0.5
    accepted = (arms[0]["mark"] == "converted").sum() / len(randomised[0])
    assert accepted == pytest.approx(base()["surgery.p_accepts_surgery"], abs=0.03)
    assert (arms[1]["mark"] == "converted").sum() == 0
    later = marks_of("talentop", load_strategy("run_in_then_continued", later_resection_from_month=4), {}, 12.0)
    assert (later["mark"] == "converted").sum() > 0


# -- arithmetic of section 7 of the clinical model ------------------------------------------------------------------


def test_most_four_year_survivors_on_lenvatinib_have_progressed() -> None:
    # LEAP-002: 12 of 15 in a hundred.
    outcomes = run("leap-002", ["lenvatinib"], {}, 49.0)
    alive, free = (float(outcomes.survival(name)[0, 0][round(48.0 / 0.05)]) for name in ("os", "pfs"))
    assert free / alive < 0.35


def test_deaths_without_recurrence_are_rare_after_curative_treatment() -> None:
    # STORM: RFS and TTR medians of 33.7 and 35.8 months leave 0.0012 deaths per month; the life table alone is more.
    columns = {"cleared_at_entry": 1.0, "hbv": 0.0}
    marks = marks_of("storm", load_strategy("surgery_alone"), {}, 48.0, **columns)
    time = "months" if "months" in marks else "time"
    first = marks[marks["mark"].isin(("recurrence", *DEATHS))].sort_values(time).groupby("patient").first()
    months = first[time].sum() + 48.0 * (PATIENTS - len(first))
    liver = (first["mark"] == "dead_liver").sum() / months
    assert liver < 0.0020


# -- the page ------------------------------------------------------------------------------------------------------


def test_the_page_of_the_model_is_current(request) -> None:  # type: ignore[no-untyped-def]
    page = request.config.rootpath / "docs" / "model.md"
    text = page.read_text(encoding="utf-8")
    assert model_page.page_with_parts(text) == text, "python -m simhcc.report.model_page writes it anew"


def test_the_page_command_writes_checks_and_refuses(tmp_path, capsys) -> None:  # type: ignore[no-untyped-def]
    page = tmp_path / "page.md"
    page.write_text("\n".join(line for pair in model_page.MARKS.values() for line in pair) + "\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="not current"):
        model_page.main([str(page), "--check"])
    assert model_page.main([str(page)]) == 0 and model_page.main([str(page), "--check"]) == 0
    text = page.read_text(encoding="utf-8")
    assert "flowchart TD" in text and "| `frailty.sd_log` | 0.5 | log_sd |" in text
    page.write_text(text.replace("| 0.5 | log_sd |", "| 0.6 | log_sd |"), encoding="utf-8")
    with pytest.raises(SystemExit, match="not current"):
        model_page.main([str(page), "--check"])
    page.write_text("no marks\n", encoding="utf-8")
    assert model_page.main([str(page)]) == 2
    assert "marks" in capsys.readouterr().err


# -- what a recurrence looks like ----------------------------------------------------------------------------------


def _curable_shares(regular: float, changes: dict | None = None) -> list[float]:
    """Shares of first recurrences that are treated again with curative intent, by year since clearance (1, 2, later)."""
    always = {
        "recurrence.p_curative_retreatment": 1.0,
        "recurrence.extent_shift_high_risk": 0.0,
        "recurrent_tumour.beyond_nodules_mean": 15.0,
        # Whatever is not within Milan criteria goes elsewhere.
        "recurrence.re_resection_interval_months": 1e6,
        "structure.eradication_instead_of_rate": 0.0,
        **(changes or {}),
    }
    healthy = {"ecog": 0.0, "child_pugh": 5.0, "albi": -3.0, "cirrhosis": 0.0, "cleared_at_entry": 1.0, "ablation": 0.0}
    asked = question([load_strategy("surgery_alone")], 120.0)
    columns = cohort("china_resectable", surveillance_regular=regular, **healthy)
    visits = histories(
        asked, as_values({**base(), **always}), columns, strategy="surgery_alone", patients=PATIENTS
    ).visits
    first = visits.groupby("patient").head(2)
    left = first.groupby("patient")["left"].first()
    after = first.groupby("patient")["state"].agg(list)
    recurred = after[after.map(len) > 1]
    curative = recurred.map(lambda states: states[1] == "awaiting_curative")
    periods = np.digitize(left[recurred.index], [12.0 + 1e-9, 24.0 + 1e-9])
    return [float(curative[periods == k].mean()) for k in range(3)]


def test_late_recurrences_are_curable_more_often_and_irregular_follow_up_finds_fewer() -> None:
    regular = _curable_shares(1.0)
    published = [
        float(base()[f"recurrence.extent_by_period.months_{name}"][0]) for name in ("0_12", "12_24", "over_24")
    ]
    # A few tumours beyond the curable pattern are within Milan criteria by chance (one nodule of 15 expected).
    assert regular == pytest.approx(published, abs=0.09) and regular[2] > regular[0] + 0.1
    causal = {"surveillance.causal_share": 1.0, "surveillance.early_stage_or": 2.0}
    halved = [0.5 * share / (1.0 - 0.5 * share) for share in published]
    assert _curable_shares(0.0, causal) == pytest.approx(halved, abs=0.09)
    assert _curable_shares(0.0, {**causal, "surveillance.causal_share": 0.0}) == pytest.approx(published, abs=0.09)


# -- hepatitis C ---------------------------------------------------------------------------------------------------


def _with_hepatitis_c(share: float, changes: dict | None = None, hcv: float = 1.0) -> Outcomes:
    masses = {name: 1e-12 for name in base() if name.startswith("recurrence.early_mass_cnlc_")}
    values = {"frailty.sd_log": 0.0, **masses, "hcv.share_active": share, **(changes or {})}
    return run(
        "storm", ["surgery_alone"], values, 60.0, hcv=hcv, cleared_at_entry=1.0, surveillance_regular=1.0, hbv=0.0
    )


def test_active_hepatitis_c_multiplies_late_recurrence() -> None:
    # Nobody recurs early, so the share without late recurrence is S for all and S ** 2 with twice the hazard.
    quiet = {"hcv.liver_event_hr_active": 1.0, "hcv.late_recurrence_hr_active": 2.0}
    cured, active = (_with_hepatitis_c(share, quiet).survival("ttr")[0, 0, round(48.0 / 0.05)] for share in (0.0, 1.0))
    assert 0.6 < cured < 0.9 and active == pytest.approx(cured**2, abs=0.04)
    half = _with_hepatitis_c(0.5, quiet).survival("ttr")[0, 0, round(48.0 / 0.05)]
    assert half == pytest.approx((cured + active) / 2.0, abs=0.03)


def test_active_hepatitis_c_multiplies_liver_events_and_nothing_else_does() -> None:
    quiet = {"hcv.late_recurrence_hr_active": 1.0, "hcv.liver_event_hr_active": 4.0}
    cured, active = (_with_hepatitis_c(share, quiet) for share in (0.0, 1.0))
    many, few = a_patient(active, "decompensation"), a_patient(cured, "decompensation")
    assert 2.0 < many / few < 5.0
    # Without hepatitis C, or cured, the same people have the same lives.
    assert np.array_equal(cured.means, _with_hepatitis_c(1.0, quiet, hcv=0.0).means)


# -- after conversion surgery --------------------------------------------------------------------------------------

_AFTER = "conversion.after_surgery."


def _after_conversion(changes: dict, strategy: str = "run_in_then_resection", population: str = "talentop"):  # type: ignore[no-untyped-def]
    """Months free of recurrence after clearance (infinite if none), and from recurrence to death, by patient."""
    # Nobody differs, and the pathology says nothing.
    alike = {"frailty.sd_log": 0.0, _AFTER + "hr_no_viable": 1.0, "surgery.hr_r1_early_mass": 1.0, **changes}
    marks = marks_of(population, load_strategy(strategy), alike, 120.0, surveillance_regular=1.0)
    first = lambda names: marks[marks["mark"].isin(names)].groupby("patient")["time"].min()  # noqa: E731
    cleared, recurred, died = first(["cleared"]), first(["recurrence"]), first(list(DEATHS))
    free = (recurred.reindex(cleared.index) - cleared).fillna(np.inf)
    after = (died - recurred).reindex(recurred.index.intersection(died.index)).dropna()
    followed = (died.reindex(cleared.index) - cleared).fillna(np.inf)
    return free, after, followed


def test_recurrence_beyond_the_series_multiplies_the_whole_hazard_after_conversion_surgery() -> None:
    at = 24.0
    found = {}
    for ratio in (1e-9, 1.0, 2.0):
        free, _, followed = _after_conversion({_AFTER + "hr_beyond_series": ratio})
        here = np.minimum(free, followed)
        # Kaplan-Meier by hand; deaths before recurrence are few and censor.
        times = np.sort(free[(free <= at) & np.isfinite(free)].unique())
        survival = np.prod([1.0 - (free == t).sum() / (here >= t).sum() for t in times])
        found[ratio] = survival
    assert found[1e-9] == 1.0 and 0.4 < found[1.0] < 0.85
    assert found[2.0] == pytest.approx(found[1.0] ** 2, abs=0.04)


def test_death_after_recurrence_is_faster_after_conversion_surgery_only() -> None:
    ratio = _AFTER + "death_hr_after_recurrence"
    slow, fast = (_after_conversion({ratio: value})[1] for value in (0.5, 4.0))
    # Some are treated with curative intent again and live on.
    assert fast.median() < 0.85 * slow.median()
    other = [_after_conversion({ratio: value}, "surgery_alone", "cares-009")[1] for value in (0.5, 4.0)]
    assert other[0].equals(other[1]) and len(other[0]) > 0.2 * PATIENTS


# -- triplets ------------------------------------------------------------------------------------------------------

_TRIPLETS = ("atezo_bev_tiragolumab", "atezo_bev_ipilimumab")
_TOXICITY = (
    "exposure_median_months",
    "severe_toxicity_rate_early_per_month",
    "discontinuation_rate_per_month",
    "p_death_given_severe_toxicity",
    "p_bleeding_acts",
)


def _as_toxic_as_the_doublet(triplet: str) -> dict:
    same = {f"treatments.{triplet}.{name}": base()[f"treatments.atezo_bev.{name}"] for name in _TOXICITY}
    if triplet == "atezo_bev_ipilimumab":
        same["treatments.atezo_bev_ipilimumab.drugs.atezolizumab.max_months"] = np.inf
    return same


@pytest.mark.parametrize("triplet", _TRIPLETS)
def test_a_triplet_without_an_effect_gives_the_doublets_histories(triplet: str) -> None:
    # The doublet's numbers are moved as a draw of theirs would move them: the triplet has to follow.
    moved = {
        "treatments.atezo_bev.response_mix": np.array([0.4, 0.3, 0.3]),
        "treatments.atezo_bev.p_long_control": 0.2,
        "treatments.atezo_bev.progression_log_hr": 0.37,
        "treatments.atezo_bev.time_to_response_median_months": 4.1,
        "treatments.atezo_bev.p_complete_given_response": 0.6,
    }
    changes = {**_as_toxic_as_the_doublet(triplet), **moved}
    outcomes = run("imbrave150", ["atezo_bev", triplet], changes, 80.0)
    assert np.array_equal(outcomes.means[0, 0], outcomes.means[0, 1])
    marks = [marks_of("imbrave150", load_strategy(name), changes, 80.0) for name in ("atezo_bev", triplet)]
    assert len(marks[0]) > PATIENTS
    for column in set(marks[0].columns) - {"strategy"}:
        assert marks[0][column].equals(marks[1][column]), column


@pytest.mark.parametrize("triplet", _TRIPLETS)
@pytest.mark.parametrize(
    ("ratio", "value"), [("response_or", 2.0), ("long_control_or", 3.0), ("progression_log_hr", -0.5)]
)
def test_each_ratio_of_a_triplet_acts_on_the_triplet_alone(triplet: str, ratio: str, value: float) -> None:
    changes = _as_toxic_as_the_doublet(triplet)
    better = {**changes, f"treatments.{triplet}.{ratio}_vs_atezo_bev": value}
    same = run("imbrave150", ["atezo_bev", triplet], changes, 24.0).survival("pfs")[0]
    moved = run("imbrave150", ["atezo_bev", triplet], better, 24.0).survival("pfs")[0]
    year = round(12.0 / 0.05)
    assert np.array_equal(same[0], moved[0]) and moved[1, year] > same[1, year] + 0.01


def test_the_odds_ratio_of_response_is_that_of_the_responses_seen() -> None:
    # Mix 0.4, 0.3, 0.3 without long control or frailty: odds of 2/3, times 3 make 2, so 2/3 respond, all at the first scan.
    changes = {
        **_as_toxic_as_the_doublet("atezo_bev_tiragolumab"),
        "treatments.atezo_bev.response_mix": np.array([0.4, 0.3, 0.3]),
        "treatments.atezo_bev.p_long_control": 0.0,
        "treatments.atezo_bev.time_to_response_median_months": 0.01,
        "treatments.atezo_bev_tiragolumab.response_or_vs_atezo_bev": 3.0,
        "covariate.response.liver_confined": 1.0,
        "covariate.response.child_pugh_b": 1.0,
        "frailty.sd_log": 0.0,
        "systemic.death_rate_without_progression_per_month": 1e-9,
    }
    outcomes = run("imbrave150", ["atezo_bev", "atezo_bev_tiragolumab"], changes, 3.0)
    doublet, triplet = (a_patient(outcomes, "response_observed", arm) for arm in (0, 1))
    # A few die before the scan, of other causes and of the liver.
    assert doublet == pytest.approx(0.4, abs=0.04) and triplet == pytest.approx(2.0 / 3.0, abs=0.04)


@pytest.mark.parametrize(("ratio", "long", "known"), [(0.6, 0.14, None), (3.0, 0.14, 1e-3)])
def test_a_ratio_too_bad_for_the_long_control_share_leaves_nearly_none_of_the_others(
    ratio: float, long: float, known: float | None
) -> None:
    from simhcc.expressions import as_expression
    from simhcc.pathway.regimens import _rest
    from simhcc.trials.pools import of_patients

    s = 0.45
    numbers = {"combination.reference_pfs_12m": s, "combination.least_free": 1e-3}
    found = of_patients(_rest(as_expression(ratio), as_expression(long)), {"age": np.zeros(1)}, numbers)
    # s^ratio = long + (1 - long) s^rest; beyond it the others keep a thousandth.
    free = (s**ratio - long) / (1.0 - long) if known is None else known
    assert np.exp(found) == pytest.approx(np.log(free) / np.log(s), rel=1e-9)
