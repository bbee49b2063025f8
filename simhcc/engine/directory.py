"""Hands all arrays of a run to compiled code as one: a table of where each array lies and how long it is.

Numba passes an array as seven or more words. With a hundred arrays a call took longer than the work of a short list of
patients. A compiled function takes the address of the directory instead, its *space*, and looks up the arrays it
needs. Whoever makes a directory keeps the arrays alive while it is used.

Without compilation (`NUMBA_DISABLE_JIT=1`) a directory, and a space, is the list of the arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np import arrayobj
from numpy.typing import NDArray

_WORDS = 5
"""words of an array in the directory: address and four lengths"""
_config: Any = numba.config


class Spaces(NamedTuple):
    """The directories of several models that share all other arrays."""

    each: Any
    """(models,): what a compiled function takes as the space of one model"""
    together: Any
    """what a compiled function takes that runs all of them; `each_of` gives the spaces"""
    kept: Any
    """what these point to; it must live as long as they are used"""


def directory(arrays: Sequence[NDArray[Any]]) -> Any:
    """The directory of C-contiguous arrays of up to four dimensions; raises ValueError for others.

    Shape (arrays, 5), to be indexed by an array's place in the sequence.
    """
    for array in arrays:
        if array.ndim > _WORDS - 1 or not array.flags.c_contiguous:
            raise ValueError(f"an array of shape {array.shape} that is not C-contiguous, or has too many dimensions")
    if _config.DISABLE_JIT:
        return list(arrays)
    table = np.zeros((len(arrays), _WORDS), dtype=np.int64)
    for place, array in enumerate(arrays):
        table[place, 0] = array.ctypes.data
        table[place, 1 : 1 + array.ndim] = array.shape
    return table


def joined(first: Sequence[Any], rest: Any) -> Spaces:
    """For each directory in `first` the one that continues with the arrays of the directory `rest`."""
    if _config.DISABLE_JIT:
        lists = [[*some, *rest] for some in first]
        return Spaces(lists, lists, None)
    tables = np.stack([np.concatenate([some, rest]) for some in first])
    each = tables.ctypes.data + np.arange(len(tables), dtype=np.int64) * tables[0].nbytes
    together = directory([each])
    return Spaces(each, together.ctypes.data, (tables, each, together))


def _accessor(dtype: Any, dimensions: int) -> Any:
    """A function (space, place) that returns the array at a place of a directory."""
    kind = types.Array(dtype, dimensions, "C")
    plain_type = np.dtype(dtype.name)

    def plain(space: Any, place: int) -> Any:
        array = space[place]
        assert array.dtype == plain_type and array.ndim == dimensions, (place, array.dtype, array.shape)
        return array

    def typing(typingctx: Any, space: Any, place: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            word = cgutils.intp_t
            table = builder.inttoptr(arguments[0], word.as_pointer())
            first = builder.mul(arguments[1], word(_WORDS))
            words = [builder.load(builder.gep(table, [builder.add(first, word(i))])) for i in range(1 + dimensions)]
            size = context.get_abi_sizeof(context.get_data_type(dtype))
            strides = [word(size)]
            for length in reversed(words[2:]):
                strides.insert(0, builder.mul(strides[0], length))
            array = context.make_array(kind)(context, builder)
            pointer = builder.inttoptr(words[0], array.data.type)
            arrayobj.populate_array(array, pointer, words[1:], strides, word(size), None)
            return array._getvalue()

        return kind(types.int64, types.intp), codegen

    return plain if _config.DISABLE_JIT else intrinsic(typing)


reals1 = _accessor(types.float64, 1)
reals2 = _accessor(types.float64, 2)
reals3 = _accessor(types.float64, 3)
integers1 = _accessor(types.int64, 1)
integers2 = _accessor(types.int64, 2)
integers3 = _accessor(types.int64, 3)
words1 = _accessor(types.uint64, 1)
words2 = _accessor(types.uint64, 2)
reals4 = _accessor(types.float64, 4)
counts2 = _accessor(types.uint16, 2)
facts2 = _accessor(types.int32, 2)
counts4 = _accessor(types.int32, 4)


def _plain_each_of(together: Any, place: int) -> Any:
    return together


each_of = _plain_each_of if _config.DISABLE_JIT else integers1
"""each_of(together, 0): the spaces of the models, from `Spaces.together`"""
