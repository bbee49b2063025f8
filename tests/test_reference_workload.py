"""The benchmark's reference workload: its exact answer is exact, and the other programs run the same model."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

from benchmarks.competitors import __main__ as competitors
from benchmarks.competitors import numba_scalar, numpy_chunked, numpy_plain
from benchmarks.reference_workload import OUTCOMES, REFERENCE, Array, WeibullTransition, Workload, exact, summary

# With 100,000 patients the allowed 5.6 standard errors are about 1.4 % of the mean: an error of 3 % is found.
PATIENTS, DRAWS, SEED = 1_000, 100, 7


def with_transitions(*transitions: WeibullTransition) -> Workload:
    return dataclasses.replace(REFERENCE, transitions=transitions)


def test_exponential_sojourns_have_the_closed_form() -> None:
    # Stable -> Progressed at a, Stable -> Dead at b, Progressed -> Dead at c; discounting adds r to every rate and the
    # horizon is as good as infinite: V_progressed = w_p / (c + r), V_stable = (w_s + a V_progressed) / (a + b + r).
    rate_progress, rate_death, rate_death_progressed = 0.06, 0.02, 0.10
    workload = dataclasses.replace(
        with_transitions(
            WeibullTransition("stable", "progressed", 1.0, 1.0 / rate_progress),
            WeibullTransition("stable", "dead", 1.0, 1.0 / rate_death),
            WeibullTransition("progressed", "dead", 1.0, 1.0 / rate_death_progressed),
        ),
        horizon_months=600.0,
    )
    r = math.log(1.05) / 12.0
    for strategy, hazard_ratio in REFERENCE.hazard_ratios.items():
        answer = exact(workload)[strategy]
        a = hazard_ratio * rate_progress
        for outcome, stable, progressed in (("ly", 1 / 12, 1 / 12), ("qaly", 0.80 / 12, 0.70 / 12), ("cost", 1e3, 3e3)):
            by_hand = (stable + a * progressed / (rate_death_progressed + r)) / (a + rate_death + r)
            assert math.isclose(answer[outcome], by_hand, rel_tol=1e-9)


def test_the_exact_answer_agrees_with_an_independent_forward_calculation() -> None:
    # Flows forward on a grid of 0.02 months: the density of entering each state is the convolution of the density of
    # entering the one before with its sojourn. Trapezoids are good to about 1e-4 here; the exact answer goes backwards.
    step = 0.02
    t = np.arange(0.0, REFERENCE.horizon_months + step / 2, step)
    discount = 1.05 ** (-t / 12.0)

    def survival(*transitions: tuple[float, float, float]) -> Array:
        return np.exp(-np.sum([multiplier * (t / scale) ** shape for shape, scale, multiplier in transitions], axis=0))

    def convolve(flow: Array, kernel: Array) -> Array:
        # `flow` holds probability per step placed at the middle of the step, hence the mean of neighbouring kernels.
        middle = (kernel[1:] + kernel[:-1]) / 2.0
        size = 2 * len(t)
        return np.fft.irfft(np.fft.rfft(flow, size) * np.fft.rfft(np.append(middle, 0.0), size), size)[: len(t)]

    for strategy, hazard_ratio in REFERENCE.hazard_ratios.items():
        stable = survival((1.2, 14.0, hazard_ratio), (1.0, 60.0, 1.0))
        progressed = survival((1.1, 8.0, 1.0), (1.1, 12.0, 1.0))
        progressed2 = survival((0.9, 9.0, 1.0))
        middle = t[:-1] + step / 2.0
        stable_middle = np.exp(-hazard_ratio * (middle / 14.0) ** 1.2 - middle / 60.0)
        flow = np.append(stable_middle * hazard_ratio * np.diff((t / 14.0) ** 1.2), 0.0)
        # Of those who leave Progressed, the two equal shapes give a constant share that goes to Progressed2.
        share = 8.0**-1.1 / (8.0**-1.1 + 12.0**-1.1)
        in_progressed = np.append(0.0, convolve(flow, progressed)[:-1])
        leaving = np.append(0.0, np.cumsum(flow)[:-1]) - in_progressed
        in_progressed2 = np.append(0.0, convolve(share * np.diff(leaving, append=leaving[-1]), progressed2)[:-1])
        months = [np.trapezoid(discount * p, dx=step) for p in (stable, in_progressed, in_progressed2)]
        answer = exact()[strategy]
        assert math.isclose(answer["ly"], sum(months) / 12.0, rel_tol=3e-4)
        assert math.isclose(answer["cost"], np.dot(months, [1_000.0, 3_000.0, 2_000.0]), rel_tol=3e-4)
        assert math.isclose(answer["qaly"], np.dot(months, [0.80, 0.70, 0.55]) / 12.0, rel_tol=3e-4)


def test_the_exact_answer_has_converged() -> None:
    coarse, fine = exact(nodes=48), exact(nodes=80)
    for strategy, outcomes in fine.items():
        for outcome, value in outcomes.items():
            assert math.isclose(coarse[strategy][outcome], value, rel_tol=1e-10)


@pytest.fixture(params=[numpy_plain, numpy_chunked, numba_scalar, "heormodel_continuous"])
def program(request: pytest.FixtureRequest) -> ModuleType:
    if isinstance(request.param, ModuleType):
        return request.param
    pytest.importorskip("heormodel")
    from benchmarks.competitors import heormodel_continuous

    return heormodel_continuous


def largest_deviation(per_draw: Array) -> float:
    away = competitors.deviations(per_draw)
    return float(np.max(np.abs([list(values.values()) for values in away.values()])))


def test_every_program_agrees_with_the_exact_answer(program: ModuleType) -> None:
    # One process, because starting heormodel's others takes longer than the work.
    options = {"threads": 1} if "threads" in inspect.signature(program.simulate).parameters else {}
    per_draw = program.simulate(PATIENTS, DRAWS, SEED, **options)
    limit = competitors.allowed_deviation(DRAWS)
    assert per_draw.shape == (DRAWS, len(REFERENCE.hazard_ratios), len(OUTCOMES))
    assert largest_deviation(per_draw) <= limit
    # The check is worth something only if it sees a mean that is 3 % too long, for any one outcome.
    for column in range(len(OUTCOMES)):
        planted = per_draw.copy()
        planted[:, :, column] *= 1.03
        assert largest_deviation(planted) > limit


def test_run_names_the_means_over_draws(program: ModuleType) -> None:
    assert program.run(50, 3, SEED) == summary(program.simulate(50, 3, SEED))
    assert program.run(50, 3, SEED) != program.run(50, 3, SEED + 1)
    assert list(program.run(50, 3, SEED)) == ["control", "treatment"]


@pytest.mark.parametrize("simulate", [numpy_chunked.simulate, numba_scalar.simulate])
@pytest.mark.parametrize(("patients", "n_draws"), [(150_001, 1), (999, 103)])
def test_chunks_that_do_not_divide_the_work_lose_nobody(
    simulate: Callable[..., Array], patients: int, n_draws: int
) -> None:
    one, two = simulate(patients, n_draws, SEED, threads=1), simulate(patients, n_draws, SEED, threads=2)
    assert np.array_equal(one, two)
    # A chunk lost or counted twice changes the mean by a tenth or more; this is some twelve standard errors.
    assert math.isclose(one[:, 0, 0].mean(), exact()["control"]["ly"], rel_tol=0.03)
    assert (one > 0.0).all()
