"""Histories -> life years, QALYs, costs, endpoint times and survival curves.

The kernel writes visits and marks; this module turns them into sums while they are still in the buffer, so memory does not
grow with patients or draws. Time is weighted by exact continuous discounting, (1 + annual rate) ** (-t / 12), integrated
over each visit: there are no cycles to correct. Sums are per leaf of 1,024 patients, leaves in order, so they are the
same bits for any number of threads and for any blocks of whole leaves.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simhcc.engine import kernel
from simhcc.engine import layout as at
from simhcc.engine.arithmetic import exp_
from simhcc.engine.compiled import inline, merged, part
from simhcc.engine.directory import (
    Spaces,
    counts2,
    counts4,
    directory,
    each_of,
    facts2,
    integers1,
    integers2,
    integers3,
    joined,
    reals1,
    reals2,
    reals3,
    reals4,
    words1,
    words2,
)
from simhcc.model import Rewards

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LANES = 4
"""Durations are added up in so many partial sums a leaf (patient modulo LANES), so that adding is not one long chain."""


_AT_ONCE = 128
"""visits that are turned into sums together, group of channels by group: their patients' sums stay in the caches meanwhile"""
# Rows of the workspace of reals while visits are turned into sums.
_AGE, _FACTOR, _CHANGES = at.TEMPORARY, at.TEMPORARY + 1, at.TEMPORARY + 2
PADDING = 40
"""places added to the rows of a block: at least the 32 of a whole vector loop, and no multiple of the places in many cache lines"""


# Places in the directory after those of the kernel: `Rewards`, `Plan`, the rest of `Work`, `Sums`, and the draws.
_KERNEL_WORK = 15
_REWARDS = at.ARRAYS
_PLAN = _REWARDS + 24
_WORK = _PLAN + 6
_SUMS = _WORK + 18
_STARTS, _IDS, _LUCKS, _FAILED = range(_SUMS + 7, _SUMS + 11)


# Columns of `Work.schedules` and of `Work.paid`.
_SCHEDULE_RATE, _SCHEDULE_PERIOD, _SCHEDULE_FIRST, _SCHEDULE_MOST, _SCHEDULE_LESS, _SCHEDULE_AMOUNT = range(6)
_PAID_RATE, _PAID_MONTHS, _PAID_AMOUNT = range(3)


class Sums(NamedTuple):
    """What a run of work items leaves: one row per leaf, counts per draw."""

    columns: Floats
    """(leaves, strategies, columns, 3): patients counted, sum, sum of squares"""
    pairs: Floats
    """(leaves, pairs, columns, 3): the same of each patient's difference"""
    crosses: Floats
    """(leaves, strategies + pairs, crosses): sums of products of two columns"""
    quantities: Floats
    """(leaves, strategies, terms): discounted months, administrations or marks"""
    endpoint_counts: Ints
    """(draws, strategies, endpoints, grid + 2): events by grid interval; the last counts those at risk at the origin"""
    occupancy: Ints
    """(strategies, states, grid + 2): change of the number of patients in a state at each grid time"""
    mark_counts: Floats
    """(leaves, strategies, marks, 2): sum and sum of squares of each patient's number of marks"""


class Plan(NamedTuple):
    """What is computed from the histories, beside the rewards."""

    landmarks: Floats
    """months at which an endpoint's survival is a column"""
    restrictions: Floats
    """months to which an endpoint's mean is restricted"""
    pairs: Ints
    """(pairs, 2): strategies whose difference first - second is kept"""
    crosses: Ints
    """(crosses, 2): columns whose product is kept"""
    step: Floats
    """(1,): months between grid times"""
    grid: Ints
    """(2,): number of grid times after 0; 1 if state occupancy is kept"""


class Work(NamedTuple):
    """Buffers of one thread, allocated once."""

    reals: Floats
    integers: Ints
    kept: Floats
    """(block, times and records of kept thresholds)"""
    lists: NDArray[np.uint64]
    queued: Ints
    groups: Ints
    visit_reals: Floats
    visit_integers: Ints
    mark_reals: Floats
    mark_integers: Ints
    control: Ints
    attributes: Floats
    """(block, attributes): an odd number of lines of the caches for each patient, so that not all patients share a few places"""
    moments: Floats
    """(block, moments and origins of scheduled events)"""
    facts: NDArray[np.int32]
    """(block, facts and counters of scheduled events)"""
    entries: NDArray[np.uint16]
    """(nodes, block): times a patient has entered a node, up to MOST_ENTRIES"""
    rates: Floats
    """(channels, slots) of the draw and strategy at hand"""
    months: Floats
    """(visits in the buffer,): of the group of channels at hand"""
    weights: Floats
    """(block, groups): discount factor at the end of the patient's last visit"""
    totals: Floats
    """(block, 3 x channels), as a visit adds to many of one patient: from rates, from administrations, from marks and
    deaths; apart, so that the order in which a patient's sums are added never depends on when a buffer was full"""
    ended: Floats
    """(block,): end of the history"""
    died: Ints
    """(block,)"""
    reached: Floats
    """(endpoints, block): time of the endpoint, infinite if it is not reached"""
    origins: Floats
    """(endpoints, block): time of the origin, infinite before it"""
    intervals: Floats
    """(intervals, block): until when an interval reward has been paid"""
    durations: Floats
    """(leaves x LANES, groups, slots)"""
    quantities: Floats
    """(leaves, terms)"""
    marked: NDArray[np.uint16]
    """(marks, block): times each mark was made; a life has at most MOST_EVENTS of them"""
    schedules: Floats
    """(administrations, 6): of the draw at hand, see `_SCHEDULE_*`"""
    paid: Floats
    """(rewards of marks, 3): of the draw at hand, see `_PAID_*`"""
    exponentials: Floats
    """(2, visits or marks in the buffer): discount factors at the beginning and the end of a visit; at a mark, and what it is
    worth"""
    values: Floats
    """(strategies, columns, block)"""
    slot_of: Ints
    """(cells,): slot of a cell that the block has met, -1 for others; of thousands of cells a block meets some dozens"""
    cell_of: Ints
    """(slots,)"""


