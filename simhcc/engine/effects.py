"""Treatment effects that change with time since start or stop, for one transition of one patient.

An effect multiplies the hazard (`rate`) and runs the transition's own clock at a `speed`, both piecewise constant. With
baseline cumulative hazard H, multiplier m, own time u and a piece that lasts dt, the transition consumes
m x rate x (H(u + speed x dt) - H(u)) of its threshold.
"""

from __future__ import annotations

import numpy as np

from simhcc.engine import layout as at
from simhcc.engine.compiled import inline
from simhcc.engine.hazards import cumulative, inverse


@inline
def active_effect(effect_of, transition, slot, current, previous, began, stopped, effects, draw):
    """Return (effect or -1, 1 if its steps after stopping apply) for one slot.

    `current` and `previous` are the slot's treatments (0: none); `began` and `stopped` are the start and the end of the
    previous one.
    """
    effect = np.int64(-1)
    off = np.int64(0)
    if current > 0:
        effect = effect_of[transition, slot, current]
        if effect >= 0 and effects[draw, effect, at.EFFECT_ON] == 0.0:
            effect = np.int64(-1)
    elif previous > 0:
        effect = effect_of[transition, slot, previous]
        off = np.int64(1)
        if effect >= 0 and (
            effects[draw, effect, at.EFFECT_OFF] == 0.0 or stopped - began < effects[draw, effect, at.EFFECT_DELAY]
        ):
            effect = np.int64(-1)
    return effect, off


@inline
def step_at(effects, draw, effect, off, origin, now):
    """Return (rate, speed, end) of the piece in force at `now`; `end` is infinite for the last piece."""
    rate = 1.0
    speed = 1.0
    end = np.inf
    if effect >= 0:
        count = int(effects[draw, effect, at.EFFECT_ON])
        place = at.EFFECT_STEPS
        if off == 1:
            place += 3 * count
            count = int(effects[draw, effect, at.EFFECT_OFF])
        for step in range(count):
            begins = origin + effects[draw, effect, place + 3 * step]
            if begins > now:
                end = begins
                break
            rate = effects[draw, effect, place + 3 * step + 1]
            speed = effects[draw, effect, place + 3 * step + 2]
    return rate, speed, end


@inline
def solve_under_effects(
    threshold, multiplier, now, own_time, local_effect, local_off, local_origin, systemic_effect, systemic_off,
    systemic_origin, effects, draw, family, p0, p1, cure, tables, offset, count, horizon,
):  # fmt: skip
    """Return the time at which the threshold is reached, infinite if it never is (or only after the horizon)."""
    time = now
    u = own_time
    left = threshold
    answer = np.inf
    while time < horizon:
        rate, speed, end = step_at(effects, draw, local_effect, local_off, local_origin, time)
        rate2, speed2, end2 = step_at(effects, draw, systemic_effect, systemic_off, systemic_origin, time)
        rate = multiplier * rate * rate2
        speed = speed * speed2
        end = min(end, end2)
        used = cumulative(family, p0, p1, cure, tables, offset, count, u)
        if end == np.inf:
            if rate > 0.0 and speed > 0.0:
                reached = inverse(family, p0, p1, cure, tables, offset, count, left / rate + used)
                answer = time + max(reached - u, 0.0) / speed
            break
        u_end = u + speed * (end - time)
        spent = rate * (cumulative(family, p0, p1, cure, tables, offset, count, u_end) - used)
        if spent >= left and rate > 0.0 and speed > 0.0:
            reached = inverse(family, p0, p1, cure, tables, offset, count, left / rate + used)
            answer = min(time + max(reached - u, 0.0) / speed, end)
            break
        left = left - spent
        u = u_end
        time = end
    return answer


@inline
def spend_under_effects(
    since, now, multiplier, own_time, local_effect, local_off, local_origin, systemic_effect, systemic_off,
    systemic_origin, effects, draw, family, p0, p1, cure, tables, offset, count,
):  # fmt: skip
    """Return (hazard consumed, own time reached) from `since` to `now`."""
    time = since
    u = own_time
    spent = 0.0
    while time < now:
        rate, speed, end = step_at(effects, draw, local_effect, local_off, local_origin, time)
        rate2, speed2, end2 = step_at(effects, draw, systemic_effect, systemic_off, systemic_origin, time)
        end = min(min(end, end2), now)
        u_end = u + speed * speed2 * (end - time)
        before = cumulative(family, p0, p1, cure, tables, offset, count, u)
        after = cumulative(family, p0, p1, cure, tables, offset, count, u_end)
        spent = spent + multiplier * rate * rate2 * (after - before)
        u = u_end
        time = end
    return spent, u


@inline
def next_scan(time, origin, scans, schedule, segments, numbers, draw):
    """Return the first scan at or after `time`; infinite before no scan is left.

    Scans are origin + start + k x period with an integer k, never a running sum.
    """
    answer = np.inf
    last = scans[schedule, at.SCAN_SEGMENT_END]
    for segment in range(scans[schedule, at.SCAN_SEGMENT_FIRST], last):
        start = numbers[draw, segments[segment, 0]]
        period = numbers[draw, segments[segment, 1]]
        limit = np.inf
        if segment + 1 < last:
            limit = origin + numbers[draw, segments[segment + 1, 0]]
        k = np.ceil((time - origin - start) / period)
        if k < 0.0:
            k = 0.0
        due = origin + start + k * period
        if due < time:
            due = origin + start + (k + 1.0) * period
        elif k > 0.0 and origin + start + (k - 1.0) * period >= time:
            due = origin + start + (k - 1.0) * period
        if due < limit:
            answer = due
            break
    return answer
