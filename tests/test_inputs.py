"""Reading parameters and drawing them: YAML 1.2, places, layers, overrides, addressed draws."""

from __future__ import annotations

import hashlib
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
from inputs_project import use_project
from scipy import special, stats

from simhcc.engine.rng import uniforms
from simhcc.errors import InputError
from simhcc.inputs import (
    UNITS,
    country_differences,
    find_input,
    list_countries,
    list_inputs,
    load_parameters,
    nearest,
    read_yaml,
    read_yaml_bytes,
)

HR = "recurrence.hr_perioperative"
RATE = "recurrence.rate_late_per_month"
SHARES = "recurrence.shares_of_extent"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return use_project(tmp_path, monkeypatch)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def leaf(name: str, value: object, unit: str = "ratio", more: str = "") -> str:
    """A params file with one parameter."""
    *groups, last = name.split(".")
    head = "".join("  " * depth + f"{group}:\n" for depth, group in enumerate(groups))
    pad = "  " * len(groups)
    return f"{head}{pad}{last}: {{value: {value}, unit: {unit}, grade: assumed, reason: test{more}}}\n"


# ---------------------------------------------------------------------------------------------------------------------
# YAML


def test_scalars_follow_yaml_1_2():
    text = (
        "a: 1e-3\nb: no\nc: on\nd: 0o17\ne: 017\nf: 0x1F\ng: 1_000\nh: 2024-01-31\ni: 12:30:00\nj: ~\n"
        "k: true\nl: True\nm: .5\nn: -2.\no: 1e3\np: '1'\nq: nan\nr: +3\ns: yes\n"
    )
    assert read_yaml_bytes(text.encode(), "f").tree == {
        "a": 0.001, "b": "no", "c": "on", "d": 15, "e": 17, "f": 31, "g": "1_000", "h": "2024-01-31", "i": "12:30:00",
        "j": None, "k": True, "l": True, "m": 0.5, "n": -2.0, "o": 1000.0, "p": "1", "q": "nan", "r": 3, "s": "yes",
    }  # fmt: skip


def test_keys_are_text_as_written():
    assert read_yaml_bytes(b"no: 1\n12: 2\n1.0: 3\ntrue: 4\n", "f").tree == {"no": 1, "12": 2, "1.0": 3, "true": 4}


def test_every_entry_knows_its_line():
    document = read_yaml_bytes(b"# top\na:\n  b:\n    - x\n    - {c: 1,\n       d: 2}\n", "file.yaml")
    assert document.place() == ("file.yaml", 2)
    assert document.place(("a", "b")) == ("file.yaml", 3)
    assert document.place("a.b.1") == ("file.yaml", 5)
    assert document.place(("a", "b", 1, "d")) == ("file.yaml", 6)
    # What does not exist is placed at its nearest parent.
    assert document.place("a.b.0.missing.more") == ("file.yaml", 4)
    assert document.get("a.b.1.d") == 2 and document.get("a.b.7", "none") == "none"
    error = document.error("a.b.1.d", "2", "3")
    assert str(error) == "file.yaml:6: a.b.1.d\n  found 2\n  expected 3"


def test_aliases_unfold_with_the_lines_of_their_anchor():
    document = read_yaml_bytes(b"a: &x\n  b: 1\nc: *x\n", "f")
    assert document.tree == {"a": {"b": 1}, "c": {"b": 1}}
    assert document.place("c").line == 3 and document.place("c.b").line == 2
    document.tree["c"]["b"] = 2
    assert document.tree["a"]["b"] == 1


def test_a_changed_tree_does_not_reach_the_next_reader():
    read_yaml_bytes(b"a: [1]", "f").tree["a"].append(2)
    assert read_yaml_bytes(b"a: [1]", "g").tree == {"a": [1]}