@inline
def _rewards_of(space):  # type: ignore[no-untyped-def]
    """The rewards in the directory `space`."""
    return Rewards(
        reals2(space, _REWARDS), integers1(space, _REWARDS + 1), integers1(space, _REWARDS + 2),
        integers2(space, _REWARDS + 3), integers1(space, _REWARDS + 4), reals1(space, _REWARDS + 5),
        integers1(space, _REWARDS + 6),
        integers1(space, _REWARDS + 7), integers1(space, _REWARDS + 8), integers2(space, _REWARDS + 9),
        integers2(space, _REWARDS + 10), integers2(space, _REWARDS + 11), integers1(space, _REWARDS + 12),
        integers1(space, _REWARDS + 13), integers2(space, _REWARDS + 14), integers2(space, _REWARDS + 15),
        integers1(space, _REWARDS + 16), integers1(space, _REWARDS + 17), integers1(space, _REWARDS + 18),
        integers1(space, _REWARDS + 19), integers1(space, _REWARDS + 20), integers1(space, _REWARDS + 21),
        integers1(space, _REWARDS + 22), integers2(space, _REWARDS + 23),
    )  # fmt: skip


@inline
def _plan_of(space):  # type: ignore[no-untyped-def]
    """The plan in the directory."""
    return Plan(
        reals1(space, _PLAN), reals1(space, _PLAN + 1), integers2(space, _PLAN + 2), integers2(space, _PLAN + 3),
        reals1(space, _PLAN + 4), integers1(space, _PLAN + 5),
    )  # fmt: skip


@inline
def _work_of(space):  # type: ignore[no-untyped-def]
    """The buffers in the directory."""
    return Work(
        reals2(space, at.A_REALS), integers2(space, at.A_INTEGERS), reals2(space, at.A_KEPT),
        words2(space, at.A_LISTS), integers1(space, at.A_QUEUED), integers1(space, at.A_GROUPS),
        reals2(space, at.A_VISIT_REALS), integers2(space, at.A_VISIT_INTEGERS), reals1(space, at.A_MARK_REALS),
        integers2(space, at.A_MARK_INTEGERS), integers1(space, at.A_CONTROL), reals2(space, at.A_ATTRIBUTES),
        reals2(space, at.A_MOMENTS), facts2(space, at.A_FACTS), counts2(space, at.A_ENTRIES),
        reals2(space, _WORK), reals1(space, _WORK + 1), reals2(space, _WORK + 2), reals2(space, _WORK + 3),
        reals1(space, _WORK + 4), integers1(space, _WORK + 5), reals2(space, _WORK + 6), reals2(space, _WORK + 7),
        reals2(space, _WORK + 8), reals3(space, _WORK + 9), reals2(space, _WORK + 10), counts2(space, _WORK + 11),
        reals2(space, _WORK + 12), reals2(space, _WORK + 13), reals2(space, _WORK + 14),
        reals3(space, _WORK + 15), integers1(space, _WORK + 16), integers1(space, _WORK + 17),
    )  # fmt: skip


@inline
def _sums_of(space):  # type: ignore[no-untyped-def]
    """The results in the directory."""
    return Sums(
        reals4(space, _SUMS), reals4(space, _SUMS + 1), reals3(space, _SUMS + 2), reals3(space, _SUMS + 3),
        counts4(space, _SUMS + 4), integers3(space, _SUMS + 5), reals4(space, _SUMS + 6),
    )  # fmt: skip


@inline
def discounted_months(rate, entered, left):  # type: ignore[no-untyped-def]
    """Months from `entered` to `left`, each weighted by exp(-rate x t): (exp(-r a) - exp(-r b)) / r, exactly."""
    return left - entered if rate == 0.0 else (exp_(-rate * entered) - exp_(-rate * left)) / rate


@inline
def _banded_months(rewards, draw, group, rate, entered, left, age):  # type: ignore[no-untyped-def]
    """Discounted months with each part of the visit weighted by its age band's factor."""
    total = 0.0
    first = rewards.band_first[group]
    last = rewards.band_first[group + 1]
    begin = entered
    factor = 1.0
    for band in range(first, last):
        starts = rewards.numbers[draw, rewards.bands[band, 0]] - age
        if starts > begin:
            end = min(starts, left)
            total = total + factor * discounted_months(rate, begin, end)
            begin = end
        if begin >= left:
            break
        factor = rewards.numbers[draw, rewards.bands[band, 1]]
    if begin < left:
        total = total + factor * discounted_months(rate, begin, left)
    return total


@inline
def _weighted_months(rewards, draw, group, rate, entered, left, cohort, patient):  # type: ignore[no-untyped-def]
    """Months from `entered` to `left` of one patient, discounted and weighted by age band."""
    if rewards.band_first[group + 1] > rewards.band_first[group]:
        age = 12.0 * cohort[rewards.size[1], patient]
        return _banded_months(rewards, draw, group, rate, entered, left, age)
    return discounted_months(rate, entered, left)


@inline
def _administrations(rate, period, first, most, less, since, entered, left):  # type: ignore[no-untyped-def]
    """Discounted number of administrations due in [entered, left): a geometric series in closed form.

    They fall at since + first + k x period, k = 0, 1, ..., `most` - 1; `less` is 1 - exp(-rate x period).
    """
    begin = max(np.ceil((entered - since - first) / period), 0.0)
    end = min(np.ceil((left - since - first) / period), most)
    number = end - begin
    result = 0.0
    if number > 0.0:
        result = number
        if rate != 0.0:
            weight = exp_(-rate * (since + first + begin * period))
            result = weight * (1.0 - exp_(-rate * period * number)) / less
    return result


