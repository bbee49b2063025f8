"""The registry of claims: one file per claim, read strictly into frozen objects.

A claim file says what is claimed, in which experiments it is tested, which quantity decides, by which rule and how sure we
must be. Nothing in it is a clinical number of the model: margins belong to the claim, as a protocol's do.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from simhcc.errors import InputError
from simhcc.inputs import UNITS, Document, Label, Place, Strategy, describe, find_input, list_inputs, one_of, read_yaml
from simhcc.inputs.locate import at, file_name, is_path
from simhcc.inputs.models import (
    Flag,
    Id,
    LabelModel,
    Model,
    Number,
    Positive,
    Text,
    Texts,
    choice,
    is_number,
    validate,
)
from simhcc.inputs.parameters import ParameterSet, load_parameters
from simhcc.inputs.scenarios import read_strategies
from simhcc.pathway.whole import ENDPOINTS
from simhcc.population.conditions import Condition, ConditionError, parse_condition

BASES = ("retrodicted", "held_out", "conjecture")
ENTRIES = ("tumour", "cleared")
SETTINGS = ("resectable", "intermediate", "advanced")
CHANNELS = ("ly", "qaly", "cost", "ly_undiscounted", "qaly_undiscounted", "net_benefit")
EMULATED = ("adjuvant", "conversion")
EMULATED_QUANTITIES = ("pooled_hazard_ratio", "share_explained", "published_inside")
_OUTCOME = re.compile(r"(?P<endpoint>[a-z_]+?)_(?:(?P<landmark>\d+)m|rmst_(?P<rmst>\d+))\Z")


# ---------------------------------------------------------------------------------------------------------------------
# What a claim file may contain


class EvidenceModel(Model):
    """A source and what it says about the claim."""

    source: Text
    says: Text


class ExperimentModel(Model):
    """Strategies run side by side in one population."""

    label: LabelModel | None = None
    population: Text
    among: Text | None = None
    strategies: Any
    focus: Text | None = None
    entry: Annotated[Literal["tumour", "cleared"], BeforeValidator(choice(*ENTRIES))] = "tumour"
    early_mass: Text | None = None
    trial: Text | None = None
    between_trials: (
        Annotated[Literal["resectable", "intermediate", "advanced"], BeforeValidator(choice(*SETTINGS))] | None
    ) = None
    numbers: Any = None


class EstimandModel(Model):
    """What is estimated; exactly one of the first six keys says which kind."""

    value: Text | None = None
    difference: Text | None = None
    margin: Text | None = None
    hazard_ratio: Text | None = None
    odds_ratio: Text | None = None
    reported_hazard_ratio: Text | None = None
    emulated: Annotated[str, BeforeValidator(choice(*EMULATED))] | None = None
    quantity: Annotated[str, BeforeValidator(choice(*EMULATED_QUANTITIES))] | None = None
    of: Text | None = None
    against: Any = None
    among: Texts | None = None
    over: Texts | None = None
    new_regimen: Flag = False
    months: Positive | None = None
    events: Positive | None = None


class RuleModel(Model):
    """Where the estimand must lie for the component to be true."""

    above: Number | None = None
    below: Number | None = None
    between: Any = None


class PublishedModel(Model):
    """The published figure that a retrodicted component speaks of, for a probability from it alone."""

    hr: Positive
    ci95: Any
    control: Number | None = None
    source: Text


class ComponentModel(Model):
    """One quantity with its rule."""

    id: Id
    label: LabelModel
    experiment: Text | None = None
    estimand: EstimandModel
    rule: RuleModel
    certainty: Number | None = None
    decides: Flag = True
    fact: Number | None = None
    published: PublishedModel | None = None


class MapModel(Model):
    """A two-way threshold: where in the plane of two numbers the component would be true."""

    component: Text
    x: Text
    y: Text


class AnatomyModel(Model):
    """Where a gain comes from: a strategy, the first line alone, and the strategy with one of its elements only."""

    experiments: Texts
    of: Text
    base: Text
    local: Text
    resection: Text
    event: Text
    months: Positive
    target: Number


class ClaimModel(Model):
    """A claim."""

    id: Id
    statement: LabelModel
    basis: Annotated[Literal["retrodicted", "held_out", "conjecture"], BeforeValidator(choice(*BASES))]
    certainty: Number
    note: Text | None = None
    evidence: Any = Field(default_factory=list)
    weak_points: Texts = Field(default_factory=list)
    experiments: Any = Field(default_factory=dict)
    components: Any
    structures: Texts | None = None
    carried_by: Texts = Field(default_factory=list)
    evidence_groups: Any = Field(default_factory=dict)
    maps: Any = Field(default_factory=list)
    anatomy: AnatomyModel | None = None


class StructureModel(Model):
    """Another structure of the model under which a verdict must hold too."""

    id: Id
    label: LabelModel
    note: Text | None = None
    numbers: Any


# ---------------------------------------------------------------------------------------------------------------------
# What is read


@dataclass(frozen=True)
class Rule:
    """The rule of a component: low < estimate < high, with an infinite limit on one side of a one-sided rule."""

    low: float
    high: float

    def holds(self, estimate: Any) -> Any:
        """Whether the rule is met; elementwise for an array."""
        return (estimate > self.low) & (estimate < self.high)

    @property
    def text(self) -> str:
        """The rule in words."""
        if math.isinf(self.high):
            return f"above {self.low:g}"
        if math.isinf(self.low):
            return f"below {self.high:g}"
        return f"between {self.low:g} and {self.high:g}"


@dataclass(frozen=True)
class Estimand:
    """What is estimated: see `EstimandModel`; `against` holds one strategy, or those whose best in expectation counts."""

    kind: str
    outcome: str
    of: str = ""
    against: tuple[str, ...] = ()
    best_in: str | None = None
    """experiment in which the best of `against` is found; None for the component's own"""
    over: tuple[str, ...] = ()
    new_regimen: bool = False
    months: float | None = None
    events: float | None = None
    quantity: str = ""

    @property
    def scale(self) -> str:
        """share, months, ratio or money: how the estimate is written and what it can be."""
        if self.kind in ("hazard_ratio", "odds_ratio", "reported_hazard_ratio"):
            return "ratio"
        if self.kind == "emulated":
            return "ratio" if self.quantity == "pooled_hazard_ratio" else "share"
        if "_rmst_" in self.outcome:
            return "months"
        if self.outcome.startswith("mark_"):
            return "share"
        if self.outcome in ("cost", "net_benefit"):
            return "money"
        if self.outcome in CHANNELS:
            return "years"
        return "share"

    @property
    def limits(self) -> tuple[float, float]:
        """The smallest and largest value the estimand can take."""
        if self.scale == "ratio":
            return 0.0, math.inf
        signed = self.kind in ("difference", "margin")
        if self.kind == "emulated":
            return -math.inf, math.inf
        if self.scale == "share":
            return (-1.0, 1.0) if signed else (0.0, 1.0)
        if self.scale == "months":
            top = float(self.outcome.rsplit("_", 1)[1])
            return (-top, top) if signed else (0.0, top)
        return -math.inf, math.inf