def test_a_document_knows_the_fingerprint_of_its_file(tmp_path):
    path = write(tmp_path / "f.yaml", "a: 1\n")
    assert read_yaml(path).sha256 == hashlib.sha256(b"a: 1\n").hexdigest()


def test_files_are_named_as_the_user_sees_them(tmp_path, monkeypatch):
    path = write(tmp_path / "here" / "f.yaml", "a: 1\n")
    assert read_yaml(path).file == path.as_posix()
    monkeypatch.chdir(tmp_path)
    assert read_yaml(path).file == "here/f.yaml"


def test_nearest_names():
    names = ["recurrence.hr_perioperative", "recurrence.rate_late_per_month", "cost.visit"]
    assert nearest("recurrence.hr_periop", names) == "recurrence.hr_perioperative"
    assert nearest("hr_perioperativ", names) == "recurrence.hr_perioperative"
    assert nearest("COST.VISIT", names) == "cost.visit"
    assert nearest("something else", names) is None


# ---------------------------------------------------------------------------------------------------------------------
# Parameters


def test_a_parameter_carries_everything_written(root):
    parameters = load_parameters()
    hr = parameters[HR]
    assert (hr.value, hr.unit, hr.grade, hr.source) == (0.59, "hazard_ratio", "published", ("trial-one",))
    assert hr.place == ("params/numbers.yaml", 3) and hr.replaces is None and not hr.recalled
    assert hr.label is not None and hr.label.text("zh") == "围手术期治疗" and hr.label.text() == "Perioperative therapy"
    assert parameters[RATE].recalled and parameters[RATE].formula == "-ln(0.9) / 13"
    assert parameters[SHARES].value == (0.4, 0.35, 0.15, 0.1)
    assert parameters.sources["trial-one"].doi == "10.1000/one"
    assert parameters.sources["trial-one"].place == ("params/sources.yaml", 1)
    assert list(parameters) == sorted(parameters)
    assert parameters.uncertain() == ("cost.visit", HR, RATE, SHARES)


def test_base_values(root):
    values = load_parameters().base_values()
    assert values[HR] == 0.59 and isinstance(values[HR], float)
    assert np.array_equal(values[SHARES], [0.4, 0.35, 0.15, 0.1])
    assert values["cutoffs.burden_low"] == 6.0


def test_find_suggests_the_nearest_name(root):
    parameters = load_parameters()
    assert parameters.find(HR).name == HR
    with pytest.raises(InputError, match=HR):
        parameters.find("recurrence.hr_periop")
    with pytest.raises(InputError, match=r"one of cutoffs.burden_high, cutoffs.burden_low"):
        parameters.find("cutoffs")


def test_only_the_chosen_country_is_read(root):
    assert load_parameters().country == "china" and load_parameters()["cost.visit"].value == 300.0
    assert load_parameters("elsewhere")["cost.visit"].value == 900.0
    assert list_countries() == ("china", "elsewhere")
    assert country_differences("china", "elsewhere") == ([], [])
    write(root / "params/countries/elsewhere/more.yaml", leaf("cost.scan", 5, "cny"))
    assert country_differences("china", "elsewhere") == ([], ["cost.scan"])
    with pytest.raises(InputError, match=r"no country called 'chna'"):
        load_parameters("chna")


def test_a_country_of_the_users_own(root):
    write(root / "mine/params/countries/atlantis/costs.yaml", leaf("cost.visit", 7, "usd"))
    assert load_parameters("atlantis", user_dir="mine")["cost.visit"].value == 7.0


def test_other_folders_hold_no_parameters(root):
    for folder in ("trials", "populations"):
        write(root / "params" / folder / "x.yaml", "anything: [at, all]\n")
    write(root / "params/countries/elsewhere/unread.yaml", "not: good\n")
    write(root / "params/deep/er/x.yaml", leaf("deep.number", 3))
    assert load_parameters()["deep.number"].value == 3.0


def test_every_unit_has_a_meaning_and_a_range():
    for name, unit in UNITS.items():
        assert unit.meaning and unit.low < unit.high, name


