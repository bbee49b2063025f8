"""The command line: commands, progress, exit codes. What a command does stands in the modules it calls.

Exit codes: 0 done, 1 the model says no (or a run was stopped), 2 the input is wrong.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

# The engine fills the cores itself; a linear-algebra library with threads of its own would only get in its way.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import typer

import simhcc
from simhcc import usage
from simhcc.usage import errors as _errors

PIPE_WIDTH = 110
"""columns of a table that does not go to a terminal"""

app = typer.Typer(
    name="simhcc",
    cls=usage.Commands,
    help="Patient-level microsimulation of treatment strategies in hepatocellular carcinoma.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def main() -> None:
    """Entry point of the command `simhcc`."""
    # A pipe or a file may have any encoding, and names and labels are in two languages.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    app(prog_name="simhcc")


@app.callback(invoke_without_command=True)
def _top(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    if version:
        typer.echo(simhcc.__version__)
        raise typer.Exit


ScenarioName = Annotated[
    str,
    typer.Argument(
        metavar="SCENARIO",
        help="Id of a scenario, or the path of a scenario file.",
        autocompletion=usage.scenario_ids,
    ),
]


@app.command(
    epilog="Example: simhcc run advanced --patients 20000 --out results/advanced-try",
    short_help="Simulate a scenario and compare its strategies.",
)
def run(
    scenario: ScenarioName,
    patients: Annotated[int | None, typer.Option(help="Patients per strategy, in each iteration.")] = None,
    iterations: Annotated[
        str | None,
        typer.Option(
            help="Draws of the uncertain numbers; 1 is the base case, with every number at its value; auto chooses."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of all random numbers.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads (default: all cores).")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Results folder (default: results/SCENARIO-DATE-TIME).")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
    precision: Annotated[
        float | None, typer.Option(metavar="SE", help="Add patients until this standard error is reached (base case).")
    ] = None,
    precision_of: Annotated[
        str | None, typer.Option(metavar="OUTCOME", help="The outcome that --precision is about (default: os_60m).")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the interrupted run of --out.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is in --out.")] = False,
    dask: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Run on this Dask scheduler, for example tcp://host:8786.")
    ] = None,
    subgroups: Annotated[
        bool, typer.Option("--subgroups/--no-subgroups", help="Also each subgroup on its own.")
    ] = True,
) -> None:
    """Simulate all strategies of a scenario and compare them.

    Prints survival, life years, QALYs and costs of each strategy with their Monte-Carlo errors, and paired differences
    from the comparator, for the population and each subgroup; writes tables, figures, inputs and a record to a folder.
    With several iterations and no --patients, a pilot chooses how many patients each iteration needs.
    """
    with _errors(json_):
        from simhcc.report.command import Request, run_scenario

        request = Request(
            scenario=scenario,
            patients=patients,
            iterations=iterations,
            seed=seed,
            threads=threads,
            out=out,
            precision=precision,
            precision_of=precision_of,
            resume=resume,
            overwrite=overwrite,
            dask=dask,
            subgroups=subgroups,
        )
        say: Callable[[str], None] = (lambda text: None) if quiet else (lambda text: typer.echo(text, err=True))
        found = run_scenario(request, quiet=quiet, say=say)
        if json_:
            typer.echo(json.dumps(found.as_object(), ensure_ascii=False, allow_nan=False))
        else:
            typer.echo(found.as_text(_width()), nl=False)
            typer.echo(f"\nResults: {found.folder}")


@app.command(
    epilog="Example: simhcc reprice results/advanced-psa --set camrelizumab=1500 --set costs.procedure.resection=50000",
    short_help="Change prices of a finished run without simulating.",
)
def reprice(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="Results folder of simhcc run.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="ITEM=VALUE", help="A drug's price per unit, or a unit cost; may be repeated."),
    ] = None,
    prices: Annotated[Path | None, typer.Option(metavar="FILE", help="A YAML file of lines ITEM: VALUE.")] = None,
    panel: Annotated[str | None, typer.Option(help="Drug prices: effective or list.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write the tables to this new folder.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is in --out.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Evaluate a finished run again at other prices.

    Works on the units of each drug, procedure and month of care that the run stored for every draw, so nothing is
    simulated. A drug without a price gets one with --set, and its strategies join the comparison. What is dosed in
    other units (vial sharing, other packs) changes the units and needs a new run.
    """
    with _errors(json_):
        from simhcc.uncertainty import reprice as module

        found = module.reprice(results, panel=panel, changes=set_ or (), file=prices)
        if out is not None:
            module.write(out, found, str(results), overwrite)
        if json_:
            typer.echo(json.dumps(found.as_object(str(out or results)), ensure_ascii=False, allow_nan=False))
        else:
            typer.echo(_fitting(found.as_text()), nl=False)
            if out is not None:
                typer.echo(f"\nResults: {out}")


