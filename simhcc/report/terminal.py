"""Results and errors as plain text that fits a terminal."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from simhcc.report.tables import EVERYONE, UNPRICED, Tables

NARROWEST = 60
GAP = "  "
ENDPOINTS = {
    "resectable": ("rfs", "efs"),
    "intermediate": ("pfs", "tace_pfs", "ttf"),
    "advanced": ("pfs", "ttf"),
    "national": (),
}
"""endpoints beside overall survival that are read in a setting"""
LANDMARKS = {12: "1 y", 24: "2 y", 36: "3 y", 60: "5 y"}
MISSING = "-"
UNREACHED = "not reached"


def shown_outcomes(setting: str, available: Sequence[str], currency: str) -> list[dict[str, str]]:
    """Blocks of outcomes for the terminal: outcome id -> heading; only what the run has."""
    endpoints = ENDPOINTS.get(setting, ())
    survival = {f"os_{months}m": f"OS {words}" for months, words in LANDMARKS.items()}
    medians = {f"median_{name}_months": f"median {name.upper().replace('_', '-')}" for name in ("os", *endpoints)}
    health = {
        "ly_undiscounted": "LY, undisc.",
        "ly": "LY, disc.",
        "qaly_undiscounted": "QALY, undisc.",
        "qaly": "QALY, disc.",
        "cost": f"cost, disc. ({currency})" if currency else "cost, disc.",
    }
    blocks = [{**survival}, medians, health]
    return [{name: words for name, words in block.items() if name in available} for block in blocks]


def render(tables: Tables, *, setting: str, comparator: str, currency: str, iterations: int, width: int) -> str:
    """All tables of a run, by subgroup, no line longer than `width` (at least 60)."""
    width = max(width, NARROWEST)
    lines: list[str] = []
    for group in tables.groups.to_dict("records"):
        name = str(group["subgroup"])
        head = "All patients" if name == EVERYONE else f"Subgroup {name}: {group['label']}"
        lines += ["", f"{head} ({group['patients']:,} patients{_each(iterations)})"]
        summary = tables.of("summary", name)
        available = list(dict.fromkeys(summary["outcome"]))
        blocks = shown_outcomes(setting, available, currency)
        for title, block in zip(("Overall survival", "Medians, months", "Per patient"), blocks, strict=True):
            lines += _table(title, summary, block, width, iterations)
        differences = tables.of("differences", name)
        if not differences.empty:
            block = {key: words for part in blocks for key, words in part.items()}
            lines += _table(
                f"Difference from {comparator} (paired)", differences, block, width, iterations, signed=True
            )
        lines += _icer_lines(tables.of("icer", name), currency, width)
    error = "± is the Monte-Carlo standard error"
    lines += ["", f"{error}; [ ] the 95 % interval over iterations." if iterations > 1 else f"{error}."]
    return broken_lines("\n".join(lines), width) + "\n"


def _each(iterations: int) -> str:
    return f", each of {iterations:,} iterations" if iterations > 1 else ""


def _table(
    title: str,
    table: pd.DataFrame,
    block: Mapping[str, str],
    width: int,
    iterations: int,
    signed: bool = False,
) -> list[str]:
    """Strategies down, outcomes across; as many blocks of columns as the width needs."""
    if not block:
        return []
    strategies = list(dict.fromkeys(table["strategy"]))
    rows = {(row["strategy"], row["outcome"]): row for row in table.to_dict("records")}
    columns: list[list[str]] = []
    for outcome, words in block.items():
        cells = [_cell(outcome, rows.get((strategy, outcome)), iterations, signed) for strategy in strategies]
        columns.append([words, *cells])
    return ["", *aligned(title, ["", *strategies], columns, width)]


def aligned(title: str, first: Sequence[str], columns: Sequence[Sequence[str]], width: int) -> list[str]:
    """Columns beside a first one, wrapped into several tables where they are too wide."""
    left = max(len(cell) for cell in first)
    lines: list[str] = []
    at = 0
    while at < len(columns):
        used, end = left, at
        while end < len(columns):
            wanted = used + len(GAP) + max(len(cell) for cell in columns[end])
            if wanted > width and end > at:
                break
            used, end = wanted, end + 1
        part = columns[at:end]
        widths = [max(len(cell) for cell in column) for column in part]
        for row, name in enumerate(first):
            head = (title if at == 0 else "") if row == 0 and len(title) <= left else name
            cells = [column[row].rjust(size) for column, size in zip(part, widths, strict=True)]
            lines.append((head.ljust(left) + GAP + GAP.join(cells)).rstrip())
        at = end
    return lines if len(title) <= left else [title, *lines]


def _cell(outcome: str, row: Mapping[Any, Any] | None, iterations: int, signed: bool) -> str:
    if row is None:
        return MISSING
    mean, error = float(row["mean"]), float(row["mcse"])
    if math.isnan(mean):
        return UNREACHED if outcome.startswith("median_") else MISSING
    places = _places(outcome)
    sign = "+" if signed else ""
    text = f"{mean:{sign}z,.{places}f}"
    if not math.isnan(error):
        # Errors of medians are often below 0.05 months.
        text += f" ±{error:,.{2 if places == 1 else places}f}"
    if iterations > 1:
        text += f" [{row['lower']:,.{places}f}, {row['upper']:,.{places}f}]"
    return text


def _places(outcome: str) -> int:
    if outcome.startswith("median_"):
        return 1
    if outcome == "cost" or outcome.startswith("cost_"):
        return 0
    return 3


def _icer_lines(table: pd.DataFrame, currency: str, width: int) -> list[str]:
    if table.empty:
        return []
    priced = table[table["Status"] != UNPRICED]
    money = f" ({currency})" if currency else ""
    columns = [
        [f"cost{money}", *(_number(value, 0) for value in priced["Cost"])],
        ["QALY", *(_number(value, 3) for value in priced["Effect"])],
        ["more cost", *(_number(value, 0) for value in priced["Inc_Cost"])],
        ["more QALY", *(_number(value, 3) for value in priced["Inc_Effect"])],
        ["ICER", *(_number(value, 0) for value in priced["ICER"])],
        ["status", *priced["Status"].astype(str)],
    ]
    lines = ["", *aligned("Cost per QALY gained, along the frontier", ["", *priced["Strategy"]], columns, width)]
    if len(priced):
        lines.append("ND on the frontier, ED extended dominance, D dominated.")
    for row in table[table["Status"] == UNPRICED].to_dict("records"):
        lines.append(f"Left out: {row['Strategy']}, {row['Note']}.")
    return lines


def _number(value: float, places: int) -> str:
    return MISSING if pd.isna(value) else f"{value:,.{places}f}"


def broken(line: str, width: int | None, indent: str) -> list[str]:
    """A line broken at spaces to a width, further lines indented; runs of spaces stay."""
    if width is None or len(line) <= width:
        return [line]
    at = line.rfind(" ", len(indent) + 1, width + 1)
    if at < 0:
        return [line]
    return [line[:at].rstrip(), *broken(indent + line[at:].lstrip(), width, indent)]


def broken_lines(text: str, width: int | None) -> str:
    """A text with every line broken to a width, further lines indented beyond the first.

    Rows of a table are broken between the same two columns, so that columns stay below each other.
    """
    if width is None:
        return text
    lines: list[str] = []
    for is_table, part in _parts(text.split("\n")):
        if is_table and max(map(len, part)) > width:
            part = _folded(part, width)
        for line in part:
            lines += broken(line, width, " " * (len(line) - len(line.lstrip()) + 4))
    return "\n".join(lines)


_GAP = re.compile(r"(?<=\S) {2,}(?=\S)")


def _parts(lines: list[str]) -> list[tuple[bool, list[str]]]:
    """Runs of lines: those that look like rows of a table, with two gaps or more, and the others."""
    parts: list[tuple[bool, list[str]]] = []
    for line in lines:
        is_row = len(_GAP.findall(line)) >= 2
        if not parts or parts[-1][0] != is_row:
            parts.append((is_row, []))
        parts[-1][1].append(line)
    return [(is_row and len(part) > 1, part) for is_row, part in parts]


def _folded(rows: list[str], width: int) -> list[str]:
    """Rows with as many columns on each line as fit; the lines after a row's first one are indented."""
    length = max(map(len, rows))
    padded = [row.ljust(length) for row in rows]
    blank = "".join(" " if all(row[k] == " " for row in padded) else "x" for k in range(length))
    # A column ends where two blanks or more go through all rows.
    ends = [match.start() for match in re.finditer(r"(?<=x) {2,}(?=x)", blank)] + [length]
    starts = [0, *(match.end() for match in re.finditer(r"(?<=x) {2,}(?=x)", blank))]
    groups: list[list[tuple[int, int]]] = [[]]
    indent = "    "
    for start, end in zip(starts, ends, strict=True):
        taken = sum(b - a + 2 for a, b in groups[-1]) + (len(indent) if len(groups) > 1 else 0)
        if groups[-1] and taken + end - start > width:
            groups.append([])
        groups[-1].append((start, end))
    found = []
    for row in padded:
        for number, group in enumerate(groups):
            line = ("" if number == 0 else indent) + "  ".join(row[a:b] for a, b in group)
            if line.strip():
                found.append(line.rstrip())
    return found
