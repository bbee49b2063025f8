"""The small language in which a pathway says what depends on what.

An expression is built from parameters (`parameter("tace.p_procedure_death")`), patient attributes
(`attribute("nodules")`), what the engine knows (`MONTHS`, `MONTHS_IN_STATE`, `receiving("tace")`, ...) and
addressed random numbers (`uniform("extent")`) with the usual operators. It never runs as Python during a simulation: what
depends on parameters alone becomes one number per draw, and the rest becomes a short list of instructions that the
kernel carries out for many patients at once. So changing an expression never recompiles anything.

Truth is 1.0 and falsehood 0.0; `&`, `|` and `~` are and, or and not on such values.
"""

from __future__ import annotations

import itertools
import numbers as _numbers
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Union

import numpy as np
from numpy.typing import NDArray

from simhcc.engine import arithmetic
from simhcc.errors import ModelError

Operand = Union["Expression", float, int]


_counter = itertools.count()
_keys: dict[tuple[object, ...], int] = {}


class Expression:
    """One node of an expression tree: an operation name, its operands and its payload (a name or a value)."""

    __slots__ = ("_attributes", "_depends", "_key", "_treatments", "operands", "operation", "payload")

    def __init__(self, operation: str, operands: tuple[Expression, ...] = (), payload: object = None) -> None:
        self.operation = operation
        self.operands = operands
        self.payload = payload
        self._key: int | None = None
        self._depends: bool | None = None
        self._attributes: frozenset[str] | None = None
        self._treatments: frozenset[str] | None = None

    @property
    def key(self) -> int:
        """Number of the tree's structure in this process; two expressions with equal keys mean the same."""
        if self._key is None:
            structure = (self.operation, self.payload, *(operand.key for operand in self.operands))
            self._key = _keys.setdefault(structure, next(_counter))
        return self._key

    @property
    def attributes(self) -> frozenset[str]:
        """Names of the attributes that it reads."""
        if self._attributes is None:
            own = {str(self.payload)} if self.operation == "attribute" else set()
            self._attributes = frozenset(own.union(*(operand.attributes for operand in self.operands)))
        return self._attributes

    @property
    def treatments(self) -> frozenset[str]:
        """Names of the treatments that it asks for."""
        if self._treatments is None:
            own = {str(self.payload)} if self.operation == "receiving" else set()
            self._treatments = frozenset(own.union(*(operand.treatments for operand in self.operands)))
        return self._treatments

    def __reduce__(self) -> tuple[Any, ...]:
        return Expression, (self.operation, self.operands, self.payload)

    def __add__(self, other: Operand) -> Expression:
        return Expression("add", (self, as_expression(other)))

    def __radd__(self, other: Operand) -> Expression:
        return Expression("add", (as_expression(other), self))

    def __sub__(self, other: Operand) -> Expression:
        return Expression("subtract", (self, as_expression(other)))

    def __rsub__(self, other: Operand) -> Expression:
        return Expression("subtract", (as_expression(other), self))

    def __mul__(self, other: Operand) -> Expression:
        return Expression("multiply", (self, as_expression(other)))

    def __rmul__(self, other: Operand) -> Expression:
        return Expression("multiply", (as_expression(other), self))

    def __truediv__(self, other: Operand) -> Expression:
        return Expression("divide", (self, as_expression(other)))

    def __rtruediv__(self, other: Operand) -> Expression:
        return Expression("divide", (as_expression(other), self))

    def __neg__(self) -> Expression:
        return Expression("negate", (self,))

    def __lt__(self, other: Operand) -> Expression:
        return Expression("less", (self, as_expression(other)))

    def __le__(self, other: Operand) -> Expression:
        return Expression("less_equal", (self, as_expression(other)))

    def __gt__(self, other: Operand) -> Expression:
        return Expression("less", (as_expression(other), self))

    def __ge__(self, other: Operand) -> Expression:
        return Expression("less_equal", (as_expression(other), self))

    def __eq__(self, other: object) -> Expression:  # type: ignore[override]
        return Expression("equal", (self, as_expression(other)))

    def __ne__(self, other: object) -> Expression:  # type: ignore[override]
        return Expression("not_equal", (self, as_expression(other)))

    def __and__(self, other: Operand) -> Expression:
        return Expression("and", (self, as_expression(other)))

    def __rand__(self, other: Operand) -> Expression:
        return Expression("and", (as_expression(other), self))

    def __or__(self, other: Operand) -> Expression:
        return Expression("or", (self, as_expression(other)))

    def __ror__(self, other: Operand) -> Expression:
        return Expression("or", (as_expression(other), self))

    def __invert__(self) -> Expression:
        return Expression("not", (self,))

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise TypeError("an expression has no truth value here; use &, |, ~ and where() to combine conditions")

    def __repr__(self) -> str:
        return in_words(self)


