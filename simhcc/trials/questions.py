"""Questions that a trial leaves open, answered from its hazard ratio alone and from the mechanism, side by side.

The hazard ratio alone treats the effect as constant over time (`simhcc.trials.design`). The mechanism simulates the
patients: effects come late or fade, and later lines of treatment dilute them. Both use the same looks and bounds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhcc.errors import InputError
from simhcc.inputs.trials import SequentialModel, Trial
from simhcc.runner import Address, Job, ProgressCallback, run, split
from simhcc.trials import observe
from simhcc.trials.design import (
    Compatibility,
    GroupSequential,
    HazardRatio,
    Outlook,
    conditional_power,
    fixed_assurance,
    group_sequential,
    outlook,
)
from simhcc.trials.pools import HORIZON, Pool
from simhcc.trials.replicates import BLOCK, SHARD_REPLICATES, Comparison, compare, enrol, pool_of, replicate_job
from simhcc.trials.rows import finite_or_none
from simhcc.trials.statistics import event_cutoff

Floats = NDArray[np.float64]

NEAR = 0.25
"""replicates count as like the published result by a normal kernel of this many standard errors of it"""
TRUE_ONE = 1.0
NO_LATER_LINES = {
    "next_line.p_reach_fit": 0.0,
    "next_line.p_reach_intermediate": 0.0,
    "next_line.p_reach_unfit": 0.0,
    "next_line.country_increment": 0.0,
}
"""parameters under which nobody reaches a further line: what the effect would be without dilution"""


@dataclass(frozen=True)
class Supposed:
    """What follows from one supposed true hazard ratio."""

    hr: float
    name: str
    power: float
    """probability that the whole design claims a benefit"""
    observed: tuple[float, float, float]
    """2.5, 50 and 97.5 % of the hazard ratio that the final look would observe"""
    compatibility: Compatibility | None
    """how it stands beside the published hazard ratio; None where none was published"""


@dataclass(frozen=True)
class FromRatio:
    """Answers from the hazard ratio alone."""

    question: SequentialModel
    design: GroupSequential
    critical_hr: tuple[float, ...]
    current: HazardRatio | None
    interval: tuple[float, float] | None
    """the 95 % limits as they were printed"""
    supposed: tuple[Supposed, ...]
    belief: HazardRatio | None
    """what assurance averages over: the prior given, combined with the published result where there is one"""
    assurance: float | None
    """probability that a new trial of the same size, analysed once at its end, claims a benefit"""
    later: Outlook | None
    """the looks still to come; None where the last one is published or no look is"""


@dataclass(frozen=True)
class FromMechanism:
    """Answers from simulated patients; arrays have one entry per look."""

    replicates: int
    draws: int
    hazard_ratio: Floats
    """(looks, 3): 2.5, 50 and 97.5 % of the observed hazard ratio at each look"""
    cutoff: Floats
    """(looks,): median calendar month of each look"""
    reached: Floats
    """(looks,): share of replicates in which the look's events ever happen"""
    crossing: Floats
    """(looks,): probability of crossing first at each look"""
    crossing_mcse: float
    """Monte-Carlo standard error of their sum"""
    without_later_lines: float | None
    """median hazard ratio at the last look if nobody had a further line; None where not asked for"""
    future_hr: float | None
    """hazard ratio among the events after the published look, as the mechanism has it"""
    given_data_and_mechanism: float | None
    """conditional power: the published data so far, and the mechanism's hazard ratio from then on"""
    given_alike: float | None
    """probability of crossing later among replicates that looked like the published result then"""
    alike: float
    """effective number of those replicates"""


