"""The reference workload through simhcc's public API: `simulate` with pathway, values and rewards."""

from __future__ import annotations

from benchmarks.reference_workload import OUTCOMES, REFERENCE, Array, Workload
from simhcc.expressions import log, parameter
from simhcc.graph import Channel, End, Endpoint, Hazard, Pathway, RateReward, State, Strategy, Transition
from simhcc.model import as_values
from simhcc.simulation import Evaluation, Outcomes
from simhcc.simulation import simulate as run_simulation


def evaluation(workload: Workload = REFERENCE, seed: int = 1) -> Evaluation:
    """The workload as an evaluation: discounted life years, QALYs and cost, and overall survival on a monthly grid."""
    states = []
    for state in workload.states[:-1]:
        transitions = [
            Transition(
                name=f"to_{t.destination}",
                to=t.destination,
                hazard=Hazard("weibull", {"shape": t.shape, "scale": t.scale}),
                log_multiplier=log(parameter("hr")) if number == workload.treated else None,
            )
            for number, t in enumerate(workload.transitions)
            if t.origin == state
        ]
        states.append(State(name=state, transitions=tuple(transitions)))
    dead = workload.states[-1]
    rewards = [RateReward(channel="ly", rate=1.0)]
    for state in workload.states[:-1]:
        rewards.append(RateReward(channel="qaly", rate=workload.utility[state], states=(state,)))
        rewards.append(RateReward(channel="cost", rate=workload.cost_per_month[state], states=(state,)))
    rate = workload.annual_discount_rate
    scale = {"ly": 1.0 / 12.0, "qaly": 1.0 / 12.0, "cost": 1.0}
    return Evaluation(
        pathway=Pathway(name="reference", start=workload.states[0], nodes=(*states, End(name=dead))),
        strategies=tuple(Strategy(id=s, numbers={"hr": hr}) for s, hr in workload.hazard_ratios.items()),
        channels=tuple(Channel(id=outcome, discount=rate, scale=scale[outcome]) for outcome in OUTCOMES),
        rewards=tuple(rewards),
        endpoints=(Endpoint(id="os", marks=(dead,)),),
        horizon=workload.horizon_months,
        crosses=(("cost", "qaly"),),
        seed=seed,
    )


def outcomes(n_patients: int, n_draws: int, seed: int, threads: int | None = None) -> Outcomes:
    """Run the workload; every draw has patients of its own luck."""
    question = evaluation(seed=seed)
    return run_simulation(question, as_values({"hr": 1.0}, n_draws), patients=n_patients, threads=threads)


def simulate(n_patients: int, n_draws: int, seed: int, threads: int | None = None) -> Array:
    """Mean of each outcome, shape (draws, strategies, outcomes)."""
    return outcomes(n_patients, n_draws, seed, threads).means[:, :, : len(OUTCOMES)]
