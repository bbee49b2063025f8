"""Parameters: every number of the model with its unit, uncertainty, source and grade.

`load_parameters` reads the packaged numbers, one country pack, the user's own `params/` folder, extra files and
overrides, in this order; a later layer replaces by name. `ParameterSet.sample` draws the uncertain ones by address.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhcc import distributions as dist
from simhcc.errors import InputError
from simhcc.inputs.dependence import (
    CORRELATIONS,
    CorrelationGroup,
    Posterior,
    read_correlations,
    read_posteriors,
    refuse_two_dependences,
)
from simhcc.inputs.leaf import Parameter, calibrated, read_leaf, replaced_by
from simhcc.inputs.locate import file_name, packaged_folder, user_folder, yaml_files
from simhcc.inputs.models import NAME_PATTERN, LeafModel
from simhcc.inputs.money import conversion_rates
from simhcc.inputs.reader import Document, FrozenMap, KeyPath, describe, dotted, nearest, one_of, read_yaml
from simhcc.inputs.sources import SOURCES, Source, read_sources
from simhcc.inputs.structures import STRUCTURES, Topic
from simhcc.inputs.uncertainty import Floats, addressed, draw, purpose

# Folders of params/ that hold something else than parameters for everybody.
_OTHER_FOLDERS = ("trials", "populations", "countries", "posterior", "calibration")


class ParameterSet(Mapping[str, Parameter]):
    """All numbers of a run, frozen: dotted name -> `Parameter`, in alphabetical order."""

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        sources: Mapping[str, Source] = FrozenMap({}),
        correlations: Sequence[CorrelationGroup] = (),
        posteriors: Sequence[Posterior] = (),
        country: str = "",
        files: Sequence[tuple[str, str]] = (),
        structures: Sequence[Topic] = (),
    ) -> None:
        self._parameters = dict(sorted(parameters.items()))
        self.sources: Mapping[str, Source] = FrozenMap(dict(sorted(sources.items())))
        self.correlations = tuple(correlations)
        self.posteriors = tuple(posteriors)
        self.country = country
        self.files = tuple(files)
        self.structures = tuple(structures)
        self._posterior_of = {
            name: (posterior, column)
            # Where two hold a parameter the first one wins.
            for posterior in reversed(self.posteriors)
            for name, column in posterior.columns(self._parameters).items()
            # A number that was set above the posterior is not drawn from it.
            if self._parameters[name].layer <= posterior.layer
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

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ParameterSet):
            return NotImplemented
        return (self._parameters, self.fingerprint()) == (other._parameters, other.fingerprint())

    __hash__ = None  # type: ignore[assignment]

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
        structural = {name for topic in self.structures for name in topic.names}
        return tuple(
            name
            for name, parameter in self._parameters.items()
            if parameter.uncertainty is not None or name in self._posterior_of or name in structural
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
        joint = self._jointaddressed(seed, iterations)
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
                draws[name] = draw(name, parameter.value, parameter.uncertainty, seed, iterations, joint.get(name))
        for topic in self.structures:
            draws |= topic.applied(draws, topic.drawn(seed, iterations))
        return draws

    def with_structures(self, topics: Sequence[Topic]) -> ParameterSet:
        """The same numbers, of which `sample` also draws the structural alternatives of these topics."""
        files = [*self.files, *(file for topic in topics for file in topic.files)]
        return ParameterSet(
            self._parameters,
            self.sources,
            self.correlations,
            self.posteriors,
            self.country,
            list(dict.fromkeys(files)),
            topics,
        )

    def _jointaddressed(self, seed: int, iterations: NDArray[np.intp]) -> dict[str, Floats]:
        """Uniforms of the parameters that belong to a correlated group."""
        joint: dict[str, Floats] = {}
        for group in self.correlations:
            own = np.column_stack([addressed(seed, iterations, purpose(name)) for name in group.parameters])
            u = dist.copula_uniforms(own, group.root)
            joint |= {name: u[:, column] for column, name in enumerate(group.parameters)}
        return joint

    def override(self, changes: Mapping[str, Any], where: str = "the caller") -> ParameterSet:
        """A new set in which some parameters are replaced.

        `changes` maps names to a number (list of numbers for a vector), which fixes the parameter, or to a mapping with
        some of the keys of a parameter. `where` says who set them, for the record. InputError for an unknown name, a
        wrong length, a value outside its unit.
        """
        plain = {name: _plain(change) for name, change in changes.items()}
        return self.override_from(Document(where, Path(), {"overrides": plain}, "", {}), ("overrides",))

    def override_from(self, document: Document, path: KeyPath) -> ParameterSet:
        """As `override`, with the changes standing at `path` of a file, so that errors carry its lines."""
        parameters = dict(self._parameters)
        for name in document.get(path):
            key = (*path, name)
            if name not in parameters:
                near = nearest(name, parameters)
                raise document.error(
                    key, f"no parameter called {name!r}", f"{near}?" if near else "the name of a parameter"
                )
            parameters[name] = replaced_by(parameters[name], document, key, self.sources)
        return ParameterSet(
            parameters,
            self.sources,
            self.correlations,
            self.posteriors,
            self.country,
            self.files,
            self.structures,
        )

    def fingerprint(self) -> str:
        """SHA-256 of all that can change a result: names, values, units, distributions, dependence, posteriors."""
        numbers = {
            name: [p.value, p.unit, [p.uncertainty.kind, dict(p.uncertainty.given)] if p.uncertainty else None]
            for name, p in self._parameters.items()
        }
        groups = [[group.parameters, group.matrix] for group in self.correlations]
        posteriors = [[posterior.id, posterior.sha256] for posterior in self.posteriors]
        content: list[Any] = [numbers, groups, posteriors]
        if self.structures:
            content.append(
                [[t.id, [[a.id, a.weight, dict(a.numbers)] for a in t.alternatives]] for t in self.structures]
            )
        text = json.dumps(content, sort_keys=True, ensure_ascii=True, allow_nan=False)
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


def _plain(change: Any) -> Any:
    """Arrays and NumPy numbers as lists and numbers."""
    return change.tolist() if isinstance(change, np.ndarray | np.generic) else change


def load_parameters(
    country: str = "china",
    extra_files: Sequence[str | Path] = (),
    overrides: Mapping[str, Any] | None = None,
    user_dir: str | Path | None = None,
    posteriors: Collection[str] | None = None,
) -> ParameterSet:
    """Read all parameters for a country.

    Layers, later ones winning name by name: packaged `params/` with the country pack; the user's `params/` under
    `user_dir` (default: the working folder); `extra_files`; `overrides` (see `ParameterSet.override`). Inside a layer a
    name defined twice is refused. In a user's or extra file a name that is not packaged must say `new: true`. Money in
    another currency than the country's needs a rate (`simhcc.inputs.money`).
    `posteriors` names the posterior files to use (default: all of them).
    Raises InputError with file, line and key for anything wrong.
    """
    packaged, own = packaged_folder("params"), user_folder("params", user_dir)
    if country not in list_countries(user_dir):
        raise InputError(f"no country called {country!r}", one_of(list_countries(user_dir), country), key="country")
    reader = _Layers(read_sources(packaged) | (read_sources(own) if own is not None else {}))
    pack = packaged / "countries" / country
    if pack.is_dir() or own is None:
        reader.add([*_common_files(packaged), *_pack_files(pack)])
        own_pack = own / "countries" / country if own is not None else None
    else:
        # A country of the user's own: its pack belongs to the lowest layer, where its names are not new.
        reader.add([*_common_files(packaged), *_pack_files(own / "countries" / country)])
        own_pack = None
    reader.add([*(_common_files(own) if own is not None else []), *(_pack_files(own_pack) if own_pack else [])])
    reader.add([Path(path) for path in extra_files])
    parameters = reader.parameters
    _refuse_nested(parameters)
    _refuse_shared_addresses(parameters)
    groups = read_correlations(packaged, own, parameters)
    joint = read_posteriors(packaged, own, parameters, posteriors)
    refuse_two_dependences(groups, joint)
    for posterior in reversed(joint):
        parameters |= {
            name: calibrated(parameters[name], value, posterior.place, str(posterior.manifest["run"]))
            for name, value in posterior.base.items()
            if parameters[name].layer <= posterior.layer
        }
    found = ParameterSet(parameters, reader.sources, groups, joint, country, reader.files)
    conversion_rates(found)
    return found.override(overrides) if overrides else found


def list_countries(user_dir: str | Path | None = None) -> tuple[str, ...]:
    """Ids of the country packs, packaged and the user's own."""
    roots = [packaged_folder("params"), user_folder("params", user_dir)]
    folders = [root / "countries" for root in roots if root is not None]
    return tuple(
        sorted({path.name for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_dir()})
    )


