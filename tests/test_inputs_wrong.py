"""Wrong input files are refused, with the place and the words a person needs.

Each file in tests/bad_inputs/<kind>/ is laid into a small project of good files (tests/bad_inputs/base) as the only
wrong one. Its first line says what the message must contain: `# expect: words | more words`.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inputs_project import FOLDER, use_project

from simhcc.errors import InputError
from simhcc.inputs import UNITS, load_parameters, load_scenario, load_strategy, read_yaml, read_yaml_bytes
from simhcc.inputs.leaf import read_leaf
from simhcc.inputs.models import DISTRIBUTIONS, FORMS

# Kind of wrong file -> where it goes in the project, and what reads it.
KINDS: dict[str, tuple[str, Callable[[], object]]] = {
    "params": ("params/wrong.yaml", load_parameters),
    "sources": ("params/sources.yaml", load_parameters),
    "correlations": ("params/correlations.yaml", load_parameters),
    "user_params": ("mine/params/wrong.yaml", lambda: load_parameters(user_dir="mine")),
    "strategies": ("scenarios/strategies/wrong.yaml", lambda: load_strategy("wrong")),
    "scenarios": ("scenarios/wrong.yaml", lambda: load_scenario("wrong").load_parameters()),
}
WRONG = sorted(path for kind in KINDS for path in (FOLDER / kind).glob("*.yaml"))


def expected_words(path: Path) -> list[str]:
    first = path.read_bytes().split(b"\n", 1)[0].decode()
    assert first.startswith("# expect: "), path
    return [words.strip() for words in first.removeprefix("# expect: ").split("|")]


def tree_of(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_there_are_enough_wrong_files():
    assert len(WRONG) >= 40


@pytest.mark.parametrize("path", WRONG, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_wrong_file_is_refused_with_its_words(path, tmp_path, monkeypatch):
    root = use_project(tmp_path, monkeypatch)
    target, read = KINDS[path.parent.name]
    (root / target).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, root / target)
    before = tree_of(root)
    with pytest.raises(InputError) as caught:
        read()
    message = str(caught.value)
    for words in expected_words(path):
        assert words in message, f"{words!r} is not in:\n{message}"
    assert caught.value.file == target
    assert caught.value.line and caught.value.line >= 1
    assert caught.value.found and caught.value.expected
    assert tree_of(root) == before, "reading has written something"


def test_the_base_files_are_good(tmp_path, monkeypatch):
    # Without this the wrong files could be refused for another reason than their own.
    use_project(tmp_path, monkeypatch)
    for country in ("china", "elsewhere"):
        assert len(load_parameters(country)) == 6
    assert load_strategy("by_burden").id == "by_burden"
    assert load_scenario("question").load_parameters()["recurrence.hr_perioperative"].value == 0.7


# ---------------------------------------------------------------------------------------------------------------------
# Files that cannot lie in the folder


def refused(raw: bytes) -> str:
    with pytest.raises(InputError) as caught:
        read_yaml_bytes(raw, "wrong.yaml")
    return str(caught.value)


def test_bytes_that_are_no_yaml():
    assert "not UTF-8" in refused("a: é".encode("utf-16"))
    assert "empty file" in refused(b"")
    assert "empty file" in refused(b"\xef\xbb\xbf")
    assert "does not allow" in refused(b"a: \x00")
    assert "bytes" in refused(b"#" * 1_000_001)


def test_a_byte_order_mark_is_fine():
    assert read_yaml_bytes(b"\xef\xbb\xbfa: 1", "f").tree == {"a": 1}


def test_things_that_are_not_files(tmp_path):
    for path, words in [
        (tmp_path, "not a regular file"),
        (tmp_path / "missing.yaml", "no such file"),
        (tmp_path / ("x" * 300), "cannot be read"),
        (Path("/dev/null"), "not a regular file"),
    ]:
        with pytest.raises(InputError, match=words):
            read_yaml(path)


def test_a_yml_file_is_not_passed_over(tmp_path, monkeypatch):
    root = use_project(tmp_path, monkeypatch)
    (root / "params" / "more.yml").write_text("a: 1")
    with pytest.raises(InputError, match=r"ending in \.yml"):
        load_parameters()


def test_unfolding_aliases_is_bounded_in_time_and_memory():
    # Nine levels of ten would be 10^9 entries.
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert "more than 100000 entries" in refused("\n".join(lines).encode())
    # Depth through aliases counts too.
    lines = ["a0: &a0 [1]"] + [f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 60)]
    assert "nested too deeply" in refused("\n".join(lines).encode())


# ---------------------------------------------------------------------------------------------------------------------
# Anything at all

GOOD = {
    kind: (FOLDER / "base" / name).read_bytes()
    for kind, name in {
        "params": "params/numbers.yaml",
        "sources": "params/sources.yaml",
        "strategies": "scenarios/strategies/by_burden.yaml",
        "scenarios": "scenarios/question.yaml",
    }.items()
}
FRAGMENTS = [
    b"&a ", b"*a ", b"!!int ", b"{", b"}", b"[", b"]", b": ", b"- ", b"\n", b"\t", b"#", b"'", b'"', b"|\n", b">\n",
    b"? ", b"%", b"---\n", b"...\n", b"1e999", b".nan", b"<<: ", b"${x}", b"null", b"no", b"-1", b"\xff", b"\x00",
    b"value: ", b"when: ", b"inherit: true", "中".encode(), b"[[[[[[[[", b"0x", b"1_0", b"~", b"\r", b"\xe2\x80\xa8",
]  # fmt: skip


def mutated(raw: bytes, seed: int) -> bytes:
    """A file after a few random cuts, repeats, swaps and insertions."""
    chance = random.Random(seed)
    for _ in range(chance.randint(1, 2)):
        at, to = sorted((chance.randint(0, len(raw)), chance.randint(0, len(raw))))
        to = min(to, at + 10)
        piece = raw[at:to]
        what = chance.randint(0, 5)
        if what == 0:
            raw = raw[:at] + raw[to:]
        elif what == 1:
            raw = raw[:to] + piece + raw[to:]
        elif what == 2:
            raw = raw[:at] + chance.choice(FRAGMENTS) + raw[at:]
        elif what == 3:
            raw = raw.replace(
                chance.choice(b"0123456789 abe").to_bytes(), chance.choice(b"0123456789 -.e").to_bytes(), 1
            )
        elif what == 4:
            raw = raw[:at] + chance.choice(FRAGMENTS) + raw[to:]
        else:
            raw = raw[:at] + bytes(reversed(piece)) + raw[to:]
    return raw


@pytest.mark.parametrize("kind", sorted(GOOD))
def test_a_mutated_file_is_read_or_refused_and_nothing_else(kind, tmp_path, monkeypatch):
    """150 mutations a kind: either it reads, or an InputError with a file; never another exception."""
    root = use_project(tmp_path, monkeypatch)
    target, read = KINDS[kind]
    if kind == "params":
        target = "params/numbers.yaml"
    outcomes = {"read": 0, "refused": 0}
    for seed in range(150):
        raw = mutated(GOOD[kind], seed)
        if kind in ("strategies", "scenarios"):
            raw = raw.replace(b"id: by_burden\n", b"id: wrong\n", 1).replace(b"id: question", b"id: wrong", 1)
        (root / target).write_bytes(raw)
        try:
            read()
            outcomes["read"] += 1
        except InputError as error:
            assert error.file and error.found, (seed, error)
            outcomes["refused"] += 1
    # Both must happen, or the mutations test nothing.
    assert min(outcomes.values()) >= 5, outcomes


@settings(max_examples=150)
@given(
    st.one_of(
        st.binary(max_size=80), st.text(alphabet="ab:-?[]{}&*!|>'\"%@`#,. \n\t01e~<\\", max_size=60).map(str.encode)
    )
)
def test_any_bytes_are_read_or_refused(raw):
    try:
        document = read_yaml_bytes(raw, "any.yaml")
    except InputError as error:
        assert error.file == "any.yaml" and error.found
    else:
        assert document.tree is not None
        assert all(line >= 1 for line in document.lines.values())


# ---------------------------------------------------------------------------------------------------------------------
# Against another reader

PLAIN = st.recursive(
    st.one_of(
        st.integers(-(10**9), 10**9),
        st.booleans(),
        st.none(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(alphabet="abcnoyes01e-_: #'\"~", max_size=8),
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abxyz", min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=150)
@given(st.dictionaries(st.text("abxyz", min_size=1, max_size=3), PLAIN, min_size=1, max_size=3))
def test_json_is_read_as_json_reads_it(tree):
    # JSON is a part of YAML 1.2, so the standard library is an independent reader.
    assert read_yaml_bytes(json.dumps(tree).encode(), "f").tree == tree


# ---------------------------------------------------------------------------------------------------------------------
# Any numbers

NUMBERS = st.one_of(
    st.sampled_from([0, 1, -1, 0.5, 1e-300, 5e-324, 1e300, -1e300, 1e-12, 1 - 1e-12, 1e15]),
    st.floats(-1e6, 1e6),
    st.floats(0, 1),
)


@settings(max_examples=400)
@given(st.data())
def test_a_distribution_is_solved_or_refused(data):
    """Any arguments either give draws inside the unit, or an InputError; never another exception, never NaN."""
    kind = data.draw(st.sampled_from(sorted(DISTRIBUTIONS)))
    form = data.draw(st.sampled_from(FORMS[DISTRIBUTIONS[kind]]))
    unit = data.draw(st.sampled_from(["fraction", "ratio", "number"]))
    value = data.draw(st.lists(NUMBERS, min_size=1, max_size=3) if kind == "dirichlet" else NUMBERS)
    if data.draw(st.booleans()) and not isinstance(value, list):
        arguments = {name: data.draw(st.floats(0.01, 3)) for name in form}
        arguments |= {"mean": value} if "mean" in form else {}
    else:
        arguments = {name: data.draw(NUMBERS) for name in form}
    if "ci95" in form:
        low, high = sorted((data.draw(NUMBERS), data.draw(NUMBERS)))
        arguments["ci95"] = [low, high] if data.draw(st.booleans()) else [0.6 * abs(value), 1.5 * abs(value)]
    if "concentration" in form:
        arguments["concentration"] = data.draw(st.lists(NUMBERS, min_size=1, max_size=3))
    tree = {
        "x": {"value": value, "unit": unit, "distribution": {kind: arguments}, "grade": "assumed", "reason": "test"}
    }
    document = read_yaml_bytes(json.dumps({"g": tree}).encode(), "f")
    try:
        found = read_leaf(document, ("g", "x"), {}, {}, 0)
    except InputError:
        return
    u = np.array([1e-9, 0.025, 0.5, 0.975, 1 - 1e-9])
    for marginal in found.uncertainty.marginals:
        draws = marginal.ppf(u)
        # Quantiles of a distribution narrower than its rounding errors may differ by these.
        assert np.all(np.isfinite(draws)) and np.all(np.diff(draws) >= -1e-7 * np.abs(draws[1:])), draws
        assert UNITS[unit].low <= draws[0] and draws[-1] <= UNITS[unit].high
