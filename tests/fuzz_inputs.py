"""Mutated input files through `simhcc check`, in this process: `python tests/fuzz_inputs.py --cases 20000 --seed 1`.

A case is a small project (packaged files and a user's own) in which one or two files are damaged in one of the ways below.
It passes when the command ends with exit code 0 or 2, says what is wrong in the promised form, needs no more than
`SECONDS` of processor time and waits for nothing, opens no file for writing, and starts or runs nothing. Case N of a seed is
always the same: `--first N --cases 1` repeats it, and `--keep DIR` leaves its files there.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SECONDS = 30.0
"""of processor time, for one case"""
BLOCKED = 600.0
"""seconds of wall clock after which a case counts as waiting for something that never comes"""

# ---------------------------------------------------------------------------------------------------------------------
# The project

STRATEGY = """\
id: {id}
label: {{en: One, zh: 一}}
setting: advanced
options: {{backbone: atezo_bev}}
tables:
  initial_treatment:
    - {{when: {{ecog: {{ge: 3}}}}, do: supportive}}
    - {{when: {{child_pugh: {{gt: cutoffs.burden_low, le: cutoffs.burden_high}}}}, do: supportive}}
    - {{when: {{child_pugh: {{ge: 8}}}}, do: supportive, note: a note}}
    - do: start_systemic
      systemic: ${{backbone}}
"""
SCENARIO = """\
id: mine
label: {en: Mine, zh: 我的}
extends: question
parameters: [../extra/more.yaml]
strategies: [plain, {id: own, options: {backbone: sorafenib}, as: own_sorafenib}]
overrides:
  recurrence.hr_perioperative: 0.7
  recurrence.rate_late_per_month: {value: 0.01, distribution: {gamma: {ci95: [0.006, 0.015]}}}
subgroups:
  - {id: young, label: {en: Under 65}, when: {age: {lt: 65}, ehs: [0, 1]}}
"""
OWN_NUMBERS = """\
recurrence:
  hr_perioperative: {value: 0.62, unit: hazard_ratio, distribution: {lognormal: {sdlog: 0.2}}, grade: assumed, reason: mine}
mine:
  shares: {value: [0.2, 0.3, 0.5], unit: fraction, distribution: {dirichlet: {n: 40}}, grade: assumed, reason: mine, new: true}
  limits: &limits {value: 3, unit: score, distribution: {uniform: {low: 1, high: 5}}, grade: assumed, reason: mine, new: true}
  same: *limits
  beta: {value: 0.4, unit: fraction, distribution: {beta: {ci95: [0.3, 0.5]}}, grade: assumed, reason: mine, new: true}
"""
MORE_NUMBERS = """\
recurrence:
  shares_of_extent: {value: [0.1, 0.2, 0.3, 0.4], unit: fraction, distribution: {dirichlet: {n: 9}}, grade: assumed, reason: more}
"""
CORRELATIONS = """\
- parameters: [recurrence.hr_perioperative, recurrence.rate_late_per_month]
  matrix: [[1, 0.5], [0.5, 1]]
  note: together
