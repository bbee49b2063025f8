"""On a real Dask cluster over TCP the results are those of one machine, also when workers are killed on the way."""

import contextlib
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import test_runner_jobs as jobs

import simhcc
from simhcc.errors import InputError, ModelError, SimulationError
from simhcc.runner import pools, run

distributed = pytest.importorskip("distributed")
logging.getLogger("distributed").setLevel(logging.CRITICAL)

PATHS = [str(Path(__file__).resolve().parent), str(Path(simhcc.__file__).parent.parent)]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(PATHS)}


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes of one thread each, under nannies that start a killed one again."""
    options = {"protocol": "tcp://", "dashboard_address": None, "worker_dashboard_address": None, "silence_logs": 60}
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, **options) as cluster:
        yield cluster


def worker_pids(address):
    with distributed.Client(address, set_as_default=False) as client:
        return list(client.run(os.getpid).values())


def wait_until(condition):
    end = time.monotonic() + 180  # only to end a test that would never end
    while not condition():
        assert time.monotonic() < end, "waited for three minutes"
        time.sleep(0.01)


def shard_files(folder):
    return {path.name: path.read_bytes() for path in [*folder.glob("shards/*.shard"), folder / "manifest.json"]}


def local(job, folder):
    run(job, folder).finish()
    return shard_files(folder)


# ------------------------------------------------------------------------------------------ a cluster of the test's own


def test_two_worker_processes_over_tcp_give_the_same_bits(cluster, tmp_path):
    assert cluster.scheduler_address.startswith("tcp://")
    pids = worker_pids(cluster.scheduler_address)
    assert len(set(pids)) == 2 and os.getpid() not in pids
    job = jobs.walk_job(30)
    expected = local(job, tmp_path / "local")
    results = run(job, tmp_path / "dask", dask=cluster.scheduler_address).finish()
    assert results.computed == 30
    assert shard_files(tmp_path / "dask") == expected
    in_memory, here = run(job, dask=cluster.scheduler_address), run(job)
    for left, right in zip(in_memory, here, strict=True):
        assert left.address == right.address
        assert {k: v.tobytes() for k, v in left.arrays.items()} == {k: v.tobytes() for k, v in right.arrays.items()}


def test_both_workers_compute_at_the_same_time_and_the_caller_does_not(cluster, tmp_path):
    job = jobs.simple_job("meet", n=8, place=str(tmp_path), processes=2)
    shards = list(run(job, dask=cluster.scheduler_address))
    assert {int(shard.arrays["pid"][0]) for shard in shards} <= set(worker_pids(cluster.scheduler_address))
    assert len(list(tmp_path.iterdir())) == 2


def test_every_sort_of_array_crosses_the_wire(cluster):
    job = jobs.simple_job("kinds", n=2)
    for left, right in zip(run(job, dask=cluster.scheduler_address), run(job), strict=True):
        for name, array in right.arrays.items():
            found = left.arrays[name]
            assert (found.dtype, found.shape, found.tobytes()) == (array.dtype, array.shape, array.tobytes())
            assert found.flags.writeable and found.flags.c_contiguous


def test_a_run_begun_here_is_continued_on_the_cluster(cluster, tmp_path):
    job = jobs.walk_job(30)
    expected = local(job, tmp_path / "whole")
    with run(job, tmp_path / "run", threads=1) as results:
        for _ in range(5):
            next(results)
    results = run(job, tmp_path / "run", resume=True, dask=cluster.scheduler_address).finish()
    assert results.reused >= 5 and results.computed == 30 - results.reused > 0
    assert shard_files(tmp_path / "run") == expected


def test_a_worker_killed_in_mid_run_changes_nothing(cluster, tmp_path):
    job = jobs.walk_job(40, seconds=0.05)
    expected = local(job, tmp_path / "local")
    for trial in range(2):
        folder = tmp_path / str(trial)
        victim = worker_pids(cluster.scheduler_address)[trial]
        with run(job, folder, dask=cluster.scheduler_address) as results:
            for shard in results:
                if shard.index == 6 + trial:
                    os.kill(victim, signal.SIGKILL)
        assert results.computed == 40
        assert shard_files(folder) == expected
        wait_until(lambda: len(cluster.scheduler_info["workers"]) == 2)


def test_errors_come_back_as_they_are_here(cluster, tmp_path):
    address = cluster.scheduler_address
    with pytest.raises(InputError) as caught:
        run(jobs.simple_job("refuse"), dask=address).collect()
    assert (caught.value.file, caught.value.line, caught.value.found) == ("a.yaml", 3, "0.9")
    with pytest.raises(ModelError, match="no way out"):
        run(jobs.simple_job("refuse_model"), dask=address).collect()
    with pytest.raises(SimulationError, match=r"'i': 4.*ValueError: the liver") as failed:
        run(jobs.simple_job("fail_at", at=4), tmp_path, dask=address).finish()
    assert any("in fail_at" in note for note in failed.value.__notes__)  # the worker's own traceback
    results = run(jobs.walk_job(4), tmp_path / "next", dask=address).finish()
    assert results.computed == 4


def test_ctrl_c_keeps_what_is_finished(cluster, tmp_path):
    def press():
        wait_until(lambda: len(list(tmp_path.glob("shards/*.shard"))) >= 4)
        os.kill(os.getpid(), signal.SIGINT)

    flag = tmp_path / "flag"
    job = jobs.simple_job("hold_from", n=20, at=8, flag=str(flag))
    finger = threading.Thread(target=press)
    finger.start()
    with pytest.raises(KeyboardInterrupt):
        run(job, tmp_path, dask=cluster.scheduler_address).finish()
    finger.join()
    flag.touch()
    with run(job, tmp_path, resume=True, dask=cluster.scheduler_address) as results:
        assert 4 <= results.reused <= 8


def test_a_worker_with_other_versions_or_code_is_refused(cluster, monkeypatch):
    here = pools.versions()
    monkeypatch.setattr(pools, "versions", lambda: {**here, "numpy": "0.1"})
    with pytest.raises(InputError, match=rf"a worker with numpy {re.escape(here['numpy'])} instead of 0\.1"):
        run(jobs.walk_job(3, weight=0.125), dask=cluster.scheduler_address).collect()
    monkeypatch.undo()
    monkeypatch.setattr(pools, "code", lambda function: {"test_runner_jobs": "edited"})
    with pytest.raises(InputError, match="another source of test_runner_jobs"):
        run(jobs.walk_job(3, weight=0.375), dask=cluster.scheduler_address).collect()


# ------------------------------------------------------------------------------------- a cluster as docs/runner.md says


@contextlib.contextmanager
def command(*words):
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(
        [sys.executable, "-m", "dask", *words], env=ENVIRONMENT, start_new_session=True, **silent
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # a nanny and its worker too
        process.wait()


@contextlib.contextmanager
def scheduler_by_hand(tmp_path):
    file = tmp_path / "scheduler.json"
    words = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))
    with command("scheduler", *words) as process:
        wait_until(lambda: file.exists() and file.read_text().strip().endswith("}"))
        yield process, json.loads(file.read_text())["address"]


def worker_by_hand(address, *more):
    return command("worker", address, "--nworkers", "1", "--nthreads", "1", "--no-dashboard", *more)


def test_a_scheduler_and_workers_started_by_hand_give_the_same_bits(tmp_path):
    job = jobs.walk_job(30, seconds=0.05)
    expected = local(job, tmp_path / "local")
    with scheduler_by_hand(tmp_path) as (_, address), contextlib.ExitStack() as stack:
        first = stack.enter_context(worker_by_hand(address, "--no-nanny"))

        def send_another(step):
            if "no worker is left" in step.text:
                stack.enter_context(worker_by_hand(address))

        with run(job, tmp_path / "run", dask=address, progress=send_another) as results:
            for shard in results:
                if shard.index == 4:  # the only worker, and with it the only copy of the inputs
                    os.killpg(first.pid, signal.SIGKILL)
                    first.wait()
        assert results.computed == 30
    assert shard_files(tmp_path / "run") == expected


def test_a_scheduler_that_dies_leaves_what_is_finished(tmp_path):
    flag = tmp_path / "flag"  # until it is there the cluster cannot finish, however late the scheduler is killed
    job = jobs.simple_job("hold_from", n=20, at=6, flag=str(flag))
    with scheduler_by_hand(tmp_path) as (scheduler, address), worker_by_hand(address, "--no-nanny"):
        results = run(job, tmp_path / "run", dask=address)
        with pytest.raises(SimulationError, match="Dask"):
            for shard in results:
                if shard.index == 4:
                    scheduler.kill()
                    scheduler.wait()
    flag.touch()
    results = run(job, tmp_path / "run", resume=True).finish()
    assert results.reused >= 5
    assert shard_files(tmp_path / "run") == local(job, tmp_path / "local")


def test_a_shard_that_takes_its_worker_down_ends_the_run(tmp_path, monkeypatch):
    monkeypatch.setitem(ENVIRONMENT, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")
    with (
        scheduler_by_hand(tmp_path) as (_, address),
        worker_by_hand(address, "--no-nanny"),
        pytest.raises(SimulationError, match=r"(?s)shard 0 .*smaller shards or larger workers"),
    ):
        run(jobs.simple_job("kill_always", n=1), dask=address).collect()


# ---------------------------------------------------------------------------------------------------- without a cluster


def test_an_address_that_does_not_answer_is_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr(pools, "ANSWER_SECONDS", 0.5)
    with pytest.raises(InputError, match=r"no answer from tcp://127\.0\.0\.1:1:"):
        run(jobs.walk_job(3), tmp_path, dask="tcp://127.0.0.1:1")
    assert run(jobs.walk_job(3), tmp_path).finish().computed == 3  # the folder is free and holds no results
    with pytest.raises(InputError, match="an address such as"):
        run(jobs.walk_job(3), dask="localhost")


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r'pip install "simhcc\[cluster\]"'):
        run(jobs.walk_job(3), dask="tcp://127.0.0.1:8786")
