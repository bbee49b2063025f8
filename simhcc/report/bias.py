"""`simhcc bias`: emulated retrospective studies beside the randomised trial of the same drug in the same patients."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from simhcc.claims import emulate
from simhcc.claims.emulate import BIASES, KINDS, NULL, Pool, Row
from simhcc.claims.experiments import Sizes
from simhcc.errors import InputError
from simhcc.inputs import load_parameters, one_of
from simhcc.report.claim_figures import keep, new_figure
from simhcc.report.claims import finite
from simhcc.report.figures import tidy
from simhcc.runner import console_progress, publish

ITERATIONS = 60
PATIENTS = 1500
DRUG = "adjuvant_atezo_bev"
WORDS = {
    "immortal_time": "months before the drug count as treated",
    "fitness": "fitter patients are treated",
    "early_relapse": "early relapse counts as untreated",
    "small_sample": "published sample sizes",
    "selective_publication": "benefits are published more often",
}
CONVERSION_WORDS = {"immortal_time": "months before the operation count as operated"}
DESIGN_WORDS = {
    "landmark": "landmark analysis",
    "target_trial": "target-trial emulation, fitness measured",
    "randomised": "randomised trial, same patients",
}


@dataclass(frozen=True, kw_only=True)
class BiasRequest:
    """What the user asked for."""

    study: str = "adjuvant"
    drug: str = DRUG
    on: Sequence[str] | None = None
    """biases switched on; None shows each alone, all, and all but each"""
    iterations: int = ITERATIONS
    patients: int = PATIENTS
    studies: int | None = None
    seed: int = 1
    threads: int | None = None
    out: Path | None = None
    overwrite: bool = False
    quiet: bool = False


@dataclass(frozen=True)
class BiasFound:
    """The table of designs, for the drug and for one that does nothing."""

    study: str
    drug: str
    rows: tuple[Row, ...]
    null_rows: tuple[Row, ...]
    published: tuple[float, ...]
    least_delay: float | None
    months_to_drug: float
    studies: int
    folder: Path | None

    @property
    def all_biases(self) -> Row:
        """The retrospective study with the most biases on, for a drug that does nothing."""
        return max((row for row in self.null_rows if row.design == "retrospective"), key=lambda row: len(row.biases))

    def explained(self) -> float:
        """Share of the published benefit, on the log scale, that a drug that does nothing shows with all biases on."""
        return float(np.log(self.all_biases.mean) / np.log(self.published).mean())

    def as_object(self) -> dict[str, Any]:
        """For machines."""
        return {
            "study": self.study,
            "drug": self.drug,
            "published": list(self.published),
            "explained_by_bias_alone": self.explained(),
            "least_months_between_surgery_and_drug": self.least_delay,
            "months_between_surgery_and_drug": self.months_to_drug,
            "rows": [row.as_object() for row in (*self.rows, *self.null_rows)],
        }

    def as_text(self) -> str:
        """For people."""
        title = {
            "adjuvant": "Adjuvant therapy: hazard ratio of recurrence or death that each design reports",
            "conversion": "Resection after response: hazard ratio of death that each design reports",
        }[self.study]
        lines = [title, ""]
        for name, rows in ((self.drug, self.rows), ("nothing", self.null_rows)):
            if not rows:
                continue
            what = "the drug" if self.study == "adjuvant" else "the operation"
            lines.append(f"{what} does nothing" if name == "nothing" else f"{what}: {name}")
            lines.append(f"  {'design':58}  mean ±error    95 % of pooled   95 % of single studies")
            for row in rows:
                lines.append(
                    f"  {label(row, self.study):58}  {row.mean:.2f} ±{row.error * row.mean:.2f}   "
                    f"{row.lower:.2f} to {row.upper:.2f}     {row.single_lower:.2f} to {row.single_upper:.2f}"
                )
            lines.append("")
        shown = " and ".join(f"{ratio:g}" for ratio in self.published)
        lines.append(
            f"Published: {shown}. Bias alone gives {self.all_biases.mean:.2f}, which is {100 * self.explained():.0f} % of the "
            "published benefit on the log scale."
        )
        if self.study == "adjuvant" and self.on_is_full:
            if self.least_delay is None:
                lines.append(
                    f"With nothing but longer waits for the drug, not even six months would give {self.published[0]:g} "
                    f"(in the model {self.months_to_drug:g})."
                )
            else:
                lines.append(
                    f"The least that would do: {self.least_delay:.1f} months between surgery and drug for {self.published[0]:g}, "
                    f"all other biases as they are (in the model {self.months_to_drug:g})."
                )
        return "\n".join(lines) + "\n"

    @property
    def on_is_full(self) -> bool:
        """Whether all biases were on somewhere."""
        return len(self.all_biases.biases) == len(emulate.biases_of(self.study))


def label(row: Row, study: str) -> str:
    """A design with its biases in words."""
    if row.design != "retrospective":
        return DESIGN_WORDS[row.design]
    if not row.biases:
        return "retrospective, no bias"
    if len(row.biases) == len(emulate.biases_of(study)):
        return "retrospective, all biases"
    if study == "conversion":
        return "only: " + ", ".join(CONVERSION_WORDS.get(bias, WORDS[bias]) for bias in row.biases)
    if len(row.biases) == len(BIASES) - 1:
        missing = next(bias for bias in BIASES if bias not in row.biases)
        return f"all but: {WORDS[missing]}"
    return "only: " + ", ".join(WORDS[bias] for bias in row.biases)


def run_bias(request: BiasRequest) -> BiasFound:
    """Simulate the lives, emulate the studies, write tables and a figure where `out` says so."""
    _check(request)
    parameters = load_parameters()
    sizes = Sizes(request.iterations, request.patients, request.seed, request.threads)
    progress = console_progress(quiet=request.quiet)
    base = parameters.base_values()
    suffix = "" if request.study == "adjuvant" else "_conversion"
    studies = request.studies or int(base[f"emulated.studies_pooled{suffix}"])
    published = tuple(float(x) for x in np.atleast_1d(base[f"emulated.published_ratios_{request.study}"]))
    pools: dict[str, Pool] = {}
    if request.study == "adjuvant":
        if request.drug != NULL:
            pools[request.drug] = emulate.adjuvant_pool(parameters, sizes, request.drug, progress=progress)
            whole = pools[request.drug]
            # The same lives with a drug that does nothing.
            pools[NULL] = emulate.replace(whole, treated=whole.control)
        else:
            pools[NULL] = emulate.adjuvant_pool(parameters, sizes, NULL, progress=progress)
    else:
        pools["resection"] = emulate.conversion_pool(parameters, sizes, progress=progress)
        whole = pools["resection"]
        pools[NULL] = emulate.replace(whole, treated=whole.control)
    tables = {name: _rows(pool, name, request.on, studies, request.seed) for name, pool in pools.items()}
    drug = next(iter(pools))
    delay = None
    if request.study == "adjuvant" and request.on is None:
        delay = emulate.least_delay(pools[NULL], published[0], studies=studies, seed=request.seed)
    found = BiasFound(
        request.study,
        drug,
        tuple(tables[drug]) if drug != NULL else (),
        tuple(tables[NULL]),
        published,
        delay,
        float(base["bias.months_surgery_to_drug"]),
        studies,
        request.out,
    )
    if request.out is not None:
        _write(request.out, found, request.overwrite)
    return found


def _check(request: BiasRequest) -> None:
    if request.study not in KINDS:
        raise InputError(f"the study {request.study!r}", one_of(KINDS, request.study), "--study")
    if request.study == "conversion" and request.drug != DRUG:
        raise InputError("--drug with the conversion study", "--study adjuvant", "--drug")
    if request.drug not in (*emulate.DRUGS, NULL):
        raise InputError(f"the drug {request.drug!r}", one_of([*emulate.DRUGS, NULL], request.drug), "--drug")
    known = emulate.biases_of(request.study)
    for bias in request.on or ():
        if bias not in known:
            raise InputError(f"the bias {bias!r}", one_of(known, bias), "--with")
    for name, value in (("iterations", request.iterations), ("patients", request.patients)):
        if value < 2:
            raise InputError(str(value), "2 or more", f"--{name}")
    if request.studies is not None and request.studies < 1:
        raise InputError(str(request.studies), "1 or more", "--studies")


def _rows(pool: Pool, name: str, on: Sequence[str] | None, studies: int, seed: int) -> list[Row]:
    if on is None and pool.kind == "adjuvant":
        return emulate.ladder(pool, name, studies=studies, seed=seed)
    rows = []
    sets: list[tuple[str, ...]] = (
        [tuple(on)] if on is not None else [(), ("immortal_time",), emulate.biases_of(pool.kind)]
    )
    for biases in sets:
        reported = emulate.run_studies(pool, "retrospective", biases, studies=studies, seed=seed)
        rows.append(emulate.summarised(reported, "retrospective", biases, name))
    designs = ("landmark", "target_trial", "randomised") if pool.kind == "adjuvant" else ("landmark", "randomised")
    for design in designs:
        reported = emulate.run_studies(pool, design, (), seed=seed)
        rows.append(emulate.summarised(reported, design, (), name))
    return rows


def _write(folder: Path, found: BiasFound, overwrite: bool) -> None:
    def fill(new: Path) -> None:
        new.mkdir(parents=True, exist_ok=True)
        rows = [{"label": label(row, found.study), **row.as_object()} for row in (*found.rows, *found.null_rows)]
        pd.DataFrame(rows).to_csv(new / "designs.csv", index=False)
        (new / "bias.json").write_text(json.dumps(finite(found.as_object()), indent=1) + "\n", encoding="utf-8")
        (new / "bias.txt").write_text(found.as_text(), encoding="utf-8")
        keep(_forest(found), new / "bias", ("png", "svg"))

    publish(folder.parent if str(folder.parent) else Path(), folder.name, fill, replace=overwrite)


def _forest(found: BiasFound) -> Any:
    """Ratios of every design: the drug and, in grey, a drug that does nothing."""
    names = [label(row, found.study) for row in found.null_rows]
    figure, grid = new_figure(9.0, 1.6 + 0.36 * len(names))
    axes = grid[0, 0]
    groups: Mapping[str, tuple[Sequence[Row], str, float]] = {
        "does nothing": (found.null_rows, "#888888", -0.13),
        found.drug: (found.rows, "#332288", 0.13),
    }
    for words, (rows, colour, shift) in groups.items():
        for k, row in enumerate(rows):
            place = len(names) - 1 - k + shift
            axes.plot([row.single_lower, row.single_upper], [place, place], color=colour, linewidth=1.0, alpha=0.5)
            axes.plot([row.lower, row.upper], [place, place], color=colour, linewidth=3.0)
            axes.plot([row.mean], [place], "o", color=colour, markersize=5, label=words if k == 0 else None)
    for ratio in found.published:
        axes.axvline(ratio, color="#CC6677", linestyle=(0, (4, 2)), linewidth=1.2)
    axes.axvline(1.0, color="#222222", linewidth=0.8)
    axes.set_xscale("log")
    ticks = [0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5]
    axes.set_xlim(0.15 if found.study == "conversion" else 0.35, 1.9)
    axes.set_xticks([t for t in ticks if t > axes.get_xlim()[0]], [f"{t:g}" for t in ticks if t > axes.get_xlim()[0]])
    axes.minorticks_off()
    axes.set_yticks(range(len(names)), names[::-1], fontsize=8)
    tidy(axes)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(
        "Hazard ratio reported (thick: 95 % of pooled, thin: of single studies; dashed: published)", fontsize=8
    )
    axes.legend(fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)
    return figure


__all__ = ["BiasFound", "BiasRequest", "label", "run_bias"]