@inline
def _meet(rewards, draw, work, cell):  # type: ignore[no-untyped-def]
    """Give a cell the next slot, with its rates and nothing spent."""
    slot = work.control[at.CONTROL_SLOTS]
    work.control[at.CONTROL_SLOTS] = slot + 1
    work.slot_of[cell] = slot
    work.cell_of[slot] = cell
    for channel in range(rewards.channel_group.shape[0]):
        work.rates[channel, slot] = 0.0
    for row in range(rewards.cell_first[cell], rewards.cell_first[cell + 1]):
        term = rewards.cell_term[row]
        work.rates[rewards.terms[term, 0], slot] += rewards.numbers[draw, rewards.terms[term, 1]]
    for lane in range(work.durations.shape[0]):
        for group in range(rewards.discount.shape[0]):
            work.durations[lane, group, slot] = 0.0


@inline
def _numbers_of_draw(rewards, draw, work):  # type: ignore[no-untyped-def]
    """Lay the numbers of administrations and of rewards of marks side by side."""
    for row in range(rewards.administrations.shape[0]):
        term = rewards.administrations[row, 0]
        rate = rewards.numbers[draw, rewards.discount[rewards.channel_group[rewards.terms[term, 0]]]]
        period = rewards.numbers[draw, rewards.administrations[row, 1]]
        most = np.inf
        if rewards.administrations[row, 3] >= 0:
            most = rewards.numbers[draw, rewards.administrations[row, 3]]
        work.schedules[row, _SCHEDULE_RATE] = rate
        work.schedules[row, _SCHEDULE_PERIOD] = period
        work.schedules[row, _SCHEDULE_FIRST] = rewards.numbers[draw, rewards.administrations[row, 2]]
        work.schedules[row, _SCHEDULE_MOST] = most
        work.schedules[row, _SCHEDULE_LESS] = 1.0 - exp_(-rate * period)
        work.schedules[row, _SCHEDULE_AMOUNT] = rewards.numbers[draw, rewards.terms[term, 1]]
    for row in range(rewards.mark_rewards.shape[0]):
        term = rewards.mark_rewards[row, 0]
        months = rewards.mark_rewards[row, 1]
        group = rewards.channel_group[rewards.terms[term, 0]]
        work.paid[row, _PAID_RATE] = rewards.numbers[draw, rewards.discount[group]]
        work.paid[row, _PAID_MONTHS] = rewards.numbers[draw, months] if months >= 0 else 0.0
        work.paid[row, _PAID_AMOUNT] = rewards.numbers[draw, rewards.terms[term, 1]]


