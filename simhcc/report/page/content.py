"""What a report is made of: a results folder as tables, and further analyses that lie in or beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from simhcc.errors import InputError
from simhcc.report.extrapolation import FILE as TAIL
from simhcc.report.folder import FILES, RECORD
from simhcc.report.tables import EVERYONE

MARKS = {"sensitivity.json": "sensitivity", "trial.json": "trial", "voi.json": "voi", "record.json": "claims"}
"""the file that tells what a folder of results is -> what it is"""
DEEPEST = 2
"""levels below the results folder that are searched for further analyses"""


@dataclass(frozen=True, eq=False)
class Content:
    """A run's tables by name (`summary`, `ceac`, ...), its record and inputs, and further analyses.

    `analyses` maps sensitivity, trial, voi and claims to (folder, content of its file). A table that the run does not have
    is empty.
    """

    folder: Path
    record: Mapping[str, Any]
    tables: Mapping[str, pd.DataFrame]
    scenario: Mapping[str, Any]
    strategies: Mapping[str, Mapping[str, Any]]
    parameters: pd.DataFrame
    sources: pd.DataFrame
    pathway: Mapping[str, Any] | None
    analyses: Mapping[str, Sequence[tuple[Path, Mapping[str, Any]]]] = field(default_factory=dict)

    def table(self, name: str, subgroup: str | None = EVERYONE) -> pd.DataFrame:
        """A table by its file's name without .csv; rows of one subgroup where it has that column."""
        table = self.tables.get(name, pd.DataFrame())
        if subgroup is not None and "subgroup" in table.columns:
            return table[table["subgroup"] == subgroup]
        return table

    @property
    def iterations(self) -> int:
        """Draws of the uncertain numbers."""
        return int(self.record["iterations"])

    @property
    def ids(self) -> list[str]:
        """Strategies in the scenario's order."""
        return list(self.record["strategies"])

    def value(self, name: str) -> float | None:
        """The base value of a number, where the run had it."""
        found = self.parameters[self.parameters["name"] == name]
        try:
            return float(found["value"].iloc[0]) if len(found) else None
        except ValueError:
            return None

    @property
    def wtp(self) -> list[float]:
        """The scenario's amounts of willingness to pay."""
        found = [self.value(w) if isinstance(w, str) else float(w) for w in self.scenario.get("wtp", ())]
        return [w for w in found if w is not None]


def read_content(folder: Path, more: Sequence[Path] = ()) -> Content:
    """Everything a report can tell of a results folder. Raises InputError where it is none, or `more` holds nothing known."""
    if not (folder / RECORD).is_file():
        raise InputError(f"{folder}, which is no results folder of a run", "a folder that simhcc run wrote", "RESULTS")
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        for key in ("scenario", "strategies", "comparator", "iterations", "patients", "seed", "setting"):
            record[key]
        tables = {}
        # The iterations themselves are large, and the report shows what was made of them.
        wanted = [folder / file for name, file in FILES.items() if name != "iterations"]
        for path in [*wanted, *sorted((folder / "economics").glob("*.csv")), folder / "population.csv", folder / TAIL]:
            if path.is_file() and path.stat().st_size > 1:
                tables[path.stem] = pd.read_csv(path, float_precision="round_trip")
        for name in ("summary", "icer"):
            if name not in tables:
                raise ValueError(f"{name}.csv is missing")
        inputs = folder / "inputs"
        scenario = json.loads((inputs / "scenario.json").read_text(encoding="utf-8"))
        strategies = json.loads((inputs / "strategies.json").read_text(encoding="utf-8"))
        parameters = pd.read_csv(inputs / "parameters.csv", dtype=str, keep_default_na=False)
        sources = pd.read_csv(inputs / "sources.csv", dtype=str, keep_default_na=False)
        pathway = _optional(inputs / "pathway.json")
    except KeyError as error:
        raise InputError(f"a record without {error}", "a folder that simhcc run wrote", file=str(folder)) from None
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"results that cannot be read ({error})", "a folder that simhcc run wrote", file=str(folder)
        ) from None
    return Content(folder, record, tables, scenario, strategies, parameters, sources, pathway, _analyses(folder, more))


def _optional(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _analyses(folder: Path, more: Sequence[Path]) -> dict[str, list[tuple[Path, Mapping[str, Any]]]]:
    found: dict[str, list[tuple[Path, Mapping[str, Any]]]] = {}
    seen = set()
    for place in (folder, *more):
        here = list(_marked(place, DEEPEST))
        if not here and place is not folder:
            raise InputError(
                f"{place}, which holds no trials, claims, sensitivity analysis or value of information",
                "a folder that simhcc trial, claims, sensitivity or voi wrote",
                "--with",
            )
        for path in here:
            if path.resolve() in seen:
                continue
            seen.add(path.resolve())
            kind = MARKS[path.name]
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
                if kind == "claims" and not isinstance(content.get("claims"), dict):
                    continue
                if kind == "sensitivity":
                    content["answer"]["kind"]
                if kind == "trial":
                    content["trials"]
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise InputError(
                    f"{path.name} that cannot be read ({error!r})", "as it was written", "--with", str(path)
                ) from None
            found.setdefault(kind, []).append((path.parent, content))
    return found


def _marked(folder: Path, depth: int) -> list[Path]:
    """Files that tell what a folder is, in it and below it."""
    if not folder.is_dir():
        return []
    here = [folder / name for name in MARKS if (folder / name).is_file()]
    if depth > 0:
        for below in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
            here += _marked(below, depth - 1)
    return here
