"""`simhcc check`, `why`, `schema`, `new-scenario` and the help, with the packaged numbers and strategies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from cli_project import invoke, tree_of

import simhcc
from simhcc.claims.schema import claim_schemas
from simhcc.inputs import json_schema, load_parameters
from simhcc.report.terminal import broken_lines

ROOT = Path(__file__).resolve().parent.parent
MINE = """\
id: mine
label: {en: Mine}
setting: advanced
population: china_advanced
strategies: [sorafenib, stride]
comparator: sorafenib
patients: 100
iterations: 1
seed: 3
wtp: [economics.wtp_per_qaly]
overrides: {tace.p_procedure_death: 0.02}
"""
COMMANDS = ("run", "check", "why", "schema", "new-scenario")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with one scenario of the user's own."""
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios" / "mine.yaml").write_text(MINE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_version_and_help() -> None:
    assert invoke("--version").stdout == f"{simhcc.__version__}\n"
    listed = invoke("--help").stdout
    for name in COMMANDS:
        assert name in listed
        text = invoke(name, "--help").stdout
        assert f"Example: simhcc {name} " in text, name


def test_check_shows_every_number_with_its_grade_and_source_and_flags_recalled_ones(folder: Path) -> None:
    before = tree_of(folder)
    done = invoke("check", "mine")
    assert done.exit_code == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.startswith("  ") and line.split()}
    parameters = load_parameters()
    for name, found in parameters.items():
        if name == "tace.p_procedure_death":
            continue
        assert found.grade in lines[name], name
        assert (f"{found.grade} (recalled): " in lines[name]) == found.recalled, name
        assert all(source in lines[name] for source in found.source), name
    override = lines["tace.p_procedure_death"]
    assert "0.02 fraction" in override and "[set at scenarios/mine.yaml:11]" in override
    assert f"{sum(p.recalled for p in parameters.values())} recalled" in done.stdout.replace("\n", " ")
    # The comparator's pathway is whole; of the other strategy only what differs.
    assert "Strategy: Sorafenib" in done.stdout
    assert "What differs from sorafenib:" in done.stdout
    tail = done.stdout.partition("What differs from sorafenib:")[2]
    assert "initial treatment (decision)" in tail and "dead, cancer (end)" not in tail
    assert tree_of(folder) == before


def test_check_of_one_strategy_is_its_whole_pathway_and_draws_it(folder: Path) -> None:
    done = invoke("check", "mine", "--strategy", "stride", "--diagram", "stride.mmd")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("Hepatocellular carcinoma\nStrategy: Tremelimumab + durvalumab (STRIDE)\n")
    assert "dead, cancer (end)" in done.stdout
    diagram = (folder / "stride.mmd").read_text(encoding="utf-8")
    assert diagram.startswith("flowchart TD\n")
    again = invoke("check", "mine", "--diagram", "stride.mmd")
    assert again.exit_code == 2 and "--overwrite" in again.stderr
    assert (folder / "stride.mmd").read_text(encoding="utf-8") == diagram
    assert invoke("check", "mine", "--diagram", "stride.mmd", "--overwrite").exit_code == 0
    # Without a strategy every action is drawn, not only those of STRIDE's tables.
    assert len((folder / "stride.mmd").read_text(encoding="utf-8")) > len(diagram)


