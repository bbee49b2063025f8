"""Philox against the published vectors and a slow version; the addresses of random numbers."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simhcc.engine import rng
from simhcc.engine.compiled import compiled
from simhcc.errors import InputError

# Random123 1.14.0, tests/kat_vectors, lines "philox4x32 10": counter, key, result
# (Salmon et al. 2011, doi:10.1145/2063384.2063405).
PUBLISHED = [
    "00000000 00000000 00000000 00000000  00000000 00000000  6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    "ffffffff ffffffff ffffffff ffffffff  ffffffff ffffffff  408f276d 41c83b0e a20bc7c6 6d5451fd",
    "243f6a88 85a308d3 13198a2e 03707344  a4093822 299f31d0  d16cfe09 94fdcceb 5001e420 24126ea1",
]


@compiled
def _philox_words(words):
    return rng.philox(words[0], words[1], words[2], words[3], words[4], words[5])


@compiled
def _uniform(words):
    return rng.uniform(words[0], words[1], words[2], words[3], words[4], words[5])


@compiled
def _exponential(words):
    return rng.unit_exponential(words[0], words[1], words[2], words[3], words[4], words[5])


def _fast(words):
    with np.errstate(all="ignore"):
        return [int(word) for word in _philox_words(np.array(words, dtype=np.uint64))]


def _slow(c0, c1, c2, c3, k0, k1):
    """Return Philox4x32-10 in Python's whole numbers, written from the paper's description of a round."""
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * c0, 2**32)
        high1, low1 = divmod(0xCD9E8D57 * c2, 2**32)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return [c0, c1, c2, c3]


def _slow_uniform(seed, luck, patient, name, entry=0, firing=0):
    purpose = int.from_bytes(hashlib.blake2s(name.encode()).digest()[:4], "little")
    word = (patient >> 32) * 2**20 + entry * 2**8 + firing
    r = _slow(patient % 2**32, luck, purpose, word, seed % 2**32, seed >> 32)
    k = r[0] * 2**20 + r[1] // 2**12
    return (2 * k + 1) / 2**53


@pytest.mark.parametrize("line", PUBLISHED)
def test_philox_gives_the_published_vectors(line):
    words = [int(word, 16) for word in line.split()]
    assert _fast(words[:6]) == words[6:]
    assert _slow(*words[:6]) == words[6:]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 2**32 - 1), min_size=6, max_size=6))
def test_philox_agrees_with_the_slow_version(words):
    assert _fast(words) == _slow(*words)


def test_uniforms_are_the_numbers_of_their_addresses():
    patients = [0, 1, 2**32 - 1, 2**32, 2**44 - 1]
    for seed, luck, entry, firing in [(0, 0, 0, 0), (2**64 - 1, 2**32 - 1, 4095, 255), (12345678901234, 7, 3, 2)]:
        found = rng.uniforms(seed, luck, patients, "relapse/death", entry, firing)
        assert found.tolist() == [_slow_uniform(seed, luck, p, "relapse/death", entry, firing) for p in patients]


def test_every_field_of_an_address_counts():
    base = {"seed": 1, "luck": 2, "patients": 3, "purpose_name": "a/b", "entry": 4, "firing": 5}
    changes = [{"seed": 9}, {"luck": 9}, {"patients": 9}, {"purpose_name": "a/c"}, {"entry": 9}, {"firing": 9}]
    changes += [{"seed": 1 + 2**40}, {"patients": 3 + 2**40}]
    numbers = [float(rng.uniforms(**{**base, **change})) for change in [{}, *changes]]
    assert len(set(numbers)) == len(numbers)


def test_uniforms_broadcast_and_a_longer_cohort_begins_with_the_shorter():
    table = rng.uniforms(7, np.arange(3)[:, None], np.arange(5), "x")
    assert table.shape == (3, 5)
    assert np.array_equal(table[2], rng.uniforms(7, 2, np.arange(1000), "x")[:5])
    assert rng.uniforms(7, 0, np.arange(0), "x").shape == (0,)


def test_uniforms_lie_strictly_between_0_and_1_and_are_uniform():
    u = rng.uniforms(11, 0, np.arange(100_000), "x")
    assert u.min() > 0.0 and u.max() < 1.0
    # The mean of n uniforms has standard error 0.2887 / sqrt(n); 4.9 of them cry wolf once in a million.
    assert abs(u.mean() - 0.5) < 4.9 * 0.2887 / math.sqrt(u.size)
    # Kolmogorov-Smirnov: P(sqrt(n) D > 2.69) is one in a million.
    assert math.sqrt(u.size) * np.abs(np.sort(u) - (np.arange(u.size) + 0.5) / u.size).max() < 2.69


def _address_of(r0, r1, k0, k1):
    """Return the counter whose words are r0, r1, 0, 0: Philox, round by round backwards."""
    c0, c1, c2, c3 = r0, r1, 0, 0
    for n in range(9, -1, -1):
        key0, key1 = (k0 + n * 0x9E3779B9) % 2**32, (k1 + n * 0xBB67AE85) % 2**32
        before0 = c3 * pow(0xD2511F53, -1, 2**32) % 2**32
        before2 = c1 * pow(0xCD9E8D57, -1, 2**32) % 2**32
        before1 = c0 ^ (0xCD9E8D57 * before2 >> 32) ^ key0
        before3 = c2 ^ (0xD2511F53 * before0 >> 32) ^ key1
        c0, c1, c2, c3 = before0, before1, before2, before3
    return [c0, c1, c2, c3]


def test_extreme_words_give_the_extreme_uniforms():
    # (k + 1/2) 2^-52 is exact for the smallest and the largest k; with 53 bits the largest would round to 1.
    for words, expected in [((0, 0), 2.0**-53), ((2**32 - 1, 2**32 - 1), 1 - 2.0**-53), ((2**31, 0), 0.5 + 2.0**-53)]:
        address = [*_address_of(*words, 17, 4), 17, 4]
        assert _slow(*address)[:2] == list(words)
        with np.errstate(all="ignore"):
            assert _uniform(np.array(address, dtype=np.uint64)) == expected
            exponential = _exponential(np.array(address, dtype=np.uint64))
        assert exponential == pytest.approx(-math.log(expected), rel=1e-15, abs=0.0)


def test_purpose_codes_do_not_change():
    # First 4 bytes of BLAKE2s-256 of the name, least significant first: results of every study hang on them.
    assert rng.purpose_code("") == 0x307A2169
    assert rng.purpose_code("abc") == 0x8C5E8C50
    assert rng.purpose_code("é") != rng.purpose_code("e")


def test_the_seed_is_split_low_half_first():
    assert rng.split_seed(0x0123456789ABCDEF) == (0x89ABCDEF, 0x01234567)
    assert rng.split_seed(0) == (0, 0)


@pytest.mark.parametrize("seed", [-1, 2**64, 1.0, True, None, "1"])
def test_a_seed_that_does_not_fit_is_refused(seed):
    with pytest.raises(InputError, match="seed"):
        rng.split_seed(seed)


def test_the_occurrence_word_packs_12_12_and_8_bits():
    assert int(rng.occurrence_word(0xABC, 0xDEF, 0x12)) == 0xABCDEF12
    assert int(rng.occurrence_word(4095, 4095, 255)) == 2**32 - 1


@pytest.mark.parametrize(
    ("field", "value"),
    [("patients", -1), ("patients", 2**44), ("patients", 0.5), ("luck", 2**32), ("entry", 4096), ("firing", 256)],
)
def test_fields_that_do_not_fit_are_refused_by_name(field, value):
    with pytest.raises(InputError, match=field):
        rng.uniforms(**{"seed": 1, "luck": 0, "patients": [0, 1], "purpose_name": "x", field: value})