# ---------------------------------------------------------------------------------------------------------------------
# Layers


def test_layers_win_in_order(root):
    packaged = load_parameters()
    write(root / "mine/params/numbers.yaml", leaf(HR, 0.7, "hazard_ratio"))
    user = load_parameters(user_dir="mine")
    assert user[HR].value == 0.7 and user[HR].layer == 1
    assert user[HR].place.file == "mine/params/numbers.yaml" and user[HR].replaces == packaged[HR].place
    # A file of the same name replaces names, not the file.
    assert user[RATE] == packaged[RATE]
    extra = write(root / "extra.yaml", leaf(HR, 0.8, "hazard_ratio"))
    with_extra = load_parameters(extra_files=[extra], user_dir="mine")
    assert with_extra[HR].value == 0.8 and with_extra[HR].layer == 2
    every = load_parameters(extra_files=[extra], user_dir="mine", overrides={HR: 0.9})
    assert every[HR].value == 0.9 and every[HR].layer == 3


def test_the_working_folder_is_the_users_own(root, tmp_path, monkeypatch):
    write(tmp_path / "project/params/mine.yaml", leaf(HR, 0.7, "hazard_ratio"))
    assert load_parameters()[HR].value == 0.59
    monkeypatch.chdir(tmp_path / "project")
    assert load_parameters()[HR].value == 0.7
    assert load_parameters(user_dir=root)[HR].value == 0.59
    with pytest.raises(InputError, match="not a folder"):
        load_parameters(user_dir="nowhere")


def test_new_names_and_own_sources(root):
    write(root / "mine/params/sources.yaml", "my-series:\n  citation: Our own series.\n")
    write(root / "mine/params/x.yaml", leaf("ours.number", 3, more=", new: true, source: [my-series, trial-one]"))
    assert load_parameters(user_dir="mine")["ours.number"].source == ("my-series", "trial-one")
    with pytest.raises(InputError, match="my-series"):
        load_parameters(extra_files=["mine/params/x.yaml"])


def test_a_user_may_replace_the_numbers_of_a_country(root):
    write(root / "mine/params/countries/china/costs.yaml", leaf("cost.visit", 500, "cny"))
    assert load_parameters(user_dir="mine")["cost.visit"].value == 500.0
    assert load_parameters("elsewhere", user_dir="mine")["cost.visit"].value == 900.0


def test_two_extra_files_may_not_disagree(root):
    files = [write(root / f"{name}.yaml", leaf(HR, 0.8, "hazard_ratio")) for name in "ab"]
    with pytest.raises(InputError, match=r"already defined at a.yaml:2"):
        load_parameters(extra_files=files)


def test_all_files_that_were_read_are_listed(root):
    files = dict(load_parameters().files)
    raw = (root / "params/numbers.yaml").read_bytes()
    assert files["params/numbers.yaml"] == hashlib.sha256(raw).hexdigest()
    assert set(files) == {"params/numbers.yaml", "params/countries/china/costs.yaml"}


# ---------------------------------------------------------------------------------------------------------------------
# Overrides


def test_a_number_fixes_a_parameter_and_says_who_set_it(root):
    before = load_parameters()
    after = before.override({HR: 0.8}, where="scenario x")
    hr = after[HR]
    assert hr.value == 0.8 and hr.uncertainty is None and hr.unit == "hazard_ratio"
    assert (hr.grade, hr.reason, hr.source) == ("assumed", "set by scenario x", ())
    assert hr.replaces == before[HR].place
    assert before[HR].value == 0.59
    assert np.all(after.sample(5, 1)[HR] == 0.8)
    assert np.array_equal(before.override({SHARES: [0.25] * 4}).base_values()[SHARES], [0.25] * 4)