@dataclass(frozen=True)
class Experiment:
    """Strategies run side by side in one population, with what the claim changes in the numbers."""

    id: str
    label: Label
    population: Path
    among: Condition | None
    strategies: tuple[Strategy, ...]
    focus: str
    cleared: bool
    early_mass: str | None
    trial: str | None
    """trial whose fitted effects the patients have, where there are any"""
    between_trials: str | None
    numbers: Mapping[str, float]
    place: Place


@dataclass(frozen=True)
class Published:
    """Hazard ratio with its 95 % interval; `control` is the control arm's share where the estimand is a difference."""

    hr: float
    low: float
    high: float
    control: float | None
    source: str


@dataclass(frozen=True)
class Component:
    """One quantity with its rule; `decides` is False where it is only reported. `fact` is a value known since."""

    id: str
    label: Label
    experiment: str | None
    estimand: Estimand
    rule: Rule
    certainty: float
    decides: bool
    fact: float | None
    published: Published | None
    place: Place


@dataclass(frozen=True)
class Map:
    """Two numbers of the model and the component judged over their plane."""

    component: str
    x: str
    y: str


@dataclass(frozen=True)
class Anatomy:
    """What `simhcc.claims.anatomy` takes apart: see `AnatomyModel`."""

    experiments: tuple[str, ...]
    of: str
    base: str
    local: str
    resection: str
    event: str
    months: float
    target: float


