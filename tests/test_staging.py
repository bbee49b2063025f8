"""The derived stages agree with the published definitions, edge by edge."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simhcc import staging

# A fit patient with a well preserved liver and one 4 cm nodule; each case changes only what it is about.
FIT = {
    "ecog": 0, "child_pugh": 5, "nodules": 1, "diameter": 4.0, "pv": 0, "hv": 0, "ehs": 0, "lobes": 1,
    "contralateral_within_milan": 1, "infiltrative": 0, "albi": -2.8, "decompensated": 0, "surgical_barrier": 0,
    "judged_resectable": 0,
}  # fmt: skip
CNLC_KEYS = ("ecog", "child_pugh", "nodules", "diameter", "pv", "hv", "ehs")
BURDEN_KEYS = ("nodules", "diameter", "infiltrative")
TACE_KEYS = ("ecog", "child_pugh", "pv", "ehs", "decompensated")
RESECTION_KEYS = (
    "child_pugh", "nodules", "diameter", "lobes", "contralateral_within_milan", "pv", "ehs", "surgical_barrier",
    "judged_resectable",
)  # fmt: skip


def arguments(keys, change):
    unknown = set(change) - set(FIT)
    assert not unknown
    return {key: np.array([{**FIT, **change}[key]], dtype=np.float64) for key in keys}


def name(codes, names):
    return names[int(codes[0])]


CNLC_CASES = [
    ({"diameter": 5.0}, "Ia"),
    ({"diameter": 5.1}, "Ib"),
    ({"diameter": 20.0}, "Ib"),
    ({"nodules": 2, "diameter": 3.0}, "Ib"),
    ({"nodules": 3, "diameter": 3.0}, "Ib"),
    ({"nodules": 2, "diameter": 3.1}, "IIa"),
    ({"nodules": 3, "diameter": 9.0}, "IIa"),
    ({"nodules": 4, "diameter": 1.0}, "IIb"),
    ({"nodules": 12, "diameter": 9.0}, "IIb"),
    ({"pv": 1, "diameter": 2.0}, "IIIa"),
    ({"pv": 4, "nodules": 6}, "IIIa"),
    ({"hv": 1}, "IIIa"),
    ({"ehs": 1}, "IIIb"),
    ({"ehs": 1, "pv": 4}, "IIIb"),
    ({"ecog": 2}, "Ia"),
    ({"ecog": 3}, "IV"),
    ({"child_pugh": 9}, "Ia"),
    ({"child_pugh": 10}, "IV"),
    ({"child_pugh": 10, "ehs": 1}, "IV"),
]


@pytest.mark.parametrize(("change", "expected"), CNLC_CASES)
def test_cnlc(change, expected):
    assert name(staging.cnlc(**arguments(CNLC_KEYS, change)), staging.CNLC_NAMES) == expected


BCLC_CASES = [
    ({"diameter": 2.0}, "0", "0"),
    ({"diameter": 2.1}, "A", "A"),
    ({"diameter": 15.0}, "A", "A"),
    ({"nodules": 2, "diameter": 1.5}, "A", "A"),
    ({"nodules": 3, "diameter": 3.0}, "A", "A"),
    ({"nodules": 3, "diameter": 3.1}, "B", "B"),
    ({"nodules": 4, "diameter": 1.0}, "B", "B"),
    ({"pv": 1}, "C", "C"),
    ({"hv": 1}, "C", "C"),
    ({"ehs": 1}, "C", "C"),
    ({"ecog": 1}, "C", "A"),
    ({"ecog": 2, "nodules": 4}, "C", "B"),
    ({"ecog": 2, "ehs": 1}, "C", "C"),
    ({"ecog": 3}, "D", "D"),
    ({"child_pugh": 9}, "A", "A"),
    ({"child_pugh": 10, "ehs": 1}, "D", "D"),
]


@pytest.mark.parametrize(("change", "strict", "tumour_only"), BCLC_CASES)
def test_bclc_under_both_ecog_rules(change, strict, tumour_only):
    values = arguments(CNLC_KEYS, change)
    assert name(staging.bclc(**values), staging.BCLC_NAMES) == strict
    assert name(staging.bclc(**values, ecog_rule="tumour_only"), staging.BCLC_NAMES) == tumour_only


def test_an_unknown_ecog_rule_is_refused():
    with pytest.raises(ValueError, match="tumour_only"):
        staging.bclc(**arguments(CNLC_KEYS, {}), ecog_rule="lenient")


# (change, 6-and-12, within up-to-seven)
BURDEN_CASES = [
    ({"nodules": 1, "diameter": 5.0}, "low", True),  # exactly 6
    ({"nodules": 3, "diameter": 3.0}, "low", True),  # exactly 6
    ({"nodules": 1, "diameter": 5.1}, "middle", True),
    ({"nodules": 2, "diameter": 5.0}, "middle", True),  # exactly 7
    ({"nodules": 3, "diameter": 4.1}, "middle", False),
    ({"nodules": 4, "diameter": 8.0}, "middle", False),  # exactly 12
    ({"nodules": 2, "diameter": 10.0}, "middle", False),  # exactly 12
    ({"nodules": 2, "diameter": 10.1}, "high", False),
    ({"nodules": 1, "diameter": 2.0, "infiltrative": 1}, "high", False),
]


@pytest.mark.parametrize(("change", "burden", "within"), BURDEN_CASES)
def test_six_and_twelve_and_up_to_seven(change, burden, within):
    values = arguments(BURDEN_KEYS, change)
    assert name(staging.six_and_twelve(**values), staging.SIX_AND_TWELVE_NAMES) == burden
    assert staging.up_to_seven(**values)[0] == within


MILAN_CASES = [
    ({"diameter": 5.0}, True),
    ({"diameter": 5.1}, False),
    ({"nodules": 2, "diameter": 3.0}, True),
    ({"nodules": 3, "diameter": 3.0}, True),
    ({"nodules": 2, "diameter": 3.1}, False),
    ({"nodules": 4, "diameter": 1.0}, False),
    ({"diameter": 2.0, "pv": 1}, False),
    ({"diameter": 2.0, "hv": 1}, False),
    ({"diameter": 2.0, "ehs": 1}, False),
]


@pytest.mark.parametrize(("change", "expected"), MILAN_CASES)
def test_milan(change, expected):
    assert staging.milan(**arguments(("nodules", "diameter", "pv", "hv", "ehs"), change))[0] == expected


APPLE_CASES = [
    ({}, False),
    ({"nodules": 2, "diameter": 5.0}, False),  # exactly 7
    ({"nodules": 2, "diameter": 5.1}, True),
    ({"albi": -2.28}, False),  # 2a
    ({"albi": -2.27}, True),  # 2b
    ({"albi": -1.0}, True),
    ({"infiltrative": 1}, True),
]


@pytest.mark.parametrize(("change", "expected"), APPLE_CASES)
def test_tace_unsuitable(change, expected):
    assert staging.tace_unsuitable(**arguments((*BURDEN_KEYS, "albi"), change))[0] == expected


TACE_CASES = [
    ({}, True),
    ({"pv": 2}, True),
    ({"pv": 3}, False),
    ({"ehs": 1}, False),
    ({"child_pugh": 7}, True),
    ({"child_pugh": 8}, False),
    ({"ecog": 1}, True),
    ({"ecog": 2}, False),
    ({"decompensated": 1}, False),
    ({"nodules": 20, "diameter": 15.0}, True),
]


@pytest.mark.parametrize(("change", "expected"), TACE_CASES)
def test_tace_eligible(change, expected):
    assert staging.tace_eligible(**arguments(TACE_KEYS, change))[0] == expected


BILOBAR = {"lobes": 2, "contralateral_within_milan": 0}
RESECTION_CASES = [
    ({}, "resectable"),
    ({"nodules": 3, "diameter": 9.0, "pv": 3}, "resectable"),
    ({"nodules": 3, **BILOBAR}, "resectable"),
    ({"nodules": 4}, "potentially_resectable"),
    ({"nodules": 4, "judged_resectable": 1}, "resectable"),
    ({"nodules": 4, "lobes": 2}, "potentially_resectable"),
    ({"nodules": 4, **BILOBAR}, "unresectable"),
    ({"pv": 4}, "unresectable"),
    ({"pv": 4, "judged_resectable": 1}, "unresectable"),
    ({"ehs": 1}, "unresectable"),
    ({"ehs": 1, "judged_resectable": 1}, "unresectable"),
    ({"surgical_barrier": 1}, "potentially_resectable"),
    ({"surgical_barrier": 1, "judged_resectable": 1}, "potentially_resectable"),
    ({"surgical_barrier": 1, **BILOBAR}, "unresectable"),
    ({"surgical_barrier": 1, "lobes": 1, "contralateral_within_milan": 0}, "potentially_resectable"),
    ({"child_pugh": 6, "diameter": 9.0}, "resectable"),
    ({"child_pugh": 7, "diameter": 5.0}, "resectable"),  # small resection at B7
    ({"child_pugh": 7, "diameter": 5.1}, "potentially_resectable"),
    ({"child_pugh": 7, "nodules": 2, "diameter": 2.0}, "potentially_resectable"),
    ({"child_pugh": 7, "diameter": 2.0, "pv": 1}, "potentially_resectable"),
    ({"child_pugh": 8, "diameter": 2.0}, "potentially_resectable"),
]


@pytest.mark.parametrize(("change", "expected"), RESECTION_CASES)
def test_resectability(change, expected):
    codes = staging.resectability(**arguments(RESECTION_KEYS, change))
    assert name(codes, staging.RESECTABILITY_NAMES) == expected


@pytest.mark.parametrize(
    ("albi", "expected"),
    [(-3.5, "1"), (-2.60, "1"), (-2.59, "2a"), (-2.28, "2a"), (-2.27, "2b"), (-1.39, "2b"), (-1.38, "3"), (0.5, "3")],
)
def test_albi_grade(albi, expected):
    assert name(staging.albi_grade(np.array([albi])), staging.ALBI_GRADE_NAMES) == expected


@pytest.mark.parametrize(("points", "expected"), [(5, "A"), (6, "A"), (7, "B"), (9, "B"), (10, "C"), (15, "C")])
def test_child_pugh_class(points, expected):
    assert name(staging.child_pugh_class(np.array([points])), staging.CHILD_PUGH_CLASS_NAMES) == expected


def test_vp_grades_and_cheng_types():
    assert [name(staging.cheng_type([pv]), staging.CHENG_NAMES) for pv in range(5)] == ["none", "I", "I", "II", "III"]
    assert staging.vp_of_cheng(np.arange(5)).tolist() == [0, 2, 3, 4, 4]
    # Going to a Vp grade and back keeps the type, save IV, which Vp cannot tell from III.
    assert staging.cheng_type(staging.vp_of_cheng(np.arange(5))).tolist() == [0, 1, 2, 3, 3]


TUMOURS = st.fixed_dictionaries(
    {
        "ecog": st.integers(0, 4),
        "child_pugh": st.integers(5, 15),
        "nodules": st.integers(1, 12),
        "diameter": st.integers(5, 200).map(lambda mm: mm / 10),
        "pv": st.integers(0, 4),
        "hv": st.integers(0, 1),
        "ehs": st.integers(0, 1),
        "lobes": st.integers(1, 2),
        "contralateral_within_milan": st.integers(0, 1),
        "infiltrative": st.integers(0, 1),
        "surgical_barrier": st.integers(0, 1),
        "decompensated": st.integers(0, 1),
    }
)


@given(TUMOURS)
def test_relations_between_the_stages(change):
    cnlc = staging.cnlc(**arguments(CNLC_KEYS, change))[0]
    strict = staging.bclc(**arguments(CNLC_KEYS, change))[0]
    lenient = staging.bclc(**arguments(CNLC_KEYS, change), ecog_rule="tumour_only")[0]
    milan = staging.milan(**arguments(("nodules", "diameter", "pv", "hv", "ehs"), change))[0]
    burden = staging.six_and_twelve(**arguments(BURDEN_KEYS, change))[0]
    operable = staging.resectability(**arguments(RESECTION_KEYS, change))[0]
    assert (cnlc == staging.Cnlc.IV) == (strict == staging.Bclc.D) == (lenient == staging.Bclc.D)
    assert strict >= lenient
    if cnlc < staging.Cnlc.IV:
        assert (cnlc >= staging.Cnlc.IIIA) == (lenient == staging.Bclc.C)
        assert (cnlc in (staging.Cnlc.IIA, staging.Cnlc.IIB)) == (lenient == staging.Bclc.B)
        assert milan == (cnlc == staging.Cnlc.IA or (cnlc == staging.Cnlc.IB and change["nodules"] > 1))
    if burden == staging.SixAndTwelve.LOW:
        assert staging.up_to_seven(**arguments(BURDEN_KEYS, change))[0]
    if operable < staging.Resectability.UNRESECTABLE:
        assert change["ehs"] == 0 and change["pv"] <= 3
    worse = {**change, "surgical_barrier": 1}
    assert staging.resectability(**arguments(RESECTION_KEYS, worse))[0] >= operable


def test_arrays_and_single_numbers_give_the_same_codes():
    sizes = np.linspace(0.5, 15.0, 59)
    together = staging.six_and_twelve(2.0, sizes, 0.0)
    assert together.dtype == np.float64 and together.shape == sizes.shape
    assert together.tolist() == [float(staging.six_and_twelve(2.0, size, 0.0)) for size in sizes]
