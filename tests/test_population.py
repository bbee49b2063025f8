"""Baseline patients: published tables are met, dependence has the right signs, and every draw has its own address.

False alarms: each statistical check is a two-sided test at Z standard errors with fixed seeds. About 200 comparisons at
Z = 6 give one false alarm in two million sets of seeds (2 x 10^-9 each, normal approximation).
"""

from __future__ import annotations

import math
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import spearmanr

from simhcc.errors import InputError
from simhcc.inputs import list_inputs, packaged_folder, read_yaml
from simhcc.population import ATTRIBUTES, DERIVED, fit_population, load_population, read_population, sample_cohort
from simhcc.population.__main__ import main
from simhcc.population.attributes import SAMPLED
from simhcc.population.cohort import _drawn, achieved, consistent
from simhcc.population.conditions import ConditionError, WithDerived, parse_condition
from simhcc.population.definition import Adjustment
from simhcc.population.fit import FIT_PATIENTS
from simhcc.population.marginals import Levels, LogNormal, Normal

Z = 6.0
VALUES = {"frailty.sd_log": 0.5}
TEMPLATES = {"base_global", "base_china"}
IDS = sorted(set(list_inputs("population")) - TEMPLATES)
TRIALS = {
    "storm", "imbrave050", "keynote-937", "cares-009", "adjuvant-tace", "emerald-1", "leap-012", "talentace",
    "cares-005", "emerald-3", "imbrave150", "himalaya", "leap-002", "cares-310", "orient-32", "checkmate-9dw",
    "reflect", "imbrave152", "haic-vs-tace", "talentop", "triplet-hcc",
}  # fmt: skip
NATIONAL = {
    "china_resectable", "china_intermediate", "china_potentially_resectable", "china_advanced",
    "china_advanced_liver_confined_thrombus", "china_all_stages",
}  # fmt: skip


def columns_of(cohort):
    return WithDerived(cohort.attributes)


def test_every_trial_and_setting_has_a_population():
    assert set(IDS) >= TRIALS | NATIONAL


def misses(cohort, patients_fitted):
    """Targets missed by more than tolerance, rounding and Z standard errors of the test and of the fit."""
    columns, found = columns_of(cohort), []
    for target in cohort.population.targets:
        value, mcse = achieved(target, columns)
        error = mcse * math.sqrt(1.0 + cohort.n / patients_fitted)
        if not abs(value - target.value) <= target.tolerance + 0.001 + Z * error:
            found.append((target.label, target.value, value))
    return found


@pytest.mark.parametrize("name", IDS)
def test_cohorts_meet_their_baseline_table_and_eligibility(name):
    population = load_population(name)
    cohort = sample_cohort(population, VALUES, 10_000, seed=7)
    assert misses(cohort, FIT_PATIENTS) == []
    for condition in population.eligibility:
        assert condition.holds(columns_of(cohort)).all(), condition.text
    assert list(cohort.attributes) == list(ATTRIBUTES)
    for attribute, values in cohort.attributes.items():
        described = ATTRIBUTES[attribute]
        assert values.dtype == np.float64 and values.shape == (10_000,)
        assert ((values >= described.low) & (values <= described.high)).all(), attribute
        if described.whole:
            assert (values == np.round(values)).all(), attribute
        if described.levels is not None:
            assert set(np.unique(values)) <= set(described.levels), attribute


def test_a_table_that_is_off_is_noticed():
    # The smallest error the check must find in 10,000 patients: a share of 0.40 that has become 0.45.
    population = load_population("emerald-1")
    moved = {**population.adjustments, "diameter": Adjustment(population.adjustments["diameter"].shift - 0.2, 1.2)}
    labels = [miss[0] for miss in misses(sample_cohort(population.moved(moved), VALUES, 10_000, 7), FIT_PATIENTS)]
    assert "share of six_and_twelve == low" in labels


