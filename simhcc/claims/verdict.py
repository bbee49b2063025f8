"""From draws of an estimand to a verdict: probability, its error, what drives it, and where it would flip.

Pure functions of arrays; they know nothing of the disease and work on any model's draws.

A component is *supported* when P - 2 mcse >= p*, *not supported* when P + 2 mcse <= 1 - p*, and *undetermined* otherwise. P is
the share of draws in which the rule is met, patients' noise taken out. Its error is that of a share with two successes and two
failures added (Agresti & Coull, Am Stat 1998;52:119), so that a share of 0 or 1 has one too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import f

from simhcc.claims.registry import Published, Rule
from simhcc.economics import metamodel
from simhcc.economics.decision import expected_loss
from simhcc.economics.information import evppi
from simhcc.economics.tables import Psa

Floats = NDArray[np.float64]

SUPPORTED, NOT_SUPPORTED, UNDETERMINED = "supported", "not supported", "undetermined"
ERRORS = 2.0
"""standard errors that a probability must clear"""
INTERVAL = (0.025, 0.975)
PARTS = 5
"""parts of the draws that take turns in being held out"""
MOST_DRIVERS = 8
FEWEST_DRAWS = 40
"""draws below which no drivers are sought: a regression on fewer says nothing"""
GRID = 41
SIGNIFICANCE = 0.05
PRIOR_RANGE = (0.05, 0.95)


@dataclass(frozen=True)
class Judged:
    """The verdict on one component in one structure."""

    verdict: str
    probability: float
    mcse: float
    raw_probability: float
    """share of draws with patients' noise left in"""
    estimate: float
    lower: float
    upper: float
    noise_share: float
    """share of the variance over draws that was patients' noise"""
    iterations: int


@dataclass(frozen=True)
class Driver:
    """A number of the model that moves the estimate.

    `share` is the share of the variance over draws that it explains alone, in draws not used in the fit. `information` is the
    expected gain in the chance of calling the claim right if the number were known (EVPPI on the probability), with its
    standard error. `flips_at` is the value beyond which the verdict would be another, `towards` which one; None where there is
    none within its central 98 %.
    """

    name: str
    share: float
    information: float
    information_se: float
    direction: str
    flips_at: float | None
    towards: str | None
    low_probability: float
    high_probability: float


def probability(holds: NDArray[np.bool_]) -> tuple[float, float]:
    """Share of draws in which a rule holds, and its Monte-Carlo error."""
    n = len(holds)
    found = float(holds.mean())
    centre = (float(holds.sum()) + 2.0) / (n + 4.0)
    return found, math.sqrt(centre * (1.0 - centre) / (n + 4.0))


def decide(found: float, mcse: float, certainty: float) -> str:
    """The verdict that a probability with its error allows."""
    if found - ERRORS * mcse >= certainty:
        return SUPPORTED
    if found + ERRORS * mcse <= 1.0 - certainty:
        return NOT_SUPPORTED
    return UNDETERMINED


def judge(
    smooth: Floats, raw: Floats, rule: Rule, certainty: float, mean_error: float = 0.0, noise_share: float = 0.0
) -> Judged:
    """The verdict on draws of an estimand; `smooth` has the patients' noise taken out, `raw` has it.

    `mean_error` is the standard error of the draws' mean that patients' luck brings: the probability's error includes how far
    the probability moves when all draws are moved by twice that, so that few patients never decide a claim at its boundary.
    """
    found, mcse = probability(rule.holds(smooth))
    moved = [float(rule.holds(smooth + sign * ERRORS * mean_error).mean()) for sign in (-1.0, 1.0)]
    mcse = math.hypot(mcse, max(abs(other - found) for other in moved) / ERRORS)
    lower, upper = np.quantile(smooth, INTERVAL)
    return Judged(
        decide(found, mcse, certainty),
        found,
        mcse,
        float(rule.holds(raw).mean()),
        float(smooth.mean()),
        float(lower),
        float(upper),
        noise_share,
        len(smooth),
    )


def weakest(verdicts: Iterable[str]) -> str:
    """What a claim of several components takes: one that fails decides, then one that is open."""
    found = set(verdicts)
    if NOT_SUPPORTED in found:
        return NOT_SUPPORTED
    return UNDETERMINED if UNDETERMINED in found else SUPPORTED


