"""Patient-level noise: the split of the variance, its removal, sample sizes and convergence."""

import math

import numpy as np
import pandas as pd
import pytest

from simhcc.economics import (
    Psa,
    evpi,
    noise_free,
    running_means,
    sample_size_split,
    smooth_on_inputs,
    variance_split,
    variance_split_replicates,
)
from simhcc.errors import InputError

# Tolerances on variances of K draws are 4.9 standard errors, sqrt(2 / K) each: a right program fails once in a million.


def noisy(draws: int, between: float, within: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """True means and means with Monte-Carlo noise of the given standard deviations."""
    rng = np.random.default_rng(seed)
    true = 5.0 + between * rng.standard_normal(draws)
    return true, true + within * rng.standard_normal(draws)


# ----------------------------------------------------------------------------------------------------------- split


def test_the_split_by_hand():
    # means 0, 2, 4: variance 4; noise 1, 2, 0: mean 1
    row = variance_split(pd.DataFrame({"x": [0.0, 2.0, 4.0]}), pd.DataFrame({"x": [1.0, 2.0, 0.0]})).iloc[0]
    assert row[["Mean", "Total", "Noise", "Between", "Between_Raw"]].tolist() == [2.0, 4.0, 1.0, 3.0, 3.0]
    assert row["Noise_Ratio"] == pytest.approx(1 / 3)
    assert row["MCSE"] == pytest.approx(2.0 / math.sqrt(3.0))


def test_between_is_not_negative_and_the_raw_value_stays():
    row = variance_split(pd.DataFrame({"x": [0.0, 2.0]}), pd.DataFrame({"x": [9.0, 9.0]})).iloc[0]
    assert (row["Between"], row["Between_Raw"], row["Noise_Ratio"]) == (0.0, -7.0, math.inf)


def test_the_split_by_replicates_by_hand():
    # draws (1, 3) and (5, 7): within 2 each; means 2 and 6 with variance 8; between 8 - 2 / 2 = 7
    values = np.array([[1.0, 3.0], [5.0, 7.0]])[:, :, None]
    row = variance_split_replicates(values, ["x"]).iloc[0]
    assert row[["Noise", "Between", "Total"]].tolist() == [2.0, 7.0, 9.0]


def test_the_split_recovers_both_variances():
    draws = 4000
    true, seen = noisy(draws, 3.0, 2.0)
    noise = pd.DataFrame({"x": np.full(draws, 4.0)})
    row = variance_split(pd.DataFrame({"x": seen}), noise).iloc[0]
    assert abs(row["Between"] - 9.0) < 4.9 * row["Between_SE"]
    assert row["Between_SE"] < 0.3  # so that a forgotten noise term (4.0) is found
    rng = np.random.default_rng(2)
    pilot = true[:, None, None] + 2.0 * rng.standard_normal((draws, 2, 1))
    row = variance_split_replicates(pilot, ["x"]).iloc[0]
    assert abs(row["Between"] - 9.0) < 4.9 * row["Between_SE"]
    assert abs(row["Noise"] - 4.0) < 4.9 * 4.0 * math.sqrt(2.0 / draws)


def test_the_standard_error_of_the_replicated_split_is_its_spread():
    rng = np.random.default_rng(3)
    found, claimed = [], []
    for _ in range(400):
        pilot = 3.0 * rng.standard_normal((50, 1, 1)) + 2.0 * rng.standard_normal((50, 2, 1))
        row = variance_split_replicates(pilot, ["x"]).iloc[0]
        found.append(row["Between_Raw"])
        claimed.append(row["Between_SE"])
    # the sd of 400 is known to 3.5 %
    assert np.mean(claimed) / np.std(found, ddof=1) == pytest.approx(1.0, abs=0.18)


def test_ten_percent_noise_lifts_evpi_and_its_removal_brings_it_back():
    # The analysis plan: noise of 10 % of the parameter variance lifts EVPI by 14 % (of a decision about one sd from
    # indifference). By the normal loss integral at mean 1: sd 1 gives 0.08332, sd sqrt(1.1) 0.09577, 15 % more.
    draws = 20_000
    rng = np.random.default_rng(4)
    z = rng.standard_normal(draws)
    z = (z - z.mean()) / z.std(ddof=1)
    noise = math.sqrt(0.1) * rng.standard_normal(draws)
    names = ["A", "B"]

    def value(inmb: np.ndarray) -> float:
        zero = np.zeros(draws)
        psa = Psa(pd.DataFrame({"A": zero, "B": -inmb}), pd.DataFrame(0.0, index=range(draws), columns=names))
        return float(evpi(psa, 1.0)["EVPI"].iloc[0])

    true, raw = value(1.0 + z), value(1.0 + z + noise)
    assert raw / true == pytest.approx(0.09577 / 0.08332, abs=0.04)
    means = pd.DataFrame({"B": 1.0 + z + noise})
    mended = noise_free(means, pd.DataFrame({"B": np.full(draws, 0.1)}))["B"].to_numpy()
    assert value(mended) == pytest.approx(true, rel=0.03)
    zero = np.zeros(draws)
    psa = Psa(pd.DataFrame({"A": zero, "B": -(1.0 + z + noise)}), pd.DataFrame(0.0, index=range(draws), columns=names))
    smooth = smooth_on_inputs(psa, pd.DataFrame({"z": z}))
    assert evpi(smooth.smoothed, 1.0)["EVPI"].iloc[0] == pytest.approx(true, rel=0.03)
    assert evpi(smooth.raw, 1.0)["EVPI"].iloc[0] == raw


# --------------------------------------------------------------------------------------------------------- removal


def test_noise_free_draws_have_the_between_variance_and_the_mean():
    means = pd.DataFrame({"x": [0.0, 2.0, 4.0], "y": [1.0, 1.0, 1.0]})
    noise = pd.DataFrame({"y": [0.0, 0.0, 0.0], "x": [1.0, 2.0, 0.0]})
    result = noise_free(means, noise)
    assert result["x"].var() == pytest.approx(3.0)
    assert result["x"].mean() == pytest.approx(2.0)
    assert result["y"].tolist() == [1.0, 1.0, 1.0]


def test_smoothing_keeps_what_the_inputs_explain_and_the_means():
    draws = 2000
    rng = np.random.default_rng(5)
    inputs = pd.DataFrame({"a": rng.standard_normal(draws), "b": rng.uniform(size=draws)})
    common = 50.0 * rng.standard_normal(draws)
    signal = np.sin(2 * inputs["a"]) + inputs["b"] ** 2
    cost = pd.DataFrame({"A": 1000 + common, "B": 1200 + common + 80 * signal + 40 * rng.standard_normal(draws)})
    effect = pd.DataFrame({"A": np.full(draws, 2.0), "B": 2 + signal + 0.5 * rng.standard_normal(draws)})
    result = smooth_on_inputs(Psa(cost, effect), inputs)
    gain = (result.smoothed.effects["B"] - result.smoothed.effects["A"]).to_numpy()
    assert np.corrcoef(gain, signal)[0, 1] > 0.99
    assert np.mean((gain - signal) ** 2) < 0.01  # the noise removed had a variance of 0.25
    pd.testing.assert_series_equal(result.smoothed.costs.mean(), cost.mean())
    pd.testing.assert_series_equal(result.smoothed.effects.mean(), effect.mean())
    report = result.report.set_index(["Strategy", "Outcome"])
    assert report.loc[("B", "effect"), "Variance_Smoothed"] == pytest.approx(signal.var(), rel=0.05)
    assert report.loc[("B", "effect"), "Variance_Raw"] == pytest.approx((effect["B"] - 2).var())
    # the increment of B is smoothed apart from A's own luck
    assert report.loc[("A", "cost"), "R2"] < 0.02
    assert report.loc[("B", "cost"), "R2"] > 0.6  # levels, with the common luck, would give 0.47


# ------------------------------------------------------------------------------------------------------ sample size


def test_patients_and_draws_by_hand():
    # draws (1, 3) and (5, 7), 100 patients: noise 2 per replicate = 200 per patient, between 7.
    # 5 % of 7 is 0.35: 200 / 0.35 = 571.4 patients. Variance of a draw 7 + 200 / 572; for an mcse of 0.1, 735 draws.
    pilot = np.array([[1.0, 3.0], [5.0, 7.0]])[:, :, None]
    table = sample_size_split(pilot, ["x"], patients=100, mcse=0.1)
    row = table.set_index("Outcome").loc["x"]
    assert row[["Noise_Per_Patient", "Patients"]].tolist() == [200.0, 572.0]
    assert row["Draws"] == math.ceil((7.0 + 200.0 / 572.0) / 0.01) == 735
    assert row["MCSE"] <= 0.1
    budget = sample_size_split(pilot, ["x"], patients=100, total_patients=1_000_000).set_index("Outcome").loc["all"]
    assert budget[["Patients", "Draws"]].tolist() == [572.0, 1748.0]
    assert budget["MCSE"] == pytest.approx(math.sqrt((7.0 + 200.0 / 572.0) / 1748))


def test_the_neediest_outcome_decides():
    rng = np.random.default_rng(6)
    pilot = np.concatenate(
        [3.0 * rng.standard_normal((200, 1, 1)) + s * rng.standard_normal((200, 2, 1)) for s in (0.2, 2.0)], axis=2
    )
    table = sample_size_split(pilot, ["quiet", "loud"], patients=1000, mcse=0.2).set_index("Outcome")
    assert table.loc["all", "Patients"] == table.loc["loud", "Patients"] > 20 * table.loc["quiet", "Patients"]


def test_the_recommendation_meets_the_promise():
    # 400 pilot draws, true between 4 and 900 per patient: 4500 patients are needed for 5 %
    rng = np.random.default_rng(7)
    pilot = 2.0 * rng.standard_normal((400, 1, 1)) + math.sqrt(900 / 500) * rng.standard_normal((400, 2, 1))
    row = sample_size_split(pilot, ["x"], patients=500, mcse=0.05).set_index("Outcome").loc["x"]
    assert row["Patients"] == pytest.approx(4500, rel=0.4)
    assert row["Noise_Per_Patient"] / row["Patients"] <= 0.05 * row["Between"]
    assert row["Noise_Per_Patient"] / (row["Patients"] - 1) > 0.05 * row["Between"]


def test_no_between_draw_variance_is_said_and_does_not_decide():
    still = np.array([[1.0, -1.0], [-1.0, 1.0]])[:, :, None]
    moving = np.array([[1.0, 3.0], [5.0, 7.0]])[:, :, None]
    table = sample_size_split(
        np.concatenate([still, moving], axis=2), ["still", "moving"], patients=10, mcse=0.1
    ).set_index("Outcome")
    assert table.loc["still", "Patients"] == math.inf
    assert "no between-draw variance" in table.loc["still", "Note"]
    assert table.loc["all", "Patients"] == table.loc["moving", "Patients"]
    small = sample_size_split(moving, ["moving"], patients=100, total_patients=600)
    assert small["Note"].tolist() == ["budget too small for two draws"] * 2


# ------------------------------------------------------------------------------------------------------ convergence


def test_running_means_are_those_of_the_first_draws():
    rng = np.random.default_rng(8)
    values = pd.DataFrame({"A": 1e9 + rng.standard_normal(500), "B": rng.standard_normal(500)})
    table = running_means(values, points=20)
    assert table["Draws"].min() == 2
    assert table["Draws"].max() == 500
    for _, row in table.iterrows():
        first = values[row["Outcome"]].to_numpy()[: row["Draws"]]
        assert row["mean"] == pytest.approx(first.mean(), rel=1e-12)
        assert row["mcse"] == pytest.approx(first.std(ddof=1) / math.sqrt(len(first)), rel=1e-5)
        assert row["upper"] - row["mean"] == pytest.approx(1.959964 * row["mcse"], rel=1e-4)


# ------------------------------------------------------------------------------------------------------ wrong input

X = pd.DataFrame({"x": [1.0, 2.0, 4.0]})


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: variance_split(X, -X), ["mc_variances", "negative variance"]),
        (lambda: variance_split(X, X.rename(columns={"x": "y"})), ["mc_variances", "'x'", "'y'"]),
        (lambda: variance_split(X.iloc[:1], X.iloc[:1]), ["means", "one draw"]),
        (lambda: variance_split_replicates(np.zeros((5, 1, 1)), ["x"]), ["(5, 1, 1)", "two replicates"]),
        (lambda: variance_split_replicates(np.zeros((5, 2, 3)), ["x"]), ["1 outcomes"]),
        (lambda: variance_split_replicates(np.full((5, 2, 1), np.nan), ["x"]), ["missing"]),
        (lambda: sample_size_split(np.zeros((5, 2, 1)), ["x"], patients=10), ["exactly one"]),
        (
            lambda: sample_size_split(np.zeros((5, 2, 1)), ["x"], patients=10, mcse=1.0, total_patients=9),
            ["exactly one"],
        ),
        (lambda: sample_size_split(np.zeros((5, 2, 1)), ["x"], patients=0, mcse=1.0), ["patients", "1 or more"]),
        (lambda: sample_size_split(np.zeros((5, 2, 1)), ["x"], patients=9, mcse=0.0), ["mcse", "more than 0"]),
        (lambda: sample_size_split(np.zeros((5, 2, 1)), ["x"], patients=9, mcse=1.0, noise_share=5), ["noise_share"]),
        (lambda: running_means(X.iloc[:1]), ["1 draws"]),
        (lambda: smooth_on_inputs(Psa(X, X), X.set_axis(["a", "b", "c"], axis=0)), ["inputs", "draws"]),
    ],
)
def test_wrong_arguments_are_refused_with_the_remedy(call, words):
    with pytest.raises(InputError) as error:
        call()
    assert all(word in str(error.value) for word in words), str(error.value)