def country_differences(first: str, second: str) -> tuple[list[str], list[str]]:
    """Names that only the first packaged country pack defines, and names that only the second defines."""
    packaged = packaged_folder("params")
    names = []
    for country in (first, second):
        reader = _Layers(read_sources(packaged))
        reader.add(_pack_files(packaged / "countries" / country))
        names.append(set(reader.parameters))
    return sorted(names[0] - names[1]), sorted(names[1] - names[0])


# ---------------------------------------------------------------------------------------------------------------------
# Layers


class _Layers:
    """Reads layer upon layer of params files; later layers replace by name."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self.sources = sources
        self.parameters: dict[str, Parameter] = {}
        self.files: list[tuple[str, str]] = []
        self._next = 0

    def add(self, paths: Sequence[Path]) -> None:
        """Read the files of one layer; a name may stand in it once."""
        layer: dict[str, Parameter] = {}
        for path in paths:
            document = read_yaml(path, file_name(path))
            self.files.append((document.file, document.sha256))
            for key in leaf_paths(document):
                name = dotted(key)
                if name in layer:
                    raise document.error(key, f"{name}, already defined at {layer[name].place}", "each name once")
                layer[name] = read_leaf(document, key, self.sources, self.parameters, self._next)
        self.parameters |= layer
        self._next += 1


def _common_files(root: Path) -> list[Path]:
    """The parameter files of a params folder that hold for every country."""
    return [
        path
        for path in yaml_files(root)
        if path.relative_to(root).parts[0] not in (*_OTHER_FOLDERS, SOURCES, CORRELATIONS, STRUCTURES)
    ]


def _pack_files(folder: Path) -> list[Path]:
    return yaml_files(folder) if folder.is_dir() else []


def leaf_paths(document: Document) -> Iterator[KeyPath]:
    """Key paths of the parameters of a params file, in the order of the file."""
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
                raise document.error(path, f"{key} without value", "value (a parameter), or only mappings (a group)")
            raise document.error(here, describe(child), "a parameter: a mapping with value, unit, grade, source")
        if not child:
            raise document.error(here, "an empty mapping", "a parameter, or a group of parameters")
        if "value" not in child:
            yield from _leaves_below(document, here, child)
        elif path:
            yield here
        else:
            raise document.error(here, f"the parameter {key} outside any group", "a group: group, then the name")


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
        code = hashlib.blake2s(purpose(name).encode()).digest()[:4]
        other = seen.setdefault(code, name)
        if other != name:
            raise InputError(
                f"{name}, whose random address is that of {other}",
                "another name",
                name,
                parameter.place.file,
                parameter.place.line,
            )
