"""Where a difference between strategies comes from: costs, QALYs and life years split by state, line, drug and event.

Every reward of a run is a piece with labels, and the pieces of a channel add up to it, so a split adds up exactly. Drugs
are paid for when they are given, whatever the state; their cost is shared out over states and lines as the time on the
regimen is, which the pieces of life years say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simhcc.economics import decompose_amounts
from simhcc.expressions import Expression, as_expression, evaluate, leaves
from simhcc.graph import AdministrationReward, MarkReward, RateReward, TimeToDeathReward

Floats = NDArray[np.float64]

SPLITS = ("category", "state", "line", "drug", "event", "part")
"""ways to split; `part` is the finest that a figure can show: category with drug, event or state"""
CHANNELS = ("cost", "qaly", "ly")
NO_DRUG, NO_EVENT, ANY_STATE = "not a drug", "while time passes", "any state"
LINES = {
    "awaiting_curative": "around curative treatment",
    "disease_free": "around curative treatment",
    "local_control": "with local treatment",
    "systemic": "first systemic line",
    "systemic_later": "later systemic lines",
    "untreated_tumour": "no further treatment",
    "supportive": "no further treatment",
}
ANY_LINE = "any line"


@dataclass(frozen=True)
class Piece:
    """One additive piece of a channel: its labels and its amounts, (draws, strategies)."""

    category: str
    state: str
    line: str
    drug: str
    event: str
    amount: Floats

    @property
    def part(self) -> str:
        """Category with what it is about."""
        what = next((w for w in (self.drug, self.event, self.state) if w not in (NO_DRUG, NO_EVENT, ANY_STATE)), "")
        return f"{self.category}: {what}" if what else self.category


def waterfalls(
    result: Any, evaluation: Any, values: Mapping[str, Floats], strategies: Sequence[str], comparator: str
) -> pd.DataFrame:
    """All splits of the differences from the comparator.

    Columns: Outcome (cost, qaly, ly), Split (see `SPLITS`), Part, and those of
    `simhcc.economics.decompose_increment`. `strategies` are those whose costs are known; life years and QALYs are
    split for all.
    """
    frames = []
    all_strategies = list(result.outcomes.strategies)
    for channel in CHANNELS:
        chosen = list(strategies) if channel == "cost" else all_strategies
        if comparator not in chosen or len(chosen) < 2:
            continue
        pieces = pieces_of(result, evaluation, values, channel)
        if not pieces:
            continue
        rows = [all_strategies.index(name) for name in chosen]
        for split in SPLITS:
            labels = list(dict.fromkeys(getattr(piece, split) for piece in pieces))
            if len(labels) < 2:
                continue
            amounts = np.zeros((len(chosen), result.outcomes.draws, len(labels)))
            for piece in pieces:
                amounts[:, :, labels.index(getattr(piece, split))] += piece.amount[:, rows].T
            # A part that nobody has is no part.
            used = [k for k in range(len(labels)) if np.any(amounts[:, :, k])]
            if not used:
                continue
            amounts = amounts[:, :, used]
            reference = amounts[chosen.index(comparator)]
            alike = np.abs(amounts - reference) <= 1e-12 * np.abs(amounts).max()
            # Both have the same of a part but for rounding: it is no part of the difference.
            amounts = np.where(alike.all(axis=1, keepdims=True), reference, amounts)
            table = decompose_amounts(amounts, chosen, [(labels[k],) for k in used], comparator, ["Part"])
            table = table[(table["Increment"] != 0.0) | (table["mcse"].fillna(0.0) > 0.0) | (table["Part"] == "total")]
            table.insert(0, "Outcome", channel)
            table.insert(1, "Split", split)
            frames.append(table)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def pieces_of(result: Any, evaluation: Any, values: Mapping[str, Floats], channel: str) -> list[Piece]:
    """The pieces of a channel; they add up to its means."""
    outcomes = result.outcomes
    scale = {c.id: c.scale for c in evaluation.channels}.get(channel)
    if scale is None:
        return []
    time = _time_on_drug(outcomes)
    found: list[Piece] = []
    for position, term in enumerate(outcomes.terms):
        if term.channel != channel:
            continue
        amount = as_expression(term.amount if hasattr(term, "amount") else term.rate)
        assert isinstance(amount, Expression)
        price = np.broadcast_to(np.asarray(evaluate(amount, values)).reshape(-1), (outcomes.draws,))
        total = price[:, None] * outcomes.quantities[:, :, position] * scale
        category = _category(outcomes.terms, position, channel)
        if isinstance(term, AdministrationReward):
            drug = _drug(amount)
            shares = time.get(term.treatment, {})
            months = sum(shares.values()) if shares else None
            if months is None:
                found.append(Piece(category, ANY_STATE, ANY_LINE, drug, NO_EVENT, total))
                continue
            left = total.copy()
            for place, spent in shares.items():
                with np.errstate(invalid="ignore", divide="ignore"):
                    part = np.where(months > 0.0, total * spent / months, 0.0)
                left = left - part
                found.append(Piece(category, _state(place), LINES[place], drug, NO_EVENT, part))
            # Time and administrations begin together, so nothing but rounding is left; it stays in the sum.
            found.append(Piece(category, ANY_STATE, ANY_LINE, drug, NO_EVENT, left))
        elif isinstance(term, MarkReward):
            found.append(Piece(category, ANY_STATE, ANY_LINE, NO_DRUG, term.mark.replace("_", " "), total))
        elif isinstance(term, TimeToDeathReward):
            found.append(Piece(category, ANY_STATE, ANY_LINE, NO_DRUG, "last months of life", total))
        else:
            found.append(_while_in_state(term, category, total))
    return _rounding_apart(found)


def _rounding_apart(pieces: list[Piece]) -> list[Piece]:
    """Leave out pieces that are nothing but rounding, adding them to the largest piece: the sum stays."""
    if not pieces:
        return pieces
    sizes = [float(np.abs(piece.amount).max(initial=0.0)) for piece in pieces]
    largest = int(np.argmax(sizes))
    kept, rest = [], np.zeros_like(pieces[0].amount)
    for size, piece in zip(sizes, pieces, strict=True):
        if size <= 1e-9 * sizes[largest]:
            rest = rest + piece.amount
        else:
            kept.append(piece)
    if not kept:
        return []
    big = pieces[largest]
    return [Piece(p.category, p.state, p.line, p.drug, p.event, p.amount + rest) if p is big else p for p in kept]


def _while_in_state(term: RateReward, category: str, total: Floats) -> Piece:
    phase = term.tags.get("phase")
    if term.states is None:
        decompensated = "decompensated" in term.tags
        return Piece(category, ANY_STATE, ANY_LINE, NO_DRUG, "decompensation" if decompensated else NO_EVENT, total)
    places = [f"{s}_later" if s == "systemic" and phase == ("later",) else s for s in term.states]
    lines = list(dict.fromkeys(LINES.get(place, ANY_LINE) for place in places))
    # A cost of a state whatever the line, in the systemic state, belongs to any.
    line = lines[0] if len(lines) == 1 and not ("systemic" in places and phase is None) else ANY_LINE
    state = " or ".join(_state(place) for place in places)
    event = "decompensation" if "decompensated" in term.tags else NO_EVENT
    drug = NO_DRUG
    if term.channel == "ly" and term.systemic is not None and term.systemic != ("none",):
        drug = " or ".join(term.systemic).replace("_", " ")
    return Piece(category, state, line, drug, event, total)


def _state(place: str) -> str:
    return place.removesuffix("_later").replace("_", " ")


def _time_on_drug(outcomes: Any) -> dict[str, dict[str, Floats]]:
    """Regimen -> place (state, or systemic_later) -> discounted months (draws, strategies)."""
    found: dict[str, dict[str, Floats]] = {}
    for position, term in enumerate(outcomes.terms):
        if term.channel != "ly" or not isinstance(term, RateReward) or not term.states or not term.systemic:
            continue
        if len(term.states) > 1 or len(term.systemic) > 1 or term.states[0] not in LINES:
            continue
        later = term.states[0] == "systemic" and term.tags.get("phase") == ("later",)
        place = f"{term.states[0]}_later" if later else term.states[0]
        found.setdefault(term.systemic[0], {})[place] = outcomes.quantities[:, :, position]
    return found


def _category(terms: Sequence[Any], position: int, channel: str) -> str:
    """The category of a cost: its reward stands in the channel of its category next to the one in `cost`."""
    if channel != "cost":
        return {"qaly": "quality of life", "ly": "time"}[channel]
    beside = terms[position + 1] if position + 1 < len(terms) else None
    if beside is not None and beside.channel.startswith("cost_"):
        return str(beside.channel.removeprefix("cost_")).replace("_", " ")
    return "cost"


def _drug(amount: Expression) -> str:
    for name in leaves(amount, "parameter"):
        if name.startswith(("prices.list.", "prices.effective.")):
            return name.rsplit(".", 1)[1].removesuffix("_120")
    return "infusion"
