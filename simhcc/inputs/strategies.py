"""Strategies: decision tables as frozen rows.

A strategy file names the tables where it differs; the rest comes from the strategy it inherits. Attribute, node, action
and treatment names are checked by the model that knows them, at the place each row carries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simhcc.errors import InputError
from simhcc.inputs.leaf import Label
from simhcc.inputs.locate import at, file_name, find_input, is_path, list_inputs
from simhcc.inputs.models import (
    DOTTED_PATTERN,
    NAME_PATTERN,
    OPERATORS,
    ORDER_OPERATORS,
    InheritModel,
    RowModel,
    StrategyModel,
    is_number,
    number_hint,
    unknown_key,
    validate,
)
from simhcc.inputs.reader import Document, FrozenMap, KeyPath, Place, describe, nearest, one_of, read_yaml

Scalar = str | float | int | bool

# The strategy that every other one inherits unless it says otherwise.
DEFAULT_PARENT = "standard_care"

_OPTION = re.compile(r"\$\{([^}]*)\}")


class ParameterName(str):
    """The dotted name of a parameter, where a condition compares with a number of `params/`."""

    __slots__ = ()


@dataclass(frozen=True)
class Condition:
    """One comparison: `attribute op value`.

    `op` is one of eq, ne, lt, le, gt, ge, in, not_in. `value` is a scalar; a tuple of scalars for `in` and `not_in`; a
    number or a `ParameterName` for lt, le, gt, ge.
    """

    attribute: str
    op: str
    value: Scalar | tuple[Scalar, ...]
    place: Place = field(compare=False, default=Place("", 0))

    def error(self, found: str, expected: str) -> InputError:
        """An InputError at the line of this condition; the caller raises it."""
        return InputError(found, expected, self.attribute, self.place.file, self.place.line)


@dataclass(frozen=True)
class Row:
    """One row of a decision table: if all conditions hold, do `action`.

    `systemic` and `local` name the treatment that fills a slot ("none" empties it, None leaves it as it is); `set`
    gives attributes new values.
    """

    when: tuple[Condition, ...]
    action: str
    systemic: str | None = None
    local: str | None = None
    set: tuple[tuple[str, Scalar], ...] = ()
    note: str | None = field(compare=False, default=None)
    place: Place = field(compare=False, default=Place("", 0))

    def error(self, found: str, expected: str) -> InputError:
        """An InputError at the line of this row; the caller raises it."""
        return InputError(found, expected, "do", self.place.file, self.place.line)


@dataclass(frozen=True)
class Strategy:
    """What is done at every decision. `tables` maps a node to its rows; first match wins, and the last row always does.

    `options` are the values that stand for `${name}` in the rows; `lineage` names the strategies it inherits, nearest
    first.
    """

    id: str
    label: Label
    setting: str
    tables: Mapping[str, tuple[Row, ...]]
    options: Mapping[str, Scalar]
    lineage: tuple[str, ...]
    note: str | None
    place: Place
    # Rows before options were put in, each with the file it came from.
    _templates: Mapping[str, tuple[tuple[Document, KeyPath], ...]] = field(repr=False, compare=False)

    def parameters_named(self) -> dict[str, Condition]:
        """Names of the parameters that conditions compare with -> the first such condition."""
        named: dict[str, Condition] = {}
        for rows in self.tables.values():
            for row in rows:
                for condition in row.when:
                    if isinstance(condition.value, ParameterName):
                        named.setdefault(str(condition.value), condition)
        return named


def load_strategy(
    id_or_path: str | Path, user_dir: str | Path | None = None, relative_to: Path | None = None
) -> Strategy:
    """Read a strategy with everything it inherits.

    Raises InputError for wrong files, unknown or circular inheritance, rows that can never be reached, a table whose
    last row has conditions (it could fall through), unknown or unused options.
    """
    path = find_input("strategy", str(id_or_path), user_dir, relative_to)
    documents = _lineage(path, user_dir, by_id=not is_path(str(id_or_path)))
    models = [validate(StrategyModel, document, (), "a strategy") for document in documents]
    options: dict[str, Scalar] = {}
    declared: dict[str, Place] = {}
    templates: dict[str, tuple[tuple[Document, KeyPath], ...]] = {}
    for document, model in zip(reversed(documents), reversed(models), strict=True):
        options |= model.options or {}
        declared |= {name: document.place(("options", name)) for name in model.options or {}}
        templates |= _tables(document, templates)
    first, document = models[0], documents[0]
    own = set(first.options or {})
    if not templates:
        raise document.error((), "a strategy without tables", "tables, or a strategy to inherit them from")
    return _build(
        first.id,
        Label(first.label.en, first.label.zh),
        first.setting,
        first.note,
        document.place(),
        tuple(model.id for model in models[1:]),
        templates,
        options,
        {name: declared[name] for name in own},
    )


def with_options(strategy: Strategy, /, **options: Scalar) -> Strategy:
    """The strategy with other values for its options; InputError for an option it does not have."""
    for name in options:
        if name not in strategy.options:
            raise InputError(
                f"no option {name!r} in the strategy {strategy.id}", one_of(strategy.options, name), f"options.{name}"
            )
    return _build(
        strategy.id,
        strategy.label,
        strategy.setting,
        strategy.note,
        strategy.place,
        strategy.lineage,
        strategy._templates,
        {**strategy.options, **options},
        {},
    )


def list_strategies(user_dir: str | Path | None = None) -> dict[str, Path]:
    """Id -> file of every strategy; the user's own win."""
    return list_inputs("strategy", user_dir)


