"""Published against predicted: one line per figure, for people, machines and files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri

from simhcc.trials.replicates import SPREAD, Replicates, quantile
from simhcc.trials.rows import Row, finite_or_none

ONE_SIDED = 0.025
"""level of a comparison whose file names none: two-sided 5 %"""


@dataclass(frozen=True)
class Prediction:
    """A published figure beside what the virtual trial shows."""

    row: Row
    predicted: float
    """median over replicates"""
    mcse: float
    """Monte-Carlo standard error of `predicted`, from replicates, pool and draws"""
    lower: float
    upper: float
    """central 95 % of the replicates; infinite for a median that is not reached"""
    significant: float
    """share of replicates in which the comparison favours the arm with p below the look's level; NaN but for contrasts"""
    favourable: float
    """share of replicates with a hazard ratio below 1; NaN but for contrasts"""
    events: float
    """median number of events behind a contrast; NaN otherwise"""

    @property
    def inside(self) -> bool | None:
        """Whether the published figure lies in the predictive interval; None where nothing is predicted."""
        if math.isnan(self.predicted) or math.isnan(self.row.published):
            return None
        return self.lower <= self.row.published <= self.upper

    @property
    def z(self) -> float:
        """Distance of the published figure in predictive standard deviations, on the figure's scale; NaN if unknown."""
        scale = self.row.scale
        with np.errstate(all="ignore"):
            middle, low, high = (float(scale(x)) for x in (self.predicted, self.lower, self.upper))
            away = float(scale(self.row.published)) - middle
        # Intervals need not be symmetric: the half on the side of the published figure counts.
        half = high - middle if away > 0.0 else middle - low
        if not math.isfinite(half) or half <= 0.0 or not math.isfinite(away):
            return math.nan
        return away / half * float(ndtri(0.5 + SPREAD / 2.0))

    @property
    def beyond(self) -> float:
        """By how much the published figure lies outside, in its own unit: negative below, 0 inside."""
        if math.isnan(self.row.published):
            return math.nan
        if self.row.published < self.lower:
            return self.row.published - self.lower
        return max(self.row.published - self.upper, 0.0)

    def as_object(self) -> dict[str, Any]:
        """For JSON: the names of the command's contract."""
        row = self.row
        shared = {
            "arm": row.arm,
            "endpoint": row.endpoint,
            "analysis": row.look,
            "subgroup": row.subgroup,
            "published": finite_or_none(row.published),
            "verdict": row.verdict,
            "ci_low": row.ci_low,
            "ci_high": row.ci_high,
            "confirmed": row.confirmed,
            "use": row.use,
            "fitted": row.use == "fit",
            "predicted": finite_or_none(self.predicted),
            "mcse": finite_or_none(self.mcse),
            "lower": finite_or_none(self.lower),
            "upper": finite_or_none(self.upper),
            "inside": self.inside,
            "z": finite_or_none(self.z),
            "beyond": finite_or_none(self.beyond) if self.inside is not None else None,
            "not_predicted": row.missing,
        }
        if row.kind == "contrast":
            period = None if row.period is None else list(row.period)
            more = {"reference": row.reference, "statistic": "hr", "period": period}
            return {
                **more,
                **shared,
                "significant": finite_or_none(self.significant),
                "events": finite_or_none(self.events),
            }
        return {**shared, "statistic": row.statistic, "time_months": row.time_months, "criteria": row.criteria}


def predictions(found: Replicates, levels: Mapping[str, float], sizes: Mapping[str, int]) -> tuple[Prediction, ...]:
    """Every row's prediction. `levels` maps a look to its one-sided alpha, `sizes` an arm to its number of patients."""
    return tuple(_predictions(found, levels, sizes))


def _predictions(found: Replicates, levels: Mapping[str, float], sizes: Mapping[str, int]) -> Iterator[Prediction]:
    for k, row in enumerate(found.rows):
        values = found.values[:, k]
        predicted, lower, upper = (quantile(values, q) for q in (0.5, 0.5 - SPREAD / 2.0, 0.5 + SPREAD / 2.0))
        n = sizes[row.arm] + (sizes[row.reference] if row.reference is not None else 0)
        effective = found.effective(row, n)
        # The median of a sample: half of the distance between quantiles one standard error to either side.
        step = min(0.5 / math.sqrt(max(effective, 1.0)), 0.475)
        mcse = (quantile(values, 0.5 + step) - quantile(values, 0.5 - step)) / 2.0
        significant = favourable = events = math.nan
        if row.kind == "contrast" and row.missing is None:
            favourable = float(np.mean(values[~np.isnan(values)] < 1.0))
            events = quantile(found.events[:, k], 0.5)
        if row.kind == "contrast" and row.missing is None and row.period is None:
            bound = -float(ndtri(levels.get(row.look, ONE_SIDED)))
            z = found.z[:, k]
            significant = float(np.mean(z[~np.isnan(z)] >= bound))
        yield Prediction(row, predicted, mcse, lower, upper, significant, favourable, events)


