"""Input files: the only reader of YAML; strict, with units, sources and file:line messages.

`load_parameters`, `load_scenario` and `load_strategy` give frozen typed objects; `read_yaml` gives other modules a
checked tree with places. Everything wrong is an `InputError` before anything is simulated or written.
"""

from simhcc.inputs.dependence import CorrelationGroup, Posterior
from simhcc.inputs.leaf import Label, Parameter
from simhcc.inputs.locate import find_input, is_path, list_inputs, packaged_folder, user_folder
from simhcc.inputs.money import conversion_rates, currency_code, money_of
from simhcc.inputs.parameters import ParameterSet, country_differences, list_countries, load_parameters
from simhcc.inputs.reader import Document, Place, describe, nearest, one_of, read_yaml, read_yaml_bytes
from simhcc.inputs.scenarios import Scenario, Subgroup, list_scenarios, load_scenario
from simhcc.inputs.schema import json_schema
from simhcc.inputs.sources import Source
from simhcc.inputs.strategies import (
    Condition,
    ParameterName,
    Row,
    Strategy,
    list_strategies,
    load_strategy,
    read_when,
    with_options,
)
from simhcc.inputs.structures import Alternative, Topic, read_alternatives, read_topics
from simhcc.inputs.uncertainty import Uncertainty
from simhcc.inputs.units import UNITS, Unit

__all__ = [
    "UNITS",
    "Alternative",
    "Condition",
    "CorrelationGroup",
    "Document",
    "Label",
    "Parameter",
    "ParameterName",
    "ParameterSet",
    "Place",
    "Posterior",
    "Row",
    "Scenario",
    "Source",
    "Strategy",
    "Subgroup",
    "Topic",
    "Uncertainty",
    "Unit",
    "conversion_rates",
    "country_differences",
    "currency_code",
    "describe",
    "find_input",
    "is_path",
    "json_schema",
    "list_countries",
    "list_inputs",
    "list_scenarios",
    "list_strategies",
    "load_parameters",
    "load_scenario",
    "load_strategy",
    "money_of",
    "nearest",
    "one_of",
    "packaged_folder",
    "read_alternatives",
    "read_topics",
    "read_when",
    "read_yaml",
    "read_yaml_bytes",
    "user_folder",
    "with_options",
]
