"""The statistics of a two-arm survival trial, compiled, for many replicates at once.

What a trialist computes from one trial is computed here for each of many simulated ones: Kaplan-Meier curves with
medians and landmarks, restricted mean survival, the (stratified, weighted) log-rank test, and the Cox model with
treatment as its only covariate. `analyse_replicates` is the driver; `kaplan_meier` gives one curve in full;
`first_cause_incidence` is the Aalen-Johansen estimate. `observe_at_scans`, `apply_follow_up` and `event_cutoff` turn
exact event times into what a trial sees.

Conventions, the same in every function:

- Times are months from the patient's time zero. An event and a censoring at the same time: the event comes first.
- Arm 1 is the experimental arm, arm 0 the control; hazard ratios below 1, and negative log-rank scores and z, favour
  arm 1. A patient with arm -1 takes no part in the comparison.
- A curve is carried flat beyond its arm's last follow-up; `at_risk` 0 and `last_time` say where that happens.
- A median or a limit that is not reached is infinite.

No number leaves silently undefined: each field says what it holds when the data cannot answer.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from simhcc.engine.compiled import compiled, compiling
from simhcc.errors import InputError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer[Any]]
BoolArray = npt.NDArray[np.bool_]

# Two times closer than this (months; a few milliseconds) are one: scan dates come from sums of floating-point numbers.
TIME_TOLERANCE = 1e-9

# A survival of one half is a product of fractions and may miss 0.5 by rounding.
_HALF = 0.5 + 1e-12


class CoxStatus(IntEnum):
    """What a Cox fit can say about the hazard ratio."""

    FITTED = 0
    """The estimate is finite."""
    MONOTONE = 1
    """Only one arm has events while both are at risk: the estimate is 0 or infinite, its standard error infinite."""
    NO_INFORMATION = 2
    """No event happened while both arms were at risk: the log hazard ratio is NaN, its standard error infinite."""


class _Arm(IntEnum):
    N = 0
    EVENTS = 1
    MEDIAN = 2
    MEDIAN_LOWER = 3
    MEDIAN_UPPER = 4
    RMST = 5
    RMST_SE = 6
    LAST_TIME = 7


class _Landmark(IntEnum):
    SURVIVAL = 0
    SE = 1
    LOWER = 2
    UPPER = 3
    AT_RISK = 4


class _Contrast(IntEnum):
    LOGRANK_SCORE = 0
    LOGRANK_VARIANCE = 1
    LOG_HR = 2
    SE = 3
    COX_SCORE = 4
    COX_INFORMATION = 5
    STATUS = 6


class _Period(IntEnum):
    LOG_HR = 0
    SE = 1
    STATUS = 2
    EVENTS_CONTROL = 3
    EVENTS_EXPERIMENTAL = 4


class _Curve(IntEnum):
    """Rows of a Kaplan-Meier curve, one column per distinct event time."""

    TIME = 0
    RISK = 1
    EVENTS = 2
    SURVIVAL = 3
    GREENWOOD = 4


class _Table(IntEnum):
    """Rows of the table behind log-rank and Cox, one column per stratum and distinct event time."""

    TIME = 0
    D0 = 1
    D1 = 2
    N0 = 3
    N1 = 4
    WEIGHT = 5


# Compiled code cannot count the members of a class.
_CURVE_ROWS = len(_Curve)
_TABLE_ROWS = len(_Table)


class _Data(NamedTuple):
    time: FloatArray
    event: IntArray
    arm: IntArray
    stratum: IntArray


class _Method(NamedTuple):
    n_strata: int
    tau: float
    rho: float
    gamma: float
    efron: bool
    z: float
    log_log: bool


class _Results(NamedTuple):
    arm: FloatArray
    landmark: FloatArray
    contrast: FloatArray
    period: FloatArray


# ------------------------------------------------------------------------------------------------ compiled primitives


@compiled
def _sort_by_time(time: Any, row: int, order: Any, scratch: Any, count: int) -> None:
    """Sort the positions order[:count] by time[row, position]; equal times keep their order."""
    run = 16
    for start in range(0, count, run):
        for i in range(start + 1, min(start + run, count)):
            position = order[i]
            key = time[row, position]
            j = i
            while j > start and time[row, order[j - 1]] > key:
                order[j] = order[j - 1]
                j -= 1
            order[j] = position
    while run < count:
        for start in range(0, count, 2 * run):
            middle = min(start + run, count)
            stop = min(start + 2 * run, count)
            left, right = start, middle
            for k in range(start, stop):
                if left < middle and (right >= stop or time[row, order[left]] <= time[row, order[right]]):
                    scratch[k] = order[left]
                    left += 1
                else:
                    scratch[k] = order[right]
                    right += 1
        for k in range(count):
            order[k] = scratch[k]
        run *= 2


@compiled
def _fill_curve(time: Any, event: Any, count: int, curve: Any) -> int:
    """Kaplan-Meier estimate of sorted times; returns the number of distinct event times written.

    GREENWOOD is the sum of d / (n (n - d)), so the variance of the survival is survival^2 times it; it becomes
    infinite where the survival reaches 0.
    """
    steps = 0
    survival = 1.0
    green = 0.0
    i = 0
    while i < count:
        now = time[i]
        risk = count - i
        deaths = 0
        while i < count and time[i] == now:
            deaths += int(event[i])
            i += 1
        if deaths > 0:
            survival *= (risk - deaths) / risk
            green += deaths / (risk * (risk - deaths)) if deaths < risk else np.inf
            curve[_Curve.TIME, steps] = now
            curve[_Curve.RISK, steps] = risk
            curve[_Curve.EVENTS, steps] = deaths
            curve[_Curve.SURVIVAL, steps] = survival
            curve[_Curve.GREENWOOD, steps] = green
            steps += 1
    return steps


@compiled
def _limit(curve: Any, step: int, z: float, log_log: bool) -> float:
    """Pointwise confidence limit of the survival after event time `step`; z < 0 the lower one, z > 0 the upper one.

    Before the first event both limits are 1. Where the survival is 0 the lower limit is 0 and the upper one, which
    has no formula there, stays at its last value.
    """
    if step >= 0 and curve[_Curve.SURVIVAL, step] <= 0.0:
        if z < 0.0:
            return 0.0
        step -= 1
    if step < 0:
        return 1.0
    survival = curve[_Curve.SURVIVAL, step]
    se = math.sqrt(curve[_Curve.GREENWOOD, step])
    if log_log:
        return survival ** math.exp(z * se / math.log(survival))
    return min(1.0, max(0.0, survival + z * survival * se))


@compiled
def _median(curve: Any, steps: int) -> float:
    for step in range(steps):
        if curve[_Curve.SURVIVAL, step] <= _HALF:
            return curve[_Curve.TIME, step]
    return np.inf


@compiled
def _median_limit(curve: Any, steps: int, z: float, log_log: bool) -> float:
    """First event time at which the pointwise limit is at or below one half (Brookmeyer & Crowley 1982)."""
    for step in range(steps):
        if _limit(curve, step, z, log_log) <= _HALF:
            return curve[_Curve.TIME, step]
    return np.inf


@compiled
def _restricted_mean(curve: Any, steps: int, tau: float) -> tuple[float, float]:
    """Area under the curve to tau and its variance, the sum over event times before tau of A^2 d / (n (n - d)).

    A is the area between the event time and tau. The term of an event that leaves nobody is 0: its A is 0.
    """
    area = 0.0
    before = 0.0
    survival = 1.0
    used = 0
    while used < steps and curve[_Curve.TIME, used] < tau:
        area += survival * (curve[_Curve.TIME, used] - before)
        before = curve[_Curve.TIME, used]
        survival = curve[_Curve.SURVIVAL, used]
        used += 1
    rest = survival * (tau - before)
    area += rest
    variance = 0.0
    for step in range(used - 1, -1, -1):
        risk, deaths = curve[_Curve.RISK, step], curve[_Curve.EVENTS, step]
        if deaths < risk:
            variance += rest * rest * deaths / (risk * (risk - deaths))
        if step > 0:
            rest += curve[_Curve.SURVIVAL, step - 1] * (curve[_Curve.TIME, step] - curve[_Curve.TIME, step - 1])
    return area, variance


@compiled
def _fill_table(
    data: _Data, r: int, order: Any, first: int, last: int, rho: float, gamma: float, table: Any, size: int
) -> int:
    """Append one column per distinct event time of one stratum (order[first:last], sorted); returns the new size.

    The weight is Fleming and Harrington's S(t-)^rho (1 - S(t-))^gamma, S the stratum's curve of both arms together.
    """
    arm_row = r if data.arm.shape[0] > 1 else 0
    n1 = 0
    for i in range(first, last):
        n1 += int(data.arm[arm_row, order[i]])
    n0 = last - first - n1
    survival = 1.0
    i = first
    while i < last:
        now = data.time[r, order[i]]
        d0 = d1 = left0 = left1 = 0
        while i < last and data.time[r, order[i]] == now:
            position = order[i]
            if data.arm[arm_row, position] == 1:
                left1 += 1
                d1 += int(data.event[r, position])
            else:
                left0 += 1
                d0 += int(data.event[r, position])
            i += 1
        if d0 + d1 > 0:
            table[_Table.TIME, size] = now
            table[_Table.D0, size] = d0
            table[_Table.D1, size] = d1
            table[_Table.N0, size] = n0
            table[_Table.N1, size] = n1
            table[_Table.WEIGHT, size] = survival**rho * (1.0 - survival) ** gamma
            size += 1
            survival *= (n0 + n1 - d0 - d1) / (n0 + n1)
        n0 -= left0
        n1 -= left1
    return size


@compiled
def _log_rank(table: Any, size: int) -> tuple[float, float]:
    """Weighted observed minus expected events of arm 1, and its hypergeometric variance (Mantel 1966)."""
    score = 0.0
    variance = 0.0
    for k in range(size):
        n = table[_Table.N0, k] + table[_Table.N1, k]
        d = table[_Table.D0, k] + table[_Table.D1, k]
        share = table[_Table.N1, k] / n
        weight = table[_Table.WEIGHT, k]
        score += weight * (table[_Table.D1, k] - d * share)
        if n > 1.0:
            variance += weight * weight * d * share * (1.0 - share) * (n - d) / (n - 1.0)
    return score, variance


@compiled
def _cox_derivatives(
    beta: float, table: Any, size: int, after: float, until: float, efron: bool
) -> tuple[float, float]:
    """First and minus the second derivative of the log partial likelihood over events in (after, until]."""
    ratio = math.exp(beta)
    score = 0.0
    information = 0.0
    for k in range(size):
        if table[_Table.TIME, k] <= after or table[_Table.TIME, k] > until:
            continue
        d0, d1 = table[_Table.D0, k], table[_Table.D1, k]
        score += d1
        for tied in range(int(d0 + d1)):
            # Efron: the tied deaths leave the risk set one by one, each as the average of them.
            gone = tied / (d0 + d1) if efron else 0.0
            risk1 = (table[_Table.N1, k] - gone * d1) * ratio
            risk0 = table[_Table.N0, k] - gone * d0
            share = risk1 / (risk0 + risk1)
            score -= share
            information += share * (risk0 / (risk0 + risk1))
    return score, information


@compiled
def _cox(table: Any, size: int, after: float, until: float, efron: bool) -> tuple[float, float, int]:
    """Log hazard ratio, its standard error, and the status of the fit, from events in (after, until]."""
    # As the log hazard ratio runs from minus to plus infinity the score falls from contrast1 to -contrast0, so the
    # maximum is finite only if both are positive. An event while the other arm has nobody at risk adds nothing.
    contrast1 = 0.0
    contrast0 = 0.0
    for k in range(size):
        inside = table[_Table.TIME, k] > after and table[_Table.TIME, k] <= until
        if inside and table[_Table.N0, k] > 0.0 and table[_Table.N1, k] > 0.0:
            contrast1 += table[_Table.D1, k]
            contrast0 += table[_Table.D0, k]
    if contrast0 + contrast1 == 0.0:
        return np.nan, np.inf, CoxStatus.NO_INFORMATION.value
    if contrast1 == 0.0:
        return -np.inf, np.inf, CoxStatus.MONOTONE.value
    if contrast0 == 0.0:
        return np.inf, np.inf, CoxStatus.MONOTONE.value
    # The score falls with beta, so every evaluation brackets the root; Newton's step is halved where it would leave.
    beta = 0.0
    low, high = -100.0, 100.0
    for _ in range(200):
        score, information = _cox_derivatives(beta, table, size, after, until, efron)
        if score > 0.0:
            low = beta
        else:
            high = beta
        proposal = beta + score / information if information > 0.0 else np.nan
        if not (low <= proposal <= high):
            proposal = 0.5 * (low + high)
        step = proposal - beta
        beta = proposal
        if abs(step) <= 1e-12 * (1.0 + abs(beta)):
            break
    _, information = _cox_derivatives(beta, table, size, after, until, efron)
    return beta, 1.0 / math.sqrt(information), CoxStatus.FITTED.value


@compiled
def _analyse_arm(
    time: Any, event: Any, count: int, curve: Any, landmarks: Any, method: _Method, out: _Results, r: int, a: int
) -> None:
    """Curve, median, restricted mean and landmarks of one arm, from its sorted times."""
    steps = _fill_curve(time, event, count, curve)
    z, log_log = method.z, method.log_log
    area, variance = _restricted_mean(curve, steps, method.tau)
    out.arm[r, a, _Arm.N] = count
    out.arm[r, a, _Arm.EVENTS] = np.sum(curve[_Curve.EVENTS, :steps])
    out.arm[r, a, _Arm.MEDIAN] = _median(curve, steps)
    out.arm[r, a, _Arm.MEDIAN_LOWER] = _median_limit(curve, steps, -z, log_log)
    out.arm[r, a, _Arm.MEDIAN_UPPER] = _median_limit(curve, steps, z, log_log)
    out.arm[r, a, _Arm.RMST] = area
    out.arm[r, a, _Arm.RMST_SE] = math.sqrt(variance)
    out.arm[r, a, _Arm.LAST_TIME] = time[count - 1]
    step = -1
    gone = 0
    for k in range(landmarks.shape[0]):
        while step + 1 < steps and curve[_Curve.TIME, step + 1] <= landmarks[k]:
            step += 1
        while gone < count and time[gone] < landmarks[k]:
            gone += 1
        survival = curve[_Curve.SURVIVAL, step] if step >= 0 else 1.0
        # Greenwood's sum is infinite where the survival is 0; the standard error is then 0, not 0 times infinity.
        se = survival * math.sqrt(curve[_Curve.GREENWOOD, step]) if step >= 0 and survival > 0.0 else 0.0
        out.landmark[r, a, k, _Landmark.SURVIVAL] = survival
        out.landmark[r, a, k, _Landmark.SE] = se
        out.landmark[r, a, k, _Landmark.LOWER] = _limit(curve, step, -z, log_log)
        out.landmark[r, a, k, _Landmark.UPPER] = _limit(curve, step, z, log_log)
        out.landmark[r, a, k, _Landmark.AT_RISK] = count - gone


@compiled
def _analyse_contrast(table: Any, size: int, edges: Any, method: _Method, out: _Results, r: int) -> None:
    """Log-rank test, Cox model, and a Cox model for each period, from the table of event times."""
    score, variance = _log_rank(table, size)
    out.contrast[r, _Contrast.LOGRANK_SCORE] = score
    out.contrast[r, _Contrast.LOGRANK_VARIANCE] = variance
    score, information = _cox_derivatives(0.0, table, size, -np.inf, np.inf, method.efron)
    beta, se, status = _cox(table, size, -np.inf, np.inf, method.efron)
    out.contrast[r, _Contrast.LOG_HR] = beta
    out.contrast[r, _Contrast.SE] = se
    out.contrast[r, _Contrast.COX_SCORE] = score
    out.contrast[r, _Contrast.COX_INFORMATION] = information
    out.contrast[r, _Contrast.STATUS] = status
    for p in range(edges.shape[0] - 1):
        after = edges[p] if edges[p] > 0.0 else -np.inf
        until = edges[p + 1]
        beta, se, status = _cox(table, size, after, until, method.efron)
        d0 = 0.0
        d1 = 0.0
        for k in range(size):
            if table[_Table.TIME, k] > after and table[_Table.TIME, k] <= until:
                d0 += table[_Table.D0, k]
                d1 += table[_Table.D1, k]
        out.period[r, p, _Period.LOG_HR] = beta
        out.period[r, p, _Period.SE] = se
        out.period[r, p, _Period.STATUS] = status
        out.period[r, p, _Period.EVENTS_CONTROL] = d0
        out.period[r, p, _Period.EVENTS_EXPERIMENTAL] = d1


@compiled
def _analyse_block(
    data: _Data, landmarks: Any, edges: Any, method: _Method, first: int, last: int, out: _Results
) -> int:
    """Analyse replicates first..last-1; returns -1, or the first replicate that has an empty arm."""
    n = data.time.shape[1]
    order, scratch = np.empty(n, np.int64), np.empty(n, np.int64)
    arm_time, arm_event = np.empty(n), np.empty(n, np.int64)
    curve, table = np.empty((_CURVE_ROWS, n)), np.empty((_TABLE_ROWS, n))
    ends = np.empty(method.n_strata + 1, np.int64)
    for r in range(first, last):
        arm_row = r if data.arm.shape[0] > 1 else 0
        stratum_row = r if data.stratum.shape[0] > 1 else 0
        count = 0
        for i in range(n):
            if data.arm[arm_row, i] >= 0:
                order[count] = i
                count += 1
        _sort_by_time(data.time, r, order, scratch, count)

        for a in range(2):
            size = 0
            for i in range(count):
                if data.arm[arm_row, order[i]] == a:
                    arm_time[size] = data.time[r, order[i]]
                    arm_event[size] = data.event[r, order[i]]
                    size += 1
            if size == 0:
                return r
            _analyse_arm(arm_time, arm_event, size, curve, landmarks, method, out, r, a)

        # A counting sort by stratum keeps the order in time inside each; ends[s] becomes the end of stratum s.
        ends[:] = 0
        for i in range(count):
            ends[data.stratum[stratum_row, order[i]] + 1] += 1
        for s in range(method.n_strata):
            ends[s + 1] += ends[s]
        for i in range(count):
            s = data.stratum[stratum_row, order[i]]
            scratch[ends[s]] = order[i]
            ends[s] += 1
        size = 0
        begin = 0
        for s in range(method.n_strata):
            size = _fill_table(data, r, scratch, begin, ends[s], method.rho, method.gamma, table, size)
            begin = ends[s]
        _analyse_contrast(table, size, edges, method, out, r)
    return -1


@compiled
def _incidence_block(time: Any, cause: Any, arm: Any, landmarks: Any, first: int, last: int, out: Any) -> int:
    """Aalen-Johansen incidence of cause 1 at the landmarks; returns -1, or the first replicate with an empty arm."""
    n = time.shape[1]
    order = np.empty(n, np.int64)
    scratch = np.empty(n, np.int64)
    for r in range(first, last):
        arm_row = r if arm.shape[0] > 1 else 0
        for a in range(2):
            count = 0
            for i in range(n):
                if arm[arm_row, i] == a:
                    order[count] = i
                    count += 1
            if count == 0:
                return r
            _sort_by_time(time, r, order, scratch, count)
            survival = 1.0
            incidence = 0.0
            i = 0
            for k in range(landmarks.shape[0]):
                while i < count and time[r, order[i]] <= landmarks[k]:
                    now = time[r, order[i]]
                    risk = count - i
                    any_cause = 0
                    first_cause = 0
                    while i < count and time[r, order[i]] == now:
                        code = cause[r, order[i]]
                        any_cause += int(code > 0)
                        first_cause += int(code == 1)
                        i += 1
                    incidence += survival * first_cause / risk
                    survival *= (risk - any_cause) / risk
                out[r, a, k] = incidence
    return -1


# ------------------------------------------------------------------------------------------------------ public: trials


@dataclass(frozen=True)
class TrialAnalysis:
    """What the trialists would report, for each of R replicates; arrays of the shapes given.

    Index 0 of an arm axis is the control, 1 the experimental arm; L counts landmarks, P periods.
    """

    confidence: float
    """Level of every interval here."""
    landmarks: FloatArray
    """[L] months at which survival is read."""
    tau: float
    """Months to which the restricted mean runs."""
    period_edges: FloatArray
    """[P + 1] limits of the periods, or empty: events in (edge k, edge k + 1], time 0 included if edge 0 is 0."""
    n: IntArray
    """[R, 2] patients analysed."""
    events: IntArray
    """[R, 2] events."""
    last_time: FloatArray
    """[R, 2] longest follow-up: beyond it a curve that is not 0 is carried flat."""
    median: FloatArray
    """[R, 2] first time at which the survival is at most one half; infinite if not reached."""
    median_lower: FloatArray
    """[R, 2] lower limit of the median; infinite if not reached."""
    median_upper: FloatArray
    """[R, 2] upper limit of the median; infinite if not reached."""
    rmst: FloatArray
    """[R, 2] restricted mean survival to tau, months."""
    rmst_se: FloatArray
    """[R, 2] its standard error; 0 without events before tau."""
    survival: FloatArray
    """[R, 2, L] Kaplan-Meier survival."""
    survival_se: FloatArray
    """[R, 2, L] Greenwood standard error; 0 where the survival is 1 or 0."""
    survival_lower: FloatArray
    """[R, 2, L] lower limit; 1 before the first event, 0 where the survival is 0."""
    survival_upper: FloatArray
    """[R, 2, L] upper limit; 1 before the first event, its last value where the survival is 0."""
    at_risk: IntArray
    """[R, 2, L] patients still followed just before the landmark."""
    logrank_score: FloatArray
    """[R] (weighted) observed minus expected events of arm 1, summed over strata."""
    logrank_variance: FloatArray
    """[R] its variance; 0 when no event can tell the arms apart."""
    logrank_z: FloatArray
    """[R] score / sqrt(variance), negative when arm 1 does better; 0 when the variance is 0."""
    logrank_p: FloatArray
    """[R] two-sided p; 1 when the variance is 0."""
    log_hr: FloatArray
    """[R] log hazard ratio of the Cox model; see `cox_status` for infinite and NaN."""
    log_hr_se: FloatArray
    """[R] its standard error; infinite unless the status is FITTED."""
    log_hr_lower: FloatArray
    """[R] lower Wald limit; minus infinity unless the status is FITTED."""
    log_hr_upper: FloatArray
    """[R] upper Wald limit; plus infinity unless the status is FITTED."""
    cox_status: IntArray
    """[R] codes of `CoxStatus`."""
    cox_score: FloatArray
    """[R] derivative of the log partial likelihood at a hazard ratio of 1."""
    cox_information: FloatArray
    """[R] minus its second derivative there; score^2 / information is the score test."""
    period_log_hr: FloatArray
    """[R, P] log hazard ratio among events of the period, given that both arms are conditioned on entering it."""
    period_se: FloatArray
    """[R, P] its standard error; infinite unless the period's status is FITTED."""
    period_status: IntArray
    """[R, P] codes of `CoxStatus`."""
    period_events: IntArray
    """[R, P, 2] events of each arm in the period."""

    @property
    def hazard_ratio(self) -> FloatArray:
        """[R] exp of `log_hr`: 0 or infinite where monotone, NaN without information."""
        return np.exp(self.log_hr)

    @property
    def rmst_difference(self) -> FloatArray:
        """[R] restricted mean of arm 1 minus that of arm 0, months."""
        return self.rmst[:, 1] - self.rmst[:, 0]

    @property
    def rmst_difference_se(self) -> FloatArray:
        """[R] standard error of the difference; the arms are independent."""
        return np.hypot(self.rmst_se[:, 0], self.rmst_se[:, 1])


