"""Trial files: design, population, arms, time zero, endpoints and what was published, as frozen objects.

One file describes one trial. It is checked whole before anything is simulated: names against each other, figures against
their intervals, landmarks against time. Event names and parameters are checked by the model that knows them, at the lines
that `Trial.error` gives.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from simhcc.errors import InputError
from simhcc.inputs.locate import at, file_name, find_input, is_path, list_inputs
from simhcc.inputs.models import (
    DOTTED_PATTERN,
    Flag,
    Id,
    Model,
    Positive,
    Scalars,
    Size,
    Text,
    Texts,
    choice,
    is_number,
    number_hint,
    refuse,
    validate,
)
from simhcc.inputs.reader import Document, KeyPath, Place, describe, one_of, read_yaml
from simhcc.inputs.strategies import Strategy, load_strategy, with_options

EVENTS = (
    "death",
    "progression",
    "recurrence",
    "not_resected",
    "progression_forbids_surgery",
    "untreatable",
    "refractory",
    "toxicity_stop",
    "next_line",
    "resected",
    "converted",
)
"""what an endpoint may count"""
SCANNED = ("progression", "recurrence")
"""events that are seen at scans"""
RESPONSE = "response"
NOT_MODELLED = "not modelled"
STATISTICS = ("median", "landmark", "rmst", "orr", "share")
USES = ("fit", "hold_out", "show")
CRITERIA = ("RECIST 1.1", "mRECIST", "RECICL", "unknown")


def _not_negative(value: Any) -> Any:
    if not is_number(value) or value < 0:
        raise refuse(describe(value), f"{number_hint(value)} of 0 or more")
    return float(value)


def _share(value: Any) -> Any:
    if not is_number(value) or not 0.0 <= value <= 1.0:
        raise refuse(describe(value), "a share between 0 and 1")
    return float(value)


def _level(value: Any) -> Any:
    if not is_number(value) or not 0.0 < value < 0.5:
        raise refuse(describe(value), "a one-sided alpha between 0 and 0.5")
    return float(value)


def _limits(value: Any) -> Any:
    example = "two limits, for example [0.41, 0.85]; null for one that is not reached"
    if not isinstance(value, list) or len(value) != 2:
        raise refuse(describe(value), example)
    if not all(limit is None or is_number(limit) for limit in value) or value == [None, None]:
        raise refuse(describe(value), example)
    low, high = value
    if low is not None and high is not None and low >= high:
        raise refuse(f"[{low:g}, {high:g}]; the lower limit comes first", f"for example, [{high:g}, {low:g}]")
    return tuple(None if limit is None else float(limit) for limit in value)


def _allocation(value: Any) -> Any:
    if not isinstance(value, list) or len(value) < 1 or not all(is_number(part) and part > 0 for part in value):
        raise refuse(describe(value), "numbers above 0, one for each arm, for example [2, 1]")
    return tuple(float(part) for part in value)


def _ratios(value: Any) -> Any:
    if not isinstance(value, list) or not all(is_number(part) and part > 0 for part in value):
        raise refuse(describe(value), "a list of hazard ratios, for example [0.9, 0.95]")
    return tuple(float(part) for part in value)


def _period(value: Any) -> Any:
    if not isinstance(value, list) or len(value) != 2 or not all(is_number(part) for part in value):
        raise refuse(describe(value), "two months, for example [12, 24]")
    if not 0 <= value[0] < value[1]:
        raise refuse(str(value), "two months that rise, for example [12, 24]")
    return tuple(float(part) for part in value)


def _fractions(value: Any) -> Any:
    words = "information fractions that rise to 1, for example [0.5, 1]"
    if not isinstance(value, list) or not value or not all(is_number(part) for part in value):
        raise refuse(describe(value), words)
    if value[-1] != 1 or value[0] <= 0 or any(b <= a for a, b in itertools.pairwise(value)):
        raise refuse(str(value), words)
    return tuple(float(part) for part in value)


def _shares_by_name(value: Any) -> Any:
    if not isinstance(value, dict) or len(value) < 2 or not all(is_number(v) and v > 0 for v in value.values()):
        raise refuse(describe(value), "strategies with their shares, for example {lenvatinib: 0.85, sorafenib: 0.15}")
    if not math.isclose(sum(value.values()), 1.0, abs_tol=1e-9):
        raise refuse(f"shares that add up to {sum(value.values()):g}", "shares that add up to 1")
    return {name: float(share) for name, share in value.items()}


def _numbers_by_name(value: Any) -> Any:
    if not isinstance(value, dict) or not value or not all(is_number(v) for v in value.values()):
        raise refuse(describe(value), "parameters by dotted name with their numbers")
    return {name: float(number) for name, number in value.items()}


def _texts_by_name(value: Any) -> Any:
    if not isinstance(value, dict) or not value or not all(isinstance(v, str) and v.strip() for v in value.values()):
        raise refuse(describe(value), f"names with conditions, or with {NOT_MODELLED!r}")
    return value


_NUMBERS_SCHEMA = {
    "type": "object",
    "minProperties": 1,
    "propertyNames": {"pattern": DOTTED_PATTERN},
    "additionalProperties": {"type": "number"},
}
_LIMITS_SCHEMA = {
    "type": "array",
    "items": {"type": ["number", "null"]},
    "minItems": 2,
    "maxItems": 2,
    "description": "Lower and upper 95 % limit; null for one that is not reached.",
}
NotNegative = Annotated[float, BeforeValidator(_not_negative), WithJsonSchema({"type": "number", "minimum": 0})]
Share = Annotated[float, BeforeValidator(_share), WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1})]
Alpha = Annotated[
    float,
    BeforeValidator(_level),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.5, "description": "One-sided."}),
]
Limits = Annotated[Any, BeforeValidator(_limits), WithJsonSchema(_LIMITS_SCHEMA)]
Allocation = Annotated[
    Any,
    BeforeValidator(_allocation),
    WithJsonSchema({"type": "array", "items": {"type": "number", "exclusiveMinimum": 0}, "minItems": 1}),
]
Fractions = Annotated[
    Any,
    BeforeValidator(_fractions),
    WithJsonSchema({"type": "array", "items": {"type": "number", "exclusiveMinimum": 0, "maximum": 1}, "minItems": 1}),
]
Ratios = Annotated[
    Any,
    BeforeValidator(_ratios),
    WithJsonSchema({"type": "array", "items": {"type": "number", "exclusiveMinimum": 0}}),
]
Period = Annotated[
    Any,
    BeforeValidator(_period),
    WithJsonSchema(
        {"type": "array", "items": {"type": "number", "minimum": 0}, "minItems": 2, "maxItems": 2,
         "description": "Months after time zero: events after the first and up to the second."}
    ),
]  # fmt: skip
Mix = Annotated[
    Any,
    BeforeValidator(_shares_by_name),
    WithJsonSchema({"type": "object", "minProperties": 2, "additionalProperties": {"type": "number"}}),
]
NumbersByName = Annotated[Any, BeforeValidator(_numbers_by_name), WithJsonSchema(_NUMBERS_SCHEMA)]
TextsByName = Annotated[
    Any,
    BeforeValidator(_texts_by_name),
    WithJsonSchema({"type": "object", "minProperties": 1, "additionalProperties": {"type": "string", "minLength": 1}}),
]
Use = Annotated[Literal["fit", "hold_out", "show"], BeforeValidator(choice(*USES))]


class Segment(Model):
    """Scans every so many months, from a month on."""

    from_months: NotNegative
    every_months: Positive


class Assessment(Model):
    """When a trial looks for progression or recurrence."""

    segments: list[Segment]
    until_months: Positive | None = None
    """after this month nothing but death is seen"""
    window_days: NotNegative | None = None
    """a scan takes place up to so many days before or after its day, evenly"""
    assumed: Flag


class Analysis(Model):
    """One look at the data: at a calendar month, at a median follow-up, or at a number of events of an endpoint."""

    name: Text
    follow_up_months: Positive | None = None
    follow_up_assumed: Flag = False
    cutoff_months: Positive | None = None
    """calendar months from the first patient"""
    endpoint: Text | None = None
    events: Size | None = None
    """published number of events of `endpoint`; the cut-off is when they are reached only if `event_driven`"""
    event_driven: Flag = False
    information_fraction: Share | None = None
    alpha: Alpha | None = None
    maturity: Share | None = None


class Planned(Model):
    """The effect the trial was planned for."""

    endpoint: Text
    hr: Positive


class Design(Model):
    """How the trial was run."""

    phase: Text
    n: Size
    n_confirmed: Flag = True
    n_note: Text | None = None
    allocation: Allocation
    allocation_note: Text | None = None
    masking: Text
    accrual_months: Positive
    accrual_assumed: Flag = False
    accrual_confirmed: Flag = True
    accrual_last_half_months: Positive | None = None
    """months in which the second half of the patients entered"""
    follow_up_median_months: Positive | None = None
    follow_up_assumed: Flag = False
    drop_out_per_month: NotNegative
    drop_out_assumed: Flag = False
    analyses: list[Analysis]
    assessment: Assessment
    planned: Planned | None = None
    stratified_by: Texts = Field(default_factory=list)
    """what the trial stratified by, in its own words"""
    strata: Texts = Field(default_factory=list)
    """conditions on baseline attributes whose combinations are the strata of log-rank and Cox here"""


class RunIn(Model):
    """Treatment before randomisation, after which a selected part is randomised."""

    strategy: Text
    cycles: Size
    months: Positive
    enrolled_per_randomised: Positive
    """patients simulated from the start of the run-in for each randomised one; too few stop the run"""
    requires: Texts


class TimeZero(Model):
    """Where the clock starts."""

    event: Annotated[
        Literal["randomise", "randomise_after_curative", "randomise_after_run_in"],
        BeforeValidator(choice("randomise", "randomise_after_curative", "randomise_after_run_in")),
    ]
    description: Text
    run_in: RunIn | None = None


class Subsequent(Model):
    """Published shares of an arm that had a later treatment."""

    any: Share | None = None
    immunotherapy: Share | None = None
    targeted: Share | None = None
    confirmed: Flag = True


class Caps(Model):
    """Limits of the protocol."""

    max_tace_sessions: Size | None = None
    first_tace_after_months: Positive | None = None
    max_duration_months: Positive | None = None
    """months of the arm's planned drugs; the parameters they set stand under `duration_of`"""
    duration_of: Texts = Field(default_factory=list)


