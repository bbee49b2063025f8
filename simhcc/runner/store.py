"""A results folder that survives kill -9, a full disk and a power cut.

    folder/manifest.json          what the shards belong to: job, fingerprint, seed, versions, code, inputs, addresses
    folder/shards/000012.shard    one finished shard, written under another name, flushed, then renamed
    folder/.lock, .holder.json    one writer at a time, and who that is; gone when the writer is

A shard file is the magic number, the length of a JSON header, the header (fingerprint of the job, number and address of
the shard; name, dtype and shape of each array), the arrays in C order and little-endian, each starting at a multiple of
64 bytes, and last the BLAKE2b-256 digest of everything before it. It holds no time and no host name, so that the same
shard is the same file, byte for byte.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import filelock
import numpy as np

try:
    import fcntl
except ImportError:  # Windows has other locks
    fcntl = None  # type: ignore[assignment]

from ..errors import InputError, SimulationError
from .job import Address, address_text

LOCK, HOLDER = ".lock", ".holder.json"
MAGIC = b"simhcc1\n"
ALIGNMENT = 64
DIGEST_BYTES = 32
PIECE = 1 << 20
PLAIN_KINDS = "biufcSUmM"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DISK = (*FULL, errno.EROFS, errno.EIO)
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
UNWRITABLE = (
    *(errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENOENT),
    *WITHOUT_LOCKS,
)

Arrays = dict[str, np.ndarray]


class Damaged(Exception):
    """A stored file is not what was written; the text says why."""


# ---------------------------------------------------------------------------------------------------- shard files


@dataclass(frozen=True)
class Label:
    """Which shard of which job a file holds."""

    fingerprint: str
    index: int
    address: Address


def normalised(arrays: Any, copy: bool) -> Arrays:
    """A shard's result in the one form that is the same from memory, from disk and from a worker.

    Every array is little-endian and in C order. With `copy` it is writable and shares no memory with anything, so that
    a function may hand out a buffer it fills again. Raises `SimulationError` when the result is not a mapping of names
    to arrays of numbers or text.
    """
    if not isinstance(arrays, Mapping) or not all(isinstance(name, str) for name in arrays):
        raise SimulationError(f"the shard's function gave {type(arrays).__name__}, not a mapping of names to arrays")
    result: Arrays = {}
    for name, value in arrays.items():
        array = np.asarray(value)
        if array.dtype.kind not in PLAIN_KINDS or array.dtype.char in "gG":
            raise SimulationError(f"the shard's array {name!r} is of {array.dtype}; only numbers and text can be kept")
        result[name] = np.array(array, dtype=array.dtype.newbyteorder("<"), order="C", copy=True if copy else None)
    return result


def pack(label: Label, arrays: Arrays) -> bytearray:
    """The bytes of a shard file."""
    header = {
        "address": label.address,
        "arrays": [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()],
        "fingerprint": label.fingerprint,
        "index": label.index,
    }
    head = json.dumps(header, separators=(",", ":")).encode()
    buffer = bytearray(MAGIC + len(head).to_bytes(8, "little") + head)
    for array in arrays.values():
        buffer.extend(bytes(-len(buffer) % ALIGNMENT))
        buffer.extend(array.tobytes() if array.nbytes < PIECE else array.reshape(-1).view(np.uint8).data)
    buffer.extend(_blake2b(buffer))
    return buffer


def unpack(buffer: bytearray, label: Label, verify: bool = True) -> Arrays:
    """The arrays of a shard file, sharing its memory. Raises `Damaged` for anything `pack` would not have written."""
    if len(buffer) < len(MAGIC) + 8 + DIGEST_BYTES:
        raise Damaged(f"truncated: {len(buffer)} bytes")
    if verify and _blake2b(memoryview(buffer)[:-DIGEST_BYTES]) != buffer[-DIGEST_BYTES:]:
        raise Damaged("its checksum is wrong: truncated or changed")
    if not buffer.startswith(MAGIC):
        raise Damaged("it is not a shard file of this version")
    start = len(MAGIC) + 8
    offset = start + int.from_bytes(buffer[len(MAGIC) : start], "little")
    header = json.loads(bytes(buffer[start:offset]))
    _check_label(header, label)
    arrays: Arrays = {}
    for name, dtype_text, shape in header["arrays"]:
        dtype = np.dtype(dtype_text)
        offset += -offset % ALIGNMENT
        count = int(np.prod(shape, dtype=np.int64))
        values = np.frombuffer(buffer, dtype, count, offset) if count and dtype.itemsize else np.empty(count, dtype)
        arrays[name] = values.reshape(shape)
        offset += count * dtype.itemsize
    return arrays


def _blake2b(data: bytes | bytearray | memoryview) -> bytes:
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


def _check_label(header: Mapping[str, Any], label: Label) -> None:
    if header["fingerprint"] != label.fingerprint:
        raise Damaged("it belongs to another job")
    if header["index"] != label.index or json.dumps(header["address"]) != json.dumps(label.address):
        raise Damaged(f"it holds shard {header['index']} {header['address']}")


def misfit(arrays: Arrays, shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """What is wrong with the arrays of a shard, or None when names and shapes are as expected."""
    for name in [*shapes, *arrays]:
        expected = tuple(shapes[name]) if name in shapes else "absent"
        found = arrays[name].shape if name in arrays else "absent"
        if expected != found:
            return f"array {name!r} is {found}, not {expected}"
    return None


# ------------------------------------------------------------------------------------------------ durable writing


def write_durably(path: Path, data: bytes | bytearray, sync_folder: bool = True) -> None:
    """Write a file so that it appears whole or not at all, also after a power cut.

    The data go to a temporary file in the same folder, which is flushed to the disk and renamed; then the folder is
    flushed. With `sync_folder=False` the caller flushes the folder, once for several files.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o666)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    if sync_folder:
        flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Make the names in a folder durable (a rename is not, until its folder is flushed)."""
    if os.name == "nt":  # Windows has no such call and keeps the order by itself
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Create a folder and its missing parents, durably. Raises `InputError` when that is impossible."""
    missing = [path for path in [folder, *folder.parents] if not path.exists()]
    with writing_into(folder, before_the_run=True):
        folder.mkdir(parents=True, exist_ok=True)
        for path in missing:
            flush_folder(path.parent)