@merged
def _accrue(space, draw, first, strategy, begin, end):  # type: ignore[no-untyped-def]
    """Turn the visits `begin` to `end` of the buffer into sums."""
    rewards = _rewards_of(space)
    work = _work_of(space)
    plan = _plan_of(space)
    cohort = reals2(space, at.A_COHORT)
    occupancy = _sums_of(space).occupancy
    groups = rewards.discount.shape[0]
    channels = rewards.channel_group.shape[0]
    age_row = rewards.size[1]
    for i in range(begin, end):
        cell = work.visit_integers[at.VISIT_IN_CELL, i]
        if work.slot_of[cell] < 0:
            _meet(rewards, draw, work, cell)
        work.visit_integers[at.VISIT_SLOT, i] = work.slot_of[cell]
    for group in range(groups):
        one = -1
        other = -1
        for channel in range(channels):
            if rewards.channel_group[channel] == group and rewards.channel_rated[channel] == 1:
                if one < 0:
                    one = channel
                elif other < 0:
                    other = channel
        if one < 0:
            continue
        rate = rewards.numbers[draw, rewards.discount[group]]
        discounted = False
        if rewards.band_first[group + 1] > rewards.band_first[group]:
            if rate != 0.0:
                for i in range(begin, end):
                    work.exponentials[0, i] = exp_(-rate * work.visit_reals[at.VISIT_ENTERED, i])
                for i in range(begin, end):
                    work.exponentials[1, i] = exp_(-rate * work.visit_reals[at.VISIT_LEFT, i])
            for i in range(begin, end):
                work.reals[_AGE, i - begin] = 12.0 * cohort[age_row, first + work.visit_integers[at.VISIT_PATIENT, i]]
                work.reals[_FACTOR, i - begin] = 1.0
                work.reals[_CHANGES, i - begin] = 0.0
            for band in range(rewards.band_first[group], rewards.band_first[group + 1]):
                band_starts = rewards.numbers[draw, rewards.bands[band, 0]]
                band_factor = rewards.numbers[draw, rewards.bands[band, 1]]
                for i in range(begin, end):
                    starts = band_starts - work.reals[_AGE, i - begin]
                    entered = work.visit_reals[at.VISIT_ENTERED, i]
                    factor = work.reals[_FACTOR, i - begin]
                    changes = work.reals[_CHANGES, i - begin]
                    inside = (starts > entered) & (starts < work.visit_reals[at.VISIT_LEFT, i])
                    work.reals[_FACTOR, i - begin] = band_factor if starts <= entered else factor
                    work.reals[_CHANGES, i - begin] = 1.0 if inside else changes
            if rate == 0.0:
                for i in range(begin, end):
                    months = work.visit_reals[at.VISIT_LEFT, i] - work.visit_reals[at.VISIT_ENTERED, i]
                    work.months[i] = work.reals[_FACTOR, i - begin] * months
            else:
                for i in range(begin, end):
                    months = (work.exponentials[0, i] - work.exponentials[1, i]) / rate
                    work.months[i] = work.reals[_FACTOR, i - begin] * months
            # Most visits lie in one band, and were done many at a time.
            for i in range(begin, end):
                if work.reals[_CHANGES, i - begin] != 0.0:
                    work.months[i] = _banded_months(
                        rewards, draw, group, rate, work.visit_reals[at.VISIT_ENTERED, i],
                        work.visit_reals[at.VISIT_LEFT, i], work.reals[_AGE, i - begin],
                    )  # fmt: skip
        elif rate == 0.0:
            for i in range(begin, end):
                work.months[i] = work.visit_reals[at.VISIT_LEFT, i] - work.visit_reals[at.VISIT_ENTERED, i]
        else:
            # A visit begins where the patient's last one ended, so one exponential a visit is enough.
            discounted = True
            for i in range(begin, end):
                work.months[i] = exp_(-rate * work.visit_reals[at.VISIT_LEFT, i])
        scale = 1.0 / rate if discounted else 1.0
        # One pass over the visits for the durations and the group's first two channels: looking up is what takes time.
        for i in range(begin, end):
            p = np.uint64(work.visit_integers[at.VISIT_PATIENT, i])
            slot = np.uint64(work.visit_integers[at.VISIT_SLOT, i])
            months = work.months[i]
            if discounted:
                weight = months
                months = (work.weights[p, group] - weight) * scale
                work.weights[p, group] = weight
                work.months[i] = months
            place = (p >> np.uint64(10)) * np.uint64(LANES) + (p & np.uint64(LANES - 1))
            work.durations[place, group, slot] += months
            work.totals[p, one] += work.rates[one, slot] * months
            if other >= 0:
                work.totals[p, other] += work.rates[other, slot] * months
        for channel in range(other + 1, channels):
            if other >= 0 and rewards.channel_group[channel] == group and rewards.channel_rated[channel] == 1:
                for i in range(begin, end):
                    p = np.uint64(work.visit_integers[at.VISIT_PATIENT, i])
                    slot = np.uint64(work.visit_integers[at.VISIT_SLOT, i])
                    work.totals[p, channel] += work.rates[channel, slot] * work.months[i]
    if plan.grid[1] == 1:
        step = plan.step[0]
        top = float(plan.grid[0] + 1)
        for i in range(begin, end):
            state = rewards.cell_parts[work.visit_integers[at.VISIT_IN_CELL, i], 0]
            entered_at = int(min(np.ceil(work.visit_reals[at.VISIT_ENTERED, i] / step), top))
            left_at = int(min(np.ceil(work.visit_reals[at.VISIT_LEFT, i] / step), top))
            occupancy[strategy, state, entered_at] += 1
            occupancy[strategy, state, left_at] -= 1
    if rewards.administrations.shape[0] > 0:
        per_slot = (rewards.administration_first.shape[0] - 1) // 2
        tags = rewards.tag_sets.shape[1]
        for i in range(begin, end):
            p = work.visit_integers[at.VISIT_PATIENT, i]
            cell = work.visit_integers[at.VISIT_IN_CELL, i]
            for treated in range(2):
                place = treated * per_slot + rewards.cell_parts[cell, 1 + treated]
                due = 0.0
                for given in range(rewards.administration_first[place], rewards.administration_first[place + 1]):
                    if rewards.administrations[given, 7] == 0:
                        due = _administrations(
                            work.schedules[given, _SCHEDULE_RATE],
                            work.schedules[given, _SCHEDULE_PERIOD],
                            work.schedules[given, _SCHEDULE_FIRST],
                            work.schedules[given, _SCHEDULE_MOST],
                            work.schedules[given, _SCHEDULE_LESS],
                            work.visit_reals[at.VISIT_LOCAL_SINCE + treated, i],
                            work.visit_reals[at.VISIT_ENTERED, i],
                            work.visit_reals[at.VISIT_LEFT, i],
                        )
                    number = due
                    tag_set = rewards.administrations[given, 6]
                    if tag_set >= 0 and rewards.tag_sets[tag_set, cell % tags] == 0:
                        number = 0.0
                    if number > 0.0:
                        term = rewards.administrations[given, 0]
                        channel = rewards.terms[term, 0]
                        if rewards.administrations[given, 4] >= 0:
                            number = number * cohort[rewards.administrations[given, 4], first + p]
                        work.quantities[p >> 10, term] += number
                        work.totals[p, channels + channel] += work.schedules[given, _SCHEDULE_AMOUNT] * number


