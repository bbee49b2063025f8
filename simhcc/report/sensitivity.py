"""`simhcc sensitivity`: from the request to tables, figures and a results folder."""

from __future__ import annotations

import datetime
import json
import math
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from simhcc.errors import InputError
from simhcc.inputs import ParameterSet, Scenario, load_scenario, read_alternatives
from simhcc.report import command as run_command
from simhcc.report.plain import finite, number_text, plain_table, records
from simhcc.report.record import currency_of, run_record, unpriced_drugs
from simhcc.report.tables import unpriced_strategies
from simhcc.report.terminal import broken_lines
from simhcc.runner import console_progress, publish, unfinished, work_of
from simhcc.simulation import simulate
from simhcc.uncertainty import deterministic, screening
from simhcc.uncertainty.command import Kind, SensitivityRequest
from simhcc.uncertainty.factors import axes_of, factors_of, parse_ranges
from simhcc.uncertainty.outcome import DIFFERENCE, Outcome, parse_outcome
from simhcc.uncertainty.points import LUCK, evaluate
from simhcc.uncertainty.question import FEWEST_PATIENTS, Question, ask, require_strategy
from simhcc.uncertainty.structural import structural

ANSWER = "sensitivity.json"
PATIENTS = {Kind.MORRIS: 4096, Kind.SOBOL: 4096}
PATIENTS_ELSE = 16384
POINTS = {Kind.ONE_WAY: 11, Kind.TWO_WAY: 9}
SAMPLES = {Kind.MORRIS: 10, Kind.SOBOL: 128}
SHOWN = 15
"""rows of a long table that the terminal and the figure show; the CSV has all"""

_APPLIES = {
    "parameters": set(Kind) - {Kind.STRUCTURAL},
    "groups": {Kind.MORRIS, Kind.SOBOL},
    "ranges": {Kind.TORNADO, Kind.ONE_WAY, Kind.TWO_WAY, Kind.THRESHOLD},
    "target": {Kind.THRESHOLD, Kind.TWO_WAY},
    "points": {Kind.ONE_WAY, Kind.TWO_WAY},
    "samples": {Kind.MORRIS, Kind.SOBOL},
    "second_order": {Kind.SOBOL},
}


@dataclass(frozen=True, eq=False)
class Analysed:
    """A finished analysis: its tables by file name, its text, and what it was made of."""

    content: Mapping[str, Any]
    text: str
    folder: Path
    failed: bool = False

    def as_text(self, width: int) -> str:
        """For people."""
        return broken_lines(self.text, width) + f"\nResults: {self.folder}\n"

    def as_object(self) -> dict[str, Any]:
        """For machines."""
        return {**self.content, "results": str(self.folder)}


@dataclass(frozen=True, eq=False)
class Findings:
    """What one kind of analysis gives the report."""

    result: Any
    tables: Mapping[str, pd.DataFrame]
    text: str
    extra: Mapping[str, Any] = field(default_factory=dict)


def analyse(request: SensitivityRequest) -> Analysed:
    """Read, evaluate, tabulate, draw and write. Raises InputError or ModelError before anything is written."""
    _refuse_idle_options(request)
    scenario, parameters, question, outcome, chosen = _asked(request)
    record = run_record(scenario, parameters, request.scenario, currency_of(parameters))
    record["command"] = _command(request, outcome)
    record |= {"patients": question.patients, "strategies": {s.id: s.label.text() for s in scenario.strategies}}
    target = _target(request, scenario)
    again = f"{record['command']} --out {shlex.quote(str(target))} --resume"
    say = partial(print, file=sys.stderr)
    with unfinished(target, resume=request.resume, overwrite=request.overwrite, again=again, say=say) as work:
        return _analyse_in(work, target, request, question, outcome, chosen, record)


