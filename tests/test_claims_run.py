"""Claims from file to verdict on the real model, small: true by construction, its negation, the boundary; pages and staleness."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from simhcc.claims.examine import changes, examine, fingerprints
from simhcc.claims.experiments import Sizes
from simhcc.claims.registry import load_claim
from simhcc.claims.verdict import NOT_SUPPORTED, SUPPORTED, UNDETERMINED
from simhcc.cli import app
from simhcc.errors import InputError
from simhcc.inputs import load_parameters
from simhcc.report.claims import ClaimsRequest, run_claims

PARAMETERS = load_parameters()
CLAIM = """\
id: mine
statement: {{en: More than some live on, zh: 超过一定比例存活}}
basis: conjecture
certainty: 0.9
evidence:
  - {{source: judgement, says: Nothing}}
weak_points: [It is made for a test.]
experiments:
  one:
    population: china_advanced
    strategies: [best_supportive_care, atezo_bev, {{id: atezo_bev, as: twin}}]
    focus: atezo_bev
components:
  - id: alive
    label: {{en: Alive at one year}}
    experiment: one
    estimand: {{{estimand}}}
    rule: {{{rule}}}
structures: [frailty_wide]
carried_by: [systemic.death_rate_without_progression_per_month]
"""
GAIN = "difference: os_12m, of: atezo_bev, against: best_supportive_care"


def claim(folder: Path, estimand: str = GAIN, rule: str = "above: 0.0") -> Path:
    path = folder / "mine.yaml"
    path.write_text(CLAIM.format(estimand=estimand, rule=rule), encoding="utf-8")
    return path


def verdict(folder: Path, estimand: str, rule: str, seed: int) -> tuple[str, float]:
    found = examine(load_claim(claim(folder, estimand, rule), parameters=PARAMETERS), PARAMETERS, Sizes(60, 150, seed))
    return found.verdict, found.head.judged.estimate


@pytest.mark.parametrize("seed", [1, 2])
def test_true_by_construction_its_negation_and_the_boundary(tmp_path: Path, seed: int) -> None:
    # Treated patients outlive untreated ones by some 40 points.
    word, gain = verdict(tmp_path, GAIN, "above: 0.0", seed)
    assert word == SUPPORTED and gain > 0.2
    assert verdict(tmp_path, GAIN, "below: 0.0", seed)[0] == NOT_SUPPORTED
    # At the estimate itself, which every seed puts a little elsewhere.
    assert verdict(tmp_path, GAIN, f"above: {gain:.4f}", seed + 100)[0] == UNDETERMINED


def test_the_same_treatment_twice_is_no_difference(tmp_path: Path) -> None:
    found = examine(
        load_claim(claim(tmp_path, "difference: os_12m, of: twin, against: atezo_bev", "between: [-0.001, 0.001]"),
                   parameters=PARAMETERS),
        PARAMETERS,
        Sizes(60, 100, 1),
    )  # fmt: skip
    assert (found.components[0].draws == 0.0).all()
    assert found.verdict == SUPPORTED


def test_a_verdict_that_a_structure_overturns_is_undetermined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "scenarios" / "structures"
    folder.mkdir(parents=True)
    (folder / "frailty_wide.yaml").write_text(
        "id: frailty_wide\nlabel: {en: Nobody dies of cancer untreated}\n"
        "numbers: {supportive.death_rate_per_month: 0.0001, supportive.hr_fit: 0.001}\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    found = examine(load_claim(claim(tmp_path), parameters=PARAMETERS), PARAMETERS, Sizes(60, 150, 1))
    head = found.components[0]
    assert head.judged.verdict == SUPPORTED
    assert head.overturned == ["frailty_wide"]
    assert found.verdict == UNDETERMINED and not found.robust
    assert "frailty_wide" in found.reason


def test_pages_record_and_staleness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = claim(tmp_path)
    request = ClaimsRequest(ids=(str(path),), iterations=50, patients=100, quiet=True, docs=tmp_path / "docs")
    found = run_claims(request)
    folder = tmp_path / "results" / "claims"
    page = (folder / "mine" / "page.md").read_text(encoding="utf-8")
    assert "Verdict: supported" in page and "It is made for a test." in page and "超过一定比例存活" in page
    for name in ("components.png", "components.svg", "draws.csv", "finding.json"):
        assert (folder / "mine" / name).stat().st_size > 0
    assert "## mine" in (tmp_path / "docs" / "claims.md").read_text(encoding="utf-8")
    shown = found.as_object()["claims"][0]
    keys = {
        "id",
        "verdict",
        "basis",
        "probability",
        "mcse",
        "estimate",
        "lower",
        "upper",
        "robust",
        "drivers",
        "flips_at",
    }
    assert keys <= set(shown)
    assert shown["since"] is None
    # Nothing has changed: fresh.
    listed = run_claims(ClaimsRequest(ids=(str(path),), list_only=True)).as_object()["claims"][0]
    assert listed["verdict"] == "supported" and not listed["stale"]
    # Another rule and another number: stale, and both are named.
    claim(tmp_path, rule="above: 0.1")
    own = tmp_path / "params"
    own.mkdir()
    (own / "mine.yaml").write_text(
        "frailty:\n  sd_log: {value: 0.6, unit: log_sd, grade: assumed, reason: test}\n", encoding="utf-8"
    )
    listed = run_claims(ClaimsRequest(ids=(str(path),), list_only=True)).as_object()["claims"][0]
    assert listed["stale"]
    assert any("mine.yaml has changed" in change for change in listed["changed"])
    assert any(change.startswith("frailty.sd_log: 0.5") and "0.6" in change for change in listed["changed"])
    assert len(listed["changed"]) == 2
    text = run_claims(ClaimsRequest(ids=(str(path),), list_only=True)).as_text()
    assert "STALE" in text and "frailty.sd_log" in text


def test_a_verdict_rests_on_what_it_asks_for() -> None:
    survival = fingerprints(load_claim("five-year-20", parameters=PARAMETERS), PARAMETERS)
    money = fingerprints(load_claim("burden-stratified", parameters=PARAMETERS), PARAMETERS)
    emulated = fingerprints(load_claim("retrospective-bias", parameters=PARAMETERS), PARAMETERS)
    assert "number prices.list.atezolizumab" in money and "number prices.list.atezolizumab" not in survival
    assert "number bias.months_surgery_to_drug" in emulated and "number bias.months_surgery_to_drug" not in survival
    assert "number frailty.sd_log" in survival


def test_changes_in_words() -> None:
    claim_ = load_claim("five-year-20", parameters=PARAMETERS)
    before = fingerprints(claim_, PARAMETERS)
    assert changes(before, before) == []
    now = dict(before)
    now["file scenarios/claims/five-year-20.yaml"] = "other"
    del now["number frailty.sd_log"]
    now["number new.one"] = "[1.0, null]"
    assert changes(before, now) == [
        "scenarios/claims/five-year-20.yaml has changed",
        "frailty.sd_log is gone",
        "new.one is new",
    ]


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke
    path = str(claim(tmp_path))
    found = run(app, ["claims", path, "--iterations", "45", "--patients", "60", "--json", "--quiet", "--out", "out"])
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["claims"][0]["id"] == "mine"
    claim(tmp_path, rule="above: 2.0")
    wrong = run(app, ["claims", path, "--quiet"])
    assert wrong.exit_code == 2
    assert "mine.yaml:18" in wrong.output and "can never be met" in wrong.output
    assert not (tmp_path / "results").exists()
    for arguments in (["claims", "no-such-claim"], ["claims", "--patients", "1"], ["bias", "--drug", "x"], ["bias", "--with", "x"],
                      ["optimise", "advanced", "--strategy", "atezo_bev", "--vary", "x=1,2"],
                      ["optimise", "advanced", "--strategy", "response_cutoffs", "--vary", "from_month"]):  # fmt: skip
        assert run(app, arguments).exit_code == 2, arguments


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(InputError, match="something else"):
        run_claims(ClaimsRequest(ids=("five-year-20",), out=tmp_path, quiet=True))


def test_prices_do_not_drive_survival(tmp_path: Path) -> None:
    found = examine(load_claim(claim(tmp_path), parameters=PARAMETERS), PARAMETERS, Sizes(50, 60, 1))
    names = list(found.components[0].inputs)
    assert "frailty.sd_log" in names or "systemic.death_rate_without_progression_per_month" in names
    assert not any(name.startswith(("costs.", "utility.", "prices.")) for name in names)
