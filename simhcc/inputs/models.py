"""What a params, scenario or strategy file may contain: pydantic models, and their errors in people's words.

The JSON Schemas for editors are generated from the same models (`json_schema`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError

from simhcc.errors import InputError
from simhcc.inputs.locate import ID, ID_WORDS
from simhcc.inputs.reader import Document, Key, KeyPath, describe, nearest, one_of
from simhcc.inputs.units import UNITS

NAME_PATTERN = r"^[A-Za-z][A-Za-z0-9_]*$"
DOTTED_PATTERN = r"^[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)*$"


class Model(BaseModel):
    """Base: no unknown keys, no conversion of types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


ModelType = TypeVar("ModelType", bound=BaseModel)


def refuse(found: str, expected: str) -> PydanticCustomError:
    """An error in our own words, to be raised inside a validator."""
    return PydanticCustomError("simhcc", "{found}", {"found": found, "expected": expected})


def is_number(value: Any) -> bool:
    """A number, and not true or false."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def number_hint(value: Any) -> str:
    """`a number`, with a hint where text looks like one."""
    if isinstance(value, str):
        text = value.strip()
        if text.endswith("%") and _floats(text[:-1]):
            return f"a number: {float(text[:-1]) / 100:g} for {text}"
        for mark in ("_", ",", " "):
            if mark in text and _floats(text.replace(mark, "")):
                return f"a number, without {mark!r}"
        if _floats(text):
            return "a number, without quotes"
    return "a number"


def _floats(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(value: Any) -> Any:
    if not is_number(value):
        raise refuse(describe(value), number_hint(value))
    return float(value)


def _whole(value: Any) -> Any:
    if not is_number(value) or isinstance(value, float):
        raise refuse(describe(value), "a whole number")
    return value


def _text(value: Any) -> Any:
    if not isinstance(value, str):
        raise refuse(describe(value), "text" + (" (in quotes)" if is_number(value) or isinstance(value, bool) else ""))
    if not value.strip():
        raise refuse("empty text", "text")
    return value


def _flag(value: Any) -> Any:
    if not isinstance(value, bool):
        raise refuse(describe(value), "true or false")
    return value


def _numbers(value: Any) -> Any:
    if not isinstance(value, list):
        return _number(value)
    if not value:
        raise refuse("an empty list", "a number, or a list of numbers")
    for position, item in enumerate(value, 1):
        if not is_number(item):
            raise refuse(f"a list whose entry {position} is {describe(item)}", number_hint(item))
    return [float(item) for item in value]


def _intervals(value: Any) -> Any:
    example = "two numbers, for example [0.41, 0.85]"
    if not isinstance(value, list) or not value:
        raise refuse(describe(value), example)
    pairs = value if isinstance(value[0], list) else [value]
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or not all(is_number(limit) for limit in pair):
            raise refuse(describe(pair), example)
        low, high = pair
        if low > high:
            raise refuse(f"[{low:g}, {high:g}]; the lower limit comes first", f"for example, [{high:g}, {low:g}]")
        if low == high:
            raise refuse(f"[{low:g}, {high:g}]; an interval of no width", "two different limits, or no distribution")
    return value


def _texts(value: Any) -> Any:
    if isinstance(value, str):
        raise refuse(describe(value), f"a list: [{value}]")
    if not isinstance(value, list):
        raise refuse(describe(value), "a list of text")
    for position, item in enumerate(value, 1):
        if not isinstance(item, str):
            raise refuse(f"a list whose entry {position} is {describe(item)}", "text")
        if value.index(item) != position - 1:
            raise refuse(f"{item!r} twice", "each entry once")
    return value


def _id(value: Any) -> Any:
    if not isinstance(value, str) or not ID.match(value):
        raise refuse(describe(value), f"an id: {ID_WORDS}")
    return value


def choice(*allowed: str) -> Callable[[Any], Any]:
    """A validator that accepts the allowed words only."""

    def check(value: Any) -> Any:
        if value not in allowed or not isinstance(value, str):
            raise refuse(describe(value), one_of(allowed, value if isinstance(value, str) else None))
        return value

    return check


def _from(low: int, high: int | None = None) -> Callable[[Any], Any]:
    """A validator of whole numbers from `low` to `high`."""
    words = f"a whole number from {low}" + ("" if high is None else f" to {high}")

    def check(value: Any) -> Any:
        if not is_number(value) or isinstance(value, float) or value < low or (high is not None and value > high):
            raise refuse(describe(value), words)
        return value

    return check


def _above_0(value: Any) -> Any:
    if not is_number(value) or value <= 0:
        raise refuse(describe(value), f"{number_hint(value)} above 0")
    return float(value)


Number = Annotated[float, BeforeValidator(_number)]
Positive = Annotated[float, BeforeValidator(_above_0), WithJsonSchema({"type": "number", "exclusiveMinimum": 0})]
Whole = Annotated[int, BeforeValidator(_whole)]
Size = Annotated[int, BeforeValidator(_from(1)), WithJsonSchema({"type": "integer", "minimum": 1})]
MAX_SEED = 2**64 - 1
Seed = Annotated[
    int,
    BeforeValidator(_from(0, MAX_SEED)),
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": MAX_SEED}),
]
Text = Annotated[str, BeforeValidator(_text), WithJsonSchema({"type": "string", "minLength": 1})]
Flag = Annotated[bool, BeforeValidator(_flag)]
Numbers = Annotated[
    float | list[float],
    BeforeValidator(_numbers),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "array", "items": {"type": "number"}, "minItems": 1}]}),
]
Texts = Annotated[list[str], BeforeValidator(_texts)]
Id = Annotated[
    str,
    BeforeValidator(_id),
    WithJsonSchema({"type": "string", "pattern": "^" + ID.pattern.removesuffix(r"\Z") + "$"}),
]
Interval = Annotated[
    Any,
    BeforeValidator(_intervals),
    WithJsonSchema(
        {
            "description": "Lower and upper limit of the central 95 % interval; a list of pairs for a vector.",
            "anyOf": [
                {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
                {
                    "type": "array",
                    "minItems": 1,
                    "items": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
                },
            ],
        }
    ),
]

Grade = Literal["published", "derived", "calibrated", "assumed"]
GRADES = ("published", "derived", "calibrated", "assumed")
SETTINGS = ("resectable", "intermediate", "advanced", "national")
PERSPECTIVES = ("healthcare_system", "payer", "societal")


class LabelModel(Model):
    """A name for people, in English, Chinese or both."""

    en: Text | None = None
    zh: Text | None = None


# ---------------------------------------------------------------------------------------------------------------------
# params


class DistributionArguments(Model):
    """Arguments of a distribution; `FORMS` lists the sets of keys that say enough and not too much."""

    @classmethod
    def forms(cls) -> list[list[str]]:
        """Allowed sets of keys, each in the order of reading."""
        return FORMS[cls]


class BetaModel(DistributionArguments):
    """Beta; the value is the mean."""

    mean: Numbers | None = None
    sd: Numbers | None = None
    ci95: Interval | None = None
    alpha: Numbers | None = None
    beta: Numbers | None = None


class GammaModel(DistributionArguments):
    """Gamma; the value is the mean."""

    mean: Numbers | None = None
    sd: Numbers | None = None
    ci95: Interval | None = None
    shape: Numbers | None = None
    rate: Numbers | None = None


class LogNormalModel(DistributionArguments):
    """Lognormal; the value is the median (the mean, where `mean` and `sd` are given)."""

    ci95: Interval | None = None
    meanlog: Numbers | None = None
    sdlog: Numbers | None = None
    mean: Numbers | None = None
    sd: Numbers | None = None


class NormalModel(DistributionArguments):
    """Normal; the value is the mean."""

    mean: Numbers | None = None
    sd: Numbers | None = None
    ci95: Interval | None = None


class UniformModel(DistributionArguments):
    """Uniform; the value lies inside."""

    low: Numbers | None = None
    high: Numbers | None = None


class TriangularModel(DistributionArguments):
    """Triangular; the value is the mode unless `mode` says otherwise."""

    low: Numbers | None = None
    mode: Numbers | None = None
    high: Numbers | None = None


class TruncatedNormalModel(DistributionArguments):
    """Normal cut to [low, high]; the value is the mean before the cut."""

    mean: Numbers | None = None
    sd: Numbers | None = None
    low: Numbers | None = None
    high: Numbers | None = None


class DirichletModel(DistributionArguments):
    """Dirichlet over a vector of shares; concentrations, or the number of observations n (n x value)."""

    concentration: Numbers | None = None
    n: Number | None = None


FORMS: dict[type[DistributionArguments], list[list[str]]] = {
    BetaModel: [["sd"], ["mean", "sd"], ["ci95"], ["mean", "ci95"], ["alpha", "beta"]],
    GammaModel: [["sd"], ["mean", "sd"], ["ci95"], ["mean", "ci95"], ["shape", "rate"]],
    LogNormalModel: [["ci95"], ["sdlog"], ["meanlog", "sdlog"], ["mean", "sd"]],
    NormalModel: [["sd"], ["mean", "sd"], ["ci95"], ["mean", "ci95"]],
    UniformModel: [["low", "high"]],
    TriangularModel: [["low", "high"], ["low", "mode", "high"]],
    TruncatedNormalModel: [["sd", "low", "high"], ["mean", "sd", "low", "high"]],
    DirichletModel: [["concentration"], ["n"]],
}

DISTRIBUTIONS: dict[str, type[DistributionArguments]] = {
    "beta": BetaModel,
    "gamma": GammaModel,
    "lognormal": LogNormalModel,
    "normal": NormalModel,
    "uniform": UniformModel,
    "triangular": TriangularModel,
    "truncated_normal": TruncatedNormalModel,
    "dirichlet": DirichletModel,
}


def _distribution(value: Any) -> Any:
    expected = f"fixed, or one of {', '.join(DISTRIBUTIONS)} with its arguments"
    if value == "fixed":
        return value
    if isinstance(value, str):
        near = nearest(value, [*DISTRIBUTIONS, "fixed"])
        raise refuse(describe(value), f"{near} with its arguments, {{{near}: ...}}" if near else expected)
    if not isinstance(value, dict) or len(value) != 1:
        raise refuse(describe(value), f"a mapping with one key: {expected}")
    kind = next(iter(value))
    if kind not in DISTRIBUTIONS:
        near = nearest(kind, DISTRIBUTIONS)
        raise refuse(
            f"the distribution {kind!r}", f"{near} (the nearest name)? Allowed: {expected}" if near else expected
        )
    if not isinstance(value[kind], dict):
        raise refuse(f"{kind} with {describe(value[kind])}", f"one of {forms_words(DISTRIBUTIONS[kind])}")
    return value


def forms_words(model: type[DistributionArguments]) -> str:
    """The allowed sets of arguments in words."""
    return " | ".join("{" + ", ".join(form) + "}" for form in FORMS[model])


def _distribution_schema() -> dict[str, Any]:
    def one(kind: str, model: type[DistributionArguments]) -> dict[str, Any]:
        required = [{"required": form, "maxProperties": len(form)} for form in FORMS[model]]
        return {
            "type": "object",
            "properties": {kind: plain_schema(model) | {"anyOf": required}},
            "required": [kind],
            "additionalProperties": False,
        }

    return {"anyOf": [{"const": "fixed"}, *(one(kind, model) for kind, model in DISTRIBUTIONS.items())]}


def plain_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema of a model, nested models written out in place; a key may be left out but not be empty."""
    schema = model.model_json_schema(by_alias=True)
    plain: dict[str, Any] = _no_null(_inline(schema, schema.get("$defs", {})))
    return plain


