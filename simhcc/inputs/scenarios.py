"""Scenarios: the question, resolved into a population, strategies and the rules of the comparison."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from simhcc.errors import InputError
from simhcc.inputs.leaf import Label
from simhcc.inputs.locate import at, file_name, find_input, is_file, is_path, list_inputs
from simhcc.inputs.models import (
    DOTTED_PATTERN,
    SCENARIO_REQUIRED,
    ScenarioModel,
    StrategyEntryModel,
    SubgroupModel,
    is_number,
    number_hint,
    validate,
)
from simhcc.inputs.money import currency_code, money_of
from simhcc.inputs.parameters import ParameterSet, list_countries, load_parameters
from simhcc.inputs.reader import Document, FrozenMap, KeyPath, Place, describe, one_of, read_yaml
from simhcc.inputs.strategies import Condition, ParameterName, Strategy, load_strategy, read_when, with_options
from simhcc.inputs.structures import ALL, STRUCTURES, Topic, read_topics


@dataclass(frozen=True)
class Subgroup:
    """Patients of the population reported on their own: those who meet all conditions at baseline."""

    id: str
    label: Label
    when: tuple[Condition, ...]
    place: Place


@dataclass(frozen=True)
class Scenario:
    """A question, fully resolved.

    `population` is the file of the population; `wtp` holds numbers or names of parameters; `horizon_years` is None
    where params/ decide. `overrides` maps dotted names to numbers or keys of a parameter; `parameter_files` are the
    extra files of numbers. `files` lists every file that was read for it, with its SHA-256.
    """

    id: str
    label: Label
    question: str | None
    note: str | None
    setting: str
    population: Path
    strategies: tuple[Strategy, ...]
    comparator: str
    country: str
    perspective: str | None
    horizon_years: float | None
    patients: int
    iterations: int
    seed: int
    wtp: tuple[float | ParameterName, ...]
    subgroups: tuple[Subgroup, ...]
    overrides: Mapping[str, Any]
    parameter_files: tuple[Path, ...]
    extends: tuple[str, ...]
    place: Place
    files: tuple[tuple[str, str], ...]
    user_dir: Path
    structure: tuple[str, ...] | str = ()
    """topics of params/structures.yaml whose alternatives the draws mix, or "all" """
    _origin: Mapping[str, tuple[Document, KeyPath]] = field(
        repr=False, compare=False, default_factory=lambda: FrozenMap({})
    )

    def strategy(self, name: str) -> Strategy:
        """The strategy with an id; InputError with the nearest one where there is none."""
        for strategy in self.strategies:
            if strategy.id == name:
                return strategy
        ids = [strategy.id for strategy in self.strategies]
        raise InputError(f"no strategy {name!r} in the scenario {self.id}", one_of(ids, name), "strategies")

    def load_parameters(self) -> ParameterSet:
        """The numbers of this scenario: its country pack, extra files and overrides.

        Raises InputError where an override, a threshold of a strategy or a willingness to pay names no parameter, and for a
        willingness to pay in another currency than the country's.
        """
        found = load_parameters(self.country, self.parameter_files, user_dir=self.user_dir)
        for name in self.overrides:
            # One at a time: overrides of an extended scenario have their places in another file.
            document, path = self._origin[name]
            lines = _lines_below(document, path, ("overrides", name))
            change = Document(document.file, document.path, {"overrides": {name: self.overrides[name]}}, "", lines)
            found = found.override_from(change, ("overrides",))
        for strategy in self.strategies:
            for name, condition in strategy.parameters_named().items():
                self._check_name(found, name, condition.place, condition.attribute)
        if self.structure:
            found = found.with_structures(self._topics(found))
        for position, amount in enumerate(self.wtp):
            if isinstance(amount, ParameterName):
                document, path = self._origin["wtp"]
                place = document.place((*path, position))
                self._check_name(found, amount, place, f"wtp.{position}")
                money, currency = money_of(found[amount].unit), currency_code(found)
                if currency is not None and money != currency:
                    raise InputError(
                        f"{amount}, which is in {found[amount].unit}",
                        f"an amount in {currency}_per_qaly",
                        f"wtp.{position}",
                        place.file,
                        place.line,
                    )
        return found

    def _topics(self, parameters: ParameterSet) -> tuple[Topic, ...]:
        """The structural topics of this scenario; a number that it overrides may not be set by one."""
        document, path = self._origin["structure"]
        topics = read_topics(self.structure, parameters, self.user_dir, document.place(path))
        for topic in topics:
            for name in set(topic.names) & set(self.overrides):
                where, key = self._origin[name]
                raise where.error(
                    key,
                    f"{name}, which the structural topic {topic.id} sets",
                    "the one or the other: leave out the topic",
                )
        return topics

    def _check_name(self, parameters: ParameterSet, name: str, place: Place, key: str) -> None:
        """The name is that of a parameter of one number."""
        try:
            parameter = parameters.find(name)
        except InputError as error:
            raise InputError(error.found, error.expected, key, place.file, place.line) from None
        if parameter.is_vector:
            raise InputError(f"{name}, which is a vector", "a parameter of one number", key, place.file, place.line)


def load_scenario(id_or_path: str | Path, user_dir: str | Path | None = None) -> Scenario:
    """Read a scenario, its strategies and the scenarios it extends.

    Raises InputError for anything wrong in any of the files, before a single patient is simulated.
    """
    documents = _chain(str(id_or_path), user_dir)
    models = [validate(ScenarioModel, document, (), "a scenario") for document in documents]
    tree, origin = _overlay(documents)
    first = documents[0]
    for key in SCENARIO_REQUIRED:
        if key not in tree:
            raise first.error(
                (),
                f"no key {key!r}",
                f"{key}: it is required" + (" (here or in what it extends)" if len(models) > 1 else ""),
            )
    country = tree.get("country", "china")
    if country not in list_countries(user_dir):
        document, path = origin.get("country", (first, ()))
        raise document.error(path, f"no country called {country!r}", one_of(list_countries(user_dir), country))
    strategies = read_strategies(*origin["strategies"], user_dir)
    document, path = origin["comparator"]
    if tree["comparator"] not in [strategy.id for strategy in strategies]:
        ids = [strategy.id for strategy in strategies]
        raise document.error(
            path,
            f"the comparator {tree['comparator']!r}, which is not among the strategies",
            one_of(ids, tree["comparator"]),
        )
    document, path = origin["population"]
    try:
        population = find_input("population", tree["population"], user_dir, document.path.parent)
    except InputError as error:
        raise at(document.place(path), "population", error) from None
    label = tree["label"]
    return Scenario(
        id=tree["id"],
        label=Label(label.get("en"), label.get("zh")),
        question=tree.get("question"),
        note=tree.get("note"),
        setting=tree["setting"],
        population=population,
        strategies=strategies,
        comparator=tree["comparator"],
        country=country,
        perspective=tree.get("perspective"),
        horizon_years=float(tree["horizon_years"]) if "horizon_years" in tree else None,
        patients=tree["patients"],
        iterations=tree["iterations"],
        seed=tree["seed"],
        wtp=_wtp(*origin["wtp"]) if "wtp" in origin else (),
        subgroups=_subgroups(*origin["subgroups"]) if "subgroups" in origin else (),
        overrides=FrozenMap(tree.get("overrides", {})),
        parameter_files=_parameter_paths(*origin["parameters"]) if "parameters" in origin else (),
        extends=tuple(model.id for model in models[1:]),
        place=first.place(),
        files=_files_read(documents, strategies, population),
        # Kept, so that the numbers are the same wherever they are read, for example in a worker.
        user_dir=(Path.cwd() if user_dir is None else Path(user_dir)).resolve(),
        structure=_structure(*origin["structure"]) if "structure" in origin else (),
        _origin=FrozenMap(origin),
    )


def list_scenarios(user_dir: str | Path | None = None) -> dict[str, Path]:
    """Id -> file of every scenario; the user's own win."""
    return list_inputs("scenario", user_dir)


