"""How it feels to work with: examples that run, the nearest name for a wrong one, completion, JSON, quiet, widths."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from cli_project import invoke, tree_of, use
from typer.testing import CliRunner

from simhcc import cli
from simhcc.inputs import load_parameters
from simhcc.report import figures
from simhcc.report.plain import shortened
from simhcc.report.terminal import broken_lines

GROUP: Any = typer.main.get_command(cli.app)
COMMANDS: dict[str, Any] = {name: GROUP.get_command(None, name) for name in GROUP.list_commands(None)}
CHEAP = ("check", "why", "schema", "new-scenario")
SMALL = {"--patients": 64, "--replicates": 2, "--iterations": 2}
"""sizes with which the examples of the others are run; the last one on a command line counts"""
LEAST = {
    "validate": {"--draws": 20, "--replicates": 20},
    "reference": {"--iterations": 100},
    "trial": {"--patients": 1024},
    "design": {"--patients": 1024},
    "forecast": {"--iterations": 40},
    "sensitivity": {"--patients": 4096},
    "verify": {"--patients": 256},
}
"""sizes of the commands that refuse smaller ones"""
WITHOUT_ITERATIONS = ("optimise",)
STARTS_FROM = {
    "results/advanced-psa": ("run", "advanced", "--patients", "64", "--iterations", "100"),
    "results/trials-try": ("trial", "imbrave150", "leap-012", "--replicates", "2"),
}
"""results that examples start from, and what makes them in small"""
TESTS = Path(__file__).resolve().parent


def example(name: str) -> list[str]:
    """The words after `simhcc` of a command's example."""
    _, found, words = COMMANDS[name].epilog.partition("Example: simhcc ")
    assert found, f"{name} has no example"
    return shlex.split(words)


def options_of(name: str) -> set[str]:
    return {word for parameter in COMMANDS[name].params for word in parameter.opts}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with the packaged scenarios."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# -- help and examples


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_json_and_an_example_on_one_line_that_it_can_read(name: str) -> None:
    words = example(name)
    assert words[0] == name and "--json" in options_of(name)
    assert f"  Example: simhcc {shlex.join(words)}\n" in invoke(name, "--help").stdout
    # Names and values of all options are read as they would be, without running anything.
    COMMANDS[name].make_context(f"simhcc {name}", words[1:])


def test_commands_that_show_progress_can_be_told_to_be_quiet() -> None:
    assert all(("--quiet" in options_of(name)) == ("--threads" in options_of(name)) for name in COMMANDS)


@pytest.mark.parametrize("name", CHEAP)
def test_the_example_of_a_cheap_command_runs(name: str, folder: Path) -> None:
    done = invoke(*example(name))
    assert done.exit_code == 0, done.stderr
    assert done.stdout


