"""The results in the layouts of other programs: tidy CSV and Parquet, wide tables and a script for R, an Excel workbook."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from simhcc.inputs import ParameterSet, Scenario
from simhcc.report.tables import Tables
from simhcc.uncertainty.stored import StoredPsa

R_SCRIPT = """\
# Builds the objects of dampack, BCEA and voi from the tables in this folder. Run it there: setwd("psa")
cost          <- read.csv("cost.csv", check.names = FALSE)[, -1]
effectiveness <- read.csv("effectiveness.csv", check.names = FALSE)[, -1]
parameters    <- read.csv("parameters.csv", check.names = FALSE)[, -1]
strategies    <- subset(read.csv("strategies.csv", encoding = "UTF-8", stringsAsFactors = FALSE), priced)
wtp           <- {wtp}
psa_dampack <- dampack::make_psa_obj(cost = cost, effectiveness = effectiveness, parameters = parameters,
                                     strategies = strategies$id, currency = "{currency}")
# In BCEA `ref` is the intervention that is judged; the others are its comparators.
psa_bcea <- BCEA::bcea(eff = as.matrix(effectiveness), cost = as.matrix(cost), ref = {reference},
                       interventions = strategies$id, Kmax = {top})
# Costs in c, effects in e, one column for each option; k is the willingness to pay.
psa_voi  <- list(c = cost, e = effectiveness, k = wtp)
# For example: voi::evppi(psa_voi, parameters, pars = "{example}")
"""

MEANINGS = {
    "iteration": ("number of the draw of the uncertain parameters, from 1", ""),
    "strategy": ("id of the strategy (letters, digits and _; labels are in strategies.csv)", ""),
    "cost": ("mean cost per patient, discounted; empty without a price", "money"),
    "qaly": ("mean quality-adjusted life years per patient, discounted", "years"),
    "ly": ("mean life years per patient, discounted", "years"),
}
UNDISCOUNTED = "_undiscounted"


def columns_table(names: Sequence[str], currency: str) -> pd.DataFrame:
    """One row per column of the tidy tables: what it means and its unit (`currency` for money)."""
    rows = [(name, *_meaning(name)) for name in names]
    table = pd.DataFrame(rows, columns=["column", "meaning", "unit"])
    return table.replace({"unit": {"money": currency or "currency"}})


def _meaning(name: str) -> tuple[str, str]:
    """What a column of psa_long holds, and its unit."""
    if name in MEANINGS:
        return MEANINGS[name]
    whole = name.removesuffix(UNDISCOUNTED)
    if whole != name and whole in MEANINGS:
        words, unit = MEANINGS[whole]
        return words.replace("discounted", "not discounted"), unit
    if name.startswith("cost_"):
        part = name.removeprefix("cost_").replace("_", " ")
        return f"part of cost: {part}; the parts add up to cost", "money"
    end, _, last = name.rpartition("_")
    if end.endswith("_rmst"):
        return f"mean months until {end.removesuffix('_rmst')} within {last} months", "months"
    if name.startswith("median_"):
        return f"median months until {end.removeprefix('median_')}; empty where it is not reached", "months"
    if last.endswith("m") and last[:-1].isdigit():
        return f"share of patients free of the endpoint {end} at {last[:-1]} months (os: alive)", "share"
    return name.replace("_", " "), ""


def safe_id(name: str) -> str:
    """A name that R takes for a column: letters, digits and _, beginning with a letter."""
    found = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_")
    return found if found and found[0].isalpha() else f"x_{found}"


def write_psa(
    folder: Path,
    tables: Tables,
    stored: StoredPsa,
    draws: pd.DataFrame,
    labels: Mapping[str, tuple[str | None, str | None]],
    units: Mapping[str, str],
    about: Mapping[str, Any],
    best: str,
    top: float,
) -> None:
    """The probabilistic analysis for other programs, into a new folder.

    `draws` has a column iteration and one for each number (NAME.0, NAME.1, ... for a vector); `labels` goes from strategy
    to English and Chinese label, `units` from number to unit.
    """
    folder.mkdir(parents=True)
    long = _without_unpriced(tables.iterations, stored)
    _csv(folder / "psa_long.csv", long)
    write_parquet(folder / "psa_long.parquet", long)
    for file, name in (("cost.csv", "cost"), ("effectiveness.csv", "qaly")):
        wide = stored.table(name, stored.priced)
        wide.columns = [safe_id(column) for column in wide.columns]
        _csv(folder / file, wide.reset_index())
    inputs = draws.loc[:, [True, *(draws.iloc[:, 1:].nunique() > 1)]]
    names = {name: safe_id(name) for name in inputs.columns}
    _csv(folder / "parameters.csv", inputs.rename(columns=names))
    write_parquet(folder / "parameters.parquet", inputs.rename(columns=names))
    pairs = [(safe, name, units.get(_owner(name, units), "")) for name, safe in names.items() if name != "iteration"]
    _csv(folder / "parameter_names.csv", pd.DataFrame(pairs, columns=["column", "parameter", "unit"]))
    rows = [
        {
            "id": safe_id(name),
            "label": labels[name][0] or name,
            "label_zh": labels[name][1] or "",
            "is_comparator": str(name == stored.comparator).upper(),
            "priced": str(name in stored.priced).upper(),
            "order": place,
        }
        for place, name in enumerate(stored.strategies, 1)
    ]
    _csv(folder / "strategies.csv", pd.DataFrame(rows))
    _csv(folder / "columns.csv", columns_table(list(long.columns), stored.currency))
    _json(folder / "meta.json", about)
    script = R_SCRIPT.format(
        wtp=f"{stored.wtp[0]:.10g}" if stored.wtp else "0",
        currency=stored.currency,
        reference=stored.priced.index(best) + 1 if best in stored.priced else 1,
        top=f"{top:.10g}",
        example=pairs[0][0] if pairs else "",
    )
    (folder / "load_in_R.R").write_text(script, encoding="utf-8")


def _owner(column: str, units: Mapping[str, str]) -> str:
    """The number that a column of draws belongs to: itself, or the vector of which it is an element."""
    return column if column in units else column.rpartition(".")[0]


def _without_unpriced(long: pd.DataFrame, stored: StoredPsa) -> pd.DataFrame:
    """Costs of strategies without a price are missing."""
    table = long.copy()
    costs = [name for name in table.columns if name == "cost" or name.startswith("cost_")]
    table.loc[table["strategy"].isin(list(stored.unpriced)), costs] = np.nan
    return table


def write_parquet(path: Path, table: pd.DataFrame) -> bool:
    """Write a Parquet file; False where pyarrow (extra `tables`) is not installed."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        return False
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), path, compression="zstd")
    return True


