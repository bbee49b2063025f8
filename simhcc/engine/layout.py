"""The flat arrays that the kernel runs: what each array holds and what each of its columns means.

`model.build` fills them from a pathway, the only place where names become positions. Integers are int64, numbers float64,
all C-contiguous, so that every model has the same machine types and the kernel is compiled once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Model(NamedTuple):
    """One strategy on one pathway, with numbers for one or more parameter draws."""

    nodes: Ints
    """(nodes, NODE_COLUMNS)"""
    transitions: Ints
    """(transitions, TRANSITION_COLUMNS), in the order of their states and of declaration"""
    hazards: Ints
    """(hazards, HAZARD_COLUMNS)"""
    scheduled: Ints
    """(scheduled events, SCHEDULED_COLUMNS)"""
    edges: Ints
    """(edges, EDGE_COLUMNS); the edges of a node are contiguous"""
    scans: Ints
    """(scan schedules, SCAN_COLUMNS)"""
    segments: Ints
    """(segments of all scan schedules, 2): numbers that hold start and period"""
    effect_of: Ints
    """(transitions, 2 slots, treatments): effect, or -1"""
    code: Ints
    """(instructions, 5): operation, destination register, three operands"""
    programs: Ints
    """(programs + 1,): first instruction of each program"""
    tags: Ints
    """(tag attributes, 3): attribute, levels, stride"""
    size: Ints
    """(SIZES,): see the constants SIZE_*"""
    numbers: Floats
    """(draws, numbers)"""
    tables: Floats
    """all tabulated hazards, one after another"""
    effects: Floats
    """(draws, effects, EFFECT_WIDTH): see `EFFECT_*`"""


# Places of the arrays in the directory of a run: first the fields of `Model`, then what the kernel works with, the patients,
# and what `outcomes` reads and writes.
(
    A_NODES,
    A_TRANSITIONS,
    A_HAZARDS,
    A_SCHEDULED,
    A_EDGES,
    A_SCANS,
    A_SEGMENTS,
    A_EFFECT_OF,
    A_CODE,
    A_PROGRAMS,
    A_TAGS,
    A_SIZE,
    A_NUMBERS,
    A_TABLES,
    A_EFFECTS,
) = range(15)
(
    A_REALS,
    A_INTEGERS,
    A_KEPT,
    A_LISTS,
    A_QUEUED,
    A_GROUPS,
    A_VISIT_REALS,
    A_VISIT_INTEGERS,
    A_MARK_REALS,
    A_MARK_INTEGERS,
    A_CONTROL,
    A_ATTRIBUTES,
    A_MOMENTS,
    A_FACTS,
    A_ENTRIES,
) = range(15, 30)
A_COHORT, A_COLUMN, A_INITIAL = range(30, 33)
ARRAYS = 33
"""arrays that the kernel needs"""

# Kinds of node.
STATE, CHANCE, DECISION, END = 0, 1, 2, 3

# Columns of `nodes`. Transitions, scheduled events and edges are half-open ranges.
NODE_KIND = 0
NODE_TRANSITION_FIRST = 1
NODE_TRANSITION_END = 2
NODE_SCHEDULED_FIRST = 3
NODE_SCHEDULED_END = 4
NODE_EDGE_FIRST = 5
NODE_EDGE_END = 6
NODE_PROGRAM = 7
"""chance: leaves the weights in registers 0, 1, ...; decision: leaves the row's number in register 0; -1: constants"""
NODE_PURPOSE = 8
NODE_CAN_STAY = 9
NODE_STATE = 10
"""position among the states, -1 for other nodes"""
NODE_MARK = 11
"""mark made by entering an end, else -1"""
NODE_WEIGHTS = 12
"""chance with constant weights: number of the first branch's cumulative weight"""
NODE_HAS_LIFE = 13
"""1 for a state with a threshold for life"""
NODE_COLUMNS = 14

