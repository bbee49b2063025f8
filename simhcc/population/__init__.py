"""Baseline patients: populations as files, sampled jointly and by address, matched to published baseline tables."""

from simhcc.population.attributes import ATTRIBUTES, DERIVED, Attribute, Derived, levels_of
from simhcc.population.cohort import Cohort, sample_cohort
from simhcc.population.definition import Population, load_population, read_population
from simhcc.population.fit import Fit, fit_population

__all__ = [
    "ATTRIBUTES",
    "DERIVED",
    "Attribute",
    "Cohort",
    "Derived",
    "Fit",
    "Population",
    "fit_population",
    "levels_of",
    "load_population",
    "read_population",
    "sample_cohort",
]
