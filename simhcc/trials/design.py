"""Questions about a trial that need only its hazard ratio: power, assurance, null results, immature results.

Everything rests on one approximation: an observed log hazard ratio is normal around the true one with standard error
1 / sqrt(d p (1 - p)), d events, a share p of patients in the experimental arm (Schoenfeld 1981, 1983), and successive
looks are a Brownian motion in the information (Tsiatis 1981). It is good for hazard ratios between about 0.5 and 2
that stay the same over time, and says nothing of effects that come late or fade: for those use the mechanism.

Conventions. Tests are one-sided: alpha is the probability of claiming a benefit when there is none (0.025 where a
paper says two-sided 5 %). A z is positive when the hazard ratio is below 1. An information fraction is events so far
over events at the final analysis. No number of any trial is kept here; all come as arguments.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from simhcc.errors import InputError

FloatArray = npt.NDArray[np.float64]
Spending = Literal["lan-demets-obrien-fleming", "lan-demets-pocock", "obrien-fleming", "pocock"]

# Nearer looks would need a finer grid than is worth having.
SMALLEST_STEP = 1e-3

# Beyond this many standard deviations a normal density is nothing in double precision.
_REACH = 9.0

_PANEL_NODES, _PANEL_WEIGHTS = np.polynomial.legendre.leggauss(10)


# ------------------------------------------------------------------------------------------------- one hazard ratio


def log_hr_standard_error(events: float, share_experimental: float = 0.5) -> float:
    """Standard error of a log hazard ratio from `events` events: sqrt(4 / events) for 1:1 allocation.

    In general 1 / sqrt(events p (1 - p)), p = `share_experimental` between 0 and 1 (Schoenfeld 1981). Raises
    InputError for no events or a share outside (0, 1).
    """
    _require("events", events, events > 0.0, "a positive number of events")
    p = share_experimental
    _require("share_experimental", p, 0.0 < p < 1.0, "a share between 0 and 1")
    return 1.0 / math.sqrt(events * p * (1.0 - p))


def events_for_power(hr: float, alpha: float, power: float, share_experimental: float = 0.5) -> float:
    """Events at which one analysis at one-sided `alpha` has `power` for the hazard ratio `hr`, not rounded.

    (z_alpha + z_power)^2 / (p (1 - p) (log hr)^2), Schoenfeld 1983. Raises InputError unless 0 < hr < 1 and
    0 < alpha < power < 1.
    """
    _require("hr", hr, 0.0 < hr < 1.0, "a hazard ratio between 0 and 1")
    _require("alpha", alpha, 0.0 < alpha < power < 1.0, "0 < alpha < power < 1")
    z = ndtri(1.0 - alpha) + ndtri(power)
    return float((z * log_hr_standard_error(1.0, share_experimental) / math.log(hr)) ** 2)


@dataclass(frozen=True)
class Compatibility:
    """How a supposed true hazard ratio stands beside an observed one."""

    hr: float
    """The supposed true hazard ratio."""
    p_worse: float
    """Probability of observing a hazard ratio at least as high as the observed one if this one were true."""
    p_two_sided: float
    """Two-sided p value of this hypothesis; above 0.05 it lies inside the 95 % interval."""
    likelihood_against_best: float
    """Its likelihood over that of the observed value, at most 1."""
    likelihood_against_no_effect: float
    """Its likelihood over that of a hazard ratio of 1; below 1 the data speak against it in favour of no effect."""


@dataclass(frozen=True)
class HazardRatio:
    """A hazard ratio with a normal error on the log scale: an estimate, a prior, a posterior or a prediction."""

    median: float
    """The estimate, or the middle of the distribution; positive."""
    log_se: float
    """Standard error, or standard deviation, of its logarithm; positive."""

    def __post_init__(self) -> None:
        _require("median", self.median, 0.0 < self.median < math.inf, "a positive hazard ratio")
        _require("log_se", self.log_se, 0.0 < self.log_se < math.inf, "a positive standard error")

    @classmethod
    def from_interval(cls, estimate: float, lower: float, upper: float, confidence: float = 0.95) -> HazardRatio:
        """From a published estimate and its confidence interval; raises InputError if the interval leaves it out."""
        _require("interval", (lower, upper), 0.0 < lower < estimate < upper < math.inf, f"limits around {estimate}")
        return cls(estimate, math.log(upper / lower) / (2.0 * _two_sided_z(confidence)))

    @classmethod
    def from_events(cls, estimate: float, events: float, share_experimental: float = 0.5) -> HazardRatio:
        """From an estimate and its number of events; with the true value as estimate, what a trial will observe."""
        return cls(estimate, log_hr_standard_error(events, share_experimental))

    @property
    def z(self) -> float:
        """Minus the log over its standard error: positive for a benefit."""
        return -math.log(self.median) / self.log_se

    @property
    def information(self) -> float:
        """1 / log_se^2; a quarter of the events for 1:1 allocation."""
        return self.log_se**-2

    def events(self, share_experimental: float = 0.5) -> float:
        """Events that would give this standard error."""
        return self.information * log_hr_standard_error(1.0, share_experimental) ** 2

    def probability_below(self, hr: float) -> float:
        """Probability of a value below `hr` (positive)."""
        _require("hr", hr, hr > 0.0, "a positive hazard ratio")
        return float(ndtr((math.log(hr) - math.log(self.median)) / self.log_se))

    def quantile(self, probability: float) -> float:
        """Value below which the distribution has `probability`, between 0 and 1."""
        _require("probability", probability, 0.0 < probability < 1.0, "a probability between 0 and 1")
        return math.exp(math.log(self.median) + self.log_se * float(ndtri(probability)))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Central interval of the given level."""
        margin = math.exp(self.log_se * _two_sided_z(level))
        return self.median / margin, self.median * margin

    def likelihood_interval(self, ratio: float) -> tuple[float, float]:
        """True values whose likelihood is at least 1/`ratio` of the best; 8 fair, 32 strong evidence (Royall 1997)."""
        _require("ratio", ratio, ratio > 1.0, "a ratio above 1")
        margin = math.exp(self.log_se * math.sqrt(2.0 * math.log(ratio)))
        return self.median / margin, self.median * margin

    def compatibility(self, hr: float) -> Compatibility:
        """How well `hr` as the truth agrees with this observed hazard ratio."""
        _require("hr", hr, 0.0 < hr < math.inf, "a positive hazard ratio")
        away = (math.log(self.median) - math.log(hr)) / self.log_se
        likelihood = math.exp(-0.5 * away**2)
        return Compatibility(
            hr=hr,
            p_worse=float(ndtr(-away)),
            p_two_sided=2.0 * float(ndtr(-abs(away))),
            likelihood_against_best=likelihood,
            likelihood_against_no_effect=math.exp(0.5 * (self.z**2 - away**2)),
        )

    def combined_with(self, other: HazardRatio) -> HazardRatio:
        """Posterior from an estimate and an independent prior, or two independent estimates: weights 1 / log_se^2."""
        total = self.information + other.information
        mean = (self.information * math.log(self.median) + other.information * math.log(other.median)) / total
        return HazardRatio(math.exp(mean), total**-0.5)