def _analyse_in(
    work: Path,
    target: Path,
    request: SensitivityRequest,
    question: Question,
    outcome: Outcome,
    chosen: str,
    record: Mapping[str, Any],
) -> Analysed:
    """An analysis whose unfinished pieces lie in `work`."""
    scenario = question.scenario
    if request.resume and (target / ANSWER).exists():
        return _finished_before(target, record)
    progress = console_progress(quiet=request.quiet)

    def run(rows: Mapping[str, Any], name: str) -> Any:
        return evaluate(
            question, rows, outcome.columns, outcome.medians, name=f"{scenario.id}, {name}", folder=work / name,
            resume=request.resume and (work / name).exists(), threads=request.threads, dask=request.dask,
            progress=progress,
        )  # fmt: skip

    found = _KINDS[request.kind](request, question, outcome, run)
    head = _head(request, question, outcome, chosen)
    content = {
        "kind": request.kind.value,
        "scenario": scenario.id,
        "outcome": outcome.id,
        "unit": outcome.unit,
        "strategy": outcome.strategy,
        "comparator": outcome.comparator,
        "wtp": outcome.wtp,
        "patients": question.patients,
        "seed": question.evaluation.seed,
        **{name: finite(value) for name, value in found.extra.items()},
        **{name: records(table) for name, table in found.tables.items()},
    }
    text = f"{head}\n{found.text}"

    def fill(folder: Path) -> None:
        from simhcc.report.sensitivity_figures import draw

        for name, table in found.tables.items():
            table.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n", encoding="utf-8")
        draw(request.kind, folder / "figures", found.result, record)
        whole = {"answer": content, "record": record, "text": text}
        (folder / ANSWER).write_text(
            json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
        )
        (folder / "README.txt").write_text(f"Results of `{record['command']}`\n\n{text}", encoding="utf-8")

    folder = publish(target.parent, target.name, fill, replace=request.overwrite)
    return Analysed(content, text, folder)


# ---------------------------------------------------------------------------------------------------------------------
# What was asked


def _refuse_idle_options(request: SensitivityRequest) -> None:
    """Nothing is accepted and then ignored."""
    for name, kinds in _APPLIES.items():
        if getattr(request, name) not in (None, (), False) and request.kind not in kinds:
            option = {"ranges": "--range", "second_order": "--second-order"}.get(name, f"--{name}")
            takes = ", ".join(kind.value for kind in Kind if kind in kinds)
            raise InputError(f"{option} beside {request.kind.value}", f"it is for {takes}", option)
    if request.resume and request.overwrite:
        raise InputError("both --resume and --overwrite", "one of them", "--resume")
    if request.resume and request.out is None:
        raise InputError("--resume without --out", "--out with the folder of the earlier analysis", "--resume")
    if request.threads is not None and request.threads < 1:
        raise InputError(str(request.threads), "a whole number from 1, or nothing for all cores", "--threads")
    if request.wtp is not None and not 0.0 <= request.wtp < math.inf:
        raise InputError(f"{request.wtp:g}", "an amount of money, 0 or more", "--wtp")


def _asked(request: SensitivityRequest) -> tuple[Scenario, ParameterSet, Question, Outcome, str]:
    """Scenario, numbers, question and outcome, and a sentence on how the strategy was chosen."""
    scenario = load_scenario(request.scenario)
    if request.seed is not None:
        if not 0 <= request.seed <= run_command.MAX_SEED:
            raise InputError(str(request.seed), f"a whole number from 0 to {run_command.MAX_SEED}", "--seed")
        scenario = replace(scenario, seed=request.seed)
    parameters = scenario.load_parameters()
    comparator = scenario.comparator
    if request.comparator is not None:
        comparator = require_strategy(scenario, request.comparator, "--comparator")
    strategy, chosen = request.strategy, ""
    if strategy is not None:
        require_strategy(scenario, strategy, "--strategy")
    else:
        strategy, chosen = _default_strategy(scenario, parameters, comparator, _wtp(request, scenario, parameters))
    difference = request.comparator is not None
    paired = difference or request.outcome.startswith(DIFFERENCE) or request.outcome in ("inmb", "icer")
    patients = request.patients if request.patients is not None else PATIENTS.get(request.kind, PATIENTS_ELSE)
    asked = [comparator, strategy] if paired else [strategy]
    question = ask(scenario, parameters, patients, run_command.assembled, asked)
    endpoints = [endpoint.id for endpoint in question.evaluation.endpoints]
    outcome = parse_outcome(
        request.outcome, strategy, comparator, difference, question.columns, endpoints,
        _wtp(request, scenario, parameters), currency_of(parameters),
    )  # fmt: skip
    if outcome.name != "nmb":
        if request.wtp is not None:
            raise InputError(f"--wtp beside {outcome.id}", "it is for nmb and inmb", "--wtp")
        outcome = replace(outcome, wtp=None)
    if outcome.uses_costs:
        unpriced = _unpriced(question)
        for name in outcome.strategies:
            if name in unpriced:
                raise InputError(
                    f"{outcome.id} of {name}, which uses {', '.join(unpriced[name])} without a price",
                    "an outcome without costs, or another strategy",
                    "--outcome",
                )
    return question.scenario, parameters, question, outcome, chosen


