"""Hazard families against exact decimals, SciPy and quadrature; blocks against the scalar functions; tables."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, interpolate, special, stats

from simhcc.engine import hazards as hz
from simhcc.errors import ModelError

NO_TABLE = np.zeros(1)

# A table with a flat stretch, one that ends flat, and one in logarithms (u^1.3 / 40).
TIMES = np.array([0.0, 1.0, 2.5, 4.0, 10.0, 12.0])
VALUES = np.array([0.0, 0.1, 0.1, 0.7, 0.9, 1.5])
ENDS_FLAT = np.array([0.0, 0.1, 0.4, 0.7, 0.9, 0.9])
LOG_TIMES = np.linspace(-6.0, 5.0, 9)
TABLES = np.concatenate([TIMES, VALUES, TIMES, ENDS_FLAT, LOG_TIMES, 1.3 * LOG_TIMES - math.log(40.0)])

# name: family, p0, p1, offset, count
CASES = {
    "exponential": (hz.EXPONENTIAL, 0.05, 0.0, 0, 0),
    "weibull, rising": (hz.WEIBULL, 1.7, 20.0, 0, 0),
    "weibull, falling": (hz.WEIBULL, 0.6, 20.0, 0, 0),
    "gompertz, rising": (hz.GOMPERTZ, 0.09, 0.002, 0, 0),
    "gompertz, plateau": (hz.GOMPERTZ, -0.05, 0.04, 0, 0),
    "gompertz, nearly constant": (hz.GOMPERTZ, 1e-13, 0.04, 0, 0),
    "gompertz, constant": (hz.GOMPERTZ, 0.0, 0.04, 0, 0),
    "llogis, humped": (hz.LLOGIS, 2.3, 15.0, 0, 0),
    "llogis, falling": (hz.LLOGIS, 0.8, 15.0, 0, 0),
    "lnorm": (hz.LNORM, 2.5, 1.1, 0, 0),
    "lnorm, narrow": (hz.LNORM, 2.5, 0.2, 0, 0),
    "table": (hz.TABLE, 0.0, 0.0, 0, 6),
    "table that ends flat": (hz.TABLE, 0.0, 0.0, 12, 6),
    "log table": (hz.LOGTABLE, 0.0, 0.0, 24, 9),
}
CURES = (0.0, 0.25)


def _cumulative(case, u, cure=0.0, tables=TABLES):
    """Return cumulative hazards by the block function."""
    family, p0, p1, offset, count = case
    u = np.ascontiguousarray(np.atleast_1d(u), dtype=np.float64)
    out = np.empty_like(u)
    with np.errstate(all="ignore"):
        hz.cumulative_block(family, p0, p1, cure, tables, offset, count, u, out, u.size, np.empty(u.size, np.int64))
    return out


def _inverse(case, h, cure=0.0, tables=TABLES):
    """Return times by the block function."""
    family, p0, p1, offset, count = case
    h = np.ascontiguousarray(np.atleast_1d(h), dtype=np.float64)
    out = np.empty_like(h)
    with np.errstate(all="ignore"):
        hz.inverse_block(family, p0, p1, cure, tables, offset, count, h, out, h.size, np.empty(h.size, np.int64))
    return out


def _same_bits(a, b):
    """Return whether two arrays hold the same bits, whatever the sign of their NaNs."""
    a, b = np.where(np.isnan(a), np.nan, a), np.where(np.isnan(b), np.nan, b)
    return np.array_equal(a.view(np.int64), b.view(np.int64))


def _spread(n, seed, low, high):
    return np.exp(np.random.default_rng(seed).uniform(math.log(low), math.log(high), n))


# -- against other sources --------------------------------------------------------------------------------------------

# The hazard functions of flexsurv's manual, for quadrature.
HAZARDS = {
    hz.EXPONENTIAL: lambda t, rate, _: rate,
    hz.WEIBULL: lambda t, shape, scale: shape / scale * (t / scale) ** (shape - 1),
    hz.GOMPERTZ: lambda t, shape, rate: rate * math.exp(shape * t),
    hz.LLOGIS: lambda t, a, b: a / b * (t / b) ** (a - 1) / (1 + (t / b) ** a),
    hz.LNORM: lambda t, m, s: stats.norm.pdf((math.log(t) - m) / s) / (s * t * stats.norm.sf((math.log(t) - m) / s)),
}


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case[0] in HAZARDS])
@pytest.mark.parametrize("cure", CURES)
def test_the_cumulative_hazard_is_the_integral_of_the_hazard(name, cure):
    family, p0, p1, _, _ = CASES[name]
    for u in (0.3, 4.0, 31.0):
        # t = u x^3 tames hazards that are infinite at 0.
        integral, _ = integrate.quad(
            lambda x, u=u: 3 * u * x * x * HAZARDS[family](u * x**3, p0, p1),
            0.0,
            1.0,
            epsabs=0.0,
            epsrel=1e-11,
            limit=200,
        )
        expected = -math.log1p((1 - cure) * math.expm1(-integral))
        assert _cumulative(CASES[name], u, cure)[0] == pytest.approx(expected, rel=1e-9, abs=0.0)


def test_cumulative_hazards_agree_with_scipy():
    u = _spread(200, 1, 1e-3, 200.0)
    for name, distribution in [
        ("exponential", stats.expon(scale=1 / 0.05)),
        ("weibull, rising", stats.weibull_min(1.7, scale=20.0)),
        ("gompertz, rising", stats.gompertz(0.002 / 0.09, scale=1 / 0.09)),
        ("llogis, humped", stats.fisk(2.3, scale=15.0)),
        ("lnorm", stats.lognorm(1.1, scale=math.exp(2.5))),
    ]:
        found = _cumulative(CASES[name], u)
        # SciPy's log survival is imprecise near survival 1 and underflows near 0.
        trusted = (found > 1e-4) & (found < 500.0)
        expected = -distribution.logsf(u)
        np.testing.assert_allclose(found[trusted], expected[trusted], rtol=2e-11, err_msg=name)


# Inverses in exact decimals: the time at which each family's cumulative hazard is h.
EXACT = {
    hz.EXPONENTIAL: lambda h, rate, _: h / rate,
    hz.WEIBULL: lambda h, shape, scale: scale * (h.ln() / shape).exp(),
    hz.GOMPERTZ: lambda h, shape, rate: (1 + shape * h / rate).ln() / shape if shape else h / rate,
    hz.LLOGIS: lambda h, shape, scale: scale * ((h.exp() - 1).ln() / shape).exp(),
}


def _uncure(h, c):
    return -(((-h).exp() - c) / (1 - c)).ln()


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case[0] in EXACT])
@pytest.mark.parametrize("cure", CURES)
def test_inverses_are_exact_to_1e_12_even_for_small_thresholds(name, cure):
    family, p0, p1, _, _ = CASES[name]
    most = 0.6 if cure or "plateau" in name else 36.0
    h = np.concatenate([[1e-8, 1e-100, 1e-15], _spread(60, 2, 1e-20, most)])
    with localcontext() as context:
        context.prec = 150
        context.Emin, context.Emax = -999999, 999999
        for found, target in zip(_inverse(CASES[name], h, cure), h, strict=True):
            exact_h = Decimal(float(target))
            if cure:
                exact_h = _uncure(exact_h, Decimal(cure))
            exact = EXACT[family](exact_h, Decimal(p0), Decimal(p1))
            assert abs(float(Decimal(float(found)) / exact - 1)) < 1e-12, target


@pytest.mark.parametrize("cure", CURES)
def test_the_cumulative_hazard_is_precise_for_small_times(cure):
    # H(u) ~ (1 - c) (u / scale)^shape (1 - ...): the next terms are below 1e-15 of it here.
    for name, leading in [
        ("weibull, rising", lambda u: (u / 20.0) ** 1.7),
        ("llogis, humped", lambda u: (u / 15.0) ** 2.3),
        ("gompertz, rising", lambda u: 0.002 * u),
        ("exponential", lambda u: 0.05 * u),
    ]:
        u = 1e-15 if name in ("gompertz, rising", "exponential") else 1e-8
        assert _cumulative(CASES[name], u, cure)[0] == pytest.approx((1 - cure) * leading(u), rel=1e-13, abs=0.0), name
    z = (math.log(1e-3) - 2.5) / 1.1
    expected = (1 - cure) * special.ndtr(z)
    assert _cumulative(CASES["lnorm"], 1e-3, cure)[0] == pytest.approx(expected, rel=1e-12, abs=0.0)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("cure", CURES)
def test_inverses_return_the_time_they_came_from(name, cure):
    u = _spread(400, 3, 1e-3, 300.0)
    u = u[(u > 0.01) | ("narrow" not in name)]
    h = _cumulative(CASES[name], u, cure)
    assert (h > 0.0).all()
    # Near a plateau no number can tell one time from the next: stay where survival still falls.
    falls = _cumulative(CASES[name], u * 1.01, cure) - h > 3e-3 * np.maximum(h, 1e-3) * 0.01
    assert falls.sum() > 60
    np.testing.assert_allclose(_inverse(CASES[name], h, cure)[falls], u[falls], rtol=1e-12)


# -- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("cure", CURES)
def test_the_cumulative_hazard_starts_at_0_and_is_always_finite(name, cure):
    h = _cumulative(CASES[name], [0.0, 1e-300, 1.0, 1e4, 1e300, np.inf], cure)
    assert h[0] == 0.0 and not np.signbit(h[0])
    assert np.isfinite(h).all() and (np.diff(h) >= 0.0).all()
    assert np.isnan(_cumulative(CASES[name], np.nan, cure)[0])


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("cure", CURES)
def test_thresholds_at_the_limits(name, cure):
    u = _inverse(CASES[name], [0.0, np.inf, np.nan], cure)
    assert u[0] == 0.0
    assert u[1] == np.inf
    assert np.isnan(u[2])


def test_thresholds_beyond_a_plateau_are_never_reached():
    # Gompertz: H(inf) = -rate / shape = 0.8; mixture cure: -log c; a table that ends flat: its last value.
    plateau = CASES["gompertz, plateau"]
    assert _inverse(plateau, [0.8 * (1 + 1e-15), 1.0]).tolist() == [np.inf, np.inf]
    assert np.isfinite(_inverse(plateau, 0.8 * (1 - 1e-12)))
    for name in CASES:
        assert _inverse(CASES[name], [1.0000001 * math.log(4), 5.0], 0.25).tolist() == [np.inf, np.inf], name
    assert np.isfinite(_inverse(CASES["exponential"], 0.9999999 * math.log(4), 0.25))
    assert _inverse(CASES["table that ends flat"], [0.9, 0.9000001])[1] == np.inf


@pytest.mark.parametrize(
    "case",
    [
        (hz.EXPONENTIAL, 0.0, 0.0, 0, 0),
        (hz.WEIBULL, 1.2, np.inf, 0, 0),
        (hz.GOMPERTZ, 0.1, 0.0, 0, 0),
        (hz.GOMPERTZ, -0.1, 0.0, 0, 0),
        (hz.LLOGIS, 1.2, np.inf, 0, 0),
        (hz.LNORM, np.inf, 1.0, 0, 0),
        (hz.TABLE, 0.0, 0.0, 0, 2),
    ],
)
@pytest.mark.parametrize("cure", CURES)
def test_no_hazard_means_never(case, cure):
    tables = np.array([0.0, 1.0, 0.0, 0.0])
    u = _inverse(case, [0.0, 1e-300, 1.0, 1e300, np.inf, np.nan], cure, tables)
    assert (u[:5] == np.inf).all() and np.isnan(u[5])
    assert (_cumulative(case, [0.0, 1.0, 1e300], cure, tables) == 0.0).all()
    assert hz.inverse(*case[:3], cure, tables, *case[3:], 1.0) == np.inf


def test_a_missing_parameter_gives_nan_and_not_a_time():
    for family in (hz.EXPONENTIAL, hz.WEIBULL, hz.GOMPERTZ, hz.LLOGIS, hz.LNORM):
        for p0, p1 in [(np.nan, 1.0), (1.0, np.nan)]:
            if family == hz.EXPONENTIAL and not np.isnan(p0):
                continue
            assert np.isnan(_inverse((family, p0, p1, 0, 0), [0.5])).all(), (family, p0, p1)
            assert np.isnan(_cumulative((family, p0, p1, 0, 0), [0.5])).all(), (family, p0, p1)
    assert np.isnan(_inverse((99, 1.0, 1.0, 0, 0), 0.5)) and np.isnan(_cumulative((99, 1.0, 1.0, 0, 0), 0.5))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([hz.EXPONENTIAL, hz.WEIBULL, hz.GOMPERTZ, hz.LLOGIS, hz.LNORM]),
    st.floats(-8.0, 3.0),
    st.floats(-6.0, 6.0),
    st.sampled_from([0.0, 1e-12, 0.4, 0.999]),
)
def test_any_parameters_give_a_cumulative_hazard(family, first, second, cure):
    p0 = first if family in (hz.GOMPERTZ, hz.LNORM) else math.exp(first)
    case = (family, p0, math.exp(second), 0, 0)
    u = np.concatenate([[0.0], np.geomspace(1e-6, 1e6, 60)])
    h = _cumulative(case, u, cure)
    assert h[0] == 0.0 and np.isfinite(h).all() and (np.diff(h) >= -1e-13 * h[1:]).all()
    t = _inverse(case, np.geomspace(1e-10, 1e3, 40), cure)
    assert (t >= 0.0).all() and not np.isnan(t).any()
    assert (t[1:] >= t[:-1] * (1 - 1e-12)).all()


# -- blocks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("cure", CURES)
def test_blocks_give_the_bits_of_the_scalar_functions(name, cure):
    family, p0, p1, offset, count = CASES[name]
    u = np.concatenate([[0.0, np.inf, np.nan, 1.0, 2.5, 4.0], _spread(95, 4, 1e-9, 1e4)])
    h = np.concatenate([[0.0, np.inf, np.nan, 0.1, 0.7, 0.9], _spread(95, 5, 1e-12, 900.0)])
    with np.errstate(all="ignore"):
        one = np.array([hz.cumulative(family, p0, p1, cure, TABLES, offset, count, v) for v in u])
        assert _same_bits(one, _cumulative(CASES[name], u, cure))
        one = np.array([hz.inverse(family, p0, p1, cure, TABLES, offset, count, v) for v in h])
        assert _same_bits(one, _inverse(CASES[name], h, cure))


@pytest.mark.parametrize("name", CASES)
def test_blocks_may_work_in_place_and_touch_only_their_part(name):
    family, p0, p1, offset, count = CASES[name]
    u = _spread(50, 6, 1e-3, 50.0)
    scratch = np.full(50, -7, dtype=np.int64)
    for cure in CURES:
        for block, expected in [(hz.cumulative_block, _cumulative), (hz.inverse_block, _inverse)]:
            place = u.copy()
            with np.errstate(all="ignore"):
                block(family, p0, p1, cure, TABLES, offset, count, place, place, 37, scratch)
            apart = np.full(50, -7.0)
            with np.errstate(all="ignore"):
                block(family, p0, p1, cure, TABLES, offset, count, u, apart, 37, scratch)
            assert np.array_equal(place[:37], expected(CASES[name], u[:37], cure))
            assert np.array_equal(place[:37], apart[:37]) and (apart[37:] == -7.0).all()
            assert np.array_equal(place[37:], u[37:]) and (scratch[37:] == -7).all()


# -- tables -----------------------------------------------------------------------------------------------------------


def test_a_table_by_hand():
    # 0.1 at 1, flat to 2.5, then 0.4 a month to 4; after 12 the last slope, 0.3 a month, goes on.
    table = CASES["table"]
    found = _cumulative(table, [0.5, 1.0, 2.0, 2.5, 3.0, 4.0, 11.0, 12.0, 22.0])
    np.testing.assert_allclose(found, [0.05, 0.1, 0.1, 0.1, 0.3, 0.7, 1.2, 1.5, 4.5], rtol=1e-14)
    # The first time at which 0.1 is reached is 1, not 2.5.
    found = _inverse(table, [0.05, 0.1, 0.3, 0.7, 1.2, 1.5, 4.5])
    np.testing.assert_allclose(found, [0.5, 1.0, 3.0, 4.0, 11.0, 12.0, 22.0], rtol=1e-14)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 7, 8, 9, 16, 17, 33, 100, 128, 129])
def test_the_search_finds_the_segment_in_tables_of_any_length(count):
    rng = np.random.default_rng(count)
    times = np.concatenate([[0.0], np.cumsum(rng.uniform(0.1, 2.0, count - 1))])
    values = np.concatenate([[0.0], np.cumsum(rng.uniform(0.1, 2.0, count - 1))])
    tables = np.concatenate([[-9.0, -9.0], times, values, [-9.0]])
    u = np.concatenate([times, rng.uniform(0.0, times[-1], 200)])
    found = _cumulative((hz.TABLE, 0.0, 0.0, 2, count), u, tables=tables)
    np.testing.assert_allclose(found, np.interp(u, times, values), rtol=1e-13)
    found = _inverse((hz.TABLE, 0.0, 0.0, 2, count), np.interp(u, times, values), tables=tables)
    np.testing.assert_allclose(found, u, rtol=1e-12, atol=1e-12)


def test_a_log_table_is_a_power_of_time_between_and_beyond_its_knots():
    u = _spread(100, 7, 1e-6, 1e6)
    np.testing.assert_allclose(_cumulative(CASES["log table"], u), u**1.3 / 40.0, rtol=1e-13)
    np.testing.assert_allclose(_inverse(CASES["log table"], u**1.3 / 40.0), u, rtol=1e-13)


def test_piecewise_constant_hazards_by_hand():
    times, values = hz.pwexp_table([0.0, 6.0, 24.0], [[0.1, 0.02, 0.0], [0.0, 0.5, 1.0]])
    assert times.shape == values.shape == (2, 4)
    np.testing.assert_allclose(values[:, :3], [[0.0, 0.6, 0.96], [0.0, 0.0, 9.0]], rtol=1e-15)
    tables = np.concatenate([times[1], values[1]])
    case = (hz.TABLE, 0.0, 0.0, 0, 4)
    np.testing.assert_allclose(_cumulative(case, [6.0, 8.0, 24.0, 34.0], tables=tables), [0.0, 1.0, 9.0, 19.0])
    np.testing.assert_allclose(_inverse(case, [0.0, 1.0, 19.0], tables=tables), [0.0, 8.0, 34.0])
    one = np.concatenate(hz.pwexp_table([0.0], [0.25]))
    np.testing.assert_allclose(_cumulative((hz.TABLE, 0.0, 0.0, 0, 2), [4.0, 400.0], tables=one), [1.0, 100.0])


def _gengamma_log_hazard(x, q):
    """Return log H of the standard generalised gamma at log times x, by SciPy's incomplete gamma functions."""
    if q == 0.0:
        return np.log(-special.log_ndtr(-x))
    k = q**-2.0
    z = k * np.exp(q * x)
    lower, upper = special.gammainc(k, z), special.gammaincc(k, z)
    died, alive = (lower, upper) if q > 0 else (upper, lower)
    return np.log(np.where(died < 0.5, -np.log1p(-died), -np.log(alive)))


