"""Simulations cut into shards and put together are the simulation itself."""

from __future__ import annotations

import contextlib
import gc
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cli_project import assembled
from inputs_project import use_project

from simhcc import analysis
from simhcc.errors import ModelError
from simhcc.inputs import load_scenario
from simhcc.report.command import Request, _sized
from simhcc.simulation import simulate

Question = tuple


@pytest.fixture
def question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    use_project(tmp_path, monkeypatch)

    def make(patients: int, iterations: int) -> Question:
        request = Request(scenario="question", patients=patients, iterations=iterations)
        scenario = _sized(load_scenario("question"), request)
        return assembled(scenario, scenario.load_parameters())

    return make


SAME = ("sums", "pair_sums", "cross_sums", "quantities", "mark_sums", "occupancy")


def test_a_base_case_in_several_shards_is_bit_for_bit_one_simulation(question, monkeypatch) -> None:
    evaluation, values, cohort = question(9000, 1)
    monkeypatch.setattr(analysis, "BASE_CASE_PATIENT_STRATEGIES", 8192)
    shards = analysis.make_job(evaluation, values, cohort, patients=9000).shards
    assert [shard["items"] for shard in shards] == [(0, 1), (1, 2), (2, 3)]
    found = analysis.simulated(evaluation, values, cohort, patients=9000, threads=2)
    whole = simulate(evaluation, values, cohort, patients=9000, threads=1)
    for name in (*SAME, "endpoint_counts"):
        assert np.array_equal(getattr(found.outcomes, name), getattr(whole, name)), name
    for k, endpoint in enumerate(whole.endpoints):
        np.testing.assert_array_equal(found.medians[:, :, k], whole.median(endpoint))
        np.testing.assert_array_equal(found.median_mcse[:, :, k], whole.median_mcse(endpoint))
    assert found.outcomes.columns == whole.columns
    assert found.outcomes.states == whole.states and found.outcomes.marks == whole.marks


def test_draws_in_several_shards_are_bit_for_bit_one_simulation(question, monkeypatch) -> None:
    # The cohort holds the patients of four draws, so draws 0 to 3 and 4 to 6 meet the same ones.
    evaluation, values, cohort = question(300, 7)
    monkeypatch.setattr(analysis, "SPAN_DRAWS", 3)
    monkeypatch.setattr(analysis, "SHARD_PATIENT_STRATEGIES", 4096)
    shards = analysis.make_job(evaluation, values, cohort, patients=300).shards
    assert [(s["draws"], s["first_patient"], s["items"]) for s in shards] == [
        ((0, 2), 0, (0, 2)),
        ((2, 4), 600, (0, 2)),
        ((4, 7), 0, (0, 1)),
        ((4, 7), 0, (1, 3)),
    ]
    found = analysis.simulated(evaluation, values, cohort, patients=300, threads=2)
    whole = simulate(evaluation, values, cohort, patients=300, fresh_patients=True)
    for name in SAME:
        assert np.array_equal(getattr(found.outcomes, name), getattr(whole, name)), name
    assert np.array_equal(found.outcomes.endpoint_counts, whole.endpoint_counts.sum(axis=0, keepdims=True))
    curves = whole.survival("os")
    np.testing.assert_allclose(found.curves("os"), curves.mean(axis=0), rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.curve_sd[:, 0], curves.std(axis=0, ddof=1), rtol=0, atol=1e-7)
    np.testing.assert_array_equal(found.medians[:, :, 0], whole.median("os"))


def test_passes_over_a_small_cohort_are_prepared_together(question, monkeypatch) -> None:
    # The cohort holds the patients of four draws; two passes have room, and the last group has a single draw.
    evaluation, values, cohort = question(300, 17)
    cohort = {name: column[:1300] for name, column in cohort.items()}
    monkeypatch.setattr(analysis, "SPAN_DRAWS", 11)
    monkeypatch.setattr(analysis, "SHARD_PATIENT_STRATEGIES", 4096)
    shards = analysis.make_job(evaluation, values, cohort, patients=300).shards
    assert {s["draws"] for s in shards} == {(0, 4), (4, 8), (8, 12), (12, 16), (16, 17)}
    built = []
    original = analysis.Prepared
    monkeypatch.setattr(analysis, "Prepared", lambda *given: built.append(len(given[4])) or original(*given))
    found = analysis.simulated(evaluation, values, cohort, patients=300, threads=2)
    assert built == [8, 8, 1]
    whole = simulate(evaluation, values, cohort, patients=300, fresh_patients=True)
    for name in SAME:
        assert np.array_equal(getattr(found.outcomes, name), getattr(whole, name)), name
    np.testing.assert_array_equal(found.medians[:, :, 0], whole.median("os"))


@pytest.mark.parametrize(("patients", "iterations"), [(9000, 1), (300, 12)])
def test_what_shards_are_made_of_is_not_kept(question, monkeypatch, tmp_path, patients, iterations) -> None:
    earlier: list[list[weakref.ref]] = []
    alive: list[int] = []
    original = analysis.run

    @contextlib.contextmanager
    def watched(*arguments, **options):
        with original(*arguments, **options) as shards:
            yield watch(shards)

    def watch(shards):
        for shard in shards:
            arrays = [*shard.arrays.values()]
            # An array of a stored shard is a window on its file, and would hold all of it.
            arrays += [array.base for array in arrays if array.base is not None]
            earlier.append([weakref.ref(array) for array in arrays])
            del arrays
            gc.collect()
            # The one before this may still be in the hands of the loop.
            alive.append(sum(reference() is not None for references in earlier[:-2] for reference in references))
            yield shard

    monkeypatch.setattr(analysis, "run", watched)
    for size in ("SHARD_PATIENT_STRATEGIES", "BASE_CASE_PATIENT_STRATEGIES"):
        monkeypatch.setattr(analysis, size, 4096)
    evaluation, values, cohort = question(patients, iterations)
    found = analysis.simulated(evaluation, values, cohort, patients=patients, folder=tmp_path / "run")
    assert len(alive) >= 3 and found.patients == patients
    assert alive == [0] * len(alive)


