"""Pathway + numbers + strategy -> flat arrays for the kernel: the only place where names become positions.

`build` gives the engine's `Model` for one strategy; numbers carry a leading axis of parameter draws and are filled by array
operations. `build_rewards` does the same for what is summed over histories.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simhcc.engine import arithmetic, hazards
from simhcc.engine import layout as at
from simhcc.engine.rng import purpose_code
from simhcc.errors import ModelError
from simhcc.expressions import Expression, Operand, as_expression, depends_on_patient, evaluate, in_words, leaves
from simhcc.graph import (
    NO_TREATMENT,
    STAY,
    AdministrationReward,
    Chance,
    Channel,
    Decision,
    Edge,
    Effect,
    End,
    Endpoint,
    Hazard,
    MarkReward,
    Node,
    Pathway,
    RateReward,
    Reward,
    ScanSchedule,
    Scheduled,
    State,
    Strata,
    Strategy,
    TimeToDeathReward,
    Transition,
    expressions_of,
    hazard_key,
)

Floats = NDArray[np.float64]
Values = Mapping[str, Floats]

LARGE_PATHWAY = 40
"""attributes; a patient with more takes so much of the processor's caches that a block is one leaf of the sums, and small
blocks want long lists"""
_ATTRIBUTES_IN_LINE = 8
MOST_WANING_STEPS = 240
WANING_HALF_LIVES = 10
"""A waning effect ends after so many half-lives, when less than a thousandth of its logarithm is left."""


@dataclass(frozen=True)
class Names:
    """What the positions in a `Model` and its histories mean."""

    nodes: tuple[str, ...]
    states: tuple[str, ...]
    edges: tuple[str, ...]
    """"node/edge" for every edge"""
    marks: tuple[str, ...]
    ends: tuple[str, ...]
    local: tuple[str, ...]
    systemic: tuple[str, ...]
    attributes: tuple[str, ...]
    tags: tuple[tuple[str, tuple[str, ...]], ...]
    """tag attributes with their levels"""

    @property
    def cells(self) -> tuple[int, int, int, int]:
        """Numbers of states, local treatments, systemic treatments and tag combinations: the shape of a visit's cell."""
        tags = math.prod(len(levels) for _, levels in self.tags)
        return len(self.states), len(self.local), len(self.systemic), tags

    def cell_words(self, cell: int) -> dict[str, str]:
        """State, treatments and tags of a cell by name."""
        state, local, systemic, tag = (int(i) for i in np.unravel_index(cell, self.cells))
        words = {"state": self.states[state], "local": self.local[local], "systemic": self.systemic[systemic]}
        levels = [len(levels) for _, levels in self.tags]
        if levels:
            for (name, labels), level in zip(self.tags, np.unravel_index(tag, levels), strict=True):
                words[name] = labels[int(level)]
        return words


def draws_of(values: Values) -> int:
    """Number of draws that a set of values carries; raises ModelError when they disagree."""
    lengths: dict[int, str] = {}
    for name, value in values.items():
        array = np.asarray(value)
        if array.ndim not in (1, 2):
            raise ModelError(f"parameter {name!r} needs an axis of draws; its shape is {array.shape}")
        lengths.setdefault(array.shape[0], name)
    if len(lengths) > 1:
        (first, name_1), (second, name_2) = sorted(lengths.items())[:2]
        raise ModelError(f"parameter {name_1!r} has {first} draws but {name_2!r} has {second}")
    return next(iter(lengths), 1)


def as_values(numbers: Mapping[str, float | Sequence[float] | Floats], draws: int = 1) -> dict[str, Floats]:
    """Base-case numbers (scalars and vectors) as values with an axis of `draws` equal draws."""
    values: dict[str, Floats] = {}
    for name, number in numbers.items():
        array = np.asarray(number, dtype=np.float64)
        values[name] = np.ascontiguousarray(np.broadcast_to(array, (draws, *array.shape)))
    return values


class _Numbers:
    """Collects the columns of `Model.numbers`: every expression of parameters alone, once."""

    def __init__(self, values: Values, draws: int) -> None:
        self.values = values
        self.draws = draws
        self.columns: list[Floats] = []
        self._known: dict[int | tuple[str, str], int] = {}

    def value(self, operand: Operand, place: str) -> Floats:
        """Value per draw, shape (draws,)."""
        expression = as_expression(operand)
        if depends_on_patient(expression):
            raise ModelError(
                f"{place} may depend on parameters only, but {in_words(expression)} depends on the patient"
            )
        try:
            value = evaluate(expression, self.values)
        except ModelError as error:
            raise ModelError(f"{place}: {error}") from None
        return np.ascontiguousarray(np.broadcast_to(value, (self.draws,)))

    def add(self, value: Floats) -> int:
        self.columns.append(value)
        return len(self.columns) - 1

    def index(self, operand: Operand, place: str) -> int:
        """Column that holds an expression of parameters; refuses a value that is not a number."""
        expression = as_expression(operand)
        if expression.key not in self._known:
            value = self.value(expression, place)
            if np.isnan(value).any():
                raise ModelError(
                    f"{place}: {in_words(expression)} is not a number in draw {int(np.isnan(value).argmax())}"
                )
            self._known[expression.key] = self.add(value)
        return self._known[expression.key]

    def vector(self, name: str, place: str) -> tuple[int, int]:
        """First column and length of a vector parameter."""
        key = ("vector", name)
        if key not in self._known:
            values = _vector(self.values, name, self.draws, place)
            first = len(self.columns)
            for column in values.T:
                self.add(np.ascontiguousarray(column))
            self._known[key] = first
        return self._known[key], _vector(self.values, name, self.draws, place).shape[1]

    def matrix(self) -> Floats:
        if not self.columns:
            return np.zeros((self.draws, 1))
        return np.ascontiguousarray(np.stack(self.columns, axis=1))


def _vector(values: Values, name: str, draws: int, place: str) -> Floats:
    if name not in values:
        near = difflib.get_close_matches(name, list(values), 1, 0.5)
        raise ModelError(
            f"{place}: parameter {name!r} is not defined" + (f"; the nearest name is {near[0]!r}" if near else "")
        )
    value = np.asarray(values[name], dtype=np.float64)
    if value.ndim != 2:
        raise ModelError(f"{place}: parameter {name!r} is a single number where a vector is needed")
    return np.broadcast_to(value, (draws, value.shape[1]))


class _Programs:
    """Turns expressions into instructions for `engine.programs`."""

    def __init__(self, pathway: Pathway, names: Names, numbers: _Numbers, fixed: Mapping[str, float]) -> None:
        self.pathway = pathway
        self.numbers = numbers
        self.fixed = {name: as_expression(value) for name, value in fixed.items()}
        self.attribute = {name: position for position, name in enumerate(names.attributes)}
        self.slots = {"local": names.local, "systemic": names.systemic}
        self.treatment = {t.id: t for t in pathway.treatments}
        self.code: list[tuple[int, int, int, int, int]] = []
        self.starts: list[int] = [0]
        self.registers = 1
        self.purposes: dict[int, str] = {}
        self._resolved: dict[int, Expression] = {}

    def purpose(self, name: str) -> int:
        """Code of a purpose; refuses two names with one code."""
        code = purpose_code(name)
        if self.purposes.setdefault(code, name) != name:
            raise ModelError(
                f"the purposes {name!r} and {self.purposes[code]!r} share a random-number address; rename one of them"
            )
        return code

    def resolved(self, operand: Operand) -> Expression:
        """The expression with derived attributes written out."""
        expression = as_expression(operand)
        if not expression.operands and expression.operation != "attribute":
            return expression
        found = self._resolved.get(expression.key)
        if found is None:
            if expression.operation == "attribute":
                derived = self.pathway.derived.get(str(expression.payload))
                found = expression if derived is None else self.resolved(derived)
            else:
                operands = tuple(self.resolved(operand) for operand in expression.operands)
                found = Expression(expression.operation, operands, expression.payload)
            self._resolved[expression.key] = found
        return found

    def plain_attribute(self, expression: Expression) -> int:
        """Where an expression that is nothing but an attribute is read from, else -1."""
        expression = _replaced(expression, self.fixed, {})
        return self.attribute[str(expression.payload)] if expression.operation == "attribute" else -1

    def values(self, operands: Sequence[Operand], place: str) -> int:
        """Program that leaves the values in registers 0, 1, ..."""
        body = _Body(self, place, len(operands))
        roots = [_replaced(self.resolved(operand), self.fixed, {}) for operand in operands]
        body.count(roots)
        for register, root in enumerate(roots):
            body.into(root, register)
        return self.close(body)

    def rows(self, conditions: Sequence[Operand | None], place: str) -> int:
        """Program that leaves in register 0 the number of the first condition that holds; None always holds."""
        body = _Body(self, place, 1)
        roots = [None if c is None else _replaced(self.resolved(c), self.fixed, {}) for c in conditions]
        body.count([root for root in roots if root is not None])
        body.into(as_expression(-1.0), 0)
        for number, root in enumerate(roots):
            register = body.emit(as_expression(1.0) if root is None else root)
            self.code.append((at.FIRST_ROW, 0, register, number, 0))
            body.release(as_expression(1.0) if root is None else root)
        return self.close(body)

    def updates(self, updates: Mapping[str, Operand], place: str) -> int:
        """Program that sets attributes one after another, each seeing the ones before."""
        body = _Body(self, place, 0)
        # What an earlier update stores is taken from the register that still holds it.
        known = dict(self.fixed)
        roots = []
        for name, operand in updates.items():
            known[name] = _replaced(self.resolved(operand), known, {})
            roots.append((name, known[name]))
        body.count([root for _, root in roots])
        for name, root in roots:
            if depends_on_patient(root):
                self.code.append((at.STORE, 0, body.emit(root), self.attribute[name], 0))
            else:
                self.code.append((at.STORE_N, 0, self.numbers.index(root, place), self.attribute[name], 0))
            body.stored.add(name)
            body.release(root)
        return self.close(body)

    def close(self, body: _Body) -> int:
        self.registers = max(self.registers, body.most)
        self.starts.append(len(self.code))
        return len(self.starts) - 2


