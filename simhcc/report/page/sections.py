"""The sections of the report, one function each, from a results folder's content to HTML."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from simhcc.report.figures import styles
from simhcc.report.page import cheers
from simhcc.report.page.content import Content
from simhcc.report.page.markup import Markup, el
from simhcc.report.page.strategies import pathway_diagram, strategy_block
from simhcc.report.page.words import Words
from simhcc.report.tables import EVERYONE
from simhcc.report.terminal import ENDPOINTS
from simhcc.uncertainty.extrapolation import MODEL

YEARS = 10
"""years of survival and state curves in the report; the tables in the folder go on"""
MOST_POINTS = 300
"""points of a cloud drawn for each strategy"""
MOST_DRAWN = 8
"""strategies drawn at first where there are more"""
TORNADO_BARS = 15
FEWEST_BARS = 5
MOST_DIGITS = 6
"""decimals of a standard error"""
LANDMARKS = ((12, 1), (24, 2), (36, 3), (60, 5))
SURVIVAL = ("os_12m", "os_24m", "os_36m", "os_60m")
HEALTH = ("ly_undiscounted", "ly", "qaly_undiscounted", "qaly", "cost")
COSTS = "cost_"
MINUS = "\N{MINUS SIGN}"
COMMANDS: Mapping[str, Sequence[str]] = {
    "psa": ("simhcc run {scenario} --iterations 500 --out results/{scenario}-psa",),
    "tornado": (
        "simhcc sensitivity tornado {scenario} --out results/{scenario}-tornado",
        "simhcc report RESULTS --with results/{scenario}-tornado",
    ),
    "evppi": ("simhcc voi RESULTS", "simhcc report RESULTS"),
    "validation": ("simhcc trial all --out results/trials", "simhcc report RESULTS --with results/trials"),
    "claims": ("simhcc claims --out results/claims", "simhcc report RESULTS --with results/claims"),
}
"""what makes the input of a section that is not there"""


class Page:
    """What all sections share: content, words, names and colours of the strategies."""

    def __init__(self, content: Content, words: Words) -> None:
        self.content = content
        self.words = words
        self.currency = str(content.record.get("currency") or "")
        self.names = {
            id_: words.label((content.strategies.get(id_) or {}).get("label"), str(label or id_))
            for id_, label in content.record["strategies"].items()
        }
        self.styles = styles(content.ids)
        self.comparator = str(content.record["comparator"])

    # -- numbers ------------------------------------------------------------------------------------------------------

    def number(self, outcome: str, value: Any) -> str:
        """A value of an outcome as it is read: shares in percent, money whole, years and months with two digits or one."""
        if value is None or not math.isfinite(float(value)):
            return "–"
        x = float(value)
        if outcome.startswith("cost") or outcome in ("NMB", "INMB", "money"):
            return signed(f"{x:,.0f}")
        if outcome.endswith("m") and outcome.rpartition("_")[2][:-1].isdigit():
            return signed(f"{100 * x:.1f}\N{NARROW NO-BREAK SPACE}%")
        if outcome.startswith("median_") or "_rmst_" in outcome:
            return signed(f"{x:.1f}")
        return signed(f"{x:.3f}")

    def error(self, outcome: str, value: Any) -> str:
        """A standard error beside its mean: with the mean's digits, or with one that counts where those would show 0."""
        text, x = self.number(outcome, value), float(value)
        if not 0.0 < x < math.inf or any(digit in text for digit in "123456789"):
            return text
        shown, unit = (100.0 * x, "\N{NARROW NO-BREAK SPACE}%") if text.endswith("%") else (x, "")
        return f"{shown:.{min(1 - math.ceil(math.log10(shown)), MOST_DIGITS)}f}{unit}"

    def cell(self, outcome: str, row: Mapping[str, Any] | None, *, plus: bool = False) -> Markup:
        """A mean with its Monte-Carlo error, and the interval over iterations where there is one."""
        if row is None or not _finite(row["mean"]):
            missing = self.words("not_reached") if outcome.startswith("median_") else "–"
            return el("td", missing, class_="num none")
        mean = self.number(outcome, row["mean"])
        if plus and float(row["mean"]) > 0:
            mean = f"+{mean}"
        parts: list[Any] = [el("b", mean)]
        if row["mean"] == 0.0 and row["mcse"] == 0.0:
            return el("td", parts, class_="num", data_value="0.0")  # what never happens under this strategy
        if _finite(row["mcse"]):
            parts.append(el("span", f" ±{self.error(outcome, row['mcse'])}", class_="mcse"))
        if self.content.iterations > 1 and _finite(row["lower"]) and _finite(row["upper"]):
            low, high = self.number(outcome, row["lower"]), self.number(outcome, row["upper"])
            parts.append(el("span", f"{low} {self.words('to')} {high}", class_="interval"))
        return el("td", parts, class_="num", data_value=repr(float(row["mean"])))

    def swatch(self, id_: str) -> Markup:
        """The strategy's line: its colour and dashes."""
        style = self.styles.get(id_)
        colour, dashes = (style.colour, dash(style.dashes)) if style is not None else ("#888888", "")
        mark = el("line", x1=0, x2=26, y1=4, y2=4, stroke=colour, stroke_width=4, stroke_dasharray=dashes or None)
        return el("svg", mark, viewBox="0 0 26 8", class_="swatch", aria_hidden="true")

    def strategy_head(self, id_: str) -> Markup:
        """The head of a strategy's row."""
        mark = el("small", self.words("in_brackets", text=self.words("comparator"))) if id_ == self.comparator else None
        return el("th", self.swatch(id_), self.names.get(id_, id_), mark, scope="row")

    def outcome(self, name: str) -> str:
        """The words of an outcome."""
        words = self.words
        if words.has(f"outcome.{name}"):
            return self.money(f"outcome.{name}") if name == "cost" else words(f"outcome.{name}")
        if name.startswith(COSTS):
            return words.or_id("cost", name.removeprefix(COSTS))
        if name.startswith("median_"):
            return words("outcome.median", endpoint=self.short(name.removeprefix("median_").removesuffix("_months")))
        end, _, tail = name.rpartition("_")
        if tail.endswith("m") and tail[:-1].isdigit():
            return words("outcome.share", endpoint=self.short(end), years=f"{int(tail[:-1]) / 12:g}")
        return name

    def money(self, key: str, **values: Any) -> str:
        """Words with the currency in brackets, or without them where no input says the currency."""
        text = self.words(key, currency=self.currency, **values)
        return text if self.currency else text.replace(" ()", "").replace("（）", "")

    def short(self, endpoint: str) -> str:
        """The abbreviation of an endpoint."""
        return endpoint.upper().replace("_", "-")

    def endpoint(self, endpoint: str) -> str:
        """The endpoint in words."""
        return self.words.or_id("endpoint", endpoint)

    def missing(self, key: str) -> Markup:
        """A sentence for a section whose input is not there."""
        parts: list[Any] = [self.words(f"missing.{key}")]
        for command in COMMANDS.get(key, ()):
            parts += [el("br"), el("code", command.format(scenario=self.content.record["scenario"]))]
        return el("p", parts, class_="missing")

    def table(self, head: Sequence[Any], rows: Sequence[Any], caption: str, class_: str = "") -> Markup:
        """A table with a caption; cells that are not elements yet become text."""
        cells = [h if isinstance(h, Markup) and h.startswith("<th") else el("th", h, scope="col") for h in head]
        return el(
            "div",
            el("table", el("caption", caption), el("thead", el("tr", cells)), el("tbody", rows), class_=class_ or None),
            class_="scroll",
            tabindex="0",
            role="region",
            aria_label=caption,
        )

    def chart(self, id_: str, title: str, note: str = "", controls: Any = None) -> Markup:
        """A place for a chart that the page's script draws."""
        return el(
            "figure",
            el("h3", title),
            controls,
            el("div", "", class_="plot", id=f"plot-{id_}", role="img", aria_label=title, tabindex="0"),
            el("div", "", class_="legend", id=f"legend-{id_}"),
            el("figcaption", note),
            class_="chart",
            id=f"chart-{id_}",
        )


