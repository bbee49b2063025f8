"""`simhcc run`: from a scenario's name to tables and a results folder."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simhcc.analysis import Floats, Result, simulated
from simhcc.errors import InputError, SimhccError
from simhcc.inputs import (
    ParameterSet,
    Scenario,
    Subgroup,
    json_schema,
    list_scenarios,
    load_parameters,
    load_scenario,
    one_of,
)
from simhcc.inputs.locate import ID, ID_WORDS
from simhcc.report import economics, extrapolation, words
from simhcc.report.described import baseline_table, pathway_content
from simhcc.report.folder import read_folder, run_object, write_folder
from simhcc.report.record import currency_of, fingerprint, run_record, unpriced_drugs
from simhcc.report.tables import EVERYONE, UNPRICED, Tables, make_tables, unpriced_strategies
from simhcc.report.terminal import broken_lines, render
from simhcc.runner import ProgressCallback, console_progress, unfinished, work_of
from simhcc.simulation import Evaluation
from simhcc.uncertainty.extrapolation import extrapolations
from simhcc.uncertainty.sizes import (
    FEWEST_DRAWS,
    MOST_DRAWS,
    PILOT_DRAWS,
    PILOT_PATIENTS,
    TOTAL_PATIENTS,
    Sizes,
    choose,
    pilot_values,
)

PRECISION_OF = "os_60m"
PRECISION_START = 20_000
PRECISION_MARGIN = 1.1
"""more patients than the last error suggests, since it is itself an estimate"""
MOST_PATIENTS = 1 << 26
COHORT_PATIENTS = 200_000
"""baseline patients at hand for the iterations of a probabilistic run; later iterations begin again with the first"""
MAX_SEED = 2**64 - 1
CHECKED_PATIENTS, CHECKED_DRAWS = 64, 16
"""with which `simhcc check` puts a scenario together"""
AUTO = "auto"
PILOT = ".pilot"  # no id of a subgroup begins with a dot
TEXT_WIDTH = 110
DECISION, DECISION_TEXT = "decision.json", "decision.txt"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asked for; None is what the scenario says."""

    scenario: str
    patients: int | None = None
    iterations: int | str | None = None
    """a number, or "auto" to choose it from a pilot"""
    seed: int | None = None
    threads: int | None = None
    out: Path | None = None
    precision: float | None = None
    precision_of: str | None = None
    resume: bool = False
    overwrite: bool = False
    dask: str | None = None
    subgroups: bool = True


@dataclass(frozen=True)
class Finished:
    """A finished run: its tables, its record, its decision (for people and for machines), and where they lie."""

    tables: Tables
    record: Mapping[str, Any]
    folder: Path
    decision_text: str = ""
    decision: Mapping[str, Any] | None = None
    decision_lines: Callable[[int], list[str]] | None = None
    """the decision for a terminal of a width, where the run has just been made"""

    def as_text(self, width: int) -> str:
        """The tables for people."""
        record = self.record
        label = record.get("label") or record["scenario"]
        head = [
            f"{label}",
            f"population {record['population']}, comparator {record['comparator']}, seed {record['seed']}",
            "",
        ]
        longest = max(len(name) for name in record["strategies"])
        head += [f"  {name.ljust(longest)}  {words}"[:width].rstrip() for name, words in record["strategies"].items()]
        body = render(
            self.tables,
            setting=str(record["setting"]),
            comparator=str(record["comparator"]),
            currency=str(record["currency"]),
            iterations=int(record["iterations"]),
            width=width,
        )
        text = self.decision_text
        if self.decision_lines is not None:
            text = "\n".join([*self.decision_lines(width), ""])
        told = broken_lines(text, width)
        return "\n".join(head) + "\n" + body + told

    def as_object(self) -> dict[str, Any]:
        """The same for machines."""
        found = run_object(self.tables, self.record, str(self.folder))
        return found if self.decision is None else found | {"decision": dict(self.decision)}