@app.command(
    epilog="Example: simhcc voi results/advanced-psa --trial triplet-hcc --sizes 200,400,800",
    short_help="What it would be worth to know more, from a finished run.",
)
def voi(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="Results folder of a probabilistic simhcc run.")],
    wtp: Annotated[
        float | None, typer.Option(metavar="AMOUNT", help="Willingness to pay (default: the scenario's first).")
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PATTERN,...",
            help="A group of parameters, patterns with *, or the name of one; may be repeated (default: by evidence).",
        ),
    ] = None,
    method: Annotated[str, typer.Option(help="Regression: spline, or gp (a Gaussian process).")] = "spline",
    trial: Annotated[
        str | None, typer.Option(metavar="TRIAL", help="A next trial, by id or path: its EVSI and net benefit.")
    ] = None,
    sizes: Annotated[
        str | None, typer.Option(metavar="N,N,...", help="Numbers of randomised patients of that trial.")
    ] = None,
    patients_per_year: Annotated[
        float | None, typer.Option(metavar="NUMBER", help="Patients who face the decision each year.")
    ] = None,
    years: Annotated[float | None, typer.Option(help="Years that the decision stays relevant.")] = None,
    discount: Annotated[float | None, typer.Option(metavar="RATE", help="Annual rate for future patients.")] = None,
    fixed_cost: Annotated[float | None, typer.Option(metavar="AMOUNT", help="Cost of the trial itself.")] = None,
    cost_per_participant: Annotated[
        float | None, typer.Option(metavar="AMOUNT", help="Cost of the trial for each patient.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder to write (default: RESULTS/voi).")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    threads: Annotated[int | None, typer.Option(help="Threads for a trial (default: all cores).")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Expected value of perfect, partial perfect and sample information, per patient and for the population.

    EVPPI regresses the net benefits of the stored draws on parameters; EVSI runs the virtual trial once for each draw and
    regresses on what it would report. Nothing of the run is simulated again.
    """
    with _errors(json_):
        from simhcc.report.voi import Request, value_of_information

        request = Request(
            results=results,
            wtp=wtp,
            groups=group or (),
            method=method,
            trial=trial,
            sizes=sizes,
            patients_per_year=patients_per_year,
            years=years,
            discount=discount,
            fixed_cost=fixed_cost,
            cost_per_participant=cost_per_participant,
            out=out,
            overwrite=overwrite,
            threads=threads,
        )
        found = value_of_information(request, quiet=quiet)
        if json_:
            typer.echo(json.dumps(found.as_object(), ensure_ascii=False, allow_nan=False))
        else:
            typer.echo(_fitting(found.as_text()), nl=False)
            typer.echo(f"\nResults: {found.folder}")


@app.command(
    epilog="Example: simhcc calibrate advanced --out results/advanced-fit",
    short_help="Fit the parameters that no trial reports to what trials reported.",
)
def calibrate(
    modules: Annotated[
        list[str] | None, typer.Argument(metavar="[MODULE ...]", help="Modules of params/calibration (default: all).")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Results folder (default: results/calibration).")
    ] = None,
    store: Annotated[
        bool, typer.Option("--store", help="Put the draws into ./params/posterior, where every run takes them from.")
    ] = False,
    recovery: Annotated[
        int | None,
        typer.Option(metavar="N", help="Instead fit N data sets simulated from the model, and count the truths found."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the interrupted calibration of --out.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is in --out.")] = False,
    threads: Annotated[int | None, typer.Option(help="Threads (default: all cores).")] = None,
    dask: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Run on this Dask scheduler, for example tcp://host:8786.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Fit each module's parameters to its trials and write posterior draws, tables and figures.

    A module takes the draws of the modules before it, fitted in the same command or stored before, and does not change
    them. Prints each parameter's prior and posterior (prior-driven ones are marked) and each figure published and fitted.
    """
    with _errors(json_):
        from simhcc.calibration import Request, run_calibration, run_recovery

        say: Callable[[str], None] = (lambda text: None) if quiet else (lambda text: typer.echo(text, err=True))
        request = Request(tuple(modules or ()), out, store, resume, overwrite, threads, dask, recovery)
        if recovery is not None:
            recovered = run_recovery(request, quiet, say)
            if json_:
                typer.echo(json.dumps(recovered.as_object(), ensure_ascii=False, allow_nan=False))
            else:
                typer.echo(_fitting(recovered.as_text()), nl=False)
                typer.echo(f"\nResults: {recovered.folder}")
            return
        found = run_calibration(request, quiet, say)
        if json_:
            typer.echo(json.dumps(found.as_object(), ensure_ascii=False, allow_nan=False))
        else:
            typer.echo(_fitting(found.as_text()), nl=False)
            typer.echo(f"\nResults: {found.folder}")
            for path in found.stored:
                typer.echo(f"Stored: {path}")


@app.command(
    "report",
    epilog="Example: simhcc report results/advanced-psa --with results/trials-try --lang zh",
    short_help="Write one HTML file that tells everything about a run.",
)
def report_(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="Results folder of simhcc run.")],
    lang: Annotated[str, typer.Option(metavar="LANG", help="Language: en or zh (Simplified Chinese).")] = "en",
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File to write (default: report.html, report.zh.html in RESULTS)."),
    ] = None,
    with_: Annotated[
        list[Path] | None,
        typer.Option("--with", metavar="DIR", help="Results of trial, claims, sensitivity or voi; may be repeated."),
    ] = None,
    excel: Annotated[
        bool, typer.Option("--excel", help="Also write the same content as an Excel workbook beside the page.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file of --out.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write a report: question, strategies, survival, costs, uncertainty, validation, claims, inputs, CHEERS 2022.

    One HTML file that opens without a network, in English or Simplified Chinese; charts answer to the pointer, the keyboard
    and a willingness-to-pay slider. Further analyses are found in RESULTS or named by --with; what is missing is said.
    """
    with _errors(json_):
        from simhcc.report.page import Request, write_report

        found = write_report(
            Request(results=results, lang=lang, out=out, more=with_ or (), overwrite=overwrite, excel=excel)
        )
        if json_:
            typer.echo(json.dumps(found.as_object(), ensure_ascii=False, allow_nan=False))
        else:
            typer.echo(_fitting(found.as_text()), nl=False)


@app.command(
    epilog="Example: simhcc validate --out docs",
    short_help="Set every trial's published figures beside what the calibrated model predicts.",
)
def validate(
    trials: Annotated[
        list[str] | None, typer.Argument(metavar="[TRIAL ...]", help="Ids or paths of trials (default: all).")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of validation.md and its tables and figures.")
    ] = None,
    draws: Annotated[int, typer.Option(help="Draws of the posterior.")] = 200,
    replicates: Annotated[int, typer.Option(help="Simulated trials.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of all random numbers.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the interrupted validation of --out.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is in --out.")] = False,
    threads: Annotated[int | None, typer.Option(help="Threads (default: all cores).")] = None,
    dask: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Run on this Dask scheduler, for example tcp://host:8786.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the summary.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Predict every trial with the stored posterior and write the validation report.

    Fitted figures with their residuals, held-out survival scored beside naive forecasters, first-line survival left out one
    trial at a time, effects that are not proportional, every miss by name. Results go to results/validation by default.
    """
    with _errors(json_):
        from simhcc.calibration.validation_report import Request, run_validation

        say: Callable[[str], None] = (lambda text: None) if quiet else (lambda text: typer.echo(text, err=True))
        request = Request(tuple(trials or ()), out, draws, replicates, seed, resume, overwrite, threads, dask)
        found = run_validation(request, quiet, say)
        if json_:
            typer.echo(json.dumps(found.as_object(), ensure_ascii=False, allow_nan=False))
        else:
            typer.echo(_fitting(found.as_text()), nl=False)
            typer.echo(f"\nReport: {found.page}")


@app.command(
    epilog="Example: simhcc reference --overwrite",
    short_help="Write the results that the documentation quotes.",
)
def reference(
    scenario: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SCENARIO]...", help="Scenarios (default: three settings, China and United States)."),
    ] = None,
    patients: Annotated[int, typer.Option(help="Patients per strategy in a base case.")] = 20_000,
    iterations: Annotated[int, typer.Option(help="Draws of the uncertain numbers.")] = 400,
    patients_per_iteration: Annotated[int, typer.Option(help="Patients per strategy in each draw.")] = 2_048,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the tables.")] = Path("results/reference"),
    document: Annotated[Path, typer.Option(metavar="FILE", help="The page to write.")] = Path("docs/results.md"),
    threads: Annotated[int | None, typer.Option(help="Threads (default: all cores).")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Run base cases and probabilistic analyses of the settings and write their tables and a page that reads them.

    Takes some minutes. The page says in words what drives each decision, made from the tables.
    """
    with _errors(json_):
        from simhcc.report.reference import SCENARIOS, Request, generate

        request = Request(
            scenarios=tuple(scenario or SCENARIOS),
            patients=patients,
            iterations=iterations,
            patients_per_iteration=patients_per_iteration,
            reference=out,
            document=document,
            threads=threads,
            overwrite=overwrite,
        )
        say: Callable[[str], None] = (lambda text: None) if quiet else (lambda text: typer.echo(text, err=True))
        written = [str(path) for path in generate(request, quiet=quiet, say=say)]
        typer.echo(json.dumps({"written": written}) if json_ else "\n".join(written))


@app.command(
    epilog="Example: simhcc check advanced --strategy stride --diagram stride.mmd",
    short_help="Show every number with its source, and each strategy in words.",
)
def check(
    scenario: Annotated[
        str | None,
        typer.Argument(
            metavar="[SCENARIO]",
            help="Id or path of a scenario; without one, numbers only.",
            autocompletion=usage.scenario_ids,
        ),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="The whole pathway under this strategy, without the numbers.",
            autocompletion=usage.strategy_ids,
        ),
    ] = None,
    diagram: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the pathway's diagram (Mermaid) to this file.")
    ] = None,
    country: Annotated[
        str | None,
        typer.Option(
            help="Country pack, where no scenario names one (default: china).", autocompletion=usage.countries
        ),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file of --diagram.")] = False,
) -> None:
    """Read and check everything that a run would read, without running it.

    Prints every number as it was resolved with its grade and source (recalled figures are flagged), and the pathway in
    words: whole for the comparator, and for every other strategy what differs. Without a scenario the numbers of the
    country are printed, and every scenario that can be found is checked.
    """
    with _errors(json_):
        from simhcc.report.command import checked

        found = checked(scenario, strategy, diagram, country, overwrite)
        if json_:
            typer.echo(json.dumps(found.as_object(), ensure_ascii=False, allow_nan=False))
        else:
            typer.echo(found.as_text(_width() if sys.stdout.isatty() else None), nl=False)


@app.command(
    epilog="Example: simhcc why tace.p_procedure_death",
    short_help="Tell where a number comes from and what uses it.",
)
def why(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Dotted name of a number, as simhcc check prints it.",
            autocompletion=usage.parameter_names,
        ),
    ],
    scenario: Annotated[
        str | None,
        typer.Option(
            metavar="SCENARIO",
            help="As this scenario resolves it (default: all scenarios).",
            autocompletion=usage.scenario_ids,
        ),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Tell where a number stands, its source, grade and distribution, and what in the model uses it."""
    with _errors(json_):
        from simhcc.report.command import explained
        from simhcc.report.words import why_text

        content = explained(name, scenario)
        text = json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n" if json_ else why_text(content, _width())
        typer.echo(text, nl=False)


@app.command(
    epilog="Example: simhcc schema --out schemas",
    short_help="Write JSON Schemas of the input files, for editors.",
)
def schema(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the files KIND.schema.json.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object: the files written.")] = False,
) -> None:
    """Write a JSON Schema for each kind of input file, so that an editor can complete and check while you type."""
    with _errors(json_):
        from simhcc.report.command import write_schemas

        paths = [str(path) for path in write_schemas(out, overwrite)]
        typer.echo(json.dumps({"files": paths}, ensure_ascii=False) if json_ else "\n".join(paths))


@app.command(
    epilog="Example: simhcc trial imbrave150 leap-012 --replicates 1000 --out results/trials-try",
    short_help="Run virtual trials and compare them with what was published.",
)
def trial(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME|FILE|all...", help="Trials: ids, paths of files, or all.", autocompletion=usage.trial_ids
        ),
    ],
    replicates: Annotated[int, typer.Option(help="How many times each trial is run.")] = 1000,
    iterations: Annotated[
        int, typer.Option(help="Draws of the uncertain numbers that the replicates share; 1: numbers at their values.")
    ] = 1,
    patients: Annotated[
        int | None, typer.Option(help="Simulated patients of each arm (and draw) from whom trials are taken.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of all random numbers.")] = 1,
    threads: Annotated[int | None, typer.Option(help="Threads (default: all cores).")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write tables and figures to this folder.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the interrupted run of --out.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is in --out.")] = False,
    dask: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Run on this Dask scheduler.")] = None,
) -> None:
    """Run a whole trial many times - accrual, drop-out, scans, data cut-offs - and analyse each as the trialists did.

    Prints every published figure beside what the simulated trials show: inside or outside the interval that holds 95 % of
    them, and by how much. With several iterations the interval carries the uncertainty of the parameters as well.
    """
    with _errors(json_):
        from simhcc.trials.command import Request, run_trials

        request = Request(
            names=names, replicates=replicates, iterations=iterations, patients=patients, seed=seed, threads=threads,
            out=out, resume=resume, overwrite=overwrite, dask=dask,
        )  # fmt: skip
        found = run_trials(request, quiet=quiet, say=lambda text: typer.echo(text, err=True))
        if json_:
            typer.echo(json.dumps(found.as_object(), ensure_ascii=False, allow_nan=False))
        else:
            typer.echo(_fitting(found.as_text()), nl=False)
            if found.folder is not None:
                typer.echo(f"\nResults: {found.folder}")


@app.command(
    epilog="Example: simhcc design leap-012 keynote-937 --replicates 2000",
    short_help="Answer the questions a trial leaves open: power, null results, immature survival.",
)
def design(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME|FILE|all...", help="Trials: ids, paths of files, or all.", autocompletion=usage.trial_ids
        ),
    ],
    true: Annotated[
        list[float] | None, typer.Option(metavar="HR", help="A true hazard ratio to suppose; may be repeated.")
    ] = None,
    prior: Annotated[
        tuple[float, float, float] | None,
        typer.Option(metavar="MEDIAN LOWER UPPER", help="What is believed of the true ratio (95 % interval)."),
    ] = None,
    mechanism: Annotated[
        bool, typer.Option("--mechanism/--no-mechanism", help="Simulate the trial as well, or use the ratio alone.")
    ] = True,
    replicates: Annotated[int, typer.Option(help="Simulated trials.")] = 2000,
    iterations: Annotated[int, typer.Option(help="Draws of the uncertain numbers; 1: numbers at their values.")] = 1,
    patients: Annotated[int | None, typer.Option(help="Simulated patients of each arm (and draw).")] = None,
    seed: Annotated[int, typer.Option(help="Seed of all random numbers.")] = 1,
    threads: Annotated[int | None, typer.Option(help="Threads (default: all cores).")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Power and assurance of a trial, what a null result leaves possible, and whether an immature one may turn significant.

    Each answer stands twice: from the hazard ratio alone, taken as constant, and from the mechanism, in which effects fade
    and later lines of treatment dilute them. The looks and bounds are those of `sequential` in the trial's file.
    """
    with _errors(json_):
        from simhcc.trials.command import DesignRequest, answer_questions

        request = DesignRequest(
            names=names, true=true or (), prior=prior, mechanism=mechanism, replicates=replicates, iterations=iterations,
            patients=patients, seed=seed, threads=threads,
        )  # fmt: skip
        found = answer_questions(request, quiet=quiet)
        if json_:
            typer.echo(json.dumps(found.as_object(), ensure_ascii=False, allow_nan=False))
        else:
            typer.echo(_fitting(found.as_text()), nl=False)


@app.command(
    "new-scenario",
    epilog="Example: simhcc new-scenario my-question --extends advanced",
    short_help="Start a scenario of your own from a packaged one.",
)
def new_scenario(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Id of the new scenario.")],
    extends: Annotated[
        str, typer.Option(metavar="SCENARIO", help="The scenario it starts from.", autocompletion=usage.scenario_ids)
    ] = "advanced",
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object: the file written.")] = False,
) -> None:
    """Write scenarios/NAME.yaml in the working folder: a scenario that extends another one and is ready to be changed."""
    with _errors(json_):
        from simhcc.report.command import write_new_scenario

        path = write_new_scenario(name, extends)
        written = json.dumps({"files": [str(path)]}, ensure_ascii=False)
        typer.echo(written if json_ else f"{path}\nsimhcc run {name}")


@app.command(
    epilog="Example: simhcc claims five-year-30 --iterations 100 --out results/claims-try",
    short_help="Test the claims of the registry and give verdicts.",
)
def claims(
    ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID ...]", help="Ids or paths of claims; none takes all.", autocompletion=usage.claim_ids
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Results folder (default: results/claims).")] = None,
    docs: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also write claims.md with its figures to this folder.")
    ] = None,
    patients: Annotated[int | None, typer.Option(help="Patients per strategy, in each draw.")] = None,
    iterations: Annotated[int | None, typer.Option(help="Draws of the uncertain numbers.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of all random numbers.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads (default: all cores).")] = None,
    list_: Annotated[
        bool, typer.Option("--list", help="Only list the claims with their last verdicts, and what is stale.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Run the experiments of each claim over the uncertain numbers and judge it.

    Prints the verdict with its probability and Monte-Carlo error, the numbers that drive it and where it would flip; writes a
    page with figures for each claim, and a record that knows which verdicts are stale and why.
    """
    with _errors(json_):
        from simhcc.report.claims import ClaimsRequest, run_claims

        request = ClaimsRequest(
            ids=tuple(ids or ()),
            out=out,
            docs=docs,
            patients=patients,
            iterations=iterations,
            seed=seed,
            threads=threads,
            list_only=list_,
            quiet=quiet,
        )
        say: Callable[[str], None] = (lambda text: None) if quiet else (lambda text: typer.echo(text, err=True))
        found = run_claims(request, say)
        if json_:
            from simhcc.report.claims import finite

            typer.echo(json.dumps(finite(found.as_object()), ensure_ascii=False, allow_nan=False))
        else:
            typer.echo(_fitting(found.as_text()), nl=False)
            if found.findings:
                typer.echo(f"\nResults: {found.folder}")


@app.command(
    epilog="Example: simhcc bias --drug none --out results/bias",
    short_help="Emulate retrospective studies beside the randomised trial.",
)
def bias(
    study: Annotated[
        str, typer.Option(help="adjuvant (drugs after surgery) or conversion (surgery after response).")
    ] = "adjuvant",
    drug: Annotated[str, typer.Option(help="Adjuvant drug, or none: a drug that does nothing.")] = "adjuvant_atezo_bev",
    on: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="BIAS", help="Switch on this bias only; may be repeated (default: all ways)."),
    ] = None,
    iterations: Annotated[int, typer.Option(help="Draws of the uncertain numbers.")] = 60,
    patients: Annotated[int, typer.Option(help="Simulated patients in each draw.")] = 1500,
    studies: Annotated[int | None, typer.Option(help="Studies pooled in each draw (default: as published).")] = None,
    seed: Annotated[int, typer.Option(help="Seed of all random numbers.")] = 1,
    threads: Annotated[int | None, typer.Option(help="Threads (default: all cores).")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write tables and a figure to this folder.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is in --out.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Make retrospective studies inside the simulation, with their known biases, beside the randomised trial.

    Biases: immortal_time, fitness, early_relapse, small_sample, selective_publication. Prints the hazard ratios that each design
    reports where the truth is known, and how much of the published benefit bias alone explains.
    """
    with _errors(json_):
        from simhcc.report.bias import BiasRequest, run_bias
        from simhcc.report.claims import finite

        found = run_bias(
            BiasRequest(
                study=study,
                drug=drug,
                on=on or None,
                iterations=iterations,
                patients=patients,
                studies=studies,
                seed=seed,
                threads=threads,
                out=out,
                overwrite=overwrite,
                quiet=quiet,
            )
        )
        typer.echo(json.dumps(finite(found.as_object())) if json_ else _fitting(found.as_text()), nl=json_)


@app.command(
    epilog="Example: simhcc optimise intermediate --strategy burden_cutoffs --vary low=3:9:2 --vary high=10:16:2",
    short_help="Search the cut-offs of a strategy's decision table.",
)
def optimise(
    scenario: ScenarioName,
    strategy: Annotated[str, typer.Option(metavar="ID", help="The strategy whose cut-offs are searched.")],
    vary: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=VALUES", help="Cut-off and values: 2,3,4 or 3:9:2. An option, or a dotted number; repeatable."
        ),
    ],
    objective: Annotated[
        str, typer.Option(help="os_60m, qaly, net_benefit, or another endpoint at a time.")
    ] = "os_60m",
    iterations: Annotated[int, typer.Option(help="Draws of the uncertain numbers, in each round.")] = 100,
    patients: Annotated[int, typer.Option(help="Patients per point, in each draw.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of all random numbers.")] = 1,
    threads: Annotated[int | None, typer.Option(help="Threads (default: all cores).")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write tables and a figure to this folder.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is in --out.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Find the cut-offs with the best expected outcome over the uncertain numbers.

    All points meet the same patients and luck. The advantage of the chosen point is estimated anew on random numbers that the
    search never saw, with the chance that it is best.
    """
    with _errors(json_):
        from simhcc.report.claims import finite
        from simhcc.report.optimise import OptimiseRequest, run_optimise

        found = run_optimise(
            OptimiseRequest(
                scenario=scenario,
                strategy=strategy,
                vary=vary,
                objective=objective,
                iterations=iterations,
                patients=patients,
                seed=seed,
                threads=threads,
                out=out,
                overwrite=overwrite,
                quiet=quiet,
            )
        )
        typer.echo(json.dumps(finite(found.as_object())) if json_ else _fitting(found.as_text()), nl=json_)


@app.command(
    epilog="Example: simhcc forecast",
    short_help="Frozen forecasts of readouts to come, and their scores.",
)
def forecast(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID ...]", help="Ids or paths; none takes all.")] = None,
    freeze: Annotated[bool, typer.Option("--freeze", help="Compute and freeze those that are not frozen.")] = False,
    iterations: Annotated[int, typer.Option(help="Draws of the uncertain numbers, one trial each.")] = 400,
    seed: Annotated[int, typer.Option(help="Seed of all random numbers.")] = 1,
    threads: Annotated[int | None, typer.Option(help="Threads (default: all cores).")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Show frozen forecasts of trials' hazard ratios, and score those whose file has a result (CRPS, coverage).

    Shows and scores all; --freeze fixes those that are not frozen yet.

    To enter a result, add `result: {value: ..., ci95: [..., ...], on: ..., source: ...}` to the forecast's file.
    """
    with _errors(json_):
        from simhcc.report.claims import finite
        from simhcc.report.forecasts import ForecastRequest, run_forecasts

        request = ForecastRequest(
            ids=tuple(ids or ()), freeze=freeze, iterations=iterations, seed=seed, threads=threads, quiet=quiet
        )
        found = run_forecasts(request, (lambda text: None) if quiet else (lambda text: typer.echo(text, err=True)))
        typer.echo(
            json.dumps(finite(found.as_object()), ensure_ascii=False) if json_ else _fitting(found.as_text()), nl=json_
        )


def _register_uncertainty() -> None:
    """`simhcc sensitivity` and `simhcc verify`."""
    from simhcc.uncertainty.command import Answer, Hooks, SensitivityRequest, VerifyRequest, register

    def sensitivity(request: SensitivityRequest) -> Answer:
        from simhcc.report.sensitivity import analyse

        return analyse(request)

    def verify(request: VerifyRequest) -> Answer:
        from simhcc.report.verification import verified

        return verified(request)

    register(app, Hooks(_errors, _width, sensitivity, verify))


def _fitting(text: str) -> str:
    """A text with its long lines broken where it goes to a terminal."""
    if not sys.stdout.isatty():
        return text
    from simhcc.report.terminal import broken_lines

    return broken_lines(text, _width())


def _width() -> int:
    return shutil.get_terminal_size((PIPE_WIDTH, 24)).columns if sys.stdout.isatty() else PIPE_WIDTH


_register_uncertainty()


if __name__ == "__main__":
    main()
