"""What a run depends on, as a digest and in words: its inputs, the code of its function and the versions installed.

Two runs may share a folder only when all three agree. A digest says whether they do; the table of leaves beside it says
what differs.
"""

from __future__ import annotations

import ast
import dataclasses
import datetime
import enum
import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError

PACKAGE = "simhcc"
# The runner moves results about and never changes them, so mending it does not make finished shards stale.
WITHOUT_INFLUENCE = ("simhcc.runner", "simhcc.errors")
VERSIONED = ("simhcc", "numpy", "scipy", "numba")
LONGEST_LIST = 64  # a longer list is shown as one leaf
LONGEST_TEXT = 60
LARGEST_ARRAY = 4  # a larger array is shown by its digest


def digest(*parts: bytes | memoryview) -> str:
    """BLAKE2b of the parts, each preceded by its length, as 64 hexadecimal digits."""
    state = hashlib.blake2b(digest_size=32)
    for part in parts:
        state.update(memoryview(part).nbytes.to_bytes(8, "little"))
        state.update(part)
    return state.hexdigest()


@dataclasses.dataclass(frozen=True)
class Description:
    """The digest of a nested value, its leaves in words (dotted name -> text), and the bytes that were digested."""

    digest: str
    leaves: dict[str, str]
    n_bytes: int


def describe(value: Any, name: str = "inputs") -> Description:
    """Describe nested mappings, dataclasses, named tuples, lists and sets of arrays and plain data.

    Equal digests mean: the same structure, the same entries in the same order, the same types, every array of the same
    dtype, shape, memory order and bits. Raises `InputError` naming the entry that is neither an array nor plain data.
    """
    state = hashlib.blake2b(digest_size=32)
    leaves: dict[str, str] = {}
    n_bytes = 0
    for leaf_name, path, payload, shown in _leaves(value, name, ()):
        state.update(bytes.fromhex(digest(repr(path).encode(), payload)))
        while leaf_name in leaves:  # a key may contain a dot, so that two leaves share one dotted name
            leaf_name += "'"
        leaves[leaf_name] = shown
        n_bytes += memoryview(payload).nbytes
    return Description(state.hexdigest(), leaves, n_bytes)


_Leaf = tuple[str, tuple[str, ...], bytes | memoryview, str]


def _leaves(value: Any, name: str, path: tuple[str, ...]) -> Iterator[_Leaf]:
    children = _children(value, name)
    if children is None:
        kind, payload, shown = _leaf(value, name)
        yield name, (*path, kind), payload, shown
        return
    kind, entries = children
    if not entries:
        yield name, (*path, f"empty {kind}"), b"", f"empty {kind}"
    elif kind in ("list", "tuple", "set", "frozenset") and len(entries) > LONGEST_LIST:
        state = hashlib.blake2b(digest_size=32)
        for suffix, token, child in entries:
            for _, child_path, payload, _ in _leaves(child, name + suffix, (token,)):
                state.update(bytes.fromhex(digest(repr(child_path).encode(), payload)))
        yield name, (*path, f"long {kind}"), state.digest(), f"{kind} of {len(entries)}, {state.hexdigest()[:16]}"
    else:
        for suffix, token, child in entries:
            yield from _leaves(child, name + suffix, (*path, f"{kind} {token}"))


def _children(value: Any, name: str) -> tuple[str, list[tuple[str, str, Any]]] | None:
    """The entries of a container as (suffix of the name, token of the path, child), or None for a leaf."""
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str | int | tuple | enum.Enum):
                raise InputError(f"a key of type {type(key).__name__}: {key!r}", "keys that are text or numbers", name)
        return "mapping", [(f".{_key_text(key)}", _key_text(key, exact=True), child) for key, child in value.items()]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field.name for field in dataclasses.fields(value)]
        return type(value).__qualname__, [(f".{field}", field, getattr(value, field)) for field in fields]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value).__qualname__, [(f".{field}", field, getattr(value, field)) for field in value._fields]
    if isinstance(value, list | tuple):
        return type(value).__name__, [(f"[{i}]", str(i), child) for i, child in enumerate(value)]
    if isinstance(value, set | frozenset):
        # the order of a set changes from process to process
        members = sorted(value, key=lambda member: describe(member, name).digest)
        return type(value).__name__, [(f"{{{i}}}", str(i), child) for i, child in enumerate(members)]
    return None


def _key_text(key: Any, exact: bool = False) -> str:
    if isinstance(key, enum.Enum):
        return f"{type(key).__name__}.{key.name}"
    return repr(key) if exact or not isinstance(key, str) else key