"""


def make_project(root: Path) -> None:
    """Packaged files in `root/packaged`, a user's own in `root/mine`; `simhcc check mine` accepts them."""
    packaged, mine = root / "packaged", root / "mine"
    shutil.copytree(HERE / "bad_inputs" / "base", packaged)
    populations = packaged / "params" / "populations"
    (populations / "people.yaml").unlink()
    for name in ("base_global", "base_china", "china_advanced"):
        shutil.copyfile(ROOT / "params" / "populations" / f"{name}.yaml", populations / f"{name}.yaml")
    strategies = Path("scenarios", "strategies", "standard_care.yaml")
    shutil.copyfile(ROOT / strategies, packaged / strategies)
    # The numbers that its rows compare with, of any value.
    named = set(re.findall(r": ([a-z_]+\.[a-z_]+)\b", (ROOT / strategies).read_text(encoding="utf-8")))
    groups: dict[str, dict[str, Any]] = {}
    for name in sorted(named):
        leaf = {"value": 3, "unit": "score", "grade": "assumed", "reason": "any"}
        groups.setdefault(name.partition(".")[0], {})[name.partition(".")[2]] = leaf
    (packaged / "params" / "thresholds.yaml").write_text(json.dumps(groups), encoding="utf-8")
    sources = (ROOT / "params" / "sources.yaml").read_text(encoding="utf-8")
    own = (packaged / "params" / "sources.yaml").read_text(encoding="utf-8")
    (packaged / "params" / "sources.yaml").write_text(sources + own, encoding="utf-8")
    question = packaged / "scenarios" / "question.yaml"
    text = question.read_text(encoding="utf-8").replace("intermediate", "advanced").replace("people", "china_advanced")
    text = text.replace("standard_care", "plain")
    text = text.replace("- {id: by_burden, options: {backbone: len_pembro}, as: by_burden_len}", "- by_burden")
    question.write_text(text, encoding="utf-8")
    files = {
        packaged / "scenarios" / "strategies" / "plain.yaml": STRATEGY.format(id="plain"),
        packaged / "scenarios" / "strategies" / "by_burden.yaml": STRATEGY.format(id="by_burden"),
        mine / "scenarios" / "mine.yaml": SCENARIO,
        mine / "scenarios" / "strategies" / "own.yaml": STRATEGY.format(id="own"),
        mine / "params" / "numbers.yaml": OWN_NUMBERS,
        mine / "params" / "correlations.yaml": CORRELATIONS,
        mine / "extra" / "more.yaml": MORE_NUMBERS,
        mine / "params" / "sources.yaml": "mine-2026: {citation: Mine., year: 2026, doi: 10.1000/1}\n",
        mine / "params" / "countries" / "china" / "own.yaml": (
            "cost:\n  visit: {value: 90, unit: cny, grade: assumed, reason: mine}\n"
        ),
    }
    population = (populations / "china_advanced.yaml").read_text(encoding="utf-8")
    files[mine / "params" / "populations" / "china_advanced.yaml"] = population
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


# ---------------------------------------------------------------------------------------------------------------------
# Ways to damage a file

