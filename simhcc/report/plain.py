"""Small tables as text, and tables as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

LONGEST = 46
"""characters of a name in the first column"""


def shortened(name: str) -> str:
    """A long name with its middle left out: both ends tell names apart."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST // 2 - 2]}...{name[-(LONGEST // 2 - 1) :]}"


def plain_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table of text: first column to the left, the others to the right."""
    cells = [list(head), *([shortened(row[0]), *row[1:]] for row in rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(head))]
    lines = []
    for row in cells:
        padded = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *padded[1:]]).rstrip())
    return lines


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