def test_known_figures_of_three_trials():
    # Read again from the dossiers, not from the population files.
    emerald = columns_of(sample_cohort(load_population("emerald-1"), VALUES, 20_000, 3))
    imbrave = columns_of(sample_cohort(load_population("imbrave150"), VALUES, 20_000, 3))
    storm = columns_of(sample_cohort(load_population("storm"), VALUES, 20_000, 3))
    for columns, text, published in [
        (emerald, "six_and_twelve == low", 0.40),
        (emerald, "six_and_twelve == high", 0.161),
        (emerald, "bclc == C", 0.161),
        (emerald, "male == yes", 0.78),
        (imbrave, "macrovascular == yes", 0.40),
        (imbrave, "pv == Vp4", 0.14),
        (imbrave, "ehs == yes", 0.63),
        (imbrave, "afp >= 400", 0.38),
        (imbrave, "albi_grade == 1", 0.568),
        (storm, "ablation == yes", 0.19),
        (storm, "child_pugh == 5", 0.77),
    ]:
        share = float(parse_condition(text).holds(columns).mean())
        assert abs(share - published) < 0.005 + Z * math.sqrt(share * (1 - share) / 15_000), text


SIGNS = [
    ("diameter", "afp", 1), ("diameter", "pv", 1), ("nodules", "ehs", 1), ("afp", "pv", 1), ("pv", "mvi", 1),
    ("nodules", "lobes", 1), ("diameter", "mvi", 1), ("pv", "hv", 1), ("cirrhosis", "albi", 1),
    ("albi", "child_pugh", 1), ("cirrhosis", "varices", 1), ("child_pugh", "varices", 1),
    ("albi", "decompensated", 1), ("age", "ecog", 1),
    ("age", "hbv", -1), ("hbv", "male", 1), ("hbv", "hcv", -1), ("male", "weight", 1),
    ("surveillance_regular", "diameter", -1), ("age", "male", -1),
]  # fmt: skip


def test_attributes_depend_on_each_other_with_the_stated_sign():
    cohort = sample_cohort(load_population("china_all_stages"), VALUES, 20_000, 11)
    for first, second, sign in SIGNS:
        correlation = float(spearmanr(cohort.attributes[first], cohort.attributes[second]).statistic) * sign
        assert correlation > Z / math.sqrt(20_000), (first, second, correlation)
    for hidden in ("frailty", "fitness", "tace_sensitivity"):
        for other in ("age", "diameter", "albi", "pv"):
            correlation = np.corrcoef(cohort.attributes[hidden], cohort.attributes[other])[0, 1]
            assert abs(correlation) < Z / math.sqrt(20_000), (hidden, other)


def test_the_copula_has_the_correlation_of_the_file():
    # Without eligibility and fitted moves, two normal marginals keep the normal correlation itself.
    population = load_population("china_all_stages")
    wide = {
        name: replace(population.marginals[name], marginal=Normal(0.0, 1.0, -40.0, 40.0)) for name in ("age", "weight")
    }
    free = replace(population, marginals={**population.marginals, **wide}, adjustments={}, eligibility=())
    cohort = sample_cohort(free, VALUES, 40_000, 5)
    found = np.corrcoef(cohort.attributes["age"], cohort.attributes["weight"])[0, 1]
    assert abs(found - population.correlation["age", "weight"]) < Z / math.sqrt(40_000)


# Two in five are not eligible at first in the second: large cohorts then try in other batches than small ones.
@pytest.mark.parametrize("name", ["emerald-1", "china_potentially_resectable", "china_all_stages"])
def test_a_patient_is_the_same_in_every_cohort(name):
    population = load_population(name)
    large = sample_cohort(population, VALUES, 20_000, seed=1)
    small = sample_cohort(population, VALUES, 1_000, seed=1)
    late = sample_cohort(population, VALUES, 7, seed=1, first_patient=8_000)
    for attribute, values in large.attributes.items():
        assert values[:1_000].tobytes() == small.attributes[attribute].tobytes()
        assert values[8_000:8_007].tobytes() == late.attributes[attribute].tobytes()