def _wtp(request: SensitivityRequest, scenario: Scenario, parameters: ParameterSet) -> float | None:
    if request.wtp is not None:
        return request.wtp
    if not scenario.wtp:
        return None
    first = scenario.wtp[0]
    return float(first) if isinstance(first, float) else float(parameters[str(first)].base())


def _unpriced(question: Question) -> dict[str, tuple[str, ...]]:
    drugs = unpriced_drugs(question.parameters)
    if not drugs:
        return {}
    found = simulate(
        question.evaluation,
        question.values,
        question.cohort,
        patients=min(question.patients, FEWEST_PATIENTS),
        luck=LUCK,
    )
    return unpriced_strategies(SimpleNamespace(outcomes=found), drugs)  # type: ignore[arg-type]


def _default_strategy(
    scenario: Scenario, parameters: ParameterSet, comparator: str, wtp: float | None
) -> tuple[str, str]:
    """The strategy with the highest expected net benefit beside the comparator, among those with prices."""
    ids = [strategy.id for strategy in scenario.strategies if strategy.id != comparator]
    if not ids:
        return comparator, ""
    if len(ids) == 1:
        return ids[0], ""
    question = ask(scenario, parameters, FEWEST_PATIENTS, run_command.assembled, [comparator, *ids])
    found = simulate(question.evaluation, question.values, question.cohort, patients=question.patients, luck=LUCK)
    if wtp is None or not {"cost", "qaly"} <= set(found.columns):
        raise InputError("no --strategy", f"one of {', '.join(ids)}", "--strategy")
    drugs = unpriced_drugs(parameters)
    unpriced = unpriced_strategies(SimpleNamespace(outcomes=found), drugs)  # type: ignore[arg-type]
    benefit = wtp * found.means[0, :, found.column("qaly")] - found.means[0, :, found.column("cost")]
    ranked = sorted(
        (name for name in ids if name not in unpriced), key=lambda name: -benefit[found.strategies.index(name)]
    )
    if not ranked:
        raise InputError(
            "no --strategy, and none without a drug that has no price", f"one of {', '.join(ids)}", "--strategy"
        )
    return ranked[0], f"{ranked[0]} has the highest expected net benefit beside {comparator}; others with --strategy"


def _target(request: SensitivityRequest, scenario: Scenario) -> Path:
    """The results folder, refused where it may not be written."""
    if request.out is None:
        stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        stem = f"{scenario.id}-{request.kind.value}-{stamp}"
        target, number = Path("results") / stem, 2
        while target.exists() or work_of(target).exists():
            target, number = Path("results") / f"{stem}-{number}", number + 1
        return target
    target = request.out
    if not target.name:
        raise InputError(str(target), "the name of a folder to be made", "--out")
    if target.exists() and not target.is_dir():
        raise InputError(f"the file {target}", "the name of a folder to be made", "--out")
    if target.is_dir() and any(target.iterdir()):
        if not (target / ANSWER).exists():
            raise InputError(f"{target}, which holds something else", "another folder", "--out")
        if not (request.resume or request.overwrite):
            raise InputError(f"{target}, which holds results", "--overwrite to replace them", "--out")
    return target


def _finished_before(target: Path, record: Mapping[str, Any]) -> Analysed:
    whole = json.loads((target / ANSWER).read_text(encoding="utf-8"))
    same = ("fingerprint", "command", "patients", "simhcc")
    if any(whole["record"].get(key) != record.get(key) for key in same):
        raise InputError(
            f"{target}, which holds results of other inputs ({whole['record'].get('command')})",
            "the same command as before, --overwrite, or another folder",
            "--resume",
        )
    return Analysed(whole["answer"], whole["text"], target)


def _command(request: SensitivityRequest, outcome: Outcome) -> str:
    parts = ["simhcc", "sensitivity", request.kind.value, request.scenario, "--outcome", request.outcome]
    parts += ["--strategy", outcome.strategy]
    if outcome.comparator:
        parts += ["--comparator", outcome.comparator]
    for option, value in (
        ("--wtp", request.wtp), ("--parameters", ",".join(request.parameters)), ("--groups", ",".join(request.groups)),
        ("--target", request.target), ("--points", request.points), ("--samples", request.samples),
        ("--patients", request.patients), ("--seed", request.seed),
    ):  # fmt: skip
        if value not in (None, ""):
            parts += [option, number_text(value) if isinstance(value, float) else str(value)]
    for text in request.ranges:
        parts += ["--range", text]
    return shlex.join([*parts, *(["--second-order"] if request.second_order else [])])


