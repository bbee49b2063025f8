"""The kernel: runs any model for a block of patients, node by node (a wavefront).

Each node has a queue of patients who enter it; each state has a second one for patients who continue a stay. The kernel
empties one queue after another until all are empty. Inside a node everything is a short loop over the patients of the
queue, which LLVM turns into vector code. Visits and marks go to buffers; when one may fill, `advance` returns and the
caller empties them and calls again.

The rules it follows are pinned down in `docs/engine.md`; the arrays are described in `layout`.
"""

from __future__ import annotations

import numpy as np

from simhcc.engine import layout as at
from simhcc.engine.arithmetic import exp_, log_
from simhcc.engine.compiled import inline, merged, part
from simhcc.engine.directory import counts2, facts2, integers1, integers2, integers3, reals1, reals2, reals3, words2
from simhcc.engine.effects import active_effect, next_scan, step_at
from simhcc.engine.hazards import cumulative_block, inverse_block
from simhcc.engine.programs import run_program, whole_vectors
from simhcc.engine.rng import occurrence_word, uniform

_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_ZERO = np.uint64(0)

# Temporary rows of reals.
_BEST = at.TEMPORARY
_TIME = at.TEMPORARY + 1
_WORK = at.TEMPORARY + 2
_MULTIPLIER = at.TEMPORARY + 3
_OWN = at.TEMPORARY + 4
_USED = at.TEMPORARY + 5
_LATENT = at.TEMPORARY + 6
_OTHER = at.TEMPORARY + 7
_SPEED = at.TEMPORARY + 8
# For the patients whose times are solved again, side by side.
_OLD_OWN = at.TEMPORARY + 9
_MOVE = at.TEMPORARY + 10
_OLD_RATE = at.TEMPORARY + 11
_THRESHOLD = at.TEMPORARY + 12
_RATE = at.TEMPORARY + 13
_NEW_SPEED = at.TEMPORARY + 14
_NEW_OWN = at.TEMPORARY + 15
_CHOICE = at.TEMPORARY + 16
_SINCE = at.TEMPORARY + 17
# For the patients under an effect that changes with time, side by side, piece by piece.
_PIECE_TIME = at.TEMPORARY + 18
_PIECE_OWN = at.TEMPORARY + 19
_PIECE_LEFT = at.TEMPORARY + 20
_PIECE_MULTIPLIER = at.TEMPORARY + 21
_PIECE_LIMIT = at.TEMPORARY + 22
_PIECE_LOCAL_ORIGIN = at.TEMPORARY + 23
_PIECE_SYSTEMIC_ORIGIN = at.TEMPORARY + 24
_PIECE_USED = at.TEMPORARY + 25
_PIECE_NEXT_OWN = at.TEMPORARY + 26
_PIECE_AFTER = at.TEMPORARY + 27
_PIECE_RATE = at.TEMPORARY + 28
_PIECE_SPEED = at.TEMPORARY + 29
_PIECE_END = at.TEMPORARY + 30
_LAST_TIME = at.TEMPORARY + 31
_LAST_OWN = at.TEMPORARY + 32
_LAST_SPEED = at.TEMPORARY + 33
_LAST_END = at.TEMPORARY + 34
_LAST_REACHED = at.TEMPORARY + 35
_LAST_HAZARD = at.TEMPORARY + 36
_ANSWER = at.TEMPORARY + 37
_ANSWER_OWN = at.TEMPORARY + 38


@inline
def _draw(patient, luck, purpose, entry, firing, k0, k1):
    """A uniform by its address."""
    word = occurrence_word(patient >> _SHIFT, entry, firing)
    return uniform(patient & _LOW, luck, purpose, word, k0, k1)


@inline
def _gather_addresses(entries, facts, lists, row, begin, count, node, patient0):
    """Lay the address words of the listed patients side by side; the firing is among the facts."""
    for k in range(whole_vectors(count)):
        p = lists[row, begin + k]
        patient = patient0 + p
        entry = np.uint64(entries[node, p]) - np.uint64(1)
        lists[at.ADDRESS_PATIENT, k] = patient & _LOW
        lists[at.ADDRESS_OCCURRENCE, k] = occurrence_word(patient >> _SHIFT, entry, np.uint64(facts[p, at.FIRING]))


@inline
def _limited_exp(x):
    """Exponential of a log multiplier limited to +-700; minus infinity gives 0 and NaN stays NaN."""
    limited = min(max(x, -at.LARGEST_LOG_MULTIPLIER), at.LARGEST_LOG_MULTIPLIER)
    y = exp_(limited)
    y = 0.0 if x == -np.inf else y
    return y if x == x else x


@inline
def model_of(space):
    """The model in the directory `space`."""
    return at.Model(
        integers2(space, at.A_NODES), integers2(space, at.A_TRANSITIONS), integers2(space, at.A_HAZARDS),
        integers2(space, at.A_SCHEDULED), integers2(space, at.A_EDGES), integers2(space, at.A_SCANS),
        integers2(space, at.A_SEGMENTS), integers3(space, at.A_EFFECT_OF), integers2(space, at.A_CODE),
        integers1(space, at.A_PROGRAMS), integers2(space, at.A_TAGS), integers1(space, at.A_SIZE),
        reals2(space, at.A_NUMBERS), reals1(space, at.A_TABLES), reals3(space, at.A_EFFECTS),
    )  # fmt: skip


@part("i8(i8,i8,i8)")
def begin_block(space, first, count):
    """Put `count` patients, columns `first` and on of `cohort`, at the start node at time 0.

    `column[a]` is the row of attribute a in `cohort`, or -1 where the attribute starts at `initial[a]` for everybody.
    """
    model = model_of(space)
    moments = reals2(space, at.A_MOMENTS)
    facts = facts2(space, at.A_FACTS)
    entries = counts2(space, at.A_ENTRIES)
    kept = reals2(space, at.A_KEPT)
    lists = words2(space, at.A_LISTS)
    queued = integers1(space, at.A_QUEUED)
    cohort = reals2(space, at.A_COHORT)
    column = integers1(space, at.A_COLUMN)
    initial = reals1(space, at.A_INITIAL)
    size = model.size
    attributes = reals2(space, at.A_ATTRIBUTES)
    scheduled = size[at.SIZE_SCHEDULED]
    for k in range(count):
        for moment in range(at.MOMENTS):
            moments[k, moment] = 0.0
        for event in range(scheduled):
            moments[k, at.MOMENTS + event] = np.nan
    for k in range(count):
        for fact in range(at.FACTS + scheduled):
            facts[k, fact] = 0
    for node in range(size[at.SIZE_NODES]):
        for k in range(count):
            entries[node, k] = 0
    for life in range(size[at.SIZE_LIFE]):
        record = size[at.SIZE_RECORDS] + at.KEPT * (size[at.SIZE_STORE] - 1 - life)
        for k in range(count):
            kept[k, record + at.KEPT_THRESHOLD] = np.nan
            kept[k, record + at.KEPT_MULTIPLIER] = np.nan
    for k in range(count):
        for a in range(size[at.SIZE_ATTRIBUTES]):
            source = column[a]
            attributes[k, a] = cohort[source, first + k] if source >= 0 else initial[a]
    for node in range(2 * size[at.SIZE_NODES]):
        queued[node] = 0
    start = size[at.SIZE_START]
    for k in range(count):
        facts[k, at.VISIT_CELL] = -1
        facts[k, at.STATE_NOW] = -1
        lists[at.LISTS + 2 * start, k] = k
    queued[2 * start] = count
    return at.OK


@inline
def _close_visit(p, treated, moments, facts, visit_reals, visit_integers, filled):
    """Write the open visit of patient p, ending now, unless it has no length; return the number of visits written."""
    began = moments[p, at.VISIT_BEGAN]
    now = moments[p, at.NOW]
    if facts[p, at.VISIT_CELL] >= 0 and now > began:
        visit_reals[at.VISIT_ENTERED, filled] = began
        visit_reals[at.VISIT_LEFT, filled] = now
        if treated:
            visit_reals[at.VISIT_LOCAL_SINCE, filled] = moments[p, at.VISIT_LOCAL_START]
            visit_reals[at.VISIT_SYSTEMIC_SINCE, filled] = moments[p, at.VISIT_SYSTEMIC_START]
        visit_integers[at.VISIT_PATIENT, filled] = np.int64(p)
        visit_integers[at.VISIT_IN_CELL, filled] = facts[p, at.VISIT_CELL]
        visit_integers[at.VISIT_ENDED_BY, filled] = facts[p, at.BEST]
        filled += 1
    return filled


@merged
def _multipliers(
    space, model, draw, node, transition, reals, attributes, lists, row, count, patient0, luck, k0, k1
):  # fmt: skip
    """Fill the row of multipliers for the patients lists[row, :count]."""
    program = model.transitions[transition, at.TRANSITION_PROGRAM]
    number = model.transitions[transition, at.TRANSITION_MULTIPLIER]
    attribute = model.transitions[transition, at.TRANSITION_ATTRIBUTE]
    if attribute >= 0:
        # Most log multipliers are an attribute as it is: a program for it would cost more than the look-up.
        for k in range(whole_vectors(count)):
            reals[_MULTIPLIER, k] = attributes[lists[row, k], attribute]
        for k in range(whole_vectors(count)):
            reals[_MULTIPLIER, k] = _limited_exp(reals[_MULTIPLIER, k])
    elif program >= 0:
        run_program(space, program, draw, row, 0, count, node, patient0, luck, k0, k1)
        for k in range(whole_vectors(count)):
            reals[_MULTIPLIER, k] = _limited_exp(reals[at.REALS, k])
    else:
        value = 1.0
        if number >= 0:
            value = model.numbers[draw, number]
        for k in range(whole_vectors(count)):
            reals[_MULTIPLIER, k] = value


