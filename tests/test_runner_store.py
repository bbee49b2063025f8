"""Nothing is lost: what a results folder promises under kill -9, damage, a full disk and two users at once."""

import errno
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import test_runner_jobs as jobs

import simhcc
from simhcc.errors import InputError, SimulationError
from simhcc.runner import publish, run, stored_results, workplace
from simhcc.runner import store as store_module

HERE = Path(__file__).resolve().parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(Path(simhcc.__file__).parent.parent)])}


def files(folder):
    """Every file by its path, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def child(*arguments, held=False, **options):
    """The shared analysis in a process of its own; one that is held never computes its last two shards."""
    command = [sys.executable, str(HERE / "test_runner_jobs.py"), *map(str, arguments)]
    hold = {"HOLD_FROM_DRAW": str(2 * jobs.SHARDS - 4)} if held else {}
    return subprocess.Popen(command, env={**ENVIRONMENT, **hold}, **options)


def reference(tmp_path, seconds):
    folder = tmp_path / "reference"
    jobs.analysis(folder, seconds)
    return files(folder)


# ------------------------------------------------------------------------------------------------------------ kill


def test_a_run_killed_at_ten_random_moments_and_resumed_gives_the_same_bytes(tmp_path):
    seconds, moments = 0.01, random.Random(20251201)
    expected = reference(tmp_path, seconds)
    cut_short = 0
    for trial in range(10):
        folder = tmp_path / str(trial)
        after, delay = moments.randrange(jobs.SHARDS - 8), moments.random() * 0.02
        process = child(folder, seconds, held=True)
        while process.poll() is None and len(list(folder.glob("shards/*.shard"))) < after:
            time.sleep(0.001)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        cut_short += process.wait() == -signal.SIGKILL
        jobs.analysis(folder, seconds)
        assert files(folder) == expected, f"trial {trial}"
    assert cut_short == 10


def test_a_run_killed_within_a_change_of_the_disk_gives_the_same_bytes(tmp_path):
    expected = reference(tmp_path, 0.0)
    # Half-written files, unflushed files, files not yet renamed. The manifest takes the first calls, a batch of shards
    # three a shard and one for the folder, the tables the last.
    moments = [1, 3, 5, 6, *random.Random(7).sample(range(7, 100), 6)]
    for call in moments:
        folder = tmp_path / str(call)
        process = child(folder, 0.0, call)
        assert process.wait() == -signal.SIGKILL, call
        jobs.analysis(folder, 0.0)
        assert files(folder) == expected, f"killed at call {call}"


def test_tables_killed_while_they_are_published_are_there_complete_or_not_at_all(tmp_path):
    jobs.analysis(tmp_path / "reference", 0.0)
    expected = files(tmp_path / "reference")
    ways = set()
    for call in range(1, 8):  # with all shards there, only the tables change the disk
        folder = tmp_path / str(call)
        shutil.copytree(tmp_path / "reference", folder)
        status = child(folder, 0.0, call).wait()
        ways.add(status)
        now = {name: data for name, data in files(folder).items() if Path(name).suffix not in (".lock", ".json")}
        tables = [name for name in expected if name.startswith("tables")]
        aside = all(now.get(f".tables.old{name.removeprefix('tables')}") == expected[name] for name in tables)
        seen = [now[name] == expected[name] for name in tables if name in now]
        assert seen == [True] * len(tables) or (seen == [] and aside)
        jobs.analysis(folder, 0.0)
        assert files(folder) == expected, f"killed at call {call}"
    assert ways == {-signal.SIGKILL, 0}


def test_a_file_is_flushed_before_it_is_renamed_and_its_folder_afterwards(tmp_path, monkeypatch):
    done = []
    for name in ("write", "fsync", "replace"):
        original = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, _name=name, _original=original: (done.append(_name), _original(*a))[1])
    store_module.write_durably(tmp_path / "x", b"1234")
    assert done == ["write", "fsync", "replace", "fsync"]


# ---------------------------------------------------------------------------------------------------------- damage


def truncate(path):
    path.write_bytes(path.read_bytes()[:-40])


def cut_to_nothing(path):
    path.write_bytes(b"")


def flip(position):
    def damage(path):
        data = bytearray(path.read_bytes())
        data[position % len(data)] ^= 1
        path.write_bytes(data)

    return damage


def rename_the_job(path):
    text = path.read_text()
    path.write_text(text.replace('"job": "walk"', '"job": "wall"'))
    assert path.read_text() != text


def lengthen(path):
    path.write_bytes(path.read_bytes() + b"\0")


def take_the_neighbours(path):
    path.write_bytes((path.parent / "000001.shard").read_bytes())


def lose_its_shape(path):
    label = store_module.Label(fingerprint_of(path.parent.parent), 4, jobs.walk_job(12).shards[4])
    path.write_bytes(store_module.pack(label, {"total": np.zeros((1, 2)), "n": np.array(1), "draw": np.arange(2)}))


def belong_to_another_job(path):
    label = store_module.Label("0" * 64, 4, jobs.walk_job(12).shards[4])
    path.write_bytes(store_module.pack(label, {"total": np.zeros((2, 2)), "n": np.array(1), "draw": np.arange(2)}))


def fingerprint_of(folder):
    return json.loads((folder / "manifest.json").read_text())["fingerprint"]


DAMAGES = {
    "truncated": (truncate, "checksum"),
    "empty": (cut_to_nothing, "truncated: 0 bytes"),
    "first bit": (flip(0), "checksum"),
    "bit in the header": (flip(40), "checksum"),
    "bit in the data": (flip(-60), "checksum"),
    "bit in the checksum": (flip(-1), "checksum"),
    "too long": (lengthen, "checksum"),
    "another shard's": (take_the_neighbours, "holds shard 1"),
    "another shape": (lose_its_shape, "array 'total' is (1, 2), not (2, 2)"),
    "another job's": (belong_to_another_job, "another job"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_shard_is_found_and_only_that_one_computed_again(name, tmp_path):
    damage, words = DAMAGES[name]
    job = jobs.walk_job(12)
    run(job, tmp_path).finish()
    expected = files(tmp_path)
    damage(tmp_path / "shards" / "000004.shard")
    if name != "another shape":  # which only the job knows
        with pytest.raises(InputError, match="shard 4"):
            list(stored_results(tmp_path))
    steps = []
    results = run(job, tmp_path, resume=True, progress=steps.append).finish()
    assert (results.reused, results.computed, list(results.damaged)) == (11, 1, [4])
    assert words in results.damaged[4]
    assert any(step.kind == "note" and words in step.text for step in steps)
    assert files(tmp_path) == expected


def test_only_what_is_missing_is_computed(tmp_path):
    log = tmp_path / "log"
    job = jobs.simple_job("count_call", n=20, log=str(log))
    folder = tmp_path / "run"
    run(job, folder).finish()
    assert sorted(map(int, log.read_text().split())) == list(range(20))
    expected = files(folder)
    for i in (0, 7, 19):
        (folder / "shards" / f"{i:06d}.shard").unlink()
    truncate(folder / "shards" / "000003.shard")
    log.unlink()
    results = run(job, folder, resume=True).finish()
    assert sorted(map(int, log.read_text().split())) == [0, 3, 7, 19]
    assert (results.reused, results.computed) == (16, 4)
    assert files(folder) == expected
    log.unlink()
    assert run(job, folder, resume=True).finish().computed == 0
    assert not log.exists()


def test_a_shard_that_is_damaged_after_it_was_verified_is_not_delivered(tmp_path):
    job = jobs.walk_job(12)
    run(job, tmp_path).finish()
    with run(job, tmp_path, resume=True) as results:
        flip(-60)(tmp_path / "shards" / "000004.shard")
        with pytest.raises(SimulationError, match=r"000004\.shard was damaged"):
            list(results)


def test_half_written_files_of_an_earlier_run_are_removed(tmp_path):
    job = jobs.walk_job(4)
    run(job, tmp_path).finish()
    leftover = tmp_path / "shards" / ".000002.shard.tmp"
    leftover.write_bytes(b"half")
    run(job, tmp_path, resume=True).finish()
    assert not leftover.exists()


def test_stored_results_are_those_of_the_run(tmp_path):
    job = jobs.walk_job(6)
    expected = list(run(job, tmp_path))
    found = list(stored_results(tmp_path))
    assert [shard.address for shard in found] == [shard.address for shard in expected] == list(job.shards)
    assert all(a.arrays["total"].tobytes() == b.arrays["total"].tobytes() for a, b in zip(found, expected, strict=True))
    with pytest.raises(InputError, match="no readable manifest"):
        next(stored_results(tmp_path / "elsewhere"))


# ----------------------------------------------------------------------------------------------- what may be resumed


def refusal(job, folder, resume=True):
    with pytest.raises(InputError) as caught:
        run(job, folder, resume=resume)
    return str(caught.value)


def test_another_run_is_refused_saying_what_differs(tmp_path):
    run(jobs.walk_job(6), tmp_path).finish()
    before = files(tmp_path)
    values = jobs.inputs(draws=12)["values"]
    changed = {**values, "a": values["a"] + 1.0}
    assert "seed: 1 in the folder, 2 now" in refusal(jobs.walk_job(6, seed=2), tmp_path)
    assert "inputs.weight: 0.5 in the folder, 0.25 now" in refusal(jobs.walk_job(6, weight=0.25), tmp_path)
    text = refusal(jobs.walk_job(6, values=changed), tmp_path)
    assert "inputs.values.a: float64 [12]" in text and "inputs.values.b" not in text
    assert "inputs.extra: absent in the folder, 'x' now" in refusal(jobs.walk_job(6, extra="x"), tmp_path)
    assert "shards: 6 in the folder, 7 now" in refusal(jobs.walk_job(7), tmp_path)
    assert "shapes: test_runner_jobs:walk_shapes in the folder, None now" in refusal(
        jobs.walk_job(6, shapes=False), tmp_path
    )
    nested = jobs.walk_job(6, values={**values, "deep": {"a.b": 1}})
    other = tmp_path / "other"
    run(nested, other).finish()
    assert "inputs_digest" not in refusal(jobs.walk_job(6, values={**values, "deep": {"a": {"b": 1}}}), other)
    assert files(tmp_path / "shards") == {k.split("/")[1]: v for k, v in before.items() if k.startswith("shards/")}


def test_a_name_with_dots_is_named_as_it_is_written(tmp_path):
    values = {
        "systemic.atezo_bev.p_long_control": np.array([0.2]),
        "systemic.sorafenib.p_long_control": np.array([0.1]),
    }
    run(jobs.simple_job("one", values=values), tmp_path).finish()
    changed = {**values, "systemic.atezo_bev.p_long_control": np.array([0.3])}
    text = refusal(jobs.simple_job("one", values=changed), tmp_path)
    key = "inputs.values.systemic.atezo_bev.p_long_control"
    assert f"{key}: float64 [1] [0.2] in the folder, float64 [1] [0.3] now" in text
    assert "sorafenib" not in text


@pytest.mark.parametrize("what", ["simhcc", "numpy"])
def test_other_versions_are_refused(what, tmp_path, monkeypatch):
    run(jobs.walk_job(3), tmp_path).finish()
    now = dict(sweep_versions())
    monkeypatch.setattr("simhcc.runner.sweep.versions", lambda: {**now, what: "9.9"})
    assert f"versions.{what}: {now[what]} in the folder, 9.9 now" in refusal(jobs.walk_job(3), tmp_path)


def sweep_versions():
    from simhcc.runner.fingerprint import versions

    return versions()


def test_other_code_is_refused(tmp_path, monkeypatch):
    run(jobs.walk_job(3), tmp_path).finish()
    monkeypatch.setattr("simhcc.runner.sweep.code", lambda function: {"test_runner_jobs": "changed"})
    assert "code.test_runner_jobs: " in refusal(jobs.walk_job(3), tmp_path)


def test_a_long_list_of_differences_is_cut(tmp_path):
    values = {f"p{i:03d}": i for i in range(100)}
    run(jobs.simple_job("one", values=values), tmp_path).finish()
    text = refusal(jobs.simple_job("one", values={k: v + 1 for k, v in values.items()}), tmp_path)
    assert "inputs.values.p000: 0 in the folder, 1 now" in text and "and 88 more" in text
    assert len(text.splitlines()) < 20


def test_a_folder_with_results_is_refused_without_resume(tmp_path):
    run(jobs.walk_job(3), tmp_path).finish()
    before = files(tmp_path)
    text = refusal(jobs.walk_job(3), tmp_path, resume=False)
    assert "results of job 'walk': 3 of 3 shards" in text and "--resume" in text and str(tmp_path) in text
    assert files(tmp_path) == before


def test_resume_in_a_new_folder_starts_there(tmp_path):
    assert run(jobs.walk_job(3), tmp_path / "a" / "b", resume=True).finish().computed == 3


def test_a_folder_in_which_nothing_was_finished_may_be_used_again(tmp_path):
    run(jobs.walk_job(3), tmp_path).close()
    assert list((tmp_path / "shards").iterdir()) == []
    assert run(jobs.walk_job(3, seed=2), tmp_path).finish().computed == 3


def test_a_lost_or_damaged_manifest_is_written_again_for_the_same_run_only(tmp_path):
    run(jobs.walk_job(3), tmp_path).finish()
    expected = files(tmp_path)
    for damage in (rename_the_job, truncate, Path.unlink):
        damage(tmp_path / "manifest.json")
        assert "shards of another job" in refusal(jobs.walk_job(3, seed=2), tmp_path)
        assert run(jobs.walk_job(3), tmp_path, resume=True).finish().reused == 3
        assert files(tmp_path) == expected


def test_a_manifest_of_another_program_is_left_alone(tmp_path):
    (tmp_path / "manifest.json").write_text('{"name": "an app"}')
    assert "not this program's" in refusal(jobs.walk_job(3), tmp_path, resume=False)
    assert (tmp_path / "manifest.json").read_text() == '{"name": "an app"}'


def test_a_file_that_is_no_shard_of_this_run_is_refused(tmp_path):
    run(jobs.walk_job(3), tmp_path).finish()
    (tmp_path / "shards" / "000009.shard").write_bytes(b"x")
    assert "000009.shard, which is not a shard of this run" in refusal(jobs.walk_job(3), tmp_path)


# ---------------------------------------------------------------------------------------------------------- Ctrl-C


def test_ctrl_c_keeps_what_is_finished_and_frees_the_folder(tmp_path):
    steps = []
    with pytest.raises(KeyboardInterrupt):
        run(jobs.simple_job("interrupt_at", n=60, at=20), tmp_path, threads=2, progress=steps.append).finish()
    kept = len(list((tmp_path / "shards").glob("*.shard")))
    assert 20 <= kept < 60
    assert steps[-1].kind == "stopped" and steps[-1].done == kept
    with run(jobs.simple_job("interrupt_at", n=60, at=20), tmp_path, resume=True) as results:
        assert results.reused == kept


def test_an_error_of_the_caller_keeps_what_is_finished(tmp_path):
    with pytest.raises(ZeroDivisionError), run(jobs.walk_job(40), tmp_path) as results:
        for shard in results:
            if shard.index == 5:
                1 / 0  # noqa: B018
    assert run(jobs.walk_job(40), tmp_path, resume=True).finish().reused >= 6


# ------------------------------------------------------------------------------------------------------- two at once


def test_a_second_process_is_told_who_holds_the_folder(tmp_path):
    process = child(tmp_path, 0.2, held=True)
    try:
        while not list(tmp_path.glob("shards/*.shard")):
            assert process.poll() is None
            time.sleep(0.005)
        text = refusal(jobs.walk_job(jobs.SHARDS, seconds=0.2), tmp_path)
        assert f"process {process.pid} on {socket.gethostname()} is writing into it" in text
    finally:
        process.kill()
        process.wait()
    # the lock of a killed process is free
    with run(jobs.walk_job(jobs.SHARDS, seconds=0.2), tmp_path, resume=True) as results:
        assert results.reused > 0


def test_two_runs_in_one_process_exclude_each_other(tmp_path):
    with run(jobs.walk_job(3), tmp_path):
        assert f"process {os.getpid()} on" in refusal(jobs.walk_job(3), tmp_path)
    assert run(jobs.walk_job(3), tmp_path, resume=True).finish().computed == 3


def test_processes_started_together_leave_one_complete_run(tmp_path):
    expected = reference(tmp_path, 0.005)
    for trial in range(2):
        folder = tmp_path / str(trial)
        together = [child(folder, 0.005, stderr=subprocess.PIPE, text=True) for _ in range(3)]
        messages = [process.communicate()[1] for process in together]
        failed = [text for process, text in zip(together, messages, strict=True) if process.returncode]
        assert len(failed) < 3
        assert all("InputError" in text and "is writing into it" in text for text in failed), failed
        assert files(folder) == expected


def test_no_lock_is_left_behind(tmp_path):
    run(jobs.walk_job(3), tmp_path / "run").finish()
    publish(tmp_path, "tables", two_files("1"))
    with pytest.raises(InputError):
        publish(tmp_path, "tables", two_files("2"))
    assert sorted(files(tmp_path)) == [
        *("run/manifest.json", "run/shards/000000.shard", "run/shards/000001.shard", "run/shards/000002.shard"),
        *("tables/a.csv", "tables/sub/b.csv"),
    ]
    # A folder for unfinished work goes too, unless something lies in it.
    with (
        workplace(tmp_path / "work"),
        pytest.raises(InputError, match="is writing into it"),
        workplace(tmp_path / "work"),
    ):
        raise AssertionError("entered twice")
    assert not (tmp_path / "work").exists()
    with workplace(tmp_path / "work"):
        (tmp_path / "work" / "x").touch()
    assert files(tmp_path / "work") == {"x": b""}


def test_what_a_killed_process_left_of_its_lock_goes_with_the_next_one(tmp_path):
    (tmp_path / ".lock").touch()
    (tmp_path / ".holder.json").write_text('{"pid": 1, "host": "gone"}')
    with workplace(tmp_path / "again"), store_module.locked(tmp_path):
        pass
    assert files(tmp_path) == {}


@pytest.mark.skipif(store_module.fcntl is None, reason="locks of Windows work in another way")
def test_a_lock_that_vanishes_while_it_is_being_taken_excludes_nobody_wrongly(tmp_path, monkeypatch):
    first, third, original = store_module.hold(tmp_path), [], store_module.fcntl.flock

    def flock(descriptor, operation):
        if not third:  # the file is open here; now its holder goes, and somebody else comes first
            third.append(None)
            first.release()
            third[0] = store_module.hold(tmp_path)
        return original(descriptor, operation)

    monkeypatch.setattr(store_module.fcntl, "flock", flock)
    with pytest.raises(InputError, match="is writing into it"):
        store_module.hold(tmp_path)
    third[0].release()
    store_module.hold(tmp_path).release()
    assert files(tmp_path) == {}


TAKING_TURNS = """
import os, sys
from pathlib import Path
from simhcc.errors import InputError
from simhcc.runner import workplace
folder, turns = Path(sys.argv[1]), 0
while turns < 100:
    try:
        with workplace(folder):
            os.close(os.open(folder / "inside", os.O_CREAT | os.O_EXCL))  # fails when somebody else is inside
            os.unlink(folder / "inside")
            turns += 1
    except InputError:
        pass
