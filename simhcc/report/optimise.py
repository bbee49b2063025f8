"""`simhcc optimise`: search the cut-offs of a strategy's decision table in a scenario."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from simhcc import assembly, graph
from simhcc.analysis import Floats, simulated
from simhcc.claims.experiments import BASE_COHORT
from simhcc.claims.optimise import Optimum, search
from simhcc.claims.registry import parse_outcome
from simhcc.errors import InputError
from simhcc.graph import Channel, RateReward
from simhcc.inputs import ParameterSet, Scenario, load_scenario, load_strategy, one_of, with_options
from simhcc.inputs.units import UNITS
from simhcc.pathway.strategies import to_graph
from simhcc.pathway.whole import ENDPOINTS, pathway
from simhcc.population import load_population, sample_cohort
from simhcc.report.claim_figures import keep, new_figure
from simhcc.report.claims import finite
from simhcc.report.figures import tidy
from simhcc.runner import ProgressCallback, console_progress, publish
from simhcc.simulation import Evaluation

ITERATIONS = 100
PATIENTS = 1000
OBJECTIVES = ("os_60m", "qaly", "net_benefit")
MOST_POINTS = 200
_RANGE = re.compile(r"(?P<low>-?[\d.]+):(?P<high>-?[\d.]+):(?P<step>[\d.]+)\Z")


@dataclass(frozen=True, kw_only=True)
class OptimiseRequest:
    """What the user asked for."""

    scenario: str
    strategy: str
    vary: Sequence[str]
    objective: str = "os_60m"
    iterations: int = ITERATIONS
    patients: int = PATIENTS
    seed: int = 1
    threads: int | None = None
    out: Path | None = None
    overwrite: bool = False
    quiet: bool = False


@dataclass(frozen=True)
class Axis:
    """A cut-off that is varied: an option of the strategy, or a number of the model (its name has a dot)."""

    name: str
    values: tuple[float, ...]
    now: float

    @property
    def is_number(self) -> bool:
        """Whether it is a number of the model rather than an option of the strategy."""
        return "." in self.name


@dataclass(frozen=True)
class OptimiseFound:
    """The search with its points."""

    scenario: str
    strategy: str
    objective: str
    axes: tuple[Axis, ...]
    points: tuple[tuple[float, ...], ...]
    optimum: Optimum
    patients: int
    folder: Path | None

    def name(self, point: int) -> str:
        """A point in words."""
        return ", ".join(f"{axis.name} {value:g}" for axis, value in zip(self.axes, self.points[point], strict=True))

    def shown(self, value: float, signed: bool = True) -> str:
        """A difference in the objective's unit."""
        sign = "+" if signed else ""
        if parse_outcome(self.objective) is not None and not parse_outcome(self.objective)[2]:  # type: ignore[index]
            return f"{100 * value:{sign}.2f} points" if signed else f"{100 * value:.2f} %"
        return f"{value:{sign},.0f} CNY" if self.objective == "net_benefit" else f"{value:{sign}.4f}"

    def as_object(self) -> dict[str, Any]:
        """For machines."""
        found = self.optimum
        return {
            "scenario": self.scenario,
            "strategy": self.strategy,
            "objective": self.objective,
            "chosen": dict(zip([a.name for a in self.axes], self.points[found.chosen], strict=True)),
            "reference": dict(zip([a.name for a in self.axes], self.points[found.reference], strict=True)),
            "advantage": found.advantage,
            "mcse": found.advantage_mcse,
            "lower": found.lower,
            "upper": found.upper,
            "probability_better": found.probability_better,
            "probability_best": float(found.probability_best[found.chosen]),
            "advantage_in_search": found.search_advantage,
            "iterations": found.draws,
            "patients": self.patients,
            "finalists": self.table().to_dict("records"),
        }

    def table(self) -> pd.DataFrame:
        """Finalists and the reference with fresh random numbers, best first."""
        found = self.optimum
        rows = []
        for point in dict.fromkeys([*found.finalists, found.reference]):
            rows.append(
                {
                    **dict(zip([a.name for a in self.axes], self.points[point], strict=True)),
                    "search_difference": float(found.search_difference[point]),
                    "fresh_mean": float(found.fresh_mean[point]),
                    "difference": float(found.fresh_difference[point]),
                    "mcse": float(found.fresh_mcse[point]),
                    "probability_best": float(found.probability_best[point]),
                    "role": "chosen" if point == found.chosen else "reference" if point == found.reference else "",
                }
            )
        return pd.DataFrame(rows)

    def as_text(self) -> str:
        """For people."""
        found = self.optimum
        lines = [f"{self.strategy} in {self.scenario}: {len(self.points)} points searched for {self.objective}", ""]
        lines.append(f"  now:    {self.name(found.reference)}")
        lines.append(f"  chosen: {self.name(found.chosen)}")
        lines.append("")
        lines.append("  With fresh random numbers (draws, patients and luck the search never saw):")
        width = max(len(self.name(point)) for point in range(len(self.points)))
        for row, point in zip(
            self.table().to_dict("records"), dict.fromkeys([*found.finalists, found.reference]), strict=True
        ):
            lines.append(
                f"    {self.name(point):{width}}  {self.shown(row['fresh_mean'], False):>10}  {self.shown(row['difference']):>12} "
                f"±{self.shown(row['mcse'], False)}  P(best) {row['probability_best']:.2f}  {row['role']}"
            )
        lines.append("")
        if found.chosen == found.reference:
            lines.append("  No point did better in the search than the cut-offs as they are.")
        else:
            clear = found.advantage > 2.0 * found.advantage_mcse
            lines.append(
                f"  Advantage of the chosen cut-offs: {self.shown(found.advantage)} ±{self.shown(found.advantage_mcse, False)} "
                f"(95 % of draws {self.shown(found.lower)} to {self.shown(found.upper)}), better in "
                f"{100 * found.probability_better:.0f} % of draws{'' if clear else '; not distinguishable from none'}."
            )
            luck = (
                "; what is too much there is the luck of the winner" if found.search_advantage > found.advantage else ""
            )
            lines.append(f"  In the search it seemed to be {self.shown(found.search_advantage)}{luck}.")
        return "\n".join(lines) + "\n"


