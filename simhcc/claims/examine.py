"""Examining a claim: its experiments, every structure, the verdict with its reasons."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhcc.claims import emulate, verdict
from simhcc.claims.anatomy import Bound, Needed, bound, needed
from simhcc.claims.experiments import Draws, Ran, Sizes, best_of, estimate, run_experiment, wanted_by
from simhcc.claims.registry import CHANNELS, Claim, Component, Experiment, Rule, Structure
from simhcc.claims.verdict import Driver, Judged
from simhcc.claims.words import probability_text, rule_words
from simhcc.inputs import ParameterSet
from simhcc.runner import ProgressCallback

Floats = NDArray[np.float64]

STRUCTURE_SHARE = 0.5
"""draws of a structural scenario, as a share of those of the base"""
FEWEST_STRUCTURE_DRAWS = 40
WORTH = ("prices.", "costs.", "resource.", "utility.", "economics.wtp", "economics.discount", "economics.vial")
EMULATOR = ("bias.", "emulated.")


@dataclass(frozen=True)
class Surface:
    """A two-way threshold: the fitted estimate and the probability over the plane of two numbers (axes y, x)."""

    component: str
    x: str
    y: str
    x_grid: Floats
    y_grid: Floats
    estimate: Floats
    probability: Floats
    x_now: float
    y_now: float


@dataclass(frozen=True)
class ComponentFinding:
    """What was found of one component."""

    component: Component
    judged: Judged
    draws: Floats
    """the estimand in every draw, patients' noise taken out"""
    inputs: Mapping[str, Floats]
    against: str | None
    """the strategy that was best in expectation, where the claim names several"""
    published: float | None
    """probability from the published interval alone"""
    margin: float | None
    """limit at which a one-sided rule would just be met with the certainty asked for"""
    structures: Mapping[str, Judged]
    survives: Mapping[str, bool]
    """whether the verdict is the same at the 5 % and the 95 % value of each number that carries it"""
    drivers: tuple[Driver, ...]
    groups: Mapping[str, tuple[float, float, float]]
    """for each group of evidence the expected gain in the chance of calling the component right, its error, and the share of the
    variance over draws that the group explains"""

    @property
    def verdict(self) -> str:
        """The component's verdict, undetermined where a structure or a prior says otherwise."""
        return verdict.UNDETERMINED if self.overturned else self.judged.verdict

    @property
    def distance(self) -> float:
        """How far inside its rule the mean lies, in standard deviations over the draws; below 0 outside."""
        rule, spread = self.component.rule, float(self.draws.std())
        inside = min(self.judged.estimate - rule.low, rule.high - self.judged.estimate)
        return inside / spread if spread > 0.0 else math.copysign(math.inf, inside)

    @property
    def overturned(self) -> list[str]:
        """Structures, and numbers that carry the verdict, under which it is another one."""
        if self.judged.verdict == verdict.UNDETERMINED or self.component.fact is not None:
            return []
        return [name for name, other in self.structures.items() if self._contradicts(other)] + [
            name for name, same in self.survives.items() if not same
        ]

    def _contradicts(self, other: Judged) -> bool:
        """Another verdict; fewer draws alone, with the same share on the same side, are no contradiction."""
        if other.verdict == self.judged.verdict:
            return False
        certainty = self.component.certainty
        if self.judged.verdict == verdict.SUPPORTED:
            return other.probability < certainty
        return other.probability > 1.0 - certainty


