"""Survival and uncertainty distributions: pure maths on plain numbers and arrays.

Three groups of public names:

- *uncertainty distributions* (`Beta`, `Gamma`, `LogNormal`, `Normal`, `Uniform`, `Triangular`, `TruncatedNormal`) with
  `mean`, `sd`, `cdf` and `ppf` as `Distribution` describes them, the solvers that find one from a published mean, sd or
  95 % interval, `dirichlet_draws`, and the Gaussian copula;
- *conversions* between rates, probabilities, odds and ratios, each a named function;
- *survival parameters* in the natural-scale definitions of flexsurv (Jackson 2016, J Stat Softw 70(8)).

A draw is always `ppf(u)` of one uniform number, so that an addressed uniform gives an addressed draw. Wrong arguments
raise ValueError with the reason; the reader of input files adds the place.
"""

# The methods of every distribution are those documented in `Distribution`.
# ruff: noqa: D102

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

Floats = NDArray[np.float64]

# Half the width of a central 95 % interval in standard deviations of a normal distribution.
Z_95 = float(special.ndtri(0.975))

# How far a limit of the solved distribution may lie from the stated one, as a share of the stated width.
CI_TOLERANCE = 0.2


class Distribution(Protocol):
    """A univariate uncertainty distribution."""

    @property
    def low(self) -> float:
        """Lower end of the support."""

    @property
    def high(self) -> float:
        """Upper end of the support."""

    @property
    def mean(self) -> float:
        """Expected value."""

    @property
    def sd(self) -> float:
        """Standard deviation."""

    def cdf(self, x: ArrayLike) -> Floats:
        """Probability of a value at or below `x`."""

    def ppf(self, u: ArrayLike) -> Floats:
        """Value below which the share `u` lies; `u` in (0, 1), any shape."""


def _positive(**numbers: float) -> None:
    for name, number in numbers.items():
        if not (math.isfinite(number) and number > 0.0):
            raise ValueError(f"{name} {number:g}; it must be above 0")


@dataclass(frozen=True)
class Beta:
    """Beta distribution on (0, 1) with mean alpha / (alpha + beta)."""

    alpha: float
    beta: float

    def __post_init__(self) -> None:
        _positive(alpha=self.alpha, beta=self.beta)

    low = 0.0
    high = 1.0

    @property
    def mean(self) -> float:
        return self.alpha / (self.alpha + self.beta)

    @property
    def sd(self) -> float:
        total = self.alpha + self.beta
        return math.sqrt(self.alpha * self.beta / (total * total * (total + 1.0)))

    def cdf(self, x: ArrayLike) -> Floats:
        return np.asarray(special.betainc(self.alpha, self.beta, np.clip(x, 0.0, 1.0)))

    def ppf(self, u: ArrayLike) -> Floats:
        return np.asarray(special.betaincinv(self.alpha, self.beta, u))


@dataclass(frozen=True)
class Gamma:
    """Gamma distribution on (0, inf) with mean shape / rate."""

    shape: float
    rate: float

    def __post_init__(self) -> None:
        _positive(shape=self.shape, rate=self.rate)

    low = 0.0
    high = math.inf

    @property
    def mean(self) -> float:
        return self.shape / self.rate

    @property
    def sd(self) -> float:
        return math.sqrt(self.shape) / self.rate

    def cdf(self, x: ArrayLike) -> Floats:
        return np.asarray(special.gammainc(self.shape, self.rate * np.maximum(x, 0.0)))

    def ppf(self, u: ArrayLike) -> Floats:
        return np.asarray(special.gammaincinv(self.shape, u) / self.rate)


