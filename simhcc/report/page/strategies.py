"""Strategies in words and as diagrams, from the decision tables that a run stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from simhcc.pathway.attributes import level_code, levels_of
from simhcc.report.page.content import Content
from simhcc.report.page.markup import Markup, el
from simhcc.report.page.words import Words

SIGNS = {"eq": "=", "ne": "≠", "lt": "<", "le": "≤", "gt": ">", "ge": "≥"}
# Where each state stands in the diagram: left edge, top edge (of boxes WIDE x HIGH).
PLACES = {
    "entry": (10, 215),
    "awaiting_curative": (195, 30),
    "disease_free": (480, 30),
    "local_control": (195, 215),
    "systemic": (480, 215),
    "untreated_tumour": (195, 400),
    "supportive": (480, 400),
    "dead": (755, 215),
}
WIDE, HIGH = 165, 58


def condition_words(words: Words, condition: Sequence[Any], content: Content) -> str:
    """One condition of a row, such as `Child-Pugh points ≥ 8`."""
    name, op, value = condition
    if isinstance(value, bool) and op in ("eq", "ne"):
        truth = value if op == "eq" else not value
        key = f"attr.{name}.{'yes' if truth else 'no'}"
        if words.has(key):
            return words(key)
        return words("if.is" if truth else "if.is_not", name=words.or_id("attr", name))
    label = words.or_id("attr", name)
    if op in ("in", "not_in"):
        shown = words("if.or").join(_value_words(words, name, item, content) for item in value)
        return words("if.one_of" if op == "in" else "if.none_of", name=label, values=shown)
    return f"{label} {SIGNS[op]} {_value_words(words, name, value, content)}"


def _value_words(words: Words, attribute: str, value: Any, content: Content) -> str:
    if isinstance(value, bool):
        return words("yes" if value else "no")
    if isinstance(value, str):
        base = content.value(value) if "." in value else None
        return words.or_id("level", value) if base is None else f"{base:g}"
    # A level's code is not its place: Child-Pugh points begin at 5.
    for level in levels_of(attribute):
        if level_code(attribute, level) == float(value):
            return words.or_id("level", level)
    return f"{value:g}"


def action_words(words: Words, row: Mapping[str, Any]) -> str:
    """What a row does, such as `start atezolizumab + bevacizumab`."""
    drug = row.get("systemic")
    text = words.or_id("do", row["do"])
    if drug is not None and drug != "none":
        text = words("do.with_drug", action=text, drug=words.or_id("drug", drug))
    return text


def row_words(words: Words, row: Mapping[str, Any], content: Content) -> tuple[str, str]:
    """(condition, action) of a row."""
    parts = [condition_words(words, condition, content) for condition in row["when"]]
    return (words("if.and").join(parts) if parts else words("if.otherwise")), action_words(words, row)


def _same(one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> bool:
    keys = ("when", "do", "systemic", "local", "set")
    return [[row.get(key) for key in keys] for row in one] == [[row.get(key) for key in keys] for row in other]


def ladder(words: Words, rows: Sequence[Mapping[str, Any]], content: Content) -> Markup:
    """A decision table as a ladder: conditions from top to bottom, the first that holds decides."""
    steps = []
    for row in rows:
        condition, action = row_words(words, row, content)
        note = words.text(row.get("note"))
        steps.append(
            el(
                "li",
                el("span", condition, class_="when"),
                el("span", "→", class_="arrow", aria_hidden="true"),
                el("span", action, el("small", note) if note else None, class_="do"),
            )
        )
    return el("ol", steps, class_="ladder")


def strategy_block(words: Words, id_: str, name: str, content: Content, swatch: Markup) -> Markup:
    """One strategy: its decisions that differ from the comparator's, and the others folded away."""
    strategy = content.strategies[id_]
    base = content.strategies[content.record["comparator"]]
    is_base = id_ == content.record["comparator"]
    own: list[Markup] = []
    shared: list[Markup] = []
    for node, rows in strategy["tables"].items():
        block = el("div", el("h4", words.or_id("node", node)), ladder(words, rows, content), class_="decision")
        differs = not _same(rows, base["tables"].get(node, ()))
        (own if is_base or differs else shared).append(block)
    reference = words.label(base.get("label"), content.record["comparator"])
    intro = words("strategies.whole") if is_base else words("strategies.differs", name=reference)
    if not is_base and not own:
        intro = words("strategies.same", name=reference)
    return el(
        "details",
        el("summary", swatch, name, " ", el("code", id_)),
        el("p", words.text(strategy.get("note"))) if strategy.get("note") else None,
        el("p", intro),
        own,
        el("details", el("summary", words("strategies.shared", n=len(shared))), shared, class_="once")
        if shared
        else None,
        class_="strategy",
        open=is_base,
    )


# ---------------------------------------------------------------------------------------------------------------------
# The pathway as a diagram


