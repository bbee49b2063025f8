"""Parameters: every number of the model with its unit, uncertainty, source and grade.

`load_parameters` reads the packaged numbers, one country pack, the user's own `params/` folder, extra files and
overrides, in this order; a later layer replaces by name. `ParameterSet.sample` draws the uncertain ones by address.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhcc import distributions as dist
from simhcc.errors import InputError
from simhcc.inputs.locate import (
    ID,
    ID_WORDS,
    file_name,
    packaged_folder,
    user_folder,
    yaml_files,
)
from simhcc.inputs.models import (
    DISTRIBUTIONS,
    FORMS,
    NAME_PATTERN,
    CorrelationModel,
    LeafModel,
    Model,
    PartialLeafModel,
    SourceModel,
    Text,
    Texts,
    Whole,
    forms_words,
    is_number,
    validate,
)
from simhcc.inputs.reader import Document, KeyPath, Place, describe, dotted, nearest, one_of, read_yaml
from simhcc.inputs.units import UNITS

Floats = NDArray[np.float64]
Value = float | tuple[float, ...]

# Folders and files of params/ that do not hold parameters.
_OTHER_FOLDERS = ("trials", "populations", "countries", "posterior")
_SOURCES, _CORRELATIONS = "sources.yaml", "correlations.yaml"

# A distribution may pass the limits of its unit with this probability; the draws are cut there.
_MASS_OUTSIDE = 1e-3

# The address of a draw has 12 bits for the position in a vector.
_MAX_VECTOR = 4096


@dataclass(frozen=True)
class Label:
    """A name for people, in English, Chinese or both."""

    en: str | None = None
    zh: str | None = None

    def text(self, language: str = "en") -> str:
        """The label in a language ("en" or "zh"), or in the other one where it is missing."""
        return (self.zh or self.en or "") if language == "zh" else (self.en or self.zh or "")


@dataclass(frozen=True)
class Source:
    """Where numbers come from: a publication or another public document."""

    id: str
    citation: str
    doi: str | None = None
    pmid: str | None = None
    year: int | None = None
    dossier: str | None = None
    seen: str | bool | None = None
    url: str | None = None
    note: str | None = None
    place: Place | None = None


@dataclass(frozen=True)
class Uncertainty:
    """What a parameter is drawn from.

    `kind` and `given` are as written in the file; `marginals` holds one distribution per element of the value, or
    `concentration` the Dirichlet concentrations (0 where a share is fixed at 0).
    """

    kind: str
    given: Mapping[str, Any]
    marginals: tuple[dist.Distribution, ...] = ()
    concentration: tuple[float, ...] = ()

    def intervals(self) -> tuple[tuple[float, float], ...]:
        """The central 95 % interval of each element."""
        marginals = self.marginals
        if self.concentration:
            total = sum(self.concentration)
            pairs = [(a, total - a) for a in self.concentration]
            return tuple(dist.central_interval(dist.Beta(a, b)) if a > 0.0 else (0.0, 0.0) for a, b in pairs)
        return tuple(dist.central_interval(marginal) for marginal in marginals)


@dataclass(frozen=True)
class Parameter:
    """One number, or one vector of numbers, of the model.

    `uncertainty` is None where the number is not varied. `replaces` is the place of the value that this one overrides.
    """

    name: str
    value: Value
    unit: str
    grade: str
    place: Place
    uncertainty: Uncertainty | None = None
    source: tuple[str, ...] = ()
    formula: str | None = None
    reason: str | None = None
    run: str | None = None
    recalled: bool = False
    note: str | None = None
    label: Label | None = None
    replaces: Place | None = None

    @property
    def is_vector(self) -> bool:
        """Whether the value is a list of numbers."""
        return isinstance(self.value, tuple)

    def base(self) -> float | Floats:
        """The value as a float, or as an array for a vector."""
        return np.array(self.value) if isinstance(self.value, tuple) else self.value

    def leaf(self) -> dict[str, Any]:
        """The parameter as it would be written in a params file."""
        leaf: dict[str, Any] = {
            "value": list(self.value) if isinstance(self.value, tuple) else self.value,
            "unit": self.unit,
        }
        if self.uncertainty is not None:
            leaf["distribution"] = {self.uncertainty.kind: dict(self.uncertainty.given)}
        if self.source:
            leaf["source"] = list(self.source)
        leaf["grade"] = self.grade
        for key in ("formula", "reason", "run", "note"):
            if getattr(self, key) is not None:
                leaf[key] = getattr(self, key)
        if self.recalled:
            leaf["recalled"] = True
        if self.label is not None:
            leaf["label"] = {key: text for key, text in (("en", self.label.en), ("zh", self.label.zh)) if text}
        return leaf


@dataclass(frozen=True)
class CorrelationGroup:
    """Parameters drawn together: `root` is the lower Cholesky factor of the correlation of their normal scores."""

    parameters: tuple[str, ...]
    matrix: tuple[tuple[float, ...], ...]
    place: Place
    root: Floats = field(repr=False, compare=False)


@dataclass(frozen=True)
class Posterior:
    """Joint draws of some parameters: `draws` has one row per draw and one column per name."""

    id: str
    parameters: tuple[str, ...]
    draws: Floats = field(repr=False, compare=False)
    sha256: str
    manifest: Mapping[str, Any]
    place: Place

    def rows(self, n: int, seed: int, first_iteration: int) -> NDArray[np.intp]:
        """The row of each iteration: a permutation of all rows, then another one, and so on.

        Which row an iteration takes depends on (seed, iteration, id, number of rows) only.
        """
        count = len(self.draws)
        iterations = np.arange(first_iteration, first_iteration + n)
        rows = np.empty(n, dtype=np.intp)
        for cycle in np.unique(iterations // count):
            u = _uniforms(seed, np.arange(count), f"posterior/{self.id}", entry=int(cycle) % _MAX_VECTOR)
            order = np.argsort(u, kind="stable")
            mine = iterations // count == cycle
            rows[mine] = order[iterations[mine] % count]
        return rows


class ParameterSet(Mapping[str, Parameter]):
    """All numbers of a run, frozen: dotted name -> `Parameter`, in alphabetical order."""

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        sources: Mapping[str, Source] = MappingProxyType({}),
        correlations: Sequence[CorrelationGroup] = (),
        posteriors: Sequence[Posterior] = (),
        country: str = "",
    ) -> None:
        self._parameters = dict(sorted(parameters.items()))
        self.sources: Mapping[str, Source] = MappingProxyType(dict(sorted(sources.items())))
        self.correlations = tuple(correlations)
        self.posteriors = tuple(posteriors)
        self.country = country
        self._posterior_of = {
            name: (posterior, column)
            for posterior in self.posteriors
            for column, name in enumerate(posterior.parameters)
            # A number set by hand is not drawn, whatever the posterior says.
            if not _set_by_hand(self._parameters[name])
        }

    def __getitem__(self, name: str) -> Parameter:
        return self._parameters[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)

    def __repr__(self) -> str:
        return (
            f"ParameterSet({len(self)} parameters, {len(self.uncertain())} uncertain, country {self.country or 'none'})"
        )

    def find(self, name: str) -> Parameter:
        """The parameter called `name`; InputError with the nearest name where there is none."""
        if name in self._parameters:
            return self._parameters[name]
        near = nearest(name, self._parameters)
        inside = [other for other in self._parameters if other.startswith(name + ".")]
        if inside:
            expected = f"one of {', '.join(inside[:12])}{', ...' if len(inside) > 12 else ''}"
        else:
            expected = f"the name of a parameter{f', for example {near}' if near else ''}"
        raise InputError(f"no parameter called {name!r}", expected, key=name)

    def base_values(self) -> dict[str, float | Floats]:
        """Name -> value: a float, or an array of shape (k,) for a vector."""
        return {name: parameter.base() for name, parameter in self._parameters.items()}

    def uncertain(self) -> tuple[str, ...]:
        """Names of the parameters that `sample` varies."""
        return tuple(
            name
            for name, parameter in self._parameters.items()
            if parameter.uncertainty is not None or name in self._posterior_of
        )

    def sample(self, n: int, seed: int, first_iteration: int = 0) -> dict[str, Floats]:
        """Draws of all parameters for iterations `first_iteration` to `first_iteration + n - 1`.

        Arrays of shape (n,), or (n, k) for a vector; parameters that are not varied repeat their value (read-only
        views without memory). A draw is a function of (seed, iteration, name): more iterations, or another parameter,
        leave it as it is.
        """
        if n < 1:
            raise InputError(f"{n} iterations", "at least 1", key="iterations")
        if first_iteration < 0:
            raise InputError(f"first iteration {first_iteration}", "0 or more", key="first_iteration")
        iterations = np.arange(first_iteration, first_iteration + n)
        joint = self._joint_uniforms(seed, iterations)
        rows = {posterior.id: posterior.rows(n, seed, first_iteration) for posterior in self.posteriors}
        draws: dict[str, Floats] = {}
        for name, parameter in self._parameters.items():
            if name in self._posterior_of:
                posterior, column = self._posterior_of[name]
                draws[name] = posterior.draws[rows[posterior.id], column]
            elif parameter.uncertainty is None:
                value = np.asarray(parameter.value, float)
                draws[name] = np.broadcast_to(value, (n, *value.shape))
            else:
                draws[name] = _draw(parameter, parameter.uncertainty, seed, iterations, joint.get(name))
        return draws

    def _joint_uniforms(self, seed: int, iterations: NDArray[np.intp]) -> dict[str, Floats]:
        """Uniforms of the parameters that belong to a correlated group."""
        joint: dict[str, Floats] = {}
        for group in self.correlations:
            own = np.column_stack([_uniforms(seed, iterations, _purpose(name)) for name in group.parameters])
            u = dist.copula_uniforms(own, group.root)
            joint |= {name: u[:, column] for column, name in enumerate(group.parameters)}
        return joint

    def override(self, changes: Mapping[str, Any], where: str = "the caller") -> ParameterSet:
        """A new set in which some parameters are replaced.

        `changes` maps names to a number (list of numbers for a vector), which fixes the parameter, or to a mapping with
        some of the keys of a parameter. `where` says who set them, for the record. InputError for an unknown name, a
        wrong length, a value outside its unit.
        """
        document = Document(where, Path(), {"overrides": dict(changes)}, "", {})
        return self._overridden(document, ("overrides",))

    def _overridden(self, document: Document, path: KeyPath) -> ParameterSet:
        parameters = dict(self._parameters)
        for name in document.get(path):
            key = (*path, name)
            if name not in parameters:
                near = nearest(name, parameters)
                raise document.error(
                    key, f"no parameter called {name!r}", f"{near}?" if near else "the name of a parameter"
                )
            parameters[name] = _replaced(parameters[name], document, key, self.sources)
        return ParameterSet(parameters, self.sources, self.correlations, self.posteriors, self.country)

    def fingerprint(self) -> str:
        """SHA-256 of all that can change a result: names, values, units, distributions, dependence, posteriors."""
        numbers = {
            name: [p.value, p.unit, [p.uncertainty.kind, dict(p.uncertainty.given)] if p.uncertainty else None]
            for name, p in self._parameters.items()
        }
        groups = [[group.parameters, group.matrix] for group in self.correlations]
        posteriors = [[posterior.id, posterior.sha256] for posterior in self.posteriors]
        text = json.dumps([numbers, groups, posteriors], sort_keys=True, ensure_ascii=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def tree(self) -> dict[str, Any]:
        """The set as the nested mapping of one params file: reading it again gives the same numbers."""
        tree: dict[str, Any] = {}
        for name, parameter in self._parameters.items():
            *folders, last = name.split(".")
            node = tree
            for part in folders:
                node = node.setdefault(part, {})
            node[last] = parameter.leaf()
        return tree


def load_parameters(
    country: str = "china",
    extra_files: Sequence[str | Path] = (),
    overrides: Mapping[str, Any] | None = None,
    user_dir: str | Path | None = None,
) -> ParameterSet:
    """Read all parameters for a country.

    Layers, later ones winning name by name: packaged `params/` with the country pack; the user's `params/` under
    `user_dir` (default: the working folder); `extra_files`; `overrides` (see `ParameterSet.override`). Inside a layer a
    name defined twice is refused. In a user's or extra file a name that is not packaged must say `new: true`.
    Raises InputError with file, line and key for anything wrong.
    """
    countries = _countries(user_dir)
    if country not in countries:
        raise InputError(f"no country called {country!r}", one_of(countries, country), key="country")
    packaged, own = packaged_folder("params"), user_folder("params", user_dir)
    sources = _read_sources(packaged)
    if own is not None:
        sources |= _read_sources(own)
    parameters = _read_layer(_parameter_files(packaged, country), sources, None)
    if own is not None:
        parameters |= _read_layer(_parameter_files(own, country), sources, parameters)
    if extra_files:
        parameters |= _read_layer([Path(path) for path in extra_files], sources, parameters)
    _refuse_nested(parameters)
    _refuse_shared_addresses(parameters)
    groups = _read_correlations(packaged, own, parameters)
    posteriors = _read_posteriors(packaged, own, parameters)
    _refuse_two_dependences(groups, posteriors)
    found = ParameterSet(parameters, sources, groups, posteriors, country)
    return found.override(overrides) if overrides else found


def read_parameter_file(path: str | Path, sources: Mapping[str, Source]) -> dict[str, Parameter]:
    """The parameters of one file by dotted name, checked on their own."""
    return _read_layer([Path(path)], sources, None)


def list_countries(user_dir: str | Path | None = None) -> tuple[str, ...]:
    """Ids of the country packs."""
    return tuple(_countries(user_dir))


def country_differences(first: str, second: str, user_dir: str | Path | None = None) -> tuple[list[str], list[str]]:
    """Names that only the first pack defines, and names that only the second defines; both empty in good packs."""
    sets = [
        set(_read_layer(_country_files(name, user_dir), _read_sources(packaged_folder("params")), None))
        for name in (first, second)
    ]
    return sorted(sets[0] - sets[1]), sorted(sets[1] - sets[0])


# ---------------------------------------------------------------------------------------------------------------------
# Files


def _countries(user_dir: str | Path | None) -> list[str]:
    roots = [packaged_folder("params"), user_folder("params", user_dir)]
    folders = [root / "countries" for root in roots if root is not None]
    return sorted({path.name for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_dir()})


def _country_files(country: str, user_dir: str | Path | None) -> list[Path]:
    roots = [packaged_folder("params"), user_folder("params", user_dir)]
    folders = [root / "countries" / country for root in roots if root is not None]
    return [path for folder in folders if folder.is_dir() for path in yaml_files(folder)]


def _parameter_files(root: Path, country: str) -> list[Path]:
    """The parameter files of a params folder with one country pack, in a fixed order."""
    files = []
    for path in yaml_files(root):
        parts = path.relative_to(root).parts
        if parts[0] in _OTHER_FOLDERS and len(parts) > 1:
            if parts[0] == "countries" and len(parts) > 2 and parts[1] == country:
                files.append(path)
        elif parts not in ((_SOURCES,), (_CORRELATIONS,)):
            files.append(path)
    return files


def _read_layer(
    files: Sequence[Path], sources: Mapping[str, Source], below: Mapping[str, Parameter] | None
) -> dict[str, Parameter]:
    """The parameters of one layer; `below` holds those it may replace (None for the lowest layer)."""
    layer: dict[str, Parameter] = {}
    for path in files:
        document = read_yaml(path, file_name(path))
        for key in _leaf_paths(document):
            name = dotted(key)
            if name in layer:
                raise document.error(key, f"{name}, already defined at {layer[name].place}", "each name once")
            layer[name] = _read_leaf(document, key, sources, below)
    return layer


def _leaf_paths(document: Document) -> Iterator[KeyPath]:
    """Key paths of the leaves of a params file, in the order of the file."""
    if not isinstance(document.tree, dict):
        raise document.error((), describe(document.tree), "a mapping of names to parameters")
    yield from _leaves_below(document, (), document.tree)


def _leaves_below(document: Document, path: KeyPath, node: dict[str, Any]) -> Iterator[KeyPath]:
    for key, child in node.items():
        here = (*path, key)
        if not re.match(NAME_PATTERN, key):
            raise document.error(here, f"the name {key!r}", "a letter, then letters, digits or _")
        if not isinstance(child, dict):
            if key in LeafModel.model_fields and path:
                raise document.error(
                    path, f"{key} without value", "the key value (a parameter), or only mappings (a group)"
                )
            raise document.error(here, describe(child), "a parameter: a mapping with value, unit, grade, source")
        if not child:
            raise document.error(here, "an empty mapping", "a parameter, or a group of parameters")
        if "value" in child:
            yield here
        else:
            yield from _leaves_below(document, here, child)


def _read_leaf(
    document: Document, key: KeyPath, sources: Mapping[str, Source], below: Mapping[str, Parameter] | None
) -> Parameter:
    leaf = validate(LeafModel, document, key, "a parameter")
    name = dotted(key)
    replaced = None
    if below is None:
        if leaf.new:
            raise document.error(
                (*key, "new"), "new: true in a packaged file", "no such key: it marks a user's own names"
            )
    elif name not in below and not leaf.new:
        near = nearest(name, below)
        raise document.error(
            key, f"{name}, which replaces nothing", f"{f'{near}, or ' if near else ''}new: true for a name of your own"
        )
    elif name in below:
        replaced = below[name]
        if leaf.new:
            raise document.error(
                (*key, "new"), f"new: true for {name}, which is packaged ({replaced.place})", "no such key"
            )
        _refuse_other_shape(document, key, leaf.unit, leaf.value, replaced)
    _check_grade(document, key, leaf, sources)
    value: Value = tuple(leaf.value) if isinstance(leaf.value, list) else leaf.value
    _check_limits(document, (*key, "value"), value, leaf.unit)
    return Parameter(
        name,
        value,
        leaf.unit,
        leaf.grade,
        document.place(key),
        _read_uncertainty(document, (*key, "distribution"), leaf.distribution, value, leaf.unit),
        tuple(leaf.source),
        leaf.formula,
        leaf.reason,
        leaf.run,
        leaf.recalled,
        leaf.note,
        Label(leaf.label.en, leaf.label.zh) if leaf.label else None,
        replaced.place if replaced else None,
    )


def _check_grade(document: Document, key: KeyPath, leaf: LeafModel, sources: Mapping[str, Source]) -> None:
    needs = {"published": "source", "derived": "formula", "calibrated": "run", "assumed": "reason"}[leaf.grade]
    if not getattr(leaf, needs):
        raise document.error(
            (*key, "grade"), f"grade {leaf.grade} without {needs}", f"{needs}: required for grade {leaf.grade}"
        )
    _check_sources(document, (*key, "source"), leaf.source, sources)


def _check_sources(document: Document, key: KeyPath, names: Sequence[str], sources: Mapping[str, Source]) -> None:
    for position, name in enumerate(names):
        if name not in sources:
            near = nearest(name, sources)
            raise document.error(
                (*key, position),
                f"the source {name!r}, which is not in params/sources.yaml",
                f"{near}?" if near else "an id listed in params/sources.yaml",
            )


def _check_limits(document: Document, key: KeyPath, value: Value, unit: str) -> None:
    low, high = UNITS[unit].low, UNITS[unit].high
    for number in value if isinstance(value, tuple) else (value,):
        if not low <= number <= high:
            raise document.error(key, f"{number:g}", f"{unit}: {_range_words(low, high)} ({UNITS[unit].meaning})")
    if isinstance(value, tuple) and len(value) > _MAX_VECTOR:
        raise document.error(key, f"a vector of {len(value)}", f"at most {_MAX_VECTOR} numbers")


def _range_words(low: float, high: float) -> str:
    if math.isinf(high):
        return f"{low:g} or more"
    return f"{low:g} to {high:g}"


def _refuse_other_shape(document: Document, key: KeyPath, unit: str, value: Any, replaced: Parameter) -> None:
    if unit != replaced.unit:
        raise document.error((*key, "unit"), f"unit {unit}", f"{replaced.unit}, as at {replaced.place}")
    mine = len(value) if isinstance(value, list | tuple) else None
    theirs = len(replaced.value) if isinstance(replaced.value, tuple) else None
    if mine != theirs:
        words: dict[int | None, str] = {None: "one number"}
        raise document.error(
            (*key, "value"),
            words.get(mine, f"a vector of {mine}"),
            f"{words.get(theirs, f'a vector of {theirs}')}, as at {replaced.place}",
        )


def _refuse_nested(parameters: Mapping[str, Parameter]) -> None:
    for name, parameter in parameters.items():
        parts = name.split(".")
        for length in range(1, len(parts)):
            group = ".".join(parts[:length])
            if group in parameters:
                raise InputError(
                    f"{name} inside {group}, which is a parameter itself ({parameters[group].place})",
                    "a name that is either a parameter or a group",
                    name,
                    parameter.place.file,
                    parameter.place.line,
                )


def _refuse_shared_addresses(parameters: Mapping[str, Parameter]) -> None:
    """The address of a draw holds 32 bits of the name; two names that share them would be drawn alike."""
    seen: dict[bytes, str] = {}
    for name, parameter in parameters.items():
        code = hashlib.blake2s(_purpose(name).encode()).digest()[:4]
        other = seen.setdefault(code, name)
        if other != name:
            raise InputError(
                f"{name}, whose random address is that of {other}",
                "another name",
                name,
                parameter.place.file,
                parameter.place.line,
            )


# ---------------------------------------------------------------------------------------------------------------------
# Overrides


def _set_by_hand(parameter: Parameter) -> bool:
    return parameter.replaces is not None


def _replaced(parameter: Parameter, document: Document, key: KeyPath, sources: Mapping[str, Source]) -> Parameter:
    """`parameter` with the keys that an override names; a new value without a distribution is fixed."""
    entry = document.get(key)
    reason = f"set by {document.file}"
    if isinstance(entry, dict):
        leaf = validate(PartialLeafModel, document, key, "a number or a parameter")
        if not leaf.model_fields_set:
            raise document.error(key, "an empty mapping", "a number, or some keys of a parameter")
    elif is_number(entry) or (isinstance(entry, list) and entry and all(is_number(item) for item in entry)):
        leaf = PartialLeafModel(value=entry)
    else:
        raise document.error(key, describe(entry), "a number, or a mapping with some keys of a parameter")
    value: Value = parameter.value
    if leaf.value is not None:
        value = tuple(leaf.value) if isinstance(leaf.value, list) else leaf.value
    at_value = (*key, "value") if isinstance(entry, dict) else key
    _refuse_other_shape(document, key, leaf.unit or parameter.unit, value, parameter)
    _check_limits(document, at_value, value, parameter.unit)
    _check_sources(document, (*key, "source"), leaf.source or [], sources)
    uncertainty = None if leaf.value is not None else parameter.uncertainty
    if leaf.distribution is not None:
        uncertainty = _read_uncertainty(document, (*key, "distribution"), leaf.distribution, value, parameter.unit)
    changed = replace(
        parameter,
        value=value,
        uncertainty=uncertainty,
        place=document.place(key),
        replaces=parameter.place,
        recalled=parameter.recalled if leaf.recalled is None else leaf.recalled,
        note=leaf.note or parameter.note,
        label=Label(leaf.label.en, leaf.label.zh) if leaf.label else parameter.label,
    )
    if leaf.value is None and leaf.distribution is None and leaf.grade is None:
        return changed
    # The number no longer comes from where it came from, unless the override says so.
    return replace(
        changed,
        grade=leaf.grade or "assumed",
        source=tuple(leaf.source or ()),
        formula=leaf.formula,
        reason=leaf.reason or (reason if (leaf.grade or "assumed") == "assumed" else None),
        run=leaf.run,
    )


# ---------------------------------------------------------------------------------------------------------------------
# Distributions


def _read_uncertainty(document: Document, key: KeyPath, given: Any, value: Value, unit: str) -> Uncertainty | None:
    """The distribution of a leaf, solved; None for a fixed parameter."""
    if given is None or given == "fixed":
        return None
    kind = next(iter(given))
    inside = (*key, kind)
    arguments = _distribution_arguments(document, inside, kind)
    try:
        if kind == "dirichlet":
            uncertainty = _dirichlet(value, arguments)
        else:
            elements = value if isinstance(value, tuple) else (value,)
            marginals = [
                _marginal(
                    kind, element, _arguments_of(arguments, position, len(elements), isinstance(value, tuple)), unit
                )
                for position, element in enumerate(elements)
            ]
            uncertainty = Uncertainty(kind, MappingProxyType(arguments), tuple(marginals))
    except ValueError as reason:
        raise document.error(
            _blamed(document, inside, arguments),
            str(reason),
            f"one of {forms_words(DISTRIBUTIONS[kind])}, or another distribution",
        ) from None
    return uncertainty


def _blamed(document: Document, inside: KeyPath, arguments: Mapping[str, Any]) -> KeyPath:
    """The single argument of a distribution when there is one, else the distribution."""
    return (*inside, next(iter(arguments))) if len(arguments) == 1 else inside


def _distribution_arguments(document: Document, key: KeyPath, kind: str) -> dict[str, Any]:
    model = DISTRIBUTIONS[kind]
    validate(model, document, key, f"the arguments of {kind}")
    arguments: dict[str, Any] = document.get(key)
    if not any(set(form) == set(arguments) for form in FORMS[model]):
        found = ", ".join(arguments) or "no arguments"
        raise document.error(key, f"{kind} with {found}", f"one of {forms_words(model)}")
    return arguments


def _arguments_of(arguments: Mapping[str, Any], position: int, size: int, vector: bool) -> dict[str, Any]:
    """The arguments of one element: lists are read by position, single numbers hold for all elements."""
    mine = {}
    for name, given in arguments.items():
        per_element = isinstance(given, list) and (name != "ci95" or isinstance(given[0], list))
        if per_element and not vector:
            raise ValueError(f"a list for {name}, but one number as value")
        if per_element and len(given) != size:
            raise ValueError(f"{len(given)} entries in {name}, but {size} in value")
        mine[name] = given[position] if per_element else given
    return mine


def _marginal(kind: str, value: float, a: dict[str, Any], unit: str) -> dist.Distribution:
    """The distribution of one element, inside the limits of its unit. ValueError says what is wrong."""
    if "mean" in a and kind != "lognormal" and not math.isclose(a["mean"], value, rel_tol=0.01, abs_tol=1e-12):
        raise ValueError(f"mean {a['mean']:g} beside value {value:g}; they are the same thing")
    if kind == "lognormal" and "mean" in a and not math.isclose(a["mean"], value, rel_tol=0.01):
        raise ValueError(f"mean {a['mean']:g} beside value {value:g}; with mean and sd the value is the mean")
    made = _make(kind, value, a)
    start, stop = dist.central_interval(made, 0.95) if kind not in ("uniform", "triangular") else (made.low, made.high)
    if not start <= value <= stop:
        raise ValueError(f"value {value:g} outside the central 95 % of its distribution, {start:.4g} to {stop:.4g}")
    low, high = UNITS[unit].low, UNITS[unit].high
    outside = dist.mass_outside(made, low, high)
    if outside > _MASS_OUTSIDE:
        raise ValueError(f"{outside:.1%} of the draws outside {_range_words(low, high)}, the range of unit {unit}")
    return dist.Limited(made, low, high) if outside > 0.0 else made


def _make(kind: str, value: float, a: dict[str, Any]) -> dist.Distribution:
    if kind == "beta":
        if "alpha" in a:
            return dist.Beta(a["alpha"], a["beta"])
        return dist.beta_from_ci95(value, *a["ci95"]) if "ci95" in a else dist.beta_from_mean_sd(value, a["sd"])
    if kind == "gamma":
        if "shape" in a:
            return dist.Gamma(a["shape"], a["rate"])
        return dist.gamma_from_ci95(value, *a["ci95"]) if "ci95" in a else dist.gamma_from_mean_sd(value, a["sd"])
    if kind == "lognormal":
        if "ci95" in a:
            return dist.lognormal_from_ci95(value, *a["ci95"])
        if "mean" in a:
            return dist.lognormal_from_mean_sd(a["mean"], a["sd"])
        if "meanlog" not in a and value <= 0.0:
            raise ValueError(f"value {value:g}; that of a lognormal distribution is above 0")
        return dist.LogNormal(a["meanlog"] if "meanlog" in a else math.log(value), a["sdlog"])
    if kind == "normal":
        return dist.normal_from_ci95(value, *a["ci95"]) if "ci95" in a else dist.Normal(value, a["sd"])
    if kind == "uniform":
        return dist.Uniform(a["low"], a["high"])
    if kind == "triangular":
        return dist.Triangular(a["low"], a.get("mode", value), a["high"])
    return dist.TruncatedNormal(value, a["sd"], a["low"], a["high"])


def _dirichlet(value: Value, arguments: dict[str, Any]) -> Uncertainty:
    if not isinstance(value, tuple):
        raise ValueError("a Dirichlet distribution of one number; the value must be a list of shares")
    if len(value) < 2:
        raise ValueError("a Dirichlet distribution of length one")
    if abs(sum(value) - 1.0) > 1e-6:
        raise ValueError(f"shares that add up to {sum(value):g}; those of a Dirichlet distribution add up to 1")
    if "n" in arguments:
        if not arguments["n"] > 0:
            raise ValueError(f"n {arguments['n']:g}; it must be above 0")
        concentration = tuple(arguments["n"] * share for share in value)
    else:
        given = arguments["concentration"]
        if not isinstance(given, list) or len(given) != len(value):
            raise ValueError(
                f"concentration for {len(given) if isinstance(given, list) else 1} shares, but {len(value)} in value"
            )
        concentration = tuple(float(a) for a in given)
        if min(concentration) < 0.0 or sum(concentration) <= 0.0:
            raise ValueError("a concentration below 0")
        total = sum(concentration)
        for share, a in zip(value, concentration, strict=True):
            if abs(a / total - share) > 0.01:
                raise ValueError(f"concentration {a:g} of {total:g} beside share {share:g}; they must agree")
    if sum(a > 0.0 for a in concentration) < 2:
        raise ValueError("a Dirichlet distribution with fewer than two shares above 0")
    return Uncertainty("dirichlet", MappingProxyType(arguments), (), concentration)


# ---------------------------------------------------------------------------------------------------------------------
# Draws


def _purpose(name: str) -> str:
    """The name under which the draws of a parameter are addressed."""
    return f"parameter/{name}"


def _uniforms(seed: int, iterations: NDArray[np.intp], purpose: str, entry: int = 0) -> Floats:
    """Addressed uniforms of some iterations: iterations take the place of patients, luck is 0."""
    from simhcc.engine.rng import uniforms

    return np.asarray(uniforms(seed, 0, iterations, purpose, entry=entry), float)


def _draw(
    parameter: Parameter, uncertainty: Uncertainty, seed: int, iterations: NDArray[np.intp], joint: Floats | None
) -> Floats:
    purpose = _purpose(parameter.name)
    if not isinstance(parameter.value, tuple):
        u = joint if joint is not None else _uniforms(seed, iterations, purpose)
        return np.asarray(uncertainty.marginals[0].ppf(u), float)
    size = len(parameter.value)
    if uncertainty.concentration:
        positive = [position for position in range(size) if uncertainty.concentration[position] > 0.0]
        u = np.column_stack([_uniforms(seed, iterations, purpose, entry) for entry in positive])
        draws = np.zeros((len(iterations), size))
        draws[:, positive] = dist.dirichlet_draws([uncertainty.concentration[p] for p in positive], u)
        return draws
    columns = [uncertainty.marginals[entry].ppf(_uniforms(seed, iterations, purpose, entry)) for entry in range(size)]
    return np.column_stack(columns).astype(float)


# ---------------------------------------------------------------------------------------------------------------------
# Sources, correlations, posteriors


def _read_sources(root: Path) -> dict[str, Source]:
    path = root / _SOURCES
    if not path.is_file():
        return {}
    document = read_yaml(path, file_name(path))
    if not isinstance(document.tree, dict):
        raise document.error((), describe(document.tree), "a mapping of source ids to citations")
    sources = {}
    for name in document.tree:
        if not ID.match(name):
            raise document.error((name,), f"the source id {name!r}", ID_WORDS)
        source = validate(SourceModel, document, (name,), "a source")
        pmid = None if source.pmid is None else str(source.pmid)
        sources[name] = Source(
            name,
            source.citation,
            source.doi,
            pmid,
            source.year,
            source.dossier,
            source.seen,
            source.url,
            source.note,
            document.place((name,)),
        )
    return sources


def _read_correlations(packaged: Path, own: Path | None, parameters: Mapping[str, Parameter]) -> list[CorrelationGroup]:
    """The correlated groups; a user's correlations.yaml takes the place of the packaged one."""
    paths = [root / _CORRELATIONS for root in (own, packaged) if root is not None and (root / _CORRELATIONS).is_file()]
    if not paths:
        return []
    document = read_yaml(paths[0], file_name(paths[0]))
    if not isinstance(document.tree, list):
        raise document.error((), describe(document.tree), "a list of groups, each with parameters and matrix")
    groups: list[CorrelationGroup] = []
    taken: dict[str, Place] = {}
    for position in range(len(document.tree)):
        group = _read_group(document, (position,), parameters)
        for number, name in enumerate(group.parameters):
            if name in taken:
                raise document.error(
                    (position, "parameters", number),
                    f"{name}, already in the group at {taken[name]}",
                    "each parameter in one group",
                )
            taken[name] = group.place
        groups.append(group)
    return groups