def test_a_patient_is_his_first_eligible_try():
    # One patient in seven or so is eligible; the slow version tries one address after the other for each patient alone.
    population = load_population("emerald-1")
    strict = replace(population, eligibility=(parse_condition("diameter > 5 and nodules >= 3"),))
    cohort = sample_cohort(strict, VALUES, 5_000, seed=1)
    tries_needed = []
    for patient in range(0, 5_000, 500):
        for attempt in range(200):
            one = _drawn(strict, np.array([patient]), 1, np.array([0]), np.array([attempt]))
            one = consistent(one)
            if one["diameter"][0] > 5 and one["nodules"][0] >= 3:
                break
        tries_needed.append(attempt)
        for attribute in SAMPLED:
            assert one[attribute][0] == cohort.attributes[attribute][patient], (patient, attribute)
    assert max(tries_needed) > 5


def test_seed_and_luck_change_patients_and_draws_stand_beside_each_other():
    population = load_population("leap-012")
    base = sample_cohort(population, VALUES, 500, seed=1)
    assert (base.attributes["age"] != sample_cohort(population, VALUES, 500, seed=2).attributes["age"]).all()
    many = sample_cohort(population, {"frailty.sd_log": [0.5, 0.0, 0.3]}, 500, seed=1, luck=[0, 4, 9])
    lone = sample_cohort(population, {"frailty.sd_log": 0.3}, 500, seed=1, luck=9)
    for attribute, values in many.attributes.items():
        assert values.shape == (3, 500)
        assert values[0].tobytes() == base.attributes[attribute].tobytes()
        assert values[2].tobytes() == lone.attributes[attribute].tobytes()
    assert (many.attributes["frailty"][1] == 1.0).all()
    assert (many.attributes["diameter"][0] != many.attributes["diameter"][2]).mean() > 0.8
    for hidden in ("frailty_z", "fitness", "tace_sensitivity"):
        assert (many.attributes[hidden][0] != many.attributes[hidden][2]).all(), hidden
    assert many.derive()["cnlc"].shape == (3, 500)


def test_a_new_attribute_or_marginal_disturbs_no_other():
    population = load_population("emerald-1")
    base = sample_cohort(population, VALUES, 2_000, seed=1)
    # `prior_local` is correlated with nothing and no rule or eligibility mentions it.
    constant = replace(population.marginals["prior_local"], marginal=Levels((0.0,), (1.0,)))
    changed = replace(population, marginals={**population.marginals, "prior_local": constant})
    without = sample_cohort(changed, VALUES, 2_000, seed=1)
    for attribute in ATTRIBUTES:
        same = base.attributes[attribute].tobytes() == without.attributes[attribute].tobytes()
        assert same == (attribute != "prior_local"), attribute


def test_frailty_is_lognormal_with_mean_one():
    cohort = sample_cohort(load_population("leap-012"), {"frailty.sd_log": 0.6}, 40_000, 13)
    frailty = cohort.attributes["frailty"]
    assert np.allclose(frailty, np.exp(0.6 * cohort.attributes["frailty_z"] - 0.18))
    # sd of a lognormal with mean 1 is sqrt(exp(0.36) - 1).
    assert abs(frailty.mean() - 1.0) < Z * math.sqrt((math.exp(0.36) - 1.0) / 40_000)
    assert abs(np.log(frailty).std() - 0.6) < Z * 0.6 / math.sqrt(2 * 40_000)


