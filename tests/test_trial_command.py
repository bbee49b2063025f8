"""`simhcc trial` and `simhcc design` as a user meets them: tables, JSON, folders, and words for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_trial_files import GOOD
from typer.testing import CliRunner

from simhcc.cli import app
from simhcc.errors import InputError
from simhcc.trials.command import Request, named, run_trials, trial_effects
from simhcc.trials.pools import fitted_level

FEW = ["--replicates", "20", "--patients", "700", "--quiet"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(GOOD, encoding="utf-8")
    return tmp_path


def call(*words: str, code: int = 0):
    result = CliRunner().invoke(app, [*words])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def test_a_trial_by_its_path_is_one_json_object_with_the_promised_keys(here):
    found = json.loads(call("trial", "./mine.yaml", *FEW, "--json").stdout)
    trial = found["trials"][0]
    assert trial["id"] == "mine"
    assert trial["replicates"] == 20
    target = {"arm", "endpoint", "statistic", "time_months", "published", "ci_low", "ci_high", "confirmed", "fitted",
              "predicted", "lower", "upper", "inside"}  # fmt: skip
    assert all(target <= set(row) for row in trial["targets"])
    contrast = (target - {"statistic", "time_months"}) | {"reference", "subgroup"}
    assert all(contrast <= set(row) for row in trial["contrasts"])
    assert [row["statistic"] for row in trial["targets"]] == ["median", "landmark", "landmark", "orr"]
    assert trial["targets"][2]["fitted"] is True
    assert trial["contrasts"][0]["subgroup"] == "heavy"
    assert trial["targets"][0]["ci_high"] is None
    for row in trial["targets"]:
        assert row["inside"] == (row["lower"] <= row["published"] <= row["upper"])
    assert trial["next_line"]["old"]["published"] == 0.5


def test_a_folder_holds_tables_figures_and_the_record(here):
    call("trial", "./mine.yaml", *FEW, "--out", "o")
    folder = here / "o"
    figures = {"mine_curves.png", "mine_curves.svg", "mine_hazard_ratios.png", "mine_hazard_ratios.svg"}
    assert {path.name for path in (folder / "figures").iterdir()} == figures
    record = json.loads((folder / "trial.json").read_text(encoding="utf-8"))
    assert record["seed"] == 1
    assert record["command"].startswith("simhcc trial ./mine.yaml --replicates 20")
    lines = (folder / "predictions.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + 5
    assert not list(here.glob(".o.work"))
    again = call("trial", "./mine.yaml", *FEW, "--out", "o", code=2)
    assert "holds results" in again.stderr
    call("trial", "./mine.yaml", *FEW, "--out", "o", "--overwrite")
    assert (folder / "predictions.csv").read_text(encoding="utf-8").splitlines() == lines


def test_the_table_says_inside_outside_and_by_how_much(here):
    (here / "far.yaml").write_text(
        GOOD.replace("id: mine", "id: far").replace("value: 19.2", "value: 39.2"), encoding="utf-8"
    )
    text = call("trial", "./far.yaml", *FEW).stdout
    line = next(line for line in text.splitlines() if " median " in line)
    assert "OUTSIDE by" in line
    assert "sd)" in line
    assert "4 of 5 published figures inside" in text or "3 of 5" in text
    assert "assumed: scan schedule" in text


def test_draws_carry_the_uncertainty_of_the_parameters(here):
    base = json.loads(call("trial", "./mine.yaml", "--replicates", "60", "--quiet", "--json").stdout)
    psa = json.loads(
        call("trial", "./mine.yaml", "--replicates", "60", "--iterations", "30", "--quiet", "--json").stdout
    )
    assert psa["trials"][0]["iterations"] == 30

    def width(found, k):
        row = found["trials"][0]["targets"][k]
        return row["upper"] - row["lower"]

    assert sum(width(psa, k) for k in (1, 2)) > 1.2 * sum(width(base, k) for k in (1, 2))


def test_a_trial_effect_is_drawn_unless_one_was_fitted(here):
    trial = named(["./mine.yaml"])[0]
    values = {"heterogeneity.tau_advanced": [0.2, 0.2, 0.0]}
    drawn = trial_effects(trial, {k: __import__("numpy").array(v) for k, v in values.items()}, 1)
    assert set(drawn) == {"progression", "death"}
    assert drawn["death"][0] != drawn["death"][1]
    assert drawn["death"][2] == 0.0
    fitted = {**values, fitted_level("mine", "death"): [0.0, 0.0, 0.0]}
    assert trial_effects(trial, fitted, 1) == {}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trial", "imbrave15"], "did you mean imbrave15"),
        (["trial", "./none.yaml"], "where there is no file"),
        (["trial", "./mine.yaml", "--replicates", "0"], "--replicates"),
        (["trial", "./mine.yaml", "--patients", "100"], "of which the trial mine takes 300"),
        (["trial", "./mine.yaml", "--iterations", "50", "--replicates", "20"], "at least one replicate for each"),
        (["trial", "./mine.yaml", "--resume"], "--out"),
        (["trial", "./mine.yaml", "--overwrite"], "--overwrite without --out"),
        (["trial", "./mine.yaml", "--out", "mine.yaml"], "the name of a folder"),
        (["design", "storm"], "no `sequential` entry"),
        (["design", "./mine.yaml", "--true", "-1"], "--true"),
        (["design", "./mine.yaml", "--prior", "0.9", "1.0", "1.2"], "--prior"),
    ],
)
def test_wrong_words_end_with_2_and_say_what_is_wrong(here, words, said):
    result = call(*words, "--quiet", code=2)
    assert said in result.stderr
    assert not (here / "o").exists()


def test_a_wrong_file_is_an_error_object_with_its_line(here):
    (here / "wrong.yaml").write_text(GOOD.replace("accrual_months: 20", "accrual_months: -20"), encoding="utf-8")
    error = json.loads(call("trial", "./wrong.yaml", "--json", "--quiet", code=2).stderr)["error"]
    assert error["line"] == 9
    assert error["file"].endswith("wrong.yaml")
    assert error["key"] == "design.accrual_months"


def test_every_trial_is_named_once():
    trials = named(["all", "storm"])
    assert len({trial.id for trial in trials}) == len(trials) >= 22
    with pytest.raises(InputError, match="no trial"):
        run_trials(Request(names=[]))


def test_design_without_the_mechanism_needs_no_patients(here):
    found = json.loads(call("design", "keynote-937", "leap-012", "--no-mechanism", "--true", "0.85", "--json").stdout)
    first, second = found["questions"]
    assert first["published"]["hr"] == 1.06
    assert {s["hr"] for s in first["supposed"]} == {0.7, 0.85, 0.9, 0.95, 1.0, 1.06}
    assert first["mechanism"] is None
    assert second["published"]["fraction"] == 0.475
    later = second["later_looks_from_hazard_ratio"]
    assert 0.0 < later["no_effect"] < later["predictive"] < 1.0
    believed = json.loads(call("design", "leap-012", "--no-mechanism", "--prior", "1", "0.9", "1.11", "--json").stdout)[
        "questions"
    ][0]
    # A belief in no effect lowers what the data alone would promise.
    assert believed["later_looks_from_hazard_ratio"]["predictive"] < later["predictive"]
    assert believed["assurance"] < second["assurance"]


def test_design_stands_side_by_side_with_the_mechanism(here):
    text = call("design", "./mine.yaml", "--replicates", "50", "--patients", "1000", "--quiet").stdout
    assert "from the hazard ratio alone" in text
    assert "from the mechanism (50 simulated trials" in text
    assert "without further lines the last look would have" in text
    found = json.loads(
        call("design", "./mine.yaml", "--replicates", "50", "--patients", "1000", "--quiet", "--json").stdout
    )["questions"][0]["mechanism"]
    assert [look["fraction"] for look in found["looks"]] == [0.5, 1.0]
    assert found["significant"] == pytest.approx(sum(look["crosses_first_here"] for look in found["looks"]))
    assert found["hr_without_later_lines"] > 0.0


def test_an_interrupted_run_goes_on(here, monkeypatch):
    from simhcc.trials import command

    whole = run_trials(Request(names=["./mine.yaml"], replicates=20, iterations=4, out=Path("a")), quiet=True)

    def stopped(*args, **words):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(command, "replicate", stopped)
        with pytest.raises(KeyboardInterrupt):
            run_trials(Request(names=["./mine.yaml"], replicates=20, iterations=4, out=Path("b")), quiet=True)
    assert (here / ".b.work").is_dir()
    with pytest.raises(InputError, match="interrupted"):
        run_trials(Request(names=["./mine.yaml"], replicates=20, iterations=4, out=Path("b")), quiet=True)
    request = Request(names=["./mine.yaml"], replicates=20, iterations=4, out=Path("b"), resume=True)
    again = run_trials(request, quiet=True)
    assert again.results[0].as_object() == whole.results[0].as_object()
    assert not (here / ".b.work").exists()