def run_optimise(request: OptimiseRequest) -> OptimiseFound:
    """Search the cut-offs. Raises InputError before anything is run or written."""
    _check(request)
    scenario = load_scenario(request.scenario)
    parameters = scenario.load_parameters()
    strategy = _strategy(scenario, request.strategy)
    axes = tuple(_axis(text, strategy, parameters) for text in request.vary)
    names = [axis.name for axis in axes]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{name} twice", "each cut-off once", "--vary")
    points = list(itertools.product(*(axis.values for axis in axes)))
    now = tuple(axis.now for axis in axes)
    if now not in points:
        points.append(now)
    if len(points) > MOST_POINTS:
        raise InputError(f"{len(points)} points", f"at most {MOST_POINTS}", "--vary")
    if len(points) < 2:
        raise InputError("no point but the cut-offs as they are", "other values", "--vary")
    strategies = [_at(strategy, axes, point, k) for k, point in enumerate(points)]
    progress = console_progress(quiet=request.quiet)

    def evaluate(chosen: Sequence[int], seed: int, number: int) -> Floats:
        return _objective(
            scenario, parameters, [strategies[k] for k in chosen], request, seed, f"round {number + 1}", progress
        )

    optimum = search(evaluate, len(points), points.index(now), request.seed)
    found = OptimiseFound(
        scenario.id, request.strategy, request.objective, axes, tuple(points), optimum, request.patients, request.out
    )
    if request.out is not None:
        _write(request.out, found, request.overwrite)
    return found


def _check(request: OptimiseRequest) -> None:
    for name, value in (("iterations", request.iterations), ("patients", request.patients)):
        if value < 2:
            raise InputError(str(value), "2 or more", f"--{name}")
    if request.seed < 0:
        raise InputError(str(request.seed), "0 or more", "--seed")
    if request.objective not in OBJECTIVES:
        found = parse_outcome(request.objective)
        if found is None or found[0] not in [e.id for e in ENDPOINTS]:
            raise InputError(
                f"the objective {request.objective!r}", one_of([*OBJECTIVES, "os_rmst_60", "pfs_24m"], request.objective),
                "--objective",
            )  # fmt: skip
    if not request.vary:
        raise InputError("no cut-off to vary", "--vary NAME=VALUE,VALUE,... or NAME=LOW:HIGH:STEP", "--vary")