# Columns of `transitions`.
TRANSITION_HAZARD = 0
TRANSITION_STRATA = 1
TRANSITION_STRATA_ATTRIBUTE = 2
TRANSITION_CLOCK = 3
TRANSITION_PROGRAM = 4
"""leaves the log multiplier in register 0; -1: the multiplier is a constant"""
TRANSITION_MULTIPLIER = 5
"""number that holds the constant multiplier, -1: one"""
TRANSITION_EDGE = 6
TRANSITION_SCAN = 7
TRANSITION_LIFE = 8
TRANSITION_PURPOSE = 9
TRANSITION_HAS_EFFECT = 10
TRANSITION_STORE = 11
"""place of its threshold among those kept for a patient"""
TRANSITION_TIMED = 12
"""1 if the multiplier depends on time itself, so that it must be looked at whenever a stay goes on"""
TRANSITION_DEPENDS = 13
"""changes (CHANGED_*) after which its time may be another one"""
TRANSITION_FIRES = 14
"""the change that its own firing is"""
TRANSITION_ATTRIBUTE = 15
"""the attribute that is the log multiplier, as that is, else -1"""
TRANSITION_COLUMNS = 16

# Columns of `hazards`.
HAZARD_FAMILY = 0
HAZARD_P0 = 1
HAZARD_P1 = 2
HAZARD_CURE = 3
HAZARD_TABLE = 4
HAZARD_TABLE_STRIDE = 5
"""distance between the tables of two draws; 0 when all draws share one"""
HAZARD_TABLE_COUNT = 6
HAZARD_COLUMNS = 7

# Columns of `scheduled`.
SCHEDULED_FIRST = 0
SCHEDULED_FIRST_PROGRAM = 1
SCHEDULED_PERIOD = 2
"""number that holds the period; -1: the event happens once; REARMED: whenever the time comes that is set"""
SCHEDULED_ORIGIN = 3
SCHEDULED_WHEN_PROGRAM = 4
SCHEDULED_EDGE = 5
SCHEDULED_FIRST_ATTRIBUTE = 6
"""the attribute that is the first time, as that is, else -1"""
SCHEDULED_COLUMNS = 7
REARMED = -2

# Columns of `edges`. A slot of -1 keeps what it holds; a destination of -1 returns to the running stay.
EDGE_MARK = 0
EDGE_PROGRAM = 1
EDGE_LOCAL = 2
EDGE_SYSTEMIC = 3
EDGE_RESTART = 4
EDGE_DESTINATION = 5
EDGE_USES_LUCK = 6
EDGE_CHANGES = 7
"""changes (CHANGED_*) that its updates are"""
EDGE_COLUMNS = 8

# Columns of `scans`. The origin is a clock, or ORIGIN_ATTRIBUTE + an attribute.
SCAN_ORIGIN = 0
SCAN_SEGMENT_FIRST = 1
SCAN_SEGMENT_END = 2
SCAN_COLUMNS = 3
ORIGIN_ATTRIBUTE = 100

# Clocks, as `graph.Clock`.
CLOCK_STATE, CLOCK_MODEL, CLOCK_LOCAL, CLOCK_SYSTEMIC, CLOCK_AGE = 0, 1, 2, 3, 4

# Positions in `size`.
SIZE_NODES = 0
SIZE_ATTRIBUTES = 1
SIZE_START = 2
SIZE_LOCAL = 3
SIZE_SYSTEMIC = 4
SIZE_TAGS = 5
SIZE_STORE = 6
"""thresholds kept for a patient: the most that a state has, and those for life after them"""
SIZE_LIFE = 7
SIZE_REGISTERS = 8
SIZE_AGE_ATTRIBUTE = 9
SIZE_SCHEDULED = 10
SIZE_STATES = 11
SIZE_CELLS = 12
"""states x local x systemic x tags"""
SIZE_MARKS = 13
SIZE_TAG_ATTRIBUTES = 14
SIZE_REPEATS = 15
"""1 if a node can be entered twice or a stay interrupted; else a life has fewer events than nodes and nothing is counted"""
SIZE_RECORDS = 16
"""place of the first record in a patient's row of kept thresholds, after the times"""
SIZE_LONGEST_FIRST = 17
"""1 if the longest queue is emptied first, which makes lists longer; else queues are emptied in the order of the nodes, so
that the order of two patients, and with it the last bits of sums over visits, never depends on who else is in the block"""
SIZES = 18

