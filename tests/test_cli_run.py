"""`simhcc run`: what it prints, what it writes, what it refuses, and that nothing is lost."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from cli_project import invoke, tree_of, use
from inputs_project import FOLDER

from simhcc.errors import InputError
from simhcc.report import command, decision_figures, figures

TESTS = Path(__file__).resolve().parent
SMALL = ("--patients", 500, "--iterations", 1)
OUTCOMES = {"ly", "qaly", "ly_undiscounted", "cost", "cost_drugs"} | {
    name for e in ("os", "pfs", "rfs") for name in (*(f"{e}_{m}m" for m in (12, 24, 36, 60)), f"median_{e}_months")
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small project; figures are drawn in their own tests."""
    monkeypatch.setattr(figures, "draw_figures", lambda folder, tables, record: folder.mkdir())
    monkeypatch.setattr(decision_figures, "draw", lambda folder, found, labels, scenario: None)
    return use(tmp_path, monkeypatch)


# -- what it prints and writes


def test_tables_come_on_standard_output_and_progress_on_the_other(project: Path) -> None:
    done = invoke("run", "question", *SMALL, "--out", "out")
    assert done.exit_code == 0, done.stderr
    for words in (
        "Overall survival",
        "OS 5 y",
        "median PFS",
        "QALY, disc.",
        "Difference from standard_care",
        "ICER",
        "±",
    ):
        assert words in done.stdout
    assert "Subgroup young: Under 65" in done.stdout
    assert "shards" in done.stderr and "shards" not in done.stdout
    assert invoke("run", "question", *SMALL, "--out", "quiet", "--quiet").stderr == ""


def test_the_json_object_is_the_promised_one_and_stands_alone(project: Path) -> None:
    done = invoke("run", "question", *SMALL, "--json", "--out", "out")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found) == [
        "scenario", "population", "iterations", "patients", "seed", "strategies", "differences", "comparator", "icer",
        "results", "subgroups", "decision",
    ]  # fmt: skip
    assert (found["scenario"], found["population"], found["comparator"]) == ("question", "people", "standard_care")
    assert (found["iterations"], found["patients"], found["seed"], found["results"]) == (1, 500, 7, "out")
    assert list(found["strategies"]) == ["standard_care", "by_burden_len"]
    assert list(found["differences"]) == ["by_burden_len"]
    for outcomes in (*found["strategies"].values(), *found["differences"].values()):
        assert set(outcomes) == OUTCOMES
        for numbers in outcomes.values():
            assert list(numbers) == ["mean", "mcse", "lower", "upper"]
            # One iteration: no interval over iterations.
            assert numbers["lower"] == numbers["mean"] == numbers["upper"]
            assert numbers["mcse"] >= 0.0
    assert {row["strategy"]: row["status"] for row in found["icer"]} == {"standard_care": "ND", "by_burden_len": "ND"}
    assert found["icer"][1]["icer"] == pytest.approx(
        found["differences"]["by_burden_len"]["cost"]["mean"] / found["differences"]["by_burden_len"]["qaly"]["mean"]
    )
    assert list(found["subgroups"]["young"]) == ["patients", "strategies", "differences", "icer"]


def test_several_iterations_have_an_interval_and_a_table_of_their_own(project: Path) -> None:
    done = invoke("run", "question", "--patients", 200, "--iterations", 8, "--json", "--out", "out")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    table = pd.read_csv(project / "out" / "iterations.csv")
    assert list(table["iteration"]) == sorted([*range(1, 9)] * 2)
    for strategy, outcomes in found["strategies"].items():
        mine = table[table["strategy"] == strategy]
        for name in ("ly", "cost", "os_60m", "median_pfs_months"):
            assert outcomes[name]["mean"] == pytest.approx(mine[name].mean(), rel=1e-12)
            assert outcomes[name]["mcse"] == pytest.approx(mine[name].std() / 8**0.5, rel=1e-9)
            low, high = mine[name].quantile([0.025, 0.975])
            assert (outcomes[name]["lower"], outcomes[name]["upper"]) == pytest.approx((low, high))
    draws = pd.read_csv(project / "out" / "inputs" / "draws.csv")
    assert len(draws) == 8 and draws["recurrence.rate_late_per_month"].nunique() == 8
    # The scenario fixes this one.
    assert "recurrence.hr_perioperative" not in draws