def _replaced(expression: Expression, known: Mapping[str, Expression], done: dict[int, Expression]) -> Expression:
    """The expression with `known` in place of the attributes of that name; `done` holds what has been replaced, by key."""
    if not known or expression.attributes.isdisjoint(known):
        return expression
    if expression.operation == "attribute":
        return known[str(expression.payload)]
    found = done.get(expression.key)
    if found is None:
        operands = tuple(_replaced(operand, known, done) for operand in expression.operands)
        found = done[expression.key] = _settled(Expression(expression.operation, operands, expression.payload))
    return found


def _settled(expression: Expression) -> Expression:
    """The expression without a choice whose outcome is known before any patient or number is."""
    operation, operands = expression.operation, expression.operands
    if all(operand.operation == "constant" for operand in operands) and operation != "lookup":
        return as_expression(float(evaluate(expression, {})))
    constants = [operand.payload for operand in operands if operand.operation == "constant"]
    if operation == "select" and operands[0].operation == "constant" and operands[0].payload == operands[0].payload:
        return operands[1] if operands[0].payload != 0.0 else operands[2]
    if operation == "and" and 0.0 in constants:
        return as_expression(0.0)
    if operation == "or" and any(constant != 0.0 for constant in constants):
        return as_expression(1.0)
    return expression


_BINARY = {
    "add": at.ADD,
    "subtract": at.SUBTRACT,
    "multiply": at.MULTIPLY,
    "divide": at.DIVIDE,
    "minimum": at.MINIMUM,
    "maximum": at.MAXIMUM,
    "less": at.LESS,
    "less_equal": at.LESS_EQUAL,
    "equal": at.EQUAL,
    "not_equal": at.NOT_EQUAL,
    "and": at.AND,
    "or": at.OR,
}
_UNARY = {
    "not": at.NOT,
    "negate": at.NEGATE,
    "exp": at.EXP,
    "log": at.LOG,
    "floor": at.FLOOR,
    "normal_quantile": at.NORMAL_QUANTILE,
}
# (operation, whether the number is on the left): the operation with a number as its last operand.
_WITH_NUMBER = {
    ("add", False): at.ADD_N,
    ("add", True): at.ADD_N,
    ("multiply", False): at.MULTIPLY_N,
    ("multiply", True): at.MULTIPLY_N,
    ("less", False): at.LESS_N,
    ("less", True): at.GREATER_N,
    ("less_equal", False): at.LESS_EQUAL_N,
    ("less_equal", True): at.GREATER_EQUAL_N,
    ("equal", False): at.EQUAL_N,
    ("equal", True): at.EQUAL_N,
    ("not_equal", False): at.NOT_EQUAL_N,
    ("not_equal", True): at.NOT_EQUAL_N,
    ("minimum", False): at.MINIMUM_N,
    ("minimum", True): at.N_MINIMUM,
    ("maximum", False): at.MAXIMUM_N,
    ("maximum", True): at.N_MAXIMUM,
}
_BUILTINS = {
    "months": at.BUILTIN_MONTHS,
    "months_in_state": at.BUILTIN_MONTHS_IN_STATE,
    "months_on_local": at.BUILTIN_MONTHS_ON_LOCAL,
    "months_on_systemic": at.BUILTIN_MONTHS_ON_SYSTEMIC,
}


class _Body:
    """One program being written: computes each distinct subexpression once and reuses registers."""

    def __init__(self, programs: _Programs, place: str, reserved: int) -> None:
        self.programs = programs
        self.place = place
        self.held: dict[int, int] = {}
        self.stored: set[str] = set()
        """attributes that the program has set; what they were before is no longer there to be read"""
        self.uses: dict[int, int] = {}
        self.free: list[int] = []
        self.most = max(reserved, 1)
        self.next = reserved

    def count(self, roots: Sequence[Expression]) -> None:
        for root in roots:
            self.uses[root.key] = self.uses.get(root.key, 0) + 1
            if self.uses[root.key] == 1 and depends_on_patient(root):
                self.count(root.operands)

    def register(self) -> int:
        """A register for a result. Ask before the operands are released: a loop that writes where it reads is not
        turned into vector code."""
        if self.free:
            return self.free.pop()
        self.next += 1
        self.most = max(self.most, self.next)
        return self.next - 1

    def release(self, expression: Expression) -> None:
        """One use of a value is over; its register is free after the last."""
        key = expression.key
        self.uses[key] = self.uses.get(key, 1) - 1
        if self.uses[key] <= 0 and key in self.held:
            self.free.append(self.held.pop(key))

    def into(self, expression: Expression, target: int) -> None:
        code = self.programs.code
        register = self.emit(expression)
        if code and code[-1][1] == register and self.uses.get(expression.key, 1) <= 1:
            # Just computed and wanted nowhere else: it can go where it is wanted at once.
            code[-1] = (code[-1][0], target, *code[-1][2:])
        else:
            code.append((at.MAXIMUM, target, register, register, 0))
        self.release(expression)

    def emit(self, expression: Expression) -> int:
        """Register that holds the value; computes it if it is not there yet."""
        if expression.key in self.held:
            return self.held[expression.key]
        code, operation, payload = self.programs.code, expression.operation, expression.payload
        if not depends_on_patient(expression):
            register = self.register()
            code.append((at.LOAD_NUMBER, register, self.programs.numbers.index(expression, self.place), 0, 0))
        elif operation == "attribute":
            register = self.register()
            code.append((at.LOAD_ATTRIBUTE, register, self.attribute(expression), 0, 0))
        elif operation == "builtin":
            register = self.register()
            code.append((at.LOAD_BUILTIN, register, _BUILTINS[str(payload)], 0, 0))
        elif operation == "receiving":
            treatment = self.programs.treatment[str(payload)]
            register = self.register()
            position = self.programs.slots[treatment.slot].index(treatment.id)
            code.append((at.LOAD_RECEIVING, register, 0 if treatment.slot == "local" else 1, position, 0))
        elif operation == "uniform":
            register = self.register()
            code.append((at.LOAD_UNIFORM, register, self.programs.purpose(f"{self.place}/{payload}"), 0, 0))
        elif operation == "lookup":
            index = self.emit(expression.operands[0])
            first, length = self.programs.numbers.vector(str(payload), self.place)
            self.release(expression.operands[0])
            register = self.register()
            code.append((at.LOAD_LOOKUP, register, index, first, length))
        else:
            register = self.operation(expression)
        self.held[expression.key] = register
        return register

    def attribute(self, expression: Expression) -> int:
        """Where an attribute is read from."""
        assert expression.payload not in self.stored, f"{self.place}: {expression.payload} is read after it was set"
        return self.programs.attribute[str(expression.payload)]

    def operation(self, expression: Expression) -> int:
        code, operation, operands = self.programs.code, expression.operation, expression.operands
        numbers = self.programs.numbers
        if operation == "add":
            for one, other in (operands, operands[::-1]):
                if other.operation != "multiply" or other.key in self.held or self.uses.get(other.key, 0) > 1:
                    continue
                for factor, attribute in (other.operands, other.operands[::-1]):
                    if attribute.operation == "attribute" and not depends_on_patient(factor):
                        start = self.emit(one)
                        register = self.register()
                        self.release(one)
                        self.release(other)
                        self.release(attribute)
                        code.append(
                            (
                                at.MULTIPLY_ADD_ATTRIBUTE,
                                register,
                                start,
                                numbers.index(factor, self.place),
                                self.attribute(attribute),
                            )
                        )
                        return register
        if operation == "subtract" and not depends_on_patient(operands[1]):
            left = self.emit(operands[0])
            register = self.register()
            self.release(operands[0])
            code.append((at.ADD_N, register, left, numbers.index(-operands[1], self.place), 0))
            return register
        if len(operands) == 2:
            for number_left in (False, True):
                number, other = (operands[0], operands[1]) if number_left else (operands[1], operands[0])
                if (operation, number_left) in _WITH_NUMBER and not depends_on_patient(number):
                    source = self.emit(other)
                    register = self.register()
                    self.release(other)
                    code.append(
                        (_WITH_NUMBER[operation, number_left], register, source, numbers.index(number, self.place), 0)
                    )
                    return register
        if operation == "select" and not all(depends_on_patient(operand) for operand in operands[1:]):
            return self.select_number(operands)
        sources = [self.emit(operand) for operand in operands]
        register = self.register()
        for operand in operands:
            self.release(operand)
        if operation in _BINARY:
            code.append((_BINARY[operation], register, sources[0], sources[1], 0))
        elif operation in _UNARY:
            code.append((_UNARY[operation], register, sources[0], 0, 0))
        elif operation == "select":
            code.append((at.SELECT, register, sources[0], sources[1], sources[2]))
        else:
            raise ModelError(f"{self.place}: operation {operation!r} is unknown")
        return register

    def select_number(self, operands: Sequence[Expression]) -> int:
        """A choice of which one or both results are numbers; those need no register."""
        operation = {
            (False, False): at.SELECT_NN,
            (False, True): at.SELECT_N,
            (True, False): at.SELECT_OR_N,
        }[depends_on_patient(operands[1]), depends_on_patient(operands[2])]
        held = [position == 0 or depends_on_patient(operand) for position, operand in enumerate(operands)]
        sources = [
            self.emit(operand) if in_register else self.programs.numbers.index(operand, self.place)
            for operand, in_register in zip(operands, held, strict=True)
        ]
        register = self.register()
        for operand, in_register in zip(operands, held, strict=True):
            if in_register:
                self.release(operand)
        self.programs.code.append((operation, register, *sources))  # type: ignore[arg-type]
        return register


