"""Virtual trials: what the engine's patients become once they are enrolled, followed, censored and analysed.

Most checks use a pool written by hand, whose truth is known in closed form; the engine is asked only whether its pools
are the histories they should be.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simhcc.errors import InputError
from simhcc.inputs import load_parameters
from simhcc.inputs.trials import Trial, TrialModel, load_trial
from simhcc.simulation import histories
from simhcc.trials import expected, observe, replicates
from simhcc.trials.design import conditional_power, group_sequential
from simhcc.trials.expected import expected_median
from simhcc.trials.pools import Pool, median_cutoff, plan, simulate_trial
from simhcc.trials.questions import from_mechanism, from_ratio, looks
from simhcc.trials.replicates import enrol, quantile, replicate
from simhcc.trials.summary import predictions

TRIAL = """\
id: mine
title: Two arms
setting: advanced
design:
  phase: "3"
  n: 400
  allocation: [1, 1]
  masking: open-label
  accrual_months: 20
  drop_out_per_month: {dropout}
  analyses:
    - {{name: final, cutoff_months: {cutoff}}}
  assessment:
    segments: [{{from_months: 0, every_months: 2}}]
    {assessment}
    assumed: true
population: imbrave150
time_zero: {{event: randomise, description: Randomisation.}}
arms:
  - {{id: new, n: 200, strategy: atezo_bev}}
  - {{id: old, n: 200, strategy: sorafenib}}
  - {{id: early, n: 50, subset_of: old, first_enrolled: 50}}
endpoints:
  OS: {{events: [death], definition: Death.}}
  PFS: {{events: [progression, death], definition: Progression or death.}}
  TTP: {{events: [progression], censoring: [death], definition: Progression.}}
response: {{criteria: mRECIST}}
sequential:
  - {{endpoint: OS, arm: new, reference: old, final_events: 250, fractions: [0.5, 1], alpha: 0.025, planned_hr: 0.7,
     published_fraction: 0.5, confirmed: true}}
targets:
  - {{arm: old, endpoint: OS, statistic: median, value: 12, confirmed: true, use: show}}
  - {{arm: old, endpoint: OS, statistic: landmark, time_months: 12, value: 0.5, confirmed: true, use: show}}
  - {{arm: new, endpoint: OS, statistic: rmst, time_months: 24, value: 14, confirmed: true, use: fit}}
  - {{arm: old, endpoint: PFS, statistic: median, value: 4, confirmed: true, use: show}}
  - {{arm: old, endpoint: TTP, statistic: landmark, time_months: 6, value: 0.5, confirmed: true, use: show}}
  - {{arm: old, endpoint: response, statistic: orr, value: 0.4, confirmed: true, use: show}}
  - {{arm: early, endpoint: OS, statistic: landmark, time_months: 12, value: 0.5, confirmed: true, use: show}}
contrasts:
  - {{endpoint: OS, arm: new, reference: old, hr: 0.7, ci95: [0.55, 0.89], confirmed: true, use: hold_out}}
  - {{endpoint: OS, arm: new, reference: old, hr: 0.7, period: [6, 18], confirmed: true, use: show}}