def _csv(path: Path, table: pd.DataFrame) -> None:
    table.to_csv(path, index=False, lineterminator="\n", encoding="utf-8")


def _json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


# ---------------------------------------------------------------------------------------------------------------------
# Workbook

SHEET_ROWS = 20_000
"""longer tables stay in their files; the sheet says which"""
MONEY_COLUMNS = ("Cost", "NMB", "INMB", "ICER", "Inc_Cost", "Budget", "Threshold", "Price", "Expected_Loss", "EVPI")
NOTES = {
    "summary": "Means by strategy, with Monte-Carlo standard error and the 95 % interval over iterations.",
    "icer": "Along the efficiency frontier; ND on it, D strongly and ED extendedly dominated; unpriced strategies last.",
    "nmb": "Net monetary benefit; INMB and its interval against the comparator, patients' noise removed.",
    "ceac": "Probability of the highest net benefit; _Raw with patients' noise.",
    "evpi": "Expected value of perfect information per patient and for all who face the decision.",
    "noise": "Variance over iterations split into parameters (Between) and simulated patients (Noise).",
    "price_thresholds": "Highest price at which the strategy has the highest expected net benefit; band over iterations.",
    "waterfall": "Difference from the comparator split into parts; each split adds up to the total.",
    "units": "Discounted units per patient of everything that has a price.",
    "budget": "Undiscounted, for the patients a year and the uptake in inputs.",
    "differences": "Paired differences from the comparator, with their Monte-Carlo standard errors.",
    "frontier": "Strategies of the efficiency frontier and the willingness to pay from and to which each is optimal.",
    "pairwise": "Every strategy against the comparator; a ratio only where it can be read as one.",
    "inmb_curve": "Incremental net benefit against the comparator by willingness to pay.",
    "ceaf": "The strategy of highest expected net benefit at each willingness to pay, and its probability of being best.",
    "expected_loss": "What choosing a strategy loses on average against perfect knowledge; the lowest is EVPI.",
    "ce_quadrants": "Share of draws in each quadrant of the cost-effectiveness plane, against the comparator.",
    "convergence": "Mean incremental net benefit over the first draws; it should be level at the end.",
    "strata": "What choosing by subgroup is worth per patient, over the best strategy for all.",
    "strata_nmb": "Net monetary benefit of each strategy in each subgroup.",
    "budget_detail": "Patients who start and costs in the world with and without the new strategy.",
    "extrapolations": "Beyond the last published landmark (months): other continuations at base values, their change, and the "
    "share of the mean that lies there.",
    "events": "Events per patient.",
    "inputs": "Every number as it was understood; vectors are written one value after another.",
    "sources": "Where the numbers come from.",
}