@inline
def _own_time(clock, p, moments, now, attributes, age):
    """Months on a transition's clock at the start of a stay, for a patient at time `now`."""
    own = 0.0
    if clock == at.CLOCK_MODEL:
        own = now
    elif clock == at.CLOCK_LOCAL:
        own = now - moments[p, at.LOCAL_START]
    elif clock == at.CLOCK_SYSTEMIC:
        own = now - moments[p, at.SYSTEMIC_START]
    elif clock == at.CLOCK_AGE:
        own = 12.0 * attributes[p, age] + now
    return own


@inline
def _hazard(model, hazard, draw):
    """Return (family, p0, p1, cure, table offset, table count) of a hazard in one draw."""
    family = model.hazards[hazard, at.HAZARD_FAMILY]
    p0 = 0.0
    p1 = 0.0
    cure = 0.0
    if model.hazards[hazard, at.HAZARD_P0] >= 0:
        p0 = model.numbers[draw, model.hazards[hazard, at.HAZARD_P0]]
    if model.hazards[hazard, at.HAZARD_P1] >= 0:
        p1 = model.numbers[draw, model.hazards[hazard, at.HAZARD_P1]]
    if model.hazards[hazard, at.HAZARD_CURE] >= 0:
        cure = model.numbers[draw, model.hazards[hazard, at.HAZARD_CURE]]
    offset = model.hazards[hazard, at.HAZARD_TABLE] + draw * model.hazards[hazard, at.HAZARD_TABLE_STRIDE]
    return family, p0, p1, cure, offset, model.hazards[hazard, at.HAZARD_TABLE_COUNT]


@inline
def _slots(model, draw, transition, seen, moments, facts, p):
    """Return (effect, after stopping, origin) for the local and the systemic slot; `seen` picks the slots last looked at."""
    back = at.SEEN_LOCAL - at.LOCAL if seen else 0
    back_real = at.SEEN_LOCAL_START - at.LOCAL_START if seen else 0
    local, local_off = active_effect(
        model.effect_of, transition, 0, facts[p, at.LOCAL + back], facts[p, at.LOCAL_PREVIOUS + back],
        moments[p, at.LOCAL_PREVIOUS_START + back_real], moments[p, at.LOCAL_STOP + back_real], model.effects, draw,
    )  # fmt: skip
    systemic, systemic_off = active_effect(
        model.effect_of, transition, 1, facts[p, at.SYSTEMIC + back], facts[p, at.SYSTEMIC_PREVIOUS + back],
        moments[p, at.SYSTEMIC_PREVIOUS_START + back_real], moments[p, at.SYSTEMIC_STOP + back_real], model.effects, draw,
    )  # fmt: skip
    local_origin = moments[p, at.LOCAL_STOP + back_real] if local_off == 1 else moments[p, at.LOCAL_START + back_real]
    systemic_origin = (
        moments[p, at.SYSTEMIC_STOP + back_real] if systemic_off == 1 else moments[p, at.SYSTEMIC_START + back_real]
    )
    return local, local_off, local_origin, systemic, systemic_off, systemic_origin


@part("i8(i8,i8,f8,f8,f8,i8,i8,i8,i8,i8)")
def _cumulative(space, family, p0, p1, cure, offset, knots, source, target, count):
    """Fill row `target` of the reals with the cumulative hazards at the times in row `source`."""
    reals = reals2(space, at.A_REALS)
    cumulative_block(
        family, p0, p1, cure, reals1(space, at.A_TABLES), offset, knots, reals[source], reals[target],
        whole_vectors(count), integers2(space, at.A_INTEGERS)[at.SCRATCH],
    )  # fmt: skip
    return 0


@part("i8(i8,i8,f8,f8,f8,i8,i8,i8,i8,i8)")
def _inverse(space, family, p0, p1, cure, offset, knots, source, target, count):
    """Fill row `target` of the reals with the times at which the cumulative hazards in row `source` are reached."""
    reals = reals2(space, at.A_REALS)
    inverse_block(
        family, p0, p1, cure, reals1(space, at.A_TABLES), offset, knots, reals[source], reals[target],
        whole_vectors(count), integers2(space, at.A_INTEGERS)[at.SCRATCH],
    )  # fmt: skip
    return 0


@inline
def _steps_now(reals, integers, effects, draw, i):
    """Return (rate, speed, end) of the piece in force for place i of the piecewise rows, both slots together."""
    time = reals[_PIECE_TIME, i]
    local = integers[at.PIECE_LOCAL, i]
    systemic = integers[at.PIECE_SYSTEMIC, i]
    # An effect comes with the bit that says whether its steps after stopping apply; -1 shifts to -1.
    rate, speed, end = step_at(effects, draw, local >> 1, local & 1, reals[_PIECE_LOCAL_ORIGIN, i], time)
    rate2, speed2, end2 = step_at(effects, draw, systemic >> 1, systemic & 1, reals[_PIECE_SYSTEMIC_ORIGIN, i], time)
    return reals[_PIECE_MULTIPLIER, i] * rate * rate2, speed * speed2, min(end, end2)


@inline
def _lay_pieces(
    model, draw, transition, seen, reals, integers, moments, facts, p, i, time, own, left, multiplier
):  # fmt: skip
    """Put patient p at place i of the piecewise rows; `seen` picks the treatments last looked at."""
    local, local_off, local_origin, systemic, systemic_off, systemic_origin = _slots(
        model, draw, transition, seen, moments, facts, p
    )
    integers[at.PIECE_LOCAL, i] = 2 * local + local_off if local >= 0 else np.int64(-1)
    integers[at.PIECE_SYSTEMIC, i] = 2 * systemic + systemic_off if systemic >= 0 else np.int64(-1)
    reals[_PIECE_LOCAL_ORIGIN, i] = local_origin
    reals[_PIECE_SYSTEMIC_ORIGIN, i] = systemic_origin
    reals[_PIECE_TIME, i] = time
    reals[_PIECE_OWN, i] = own
    reals[_PIECE_LEFT, i] = left
    reals[_PIECE_MULTIPLIER, i] = multiplier


@inline
def _move_piece(reals, integers, source, target):
    """Move what goes on from one place of the piecewise rows to another."""
    integers[at.PIECE_OF, target] = integers[at.PIECE_OF, source]
    integers[at.PIECE_LOCAL, target] = integers[at.PIECE_LOCAL, source]
    integers[at.PIECE_SYSTEMIC, target] = integers[at.PIECE_SYSTEMIC, source]
    reals[_PIECE_LOCAL_ORIGIN, target] = reals[_PIECE_LOCAL_ORIGIN, source]
    reals[_PIECE_SYSTEMIC_ORIGIN, target] = reals[_PIECE_SYSTEMIC_ORIGIN, source]
    reals[_PIECE_MULTIPLIER, target] = reals[_PIECE_MULTIPLIER, source]
    reals[_PIECE_TIME, target] = reals[_PIECE_END, source]
    reals[_PIECE_OWN, target] = reals[_PIECE_NEXT_OWN, source]
    reals[_PIECE_USED, target] = reals[_PIECE_AFTER, source]


@part("i8(i8,i8,i8,i8,f8,f8,f8,i8,i8,f8)")
def _solve_pieces(space, draw, count, family, p0, p1, cure, offset, knots, horizon):
    """When the thresholds in row _PIECE_LEFT are reached, from _PIECE_TIME and own time _PIECE_OWN on, into row _ANSWER.

    All patients go from piece to piece of their effects together; who reaches the threshold drops out. Infinite if it
    never is reached, or only in a piece that begins after the horizon.
    """
    reals = reals2(space, at.A_REALS)
    integers = integers2(space, at.A_INTEGERS)
    effects = reals3(space, at.A_EFFECTS)
    for i in range(count):
        reals[_ANSWER, i] = np.inf
        integers[at.PIECE_OF, i] = i
    _cumulative(space, family, p0, p1, cure, offset, knots, _PIECE_OWN, _PIECE_USED, count)
    active = count
    while active > 0:
        for i in range(active):
            rate, speed, end = _steps_now(reals, integers, effects, draw, i)
            own = reals[_PIECE_OWN, i]
            reals[_PIECE_RATE, i] = rate
            reals[_PIECE_SPEED, i] = speed
            reals[_PIECE_END, i] = end
            reals[_PIECE_NEXT_OWN, i] = own if end == np.inf else own + speed * (end - reals[_PIECE_TIME, i])
        _cumulative(space, family, p0, p1, cure, offset, knots, _PIECE_NEXT_OWN, _PIECE_AFTER, active)
        finished = 0
        going = 0
        for i in range(active):
            rate = reals[_PIECE_RATE, i]
            left = reals[_PIECE_LEFT, i]
            end = reals[_PIECE_END, i]
            spent = rate * (reals[_PIECE_AFTER, i] - reals[_PIECE_USED, i])
            able = rate > 0.0 and reals[_PIECE_SPEED, i] > 0.0
            if end == np.inf or (spent >= left and able):
                integers[at.PIECE_LAST, finished] = integers[at.PIECE_OF, i]
                reals[_LAST_TIME, finished] = reals[_PIECE_TIME, i]
                reals[_LAST_OWN, finished] = reals[_PIECE_OWN, i]
                reals[_LAST_SPEED, finished] = reals[_PIECE_SPEED, i] if able else 0.0
                reals[_LAST_END, finished] = end
                reals[_LAST_HAZARD, finished] = left / rate + reals[_PIECE_USED, i] if able else np.inf
                finished += 1
            elif end < horizon:
                reals[_PIECE_LEFT, going] = left - spent
                _move_piece(reals, integers, i, going)
                going += 1
        if finished > 0:
            _inverse(space, family, p0, p1, cure, offset, knots, _LAST_HAZARD, _LAST_REACHED, finished)
            for i in range(finished):
                if reals[_LAST_SPEED, i] > 0.0:
                    wait = max(reals[_LAST_REACHED, i] - reals[_LAST_OWN, i], 0.0) / reals[_LAST_SPEED, i]
                    reals[_ANSWER, integers[at.PIECE_LAST, i]] = min(reals[_LAST_TIME, i] + wait, reals[_LAST_END, i])
        active = going
    return 0