"""
RATE = math.log(2.0) / 12.0
PATIENTS = 40_000


def trial(tmp_path: Path, dropout: float = 0.0, cutoff: float = 60.0, assessment: str = "window_days: 0") -> Trial:
    path = tmp_path / "mine.yaml"
    path.write_text(TRIAL.format(dropout=dropout, cutoff=cutoff, assessment=assessment), encoding="utf-8")
    return load_trial(path)


def pool(of: Trial, hr: float = 0.7, patients: int = PATIENTS, seed: int = 5, draws: int = 1) -> Pool:
    """Exponential survival; progression latent at rate 0.15, seen at the next second month; 40 in 100 respond at month 2."""
    rng = np.random.default_rng(seed)
    columns = ("OS/now", "PFS/scan", "PFS/now", "TTP/scan", "TTP/censor", "response", "response/end", "next_line")
    times = {}
    for arm, ratio in (("new", hr), ("old", 1.0)):
        death = rng.exponential(1.0 / (RATE * ratio), (draws, patients))
        scan = np.ceil(rng.exponential(1.0 / 0.15, (draws, patients)) / 2.0) * 2.0
        scan = np.where(scan < death, scan, np.inf)
        response = np.where(rng.random((draws, patients)) < 0.4, 0.001, np.inf)
        times[arm] = np.stack([death, scan, death, scan, death, response, np.minimum(scan, death), scan + 1.0], axis=1)
    strata = rng.integers(0, 3, patients).astype(np.int32)
    return Pool(of, columns, times, strata, {}, np.zeros(draws))


def row(found: replicates.Replicates, name: str) -> np.ndarray:
    return found.values[:, [r.name for r in found.rows].index(name)]


# ------------------------------------------------------------------------------------------------ the truth comes back


def test_replicates_show_the_truth_and_its_sampling_error(tmp_path):
    # 2,000 trials: means within five standard errors of the closed form.
    of = trial(tmp_path, cutoff=200.0)
    found = replicate(pool(of), 2000, 1)
    n, size = 2000, 200
    log_hr = np.log(row(found, "new : old OS hr"))
    # Everybody dies: 400 events; the log hazard ratio is nearly normal with sd sqrt(4 / 400) (Schoenfeld 1981). What the
    # trials share through the pool adds sqrt(4 / 80,000) to the error of their mean.
    share = math.sqrt(4 / 400 / n + 4 / (2 * PATIENTS))
    assert abs(log_hr.mean() - math.log(0.7)) < 5 * share
    assert abs(log_hr.std() / math.sqrt(4 / 400) - 1.0) < 0.1
    for name, truth in (("old OS landmark 12", 0.5), ("old response orr", 0.4)):
        values = row(found, name)
        error = math.sqrt(0.25 / size / n + 0.25 / PATIENTS)
        assert abs(values.mean() - truth) < 5 * error + 2e-3, name
        assert abs(values.std() / math.sqrt(truth * (1 - truth) / size) - 1.0) < 0.1, name
    # A constant ratio is the same among the events of any months.
    assert abs(np.log(row(found, "new : old OS hr months 6-18")).mean() - math.log(0.7)) < 0.02
    rmst = (1.0 - math.exp(-24 * RATE * 0.7)) / (RATE * 0.7)
    assert abs(row(found, "new OS rmst 24").mean() - rmst) < 5 * 8.6 / math.sqrt(PATIENTS)
    # P(TTP seen by month 6 | death censors): latent by the scan at month 6, a hazard of 0.15 per month.
    assert abs(row(found, "old TTP landmark 6").mean() - math.exp(-0.9)) < 0.01
    power = float(np.mean(found.z[:, -2] > 1.96))
    assert abs(power - group_sequential([1.0], 0.025).power(0.7, 400)) < 0.03


def test_censoring_changes_neither_curve_nor_ratio(tmp_path):
    of = trial(tmp_path, dropout=0.02, cutoff=30.0)
    found = replicate(pool(of), 1000, 1)
    assert abs(row(found, "old OS landmark 12").mean() - 0.5) < 0.01
    assert abs(np.log(row(found, "new : old OS hr")).mean() - math.log(0.7)) < 0.03
    # Deaths seen: of a patient who entered at e, P = r / (r + c) (1 - exp(-(r + c)(30 - e))), e even over 20 months.
    grid = 30.0 - np.linspace(0.0, 20.0, 2001)
    share = [(RATE * h / (RATE * h + 0.02) * (1 - np.exp(-(RATE * h + 0.02) * grid))).mean() for h in (0.7, 1.0)]
    assert abs(np.median(found.events[:, -2]) - 200 * sum(share)) < 5


def test_the_delay_of_scans_is_not_added_twice(tmp_path):
    of = trial(tmp_path, cutoff=200.0)
    written = pool(of, patients=2000)
    arms = enrol(written, 0, 3, 1)
    seen = observe.see(of, arms["old"], "TTP", np.full(3, 200.0))
    assert seen.event.any()
    # Seen times are the pool's own, scan by scan, and nothing in between.
    assert np.array_equal(seen.time[seen.event], arms["old"].columns["TTP/scan"][seen.event])
    assert np.all(np.mod(seen.time[seen.event], 2.0) == 0.0)


def test_a_window_moves_scans_both_ways_and_no_further(tmp_path):
    of = trial(tmp_path, cutoff=200.0, assessment="window_days: 7")
    arms = enrol(pool(of, patients=2000), 0, 5, 1)
    seen = observe.see(of, arms["old"], "TTP", np.full(5, 200.0))
    moved = (seen.time - arms["old"].columns["TTP/scan"])[seen.event]
    assert moved.min() < -0.2
    assert moved.max() > 0.2
    assert abs(moved.mean()) < 0.02
    assert np.abs(moved).max() <= 7 / (365.25 / 12)


def test_nothing_is_seen_after_the_last_scan_of_the_protocol(tmp_path):
    of = trial(tmp_path, cutoff=200.0, assessment="until_months: 6")
    arms = enrol(pool(of, patients=2000), 0, 2, 1)
    seen = observe.see(of, arms["old"], "TTP", np.full(2, 200.0))
    assert seen.time[seen.event].max() == 6.0
    deaths = observe.see(of, arms["old"], "OS", np.full(2, 200.0))
    assert deaths.event.all()


def test_progression_free_time_is_censored_at_the_last_scan_and_survival_is_not(tmp_path):
    of = trial(tmp_path, cutoff=25.3)
    arms = enrol(pool(of, patients=2000), 0, 2, 1)
    seen = observe.see(of, arms["old"], "PFS", np.full(2, 25.3))
    censored = seen.counted & ~seen.event
    assert censored.any()
    assert np.all(np.isclose(np.mod(seen.time[censored], 2.0), 0.0))
    alive = observe.see(of, arms["old"], "OS", np.full(2, 25.3))
    open_ = alive.counted & ~alive.event
    assert np.allclose(alive.time[open_], 25.3 - arms["old"].entry[open_])


def test_a_part_of_an_arm_is_its_first_patients(tmp_path):
    of = trial(tmp_path)
    arms = enrol(pool(of, patients=2000), 0, 4, 1)
    for r in range(4):
        assert np.array_equal(np.sort(arms["early"].entry[r]), np.sort(arms["old"].entry[r])[:50])


def test_the_second_half_may_enter_faster():
    of = load_trial("talentace")
    u = np.linspace(0.0, 1.0, 1001)
    entry = observe.entry_times(of.content.design, u, None)
    assert entry[0] == 0.0
    assert entry[-1] == 28.0
    assert np.median(entry) == 21.0  # half of the patients in the last 7 of 28 months
    assert np.all(np.diff(entry) > 0.0)
    assert median_cutoff(of, None) == 21.0 + 26.3


def numbered(of: Trial, patients: int, draws: int = 1) -> Pool:
    """A pool in which the month of the next line is the patient's number."""
    written = pool(of, patients=patients, draws=draws)
    for times in written.times.values():
        times[:, written.columns.index("next_line")] = np.arange(patients)
    return written


