"""A job: one pure function, the inputs it shares, and the addresses it is to be called with."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError

Address = Mapping[str, Any]
CHUNKS_PER_THREAD = 4  # enough to even out unequal chunks, few enough to keep the cost per chunk invisible


@dataclass(frozen=True)
class Job:
    """Work that is cut into shards.

    `name` says what it is, in messages and in the manifest. `function` is "module:qualname" of an importable function
    `function(inputs, address) -> dict[str, numpy.ndarray]`: pure, one thread, no shared state, so that the same address
    gives the same bits in any process. `inputs` is a picklable mapping of arrays and plain data, the same for all
    shards; an entry called `seed` is named as such in the manifest. `shards` are the addresses in the order in which
    results are delivered and combined: small mappings of text, numbers, and tuples of these. `shapes`, when given, is
    "module:qualname" of `shapes(inputs, address) -> dict[str, tuple[int, ...]]`: the arrays a shard must hold. What
    does not fit is computed again when it was stored, and stops the run when it was computed now.

    Raises `InputError` for a wrong address or a repeated one.
    """

    name: str
    function: str
    inputs: Mapping[str, Any]
    shards: Sequence[Address]
    shapes: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.inputs, Mapping):
            raise InputError(f"inputs of type {type(self.inputs).__name__}", "a mapping", f"job {self.name}")
        frozen = tuple(_frozen_address(address, f"shards[{i}]") for i, address in enumerate(self.shards))
        if not frozen:
            raise InputError("no shards", "at least one address", f"job {self.name}")
        seen: dict[str, int] = {}
        for i, address in enumerate(frozen):
            first = seen.setdefault(address_text(address), i)
            if first != i:
                raise InputError(f"the address of shards[{first}] again: {address}", "each once", f"shards[{i}]")
        object.__setattr__(self, "shards", frozen)


def address_text(address: Address) -> str:
    """The address as one line of JSON, keys in their order."""
    return json.dumps(address, separators=(",", ":"))


def frozen_value(value: Any, key: str) -> Any:
    """An address entry as text, number, or tuple of these. Raises `InputError` for anything else."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return tuple(frozen_value(item, f"{key}[{i}]") for i, item in enumerate(value))
    raise InputError(f"{type(value).__name__}: {value!r}", "text, a number, or a tuple of these", key)


def _frozen_address(address: Address, key: str) -> dict[str, Any]:
    if not isinstance(address, Mapping) or not all(isinstance(name, str) for name in address):
        raise InputError(f"{address!r}", "a mapping with names as keys", key)
    return {name: frozen_value(value, f"{key}.{name}") for name, value in address.items()}


def split(n: int, parts: int, multiple: int = 1) -> list[tuple[int, int]]:
    """At most `parts` consecutive half-open ranges (lo, hi) that cover 0..n, as equal as whole multiples allow.

    With `multiple=1024` every range but the last ends on a leaf of 1,024 patients. For work that is kept in a folder
    choose `parts` from the sizes of the work, not from the number of cores: another machine must find the same shards.
    """
    if n < 1 or parts < 1 or multiple < 1:
        raise InputError(f"n={n}, parts={parts}, multiple={multiple}", "whole numbers from 1", "split")
    units = -(-n // multiple)
    parts = min(parts, units)
    edges = [min(n, units * i // parts * multiple) for i in range(parts + 1)]
    return list(itertools.pairwise(edges))


def grid(**axes: Sequence[Any]) -> list[dict[str, Any]]:
    """All combinations of the axes as addresses, the last axis running fastest.

    `grid(draws=split(1000, 20), strategies=[("a", "b")], patients=split(100_000, 2, 1024))` gives 40 addresses.
    """
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
