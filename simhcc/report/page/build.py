"""`simhcc report`: one HTML file that tells everything a results folder holds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import simhcc
from simhcc.errors import InputError
from simhcc.inputs import one_of
from simhcc.report.page import sections
from simhcc.report.page.content import Content, read_content
from simhcc.report.page.markup import Markup, el, json_script
from simhcc.report.page.words import LANGUAGES, Words
from simhcc.report.page.workbook import write_report_workbook
from simhcc.report.words import write_text

STATES = (
    ("disease_free", "#117733"), ("awaiting_curative", "#44AA99"), ("local_control", "#88CCEE"), ("systemic", "#332288"),
    ("untreated_tumour", "#DDCC77"), ("supportive", "#CC6677"),
)  # fmt: skip
"""states from the foot of the drawing upwards, with their colours; the dead stand on top"""
DEAD = "#e4e6ea"
WTP_TOP, WTP_STEPS = 3.0, 60
"""the slider of a base case: up to so many times the highest willingness to pay, in so many steps"""
OTHER_COLOURS = ("#882255", "#999933", "#AA4499")
SCRIPT_WORDS = (
    "years_since", "share_free", "share_patients", "at_months", "wtp_axis", "wtp_at", "inc_qaly", "inc_cost", "p_best",
    "evpi_axis", "evpi_words", "inmb_axis", "to", "large",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asked for; `out` None is report.html (or report.zh.html) in the results folder."""

    results: Path
    lang: str = "en"
    out: Path | None = None
    more: Sequence[Path] = ()
    overwrite: bool = False
    excel: bool = False
    """also the same content as a workbook, beside the page"""


@dataclass(frozen=True)
class Written:
    """A report: where it lies, how large it is, what it tells and what it could not."""

    path: Path
    bytes: int
    language: str
    sections: tuple[str, ...]
    missing: tuple[str, ...]
    cheers: Mapping[str, int]
    workbook: Path | None = None

    def as_object(self) -> dict[str, Any]:
        """For machines."""
        return {
            "report": str(self.path),
            "workbook": None if self.workbook is None else str(self.workbook),
            "bytes": self.bytes,
            "lang": self.language,
            "sections": list(self.sections),
            "missing": list(self.missing),
            "cheers": dict(self.cheers),
        }

    def as_text(self) -> str:
        """For people."""
        lines = [f"Report: {self.path} ({self.bytes / 1e6:.1f} MB)"]
        if self.workbook is not None:
            lines.append(f"Workbook: {self.workbook}")
        if self.missing:
            lines.append(f"Not in it, because its input was not found: {', '.join(self.missing)}.")
            lines.append("--with FOLDER adds the results of simhcc trial, claims, sensitivity or voi.")
        counts = ", ".join(f"{n} {status}" for status, n in self.cheers.items())
        lines.append(f"CHEERS 2022, 28 items: {counts}.")
        return "\n".join(lines) + "\n"


def write_report(request: Request) -> Written:
    """Read a results folder and write its report. Raises InputError before anything is written."""
    if request.lang not in LANGUAGES:
        raise InputError(repr(request.lang), one_of(list(LANGUAGES), request.lang), "--lang")
    content = read_content(request.results, request.more)
    name = "report.html" if request.lang == "en" else f"report.{request.lang}.html"
    target = request.out or request.results / name
    if target.is_dir():
        raise InputError(f"the folder {target}", "the name of a file to be made", "--out")
    book = target.with_suffix(".xlsx") if request.excel else None
    if book is not None:
        if find_spec("xlsxwriter") is None:
            raise InputError("no XlsxWriter here", 'pip install "simhcc[tables]", or no --excel', "--excel")
        if book.exists() and request.out is not None and not request.overwrite:
            raise InputError(f"{book}", "--overwrite to replace it, or another file", "--out")
    text = page(content, request.lang)
    # The report of a folder is made again as the folder grows; a file somewhere else may be another's.
    write_text(target, text, request.overwrite or request.out is None)
    if book is not None:
        # Whole or not at all, as the page.
        part = book.with_name(f".{book.name}.part")
        try:
            write_report_workbook(part, content, request.lang)
            part.replace(book)
        finally:
            part.unlink(missing_ok=True)
    status = [item.status for item in sections.cheers.checklist(content)]
    return Written(
        target,
        len(text.encode()),
        request.lang,
        tuple(sections.ORDER),
        tuple(missing(content)),
        {name: status.count(name) for name in ("reported", "partly", "authors", "missing")},
        book,
    )