"""


def test_processes_that_take_turns_are_never_inside_together(tmp_path):
    command = [sys.executable, "-c", TAKING_TURNS, str(tmp_path / "work")]
    together = [subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    messages = [process.communicate()[1] for process in together]
    assert [process.returncode for process in together] == [0, 0, 0], messages
    assert files(tmp_path) == {}


# ------------------------------------------------------------------------------------- a full disk, a read-only folder


def fail_writing(monkeypatch, error, after):
    """Make every write after the first `after` fail half-way."""
    original, left = os.write, [after]

    def write(descriptor, data):
        left[0] -= 1
        if left[0] < 0:
            original(descriptor, bytes(data)[: len(data) // 2])
            raise OSError(error, os.strerror(error))
        return original(descriptor, data)

    monkeypatch.setattr(os, "write", write)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_disk_that_fills_up_stops_the_run_and_keeps_what_is_finished(error, tmp_path, monkeypatch):
    job = jobs.walk_job(20)
    run(job, tmp_path / "whole").finish()
    with monkeypatch.context() as patch:
        fail_writing(patch, error, after=8)  # the manifest and seven shards
        with pytest.raises(SimulationError, match=r"the disk is full .*--resume"):
            run(job, tmp_path / "run").finish()
    assert len(list((tmp_path / "run" / "shards").iterdir())) == 7  # and no half-written file
    results = run(job, tmp_path / "run", resume=True).finish()
    assert (results.reused, results.computed) == (7, 13)
    assert files(tmp_path / "run") == files(tmp_path / "whole")


def test_a_disk_that_is_full_from_the_start_is_an_error_before_the_run(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        fail_writing(patch, errno.ENOSPC, after=0)
        with pytest.raises(SimulationError, match="the disk is full"):
            run(jobs.walk_job(3), tmp_path)
    assert run(jobs.walk_job(3), tmp_path).finish().computed == 3


def test_a_failing_disk_is_told_apart_from_a_full_one(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        fail_writing(patch, errno.EIO, after=3)
        with pytest.raises(SimulationError, match=r"writing failed \(input/output error\)"):
            run(jobs.walk_job(20), tmp_path).finish()


def test_a_file_in_the_place_of_a_folder_is_wrong_input(tmp_path):
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="a folder that cannot be written") as caught:
            run(jobs.walk_job(3), folder)
        assert caught.value.file == str(folder)


REAL_DISK = """
import subprocess, sys
from pathlib import Path
from simhcc.errors import InputError, SimulationError
from simhcc.runner import run
import test_runner_jobs as jobs

