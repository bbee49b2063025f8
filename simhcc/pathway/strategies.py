"""Strategies as read from files -> strategies of the graph: names become attributes, codes and treatments."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from simhcc import inputs
from simhcc.expressions import Expression, Operand, all_of, any_of, as_expression, attribute, parameter, receiving
from simhcc.graph import NO_TREATMENT, Decision, Pathway, Row, Strategy
from simhcc.pathway import regimens
from simhcc.pathway.attributes import HIDDEN, NEVER, level_code, levels_of
from simhcc.pathway.whole import pathway


def load_strategy(name: str, **options: inputs.strategies.Scalar) -> Strategy:
    """A strategy by id or path, with other values for its options where given; ready for the graph."""
    strategy = inputs.load_strategy(name)
    return to_graph(inputs.with_options(strategy, **options) if options else strategy)


def to_graph(strategy: inputs.Strategy) -> Strategy:
    """The strategy with its rows as graph rows.

    A row that gives a regimen also brings the regimen's numbers. Raises InputError, at the line of the row, for an unknown
    node, action, treatment, attribute or level.
    """
    graph = pathway()
    decisions = {node.name: node for node in graph.nodes if isinstance(node, Decision)}
    tables: dict[str, tuple[Row, ...]] = {}
    for node, rows in strategy.tables.items():
        if node not in decisions:
            raise rows[0].error(f"a table for {node!r}, which is not a decision", _one_of(decisions, node))
        tables[node] = tuple(_row(graph, decisions[node], row) for row in rows)
    return Strategy(id=strategy.id, tables=tables, label=strategy.label.en or strategy.id)


def _row(graph: Pathway, decision: Decision, row: inputs.Row) -> Row:
    if row.action not in decision.actions:
        raise row.error(f"the action {row.action!r} at {decision.name}", _one_of(decision.actions, row.action))
    for slot, treatment in (("local", row.local), ("systemic", row.systemic)):
        known = [t.id for t in graph.treatments if t.slot == slot]
        if treatment not in (None, NO_TREATMENT, *known):
            raise row.error(f"the {slot} treatment {treatment!r}", _one_of((*known, NO_TREATMENT), str(treatment)))
    updates: dict[str, Operand] = {}
    for name, value in row.set:
        updates[name] = _code(graph, name, value, row)
    if row.systemic == NO_TREATMENT:
        updates |= regimens.stop()
    elif row.systemic is not None:
        updates |= regimens.start(row.systemic)
    when = all_of(*(_condition(graph, c) for c in row.when)) if row.when else None
    return Row(do=row.action, when=when, local=row.local, systemic=row.systemic, updates=updates)


def _code(graph: Pathway, name: str, value: object, row: inputs.Row) -> float:
    if name not in {a.name for a in graph.attributes}:
        raise row.error(f"set: {name}", _one_of([a.name for a in graph.attributes], name))
    if isinstance(value, str):
        code = level_code(name, value)
        if code is None:
            raise row.error(f"the level {value!r} of {name}", _one_of(levels_of(name), value))
        return code
    return float(value)  # type: ignore[arg-type]


def _condition(graph: Pathway, condition: inputs.Condition) -> Expression:
    names = [*(a.name for a in graph.attributes), *graph.derived, "on", "local"]
    name = condition.attribute
    if name not in names:
        raise condition.error(f"the attribute {name!r}", _one_of(names, name))
    if name in HIDDEN:
        raise condition.error(f"the hidden attribute {name}", "what has been observed, such as observed_response")
    if name in ("on", "local"):
        return _receives(graph, condition)
    left = attribute(name)
    value = condition.value
    if condition.op in ("in", "not_in"):
        members = value if isinstance(value, tuple) else (value,)
        found = any_of(*(left == _value(condition, member) for member in members))
        return found if condition.op == "in" else ~found
    right = (
        parameter(str(value)) if isinstance(value, inputs.ParameterName) else as_expression(_value(condition, value))
    )
    operations: Mapping[str, Expression] = {
        "eq": left == right,
        "ne": left != right,
        "lt": left < right,
        "le": left <= right,
        "gt": left > right,
        "ge": left >= right,
    }
    return operations[condition.op]


def _receives(graph: Pathway, condition: inputs.Condition) -> Expression:
    """`on: atezo_bev` and `local: tace`: which treatment fills the slot."""
    slot = "systemic" if condition.attribute == "on" else "local"
    known = [t.id for t in graph.treatments if t.slot == slot]
    values = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    every = any_of(*(receiving(t) for t in known))
    found: list[Expression] = []
    for value in values:
        if value not in (*known, NO_TREATMENT):
            raise condition.error(f"the {slot} treatment {value!r}", _one_of((*known, NO_TREATMENT), str(value)))
        if value == NO_TREATMENT:
            # The rate of drug events says the same in one step.
            found.append(attribute("log_drug") == -NEVER if slot == "systemic" else ~every)
        else:
            found.append(receiving(str(value)))
    if condition.op in ("eq", "in"):
        return any_of(*found)
    if condition.op in ("ne", "not_in"):
        return ~any_of(*found)
    raise condition.error(f"{condition.op} of a treatment", "a treatment, a list of treatments, ne or not_in")


def _value(condition: inputs.Condition, value: object) -> float:
    if isinstance(value, str):
        code = level_code(condition.attribute, value)
        if code is None:
            levels = levels_of(condition.attribute)
            raise condition.error(f"the level {value!r}", _one_of(levels, value) if levels else "a number")
        return code
    return float(value)  # type: ignore[arg-type]


def _one_of(known: Iterable[str], name: str) -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names, 1, 0.5)
    return f"{near[0]}?" if near else f"one of {', '.join(names)}"
