"""The strict YAML reader: text -> plain lists, mappings and scalars, each with its file and line.

YAML 1.2, core schema: `1e-3` is a number, `no` and `2024-01-01` are text. The parser's events are turned into a tree
here, so no tag is ever looked up and no object is ever constructed. Refused, with the line: repeated keys, tags,
directives, several documents in a file, NaN and infinity, text that is not UTF-8, tabs as indentation, and files
beyond the limits below (aliases count as often as they are used, so a small file cannot unfold into a huge one).
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from simhcc.errors import InputError

MAX_BYTES = 1_000_000
MAX_DEPTH = 40
MAX_ENTRIES = 100_000
MAX_NUMBER_LENGTH = 60

Key = str | int
KeyPath = tuple[Key, ...]
Tree = Any

_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+\Z|0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z")


V = TypeVar("V")


class FrozenMap(Mapping[str, V]):
    """A mapping that cannot be changed; equal to any mapping with the same entries; can be pickled."""

    __slots__ = ("_entries",)

    def __init__(self, entries: Mapping[str, V] | None = None) -> None:
        self._entries: dict[str, V] = dict(entries or {})

    def __getitem__(self, key: str) -> V:
        return self._entries[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return repr(self._entries)


class Place(NamedTuple):
    """Where something stands: the file as a user would name it, and the 1-based line (0: not a line of a file)."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True)
class Document:
    """One file that was read: `tree` (plain dict, list, str, float, int, bool, None) and the line of every entry.

    A key path is a tuple of keys and list positions, `("recurrence", "early", "value")`, or the same joined by dots.
    Mapping keys are always text, exactly as written.
    """

    file: str
    path: Path
    tree: Tree
    sha256: str
    lines: dict[KeyPath, int]

    def keypath(self, path: str | Sequence[Key]) -> KeyPath:
        """`path` as a tuple; in dotted text, parts that stand where the tree has a list become positions."""
        if not isinstance(path, str):
            return tuple(path)
        parts: list[Key] = []
        node = self.tree
        for part in path.split(".") if path else []:
            if isinstance(node, list) and part.isdigit():
                parts.append(int(part))
                node = node[int(part)] if int(part) < len(node) else None
            else:
                parts.append(part)
                node = node.get(part) if isinstance(node, dict) else None
        return tuple(parts)

    def place(self, path: str | Sequence[Key] = ()) -> Place:
        """File and line of an entry; of its nearest parent where the entry itself does not exist."""
        keys = self.keypath(path)
        while keys and keys not in self.lines:
            keys = keys[:-1]
        return Place(self.file, self.lines.get(keys, 1 if self.lines else 0))

    def error(self, path: str | Sequence[Key], found: str, expected: str = "") -> InputError:
        """An InputError at an entry of this file; the caller raises it."""
        keys = self.keypath(path)
        place = self.place(keys)
        return InputError(found, expected, dotted(keys) or None, place.file or None, place.line or None)

    def get(self, path: str | Sequence[Key], default: Tree = None) -> Tree:
        """The entry at a key path, or `default` where there is none."""
        node = self.tree
        for key in self.keypath(path):
            if isinstance(node, dict) and key in node:
                node = node[key]
                continue
            if not isinstance(node, list) or not isinstance(key, int) or not 0 <= key < len(node):
                return default
            node = node[key]
        return node


def dotted(path: Iterable[Key]) -> str:
    """`("a", "b", 0)` -> `a.b.0`."""
    return ".".join(str(key) for key in path)


