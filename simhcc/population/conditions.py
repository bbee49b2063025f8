"""Conditions on a patient, as population files write them: `pv <= Vp2 and cnlc in [Ib, IIa]`.

A condition is comparisons joined by `and`, and those joined by `or`; `and` binds more tightly. A comparison is an
attribute or derived class, one of == != <= >= < > in, and a number or the name of a level. Levels are ordered as their
codes.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhcc.population.attributes import ATTRIBUTES, DERIVED, Array, Columns, levels_of

Flags = NDArray[np.bool_]

_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_COMPARISON = re.compile(r"\s*(\w+)\s*(==|!=|<=|>=|<|>|\bin\b)\s*(.+?)\s*\Z")


class ConditionError(ValueError):
    """Text that is not a condition: `found` and `expected` for a message."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(f"{found}; expected {expected}")
        self.found, self.expected = found, expected


@dataclass(frozen=True)
class Comparison:
    """One comparison of a named column with one value, or with several for `in`."""

    name: str
    symbol: str
    values: tuple[float, ...]

    def holds(self, columns: Columns) -> Flags:
        """Where it is true."""
        column = columns[self.name]
        if self.symbol == "in":
            return np.isin(column, self.values)
        result: Flags = _OPERATORS[self.symbol](column, self.values[0])
        return result


@dataclass(frozen=True)
class Condition:
    """Alternatives (or) of comparisons that must all hold (and)."""

    text: str
    alternatives: tuple[tuple[Comparison, ...], ...]

    def holds(self, columns: Columns) -> Flags:
        """Where it is true, for columns that can give every name it uses."""
        return np.logical_or.reduce(
            [np.logical_and.reduce([part.holds(columns) for part in parts]) for parts in self.alternatives]
        )

    @property
    def names(self) -> set[str]:
        """Attributes and derived classes it mentions."""
        return {part.name for parts in self.alternatives for part in parts}

    @property
    def attributes(self) -> set[str]:
        """Attributes it rests on, also by way of derived classes."""
        return {base for name in self.names for base in (DERIVED[name].needs if name in DERIVED else (name,))}


class WithDerived(dict[str, Array]):
    """Attribute columns that compute a derived class when it is first asked for."""

    def __missing__(self, name: str) -> Array:
        self[name] = DERIVED[name].of(self)
        return self[name]


def parse_condition(text: str) -> Condition:
    """A condition from its text; raises ConditionError that says what was found and what is allowed."""
    alternatives = tuple(
        tuple(_comparison(part) for part in re.split(r"\band\b", alternative))
        for alternative in re.split(r"\bor\b", text)
    )
    return Condition(text, alternatives)


def level_code(name: str, word: str) -> float:
    """The code of a level, by its name or as a number; raises ConditionError for an unknown one."""
    levels = levels_of(name)
    if levels is not None:
        for code, label in levels.items():
            if word in (label, str(code)):
                return float(code)
        raise ConditionError(f"{word!r} for {name}", "one of " + ", ".join(levels.values()))
    try:
        return float(word)
    except ValueError:
        raise ConditionError(f"{word!r} for {name}", "a number") from None


def _comparison(text: str) -> Comparison:
    match = _COMPARISON.match(text)
    if match is None:
        raise ConditionError(repr(text.strip()), "NAME OP VALUE with OP one of == != <= >= < > in")
    name, symbol, value = match.groups()
    if name not in ATTRIBUTES and name not in DERIVED:
        raise ConditionError(f"the name {name!r}", "one of " + ", ".join([*ATTRIBUTES, *DERIVED]))
    words = [value]
    if symbol == "in":
        if not (value.startswith("[") and value.endswith("]")):
            raise ConditionError(repr(value), "a list in brackets after `in`")
        words = [word.strip() for word in value[1:-1].split(",")]
    return Comparison(name, symbol, tuple(level_code(name, word) for word in words))
