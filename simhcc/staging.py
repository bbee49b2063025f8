"""Stages and classes derived from a patient's attributes: pure functions of arrays, no clinical estimates.

Every cut-off here is part of a published definition and is cited where it is named. Arguments are float64 arrays (or
single numbers) of one shape; results are float64 codes of that shape, or booleans for yes-or-no classes. Each docstring
states its rule as a formula of comparisons, so that the same rule can be written as an expression in the pathway.

Codes used in the arguments: `ecog` 0-4; `child_pugh` points 5-15; `nodules` a count; `diameter` of the largest nodule
in cm; `pv` 0 none, 1 Vp1 ... 4 Vp4; `hv`, `ehs`, `infiltrative`, `decompensated`, `surgical_barrier` 0 or 1; `lobes`
1 or 2.

Sources:
  CNLC          Xie DY et al. Hepatobiliary Surg Nutr 2023;12:216-228 (Chinese guidelines of 2022).
  BCLC          Reig M et al. J Hepatol 2022;76:681-693.
  6-and-12      Wang Q et al. J Hepatol 2019;70:893-903.
  up-to-seven   Mazzaferro V et al. Lancet Oncol 2009;10:35-43.
  Milan         Mazzaferro V et al. N Engl J Med 1996;334:693-699.
  APPLE         Kudo M et al. Liver Cancer 2020;9:245-260.
  ALBI          Johnson PJ et al. J Clin Oncol 2015;33:550-558; grades 2a and 2b: Hiraoka A et al. Liver Cancer
                2017;6:325-336.
  Child-Pugh    Pugh RN et al. Br J Surg 1973;60:646-649.
  Vp            Liver Cancer Study Group of Japan, General rules for the study of primary liver cancer.
  PVTT types    Cheng S et al. Liver Cancer 2020;9:28-40 (Chinese consensus, 2018 edition).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Codes = NDArray[np.float64]
Flags = NDArray[np.bool_]
EcogRule = Literal["strict", "tumour_only"]

CNLC_SOLITARY_CM = 5.0  # CNLC: one nodule of at most 5 cm is Ia, a larger one Ib
CNLC_MULTIPLE_CM = 3.0  # CNLC: two or three nodules, all at most 3 cm, are Ib; one above 3 cm makes IIa
BCLC_VERY_EARLY_CM = 2.0  # BCLC 0: one nodule of at most 2 cm
BCLC_MULTIPLE_CM = 3.0  # BCLC A: up to three nodules of at most 3 cm each
MILAN_SOLITARY_CM = 5.0
MILAN_MULTIPLE_CM = 3.0
FEW_NODULES = 3.0  # "two or three" in CNLC, BCLC and Milan
SIX = 6.0  # 6-and-12: a sum of exactly 6 is low
TWELVE = 12.0  # 6-and-12: a sum of exactly 12 is middle
SEVEN = 7.0  # up-to-seven: a sum of exactly 7 is within
ALBI_1_UPPER = -2.60  # grade 1: at most -2.60
ALBI_2A_UPPER = -2.27  # grade 2a: above -2.60 and below -2.27; 2b from -2.27
ALBI_2_UPPER = -1.39  # grade 2: at most -1.39; grade 3 above
CHILD_PUGH_A_UPPER = 6.0
CHILD_PUGH_B_UPPER = 9.0
CHILD_PUGH_B7 = 7.0
ECOG_END_STAGE = 3.0  # ECOG 3-4: CNLC IV, BCLC D
TACE_MAX_VP = 2.0  # TACE candidates: segmental or second-order portal branches at most
RESECTABLE_MAX_VP = 3.0  # thrombus of the main trunk (Vp4) is not resected up front


class Cnlc(IntEnum):
    """Stages of the China liver cancer staging, in order."""

    IA = 1
    IB = 2
    IIA = 3
    IIB = 4
    IIIA = 5
    IIIB = 6
    IV = 7


class Bclc(IntEnum):
    """Stages of the Barcelona Clinic Liver Cancer staging, in order; very early disease is written 0."""

    VERY_EARLY = 0
    A = 1
    B = 2
    C = 3
    D = 4


class SixAndTwelve(IntEnum):
    """Classes of the 6-and-12 score, in order."""

    LOW = 1
    MIDDLE = 2
    HIGH = 3


class AlbiGrade(IntEnum):
    """Modified ALBI grades 1, 2a, 2b, 3, in order."""

    GRADE_1 = 1
    GRADE_2A = 2
    GRADE_2B = 3
    GRADE_3 = 4


class ChildPughClass(IntEnum):
    """Child-Pugh classes, in order."""

    A = 1
    B = 2
    C = 3


class Resectability(IntEnum):
    """Resectable at once, perhaps after conversion therapy, or not."""

    RESECTABLE = 1
    POTENTIALLY = 2
    UNRESECTABLE = 3


class ChengType(IntEnum):
    """Chinese (Cheng) types of portal vein tumour thrombus; 0 is none."""

    NONE = 0
    I = 1  # noqa: E741 - the published name of the type
    II = 2
    III = 3
    IV = 4


CNLC_NAMES = {1: "Ia", 2: "Ib", 3: "IIa", 4: "IIb", 5: "IIIa", 6: "IIIb", 7: "IV"}
BCLC_NAMES = {0: "0", 1: "A", 2: "B", 3: "C", 4: "D"}
SIX_AND_TWELVE_NAMES = {1: "low", 2: "middle", 3: "high"}
ALBI_GRADE_NAMES = {1: "1", 2: "2a", 3: "2b", 4: "3"}
CHILD_PUGH_CLASS_NAMES = {1: "A", 2: "B", 3: "C"}
RESECTABILITY_NAMES = {1: "resectable", 2: "potentially_resectable", 3: "unresectable"}
CHENG_NAMES = {0: "none", 1: "I", 2: "II", 3: "III", 4: "IV"}


def _first(conditions: list[Flags], codes: list[int], otherwise: int) -> Codes:
    """The code of the first true condition, as float64."""
    return np.select(conditions, [np.float64(code) for code in codes], default=np.float64(otherwise))


def _array(value: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(value, dtype=np.float64)


def child_pugh_class(child_pugh: ArrayLike) -> Codes:
    """Child-Pugh class from points: A if points <= 6, B if points <= 9, else C."""
    points = _array(child_pugh)
    return _first([points <= CHILD_PUGH_A_UPPER, points <= CHILD_PUGH_B_UPPER], [1, 2], 3)


def albi_grade(albi: ArrayLike) -> Codes:
    """Modified ALBI grade from the ALBI value.

    1 if albi <= -2.60; 2a if albi < -2.27; 2b if albi <= -1.39; else 3. Exactly -2.27 is 2b.
    """
    value = _array(albi)
    return _first([value <= ALBI_1_UPPER, value < ALBI_2A_UPPER, value <= ALBI_2_UPPER], [1, 2, 3], 4)


def vascular(pv: ArrayLike, hv: ArrayLike) -> Flags:
    """Any macrovascular thrombus: pv >= 1 or hv >= 1."""
    return (_array(pv) >= 1.0) | (_array(hv) >= 1.0)


def cnlc(
    ecog: ArrayLike,
    child_pugh: ArrayLike,
    nodules: ArrayLike,
    diameter: ArrayLike,
    pv: ArrayLike,
    hv: ArrayLike,
    ehs: ArrayLike,
) -> Codes:
    """CNLC stage, codes of `Cnlc`; the first line that holds wins.

    IV    ecog >= 3 or child_pugh > 9
    IIIb  ehs >= 1
    IIIa  pv >= 1 or hv >= 1
    IIb   nodules > 3
    IIa   nodules > 1 and diameter > 3
    Ib    nodules > 1 or diameter > 5
    Ia    otherwise
    """
    count, size = _array(nodules), _array(diameter)
    return _first(
        [
            (_array(ecog) >= ECOG_END_STAGE) | (_array(child_pugh) > CHILD_PUGH_B_UPPER),
            _array(ehs) >= 1.0,
            vascular(pv, hv),
            count > FEW_NODULES,
            (count > 1.0) & (size > CNLC_MULTIPLE_CM),
            (count > 1.0) | (size > CNLC_SOLITARY_CM),
        ],
        [Cnlc.IV, Cnlc.IIIB, Cnlc.IIIA, Cnlc.IIB, Cnlc.IIA, Cnlc.IB],
        Cnlc.IA,
    )


def bclc(
    ecog: ArrayLike,
    child_pugh: ArrayLike,
    nodules: ArrayLike,
    diameter: ArrayLike,
    pv: ArrayLike,
    hv: ArrayLike,
    ehs: ArrayLike,
    ecog_rule: EcogRule = "strict",
) -> Codes:
    """BCLC 2022 stage, codes of `Bclc`; the first line that holds wins.

    D  ecog >= 3 or child_pugh > 9
    C  ehs >= 1 or pv >= 1 or hv >= 1, or (rule `strict` only) ecog >= 1
    B  nodules > 3, or nodules > 1 and diameter > 3
    A  nodules > 1 or diameter > 2 (one nodule is A whatever its size)
    0  otherwise

    `tumour_only` leaves ECOG 1-2 out, as many trials do when they call such patients A or B. Liver function enters
    only through Child-Pugh C. Raises ValueError for an unknown rule.
    """
    if ecog_rule not in ("strict", "tumour_only"):
        raise ValueError(f"ecog_rule is {ecog_rule!r}; allowed are 'strict' and 'tumour_only'")
    status, count, size = _array(ecog), _array(nodules), _array(diameter)
    advanced = (_array(ehs) >= 1.0) | vascular(pv, hv)
    if ecog_rule == "strict":
        advanced = advanced | (status >= 1.0)
    return _first(
        [
            (status >= ECOG_END_STAGE) | (_array(child_pugh) > CHILD_PUGH_B_UPPER),
            advanced,
            (count > FEW_NODULES) | ((count > 1.0) & (size > BCLC_MULTIPLE_CM)),
            (count > 1.0) | (size > BCLC_VERY_EARLY_CM),
        ],
        [Bclc.D, Bclc.C, Bclc.B, Bclc.A],
        Bclc.VERY_EARLY,
    )


def burden_score(nodules: ArrayLike, diameter: ArrayLike) -> Codes:
    """Tumour burden score: diameter + nodules (largest diameter in cm plus the number of nodules)."""
    return _array(diameter) + _array(nodules)


def six_and_twelve(nodules: ArrayLike, diameter: ArrayLike, infiltrative: ArrayLike) -> Codes:
    """6-and-12 class, codes of `SixAndTwelve`.

    high if infiltrative >= 1 or score > 12; middle if score > 6; else low, where score = diameter + nodules.
    Exactly 6 is low and exactly 12 is middle. Infiltrative tumours cannot be counted and are taken as high.
    """
    score = burden_score(nodules, diameter)
    return _first([(_array(infiltrative) >= 1.0) | (score > TWELVE), score > SIX], [3, 2], 1)


def up_to_seven(nodules: ArrayLike, diameter: ArrayLike, infiltrative: ArrayLike) -> Flags:
    """Within up-to-seven: diameter + nodules <= 7 and infiltrative < 1. Exactly 7 is within."""
    return (burden_score(nodules, diameter) <= SEVEN) & (_array(infiltrative) < 1.0)


def milan(nodules: ArrayLike, diameter: ArrayLike, pv: ArrayLike, hv: ArrayLike, ehs: ArrayLike) -> Flags:
    """Within Milan: no thrombus, no spread, and one nodule <= 5 cm or at most three, all <= 3 cm.

    pv < 1 and hv < 1 and ehs < 1 and ((nodules <= 1 and diameter <= 5) or (nodules <= 3 and diameter <= 3))
    """
    count, size = _array(nodules), _array(diameter)
    solitary = (count <= 1.0) & (size <= MILAN_SOLITARY_CM)
    few = (count <= FEW_NODULES) & (size <= MILAN_MULTIPLE_CM)
    return ~vascular(pv, hv) & (_array(ehs) < 1.0) & (solitary | few)


def tace_unsuitable(nodules: ArrayLike, diameter: ArrayLike, infiltrative: ArrayLike, albi: ArrayLike) -> Flags:
    """TACE-unsuitable after APPLE: diameter + nodules > 7, or infiltrative >= 1, or albi >= -2.27 (grade 2b or worse).

    The consensus names ALBI grade 2 and leaves the depth open; 2b is the reading of the modified grade used here.
    """
    return ~up_to_seven(nodules, diameter, infiltrative) | (_array(albi) >= ALBI_2A_UPPER)


def tace_eligible(
    ecog: ArrayLike, child_pugh: ArrayLike, pv: ArrayLike, ehs: ArrayLike, decompensated: ArrayLike
) -> Flags:
    """Fit for TACE: ehs < 1 and pv <= 2 and child_pugh <= 7 and ecog <= 1 and decompensated < 1."""
    return (
        (_array(ehs) < 1.0)
        & (_array(pv) <= TACE_MAX_VP)
        & (_array(child_pugh) <= CHILD_PUGH_B7)
        & (_array(ecog) <= 1.0)
        & (_array(decompensated) < 1.0)
    )


def resectability(
    child_pugh: ArrayLike,
    nodules: ArrayLike,
    diameter: ArrayLike,
    lobes: ArrayLike,
    contralateral_within_milan: ArrayLike,
    pv: ArrayLike,
    ehs: ArrayLike,
    surgical_barrier: ArrayLike,
    judged_resectable: ArrayLike = 0.0,
) -> Codes:
    """Resectable, potentially resectable or unresectable, codes of `Resectability`; the first line that holds wins.

    resectable    surgical_barrier < 1 and ehs < 1 and pv <= 3 and (nodules <= 3 or judged_resectable >= 1)
                  and (child_pugh <= 6 or (child_pugh <= 7 and minor))
    potentially   ehs < 1 and pv <= 3 and (lobes <= 1 or contralateral_within_milan >= 1)
    unresectable  otherwise

    minor = nodules <= 1 and diameter <= 5 and pv < 1: a small resection, the only one offered at Child-Pugh B7.
    Anatomy alone would call a third of TACE-trial patients resectable; the sampled surgical barrier (remnant, location,
    portal hypertension, comorbidity) says who is not. `judged_resectable` is the judgement of a trial's surgeons
    (CARES-009 operates on some CNLC IIb): it lifts the limit of three nodules and nothing else. Potentially resectable
    follows the 2025 review: tumours in one lobe, or contralateral tumours within Milan.
    """
    points, count, thrombus, spread = _array(child_pugh), _array(nodules), _array(pv), _array(ehs)
    confined = (spread < 1.0) & (thrombus <= RESECTABLE_MAX_VP)
    minor = (count <= 1.0) & (_array(diameter) <= CNLC_SOLITARY_CM) & (thrombus < 1.0)
    liver = (points <= CHILD_PUGH_A_UPPER) | ((points <= CHILD_PUGH_B7) & minor)
    few = (count <= FEW_NODULES) | (_array(judged_resectable) >= 1.0)
    one_side = (_array(lobes) <= 1.0) | (_array(contralateral_within_milan) >= 1.0)
    return _first([confined & (_array(surgical_barrier) < 1.0) & few & liver, confined & one_side], [1, 2], 3)


def cheng_type(pv: ArrayLike) -> Codes:
    """Cheng type of a Vp grade: Vp1-2 is I, Vp3 is II, Vp4 is III, none is 0.

    pv >= 4 -> III; pv >= 3 -> II; pv >= 1 -> I; else 0. Type IV (superior mesenteric vein) has no Vp grade of its own.
    """
    grade = _array(pv)
    return _first([grade >= 4.0, grade >= 3.0, grade >= 1.0], [ChengType.III, ChengType.II, ChengType.I], 0)


def vp_of_cheng(cheng: ArrayLike) -> Codes:
    """Highest Vp grade of a Cheng type: I is Vp2, II is Vp3, III and IV are Vp4, none is 0.

    cheng >= 3 -> 4; cheng >= 2 -> 3; cheng >= 1 -> 2; else 0. Type I covers Vp1 and Vp2; the worse of the two is given.
    Type IV is treated as Vp4, which is unresectable at once.
    """
    kind = _array(cheng)
    return _first([kind >= 3.0, kind >= 2.0, kind >= 1.0], [4, 3, 2], 0)
