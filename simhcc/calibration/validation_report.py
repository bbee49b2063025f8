"""The validation report: a page of tables in Markdown, CSV files beside it, a figure per trial; and the command's JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from simhcc.calibration import scores
from simhcc.calibration.fit import PRIOR_DRIVEN
from simhcc.calibration.specification import Module, list_modules
from simhcc.calibration.validation import (
    GAPS,
    LOOKS,
    RATIOS,
    Assessed,
    Contrast,
    LeftOutRow,
    Pattern,
    Runs,
    Sizes,
    Validation,
    validated,
)
from simhcc.errors import InputError
from simhcc.inputs import load_parameters
from simhcc.inputs.trials import list_trials, load_trial
from simhcc.runner import console_progress, publish
from simhcc.trials.figures import draw_trial
from simhcc.trials.summary import predictions

OUT = Path("results/validation")
PAGE = "validation.md"
FOLDER = "validation"
WORK = "validation-work"
FEWEST_DRAWS = 20
WITHIN, BEYOND, SHARE_WITHIN, WIDEST = 2.0, 3.5, 0.9, 2.0
"""the rule for fitted figures: residuals within 2 for 90 %, none beyond 3.5; predictions at most twice as wide"""
UNEXPLAINED = "No explanation has been found yet."
CLOSE, NEAR_GAP = 0.15, 0.03
"""when the model's own expectation counts as near a published ratio, and near a published difference of shares"""


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    trials: tuple[str, ...] = ()
    out: Path | None = None
    draws: int = 200
    replicates: int = 1000
    seed: int = 1
    resume: bool = False
    overwrite: bool = False
    threads: int | None = None
    dask: str | None = None


@dataclass(frozen=True)
class Found:
    """A validation and where its page is."""

    validation: Validation
    page: Path

    def as_object(self) -> dict[str, Any]:
        """For `--json`."""
        v = self.validation
        return {
            "summary": summary(v),
            "targets": _records(figure_table(v.assessed)),
            "held_out_contrasts": _records(contrast_table(v.contrasts)),
            "verdicts": [
                {
                    "trial": x.trial,
                    "figure": x.figure,
                    "published": x.words,
                    "p_significant": x.model,
                    "naive": dict(x.naive),
                }
                for x in v.verdicts
            ],
            "forecasts": [asdict(x) for x in v.forecasts],
            "left_out": _records(left_out_table(v.left_out)),
            "non_proportional": _records(pattern_table(v)),
            "frozen_changed": list(v.frozen_changed),
            "changed_since_the_fit": list(v.stale),
            "page": str(self.page),
        }

    def as_text(self) -> str:
        """The summary in a few lines."""
        return "\n".join(_summary_lines(self.validation)) + "\n"


def run_validation(request: Request, quiet: bool, say: Callable[[str], None]) -> Found:
    """Predict the trials with the stored posterior and write the page, its tables and figures.

    Raises InputError for an unknown trial, a missing posterior and a folder in use.
    """
    if request.draws < FEWEST_DRAWS:
        raise InputError(str(request.draws), f"{FEWEST_DRAWS} or more", "--draws")
    if request.replicates < request.draws:
        raise InputError(
            f"{request.replicates} replicates of {request.draws} draws", "as many as draws or more", "--replicates"
        )
    out = request.out or OUT
    if (out / FOLDER).exists() and not (request.overwrite or request.resume):
        raise InputError("results that are complete", "--overwrite to replace them", file=str(out / FOLDER))
    names = request.trials or tuple(list_trials())
    trials = [load_trial(name) for name in names]
    runs = Runs(
        folder=out / WORK,
        resume=request.resume,
        threads=request.threads,
        dask=request.dask,
        progress=console_progress(quiet=quiet),
    )
    sizes = Sizes(request.draws, request.replicates, request.seed)
    if request.overwrite and (out / WORK).exists():
        import shutil

        shutil.rmtree(out / WORK)
    found = validated(trials, load_parameters(), load_parameters(posteriors=()), list_modules(), sizes, runs)
    say("tables and figures")

    def fill(folder: Path) -> None:
        figure_table(found.assessed).to_csv(folder / "targets.csv", index=False, float_format="%.5g")
        contrast_table(found.contrasts).to_csv(folder / "held-out.csv", index=False, float_format="%.5g")
        left_out_table(found.left_out).to_csv(folder / "left-out.csv", index=False, float_format="%.5g")
        pattern_table(found).to_csv(folder / "non-proportional.csv", index=False, float_format="%.5g")
        for trial in trials:
            told = found.replicates.get(trial.id)
            if told is None:
                continue
            levels = {look.name: look.alpha for look in trial.content.design.analyses if look.alpha is not None}
            sizes_ = {arm.id: arm.n for arm in trial.content.arms}
            draw_trial(folder, trial, told, predictions(told, levels, sizes_), formats=("png",))

    folder = publish(out, FOLDER, fill, replace=True)
    page = out / PAGE
    page.write_text(markdown(found, {path.stem for path in folder.glob("*.png")}), encoding="utf-8")
    return Found(found, page)