@part("i8(i8,i8,i8,i8,f8,f8,f8,i8,i8)")
def _spend_pieces(space, draw, count, family, p0, p1, cure, offset, knots):
    """Hazard consumed from _PIECE_TIME to _PIECE_LIMIT into row _ANSWER, and the own time reached into _ANSWER_OWN."""
    reals = reals2(space, at.A_REALS)
    integers = integers2(space, at.A_INTEGERS)
    effects = reals3(space, at.A_EFFECTS)
    for i in range(count):
        reals[_ANSWER, i] = 0.0
        reals[_ANSWER_OWN, i] = reals[_PIECE_OWN, i]
        integers[at.PIECE_OF, i] = i
    _cumulative(space, family, p0, p1, cure, offset, knots, _PIECE_OWN, _PIECE_USED, count)
    active = count
    while active > 0:
        for i in range(active):
            rate, speed, end = _steps_now(reals, integers, effects, draw, i)
            limit = reals[_PIECE_LIMIT, integers[at.PIECE_OF, i]]
            end = max(min(end, limit), reals[_PIECE_TIME, i])
            reals[_PIECE_RATE, i] = rate
            reals[_PIECE_END, i] = end
            reals[_PIECE_NEXT_OWN, i] = reals[_PIECE_OWN, i] + speed * (end - reals[_PIECE_TIME, i])
        _cumulative(space, family, p0, p1, cure, offset, knots, _PIECE_NEXT_OWN, _PIECE_AFTER, active)
        going = 0
        for i in range(active):
            place = integers[at.PIECE_OF, i]
            spent = reals[_PIECE_RATE, i] * (reals[_PIECE_AFTER, i] - reals[_PIECE_USED, i])
            reals[_ANSWER, place] = reals[_ANSWER, place] + spent
            reals[_ANSWER_OWN, place] = reals[_PIECE_NEXT_OWN, i]
            if reals[_PIECE_END, i] < reals[_PIECE_LIMIT, place]:
                _move_piece(reals, integers, i, going)
                going += 1
        active = going
    return 0


@inline
def _stratum(model, transition, attributes, p):
    """Level of the strata attribute, kept within the hazards there are."""
    strata = model.transitions[transition, at.TRANSITION_STRATA]
    level = np.int64(0)
    if strata > 1:
        value = attributes[p, model.transitions[transition, at.TRANSITION_STRATA_ATTRIBUTE]]
        for stratum in range(1, strata):
            if value >= stratum:
                level = stratum
    return level


@inline
def _seen(model, draw, scan, latent, p, moments, attributes):
    """When a latent event takes effect: at the first scan that is due at or after it, and not before now."""
    origin_of = model.scans[scan, at.SCAN_ORIGIN]
    origin = 0.0
    if origin_of >= at.ORIGIN_ATTRIBUTE:
        origin = attributes[p, origin_of - at.ORIGIN_ATTRIBUTE]
    elif origin_of == at.CLOCK_STATE:
        origin = moments[p, at.STAY_BEGAN]
    elif origin_of == at.CLOCK_LOCAL:
        origin = moments[p, at.LOCAL_START]
    elif origin_of == at.CLOCK_SYSTEMIC:
        origin = moments[p, at.SYSTEMIC_START]
    return next_scan(max(latent, moments[p, at.NOW]), origin, model.scans, scan, model.segments, model.numbers, draw)


@part("i8(i8,i8,i8,i8,u8,u8,u8,u8,f8)")
def _fresh_times(space, draw, node, count, patient0, luck, k0, k1, horizon):
    """For patients who begin a stay: draw the thresholds of its transitions, solve their times, note the first.

    Row _BEST receives the earliest time and _CHOICE its edge. Returns 1 if a time is not a number, which then is in
    row _LATENT.
    """
    model = model_of(space)
    reals = reals2(space, at.A_REALS)
    moments = reals2(space, at.A_MOMENTS)
    facts = facts2(space, at.A_FACTS)
    attributes = reals2(space, at.A_ATTRIBUTES)
    integers = integers2(space, at.A_INTEGERS)
    kept = reals2(space, at.A_KEPT)
    lists = words2(space, at.A_LISTS)
    size = model.size
    columns = model.transitions
    keep = model.nodes[node, at.NODE_CAN_STAY] == 1
    filled = whole_vectors(count)
    first_transition = model.nodes[node, at.NODE_TRANSITION_FIRST]
    for transition in range(first_transition, model.nodes[node, at.NODE_TRANSITION_END]):
        if columns[transition, at.TRANSITION_LIFE] >= 0:
            continue
        purpose = np.uint64(columns[transition, at.TRANSITION_PURPOSE])
        clock = columns[transition, at.TRANSITION_CLOCK]
        program = columns[transition, at.TRANSITION_PROGRAM]
        place = columns[transition, at.TRANSITION_STORE]
        record = size[at.SIZE_RECORDS] + at.KEPT * place
        constant = 1.0
        if columns[transition, at.TRANSITION_MULTIPLIER] >= 0:
            constant = model.numbers[draw, columns[transition, at.TRANSITION_MULTIPLIER]]
        has_effect = columns[transition, at.TRANSITION_HAS_EFFECT] == 1
        if program >= 0 or keep or has_effect:
            _multipliers(
                space, model, draw, node, transition, reals, attributes, lists, at.LIST, count, patient0, luck, k0, k1
            )
        # The addresses lie side by side: a loop with look-ups in it would not become vector code.
        for k in range(filled):
            reals[_WORK, k] = uniform(
                lists[at.ADDRESS_PATIENT, k], luck, purpose, lists[at.ADDRESS_OCCURRENCE, k], k0, k1
            )
        for k in range(filled):
            reals[_WORK, k] = -log_(reals[_WORK, k])
        if keep or has_effect:
            for k in range(filled):
                reals[_THRESHOLD, k] = reals[_WORK, k]
                reals[_OLD_RATE, k] = reals[_MULTIPLIER, k]
        affected = False
        stepped = 0
        if has_effect:
            # A steady effect is a change of rate and speed; one that is to change with time is solved apart, below.
            for k in range(count):
                p = lists[at.LIST, k]
                reals[_SPEED, k] = 1.0
                given = facts[p, at.LOCAL] + facts[p, at.SYSTEMIC]
                if given + facts[p, at.LOCAL_PREVIOUS] + facts[p, at.SYSTEMIC_PREVIOUS] == 0:
                    continue
                local, local_off, local_origin, systemic, systemic_off, systemic_origin = _slots(
                    model, draw, transition, False, moments, facts, p
                )
                if local >= 0 or systemic >= 0:
                    affected = True
                    rate, speed, end = step_at(model.effects, draw, local, local_off, local_origin, reals[_TIME, k])
                    rate2, speed2, end2 = step_at(
                        model.effects, draw, systemic, systemic_off, systemic_origin, reals[_TIME, k]
                    )
                    if end < np.inf or end2 < np.inf:
                        reals[_SPEED, k] = np.nan
                        integers[at.SOLVED, stepped] = k
                        stepped += 1
                    else:
                        reals[_MULTIPLIER, k] = reals[_MULTIPLIER, k] * rate * rate2
                        reals[_SPEED, k] = speed * speed2
        if program >= 0 or affected:
            for k in range(filled):
                reals[_WORK, k] = reals[_WORK, k] / reals[_MULTIPLIER, k]
        elif constant != 1.0:
            for k in range(filled):
                reals[_WORK, k] = reals[_WORK, k] / constant
        if clock != at.CLOCK_STATE:
            age = size[at.SIZE_AGE_ATTRIBUTE]
            for k in range(count):
                reals[_OWN, k] = _own_time(clock, lists[at.LIST, k], moments, reals[_TIME, k], attributes, age)
        first_hazard = columns[transition, at.TRANSITION_HAZARD]
        for stratum in range(columns[transition, at.TRANSITION_STRATA]):
            family, p0, p1, cure, offset, knots = _hazard(model, first_hazard + stratum, draw)
            if clock == at.CLOCK_STATE:
                _inverse(space, family, p0, p1, cure, offset, knots, _WORK, _OTHER, count)
            else:
                _cumulative(space, family, p0, p1, cure, offset, knots, _OWN, _USED, count)
                for k in range(filled):
                    reals[_USED, k] = reals[_USED, k] + reals[_WORK, k]
                _inverse(space, family, p0, p1, cure, offset, knots, _USED, _OTHER, count)
                for k in range(filled):
                    reals[_OTHER, k] = max(reals[_OTHER, k] - reals[_OWN, k], 0.0)
            if affected:
                for k in range(filled):
                    reals[_OTHER, k] = reals[_OTHER, k] / reals[_SPEED, k]
            if stratum == 0:
                for k in range(filled):
                    reals[_LATENT, k] = reals[_TIME, k] + reals[_OTHER, k]
            else:
                by = columns[transition, at.TRANSITION_STRATA_ATTRIBUTE]
                for k in range(count):
                    if attributes[lists[at.LIST, k], by] >= stratum:
                        reals[_LATENT, k] = reals[_TIME, k] + reals[_OTHER, k]
            chosen = 0
            for i in range(stepped):
                k = integers[at.SOLVED, i]
                p = lists[at.LIST, k]
                if _stratum(model, transition, attributes, p) == stratum:
                    own = 0.0 if clock == at.CLOCK_STATE else reals[_OWN, k]
                    _lay_pieces(
                        model, draw, transition, False, reals, integers, moments, facts, p, chosen, reals[_TIME, k], own,
                        reals[_THRESHOLD, k], reals[_MULTIPLIER, k],
                    )  # fmt: skip
                    integers[at.PIECE_AT, chosen] = k
                    chosen += 1
            if chosen > 0:
                _solve_pieces(space, draw, chosen, family, p0, p1, cure, offset, knots, horizon)
                for i in range(chosen):
                    reals[_LATENT, integers[at.PIECE_AT, i]] = reals[_ANSWER, i]
        if keep:
            for k in range(count):
                p = lists[at.LIST, k]
                kept[p, place] = reals[_LATENT, k]
                kept[p, record + at.KEPT_THRESHOLD] = reals[_THRESHOLD, k]
                kept[p, record + at.KEPT_MULTIPLIER] = reals[_OLD_RATE, k]
                kept[p, record + at.KEPT_SINCE] = reals[_TIME, k]
                kept[p, record + at.KEPT_OWN_TIME] = 0.0 if clock == at.CLOCK_STATE else reals[_OWN, k]
                kept[p, record + at.KEPT_RATE] = reals[_MULTIPLIER, k]
                kept[p, record + at.KEPT_SPEED] = reals[_SPEED, k] if has_effect else 1.0
                kept[p, record + at.KEPT_FIRINGS] = 0.0
        scan = columns[transition, at.TRANSITION_SCAN]
        if scan >= 0:
            for k in range(count):
                if reals[_LATENT, k] < reals[_BEST, k]:
                    reals[_LATENT, k] = _seen(
                        model, draw, scan, reals[_LATENT, k], lists[at.LIST, k], moments, attributes
                    )
        if _earlier(reals, float(transition - first_transition), count):
            return 1
    return 0