@dataclass(frozen=True)
class LogNormal:
    """Distribution whose logarithm is normal; median exp(meanlog), mean exp(meanlog + sdlog^2 / 2)."""

    meanlog: float
    sdlog: float

    def __post_init__(self) -> None:
        _positive(sdlog=self.sdlog)

    low = 0.0
    high = math.inf

    @property
    def mean(self) -> float:
        return math.exp(self.meanlog + 0.5 * self.sdlog**2)

    @property
    def median(self) -> float:
        """exp(meanlog)."""
        return math.exp(self.meanlog)

    @property
    def sd(self) -> float:
        return self.mean * math.sqrt(math.expm1(self.sdlog**2))

    def cdf(self, x: ArrayLike) -> Floats:
        with np.errstate(divide="ignore"):
            return np.asarray(special.ndtr((np.log(np.maximum(x, 0.0)) - self.meanlog) / self.sdlog))

    def ppf(self, u: ArrayLike) -> Floats:
        return np.asarray(np.exp(self.meanlog + self.sdlog * special.ndtri(u)))


@dataclass(frozen=True)
class Normal:
    """Normal distribution."""

    mean: float
    sd: float

    def __post_init__(self) -> None:
        _positive(sd=self.sd)

    low = -math.inf
    high = math.inf

    def cdf(self, x: ArrayLike) -> Floats:
        return np.asarray(special.ndtr((np.asarray(x, float) - self.mean) / self.sd))

    def ppf(self, u: ArrayLike) -> Floats:
        return np.asarray(self.mean + self.sd * special.ndtri(u))


