"""The closed list of units: what a number counts, and the limits it cannot pass."""

from __future__ import annotations

import math
from itertools import permutations
from typing import NamedTuple


class Unit(NamedTuple):
    """Meaning of a unit in words and the closed range its numbers lie in."""

    meaning: str
    low: float = 0.0
    high: float = math.inf


_ANY = -math.inf

CURRENCIES = {"cny": "renminbi", "usd": "United States dollars", "eur": "euros", "gbp": "pounds sterling"}
"""code -> name; a country's costs may stand in another currency where `economics` has the rate"""

UNITS: dict[str, Unit] = {
    # shares and chances
    "fraction": Unit("a share or probability", 0.0, 1.0),
    "odds": Unit("a probability divided by its complement"),
    "log_odds": Unit("natural logarithm of odds", _ANY),
    # rates and times
    "per_month": Unit("events per person-month"),
    "per_year": Unit("events per person-year; also an annual discount or growth rate"),
    "log_per_month": Unit("natural logarithm of a rate per month", _ANY),
    "days": Unit("a duration or age in days"),
    "weeks": Unit("a duration in weeks"),
    "months": Unit("a duration in months"),
    "years": Unit("a duration or age in years"),
    "calendar_year": Unit("a year of the calendar", 1900.0, 2200.0),
    # effects
    "hazard_ratio": Unit("a ratio of hazards"),
    "odds_ratio": Unit("a ratio of odds"),
    "risk_ratio": Unit("a ratio of probabilities"),
    "ratio": Unit("any other ratio or multiplier of at least 0"),
    "log_ratio": Unit("natural logarithm of a ratio, also per unit of an attribute", _ANY),
    "log_hazard_ratio": Unit("natural logarithm of a hazard ratio, also per unit of an attribute", _ANY),
    "log_odds_ratio": Unit("natural logarithm of an odds ratio, also per unit of an attribute", _ANY),
    # parameters of distributions
    "shape": Unit("shape parameter of a survival distribution, above 0"),
    "sd": Unit("standard deviation, in the unit of what it describes"),
    "log_sd": Unit("standard deviation of a natural logarithm"),
    "correlation": Unit("a correlation coefficient", -1.0, 1.0),
    "number": Unit("a plain number of any sign", _ANY),
    "score": Unit("a clinical score of any sign (ALBI, 6-and-12)", _ANY),
    "flag": Unit("0 for no, 1 for yes", 0.0, 1.0),
    "count": Unit("how many (sessions, doses, nodules, patients); means need not be whole"),
    "per_patient": Unit("how many per patient"),
    # body, tumour, laboratory, dose
    "cm": Unit("centimetres"),
    "mm": Unit("millimetres"),
    "kg": Unit("kilograms"),
    "kg_per_m2": Unit("kilograms per square metre"),
    "m2": Unit("square metres"),
    "mg": Unit("milligrams"),
    "mg_per_kg": Unit("milligrams per kilogram of body weight"),
    "mg_per_m2": Unit("milligrams per square metre of body surface"),
    "mg_per_day": Unit("milligrams per day"),
    "ml": Unit("millilitres"),
    "gy": Unit("gray"),
    "ng_per_ml": Unit("nanograms per millilitre (AFP)"),
    "log10_ng_per_ml": Unit("decimal logarithm of nanograms per millilitre", _ANY),
    "g_per_l": Unit("grams per litre (albumin)"),
    "umol_per_l": Unit("micromoles per litre (bilirubin)"),
    # utilities
    "utility": Unit("health-related quality of life, 0 dead to 1 full health", 0.0, 1.0),
    "disutility": Unit("a loss of utility, written as a number of at least 0", 0.0, 1.0),
    "qaly": Unit("quality-adjusted life years"),
    # money
    **{
        f"{code}{per}": Unit(f"{name}{words}")
        for code, name in CURRENCIES.items()
        for per, words in (
            ("", ""),
            ("_per_month", " per month"),
            ("_per_year", " per year"),
            ("_per_mg", " per milligram"),
            ("_per_qaly", " per QALY"),
        )
    },
    **{f"{a}_per_{b}": Unit(f"exchange rate: {a} for one {b}") for a, b in permutations(CURRENCIES, 2)},
    "index": Unit("a price index or index ratio"),
}


def range_words(low: float, high: float) -> str:
    """A range in words: `0 or more`, `0 to 1`."""
    return f"{low:g} or more" if math.isinf(high) else f"{low:g} to {high:g}"
