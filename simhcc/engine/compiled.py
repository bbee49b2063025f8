"""How every compiled function of simhcc is made: strict arithmetic, one cache folder, one message to the user.

Numba looks only at the file of a cached function to decide whether its cache is fresh, so an edited helper in
another file would go unnoticed. The cache folder is therefore named after a digest of all compiled sources, the
Numba version and the processor, and it is chosen before any function is decorated.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import filelock
import llvmlite.binding as llvm
import numba
from numba import njit, types
from numba.core import event
from numba.core.compiler_lock import global_compiler_lock
from numba.core.sigutils import normalize_signature
from numba.np import arrayobj

_config: Any = numba.config
_PACKAGE = Path(__file__).resolve().parent.parent
_FOLDER_NAME = "__numba_cache__"
_KEPT_FOLDERS = 8
_decorating = threading.Lock()


def _sources(package: Path) -> dict[str, bytes]:
    """Return the contents of the files that hold compiled functions by their names, in a fixed order.

    These are the engine, the outcomes and every other file that imports from this module.
    """
    contents = {path.relative_to(package).as_posix(): path.read_bytes() for path in sorted(package.rglob("*.py"))}
    return {
        name: content
        for name, content in contents.items()
        if name.startswith(("engine/", "outcomes")) or b"engine.compiled" in content
    }


def _digest(package: Path) -> str:
    """Return a name for what the machine code depends on: the sources, Numba, LLVM and the processor."""
    features = llvm.get_host_cpu_features().flatten() if _config.CPU_FEATURES is None else ""
    parts = [
        numba.__version__,
        ".".join(map(str, llvm.llvm_version_info)),
        platform.machine(),
        llvm.get_host_cpu_name(),
        features,
        *(str(getattr(_config, name, None)) for name in ("CPU_NAME", "CPU_FEATURES", "ENABLE_AVX", "OPT")),
    ]
    digest = hashlib.blake2s(digest_size=10)
    for part in parts:
        digest.update(part.encode() + b"\0")
    for name, content in _sources(package).items():
        digest.update(f"{name} {len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _user_cache() -> Path:
    """Return the operating system's folder for what a program may recompute."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _candidates(package: Path) -> Iterator[Path]:
    """Yield the folders that may hold the cache, best first; `NUMBA_CACHE_DIR`, where the user set it, goes first."""
    if _config.CACHE_DIR:
        yield Path(_config.CACHE_DIR) / "simhcc"
    yield package / _FOLDER_NAME
    with contextlib.suppress(RuntimeError):  # no home folder
        yield _user_cache() / "simhcc" / "numba"
    owner = os.getuid() if hasattr(os, "getuid") else "user"
    with contextlib.suppress(FileNotFoundError):  # no temporary folder either
        yield Path(tempfile.gettempdir()) / f"simhcc-numba-{owner}"