@contextmanager
def writing_into(folder: Path, before_the_run: bool = False, only: tuple[int, ...] = ()) -> Iterator[None]:
    """Turn the errors of a full disk or a folder that cannot be written into messages with a remedy.

    With `only` all other errors come through as they are.
    """
    try:
        yield
    except OSError as error:
        if only and error.errno not in only:
            raise
        reason = (error.strerror or str(error)).lower()
        if error.errno in FULL:
            remedy = "what was finished is kept; free some space and run the same command again with --resume"
            raise SimulationError(f"{folder}: the disk is full ({reason}); {remedy}") from error
        if before_the_run and error.errno in UNWRITABLE:
            found = f"a folder that cannot be written ({reason})"
            raise InputError(found, "a folder that this user may write", "results folder", str(folder)) from error
        remedy = "what was finished is kept; mend that and run the same command again with --resume"
        raise SimulationError(f"{folder}: writing failed ({reason}); {remedy}") from error


class Lock:
    """A lock that one process holds on a folder; the operating system frees it when the process dies.

    Its file and the note of who holds it go away with it. A process killed while it held the lock leaves both behind,
    without effect: the next one takes them over.
    """

    def __init__(self, path: Path, freed: Callable[[], None]) -> None:
        self.path = path
        self._freed = freed

    @property
    def holder(self) -> Path:
        """Where the holder says who it is."""
        return _holder_of(self.path)

    def release(self) -> None:
        """Give the lock back."""
        with suppress(OSError):
            self.holder.unlink()
        self._freed()


@contextmanager
def locked(folder: Path, name: str = "") -> Iterator[None]:
    """Hold the folder's lock. Raises `InputError` naming the process that holds it already."""
    lock = hold(folder, name)
    try:
        yield
    finally:
        lock.release()


def hold(folder: Path, name: str = "") -> Lock:
    """Take the folder's lock, or raise `InputError` at once. The operating system frees it when a process dies."""
    path = folder / f"{name}{LOCK}"
    with writing_into(folder, before_the_run=True):
        lock = _take(path)
        if lock is None:
            found = f"{_words_of_holder(_holder_of(path))} is writing into it"
            expected = "to wait until that has ended, or another folder"
            raise InputError(found, expected, "results folder", str(folder))
        try:
            lock.holder.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        except BaseException:
            lock.release()
            raise
    return lock


def _take(path: Path) -> Lock | None:
    """The lock, or None when another process has it."""
    if fcntl is None:
        lock = filelock.FileLock(path, thread_local=False)  # on Windows its file goes away with it
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            return None
        return Lock(path, lock.release)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        # The holder before may have removed the file after it was opened here; then this locks something nobody sees.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return Lock(path, partial(_free, path, descriptor))
        os.close(descriptor)


def _free(path: Path, descriptor: int) -> None:
    with suppress(OSError):
        os.unlink(path)  # while it is still held: nobody can have taken this file
    os.close(descriptor)


def _holder_of(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(LOCK) + HOLDER)