def _read_group(document: Document, key: KeyPath, parameters: Mapping[str, Parameter]) -> CorrelationGroup:
    model = validate(CorrelationModel, document, key, "a correlated group")
    for position, name in enumerate(model.parameters):
        here = (*key, "parameters", position)
        if name not in parameters:
            near = nearest(name, parameters)
            raise document.error(
                here, f"no parameter called {name!r}", f"{near}?" if near else "the name of a parameter"
            )
        if parameters[name].is_vector:
            raise document.error(here, f"{name}, which is a vector", "parameters of one number")
        if parameters[name].uncertainty is None:
            raise document.error(here, f"{name}, which has no distribution", "parameters that are varied")
    if len(model.matrix) != len(model.parameters) or any(len(row) != len(model.parameters) for row in model.matrix):
        raise document.error(
            (*key, "matrix"),
            f"a matrix of {len(model.matrix)} rows for {len(model.parameters)} parameters",
            "a square matrix with a row for each parameter",
        )
    try:
        root = dist.correlation_root(model.matrix)
    except ValueError as reason:
        raise document.error((*key, "matrix"), str(reason), "a positive definite correlation matrix") from None
    return CorrelationGroup(
        tuple(model.parameters), tuple(tuple(row) for row in model.matrix), document.place(key), root
    )