def test_check_without_a_scenario_and_for_machines(folder: Path) -> None:
    done = invoke("check", "--country", "united_states", "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["country"] == "united_states" and found["scenario"] is None
    assert {row["name"] for row in found["parameters"]} == set(load_parameters("united_states"))
    found = json.loads(invoke("check", "mine", "--json").stdout)
    assert list(found["strategies"]) == ["sorafenib", "stride"]
    assert "mine" in invoke("check").stdout.splitlines()[-1]


def test_check_refuses_what_the_pathway_does_not_know(folder: Path) -> None:
    strategies = folder / "scenarios" / "strategies"
    strategies.mkdir()
    (strategies / "odd.yaml").write_text(
        "id: odd\nlabel: {en: Odd}\nsetting: advanced\ntables:\n  initial_treatment:\n    - {do: start_sistemic}\n",
        encoding="utf-8",
    )
    path = folder / "scenarios" / "mine.yaml"
    path.write_text(MINE.replace("[sorafenib, stride]", "[sorafenib, odd]"), encoding="utf-8")
    done = invoke("check", "mine")
    assert done.exit_code == 2 and done.stdout == ""
    assert "scenarios/strategies/odd.yaml:6" in done.stderr and "start_systemic" in done.stderr
    for arguments in (("check", "mine", "--country", "china"), ("check", "--strategy", "stride"), ("check", "main")):
        assert invoke(*arguments).exit_code == 2


def test_why_tells_origin_distribution_and_use(folder: Path) -> None:
    name = "tace.p_procedure_death"
    parameter = load_parameters()[name]
    done = invoke("why", name, "--scenario", "mine", "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["value"], found["grade"], found["distribution"]) == (0.02, "assumed", None)
    assert found["place"] == "scenarios/mine.yaml:11" and found["replaces"] == str(parameter.place)
    assert any(place.startswith("pathway: ") for place in found["used_by"])
    assert "scenario mine: overrides it" in found["used_by"]
    (folder / "scenarios" / "mine.yaml").write_text(MINE.replace("overrides: {", "# {"), encoding="utf-8")
    found = json.loads(invoke("why", name, "--scenario", "mine", "--json").stdout)
    assert found["value"] == parameter.value and found["sources"][0].startswith(f"[{parameter.source[0]}] ")
    assert next(iter(found["distribution"])) == parameter.uncertainty.kind
    assert found["interval95"] == [list(pair) for pair in parameter.uncertainty.intervals()]
    text = invoke("why", name, "--scenario", "mine").stdout
    for words in (name, str(parameter.place), parameter.grade, "source: [", "distribution: ", "used by:"):
        assert words in text


def test_why_finds_what_the_assembly_computes_from_a_number(folder: Path) -> None:
    def known(name: str) -> dict:
        done = invoke("why", name, "--scenario", "mine", "--json")
        assert done.exit_code == 0, done.stderr
        return json.loads(done.stdout)

    assert any("horizon" in text for text in known("economics.horizon_years")["changes"])
    assert "the baseline patients" in known("frailty.sd_log")["changes"]
    # A price is used by rewards, which are no part of the pathway.
    assert any("cost" in text for text in known("costs.visit")["used_by"])
    assert "scenario mine: willingness to pay" in known("economics.wtp_per_qaly")["used_by"]


def test_why_of_a_threshold_names_the_rows_that_use_it(folder: Path) -> None:
    found = json.loads(invoke("why", "tace.refractory_after_failures", "--scenario", "mine", "--json").stdout)
    assert any(text.startswith("strategy sorafenib: tace_review/row") for text in found["used_by"])


def test_why_of_a_misspelt_name_suggests_the_nearest(folder: Path) -> None:
    done = invoke("why", "tace.p_procedure_deth")
    assert done.exit_code == 2 and "tace.p_procedure_death" in done.stderr
    # The name of a group is answered with its members.
    error = json.loads(invoke("why", "tace", "--json").stderr)["error"]
    assert error["key"] == "tace" and "one of tace." in error["expected"]


def test_schemas_are_written_once(folder: Path) -> None:
    assert invoke("schema", "--out", "schemas").exit_code == 0
    schemas = json_schema() | claim_schemas()
    assert {path.name for path in (folder / "schemas").iterdir()} == {f"{kind}.schema.json" for kind in schemas}
    for kind, content in schemas.items():
        assert json.loads((folder / "schemas" / f"{kind}.schema.json").read_text(encoding="utf-8")) == content
    before = tree_of(folder)
    assert invoke("schema", "--out", "schemas").exit_code == 2
    assert tree_of(folder) == before
    assert invoke("schema", "--out", "schemas", "--overwrite").exit_code == 0


def test_a_new_scenario_can_be_checked_at_once_and_replaces_nothing(folder: Path) -> None:
    done = invoke("new-scenario", "mine-too", "--extends", "mine")
    assert done.exit_code == 0, done.stderr
    assert invoke("check", "mine-too").exit_code == 0
    # Every line that only waits for its # to go away is one that can be read.
    path = folder / "scenarios" / "mine-too.yaml"
    text = path.read_text(encoding="utf-8")
    head, _, tail = text.partition("take away the # to use them.\n")
    path.write_text(head + "\n" + tail.replace("# ", "", 7).replace("#   ", "  "), encoding="utf-8")
    assert invoke("check", "mine-too").exit_code == 0, invoke("check", "mine-too").stderr
    before = tree_of(folder)
    for arguments in (("mine-too",), ("not an id",), ("other", "--extends", "mien")):
        done = invoke("new-scenario", *arguments)
        assert done.exit_code == 2 and done.stderr.startswith("wrong input")
    assert tree_of(folder) == before


def test_long_lines_are_broken_at_spaces_with_further_lines_indented() -> None:
    assert broken_lines("  aaa bbb ccc", 9) == "  aaa bbb\n      ccc"
    assert broken_lines("a" * 30, 9) == "a" * 30
    assert broken_lines("any  width", None) == "any  width"


@pytest.mark.slow
def test_the_installed_wheel_runs_in_an_empty_folder_and_own_numbers_win(tmp_path: Path) -> None:
    build = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    built = subprocess.run([sys.executable, "-c", build, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    wheel = tmp_path / built.stdout.split()[-1]
    site, work = tmp_path / "site", tmp_path / "work"
    zipfile.ZipFile(wheel).extractall(site)
    work.mkdir()
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PYTHONPATH": str(site)}

    def simhcc_(*arguments: str) -> dict:
        command = [sys.executable, "-m", "simhcc.cli", *arguments, "--json", "--quiet"]
        done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    before = simhcc_("run", "resectable", "--patients", "300")
    assert (work / before["results"] / "summary.csv").is_file()
    record = json.loads((work / before["results"] / "run.json").read_text(encoding="utf-8"))
    assert any(name.startswith("simhcc/data/params/") for name in record["files"])
    (work / "params").mkdir()
    (work / "params" / "mine.yaml").write_text(
        "economics:\n  discount_rate_effects: {value: 0.0, unit: per_year, grade: assumed, reason: a test}\n",
        encoding="utf-8",
    )
    after = simhcc_("run", "resectable", "--patients", "300")
    for strategy, outcomes in after["strategies"].items():
        assert outcomes["ly"]["mean"] == pytest.approx(outcomes["ly_undiscounted"]["mean"], rel=1e-9)
        assert outcomes["ly"]["mean"] > before["strategies"][strategy]["ly"]["mean"]
