"""Claim files: what is packaged can be read, and what is wrong is refused with file and line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from simhcc.claims.registry import list_claims, load_claim
from simhcc.errors import InputError
from simhcc.inputs import load_parameters

PARAMETERS = load_parameters()
ASKED = {
    "adjuvant-no-benefit", "keynote-937-hr", "retrospective-bias", "perioperative-efs", "perioperative-os", "tace-combined-pfs",
    "tace-timing-os", "burden-stratified", "conversion-potentially-resectable", "five-year-20", "triplet-no-benefit",
    "conversion-surgery", "five-year-30",
}  # fmt: skip
GOOD = """\
id: mine
statement: {en: Resection helps, zh: 手术有益}
basis: conjecture
certainty: 0.9
experiments:
  one:
    population: china_advanced
    strategies: [atezo_bev, conversion_surgery]
components:
  - id: os
    label: {en: Gain}
    experiment: one
    estimand: {difference: os_36m, of: conversion_surgery, against: atezo_bev}
    rule: {above: 0.0}
structures: []
"""
# text to replace, replacement, line of the message, words in it
WRONG = [
    ("difference: os_36m", "difference: os_three_years", 13, "os_three_years"),
    ("difference: os_36m", "differense: os_36m", 13, "differense"),
    ("difference: os_36m", "difference: oss_36m", 13, "oss_36m"),
    ("of: conversion_surgery", "of: conversion_surgry", 13, "conversion_surgry"),
    ("against: atezo_bev", "against: stride", 13, "stride"),
    ("against: atezo_bev", "against: conversion_surgery", 13, "against itself"),
    ("experiment: one", "experiment: two", 12, "two"),
    ("above: 0.0", "above: 1.5", 14, "can never be met"),
    ("above: 0.0", "above: -1.5", 14, "always met"),
    ("above: 0.0", "between: [0.2, 0.1]", 14, "no number meets"),
    ("above: 0.0", "above: 0.0, below: 0.2", 14, "above and below"),
    ("above: 0.0", "atleast: 0.0", 14, "atleast"),
    ("strategies: [atezo_bev, conversion_surgery]", "strategies: [atezo_bev, convert]", 8, "convert"),
    ("population: china_advanced", "population: china_advance", 7, "china_advance"),
    ("certainty: 0.9", "certainty: 0.4", 4, "0.4"),
    ("basis: conjecture", "basis: guess", 3, "guess"),
    (", zh: 手术有益", "", 2, "one language"),
    ("structures: []", "structures: [upside_down]", 15, "upside_down"),
    ("structures: []", "carried_by: [conversion.p_operated]", 15, "conversion.p_operated"),
    ("structures: []", "evidence: [{source: nowhere, says: x}]", 15, "nowhere"),
    ("structures: []", "maps: [{component: oss, x: frailty.sd_log, y: rt.progression_hr}]", 15, "oss"),
    ("id: mine", "id: mine\ncertainity: 1", 2, "certainity"),
    ("    population: china_advanced", "    population: china_advanced\n    numbers: {frailty.sd: 1}", 8, "frailty.sd"),
    ("    population: china_advanced", "    population: china_advanced\n    numbers: {frailty.sd_log: -1}", 8, "-1"),
    ("    population: china_advanced", "    population: china_advanced\n    among: ehs = no", 8, "ehs = no"),
]


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_thirteen_claims_are_there_and_can_be_read() -> None:
    assert set(list_claims()) >= ASKED
    for name in ASKED:
        claim = load_claim(name, parameters=PARAMETERS)
        assert claim.statement.en and claim.statement.zh
        assert claim.evidence and claim.weak_points


def test_a_good_file_is_read(tmp_path: Path) -> None:
    claim = load_claim(write(tmp_path, GOOD), parameters=PARAMETERS)
    component = claim.components[0]
    assert (component.estimand.kind, component.estimand.of) == ("difference", "conversion_surgery")
    assert component.rule.holds(0.01) and not component.rule.holds(0.0)
    assert component.certainty == 0.9
    assert claim.experiments["one"].focus == "atezo_bev"


@pytest.mark.parametrize(("old", "new", "line", "words"), WRONG, ids=[f"{w[3]}-{k}" for k, w in enumerate(WRONG)])
def test_a_wrong_file_is_refused_with_its_line(tmp_path: Path, old: str, new: str, line: int, words: str) -> None:
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(InputError) as caught:
        load_claim(path, parameters=PARAMETERS)
    error = caught.value
    assert error.file is not None and error.file.endswith("mine.yaml")
    assert error.line == line
    assert words in str(error)


def test_a_user_adds_a_claim_by_adding_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "scenarios" / "claims"
    folder.mkdir(parents=True)
    write(folder, GOOD)
    assert "mine" in list_claims(tmp_path)
    assert load_claim("mine", tmp_path, PARAMETERS).id == "mine"
    shutil.move(folder / "mine.yaml", folder / "other.yaml")
    with pytest.raises(InputError, match="id: other"):
        load_claim("other", tmp_path, PARAMETERS)


def test_a_claim_knows_the_files_it_rests_on() -> None:
    files = dict(load_claim("five-year-30", parameters=PARAMETERS).files)
    assert "scenarios/claims/five-year-30.yaml" in files
    assert "scenarios/strategies/response_adapted.yaml" in files
    assert "scenarios/strategies/standard_care.yaml" in files
    assert "params/populations/china_advanced.yaml" in files
    assert "scenarios/structures/tail_durable.yaml" in files
