"""Input files: the only reader of YAML; strict, with units, sources and file:line messages.

`load_parameters`, `load_scenario` and `load_strategy` give frozen typed objects; `read_yaml` gives other modules a
checked tree with places. Everything wrong is an `InputError` before anything is simulated or written.
"""

from simhcc.inputs.locate import find_input, list_inputs
from simhcc.inputs.parameters import (
    CorrelationGroup,
    Label,
    Parameter,
    ParameterSet,
    Posterior,
    Source,
    Uncertainty,
    country_differences,
    list_countries,
    load_parameters,
)
from simhcc.inputs.reader import Document, Place, describe, nearest, one_of, read_yaml, read_yaml_bytes
from simhcc.inputs.units import UNITS, Unit

__all__ = [
    "UNITS",
    "CorrelationGroup",
    "Document",
    "Label",
    "Parameter",
    "ParameterSet",
    "Place",
    "Posterior",
    "Source",
    "Uncertainty",
    "Unit",
    "country_differences",
    "describe",
    "find_input",
    "list_countries",
    "list_inputs",
    "load_parameters",
    "nearest",
    "one_of",
    "read_yaml",
    "read_yaml_bytes",
]
