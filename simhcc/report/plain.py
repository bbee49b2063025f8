"""Small tables as text, and tables as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

LONGEST = 46
"""characters of a name in the first column"""


def shortened(names: Sequence[str], longest: int = LONGEST) -> list[str]:
    """Long names with their middle left out; those that would look the same keep their end, or all of it, instead."""

    def told_apart(found: Sequence[str]) -> bool:
        return len(set(found)) == len(set(names))

    half = longest // 2
    found = [name if len(name) <= longest else f"{name[: half - 2]}...{name[-(half - 1) :]}" for name in names]
    if told_apart(found):
        return found
    twins = {short for short in found if len({n for n, f in zip(names, found, strict=True) if f == short}) > 1}
    ends = [
        f"...{name[-(longest - 3) :]}" if short in twins else short for name, short in zip(names, found, strict=True)
    ]
    return ends if told_apart(ends) else list(names)


def plain_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table of text: first column to the left, the others to the right."""
    first = shortened([row[0] for row in rows])
    cells = [list(head), *([name, *row[1:]] for name, row in zip(first, rows, strict=True))]
    widths = [max(len(row[k]) for row in cells) for k in range(len(head))]
    lines = []
    for row in cells:
        padded = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *padded[1:]]).rstrip())
    return lines


def number_text(value: float) -> str:
    """A number as it has to be typed to be the same again, without an exponent where it is a sum of money."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(float(value))


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain data; numbers without a value are None."""
    return [{str(key): finite(value) for key, value in row.items()} for row in table.to_dict("records")]


def finite(value: Any) -> Any:
    """Plain data in which numbers without a value are None."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