def test_keys_of_a_parameter_can_be_replaced_one_by_one(root):
    before = load_parameters()
    after = before.override({HR: {"distribution": {"lognormal": {"sdlog": 0.3}}}})
    assert after[HR].value == 0.59 and after[HR].uncertainty.marginals[0].sdlog == 0.3
    after = before.override(
        {HR: {"value": 0.7, "distribution": {"lognormal": {"sdlog": 0.3}}, "source": ["trial-two"]}}
    )
    assert after[HR].value == 0.7 and after[HR].source == ("trial-two",)
    after = before.override({HR: {"distribution": "fixed"}})
    assert after[HR].uncertainty is None and after[HR].value == 0.59
    # The value is the published one still, so its source stays.
    assert (after[HR].grade, after[HR].source) == ("published", ("trial-one",))
    after = before.override({"cutoffs.burden_low": {"reason": "another reason"}})
    assert after["cutoffs.burden_low"].reason == "another reason"
    after = before.override({HR: np.float64(0.5), SHARES: np.full(4, 0.25)})
    assert after[HR].value == 0.5 and after[SHARES].value == (0.25,) * 4
    after = before.override({HR: {"note": "only a note"}})
    assert (after[HR].grade, after[HR].source, after[HR].note) == ("published", ("trial-one",), "only a note")
    assert after[HR].uncertainty == before[HR].uncertainty


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"recurrence.hr_periop": 1.0}, f"{HR}?"),
        ({HR: -1.0}, "hazard_ratio: 0 or more"),
        ({HR: [1.0, 2.0]}, "one number"),
        ({SHARES: 0.5}, "a vector of 4"),
        ({HR: "much"}, "a number"),
        ({HR: True}, "a number"),
        ({HR: {"unit": "odds_ratio"}}, "hazard_ratio, as at"),
        ({HR: {"valu": 1}}, "value?"),
        ({HR: {"source": ["nobody"]}}, "params/sources.yaml"),
        ({HR: {}}, "some keys of a parameter"),
        ({HR: {"value": 0.5, "grade": "published"}}, "grade published without source"),
        ({HR: {"source": []}}, "grade published without source"),
        ({HR: math.inf}, "hazard_ratio: 0 or more"),
        ({HR: math.nan}, "hazard_ratio: 0 or more"),
    ],
)
def test_wrong_overrides(root, changes, words):
    with pytest.raises(InputError) as caught:
        load_parameters(overrides=changes)
    assert words in str(caught.value)
    assert caught.value.line is None


def test_the_resolved_numbers_read_back_as_they_were(root, tmp_path, monkeypatch):
    import json

    before = load_parameters(overrides={RATE: 0.01})
    (root / "params/numbers.yaml").unlink()
    (root / "params/countries/china/costs.yaml").unlink()
    write(root / "params/resolved.yaml", json.dumps(before.tree()))
    after = load_parameters()
    assert after.fingerprint() == before.fingerprint()
    assert {n: (p.value, p.unit, p.grade, p.source, p.reason, p.note) for n, p in after.items()} == {
        n: (p.value, p.unit, p.grade, p.source, p.reason, p.note) for n, p in before.items()
    }


def test_the_fingerprint_follows_what_changes_results_only(root):
    before = load_parameters()
    assert before.override({HR: {"note": "x"}}).fingerprint() == before.fingerprint()
    assert before.override({HR: 0.6}).fingerprint() != before.fingerprint()
    assert before.override({HR: {"distribution": "fixed"}}).fingerprint() != before.fingerprint()
    write(root / "params/correlations.yaml", f"- parameters: [{HR}, {RATE}]\n  matrix: [[1, 0.5], [0.5, 1]]\n")
    assert load_parameters().fingerprint() != before.fingerprint()
    assert load_parameters() != before


def test_a_set_survives_pickling(root):
    before = load_parameters()
    after = pickle.loads(pickle.dumps(before))
    assert after == before and np.array_equal(after.sample(3, 1)[HR], before.sample(3, 1)[HR])