def test_each_size_and_the_seed_change_the_result(project: Path) -> None:
    def cost(*options: object) -> float:
        done = invoke("run", "question", "--json", "--quiet", *options)
        assert done.exit_code == 0, done.stderr
        return json.loads(done.stdout)["strategies"]["standard_care"]["cost"]["mean"]

    base = ("--patients", 300, "--iterations", 2, "--seed", 5)
    assert cost(*base) == cost(*base)
    assert (
        len({cost(*base), cost(*base, "--patients", 301), cost(*base, "--iterations", 3), cost(*base, "--seed", 0)})
        == 4
    )


@pytest.mark.parametrize("iterations", [1, 6])
def test_the_same_seed_gives_the_same_bytes_on_any_number_of_threads(project: Path, iterations: int) -> None:
    size = ("--patients", 300, "--iterations", iterations)
    for name, threads in (("a", 1), ("b", 2)):
        assert invoke("run", "question", *size, "--threads", threads, "--out", name).exit_code == 0
    assert tree_of(project / "a") == tree_of(project / "b")
    assert invoke("run", "question", *size, "--seed", 8, "--out", "c").exit_code == 0
    assert (project / "a" / "summary.csv").read_bytes() != (project / "c" / "summary.csv").read_bytes()


def test_the_record_repeats_the_run(project: Path) -> None:
    assert invoke("run", "question", *SMALL, "--seed", 3, "--out", "a").exit_code == 0
    record = json.loads((project / "a" / "run.json").read_text(encoding="utf-8"))
    program, *arguments = record["command"].split()
    assert program == "simhcc"
    assert invoke(*arguments, "--out", "b").exit_code == 0
    assert tree_of(project / "a") == tree_of(project / "b")
    assert {"simhcc", "fingerprint", "versions", "files", "git_commit"} <= set(record)
    assert "scenarios/question.yaml" in record["files"]


def test_results_have_the_tables_inputs_and_sources(project: Path) -> None:
    assert invoke("run", "question", *SMALL, "--out", "out").exit_code == 0
    assert {*tree_of(project / "out")} >= {
        "summary.csv", "differences.csv", "icer.csv", "survival.csv", "occupancy.csv", "events.csv", "subgroups.csv", "run.json",
        "README.txt", "inputs/parameters.csv", "inputs/parameters.json", "inputs/scenario.json", "inputs/strategies.json",
        "inputs/sources.csv",
    }  # fmt: skip
    numbers = pd.read_csv(project / "out" / "inputs" / "parameters.csv").set_index("name")
    override = numbers.loc["recurrence.hr_perioperative"]
    assert (float(override["value"]), override["grade"]) == (0.7, "assumed")
    assert override["file"] == "scenarios/question.yaml" and override["replaces"] == "params/numbers.yaml:3"
    assert bool(numbers.loc["recurrence.rate_late_per_month", "recalled"])
    occupancy = pd.read_csv(project / "out" / "occupancy.csv")
    at_entry = occupancy[(occupancy["months"] == 0) & (occupancy["subgroup"] == "all")]
    assert at_entry.groupby("strategy")["share"].sum().tolist() == [1.0, 1.0]
    survival = pd.read_csv(project / "out" / "survival.csv")
    summary = pd.read_csv(project / "out" / "summary.csv")
    keys = ["subgroup", "strategy"]
    curve = survival[(survival["endpoint"] == "os") & (survival["months"] == 60)].set_index(keys)["free"]
    landmark = summary[summary["outcome"] == "os_60m"].set_index(keys)["mean"]
    assert curve.to_dict() == pytest.approx(landmark.to_dict(), abs=1e-7)