def read_when(document: Document, path: KeyPath, options: Mapping[str, Scalar] | None = None) -> tuple[Condition, ...]:
    """The conditions of a `when` mapping in any file, in the order written.

    Scenario subgroups, trial and claim files use it too. `options` fill `${name}`; None refuses them.
    """
    when = document.get(path)
    if not isinstance(when, dict) or not when:
        raise document.error(
            path, describe(when), "a mapping of attributes to conditions (leave `when` out for always)"
        )
    conditions: list[Condition] = []
    for attribute in when:
        here = (*path, attribute)
        if not re.match(NAME_PATTERN, attribute):
            raise document.error(here, f"the attribute {attribute!r}", "a letter, then letters, digits or _")
        mine = list(_conditions(document, here, attribute, options))
        _refuse_impossible(document, here, mine)
        conditions += mine
    return tuple(conditions)


# ---------------------------------------------------------------------------------------------------------------------
# Inheritance


def _lineage(path: Path, user_dir: str | Path | None, by_id: bool) -> list[Document]:
    """The file and those it inherits from, nearest first."""
    documents: list[Document] = []
    seen: dict[Path, str] = {}
    current: Path | None = path
    while current is not None:
        document = read_yaml(current, file_name(current))
        model = validate(StrategyModel, document, (), "a strategy")
        if by_id and model.id != current.stem:
            raise document.error(("id",), f"id {model.id} in a file called {current.name}", f"id: {current.stem}")
        documents.append(document)
        seen[current.resolve()] = model.id
        parent = model.inherits or (None if model.id == DEFAULT_PARENT else DEFAULT_PARENT)
        if parent is None or parent == "none":
            return documents
        try:
            current = find_input("strategy", parent, user_dir, current.parent)
        except InputError as error:
            raise at(document.place(("inherits",)), "inherits", error) from None
        by_id = not is_path(parent)
        if current.resolve() in seen:
            chain = " -> ".join([*seen.values(), seen[current.resolve()]])
            raise document.error(("inherits",), f"a circle: {chain}", "a strategy that does not inherit from this one")
    return documents


def _tables(
    document: Document, inherited: Mapping[str, tuple[tuple[Document, KeyPath], ...]]
) -> dict[str, tuple[tuple[Document, KeyPath], ...]]:
    """The tables of one file, continued with inherited rows where it says so."""
    tables = document.get("tables")
    if tables is None:
        return {}
    if not isinstance(tables, dict):
        raise document.error(("tables",), describe(tables), "a mapping of nodes to lists of rows")
    return {node: _table(document, ("tables", node), inherited.get(node)) for node in tables}