def missing(content: Content) -> list[str]:
    """Parts of the report for which the folder has no input."""
    kinds = {"trial": "validation", "claims": "claims", "voi": "EVPPI"}
    found = [words for kind, words in kinds.items() if kind not in content.analyses]
    tornado = any(
        c["answer"]["kind"] == "tornado" and c["answer"].get("scenario") == content.record["scenario"]
        for _, c in content.analyses.get("sensitivity", ())
    )
    if not tornado:
        found.append("tornado")
    if not len(content.table("ceac")):
        found.append("acceptability curve (it needs several iterations)")
    return found


def page(content: Content, language: str) -> str:
    """The whole report as HTML."""
    words = Words(language)
    shared = sections.Page(content, words)
    body = [
        sections.summary(shared),
        sections.question(shared),
        sections.population(shared),
        sections.strategies(shared),
        sections.results(shared),
        sections.subgroups(shared),
        sections.economics(shared),
        sections.extrapolation(shared),
        sections.uncertainty(shared),
        sections.validation(shared),
        sections.claims(shared, claim_statement),
        sections.assumptions(shared),
        sections.inputs(shared),
        sections.record(shared),
        sections.checklist(shared),
    ]
    title = words("title", name=words.label(content.scenario.get("label"), str(content.record["scenario"])))
    first = drawn_first(content)
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="generator", content=f"simhcc {simhcc.__version__}"),
        el("title", title),
        el("style", Markup(_asset("report.css"))),
    )
    fingerprint = str(content.record.get("fingerprint", ""))
    header = el(
        "header",
        el("h1", title),
        el("p", words("subtitle")),
        el("p", words("header.made", version=str(content.record.get("simhcc", "")), fingerprint=fingerprint[:12])),
        el("p", words("header.warning")),
        class_="top",
    )  # fmt: skip
    links = [el("li", el("a", words(f"section.{name}"), href=f"#{name}")) for name in sections.ORDER]
    boxes = [
        el(
            "label",
            el("input", type="checkbox", value=s, checked=s in first),
            shared.swatch(s),
            el("span", shared.names[s]),
        )
        for s in content.ids
    ]
    buttons = el(
        "div",
        el("button", words("choose.main"), type="button", id="main-strategies"),
        el("button", words("choose.all"), type="button", id="all-strategies"),
        class_="buttons",
    )
    nav = el(
        "nav",
        el("h2", words("contents")),
        el("ol", links),
        el(
            "fieldset",
            el("legend", words("choose.strategies")),
            buttons,
            boxes,
            class_="chooser-all",
            id="strategy-choice",
        ),
        class_="toc",
        aria_label=words("contents"),
    )
    page_body = el(
        "body",
        el("a", words("skip"), href="#main", class_="skip"),
        header,
        el(
            "div",
            nav,
            el("main", el("noscript", el("p", words("noscript"), class_="missing")), tips(), body, id="main"),
            class_="frame",
        ),
        el("footer", words("footer", version=simhcc.__version__)),
        json_script(script_data(shared, first), "data"),
        Markup(f"<script>{_asset('report.js')}</script>"),
    )
    return f"<!DOCTYPE html>\n{el('html', head, page_body, lang=LANGUAGES[language])}\n"


def claim_statement(id_: str) -> Mapping[str, str | None]:
    """A shipped claim's statement by language; empty for one that is not found here."""
    from simhcc.claims.registry import list_claims, load_claim

    if id_ not in list_claims():
        return {}
    try:
        statement = load_claim(id_).statement
    except InputError:
        return {}
    return {"en": statement.en, "zh": statement.zh}


