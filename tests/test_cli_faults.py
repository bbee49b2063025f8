"""What a user's `simhcc run` survives: kills, damage, full and read-only disks, two at once; as real processes."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_project import invoke, tree_of, use
from test_runner_store import namespaces_are_permitted

from simhcc import analysis
from simhcc.report import figures

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal on this system")
TESTS = Path(__file__).resolve().parent
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
PSA = ("run", "question", "--patients", "400", "--iterations", "24")
REAL_SHARDS = 25
"""of the real run below, all of its groups together"""
SHARDS = 12
"""of PSA, in the whole population; its subgroup has as many again or fewer"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small project as `cli_child` has it."""
    monkeypatch.setattr(figures, "draw_figures", lambda folder, tables, record: folder.mkdir())
    monkeypatch.setattr(analysis, "SHARD_PATIENT_STRATEGIES", 4096)
    root = use(tmp_path, monkeypatch)
    monkeypatch.chdir(root)
    return root


def child(root: Path, *arguments: str, stop: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    words = [sys.executable, str(TESTS / "cli_child.py"), str(root), *stop, "--", *arguments]
    return subprocess.Popen(words, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def shards_in(root: Path) -> list[Path]:
    return sorted((root / ".out.work").rglob("*.shard"))


def whole(project: Path) -> dict[str, bytes]:
    assert invoke(*PSA, "--out", "whole").exit_code == 0
    return tree_of(project / "whole")


def test_damaged_and_missing_shards_are_named_and_computed_again(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = whole(project)
    died = child(project, *PSA, "--out", "out", stop=("--die-at", "7"))
    died.communicate()
    assert died.returncode == -signal.SIGKILL and not (project / "out").exists()
    kept = shards_in(project)
    assert len(kept) == 7
    truncated, flipped, missing = kept[0], kept[2], kept[4]
    truncated.write_bytes(truncated.read_bytes()[:-100])
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 1
    flipped.write_bytes(content)
    missing.unlink()
    others = {path: path.stat().st_mtime_ns for path in kept if path not in (truncated, flipped, missing)}
    seen = {}

    def look(folder: Path, tables: object, record: object) -> None:
        seen.update({path: path.stat().st_mtime_ns for path in others})
        folder.mkdir()

    monkeypatch.setattr(figures, "draw_figures", look)
    done = invoke(*PSA, "--out", "out", "--resume")
    assert done.exit_code == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if "is damaged and computed again" in line] == [
        "question: shard 0 of the earlier run is damaged and computed again: its checksum is wrong: truncated or changed",
        "question: shard 2 of the earlier run is damaged and computed again: its checksum is wrong: truncated or changed",
    ]
    assert f"question: {SHARDS} shards, 4 finished earlier" in done.stderr
    assert seen == others
    assert tree_of(project / "out") == expected
    assert sorted(path.name for path in project.iterdir() if path.name.startswith(".")) == []


def test_a_second_run_in_one_folder_is_refused_and_leaves_the_first_alone(project: Path) -> None:
    expected = whole(project)
    first = child(project, *PSA, "--out", "out", stop=("--hold-at", "3"))
    try:
        while len(shards_in(project)) < 3:
            assert first.poll() is None, first.communicate()
            time.sleep(0.01)
        before = {path: path.read_bytes() for path in shards_in(project)}
        base_case = ("run", "question", "--patients", "400", "--iterations", "1")
        for arguments in ((*PSA,), (*PSA, "--resume"), (*PSA, "--overwrite"), base_case, (*base_case, "--overwrite")):
            second = invoke(*arguments, "--out", "out")
            assert second.exit_code == 2
            assert f"process {first.pid} on {socket.gethostname()} is writing into it" in second.stderr
        assert {path: path.read_bytes() for path in shards_in(project)} == before
    finally:
        first.kill()
        first.communicate()
    assert "3 finished earlier" in invoke(*PSA, "--out", "out", "--resume").stderr
    assert tree_of(project / "out") == expected


def test_runs_that_start_together_without_a_folder_have_one_each(project: Path) -> None:
    base_case = ("run", "question", "--patients", "400", "--iterations", "1", "--json", "--quiet")
    together = [child(project, *base_case) for _ in range(2)]
    outputs = [process.communicate() for process in together]
    assert [process.returncode for process in together] == [0, 0], outputs
    folders = {json.loads(stdout)["results"] for stdout, _ in outputs}
    assert len(folders) == 2
    assert {path.name for path in (project / "results").iterdir()} == {Path(name).name for name in folders}


def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(project: Path) -> None:
    expected = whole(project)
    run = child(project, *PSA, "--seed", "7", "--out", "out", stop=("--interrupt-at", "3"))
    printed, words = run.communicate()
    assert run.returncode == 1 and printed == "" and "Traceback" not in words
    command = "simhcc run question --patients 400 --iterations 24 --seed 7 --out out --resume"
    assert f"what is finished is kept; to go on: {command}" in words and words.endswith("interrupted\n")
    assert 3 <= len(shards_in(project)) < SHARDS and not (project / "out").exists()
    done = invoke(*command.split()[1:])
    assert done.exit_code == 0 and "finished earlier" in done.stderr
    assert tree_of(project / "out") == expected


DISKS = """
import shutil, subprocess, sys
from pathlib import Path
import cli_child, cli_project

root, disk = sys.argv[1:]
cli_child.use_small_project(Path(root))
def mount(options):
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], check=True)

def run(*arguments, out="out"):
    done = cli_project.invoke(*arguments, "--out", f"{disk}/{out}")
    print(done.exit_code, " ".join(done.stderr.split())[-400:], done.exception if done.exit_code not in (0, 1, 2) else "")

def tree(name):
    return {p.relative_to(disk): p.read_bytes() for p in sorted(Path(disk, name).rglob("*")) if p.is_file()}

PSA = ("run", "question", "--patients", "400", "--iterations", "24", "--quiet")
BASE = ("run", "question", "--patients", "400", "--iterations", "1", "--quiet")
mount("size=64m")
run(*BASE, out="earlier")
earlier = tree("earlier")
used = shutil.disk_usage(disk).used
mount(f"remount,size={used + 200_000}")
run(*PSA)
print(len(list(Path(disk, ".out.work").rglob("*.shard"))), tree("earlier") == earlier)
run(*BASE, "--seed", "9", "--overwrite", out="earlier")
print(tree("earlier") == earlier, sorted(p.name for p in Path(disk).iterdir()))
mount("remount,ro")
run(*PSA, "--resume")
run(*BASE, "--seed", "9", "--overwrite", out="earlier")
print(tree("earlier") == earlier)
mount("remount,rw,size=64m")
run(*PSA, "--resume")
run(*PSA, out="whole")
strip = lambda name: {str(k).partition("/")[2]: v for k, v in tree(name).items()}
print(strip("out") == strip("whole"), sorted(p.name for p in Path(disk).iterdir()))
"""


@pytest.mark.skipif(not namespaces_are_permitted(), reason="needs a mount of its own (Linux user namespaces)")
def test_a_full_and_a_read_only_disk_are_said_clearly_and_leave_earlier_results(project: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    words = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-c", DISKS]
    words += [str(project), str(disk)]
    done = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    earlier, full, kept, full_again, left, read_only, refused, intact, resumed, again, end = done.stdout.splitlines()
    assert earlier.split()[0] == "0"
    assert full.startswith("1 ") and "the disk is full (no space left on device)" in full and "--resume" in full
    assert 0 < int(kept.split()[0]) < 2 * SHARDS and kept.endswith("True")
    assert full_again.startswith("1 ") and "the disk is full" in full_again
    assert left == "True ['.out.work', 'earlier']"
    for line in (read_only, refused):
        assert line.startswith("2 ") and "read-only file system" in line
    assert intact == "True"
    assert resumed.split()[0] == "0" and again.split()[0] == "0"
    assert end == "True ['earlier', 'out', 'whole']"
    assert "Traceback" not in done.stdout


@pytest.mark.slow
def test_a_real_psa_killed_at_ten_random_moments_and_resumed_gives_the_same_bytes(tmp_path: Path) -> None:
    """The disease model itself, killed at any moment between its first breath and its last table."""
    words = [sys.executable, "-m", "simhcc", "run", "advanced", "--patients", "2000", "--iterations", "60", "--quiet"]

    def start(name: str, *more: str) -> subprocess.Popen[bytes]:
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen([*words, "--out", name, *more], cwd=tmp_path, env=ENVIRONMENT, **silent)

    assert start("whole").wait() == 0
    expected = tree_of(tmp_path / "whole")
    moments, kills = random.Random(20261123), []
    for trial in range(10):
        name = f"trial{trial}"
        process = start(name, "--resume")
        # A moment between its first shard and its last table; what comes after the last shard takes seconds.
        after, delay = moments.randrange(REAL_SHARDS + 1), moments.uniform(0.0, 0.3)
        while process.poll() is None and len(list((tmp_path / f".{name}.work").rglob("*.shard"))) < after:
            time.sleep(0.005)
        time.sleep(delay if after else 20 * delay)
        process.kill()
        killed = process.wait() == -signal.SIGKILL
        kills.append((killed, len(list((tmp_path / f".{name}.work").rglob("*.shard")))))
        assert start(name, "--resume").wait() == 0
        assert tree_of(tmp_path / name) == expected, f"trial {trial}"
        shutil.rmtree(tmp_path / name)
    print(f"{sum(killed for killed, _ in kills)} of 10 cut short; shards kept: {[n for _, n in kills]}")
    assert sum(killed for killed, _ in kills) == 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["whole"]