# -- tables --------------------------------------------------------------------------------------------------------


def figure_table(assessed: Sequence[Assessed]) -> pd.DataFrame:
    """One row per published figure: role, published, predicted with 50 and 95 % limits, residual, CRPS, width."""
    return pd.DataFrame(
        [
            {
                "trial": a.trial,
                "figure": a.figure,
                "role": a.role,
                "confirmed": a.row.confirmed,
                "published": a.row.published,
                "predicted": a.predicted,
                "lower": a.lower,
                "upper": a.upper,
                "lower50": a.lower50,
                "upper50": a.upper50,
                "inside": a.inside,
                "inside50": a.inside50,
                "residual": a.residual,
                "crps": a.crps,
                "width": a.width,
                "reached": a.reached,
                "explanation": a.explanation,
            }
            for a in assessed
        ]
    )


def contrast_table(contrasts: Sequence[Contrast]) -> pd.DataFrame:
    """One row per held-out survival contrast: prediction, scores of the model and of the naive forecasters, drivers."""
    rows = []
    for c in contrasts:
        low, low50, middle, high50, high = np.exp(np.quantile(c.drawn, [0.025, 0.25, 0.5, 0.75, 0.975]))
        true_low, true_middle, true_high = np.exp(np.nanquantile(c.true, [0.025, 0.5, 0.975]))
        row: dict[str, Any] = {
            "trial": c.trial,
            "figure": c.figure,
            "published": c.row.published,
            "ci_low": c.row.ci_low,
            "ci_high": c.row.ci_high,
            "predicted": middle,
            "lower": low,
            "upper": high,
            "lower50": low50,
            "upper50": high50,
            "true_hr": true_middle,
            "true_lower": true_low,
            "true_upper": true_high,
            "inside": bool(low <= c.row.published <= high),
            "inside50": bool(low50 <= c.row.published <= high50),
            "width": math.log(high / low) / (2.0 * 1.959963984540054 * c.sd),
            "crps": c.crps,
        }
        row |= {f"crps {name}": value for name, value in c.naive().items()}
        for name, (factor, share) in c.drivers.items():
            row |= {f"hr per sd of {name}": factor, f"variance explained by {name}": share}
        rows.append(row)
    return pd.DataFrame(rows)


def left_out_table(rows: Sequence[LeftOutRow]) -> pd.DataFrame:
    """One row per first-line survival figure predicted by a fit that did not see it."""
    return pd.DataFrame(
        [
            {
                "trial": r.trial,
                "figure": r.figure,
                "published": r.published,
                "predicted": r.predicted,
                "lower": r.lower,
                "upper": r.upper,
                "inside": r.inside,
                "inside50": r.inside50,
                "residual": r.residual,
                "crps": r.crps,
                **{f"crps {name}": value for name, value in r.naive.items()},
            }
            for r in rows
        ]
    )