@dataclass(frozen=True)
class Structure:
    """Numbers that stand for another structure of the model."""

    id: str
    label: Label
    note: str | None
    numbers: Mapping[str, float]
    place: Place


@dataclass(frozen=True)
class Claim:
    """A claim, fully resolved. `files` lists every file read for it with its SHA-256."""

    id: str
    statement: Label
    basis: str
    certainty: float
    note: str | None
    evidence: tuple[tuple[str, str], ...]
    weak_points: tuple[str, ...]
    experiments: Mapping[str, Experiment]
    components: tuple[Component, ...]
    structures: tuple[Structure, ...]
    carried_by: tuple[str, ...]
    evidence_groups: Mapping[str, tuple[str, ...]]
    maps: tuple[Map, ...]
    anatomy: Anatomy | None
    place: Place
    files: tuple[tuple[str, str], ...] = field(default=())

    def component(self, name: str) -> Component:
        """The component with an id."""
        return next(c for c in self.components if c.id == name)


def list_claims(user_dir: str | Path | None = None) -> dict[str, Path]:
    """Id -> file of every claim; the user's own files win."""
    return list_inputs("claim", user_dir)


def list_structures(user_dir: str | Path | None = None) -> dict[str, Path]:
    """Id -> file of every structural scenario."""
    return list_inputs("structure", user_dir)


def load_claim(
    id_or_path: str | Path, user_dir: str | Path | None = None, parameters: ParameterSet | None = None
) -> Claim:
    """Read a claim with its strategies, populations and structural scenarios.

    `parameters` are the numbers its names are checked against (default: the packaged ones for China with the user's own).
    Raises InputError, with file and line, for anything unknown, missing or impossible.
    """
    path = find_input("claim", str(id_or_path), user_dir)
    document = read_yaml(path, file_name(path))
    model = validate(ClaimModel, document, (), "a claim")
    if not is_path(str(id_or_path)) and model.id != path.stem:
        raise document.error(("id",), f"id {model.id} in a file called {path.name}", f"id: {path.stem}")
    known = parameters if parameters is not None else load_parameters(user_dir=user_dir)
    reader = _Reader(document, known, user_dir)
    return reader.claim(model)


