"""`simhcc forecast`: freeze forecasts of readouts still to come, show them, and score those that have a result."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simhcc.claims.experiments import Sizes
from simhcc.claims.forecast import Forecast, Score, list_forecasts, load_forecast, predict, score
from simhcc.errors import InputError
from simhcc.inputs import load_parameters
from simhcc.runner import console_progress

ITERATIONS = 400


@dataclass(frozen=True, kw_only=True)
class ForecastRequest:
    """What the user asked for."""

    ids: Sequence[str] = ()
    freeze: bool = False
    iterations: int = ITERATIONS
    seed: int = 1
    threads: int | None = None
    quiet: bool = False


@dataclass(frozen=True)
class Forecasts:
    """Forecasts with their scores."""

    forecasts: tuple[tuple[Forecast, Score | None], ...]

    def as_object(self) -> dict[str, Any]:
        """For machines."""
        found = []
        for forecast, scored in self.forecasts:
            ratios = forecast.ratios
            found.append(
                {
                    "id": forecast.id,
                    "label": forecast.label.text(),
                    "expected": forecast.expected,
                    "frozen": None if forecast.frozen is None else forecast.frozen["frozen"],
                    "quantiles": None
                    if ratios is None
                    else {f"{q:g}": float(np.quantile(ratios, q)) for q in (0.025, 0.25, 0.5, 0.75, 0.975)},
                    "result": None if forecast.result is None else forecast.result.__dict__,
                    "score": None if scored is None else {**scored.__dict__, "naive": dict(scored.naive)},
                }
            )
        return {"forecasts": found}

    def as_text(self) -> str:
        """For people."""
        lines = []
        for forecast, scored in self.forecasts:
            lines.append(f"{forecast.id}: {forecast.label.text()}")
            ratios = forecast.ratios
            if ratios is None:
                lines.append("  not frozen yet: simhcc forecast --freeze")
            else:
                q = np.quantile(ratios, (0.025, 0.25, 0.5, 0.75, 0.975))
                when = "a guess" if forecast.frozen is None else f"frozen {forecast.frozen['frozen']}"
                lines.append(
                    f"  {when}; hazard ratio {q[2]:.2f}, half of the probability in {q[1]:.2f} to {q[3]:.2f}, "
                    f"95 % in {q[0]:.2f} to {q[4]:.2f}"
                )
                if forecast.frozen is not None:
                    lines.append(
                        f"  {forecast.frozen['events_median']:.0f} events expected; chance of a significant benefit "
                        f"{forecast.frozen['p_significant_benefit']:.2f} (two-sided 5 %, no adjustment for looks)"
                    )
            if forecast.result is None:
                lines.append(f"  readout: {forecast.expected}")
            else:
                result = forecast.result
                interval = "" if result.low is None else f" ({result.low:g} to {result.high:g})"
                lines.append(f"  result, {result.on}: {result.value:g}{interval} [{result.source}]")
            if scored is not None:
                inside = [
                    f"{'inside' if yes else 'outside'} {level} %"
                    for level, yes in ((50, scored.inside_50), (95, scored.inside_95))
                ]
                lines.append(
                    f"  score: CRPS {scored.crps:.3f} on the log scale; {', '.join(inside)}; rank {scored.rank:.2f}"
                )
                if scored.naive:
                    others = ", ".join(f"{name} {value:.3f}" for name, value in scored.naive.items())
                    lines.append(f"  without a model: {others} (lower is better)")
            lines.append("")
        scores = [scored for _, scored in self.forecasts if scored is not None]
        if scores:
            lines.append(
                f"{len(scores)} scored: mean CRPS {np.mean([s.crps for s in scores]):.3f}, inside 50 %: "
                f"{sum(s.inside_50 for s in scores)}, inside 95 %: {sum(s.inside_95 for s in scores)}"
            )
        return "\n".join(lines) + "\n"


def run_forecasts(request: ForecastRequest, say: Callable[[str], None] = lambda text: None) -> Forecasts:
    """Freeze what is not frozen yet where asked for, and score what has a result. Raises InputError."""
    if request.iterations < 40:
        raise InputError(str(request.iterations), "40 or more", "--iterations")
    parameters = load_parameters()
    names = list(request.ids) or list(list_forecasts())
    found = [load_forecast(name, parameters) for name in names]
    if request.freeze:
        for forecast in found:
            if request.ids and forecast.frozen is not None:
                raise InputError(
                    f"{forecast.id}, frozen on {forecast.frozen['frozen']}",
                    "a forecast that is not frozen: what was foretold is not changed afterwards",
                    "--freeze",
                )
            if request.ids and forecast.result is not None:
                raise InputError(f"{forecast.id}, whose result is known", "a forecast without a result", "--freeze")
        sizes = Sizes(request.iterations, 0, request.seed, request.threads)
        progress = console_progress(quiet=request.quiet)
        for forecast in found:
            if forecast.frozen is None and forecast.guess is None and forecast.result is None:
                say(f"freezing {forecast.id}")
                _freeze(forecast.frozen_path, predict(forecast, parameters, sizes, progress))
        found = [load_forecast(name, parameters) for name in names]
    return Forecasts(tuple((forecast, score(forecast)) for forecast in found))


def _freeze(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    dated = {"frozen": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"), **content}
    new = path.with_name(f".{path.name}.new")
    new.write_text(json.dumps(dated, indent=None, separators=(", ", ": ")) + "\n", encoding="utf-8")
    os.replace(new, path)


__all__ = ["ForecastRequest", "Forecasts", "run_forecasts"]