@inline
def _earlier(reals, number, count):
    """Let edge `number` take the place of the best where its time in row _LATENT is earlier; tell if one is no number."""
    bad = False
    for k in range(count):
        bad = bad | (reals[_LATENT, k] != reals[_LATENT, k])
    for k in range(whole_vectors(count)):
        time = reals[_LATENT, k]
        # Both are selected by arithmetic on one type, so the loop has no branch.
        best = reals[_BEST, k]
        chosen = reals[_CHOICE, k]
        reals[_CHOICE, k] = number if time < best else chosen
        reals[_BEST, k] = time if time < best else best
    return bad


@part("i8(i8,i8,i8,i8,i8,i8,u8,u8,u8,u8,f8)")
def _kept_times(space, draw, node, begins, changed, count, patient0, luck, k0, k1, horizon):
    """Solve again the times of thresholds that go on, where something that they depend on has changed.

    Of the listed patients, the first `changed` are those with any change. When a stay begins only the thresholds for life
    go on, and all patients are looked at. Those whose multiplier, effect or clock origin is another one are
    laid side by side and solved together (those whose effect is, or was, to change with time are solved at once).

    Returns -1, or the patient who has too many firings.
    """
    model = model_of(space)
    reals = reals2(space, at.A_REALS)
    moments = reals2(space, at.A_MOMENTS)
    facts = facts2(space, at.A_FACTS)
    entries = counts2(space, at.A_ENTRIES)
    attributes = reals2(space, at.A_ATTRIBUTES)
    integers = integers2(space, at.A_INTEGERS)
    kept = reals2(space, at.A_KEPT)
    lists = words2(space, at.A_LISTS)
    size = model.size
    columns = model.transitions
    age = size[at.SIZE_AGE_ATTRIBUTE]
    for transition in range(model.nodes[node, at.NODE_TRANSITION_FIRST], model.nodes[node, at.NODE_TRANSITION_END]):
        life = columns[transition, at.TRANSITION_LIFE] >= 0
        if begins == 1 and not life:
            continue
        depends = columns[transition, at.TRANSITION_DEPENDS]
        everyone = begins == 1 or columns[transition, at.TRANSITION_TIMED] == 1
        looked_at = count if everyone else changed
        purpose = np.uint64(columns[transition, at.TRANSITION_PURPOSE])
        clock = columns[transition, at.TRANSITION_CLOCK]
        place = columns[transition, at.TRANSITION_STORE]
        record = size[at.SIZE_RECORDS] + at.KEPT * place
        has_effect = columns[transition, at.TRANSITION_HAS_EFFECT] == 1
        strata = columns[transition, at.TRANSITION_STRATA]
        for stratum in range(strata):
            looked = 0
            for k in range(looked_at):
                p = lists[at.LIST, k]
                lists[at.LOOKED, looked] = p
                looked += 1 if everyone or (facts[p, at.CHANGED] & depends) != 0 else 0
            if strata > 1:
                inside = 0
                for k in range(looked):
                    p = lists[at.LOOKED, k]
                    lists[at.LOOKED, inside] = p
                    inside += 1 if _stratum(model, transition, attributes, p) == stratum else 0
                looked = inside
            if looked == 0:
                continue
            _multipliers(
                space, model, draw, node, transition, reals, attributes, lists, at.LOOKED, looked, patient0, luck, k0, k1
            )  # fmt: skip
            solved = 0
            spending = 0
            solving = 0
            for k in range(looked):
                p = lists[at.LOOKED, k]
                now = moments[p, at.NOW]
                latent = kept[p, place]
                multiplier = reals[_MULTIPLIER, k]
                if multiplier != multiplier:
                    kept[p, place] = multiplier
                    continue
                fired = (not life) and facts[p, at.FIRED] == place
                undrawn = life and kept[p, record + at.KEPT_THRESHOLD] != kept[p, record + at.KEPT_THRESHOLD]
                moved = False
                if not fired and not undrawn:
                    if latent <= now:
                        continue
                    moved = (
                        clock == at.CLOCK_LOCAL and moments[p, at.LOCAL_START] != moments[p, at.SEEN_LOCAL_START]
                    ) or (
                        clock == at.CLOCK_SYSTEMIC
                        and moments[p, at.SYSTEMIC_START] != moments[p, at.SEEN_SYSTEMIC_START]
                    )
                rate = multiplier
                speed = 1.0
                was_stepped = False
                stepped = False
                local = np.int64(-1)
                local_off = np.int64(0)
                local_origin = 0.0
                systemic = np.int64(-1)
                systemic_off = np.int64(0)
                systemic_origin = 0.0
                if has_effect:
                    local, local_off, local_origin, systemic, systemic_off, systemic_origin = _slots(
                        model, draw, transition, False, moments, facts, p
                    )
                    rate1, speed1, end1 = step_at(model.effects, draw, local, local_off, local_origin, now)
                    rate2, speed2, end2 = step_at(model.effects, draw, systemic, systemic_off, systemic_origin, now)
                    stepped = end1 < np.inf or end2 < np.inf
                    rate = multiplier * rate1 * rate2
                    speed = speed1 * speed2
                    was_stepped = kept[p, record + at.KEPT_SPEED] != kept[p, record + at.KEPT_SPEED]
                if not (fired or undrawn or moved):
                    if stepped or was_stepped:
                        (
                            old_local,
                            old_local_off,
                            old_local_origin,
                            old_systemic,
                            old_systemic_off,
                            old_systemic_origin,
                        ) = _slots(model, draw, transition, True, moments, facts, p)
                        if (
                            multiplier == kept[p, record + at.KEPT_MULTIPLIER]
                            and local == old_local
                            and systemic == old_systemic
                            and (local < 0 or (local_off == old_local_off and local_origin == old_local_origin))
                            and (
                                systemic < 0
                                or (systemic_off == old_systemic_off and systemic_origin == old_systemic_origin)
                            )
                        ):
                            continue
                    elif rate == kept[p, record + at.KEPT_RATE] and speed == kept[p, record + at.KEPT_SPEED]:
                        kept[p, record + at.KEPT_MULTIPLIER] = multiplier
                        continue
                own = kept[p, record + at.KEPT_OWN_TIME]
                threshold = kept[p, record + at.KEPT_THRESHOLD]
                since = kept[p, record + at.KEPT_SINCE]
                if undrawn:
                    own = _own_time(clock, p, moments, now, attributes, age)
                    since = now
                    threshold = -log_(_draw(patient0 + p, luck, purpose, _ZERO, _ZERO, k0, k1))
                elif fired:
                    firings = kept[p, record + at.KEPT_FIRINGS]
                    if firings >= at.MOST_FIRINGS:
                        return np.int64(p)
                    entry_number = np.uint64(entries[node, p]) - np.uint64(1)
                    threshold = -log_(_draw(patient0 + p, luck, purpose, entry_number, np.uint64(firings), k0, k1))
                renewed = np.nan
                if clock == at.CLOCK_LOCAL and moments[p, at.LOCAL_START] != moments[p, at.SEEN_LOCAL_START]:
                    renewed = now - moments[p, at.LOCAL_START]
                if clock == at.CLOCK_SYSTEMIC and moments[p, at.SYSTEMIC_START] != moments[p, at.SEEN_SYSTEMIC_START]:
                    renewed = now - moments[p, at.SYSTEMIC_START]
                kept[p, record + at.KEPT_SINCE] = now
                kept[p, record + at.KEPT_MULTIPLIER] = multiplier
                integers[at.SOLVED, solved] = np.int64(p)
                reals[_OLD_OWN, solved] = own
                reals[_MOVE, solved] = (
                    0.0 if undrawn or was_stepped else kept[p, record + at.KEPT_SPEED] * (now - since)
                )
                reals[_OLD_RATE, solved] = 0.0 if undrawn or fired else kept[p, record + at.KEPT_RATE]
                reals[_THRESHOLD, solved] = threshold
                reals[_RATE, solved] = multiplier if stepped else rate
                reals[_NEW_SPEED, solved] = np.nan if stepped else speed
                reals[_NEW_OWN, solved] = renewed
                reals[_SINCE, solved] = now
                if was_stepped and not undrawn:
                    _lay_pieces(
                        model, draw, transition, True, reals, integers, moments, facts, p, spending, since, own, 0.0,
                        kept[p, record + at.KEPT_RATE],
                    )  # fmt: skip
                    reals[_PIECE_LIMIT, spending] = now
                    integers[at.PIECE_AT, spending] = solved
                    spending += 1
                if stepped:
                    solving += 1
                solved += 1
            if solved == 0:
                continue
            family, p0, p1, cure, offset, knots = _hazard(
                model, columns[transition, at.TRANSITION_HAZARD] + stratum, draw
            )
            filled = whole_vectors(solved)
            _cumulative(space, family, p0, p1, cure, offset, knots, _OLD_OWN, _USED, solved)
            for i in range(filled):
                reals[_OWN, i] = reals[_OLD_OWN, i] + reals[_MOVE, i]
            _cumulative(space, family, p0, p1, cure, offset, knots, _OWN, _WORK, solved)
            for i in range(filled):
                spent = reals[_OLD_RATE, i] * (reals[_WORK, i] - reals[_USED, i])
                left = max(reals[_THRESHOLD, i] - spent, 0.0)
                reals[_LATENT, i] = reals[_THRESHOLD, i]
                reals[_THRESHOLD, i] = reals[_THRESHOLD, i] if reals[_OLD_RATE, i] == 0.0 else left
            renews = clock == at.CLOCK_LOCAL or clock == at.CLOCK_SYSTEMIC
            if spending > 0:
                _spend_pieces(space, draw, spending, family, p0, p1, cure, offset, knots)
                for i in range(spending):
                    k = integers[at.PIECE_AT, i]
                    reals[_OWN, k] = reals[_ANSWER_OWN, i]
                    if reals[_OLD_RATE, k] != 0.0:
                        reals[_THRESHOLD, k] = max(reals[_LATENT, k] - reals[_ANSWER, i], 0.0)
            if renews or spending > 0:
                for i in range(filled):
                    reals[_OWN, i] = reals[_NEW_OWN, i] if reals[_NEW_OWN, i] == reals[_NEW_OWN, i] else reals[_OWN, i]
                _cumulative(space, family, p0, p1, cure, offset, knots, _OWN, _WORK, solved)
            for i in range(filled):
                reals[_WORK, i] = reals[_WORK, i] + (
                    reals[_THRESHOLD, i] / reals[_RATE, i] if reals[_RATE, i] > 0.0 else np.inf
                )
            _inverse(space, family, p0, p1, cure, offset, knots, _WORK, _OTHER, solved)
            for i in range(filled):
                reals[_OTHER, i] = max(reals[_OTHER, i] - reals[_OWN, i], 0.0) / reals[_NEW_SPEED, i]
                reals[_OTHER, i] = reals[_OTHER, i] if reals[_NEW_SPEED, i] > 0.0 else np.inf
            for i in range(filled):
                reals[_OTHER, i] = reals[_SINCE, i] + reals[_OTHER, i]
            if solving > 0:
                chosen = 0
                for i in range(solved):
                    if reals[_NEW_SPEED, i] != reals[_NEW_SPEED, i]:
                        _lay_pieces(
                            model, draw, transition, False, reals, integers, moments, facts, integers[at.SOLVED, i], chosen,
                            reals[_SINCE, i], reals[_OWN, i], reals[_THRESHOLD, i], reals[_RATE, i],
                        )  # fmt: skip
                        integers[at.PIECE_AT, chosen] = i
                        chosen += 1
                _solve_pieces(space, draw, chosen, family, p0, p1, cure, offset, knots, horizon)
                for i in range(chosen):
                    reals[_OTHER, integers[at.PIECE_AT, i]] = reals[_ANSWER, i]
            for i in range(solved):
                p = integers[at.SOLVED, i]
                kept[p, place] = reals[_OTHER, i]
                kept[p, record + at.KEPT_THRESHOLD] = reals[_THRESHOLD, i]
                kept[p, record + at.KEPT_OWN_TIME] = reals[_OWN, i]
                kept[p, record + at.KEPT_RATE] = reals[_RATE, i]
                kept[p, record + at.KEPT_SPEED] = reals[_NEW_SPEED, i]
    return np.int64(-1)