def _words_of_holder(path: Path) -> str:
    try:
        who = json.loads(path.read_text())
        return f"process {who['pid']} on {who['host']}"
    except (OSError, ValueError, KeyError):  # it has the lock and has not said its name yet
        return "another process"


# ------------------------------------------------------------------------------------------------------- manifest


def manifest_bytes(content: Mapping[str, Any]) -> bytes:
    """The manifest as readable JSON, one address a line, with the BLAKE2b of its content as last entry."""
    sealed = {**content, "checksum": _seal(content)}
    lines = []
    for key, value in sealed.items():
        if key == "shards":
            text = "[\n  " + ",\n  ".join(address_text(address) for address in value) + "\n ]"
        else:
            text = json.dumps(value, indent=1).replace("\n", "\n ")
        lines.append(f" {json.dumps(key)}: {text}")
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest's content. Raises `Damaged` when it is not as it was written, FileNotFoundError when absent."""
    try:
        content = json.loads(path.read_bytes())
        seal = content.pop("checksum")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise Damaged("it is not a manifest written by simhcc") from error
    if seal != _seal(content):
        raise Damaged("its checksum is wrong")
    return content


def _seal(content: Mapping[str, Any]) -> str:
    return _blake2b(json.dumps(content, separators=(",", ":")).encode()).hex()


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two manifests, in words, what a person can act upon first."""
    found: list[str] = []

    def compare(name: str, old: Any, new: Any) -> None:
        if old != new:
            found.append(f"{name}: {old} in the folder, {new} now")

    compare("job", before["job"], now["job"])
    compare("function", before["function"], now["function"])
    compare("shapes", before["shapes"], now["shapes"])
    compare("seed", before["seed"], now["seed"])
    for table in ("versions", "code", "inputs"):
        old, new = before[table], now[table]
        for key in [*new, *(key for key in old if key not in new)]:
            name = f"{table}.{key}" if table != "inputs" else key
            if not (key == "inputs.seed" and before["seed"] != now["seed"]):
                compare(name, old.get(key, "absent"), new.get(key, "absent"))
        if list(old) != list(new) and set(old) == set(new):
            found.append(f"{table}: the same entries in another order")
    old_shards, new_shards = ([json.dumps(a) for a in m["shards"]] for m in (before, now))
    if old_shards != new_shards:
        first = next(
            (i for i, pair in enumerate(zip(old_shards, new_shards, strict=False)) if pair[0] != pair[1]), None
        )
        detail = "" if first is None else f"; the first that differs is {old_shards[first]}, now {new_shards[first]}"
        found.append(f"shards: {len(old_shards)} in the folder, {len(new_shards)} now{detail}")
    if not found:
        found.append(f"inputs: {before['inputs_digest']} in the folder, {now['inputs_digest']} now")
    return found


# --------------------------------------------------------------------------------------------------------- folder


class ShardFolder:
    """The shards of one job on disk, held by one process at a time.

    `reused` are the numbers of the shards found intact, `damaged` says why others must be computed again.
    """

    def __init__(self, folder: Path, fingerprint: str, shards: tuple[Address, ...]) -> None:
        self.folder = folder
        self.shards = folder / "shards"
        self.fingerprint = fingerprint
        self.addresses = shards
        self.damaged: dict[int, str] = {}
        self.reused: set[int] = set()
        self._lock: Lock | None = None

    def path(self, index: int) -> Path:
        """Where shard `index` lies."""
        return self.shards / f"{index:06d}.shard"

    def label(self, index: int) -> Label:
        """What the file of shard `index` must say about itself."""
        return Label(self.fingerprint, index, self.addresses[index])

    def open(
        self, manifest: Mapping[str, Any], resume: bool, shapes: Callable[[int], Mapping[str, Any] | None]
    ) -> None:
        """Lock the folder, compare it with this job, write the manifest, and verify what is there.

        Raises `InputError` when the folder holds results and `resume` is not said, when they are of another job (saying
        what differs), when another process holds the folder, or when it cannot be written.
        """
        make_folder(self.folder)
        self._lock = hold(self.folder)
        try:
            self._adopt(manifest, resume, shapes)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let other processes use the folder."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _adopt(self, manifest: Mapping[str, Any], resume: bool, shapes: Callable[[int], Any]) -> None:
        make_folder(self.shards)
        path = self.folder / "manifest.json"
        present = sorted(self.shards.glob("*.shard"))
        before: dict[str, Any] | None = None
        try:
            before = read_manifest(path)
        except FileNotFoundError:
            pass
        except Damaged as problem:
            if not present:
                self._refuse(f"a manifest.json that is not this program's: {problem}", "another folder")
        if present and not resume:
            name = f" of job {before['job']!r}" if before else ""
            total = f" of {len(before['shards'])}" if before else ""
            found = f"results{name}: {len(present)}{total} shards"
            self._refuse(found, "--resume to continue them, or another folder")
        if present and before is not None and before["fingerprint"] != manifest["fingerprint"]:
            listed = differences(before, manifest)
            more = f"\n    and {len(listed) - 12} more" if len(listed) > 12 else ""
            text = "".join(f"\n    {line}" for line in listed[:12]) + more
            self._refuse(f"results that are not of this run; what differs:{text}", "the same run, or another folder")
        for leftover in self.shards.glob(".*.tmp"):
            leftover.unlink()
        self._verify(present, shapes, adopted=before is None)
        data = manifest_bytes(manifest)
        with writing_into(self.folder, before_the_run=True):
            if not path.exists() or path.read_bytes() != data:
                write_durably(path, data)

    def _refuse(self, found: str, expected: str) -> None:
        raise InputError(found, expected, "results folder", str(self.folder))

    def _verify(self, present: list[Path], shapes: Callable[[int], Any], adopted: bool) -> None:
        """Sort the files present into `reused` and `damaged`; without a manifest another job's files are refused."""
        indices = {self.path(i).name: i for i in range(len(self.addresses))}
        for path in present:
            index = indices.get(path.name)
            if index is None:
                self._refuse(f"{path.name}, which is not a shard of this run", "another folder")
                continue
            try:
                arrays = self.read(index)
                expected = shapes(index)
                wrong = None if expected is None else misfit(arrays, expected)
                if wrong:
                    raise Damaged(wrong)
            except Damaged as problem:
                if adopted and "another job" in str(problem):
                    self._refuse(f"shards of another job and no manifest: {path.name}", "another folder")
                self.damaged[index] = str(problem)
            else:
                self.reused.add(index)

    def read(self, index: int) -> Arrays:
        """The arrays of a stored shard, verified. Raises `Damaged`."""
        try:
            path = self.path(index)
            buffer = bytearray(path.stat().st_size)
            with path.open("rb") as file:
                if file.readinto(buffer) != len(buffer):
                    raise Damaged("it changed while being read")
        except OSError as error:
            raise Damaged(f"it cannot be read ({(error.strerror or str(error)).lower()})") from error
        return unpack(buffer, self.label(index))

    def write(self, batch: list[tuple[int, bytearray]]) -> None:
        """Store finished shards; when this returns they outlive a power cut."""
        for index, data in batch:
            write_durably(self.path(index), data, sync_folder=False)
        flush_folder(self.shards)