@merged
def _count_marks(space, draw, first, strategy, row, begin, end):  # type: ignore[no-untyped-def]
    """Turn the marks `begin` to `end` of the buffer into sums: the same mark of as many patients.

    No patient is among them twice, so each step is a loop over patients of whom none waits for another.
    """
    rewards = _rewards_of(space)
    work = _work_of(space)
    cohort = reals2(space, at.A_COHORT)
    mark_counts = _sums_of(space).mark_counts
    channels = rewards.channel_group.shape[0]
    mark = work.mark_integers[at.MARK_NAME, begin]
    for i in range(begin, end):
        p = np.uint64(work.mark_integers[at.MARK_PATIENT, i])
        before = work.marked[mark, p]
        work.marked[mark, p] = before + np.uint16(1)
        leaf = row + np.int64(p >> np.uint64(10))
        mark_counts[leaf, strategy, mark, 0] += 1.0
        # Squares of successive whole numbers lie 2 n + 1 apart; sums of whole numbers are exact in any order.
        mark_counts[leaf, strategy, mark, 1] += 2.0 * float(before) + 1.0
    if rewards.end_mark[mark] == 1:
        for i in range(begin, end):
            p = np.uint64(work.mark_integers[at.MARK_PATIENT, i])
            work.ended[p] = work.mark_reals[i]
            work.died[p] = 1
    # A mark may be an endpoint and start its clock: an event at the origin itself counts only if it came before.
    for entry in range(rewards.endpoint_first[mark], rewards.endpoint_first[mark + 1]):
        endpoint = rewards.endpoint_of[entry]
        for i in range(begin, end):
            p = np.uint64(work.mark_integers[at.MARK_PATIENT, i])
            time = work.mark_reals[i]
            reached = work.reached[endpoint, p]
            earlier = (time >= work.origins[endpoint, p]) & (time < reached)
            work.reached[endpoint, p] = time if earlier else reached
    for entry in range(rewards.origin_first[mark], rewards.origin_first[mark + 1]):
        endpoint = rewards.origin_of[entry]
        for i in range(begin, end):
            p = np.uint64(work.mark_integers[at.MARK_PATIENT, i])
            origin = work.origins[endpoint, p]
            work.origins[endpoint, p] = work.mark_reals[i] if origin == np.inf else origin
    weighted = np.int64(-1)
    for given in range(rewards.mark_first[mark], rewards.mark_first[mark + 1]):
        term = rewards.mark_rewards[given, 0]
        channel = rewards.terms[term, 0]
        group = rewards.channel_group[channel]
        rate = work.paid[given, _PAID_RATE]
        amount = work.paid[given, _PAID_AMOUNT]
        interval = rewards.mark_rewards[given, 3]
        by = rewards.mark_rewards[given, 2]
        if interval < 0:
            if group != weighted:
                for i in range(begin, end):
                    work.exponentials[0, i] = exp_(-rate * work.mark_reals[i])
                weighted = group
            for i in range(begin, end):
                work.exponentials[1, i] = work.exponentials[0, i]
        else:
            months = work.paid[given, _PAID_MONTHS]
            for i in range(begin, end):
                p = np.uint64(work.mark_integers[at.MARK_PATIENT, i])
                from_ = max(work.mark_reals[i], work.intervals[interval, p])
                until = work.mark_reals[i] + months
                number = 0.0
                if until > from_:
                    column = np.uint64(first) + p
                    number = _weighted_months(rewards, draw, group, rate, from_, until, cohort, column)
                    work.intervals[interval, p] = until
                work.exponentials[1, i] = number
        leaf = np.uint64(work.mark_integers[at.MARK_PATIENT, begin]) >> np.uint64(10)
        quantity = work.quantities[leaf, term]
        for i in range(begin, end):
            p = np.uint64(work.mark_integers[at.MARK_PATIENT, i])
            number = work.exponentials[1, i]
            if by >= 0:
                number = number * cohort[by, np.uint64(first) + p]
            if p >> np.uint64(10) != leaf:
                work.quantities[leaf, term] = quantity
                leaf = p >> np.uint64(10)
                quantity = work.quantities[leaf, term]
            quantity += number
            work.totals[p, 2 * channels + channel] += amount * number
        work.quantities[leaf, term] = quantity


@part("i8(i8,i8,i8,i8,i8)")
def absorb(space, draw, first, strategy, row):  # type: ignore[no-untyped-def]
    """Turn the visits and marks in the buffers into sums, and empty the buffers. `space` is the directory.

    `first` is the block's first column in the cohort, `row` its first leaf's row in the sums.
    """
    control = integers1(space, at.A_CONTROL)
    mark_integers = integers2(space, at.A_MARK_INTEGERS)
    visits = control[at.CONTROL_VISITS]
    begin = 0
    while begin < visits:
        end = min(begin + _AT_ONCE, visits)
        _accrue(space, draw, first, strategy, begin, end)
        begin = end
    begin = 0
    while begin < control[at.CONTROL_MARKS]:
        end = mark_integers[at.MARK_RUN_END, begin]
        _count_marks(space, draw, first, strategy, row, begin, end)
        begin = end
    control[at.CONTROL_VISITS] = 0
    control[at.CONTROL_MARKS] = 0
    return at.OK


@part("i8(i8,i8,i8,f8)")
def _begin(space, draw, count, horizon):  # type: ignore[no-untyped-def]
    """Empty the sums of a block."""
    model = kernel.model_of(space)
    rewards = _rewards_of(space)
    work = _work_of(space)
    channels = rewards.channel_group.shape[0]
    for k in range(count):
        for channel in range(3 * channels):
            work.totals[k, channel] = 0.0
    for slot in range(work.control[at.CONTROL_SLOTS]):
        work.slot_of[work.cell_of[slot]] = -1
    work.control[at.CONTROL_SLOTS] = 0
    leaves = (count + at.LEAF - 1) // at.LEAF
    for leaf in range(leaves):
        for term in range(rewards.terms.shape[0]):
            work.quantities[leaf, term] = 0.0
    for k in range(count):
        for group in range(rewards.discount.shape[0]):
            work.weights[k, group] = 1.0
    for k in range(count):
        work.ended[k] = horizon
        work.died[k] = 0
    for endpoint in range(rewards.has_origin.shape[0]):
        origin = np.inf if rewards.has_origin[endpoint] == 1 else 0.0
        for k in range(count):
            work.reached[endpoint, k] = np.inf
        for k in range(count):
            work.origins[endpoint, k] = origin
    for interval in range(rewards.size[0]):
        for k in range(count):
            work.intervals[interval, k] = 0.0
    for mark in range(model.size[at.SIZE_MARKS]):
        for k in range(count):
            work.marked[mark, k] = 0
    work.control[at.CONTROL_QUEUE] = 0
    work.control[at.CONTROL_VISITS] = 0
    work.control[at.CONTROL_MARKS] = 0
    return at.OK