# -- words ---------------------------------------------------------------------------------------------------------


def _number(row: Row, value: float | None) -> str:
    if value is None or math.isinf(value):
        return "NR" if row.statistic == "median" else "-"
    if math.isnan(value):
        return "-"
    return (
        f"{value:.1f}"
        if row.statistic in ("median", "rmst")
        else f"{value:.3f}"
        if row.kind == "target"
        else f"{value:.2f}"
    )


def _interval(row: Row, low: float | None, high: float | None) -> str:
    return f"({_number(row, low)} to {_number(row, high)})" if low is not None or high is not None else ""


FIGURES = {"median": "median", "orr": "response", "share": "share", "hr": "hazard ratio"}
USES = {"fit": "fitted", "hold_out": "held out", "show": "shown", "band": "plausible"}


def lines(found: Sequence[Prediction]) -> list[str]:
    """A table for people, without its head."""
    cells = []
    several = {
        e for e in {p.row.endpoint for p in found} if len({p.row.look for p in found if p.row.endpoint == e}) > 1
    }
    for p in found:
        row = p.row
        who = row.arm if row.reference is None else f"{row.arm} : {row.reference}"
        if row.subgroup is not None:
            who += f" [{row.subgroup}]"
        what = FIGURES.get(row.statistic) or f"{row.statistic.replace('landmark', 'at')} {row.time_months:g} mo"
        published = row.verdict or f"{_number(row, row.published)} {_interval(row, row.ci_low, row.ci_high)}".rstrip()
        if row.period is not None:
            what = f"ratio, months {row.period[0]:g}-{row.period[1]:g}"
        if row.missing is not None:
            predicted, verdict = "", f"not predicted: {row.missing}"
        else:
            predicted = f"{_number(row, p.predicted)} {_interval(row, p.lower, p.upper)}"
            verdict = _verdict(p)
        notes = USES[row.use] + ("" if row.confirmed else ", recalled")
        endpoint = row.endpoint.replace("_", "-") + (f" ({row.look})" if row.endpoint in several else "")
        cells.append((who, endpoint, what, published, predicted, notes, verdict))
    head = ("arm", "endpoint", "figure", "published (95 % CI)", "predicted (95 %)", "use", "")
    widths = [max(len(row[k]) for row in [head, *cells]) for k in range(len(head) - 1)]
    return [
        "  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in [head, *cells]
    ]


def _verdict(p: Prediction) -> str:
    if p.row.verdict is not None and p.row.kind == "target":
        return ""
    if p.row.verdict is not None:
        return f"P(significant) {p.significant:.2f}, P(ratio below 1) {p.favourable:.2f}"
    if p.inside is None:
        return "not predicted: no replicate follows anybody so long"
    distance = f"{p.z:+.1f} sd" if math.isfinite(p.z) else ""
    if p.inside:
        return f"inside {distance}".rstrip()
    return f"OUTSIDE by {_number(p.row, abs(p.beyond))} ({distance})"


def counted(found: Sequence[Prediction]) -> dict[str, tuple[int, int]]:
    """(inside, predicted) of each use that occurs, and of all."""
    result: dict[str, tuple[int, int]] = {}
    for use in ("fit", "hold_out", "show", "band"):
        mine = [p for p in found if p.row.use == use and p.inside is not None]
        if mine:
            result[use] = (sum(bool(p.inside) for p in mine), len(mine))
    known = [p for p in found if p.inside is not None]
    result["all"] = (sum(bool(p.inside) for p in known), len(known))
    return result


def tally(found: Sequence[Prediction]) -> str:
    """How many published figures lie inside, in words."""
    counts = counted(found)
    inside, total = counts.pop("all")
    parts = [f"{USES[use]} {a} of {b}" for use, (a, b) in counts.items()]
    return (
        f"{inside} of {total} published figures inside the 95 % predictive interval ({', '.join(parts)})"
        if total
        else ("no published figure to compare with: a forecast")
    )