@dataclass(frozen=True)
class Finding:
    """What was found of a claim."""

    claim: Claim
    components: tuple[ComponentFinding, ...]
    maps: tuple[Surface, ...]
    bounds: tuple[Bound, ...]
    needed: tuple[Needed, ...]
    sizes: Sizes
    inputs: Mapping[str, str]
    """fingerprint of each input: files by name, and `parameters`"""

    @property
    def deciding(self) -> tuple[ComponentFinding, ...]:
        """The components that decide."""
        return tuple(found for found in self.components if found.component.decides)

    @property
    def verdict(self) -> str:
        """The claim's verdict: its weakest deciding component's."""
        return verdict.weakest(found.verdict for found in self.deciding)

    @property
    def head(self) -> ComponentFinding:
        """The component that sets the verdict: among those with it the least probable, then the one nearest to its limit."""
        same = [found for found in self.deciding if found.verdict == self.verdict]
        return min(same, key=lambda found: (found.judged.probability, found.distance))

    @property
    def robust(self) -> bool:
        """Whether the verdict holds in every structure and over every prior that carries it."""
        return not any(found.overturned for found in self.deciding)

    @property
    def reason(self) -> str:
        """Why the verdict is what it is, in one sentence."""
        head = self.head
        label, judged = head.component.label.text(), head.judged
        if head.component.fact is not None:
            met = "meets" if head.component.rule.holds(head.component.fact) else "does not meet"
            return f"{label}: the published value {head.component.fact:g} {met} the rule ({head.component.rule.text})."
        text = (
            f"{label}: the probability of being {rule_words(head.component)} is {probability_text(judged.probability)} "
            f"(needed: {head.component.certainty:g})"
        )
        if head.overturned:
            text += f", but it does not hold under: {', '.join(head.overturned)}"
        return text + "."

    def as_object(self) -> dict[str, Any]:
        """For machines, as the design has it."""
        head = self.head
        return {
            "id": self.claim.id,
            "verdict": self.verdict,
            "basis": self.claim.basis,
            "probability": head.judged.probability,
            "mcse": head.judged.mcse,
            "estimate": head.judged.estimate,
            "lower": head.judged.lower,
            "upper": head.judged.upper,
            "robust": self.robust,
            "reason": self.reason,
            "drivers": [_driver(driver) for driver in head.drivers],
            "flips_at": _flips(head),
            "components": [_component(found) for found in self.components],
            "anatomy": [
                {"experiment": one.experiment, "parts": {name: part.__dict__ for name, part in one.parts.items()}}
                for one in self.bounds
            ],
        }


def _driver(driver: Driver) -> dict[str, Any]:
    return {
        "name": driver.name,
        "share_of_variance": driver.share,
        "information": driver.information,
        "information_se": driver.information_se,
        "direction": driver.direction,
        "probability_at_5_percent": driver.low_probability,
        "probability_at_95_percent": driver.high_probability,
    }


def _flips(found: ComponentFinding) -> dict[str, Any]:
    flips: dict[str, Any] = {}
    if found.margin is not None:
        flips["margin"] = found.margin
    for driver in found.drivers:
        if driver.flips_at is not None:
            flips[driver.name] = {"value": driver.flips_at, "verdict": driver.towards}
    return flips


def _component(found: ComponentFinding) -> dict[str, Any]:
    judged, component = found.judged, found.component
    return {
        "id": component.id,
        "decides": component.decides,
        "verdict": found.verdict,
        "rule": component.rule.text,
        "certainty": component.certainty,
        "probability": judged.probability,
        "mcse": judged.mcse,
        "raw_probability": judged.raw_probability,
        "estimate": judged.estimate,
        "lower": judged.lower,
        "upper": judged.upper,
        "noise_share": judged.noise_share,
        "fact": component.fact,
        "published_probability": found.published,
        "against": found.against,
        "margin": found.margin,
        "structures": {
            name: {"verdict": other.verdict, "probability": other.probability, "estimate": other.estimate}
            for name, other in found.structures.items()
        },
        "survives_prior": dict(found.survives),
        "overturned_by": found.overturned,
    }


# ---------------------------------------------------------------------------------------------------------------------