class PosteriorModel(Model):
    """The manifest of a posterior file."""

    parameters: Texts
    draws: Whole
    sha256: Text
    run: Text
    seed: Whole | None = None
    version: Text | None = None
    targets: Any = None
    fit: Any = None
    note: Text | None = None


def _read_posteriors(packaged: Path, own: Path | None, parameters: Mapping[str, Parameter]) -> list[Posterior]:
    """The posterior files; a user's file takes the place of the packaged one of the same name."""
    manifests: dict[str, Path] = {}
    for root in (packaged, own):
        folder = root / "posterior" if root is not None else None
        if folder is not None and folder.is_dir():
            manifests |= {path.stem: path for path in yaml_files(folder, recursive=False)}
            for table in sorted(folder.glob("*.csv")):
                if not table.with_suffix(".yaml").is_file():
                    raise InputError("draws without a manifest", f"{table.stem}.yaml beside it", file=file_name(table))
    posteriors: list[Posterior] = []
    taken: dict[str, str] = {}
    for name in sorted(manifests):
        posterior = _read_posterior(name, manifests[name], parameters)
        for position, parameter in enumerate(posterior.parameters):
            if parameter in taken:
                document = read_yaml(manifests[name], file_name(manifests[name]))
                raise document.error(
                    ("parameters", position),
                    f"{parameter}, already in the posterior {taken[parameter]}",
                    "each parameter in one posterior",
                )
            taken[parameter] = name
        posteriors.append(posterior)
    return posteriors