# ---------------------------------------------------------------------------------------------------------------------
# The kinds


def _axes(request: SensitivityRequest, question: Question) -> list[Any]:
    ranges = parse_ranges(request.ranges)
    needs = request.kind is not Kind.TORNADO
    if needs and not request.parameters and not ranges:
        raise InputError(f"{request.kind.value} without --parameters", "the parameters to move", "--parameters")
    asked = request.parameters or tuple(ranges) if needs else request.parameters
    return axes_of(question.parameters, asked, ranges, question.used())


def _tornado(request: SensitivityRequest, question: Question, outcome: Outcome, run: Any) -> Findings:
    found = deterministic.tornado(question, outcome, _axes(request, question), run)
    show = partial(number, outcome)
    table = found.table
    moving = table[(table["below"] != 0.0) | (table["above"] != 0.0)]
    rows = [
        [
            row["parameter"],
            f"{_short(row['low'])} to {_short(row['high'])}",
            show(row["at_low"]),
            show(row["at_high"]),
            f"{show(row['swing'], True)} ±{show(row['swing_mcse'])}" + (" *" if row["noise"] else ""),
        ]
        for row in moving.head(SHOWN).to_dict("records")
    ]
    lines = [f"Base case {show(found.base)} ±{show(found.base_mcse)} {outcome.unit}", ""]
    lines += plain_table(["parameter", "range", "at low", "at high", "swing"], rows)
    lines.append("")
    if len(moving) > len(rows):
        lines.append(f"{len(moving) - len(rows)} narrower ones in tornado.csv.")
    if len(table) > len(moving):
        lines.append(f"{len(table) - len(moving)} of {len(table)} parameters change nothing.")
    lines.append("± is the Monte-Carlo standard error; * within it (1.96 of them) the swing cannot be told from none.")
    return Findings(found, {"tornado": table}, "\n".join(lines) + "\n", _base(found))


def _one_way(request: SensitivityRequest, question: Question, outcome: Outcome, run: Any) -> Findings:
    points = request.points if request.points is not None else POINTS[Kind.ONE_WAY]
    found = deterministic.one_way(question, outcome, _axes(request, question), points, run)
    show = partial(number, outcome)
    lines = [f"Base case {show(found.base)} ±{show(found.base_mcse)} {outcome.unit}"]
    for name, part in found.table.groupby("parameter", sort=False):
        rows = [
            [
                _short(row["x"]),
                f"{show(row['value'])} ±{show(row['mcse'])}",
                f"{show(row['change'], True)} ±{show(row['change_mcse'])}",
            ]
            for row in part.to_dict("records")
        ]
        axis = found.axes[str(name)]
        lines += ["", f"{name} ({axis.unit}, {axis.basis}{f'; moves {axis.moves}' if axis.moves else ''})"]
        lines += plain_table(["value", outcome.id, "change from the base case"], rows)
    lines += ["", "± is the Monte-Carlo standard error."]
    return Findings(found, {"one_way": found.table}, "\n".join(lines) + "\n", _base(found))


def _target_value(request: SensitivityRequest, outcome: Outcome) -> float:
    if request.target is not None:
        return request.target
    if outcome.comparator is None or outcome.name == "icer":
        raise InputError(f"{outcome.id} without a value to be reached", "--target VALUE", "--target")
    return 0.0


def _two_way(request: SensitivityRequest, question: Question, outcome: Outcome, run: Any) -> Findings:
    points = request.points if request.points is not None else POINTS[Kind.TWO_WAY]
    target = _target_value(request, outcome)
    found = deterministic.two_way(question, outcome, _axes(request, question), points, target, run)
    show = partial(number, outcome)
    wide = found.table.pivot(index="y", columns="x", values="value").sort_index(ascending=False)
    some = np.unique(np.linspace(0, wide.shape[1] - 1, min(wide.shape[1], 7)).round().astype(int))
    rows = [[_short(float(str(y))), *(show(v) for v in values.to_numpy()[some])] for y, values in wide.iterrows()]
    above = float((found.table["value"] > target).mean())
    lines = [
        f"Base case {show(found.base)} ±{show(found.base_mcse)} {outcome.unit}",
        "",
        f"{found.first.name} across, {found.second.name} down",
        *plain_table(["", *(_short(float(wide.columns[k])) for k in some)], rows),
        "",
        f"Above {show(target)} at {above:.0%} of the pairs; largest Monte-Carlo standard error {show(found.table['mcse'].max())}.",
    ]
    extra = _base(found) | {"target": target, "x": found.first.name, "y": found.second.name}
    return Findings(found, {"two_way": found.table}, "\n".join(lines) + "\n", extra)