def analyse_replicates(
    times: npt.ArrayLike,
    events: npt.ArrayLike,
    arm: npt.ArrayLike,
    *,
    landmarks: Sequence[float] | FloatArray,
    tau: float,
    stratum: npt.ArrayLike | None = None,
    period_edges: Sequence[float] | FloatArray = (),
    ties: Literal["efron", "breslow"] = "efron",
    weights: tuple[float, float] = (0.0, 0.0),
    interval: Literal["log-log", "plain"] = "log-log",
    confidence: float = 0.95,
    threads: int | None = None,
) -> TrialAnalysis:
    """Analyse R replicates of a two-arm trial of n patients; the same numbers for any number of threads.

    `times` [R, n] or [n] are months to event or censoring, `events` (the same shape) 1 or True for an event. `arm` is
    1 experimental, 0 control, -1 not in this comparison, [n] or [R, n]. `stratum`, if given, holds codes 0, 1, 2, ...
    of the same shapes; log-rank and Cox are then stratified, curves are not. `landmarks` must rise; `tau` is positive.
    `period_edges`, for example (0, 12, 24, 36), asks for one hazard ratio per period. `weights` = (rho, gamma) are
    the Fleming-Harrington exponents of the log-rank test, (0, 0) the usual one; S is the curve of the stratum.
    `interval` chooses the limits of survival and median. `threads` None means one per processor.

    Methods: Kaplan & Meier 1958; Greenwood 1926; log-log limits as in Kalbfleisch & Prentice; median limits by
    Brookmeyer & Crowley 1982; Mantel 1966; Fleming & Harrington 1991; Cox 1972 with ties after Efron 1977 or Breslow
    1974; restricted mean as in Royston & Parmar 2013.

    Raises InputError for shapes that do not agree, times that are negative or not finite, codes out of range,
    landmarks or edges that do not rise, and for a replicate in which an arm has no patient.
    """
    time = _times(times)
    event = _codes("events", events, time.shape, 0, 1, np.dtype(np.uint8))
    arms = _codes("arm", arm, time.shape, -1, 1, np.dtype(np.int8), one_row=True)
    if stratum is None:
        strata: IntArray = np.zeros((1, time.shape[1]), np.int32)
        n_strata = 1
    else:
        strata = _codes("stratum", stratum, time.shape, 0, time.shape[1] - 1, np.dtype(np.int32), one_row=True)
        n_strata = int(strata.max()) + 1
    _check_times(time, arms)
    marks = _rising("landmarks", landmarks, at_least=0)
    edges = _rising("period_edges", period_edges, at_least=2)
    if ties not in ("efron", "breslow"):
        raise InputError(f"ties {ties!r}", "'efron' or 'breslow'", key="ties")
    rho, gamma = weights
    if not (rho >= 0.0 and gamma >= 0.0):
        raise InputError(f"weights {weights}", "two exponents of 0 or more", key="weights")
    z, log_log = _interval(confidence, interval)

    replicates = time.shape[0]
    out_arm = np.empty((replicates, 2, len(_Arm)))
    out_landmark = np.empty((replicates, 2, marks.size, len(_Landmark)))
    out_contrast = np.empty((replicates, len(_Contrast)))
    out_period = np.empty((replicates, max(edges.size - 1, 0), len(_Period)))

    data = _Data(time, event, arms, strata)
    method = _Method(n_strata, _tau(tau), float(rho), float(gamma), ties == "efron", z, log_log)
    out = _Results(out_arm, out_landmark, out_contrast, out_period)
    _run_blocks(lambda first, last: _analyse_block(data, marks, edges, method, first, last, out), replicates, threads)

    score, variance = out_contrast[:, _Contrast.LOGRANK_SCORE], out_contrast[:, _Contrast.LOGRANK_VARIANCE]
    informative = variance > 0.0
    logrank_z = np.where(informative, score / np.sqrt(np.where(informative, variance, 1.0)), 0.0)
    log_hr, se = out_contrast[:, _Contrast.LOG_HR], out_contrast[:, _Contrast.SE]
    fitted = np.isfinite(se)
    centre, margin = np.where(fitted, log_hr, 0.0), z * se
    return TrialAnalysis(
        confidence=confidence,
        landmarks=marks,
        tau=float(tau),
        period_edges=edges,
        n=out_arm[:, :, _Arm.N].astype(np.int64),
        events=out_arm[:, :, _Arm.EVENTS].astype(np.int64),
        last_time=out_arm[:, :, _Arm.LAST_TIME],
        median=out_arm[:, :, _Arm.MEDIAN],
        median_lower=out_arm[:, :, _Arm.MEDIAN_LOWER],
        median_upper=out_arm[:, :, _Arm.MEDIAN_UPPER],
        rmst=out_arm[:, :, _Arm.RMST],
        rmst_se=out_arm[:, :, _Arm.RMST_SE],
        survival=out_landmark[..., _Landmark.SURVIVAL],
        survival_se=out_landmark[..., _Landmark.SE],
        survival_lower=out_landmark[..., _Landmark.LOWER],
        survival_upper=out_landmark[..., _Landmark.UPPER],
        at_risk=out_landmark[..., _Landmark.AT_RISK].astype(np.int64),
        logrank_score=score,
        logrank_variance=variance,
        logrank_z=logrank_z,
        logrank_p=2.0 * ndtr(-np.abs(logrank_z)),
        log_hr=log_hr,
        log_hr_se=se,
        log_hr_lower=centre - margin,
        log_hr_upper=centre + margin,
        cox_status=out_contrast[:, _Contrast.STATUS].astype(np.int64),
        cox_score=out_contrast[:, _Contrast.COX_SCORE],
        cox_information=out_contrast[:, _Contrast.COX_INFORMATION],
        period_log_hr=out_period[..., _Period.LOG_HR],
        period_se=out_period[..., _Period.SE],
        period_status=out_period[..., _Period.STATUS].astype(np.int64),
        period_events=out_period[..., [_Period.EVENTS_CONTROL, _Period.EVENTS_EXPERIMENTAL]].astype(np.int64),
    )