def test_rules_that_hold_for_everybody():
    cohort = sample_cohort(load_population("china_all_stages"), VALUES, 10_000, 2)
    c = cohort.attributes
    assert (c["lobes"][(c["nodules"] == 1) & (c["diameter"] <= 5)] == 1).all()
    assert (c["contralateral_within_milan"][c["lobes"] == 1] == 1).all()
    assert (c["antiviral"][c["hbv"] == 0] == 0).all() and 0 < c["antiviral"].mean() < 1
    assert (c["decompensated"][c["child_pugh"] < 7] == 0).all() and (
        c["decompensated"][c["child_pugh"] >= 10] == 1
    ).all()
    assert (c["varices"][(c["cirrhosis"] == 0) & (c["pv"] < 3)] == 0).all()
    assert (c["mvi"][c["pv"] >= 1] >= 1).all()
    assert np.allclose(c["diameter"] * 10, np.round(c["diameter"] * 10), atol=1e-9)
    # A sum of exactly 6 is a real patient, not a set of measure zero.
    assert 0.005 < (cohort.derive()["burden_score"] == 6.0).mean() < 0.05


def test_rules_by_hand():
    columns = {name: np.zeros(2) for name in SAMPLED}
    columns |= {"nodules": np.array([1.0, 2.0]), "diameter": np.array([5.04, 5.06]), "lobes": np.array([2.0, 2.0])}
    columns |= {"child_pugh": np.array([10.0, 6.0]), "decompensated": np.array([0.0, 1.0]), "pv": np.array([0.0, 1.0])}
    columns |= {"ablation": np.ones(2), "antiviral": np.ones(2), "hbv": np.array([1.0, 0.0]), "varices": np.ones(2)}
    out = consistent(columns)
    assert out["diameter"].tolist() == [5.0, 5.1]
    assert out["lobes"].tolist() == [1.0, 2.0] and out["contralateral_within_milan"].tolist() == [1.0, 0.0]
    assert out["decompensated"].tolist() == [1.0, 0.0] and out["mvi"].tolist() == [0.0, 1.0]
    assert out["ablation"].tolist() == [1.0, 0.0] and out["antiviral"].tolist() == [1.0, 0.0]
    assert out["varices"].tolist() == [0.0, 0.0]
    four = {name: np.zeros(4) for name in SAMPLED} | {"ablation": np.ones(4), "nodules": np.array([3.0, 4.0, 1.0, 1.0])}
    four |= {"diameter": np.array([5.0, 2.0, 5.1, 2.0]), "pv": np.array([0.0, 0.0, 0.0, 1.0])}
    assert consistent(four)["ablation"].tolist() == [1.0, 0.0, 0.0, 0.0]


def test_derived_classes_are_those_of_staging_and_the_table_shows_targets():
    cohort = sample_cohort(load_population("emerald-1"), VALUES, 3_000, 1)
    assert list(cohort.derive()) == list(DERIVED)
    table = cohort.table()
    rows = table[table["target"].notna()]
    assert list(rows["target"]) == [target.value for target in cohort.population.targets]
    male = table[(table["attribute"] == "male") & (table["level"] == "yes")]
    assert math.isclose(float(male["value"].iloc[0]), float(cohort.attributes["male"].mean()))
    age = table[(table["attribute"] == "age") & (table["statistic"] == "sd")]
    assert math.isclose(float(age["value"].iloc[0]), float(cohort.attributes["age"].std()))