disk = Path(sys.argv[1])
def mount(options):
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)], check=True)

def attempt(**options):
    try:
        run(jobs.walk_job(60), disk / "run", **options).finish()
    except (InputError, SimulationError) as error:
        return type(error).__name__ + ": " + " ".join(str(error).split())
    return "finished"

mount("size=128k")
print(attempt())
kept = {path.name: path.read_bytes() for path in (disk / "run" / "shards").iterdir()}
print(len(kept))
mount("remount,ro")
print(attempt(resume=True))
mount("remount,rw,size=4m")
print({path.name: path.read_bytes() for path in (disk / "run" / "shards").iterdir()} == kept)
print(attempt(resume=True))
again = run(jobs.walk_job(60), disk / "run", resume=True)
print(again.reused, again.collect()["total"].tobytes() == run(jobs.walk_job(60)).collect()["total"].tobytes())
"""


def namespaces_are_permitted():
    tool = shutil.which("unshare")
    command = [tool, "--user", "--map-root-user", "--mount", "true"]
    return bool(tool) and subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.skipif(not namespaces_are_permitted(), reason="needs a mount of its own (Linux user namespaces)")
def test_a_real_full_disk_and_a_real_read_only_one(tmp_path):
    command = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-c", REAL_DISK, str(tmp_path)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    full, kept, read_only, intact, resumed, final = done.stdout.splitlines()
    assert full.startswith("SimulationError") and "the disk is full (no space left on device)" in full
    assert 0 < int(kept) < 60
    assert read_only.startswith("InputError") and "read-only file system" in read_only
    assert intact == "True" and resumed == "finished" and final == "60 True"


# --------------------------------------------------------------------------------------------------------- publish


def two_files(text):
    def write(folder):
        (folder / "a.csv").write_text(text)
        (folder / "sub").mkdir()
        (folder / "sub" / "b.csv").write_text(text)

    return write


def test_published_files_appear_under_their_name(tmp_path):
    assert publish(tmp_path / "new", "tables", two_files("1")) == tmp_path / "new" / "tables"
    assert files(tmp_path / "new") == {"tables/a.csv": b"1", "tables/sub/b.csv": b"1"}
    assert (tmp_path / "new" / "tables").stat().st_mode == (tmp_path / "new").stat().st_mode


def test_complete_results_are_replaced_only_when_told_so(tmp_path):
    publish(tmp_path, "tables", two_files("1"))
    with pytest.raises(InputError, match="results that are complete"):
        publish(tmp_path, "tables", two_files("2"))
    assert files(tmp_path) == {"tables/a.csv": b"1", "tables/sub/b.csv": b"1"}
    publish(tmp_path, "tables", lambda folder: (folder / "c.csv").write_text("3"), replace=True)
    assert files(tmp_path / "tables") == {"c.csv": b"3"}
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="a file in the place"):
        publish(tmp_path, "file", two_files("1"), replace=True)
    with pytest.raises(InputError, match="plain name"):
        publish(tmp_path, "a/b", two_files("1"))


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")])
def test_a_writer_that_fails_leaves_the_earlier_tables_and_nothing_else(error, tmp_path):
    publish(tmp_path, "tables", two_files("1"))

    def fail(folder):
        (folder / "a.csv").write_text("half")
        raise error

    expected = SimulationError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected):
        publish(tmp_path, "tables", fail, replace=True)
    assert files(tmp_path) == {"tables/a.csv": b"1", "tables/sub/b.csv": b"1"}


def test_an_exchange_that_fails_leaves_the_earlier_tables(tmp_path, monkeypatch):
    publish(tmp_path, "tables", two_files("1"))
    original, calls = os.rename, []

    def rename(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError(errno.EIO, "Input/output error")
        original(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", rename)
        with pytest.raises(SimulationError, match="writing failed"):
            publish(tmp_path, "tables", two_files("2"), replace=True)
    assert files(tmp_path) == {"tables/a.csv": b"1", "tables/sub/b.csv": b"1"}


def test_an_error_of_the_writers_own_files_comes_through(tmp_path):
    with pytest.raises(FileNotFoundError):
        publish(tmp_path, "tables", lambda folder: Path("nowhere/at/all").read_text())


def test_an_exchange_that_was_cut_short_is_mended(tmp_path):
    publish(tmp_path, "tables", two_files("1"))
    os.rename(tmp_path / "tables", tmp_path / ".tables.old")  # killed between the two renames
    (tmp_path / ".tables.new-x").mkdir()
    with pytest.raises(InputError, match="complete"):
        publish(tmp_path, "tables", two_files("2"))
    assert files(tmp_path) == {"tables/a.csv": b"1", "tables/sub/b.csv": b"1"}
    assert not (tmp_path / ".tables.new-x").exists()


def test_two_publishers_exclude_each_other(tmp_path):
    entered, leave = threading.Event(), threading.Event()

    def wait(folder):
        entered.set()
        leave.wait(10)

    first = threading.Thread(target=publish, args=(tmp_path, "tables", wait))
    first.start()
    entered.wait(10)
    with pytest.raises(InputError, match="is writing into it"):
        publish(tmp_path, "tables", two_files("2"))
    leave.set()
    first.join()