def tips() -> Markup:
    """Arrow tips that the diagrams share."""
    shape = "M0 0L10 5L0 10z"
    marks = [
        el("marker", el("path", d=shape, fill=colour), id=id_, viewBox="0 0 10 10", refX="9", refY="5", markerWidth="8",
           markerHeight="8", markerUnits="userSpaceOnUse", orient="auto-start-reverse")
        for id_, colour in (("tip", "#8a94a3"), ("tip-new", "#b3470b"))
    ]  # fmt: skip
    return el("svg", el("defs", marks), width="0", height="0", aria_hidden="true", style="position:absolute")


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def drawn_first(content: Content) -> list[str]:
    """Strategies drawn before the reader chooses: all if they are few, else comparator, frontier and best survival."""
    ids = content.ids
    if len(ids) <= sections.MOST_DRAWN:
        return ids
    icer = content.table("icer")
    chosen = [str(content.record["comparator"]), *icer[icer["Status"] == "ND"]["Strategy"].astype(str)]
    nmb = content.table("nmb")
    if len(nmb):
        chosen += list(nmb.sort_values("Rank")["Strategy"].astype(str))[:2]
    table = content.table("summary")
    survival = table[table["outcome"] == "os_60m"].sort_values("mean", ascending=False, kind="stable")
    chosen += list(survival["strategy"].astype(str))
    kept = list(dict.fromkeys(chosen))[: sections.MOST_DRAWN - 1]
    return [s for s in ids if s in kept]


# ---------------------------------------------------------------------------------------------------------------------
# What the script draws


def script_data(page: sections.Page, first: Sequence[str]) -> dict[str, Any]:
    """The numbers behind the charts, as plain data."""
    content, words = page.content, page.words
    icer = content.table("icer")
    priced = icer[icer["Status"] != "unpriced"] if len(icer) else icer
    points = {str(r["Strategy"]): [_plain(r["Cost"]), _plain(r["Effect"])] for r in priced.to_dict("records")}
    ceac, loss, evpi, inmb = (content.table(name) for name in ("ceac", "expected_loss", "evpi", "inmb_curve"))
    grid = sorted(set((ceac if len(ceac) else inmb)["WTP"])) if len(ceac) or len(inmb) else []
    inmb_of = {
        s: {
            name: column for name in ("mean", "mcse", "lower", "upper") if (column := _over(part, grid, name, 2).get(s))
        }
        for s, part in _parts(inmb)
    }
    if not grid and content.wtp and page.comparator in points:
        # A base case has no tables over the willingness to pay; its net benefits are straight lines.
        top = WTP_TOP * max(content.wtp)
        grid = sorted({*(top * k / WTP_STEPS for k in range(WTP_STEPS + 1)), *content.wtp})
        cost, effect = points[page.comparator]
        inmb_of = {
            s: {"mean": [_rounded(w * (e - effect) - (c - cost), 2) for w in grid]}
            for s, (c, e) in points.items()
            if s != page.comparator
        }
    ceaf = content.table("ceaf").set_index("WTP")["Strategy"].to_dict() if len(content.table("ceaf")) else {}
    return {
        "words": {name: words(f"script.{name}") for name in SCRIPT_WORDS},
        "strategies": {
            s: {"label": page.names[s], "colour": style.colour, "dash": sections.dash(style.dashes)}
            for s, style in page.styles.items()
        },
        "first": list(first),
        "comparator": page.comparator,
        "currency": page.currency,
        "several": len(ceac) > 0,
        "survival": {e: _curves(content, e) for e in sections.shown_endpoints(content)},
        "states": _states(page),
        "wtp": [_plain(w) for w in grid],
        "wtp_first": content.wtp[0] if content.wtp else 0.0,
        "points": points,
        "ceac": _over(ceac, grid, "Proportion", 5),
        "loss": _over(loss, grid, "Expected_Loss", 2),
        "ceac_mcse": _over(ceac, grid, "MCSE", 5),
        "loss_mcse": _over(loss, grid, "MCSE", 2),
        "ceaf": [ceaf.get(w) for w in grid],
        "evpi": None if not len(evpi) else [_rounded(x, 2) for x in evpi.set_index("WTP")["EVPI"].reindex(grid)],
        "evpi_mcse": None if not len(evpi) else [_rounded(x, 2) for x in evpi.set_index("WTP")["MCSE"].reindex(grid)],
        "inmb": inmb_of,
        "plane": _plane(content, points, page.comparator),
    }  # fmt: skip


