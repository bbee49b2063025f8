"""Structural alternatives: other readings of the same evidence, each a few numbers, with weights by topic.

`params/structures.yaml` lists topics; a topic gives weights to the base case (`base`) and to alternatives, which are files
of `scenarios/structures/`. A scenario names the topics that enter its probabilistic analysis (`structure:`). Each iteration
draws one alternative of each topic by address; its numbers take the place of values and draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from simhcc.errors import InputError
from simhcc.inputs import locate
from simhcc.inputs.leaf import Label
from simhcc.inputs.locate import at, file_name, find_input, list_inputs
from simhcc.inputs.models import StructureModel, TopicModel, is_number, number_hint, validate
from simhcc.inputs.reader import Document, FrozenMap, KeyPath, Place, describe, one_of, read_yaml
from simhcc.inputs.sources import check_sources
from simhcc.inputs.uncertainty import Floats, Value, addressed

if TYPE_CHECKING:
    from simhcc.inputs.parameters import ParameterSet

STRUCTURES = "structures.yaml"
BASE = "base"
ALL = "all"
_SUM_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Alternative:
    """One alternative of a topic: the numbers that it sets (none for the base case) and its weight."""

    id: str
    label: Label
    note: str | None
    weight: float
    numbers: Mapping[str, Value]


@dataclass(frozen=True)
class Topic:
    """A structural question with its weighted answers, the base case first. `files` were read for it, with SHA-256."""

    id: str
    label: Label
    alternatives: tuple[Alternative, ...]
    grade: str
    source: tuple[str, ...]
    reason: str
    place: Place
    files: tuple[tuple[str, str], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Parameters that some alternative sets."""
        return tuple(sorted({name for each in self.alternatives for name in each.numbers}))

    def chosen(self, u: Floats) -> NDArray[np.intp]:
        """Position of the alternative for each uniform number."""
        edges = np.cumsum([each.weight for each in self.alternatives])[:-1]
        return np.searchsorted(edges / sum(each.weight for each in self.alternatives), u, side="right")

    def drawn(self, seed: int, iterations: NDArray[np.intp]) -> NDArray[np.intp]:
        """Position of the alternative of each iteration: a function of (seed, iteration, topic)."""
        return self.chosen(addressed(seed, iterations, f"structure/{self.id}"))

    def applied(self, draws: Mapping[str, Floats], chosen: NDArray[np.intp]) -> dict[str, Floats]:
        """Draws of the topic's parameters with the numbers of the chosen alternatives in their place."""
        found = {name: np.array(draws[name], dtype=np.float64) for name in self.names}
        for position, each in enumerate(self.alternatives):
            for name, value in each.numbers.items():
                found[name][chosen == position] = value
        return found


def read_topics(
    names: Sequence[str] | str, parameters: ParameterSet, user_dir: str | Path | None, asked: Place | None = None
) -> tuple[Topic, ...]:
    """The topics that are named (`all` for all of them), resolved against the parameters.

    The user's `params/structures.yaml` adds topics and replaces packaged ones by id. Raises InputError, with file and line,
    for anything wrong, and for two topics that set the same number.
    """
    listed: dict[str, tuple[Document, KeyPath]] = {}
    for root in (locate.packaged_folder("params"), locate.user_folder("params", user_dir)):
        if root is not None and (root / STRUCTURES).is_file():
            listed |= _listed(read_yaml(root / STRUCTURES, file_name(root / STRUCTURES)))
    chosen = list(listed) if names == ALL else list(names)
    for name in chosen:
        if name not in listed:
            error = InputError(f"the topic {name!r}", f"{one_of(list(listed), name)}, or all", "structure")
            raise at(asked, "structure", error) if asked is not None else error
    topics = tuple(_topic(*listed[name], parameters, user_dir) for name in chosen)
    taken: dict[str, Topic] = {}
    for topic in topics:
        for name in topic.names:
            other = taken.setdefault(name, topic)
            if other is not topic:
                raise InputError(
                    f"{name}, which the topic {other.id} sets too", "each number in one topic", topic.id,
                    topic.place.file, topic.place.line,
                )  # fmt: skip
    return topics


def read_alternatives(parameters: ParameterSet, user_dir: str | Path | None) -> tuple[Alternative, ...]:
    """Every structural alternative there is, each with weight 0: what can be looked at without being weighted."""
    return tuple(_alternative(name, 0.0, parameters, user_dir, None)[0] for name in list_inputs("structure", user_dir))


def _listed(document: Document) -> dict[str, tuple[Document, KeyPath]]:
    if not isinstance(document.tree, list):
        raise document.error((), describe(document.tree), "a list of topics, each with id, weights, grade and reason")
    found: dict[str, tuple[Document, KeyPath]] = {}
    for position in range(len(document.tree)):
        model = validate(TopicModel, document, (position,), "a structural topic")
        if model.id in found or model.id == ALL:
            raise document.error((position, "id"), f"the topic {model.id}", "an id of its own")
        found[model.id] = (document, (position,))
    return found


def _topic(document: Document, key: KeyPath, parameters: ParameterSet, user_dir: str | Path | None) -> Topic:
    model = validate(TopicModel, document, key, "a structural topic")
    check_sources(document, (*key, "source"), model.source, parameters.sources)
    weights = document.get((*key, "weights"))
    place = (*key, "weights")
    if not isinstance(weights, dict) or BASE not in weights or len(weights) < 2:
        raise document.error(place, describe(weights), f"weights of {BASE} and of at least one alternative")
    for name, weight in weights.items():
        if not is_number(weight) or not 0.0 <= weight <= 1.0:
            found = describe(weight) if not is_number(weight) else f"{weight:g}"
            raise document.error((*place, name), found, f"{number_hint(weight)} from 0 to 1")
    if abs(sum(weights.values()) - 1.0) > _SUM_TOLERANCE:
        raise document.error(place, f"weights that add up to {sum(weights.values()):g}", "weights that add up to 1")
    alternatives = [Alternative(BASE, Label("base case", "基线"), None, float(weights[BASE]), FrozenMap({}))]
    files = [(document.file, document.sha256)]
    for name, weight in weights.items():
        if name != BASE:
            each, file = _alternative(name, float(weight), parameters, user_dir, (document, (*place, name)))
            alternatives.append(each)
            files.append(file)
    return Topic(
        model.id,
        Label(model.label.en, model.label.zh),
        tuple(alternatives),
        model.grade,
        tuple(model.source),
        model.reason,
        document.place(key),
        tuple(files),
    )


def _alternative(
    name: str,
    weight: float,
    parameters: ParameterSet,
    user_dir: str | Path | None,
    asked: tuple[Document, KeyPath] | None,
) -> tuple[Alternative, tuple[str, str]]:
    try:
        path = find_input("structure", name, user_dir)
    except InputError as error:
        if asked is None:
            raise
        raise at(asked[0].place(asked[1]), name, error) from None
    document = read_yaml(path, file_name(path))
    model = validate(StructureModel, document, (), "a structural alternative")
    numbers = document.get(("numbers",))
    if not isinstance(numbers, dict) or not numbers:
        raise document.error(("numbers",), describe(numbers), "a mapping of parameters to numbers")
    changed = parameters.override_from(document, ("numbers",))
    values = FrozenMap({parameter: changed[parameter].value for parameter in numbers})
    label = Label(model.label.en, model.label.zh)
    return Alternative(model.id, label, model.note, weight, values), (document.file, document.sha256)
