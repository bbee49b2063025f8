"""The one way to run a job: shards out, results back in order, finished work kept."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np

from ..errors import InputError, SimulationError
from .fingerprint import code, describe, digest, resolve, versions
from .job import Address, Job, address_text, frozen_value
from .pools import DaskPool, Outcome, Pool, ThreadPool, Work, cores, pickle_inputs
from .progress import ProgressCallback, Step
from .store import Arrays, Damaged, Label, ShardFolder, read_manifest, unpack, writing_into

HELD_PER_SUBMITTED = 4  # results waiting in memory for an earlier shard, per shard submitted
TICK_SECONDS = 0.5


@dataclass(frozen=True)
class Shard:
    """The result of one shard: its place in the order, its address and its arrays."""

    index: int
    address: Address
    arrays: Arrays


def run(
    job: Job,
    folder: str | Path | None = None,
    *,
    resume: bool = False,
    threads: int | None = None,
    dask: str | None = None,
    progress: ProgressCallback | None = None,
) -> Results:
    """Prepare a job and return its results, to be iterated; shards are computed while that is done.

    Without `folder` results pass through memory only. With it every finished shard is kept there, and `resume`
    continues an earlier run of the same job. `threads` is the number of threads of this process (None: one for each
    core); `dask` is the address of a scheduler to use instead. The results are bit for bit the same in all these ways.
    `progress` is called with a `Step`, from this thread or another.

    Raises `InputError`, before anything is computed, for a folder that holds results and `resume` not said, for results
    of other inputs, versions, code or seed (naming what differs), for a folder in use by another process or not
    writable, for a cluster that does not answer, and for arguments without effect.
    """
    if resume and folder is None:
        raise InputError("--resume without a folder", "the folder of the earlier run", "resume")
    if threads is not None and dask is not None:
        raise InputError("both threads and a Dask cluster", "one of them; a cluster sets its own threads", "threads")
    if threads is not None and threads < 1:
        raise InputError(str(threads), "a whole number from 1, or nothing for all cores", "threads")
    resolve(job.function)
    if job.shapes is not None:
        resolve(job.shapes, "shapes")
    manifest = make_manifest(job)
    pickled = pickle_inputs(job.inputs)
    store = None
    if folder is not None:
        store = ShardFolder(Path(folder), manifest["fingerprint"], tuple(job.shards))
        store.open(manifest, resume, _expected_shapes(job))
    try:
        return Results(job, manifest["fingerprint"], pickled, store, threads, dask, progress)
    except BaseException:
        if store is not None:
            store.close()
        raise


def make_manifest(job: Job) -> dict[str, Any]:
    """All that a job's results depend on, and its fingerprint."""
    description = describe(job.inputs)
    seed = job.inputs.get("seed")
    content: dict[str, Any] = {
        "format": 1,
        "job": job.name,
        "function": job.function,
        "shapes": job.shapes,
        "seed": seed if seed is None or type(seed) is int else str(seed),
        "versions": versions(),
        "code": code(job.function),
        "inputs_digest": description.digest,
        "sizes": {"shards": len(job.shards), "inputs_bytes": description.n_bytes},
    }
    state = repr(content).encode(), *(address_text(address).encode() for address in job.shards)
    return {"fingerprint": digest(*state), **content, "inputs": description.leaves, "shards": list(job.shards)}


def _expected_shapes(job: Job) -> Callable[[int], Mapping[str, tuple[int, ...]] | None]:
    if job.shapes is None:
        return lambda index: None
    shapes = resolve(job.shapes, "shapes")
    return lambda index: shapes(job.inputs, dict(job.shards[index]))