class ArmModel(Model):
    """One arm and the strategy it is mapped to."""

    id: Id
    label: Text | None = None
    n: Size
    strategy: Text | None = None
    mix: Mix | None = None
    mix_confirmed: Flag = True
    options: Scalars | None = None
    caps: Caps | None = None
    numbers: NumbersByName | None = None
    numbers_note: Text | None = None
    subsequent: Subsequent | None = None
    crossover: Text | None = None
    """regimen that the arm gets when its treatment fails (the strategy's option `backbone`)"""
    subset_of: Text | None = None
    first_enrolled: Size | None = None
    enrolled_until_months: Positive | None = None
    not_modelled: Texts = Field(default_factory=list)


class EndpointModel(Model):
    """First of a set of events, from an origin, with what censors it; or the share of an arm in which one happens."""

    events: Texts = Field(default_factory=list)
    censoring: Texts = Field(default_factory=list)
    origin: Annotated[Literal["cleared"], BeforeValidator(choice("cleared"))] | None = None
    """time zero where it is not randomisation"""
    statistic: Annotated[Literal["share"], BeforeValidator(choice("share"))] | None = None
    assessed_by: Text | None = None
    criteria: Text | None = None
    definition: Text
    not_modelled: Text | None = None


class ResponseModel(Model):
    """How response was read."""

    criteria: Annotated[str, BeforeValidator(choice(*CRITERIA))]
    assessed_by: Text | None = None
    within_months: Positive | None = None