def run_scenario(request: Request, *, quiet: bool = False, say: Callable[[str], None] = lambda text: None) -> Finished:
    """Read, simulate, tabulate and write. Raises InputError or ModelError before anything is written.

    While it runs, the folder `.NAME.work` beside the results holds what is finished, and keeps other processes away.
    """
    scenario = _sized(load_scenario(request.scenario), request)
    parameters = scenario.load_parameters()
    target = _target(request, scenario)
    again = _again(request, target)
    with unfinished(target, resume=request.resume, overwrite=request.overwrite, again=again, say=say) as work:
        return _run_in(work, target, request, scenario, parameters, quiet, say)


def _run_in(
    work: Path,
    target: Path,
    request: Request,
    scenario: Scenario,
    parameters: ParameterSet,
    quiet: bool,
    say: Callable[[str], None],
) -> Finished:
    """A run whose unfinished pieces lie in `work`."""
    if request.resume and (target / "run.json").exists():
        return _finished_before(target, scenario, parameters)
    progress = console_progress(quiet=quiet)
    if request.precision is not None:
        scenario = replace(scenario, patients=_patients_for(request, scenario, parameters, progress, say))
    sizes = None
    if _wants_sizes(request, scenario):
        sizes = _sizes(request, scenario, parameters, work / PILOT, progress)
    if sizes is not None:
        say(sizes.words)
        scenario = replace(scenario, patients=sizes.patients, iterations=sizes.draws)
    evaluation, values, cohort = assembled(scenario, parameters)
    parts = {EVERYONE: (cohort, scenario.patients)}
    members = {}
    for group in scenario.subgroups:
        members[group.id] = _members(group, cohort)
        parts[group.id] = _subcohort(group, members[group.id], cohort, scenario.patients)
    results = {
        name: simulated(
            evaluation,
            values,
            columns,
            patients=patients,
            name=scenario.id if name == EVERYONE else f"{scenario.id}, {name}",
            # Only runs that take long are worth keeping in pieces.
            folder=work / name if scenario.iterations > 1 else None,
            resume=request.resume and (work / name).exists(),
            threads=request.threads,
            dask=request.dask,
            progress=progress,
        )
        for name, (columns, patients) in parts.items()
    }
    tables = make_tables(
        results,
        scenario.comparator,
        {group.id: group.label.text() for group in scenario.subgroups},
        unpriced_drugs(parameters),
    )
    options = [] if request.subgroups else ["--no-subgroups"]
    record = run_record(scenario, parameters, request.scenario, currency_of(parameters), options)
    record["label"] = scenario.label.text() or scenario.id
    if sizes is not None:
        record["sizes"] = sizes.words
    draws = values if scenario.iterations > 1 else None
    found = economics.evaluated(
        scenario,
        parameters,
        evaluation,
        values,
        results,
        members,
        currency=str(record["currency"]),
        sizes=sizes,
        base_case=_base_case(request, scenario, parameters, progress),
    )
    told = None
    decision = economics.as_object(found) if found else None
    tail = None
    left_out = tables.icer.loc[tables.icer["Status"] == UNPRICED, "Strategy"].tolist()
    if found is not None:
        currency = str(record["currency"])
        tail = extrapolations(
            scenario, parameters, assembled, threads=request.threads, dask=request.dask, progress=progress
        )
        more_lines = extrapolation.lines(tail, left_out, currency) if tail is not None else []

        def told(width: int) -> list[str]:
            return [*economics.lines(found, currency, width), *more_lines]

    if tail is not None and decision is not None:
        decision["extrapolations"] = extrapolation.as_object(tail, left_out)
    text = "\n".join([*told(TEXT_WIDTH), ""]) if told is not None else ""

    def more(into: Path) -> None:
        ways = json.dumps(pathway_content(evaluation), ensure_ascii=False, indent=1)
        (into / "inputs" / "pathway.json").write_text(ways + "\n", encoding="utf-8")
        table = baseline_table(cohort)
        table.to_csv(into / "population.csv", index=False, lineterminator="\n", encoding="utf-8", float_format="%.6g")
        if found is not None:
            beyond = extrapolation.whole_table(tail, left_out) if tail is not None else pd.DataFrame()
            _write_economics(into, found, tables, beyond, scenario, parameters, record, draws, text, decision or {})
        if tail is not None:
            extrapolation.write(into, tail, left_out)

    folder = write_folder(
        target, tables, record, scenario, parameters, draws=draws, replace=request.overwrite, more=more
    )
    return Finished(tables, record, folder, text, decision, told)


