"""The commands `simhcc sensitivity` and `simhcc verify`: what can be asked for. What is done with it stands elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer


class Kind(StrEnum):
    """Kinds of sensitivity analysis."""

    TORNADO = "tornado"
    ONE_WAY = "one-way"
    TWO_WAY = "two-way"
    THRESHOLD = "threshold"
    MORRIS = "morris"
    SOBOL = "sobol"
    STRUCTURAL = "structural"


@dataclass(frozen=True, kw_only=True)
class SensitivityRequest:
    """What the user asked for; None is the default of the kind or of the scenario."""

    kind: Kind
    scenario: str
    outcome: str = "inmb"
    strategy: str | None = None
    comparator: str | None = None
    wtp: float | None = None
    parameters: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    ranges: tuple[str, ...] = ()
    target: float | None = None
    points: int | None = None
    samples: int | None = None
    second_order: bool = False
    patients: int | None = None
    seed: int | None = None
    threads: int | None = None
    dask: str | None = None
    out: Path | None = None
    resume: bool = False
    overwrite: bool = False
    quiet: bool = False


@dataclass(frozen=True, kw_only=True)
class VerifyRequest:
    """What the user asked to be verified."""

    scenario: str
    strategies: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    patients: int | None = None
    seed: int | None = None
    threads: int | None = None
    quiet: bool = False


class Answer(Protocol):
    """What an analysis gives back for printing."""

    def as_text(self, width: int) -> str:
        """For people."""

    def as_object(self) -> Mapping[str, Any]:
        """For machines."""

    @property
    def failed(self) -> bool:
        """Whether the command ends with exit code 1."""


@dataclass(frozen=True)
class Hooks:
    """What the command line lends: error handling, the width of the terminal, and who does the work."""

    errors: Callable[[bool], AbstractContextManager[None]]
    width: Callable[[], int]
    sensitivity: Callable[[SensitivityRequest], Answer]
    verify: Callable[[VerifyRequest], Answer]


Scenario = Annotated[str, typer.Argument(metavar="SCENARIO", help="Id of a scenario, or the path of a scenario file.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.")]
Seed = Annotated[int | None, typer.Option(help="Seed of all random numbers (default: the scenario's).")]
Threads = Annotated[int | None, typer.Option(help="Threads (default: all cores).")]


def register(app: typer.Typer, hooks: Hooks) -> None:
    """Add both commands to the command line."""

    @app.command(
        epilog="Example: simhcc sensitivity tornado advanced --strategy stride --outcome difference_os_60m",
        short_help="What a result hangs on: tornado, curves, thresholds, Morris, Sobol, structure.",
    )
    def sensitivity(
        kind: Annotated[Kind, typer.Argument(help="Kind of analysis.")],
        scenario: Scenario,
        outcome: Annotated[
            str,
            typer.Option(
                metavar="NAME",
                help="os_60m, median_os_months, pfs_rmst_60, ly, qaly, cost, cost_drug, nmb, ... of one strategy; "
                "difference_NAME, inmb and icer against the comparator.",
            ),
        ] = "inmb",
        strategy: Annotated[
            str | None,
            typer.Option(metavar="ID", help="Default: the highest expected net benefit beside the comparator."),
        ] = None,
        comparator: Annotated[
            str | None, typer.Option(metavar="ID", help="Take the difference from this one (default: the scenario's).")
        ] = None,
        wtp: Annotated[
            float | None, typer.Option(help="Willingness to pay per QALY (default: the scenario's).")
        ] = None,
        parameters: Annotated[
            list[str] | None,
            typer.Option(metavar="NAMES", help="Parameters, vector elements NAME.k, or groups; commas between."),
        ] = None,
        groups: Annotated[
            list[str] | None,
            typer.Option(metavar="NAMES", help="morris, sobol: each is one factor; A+B joins two."),
        ] = None,
        ranges: Annotated[
            list[str] | None,
            typer.Option("--range", metavar="NAME=LOW:HIGH", help="Instead of the 95 % interval; may be repeated."),
        ] = None,
        target: Annotated[
            float | None, typer.Option(help="threshold, two-way: value to be reached (default 0 for differences).")
        ] = None,
        points: Annotated[
            int | None, typer.Option(help="one-way, two-way: values along each parameter (default 11 and 9).")
        ] = None,
        samples: Annotated[
            int | None,
            typer.Option(help="morris: trajectories (default 10); sobol: base samples, a power of two (default 128)."),
        ] = None,
        second_order: Annotated[bool, typer.Option("--second-order", help="sobol: interactions of pairs too.")] = False,
        patients: Annotated[
            int | None, typer.Option(help="Patients at each point (default 16,384; morris and sobol 4,096).")
        ] = None,
        seed: Seed = None,
        threads: Threads = None,
        out: Annotated[
            Path | None, typer.Option(metavar="DIR", help="Results folder (default: results/SCENARIO-KIND-DATE-TIME).")
        ] = None,
        json_: Json = False,
        quiet: Quiet = False,
        resume: Annotated[bool, typer.Option("--resume", help="Continue the interrupted analysis of --out.")] = False,
        overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is in --out.")] = False,
        dask: Annotated[
            str | None, typer.Option(metavar="ADDRESS", help="Run on this Dask scheduler, for example tcp://host:8786.")
        ] = None,
    ) -> None:
        """Move parameters and see what an outcome does.

        tornado: each alone to both ends of its 95 % interval. one-way: along it. two-way: two together. threshold: what
        would have to be true for the outcome to reach a target. morris: elementary effects. sobol: shares of variance.
        structural: the structural alternatives one by one. Patients and luck are the same at every point.
        """
        with hooks.errors(json_):
            request = SensitivityRequest(
                kind=kind, scenario=scenario, outcome=outcome, strategy=strategy, comparator=comparator, wtp=wtp,
                parameters=_several(parameters), groups=_several(groups), ranges=tuple(ranges or ()), target=target,
                points=points, samples=samples, second_order=second_order, patients=patients, seed=seed, threads=threads,
                dask=dask, out=out, resume=resume, overwrite=overwrite, quiet=quiet,
            )  # fmt: skip
            _show(hooks.sensitivity(request), json_, hooks)

    @app.command(
        epilog="Example: simhcc verify advanced --strategies atezo_bev,stride",
        short_help="Check the model's behaviour on a scenario: 43 tests with known answers.",
    )
    def verify(
        scenario: Scenario,
        strategies: Annotated[
            list[str] | None,
            typer.Option(metavar="IDS", help="Strategies to check (default: the comparator and up to three others)."),
        ] = None,
        checks: Annotated[
            list[str] | None, typer.Option(metavar="IDS", help="Only these checks, for example TV31,TV33.")
        ] = None,
        patients: Annotated[int | None, typer.Option(help="Patients per strategy (default 1,024).")] = None,
        seed: Seed = None,
        threads: Threads = None,
        json_: Json = False,
        quiet: Quiet = False,
    ) -> None:
        """Run the model where the answer is known, and say whether it gives it.

        All utilities 1 must make QALYs equal life years, a hazard ratio of 1 must make arms equal, certain death must empty
        every state, and so on: the tests of the TECH-VER checklist. Exit code 1 when one fails.
        """
        with hooks.errors(json_):
            request = VerifyRequest(
                scenario=scenario, strategies=_several(strategies), checks=_several(checks), patients=patients, seed=seed,
                threads=threads, quiet=quiet,
            )  # fmt: skip
            _show(hooks.verify(request), json_, hooks)


def _several(given: list[str] | None) -> tuple[str, ...]:
    """Names from an option that may be repeated or hold several, separated by commas."""
    return tuple(name.strip() for text in given or () for name in text.split(",") if name.strip())


def _show(answer: Answer, as_json: bool, hooks: Hooks) -> None:
    if as_json:
        typer.echo(json.dumps(answer.as_object(), ensure_ascii=False, allow_nan=False))
    else:
        typer.echo(answer.as_text(hooks.width()), nl=False)
    if answer.failed:
        raise typer.Exit(1)
