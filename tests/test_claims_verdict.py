"""Verdicts on draws whose truth is known: how often the machinery is wrong, and what it finds to drive them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from simhcc.claims import verdict as v
from simhcc.claims.experiments import Draws, log_hazard_ratio
from simhcc.claims.registry import Published, Rule

ABOVE_0 = Rule(0.0, math.inf)
BELOW_0 = Rule(-math.inf, 0.0)
SEEDS = 400
DRAWS = 200


def draws(seed: int, mean: float, spread: float, noise: float) -> Draws:
    """An estimate with parameter uncertainty `spread` and patients' noise of known size."""
    generator = np.random.default_rng([7, seed])
    truth = mean + spread * generator.standard_normal(DRAWS)
    return Draws(truth + noise * generator.standard_normal(DRAWS), np.full(DRAWS, noise**2))


def verdicts(mean: float, spread: float, noise: float, rule: Rule, certainty: float = 0.9) -> list[str]:
    found = []
    for seed in range(SEEDS):
        one = draws(seed, mean, spread, noise)
        found.append(v.judge(one.smooth, one.estimate, rule, certainty, one.mean_error).verdict)
    return found


@pytest.mark.parametrize("noise", [0.0, 0.5, 2.0])
def test_a_claim_true_by_construction_is_supported_and_its_negation_is_not(noise: float) -> None:
    # 5 sd above its limit: the chance of an error in 400 seeds is below one in a million.
    assert set(verdicts(5.0, 1.0, noise, ABOVE_0)) == {v.SUPPORTED}
    assert set(verdicts(5.0, 1.0, noise, BELOW_0)) == {v.NOT_SUPPORTED}


@pytest.mark.parametrize("spread, noise", [(1.0, 0.0), (1.0, 1.0), (1.0, 3.0), (0.0, 1.0), (0.0, 10.0)])
def test_a_claim_at_the_boundary_is_undetermined(spread: float, noise: float) -> None:
    # Without parameter uncertainty only patients' luck moves the mean: two standard errors leave 0.046 of seeds outside.
    found = verdicts(0.0, spread, noise, ABOVE_0)
    wrong = sum(word != v.UNDETERMINED for word in found)
    # Binomial(400, 0.0455): more than 45 happen less than once in a million.
    assert wrong <= (45 if spread == 0.0 else 8)


def test_the_error_rate_is_the_stated_one_where_the_probability_is_the_one_asked_for() -> None:
    # P is 0.90 exactly: to call it supported is wrong in at most 0.023 of seeds, and it hardly ever is called not supported.
    mean = float(ndtri(0.9))
    found = verdicts(mean, 1.0, 0.0, ABOVE_0)
    # Binomial(400, 0.023): more than 28 happen less than once in a million.
    assert sum(word == v.SUPPORTED for word in found) <= 28
    assert sum(word == v.NOT_SUPPORTED for word in found) == 0


def test_without_the_error_of_the_mean_the_boundary_would_be_decided() -> None:
    """The planted fault: leave the patients' luck of the mean out, and claims at their boundary are decided by chance."""
    wrong = 0
    for seed in range(100):
        one = draws(seed, 0.0, 0.0, 1.0)
        # As if all noise had been taken out.
        flat = np.full(DRAWS, one.estimate.mean())
        wrong += v.judge(flat, one.estimate, ABOVE_0, 0.9).verdict != v.UNDETERMINED
    assert wrong == 100


def test_noise_is_taken_out() -> None:
    # Spread 1, noise 2: the raw share above 1 is 0.33, the true one 0.159.
    generator = np.random.default_rng(3)
    truth = generator.standard_normal(20_000)
    one = Draws(truth + 2.0 * generator.standard_normal(20_000), np.full(20_000, 4.0))
    found = v.judge(one.smooth, one.estimate, Rule(1.0, math.inf), 0.9, one.mean_error)
    assert found.raw_probability == pytest.approx(1.0 - ndtr(1.0 / math.sqrt(5.0)), abs=0.02)
    assert found.probability == pytest.approx(1.0 - ndtr(1.0), abs=0.02)
    assert one.noise_share == pytest.approx(0.8, abs=0.02)


