"""Arrays that compiled code finds by their place in a directory, and parts that it finds by their address."""

import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

from simhcc.engine import directory
from simhcc.engine.compiled import calling, part

HERE = Path(__file__).resolve().parent


@part("f8(i8,i8,f8)")
def twice_the_sum(space, row, factor):
    """The sum of a row of the first array times the third array's first number, twice; notes the row in the second."""
    reals = directory.reals2(space, 0)
    integers = directory.integers1(space, 1)
    cube = directory.reals3(space, 2)
    total = 0.0
    for column in range(reals.shape[1]):
        total += reals[row, column]
    integers[row] = row + 40
    return factor * total * cube[1, 0, 2]


@part("f8(i8,i8)")
def of_all_rows(space, rows):
    """A part that calls another one."""
    total = 0.0
    for row in range(rows):
        total += twice_the_sum(space, row, 2.0)
    return total


@part("i8(i8)")
def places(together):
    """How many spaces there are, and the first word of each one's counts, as one number."""
    found = 0
    for space in directory.each_of(together, 0):
        found = 100 * found + directory.counts4(space, 4)[0, 0, 1, 0] + int(directory.words2(space, 3)[0, 1])
    return found


def arrays():
    return [
        np.arange(6.0).reshape(2, 3),
        np.zeros(2, dtype=np.int64),
        np.arange(12.0).reshape(2, 2, 3),
        np.array([[1, 2]], dtype=np.uint64),
        np.arange(2, dtype=np.int32).reshape(1, 1, 2, 1),
    ]


def test_a_part_reads_and_writes_the_arrays_of_its_space():
    given = arrays()
    spaces = directory.joined([directory.directory(given[:1])], directory.directory(given[1:]))
    found = calling(of_all_rows)(spaces.each[0], 2)
    # Rows sum to 3 and 12; the third array's [1, 0, 2] is 8.
    assert found == 2.0 * 8.0 * (3.0 + 12.0)
    assert given[1].tolist() == [40, 41]


def test_models_share_all_but_their_own_arrays():
    given = arrays()
    others = [np.ones((2, 3)), np.full((2, 3), 2.0)]
    spaces = directory.joined([directory.directory([one]) for one in others], directory.directory(given[1:]))
    assert [calling(twice_the_sum)(space, 0, 1.0) for space in spaces.each] == [24.0, 48.0]
    assert calling(places)(spaces.together) == 303


@pytest.mark.parametrize(
    "array",
    [np.zeros((3, 4))[:, ::2], np.zeros((3, 4)).T, np.zeros((1, 1, 1, 1, 1))],
    ids=["strided", "turned", "five"],
)
def test_an_array_that_a_part_would_misread_is_refused(array):
    with pytest.raises(ValueError, match="C-contiguous"):
        directory.directory([array])


def test_an_empty_array_has_a_place():
    given = arrays()
    given[0] = np.zeros((2, 0))
    spaces = directory.joined([directory.directory(given)], directory.directory([]))
    assert calling(of_all_rows)(spaces.each[0], 2) == 0.0


def test_without_compilation_a_wrong_type_is_noticed():
    code = (
        "import numpy as np, test_directory as t\n"
        "from simhcc.engine import directory as d\n"
        "t.test_a_part_reads_and_writes_the_arrays_of_its_space()\n"
        "t.test_models_share_all_but_their_own_arrays()\n"
        "wrong = t.arrays()\n"
        "wrong[0] = wrong[0].astype(np.float32)\n"
        "try:\n"
        "    t.calling(t.of_all_rows)(wrong, 2)\n"
        "except AssertionError as error:\n"
        "    print(error)\n"
    )
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert "float32" in done.stdout


def test_a_part_is_one_symbol_for_its_callers():
    # Linked in instead, it would be compiled again in each of them.
    assert isinstance(twice_the_sum, numba.types.ExternalFunction)
    calling(of_all_rows)
    from simhcc.engine import compiled

    built = compiled._parts[of_all_rows.symbol].dispatcher
    assembly = next(iter(built.inspect_llvm().values()))
    assert f"declare double @{twice_the_sum.symbol}" in assembly.replace('"', "")
