"""The bias emulator where the truth is known: a drug, and an operation, that do nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from simhcc.claims.emulate import (
    BIASES,
    DEATH,
    Pool,
    _pooled,
    adjuvant_pool,
    conversion_pool,
    least_delay,
    run_studies,
)
from simhcc.claims.experiments import Sizes
from simhcc.errors import InputError
from simhcc.inputs import load_parameters

PARAMETERS = load_parameters()
STUDIES = 6


@pytest.fixture(scope="module")
def null() -> Pool:
    return adjuvant_pool(PARAMETERS, Sizes(24, 1500, 5), "none")


def mean(pool: Pool, design: str, biases: tuple[str, ...] = ()) -> tuple[float, float]:
    """Mean log ratio over draws and its standard error."""
    studies = STUDIES if design == "retrospective" else 1
    logs = np.log(run_studies(pool, design, biases, studies=studies, seed=3).pooled)
    return float(logs.mean()), float(logs.std(ddof=1) / math.sqrt(len(logs)))


def test_a_drug_that_does_nothing_shows_a_benefit_with_all_biases_on(null: Pool) -> None:
    value, error = mean(null, "retrospective", BIASES)
    # Far beyond Monte-Carlo error: five standard errors below -0.1.
    assert value + 5.0 * error < -0.1


@pytest.mark.parametrize("design", ["retrospective", "randomised", "target_trial"])
def test_a_drug_that_does_nothing_shows_none_without_biases(null: Pool, design: str) -> None:
    value, error = mean(null, design)
    # 4.9 standard errors are exceeded once in a million; the size found is a ratio of 0.9.
    assert abs(value) < 4.9 * error
    assert 4.9 * error < -math.log(0.9) + 0.02


def test_every_bias_of_the_clock_alone_shows_a_benefit(null: Pool) -> None:
    for bias in ("immortal_time", "early_relapse"):
        value, error = mean(null, "retrospective", (bias,))
        assert value + 3.0 * error < 0.0, bias


def test_a_landmark_removes_the_biases_of_the_clock(null: Pool) -> None:
    biased, _ = mean(null, "retrospective", ("immortal_time", "early_relapse"))
    value, error = mean(null, "landmark")
    assert biased < -0.15
    assert abs(value) < 4.0 * error + 0.06  # what is left is fitness, which a landmark does not see


def test_publication_prefers_benefits(null: Pool) -> None:
    """Where studies without a significant benefit are never published, all that is published shows one."""
    never = {**null.numbers, "emulated.p_published_if_not_significant": np.zeros(null.draws)}
    biases = ("small_sample", "selective_publication")
    found = run_studies(replace(null, numbers=never), "retrospective", biases, studies=2, seed=3)
    assert (found.single[np.isfinite(found.single)] < 0.95).all()
    # And where they are published as often, none is preferred: the same studies as without the bias.
    always = {**null.numbers, "emulated.p_published_if_not_significant": np.ones(null.draws)}
    pool = replace(null, numbers=always)
    value, error = mean(pool, "retrospective", biases)
    assert abs(value) < 4.9 * error


def test_a_longer_wait_for_the_drug_is_more_immortal(null: Pool) -> None:
    def at(months: float) -> float:
        return mean(replace(null, start=np.full_like(null.start, months)), "retrospective", ("immortal_time",))[0]

    assert at(4.0) < at(2.0) < at(0.6) + 0.02
    delay = least_delay(null, 0.7, studies=3, seed=3)
    assert delay is not None and 0.5 < delay < 5.0
    assert least_delay(null, 0.05, studies=3, seed=3) is None


def test_a_drug_with_an_effect_is_seen_by_its_trial() -> None:
    """A pool made by hand: exponential recurrence, the drug halves it from its start on."""
    generator = np.random.default_rng(1)
    draws, n, start = 4, 4000, 2.0
    plain = generator.exponential(20.0, (draws, n))
    slowed = np.where(plain > start, start + 2.0 * (plain - start), plain)
    never = np.full((draws, n), np.inf)
    numbers = {f"emulated.{k}": np.full(draws, x) for k, x in (("months_follow_up", 20.0), ("share_treated", 0.5))}
    pool = Pool(
        "adjuvant",
        {"recurrence": plain, DEATH: never},
        {"recurrence": slowed, DEATH: never},
        np.full((draws, n), start),
        generator.standard_normal((draws, n)),
        None,
        numbers,
    )
    for design in ("randomised", "landmark", "retrospective"):
        ratios = run_studies(pool, design, (), seed=2).pooled
        # Four trials of about 1,500 events: standard error 0.026 of the mean log ratio.
        assert np.log(ratios).mean() == pytest.approx(math.log(0.5), abs=4.9 * 0.03)


def test_an_operation_that_does_nothing() -> None:
    pool = conversion_pool(PARAMETERS, Sizes(12, 1500, 5), null=True)
    naive = np.log(run_studies(pool, "retrospective", ("immortal_time",), seed=3).pooled)
    random = np.log(run_studies(pool, "randomised", (), seed=3).pooled)
    assert naive.mean() + 3.0 * naive.std(ddof=1) / math.sqrt(len(naive)) < 0.0
    # A twelfth root of trials of some 60 patients each.
    assert abs(random.mean()) < 4.9 * random.std(ddof=1) / math.sqrt(len(random))


def test_pooling_by_hand() -> None:
    # Two studies, log ratios 0 and 1, errors 0.5 and 0.5: Q = 2, tau^2 = (2 - 1) / (8 - 32/8) = 0.25, equal weights.
    logs, errors = np.array([[0.0, 1.0, np.nan]]), np.array([[0.5, 0.5, np.nan]])
    assert _pooled(logs, errors)[0] == pytest.approx(0.5)
    # Unequal errors: tau^2 = 0 when the studies agree, weights 4 and 1.
    assert _pooled(np.array([[0.1, 0.1]]), np.array([[0.5, 1.0]]))[0] == pytest.approx(0.1)


def test_what_is_unknown_is_refused(null: Pool) -> None:
    with pytest.raises(InputError, match="immortal"):
        run_studies(null, "retrospective", ("imortal_time",))
    with pytest.raises(InputError, match="randomised"):
        run_studies(null, "randomized")
    with pytest.raises(InputError, match="adjuvant_sorafenib"):
        adjuvant_pool(PARAMETERS, Sizes(2, 10, 1), "sorafenib")