def test_precision_adds_patients_until_it_is_reached(project: Path) -> None:
    done = invoke("run", "question", "--iterations", 1, "--precision", 0.01, "--json", "--out", "out")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["patients"] > 1000
    assert all(outcomes["os_60m"]["mcse"] <= 0.01 for outcomes in found["strategies"].values())
    named = invoke("run", "question", "--iterations", 1, "--precision", 0.05, "--precision-of", "qaly", "--json")
    assert all(o["qaly"]["mcse"] <= 0.05 for o in json.loads(named.stdout)["strategies"].values())
    # The result is that of a run with so many patients.
    again = invoke("run", "question", "--iterations", 1, "--patients", found["patients"], "--json", "--out", "again")
    assert json.loads(again.stdout)["strategies"] == found["strategies"]


def test_a_users_own_number_wins_over_the_packaged_one(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    monkeypatch.chdir(mine)
    before = json.loads(invoke("run", "question", *SMALL, "--json").stdout)
    (mine / "params").mkdir()
    (mine / "params" / "own.yaml").write_text(
        "recurrence:\n  rate_late_per_month: {value: 0.08, unit: per_month, grade: assumed, reason: a test}\n",
        encoding="utf-8",
    )
    done = invoke("run", "question", *SMALL, "--json", "--out", "out")
    after = json.loads(done.stdout)
    assert (
        after["strategies"]["standard_care"]["ly"]["mean"] < 0.8 * before["strategies"]["standard_care"]["ly"]["mean"]
    )
    numbers = pd.read_csv(mine / "out" / "inputs" / "parameters.csv").set_index("name")
    assert numbers.loc["recurrence.rate_late_per_month", "file"] == "params/own.yaml"


def test_strategies_with_a_drug_without_price_have_no_costs(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "unpriced_drugs", lambda parameters: {"visit": ()})
    done = invoke("run", "question", *SMALL, "--json", "--out", "out")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    for outcomes in (*found["strategies"].values(), *found["differences"].values()):
        for outcome in ("cost", "cost_drugs"):
            assert outcomes[outcome] == dict.fromkeys(("mean", "mcse", "lower", "upper"))
        assert outcomes["qaly"]["mean"] is not None
    assert [(row["strategy"], row["status"], row["icer"]) for row in found["icer"]] == [
        ("standard_care", "unpriced", None),
        ("by_burden_len", "unpriced", None),
    ]
    assert found["icer"][0]["note"] == "no price: visit"


# -- what it refuses


WRONG_FILES = (
    "params/limits_swapped", "params/duplicate_key", "params/unknown_unit", "params/tab", "params/share_above_1",
    "params/unknown_source", "strategies/strategy_falls_through", "strategies/strategy_circle",
    "strategies/strategy_undeclared_option", "scenarios/scenario_no_seed", "scenarios/scenario_unknown_population",
    "scenarios/scenario_wtp", "scenarios/scenario_override_key",
)  # fmt: skip
PLACES = {
    "params": "params/wrong.yaml",
    "strategies": "scenarios/strategies/wrong.yaml",
    "scenarios": "scenarios/wrong.yaml",
}


@pytest.mark.parametrize("name", WRONG_FILES)
@pytest.mark.parametrize("as_json", [False, True], ids=["words", "json"])
def test_a_wrong_file_ends_with_code_2_its_words_and_nothing_written(project: Path, name: str, as_json: bool) -> None:
    kind = name.partition("/")[0]
    source = FOLDER / f"{name}.yaml"
    shutil.copyfile(source, project / PLACES[kind])
    if kind == "strategies":
        text = (project / "scenarios" / "question.yaml").read_text(encoding="utf-8")
        (project / "scenarios" / "question.yaml").write_text(
            text.replace("  - standard_care\n", "  - standard_care\n  - wrong\n")
        )
    before = tree_of(project)
    done = invoke("run", "wrong" if kind == "scenarios" else "question", *SMALL, *(["--json"] if as_json else []))
    assert done.exit_code == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    first = source.read_bytes().split(b"\n", 1)[0].decode().removeprefix("# expect: ")
    shown = done.stderr
    if as_json:
        error = json.loads(done.stderr)["error"]
        assert list(error) == ["file", "line", "key", "found", "expected"]
        assert error["file"] == PLACES[kind] and error["line"] >= 1
        shown = str(InputError(**error))
    for words in first.split("|"):
        assert words.strip() in shown
    assert tree_of(project) == before


WRONG_OPTIONS = {
    "a scenario that is not there": (("questoin",), "did you mean question?"),
    "no patients": (("question", "--patients", 0), "--patients"),
    "no iterations": (("question", "--iterations", 0), "--iterations"),
    "a negative seed": (("question", "--seed", -1), "--seed"),
    "no threads": (("question", "--threads", 0), "--threads"),
    "a precision of zero": (("question", "--iterations", 1, "--precision", 0), "--precision"),
    "a precision over iterations": (("question", "--precision", 0.01), "--iterations 1"),
    "a precision beside patients": (("question", "--iterations", 1, "--precision", 0.1, "--patients", 9), "--patients"),
    "a precision out of reach": (("question", "--iterations", 1, "--precision", 1e-9), "patients are needed"),
    "the precision of nothing": (("question", "--precision-of", "ly"), "--precision"),
    "an unknown outcome": (("question", "--iterations", 1, "--precision", 0.1, "--precision-of", "os_61m"), "os_60m"),
    "resume without a folder": (("question", "--resume"), "--out"),
    "resume and overwrite": (("question", "--resume", "--overwrite", "--out", "x"), "one of them"),
    "words for a number": (("question", "--patients", "many"), "--patients"),
    "threads on a cluster": (("question", *SMALL, "--threads", 2, "--dask", "tcp://127.0.0.1:9"), "cluster"),
    "an unknown option": (("question", "--patient", 3), "--patient"),
}


@pytest.mark.parametrize("case", WRONG_OPTIONS)
def test_a_wrong_option_ends_with_code_2_and_nothing_written(project: Path, case: str) -> None:
    arguments, words = WRONG_OPTIONS[case]
    before = tree_of(project)
    done = invoke("run", *arguments)
    assert done.exit_code == 2, done.output
    assert words in done.stderr and done.stdout == "" and "Traceback" not in done.stderr
    assert tree_of(project) == before


def test_results_are_not_replaced_unless_asked(project: Path) -> None:
    assert invoke("run", "question", *SMALL, "--out", "out").exit_code == 0
    before = tree_of(project / "out")
    again = invoke("run", "question", *SMALL, "--seed", 9, "--out", "out")
    # Before anything is simulated.
    assert again.exit_code == 2 and "--overwrite" in again.stderr and "shards" not in again.stderr
    assert tree_of(project / "out") == before
    assert invoke("run", "question", *SMALL, "--seed", 9, "--out", "out", "--overwrite").exit_code == 0
    assert tree_of(project / "out")["summary.csv"] != before["summary.csv"]


def test_a_folder_of_something_else_is_never_replaced(project: Path) -> None:
    (project / "out").mkdir()
    (project / "out" / "thesis.txt").write_text("years of work", encoding="utf-8")
    done = invoke("run", "question", *SMALL, "--out", "out", "--overwrite")
    assert done.exit_code == 2 and "something else" in done.stderr
    assert tree_of(project / "out") == {"thesis.txt": b"years of work"}


def test_a_failure_while_writing_leaves_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path, tables: object, record: object) -> None:
        raise InputError("a full moon", "another night")

    monkeypatch.setattr(figures, "draw_figures", fail)
    done = invoke("run", "question", *SMALL, "--out", "results/out")
    assert done.exit_code == 2 and "a full moon" in done.stderr
    assert [name for name in tree_of(project) if name.startswith("results/")] == []
    assert not (project / "results").exists()


