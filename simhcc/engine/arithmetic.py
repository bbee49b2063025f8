"""Elementary functions made of + - * /, square root and moves of bits only.

IEEE 754 fixes every bit of these operations, so each function here gives the same bits compiled or not, for any
width of the vector unit and on any processor; the functions of a C library or of NumPy do not. None of them
branches, so LLVM turns loops over them into vector code.

The functions with a trailing underscore and the two tail functions of the normal distribution are scalar and are
inlined into compiled callers. Their twins that end in `_array` take arrays of any shape (or numbers) and return the
same bits. Run uncompiled (`NUMBA_DISABLE_JIT=1`), the scalar functions want NumPy floats and
`numpy.errstate(all="ignore")`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simhcc.engine.compiled import compiled, inline

INF = np.float64(np.inf)
NAN = np.float64(np.nan)

_INV_LN2 = np.float64(1.4426950408889634)
# ln 2 in two parts; the first has 33 bits, so its product with any exponent is exact.
_LN2_HI = np.float64.fromhex("0x1.62e42fefp-1")
_LN2_LO = np.float64.fromhex("0x1.473de6af278edp-34")
# Adding 1.5 * 2^52 rounds to an integer, which then stands in the low bits.
_SHIFT = np.float64(6755399441055744.0)
_TWO_52 = np.float64(4503599627370496.0)
_TWO_54 = np.float64(18014398509481984.0)
_SMALLEST_NORMAL = np.float64(2.2250738585072014e-308)

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
def _split(x):  # type: ignore[no-untyped-def]
    """Return (m, k) with x = m * 2^k, m in [sqrt(1/2), sqrt(2)) and k a float; x positive, finite and normal."""
    shifted = bits_(x) + _ONE_LESS_SQRT_HALF
    m = real_((shifted & _MANTISSA) + _SQRT_HALF)
    k = real_((shifted >> _BITS_52) | _TWO_52_BITS) - (_TWO_52 + np.float64(1023.0))
    return m, k


@inline
def _log_terms(f):  # type: ignore[no-untyped-def]
    """Return (h, t) with log(1 + f) = f - h + t: h = f^2 / 2 and t small; f in [sqrt(1/2) - 1, sqrt(2) - 1]."""
    s = f / (f + 2.0)
    z = s * s
    w = z * z
    r = z * ((_L0 + z * _L1) + w * ((_L2 + z * _L3) + w * ((_L4 + z * _L5) + w * _L6)))
    h = 0.5 * f * f
    return h, s * (h + r)


@inline
def _log_finish(x, f, k):  # type: ignore[no-untyped-def]
    """Return log(2^k (1 + f)), or the limit where x, the argument of the logarithm, is not positive and finite."""
    h, t = _log_terms(f)
    y = k * _LN2_HI + (f - (h - (t + k * _LN2_LO)))
    y = y if x > 0.0 else (-INF if x == 0.0 else NAN)
    return y if x < INF else x if x == INF else NAN


@inline
def log_(x):  # type: ignore[no-untyped-def]
    """Return the natural logarithm within 1 unit in the last place; -inf at 0, NaN below 0."""
    tiny = x < _SMALLEST_NORMAL
    m, k = _split(x * _TWO_54 if tiny else x)
    k = k - 54.0 if tiny else k
    return _log_finish(x, m - 1.0, k)


@inline
def log1p_(x):  # type: ignore[no-untyped-def]
    """Return log(1 + x) with the relative accuracy of `log_` for small x too; -inf at -1, NaN below -1."""
    u = 1.0 + x
    m, k = _split(u)
    # Where no power of two is taken out, x itself is the reduced argument and nothing has been rounded.
    f = x if k == 0.0 else m - 1.0
    return _log_finish(u, f, k)


@inline
def _exp_terms(r):  # type: ignore[no-untyped-def]
    """Return e^r - 1 - r for |r| <= 0.3467."""
    z = r * r
    w = z * z
    low = (_E0 + r * _E1) + z * (_E2 + r * _E3)
    high = (_E4 + r * _E5) + z * (_E6 + r * _E7) + w * (_E8 + r * _E9)
    return z * (low + w * high)


@inline
def _exp_sum(x, tail):  # type: ignore[no-untyped-def]
    """Return e^(x + tail) within 1 unit in the last place of exact inputs; |tail| < 1e-4."""
    tail = tail if abs(x) < 750.0 else 0.0
    x = -750.0 if x < -750.0 else x
    x = 750.0 if x > 750.0 else x
    shifted = x * _INV_LN2 + _SHIFT
    k = shifted - _SHIFT
    hi = x - k * _LN2_HI
    lo = k * _LN2_LO - tail
    y = 1.0 + (hi + (_exp_terms(hi - lo) - lo))
    # 2^k in two factors, so that neither overflows and a subnormal result is rounded once.
    half = k * 0.5 + _SHIFT
    rest = (k - (half - _SHIFT)) + _SHIFT
    first = real_((bits_(half) + _BIAS) << _BITS_52)
    second = real_((bits_(rest) + _BIAS) << _BITS_52)
    return y * first * second


@inline
def exp_(x):  # type: ignore[no-untyped-def]
    """Return e^x within 1 unit in the last place; 0 at -inf, inf when it overflows."""
    return _exp_sum(x, 0.0)


@inline
def expm1_(x):  # type: ignore[no-untyped-def]
    """Return e^x - 1 with full relative accuracy for small x too; -1 at -inf, inf when it overflows."""
    x = -50.0 if x < -50.0 else x
    x = 750.0 if x > 750.0 else x
    shifted = x * _INV_LN2 + _SHIFT
    k = shifted - _SHIFT
    hi = x - k * _LN2_HI
    lo = k * _LN2_LO
    p = hi + (_exp_terms(hi - lo) - lo)
    half = real_((bits_(shifted) + _BIAS_HALF) << _BITS_52)
    y = (half * p + (half - 0.5)) * 2.0
    return p if k == 0.0 else (INF if x > 710.0 else y)


@inline
def _head(x):  # type: ignore[no-untyped-def]
    """Return x with its last 27 bits cleared: the product of two heads is exact."""
    return real_(bits_(x) & _TOP_26)


@inline
def _log_pair(x):  # type: ignore[no-untyped-def]
    """Return (hi, lo) with hi + lo = log(x) to about 60 bits, hi of 26 bits; x positive and finite."""
    tiny = x < _SMALLEST_NORMAL
    m, k = _split(x * _TWO_54 if tiny else x)
    k = k - 54.0 if tiny else k
    f = m - 1.0
    h, t = _log_terms(f)
    whole = k * _LN2_HI
    hi = _head(whole + (f - h))
    lo = (((whole - hi) + f) - h) + (t + k * _LN2_LO)
    return hi, lo


@inline
def _times(hi, lo, a):  # type: ignore[no-untyped-def]
    """Return (hi, lo) whose sum is (hi + lo) * a, for hi of 26 bits; the first product is exact."""
    a_hi = _head(a)
    return a_hi * hi, (a - a_hi) * hi + a * lo


@inline
def power_(x, a):  # type: ignore[no-untyped-def]
    """Return x^a for x >= 0 and finite a, within 4e-15 of the value while |a| < 100; 0^0 is 1, NaN for x < 0."""
    hi, lo = _log_pair(x)
    hi, lo = _times(hi, lo, a)
    y = _exp_sum(hi, lo)
    at_zero = 0.0 if a > 0.0 else (INF if a < 0.0 else a + 1.0)
    at_infinity = INF if a > 0.0 else (0.0 if a < 0.0 else a + 1.0)
    y = y if x > 0.0 else (at_zero if x == 0.0 else NAN)
    return y if x < INF else (at_infinity if x == INF else NAN)


# Upper limits of -log P in the pieces of the normal quantile. P between 0.075 and 0.925 is the centre.
_CENTRE = np.float64(0.425)
_CENTRE_SQUARED = np.float64(0.180625)
_CENTRE_FROM = np.float64(0.0779615414697118)
_CENTRE_TO = np.float64(2.5902671654458267)
_MIDDLE_TO = np.float64(36.0)
_FAR_TO = np.float64(1600.0)

# Rational minimax approximations to the normal quantile z, found with a Remez exchange in 60 digits.
# Centre (first column): z / q in 0.180625 - q^2, q = P - 1/2, error 8e-17. Tails: z / t in 1 / t, t = sqrt(-log P),
# for t^2 in [2.59, 36], [36, 1600] and [1600, 200000], errors 5e-16, 3e-16 and 8e-15.
_QN = (
    (3.3871328727963665, 1.4142975344545867, 1.4142151796558753, 1.4142136020898617),
    (133.1743739825931, 26.937202715917568, 274.7005793522992, 1523.2322701322628),
    (1972.6496048871688, 62.162814541990144, 13748.707709402117, 368628.70014058205),
    (13743.815675277187, 202.41468447268682, 235851.23113670622, 24901535.294043653),
    (45981.25132588055, 2006.5671008668987, 1457206.600037747, 422728447.8216312),
    (67384.65899332479, 1747.863604931659, 2734868.9780610288, 807551408.2832046),
    (33507.80522826685, -1940.8666198634342, -443032.9223415707, -1551548941.3659282),
    (2516.3858757918747, -885.0841939315541, -2491040.702707156, 0.0),
)
_QD = (
    (1.0, 1.0, 1.0, 1.0),
    (42.32298668264363, 19.056998744093175, 194.24387929088024, 1077.0880691916489),
    (687.5285780294963, 46.61283746118382, 9725.533577753222, 260664.46663486544),
    (5398.588348646396, 173.7722100795601, 167332.98037288277, 17612044.850482833),
    (21238.97795509109, 1445.7271447937349, 1052883.2556452649, 299710539.0159021),
    (39371.59514006246, 1631.183075706557, 2236308.3005442377, 613580926.5953833),
    (28789.823323129327, 305.49433801040607, 1065827.322939199, -604561658.3839978),
    (5240.397497301925, -3.588683402096095, -57899.85086695343, 0.0),
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
def _pick(four, central, middle, far):  # type: ignore[no-untyped-def]
    """Return the coefficient of the piece; a choice between constants costs no branch."""
    return four[0] if central else (four[1] if middle else (four[2] if far else four[3]))


@inline
def _normal_pieces(q, log_p, central):  # type: ignore[no-untyped-def]
    """Return z with P(Z <= z) = 1/2 + q in the centre, else z >= 0 with P(Z > z) = e^-log_p."""
    middle = log_p < _MIDDLE_TO
    far = log_p < _FAR_TO
    t = np.sqrt(log_p)
    x = _CENTRE_SQUARED - q * q if central else 1.0 / t
    a = _pick(_QN[6], central, middle, far) + x * _pick(_QN[7], central, middle, far)
    b = _pick(_QD[6], central, middle, far) + x * _pick(_QD[7], central, middle, far)
    a = _pick(_QN[5], central, middle, far) + x * a
    b = _pick(_QD[5], central, middle, far) + x * b
    a = _pick(_QN[4], central, middle, far) + x * a
    b = _pick(_QD[4], central, middle, far) + x * b
    a = _pick(_QN[3], central, middle, far) + x * a
    b = _pick(_QD[3], central, middle, far) + x * b
    a = _pick(_QN[2], central, middle, far) + x * a
    b = _pick(_QD[2], central, middle, far) + x * b
    a = _pick(_QN[1], central, middle, far) + x * a
    b = _pick(_QD[1], central, middle, far) + x * b
    a = _pick(_QN[0], central, middle, far) + x * a
    b = 1.0 + x * b
    return (q if central else t) * (a / b)


@inline
def normal_quantile(p):  # type: ignore[no-untyped-def]
    """Return z with P(Z <= z) = p for a standard normal Z; -inf at 0, inf at 1, NaN outside [0, 1]."""
    q = p - 0.5
    lower = q < 0.0
    central = abs(q) <= _CENTRE
    z = _normal_pieces(q, -log_(p if lower else 1.0 - p), central)
    return -z if lower and not central else z


@inline
def normal_isf_log(h):  # type: ignore[no-untyped-def]
    """Return z with P(Z > z) = e^-h: the inverse cumulative hazard of a standard normal variable.

    Accurate from h = 1e-300 to 2e5; -inf at 0, inf at inf, NaN below 0.
    """
    central = (h >= _CENTRE_FROM) & (h <= _CENTRE_TO)
    upper = h > _CENTRE_TO
    # In the centre 1/2 - e^-h, taken about log 2, where it is 0; in the lower tail P(Z <= z) = 1 - e^-h.
    e = expm1_((_LN2_HI - h) + _LN2_LO if central else -h)
    z = _normal_pieces(-0.5 * e, h if upper else -log_(-e), central)
    return z if upper or central else -z


@inline
def normal_log_sf(z):  # type: ignore[no-untyped-def]
    """Return log P(Z > z) for a standard normal Z, accurate far into both tails; 0 at -inf, -inf at inf."""
    a = abs(z)
    a = 1e160 if a > 1e160 else a
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
    mills = w * (n / d)
    # -z^2 / 2 as an exact product and the rest of it.
    head = _head(a)
    hi = -0.5 * head * head
    lo = -0.5 * (a - head) * (a + head)
    tail = _exp_sum(hi, lo) * mills
    positive = z > 0.0
    u = mills if positive else 1.0 - tail
    m, k = _split(u)
    f = -tail if (k == 0.0) & (not positive) else m - 1.0
    y = _log_finish(u, f, k)
    return hi + (lo + y) if positive else y


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