# -------------------------------------------------------------------------------------------------------- publish


def publish(folder: str | Path, name: str, writer: Callable[[Path], None], replace: bool = False) -> Path:
    """Let `writer(path)` fill a folder of files, and show it as `folder/name` when it is complete.

    The files are written beside their place, flushed to the disk and renamed as one folder, so that a reader finds all
    of them or none. When `folder/name` exists it is refused, or with `replace` exchanged for the new one; whatever goes
    wrong, the earlier one stays. Returns the path of the published folder. Raises `InputError` for a folder that exists
    or cannot be written and `SimulationError` for a full disk; what `writer` raises comes through.
    """
    root = Path(folder)
    target, old = root / name, root / f".{name}.old"
    if Path(name).name != name:
        raise InputError(repr(name), "a plain name without separators", "publish")
    make_folder(root)
    with locked(root, f".{name}"):
        if old.exists():  # an earlier exchange was cut short
            if target.exists():
                shutil.rmtree(old)
            else:
                os.rename(old, target)
        for leftover in root.glob(f".{name}.new-*"):
            shutil.rmtree(leftover)
        if target.exists() and not target.is_dir():
            raise InputError("a file in the place of the results", "another folder", name, str(root))
        if target.exists() and not replace:
            raise InputError(
                "results that are complete", "--overwrite to replace them, or another folder", name, str(root)
            )
        with writing_into(root, only=DISK):
            new = Path(tempfile.mkdtemp(prefix=f".{name}.new-", dir=root))
            try:
                writer(new)
                _flush_tree(new)
                if target.exists():
                    os.rename(target, old)
                try:
                    os.rename(new, target)
                except BaseException:
                    if old.exists():
                        os.rename(old, target)
                    raise
            except BaseException:
                shutil.rmtree(new, ignore_errors=True)
                raise
            flush_folder(root)
            if old.exists():
                shutil.rmtree(old)
    return target


def _flush_tree(root: Path) -> None:
    """Flush every file below a folder, then the folders; and give the folder the permissions a user expects."""
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(root, 0o777 & ~mask)
    for folder, _, files in os.walk(root, topdown=False):
        for name in files:
            descriptor = os.open(Path(folder, name), os.O_RDWR)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        flush_folder(Path(folder))