def _leaf(value: Any, name: str) -> tuple[str, bytes | memoryview, str]:
    """Kind, payload and text of one leaf; equal texts of one kind mean equal payloads."""
    if isinstance(value, np.ndarray) and not isinstance(value, np.ma.MaskedArray):
        return _array_leaf(value, name)
    if isinstance(value, enum.Enum):
        text = f"{type(value).__name__}.{value.name}"
        return "enum", text.encode(), text
    if isinstance(value, np.generic):
        return f"numpy {value.dtype.str}", value.tobytes(), f"{value.dtype}({value})"
    if value is None or isinstance(value, bool | int | float | complex):
        return type(value).__name__, repr(value).encode(), repr(value)
    if isinstance(value, str):
        payload = value.encode("utf-8", "surrogatepass")
        shown = repr(value) if len(value) <= LONGEST_TEXT else f"{value[:LONGEST_TEXT]!r}... {digest(payload)[:16]}"
        return "str", payload, shown
    if isinstance(value, bytes | bytearray):
        return type(value).__name__, bytes(value), f"{len(value)} bytes, {digest(bytes(value))[:16]}"
    if isinstance(value, datetime.date | datetime.datetime):
        return type(value).__name__, value.isoformat().encode(), value.isoformat()
    raise InputError(
        f"an object of type {type(value).__module__}.{type(value).__qualname__}",
        "arrays and plain data (mapping, dataclass, list, text, number, date)",
        name,
    )


def _array_leaf(array: np.ndarray, name: str) -> tuple[str, bytes | memoryview, str]:
    if array.dtype.hasobject:
        raise InputError("an array of Python objects", "an array of numbers or of text", name)
    # Sums over an array depend on its memory order in the last bits, so the order is part of the value.
    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    shape = list(array.shape)
    flat = np.ascontiguousarray(array.T if fortran else array).reshape(-1)
    payload = flat.tobytes() if flat.nbytes < 4096 else flat.view(np.uint8).data
    kind = f"array {array.dtype.descr if array.dtype.names else array.dtype.str} {shape}{' Fortran' if fortran else ''}"
    if array.size <= LARGEST_ARRAY and not array.dtype.names:
        return kind, payload, f"{array.dtype} {shape} {array.tolist()}"
    return kind, payload, f"{array.dtype} {shape} {digest(payload)[:16]}"


def resolve(function: str, key: str = "function") -> Callable[..., Any]:
    """The function that "module:qualname" names. Raises `InputError` when it cannot be imported by that name."""
    module_name, _, qualname = function.partition(":")
    expected = 'the name of an importable function, for example "simhcc.trials.replicates:simulate_shard"'
    if not module_name or not qualname:
        raise InputError(repr(function), expected, key)
    if module_name == "__main__":
        raise InputError(f"{function!r}, which another process cannot import", expected, key)
    try:
        found: Any = importlib.import_module(module_name)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise InputError(f"{function!r}: {error}", expected, key) from error
    if not callable(found):
        raise InputError(f"{function!r}, which is not a function", expected, key)
    return found


def versions() -> dict[str, str]:
    """Versions of the packages that results may depend on, as installed here."""
    import simhcc

    found = {PACKAGE: simhcc.__version__}
    for name in VERSIONED[1:]:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def code(function: str) -> dict[str, str]:
    """Digests of the sources that `function` runs: module name -> digest.

    Starting from the function's module, import statements are read (nothing is executed but parent packages) and
    followed inside simhcc and inside the function's own top-level package. So a change of the engine is seen in every
    analysis, and a change of the report in none.
    """
    start = function.partition(":")[0]
    families = {PACKAGE, start.partition(".")[0]}
    waiting, digests = [start], dict[str, str]()
    while waiting:
        name = waiting.pop()
        outside = name.partition(".")[0] not in families or any(_inside(name, outer) for outer in WITHOUT_INFLUENCE)
        if name in digests or outside:
            continue
        source_digest, imported = _source(name)
        digests[name] = source_digest
        parts = name.split(".")
        waiting.extend(".".join(parts[:i]) for i in range(1, len(parts)))
        waiting.extend(imported)
    return {name: found for name, found in sorted(digests.items()) if found}


@functools.cache
def _source(name: str) -> tuple[str, tuple[str, ...]]:
    """Digest of a module's source and the names it imports; "" and nothing for what is not a module with a source.

    Kept for the life of the process, like the imported module itself: a file edited later is not what runs.
    """
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return "", ()
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return "", ()
    source = Path(spec.origin).read_bytes().replace(b"\r\n", b"\n")
    is_package = spec.submodule_search_locations is not None
    return digest(source)[:16], tuple(_imports(source, name, is_package))


def _inside(name: str, outer: str) -> bool:
    return name == outer or name.startswith(outer + ".")


def _imports(source: bytes, module: str, is_package: bool) -> Iterator[str]:
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            yield base
            for alias in node.names:
                if alias.name == "*":
                    path = getattr(importlib.util.find_spec(base), "submodule_search_locations", None)
                    yield from (f"{base}.{found.name}" for found in pkgutil.iter_modules(path))
                else:
                    yield f"{base}.{alias.name}"