# --------------------------------------------------------------------------------------------------- several looks


@dataclass(frozen=True)
class GroupSequential:
    """A trial with looks at given information fractions, each with a bound on z; crossing one claims a benefit.

    There is no bound for futility: futility rules are not binding and would only lower alpha.
    """

    fractions: tuple[float, ...]
    """Information fractions of the looks, rising to 1."""
    bounds: tuple[float, ...]
    """z at or above which each look claims a benefit; infinite for a look that cannot."""

    def __post_init__(self) -> None:
        _check_fractions(self.fractions)
        if len(self.bounds) != len(self.fractions) or any(math.isnan(b) for b in self.bounds):
            raise InputError(f"bounds {self.bounds}", f"one for each of {len(self.fractions)} looks", key="bounds")

    @property
    def nominal_p(self) -> tuple[float, ...]:
        """One-sided p value at each bound."""
        return tuple(float(ndtr(-b)) for b in self.bounds)

    def critical_hr(self, events: float, share_experimental: float = 0.5) -> tuple[float, ...]:
        """Highest observed hazard ratio that crosses at each look of a trial of `events` final events."""
        se = log_hr_standard_error(events, share_experimental)
        return tuple(math.exp(-b * se / math.sqrt(t)) for t, b in zip(self.fractions, self.bounds, strict=True))

    def crossing_probabilities(self, drift: float) -> FloatArray:
        """Probability of crossing first at each look, [looks]; `drift` is the expected z at the final one."""
        return _first_crossings(self.fractions, self.bounds, drift, 0.0, 0.0)

    @property
    def alpha(self) -> float:
        """One-sided probability of claiming a benefit that does not exist."""
        return float(self.crossing_probabilities(0.0).sum())

    def power(self, hr: float, events: float, share_experimental: float = 0.5) -> float:
        """Probability of claiming a benefit when `hr` is true and the final look has `events` events."""
        return float(self.crossing_probabilities(_drift(hr, events, share_experimental)).sum())

    def drift_for_power(self, power: float) -> float:
        """Expected final z at which the design has `power`; its square over that of one look is the inflation."""
        _require("power", power, self.alpha < power < 1.0, "a power between alpha and 1")
        return float(brentq(lambda d: self.crossing_probabilities(d).sum() - power, 0.0, 20.0, xtol=1e-12))

    def expected_fraction(self, drift: float) -> float:
        """Expected information fraction at which the trial stops: at the first crossing, or at the end."""
        first = self.crossing_probabilities(drift)
        return float(first @ np.array(self.fractions) + (1.0 - first.sum()))

    def assurance(self, belief: HazardRatio, events: float, share_experimental: float = 0.5) -> float:
        """Power averaged over `belief` in the true hazard ratio (O'Hagan, Stevens & Campbell 2005)."""
        se = log_hr_standard_error(events, share_experimental)
        return _average(lambda drift: float(self.crossing_probabilities(drift).sum()), belief, se)