def from_published(published: Published, rule: Rule) -> float:
    """Probability that the rule is met by the published hazard ratio alone: normal on the log scale.

    Where the estimand is a difference of shares, the ratio is applied to the control's share: s**hr - s.
    """
    centre = math.log(published.hr)
    se = (math.log(published.high) - math.log(published.low)) / (2.0 * 1.959963984540054)

    def below(limit: float) -> float:
        return float(ndtr((limit - centre) / se))

    if published.control is None:
        low = below(math.log(rule.low)) if rule.low > 0.0 else 0.0
        high = below(math.log(rule.high)) if math.isfinite(rule.high) else 1.0
        return high - low
    share = published.control

    def log_ratio(difference: float) -> float:
        left = share + difference
        if left <= 0.0:
            return math.inf
        if left >= 1.0:
            return -math.inf
        return math.log(math.log(left) / math.log(share))

    # A larger difference is a smaller ratio.
    above = 1.0 if math.isinf(rule.low) else below(log_ratio(rule.low))
    beyond = 0.0 if math.isinf(rule.high) else below(log_ratio(rule.high))
    return above - beyond


def margin_flips(smooth: Floats, rule: Rule, certainty: float) -> float | None:
    """The limit that the estimate clears with the certainty asked for: the margin at which a one-sided rule is just met.

    None for a rule with two sides.
    """
    if math.isinf(rule.high):
        return float(np.quantile(smooth, 1.0 - certainty))
    if math.isinf(rule.low):
        return float(np.quantile(smooth, certainty))
    return None


def drivers(
    smooth: Floats, rule: Rule, inputs: Mapping[str, Floats], certainty: float, most: int = MOST_DRIVERS
) -> list[Driver]:
    """The numbers that drive a verdict, ranked by the share of variance that each explains alone.

    A number is a candidate where a parabola on it explains more than chance would for any of the numbers (F test at 5 %,
    Bonferroni). Each candidate is regressed with a penalised spline; the share is that of draws not used in the fit.
    Empty where the estimate does not vary or there are fewer than 40 draws.
    """
    if len(smooth) < FEWEST_DRAWS or np.ptp(smooth) == 0.0 or not inputs:
        return []
    shares = {name: explained(smooth, inputs[name]) for name in candidates(smooth, inputs)}
    ranked = sorted((name for name in shares if shares[name] > 0.0), key=lambda name: -shares[name])[:most]
    if not ranked:
        return []
    information = value_of_knowing(rule.holds(smooth), {name: {name: inputs[name]} for name in ranked})
    base = decide(*probability(rule.holds(smooth)), certainty)
    found = []
    for name in ranked:
        grid, along = conditional_probability(smooth, rule, inputs[name])
        flips_at, towards = _flip(grid, along, base, certainty, float(np.median(inputs[name])))
        ends = np.quantile(inputs[name], PRIOR_RANGE)
        low, high = np.interp(ends, grid, along)
        slope = float(np.corrcoef(inputs[name], smooth)[0, 1])
        found.append(
            Driver(
                name,
                shares[name],
                *information[name],
                "up" if slope > 0.0 else "down",
                flips_at,
                towards,
                float(low),
                float(high),
            )
        )
    return found


def candidates(outcome: Floats, inputs: Mapping[str, Floats]) -> list[str]:
    """Numbers on which a parabola explains the outcome better than chance would on any of them (F test, Bonferroni)."""
    n = len(outcome)
    target = outcome - outcome.mean()
    names = list(inputs)
    values = np.stack([inputs[name] for name in names])
    line = values - values.mean(axis=1, keepdims=True)
    line /= np.sqrt((line**2).sum(axis=1, keepdims=True))
    curve = line**2 - (line**2).mean(axis=1, keepdims=True)
    curve -= (curve * line).sum(axis=1, keepdims=True) * line
    size = np.sqrt((curve**2).sum(axis=1, keepdims=True))
    # A number of two values has no curve.
    curve = np.divide(curve, size, out=np.zeros_like(curve), where=size > 1e-9)
    total = float((target**2).sum())
    by_line, by_curve = (line @ target) ** 2, (curve @ target) ** 2
    # The straight line is tested alone too: two degrees of freedom must not hide what one would show.
    p = np.minimum(
        f.sf(by_line / np.maximum(total - by_line, 1e-300) * (n - 2), 1, n - 2),
        f.sf((by_line + by_curve) / 2.0 / np.maximum(total - by_line - by_curve, 1e-300) * (n - 3), 2, n - 3),
    )
    return [name for name, value in zip(names, p, strict=True) if value < SIGNIFICANCE / (2.0 * len(names))]


def explained(outcome: Floats, *columns: Floats) -> float:
    """Share of the variance of an outcome that some numbers explain, in draws not used in the fit; not below 0."""
    fitted = metamodel.fit(pd.DataFrame(dict(enumerate(columns))), outcome[:, None], "spline")
    guess = fitted.held_out(PARTS)[:, 0]
    variance = float(outcome.var())
    return max(1.0 - float(((outcome - guess) ** 2).mean()) / variance, 0.0) if variance > 0.0 else 0.0


