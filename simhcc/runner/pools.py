"""Where shards are computed: threads of this process, or the workers of a Dask cluster.

Both pools call the same function with a copy of the same pickled inputs, so that neither the memory layout of an array
nor a careless write to the caller's arrays can make a difference. Both hand over an `Outcome` for every shard
submitted, from a thread of their own, and never raise from there.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import simhcc.errors

from ..errors import InputError, SimhccError, SimulationError
from .fingerprint import code, resolve, versions
from .job import CHUNKS_PER_THREAD, Address
from .store import Arrays, Damaged, Label, misfit, normalised, pack, unpack

ANSWER_SECONDS = 10  # a scheduler that has not answered by then is taken to be absent
CAPACITY_SECONDS = 2.0  # workers come and go; look again this often
SENDINGS = 5  # times in a row that the inputs are sent again without a shard being finished in between


@dataclass(frozen=True)
class Outcome:
    """What became of a shard: its arrays, or the bytes of its file, or the error that stopped it."""

    arrays: Arrays | None = None
    data: bytearray | None = None
    error: BaseException | None = None


Receiver = Callable[[int, Outcome], None]


class Pool(Protocol):
    """Computes shards side by side."""

    def capacity(self) -> int:
        """Shards to keep submitted: enough that nobody waits, few enough that little is lost."""

    def submit(self, index: int, address: Address) -> None:
        """Compute one shard; the receiver gets its outcome."""

    def close(self) -> None:
        """Forget what has not begun, and wait for what has. Outcomes still arrive until this returns."""


@dataclass(frozen=True)
class Work:
    """What a pool needs to know of a job."""

    function: str
    shapes: str | None
    fingerprint: str
    pickled: bytes
    as_file: bool


def pickle_inputs(inputs: Mapping[str, Any]) -> bytes:
    """The inputs as bytes. Raises `InputError` when they cannot be sent to another process."""
    try:
        return pickle.dumps(inputs, protocol=5)
    except Exception as error:  # pickling raises whatever an object's own code raises
        raise InputError(
            f"something that cannot be sent to another process: {error}", "plain data", "inputs"
        ) from error


def compute(function: str, shapes: str | None, inputs: Mapping[str, Any], address: Address, copy: bool) -> Arrays:
    """Call a job's function for one address and check what it gives."""
    arrays = normalised(resolve(function)(inputs, dict(address)), copy)
    if shapes is not None:
        wrong = misfit(arrays, resolve(shapes, "shapes")(inputs, dict(address)))
        if wrong:
            raise SimulationError(f"{function} gave another result than promised: {wrong}")
    return arrays


def explained(error: BaseException, label: Label) -> BaseException:
    """The error of a shard as a person needs it: with the shard's address, its own class if it is one of ours."""
    place = f"shard {label.index} {dict(label.address)}"
    if isinstance(error, SimhccError):
        error.add_note(f"in {place}")
        return error
    wrapped = SimulationError(f"{place} failed: {type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class ThreadPool:
    """Threads of this process; the engine works outside Python's global lock, so they fill the cores."""

    def __init__(self, work: Work, threads: int, receive: Receiver) -> None:
        self._function, self._shapes, self._as_file = work.function, work.shapes, work.as_file
        self._fingerprint = work.fingerprint
        self._inputs = pickle.loads(work.pickled)
        self._receive = receive
        self._threads = threads
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="simhcc")

    def capacity(self) -> int:
        """Shards to keep submitted."""
        return CHUNKS_PER_THREAD * self._threads

    def submit(self, index: int, address: Address) -> None:
        """Compute one shard in the next free thread."""
        self._executor.submit(self._run, index, address)

    def _run(self, index: int, address: Address) -> None:
        label = Label(self._fingerprint, index, address)
        try:
            arrays = compute(self._function, self._shapes, self._inputs, address, copy=not self._as_file)
            outcome = Outcome(data=pack(label, arrays)) if self._as_file else Outcome(arrays=arrays)
        except BaseException as error:
            outcome = Outcome(error=explained(error, label))
        self._receive(index, outcome)

    def close(self) -> None:
        """Forget what has not begun, and wait for what has."""
        self._executor.shutdown(wait=True, cancel_futures=True)


# ------------------------------------------------------------------------------------------------- on a Dask worker

_loaded: dict[str, Mapping[str, Any]] = {}
_loading = threading.Lock()


def remote_shard(function: str, shapes: str | None, label: Label, parcel: bytes) -> bytes | dict[str, Any]:
    """Compute one shard on a worker: the bytes of its file, or a description of what went wrong.

    `parcel` holds the pickled inputs with the versions and code they were prepared for; it is opened once a process.
    An exception is described rather than raised because not every exception survives pickling.
    """
    try:
        inputs = _open_parcel(function, label.fingerprint, parcel)
        return bytes(pack(label, compute(function, shapes, inputs, label.address, copy=False)))
    except Exception as error:
        own = isinstance(error, SimhccError)
        return {
            "class": type(error).__name__,
            "own": own,
            "args": tuple(str(arg) for arg in error.args),
            "fields": {key: value for key, value in vars(error).items() if not key.startswith("__")} if own else {},
            "text": str(error),
            "traceback": "".join(traceback.format_exception(error)),
        }