@pytest.mark.parametrize("q", [-3.0, -1.0, -0.3, 0.0, 0.2, 1.0, 1.7, 5.0])
def test_the_generalised_gamma_table_keeps_its_error_bound(q):
    for count, bound in [(4096, 1e-6), (512, 6.4e-5)]:
        x, y = hz.gengamma_table(0.0, 1.0, q, count)
        assert (np.diff(x) > 0).all() and (np.diff(y) > 0).all()
        assert y[0] < math.log(1e-8) and y[-1] > math.log(200.0)
        at = np.linspace(x[0], x[-1], 5003)
        with np.errstate(all="ignore"):
            truth = _gengamma_log_hazard(at, q)
            # SciPy's incomplete gamma functions lose accuracy where their argument underflows.
            trusted = np.isfinite(truth) & ((q >= 0.0) | (np.exp(q * at) > 1e-250))
        assert trusted.sum() > 1500
        assert np.abs(np.interp(at, x, y) - truth)[trusted].max() < bound


def test_generalised_gamma_tables_of_several_draws_shift_and_stretch():
    mu, sigma, q = np.array([[2.0], [2.5]]), np.array([0.8, 1.1, 1.3]), 0.5
    times, values = hz.gengamma_table(mu, sigma, q, 64)
    assert times.shape == values.shape == (2, 3, 64)
    x, y = hz.gengamma_table(0.0, 1.0, q, 64)
    np.testing.assert_allclose(times[1, 2], 2.5 + 1.3 * x, rtol=1e-14)
    assert np.array_equal(values[1, 2], y)