@merged
def _choose_kept(model, draw, node, begins, scanned, reals, moments, kept, lists, count, attributes, horizon):
    """Let each listed patient's earliest kept threshold, if it comes before what was found so far, end the stay.

    `scanned` 1 looks at the thresholds that are seen at a scan, after all other events: who has something before the latent
    time needs no scan. Of two events at one time the one declared first happens; when a stay begins only thresholds for
    life are kept. Returns 1 if a time is not a number, which then is in row _LATENT.
    """
    columns = model.transitions
    first_transition = model.nodes[node, at.NODE_TRANSITION_FIRST]
    for transition in range(first_transition, model.nodes[node, at.NODE_TRANSITION_END]):
        if begins == 1 and columns[transition, at.TRANSITION_LIFE] < 0:
            continue
        scan = columns[transition, at.TRANSITION_SCAN]
        if (scan >= 0) != (scanned == 1):
            continue
        place = np.uint64(columns[transition, at.TRANSITION_STORE])
        for k in range(count):
            reals[_LATENT, k] = kept[lists[at.LIST, k], place]
        if scan >= 0:
            for k in range(count):
                if reals[_LATENT, k] < horizon and reals[_LATENT, k] <= reals[_BEST, k]:
                    reals[_LATENT, k] = _seen(
                        model, draw, scan, reals[_LATENT, k], lists[at.LIST, k], moments, attributes
                    )
        number = float(transition - first_transition)
        if begins == 0 and scanned == 0:
            if _earlier(reals, number, count):
                return 1
        else:
            bad = False
            for k in range(count):
                time = reals[_LATENT, k]
                bad = bad | (time != time)
                best = reals[_BEST, k]
                chosen = reals[_CHOICE, k]
                first = (time < best) | ((time == best) & (number < chosen) & (best < horizon))
                reals[_CHOICE, k] = number if first else chosen
                reals[_BEST, k] = time if time < best else best
            if bad:
                return 1
    return 0