# -- the model -----------------------------------------------------------------------------------------------------


def is_large(pathway: Pathway) -> bool:
    """Whether patients are run leaf by leaf, the longest queue first."""
    return len(pathway.attributes) > LARGE_PATHWAY


def names_of(pathway: Pathway, strategies: Sequence[Strategy]) -> Names:
    """Positions that all strategies of a comparison share, with the edges of the last one."""
    marks: dict[str, None] = {}
    for node in pathway.nodes:
        if isinstance(node, Decision):
            for action in node.actions.values():
                if action.mark:
                    marks.setdefault(action.mark)
    edges: tuple[str, ...] = ()
    for strategy in strategies:
        for _, _, edge in pathway.edges(strategy):
            if edge.mark:
                marks.setdefault(edge.mark)
        edges = tuple(f"{node.name}/{name}" for node, name, _ in pathway.edges(strategy))
    ends = tuple(node.name for node in pathway.nodes if isinstance(node, End))
    for end in ends:
        if end in marks:
            raise ModelError(f"mark {end!r} has the name of an end; an end makes its own mark")
    attributes = {a.name: a for a in pathway.attributes}
    return Names(
        nodes=tuple(node.name for node in pathway.nodes),
        states=tuple(node.name for node in pathway.nodes if isinstance(node, State)),
        edges=edges,
        marks=(*marks, *ends),
        ends=ends,
        local=(NO_TREATMENT, *(t.id for t in pathway.treatments if t.slot == "local")),
        systemic=(NO_TREATMENT, *(t.id for t in pathway.treatments if t.slot == "systemic")),
        attributes=_side_by_side(pathway, strategies),
        tags=tuple((name, attributes[name].levels) for name in pathway.tag),
    )


def _side_by_side(pathway: Pathway, strategies: Sequence[Strategy]) -> tuple[str, ...]:
    """All attributes, those that one formula or one edge asks for or sets as far as possible in one line of the caches.

    Line by line: first the attribute that most programs use, then whichever is used most often together with those that
    are in the line already. Nothing but speed depends on it.
    """
    uses: dict[str, set[str]] = {}
    for strategy in strategies:
        for place, expression in expressions_of(pathway, strategy):
            if not expression.attributes:
                continue
            where = place.partition(" (")[0]
            # Weights of a chance, and rows of a decision, are one program; so are the updates of an edge.
            if place.endswith(("(weight)", "(when)")):
                where = where.partition("/")[0]
            uses.setdefault(f"{strategy.id}: {where}", set()).update(expression.attributes)
        for node, name, edge in pathway.edges(strategy):
            uses.setdefault(f"{strategy.id}: {node.name}/{name}", set()).update(edge.updates)
    written_out = {name: _written_out(pathway, name) for name in pathway.derived}
    programs = {
        frozenset(one for name in names for one in written_out.get(name, (name,))) for names in uses.values() if names
    }
    left = {one.name: sum(one.name in program for program in programs) for one in pathway.attributes}
    ordered: list[str] = []
    while left:
        line = [max(left, key=left.__getitem__)]
        met = {program for program in programs if line[0] in program}
        total = left.pop(line[0])
        while left and len(line) < _ATTRIBUTES_IN_LINE and total > 0:
            shared = {name: sum(name in program for program in met) for name in left}
            line.append(max(left, key=lambda name: (shared[name], left[name])))
            met |= {program for program in programs if line[-1] in program}
            left.pop(line[-1])
        ordered += line
    return tuple(ordered)


def _written_out(pathway: Pathway, name: str) -> set[str]:
    """The attributes that a derived attribute is made of in the end."""
    found: set[str] = set()
    for used in pathway.derived[name].attributes:
        found |= _written_out(pathway, used) if used in pathway.derived else {used}
    return found


def build(
    pathway: Pathway,
    strategy: Strategy,
    values: Values,
    names: Names | None = None,
    *,
    brought: Collection[str] | None = None,
    checked: bool = False,
) -> at.Model:
    """The arrays of one strategy.

    `values` maps a parameter's name to shape (draws,) or, for vectors, (draws, k). `names` are shared by the strategies of
    a comparison (`names_of`); `brought` are the attributes that the cohort brings, all by default: others that the
    strategy never sets are constants. `checked` says that `pathway.check` has accepted the strategy. Raises ModelError,
    naming the thing, for a graph or a number that cannot be run.
    """
    if not checked:
        pathway.check(strategy)
    draws = draws_of(values)
    for name in strategy.numbers:
        if name not in values:
            near = difflib.get_close_matches(name, list(values), 1, 0.5)
            raise ModelError(
                f"strategy {strategy.id!r} replaces parameter {name!r}, which is not defined"
                + (f"; the nearest name is {near[0]!r}" if near else "")
            )
    replaced = {name: np.full(draws, float(number)) for name, number in strategy.numbers.items()}
    names = names or names_of(pathway, [strategy])
    return _Builder(pathway, strategy, {**values, **replaced}, draws, names, brought).build()


