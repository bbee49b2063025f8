"""The compiled trial statistics against textbooks, lifelines, slow independent versions and closed forms."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from lifelines import AalenJohansenFitter, CoxPHFitter, KaplanMeierFitter
from lifelines.statistics import logrank_test
from lifelines.utils import median_survival_times, restricted_mean_survival_time
from pandas import DataFrame
from scipy.optimize import brentq
from scipy.stats import norm

from simhcc.errors import InputError
from simhcc.trials.statistics import (
    CoxStatus,
    TrialAnalysis,
    _analyse_block,
    analyse_replicates,
    apply_follow_up,
    event_cutoff,
    first_cause_incidence,
    kaplan_meier,
    observe_at_scans,
    scan_times,
)

CLOSE: dict[str, Any] = {"rtol": 0, "atol": 1e-8}

# Remission times in weeks of Freireich et al. 1963, the example of Cox 1972; minus means censored.
SIX_MP = [6, 6, 6, -6, 7, -9, 10, -10, -11, 13, 16, -17, -19, -20, 22, 23, -25, -32, -32, -34, -35]
PLACEBO = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]


def remission() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    signed = np.array(SIX_MP + PLACEBO, float)
    return np.abs(signed), signed > 0, np.repeat([1, 0], [len(SIX_MP), len(PLACEBO)])


def random_trial(seed: int, n: int = 240, ties: bool = True) -> dict[str, np.ndarray]:
    """Survival with unequal arms, drop-out, four strata of unequal hazards, and (rounded to 2 months) heavy ties."""
    rng = np.random.default_rng(seed)
    arm = (rng.random(n) < 0.6).astype(int)
    stratum = rng.integers(0, 4, n)
    time = rng.weibull(1.3, n) * 18.0 * 0.8**stratum * np.where(arm == 1, 1.3, 1.0)
    censored = rng.uniform(4.0, 40.0, n)
    event = time <= censored
    time = np.minimum(time, censored)
    if ties:
        time = 2.0 * np.ceil(time / 2.0)
    return {"time": time, "event": event, "arm": arm, "stratum": stratum}


def analyse(trial: dict[str, np.ndarray], **options: Any) -> TrialAnalysis:
    options = {"landmarks": (6.0, 12.0, 13.7, 24.0), "tau": 24.0, **options}
    return analyse_replicates(trial["time"], trial["event"], trial["arm"], **options)


def slow_log_rank(time: Any, event: Any, arm: Any, rho: float, gamma: float) -> tuple[float, float]:
    """Observed minus expected and its variance, from the 2 x 2 table of every event time, written out."""
    score = variance = 0.0
    survival = 1.0
    for t in sorted(set(time[event.astype(bool)])):
        risk = time >= t
        dead = (time == t) & event.astype(bool)
        n, n1, d, d1 = risk.sum(), (risk & (arm == 1)).sum(), dead.sum(), (dead & (arm == 1)).sum()
        weight = survival**rho * (1 - survival) ** gamma
        score += weight * (d1 - d * n1 / n)
        if n > 1:
            variance += weight**2 * d * n1 * (n - n1) * (n - d) / (n * n * (n - 1))
        survival *= 1 - d / n
    return score, variance


def slow_cox_score(beta: float, time: Any, event: Any, arm: Any, stratum: Any, efron: bool) -> float:
    """Derivative of the log partial likelihood, patient by patient."""
    score = 0.0
    for s in set(stratum):
        for t in set(time[(stratum == s) & (event == 1)]):
            risk = [math.exp(beta * a) for x, a, k in zip(time, arm, stratum, strict=True) if k == s and x >= t]
            risk1 = [math.exp(beta * a) * a for x, a, k in zip(time, arm, stratum, strict=True) if k == s and x >= t]
            dead = [a for x, e, a, k in zip(time, event, arm, stratum, strict=True) if k == s and x == t and e]
            for j in range(len(dead)):
                share = j / len(dead) if efron else 0.0
                top = sum(risk1) - share * sum(math.exp(beta * a) * a for a in dead)
                score += dead[j] - top / (sum(risk) - share * sum(math.exp(beta * a) for a in dead))
    return score


# -------------------------------------------------------------------------------------- published data


def test_remission_data_give_the_published_numbers() -> None:
    # Kaplan-Meier, log-rank 16.79 and medians 23 and 8: Kleinbaum & Klein, Survival Analysis, chapter 2;
    # Cox, control against drug: 1.509 (0.410) with Breslow's ties, 1.572 (0.412) with Efron's.
    times, events, arm = remission()
    efron = analyse_replicates(times, events, arm, landmarks=(5, 6, 7, 10, 23, 35), tau=35)
    assert efron.survival[0, 1] == pytest.approx([1, 0.8571, 0.8067, 0.7529, 0.4482, 0.4482], abs=5e-5)
    assert efron.survival_se[0, 1, 1] == pytest.approx(0.0764, abs=5e-5)
    assert efron.at_risk[0, 1].tolist() == [21, 21, 17, 15, 6, 1]
    assert efron.median[0].tolist() == [8, 23]
    assert efron.logrank_z[0] ** 2 == pytest.approx(16.79, abs=0.005)
    assert (-efron.log_hr[0], efron.log_hr_se[0]) == pytest.approx((1.572, 0.412), abs=5e-4)
    breslow = analyse_replicates(times, events, arm, landmarks=(), tau=35, ties="breslow")
    assert (-breslow.log_hr[0], breslow.log_hr_se[0]) == pytest.approx((1.509, 0.410), abs=5e-4)


def test_a_curve_worked_by_hand() -> None:
    # 1, 2, 2+, 3, 5+ : S = 4/5 at 1; 3 of 4 survive at 2; 1 of 2 at 3.
    curve = kaplan_meier([2, 1, 2, 3, 5], [1, 1, 0, 1, 0])
    assert curve.times.tolist() == [1, 2, 3]
    assert curve.at_risk.tolist() == [5, 4, 2]
    assert curve.survival == pytest.approx([0.8, 0.6, 0.3], rel=1e-15)
    assert curve.greenwood == pytest.approx([1 / 20, 1 / 20 + 1 / 12, 1 / 20 + 1 / 12 + 1 / 2], rel=1e-15)
    assert curve.median == 3
    assert curve.survival_at([0.5, 1, 2.5, 99]) == pytest.approx([1, 0.8, 0.6, 0.3], rel=1e-15)
    # Area to 4: 1 + 0.8 + 0.6 + 0.3; areas beyond the events at 1, 2, 3: 1.7, 0.9, 0.3.
    mean, se = curve.restricted_mean(4)
    assert mean == pytest.approx(2.7, rel=1e-15)
    assert se**2 == pytest.approx(1.7**2 / 20 + 0.9**2 / 12 + 0.3**2 / 2, rel=1e-14)


def test_a_survival_of_exactly_one_half_is_the_median() -> None:
    # (n - 1) / n x ... multiplies up to 0.5 with rounding; the half-way patient's time is the median for any even n.
    for n in range(2, 400, 2):
        assert kaplan_meier(np.arange(1.0, n + 1), np.ones(n)).median == n / 2


# ------------------------------------------------------------------------------------------- lifelines


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("ties", [True, False])
def test_curves_agree_with_lifelines(seed: Any, ties: Any) -> None:
    trial = random_trial(seed, ties=ties)
    result = analyse(trial)
    for a in (0, 1):
        mine = trial["arm"] == a
        fit = KaplanMeierFitter().fit(trial["time"][mine], trial["event"][mine])
        bands = fit.confidence_interval_survival_function_
        single = kaplan_meier(trial["time"][mine], trial["event"][mine])
        np.testing.assert_allclose(result.survival[0, a], fit.predict(result.landmarks), **CLOSE)
        np.testing.assert_allclose(single.survival_at(fit.timeline), fit.survival_function_.iloc[:, 0], **CLOSE)
        alive = fit.survival_function_.iloc[:, 0].to_numpy() > 0
        for got, column in zip(single.limits_at(fit.timeline), bands.columns, strict=True):
            np.testing.assert_allclose(got[alive], bands[column][alive], **CLOSE)
        rows = [bands.index.searchsorted(m, side="right") - 1 for m in result.landmarks]
        np.testing.assert_allclose(result.survival_lower[0, a], bands.iloc[rows, 0], **CLOSE)
        np.testing.assert_allclose(result.survival_upper[0, a], bands.iloc[rows, 1], **CLOSE)
        assert result.median[0, a] == single.median == fit.median_survival_time_
        limits = median_survival_times(bands.iloc[: int(alive.sum())]).to_numpy()[0]
        assert (result.median_lower[0, a], result.median_upper[0, a]) == tuple(limits) == single.median_limits
        mean = restricted_mean_survival_time(fit, t=24.0)
        assert result.rmst[0, a] == pytest.approx(mean, abs=1e-8)
        assert (result.rmst[0, a], result.rmst_se[0, a]) == single.restricted_mean(24.0)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("weights", [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (0.5, 2.0)])
def test_log_rank_agrees_with_lifelines(seed: Any, weights: Any) -> None:
    trial = random_trial(seed)
    in_arm = trial["arm"] == 1
    theirs = logrank_test(
        trial["time"][in_arm],
        trial["time"][~in_arm],
        trial["event"][in_arm],
        trial["event"][~in_arm],
        weightings="fleming-harrington",
        p=weights[0],
        q=weights[1],
    )
    mine = analyse(trial, weights=weights)
    assert mine.logrank_z[0] ** 2 == pytest.approx(theirs.test_statistic, rel=1e-8)
    assert mine.logrank_p[0] == pytest.approx(theirs.p_value, abs=1e-8)
    score, variance = slow_log_rank(trial["time"], trial["event"], trial["arm"], *weights)
    assert mine.logrank_score[0] == pytest.approx(score, abs=1e-10)
    assert mine.logrank_variance[0] == pytest.approx(variance, abs=1e-10)


@pytest.mark.parametrize("seed", range(4))
def test_stratified_log_rank_adds_the_strata(seed: Any) -> None:
    trial = random_trial(seed)
    parts = []
    for s in range(4):
        inside = trial["stratum"] == s
        parts.append(slow_log_rank(trial["time"][inside], trial["event"][inside], trial["arm"][inside], 0.0, 1.0))
    mine = analyse(trial, stratum=trial["stratum"], weights=(0.0, 1.0))
    assert (mine.logrank_score[0], mine.logrank_variance[0]) == pytest.approx(np.sum(parts, axis=0), abs=1e-10)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("stratified", [False, True])
def test_cox_agrees_with_lifelines(seed: Any, stratified: Any) -> None:
    trial = random_trial(seed)
    frame = DataFrame({k: trial[k].astype(float) for k in ("time", "event", "arm", "stratum")})
    if not stratified:
        frame = frame.drop(columns="stratum")
    fit = CoxPHFitter().fit(
        frame, "time", "event", strata=["stratum"] if stratified else None, fit_options={"precision": 1e-13}
    )
    mine = analyse(trial, stratum=trial["stratum"] if stratified else None)
    assert mine.log_hr[0] == pytest.approx(fit.params_["arm"], abs=1e-8)
    assert mine.log_hr_se[0] == pytest.approx(fit.standard_errors_["arm"], abs=1e-8)
    limits = fit.confidence_intervals_.loc["arm"].to_numpy()
    assert (mine.log_hr_lower[0], mine.log_hr_upper[0]) == pytest.approx(limits, abs=1e-8)
    assert mine.hazard_ratio[0] == pytest.approx(fit.hazard_ratios_["arm"], abs=1e-8)


@pytest.mark.parametrize("efron", [True, False])
@pytest.mark.parametrize("stratified", [False, True])
def test_cox_agrees_with_the_likelihood_written_out(efron: Any, stratified: Any) -> None:
    trial = random_trial(11, n=60)
    stratum = trial["stratum"] if stratified else np.zeros(60, int)
    data = (trial["time"], trial["event"], trial["arm"], stratum, efron)
    mine = analyse(trial, ties="efron" if efron else "breslow", stratum=stratum)
    root = brentq(slow_cox_score, -5, 5, args=data, xtol=1e-13)
    assert mine.log_hr[0] == pytest.approx(root, abs=1e-9)
    slope = (slow_cox_score(root - 1e-5, *data) - slow_cox_score(root + 1e-5, *data)) / 2e-5
    assert mine.log_hr_se[0] == pytest.approx(slope**-0.5, rel=1e-6)
    assert mine.cox_score[0] == pytest.approx(slow_cox_score(0.0, *data), abs=1e-10)


# ---------------------------------------------------------------------------------------- closed forms


def test_without_ties_the_cox_score_test_is_the_log_rank_test() -> None:
    trial = random_trial(3, ties=False)
    mine = analyse(trial)
    assert mine.cox_score[0] == pytest.approx(mine.logrank_score[0], abs=1e-10)
    assert mine.cox_information[0] == pytest.approx(mine.logrank_variance[0], abs=1e-10)


def test_without_censoring_restricted_mean_is_an_ordinary_mean() -> None:
    # The variance formula telescopes to the variance of min(T, tau) with divisor n, over n.
    rng = np.random.default_rng(5)
    time = np.ceil(rng.exponential(20.0, 151))
    mean, se = kaplan_meier(time, np.ones(151)).restricted_mean(36.0)
    capped = np.minimum(time, 36.0)
    assert mean == pytest.approx(capped.mean(), rel=1e-13)
    assert se == pytest.approx(math.sqrt(capped.var() / 151), rel=1e-12)


def test_plain_limits_are_survival_plus_minus_z_standard_errors() -> None:
    trial = random_trial(8)
    mine = analyse(trial, interval="plain", confidence=0.9)
    z = norm.ppf(0.95)
    np.testing.assert_allclose(mine.survival_lower, np.maximum(mine.survival - z * mine.survival_se, 0), rtol=1e-13)
    np.testing.assert_allclose(mine.survival_upper, np.minimum(mine.survival + z * mine.survival_se, 1), rtol=1e-13)
    np.testing.assert_allclose(mine.log_hr_upper - mine.log_hr, z * mine.log_hr_se, rtol=1e-12)
    # Brookmeyer & Crowley: the times whose survival does not differ from one half at the level.
    in_arm = trial["arm"] == 1
    curve = kaplan_meier(trial["time"][in_arm], trial["event"][in_arm], interval="plain", confidence=0.9)
    accepted = np.abs(curve.survival - 0.5) <= z * curve.survival * np.sqrt(curve.greenwood)
    assert mine.median_lower[0, 1] == curve.times[accepted].min()
    assert mine.median_upper[0, 1] == curve.times[np.flatnonzero(accepted)[-1] + 1]


def test_a_period_is_a_trial_of_those_who_entered_it() -> None:
    # The hazard ratio of months 12 to 24 is that of the patients still followed after 12, censored at 24.
    trial = random_trial(21, n=400)
    mine = analyse(trial, period_edges=(0, 12, 24, 36), stratum=trial["stratum"])
    for k, (start, stop) in enumerate([(-1, 12), (12, 24), (24, 36)]):
        later = trial["time"] > start
        part = {key: trial[key][later].copy() for key in trial}
        part["event"] &= part["time"] <= stop
        part["time"] = np.minimum(part["time"], stop)
        alone = analyse(part, stratum=part["stratum"])
        assert mine.period_log_hr[0, k] == pytest.approx(alone.log_hr[0], abs=1e-12)
        assert mine.period_se[0, k] == pytest.approx(alone.log_hr_se[0], abs=1e-12)
        assert mine.period_events[0, k].tolist() == alone.events[0].tolist()
    whole = analyse(trial, period_edges=(0, 1000), stratum=trial["stratum"])
    assert whole.period_log_hr[0, 0] == whole.log_hr[0]


def test_time_zero_belongs_to_the_first_period() -> None:
    result = analyse_replicates([0, 0, 1, 2], [1, 1, 1, 1], [0, 1, 0, 1], landmarks=(), tau=1, period_edges=(0, 1, 2))
    assert result.period_events[0].tolist() == [[2, 1], [0, 1]]
    late = analyse_replicates([0, 0, 1, 2], [1, 1, 1, 1], [0, 1, 0, 1], landmarks=(), tau=1, period_edges=(0.5, 2))
    assert late.period_events[0].tolist() == [[1, 1]]


def test_swapping_the_arms_turns_every_contrast_around() -> None:
    trial = random_trial(2)
    one = analyse(trial, stratum=trial["stratum"])
    two = analyse({**trial, "arm": 1 - trial["arm"]}, stratum=trial["stratum"])
    assert two.log_hr[0] == pytest.approx(-one.log_hr[0], abs=1e-12)
    assert two.logrank_z[0] == pytest.approx(-one.logrank_z[0], abs=1e-12)
    assert two.rmst_difference[0] == -one.rmst_difference[0]
    assert two.rmst_difference_se[0] == one.rmst_difference_se[0] == math.hypot(*one.rmst_se[0])
    assert two.median[0].tolist() == one.median[0, ::-1].tolist()


def test_competing_causes_share_what_survival_leaves() -> None:
    trial = random_trial(4, ties=False)
    rng = np.random.default_rng(4)
    cause = np.where(trial["event"], rng.integers(1, 3, trial["time"].size), 0)
    landmarks = (3.0, 9.0, 21.0, 33.0)
    first = first_cause_incidence(trial["time"], cause, trial["arm"], landmarks=landmarks)
    other = first_cause_incidence(trial["time"], np.array([0, 2, 1])[cause], trial["arm"], landmarks=landmarks)
    survival = analyse(trial, landmarks=landmarks).survival
    np.testing.assert_allclose(first + other + survival, 1.0, rtol=1e-13)
    in_arm = trial["arm"] == 1
    fit = AalenJohansenFitter(calculate_variance=False).fit(trial["time"][in_arm], cause[in_arm], 1)
    curve = fit.cumulative_density_.iloc[:, 0]
    expected = [curve.iloc[curve.index.searchsorted(m, side="right") - 1] for m in landmarks]
    np.testing.assert_allclose(first[0, 1], expected, **CLOSE)


def test_incidence_by_hand() -> None:
    # Arm 0: cause 1 at 1 (of 4), cause 2 at 2 and cause 1 at 2 (of 3): 1/4 + 3/4 x 1/3. Arm 1: nothing happens.
    times, causes, arm = [1, 2, 2, 9, 4, 4], [1, 2, 1, 0, 0, 0], [0, 0, 0, 0, 1, 1]
    result = first_cause_incidence(times, causes, arm, landmarks=(0.5, 1, 2, 20))
    assert result[0] == pytest.approx(np.array([[0, 0.25, 0.5, 0.5], [0, 0, 0, 0]]), rel=1e-15)


# ------------------------------------------------------------------------------------------ edge cases


def test_no_events_leaves_nothing_undefined_but_the_hazard_ratio() -> None:
    result = analyse_replicates([5, 6, 7, 8], [0, 0, 0, 0], [0, 1, 0, 1], landmarks=(1, 9), tau=10)
    assert result.survival.tolist() == [[[1, 1], [1, 1]]]
    assert result.survival_lower.tolist() == result.survival_upper.tolist() == [[[1, 1], [1, 1]]]
    assert result.at_risk.tolist() == [[[2, 0], [2, 0]]]
    assert np.all(np.isinf([result.median, result.median_lower, result.median_upper]))
    assert (result.rmst.tolist(), result.rmst_se.tolist()) == ([[10, 10]], [[0, 0]])
    assert (result.logrank_z[0], result.logrank_variance[0], result.logrank_p[0]) == (0, 0, 1)
    assert result.cox_status[0] == CoxStatus.NO_INFORMATION
    assert np.isnan(result.log_hr[0]) and np.isinf(result.log_hr_se[0])
    assert (result.log_hr_lower[0], result.log_hr_upper[0]) == (-np.inf, np.inf)


@pytest.mark.parametrize("with_events", [0, 1])
def test_events_in_one_arm_only_give_an_infinite_log_hazard_ratio(with_events: Any) -> None:
    arm = np.array([0, 1, 0, 1, 0, 1])
    result = analyse_replicates([1, 2, 3, 4, 5, 6], arm == with_events, arm, landmarks=(3,), tau=6)
    assert result.cox_status[0] == CoxStatus.MONOTONE
    assert result.hazard_ratio[0] == (np.inf if with_events else 0.0)
    assert (result.log_hr_lower[0], result.log_hr_upper[0]) == (-np.inf, np.inf)
    assert np.isfinite(result.logrank_z[0]) and result.logrank_z[0] != 0


def test_an_arm_that_outlives_the_other_gives_an_infinite_log_hazard_ratio() -> None:
    # Both arms have events, but the control's all come first: no event of arm 1 has a control at risk.
    result = analyse_replicates([1, 2, 3, 4], [1, 1, 1, 1], [0, 0, 1, 1], landmarks=(), tau=4)
    assert (result.cox_status[0], result.log_hr[0]) == (CoxStatus.MONOTONE, -np.inf)


def test_events_that_never_meet_the_other_arm_carry_no_information() -> None:
    # Arm 1 is censored before the first event.
    result = analyse_replicates([1, 1, 3, 4], [0, 0, 1, 1], [1, 1, 0, 0], landmarks=(), tau=4)
    assert (result.cox_status[0], result.logrank_variance[0], result.logrank_p[0]) == (CoxStatus.NO_INFORMATION, 0, 1)


def test_everybody_at_one_time() -> None:
    result = analyse_replicates([7] * 6, [1] * 6, [0, 1] * 3, landmarks=(6, 7), tau=10)
    assert result.survival[0].tolist() == [[1, 0], [1, 0]]
    assert result.survival_se[0].tolist() == [[0, 0], [0, 0]]
    assert result.survival_upper[0].tolist() == [[1, 1], [1, 1]]
    assert result.survival_lower[0].tolist() == [[1, 0], [1, 0]]
    assert result.median[0].tolist() == result.median_lower[0].tolist() == [7, 7]
    assert np.isinf(result.median_upper).all()
    assert (result.rmst[0].tolist(), result.rmst_se[0].tolist()) == ([7, 7], [0, 0])
    assert (result.log_hr[0], result.logrank_z[0], result.logrank_p[0]) == (0, 0, 1)


def test_one_patient() -> None:
    died = kaplan_meier([3], [1])
    assert (died.median, died.survival_at(3), died.survival_at(2.9)) == (3, 0, 1)
    assert died.median_limits == (3, np.inf)
    assert died.restricted_mean(5) == (3, 0)
    left = kaplan_meier([3], [0])
    assert (left.median, left.median_limits, left.survival_at(99), left.last_time) == (np.inf, (np.inf, np.inf), 1, 3)
    pair = analyse_replicates([1, 2], [1, 1], [0, 1], landmarks=(1,), tau=2)
    assert (pair.cox_status[0], pair.logrank_score[0]) == (CoxStatus.MONOTONE, -0.5)


def test_extreme_but_finite_hazard_ratios_converge() -> None:
    # Fifty of arm 1 die before the controls, but for one control who dies first and one of arm 1 who dies among them.
    time = np.concatenate([[0.5], np.full(50, 50.0), np.linspace(1.0, 2.0, 50), [49.0]])
    arm = np.repeat([0, 1], 51)
    event = np.ones(102)
    for ties in ("efron", "breslow"):
        result = analyse_replicates(time, event, arm, landmarks=(), tau=60, ties=ties)
        data = (time, event, arm, np.zeros(102, int), ties == "efron")
        assert result.cox_status[0] == CoxStatus.FITTED
        assert result.log_hr[0] > 4
        assert abs(slow_cox_score(result.log_hr[0], *data)) < 1e-9


def test_a_first_newton_step_of_a_thousand_is_survived() -> None:
    # Two patients against 3,000; both die, with one control between them. At a hazard ratio of 1 the information is
    # tiny, so Newton's first step is about 1,000. The score equation has three terms, written out here.
    time = np.concatenate([[1.0, 3.0, 2.0], np.full(2999, 50.0)])
    event = np.arange(3002) < 3
    arm = (np.arange(3002) < 2).astype(int)

    def score(r: float) -> float:
        return 2 - 2 * r / (2 * r + 3000) - r / (r + 3000) - r / (r + 2999)

    result = analyse_replicates(time, event, arm, landmarks=(), tau=60)
    assert result.log_hr[0] == pytest.approx(math.log(brentq(score, 1, 1e9, xtol=1e-9)), abs=1e-9)


# ------------------------------------------------------------------------------------- many replicates


def many(replicates: int = 37, n: int = 80) -> dict[str, np.ndarray]:
    trials = [random_trial(100 + k, n, ties=k % 2 == 0) for k in range(replicates)]
    return {key: np.array([t[key] for t in trials]) for key in trials[0]}


def fields(analysis: TrialAnalysis) -> dict[str, np.ndarray]:
    return {f.name: np.asarray(getattr(analysis, f.name)) for f in dataclasses.fields(analysis)}


SHARED = {"confidence", "landmarks", "tau", "period_edges"}


def test_replicates_do_not_touch_each_other_and_threads_change_nothing() -> None:
    trials = many()
    together = fields(analyse(trials, stratum=trials["stratum"], period_edges=(0, 6, 18), threads=1))
    for threads in (2, 5, 64):
        again = fields(analyse(trials, stratum=trials["stratum"], period_edges=(0, 6, 18), threads=threads))
        for name in together:
            np.testing.assert_array_equal(together[name], again[name], err_msg=name)
    for k in (0, 17, 36):
        one = {key: trials[key][k] for key in trials}
        alone = fields(analyse(one, stratum=one["stratum"], period_edges=(0, 6, 18)))
        for name in set(together) - SHARED:
            np.testing.assert_array_equal(together[name][k], alone[name][0], err_msg=name)


def test_patients_left_out_might_as_well_not_exist() -> None:
    trial = random_trial(9)
    inside = np.random.default_rng(9).random(trial["time"].size) < 0.7
    arm = np.where(inside, trial["arm"], -1)
    # Those not yet entered may have any time, also none.
    time = np.where(inside, trial["time"], np.inf)
    with_others = fields(analyse({**trial, "arm": arm, "time": time}, stratum=trial["stratum"]))
    without = {key: trial[key][inside] for key in trial}
    alone = fields(analyse(without, stratum=without["stratum"]))
    for name in alone:
        np.testing.assert_array_equal(with_others[name], alone[name], err_msg=name)


def test_one_row_of_arms_serves_all_replicates() -> None:
    trials = many()
    row, stratum = trials["arm"][0], trials["stratum"][0]
    short = analyse_replicates(trials["time"], trials["event"], row, stratum=stratum, landmarks=(6,), tau=24)
    full = analyse_replicates(
        trials["time"],
        trials["event"],
        np.tile(row, (37, 1)),
        stratum=np.tile(stratum, (37, 1)),
        landmarks=(6,),
        tau=24,
    )
    np.testing.assert_array_equal(short.log_hr, full.log_hr)


def test_read_only_transposed_and_other_inputs_are_understood() -> None:
    trials = many(8)
    analyse(trials)
    frozen = trials["time"].copy()
    frozen.setflags(write=False)
    compiled_before = len(getattr(_analyse_block, "signatures", ()))
    mine = analyse_replicates(frozen, trials["event"].astype(float), trials["arm"] == 1, landmarks=(6,), tau=24)
    turned = np.asfortranarray(trials["time"])
    again = analyse_replicates(turned, trials["event"].astype(int), trials["arm"], landmarks=(6,), tau=24)
    plain = analyse_replicates(trials["time"], trials["event"], trials["arm"], landmarks=(6,), tau=24)
    np.testing.assert_array_equal(mine.log_hr, plain.log_hr)
    np.testing.assert_array_equal(again.log_hr, plain.log_hr)
    # Nothing was compiled a second time for them.
    assert len(getattr(_analyse_block, "signatures", ())) == compiled_before


def null_trials(replicates: int, n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2024)
    time, censored = rng.exponential(20.0, (replicates, n)), rng.uniform(12.0, 36.0, (replicates, n))
    return {"time": np.minimum(time, censored), "event": time <= censored, "arm": np.arange(n) % 2}


def test_under_no_effect_the_statistics_have_their_nominal_behaviour() -> None:
    """Type-I error of the log-rank test and coverage of the hazard ratio, median, landmark and restricted mean.

    4,000 trials of 300. Each binomial count must lie within 4.9 standard deviations (a false alarm in a million) of
    5 %, widened by 1 point for the normal approximations themselves (at 1.5 points for the median). So an interval
    made with z = 1.6 in place of 1.96 is found: 11 % outside.
    """
    trials = null_trials(4000, 300)
    a = analyse(trials, landmarks=(12.0,), tau=24.0)
    slack = 4.9 * math.sqrt(0.05 * 0.95 / 4000) + 0.01
    true_survival, true_median = math.exp(-12.0 / 20.0), 20.0 * math.log(2.0)
    true_mean = 20.0 * (1.0 - math.exp(-24.0 / 20.0))
    outside = {
        "log-rank": np.mean(a.logrank_p < 0.05),
        "hazard ratio": 1 - np.mean((a.log_hr_lower < 0) & (a.log_hr_upper > 0)),
        "landmark": 1 - np.mean((a.survival_lower < true_survival) & (a.survival_upper > true_survival)),
        "restricted mean": np.mean(np.abs(a.rmst - true_mean) > 1.959964 * a.rmst_se),
        "difference": np.mean(np.abs(a.rmst_difference) > 1.959964 * a.rmst_difference_se),
    }
    for name, share in outside.items():
        assert abs(share - 0.05) < slack, name
    median = 1 - np.mean((a.median_lower < true_median) & (a.median_upper > true_median))
    assert abs(median - 0.05) < slack + 0.005
    too_narrow = np.mean(np.abs(a.log_hr) > 1.6 * a.log_hr_se)
    assert abs(too_narrow - 0.05) > slack


# ----------------------------------------------------------------------------------- what a trial sees


def test_progression_waits_for_the_next_scan_and_death_does_not() -> None:
    schedule = [2.0, 4.0, 6.0]
    latent = np.array([1.0, 2.0, 2.1, 5.0, 6.5, np.inf, 3.0])
    death = np.array([9.0, 9.0, 3.0, np.inf, 8.0, np.inf, 4.0])
    seen = observe_at_scans(latent, death, schedule)
    assert seen.time.tolist() == [2.0, 2.0, 3.0, 6.0, 8.0, np.inf, 4.0]
    assert seen.event.tolist() == [1, 1, 2, 1, 2, 0, 2]


def test_the_delay_is_never_added_twice() -> None:
    rng = np.random.default_rng(6)
    latent, death = rng.exponential(9.0, (50, 40)), rng.exponential(30.0, (50, 40))
    schedule = scan_times([(1.5, 12.0), (3.0, np.inf)], 120.0)
    once = observe_at_scans(latent, death, schedule)
    again = observe_at_scans(np.where(once.event == 1, once.time, np.inf), death, schedule)
    np.testing.assert_array_equal(again.time, once.time)
    np.testing.assert_array_equal(again.event, once.event)
    # Scan dates computed another way differ in the last bits and must not slip to the following scan.
    shifted = observe_at_scans(np.where(once.event == 1, once.time * (1 + 4e-15), np.inf), death, schedule)
    np.testing.assert_array_equal(shifted.time, once.time)
    assert np.all(once.time <= death) and np.all(once.time >= np.minimum(latent, death))


def test_scan_times_follow_the_phases() -> None:
    # Six-weekly to week 54, then nine-weekly.
    weeks = scan_times([(6, 54), (9, np.inf)], 80)
    assert weeks.tolist() == [6, 12, 18, 24, 30, 36, 42, 48, 54, 63, 72]
    # Eight-weekly for a year, then twelve-weekly from the last scan; 0.1 x 3 must still count as within 0.3.
    assert scan_times([(8, 52), (12, np.inf)], 75).tolist() == [8, 16, 24, 32, 40, 48, 60, 72]
    assert scan_times([(0.1, np.inf)], 0.3).size == 3


def test_follow_up_ends_at_cut_off_or_drop_out() -> None:
    event = np.array([5.0, 5.0, 5.0, np.inf, 5.0, 5.0])
    entry = np.array([0.0, 6.0, 12.0, 2.0, 0.0, 5.0])
    dropout = np.array([np.inf, np.inf, np.inf, np.inf, 4.0, np.inf])
    seen = apply_follow_up(event, entry, 10.0, dropout)
    assert seen.time.tolist() == [5.0, 4.0, 0.0, 8.0, 4.0, 5.0]
    assert seen.event.tolist() == [True, False, False, False, False, True]
    assert seen.entered.tolist() == [True, True, False, True, True, True]


def test_censoring_can_go_back_to_the_last_scan() -> None:
    seen = apply_follow_up([50.0, 50.0, 50.0, 3.5], [0.0, 5.0, 9.5, 0.0], 10.0, last_assessment=[2.0, 4.0, 6.0, 8.0])
    assert seen.time.tolist() == [8.0, 4.0, 0.0, 3.5]
    assert seen.event.tolist() == [False, False, False, True]


def test_a_cut_off_per_replicate() -> None:
    event, entry = np.full((3, 2), 6.0), np.zeros((3, 2))
    seen = apply_follow_up(event, entry, np.array([[5.0], [6.0], [7.0]]))
    assert seen.event.tolist() == [[False, False], [True, True], [True, True]]
    assert seen.time.tolist() == [[5.0, 5.0], [6.0, 6.0], [6.0, 6.0]]


def test_the_cut_off_comes_with_the_kth_event() -> None:
    event = np.array([[1.0, 2.0, 3.0, np.inf], [4.0, 4.0, 4.0, 4.0]])
    entry = np.array([[9.0, 0.0, 1.0, 0.0], [0.0, 1.0, 2.0, 3.0]])
    assert event_cutoff(event, entry, 2).tolist() == [4.0, 5.0]
    assert event_cutoff(event, entry, 4).tolist() == [np.inf, 7.0]
    assert event_cutoff(event, entry, 5).tolist() == [np.inf, np.inf]
    dropout = np.array([[np.inf, 1.0, np.inf, np.inf], [4.0, 3.9, 9.0, 9.0]])
    assert event_cutoff(event, entry, 2, dropout).tolist() == [10.0, 6.0]


def test_follow_up_to_the_kth_event_sees_k_events() -> None:
    # (entry + time) - entry is not always time: the event that sets the cut-off must not be lost by rounding.
    rng = np.random.default_rng(12)
    event, entry = rng.exponential(20.0, (200, 90)), rng.uniform(0.0, 24.0, (200, 90))
    for k in (1, 30, 90):
        cut = event_cutoff(event, entry, k)
        assert np.all(apply_follow_up(event, entry, cut[:, None]).event.sum(axis=1) == k)


# ------------------------------------------------------------------------------------------- bad input

GOOD: dict[str, Any] = {"times": [1, 2, 3], "events": [1, 1, 0], "arm": [0, 1, 1], "landmarks": (1, 2), "tau": 3}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"times": [1, -2, 3]}, "time -2.0 of patient 1"),
        ({"times": [1, np.nan, 3]}, "time nan of patient 1"),
        ({"times": [1, np.inf, 3]}, "apply_follow_up"),
        ({"times": []}, "neither of them 0"),
        ({"events": [1, 1]}, "shape [1, 3]"),
        ({"events": [1, 2, 0]}, "codes 0 to 1"),
        ({"events": [1, 0.5, 0]}, "whole numbers"),
        ({"arm": [0, 1, 2]}, "codes -1 to 1"),
        ({"arm": [0, 0, -1]}, "replicate 0 with an empty arm"),
        ({"arm": [[0, 1, 1], [0, 1, 1]]}, "shape [1, 3]"),
        ({"stratum": [0, 1, -1]}, "stratum"),
        ({"landmarks": (2, 1)}, "rising"),
        ({"landmarks": (-1, 1)}, "rising, finite months from 0"),
        ({"period_edges": (12,)}, "at least 2"),
        ({"period_edges": (12, 12)}, "rising"),
        ({"tau": 0}, "positive"),
        ({"ties": "exact"}, "'efron' or 'breslow'"),
        ({"weights": (-1, 0)}, "exponents"),
        ({"interval": "log"}, "'log-log' or 'plain'"),
        ({"confidence": 95}, "between 0 and 1"),
        ({"threads": 0}, "at least 1"),
    ],
)
def test_wrong_input_is_refused_with_what_is_allowed(change: Any, words: Any) -> None:
    analyse_replicates(**GOOD)
    with pytest.raises(InputError) as error:
        analyse_replicates(**{**GOOD, **change})
    assert words in str(error.value)


def test_an_empty_arm_is_reported_with_its_replicate() -> None:
    trials = many(20)
    trials["arm"][13] = 1
    with pytest.raises(InputError, match="replicate 13"):
        analyse(trials)
    with pytest.raises(InputError, match="replicate 13"):
        first_cause_incidence(trials["time"], trials["event"], trials["arm"], landmarks=(1,))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: observe_at_scans([1.0], [1.0, 2.0], [3.0]), "one shape"),
        (lambda: observe_at_scans([-1.0], [1.0], [3.0]), "negative"),
        (lambda: observe_at_scans([1.0], [np.nan], [3.0]), "negative or missing"),
        (lambda: observe_at_scans([1.0], [1.0], []), "at least 1"),
        (lambda: observe_at_scans([1.0], [1.0], [3.0, 2.0]), "rising"),
        (lambda: apply_follow_up([1.0], [-1.0], 5.0), "negative"),
        (lambda: apply_follow_up([1.0], [np.inf], 5.0), "infinite entry"),
        (lambda: apply_follow_up([1.0, 2.0], [1.0, 2.0, 3.0], 5.0), "broadcast"),
        (lambda: event_cutoff([1.0], [0.0], 0), "at least 1"),
        (lambda: event_cutoff([np.nan], [0.0], 1), "missing"),
        (lambda: event_cutoff([1.0], [-1.0], 1), "negative"),
        (lambda: event_cutoff([1.0, 2.0], [1.0, 2.0, 3.0], 1), "broadcast"),
        (lambda: scan_times([(0.0, 12.0)], 24.0), "positive interval"),
        (lambda: scan_times([(2.0, 12.0), (3.0, 12.0)], 24.0), "an end after"),
        (lambda: scan_times([], 24.0), "no phases"),
        (lambda: scan_times([(2.0, 12.0)], np.inf), "horizon"),
        (lambda: kaplan_meier([[1.0], [2.0]], [[1], [1]]), "one sample"),
        (lambda: kaplan_meier([1.0], [1]).restricted_mean(-1.0), "positive"),
    ],
)
def test_wrong_follow_up_is_refused(call: Any, words: Any) -> None:
    with pytest.raises(InputError) as error:
        call()
    assert words in str(error.value)
