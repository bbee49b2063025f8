"""Beyond the last published landmark: how much of each result lies there, and three other ways in which it could go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from simhcc.inputs import ParameterSet, Scenario, Topic, read_topics
from simhcc.simulation import Evaluation
from simhcc.uncertainty.deterministic import Rows
from simhcc.uncertainty.points import Points, evaluate
from simhcc.uncertainty.question import FEWEST_PATIENTS, Assemble, Question, ask

TOPIC = "tail"
LANDMARK = "extrapolation.last_landmark_months"
COLUMNS = ("ly", "qaly", "cost")
MODEL = "model"
"""the case of the model's own hazards"""


@dataclass(frozen=True, eq=False)
class Extrapolations:
    """Life years, QALYs and costs by strategy under each continuation, and what of them lies beyond the landmark.

    `table`: strategy, case (`model`, then the alternatives of the topic `tail`), label, outcome (ly, qaly, cost, discounted),
    mean, mcse, change from the model's own hazards with its error, and beyond: the share of the mean after `months`, by the
    model's own hazards (missing in the other cases). `incremental` holds the same for differences from the comparator.
    """

    months: float
    patients: int
    topic: Topic
    table: pd.DataFrame
    incremental: pd.DataFrame


def extrapolations(
    scenario: Scenario,
    parameters: ParameterSet,
    assemble: Assemble,
    run: Callable[..., Points] = evaluate,
    **options: Any,
) -> Extrapolations | None:
    """The three continuations of the analysis plan beside the model's own, with the same patients and luck.

    None where the numbers name no last landmark for the scenario's setting, or its horizon ends before it. `options` are
    passed to `run` (threads, dask, progress).
    """
    name = f"{LANDMARK}.{scenario.setting}"
    if name not in parameters:
        return None
    months = float(parameters[name].base())
    (topic,) = read_topics([TOPIC], parameters, scenario.user_dir)
    others = [s.id for s in scenario.strategies if s.id != scenario.comparator]
    question = ask(
        replace(scenario, subgroups=()), parameters, FEWEST_PATIENTS, assemble, [scenario.comparator, *others]
    )
    columns = [c for c in COLUMNS if c in question.columns]
    if months >= question.evaluation.horizon or not columns:
        return None
    question = replace(question, evaluation=_bare(question.evaluation))
    rows = Rows(question)
    rows.add_base()
    cases = [each for each in topic.alternatives if each.numbers]
    for each in cases:
        rows.add({n: np.asarray(v, dtype=np.float64)[None] for n, v in each.numbers.items()})
    found = run(question, rows.arrays(), columns, name=f"{scenario.id}, beyond {months:g} months", **options)
    # The same rows, although only the first is looked at: what was built for them serves again.
    short = replace(question, evaluation=replace(question.evaluation, horizon=months))
    until = run(short, rows.arrays(), columns, name=f"{scenario.id}, until {months:g} months", **options)
    labels = {MODEL: "the model's own hazards"} | {each.id: each.label.text() for each in cases}
    levels = _table(question, found, until, columns, labels, None)
    differences = _table(question, found, until, columns, labels, scenario.comparator)
    return Extrapolations(months, question.patients, topic, levels, differences)


def _bare(evaluation: Evaluation) -> Evaluation:
    return replace(evaluation, endpoints=(), landmarks=(), restrictions=(), grid_step=None)


def _table(
    question: Question,
    found: Points,
    until: Points,
    columns: list[str],
    labels: Mapping[str, str],
    comparator: str | None,
) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for strategy in question.evaluation.ids:
        if strategy == comparator:
            continue
        for column in columns:
            values, early = found.mean(strategy, column), until.mean(strategy, column)
            if comparator is not None:
                values = values.with_(found.mean(comparator, column), np.subtract)
                early = early.with_(until.mean(comparator, column), np.subtract)
            for position, (case, label) in enumerate(labels.items()):
                change = values.map(lambda v, k=position: v[k] - v[0])  # type: ignore[misc]
                whole = float(values.value[0])
                rows.append(
                    {"strategy": strategy}
                    | ({} if comparator is None else {"comparator": comparator})
                    | {
                        "case": case,
                        "label": label,
                        "outcome": column,
                        "mean": float(values.value[position]),
                        "mcse": float(values.mcse[position]),
                        "change": float(change.value),
                        "change_mcse": float(change.mcse),
                        "beyond": 1.0 - float(early.value[0]) / whole if case == MODEL and whole else float("nan"),
                    }
                )
    return pd.DataFrame(rows)
