"""Damaged input files never get further than a clear refusal: no traceback, no hang, nothing written, nothing run."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import fuzz_inputs
import pytest
from cli_project import invoke, tree_of, use
from fuzz_inputs import KINDS, Fuzzer

from simhcc.report import command, figures

pytestmark = pytest.mark.skipif(os.name == "nt", reason="pipes and processor-time limits of Unix")
SEED = 20261123


@pytest.fixture
def fuzzer(tmp_path: Path) -> Iterator[Fuzzer]:
    made = Fuzzer(tmp_path, SEED)
    yield made
    made.close()


def faults_of(fuzzer: Fuzzer, numbers: range) -> Counter[tuple[str, int | None]]:
    counts: Counter[tuple[str, int | None]] = Counter()
    for number in numbers:
        verdict = fuzzer.run(number)
        assert verdict.fault is None, f"case {number} of seed {SEED} ({verdict.kind}):\n{verdict.fault}"
        counts[verdict.kind, verdict.code] += 1
    return counts


def test_some_hundred_damaged_files_are_accepted_or_refused_and_nothing_else(fuzzer: Fuzzer) -> None:
    counts = faults_of(fuzzer, range(500))
    # Every kind came up; and not everything was refused, or little of the program would have been reached.
    assert all(counts[kind, 0] + counts[kind, 2] >= 5 for kind in KINDS)
    assert 30 < sum(number for (_, code), number in counts.items() if code == 0) < 300


@pytest.mark.slow
def test_twenty_thousand_damaged_files_are_accepted_or_refused_and_nothing_else(fuzzer: Fuzzer) -> None:
    faults_of(fuzzer, range(500, 20_500))


def test_a_case_is_always_the_same(fuzzer: Fuzzer) -> None:
    seen = []
    for number in (3, 4, 3):
        fuzzer.damage(number)
        seen.append(tree_of(fuzzer.root))
    assert seen[0] == seen[2] != seen[1]


def leave_a_file(folder: Path) -> None:
    (folder / "x").write_text("x", encoding="utf-8")


def go_round_and_round(folder: Path) -> None:
    while True:
        pass


def call_a_program(folder: Path) -> None:
    os.system("true")


def wait_for_ever(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    os.open(folder / "pipe", os.O_RDONLY)  # opens when somebody writes: nobody does


@pytest.mark.parametrize(
    ("planted", "words"),
    [
        (leave_a_file, "for writing"),
        (call_a_program, "os.system"),
        (go_round_and_round, "TooLong"),
        (wait_for_ever, "TooLong"),
    ],
)
def test_what_a_file_must_never_do_would_be_noticed(
    fuzzer: Fuzzer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted, words: str
) -> None:
    monkeypatch.setattr(fuzz_inputs, "SECONDS", 0.3)
    monkeypatch.setattr(fuzz_inputs, "BLOCKED", 10.0)
    original = command.checked

    def with_fault(*arguments: object) -> object:
        planted(tmp_path)
        return original(*arguments)

    # In the midst of a check, where a file could have made it happen.
    monkeypatch.setattr(command, "checked", with_fault)
    verdict = fuzzer.run(0)
    assert verdict.fault is not None and words in verdict.fault


def test_any_other_exception_would_be_noticed(fuzzer: Fuzzer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "checked", lambda *arguments: {}["x"])
    assert "KeyError" in str(fuzzer.run(0).fault)
    monkeypatch.setattr(command, "checked", lambda *arguments: None)
    assert "AttributeError" in str(fuzzer.run(0).fault)


IDS = ("../../evil", "/tmp/evil", "..", "a/b", "evil\nx", "a" * 300, "", "~", ".hidden", "-rf", "con:1", "一")


@pytest.mark.parametrize("what", ["scenario", "subgroup", "strategy", "column"])
@pytest.mark.parametrize("wrong", IDS)
def test_no_id_takes_a_run_out_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, wrong: str
) -> None:
    monkeypatch.setattr(figures, "draw_figures", lambda folder, tables, record: folder.mkdir())
    root = use(tmp_path, monkeypatch)
    path = root / "scenarios" / "question.yaml"
    old = {
        "scenario": "id: question",
        "subgroup": "id: young",
        "strategy": "- standard_care\n",
        "column": "as: by_burden_len",
    }
    text, word = path.read_text(encoding="utf-8"), old[what]
    assert word in text
    new = word.replace(word.split()[-1], json.dumps(wrong))
    path.write_text(text.replace(word, new, 1), encoding="utf-8")
    before = tree_of(tmp_path)
    done = invoke("run", "question", "--patients", 64, "--iterations", 1, "--out", "results/out", "--quiet")
    assert done.exit_code == 2 and done.stderr.startswith("wrong input"), done.output
    assert tree_of(tmp_path) == before and not (root / "results").exists()