def test_marginals_against_closed_forms():
    x = np.linspace(-4.0, 4.0, 2_001)
    u = ndtr(x)
    normal = Normal(60.0, 10.0, 40.0, 75.0).values(x, 0.0, 1.0)
    low, high = ndtr(-2.0), ndtr(1.5)
    # The distribution function of a truncated normal at its own quantile is the probability again.
    assert np.allclose((ndtr((normal - 60.0) / 10.0) - low) / (high - low), u, atol=1e-12)
    lognormal = LogNormal(5.0, 0.5, 1e-9, 1e9).values(x, 0.2, 1.5)
    assert np.allclose(lognormal, 5.0 * np.exp(0.5 * (0.2 + 1.5 * x)), rtol=1e-9)
    levels = Levels((0.0, 2.0, 3.0), (0.2, 0.0, 0.8)).values(x, 0.0, 1.0)
    assert (levels == np.where(u <= 0.2, 0.0, 3.0)).all()
    assert (Levels((0.0, 1.0), (0.0, 1.0)).values(np.array([-40.0, 0.0]), 0.0, 1.0) == 1.0).all()
    assert (Levels((0.0, 1.0), (1.0, 0.0)).values(np.array([0.0, 40.0]), 0.0, 1.0) == 0.0).all()
    # 0.7 + 0.2 + 0.1 falls short of 1 by rounding; nothing may be left for the level of share 0.
    assert Levels((1.0, 2.0, 3.0, 4.0), (0.7, 0.2, 0.1, 0.0)).values(np.array([9.0]), 0.0, 1.0).tolist() == [3.0]


def test_fitting_finds_the_stored_adjustments_again():
    population = load_population("talentop")
    fit = fit_population(population.moved({}))
    assert set(fit.population.adjustments) == set(population.adjustments)
    for name, move in population.adjustments.items():
        again = fit.population.adjustments[name]
        assert abs(again.shift - move.shift) < 2e-3 and abs(again.scale - move.scale) < 2e-3, name
    assert read_yaml(population.file).tree["fitted"]["grade"] == "derived"


def test_the_command_rewrites_the_fitted_part_of_a_file_and_nothing_else(tmp_path, capsys):
    original = Path(load_population("keynote-937").file).read_text(encoding="utf-8")
    head = original[: original.index("fitted:")]
    path = write(tmp_path, head, "keynote-937")
    main(["--check", str(path)])
    assert path.read_text(encoding="utf-8") == head
    main([str(path)])
    assert path.read_text(encoding="utf-8") == original
    main([str(path)])
    assert path.read_text(encoding="utf-8") == original
    assert "share of ablation == yes" in capsys.readouterr().out


def test_a_population_is_described_in_words():
    words = load_population("himalaya").in_words()
    assert "eligible: pv <= Vp3" in words and "recalled, not confirmed: median of age" in words
    assert "not confirmed" not in load_population("storm").in_words()


def test_every_source_is_listed():
    listed = set(read_yaml(packaged_folder("params") / "sources.yaml").tree)
    for name in IDS:
        population = load_population(name)
        cited = set(population.source)
        for each in (*population.marginals.values(), *population.targets):
            cited |= set(each.source)
        assert cited <= listed, (name, cited - listed)


def test_conditions_by_hand():
    columns = WithDerived({"pv": np.array([0.0, 2.0, 4.0]), "hv": np.zeros(3), "ehs": np.array([0.0, 0.0, 1.0])})
    for text, expected in [
        ("pv <= Vp2", [1, 1, 0]),
        ("pv in [none, Vp4]", [1, 0, 1]),
        ("pv >= Vp1 and ehs == no", [0, 1, 0]),
        ("pv == none or ehs == yes and pv == Vp4", [1, 0, 1]),
        ("thrombus_or_spread == yes", [0, 1, 1]),
        ("pv != 2", [1, 0, 1]),
        ("pv < Vp2", [1, 0, 0]),
        ("pv > 2", [0, 0, 1]),
    ]:
        assert parse_condition(text).holds(columns).astype(int).tolist() == expected, text
    for text in ("pv = Vp2", "pv <= Vp5", "size > 5", "pv in Vp1, Vp2", "diameter > big", "", "pv <= Vp2 and"):
        with pytest.raises(ConditionError):
            parse_condition(text)