def _table(
    document: Document, path: KeyPath, inherited: tuple[tuple[Document, KeyPath], ...] | None
) -> tuple[tuple[Document, KeyPath], ...]:
    rows = document.get(path)
    node = str(path[-1])
    if not re.match(NAME_PATTERN, node):
        raise document.error(path, f"the node {node!r}", "a letter, then letters, digits or _")
    if not isinstance(rows, list) or not rows:
        raise document.error(path, describe(rows), "a list of rows: - {when: {...}, do: ...}")
    mine: list[tuple[Document, KeyPath]] = []
    for position, row in enumerate(rows):
        here = (*path, position)
        last = position == len(rows) - 1
        if isinstance(row, dict) and "inherit" in row:
            validate(InheritModel, document, here, "a row that continues with the inherited ones")
            if row["inherit"] is not True:
                raise document.error((*here, "inherit"), "inherit: false", "inherit: true, or no such row")
            if not last:
                raise document.error(here, "inherit: true before other rows", "it stands last")
            if inherited is None:
                raise document.error(here, f"inherit: true, but no inherited table {node}", "a row with do")
            mine += inherited
            break
        validate(RowModel, document, here, "a row")
        for earlier in range(position):
            if "when" in row and rows[earlier].get("when") == row["when"]:
                line = document.place((*path, earlier)).line
                raise document.error(
                    here, f"a row with the conditions of line {line}", "other conditions: this is never reached"
                )
        mine.append((document, here))
        if "when" not in row and not last:
            raise document.error(
                (*path, position + 1),
                f"a row that is never reached: the row at line {document.place(here).line} always matches",
                "a row without `when` stands last",
            )
    end, key = mine[-1]
    if "when" in end.get(key):
        raise document.error(
            (*path, len(rows) - 1),
            f"a table {node} that can fall through: its last row has conditions",
            "a last row without `when`, or inherit: true",
        )
    return tuple(mine)


def _build(
    name: str,
    label: Label,
    setting: str,
    note: str | None,
    place: Place,
    lineage: tuple[str, ...],
    templates: Mapping[str, tuple[tuple[Document, KeyPath], ...]],
    options: Mapping[str, Scalar],
    declared: Mapping[str, Place],
) -> Strategy:
    """A strategy with its options put into the rows; those in `declared` must be used, others are dropped if not."""
    used: set[str] = set()
    counted = _Counted(options, used)
    tables = {node: tuple(_row(document, key, counted) for document, key in rows) for node, rows in templates.items()}
    for option, declaration in declared.items():
        if option not in used:
            raise InputError(
                f"the option {option!r}, which no row uses",
                f"${{{option}}} in a row, or no such option",
                f"options.{option}",
                declaration.file,
                declaration.line,
            )
    return Strategy(
        name,
        label,
        setting,
        FrozenMap(tables),
        FrozenMap({name: value for name, value in options.items() if name in used}),
        lineage,
        note,
        place,
        FrozenMap(templates),
    )


# ---------------------------------------------------------------------------------------------------------------------
# Rows


class _Counted(dict[str, Scalar]):
    """Options that remember which of them were used."""

    def __init__(self, options: Mapping[str, Scalar], used: set[str]) -> None:
        super().__init__(options)
        self.used = used

    def take(self, name: str) -> Scalar:
        self.used.add(name)
        return self[name]


def _row(document: Document, path: KeyPath, options: _Counted) -> Row:
    row = document.get(path)
    changes = tuple(
        (attribute, _fill(document, (*path, "set", attribute), value, options))
        for attribute, value in row.get("set", {}).items()
    )
    return Row(
        read_when(document, (*path, "when"), options) if "when" in row else (),
        _word(document, (*path, "do"), row["do"], options),
        _word(document, (*path, "systemic"), row["systemic"], options) if "systemic" in row else None,
        _word(document, (*path, "local"), row["local"], options) if "local" in row else None,
        changes,
        row.get("note"),
        document.place(path),
    )


def _word(document: Document, path: KeyPath, value: str, options: _Counted) -> str:
    """The name of an action or treatment, with its options put in."""
    word = _fill(document, path, value, options)
    if not isinstance(word, str) or not re.match(NAME_PATTERN, word):
        raise document.error(path, describe(word), "a name: a letter, then letters, digits or _")
    return word