def first_cause_incidence(
    times: npt.ArrayLike,
    causes: npt.ArrayLike,
    arm: npt.ArrayLike,
    *,
    landmarks: Sequence[float] | FloatArray,
    threads: int | None = None,
) -> FloatArray:
    """Cumulative incidence of cause 1 at the landmarks, [R, 2, L], when other causes compete (Aalen & Johansen 1978).

    `causes` is 0 for censored, 1 for the cause of interest, 2 for any other first event; `times`, `arm`, `landmarks`
    and the errors raised are those of `analyse_replicates`. Beyond the last follow-up the incidence is carried flat.
    """
    time = _times(times)
    cause = _codes("causes", causes, time.shape, 0, 2, np.dtype(np.uint8))
    arms = _codes("arm", arm, time.shape, -1, 1, np.dtype(np.int8), one_row=True)
    _check_times(time, arms)
    marks = _rising("landmarks", landmarks, at_least=0)
    out = np.empty((time.shape[0], 2, marks.size))
    _run_blocks(
        lambda first, last: _incidence_block(time, cause, arms, marks, first, last, out), time.shape[0], threads
    )
    return out


@dataclass(frozen=True)
class KaplanMeier:
    """One Kaplan-Meier curve; the arrays it gives have one entry per distinct event time, in order."""

    n: int
    """Patients."""
    last_time: float
    """Longest follow-up, months; the curve is carried flat beyond it."""
    confidence: float
    """Level of the intervals."""
    interval: Literal["log-log", "plain"]
    """How the limits are made."""
    _curve: FloatArray

    @property
    def times(self) -> FloatArray:
        """Event times, months."""
        return self._curve[_Curve.TIME]

    @property
    def at_risk(self) -> FloatArray:
        """Patients at risk just before each event time."""
        return self._curve[_Curve.RISK]

    @property
    def events(self) -> FloatArray:
        """Events at each event time."""
        return self._curve[_Curve.EVENTS]

    @property
    def survival(self) -> FloatArray:
        """Survival just after each event time."""
        return self._curve[_Curve.SURVIVAL]

    @property
    def greenwood(self) -> FloatArray:
        """Sum of d / (n (n - d)) so far: the variance is survival^2 times it; infinite where the survival is 0."""
        return self._curve[_Curve.GREENWOOD]

    def survival_at(self, months: npt.ArrayLike) -> FloatArray:
        """Survival at `months` (any shape)."""
        return np.concatenate(([1.0], self.survival))[self._step(months) + 1]

    def limits_at(self, months: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Lower and upper confidence limit of the survival at `months` (any shape); 1 and 1 before the first event."""
        z, log_log = _interval(self.confidence, self.interval)
        step = self._step(months)
        lower, upper = (
            np.array([_limit(self._curve, k, sign * z, log_log) for k in step.ravel()]).reshape(step.shape)
            for sign in (-1.0, 1.0)
        )
        return lower, upper

    @property
    def median(self) -> float:
        """First time at which the survival is at most one half; infinite if not reached."""
        return float(_median(self._curve, self.times.size))

    @property
    def median_limits(self) -> tuple[float, float]:
        """Confidence limits of the median (Brookmeyer & Crowley 1982); infinite where not reached."""
        z, log_log = _interval(self.confidence, self.interval)
        steps = self.times.size
        return (
            float(_median_limit(self._curve, steps, -z, log_log)),
            float(_median_limit(self._curve, steps, z, log_log)),
        )

    def restricted_mean(self, tau: float) -> tuple[float, float]:
        """Restricted mean survival to `tau` (months, positive) and its standard error."""
        area, variance = _restricted_mean(self._curve, self.times.size, _tau(tau))
        return area, math.sqrt(variance)

    def _step(self, months: npt.ArrayLike) -> npt.NDArray[np.intp]:
        return np.asarray(np.searchsorted(self.times, np.asarray(months, float), side="right") - 1)


def kaplan_meier(
    times: npt.ArrayLike,
    events: npt.ArrayLike,
    *,
    confidence: float = 0.95,
    interval: Literal["log-log", "plain"] = "log-log",
) -> KaplanMeier:
    """Kaplan-Meier curve of n patients: `times` [n] in months, `events` [n] 1 or True for an event.

    Raises InputError for no patients, shapes that do not agree, times that are negative or not finite.
    """
    time = _times(times)
    event = _codes("events", events, time.shape, 0, 1, np.dtype(np.uint8))
    if time.shape[0] != 1:
        raise InputError(f"times of shape {time.shape}", "one sample, shape [n]", key="times")
    _check_times(time, np.zeros((1, 1), np.int8))
    _interval(confidence, interval)
    order = np.argsort(time[0], kind="stable")
    curve = np.empty((len(_Curve), time.size))
    steps = _fill_curve(time[0, order], event[0, order].astype(np.int64), time.size, curve)
    return KaplanMeier(time.size, float(time[0, order[-1]]), confidence, interval, curve[:, :steps].copy())


# -------------------------------------------------------------------------------------------- public: what a trial sees


@dataclass(frozen=True)
class Observed:
    """First event of each patient as an assessment schedule sees it, arrays of one shape."""

    time: FloatArray
    """Months from the patient's time zero; infinite if nothing is ever seen."""
    event: npt.NDArray[np.uint8]
    """0 nothing, 1 progression seen at a scan, 2 death before progression was seen."""


def scan_times(phases: Sequence[tuple[float, float]], horizon: float) -> FloatArray:
    """Scan times up to `horizon`, in months from time zero, for phases of (months between scans, last month of phase).

    ((1.5, 12.0), (3.0, inf)) means every 1.5 months up to month 12, then every 3. The first scan is one interval
    after time zero, and each later phase counts from the last scan of the phase before. Raises InputError for an
    interval or horizon that is not positive, and for phases that do not follow one another.
    """
    if not (horizon > 0.0 and math.isfinite(horizon)):
        raise InputError(f"horizon {horizon}", "a positive number of months", key="horizon")
    if not phases:
        raise InputError("no phases", "at least one (months between scans, last month)", key="phases")
    times: list[float] = []
    origin = 0.0
    for every, until in phases:
        if not (every > 0.0 and until > origin):
            raise InputError(
                f"phase ({every}, {until})", f"a positive interval and an end after {origin}", key="phases"
            )
        stop = min(until, horizon) + TIME_TOLERANCE
        count = max(int((stop - origin) / every), 0)
        times.extend(origin + k * every for k in range(1, count + 1))
        origin = times[-1] if times else 0.0
    return np.array(times)


def observe_at_scans(latent_progression: npt.ArrayLike, death: npt.ArrayLike, schedule: npt.ArrayLike) -> Observed:
    """What a trial with scans at the months of `schedule` sees of progression and death; any shape, inf for never.

    A progression is seen at the first scan at or after it, if the patient is then alive; otherwise the event is the
    death. A progression that already lies on a scan (within `TIME_TOLERANCE`) stays there, so times the engine has
    already moved to a scan are not delayed a second time: the function applied twice is the function applied once.
    After the last scan nothing but death is seen. Raises InputError for a schedule that does not rise, shapes that
    do not agree, and negative or NaN times.
    """
    scans = _rising("schedule", np.asarray(schedule, float), at_least=1)
    latent, dead = _months("latent_progression", latent_progression), _months("death", death)
    if latent.shape != dead.shape:
        raise InputError(f"shapes {latent.shape} and {dead.shape}", "one shape for both", key="death")
    seen = np.append(scans, np.inf)[np.searchsorted(scans + TIME_TOLERANCE, latent, side="left")]
    progressed = seen < dead
    event = np.where(progressed, 1, np.where(np.isfinite(dead), 2, 0)).astype(np.uint8)
    return Observed(time=np.where(progressed, seen, dead), event=event)


@dataclass(frozen=True)
class FollowUp:
    """Event times after drop-out and administrative censoring, arrays of one shape."""

    time: FloatArray
    """Months from the patient's time zero to event or censoring; 0 for patients not yet entered."""
    event: BoolArray
    """Whether the event was observed."""
    entered: BoolArray
    """Whether the patient had entered by the cut-off: give the others arm -1."""


def apply_follow_up(
    event_time: npt.ArrayLike,
    entry_time: npt.ArrayLike,
    cutoff: npt.ArrayLike,
    dropout: npt.ArrayLike | None = None,
    *,
    last_assessment: npt.ArrayLike | None = None,
) -> FollowUp:
    """Censor event times at the data cut-off and at drop-out.

    `event_time` and `dropout` are months from the patient's own time zero (infinite for never), `entry_time` and
    `cutoff` months of calendar time from the trial's start; `cutoff` is a number or one per replicate, shape [R, 1]
    for [R, n] patients. An event at the time of censoring (within `TIME_TOLERANCE`) counts. `last_assessment`, a
    rising schedule in months from time zero, moves a *censored* patient back to the last scan at or before the
    censoring, or to 0: the usual rule for progression-free survival, as nothing is known beyond the last scan. Leave
    it out for overall survival.
    Raises InputError for negative or NaN times and shapes that do not agree.
    """
    happened, entry, cut, left = _one_shape(
        _months("event_time", event_time),
        _months("entry_time", entry_time),
        _months("cutoff", cutoff),
        _months("dropout", np.inf if dropout is None else dropout),
    )
    if not np.all(np.isfinite(entry)):
        raise InputError("an infinite entry time", "finite calendar months", key="entry_time")
    entered = entry <= cut
    censored = np.minimum(np.where(entered, cut - entry, 0.0), left)
    # The event that sets an event-driven cut-off must not be lost to rounding of (entry + time) - entry.
    event = entered & (happened <= censored + TIME_TOLERANCE) & np.isfinite(happened)
    if last_assessment is not None:
        scans = np.concatenate(([0.0], _rising("last_assessment", np.asarray(last_assessment, float), at_least=1)))
        censored = scans[np.searchsorted(scans - TIME_TOLERANCE, censored, side="right") - 1]
    return FollowUp(time=np.where(event, happened, np.where(entered, censored, 0.0)), event=event, entered=entered)


def event_cutoff(
    event_time: npt.ArrayLike, entry_time: npt.ArrayLike, n_events: int, dropout: npt.ArrayLike | None = None
) -> FloatArray:
    """Calendar time of the `n_events`-th event of each replicate, [R] (a number's array for [n]); infinite if fewer.

    Times as in `apply_follow_up`; an event after drop-out is not observed. Several events on one day are all
    included by a cut-off on that day. Raises InputError for `n_events` below 1, negative or NaN times and shapes that
    do not agree.
    """
    if n_events < 1:
        raise InputError(f"n_events {n_events}", "at least 1", key="n_events")
    happened, entry, left = _one_shape(
        _months("event_time", event_time),
        _months("entry_time", entry_time),
        _months("dropout", np.inf if dropout is None else dropout),
    )
    calendar = np.where(happened <= left + TIME_TOLERANCE, happened + entry, np.inf)
    if n_events > calendar.shape[-1]:
        return np.full(calendar.shape[:-1], np.inf)
    return np.asarray(np.partition(calendar, n_events - 1, axis=-1)[..., n_events - 1])


# ------------------------------------------------------------------------------------------------------------- helpers


def _times(times: npt.ArrayLike) -> FloatArray:
    time = np.array(times, np.float64, order="C", copy=None)
    if time.ndim == 1:
        time = time[np.newaxis, :]
    if time.ndim != 2 or time.size == 0:
        raise InputError(f"times of shape {np.shape(times)}", "[replicates, patients], neither of them 0", key="times")
    return _writable(time)


def _codes(
    key: str,
    values: npt.ArrayLike,
    shape: tuple[int, ...],
    low: int,
    high: int,
    dtype: np.dtype[Any],
    one_row: bool = False,
) -> IntArray:
    """Integer codes as a C-contiguous [R or 1, n] array, checked against low..high."""
    given = np.asarray(values)
    if given.ndim == 1:
        given = given[np.newaxis, :]
    allowed = {shape, (1, shape[1])} if one_row else {shape}
    if given.shape not in allowed:
        wanted = " or ".join(str(list(s)) for s in sorted(allowed, reverse=True))
        raise InputError(f"{key} of shape {list(np.shape(values))}", f"shape {wanted}", key=key)
    if given.dtype != np.bool_ and given.size and not (given.min() >= low and given.max() <= high):
        raise InputError(f"{key} between {given.min()} and {given.max()}", f"codes {low} to {high}", key=key)
    codes = np.array(given, dtype, order="C", copy=None)
    if not np.array_equal(codes, given):
        raise InputError(f"{key} that are not whole numbers", f"codes {low} to {high}", key=key)
    return _writable(codes)


def _months(key: str, values: npt.ArrayLike) -> FloatArray:
    months = np.asarray(values, np.float64)
    if not np.all(months >= 0.0):
        raise InputError("a negative or missing time", "months from 0, infinite for never", key=key)
    return months


def _one_shape(*arrays: FloatArray) -> tuple[FloatArray, ...]:
    try:
        return np.broadcast_arrays(*arrays)
    except ValueError as error:
        raise InputError(str(error), "shapes that broadcast to one", key="event_time") from error


def _writable(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    # A read-only array has a type of its own in Numba and would compile everything a second time.
    return array if array.flags.writeable else array.copy()


def _check_times(time: FloatArray, arms: IntArray) -> None:
    bad = (arms >= 0) & ~((time >= 0.0) & np.isfinite(time))
    if bad.any():
        row, patient = (int(x) for x in np.argwhere(bad)[0])
        found = f"time {time[row, patient]} of patient {patient} in replicate {row}"
        raise InputError(found, "finite months from 0; censor endless times with apply_follow_up", key="times")


def _rising(key: str, values: Sequence[float] | FloatArray, at_least: int) -> FloatArray:
    """A rising 1-D array of finite, non-negative months; empty, or `at_least` long."""
    array = np.array(values, np.float64)
    if array.ndim != 1 or not np.all(np.isfinite(array)) or np.any(array < 0.0) or np.any(np.diff(array) <= 0.0):
        raise InputError(f"{key} {array.tolist()}", "rising, finite months from 0", key=key)
    if 0 < array.size < at_least or (key in ("schedule", "last_assessment") and array.size == 0):
        raise InputError(f"{key} {array.tolist()}", f"at least {at_least} of them", key=key)
    return array


def _tau(tau: float) -> float:
    if not (tau > 0.0 and math.isfinite(tau)):
        raise InputError(f"tau {tau}", "a positive, finite number of months", key="tau")
    return float(tau)


def _interval(confidence: float, interval: str) -> tuple[float, bool]:
    if not 0.0 < confidence < 1.0:
        raise InputError(f"confidence {confidence}", "a level between 0 and 1", key="confidence")
    if interval not in ("log-log", "plain"):
        raise InputError(f"interval {interval!r}", "'log-log' or 'plain'", key="interval")
    return float(ndtri(0.5 + 0.5 * confidence)), interval == "log-log"


def _run_blocks(block: Any, replicates: int, threads: int | None) -> None:
    """Run block(first, last) over all replicates, four blocks a thread; refuse a replicate with an empty arm."""
    if threads is not None and threads < 1:
        raise InputError(f"threads {threads}", "at least 1", key="threads")
    workers = min(threads or os.cpu_count() or 1, replicates)
    limits = np.linspace(0, replicates, min(4 * workers, replicates) + 1 if workers > 1 else 2).astype(int)
    spans = list(zip(limits[:-1].tolist(), limits[1:].tolist(), strict=True))
    with compiling("Compiling the trial statistics (once, some seconds) ..."):
        if workers == 1:
            empty = [block(first, last) for first, last in spans]
        else:
            with ThreadPoolExecutor(workers) as pool:
                empty = list(pool.map(lambda span: block(*span), spans))
    for replicate in empty:
        if replicate >= 0:
            raise InputError(f"replicate {replicate} with an empty arm", "at least one patient in each arm", key="arm")