def group_sequential(
    fractions: Sequence[float], alpha: float, spending: Spending | Sequence[float] = "lan-demets-obrien-fleming"
) -> GroupSequential:
    """Design with looks at the information `fractions` (rising to 1) and one-sided `alpha` in all.

    `spending` names how alpha is used: "lan-demets-obrien-fleming" spends 2 (1 - Phi(z_(alpha/2) / sqrt t)),
    "lan-demets-pocock" spends alpha log(1 + (e - 1) t) (Lan & DeMets 1983); "obrien-fleming" has bounds proportional
    to 1 / sqrt t (O'Brien & Fleming 1979), "pocock" equal bounds (Pocock 1977). Or it is the cumulative alpha spent
    by each look, ending at `alpha`; a look that spends nothing has an infinite bound. One look gives the fixed design.

    Computed by the recursion of Armitage, McPherson & Rowe 1969. Raises InputError for fractions that do not rise to
    1 or are nearer than `SMALLEST_STEP`, an alpha outside (0, 0.5), and spent alpha that falls or ends elsewhere.
    """
    looks = tuple(float(t) for t in fractions)
    _check_fractions(looks)
    _require("alpha", alpha, 0.0 < alpha < 0.5, "a one-sided alpha between 0 and 0.5")
    t = np.array(looks)
    if spending in ("obrien-fleming", "pocock"):
        shape = t**-0.5 if spending == "obrien-fleming" else np.ones_like(t)

        def excess(constant: float) -> float:
            return float(_first_crossings(looks, tuple(constant * shape), 0.0, 0.0, 0.0).sum()) - alpha

        constant = brentq(excess, 0.0, float(ndtri(1.0 - alpha / len(looks))) + 1e-9, xtol=1e-13)
        return GroupSequential(looks, tuple((constant * shape).tolist()))
    if spending == "lan-demets-obrien-fleming":
        spent = 2.0 * ndtr(ndtri(0.5 * alpha) / np.sqrt(t))
    elif spending == "lan-demets-pocock":
        spent = alpha * np.log1p((math.e - 1.0) * t)
    elif isinstance(spending, str):
        raise InputError(
            f"spending {spending!r}", "a name listed in the documentation, or the alpha spent by each look"
        )
    else:
        spent = np.array(spending, np.float64)
        if spent.shape != t.shape or np.any(np.diff(spent, prepend=0.0) < 0.0) or not math.isclose(spent[-1], alpha):
            found = f"cumulative alpha {spent.tolist()}"
            raise InputError(found, f"{t.size} values from 0, never falling, ending at {alpha}", key="spending")
    return GroupSequential(looks, _spend(looks, np.diff(spent, prepend=0.0)))


def fixed_assurance(belief: HazardRatio, alpha: float, events: float, share_experimental: float = 0.5) -> float:
    """Assurance of a trial with one analysis, in closed form: Phi((m - z_alpha) / sqrt(1 + s^2)).

    m and s are mean and standard deviation, under `belief`, of the expected z. Raises InputError as the rest.
    """
    _require("alpha", alpha, 0.0 < alpha < 1.0, "an alpha between 0 and 1")
    se = log_hr_standard_error(events, share_experimental)
    mean, sd = -math.log(belief.median) / se, belief.log_se / se
    return float(ndtr((mean - ndtri(1.0 - alpha)) / math.hypot(1.0, sd)))


