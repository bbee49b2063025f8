"""Jobs that the tests of the runner share, importable by any worker, and what they promise about themselves."""

import itertools
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np

from simhcc.runner import Job, grid, publish, run, split

SHARDS = 40  # of the run that is killed again and again


def walk(inputs, address):
    """Sums of a random walk per draw and block: cheap, and different for every address."""
    lo, hi = address["draws"]
    first, last = address["patients"]
    steps = np.arange(first, last, dtype=np.float64)
    totals = np.empty((hi - lo, len(address["strategies"])))
    for d in range(lo, hi):
        for s, strategy in enumerate(address["strategies"]):
            effect = inputs["values"][strategy][d]
            totals[d - lo, s] = np.sum(np.sqrt(steps + effect + inputs["seed"]) * inputs["weight"])
    time.sleep(inputs.get("seconds", 0.0))
    if lo >= int(os.environ.get("HOLD_FROM_DRAW", sys.maxsize)):  # no input: a run that is continued has the same ones
        time.sleep(60)
    return {"total": totals, "n": np.array(last - first), "draw": np.arange(lo, hi)}


def walk_shapes(inputs, address):
    lo, hi = address["draws"]
    return {"total": (hi - lo, len(address["strategies"])), "n": (), "draw": (hi - lo,)}


def inputs(seed=1, seconds=0.0, draws=40):
    random = np.random.default_rng(5)
    values = {"a": random.random(draws), "b": random.random(draws)}
    return {"seed": seed, "values": values, "weight": 0.5, "seconds": seconds}


def walk_job(n=20, seed=1, seconds=0.0, shapes=True, **changes):
    draws = 2 * n
    return Job(
        name="walk",
        function="test_runner_jobs:walk",
        inputs={**inputs(seed, seconds, draws), **changes},
        shards=grid(draws=split(draws, n), strategies=[("a", "b")], patients=[(0, 1000)]),
        shapes="test_runner_jobs:walk_shapes" if shapes else None,
    )


def one(inputs, address):
    return {"x": np.full(inputs.get("size", 1), float(address["i"]))}


def meet(inputs, address):
    """Waits until as many processes as there shall be are at work at the same time."""
    place = Path(inputs["place"])
    (place / str(os.getpid())).touch()
    end = time.monotonic() + 60
    while len(list(place.iterdir())) < inputs["processes"]:
        assert time.monotonic() < end
        time.sleep(0.005)
    return {"pid": np.array([os.getpid()])}


def slow_first(inputs, address):
    if address["i"] == 0:
        time.sleep(0.5)
    return one(inputs, address)


def hold_from(inputs, address):
    """From the chosen shard on, waits until a file is there."""
    end = time.monotonic() + 60
    while address["i"] >= inputs["at"] and not Path(inputs["flag"]).exists() and time.monotonic() < end:
        time.sleep(0.005)
    return one(inputs, address)


def fail_at(inputs, address):
    if address["i"] == inputs["at"]:
        raise ValueError("the liver of patient 7 is missing")
    return one(inputs, address)


def refuse(inputs, address):
    from simhcc.errors import InputError

    raise InputError(found="0.9", expected="a fraction below 0.5", key="rate", file="a.yaml", line=3)


def refuse_model(inputs, address):
    from simhcc.errors import ModelError

    raise ModelError("the state 'x' has no way out")


def odd_results(inputs, address):
    return inputs_to_result[inputs["kind"]]()


inputs_to_result = {
    "none": lambda: None,
    "objects": lambda: {"x": np.array([None, {}], dtype=object)},
    "names": lambda: {1: np.zeros(2)},
    "shape": lambda: {"total": np.zeros(3), "n": np.array(1), "draw": np.zeros(2)},
}


def kinds(inputs, address):
    """One array of every sort that must survive storage bit for bit."""
    matrix = np.arange(6, dtype=np.float64).reshape(2, 3)
    return {
        "fortran": np.asfortranarray(matrix),
        "strided": np.arange(10)[::3],
        "big": np.arange(3, dtype=">i4"),
        "scalar": np.array(1.5),
        "empty": np.empty((0, 3)),
        "bool": np.array([True, False]),
        "text": np.array(["surgery", "TACE", "ä"]),
        "bytes": np.array([b"x", b"yz"]),
        "nan": np.array([np.nan, -0.0, np.inf, 5e-324]),
        "complex": np.array([1 + 2j]),
        "f32": np.array([0.1], dtype=np.float32),
        "date": np.array(["2025-12-01"], dtype="datetime64[D]"),
        "large": np.arange(200_000, dtype=np.float64),
    }


_buffer = np.zeros(3)
_buffer_lock = threading.Lock()


def reused_buffer(inputs, address):
    with _buffer_lock:
        _buffer[:] = address["i"]
        return {"x": _buffer}


def interrupt_at(inputs, address):
    """Ctrl-C, pressed while this shard is computed."""
    if address["i"] == inputs["at"]:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
    return one(inputs, address)


def kill_once(inputs, address):
    """Takes its whole process down the first time the chosen shard is computed."""
    if address["i"] == inputs["at"]:
        try:
            Path(inputs["flag"]).open("x").close()
        except FileExistsError:
            pass
        else:
            os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(inputs["seconds"])
    return one(inputs, address)


def kill_always(inputs, address):
    os.kill(os.getpid(), signal.SIGKILL)


def count_call(inputs, address):
    """Leaves one line a call in a file, so that calls can be counted across processes."""
    with open(inputs["log"], "a") as file:
        file.write(f"{address['i']}\n")
    return one(inputs, address)


def simple_job(function, n=10, shapes=None, **given):
    return Job(function, f"test_runner_jobs:{function}", given, grid(i=list(range(n))), shapes)


def test_the_shared_job_differs_from_shard_to_shard():
    job = walk_job(n=6)
    totals = [walk(job.inputs, address)["total"].tobytes() for address in job.shards]
    assert len(set(totals)) == 6


def test_the_shared_job_is_pure():
    job = walk_job(n=3)
    twice = [[walk(job.inputs, address)["total"].tobytes() for address in job.shards] for _ in range(2)]
    assert twice[0] == twice[1]


def tables_of(results):
    """A writer of two small tables, as an analysis would publish them."""
    collected = results.collect()

    def write(folder):
        np.savetxt(folder / "totals.csv", collected["total"], fmt="%.17g", delimiter=",")
        (folder / "draws.csv").write_text("\n".join(map(str, collected["draw"])) + "\n")

    return write


def analysis(folder, seconds):
    """Run the shared job in a folder, continuing what is there, and publish its tables."""
    with run(walk_job(SHARDS, seconds=seconds), folder, resume=True, threads=2) as results:
        writer = tables_of(results)
    publish(folder, "tables", writer, replace=True)


def die_at_call(n):
    """Make the n-th call that changes the disk, counted from 1, the last thing this process does."""
    calls = itertools.count(1)

    def deadly(call):
        def wrapped(*arguments, **named):
            if next(calls) == n:
                if call is os.write:  # half of the data reach the file
                    call(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **named)

        return wrapped

    for name in ("write", "fsync", "replace", "rename"):
        setattr(os, name, deadly(getattr(os, name)))


if __name__ == "__main__":
    if len(sys.argv) > 3:
        die_at_call(int(sys.argv[3]))
    analysis(sys.argv[1], float(sys.argv[2]))
