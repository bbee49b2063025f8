"""Dependence between uncertain numbers: correlated groups and posterior draws."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhcc import distributions as dist
from simhcc.errors import InputError
from simhcc.inputs.leaf import Parameter
from simhcc.inputs.locate import file_name, yaml_files
from simhcc.inputs.models import CorrelationModel, PosteriorModel, validate
from simhcc.inputs.reader import Document, FrozenMap, KeyPath, Place, describe, nearest, one_of, read_yaml
from simhcc.inputs.uncertainty import Floats, addressed
from simhcc.inputs.units import UNITS, range_words

CORRELATIONS = "correlations.yaml"

# The address of a permutation has 12 bits for the cycle.
_CYCLES = 4096


@dataclass(frozen=True)
class CorrelationGroup:
    """Parameters drawn together: `root` is the lower Cholesky factor of the correlation of their normal scores."""

    parameters: tuple[str, ...]
    matrix: tuple[tuple[float, ...], ...]
    place: Place
    root: Floats = field(repr=False, compare=False)


@dataclass(frozen=True)
class Posterior:
    """Joint draws of some parameters.

    `draws` has one row per draw, and for each name of `parameters` one column (a vector: one per element).
    """

    id: str
    parameters: tuple[str, ...]
    draws: Floats = field(repr=False, compare=False)
    sha256: str
    manifest: Mapping[str, Any]
    place: Place
    layer: int = 0
    base: Mapping[str, float] = field(default_factory=dict)
    """values of the parameters in a base case"""

    def rows(self, n: int, seed: int, first_iteration: int) -> NDArray[np.intp]:
        """The row of each iteration: a permutation of all rows, then another one, and so on.

        Which row an iteration takes depends on (seed, iteration, id, number of rows) only.
        """
        count = len(self.draws)
        iterations = np.arange(first_iteration, first_iteration + n)
        rows = np.empty(n, dtype=np.intp)
        for cycle in np.unique(iterations // count):
            u = addressed(seed, np.arange(count), f"posterior/{self.id}", entry=int(cycle) % _CYCLES)
            order = np.argsort(u, kind="stable")
            mine = iterations // count == cycle
            rows[mine] = order[iterations[mine] % count]
        return rows

    def columns(self, parameters: Mapping[str, Parameter]) -> dict[str, slice | int]:
        """Where each parameter stands in `draws`: a column, or a slice for a vector."""
        found: dict[str, slice | int] = {}
        start = 0
        for name in self.parameters:
            value = parameters[name].value
            size = len(value) if isinstance(value, tuple) else 1
            found[name] = slice(start, start + size) if isinstance(value, tuple) else start
            start += size
        return found


def read_correlations(packaged: Path, own: Path | None, parameters: Mapping[str, Parameter]) -> list[CorrelationGroup]:
    """The correlated groups; a user's correlations.yaml takes the place of the packaged one."""
    layers = [(root / CORRELATIONS, layer) for root, layer in ((own, 1), (packaged, 0)) if root is not None]
    paths = [(path, layer) for path, layer in layers if path.is_file()]
    if not paths:
        return []
    path, layer = paths[0]
    document = read_yaml(path, file_name(path))
    if not isinstance(document.tree, list):
        raise document.error((), describe(document.tree), "a list of groups, each with parameters and matrix")
    groups: list[CorrelationGroup] = []
    taken: dict[str, Place] = {}
    for position in range(len(document.tree)):
        group = _read_group(document, (position,), parameters, layer)
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


def _read_group(document: Document, key: KeyPath, parameters: Mapping[str, Parameter], layer: int) -> CorrelationGroup:
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
        # A number that was fixed in a later layer stays in its group: the draws of the others do not change.
        if parameters[name].uncertainty is None and parameters[name].layer <= layer:
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