def test_probability_and_its_error_by_hand() -> None:
    found, error = v.probability(np.array([True] * 8 + [False] * 2))
    assert found == 0.8
    assert error == pytest.approx(math.sqrt((10 / 14) * (4 / 14) / 14))


def test_a_claim_takes_its_weakest_component() -> None:
    assert v.weakest([v.SUPPORTED, v.SUPPORTED]) == v.SUPPORTED
    assert v.weakest([v.SUPPORTED, v.UNDETERMINED]) == v.UNDETERMINED
    assert v.weakest([v.UNDETERMINED, v.NOT_SUPPORTED]) == v.NOT_SUPPORTED


def test_probability_from_a_published_ratio() -> None:
    # 0.59 (0.41 to 0.85): below 1 with a z of log(0.59) / se.
    published = Published(0.59, 0.41, 0.85, None, "x")
    se = (math.log(0.85) - math.log(0.41)) / (2 * 1.959963984540054)
    assert v.from_published(published, Rule(-math.inf, 1.0)) == pytest.approx(ndtr(-math.log(0.59) / se))
    # As a difference of shares: above 0 is the same question.
    difference = Published(0.59, 0.41, 0.85, 0.474, "x")
    assert v.from_published(difference, ABOVE_0) == pytest.approx(ndtr(-math.log(0.59) / se))
    # 0.474 ** r = 0.524 at r = 0.8657
    ratio = math.log(0.524) / math.log(0.474)
    assert v.from_published(difference, Rule(0.05, math.inf)) == pytest.approx(
        ndtr((math.log(ratio) - math.log(0.59)) / se)
    )


def inputs(seed: int, n: int = 300, many: int = 200) -> dict[str, np.ndarray]:
    generator = np.random.default_rng([11, seed])
    return {f"p{k}": generator.standard_normal(n) for k in range(many)}


def test_the_numbers_that_drive_a_verdict_are_found_and_ranked() -> None:
    given = inputs(0)
    rest = np.random.default_rng(5).standard_normal(300)
    # Shares of variance 4/6, 1/6 and 1/6 noise.
    estimate = 2.0 * given["p3"] + given["p7"] ** 2 / math.sqrt(2.0) + rest * 0.7
    found = v.drivers(estimate, ABOVE_0, given, 0.9)
    assert [driver.name for driver in found[:2]] == ["p3", "p7"]
    assert found[0].share == pytest.approx(4.0 / 5.0, abs=0.12)
    assert found[0].direction == "up"
    assert found[0].low_probability < 0.2 < 0.8 < found[0].high_probability
    assert found[0].information > found[1].information


def test_chance_alone_drives_nothing() -> None:
    # 40 estimates unrelated to 200 numbers: any driver at all in 5 % of them.
    named = sum(bool(v.candidates(np.random.default_rng([1, s]).standard_normal(300), inputs(s))) for s in range(40))
    # Binomial(40, 0.05): more than 12 happen less than once in a million.
    assert named <= 12


def test_the_value_at_which_a_verdict_flips() -> None:
    # The estimate is the number itself: its sign is the claim.
    given = {"x": np.random.default_rng(2).normal(1.0, 2.0, 2000)}
    driver = v.drivers(given["x"], ABOVE_0, given, 0.9)[0]
    # At its median the rule is met for sure, so only one side can flip it.
    assert driver.flips_at is not None
    assert v.conditional_probability(given["x"], ABOVE_0, given["x"])[1][[0, -1]] == pytest.approx([0.0, 1.0], abs=0.01)
    # To know it is to know all: the gain is the chance of being wrong now.
    wrong = min((given["x"] > 0).mean(), (given["x"] <= 0).mean())
    # The regression rounds off the step a little, never beyond it.
    assert 0.88 * wrong <= driver.information <= wrong + 1e-9
    assert v.value_of_all(given["x"] > 0) == pytest.approx(wrong)