class LevelModel(Model):
    """Levels of the trial's patients that its case mix does not carry: parameters by name."""

    early_mass: Text | None = None
    """mean mass of early recurrence in the trial's patients"""
    progression_hr: Text | None = None
    death_hr: Text | None = None


class SequentialModel(Model):
    """The looks at one comparison, for questions that are still open."""

    endpoint: Text
    arm: Text
    reference: Text
    final_events: Size
    fractions: Fractions
    alpha: Alpha
    spending: Text = "lan-demets-obrien-fleming"
    planned_hr: Positive
    supposed: Ratios = ()
    """further true hazard ratios to be held against the result"""
    published_fraction: Share | None = None
    """information fraction at the published look; one of `fractions`"""
    confirmed: Flag
    note: Text | None = None


class TargetModel(Model):
    """A published figure of one arm."""

    arm: Text
    endpoint: Text
    statistic: Annotated[Literal["median", "landmark", "rmst", "orr", "share"], BeforeValidator(choice(*STATISTICS))]
    time_months: Positive | None = None
    value: NotNegative
    ci95: Limits | None = None
    confirmed: Flag
    ci95_confirmed: Flag = True
    use: Use
    analysis: Text | None = None
    subgroup: Text | None = None
    criteria: Text | None = None
    derived: Text | None = None
    n: Size | None = None
    note: Text | None = None