def from_ratio(
    trial: Trial, question: SequentialModel, true: Sequence[float] = (), prior: HazardRatio | None = None
) -> FromRatio:
    """What the hazard ratio alone says. `true` are further supposed ratios; `prior` a belief about the true one.

    Raises InputError, at the question's line, for looks and alpha that make no design.
    """
    place = ("sequential", trial.content.sequential.index(question))
    try:
        design = group_sequential(question.fractions, question.alpha, question.spending)  # type: ignore[arg-type]
    except InputError as error:
        raise trial.error(place, error.found, error.expected) from None
    share = share_of(trial, question)
    current, interval = published(trial, question)
    named: dict[float, str] = {question.planned_hr: "planned"}
    for hr in question.supposed:
        named.setdefault(hr, "supposed in the file")
    for hr in true:
        named.setdefault(hr, "given")
    named.setdefault(TRUE_ONE, "no effect")
    if current is not None:
        named.setdefault(current.median, "published")
    supposed = []
    for hr, name in sorted(named.items()):
        seen = HazardRatio.from_events(hr, question.final_events, share)
        low, high = seen.interval()
        supposed.append(
            Supposed(
                hr,
                name,
                design.power(hr, question.final_events, share),
                (low, hr, high),
                None if current is None else current.compatibility(hr),
            )
        )
    belief = current if prior is None else prior if current is None else current.combined_with(prior)
    assurance = None if belief is None else fixed_assurance(belief, question.alpha, question.final_events, share)
    later = None
    fraction = question.published_fraction
    if current is not None and fraction is not None and fraction < 1.0:
        later = outlook(current, fraction, design, question.planned_hr, prior)
    return FromRatio(
        question,
        design,
        design.critical_hr(question.final_events, share),
        current,
        interval,
        tuple(supposed),
        belief,
        assurance,
        later,
    )


def share_of(trial: Trial, question: SequentialModel) -> float:
    """Share of patients in the experimental arm."""
    n = [trial.arm(name).n for name in (question.reference, question.arm)]
    return n[1] / sum(n)


def published(trial: Trial, question: SequentialModel) -> tuple[HazardRatio, tuple[float, float]] | tuple[None, None]:
    """The latest published hazard ratio of the question's comparison and its printed limits; None where there is none."""
    rows = [
        row
        for row in trial.content.contrasts
        if (row.endpoint, row.arm, row.reference) == (question.endpoint, question.arm, question.reference)
        and row.subgroup is None
        and row.period is None
        and row.ci95 is not None
        and None not in row.ci95
    ]
    if not rows:
        return None, None
    low, high = rows[-1].ci95 or (0.0, 0.0)
    return HazardRatio.from_interval(rows[-1].hr, low, high), (low, high)


# -- the mechanism -------------------------------------------------------------------------------------------------


