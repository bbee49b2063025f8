"""Base numbers and baseline patients of the packaged populations, read once for all tests of the pathway."""

from __future__ import annotations

from functools import lru_cache

from simhcc.inputs import load_parameters
from simhcc.population import load_population, sample_cohort


@lru_cache
def base() -> dict:
    """Every number at its base value."""
    return load_parameters().base_values()


@lru_cache
def cohort_of(population: str, patients: int) -> dict:
    """Attributes of the first patients of a population."""
    return dict(sample_cohort(load_population(population), base(), patients, 7).attributes)
