"""The figures of a trial, published ones first, in one list: what is compared, between whom, at which look."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simhcc.inputs.trials import NOT_MODELLED, RESPONSE, ContrastModel, TargetModel, Trial
from simhcc.trials.pools import Pool

Floats = NDArray[np.float64]

NATIVE_CRITERIA = {"intermediate": "mRECIST", "advanced": "RECIST 1.1"}
"""criteria in which the pathway judges responses: sessions of TACE by mRECIST, systemic therapy by RECIST 1.1"""


@dataclass(frozen=True)
class Row:
    """One published figure, as the virtual trial has to compute it.

    `kind` is target (one arm) or contrast; `statistic` median, landmark, rmst, orr, share or hr. `missing` says why the model
    does not predict it, None where it does. A conclusion printed without a figure has `published` NaN and its words in
    `verdict`; `use` is band for a recalled figure that only says what would be plausible.
    """

    kind: str
    position: int
    arm: str
    reference: str | None
    endpoint: str
    statistic: str
    time_months: float | None
    look: str
    subgroup: str | None
    criteria: str | None
    published: float
    ci_low: float | None
    ci_high: float | None
    confirmed: bool
    use: str
    missing: str | None
    verdict: str | None = None
    period: tuple[float, float] | None = None
    """months whose events a hazard ratio is about; None for all"""

    @property
    def name(self) -> str:
        """The figure in words: `tace PFS median`, `OS hr stride : sorafenib (five years)`."""
        what = f"{self.statistic} {self.time_months:g}" if self.time_months is not None else self.statistic
        who = self.arm if self.reference is None else f"{self.arm} : {self.reference}"
        group = f" [{self.subgroup}]" if self.subgroup is not None else ""
        months = f" months {self.period[0]:g}-{self.period[1]:g}" if self.period is not None else ""
        return f"{who} {self.endpoint} {what}{group}{months}"

    def scale(self, value: Floats | float) -> Floats:
        """The scale on which errors are nearly normal: log for times and ratios, logit for shares."""
        x = np.asarray(value, dtype=np.float64)
        with np.errstate(all="ignore"):
            if self.statistic in ("landmark", "orr", "share"):
                return np.log(x / (1.0 - x))
            return np.log(x)

    @property
    def published_sd(self) -> float | None:
        """Standard deviation on `scale` from the published interval, one-sided where only one limit was reached."""
        low, high, middle = self.ci_low, self.ci_high, float(self.scale(self.published))
        z = 1.959963984540054
        if low is not None and high is not None:
            return float(self.scale(high) - self.scale(low)) / (2.0 * z)
        if low is not None and low > 0.0:
            return (middle - float(self.scale(low))) / z
        if high is not None:
            return (float(self.scale(high)) - middle) / z
        return None


def rows_of(trial: Trial) -> tuple[Row, ...]:
    """All published figures of a trial, targets first, in the order of the file."""
    return tuple(_rows(trial))


def _rows(trial: Trial) -> Iterator[Row]:
    for position, target in enumerate(trial.content.targets):
        criteria = None
        if target.endpoint == RESPONSE and trial.content.response is not None:
            criteria = target.criteria or trial.content.response.criteria
        yield _row(trial, "target", position, target, target.value, target.statistic, criteria)
    for position, contrast in enumerate(trial.content.contrasts):
        yield _row(trial, "contrast", position, contrast, contrast.hr, "hr", None)
    for position, band in enumerate(trial.content.plausibility):
        kind = "target" if band.reference is None else "contrast"
        yield Row(
            kind, position, band.arm, band.reference, band.endpoint, band.statistic, None, _look(trial, band.endpoint), None,
            None, band.value, None, None, band.confirmed, "band", None,
        )  # fmt: skip
    for position, verdict in enumerate(trial.content.verdicts):
        if verdict.endpoint == RESPONSE:
            for name in (verdict.arm, verdict.reference):
                yield Row(
                    "target", position, name, None, RESPONSE, "orr", None, _look(trial, RESPONSE), None,
                    trial.content.response.criteria if trial.content.response is not None else None, math.nan, None, None,
                    verdict.confirmed, verdict.use, None, verdict.verdict,
                )  # fmt: skip
        else:
            yield Row(
                "contrast", position, verdict.arm, verdict.reference, verdict.endpoint, "hr", None,
                _look(trial, verdict.endpoint), None, None, math.nan, None, None, verdict.confirmed, verdict.use, None,
                verdict.verdict,
            )  # fmt: skip


def _look(trial: Trial, endpoint: str) -> str:
    fitting = [a for a in trial.content.design.analyses if a.endpoint in (None, endpoint)]
    return (fitting or list(trial.content.design.analyses))[-1].name


def _row(
    trial: Trial,
    kind: str,
    position: int,
    row: TargetModel | ContrastModel,
    published: float,
    statistic: str,
    criteria: str | None,
) -> Row:
    low, high = row.ci95 if row.ci95 is not None else (None, None)
    return Row(
        kind=kind,
        position=position,
        arm=row.arm,
        reference=getattr(row, "reference", None),
        endpoint=row.endpoint,
        statistic=statistic,
        time_months=getattr(row, "time_months", None),
        look=trial.look_of(row).name,
        subgroup=row.subgroup,
        criteria=criteria,
        published=published,
        ci_low=low,
        ci_high=high,
        confirmed=row.confirmed,
        use=row.use,
        missing=_missing(trial, row, criteria),
        period=getattr(row, "period", None),
    )


def _missing(trial: Trial, row: TargetModel | ContrastModel, criteria: str | None) -> str | None:
    if row.subgroup is not None and (trial.content.subgroups or {}).get(row.subgroup) == NOT_MODELLED:
        return f"the subgroup {row.subgroup} cannot be told from baseline attributes"
    if criteria is not None:
        if criteria not in ("RECIST 1.1", "mRECIST"):
            return f"response by {criteria} is not pooled with RECIST"
        return None
    return trial.content.endpoints[row.endpoint].not_modelled


def response_shift(pool: Pool, row: Row) -> Floats:
    """(draws,): what is added to the logit of the pathway's response to read it by the row's criteria."""
    native = NATIVE_CRITERIA.get(pool.trial.content.setting)
    if native is None or row.criteria == native:
        return np.zeros(pool.draws)
    return -pool.shift if row.criteria == "RECIST 1.1" else pool.shift


def shifted(share: Floats, shift: Floats) -> Floats:
    """A share moved on the logit scale; 0 and 1 stay."""
    with np.errstate(all="ignore"):
        odds = share / (1.0 - share) * np.exp(shift)
        return np.where(share >= 1.0, 1.0, np.where(share <= 0.0, 0.0, odds / (1.0 + odds)))


def finite_or_none(value: float) -> float | None:
    """A number for JSON; None for infinite and NaN."""
    return float(value) if math.isfinite(value) else None
