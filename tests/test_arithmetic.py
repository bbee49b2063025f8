"""The elementary functions against exact decimal arithmetic, at their limits, and element by element."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest

from simhcc.engine import arithmetic as a

INF, NAN = math.inf, math.nan
DIGITS = 60


def _points(n, seed, low, high):
    """Return n numbers whose logarithms are spread evenly between those of low and high."""
    return np.exp(np.random.default_rng(seed).uniform(math.log(low), math.log(high), n))


def _exact(function, *columns):
    """Return `function` of exact decimal arguments, row by row."""
    with localcontext() as context:
        context.prec = DIGITS
        context.Emin, context.Emax = -999999, 999999
        return [function(*(Decimal(float(x)) for x in row)) for row in zip(*columns, strict=True)]


def _relative(found, exact):
    """Return the largest relative difference of floats from exact decimals."""
    with localcontext() as context:
        context.prec = DIGITS
        return max(float(abs(Decimal(float(f)) / e - 1)) for f, e in zip(found, exact, strict=True))


def _units(found, exact):
    """Return the largest error in units in the last place of the exact value."""
    with localcontext() as context:
        context.prec = DIGITS
        return max(
            float(abs(Decimal(float(f)) - e) / Decimal(math.ulp(abs(float(e)))))
            for f, e in zip(found, exact, strict=True)
        )


def _upper_tail(z):
    """Return P(Z > z) by the power series about 0 or, from 6 on, by Laplace's continued fraction."""
    if z < 0:
        return 1 - _upper_tail(-z)
    density = (-z * z / 2).exp() / (2 * PI).sqrt()
    if z < 6:
        total = term = z
        n = 1
        while abs(term) > Decimal(10) ** (-DIGITS - 5):
            n += 2
            term = term * z * z / n
            total += term
        return Decimal("0.5") - density * total
    fraction = z
    for k in range(600, 0, -1):
        fraction = z + k / fraction
    return density / fraction


PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640629")
TAILS = np.concatenate([np.linspace(-37.03, 37.01, 151), np.linspace(-0.01, 0.01, 21), [50.1, 100.3, 200.7, 440.9]])


# -- accuracy ---------------------------------------------------------------------------------------------------------


def test_log_is_within_one_unit_in_the_last_place():
    x = np.concatenate([_points(600, 1, 1e-307, 1e308), _points(600, 2, 0.5, 2.0), [1 - 2**-53, 1 + 2**-52, 2.3e-308]])
    assert _units(a.log_array(x), _exact(lambda v: v.ln(), x)) < 1.0


def test_exp_is_within_one_unit_in_the_last_place():
    x = np.concatenate([np.random.default_rng(3).uniform(-708.3, 709.7, 600), np.linspace(-1.0, 1.0, 501)])
    assert _units(a.exp_array(x), _exact(lambda v: v.exp(), x)) < 1.0


def test_log1p_is_precise_for_small_and_large_arguments():
    x = np.concatenate([_points(400, 4, 1e-300, 1e300), -_points(400, 5, 1e-300, 0.999), [-(1 - 2**-53), 0.41, -0.29]])
    with localcontext() as context:
        context.prec = 340  # 1 + 1e-300 must not be rounded
        exact = [(1 + Decimal(float(v))).ln() if abs(v) > 1e-20 else Decimal(float(v)) for v in x]
    assert _relative(a.log1p_array(x), exact) < 4e-16


def test_expm1_is_precise_for_small_and_large_arguments():
    x = np.concatenate([_points(400, 6, 1e-20, 709.0), -_points(400, 7, 1e-20, 60.0), [0.3465, 0.3467, -0.3466]])
    with localcontext() as context:
        context.prec = DIGITS
        exact = [Decimal(float(v)).exp() - 1 for v in x]
    assert _relative(a.expm1_array(x), exact) < 4e-16
    tiny = np.array([1e-300, -1e-300, 1e-17])
    assert np.array_equal(a.expm1_array(tiny), tiny)


def test_power_keeps_its_accuracy_for_large_results():
    x = np.concatenate([_points(400, 8, 1e-10, 1e10), _points(200, 9, 1e-300, 1e300), _points(400, 10, 0.5, 2.0)])
    p = np.random.default_rng(11).uniform(-100.0, 100.0, x.size)
    p = np.where(np.abs(np.log(x) * p) > 700.0, 600.0 / np.log(x), p)
    assert _relative(a.power_array(x, p), _exact(lambda u, v: (u.ln() * v).exp(), x, p)) < 4e-15


def test_normal_log_sf_is_precise_far_into_both_tails():
    exact = _exact(lambda z: _upper_tail(z).ln() if z > 0 else -_minus_log1p(_upper_tail(-z)), TAILS)
    assert _relative(a.normal_log_sf_array(TAILS), exact) < 5e-15


def _minus_log1p(p):
    """Return -log(1 - p) for a decimal p that may be too small for 1 - p."""
    return p + p * p / 2 if p < Decimal(10) ** -25 else -(1 - p).ln()


def _cumulative_and_hazard(z):
    tail = _upper_tail(z)
    h = _minus_log1p(_upper_tail(-z)) if z < 0 else -tail.ln()
    return h, (-z * z / 2).exp() / (2 * PI).sqrt() / tail