def pathway_diagram(words: Words, content: Content, names: Mapping[str, str]) -> Markup:
    """The states and the ways between them, one drawing for each strategy; what the comparator has not is marked."""
    stored = content.pathway
    if stored is None:
        return el("p", words("missing.pathway"), class_="missing")
    comparator = content.record["comparator"]
    base = {(a, b) for a, b, _ in stored["strategies"][comparator]}
    drawings = []
    for id_ in content.ids:
        edges = {(a, b): via for a, b, via in stored["strategies"][id_]}
        drawings.append(
            el(
                "figure",
                _drawing(words, stored["states"], edges, base, f"{names[id_]}"),
                el("figcaption", names[id_]),
                class_="pathway",
                data_strategy=id_,
                hidden=id_ != comparator,
            )
        )
    options = [el("option", names[id_], value=id_, selected=id_ == comparator) for id_ in content.ids]
    chooser = el("label", words("choose.strategy"), " ", el("select", options, id="pathway-choice"), class_="chooser")
    return Markup(chooser + el("div", drawings, id="pathways"))


def _drawing(
    words: Words,
    states: Sequence[str],
    edges: Mapping[tuple[str, str], Sequence[str]],
    base: set[tuple[str, str]],
    title: str,
) -> Markup:
    places = dict(PLACES)
    others = [name for name in states if name not in places]
    for number, name in enumerate(others):
        places[name] = (10 + number * (WIDE + 20), 500)
    height = 470 if not others else 570
    parts: list[Any] = [el("title", words("diagram.title", name=title))]
    for (start, end), via in edges.items():
        if start not in places or end not in places or start == end:
            continue
        parts.append(
            el(
                "path",
                el(
                    "title",
                    f"{words.or_id('state', start)} → {words.or_id('state', end)}: "
                    + words("list.comma").join(words.or_id("event", step) for step in via),
                ),
                d=_curve(places[start], places[end], (end, start) in edges),
                class_="way" if (start, end) in base else "way new",
                marker_end="url(#tip-new)" if (start, end) not in base else "url(#tip)",
            )
        )
    for name in ("entry", *states):
        x, y = places[name]
        parts.append(
            el(
                "g",
                el("rect", x=x, y=y, width=WIDE, height=HIGH, rx=9, class_=f"box {'end' if name == 'dead' else ''}"),
                _lines(words.or_id("state", name), x + WIDE / 2, y + HIGH / 2),
            )
        )
    return el("svg", parts, viewBox=f"0 0 930 {height}", role="img", aria_label=words("diagram.title", name=title))


def _curve(start: tuple[float, float], end: tuple[float, float], both: bool) -> str:
    """A gently bent way from the edge of one box to the edge of another; opposite ways bend to opposite sides."""
    x0, y0, x1, y1 = start[0] + WIDE / 2, start[1] + HIGH / 2, end[0] + WIDE / 2, end[1] + HIGH / 2
    dx, dy = x1 - x0, y1 - y0
    length = max((dx * dx + dy * dy) ** 0.5, 1.0)
    bend = 26.0 if both else 10.0
    # Ways along a row that pass over a box in between bend further.
    if abs(dy) < 1.0 and abs(dx) > 1.5 * 285:
        bend = 120.0
    if abs(dx) < 1.0 and abs(dy) > 1.7 * 185:
        bend = 125.0
    cx, cy = (x0 + x1) / 2 - dy / length * bend, (y0 + y1) / 2 + dx / length * bend
    a, b = _edge_point((x0, y0), (cx, cy)), _edge_point((x1, y1), (cx, cy))
    return f"M{a[0]:.1f} {a[1]:.1f} Q{cx:.1f} {cy:.1f} {b[0]:.1f} {b[1]:.1f}"


def _edge_point(centre: tuple[float, float], toward: tuple[float, float]) -> tuple[float, float]:
    dx, dy = toward[0] - centre[0], toward[1] - centre[1]
    scale = min(
        (WIDE / 2 + 3) / abs(dx) if abs(dx) > 1e-9 else 1e9, (HIGH / 2 + 3) / abs(dy) if abs(dy) > 1e-9 else 1e9
    )
    return centre[0] + dx * scale, centre[1] + dy * scale


def _lines(text: str, x: float, y: float) -> Markup:
    """A label in at most three lines, broken at spaces, or between characters where there are none."""
    limit = 20 if text.isascii() else 10
    lines = [""]
    pieces = text.split(" ") if text.isascii() else list(text)
    joint = " " if text.isascii() else ""
    for piece in pieces:
        longer = f"{lines[-1]}{joint}{piece}" if lines[-1] else piece
        if len(longer) > limit and lines[-1]:
            lines.append(piece)
        else:
            lines[-1] = longer
    top = y - (len(lines) - 1) * 8 + 4.5
    return el(
        "text",
        [el("tspan", line, x=f"{x:.1f}", y=f"{top + 16 * number:.1f}") for number, line in enumerate(lines)],
        text_anchor="middle",
    )
