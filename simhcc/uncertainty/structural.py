"""Structural alternatives one by one: the same patients and luck under other readings of the evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simhcc.errors import InputError
from simhcc.inputs import Alternative, Topic
from simhcc.uncertainty.deterministic import Z_95, Rows, Run
from simhcc.uncertainty.outcome import Outcome
from simhcc.uncertainty.points import Estimates
from simhcc.uncertainty.question import Question

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Structural:
    """The outcome under each alternative, all else at its base value.

    `table`: topic, alternative, label, weight (missing where no topic gives one), value, mcse, change from the base case with
    its error, noise (the change cannot be told from 0), reaches (numbers it sets that the comparison uses) and numbers.
    `mixed` and `mixed_mcse` are the base case plus, for each topic, the weighted mean of its changes: what the mixture does as
    far as topics add up; missing without weights.
    """

    outcome: Outcome
    base: float
    base_mcse: float
    mixed: float
    mixed_mcse: float
    table: pd.DataFrame


def structural(
    question: Question, outcome: Outcome, topics: Sequence[Topic], others: Sequence[Alternative], run: Run
) -> Structural:
    """Evaluate every alternative of the topics, then other alternatives that no topic weighs."""
    listed: list[tuple[str, Alternative, float]] = [
        (topic.id, each, each.weight) for topic in topics for each in topic.alternatives if each.numbers
    ]
    weighed = {each.id for _, each, _ in listed}
    listed += [("", each, float("nan")) for each in others if each.id not in weighed]
    if not listed:
        raise InputError("no structural alternative", "files in scenarios/structures/", "structure")
    rows = Rows(question)
    at_base = rows.add_base()
    places = [rows.add(_row(each.numbers)).start for _, each, _ in listed]
    values = outcome.of(run(rows.arrays(), "structural"))
    used = question.used()
    records: list[dict[str, Any]] = []
    mixed: Estimates = values[at_base]
    for (topic, each, weight), place in zip(listed, places, strict=True):
        change = values.map(lambda v, k=place: v[k] - v[at_base])  # type: ignore[misc]
        if np.isfinite(weight):
            mixed = mixed.with_(change, lambda m, c, w=weight: m + w * c)  # type: ignore[misc]
        records.append(
            {
                "topic": topic,
                "alternative": each.id,
                "label": each.label.text(),
                "weight": weight,
                "value": float(values.value[place]),
                "mcse": float(values.mcse[place]),
                "change": float(change.value),
                "change_mcse": float(change.mcse),
                "noise": bool(abs(change.value) <= Z_95 * change.mcse),
                "reaches": sum(name in used for name in each.numbers),
                "numbers": "; ".join(f"{name} = {value}" for name, value in each.numbers.items()),
            }
        )
    known = bool(topics)
    return Structural(
        outcome,
        float(values.value[at_base]),
        float(values.mcse[at_base]),
        float(mixed.value) if known else float("nan"),
        float(mixed.mcse) if known else float("nan"),
        pd.DataFrame(records),
    )


def _row(numbers: Mapping[str, Any]) -> dict[str, Floats]:
    return {name: np.asarray(value, dtype=np.float64)[None] for name, value in numbers.items()}