def _parts(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(str(s), part) for s, part in table.groupby("Strategy", sort=False)] if len(table) else []


def _over(table: pd.DataFrame, grid: Sequence[float], column: str, digits: int) -> dict[str, list[Any]]:
    """Strategy -> a column over the amounts of the grid."""
    if not len(table) or column not in table.columns:
        return {}
    return {
        s: [_rounded(x, digits) for x in part.drop_duplicates("WTP").set_index("WTP")[column].reindex(list(grid))]
        for s, part in _parts(table)
    }


def _curves(content: Content, endpoint: str) -> dict[str, Any]:
    """One endpoint's curves by month, to ten years or to where nearly everybody has had the event."""
    table = content.table("survival")
    table = table[(table["endpoint"] == endpoint) & (table["months"] <= 12 * sections.YEARS)]
    above = table[table["free"] > 0.02]["months"]
    last = 12 * math.ceil(max(float(above.max()) if len(above) else 12.0, 12.0) / 12)
    table = table[table["months"] <= last]
    wide = table.pivot(index="months", columns="strategy", values="free")
    errors = table.pivot(index="months", columns="strategy", values="mcse")
    names = [s for s in content.ids if s in wide.columns]
    return {
        "months": [_plain(m) for m in wide.index],
        "curves": {s: [_rounded(x, 4) for x in wide[s]] for s in names},
        "mcse": {s: [_rounded(x, 5) for x in errors[s]] for s in names},
    }


def _states(page: sections.Page) -> dict[str, Any]:
    """Shares of patients by state and month; the rest are dead."""
    content, words = page.content, page.words
    table = content.table("occupancy")
    if not len(table):
        return {"months": [], "names": [], "shares": {}}
    table = table[table["months"] <= 12 * sections.YEARS]
    known = [name for name, _ in STATES]
    there = list(dict.fromkeys(table["state"].astype(str)))
    alive = [s for s in known if s in there] + [s for s in there if s not in known and not s.startswith("dead")]
    colours = dict(STATES) | dict(zip((s for s in alive if s not in known), OTHER_COLOURS * 9, strict=False))
    shares = {}
    months = sorted(set(table["months"]))
    for s, part in table.groupby("strategy", sort=False):
        wide = part.pivot(index="months", columns="state", values="share").reindex(months)
        lived = {state: wide[state].to_numpy(float) if state in wide else np.zeros(len(months)) for state in alive}
        dead = np.clip(1.0 - sum(lived.values()), 0.0, 1.0)
        shares[str(s)] = {state: [_rounded(x, 4) for x in values] for state, values in (*lived.items(), ("dead", dead))}
    names = [{"id": state, "label": words.or_id("state", state), "colour": colours[state]} for state in alive]
    return {
        "months": [_plain(m) for m in months],
        "names": [*names, {"id": "dead", "label": words("state.dead"), "colour": DEAD}],
        "shares": shares,
    }


def _plane(content: Content, points: Mapping[str, Sequence[Any]], comparator: str) -> dict[str, Any]:
    """Clouds, ellipses and means of increments against the comparator."""
    if comparator not in points:
        return {}
    cloud, ellipse = content.table("ce_plane"), content.table("ce_ellipse")
    clouds = dict(_parts(cloud))
    rings = dict(_parts(ellipse))
    base = points[comparator]
    found = {}
    for s, (cost, effect) in points.items():
        if s == comparator:
            continue
        found[s] = {
            "points": _pairs(clouds.get(s))[: sections.MOST_POINTS],
            "ellipse": _pairs(rings.get(s)),
            "mean": [_plain(effect - base[1]), _plain(cost - base[0])],
        }
    return found


def _pairs(table: pd.DataFrame | None) -> list[list[Any]]:
    if table is None:
        return []
    return [[_rounded(x, 4), _rounded(y, 0)] for x, y in table[["Inc_Effect", "Inc_Cost"]].to_numpy()]


def _plain(value: Any) -> Any:
    x = float(value)
    return None if not math.isfinite(x) else int(x) if x.is_integer() else x


def _rounded(value: Any, digits: int) -> float | None:
    x = float(value)
    return None if not math.isfinite(x) else _plain(round(x, digits))