# ---------------------------------------------------------------------------------------------------------------------
# Overlay


def _chain(id_or_path: str, user_dir: str | Path | None) -> list[Document]:
    """The scenario file and those it extends, nearest first."""
    path = find_input("scenario", id_or_path, user_dir)
    by_id = not is_path(id_or_path)
    documents: list[Document] = []
    seen: dict[Path, str] = {}
    while True:
        document = read_yaml(path, file_name(path))
        model = validate(ScenarioModel, document, (), "a scenario")
        if by_id and model.id != path.stem:
            raise document.error(("id",), f"id {model.id} in a file called {path.name}", f"id: {path.stem}")
        documents.append(document)
        seen[path.resolve()] = model.id
        if model.extends is None:
            return documents
        try:
            path = find_input("scenario", model.extends, user_dir, path.parent)
        except InputError as error:
            raise at(document.place(("extends",)), "extends", error) from None
        by_id = not is_path(model.extends)
        if path.resolve() in seen:
            chain = " -> ".join([*seen.values(), seen[path.resolve()]])
            raise document.error(("extends",), f"a circle: {chain}", "a scenario that does not extend this one")


def _overlay(documents: list[Document]) -> tuple[dict[str, Any], dict[str, tuple[Document, KeyPath]]]:
    """The keys of all files, nearer ones winning, and where each came from; overrides are joined name by name."""
    tree: dict[str, Any] = {}
    origin: dict[str, tuple[Document, KeyPath]] = {}
    for document in reversed(documents):
        for key, value in document.tree.items():
            if key == "overrides":
                _check_overrides(document)
                tree[key] = {**tree.get(key, {}), **value}
                origin |= {name: (document, (key, name)) for name in value}
            else:
                tree[key] = value
                origin[key] = (document, (key,))
    return tree, origin


def _check_overrides(document: Document) -> None:
    overrides = document.get(("overrides",))
    if not isinstance(overrides, dict) or not overrides:
        raise document.error(("overrides",), describe(overrides), "a mapping of dotted names to numbers")
    for name in overrides:
        if not re.match(DOTTED_PATTERN, name) or "." not in name:
            raise document.error(("overrides", name), f"the name {name!r}", "the dotted name of a parameter")