def test_special_cases_of_the_generalised_gamma():
    # Q = 1 is Weibull with shape 1 / sigma and scale e^mu, Q = 0 log-normal, Q = sigma gamma.
    u = _spread(200, 8, 0.3, 60.0)
    case = (hz.LOGTABLE, 0.0, 0.0, 0, 4096)
    weibull = np.concatenate(hz.gengamma_table(3.0, 0.8, 1.0))
    np.testing.assert_allclose(
        _cumulative(case, u, tables=weibull), _cumulative((hz.WEIBULL, 1 / 0.8, math.exp(3.0), 0, 0), u), rtol=1e-12
    )
    normal = np.concatenate(hz.gengamma_table(3.0, 0.8, 0.0))
    np.testing.assert_allclose(
        _cumulative(case, u, tables=normal), _cumulative((hz.LNORM, 3.0, 0.8, 0, 0), u), rtol=1e-6
    )
    # flexsurv: gamma with shape s and rate r has mu = log(s / r), sigma = Q = 1 / sqrt(s)
    gamma = np.concatenate(hz.gengamma_table(math.log(2.5 / 0.2), 2.5**-0.5, 2.5**-0.5))
    np.testing.assert_allclose(_cumulative(case, u, tables=gamma), -stats.gamma(2.5, scale=1 / 0.2).logsf(u), rtol=1e-6)
    h = _spread(200, 9, 1e-6, 30.0)
    np.testing.assert_allclose(_inverse(case, h, tables=normal), _inverse((hz.LNORM, 3.0, 0.8, 0, 0), h), rtol=1e-6)