def question_job(pool: Pool, position: int, replicates: int, seed: int, name: str) -> Job:
    """The runner's job that takes a question's looks in many replicates of its trial."""
    base = replicate_job(pool, replicates, seed, name)
    spans = split(replicates, -(-replicates // SHARD_REPLICATES), BLOCK)
    shards: list[Address] = [{"replicates": span} for span in spans]
    return Job(name, "simhcc.trials.questions:shard", {**base.inputs, "question": position}, shards)


def shard(inputs: Mapping[str, Any], address: Address) -> dict[str, NDArray[Any]]:
    """Log hazard ratio, its standard error, z and cut-off of every look, (replicates, looks)."""
    pool = pool_of(inputs)
    lo, hi = address["replicates"]
    arms = enrol(pool, lo, hi, inputs["seed"])
    question = pool.trial.content.sequential[inputs["question"]]
    sides = [arms[question.reference], arms[question.arm]]
    times, entries, lefts = [], [], []
    for side in sides:
        happened, censor, origin = observe.event_times(pool.trial, side, question.endpoint)
        times.append(np.where(np.isnan(happened), np.inf, happened))
        entries.append(side.entry + origin)
        lefts.append(np.maximum(np.minimum(side.dropout - origin, censor), 0.0))
    joined = [np.concatenate(parts, axis=1) for parts in (times, entries, lefts)]
    shape = (hi - lo, len(question.fractions))
    found = {name: np.full(shape, np.nan) for name in ("log_hr", "z", "cutoff")}
    for k, fraction in enumerate(question.fractions):
        events = max(round(fraction * question.final_events), 1)
        cutoff = event_cutoff(joined[0], joined[1], events, joined[2])
        found["cutoff"][:, k] = cutoff
        comparison = Comparison(question.endpoint, "", None, question.arm, question.reference)
        # Where the events never come, the look is taken when everybody has been followed to the end.
        analysis, ok = compare(pool.trial, arms, comparison, np.minimum(cutoff, HORIZON), (), 1.0)
        if analysis is not None:
            found["log_hr"][ok, k] = analysis.log_hr
            found["z"][ok, k] = -analysis.logrank_z
    return found


def looks(
    pool: Pool,
    position: int,
    replicates: int,
    seed: int,
    name: str,
    *,
    threads: int | None = None,
    progress: ProgressCallback | None = None,
) -> dict[str, Floats]:
    """Run `question_job`: arrays (replicates, looks) by name."""
    job = question_job(pool, position, replicates, seed, name)
    with run(job, threads=threads, progress=progress) as shards:
        parts = [shard.arrays for shard in shards]
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def from_mechanism(
    answer: FromRatio, found: Mapping[str, Floats], draws: int, without: Mapping[str, Floats] | None = None
) -> FromMechanism:
    """What simulated trials say about the same looks. `found` and `without` come from `looks`."""
    question, design = answer.question, answer.design
    z, log_hr, cutoff = found["z"], found["log_hr"], found["cutoff"]
    bounds = np.array(design.bounds)
    with np.errstate(invalid="ignore"):
        crossed = z >= bounds
    first = np.zeros_like(crossed)
    stopped = np.zeros(len(z), dtype=bool)
    for k in range(crossed.shape[1]):
        first[:, k] = crossed[:, k] & ~stopped
        stopped |= crossed[:, k]
    # Replicates of one draw share its parameters: the error is that of the draws' means.
    by_draw = np.array([stopped[d::draws].mean() for d in range(min(draws, len(z)))])
    mcse = (
        float(by_draw.std(ddof=1) / math.sqrt(len(by_draw)))
        if draws > 1
        else math.sqrt(max(stopped.mean() * (1.0 - stopped.mean()), 0.0) / len(z))
    )
    ratios = np.exp(np.nanquantile(log_hr, [0.025, 0.5, 0.975], axis=0)).T
    future = with_mechanism = alike = None
    kept = 0.0
    fraction, current = question.published_fraction, answer.current
    if fraction is not None and current is not None and fraction < 1.0:
        k = question.fractions.index(fraction)
        middle = np.nanmedian(log_hr, axis=0)
        # Information adds up: all events = those so far and those to come.
        future = math.exp((middle[-1] - fraction * middle[k]) / (1.0 - fraction))
        with_mechanism = conditional_power(current, fraction, design, future)
        away = (log_hr[:, k] - math.log(current.median)) / current.log_se
        weight = np.where(np.isfinite(away), np.exp(-0.5 * (away / NEAR) ** 2), 0.0)
        kept = float(weight.sum() ** 2 / (weight**2).sum()) if weight.any() else 0.0
        later = crossed[:, k + 1 :].any(axis=1)
        alike = float((weight * later).sum() / weight.sum()) if kept >= 1.0 else None
    return FromMechanism(
        replicates=len(z),
        draws=draws,
        hazard_ratio=ratios,
        cutoff=np.array([_median(column) for column in cutoff.T]),
        reached=np.isfinite(cutoff).mean(axis=0),
        crossing=first.mean(axis=0),
        crossing_mcse=mcse,
        without_later_lines=None if without is None else math.exp(float(np.nanmedian(without["log_hr"][:, -1]))),
        future_hr=future,
        given_data_and_mechanism=with_mechanism,
        given_alike=alike,
        alike=kept,
    )


def _median(column: Floats) -> float:
    ordered = np.sort(column)
    return float(ordered[len(ordered) // 2])


# -- words ---------------------------------------------------------------------------------------------------------


def as_object(trial: Trial, answer: FromRatio, mechanism: FromMechanism | None) -> dict[str, Any]:
    """For JSON."""
    q, later = answer.question, answer.later
    found: dict[str, Any] = {
        "trial": trial.id,
        "endpoint": q.endpoint,
        "arm": q.arm,
        "reference": q.reference,
        "confirmed": q.confirmed,
        "note": q.note,
        "final_events": q.final_events,
        "alpha_one_sided": q.alpha,
        "looks": [
            {"fraction": f, "bound_z": finite_or_none(b), "one_sided_p": p, "critical_hr": c}
            for f, b, p, c in zip(
                answer.design.fractions, answer.design.bounds, answer.design.nominal_p, answer.critical_hr, strict=True
            )
        ],
        "published": None
        if answer.current is None
        else {
            "hr": answer.current.median,
            "ci95": list(answer.interval or ()),
            "fraction": q.published_fraction,
            "likelihood_interval_8": list(answer.current.likelihood_interval(8.0)),
            "likelihood_interval_32": list(answer.current.likelihood_interval(32.0)),
        },
        "supposed": [
            {
                "hr": s.hr,
                "name": s.name,
                "power": s.power,
                "observed_low": s.observed[0],
                "observed_high": s.observed[2],
                "p_observed_as_bad_as_published": None if s.compatibility is None else s.compatibility.p_worse,
                "p_two_sided": None if s.compatibility is None else s.compatibility.p_two_sided,
                "likelihood_against_best": None if s.compatibility is None else s.compatibility.likelihood_against_best,
                "likelihood_against_no_effect": None
                if s.compatibility is None
                else s.compatibility.likelihood_against_no_effect,
            }
            for s in answer.supposed
        ],
        "assurance": answer.assurance,
        "later_looks_from_hazard_ratio": None
        if later is None
        else {
            "critical_hr": list(later.critical_hr),
            "current_trend": later.current_trend,
            "no_effect": later.no_effect,
            "planned": later.planned,
            "predictive": later.predictive,
        },
        "mechanism": None,
    }
    if mechanism is not None:
        m = mechanism
        found["mechanism"] = {
            "replicates": m.replicates,
            "iterations": m.draws,
            "looks": [
                {
                    "fraction": f,
                    "month": finite_or_none(m.cutoff[k]),
                    "reached": float(m.reached[k]),
                    "hr": float(m.hazard_ratio[k, 1]),
                    "lower": float(m.hazard_ratio[k, 0]),
                    "upper": float(m.hazard_ratio[k, 2]),
                    "crosses_first_here": float(m.crossing[k]),
                }
                for k, f in enumerate(q.fractions)
            ],
            "significant": float(m.crossing.sum()),
            "mcse": m.crossing_mcse,
            "hr_without_later_lines": m.without_later_lines,
            "future_hr": m.future_hr,
            "given_published_and_mechanism": m.given_data_and_mechanism,
            "given_replicates_like_published": m.given_alike,
            "replicates_like_published": m.alike,
        }
    return found


def as_text(trial: Trial, answer: FromRatio, mechanism: FromMechanism | None) -> str:
    """For people."""
    q = answer.question
    text = [
        f"{trial.id}: {q.endpoint}, {q.arm} against {q.reference}",
        f"{q.final_events} events at the last look, one-sided alpha {q.alpha:g}"
        + ("" if q.confirmed else " (assumed in part: the note below)"),
        "",
        "look      bound on z  one-sided p  crosses at a hazard ratio up to",
    ]
    for f, b, p, c in zip(
        answer.design.fractions, answer.design.bounds, answer.design.nominal_p, answer.critical_hr, strict=True
    ):
        text.append(f"{f:<8.3f}  {b:10.3f}  {p:11.4f}  {c:.3f}")
    text.append("")
    current = answer.current
    if current is not None and answer.interval is not None:
        low, high = answer.interval
        strong = current.likelihood_interval(32.0)
        text.append(
            f"published: {current.median:.2f} ({low:.2f} to {high:.2f}); true ratios with at least 1/32 of its likelihood: "
            f"{strong[0]:.2f} to {strong[1]:.2f}"
        )
    head = "if the true ratio were       power  final look would observe"
    text.append(head + ("      P(as bad as published)  p (two-sided)  likelihood v no effect" if current else ""))
    for s in answer.supposed:
        line = f"{s.hr:<6.2f} {s.name:<21s} {s.power:.3f}  {s.observed[0]:.2f} to {s.observed[2]:.2f}"
        beside = s.compatibility
        if beside is not None:
            against = _odds(beside.likelihood_against_no_effect)
            line = f"{line:<60s}  {beside.p_worse:<22.4f} {beside.p_two_sided:<14.4f} {against}"
        text.append(line.rstrip())
    if answer.assurance is not None and answer.belief is not None:
        low, high = answer.belief.interval()
        text.append(
            f"assurance of a new trial of the same size, the true ratio being believed {answer.belief.median:.2f} "
            f"({low:.2f} to {high:.2f}): {answer.assurance:.2f}"
        )
    text.append("")
    text += _side_by_side(answer, mechanism)
    if q.note is not None:
        text += ["", f"note: {q.note}"]
    return "\n".join(text) + "\n"


def _odds(ratio: float) -> str:
    return f"{ratio:.2g}" if ratio >= 0.01 else f"1/{1.0 / ratio:,.0f}"


def _side_by_side(answer: FromRatio, mechanism: FromMechanism | None) -> list[str]:
    later, q = answer.later, answer.question
    text = []
    if later is not None:
        text += [
            "Will a later look be significant?",
            "from the hazard ratio alone",
            f"  the trend goes on                        {later.current_trend:.2f}",
            f"  no effect from now on                    {later.no_effect:.2f}",
            f"  the planned ratio from now on            {later.planned:.2f}",
            f"  averaged over what the data leave open   {later.predictive:.2f}",
        ]
    else:
        planned = next(s for s in answer.supposed if s.name == "planned")
        text += [
            "Will the comparison be significant?",
            "from the hazard ratio alone",
            f"  the planned ratio is true                {planned.power:.2f}",
        ]
    if mechanism is None:
        return text
    m = mechanism
    draws = "the parameters at their values" if m.draws == 1 else f"{m.draws:,} draws of the parameters"
    text.append(f"from the mechanism ({m.replicates:,} simulated trials, {draws})")
    text.append(
        f"  the model alone                          {m.crossing.sum():.2f} (standard error {m.crossing_mcse:.3f})"
    )
    if m.given_data_and_mechanism is not None and m.future_hr is not None:
        text.append(
            f"  published so far, mechanism from now on  {m.given_data_and_mechanism:.2f} "
            f"(ratio among the events to come {m.future_hr:.2f})"
        )
        if m.given_alike is not None:
            text.append(
                f"  simulated trials like the published one  {m.given_alike:.2f} (worth {m.alike:.0f} simulated trials)"
            )
    for k, f in enumerate(q.fractions):
        low, middle, high = m.hazard_ratio[k]
        when = f"month {m.cutoff[k]:.0f}" if math.isfinite(m.cutoff[k]) else "never in most simulated trials"
        text.append(f"  look {f:.3f}, {when}: ratio {middle:.2f} ({low:.2f} to {high:.2f})")
    if m.without_later_lines is not None:
        text.append(
            f"  without further lines the last look would have {m.without_later_lines:.2f}: "
            f"later treatment moves it to {m.hazard_ratio[-1, 1]:.2f}"
        )
    if m.reached[-1] < 1.0:
        text.append(f"  the last look's events ever happen in {m.reached[-1]:.2f} of the simulated trials")
    return text