def _strategy(scenario: Scenario, name: str) -> Any:
    """The scenario's strategy, or any other of the library."""
    for strategy in scenario.strategies:
        if strategy.id == name:
            return strategy
    return load_strategy(name, scenario.user_dir)


def _axis(text: str, strategy: Any, parameters: ParameterSet) -> Axis:
    name, sign, listed = text.partition("=")
    if not sign or not name or not listed:
        raise InputError(repr(text), "NAME=VALUE,VALUE,... or NAME=LOW:HIGH:STEP", "--vary")
    values = _values(listed, text)
    if "." in name:
        parameter = parameters.find(name)
        if parameter.is_vector:
            raise InputError(f"{name}, which is a vector", "a number", "--vary")
        unit = UNITS[parameter.unit]
        for value in values:
            if not unit.low <= value <= unit.high:
                raise InputError(f"{name} {value:g}", f"{parameter.unit}: {unit.meaning}", "--vary")
        return Axis(name, values, float(parameter.base()))
    if name not in strategy.options:
        raise InputError(
            f"no option {name!r} in the strategy {strategy.id}",
            f"{one_of(strategy.options, name)}, or the dotted name of a number",
            "--vary",
        )
    now = strategy.options[name]
    if isinstance(now, str | bool):
        raise InputError(f"the option {name}, which is {now!r}", "an option that is a number", "--vary")
    return Axis(name, values, float(now))


def _values(listed: str, text: str) -> tuple[float, ...]:
    match = _RANGE.match(listed)
    if match is not None:
        low, high, step = (float(match[key]) for key in ("low", "high", "step"))
        if step <= 0.0 or high < low:
            raise InputError(repr(text), "LOW:HIGH:STEP with a step above 0 and the lower limit first", "--vary")
        return tuple(float(x) for x in low + step * np.arange(int((high - low) / step + 1e-9) + 1))
    try:
        values = tuple(float(part) for part in listed.split(","))
    except ValueError:
        raise InputError(repr(text), "NAME=VALUE,VALUE,... or NAME=LOW:HIGH:STEP", "--vary") from None
    return tuple(dict.fromkeys(values))


def _at(strategy: Any, axes: Sequence[Axis], point: Sequence[float], position: int) -> graph.Strategy:
    """The strategy at one point."""
    options = {axis.name: value for axis, value in zip(axes, point, strict=True) if not axis.is_number}
    numbers = {axis.name: value for axis, value in zip(axes, point, strict=True) if axis.is_number}
    ready = to_graph(with_options(strategy, **options) if options else strategy)
    return replace(ready, id=f"point_{position}", numbers={**ready.numbers, **numbers})