def _read_posterior(name: str, path: Path, parameters: Mapping[str, Parameter]) -> Posterior:
    document = read_yaml(path, file_name(path))
    manifest = validate(PosteriorModel, document, (), "the manifest of a posterior")
    for position, parameter in enumerate(manifest.parameters):
        if parameter not in parameters:
            near = nearest(parameter, parameters)
            raise document.error(
                ("parameters", position),
                f"no parameter called {parameter!r}",
                f"{near}?" if near else "the name of a parameter",
            )
        if parameters[parameter].is_vector:
            raise document.error(
                ("parameters", position), f"{parameter}, which is a vector", "parameters of one number"
            )
    table = path.with_suffix(".csv")
    if not table.is_file():
        raise document.error((), f"no file {table.name} beside this manifest", "the table of draws")
    raw = table.read_bytes()
    digest = hashlib.sha256(raw).hexdigest()
    if digest != manifest.sha256:
        raise document.error(
            ("sha256",),
            f"{manifest.sha256[:16]}..., but {table.name} has {digest[:16]}...",
            "the table this manifest was written for",
        )
    draws = _read_draws(raw, file_name(table), manifest.parameters, parameters)
    if len(draws) != manifest.draws:
        raise document.error(
            ("draws",), f"{manifest.draws}, but {table.name} has {len(draws)} rows", "the number of rows"
        )
    return Posterior(name, tuple(manifest.parameters), draws, digest, MappingProxyType(document.tree), document.place())


