"""Fitting a population to its baseline table: moves of the marginals so that eligible patients match the targets."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri

from simhcc.population.attributes import Array
from simhcc.population.cohort import BASELINE_LUCK, achieved, observed
from simhcc.population.conditions import WithDerived
from simhcc.population.definition import Adjustment, Population, Target

FIT_PATIENTS = 40_000
FIT_SEED = 20_251_201
STEP = 0.1
DAMPINGS = (1e-3, 1e-2, 1e-1, 1.0)
LONGEST_STEP = 0.5
LEAST_GAIN = 0.02
PULL = 0.003  # towards no adjustment, so that a target that cannot be met does not drag a marginal far away
LOOSE = 0.03  # weight of a target that may be missed by its tolerance
MAX_ROUNDS = 10
CLOSE_ENOUGH = 1e-3


@dataclass(frozen=True)
class Fit:
    """Result of `fit_population`: the moved population, and each target with what was achieved."""

    population: Population
    achieved: tuple[tuple[Target, float], ...]
    rounds: int

    def block(self) -> str:
        """The `fitted` part of the population file, as YAML text; for a population with adjustments."""
        lines = [
            "fitted:",
            "  grade: derived",
            "  note: Moves on the standard normal scale that match the targets, by python -m simhcc.population.",
            f"  patients: {FIT_PATIENTS}",
            "  adjustments:",
        ]
        for name, move in self.population.adjustments.items():
            lines.append(f"    {name}: {{shift: {move.shift:.4f}, scale: {move.scale:.4f}}}")
        return "\n".join(lines) + "\n"


def fit_population(population: Population, patients: int = FIT_PATIENTS, seed: int = FIT_SEED) -> Fit:
    """Find the adjustments of the marginals under which eligible patients match the targets.

    Each target with `adjusts` contributes one unknown (a shift, or the logarithm of a scale) and every target counts
    as one residual: shares on the probit scale, means and medians in standard deviations, counted little
    where a tolerance is given. Levenberg-Marquardt steps with the same random numbers throughout, so the result
    depends on the file and the seed only.
    """
    unknowns = list(dict.fromkeys(target.adjusts for target in population.targets if target.adjusts is not None))
    used = [target for target in population.targets if target.adjusts is not None or target.tolerance > 0.0]
    ids = np.arange(patients, dtype=np.int64)

    def at(point: Array) -> tuple[Population, Array]:
        moved = population.moved(_adjustments(unknowns, point))
        columns = WithDerived(observed(moved, ids, seed, BASELINE_LUCK))
        residuals = [_residual(target, columns) for target in used]
        return moved, np.concatenate([residuals, PULL * point])

    point = np.zeros(len(unknowns))
    moved, residual = at(point)
    rounds = 0
    while unknowns and rounds < MAX_ROUNDS and float(np.abs(residual[: len(used)]).max()) > CLOSE_ENOUGH:
        rounds += 1
        slope = np.empty((len(residual), len(unknowns)))
        for position, step in enumerate(STEP * np.eye(len(unknowns))):
            slope[:, position] = (at(point + step)[1] - residual) / STEP
        before = float(residual @ residual)
        for damping in DAMPINGS:
            change = -np.linalg.solve(slope.T @ slope + damping * np.eye(len(unknowns)), slope.T @ residual)
            new_point = point + np.clip(change, -LONGEST_STEP, LONGEST_STEP)
            new_moved, new_residual = at(new_point)
            if float(new_residual @ new_residual) < before:
                point, moved, residual = new_point, new_moved, new_residual
                break
        if float(residual @ residual) > (1.0 - LEAST_GAIN) * before:
            break
    return replace(evaluate(moved, patients, seed), rounds=rounds)


def evaluate(population: Population, patients: int = FIT_PATIENTS, seed: int = FIT_SEED) -> Fit:
    """What the population achieves as it stands, with the patients that `fit_population` uses."""
    columns = WithDerived(observed(population, np.arange(patients, dtype=np.int64), seed, BASELINE_LUCK))
    return Fit(population, tuple((target, achieved(target, columns)[0]) for target in population.targets), 0)


def _adjustments(unknowns: list[tuple[str, str]], point: Array) -> dict[str, Adjustment]:
    moves: dict[str, dict[str, float]] = {}
    for (name, what), value in zip(unknowns, point, strict=True):
        moves.setdefault(name, {})[what] = round(float(value) if what == "shift" else math.exp(float(value)), 4)
    return {name: Adjustment(**move) for name, move in moves.items()}


def _residual(target: Target, columns: WithDerived) -> float:
    value, _ = achieved(target, columns)
    if target.condition is not None:
        # Half a patient on either side keeps the probit finite where nobody or everybody counts.
        edge = 0.5 / len(columns["age"])
        distance = float(ndtri(min(max(value, edge), 1.0 - edge)) - ndtri(min(max(target.value, edge), 1.0 - edge)))
    else:
        distance = (value - target.value) / (float(columns[target.of].std()) or 1.0)
    # A target that may be missed by a tolerance pulls less than one that must be met.
    return distance * (1.0 if target.tolerance == 0.0 else LOOSE)
