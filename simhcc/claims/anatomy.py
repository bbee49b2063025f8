"""Where a five-year gain comes from: the bound on conversion surgery, what each element adds, and what would have to be true.

The gain of an operation that is offered to some is bound by: share operated x (five-year survival of the operated - what the
same patients would have had). The model knows both, since each patient lives once with and once without the offer, with the same
luck; who is not operated lives the same life.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simhcc.claims.experiments import Sizes, cohort_of, drawn
from simhcc.claims.lives import DEATH, first_times
from simhcc.claims.registry import Anatomy, Experiment
from simhcc.graph import Channel, Endpoint, RateReward
from simhcc.inputs import ParameterSet
from simhcc.model import as_values
from simhcc.pathway.strategies import to_graph
from simhcc.pathway.whole import DEATHS, pathway
from simhcc.runner import ProgressCallback
from simhcc.simulation import Evaluation, simulate

Floats = NDArray[np.float64]

MOST_DRAWS = 100
MAP_POINTS = 6
MAP_PATIENTS = 4000
SHARE_PREFIX = "conversion.p_resectable"


@dataclass(frozen=True)
class Quantity:
    """Mean over draws with its Monte-Carlo error and 95 % interval."""

    mean: float
    mcse: float
    lower: float
    upper: float

    @classmethod
    def of(cls, draws: Floats) -> Quantity:
        """Of one value per draw."""
        known = draws[np.isfinite(draws)]
        if len(known) == 0:
            return cls(math.nan, math.nan, math.nan, math.nan)
        error = float(known.std(ddof=1) / math.sqrt(len(known))) if len(known) > 1 else math.nan
        low, high = np.quantile(known, (0.025, 0.975))
        return cls(float(known.mean()), error, float(low), float(high))


@dataclass(frozen=True)
class Bound:
    """The parts of a gain in one population, each over the draws."""

    experiment: str
    label: str
    parts: Mapping[str, Quantity]
    """named in `PARTS`"""
    contour: Floats
    """share operated (column 0) and five-year survival of the operated (column 1) that would reach the target"""


PARTS = {
    "base": "five-year survival on the first line alone",
    "all": "five-year survival with the strategy",
    "gain": "gain",
    "share": "share operated",
    "operated": "five-year survival of the operated",
    "counterfactual": "the same patients without operation",
    "bound": "share x difference: what the operation adds",
    "local": "added by local therapy alone",
    "resection": "added by resection alone",
    "together": "added by the two together beyond their sum",
    "naive": "operated against all on the first line alone",
    "selection": "of which selection: counterfactual of the operated against all",
}


@dataclass(frozen=True)
class Needed:
    """What would have to be true: five-year survival over a plane of how many become resectable and how durable it is.

    `odds` multiplies the odds of becoming resectable; `recurrence` multiplies early and late recurrence after the operation.
    `survival` has axes (recurrence, odds), `share` is the share operated at each of the odds.
    """

    experiment: str
    odds: Floats
    recurrence: Floats
    survival: Floats
    mcse: Floats
    share: Floats
    target: float


def bound(
    experiment: Experiment,
    anatomy: Anatomy,
    parameters: ParameterSet,
    sizes: Sizes,
    folder: Path | None = None,
    progress: ProgressCallback | None = None,
) -> Bound:
    """The bound gain and the contributions of each element in one population, over draws of the numbers."""
    own = replace(sizes, iterations=min(sizes.iterations, MOST_DRAWS))
    values = drawn(parameters, own)
    for name, number in experiment.numbers.items():
        values[name] = np.full(own.iterations, number)
    windows = replace(experiment, between_trials=experiment.between_trials or "advanced")
    cohort, _ = cohort_of(windows, parameters, values, own)
    alive: dict[str, Floats] = {}
    operated = np.zeros(0)
    for role in ("base", "of", "local", "resection"):
        name = getattr(anatomy, role)
        strategy = next(s for s in experiment.strategies if s.id == name)
        times = first_times(
            to_graph(strategy),
            (DEATH, anatomy.event),
            values,
            cohort,
            patients=own.patients,
            horizon=anatomy.months,
            seed=own.seed,
            name=f"{experiment.id}, lives under {name}",
            folder=None if folder is None else folder / f"lives-{experiment.id}-{name}-{own.iterations}-{own.patients}",
            threads=own.threads,
            progress=progress,
        )
        alive[role] = ~np.isfinite(times[DEATH]) * 1.0
        if role == "of":
            operated = np.isfinite(times[anatomy.event])
    share = operated.mean(axis=1)
    with np.errstate(all="ignore"):
        of_operated = np.where(operated, alive["of"], np.nan)
        of_same = np.where(operated, alive["base"], np.nan)
        survival, counterfactual = np.nanmean(of_operated, axis=1), np.nanmean(of_same, axis=1)
    base, every = alive["base"].mean(axis=1), alive["of"].mean(axis=1)
    local, resection = alive["local"].mean(axis=1) - base, alive["resection"].mean(axis=1) - base
    draws = {
        "base": base,
        "all": every,
        "gain": every - base,
        "share": share,
        "operated": survival,
        "counterfactual": counterfactual,
        "bound": share * (survival - counterfactual),
        "local": local,
        "resection": resection,
        "together": every - base - local - resection,
        "naive": survival - base,
        "selection": counterfactual - base,
    }
    parts = {name: Quantity.of(values_) for name, values_ in draws.items()}
    return Bound(
        experiment.id,
        experiment.label.text(),
        parts,
        _contour(parts["base"].mean + parts["local"].mean, parts["counterfactual"].mean, anatomy.target),
    )


def _contour(base: float, counterfactual: float, target: float) -> Floats:
    """Pairs of share operated and survival of the operated for which base + share x (survival - counterfactual) = target."""
    share = np.linspace(0.05, 1.0, 96)
    return np.column_stack([share, counterfactual + (target - base) / share])


def needed(experiment: Experiment, anatomy: Anatomy, parameters: ParameterSet, seed: int) -> Needed:
    """Five-year survival at base values over a plane of conversion and durability, all points with the same luck."""
    odds = 2.0 ** np.linspace(-1.0, 4.0, MAP_POINTS)
    recurrence = np.array([0.0, 0.25, 0.5, 0.75, 1.0, 1.5])
    across, up = (grid.ravel() for grid in np.meshgrid(odds, recurrence))
    base = parameters.base_values()
    points = len(across)
    values = {name: np.repeat(value, points, axis=0) for name, value in as_values(base).items()}
    for name, number in experiment.numbers.items():
        values[name] = np.full(points, number)
    for name in (n for n in values if n.startswith(SHARE_PREFIX)):
        chance = float(base[name])
        ratio = across * chance / (1.0 - chance)
        values[name] = ratio / (1.0 + ratio)
    # A rate of 0 has no logarithm that the engine takes; this one is as good as none.
    factor = np.maximum(up, 1e-6)
    for name in ("conversion.after_surgery.early_mass", "conversion.after_surgery.late_rate_per_month"):
        values[name] = float(base[name]) * factor
    sizes = Sizes(1, MAP_PATIENTS, seed)
    plain = replace(experiment, between_trials=None, early_mass=None)
    cohort, _ = cohort_of(plain, parameters, {name: value[:1] for name, value in values.items()}, sizes)
    strategy = next(s for s in experiment.strategies if s.id == anatomy.of)
    evaluation = Evaluation(
        pathway=pathway(),
        strategies=(to_graph(strategy),),
        channels=(Channel(id="months"),),
        rewards=(RateReward(channel="months", rate=1.0),),
        endpoints=(Endpoint(id="os", marks=DEATHS), Endpoint(id="event", marks=(anatomy.event,))),
        horizon=anatomy.months,
        landmarks=(anatomy.months,),
        grid_step=None,
        seed=seed,
    )
    found = simulate(evaluation, values, cohort, patients=MAP_PATIENTS, luck=0)
    shape = (len(recurrence), len(odds))
    column, event = found.column(f"os_{anatomy.months:g}m"), found.column(f"event_{anatomy.months:g}m")
    return Needed(
        experiment.id,
        odds,
        recurrence,
        found.means[:, 0, column].reshape(shape),
        found.mcse[:, 0, column].reshape(shape),
        1.0 - found.means[:, 0, event].reshape(shape).mean(axis=0),
        anatomy.target,
    )


__all__ = ["PARTS", "Bound", "Needed", "Quantity", "bound", "needed"]