def pattern_table(found: Validation) -> pd.DataFrame:
    """One row per statement about the shape of an effect."""
    return pd.DataFrame(
        [
            {
                "trial": p.trial,
                "what": p.what,
                "published": p.published,
                "expectation": p.expectation,
                "predicted": p.predicted,
                "lower": p.lower,
                "upper": p.upper,
                "inside": p.inside,
            }
            for p in found.patterns
        ]
    )


def summary(found: Validation) -> dict[str, Any]:
    """Numbers by which the rules of the analysis plan are judged."""
    fitted, held = found.of("fitted"), found.of("held out")
    survival = [a for a in fitted if a.row.statistic in ("median", "landmark")]
    away = np.array([abs(a.residual) for a in survival])
    widths = np.array([a.width for a in fitted])
    told: dict[str, Any] = {
        "fitted_figures": len(fitted),
        "fitted_medians_and_landmarks": len(survival),
        "share_within_2": float(np.mean(away <= WITHIN)) if away.size else None,
        "largest_residual": float(away.max()) if away.size else None,
        "mean_width": float(np.nanmean(widths)) if widths.size else None,
        "fitted_inside_95": float(np.mean([a.inside for a in fitted])) if fitted else None,
        "held_out_figures": len(held),
        "held_out_inside_95": sum(a.inside for a in held),
        "held_out_inside_50": sum(a.inside50 for a in held),
    }
    if found.contrasts:
        model = float(np.mean([c.crps for c in found.contrasts]))
        naive = {
            name: float(np.mean([c.naive()[name] for c in found.contrasts])) for name in found.contrasts[0].naive()
        }
        table = contrast_table(found.contrasts)
        count = len(table)
        inside, inside50 = int(table["inside"].sum()), int(table["inside50"].sum())
        told |= {
            "contrasts": count,
            "contrasts_inside_95": inside,
            "contrasts_inside_50": inside50,
            "least_inside_95": scores.least_coverage(count, 0.95),
            "least_inside_50": scores.least_coverage(count, 0.50),
            "crps": model,
            "crps_naive": naive,
            "better_than_no_effect": model < naive[scores.NO_EFFECT],
            "better_than_pfs_effect": model < naive[scores.AS_PFS],
        }
    if found.left_out:
        ratios = [r for r in found.left_out if r.ratio]
        told |= {
            "left_out_figures": len(found.left_out),
            "left_out_inside_95": sum(r.inside for r in found.left_out),
            "left_out_inside_50": sum(r.inside50 for r in found.left_out),
            "left_out_ratios": len(ratios),
            "left_out_ratio_crps": float(np.mean([r.crps for r in ratios])) if ratios else None,
            "left_out_ratio_crps_naive": {
                name: float(np.mean([r.naive[name] for r in ratios])) for name in (ratios[0].naive if ratios else {})
            },
        }
    return told


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    import json

    records: list[dict[str, Any]] = json.loads(table.to_json(orient="records")) if len(table) else []
    return records


# -- the page ------------------------------------------------------------------------------------------------------