# ---------------------------------------------------------------------------------------------- an immature result


@dataclass(frozen=True)
class Outlook:
    """What may become of an immature comparison. Every probability is of crossing a bound at some later look."""

    fractions: tuple[float, ...]
    """Information fractions of the later looks."""
    bounds: tuple[float, ...]
    """Their bounds on z."""
    critical_hr: tuple[float, ...]
    """Highest hazard ratio over all events so far that crosses at each."""
    current_trend: float
    """Conditional power if the events to come have the observed hazard ratio."""
    no_effect: float
    """Conditional power if they have a hazard ratio of 1."""
    planned: float
    """Conditional power if they have the hazard ratio of the design."""
    predictive: float
    """Conditional power averaged over what prior and data together say of the hazard ratio."""
    posterior: HazardRatio
    """That posterior."""


def conditional_power(current: HazardRatio, fraction: float, design: GroupSequential, future_hr: float) -> float:
    """Probability that a later look of `design` crosses its bound, given the `current` hazard ratio.

    `fraction` is the information fraction of `current`, so its information over `fraction` is that of the final
    look. `future_hr` is the hazard ratio among the events still to come: the current estimate (current trend), the
    planned one, 1, or what a mechanism predicts for them. Lan & Wittes 1988; with one look left
    Phi((z sqrt t + drift (1 - t) - bound) / sqrt(1 - t)). Raises InputError when no look lies beyond `fraction`.
    """
    _require("future_hr", future_hr, 0.0 < future_hr < math.inf, "a positive hazard ratio")
    fractions, bounds = _later_looks(fraction, design)
    drift = -math.log(future_hr) * math.sqrt(current.information / fraction)
    return float(_first_crossings(fractions, bounds, drift, fraction, current.z * math.sqrt(fraction)).sum())


def predictive_power(
    current: HazardRatio, fraction: float, design: GroupSequential, prior: HazardRatio | None = None
) -> float:
    """Conditional power averaged over the posterior of the hazard ratio (Spiegelhalter, Freedman & Blackburn 1986).

    The posterior combines `current` with `prior`; None is the flat prior, the data alone. `fraction` and errors as in
    `conditional_power`.
    """
    fractions, bounds = _later_looks(fraction, design)
    posterior = current if prior is None else current.combined_with(prior)
    final_se = math.sqrt(fraction) * current.log_se

    def given(drift: float) -> float:
        return float(_first_crossings(fractions, bounds, drift, fraction, current.z * math.sqrt(fraction)).sum())

    return _average(given, posterior, final_se)


def outlook(
    current: HazardRatio,
    fraction: float,
    design: GroupSequential,
    planned_hr: float,
    prior: HazardRatio | None = None,
) -> Outlook:
    """The later looks of an immature comparison, what they need, and how likely they are to get it.

    Arguments and errors as in `conditional_power` and `predictive_power`.
    """
    fractions, bounds = _later_looks(fraction, design)
    final_se = math.sqrt(fraction) * current.log_se
    return Outlook(
        fractions=fractions,
        bounds=bounds,
        critical_hr=tuple(math.exp(-b * final_se / math.sqrt(t)) for t, b in zip(fractions, bounds, strict=True)),
        current_trend=conditional_power(current, fraction, design, current.median),
        no_effect=conditional_power(current, fraction, design, 1.0),
        planned=conditional_power(current, fraction, design, planned_hr),
        predictive=predictive_power(current, fraction, design, prior),
        posterior=current if prior is None else current.combined_with(prior),
    )


# ------------------------------------------------------------------------------------------------------- internals


