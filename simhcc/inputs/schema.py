"""JSON Schemas of the input files, for editors; generated from the models that check the files."""

from __future__ import annotations

from typing import Any

from simhcc.inputs.models import (
    NAME_PATTERN,
    SCENARIO_REQUIRED,
    CorrelationModel,
    LeafModel,
    PosteriorModel,
    ScenarioModel,
    SourceModel,
    StrategyModel,
    StructureModel,
    TopicModel,
    plain_schema,
)
from simhcc.inputs.trials import TrialModel

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, dict[str, Any]]:
    """File kind -> JSON Schema (draft 2020-12).

    Kinds: params, sources, correlations, posterior, scenario, strategy, structure, structures, trial. Those of claims and
    forecasts are in `simhcc.claims.schema`.

    A schema accepts every file that is read; some rules that need more than one entry (an unknown source, a
    distribution that does not fit its value) are checked on reading only.
    """
    scenario = plain_schema(ScenarioModel)
    scenario["anyOf"] = [{"required": ["extends"]}, {"required": list(SCENARIO_REQUIRED)}]
    schemas = {
        "params": _params(),
        "sources": _mapping_of(plain_schema(SourceModel)),
        "correlations": {"type": "array", "items": plain_schema(CorrelationModel)},
        "posterior": plain_schema(PosteriorModel),
        "scenario": scenario,
        "strategy": plain_schema(StrategyModel),
        "structure": plain_schema(StructureModel),
        "structures": {"type": "array", "items": plain_schema(TopicModel)},
        "trial": plain_schema(TrialModel),
    }
    return {kind: titled(kind, schema) for kind, schema in schemas.items()}


def titled(kind: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A schema with its dialect and the title that editors show."""
    return {"$schema": _DIALECT, "title": f"simhcc {kind}", **schema}


def _mapping_of(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": schema}


def _params() -> dict[str, Any]:
    """Nested groups; a mapping with the key `value` is a parameter."""
    names = {"propertyNames": {"pattern": NAME_PATTERN}}
    entry = {
        "if": {"type": "object", "required": ["value"]},
        "then": {"$ref": "#/$defs/parameter"},
        "else": {"$ref": "#/$defs/group"},
    }
    group = {"type": "object", "minProperties": 1, **names, "additionalProperties": entry}
    top = {"type": "object", "minProperties": 1, **names, "additionalProperties": {"$ref": "#/$defs/group"}}
    return {**top, "$defs": {"parameter": plain_schema(LeafModel), "group": group}}
