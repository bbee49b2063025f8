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
import warnings
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
    if isinstance(error, SimhccError):
        error.add_note(f"in {_place(label)}")
        return error
    wrapped = SimulationError(f"{_place(label)} failed: {type(error).__name__}: {error}")
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


def hand_on(parcel: bytes) -> bytes:
    """The parcel, as the result of a task."""
    return parcel


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
        error.add_note(f"in {_place(label)}")
        return error
    error = SimulationError(f"{_place(label)} failed: {report['class']}: {report['text']}")
    error.add_note(report["traceback"])
    return error


# ------------------------------------------------------------------------------------------------------ Dask, here


class DaskPool:
    """The workers of an existing Dask cluster.

    The inputs are a task of their own, whose result is copied to every worker before the first shard is sent: the
    scheduler prefers workers that hold what a task needs, so the others would stand idle. They travel once to each
    worker, and because a task can be repeated they are not lost when every worker that held them is. (Scattered data
    are.) A shard is a task of one thread; the scheduler repeats it when its worker is lost.
    """

    def __init__(self, work: Work, address: str, receive: Receiver, note: Callable[[str], None]) -> None:
        self._work = work
        self._address = address
        self._receive = receive
        self._note = note
        self._client = _connect(address)
        self._token = uuid.uuid4().hex[:12]
        self._lock = threading.Lock()
        self._running: dict[int, tuple[Any, Label]] = {}
        self._capacity, self._looked, self._manned = CHUNKS_PER_THREAD, 0.0, True
        self._done: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        try:
            if not self._client.nthreads():
                note(f"waiting for the first worker of {address}")
            self._parcel = self._send_inputs(make_parcel(work.function, work.pickled))
        except BaseException:
            self._client.close()
            raise
        self._collector = threading.Thread(target=self._collect, name="simhcc-dask", daemon=True)
        self._collector.start()

    def _send_inputs(self, parcel: bytes) -> Any:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sending large graph")  # it is sent once, as that advises
            future = self._client.submit(hand_on, parcel, key=f"simhcc-{self._token}-inputs", pure=False)
        error = future.exception()
        if error is not None:
            raise InputError(f"a worker that cannot take the inputs: {error}", _SAME_EVERYWHERE, "dask") from error
        with contextlib.suppress(Exception):  # a worker that leaves meanwhile; others fetch what they need
            self._client.replicate([future])
        return future

    def capacity(self) -> int:
        """Shards to keep submitted: four for each thread that the cluster has now."""
        now = time.monotonic()
        if now - self._looked >= CAPACITY_SECONDS:
            self._looked = now
            with contextlib.suppress(OSError, ValueError):  # a lost scheduler shows itself in the futures
                threads = sum(self._client.nthreads().values())
                if threads == 0 and self._manned:
                    self._note(f"no worker is left at {self._address}; waiting for one to join")
                self._manned = threads > 0
                self._capacity = CHUNKS_PER_THREAD * max(1, threads)
        return self._capacity

    def submit(self, index: int, address: Address) -> None:
        """Send one shard to the cluster."""
        label = Label(self._work.fingerprint, index, address)
        arguments = (self._work.function, self._work.shapes, label, self._parcel)
        future = self._client.submit(remote_shard, *arguments, key=f"simhcc-{self._token}-{index}", pure=False)
        with self._lock:
            self._running[index] = (future, label)
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
            running = {index: self._running[index] for index in indices if index in self._running}
        finished = {index: future for index, (future, _) in running.items() if future.status == "finished"}
        # "skip" gives None for a result that was lost on the way; its future is looked at again below
        results = self._client.gather(finished, errors="skip") if finished else {}
        for index, (future, label) in running.items():
            if results.get(index) is not None:
                self._finish(index, self._outcome(label, results[index]))
            elif future.status == "error":
                self._finish(index, Outcome(error=_task_error(label, future.exception())))
            elif future.status == "cancelled":
                self._finish(index, Outcome(error=SimulationError(f"{self._lost}: {_place(label)} was cancelled")))
            else:  # the scheduler is repeating it
                self._watch(index, future)

    @property
    def _lost(self) -> str:
        return f"the Dask scheduler {self._address} was lost or gave up this run"

    def _finish(self, index: int, outcome: Outcome) -> None:
        with self._lock:
            self._running.pop(index, None)
        self._receive(index, outcome)

    def _outcome(self, label: Label, result: bytes | dict[str, Any]) -> Outcome:
        if isinstance(result, dict):
            return Outcome(error=_rebuilt(result, label))
        data = bytearray(result)
        try:
            arrays = unpack(data, label)
        except Damaged as problem:
            return Outcome(error=SimulationError(f"{_place(label)} arrived damaged from a worker: {problem}"))
        return Outcome(data=data) if self._work.as_file else Outcome(arrays=arrays)

    def _fail(self, error: BaseException) -> None:
        wrapped = SimulationError(f"{self._lost}: {type(error).__name__}: {error}")
        wrapped.__cause__ = error
        with self._lock:
            indices = list(self._running)
        for index in indices:
            self._finish(index, Outcome(error=wrapped))

    def close(self) -> None:
        """Cancel what has not finished; keep what has."""
        with self._lock:
            waiting = [index for index, (future, _) in self._running.items() if future.status == "pending"]
            futures = [self._running.pop(index)[0] for index in waiting]
        self._done.put(None)
        self._collector.join(ANSWER_SECONDS)  # it fetches what is finished, unless the scheduler has gone
        with contextlib.suppress(Exception):  # which is no reason to lose what is here
            if futures:
                self._client.cancel(futures)
            self._client.close()


def _place(label: Label) -> str:
    return f"shard {label.index} {dict(label.address)}"


def _task_error(label: Label, error: BaseException) -> BaseException:
    """What Dask itself says of a task, as a person needs it."""
    name = type(error).__name__
    if name == "KilledWorker":
        text = f"{_place(label)} took several workers down with it: {error}"
        wrapped: BaseException = SimulationError(f"{text}\n{_TOO_LARGE}")
    elif isinstance(error, ImportError) or isinstance(error.__cause__, ImportError):
        wrapped = InputError(f"a worker that cannot import what it needs: {error}", _SAME_EVERYWHERE, "dask")
    else:
        wrapped = SimulationError(f"{_place(label)} failed on a worker: {name}: {error}")
    wrapped.__cause__ = error
    return wrapped


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
