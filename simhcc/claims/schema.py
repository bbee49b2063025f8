"""JSON Schemas of the files of claims and forecasts, for editors; generated from the models that check the files."""

from __future__ import annotations

from typing import Any

from simhcc.claims.forecast import ForecastModel
from simhcc.claims.registry import ClaimModel, ComponentModel, EvidenceModel, ExperimentModel, MapModel
from simhcc.inputs.models import plain_schema
from simhcc.inputs.schema import titled


def claim_schemas() -> dict[str, dict[str, Any]]:
    """File kind -> JSON Schema (draft 2020-12) of claims and forecasts.

    As with `simhcc.inputs.json_schema`, a schema accepts every file that is read; what needs more than one entry (an
    unknown experiment, strategy or source) is found on reading only.
    """
    claim = plain_schema(ClaimModel)
    claim["properties"] |= {
        "evidence": _list_of(plain_schema(EvidenceModel)),
        "experiments": {"type": "object", "additionalProperties": plain_schema(ExperimentModel)},
        "components": _list_of(plain_schema(ComponentModel)) | {"minItems": 1},
        "evidence_groups": {
            "type": "object",
            "additionalProperties": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        },
        "maps": _list_of(plain_schema(MapModel)),
    }
    return {"claim": titled("claim", claim), "forecast": titled("forecast", plain_schema(ForecastModel))}


def _list_of(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": schema}