# ---------------------------------------------------------------------------------------------------------------------
# Draws


def test_shapes_and_fixed_values(root):
    draws = load_parameters().sample(7, 3)
    assert set(draws) == set(load_parameters())
    assert draws[HR].shape == (7,) and draws[SHARES].shape == (7, 4)
    assert np.all(draws["cutoffs.burden_low"] == 6.0) and draws["cutoffs.burden_low"].shape == (7,)
    assert np.allclose(draws[SHARES].sum(axis=1), 1.0)
    assert np.unique(draws[HR]).size == 7


def test_a_draw_is_the_quantile_of_its_addressed_uniform(root):
    # The promised address: seed, luck 0, the iteration in place of the patient, purpose parameter/<name>.
    u = uniforms(5, 0, np.arange(4), f"parameter/{HR}")
    sdlog = math.log(0.85 / 0.41) / (2 * special.ndtri(0.975))
    assert np.allclose(load_parameters().sample(4, 5)[HR], 0.59 * np.exp(sdlog * special.ndtri(u)), rtol=1e-12)


def test_more_iterations_or_another_start_leave_draws_as_they_are(root):
    parameters = load_parameters()
    every = parameters.sample(50, 9)
    for name, part in parameters.sample(20, 9, first_iteration=10).items():
        assert np.array_equal(part, every[name][10:30]), name
    assert not np.array_equal(parameters.sample(50, 10)[HR], every[HR])


def test_another_parameter_leaves_draws_as_they_are(root):
    before = load_parameters().sample(20, 9)
    write(root / "params/aaa.yaml", leaf("aaa.first", 1, more=", distribution: {gamma: {sd: 0.2}}"))
    after = load_parameters().sample(20, 9)
    for name, draws in before.items():
        assert np.array_equal(after[name], draws), name
    assert np.std(after["aaa.first"]) > 0


def test_fixing_one_parameter_leaves_the_others_as_they_are(root):
    write(root / "params/correlations.yaml", f"- parameters: [{HR}, {RATE}]\n  matrix: [[1, 0.5], [0.5, 1]]\n")
    parameters = load_parameters()
    before, after = parameters.sample(20, 9), parameters.override({HR: 0.59}).sample(20, 9)
    assert np.array_equal(before[RATE], after[RATE]) and np.array_equal(before[SHARES], after[SHARES])
    # The user's params/ may fix a member of a packaged group too.
    write(root / "mine/params/x.yaml", leaf(HR, 0.7, "hazard_ratio"))
    assert np.array_equal(before[RATE], load_parameters(user_dir="mine").sample(20, 9)[RATE])


@pytest.mark.parametrize(
    "text, value, unit, mean, sd",
    [
        ("{beta: {sd: 0.05}}", 0.3, "fraction", 0.3, 0.05),
        ("{beta: {alpha: 30, beta: 70}}", 0.3, "fraction", 0.3, math.sqrt(0.3 * 0.7 / 101)),
        ("{gamma: {mean: 10, sd: 2}}", 10, "months", 10.0, 2.0),
        ("{gamma: {shape: 25, rate: 2.5}}", 10, "months", 10.0, 2.0),
        ("{lognormal: {mean: 2, sd: 0.5}}", 2, "ratio", 2.0, 0.5),
        ("{lognormal: {meanlog: 0, sdlog: 0.5}}", 1, "ratio", math.exp(0.125), None),
        ("{normal: {sd: 0.1}}", 1, "log_ratio", 1.0, 0.1),
        ("{uniform: {low: 1, high: 4}}", 2, "months", 2.5, 3 / math.sqrt(12)),
        ("{triangular: {low: 1, high: 4}}", 1, "months", 2.0, math.sqrt(0.5)),
        ("{triangular: {low: 1, mode: 1, high: 4}}", 2, "months", 2.0, math.sqrt(0.5)),
        ("{truncated_normal: {sd: 1, low: 0, high: 100}}", 0, "months", math.sqrt(2 / math.pi), None),
    ],
)
def test_moments_of_every_distribution(root, text, value, unit, mean, sd):
    write(root / "params/x.yaml", leaf("x.y", value, unit, f", distribution: {text}"))
    draws = load_parameters().sample(20_000, 11)["x.y"]
    # Five standard errors of the mean; the standard deviation of 20,000 draws within 5 %.
    assert abs(draws.mean() - mean) < 5 * draws.std() / math.sqrt(20_000)
    assert sd is None or abs(draws.std() / sd - 1) < 0.05