# An effect: numbers of steps while on treatment and after stopping, the delay that must have passed for the second to
# apply, then (month, rate, speed) for each step of the first and of the second.
EFFECT_ON = 0
EFFECT_OFF = 1
EFFECT_DELAY = 2
EFFECT_STEPS = 3

# Limits (design: "Semantics, pinned down", rule 11).
MOST_INSTANTS = 64
MOST_EVENTS = 10_000
MOST_ENTRIES = 4_096
MOST_FIRINGS = 256
LARGEST_LOG_MULTIPLIER = 700.0

# What stops a run.
OK = 0
BUFFER_FULL = 1
ERROR_INSTANTS = 2
ERROR_EVENTS = 3
ERROR_ENTRIES = 4
ERROR_FIRINGS = 5
ERROR_NAN = 6
ERROR_WEIGHTS = 7

ERROR_WORDS = {
    ERROR_INSTANTS: f"passed more than {MOST_INSTANTS} instant nodes at one time",
    ERROR_EVENTS: f"had more than {MOST_EVENTS} events",
    ERROR_ENTRIES: f"entered one node more than {MOST_ENTRIES} times",
    ERROR_FIRINGS: f"had one event {MOST_FIRINGS} times within a stay, and more cannot be addressed",
    ERROR_NAN: "met a value that is not a number",
    ERROR_WEIGHTS: "met chances that are negative, infinite, not numbers, or all zero",
}

# Operations of programs. Suffix _N: the last operand is a number instead of a register; prefix N_: the first is. A select
# with _NN chooses between two numbers, with _N a number or else a register, with _OR_N a register or else a number.
(
    LOAD_NUMBER,
    LOAD_ATTRIBUTE,
    LOAD_BUILTIN,
    LOAD_RECEIVING,
    LOAD_UNIFORM,
    LOAD_LOOKUP,
    ADD,
    SUBTRACT,
    MULTIPLY,
    DIVIDE,
    MINIMUM,
    MAXIMUM,
    LESS,
    LESS_EQUAL,
    EQUAL,
    NOT_EQUAL,
    AND,
    OR,
    NOT,
    NEGATE,
    EXP,
    LOG,
    FLOOR,
    NORMAL_QUANTILE,
    SELECT,
    ADD_N,
    MULTIPLY_N,
    LESS_N,
    LESS_EQUAL_N,
    GREATER_N,
    GREATER_EQUAL_N,
    EQUAL_N,
    NOT_EQUAL_N,
    MULTIPLY_ADD_ATTRIBUTE,
    FIRST_ROW,
    STORE,
    MINIMUM_N,
    MAXIMUM_N,
    N_MINIMUM,
    N_MAXIMUM,
    SELECT_NN,
    SELECT_N,
    SELECT_OR_N,
    STORE_N,
) = range(44)

# What LOAD_BUILTIN reads.
BUILTIN_MONTHS, BUILTIN_MONTHS_IN_STATE, BUILTIN_MONTHS_ON_LOCAL, BUILTIN_MONTHS_ON_SYSTEMIC = range(4)

# Columns of the moments, patient by patient: months since entry. What every event asks for stands in the first eight, one
# line of the processor's caches; what changes with a treatment only comes after.
NOW = 0
STAY_BEGAN = 1
VISIT_BEGAN = 2
VISIT_LOCAL_START = 3
VISIT_SYSTEMIC_START = 4
LOCAL_START = 5
SYSTEMIC_START = 6
LOCAL_STOP = 7
SYSTEMIC_STOP = 8
LOCAL_PREVIOUS_START = 9
SYSTEMIC_PREVIOUS_START = 10
# The slots as they were when the thresholds of the running stay were last looked at, in the same order.
SEEN_LOCAL_START = 11
SEEN_SYSTEMIC_START = 12
SEEN_LOCAL_STOP = 13
SEEN_SYSTEMIC_STOP = 14
SEEN_LOCAL_PREVIOUS_START = 15
SEEN_SYSTEMIC_PREVIOUS_START = 16
MOMENTS = 17
"""columns before the origins of scheduled events"""