def test_patients_of_a_replicate_are_different_people(tmp_path):
    arms = enrol(numbered(trial(tmp_path), 400), 0, 3, 1)
    for r in range(3):
        both = np.concatenate([arms[name].columns["next_line"][r] for name in ("new", "old")])
        assert np.array_equal(np.sort(both), np.arange(400))
    with pytest.raises(InputError, match="--patients"):
        replicate(pool(trial(tmp_path), patients=300), 1, 1)


def test_only_the_randomised_of_the_own_draw_are_enrolled(tmp_path):
    written = numbered(trial(tmp_path), 1000, draws=2)
    for times in written.times.values():
        times[0, :, 500:], times[1, :, :500] = np.nan, np.nan
    arms = enrol(written, 0, 6, 1)
    for r in range(6):
        people = arms["new"].columns["next_line"][r]
        assert np.all(people < 500 if r % 2 == 0 else people >= 500)


def test_replicates_are_the_same_for_any_cut_and_number_of_threads(tmp_path, monkeypatch):
    written = pool(trial(tmp_path, dropout=0.01), patients=1500, draws=3)
    whole = replicate(written, 130, 9, threads=1)
    monkeypatch.setattr(replicates, "SHARD_REPLICATES", 50)
    pieces = replicate(written, 130, 9, threads=2)
    for name in ("values", "z", "events", "next_line", "curves"):
        assert np.array_equal(getattr(whole, name), getattr(pieces, name), equal_nan=True), name
    more = replicate(written, 200, 9)
    assert np.array_equal(more.values[:130], whole.values, equal_nan=True)
    assert not np.array_equal(replicate(written, 130, 10).values, whole.values, equal_nan=True)


