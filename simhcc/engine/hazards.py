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
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simhcc.engine.arithmetic import (
    INF,
    LARGEST,
    NAN,
    exp_,
    exp_and_expm1,
    exp_array,
    exp_sum,
    expm1_,
    expm1_array,
    isf_log_first,
    isf_log_score,
    log1p_,
    log1p_array,
    log_,
    log_array,
    log_of_parts,
    log_sf_first,
    log_sf_last,
    log_sf_second,
    normal_from_score,
    normal_isf_log,
    normal_log_sf,
    normal_log_sf_array,
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
    return _finite(factor * (u if flat else _finite(expm1_(shape * u)))) + 0.0


@inline
def inverse_gompertz(h, shape, rate):  # type: ignore[no-untyped-def]
    """Return the time at which the Gompertz cumulative hazard reaches h; infinity from its plateau on."""
    flat = abs(shape) < _FLAT
    x = h * (1.0 / rate if flat else shape / rate)
    u = log1p_(x) * (1.0 if flat else 1.0 / shape) + 0.0
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
    return _finite(0.0 - normal_log_sf((log_(_finite(u)) - meanlog) * (1.0 / sdlog)))


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
    y = 0.0 - log_of_parts(s, d if k == 0.0 else m - 1.0, k)
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
            out[i] = _finite(0.0 - log_sf_last(out[i], _kept(scratch[i])))
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


# Family name -> (code, names of its parameters). The parameters of the families with formulas are p0 and p1 in this
# order; the others are made into tables by the functions below.
FAMILIES: dict[str, tuple[int, tuple[str, ...]]] = {
    "exponential": (EXPONENTIAL, ("rate",)),
    "weibull": (WEIBULL, ("shape", "scale")),
    "gompertz": (GOMPERTZ, ("shape", "rate")),
    "llogis": (LLOGIS, ("shape", "scale")),
    "lnorm": (LNORM, ("meanlog", "sdlog")),
    "gengamma": (LOGTABLE, ("mu", "sigma", "Q")),
    "survspline": (LOGTABLE, ("gamma", "knots", "scale")),
    "pwexp": (TABLE, ("times", "rates")),
    "table": (TABLE, ("times", "cumulative_hazards")),
}

# Lower limit of each number, whether the limit itself is allowed, and whether infinity is.
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
    ("survspline", "gamma"): (-np.inf, False, False),
    ("survspline", "knots"): (-np.inf, False, False),
    ("pwexp", "times"): (0.0, True, False),
    ("pwexp", "rates"): (0.0, True, False),
    ("table", "times"): (0.0, True, False),
    ("table", "cumulative_hazards"): (0.0, True, False),
}
_SCALES = ("hazard", "odds", "normal")


def check_family(family_name: str, params: Mapping[str, Any]) -> None:
    """Refuse parameters that describe no survival curve; `params` may also hold `cure`.

    Every number may be an array of draws; lists such as the knots of a table lie along the last axis. Raises ModelError
    that names the family, the parameter, what was found and what is allowed.
    """
    if family_name not in FAMILIES:
        raise ModelError(f"hazard family {family_name!r} is unknown; known are {', '.join(FAMILIES)}")
    names = FAMILIES[family_name][1]
    for name in params:
        if name not in names and name != "cure":
            raise ModelError(f"{family_name} has no parameter {name!r}; it has {', '.join(names)} and cure")
    arrays = {}
    for name in names:
        if name not in params:
            raise ModelError(f"{family_name} lacks its parameter {name}")
        if (family_name, name) in _LIMITS:
            arrays[name] = _check_numbers(f"{family_name} {name}", params[name], *_LIMITS[family_name, name])
    if family_name in ("pwexp", "table", "survspline"):
        _check_lists(family_name, names, arrays)
    if family_name == "survspline" and params["scale"] not in _SCALES:
        raise ModelError(f"survspline scale is {params['scale']!r}; known are {', '.join(_SCALES)}")
    if "cure" in params:
        cure = _numbers(f"{family_name} cure", params["cure"])
        wrong = ~((cure == 0.0) | ((cure >= 1e-200) & (cure < 1.0)))
        if wrong.any():
            raise ModelError(f"{family_name} cure is {cure[wrong].flat[0]:g}; it must be at least 0 and below 1")


