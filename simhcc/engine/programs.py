"""Carries out a pathway's expressions for many patients at once.

An expression arrives as a few instructions on registers; each instruction is one loop over the patients of a list. So
formulas of any pathway run at compiled speed and changing them compiles nothing.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from simhcc.engine import layout as at
from simhcc.engine.arithmetic import exp_, log_, normal_quantile
from simhcc.engine.compiled import inline, part
from simhcc.engine.directory import counts2, facts2, integers1, integers2, reals2, words2
from simhcc.engine.rng import occurrence_word, uniform

_config: Any = numba.config
_VECTOR = 1 if _config.DISABLE_JIT else 32
"""places that one turn of a vectorised loop takes; a workspace has room for them beyond a block"""


@inline
def whole_vectors(count):
    """The number of places, `count` or a few more, that are computed without a remainder."""
    return (count + (_VECTOR - 1)) // _VECTOR * _VECTOR


@part("i8(i8,i8,i8,i8,i8,i8,i8,u8,u8,u8,u8)")
def run_program(space, program, draw, row, begin, count, node, patient0, luck, k0, k1):
    """Carry out a program for the patients lists[row, begin : begin + count]. `space` is the directory.

    Returns -1, or the place in the list of a patient for whom a value to be stored is not a number.

    Register r of patient number k in the list is reals[REALS + r, k]. `node` is the node that evaluates, whose entries address
    random numbers.
    """
    code = integers2(space, at.A_CODE)
    programs = integers1(space, at.A_PROGRAMS)
    numbers = reals2(space, at.A_NUMBERS)
    reals = reals2(space, at.A_REALS)
    attributes = reals2(space, at.A_ATTRIBUTES)
    moments = reals2(space, at.A_MOMENTS)
    facts = facts2(space, at.A_FACTS)
    entries = counts2(space, at.A_ENTRIES)
    lists = words2(space, at.A_LISTS)
    wrong = np.int64(-1)
    # An index without a sign needs no look at whether it counts from the end.
    listed = np.uint64(count)
    first = np.uint64(begin)
    # Places beyond the list are filled up to whole vectors: what is computed there is never looked at, and short lists
    # are no longer left to scalar code. Lists hold a patient's number in every place.
    filled = whole_vectors(count)
    spread = np.uint64(filled)
    for position in range(programs[program], programs[program + 1]):
        operation = code[position, 0]
        to = at.REALS + code[position, 1]
        x = code[position, 2]
        y = code[position, 3]
        z = code[position, 4]
        a = at.REALS + x
        b = at.REALS + y
        if operation == at.LOAD_NUMBER:
            value = numbers[draw, x]
            for k in range(filled):
                reals[to, k] = value
        elif operation == at.LOAD_ATTRIBUTE:
            for k in range(spread):
                reals[to, k] = attributes[lists[row, first + k], x]
        elif operation == at.LOAD_BUILTIN:
            for k in range(spread):
                reals[to, k] = moments[lists[row, first + k], at.NOW]
            if x != at.BUILTIN_MONTHS:
                since = at.STAY_BEGAN
                if x == at.BUILTIN_MONTHS_ON_LOCAL:
                    since = at.LOCAL_START
                elif x == at.BUILTIN_MONTHS_ON_SYSTEMIC:
                    since = at.SYSTEMIC_START
                for k in range(spread):
                    reals[to, k] = reals[to, k] - moments[lists[row, first + k], since]
        elif operation == at.LOAD_RECEIVING:
            slot = at.LOCAL + x
            for k in range(spread):
                reals[to, k] = 1.0 if facts[lists[row, first + k], slot] == y else 0.0
        elif operation == at.LOAD_UNIFORM:
            purpose = np.uint64(x)
            # Gathering apart from computing: a loop with look-ups in it would not become vector code.
            for k in range(spread):
                p = lists[row, first + k]
                patient = patient0 + p
                entry = np.uint64(entries[node, p]) - np.uint64(1)
                lists[at.ADDRESS_PATIENT, k] = patient & np.uint64(0xFFFFFFFF)
                lists[at.ADDRESS_OCCURRENCE, k] = occurrence_word(
                    patient >> np.uint64(32), entry, np.uint64(facts[p, at.FIRING])
                )
            for k in range(filled):
                reals[to, k] = uniform(
                    lists[at.ADDRESS_PATIENT, k], luck, purpose, lists[at.ADDRESS_OCCURRENCE, k], k0, k1
                )
        elif operation == at.LOAD_LOOKUP:
            top = z - 1
            for k in range(filled):
                value = reals[a, k]
                index = 0
                if value >= top:
                    index = top
                elif value > 0.0:
                    index = int(value)
                reals[to, k] = numbers[draw, y + index] if value == value else value
        elif operation == at.ADD:
            for k in range(filled):
                reals[to, k] = reals[a, k] + reals[b, k]
        elif operation == at.SUBTRACT:
            for k in range(filled):
                reals[to, k] = reals[a, k] - reals[b, k]
        elif operation == at.MULTIPLY:
            for k in range(filled):
                reals[to, k] = reals[a, k] * reals[b, k]
        elif operation == at.DIVIDE:
            for k in range(filled):
                reals[to, k] = reals[a, k] / reals[b, k]
        elif operation == at.MINIMUM:
            for k in range(filled):
                reals[to, k] = reals[b, k] if reals[b, k] < reals[a, k] else reals[a, k]
        elif operation == at.MAXIMUM:
            for k in range(filled):
                reals[to, k] = reals[b, k] if reals[b, k] > reals[a, k] else reals[a, k]
        elif operation == at.LESS:
            for k in range(filled):
                reals[to, k] = 1.0 if reals[a, k] < reals[b, k] else 0.0
        elif operation == at.LESS_EQUAL:
            for k in range(filled):
                reals[to, k] = 1.0 if reals[a, k] <= reals[b, k] else 0.0
        elif operation == at.EQUAL:
            for k in range(filled):
                reals[to, k] = 1.0 if reals[a, k] == reals[b, k] else 0.0
        elif operation == at.NOT_EQUAL:
            for k in range(filled):
                reals[to, k] = 1.0 if reals[a, k] != reals[b, k] else 0.0
        elif operation == at.AND:
            for k in range(filled):
                reals[to, k] = 1.0 if (reals[a, k] != 0.0) & (reals[b, k] != 0.0) else 0.0
        elif operation == at.OR:
            for k in range(filled):
                reals[to, k] = 1.0 if (reals[a, k] != 0.0) | (reals[b, k] != 0.0) else 0.0
        elif operation == at.NOT:
            for k in range(filled):
                reals[to, k] = 1.0 if reals[a, k] == 0.0 else 0.0
        elif operation == at.NEGATE:
            for k in range(filled):
                reals[to, k] = -reals[a, k]
        elif operation == at.EXP:
            for k in range(filled):
                reals[to, k] = exp_(reals[a, k])
        elif operation == at.LOG:
            for k in range(filled):
                reals[to, k] = log_(reals[a, k])
        elif operation == at.FLOOR:
            for k in range(filled):
                reals[to, k] = np.floor(reals[a, k])
        elif operation == at.NORMAL_QUANTILE:
            for k in range(filled):
                reals[to, k] = normal_quantile(reals[a, k])
        elif operation == at.SELECT:
            c = at.REALS + z
            for k in range(filled):
                chosen = reals[b, k] if reals[a, k] != 0.0 else reals[c, k]
                reals[to, k] = chosen if reals[a, k] == reals[a, k] else reals[a, k]
        elif operation == at.SELECT_NN:
            value = numbers[draw, y]
            other = numbers[draw, z]
            for k in range(filled):
                chosen = value if reals[a, k] != 0.0 else other
                reals[to, k] = chosen if reals[a, k] == reals[a, k] else reals[a, k]
        elif operation == at.SELECT_N:
            value = numbers[draw, y]
            c = at.REALS + z
            for k in range(filled):
                chosen = value if reals[a, k] != 0.0 else reals[c, k]
                reals[to, k] = chosen if reals[a, k] == reals[a, k] else reals[a, k]
        elif operation == at.SELECT_OR_N:
            value = numbers[draw, z]
            for k in range(filled):
                chosen = reals[b, k] if reals[a, k] != 0.0 else value
                reals[to, k] = chosen if reals[a, k] == reals[a, k] else reals[a, k]
        elif operation == at.MINIMUM_N:
            value = numbers[draw, y]
            for k in range(filled):
                reals[to, k] = value if value < reals[a, k] else reals[a, k]
        elif operation == at.MAXIMUM_N:
            value = numbers[draw, y]
            for k in range(filled):
                reals[to, k] = value if value > reals[a, k] else reals[a, k]
        elif operation == at.N_MINIMUM:
            value = numbers[draw, y]
            for k in range(filled):
                reals[to, k] = reals[a, k] if reals[a, k] < value else value
        elif operation == at.N_MAXIMUM:
            value = numbers[draw, y]
            for k in range(filled):
                reals[to, k] = reals[a, k] if reals[a, k] > value else value
        elif operation == at.ADD_N:
            value = numbers[draw, y]
            for k in range(filled):
                reals[to, k] = reals[a, k] + value
        elif operation == at.MULTIPLY_N:
            value = numbers[draw, y]
            for k in range(filled):
                reals[to, k] = reals[a, k] * value
        elif operation == at.LESS_N:
            value = numbers[draw, y]
            for k in range(filled):
                reals[to, k] = 1.0 if reals[a, k] < value else 0.0
        elif operation == at.LESS_EQUAL_N:
            value = numbers[draw, y]
            for k in range(filled):
                reals[to, k] = 1.0 if reals[a, k] <= value else 0.0
        elif operation == at.GREATER_N:
            value = numbers[draw, y]
            for k in range(filled):
                reals[to, k] = 1.0 if reals[a, k] > value else 0.0
        elif operation == at.GREATER_EQUAL_N:
            value = numbers[draw, y]
            for k in range(filled):
                reals[to, k] = 1.0 if reals[a, k] >= value else 0.0
        elif operation == at.EQUAL_N:
            value = numbers[draw, y]
            for k in range(filled):
                reals[to, k] = 1.0 if reals[a, k] == value else 0.0
        elif operation == at.NOT_EQUAL_N:
            value = numbers[draw, y]
            for k in range(filled):
                reals[to, k] = 1.0 if reals[a, k] != value else 0.0
        elif operation == at.MULTIPLY_ADD_ATTRIBUTE:
            value = numbers[draw, y]
            for k in range(spread):
                reals[to, k] = reals[a, k] + value * attributes[lists[row, first + k], z]
        elif operation == at.FIRST_ROW:
            number = float(y)
            waiting = 0
            for k in range(filled):
                row_now = reals[to, k]
                holds = reals[a, k]
                chosen = number if holds == holds else holds
                reals[to, k] = chosen if (row_now < 0.0) & (holds != 0.0) else row_now
            for k in range(count):
                waiting += 1 if reals[to, k] < 0.0 else 0
            if waiting == 0:
                break
        elif operation == at.STORE:
            for k in range(listed):
                attributes[lists[row, first + k], y] = reals[a, k]
                if reals[a, k] != reals[a, k]:
                    wrong = np.int64(k)
        elif operation == at.STORE_N:
            value = numbers[draw, x]
            for k in range(listed):
                attributes[lists[row, first + k], y] = value
    return wrong
