"""Calibration: the sampler, the emulator and the likelihood against closed forms; files; recovery of known parameters."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import binom, multivariate_normal

from simhcc.calibration import command, emulator, load_module, scores
from simhcc.calibration.imis import imis, systematic
from simhcc.calibration.likelihood import Scales, Term, log_prior
from simhcc.calibration.recovery import Recovery, recover
from simhcc.calibration.sampling import covariance, on_scale
from simhcc.calibration.store import stale
from simhcc.calibration.validation import CHANGES, GAPS, LOOKS, Contrast, Runs, Sizes, _patterns, validated
from simhcc.calibration.validation_report import _score_lines, has_shape, markdown, shape_in_words, summary
from simhcc.distributions import LogNormal
from simhcc.errors import InputError, ModelError
from simhcc.inputs import ParameterSet, load_parameters
from simhcc.inputs.parameters import load_parameters as load
from simhcc.inputs.trials import load_trial
from simhcc.trials.rows import rows_of

CRY_WOLF = 1e-6
NAME = "treatments.sintilimab_bev.progression_log_hr"


@pytest.fixture(scope="module")
def numbers() -> ParameterSet:
    return load_parameters(posteriors=())


# -- the sampler ---------------------------------------------------------------------------------------------------


def linear(d: int, figures: int, seed: int):  # type: ignore[no-untyped-def]
    """A linear model with normal errors, whose posterior is known: its functions, mean and covariance."""
    rng = np.random.default_rng(seed)
    matrix, sd = rng.normal(size=(figures, d)), 0.5
    y = matrix @ rng.normal(size=d) + sd * rng.normal(size=figures)
    precision = np.eye(d) + matrix.T @ matrix / sd**2
    covariance_ = np.linalg.inv(precision)
    mean = covariance_ @ matrix.T @ y / sd**2
    return (lambda x: -0.5 * np.sum((y - x @ matrix.T) ** 2, axis=1) / sd**2), mean, covariance_


@pytest.mark.parametrize("d", [2, 20])
def test_imis_gives_the_posterior_of_a_linear_model(d: int) -> None:
    like, mean, known = linear(d, 2 * d, seed=d)
    found = imis(log_prior, like, lambda n, rng: rng.standard_normal((n, d)), wanted=400, seed=1)
    assert found.reached and found.ess > 400
    sd = np.sqrt(np.diag(known))
    # Five standard errors of a mean from that many effective draws: one false alarm in a million and more.
    assert np.abs((found.mean() - mean) / sd).max() < 5.0 / math.sqrt(found.ess)
    assert np.abs(np.sqrt(np.diag(found.covariance())) / sd - 1.0).max() < 5.0 / math.sqrt(2.0 * found.ess)
    assert np.abs(found.mode - mean).max() < 1e-3


def test_imis_finds_two_separate_modes() -> None:
    # Equal peaks at -2.5 and 2.5 of width 0.01: the normal at one mode never reaches the other, new components must.
    def like(x: np.ndarray) -> np.ndarray:
        return np.logaddexp(-0.5 * ((x[:, 0] - 2.5) / 0.01) ** 2, -0.5 * ((x[:, 0] + 2.5) / 0.01) ** 2)

    found = imis(log_prior, like, lambda n, rng: rng.standard_normal((n, 1)), wanted=400, seed=3)
    right = found.weights[found.draws[:, 0] > 0].sum()
    assert found.reached and found.steps > 0
    assert abs(right - 0.5) < 5.0 * 0.5 / math.sqrt(found.ess)


def test_imis_refuses_an_impossible_target_and_a_likelihood_that_is_no_number() -> None:
    def prior(n: int, rng: np.random.Generator) -> np.ndarray:
        return rng.standard_normal((n, 1))

    with pytest.raises(ModelError, match="no draw of the prior"):
        imis(log_prior, lambda x: np.full(len(x), -np.inf), prior, wanted=10, seed=1)
    with pytest.raises(ModelError, match="not a number"):
        imis(log_prior, lambda x: np.full(len(x), np.nan), prior, wanted=10, seed=1)


def test_systematic_resampling_gives_each_draw_its_share() -> None:
    places = systematic(np.array([0.5, 0.25, 0.25, 0.0]), 1000, np.random.default_rng(0))
    counts = np.bincount(places, minlength=4)
    assert counts[3] == 0 and np.abs(counts[:3] - [500, 250, 250]).max() <= 1


# -- the emulator --------------------------------------------------------------------------------------------------


def test_emulator_reproduces_a_quadratic_and_knows_its_error() -> None:
    rng = np.random.default_rng(1)

    def truth(x: np.ndarray) -> np.ndarray:
        return np.stack([1.0 + x[:, 0] - 0.5 * x[:, 1] * x[:, 2] + 0.2 * x[:, 3] ** 2, np.full(len(x), 3.0)], axis=1)

    x, new = rng.standard_normal((150, 6)), rng.standard_normal((400, 6))
    exact = emulator.fit(x, truth(x))
    assert np.abs(exact(new) - truth(new)).max() < 0.02 and exact.explained[0] > 0.999
    noise = 0.3 * rng.standard_normal((150, 2))
    noisy = emulator.fit(x, truth(x) + noise)
    # Errors at points left out hold the noise; they are no smaller than it and not much larger.
    told = np.sqrt(np.diag(noisy.error))
    assert np.all(told > 0.8 * 0.3) and np.all(told < 1.6 * 0.3)
    smooth = np.sqrt(np.mean((noisy(new) - truth(new)) ** 2, axis=0))
    assert np.all(smooth < told)


# -- the likelihood ------------------------------------------------------------------------------------------------


def one_term(rng: np.random.Generator) -> Term:
    root = rng.normal(size=(4, 4))
    return Term(
        "t",
        ("a", "b", "c", "d"),
        rng.normal(size=4),
        root @ root.T + np.eye(4),
        0.1 * np.eye(4),
        rng.normal(size=(4, 2)),
    )


def test_likelihood_is_the_normal_density_with_the_random_effects_integrated_out() -> None:
    rng = np.random.default_rng(2)
    term = one_term(rng)
    predicted, tau, delta = rng.normal(size=(3, 4)), np.array([0.1, 0.5, 2.0]), np.array([0.2, 0.0, 1.0])
    found = term.log_likelihood(predicted, tau, delta)
    for k in range(3):
        total = term.sampling + term.error + tau[k] ** 2 * term.jacobian @ term.jacobian.T + delta[k] ** 2 * np.eye(4)
        assert found[k] == pytest.approx(multivariate_normal(predicted[k], total).logpdf(term.observed), abs=1e-10)
    # Integration by brute force: average over many random effects.
    effects = 0.5 * rng.standard_normal((200_000, 2))
    own = term.sampling + term.error
    inside = multivariate_normal(np.zeros(4), own).pdf(term.observed - predicted[1] - effects @ term.jacobian.T)
    error = inside.std() / math.sqrt(len(inside)) / inside.mean()
    assert abs(np.log(inside.mean()) - found[1]) < 6.0 * error


def test_random_effects_given_the_data_are_those_of_a_joint_normal() -> None:
    rng = np.random.default_rng(4)
    term = one_term(rng)
    predicted, tau, delta = rng.normal(size=(1, 4)), np.array([0.7]), np.array([0.3])
    own = term.sampling + term.error + 0.09 * np.eye(4)
    total = own + 0.49 * term.jacobian @ term.jacobian.T
    gain = 0.49 * term.jacobian.T @ np.linalg.inv(total)
    expected = gain @ (term.observed - predicted[0])
    assert term.effects(predicted, tau, delta)[0] == pytest.approx(expected, abs=1e-10)
    many = 40_000
    drawn = term.effects(np.repeat(predicted, many, 0), np.repeat(tau, many), np.repeat(delta, many), rng)
    known = 0.49 * np.eye(2) - gain @ term.jacobian * 0.49
    assert np.abs(np.cov(drawn, rowvar=False) - known).max() < 6.0 * known.max() * math.sqrt(2.0 / many)


def test_discrepancy_is_half_normal_and_tau_has_its_prior(numbers: ParameterSet) -> None:
    module = load_module("advanced", numbers)
    scales = Scales(module.between_sd, 0.15)
    z = np.linspace(-3.0, 3.0, 7)
    # P(|N| < x) = 2 Phi(x / s) - 1 is the score's own probability.
    from scipy.special import ndtr

    assert 2.0 * ndtr(scales.delta(z) / 0.15) - 1.0 == pytest.approx(ndtr(z), abs=1e-9)
    assert module.between_sd.cdf(scales.tau(z)) == pytest.approx(ndtr(z), abs=1e-6)


def test_covariance_keeps_published_standard_deviations() -> None:
    rng = np.random.default_rng(0)
    samples = rng.multivariate_normal([0.0, 0.0], [[1.0, 0.9], [0.9, 1.0]], size=4000)
    found = covariance(samples, [0.2, None])
    assert found[0, 0] == pytest.approx(0.04) and found[1, 1] == pytest.approx(samples[:, 1].var(ddof=1))
    assert found[0, 1] / math.sqrt(found[0, 0] * found[1, 1]) == pytest.approx(0.9 * 0.98, abs=0.02)


# -- files ---------------------------------------------------------------------------------------------------------


SMALL = """\
id: small
title: A small module
between_trials: {sd: heterogeneity.tau_advanced, effects: [progression]}
discrepancy_sd: heterogeneity.discrepancy_sd
simulation: {patients: 1024, design: 48, rounds: 1, draws: 60, replicates: 150, seed: 3}
parameters:
  systemic.progression_rate_stable_per_month:
    prior: {lognormal: {sdlog: 0.3}}
    identified_by: PFS
  treatments.sintilimab_bev.progression_log_hr:
    prior: {normal: {sd: 0.3}}
    identified_by: PFS ratio