def assembled(scenario: Scenario, parameters: ParameterSet) -> tuple[Evaluation, dict[str, Floats], dict[str, Floats]]:
    """The question put to the engine, its numbers with an axis of iterations, and the baseline patients.

    The base case for one iteration; sampled numbers otherwise. The cohort has the patients of one iteration, or of as
    many as there is room for, so that iterations meet other patients.
    """
    from simhcc.assembly import assemble

    found: tuple[Evaluation, dict[str, Floats], dict[str, Floats]] = assemble(scenario, parameters)
    return found


def _wants_sizes(request: Request, scenario: Scenario) -> bool:
    """Whether a pilot is to choose patients per draw: where neither the user nor the scenario says a probabilistic size."""
    if request.iterations == AUTO:
        return True
    return request.iterations is not None and scenario.iterations > 1 and request.patients is None


def _sizes(
    request: Request, scenario: Scenario, parameters: ParameterSet, folder: Path, progress: ProgressCallback
) -> Sizes | None:
    """Patients per draw, and draws, from a pilot; None where costs and QALYs are not summed."""
    auto = request.iterations == AUTO
    half = PILOT_DRAWS if auto else min(PILOT_DRAWS, scenario.iterations)
    patients = PILOT_PATIENTS if request.patients is None else min(PILOT_PATIENTS, request.patients)
    small = replace(scenario, iterations=half, patients=patients, subgroups=())
    evaluation, values, cohort = assembled(small, parameters)
    if not {"cost", "qaly"} <= {channel.id for channel in evaluation.channels} or len(scenario.strategies) < 2:
        return None
    evaluation = replace(evaluation, endpoints=(), landmarks=(), restrictions=(), grid_step=None, trace=False)
    result = simulated(
        evaluation,
        pilot_values(values, half),
        cohort,
        patients=patients,
        name=f"{scenario.id}, pilot",
        folder=folder,
        resume=request.resume and folder.exists(),
        threads=request.threads,
        dask=request.dask,
        progress=progress,
    )
    unpriced = unpriced_strategies(result, unpriced_drugs(parameters))
    found = choose(
        result.outcomes,
        scenario.comparator,
        [strategy.id for strategy in scenario.strategies if strategy.id not in unpriced],
        economics.wtp_of(scenario, parameters),
        most_patients=scenario.patients,
        draws=None if auto else scenario.iterations,
    )
    if request.patients is not None:
        draws = min(max(TOTAL_PATIENTS // request.patients, FEWEST_DRAWS), MOST_DRAWS)
        words = f"{draws:,} draws of the {request.patients:,} patients asked for."
        return replace(found, patients=request.patients, draws=draws, words=words)
    return found


def _base_case(
    request: Request, scenario: Scenario, parameters: ParameterSet, progress: ProgressCallback
) -> Callable[[Any], Any] | None:
    """Simulates an evaluation at the base values, for the budget; None where there is nothing to ask for."""
    if "budget.uptake_by_year" not in parameters or len(scenario.strategies) < 2:
        return None
    sized = replace(scenario, iterations=1, patients=economics.BUDGET_PATIENTS, subgroups=())
    _, values, cohort = assembled(sized, parameters)

    def run(evaluation: Evaluation) -> Any:
        name = f"{scenario.id}, budget, {evaluation.horizon / 12.0:g} years"
        result = simulated(
            evaluation, values, cohort, patients=sized.patients, name=name, threads=request.threads, dask=request.dask,
            progress=progress,
        )  # fmt: skip
        return result.outcomes

    return run


def _write_economics(
    folder: Path,
    found: economics.Economics,
    tables: Tables,
    beyond: pd.DataFrame,
    scenario: Scenario,
    parameters: ParameterSet,
    record: Mapping[str, Any],
    draws: Mapping[str, Floats] | None,
    text: str,
    decision: Mapping[str, Any],
) -> None:
    """Economic tables, exports for other programs, workbook and figures, beside the tables of the run."""
    from simhcc.report import decision_figures, exports
    from simhcc.report.folder import draws_table
    from simhcc.report.record import parameter_table

    about = economics.meta(found, scenario, parameters, record)
    main = found.stored[EVERYONE]
    economics.write(folder / economics.FOLDER, found)
    (folder / economics.FOLDER / DECISION_TEXT).write_text(text, encoding="utf-8")
    (folder / economics.FOLDER / DECISION).write_text(
        json.dumps(decision, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
    )
    if draws is not None:
        ranked = found.whole.nmb.sort_values(["WTP", "Rank"])
        exports.write_psa(
            folder / "psa",
            tables,
            main,
            draws_table(draws, parameters.uncertain()),
            exports.labels_of(scenario),
            {name: parameter.unit for name, parameter in parameters.items()},
            about,
            str(ranked["Strategy"].iloc[0]) if len(ranked) else main.strategies[0],
            found.top or 3.0 * max(main.wtp, default=1.0),
        )
    exports.write_workbook(
        folder / "results.xlsx",
        about,
        exports.workbook_sheets(
            tables, economics.all_tables(found), beyond, parameter_table(parameters), exports.sources_table(parameters)
        ),
    )
    decision_figures.draw(folder / "figures", found, dict(record["strategies"]), str(record["scenario"]))


# ---------------------------------------------------------------------------------------------------------------------
# What was asked


def _sized(scenario: Scenario, request: Request) -> Scenario:
    """The scenario with the sizes and the seed of the command line."""
    for name, lowest, highest in (("patients", 1, MOST_PATIENTS), ("iterations", 1, 2**32 - 1), ("seed", 0, MAX_SEED)):
        number = getattr(request, name)
        if name == "iterations" and isinstance(number, str) and number != AUTO:
            try:
                number = int(number)
            except ValueError:
                raise InputError(repr(number), "a whole number from 1, or auto", key="--iterations") from None
        if number is not None and number != AUTO:
            if not lowest <= number <= highest:
                raise InputError(str(number), f"a whole number from {lowest} to {highest}", key=f"--{name}")
            scenario = replace(scenario, **{name: number})
    if not request.subgroups:
        scenario = replace(scenario, subgroups=())
    if request.threads is not None and request.threads < 1:
        raise InputError(str(request.threads), "a whole number from 1, or nothing for all cores", key="--threads")
    if request.resume and request.overwrite:
        raise InputError("both --resume and --overwrite", "one of them", key="--resume")
    if request.resume and request.out is None:
        raise InputError("--resume without --out", "--out with the folder of the earlier run", key="--resume")
    if request.precision_of is not None and request.precision is None:
        raise InputError("--precision-of without --precision", "the standard error to reach", key="--precision-of")
    if request.precision is not None:
        if not 0.0 < request.precision < math.inf:
            raise InputError(f"{request.precision:g}", "a standard error above 0", key="--precision")
        if scenario.iterations > 1 or request.iterations == AUTO:
            raise InputError(
                f"--precision with {request.iterations or scenario.iterations} iterations",
                "--iterations 1 (the error over iterations falls with their number, not with patients)",
                key="--precision",
            )
        if request.patients is not None:
            raise InputError("both --precision and --patients", "one of them", key="--precision")
    return scenario


def _target(request: Request, scenario: Scenario) -> Path:
    """The results folder, refused where it may not be written; nothing is created."""
    if request.out is None:
        stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        target = Path("results") / f"{scenario.id}-{stamp}"
        number = 2
        while target.exists() or work_of(target).exists():
            target = Path("results") / f"{scenario.id}-{stamp}-{number}"
            number += 1
        return target
    target = request.out
    if not target.name:
        raise InputError(str(target), "the name of a folder to be made", key="--out")
    if target.exists() and not target.is_dir():
        raise InputError(f"the file {target}", "the name of a folder to be made", key="--out")
    if target.is_dir() and any(target.iterdir()):
        if not (target / "run.json").exists():
            raise InputError(
                f"{target}, which holds something else than results of a run", "another folder", key="--out"
            )
        if not (request.resume or request.overwrite):
            raise InputError(
                f"{target}, which holds results", "--overwrite to replace them, or another folder", key="--out"
            )
    return target


def _finished_before(target: Path, scenario: Scenario, parameters: ParameterSet) -> Finished:
    """The results of a run that needs no more work. Raises InputError when they are of other inputs."""
    tables, record = read_folder(target)
    if "sizes" in record:
        # Sizes that a pilot chose are those of the finished run.
        scenario = replace(scenario, patients=record["patients"], iterations=record["iterations"])
    if record.get("fingerprint") != fingerprint(scenario, parameters):
        raise InputError(
            f"{target}, which holds results of other inputs, sizes or seed ({record.get('command')})",
            "the same command as before, --overwrite, or another folder",
            key="--resume",
        )
    folder = target / economics.FOLDER
    if not (folder / DECISION).exists():
        return Finished(tables, record, target)
    text = (folder / DECISION_TEXT).read_text(encoding="utf-8")
    return Finished(tables, record, target, text, json.loads((folder / DECISION).read_text(encoding="utf-8")))


def _again(request: Request, target: Path) -> str:
    import shlex

    sizes = {name: getattr(request, name) for name in ("patients", "iterations", "seed")}
    options = [f"--{name} {value}" for name, value in sizes.items() if value is not None]
    if not request.subgroups:
        options.append("--no-subgroups")
    return " ".join(
        ["simhcc run", shlex.quote(request.scenario), *options, f"--out {shlex.quote(str(target))}", "--resume"]
    )


# ---------------------------------------------------------------------------------------------------------------------
# Subgroups and precision


def _subcohort(
    group: Subgroup, chosen: NDArray[np.bool_], cohort: Mapping[str, Floats], patients: int
) -> tuple[dict[str, Floats], int]:
    """The patients of a subgroup, and how many of them an iteration has: as many as among `patients` on average."""
    found = int(chosen.sum())
    wanted = int(found * patients // len(chosen))
    if wanted == 0:
        raise InputError(
            f"the subgroup {group.id}, in which nobody of {len(chosen):,} patients is",
            "wider conditions, or more patients",
            "subgroups",
            group.place.file,
            group.place.line,
        )
    return {name: np.asarray(column)[chosen] for name, column in cohort.items()}, wanted


def _members(group: Subgroup, cohort: Mapping[str, Floats]) -> NDArray[np.bool_]:
    """Who of the baseline patients is in a subgroup."""
    from simhcc.population import DERIVED, levels_of
    from simhcc.population.conditions import ConditionError, WithDerived, level_code

    columns = WithDerived(dict(cohort))
    chosen = np.ones(len(next(iter(cohort.values()))), dtype=bool)
    known = [*cohort, *DERIVED]
    for condition in group.when:
        name = condition.attribute
        if name not in known:
            raise condition.error(f"the attribute {name!r}", one_of(known, name))
        given = condition.value if isinstance(condition.value, tuple) else (condition.value,)
        codes = []
        for value in given:
            try:
                is_word = isinstance(value, str) and (name in DERIVED or name in cohort)
                codes.append(level_code(name, value) if is_word else float(value))  # type: ignore[arg-type]
            except (ConditionError, KeyError, ValueError):
                levels = levels_of(name) if name in DERIVED else None
                raise condition.error(repr(value), one_of(list(levels.values())) if levels else "a number") from None
        chosen &= _compared(columns[name], condition.op, codes)
    return chosen


def _compared(column: Floats, op: str, codes: list[float]) -> Any:
    first = codes[0]
    operations = {
        "eq": lambda: column == first,
        "ne": lambda: column != first,
        "lt": lambda: column < first,
        "le": lambda: column <= first,
        "gt": lambda: column > first,
        "ge": lambda: column >= first,
        "in": lambda: np.isin(column, codes),
        "not_in": lambda: ~np.isin(column, codes),
    }
    return operations[op]()


def _patients_for(
    request: Request,
    scenario: Scenario,
    parameters: ParameterSet,
    progress: ProgressCallback,
    say: Callable[[str], None],
) -> int:
    """Patients with which every strategy's mean of the outcome has the standard error asked for."""
    assert request.precision is not None
    outcome = request.precision_of or PRECISION_OF
    patients = min(scenario.patients, PRECISION_START)
    while True:
        sized = replace(scenario, patients=patients)
        evaluation, values, cohort = assembled(sized, parameters)
        result = simulated(
            evaluation, values, cohort, patients=patients, name=f"{scenario.id}, {patients:,} patients",
            threads=request.threads, dask=request.dask, progress=progress,
        )  # fmt: skip
        error = _largest_error(result, outcome)
        say(f"{patients:,} patients: standard error of {outcome} at most {error:.3g}")
        if error <= request.precision:
            return patients
        # The error falls with the square root of the number of patients.
        wanted = math.ceil(patients * (error / request.precision) ** 2 * PRECISION_MARGIN)
        if wanted > MOST_PATIENTS:
            raise InputError(
                f"{request.precision:g}, for which {wanted:,} patients are needed",
                f"a standard error that {MOST_PATIENTS:,} patients reach",
                key="--precision",
            )
        patients = wanted


def _largest_error(result: Result, outcome: str) -> float:
    outcomes = result.outcomes
    medians = {f"median_{name}_months": k for k, name in enumerate(outcomes.endpoints)}
    if outcome in medians:
        errors = result.median_mcse[0, :, medians[outcome]]
    elif outcome in outcomes.columns:
        errors = outcomes.mcse[0, :, outcomes.column(outcome)]
    else:
        raise InputError(
            f"no outcome {outcome!r}", one_of([*outcomes.columns, *medians], outcome), key="--precision-of"
        )
    if not np.isfinite(errors).all():
        raise InputError(f"{outcome}, which has no value under some strategy", "another outcome", key="--precision-of")
    return float(errors.max())


# ---------------------------------------------------------------------------------------------------------------------
# check, why, schema, new-scenario


@dataclass(frozen=True)
class Checked:
    """What was read and found good: the numbers, and the pathway in words."""

    scenario: Scenario | None
    parameters: ParameterSet
    texts: Mapping[str, str]
    """whole descriptions by strategy"""
    pathway_words: str
    numbers_shown: bool
    names: tuple[str, ...]
    """scenarios that were checked"""

    def as_text(self, width: int | None) -> str:
        """For people; prose is broken to `width`, numbers stay one a line where none is given (for other programs)."""
        parts = [words.check_numbers(self.parameters, width)] if self.numbers_shown else []
        if self.pathway_words:
            parts.append(broken_lines(self.pathway_words, width or TEXT_WIDTH))
        if self.scenario is None:
            parts.append(f"Scenarios that can be run: {', '.join(self.names) or 'none'}.\n")
        return "\n".join(parts)

    def as_object(self) -> dict[str, Any]:
        """For machines."""
        return words.check_object(self.scenario, self.parameters, self.texts)


def checked(
    name: str | None, strategy: str | None, diagram: Path | None, country: str | None, overwrite: bool
) -> Checked:
    """Read a scenario, or all of them, with everything they need; write the diagram. Raises InputError or ModelError."""
    from simhcc.pathway.strategies import to_graph
    from simhcc.pathway.whole import pathway

    if name is not None and country is not None:
        raise InputError("--country beside a scenario, which names its own", "one of them", key="--country")
    if name is None and strategy is not None:
        raise InputError("--strategy without a scenario", "a scenario that has it", key="--strategy")
    graph = pathway()
    scenarios = words.scenarios_asked(name)
    graphs = {scenario.id: [to_graph(s) for s in scenario.strategies] for scenario in scenarios}
    for strategies in graphs.values():
        for each in strategies:
            graph.check(each)
    numbers = [scenario.load_parameters() for scenario in scenarios]
    for asked, own in zip(scenarios, numbers, strict=True):
        _try_assembling(asked, own)
    scenario = scenarios[0] if name is not None else None
    parameters = numbers[0] if scenario is not None else load_parameters(country or "china")
    texts = {s.id: graph.describe(s) for s in graphs[scenario.id]} if scenario is not None else {}
    in_words = words.check_strategies(scenario, graph, graphs[scenario.id], strategy) if scenario is not None else ""
    if diagram is not None:
        chosen = None
        if scenario is not None and strategy is not None:
            chosen = next(s for s in graphs[scenario.id] if s.id == strategy)
        words.write_text(diagram, graph.mermaid(chosen), overwrite)
    shown = strategy is None
    return Checked(scenario, parameters, texts, in_words, shown, tuple(s.id for s in scenarios))


def _try_assembling(scenario: Scenario, parameters: ParameterSet) -> None:
    """Put a scenario together as a run would, in small: its population, prices, subgroups, and draws of its numbers."""
    for iterations in (1, CHECKED_DRAWS):
        small = replace(scenario, patients=CHECKED_PATIENTS, iterations=iterations)
        _, _, cohort = assembled(small, parameters)
        for group in scenario.subgroups:
            _members(group, cohort)


def explained(name: str, scenario: str | None) -> dict[str, Any]:
    """What `simhcc why` tells of a number."""
    scenarios = words.scenarios_asked(scenario)
    parameters = scenarios[0].load_parameters() if scenario is not None else load_parameters()
    parameters.find(name)
    rewards: dict[str, None] = {}
    changes: dict[str, None] = {}
    for each in scenarios:
        own = each.load_parameters()
        if name in own:
            rewards |= dict.fromkeys(words.rewards_of(name, each, own))
            changes |= dict.fromkeys(words.changes_of(name, each, own))
    return words.why_object(name, parameters, scenarios, list(rewards), list(changes))


def write_schemas(folder: Path, overwrite: bool) -> list[Path]:
    """Write the JSON Schema of each kind of input file; returns their paths."""
    from simhcc.claims.schema import claim_schemas

    schemas = json_schema() | claim_schemas()
    paths = [folder / f"{kind}.schema.json" for kind in schemas]
    taken = [str(path) for path in paths if path.exists()]
    if taken and not overwrite:
        raise InputError(f"{', '.join(taken)}", "--overwrite to replace them, or another folder", key="--out")
    for path, content in zip(paths, schemas.values(), strict=True):
        words.write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n", overwrite)
    return paths


NEW_SCENARIO = """\
# A scenario of your own. Whatever it does not say comes from `{extends}`.
# See every number: simhcc check {name}     Run it: simhcc run {name}
id: {name}
label: {{en: "{name}, from {extends}"}}
extends: {extends}

# Some keys that are often changed; take away the # to use them.
# population: {population}
# strategies: [{strategies}]
# comparator: {comparator}
# patients: {patients}
# seed: {seed}
# horizon_years: 20
# overrides:
#   {parameter}: {value!r}
"""


def write_new_scenario(name: str, extends: str) -> Path:
    """Write scenarios/NAME.yaml in the working folder and read it back. Raises InputError, leaving nothing behind."""
    if not ID.match(name):
        raise InputError(repr(name), f"an id: {ID_WORDS}", key="NAME")
    if name in list_scenarios():
        raise InputError(f"the id {name}, which another scenario has", "another name", key="NAME")
    parent = load_scenario(extends)
    parameters = parent.load_parameters()
    example = next((n for n in parameters.uncertain() if not parameters[n].is_vector), next(iter(parameters)))
    text = NEW_SCENARIO.format(
        name=name,
        extends=extends,
        population=parent.population.stem,
        strategies=", ".join(strategy.id for strategy in parent.strategies),
        comparator=parent.comparator,
        patients=parent.patients,
        seed=parent.seed,
        parameter=example,
        value=parameters[example].value,
    )
    path = Path("scenarios") / f"{name}.yaml"
    words.write_text(path, text, overwrite=False)
    try:
        load_scenario(name).load_parameters()
    except SimhccError:
        path.unlink()
        raise
    return path


__all__ = [
    "Checked",
    "Finished",
    "Request",
    "assembled",
    "checked",
    "explained",
    "run_scenario",
    "write_new_scenario",
    "write_schemas",
]
