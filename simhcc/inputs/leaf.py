"""One parameter: a leaf of a params file, or an override of one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from simhcc.inputs.models import LeafModel, PartialLeafModel, is_number, validate
from simhcc.inputs.reader import Document, KeyPath, Place, describe, dotted, nearest
from simhcc.inputs.sources import Source, check_sources
from simhcc.inputs.uncertainty import Floats, Uncertainty, Value, read_uncertainty
from simhcc.inputs.units import UNITS, range_words

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
class Parameter:
    """One number, or one vector of numbers, of the model.

    `uncertainty` is None where the number is not varied. `replaces` is the place of the value that this one
    overrides; `layer` says who set it: 0 packaged, 1 the user's params/, 2 an extra file, 3 an override.
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
    layer: int = 0

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


def read_leaf(
    document: Document, key: KeyPath, sources: Mapping[str, Source], below: Mapping[str, Parameter], layer: int
) -> Parameter:
    """The parameter at `key` of a params file of layer `layer`; `below` holds those it may replace."""
    leaf = validate(LeafModel, document, key, "a parameter")
    name = dotted(key)
    replaced = below.get(name)
    if leaf.new and layer == 0:
        raise document.error((*key, "new"), "new: true in a packaged file", "no such key: it marks a user's own names")
    if leaf.new and replaced is not None:
        raise document.error((*key, "new"), f"new: true for {name}, which stands at {replaced.place}", "no such key")
    if layer > 0 and not leaf.new and replaced is None:
        near = nearest(name, below)
        expected = f"{f'{near}, or ' if near else ''}new: true for a name of your own"
        raise document.error(key, f"{name}, which replaces nothing", expected)
    if replaced is not None:
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
        read_uncertainty(document, (*key, "distribution"), leaf.distribution, value, leaf.unit),
        tuple(leaf.source),
        leaf.formula,
        leaf.reason,
        leaf.run,
        leaf.recalled,
        leaf.note,
        Label(leaf.label.en, leaf.label.zh) if leaf.label else None,
        replaced.place if replaced else None,
        layer,
    )


def _check_grade(document: Document, key: KeyPath, leaf: LeafModel | Parameter, sources: Mapping[str, Source]) -> None:
    """A grade comes with what it needs, and every source is listed."""
    needs = {"published": "source", "derived": "formula", "calibrated": "run", "assumed": "reason"}[leaf.grade]
    if not getattr(leaf, needs):
        raise document.error(
            (*key, "grade"), f"grade {leaf.grade} without {needs}", f"{needs}: required for grade {leaf.grade}"
        )
    check_sources(document, (*key, "source"), leaf.source, sources)


def _check_limits(document: Document, key: KeyPath, value: Value, unit: str) -> None:
    low, high = UNITS[unit].low, UNITS[unit].high
    for number in value if isinstance(value, tuple) else (value,):
        if not (math.isfinite(number) and low <= number <= high):
            raise document.error(key, f"{number:g}", f"{unit}: {range_words(low, high)} ({UNITS[unit].meaning})")
    if isinstance(value, tuple) and len(value) > _MAX_VECTOR:
        raise document.error(key, f"a vector of {len(value)}", f"at most {_MAX_VECTOR} numbers")


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


def replaced_by(parameter: Parameter, document: Document, key: KeyPath, sources: Mapping[str, Source]) -> Parameter:
    """`parameter` with the keys that an override at `key` names; a new value without a distribution is fixed."""
    entry = document.get(key)
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
    uncertainty = None if leaf.value is not None else parameter.uncertainty
    if leaf.distribution is not None:
        uncertainty = read_uncertainty(document, (*key, "distribution"), leaf.distribution, value, parameter.unit)
    changed = replace(
        parameter,
        value=value,
        uncertainty=uncertainty,
        place=document.place(key),
        replaces=parameter.place,
        layer=3,
        label=Label(leaf.label.en, leaf.label.zh) if leaf.label else parameter.label,
    )
    if leaf.value is not None or leaf.grade is not None:
        # The number no longer comes from where it came from, unless the override says so.
        reason = f"set by {document.file}" if leaf.grade in (None, "assumed") else None
        changed = replace(
            changed, grade="assumed", source=(), formula=None, reason=reason, run=None, recalled=False, note=None
        )
    given = {name: getattr(leaf, name) for name in ("grade", "formula", "reason", "run", "recalled", "note")}
    if leaf.source is not None:
        given["source"] = tuple(leaf.source)
    changed = replace(changed, **{name: text for name, text in given.items() if text is not None})
    _check_grade(document, key, changed, sources)
    return changed


def calibrated(parameter: Parameter, value: float, place: Place, run: str) -> Parameter:
    """`parameter` at the base-case value of a posterior, from whose draws it is sampled from now on."""
    return replace(
        parameter,
        value=value,
        uncertainty=None,
        grade="calibrated",
        formula=None,
        reason=None,
        run=run,
        recalled=False,
        place=place,
        replaces=parameter.place,
    )