def _read_draws(raw: bytes, file: str, names: Sequence[str], parameters: Mapping[str, Parameter]) -> Floats:
    """The table of draws: a header of names, then one row of numbers per draw."""
    try:
        rows = list(csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error):
        raise InputError("a table that cannot be read", "comma-separated numbers in UTF-8", file=file, line=1) from None
    if not rows or rows[0] != list(names):
        raise InputError(
            f"the columns {', '.join(rows[0]) if rows else 'none'}",
            f"{', '.join(names)}, as in the manifest",
            file=file,
            line=1,
        )
    if len(rows) < 3:
        raise InputError(f"{len(rows) - 1} draws", "at least 2", file=file, line=1)
    draws = np.empty((len(rows) - 1, len(names)))
    for line, row in enumerate(rows[1:], 2):
        if len(row) != len(names):
            raise InputError(f"{len(row)} numbers", f"{len(names)}", file=file, line=line)
        for column, (name, text) in enumerate(zip(names, row, strict=True)):
            unit = UNITS[parameters[name].unit]
            try:
                number = float(text)
            except ValueError:
                number = math.nan
            if not (math.isfinite(number) and unit.low <= number <= unit.high):
                raise InputError(
                    text, f"{parameters[name].unit}: {_range_words(unit.low, unit.high)}", name, file, line
                )
            draws[line - 2, column] = number
    draws.setflags(write=False)
    return draws


def _refuse_two_dependences(groups: Sequence[CorrelationGroup], posteriors: Sequence[Posterior]) -> None:
    joint = {name: posterior for posterior in posteriors for name in posterior.parameters}
    for group in groups:
        for name in group.parameters:
            if name in joint:
                raise InputError(
                    f"{name}, whose dependence comes from the posterior {joint[name].id}",
                    "parameters without a posterior",
                    name,
                    group.place.file,
                    group.place.line,
                )