def test_replicates_take_draws_in_turn(tmp_path):
    of = trial(tmp_path, cutoff=200.0)
    one, other = pool(of, hr=0.5, patients=3000), pool(of, hr=1.0, patients=3000)
    both = replace(
        one, times={arm: np.concatenate([one.times[arm], other.times[arm]]) for arm in one.times}, shift=np.zeros(2)
    )
    log_hr = np.log(row(replicate(both, 400, 1), "new : old OS hr"))
    assert abs(log_hr[0::2].mean() - math.log(0.5)) < 0.1
    assert abs(log_hr[1::2].mean()) < 0.1
    # The spread over all holds both: that between the draws and that within.
    assert log_hr.std() > 0.3


# ------------------------------------------------------------------------------------------------ expected statistics


def test_expected_statistics_are_those_of_many_trials(tmp_path):
    of = trial(tmp_path, dropout=0.01, cutoff=40.0)
    written = pool(of)
    one, many = expected(written), replicate(written, 1500, 1)
    for k, r in enumerate(one.rows):
        values = many.values[:, k]
        known = r.scale(values[np.isfinite(values) & (values > 0)])
        error = known.std() / math.sqrt(1500) + known.std() * math.sqrt(400 / PATIENTS)
        middle = float(known.mean())
        # A step of scans makes the median of trials lumpy; its expected logarithm is what is compared.
        assert abs(float(r.scale(one.values[k, 0])) - middle) < 5 * error + 0.01, r.name


def test_the_expected_median_of_a_curve_in_steps_is_smooth():
    # One step across one half: far above it the median lies beyond the step, far below it on it, and between it moves.
    times = np.array([2.0, 4.0])

    def at(level: float) -> float:
        n = 100
        survival = np.array([level, 0.01])
        return expected_median(times, survival, (1 - survival) / survival / n)[0]

    assert at(0.9) == pytest.approx(4.0, rel=1e-6)
    assert at(0.1) == pytest.approx(2.0, rel=1e-6)
    assert at(0.5) == pytest.approx(math.sqrt(8.0), rel=1e-6)
    assert at(0.45) < at(0.5) < at(0.55)
    # Never reached: half of the trials at most see it.
    value, reached = expected_median(np.array([3.0]), np.array([0.5]), np.array([0.01]))
    assert (value, reached) == (pytest.approx(3.0), pytest.approx(0.5))


# ------------------------------------------------------------------------------------------------------ open questions