def test_every_draw_has_luck_of_its_own(question) -> None:
    evaluation, values, cohort = question(300, 5)
    same = {name: np.repeat(value[:1], 5, axis=0) for name, value in values.items()}
    cohort = {name: column[:300] for name, column in cohort.items()}
    found = analysis.simulated(evaluation, same, cohort, patients=300)
    assert len(set(found.outcomes.means[:, 0, 0])) == 5


def test_the_error_of_a_curve_is_binomial_in_a_base_case(question) -> None:
    found = analysis.simulated(*question(400, 1), patients=400)
    at_60 = found.curves("os")[0, 60]
    assert found.curve_mcse("os")[0, 60] == pytest.approx((at_60 * (1 - at_60) / 400) ** 0.5)
    assert at_60 == pytest.approx(found.outcomes.means[0, 0, found.outcomes.column("os_60m")])


def test_equal_evaluations_are_equal_bytes(question) -> None:
    first, second = question(10, 1)[0], question(10, 1)[0]
    assert first.pathway is not second.pathway
    # Reading a key makes an expression remember it, which is no difference.
    for reward in second.pathway.nodes[1].transitions:
        assert reward.log_multiplier is None or reward.log_multiplier.key
    assert analysis.packed(first) == analysis.packed(second)
    assert analysis.packed(question(10, 1)[0]) != analysis.packed(replace(first, horizon=120.0))


def test_a_cohort_that_is_too_small_is_refused(question) -> None:
    evaluation, values, cohort = question(100, 1)
    with pytest.raises(ModelError, match="100 patients, fewer than the 101"):
        analysis.simulated(evaluation, values, cohort, patients=101)


@pytest.mark.slow
def test_a_cluster_gives_the_same_bits(question) -> None:
    distributed = pytest.importorskip("distributed")
    evaluation, values, cohort = question(300, 7)
    here = analysis.simulated(evaluation, values, cohort, patients=300, threads=1)
    options = {
        "n_workers": 2,
        "threads_per_worker": 1,
        "processes": True,
        "dashboard_address": None,
        "protocol": "tcp://",
    }
    with distributed.LocalCluster(**options) as cluster:
        there = analysis.simulated(evaluation, values, cohort, patients=300, dask=cluster.scheduler_address)
    assert np.array_equal(here.outcomes.sums, there.outcomes.sums)
    assert np.array_equal(here.medians, there.medians)


def test_other_patients_and_horizons_take_over_what_was_built_and_get_the_same_bits(question, monkeypatch) -> None:
    evaluation, values, cohort = question(9000, 1)
    monkeypatch.setattr(analysis, "_kept", {})
    built = []
    original = analysis.Prepared

    def counted(asked, *arguments, **options):
        built.append(asked.horizon)
        return original(asked, *arguments, **options)

    monkeypatch.setattr(analysis, "Prepared", counted)
    bare = replace(evaluation, endpoints=(), landmarks=(), restrictions=(), grid_step=None, trace=False)
    chosen = {name: column[::2].copy() for name, column in cohort.items()}
    dearer = {**values, next(iter(values)): values[next(iter(values))] * 1.5}
    runs = [
        (evaluation, values, cohort, 9000),
        (evaluation, values, chosen, 2500),
        (replace(evaluation, horizon=evaluation.horizon - 1.5), values, cohort, 2500),  # its curves are shorter
        (bare, values, cohort, 2500),
        (replace(bare, horizon=24.0), values, cohort, 2500),
        (replace(bare, horizon=24.0), dearer, cohort, 2500),
        (replace(bare, horizon=36.0, seed=evaluation.seed + 1), dearer, cohort, 2500),
    ]
    for asked, numbers, people, patients in runs:
        found = analysis.simulated(asked, numbers, people, patients=patients, threads=2).outcomes
        fresh = simulate(asked, numbers, people, patients=patients, threads=1)
        for name in (*SAME, "endpoint_counts"):
            assert np.array_equal(getattr(found, name), getattr(fresh, name)), (name, asked.horizon)
    whole = evaluation.horizon
    assert built == [whole, whole - 1.5, whole, 24.0, 36.0]
    lost = {name: column.copy() for name, column in chosen.items()}
    next(iter(lost.values()))[7] = np.nan
    analysis.simulated(evaluation, values, cohort, patients=9000)
    with pytest.raises(ModelError, match="not a number for patient 7"):
        analysis.simulated(evaluation, values, lost, patients=2500)


def test_draws_with_patients_of_their_own_take_over_nothing(question) -> None:
    evaluation, values, cohort = question(300, 4)
    analysis.simulated(evaluation, values, cohort, patients=300)
    chosen = {name: column[::2].copy() for name, column in cohort.items()}
    found = analysis.simulated(evaluation, values, chosen, patients=150).outcomes
    fresh = simulate(evaluation, values, chosen, patients=150, fresh_patients=True)
    for name in SAME:
        assert np.array_equal(getattr(found, name), getattr(fresh, name)), name