@part("i8(i8,i8,i8,i8,i8,u8,u8,u8,u8)")
def _scheduled_times(space, draw, node, begins, count, patient0, luck, k0, k1):
    """Due times of a state's scheduled events, which end the stay where they come first. `begins` says that a stay begins.

    Returns 1 if a time is not a number, which then is in row _LATENT.
    """
    model = model_of(space)
    reals = reals2(space, at.A_REALS)
    moments = reals2(space, at.A_MOMENTS)
    facts = facts2(space, at.A_FACTS)
    lists = words2(space, at.A_LISTS)
    attributes = reals2(space, at.A_ATTRIBUTES)
    columns = model.scheduled
    first_scheduled = model.nodes[node, at.NODE_SCHEDULED_FIRST]
    transitions = model.nodes[node, at.NODE_TRANSITION_END] - model.nodes[node, at.NODE_TRANSITION_FIRST]
    for event in range(first_scheduled, model.nodes[node, at.NODE_SCHEDULED_END]):
        origin_clock = columns[event, at.SCHEDULED_ORIGIN]
        origins = at.MOMENTS + event
        counters = at.FACTS + event
        program = columns[event, at.SCHEDULED_FIRST_PROGRAM]
        attribute = columns[event, at.SCHEDULED_FIRST_ATTRIBUTE]
        if attribute >= 0:
            for k in range(count):
                reals[_WORK, k] = attributes[lists[at.LIST, k], attribute]
        elif program >= 0:
            run_program(space, program, draw, at.LIST, 0, count, node, patient0, luck, k0, k1)
            for k in range(count):
                reals[_WORK, k] = reals[at.REALS, k]
        else:
            first = model.numbers[draw, columns[event, at.SCHEDULED_FIRST]]
            for k in range(count):
                reals[_WORK, k] = first
        repeats = columns[event, at.SCHEDULED_PERIOD] >= 0
        period = np.inf
        if repeats:
            period = model.numbers[draw, columns[event, at.SCHEDULED_PERIOD]]
        since = at.NOW
        if origin_clock == at.CLOCK_STATE:
            since = at.STAY_BEGAN
        elif origin_clock == at.CLOCK_LOCAL:
            since = at.LOCAL_START
        elif origin_clock == at.CLOCK_SYSTEMIC:
            since = at.SYSTEMIC_START
        timed = count
        if columns[event, at.SCHEDULED_PERIOD] == at.REARMED:
            # Nothing is counted: it is due when the time that is set comes.
            timed = 0
            for k in range(count):
                origin = 0.0 if since == at.NOW else moments[lists[at.LIST, k], since]
                due = origin + reals[_WORK, k]
                reals[_LATENT, k] = np.inf if due < reals[_TIME, k] else due
        for k in range(timed):
            p = lists[at.LIST, k]
            now = reals[_TIME, k]
            origin = 0.0 if since == at.NOW else moments[p, since]
            number = np.int64(facts[p, counters])
            if (begins == 1 and origin_clock == at.CLOCK_STATE) or moments[p, origins] != origin:
                number = 0
            first = reals[_WORK, k]
            due = np.inf
            if repeats:
                due = origin + first + number * period
                if due < now and first > -np.inf:
                    # The quotient may be rounded either way; the counter never goes back.
                    ahead = max(int(np.ceil((now - origin - first) / period)) - 1, number)
                    while origin + first + ahead * period < now:
                        ahead += 1
                    number = ahead
                    due = origin + first + number * period
            elif number == 0:
                due = origin + first
                if due < now:
                    due = np.inf
            if first == -np.inf:
                due = np.inf
            if first != first:
                due = np.nan
            facts[p, counters] = number
            moments[p, origins] = origin
            reals[_LATENT, k] = due
        when = columns[event, at.SCHEDULED_WHEN_PROGRAM]
        if when >= 0:
            run_program(space, when, draw, at.LIST, 0, count, node, patient0, luck, k0, k1)
            for k in range(count):
                if reals[at.REALS, k] == 0.0:
                    reals[_LATENT, k] = np.inf
                elif reals[at.REALS, k] != reals[at.REALS, k]:
                    reals[_LATENT, k] = np.nan
        if _earlier(reals, float(transitions + event - first_scheduled), count):
            return 1
    return 0


@part("i8(i8,i8,i8)")
def _open_visits(space, node, count):
    """Close the open visit of listed patients whose state, treatment or tag changed, and open the next one."""
    model = model_of(space)
    moments = reals2(space, at.A_MOMENTS)
    facts = facts2(space, at.A_FACTS)
    attributes = reals2(space, at.A_ATTRIBUTES)
    integers = integers2(space, at.A_INTEGERS)
    lists = words2(space, at.A_LISTS)
    visit_reals = reals2(space, at.A_VISIT_REALS)
    visit_integers = integers2(space, at.A_VISIT_INTEGERS)
    control = integers1(space, at.A_CONTROL)
    size = model.size
    locals_ = size[at.SIZE_LOCAL]
    systemics = size[at.SIZE_SYSTEMIC]
    tags = size[at.SIZE_TAGS]
    state = model.nodes[node, at.NODE_STATE]
    filled = control[at.CONTROL_VISITS]
    treated = locals_ * systemics > 1
    for k in range(count):
        integers[at.SCRATCH, k] = state * locals_ * systemics * tags
    if treated:
        for k in range(count):
            p = lists[at.LIST, k]
            integers[at.SCRATCH, k] += (facts[p, at.LOCAL] * systemics + facts[p, at.SYSTEMIC]) * tags
    for tag in range(size[at.SIZE_TAG_ATTRIBUTES]):
        tagged = model.tags[tag, 0]
        top = model.tags[tag, 1] - 1
        stride = model.tags[tag, 2]
        for k in range(count):
            level = int(attributes[lists[at.LIST, k], tagged])
            integers[at.SCRATCH, k] += min(max(level, 0), top) * stride
    for k in range(count):
        p = lists[at.LIST, k]
        same = facts[p, at.VISIT_CELL] == integers[at.SCRATCH, k]
        if treated:
            same = same and (
                moments[p, at.VISIT_LOCAL_START] == moments[p, at.LOCAL_START]
                and moments[p, at.VISIT_SYSTEMIC_START] == moments[p, at.SYSTEMIC_START]
            )
        if not same:
            filled = _close_visit(p, treated, moments, facts, visit_reals, visit_integers, filled)
            facts[p, at.VISIT_CELL] = integers[at.SCRATCH, k]
            moments[p, at.VISIT_BEGAN] = moments[p, at.NOW]
            if treated:
                moments[p, at.VISIT_LOCAL_START] = moments[p, at.LOCAL_START]
                moments[p, at.VISIT_SYSTEMIC_START] = moments[p, at.SYSTEMIC_START]
    control[at.CONTROL_VISITS] = filled
    return at.OK


@inline
def _changed_first(facts, lists, count):
    """Put the listed patients for whom something changed first, otherwise in order; return how many they are."""
    changed = 0
    rest = 0
    for k in range(count):
        p = lists[at.LIST, k]
        if facts[p, at.CHANGED] != 0:
            lists[at.LIST, changed] = p
            changed += 1
        else:
            lists[at.GROUPED, rest] = p
            rest += 1
    for k in range(rest):
        lists[at.LIST, changed + k] = lists[at.GROUPED, k]
    return changed


@inline
def _not_a_number(reals, lists, count, control):
    """Note the first listed patient whose time is not a number."""
    for k in range(count):
        if reals[_LATENT, k] != reals[_LATENT, k]:
            control[at.CONTROL_ERROR_PATIENT] = np.int64(lists[at.LIST, k])
            break
    return at.ERROR_NAN