def test_the_mechanism_with_a_constant_ratio_agrees_with_the_ratio_alone(tmp_path):
    of = trial(tmp_path, cutoff=60.0)
    question = of.content.sequential[0]
    for hr in (0.7, 1.0):
        answer = from_ratio(of, question)
        found = looks(pool(of, hr=hr), 0, 3000, 1, "looks")
        seen = from_mechanism(answer, found, 1)
        first = answer.design.crossing_probabilities(-math.log(hr) / math.sqrt(4 / 250))
        assert np.all(np.abs(seen.crossing - first) < 5 * np.sqrt(first * (1 - first) / 3000) + 0.02), hr
        assert np.all(seen.reached == 1.0)
        assert seen.hazard_ratio[-1, 1] == pytest.approx(hr, abs=0.03)
        # The ratio among the events to come is the constant one.
        assert seen.future_hr == pytest.approx(hr, abs=0.07)
        # Trials that looked like the published one at half the events go on as conditional power says.
        current = answer.current
        assert current is not None
        like = conditional_power(replace(current, log_se=math.sqrt(4 / 125)), 0.5, answer.design, hr)
        assert seen.alike > 50
        assert seen.given_alike == pytest.approx(like, abs=0.1)


def test_a_null_result_and_what_it_leaves_possible():
    # KEYNOTE-937: z = (log 1.06 - log 0.7) / 0.0916 = 4.53; log(1.06 / 0.9) / 0.0916 = 1.79, two-sided p 0.074.
    of = load_trial("keynote-937")
    answer = from_ratio(of, of.content.sequential[0], true=(0.85,))
    by_hr = {s.hr: s for s in answer.supposed}
    assert set(by_hr) == {0.7, 0.85, 0.9, 0.95, 1.0, 1.06}
    assert by_hr[0.7].compatibility is not None
    assert by_hr[0.7].compatibility.p_two_sided < 1e-5
    assert by_hr[0.9].compatibility is not None
    assert by_hr[0.9].compatibility.p_two_sided == pytest.approx(0.074, abs=0.002)
    assert by_hr[0.7].power > 0.95
    assert by_hr[0.95].observed[0] < 0.95 < by_hr[0.95].observed[2]
    assert answer.later is None


def test_an_immature_result_is_taken_at_its_fraction():
    of = load_trial("leap-012")
    answer = from_ratio(of, of.content.sequential[0])
    assert answer.later is not None
    assert answer.later.fractions == (0.75, 1.0)
    assert answer.later.no_effect < answer.later.current_trend < answer.later.planned


# ------------------------------------------------------------------------------------------------------------- summary


def test_inside_and_by_how_much(tmp_path):
    of = trial(tmp_path, cutoff=200.0)
    found = replicate(pool(of, hr=0.5), 400, 1)
    shown = predictions(found, {}, {"new": 200, "old": 200, "early": 50})
    contrast = next(p for p in shown if p.row.kind == "contrast")
    assert contrast.inside is False
    assert contrast.z > 2.0
    assert contrast.beyond == pytest.approx(0.7 - contrast.upper)
    assert contrast.significant > 0.99
    median = next(p for p in shown if p.row.name == "old OS median")
    assert median.inside is True
    assert median.beyond == 0.0
    assert abs(median.z) < 2.0
    assert 0.0 < median.mcse < 0.5


def test_quantiles_of_medians_that_are_not_reached():
    values = np.array([1.0, 2.0, np.inf, np.inf, np.nan])
    assert quantile(values, 0.0) == 1.0
    assert quantile(values, 1.0) == np.inf
    assert quantile(values, 1 / 6) == pytest.approx(1.5)
    assert math.isnan(quantile(np.array([np.nan]), 0.5))


# ---------------------------------------------------------------------------------------------------------- the engine


SMALL = 300


@pytest.fixture(scope="module")
def parameters():
    return load_parameters()