def _lines_below(document: Document, path: KeyPath, to: KeyPath) -> dict[KeyPath, int]:
    size = len(path)
    return {(*to, *key[size:]): line for key, line in document.lines.items() if key[:size] == path}


# ---------------------------------------------------------------------------------------------------------------------
# Parts


def read_strategies(document: Document, path: KeyPath, user_dir: str | Path | None) -> tuple[Strategy, ...]:
    """The strategies listed at `path` of any file: ids, paths, or mappings with options. Claim files use it too."""
    entries = document.get(path)
    if not isinstance(entries, list) or not entries:
        raise document.error(path, describe(entries), "a list of strategies: ids, paths, or {id: ..., options: {...}}")
    strategies: list[Strategy] = []
    for position in range(len(entries)):
        here = (*path, position)
        strategy = _strategy(document, here, user_dir)
        if strategy.id in [other.id for other in strategies]:
            raise document.error(
                here, f"the strategy {strategy.id} twice", "each id once; `as: another_id` for a variant"
            )
        strategies.append(strategy)
    return tuple(strategies)


def _strategy(document: Document, path: KeyPath, user_dir: str | Path | None) -> Strategy:
    entry = document.get(path)
    if isinstance(entry, str):
        return _found_strategy(document, path, entry, user_dir)
    model = validate(StrategyEntryModel, document, path, "a strategy: an id, a path, or a mapping")
    strategy = _found_strategy(document, (*path, "id"), model.id, user_dir)
    if model.options:
        try:
            strategy = with_options(strategy, **model.options)
        except InputError as error:
            name = (error.key or "").removeprefix("options.")
            raise at(document.place((*path, "options", name)), error.key, error) from None
    if model.as_ is not None:
        strategy = replace(strategy, id=model.as_)
    if model.label is not None:
        strategy = replace(strategy, label=Label(model.label.en, model.label.zh))
    return strategy


def _found_strategy(document: Document, path: KeyPath, name: str, user_dir: str | Path | None) -> Strategy:
    try:
        return load_strategy(name, user_dir, document.path.parent)
    except InputError as error:
        raise at(document.place(path), document.error(path, "").key, error) from None


def _wtp(document: Document, path: KeyPath) -> tuple[float | ParameterName, ...]:
    entries = document.get(path)
    if not isinstance(entries, list) or not entries:
        raise document.error(path, describe(entries), "a list of numbers or names of parameters")
    amounts: list[float | ParameterName] = []
    for position, entry in enumerate(entries):
        here = (*path, position)
        if is_number(entry):
            if entry < 0:
                raise document.error(here, f"{entry:g}", "0 or more")
            amounts.append(float(entry))
        elif isinstance(entry, str) and re.match(DOTTED_PATTERN, entry) and "." in entry:
            amounts.append(ParameterName(entry))
        else:
            raise document.error(here, describe(entry), f"{number_hint(entry)}, or the dotted name of a parameter")
    return tuple(amounts)


def _subgroups(document: Document, path: KeyPath) -> tuple[Subgroup, ...]:
    entries = document.get(path)
    if not isinstance(entries, list):
        raise document.error(path, describe(entries), "a list of subgroups, each with id, label and when")
    subgroups: list[Subgroup] = []
    for position in range(len(entries)):
        here = (*path, position)
        model = validate(SubgroupModel, document, here, "a subgroup")
        if model.id in [other.id for other in subgroups]:
            raise document.error((*here, "id"), f"the subgroup {model.id} twice", "each id once")
        when = read_when(document, (*here, "when"))
        subgroups.append(Subgroup(model.id, Label(model.label.en, model.label.zh), when, document.place(here)))
    return tuple(subgroups)


def _structure(document: Document, path: KeyPath) -> tuple[str, ...] | str:
    entries = document.get(path)
    if entries == ALL:
        return ALL
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise document.error(path, describe(entries), f"{ALL}, or a list of topics of params/{STRUCTURES}")
    for position, entry in enumerate(entries):
        if entry in entries[:position]:
            raise document.error((*path, position), f"the topic {entry} twice", "each topic once")
    return tuple(entries)


def _parameter_paths(document: Document, path: KeyPath) -> tuple[Path, ...]:
    """Extra files of numbers, relative to the scenario file that names them."""
    paths = []
    for position, name in enumerate(document.get(path)):
        found = document.path.parent / name
        if not is_file(found):
            raise document.error(
                (*path, position), f"the path {name}, where there is no file", "a params file, relative to this one"
            )
        paths.append(found)
    return tuple(paths)


def _files_read(
    documents: list[Document], strategies: tuple[Strategy, ...], population: Path
) -> tuple[tuple[str, str], ...]:
    read = {document.file: document.sha256 for document in documents}
    for strategy in strategies:
        for rows in strategy._templates.values():
            read |= {document.file: document.sha256 for document, _ in rows}
    found = read_yaml(population, file_name(population))
    read[found.file] = found.sha256
    return tuple(sorted(read.items()))