class ContrastModel(Model):
    """A published hazard ratio between two arms."""

    endpoint: Text
    arm: Text
    reference: Text
    hr: Positive
    ci95: Limits | None = None
    p: Share | None = None
    p_sided: Literal[1, 2] = 2
    confirmed: Flag
    ci95_confirmed: Flag = True
    use: Use
    analysis: Text | None = None
    subgroup: Text | None = None
    period: Period | None = None
    """the hazard ratio is that among events of these months"""
    derived: Text | None = None
    note: Text | None = None


class PlausibilityModel(Model):
    """A recalled figure that only says what would be plausible."""

    arm: Text
    reference: Text | None = None
    endpoint: Text
    statistic: Annotated[Literal["median", "hr"], BeforeValidator(choice("median", "hr"))]
    value: Positive
    confirmed: Flag


class VerdictModel(Model):
    """A published conclusion without a figure."""

    endpoint: Text
    arm: Text
    reference: Text
    verdict: Text
    confirmed: Flag
    use: Use
    note: Text | None = None


class TrialModel(Model):
    """One trial."""

    id: Id
    title: Text
    nct: Text | None = None
    setting: Annotated[
        Literal["resectable", "intermediate", "advanced"],
        BeforeValidator(choice("resectable", "intermediate", "advanced")),
    ]
    source: Texts = Field(default_factory=list)
    design: Design
    population: Text
    population_restriction: Text | None = None
    """condition on baseline attributes: a part of the population file"""
    time_zero: TimeZero
    level: LevelModel | None = None
    arms: list[ArmModel]
    endpoints: dict[str, EndpointModel]
    response: ResponseModel | None = None
    subgroups: TextsByName | None = None
    sequential: list[SequentialModel] = Field(default_factory=list)
    targets: list[TargetModel] = Field(default_factory=list)
    contrasts: list[ContrastModel] = Field(default_factory=list)
    plausibility: list[PlausibilityModel] = Field(default_factory=list)
    verdicts: list[VerdictModel] = Field(default_factory=list)
    not_modelled: Texts = Field(default_factory=list)


