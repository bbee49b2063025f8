"""Random numbers that are looked up, not consumed: Philox4x32-10 with an address for every draw.

Philox is the counter-based generator of Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3,
SC11 (2011), doi:10.1145/2063384.2063405. An address is 192 bits and each field has bits of its own, so no two
addresses meet.

| word      | bits        | content                                                                          |
|-----------|-------------|----------------------------------------------------------------------------------|
| key 0, 1  | 64          | seed, low and high half                                                          |
| counter 0 | 32          | patient, low part                                                                |
| counter 1 | 32          | luck: the iteration in a PSA, constant where an objective must be smooth         |
| counter 2 | 32          | purpose: `purpose_code` of its name                                              |
| counter 3 | 12 + 12 + 8 | patient, high part; entry (earlier entries to the node); firing (in this stay)   |

Words 0 and 1 of the result make the uniform number; words 2 and 3 belong to the same draw and are not used.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simhcc.engine.arithmetic import log_, real_
from simhcc.engine.compiled import compiled, inline
from simhcc.errors import InputError

PATIENT_LIMIT = 1 << 44
LUCK_LIMIT = 1 << 32
ENTRY_LIMIT = 1 << 12
FIRING_LIMIT = 1 << 8

# Multipliers and Weyl constants of Philox4x32, from the paper.
_M0 = np.uint64(0xD2511F53)
_M1 = np.uint64(0xCD9E8D57)
_W0 = np.uint64(0x9E3779B9)
_W1 = np.uint64(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_B8 = np.uint64(8)
_B12 = np.uint64(12)
_B20 = np.uint64(20)
_B32 = np.uint64(32)
_ONE_BITS = np.uint64(0x3FF0000000000000)
_HALF_STEP = np.float64(2.0**-53)


@inline
def _round(c0, c1, c2, c3, k0, k1):  # type: ignore[no-untyped-def]
    """Return the counter after one round; every word is a 32-bit value in an unsigned 64-bit number."""
    p0 = _M0 * c0
    p1 = _M1 * c2
    return (p1 >> _B32) ^ c1 ^ k0, p1 & _LOW, (p0 >> _B32) ^ c3 ^ k1, p0 & _LOW


@inline
def philox(c0, c1, c2, c3, k0, k1):  # type: ignore[no-untyped-def]
    """Return the four words of Philox4x32-10 at counter (c0, c1, c2, c3) under key (k0, k1).

    Arguments and results are `uint64` numbers below 2^32.
    """
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    return _round(c0, c1, c2, c3, k0, k1)


@inline
def uniform(c0, c1, c2, c3, k0, k1):  # type: ignore[no-untyped-def]
    """Return the uniform number (k + 1/2) 2^-52 of an address, strictly between 0 and 1.

    k has 52 bits: word 0 gives the upper 32 and the upper 20 bits of word 1 the lower ones. With 53 bits the largest
    number would round to 1.
    """
    r0, r1, _, _ = philox(c0, c1, c2, c3, k0, k1)
    return (real_(_ONE_BITS | (r0 << _B20) | (r1 >> _B12)) - 1.0) + _HALF_STEP


@inline
def unit_exponential(c0, c1, c2, c3, k0, k1):  # type: ignore[no-untyped-def]
    """Return the unit-exponential number -log(uniform) of an address, between 1.1e-16 and 36.8."""
    return -log_(uniform(c0, c1, c2, c3, k0, k1))


@inline
def occurrence_word(patient_high, entry, firing):  # type: ignore[no-untyped-def]
    """Return counter 3: 12 bits of the patient's high part, 12 of the entry and 8 of the firing, from the top.

    The arguments are non-negative whole numbers below 4096, 4096 and 256; they are not checked.
    """
    return (np.uint64(patient_high) << _B20) | (np.uint64(entry) << _B8) | np.uint64(firing)


def purpose_code(name: str) -> int:
    """Return the 32-bit code of a purpose: the first 4 bytes of BLAKE2s of its UTF-8 name, little-endian."""
    return int.from_bytes(hashlib.blake2s(name.encode("utf-8")).digest()[:4], "little")


def split_seed(seed: int) -> tuple[np.uint64, np.uint64]:
    """Return the two key words of a seed, low half first.

    Raises InputError for a seed that is not a whole number from 0 to 2^64 - 1.
    """
    whole = isinstance(seed, (int, np.integer)) and not isinstance(seed, (bool, np.bool_))
    if not whole or not 0 <= int(seed) < 1 << 64:
        raise InputError(key="seed", found=repr(seed), expected="a whole number from 0 to 2^64 - 1")
    return np.uint64(int(seed) & 0xFFFFFFFF), np.uint64(int(seed) >> 32)


@compiled
def _uniforms_loop(patients, lucks, entries, firings, purpose, k0, k1, out):  # type: ignore[no-untyped-def]
    for i in range(patients.size):
        word = occurrence_word(patients[i] >> _B32, entries[i], firings[i])
        out[i] = uniform(patients[i] & _LOW, lucks[i], purpose, word, k0, k1)


def _addresses(name: str, values: ArrayLike, limit: int) -> NDArray[np.uint64]:
    """Return one field of the addresses as unsigned numbers, or refuse what does not fit into its bits."""
    array = np.asarray(values)
    if array.size == 0:
        return array.astype(np.uint64)
    expected = f"whole numbers from 0 to {limit - 1}"
    if array.dtype.kind not in "iu":
        raise InputError(key=name, found=f"values of type {array.dtype}", expected=expected)
    if int(array.min()) < 0 or int(array.max()) >= limit:
        raise InputError(key=name, found=f"values from {array.min()} to {array.max()}", expected=expected)
    return array.astype(np.uint64)


def uniforms(
    seed: int,
    luck: ArrayLike,
    patients: ArrayLike,
    purpose_name: str,
    entry: ArrayLike = 0,
    firing: ArrayLike = 0,
) -> NDArray[np.float64]:
    """Return the uniform numbers of many addresses at once, in the common shape of luck, patients, entry and firing.

    They are the numbers the kernel would draw. Raises InputError for fields that are not whole numbers or do not fit:
    patients below 2^44, luck below 2^32, entry below 4096, firing below 256.
    """
    k0, k1 = split_seed(seed)
    fields = np.broadcast_arrays(
        _addresses("patients", patients, PATIENT_LIMIT),
        _addresses("luck", luck, LUCK_LIMIT),
        _addresses("entry", entry, ENTRY_LIMIT),
        _addresses("firing", firing, FIRING_LIMIT),
    )
    flat = [np.array(field, order="C").reshape(-1) for field in fields]
    out = np.empty(flat[0].size)
    with np.errstate(all="ignore"):
        _uniforms_loop(*flat, np.uint64(purpose_code(purpose_name)), k0, k1, out)
    return out.reshape(fields[0].shape)
