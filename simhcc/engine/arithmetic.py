"""Elementary functions made of + - * /, square root and moves of bits only.

IEEE 754 fixes every bit of these operations, so each function here gives the same bits compiled or not, for any
width of the vector unit and on any processor; the functions of a C library or of NumPy do not. None of them
branches, so LLVM turns loops over them into vector code.

The scalar functions are inlined into compiled callers. Their twins that end in `_array` take arrays of any shape (or
numbers) and return the same bits. Run uncompiled (`NUMBA_DISABLE_JIT=1`), the scalar functions want NumPy floats and
`numpy.errstate(all="ignore")`. Subnormal numbers, below 2.3e-308, count as 0, and e^x is infinite above
x = 709.78; apart from that the limits at 0 and infinity are the mathematical ones, and NaN gives NaN,
whose sign IEEE 754 leaves open.

Some functions come in stages, too. A loop over a long chain of operations waits for its own results; the same chain
in two or three loops over a block of patients does not, and gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simhcc.engine.compiled import compiled, inline

INF = np.float64(np.inf)
NAN = np.float64(np.nan)
LARGEST = np.float64(1.7976931348623157e308)

_INV_LN2 = np.float64(1.4426950408889634)
# ln 2 in two parts; the first has 33 bits, so its product with any exponent is exact.
_LN2_HI = np.float64(float.fromhex("0x1.62e42fefp-1"))
_LN2_LO = np.float64(float.fromhex("0x1.473de6af278edp-34"))
# Adding 1.5 * 2^52 rounds to an integer, which then stands in the low bits.
_SHIFT = np.float64(6755399441055744.0)
_TWO_52 = np.float64(4503599627370496.0)
_SMALLEST = np.float64(2.2250738585072014e-308)
# Arguments beyond which e^x counts as infinite and as 0; the margin takes up the rounding of a sum.
_EXP_HIGH = np.float64(709.78)
_EXP_LOW = np.float64(-708.39)

_BITS_52 = np.uint64(52)
_BIAS = np.uint64(1023)
_BIAS_HALF = np.uint64(1022)
_MANTISSA = np.uint64(0x000FFFFFFFFFFFFF)
_SQRT_HALF = np.uint64(0x3FE6A09E667F3BCD)
_ONE_LESS_SQRT_HALF = np.uint64(0x3FF0000000000000 - 0x3FE6A09E667F3BCD)
_TWO_52_BITS = np.uint64(0x4330000000000000)
_TOP_26 = np.uint64(0xFFFFFFFFF8000000)

# Minimax polynomial for (2 atanh(s) / s - 2) / s^2 in s^2, |s| <= 0.1716: error 2^-59 of log(1 + f).
_L0 = np.float64(0.6666666666666734)
_L1 = np.float64(0.3999999999941399)
_L2 = np.float64(0.28571428742558697)
_L3 = np.float64(0.22222198554030942)
_L4 = np.float64(0.18183565399648746)
_L5 = np.float64(0.15314021189526927)
_L6 = np.float64(0.14796261606349448)

# Minimax polynomial for (e^r - 1 - r) / r^2, |r| <= ln 2 / 2: error 2^-55 of e^r - 1.
_E0 = np.float64(0.5000000000000006)
_E1 = np.float64(0.16666666666666685)
_E2 = np.float64(0.04166666666657332)
_E3 = np.float64(0.008333333333314487)
_E4 = np.float64(0.0013888888932484637)
_E5 = np.float64(0.00019841269903262082)
_E6 = np.float64(2.4801504311305974e-05)
_E7 = np.float64(2.755722774275984e-06)
_E8 = np.float64(2.762638261314062e-07)
_E9 = np.float64(2.51145412797036e-08)


@inline
def bits_(x):  # type: ignore[no-untyped-def]
    """Return the bits of a float64 as an unsigned integer."""
    return np.float64(x).view(np.uint64)


@inline
def real_(bits):  # type: ignore[no-untyped-def]
    """Return the float64 that these bits of an unsigned integer spell."""
    return np.uint64(bits).view(np.float64)


@inline
def _head(x):  # type: ignore[no-untyped-def]
    """Return x with its last 27 bits cleared: the product of two heads is exact."""
    return real_(bits_(x) & _TOP_26)


@inline
def split_exponent(x):  # type: ignore[no-untyped-def]
    """Return (m, k) with x = m * 2^k, m in [sqrt(1/2), sqrt(2)) and k a float; x positive, finite and normal."""
    shifted = bits_(x) + _ONE_LESS_SQRT_HALF
    m = real_((shifted & _MANTISSA) + _SQRT_HALF)
    k = real_((shifted >> _BITS_52) | _TWO_52_BITS) - (_TWO_52 + np.float64(1023.0))
    return m, k


@inline
def _log_bend(f):  # type: ignore[no-untyped-def]
    """Return f - log(1 + f) for f in [sqrt(1/2) - 1, sqrt(2) - 1]."""
    s = f / (f + 2.0)
    z = s * s
    w = z * z
    return s * (f - z * ((_L0 + z * _L1) + w * ((_L2 + z * _L3) + w * ((_L4 + z * _L5) + w * _L6))))


@inline
def log_of_parts(x, f, k):  # type: ignore[no-untyped-def]
    """Return log(2^k (1 + f)), or the limit where x, the argument of the logarithm, is not positive and finite."""
    y = k * _LN2_HI + (f - (_log_bend(f) - k * _LN2_LO))
    y = y if x >= _SMALLEST else (-INF if x >= 0.0 else NAN)
    return y if x <= LARGEST else x


@inline
def log_(x):  # type: ignore[no-untyped-def]
    """Return the natural logarithm within 1 unit in the last place; -inf at 0, NaN below 0."""
    m, k = split_exponent(x)
    return log_of_parts(x, m - 1.0, k)


@inline
def log1p_(x):  # type: ignore[no-untyped-def]
    """Return log(1 + x), relatively precise for small x too; -inf at -1, NaN below -1."""
    u = 1.0 + x
    m, k = split_exponent(u)
    # Where no power of two is taken out, x itself is the reduced argument and nothing has been rounded.
    return log_of_parts(u, x if k == 0.0 else m - 1.0, k)


@inline
def _exp_bend(r):  # type: ignore[no-untyped-def]
    """Return e^r - 1 - r for |r| <= 0.3467."""
    z = r * r
    w = z * z
    low = (_E0 + r * _E1) + z * (_E2 + r * _E3)
    high = (_E4 + r * _E5) + z * (_E6 + r * _E7) + w * (_E8 + r * _E9)
    return z * (low + w * high)


@inline
def exp_sum(x, tail):  # type: ignore[no-untyped-def]
    """Return e^(x + tail) for |tail| < 1e-4; where x is beyond the range of e^x, tail has no effect."""
    shifted = x * _INV_LN2 + _SHIFT
    k = shifted - _SHIFT
    hi = x - k * _LN2_HI
    lo = k * _LN2_LO - tail
    y = 1.0 + (hi + (_exp_bend(hi - lo) - lo))
    y = real_(bits_(y) + (bits_(shifted) << _BITS_52))
    y = y if x <= _EXP_HIGH else x + INF
    return 0.0 if x < _EXP_LOW else y


@inline
def exp_(x):  # type: ignore[no-untyped-def]
    """Return e^x within 1 unit in the last place."""
    return exp_sum(x, 0.0)


@inline
def expm1_(x):  # type: ignore[no-untyped-def]
    """Return e^x - 1, relatively precise for small x too."""
    x = -50.0 if x < -50.0 else x
    shifted = x * _INV_LN2 + _SHIFT
    k = shifted - _SHIFT
    hi = x - k * _LN2_HI
    lo = k * _LN2_LO
    p = hi + (_exp_bend(hi - lo) - lo)
    half = real_((bits_(shifted) + _BIAS_HALF) << _BITS_52)
    y = (half * p + (half - 0.5)) * 2.0
    return INF if x > _EXP_HIGH else y


@inline
def exp_and_expm1(x):  # type: ignore[no-untyped-def]
    """Return (e^x, e^x - 1) for x <= 0; below x = -708.39 the first stays at 2.2e-308."""
    x = _EXP_LOW if x < _EXP_LOW else x
    shifted = x * _INV_LN2 + _SHIFT
    k = shifted - _SHIFT
    hi = x - k * _LN2_HI
    lo = k * _LN2_LO
    p = hi + (_exp_bend(hi - lo) - lo)
    scale = real_((bits_(shifted) + _BIAS) << _BITS_52)
    return scale * (1.0 + p), scale * p + (scale - 1.0)


@inline
def power_log(x, a):  # type: ignore[no-untyped-def]
    """First stage of the power: return (hi, lo) with hi + lo = a log(x) to about 60 bits.

    hi is infinite for x = 0 and infinite x, and NaN below 0; a is finite and not 0.
    """
    m, k = split_exponent(x)
    f = m - 1.0
    bend = _log_bend(f) - k * _LN2_LO
    whole = k * _LN2_HI
    hi = _head(whole + (f - bend))
    lo = ((whole - hi) + f) - bend
    hi = hi if x >= _SMALLEST else (-INF if x >= 0.0 else NAN)
    hi = hi if x <= LARGEST else x
    a_hi = _head(a)
    return a_hi * hi, (a - a_hi) * hi + a * lo


@inline
def power_(x, a):  # type: ignore[no-untyped-def]
    """Return x^a for x >= 0 and finite a, within 4e-15 of the value while |a| < 100; x^0 is 1, NaN for x < 0."""
    hi, lo = power_log(x, a)
    y = exp_sum(hi, lo)
    return 1.0 if a == 0.0 else y


# P between 0.075 and 0.925 is the centre of the normal quantile; the limits of -log P follow from it.
_CENTRE = np.float64(0.425)
_CENTRE_SQUARED = np.float64(0.180625)
_CENTRE_FROM = np.float64(0.07796154146971186)
_CENTRE_TO = np.float64(2.5902671654458267)
_MIDDLE_TO = np.float64(100.0)

# Rational minimax approximations to the normal quantile z, found with a Remez exchange in 60 digits.
# First column: z / q in 0.180625 - q^2 with q = P - 1/2, error 8e-17. Others: z / t in 1 / t with t = sqrt(-log P),
# for t^2 in [2.59, 100] with error 1e-15 and in [100, 1e5] with error 2e-14.
_QN = (
    (3.3871328727963665, 1.4142374320124864, 1.414213638085096),
    (133.1743739825931, 68.60258145232677, 1176.0081041119709),
    (1972.6496048871688, 811.7192726636813, 240209.70825634905),
    (13743.815675277187, 3012.1166649219085, 16158995.338844117),
    (45981.25132588055, 3506.4754229639175, 385609661.4624609),
    (67384.65899332479, 604.4133466128159, 3126810640.970155),
    (33507.80522826685, -2008.8748326901348, 6843070676.721214),
    (2516.3858757918747, -2154.643138495059, -1007264526.9060014),
    (0.0, -341.7150051172878, -5824939839.994715),
)
_QD = (
    (1.0, 1.0, 1.0),
    (42.32298668264363, 48.51414607356146, 831.5635797169601),
    (687.5285780294963, 577.0170662910548, 169858.38244311008),
    (5398.588348646396, 2235.8250568539297, 11429131.047359113),
    (21238.97795509109, 3392.7520756801823, 273177291.62006783),
    (39371.59514006246, 2851.992279497178, 2239305426.343914),
    (28789.823323129327, 1160.8574862532448, 5374579402.087979),
    (5240.397497301925, 101.72498754390675, 2439612479.49229),
)

# Rational minimax approximation to e^(z^2 / 2) Q(z) / w in w = 4 / (4 + z), z >= 0; Q the upper tail; error 2e-16.
_MN = (
    0.09973557010035819,
    -0.13759819926268152,
    0.28515593130311184,
    -0.17715960061132582,
    0.19560972183186995,
    -0.02872647766587005,
    0.051875886370703485,
    0.016986067701755394,
    0.012604022896409803,
    0.00576396318964728,
    0.002016565158738945,
)
_MD = (
    1.0,
    -2.379630147240437,
    4.3012498275536535,
    -4.659139619627814,
    3.8847320645776784,
    -2.218018794724941,
    0.9402509651250496,
    -0.2590128288583209,
    0.04545218769031282,
    -0.00335675246974796,
)


@inline
def _pick(three, central, middle):  # type: ignore[no-untyped-def]
    """Return the coefficient of the piece; a choice between constants costs no branch."""
    return three[0] if central else (three[1] if middle else three[2])


@inline
def normal_from_score(score):  # type: ignore[no-untyped-def]
    """Return the standard normal z of a score: P - 1/2 in the centre, in the tails -log of the tail, signed as z."""
    size = abs(score)
    central = size <= _CENTRE
    middle = size < _MIDDLE_TO
    t = np.sqrt(size)
    x = _CENTRE_SQUARED - score * score if central else 1.0 / t
    a = _pick(_QN[7], central, middle) + x * _pick(_QN[8], central, middle)
    b = _pick(_QD[6], central, middle) + x * _pick(_QD[7], central, middle)
    a = _pick(_QN[6], central, middle) + x * a
    b = _pick(_QD[5], central, middle) + x * b
    a = _pick(_QN[5], central, middle) + x * a
    b = _pick(_QD[4], central, middle) + x * b
    a = _pick(_QN[4], central, middle) + x * a
    b = _pick(_QD[3], central, middle) + x * b
    a = _pick(_QN[3], central, middle) + x * a
    b = _pick(_QD[2], central, middle) + x * b
    a = _pick(_QN[2], central, middle) + x * a
    b = _pick(_QD[1], central, middle) + x * b
    a = _pick(_QN[1], central, middle) + x * a
    b = 1.0 + x * b
    a = _pick(_QN[0], central, middle) + x * a
    return (score if central else (t if score > 0.0 else -t)) * (a / b)


@inline
def normal_quantile(p):  # type: ignore[no-untyped-def]
    """Return z with P(Z <= z) = p for a standard normal Z; -inf at 0, inf at 1, NaN outside [0, 1]."""
    q = p - 0.5
    tail = log_(p if q < 0.0 else 1.0 - p)
    return normal_from_score(q if abs(q) <= _CENTRE else (tail if q < 0.0 else -tail))


@inline
def isf_log_first(h):  # type: ignore[no-untyped-def]
    """First stage of `normal_isf_log`: e^-h - 1, and in the centre 2 e^-h - 1, taken about log 2, where it is 0."""
    central = (h >= _CENTRE_FROM) & (h <= _CENTRE_TO)
    return expm1_((_LN2_HI - h) + _LN2_LO if central else -h)


@inline
def isf_log_score(h, e):  # type: ignore[no-untyped-def]
    """Second stage of `normal_isf_log`: the score of h, with e from the first stage."""
    central = (h >= _CENTRE_FROM) & (h <= _CENTRE_TO)
    return -0.5 * e if central else (h if h > _CENTRE_TO else log_(-e))


@inline
def normal_isf_log(h):  # type: ignore[no-untyped-def]
    """Return z with P(Z > z) = e^-h: the inverse cumulative hazard of a standard normal variable.

    Accurate from h = 1e-300 to 1e5; -inf at 0, inf at inf, NaN below 0.
    """
    return normal_from_score(isf_log_score(h, isf_log_first(h)))


@inline
def _minus_half_square(a):  # type: ignore[no-untyped-def]
    """Return (hi, lo) with hi + lo = -a^2 / 2 and hi exact."""
    head = _head(a)
    return -0.5 * head * head, -0.5 * (a - head) * (a + head)


@inline
def _size(z):  # type: ignore[no-untyped-def]
    """Return |z|, kept below the numbers whose square overflows twice."""
    a = abs(z)
    return 1e160 if a > 1e160 else a


@inline
def log_sf_first(z):  # type: ignore[no-untyped-def]
    """First stage of `normal_log_sf`: e^(z^2 / 2) P(Z > |z|)."""
    a = _size(z)
    w = 4.0 / (4.0 + a)
    n = _MN[9] + w * _MN[10]
    d = _MD[8] + w * _MD[9]
    n = _MN[8] + w * n
    d = _MD[7] + w * d
    n = _MN[7] + w * n
    d = _MD[6] + w * d
    n = _MN[6] + w * n
    d = _MD[5] + w * d
    n = _MN[5] + w * n
    d = _MD[4] + w * d
    n = _MN[4] + w * n
    d = _MD[3] + w * d
    n = _MN[3] + w * n
    d = _MD[2] + w * d
    n = _MN[2] + w * n
    d = _MD[1] + w * d
    n = _MN[1] + w * n
    d = 1.0 + w * d
    n = _MN[0] + w * n
    return w * (n / d)


@inline
def log_sf_second(z, first):  # type: ignore[no-untyped-def]
    """Second stage of `normal_log_sf`: `first` for z > 0, else -P(Z < z)."""
    hi, lo = _minus_half_square(_size(z))
    return first if z > 0.0 else -(exp_sum(hi, lo) * first)


@inline
def log_sf_last(z, second):  # type: ignore[no-untyped-def]
    """Last stage of `normal_log_sf`, with `second` from the second stage."""
    positive = z > 0.0
    u = second if positive else 1.0 + second
    m, k = split_exponent(u)
    y = log_of_parts(u, second if (k == 0.0) & (not positive) else m - 1.0, k)
    hi, lo = _minus_half_square(_size(z))
    return hi + (lo + y) if positive else y


@inline
def normal_log_sf(z):  # type: ignore[no-untyped-def]
    """Return log P(Z > z) for a standard normal Z, accurate far into both tails; 0 at -inf, -inf at inf."""
    return log_sf_last(z, log_sf_second(z, log_sf_first(z)))


@compiled
def _log_loop(x, out):  # type: ignore[no-untyped-def]
    for i in range(x.size):
        out[i] = log_(x[i])


@compiled
def _log1p_loop(x, out):  # type: ignore[no-untyped-def]
    for i in range(x.size):
        out[i] = log1p_(x[i])


@compiled
def _exp_loop(x, out):  # type: ignore[no-untyped-def]
    for i in range(x.size):
        out[i] = exp_(x[i])


@compiled
def _expm1_loop(x, out):  # type: ignore[no-untyped-def]
    for i in range(x.size):
        out[i] = expm1_(x[i])


@compiled
def _normal_quantile_loop(x, out):  # type: ignore[no-untyped-def]
    for i in range(x.size):
        out[i] = normal_quantile(x[i])


@compiled
def _normal_log_sf_loop(x, out):  # type: ignore[no-untyped-def]
    for i in range(x.size):
        out[i] = normal_log_sf(x[i])


@compiled
def _normal_isf_log_loop(x, out):  # type: ignore[no-untyped-def]
    for i in range(x.size):
        out[i] = normal_isf_log(x[i])


@compiled
def _power_loop(x, a, out):  # type: ignore[no-untyped-def]
    for i in range(x.size):
        out[i] = power_(x[i], a[i])


def _each(loop: Callable[..., None], *arguments: ArrayLike) -> NDArray[np.float64]:
    """Return the results of `loop` over the broadcast arguments, in their common shape."""
    arrays = np.broadcast_arrays(*(np.asarray(argument, dtype=np.float64) for argument in arguments))
    flat = [np.array(array, order="C").reshape(-1) for array in arrays]
    out = np.empty(flat[0].size)
    with np.errstate(all="ignore"):
        loop(*flat, out)
    return out.reshape(arrays[0].shape)


def log_array(x: ArrayLike) -> NDArray[np.float64]:
    """Return `log_` of every element, in the shape of `x`."""
    return _each(_log_loop, x)


def log1p_array(x: ArrayLike) -> NDArray[np.float64]:
    """Return `log1p_` of every element, in the shape of `x`."""
    return _each(_log1p_loop, x)


def exp_array(x: ArrayLike) -> NDArray[np.float64]:
    """Return `exp_` of every element, in the shape of `x`."""
    return _each(_exp_loop, x)


def expm1_array(x: ArrayLike) -> NDArray[np.float64]:
    """Return `expm1_` of every element, in the shape of `x`."""
    return _each(_expm1_loop, x)


def normal_quantile_array(x: ArrayLike) -> NDArray[np.float64]:
    """Return `normal_quantile` of every element, in the shape of `x`."""
    return _each(_normal_quantile_loop, x)


def normal_log_sf_array(x: ArrayLike) -> NDArray[np.float64]:
    """Return `normal_log_sf` of every element, in the shape of `x`."""
    return _each(_normal_log_sf_loop, x)


def normal_isf_log_array(x: ArrayLike) -> NDArray[np.float64]:
    """Return `normal_isf_log` of every element, in the shape of `x`."""
    return _each(_normal_isf_log_loop, x)


def power_array(x: ArrayLike, a: ArrayLike) -> NDArray[np.float64]:
    """Return `power_` of every pair of elements, in the common shape of `x` and `a`."""
    return _each(_power_loop, x, a)