GOOD = """\
id: mine
label: {en: Mine, zh: 我的}
grade: assumed
note: For tests.
based_on: emerald-1
marginals:
  male: {share: 0.7, grade: assumed, note: For tests.}
"""
# (what replaces `  male: ...` or is added, words of the message, line)
WRONG = [
    ("  malle: {share: 0.7, grade: assumed, note: x}", ["marginals.malle", "male"], 7),
    ("  male: {share: 1.7, grade: assumed, note: x}", ["marginals.male.share", "1.7", "from 0 to 1"], 7),
    ("  male: {share: 0.7, grade: guessed, note: x}", ["marginals.male.grade", "published, derived, assumed"], 7),
    ("  male: {share: 0.7, grade: assumed}", ["without its reason", "note"], 7),
    ("  male: {share: 0.7, grade: published}", ["without a source"], 7),
    ("  male: {share: 0.7, constant: 1, grade: assumed, note: x}", ["share and constant", "one of"], 7),
    ("  male: {grade: assumed, note: x}", ["no distribution"], 7),
    ("  male: {share: 0.7, grade: assumed, note: x, why: y}", ["marginals.male.why"], 7),
    ("  pv: {shares: {none: 0.5, Vp1: 0.4}, grade: assumed, note: x}", ["add up to 0.9", "add up to 1"], 7),
    ("  pv: {shares: {none: 0.5, Vp9: 0.5}, grade: assumed, note: x}", ["'Vp9'", "Vp1"], 7),
    ("  pv: {shares: {none: 0.5, 0: 0.5}, grade: assumed, note: x}", ["again", "each level once"], 7),
    ("  pv: {share: 0.5, grade: assumed, note: x}", ["a share for pv", "shares by level"], 7),
    ("  nodules: {shares: {1: 0.5, 2.5: 0.5}, grade: assumed, note: x}", ["2.5 for nodules", "whole"], 7),
    ("  nodules: {normal: {mean: 3, sd: 1, low: 1, high: 5}, grade: assumed, note: x}", ["whole values"], 7),
    ("  age: {normal: {mean: 60, sd: 0, low: 18, high: 90}, grade: assumed, note: x}", ["marginals.age.normal.sd"], 7),
    ("  age: {normal: {mean: 60, sd: 9, low: 90, high: 18}, grade: assumed, note: x}", ["low below high"], 7),
    ("  age: {normal: {mean: 10, sd: 9, low: 18, high: 90}, grade: assumed, note: x}", ["from 18 to 90"], 7),
    ("  age: {normal: {mean: 60, sd: 9, low: 18}, grade: assumed, note: x}", ["marginals.age.normal.high"], 7),
    ("  age: {constant: 200, grade: assumed, note: x}", ["from 0 to 110"], 7),
    ("correlation: {pv: {size: 0.3}}", ["correlation.pv.size"], 7),
    ("correlation: {pv: {ehs: 1.3}}", ["correlation.pv.ehs", "from -0.99 to 0.99"], 7),
    ("correlation: {pv: {pv: 0.3}}", ["itself"], 7),
    ("correlation: {pv: {ehs: 0.3}, ehs: {pv: 0.2}}", ["each pair once"], 7),
    ("correlation: {pv: {hv: 0.9, ehs: 0.9}, hv: {ehs: -0.9}}", ["contradict", "positive definite"], 7),
    ("eligibility:\n  - pv <= Vp2\n  - stage == A", ["eligibility.1", "'stage'"], 9),
    ("eligibility:\n  - bclc == E", ["eligibility.0", "'E'", "0, A, B, C, D"], 8),
    ("eligibility: pv <= Vp2", ["a list"], 7),
    ("targets:\n  - {value: 0.5, grade: assumed, note: x}", ["nothing to compare"], 8),
    ("targets:\n  - {share_of: male == yes, value: 50, grade: assumed, note: x}", ["targets.0.value", "0 to 1"], 8),
    ("targets:\n  - {median_of: years, value: 50, grade: assumed, note: x}", ["targets.0.median_of", "'years'"], 8),
    ("targets:\n  - {share_of: male == yes, value: 0.5, adjusts: male, grade: assumed, note: x}", ["E.shift"], 8),
    ("fitted:\n  grade: derived\n  adjustments: {ehs: {shift: 0.1, scale: 1}}", ["adjustment of a constant"], 9),
    ("colour: red", ["colour", "correlation"], 7),
    ("template: maybe", ["template", "true or false"], 7),
]  # fmt: skip


