"""Money: the currency of a country pack, and the rates that bring other currencies into it.

The currency is that of the willingness to pay, `economics.wtp_per_qaly`. Prices and unit costs in another currency are
converted at `economics.CURRENCY_per_OTHER` (or its inverse); without such a rate they are refused.
"""

from __future__ import annotations

from collections.abc import Mapping

from simhcc.errors import InputError
from simhcc.inputs.leaf import Parameter
from simhcc.inputs.units import CURRENCIES

WTP = "economics.wtp_per_qaly"


def money_of(unit: str) -> str | None:
    """The currency of a unit of money such as `usd_per_month`; None for other units and for exchange rates."""
    code, _, per = unit.partition("_per_")
    return code if code in CURRENCIES and per not in CURRENCIES else None


def currency_code(parameters: Mapping[str, Parameter]) -> str | None:
    """The currency of results, such as `cny`; None where no willingness to pay is known."""
    return money_of(parameters[WTP].unit) if WTP in parameters else None


def conversion_rates(parameters: Mapping[str, Parameter]) -> dict[str, float]:
    """Name -> factor for every amount of money that stands in another currency than the country's.

    Raises InputError, with file and line, for an amount in a currency without a rate.
    """
    currency = currency_code(parameters)
    found: dict[str, float] = {}
    if currency is None:
        return found
    for name, parameter in parameters.items():
        money = money_of(parameter.unit)
        if money is None or money == currency:
            continue
        direct, inverse = f"economics.{currency}_per_{money}", f"economics.{money}_per_{currency}"
        if direct in parameters:
            rate = float(parameters[direct].base())
        elif inverse in parameters:
            rate = 1.0 / float(parameters[inverse].base())
        else:
            place = parameter.place
            raise InputError(
                f"{parameter.unit}, a currency without a rate in a country that counts in {currency}",
                f"an amount in {currency}, or the parameter {direct}",
                name,
                place.file,
                place.line,
            )
        found[name] = rate
    return found