def test_normal_isf_log_solves_its_equation_from_1e_300_to_1e5():
    h = np.concatenate([_points(150, 12, 1e-300, 1e-3), _points(250, 13, 1e-3, 50.0), _points(60, 14, 50.0, 1e5)])
    h = np.concatenate([h, [0.0779, 0.078, 2.59, 2.5903, 99.99, 100.01, 0.6931, 0.6932]])
    z = a.normal_isf_log_array(h)
    # One Newton step in exact arithmetic measures the error of z.
    with localcontext() as context:
        context.prec = DIGITS
        context.Emin, context.Emax = -999999, 999999
        for found, target in zip(z, h, strict=True):
            reached, hazard = _cumulative_and_hazard(Decimal(float(found)))
            error = float((reached - Decimal(float(target))) / hazard)
            assert abs(error) <= (3e-15 if abs(found) < 13.0 else 4e-14) * abs(found), (target, found, error)


def test_normal_quantile_solves_its_equation():
    p = np.concatenate(
        [_points(150, 15, 1e-300, 0.5), 1.0 - _points(100, 16, 1e-15, 0.5), [0.075, 0.925, 0.0749, 0.9251]]
    )
    z = a.normal_quantile_array(p)
    with localcontext() as context:
        context.prec = DIGITS
        context.Emin, context.Emax = -999999, 999999
        for found, target in zip(z, p, strict=True):
            at = Decimal(float(found))
            density = (-at * at / 2).exp() / (2 * PI).sqrt()
            error = float((_upper_tail(-at) - Decimal(float(target))) / density)
            assert abs(error) <= (3e-15 if abs(found) < 13.0 else 4e-14) * abs(found), (target, found, error)


def test_normal_quantile_is_odd():
    p = np.array([0.25, 0.0625, 2.0**-20])  # 1 - p is exact
    assert np.array_equal(a.normal_quantile_array(p), -a.normal_quantile_array(1.0 - p))
    assert a.normal_quantile_array(0.5) == 0.0


# -- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "table"),
    [
        (a.log_array, [(0.0, -INF), (-0.0, -INF), (1.0, 0.0), (INF, INF), (-1.0, NAN), (-INF, NAN)]),
        (a.log1p_array, [(0.0, 0.0), (-1.0, -INF), (INF, INF), (-1.5, NAN), (-INF, NAN)]),
        (a.exp_array, [(0.0, 1.0), (-INF, 0.0), (INF, INF), (-1e300, 0.0), (710.0, INF), (1e300, INF), (-709.0, 0.0)]),
        (a.expm1_array, [(0.0, 0.0), (-INF, -1.0), (-1e300, -1.0), (INF, INF), (710.0, INF), (1e300, INF)]),
        (a.normal_quantile_array, [(0.0, -INF), (0.5, 0.0), (1.0, INF), (-0.1, NAN), (1.1, NAN), (INF, NAN)]),
        (a.normal_log_sf_array, [(-INF, 0.0), (INF, -INF), (1e200, -INF), (-1e200, 0.0)]),
        (a.normal_isf_log_array, [(0.0, -INF), (INF, INF), (-1.0, NAN)]),
    ],
)
def test_limits(function, table):
    for x, expected in [*table, (NAN, NAN)]:
        found = function(x)
        assert np.array_equal(found, expected, equal_nan=True), (x, found, expected)


def test_limits_of_the_power():
    for x, p, expected in [
        (0.0, 2.0, 0.0),
        (0.0, -2.0, INF),
        (0.0, 0.0, 1.0),
        (5.0, 0.0, 1.0),
        (INF, 0.5, INF),
        (INF, -0.5, 0.0),
        (1.0, 1e5, 1.0),
        (2.0, 1e5, INF),
        (2.0, -1e5, 0.0),
        (4.0, 0.5, 2.0),
        (-1.0, 2.0, NAN),
        (NAN, 2.0, NAN),
        (2.0, NAN, NAN),
    ]:
        assert np.array_equal(a.power_array(x, p), expected, equal_nan=True), (x, p)


def test_every_nan_stays_nan():
    # A missing value of R carries 1954 in its low bits, which exponent tricks could mistake for a number.
    missing = np.array([0x7FF00000000007A2, 0x7FF80000000007A2, 0xFFF8000000000000], dtype=np.uint64).view(np.float64)
    for function in (a.log_array, a.log1p_array, a.exp_array, a.expm1_array):
        assert np.isnan(function(missing)).all(), function
    for function in (a.normal_quantile_array, a.normal_log_sf_array, a.normal_isf_log_array):
        assert np.isnan(function(missing)).all(), function
    assert np.isnan(a.power_array(missing, 1.5)).all()


# -- arrays -----------------------------------------------------------------------------------------------------------


def test_arrays_keep_their_shape_and_layout_does_not_matter():
    x = np.linspace(0.1, 3.0, 24).reshape(2, 3, 4)
    assert a.log_array(x).shape == (2, 3, 4)
    assert np.array_equal(a.log_array(x.T), a.log_array(x).T)
    assert np.array_equal(a.exp_array(x[:, ::2]), a.exp_array(x)[:, ::2])
    assert a.log_array(2).shape == () and a.log_array([]).shape == (0,)
    assert a.power_array(x, [1.0, 2.0, 3.0, 4.0]).shape == (2, 3, 4)
    assert a.power_array(3.0, 2.0) == pytest.approx(9.0, rel=1e-15)


def test_an_element_does_not_depend_on_its_neighbours():
    # The vector loop and the loop over what is left of it give the same bits.
    x = _points(37, 17, 1e-3, 30.0)
    for function in (a.log_array, a.exp_array, a.normal_log_sf_array, a.normal_isf_log_array):
        assert np.array_equal(function(x), [float(function(v)) for v in x])