def markdown(found: Validation, found_figures: Collection[str] = ()) -> str:
    """The whole page. `found_figures` names the trials' figures that stand in the page's folder."""
    lines = [
        "# Validation",
        "",
        "Written by `simhcc validate`; do not edit. The rules are those of the analysis plan, set before any result. How the model",
        "was fitted stands in [calibration.md](calibration.md); every figure below with its limits in `validation/*.csv`.",
        "",
        f"Each trial was simulated with {found.sizes.draws} draws of the posterior and repeated {found.sizes.replicates:,} times",
        "as a trial of its own size, accrual, scans and follow-up. Intervals are central 95 % of what such a trial would report:",
        "posterior, the trial's random effect, discrepancy and sampling. *Residual* is published minus predicted in standard",
        "deviations of the published figure; *width* the predictive interval over the published one. A median is compared with",
        f"the simulated trials that reach theirs; limits are those of all. Seed {found.sizes.seed}.",
        "",
        "## In short",
        "",
        *(f"- {line}" for line in _summary_lines(found)),
        "",
        "## How well the parameters are known",
        "",
        *_known(found),
        "## Fitted figures",
        "",
        *_fitted(found),
        "## Figures that miss, and why",
        "",
        *_misses(found),
        "## First-line survival left out, one trial at a time",
        "",
        *_left_out(found),
        "## Survival of combined and perioperative treatment, never fitted",
        "",
        *_held_out(found),
        "## Effects that are not proportional",
        "",
        *_patterns(found),
        "## What was not fitted and not held out",
        "",
        "Figures that are recalled, subgroups, and second views of the same patients: shown, not judged.",
        "",
        *_rows([*found.of("left out"), *found.of("shown")]),
        "## One figure per trial",
        "",
    ]
    for trial in found.replicates:
        lines += [f"### {trial}", ""]
        for kind in ("curves", "hazard_ratios"):
            if f"{trial}_{kind}" in found_figures:
                lines += [f"![{trial}: {kind.replace('_', ' ')}]({FOLDER}/{trial}_{kind}.png)", ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _summary_lines(found: Validation) -> list[str]:
    told = summary(found)
    lines = []
    if told["fitted_medians_and_landmarks"]:
        ok = told["share_within_2"] >= SHARE_WITHIN and told["largest_residual"] <= BEYOND
        lines.append(
            f"Fit: {told['fitted_medians_and_landmarks']} fitted medians and landmarks, {told['share_within_2']:.0%} with a "
            f"residual within 2 (wanted {SHARE_WITHIN:.0%}), the largest {told['largest_residual']:.2f} (wanted at most "
            f"{BEYOND:g}): {'met' if ok else 'not met'}. Of all {told['fitted_figures']} fitted figures "
            f"{told['fitted_inside_95']:.0%} lie inside."
        )
        lines.append(
            f"Width: predictions are {told['mean_width']:.2f} times as wide as the published intervals on average (wanted at "
            f"most {WIDEST:g}): {'met' if told['mean_width'] <= WIDEST else 'not met'}."
        )
    if "contrasts" in told:
        naive = told["crps_naive"]
        better = told["better_than_no_effect"] and told["better_than_pfs_effect"]
        covered = (
            told["contrasts_inside_95"] >= told["least_inside_95"]
            and told["contrasts_inside_50"] >= told["least_inside_50"]
        )
        lines.append(
            f"Prediction: {told['contrasts']} survival contrasts, {told['contrasts_inside_95']} inside 95 % and "
            f"{told['contrasts_inside_50']} inside 50 % (binomial limits {told['least_inside_95']} and "
            f"{told['least_inside_50']}: {'met' if covered else 'not met'}); mean CRPS {told['crps']:.3f} against "
            f"{', '.join(f'{v:.3f} ({k})' for k, v in naive.items())}: {'better' if better else 'not better'} than the first two. "
            f"{_score_lines(found.contrasts)[0]}"
        )
    if "left_out_figures" in told:
        lines.append(
            f"Left out: of {told['left_out_figures']} first-line survival figures predicted without them "
            f"{told['left_out_inside_95']} lie inside 95 % and {told['left_out_inside_50']} inside 50 %."
        )
    for text in found.stale:
        lines.append(f"Changed since the posterior was fitted ({text}); `simhcc calibrate --store` fits it again.")
    for text in found.frozen_changed:
        lines.append(
            f"**A frozen quantity was changed after it had been frozen**: {text}. The predictions are not held out."
        )
    return lines


def _known(found: Validation) -> list[str]:
    lines = [
        "Effective sample size and largest weight are those of the sampler on the emulator; *again* is the largest difference",
        "of a parameter's mean, in posterior sds, when the sampler begins elsewhere; *emulator* the largest bias of the emulator",
        "at the posterior draws, in sds of the published figure.",
        "",
        "| module | effective sample size | largest weight | aim reached | again | emulator | sd between trials | discrepancy |",
        "|---|---|---|---|---|---|---|---|",
    ]
    fits: list[Any] = [posterior.manifest.get("fit") or {} for posterior in found.posteriors]
    for module, fit in zip(found.modules, fits, strict=True):
        bias = max(fit.get("largest_emulator_bias_in_sd", {"": math.nan}).values())
        lines.append(
            f"| {module.id} | {fit.get('effective_sample_size', math.nan):,.0f} | {fit.get('largest_weight', math.nan):.3f} | "
            f"{'yes' if fit.get('reached_aim') else '**no**'} | "
            f"{fit.get('sampled_again_largest_difference_in_sd', math.nan):.2f} | {bias:.2f} | "
            f"{fit.get('between_trials_sd', math.nan):.2f} | {fit.get('discrepancy_sd', math.nan):.2f} |"
        )
    lines += [
        "",
        f"Posterior sd over prior sd of each fitted parameter. Above {PRIOR_DRIVEN:g} it is *prior-driven*: the trials hardly",
        "inform it, and what rests on it rests on judgement.",
        "",
        "| module | parameter | posterior mean | 95 % | sd ratio | |",
        "|---|---|---|---|---|---|",
    ]
    for module, posterior, fit in zip(found.modules, found.posteriors, fits, strict=True):
        ratios, columns = fit.get("posterior_sd_over_prior_sd", {}), list(posterior.parameters)
        for name in module.names:
            draws = posterior.draws[:, columns.index(name)]
            low, high = np.quantile(draws, [0.025, 0.975])
            ratio = ratios.get(name, math.nan)
            lines.append(
                f"| {module.id} | `{name}` | {draws.mean():.3g} | {low:.3g} to {high:.3g} | {ratio:.2f} | "
                f"{'prior-driven' if ratio > PRIOR_DRIVEN else ''} |"
            )
    driven = sum(ratio > PRIOR_DRIVEN for fit in fits for ratio in fit.get("posterior_sd_over_prior_sd", {}).values())
    total = sum(len(module.names) for module in found.modules)
    return [*lines, "", f"Prior-driven: {driven} of {total}.", ""]


def _fitted(found: Validation) -> list[str]:
    lines = []
    for module in found.modules:
        mine = [a for a in found.of("fitted") if a.module == module.id]
        if mine:
            lines += [f"### {module.content.title}", "", *_rows(mine)]
    later = [one for _, one in _later_lines(found)]
    if later:
        lines += [
            "### Shares with a later line",
            "",
            "As fitted; the trials' tables above do not hold them.",
            "",
            "| trial | figure | published | fitted | 95 % | residual | width | inside |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for x in later:
            inside = x["lower"] <= x["published"] <= x["upper"]
            lines.append(
                f"| {x['trial']} | {x['figure']} | {x['published']:.2f} | {x['fitted']:.2f} | {x['lower']:.2f} to "
                f"{x['upper']:.2f} | {x['residual']:.1f} | {x['width']:.1f} | {'yes' if inside else '**no**'} |"
            )
        lines.append("")
    return lines


def _later_lines(found: Validation) -> list[tuple[Module, dict[str, Any]]]:
    """Fitted shares with a later line, which the manifests keep, of the trials on the page."""
    told = []
    for module, posterior in zip(found.modules, found.posteriors, strict=True):
        fit: Any = posterior.manifest.get("fit") or {}
        told += [(module, one) for one in fit.get("later_lines", []) if one["trial"] in found.replicates]
    return told


def _rows(assessed: Sequence[Assessed]) -> list[str]:
    if not assessed:
        return ["None.", ""]
    lines = [
        "| trial | figure | published | predicted | 95 % | residual | width | inside |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for a in assessed:
        flag = "" if a.row.confirmed else " (recalled)"
        lines.append(
            f"| {a.trial} | {a.figure}{flag} | {_n(a, a.row.published)} | {_n(a, a.predicted)} | {_n(a, a.lower)} to "
            f"{_n(a, a.upper)} | {a.residual:.1f} | {a.width:.1f} | {'yes' if a.inside else '**no**'} |"
        )
    return [*lines, ""]


def _n(a: Assessed, value: float) -> str:
    if math.isinf(value):
        return "not reached"
    return f"{value:.1f}" if a.row.statistic in ("median", "rmst") else f"{value:.2f}"


def _misses(found: Validation) -> list[str]:
    missed = [a for a in found.assessed if a.missed]
    lines = []
    for role in ("fitted", "left out", "held out", "shown"):
        for a in missed:
            if a.role != role:
                continue
            flag = ", recalled" if not a.row.confirmed else ""
            lines.append(
                f"- **{a.trial}, {a.figure}** ({a.role}{flag}): published {_n(a, a.row.published)}, predicted "
                f"{_n(a, a.predicted)} ({_n(a, a.lower)} to {_n(a, a.upper)}), residual {a.residual:.1f}. "
                f"{(a.explanation or UNEXPLAINED).strip()}"
            )
        if role == "fitted":
            for module, x in _later_lines(found):
                if abs(x["residual"]) > WITHIN or not x["lower"] <= x["published"] <= x["upper"]:
                    words = module.entry(x["trial"]).explained.get(x["figure"])
                    lines.append(
                        f"- **{x['trial']}, {x['figure']}** (fitted): published {x['published']:.2f}, fitted "
                        f"{x['fitted']:.2f} ({x['lower']:.2f} to {x['upper']:.2f}), residual {x['residual']:.1f}. "
                        f"{(words or UNEXPLAINED).strip()}"
                    )
    return [*lines, ""] if lines else ["None.", ""]


def _left_out(found: Validation) -> list[str]:
    if not found.left_out:
        return ["No module asks for it.", ""]
    lines = [
        "Survival on first-line regimens is fitted, because progression-free survival does not carry it. Here each trial's",
        "survival figures, but those of its control arm, were taken out, the module was fitted again, and they were predicted.",
        "",
        "| trial | figure | published | predicted | 95 % | residual | inside | inside 50 % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in found.left_out:
        digits = 1 if "median" in r.figure else 2
        lines.append(
            f"| {r.trial} | {r.figure} | {r.published:.{digits}f} | {r.predicted:.{digits}f} | {r.lower:.{digits}f} to "
            f"{r.upper:.{digits}f} | {r.residual:.1f} | {'yes' if r.inside else '**no**'} | {'yes' if r.inside50 else 'no'} |"
        )
    ratios = [r for r in found.left_out if r.ratio]
    if ratios:
        model = np.mean([r.crps for r in ratios])
        naive = {name: np.mean([r.naive[name] for r in ratios]) for name in ratios[0].naive}
        told = ", ".join(f"{value:.3f} ({name})" for name, value in naive.items())
        lines += ["", f"Mean CRPS of the {len(ratios)} hazard ratios: {model:.3f} against {told}."]
    return [*lines, ""]


def _held_out(found: Validation) -> list[str]:
    lines = [
        "Control-arm survival is fitted; the contrasts are not. Two quantities decide them. Both were written down, with their",
        "sources, in a commit of their own before the contrasts below were computed, and were not changed since; what had been",
        "seen of contrasts before stands in [trial-arms.md](trial-arms.md#held-out).",
        "",
    ]
    for module in found.modules:
        for name, frozen in module.content.frozen.items():
            lines.append(
                f"- `{name}`: {frozen.value:g} ({frozen.ci95[0]:g} to {frozen.ci95[1]:g}). {frozen.source.rstrip('.')}."
            )
    lines.append("")
    if found.contrasts:
        lines += [
            "| trial | contrast | published | predicted | 95 % of such a trial | true ratio, 95 % | inside 95 / 50 % | width |",
            "|---|---|---|---|---|---|---|---|",
        ]
        table = contrast_table(found.contrasts)
        for row in table.to_dict("records"):
            lines.append(
                f"| {row['trial']} | {row['figure']} | {row['published']:.2f} ({row['ci_low']:.2f} to {row['ci_high']:.2f}) | "
                f"{row['predicted']:.2f} | {row['lower']:.2f} to {row['upper']:.2f} | {row['true_hr']:.2f} "
                f"({row['true_lower']:.2f} to {row['true_upper']:.2f}) | {'yes' if row['inside'] else '**no**'} / "
                f"{'yes' if row['inside50'] else 'no'} | {row['width']:.1f} |"
            )
        names = list(found.contrasts[0].naive())
        lines += [
            "",
            "CRPS on the log hazard ratio, smaller is better:",
            "",
            f"| trial | contrast | model | {' | '.join(names)} |",
            f"|---|---|---|{'---|' * len(names)}",
        ]
        for c in found.contrasts:
            lines.append(
                f"| {c.trial} | {c.figure} | {c.crps:.3f} | {' | '.join(f'{c.naive()[n]:.3f}' for n in names)} |"
            )
        means = {n: np.mean([c.naive()[n] for c in found.contrasts]) for n in names}
        model = np.mean([c.crps for c in found.contrasts])
        lines.append(f"| mean | | **{model:.3f}** | {' | '.join(f'{means[n]:.3f}' for n in names)} |")
        lines += ["", *_score_lines(found.contrasts), "", *_driver_lines(found.contrasts)]
    for v in found.verdicts:
        told = ", ".join(f"{1.0 - p:.2f} ({name})" for name, p in v.naive.items())
        brier = {"model": v.model**2, **{name: p**2 for name, p in v.naive.items()}}
        scored = ", ".join(f"{value:.3f} ({name})" for name, value in brier.items())
        lines += [
            f"{v.trial}, {v.figure}: published as *{v.words}*, without figures. Predicted ratio {v.predicted:.2f} "
            f"({v.lower:.2f} to {v.upper:.2f}); probability of a result that is not significant {1.0 - v.model:.2f} (model), "
            f"{told}. Brier score "
            f"{scored}.",
            "",
        ]
    held = [a for a in found.of("held out") if a.row.kind == "target"]
    if held:
        lines += ["Survival of the combined arms, not fitted either:", "", *_rows(held)]
    lines += _forecast_lines(found)
    lines += [
        "**What four contrasts can and cannot show.** The published intervals run from about 0.57 to 1.3, wide enough to hold "
        '"no effect" and the model\'s forecast alike, and two of the four share a control arm. They can expose a mechanism that is '
        "far off, such as survival following progression one to one. They cannot tell a dilution by later lines from a constant "
        "ratio of 0.85, and they cannot validate the mechanism: agreement here is a lack of contradiction.",
        "",
    ]
    return lines


def _score_lines(contrasts: Sequence[Contrast]) -> list[str]:
    """What the means hide: on which side the published ratios lie, and which single contrast decides a comparison."""
    below = sum(c.observed < float(np.median(c.drawn)) for c in contrasts)
    lines = [f"{below} of {len(contrasts)} published ratios lie below the predicted ones."]
    names = list(contrasts[0].naive())
    model = np.array([c.crps for c in contrasts])
    for name in names:
        naive = np.array([c.naive()[name] for c in contrasts])
        better = model.mean() < naive.mean()
        if not better:
            lines.append(f'"{name}" scores better than the model ({naive.mean():.3f} against {model.mean():.3f}).')
        for k, c in enumerate(contrasts):
            others = np.arange(len(contrasts)) != k
            if others.any() and (model[others].mean() < naive[others].mean()) != better:
                lines.append(
                    f'The comparison with "{name}" hangs on {c.trial} ({c.figure}): without it the means are '
                    f"{model[others].mean():.3f} (model) and {naive[others].mean():.3f}."
                )
    return [" ".join(lines)]


def _driver_lines(contrasts: Sequence[Contrast]) -> list[str]:
    names = list(dict.fromkeys(name for c in contrasts for name in c.drivers))
    if not names:
        return []
    heads = " | ".join(f"`{name}`: factor on the ratio per sd / variance explained" for name in names)
    lines = [
        "Drivers of the true ratio over the draws:",
        "",
        f"| trial | contrast | {heads} |",
        f"|---|---|{'---|' * len(names)}",
    ]
    for c in contrasts:
        told = " | ".join(f"{c.drivers[n][0]:.3f} / {c.drivers[n][1]:.0%}" if n in c.drivers else "-" for n in names)
        lines.append(f"| {c.trial} | {c.figure} | {told} |")
    lines += [
        "",
        "Of all numbers drawn, these correlate most with it (factor on the ratio per sd, variance explained):",
        "",
    ]
    for c in contrasts:
        told = "; ".join(f"`{name}` {factor:.3f}, {share:.0%}" for name, (factor, share) in c.others.items())
        lines.append(f"- {c.trial}, {c.figure}: {told}")
    return [*lines, ""]


def _forecast_lines(found: Validation) -> list[str]:
    if not found.forecasts:
        return []
    lines = [
        "Forecasts, where no survival contrast has been published (ratio that the trial would report at its last look):",
        "",
        "| trial | contrast | ratio | 95 % | below 1 | significant in favour |",
        "|---|---|---|---|---|---|",
    ]
    for f in found.forecasts:
        lines.append(
            f"| {f.trial} | {f.figure} | {f.predicted:.2f} | {f.lower:.2f} to {f.upper:.2f} | {f.favourable:.2f} | "
            f"{f.significant:.2f} |"
        )
    return [*lines, ""]


def _patterns(found: Validation) -> list[str]:
    if not found.patterns:
        return ["None.", ""]
    lines = [
        "Ratios of cumulative hazards between published landmarks, hazard ratios of successive looks, and the gap at the last",
        "landmark. *Model* is the model's own expectation, without the scatter of a trial; the interval is that of such a trial.",
        f"*Near* is an expectation within {CLOSE:.0%} of what was published (for a gap, within {100 * NEAR_GAP:g} points): the",
        "model has the shape of the effect. A published value that is merely inside is not contradicted, and no more.",
        "",
    ]
    for trial in dict.fromkeys(p.trial for p in found.patterns):
        mine = [p for p in found.patterns if p.trial == trial]
        if not shape_in_words(mine):
            continue
        words = next((m.entry(trial).shape for m in found.modules if trial in [t.id for t in m.trials]), None)
        lines += [f"**{trial}.** {shape_in_words(mine)}{' ' + words.strip() if words else ''}", ""]
    lines += [
        "| trial | what | published | model | 95 % of such a trial | inside |",
        "|---|---|---|---|---|---|",
    ]
    for p in found.patterns:
        lines.append(
            f"| {p.trial} | {p.what} | {p.published:.2f} | {p.expectation:.2f} | {p.lower:.2f} to {p.upper:.2f} | "
            f"{'yes' if p.inside else '**no**'} |"
        )
    return [*lines, ""]


def has_shape(pattern: Pattern) -> bool:
    """Whether the model's own expectation is near the published value."""
    if pattern.kind == GAPS:
        return abs(pattern.expectation - pattern.published) <= NEAR_GAP
    return abs(math.log(pattern.expectation / pattern.published)) <= math.log1p(CLOSE)


def shape_in_words(patterns: Sequence[Pattern]) -> str:
    """One trial's patterns in plain sentences: published, expected, and how many agree; nothing where a figure stands alone."""
    told = []
    for group in dict.fromkeys(p.group for p in patterns):
        for kind, name in ((RATIOS, "by interval"), (LOOKS, "by look"), (GAPS, "difference at the last landmark")):
            mine = [p for p in patterns if (p.group, p.kind) == (group, kind)]
            # One interval has no shape.
            if (len(mine) < 2 and kind != GAPS) or not mine:
                continue
            near, inside = sum(map(has_shape, mine)), sum(p.inside for p in mine)
            told.append(
                f"{group}, {name}: published {', '.join(f'{p.published:.2f}' for p in mine)}, model "
                f"{', '.join(f'{p.expectation:.2f}' for p in mine)} ({near} of {len(mine)} near, {inside} inside)."
            )
    return " ".join(told)