class _Reader:
    """Turns one checked claim file into a Claim."""

    def __init__(self, document: Document, parameters: ParameterSet, user_dir: str | Path | None) -> None:
        self.document = document
        self.parameters = parameters
        self.user_dir = user_dir
        self.files: dict[str, str] = {document.file: document.sha256}

    def claim(self, model: ClaimModel) -> Claim:
        statement = Label(model.statement.en, model.statement.zh)
        if not (statement.en and statement.zh):
            raise self.document.error(("statement",), "a statement in one language", "both en and zh")
        certainty = self._certainty(("certainty",), model.certainty)
        experiments = self._experiments()
        components = self._components(experiments, certainty)
        evidence = self._evidence()
        structures = self._structures(model.structures)
        for position, name in enumerate(model.carried_by):
            self._parameter(("carried_by", position), name)
        return Claim(
            id=model.id,
            statement=statement,
            basis=model.basis,
            certainty=certainty,
            note=model.note,
            evidence=evidence,
            weak_points=tuple(model.weak_points),
            experiments=experiments,
            components=components,
            structures=structures,
            carried_by=tuple(model.carried_by),
            evidence_groups=self._groups(),
            maps=self._maps(components),
            anatomy=self._anatomy(model.anatomy, experiments),
            place=self.document.place(),
            files=tuple(sorted(self.files.items())),
        )

    # -- small parts

    def _certainty(self, path: tuple[Any, ...], value: float) -> float:
        if not 0.5 < value < 1.0:
            raise self.document.error(path, f"{value:g}", "a probability above 0.5 and below 1")
        return value

    def _parameter(self, path: tuple[Any, ...], name: str) -> None:
        try:
            self.parameters.find(name)
        except InputError as error:
            raise self.document.error(path, error.found, error.expected) from None

    def _numbers(self, document: Document, path: tuple[Any, ...]) -> dict[str, float]:
        tree = document.get(path)
        if tree is None:
            return {}
        if not isinstance(tree, dict) or not tree:
            raise document.error(path, describe(tree), "a mapping of dotted names to numbers")
        for name, value in tree.items():
            try:
                parameter = self.parameters.find(name)
            except InputError as error:
                raise document.error((*path, name), error.found, error.expected) from None
            if parameter.is_vector:
                raise document.error((*path, name), f"{name}, which is a vector", "a parameter of one number")
            if not is_number(value):
                raise document.error((*path, name), describe(value), "a number")
            unit = UNITS[parameter.unit]
            if not unit.low <= value <= unit.high:
                raise document.error((*path, name), f"{value:g}", f"{parameter.unit}: {unit.meaning}")
        return {name: float(value) for name, value in tree.items()}

    def _evidence(self) -> tuple[tuple[str, str], ...]:
        tree = self.document.get(("evidence",), [])
        if not isinstance(tree, list):
            raise self.document.error(("evidence",), describe(tree), "a list of {source: ..., says: ...}")
        found = []
        for position in range(len(tree)):
            path = ("evidence", position)
            entry = validate(EvidenceModel, self.document, path, "a piece of evidence")
            if entry.source not in self.parameters.sources:
                raise self.document.error(
                    (*path, "source"), f"the source {entry.source!r}", one_of(self.parameters.sources, entry.source)
                )
            found.append((entry.source, entry.says))
        return tuple(found)

    def _structures(self, names: list[str] | None) -> tuple[Structure, ...]:
        known = list_structures(self.user_dir)
        chosen = list(known) if names is None else names
        found = []
        for position, name in enumerate(chosen):
            if name not in known:
                raise self.document.error(("structures", position), f"the structure {name!r}", one_of(known, name))
            document = read_yaml(known[name], file_name(known[name]))
            model = validate(StructureModel, document, (), "a structure")
            self.files[document.file] = document.sha256
            numbers = self._numbers(document, ("numbers",))
            found.append(
                Structure(model.id, Label(model.label.en, model.label.zh), model.note, numbers, document.place())
            )
        return tuple(found)

    def _groups(self) -> dict[str, tuple[str, ...]]:
        tree = self.document.get(("evidence_groups",), {})
        if not isinstance(tree, dict):
            raise self.document.error(("evidence_groups",), describe(tree), "a mapping of names to lists of parameters")
        for name, members in tree.items():
            path = ("evidence_groups", name)
            if not isinstance(members, list) or not members:
                raise self.document.error(path, describe(members), "a list of parameters")
            for position, member in enumerate(members):
                self._parameter((*path, position), str(member))
        return {name: tuple(members) for name, members in tree.items()}

    def _maps(self, components: tuple[Component, ...]) -> tuple[Map, ...]:
        tree = self.document.get(("maps",), [])
        if not isinstance(tree, list):
            raise self.document.error(("maps",), describe(tree), "a list of {component: ..., x: ..., y: ...}")
        ids = [component.id for component in components]
        found = []
        for position in range(len(tree)):
            path = ("maps", position)
            entry = validate(MapModel, self.document, path, "a two-way threshold")
            if entry.component not in ids:
                raise self.document.error(
                    (*path, "component"), f"the component {entry.component!r}", one_of(ids, entry.component)
                )
            for axis in ("x", "y"):
                self._parameter((*path, axis), getattr(entry, axis))
            if entry.x == entry.y:
                raise self.document.error((*path, "y"), f"{entry.y} on both axes", "two different parameters")
            found.append(Map(entry.component, entry.x, entry.y))
        return tuple(found)

    def _anatomy(self, model: AnatomyModel | None, experiments: Mapping[str, Experiment]) -> Anatomy | None:
        if model is None:
            return None
        document = self.document
        for position, name in enumerate(model.experiments):
            path = ("anatomy", "experiments", position)
            if name not in experiments:
                raise document.error(path, f"the experiment {name!r}", one_of(experiments, name))
            ids = [strategy.id for strategy in experiments[name].strategies]
            for role in ("of", "base", "local", "resection"):
                if getattr(model, role) not in ids:
                    raise document.error(
                        ("anatomy", role),
                        f"the strategy {getattr(model, role)!r}, which the experiment {name} does not have",
                        one_of(ids, getattr(model, role)),
                    )
        return Anatomy(
            tuple(model.experiments),
            model.of,
            model.base,
            model.local,
            model.resection,
            model.event,
            model.months,
            model.target,
        )

    # -- experiments

    def _experiments(self) -> dict[str, Experiment]:
        tree = self.document.get(("experiments",), {})
        if not isinstance(tree, dict):
            raise self.document.error(("experiments",), describe(tree), "a mapping of ids to experiments")
        return {name: self._experiment(name) for name in tree}

    def _experiment(self, name: str) -> Experiment:
        path = ("experiments", name)
        document = self.document
        model = validate(ExperimentModel, document, path, "an experiment")
        strategies = read_strategies(document, (*path, "strategies"), self.user_dir)
        ids = [strategy.id for strategy in strategies]
        if model.focus is not None and model.focus not in ids:
            raise document.error((*path, "focus"), f"the strategy {model.focus!r}", one_of(ids, model.focus))
        try:
            population = find_input("population", model.population, self.user_dir, document.path.parent)
        except InputError as error:
            raise at(document.place((*path, "population")), "population", error) from None
        among = None
        if model.among is not None:
            try:
                among = parse_condition(model.among)
            except ConditionError as error:
                raise document.error((*path, "among"), error.found, error.expected) from None
        if model.early_mass is not None:
            self._parameter((*path, "early_mass"), model.early_mass)
        if model.trial is not None and model.trial not in list_inputs("trial", self.user_dir):
            raise document.error(
                (*path, "trial"), f"the trial {model.trial!r}", one_of(list_inputs("trial", self.user_dir), model.trial)
            )
        for strategy in strategies:
            for rows in strategy._templates.values():
                self.files |= {found.file: found.sha256 for found, _ in rows}
        read = read_yaml(population, file_name(population))
        self.files[read.file] = read.sha256
        label = Label(model.label.en, model.label.zh) if model.label else Label(name)
        return Experiment(
            id=name,
            label=label,
            population=population,
            among=among,
            strategies=strategies,
            focus=model.focus or ids[0],
            cleared=model.entry == "cleared",
            early_mass=model.early_mass,
            trial=model.trial,
            between_trials=model.between_trials,
            numbers=self._numbers(document, (*path, "numbers")),
            place=document.place(path),
        )

    # -- components

    def _components(self, experiments: Mapping[str, Experiment], certainty: float) -> tuple[Component, ...]:
        tree = self.document.get(("components",))
        if not isinstance(tree, list) or not tree:
            raise self.document.error(("components",), describe(tree), "a list of components, each with an estimand")
        found: list[Component] = []
        for position in range(len(tree)):
            component = self._component(("components", position), experiments, certainty)
            if component.id in [other.id for other in found]:
                raise self.document.error(
                    ("components", position, "id"), f"the component {component.id} twice", "each id once"
                )
            found.append(component)
        if not any(component.decides for component in found):
            raise self.document.error(("components",), "no component that decides", "at least one that decides")
        return tuple(found)

    def _component(self, path: tuple[Any, ...], experiments: Mapping[str, Experiment], certainty: float) -> Component:
        document = self.document
        model = validate(ComponentModel, document, path, "a component")
        estimand = self._estimand((*path, "estimand"), model.estimand)
        if estimand.kind != "emulated":
            self._place_of(path, model, estimand, experiments)
        elif model.experiment is not None:
            raise document.error((*path, "experiment"), "an experiment of an emulated study", "no such key")
        rule = self._rule((*path, "rule"), model.rule, estimand)
        published = None
        if model.published is not None:
            published = self._published((*path, "published"), model.published)
        own = self._certainty((*path, "certainty"), model.certainty) if model.certainty is not None else certainty
        return Component(
            id=model.id,
            label=Label(model.label.en, model.label.zh),
            experiment=model.experiment,
            estimand=estimand,
            rule=rule,
            certainty=own,
            decides=model.decides,
            fact=model.fact,
            published=published,
            place=document.place(path),
        )

    def _place_of(
        self,
        path: tuple[Any, ...],
        model: ComponentModel,
        estimand: Estimand,
        experiments: Mapping[str, Experiment],
    ) -> None:
        """The experiment exists, and has the strategies that the estimand names."""
        document = self.document
        if estimand.over:
            if model.experiment is not None:
                raise document.error((*path, "experiment"), "both experiment and over", "one of them")
            places = estimand.over
            for position, name in enumerate(places):
                if name not in experiments:
                    raise document.error(
                        (*path, "estimand", "over", position), f"the experiment {name!r}", one_of(experiments, name)
                    )
        else:
            if model.experiment is None:
                raise document.error(path, "no key 'experiment'", "experiment: it is required")
            if model.experiment not in experiments:
                raise document.error(
                    (*path, "experiment"), f"the experiment {model.experiment!r}", one_of(experiments, model.experiment)
                )
            places = (model.experiment,)
        if estimand.best_in is not None:
            if estimand.best_in not in experiments:
                raise document.error(
                    (*path, "estimand", "against", "in"),
                    f"the experiment {estimand.best_in!r}",
                    one_of(experiments, estimand.best_in),
                )
            places = (*places, estimand.best_in)
        for place in places:
            ids = [strategy.id for strategy in experiments[place].strategies]
            for key, names in (("of", (estimand.of,)), ("against", estimand.against)):
                for name in names:
                    if name not in ids:
                        raise document.error(
                            (*path, "estimand", key),
                            f"the strategy {name!r}, which the experiment {place} does not have",
                            one_of(ids, name),
                        )
            if estimand.of in estimand.against:
                raise document.error((*path, "estimand"), f"{estimand.of} against itself", "another strategy")

    def _estimand(self, path: tuple[Any, ...], model: EstimandModel) -> Estimand:
        document = self.document
        kinds = ("value", "difference", "margin", "hazard_ratio", "odds_ratio", "reported_hazard_ratio", "emulated")
        given = [kind for kind in kinds if getattr(model, kind) is not None]
        if len(given) != 1:
            raise document.error(path, f"{' and '.join(given) or 'no kind'}", f"exactly one of {', '.join(kinds)}")
        kind = given[0]
        outcome = str(getattr(model, kind))
        allowed = {
            "value": {"of"},
            "difference": {"of", "against"},
            "margin": {"of", "among"},
            "hazard_ratio": {"of", "against", "months", "over", "new_regimen"},
            "odds_ratio": {"of", "against", "months", "over", "new_regimen"},
            "reported_hazard_ratio": {"of", "against", "months", "events"},
            "emulated": {"quantity"},
        }[kind]
        needed = allowed - {"over", "new_regimen"}
        for key in ("of", "against", "among", "months", "events", "over", "quantity"):
            if getattr(model, key) is not None and key not in allowed:
                raise document.error((*path, key), f"{key} with {kind}", f"{kind} with {', '.join(sorted(allowed))}")
            if getattr(model, key) is None and key in needed:
                raise document.error(path, f"{kind} without {key}", f"{key}: it is required")
        if model.new_regimen and not model.over:
            raise document.error((*path, "new_regimen"), "new_regimen without over", "over: the experiments pooled")
        if kind != "emulated":
            self._check_outcome((*path, kind), outcome, ratio="ratio" in kind)
        against: tuple[str, ...] = tuple(model.among or ())
        if model.against is not None:
            against = self._against((*path, "against"), model.against)
            if len(against) > 1 and kind != "difference":
                raise document.error((*path, "against"), f"best_of with {kind}", "one strategy")
        return Estimand(
            kind=kind,
            outcome=outcome,
            of=model.of or "",
            against=against,
            best_in=model.against.get("in") if isinstance(model.against, dict) else None,
            over=tuple(model.over or ()),
            new_regimen=model.new_regimen,
            months=model.months,
            events=model.events,
            quantity=model.quantity or "",
        )

    def _against(self, path: tuple[Any, ...], value: Any) -> tuple[str, ...]:
        if isinstance(value, str):
            return (value,)
        if (
            isinstance(value, dict)
            and {"best_of"} <= set(value) <= {"best_of", "in"}
            and isinstance(value["best_of"], list)
        ):
            names = value["best_of"]
            if len(names) >= 2 and all(isinstance(name, str) for name in names):
                return tuple(names)
        raise self.document.error(
            path, describe(value), "a strategy, or {best_of: [two or more strategies], in: experiment}"
        )

    def _check_outcome(self, path: tuple[Any, ...], outcome: str, ratio: bool) -> None:
        names = [endpoint.id for endpoint in ENDPOINTS]
        if ratio:
            if outcome not in names:
                raise self.document.error(path, f"the endpoint {outcome!r}", one_of(names, outcome))
            return
        match = parse_outcome(outcome)
        if outcome in CHANNELS or (match is not None and match[0] in names):
            return
        if outcome.startswith("mark_") and len(outcome) > len("mark_"):
            return
        examples = ["os_60m", "rfs_36m", "os_rmst_60", *CHANNELS]
        raise self.document.error(path, f"the outcome {outcome!r}", one_of(examples, outcome))

    def _rule(self, path: tuple[Any, ...], model: RuleModel, estimand: Estimand) -> Rule:
        document = self.document
        given = [key for key in ("above", "below", "between") if getattr(model, key) is not None]
        if len(given) != 1:
            raise document.error(path, " and ".join(given) or "no rule", "exactly one of above, below, between")
        low, high = -math.inf, math.inf
        if given[0] == "between":
            pair = model.between
            if not (isinstance(pair, list) and len(pair) == 2 and all(is_number(limit) for limit in pair)):
                raise document.error((*path, "between"), describe(pair), "two numbers, for example [0.15, 0.25]")
            low, high = float(pair[0]), float(pair[1])
            if low >= high:
                raise document.error(
                    (*path, "between"), f"[{low:g}, {high:g}], which no number meets", "the lower limit first"
                )
        elif given[0] == "above":
            low = float(model.above)  # type: ignore[arg-type]
        else:
            high = float(model.below)  # type: ignore[arg-type]
        least, most = estimand.limits
        where = (*path, given[0])
        if low >= most or high <= least:
            raise document.error(
                where,
                f"a rule that can never be met: {_words(estimand)} lies between {least:g} and {most:g}",
                "a limit inside that range",
            )
        if low < least and high > most:
            raise document.error(
                where,
                f"a rule that is always met: {_words(estimand)} lies between {least:g} and {most:g}",
                "a limit inside that range",
            )
        return Rule(low, high)

    def _published(self, path: tuple[Any, ...], model: PublishedModel) -> Published:
        pair = model.ci95
        if not (isinstance(pair, list) and len(pair) == 2 and all(is_number(limit) for limit in pair)):
            raise self.document.error((*path, "ci95"), describe(pair), "two numbers, for example [0.41, 0.85]")
        if not 0.0 < pair[0] < model.hr < pair[1]:
            raise self.document.error(
                (*path, "ci95"), f"[{pair[0]:g}, {pair[1]:g}] around {model.hr:g}", "an interval around the ratio"
            )
        if model.source not in self.parameters.sources:
            raise self.document.error(
                (*path, "source"), f"the source {model.source!r}", one_of(self.parameters.sources, model.source)
            )
        return Published(model.hr, float(pair[0]), float(pair[1]), model.control, model.source)


def parse_outcome(name: str) -> tuple[str, float, bool] | None:
    """Endpoint, months, and whether a restricted mean is meant; None where the name is not that of an endpoint."""
    match = _OUTCOME.match(name)
    if match is None:
        return None
    months = match["landmark"] or match["rmst"]
    return match["endpoint"], float(months), match["rmst"] is not None


def _words(estimand: Estimand) -> str:
    return f"{estimand.kind.replace('_', ' ')} of {estimand.outcome}"


__all__ = [
    "Anatomy",
    "Claim",
    "Component",
    "Estimand",
    "Experiment",
    "Map",
    "Published",
    "Rule",
    "Structure",
    "list_claims",
    "list_structures",
    "load_claim",
    "parse_outcome",
]