def _threshold(request: SensitivityRequest, question: Question, outcome: Outcome, run: Any) -> Findings:
    target = _target_value(request, outcome)
    found = deterministic.threshold(question, outcome, _axes(request, question), target, run)
    show = partial(number, outcome)
    lines = [f"Base case {show(found.base)} ±{show(found.base_mcse)} {outcome.unit}; target {show(target)}", ""]
    for row in found.table.to_dict("records"):
        lines.append(f"{row['parameter']} ({row['unit']})")
        lines.append(f"  {row['reading']}.")
        if row["status"] == "threshold":
            lines.append(
                f"  Threshold {row['threshold']:.4g} ±{row['mcse']:.2g}; from {row['lower']:.4g} to {row['upper']:.4g} "
                f"the outcome cannot be told from the target."
            )
    lines += ["", "± is the Monte-Carlo standard error."]
    tables = {"thresholds": found.table, "curves": found.curve}
    return Findings(found, tables, "\n".join(lines) + "\n", _base(found) | {"target": target})


def _morris(request: SensitivityRequest, question: Question, outcome: Outcome, run: Any) -> Findings:
    factors = factors_of(question.parameters, question.used(), request.parameters, request.groups, by_evidence=False)
    samples = request.samples if request.samples is not None else SAMPLES[Kind.MORRIS]
    found = screening.morris(question, outcome, factors, samples, question.evaluation.seed, run)
    show = partial(number, outcome)
    rows = [
        [
            row["factor"],
            f"{show(row['mu_star'])} ±{show(row['mu_star_conf'])}",
            show(row["mu_star_mcse"]),
            show(row["mu"], True),
            show(row["sigma"]),
        ]
        for row in found.table.head(SHOWN).to_dict("records")
    ]
    lines = [f"{found.trajectories} trajectories, {found.points:,} points", ""]
    lines += plain_table(["factor", "mean absolute effect", "patients' error", "mean", "spread"], rows)
    lines += [
        "",
        "± is half of the 95 % interval over trajectories. An effect is what moving the factor over the central 95 % of "
        "its distribution would do. A spread of the size of the mean says that the effect depends on other factors.",
        _idle(found.idle),
    ]
    extra = {"trajectories": found.trajectories, "points": found.points, "idle": list(found.idle)}
    return Findings(found, {"morris": found.table}, "\n".join(lines) + "\n", extra)


def _sobol(request: SensitivityRequest, question: Question, outcome: Outcome, run: Any) -> Findings:
    factors = factors_of(question.parameters, question.used(), request.parameters, request.groups)
    samples = request.samples if request.samples is not None else SAMPLES[Kind.SOBOL]
    found = screening.sobol(
        question, outcome, factors, samples, question.evaluation.seed, run, second_order=request.second_order
    )
    rows = [
        [
            row["factor"],
            str(row["members"]),
            f"{row['S1']:.3f} ±{row['S1_conf']:.3f}",
            f"{row['ST']:.3f} ±{row['ST_conf']:.3f}",
            f"{row['ST_mcse']:.3f}",
        ]
        for row in found.table.head(SHOWN).to_dict("records")
    ]
    lines = [
        f"{found.samples} samples, {found.points:,} points; mean {number(outcome, found.mean)}, standard deviation "
        f"{number(outcome, math.sqrt(found.variance))} {outcome.unit}",
        "",
        *plain_table(["factor", "numbers", "alone (S1)", "in all (ST)", "patients' error"], rows),
        "",
        "± is half of the 95 % interval over samples. S1 is the share of the variance that would go if the factor were "
        "known; ST the share that would stay if all others were known.",
        f"{found.noise:.1%} of the variance between points is noise of the finite number of patients"
        + ("; more --patients would sharpen ST." if found.noise > screening.NOISY else "."),
        _idle(found.idle),
    ]
    if not found.pairs.empty:
        strongest = found.pairs.reindex(found.pairs["S2"].abs().sort_values(ascending=False).index).head(5)
        lines += ["", "Strongest interactions of pairs (S2):"]
        lines += [
            f"  {row['first']} x {row['second']}  {row['S2']:.3f} ±{row['S2_conf']:.3f}"
            for row in strongest.to_dict("records")
        ]
    extra = {
        "samples": found.samples, "points": found.points, "mean": found.mean, "variance": found.variance,
        "noise": found.noise, "idle": list(found.idle),
    }  # fmt: skip
    return Findings(found, {"sobol": found.table, "pairs": found.pairs}, "\n".join(lines) + "\n", extra)


