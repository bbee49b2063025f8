"""What a sensitivity analysis looks at: one number of one strategy, or its difference from a comparator."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simhcc.errors import InputError
from simhcc.inputs import one_of
from simhcc.uncertainty.points import Estimates, Points

DIFFERENCE = "difference_"
NET_BENEFIT = ("nmb", "inmb", "icer")
COST, EFFECT = "cost", "qaly"
_MEDIAN = re.compile(r"^median_(\w+)_months$")
_LANDMARK = re.compile(r"^(\w+?)_(\d+)m$")


@dataclass(frozen=True)
class Outcome:
    """A number to be computed at every point.

    `name` is a column of the results (`os_60m`, `qaly`, `cost`, ...), `median_ENDPOINT_months`, `nmb` or `icer`;
    `comparator` is set where the difference from another strategy is meant (for `nmb` that is INMB; an ICER always has
    one). `wtp` is the willingness to pay per QALY of `nmb`.
    """

    name: str
    strategy: str
    comparator: str | None = None
    wtp: float | None = None
    currency: str = ""

    @property
    def id(self) -> str:
        """The name as it is asked for on the command line."""
        if self.name in NET_BENEFIT:
            return "inmb" if self.name == "nmb" and self.comparator else self.name
        return f"{DIFFERENCE}{self.name}" if self.comparator else self.name

    @property
    def strategies(self) -> tuple[str, ...]:
        """Strategies that have to be simulated, the comparator first."""
        return (self.comparator, self.strategy) if self.comparator else (self.strategy,)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the results that are needed."""
        if self.name in NET_BENEFIT:
            return (COST, EFFECT)
        return () if _MEDIAN.match(self.name) else (self.name,)

    @property
    def medians(self) -> tuple[str, ...]:
        """Endpoints whose median is needed."""
        found = _MEDIAN.match(self.name)
        return (found.group(1),) if found else ()

    @property
    def uses_costs(self) -> bool:
        """Whether prices matter, so that no strategy may hold a drug without one."""
        return self.name in NET_BENEFIT or self.name == COST or self.name.startswith("cost_")

    @property
    def unit(self) -> str:
        """Unit for axes and tables."""
        if self.name == "nmb" or self.name == COST or self.name.startswith("cost_"):
            return self.currency or "money"
        if self.name == "icer":
            return f"{self.currency or 'money'} per QALY"
        if self.name.startswith("qaly"):
            return "QALY"
        if self.name.startswith("ly"):
            return "years"
        if _MEDIAN.match(self.name) or "_rmst_" in self.name:
            return "months"
        return "fraction"

    @property
    def words(self) -> str:
        """For titles: what, of whom, against whom."""
        text = self.name
        landmark, median = _LANDMARK.match(self.name), _MEDIAN.match(self.name)
        if median:
            text = f"median {median.group(1).upper()}"
        elif "_rmst_" in self.name:
            endpoint, _, months = self.name.partition("_rmst_")
            text = f"mean {endpoint.upper()} within {months} months"
        elif landmark:
            text = f"{landmark.group(1).upper()} at {landmark.group(2)} months"
        elif self.name == "nmb":
            text = "INMB" if self.comparator else "NMB"
        elif self.name == "icer":
            text = "ICER"
        elif self.name.startswith(("qaly", "ly")):
            head, _, rest = self.name.partition("_")
            text = head.upper() + (", undiscounted" if rest else "")
        elif self.name.startswith("cost_"):
            text = f"cost of {self.name.removeprefix('cost_').replace('_', ' ')}"
        if self.comparator and self.name not in NET_BENEFIT:
            text = f"difference in {text}"
        against = f" against {self.comparator}" if self.comparator else ""
        return f"{text}, {self.strategy}{against}"

    def of(self, points: Points) -> Estimates:
        """The outcome at every point, with its Monte-Carlo error."""
        value = self._level(points, self.strategy)
        if not self.comparator:
            return value
        other = self._level(points, self.comparator)
        if self.name != "icer":
            return value.with_(other, np.subtract)
        effect, other_effect = points.mean(self.strategy, EFFECT), points.mean(self.comparator, EFFECT)
        more_cost, more_effect = value.with_(other, np.subtract), effect.with_(other_effect, np.subtract)
        with np.errstate(all="ignore"):
            # A ratio means something only where more is paid for more; elsewhere there is none.
            return more_cost.with_(more_effect, lambda c, e: np.where((c > 0.0) & (e > 0.0), c / e, np.nan))

    def _level(self, points: Points, strategy: str) -> Estimates:
        if self.medians:
            return points.median(strategy, self.medians[0])
        if self.name == "nmb":
            assert self.wtp is not None
            wtp = self.wtp
            effect, cost = points.mean(strategy, EFFECT), points.mean(strategy, COST)
            return effect.with_(cost, lambda e, c: wtp * e - c)
        return points.mean(strategy, COST if self.name == "icer" else self.name)


def parse_outcome(
    text: str,
    strategy: str,
    comparator: str,
    difference: bool,
    columns: Sequence[str],
    endpoints: Sequence[str],
    wtp: float | None,
    currency: str = "",
) -> Outcome:
    """The outcome that a user names.

    `difference_NAME` (or `difference`) is the paired difference from `comparator`; `nmb` is net monetary benefit, `inmb`
    its difference, `icer` the ratio. Raises InputError for an unknown name, a strategy that is its own comparator, and
    net benefit without a willingness to pay.
    """
    name = text.removeprefix(DIFFERENCE)
    against = comparator if difference or text.startswith(DIFFERENCE) or name in ("inmb", "icer") else None
    name = "nmb" if name == "inmb" else name
    known = [*columns, *(f"median_{endpoint}_months" for endpoint in endpoints), *NET_BENEFIT]
    if name not in known:
        raise InputError(
            f"no outcome {text!r}", f"{one_of(known, name)}; with {DIFFERENCE} in front for a difference", "--outcome"
        )
    if name in NET_BENEFIT and not {COST, EFFECT} <= set(columns):
        raise InputError(f"{text!r} in a scenario without cost and qaly", "another outcome", "--outcome")
    if name == "nmb" and wtp is None:
        raise InputError(f"{text!r} without a willingness to pay", "--wtp, or wtp in the scenario", "--wtp")
    if against == strategy:
        raise InputError(f"{strategy!r} compared with itself", "another strategy or comparator", "--strategy")
    return Outcome(name, strategy, against, wtp, currency)