NUMBERS = [
    "0", "-0", "1", "-1", "0.0", "-0.0", "1e308", "-1e308", "1e309", "-1e309", "1e-308", "5e-324", "1e-400",
    "9007199254740993", "18446744073709551616", "340282366920938463463374607431768211456", "0.1e-1000", "1e+15",
    "1.0e+15", "99999999999999999999999999999999999999999999999999", ".inf", "-.inf", ".nan", ".Inf", "NaN", "nan",
    "inf", "0x7fffffff", "0xffffffffffffffffffff", "0o777", "0b101", "1_000", "1,000", "1.2.3", "+1", "+.5", "1e",
    "1e+", "٣", "１２", "50%", "12:30:45",
]  # fmt: skip
WORDS = [
    "yes", "no", "on", "off", "true", "True", "false", "null", "~", "''", '""', "-", "--", "---", "...", "?", ":",
    ",", ".", "..", "/", "//", "\\", "|", ">", "|-", ">+2", "&", "&a", "*", "*a", "*limits", "!", "!!", "%", "@",
    "`", "#", "[", "]", "{", "}", "<<", "=", "!!python/object/apply:os.system [touch x]",
    "!!python/object/new:subprocess.Popen [[touch, x]]", "!!python/name:os.system", "!!python/module:os",
    "!!python/tuple [1, 2]", "!!binary R0lGODlhDAAMAIQAAP==", "!!set {a, b}", "!!omap [a: 1]",
    "!!timestamp 2024-01-01", "!!float 1", "!<tag:yaml.org,2002:python/object/apply:os.system> [ls]",
    "!include /etc/passwd", "!ENV ${HOME}", "%YAML 1.1\n---", "%TAG ! tag:example.com,2000:", "${HOME}",
    "$(touch x)", "`touch x`", "{{7*7}}", "${backbone}", "${${backbone}}", "${", "__import__('os').system('x')",
    "__class__", "__dict__", "value", "unit", "id", "extends", "mine", "question", "own", "standard_care",
    "2024-01-01", "a" * 300, "é", "一" * 90, "\u202eabc", "\u200b", "\ud7ff", "\U0001f9ec", "\x00", "\x07",
    "\x1b[31m", "\x7f", "\x85", "\u2028", "\ufeff", "\ufffe", "\t", "\r", "\n", "\n\n", "\n \n", "    ", "  - ",
    "? a\n: b", "a: b: c", "- - - a",
]  # fmt: skip
PATHS = [
    "../../../../etc/passwd", "/etc/passwd", "..", ".", "/", "", "~", "~/x", "./x.yaml",
    "../packaged/scenarios/question.yaml", "scenarios/mine.yaml", "/dev/zero", "/dev/null", "/dev/stdin",
    "/dev/tty", "/proc/self/mem", "/proc/self/environ", "/proc/self/fd/0", "file:///etc/passwd",
    "http://127.0.0.1:9/x.yaml", "\\\\host\\share", "C:\\x.yaml", "con", "a/b/c.yaml", "x\x00y", "x\ny", "*.yaml",
    "$HOME/x.yaml", "a" * 5000, "a/" * 3000, "../" * 2000 + "x.yaml", "loop.yaml", "pipe.yaml", "folder.yaml",
    "mine.yaml", "-rf", "--json", "..%2f..%2fx", "x.yaml/../../../x", "scenarios/strategies/../mine.yaml",
    "params/numbers.yaml", "_", "-", "Ünïcode", "a.b", "a b",
]  # fmt: skip
NAMES = [
    "x.yml", "X.YAML", "x.Yaml", ".hidden.yaml", "-rf.yaml", "loop.yaml", "pipe.yaml", "folder.yaml", "link.yaml",
    "gone.yaml", "x.yaml.yaml", ".yaml", "a b.yaml", "x\ny.yaml", "一.yaml", "\u202e.yaml", "$(touch x).yaml",
    "%s%n.yaml", "'.yaml", '".yaml', "a" * 200 + ".yaml", "\udcff.yaml",
]  # fmt: skip
ENCODINGS = [
    "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "latin-1", "cp1252", "gbk", "big5", "shift_jis",
    "utf-7", "cp037", "idna",
]  # fmt: skip

Mutation = Callable[[random.Random, bytes, "Corpus"], bytes]


@dataclass(frozen=True)
class Corpus:
    """Good files by their path below the project, and their trees."""

    files: dict[str, bytes]
    trees: dict[str, Any]