def _structural(request: SensitivityRequest, question: Question, outcome: Outcome, run: Any) -> Findings:
    numbers = question.parameters
    others = read_alternatives(numbers, question.scenario.user_dir)
    found = structural(question, outcome, numbers.structures, others, run)
    show = partial(number, outcome)
    lines = [f"Base case {show(found.base)} ±{show(found.base_mcse)} {outcome.unit}", ""]
    rows = [
        [
            row["alternative"],
            f"{row['weight']:.2f}" if math.isfinite(row["weight"]) else "-",
            f"{show(row['value'])} ±{show(row['mcse'])}",
            f"{show(row['change'], True)} ±{show(row['change_mcse'])}" + (" *" if row["noise"] else ""),
        ]
        for row in found.table.to_dict("records")
    ]
    lines += plain_table(["alternative", "weight", outcome.id, "change"], rows)
    lines.append("")
    lines += [f"{row['alternative']}: {row['label']}." for row in found.table.to_dict("records")]
    if math.isfinite(found.mixed):
        lines += ["", f"Weighted over all topics: {show(found.mixed)} ±{show(found.mixed_mcse)} {outcome.unit}."]
    else:
        lines += ["", "No weights: the scenario has no `structure:`, so these alternatives do not enter its draws."]
    lines += [
        "± is the Monte-Carlo standard error; * within it (1.96 of them) the change cannot be told from none. Other numbers",
        "are not fitted again under an alternative; weights are judgements (params/structures.yaml).",
    ]
    extra = _base(found) | {"weighted": {"value": found.mixed, "mcse": found.mixed_mcse}}
    return Findings(found, {"structural": found.table}, "\n".join(lines) + "\n", extra)


def _idle(names: Sequence[str]) -> str:
    return f"Without any effect and left out: {len(names)} factors (listed in {ANSWER})." if names else ""


def _base(found: Any) -> dict[str, Any]:
    return {"base": {"value": found.base, "mcse": found.base_mcse}}


_KINDS: dict[Kind, Callable[[SensitivityRequest, Question, Outcome, Any], Findings]] = {
    Kind.TORNADO: _tornado,
    Kind.ONE_WAY: _one_way,
    Kind.TWO_WAY: _two_way,
    Kind.THRESHOLD: _threshold,
    Kind.MORRIS: _morris,
    Kind.SOBOL: _sobol,
    Kind.STRUCTURAL: _structural,
}


# ---------------------------------------------------------------------------------------------------------------------
# Words and numbers


def _head(request: SensitivityRequest, question: Question, outcome: Outcome, chosen: str) -> str:
    lines = [f"{request.kind.value.replace('-', ' ').capitalize()}: {outcome.words} ({outcome.unit})"]
    wtp = f", willingness to pay {outcome.wtp:,.0f} {outcome.currency} per QALY" if outcome.wtp is not None else ""
    lines.append(
        f"Scenario {question.scenario.id}, {question.patients:,} patients at every point, the same patients and luck, "
        f"seed {question.evaluation.seed}{wtp}"
    )
    if chosen:
        lines.append(chosen)
    return "\n".join(lines) + "\n"


def number(outcome: Outcome, value: float, signed: bool = False) -> str:
    """A value of the outcome with the places that its unit deserves."""
    if value is None or not math.isfinite(value):
        return "-"
    money = outcome.unit == outcome.currency or "per QALY" in outcome.unit or outcome.unit == "money"
    places = 0 if money else 2 if outcome.unit == "months" else 4
    return f"{value:{'+' if signed else ''}z,.{places}f}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10000 else f"{value:.4g}"