def test_splines_without_inner_knots_are_the_textbook_families():
    # Royston and Parmar 2002: hazard scale Weibull, odds scale log-logistic, normal scale log-normal.
    u = _spread(200, 10, 0.05, 300.0)
    case = (hz.LOGTABLE, 0.0, 0.0, 0, 4096)
    for scale, twin in [("hazard", hz.WEIBULL), ("odds", hz.LLOGIS)]:
        table = np.concatenate(hz.survspline_table([-1.4 * 2.5, 1.4], [0.0, 4.0], scale))
        expected = _cumulative((twin, 1.4, math.exp(2.5), 0, 0), u)
        np.testing.assert_allclose(_cumulative(case, u, tables=table), expected, rtol=1e-6)
    table = np.concatenate(hz.survspline_table([-2.5 / 1.1, 1 / 1.1], [0.0, 4.0], "normal"))
    np.testing.assert_allclose(
        _cumulative(case, u, tables=table), _cumulative((hz.LNORM, 2.5, 1.1, 0, 0), u), rtol=1e-6
    )


@pytest.mark.parametrize("scale", ["hazard", "odds", "normal"])
def test_splines_with_inner_knots_agree_with_an_interpolating_spline(scale):
    gamma, knots = [-4.0, 1.6, 0.05, -0.08], np.array([-1.0, 1.0, 2.5, 4.5])
    # flexsurv's basis at the knots themselves, with its plus functions written out
    at_knots = []
    for x in knots:
        value = gamma[0] + gamma[1] * x
        for weight, knot in zip(gamma[2:], knots[1:-1], strict=True):
            share = (knots[-1] - knot) / (knots[-1] - knots[0])
            plus = [max(x - place, 0.0) ** 3 for place in (knot, knots[0], knots[-1])]
            value += weight * (plus[0] - share * plus[1] - (1 - share) * plus[2])
        at_knots.append(value)
    natural = interpolate.CubicSpline(knots, at_knots, bc_type="natural")
    x = np.linspace(-1.0, 4.5, 500)
    s = natural(x)
    expected = {"hazard": np.exp, "odds": lambda s: np.log1p(np.exp(s)), "normal": lambda s: -special.log_ndtr(-s)}
    times, values = hz.survspline_table([gamma, gamma], knots, scale)
    assert times.shape == (2, 4096) and np.array_equal(values[0], values[1])
    table = np.concatenate([times[0], values[0]])
    found = _cumulative((hz.LOGTABLE, 0.0, 0.0, 0, 4096), np.exp(x), tables=table)
    np.testing.assert_allclose(found, expected[scale](s), rtol=1e-6)