@part("i8(i8,i8,i8,i8,i8,u8,u8,u8,u8,f8)")
def _pass_time(space, draw, node, begins, count, patient0, luck, k0, k1, horizon):
    """Find what ends, or interrupts, the stay of each listed patient, and when.

    Leaves the local number of the edge in integers[SCRATCH, k] (the number of edges for the horizon) and moves the
    patients to that time. Returns a status.
    """
    model = model_of(space)
    reals = reals2(space, at.A_REALS)
    moments = reals2(space, at.A_MOMENTS)
    facts = facts2(space, at.A_FACTS)
    entries = counts2(space, at.A_ENTRIES)
    integers = integers2(space, at.A_INTEGERS)
    kept = reals2(space, at.A_KEPT)
    lists = words2(space, at.A_LISTS)
    control = integers1(space, at.A_CONTROL)
    size = model.size
    nodes = model.nodes
    attributes = reals2(space, at.A_ATTRIBUTES)
    can_stay = nodes[node, at.NODE_CAN_STAY] == 1
    first_transition = nodes[node, at.NODE_TRANSITION_FIRST]
    end_transition = nodes[node, at.NODE_TRANSITION_END]
    first_scheduled = nodes[node, at.NODE_SCHEDULED_FIRST]
    end_scheduled = nodes[node, at.NODE_SCHEDULED_END]
    edges = nodes[node, at.NODE_EDGE_END] - nodes[node, at.NODE_EDGE_FIRST]
    changed = count
    if begins == 0:
        changed = _changed_first(facts, lists, count)
    _open_visits(space, node, changed)
    if begins == 1:
        most = 0
        for k in range(count):
            p = lists[at.LIST, k]
            entry_number = np.int64(entries[node, p]) + 1
            entries[node, p] = entry_number
            most = max(most, entry_number)
            facts[p, at.STATE_NOW] = node
            moments[p, at.STAY_BEGAN] = moments[p, at.NOW]
        if most > at.MOST_ENTRIES:
            for k in range(count):
                if entries[node, lists[at.LIST, k]] > at.MOST_ENTRIES:
                    control[at.CONTROL_ERROR_PATIENT] = np.int64(lists[at.LIST, k])
            return at.ERROR_ENTRIES
        if can_stay:
            for k in range(count):
                facts[lists[at.LIST, k], at.FIRED] = -1
        firings = at.FACTS + size[at.SIZE_SCHEDULED]
        for event in range(first_scheduled, end_scheduled):
            for k in range(count):
                facts[lists[at.LIST, k], firings + event] = 0
    for k in range(count):
        p = lists[at.LIST, k]
        reals[_TIME, k] = moments[p, at.NOW]
        reals[_BEST, k] = horizon
        facts[p, at.FIRING] = 0
        reals[_CHOICE, k] = edges
    if begins == 1:
        _gather_addresses(entries, facts, lists, at.LIST, 0, count, node, patient0)
        bad = _fresh_times(space, draw, node, count, patient0, luck, k0, k1, horizon)
        if bad == 1:
            return _not_a_number(reals, lists, count, control)
    looks_back = begins == 0 or nodes[node, at.NODE_HAS_LIFE] == 1
    if looks_back:
        patient = _kept_times(space, draw, node, begins, changed, count, patient0, luck, k0, k1, horizon)
        if patient >= 0:
            control[at.CONTROL_ERROR_PATIENT] = patient
            return at.ERROR_FIRINGS
        if _choose_kept(model, draw, node, begins, 0, reals, moments, kept, lists, count, attributes, horizon) == 1:
            return _not_a_number(reals, lists, count, control)
    if end_scheduled > first_scheduled:
        bad = _scheduled_times(space, draw, node, begins, count, patient0, luck, k0, k1)
        if bad == 1:
            return _not_a_number(reals, lists, count, control)
    if looks_back and (
        _choose_kept(model, draw, node, begins, 1, reals, moments, kept, lists, count, attributes, horizon) == 1
    ):
        return _not_a_number(reals, lists, count, control)
    if can_stay and size[at.SIZE_LOCAL] * size[at.SIZE_SYSTEMIC] > 1:
        for k in range(changed):
            p = lists[at.LIST, k]
            if facts[p, at.CHANGED] & (at.CHANGED_LOCAL | at.CHANGED_SYSTEMIC) == 0:
                continue
            moments[p, at.SEEN_LOCAL_START] = moments[p, at.LOCAL_START]
            moments[p, at.SEEN_SYSTEMIC_START] = moments[p, at.SYSTEMIC_START]
            moments[p, at.SEEN_LOCAL_STOP] = moments[p, at.LOCAL_STOP]
            moments[p, at.SEEN_SYSTEMIC_STOP] = moments[p, at.SYSTEMIC_STOP]
            moments[p, at.SEEN_LOCAL_PREVIOUS_START] = moments[p, at.LOCAL_PREVIOUS_START]
            moments[p, at.SEEN_SYSTEMIC_PREVIOUS_START] = moments[p, at.SYSTEMIC_PREVIOUS_START]
            facts[p, at.SEEN_LOCAL] = facts[p, at.LOCAL]
            facts[p, at.SEEN_SYSTEMIC] = facts[p, at.SYSTEMIC]
            facts[p, at.SEEN_LOCAL_PREVIOUS] = facts[p, at.LOCAL_PREVIOUS]
            facts[p, at.SEEN_SYSTEMIC_PREVIOUS] = facts[p, at.SYSTEMIC_PREVIOUS]
    first_edge = nodes[node, at.NODE_EDGE_FIRST]
    transitions = end_transition - first_transition
    for k in range(count):
        p = lists[at.LIST, k]
        choice = int(reals[_CHOICE, k])
        integers[at.CHOICE, k] = choice
        facts[p, at.BEST] = first_edge + choice
        moments[p, at.NOW] = reals[_BEST, k]
    if size[at.SIZE_REPEATS] == 1:
        most_events = 0
        most_instants = 0
        for k in range(count):
            p = lists[at.LIST, k]
            events = facts[p, at.EVENTS] + (1 if integers[at.CHOICE, k] < edges else 0)
            instants = 0 if reals[_BEST, k] > reals[_TIME, k] else facts[p, at.INSTANTS] + 1
            facts[p, at.EVENTS] = events
            facts[p, at.INSTANTS] = instants
            most_events = max(most_events, events)
            most_instants = max(most_instants, instants)
        if most_events > at.MOST_EVENTS or most_instants > at.MOST_INSTANTS:
            for k in range(count):
                p = lists[at.LIST, k]
                if facts[p, at.EVENTS] > at.MOST_EVENTS or facts[p, at.INSTANTS] > at.MOST_INSTANTS:
                    control[at.CONTROL_ERROR_PATIENT] = np.int64(p)
            return at.ERROR_EVENTS if most_events > at.MOST_EVENTS else at.ERROR_INSTANTS
    if can_stay:
        for k in range(changed):
            facts[lists[at.LIST, k], at.CHANGED] = 0
    if can_stay or end_scheduled > first_scheduled:
        counters = at.FACTS
        for k in range(count):
            p = lists[at.LIST, k]
            choice = integers[at.CHOICE, k]
            if choice < transitions:
                if can_stay:
                    transition = first_transition + choice
                    place = model.transitions[transition, at.TRANSITION_STORE]
                    facts[p, at.FIRED] = place
                    facts[p, at.CHANGED] |= model.transitions[transition, at.TRANSITION_FIRES]
                    if model.transitions[transition, at.TRANSITION_LIFE] < 0:
                        record = size[at.SIZE_RECORDS] + at.KEPT * place
                        firings = kept[p, record + at.KEPT_FIRINGS]
                        facts[p, at.FIRING] = int(firings)
                        kept[p, record + at.KEPT_FIRINGS] = firings + 1.0
            elif choice < edges:
                event = first_scheduled + choice - transitions
                number = facts[p, counters + event]
                facts[p, counters + event] = number + 1
                facts[p, at.FIRED] = -1
                number = facts[p, counters + size[at.SIZE_SCHEDULED] + event]
                facts[p, counters + size[at.SIZE_SCHEDULED] + event] = number + 1
                facts[p, at.FIRING] = number
                if number >= at.MOST_FIRINGS and model.edges[first_edge + choice, at.EDGE_USES_LUCK] == 1:
                    control[at.CONTROL_ERROR_PATIENT] = np.int64(p)
                    return at.ERROR_FIRINGS
    return at.OK


@part("i8(i8,i8,i8,i8,u8,u8,u8,u8)")
def _take_chance(space, draw, node, count, patient0, luck, k0, k1):
    """Draw a branch for each listed patient: the first whose cumulative weight exceeds u x total; the last takes the rest."""
    model = model_of(space)
    reals = reals2(space, at.A_REALS)
    facts = facts2(space, at.A_FACTS)
    entries = counts2(space, at.A_ENTRIES)
    integers = integers2(space, at.A_INTEGERS)
    lists = words2(space, at.A_LISTS)
    control = integers1(space, at.A_CONTROL)
    nodes = model.nodes
    branches = nodes[node, at.NODE_EDGE_END] - nodes[node, at.NODE_EDGE_FIRST]
    purpose = np.uint64(nodes[node, at.NODE_PURPOSE])
    program = nodes[node, at.NODE_PROGRAM]
    filled = whole_vectors(count)
    if program >= 0:
        run_program(space, program, draw, at.LIST, 0, count, node, patient0, luck, k0, k1)
        # Turn weights into cumulative weights, in declared order.
        for k in range(filled):
            reals[_OTHER, k] = reals[at.REALS, k]
        for branch in range(1, branches):
            for k in range(filled):
                reals[_OTHER, k] = min(reals[_OTHER, k], reals[at.REALS + branch, k])
                reals[at.REALS + branch, k] = reals[at.REALS + branch - 1, k] + reals[at.REALS + branch, k]
        total = at.REALS + branches - 1
        for k in range(count):
            if not (reals[total, k] > 0.0 and reals[total, k] < np.inf and reals[_OTHER, k] >= 0.0):
                control[at.CONTROL_ERROR_PATIENT] = np.int64(lists[at.LIST, k])
                return at.ERROR_WEIGHTS
    _gather_addresses(entries, facts, lists, at.LIST, 0, count, node, patient0)
    for k in range(filled):
        reals[_WORK, k] = uniform(lists[at.ADDRESS_PATIENT, k], luck, purpose, lists[at.ADDRESS_OCCURRENCE, k], k0, k1)
        integers[at.CHOICE, k] = 0
    if program >= 0:
        total = at.REALS + branches - 1
        for k in range(filled):
            reals[_WORK, k] = reals[_WORK, k] * reals[total, k]
        for branch in range(branches - 1):
            for k in range(filled):
                if reals[_WORK, k] >= reals[at.REALS + branch, k]:
                    integers[at.CHOICE, k] = branch + 1
    else:
        weights = nodes[node, at.NODE_WEIGHTS]
        total_weight = model.numbers[draw, weights + branches - 1]
        for branch in range(branches - 1):
            cumulative_weight = model.numbers[draw, weights + branch]
            for k in range(filled):
                if reals[_WORK, k] * total_weight >= cumulative_weight:
                    integers[at.CHOICE, k] = branch + 1
    return at.OK


