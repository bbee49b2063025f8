"""The report's content as an Excel workbook: a sheet for each of its tables, with names as in the CSV files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from simhcc.report.exports import NOTES, with_numbers, write_workbook
from simhcc.report.page import cheers
from simhcc.report.page.content import Content
from simhcc.report.page.strategies import row_words
from simhcc.report.page.words import Words

FIRST = ("population", "survival", "occupancy", "summary", "differences", "subgroups", "events", "icer")
NOT_SHOWN = ("ce_plane", "ce_ellipse", "price_curves")
"""clouds and curves that are drawn only; they stay in their CSV files"""
SHEET_NOTES = {
    "strategies": "Every decision of every strategy: rows are read from the top, the first that holds decides.",
    "population": "The baseline patients.",
    "survival": "Share of patients without the event, by month.",
    "occupancy": "Share of all patients in each state, by month.",
    "sensitivity": "Every sensitivity analysis that the report shows, row by row.",
    "evppi": "Value of partial perfect information by group of evidence.",
    "validation": "Published figures of trials beside the simulated ones.",
    "claims": "Verdicts of the claims.",
    "cheers": "CHEERS 2022, as far as the results folder tells.",
}


def write_report_workbook(path: Path, content: Content, language: str) -> bool:
    """Write the workbook; False where XlsxWriter (extra `tables`) is not installed."""
    sheets = report_sheets(content, language)
    return write_workbook(path, _about(content), sheets, NOTES | SHEET_NOTES)


def report_sheets(content: Content, language: str) -> dict[str, pd.DataFrame]:
    """The sheets by name, in the report's order; what the folder does not hold has no sheet."""
    words = Words(language)
    found = {"strategies": _strategies(content, words)}
    names = [name for name in FIRST if name in content.tables]
    names += [name for name in content.tables if name not in names and name not in NOT_SHOWN]
    found |= {name: content.tables[name] for name in names}
    found |= {"sensitivity": _sensitivity(content), "evppi": _evppi(content), "validation": _validation(content)}
    found |= {"claims": _claims(content), "inputs": with_numbers(content.parameters)}
    found["sources"] = with_numbers(content.sources, "year")
    found["cheers"] = pd.DataFrame(
        [
            {
                "item": item.number,
                "what": words(f"cheers.{item.number}"),
                "status": words(f"cheers.status.{item.status}"),
                "note": words(item.note),
                "section": words(f"section.{item.section}") if item.section else "",
            }
            for item in cheers.checklist(content)
        ]
    )
    return {name: table for name, table in found.items() if len(table)}


def _about(content: Content) -> dict[str, Any]:
    """The run record, and the commands of the further analyses."""
    about = {key: value for key, value in content.record.items() if key != "files"}
    about["question"] = content.scenario.get("question")
    for kind, found in content.analyses.items():
        about[kind] = [
            str(each.get("command") or (each.get("record") or {}).get("command") or folder.name)
            for folder, each in found
        ]
    return about


def _strategies(content: Content, words: Words) -> pd.DataFrame:
    rows = []
    for id_ in content.ids:
        strategy = content.strategies[id_]
        label = words.label(strategy.get("label"), id_)
        for node, steps in strategy["tables"].items():
            for number, step in enumerate(steps, start=1):
                condition, action = row_words(words, step, content)
                rows.append(
                    {
                        "strategy": id_,
                        "label": label,
                        "decision": words.or_id("node", node),
                        "row": number,
                        "condition": condition,
                        "action": action,
                        "note": words.text(step.get("note")),
                    }
                )
    return pd.DataFrame(rows)


def _sensitivity(content: Content) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for _, found in content.analyses.get("sensitivity", ()):
        answer = found["answer"]
        head = {name: answer.get(name) for name in ("kind", "scenario", "outcome", "strategy", "comparator", "unit")}
        for part in answer.get(str(answer["kind"]).replace("-", "_"), ()):
            if isinstance(part, Mapping):
                rows.append(head | _plain(part))
    return pd.DataFrame(rows)


def _evppi(content: Content) -> pd.DataFrame:
    rows = []
    for _, found in content.analyses.get("voi", ()):
        rows += [{"wtp": found.get("wtp")} | _plain(part) for part in found.get("evppi", ())]
    return pd.DataFrame(rows)


def _validation(content: Content) -> pd.DataFrame:
    rows = []
    for _, found in content.analyses.get("trial", ()):
        for trial in found["trials"]:
            for kind in ("targets", "contrasts"):
                rows += [{"trial": trial["id"]} | _plain(part) for part in trial.get(kind, ())]
    return pd.DataFrame(rows)


def _claims(content: Content) -> pd.DataFrame:
    keys = ("statement", "verdict", "probability", "mcse", "basis", "robust", "date", "iterations", "patients", "seed")
    rows = []
    for _, found in content.analyses.get("claims", ()):
        for id_, claim in found["claims"].items():
            drivers = [str(d["name"]) for d in claim.get("drivers", ()) if isinstance(d, Mapping) and "name" in d]
            rows.append({"claim": id_} | {key: claim.get(key) for key in keys} | {"drivers": ", ".join(drivers)})
    return pd.DataFrame(rows)


def _plain(part: Mapping[str, Any]) -> dict[str, Any]:
    """Values that fit a cell; lists become words."""
    return {key: ", ".join(map(str, value)) if isinstance(value, list) else value for key, value in part.items()}
