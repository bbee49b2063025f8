"""`simhcc verify`: the table of checks, and exit code 1 when one fails."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from simhcc.errors import InputError
from simhcc.inputs import ParameterSet, Scenario, load_scenario
from simhcc.report import command as run_command
from simhcc.report.record import currency_of, run_record, unpriced_drugs
from simhcc.report.tables import EVERYONE, make_tables
from simhcc.report.terminal import broken
from simhcc.runner import Step, console_progress
from simhcc.uncertainty.bench import PATIENTS, Bench
from simhcc.uncertainty.command import VerifyRequest
from simhcc.uncertainty.question import require_strategy
from simhcc.uncertainty.verification import Verdict, verify

FEWEST = 256
OTHERS = 3
"""strategies that are checked beside the comparator, unless they are named"""
SIGNS = {"passed": "ok", "failed": "FAILED", "not applicable": "-"}


@dataclass(frozen=True)
class Verified:
    """What came of the checks."""

    scenario: str
    strategies: tuple[str, ...]
    patients: int
    verdicts: tuple[Verdict, ...]

    @property
    def failed(self) -> bool:
        """Whether any check failed."""
        return any(verdict.status == "failed" for verdict in self.verdicts)

    def as_text(self, width: int) -> str:
        """For people."""
        lines = [
            f"Verification of {self.scenario}: {', '.join(self.strategies)}; {self.patients:,} patients each",
            "",
        ]
        for verdict in self.verdicts:
            sign = SIGNS[verdict.status]
            line = f"{verdict.id}  {sign:<6}  {verdict.title}: {verdict.detail}"
            lines += broken(line, width, " " * 14)
            if verdict.status == "failed":
                lines.append(f"{' ' * 14}expected: {verdict.expected}")
        count = {status: sum(v.status == status for v in self.verdicts) for status in SIGNS}
        lines += ["", ", ".join(f"{number} {status}" for status, number in count.items()) + "."]
        return "\n".join(lines) + "\n"

    def as_object(self) -> dict[str, Any]:
        """For machines; `passed` is null where a check does not apply."""
        return {
            "scenario": self.scenario,
            "strategies": list(self.strategies),
            "patients": self.patients,
            "checks": [
                {
                    "id": v.id,
                    "passed": None if v.status == "not applicable" else v.status == "passed",
                    "status": v.status,
                    "title": v.title,
                    "expected": v.expected,
                    "detail": v.detail,
                }
                for v in self.verdicts
            ],
        }


def verified(request: VerifyRequest) -> Verified:
    """Run the checks on a scenario. Raises InputError for wrong input."""
    scenario = load_scenario(request.scenario)
    if request.seed is not None:
        if not 0 <= request.seed <= run_command.MAX_SEED:
            raise InputError(str(request.seed), f"a whole number from 0 to {run_command.MAX_SEED}", "--seed")
        scenario = replace(scenario, seed=request.seed)
    patients = request.patients if request.patients is not None else PATIENTS
    if not FEWEST <= patients <= run_command.MOST_PATIENTS:
        raise InputError(str(patients), f"{FEWEST} or more", "--patients")
    if request.threads is not None and request.threads < 1:
        raise InputError(str(request.threads), "a whole number from 1, or nothing for all cores", "--threads")
    scenario = replace(scenario, strategies=_chosen(scenario, request.strategies))
    parameters = scenario.load_parameters()
    progress = console_progress(quiet=request.quiet)

    def step(done: int, total: int) -> None:
        if done == 1:
            progress(Step("start", "verify", 0, total))
        progress(Step("finished" if done == total else "advance", "verify", done, total))

    bench = Bench(scenario, parameters, run_command.assembled, patients, request.threads, _report)
    verdicts = verify(bench, request.checks, step)
    return Verified(scenario.id, tuple(s.id for s in scenario.strategies), patients, tuple(verdicts))


def _chosen(scenario: Scenario, asked: tuple[str, ...]) -> Any:
    """The comparator and those asked for, or the first few others."""
    for name in asked:
        require_strategy(scenario, name, "--strategies")
    others = [s for s in scenario.strategies if s.id != scenario.comparator]
    chosen = [s for s in others if s.id in asked] if asked else others[:OTHERS]
    return (scenario.strategy(scenario.comparator), *chosen)


def _report(scenario: Scenario, parameters: ParameterSet) -> Mapping[str, Mapping[str, float]]:
    """Run a scenario into a folder as `simhcc run` does, and read its summary back."""
    from simhcc.analysis import simulated
    from simhcc.report.folder import write_folder

    evaluation, values, cohort = run_command.assembled(scenario, parameters)
    results = {EVERYONE: simulated(evaluation, values, cohort, patients=scenario.patients, name="verify")}
    tables = make_tables(results, scenario.comparator, {}, unpriced_drugs(parameters))
    record = run_record(scenario, parameters, scenario.id, currency_of(parameters))
    record["label"] = scenario.label.text() or scenario.id
    with tempfile.TemporaryDirectory() as place:
        folder = write_folder(Path(place) / "report", tables, record, scenario, parameters)
        summary = pd.read_csv(folder / "summary.csv", float_precision="round_trip")
    found: dict[str, dict[str, float]] = {}
    for row in summary.to_dict("records"):
        if row["subgroup"] == EVERYONE:
            found.setdefault(str(row["strategy"]), {})[str(row["outcome"])] = float(row["mean"])
    return found