def read_posteriors(
    packaged: Path, own: Path | None, parameters: Mapping[str, Parameter], wanted: Collection[str] | None = None
) -> list[Posterior]:
    """The posterior files, the user's own first; a user's file takes the place of the packaged one of the same name.

    `wanted`: only these.
    """
    manifests: dict[str, tuple[Path, int]] = {}
    for layer, root in enumerate((packaged, own)):
        folder = root / "posterior" if root is not None else None
        if folder is not None and folder.is_dir():
            manifests |= {path.stem: (path, layer) for path in yaml_files(folder, recursive=False)}
            for table in sorted(folder.glob("*.csv")):
                if not table.with_suffix(".yaml").is_file():
                    raise InputError("draws without a manifest", f"{table.stem}.yaml beside it", file=file_name(table))
    posteriors: list[Posterior] = []
    taken: dict[tuple[str, int], str] = {}
    # A user's own posterior goes before a packaged one that holds the same parameter.
    for name in sorted(manifests if wanted is None else set(manifests) & set(wanted)):
        posterior = _read_posterior(name, *manifests[name], parameters)
        for position, parameter in enumerate(posterior.parameters):
            if (parameter, posterior.layer) in taken:
                document = read_yaml(manifests[name][0], file_name(manifests[name][0]))
                raise document.error(
                    ("parameters", position),
                    f"{parameter}, already in the posterior {taken[parameter, posterior.layer]}",
                    "each parameter in one posterior",
                )
            taken[parameter, posterior.layer] = name
        posteriors.append(posterior)
    return sorted(posteriors, key=lambda posterior: (-posterior.layer, posterior.id))


def _read_posterior(name: str, path: Path, layer: int, parameters: Mapping[str, Parameter]) -> Posterior:
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
    base = dict(manifest.base or {})
    for parameter, value in base.items():
        key = ("base", parameter)
        if parameter not in manifest.parameters:
            raise document.error(key, parameter, one_of(manifest.parameters, parameter))
        if parameters[parameter].is_vector:
            raise document.error(key, f"{parameter}, which is a list of numbers", "parameters of one number")
        limits = UNITS[parameters[parameter].unit]
        if not limits.low <= value <= limits.high:
            raise document.error(key, f"{value:g}", range_words(limits.low, limits.high))
    return Posterior(
        name, tuple(manifest.parameters), draws, digest, FrozenMap(document.tree), document.place(), layer, base
    )


def _columns(names: Sequence[str], parameters: Mapping[str, Parameter]) -> list[tuple[str, str]]:
    """Header and parameter of each column: `name`, or `name[0]`, `name[1]`, ... for a vector."""
    columns: list[tuple[str, str]] = []
    for name in names:
        value = parameters[name].value
        if isinstance(value, tuple):
            columns += [(f"{name}[{position}]", name) for position in range(len(value))]
        else:
            columns.append((name, name))
    return columns


def _read_draws(raw: bytes, file: str, names: Sequence[str], parameters: Mapping[str, Parameter]) -> Floats:
    """The table of draws: a header, then one row of numbers per draw."""
    try:
        rows = list(csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error):
        raise InputError("a table that cannot be read", "comma-separated numbers in UTF-8", file=file, line=1) from None
    columns = _columns(names, parameters)
    header = [head for head, _ in columns]
    if not rows or rows[0] != header:
        found = ", ".join(rows[0]) if rows else "none"
        raise InputError(f"the columns {found}", f"{', '.join(header)}, as in the manifest", file=file, line=1)
    if len(rows) < 3:
        raise InputError(f"{len(rows) - 1} draws", "at least 2", file=file, line=1)
    draws = np.empty((len(rows) - 1, len(columns)))
    for line, row in enumerate(rows[1:], 2):
        if len(row) != len(columns):
            raise InputError(f"{len(row)} numbers", f"{len(columns)}", file=file, line=line)
        for position, ((head, name), text) in enumerate(zip(columns, row, strict=True)):
            draws[line - 2, position] = _number(text, parameters[name].unit, head, file, line)
    draws.setflags(write=False)
    return draws


def _number(text: str, unit: str, head: str, file: str, line: int) -> float:
    low, high = UNITS[unit].low, UNITS[unit].high
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and low <= number <= high):
        raise InputError(text, f"{unit}: {range_words(low, high)}", head, file, line)
    return number


def refuse_two_dependences(groups: Sequence[CorrelationGroup], posteriors: Sequence[Posterior]) -> None:
    """InputError for a parameter that is in a correlated group and in a posterior."""
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