def _choose_folder(package: Path) -> Path | None:
    """Return the first candidate folder that can be written to, or None when there is none.

    None means that nothing is cached: simhcc still imports and runs, and compiles once in every process.
    """
    if _config.DISABLE_JIT or not Path(__file__).is_file():
        return None
    name = _digest(package)
    for root in _candidates(package):
        folder = root / name
        try:
            # Others must not be able to plant machine code in a folder below a shared temporary folder.
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if hasattr(os, "getuid") and root.stat().st_uid not in (os.getuid(), 0):
                continue
            folder.mkdir(mode=0o700, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError:
            continue
        return folder
    return None


CACHE_FOLDER: Path | None = _choose_folder(_PACKAGE)


def compiled(signature: Any = None, **options: Any) -> Any:
    """Compile a function with strict IEEE arithmetic, without the GIL, cached on disk.

    Use it bare (`@compiled`) or with a Numba signature (`@compiled("float64(float64)")`), which compiles, or loads
    from the cache, when the module is imported. `options` go to `numba.njit`; there is never fast mathematics.
    With `NUMBA_DISABLE_JIT=1` the function stays plain Python; run it under `numpy.errstate(all="ignore")`.
    """
    if callable(signature) and not options:
        return compiled()(signature)
    if options.get("fastmath"):
        raise ValueError("fastmath changes results from one processor to another; simhcc does not use it")
    settings = {"nogil": True, "error_model": "numpy", "cache": CACHE_FOLDER is not None, **options}

    def decorate(function: Callable[..., Any]) -> Any:
        # Numba fixes the folder of a function's cache while it decorates. The user's setting is put back at once,
        # so their own compiled functions are cached where they always were.
        with _decorating:
            kept = _config.CACHE_DIR
            if CACHE_FOLDER is not None:
                _config.CACHE_DIR = str(CACHE_FOLDER)
            try:
                return njit(signature, **settings)(function) if signature is not None else njit(**settings)(function)
            finally:
                _config.CACHE_DIR = kept

    return decorate


def inline(function: Callable[..., Any]) -> Any:
    """Compile a small function so that LLVM inlines it into every caller, without which loops do not vectorise.

    It is not cached: its machine code lives in its cached callers. Called from Python it compiles in every process,
    so outside the kernel use the array version.
    """
    return njit(forceinline=True, error_model="numpy", nogil=True)(function)


def merged(function: Callable[..., Any]) -> Any:
    """Compile a piece of a part that has one caller, to be inlined there. Like a part it never allocates."""
    settings: dict[str, Any] = {"forceinline": True, "error_model": "numpy", "nogil": True, "_nrt": False}
    return njit(**settings)(function)


class _Part(NamedTuple):
    """A function that is compiled on its own and called by its address."""

    dispatcher: Any
    arguments: tuple[Any, ...]
    result: Any
    symbol: str


_parts: dict[str, _Part] = {}
_addresses: dict[str, int] = {}
_linking = threading.RLock()


def part(signature: str) -> Any:
    """Compile a part of the kernel on its own, with numbers as its only arguments, to be called by other compiled code.

    Numba links a compiled function into each of its callers and optimises it there again, and again in theirs: a minute
    for the kernel. A part is a symbol to its callers, which `link` fills in. It never allocates: without reference
    counts, whose atomic operations would cost a third of the run. `_nrt` is an option that Numba does not
    document; a test says whether it still exists. Parts are declared before the parts that call them.

    Python calls a part through `calling`.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        if _config.DISABLE_JIT:
            return function
        arguments, result = normalize_signature(signature)
        symbol = f"{function.__module__}.{function.__qualname__}"
        dispatcher = compiled(_nrt=False, no_cpython_wrapper=True)(function)
        _parts[symbol] = _Part(dispatcher, arguments, result, symbol)
        return types.ExternalFunction(symbol, result(*arguments))

    return decorate


@contextlib.contextmanager
def _counting_from_the_start() -> Iterator[None]:
    """Compile what is compiled inside for indices that are never negative.

    Numba lets a negative index count from the end, with three instructions more for every look-up, a tenth of the time of
    a run. Parts never use one: a test runs them with arrays that refuse it. Numba has no option for this, so the function
    that writes those instructions is replaced, under the lock that keeps other threads from compiling meanwhile.
    """

    def as_it_is(context: Any, builder: Any, kind: Any, index: Any, size: Any) -> Any:
        return context.cast(builder, index, kind, types.intp if kind.signed else types.uintp)

    with global_compiler_lock:
        usual = arrayobj.fix_integer_index
        arrayobj.fix_integer_index = as_it_is
        try:
            yield
        finally:
            arrayobj.fix_integer_index = usual


def link() -> None:
    """Compile all parts declared so far, or load them from the cache, and make their addresses known to their callers."""
    with _linking:
        new = {symbol: one for symbol, one in _parts.items() if symbol not in _addresses}
        if not new:
            # Every call of a part from Python comes here: only what compiles may wait for those who compile.
            return
        with _counting_from_the_start():
            for symbol, one in new.items():
                one.dispatcher.compile(one.arguments)
                found = one.dispatcher.overloads[one.arguments]
                address = found.library.get_pointer_to_function(found.fndesc.llvm_cfunc_wrapper_name)
                llvm.add_symbol(symbol, address)
                _addresses[symbol] = address


def calling(function: Any) -> Callable[..., Any]:
    """A part as Python calls it: without the GIL, its arguments turned into the C types of its signature."""
    if _config.DISABLE_JIT:
        plain: Callable[..., Any] = function
        return plain
    link()
    one = _parts[function.symbol]
    kinds = [_C_TYPES[str(kind)] for kind in (one.result, *one.arguments)]
    return ctypes.CFUNCTYPE(*kinds)(_addresses[one.symbol])


_C_TYPES: dict[str, Any] = {"int64": ctypes.c_int64, "uint64": ctypes.c_uint64, "float64": ctypes.c_double}


class _ColdCompile(event.Listener):
    """Says something once, when Numba starts to compile rather than to load from its cache."""

    def __init__(self, message: str) -> None:
        self.message = message
        self.began: float | None = None

    def on_start(self, event: Any) -> None:
        if self.began is None:
            self.began = time.monotonic()
            _say(self.message)

    def on_end(self, event: Any) -> None:
        pass


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


@contextlib.contextmanager
def compiling(message: str) -> Iterator[None]:
    """Tell the user `message` on stderr if compiled functions called inside have to be compiled first.

    Nothing is printed when they come from the cache. While one process compiles, another one waits and then loads
    the result. After the first complete compilation there is no lock to wait for.
    """
    listener = _ColdCompile(message)
    with contextlib.ExitStack() as stack:
        done = None
        if CACHE_FOLDER is not None:
            name = hashlib.blake2s(message.encode(), digest_size=6).hexdigest()
            done = CACHE_FOLDER / f"{name}.done"
            if not done.exists():
                _enter_lock(stack, CACHE_FOLDER / "compile.lock")
        if not _config.DISABLE_JIT:
            stack.enter_context(event.install_listener("numba:compile", listener))
        yield
        if listener.began is not None:
            _say(f"Compiled in {time.monotonic() - listener.began:.0f} s.")
        if done is not None and CACHE_FOLDER is not None and not done.exists():
            with contextlib.suppress(OSError):
                done.touch()
            _remove_old_folders(CACHE_FOLDER)


def _enter_lock(stack: contextlib.ExitStack, path: Path) -> None:
    """Hold the lock file `path` until `stack` closes; do without it where the file system has no locks."""
    lock = filelock.FileLock(path)
    try:
        try:
            stack.enter_context(lock.acquire(timeout=0.5))
        except filelock.Timeout:
            _say("Waiting for another process that compiles the same functions ...")
            stack.enter_context(lock.acquire())
    except (OSError, NotImplementedError):
        return


def _remove_old_folders(current: Path) -> None:
    """Delete all but the newest caches of earlier sources, so that editing the sources does not fill the disk."""
    import shutil

    folders = [path for path in current.parent.iterdir() if path.is_dir() and path != current]
    with contextlib.suppress(OSError):
        folders.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for folder in folders[_KEPT_FOLDERS - 1 :]:
        shutil.rmtree(folder, ignore_errors=True)
