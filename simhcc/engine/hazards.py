"""Cumulative hazards of the survival families and their inverses, scalar and for blocks of patients.

Parameters have the names and meanings of the R package flexsurv (Jackson 2016, J Stat Softw 70(8),
doi:10.18637/jss.v070.i08). H(u) is the cumulative hazard at time u, with H(0) = 0, finite and never falling; the
inverse gives the first time at which H reaches h, or infinity when it never does. Time is in months in the engine,
but nothing here depends on that.

Every family has a code and two numbers, p0 and p1. Costlier shapes are tables of knots: `TABLE` is linear in time
and cumulative hazard, `LOGTABLE` is linear in log time and log cumulative hazard and holds the logarithms. A table of
`count` knots that starts at `offset` has its times in tables[offset : offset + count] and its values in the `count`
places after them; times increase, values never fall. Tables go on with their last slope, log tables with their first
slope towards 0 as well.

Any family can carry a cured fraction c, `cure`: S = c + (1 - c) S0.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from simhcc.engine.arithmetic import (
    INF,
    LARGEST,
    NAN,
    exp_,
    exp_and_expm1,
    exp_sum,
    expm1_,
    isf_log_first,
    isf_log_score,
    log1p_,
    log_,
    log_of_parts,
    log_sf_first,
    log_sf_last,
    log_sf_second,
    normal_from_score,
    normal_isf_log,
    normal_log_sf,
    power_,
    power_log,
    split_exponent,
)
from simhcc.engine.compiled import compiled, inline
from simhcc.errors import ModelError

EXPONENTIAL = 0
WEIBULL = 1
GOMPERTZ = 2
LLOGIS = 3
LNORM = 4
TABLE = 5
LOGTABLE = 6

# A Gompertz shape closer to 0 than this is 0: the hazard is constant.
_FLAT = np.float64(1e-200)
# Above this the log-logistic inverse takes e^h - 1 for e^h.
_LATE = np.float64(700.0)


@inline
def _finite(x):  # type: ignore[no-untyped-def]
    """Return x, or the largest number for infinity, so that differences of cumulative hazards are never NaN."""
    return LARGEST if x > LARGEST else x


@inline
def _keep(x):  # type: ignore[no-untyped-def]
    """Return the bits of a float64 as a signed integer: a place in a scratch array holds a float between stages."""
    return np.float64(x).view(np.int64)


@inline
def _kept(bits):  # type: ignore[no-untyped-def]
    """Return the float64 that `_keep` put away."""
    return np.int64(bits).view(np.float64)


@inline
def cumulative_exponential(u, rate, unused):  # type: ignore[no-untyped-def]
    """Return H(u) = rate u."""
    return _finite(rate * _finite(u))


@inline
def inverse_exponential(h, rate, unused):  # type: ignore[no-untyped-def]
    """Return the time at which rate u reaches h."""
    return h / rate


@inline
def cumulative_weibull(u, shape, scale):  # type: ignore[no-untyped-def]
    """Return H(u) = (u / scale)^shape."""
    return _finite(power_(_finite(u) / scale, shape))


@inline
def inverse_weibull(h, shape, scale):  # type: ignore[no-untyped-def]
    """Return the time at which (u / scale)^shape reaches h."""
    return scale * power_(h, 1.0 / shape)


@inline
def cumulative_gompertz(u, shape, rate):  # type: ignore[no-untyped-def]
    """Return H(u) = rate (e^(shape u) - 1) / shape, and rate u for shape 0; a negative shape has a plateau."""
    flat = abs(shape) < _FLAT
    factor = rate if flat else rate / shape
    u = _finite(u)
    return _finite(factor * (u if flat else _finite(expm1_(shape * u))))


@inline
def inverse_gompertz(h, shape, rate):  # type: ignore[no-untyped-def]
    """Return the time at which the Gompertz cumulative hazard reaches h; infinity from its plateau on."""
    flat = abs(shape) < _FLAT
    x = h * (1.0 / rate if flat else shape / rate)
    u = log1p_(x) * (1.0 if flat else 1.0 / shape)
    return x if flat else (INF if x <= -1.0 else u)


@inline
def _llogis_parts(hi, lo):  # type: ignore[no-untyped-def]
    """Return (max(y, 0), e^-|y|) for y = hi + lo: log(1 + e^y) is the first plus log1p of the second."""
    early = hi < 0.0
    return 0.0 if early else hi + lo, exp_sum(hi if early else -hi, lo if early else -lo)


@inline
def cumulative_llogis(u, shape, scale):  # type: ignore[no-untyped-def]
    """Return H(u) = log(1 + (u / scale)^shape), without overflow of the power."""
    hi, lo = power_log(_finite(_finite(u) / scale), shape)
    base, part = _llogis_parts(hi, lo)
    return base + log1p_(part)


@inline
def inverse_llogis(h, shape, scale):  # type: ignore[no-untyped-def]
    """Return the time at which the log-logistic cumulative hazard reaches h: scale (e^h - 1)^(1 / shape)."""
    late = h > _LATE
    hi, lo = power_log(expm1_(_LATE if late else h), 1.0 / shape)
    y = h * (1.0 / shape)
    return scale * exp_sum(y if late else hi, 0.0 if late else lo)


@inline
def cumulative_lnorm(u, meanlog, sdlog):  # type: ignore[no-untyped-def]
    """Return H(u) = -log P(Z > (log u - meanlog) / sdlog) for a standard normal Z."""
    return _finite(-normal_log_sf((log_(_finite(u)) - meanlog) * (1.0 / sdlog)))


@inline
def inverse_lnorm(h, meanlog, sdlog):  # type: ignore[no-untyped-def]
    """Return the time at which the log-normal cumulative hazard reaches h."""
    return exp_(meanlog + sdlog * normal_isf_log(h))


@inline
def _cure_parts(h, cure):  # type: ignore[no-untyped-def]
    """Return survival S = c + (1 - c) e^-h and S - 1, which is precise for small h."""
    e, d = exp_and_expm1(-h)
    share = 1.0 - cure
    return cure + share * e, share * d


@inline
def _uncure_parts(h, cure):  # type: ignore[no-untyped-def]
    """Return survival of the uncured S0 = (e^-h - c) / (1 - c) and S0 - 1, which is precise for small h."""
    e, d = exp_and_expm1(-h)
    factor = 1.0 / (1.0 - cure)
    return (e - cure) * factor, d * factor


@inline
def _minus_log(s, d):  # type: ignore[no-untyped-def]
    """Return -log(s), given d = s - 1 too; infinity for s <= 0."""
    m, k = split_exponent(s)
    y = -log_of_parts(s, d if k == 0.0 else m - 1.0, k)
    return INF if s <= 0.0 else y


@inline
def with_cure(h, cure):  # type: ignore[no-untyped-def]
    """Return -log(c + (1 - c) e^-h): the cumulative hazard of all, h being that of the uncured."""
    s, d = _cure_parts(h, cure)
    return _minus_log(s, d)


@inline
def without_cure(h, cure):  # type: ignore[no-untyped-def]
    """Return the cumulative hazard of the uncured at which that of all reaches h; infinity from -log c on."""
    s, d = _uncure_parts(h, cure)
    return _minus_log(s, d)


@inline
def _segment(tables, first, inner, x, strict):  # type: ignore[no-untyped-def]
    """Return how many of the `inner` knots after place `first` lie at or below x (`strict`: below x), by halving."""
    found = np.int64(0)
    left = np.int64(inner)
    while left > 0:
        half = (left + 1) // 2
        knot = tables[np.uint64(first + half + found)]
        found = found + half if ((knot < x) if strict else (knot <= x)) else found
        left -= half
    return found


@inline
def _segment_block(tables, first, inner, x, strict, found, n):  # type: ignore[no-untyped-def]
    """Fill `found` with `_segment` of every x: the loop over halvings outside, the loop over patients inside.

    The number of steps and their sizes are the same for all patients, so the inner loop has no branch.
    """
    for i in range(n):
        found[i] = 0
    left = np.int64(inner)
    while left > 0:
        half = (left + 1) // 2
        at = np.uint64(first + half)
        if strict:
            for i in range(n):
                found[i] += half if tables[at + np.uint64(found[i])] < x[i] else 0
        else:
            for i in range(n):
                found[i] += half if tables[at + np.uint64(found[i])] <= x[i] else 0
        left -= half


@inline
def _line(tables, at_x, at_y, x):  # type: ignore[no-untyped-def]
    """Return y at x on the line through two neighbouring knots, and the first knot's y at the knot whatever the slope.

    The knots' x stand at place `at_x` and the next, their y at `at_y` and the next.
    """
    one = np.uint64(1)
    x0, x1 = tables[at_x], tables[at_x + one]
    y0, y1 = tables[at_y], tables[at_y + one]
    d = x - x0
    return y0 if d == 0.0 else y0 + d * ((y1 - y0) / (x1 - x0))


@inline
def _never(family, p0, p1, tables, offset, count):  # type: ignore[no-untyped-def]
    """Return whether the hazard is 0 at all times: rate 0, infinite scale or a table that stays at 0."""
    if family == EXPONENTIAL:
        return p0 == 0.0
    if family == GOMPERTZ:
        return p1 == 0.0
    if family in (WEIBULL, LLOGIS):
        return p1 == INF
    if family == LNORM:
        return p0 == INF
    if family == TABLE:
        return tables[offset + 2 * count - 1] == 0.0
    return False


@inline
def _cumulative_table(u, tables, offset, count):  # type: ignore[no-untyped-def]
    k = np.uint64(offset + _segment(tables, offset, count - 2, u, False))
    return _finite(_line(tables, k, k + np.uint64(count), u))


@inline
def _inverse_table(h, tables, offset, count):  # type: ignore[no-untyped-def]
    k = np.uint64(offset + _segment(tables, offset + count, count - 2, h, True))
    return _line(tables, k + np.uint64(count), k, h)


@compiled
def cumulative(family, p0, p1, cure, tables, offset, count, u):  # type: ignore[no-untyped-def]
    """Return the cumulative hazard at time u; NaN for an unknown family."""
    if family == EXPONENTIAL:
        h = cumulative_exponential(u, p0, p1)
    elif family == WEIBULL:
        h = cumulative_weibull(u, p0, p1)
    elif family == GOMPERTZ:
        h = cumulative_gompertz(u, p0, p1)
    elif family == LLOGIS:
        h = cumulative_llogis(u, p0, p1)
    elif family == LNORM:
        h = cumulative_lnorm(u, p0, p1)
    elif family == TABLE:
        h = _cumulative_table(_finite(u), tables, offset, count)
    elif family == LOGTABLE:
        h = _finite(exp_(_cumulative_table(log_(_finite(u)), tables, offset, count)))
    else:
        h = NAN
    return with_cure(h, cure) if cure != 0.0 else h


@compiled
def inverse(family, p0, p1, cure, tables, offset, count, h):  # type: ignore[no-untyped-def]
    """Return the first time at which the cumulative hazard reaches h >= 0: infinity for never, NaN for NaN."""
    if _never(family, p0, p1, tables, offset, count):
        return INF if h >= 0.0 else NAN
    if cure != 0.0:
        h = without_cure(h, cure)
    if family == EXPONENTIAL:
        return inverse_exponential(h, p0, p1)
    if family == WEIBULL:
        return inverse_weibull(h, p0, p1)
    if family == GOMPERTZ:
        return inverse_gompertz(h, p0, p1)
    if family == LLOGIS:
        return inverse_llogis(h, p0, p1)
    if family == LNORM:
        return inverse_lnorm(h, p0, p1)
    if family == TABLE:
        return _inverse_table(h, tables, offset, count)
    if family == LOGTABLE:
        return exp_(_inverse_table(log_(h), tables, offset, count))
    return NAN


@compiled
def cumulative_block(family, p0, p1, cure, tables, offset, count, u, out, n, scratch):  # type: ignore[no-untyped-def]
    """Fill out[:n] with the cumulative hazards at the times u[:n]: the bits of `cumulative`.

    `u` and `out` are float64 arrays and may be the same one; `scratch` is an int64 array of at least n places.
    """
    if family == EXPONENTIAL:
        for i in range(n):
            out[i] = cumulative_exponential(u[i], p0, p1)
    elif family == WEIBULL:
        for i in range(n):
            out[i], lo = power_log(_finite(u[i]) / p1, p0)
            scratch[i] = _keep(lo)
        for i in range(n):
            out[i] = _finite(exp_sum(out[i], _kept(scratch[i])))
    elif family == GOMPERTZ:
        for i in range(n):
            out[i] = cumulative_gompertz(u[i], p0, p1)
    elif family == LLOGIS:
        for i in range(n):
            out[i], lo = power_log(_finite(_finite(u[i]) / p1), p0)
            scratch[i] = _keep(lo)
        for i in range(n):
            out[i], part = _llogis_parts(out[i], _kept(scratch[i]))
            scratch[i] = _keep(part)
        for i in range(n):
            out[i] = out[i] + log1p_(_kept(scratch[i]))
    elif family == LNORM:
        for i in range(n):
            out[i] = (log_(_finite(u[i])) - p0) * (1.0 / p1)
        for i in range(n):
            scratch[i] = _keep(log_sf_first(out[i]))
        for i in range(n):
            scratch[i] = _keep(log_sf_second(out[i], _kept(scratch[i])))
        for i in range(n):
            out[i] = _finite(-log_sf_last(out[i], _kept(scratch[i])))
    elif family == TABLE:
        for i in range(n):
            out[i] = _finite(u[i])
        _segment_block(tables, offset, count - 2, out, False, scratch, n)
        for i in range(n):
            k = np.uint64(offset + scratch[i])
            out[i] = _finite(_line(tables, k, k + np.uint64(count), out[i]))
    elif family == LOGTABLE:
        for i in range(n):
            out[i] = log_(_finite(u[i]))
        _segment_block(tables, offset, count - 2, out, False, scratch, n)
        for i in range(n):
            k = np.uint64(offset + scratch[i])
            out[i] = _finite(_line(tables, k, k + np.uint64(count), out[i]))
        for i in range(n):
            out[i] = _finite(exp_(out[i]))
    else:
        for i in range(n):
            out[i] = NAN
    if cure != 0.0:
        for i in range(n):
            out[i], d = _cure_parts(out[i], cure)
            scratch[i] = _keep(d)
        for i in range(n):
            out[i] = _minus_log(out[i], _kept(scratch[i]))


@compiled
def inverse_block(family, p0, p1, cure, tables, offset, count, h, out, n, scratch):  # type: ignore[no-untyped-def]
    """Fill out[:n] with the first times at which the cumulative hazard reaches h[:n]: the bits of `inverse`.

    `h` and `out` are float64 arrays and may be the same one; `scratch` is an int64 array of at least n places.
    """
    if _never(family, p0, p1, tables, offset, count):
        for i in range(n):
            out[i] = INF if h[i] >= 0.0 else NAN
        return
    if cure != 0.0:
        for i in range(n):
            out[i], d = _uncure_parts(h[i], cure)
            scratch[i] = _keep(d)
        for i in range(n):
            out[i] = _minus_log(out[i], _kept(scratch[i]))
    else:
        for i in range(n):
            out[i] = h[i]
    if family == EXPONENTIAL:
        for i in range(n):
            out[i] = inverse_exponential(out[i], p0, p1)
    elif family == WEIBULL:
        for i in range(n):
            out[i], lo = power_log(out[i], 1.0 / p0)
            scratch[i] = _keep(lo)
        for i in range(n):
            out[i] = p1 * exp_sum(out[i], _kept(scratch[i]))
    elif family == GOMPERTZ:
        for i in range(n):
            out[i] = inverse_gompertz(out[i], p0, p1)
    elif family == LLOGIS:
        for i in range(n):
            scratch[i] = _keep(expm1_(_LATE if out[i] > _LATE else out[i]))
        for i in range(n):
            late = out[i] > _LATE
            hi, lo = power_log(_kept(scratch[i]), 1.0 / p0)
            out[i] = out[i] * (1.0 / p0) if late else hi
            scratch[i] = _keep(0.0 if late else lo)
        for i in range(n):
            out[i] = p1 * exp_sum(out[i], _kept(scratch[i]))
    elif family == LNORM:
        for i in range(n):
            scratch[i] = _keep(isf_log_first(out[i]))
        for i in range(n):
            out[i] = isf_log_score(out[i], _kept(scratch[i]))
        for i in range(n):
            out[i] = p0 + p1 * normal_from_score(out[i])
        for i in range(n):
            out[i] = exp_(out[i])
    elif family == TABLE:
        _segment_block(tables, offset + count, count - 2, out, True, scratch, n)
        for i in range(n):
            k = np.uint64(offset + scratch[i])
            out[i] = _line(tables, k + np.uint64(count), k, out[i])
    elif family == LOGTABLE:
        for i in range(n):
            out[i] = log_(out[i])
        _segment_block(tables, offset + count, count - 2, out, True, scratch, n)
        for i in range(n):
            k = np.uint64(offset + scratch[i])
            out[i] = _line(tables, k + np.uint64(count), k, out[i])
        for i in range(n):
            out[i] = exp_(out[i])
    else:
        for i in range(n):
            out[i] = NAN


# Family name -> (code, names of its parameters). Tables take arrays; the others become p0 and p1 in this order.
FAMILIES: dict[str, tuple[int, tuple[str, ...]]] = {
    "exponential": (EXPONENTIAL, ("rate",)),
    "weibull": (WEIBULL, ("shape", "scale")),
    "gompertz": (GOMPERTZ, ("shape", "rate")),
    "llogis": (LLOGIS, ("shape", "scale")),
    "lnorm": (LNORM, ("meanlog", "sdlog")),
    "gengamma": (LOGTABLE, ("mu", "sigma", "Q")),
    "pwexp": (TABLE, ("times", "rates")),
    "table": (TABLE, ("times", "cumulative_hazards")),
    "survspline": (LOGTABLE, ("gamma", "knots", "scale")),
}

# Per parameter: lower limit, whether the limit itself is allowed, whether infinity is allowed.
_LIMITS: dict[tuple[str, str], tuple[float, bool, bool]] = {
    ("exponential", "rate"): (0.0, True, False),
    ("weibull", "shape"): (0.0, False, False),
    ("weibull", "scale"): (0.0, False, True),
    ("gompertz", "shape"): (-np.inf, False, False),
    ("gompertz", "rate"): (0.0, True, False),
    ("llogis", "shape"): (0.0, False, False),
    ("llogis", "scale"): (0.0, False, True),
    ("lnorm", "meanlog"): (-np.inf, False, True),
    ("lnorm", "sdlog"): (0.0, False, False),
    ("gengamma", "mu"): (-np.inf, False, False),
    ("gengamma", "sigma"): (0.0, False, False),
    ("gengamma", "Q"): (-np.inf, False, False),
}


def check_family(family_name: str, params: Mapping[str, ArrayLike]) -> None:
    """Refuse parameters that describe no survival curve; `params` may also hold `cure`.

    Every value may be a number or an array of draws. Raises ModelError that names the family, the parameter, what was
    found and what is allowed.
    """
    if family_name not in FAMILIES:
        raise ModelError(f"hazard family {family_name!r} is unknown; known are {', '.join(FAMILIES)}")
    names = FAMILIES[family_name][1]
    for name in params:
        if name not in names and name != "cure":
            raise ModelError(f"{family_name} has no parameter {name!r}; it has {', '.join(names)} and cure")
    for name in names:
        if name not in params:
            raise ModelError(f"{family_name} lacks its parameter {name}")
        if (family_name, name) in _LIMITS:
            _check_number(f"{family_name} {name}", params[name], *_LIMITS[family_name, name])
    if "cure" in params:
        cure = np.asarray(params["cure"], dtype=np.float64)
        if not np.all((cure == 0.0) | ((cure >= 1e-200) & (cure < 1.0))):
            raise ModelError(f"{family_name} cure is {cure}; it must be at least 0 and below 1")


def _check_number(label: str, value: ArrayLike, lower: float, at_limit: bool, infinite: bool) -> None:
    """Refuse values outside their limits; `value` is a number or an array of draws."""
    values = np.asarray(value, dtype=np.float64)
    inside = (values >= lower) if at_limit else (values > lower)
    inside &= (values < np.inf) | ((values == np.inf) & infinite)
    if not np.all(inside):
        found = values[~inside].flat[0] if values.ndim else values
        bound = "" if lower == -np.inf else f" {'at least' if at_limit else 'above'} {lower:g}"
        raise ModelError(f"{label} is {found}; it must be{' ' if infinite else ' finite'}{bound}")