def test_ci95_holds_95_percent_of_the_draws(root):
    draws = load_parameters().sample(20_000, 12)[HR]
    inside = np.mean((draws > 0.41) & (draws < 0.85))
    # Standard error of 0.95 over 20,000 draws: 0.00154; five of them.
    assert abs(inside - 0.95) < 0.0077


def test_vectors_are_drawn_element_by_element(root):
    distribution = ", distribution: {lognormal: {sdlog: [0.1, 0.4]}}"
    write(root / "params/x.yaml", leaf("x.y", "[1, 2]", "ratio", distribution))
    draws = np.log(load_parameters().sample(20_000, 13)["x.y"])
    assert np.allclose(draws.mean(axis=0), [0.0, math.log(2.0)], atol=0.015)
    assert np.allclose(draws.std(axis=0), [0.1, 0.4], rtol=0.03)
    assert abs(np.corrcoef(draws, rowvar=False)[0, 1]) < 0.036
    write(
        root / "params/x.yaml",
        leaf("x.y", "[1, 2]", "ratio", ", distribution: {lognormal: {ci95: [[0.8, 1.25], [1, 4]]}}"),
    )
    marginals = load_parameters()["x.y"].uncertainty.intervals()
    assert np.allclose(marginals, [[0.8, 1.25], [1.0, 4.0]])


def test_dirichlet_shares_keep_their_zeros(root):
    write(root / "params/x.yaml", leaf("x.y", "[0.5, 0, 0.5]", "fraction", ", distribution: {dirichlet: {n: 20}}"))
    parameters = load_parameters()
    draws = parameters.sample(1000, 14)["x.y"]
    assert np.all(draws[:, 1] == 0.0) and np.allclose(draws.sum(axis=1), 1.0)
    assert abs(draws[:, 0].mean() - 0.5) < 5 * math.sqrt(0.25 / 21 / 1000)
    low, high = parameters["x.y"].uncertainty.intervals()[0]
    assert np.allclose((low, high), stats.beta(10, 10).interval(0.95))


def test_draws_stay_inside_their_unit(root):
    # 0.9 + 3.2 sd reaches 1: 0.07 % of the normal distribution lies above, and is cut.
    write(root / "params/x.yaml", leaf("x.y", 0.9, "utility", ", distribution: {normal: {sd: 0.0313}}"))
    draws = load_parameters().sample(20_000, 15)["x.y"]
    assert draws.max() <= 1.0 and abs(draws.mean() - 0.9) < 0.002


def test_correlated_groups(root):
    write(
        root / "params/correlations.yaml",
        f"- parameters: [{HR}, {RATE}, cost.visit]\n  matrix: [[1, 0.7, 0], [0.7, 1, -0.2], [0, -0.2, 1]]\n",
    )
    parameters = load_parameters()
    draws = parameters.sample(20_000, 16)
    free = (root / "params/correlations.yaml").unlink() or load_parameters().sample(20_000, 16)
    scores = np.column_stack(
        [special.ndtri(parameters[name].uncertainty.marginals[0].cdf(draws[name])) for name in (HR, RATE, "cost.visit")]
    )
    # Five standard errors of a correlation of 20,000 pairs.
    assert np.abs(np.corrcoef(scores, rowvar=False) - [[1, 0.7, 0], [0.7, 1, -0.2], [0, -0.2, 1]]).max() < 0.036
    # The marginals are those without the group, and parameters outside it do not change.
    assert np.array_equal(draws[HR], free[HR]) and np.array_equal(draws[SHARES], free[SHARES])
    assert stats.ks_2samp(draws[RATE], free[RATE]).pvalue > 1e-6
    assert not np.array_equal(draws[RATE], free[RATE])