def make_parcel(function: str, pickled: bytes) -> bytes:
    """What is sent once to every worker."""
    return pickle.dumps((versions(), code(function), pickled), protocol=5)


def _open_parcel(function: str, fingerprint: str, parcel: bytes) -> Mapping[str, Any]:
    with _loading:
        if fingerprint not in _loaded:
            their_versions, their_code, pickled = pickle.loads(parcel)
            resolve(function)
            mine = versions()
            wrong = [
                f"{name} {mine[name]} instead of {want}" for name, want in their_versions.items() if mine[name] != want
            ]
            if not wrong:
                here = code(function)
                names = sorted(name for name in {*here, *their_code} if here.get(name) != their_code.get(name))
                wrong = [f"another source of {name}" for name in names]
            if wrong:
                raise InputError(f"a worker with {', '.join(wrong[:6])}", "the same versions everywhere", "dask")
            _loaded.clear()  # one job at a time; the inputs of earlier ones would only fill the memory
            _loaded[fingerprint] = pickle.loads(pickled)
        return _loaded[fingerprint]


def _rebuilt(report: Mapping[str, Any], label: Label) -> BaseException:
    """The exception that a worker described."""
    if report["own"]:
        kind = getattr(simhcc.errors, report["class"], SimulationError)
        error: BaseException = kind.__new__(kind, *report["args"])
        error.args = report["args"]
        vars(error).update(report["fields"])
        error.add_note(f"in shard {label.index} {dict(label.address)}")
        return error
    error = SimulationError(f"shard {label.index} {dict(label.address)} failed: {report['class']}: {report['text']}")
    error.add_note(report["traceback"])
    return error


# ------------------------------------------------------------------------------------------------------ Dask, here