trials:
  - id: orient-32
    leave_out:
      - {endpoint: response, why: input}
      - {endpoint: OS, why: not needed}
"""


def small(tmp_path: Path, text: str = SMALL) -> str:
    path = tmp_path / "small.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


WRONG = [
    (
        "systemic.progression_rate_stable_per_month:",
        "systemic.progresion_rate_stable_per_month:",
        7,
        "no parameter called",
    ),
    ("{lognormal: {sdlog: 0.3}}", "{lognormul: {sdlog: 0.3}}", 8, "a distribution"),
    ("{normal: {sd: 0.3}}", "{normal: {sd: -0.3}}", 11, "prior"),
    ("effects: [progression]", "effects: [progress]", 3, "'progress'"),
    ("sd: heterogeneity.tau_advanced", "sd: heterogeneity.discrepancy_sd", 3, "which is fixed"),
    ("  - id: orient-32", "  - id: orient-23", 14, "no trial called"),
    ("{endpoint: OS, why", "{endpoint: OSS, why", 17, "no fitted figure"),
    ("draws: 60", "draws: 0", 5, "from 1"),
    ("    identified_by: PFS ratio\n", "", 10, "identified_by"),
    (
        "{normal: {sd: 0.3}}",
        "{around: {parameter: tace.max_sessions, sd_log: frailty.sd_log}}",
        11,
        "tace.max_sessions",
    ),
    ("id: small", "id: small\nafter: [nowhere]", 2, "nowhere"),
    ("title: A small module", "title: A small module\nextra: 1", 3, "extra"),
]


@pytest.mark.parametrize(("old", "new", "line", "words"), WRONG)
def test_wrong_files_are_refused_with_their_line(
    old: str, new: str, line: int, words: str, tmp_path: Path, numbers: ParameterSet
) -> None:
    assert old in SMALL
    with pytest.raises(InputError) as caught:
        load_module(small(tmp_path, SMALL.replace(old, new, 1)), numbers)
    assert words in str(caught.value)
    assert caught.value.line == line and str(caught.value.file).endswith("small.yaml")


def test_packaged_modules_can_be_read_and_run_in_their_order(numbers: ParameterSet) -> None:
    order = command.list_modules()
    assert order.index("advanced") < order.index("intermediate") < order.index("resectable")
    for name in order:
        module = load_module(name, numbers)
        z = np.random.default_rng(0).standard_normal((5, len(module.fitted)))
        values = module.values(z)
        for k in range(5):
            # Normal scores and values are each other's inverse.
            assert module.scores({n: v[k] for n, v in values.items()}) == pytest.approx(z[k], abs=1e-5)


def test_no_survival_contrast_of_held_out_trials_is_fitted(numbers: ParameterSet) -> None:
    for name in ("intermediate", "resectable"):
        module = load_module(name, numbers)
        from simhcc.calibration.simulated import figures_of

        for trial in module.trials:
            for row in figures_of(module, trial).rows:
                assert row.use == "fit"
                assert not (row.endpoint == "OS" and row.statistic == "hr"), f"{trial.id}: {row.name}"


# -- a whole fit ---------------------------------------------------------------------------------------------------


def test_a_small_module_from_the_command_to_the_psa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "params" / "calibration").mkdir(parents=True)
    small(tmp_path / "params" / "calibration")
    monkeypatch.chdir(tmp_path)
    request = command.Request(("small",), out=tmp_path / "out", store=True, threads=2)
    found = command.run_calibration(request, quiet=True, say=lambda text: None)
    fit = found.fits[0]
    # The data speak: both parameters are better known afterwards, and the published ratio is met.
    assert (fit.shrinkage() < 0.92).all()
    told = json.loads(json.dumps(found.as_object()))["modules"][0]
    for row in told["parameters"]:
        assert row["information"] == ("prior-driven" if row["posterior_sd_over_prior_sd"] > 0.8 else "informed")
    assert all(abs(row["residual"]) < 2.5 for row in told["targets"] if " hr" in row["figure"])
    # Begun elsewhere, the sampler gives the same posterior: means of two samples of so many effective draws.
    assert fit.disagreement < 5.0 * math.sqrt(2.0 / min(fit.ess, 60.0))
    assert told["diagnostics"]["sampled_again_largest_difference_in_sd"] == pytest.approx(fit.disagreement, rel=0.01)
    assert {p.suffix for p in (tmp_path / "out" / "small").iterdir()} >= {".png", ".svg", ".csv", ".json"}
    # A PSA takes the draws with their correlations, a base case their centre, an override neither.
    name = NAME
    numbers = load()
    sample = numbers.sample(60, seed=1)
    stored = np.sort(np.round(fit.values[name], 4))
    assert np.sort(np.round(sample[name], 4)) == pytest.approx(stored, abs=2e-4)
    pair = ("systemic.progression_rate_stable_per_month", name)
    assert np.corrcoef(*(np.log(sample[pair[0]]), sample[pair[1]]))[0, 1] == pytest.approx(
        np.corrcoef(np.log(fit.values[pair[0]]), fit.values[pair[1]])[0, 1], abs=1e-3
    )
    assert numbers[name].grade == "calibrated" and numbers[name].base() == pytest.approx(fit.centre()[name], rel=1e-4)
    assert load(overrides={name: 0.1}).sample(3, seed=1)[name].tolist() == [0.1] * 3
    assert load(posteriors=())[name].base() == 0.0
    check_validation_of_the_small_module()
    # Run again, it is the same; resumed from a folder that is complete, it is the same too.
    again = command.run_calibration(dataclasses.replace(request, resume=True, store=False), True, lambda text: None)
    assert np.array_equal(again.fits[0].x, fit.x)
    with pytest.raises(InputError, match="results of job"):
        command.run_calibration(dataclasses.replace(request, store=False), True, lambda text: None)


def check_validation_of_the_small_module() -> None:
    """`validate` on the stored draws: roles, intervals, words for what was left out, a page that can be written."""
    told = validated(
        [load_trial("orient-32")],
        load(),
        load(posteriors=()),
        ("small",),
        Sizes(draws=20, replicates=80),
        Runs(threads=2),
    )
    by_role = {one.figure: one.role for one in told.assessed}
    assert by_role["sin_bev : sorafenib PFS hr"] == "fitted"
    assert by_role["sin_bev : sorafenib OS hr"] == "left out"
    ratio = next(one for one in told.assessed if one.figure == "sin_bev : sorafenib PFS hr")
    # Figures of a trial of 571: its own sampling alone has the published width, the posterior adds to it.
    assert ratio.lower < ratio.lower50 < ratio.predicted < ratio.upper50 < ratio.upper
    assert 0.8 < ratio.width < 3.0 and ratio.inside
    left_out = next(one for one in told.assessed if one.figure == "sin_bev : sorafenib OS hr")
    assert left_out.explanation == "Not fitted: not needed."
    assert told.stale == ()
    moved = load(posteriors=(), overrides={"systemic.primary_progression_rate_per_month": 0.7})
    module = load_module("small", moved)
    posterior = next(one for one in load().posteriors if one.id == "small")
    assert stale(module, moved, posterior) == ["numbers of params/ that stand before the fit"]
    page = markdown(told, {"orient-32_curves"})
    assert "sin_bev : sorafenib PFS hr" in page and "0.56" in page
    assert "(validation/orient-32_curves.png)" in page and "orient-32_hazard_ratios" not in page
    ratio_row = next(line for line in page.splitlines() if line.startswith("| small | `treatments.sintilimab_bev"))
    assert f"| {told.posteriors[0].manifest['fit']['posterior_sd_over_prior_sd'][NAME]:.2f} |" in ratio_row  # type: ignore[index]
    found = summary(told)
    assert found["fitted_figures"] == 3 and found["fitted_medians_and_landmarks"] == 2


def test_validation_without_a_posterior_is_refused(numbers: ParameterSet) -> None:
    with pytest.raises(InputError, match="no posterior of module advanced"):
        validated([], numbers, numbers, ("advanced",), Sizes(), Runs())


def test_yearly_ratios_are_those_of_the_published_landmarks() -> None:
    # CARES-009, EFS 0.795, 0.588, 0.552 against 0.62, 0.474, 0.395 at 12, 24 and 36 months:
    # log 0.795 / log 0.62 = 0.480, log(0.588/0.795) / log(0.474/0.62) = 1.123, log(0.552/0.588) / log(0.395/0.474) = 0.347.
    trial = load_trial("cares-009")
    rows = rows_of(trial)
    drawn = np.stack([np.full(3, float(on_scale(row, np.array(row.published)))) for row in rows], axis=1)
    found = SimpleNamespace(rows=rows)
    # The model's own shares are other ones: one half of each published hazard in both arms changes no ratio.
    true = np.array([[row.published**0.5 if row.statistic == "landmark" else row.published] for row in rows])
    patterns = list(_patterns(trial, found, drawn, true))  # type: ignore[arg-type]
    yearly = {p.what: p for p in patterns if "EFS, months" in p.what}
    for (_, p), known in zip(sorted(yearly.items()), (0.480, 1.123, 0.347), strict=True):
        assert p.published == pytest.approx(known, abs=0.001)
        # Predicted as published, the prediction is the published ratio.
        assert p.predicted == pytest.approx(p.published, rel=1e-9)
        assert p.expectation == pytest.approx(p.published, rel=1e-9)
    (gap,) = [p for p in patterns if p.kind == GAPS]
    # 0.552 - 0.395 published; the roots of these expected.
    assert gap.published == pytest.approx(0.157) and gap.expectation == pytest.approx(0.74297 - 0.62849, abs=1e-5)
    assert has_shape(dataclasses.replace(gap, expectation=0.13)) and not has_shape(gap)
    assert not has_shape(dataclasses.replace(yearly[max(yearly)], expectation=0.35 * 1.16))
    told = shape_in_words(patterns)
    assert "published 0.48, 1.12, 0.35, model 0.48, 1.12, 0.35 (3 of 3 near, " in told


def test_successive_looks_stand_with_both_ratios_and_their_change() -> None:
    # IMbrave050, RFS: 0.72 at the first look, 0.90 at the second.
    trial = load_trial("imbrave050")
    rows = rows_of(trial)
    drawn = np.stack([np.full(3, float(on_scale(row, np.array(row.published)))) for row in rows], axis=1)
    true = np.array([[0.8 if row.statistic == "hr" else row.published] for row in rows])
    patterns = list(_patterns(trial, SimpleNamespace(rows=rows), drawn, true))  # type: ignore[arg-type]
    looks = [p for p in patterns if p.kind == LOOKS and p.group.endswith(" RFS")]
    assert [p.published for p in looks] == [0.72, 0.9] and [p.expectation for p in looks] == pytest.approx([0.8, 0.8])
    (change,) = [p for p in patterns if p.kind == CHANGES and p.group.endswith(" RFS")]
    assert change.published == pytest.approx(1.25) and change.expectation == pytest.approx(1.0)


def test_modules_after_a_missing_one_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "load_parameters", lambda **k: load(posteriors=()))
    with pytest.raises(InputError, match="which has no posterior"):
        command.run_calibration(command.Request(("intermediate",), tmp_path / "out"), True, lambda text: None)


# -- recovery ------------------------------------------------------------------------------------------------------


def coverage_is_nominal(found: Recovery) -> bool:
    """Counts of intervals that hold the truth lie where those of a correct method lie but once in a million."""
    repeats = len(found.truth)
    low = binom.ppf(CRY_WOLF / 2, repeats, found.level)
    return bool(np.all(found.covered.sum(axis=0) >= low))


def test_parameters_simulated_from_the_model_are_recovered(tmp_path: Path, numbers: ParameterSet) -> None:
    module = load_module(small(tmp_path), numbers)
    found = recover(module, numbers.base_values(), 40)
    assert coverage_is_nominal(found)
    # And the intervals are worth having: they are narrower than the prior's, and truth and estimate go together as such
    # intervals say, correlation sqrt(1 - sd^2), within four standard errors of Fisher's z.
    assert found.sd.mean(axis=0).max() < 0.8
    for k in range(2):
        r = np.corrcoef(found.truth[:, k], found.mean[:, k])[0, 1]
        assert np.arctanh(r) > np.arctanh(np.sqrt(1.0 - np.mean(found.sd[:, k] ** 2))) - 4.0 / math.sqrt(37)

    def overconfident(term: Term) -> Term:
        return dataclasses.replace(term, sampling=term.sampling / 16.0, error=term.error / 16.0)

    # No discrepancy and hardly any spread between trials, where the data have both.
    sure = Scales(LogNormal(math.log(0.02), 0.1), 1e-3)
    assert not coverage_is_nominal(recover(module, numbers.base_values(), 40, tamper=overconfident, believed=sure))


def test_coverage_is_told_with_binomial_limits() -> None:
    truth = np.zeros((10, 2))
    low = np.full((10, 2), -1.0)
    low[:1, 0] = low[:8, 1] = 0.5
    truth[:, :] = np.linspace(-0.1, 0.1, 10)[:, None]
    found = Recovery(("a", "b"), truth, truth + np.arange(10)[:, None], truth * 0.0 + 0.5, low, truth + 1.0, 0.9)
    table = found.table().set_index("parameter")
    assert table["covered"].tolist() == [9, 2] and table["sd_ratio"].tolist() == [0.5, 0.5]
    # Clopper and Pearson: 9 of 10 from 0.5550 to 0.9975, 2 of 10 from 0.0252 to 0.5561.
    assert table["lower"].tolist() == pytest.approx([0.5550, 0.0252], abs=1e-4)
    assert table["upper"].tolist() == pytest.approx([0.9975, 0.5561], abs=1e-4)
    told = found.overall()
    assert told["coverage"] == pytest.approx(0.55) and told["excluded"] == 1
    # By data set 0, seven halves, two ones: sd 0.2838, so 0.55 +- 1.96 x 0.2838 / sqrt(10).
    each = np.array([0.0, *[0.5] * 7, 1.0, 1.0])
    assert told["upper"] - told["coverage"] == pytest.approx(1.96 * each.std(ddof=1) / math.sqrt(10), rel=1e-3)


def test_recovery_from_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "params" / "calibration"
    folder.mkdir(parents=True)
    small(folder, SMALL.replace("patients: 1024, design: 48", "patients: 256, design: 24").replace("150", "40"))
    monkeypatch.chdir(tmp_path)
    request = command.Request(("small",), out=tmp_path / "out", recovery=4, threads=2)
    found = command.run_recovery(request, quiet=True, say=lambda text: None)
    told = json.loads(json.dumps(found.as_object()))["modules"][0]
    assert told["repeats"] == 4 and len(told["parameters"]) == 2
    assert "small: 4 data sets" in found.as_text()
    again = command.run_recovery(dataclasses.replace(request, resume=True), True, lambda text: None)
    assert np.array_equal(again.recoveries["small"].lower, found.recoveries["small"].lower)
    for wrong, words in (({"recovery": 1}, "2 or more"), ({"store": True}, "one of them")):
        with pytest.raises(InputError, match=words):
            command.run_recovery(dataclasses.replace(request, **wrong), True, lambda text: None)


@pytest.mark.slow
def test_a_whole_module_is_recovered(numbers: ParameterSet) -> None:
    module = load_module("resectable", numbers)
    found = recover(module, numbers.base_values(), 60)
    assert coverage_is_nominal(found)
    # All parameters together: 0.9 within what 60 independent data sets allow, were all parameters of one alike.
    assert abs(found.coverage.mean() - 0.9) < 4.0 * math.sqrt(0.9 * 0.1 / 60)


# -- scores --------------------------------------------------------------------------------------------------------


def test_crps_of_draws_and_of_a_normal_agree_with_their_definitions() -> None:
    # Two draws, 0 and 2, observed 1: mean distance 1, mean distance between draws (0 + 2 + 2 + 0) / 4 = 1, so 1 - 1 / 2.
    assert scores.crps_sample(np.array([0.0, 2.0]), 1.0) == pytest.approx(0.5)
    # One value scores its error.
    assert scores.crps_sample(np.array([3.0]), 1.0) == pytest.approx(2.0)
    # A standard normal observed at 0: (sqrt 2 - 1) / sqrt pi.
    assert scores.crps_normal(0.0, 1.0, 0.0) == pytest.approx((math.sqrt(2.0) - 1.0) / math.sqrt(math.pi))
    many = np.random.default_rng(0).normal(0.2, 0.5, 200_000)
    assert scores.crps_sample(many, -0.3) == pytest.approx(scores.crps_normal(0.2, 0.5, -0.3), abs=0.005)


def test_a_comparison_that_hangs_on_one_contrast_says_so() -> None:
    def contrast(trial: str, published: float, pfs: float) -> Contrast:
        rows = rows_of(load_trial("leap-012"))
        row = next(r for r in rows if r.kind == "contrast" and r.endpoint == "OS")
        drawn = np.log(0.9) + 0.2 * np.random.default_rng(0).standard_normal(4001)
        return Contrast(trial, "OS hr", row, math.log(published), 0.2, drawn, drawn, pfs, {}, {})

    # PFS forecasts of 0.8 fit 0.8 better than draws around 0.9; one forecast of 0.3 against 0.88 spoils their mean.
    told = _score_lines([contrast("a", 0.8, 0.8), contrast("b", 0.8, 0.8), contrast("c", 0.88, 0.3)])[0]
    assert told.startswith("3 of 3 published ratios lie below")
    assert '"as the PFS effect" hangs on c (OS hr)' in told and "hangs on a" not in told
    assert '"0.85" scores better than the model' in told and '"no effect" scores better' not in told


def test_coverage_limits_are_binomial() -> None:
    # Of four 95 % intervals two hits have probability 0.0140 and fewer, so three is the least that passes at 5 %.
    assert scores.least_coverage(4, 0.95) == 3
    assert binom.cdf(2, 4, 0.95) < 0.05 < binom.cdf(3, 4, 0.95)
    assert scores.least_coverage(4, 0.50) == 0
    assert scores.inside(np.arange(101.0), 50.0, 0.5) and not scores.inside(np.arange(101.0), 90.0, 0.5)


def test_power_of_a_forecaster_is_schoenfelds() -> None:
    # Events for 80 % power at 0.7 and one-sided 2.5 %: 4 (1.96 + 0.8416)^2 / (log 0.7)^2 = 246.8.
    assert scores.power(0.7, 246.8, 0.5) == pytest.approx(0.80, abs=0.001)
    assert scores.power(1.0, 300.0, 0.5) == pytest.approx(0.025)


def test_naive_forecasters_are_those_of_the_analysis_plan() -> None:
    ones = scores.naive_forecasters(0.66)
    assert [one.hr for one in ones] == [1.0, 0.66, 0.85]
    assert ones[0].score(0.0, 0.1) < ones[1].score(0.0, 0.1)
