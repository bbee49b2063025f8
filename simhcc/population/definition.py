"""A population as its file describes it: marginals, correlation, eligibility, targets, fitted adjustments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from simhcc.errors import InputError
from simhcc.inputs import Document, describe, find_input, one_of, read_yaml
from simhcc.inputs.locate import is_file
from simhcc.population.attributes import ATTRIBUTES, DERIVED, SAMPLED, Array
from simhcc.population.conditions import Condition, ConditionError, parse_condition
from simhcc.population.marginals import Levels, LogNormal, Marginal, Normal

GRADES = ("published", "derived", "assumed")
MAX_INHERITANCE = 4
SHARES_TOLERANCE = 1e-6
Path_ = tuple[str | int, ...]


@dataclass(frozen=True)
class Described:
    """A marginal with its provenance. `origin` is the file and line that gave it."""

    marginal: Marginal
    source: tuple[str, ...]
    grade: str
    confirmed: bool
    note: str
    origin: str


@dataclass(frozen=True)
class Target:
    """One published (or assumed) figure of the baseline table.

    `statistic` is share, mean or median; `condition` says whose share, `of` which attribute's mean or median; `among`
    restricts the patients. `adjusts` names what `fit_population` moves to reach it, as (attribute, "shift" or "scale").
    `tolerance` is the distance accepted beside Monte-Carlo error.
    """

    statistic: str
    value: float
    tolerance: float
    of: str
    condition: Condition | None
    among: Condition | None
    adjusts: tuple[str, str] | None
    source: tuple[str, ...]
    grade: str
    confirmed: bool
    note: str

    @property
    def label(self) -> str:
        """The figure in words, as in the file."""
        what = self.condition.text if self.condition is not None else self.of
        return f"{self.statistic} of {what}" + (f" among {self.among.text}" if self.among is not None else "")


@dataclass(frozen=True)
class Adjustment:
    """Fitted move of a marginal on the standard normal scale: x -> shift + scale * x."""

    shift: float = 0.0
    scale: float = 1.0


UNMOVED = Adjustment()


@dataclass(frozen=True)
class Population:
    """A population that can be sampled; frozen. Build it with `read_population`."""

    id: str
    label: Mapping[str, str]
    grade: str
    source: tuple[str, ...]
    note: str
    template: bool
    marginals: Mapping[str, Described]
    correlation: Mapping[tuple[str, str], float]
    eligibility: tuple[Condition, ...]
    targets: tuple[Target, ...]
    adjustments: Mapping[str, Adjustment]
    file: str
    factors: Mapping[str, tuple[tuple[str, float], ...]] = field(repr=False, default_factory=dict)

    def moved(self, adjustments: Mapping[str, Adjustment]) -> Population:
        """The same population with other fitted adjustments."""
        return replace(self, adjustments=dict(adjustments))

    def in_words(self) -> str:
        """Label, eligibility and provenance for a person, one line each."""
        lines = [f"{self.id}: {self.label['en']} ({self.grade}; {', '.join(self.source) or 'no source'})"]
        lines += [f"  eligible: {condition.text}" for condition in self.eligibility]
        unsure = [target.label for target in self.targets if not target.confirmed]
        if unsure:
            lines.append("  recalled, not confirmed: " + "; ".join(unsure))
        return "\n".join(lines)


def load_population(name: str, user_dir: str | Path | None = None) -> Population:
    """The population of an id or path: from the user's own `params/populations`, else the packaged one.

    Raises InputError with file, line and key for anything unknown, missing, contradictory or out of range.
    """
    return read_population(find_input("population", name, user_dir), user_dir)


def read_population(path: str | Path, user_dir: str | Path | None = None) -> Population:
    """Read one population file strictly, with the populations it is `based_on`.

    Those are looked for beside `path`, then as `load_population` does. Raises InputError as it does.
    """
    path = Path(path)
    document = read_yaml(path)
    chain = [document]
    while (base := chain[-1].get(("based_on",))) is not None:
        where = chain[-1]
        if not isinstance(base, str):
            raise where.error(("based_on",), describe(base), "the id of a population file")
        if len(chain) > MAX_INHERITANCE or any(base == other.get(("id",)) for other in chain):
            raise where.error(("based_on",), f"{base}, which leads in a circle", "a population based on fewer others")
        beside = path.parent / f"{base}.yaml"
        try:
            chain.append(read_yaml(beside if is_file(beside) else find_input("population", base, user_dir)))
        except InputError as reason:
            if reason.file is not None:
                raise
            raise where.error(("based_on",), reason.found, reason.expected) from None
    return _Reader(document, chain).population()


_KEYS = {
    "id", "label", "grade", "source", "note", "template", "based_on", "marginals", "correlation", "eligibility",
    "targets", "fitted",
}  # fmt: skip
_KINDS = ("share", "shares", "normal", "lognormal", "constant")
_TARGET_KEYS = {
    "share_of", "mean_of", "median_of", "among", "value", "tolerance", "adjusts", "source", "grade", "confirmed",
    "note",
}  # fmt: skip


class _Reader:
    """Turns one file and the chain of its templates into a Population; one use."""

    def __init__(self, document: Document, chain: list[Document]) -> None:
        self.document, self.chain = document, chain

    def population(self) -> Population:
        document = self.document
        for each in self.chain:
            _mapping(each, (), _KEYS, required={"id", "label", "grade"})
        tree = document.tree
        if tree["id"] != document.path.stem:
            raise document.error(("id",), describe(tree["id"]), f"the name of the file, {document.path.stem}")
        label = _mapping(document, ("label",), {"en", "zh"}, required={"en", "zh"})
        for language in label:
            _text(document, ("label", language))
        source, grade, _, note = _provenance(document, ())
        template = _boolean(document, ("template",), False)
        marginals = self._marginals(template)
        correlation = self._correlation()
        return Population(
            id=tree["id"],
            label=dict(label),
            grade=grade,
            source=source,
            note=note,
            template=template,
            marginals=marginals,
            correlation=correlation,
            eligibility=self._eligibility(),
            targets=tuple(
                self._target(("targets", position)) for position in range(len(_list(document, ("targets",))))
            ),
            adjustments=self._fitted(marginals),
            file=document.file,
            factors=self._factors(correlation),
        )

    def _marginals(self, template: bool) -> dict[str, Described]:
        found: dict[str, Described] = {}
        for document in reversed(self.chain):
            for name in _mapping(document, ("marginals",), set(SAMPLED)):
                found[name] = _described(document, name)
        missing = [name for name in SAMPLED if name not in found]
        if missing and not template:
            raise self.document.error(
                ("marginals",), "no marginal for " + ", ".join(missing), "one for every attribute, here or in based_on"
            )
        return {name: found[name] for name in SAMPLED if name in found}

    def _correlation(self) -> dict[tuple[str, str], float]:
        pairs: dict[tuple[str, str], float] = {}
        for document in reversed(self.chain):
            own: set[tuple[str, str]] = set()
            for first in _mapping(document, ("correlation",), set(SAMPLED)):
                for second in _mapping(document, ("correlation", first), set(SAMPLED)):
                    key: Path_ = ("correlation", first, second)
                    value = _number(document, key, -0.99, 0.99)
                    if first == second:
                        raise document.error(key, "an attribute with itself", "two different attributes")
                    pair = (first, second) if SAMPLED.index(first) < SAMPLED.index(second) else (second, first)
                    if pair in own:
                        raise document.error(key, "the same pair again", "each pair once")
                    own.add(pair)
                    pairs[pair] = value
        return pairs

    def _factors(self, correlation: Mapping[tuple[str, str], float]) -> dict[str, tuple[tuple[str, float], ...]]:
        """Rows of the Cholesky factor: each correlated attribute as a sum of its own and earlier normals."""
        names = [name for name in SAMPLED if any(name in pair for pair in correlation)]
        matrix = np.eye(len(names))
        for (first, second), value in correlation.items():
            i, j = names.index(first), names.index(second)
            matrix[i, j] = matrix[j, i] = value
        try:
            lower = np.linalg.cholesky(matrix)
        except np.linalg.LinAlgError:
            smallest = float(np.linalg.eigvalsh(matrix)[0])
            raise self.document.error(
                ("correlation",),
                f"correlations that contradict each other (smallest eigenvalue {smallest:.3f})",
                "correlations that one set of patients can have (a positive definite matrix)",
            ) from None
        rows: Array = np.asarray(lower, dtype=np.float64)
        return {
            name: tuple((names[j], float(rows[i, j])) for j in range(i + 1) if rows[i, j] != 0.0)
            for i, name in enumerate(names)
        }

    def _eligibility(self) -> tuple[Condition, ...]:
        # Rules of a template hold too: a population may be narrower than what it is based on, never wider.
        conditions = []
        for document in reversed(self.chain):
            for position in range(len(_list(document, ("eligibility",)))):
                conditions.append(_condition(document, ("eligibility", position)))
        return tuple(conditions)

    def _target(self, key: Path_) -> Target:
        document = self.document
        entry = _mapping(document, key, _TARGET_KEYS, required={"value"})
        kinds = [kind for kind in ("share_of", "mean_of", "median_of") if kind in entry]
        if len(kinds) != 1:
            raise document.error(
                key,
                "a target with " + (" and ".join(kinds) or "nothing to compare"),
                "one of share_of, mean_of, median_of",
            )
        statistic = kinds[0].removesuffix("_of")
        condition, of = None, ""
        if statistic == "share":
            condition = _condition(document, (*key, "share_of"))
            value = _number(document, (*key, "value"), 0.0, 1.0)
        else:
            of = _text(document, (*key, kinds[0]))
            if of not in SAMPLED and of not in DERIVED:
                raise document.error((*key, kinds[0]), f"the name {of!r}", one_of([*SAMPLED, *DERIVED], of))
            value = _number(document, (*key, "value"))
        among = _condition(document, (*key, "among")) if "among" in entry else None
        tolerance = _number(document, (*key, "tolerance"), 0.0) if "tolerance" in entry else 0.0
        adjusts = self._adjusts((*key, "adjusts")) if "adjusts" in entry else None
        source, grade, confirmed, note = _provenance(document, key)
        return Target(statistic, value, tolerance, of, condition, among, adjusts, source, grade, confirmed, note)

    def _adjusts(self, key: Path_) -> tuple[str, str]:
        text = _text(self.document, key)
        name, _, what = text.partition(".")
        if name not in SAMPLED or what not in ("shift", "scale"):
            raise self.document.error(key, f"the text {text!r}", "ATTRIBUTE.shift or ATTRIBUTE.scale")
        return name, what

    def _fitted(self, marginals: Mapping[str, Described]) -> dict[str, Adjustment]:
        document = self.document
        if "fitted" not in document.tree:
            return {}
        _mapping(document, ("fitted",), {"grade", "note", "patients", "adjustments"}, required={"grade", "adjustments"})
        result = {}
        for name in _mapping(document, ("fitted", "adjustments"), set(marginals)):
            key: Path_ = ("fitted", "adjustments", name)
            entry = _mapping(document, key, {"shift", "scale"})
            shift = _number(document, (*key, "shift"), -10.0, 10.0) if "shift" in entry else 0.0
            scale = _number(document, (*key, "scale"), 0.01, 100.0) if "scale" in entry else 1.0
            if marginals[name].marginal.constant:
                raise document.error(key, "an adjustment of a constant", "an attribute that varies")
            result[name] = Adjustment(shift, scale)
        return result


def _described(document: Document, name: str) -> Described:
    key: Path_ = ("marginals", name)
    entry = _mapping(document, key, {*_KINDS, "source", "grade", "confirmed", "note"})
    kinds = [kind for kind in _KINDS if kind in entry]
    if len(kinds) != 1:
        raise document.error(key, " and ".join(kinds) or "no distribution", "one of " + ", ".join(_KINDS))
    source, grade, confirmed, note = _provenance(document, key)
    marginal = _marginal(document, (*key, kinds[0]), name, kinds[0])
    return Described(marginal, source, grade, confirmed, note, str(document.place(key)))


def _marginal(document: Document, key: Path_, name: str, kind: str) -> Marginal:
    attribute = ATTRIBUTES[name]
    if kind == "constant":
        value = _number(document, key, attribute.low, attribute.high)
        _whole(document, key, name, value)
        return Levels((value,), (1.0,))
    if kind == "share":
        if (attribute.low, attribute.high) != (0.0, 1.0):
            raise document.error(key, f"a share for {name}", "shares by level, or a normal or lognormal distribution")
        share = _number(document, key, 0.0, 1.0)
        return Levels((0.0, 1.0), (1.0 - share, share))
    if kind == "shares":
        return _levels(document, key, name)
    if attribute.whole:
        raise document.error(key, f"a {kind} distribution for {name}", "shares by level: it has whole values")
    first, second = ("mean", "sd") if kind == "normal" else ("median", "sd_log")
    allowed = {first, second, "low", "high"}
    _mapping(document, key, allowed, required=allowed)
    low = _number(document, (*key, "low"), attribute.low, attribute.high)
    high = _number(document, (*key, "high"), attribute.low, attribute.high)
    if low >= high:
        raise document.error((*key, "low"), f"{low:g}, not below high {high:g}", "low below high")
    centre = _number(document, (*key, first), low, high)
    spread = _number(document, (*key, second), 1e-6)
    return Normal(centre, spread, low, high) if kind == "normal" else LogNormal(centre, spread, low, high)


def _levels(document: Document, key: Path_, name: str) -> Levels:
    attribute = ATTRIBUTES[name]
    entry = _mapping(document, key, None)
    labels = {label: float(code) for code, label in (attribute.levels or {}).items()}
    shares: dict[float, float] = {}
    for level in entry:
        here: Path_ = (*key, level)
        if level in labels:
            code = labels[level]
        else:
            try:
                code = float(level)
            except ValueError:
                raise document.error(here, f"the level {level!r}", one_of(labels or ["a number"], level)) from None
            if attribute.levels is not None and code not in attribute.levels:
                raise document.error(here, f"the level {level!r}", one_of(labels, level))
            if not attribute.low <= code <= attribute.high:
                raise document.error(here, f"the level {level!r}", f"{attribute.low:g} to {attribute.high:g}")
            _whole(document, here, name, code)
        if code in shares:
            raise document.error(here, f"the level {level!r} again", "each level once")
        shares[code] = _number(document, here, 0.0, 1.0)
    total = sum(shares.values())
    if abs(total - 1.0) > SHARES_TOLERANCE:
        raise document.error(key, f"shares that add up to {total:g}", "shares that add up to 1")
    codes = tuple(sorted(shares))
    return Levels(codes, tuple(shares[code] for code in codes))


def _whole(document: Document, key: Path_, name: str, value: float) -> None:
    if ATTRIBUTES[name].whole and value != round(value):
        raise document.error(key, f"{value:g} for {name}", "a whole number")


def _provenance(document: Document, key: Path_) -> tuple[tuple[str, ...], str, bool, str]:
    grade = document.get((*key, "grade"))
    if grade not in GRADES:
        raise document.error((*key, "grade"), describe(grade), "one of " + ", ".join(GRADES))
    source = _list(document, (*key, "source"))
    for position, name in enumerate(source):
        if not isinstance(name, str):
            raise document.error((*key, "source", position), describe(name), "the id of a source")
    confirmed = _boolean(document, (*key, "confirmed"), True)
    note = _text(document, (*key, "note")) if document.get((*key, "note")) is not None else ""
    if grade == "assumed" and not note:
        raise document.error(key, "an assumed number without its reason", "a note that says why")
    if grade != "assumed" and not source:
        raise document.error(key, f"grade {grade} without a source", "source: [id of a dossier]")
    return tuple(source), grade, confirmed, note


def _condition(document: Document, key: Path_) -> Condition:
    try:
        return parse_condition(_text(document, key))
    except ConditionError as reason:
        raise document.error(key, reason.found, reason.expected) from None


def _mapping(
    document: Document, key: Path_, allowed: set[str] | None, required: set[str] | None = None
) -> dict[str, Any]:
    entry = document.get(key)
    if entry is None and not required and key:
        return {}
    if not isinstance(entry, dict):
        raise document.error(key, describe(entry), "a mapping")
    if allowed is not None:
        for name in entry:
            if name not in allowed:
                raise document.error((*key, name), f"the key {name!r}", one_of(allowed, name))
    for name in sorted(required or ()):
        if name not in entry:
            raise document.error((*key, name), "nothing", f"a value for {name}")
    return entry


def _list(document: Document, key: Path_) -> list[Any]:
    entry = document.get(key, [])
    if not isinstance(entry, list):
        raise document.error(key, describe(entry), "a list")
    return entry


def _text(document: Document, key: Path_) -> str:
    entry = document.get(key)
    if not isinstance(entry, str) or not entry.strip():
        raise document.error(key, describe(entry), "text")
    return entry


def _boolean(document: Document, key: Path_, default: bool) -> bool:
    entry = document.get(key, default)
    if not isinstance(entry, bool):
        raise document.error(key, describe(entry), "true or false")
    return entry


def _number(document: Document, key: Path_, low: float = -np.inf, high: float = np.inf) -> float:
    entry = document.get(key)
    if isinstance(entry, bool) or not isinstance(entry, int | float) or not low <= entry <= high:
        limits = f"a number from {low:g} to {high:g}" if np.isfinite(high) else f"a number of at least {low:g}"
        raise document.error(key, describe(entry), limits if np.isfinite(low) else "a number")
    return float(entry)