@dataclass(frozen=True)
class Trial:
    """A trial as its file describes it; `content` holds every entry by the file's own names."""

    id: str
    content: TrialModel
    strategies: tuple[tuple[str, Strategy], ...]
    """strategy of each arm (id, strategy); an arm that is a mix has one entry for each part, named ARM/STRATEGY"""
    document: Document = field(repr=False, compare=False)
    user_dir: str | Path | None = field(repr=False, compare=False, default=None)

    def error(self, key: Sequence[str | int], found: str, expected: str = "") -> InputError:
        """An InputError at the line of an entry of the file; the caller raises it."""
        return self.document.error(tuple(key), found, expected)

    def place(self, key: Sequence[str | int] = ()) -> Place:
        """File and line of an entry."""
        return self.document.place(tuple(key))

    def arm(self, name: str) -> ArmModel:
        """An arm by id."""
        return next(arm for arm in self.content.arms if arm.id == name)

    def analysis(self, name: str | None) -> Analysis:
        """A look by name; the last one for None."""
        analyses = self.content.design.analyses
        return analyses[-1] if name is None else next(a for a in analyses if a.name == name)

    def look_of(self, row: TargetModel | ContrastModel) -> Analysis:
        """The look at which a figure was read: the one it names, else the last one about its endpoint or about all."""
        if row.analysis is not None:
            return self.analysis(row.analysis)
        fitting = [a for a in self.content.design.analyses if a.endpoint in (None, row.endpoint)]
        return (fitting or list(self.content.design.analyses))[-1]

    @property
    def forecast(self) -> bool:
        """Whether nothing was published that the trial could be compared with."""
        return not self.content.targets and not self.content.contrasts


def load_trial(id_or_path: str | Path, user_dir: str | Path | None = None) -> Trial:
    """Read and check one trial by id or path. Raises InputError with file and line for anything wrong."""
    path = find_input("trial", str(id_or_path), user_dir)
    document = read_yaml(path, file_name(path))
    content = validate(TrialModel, document, (), "a trial")
    if not is_path(str(id_or_path)) and content.id != path.stem:
        raise document.error(("id",), f"id {content.id} in a file called {path.name}", f"id: {path.stem}")
    _check_design(document, content)
    _check_arms(document, content)
    _check_endpoints(document, content)
    for position, target in enumerate(content.targets):
        _check_row(document, ("targets", position), content, target)
    for position, contrast in enumerate(content.contrasts):
        _check_row(document, ("contrasts", position), content, contrast)
    _check_landmarks(document, content)
    _check_others(document, content)
    strategies = tuple(_strategies(document, content, path.parent, user_dir))
    try:
        find_input("population", content.population, user_dir, path.parent)
    except InputError as error:
        raise at(document.place(("population",)), "population", error) from None
    return Trial(content.id, content, strategies, document, user_dir)


def list_trials(user_dir: str | Path | None = None) -> dict[str, Path]:
    """Id -> file of every trial; the user's own win."""
    return list_inputs("trial", user_dir)


# ---------------------------------------------------------------------------------------------------------------------
# Checks that need more than one entry


def _refuse_repeated(document: Document, path: KeyPath, names: Iterable[str], key: str) -> None:
    seen: dict[str, int] = {}
    for position, name in enumerate(names):
        if name in seen:
            line = document.place((*path, seen[name], key)).line
            raise document.error((*path, position, key), f"{name!r}, which stands in line {line} already", "each once")
        seen[name] = position