@dataclass(frozen=True)
class Uniform:
    """Every value from low to high is equally likely."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"low {self.low:g} and high {self.high:g}; low must be below high")

    @property
    def mean(self) -> float:
        return 0.5 * (self.low + self.high)

    @property
    def sd(self) -> float:
        return (self.high - self.low) / math.sqrt(12.0)

    def cdf(self, x: ArrayLike) -> Floats:
        return np.clip((np.asarray(x, float) - self.low) / (self.high - self.low), 0.0, 1.0)

    def ppf(self, u: ArrayLike) -> Floats:
        return np.asarray(self.low + np.asarray(u, float) * (self.high - self.low))


@dataclass(frozen=True)
class Triangular:
    """Density rising in a straight line from low to the mode and falling to high; mean (low + mode + high) / 3."""

    low: float
    mode: float
    high: float

    def __post_init__(self) -> None:
        if not (self.low <= self.mode <= self.high and self.low < self.high):
            raise ValueError(
                f"low {self.low:g}, mode {self.mode:g}, high {self.high:g}; they must rise, and low must be below high"
            )

    @property
    def mean(self) -> float:
        return (self.low + self.mode + self.high) / 3.0

    @property
    def sd(self) -> float:
        a, c, b = self.low, self.mode, self.high
        return math.sqrt((a * a + b * b + c * c - a * b - a * c - b * c) / 18.0)

    def cdf(self, x: ArrayLike) -> Floats:
        a, c, b = self.low, self.mode, self.high
        x = np.clip(x, a, b)
        with np.errstate(divide="ignore", invalid="ignore"):
            left = (x - a) ** 2 / ((b - a) * (c - a))
            right = 1.0 - (b - x) ** 2 / ((b - a) * (b - c))
        return np.where(x < c, left, np.where(b > c, right, 1.0))

    def ppf(self, u: ArrayLike) -> Floats:
        a, c, b = self.low, self.mode, self.high
        u = np.asarray(u, float)
        left = a + np.sqrt(u * (b - a) * (c - a))
        right = b - np.sqrt((1.0 - u) * (b - a) * (b - c))
        return np.where(u < (c - a) / (b - a), left, right)


@dataclass(frozen=True)
class TruncatedNormal:
    """Normal(location, scale) cut to [low, high] and rescaled; `mean` and `sd` are those after the cut."""

    location: float
    scale: float
    low: float
    high: float

    def __post_init__(self) -> None:
        _positive(sd=self.scale)
        if not self.low < self.high:
            raise ValueError(f"low {self.low:g} and high {self.high:g}; low must be below high")
        if self._mass() < 1e-6:
            raise ValueError(
                f"limits {self.low:g} and {self.high:g} that leave next to nothing of the normal distribution"
            )

    def _z(self) -> tuple[float, float]:
        return (self.low - self.location) / self.scale, (self.high - self.location) / self.scale

    def _mass(self) -> float:
        a, b = self._z()
        return float(special.ndtr(b) - special.ndtr(a))

    @property
    def mean(self) -> float:
        a, b = self._z()
        return self.location + self.scale * (_normal_pdf(a) - _normal_pdf(b)) / self._mass()

    @property
    def sd(self) -> float:
        a, b = self._z()
        mass = self._mass()
        first = (_normal_pdf(a) - _normal_pdf(b)) / mass
        ends = (_finite(a) * _normal_pdf(a) - _finite(b) * _normal_pdf(b)) / mass
        return self.scale * math.sqrt(1.0 + ends - first * first)

    def cdf(self, x: ArrayLike) -> Floats:
        a, _ = self._z()
        z = (np.clip(x, self.low, self.high) - self.location) / self.scale
        return np.asarray((special.ndtr(z) - special.ndtr(a)) / self._mass())

    def ppf(self, u: ArrayLike) -> Floats:
        a, _ = self._z()
        z = special.ndtri(special.ndtr(a) + np.asarray(u, float) * self._mass())
        return np.clip(self.location + self.scale * z, self.low, self.high)


def _normal_pdf(z: float) -> float:
    return math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi) if math.isfinite(z) else 0.0


def _finite(z: float) -> float:
    return z if math.isfinite(z) else 0.0


@dataclass(frozen=True)
class Limited:
    """`base` cut to [low, high] and rescaled: the same shape inside, nothing outside.

    Used where a unit has limits that a distribution passes with a negligible tail. `mean` and `sd` stay those of
    `base`; the caller makes sure that little is cut (`mass_outside`).
    """

    base: Distribution
    low: float
    high: float

    @property
    def mean(self) -> float:
        return self.base.mean

    @property
    def sd(self) -> float:
        return self.base.sd

    def _ends(self) -> tuple[float, float]:
        return float(self.base.cdf(self.low)), float(self.base.cdf(self.high))

    def cdf(self, x: ArrayLike) -> Floats:
        start, stop = self._ends()
        return np.asarray((self.base.cdf(np.clip(x, self.low, self.high)) - start) / (stop - start))

    def ppf(self, u: ArrayLike) -> Floats:
        start, stop = self._ends()
        return np.clip(self.base.ppf(start + np.asarray(u, float) * (stop - start)), self.low, self.high)


def mass_outside(distribution: Distribution, low: float, high: float) -> float:
    """Probability that a draw lies below `low` or above `high`."""
    below = float(distribution.cdf(low)) if low > distribution.low else 0.0
    above = 1.0 - float(distribution.cdf(high)) if high < distribution.high else 0.0
    return below + above


def central_interval(distribution: Distribution, level: float = 0.95) -> tuple[float, float]:
    """The central interval that holds `level` of the probability."""
    tail = 0.5 * (1.0 - level)
    return float(distribution.ppf(tail)), float(distribution.ppf(1.0 - tail))


# ---------------------------------------------------------------------------------------------------------------------
# Solving a distribution from what a paper prints


def beta_from_mean_sd(mean: float, sd: float) -> Beta:
    """Method of moments: alpha + beta = mean (1 - mean) / sd^2 - 1."""
    if not 0.0 < mean < 1.0:
        raise ValueError(f"mean {mean:g}; the mean of a beta distribution lies between 0 and 1")
    _positive(sd=sd)
    total = mean * (1.0 - mean) / sd**2 - 1.0
    if total <= 0.0:
        raise ValueError(f"sd {sd:g}; with mean {mean:g} it must be below {math.sqrt(mean * (1.0 - mean)):.4g}")
    return Beta(mean * total, (1.0 - mean) * total)


def gamma_from_mean_sd(mean: float, sd: float) -> Gamma:
    """Method of moments: shape = (mean / sd)^2, rate = mean / sd^2."""
    _positive(mean=mean, sd=sd)
    return Gamma((mean / sd) ** 2, mean / sd**2)


def lognormal_from_mean_sd(mean: float, sd: float) -> LogNormal:
    """sdlog^2 = ln(1 + (sd / mean)^2), meanlog = ln(mean) - sdlog^2 / 2."""
    _positive(mean=mean, sd=sd)
    variance = math.log1p((sd / mean) ** 2)
    return LogNormal(math.log(mean) - 0.5 * variance, math.sqrt(variance))


def lognormal_from_ci95(median: float, low: float, high: float) -> LogNormal:
    """Median kept; sdlog from the width of the interval on the log scale, ln(high / low) / (2 x 1.96).

    ValueError when the interval that results lies elsewhere than the stated one (see `CI_TOLERANCE`).
    """
    _rising(low, median, high)
    _positive(low=low)
    solved = LogNormal(math.log(median), math.log(high / low) / (2.0 * Z_95))
    found_low, found_high = central_interval(solved)
    width = math.log(high / low)
    _must_fit("lognormal with median", median, abs(math.log(found_low / low)) / width, (found_low, found_high))
    return solved


def normal_from_ci95(mean: float, low: float, high: float) -> Normal:
    """Mean kept; sd = (high - low) / (2 x 1.96). ValueError when the mean is far from the middle."""
    _rising(low, mean, high)
    solved = Normal(mean, (high - low) / (2.0 * Z_95))
    found = central_interval(solved)
    _must_fit("normal with mean", mean, abs(found[0] - low) / (high - low), found)
    return solved


def beta_from_ci95(mean: float, low: float, high: float) -> Beta:
    """Mean kept; alpha + beta solved so that the central 95 % interval has the stated width."""
    _rising(low, mean, high)
    if low < 0.0 or high > 1.0:
        raise ValueError(f"limits {low:g} and {high:g}; those of a beta distribution lie between 0 and 1")
    # From alpha or beta 0.5 upwards the width falls steadily as alpha + beta grows.
    smallest = 0.5 / min(mean, 1.0 - mean)
    total = _solve_width(lambda n: Beta(mean * n, (1.0 - mean) * n), smallest, high - low, f"beta with mean {mean:g}")
    solved = Beta(mean * total, (1.0 - mean) * total)
    found = central_interval(solved)
    _must_fit("beta with mean", mean, max(abs(found[0] - low), abs(found[1] - high)) / (high - low), found)
    return solved


def gamma_from_ci95(mean: float, low: float, high: float) -> Gamma:
    """Mean kept; shape solved so that the central 95 % interval has the stated width."""
    _rising(low, mean, high)
    if low < 0.0:
        raise ValueError(f"lower limit {low:g}; that of a gamma distribution is 0 or more")
    shape = _solve_width(lambda k: Gamma(k, k / mean), 0.5, high - low, f"gamma with mean {mean:g}")
    solved = Gamma(shape, shape / mean)
    found = central_interval(solved)
    _must_fit("gamma with mean", mean, max(abs(found[0] - low), abs(found[1] - high)) / (high - low), found)
    return solved


def _rising(low: float, middle: float, high: float) -> None:
    if low > high:
        raise ValueError(f"[{low:g}, {high:g}]; the lower limit comes first")
    if not low < middle < high:
        raise ValueError(f"[{low:g}, {high:g}], which does not hold the value {middle:g} inside")


def _solve_width(make: Callable[[float], Distribution], smallest: float, width: float, what: str) -> float:
    """The size at which `make(size)` has a central 95 % interval of `width`; wider means smaller."""

    def excess(log_size: float) -> float:
        low, high = central_interval(make(math.exp(log_size)))
        return (high - low) - width

    start, stop = math.log(smallest), math.log(smallest) + 20.0
    if excess(start) < 0.0:
        raise ValueError(f"an interval of width {width:g}, wider than a {what} can have")
    if excess(stop) > 0.0:
        raise ValueError(f"an interval of width {width:g}, too narrow to solve; leave the distribution out")
    return math.exp(optimize.brentq(excess, start, stop, xtol=1e-13, rtol=1e-13))


def _must_fit(what: str, middle: float, miss: float, found: tuple[float, float]) -> None:
    if miss > CI_TOLERANCE:
        raise ValueError(
            f"an interval too lopsided for a {what} {middle:g}; at this width it spans [{found[0]:.4g}, {found[1]:.4g}]"
        )


LEAST_CONCENTRATION = 1e-6
"""the smallest sum of concentrations; the shares of a draw can be told apart from it upwards"""


def dirichlet_draws(concentration: Sequence[float], u: ArrayLike) -> Floats:
    """Dirichlet draws, shape (n, k), from uniforms of shape (n, k): gamma quantiles divided by their sum.

    `concentration` has k >= 2 positive numbers that add up to `LEAST_CONCENTRATION` or more; the mean of share i is
    concentration[i] / sum.
    """
    alpha = np.asarray(concentration, float)
    if alpha.ndim != 1 or alpha.size < 2:
        raise ValueError("a Dirichlet distribution of fewer than two shares")
    if not (np.isfinite(alpha).all() and (alpha > 0.0).all()):
        raise ValueError("a concentration that is not above 0; drop shares that are 0")
    if alpha.sum() < LEAST_CONCENTRATION:
        raise ValueError(
            f"concentrations that add up to {alpha.sum():.3g}; below {LEAST_CONCENTRATION:g} one share takes nearly all"
        )
    uniform = np.asarray(u, float)
    draws = special.gammaincinv(alpha, uniform)
    total = draws.sum(axis=1, keepdims=True)
    lost = total[:, 0] < np.finfo(float).tiny
    shares = np.asarray(draws / np.where(lost[:, np.newaxis], 1.0, total))
    if lost.any():
        # Small concentrations: every quantile is nearly 0, where P(alpha, x) is x ** alpha / Gamma(alpha + 1).
        with np.errstate(divide="ignore", over="ignore"):
            logs = (np.log(uniform[lost]) + special.gammaln(alpha + 1.0)) / alpha
        shares[lost] = special.softmax(logs, axis=1)
    return shares


# ---------------------------------------------------------------------------------------------------------------------
# Gaussian copula


def correlation_root(matrix: ArrayLike) -> Floats:
    """Lower Cholesky factor of a correlation matrix.

    ValueError when it is not square, symmetric, with ones on the diagonal and entries in [-1, 1], or not positive
    definite.
    """
    r = np.asarray(matrix, float)
    if r.ndim != 2 or r.shape[0] != r.shape[1]:
        raise ValueError("a correlation matrix that is not square")
    if not np.allclose(np.diag(r), 1.0, rtol=0.0, atol=1e-12):
        raise ValueError("a correlation matrix whose diagonal is not 1")
    if not np.allclose(r, r.T, rtol=0.0, atol=1e-12):
        raise ValueError("a correlation matrix that is not symmetric")
    if np.abs(r).max() > 1.0:
        raise ValueError("a correlation outside -1 to 1")
    smallest = float(np.linalg.eigvalsh(r)[0])
    if smallest <= 1e-10:
        raise ValueError(f"a correlation matrix that is not positive definite (smallest eigenvalue {smallest:.3g})")
    return np.asarray(np.linalg.cholesky(r))


def copula_uniforms(u: ArrayLike, root: ArrayLike) -> Floats:
    """Uniforms (n, k) with the dependence of a Gaussian copula, from independent uniforms (n, k).

    `root` is the lower Cholesky factor of the normal scores' correlation. Column j depends on columns 0 to j only, so a
    parameter added at the end of a group leaves the draws of the others as they are.
    """
    own = np.asarray(u, float)
    z = special.ndtri(own)
    # A fixed order of additions: a matrix product may round differently for another number of rows.
    lower = np.asarray(root, float)
    drawn = np.empty_like(z)
    for j in range(lower.shape[0]):
        if not lower[j, :j].any():
            drawn[:, j] = own[:, j]
            continue
        total = z[:, 0] * lower[j, 0]
        for i in range(1, j + 1):
            total = total + z[:, i] * lower[j, i]
        # Beyond 8 standard deviations the uniform would round to 0 or 1, where quantiles are infinite.
        drawn[:, j] = np.clip(special.ndtr(total), 2.0**-53, 1.0 - 2.0**-53)
    return drawn


# ---------------------------------------------------------------------------------------------------------------------
# Rates, probabilities, odds, ratios


def probability_from_rate(rate: float, time: float) -> float:
    """Probability of an event within `time` at a constant `rate` in the same unit: 1 - exp(-rate x time)."""
    if rate < 0.0 or time < 0.0:
        raise ValueError(f"rate {rate:g} over time {time:g}; neither can be negative")
    return -math.expm1(-rate * time)


def rate_from_probability(probability: float, time: float) -> float:
    """Constant rate that gives `probability` of an event within `time`: -ln(1 - p) / time."""
    if not 0.0 <= probability < 1.0:
        raise ValueError(f"probability {probability:g}; it must be at least 0 and below 1")
    _positive(time=time)
    return -math.log1p(-probability) / time


def rate_from_median(median: float) -> float:
    """Constant rate at which half have had the event at `median`: ln 2 / median."""
    _positive(median=median)
    return math.log(2.0) / median


def monthly_from_annual_rate(rate: float) -> float:
    """A rate per year as a rate per month."""
    return rate / 12.0


def monthly_from_annual_probability(probability: float) -> float:
    """Probability within a month that gives `probability` within a year: 1 - (1 - p)^(1/12)."""
    return probability_from_rate(rate_from_probability(probability, 12.0), 1.0)


def continuous_from_annual_discount(annual_rate: float) -> float:
    """Continuous discount rate per month of an annual rate: ln(1 + r) / 12."""
    if annual_rate <= -1.0:
        raise ValueError(f"discount rate {annual_rate:g}; it must be above -1")
    return math.log1p(annual_rate) / 12.0


def odds_from_probability(probability: float) -> float:
    """p / (1 - p)."""
    if not 0.0 <= probability < 1.0:
        raise ValueError(f"probability {probability:g}; it must be at least 0 and below 1")
    return probability / (1.0 - probability)


def probability_from_odds(odds: float) -> float:
    """odds / (1 + odds)."""
    if odds < 0.0:
        raise ValueError(f"odds {odds:g}; they cannot be negative")
    return odds / (1.0 + odds)


def probability_with_odds_ratio(probability: float, odds_ratio: float) -> float:
    """The probability whose odds are `odds_ratio` times those of `probability`."""
    return probability_from_odds(odds_from_probability(probability) * odds_ratio)


def survival_with_hazard_ratio(survival: float, hazard_ratio: float) -> float:
    """Survival under a proportional hazard: S^HR."""
    if not 0.0 < survival <= 1.0:
        raise ValueError(f"survival {survival:g}; it must be above 0 and at most 1")
    return float(survival**hazard_ratio)


# ---------------------------------------------------------------------------------------------------------------------
# Survival parameters, flexsurv definitions


def weibull_ph_from_weibull(shape: float, scale: float) -> tuple[float, float]:
    """`weibull` S(t) = exp(-(t / scale)^shape) -> `weibullPH` S(t) = exp(-scale' t^shape); returns (shape, scale')."""
    _positive(shape=shape, scale=scale)
    return shape, scale**-shape


def weibull_from_weibull_ph(shape: float, scale: float) -> tuple[float, float]:
    """`weibullPH` S(t) = exp(-scale t^shape) -> `weibull` S(t) = exp(-(t / scale')^shape); returns (shape, scale')."""
    _positive(shape=shape, scale=scale)
    return shape, scale ** (-1.0 / shape)


def weibull_from_two_points(time_1: float, survival_1: float, time_2: float, survival_2: float) -> tuple[float, float]:
    """`weibull` (shape, scale) through two points of a survival curve."""
    _curve_points(time_1, survival_1, time_2, survival_2)
    a, b = math.log(-math.log(survival_1)), math.log(-math.log(survival_2))
    shape = (b - a) / math.log(time_2 / time_1)
    return shape, time_1 * math.exp(-a / shape)


def llogis_from_two_points(time_1: float, survival_1: float, time_2: float, survival_2: float) -> tuple[float, float]:
    """`llogis` S(t) = 1 / (1 + (t / scale)^shape): (shape, scale) through two points of a survival curve."""
    _curve_points(time_1, survival_1, time_2, survival_2)
    a, b = math.log(1.0 / survival_1 - 1.0), math.log(1.0 / survival_2 - 1.0)
    shape = (b - a) / math.log(time_2 / time_1)
    return shape, time_1 * math.exp(-a / shape)


def lnorm_from_two_points(time_1: float, survival_1: float, time_2: float, survival_2: float) -> tuple[float, float]:
    """`lnorm` S(t) = 1 - Phi((ln t - meanlog) / sdlog): (meanlog, sdlog) through two points of a survival curve."""
    _curve_points(time_1, survival_1, time_2, survival_2)
    a, b = float(special.ndtri(1.0 - survival_1)), float(special.ndtri(1.0 - survival_2))
    sdlog = math.log(time_2 / time_1) / (b - a)
    return math.log(time_1) - a * sdlog, sdlog


def weibull_median(shape: float, scale: float) -> float:
    """scale (ln 2)^(1 / shape)."""
    _positive(shape=shape, scale=scale)
    return scale * math.log(2.0) ** (1.0 / shape)


def gompertz_median(shape: float, rate: float) -> float:
    """Median of `gompertz` H(t) = rate (exp(shape t) - 1) / shape; infinity when less than half ever have the event."""
    _positive(rate=rate)
    if shape == 0.0:
        return math.log(2.0) / rate
    argument = math.log(2.0) * shape / rate
    return math.log1p(argument) / shape if argument > -1.0 else math.inf


def gengamma_from_weibull(shape: float, scale: float) -> tuple[float, float, float]:
    """`gengamma` (mu, sigma, Q) that equals `weibull`: (ln scale, 1 / shape, 1)."""
    _positive(shape=shape, scale=scale)
    return math.log(scale), 1.0 / shape, 1.0


def gengamma_from_lnorm(meanlog: float, sdlog: float) -> tuple[float, float, float]:
    """`gengamma` (mu, sigma, Q) that equals `lnorm`: (meanlog, sdlog, 0)."""
    _positive(sdlog=sdlog)
    return meanlog, sdlog, 0.0


def gengamma_from_gamma(shape: float, rate: float) -> tuple[float, float, float]:
    """`gengamma` (mu, sigma, Q) that equals `gamma`: Q = sigma = 1 / sqrt(shape), mu = ln(shape / rate)."""
    _positive(shape=shape, rate=rate)
    return math.log(shape / rate), 1.0 / math.sqrt(shape), 1.0 / math.sqrt(shape)


def gengamma_survival(time: ArrayLike, mu: float, sigma: float, q: float) -> Floats:
    """Survival of `gengamma` (Prentice 1974; flexsurv parameters).

    With w = (ln t - mu) / sigma: Q = 0 is lnorm; otherwise gamma tail probability of Q^-2 exp(Q w) with shape Q^-2,
    the lower tail for Q < 0.
    """
    _positive(sigma=sigma)
    with np.errstate(divide="ignore"):
        w = (np.log(np.asarray(time, float)) - mu) / sigma
    if q == 0.0:
        return np.asarray(special.ndtr(-w))
    shape = q**-2
    x = shape * np.exp(q * w)
    return np.asarray(special.gammaincc(shape, x) if q > 0.0 else special.gammainc(shape, x))


def _curve_points(time_1: float, survival_1: float, time_2: float, survival_2: float) -> None:
    _positive(time_1=time_1)
    if not time_1 < time_2:
        raise ValueError(f"times {time_1:g} and {time_2:g}; the earlier comes first")
    if not 1.0 > survival_1 > survival_2 > 0.0:
        raise ValueError(f"survival {survival_1:g} then {survival_2:g}; it must fall and stay between 0 and 1")
