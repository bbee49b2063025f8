"""`simhcc run --dask ADDRESS` on a live cluster: the tables of one machine, also when a worker is killed on the way."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_project import invoke, tree_of, use
from test_runner_dask import ENVIRONMENT, scheduler_by_hand, wait_until, worker_by_hand, worker_pids

from simhcc import analysis
from simhcc.report import figures
from simhcc.runner.store import ShardFolder

distributed = pytest.importorskip("distributed")
PSA = ("run", "question", "--patients", 400, "--iterations", 40, "--quiet")
OPTIONS: dict[str, Any] = {"protocol": "tcp://", "dashboard_address": None, "worker_dashboard_address": None}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small project, its run cut into twenty shards for the population and more for the subgroup."""
    monkeypatch.setattr(figures, "draw_figures", lambda folder, tables, record: folder.mkdir())
    monkeypatch.setattr(analysis, "SHARD_PATIENT_STRATEGIES", 4096)
    return use(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Two worker processes of one thread each, over TCP, started again when they die."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, silence_logs=60, **OPTIONS
    ) as cluster:
        yield cluster.scheduler_address


def after_shards(monkeypatch: pytest.MonkeyPatch, stored: int, act: Any) -> list[int]:
    """Call `act` once, when so many shards are stored; at most eight more can be under way then."""
    write, calls = ShardFolder.write, [0]

    def write_and_act(self: ShardFolder, batch: list[tuple[int, bytearray]]) -> None:
        for item in batch:
            write(self, [item])
            calls[0] += 1
            if calls[0] == stored:
                act()

    monkeypatch.setattr(ShardFolder, "write", write_and_act)
    return calls


def run(*options: object) -> None:
    done = invoke(*PSA, *options)
    assert done.exit_code == 0, done.stderr


def test_tables_from_a_cluster_are_those_of_this_machine(
    project: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("--out", "here", "--threads", 1)
    run("--out", "there", "--dask", address)
    expected = tree_of(project / "here")
    assert tree_of(project / "there") == expected
    base_case = ("run", "question", "--patients", 3000, "--iterations", 1, "--quiet")
    for more in (("--out", "base-here"), ("--out", "base-there", "--dask", address)):
        assert invoke(*base_case, *more).exit_code == 0
    assert tree_of(project / "base-there") == tree_of(project / "base-here")
    victim = worker_pids(address)[0]
    calls = after_shards(monkeypatch, 5, lambda: os.kill(victim, signal.SIGKILL))
    run("--out", "killed", "--dask", address)
    assert calls[0] >= 20 and victim not in worker_pids(address)
    assert tree_of(project / "killed") == expected


def test_a_cluster_started_by_hand_that_loses_its_only_worker(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("--out", "here", "--threads", 1)
    with scheduler_by_hand(tmp_path) as (_, address), contextlib.ExitStack() as stack:
        first = stack.enter_context(worker_by_hand(address, "--no-nanny"))
        killed = threading.Event()

        def kill() -> None:
            os.killpg(first.pid, signal.SIGKILL)
            first.wait()
            killed.set()

        def send_another() -> None:
            killed.wait()
            stack.enter_context(worker_by_hand(address))

        after_shards(monkeypatch, 5, kill)
        helper = threading.Thread(target=send_another)
        helper.start()
        run("--out", "there", "--dask", address)
        helper.join()
    assert killed.is_set()
    assert tree_of(project / "there") == tree_of(project / "here")


def test_an_address_without_a_scheduler_ends_with_code_2(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from simhcc.runner import pools

    monkeypatch.setattr(pools, "ANSWER_SECONDS", 0.5)
    before = tree_of(project)
    done = invoke(*PSA, "--dask", "tcp://127.0.0.1:1")
    assert done.exit_code == 2 and "no answer from tcp://127.0.0.1:1" in done.stderr
    assert tree_of(project) == before


@pytest.mark.slow
def test_the_disease_model_gives_the_same_tables_on_a_cluster(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "simhcc", "run", "advanced", "--patients", "2000", "--iterations", "60", "--quiet"]

    def start(*more: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*words, *more], cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.DEVNULL)

    assert start("--out", "here").wait() == 0
    with scheduler_by_hand(tmp_path) as (_, address), worker_by_hand(address), contextlib.ExitStack() as stack:
        # The nanny of this one sees to it that its worker comes back.
        stack.enter_context(worker_by_hand(address))
        wait_until(lambda: len(worker_pids(address)) == 2)
        process = start("--out", "there", "--dask", address)
        wait_until(lambda: len(list((tmp_path / ".there.work").rglob("*.shard"))) >= 2 or process.poll() is not None)
        assert process.poll() is None
        os.kill(worker_pids(address)[0], signal.SIGKILL)
        assert process.wait() == 0
    assert tree_of(tmp_path / "there") == tree_of(tmp_path / "here")