def dash(dashes: Any) -> str:
    """Dashes of `simhcc.report.figures` as those of SVG; nothing for a solid line."""
    return "" if dashes == "solid" else " ".join(f"{2 * x:g}" for x in dashes[1])


def signed(text: str) -> str:
    """A number with a true minus sign."""
    return text.replace("-", MINUS)


def _finite(value: Any) -> bool:
    return value is not None and isinstance(value, int | float) and math.isfinite(value)


def by_strategy(table: pd.DataFrame) -> dict[tuple[str, str], dict[str, Any]]:
    """(strategy, outcome) -> its row."""
    return {(str(r["strategy"]), str(r["outcome"])): r for r in table.to_dict("records")}  # type: ignore[misc]


# ---------------------------------------------------------------------------------------------------------------------
# Question, population, strategies


def question(page: Page) -> Markup:
    """What is compared, for whom, over what time, at what prices."""
    words, content = page.words, page.content
    s, record = content.scenario, content.record
    horizon = s.get("horizon_years") or content.value("economics.horizon_years")
    costs, effects = content.value("economics.discount_rate_costs"), content.value("economics.discount_rate_effects")
    year = content.value("economics.price_year")
    facts = [
        (words("fact.setting"), words.or_id("setting", str(record["setting"]))),
        (words("fact.comparator"), page.names.get(page.comparator, page.comparator)),
        (words("fact.perspective"), words.or_id("perspective", str(s.get("perspective") or ""))),
        (words("fact.country"), words.or_id("country", str(s.get("country") or ""))),
        (words("fact.horizon"), words("years", n=f"{horizon:g}") if horizon else "–"),
        (
            words("fact.discount"),
            "–" if costs is None or effects is None
            else words("fact.discount.rates", costs=f"{100 * costs:g}", effects=f"{100 * effects:g}"),
        ),
        (words("fact.currency"), page.currency + (f", {year:.0f}" if year else "")),
        (words("fact.wtp"), words("list.semicolon").join(f"{w:,.0f} {page.currency}" for w in content.wtp) or "–"),
        (
            words("fact.size"),
            words("fact.size.words", patients=f"{record['patients']:,}", iterations=f"{record['iterations']:,}"),
        ),
    ]  # fmt: skip
    asked = content.scenario.get("question")
    return section(
        page,
        "question",
        el("p", words.text(asked), class_="lead") if asked else page.missing("question"),
        el("dl", [el("div", el("dt", k), el("dd", v)) for k, v in facts], class_="facts"),
        el("p", words("iterations.one" if content.iterations == 1 else "iterations.many"), class_="note"),
    )


def summary(page: Page) -> Markup:
    """The answer in a few sentences, read off the tables."""
    words, content = page.words, page.content
    found = by_strategy(content.table("summary"))
    points = []
    survival = [(float(found[s, "os_60m"]["mean"]), s) for s in content.ids if (s, "os_60m") in found]
    survival = [pair for pair in survival if math.isfinite(pair[0])]
    if survival:
        share, best = max(survival)
        row = found[best, "os_60m"]
        text = words("summary.survival", name=page.names[best], share=page.number("os_60m", share),
                     mcse=page.error("os_60m", row["mcse"]))  # fmt: skip
        points.append(text)
    icer = content.table("icer")
    frontier = [page.names.get(s, s) for s in icer[icer["Status"] == "ND"]["Strategy"]]
    if frontier:
        points.append(words("summary.frontier", names=words("list.comma").join(frontier)))
    unpriced = [page.names.get(s, s) for s in icer[icer["Status"] == "unpriced"]["Strategy"]]
    nmb = content.table("nmb")
    for wtp in content.wtp:
        rows = nmb[nmb["WTP"].sub(wtp).abs() < 0.5] if len(nmb) else nmb
        if len(rows):
            first = rows.sort_values("Rank").iloc[0]
            text = words("summary.nmb", name=page.names.get(first["Strategy"], first["Strategy"]), wtp=f"{wtp:,.0f}",
                         currency=page.currency)  # fmt: skip
            ceac = content.table("ceac")
            at = (
                ceac[(ceac["WTP"].sub(wtp).abs() < 0.5) & (ceac["Strategy"] == first["Strategy"])]
                if len(ceac)
                else ceac
            )
            if len(at):
                text += words("summary.probability", p=f"{100 * float(at['Proportion'].iloc[0]):.0f}")
            points.append(text + words("stop"))
    if unpriced:
        points.append(words("summary.unpriced", names=words("list.comma").join(unpriced)))
    grades = content.parameters["grade"].value_counts()
    if not int(grades.get("calibrated", 0)):
        points.append(words("summary.uncalibrated"))
    return section(page, "summary", el("ul", [el("li", point) for point in points], class_="points"))


def population(page: Page) -> Markup:
    """Who the simulated patients are."""
    words, content = page.words, page.content
    name = str(content.record["population"])
    parts: list[Any] = [el("p", words("population.words", name=name, n=f"{content.record['patients']:,}"))]
    table = content.table("population", None)
    if len(table):
        rows = [
            el(
                "tr",
                el("th", words.or_id("attr", str(r["attribute"])), scope="row"),
                el("td", "" if _blank(r["level"]) else words.or_id("level", str(r["level"]))),
                el("td", _baseline(words, r), class_="num"),
            )
            for r in table.to_dict("records")
        ]
        parts.append(
            page.table(
                [words("head.characteristic"), words("head.level"), words("head.value")],
                rows,
                words("population.table"),
                "compact baseline",
            )
        )
    else:
        parts.append(page.missing("population"))
    return section(page, "population", parts)