def _check_design(document: Document, content: TrialModel) -> None:
    design, here = content.design, ("design",)
    if not design.analyses:
        raise document.error((*here, "analyses"), "no analyses", "at least one: - {name: final, follow_up_months: 24}")
    _refuse_repeated(document, (*here, "analyses"), (a.name for a in design.analyses), "name")
    for position, analysis in enumerate(design.analyses):
        key = (*here, "analyses", position)
        if analysis.endpoint not in (None, RESPONSE, *content.endpoints):
            raise document.error(
                (*key, "endpoint"),
                f"the endpoint {analysis.endpoint!r}",
                one_of([*content.endpoints, RESPONSE], analysis.endpoint),
            )
        if analysis.event_driven and (analysis.events is None or analysis.endpoint in (None, RESPONSE)):
            raise document.error(key, "event_driven without events and endpoint", "events: 243, endpoint: RFS")
        if not analysis.event_driven and analysis.follow_up_months is None and analysis.cutoff_months is None:
            raise document.error(key, "a look without a time", "follow_up_months, cutoff_months, or event_driven: true")
    segments = design.assessment.segments
    if not segments or segments[0].from_months != 0.0:
        where = (*here, "assessment", "segments", 0, "from_months")
        raise document.error(where, "no scans from month 0", "a first segment from month 0")
    for position in range(1, len(segments)):
        if segments[position].from_months <= segments[position - 1].from_months:
            raise document.error(
                (*here, "assessment", "segments", position, "from_months"),
                f"{segments[position].from_months:g} after {segments[position - 1].from_months:g}",
                "segments in the order of time",
            )
    if len(segments) > 2:
        raise document.error(
            (*here, "assessment", "segments", 2), "a third segment", "at most two: the pathway knows one change of pace"
        )
    last_half = design.accrual_last_half_months
    if last_half is not None and last_half >= design.accrual_months:
        raise document.error(
            (*here, "accrual_last_half_months"), f"{last_half:g} of {design.accrual_months:g} months", "fewer months"
        )
    if design.planned is not None and design.planned.endpoint not in content.endpoints:
        raise document.error(
            (*here, "planned", "endpoint"),
            f"the endpoint {design.planned.endpoint!r}",
            one_of(content.endpoints, design.planned.endpoint),
        )
    whole = [arm for arm in content.arms if arm.subset_of is None]
    if len(design.allocation) != len(whole) and design.allocation_note is None:
        raise document.error(
            (*here, "allocation"), f"{len(design.allocation)} shares for {len(whole)} arms", "one for each arm"
        )
    total = sum(arm.n for arm in whole)
    if total > design.n:
        raise document.error((*here, "n"), f"{design.n} patients, of whom the arms have {total}", f"at least {total}")
    if (content.time_zero.event == "randomise_after_run_in") != (content.time_zero.run_in is not None):
        raise document.error(
            ("time_zero",), "a run-in without randomise_after_run_in, or the other way round", "both, or neither"
        )


def _check_arms(document: Document, content: TrialModel) -> None:
    if not content.arms:
        raise document.error(("arms",), "no arms", "at least one")
    _refuse_repeated(document, ("arms",), (arm.id for arm in content.arms), "id")
    ids = [arm.id for arm in content.arms]
    for position, arm in enumerate(content.arms):
        here = ("arms", position)
        whole = arm.subset_of is None
        if (arm.strategy is not None and arm.mix is not None) or (whole and arm.strategy is arm.mix is None):
            both = (*here, "mix") if arm.mix is not None else here
            raise document.error(both, "an arm with both or neither of strategy and mix", "one of them")
        if (arm.subset_of is None) != (arm.first_enrolled is None):
            raise document.error(here, "one of subset_of and first_enrolled", "both, or neither")
        if arm.subset_of is not None:
            parents = [other for other in content.arms if other.id == arm.subset_of and other.subset_of is None]
            if not parents:
                raise document.error((*here, "subset_of"), f"the arm {arm.subset_of!r}", one_of(ids, arm.subset_of))
            parent = parents[0]
            if arm.first_enrolled != arm.n or arm.n > parent.n:
                raise document.error(
                    (*here, "first_enrolled"),
                    f"{arm.first_enrolled} of {parent.n}",
                    f"n of this arm, at most {parent.n}",
                )
            for name in ("strategy", "mix", "options", "caps", "numbers", "subsequent", "crossover"):
                if getattr(arm, name) is not None and getattr(arm, name) != getattr(parent, name):
                    raise document.error(
                        (*here, name), f"{name} of its own in a part of {parent.id}", "that of the whole arm"
                    )
        caps = arm.caps
        if caps is not None and (caps.max_duration_months is None) != (not caps.duration_of):
            raise document.error((*here, "caps"), "one of max_duration_months and duration_of", "both, or neither")
        s = arm.subsequent
        if s is not None and s.any is not None and s.immunotherapy is not None and s.immunotherapy > s.any:
            raise document.error(
                (*here, "subsequent", "immunotherapy"), f"{s.immunotherapy:g} of {s.any:g}", "at most `any`"
            )


