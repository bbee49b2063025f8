"""Cumulative hazards of the survival families and their inverses, scalar and for blocks of patients.

Parameters have the names and meanings of the R package flexsurv (Jackson 2016, J Stat Softw 70(8),
doi:10.18637/jss.v070.i08). H(u) is the cumulative hazard at time u, with H(0) = 0, finite and never falling; the
inverse gives the first time at which H reaches h, or infinity when it never does. Time is in months in the engine,
but nothing here depends on that.

Every family has a code and two numbers, p0 and p1. Costlier shapes are tables of knots: `TABLE` is linear in time
and cumulative hazard, `LOGTABLE` is linear in log time and log cumulative hazard and holds the logarithms. A table of
`count` knots that starts at `offset` has its times in tables[offset : offset + count] and its values in the `count`
places after them. Tables go on with their last slope.

Any family can carry a cured fraction c, `cure`: S = c + (1 - c) S0.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from simhcc.engine.arithmetic import (
    INF,
    NAN,
    _exp_sum,
    _head,
    _log_finish,
    _log_pair,
    _split,
    _times,
    exp_,
    expm1_,
    log1p_,
    log_,
    normal_isf_log,
    normal_log_sf,
    power_,
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

# A cumulative hazard that would overflow stays at the largest number, so that differences of hazards are never NaN.
_MOST = np.float64(1.7976931348623157e308)
# A Gompertz shape closer to 0 than this is 0: the hazard is constant.
_FLAT = np.float64(1e-200)


@inline
def _finite(x):  # type: ignore[no-untyped-def]
    return _MOST if x > _MOST else x


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
    scale = rate if flat else rate / shape
    u = _finite(u)
    return _finite(scale * (u if flat else _finite(expm1_(shape * u))))


@inline
def inverse_gompertz(h, shape, rate):  # type: ignore[no-untyped-def]
    """Return the time at which the Gompertz cumulative hazard reaches h; infinity from its plateau on."""
    flat = abs(shape) < _FLAT
    scale = 1.0 / rate if flat else shape / rate
    x = h * scale
    u = log1p_(x) * (1.0 if flat else 1.0 / shape)
    return x if flat else (INF if x <= -1.0 else u)


@inline
def cumulative_llogis(u, shape, scale):  # type: ignore[no-untyped-def]
    """Return H(u) = log(1 + (u / scale)^shape), without overflow of the power."""
    x = _finite(_finite(u) / scale)
    hi, lo = _log_pair(x)
    hi, lo = _times(hi, lo, shape)
    early = hi < 0.0
    # log(1 + e^y) = max(y, 0) + log(1 + e^-|y|)
    part = log1p_(_exp_sum(hi if early else -hi, lo if early else -lo))
    h = part if early else (hi + lo) + part
    return h if x > 0.0 else x


@inline
def inverse_llogis(h, shape, scale):  # type: ignore[no-untyped-def]
    """Return the time at which the log-logistic cumulative hazard reaches h: scale (e^h - 1)^(1 / shape)."""
    late = h > 700.0
    hi, lo = _log_pair(expm1_(700.0 if late else h))
    head = _head(h)
    hi, lo = _times(head if late else hi, h - head if late else lo, 1.0 / shape)
    u = scale * _exp_sum(hi, lo)
    return u if (h > 0.0) & (h < INF) else (h if h >= 0.0 else NAN)


@inline
def cumulative_lnorm(u, meanlog, sdlog):  # type: ignore[no-untyped-def]
    """Return H(u) = -log P(Z > (log u - meanlog) / sdlog) for a standard normal Z."""
    return _finite(-normal_log_sf((log_(_finite(u)) - meanlog) * (1.0 / sdlog)))


@inline
def inverse_lnorm(h, meanlog, sdlog):  # type: ignore[no-untyped-def]
    """Return the time at which the log-normal cumulative hazard reaches h."""
    return exp_(meanlog + sdlog * normal_isf_log(h))


@inline
def with_cure(h, cure):  # type: ignore[no-untyped-def]
    """Return -log(c + (1 - c) e^-h), precise for small h and for small c."""
    share = 1.0 - cure
    u = cure + share * exp_(-h)
    m, k = _split(u)
    # Near survival 1 the distance from 1 is known exactly.
    f = share * expm1_(-h) if k == 0.0 else m - 1.0
    return -_log_finish(u, f, k)


@inline
def without_cure(h, cure):  # type: ignore[no-untyped-def]
    """Return the cumulative hazard of the uncured at which all patients together have h; infinity from -log c on."""
    factor = 1.0 / (1.0 - cure)
    u = (exp_(-h) - cure) * factor
    m, k = _split(u)
    f = expm1_(-h) * factor if k == 0.0 else m - 1.0
    h0 = -_log_finish(u, f, k)
    return INF if u <= 0.0 else h0


@inline
def _line(x, x0, x1, y0, y1):  # type: ignore[no-untyped-def]
    """Return y at x on the line through two knots, and y0 at x0 whatever the slope."""
    d = x - x0
    return y0 if d == 0.0 else y0 + d * ((y1 - y0) / (x1 - x0))


@inline
def _top_bit(inner):  # type: ignore[no-untyped-def]
    """Return the highest power of two that is not above `inner`, or 0."""
    bit = np.int64(1)
    while bit <= inner:
        bit *= 2
    return bit // 2


@inline
def _segment(tables, first, inner, x, strict):  # type: ignore[no-untyped-def]
    """Return how many of the `inner` knots after `first` lie at or below x, or strictly below it: a bitwise search."""
    position = np.int64(0)
    bit = _top_bit(inner)
    while bit > 0:
        candidate = position + bit
        inside = candidate <= inner
        knot = tables[first + (candidate if inside else inner)]
        position = candidate if inside & ((knot < x) if strict else (knot <= x)) else position
        bit //= 2
    return position


@inline
def _segment_block(tables, first, inner, x, strict, positions, n):  # type: ignore[no-untyped-def]
    """Fill `positions` with `_segment` of every x: the loop over bits outside, the loop over patients inside."""
    for i in range(n):
        positions[i] = 0
    bit = _top_bit(inner)
    while bit > 0:
        if strict:
            for i in range(n):
                candidate = positions[i] + bit
                inside = candidate <= inner
                knot = tables[first + (candidate if inside else inner)]
                positions[i] = candidate if inside & (knot < x[i]) else positions[i]
        else:
            for i in range(n):
                candidate = positions[i] + bit
                inside = candidate <= inner
                knot = tables[first + (candidate if inside else inner)]
                positions[i] = candidate if inside & (knot <= x[i]) else positions[i]
        bit //= 2


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
def cumulative_table(u, tables, offset, count):  # type: ignore[no-untyped-def]
    """Return H(u) of a table that is linear between its knots."""
    u = _finite(u)
    k = offset + _segment(tables, offset, count - 2, u, False)
    return _finite(_line(u, tables[k], tables[k + 1], tables[k + count], tables[k + count + 1]))


@inline
def inverse_table(h, tables, offset, count):  # type: ignore[no-untyped-def]
    """Return the first time at which a table that is linear between its knots reaches h."""
    k = offset + _segment(tables, offset + count, count - 2, h, True)
    return _line(h, tables[k + count], tables[k + count + 1], tables[k], tables[k + 1])


@inline
def cumulative_logtable(u, tables, offset, count):  # type: ignore[no-untyped-def]
    """Return H(u) of a table that is linear in log time and log cumulative hazard."""
    x = log_(_finite(u))
    k = offset + _segment(tables, offset, count - 2, x, False)
    return _finite(exp_(_line(x, tables[k], tables[k + 1], tables[k + count], tables[k + count + 1])))


@inline
def inverse_logtable(h, tables, offset, count):  # type: ignore[no-untyped-def]
    """Return the first time at which a table that is linear in log time and log cumulative hazard reaches h."""
    y = log_(h)
    k = offset + _segment(tables, offset + count, count - 2, y, True)
    return exp_(_line(y, tables[k + count], tables[k + count + 1], tables[k], tables[k + 1]))


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
        h = cumulative_table(u, tables, offset, count)
    elif family == LOGTABLE:
        h = cumulative_logtable(u, tables, offset, count)
    else:
        h = NAN
    return with_cure(h, cure) if cure != 0.0 else h


@compiled
def inverse(family, p0, p1, cure, tables, offset, count, h):  # type: ignore[no-untyped-def]
    """Return the first time at which the cumulative hazard reaches h, infinity for never, NaN for h below 0."""
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
        return inverse_table(h, tables, offset, count)
    if family == LOGTABLE:
        return inverse_logtable(h, tables, offset, count)
    return NAN


@compiled
def cumulative_block(family, p0, p1, cure, tables, offset, count, u, out, n, scratch):  # type: ignore[no-untyped-def]
    """Fill out[:n] with the cumulative hazards at u[:n]: the bits of `cumulative`.

    `out` may be `u`, except for tables. `scratch` is an integer array of at least n places.
    """
    if family == EXPONENTIAL:
        for i in range(n):
            out[i] = cumulative_exponential(u[i], p0, p1)
    elif family == WEIBULL:
        for i in range(n):
            out[i] = cumulative_weibull(u[i], p0, p1)
    elif family == GOMPERTZ:
        for i in range(n):
            out[i] = cumulative_gompertz(u[i], p0, p1)
    elif family == LLOGIS:
        for i in range(n):
            out[i] = cumulative_llogis(u[i], p0, p1)
    elif family == LNORM:
        for i in range(n):
            out[i] = cumulative_lnorm(u[i], p0, p1)
    elif family == TABLE:
        for i in range(n):
            out[i] = _finite(u[i])
        _segment_block(tables, offset, count - 2, out, False, scratch, n)
        for i in range(n):
            k = offset + scratch[i]
            out[i] = _finite(_line(out[i], tables[k], tables[k + 1], tables[k + count], tables[k + count + 1]))
    elif family == LOGTABLE:
        for i in range(n):
            out[i] = log_(_finite(u[i]))
        _segment_block(tables, offset, count - 2, out, False, scratch, n)
        for i in range(n):
            k = offset + scratch[i]
            out[i] = _line(out[i], tables[k], tables[k + 1], tables[k + count], tables[k + count + 1])
        for i in range(n):
            out[i] = _finite(exp_(out[i]))
    else:
        for i in range(n):
            out[i] = NAN
    if cure != 0.0:
        for i in range(n):
            out[i] = with_cure(out[i], cure)


@compiled
def inverse_block(family, p0, p1, cure, tables, offset, count, h, out, n, scratch):  # type: ignore[no-untyped-def]
    """Fill out[:n] with the first times at which the cumulative hazard reaches h[:n]: the bits of `inverse`.

    `out` may be `h`. `scratch` is an integer array of at least n places.
    """
    if _never(family, p0, p1, tables, offset, count):
        for i in range(n):
            out[i] = INF if h[i] >= 0.0 else NAN
        return
    if cure != 0.0:
        for i in range(n):
            out[i] = without_cure(h[i], cure)
    else:
        for i in range(n):
            out[i] = h[i]
    if family == EXPONENTIAL:
        for i in range(n):
            out[i] = inverse_exponential(out[i], p0, p1)
    elif family == WEIBULL:
        for i in range(n):
            out[i] = inverse_weibull(out[i], p0, p1)
    elif family == GOMPERTZ:
        for i in range(n):
            out[i] = inverse_gompertz(out[i], p0, p1)
    elif family == LLOGIS:
        for i in range(n):
            out[i] = inverse_llogis(out[i], p0, p1)
    elif family == LNORM:
        for i in range(n):
            out[i] = inverse_lnorm(out[i], p0, p1)
    elif family == TABLE:
        _segment_block(tables, offset + count, count - 2, out, True, scratch, n)
        for i in range(n):
            k = offset + scratch[i]
            out[i] = _line(out[i], tables[k + count], tables[k + count + 1], tables[k], tables[k + 1])
    elif family == LOGTABLE:
        for i in range(n):
            out[i] = log_(out[i])
        _segment_block(tables, offset + count, count - 2, out, True, scratch, n)
        for i in range(n):
            k = offset + scratch[i]
            out[i] = _line(out[i], tables[k + count], tables[k + count + 1], tables[k], tables[k + 1])
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
            raise ModelError(f"{family_name} cure is {params['cure']}; it must be at least 0 and below 1")


def _check_number(label: str, value: ArrayLike, lower: float, at_limit: bool, infinite: bool) -> None:
    """Refuse values outside their limits; `value` is a number or an array of draws."""
    values = np.asarray(value, dtype=np.float64)
    inside = (values >= lower) if at_limit else (values > lower)
    inside &= (values < np.inf) | ((values == np.inf) & infinite)
    if not np.all(inside):
        found = values[~inside].flat[0] if values.ndim else values
        bound = "" if lower == -np.inf else f" {'at least' if at_limit else 'above'} {lower:g}"
        raise ModelError(f"{label} is {found}; it must be{' ' if infinite else ' finite'}{bound}")