@part("i8(i8,i8,i8,i8,u8,u8,u8,u8)")
def _follow_edges(space, node, draw, count, patient0, luck, k0, k1):
    """Group the listed patients by integers[CHOICE, k] and carry out each edge for its group, in declared order.

    An edge acts in order: mark (with the old attributes), updates, treatment, destination.
    """
    model = model_of(space)
    groups = integers1(space, at.A_GROUPS)
    moments = reals2(space, at.A_MOMENTS)
    facts = facts2(space, at.A_FACTS)
    integers = integers2(space, at.A_INTEGERS)
    lists = words2(space, at.A_LISTS)
    queued = integers1(space, at.A_QUEUED)
    visit_reals = reals2(space, at.A_VISIT_REALS)
    visit_integers = integers2(space, at.A_VISIT_INTEGERS)
    mark_reals = reals1(space, at.A_MARK_REALS)
    mark_integers = integers2(space, at.A_MARK_INTEGERS)
    control = integers1(space, at.A_CONTROL)
    size = model.size
    nodes = model.nodes
    first_edge = nodes[node, at.NODE_EDGE_FIRST]
    edges = nodes[node, at.NODE_EDGE_END] - first_edge
    if edges <= 3:
        # Few groups: one branch-free pass for each is faster than counting.
        place = 0
        for edge in range(edges + 1):
            for k in range(count):
                lists[at.GROUPED, place] = lists[at.LIST, k]
                place += 1 if integers[at.CHOICE, k] == edge else 0
            groups[edge] = place
            if place == count:
                for rest in range(edge + 1, edges + 1):
                    groups[rest] = count
                break
    else:
        for edge in range(edges + 2):
            groups[edge] = 0
        for k in range(count):
            groups[integers[at.CHOICE, k] + 1] += 1
        for edge in range(edges + 1):
            groups[edge + 1] += groups[edge]
        for k in range(count):
            edge = integers[at.CHOICE, k]
            lists[at.GROUPED, groups[edge]] = lists[at.LIST, k]
            groups[edge] += 1
    # groups[e] is now the end of group e; group `edges` reached the horizon.
    treated = size[at.SIZE_LOCAL] * size[at.SIZE_SYSTEMIC] > 1
    begin = groups[edges - 1] if edges > 0 else 0
    visits = control[at.CONTROL_VISITS]
    for k in range(begin, count):
        p = lists[at.GROUPED, k]
        facts[p, at.BEST] = at.ENDED_BY_HORIZON
        visits = _close_visit(p, treated, moments, facts, visit_reals, visit_integers, visits)
    begin = 0
    for local_edge in range(edges):
        end = groups[local_edge]
        number = end - begin
        if number == 0:
            continue
        edge = first_edge + local_edge
        marks = control[at.CONTROL_MARKS]
        mark = model.edges[edge, at.EDGE_MARK]
        if mark >= 0:
            mark_integers[at.MARK_RUN_END, marks] = marks + number
            for k in range(number):
                p = lists[at.GROUPED, begin + k]
                mark_reals[marks + k] = moments[p, at.NOW]
                mark_integers[at.MARK_PATIENT, marks + k] = np.int64(p)
                mark_integers[at.MARK_NAME, marks + k] = mark
            marks += number
        program = model.edges[edge, at.EDGE_PROGRAM]
        if program >= 0:
            wrong = run_program(space, program, draw, at.GROUPED, begin, number, node, patient0, luck, k0, k1)
            if wrong >= 0:
                control[at.CONTROL_ERROR_PATIENT] = np.int64(lists[at.GROUPED, begin + wrong])
                return at.ERROR_NAN
            for k in range(number):
                facts[lists[at.GROUPED, begin + k], at.CHANGED] |= model.edges[edge, at.EDGE_CHANGES]
        for slot in range(2):
            treatment = model.edges[edge, at.EDGE_LOCAL + slot]
            if treatment < 0:
                continue
            restart = model.edges[edge, at.EDGE_RESTART] == 1
            for k in range(number):
                p = lists[at.GROUPED, begin + k]
                current = facts[p, at.LOCAL + slot]
                if current == treatment and not restart:
                    continue
                if current > 0:
                    facts[p, at.LOCAL_PREVIOUS + slot] = current
                    moments[p, at.LOCAL_PREVIOUS_START + slot] = moments[p, at.LOCAL_START + slot]
                    moments[p, at.LOCAL_STOP + slot] = moments[p, at.NOW]
                facts[p, at.LOCAL + slot] = treatment
                facts[p, at.CHANGED] |= at.CHANGED_LOCAL << slot
                if current != treatment:
                    # Counters belong to the treatment, also when one replaces another at one time.
                    for event in range(size[at.SIZE_SCHEDULED]):
                        if model.scheduled[event, at.SCHEDULED_ORIGIN] == at.CLOCK_LOCAL + slot:
                            moments[p, at.MOMENTS + event] = np.nan
                moments[p, at.LOCAL_START + slot] = moments[p, at.NOW]
        target = model.edges[edge, at.EDGE_DESTINATION]
        if target < 0:
            for k in range(number):
                p = lists[at.GROUPED, begin + k]
                queue = 2 * facts[p, at.STATE_NOW] + 1
                lists[at.LISTS + queue, queued[queue]] = p
                queued[queue] += 1
        elif nodes[target, at.NODE_KIND] == at.END:
            name = nodes[target, at.NODE_MARK]
            mark_integers[at.MARK_RUN_END, marks] = marks + number
            for k in range(number):
                p = lists[at.GROUPED, begin + k]
                mark_reals[marks + k] = moments[p, at.NOW]
                mark_integers[at.MARK_PATIENT, marks + k] = np.int64(p)
                mark_integers[at.MARK_NAME, marks + k] = name
                visits = _close_visit(p, treated, moments, facts, visit_reals, visit_integers, visits)
            marks += number
        else:
            queue = 2 * target
            place = queued[queue]
            for k in range(number):
                lists[at.LISTS + queue, place + k] = lists[at.GROUPED, begin + k]
            queued[queue] = place + number
        control[at.CONTROL_MARKS] = marks
        begin = end
    control[at.CONTROL_VISITS] = visits
    return at.OK


@inline
def _next_queue(queued, place, longest_first):
    """The queue to empty next, or -1 if all are empty: the longest, or the first one that waits from `place` on."""
    queues = queued.shape[0]
    if longest_first:
        most = np.int64(0)
        for queue in range(queues):
            most = max(most, queued[queue])
        queue = 0
        while most > 0 and queued[queue] < most:
            queue += 1
        return np.int64(queue) if most > 0 else np.int64(-1)
    for ahead in range(queues):
        queue = place + ahead if place + ahead < queues else place + ahead - queues
        if queued[queue] > 0:
            return np.int64(queue)
    return np.int64(-1)


@part("i8(i8,i8,f8,u8,u8,u8,u8)")
def advance(space, draw, horizon, patient0, luck, k0, k1):
    """Run a block until all its histories have ended (OK), a buffer may fill (BUFFER_FULL) or an error stops it.

    `patient0` is the first patient's number, `luck`, `k0` and `k1` address the random numbers. After BUFFER_FULL the caller
    empties the buffers (CONTROL_VISITS and CONTROL_MARKS say how much is in them) and calls again.
    """
    model = model_of(space)
    reals = reals2(space, at.A_REALS)
    facts = facts2(space, at.A_FACTS)
    entries = counts2(space, at.A_ENTRIES)
    integers = integers2(space, at.A_INTEGERS)
    lists = words2(space, at.A_LISTS)
    queued = integers1(space, at.A_QUEUED)
    visit_reals = reals2(space, at.A_VISIT_REALS)
    mark_reals = reals1(space, at.A_MARK_REALS)
    control = integers1(space, at.A_CONTROL)
    capacity = visit_reals.shape[1]
    mark_capacity = mark_reals.shape[0]
    longest_first = model.size[at.SIZE_LONGEST_FIRST] == 1
    while True:
        # After a full buffer it goes on with the very queue it stopped at, so the order never depends on the buffer.
        queue = _next_queue(queued, control[at.CONTROL_QUEUE], longest_first)
        if queue < 0:
            return at.OK
        control[at.CONTROL_QUEUE] = queue
        count = queued[queue]
        if control[at.CONTROL_VISITS] + 2 * count > capacity or control[at.CONTROL_MARKS] + 2 * count > mark_capacity:
            return at.BUFFER_FULL
        node = queue // 2
        staying = queue % 2
        for k in range(count):
            lists[at.LIST, k] = lists[at.LISTS + queue, k]
        queued[queue] = 0
        status = at.OK
        kind = model.nodes[node, at.NODE_KIND]
        if kind == at.STATE:
            status = _pass_time(space, draw, node, 1 - staying, count, patient0, luck, k0, k1, horizon)
        else:
            for k in range(count):
                p = lists[at.LIST, k]
                entries[node, p] += np.uint16(1)
                facts[p, at.INSTANTS] += 1
                facts[p, at.FIRING] = 0
                if entries[node, p] > at.MOST_ENTRIES or facts[p, at.INSTANTS] > at.MOST_INSTANTS:
                    control[at.CONTROL_ERROR_PATIENT] = np.int64(p)
                    status = at.ERROR_ENTRIES
                    if facts[p, at.INSTANTS] > at.MOST_INSTANTS:
                        status = at.ERROR_INSTANTS
            if status == at.OK:
                if kind == at.CHANCE:
                    status = _take_chance(space, draw, node, count, patient0, luck, k0, k1)
                else:
                    program = model.nodes[node, at.NODE_PROGRAM]
                    run_program(space, program, draw, at.LIST, 0, count, node, patient0, luck, k0, k1)
                    for k in range(count):
                        row = reals[at.REALS, k]
                        if row != row:
                            control[at.CONTROL_ERROR_PATIENT] = np.int64(lists[at.LIST, k])
                            status = at.ERROR_NAN
                        else:
                            integers[at.CHOICE, k] = int(row)
        if status != at.OK:
            control[at.CONTROL_ERROR_NODE] = node
            return status
        status = _follow_edges(space, node, draw, count, patient0, luck, k0, k1)
        if status != at.OK:
            control[at.CONTROL_ERROR_NODE] = node
            return status
        control[at.CONTROL_QUEUE] = queue + 1