def _strategies(
    document: Document, content: TrialModel, folder: Path, user_dir: str | Path | None
) -> Iterable[tuple[str, Strategy]]:
    for position, arm in enumerate(content.arms):
        if arm.subset_of is not None:
            continue
        here: KeyPath = ("arms", position)
        named = [(arm.id, arm.strategy, (*here, "strategy"))] if arm.strategy is not None else []
        named += [(f"{arm.id}/{name}", name, (*here, "mix", name)) for name in arm.mix or {}]
        for label, name, key in named:
            try:
                strategy = load_strategy(str(name), user_dir, folder)
            except InputError as error:
                raise at(document.place(key), ".".join(str(k) for k in key), error) from None
            options = dict(arm.options or {})
            if arm.crossover is not None:
                options["backbone"] = arm.crossover
            try:
                yield label, with_options(strategy, **options) if options else strategy
            except InputError as error:
                raise at(document.place((*here, "options")), f"arms.{position}.options", error) from None


def _check_endpoints(document: Document, content: TrialModel) -> None:
    if not content.endpoints:
        raise document.error(("endpoints",), "no endpoints", "at least one")
    for name, endpoint in content.endpoints.items():
        here = ("endpoints", name)
        if name == RESPONSE:
            raise document.error(here, "an endpoint called response", "another name: response has an entry of its own")
        for kind in ("events", "censoring"):
            for position, event in enumerate(getattr(endpoint, kind)):
                if event not in EVENTS:
                    raise document.error((*here, kind, position), f"the event {event!r}", one_of(EVENTS, event))
        if not endpoint.events and endpoint.not_modelled is None:
            raise document.error(here, "an endpoint without events", "events, or not_modelled with the reason")
        both = [event for event in endpoint.censoring if event in endpoint.events]
        if both:
            raise document.error((*here, "censoring"), f"{both[0]!r}, which is an event as well", "one of the two")


def _check_row(document: Document, here: KeyPath, content: TrialModel, row: TargetModel | ContrastModel) -> None:
    arms = [arm.id for arm in content.arms]
    for key in ("arm", "reference"):
        name = getattr(row, key, None)
        if name is not None and name not in arms:
            raise document.error((*here, key), f"the arm {name!r}", one_of(arms, name))
    allowed = [*content.endpoints, *([RESPONSE] if content.response is not None else [])]
    if row.endpoint not in allowed:
        raise document.error((*here, "endpoint"), f"the endpoint {row.endpoint!r}", one_of(allowed, row.endpoint))
    analyses = [analysis.name for analysis in content.design.analyses]
    if row.analysis is not None and row.analysis not in analyses:
        raise document.error((*here, "analysis"), f"the analysis {row.analysis!r}", one_of(analyses, row.analysis))
    groups = list(content.subgroups or {})
    if row.subgroup is not None and row.subgroup not in groups:
        raise document.error((*here, "subgroup"), f"the subgroup {row.subgroup!r}", one_of(groups, row.subgroup))
    if not row.confirmed and row.use == "fit" and row.derived is None:
        raise document.error((*here, "use"), "a recalled figure to be fitted", "use: show, or confirmed: true")
    if isinstance(row, ContrastModel):
        if row.arm == row.reference:
            raise document.error((*here, "reference"), f"{row.arm!r} against itself", "another arm")
        if row.endpoint == RESPONSE:
            raise document.error((*here, "endpoint"), "a hazard ratio of response", "the response of each arm")
        value = row.hr
    else:
        value = row.value
        _check_statistic(document, here, content, row)
    low, high = row.ci95 if row.ci95 is not None else (None, None)
    if (low is not None and value < low) or (high is not None and value > high):
        shown = f"[{'' if low is None else f'{low:g}'}, {'' if high is None else f'{high:g}'}]"
        raise document.error(
            (*here, "ci95"), f"{shown}, which does not contain {value:g}", "limits around the estimate"
        )