def test_a_users_correlations_replace_the_packaged_ones(root):
    write(root / "params/correlations.yaml", f"- parameters: [{HR}, {RATE}]\n  matrix: [[1, 0.5], [0.5, 1]]\n")
    write(root / "mine/params/correlations.yaml", f"- parameters: [{HR}, cost.visit]\n  matrix: [[1, 0.2], [0.2, 1]]\n")
    assert load_parameters(user_dir="mine").correlations[0].parameters == (HR, "cost.visit")


def test_wrong_sizes_and_seeds(root):
    parameters = load_parameters()
    for arguments in [(0, 1), (5, -1), (5, 1, -1), (5, 2**64)]:
        with pytest.raises(InputError):
            parameters.sample(*arguments)


def test_two_names_with_one_address_are_refused(root, monkeypatch):
    from simhcc.inputs import parameters as module

    monkeypatch.setattr(module, "purpose", lambda name: "same for all")
    with pytest.raises(InputError, match="random address"):
        load_parameters()


# ---------------------------------------------------------------------------------------------------------------------
# Posterior draws


def posterior(
    root: Path, rows: list[list[float]], names: list[str], name: str = "fit", header: list[str] | None = None
) -> Path:
    table = ",".join(header or names) + "\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)
    write(root / f"params/posterior/{name}.csv", table)
    digest = hashlib.sha256(table.encode()).hexdigest()
    manifest = (
        f"parameters: [{', '.join(names)}]\ndraws: {len(rows)}\nsha256: {digest}\nrun: calibrate advanced\nseed: 1\n"
    )
    return write(root / f"params/posterior/{name}.yaml", manifest)


def test_posterior_rows_are_drawn_together_and_all_of_them(root):
    before = load_parameters().sample(30, 17)
    rows = [[0.4 + i / 100, 0.001 * (i + 1)] for i in range(10)]
    posterior(root, rows, [HR, RATE])
    parameters = load_parameters()
    assert parameters.uncertain() == ("cost.visit", HR, RATE, SHARES)
    draws = parameters.sample(30, 17)
    pairs = np.column_stack([draws[HR], draws[RATE]])
    for cycle in range(3):
        # Every ten iterations use every row once, in another order.
        assert sorted(map(tuple, pairs[10 * cycle : 10 * cycle + 10])) == sorted(map(tuple, rows))
    assert not np.array_equal(pairs[:10], pairs[10:20]) and not np.array_equal(pairs[:10], rows)
    for name, part in parameters.sample(8, 17, first_iteration=13).items():
        assert np.array_equal(part, draws[name][13:21]), name
    assert np.array_equal(draws[SHARES], before[SHARES])


def test_a_posterior_of_a_vector(root):
    rows = [[0.4, 0.3, 0.2, 0.1, 0.5], [0.1, 0.2, 0.3, 0.4, 0.6]]
    posterior(root, rows, [SHARES, HR], header=[f"{SHARES}[{i}]" for i in range(4)] + [HR])
    draws = load_parameters().sample(2, 1)
    both = np.column_stack([draws[SHARES], draws[HR]])
    assert sorted(map(tuple, both)) == sorted(map(tuple, rows))