def test_a_pool_holds_the_histories_of_its_patients(parameters):
    # The slow way round: whole histories of the same patients, and the first mark of each set.
    of = load_trial("cares-009")
    ready = plan(of, parameters, patients=SMALL, seed=3, luck=0)
    found = simulate_trial(of, parameters, patients=SMALL, seed=3)
    from simhcc.analysis import unpacked

    part = next(k for k, p in enumerate(ready.parts) if p.arm == "surgery")
    cohort = {**ready.cohort, "trial_log_early": np.full(SMALL, ready.levels["early"][0])}
    values = {**ready.values, **{name: np.array([number]) for name, number in ready.parts[part].numbers.items()}}
    evaluation = unpacked(ready.parts[part].evaluation)
    marks = histories(evaluation, values, cohort, strategy=evaluation.ids[0], patients=SMALL, luck=0).marks

    def first(names: set[str]) -> np.ndarray:
        times = np.full(SMALL, np.inf)
        chosen = marks[marks["mark"].isin(names)]
        np.minimum.at(times, chosen["patient"].to_numpy(), chosen["time"].to_numpy())
        return times

    dead = {"dead_cancer", "dead_liver", "dead_treatment", "dead_other"}
    cleared = first({"cleared"})
    assert np.array_equal(found.column("surgery", "OS/now")[0], first(dead))
    assert np.array_equal(found.column("surgery", "EFS/scan")[0], first({"recurrence"}))
    now = first({"not_resected", "progression_forbids_surgery", *dead})
    assert np.array_equal(found.column("surgery", "EFS/now")[0], now)
    assert np.array_equal(found.column("surgery", "DFS/origin")[0], cleared)
    dfs = found.column("surgery", "DFS/now")[0]
    known = np.isfinite(cleared)
    assert np.array_equal(np.isnan(dfs), ~known)
    assert np.allclose(dfs[known] + cleared[known], first(dead)[known], atol=1e-9)
    # Recurrences are seen at the trial's scans, every third month from clearance.
    seen = found.column("surgery", "DFS/scan")[0]
    seen = seen[np.isfinite(seen)]
    assert seen.size > 50
    assert np.allclose(seen / 3.0, np.round(seen / 3.0), atol=1e-9)


def test_patients_and_draws_stand_for_themselves(parameters):
    of = load_trial("imbrave150")
    whole = simulate_trial(of, parameters, patients=SMALL, seed=3)
    later = simulate_trial(of, parameters, patients=SMALL - 100, seed=3, first_patient=100)
    for arm in whole.times:
        assert np.array_equal(whole.times[arm][:, :, 100:], later.times[arm], equal_nan=True)
    base = parameters.base_values()
    name = "post_progression.death_rate_rest_per_month"
    values = {k: np.repeat(np.asarray(v)[None], 2, axis=0) for k, v in base.items()}
    values[name] = np.array([float(base[name]), 2.0 * float(base[name])])
    two = simulate_trial(of, values, patients=SMALL, seed=3)
    for arm in whole.times:
        # Constant luck: a draw is what it would be alone.
        assert np.array_equal(two.times[arm][:1], whole.times[arm], equal_nan=True)
    lived = two.column("sorafenib", "OS/now").clip(max=120).mean(axis=1)
    assert lived[1] < lived[0] - 0.5
    psa = simulate_trial(of, values, patients=SMALL, seed=3, luck=None)
    assert np.array_equal(psa.times["sorafenib"][0], two.times["sorafenib"][0], equal_nan=True)
    assert not np.array_equal(psa.times["sorafenib"][1], two.times["sorafenib"][1], equal_nan=True)