def test_the_margin_that_would_just_be_met() -> None:
    estimate = np.arange(1001.0)
    assert v.margin_flips(estimate, ABOVE_0, 0.9) == pytest.approx(100.0)
    assert v.margin_flips(estimate, BELOW_0, 0.9) == pytest.approx(900.0)
    assert v.margin_flips(estimate, Rule(0.0, 1.0), 0.9) is None


def test_a_prior_that_carries_the_verdict_overturns_it() -> None:
    given = {"x": np.random.default_rng(4).standard_normal(1000)}
    estimate = 3.0 + given["x"]
    assert v.survives(estimate, ABOVE_0, given, ["x"], 0.9) == {"x": True}
    assert v.survives(1.4 + given["x"], ABOVE_0, given, ["x"], 0.9) == {"x": False}


def test_log_hazard_ratio_of_proportional_curves() -> None:
    times = np.linspace(1.0, 48.0, 48)
    other = np.exp(-0.05 * times)[None, :]
    for ratio in (0.5, 1.0, 1.7):
        assert math.exp(log_hazard_ratio(other**ratio, other)[0]) == pytest.approx(ratio, rel=2e-3)


def test_log_hazard_ratio_of_crossing_curves_is_that_of_a_cox_model() -> None:
    from simhcc.trials.statistics import analyse_replicates

    generator = np.random.default_rng(8)
    n = 60_000
    # Control exponential, other arm Weibull: hazards cross.
    control, treated = 20.0 * generator.standard_exponential(n), 25.0 * generator.standard_exponential(n) ** 0.6
    times = np.concatenate([control, treated])
    event = times < 40.0
    arm = np.repeat([0, 1], n)
    cox = analyse_replicates(np.minimum(times, 40.0)[None], event[None], arm[None], landmarks=[12.0], tau=24.0).log_hr[
        0
    ]
    grid = np.linspace(2.0, 40.0, 20)
    free = [(sample[:, None] > grid).mean(axis=0)[None, :] for sample in (treated, control)]
    assert log_hazard_ratio(*free)[0] == pytest.approx(cox, abs=0.03)


def test_a_surface_follows_two_numbers() -> None:
    generator = np.random.default_rng(9)
    x, y = generator.uniform(0, 1, 2000), generator.uniform(0, 1, 2000)
    estimate = x * y - 0.25 + 0.05 * generator.standard_normal(2000)
    across, up, centre, chance = v.surface(estimate, ABOVE_0, x, y)
    expected = np.outer(up, across) - 0.25
    assert np.abs(centre - expected).max() < 0.02
    assert chance[0, 0] < 0.01 and chance[-1, -1] > 0.99


def test_estimates_in_words() -> None:
    from simhcc.claims.registry import Estimand
    from simhcc.claims.words import number, probability_text

    points = Estimand("difference", "os_60m")
    assert number(0.0312, points) == "3.1 points"
    assert number(-0.0001, points) == "0.0 points"
    assert number(0.153, Estimand("value", "os_60m")) == "15.3 %"
    assert number(-1.25, Estimand("difference", "os_rmst_60")) == "-1.25 months"
    assert number(-1234.0, Estimand("difference", "net_benefit")) == "-1,234 CNY"
    assert number(0.62, Estimand("hazard_ratio", "pfs")) == "0.62"
    assert [probability_text(p) for p in (0.0, 0.5, 1.0)] == ["<0.005", "0.50", ">0.995"]


def test_luck_of_the_mean_alone_can_leave_a_claim_open() -> None:
    # All draws on one side, but within two standard errors of the limit: by hand, P moves from 1 to 0.
    flat = np.full(DRAWS, 0.1)
    near = v.judge(flat, flat, ABOVE_0, 0.9, mean_error=0.06)
    assert near.verdict == v.UNDETERMINED
    assert near.mcse == pytest.approx(math.hypot(v.probability(flat > 0)[1], 0.5))
    assert v.judge(flat, flat, ABOVE_0, 0.9, mean_error=0.04).verdict == v.SUPPORTED
