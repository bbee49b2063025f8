"""What a results folder keeps of the model beside its numbers: the pathway under each strategy, and the baseline patients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from simhcc.graph import STAY, End, Pathway, State, Strategy
from simhcc.population.attributes import ATTRIBUTES, DERIVED, NO_YES
from simhcc.population.conditions import WithDerived
from simhcc.simulation import Evaluation

DEAD = "dead"
ENTRY = "entry"
STAGES = ("cnlc", "resectability", "macrovascular")
"""classes derived at baseline that the table shows beside the attributes"""


def pathway_content(evaluation: Evaluation) -> dict[str, Any]:
    """The states, and for each strategy the ways from state to state with the steps in between.

    A way is [from, to, steps]: `from` is "entry" at the start, `to` is "dead" for every end; `steps` names what begins the
    way, such as a progression. Only what a strategy's tables can do is a way.
    """
    graph = evaluation.pathway
    states = [node.name for node in graph.nodes if isinstance(node, State)]
    return {
        "states": [*states, DEAD],
        "strategies": {strategy.id: _ways(graph, strategy) for strategy in evaluation.strategies},
    }


def _ways(graph: Pathway, strategy: Strategy) -> list[list[Any]]:
    nodes = {node.name: node for node in graph.nodes}
    out: dict[str, list[tuple[str, str]]] = {name: [] for name in nodes}
    for node, name, edge in graph.edges(strategy):
        if edge.to != STAY:
            out[node.name].append((name, edge.to))
    found: dict[tuple[str, str], dict[str, None]] = {}
    starts = [(ENTRY, "", graph.start)]
    starts += [(name, event, to) for name in nodes if isinstance(nodes[name], State) for event, to in out[name]]
    for begin, event, first in starts:
        waiting, seen = [first], set()
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            if isinstance(nodes[name], State | End):
                to = name if isinstance(nodes[name], State) else DEAD
                found.setdefault((begin, to), {})[event] = None
            else:
                waiting += [to for _, to in out[name]]
    return [[begin, to, [event for event in events if event]] for (begin, to), events in found.items()]


def baseline_table(cohort: Mapping[str, Any]) -> pd.DataFrame:
    """The baseline patients: a row for each number (mean, sd) and for each level of a class (share).

    A number whose sd exceeds its mean has a second row with the median and the quartiles. Columns: attribute, level,
    statistic, value, sd, lower, upper. Hidden attributes are left out; of a yes or no the yes is shown.
    """
    rows: list[dict[str, Any]] = []
    columns = WithDerived({name: np.asarray(values, dtype=float) for name, values in cohort.items()})
    known: dict[str, Mapping[int, str] | None] = {
        name: each.levels for name, each in ATTRIBUTES.items() if name in cohort and not each.hidden
    }
    known |= {name: DERIVED[name].levels for name in STAGES}
    for name, levels in known.items():
        try:
            values = columns[name]
        except KeyError:  # a cohort without what the class is derived from
            continue
        if levels is None:
            row = {"attribute": name, "level": "", "statistic": "mean", "value": values.mean(), "sd": values.std()}
            rows.append(row)
            if values.std() > abs(values.mean()):
                lower, middle, upper = np.quantile(values, (0.25, 0.5, 0.75))
                quartiles = {"statistic": "median", "value": middle, "lower": lower, "upper": upper}
                rows.append({"attribute": name, "level": ""} | quartiles)
            continue
        for code, level in levels.items():
            share = float((values == code).mean())
            if share > 0.0 and not (levels == NO_YES and code == 0):
                shown = "" if levels == NO_YES else level
                rows.append({"attribute": name, "level": shown, "statistic": "share", "value": share, "sd": np.nan})
    return pd.DataFrame(rows, columns=["attribute", "level", "statistic", "value", "sd", "lower", "upper"])