def _blank(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _baseline(words: Words, row: Mapping[Any, Any]) -> str:
    if row["statistic"] == "share":
        return f"{100 * float(row['value']):.1f}\N{NARROW NO-BREAK SPACE}%"
    names = ("value", "lower", "upper") if row["statistic"] == "median" else ("value", "sd")
    numbers = {name: float(row[name]) for name in names}
    digits = 0 if abs(numbers["value"]) >= 100.0 else 2
    return words(f"baseline.{row['statistic']}", **{name: signed(f"{x:,.{digits}f}") for name, x in numbers.items()})


def strategies(page: Page) -> Markup:
    """Every strategy in words, and the pathway as a diagram."""
    words, content = page.words, page.content
    blocks = [strategy_block(words, s, page.names[s], content, page.swatch(s)) for s in content.ids]
    return section(
        page,
        "strategies",
        el("h3", words("diagram.head")),
        el("p", words("diagram.words"), class_="note"),
        pathway_diagram(words, content, page.names),
        el("h3", words("strategies.head")),
        el("p", words("strategies.words"), class_="note"),
        blocks,
    )


# ---------------------------------------------------------------------------------------------------------------------
# Results


def results(page: Page) -> Markup:
    """Survival, states and tables of outcomes."""
    words, content = page.words, page.content
    endpoints = shown_endpoints(content)
    options = [el("option", page.endpoint(name), value=name) for name in endpoints]
    endpoint = el("label", words("choose.endpoint"), " ", el("select", options, id="endpoint-choice"), class_="chooser")
    states = [el("option", page.names[s], value=s, selected=s == page.comparator) for s in content.ids]
    state = el("label", words("choose.strategy"), " ", el("select", states, id="state-choice"), class_="chooser")
    parts: list[Any] = []
    if endpoints:
        note = words("survival.note.many" if content.iterations > 1 else "survival.note.one")
        parts.append(page.chart("survival", words("survival.title"), note, endpoint))
    else:
        parts.append(page.missing("survival"))
    if len(content.table("occupancy")):
        parts.append(page.chart("states", words("states.title"), words("states.note"), state))
    else:
        parts.append(page.missing("states"))
    found = by_strategy(content.table("summary"))
    differences = by_strategy(content.table("differences"))
    names = {o for _, o in found}
    medians = [f"median_{e}_months" for e in endpoints]
    costs = sorted(o for o in names if o.startswith(COSTS))
    blocks = (
        ("table.survival", [o for o in (*SURVIVAL, *medians) if o in names]),
        ("table.health", [o for o in HEALTH if o in names]),
        ("table.costs", costs),
    )
    for key, outcomes in blocks:
        if outcomes:
            parts.append(outcome_table(page, found, outcomes, words(key)))
    compared = [o for o in ("os_12m", "os_36m", "os_60m", "ly", "qaly", "cost") if o in names]
    if compared and differences:
        title = words("table.differences", name=page.names.get(page.comparator, page.comparator))
        parts.append(outcome_table(page, differences, compared, title, plus=True, without=page.comparator))
    parts.append(events_table(page))
    return section(page, "results", parts)


def shown_endpoints(content: Content) -> list[str]:
    """Endpoints whose curves are drawn: overall survival and those that are read in the setting."""
    curves = content.table("survival")
    there = set(curves["endpoint"]) if len(curves) else set()
    return [e for e in ("os", *ENDPOINTS.get(str(content.record["setting"]), ())) if e in there]


def outcome_table(
    page: Page,
    found: Mapping[tuple[str, str], Mapping[str, Any]],
    outcomes: Sequence[str],
    title: str,
    *,
    plus: bool = False,
    without: str | None = None,
) -> Markup:
    """Strategies down, outcomes across."""
    rows = [
        el("tr", page.strategy_head(s), [page.cell(o, found.get((s, o)), plus=plus) for o in outcomes], data_strategy=s)
        for s in page.content.ids
        if s != without and any((s, o) in found for o in outcomes)
    ]
    return page.table(
        [page.words("head.strategy"), *(page.outcome(o) for o in outcomes)], rows, title, "outcomes numbers"
    )


def events_table(page: Page) -> Markup:
    """Events per patient."""
    words, table = page.words, page.content.table("events")
    if not len(table):
        return Markup("")
    wide = {(str(r["strategy"]), str(r["event"])): r for r in table.to_dict("records")}
    events = [
        e
        for e in dict.fromkeys(table["event"])
        if any(wide[s, e]["mean"] > 0 for s in page.content.ids if (s, e) in wide)
    ]
    rows = []
    for event in events:
        cells = []
        for s in page.content.ids:
            r = wide.get((s, event))
            cells.append(el("td", "–" if r is None else f"{r['mean']:.3f}", class_="num"))
        rows.append(el("tr", el("th", words.or_id("event", str(event)), scope="row"), cells))
    head = [words("head.event"), *(page.names[s] for s in page.content.ids)]
    table_ = page.table(head, rows, words("table.events"), "compact numbers events")
    return el("details", el("summary", words("table.events")), table_)


def subgroups(page: Page) -> Markup:
    """The main outcomes in each subgroup."""
    words, content = page.words, page.content
    groups = content.table("subgroups", None)
    others = [r for r in groups.to_dict("records") if r["subgroup"] != EVERYONE] if len(groups) else []
    if not others:
        return section(page, "subgroups", page.missing("subgroups"))
    labels = {g["id"]: g.get("label") for g in content.scenario.get("subgroups", ())}
    parts = []
    for group in others:
        id_ = str(group["subgroup"])
        label = (
            words.label(labels.get(id_), str(group["label"]))
            if isinstance(labels.get(id_), dict)
            else str(group["label"])
        )
        found = by_strategy(content.table("summary", id_))
        names = {o for _, o in found}
        outcomes = [o for o in ("os_12m", "os_60m", "median_os_months", "ly", "qaly", "cost") if o in names]
        title = words("subgroup.title", name=words.text(label), n=f"{int(group['patients']):,}")
        parts.append(outcome_table(page, found, outcomes, title))
        parts.append(icer_table(page, id_, words("icer.title") + f": {words.text(label)}"))
    return section(page, "subgroups", parts)


# ---------------------------------------------------------------------------------------------------------------------
# Economics


def icer_table(page: Page, group: str, title: str) -> Markup:
    """Costs, QALYs and ICERs along the frontier."""
    words = page.words
    table = page.content.table("icer", group)
    if not len(table):
        return Markup("")
    means = by_strategy(page.content.table("summary", group))
    rows = []
    for r in table.to_dict("records"):
        status = str(r["Status"])
        note = "" if _blank(r.get("Note")) else str(r["Note"]).removeprefix("no price: ")
        drugs = words("list.comma").join(words.or_id("drug", d) for d in note.split(", ")) if note else ""
        rows.append(
            el(
                "tr",
                page.strategy_head(str(r["Strategy"])),
                [
                    el(
                        "td",
                        page.number(kind, r[name]),
                        _error_of(page, means, str(r["Strategy"]), kind) if name in ("Cost", "Effect") else None,
                        class_="num",
                        data_value=_data(r[name]),
                    )
                    for name, kind in (
                        ("Cost", "cost"),
                        ("Effect", "qaly"),
                        ("Inc_Cost", "cost"),
                        ("Inc_Effect", "qaly"),
                        ("ICER", "money"),
                    )
                ],
                el("td", words(f"status.{status}", drugs=drugs) if status == "unpriced" else words(f"status.{status}")),
                class_=f"status-{status}",
            )
        )
    head = [words("head.strategy"), page.money("head.cost"), words("head.qaly"), words("head.inc_cost"),
            words("head.inc_qaly"), page.money("head.icer"), words("head.status")]  # fmt: skip
    return page.table(head, rows, title, "icer")


def _error_of(
    page: Page, means: Mapping[tuple[str, str], Mapping[str, Any]], strategy: str, outcome: str
) -> Markup | None:
    row = means.get((strategy, outcome))
    if row is None or not _finite(row["mean"]) or not _finite(row["mcse"]):
        return None
    return el("span", f" ±{page.error(outcome, row['mcse'])}", class_="mcse")


def _data(value: Any) -> str | None:
    return repr(float(value)) if _finite(value) else None


def wtp_table(page: Page, wtp: float) -> Markup:
    """What the slider changes: net benefit and probabilities at one willingness to pay, filled in for `wtp`."""
    words, content = page.words, page.content
    icer = content.table("icer")
    several = len(content.table("ceac")) > 0
    head = [
        words("head.strategy"),
        page.money("head.nmb"),
        page.money("head.inmb"),
    ]
    head += [words("head.p_best"), page.money("head.loss")] if several else []
    priced = [str(s) for s in icer[icer["Status"] != "unpriced"]["Strategy"]]
    rows = [
        el("tr", page.strategy_head(s), [el("td", "", class_="num") for _ in head[1:]], data_strategy=s)
        for s in content.ids
        if s in priced
    ]
    return page.table(head, rows, words("wtp.table"), "wtp numbers")


def economics(page: Page) -> Markup:
    """Frontier, plane, acceptability and what follows from the willingness to pay."""
    words, content = page.words, page.content
    icer = content.table("icer")
    if not len(icer):
        return section(page, "economics", page.missing("economics"))
    several = len(content.table("ceac")) > 0
    wtp = content.wtp[0] if content.wtp else 0.0
    slider = el(
        "div",
        el("label", words("wtp.slider"), for_="wtp"),
        el("input", id="wtp", type="range", min="0", max="1", step="1", value="0"),
        el("output", "", id="wtp-value", for_="wtp"),
        class_="slider",
    )
    parts: list[Any] = [
        icer_table(page, EVERYONE, words("icer.title")),
        el("p", words("icer.note"), class_="note"),
        slider,
        el("div", wtp_table(page, wtp), id="wtp-table"),
        el("p", "", id="evpi-words", class_="note", aria_live="polite"),
    ]
    base = page.names.get(page.comparator, page.comparator)
    plane_note = words("plane.note" if several else "plane.note.one", name=base)
    parts.append(page.chart("plane", words("plane.title"), plane_note))
    if several:
        parts.append(page.chart("ceac", words("ceac.title"), words("ceac.note")))
        parts.append(page.chart("evpi", words("evpi.title"), words("evpi.note")))
    else:
        parts.append(page.missing("psa"))
    parts.append(page.chart("inmb", words("inmb.title", name=base), words("inmb.note" if several else "inmb.note.one")))
    parts.append(thresholds(page))
    parts.append(budget(page))
    return section(page, "economics", parts)


def thresholds(page: Page) -> Markup:
    """Prices at which a strategy becomes optimal."""
    words, table = page.words, page.content.table("price_thresholds")
    if not len(table):
        return Markup("")
    rows = []
    for r in table.to_dict("records"):
        drugs = words("list.plus").join(words.or_id("drug", d) for d in str(r["Drug"]).replace(" + ", ", ").split(", "))
        against = (
            words("thresholds.all") if r["Against"] == "all" else page.names.get(str(r["Against"]), str(r["Against"]))
        )
        value = page.number("money", r["Threshold"]) if _finite(r["Threshold"]) else words("thresholds.none")
        band = ""
        if page.content.iterations > 1 and _finite(r["lower"]) and _finite(r["upper"]):
            band = f"{page.number('money', r['lower'])} {words('to')} {page.number('money', r['upper'])}"
        rows.append(
            el("tr", page.strategy_head(str(r["Strategy"])), el("td", drugs), el("td", against),
               el("td", page.number("money", r["WTP"]), class_="num"), el("td", page.number("money", r["Price"]), class_="num"),
               el("td", el("b", value), el("span", band, class_="interval"), class_="num"))
        )  # fmt: skip
    head = [
        words("head.strategy"),
        words("head.drug"),
        words("head.against"),
        words("head.wtp"),
        words("head.price"),
        words("head.threshold"),
    ]
    inner = page.table(head, rows, words("thresholds.title", currency=page.currency), "compact")
    return el("details", el("summary", words("thresholds.title", currency=page.currency)), inner)


def budget(page: Page) -> Markup:
    """Budget impact by year."""
    words, table = page.words, page.content.table("budget", None)
    if not len(table):
        return Markup("")
    years = sorted(set(table["Year"]))
    wide = {(str(r["New"]), r["Year"]): r for r in table.to_dict("records")}
    rows = []
    for s in dict.fromkeys(table["New"]):
        cells = [el("td", page.number("money", wide[s, y]["Budget_Impact"] / 1e6), class_="num") for y in years]
        total = wide[s, years[-1]]["Cumulative"] / 1e6
        rows.append(
            el("tr", page.strategy_head(str(s)), cells, el("td", el("b", page.number("money", total)), class_="num"))
        )
    head = [words("head.strategy"), *(str(int(y)) for y in years), words("head.total")]
    title = words("budget.title", currency=page.currency)
    return el(
        "details",
        el("summary", title),
        el("p", words("budget.note"), class_="note"),
        page.table(head, rows, title, "compact numbers"),
    )


def extrapolation(page: Page) -> Markup:
    """How much of each result lies beyond the last published landmark, and what it would be under other continuations."""
    words, table = page.words, page.content.table("extrapolations")
    if not len(table):
        return section(page, "extrapolation", page.missing("extrapolation"))
    months = float(table["months"].iloc[0])
    levels = table[table["comparator"].isna()]
    cases = dict(zip(levels["case"], levels["label"], strict=True))
    outcomes = [name for name in ("ly", "qaly", "cost") if (levels["outcome"] == name).any()]
    parts: list[Any] = [el("p", words("extrapolation.words", months=f"{months:g}"))]
    priced = levels[levels["outcome"] == "cost"]["mean"].notna()
    if page.content.wtp and "qaly" in outcomes and priced.any():
        parts.append(_best_continued(page, levels, cases, page.content.wtp[0]))
    parts.append(_beyond(page, levels, outcomes, months))
    parts += [_continued(page, levels, cases, outcome) for outcome in outcomes]
    return section(page, "extrapolation", parts)


def _beyond(page: Page, levels: pd.DataFrame, outcomes: Sequence[str], months: float) -> Markup:
    """Share of each outcome that lies beyond the landmark."""
    found = {
        (str(r["strategy"]), str(r["outcome"])): r["beyond"] for r in levels[levels["case"] == MODEL].to_dict("records")
    }
    rows = [
        el("tr", page.strategy_head(s), [el("td", _percent(found.get((s, name))), class_="num") for name in outcomes])
        for s in page.content.ids
        if (s, "ly") in found or (s, "qaly") in found
    ]
    head = [page.words("head.strategy"), *(page.outcome(name) for name in outcomes)]
    return page.table(head, rows, page.words("extrapolation.beyond", months=f"{months:g}"), "compact numbers")


def _continued(page: Page, levels: pd.DataFrame, cases: Mapping[str, str], outcome: str) -> Markup:
    """An outcome by the model's own hazards, and its change with each other continuation."""
    words = page.words
    mine = {(str(r["strategy"]), str(r["case"])): r for r in levels[levels["outcome"] == outcome].to_dict("records")}
    rows = []
    for s in page.content.ids:
        if (s, MODEL) not in mine:
            continue
        cells = []
        for case in cases:
            row = mine[s, case]
            value, error = ("mean", "mcse") if case == MODEL else ("change", "change_mcse")
            sign = "+" if case != MODEL and row[value] > 0.0 else ""
            spread = el("span", f" ±{page.error(outcome, row[error])}", class_="mcse") if row[error] > 0.0 else None
            cells.append(el("td", el("b", f"{sign}{page.number(outcome, row[value])}"), spread, class_="num"))
        rows.append(el("tr", page.strategy_head(s), cells))
    title = words("extrapolation.title", outcome=page.outcome(outcome))
    head = [words("head.strategy"), *_case_words(words, cases)]
    return el("details", el("summary", title), page.table(head, rows, title, "compact numbers"))


def _best_continued(page: Page, levels: pd.DataFrame, cases: Mapping[str, str], wtp: float) -> Markup:
    """Which strategy has the highest net benefit under each continuation: does the tail decide?"""
    words = page.words
    wide = levels.pivot(index=["case", "strategy"], columns="outcome", values="mean")
    benefit = (wtp * wide["qaly"] - wide["cost"]).dropna()
    rows = []
    for case, label in zip(cases, _case_words(words, cases), strict=True):
        here = benefit[case].sort_values(ascending=False)
        lead = page.number("money", here.iloc[0] - here.iloc[1]) if len(here) > 1 else "–"
        rows.append(
            el(
                "tr",
                el("th", label, scope="row"),
                el("td", page.swatch(str(here.index[0])), page.names.get(str(here.index[0]), str(here.index[0]))),
                el("td", lead, class_="num"),
            )
        )
    head = [words("head.continuation"), words("head.highest_nmb"), page.money("head.lead")]
    amount = page.number("money", wtp)
    return page.table(head, rows, words("extrapolation.best", wtp=amount, currency=page.currency), "compact")


def _case_words(words: Words, cases: Mapping[str, str]) -> list[str]:
    return [words("extrapolation.model") if case == MODEL else words.text(label) for case, label in cases.items()]


def _percent(value: Any) -> str:
    return f"{100.0 * float(value):.0f}\N{NARROW NO-BREAK SPACE}%" if _finite(value) else "–"


# ---------------------------------------------------------------------------------------------------------------------
# Uncertainty, validation, claims


def uncertainty(page: Page) -> Markup:
    """Tornado and value of information, where they were made."""
    words, content = page.words, page.content
    parts: list[Any] = []
    found = content.analyses.get("sensitivity", [])
    of_run = [c for _, c in found if c["answer"].get("scenario") == content.record["scenario"]]
    for other in [c for _, c in found if c["answer"].get("scenario") != content.record["scenario"]]:
        parts.append(
            el("p", words("sensitivity.other", scenario=str(other["answer"].get("scenario"))), class_="missing")
        )
    tornados = [c for c in of_run if c["answer"]["kind"] == "tornado"]
    for c in tornados:
        parts.append(tornado(page, c["answer"], c.get("record") or {}))
    if not tornados:
        parts.append(page.missing("tornado"))
    for c in of_run:
        if c["answer"]["kind"] != "tornado":
            title = words.or_id("sensitivity", str(c["answer"]["kind"]))
            parts.append(el("details", el("summary", title), el("pre", str(c.get("text", "")), lang="en")))
    values = content.analyses.get("voi", [])
    for _, c in values:
        parts.append(evppi(page, c))
    if not values:
        parts.append(page.missing("evppi"))
    return section(page, "uncertainty", parts)


def _outcome_words(page: Page, answer: Mapping[str, Any]) -> str:
    words, outcome = page.words, str(answer["outcome"])
    if outcome in ("inmb", "nmb"):
        text = words(f"outcome.{outcome}")
    elif outcome.startswith("difference_"):
        text = words("outcome.difference", outcome=page.outcome(outcome.removeprefix("difference_")))
    else:
        text = page.outcome(outcome)
    parts = [page.names.get(str(answer[k]), str(answer[k])) for k in ("strategy", "comparator") if answer.get(k)]
    return words("tornado.of", outcome=text, who=words("list.versus").join(parts))


def tornado(page: Page, answer: Mapping[str, Any], record: Mapping[str, Any]) -> Markup:
    """One-way sensitivity of the most influential numbers, as bars and as a table."""
    words = page.words
    rows = [r for r in answer["tornado"] if _finite(r.get("below")) and _finite(r.get("above"))]
    rows = sorted(rows, key=lambda r: -max(abs(r["below"]), abs(r["above"]), abs(r["below"] - r["above"])))[
        :TORNADO_BARS
    ]
    if not rows:
        return page.missing("tornado")
    title = words("tornado.title", what=_outcome_words(page, answer))
    base = float(answer["base"]["value"])
    size = max(max(abs(r["below"]), abs(r["above"])) for r in rows) or 1.0
    left, right, step = 430, 900, 26
    middle = (left + right) / 2
    scale = (right - left) / 2 / size
    parts: list[Any] = [el("title", title)]
    money = page.number if answer.get("unit") == page.currency else None
    shown = (lambda x: money("money", x)) if money else (lambda x: signed(f"{x:.4g}"))
    for k, r in enumerate(rows):
        y = 34 + k * step
        name = str(r["parameter"])
        parts.append(
            el(
                "text",
                name if len(name) <= 60 else f"…{name[-58:]}",
                x=left - 8,
                y=y + 13,
                text_anchor="end",
                class_="name",
            )
        )
        for end, class_ in (("below", "low"), ("above", "high")):
            x = float(r[end])
            hint = words(f"tornado.{class_}", name=name, value=signed(f"{float(r['low' if class_ == 'low' else 'high']):.4g}"),
                         change=shown(x), mcse=shown(float(r[f"{end}_mcse"] or 0)))  # fmt: skip
            x0 = middle + min(x, 0) * scale
            parts.append(
                el(
                    "rect",
                    el("title", hint),
                    x=f"{x0:.1f}",
                    y=y,
                    width=f"{max(abs(x) * scale, 0.8):.1f}",
                    height=18,
                    class_=class_,
                )
            )
    bottom = 34 + len(rows) * step
    parts.append(el("line", x1=middle, x2=middle, y1=24, y2=bottom, class_="axis"))
    for x, anchor in ((-size, "start"), (0.0, "middle"), (size, "end")):
        parts.append(el("text", shown(base + x), x=f"{middle + x * scale:.1f}", y=bottom + 16, text_anchor=anchor))
    head = [
        words("head.parameter"),
        words("head.base"),
        words("head.low"),
        words("head.high"),
        words("head.at_low"),
        words("head.at_high"),
    ]
    table = []
    for r in rows:
        limits = [el("td", signed(f"{float(r[k]):.4g}"), class_="num") for k in ("base", "low", "high")]
        changes = [
            el(
                "td",
                shown(float(r[k])),
                el("span", f" ±{shown(float(r[f'{k}_mcse'] or 0))}", class_="mcse"),
                class_="num",
            )
            for k in ("below", "above")
        ]
        table.append(el("tr", el("th", el("code", r["parameter"]), scope="row"), limits, changes))
    note = words(
        "tornado.note",
        base=shown(base),
        mcse=shown(float(answer["base"]["mcse"] or 0)),
        n=len(rows),
        of=len(answer["tornado"]),
    )
    return el(
        "figure",
        el("h3", title),
        el("svg", parts, viewBox=f"0 0 930 {bottom + 26}", class_="tornado", role="img", aria_label=title),
        el(
            "p",
            el("span", "", class_="key low"),
            words("tornado.key.low"),
            " ",
            el("span", "", class_="key high"),
            words("tornado.key.high"),
            class_="legend",
        ),
        el("figcaption", note, other_inputs(page, record)),
        el("details", el("summary", words("table.numbers")), page.table(head, table, title, "compact numbers")),
        class_="chart",
    )


def other_inputs(page: Page, record: Mapping[str, Any]) -> Markup | None:
    """A warning where an analysis was made from other numbers than the run.

    A trial brings its own levels and has no scenario, so it is compared file by file; the others by fingerprint.
    """
    theirs_by_file, mine_by_file = record.get("parameter_files"), page.content.record.get("files")
    if theirs_by_file and mine_by_file:
        if all(mine_by_file.get(name) == digest for name, digest in theirs_by_file.items()):
            return None
        return el("strong", " ", page.words("other_inputs"), class_="warn")
    mine = (page.content.record.get("parameters") or {}).get("fingerprint")
    found = record.get("parameters")
    theirs = found.get("fingerprint") if isinstance(found, dict) else found
    if mine and theirs and mine != theirs:
        return el("strong", " ", page.words("other_inputs"), class_="warn")
    return None


def evppi(page: Page, found: Mapping[str, Any]) -> Markup:
    """Value of partial perfect information by group of evidence."""
    words = page.words
    rows = [r for r in found.get("evppi", ()) if _finite(r.get("EVPPI"))]
    groups = len(rows)
    rows = sorted(rows, key=lambda r: -float(r["EVPPI"]))[:TORNADO_BARS]
    # Groups that are worth nothing would only be a list of zeros.
    rows = [r for k, r in enumerate(rows) if k < FEWEST_BARS or float(r["EVPPI"]) + float(r.get("SE") or 0) >= 0.5]
    if not rows:
        return page.missing("evppi")
    title = words("evppi.title", wtp=f"{float(found['wtp']):,.0f}", currency=str(found.get("currency") or ""))
    left, right, step = 330, 800, 26
    size = max(float(r["EVPPI"]) + 1.96 * float(r.get("SE") or 0) for r in rows) or 1.0
    scale = (right - left) / size
    parts: list[Any] = [el("title", title)]
    for k, r in enumerate(rows):
        y, x, se = 10 + k * step, float(r["EVPPI"]), float(r.get("SE") or 0)
        hint = f"{r['Group']}: {page.number('money', x)} ±{page.number('money', se)}"
        parts.append(el("text", str(r["Group"])[:44], x=left - 8, y=y + 13, text_anchor="end", class_="name"))
        parts.append(
            el("rect", el("title", hint), x=left, y=y, width=f"{max(x * scale, 0.8):.1f}", height=18, class_="low")
        )
        low, high = max(x - 1.96 * se, 0.0), x + 1.96 * se
        parts.append(
            el(
                "line",
                x1=f"{left + low * scale:.1f}",
                x2=f"{left + high * scale:.1f}",
                y1=y + 9,
                y2=y + 9,
                class_="axis",
            )
        )
        parts.append(el("text", page.number("money", x), x=f"{left + high * scale + 6:.1f}", y=y + 13))
    note = words("evppi.note")
    if groups > len(rows):
        note += " " + words("evppi.rest", n=len(rows), of=groups)
    perfect = found.get("evpi") or ()
    if perfect and _finite(perfect[0].get("EVPI")):
        note += " " + words(
            "evppi.evpi", evpi=page.number("money", perfect[0]["EVPI"]), currency=str(found.get("currency") or "")
        )
    bottom = 10 + len(rows) * step + 6
    return el(
        "figure", el("h3", title),
        el("svg", parts, viewBox=f"0 0 930 {bottom}", class_="tornado", role="img", aria_label=title),
        el("figcaption", note), class_="chart",
    )  # fmt: skip


def validation(page: Page) -> Markup:
    """Published figures of trials beside the simulated ones."""
    words = page.words
    found = page.content.analyses.get("trial", [])
    if not found:
        return section(page, "validation", page.missing("validation"))
    parts: list[Any] = [el("p", words("validation.words"), class_="note")]
    for _, content in found:
        warning = other_inputs(page, content)
        if warning is not None:
            parts.append(el("p", warning))
        for trial in content["trials"]:
            parts.append(_trial(page, trial))
    return section(page, "validation", parts)


def _trial(page: Page, trial: Mapping[str, Any]) -> Markup:
    words = page.words
    rows, inside, compared = [], 0, 0
    for kind in ("targets", "contrasts"):
        for r in trial.get(kind, ()):
            statistic = str(r.get("statistic") or "hr")
            share = statistic in ("landmark", "orr", "share")

            def shown(x: Any, share: bool = share) -> str:
                if not _finite(x):
                    return "–"
                return f"{100 * x:.1f}\N{NARROW NO-BREAK SPACE}%" if share else f"{x:.2f}"

            what = words.or_id("statistic", statistic)
            if statistic != "orr":
                what = f"{r['endpoint']} {what}"
            if _finite(r.get("time_months")):
                what += words("validation.at", months=f"{r['time_months']:g}")
            who = str(r["arm"]) if not r.get("reference") else f"{r['arm']} : {r['reference']}"
            group = f" [{r['subgroup']}]" if r.get("subgroup") else ""
            interval = (
                f"{shown(r.get('ci_low'))} {words('to')} {shown(r.get('ci_high'))}"
                if _finite(r.get("ci_low")) or _finite(r.get("ci_high"))
                else ""
            )
            simulated = ""
            if _finite(r.get("lower")) or _finite(r.get("upper")):
                simulated = f"{shown(r.get('lower'))} {words('to')} {shown(r.get('upper'))}"
            reached = r.get("inside")
            if not _finite(r.get("published")):
                verdict, class_ = str(r.get("verdict") or "–"), ""
            elif r.get("not_predicted"):
                verdict, class_ = words("validation.not_predicted"), "none"
            elif reached is None:
                verdict, class_ = "–", "none"
            else:
                compared += 1
                inside += bool(reached)
                verdict, class_ = (
                    (words("validation.inside"), "good") if reached else (words("validation.outside"), "bad")
                )
            use = words("validation.fitted") if r.get("fitted") else words("validation.predicted")
            flag = "" if r.get("confirmed", True) else words("in_brackets", text=words("recalled"))
            rows.append(
                el(
                    "tr",
                    el("td", f"{who}{group}"),
                    el("td", what, el("small", str(r["analysis"])) if r.get("analysis") else None),
                    el("td", shown(r.get("published")), flag, el("span", interval, class_="interval"), class_="num"),
                    el(
                        "td",
                        shown(r.get("predicted")),
                        el("span", simulated, class_="interval"),
                        class_="num",
                    ),
                    el("td", verdict, class_=f"{class_} short"),
                    el("td", use, class_="short"),
                )
            )
    head = [
        words("head.arm"),
        words("head.figure"),
        words("head.published"),
        words("head.simulated"),
        words("head.inside"),
        words("head.use"),
    ]
    title = f"{trial['id']}: {trial.get('title', '')}"
    caption = words("validation.count", inside=inside, compared=compared, replicates=f"{trial.get('replicates', 0):,}")
    return el(
        "details",
        el("summary", title, " ", el("span", caption, class_="count")),
        page.table(head, rows, title, "compact"),
        class_="trial",
        open=True,
    )


def claims(page: Page, statements: Callable[[str], Mapping[str, str | None]]) -> Markup:
    """Clinical claims with their verdicts; `statements` gives a claim's statement by language."""
    words = page.words
    found = page.content.analyses.get("claims", [])
    if not found:
        return section(page, "claims", page.missing("claims"))
    rows = []
    for _, content in found:
        for id_, claim in content["claims"].items():
            verdict = str(claim.get("verdict"))
            known = statements(id_)
            statement = (
                words.label(known, str(claim.get("statement", id_)))
                if known.get("en") == claim.get("statement")
                else str(claim.get("statement", id_))
            )
            p, mcse = claim.get("probability"), claim.get("mcse")
            drivers = [str(d["name"]) for d in claim.get("drivers", ())[:3] if isinstance(d, dict) and "name" in d]
            rows.append(
                el(
                    "tr",
                    el("th", statement, el("br"), el("code", id_), scope="row"),
                    el("td", words.or_id("verdict", verdict), class_=f"verdict {verdict.replace(' ', '-')}"),
                    el(
                        "td",
                        "–" if not _finite(p) else f"{p:.3f}",
                        el("span", f" ±{mcse:.3f}", class_="mcse") if _finite(mcse) else None,
                        class_="num",
                    ),
                    el("td", words.or_id("basis", str(claim.get("basis")))),
                    el("td", words("yes") if claim.get("robust") else words("no")),
                    el("td", [[el("code", name), el("br")] for name in drivers]),
                    el("td", str(claim.get("date", ""))),
                )
            )
    head = [
        words("head.claim"),
        words("head.verdict"),
        words("head.probability"),
        words("head.basis"),
        words("head.robust"),
        words("head.drivers"),
        words("head.date"),
    ]
    return section(
        page,
        "claims",
        el("p", words("claims.words"), class_="note"),
        page.table(head, rows, words("section.claims"), "claims"),
    )


# ---------------------------------------------------------------------------------------------------------------------
# Inputs, assumptions, record, checklist


def inputs(page: Page) -> Markup:
    """Every number with value, unit, distribution, grade and source; the sources."""
    words, content = page.words, page.content
    table, sources = content.parameters, content.sources
    grades = table["grade"].value_counts()
    recalled = int((table["recalled"] == "True").sum())
    counts = words("list.comma").join(
        words("inputs.count", n=int(grades.get(g, 0)), grade=words(f"grade.{g}"))
        for g in ("published", "derived", "calibrated", "assumed")
    )
    varied = int((table["distribution"] != "").sum())
    rows = []
    for r in table.to_dict("records"):
        value = str(r["value"])
        if len(value) > 60:
            items = value.split(" ")
            value = f"{' '.join(items[:6])} … ({len(items)})"
        origin: list[Any] = []
        for s in str(r["source"]).split():
            origin += [el("a", s, href=f"#source-{s}"), " "]
        flag = el("span", words("recalled"), class_="flag") if r["recalled"] == "True" else None
        rows.append(
            el(
                "tr",
                el("th", el("code", r["name"]), scope="row"),
                el("td", value, class_="num"),
                el("td", r["unit"]),
                el("td", _distribution(str(r["distribution"]))),
                el("td", words.or_id("grade", str(r["grade"])), flag),
                el("td", origin, el("small", r["basis"] or r["note"], lang="en")),
            )
        )
    head = [
        words("head.parameter"),
        words("head.value"),
        words("head.unit"),
        words("head.distribution"),
        words("head.grade"),
        words("head.source"),
    ]
    filter_ = el(
        "label",
        words("inputs.filter"),
        " ",
        el("input", id="filter", type="search", autocomplete="off"),
        el("output", "", id="filter-count"),
        class_="chooser noprint",
    )
    items = []
    for source in sources.to_dict("records"):
        parts: list[Any] = [el("code", source["id"]), " ", source["citation"]]
        if source.get("doi"):
            parts.append(f" doi:{source['doi']}")
        if source.get("pmid"):
            parts.append(f" PMID {str(source['pmid']).removesuffix('.0')}")
        if source.get("url"):
            parts.append(f" {source['url']}")
        items.append(el("li", parts, id=f"source-{source['id']}"))
    return section(
        page,
        "inputs",
        el("p", words("inputs.words", n=len(table), counts=counts, recalled=recalled, varied=varied)),
        el("p", words("inputs.language"), class_="note"),
        filter_,
        el("div", page.table(head, rows, words("section.inputs"), "parameters"), id="parameters"),
        el("h3", words("sources.head", n=len(items))),
        el("ol", items, class_="sources", lang="en"),
    )


def _distribution(text: str) -> str:
    if not text:
        return ""
    try:
        content = json.loads(text)
        kind, arguments = next(iter(content.items()))
        inner = ", ".join(f"{k} {str(v)[:40]}" for k, v in arguments.items())
    except (ValueError, AttributeError, StopIteration):
        return text
    return f"{kind} ({inner})"


def assumptions(page: Page) -> Markup:
    """What the result rests on that nobody measured."""
    words, content = page.words, page.content
    general = [
        words(f"assumption.{k}") for k in ("structure", "exact", "luck", "prices", "discount", "effect", "hidden")
    ]
    if content.iterations == 1:
        general.append(words("assumption.base_case"))
    table = content.parameters[content.parameters["grade"] == "assumed"]
    rows = [
        el(
            "tr",
            el("th", el("code", r["name"]), scope="row"),
            el("td", str(r["value"])[:60], class_="num"),
            el("td", r["unit"]),
            el("td", r["basis"] or r["note"], lang="en"),
        )
        for r in table.to_dict("records")
    ]
    overrides = content.scenario.get("overrides") or {}
    changed = [el("li", el("code", str(k)), " = ", str(v)) for k, v in overrides.items()]
    head = [words("head.parameter"), words("head.value"), words("head.unit"), words("head.reason")]
    title = words("assumptions.numbers", n=len(rows), of=len(content.parameters))
    return section(
        page,
        "assumptions",
        el("ul", [el("li", text) for text in general]),
        [el("p", words("assumptions.overrides")), el("ul", changed)] if changed else None,
        el("details", el("summary", title), page.table(head, rows, title, "compact"), class_="once"),
    )


def record(page: Page) -> Markup:
    """How to make the run again."""
    words, r = page.words, page.content.record
    facts = [
        (words("record.command"), el("code", str(r.get("command", "")))),
        (words("record.version"), f"simhcc {r.get('simhcc', '')}"),
        (words("record.commit"), el("code", str(r.get("git_commit") or "–"))),
        (words("record.fingerprint"), el("code", str(r.get("fingerprint", "")))),
        (words("record.seed"), str(r["seed"])),
        (
            words("fact.size"),
            words("fact.size.words", patients=f"{r['patients']:,}", iterations=f"{r['iterations']:,}"),
        ),
        (words("record.versions"), words("list.comma").join(f"{k} {v}" for k, v in (r.get("versions") or {}).items())),
    ]
    files = [
        el("li", el("code", str(name)), " ", el("code", str(digest)[:16], class_="digest"))
        for name, digest in (r.get("files") or {}).items()
    ]
    others = []
    for kind, found in page.content.analyses.items():
        for folder, content in found:
            command = content.get("command") or (content.get("record") or {}).get("command") or folder.name
            if kind == "claims":
                command = _claims_command(content["claims"])
            others.append(el("li", words(f"analysis.{kind}"), words("colon"), el("code", str(command))))
    return section(
        page,
        "record",
        el("dl", [el("div", el("dt", k), el("dd", v)) for k, v in facts], class_="facts wide"),
        [el("p", words("record.analyses")), el("ul", others)] if others else None,
        el("details", el("summary", words("record.files", n=len(files))), el("ul", files, class_="files")),
    )


def _claims_command(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The command of the claims of a record; with its sizes where all were judged with the same."""
    words = ["simhcc", "claims", *found]
    for name in ("iterations", "patients", "seed"):
        sizes = {claim.get(name) for claim in found.values()}
        if len(sizes) == 1 and None not in sizes:
            words += [f"--{name}", str(sizes.pop())]
    return " ".join(words)


def checklist(page: Page) -> Markup:
    """CHEERS 2022, filled in."""
    words = page.words
    items = cheers.checklist(page.content)
    rows = [
        el(
            "tr",
            el("td", str(item.number), class_="num"),
            el("th", words(f"cheers.{item.number}"), scope="row"),
            el(
                "td",
                words(f"cheers.status.{item.status}"),
                class_=f"cheers {'gap' if item.status == cheers.MISSING else item.status}",
            ),
            el("td", words(item.note)),
            el("td", el("a", words(f"section.{item.section}"), href=f"#{item.section}") if item.section else "–"),
        )
        for item in items
    ]
    counts = {
        s: sum(item.status == s for item in items)
        for s in (cheers.REPORTED, cheers.PARTLY, cheers.AUTHORS, cheers.MISSING)
    }
    head = [words("head.number"), words("head.item"), words("head.cheers"), words("head.what"), words("head.where")]
    return section(
        page,
        "cheers",
        el("p", words("cheers.words", **counts)),
        page.table(head, rows, words("section.cheers"), "checklist"),
        el("p", words("cheers.source"), class_="note"),
    )


def section(page: Page, id_: str, *content: Any) -> Markup:
    """A section with its heading."""
    return el(
        "section", el("h2", page.words(f"section.{id_}")), content, id=id_, aria_label=page.words(f"section.{id_}")
    )


ORDER: Sequence[str] = (
    "summary", "question", "population", "strategies", "results", "subgroups", "economics", "extrapolation", "uncertainty",
    "validation", "claims", "assumptions", "inputs", "record", "cheers",
)  # fmt: skip
