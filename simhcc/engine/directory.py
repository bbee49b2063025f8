"""Hands all arrays of a run to compiled code as one: a table of where each array lies and how long it is.

Numba passes an array as seven or more words and checks each one that comes from Python. With a hundred arrays a call took
longer than the work of a short list of patients, and most of the compile time. A compiled function takes the directory
instead and looks up the arrays it needs. Whoever makes a directory keeps the arrays alive while it is used.

Without compilation (`NUMBA_DISABLE_JIT=1`) a directory is the list of the arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np import arrayobj
from numpy.typing import NDArray

_WORDS = 4
"""words of an array in the directory: address and three lengths"""
_config: Any = numba.config


def directory(arrays: Sequence[NDArray[Any]]) -> Any:
    """The directory of C-contiguous arrays of up to three dimensions; raises ValueError for others.

    Shape (arrays, 4), to be indexed by an array's place in the sequence.
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


def directories(tables: Sequence[Any]) -> Any:
    """Several directories of the same arrays, such as those of the strategies, as one."""
    return list(tables) if _config.DISABLE_JIT else np.stack(tables)


def _accessor(dtype: Any, dimensions: int) -> Any:
    """A function (directory, place) that returns the array at a place; its type is not looked at again."""
    kind = types.Array(dtype, dimensions, "C")
    plain_type = np.dtype(dtype.name)

    def plain(table: Any, place: int) -> Any:
        array = table[place]
        assert array.dtype == plain_type and array.ndim == dimensions, (place, array.dtype, array.shape)
        return array

    def typing(typingctx: Any, table: Any, place: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            given = context.make_array(signature.args[0])(context, builder, arguments[0])
            word = cgutils.intp_t
            first = builder.mul(arguments[1], word(_WORDS))
            words = [
                builder.load(builder.gep(given.data, [builder.add(first, word(i))])) for i in range(1 + dimensions)
            ]
            size = context.get_abi_sizeof(context.get_data_type(dtype))
            strides = [word(size)]
            for length in reversed(words[2:]):
                strides.insert(0, builder.mul(strides[0], length))
            array = context.make_array(kind)(context, builder)
            pointer = builder.inttoptr(words[0], array.data.type)
            arrayobj.populate_array(array, pointer, words[1:], strides, word(size), None)
            return array._getvalue()

        return kind(table, types.intp), codegen

    return plain if _config.DISABLE_JIT else intrinsic(typing)


reals1 = _accessor(types.float64, 1)
reals2 = _accessor(types.float64, 2)
reals3 = _accessor(types.float64, 3)
integers1 = _accessor(types.int64, 1)
integers2 = _accessor(types.int64, 2)
integers3 = _accessor(types.int64, 3)
words1 = _accessor(types.uint64, 1)
words2 = _accessor(types.uint64, 2)
counts3 = _accessor(types.int32, 3)