@part("i8(i8,i8,i8,i8,i8,i8,i8,f8)")
def _finish(space, draw, first, count, strategy, row, counted, horizon):  # type: ignore[no-untyped-def]
    """After a strategy's histories have ended: intervals cut at the end of life, time to death, endpoints, columns."""
    model = kernel.model_of(space)
    rewards = _rewards_of(space)
    plan = _plan_of(space)
    work = _work_of(space)
    sums = _sums_of(space)
    cohort = reals2(space, at.A_COHORT)
    channels = rewards.channel_group.shape[0]
    for reward in range(rewards.mark_rewards.shape[0]):
        interval = rewards.mark_rewards[reward, 3]
        if interval < 0:
            continue
        term = rewards.mark_rewards[reward, 0]
        channel = rewards.terms[term, 0]
        group = rewards.channel_group[channel]
        rate = rewards.numbers[draw, rewards.discount[group]]
        beyond = 0
        for k in range(count):
            beyond += 1 if work.intervals[interval, k] > work.ended[k] else 0
        if beyond == 0:
            continue
        for k in range(count):
            ended = work.ended[k]
            if not work.intervals[interval, k] > ended:
                continue
            number = -_weighted_months(
                rewards, draw, group, rate, ended, work.intervals[interval, k], cohort, first + k
            )  # fmt: skip
            if rewards.mark_rewards[reward, 2] >= 0:
                number = number * cohort[rewards.mark_rewards[reward, 2], first + k]
            work.quantities[k >> 10, term] += number
            work.totals[k, 2 * channels + channel] += rewards.numbers[draw, rewards.terms[term, 1]] * number
    for reward in range(rewards.deaths.shape[0]):
        term = rewards.deaths[reward, 0]
        channel = rewards.terms[term, 0]
        rate = rewards.numbers[draw, rewards.discount[rewards.channel_group[channel]]]
        start = rewards.numbers[draw, rewards.deaths[reward, 1]]
        stop = rewards.numbers[draw, rewards.deaths[reward, 2]]
        for k in range(count):
            if work.died[k] == 1:
                begin = max(work.ended[k] - stop, 0.0)
                end = max(work.ended[k] - start, 0.0)
                if end > begin:
                    number = _weighted_months(
                        rewards, draw, rewards.channel_group[channel], rate, begin, end, cohort, first + k
                    )
                    work.quantities[k >> 10, term] += number
                    work.totals[k, 2 * channels + channel] += rewards.numbers[draw, rewards.terms[term, 1]] * number
    channels = rewards.channel_group.shape[0]
    for k in range(count):
        for channel in range(channels):
            total = (
                work.totals[k, channel] + work.totals[k, channels + channel] + work.totals[k, 2 * channels + channel]
            )
            work.values[strategy, channel, k] = total * rewards.channel_scale[channel]
    column = channels
    grid = plan.grid[0]
    step = plan.step[0]
    times = work.reals[at.TEMPORARY]
    places = work.reals[at.TEMPORARY + 1]
    for endpoint in range(rewards.has_origin.shape[0]):
        for k in range(count):
            origin = work.origins[endpoint, k]
            times[k] = work.reached[endpoint, k] - origin if origin < np.inf else np.nan
        for k in range(count):
            work.reached[endpoint, k] = times[k]
        if grid > 0:
            at_risk = 0
            for k in range(count):
                places[k] = np.ceil(times[k] / step)
                at_risk += 1 if times[k] == times[k] else 0
            for k in range(count):
                # A time that is not a number, because its origin never came, is not counted.
                if places[k] <= grid:
                    sums.endpoint_counts[counted, strategy, endpoint, int(places[k])] += 1
            sums.endpoint_counts[counted, strategy, endpoint, grid + 1] += at_risk
        for landmark in plan.landmarks:
            for k in range(count):
                time = times[k]
                alive = 1.0 if time > landmark else 0.0
                work.values[strategy, column, k] = alive if time == time else time
            column += 1
        for restriction in plan.restrictions:
            for k in range(count):
                time = times[k]
                work.values[strategy, column, k] = min(time, restriction) if time == time else time
            column += 1
    leaves = (count + at.LEAF - 1) // at.LEAF
    for leaf in range(leaves):
        begin_lane = leaf * LANES
        for cell in range(model.size[at.SIZE_CELLS]):
            slot = work.slot_of[cell]
            if slot < 0:
                continue
            for place in range(rewards.cell_first[cell], rewards.cell_first[cell + 1]):
                term = rewards.cell_term[place]
                group = rewards.channel_group[rewards.terms[term, 0]]
                for lane in range(begin_lane, begin_lane + LANES):
                    work.quantities[leaf, term] += work.durations[lane, group, slot]
        for term in range(rewards.terms.shape[0]):
            sums.quantities[row + leaf, strategy, term] = work.quantities[leaf, term]
    return at.OK


@inline
def _sum_leaf(values, one, other, column, begin, end):  # type: ignore[no-untyped-def]
    """(count, sum, sum of squares) over a leaf of values[one] - values[other], or of values[one] if `other` < 0.

    Four partial sums, each patient's place in the leaf deciding which, are added in order: fixed by the leaf
    alone. Patients whose value is
    NaN (the origin of an endpoint never came) are not counted.
    """
    s0 = s1 = s2 = s3 = 0.0
    q0 = q1 = q2 = q3 = 0.0
    missing = 0
    full = begin + (end - begin) // 4 * 4
    for k in range(begin, full, 4):
        x0 = values[one, column, k]
        x1 = values[one, column, k + 1]
        x2 = values[one, column, k + 2]
        x3 = values[one, column, k + 3]
        if other >= 0:
            x0 = x0 - values[other, column, k]
            x1 = x1 - values[other, column, k + 1]
            x2 = x2 - values[other, column, k + 2]
            x3 = x3 - values[other, column, k + 3]
        if not (x0 + x1 + x2 + x3 == x0 + x1 + x2 + x3):  # noqa: SIM201
            missing += int(x0 != x0) + int(x1 != x1) + int(x2 != x2) + int(x3 != x3)
            x0 = x0 if x0 == x0 else 0.0
            x1 = x1 if x1 == x1 else 0.0
            x2 = x2 if x2 == x2 else 0.0
            x3 = x3 if x3 == x3 else 0.0
        s0 += x0
        s1 += x1
        s2 += x2
        s3 += x3
        q0 += x0 * x0
        q1 += x1 * x1
        q2 += x2 * x2
        q3 += x3 * x3
    for k in range(full, end):
        x0 = values[one, column, k]
        if other >= 0:
            x0 = x0 - values[other, column, k]
        if x0 == x0:
            s0 += x0
            q0 += x0 * x0
        else:
            missing += 1
    return float(end - begin - missing), ((s0 + s1) + s2) + s3, ((q0 + q1) + q2) + q3


