"""`simhcc reprice`: other prices for a stored run, without simulating.

Kept apart from `simhcc.report`, whose imports alone would take longer than the work.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from simhcc.errors import InputError
from simhcc.uncertainty.decision import Decision, decide
from simhcc.uncertainty.stored import DRUG, PANELS, StoredPsa, load

STORED = ("economics", "stored.zip")
TABLES = {
    "icer": "icer.csv",
    "frontier": "frontier.csv",
    "pairwise": "pairwise.csv",
    "nmb": "nmb.csv",
    "ceac": "ceac.csv",
    "ceaf": "ceaf.csv",
    "loss": "expected_loss.csv",
    "evpi": "evpi.csv",
    "thresholds": "price_thresholds.csv",
    "noise": "noise.csv",
}


@dataclass(frozen=True, eq=False)
class Repriced:
    """A run at other prices: what changed, and the decision before and after."""

    before: StoredPsa
    after: StoredPsa
    decision: Decision
    changes: pd.DataFrame
    """item, before, after"""

    def as_object(self, results: str) -> dict[str, Any]:
        """For machines."""
        chosen = set(self.after.wtp)
        content: dict[str, Any] = {
            "results": results,
            "currency": self.after.currency,
            "panel": self.after.panel,
            "changes": _rows(self.changes),
            "cost": {name: float(self.after.table("cost")[name].mean()) for name in self.after.priced},
        }
        for name in ("icer", "nmb", "thresholds"):
            content[name] = _rows(getattr(self.decision, name))
        for name in ("ceac", "loss", "evpi"):
            table = getattr(self.decision, name)
            content[name] = _rows(table[table["WTP"].isin(chosen)]) if len(table) else []
        return content

    def as_text(self) -> str:
        """For people."""
        money = self.after.currency
        lines = [f"Prices: {self.after.panel} panel, {money}; nothing was simulated."]
        if len(self.changes):
            width = max(len(item) for item in self.changes["item"])
            lines += [
                f"  {row['item'].ljust(width)}  {row['before']:>12,.2f} -> {row['after']:>12,.2f}"
                for row in self.changes.to_dict("records")
            ]
        moved = self.after.table("cost").mean() - self.before.table("cost").mean()
        icer = self.decision.icer.set_index("Strategy")
        wtp = self.after.wtp[0] if self.after.wtp else 0.0
        table = self.decision.nmb[self.decision.nmb["WTP"] == wtp].set_index("Strategy")
        best = self.decision.ceac[self.decision.ceac["WTP"] == wtp] if len(self.decision.ceac) else pd.DataFrame()
        chance = best.set_index("Strategy")["Proportion"] if len(best) else pd.Series(dtype=float)
        rows = [
            [
                name,
                _number(icer.loc[name, "Cost"]),
                _number(moved[name], "+"),
                _number(icer.loc[name, "Effect"], places=3),
                _number(icer.loc[name, "ICER"]),
                str(icer.loc[name, "Status"]),
                _number(table.loc[name, "INMB"], "+") if name in table.index else "-",
                f"{100 * chance[name]:.1f} %" if name in chance.index else "-",
            ]
            for name in icer.index
        ]
        head = [
            "",
            f"cost ({money})",
            "moved by",
            "QALY",
            "ICER",
            "status",
            f"INMB vs {self.after.comparator}",
            "P(best)",
        ]
        widths = [max(len(row[k]) for row in [head, *rows]) for k in range(len(head))]
        lines.append("")
        for row in [head, *rows]:
            cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            lines.append("  ".join([row[0].ljust(widths[0]), *cells]).rstrip())
        lines.append(f"INMB and P(best) at {wtp:,.0f} {money} per QALY.")
        evpi = self.decision.evpi[self.decision.evpi["WTP"] == wtp] if len(self.decision.evpi) else pd.DataFrame()
        if len(evpi):
            lines.append(f"EVPI {evpi['EVPI'].iloc[0]:,.0f} ±{evpi['MCSE'].iloc[0]:,.0f} {money} per patient.")
        return "\n".join(lines) + "\n"


def reprice(
    results: Path, *, panel: str | None = None, changes: Sequence[str] = (), file: Path | None = None
) -> Repriced:
    """A stored run at other prices.

    `changes` are texts ITEM=VALUE, `file` a YAML mapping of items to values; an item is a drug (`sorafenib`,
    `prices.sorafenib`, `prices.effective.sorafenib`) or the name of a unit cost. Raises InputError for a folder without
    a stored run, an unknown item or panel, a wrong value, and a price of the panel that is not in force.
    """
    before = load(results.joinpath(*STORED) if results.is_dir() else results)
    if panel is None and not changes and file is None:
        raise InputError("nothing to change", "--panel, --set or --prices", key="--set")
    moved = before if panel is None else before.with_panel(panel)
    wanted: dict[str, float] = {}
    if file is not None:
        wanted |= _from_file(moved, file)
    for text in changes:
        name, sign, value = text.partition("=")
        if not sign or not name.strip():
            raise InputError(repr(text), "ITEM=VALUE, for example sorafenib=20", key="--set")
        try:
            number = float(value)
        except ValueError:
            raise InputError(f"{value!r} for {name}", "a number", key="--set") from None
        wanted[_item(moved, name.strip(), "--set")] = number
    after = moved.repriced(wanted)
    rows = [
        (item, float(old), float(new))
        for k, item in enumerate(before.items)
        if (old := before.unit_costs[:, k].mean()) != (new := after.unit_costs[:, k].mean()) or item in wanted
    ]
    return Repriced(before, after, decide(after, quick=True), pd.DataFrame(rows, columns=["item", "before", "after"]))


def _item(stored: StoredPsa, name: str, key: str) -> str:
    """The item that a name means. Raises InputError for an unknown one, and for a price of the other panel."""
    for panel in PANELS:
        prefix = f"{DRUG}.{panel}."
        if name.startswith(prefix):
            if panel != stored.panel:
                raise InputError(
                    f"{name}, a price of the panel {panel}, while {stored.panel} is in force",
                    f"--panel {panel}, or {DRUG}.{stored.panel}.{name.removeprefix(prefix)}",
                    key=key,
                )
            return f"{DRUG}.{name.removeprefix(prefix)}"
    for candidate in (name, f"{DRUG}.{name}"):
        if candidate in stored.items:
            return candidate
    import difflib

    shown = [item.removeprefix(f"{DRUG}.") for item in stored.items]
    near = difflib.get_close_matches(name, shown, 1, 0.5)
    raise InputError(
        f"no priced item {name!r} in this run", f"{near[0]}?" if near else f"one of {', '.join(shown)}", key=key
    )


def _from_file(stored: StoredPsa, file: Path) -> dict[str, float]:
    """Item -> value from a YAML file; errors carry the file and the line."""
    from simhcc.inputs import read_yaml

    document = read_yaml(file, str(file))
    if not isinstance(document.tree, dict) or not document.tree:
        raise document.error((), "no prices", "lines such as sorafenib: 20")
    found: dict[str, float] = {}
    for name, value in document.tree.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise document.error((name,), repr(value), "a number")
        if value < 0:
            raise document.error((name,), f"{value:g}", f"0 or more {stored.currency}")
        try:
            found[_item(stored, str(name), str(name))] = float(value)
        except InputError as error:
            raise document.error((name,), error.found, error.expected) from None
    return found


def write(folder: Path, found: Repriced, results: str, overwrite: bool) -> Path:
    """The tables at the new prices and the repriced run, as a new folder."""
    from simhcc.runner import publish

    if folder.exists() and not overwrite:
        raise InputError(f"{folder}, which is there already", "--overwrite, or another folder", key="--out")

    def fill(into: Path) -> None:
        found.changes.to_csv(into / "changes.csv", index=False, lineterminator="\n")
        for name, file in TABLES.items():
            table = getattr(found.decision, name)
            if len(table):
                table.to_csv(into / file, index=False, lineterminator="\n", float_format="%.10g")
        (into / STORED[0]).mkdir()
        found.after.save(into.joinpath(*STORED))
        about = {"repriced_from": results, "panel": found.after.panel, "currency": found.after.currency}
        (into / "reprice.json").write_text(json.dumps(about, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")

    return publish(folder.parent, folder.name, fill, replace=overwrite)


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(
        table.replace([float("inf"), -float("inf")], float("nan")).to_json(orient="records", double_precision=15)
    )
    return rows


def _number(value: Any, sign: str = "", places: int = 0) -> str:
    number = float(value) if value is not None else float("nan")
    return "-" if number != number else f"{number:{sign},.{places}f}"


__all__: Sequence[str] = ["Repriced", "reprice", "write"]