def _inline(schema: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inline(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(schema.get("$ref"), str):
        target = definitions[schema["$ref"].rsplit("/", 1)[-1]]
        return _inline({**target, **{key: part for key, part in schema.items() if key != "$ref"}}, definitions)
    return {key: _inline(part, definitions) for key, part in schema.items() if key != "$defs"}


def _no_null(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_no_null(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: _no_null(part) for key, part in schema.items() if not (key == "default" and part is None)}
    options = schema.get("anyOf")
    if isinstance(options, list):
        kept = [option for option in options if option != {"type": "null"}]
        if len(kept) < len(options):
            schema.pop("anyOf")
            schema = {**schema, **kept[0]} if len(kept) == 1 else {**schema, "anyOf": kept}
    return schema


class LeafModel(Model):
    """One parameter."""

    value: Numbers
    unit: Annotated[str, BeforeValidator(choice(*UNITS)), Field(json_schema_extra={"enum": list(UNITS)})]
    distribution: Annotated[Any, BeforeValidator(_distribution), WithJsonSchema(_distribution_schema())] = None
    source: Texts = Field(default_factory=list)
    grade: Annotated[Grade, BeforeValidator(choice(*GRADES))]
    formula: Text | None = None
    reason: Text | None = None
    run: Text | None = None
    recalled: Flag = False
    note: Text | None = None
    label: LabelModel | None = None
    new: Flag = False


class PartialLeafModel(Model):
    """A replacement of some keys of one parameter, in a scenario's overrides."""

    value: Numbers | None = None
    unit: Annotated[str, BeforeValidator(choice(*UNITS)), Field(json_schema_extra={"enum": list(UNITS)})] | None = None
    distribution: Annotated[Any, BeforeValidator(_distribution), WithJsonSchema(_distribution_schema())] = None
    source: Texts | None = None
    grade: Annotated[Grade, BeforeValidator(choice(*GRADES))] | None = None
    formula: Text | None = None
    reason: Text | None = None
    run: Text | None = None
    recalled: Flag | None = None
    note: Text | None = None
    label: LabelModel | None = None


class SourceModel(Model):
    """One source of numbers."""

    citation: Text
    doi: Text | None = None
    pmid: Text | Whole | None = None
    year: Whole | None = None
    dossier: Text | None = None
    seen: Text | Flag | None = None
    url: Text | None = None
    note: Text | None = None


class StructureModel(Model):
    """A structural alternative: numbers that stand for another reading of the evidence."""

    id: Id
    label: LabelModel
    note: Text | None = None
    numbers: Annotated[Any, WithJsonSchema({"type": "object", "minProperties": 1})]


class TopicModel(Model):
    """A structural question: weights of the base case (`base`) and of alternatives (files of scenarios/structures/)."""

    id: Id
    label: LabelModel
    weights: Annotated[
        Any, WithJsonSchema({"type": "object", "minProperties": 2, "additionalProperties": {"type": "number"}})
    ]
    source: Texts = Field(default_factory=list)
    grade: Annotated[Grade, BeforeValidator(choice(*GRADES))]
    reason: Text


class CorrelationModel(Model):
    """Parameters drawn together through a Gaussian copula."""

    parameters: Texts
    matrix: Annotated[
        list[list[float]],
        WithJsonSchema({"type": "array", "items": {"type": "array", "items": {"type": "number"}}}),
    ]
    note: Text | None = None
    source: Texts | None = None


class PosteriorModel(Model):
    """The manifest of a posterior file."""

    parameters: Texts
    draws: Whole
    sha256: Text
    run: Text
    seed: Whole | None = None
    version: Text | None = None
    inputs: Any = None
    """fingerprints of what the draws were made from"""
    base: dict[str, Number] | None = None
    """value of each parameter in a base case; without it the values of the params files stand there"""
    targets: Any = None
    fit: Any = None
    note: Text | None = None


# ---------------------------------------------------------------------------------------------------------------------
# Errors


def validate(model: type[ModelType], document: Document, path: KeyPath, what: str) -> ModelType:
    """The model of the entry at `path`; InputError at the line of the first thing wrong.

    `what` names the entry in words ("a parameter"). An empty value is refused for every key.
    """
    tree = document.get(path)
    if not isinstance(tree, dict):
        raise document.error(path, describe(tree), f"{what}: a mapping with {', '.join(model.model_fields)}")
    try:
        checked = model.model_validate(tree)
    except ValidationError as errors:
        raise min(
            (_translate(error, model, document, path) for error in errors.errors(include_url=False)),
            key=lambda error: error.line or 0,
        ) from None
    for key, value in tree.items():
        if value is None:
            raise document.error((*path, key), f"{key} without a value", "a value, or leave the key out")
    return checked


def _translate(error: Any, model: type[BaseModel], document: Document, path: KeyPath) -> InputError:
    kind, found = error["type"], error.get("input")
    location = _existing(document, path, error["loc"], kind)
    if kind == "simhcc":
        return document.error(location, error["ctx"]["found"], error["ctx"]["expected"])
    if kind == "extra_forbidden":
        key = str(error["loc"][-1])
        return unknown_key(document, location, key, _fields_at(model, error["loc"][:-1]))
    if kind == "missing":
        key = str(error["loc"][-1])
        return document.error(location[:-1], f"no key {key!r}", f"{key}: it is required")
    return document.error(location, describe(found), str(error["msg"]).lower())


def unknown_key(document: Document, path: KeyPath, key: str, allowed: Iterable[str]) -> InputError:
    """The error for a key that is not among `allowed`, with the nearest one."""
    names = list(allowed)
    near = nearest(key, names)
    hint = f"{near}? Allowed keys: " if near else ""
    return document.error(path, f"the unknown key {key!r}", f"{hint}{', '.join(names)}")


def _existing(document: Document, path: KeyPath, location: tuple[Key, ...], kind: str) -> KeyPath:
    """The key path in the file of a pydantic location, which also holds the names of union members."""
    keys = path
    for position, part in enumerate(location):
        last = position == len(location) - 1
        if (*keys, part) in document.lines or (last and kind == "missing"):
            keys = (*keys, part)
    return keys


def _fields_at(model: type[BaseModel], location: tuple[Key, ...]) -> list[str]:
    """The field names allowed at a location inside a model."""
    fields: type[BaseModel] = model
    for part in location:
        info = fields.model_fields.get(str(part))
        inner = _model_in(info.annotation) if info is not None else None
        if inner is not None:
            fields = inner
    return list(fields.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        inner = _model_in(part)
        if inner is not None:
            return inner
    return None


# ---------------------------------------------------------------------------------------------------------------------
# strategies

OPERATORS = ("eq", "ne", "lt", "le", "gt", "ge", "in", "not_in")
ORDER_OPERATORS = ("lt", "le", "gt", "ge")

_SCALAR_SCHEMA = {"type": ["string", "number", "boolean"]}
_SCALARS_SCHEMA = {"type": "array", "items": _SCALAR_SCHEMA, "minItems": 1}
_THRESHOLD_SCHEMA = {
    "anyOf": [{"type": "number"}, {"type": "string"}],
    "description": "A number, the dotted name of a parameter, or ${option}.",
}
WHEN_SCHEMA: dict[str, Any] = {
    "type": "object",
    "minProperties": 1,
    "propertyNames": {"pattern": NAME_PATTERN},
    "description": "Conditions on attributes, joined by and.",
    "additionalProperties": {
        "anyOf": [
            _SCALAR_SCHEMA,
            _SCALARS_SCHEMA,
            {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": False,
                "properties": {
                    **{op: _SCALAR_SCHEMA for op in ("eq", "ne")},
                    **{op: _THRESHOLD_SCHEMA for op in ORDER_OPERATORS},
                    **{op: _SCALARS_SCHEMA for op in ("in", "not_in")},
                },
            },
        ]
    },
}
_SET_SCHEMA: dict[str, Any] = {
    "type": "object",
    "minProperties": 1,
    "propertyNames": {"pattern": NAME_PATTERN},
    "additionalProperties": _SCALAR_SCHEMA,
}


def check_scalar(value: Any) -> str | float | int | bool:
    """A word, a number, true or false."""
    if not isinstance(value, str | int | float | bool) or value == "":
        raise refuse(describe(value), "a word, a number, true or false")
    return value


def _scalars_by_name(value: Any) -> Any:
    if not isinstance(value, dict) or not value:
        raise refuse(describe(value), "a mapping of names to values")
    for name, item in value.items():
        if not re.match(NAME_PATTERN, name):
            raise refuse(f"the name {name!r}", "a letter, then letters, digits or _")
        if not isinstance(item, str | int | float | bool) or item == "":
            raise refuse(f"{name}: {describe(item)}", "a word, a number, true or false")
    return value


Scalars = Annotated[Any, BeforeValidator(_scalars_by_name), WithJsonSchema(_SET_SCHEMA)]
WhenInFile = Annotated[Any, WithJsonSchema(WHEN_SCHEMA)]


class RowModel(Model):
    """One row of a decision table."""

    when: WhenInFile = None
    do: Text
    systemic: Text | None = None
    local: Text | None = None
    set: Scalars | None = None
    note: Text | None = None


class InheritModel(Model):
    """The last row of a table that continues with the inherited rows."""

    inherit: Annotated[bool, BeforeValidator(_flag), WithJsonSchema({"const": True})]
    note: Text | None = None


def _rows_schema() -> dict[str, Any]:
    rows = [plain_schema(model) for model in (RowModel, InheritModel)]
    return {
        "type": "object",
        "propertyNames": {"pattern": NAME_PATTERN},
        "additionalProperties": {"type": "array", "minItems": 1, "items": {"anyOf": rows}},
    }


class StrategyModel(Model):
    """A strategy: what to do at each decision, as tables."""

    id: Id
    label: LabelModel
    setting: Annotated[
        Literal["resectable", "intermediate", "advanced", "national", "any"],
        BeforeValidator(choice(*SETTINGS, "any")),
    ]
    note: Text | None = None
    inherits: Text | None = None
    options: Scalars | None = None
    tables: Annotated[Any, WithJsonSchema(_rows_schema())] = None


# ---------------------------------------------------------------------------------------------------------------------
# scenarios


class SubgroupModel(Model):
    """Patients of the population that are reported on their own."""

    id: Id
    label: LabelModel
    when: WhenInFile


class StrategyEntryModel(Model):
    """A strategy in a scenario, with options or under another id."""

    id: Text
    options: Scalars | None = None
    as_: Id | None = Field(default=None, alias="as")
    label: LabelModel | None = None


def _entries_schema() -> dict[str, Any]:
    entry = plain_schema(StrategyEntryModel)
    return {"type": "array", "minItems": 1, "items": {"anyOf": [{"type": "string", "minLength": 1}, entry]}}


def _overrides_schema() -> dict[str, Any]:
    numbers = {"anyOf": [{"type": "number"}, {"type": "array", "items": {"type": "number"}, "minItems": 1}]}
    partial = plain_schema(PartialLeafModel) | {"minProperties": 1}
    return {
        "type": "object",
        "propertyNames": {"pattern": DOTTED_PATTERN},
        "additionalProperties": {"anyOf": [*numbers["anyOf"], partial]},
    }


_WTP_SCHEMA = {
    "type": "array",
    "minItems": 1,
    "items": {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": DOTTED_PATTERN}]},
}


class ScenarioModel(Model):
    """A question: a population, the strategies compared in it, and the rules of the comparison."""

    id: Id
    label: LabelModel | None = None
    question: Text | None = None
    note: Text | None = None
    extends: Text | None = None
    setting: (
        Annotated[Literal["resectable", "intermediate", "advanced", "national"], BeforeValidator(choice(*SETTINGS))]
        | None
    ) = None
    population: Text | None = None
    strategies: Annotated[Any, WithJsonSchema(_entries_schema())] = None
    comparator: Text | None = None
    country: Text | None = None
    perspective: (
        Annotated[Literal["healthcare_system", "payer", "societal"], BeforeValidator(choice(*PERSPECTIVES))] | None
    ) = None
    horizon_years: Positive | None = None
    patients: Size | None = None
    iterations: Size | None = None
    seed: Seed | None = None
    wtp: Annotated[Any, WithJsonSchema(_WTP_SCHEMA)] = None
    subgroups: Annotated[Any, WithJsonSchema({"type": "array", "items": plain_schema(SubgroupModel)})] = None
    overrides: Annotated[Any, WithJsonSchema(_overrides_schema())] = None
    parameters: Texts | None = None
    structure: Annotated[
        Any, WithJsonSchema({"anyOf": [{"const": "all"}, {"type": "array", "items": {"type": "string"}}]})
    ] = None


# Keys that a scenario must have once what it extends is laid under it.
SCENARIO_REQUIRED = ("label", "setting", "population", "strategies", "comparator", "patients", "iterations", "seed")