def _numbers(label: str, value: ArrayLike) -> NDArray[np.float64]:
    """Return `value` as an array of at least one number."""
    try:
        numbers = np.asarray(float("x") if value is None else value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ModelError(f"{label} is {value!r}; it must be a number or an array of numbers") from None
    if numbers.size == 0:
        raise ModelError(f"{label} is empty; it must hold at least one number")
    return np.atleast_1d(numbers)


def _check_numbers(label: str, value: ArrayLike, lower: float, at_limit: bool, infinite: bool) -> NDArray[np.float64]:
    """Return `value` as an array, or refuse numbers outside their limits."""
    numbers = _numbers(label, value)
    inside = (numbers >= lower) if at_limit else (numbers > lower)
    inside &= (numbers < np.inf) | ((numbers == np.inf) & infinite)
    if not inside.all():
        bounds = [] if infinite else ["finite"]
        if lower != -np.inf:
            bounds.append(f"{'at least' if at_limit else 'above'} {lower:g}")
        raise ModelError(f"{label} is {numbers[~inside].flat[0]:g}; it must be {' and '.join(bounds) or 'a number'}")
    return numbers


def _check_lists(family_name: str, names: tuple[str, ...], arrays: Mapping[str, NDArray[np.float64]]) -> None:
    """Refuse lists of unequal length, times that do not increase and cumulative hazards that fall or jump."""
    first, second = (arrays[name] for name in names[:2])
    if first.shape[-1] != second.shape[-1]:
        lengths = f"{first.shape[-1]} {names[0]} and {second.shape[-1]} {names[1]}"
        raise ModelError(f"{family_name} has {lengths}; there must be as many of one as of the other")
    if family_name != "pwexp" and first.shape[-1] < 2:
        raise ModelError(f"{family_name} has one knot; there must be at least two")
    increasing = "knots" if family_name == "survspline" else "times"
    if (np.diff(arrays[increasing]) <= 0.0).any():
        raise ModelError(f"{family_name} {increasing} do not increase; each must be above the one before")
    if increasing == "times" and (first[..., 0] != 0.0).any():
        raise ModelError(f"{family_name} times start at {first[..., 0].max():g}; they must start at 0")
    if family_name == "table":
        if (second[..., 0] != 0.0).any():
            raise ModelError(f"table cumulative_hazards start at {second[..., 0].max():g}; they must start at 0")
        if (np.diff(second) < 0.0).any():
            raise ModelError("table cumulative_hazards fall; they must never fall")


def pwexp_table(times: ArrayLike, rates: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the times and cumulative hazards of a hazard that is constant between times, for a `TABLE`.

    `rates[k]` holds from `times[k]`, `times[0]` is 0, and the last rate holds for ever. Both may have leading axes of
    draws; the results have one knot more than there are rates.
    """
    check_family("pwexp", {"times": times, "rates": rates})
    starts, levels = np.broadcast_arrays(np.asarray(times, dtype=np.float64), np.asarray(rates, dtype=np.float64))
    ends = np.concatenate([starts[..., 1:], starts[..., -1:] + 1.0], axis=-1)
    values = np.zeros((*starts.shape[:-1], starts.shape[-1] + 1))
    np.cumsum(levels * (ends - starts), axis=-1, out=values[..., 1:])
    return np.concatenate([starts[..., :1], ends], axis=-1), values


# Nodes and weights of Gauss-Legendre quadrature with 8 points on [-1, 1], the positive half (Abramowitz and Stegun,
# table 25.4).
_NODES = (0.1834346424956498, 0.5255324099163290, 0.7966664774136267, 0.9602898564975363)
_WEIGHTS = (0.3626837833783620, 0.3137066458778873, 0.2223810344533745, 0.1012285362903763)
# A log table runs between these logarithms of the cumulative hazard (1e-8 and 200) and goes on with its end slopes.
_LOG_FROM = np.float64(-18.420680743952367)
_LOG_TO = np.float64(5.298317366548036)
_PANELS = 2048


@compiled
def _spread_knots(edges, bends, first, final, knots, lengths, panels):  # type: ignore[no-untyped-def]
    """Fill `knots` so that straight lines between them follow a curve y equally well everywhere.

    `edges` are places and `bends` the values of sqrt|y''| there. Between edges `first` and `final` the integral of
    sqrt|y''| grows by the same step from knot to knot: then the lines' errors are equal. 5 % of the knots are spread
    evenly, because y'' may be 0. `lengths` receives the distance of knots around each knot, `panels` its edge.
    """
    total = np.float64(0.0)
    for i in range(first, final):
        total += 0.5 * (bends[i] + bends[i + 1]) * (edges[i + 1] - edges[i])
    even = (0.05 * total + 1e-9) / (edges[final] - edges[first])
    total += even * (edges[final] - edges[first])
    step = total / (knots.size - 1)
    i = first
    done = np.float64(0.0)
    for k in range(knots.size):
        while True:
            width = edges[i + 1] - edges[i]
            start = (bends[i] + even) * width
            change = (bends[i + 1] - bends[i]) * width
            if done + start + 0.5 * change >= k * step or i == final - 1:
                break
            done += start + 0.5 * change
            i += 1
        # The density of knots is linear between edges: start x + change x^2 / 2 = rest, for x in [0, 1].
        rest = max(k * step - done, 0.0)
        x = min(2.0 * rest / (start + np.sqrt(max(start * start + 2.0 * change * rest, 0.0))), 1.0)
        knots[k] = edges[i] + x * width
        lengths[k] = step * width / (start + change * x)
        panels[k] = i


@inline
def _gengamma_exponent(w, q):  # type: ignore[no-untyped-def]
    """Return B(w) = (e^(q w) - 1 - q w) / q^2, or w^2 / 2 for q = 0: the density of w is proportional to e^-B(w)."""
    v = q * w
    if abs(v) > 0.25:
        return (expm1_(v) - v) / (q * q)
    series = np.float64(1.0)
    for n in range(12, 2, -1):
        series = 1.0 + v / n * series
    return 0.5 * w * w * series


@inline
def _gengamma_slope(w, q):  # type: ignore[no-untyped-def]
    """Return the derivative of B at w."""
    return w if abs(q) < _FLAT else expm1_(q * w) / q


@compiled
def _gengamma_area(a, b, q):  # type: ignore[no-untyped-def]
    """Return the integral of e^-B from a to b."""
    middle = 0.5 * (a + b)
    half = 0.5 * (b - a)
    total = np.float64(0.0)
    for j in range(4):
        d = half * _NODES[j]
        pair = exp_(-_gengamma_exponent(middle - d, q)) + exp_(-_gengamma_exponent(middle + d, q))
        total += _WEIGHTS[j] * pair
    return total * half


@compiled
def _gengamma_log(w, q, below, above):  # type: ignore[no-untyped-def]
    """Return log H at w and its second derivative, given the integrals of e^-B below and above w."""
    total = below + above
    h = 0.0 - (log1p_(-below / total) if below < above else log_(above / total))
    hazard = exp_(-_gengamma_exponent(w, q)) / above
    rise = hazard / h
    return log_(h), rise * (hazard - _gengamma_slope(w, q) - rise)


@compiled
def _gengamma_edges(q, direction, limit, edges, start):  # type: ignore[no-untyped-def]
    """Fill `edges` after `start` with panel ends outwards from w = 0 until B exceeds `limit`; return the last place."""
    w = np.float64(0.0)
    last = start
    while _gengamma_exponent(w, q) < limit and last < start + _PANELS:
        # Over a panel e^-B changes by a few powers of e at most, which 8 points integrate to full precision.
        growth = abs(q) if q * direction > 0.0 else 0.0
        w += direction * 1.5 / (abs(_gengamma_slope(w, q)) + np.sqrt(exp_(q * w)) + growth)
        last += 1
        edges[last] = w
    return last


@compiled
def _gengamma_knots(q, times, values, work, panels):  # type: ignore[no-untyped-def]
    """Fill `times` and `values` with the knots of log H against w = (log t - mu) / sigma; the rest is work space."""
    edges, below, above, bends = work[0], work[1], work[2], work[3]
    left = _gengamma_edges(q, -1.0, 80.0, edges, 0)
    edges[0] = 0.0
    for i in range((left + 1) // 2):
        edges[i], edges[left - i] = edges[left - i], edges[i]
    last = _gengamma_edges(q, 1.0, 260.0, edges, left)
    # Integrals from both ends, so that both tails are relatively precise.
    below[0] = 0.0
    for i in range(last):
        above[i] = _gengamma_area(edges[i], edges[i + 1], q)
        below[i + 1] = below[i] + above[i]
    above[last] = 0.0
    for i in range(last - 1, -1, -1):
        above[i] += above[i + 1]
    first = 1
    final = 1
    for i in range(1, last):
        y, bend = _gengamma_log(edges[i], q, below[i], above[i])
        bends[i] = np.sqrt(abs(bend))
        if y < _LOG_FROM:
            first = i
        final = i
        if y > _LOG_TO:
            break
    # `values` holds the lengths for a moment.
    _spread_knots(edges, bends, first, final, times, values, panels)
    for k in range(times.size):
        i = panels[k]
        part = _gengamma_area(edges[i], times[k], q)
        y, bend = _gengamma_log(times[k], q, below[i] + part, above[i] - part)
        # A chord lies on one side of its curve. Half of its error, taken off at the knots, halves the largest error.
        values[k] = y - bend * values[k] * values[k] / 16.0


def gengamma_table(
    mu: ArrayLike, sigma: ArrayLike, Q: ArrayLike, count: int = 4096
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the log times and log cumulative hazards of generalised gamma survival, for a `LOGTABLE`.

    Parameters are those of flexsurv's `gengamma` (Prentice 1974, Biometrika 61(3):539-544): log t = mu + sigma w, and
    the density of w is proportional to exp((Q w - e^(Q w)) / Q^2), normal for Q = 0. They may be arrays of draws; both
    results have their common shape and `count` knots as last axis. Raises ModelError for parameters out of range.

    The relative error of the cumulative hazard is below 1e-6 between 1e-8 and 200 for -3 <= Q <= 5 with 4096 knots, and
    falls with the square of their number; beyond, the curve goes on as a power of time. The density is integrated by
    quadrature in the engine's arithmetic, so the knots are the same on every machine.
    """
    if count < 16:
        raise ModelError(f"gengamma count is {count}; a table needs at least 16 knots")
    check_family("gengamma", {"mu": mu, "sigma": sigma, "Q": Q})
    location, scale, shape = np.broadcast_arrays(*(np.asarray(p, dtype=np.float64) for p in (mu, sigma, Q)))
    times = np.empty((shape.size, count))
    values = np.empty((shape.size, count))
    work = np.empty((4, 2 * _PANELS + 1))
    panels = np.empty(count, dtype=np.int64)
    with np.errstate(all="ignore"):
        for i, q in enumerate(shape.flat):
            _gengamma_knots(q, times[i], values[i], work, panels)
    times = location.reshape(-1, 1) + scale.reshape(-1, 1) * times
    return times.reshape(*shape.shape, count), values.reshape(*shape.shape, count)


def _spline(
    x: NDArray[np.float64], gamma: NDArray[np.float64], knots: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the natural cubic spline of flexsurv at x and its first two derivatives."""
    low, high = knots[0], knots[-1]
    s, slope, bend = gamma[0] + gamma[1] * x, np.full_like(x, gamma[1]), np.zeros_like(x)
    for weight, knot in zip(gamma[2:], knots[1:-1], strict=True):
        share = (high - knot) / (high - low)
        for factor, at in ((weight, knot), (-weight * share, low), (-weight * (1.0 - share), high)):
            d = np.maximum(x - at, 0.0)
            s = s + factor * d * d * d
            slope = slope + 3.0 * factor * d * d
            bend = bend + 6.0 * factor * d
    return s, slope, bend


def _spline_log(
    x: NDArray[np.float64], gamma: NDArray[np.float64], knots: NDArray[np.float64], scale: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return log H of a spline model at log time x, the slope of the spline and the second derivative of log H."""
    s, slope, bend = _spline(x, gamma, knots)
    if scale == "hazard":
        return s, slope, bend
    if scale == "odds":
        # H = log(1 + e^s) = max(s, 0) + log(1 + e^-|s|), with dH/ds = 1 - S
        h = np.maximum(s, 0.0) + log1p_array(exp_array(-np.abs(s)))
        first = -expm1_array(-h)
        second = first * (1.0 - first)
    else:
        # H = -log P(Z > s), with dH/ds the hazard of a standard normal variable
        h = -normal_log_sf_array(s)
        first = exp_array(h - 0.5 * s * s) * 0.3989422804014327
        second = first * (first - s)
    return log_array(h), slope, bend * first / h + slope * slope * (second / h - (first / h) * (first / h))


def survspline_table(
    gamma: ArrayLike, knots: ArrayLike, scale: str = "hazard", count: int = 4096
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the log times and log cumulative hazards of a spline survival model, for a `LOGTABLE`.

    The model is flexsurv's `survspline` (Royston and Parmar 2002, Stat Med 21(15):2175-2197): a natural cubic spline in
    log time with coefficients `gamma` and `knots` (log times, the two boundary knots included) for the log cumulative
    hazard (`scale` "hazard"), the log cumulative odds ("odds") or minus the normal quantile of survival ("normal").
    Both may have leading axes of draws; the results have `count` knots as last axis. Raises ModelError for a model
    whose survival rises somewhere.

    The error of the log cumulative hazard falls with the square of `count`. On the scale "hazard" the table runs from
    the first to the last knot, beyond which the model is a straight line, as the table is; otherwise it runs from a
    cumulative hazard of 1e-8 to one of 200, or to 50 beyond the last knot.
    """
    if count < 16:
        raise ModelError(f"survspline count is {count}; a table needs at least 16 knots")
    check_family("survspline", {"gamma": gamma, "knots": knots, "scale": scale})
    coefficients, places = np.broadcast_arrays(np.asarray(gamma, dtype=np.float64), np.asarray(knots, dtype=np.float64))
    shape = coefficients.shape[:-1]
    times = np.empty((int(np.prod(shape)), count))
    values = np.empty_like(times)
    panels = np.empty(count, dtype=np.int64)
    lengths = np.empty(count)
    for i in range(len(times)):
        g = np.ascontiguousarray(coefficients.reshape(len(times), -1)[i])
        k = np.ascontiguousarray(places.reshape(len(times), -1)[i])
        low, high = _spline_range(g, k, scale)
        edges = low + (high - low) * (np.arange(count + 1) / count)
        _, slope, bend = _spline_log(edges, g, k, scale)
        if (slope <= 0.0).any():
            when = float(exp_array(edges[slope <= 0.0][0]))
            raise ModelError(
                f"survspline gamma lets survival rise at time {when:g}; the spline must increase everywhere"
            )
        _spread_knots(edges, np.sqrt(np.abs(bend)), 0, count, times[i], lengths, panels)
        y, _, bend = _spline_log(times[i], g, k, scale)
        values[i] = y - bend * lengths * lengths / 16.0
    return times.reshape(*shape, count), values.reshape(*shape, count)


def _spline_range(gamma: NDArray[np.float64], knots: NDArray[np.float64], scale: str) -> tuple[float, float]:
    """Return the log times between which a spline model is tabulated."""
    low, high = float(knots[0]), float(knots[-1])
    if scale == "hazard":
        return low, high
    # log H = -18.4 and H = 200, in terms of the spline: odds s = -18.4 and 200, normal s = -5.6 and 19.8
    least, most = (float(_LOG_FROM), 200.0) if scale == "odds" else (-5.62, 19.81)
    (first, final), (rise, end_rise), _ = _spline(np.array([low, high]), gamma, knots)
    if first > least and rise > 0.0:
        low -= min((first - least) / rise, 50.0)
    if final < most and end_rise > 0.0:
        high += min((most - final) / end_rise, 50.0)
    return low, high