# Rows of the workspace of reals, each with one value for every place of a list.
TEMPORARY = 0
TEMPORARIES = 39
REALS = TEMPORARY + TEMPORARIES
"""rows before the registers"""

# Kept thresholds lie patient by patient: first the time of each, side by side, then a record of KEPT places for each, which
# is one line of the processor's caches.
KEPT = 8
KEPT_THRESHOLD, KEPT_SINCE, KEPT_OWN_TIME, KEPT_MULTIPLIER, KEPT_RATE, KEPT_SPEED, KEPT_FIRINGS = range(7)
"""The multiplier is the patient's, the rate is the multiplier times the effects of treatments; a speed of NaN says that an
effect was to change with time, so that what was consumed is added up piece by piece."""

# What changed for a patient since kept thresholds were last looked at, one bit each: a treatment slot, a threshold that was
# used, an attribute. Several may share a bit; then a threshold is looked at in vain.
CHANGED_LOCAL = 1
CHANGED_SYSTEMIC = 2
CHANGED_FIRED_BIT, CHANGED_FIRED_BITS = 2, 8
CHANGED_ATTRIBUTE_BIT, CHANGED_ATTRIBUTE_BITS = 10, 21

# Columns of the facts, patient by patient, of 32 bits each: the first sixteen are one line of the processor's caches.
LOCAL = 0
SYSTEMIC = 1
LOCAL_PREVIOUS = 2
SYSTEMIC_PREVIOUS = 3
SEEN_LOCAL = 4
SEEN_SYSTEMIC = 5
SEEN_LOCAL_PREVIOUS = 6
SEEN_SYSTEMIC_PREVIOUS = 7
STATE_NOW = 8
FIRED = 9
"""transition of the running stay that fired last and needs a new threshold, -1 for none"""
FIRING = 10
"""occurrence within the stay of the event that is being carried out"""
INSTANTS = 11
EVENTS = 12
VISIT_CELL = 13
BEST = 14
CHANGED = 15
"""what may have ended a visit, or times depend on, and has changed since they were last solved: see CHANGED_*"""
FACTS = 16
"""columns before, for each scheduled event, its counter, and after those its firings in the running stay"""

# Rows of the workspace of integers, each with one value for every place of a list.
SCRATCH = 0
CHOICE = 1
SOLVED = 2
"""patients whose times are solved together"""
PIECE_OF = 3
"""of those who go from piece to piece of an effect: their place in the list that was handed over"""
PIECE_LOCAL = 4
PIECE_SYSTEMIC = 5
"""twice the effect, plus 1 where its steps after stopping apply; -1 for none"""
PIECE_LAST = 6
PIECE_AT = 7
INTEGERS = 8

# Rows of the lists of patients, before the queues (entering by node, then staying by node).
LIST = 0
GROUPED = 1
# Address words of the random numbers of the patients of a list: patient and occurrence.
ADDRESS_PATIENT = 2
ADDRESS_OCCURRENCE = 3
LOOKED = 4
"""patients whose kept threshold is looked at"""
LISTS = 5

LEAF = 1024
"""patients whose outcomes are summed together before sums are added, in order (rule 15)"""

# Columns (rows) of the visit buffer.
VISIT_ENTERED, VISIT_LEFT, VISIT_LOCAL_SINCE, VISIT_SYSTEMIC_SINCE = 0, 1, 2, 3
VISIT_PATIENT, VISIT_IN_CELL, VISIT_ENDED_BY, VISIT_SLOT = 0, 1, 2, 3
"""the slot is the cell's place among those that the block has met, filled in by `outcomes`"""
MARK_PATIENT, MARK_NAME, MARK_RUN_END = 0, 1, 2
"""the last, at the first mark of a list of patients who make the same one: where their marks end"""
ENDED_BY_HORIZON = -1

# Positions in the control array that `advance` and its caller share.
CONTROL_QUEUE = 0
CONTROL_VISITS = 1
CONTROL_MARKS = 2
CONTROL_ERROR_PATIENT = 3
CONTROL_ERROR_NODE = 4
CONTROL_SLOTS = 5
CONTROLS = 6