def _fill(document: Document, path: KeyPath, value: Scalar, options: Mapping[str, Scalar] | None) -> Scalar:
    """`value` with every `${option}` replaced; alone, the option keeps its type."""
    if not isinstance(value, str) or "${" not in value:
        return value
    names = _OPTION.findall(value)
    if not names:
        raise document.error(path, f"{value!r} with an open ${{", "${option}")
    for name in names:
        if options is None:
            raise document.error(path, f"the option ${{{name}}}", "options stand in rows of strategies only")
        if name not in options:
            near = nearest(name, options)
            known = f"{near}?" if near else one_of(options) if options else "an entry under options"
            raise document.error(path, f"the option ${{{name}}}, which is not declared", known)
    if _OPTION.fullmatch(value):
        return _take(options, names[0])
    return _OPTION.sub(lambda match: str(_take(options, match.group(1))), value)


def _take(options: Mapping[str, Scalar] | None, name: str) -> Scalar:
    assert options is not None
    return options.take(name) if isinstance(options, _Counted) else options[name]


def _conditions(
    document: Document, path: KeyPath, attribute: str, options: Mapping[str, Scalar] | None
) -> list[Condition]:
    given = document.get(path)
    place = document.place(path)
    if isinstance(given, list):
        return [Condition(attribute, "in", _members(document, path, given, options), place)]
    if not isinstance(given, dict):
        return [Condition(attribute, "eq", _scalar(document, path, given, options), place)]
    if not given:
        raise document.error(path, "an empty mapping", f"a value, a list of values, or {', '.join(OPERATORS)}")
    conditions = []
    for op, value in given.items():
        here = (*path, op)
        if op not in OPERATORS:
            raise unknown_key(document, here, op, OPERATORS)
        if op in ("in", "not_in"):
            if not isinstance(value, list):
                raise document.error(here, describe(value), "a list of values")
            found: Scalar | tuple[Scalar, ...] = _members(document, here, value, options)
        elif op in ORDER_OPERATORS:
            found = _threshold(document, here, value, options)
        else:
            found = _scalar(document, here, value, options)
        conditions.append(Condition(attribute, op, found, document.place(here)))
    return conditions


def _members(
    document: Document, path: KeyPath, values: list[Any], options: Mapping[str, Scalar] | None
) -> tuple[Scalar, ...]:
    if not values:
        raise document.error(path, "an empty list", "at least one value")
    members = tuple(_scalar(document, (*path, position), value, options) for position, value in enumerate(values))
    for position, member in enumerate(members):
        if any(member == other and type(member) is type(other) for other in members[:position]):
            raise document.error((*path, position), f"{member!r} twice", "each value once")
    return members


def _scalar(document: Document, path: KeyPath, value: Any, options: Mapping[str, Scalar] | None) -> Scalar:
    if not isinstance(value, str | int | float | bool) or value == "":
        raise document.error(path, describe(value), "a word, a number, true or false")
    return _fill(document, path, value, options)


def _threshold(
    document: Document, path: KeyPath, value: Any, options: Mapping[str, Scalar] | None
) -> float | int | ParameterName:
    """A number, or the name of a parameter."""
    filled = _fill(document, path, value, options) if isinstance(value, str) else value
    if isinstance(filled, int | float) and is_number(filled):
        return filled
    if isinstance(filled, str) and re.match(DOTTED_PATTERN, filled) and "." in filled:
        return ParameterName(filled)
    raise document.error(path, describe(filled), f"{number_hint(filled)}, or the dotted name of a parameter")


def _refuse_impossible(document: Document, path: KeyPath, conditions: list[Condition]) -> None:
    """Bounds on one attribute that no number meets, such as above 12 and at most 6."""
    low, high = float("-inf"), float("inf")
    open_low = open_high = False
    for condition in conditions:
        if not is_number(condition.value):
            continue
        bound = float(condition.value)  # type: ignore[arg-type]
        if condition.op in ("gt", "ge") and (bound, condition.op == "gt") > (low, open_low):
            low, open_low = bound, condition.op == "gt"
        if condition.op in ("lt", "le") and (-bound, condition.op == "lt") > (-high, open_high):
            high, open_high = bound, condition.op == "lt"
    if low > high or (low == high and (open_low or open_high)):
        raise document.error(
            path, f"bounds that no number meets ({low:g} and {high:g})", "a lower bound below the upper"
        )