def as_expression(value: object) -> Expression:
    """An expression as it is, a number as a constant; raises ModelError for anything else."""
    if isinstance(value, Expression):
        return value
    if isinstance(value, (bool, np.bool_)):
        return Expression("constant", payload=float(value))
    if isinstance(value, _numbers.Real):
        return Expression("constant", payload=float(value))
    raise ModelError(f"{value!r} is neither a number nor an expression")


def parameter(name: str) -> Expression:
    """The value of a parameter by its dotted name; vectors are read with `lookup`."""
    return Expression("parameter", payload=name)


def attribute(name: str) -> Expression:
    """A patient's attribute, baseline or acquired, at the moment of evaluation."""
    return Expression("attribute", payload=name)


def uniform(purpose: str) -> Expression:
    """A uniform random number in (0, 1), addressed by `purpose` within the node that evaluates it.

    Occurrence is the pair (earlier entries to the node, earlier firings in this stay), so the same patient meets the
    same number under every strategy. Two mentions of one purpose in one evaluation are the same number.
    """
    return Expression("uniform", payload=purpose)


def standard_normal(purpose: str) -> Expression:
    """A standard normal random number: the normal quantile of `uniform(purpose)`."""
    return Expression("normal_quantile", (uniform(purpose),))


def receiving(treatment: str) -> Expression:
    """1 while the named treatment fills its slot, else 0."""
    return Expression("receiving", payload=treatment)


def months_on(slot: str) -> Expression:
    """Months since the current treatment of `slot` (`"local"` or `"systemic"`) started; since entry for `none`."""
    if slot not in ("local", "systemic"):
        raise ModelError(f"slot {slot!r} is unknown: a treatment slot is 'local' or 'systemic'")
    return Expression("builtin", payload=f"months_on_{slot}")


MONTHS = Expression("builtin", payload="months")
"""Months since entry into the model."""
MONTHS_IN_STATE = Expression("builtin", payload="months_in_state")
"""Months since the running stay began."""


def where(condition: Operand, then: Operand, otherwise: Operand) -> Expression:
    """`then` where `condition` is not 0, else `otherwise`."""
    return Expression("select", (as_expression(condition), as_expression(then), as_expression(otherwise)))


def minimum(first: Operand, second: Operand) -> Expression:
    """The smaller of two values."""
    return Expression("minimum", (as_expression(first), as_expression(second)))


def maximum(first: Operand, second: Operand) -> Expression:
    """The larger of two values."""
    return Expression("maximum", (as_expression(first), as_expression(second)))


def exp(value: Operand) -> Expression:
    """Exponential function, the engine's own."""
    return Expression("exp", (as_expression(value),))


def log(value: Operand) -> Expression:
    """Natural logarithm, the engine's own."""
    return Expression("log", (as_expression(value),))


def floor(value: Operand) -> Expression:
    """Largest integer not above the value."""
    return Expression("floor", (as_expression(value),))


def lookup(vector: str, index: Operand) -> Expression:
    """Element `index` (0-based, rounded down, kept inside the vector) of a vector parameter."""
    return Expression("lookup", (as_expression(index),), vector)


def any_of(*conditions: Operand) -> Expression:
    """1 where at least one condition holds; 0 for none given."""
    result = as_expression(0.0)
    for position, condition in enumerate(conditions):
        result = as_expression(condition) if position == 0 else result | condition
    return result


def all_of(*conditions: Operand) -> Expression:
    """1 where every condition holds; 1 for none given."""
    result = as_expression(1.0)
    for position, condition in enumerate(conditions):
        result = as_expression(condition) if position == 0 else result & condition
    return result


def is_one_of(value: Operand, choices: tuple[Operand, ...]) -> Expression:
    """1 where `value` equals one of `choices`."""
    return any_of(*(as_expression(value) == choice for choice in choices))


def leaves(expression: Expression, operation: str) -> Iterator[str]:
    """Payloads of the leaves of one kind: `"parameter"`, `"attribute"`, `"uniform"`, `"receiving"`, `"lookup"`.

    A part that occurs several times as one object is looked at once.
    """
    seen = {id(expression)}
    todo = [expression]
    while todo:
        one = todo.pop()
        if one.operation == operation:
            yield str(one.payload)
        for operand in one.operands:
            if id(operand) not in seen:
                seen.add(id(operand))
                todo.append(operand)