def value_of_knowing(
    holds: NDArray[np.bool_], groups: Mapping[str, Mapping[str, Floats]]
) -> dict[str, tuple[float, float]]:
    """Expected gain in the chance of calling a claim right from knowing each group of numbers, with its standard error.

    To call it true is worth 1 where it is true, to call it false 1 where it is false: an EVPPI whose unit is probability.
    """
    if holds.all() or not holds.any():
        return dict.fromkeys(groups, (0.0, 0.0))
    true = holds.astype(np.float64)
    effects = pd.DataFrame({"true": true, "false": 1.0 - true})
    psa = Psa(effects * 0.0, effects)
    columns: dict[str, Floats] = {}
    members: dict[str, list[str]] = {}
    for group, numbers in groups.items():
        members[group] = [f"{group}|{name}" for name in numbers]
        columns |= dict(zip(members[group], numbers.values(), strict=True))
    table = evppi(psa, pd.DataFrame(columns), members, wtp=1.0)
    return dict(zip(table["Group"], zip(table["EVPPI"].tolist(), table["SE"].tolist(), strict=True), strict=True))


def value_of_all(holds: NDArray[np.bool_]) -> float:
    """The same from knowing everything: the chance of being wrong now."""
    true = holds.astype(np.float64)
    effects = pd.DataFrame({"true": true, "false": 1.0 - true})
    return float(expected_loss(Psa(effects * 0.0, effects), 1.0)["Expected_Loss"].to_numpy(dtype=np.float64).min())


def conditional_probability(outcome: Floats, rule: Rule, column: Floats) -> tuple[Floats, Floats]:
    """Probability that the rule is met along the central 98 % of one number: its fitted effect, and the rest as it was."""
    fitted = metamodel.fit(pd.DataFrame({"x": column}), outcome[:, None], "spline").values[:, 0]
    rest = outcome - fitted
    order = np.argsort(column)
    grid = _span(column, GRID)
    centre = np.interp(grid, column[order], fitted[order])
    return grid, rule.holds(centre[:, None] + rest[None, :]).mean(axis=1)


def surface(
    outcome: Floats, rule: Rule, x: Floats, y: Floats, points: int = 25
) -> tuple[Floats, Floats, Floats, Floats]:
    """Where in the plane of two numbers a rule would be met: their grids, the fitted outcome, and the probability.

    Outcome and probability have axes (y, x). Second-order response surface by least squares; the rest stays as it was.
    """
    scaled = [(column - column.mean()) / column.std() for column in (x, y)]
    columns = _quadratic(*scaled)
    coefficients = np.linalg.lstsq(columns, outcome, rcond=None)[0]
    rest = outcome - columns @ coefficients
    grids = [_span(column, points) for column in (x, y)]
    ways = [(grid - column.mean()) / column.std() for grid, column in zip(grids, (x, y), strict=True)]
    across, up = np.meshgrid(*ways)
    centre = (_quadratic(across.ravel(), up.ravel()) @ coefficients).reshape(across.shape)
    return grids[0], grids[1], centre, rule.holds(centre[..., None] + rest).mean(axis=-1)


def _span(column: Floats, points: int) -> Floats:
    """The central 98 % of a number."""
    low, high = (float(limit) for limit in np.quantile(column, (0.01, 0.99)))
    return np.linspace(low, high, points)


def _quadratic(x: Floats, y: Floats) -> Floats:
    return np.column_stack([np.ones_like(x), x, y, x * x, x * y, y * y])


def _flip(grid: Floats, along: Floats, base: str, certainty: float, now: float) -> tuple[float | None, str | None]:
    """The value nearest to the present one at which the verdict would be another."""
    states = np.array([decide(p, 0.0, certainty) for p in along])
    other = states != base
    if not other.any():
        return None, None
    places = np.flatnonzero(other)
    nearest = int(places[np.argmin(np.abs(grid[places] - now))])
    return float(grid[nearest]), str(states[nearest])


def survives(
    smooth: Floats, rule: Rule, inputs: Mapping[str, Floats], names: Sequence[str], certainty: float
) -> dict[str, bool]:
    """Whether the verdict stays the same at the 5 % and the 95 % value of each number that carries it."""
    base = decide(*probability(rule.holds(smooth)), certainty)
    result = {}
    for name in names:
        if name not in inputs or len(smooth) < FEWEST_DRAWS:
            continue
        grid, along = conditional_probability(smooth, rule, inputs[name])
        ends = np.interp(np.quantile(inputs[name], PRIOR_RANGE), grid, along)
        # Without an error: the ends are read off a fit, whose own error the verdict's rule cannot carry.
        result[name] = all(decide(float(end), 0.0, certainty) == base for end in ends)
    return result


__all__ = [
    "NOT_SUPPORTED",
    "SUPPORTED",
    "UNDETERMINED",
    "Driver",
    "Judged",
    "conditional_probability",
    "decide",
    "drivers",
    "explained",
    "from_published",
    "judge",
    "margin_flips",
    "probability",
    "surface",
    "survives",
    "value_of_all",
    "value_of_knowing",
    "weakest",
]