class _Builder:
    def __init__(
        self,
        pathway: Pathway,
        strategy: Strategy,
        values: Values,
        draws: int,
        names: Names,
        brought: Collection[str] | None,
    ) -> None:
        self.pathway, self.strategy, self.draws, self.names = pathway, strategy, draws, names
        self.numbers = _Numbers(values, draws)
        self.updated = {name for _, _, edge in pathway.edges(strategy) for name in edge.updates}
        fixed = {
            one.name: one.initial
            for one in pathway.attributes
            if brought is not None
            and one.initial is not None
            and one.name not in brought
            and one.name not in self.updated
        }
        self.programs = _Programs(pathway, names, self.numbers, fixed)
        self.values = values
        self.mark = {name: position for position, name in enumerate(names.marks)}
        self.position = {name: position for position, name in enumerate(names.nodes)}
        self.transitions: list[list[int]] = []
        self.scheduled: list[list[int]] = []
        self.edges: list[list[int]] = []
        self.hazards: list[list[int]] = []
        self.known_hazards: dict[tuple[object, ...], int] = {}
        self.tables: list[Floats] = []
        self.table_length = 0
        self.effects: list[tuple[Floats, Floats, Floats, Floats]] = []
        self.effect_index: dict[tuple[str, str], int] = {}
        states = [node for node in pathway.nodes if isinstance(node, State)]
        watched = dict.fromkeys(pathway.tag)
        multipliers = [t.log_multiplier for s in states for t in s.transitions if t.log_multiplier is not None]
        for multiplier in multipliers:
            watched |= dict.fromkeys(sorted(self.programs.resolved(multiplier).attributes))
        self.watched = {name: place for place, name in enumerate(watched)}
        life = dict.fromkeys(t.name for s in states for t in s.transitions if t.threshold == "life")
        self.life = {name: position for position, name in enumerate(life)}
        kept = max(sum(t.threshold == "stay" for t in s.transitions) for s in states)
        self.store = kept + len(life)
        schedules = list(pathway.schedules)
        self.schedule = {schedule.name: position for position, schedule in enumerate(schedules)}

    def build(self) -> at.Model:
        nodes = [self.node(node) for node in self.pathway.nodes]
        scans, segments = self.scans()
        tags = []
        stride = self.names.cells[3]
        for name, levels in self.names.tags:
            stride //= len(levels)
            tags.append([self.programs.attribute[name], len(levels), stride])
        effect_of = self.effect_table()
        size = np.zeros(at.SIZES, dtype=np.int64)
        states, local, systemic, tag = self.names.cells
        size[at.SIZE_NODES] = len(nodes)
        size[at.SIZE_ATTRIBUTES] = len(self.names.attributes)
        size[at.SIZE_START] = self.position[self.pathway.start]
        size[at.SIZE_LOCAL], size[at.SIZE_SYSTEMIC], size[at.SIZE_TAGS] = local, systemic, tag
        size[at.SIZE_STORE], size[at.SIZE_LIFE] = self.store, len(self.life)
        size[at.SIZE_RECORDS] = -(-self.store // at.KEPT) * at.KEPT
        size[at.SIZE_REGISTERS] = self.programs.registers
        age = self.pathway.age_years
        size[at.SIZE_AGE_ATTRIBUTE] = self.programs.attribute[age] if age is not None else 0
        size[at.SIZE_SCHEDULED] = len(self.scheduled)
        size[at.SIZE_STATES] = states
        size[at.SIZE_CELLS] = states * local * systemic * tag
        size[at.SIZE_MARKS] = len(self.names.marks)
        size[at.SIZE_TAG_ATTRIBUTES] = len(tags)
        instants = sum(isinstance(node, (Chance, Decision)) for node in self.pathway.nodes)
        size[at.SIZE_LONGEST_FIRST] = int(is_large(self.pathway))
        size[at.SIZE_REPEATS] = int(self.repeats() or instants > at.MOST_INSTANTS)
        return at.Model(
            nodes=_ints(nodes, at.NODE_COLUMNS),
            transitions=_ints(self.transitions, at.TRANSITION_COLUMNS),
            hazards=_ints(self.hazards, at.HAZARD_COLUMNS),
            scheduled=_ints(self.scheduled, at.SCHEDULED_COLUMNS),
            edges=_ints(self.edges, at.EDGE_COLUMNS),
            scans=_ints(scans, at.SCAN_COLUMNS),
            segments=_ints(segments, 2),
            effect_of=effect_of,
            code=_ints(self.programs.code, 5),
            programs=np.asarray(self.programs.starts, dtype=np.int64),
            tags=_ints(tags, 3),
            size=size,
            numbers=self.numbers.matrix(),
            tables=np.concatenate(self.tables) if self.tables else np.zeros(1),
            effects=self.effect_steps(),
        )

    # -- nodes and edges

    def node(self, node: Node) -> list[int]:
        row = [-1] * at.NODE_COLUMNS
        row[at.NODE_CAN_STAY] = 0
        row[at.NODE_TRANSITION_FIRST] = row[at.NODE_TRANSITION_END] = len(self.transitions)
        row[at.NODE_SCHEDULED_FIRST] = row[at.NODE_SCHEDULED_END] = len(self.scheduled)
        row[at.NODE_EDGE_FIRST] = len(self.edges)
        row[at.NODE_PURPOSE] = 0
        if isinstance(node, State):
            row[at.NODE_KIND] = at.STATE
            row[at.NODE_STATE] = self.names.states.index(node.name)
            place = 0
            for transition in node.transitions:
                self.transition(node, transition, place)
                place += transition.threshold == "stay"
            row[at.NODE_TRANSITION_END] = len(self.transitions)
            for event in node.scheduled:
                self.schedule_event(node, event)
            row[at.NODE_SCHEDULED_END] = len(self.scheduled)
            row[at.NODE_CAN_STAY] = int(self.can_stay(node))
            row[at.NODE_HAS_LIFE] = int(any(t.threshold == "life" for t in node.transitions))
        elif isinstance(node, Chance):
            row[at.NODE_KIND] = at.CHANCE
            row[at.NODE_PURPOSE] = self.programs.purpose(node.name)
            self.weights(node, row)
            for branch in node.branches:
                self.edge(f"{node.name}/{branch.name}", branch)
        elif isinstance(node, Decision):
            row[at.NODE_KIND] = at.DECISION
            rows = self.pathway.strategy_edges(self.strategy, node)
            row[at.NODE_PROGRAM] = self.programs.rows([r.when for r, _ in rows], node.name)
            for number, (_, edge) in enumerate(rows, start=1):
                self.edge(f"{node.name}/row {number}", edge)
        else:
            row[at.NODE_KIND] = at.END
            row[at.NODE_MARK] = self.mark[node.name]
        row[at.NODE_EDGE_END] = len(self.edges)
        return row

    def edge(self, place: str, edge: Edge) -> int:
        row = [-1] * at.EDGE_COLUMNS
        if edge.mark is not None:
            row[at.EDGE_MARK] = self.mark[edge.mark]
        before = len(self.programs.code)
        if edge.updates:
            # Rows of decision tables move when a table changes, so their luck is addressed by the node alone.
            luck_place = place.split("/row ")[0]
            row[at.EDGE_PROGRAM] = self.programs.updates(edge.updates, luck_place)
        row[at.EDGE_CHANGES] = self.changes(edge.updates)
        row[at.EDGE_USES_LUCK] = int(any(c[0] == at.LOAD_UNIFORM for c in self.programs.code[before:]))
        if edge.local is not None:
            row[at.EDGE_LOCAL] = self.names.local.index(edge.local)
        if edge.systemic is not None:
            row[at.EDGE_SYSTEMIC] = self.names.systemic.index(edge.systemic)
        row[at.EDGE_RESTART] = int(edge.restart)
        row[at.EDGE_DESTINATION] = -1 if edge.to == STAY else self.position[edge.to]
        self.edges.append(row)
        return len(self.edges) - 1

    def changes(self, attributes: Iterable[str]) -> int:
        """The bits of CHANGED that stand for these attributes, as far as a multiplier or a visit's tag depends on them."""
        places = {self.watched[name] % at.CHANGED_ATTRIBUTE_BITS for name in attributes if name in self.watched}
        return sum(1 << at.CHANGED_ATTRIBUTE_BIT + place for place in places)

    def repeats(self) -> bool:
        """Whether the graph has a circle, or an edge that returns to a stay."""
        targets: dict[str, set[str]] = {name: set() for name in self.names.nodes}
        for node, _, edge in self.pathway.edges(self.strategy):
            if edge.to == STAY:
                return True
            targets[node.name].add(edge.to)
        left = dict(targets)
        while left:
            leaves_ = [name for name, to in left.items() if not to & left.keys()]
            if not leaves_:
                return True
            for name in leaves_:
                del left[name]
        return False

    def can_stay(self, state: State) -> bool:
        """Whether a stay in this state can be interrupted and go on."""
        seen: set[str] = set()
        todo: list[Edge] = [*state.transitions, *state.scheduled]
        while todo:
            edge = todo.pop()
            if edge.to == STAY:
                return True
            target = self.pathway.node(edge.to)
            if target.name in seen or isinstance(target, (State, End)):
                continue
            seen.add(target.name)
            if isinstance(target, Chance):
                todo.extend(target.branches)
            else:
                todo.extend(e for _, e in self.pathway.strategy_edges(self.strategy, target))
        return False

    def weights(self, node: Chance, row: list[int]) -> None:
        resolved = [self.programs.resolved(branch.weight) for branch in node.branches]
        if any(depends_on_patient(weight) for weight in resolved):
            row[at.NODE_PROGRAM] = self.programs.values(resolved, node.name)
            return
        weights = [
            self.numbers.value(weight, f"{node.name}/{branch.name} (weight)")
            for weight, branch in zip(resolved, node.branches, strict=True)
        ]
        for weight, branch in zip(weights, node.branches, strict=True):
            if np.isnan(weight).any() or (weight < 0).any() or (weight > 1).any():
                bad = weight[~((weight >= 0) & (weight <= 1))][0]
                raise ModelError(f"{node.name}/{branch.name}: probability {bad:g} is outside 0 to 1")
        total = np.cumsum(weights, axis=0)
        worst = int(np.abs(total[-1] - 1.0).argmax())
        if abs(total[-1][worst] - 1.0) > 1e-9:
            raise ModelError(f"the probabilities of chance node {node.name!r} sum to {total[-1][worst]:.10g}, not to 1")
        row[at.NODE_WEIGHTS] = len(self.numbers.columns)
        for column in total:
            self.numbers.add(np.ascontiguousarray(column))

    def transition(self, state: State, transition: Transition, place: int) -> None:
        name = f"{state.name}/{transition.name}"
        row = [-1] * at.TRANSITION_COLUMNS
        row[at.TRANSITION_HAZARD], row[at.TRANSITION_STRATA] = self.hazard(transition.hazard, name)
        row[at.TRANSITION_STRATA_ATTRIBUTE] = 0
        if isinstance(transition.hazard, Strata):
            by = transition.hazard.by
            if by in self.updated:
                raise ModelError(
                    f"transition {name}: strata attribute {by!r} changes on the way, which is not supported"
                )
            row[at.TRANSITION_STRATA_ATTRIBUTE] = self.programs.attribute[by]
        row[at.TRANSITION_CLOCK] = int(transition.clock)
        row[at.TRANSITION_TIMED] = row[at.TRANSITION_DEPENDS] = 0
        if transition.log_multiplier is not None:
            logarithm = self.programs.resolved(transition.log_multiplier)
            if depends_on_patient(logarithm):
                row[at.TRANSITION_PROGRAM] = self.programs.values([logarithm], name)
                row[at.TRANSITION_ATTRIBUTE] = self.programs.plain_attribute(logarithm)
                row[at.TRANSITION_TIMED] = int(any(leaves(logarithm, "builtin")))
                row[at.TRANSITION_DEPENDS] = self.changes(logarithm.attributes)
                if logarithm.treatments:
                    row[at.TRANSITION_DEPENDS] |= at.CHANGED_LOCAL | at.CHANGED_SYSTEMIC
            else:
                row[at.TRANSITION_MULTIPLIER] = self.numbers.add(self.multiplier(logarithm, name))
        row[at.TRANSITION_EDGE] = self.edge(name, transition)
        if transition.seen_at_scan is not None:
            row[at.TRANSITION_SCAN] = self.schedule[transition.seen_at_scan]
        if transition.threshold == "life":
            row[at.TRANSITION_LIFE] = self.life[transition.name]
            row[at.TRANSITION_PURPOSE] = self.programs.purpose(f"life/{transition.name}")
            row[at.TRANSITION_STORE] = self.store - 1 - self.life[transition.name]
        else:
            row[at.TRANSITION_PURPOSE] = self.programs.purpose(name)
            row[at.TRANSITION_STORE] = place
        effect = transition.effect or transition.name
        acting = any(effect in treatment.effects for treatment in self.pathway.treatments)
        if acting and transition.threshold == "life":
            raise ModelError(f"transition {name}: treatments cannot act on a threshold for life; use a log multiplier")
        row[at.TRANSITION_HAS_EFFECT] = int(acting)
        if acting or int(transition.clock) in (at.CLOCK_LOCAL, at.CLOCK_SYSTEMIC):
            row[at.TRANSITION_DEPENDS] |= at.CHANGED_LOCAL | at.CHANGED_SYSTEMIC
        row[at.TRANSITION_FIRES] = 1 << at.CHANGED_FIRED_BIT + row[at.TRANSITION_STORE] % at.CHANGED_FIRED_BITS
        row[at.TRANSITION_DEPENDS] |= row[at.TRANSITION_FIRES]
        self.transitions.append(row)

    def multiplier(self, logarithm: Expression, place: str) -> Floats:
        value = self.numbers.value(logarithm, f"{place} (log multiplier)")
        if np.isnan(value).any():
            raise ModelError(f"{place}: log multiplier {in_words(logarithm)} is not a number")
        limited = np.clip(value, -at.LARGEST_LOG_MULTIPLIER, at.LARGEST_LOG_MULTIPLIER)
        return np.where(value == -np.inf, 0.0, arithmetic.exp_array(limited))

    def schedule_event(self, state: State, event: Scheduled) -> None:
        name = f"{state.name}/{event.name}"
        row = [-1] * at.SCHEDULED_COLUMNS
        first = self.programs.resolved(event.first)
        if depends_on_patient(first):
            row[at.SCHEDULED_FIRST_PROGRAM] = self.programs.values([first], name)
            row[at.SCHEDULED_FIRST_ATTRIBUTE] = self.programs.plain_attribute(first)
        else:
            row[at.SCHEDULED_FIRST] = self.numbers.index(first, f"{name} (first)")
            if (self.numbers.value(first, name) < 0).any():
                raise ModelError(f"{name}: the first time {in_words(first)} is negative")
        if event.period is not None:
            period = self.numbers.value(event.period, f"{name} (period)")
            if not (period > 0).all() or not np.isfinite(period).all():
                raise ModelError(f"{name}: period {period[~(period > 0) | ~np.isfinite(period)][0]:g} is not above 0")
            row[at.SCHEDULED_PERIOD] = self.numbers.index(event.period, f"{name} (period)")
        elif event.rearmed:
            row[at.SCHEDULED_PERIOD] = at.REARMED
        row[at.SCHEDULED_ORIGIN] = int(event.origin)
        if event.when is not None:
            row[at.SCHEDULED_WHEN_PROGRAM] = self.programs.values([event.when], name)
        row[at.SCHEDULED_EDGE] = self.edge(name, event)
        self.scheduled.append(row)

    def scans(self) -> tuple[list[list[int]], list[list[int]]]:
        scans: list[list[int]] = []
        segments: list[list[int]] = []
        for schedule in self.pathway.schedules:
            self.check_segments(schedule)
            origin = (
                at.ORIGIN_ATTRIBUTE + self.programs.attribute[schedule.origin]
                if isinstance(schedule.origin, str)
                else int(schedule.origin)
            )
            if origin == at.CLOCK_AGE:
                raise ModelError(f"scan schedule {schedule.name!r} cannot have attained age as its origin")
            first = len(segments)
            for start, period in schedule.segments:
                place = f"scan schedule {schedule.name}"
                segments.append([self.numbers.index(start, place), self.numbers.index(period, place)])
            scans.append([origin, first, len(segments)])
        return scans, segments

    def check_segments(self, schedule: ScanSchedule) -> None:
        place = f"scan schedule {schedule.name!r}"
        before = np.full(self.draws, -np.inf)
        for start, period in schedule.segments:
            starts, periods = self.numbers.value(start, place), self.numbers.value(period, place)
            if not (periods > 0).all() or not np.isfinite(periods).all():
                raise ModelError(
                    f"{place}: period {periods[~(periods > 0) | ~np.isfinite(periods)][0]:g} is not above 0"
                )
            if not (starts > before).all() or (starts < 0).any():
                raise ModelError(f"{place}: segments must start at 0 or later, each after the one before")
            before = starts

    # -- hazards

    def hazard(self, hazard: Hazard | Strata, place: str) -> tuple[int, int]:
        """First hazard and number of strata."""
        strata = hazard.hazards if isinstance(hazard, Strata) else (hazard,)
        key = hazard_key(hazard)
        if key not in self.known_hazards:
            self.known_hazards[key] = len(self.hazards)
            for one in strata:
                self.hazards.append(self.one_hazard(one, place))
        return self.known_hazards[key], len(strata)

    def one_hazard(self, hazard: Hazard, place: str) -> list[int]:
        row = [-1] * at.HAZARD_COLUMNS
        row[at.HAZARD_TABLE] = row[at.HAZARD_TABLE_STRIDE] = row[at.HAZARD_TABLE_COUNT] = 0
        family = hazard.family
        if hazard.cure is not None:
            cure = self.numbers.value(hazard.cure, f"{place} (cure)")
            if not ((cure >= 0) & (cure < 1)).all():
                raise ModelError(
                    f"{place}: cure share {cure[~((cure >= 0) & (cure < 1))][0]:g} is outside 0 to below 1"
                )
            row[at.HAZARD_CURE] = self.numbers.index(hazard.cure, f"{place} (cure)")
        if family in ("pwexp", "cumulative", "gengamma", "survspline"):
            row[at.HAZARD_FAMILY] = hazards.LOGTABLE if family in ("gengamma", "survspline") else hazards.TABLE
            tables = self.table(hazard, place)
            shared = bool((tables == tables[0]).all())
            row[at.HAZARD_TABLE] = self.table_length
            row[at.HAZARD_TABLE_COUNT] = tables.shape[1] // 2
            row[at.HAZARD_TABLE_STRIDE] = 0 if shared else tables.shape[1]
            flat = np.ascontiguousarray(tables[:1] if shared else tables).ravel()
            self.tables.append(flat)
            self.table_length += flat.size
            return row
        values = {name: self.numbers.value(value, f"{place} ({name})") for name, value in hazard.parameters.items()}  # type: ignore[arg-type]
        if family == "weibullPH":
            # flexsurv: H(t) = scale x t**shape, so the accelerated-failure scale is scale**(-1/shape).
            _check_family("weibull", values, place)
            shape = values["shape"]
            scale = arithmetic.exp_array(-arithmetic.log_array(values["scale"]) / shape)
            values, family = {"shape": shape, "scale": scale}, "weibull"
        _check_family(family, values, place)
        code, parameters = hazards.FAMILIES[family]
        row[at.HAZARD_FAMILY] = code
        for column, name in zip((at.HAZARD_P0, at.HAZARD_P1), parameters, strict=False):
            row[column] = self.numbers.add(values[name])
        return row

    def table(self, hazard: Hazard, place: str) -> Floats:
        """Knots per draw: times, then cumulative hazards; shape (draws, 2 x knots)."""
        if hazard.family == "gengamma":
            mu, sigma, q = (self.numbers.value(hazard.parameters[n], f"{place} ({n})") for n in ("mu", "sigma", "Q"))  # type: ignore[arg-type]
            _check_family("gengamma", {"mu": mu, "sigma": sigma, "Q": q}, place)
            return np.stack([np.concatenate(hazards.gengamma_table(*row)) for row in zip(mu, sigma, q, strict=True)])
        if hazard.family == "survspline":
            gamma = self.vector(hazard.parameters["gamma"], place)
            knots = self.vector(hazard.parameters["knots"], place)
            return np.stack([np.concatenate(hazards.survspline_table(g, k)) for g, k in zip(gamma, knots, strict=True)])
        times = self.vector(hazard.parameters["times"], place)
        scale = 12.0 if hazard.years else 1.0
        if hazard.family == "cumulative":
            cumulative = self.vector(hazard.parameters["values"], place)
            times = times * scale
            if cumulative.shape[1] != times.shape[1]:
                raise ModelError(f"{place}: {cumulative.shape[1]} cumulative hazards for {times.shape[1]} times")
        else:
            rates = self.vector(hazard.parameters["rates"], place) / scale
            times = times * scale
            if rates.shape[1] != times.shape[1]:
                raise ModelError(
                    f"{place}: {rates.shape[1]} rates for {times.shape[1]} times; each rate starts at a time"
                )
            if (rates < 0).any() or not np.isfinite(rates).all():
                raise ModelError(f"{place}: rate {rates[(rates < 0) | ~np.isfinite(rates)][0]:g} is not a rate")
            steps = np.diff(times, axis=1)
            rising = np.cumsum(rates[:, :-1] * steps, axis=1)
            zero = np.zeros((self.draws, 1))
            # One more knot carries the last rate, with which the table continues.
            cumulative = np.concatenate([zero, rising], axis=1)
            times = np.concatenate([times, times[:, -1:] + scale], axis=1)
            cumulative = np.concatenate([cumulative, cumulative[:, -1:] + rates[:, -1:] * scale], axis=1)
        if times.shape[1] < 2 or (times[:, 0] != 0).any() or (np.diff(times, axis=1) <= 0).any():
            raise ModelError(f"{place}: the times of a table start at 0 and rise")
        if (
            (cumulative[:, 0] != 0).any()
            or (np.diff(cumulative, axis=1) < 0).any()
            or not np.isfinite(cumulative).all()
        ):
            raise ModelError(f"{place}: a cumulative hazard starts at 0 and never falls")
        return np.concatenate([times, cumulative], axis=1)

    def vector(self, value: object, place: str) -> Floats:
        if isinstance(value, str):
            return np.array(_vector(self.values, value, self.draws, place))
        if isinstance(value, (Sequence, np.ndarray)):
            return np.stack([self.numbers.value(item, place) for item in value], axis=1)
        raise ModelError(f"{place}: {value!r} is not a vector; give numbers or the name of a vector parameter")

    # -- effects

    def effect_table(self) -> at.Ints:
        """(transitions, 2, treatments) -> effect, or -1."""
        treatments = max(len(self.names.local), len(self.names.systemic))
        table = np.full((max(len(self.transitions), 1), 2, treatments), -1, dtype=np.int64)
        position = 0
        for node in self.pathway.nodes:
            if not isinstance(node, State):
                continue
            for transition in node.transitions:
                name = transition.effect or transition.name
                for treatment in self.pathway.treatments:
                    if name in treatment.effects:
                        slot = 0 if treatment.slot == "local" else 1
                        known = self.names.local if slot == 0 else self.names.systemic
                        table[position, slot, known.index(treatment.id)] = self.effect(
                            treatment.id, name, treatment.effects[name]
                        )
                position += 1
        return table

    def effect(self, treatment: str, name: str, effect: Effect) -> int:
        if (treatment, name) not in self.effect_index:
            self.effect_index[treatment, name] = len(self.effects)
            self.effects.append(self.effect_pieces(f"effect of {treatment} on {name}", effect))
        return self.effect_index[treatment, name]

    def effect_pieces(self, place: str, effect: Effect) -> tuple[Floats, Floats, Floats, Floats]:
        """(steps on treatment, counts, steps after stopping, counts, ...) with equal steps merged, per draw."""
        share = self.numbers.value(effect.share_postponed, f"{place} (share_postponed)")
        if not ((share >= 0) & (share <= 1)).all():
            raise ModelError(f"{place}: share_postponed {share[~((share >= 0) & (share <= 1))][0]:g} is outside 0 to 1")
        delay = self.numbers.value(effect.delay, f"{place} (delay)")
        if not (delay >= 0).all():
            raise ModelError(f"{place}: delay {delay.min():g} is negative")
        on = [(delay, self.ratio(effect.ratio, place))]
        for month, ratio in effect.steps:
            on.append((self.numbers.value(month, f"{place} (steps)"), self.ratio(ratio, place)))
            if not (on[-1][0] > on[-2][0]).all():
                raise ModelError(f"{place}: the months of its steps must rise, after the delay")
        off_ratio = self.ratio(effect.off_ratio, place)
        off = [(np.zeros(self.draws), off_ratio)]
        if effect.waning_half_life is not None:
            half_life = self.numbers.value(effect.waning_half_life, f"{place} (waning_half_life)")
            if not (half_life > 0).all() or effect.waning_step <= 0:
                raise ModelError(f"{place}: waning needs a half-life and a step above 0")
            count = math.ceil(WANING_HALF_LIVES * float(half_life.max()) / effect.waning_step)
            if count > MOST_WANING_STEPS:
                raise ModelError(
                    f"{place}: waning over {WANING_HALF_LIVES * float(half_life.max()):g} months in steps of "
                    f"{effect.waning_step:g} needs {count} steps; at most {MOST_WANING_STEPS} are allowed"
                )
            logarithm = arithmetic.log_array(off_ratio)
            off = []
            for step in range(count):
                middle = (step + 0.5) * effect.waning_step
                left = arithmetic.exp_array(-math.log(2.0) * middle / half_life)
                inside = step * effect.waning_step < WANING_HALF_LIVES * half_life
                waned = np.where(inside & (off_ratio != 1.0), arithmetic.exp_array(logarithm * left), 1.0)
                off.append((np.full(self.draws, step * effect.waning_step), waned))
            off.append((np.full(self.draws, count * effect.waning_step), np.ones(self.draws)))
        return (*_merged_steps(on, share), *_merged_steps(off, share), delay)  # type: ignore[return-value]

    def ratio(self, operand: Operand, place: str) -> Floats:
        value = self.numbers.value(operand, place)
        if not ((value >= 0) & np.isfinite(value)).all():
            raise ModelError(f"{place}: hazard ratio {value[~((value >= 0) & np.isfinite(value))][0]:g} is not a ratio")
        return value

    def effect_steps(self) -> Floats:
        width = at.EFFECT_STEPS
        for on, _, off, _, _ in self.effects:  # type: ignore[misc]
            width = max(width, at.EFFECT_STEPS + on.shape[1] * 3 + off.shape[1] * 3)
        table = np.zeros((self.draws, max(len(self.effects), 1), width))
        rows = np.arange(self.draws)
        for position, (on, on_count, off, off_count, delay) in enumerate(self.effects):  # type: ignore[misc]
            table[:, position, at.EFFECT_ON] = on_count
            table[:, position, at.EFFECT_OFF] = off_count
            table[:, position, at.EFFECT_DELAY] = delay
            for step in range(on.shape[1]):
                there = step < on_count
                for column in range(3):
                    table[there, position, at.EFFECT_STEPS + 3 * step + column] = on[there, step, column]
            # The steps after stopping follow directly on the last step on treatment of the draw.
            for step in range(off.shape[1]):
                there = step < off_count
                place = (at.EFFECT_STEPS + 3 * (on_count + step)).astype(np.int64)
                for column in range(3):
                    table[rows[there], position, place[there] + column] = off[there, step, column]
        return table


def _merged_steps(steps: list[tuple[Floats, Floats]], share: Floats) -> tuple[Floats, Floats]:
    """(steps (draws, steps, 3): month, rate, speed; counts (draws,)), equal neighbours merged, 1 throughout gone."""
    months = np.stack([month for month, _ in steps], axis=1)
    ratios = np.stack([ratio for _, ratio in steps], axis=1)
    logs = arithmetic.log_array(ratios)
    with np.errstate(all="ignore"):
        speed = np.where(share[:, None] == 0.0, 1.0, arithmetic.exp_array(logs * share[:, None]))
        speed = np.where(share[:, None] == 1.0, ratios, speed)
        rate = np.where(share[:, None] == 1.0, 1.0, arithmetic.exp_array(logs * (1.0 - share[:, None])))
        rate = np.where(share[:, None] == 0.0, ratios, rate)
    before = np.concatenate([np.ones((ratios.shape[0], 1)), ratios[:, :-1]], axis=1)
    keep = ratios != before
    order = np.argsort(~keep, axis=1, kind="stable")
    stacked = np.stack([months, np.where(ratios == 1.0, 1.0, rate), np.where(ratios == 1.0, 1.0, speed)], axis=2)
    return np.take_along_axis(stacked, order[:, :, None], axis=1), keep.sum(axis=1).astype(np.float64)


def _ints(rows: Sequence[Sequence[int]], columns: int) -> at.Ints:
    if not rows:
        return np.zeros((0, columns), dtype=np.int64)
    return np.ascontiguousarray(np.asarray(rows, dtype=np.int64))


def _check_family(family: str, values: Mapping[str, Floats], place: str) -> None:
    try:
        hazards.check_family(family, values)
    except ModelError as error:
        raise ModelError(f"{place}: {error}") from None


# -- rewards -------------------------------------------------------------------------------------------------------


class Rewards(NamedTuple):
    """What is summed over histories, as arrays; built by `build_rewards`, carried out in `outcomes`.

    A *term* is one declared reward. Its quantity (discounted months, administrations or marks) is kept beside the sums,
    so that new prices need no new simulation. A *group* is a discount rate with age bands: months are weighted once for
    each.
    """

    numbers: Floats
    """(draws, numbers)"""
    discount: at.Ints
    """(groups,): number that holds the instantaneous rate per month"""
    band_first: at.Ints
    """(groups + 1,): range of the group's age bands"""
    bands: at.Ints
    """(bands, 2): numbers that hold age in months and factor"""
    channel_group: at.Ints
    """(channels,)"""
    channel_scale: Floats
    """(channels,)"""
    channel_rated: at.Ints
    """(channels,): 1 if time spent in some cell counts"""
    cell_first: at.Ints
    """(cells + 1,): range of the rate terms that apply in a cell"""
    cell_term: at.Ints
    cell_parts: at.Ints
    """(cells, 3): state, local treatment, systemic treatment"""
    terms: at.Ints
    """(terms, 2): channel, number that holds the amount"""
    administrations: at.Ints
    """(administrations, 8): term, period, first, most (-1: no limit), per (-1: none), slot, row of `tag_sets` (-1: whatever
    the tags), and 1 if they fall at the times of the row before, discounted alike"""
    administration_first: at.Ints
    """(2 slots x treatments + 1,): range of the administrations of a treatment"""
    mark_first: at.Ints
    """(marks + 1,): range of the rewards of a mark"""
    mark_rewards: at.Ints
    """(rewards, 4): term, months (-1: at once), per (-1: none), interval (-1: none)"""
    deaths: at.Ints
    """(rewards, 3): term, start, stop"""
    end_mark: at.Ints
    """(marks,): 1 for the mark of an end"""
    endpoint_first: at.Ints
    """(marks + 1,): range of the endpoints that a mark may reach"""
    endpoint_of: at.Ints
    origin_first: at.Ints
    """(marks + 1,): range of the endpoints whose clock a mark starts"""
    origin_of: at.Ints
    has_origin: at.Ints
    """(endpoints,)"""
    size: at.Ints
    """intervals, age attribute row of the cohort (-1: none)"""
    tag_sets: at.Ints
    """(sets, tags): 1 for the combinations of tags that a set of administrations is given under"""


@dataclass(frozen=True)
class RewardNames:
    """What the positions in `Rewards` mean."""

    channels: tuple[str, ...]
    endpoints: tuple[str, ...]
    terms: tuple[Reward, ...]


def build_rewards(
    pathway: Pathway,
    names: Names,
    channels: Sequence[Channel],
    rewards: Sequence[Reward],
    endpoints: Sequence[Endpoint],
    values: Values,
    columns: Mapping[str, int],
) -> tuple[Rewards, RewardNames]:
    """Arrays of what is summed over histories. `columns` gives the cohort's row of each attribute.

    Raises ModelError for an unknown channel, state, treatment, tag, mark or attribute, and for an amount that is not a
    number.
    """
    return _RewardBuilder(pathway, names, channels, rewards, endpoints, values, columns).build()


class _RewardBuilder:
    def __init__(
        self,
        pathway: Pathway,
        names: Names,
        channels: Sequence[Channel],
        rewards: Sequence[Reward],
        endpoints: Sequence[Endpoint],
        values: Values,
        columns: Mapping[str, int],
    ) -> None:
        self.pathway, self.names, self.columns = pathway, names, columns
        self.channels, self.rewards, self.endpoints = list(channels), list(rewards), list(endpoints)
        self.draws = draws_of(values)
        self.numbers = _Numbers(values, self.draws)
        _refuse_repeated("channel", [c.id for c in self.channels])
        _refuse_repeated("endpoint", [e.id for e in self.endpoints])
        self.channel = {c.id: position for position, c in enumerate(self.channels)}
        self.mark = {name: position for position, name in enumerate(names.marks)}
        self.terms: list[list[int]] = []
        self.tag_sets: list[list[int]] = []
        updated = set()
        for node in pathway.nodes:
            edges: list[Edge] = []
            if isinstance(node, State):
                edges = [*node.transitions, *node.scheduled]
            elif isinstance(node, Chance):
                edges = list(node.branches)
            elif isinstance(node, Decision):
                edges = list(node.actions.values())
            updated |= {name for edge in edges for name in edge.updates}
        self.updated = updated

    def build(self) -> tuple[Rewards, RewardNames]:
        discount, band_first, bands, channel_group = self.groups()
        cells = math.prod(self.names.cells)
        by_cell: list[list[int]] = [[] for _ in range(cells)]
        treatments = {"local": self.names.local, "systemic": self.names.systemic}
        most_treatments = max(len(self.names.local), len(self.names.systemic))
        administrations: list[list[list[int]]] = [[] for _ in range(2 * most_treatments)]
        by_mark: list[list[list[int]]] = [[] for _ in self.names.marks]
        deaths: list[list[int]] = []
        intervals = 0
        shape = self.names.cells
        for number, reward in enumerate(self.rewards):
            place = f"reward {number + 1} ({reward.channel})"
            if reward.channel not in self.channel:
                raise ModelError(f"{place}: channel is unknown{_near(reward.channel, self.channel)}")
            amount = reward.rate if isinstance(reward, (RateReward, TimeToDeathReward)) else reward.amount
            term = len(self.terms)
            self.terms.append([self.channel[reward.channel], self.numbers.index(amount, place)])
            if isinstance(reward, RateReward):
                for cell in self.cells(reward, place, shape):
                    by_cell[cell].append(term)
            elif isinstance(reward, AdministrationReward):
                slot, position = self.treatment(reward.treatment, treatments, place)
                period = self.numbers.value(reward.period, f"{place} (period)")
                if not (period > 0).all() or not np.isfinite(period).all():
                    raise ModelError(f"{place}: period {period.min():g} is not above 0")
                administrations[slot * most_treatments + position].append(
                    [
                        term,
                        self.numbers.index(reward.period, place),
                        self.numbers.index(reward.first, place),
                        -1 if reward.most is None else self.numbers.index(reward.most, place),
                        self.per(reward.per, place),
                        slot,
                        self.tag_set(reward.tags, place),
                    ]
                )
            elif isinstance(reward, MarkReward):
                interval = -1
                months = -1
                if reward.months is not None:
                    interval, intervals = intervals, intervals + 1
                    months = self.numbers.index(reward.months, place)
                by_mark[self.mark_position(reward.mark, place)].append(
                    [term, months, self.per(reward.per, place), interval]
                )
            else:
                deaths.append([term, self.numbers.index(reward.start, place), self.numbers.index(reward.stop, place)])
        reach: list[list[int]] = [[] for _ in self.names.marks]
        start: list[list[int]] = [[] for _ in self.names.marks]
        for position, endpoint in enumerate(self.endpoints):
            if not endpoint.marks:
                raise ModelError(f"endpoint {endpoint.id!r} has no marks")
            for mark in endpoint.marks:
                reach[self.mark_position(mark, f"endpoint {endpoint.id!r}")].append(position)
            if endpoint.origin is not None:
                start[self.mark_position(endpoint.origin, f"endpoint {endpoint.id!r} (origin)")].append(position)
        cell_first, cell_term = _ranges([[[t] for t in terms] for terms in by_cell], 1)
        for rows in administrations:
            for before, row in zip([None, *rows], rows, strict=False):
                row.append(int(before is not None and self.same_times(before, row, channel_group)))
        administration_first, administration_rows = _ranges(administrations, 8)
        mark_first, mark_rows = _ranges(by_mark, 4)
        endpoint_first, endpoint_of = _ranges([[[e] for e in some] for some in reach], 1)
        origin_first, origin_of = _ranges([[[e] for e in some] for some in start], 1)
        age = self.pathway.age_years
        rated = [self.terms[term][0] for terms in by_cell for term in terms]
        rewards = Rewards(
            numbers=self.numbers.matrix(),
            discount=discount,
            band_first=band_first,
            bands=bands,
            channel_group=channel_group,
            channel_scale=np.array([c.scale for c in self.channels], dtype=np.float64),
            channel_rated=np.isin(np.arange(len(self.channels)), rated).astype(np.int64),
            cell_first=cell_first,
            cell_term=np.ascontiguousarray(cell_term[:, 0]),
            cell_parts=np.ascontiguousarray(
                np.stack(np.unravel_index(np.arange(cells), shape)[:3], axis=1).astype(np.int64)
            ),
            terms=_ints(self.terms, 2),
            administrations=administration_rows,
            administration_first=administration_first,
            mark_first=mark_first,
            mark_rewards=mark_rows,
            deaths=_ints(deaths, 3),
            end_mark=np.array([int(m in self.names.ends) for m in self.names.marks], dtype=np.int64),
            endpoint_first=endpoint_first,
            endpoint_of=np.ascontiguousarray(endpoint_of[:, 0]),
            origin_first=origin_first,
            origin_of=np.ascontiguousarray(origin_of[:, 0]),
            has_origin=np.array([int(e.origin is not None) for e in self.endpoints], dtype=np.int64),
            size=np.array([intervals, -1 if age is None else self.columns.get(age, -1)], dtype=np.int64),
            tag_sets=_ints(self.tag_sets, shape[3]),
        )
        reward_names = RewardNames(
            tuple(c.id for c in self.channels), tuple(e.id for e in self.endpoints), tuple(self.rewards)
        )
        return rewards, reward_names

    def same_times(self, one: Sequence[int], other: Sequence[int], channel_group: at.Ints) -> bool:
        """Whether two administrations of one treatment have one schedule and one discount rate."""
        group, other_group = (channel_group[self.terms[row[0]][0]] for row in (one, other))
        return one[1:4] == other[1:4] and group == other_group

    def groups(self) -> tuple[at.Ints, at.Ints, at.Ints, at.Ints]:
        known: dict[tuple[object, ...], int] = {}
        discount: list[int] = []
        band_first = [0]
        bands: list[list[int]] = []
        channel_group = []
        for channel in self.channels:
            place = f"channel {channel.id!r}"
            annual = self.numbers.value(channel.discount, f"{place} (discount)")
            if not ((annual >= 0) & (annual < 1)).all():
                bad = annual[~((annual >= 0) & (annual < 1))][0]
                raise ModelError(f"{place}: discount rate {bad:g} a year is outside 0 to below 1")
            if channel.age_bands and self.pathway.age_years is None:
                raise ModelError(f"{place} has age bands, but the pathway names no age attribute (age_years)")
            if channel.age_bands and self.pathway.age_years not in self.columns:
                raise ModelError(f"{place} has age bands, but the cohort brings no {self.pathway.age_years!r}")
            key = (
                as_expression(channel.discount).key,
                tuple((as_expression(a).key, as_expression(f).key) for a, f in channel.age_bands),
            )
            if key not in known:
                known[key] = len(discount)
                monthly = arithmetic.log1p_array(annual) / 12.0
                discount.append(self.numbers.add(np.ascontiguousarray(monthly)))
                before = np.full(self.draws, -np.inf)
                for age, factor in channel.age_bands:
                    years = self.numbers.value(age, place)
                    if not (years > before).all():
                        raise ModelError(f"{place}: the ages of its bands must rise")
                    before = years
                    bands.append([self.numbers.add(years * 12.0), self.numbers.index(factor, place)])
                band_first.append(len(bands))
            channel_group.append(known[key])
        return (
            np.array(discount, dtype=np.int64),
            np.array(band_first, dtype=np.int64),
            _ints(bands, 2),
            np.array(channel_group, dtype=np.int64),
        )

    def cells(self, reward: RateReward, place: str, shape: tuple[int, int, int, int]) -> list[int]:
        states = self.positions(reward.states, self.names.states, "state", place)
        local = self.positions(reward.local, self.names.local, "local treatment", place)
        systemic = self.positions(reward.systemic, self.names.systemic, "systemic treatment", place)
        tag_positions = self.tag_positions(reward.tags, place)
        return [
            ((s * shape[1] + loc) * shape[2] + sys) * shape[3] + tag
            for s in states
            for loc in local
            for sys in systemic
            for tag in tag_positions
        ]

    def tag_positions(self, wanted: Mapping[str, tuple[str, ...]], place: str) -> list[int]:
        """Positions of the combinations of tags that have the levels wanted."""
        tags = dict(self.names.tags)
        for name in wanted:
            if name not in tags:
                raise ModelError(f"{place}: tag {name!r} is unknown{_near(name, tags)}")
        found = [0]
        for name, levels in self.names.tags:
            chosen = self.positions(wanted.get(name), levels, f"level of {name}", place)
            found = [p * len(levels) + c for p in found for c in chosen]
        return found

    def tag_set(self, wanted: Mapping[str, tuple[str, ...]], place: str) -> int:
        """Row of `tag_sets` for the levels wanted, or -1 where every combination will do."""
        positions = self.tag_positions(wanted, place)
        tags = self.names.cells[3]
        if len(positions) == tags:
            return -1
        row = [int(tag in positions) for tag in range(tags)]
        if row not in self.tag_sets:
            self.tag_sets.append(row)
        return self.tag_sets.index(row)

    @staticmethod
    def positions(chosen: Sequence[str] | None, known: Sequence[str], what: str, place: str) -> list[int]:
        if chosen is None:
            return list(range(len(known)))
        for name in chosen:
            if name not in known:
                raise ModelError(f"{place}: {what} {name!r} is unknown{_near(name, known)}")
        return [known.index(name) for name in chosen]

    def treatment(self, name: str, treatments: Mapping[str, Sequence[str]], place: str) -> tuple[int, int]:
        for slot, known in enumerate(treatments.values()):
            if name in known and name != NO_TREATMENT:
                return slot, known.index(name)
        every = [*treatments["local"], *treatments["systemic"]]
        raise ModelError(f"{place}: treatment {name!r} is unknown{_near(name, every)}")

    def mark_position(self, name: str, place: str) -> int:
        if name not in self.mark:
            raise ModelError(f"{place}: no edge makes the mark {name!r}{_near(name, self.mark)}")
        return self.mark[name]

    def per(self, name: str | None, place: str) -> int:
        if name is None:
            return -1
        if name in self.updated:
            raise ModelError(f"{place}: attribute {name!r} changes on the way; amounts go by baseline attributes")
        if name not in self.columns:
            if any(attribute.name == name for attribute in self.pathway.attributes):
                raise ModelError(f"{place}: amounts go by {name!r}, which the cohort does not bring")
            raise ModelError(f"{place}: attribute {name!r} is unknown{_near(name, self.columns)}")
        return self.columns[name]


def _ranges(groups: Sequence[Sequence[Sequence[int]]], columns: int) -> tuple[at.Ints, at.Ints]:
    first = np.cumsum([0, *(len(group) for group in groups)]).astype(np.int64)
    return first, _ints([row for group in groups for row in group], columns)


def _refuse_repeated(what: str, names: Sequence[str]) -> None:
    for position, name in enumerate(names):
        if name in names[:position]:
            raise ModelError(f"{what} {name!r} is declared twice; names must differ")


def _near(name: str, known: object) -> str:
    found = difflib.get_close_matches(name, list(known), 1, 0.5)  # type: ignore[call-overload]
    return f"; the nearest is {found[0]!r}" if found else ""