def text_of(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def damage_bytes(chance: random.Random, data: bytes, corpus: Corpus) -> bytes:
    """Bytes flipped, put in, taken out, repeated, moved; the end cut off."""
    found = bytearray(data)
    for _ in range(chance.choice([1, 1, 1, 2, 4, 16, 64])):
        at = chance.randrange(len(found) + 1)
        width = chance.choice([1, 1, 2, 5, 20, 200])
        kind = chance.randrange(7)
        if kind == 0 and found:
            found[min(at, len(found) - 1)] ^= 1 << chance.randrange(8)
        elif kind == 1:
            found[at:at] = bytes(chance.randrange(256) for _ in range(width))
        elif kind == 2:
            del found[at : at + width]
        elif kind == 3:
            found[at:at] = found[at : at + width] * chance.choice([1, 2, 50])
        elif kind == 4:
            piece = found[at : at + width]
            del found[at : at + width]
            to = chance.randrange(len(found) + 1)
            found[to:to] = piece
        elif kind == 5:
            del found[at:]
        else:
            found[at:at] = chance.choice(
                [b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", b"\r", b"\x85"]
            )
    return bytes(found)


def damage_tokens(chance: random.Random, data: bytes, corpus: Corpus) -> bytes:
    """Words and signs replaced by others, from a list of awkward ones or from the file itself."""
    tokens = re.findall(r"[\w.$-]+|\s+|[^\w\s]", text_of(data))
    for _ in range(chance.choice([1, 1, 1, 2, 3, 8])):
        at = chance.randrange(len(tokens))
        new = chance.choice([*WORDS, chance.choice(NUMBERS), chance.choice(PATHS), chance.choice(tokens)])
        kind = chance.randrange(4)
        if kind == 0:
            tokens.insert(at, new)
        elif kind == 1 and len(tokens) > 1:
            del tokens[at]
        else:
            tokens[at] = new
    return "".join(tokens).encode("utf-8", "surrogatepass")


def damage_numbers(chance: random.Random, data: bytes, corpus: Corpus) -> bytes:
    """Numbers replaced by huge, tiny, odd and wrong ones."""
    parts = re.split(r"(?<![\w.])(-?\d+(?:\.\d+)?)(?![\w.])", text_of(data))
    numbers = range(1, len(parts), 2)
    for at in chance.sample(numbers, min(len(numbers), chance.choice([1, 1, 2, 5]))):
        usual = [
            str(chance.randrange(-10, 10**6)),
            repr(chance.uniform(-2, 2)),
            f"{10 ** chance.uniform(-320, 308):.3g}",
        ]
        parts[at] = chance.choice([*usual, chance.choice(NUMBERS), "9" * chance.choice([30, 61, 5000])])
    return "".join(parts).encode()


def damage_lines(chance: random.Random, data: bytes, corpus: Corpus) -> bytes:
    """Lines lost, repeated, swapped, moved to another depth, taken from another file."""
    lines = data.split(b"\n")
    other = chance.choice(list(corpus.files.values())).split(b"\n")
    for _ in range(chance.choice([1, 1, 2, 4])):
        at, to = chance.randrange(len(lines)), chance.randrange(len(lines))
        kind = chance.randrange(6)
        if kind == 0 and len(lines) > 1:
            del lines[at]
        elif kind == 1:
            lines.insert(to, lines[at])
        elif kind == 2:
            lines[at], lines[to] = lines[to], lines[at]
        elif kind == 3:
            lines[at] = b" " * chance.randrange(1, 9) + lines[at]
        elif kind == 4:
            lines[at] = lines[at].lstrip() if chance.random() < 0.5 else lines[at].replace(b"  ", b"\t")
        else:
            lines.insert(to, chance.choice(other))
    return chance.choice([b"\n"] * 8 + [b"\r\n", b"\r"]).join(lines)


def odd_value(chance: random.Random, corpus: Corpus, depth: int = 0) -> Any:
    """Any value that JSON can hold, large and deep ones among them."""
    kind = chance.randrange(14 if depth < 3 else 8)
    if kind < 2:
        return chance.choice(
            [0, 1, -1, 0.5, 1e308, -1e308, 5e-324, 10**20, 2**63, 2**64, 10**50, 1e15, 65536, 0.1, 100]
        )
    if kind < 4:
        return chance.choice([*PATHS, *WORDS[:-20], "en", "zh", "a.b", "mine.shares", "recurrence.hr_perioperative"])
    if kind < 6:
        return chance.choice([None, True, False, "", [], {}])
    if kind < 8:
        return chance.choice(NUMBERS)
    if kind < 10:
        return [odd_value(chance, corpus, depth + 1) for _ in range(chance.choice([0, 1, 2, 3, 40]))]
    if kind < 12:
        keys = ["value", "unit", "en", "id", "when", "do", "a", "ge", "ci95", "x.y", "__class__", "1", "é", "n" * 100]
        return {chance.choice(keys): odd_value(chance, corpus, depth + 1) for _ in range(chance.choice([0, 1, 2, 5]))}
    _, value = chance.choice(list(places(corpus.trees[chance.choice(list(corpus.trees))])))
    return copied(value)


def copied(tree: Any) -> Any:
    """The same tree, sharing nothing."""
    return json.loads(json.dumps(tree))


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every place of a tree with what stands there."""
    yield path, node
    entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in entries:
        yield from places(child, (*path, key))


def damage_tree(chance: random.Random, data: bytes, corpus: Corpus) -> bytes:
    """Entries lost, renamed, repeated, moved, turned into other types; written as YAML or as JSON."""
    tree = json.loads(
        json.dumps(corpus.trees[chance.choice([name for name, raw in corpus.files.items() if raw == data])])
    )
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        inner = [(path, value) for path, value in places(tree) if path]
        if not inner:
            break
        path, value = chance.choice(inner)
        parent = tree
        for key in path[:-1]:
            parent = parent[key]
        kind = chance.randrange(7)
        if kind == 0:
            del parent[path[-1]]
        elif kind == 1 and isinstance(parent, dict):
            keys = [
                "",
                "value",
                "unit",
                "id",
                "extends",
                "source",
                "new",
                "a.b",
                str(path[-1]) + "s",
                str(path[-1]).upper(),
                "é",
                "__proto__",
            ]
            parent[chance.choice(keys)] = parent.pop(path[-1])
        elif kind == 2:
            parent[path[-1]] = [value] if chance.random() < 0.5 else {"value": value}
        elif kind == 3:
            parent[path[-1]] = copied(chance.choice(inner)[1])
        elif kind == 4 and isinstance(value, dict | list):
            parent[path[-1]] = list(value)[: len(value) // 2]
        else:
            parent[path[-1]] = odd_value(chance, corpus)
        tree = copied(tree)
    text = json.dumps(tree, ensure_ascii=chance.random() < 0.5, indent=chance.choice([None, 1]))
    return text.encode("utf-8", "surrogatepass")


def damage_depth(chance: random.Random, data: bytes, corpus: Corpus) -> bytes:
    """Lists and mappings one in another, to any depth, somewhere in the file."""
    depth = chance.choice([5, 39, 40, 41, 100, 1000, 3000, 20_000])
    inside = chance.choice(["[", "{a: ", "- ", "? ", "{? ", "[{", "a:\n", "!!x [", "&a [", "'", '"', "-\n"])
    if inside == "a:\n":
        deep = "".join(" " * k + "a:\n" for k in range(min(depth, 700)))
    else:
        deep = inside * depth
    if chance.random() < 0.5:
        deep += "".join({"[": "]", "{": "}"}.get(sign, "") for sign in reversed(deep) if sign in "[{")
    if chance.random() < 0.3:
        return deep.encode()
    text = text_of(data)
    at = chance.choice([match.end() for match in re.finditer(r": |\n|- ", text)] or [0])
    return (text[:at] + deep + text[at:]).encode()


def damage_size(chance: random.Random, data: bytes, corpus: Corpus) -> bytes:
    """Anchors that unfold, long words, many keys, big files."""
    kind = chance.randrange(9)
    name = chance.choice(["a", "mine", "recurrence", "id", "groups", "tables"])
    many = chance.choice([10, 1000, 20_000])
    if kind == 0:  # each level is nine of the one before
        lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x]"]
        lines += [f"l{k}: &l{k} [{', '.join([f'*l{k - 1}'] * 9)}]" for k in range(1, chance.choice([3, 9, 30]))]
        return data + "\n".join(lines).encode() + b"\n"
    if kind == 1:
        return data + f"{name}: &self [*self, {{a: *self}}]\n".encode()
    if kind == 2:
        lines = [
            f"m{k}: &m{k} {{a: *m{k - 1}, b: *m{k - 1}}}" if k else "m0: &m0 {a: 1}"
            for k in range(chance.choice([5, 25, 60]))
        ]
        return data + "\n".join(lines).encode()
    if kind == 3:
        return (
            data
            + f"{name}: {chance.choice(['a', '9', '一', ' ', '!', chr(39)]) * chance.choice([300, 10_000, 900_000])}\n".encode()
        )
    if kind == 4:
        return data + "".join(f"k{k}: {k}\n" for k in range(many)).encode()
    if kind == 5:
        return data + f"{name}: [{','.join(chance.choice(NUMBERS) for _ in range(many))}]\n".encode()
    if kind == 6:
        return data * chance.choice([2, 10, 2000])
    if kind == 7:
        return data + f"{'k' * chance.choice([199, 201, 1025, 100_000])}: 1\n".encode()
    return data + b"\n" * chance.choice([1000, 200_000]) + b"x: &x\n" * chance.choice([1, 5000])


def damage_encoding(chance: random.Random, data: bytes, corpus: Corpus) -> bytes:
    """The text saved in another encoding, or partly so."""
    text = text_of(data)
    if chance.random() < 0.2:
        half = len(text) // 2
        return text[:half].encode() + text[half:].encode(chance.choice(ENCODINGS[:10]), "replace")
    if chance.random() < 0.3:
        text = chance.choice(["\ufeff", "\ufffe", "é", "Ã©", "#coding: rot13\n"]) + text
    with contextlib.suppress(UnicodeError, LookupError):
        return text.encode(chance.choice(ENCODINGS), "replace")
    return text.encode("utf-8")


def damage_places(chance: random.Random, data: bytes, corpus: Corpus) -> bytes:
    """Values that name files or ids replaced by paths."""
    text = text_of(data)
    keys = r"(id|extends|parameters|population|based_on|strategies|comparator|source|as|inherits|template|country|systemic)"
    found = list(re.finditer(rf"\b{keys}: *([^,}}\n]*)", text))
    path = chance.choice(PATHS)
    value = path if chance.random() < 0.5 else json.dumps(path)
    if not found:
        return text.encode() + f"\nextends: {value}\n".encode()
    place = chance.choice(found)
    return (text[: place.start(2)] + value + text[place.end(2) :]).encode("utf-8", "surrogatepass")


def damage_tags(chance: random.Random, data: bytes, corpus: Corpus) -> bytes:
    """Tags, anchors, aliases and directives before values."""
    text = text_of(data)
    at = chance.choice([match.end() for match in re.finditer(r": |- |\[|, ", text)] or [0])
    marks = [word for word in WORDS if word.startswith(("!", "&", "*", "%"))]
    return (text[:at] + chance.choice(marks) + " " + text[at:]).encode("utf-8", "surrogatepass")


MUTATIONS: dict[str, Mutation] = {
    "bytes": damage_bytes, "tokens": damage_tokens, "numbers": damage_numbers, "lines": damage_lines, "tree": damage_tree,
    "depth": damage_depth, "size": damage_size, "encoding": damage_encoding, "places": damage_places, "tags": damage_tags,
}  # fmt: skip
KINDS = (*MUTATIONS, "names")
WEIGHTS = {"bytes": 3, "tokens": 4, "numbers": 3, "lines": 3, "tree": 6, "places": 2, "names": 1}


def damage_names(chance: random.Random, root: Path) -> None:
    """A file under an odd name, a link, a loop, a pipe, a folder with the name of a file."""
    folder = (
        root
        / "mine"
        / chance.choice(["params", "scenarios", "scenarios/strategies", "params/populations", "params/countries/china"])
    )
    name = chance.choice(NAMES)
    path = folder / name
    content = chance.choice(["a: 1\n", OWN_NUMBERS, SCENARIO, "", "\x00"])
    with contextlib.suppress(OSError, UnicodeError):
        if name.startswith("loop"):
            path.symlink_to(path)
        elif name.startswith("pipe"):
            os.mkfifo(path)
        elif name.startswith("folder"):
            path.mkdir()
        elif name.startswith("link"):
            path.symlink_to(chance.choice(["/etc/passwd", "/dev/zero", "/etc", "../mine.yaml", "/proc/self/mem", "."]))
        elif name.startswith("gone"):
            path.symlink_to("nowhere.yaml")
        else:
            path.write_text(content, encoding="utf-8")
    if chance.random() < 0.5:
        target = root / "mine" / "scenarios" / "mine.yaml"
        target.write_bytes(
            target.read_bytes().replace(b"question", json.dumps(f"scenarios/{name}").encode("utf-8", "replace"))
        )


# ---------------------------------------------------------------------------------------------------------------------
# Running and judging


class TooLong(BaseException):
    """A case used more than its time; no `except Exception` of the program may catch this."""


@dataclass
class Watch:
    """What the interpreter reports while a case runs: files opened for writing, and anything started or run."""

    on: bool = False
    seen: list[str] = field(default_factory=list)

    NEVER = (
        "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.startfile", "subprocess.Popen", "socket.connect",
        "socket.getaddrinfo", "ctypes.dlopen", "pickle.find_class", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link",
        "os.symlink", "os.truncate", "os.chmod", "os.chown", "shutil.rmtree", "shutil.copyfile", "shutil.move", "tempfile.mkstemp",
        "urllib.Request", "pty.spawn", "code.__new__", "webbrowser.open", "os.putenv", "os.kill",
    )  # fmt: skip

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """The audit hook."""
        if not self.on:
            return
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND):
                self.seen.append(f"open {path!r} for writing")
        elif event in self.NEVER:
            self.seen.append(f"{event} {arguments!r}"[:300])


WATCH = Watch()


@dataclass(frozen=True)
class Verdict:
    """What became of a case; `fault` is None when it passed."""

    number: int
    kind: str
    code: int | None
    fault: str | None
    seconds: float


class Fuzzer:
    """Runs cases in one process. Input files come from a folder of its own; the packaged ones are never touched."""

    def __init__(self, folder: Path, seed: int) -> None:
        import typer
        from cli_project import assembled  # noqa: F401  (its imports are needed before the watch begins)

        from simhcc import cli
        from simhcc.inputs import locate, parameters
        from simhcc.report import command

        self.seed = seed
        self.good, self.root = folder / "good", folder / "case"
        make_project(self.good)
        names = sorted(path.relative_to(self.good).as_posix() for path in self.good.rglob("*.yaml"))
        files = {name: (self.good / name).read_bytes() for name in names}
        reader = YAML(typ="safe", pure=True)
        self.corpus = Corpus(files, {name: json.loads(json.dumps(reader.load(data))) for name, data in files.items()})
        self._restore = [(module, module.packaged_folder) for module in (locate, parameters)]
        for module in (locate, parameters):
            module.packaged_folder = lambda tree: self.root / "packaged" / tree  # type: ignore[attr-defined]
        self._restore_assembled = command.assembled
        command.assembled = _assembled_in_small
        self.group: Any = typer.main.get_command(cli.app)
        self._folder = Path.cwd()
        if WATCH not in _HOOKED:
            sys.addaudithook(WATCH)
            _HOOKED.append(WATCH)
        # Everything that is loaded late is loaded now, so that nothing is compiled or written while a case runs.
        for number in range(2):
            self._fresh()
            code, _, err, error = self._call(["check", "mine", *(["--json"] if number else [])])
            assert (code, err) == (0, "") and error is None, (code, err, error)
        self._fresh()
        (self.root / "mine" / "scenarios" / "mine.yaml").write_text("a: [", encoding="utf-8")
        assert self._call(["check", "mine"])[0] == 2

    def close(self) -> None:
        """Give the process back as it was."""
        from simhcc.report import command

        for module, original in self._restore:
            module.packaged_folder = original  # type: ignore[attr-defined]
        command.assembled = self._restore_assembled
        os.chdir(self._folder)

    def _fresh(self) -> None:
        os.chdir(self.good)
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self.good, self.root)
        os.chdir(self.root / "mine")

    def _call(self, words: list[str]) -> tuple[int | None, str, str, str | None]:
        out, err, code, error = io.StringIO(), io.StringIO(), None, None
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                self.group.main(words, prog_name="simhcc")
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 0
            except (Exception, TooLong):
                error = traceback.format_exc()
        return code, out.getvalue(), err.getvalue(), error

    def damage(self, number: int) -> tuple[str, random.Random]:
        """Make the files of a case; returns its kind and the chance for the rest."""
        chance = random.Random(f"{self.seed}/{number}")
        self._fresh()
        kind = chance.choices(KINDS, [WEIGHTS.get(kind, 1) for kind in KINDS])[0]
        for _ in range(chance.choice([1, 1, 1, 1, 2])):
            if kind == "names":
                damage_names(chance, self.root)
                continue
            # A user's own files are changed most of the time; the packaged ones stand for a damaged installation.
            mine = [name for name in self.corpus.files if name.startswith("mine/")]
            name = chance.choice(mine if chance.random() < 0.75 else list(self.corpus.files))
            (self.root / name).write_bytes(MUTATIONS[kind](chance, self.corpus.files[name], self.corpus))
        return kind, chance

    def run(self, number: int) -> Verdict:
        """Run one case and judge it."""
        kind, chance = self.damage(number)
        as_json = chance.random() < 0.5
        words = ["check", *([] if chance.random() < 0.1 else ["mine"]), *(["--json"] if as_json else [])]
        if "mine" in words and chance.random() < 0.1:
            words += ["--strategy", chance.choice(["own", "own_sorafenib", "plain"])]
        WATCH.seen.clear()
        old = [signal.signal(kind, _too_long) for kind in (signal.SIGPROF, signal.SIGALRM)]
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        signal.setitimer(signal.ITIMER_REAL, BLOCKED)
        started = time.process_time()
        WATCH.on = True
        try:
            code, out, err, error = self._call(words)
        finally:
            WATCH.on = False
            signal.setitimer(signal.ITIMER_PROF, 0.0)
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            for kind_of_signal, handler in zip((signal.SIGPROF, signal.SIGALRM), old, strict=True):
                signal.signal(kind_of_signal, handler)
        seconds = time.process_time() - started
        return Verdict(number, kind, code, self._fault(code, out, err, error, as_json), seconds)

    def _fault(self, code: int | None, out: str, err: str, error: str | None, as_json: bool) -> str | None:
        if error is not None:
            return error
        if WATCH.seen:
            return "\n".join(WATCH.seen)
        if code not in (0, 2):
            return f"exit code {code}: {err}"
        if "Traceback" in err:
            return err
        if code == 0:
            if err:
                return f"words on standard error beside exit code 0: {err}"
            if as_json:
                json.loads(out)
            return None
        if out:
            return f"words on standard output beside an error: {out[:300]}"
        if not as_json:
            return None if err.startswith("wrong input: ") else f"an error without its head: {err}"
        try:
            content = json.loads(err)["error"]
        except (ValueError, KeyError):
            return f"not the promised object: {err}"
        if list(content) != ["file", "line", "key", "found", "expected"] or not content["found"]:
            return f"not the promised fields: {err}"
        line, file = content["line"], content["file"]
        if line is not None and not (isinstance(line, int) and line >= 1 and file):
            return f"a line that is none: {err}"
        return None


_HOOKED: list[Watch] = []


def _too_long(number: int, frame: object) -> None:
    raise TooLong


def _assembled_in_small(scenario: Any, parameters: Any) -> tuple[Any, Any, Any]:
    """Population and draws as a run reads them; the small project lacks the numbers of the disease model itself."""
    from simhcc.population import load_population, sample_cohort

    if scenario.iterations > 1:
        parameters.sample(scenario.iterations, scenario.seed)
    population = load_population(str(scenario.population), scenario.user_dir)
    cohort = sample_cohort(population, {"frailty.sd_log": 0.5}, scenario.patients, scenario.seed)
    return None, {}, dict(cohort.attributes)


def main() -> int:
    """Run cases, say what failed and how often each kind was accepted or refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="leave the files of the last case here")
    options = parser.parse_args()
    sys.path[:0] = [str(HERE), str(ROOT)]
    counts: Counter[tuple[str, str]] = Counter()
    faults, longest = 0, {kind: Verdict(0, kind, 0, None, 0.0) for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        fuzzer = Fuzzer(Path(folder), options.seed)
        for number in range(options.first, options.first + options.cases):
            verdict = fuzzer.run(number)
            counts[verdict.kind, "FAULT" if verdict.fault else {0: "accepted", 2: "refused"}[verdict.code or 0]] += 1
            longest[verdict.kind] = max(longest[verdict.kind], verdict, key=lambda one: one.seconds)
            if verdict.fault:
                faults += 1
                print(f"--- case {number} of seed {options.seed} ({verdict.kind})\n{verdict.fault[-1500:]}", flush=True)
        if options.keep:
            shutil.copytree(fuzzer.root, options.keep, symlinks=True)
        fuzzer.close()
    for kind in KINDS:
        row = "  ".join(f"{what} {counts[kind, what]:6}" for what in ("accepted", "refused", "FAULT"))
        print(f"{kind:10}{row}  slowest {longest[kind].seconds:5.1f} s (case {longest[kind].number})")
    print(f"{options.cases} cases, {faults} faults; seconds are of processor time")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