def _objective(
    scenario: Scenario,
    parameters: ParameterSet,
    strategies: Sequence[graph.Strategy],
    request: OptimiseRequest,
    seed: int,
    name: str,
    progress: ProgressCallback,
) -> Floats:
    """The objective of every point in every draw, (draws, points), with the same patients and luck."""
    base = parameters.base_values()
    outcome = parse_outcome(request.objective)
    channels: tuple[Channel, ...] = (Channel(id="months_alive"),)
    rewards: tuple[Any, ...] = (RateReward(channel="months_alive", rate=1.0),)
    if outcome is None:
        wanted = {"qaly", "cost"} if request.objective == "net_benefit" else {request.objective}
        channels = tuple(c for c in assembly.channels() if c.id in wanted)
        share = assembly.payer_share(scenario)
        rewards = tuple(r for r in assembly.rewards(share, parameters) if r.channel in wanted)
    years = scenario.horizon_years if scenario.horizon_years is not None else float(base["economics.horizon_years"])
    evaluation = Evaluation(
        pathway=pathway(),
        strategies=tuple(strategies),
        channels=channels,
        rewards=rewards,
        endpoints=tuple(e for e in ENDPOINTS if outcome is not None and e.id == outcome[0]),
        horizon=12.0 * years if outcome is None else outcome[1],
        landmarks=(outcome[1],) if outcome is not None and not outcome[2] else (),
        restrictions=(outcome[1],) if outcome is not None and outcome[2] else (),
        grid_step=None,
        seed=seed,
    )
    patients = min(BASE_COHORT // request.patients, request.iterations) * request.patients or request.patients
    cohort = sample_cohort(load_population(str(scenario.population), scenario.user_dir), base, patients, seed)
    columns = {**cohort.attributes, **assembly.doses(cohort.attributes["weight"], base)}
    result = simulated(
        evaluation,
        parameters.sample(request.iterations, seed),
        columns,
        patients=request.patients,
        name=f"{name}, {len(strategies)} points",
        threads=request.threads,
        progress=progress,
    ).outcomes
    if request.objective == "net_benefit":
        wtp = float(base["economics.wtp_per_qaly"])
        return wtp * result.means[:, :, result.column("qaly")] - result.means[:, :, result.column("cost")]
    return result.means[:, :, result.column(request.objective)]


# ---------------------------------------------------------------------------------------------------------------------


def _write(folder: Path, found: OptimiseFound, overwrite: bool) -> None:
    def fill(new: Path) -> None:
        new.mkdir(parents=True, exist_ok=True)
        found.table().to_csv(new / "finalists.csv", index=False)
        points = pd.DataFrame(found.points, columns=[axis.name for axis in found.axes])
        points.assign(search_difference=found.optimum.search_difference).to_csv(new / "points.csv", index=False)
        (new / "optimise.json").write_text(json.dumps(finite(found.as_object()), indent=1) + "\n", encoding="utf-8")
        keep(_figure(found), new / "search", ("png", "svg"))

    publish(folder.parent, folder.name, fill, replace=overwrite)


def _figure(found: OptimiseFound) -> Any:
    """The search over its first one or two cut-offs (the mean over the others), the chosen point marked."""
    table = pd.DataFrame(found.points, columns=[axis.name for axis in found.axes])
    table["value"] = found.optimum.search_difference
    chosen: Mapping[str, float] = dict(zip(table.columns[:-1], found.points[found.optimum.chosen], strict=True))
    now = found.points[found.optimum.reference]
    percent = 100.0 if parse_outcome(found.objective) is not None and "_rmst_" not in found.objective else 1.0
    unit = "points" if percent == 100.0 else "CNY" if found.objective == "net_benefit" else ""
    figure, grid = new_figure(7.6, 4.8)
    axes = grid[0, 0]
    label = f"{found.objective}: difference from the cut-offs as they are{', ' + unit if unit else ''}"
    if len(found.axes) == 1:
        axis = found.axes[0].name
        line = table.sort_values(axis)
        axes.plot(line[axis], percent * line["value"], "o-", color="#332288")
        axes.axvline(now[0], color="#888888", linestyle=(0, (4, 2)))
        axes.plot([chosen[axis]], [percent * table["value"][found.optimum.chosen]], "D", color="#CC6677", markersize=9)
        axes.set_xlabel(axis)
        axes.set_ylabel(label, fontsize=9)
        tidy(axes)
    else:
        first, second = (axis.name for axis in found.axes[:2])
        plane = table.pivot_table(index=second, columns=first, values="value", aggfunc="max")
        values = percent * plane.to_numpy()
        most = max(float(np.nanmax(np.abs(values))), 1e-9)
        image = axes.imshow(values, origin="lower", aspect="auto", cmap="PuOr", vmin=-most, vmax=most)
        figure.colorbar(image, ax=axes).set_label(label, fontsize=8)
        axes.set_xticks(range(plane.shape[1]), [f"{x:g}" for x in plane.columns])
        axes.set_yticks(range(plane.shape[0]), [f"{x:g}" for x in plane.index])
        places = [
            (plane.columns.get_loc(p[0]), plane.index.get_loc(p[1])) for p in (now, found.points[found.optimum.chosen])
        ]
        axes.plot(
            *places[0], "o", markersize=12, markerfacecolor="none", markeredgecolor="#222222", markeredgewidth=1.5
        )
        axes.plot(*places[1], "D", markersize=8, color="#222222")
        axes.set_xlabel(first)
        axes.set_ylabel(second)
    axes.set_title(
        "search (not the honest comparison); diamond: chosen; ring or line: as it is", fontsize=9, loc="left"
    )
    return figure


__all__ = ["OptimiseFound", "OptimiseRequest", "run_optimise"]