def test_a_number_set_above_a_posterior_is_not_drawn_from_it(root):
    posterior(root, [[0.4, 0.001], [0.5, 0.002]], [HR, RATE])
    assert np.all(load_parameters(overrides={HR: 0.9}).sample(4, 1)[HR] == 0.9)
    write(root / "mine/params/x.yaml", leaf(HR, 0.8, "hazard_ratio"))
    assert np.all(load_parameters(user_dir="mine").sample(4, 1)[HR] == 0.8)
    # A posterior of the user's own wins over the user's own numbers.
    posterior(root / "mine", [[0.41, 0.001], [0.42, 0.002]], [HR, RATE], "fit")
    assert set(load_parameters(user_dir="mine").sample(4, 1)[HR]) == {0.41, 0.42}


def test_wrong_posteriors(root):
    def refused(words: str) -> None:
        with pytest.raises(InputError) as caught:
            load_parameters()
        assert words in str(caught.value) and caught.value.file

    manifest = posterior(root, [[0.4], [0.5]], ["recurrence.hr_periop"])
    refused(f"{HR}?")
    posterior(root, [[0.4], [-0.5]], [HR])
    refused("params/posterior/fit.csv:3")
    posterior(root, [[0.4]], [HR])
    refused("at least 2")
    posterior(root, [[0.4, 0.5], [0.4, 0.5]], [HR])
    refused("2 numbers")
    posterior(root, [[0.4], [0.5]], [HR], header=["x"])
    refused("the columns x")
    posterior(root, [[0.4], [0.5]], [HR])
    write(root / "params/posterior/fit.csv", f"{HR}\n0.4\n0.6\n")
    refused("the table this manifest was written for")
    posterior(root, [[0.4], [0.5]], [HR], "other")
    posterior(root, [[0.4], [0.5]], [HR])
    refused("already in the posterior fit")
    (root / "params/posterior/other.yaml").unlink()
    refused("draws without a manifest")
    (root / "params/posterior/other.csv").unlink()
    manifest.write_text(manifest.read_text().replace("draws: 2", "draws: 3"))
    refused("has 2 rows")
    (root / "params/posterior/fit.csv").unlink()
    refused("no file fit.csv")
    posterior(root, [[0.4], [0.5]], [HR])
    write(root / "params/correlations.yaml", f"- parameters: [{HR}, {RATE}]\n  matrix: [[1, 0.5], [0.5, 1]]\n")
    refused("whose dependence comes from the posterior fit")


# ---------------------------------------------------------------------------------------------------------------------
# Finding files


def test_ids_and_paths(root, tmp_path):
    assert find_input("population", "people") == root / "params/populations/people.yaml"
    other = write(tmp_path / "x/params/populations/people.yaml", "id: people\n")
    assert find_input("population", "people", tmp_path / "x") == tmp_path / "x/params/populations/people.yaml"
    assert find_input("population", str(other)) == other
    assert find_input("population", "x/params/populations/people.yaml", relative_to=tmp_path) == other
    assert list_inputs("trial") == {}
    with pytest.raises(InputError, match=r"no population called 'peple'; did you mean people\?"):
        find_input("population", "peple")
    with pytest.raises(InputError, match="there is no file"):
        find_input("population", "no/such.yaml")


def test_packaged_files_in_an_installation_and_in_a_checkout(tmp_path, monkeypatch):
    import simhcc
    from simhcc.inputs import packaged_folder
    from simhcc.inputs.locate import file_name

    monkeypatch.setattr(simhcc, "__file__", str(tmp_path / "site/simhcc/__init__.py"))
    with pytest.raises(InputError, match="no packaged params folder"):
        packaged_folder("params")
    checkout = write(tmp_path / "site/params/x.yaml", "a: 1")
    (tmp_path / "site/scenarios").mkdir()
    assert packaged_folder("params") == tmp_path / "site/params"
    assert file_name(checkout) == "params/x.yaml"
    installed = write(tmp_path / "site/simhcc/data/params/deep/x.yaml", "a: 1")
    assert packaged_folder("params") == tmp_path / "site/simhcc/data/params"
    # Messages and records never hold the place of the installation.
    assert file_name(installed) == "simhcc/data/params/deep/x.yaml"
