"""What the runner costs: checkpoints and Dask against plain threads, for shards of several lengths.

    python benchmarks/runner_overhead.py [--seconds 1] [--repeats 3] [--threads 2]

Every way computes the same shards with the same number of threads. Printed is the best of the repeats, and its ratio to
a bare `ThreadPoolExecutor.map`, which keeps nothing and reports nothing. CPU time, of the caller, the scheduler and the
workers together, is the steadier figure: on a machine that is busy with something else wall times mean little. The
cluster is a scheduler and one worker process a thread on this machine, so all of it shares the cores with the work.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from simhcc.runner import Job, grid, run  # noqa: E402

NUMBERS = 50_000  # in a shard's result: 0.4 MB, as much as 100 draws x 500 outcomes


def work(inputs: Mapping[str, Any], address: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Square roots of an array, over and over, outside Python's global lock, like a chunk of the engine."""
    values = np.arange(NUMBERS, dtype=np.float64) + address["i"] + inputs["seed"]
    for _ in range(inputs["rounds"]):
        np.sqrt(values, out=values)
        np.add(values, 1.5, out=values)
    return {"x": values}


def rounds_for(seconds: float) -> int:
    """Rounds that take `seconds` of one core here."""
    start = time.thread_time()
    work({"seed": 1, "rounds": 500}, {"i": 0})
    return max(1, round(500 * seconds / (time.thread_time() - start)))


class Ways:
    """The same job in several ways; each is a function without arguments."""

    def __init__(self, job: Job, threads: int, address: str | None) -> None:
        self.job = job
        self.threads = threads
        self.by_name: dict[str, Callable[[], None]] = {
            "plain threads": self.plain,
            "runner": lambda: self.consume(threads=threads),
            "+ folder": lambda: self.in_folder(threads=threads),
        }
        if address is not None:
            self.by_name["Dask"] = lambda: self.consume(dask=address)
            self.by_name["Dask + folder"] = lambda: self.in_folder(dask=address)

    def plain(self) -> None:
        """The least that can be done."""
        with ThreadPoolExecutor(self.threads) as executor:
            for _ in executor.map(lambda shard: work(self.job.inputs, shard), self.job.shards):
                pass

    def consume(self, **options: Any) -> None:
        """Through the runner, results used and forgotten."""
        for _ in run(self.job, **options):
            pass

    def in_folder(self, **options: Any) -> None:
        """Through the runner, every shard kept in a folder on the disk of this file."""
        with tempfile.TemporaryDirectory(dir=HERE) as folder:
            self.consume(folder=folder, **options)


def report(options: argparse.Namespace, address: str | None, cpu_seconds: Callable[[], float]) -> None:
    """Print a table for each length of shard."""
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"{options.threads} threads, {os.cpu_count()} cores{load}, best of {options.repeats}")
    for shard_seconds in options.shards:
        n = max(4 * options.threads, round(options.seconds / shard_seconds) * options.threads)
        inputs = {"seed": 1, "rounds": rounds_for(shard_seconds)}
        ways = Ways(Job("overhead", "runner_overhead:work", inputs, grid(i=range(n))), options.threads, address).by_name
        wall, cpu = ({name: float("inf") for name in ways} for _ in range(2))
        for _ in range(options.repeats):
            for name, way in ways.items():
                before, start = cpu_seconds(), time.perf_counter()
                way()
                wall[name] = min(wall[name], time.perf_counter() - start)
                cpu[name] = min(cpu[name], cpu_seconds() - before)
        print(f"\n{n} shards of {shard_seconds:g} s, {NUMBERS * 8 / 1e6:g} MB each")
        print(f"  {'':14} {'wall s':>8} {'ratio':>6} {'CPU s':>8} {'ratio':>6} {'more CPU, ms a shard':>21}")
        first = next(iter(ways))
        for name in ways:
            ratios = wall[name] / wall[first], cpu[name] / cpu[first]
            more = (cpu[name] - cpu[first]) / n * 1000
            print(
                f"  {name:14} {wall[name]:8.2f} {ratios[0]:6.2f} {cpu[name]:8.2f} {ratios[1]:6.2f} {more:21.2f}",
                flush=True,
            )


def main() -> None:
    """Start the cluster, if Dask is installed, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="of work a thread, for each way and repeat")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--shards", type=float, nargs="+", default=[0.01, 0.1, 0.5], help="lengths of a shard, seconds")
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        print("without Dask: distributed is not installed")
        report(options, None, time.process_time)
        return
    quiet = {"protocol": "tcp://", "dashboard_address": None, "silence_logs": 60}
    with (
        LocalCluster(n_workers=options.threads, threads_per_worker=1, processes=True, **quiet) as cluster,
        Client(cluster.scheduler_address, set_as_default=False) as client,
    ):
        in_all = lambda: time.process_time() + sum(client.run(time.process_time).values())  # noqa: E731
        report(options, cluster.scheduler_address, in_all)


if __name__ == "__main__":
    main()
