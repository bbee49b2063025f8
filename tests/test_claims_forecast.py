"""Forecasts: scores in closed form, what is frozen stays, and wrong files are refused."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from simhcc.claims.experiments import Sizes
from simhcc.claims.forecast import crps, crps_normal, list_forecasts, load_forecast, predict, score
from simhcc.errors import InputError
from simhcc.inputs import load_parameters
from simhcc.inputs.locate import packaged_folder
from simhcc.report.forecasts import ForecastRequest, run_forecasts

PARAMETERS = load_parameters()
FOLDER = packaged_folder("scenarios") / "forecasts"


def test_crps_of_a_sample_by_hand() -> None:
    # Half on 0, half on 2, result 1: E|X - y| = 1, E|X - X'| = 1.
    assert crps(np.array([0.0, 2.0]), 1.0) == pytest.approx(0.5)
    # A point forecast: the absolute error.
    assert crps(np.array([3.0]), 1.0) == pytest.approx(2.0)


def test_crps_of_a_sample_comes_to_that_of_its_distribution() -> None:
    sample = 0.2 + 0.5 * np.random.default_rng(1).standard_normal(40_000)
    for value in (-1.0, 0.2, 0.9):
        assert crps(sample, value) == pytest.approx(crps_normal(0.2, 0.5, value), abs=0.01)
    # At its mean: sd (sqrt 2 - 1) / sqrt pi.
    assert crps_normal(0.0, 1.0, 0.0) == pytest.approx((math.sqrt(2.0) - 1.0) / math.sqrt(math.pi))


def test_the_guess_about_keynote_937_is_scored() -> None:
    found = score(load_forecast("keynote-937-rfs", PARAMETERS))
    assert found is not None
    # Even over 0.90 to 0.95 on the log scale, result log 1.06: mean distance less half the mean distance within.
    logs = np.log(np.linspace(0.90, 0.95, 2001))
    within = np.abs(logs[:, None] - logs[None, ::10]).mean()
    assert found.crps == pytest.approx(float((math.log(1.06) - logs).mean() - 0.5 * within), abs=1e-4)
    assert not found.inside_50 and not found.inside_95 and found.rank == 1.0
    # A forecaster who expected no effect did better.
    assert found.naive["no effect"] < found.crps


def test_readouts_to_come_have_forecasts() -> None:
    wanted = {"cares-009-os", "talentop-os", "checkmate-9dx-rfs", "emerald-3-os-a", "emerald-3-os-b", "keynote-937-rfs"}
    assert wanted <= set(list_forecasts())
    for name in wanted:
        load_forecast(name, PARAMETERS)


def copied(tmp_path: Path) -> Path:
    folder = tmp_path / "scenarios" / "forecasts"
    shutil.copytree(FOLDER, folder)
    shutil.rmtree(folder / "frozen", ignore_errors=True)
    return folder


def test_what_is_frozen_is_not_changed_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copied(tmp_path)
    (folder / "frozen").mkdir()
    ratios = [0.7, 0.8, 0.9, 1.0]
    content = {"frozen": "2026-01-01", "ratios": ratios, "events_median": 80.0, "p_significant_benefit": 0.2}
    (folder / "frozen" / "cares-009-os.json").write_text(json.dumps(content), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="frozen on 2026-01-01"):
        run_forecasts(ForecastRequest(ids=("cares-009-os",), freeze=True, quiet=True))
    found = load_forecast("cares-009-os", PARAMETERS)
    assert found.ratios is not None and list(found.ratios) == ratios
    assert score(found) is None
    # A result is entered: it is scored.
    path = folder / "cares-009-os.yaml"
    text = "result: {value: 0.85, ci95: [0.6, 1.2], on: 2027, source: cares-009}\n"
    path.write_text(path.read_text(encoding="utf-8") + text.replace("2027", '"2027"'), encoding="utf-8")
    scored = run_forecasts(ForecastRequest(ids=("cares-009-os",), quiet=True)).as_object()["forecasts"][0]
    assert scored["score"]["inside_95"] and scored["score"]["rank"] == 0.5
    assert scored["score"]["crps"] == pytest.approx(crps(np.log(np.array(ratios)), math.log(0.85)))


WRONG = [
    ("arm: perioperative", "arm: perioperativ", "perioperativ"),
    ("endpoint: OS", "endpoint: XX", "XX"),
    ("trial: cares-009", "trial: cares-9", "cares-9"),
    ("cutoff_months: 66", "cutoff_months: -1", "-1"),
    ("cutoff_months: 66", "guess: [0.8, 0.9]", "beside guess"),
    ("cutoff_months: 66\n", "", "cutoff_months"),
    ("cutoff_months: 66", "cutoff_months: 66\nresult: {value: 0.8, on: x, source: nowhere}", "nowhere"),
]


@pytest.mark.parametrize(("old", "new", "words"), WRONG, ids=[w[2] for w in WRONG])
def test_a_wrong_forecast_is_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    folder = copied(tmp_path)
    path = folder / "cares-009-os.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_forecast(path, PARAMETERS)
    assert words in str(caught.value) and caught.value.file is not None


def test_a_guess_has_its_lower_limit_first(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    path = folder / "keynote-937-rfs.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("[0.90, 0.95]", "[0.95, 0.90]"), encoding="utf-8")
    with pytest.raises(InputError, match="lower first"):
        load_forecast(path, PARAMETERS)


def test_a_prediction_is_one_trial_in_each_draw() -> None:
    forecast = load_forecast("cares-009-os", PARAMETERS)
    found = predict(forecast, PARAMETERS, Sizes(24, 0, 3))
    ratios = np.array(found["ratios"])
    assert len(ratios) == 24 and (np.diff(ratios) >= 0.0).all()
    # 294 patients with some 80 deaths: the standard error alone is 0.22 on the log scale.
    assert 0.1 < np.log(ratios).std() < 0.6
    assert 40 < found["events_median"] < 160
    assert predict(forecast, PARAMETERS, Sizes(8, 0, 4))["ratios"] != found["ratios"]