def describe(value: Tree) -> str:
    """A value in words for a message, shortened: number 0.5, text 'abc', true, a list of 3, a mapping, nothing."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        text = repr(value)
        return f"number {text if len(text) <= 40 else text[:37] + '...'}"
    if isinstance(value, str):
        return f"text {_short(value)}"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        keys = ", ".join(list(value)[:4])
        return f"a mapping ({_short(keys, quote=False)}{', ...' if len(value) > 4 else ''})" if value else "a mapping"
    return type(value).__name__


def nearest(word: str, allowed: Iterable[str]) -> str | None:
    """The allowed word most like `word`, or None when none is near."""
    names = sorted({str(name) for name in allowed})
    lower = {name.lower(): name for name in reversed(names)}
    close = difflib.get_close_matches(word.lower(), list(lower), n=1, cutoff=0.6)
    if close:
        return lower[close[0]]
    # A dotted name is often remembered by its last part only.
    tails = {name.rsplit(".", 1)[-1].lower(): name for name in reversed(names)}
    close = difflib.get_close_matches(word.rsplit(".", 1)[-1].lower(), list(tails), n=1, cutoff=0.8)
    return tails[close[0]] if close else None


def one_of(allowed: Iterable[str], word: str | None = None, limit: int = 24) -> str:
    """`one of a, b, c`, led by the name nearest to `word`; long lists are cut."""
    names = sorted({str(name) for name in allowed})
    near = nearest(word, names) if word is not None else None
    shown = ", ".join(names[:limit]) + (f", ... ({len(names)} in all)" if len(names) > limit else "")
    listing = ("nothing here" if not names else shown) if len(names) < 2 else f"one of {shown}"
    return f"{near} (the nearest name)? Allowed: {listing}" if near else listing


def read_yaml(path: str | Path, file: str | None = None) -> Document:
    """Read one YAML file strictly.

    `file` is the name used in messages (default: relative to the working folder where it lies inside it).
    Raises InputError for anything that is not a readable, bounded, unambiguous YAML 1.2 document.
    """
    path = Path(path)
    name = file if file is not None else shown_path(path)
    try:
        if not path.exists():
            raise InputError("no such file", "a YAML file that exists", file=name)
        if not path.is_file():
            raise InputError("something that is not a regular file", "a YAML file", file=name)
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(f"a file of {size} bytes", f"at most {MAX_BYTES} bytes", file=name)
        raw = path.read_bytes()
    except (OSError, ValueError) as reason:
        raise InputError(
            f"a file that cannot be read ({reason.__class__.__name__})", "a readable YAML file", file=name
        ) from None
    return read_yaml_bytes(raw, name, path)


def read_yaml_bytes(raw: bytes, file: str, path: str | Path = "") -> Document:
    """Read YAML from bytes; `file` names them in messages. Equal bytes are parsed once per process."""
    if len(raw) > MAX_BYTES:
        raise InputError(f"a file of {len(raw)} bytes", f"at most {MAX_BYTES} bytes", file=file)
    try:
        tree, lines = _parse(raw)
    except InputError as error:
        # The cache knows nothing of names, so the file is added here.
        raise InputError(error.found, error.expected, error.key, file, error.line) from None
    return Document(file, Path(path), _copy(tree), hashlib.sha256(raw).hexdigest(), lines)


def shown_path(path: Path) -> str:
    """`path` as shown to a user: relative to the working folder when it lies inside it, with forward slashes."""
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except (ValueError, OSError):
        return path.as_posix()


def _short(text: str, limit: int = 60, quote: bool = True) -> str:
    cut = text if len(text) <= limit else text[: limit - 3] + "..."
    return repr(cut) if quote else cut


def _copy(node: Tree) -> Tree:
    """A copy of the containers, so a reader that edits its tree cannot reach the cached one."""
    if isinstance(node, dict):
        return {key: _copy(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_copy(value) for value in node]
    return node


@functools.lru_cache(maxsize=512)
def _parse(raw: bytes) -> tuple[Tree, dict[KeyPath, int]]:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as reason:
        line = raw[: reason.start].count(b"\n") + 1
        raise InputError(
            f"byte {raw[reason.start]:#04x}, which is not UTF-8", "text saved as UTF-8", line=line
        ) from None
    return _Builder(text).build()


class _Builder:
    """Turns parser events into a tree; one use."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines: dict[KeyPath, int] = {}
        # Anchored values with their own lines and entry counts, so that an alias unfolds with its original places.
        self.anchors: dict[str, tuple[Tree, dict[KeyPath, int]]] = {}
        self.entries = 0
        self.line = 1

    def build(self) -> tuple[Tree, dict[KeyPath, int]]:
        events = self._events()
        next(events)
        event = next(events)
        if isinstance(event, StreamEndEvent):
            raise InputError("an empty file", "a mapping of keys to values", line=1)
        assert isinstance(event, DocumentStartEvent)
        if event.version is not None or event.tags:
            raise self._fail(event, "a % directive", "plain YAML 1.2 without directives")
        tree = self._value(next(events), events, (), 1)
        next(events)
        event = next(events)
        if not isinstance(event, StreamEndEvent):
            raise self._fail(event, "a second document (---)", "one document in a file")
        if tree is None:
            raise InputError("an empty file", "a mapping of keys to values", line=1)
        return tree, self.lines

    def _events(self) -> Any:
        try:
            for event in YAML(typ="safe", pure=True).parse(self.text):
                self.line = event.end_mark.line + 1
                yield event
        except MarkedYAMLError as reason:
            mark = reason.problem_mark or reason.context_mark
            line = mark.line + 1 if mark is not None else None
            raise InputError(*_syntax_words(reason), line=line) from None
        except YAMLError as reason:
            position = getattr(reason, "position", None)
            line = self.text.count("\n", 0, position) + 1 if isinstance(position, int) else None
            raise InputError(
                f"a character that YAML does not allow ({_first_line(reason)})", "printable text", line=line
            ) from None
        except RecursionError:
            raise InputError(
                "lists or mappings nested too deeply", f"at most {MAX_DEPTH} levels", line=self.line
            ) from None
        except (ValueError, IndexError, KeyError, AttributeError, TypeError, AssertionError, OverflowError) as reason:
            # The parser's own slips on malformed text (for example an escape beyond Unicode) are still wrong input.
            raise InputError(
                f"text that is not YAML ({reason.__class__.__name__})", "YAML 1.2", line=self.line
            ) from None

    def _fail(self, event: Any, found: str, expected: str, path: KeyPath = ()) -> InputError:
        return InputError(found, expected, dotted(path) or None, line=event.start_mark.line + 1)

    def _value(self, event: Any, events: Any, path: KeyPath, depth: int) -> Tree:
        self.entries += 1
        if self.entries > MAX_ENTRIES:
            raise self._fail(
                event, f"more than {MAX_ENTRIES} entries (aliases count each time)", "a smaller file", path
            )
        if depth > MAX_DEPTH:
            raise self._fail(event, "lists or mappings nested too deeply", f"at most {MAX_DEPTH} levels", path)
        self.lines.setdefault(path, event.start_mark.line + 1)
        if isinstance(event, AliasEvent):
            return self._alias(event, path)
        if event.tag is not None and not (isinstance(event, ScalarEvent) and event.tag == "!" and event.style):
            raise self._fail(event, f"the tag {event.tag}", "plain values without tags", path)
        if isinstance(event, ScalarEvent):
            value = self._scalar(event, path)
        elif isinstance(event, MappingStartEvent):
            value = self._mapping(events, path, depth)
        else:
            assert isinstance(event, SequenceStartEvent)
            value = self._sequence(events, path, depth)
        if event.anchor is not None:
            below = {key[len(path) :]: line for key, line in self.lines.items() if key[: len(path)] == path}
            self.anchors[event.anchor] = (value, below)
        return value

    def _alias(self, event: Any, path: KeyPath) -> Tree:
        if event.anchor not in self.anchors:
            raise self._fail(
                event, f"the alias *{event.anchor} without an anchor before it", "an anchor defined earlier", path
            )
        value, below = self.anchors[event.anchor]
        self.entries += len(below)
        if self.entries > MAX_ENTRIES:
            raise self._fail(
                event, f"more than {MAX_ENTRIES} entries (aliases count each time)", "a smaller file", path
            )
        if len(path) + max((len(key) for key in below), default=0) > MAX_DEPTH:
            raise self._fail(event, "lists or mappings nested too deeply", f"at most {MAX_DEPTH} levels", path)
        for key, line in below.items():
            self.lines.setdefault(path + key, line)
        return value

    def _sequence(self, events: Any, path: KeyPath, depth: int) -> list[Tree]:
        items: list[Tree] = []
        while not isinstance(event := next(events), SequenceEndEvent):
            items.append(self._value(event, events, (*path, len(items)), depth + 1))
        return items

    def _mapping(self, events: Any, path: KeyPath, depth: int) -> dict[str, Tree]:
        mapping: dict[str, Tree] = {}
        first_line: dict[str, int] = {}
        while not isinstance(event := next(events), MappingEndEvent):
            key = self._key(event, path)
            line = event.start_mark.line + 1
            if key in mapping:
                raise self._fail(
                    event, f"the key {key!r} again (first on line {first_line[key]})", "each key once", (*path, key)
                )
            first_line[key] = line
            self.lines[(*path, key)] = line
            mapping[key] = self._value(next(events), events, (*path, key), depth + 1)
        return mapping

    def _key(self, event: Any, path: KeyPath) -> str:
        if not isinstance(event, ScalarEvent):
            raise self._fail(event, "a key that is not a single word", "text as key", path)
        if event.tag is not None:
            raise self._fail(event, f"the tag {event.tag}", "plain keys without tags", path)
        key: str = event.value
        if not key.strip():
            raise self._fail(event, "an empty key", "text as key", path)
        if key == "<<" and not event.style:
            raise self._fail(event, "the merge key <<", "the entries themselves (merge keys are not YAML 1.2)", path)
        if len(key) > 200:
            raise self._fail(event, f"a key of {len(key)} characters", "at most 200 characters", path)
        return key

    def _scalar(self, event: Any, path: KeyPath) -> Tree:
        text: str = event.value
        if event.style:
            return text
        if text in _NULL:
            return None
        if text in _BOOL:
            return _BOOL[text]
        if _NOT_FINITE.match(text):
            raise self._fail(event, f"{text}", "a finite number", path)
        is_int = _INT.match(text) is not None
        if not is_int and not _FLOAT.match(text):
            return text
        if len(text) > MAX_NUMBER_LENGTH:
            raise self._fail(
                event, f"a number of {len(text)} characters", f"at most {MAX_NUMBER_LENGTH} (or quotes, for text)", path
            )
        number = (int(text, 0) if text[:2] in ("0o", "0x") else int(text)) if is_int else float(text)
        if not math.isfinite(number):
            raise self._fail(event, f"{text}, too large for a number", "a finite number", path)
        return number


_SYNTAX: list[tuple[str, Callable[[MarkedYAMLError], tuple[str, str]]]] = [
    ("found character '\\t'", lambda _: ("a tab used as indentation", "spaces")),
    (
        "mapping values are not allowed",
        lambda _: ("a colon where no key can stand", "one `key: value` a line; quotes around text with a colon"),
    ),
    ("could not find expected ':'", lambda _: ("a line without a colon where a key stands", "`key: value`")),
    ("found undefined alias", lambda _: ("an alias without an anchor", "an anchor defined earlier")),
]


def _syntax_words(reason: MarkedYAMLError) -> tuple[str, str]:
    problem = str(reason.problem or reason.context or "broken YAML")
    for start, words in _SYNTAX:
        if problem.startswith(start):
            return words(reason)
    context = f" ({reason.context})" if reason.context and reason.problem else ""
    return f"broken YAML: {problem}{context}", "valid YAML 1.2"


def _first_line(reason: Exception) -> str:
    text = str(reason).strip()
    return text.splitlines()[0][:120] if text else reason.__class__.__name__
