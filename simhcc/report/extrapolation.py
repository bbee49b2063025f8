"""The three continuations beyond the last published landmark, as `simhcc run` prints and writes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from simhcc.report.plain import plain_table, records
from simhcc.uncertainty.extrapolation import MODEL, Extrapolations

FILE = "extrapolations.csv"
PLACES = {"ly": 3, "qaly": 3, "cost": 0}


def lines(found: Extrapolations, unpriced: Sequence[str], currency: str) -> list[str]:
    """What a reader must know of the tail: how much of each result it is, and what else it could be."""
    text = [
        "",
        f"Beyond the last published landmark ({found.months:g} months; {found.patients:,} patients, every number at its "
        "base value, all discounted)",
    ]
    table = _priced(found.table, unpriced)
    own = table[table["case"] == MODEL].pivot(index="strategy", columns="outcome", values="beyond")
    own = own.reindex(list(dict.fromkeys(table["strategy"])))
    heads = {"ly": "of LY", "qaly": "of QALY", "cost": "of cost"}
    shown = [name for name in PLACES if name in own.columns]
    rows = [[str(name), *(_share(row[c]) for c in shown)] for name, row in own.iterrows()]
    text += plain_table(["share that lies there", *(heads[c] for c in shown)], rows)
    for column in shown:
        part = table[table["outcome"] == column]
        cases = list(dict.fromkeys(part["case"]))
        money = f" ({currency})" if column == "cost" and currency else ""
        body = []
        for name in dict.fromkeys(part["strategy"]):
            mine = part[part["strategy"] == name].set_index("case")
            cells = [f"{mine.loc[MODEL, 'mean']:,.{PLACES[column]}f}"]
            cells += [
                f"{mine.loc[c, 'change']:+z,.{PLACES[column]}f} ±{mine.loc[c, 'change_mcse']:,.{PLACES[column]}f}"
                for c in cases
                if c != MODEL
            ]
            body.append([str(name), *cells])
        text += ["", *plain_table([f"{column.upper() if column != 'cost' else column}{money}", *cases], body)]
    text.append("")
    text += [f"{each.id}: {each.label.text()}." for each in found.topic.alternatives if each.numbers]
    return text


def as_object(found: Extrapolations, unpriced: Sequence[str]) -> dict[str, Any]:
    """The same for machines."""
    return {
        "months": found.months,
        "strategies": records(_priced(found.table, unpriced)),
        "differences": records(_priced(found.incremental, unpriced)),
    }


def whole_table(found: Extrapolations, unpriced: Sequence[str]) -> pd.DataFrame:
    """Levels and differences in one table (`comparator` is empty for levels)."""
    both = pd.concat([found.table.assign(comparator=""), found.incremental], ignore_index=True)
    both = _priced(both, unpriced)
    both.insert(1, "comparator", both.pop("comparator"))
    both.insert(0, "months", found.months)
    return both


def write(folder: Path, found: Extrapolations, unpriced: Sequence[str]) -> None:
    """Write the table of levels and differences."""
    whole_table(found, unpriced).to_csv(folder / FILE, index=False, lineterminator="\n", encoding="utf-8")


def _priced(table: pd.DataFrame, unpriced: Sequence[str]) -> pd.DataFrame:
    """Costs of strategies with a drug without a price stay away."""
    whose = table["strategy"].isin(list(unpriced)) | table.get("comparator", table["strategy"]).isin(list(unpriced))
    return table[~(whose & (table["outcome"] == "cost"))].reset_index(drop=True)


def _share(value: Any) -> str:
    return f"{float(value):.0%}" if pd.notna(value) else "-"
