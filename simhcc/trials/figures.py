"""Figures of virtual trials: simulated bands with the published points laid over them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simhcc.inputs.trials import Trial
from simhcc.trials.pools import HORIZON
from simhcc.trials.replicates import Replicates
from simhcc.trials.summary import Prediction

# Tol's "muted" scheme, told apart with every common colour blindness (P. Tol, Colour Schemes, SRON/EPS/TN/09-002).
COLOURS = ("#332288", "#CC6677", "#117733", "#882255", "#44AA99")
MARKERS = ("o", "s", "D", "^", "v")
DPI = 150
FORMATS = ("png", "svg")
SMALLEST_SHARE = 0.5
"""a band ends where fewer simulated trials than this follow their patients so long"""


def draw_trial(
    folder: Path, trial: Trial, found: Replicates, shown: Sequence[Prediction], formats: Sequence[str] = FORMATS
) -> list[Path]:
    """Write the figures of a trial (PNG and SVG): curves by endpoint, and hazard ratios. Returns the files without ending."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    endpoints = list(dict.fromkeys(name for name, _ in found.curve_names))
    ratios = [p for p in shown if p.row.kind == "contrast" and p.inside is not None]
    paths = []
    if endpoints:
        figure = Figure(figsize=(6.2 * len(endpoints), 4.9), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(1, len(endpoints), squeeze=False)[0]
        for axis, endpoint in zip(axes, endpoints, strict=True):
            _curves(axis, endpoint, trial, found, shown)
        figure.suptitle(f"{trial.content.title}: simulated and published", fontsize=12, wrap=True)
        figure.supxlabel(_caption(found), fontsize=8, color="#444444")
        paths.append(_save(figure, folder / f"{trial.id}_curves", formats))
    if ratios:
        figure = Figure(figsize=(7.6, 1.5 + 0.5 * len(ratios)), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        _ratios(figure.subplots(1, 1), trial, ratios)
        figure.supxlabel(_caption(found), fontsize=8, color="#444444")
        paths.append(_save(figure, folder / f"{trial.id}_hazard_ratios", formats))
    return paths


def _caption(found: Replicates) -> str:
    draws = "parameters at their values" if found.draws == 1 else f"{found.draws:,} draws of the parameters"
    return f"{found.count:,} simulated trials, {draws}. Open symbols: recalled figures, still to be checked."


def _curves(axis: Any, endpoint: str, trial: Trial, found: Replicates, shown: Sequence[Prediction]) -> None:
    mine = [k for k, (name, _) in enumerate(found.curve_names) if name == endpoint]
    end = 0.0
    for position, k in enumerate(mine):
        arm = found.curve_names[k][1]
        if trial.arm(arm).subset_of is not None:
            continue
        colour, marker = COLOURS[position % len(COLOURS)], MARKERS[position % len(MARKERS)]
        curves = found.curves[:, k]
        known = np.mean(~np.isnan(curves), axis=0) >= SMALLEST_SHARE
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            low, middle, high = np.nanquantile(curves, [0.025, 0.5, 0.975], axis=0)
        months = np.concatenate(([0.0], found.curve_months[k][known]))
        end = max(end, float(months[-1]))
        low, middle, high = (np.concatenate(([1.0], q[known])) for q in (low, middle, high))
        axis.fill_between(months, low, high, color=colour, alpha=0.18, linewidth=0, step="post")
        axis.plot(
            months,
            middle,
            color=colour,
            linewidth=1.8,
            drawstyle="steps-post",
            label=trial.arm(arm).label or arm.replace("_", " "),
        )
        for p in shown:
            if p.row.arm == arm and p.row.endpoint == endpoint and p.row.subgroup is None and p.row.kind == "target":
                _point(axis, p, colour, marker, 0.5 + 0.006 * (1 - 2 * (position % 2)))
                end = max(end, 1.04 * (p.row.time_months or p.row.published))
    axis.set_xlim(0.0, end or None)
    axis.set_ylim(0.0, 1.02)
    axis.set_xlabel("Months from time zero")
    axis.set_ylabel("Share free of the event")
    axis.set_title(f"{endpoint.replace('_', '-')}: bands hold 95 % of the simulated trials", fontsize=10)
    axis.legend(frameon=False, fontsize=9)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    axis.grid(axis="y", color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)


def _point(axis: Any, p: Prediction, colour: str, marker: str, half: float) -> None:
    """A landmark with its interval upright, a median with its interval along `half`, which sets the arms a little apart."""
    row = p.row
    face = colour if row.confirmed else "white"
    style = {"marker": marker, "markersize": 6.5, "markerfacecolor": face, "markeredgecolor": colour, "zorder": 5}
    if row.statistic == "landmark":
        axis.plot([row.time_months], [row.published], **style)
        if row.ci_low is not None and row.ci_high is not None:
            axis.plot([row.time_months] * 2, [row.ci_low, row.ci_high], color=colour, linewidth=1.2, zorder=4)
    elif row.statistic == "median":
        axis.plot([row.published], [half], **style)
        if row.ci_low is not None:
            high = row.ci_high if row.ci_high is not None else HORIZON
            axis.plot([row.ci_low, high], [half, half], color=colour, linewidth=1.2, zorder=4)


def _ratios(axis: Any, trial: Trial, ratios: Sequence[Prediction]) -> None:
    names = []
    for place, p in enumerate(reversed(ratios)):
        row = p.row
        axis.plot(
            [p.lower, p.upper], [place - 0.12] * 2, color=COLOURS[0], linewidth=5, alpha=0.35, solid_capstyle="butt"
        )
        axis.plot([p.predicted], [place - 0.12], marker="|", markersize=11, color=COLOURS[0], markeredgewidth=2)
        face = "black" if row.confirmed else "white"
        axis.plot([row.published], [place + 0.12], marker="o", markersize=6, color="black", markerfacecolor=face)
        if row.ci_low is not None and row.ci_high is not None:
            axis.plot([row.ci_low, row.ci_high], [place + 0.12] * 2, color="black", linewidth=1.2)
        group = f" [{row.subgroup}]" if row.subgroup is not None else ""
        if row.period is not None:
            group += f", months {row.period[0]:g}-{row.period[1]:g}"
        several = len({q.row.look for q in ratios if q.row.endpoint == row.endpoint}) > 1
        look = f", {row.look}" if several else ""
        arms = "" if len({(q.row.arm, q.row.reference) for q in ratios}) == 1 else f"{row.arm} : {row.reference}, "
        names.append(f"{arms}{row.endpoint.replace('_', '-')}{group}{look}")
    axis.axvline(1.0, color="#777777", linewidth=0.8)
    axis.set_yticks(range(len(ratios)), names, fontsize=8)
    axis.set_ylim(-0.6, len(ratios) - 0.4)
    axis.set_xscale("log")
    low = min(min(p.lower, p.row.ci_low or p.row.published) for p in ratios)
    high = max(max(p.upper, p.row.ci_high or p.row.published) for p in ratios)
    low, high = max(0.8 * low, 0.1), min(1.2 * high, 5.0)
    ticks = [t for t in (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 5.0) if low <= t <= high]
    axis.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axis.minorticks_off()
    axis.set_xlim(low, high)
    axis.set_xlabel("Hazard ratio: published (black, 95 % CI) and simulated (bar, 95 % of trials)")
    axis.set_title(trial.content.title, fontsize=11, wrap=True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def _save(figure: Any, path: Path, formats: Sequence[str]) -> Path:
    import matplotlib as mpl

    # Without dates and random ids, so that the same results give the same files.
    with mpl.rc_context({"svg.hashsalt": "simhcc", "svg.fonttype": "none"}):
        for kind in formats:
            metadata = {"Software": None} if kind == "png" else {"Date": None, "Creator": "simhcc"}
            figure.savefig(path.with_name(f"{path.name}.{kind}"), metadata=metadata)
    return path