def test_effects_levels_and_numbers_reach_the_patients(parameters):
    of = load_trial("imbrave150")
    whole = simulate_trial(of, parameters, patients=SMALL, seed=3)
    name = "OS/now"
    worse = simulate_trial(of, parameters, patients=SMALL, seed=3, effects={"death": math.log(2.0)})
    assert (
        worse.column("sorafenib", name).clip(max=120).mean()
        < 0.9 * whole.column("sorafenib", name).clip(max=120).mean()
    )
    level, base = "trial_level.imbrave150.log_death", parameters.base_values()
    fitted = {**base, level: base.get(level, 0.0) + math.log(2.0)}
    assert np.array_equal(
        simulate_trial(of, fitted, patients=SMALL, seed=3).times["sorafenib"], worse.times["sorafenib"]
    )
    faster = simulate_trial(of, parameters, patients=SMALL, seed=3, effects={"progression": math.log(3.0)})
    assert (
        faster.column("sorafenib", "PFS/scan").clip(max=60).mean()
        < whole.column("sorafenib", "PFS/scan").clip(max=60).mean()
    )
    with pytest.raises(InputError, match="one of early, progression, death"):
        simulate_trial(of, parameters, patients=SMALL, effects={"recurrence": 0.1})
    content = of.content.model_dump()
    content["arms"][1]["numbers"] = {"next_line.p_reach_fit": 0.0, "next_line.p_reach_intermediate": 0.0,
                                     "next_line.p_reach_unfit": 0.0, "next_line.country_increment": 0.0}  # fmt: skip
    content["design"]["allocation"] = list(content["design"]["allocation"])
    changed = replace(of, content=TrialModel.model_construct(**{**dict(of.content), "arms": [
        of.content.arms[0], of.content.arms[1].model_copy(update={"numbers": content["arms"][1]["numbers"]})]}))  # fmt: skip
    alone = simulate_trial(changed, parameters, patients=SMALL, seed=3)
    assert not np.isfinite(alone.column("sorafenib", "next_line")).any()
    assert np.array_equal(alone.times["atezo_bev"], whole.times["atezo_bev"], equal_nan=True)


def test_equal_arms_are_equal_patient_by_patient(parameters, tmp_path):
    path = tmp_path / "same.yaml"
    path.write_text(
        TRIAL.format(dropout=0.01, cutoff=40, assessment="window_days: 7").replace(
            "strategy: sorafenib", "strategy: atezo_bev"
        ),
        encoding="utf-8",
    )
    same = simulate_trial(load_trial(path), parameters, patients=SMALL, seed=3)
    assert np.array_equal(same.times["new"], same.times["old"], equal_nan=True)
    result = expected(same)
    assert np.allclose(result.values[-2:, 0], 1.0, atol=1e-9)


def test_a_run_in_selects_and_the_clock_starts_after_it(parameters):
    of = load_trial("talentop")
    found = simulate_trial(of, parameters, patients=2000, seed=3)
    chosen = ~np.isnan(found.column("resection", "OS/now")[0])
    assert 0.03 < chosen.mean() < 0.5
    # The same patients are randomised in both arms: nothing differs before.
    assert np.array_equal(chosen, ~np.isnan(found.column("continued", "OS/now")[0]))
    assert np.array_equal(chosen, ~np.isnan(found.column("resection", "TTF/scan")[0]))
    assert found.column("resection", "OS/now")[0][chosen].min() > 0.0
    assert replicates.eligible(found)[0].sum() == chosen.sum()


def test_a_mixed_arm_holds_its_shares(parameters):
    of = load_trial("checkmate-9dw")
    ready = plan(of, parameters, patients=1000, seed=3, luck=0)
    times = {k: np.full((1, len(ready.columns), 1000), float(k)) for k in range(len(ready.parts))}
    mixed = ready.pool(times).times["lenvatinib_or_sorafenib"]
    share = float((mixed == 1.0).mean())
    assert abs(share - 0.85) < 5 * math.sqrt(0.85 * 0.15 / 1000)
    assert set(np.unique(mixed)) == {1.0, 2.0}


def test_the_level_of_early_recurrence_is_the_trials_own(parameters):
    # Mean mass 0.581 of the patients: exp(-mass) is not the mean of exp(-mass), but the level moves it towards the target.
    of = load_trial("cares-009")
    ready = plan(of, parameters, patients=2000, seed=3, luck=0)
    from simhcc.pathway import risk
    from simhcc.trials.pools import of_patients

    columns = {**ready.cohort, "clearances": np.zeros(2000), "trial_log_early": np.full(2000, ready.levels["early"][0])}
    mass = np.exp(of_patients(risk.early_mass(after_conversion=False), columns, parameters.base_values())).mean()
    assert mass == pytest.approx(float(parameters.base_values()["recurrence.early_mass_trial_mix.cares_009"]), rel=1e-9)
