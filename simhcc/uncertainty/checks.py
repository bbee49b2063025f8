"""The tests of the TECH-VER checklist as automatic checks on any scenario: run the model where the answer is known.

Source: Buyukkaramikli, Rutten-van Molken, Severens and Al, PharmacoEconomics 2019;37:1391 (TECH-VER). Where the answer
follows from arithmetic alone, results must agree to rounding; where random patients are involved, within four standard
errors. Patients and luck are the same in all experiments. A check raises `Failed` or `NotApplicable`, or returns what it saw.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special, stats

from simhcc.distributions import gengamma_survival
from simhcc.economics import Psa, ceac, efficiency_frontier, evpi, icer_table, nmb, pairwise_icers
from simhcc.errors import InputError, ModelError
from simhcc.graph import (
    AdministrationReward,
    Channel,
    End,
    Hazard,
    MarkReward,
    Pathway,
    RateReward,
    State,
    Strategy,
    TimeToDeathReward,
    Transition,
    exponential,
)
from simhcc.inputs import UNITS, ParameterSet
from simhcc.model import as_values
from simhcc.simulation import Evaluation, simulate
from simhcc.uncertainty import surgery
from simhcc.uncertainty.bench import (
    LIFETIME_YEARS,
    LUCK,
    MANY_SIGMAS,
    PROGRESSION,
    PSA_DRAWS,
    ROUNDING,
    SAMPLED,
    SIGMAS,
    STEEPEST_RATE,
    UNDISCOUNTED_COST,
    Bench,
    Failed,
    NotApplicable,
    deaths,
    identical,
    is_cost,
    names_of,
    same,
    toxicity_rates,
)
from simhcc.uncertainty.factors import axes_of, posterior_of

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Check:
    """One test: `test` returns a sentence on what was seen, or raises `Failed` or `NotApplicable`."""

    id: str
    title: str
    expected: str
    test: Callable[[Bench], str]


# ---------------------------------------------------------------------------------------------------------------------
# Before the analysis


def _price_rises(bench: Bench) -> str:
    drugs = [name for name in bench.moneys if name.startswith("prices.")]
    if not drugs:
        raise NotApplicable("no drug prices")
    paid = 0
    for name in drugs:
        used = bench.quantity_of[name]
        for column in bench.cost_columns:
            base = bench.case("base", column)
            half, twice = bench.case(f"{name} x 1.5", column) - base, bench.case(f"{name} x 2", column) - base
            same(twice, 2.0 * half, f"{column} when {name} rises twice as much", bench.ids, base)
            stray = ~used & (twice != 0.0)
            if stray.any():
                who = bench.ids[int(np.flatnonzero(stray)[0])]
                raise Failed(f"{column} changes with {name} under {who}, which does not use it")
        rise = bench.case(f"{name} x 2", "cost") - bench.case("base", "cost")
        whole = sum(
            (bench.case(f"{name} x 2", c) - bench.case("base", c) for c in bench.cost_columns if c != "cost"),
            np.zeros(len(bench.ids)),
        )
        same(
            whole,
            rise,
            f"rise of the categories with {name} against that of cost",
            bench.ids,
            bench.case("base", "cost"),
        )
        effective = bench.parts[1][name][0] > 0.0 and used.any()
        # A price of the panel that is not in force changes nothing.
        if effective and (rise[used] > 0.0).any() != (rise[used] > 0.0).all():
            raise Failed(f"cost rises with {name} under some strategies that use it and not under others")
        paid += bool(effective and (rise[used] > 0.0).all())
    if not paid:
        raise Failed("no drug price changes any cost")
    return f"{paid} of {len(drugs)} prices are in force and paid; cost rises in proportion, and only where the drug is used"


def _weight_rises(bench: Bench) -> str:
    cohort = bench.parts[2]
    evaluation = bench.parts[0]
    by_weight = {r.per for r in evaluation.rewards if isinstance(r, AdministrationReward) and r.per}
    if "weight" not in cohort or not by_weight & set(cohort):
        raise NotApplicable("no drug is dosed by weight")
    heavier = _heavier(bench)
    base, more = bench.base, bench.run(cohort={**cohort, **heavier})
    grown = False
    for position, term in enumerate(base.terms):
        before, after = base.quantities[0, :, position], more.quantities[0, :, position]
        if isinstance(term, AdministrationReward) and term.per in by_weight:
            if (after < before * (1.0 - ROUNDING)).any():
                raise Failed(f"less of {term.treatment} is paid for heavier patients")
            grown |= bool((after > before).any())
        elif is_cost(term.channel) and not np.array_equal(before, after):
            raise Failed(f"a cost that does not depend on weight changes with it ({term.channel})")
    if not grown:
        raise NotApplicable("no drug that is dosed by weight is given")
    return "a quarter heavier: units of weight-dosed drugs rise, everything else stays bit for bit"


def _heavier(bench: Bench) -> dict[str, Floats]:
    """Weight a quarter higher, and the units of weight-dosed drugs that go with it."""
    weight = bench.parts[2]["weight"] * 1.25
    base = {name: value[0] for name, value in bench.parts[1].items()}
    return {"weight": weight} | bench.doses(weight, base)


def _ratio_rises(bench: Bench) -> str:
    evaluation = bench.parts[0]
    chosen = surgery.marked(*PROGRESSION)
    endpoints = [e for e in evaluation.endpoints if set(e.marks) & set(PROGRESSION) and set(e.marks) - set(PROGRESSION)]
    if not endpoints or not evaluation.landmarks:
        raise NotApplicable("no endpoint with progression or recurrence, or no landmark")
    higher = bench.run(replace(evaluation, pathway=surgery.faster(evaluation.pathway, chosen, math.log(1.5))))
    columns = [f"{e.id}_{m:g}m" for e in endpoints for m in evaluation.landmarks]
    rises = False
    for column in columns:
        k = bench.base.column(column)
        free, faster = bench.base.means[0, :, k], higher.means[0, :, k]
        known = np.isfinite(free) & np.isfinite(faster)
        if ((faster[known] < 0.0) | (faster[known] > 1.0)).any():
            raise Failed(f"{column} outside 0 to 1")
        slack = SIGMAS * np.hypot(bench.base.mcse[0, :, k], higher.mcse[0, :, k])
        wrong = known & (faster > free + slack)
        if wrong.any():
            raise Failed(f"{column} rises with the hazard ratio under {bench.ids[int(np.flatnonzero(wrong)[0])]}")
        rises |= bool((faster[known] < free[known]).any())
    if not rises:
        raise Failed("a hazard ratio of 1.5 on progression and recurrence changes no endpoint")
    return f"hazard ratio 1.5 on progression and recurrence: {len(columns)} landmarks fall and stay within 0 and 1"


def _below_survival(bench: Bench) -> str:
    death = deaths(bench)
    base = bench.base
    alive = base.survival(death.id)[0]
    looked = []
    for endpoint in bench.parts[0].endpoints:
        if endpoint.id == death.id or endpoint.origin is not None or not set(death.marks) <= set(endpoint.marks):
            continue
        looked.append(endpoint.id)
        above = base.survival(endpoint.id)[0] > alive + ROUNDING
        if above.any():
            strategy, month = (int(k[0]) for k in np.nonzero(above))
            raise Failed(f"{endpoint.id} above {death.id} at {base.grid[month]:g} months under {bench.ids[strategy]}")
    if not looked:
        raise NotApplicable("no endpoint that contains death and something else")
    return f"{', '.join(looked)} never above {death.id}"


def _special_cases(bench: Bench) -> str:
    """Weibull with shape 1, generalised gamma with Q = 1, Q = sigma and Q = 0, in the engine and in SciPy."""
    scale, shape = 20.0, 1.4
    twins = {
        "Weibull with shape 1 and exponential": (
            Hazard("weibull", {"shape": 1.0, "scale": scale}),
            exponential(1.0 / scale),
        ),
        "generalised gamma with Q 1 and Weibull": (
            Hazard("gengamma", {"mu": math.log(scale), "sigma": 1.0 / shape, "Q": 1.0}),
            Hazard("weibull", {"shape": shape, "scale": scale}),
        ),
        "Gompertz with shape 0 and exponential": (
            Hazard("gompertz", {"shape": 0.0, "rate": 1.0 / scale}),
            exponential(1.0 / scale),
        ),
    }
    for words, (one, other) in twins.items():
        first, second = (_life_of(hazard, bench.threads) for hazard in (one, other))
        # The generalised gamma is a table built for each draw, with an error of its own.
        if not math.isclose(first, second, rel_tol=1e-6):
            raise Failed(f"{words}: mean {first:.8g} and {second:.8g} months")
    times = np.array([1.0, 5.0, 20.0, 60.0])
    gamma = gengamma_survival(times, math.log(scale), shape, shape)
    k = shape**-2.0
    expected = special.gammaincc(k, times / (scale * shape**2.0))
    if not np.allclose(gamma, expected, rtol=1e-8):
        raise Failed(f"generalised gamma with Q = sigma is not the gamma distribution: {gamma} and {expected}")
    return "special cases of the Weibull, Gompertz and generalised gamma agree, patient by patient"


def _life_of(hazard: Hazard, threads: int | None) -> float:
    """Mean months of one state with one hazard."""
    pathway = Pathway(
        name="one",
        start="alive",
        nodes=(
            State(name="alive", transitions=(Transition(name="death", hazard=hazard, to="dead"),)),
            End(name="dead"),
        ),
    )
    evaluation = Evaluation(
        pathway=pathway,
        strategies=(Strategy(id="only"),),
        channels=(Channel(id="months"),),
        rewards=(RateReward(channel="months", rate=1.0),),
        horizon=1000.0,
        grid_step=None,
    )
    found = simulate(evaluation, as_values({}, 1), patients=1024, luck=LUCK, threads=threads)
    return float(found.means[0, 0, 0])


def _ratios_are_flagged(bench: Bench) -> str:
    ratios = bench.names_of_unit("hazard_ratio", "log_hazard_ratio")
    if not ratios:
        raise NotApplicable("no hazard ratio is used")
    silent = [
        name
        for name in ratios
        if not (p := bench.parameters[name]).note and not p.formula and not p.reason and not p.run
    ]
    if silent:
        raise Failed(f"{silent[0]} is applied to a parametric hazard and nothing says so or why ({len(silent)} in all)")
    return (
        f"{len(ratios)} hazard ratios are applied to parametric hazards: proportionality is an assumption, and each says "
        "where it comes from"
    )


def _effects_are_centred(bench: Bench) -> str:
    units = ("hazard_ratio", "odds_ratio", "risk_ratio", "ratio", "per_month", "per_year")
    structural = {name for topic in bench.parameters.structures for name in topic.names}
    effects = [
        n
        for n in bench.uncertain
        if bench.parameters[n].unit in units and not bench.parameters[n].is_vector and n not in structural
    ]
    if not effects:
        raise NotApplicable("no effect is uncertain")
    for name in effects:
        draws, point = bench.sampled[name], float(bench.parameters[name].base())
        if (draws < 0.0).any():
            raise Failed(f"a draw of {name} is {draws.min():.4g}, below 0")
        low, high = np.quantile(draws, [0.025, 0.975])
        # A published point is a mean or a median; both lie well inside the draws.
        middle = np.quantile(draws, [0.2, 0.8])
        if not middle[0] <= point <= middle[1] and not math.isclose(point, float(draws.mean()), rel_tol=0.05):
            raise Failed(f"{name}: the point {point:.4g} is off the middle of its draws ({low:.4g} to {high:.4g})")
    return f"{len(effects)} effects: no draw below 0, and the point value in the middle of the draws"


# ---------------------------------------------------------------------------------------------------------------------
# Events and states


def _states_sum(bench: Bench) -> str:
    death = deaths(bench)
    base = bench.base
    alive = base.survival(death.id)[0]
    inside = base.occupancy.sum(axis=1)
    # At the horizon all visits close.
    steps = int((base.grid < base.horizon).sum())
    gap = np.abs(inside[:, :steps] - alive[:, :steps])
    if gap.max() > ROUNDING:
        strategy, month = np.unravel_index(int(gap.argmax()), gap.shape)
        raise Failed(
            f"{inside[strategy, month]:.6f} of the patients are in a state and {alive[strategy, month]:.6f} alive at "
            f"{base.grid[month]:g} months under {bench.ids[int(strategy)]}"
        )
    return f"states and deaths sum to the cohort at {steps} times"


def _in_range(bench: Bench) -> str:
    base = bench.base
    for endpoint in base.endpoints:
        curve = base.survival(endpoint)
        if (curve[np.isfinite(curve)] < -ROUNDING).any() or (curve[np.isfinite(curve)] > 1.0 + ROUNDING).any():
            raise Failed(f"{endpoint} leaves 0 to 1")
    if (base.endpoint_counts < 0).any() or (base.mark_sums < 0).any() or (base.quantities < 0).any():
        raise Failed("a count or a quantity is below 0")
    if (base.occupancy < 0).any() or (base.occupancy > 1.0 + ROUNDING).any():
        raise Failed("a share of patients in a state leaves 0 to 1")
    for column in base.columns:
        if column.endswith("m") and column.rpartition("_")[2][:-1].isdigit():
            values = base.means[0, :, base.column(column)]
            values = values[np.isfinite(values)]
            if (values < 0.0).any() or (values > 1.0).any():
                raise Failed(f"{column} leaves 0 to 1")
    return "counts and quantities are not negative, shares lie within 0 and 1"


def _dead_do_not_return(bench: Bench) -> str:
    death = deaths(bench)
    alive = bench.base.survival(death.id)[0]
    risen = np.diff(alive, axis=1) > ROUNDING
    if risen.any():
        strategy, month = (int(k[0]) for k in np.nonzero(risen))
        raise Failed(f"the number dead falls after {bench.base.grid[month]:g} months under {bench.ids[strategy]}")
    return "the number dead never falls"


def _nobody_is_left(bench: Bench) -> str:
    death = deaths(bench)
    if bench.parts[0].horizon < 12.0 * LIFETIME_YEARS - ROUNDING:
        raise NotApplicable(f"the horizon is {bench.parts[0].horizon / 12.0:g} years, not a lifetime")
    alive = bench.base.survival(death.id)[0][:, -1]
    n = bench.patients
    # The share of this cohort, with room for chance around one in a thousand.
    limit = 0.001 + SIGMAS * math.sqrt(0.001 / n)
    if (alive > limit).any():
        k = int(alive.argmax())
        raise Failed(f"{alive[k]:.2%} alive at the horizon under {bench.ids[k]}")
    return f"at most {alive.max():.2%} alive at the horizon of {bench.parts[0].horizon / 12.0:g} years"


def _without_death(bench: Bench) -> str:
    evaluation = bench.parts[0]
    found = bench.immortal
    ends = [found.marks.index(node.name) for node in evaluation.pathway.nodes if isinstance(node, End)]
    dead = found.mark_sums[:, ends, 0].sum(axis=1)
    if (dead > 0).any():
        k = int(dead.argmax())
        raise Failed(f"{dead[k]:g} of {bench.patients} die without mortality under {bench.ids[k]}")
    if "ly_undiscounted" in found.columns:
        years = np.full(len(bench.ids), evaluation.horizon / 12.0)
        same(found.means[0, :, found.column("ly_undiscounted")], years, "life years without mortality", bench.ids)
    return "without mortality nobody dies, and everybody lives to the horizon"


def _certain_death(bench: Bench) -> str:
    evaluation = bench.parts[0]
    death = deaths(bench)
    quick = surgery.faster(evaluation.pathway, surgery.deadly(evaluation.pathway), 300.0)
    found = bench.run(replace(evaluation, pathway=quick))
    alive = found.survival(death.id)[0]
    if alive.shape[1] > 1 and (alive[:, 1] > 0.0).any():
        k = int(alive[:, 1].argmax())
        raise Failed(f"{alive[k, 1]:.1%} alive after the first step although death is certain, under {bench.ids[k]}")
    return "with certain death nobody is alive after the first step of the grid"


def _neutral_effects(bench: Bench) -> str:
    evaluation = bench.parts[0]
    first = evaluation.strategies[0]
    twins = tuple(replace(first, id=strategy.id, label=strategy.label) for strategy in evaluation.strategies)
    found = bench.run(replace(evaluation, strategies=twins))
    identical(
        found,
        found,
        "the same treatment, effects and costs in all arms",
        [(0, k) for k in range(1, len(twins))],
        bench.ids,
    )
    if len(twins) < 2:
        raise NotApplicable("one strategy")
    if found.differences.size and np.nanmax(np.abs(found.differences)) != 0.0:
        raise Failed("paired differences between arms that are the same")
    return f"{len(twins)} arms with the same treatment, effects and costs agree bit for bit"


def _no_progression(bench: Bench) -> str:
    evaluation = bench.parts[0]
    chosen = surgery.marked(*PROGRESSION)
    death = deaths(bench)
    marks = [k for k, mark in enumerate(bench.base.marks) if mark in PROGRESSION]
    if not marks:
        raise NotApplicable("no mark of progression or recurrence")
    found = bench.run(replace(evaluation, pathway=surgery.without(evaluation.pathway, chosen)))
    seen = found.mark_sums[:, marks, 0].sum(axis=1)
    if (seen > 0).any():
        k = int(seen.argmax())
        raise Failed(f"{seen[k]:g} progressions or recurrences although they are switched off, under {bench.ids[k]}")
    looked = 0
    for endpoint in evaluation.endpoints:
        others = {*endpoint.marks} - {*death.marks, *PROGRESSION}
        unseen = not any(found.mark_sums[:, found.marks.index(m), 0].any() for m in others if m in found.marks)
        whole = set(death.marks) <= set(endpoint.marks) and set(PROGRESSION) & set(endpoint.marks)
        if endpoint.origin is None and whole and unseen:
            looked += 1
            one, other = found.survival(endpoint.id)[0], found.survival(death.id)[0]
            if np.abs(one - other).max() > ROUNDING:
                raise Failed(f"{endpoint.id} differs from {death.id} although nobody progresses")
    return "with progression and recurrence switched off none is seen" + (
        f", and {looked} endpoints of progression are those of death" if looked else ""
    )


def _swapped(bench: Bench) -> str:
    evaluation = bench.parts[0]
    if len(evaluation.strategies) < 2:
        raise NotApplicable("one strategy")
    n = len(evaluation.strategies)
    found = bench.run(replace(evaluation, strategies=evaluation.strategies[::-1], comparator=evaluation.reference))
    identical(bench.base, found, "another order", [(k, n - 1 - k) for k in range(n)], bench.ids)
    ids = bench.ids
    # The names change places: each table runs under another strategy's name.
    moved = tuple(
        replace(strategy, id=ids[(k + 1) % n], label=ids[(k + 1) % n])
        for k, strategy in enumerate(evaluation.strategies)
    )
    found = bench.run(replace(evaluation, strategies=moved, comparator=None))
    identical(bench.base, found, "names swapped", [(k, k) for k in range(n)], ids)
    return "results follow their strategies when order or names are swapped, bit for bit"


def _death_shortens_life(bench: Bench) -> str:
    bench.has("ly")
    evaluation = bench.parts[0]
    quick = surgery.faster(evaluation.pathway, surgery.deadly(evaluation.pathway), math.log(1.5))
    found = bench.run(replace(evaluation, pathway=quick))
    k = found.column("ly")
    more, base = found.means[0, :, k], bench.mean("ly")
    if (more >= base).any():
        j = int((more - base).argmax())
        raise Failed(f"{base[j]:.4f} life years, {more[j]:.4f} with death 1.5 times as fast, under {bench.ids[j]}")
    return "with death 1.5 times as fast life years fall under every strategy"


def _no_time(bench: Bench) -> str:
    found = bench.instant
    for column in ("ly", "ly_undiscounted", "qaly"):
        if column in found.columns and (np.abs(found.means[0, :, found.column(column)]) > ROUNDING).any():
            # A disutility over a time after a procedure at once counts at its event, so QALYs may be below 0.
            if column == "qaly" and (found.means[0, :, found.column(column)] <= ROUNDING).all():
                continue
            raise Failed(f"{column} {found.means[0, :, found.column(column)].max():.3g} although no time passes")
    for position, term in enumerate(found.terms):
        timed = isinstance(term, RateReward | TimeToDeathReward)
        if timed and (found.quantities[0, :, position] > ROUNDING).any():
            raise Failed(f"months are counted in {term.channel} although no time passes")
    if "cost" in found.columns:
        cost = found.means[0, :, found.column("cost")]
        if (cost > bench.mean("cost") + ROUNDING * np.abs(bench.mean("cost"))).any():
            raise Failed("costs at time 0 exceed those of the whole horizon")
    return "a horizon of no length leaves no life years and only what is paid at once"


# ---------------------------------------------------------------------------------------------------------------------
# Results


def _utilities_one(bench: Bench) -> str:
    bench.has("qaly", "ly")
    if not bench.names_of_unit("utility", "disutility"):
        raise NotApplicable("no utilities in params/")
    for one, other in (("qaly", "ly"), ("qaly_undiscounted", "ly_undiscounted")):
        if one in bench.base.columns and other in bench.base.columns:
            same(bench.case("utilities 1", one), bench.case("utilities 1", other), f"{one} against {other}", bench.ids)
    return "all utilities 1 and all losses 0: QALYs are life years"


def _utilities_zero(bench: Bench) -> str:
    bench.has("qaly")
    if not bench.names_of_unit("utility", "disutility"):
        raise NotApplicable("no utilities in params/")
    same(bench.case("utilities 0", "qaly"), np.zeros(len(bench.ids)), "QALYs", bench.ids)
    return "all utilities 0: no QALYs"


def _costs_zero(bench: Bench) -> str:
    bench.has("cost")
    if not bench.moneys:
        raise NotApplicable("no amounts of money in params/")
    for column in bench.cost_columns:
        same(bench.case("costs 0", column), np.zeros(len(bench.ids)), column, bench.ids)
    return f"all {len(bench.moneys)} amounts of money 0: no costs"


def _undiscounted(bench: Bench) -> str:
    if not bench.discount_names:
        raise NotApplicable("nothing is discounted by a parameter")
    looked = []
    for column, plain in (("ly", "ly_undiscounted"), ("qaly", "qaly_undiscounted"), ("cost", UNDISCOUNTED_COST)):
        if column in bench.base.columns and plain in bench.base.columns:
            looked.append(column)
            same(bench.case("discount 0", column), bench.case("discount 0", plain), f"{column} at rate 0", bench.ids)
    if not looked:
        raise NotApplicable("no outcome is there with and without discounting")
    return f"at rate 0 discounted equals undiscounted: {', '.join(looked)}"


def _discounted_more(bench: Bench) -> str:
    names = bench.discount_names
    if not names:
        raise NotApplicable("nothing is discounted by a parameter")
    columns = [c.id for c in bench.parts[0].channels if names_of(c.discount)]
    for column in columns:
        base, more = bench.case("base", column), bench.case("discount raised", column)
        if (np.abs(more) > np.abs(base) * (1.0 + ROUNDING)).any() or (
            column in ("ly", "cost") and (base > 0.0).all() and (more >= base).any()
        ):
            k = int((np.abs(more) - np.abs(base)).argmax())
            raise Failed(f"{column} {base[k]:.6g}, {more[k]:.6g} at a higher rate, under {bench.ids[k]}")
    at_once = bench.instant
    for column in columns:
        if not (is_cost(column) or column.startswith("ly")):
            continue
        steep, raised = bench.case("discount steepest", column), bench.case("discount raised", column)
        due = at_once.means[0, :, at_once.column(column)]
        slack = ROUNDING * np.abs(bench.mean(column))
        wrong = (steep > raised + slack) | (steep < due - slack)
        if wrong.any():
            k = int(np.flatnonzero(wrong)[0])
            raise Failed(
                f"{column} at a rate of {STEEPEST_RATE:g}, {steep[k]:.6g}, does not lie between what is due at once, "
                f"{due[k]:.6g}, and {raised[k]:.6g} at a lower rate, under {bench.ids[k]}"
            )
    for channel in bench.parts[0].channels:
        if channel.id == "ly" and names_of(channel.discount):
            (name,) = names_of(channel.discount)
            rate, years = math.log1p(float(bench.parts[1][name][0])), bench.parts[0].horizon / 12.0
            whole = years if rate == 0.0 else -math.expm1(-rate * years) / rate
            found = bench.immortal.means[0, :, bench.immortal.column("ly")]
            same(found, np.full(len(bench.ids), whole), "discounted years of those who never die", bench.ids)
    return "totals fall with the rate, to no less than what is due at once; years without death discount to the closed form"


def _states_cost(bench: Bench) -> str:
    monthly = [n for n in bench.moneys if bench.parameters[n].unit.endswith(("_per_month", "_per_year"))]
    monthly = [n for n in monthly if not n.startswith("prices.")]
    if not monthly:
        raise NotApplicable("no cost by state")
    moved = 0
    for name in monthly:
        for column in bench.cost_columns:
            none, base, twice = (bench.case(case, column) for case in (f"{name} x 0", "base", f"{name} x 2"))
            same(twice - base, base - none, f"part of {column} that {name} pays, doubled", bench.ids, base)
        rise = bench.case(f"{name} x 2", "cost") - bench.case("base", "cost")
        used = bench.quantity_of[name] & bool(bench.parts[1][name][0] > 0.0)
        if (rise[used] <= 0.0).any():
            raise Failed(
                f"{name} is paid under {bench.ids[int(np.flatnonzero(used)[0])]} and doubling it changes nothing"
            )
        moved += bool(used.any())
    if not moved:
        raise NotApplicable("no cost by state is paid")
    return f"{moved} of {len(monthly)} monthly costs are paid; doubling one doubles its part exactly"


def _no_toxicity(bench: Bench) -> str:
    rates = toxicity_rates(bench)
    marks = _toxicity_marks(bench)
    if not rates or not marks:
        raise NotApplicable("no rate of adverse events in params/")
    found = bench.rows
    row = list(bench.cases).index("toxicity 0")
    for position, term in enumerate(found.terms):
        if isinstance(term, MarkReward) and term.mark in marks and (found.quantities[row, :, position] > 0.0).any():
            raise Failed(f"{term.mark} still counts in {term.channel} although adverse events are switched off")
    before = [p for p, t in enumerate(found.terms) if isinstance(t, MarkReward) and t.mark in marks]
    if not any((found.quantities[0, :, p] > 0.0).any() for p in before):
        raise NotApplicable("no adverse event happens")
    return f"{len(rates)} rates of adverse events 0: they cost nothing and take no QALYs"


def _toxicity_marks(bench: Bench) -> set[str]:
    """Marks that only adverse events of drugs leave: those that are paid for as adverse events and take quality of life."""
    paid = {r.mark for r in bench.parts[0].rewards if isinstance(r, MarkReward) and r.channel == "cost_adverse_event"}
    felt = {r.mark for r in bench.parts[0].rewards if isinstance(r, MarkReward) and r.channel == "qaly"}
    procedures = {r.mark for r in bench.parts[0].rewards if isinstance(r, MarkReward) and r.channel == "cost_procedure"}
    return (paid & felt) - procedures


def _parts_add_up(bench: Bench) -> str:
    parts = [c for c in bench.cost_columns if c != "cost"]
    if "cost" not in bench.base.columns or not parts:
        raise NotApplicable("no categories of cost")
    whole = sum((bench.mean(c) for c in parts), np.zeros(len(bench.ids)))
    same(whole, bench.mean("cost"), "sum of the categories against cost", bench.ids)
    return f"{len(parts)} categories add up to the cost"


def _both_ways(bench: Bench) -> str:
    evaluation = bench.parts[0]
    if len(bench.ids) < 2:
        raise NotApplicable("one strategy")
    other = next(i for i in bench.ids if i != evaluation.reference)
    found = bench.run(replace(evaluation, comparator=other))
    one = bench.base.differences[0, bench.base.pairs.index((other, evaluation.reference))]
    back = found.differences[0, found.pairs.index((evaluation.reference, other))]
    wrong = ~((one == -back) | (np.isnan(one) & np.isnan(back)))
    if wrong.any():
        k = int(np.flatnonzero(wrong)[0])
        raise Failed(f"{bench.base.columns[k]}: {one[k]:.8g} one way and {back[k]:.8g} the other")
    return f"{other} against {evaluation.reference} is minus {evaluation.reference} against {other}, in every outcome"


def _expected(bench: Bench) -> tuple[list[str], list[float], list[float]]:
    bench.has("cost", "qaly")
    return list(bench.ids), bench.mean("cost").tolist(), bench.mean("qaly").tolist()


def _equal_costs(bench: Bench) -> str:
    ids, costs, effects = _expected(bench)
    step = max(abs(costs[0]), 1.0)
    names = [*ids, "same", "dearer", "better"]
    table = icer_table(
        names, [*costs, costs[0], costs[0] + step, costs[0]], [*effects, effects[0], effects[0], effects[0] + 0.5]
    ).set_index("Strategy")
    labels = {str(name): str(status) for name, status in table["Status"].items()}
    if labels["dearer"] != "D":
        raise Failed(f"costs more for the same effect and is {labels['dearer']}, not dominated")
    if labels[ids[0]] != "D":
        raise Failed(f"does less for the same cost and is {labels[ids[0]]}, not dominated")
    if labels["same"] != labels[ids[0]]:
        raise Failed("two strategies of the same cost and effect have different labels")
    twin = icer_table(["a", "b"], [costs[0], costs[0]], [effects[0], effects[0]])
    if np.isinf(table["ICER"].to_numpy(dtype=float)).any() or np.isinf(twin["ICER"].to_numpy(dtype=float)).any():
        raise Failed("an infinite ICER")
    pair = pairwise_icers(["a", "b"], [costs[0], costs[0] + step], [effects[0], effects[0]], "a")
    if np.isfinite(pair["ICER"].iloc[0]):
        raise Failed("a ratio over an effect of nothing")
    return "equal costs and effects are labelled without a ratio"


def _frontier(bench: Bench) -> str:
    ids, costs, effects = _expected(bench)
    if len(ids) < 2:
        raise NotApplicable("one strategy")
    table = icer_table(ids, costs, effects)
    front = table[table["Status"] == "ND"]
    ratios = front["ICER"].dropna().to_numpy(dtype=float)
    if (np.diff(ratios) < -ROUNDING * np.abs(ratios[1:])).any() or (ratios <= 0.0).any():
        raise Failed(f"ICERs along the frontier do not rise: {np.round(ratios, 2).tolist()}")
    # Who is best at some willingness to pay, found by trying all where the best can change.
    cost, effect = np.array(costs), np.array(effects)
    with np.errstate(all="ignore"):
        switches = ((cost[:, None] - cost) / (effect[:, None] - effect)).ravel()
    switches = np.unique(switches[np.isfinite(switches) & (switches > 0.0)])
    tried = np.concatenate([[0.0], switches, (switches[1:] + switches[:-1]) / 2.0, [2.0 * switches.max(initial=1.0)]])
    best: set[str] = set()
    for value in tried:
        benefit = value * effect - cost
        best |= {
            ids[k] for k in np.flatnonzero(benefit >= benefit.max() - ROUNDING * max(1.0, float(np.abs(benefit).max())))
        }
    on = set(front["Strategy"])
    # The cheapest of those that do equally well at 0 is what counts there.
    if not on <= best:
        raise Failed(f"{sorted(on - best)[0]} is on the frontier and never the best")
    off = [name for name in best - on if table.set_index("Strategy").loc[name, "Status"] == "ED"]
    if off:
        raise Failed(f"{off[0]} is extendedly dominated and yet the best at some willingness to pay")
    return f"{len(on)} of {len(ids)} on the frontier, ICERs rising; the others are best at no willingness to pay"


def _net_benefit(bench: Bench) -> str:
    ids, costs, effects = _expected(bench)
    psa = Psa(pd.DataFrame([costs], columns=ids), pd.DataFrame([effects], columns=ids))
    wtp = bench.wtp
    benefit = nmb(psa, wtp).iloc[0]
    for name, cost, effect in zip(ids, costs, effects, strict=True):
        if not math.isclose(benefit[name], wtp * effect - cost, rel_tol=1e-12, abs_tol=1e-9):
            raise Failed(f"NMB of {name}: {benefit[name]:.6g} instead of {wtp * effect - cost:.6g}")
    frontier = efficiency_frontier(ids, costs, effects)
    holds = frontier[(frontier["WTP_From"] <= wtp) & (wtp <= frontier["WTP_To"])]["Strategy"].tolist()
    top = float(benefit.max())
    winners = [name for name in ids if benefit[name] >= top - ROUNDING * max(1.0, abs(top))]
    if not set(winners) & set(holds):
        raise Failed(
            f"{winners[0]} has the highest NMB at {wtp:,.0f}, but the frontier has {', '.join(holds) or 'nobody'} there"
        )
    return f"NMB is {wtp:,.0f} x QALY - cost; {winners[0]} has the highest, and the frontier agrees"


def _other_grid(bench: Bench) -> str:
    evaluation = bench.parts[0]
    if evaluation.grid_step is None:
        raise NotApplicable("no output grid")
    found = bench.run(replace(evaluation, grid_step=evaluation.grid_step / 4.0))
    identical(bench.base, found, "a grid four times as fine", [(k, k) for k in range(len(bench.ids))], bench.ids)
    for endpoint in bench.base.endpoints:
        gap = np.abs(bench.base.median(endpoint) - found.median(endpoint))
        if (gap[np.isfinite(gap)] > evaluation.grid_step).any():
            raise Failed(f"the median of {endpoint} moves by more than a step of the grid")
    return "times are exact, there is no cycle: totals do not depend on the output grid, bit for bit"


# ---------------------------------------------------------------------------------------------------------------------
# Uncertainty


def _no_variance(bench: Bench) -> str:
    known = {name: replace(p, uncertainty=None) for name, p in bench.parameters.items()}
    fixed = ParameterSet(known, bench.parameters.sources, (), (), bench.parameters.country, bench.parameters.files)
    evaluation, values, cohort = bench.assemble(replace(bench.sized, iterations=3), fixed)
    columns = {k: np.asarray(v)[: bench.patients] for k, v in cohort.items()}
    found = bench.run(bench.watched(evaluation), values, columns)
    for draw in range(3):
        a, b = found.means[draw], bench.base.means[0]
        wrong = ~((a == b) | (np.isnan(a) & np.isnan(b)))
        if wrong.any():
            k = int(np.nonzero(wrong)[1][0])
            raise Failed(
                f"{found.columns[k]} of draw {draw + 1} differs from the base case although nothing is uncertain"
            )
    return "draws without variance give the base case, bit for bit"


def _draws_inside(bench: Bench) -> str:
    for name in bench.uncertain:
        p, draws = bench.parameters[name], bench.sampled[name]
        limits = UNITS[p.unit]
        if not np.isfinite(draws).all() or (draws < limits.low).any() or (draws > limits.high).any():
            raise Failed(f"a draw of {name} leaves the range of {p.unit}")
        # Structural alternatives take the place of some draws.
        if p.uncertainty is None or any(name in topic.names for topic in bench.parameters.structures):
            continue
        marginals = p.uncertainty.marginals
        means = [m.mean for m in marginals]
        sds = [m.sd for m in marginals]
        if p.uncertainty.concentration:
            a = np.array(p.uncertainty.concentration)
            share = a / a.sum()
            means, sds = share.tolist(), np.sqrt(share * (1 - share) / (a.sum() + 1.0)).tolist()
        found = np.atleast_1d(draws.mean(axis=0))
        for k, (mean, sd) in enumerate(zip(means, sds, strict=True)):
            if abs(found[k] - mean) > MANY_SIGMAS * sd / math.sqrt(SAMPLED) + ROUNDING * abs(mean):
                raise Failed(f"draws of {name} average {found[k]:.5g}; their distribution has mean {mean:.5g}")
    return f"{len(bench.uncertain)} uncertain parameters: all draws inside their range, averages as they should be"


def _psa_is_near(bench: Bench) -> str:
    _ = bench.uncertain
    found = bench.psa[1]
    for column in ("ly", "qaly", "cost"):
        if column not in found.columns:
            continue
        draws = found.means[:, :, found.column(column)]
        sd = draws.std(axis=0, ddof=1)
        # The model is not linear, so its mean may lie off its value at the mean: by less than the spread of the draws.
        allowed = SIGMAS * sd / math.sqrt(len(draws)) + 0.5 * sd + ROUNDING
        gap = np.abs(draws.mean(axis=0) - bench.mean(column))
        if (gap > allowed).any():
            k = int((gap / np.maximum(allowed, 1e-300)).argmax())
            raise Failed(
                f"{column} averages {draws.mean(axis=0)[k]:.5g} over draws and is {bench.mean(column)[k]:.5g} in the base "
                f"case, under {bench.ids[k]}"
            )
    return f"means over {PSA_DRAWS} draws lie near the base case"


def _acceptability_sums(bench: Bench) -> str:
    _ = bench.uncertain
    table = ceac(bench.psa_tables, np.linspace(0.0, 3.0 * bench.wtp, 13).tolist())
    total = table.groupby("WTP")["Proportion"].sum()
    if (np.abs(total - 1.0) > 1e-9).any():
        raise Failed(f"probabilities sum to {total.iloc[int(np.abs(total - 1.0).to_numpy().argmax())]:.6f}")
    if (table["Proportion"] < 0.0).any():
        raise Failed("a probability below 0")
    return f"probabilities sum to 1 at {len(total)} thresholds"


def _acceptability_ends(bench: Bench) -> str:
    _ = bench.uncertain
    psa = bench.psa_tables
    for wtp, table, best in ((0.0, psa.costs, "min"), (1e15, psa.effects, "max")):
        curve = ceac(psa, [wtp]).set_index("Strategy")["Proportion"]
        values = table.to_numpy()
        extreme = values.min(axis=1) if best == "min" else values.max(axis=1)
        winners = values == extreme[:, None]
        shares = (winners / winners.sum(axis=1)[:, None]).mean(axis=0)
        for name, share in zip(psa.strategies, shares, strict=True):
            if abs(float(curve[name]) - share) > 1e-9:
                what = "the cheapest" if best == "min" else "the most effective"
                raise Failed(f"{name} is {what} in {share:.3f} of the draws and has probability {curve[name]:.3f}")
    return "at 0 the cheapest wins, at any price the most effective"


def _information(bench: Bench) -> str:
    _ = bench.uncertain
    psa = bench.psa_tables
    if len(psa.strategies) < 2:
        raise NotApplicable("one strategy")
    grid = np.linspace(0.0, 3.0 * bench.wtp, 31)
    curve = evpi(psa, grid.tolist())["EVPI"].to_numpy()
    if (curve < -ROUNDING).any():
        raise Failed(f"EVPI {curve.min():.6g} at {grid[int(curve.argmin())]:,.0f}")
    best = psa.strategies[0]
    sure = Psa(
        psa.costs.assign(**{best: psa.costs.to_numpy().min(axis=1) - 1.0}),
        psa.effects.assign(**{best: psa.effects.to_numpy().max(axis=1) + 1.0}),
    )
    if abs(evpi(sure, [bench.wtp])["EVPI"].iloc[0]) > ROUNDING * bench.wtp:
        raise Failed("EVPI above 0 although one option always wins")
    means = psa.means()
    frontier = efficiency_frontier(means["Strategy"].tolist(), means["Cost"].tolist(), means["Effect"].tolist())
    switches = [w for w in frontier["WTP_From"] if 0.0 < w < 10.0 * bench.wtp]
    for switch in switches:
        h = 1e-4 * switch
        before, at, after = evpi(psa, [switch - h, switch, switch + h])["EVPI"].to_numpy()
        if at < (before + after) / 2.0 - ROUNDING * max(1.0, abs(at)):
            raise Failed(f"EVPI has no peak at {switch:,.0f}, where the best strategy changes")
    return f"EVPI is never below 0, 0 when one option always wins, and peaks at {len(switches)} switch points"


def _one_way_base(bench: Bench) -> str:
    numbers = bench.parameters
    _ = bench.uncertain
    evaluation = replace(bench.parts[0], grid_step=None, trace=False)
    rows: dict[str, Floats] = {}
    for axis in axes_of(numbers, [], {}, bench.used):
        for name, value in axis.values(numbers, np.array([axis.base])).items():
            rows[name] = value * _rate(bench, name)
    found = bench.run(evaluation, {**bench.parts[1], **rows})
    wrong = ~np.isclose(found.means[0], bench.base.means[0], rtol=1e-6, atol=1e-9, equal_nan=True)
    if wrong.any():
        who, which = (int(k[0]) for k in np.nonzero(wrong))
        raise Failed(f"{found.columns[which]} changes under {bench.ids[who]} with every parameter at its base value")
    sides = 0
    for unit, column, sign in (("utility", "qaly", 1.0), ("disutility", "qaly", -1.0)):
        for name in bench.names_of_unit(unit) if column in bench.base.columns else ():
            if unit == "utility" and bench.parameters[name].is_vector:
                continue  # an age profile is relative: to raise all of it changes nothing
            for end, side in (("higher", 1.0), ("lower", -1.0)):
                change = sign * side * (bench.case(f"{name} {end}", column) - bench.case("base", column))
                if (change < -ROUNDING * np.abs(bench.case("base", column))).any():
                    raise Failed(f"{column} moves the wrong way when {name} is {end}")
                sides += 1
    for name in bench.moneys:
        if "procedure.resection" in name:
            continue  # enters an increment with both signs
        change = (
            bench.case(f"{name} x 2", "cost") - bench.case(f"{name} x 0", "cost")
            if "cost" in bench.base.columns
            else np.zeros(1)
        )
        if (change < -ROUNDING * np.abs(bench.case("base", "cost"))).any():
            raise Failed(f"cost falls when {name} rises")
        sides += 1
    return f"{len(rows)} parameters at their base value change nothing; {sides} ends of ranges lie on the expected side"


def _rate(bench: Bench, name: str) -> float:
    """What the assembly multiplies a number with (an exchange rate), read off the base values."""
    raw = float(np.atleast_1d(bench.parameters[name].base())[0])
    return float(np.atleast_1d(bench.parts[1][name][0])[0]) / raw if raw != 0.0 else 1.0


def _seeds(bench: Bench) -> str:
    again = bench.run()
    identical(bench.base, again, "the same seed twice", [(k, k) for k in range(len(bench.ids))], bench.ids)
    seed = bench.scenario.seed + 1 if bench.scenario.seed < 2**63 else bench.scenario.seed - 1
    evaluation, values, cohort = bench.assemble(replace(bench.sized, seed=seed), bench.parameters)
    columns = {k: np.asarray(v)[: bench.patients] for k, v in cohort.items()}
    other = bench.run(bench.watched(evaluation), values, columns)
    a, b = bench.base, other
    # Two thousand numbers are compared at once, and some are far from normal.
    with np.errstate(all="ignore"):
        error = np.hypot(a.mcse[0], b.mcse[0])
        far = np.abs(a.means[0] - b.means[0]) > 6.0 * error + 10.0 / bench.patients * np.abs(a.means[0])
    if far.any():
        strategy, column = (int(k[0]) for k in np.nonzero(far))
        raise Failed(
            f"{a.columns[column]} under {bench.ids[strategy]} is {a.means[0, strategy, column]:.5g} with one seed and "
            f"{b.means[0, strategy, column]:.5g} with another"
        )
    if np.array_equal(a.means, b.means, equal_nan=True):
        raise Failed("another seed gives the same results")
    return "the same seed gives the same bits, another seed the same results within error"


def _correlations(bench: Bench) -> str:
    groups = [g for g in bench.parameters.correlations if set(g.parameters) & set(bench.used)]
    posteriors = [p for p in bench.parameters.posteriors if set(p.parameters) & set(bench.used)]
    if not groups and not posteriors:
        raise NotApplicable("no parameters are correlated")
    structural = {name for topic in bench.parameters.structures for name in topic.names}
    for group in groups:
        names = [n for n in group.parameters if bench.parameters[n].uncertainty is not None]
        at = [group.parameters.index(n) for n in names]
        scores = np.column_stack([_scores(bench.sampled[n]) for n in names])
        if len(names) > 1:
            expected = np.array(group.matrix)[np.ix_(at, at)]
            _close_correlation(np.atleast_2d(np.corrcoef(scores, rowvar=False)), expected, names)
    for posterior in posteriors:
        places = posterior.columns(bench.parameters)
        # What a fit held at its value has no correlation, and a structural alternative takes the place of some draws.
        columns = {
            n: posterior.draws[:, place]
            for n in posterior.parameters
            if isinstance(place := places[n], int)
            and posterior_of(bench.parameters, n) is posterior
            and n not in structural
        }
        names = [n for n, column in columns.items() if np.ptp(column) > 0.0]
        if len(names) > 1:
            drawn = np.column_stack([_scores(bench.sampled[n]) for n in names])
            given = np.column_stack([_scores(columns[n]) for n in names])
            _close_correlation(
                np.atleast_2d(np.corrcoef(drawn, rowvar=False)), np.atleast_2d(np.corrcoef(given, rowvar=False)), names
            )
    return f"{len(groups)} correlated groups and {len(posteriors)} posteriors: sampled correlation as given"


def _scores(values: Floats) -> Floats:
    """Normal scores of the ranks; equal values share theirs."""
    return np.asarray(special.ndtri((stats.rankdata(values) - 0.5) / len(values)))


def _close_correlation(found: Floats, expected: Floats, names: Sequence[str]) -> None:
    gap = np.abs(found - expected)
    if gap.max() > MANY_SIGMAS / math.sqrt(SAMPLED):
        i, j = np.unravel_index(int(gap.argmax()), gap.shape)
        raise Failed(f"{names[int(i)]} and {names[int(j)]}: sampled {found[i, j]:.3f}, given {expected[i, j]:.3f}")


# ---------------------------------------------------------------------------------------------------------------------
# Other


def _one_command(bench: Bench) -> str:
    if bench.report is None:
        raise NotApplicable("checked by the command `simhcc verify` only")
    stored = bench.report(bench.sized, bench.parameters)
    evaluation, values, cohort = bench.assemble(bench.sized, bench.parameters)
    found = simulate(evaluation, values, cohort, patients=bench.patients, threads=bench.threads)
    for k, strategy in enumerate(found.strategies):
        for column in found.columns:
            now = float(found.means[0, k, found.column(column)])
            then = stored.get(strategy, {}).get(column, math.nan)
            # Costs of strategies with a drug without a price are left out of the report.
            if math.isnan(then) or math.isnan(now):
                continue
            if not math.isclose(now, then, rel_tol=1e-12, abs_tol=1e-12):
                raise Failed(f"{column} of {strategy}: {now:.8g}, in the stored report {then:.8g}")
    return f"one command from files to report; {len(found.columns)} outcomes are those of the stored report"


def _wrong_numbers(bench: Bench) -> str:
    tried = 0
    for units, wrong, what in (
        (("utility", "disutility"), 1.5, "a utility of 1.5"),
        (("fraction",), -0.5, "a fraction of -0.5"),
        (("hazard_ratio", "odds_ratio"), -1.0, "a ratio of -1"),
    ):
        names = [n for n in bench.names_of_unit(*units) if not bench.parameters[n].is_vector]
        if names:
            _refused(bench, {names[0]: wrong}, what)
            tried += 1
    money = [n for n in bench.moneys if not bench.parameters[n].is_vector]
    if money:
        _refused(bench, {money[0]: -1.0}, "a negative cost")
        tried += 1
    _refused(bench, {"no.such.parameter": 1.0}, "an unknown name")
    for name in sorted(bench.used & set(bench.parameters))[:3]:
        values = {k: v for k, v in bench.parts[1].items() if k != name}
        try:
            bench.run(replace(bench.parts[0], grid_step=None, trace=False), values)
        except (ModelError, InputError) as error:
            if name not in str(error):
                raise Failed(f"{name} is missing and the message does not name it: {error}") from None
            tried += 1
        else:
            raise Failed(f"{name} is missing and nothing is said")
    return f"{tried + 1} wrong or missing numbers are refused by name"


def _refused(bench: Bench, change: Mapping[str, float], what: str) -> None:
    try:
        bench.parameters.override(change)
    except InputError as error:
        (name,) = change
        if name not in str(error):
            raise Failed(f"{what} is refused without naming {name}") from None
        return
    raise Failed(f"{what} ({next(iter(change))}) is accepted")


def _money_and_years(bench: Bench) -> str:
    if not bench.moneys:
        raise NotApplicable("no amounts of money in params/")
    units = {bench.parameters[n].unit.partition("_per_")[0]: n for n in bench.moneys}
    wtp = [
        bench.parameters[n].unit.partition("_per_")[0]
        for n in bench.parameters
        if bench.parameters[n].unit.endswith("_per_qaly")
    ]
    currency = wtp[0] if wtp else next(iter(units))
    for money, name in units.items():
        if money != currency and not any(
            rate in bench.parameters
            for rate in (f"economics.{currency}_per_{money}", f"economics.{money}_per_{currency}")
        ):
            raise Failed(f"{name} is in {money}, the scenario counts in {currency}, and there is no exchange rate")
        if money != currency and _rate(bench, name) == 1.0 and np.any(bench.parameters[name].base()):
            raise Failed(f"{name} is in {money} and is added to amounts in {currency} as it is")
    years = [n for n in bench.parameters if n.endswith("price_year") and bench.parameters[n].unit == "calendar_year"]
    if len(years) != 1:
        raise Failed(f"{len(years)} price years; one is needed")
    year = float(bench.parameters[years[0]].base())
    return f"{len(bench.moneys)} amounts in {', '.join(sorted(units))}, prices of {year:g}"


CHECKS: tuple[Check, ...] = (
    Check("TV01", "raise a drug price", "cost rises in proportion where the drug is used, nowhere else", _price_rises),
    Check("TV02", "raise body weight", "weight-dosed drugs do not get cheaper, fixed doses stay", _weight_rises),
    Check("TV03", "raise a hazard ratio", "events become likelier, within 0 and 1", _ratio_rises),
    Check("TV04", "compare PFS and OS", "PFS never above OS", _below_survival),
    Check(
        "TV05", "special cases of survival families", "Weibull with shape 1 is exponential, and so on", _special_cases
    ),
    Check("TV06", "hazard ratios on parametric hazards", "each says what it is and where from", _ratios_are_flagged),
    Check("TV07", "draws of effects", "not negative, centred on the point value", _effects_are_centred),
    Check("TV11", "states at every time", "sum to the cohort", _states_sum),
    Check("TV12", "counts and probabilities", "not negative, at most 1", _in_range),
    Check("TV13", "number dead", "never falls", _dead_do_not_return),
    Check("TV14", "lifetime horizon", "fewer than 0.1 % alive at the end", _nobody_is_left),
    Check("TV15", "mortality 0", "nobody dies", _without_death),
    Check("TV16", "mortality certain", "everybody dead after the first step", _certain_death),
    Check("TV17", "the same treatment, effects and costs", "identical arms", _neutral_effects),
    Check("TV18", "no progression", "nobody progresses", _no_progression),
    Check("TV19", "swap order and names of arms", "results swap, nothing else changes", _swapped),
    Check("TV20", "raise the hazard of death", "life years fall", _death_shortens_life),
    Check("TV21", "a horizon of no length", "no life years, only costs at time 0", _no_time),
    Check("TV31", "all utilities 1, losses 0", "QALYs equal life years", _utilities_one),
    Check("TV32", "all utilities 0", "no QALYs", _utilities_zero),
    Check("TV33", "all costs 0", "no costs", _costs_zero),
    Check("TV34", "discount rate 0", "discounted equals undiscounted", _undiscounted),
    Check("TV35", "discount rate raised", "totals fall, towards what is due at once", _discounted_more),
    Check("TV36", "cost of a state doubled", "its part doubles exactly", _states_cost),
    Check("TV37", "no adverse events", "no costs and losses from them", _no_toxicity),
    Check("TV38", "categories of cost", "add up to the total", _parts_add_up),
    Check("TV39", "A against B", "minus B against A", _both_ways),
    Check("TV40", "equal costs or effects", "labels right, no division by 0", _equal_costs),
    Check("TV41", "full incremental analysis", "frontier right, ICERs rising", _frontier),
    Check("TV42", "net monetary benefit", "WTP x QALY - cost, agrees with the frontier", _net_benefit),
    Check("TV43", "another output grid", "the same totals", _other_grid),
    Check("TV51", "draws without variance", "equal the base case", _no_variance),
    Check("TV52", "sampled parameters", "inside their range, mean as stated", _draws_inside),
    Check("TV53", "mean over draws", "near the base case", _psa_is_near),
    Check("TV54", "acceptability", "sums to 1", _acceptability_sums),
    Check("TV55", "acceptability at 0 and without limit", "the cheapest, the most effective", _acceptability_ends),
    Check("TV56", "EVPI", "not negative, 0 without uncertainty, peaks at switches", _information),
    Check("TV57", "one-way analysis", "no change at the base value, ends on the expected sides", _one_way_base),
    Check("TV58", "seeds", "the same twice; another differs within error", _seeds),
    Check("TV59", "correlated parameters", "sampled correlation as given", _correlations),
    Check("TV61", "from files to report", "the same numbers as the stored report", _one_command),
    Check("TV62", "wrong or missing numbers", "refused by name", _wrong_numbers),
    Check("TV63", "currencies and price years", "one of each, or converted", _money_and_years),
)
