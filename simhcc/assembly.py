"""From a scenario and its numbers to a question for the engine: strategies, what is summed, prices, patients.

Costs are in the country's currency. Drugs are paid for when they are given: infusions at each administration in whole
vials, tablets as packs of four weeks; tests, care and procedures at their own times. Utilities are state-based decrements.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from simhcc.errors import InputError
from simhcc.expressions import Expression, Operand, floor, lookup, maximum, minimum, parameter, where
from simhcc.graph import (
    AdministrationReward,
    Channel,
    Endpoint,
    MarkReward,
    Pathway,
    RateReward,
    Reward,
    TimeToDeathReward,
)
from simhcc.inputs import ParameterSet, Scenario, conversion_rates
from simhcc.model import as_values
from simhcc.pathway.attributes import DOSES
from simhcc.pathway.regimens import REGIMENS, Regimen
from simhcc.pathway.strategies import to_graph
from simhcc.pathway.whole import ENDPOINTS, pathway
from simhcc.population import load_population, sample_cohort
from simhcc.simulation import Evaluation

Floats = NDArray[np.float64]

COST_CATEGORIES = ("drug", "procedure", "monitoring", "adverse_event", "decompensation", "supportive", "terminal")
LANDMARKS = (12.0, 24.0, 36.0, 60.0)
RESTRICTIONS = (60.0,)
PACK_DAYS = 28.0  # tablets are dispensed for four weeks at a time
LARGEST_COHORT = 200_000

_LATER = {"phase": ("later",)}
_ANTI_TUMOUR_DRUGS = tuple(r.id for r in REGIMENS)


def assemble(scenario: Scenario, parameters: ParameterSet) -> tuple[Evaluation, dict[str, Floats], dict[str, Floats]]:
    """The evaluation, its values with an axis of iterations, and the baseline patients.

    One iteration is the base case; more are draws of the uncertain numbers. The cohort holds the patients of one iteration,
    or of as many iterations as fit into 200,000 patients. Raises InputError for a strategy, population or perspective that
    cannot be used.
    """
    base = parameters.base_values()
    if scenario.iterations == 1:
        values = as_values(base)
    else:
        values = dict(parameters.sample(scenario.iterations, scenario.seed))
    for name, rate in conversion_rates(parameters).items():
        values[name] = values[name] * rate
    years = scenario.horizon_years if scenario.horizon_years is not None else float(base["economics.horizon_years"])
    evaluation = Evaluation(
        pathway=pathway(),
        strategies=tuple(to_graph(strategy) for strategy in scenario.strategies),
        channels=channels(),
        rewards=tuple(rewards(payer_share(scenario), parameters)),
        endpoints=endpoints(),
        horizon=12.0 * years,
        comparator=scenario.comparator,
        landmarks=tuple(m for m in LANDMARKS if m <= 12.0 * years),
        restrictions=tuple(m for m in RESTRICTIONS if m <= 12.0 * years),
        crosses=(("cost", "qaly"),),
        trace=True,
        seed=scenario.seed,
    )
    n = scenario.patients * max(min(scenario.iterations, LARGEST_COHORT // scenario.patients), 1)
    cohort = sample_cohort(load_population(str(scenario.population), scenario.user_dir), base, n, scenario.seed)
    return evaluation, values, {**cohort.attributes, **doses(cohort.attributes["weight"], base)}


def endpoints() -> tuple[Endpoint, ...]:
    """Endpoints of a scenario: those that need no randomisation inside a history."""
    return tuple(e for e in ENDPOINTS if e.origin != "randomise" and e.id not in ("response", "ttr"))


def payer_share(scenario: Scenario) -> Operand:
    """Share of costs that the perspective counts. Raises InputError for one whose costs are not in params/."""
    if scenario.perspective == "societal":
        raise InputError(
            "the societal perspective, for whose indirect costs there are no numbers",
            "healthcare_system or payer",
            "perspective",
            scenario.place.file,
        )
    return parameter("costs.reimbursed_share") if scenario.perspective == "payer" else 1.0


def doses(weight: Floats, base: Mapping[str, float | Floats]) -> dict[str, Floats]:
    """Units of each drug that is dosed by weight, by patient: whole vials unless vials are shared, or tablets a day."""
    found = {}
    for name, (drug, holder, key) in DOSES.items():
        unit = float(base[f"prices.unit_mg.{drug}"])
        if key == "tablets":
            prefix = f"treatments.{holder}.drugs.{drug}"
            heavy = weight >= float(base[f"{prefix}.weight_threshold_kg"])
            mg = np.where(heavy, float(base[f"{prefix}.dose_mg"]), float(base[f"{prefix}.dose_mg_below_60kg"]))
            found[name] = mg / unit
            continue
        units = weight * float(base[f"treatments.{holder}.drugs.{drug}.{key}"]) / unit
        found[name] = units if float(base["economics.vial_sharing"]) >= 1.0 else np.ceil(units)
    return found


# -- what is summed ------------------------------------------------------------------------------------------------


def channels() -> tuple[Channel, ...]:
    """Life years, QALYs and costs, discounted and not, and the discounted cost of each category."""
    effects, costs = parameter("economics.discount_rate_effects"), parameter("economics.discount_rate_costs")
    # Quality of life falls with age as the norm does, from its value in middle age, to which the state values belong.
    bands = tuple(
        (
            lookup("utility.norm.age_start", float(k)),
            lookup("utility.norm.by_age", float(k)) / lookup("utility.norm.by_age", 1.0),
        )
        for k in range(3)
    )
    year = 1.0 / 12.0
    return (
        Channel(id="ly", discount=effects, scale=year),
        Channel(id="ly_undiscounted", scale=year),
        Channel(id="qaly", discount=effects, scale=year, age_bands=bands),
        Channel(id="qaly_undiscounted", scale=year, age_bands=bands),
        Channel(id="cost", discount=costs),
        *(Channel(id=f"cost_{category}", discount=costs) for category in COST_CATEGORIES),
    )


def rewards(share: Operand, parameters: ParameterSet) -> Iterator[Reward]:
    """Everything that adds to a channel; `share` multiplies all costs."""
    yield from life_years("ly")
    yield RateReward(channel="ly_undiscounted", rate=1.0)
    for channel in ("qaly", "qaly_undiscounted"):
        yield from utilities(channel)
    for cost in costs(pathway(), parameters):
        for channel in ("cost", f"cost_{cost.category}"):
            yield cost.reward(channel, share)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """A cost before it is given to channels: category, amount and what it is paid for."""

    category: str
    amount: Operand
    states: tuple[str, ...] | None = None
    systemic: tuple[str, ...] | None = None
    tags: Mapping[str, tuple[str, ...]] | None = None
    mark: str | None = None
    treatment: str | None = None
    period: Operand = 1.0
    first: Operand = 0.0
    most: Operand | None = None
    per: str | None = None

    def reward(self, channel: str, share: Operand) -> Reward:
        """The reward in one channel."""
        amount = self.amount * share if isinstance(share, Expression) else self.amount
        if self.treatment is not None:
            return AdministrationReward(
                channel=channel,
                amount=amount,
                treatment=self.treatment,
                period=self.period,
                first=self.first,
                most=self.most,
                per=self.per,
                tags=self.tags or {},
            )
        if self.mark is not None:
            return MarkReward(channel=channel, amount=amount, mark=self.mark)
        return RateReward(
            channel=channel, rate=amount, states=self.states, systemic=self.systemic, tags=self.tags or {}
        )


# -- life years and quality of life --------------------------------------------------------------------------------

STATES = ("awaiting_curative", "disease_free", "local_control", "systemic", "untreated_tumour", "supportive")
_PHASES = (("none", "first"), ("later",))


def life_years(channel: str) -> Iterator[Reward]:
    """Time alive in pieces that add up to all of it: by state, and by regimen and line, for the waterfalls."""
    for state in STATES:
        if state in ("untreated_tumour", "supportive"):
            yield RateReward(channel=channel, rate=1.0, states=(state,))
            continue
        for regimen in ("none", *_ANTI_TUMOUR_DRUGS):
            # Drugs in other states go with an operation or with local treatment.
            for phase in _PHASES if state == "systemic" else (None,):
                tags = {} if phase is None else {"phase": phase}
                yield RateReward(channel=channel, rate=1.0, states=(state,), systemic=(regimen,), tags=tags)


def state_utilities() -> dict[str, Expression]:
    """Utility of each state in middle age: decrements from the state above, no higher than the norm, not below the floor.

    `systemic_later` is the systemic state in later lines.
    """
    p, floor_ = parameter, parameter("utility.floor")
    u = minimum(p("utility.disease_free"), lookup("utility.norm.by_age", 1.0))
    first = u - p("utility.decrement.systemic_first_line")
    progressed = first - p("utility.decrement.progressed")
    found = {
        "disease_free": u,
        "awaiting_curative": u - p("utility.decrement.awaiting_curative"),
        "local_control": u - p("utility.decrement.local_control"),
        "systemic": first,
        "systemic_later": progressed,
        "untreated_tumour": progressed,
        "supportive": progressed - p("utility.decrement.supportive"),
    }
    return {state: maximum(utility, floor_) for state, utility in found.items()}


def utilities(channel: str) -> Iterator[Reward]:
    """Utility by state, decrements for decompensation and adjuvant drugs, and disutilities over a time.

    Decompensation and the last months together never take a state below the floor. The last months take theirs first,
    since everybody who dies has them: a limit that went by decompensation would spare those who never had it.
    """
    p, floor_ = parameter, parameter("utility.floor")
    state = state_utilities()
    last = minimum(p("utility.decrement.end_of_life"), state["supportive"] - floor_)
    worse = {name: minimum(p("utility.decrement.decompensated"), u - last - floor_) for name, u in state.items()}
    decompensated = {"decompensated": ("yes",)}
    for name in STATES:
        if name == "systemic":
            for phase, line in zip(_PHASES, ("systemic", "systemic_later"), strict=True):
                yield RateReward(channel=channel, rate=state[line], states=(name,), tags={"phase": phase})
                yield RateReward(
                    channel=channel, rate=-worse[line], states=(name,), tags={"phase": phase} | decompensated
                )
        else:
            yield RateReward(channel=channel, rate=state[name], states=(name,))
            yield RateReward(channel=channel, rate=-worse[name], states=(name,), tags=decompensated)
    adjuvant = tuple(r.id for r in REGIMENS if r.adjuvant)
    for name in ("disease_free", "awaiting_curative"):
        yield RateReward(
            channel=channel,
            rate=-minimum(p("utility.decrement.adjuvant_therapy"), state[name] - last - worse[name] - floor_),
            states=(name,),
            systemic=adjuvant,
        )
    yield TimeToDeathReward(channel=channel, rate=-last, start=0.0, stop=p("supportive.end_of_life_months"))
    for mark, procedure in (
        ("operated", "hepatectomy"),
        ("ablated", "ablation"),
        ("transplanted", "transplant"),
        ("tace_session", "tace"),
        ("adjuvant_tace", "tace"),
        ("haic_block", "haic"),
        ("adjuvant_haic", "haic"),
    ):
        months = p(f"utility.procedure.{procedure}.months")
        yield MarkReward(
            channel=channel, amount=-p(f"utility.procedure.{procedure}.disutility"), mark=mark, months=months
        )
    event = "utility.adverse_event.grade3plus_any"
    for mark in ("severe_toxicity", "dose_reduced", "one_drug_stopped"):
        yield MarkReward(
            channel=channel,
            amount=-p(f"{event}.disutility"),
            mark=mark,
            months=p(f"{event}.days") / p("schedule.days_per_month"),
        )
    bleed = "utility.adverse_event.variceal_bleed"
    yield MarkReward(
        channel=channel,
        amount=-p(f"{bleed}.disutility"),
        mark="bleeding",
        months=p(f"{bleed}.days") / p("schedule.days_per_month"),
    )


# -- costs ---------------------------------------------------------------------------------------------------------


def costs(graph: Pathway, parameters: ParameterSet) -> Iterator[Cost]:
    """All costs of the pathway."""
    yield from _state_costs()
    yield from _event_costs()
    for regimen in REGIMENS:
        yield from drug_costs(regimen, parameters)


def _state_costs() -> Iterator[Cost]:
    p = parameter
    scan = p("resource.share_of_scans_mri") * p("costs.test.mri") + (1.0 - p("resource.share_of_scans_mri")) * p(
        "costs.test.ct"
    )

    def visits(setting: str) -> Expression:
        return p(f"resource.visits_per_month.{setting}") * p("costs.visit")

    def laboratory(setting: str) -> Expression:
        return p(f"resource.laboratory_sets_per_month.{setting}") * p("costs.test.laboratory_set")

    follow_up = scan / p("schedule.scan_disease_free_first_months")
    treatment = scan / p("schedule.scan_systemic_months")
    yield Cost(
        category="monitoring",
        amount=visits("disease_free") + laboratory("disease_free") + follow_up,
        states=("disease_free",),
    )
    yield Cost(
        category="monitoring",
        amount=visits("local_control") + laboratory("local_control") + treatment,
        states=("local_control", "awaiting_curative"),
    )
    yield Cost(category="monitoring", amount=visits("systemic"), states=("systemic",))
    # The published cost of tests on a combination stands for laboratory and scans while a drug runs.
    yield Cost(
        category="monitoring",
        amount=p("costs.state.monitoring_on_drug_per_month"),
        states=("systemic",),
        systemic=_ANTI_TUMOUR_DRUGS,
    )
    yield Cost(category="monitoring", amount=treatment, states=("systemic",), systemic=("none",))
    yield Cost(category="monitoring", amount=visits("untreated"), states=("untreated_tumour",))
    yield Cost(category="supportive", amount=p("costs.state.disease_free_per_month"), states=("disease_free",))
    yield Cost(
        category="supportive",
        amount=p("costs.state.local_control_per_month"),
        states=("local_control", "awaiting_curative"),
    )
    first = {"phase": ("none", "first")}
    yield Cost(category="supportive", amount=p("costs.state.systemic_per_month"), states=("systemic",), tags=first)
    yield Cost(category="supportive", amount=p("costs.state.progressed_per_month"), states=("systemic",), tags=_LATER)
    yield Cost(category="supportive", amount=p("costs.state.progressed_per_month"), states=("untreated_tumour",))
    yield Cost(
        category="supportive",
        amount=p("costs.state.supportive_per_month") + visits("supportive"),
        states=("supportive",),
    )
    yield Cost(
        category="decompensation", amount=p("costs.state.decompensated_per_month"), tags={"decompensated": ("yes",)}
    )
    yield Cost(category="supportive", amount=p("costs.antiviral_per_month"), tags={"on_antivirals": ("yes",)})


def _event_costs() -> Iterator[Cost]:
    p = parameter
    procedure = "costs.procedure"
    resection = p(f"{procedure}.resection") + p(f"{procedure}.pathology")
    syndrome = p("resource.post_embolisation_syndrome_cost_share") * p("costs.adverse_event.post_embolisation_syndrome")
    # A block of HAIC is the cycles up to its scan.
    block = p("haic.cycles_before_scan") * (p(f"{procedure}.haic_cycle") + p(f"{procedure}.haic_drugs_cycle"))
    yield Cost(category="procedure", amount=resection, mark="operated")
    yield Cost(
        category="procedure",
        amount=p(f"{procedure}.conversion_resection") - p(f"{procedure}.resection"),
        mark="converted",
    )
    yield Cost(category="procedure", amount=p(f"{procedure}.ablation"), mark="ablated")
    yield Cost(category="procedure", amount=p(f"{procedure}.transplant"), mark="transplanted")
    for mark in ("tace_session", "adjuvant_tace"):
        yield Cost(category="procedure", amount=p(f"{procedure}.tace_session"), mark=mark)
        yield Cost(category="adverse_event", amount=syndrome, mark=mark)
    yield Cost(category="procedure", amount=block, mark="haic_block")
    yield Cost(category="procedure", amount=block / p("haic.cycles_before_scan"), mark="adjuvant_haic")
    yield Cost(category="procedure", amount=p(f"{procedure}.radiotherapy_course"), mark="radiotherapy")
    for mark in ("severe_toxicity", "dose_reduced", "one_drug_stopped"):
        yield Cost(category="adverse_event", amount=p("costs.adverse_event.severe_generic"), mark=mark)
    yield Cost(category="adverse_event", amount=p("costs.adverse_event.bleeding"), mark="bleeding")
    yield Cost(category="decompensation", amount=p("costs.decompensation_event"), mark="decompensation")
    for mark in ("dead_cancer", "dead_liver"):
        yield Cost(category="terminal", amount=p("costs.end_of_life"), mark=mark)


TABLETS = ("sorafenib", "lenvatinib", "apatinib", "regorafenib", "cabozantinib")


def price(drug: str, parameters: ParameterSet) -> Expression:
    """Price of one unit, effective or list as `structure.list_prices` says; 0 stands for a price that nobody knows."""
    names = [f"prices.{panel}.{drug}" for panel in ("list", "effective")]
    for name in names:
        parameters.find(name)
    return where(parameter("structure.list_prices"), parameter(names[0]), parameter(names[1]))


def drug_costs(regimen: Regimen, parameters: ParameterSet) -> Iterator[Cost]:
    """Drugs of a regimen and their infusions."""
    holder = f"treatments.{regimen.numbers_of or regimen.id}"
    own = f"treatments.{regimen.id}.drugs."
    if any(name.startswith(own) for name in parameters):
        holder = f"treatments.{regimen.id}"
    prefix = f"{holder}.drugs."
    drugs = list(
        dict.fromkeys(name.removeprefix(prefix).split(".")[0] for name in parameters if name.startswith(prefix))
    )
    infused = False
    for drug in drugs:
        shed = {"one_drug_stopped": ("no",)} if drug == regimen.sheds else None
        for given in _administrations(regimen.id, f"{prefix}{drug}", drug, parameters):
            yield replace(given, tags=shed)
            if drug not in TABLETS and not infused:
                infused = True
                yield Cost(
                    category="drug",
                    amount=parameter("costs.infusion"),
                    treatment=regimen.id,
                    period=given.period,
                    first=given.first,
                    most=given.most,
                )


def _administrations(regimen: str, place: str, drug: str, parameters: ParameterSet) -> Iterator[Cost]:
    p, days = parameter, parameter("schedule.days_per_month")
    intensity = p(f"{place}.relative_dose_intensity")
    unit, cost = p(f"prices.unit_mg.{drug}"), price(drug, parameters)
    if drug in TABLETS:
        pack = PACK_DAYS / p(f"{place}.every_days")
        if f"{place}.days_on" in parameters:
            pack = pack * p(f"{place}.days_on") / (p(f"{place}.days_on") + p(f"{place}.days_off"))
        by_weight = f"{place}.dose_mg_below_60kg" in parameters
        amount = cost * intensity * pack
        yield Cost(
            category="drug",
            amount=amount if by_weight else amount * p(f"{place}.dose_mg") / unit,
            treatment=regimen,
            period=PACK_DAYS / days,
            per="tablets_lenvatinib" if by_weight else None,
        )
        return
    period, most = p(f"{place}.every_days") / days, _most(place, parameters)
    first: Operand = 0.0
    if f"{place}.induction_dose_mg_per_kg" in parameters:
        begin = p(f"{place}.induction_every_days") / days
        yield Cost(
            category="drug",
            amount=cost * intensity,
            treatment=regimen,
            period=begin,
            most=p(f"{place}.induction_doses"),
            per=_dose_attribute(drug, f"{place}.induction_dose_mg_per_kg", parameters),
        )
        first = begin * p(f"{place}.induction_doses")
    if f"{place}.dose_mg_per_kg" in parameters:
        yield Cost(
            category="drug",
            amount=cost * intensity,
            treatment=regimen,
            period=period,
            most=most,
            per=_dose_attribute(drug, f"{place}.dose_mg_per_kg", parameters),
        )
        return
    yield Cost(
        category="drug",
        amount=intensity * _vials(drug, p(f"{place}.dose_mg"), parameters),
        treatment=regimen,
        period=period,
        first=first,
        most=most,
    )


def _most(place: str, parameters: ParameterSet) -> Operand | None:
    if f"{place}.max_doses" in parameters:
        return parameter(f"{place}.max_doses")
    if f"{place}.max_months" in parameters:
        return floor(
            parameter(f"{place}.max_months") * parameter("schedule.days_per_month") / parameter(f"{place}.every_days")
        )
    return None


def _vials(drug: str, mg: Expression, parameters: ParameterSet) -> Expression:
    """Cost of a fixed dose in whole vials, or by the milligram where vials are shared."""
    shared = parameter("economics.vial_sharing")
    unit, cost = parameter(f"prices.unit_mg.{drug}"), price(drug, parameters)
    small = f"{drug}_120"
    if f"prices.unit_mg.{small}" in parameters:
        large = floor(mg / unit)
        rest = mg - large * unit
        whole = large * cost - floor(-rest / parameter(f"prices.unit_mg.{small}")) * price(small, parameters)
    else:
        whole = -floor(-mg / unit) * cost
    return where(shared, mg / unit * cost, whole)


def _dose_attribute(drug: str, name: str, parameters: ParameterSet) -> str:
    """The attribute that holds a patient's vials of a drug at this dose per kg."""
    dose = float(parameters[name].base())
    for attribute, (other, holder, key) in DOSES.items():
        if other == drug and key != "tablets":
            stands = f"treatments.{holder}.drugs.{drug}.{key}"
            if math.isclose(float(parameters[stands].base()), dose):
                return attribute
    raise InputError(f"{dose:g} mg per kg of {drug}", "a dose per kg that another regimen has", key=name)


__all__ = [
    "COST_CATEGORIES",
    "assemble",
    "channels",
    "costs",
    "doses",
    "drug_costs",
    "endpoints",
    "rewards",
    "utilities",
]
