"""Figures of a fit: priors and posteriors, fitted figures, correlations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import gaussian_kde

from simhcc.calibration.fit import PRIOR_DRIVEN, Fit

PRIOR, POSTERIOR, OUTSIDE = "#9a9a9a", "#0072b2", "#d55e00"
"""grey, blue and vermilion of the Okabe-Ito palette, which colour-blind people can tell apart"""
FORMATS = ("png", "svg")
PER_ROW = 4


def prior_posterior(fit: Fit) -> Any:
    """Prior and posterior density of each parameter, on its natural scale."""
    from matplotlib.ticker import MaxNLocator

    figure_class = _figure()
    names = fit.module.names
    rows = -(-len(names) // PER_ROW)
    figure = figure_class(figsize=(3.1 * PER_ROW, 2.0 * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, PER_ROW, squeeze=False)
    prior = fit.module.values(np.random.default_rng(0).standard_normal((4000, len(names))))
    units = [one.unit for one in fit.module.fitted]
    for axis, name, unit, ratio in zip(axes.flat, names, units, fit.shrinkage(), strict=False):
        low = min(np.quantile(prior[name], 0.005), fit.values[name].min())
        high = max(np.quantile(prior[name], 0.995), fit.values[name].max())
        grid = np.linspace(low, high, 200)
        for values, colour, label in ((prior[name], PRIOR, "prior"), (fit.values[name], POSTERIOR, "posterior")):
            density = gaussian_kde(values)(grid) if np.ptp(values) > 0.0 else np.zeros_like(grid)
            axis.fill_between(grid, density, color=colour, alpha=0.35, linewidth=0.0, label=label)
            axis.plot(grid, density, color=colour, linewidth=1.2)
        axis.set_title(_short(name), fontsize=7.5)
        axis.text(
            0.97, 0.92, f"sd ratio {ratio:.2f}", transform=axis.transAxes, ha="right", va="top", fontsize=7,
            color=OUTSIDE if ratio > PRIOR_DRIVEN else "black",
        )  # fmt: skip
        axis.set_yticks([])
        axis.xaxis.set_major_locator(MaxNLocator(4))
        axis.tick_params(labelsize=6.5)
        axis.set_xlabel(unit.replace("_", " "), fontsize=6.5, labelpad=1.0)
        axis.spines[["top", "right", "left"]].set_visible(False)
    for axis in list(axes.flat)[len(names) :]:
        axis.set_axis_off()
    axes.flat[0].legend(fontsize=6.5, frameon=False, loc="upper left")
    figure.suptitle(
        f"{fit.module.content.title}: prior and posterior (above {PRIOR_DRIVEN:g}: prior-driven)", fontsize=10
    )
    return figure


def targets(table: pd.DataFrame, title: str) -> Any:
    """Published figures against what the model predicts: standardised residuals with the predictive interval's width."""
    figure = _figure()(figsize=(9.0, 0.21 * len(table) + 1.6), layout="constrained")
    axis = figure.subplots()
    places = np.arange(len(table))[::-1]
    inside = table["inside"].to_numpy(dtype=bool)
    for mask, colour, label in ((inside, POSTERIOR, "inside the 95 % prediction"), (~inside, OUTSIDE, "outside")):
        if mask.any():
            half = 1.96 * table["width"].to_numpy()[mask]
            centre = table["residual"].to_numpy()[mask]
            axis.errorbar(
                -centre, places[mask], xerr=half, fmt="o", color=colour, markersize=4, linewidth=1.0, label=label
            )
    axis.axvline(0.0, color="black", linewidth=0.8)
    for limit in (-2.0, 2.0):
        axis.axvline(limit, color=PRIOR, linewidth=0.8, linestyle="--")
    names = [f"{trial}: {name}" for trial, name in zip(table["trial"], table["figure"], strict=True)]
    axis.set_yticks(places, names, fontsize=6.5)
    axis.set_ylim(-0.8, len(table) - 0.2)
    axis.set_xlabel("predicted minus published, in standard deviations of the published figure", fontsize=8)
    axis.tick_params(axis="x", labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(fontsize=7, frameon=False, loc="outside lower center", ncols=2)
    axis.set_title(title, fontsize=10)
    return figure


def correlations(table: pd.DataFrame, title: str) -> Any:
    """Posterior correlations as a heat map."""
    size = 0.27 * len(table) + 3.2
    figure = _figure()(figsize=(size + 0.8, size), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(table.to_numpy(), cmap="RdBu_r", vmin=-1.0, vmax=1.0)
    names = [_short(name) for name in table.columns]
    axis.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
    axis.set_yticks(range(len(names)), names, fontsize=6)
    figure.colorbar(image, ax=axis, shrink=0.7).ax.tick_params(labelsize=6)
    axis.set_title(title, fontsize=9)
    return figure


def save(figures: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write each figure as PNG and SVG; returns the paths."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    # Fixed ids and no date: the same figure gives the same file.
    with rc_context({"svg.hashsalt": "simhcc"}):
        for name, figure in figures.items():
            FigureCanvasAgg(figure)
            for kind in FORMATS:
                path = folder / f"{name}.{kind}"
                metadata = {"Date": None} if kind == "svg" else {"Software": None}
                figure.savefig(path, dpi=130, metadata=metadata)
                paths.append(path)
    return paths


def _figure() -> Any:
    # Loaded late: matplotlib takes a second, and most commands draw nothing.
    from matplotlib.figure import Figure

    return Figure


def _short(name: str) -> str:
    return name.removeprefix("treatments.").removesuffix("_per_month").replace("progression", "prog")