def write(folder: Path, text: str, name: str = "mine") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


@pytest.mark.parametrize(("change", "words", "line"), WRONG, ids=[entry[0][:60] for entry in WRONG])
def test_wrong_files_are_refused_with_file_and_line(tmp_path, change, words, line):
    head = GOOD[: GOOD.index("  male:")]
    text = head + change + "\n" if change.startswith("  ") else head.replace("marginals:\n", "marginals: {}\n") + change
    path = write(tmp_path, text)
    with pytest.raises(InputError) as raised:
        read_population(path)
    message = str(raised.value)
    assert f"mine.yaml:{line}:" in message, message
    for word in words:
        assert word in message, message


def test_a_good_file_is_read_and_replaces_only_what_it_says(tmp_path):
    population = read_population(write(tmp_path, GOOD))
    assert population.marginals["male"].marginal == Levels((0.0, 1.0), (1.0 - 0.7, 0.7))
    assert population.marginals["asian"] == load_population("emerald-1").marginals["asian"]
    assert population.adjustments == {} and population.targets == ()
    assert [c.text for c in population.eligibility] == [c.text for c in load_population("emerald-1").eligibility]
    assert abs(sample_cohort(population, VALUES, 5_000, 1).attributes["male"].mean() - 0.7) < Z * 0.0065


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD.replace("id: mine", "id: yours"), ["'yours'", "the name of the file, mine"]),
        (GOOD.replace("based_on: emerald-1", "based_on: emerald-9"), ["emerald-9"]),
        (GOOD.replace("based_on: emerald-1", "based_on: mine"), ["circle"]),
        (GOOD.replace("based_on: emerald-1\n", ""), ["no marginal for age"]),
        (GOOD.replace("label: {en: Mine, zh: 我的}", "label: {en: Mine}"), ["label.zh"]),
    ],
)
def test_wrong_heads_are_refused(tmp_path, text, words):
    with pytest.raises(InputError) as raised:
        read_population(write(tmp_path, text))
    for word in ["mine.yaml", *words]:
        assert word in str(raised.value), str(raised.value)


def test_templates_hopeless_rules_and_wrong_arguments_are_refused(tmp_path):
    with pytest.raises(InputError, match="template"):
        sample_cohort(load_population("base_china"), VALUES, 10, 1)
    hopeless = read_population(write(tmp_path, GOOD + "eligibility:\n  - diameter > 19.5 and nodules >= 9\n"))
    with pytest.raises(InputError, match="one patient in twenty"):
        sample_cohort(hopeless, VALUES, 200, 1)
    population = load_population("leap-012")
    with pytest.raises(InputError, match=r"frailty\.sd_log"):
        sample_cohort(population, {}, 10, 1)
    for wrong in ({"n": 0}, {"n": 5, "first_patient": -1}, {"n": 5, "luck": [[1]]}):
        with pytest.raises(ValueError, match=r"n is|luck has shape"):
            sample_cohort(population, VALUES, seed=1, **wrong)
    with pytest.raises(ValueError, match="one per draw"):
        sample_cohort(population, {"frailty.sd_log": [0.1, 0.2]}, 5, seed=1, luck=[1, 2, 3])


def test_a_users_own_population_wins(tmp_path):
    folder = tmp_path / "params" / "populations"
    folder.mkdir(parents=True)
    write(folder, GOOD.replace("id: mine", "id: leap-012"), "leap-012")
    assert load_population("leap-012", tmp_path).label["en"] == "Mine"
    assert load_population("leap-012").label["en"] == "LEAP-012"