def write_workbook(
    path: Path,
    about: Mapping[str, Any],
    sheets: Mapping[str, pd.DataFrame],
    notes: Mapping[str, str] = NOTES,
) -> bool:
    """An Excel workbook with one sheet a table; False where XlsxWriter (extra `tables`) is not installed.

    `about` fills the first sheet; `notes` gives the sentence at the head of a sheet. Numbers stay numbers; text that
    looks like a formula or a link stays text.
    """
    try:
        import xlsxwriter
    except ImportError:
        return False
    options = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    options |= {"nan_inf_to_errors": False}
    with xlsxwriter.Workbook(str(path), options) as book:
        # Without the time of writing, so that the same results give the same file.
        import datetime

        book.set_properties({"title": str(about.get("scenario", "")), "created": datetime.datetime(2000, 1, 1)})
        head = book.add_format({"bold": True, "bottom": 1, "text_wrap": True, "valign": "top"})
        note = book.add_format({"italic": True, "font_color": "#555555"})
        formats = {
            "money": book.add_format({"num_format": "#,##0"}),
            "share": book.add_format({"num_format": "0.000"}),
            "plain": book.add_format({"num_format": "General"}),
        }
        sheet = book.add_worksheet("about")
        sheet.set_column(0, 0, 28)
        sheet.set_column(1, 1, 100)
        for row, (name, value) in enumerate(about.items()):
            sheet.write_string(row, 0, str(name), head)
            if isinstance(value, list) and len(value) == 1:
                value = value[0]
            text = json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
            if isinstance(text, int | float) and not isinstance(text, bool):
                sheet.write_number(row, 1, text)
            else:
                sheet.write_string(row, 1, "" if text is None else str(text))
        for name, table in sheets.items():
            _sheet(book, name, table, notes.get(name, ""), head, note, formats)
    return True


def _sheet(
    book: Any, name: str, table: pd.DataFrame, words: str, head: Any, note: Any, formats: Mapping[str, Any]
) -> None:
    sheet = book.add_worksheet(name[:31])
    shown = table.head(SHEET_ROWS)
    if len(table) > len(shown):
        words += f" The first {len(shown):,} of {len(table):,} rows; all are in the CSV file."
    sheet.write_string(0, 0, words, note)
    for column, title in enumerate(shown.columns):
        values = shown[title].tolist()
        numeric = pd.api.types.is_numeric_dtype(shown[title]) and not pd.api.types.is_bool_dtype(shown[title])
        sheet.write_string(2, column, str(title), head)
        kind = _format_of(str(title), shown[title]) if numeric else "plain"
        for row, value in enumerate(values, start=3):
            if numeric:
                # A cell of a spreadsheet has no infinity and no missing number: it stays empty, infinity is a word.
                if np.isfinite(value):
                    sheet.write_number(row, column, value, formats[kind])
                elif np.isinf(value):
                    sheet.write_string(row, column, "infinite")
            elif isinstance(value, bool | np.bool_):
                sheet.write_boolean(row, column, bool(value))
            elif isinstance(value, int | float) and np.isfinite(value):
                sheet.write_number(row, column, value)
            elif value is not None and value == value:
                sheet.write_string(row, column, str(value))
        longest = max([len(str(title)), *(len(str(v)) for v in values[:200] if not isinstance(v, float))], default=8)
        sheet.set_column(column, column, min(max(longest + 2, 10), 60))
    sheet.freeze_panes(3, 0)
    if len(shown):
        sheet.autofilter(2, 0, 2 + len(shown), max(len(shown.columns) - 1, 0))


def _format_of(title: str, column: pd.Series) -> str:
    if any(title.startswith(word) or title.endswith(word) for word in MONEY_COLUMNS):
        return "money"
    finite = column[np.isfinite(column.astype(float))]
    if len(finite) and (finite == finite.round()).all():
        return "plain"
    return "money" if len(finite) and finite.abs().median() >= 1000.0 else "share"


def workbook_sheets(
    tables: Tables,
    economic: Mapping[str, pd.DataFrame],
    tail: pd.DataFrame,
    inputs: pd.DataFrame,
    sources: pd.DataFrame,
) -> dict[str, pd.DataFrame]:
    """The sheets of the workbook in order; `tail` (the continuations beyond the last landmark) may be empty."""
    sheets = {"summary": tables.summary, "differences": tables.differences, "icer": tables.icer}
    for file, table in economic.items():
        name = file.removesuffix(".csv")
        if name not in ("ce_plane", "ce_ellipse", "price_curves"):
            sheets[name] = table
    sheets |= {"extrapolations": tail} if len(tail) else {}
    return sheets | {"events": tables.events, "inputs": with_numbers(inputs), "sources": with_numbers(sources, "year")}


def with_numbers(table: pd.DataFrame, column: str = "value") -> pd.DataFrame:
    """A table whose text column holds numbers where the text is one, so that a spreadsheet can reckon with them."""
    if column not in table.columns:
        return table
    read = pd.to_numeric(table[column], errors="coerce")
    mixed = [float(number) if pd.notna(number) else text for number, text in zip(read, table[column], strict=True)]
    return table.assign(**{column: pd.Series(mixed, index=table.index, dtype=object)})


def labels_of(scenario: Scenario) -> dict[str, tuple[str | None, str | None]]:
    """Strategy -> its English and its Chinese label."""
    return {s.id: (s.label.en, s.label.zh) for s in scenario.strategies}


def sources_table(parameters: ParameterSet) -> pd.DataFrame:
    """One row per cited source."""
    cited: Sequence[str] = sorted({name for found in parameters.values() for name in found.source})
    return pd.DataFrame(
        [
            {
                "id": name,
                "citation": source.citation,
                "doi": source.doi,
                "pmid": source.pmid,
                "year": source.year,
                "url": source.url,
            }
            for name, source in parameters.sources.items()
            if name in cited
        ]
    )
