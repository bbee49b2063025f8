"""simhcc from Python: the verbs of the command line, with tables instead of printed text. Reached as `simhcc.run` and so on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from simhcc.errors import InputError
from simhcc.inputs import load_parameters, load_scenario, one_of
from simhcc.report.command import Request, run_scenario
from simhcc.report.folder import read_folder
from simhcc.report.record import parameter_table
from simhcc.report.tables import EVERYONE, Tables


@dataclass(frozen=True, eq=False)
class Results:
    """A results folder: its place, its tables and its record.

    `tables.summary`, `.differences`, `.icer`, `.curves`, `.occupancy`, `.events`, `.groups`, `.iterations` are data frames
    with the columns of the files (results/README.md); `table` gives any other file of the folder.
    """

    folder: Path
    tables: Tables
    record: Mapping[str, Any]

    def table(self, name: str) -> pd.DataFrame:
        """A CSV file of the folder by its name, such as "economics/ceac". Raises InputError with the nearest name."""
        known = {
            path.relative_to(self.folder).with_suffix("").as_posix(): path
            for path in sorted(self.folder.rglob("*.csv"))
        }
        if name not in known:
            raise InputError(f"no table {name!r}", one_of(list(known), name), file=str(self.folder))
        return pd.read_csv(known[name], float_precision="round_trip")

    def compare(self, *outcomes: str, subgroup: str = EVERYONE) -> pd.DataFrame:
        """Strategies down and outcomes across: columns (outcome, mean or mcse or lower or upper).

        Raises InputError with the nearest name for an outcome or a subgroup that the run does not have.
        """
        rows = self.tables.summary
        for name, column in ((subgroup, "subgroup"), *((outcome, "outcome") for outcome in outcomes)):
            known = list(dict.fromkeys(rows[column]))
            if name not in known:
                raise InputError(f"no {column} {name!r}", one_of(known, name), file=str(self.folder))
        rows = rows[(rows["subgroup"] == subgroup) & rows["outcome"].isin(outcomes)]
        wide = rows.pivot(index="strategy", columns="outcome", values=["mean", "mcse", "lower", "upper"])
        wide = wide.swaplevel(axis=1).reindex(columns=list(outcomes), level=0)
        return wide.reindex(list(dict.fromkeys(rows["strategy"])))

    def report(
        self, *, lang: str = "en", out: str | Path | None = None, more: Sequence[str | Path] = (), excel: bool = False
    ) -> Path:
        """Write the HTML report (`simhcc report`) and return its path; `more` names further results folders.

        With `excel` the same content is also written as a workbook beside it.
        """
        from simhcc.report.page import Request as ReportRequest
        from simhcc.report.page import write_report

        target = None if out is None else Path(out)
        request = ReportRequest(
            results=self.folder, lang=lang, out=target, more=[Path(p) for p in more], overwrite=True, excel=excel
        )
        return write_report(request).path


def run(
    scenario: str | Path,
    *,
    out: str | Path | None = None,
    patients: int | None = None,
    iterations: int | str | None = None,
    seed: int | None = None,
    subgroups: bool = True,
    threads: int | None = None,
    dask: str | None = None,
    overwrite: bool = False,
    quiet: bool = True,
) -> Results:
    """Simulate a scenario, as `simhcc run` does; what is None is as the scenario says. Raises InputError or ModelError."""
    request = Request(
        scenario=str(scenario), patients=patients, iterations=iterations, seed=seed, threads=threads,
        out=None if out is None else Path(out), overwrite=overwrite, dask=dask, subgroups=subgroups,
    )  # fmt: skip
    return read(run_scenario(request, quiet=quiet).folder)


def read(folder: str | Path) -> Results:
    """The results that a run wrote. Raises InputError where the folder holds none."""
    tables, record = read_folder(Path(folder))
    return Results(Path(folder), tables, record)


def check(scenario: str | Path | None = None, *, country: str = "china") -> pd.DataFrame:
    """Every number of a scenario, or of a country: name, value, unit, distribution, grade, source. Raises InputError."""
    numbers = load_parameters(country) if scenario is None else load_scenario(str(scenario)).load_parameters()
    return parameter_table(numbers)


def trial(
    *names: str,
    replicates: int = 1000,
    patients: int | None = None,
    seed: int = 1,
    out: str | Path | None = None,
    overwrite: bool = False,
    quiet: bool = True,
) -> pd.DataFrame:
    """Virtual trials, as `simhcc trial`: one row per published figure, with what was predicted. Raises InputError."""
    from simhcc.trials.command import Request as TrialRequest
    from simhcc.trials.command import run_trials

    request = TrialRequest(
        names=names,
        replicates=replicates,
        patients=patients,
        seed=seed,
        out=None if out is None else Path(out),
        overwrite=overwrite,
    )
    found = run_trials(request, quiet=quiet)
    return pd.DataFrame([row for result in found.results for row in result.table()])


def sensitivity(
    kind: str,
    scenario: str | Path,
    *,
    parameters: Sequence[str] = (),
    outcome: str = "inmb",
    strategy: str | None = None,
    patients: int | None = None,
    points: int | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    quiet: bool = True,
) -> dict[str, pd.DataFrame]:
    """A sensitivity analysis, as `simhcc sensitivity`: its tables by name. Raises InputError or ModelError."""
    from simhcc.report.sensitivity import analyse
    from simhcc.uncertainty.command import Kind, SensitivityRequest

    kinds = [each.value for each in Kind]
    if kind not in kinds:
        raise InputError(repr(kind), one_of(kinds, kind), "kind")
    request = SensitivityRequest(
        kind=Kind(kind), scenario=str(scenario), outcome=outcome, strategy=strategy, parameters=tuple(parameters),
        patients=patients, points=points, out=None if out is None else Path(out), overwrite=overwrite, quiet=quiet,
    )  # fmt: skip
    found = analyse(request)
    return {path.stem: pd.read_csv(path) for path in sorted(Path(found.folder).glob("*.csv"))}


__all__ = ["Results", "check", "read", "run", "sensitivity", "trial"]