def run_whole(words: Sequence[str], folder: Path) -> None:
    """Run a command line in a process of its own; only a check of the model may end with 1."""
    environment = os.environ | {"PYTHONPATH": str(TESTS.parent)}
    command = [sys.executable, "-m", "simhcc", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode in ((0, 1) if words[0] in ("verify", "claims") else (0,)), (words, done.stderr)
    assert done.stdout and "Traceback" not in done.stderr, (words, done.stderr)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A results folder that an example starts from, made once."""
    root = tmp_path_factory.mktemp("started")

    def made(result: str) -> Path:
        if not (root / result).exists():
            run_whole([*STARTS_FROM[result], "--quiet", "--out", result], root)
        return root / result

    return made


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_every_example_runs_in_small(name: str, started: Callable[[str], Path], tmp_path: Path) -> None:
    """In an empty folder, with the results it starts from."""
    words = example(name)
    own = words[words.index("--out") + 1] if "--out" in words else None
    for result in (word for word in words[1:] if word.startswith("results/") and word != own):
        shutil.copytree(started(result), tmp_path / result)
    sizes = {
        option: size
        for option, size in (SMALL | LEAST.get(name, {})).items()
        if option in options_of(name) and not (name == "run" and option == "--iterations")
    }
    run_whole([*words, *(str(word) for pair in sizes.items() for word in pair)], tmp_path)


# -- what is misspelt


MISSPELT = {
    "a command": (("chekc", "advanced"), "chekc", "check"),
    "an option": (("run", "advanced", "--pateints", "9"), "--pateints", "--patients"),
    "an option of all": (("--verson",), "--verson", "--version"),
    "a scenario": (("run", "advnaced"), "advnaced", "advanced"),
    "a strategy": (("check", "advanced", "--strategy", "stirde"), "stirde", "stride"),
    "a parameter": (("why", "tace.p_procedure_deth"), "tace.p_procedure_deth", "tace.p_procedure_death"),
    "a country": (("check", "--country", "united_sates"), "united_sates", "united_states"),
    "a trial": (("trial", "imbrav150"), "imbrav150", "imbrave150"),
    "a claim": (("claims", "five-yaer-30"), "five-yaer-30", "five-year-30"),
    "a parent": (("new-scenario", "mine", "--extends", "advnced"), "advnced", "advanced"),
}


@pytest.mark.parametrize("case", MISSPELT)
@pytest.mark.parametrize("as_json", [False, True], ids=["words", "json"])
def test_a_misspelt_word_is_answered_with_the_nearest_one(case: str, as_json: bool, folder: Path) -> None:
    words, wrong, right = MISSPELT[case]
    done = invoke(*words, *(["--json"] if as_json else []))
    assert done.exit_code == 2 and done.stdout == "" and tree_of(folder) == {}
    shown = done.stderr
    if as_json:
        error = json.loads(done.stderr)["error"]
        assert list(error) == ["file", "line", "key", "found", "expected"]
        shown = f"{error['key']} {error['found']} {error['expected']}"
    assert wrong in shown
    suggested = [f"{right} (the nearest name)", f"did you mean {right}", f"for example {right}"]
    assert any(words in shown for words in suggested), shown


@pytest.mark.parametrize(
    ("words", "key", "found"),
    [
        (("run", "--json"), "SCENARIO", "nothing"),
        (("run", "advanced", "--patients", "many", "--json"), "--patients", "'many'"),
        (("run", "advanced", "--patients=2e4", "--json"), "--patients", "'2e4'"),
        (("check", "advanced", "more", "--json"), None, "more"),
        (("run", "advanced", "--json", "--out"), "--out", "argument"),
    ],
)
def test_any_other_wrong_command_line_is_json_too(words: tuple[str, ...], key: str | None, found: str) -> None:
    done = invoke(*words)
    assert done.exit_code == 2 and done.stdout == ""
    error = json.loads(done.stderr)["error"]
    assert error["key"] == key and found in error["found"]


def test_no_command_at_all_prints_the_help() -> None:
    done = invoke()
    assert done.exit_code == 2 and all(name in done.output for name in COMMANDS)


# -- completion


def completed(*words: str) -> list[str]:
    """What the shell is told about the last of the words."""
    asked = {
        "_SIMHCC_COMPLETE": "complete_bash",
        "COMP_WORDS": "simhcc " + " ".join(words),
        "COMP_CWORD": str(len(words)),
    }
    done = CliRunner().invoke(cli.app, [], env=asked, prog_name="simhcc")
    assert "Traceback" not in done.output
    return done.stdout.split()


def test_names_are_completed(folder: Path) -> None:
    assert completed("repr") == ["reprice"]
    assert completed("run", "adv")[0] == "advanced"
    (folder / "scenarios").mkdir()
    (folder / "scenarios" / "adventure.yaml").write_text("extends: advanced\n", encoding="utf-8")
    assert {"advanced", "adventure"} <= set(completed("run", "adv"))
    assert completed("run", "advanced", "--prec") == ["--precision", "--precision-of"]
    assert completed("why", "tace.p_procedure_d") == ["tace.p_procedure_death"]
    assert completed("why", "") == list(load_parameters())
    assert "standard_care" in completed("check", "--strategy", "st")
    assert completed("check", "advanced", "--strategy", "st") == ["stride"]
    assert completed("check", "--country", "u") == ["united_states"]
    assert completed("trial", "imbrave150", "imbrave1") == ["imbrave150", "imbrave152"]
    assert completed("claims", "five-year-3") == ["five-year-30"]
    # What is wrong gives nothing rather than an error in the middle of somebody's typing.
    (folder / "params").mkdir()
    (folder / "params" / "broken.yaml").write_text("a: [", encoding="utf-8")
    for words in (("why", "ta"), ("chekc", "ad"), ("check", "adventure", "--strategy", "st")):
        assert completed(*words) == []


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_with_the_script_that_simhcc_shows(tmp_path: Path) -> None:
    program = tmp_path / "simhcc"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m simhcc "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    words = [
        "COMP_WORDS=(simhcc run adv)",
        "COMP_CWORD=2",
        "_simhcc_completion simhcc",
        'echo "${COMPREPLY[@]}"',
    ]  # as bash does it
    lines = ['eval "$(simhcc --show-completion)"', *words]
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(TESTS.parent)}
    done = subprocess.run(["bash", "-c", "\n".join(lines)], env=environment, capture_output=True, text=True)
    assert done.stdout.split()[:1] == ["advanced"], done.stderr


# -- widths, quiet


@pytest.mark.parametrize("columns", [60, 80, 132])
def test_tables_fit_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setattr(figures, "draw_figures", lambda folder, tables, record: folder.mkdir())
    use(tmp_path, monkeypatch)
    monkeypatch.setattr(cli, "_width", lambda: columns)
    done = invoke("run", "question", "--patients", 300, "--iterations", 1, "--out", "out", "--quiet")
    assert done.exit_code == 0 and done.stderr == ""
    assert max(len(line) for line in done.stdout.splitlines()) <= columns
    assert "QALY" in done.stdout


def test_the_list_of_claims_fits_the_terminal_and_loses_no_word(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    piped = invoke("claims", "--list").stdout
    assert max(len(line) for line in piped.splitlines()) > 110  # one claim a line, for other programs
    monkeypatch.setattr(cli, "_fitting", lambda text: broken_lines(text, 60))
    shown = invoke("claims", "--list").stdout
    assert max(len(line) for line in shown.splitlines()) <= 60
    assert shown.split() == piped.split()


def test_long_names_are_shortened_and_still_told_apart() -> None:
    assert shortened(["a_name", "x" * 60], 20) == ["a_name", "xxxxxxxx...xxxxxxxxx"]
    twins = ["treatments.atezo_bev.atezolizumab.relative_dose", "treatments.atezo_bev.bevacizumab.relative_dose"]
    found = shortened([*twins, "utility.base"], 30)
    assert found == ["..." + twins[0][-27:], "..." + twins[1][-27:], "utility.base"]
    # Where neither end tells them apart, nothing is left out.
    alike = [f"{'a' * 30}{middle}{'b' * 30}" for middle in "xy"]
    assert shortened(alike, 20) == alike
    # The same name twice is the same name.
    assert shortened([alike[0], alike[0]], 20) == ["a" * 8 + "..." + "b" * 9] * 2


def test_check_prints_prose_that_can_be_read_and_numbers_one_a_line(folder: Path) -> None:
    lines = invoke("check", "advanced").stdout.splitlines()
    numbers = [line for line in lines if line.startswith("  tace.p_procedure_death ")]
    assert len(numbers) == 1 and numbers[0].endswith("lencioni-2016")
    start = next(k for k, line in enumerate(lines) if line == "Hepatocellular carcinoma")
    assert max(len(line) for line in lines[:start]) > 110 >= max(len(line) for line in lines[start:])


def test_a_wide_table_is_folded_between_the_same_columns_in_every_row() -> None:
    rows = [
        "name            first number    second number    a word",
        "a                        1.0              2.0    in",
        "a longer name           10.0            -20.5    outside it",
    ]
    text = "\n".join(["A sentence that is longer than thirty columns.", "", *rows, "Done."])
    assert broken_lines(text, 80) == text and broken_lines(text, None) == text
    assert broken_lines(text, 34).split("\n") == [
        "A sentence that is longer than",
        "    thirty columns.",
        "",
        "name           first number",
        "    second number  a word",
        "a                       1.0",
        "              2.0  in",
        "a longer name          10.0",
        "            -20.5  outside it",
        "Done.",
    ]