def examine(
    claim: Claim,
    parameters: ParameterSet,
    sizes: Sizes,
    *,
    folder: Path | None = None,
    progress: ProgressCallback | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Finding:
    """Run a claim's experiments in the base and in every structure, and judge its components.

    `folder` keeps the shards of the runs, so that an interrupted examination goes on where it stopped.
    """
    ran = _run_all(claim, claim.components, parameters, sizes, None, folder, progress)
    emulated = _emulated(claim, parameters, sizes, folder, progress)
    small = replace(sizes, iterations=_structure_draws(sizes.iterations))
    deciding = tuple(c for c in claim.components if c.decides and c.estimand.kind != "emulated" and c.fact is None)
    structures = {
        structure.id: _run_all(claim, deciding, parameters, small, structure, folder, progress)
        for structure in claim.structures
        if deciding
    }
    found = []
    for component in claim.components:
        found.append(
            _judge(
                claim, component, ran, emulated, structures if component in deciding else {}, parameters, sizes, small
            )
        )
    maps = []
    for entry in claim.maps:
        owner = next(f for f in found if f.component.id == entry.component)
        surface = _surface(entry.component, entry.x, entry.y, owner)
        if surface is not None:
            maps.append(surface)
    bounds: list[Bound] = []
    planes: list[Needed] = []
    if claim.anatomy is not None:
        for name in claim.anatomy.experiments:
            experiment = claim.experiments[name]
            bounds.append(
                bound(experiment, claim.anatomy, parameters, sizes, _own(folder, parameters, experiment), progress)
            )
            planes.append(needed(experiment, claim.anatomy, parameters, sizes.seed))
    return Finding(
        claim, tuple(found), tuple(maps), tuple(bounds), tuple(planes), sizes, fingerprints(claim, parameters)
    )


def _own(folder: Path | None, parameters: ParameterSet, what: object) -> Path | None:
    """A folder named for the numbers and for what is run, so that other inputs never meet its shards."""
    if folder is None:
        return None
    return folder / hashlib.sha256(repr((parameters.fingerprint(), what)).encode()).hexdigest()[:12]


def _structure_draws(iterations: int) -> int:
    return min(iterations, max(int(STRUCTURE_SHARE * iterations), FEWEST_STRUCTURE_DRAWS))


def _run_all(
    claim: Claim,
    components: Sequence[Component],
    parameters: ParameterSet,
    sizes: Sizes,
    structure: Structure | None,
    folder: Path | None,
    progress: ProgressCallback | None,
) -> dict[str, Ran]:
    """Every experiment that the components read."""
    found: dict[str, Ran] = {}
    for experiment in claim.experiments.values():
        wanted = wanted_by(experiment, components)
        if not (wanted.endpoints or wanted.channels or wanted.marks):
            continue
        chosen = _needed(experiment, components) if structure is not None else experiment
        place = None
        if folder is not None:
            # Named for what it holds, so that other inputs never meet its shards.
            key = hashlib.sha256(
                repr((chosen, wanted, sizes, parameters.fingerprint(), structure)).encode()
            ).hexdigest()
            place = folder / f"{claim.id}-{experiment.id}-{structure.id if structure else 'base'}-{key[:12]}"
        found[experiment.id] = run_experiment(
            chosen, wanted, parameters, sizes, structure, folder=place, progress=progress
        )
    return found


def _needed(experiment: Experiment, components: Sequence[Component]) -> Experiment:
    """The experiment with the strategies only that the components name."""
    names: set[str] = set()
    for component in components:
        if experiment.id in (component.experiment, component.estimand.best_in, *component.estimand.over):
            names |= {component.estimand.of, *component.estimand.against}
    strategies = tuple(s for s in experiment.strategies if s.id in names)
    ids = [s.id for s in strategies]
    return replace(experiment, strategies=strategies, focus=experiment.focus if experiment.focus in ids else ids[0])


def _emulated(
    claim: Claim, parameters: ParameterSet, sizes: Sizes, folder: Path | None, progress: ProgressCallback | None
) -> dict[str, emulate.Emulation]:
    kinds = {c.estimand.outcome for c in claim.components if c.estimand.kind == "emulated"}
    return {
        kind: emulate.over_draws(kind, parameters, sizes, _own(folder, parameters, (kind, sizes)), progress)
        for kind in sorted(kinds)
    }


def _judge(
    claim: Claim,
    component: Component,
    ran: Mapping[str, Ran],
    emulated: Mapping[str, emulate.Emulation],
    structures: Mapping[str, Mapping[str, Ran]],
    parameters: ParameterSet,
    sizes: Sizes,
    small: Sizes,
) -> ComponentFinding:
    rule, certainty = component.rule, component.certainty
    if component.estimand.kind == "emulated":
        emulation = emulated[component.estimand.outcome]
        draws, inputs = emulation.quantity(component.estimand.quantity), emulation.inputs
    else:
        draws = estimate(component, ran, parameters, sizes.seed)
        inputs = ran[component.estimand.over[0] if component.estimand.over else str(component.experiment)].inputs
    if component.estimand.outcome not in CHANNELS:
        # What costs and quality of life are worth cannot move survival.
        inputs = {name: column for name, column in inputs.items() if not name.startswith(WORTH)}
    smooth = draws.smooth
    judged = _judged(draws, component)
    if component.fact is not None:
        # What has happened is no longer a matter of probability; the forecast stays beside it.
        judged = replace(judged, verdict=verdict.SUPPORTED if rule.holds(component.fact) else verdict.NOT_SUPPORTED)
    others = {
        name: _judged(estimate(component, runs, parameters, small.seed), component) for name, runs in structures.items()
    }
    groups = {
        name: {member: inputs[member] for member in members if member in inputs}
        for name, members in claim.evidence_groups.items()
    }
    groups = {name: members for name, members in groups.items() if members}
    enough = len(smooth) >= verdict.FEWEST_DRAWS
    return ComponentFinding(
        component=component,
        judged=judged,
        draws=smooth,
        inputs=inputs,
        against=best_of(component, ran, parameters),
        published=verdict.from_published(component.published, rule) if component.published else None,
        margin=verdict.margin_flips(smooth, rule, certainty),
        structures=others,
        survives=verdict.survives(smooth, rule, inputs, claim.carried_by, certainty) if component.decides else {},
        drivers=tuple(verdict.drivers(smooth, rule, inputs, certainty)),
        groups=_grouped(smooth, rule, groups) if groups and enough and component.decides else {},
    )


def _grouped(
    smooth: Floats, rule: Rule, groups: Mapping[str, Mapping[str, Floats]]
) -> dict[str, tuple[float, float, float]]:
    values = verdict.value_of_knowing(rule.holds(smooth), groups)
    return {name: (*values[name], verdict.explained(smooth, *members.values())) for name, members in groups.items()}


def _judged(draws: Draws, component: Component) -> Judged:
    return verdict.judge(
        draws.smooth, draws.estimate, component.rule, component.certainty, draws.mean_error, draws.noise_share
    )


def _surface(component: str, x: str, y: str, owner: ComponentFinding) -> Surface | None:
    """The two-way threshold of a component; None where one of the numbers does not vary or there are few draws."""
    if x not in owner.inputs or y not in owner.inputs or len(owner.draws) < verdict.FEWEST_DRAWS:
        return None
    across, up, centre, chance = verdict.surface(owner.draws, owner.component.rule, owner.inputs[x], owner.inputs[y])
    return Surface(
        component,
        x,
        y,
        across,
        up,
        centre,
        chance,
        float(np.median(owner.inputs[x])),
        float(np.median(owner.inputs[y])),
    )


# ---------------------------------------------------------------------------------------------------------------------
# Stale or not


def fingerprints(claim: Claim, parameters: ParameterSet) -> dict[str, str]:
    """What a verdict rests on: each file with its SHA-256, and each number with what it is drawn from.

    Prices, resources and utilities count where the claim asks for costs or QALYs; the emulator's numbers where it emulates.
    """
    found = {f"file {name}": digest for name, digest in claim.files}
    worth = any(component.estimand.outcome in CHANNELS for component in claim.components)
    emulates = any(component.estimand.kind == "emulated" for component in claim.components)
    for name, parameter in parameters.items():
        if (name.startswith(WORTH) and not worth) or (name.startswith(EMULATOR) and not emulates):
            continue
        drawn = parameter.uncertainty
        text = json.dumps([parameter.value, [drawn.kind, dict(drawn.given)] if drawn else None], sort_keys=True)
        found[f"number {name}"] = text
    for posterior in parameters.posteriors:
        found[f"posterior {posterior.id}"] = posterior.sha256
    return found


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What is different between two sets of fingerprints, in words."""
    words = []
    for name in sorted({*before, *now}):
        if before.get(name) == now.get(name):
            continue
        kind, what = name.split(" ", 1)
        if name not in now:
            words.append(f"{what} is gone")
        elif name not in before:
            words.append(f"{what} is new")
        elif kind == "number":
            words.append(f"{what}: {_shown(before[name])} -> {_shown(now[name])}")
        else:
            words.append(f"{what} has changed")
    return words


def _shown(text: str) -> str:
    value, drawn = json.loads(text)
    shown = " ".join(f"{x:g}" for x in value) if isinstance(value, list) else f"{value:g}"
    return f"{shown} ({drawn[0]} {json.dumps(drawn[1])})" if drawn else f"{shown} (fixed)"


__all__ = ["ComponentFinding", "Finding", "Surface", "changes", "examine", "fingerprints"]