def test_a_spline_along_which_survival_rises_is_refused():
    with pytest.raises(ModelError, match="survspline gamma lets survival rise at time"):
        hz.survspline_table([-2.0, -0.5], [0.0, 3.0])


# -- parameters -------------------------------------------------------------------------------------------------------

GOOD = {
    "exponential": {"rate": [0.0, 0.1]},
    "weibull": {"shape": 1.2, "scale": np.inf},
    "gompertz": {"shape": -0.1, "rate": 0.2},
    "llogis": {"shape": 2.0, "scale": 3.0},
    "lnorm": {"meanlog": -1.0, "sdlog": 0.5},
    "gengamma": {"mu": 1.0, "sigma": 0.5, "Q": -0.2},
    "survspline": {"gamma": [-3.0, 1.0], "knots": [0.0, 2.0], "scale": "odds"},
    "pwexp": {"times": [0.0, 3.0], "rates": [0.1, 0.0]},
    "table": {"times": [0.0, 1.0], "cumulative_hazards": [0.0, 0.0]},
}


@pytest.mark.parametrize("name", hz.FAMILIES)
def test_good_parameters_are_accepted(name):
    hz.check_family(name, GOOD[name])
    hz.check_family(name, {**GOOD[name], "cure": [0.0, 0.5]})
    assert set(GOOD[name]) == set(hz.FAMILIES[name][1])


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("weibul", {}, "hazard family 'weibul' is unknown; known are exponential, weibull"),
        ("weibull", {"rate": 1.0}, "weibull has no parameter 'rate'; it has shape, scale and cure"),
        ("weibull", {"scale": None}, "weibull scale is None; it must be a number"),
        ("weibull", {"scale": []}, "weibull scale is empty"),
        ("weibull", {"scale": 0.0}, "weibull scale is 0; it must be above 0"),
        ("weibull", {"scale": [1.0, -2.0]}, "weibull scale is -2; it must be above 0"),
        ("weibull", {"shape": np.inf}, "weibull shape is inf; it must be finite and above 0"),
        ("exponential", {"rate": -1.0}, "exponential rate is -1; it must be finite and at least 0"),
        ("exponential", {"rate": np.nan}, "exponential rate is nan; it must be finite and at least 0"),
        ("gompertz", {"shape": np.inf}, "gompertz shape is inf; it must be finite"),
        ("gompertz", {"rate": -0.1}, "gompertz rate is -0.1"),
        ("llogis", {"shape": 0.0}, "llogis shape is 0"),
        ("lnorm", {"sdlog": 0.0}, "lnorm sdlog is 0"),
        ("lnorm", {"meanlog": np.nan}, "lnorm meanlog is nan; it must be a number"),
        ("gengamma", {"sigma": -1.0}, "gengamma sigma is -1"),
        ("gengamma", {"Q": np.inf}, "gengamma Q is inf"),
        ("weibull", {"cure": 1.0}, "weibull cure is 1; it must be at least 0 and below 1"),
        ("weibull", {"cure": -0.1}, "weibull cure is -0.1"),
        ("weibull", {"cure": np.nan}, "weibull cure is nan"),
        ("pwexp", {"times": [0.0, 0.0]}, "pwexp times do not increase"),
        ("pwexp", {"times": [1.0, 2.0]}, "pwexp times start at 1; they must start at 0"),
        ("pwexp", {"rates": [0.1]}, "pwexp has 2 times and 1 rates"),
        ("pwexp", {"rates": [0.1, -0.1]}, "pwexp rates is -0.1"),
        ("table", {"cumulative_hazards": [0.1, 0.2]}, "table cumulative_hazards start at 0.1; they must start at 0"),
        ("table", {"times": [0.0, 1.0, 2.0], "cumulative_hazards": [0.0, 0.2, 0.1]}, "cumulative_hazards fall"),
        ("table", {"times": [0.0], "cumulative_hazards": [0.0]}, "table has one knot; there must be at least two"),
        ("survspline", {"scale": "probit"}, "survspline scale is 'probit'; known are hazard, odds, normal"),
        ("survspline", {"knots": [2.0, 0.0]}, "survspline knots do not increase"),
        ("survspline", {"gamma": [1.0, 2.0, 3.0]}, "survspline has 3 gamma and 2 knots"),
    ],
)
def test_wrong_parameters_are_refused_by_name(name, change, words):
    with pytest.raises(ModelError) as refusal:
        hz.check_family(name, {**GOOD.get(name, {}), **change})
    assert words in str(refusal.value)


def test_a_missing_parameter_is_refused_by_name():
    with pytest.raises(ModelError, match="weibull lacks its parameter scale"):
        hz.check_family("weibull", {"shape": 1.0})
    for build in (hz.gengamma_table, hz.survspline_table):
        with pytest.raises(ModelError, match="at least 16 knots"):
            build(*list(GOOD[build.__name__.removesuffix("_table")].values()), 8)