def test_a_subgroup_of_nobody_is_named(project: Path) -> None:
    path = project / "scenarios" / "question.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("age: {lt: 65}", "age: {lt: 5}"), encoding="utf-8")
    done = invoke("run", "question", *SMALL)
    assert done.exit_code == 2 and "young" in done.stderr and "scenarios/question.yaml:" in done.stderr
    path.write_text(path.read_text(encoding="utf-8").replace("age: {lt: 5}", "aeg: {lt: 5}"), encoding="utf-8")
    done = invoke("run", "question", *SMALL)
    assert done.exit_code == 2 and "'aeg'" in done.stderr and "age" in done.stderr


# -- interrupted runs


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import pytest, cli_project
from pathlib import Path
from simhcc.inputs import locate, parameters
from simhcc.report import command, decision_figures, figures
from simhcc.runner.store import ShardFolder
root = Path({root!r})
for module in (locate, parameters):
    module.packaged_folder = lambda tree: root / tree
os.chdir(root)
command.assembled = cli_project.assembled
write, written = ShardFolder.write, [0]
def write_and_die(self, batch):
    write(self, batch)
    written[0] += len(batch)
    if written[0] >= 2:
        os.kill(os.getpid(), signal.SIGKILL)
ShardFolder.write = write_and_die
cli_project.invoke("run", "question", "--patients", 400, "--iterations", 12, "--out", "killed", "--threads", 1)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal on this system")
def test_a_killed_run_goes_on_where_it_was_and_ends_the_same(project: Path) -> None:
    script = KILLED.format(tests=str(TESTS), root=str(project))
    environment = os.environ | {"PYTHONPATH": str(TESTS.parent), "PYTHONHASHSEED": "4"}
    died = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=300)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert not (project / "killed").exists()
    kept = list((project / ".killed.work").rglob("*.shard"))
    assert len(kept) >= 2
    when = {path: path.stat().st_mtime_ns for path in kept}
    size = ("--patients", 400, "--iterations", 12)
    refused = invoke("run", "question", *size, "--out", "killed")
    assert refused.exit_code == 2 and "--resume" in refused.stderr
    other = invoke("run", "question", *size, "--seed", 9, "--out", "killed", "--resume")
    assert other.exit_code == 2 and "seed" in other.stderr
    assert {path: path.stat().st_mtime_ns for path in kept} == when
    done = invoke("run", "question", *size, "--out", "killed", "--resume")
    assert done.exit_code == 0, done.stderr
    assert "finished earlier" in done.stderr
    assert not (project / ".killed.work").exists()
    assert invoke("run", "question", *size, "--out", "whole").exit_code == 0
    assert tree_of(project / "killed") == tree_of(project / "whole")


def test_resuming_what_is_complete_shows_it_again(project: Path) -> None:
    first = invoke("run", "question", *SMALL, "--out", "out", "--json")
    before = tree_of(project / "out")
    again = invoke("run", "question", *SMALL, "--out", "out", "--resume", "--json")
    assert again.exit_code == 0, again.stderr
    assert again.stdout == first.stdout and tree_of(project / "out") == before
    other = invoke("run", "question", *SMALL, "--seed", 1, "--out", "out", "--resume")
    assert other.exit_code == 2 and "seed" in other.stderr


def test_an_input_error_survives_a_journey_to_another_process() -> None:
    error = InputError(found="x", expected="y", key="k", file="f.yaml", line=3)
    error.add_note("in shard 4")
    back = pickle.loads(pickle.dumps(error))
    assert back == error and str(back) == str(error) and back.__notes__ == ["in shard 4"]
    assert back.line == 3 and back.key == "k"