def depends_on_patient(expression: Expression) -> bool:
    """Whether the value can differ between patients or moments, so that it must be evaluated in the kernel."""
    if expression._depends is None:
        expression._depends = expression.operation in ("attribute", "uniform", "receiving", "builtin") or any(
            depends_on_patient(operand) for operand in expression.operands
        )
    return expression._depends


_INFIX = {
    "add": "+",
    "subtract": "-",
    "multiply": "x",
    "divide": "/",
    "less": "<",
    "less_equal": "<=",
    "equal": "=",
    "not_equal": "is not",
    "and": "and",
    "or": "or",
}


def in_words(expression: Expression) -> str:
    """The expression as a person would write it."""
    operation, operands = expression.operation, [in_words(operand) for operand in expression.operands]
    if operation == "constant":
        return f"{expression.payload:g}"
    if operation in ("parameter", "attribute"):
        return str(expression.payload)
    if operation == "uniform":
        return f"chance({expression.payload})"
    if operation == "receiving":
        return f"receiving {expression.payload}"
    if operation == "builtin":
        return str(expression.payload).replace("_", " ")
    if operation == "lookup":
        return f"{expression.payload}[{operands[0]}]"
    if operation in _INFIX:
        return f"({operands[0]} {_INFIX[operation]} {operands[1]})"
    if operation == "negate":
        return f"-{operands[0]}"
    if operation == "not":
        return f"not {operands[0]}"
    if operation == "select":
        return f"({operands[1]} if {operands[0]} else {operands[2]})"
    return f"{operation}({', '.join(operands)})"


def evaluate(expression: Expression, values: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Value per draw of an expression of parameters only.

    `values` maps a parameter's name to an array whose first axis is the draw: shape (draws,) or, for vectors,
    (draws, k). Uses the engine's own logarithm and exponential, so the result is the same bits on any processor.
    Raises ModelError for an unknown parameter or for anything that depends on a patient.
    """
    operation, payload = expression.operation, expression.payload
    if operation == "constant":
        return np.asarray(payload, dtype=np.float64)
    if operation == "parameter":
        value = _value(values, str(payload))
        if value.ndim != 1:
            raise ModelError(f"parameter {payload!r} is a vector; read one of its elements with lookup()")
        return value
    operands = [evaluate(operand, values) for operand in expression.operands]
    with np.errstate(all="ignore"):
        if operation == "lookup":
            vector = _value(values, str(payload))
            if vector.ndim != 2:
                raise ModelError(f"parameter {payload!r} is a single number; lookup() needs a vector")
            index = np.clip(np.floor(operands[0]).astype(np.int64), 0, vector.shape[1] - 1)
            return vector[np.arange(vector.shape[0]), np.broadcast_to(index, vector.shape[:1])]
        function = _ARRAY_OPERATIONS.get(operation)
        if function is None:
            raise ModelError(f"{in_words(expression)} depends on the patient and cannot be evaluated from parameters")
        return np.asarray(function(*operands), dtype=np.float64)


def _value(values: Mapping[str, NDArray[np.float64]], name: str) -> NDArray[np.float64]:
    try:
        return np.asarray(values[name], dtype=np.float64)
    except KeyError:
        import difflib

        near = difflib.get_close_matches(name, list(values), 1, 0.5)
        hint = f"; the nearest name is {near[0]!r}" if near else ""
        raise ModelError(f"parameter {name!r} is not defined{hint}") from None


_ARRAY_OPERATIONS: dict[str, Callable[..., object]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "negate": lambda a: -a,
    "minimum": lambda a, b: np.where(b < a, b, a),
    "maximum": lambda a, b: np.where(b > a, b, a),
    "less": lambda a, b: a < b,
    "less_equal": lambda a, b: a <= b,
    "equal": lambda a, b: a == b,
    "not_equal": lambda a, b: a != b,
    "and": lambda a, b: (a != 0) & (b != 0),
    "or": lambda a, b: (a != 0) | (b != 0),
    "not": lambda a: a == 0,
    "select": lambda c, a, b: np.where(c != 0, a, b),
    "exp": lambda a: arithmetic.exp_array(a),
    "log": lambda a: arithmetic.log_array(a),
    "floor": np.floor,
    "normal_quantile": lambda a: arithmetic.normal_quantile_array(a),
}
