"""Distributions: solved against hand answers, quantiles against SciPy, conversions against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, special, stats

from simhcc import distributions as dist

LEVELS = np.array([1e-6, 0.01, 0.3, 0.5, 0.9, 0.999999])


# ---------------------------------------------------------------------------------------------------------------------
# Solving


def test_beta_from_mean_and_sd_by_hand():
    # mean 0.2, sd 0.1: alpha + beta = 0.2 * 0.8 / 0.01 - 1 = 15, so alpha 3 and beta 12
    solved = dist.beta_from_mean_sd(0.2, 0.1)
    assert math.isclose(solved.alpha, 3.0, rel_tol=1e-12) and math.isclose(solved.beta, 12.0, rel_tol=1e-12)
    assert math.isclose(solved.mean, 0.2, rel_tol=1e-12) and math.isclose(solved.sd, 0.1, rel_tol=1e-12)


def test_gamma_from_mean_and_sd_by_hand():
    # mean 1000, sd 200: shape 25, rate 0.025
    solved = dist.gamma_from_mean_sd(1000.0, 200.0)
    assert math.isclose(solved.shape, 25.0, rel_tol=1e-12) and math.isclose(solved.rate, 0.025, rel_tol=1e-12)
    assert math.isclose(solved.mean, 1000.0) and math.isclose(solved.sd, 200.0)


def test_lognormal_from_ci95_by_hand():
    # 0.59 (0.41 to 0.85): meanlog = ln 0.59, sdlog = ln(0.85 / 0.41) / 3.919928 = 0.185993
    solved = dist.lognormal_from_ci95(0.59, 0.41, 0.85)
    assert math.isclose(solved.median, 0.59, rel_tol=1e-12)
    assert math.isclose(solved.sdlog, 0.1859930, rel_tol=1e-6)
    # A hazard ratio of exactly the geometric mean gives back its limits.
    low, high = dist.central_interval(dist.lognormal_from_ci95(math.sqrt(0.41 * 0.85), 0.41, 0.85))
    assert math.isclose(low, 0.41, rel_tol=1e-12) and math.isclose(high, 0.85, rel_tol=1e-12)


def test_lognormal_from_mean_and_sd_by_hand():
    # mean 2, sd 2: sdlog^2 = ln 2, meanlog = ln 2 - ln(2) / 2 = ln(2) / 2
    solved = dist.lognormal_from_mean_sd(2.0, 2.0)
    assert math.isclose(solved.sdlog, math.sqrt(math.log(2.0))) and math.isclose(solved.meanlog, math.log(2.0) / 2)
    assert math.isclose(solved.mean, 2.0) and math.isclose(solved.sd, 2.0)


def test_gamma_from_ci95_finds_the_exponential():
    # shape 1 with mean m is the exponential distribution, whose 2.5 % and 97.5 % points are -m ln 0.975, -m ln 0.025
    solved = dist.gamma_from_ci95(3.0, -3.0 * math.log(0.975), -3.0 * math.log(0.025))
    assert math.isclose(solved.shape, 1.0, rel_tol=1e-9) and math.isclose(solved.rate, 1.0 / 3.0, rel_tol=1e-9)


def test_beta_from_ci95_finds_the_uniform():
    # Beta(1, 1) is uniform: 0.025 to 0.975 around 0.5
    solved = dist.beta_from_ci95(0.5, 0.025, 0.975)
    assert math.isclose(solved.alpha, 1.0, rel_tol=1e-9) and math.isclose(solved.beta, 1.0, rel_tol=1e-9)


@pytest.mark.parametrize("alpha, beta", [(3.0, 12.0), (40.0, 8.0), (2.0, 2.0), (1.0, 30.0)])
def test_beta_from_ci95_recovers_a_known_beta(alpha, beta):
    low, high = stats.beta(alpha, beta).interval(0.95)
    solved = dist.beta_from_ci95(alpha / (alpha + beta), low, high)
    assert math.isclose(solved.alpha, alpha, rel_tol=1e-8) and math.isclose(solved.beta, beta, rel_tol=1e-8)


@pytest.mark.parametrize("shape, mean", [(2.0, 0.01), (60.0, 12000.0), (0.8, 3.0)])
def test_gamma_from_ci95_recovers_a_known_gamma(shape, mean):
    low, high = stats.gamma(shape, scale=mean / shape).interval(0.95)
    solved = dist.gamma_from_ci95(mean, low, high)
    assert math.isclose(solved.shape, shape, rel_tol=1e-8)


def test_normal_from_ci95():
    solved = dist.normal_from_ci95(10.0, 10.0 - 1.959963984540054, 10.0 + 1.959963984540054)
    assert math.isclose(solved.sd, 1.0, rel_tol=1e-12)


@pytest.mark.parametrize(
    "solve",
    [
        lambda: dist.lognormal_from_ci95(0.6, 0.59, 0.9),
        lambda: dist.normal_from_ci95(1.0, 0.9, 3.0),
        lambda: dist.beta_from_ci95(0.5, 0.05, 0.52),
        lambda: dist.gamma_from_ci95(1.0, 0.98, 4.0),
    ],
)
def test_a_lopsided_interval_is_refused(solve):
    with pytest.raises(ValueError, match="lopsided"):
        solve()


@pytest.mark.parametrize(
    "solve, words",
    [
        (lambda: dist.lognormal_from_ci95(0.5, 0.8, 0.4), "lower limit comes first"),
        (lambda: dist.lognormal_from_ci95(0.9, 0.4, 0.8), "does not hold the value 0.9"),
        (lambda: dist.lognormal_from_ci95(0.5, 0.0, 0.8), "low 0; it must be above 0"),
        (lambda: dist.beta_from_ci95(0.5, 0.2, 1.2), "between 0 and 1"),
        (lambda: dist.gamma_from_ci95(0.5, -0.2, 1.2), "0 or more"),
        (lambda: dist.beta_from_mean_sd(0.2, 0.4), "must be below 0.4"),
        (lambda: dist.beta_from_mean_sd(1.2, 0.4), "between 0 and 1"),
        (lambda: dist.Gamma(-1.0, 1.0), "shape -1"),
        (lambda: dist.Normal(0.0, 0.0), "sd 0"),
        (lambda: dist.Uniform(2.0, 1.0), "low must be below high"),
        (lambda: dist.Triangular(0.0, 2.0, 1.0), "must rise"),
        (lambda: dist.TruncatedNormal(0.0, 1.0, 20.0, 21.0), "next to nothing"),
        (lambda: dist.beta_from_ci95(0.5, 0.0, 1.0), "wider than"),
        (lambda: dist.beta_from_ci95(0.5, 0.4999999999, 0.5000000001), "too narrow"),
    ],
)
def test_impossible_arguments_are_refused(solve, words):
    with pytest.raises(ValueError, match=words):
        solve()


# ---------------------------------------------------------------------------------------------------------------------
# Quantiles


@pytest.mark.parametrize(
    "ours, theirs",
    [
        (dist.Beta(2.5, 7.0), stats.beta(2.5, 7.0)),
        (dist.Gamma(3.2, 0.7), stats.gamma(3.2, scale=1 / 0.7)),
        (dist.LogNormal(-0.4, 0.3), stats.lognorm(0.3, scale=math.exp(-0.4))),
        (dist.Normal(2.0, 3.0), stats.norm(2.0, 3.0)),
        (dist.Uniform(-1.0, 4.0), stats.uniform(-1.0, 5.0)),
        (dist.Triangular(1.0, 2.0, 5.0), stats.triang(0.25, 1.0, 4.0)),
        (dist.Triangular(1.0, 1.0, 5.0), stats.triang(0.0, 1.0, 4.0)),
        (dist.Triangular(1.0, 5.0, 5.0), stats.triang(1.0, 1.0, 4.0)),
        (dist.TruncatedNormal(0.7, 0.2, 0.0, 1.0), stats.truncnorm(-3.5, 1.5, 0.7, 0.2)),
    ],
)
def test_against_scipy(ours, theirs):
    assert np.allclose(ours.ppf(LEVELS), theirs.ppf(LEVELS), rtol=1e-9)
    assert np.allclose(ours.cdf(ours.ppf(LEVELS)), LEVELS, rtol=1e-8)
    assert math.isclose(ours.mean, theirs.mean(), rel_tol=1e-9) and math.isclose(ours.sd, theirs.std(), rel_tol=1e-9)


def test_cdf_outside_the_support():
    for each in (dist.Beta(2.0, 2.0), dist.Uniform(0.0, 1.0), dist.Triangular(0.0, 0.3, 1.0)):
        assert each.cdf(-1.0) == 0.0 and each.cdf(2.0) == 1.0
    assert dist.LogNormal(0.0, 1.0).cdf(-1.0) == 0.0 and dist.Gamma(2.0, 2.0).cdf(-1.0) == 0.0


def test_mass_outside_and_limits():
    normal = dist.Normal(0.9, 0.05)
    assert math.isclose(dist.mass_outside(normal, 0.0, 1.0), float(special.ndtr(-2.0) + special.ndtr(-18.0)))
    cut = dist.Limited(normal, 0.0, 1.0)
    draws = cut.ppf(LEVELS)
    assert draws.max() <= 1.0 and draws.min() > 0.0
    # Inside the limits the shape is that of the truncated normal distribution.
    assert np.allclose(draws, dist.TruncatedNormal(0.9, 0.05, 0.0, 1.0).ppf(LEVELS), rtol=1e-12)
    assert np.allclose(cut.cdf(draws), LEVELS, rtol=1e-6)


def test_dirichlet_draws_have_the_mean_and_variance_of_the_shares():
    u = np.random.default_rng(1).random((100_000, 3))
    draws = dist.dirichlet_draws([6.0, 3.0, 1.0], u)
    assert np.allclose(draws.sum(axis=1), 1.0)
    # var of share i: m (1 - m) / (total + 1); five standard errors of a mean of 100,000
    for share, column in zip((0.6, 0.3, 0.1), draws.T, strict=True):
        sd = math.sqrt(share * (1 - share) / 11.0)
        assert abs(column.mean() - share) < 5 * sd / math.sqrt(100_000)
        assert abs(column.std() / sd - 1.0) < 0.02


@pytest.mark.parametrize("size", [0.01, 1e-6])
def test_dirichlet_draws_of_small_concentrations_are_shares_too(size):
    u = np.random.default_rng(2).random((100_000, 3))
    draws = dist.dirichlet_draws([0.6 * size, 0.3 * size, 0.1 * size], u)
    assert np.isfinite(draws).all() and np.allclose(draws.sum(axis=1), 1.0)
    for share, column in zip((0.6, 0.3, 0.1), draws.T, strict=True):
        sd = math.sqrt(share * (1 - share) / (1.0 + size))
        assert abs(column.mean() - share) < 5 * sd / math.sqrt(100_000)
        assert abs(column.std() / sd - 1.0) < 0.02


def test_dirichlet_draws_are_the_same_on_both_sides_of_the_smallest_number():
    # Quantiles of 1e-300 and less, once above and once below the smallest normal number; ratio of shares by hand.
    alpha, u = np.array([0.01, 0.02]), np.array([[1e-3, 1e-6], [0.5e-3, 0.5e-6]])
    logs = (np.log(u) + special.gammaln(alpha + 1.0)) / alpha
    assert logs[0].max() > math.log(np.finfo(float).tiny) > logs[1].max()
    draws = dist.dirichlet_draws(alpha, u)
    assert np.allclose(np.log(draws[:, 0] / draws[:, 1]), logs[:, 0] - logs[:, 1], rtol=1e-9)


@pytest.mark.parametrize("concentration", [[2.0], [1.0, 0.0], [1.0, -1.0], [1.0, math.inf], [4e-7, 5e-7]])
def test_dirichlet_needs_two_positive_shares(concentration):
    with pytest.raises(ValueError):
        dist.dirichlet_draws(concentration, np.full((2, len(concentration)), 0.5))


# ---------------------------------------------------------------------------------------------------------------------
# Copula


def test_copula_gives_uniforms_with_the_stated_normal_correlation():
    matrix = [[1.0, 0.6, -0.3], [0.6, 1.0, 0.1], [-0.3, 0.1, 1.0]]
    u = dist.copula_uniforms(np.random.default_rng(2).random((200_000, 3)), dist.correlation_root(matrix))
    # Standard error of a correlation is below 1 / sqrt(200,000) = 0.0022; five of them.
    assert np.abs(np.corrcoef(special.ndtri(u), rowvar=False) - matrix).max() < 0.0112
    for column in u.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-6


def test_copula_of_no_correlation_is_the_identity():
    u = np.random.default_rng(3).random((100, 3))
    assert np.allclose(dist.copula_uniforms(u, dist.correlation_root(np.eye(3))), u, rtol=1e-9)


def test_copula_rows_do_not_depend_on_each_other_nor_on_later_columns():
    root = dist.correlation_root([[1.0, 0.6, 0.2], [0.6, 1.0, 0.1], [0.2, 0.1, 1.0]])
    u = np.random.default_rng(4).random((50, 3))
    every = dist.copula_uniforms(u, root)
    assert np.array_equal(every[:7], dist.copula_uniforms(u[:7], root))
    assert np.array_equal(every[:, :2], dist.copula_uniforms(u[:, :2], root[:2, :2]))


def test_copula_never_reaches_0_or_1():
    u = np.array([[1e-16, 1e-16], [1 - 1e-16, 1 - 1e-16]])
    drawn = dist.copula_uniforms(u, dist.correlation_root([[1.0, 0.9], [0.9, 1.0]]))
    assert drawn.min() > 0.0 and drawn.max() < 1.0


@pytest.mark.parametrize(
    "matrix, words",
    [
        ([[1.0, 0.9, 0.9], [0.9, 1.0, -0.9], [0.9, -0.9, 1.0]], "positive definite"),
        ([[1.0, 1.0], [1.0, 1.0]], "positive definite"),
        ([[1.0, 1.0 - 1e-12], [1.0 - 1e-12, 1.0]], "smallest eigenvalue"),
        ([[1.0, 0.5], [0.4, 1.0]], "symmetric"),
        ([[1.0, 0.5]], "square"),
        ([[2.0, 0.5], [0.5, 1.0]], "diagonal"),
        ([[1.0, 1.5], [1.5, 1.0]], "-1 to 1"),
    ],
)
def test_wrong_correlation_matrices(matrix, words):
    with pytest.raises(ValueError, match=words):
        dist.correlation_root(matrix)


# ---------------------------------------------------------------------------------------------------------------------
# Conversions


def test_rates_and_probabilities():
    # 10 % within 12 months at a constant rate: -ln 0.9 / 12 = 0.008780...
    assert math.isclose(dist.rate_from_probability(0.1, 12.0), 0.008780042971, rel_tol=1e-9)
    assert math.isclose(dist.probability_from_rate(0.1, 12.0), 1 - math.exp(-1.2), rel_tol=1e-12)
    assert math.isclose(dist.rate_from_median(6.0), math.log(2) / 6)
    assert dist.monthly_from_annual_rate(0.12) == 0.01
    # 1 - 0.9^(1/12)
    assert math.isclose(dist.monthly_from_annual_probability(0.1), 0.008741612, rel_tol=1e-6)
    assert math.isclose(dist.continuous_from_annual_discount(0.05), math.log(1.05) / 12)


def test_odds_and_ratios():
    assert math.isclose(dist.odds_from_probability(0.2), 0.25) and math.isclose(dist.probability_from_odds(0.25), 0.2)
    # odds 0.25 x 2 = 0.5, probability 1/3
    assert math.isclose(dist.probability_with_odds_ratio(0.2, 2.0), 1 / 3)
    assert math.isclose(dist.survival_with_hazard_ratio(0.5, 2.0), 0.25)


@pytest.mark.parametrize(
    "call",
    [
        lambda: dist.rate_from_probability(1.0, 12.0),
        lambda: dist.rate_from_probability(0.1, 0.0),
        lambda: dist.probability_from_rate(-0.1, 1.0),
        lambda: dist.rate_from_median(0.0),
        lambda: dist.odds_from_probability(1.0),
        lambda: dist.probability_from_odds(-0.1),
        lambda: dist.survival_with_hazard_ratio(0.0, 1.0),
        lambda: dist.continuous_from_annual_discount(-1.0),
    ],
)
def test_conversions_refuse_what_has_no_answer(call):
    with pytest.raises(ValueError):
        call()


def test_weibull_definitions_agree():
    shape, scale_ph = dist.weibull_ph_from_weibull(1.4, 20.0)
    t = 13.0
    assert math.isclose(math.exp(-((t / 20.0) ** 1.4)), math.exp(-scale_ph * t**shape))
    assert np.allclose(dist.weibull_from_weibull_ph(shape, scale_ph), (1.4, 20.0))


def test_curves_go_through_their_two_points():
    shape, scale = dist.weibull_from_two_points(12.0, 0.7, 36.0, 0.3)
    assert np.allclose(stats.weibull_min(shape, scale=scale).sf([12.0, 36.0]), [0.7, 0.3])
    shape, scale = dist.llogis_from_two_points(12.0, 0.7, 36.0, 0.3)
    assert np.allclose(stats.fisk(shape, scale=scale).sf([12.0, 36.0]), [0.7, 0.3])
    meanlog, sdlog = dist.lnorm_from_two_points(12.0, 0.7, 36.0, 0.3)
    assert np.allclose(stats.lognorm(sdlog, scale=math.exp(meanlog)).sf([12.0, 36.0]), [0.7, 0.3])
    for call in (dist.weibull_from_two_points, dist.llogis_from_two_points, dist.lnorm_from_two_points):
        with pytest.raises(ValueError, match="earlier"):
            call(36.0, 0.7, 12.0, 0.3)
        with pytest.raises(ValueError, match="fall"):
            call(12.0, 0.3, 36.0, 0.7)


def test_medians():
    assert math.isclose(dist.weibull_median(1.4, 20.0), stats.weibull_min(1.4, scale=20.0).median())
    median = dist.gompertz_median(0.1, 0.02)
    assert math.isclose(0.02 * math.expm1(0.1 * median) / 0.1, math.log(2.0))
    assert math.isclose(dist.gompertz_median(0.0, 0.02), math.log(2.0) / 0.02)
    # A negative shape: cumulative hazard never passes 0.02 / 0.1 = 0.2
    assert dist.gompertz_median(-0.1, 0.02) == math.inf


def test_gengamma_holds_its_special_cases():
    t = np.array([0.5, 3.0, 20.0])
    assert np.allclose(
        dist.gengamma_survival(t, *dist.gengamma_from_weibull(1.4, 9.0)), stats.weibull_min(1.4, scale=9.0).sf(t)
    )
    assert np.allclose(
        dist.gengamma_survival(t, *dist.gengamma_from_lnorm(1.2, 0.8)), stats.lognorm(0.8, scale=math.exp(1.2)).sf(t)
    )
    assert np.allclose(
        dist.gengamma_survival(t, *dist.gengamma_from_gamma(2.5, 0.3)), stats.gamma(2.5, scale=1 / 0.3).sf(t)
    )


def test_gengamma_with_negative_q_against_quadrature():
    mu, sigma, q = 1.0, 0.7, -0.6

    def density(t):
        # Prentice 1974: |Q| (Q^-2)^(Q^-2) exp(Q^-2 (Q w - exp(Q w))) / (sigma t Gamma(Q^-2))
        w = (math.log(t) - mu) / sigma
        k = q**-2
        return abs(q) * math.exp(k * math.log(k) + k * (q * w - math.exp(q * w)) - special.gammaln(k)) / (sigma * t)

    assert math.isclose(
        float(dist.gengamma_survival(4.0, mu, sigma, q)), 1 - integrate.quad(density, 0, 4.0)[0], rel_tol=1e-8
    )