def _check_statistic(document: Document, here: KeyPath, content: TrialModel, row: TargetModel) -> None:
    timed = row.statistic in ("landmark", "rmst")
    if timed != (row.time_months is not None):
        raise document.error(
            here,
            f"a {row.statistic} {'without' if timed else 'with'} time_months",
            "time_months: 24" if timed else "none",
        )
    if row.statistic in ("landmark", "orr", "share") and row.value > 1.0:
        raise document.error((*here, "value"), f"{row.value:g}", "a share between 0 and 1")
    if (row.statistic == "orr") != (row.endpoint == RESPONSE):
        raise document.error((*here, "statistic"), f"{row.statistic} of {row.endpoint}", "orr of response, or neither")
    if row.endpoint != RESPONSE and (row.statistic == "share") != (
        content.endpoints[row.endpoint].statistic == "share"
    ):
        raise document.error((*here, "statistic"), f"{row.statistic} of {row.endpoint}", "the endpoint's own statistic")


def _check_landmarks(document: Document, content: TrialModel) -> None:
    """Published curves fall, and pass the published median where they say so."""
    curves: dict[tuple[Any, ...], list[tuple[float, float, int]]] = defaultdict(list)
    for position, row in enumerate(content.targets):
        if row.statistic == "landmark" and row.time_months is not None:
            curves[row.arm, row.endpoint, row.subgroup].append((row.time_months, row.value, position))
    for points in curves.values():
        points.sort()
        for (t0, v0, _), (t1, v1, position) in itertools.pairwise(points):
            if v1 > v0 and t1 > t0:
                raise document.error(
                    ("targets", position, "value"),
                    f"{v1:g} at month {t1:g} after {v0:g} at month {t0:g}",
                    "landmarks that fall with time",
                )


def _check_others(document: Document, content: TrialModel) -> None:
    arms = [arm.id for arm in content.arms]
    for name in content.subgroups or {}:
        used = {row.subgroup for row in content.targets} | {row.subgroup for row in content.contrasts}
        if name not in used:
            raise document.error(("subgroups", name), f"the subgroup {name!r}, which no figure uses", "figures of it")
    kinds = {"sequential": content.sequential, "plausibility": content.plausibility, "verdicts": content.verdicts}
    for kind, rows in kinds.items():
        for position, row in enumerate(rows):  # type: ignore[arg-type, var-annotated]
            for key in ("arm", "reference"):
                name = getattr(row, key)
                if name is not None and name not in arms:
                    raise document.error((kind, position, key), f"the arm {name!r}", one_of(arms, name))
            if row.endpoint not in (*content.endpoints, RESPONSE):
                raise document.error(
                    (kind, position, "endpoint"),
                    f"the endpoint {row.endpoint!r}",
                    one_of([*content.endpoints, RESPONSE], row.endpoint),
                )
    for position, question in enumerate(content.sequential):
        here = ("sequential", position)
        if question.endpoint == RESPONSE:
            raise document.error((*here, "endpoint"), "looks at response", "an endpoint in time")
        fraction = question.published_fraction
        if fraction is not None and fraction not in question.fractions:
            raise document.error(
                (*here, "published_fraction"), f"{fraction:g}", f"one of the fractions {list(question.fractions)}"
            )