@inline
def _cross_leaf(values, one, other, first, second, begin, end):  # type: ignore[no-untyped-def]
    """Sum over a leaf of the product of two columns (of the difference of two strategies if `other` >= 0)."""
    total = 0.0
    for k in range(begin, end):
        x = values[one, first, k]
        y = values[one, second, k]
        if other >= 0:
            x = x - values[other, first, k]
            y = y - values[other, second, k]
        total += x * y
    return total


@part("i8(i8,i8,i8,i8,i8)")
def _reduce(space, strategies, columns, count, row):  # type: ignore[no-untyped-def]
    """Sum the columns of all strategies, and of their paired differences, leaf by leaf."""
    plan = _plan_of(space)
    work = _work_of(space)
    sums = _sums_of(space)
    leaves = (count + at.LEAF - 1) // at.LEAF
    for leaf in range(leaves):
        begin = leaf * at.LEAF
        end = min(begin + at.LEAF, count)
        for strategy in range(strategies):
            for column in range(columns):
                number, total, squares = _sum_leaf(work.values, strategy, -1, column, begin, end)
                sums.columns[row + leaf, strategy, column, 0] = number
                sums.columns[row + leaf, strategy, column, 1] = total
                sums.columns[row + leaf, strategy, column, 2] = squares
            for cross in range(plan.crosses.shape[0]):
                sums.crosses[row + leaf, strategy, cross] = _cross_leaf(
                    work.values, strategy, -1, plan.crosses[cross, 0], plan.crosses[cross, 1], begin, end
                )
        for pair in range(plan.pairs.shape[0]):
            one = plan.pairs[pair, 0]
            other = plan.pairs[pair, 1]
            for column in range(columns):
                number, total, squares = _sum_leaf(work.values, one, other, column, begin, end)
                sums.pairs[row + leaf, pair, column, 0] = number
                sums.pairs[row + leaf, pair, column, 1] = total
                sums.pairs[row + leaf, pair, column, 2] = squares
            for cross in range(plan.crosses.shape[0]):
                sums.crosses[row + leaf, strategies + pair, cross] = _cross_leaf(
                    work.values, one, other, plan.crosses[cross, 0], plan.crosses[cross, 1], begin, end
                )
    return at.OK