class DaskPool:
    """The workers of an existing Dask cluster.

    The inputs are sent once and copied to every worker. A shard is a task of one thread; the scheduler repeats it when
    its worker is lost. When every worker that held the inputs is lost, they are sent again.
    """

    def __init__(self, work: Work, address: str, receive: Receiver, note: Callable[[str], None]) -> None:
        self._work = work
        self._address = address
        self._receive = receive
        self._note = note
        self._client = _connect(address)
        self._token = uuid.uuid4().hex[:12]
        self._lock = threading.RLock()
        self._running: dict[int, tuple[Any, int]] = {}  # shard -> future, and the sending of the inputs it uses
        self._tries: dict[int, int] = {}
        self._labels: dict[int, Label] = {}
        self._sending = 0
        self._fruitless = 0  # sendings since a shard was last finished
        self._closing = False
        self._parcel: Any = None
        self._capacity, self._looked = CHUNKS_PER_THREAD, 0.0
        self._done: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        try:
            self._wait_for_workers()
            self._send()
        except BaseException:
            self._client.close()
            raise
        self._collector = threading.Thread(target=self._collect, name="simhcc-dask", daemon=True)
        self._collector.start()

    def _wait_for_workers(self) -> None:
        if not self._client.nthreads():
            self._note(f"waiting for the first worker of {self._address}")
            while not self._client.nthreads() and not self._closing:
                time.sleep(0.2)

    def _send(self) -> None:
        self._sending += 1
        parcel = make_parcel(self._work.function, self._work.pickled)
        self._parcel = self._client.scatter(parcel, broadcast=True, hash=False)

    def capacity(self) -> int:
        """Shards to keep submitted: four for each thread that the cluster has now."""
        now = time.monotonic()
        if now - self._looked >= CAPACITY_SECONDS:
            self._looked = now
            with contextlib.suppress(OSError, ValueError):  # a lost scheduler shows itself in the futures
                self._capacity = CHUNKS_PER_THREAD * max(1, sum(self._client.nthreads().values()))
        return self._capacity

    def submit(self, index: int, address: Address) -> None:
        """Send one shard to the cluster."""
        with self._lock:
            self._labels[index] = Label(self._work.fingerprint, index, address)
            self._tries[index] = 0
            self._start(index)

    def _start(self, index: int) -> None:
        key = f"simhcc-{self._token}-{index}-{self._tries[index]}"
        arguments = (self._work.function, self._work.shapes, self._labels[index], self._parcel)
        future = self._client.submit(remote_shard, *arguments, key=key, pure=False)
        self._running[index] = (future, self._sending)
        self._watch(index, future)

    def _watch(self, index: int, future: Any) -> None:
        future.add_done_callback(lambda _: self._done.put(index))

    def _collect(self) -> None:
        """Fetch finished shards, several at a time, until told to stop."""
        while True:
            indices = [self._done.get()]
            while not self._done.empty():
                indices.append(self._done.get())
            try:
                self._fetch([index for index in indices if index is not None])
            except BaseException as error:
                self._fail(error)
                return
            if None in indices:
                return

    def _fetch(self, indices: list[int]) -> None:
        with self._lock:
            futures = {index: self._running[index] for index in indices if index in self._running}
        finished = {index: future for index, (future, _) in futures.items() if future.status == "finished"}
        # "skip" gives None for a result that was lost on the way; its future is looked at again below
        results = self._client.gather(finished, errors="skip") if finished else {}
        for index, (future, sending) in futures.items():
            if results.get(index) is not None:
                self._finish(index, self._outcome(index, results[index]))
            elif future.status == "error":
                self._finish(index, Outcome(error=self._task_error(index, future.exception())))
            elif future.status == "cancelled":
                self._repeat(index, sending)
            else:  # the scheduler is repeating it
                self._watch(index, future)

    def _finish(self, index: int, outcome: Outcome) -> None:
        with self._lock:
            self._running.pop(index, None)
            del self._labels[index], self._tries[index]
            self._fruitless = 0 if outcome.error is None else self._fruitless
        self._receive(index, outcome)

    def _outcome(self, index: int, result: bytes | dict[str, Any]) -> Outcome:
        label = self._labels[index]
        if isinstance(result, dict):
            return Outcome(error=_rebuilt(result, label))
        data = bytearray(result)
        try:
            arrays = unpack(data, label)
        except Damaged as problem:
            return Outcome(error=SimulationError(f"shard {index} arrived damaged from a worker: {problem}"))
        return Outcome(data=data) if self._work.as_file else Outcome(arrays=arrays)

    def _task_error(self, index: int, error: BaseException) -> BaseException:
        name = type(error).__name__
        if name == "KilledWorker":
            text = f"{self._place(index)} took several workers down with it: {error}"
            wrapped: BaseException = SimulationError(f"{text}\n{_TOO_LARGE}")
        elif isinstance(error, ImportError):
            wrapped = InputError(f"a worker that cannot import what it needs: {error}", _SAME_EVERYWHERE, "dask")
        else:
            wrapped = SimulationError(f"shard {index} failed on a worker: {name}: {error}")
        wrapped.__cause__ = error
        return wrapped

    def _repeat(self, index: int, sending: int) -> None:
        """A future was cancelled because what it needed is lost: send the inputs again if need be, and submit again."""
        with self._lock:
            if self._client.status != "running":
                error = f"the connection to the Dask scheduler {self._address} was lost"
                self._finish(index, Outcome(error=SimulationError(error)))
            elif self._fruitless > SENDINGS:
                error = (
                    f"all workers were lost {SENDINGS} times without finishing a shard, the last {self._place(index)}"
                )
                self._finish(index, Outcome(error=SimulationError(f"{error}\n{_TOO_LARGE}")))
            else:
                if sending == self._sending:
                    self._fruitless += 1
                    self._note("the inputs were lost with a worker; sending them again")
                    self._wait_for_workers()
                    self._send()
                self._tries[index] += 1
                self._start(index)

    def _place(self, index: int) -> str:
        return f"shard {index} {dict(self._labels[index].address)}"

    def _fail(self, error: BaseException) -> None:
        wrapped = SimulationError(f"the Dask cluster {self._address} failed: {type(error).__name__}: {error}")
        wrapped.__cause__ = error
        with self._lock:
            indices = list(self._running)
        for index in indices:
            self._finish(index, Outcome(error=wrapped))

    def close(self) -> None:
        """Cancel what has not finished; keep what has."""
        self._closing = True
        with self._lock:
            waiting = [future for future, _ in self._running.values() if future.status == "pending"]
            for index in [index for index, (future, _) in self._running.items() if future.status == "pending"]:
                del self._running[index]
        self._done.put(None)
        self._collector.join()
        with contextlib.suppress(Exception):  # the scheduler may be gone, which is no reason to lose what is here
            if waiting:
                self._client.cancel(waiting)
            self._client.close()


_TOO_LARGE = "The memory of a worker may be too small; use smaller shards or larger workers."
_SAME_EVERYWHERE = "simhcc and the function's package installed on every worker, in the same versions as here"


def _connect(address: str) -> Any:
    """A client of the scheduler at `address`. Raises `InputError` when there is none or Dask is not installed."""
    if "://" not in address:
        raise InputError(repr(address), 'an address such as "tcp://192.168.0.10:8786"', "dask")
    try:
        from distributed import Client
    except ImportError as error:
        remedy = 'it installed: pip install "simhcc[cluster]"'
        raise InputError("the package distributed is not installed", remedy, "dask") from error
    try:
        return Client(address, timeout=ANSWER_SECONDS, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        expected = "the address of a running scheduler, as `dask scheduler` prints it"
        raise InputError(f"no answer from {address}: {error}", expected, "dask") from error