class Results:
    """The results of a job: an iterator over its shards in the order of `job.shards`, to be used once.

    Shards are computed while the iteration goes on, some way ahead of it. Memory holds a bounded number of them,
    however many there are. Leaving early (`break`, an error, Ctrl-C) cancels what has not begun, waits for what has,
    and keeps what is finished in the folder. Use it in a `with` block, or iterate to the end, so that threads and lock
    are freed.

    `total` counts the shards, `reused` those of an earlier run, `computed` those finished by this one; `damaged` says
    for the number of each stored shard that was not intact what was wrong with it.
    """

    def __init__(
        self,
        job: Job,
        fingerprint: str,
        pickled: bytes,
        store: ShardFolder | None,
        threads: int | None,
        dask: str | None,
        progress: ProgressCallback | None,
    ) -> None:
        self.job = job
        self.total = len(job.shards)
        self.computed = 0
        self._store = store
        self._progress = progress or (lambda step: None)
        stored = store.reused if store is not None else set()
        self.reused = len(stored)
        self.damaged: dict[int, str] = dict(store.damaged) if store is not None else {}
        self._stored = set(stored)
        self._missing = deque(index for index in range(self.total) if index not in stored)
        self._held: dict[int, Arrays] = {}
        self._submitted = 0
        self._arrived: queue.SimpleQueue[tuple[int, Outcome]] = queue.SimpleQueue()
        self._fingerprint = fingerprint
        self._started = time.monotonic()
        self._closed = False
        self._say("start")
        for index, reason in self.damaged.items():
            self._say("note", f"shard {index} of the earlier run is damaged and computed again: {reason}")
        self._writer = _Writer(store, self._arrived.put) if store is not None and self._missing else None
        self._pool: Pool | None = None
        try:
            if self._missing:
                receive = self._writer.put if self._writer is not None else self._receive_directly
                work = Work(job.function, job.shapes, fingerprint, pickled, store is not None)
                if dask is not None:
                    self._pool = DaskPool(work, dask, receive, lambda text: self._say("note", text))
                else:
                    self._pool = ThreadPool(work, threads or cores(), receive)
        except BaseException:
            self._stop("failed")
            raise
        self._stream = self._iterate()

    def __iter__(self) -> Iterator[Shard]:
        return self._stream

    def __next__(self) -> Shard:
        return next(self._stream)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        self.close()
        return False

    def close(self) -> None:
        """Cancel what has not begun, keep what is finished, free the folder. Does nothing after the end."""
        self._stream.close()
        self._stop("stopped")

    def finish(self) -> Self:
        """Compute all shards that are missing, and keep none in memory; for a run that has a folder."""
        if self._store is None:
            raise InputError("a run without a folder", "a folder, or the results would be lost", "finish")
        for _ in self:
            pass
        return self

    def collect(self) -> dict[str, np.ndarray]:
        """Every array joined along its first axis in the order of the shards; single numbers become an array.

        This holds all results in memory. Raises `SimulationError` when the shards' arrays have different names.
        """
        parts: dict[str, list[np.ndarray]] = {}
        for shard in self:
            if parts and shard.arrays.keys() != parts.keys():
                raise SimulationError(f"shard {shard.index} has the arrays {list(shard.arrays)}, not {list(parts)}")
            for name, array in shard.arrays.items():
                parts.setdefault(name, []).append(np.atleast_1d(array))
        return {name: np.concatenate(arrays) for name, arrays in parts.items()}

    # ------------------------------------------------------------------------------------------------- the iteration

    def _iterate(self) -> Generator[Shard, None, None]:
        ending: Literal["finished", "stopped", "failed"] = "stopped"
        try:
            for index in range(self.total):
                self._submit()
                self._take_arrived()
                while index not in self._held and index not in self._stored:
                    self._take(*self._next_arrival())
                    self._submit()
                yield Shard(index, self.job.shards[index], self._arrays(index))
            ending = "finished"
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException:
            ending = "failed"
            raise
        finally:
            self._stop(ending)

    def _submit(self) -> None:
        """Keep the pool busy, but without a folder never so far ahead that results pile up in memory."""
        if self._pool is None:
            return
        capacity = self._pool.capacity()
        limit = HELD_PER_SUBMITTED * capacity
        while self._missing and self._submitted < capacity:
            if self._store is None and len(self._held) + self._submitted >= limit:
                return
            index = self._missing.popleft()
            self._submitted += 1
            self._pool.submit(index, self.job.shards[index])

    def _receive_directly(self, index: int, outcome: Outcome) -> None:
        self._arrived.put((index, outcome))

    def _next_arrival(self) -> tuple[int, Outcome]:
        while True:
            try:
                return self._arrived.get(timeout=TICK_SECONDS)  # without a limit Windows would not see Ctrl-C
            except queue.Empty:
                if self._pool is not None:
                    self._pool.capacity()  # which says when a cluster has no worker left

    def _take_arrived(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._take(*self._arrived.get_nowait())

    def _take(self, index: int, outcome: Outcome) -> None:
        self._submitted -= 1
        if outcome.error is not None:
            raise outcome.error
        self.computed += 1
        if self._store is not None:
            self._stored.add(index)
        if outcome.arrays is not None:
            self._held[index] = outcome.arrays
        elif outcome.data is not None and self._has_room():
            # the file is there in any case; a copy at hand spares reading it again
            label = Label(self._fingerprint, index, self.job.shards[index])
            self._held[index] = unpack(outcome.data, label, verify=False)
        self._say("advance")

    def _has_room(self) -> bool:
        return self._pool is not None and len(self._held) < HELD_PER_SUBMITTED * self._pool.capacity()

    def _arrays(self, index: int) -> Arrays:
        if index in self._held:
            return self._held.pop(index)
        assert self._store is not None
        try:
            return self._store.read(index)
        except Damaged as problem:
            path = self._store.path(index)
            raise SimulationError(
                f"{path} was damaged during this run: {problem}; run again with --resume"
            ) from problem

    # ------------------------------------------------------------------------------------------------------- the end

    def _stop(self, ending: Literal["finished", "stopped", "failed"]) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            if self._pool is not None:
                self._pool.close()
            if self._writer is not None:
                self._writer.close()
                self.computed = self._writer.stored  # also what arrived late or while Ctrl-C was pressed
        finally:
            if self._store is not None:
                self._store.close()
            kept = self._store is not None and ending != "finished"
            self._say(ending, f"finished shards are kept in {self._store.folder}" if kept and self._store else "")

    def _say(self, kind: Literal["start", "advance", "note", "finished", "stopped", "failed"], text: str = "") -> None:
        done = self.reused + self.computed
        left = None
        if self.computed:
            left = (time.monotonic() - self._started) / self.computed * (self.total - done)
        self._progress(Step(kind, self.job.name, done, self.total, left, text))


class _Writer(threading.Thread):
    """Stores finished shards from a thread of its own, several at a time, and passes them on when they are safe."""

    def __init__(self, store: ShardFolder, passed_on: Callable[[tuple[int, Outcome]], None]) -> None:
        super().__init__(name="simhcc-writer", daemon=True)
        self._store = store
        self._pass_on = passed_on
        self._queue: queue.SimpleQueue[tuple[int, Outcome] | None] = queue.SimpleQueue()
        self._failure: BaseException | None = None
        self.stored = 0
        self.start()

    def put(self, index: int, outcome: Outcome) -> None:
        """Take over a shard's outcome."""
        self._queue.put((index, outcome))

    def close(self) -> None:
        """Store what was taken over, then end."""
        self._queue.put(None)
        self.join()

    def run(self) -> None:
        """Store batches until told to end."""
        while True:
            taken = [self._queue.get()]
            while not self._queue.empty():
                taken.append(self._queue.get())
            batch = [item for item in taken if item is not None]
            self._store_batch([(index, outcome.data) for index, outcome in batch if outcome.data is not None])
            for index, outcome in batch:
                failed = self._failure is not None and outcome.error is None
                self._pass_on((index, Outcome(error=self._failure) if failed else outcome))
            if None in taken:
                return

    def _store_batch(self, batch: list[tuple[int, bytearray]]) -> None:
        if self._failure is not None or not batch:
            return
        try:
            with writing_into(self._store.shards):
                self._store.write(batch)
            self.stored += len(batch)
        except BaseException as error:
            self._failure = error


def stored_results(folder: str | Path) -> Iterator[Shard]:
    """The shards of a finished run, read from its folder and verified, in order.

    Raises `InputError` when the folder holds no run, an unfinished one, or damaged shards.
    """
    root = Path(folder)
    try:
        manifest = read_manifest(root / "manifest.json")
    except (OSError, Damaged) as problem:
        raise InputError(
            f"no readable manifest.json: {problem}", "a run's folder", "results folder", str(root)
        ) from problem
    addresses = tuple(
        {name: frozen_value(value, name) for name, value in address.items()} for address in manifest["shards"]
    )
    store = ShardFolder(root, manifest["fingerprint"], addresses)
    for index, address in enumerate(addresses):
        try:
            yield Shard(index, address, store.read(index))
        except Damaged as problem:
            found = f"shard {index} of {len(addresses)} that is missing or damaged: {problem}"
            raise InputError(found, "to run again with --resume", "results folder", str(root)) from problem
