"""The CHEERS 2022 checklist, filled in from what a run knows (Husereau D et al. Value Health 2022;25(1):3-9)."""

from __future__ import annotations

from dataclasses import dataclass

from simhcc.report.page.content import Content

REPORTED, PARTLY, AUTHORS, MISSING = "reported", "partly", "authors", "missing"
"""in this report; in part; for the authors to write, a run cannot know it; missing though an analysis would give it"""


@dataclass(frozen=True)
class Item:
    """One of the 28 items: its status, and the section of the report that answers it."""

    number: int
    status: str
    section: str | None
    note: str
    """key of the sentence that says what is reported or what is missing"""


def checklist(content: Content) -> list[Item]:
    """All items in order. A status is read off what the folder holds and nothing else."""
    several = content.iterations > 1
    has = content.analyses
    grouped = len(content.tables["subgroups"]) > 1 if "subgroups" in content.tables else False
    priced = len(content.table("icer")) > 0 and bool((content.table("icer")["Status"] != "unpriced").any())
    sensitivity = "sensitivity" in has
    uncertainty = REPORTED if several and sensitivity else PARTLY if several or sensitivity else MISSING
    note20 = {REPORTED: "both", PARTLY: "psa" if several else "dsa", MISSING: "none"}[uncertainty]
    population = "population" in content.tables
    price_year = content.value("economics.price_year") is not None
    return [
        Item(1, PARTLY, "question", "cheers.1.note"),
        Item(2, AUTHORS, None, "cheers.2.note"),
        Item(3, PARTLY if content.scenario.get("question") else AUTHORS, "question", "cheers.3.note"),
        Item(4, AUTHORS, None, "cheers.4.note"),
        Item(5, REPORTED if population else PARTLY, "population", "cheers.5.note" if population else "cheers.5.gap"),
        Item(6, PARTLY, "population", "cheers.6.note"),
        Item(7, REPORTED, "strategies", "cheers.7.note"),
        Item(8, REPORTED if content.scenario.get("perspective") else MISSING, "question", "cheers.8.note"),
        Item(9, REPORTED, "question", "cheers.9.note"),
        Item(10, REPORTED, "question", "cheers.10.note"),
        Item(11, REPORTED, "results", "cheers.11.note"),
        Item(12, PARTLY, "inputs", "cheers.12.note"),
        Item(13, PARTLY, "inputs", "cheers.13.note"),
        Item(14, REPORTED if priced else MISSING, "inputs", "cheers.14.note" if priced else "cheers.14.gap"),
        Item(15, REPORTED if price_year else PARTLY, "question", "cheers.15.note" if price_year else "cheers.15.gap"),
        Item(16, REPORTED if content.pathway else PARTLY, "strategies", "cheers.16.note"),
        Item(17, REPORTED, "assumptions", "cheers.17.note"),
        Item(18, REPORTED if grouped else MISSING, "subgroups", "cheers.18.note" if grouped else "cheers.18.gap"),
        Item(19, MISSING, None, "cheers.19.note"),
        Item(20, uncertainty, "uncertainty", f"cheers.20.{note20}"),
        Item(21, AUTHORS, None, "cheers.21.note"),
        Item(22, REPORTED, "inputs", "cheers.22.note"),
        Item(23, REPORTED, "results", "cheers.23.note"),
        Item(24, uncertainty, "uncertainty", f"cheers.20.{note20}"),
        Item(25, AUTHORS, None, "cheers.25.note"),
        Item(26, PARTLY if "trial" in has else AUTHORS, "validation" if "trial" in has else None,
             "cheers.26.note" if "trial" in has else "cheers.26.gap"),
        Item(27, AUTHORS, None, "cheers.27.note"),
        Item(28, AUTHORS, None, "cheers.28.note"),
    ]  # fmt: skip