@part("i8(i8,i8,u8,u8,f8,i8,i8,i8,i8,i8)")
def run_items(together, strategies, k0, k1, horizon, patients, block, first_item, last_item, first_draw):  # type: ignore[no-untyped-def]
    """Run the work items `first_item` to `last_item`, all strategies in each; return a status.

    `together` stands for the spaces of the strategies. Item i is block i % blocks of draw
    i // blocks. Row 0 of `Sums` is the first leaf of the first item and draw `first_draw` its first draw. On an error
    `failed` holds draw, strategy, patient and node.
    """
    spaces = each_of(together, 0)
    space = spaces[0]
    rewards = _rewards_of(space)
    plan = _plan_of(space)
    work = _work_of(space)
    control = integers1(space, at.A_CONTROL)
    starts = integers1(space, _STARTS)
    ids = words1(space, _IDS)
    lucks = words1(space, _LUCKS)
    failed = integers1(space, _FAILED)
    blocks = (patients + block - 1) // block
    leaves_in_block = block // at.LEAF if block >= at.LEAF else 1
    leaves_in_draw = (patients + at.LEAF - 1) // at.LEAF
    columns = rewards.channel_group.shape[0] + rewards.has_origin.shape[0] * (
        plan.landmarks.shape[0] + plan.restrictions.shape[0]
    )
    first_leaf = (first_item // blocks) * leaves_in_draw + (first_item % blocks) * leaves_in_block
    for item in range(first_item, last_item):
        draw = item // blocks
        part = item % blocks
        begin = part * block
        count = min(block, patients - begin)
        row = draw * leaves_in_draw + part * leaves_in_block - first_leaf
        first = starts[draw] + begin
        patient0 = ids[draw] + np.uint64(begin)
        _numbers_of_draw(rewards, draw, work)
        for strategy in range(strategies):
            space = spaces[strategy]
            _begin(space, draw, count, horizon)
            kernel.begin_block(space, first, count)
            status = at.BUFFER_FULL
            while status == at.BUFFER_FULL:
                status = kernel.advance(space, draw, horizon, patient0, lucks[draw], k0, k1)
                absorb(space, draw, first, strategy, row)
            if status != at.OK:
                failed[0] = draw
                failed[1] = strategy
                failed[2] = np.int64(patient0) + control[at.CONTROL_ERROR_PATIENT]
                failed[3] = control[at.CONTROL_ERROR_NODE]
                return status
            _finish(space, draw, first, count, strategy, row, draw - first_draw, horizon)
        _reduce(spaces[0], strategies, columns, count, row)
    return at.OK


class Patients(NamedTuple):
    """Who is simulated."""

    cohort: Floats
    """(attributes that the cohort brings, patients)"""
    column: Ints
    """(attributes,): row in `cohort`, -1 where all patients start at `initial`"""
    initial: Floats
    """(attributes,)"""
    starts: Ints
    """(draws,): first column of the draw's patients"""
    ids: NDArray[np.uint64]
    """(draws,): number of that patient"""
    lucks: NDArray[np.uint64]
    """(draws,)"""


def model_directories(models: at.Model) -> list[Any]:
    """The part of the directory that holds the model, for each strategy of the stacked `models`."""
    return [directory([field[strategy] for field in models]) for strategy in range(len(models.size))]


def spaces_of(
    models: list[Any], rewards: Rewards, plan: Plan, patients: Patients, work: Work, sums: Sums, failed: Ints
) -> Spaces:
    """The directories of the strategies' arrays, `models` those of their models. The caller keeps all arrays alive."""
    rest = [
        *work[:_KERNEL_WORK], *patients[:3], *rewards, *plan, *work[_KERNEL_WORK:], *sums, *patients[3:], failed,
    ]  # fmt: skip
    return joined(models, directory(rest))


def stack(models: list[at.Model]) -> at.Model:
    """Models of a comparison with a leading axis of strategies, padded to one shape."""
    fields = []
    for name in at.Model._fields:
        arrays: list[NDArray[Any]] = [getattr(model, name) for model in models]
        shape = tuple(max(array.shape[axis] for array in arrays) for axis in range(arrays[0].ndim))
        stacked = np.zeros((len(arrays), *(max(length, 1) for length in shape)), dtype=arrays[0].dtype)
        for position, array in enumerate(arrays):
            stacked[position][tuple(slice(length) for length in array.shape)] = array
        fields.append(stacked)
    return at.Model(*fields)


def _in_cache_lines(rows: int, columns: int) -> Floats:
    """Zeros whose rows start with a line of the processor's caches; `columns` is a multiple of eight."""
    memory = np.zeros(8 * (rows * columns + 8), dtype=np.uint8)
    begin = -memory.ctypes.data % 64
    return memory[begin : begin + 8 * rows * columns].view(np.float64).reshape(rows, columns)


def _odd_lines(places: int) -> int:
    """Places of at least so many numbers that fill an odd number of lines: patients then do not share a few of the caches."""
    return 8 * (-(-places // 8) | 1)


def allocate(models: at.Model, rewards: Rewards, plan: Plan, block: int) -> Work:
    """Buffers of one thread for blocks of up to `block` patients. `models` are stacked."""
    size = models.size.max(axis=0)
    strategies = models.size.shape[0]
    nodes, store, scheduled = (int(size[i]) for i in (at.SIZE_NODES, at.SIZE_STORE, at.SIZE_SCHEDULED))
    registers, attributes = int(size[at.SIZE_REGISTERS]), int(size[at.SIZE_ATTRIBUTES])
    marks, cells = int(size[at.SIZE_MARKS]), int(size[at.SIZE_CELLS])
    channels = rewards.channel_group.shape[0]
    endpoints = rewards.has_origin.shape[0]
    groups = rewards.discount.shape[0]
    columns = channels + endpoints * (plan.landmarks.shape[0] + plan.restrictions.shape[0])
    leaves = -(-block // at.LEAF)
    edges = int((models.nodes[:, :, at.NODE_EDGE_END] - models.nodes[:, :, at.NODE_EDGE_FIRST]).max())
    # Rows of a power of two of bytes would all fall into the same few lines of the processor's caches.
    width = block + PADDING
    buffer = 2 * block + PADDING
    return Work(
        reals=np.zeros((at.REALS + registers, width)),
        integers=np.zeros((at.INTEGERS, width), dtype=np.int64),
        kept=_in_cache_lines(width, int(size[at.SIZE_RECORDS]) + at.KEPT * store),
        lists=np.zeros((at.LISTS + 2 * nodes, width), dtype=np.uint64),
        queued=np.zeros(2 * nodes, dtype=np.int64),
        groups=np.zeros(edges + 2, dtype=np.int64),
        visit_reals=np.zeros((4, buffer)),
        visit_integers=np.zeros((4, buffer), dtype=np.int64),
        mark_reals=np.zeros(buffer),
        mark_integers=np.zeros((3, buffer), dtype=np.int64),
        control=np.zeros(at.CONTROLS, dtype=np.int64),
        attributes=_in_cache_lines(width, _odd_lines(attributes)),
        moments=_in_cache_lines(width, _odd_lines(at.MOMENTS + scheduled)),
        facts=_in_cache_lines(width, _odd_lines(-(-(at.FACTS + 2 * scheduled) // 2))).view(np.int32),
        entries=np.zeros((nodes, width), dtype=np.uint16),
        rates=np.zeros((max(channels, 1), cells)),
        months=np.zeros(buffer),
        weights=np.zeros((width, max(groups, 1))),
        totals=np.zeros((width, 3 * max(channels, 1))),
        ended=np.zeros(width),
        died=np.zeros(width, dtype=np.int64),
        reached=np.zeros((max(endpoints, 1), width)),
        origins=np.zeros((max(endpoints, 1), width)),
        intervals=np.zeros((max(int(rewards.size[0]), 1), width)),
        durations=np.zeros((leaves * LANES, max(groups, 1), cells)),
        quantities=np.zeros((leaves, max(rewards.terms.shape[0], 1))),
        marked=np.zeros((max(marks, 1), width), dtype=np.uint16),
        schedules=np.zeros((max(rewards.administrations.shape[0], 1), 6)),
        paid=np.zeros((max(rewards.mark_rewards.shape[0], 1), 3)),
        exponentials=np.zeros((2, buffer)),
        values=np.zeros((strategies, max(columns, 1), width)),
        slot_of=np.full(cells, -1, dtype=np.int64),
        cell_of=np.zeros(cells, dtype=np.int64),
    )