def _first_crossings(
    fractions: Sequence[float], bounds: Sequence[float], drift: float, start: float, value: float
) -> FloatArray:
    """Probabilities that a Brownian motion with `drift`, at `value` at time `start`, first crosses at each look.

    The motion is z sqrt(t). Its density among paths that have not crossed is carried from look to look on
    Gauss-Legendre panels no wider than the standard deviation of the neighbouring steps.
    """
    times = [start, *fractions]
    nodes, weights, density = np.array([value]), np.array([1.0]), np.array([1.0])
    crossing = np.empty(len(fractions))
    for k, bound in enumerate(bounds):
        t, step = times[k + 1], times[k + 1] - times[k]
        level = bound * math.sqrt(t)
        mean = nodes + drift * step
        crossing[k] = (weights * density) @ ndtr((mean - level) / math.sqrt(step))
        if k + 1 == len(fractions):
            break
        centre, spread = value + drift * (t - start), math.sqrt(t - start)
        low, high = centre - _REACH * spread, min(level, centre + _REACH * spread)
        if high <= low:
            crossing[k + 1 :] = 0.0
            break
        panels = math.ceil((high - low) / math.sqrt(min(step, times[k + 2] - t)))
        points, point_weights = _panels(low, high, panels)
        kernel = np.exp(-0.5 * ((points[:, np.newaxis] - mean) / math.sqrt(step)) ** 2)
        density = kernel @ (weights * density) / math.sqrt(2.0 * math.pi * step)
        nodes, weights = points, point_weights
    return crossing


def _panels(low: float, high: float, panels: int) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights of composite Gauss-Legendre integration from `low` to `high`."""
    half = 0.5 * (high - low) / panels
    middles = low + half * (2.0 * np.arange(panels) + 1.0)
    return (middles[:, np.newaxis] + half * _PANEL_NODES).ravel(), np.tile(half * _PANEL_WEIGHTS, panels)


def _spend(fractions: tuple[float, ...], amounts: FloatArray) -> tuple[float, ...]:
    """Bounds that cross first at each look with the given probabilities when there is no effect."""
    bounds: tuple[float, ...] = ()
    for k, amount in enumerate(amounts.tolist()):
        bounds += (_next_bound(fractions[: k + 1], bounds, amount),)
    return bounds


def _next_bound(fractions: tuple[float, ...], earlier: tuple[float, ...], amount: float) -> float:
    if amount <= 0.0:
        return math.inf

    def log_excess(bound: float) -> float:
        crossing = _first_crossings(fractions, (*earlier, bound), 0.0, 0.0, 0.0)[-1]
        return math.log(max(crossing, 1e-300) / amount)

    # Crossing here first is less likely than crossing here at all, which bounds the root from above.
    highest = -float(ndtri(amount))
    if log_excess(highest) >= 0.0:
        return highest
    return float(brentq(log_excess, -_REACH, highest, xtol=1e-13))


def _average(probability: Callable[[float], float], belief: HazardRatio, final_se: float) -> float:
    """Mean of a function of the drift over `belief`, on panels of two standard deviations or two units of drift."""
    mean, sd = -math.log(belief.median) / final_se, belief.log_se / final_se
    panels = math.ceil(_REACH * max(sd, 1.0))
    drifts, weights = _panels(mean - _REACH * sd, mean + _REACH * sd, panels)
    weights *= np.exp(-0.5 * ((drifts - mean) / sd) ** 2) / (math.sqrt(2.0 * math.pi) * sd)
    return float(sum(w * probability(float(d)) for w, d in zip(weights, drifts, strict=True)))


def _later_looks(fraction: float, design: GroupSequential) -> tuple[tuple[float, ...], tuple[float, ...]]:
    _require("fraction", fraction, 0.0 < fraction < 1.0, "an information fraction between 0 and 1")
    later = [(t, b) for t, b in zip(design.fractions, design.bounds, strict=True) if t >= fraction + SMALLEST_STEP]
    if not later:
        raise InputError(f"fraction {fraction}", f"one before the last look of {design.fractions}", key="fraction")
    return tuple(t for t, _ in later), tuple(b for _, b in later)


def _drift(hr: float, events: float, share_experimental: float) -> float:
    _require("hr", hr, 0.0 < hr < math.inf, "a positive hazard ratio")
    return -math.log(hr) / log_hr_standard_error(events, share_experimental)


def _check_fractions(fractions: tuple[float, ...]) -> None:
    steps = np.diff(np.array(fractions), prepend=0.0)
    if not fractions or not math.isclose(fractions[-1], 1.0) or not np.all(steps >= SMALLEST_STEP * (1.0 - 1e-9)):
        expected = f"information fractions that rise to 1 by steps of at least {SMALLEST_STEP}"
        raise InputError(f"fractions {list(fractions)}", expected, key="fractions")


def _two_sided_z(level: float) -> float:
    _require("confidence", level, 0.0 < level < 1.0, "a level between 0 and 1")
    return float(ndtri(0.5 + 0.5 * level))


def _require(key: str, value: object, holds: bool, expected: str) -> None:
    if not holds:
        raise InputError(f"{key} {value}", expected, key=key)
