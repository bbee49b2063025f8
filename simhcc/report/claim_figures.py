"""Figures of a claim: components with their rules, what drives the verdict, two-way thresholds, where a gain comes from."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simhcc.claims.anatomy import Bound, Needed
from simhcc.claims.examine import ComponentFinding, Finding, Surface
from simhcc.claims.verdict import NOT_SUPPORTED, SUPPORTED, UNDETERMINED
from simhcc.claims.words import probability_text
from simhcc.report.figures import DPI, tidy

COLOUR = {SUPPORTED: "#117733", NOT_SUPPORTED: "#CC6677", UNDETERMINED: "#666666"}
FORMATS = ("png", "svg")
LABEL_WIDTH = 46


def draw_claim(folder: Path, finding: Finding, prefix: str = "", formats: Sequence[str] = FORMATS) -> list[str]:
    """Draw all figures of a claim into a folder; returns their names without prefix and ending."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []

    def put(name: str, figure: Any) -> None:
        keep(figure, folder / f"{prefix}{name}", formats)
        names.append(name)

    put("components", _components(finding))
    if finding.head.drivers:
        put("drivers", _drivers(finding.head))
    for k, surface in enumerate(finding.maps):
        put(f"map-{k + 1}", _map(surface, finding))
    for bound, plane in zip(finding.bounds, finding.needed, strict=True):
        put(f"needed-{plane.experiment}", _needed(plane, bound))
    if finding.bounds:
        put("contributions", _contributions(finding.bounds))
    return names


def keep(figure: Any, path: Path, formats: Sequence[str]) -> None:
    """Save a figure as path.FORMAT, without dates and random ids, so that the same results give the same files."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "simhcc", "svg.fonttype": "none"}):
        for ending in formats:
            metadata = {"Software": None} if ending == "png" else {"Date": None, "Creator": "simhcc"}
            figure.savefig(path.with_name(f"{path.name}.{ending}"), metadata=metadata)


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Any, Any]:
    """A figure without pyplot, and its axes (rows, columns), each with scales of its own."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _factor(found: ComponentFinding) -> tuple[float, str]:
    """What an estimate is multiplied with on its axis, and the axis's unit."""
    estimand = found.component.estimand
    difference = estimand.kind in ("difference", "margin")
    if estimand.scale == "share":
        return 100.0, "points" if difference else "%"
    if estimand.scale == "money":
        return 1e-3, "thousand CNY"
    return 1.0, {"months": "months", "years": "years", "ratio": "ratio"}[estimand.scale]


def _components(finding: Finding) -> Any:
    """One row for each component: its draws, its interval, and where its rule is met."""
    count = len(finding.components)
    figure, grid = new_figure(9.0, 0.9 + 0.95 * count, count)
    for axes, found in zip(grid[:, 0], finding.components, strict=True):
        factor, unit = _factor(found)
        draws = found.draws * factor
        low, high = found.component.rule.low * factor, found.component.rule.high * factor
        limits = [x for x in (low, high) if np.isfinite(x)]
        if found.component.fact is not None:
            limits.append(found.component.fact * factor)
        span = np.concatenate([np.quantile(draws, (0.001, 0.999)), limits])
        margin = 0.08 * max(np.ptp(span), 1e-9)
        left, right = span.min() - margin, span.max() + margin
        axes.axvspan(max(low, left), min(high, right), color="#88CCEE", alpha=0.35, linewidth=0)
        if np.ptp(draws) > 0.0:
            heights, edges = np.histogram(draws, bins=40, range=(left, right))
            axes.fill_between(
                edges[:-1],
                heights / max(heights.max(), 1),
                step="post",
                color=COLOUR[found.verdict],
                alpha=0.55,
                linewidth=0,
            )
        axes.plot(
            [found.judged.lower * factor, found.judged.upper * factor],
            [-0.12, -0.12],
            color=COLOUR[found.verdict],
            linewidth=2.5,
        )
        axes.plot([found.judged.estimate * factor], [-0.12], "o", color=COLOUR[found.verdict], markersize=5)
        if found.component.fact is not None:
            axes.axvline(found.component.fact * factor, color="#222222", linestyle=(0, (4, 2)), linewidth=1.2)
        axes.set_xlim(left, right)
        axes.set_ylim(-0.28, 1.1)
        axes.set_yticks([])
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.tick_params(labelsize=8)
        label = found.component.label.text() + ("" if found.component.decides else " (shown only)")
        axes.set_title("\n".join(textwrap.wrap(label, 70)), fontsize=9, loc="left")
        axes.set_title(
            f"P {probability_text(found.judged.probability)}: {found.verdict}",
            fontsize=9,
            loc="right",
            color=COLOUR[found.verdict],
        )
        axes.set_xlabel(unit, fontsize=8, loc="right", labelpad=-2)
    figure.suptitle(
        f"{finding.claim.id}: {finding.verdict}. Blue: where the rule is met", fontsize=10, x=0.01, ha="left"
    )
    return figure


def _drivers(found: ComponentFinding) -> Any:
    figure, grid = new_figure(9.0, 1.3 + 0.42 * len(found.drivers))
    axes = grid[0, 0]
    names = [driver.name for driver in found.drivers][::-1]
    shares = [100.0 * driver.share for driver in found.drivers][::-1]
    colours = ["#332288" if driver.direction == "up" else "#CC6677" for driver in found.drivers][::-1]
    axes.barh(range(len(names)), shares, color=colours, height=0.6)
    axes.set_yticks(range(len(names)), names, fontsize=9)
    for k, driver in enumerate(found.drivers[::-1]):
        text = f"P {driver.low_probability:.2f} at its 5 %, {driver.high_probability:.2f} at its 95 %"
        axes.annotate(
            text, (shares[k], k), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8, color="#444444"
        )
    tidy(axes)
    axes.grid(axis="y", visible=False)
    axes.set_xlim(0.0, max(shares) * 1.75)
    axes.set_xlabel("Share of the variance over draws that the number explains alone, %", fontsize=9)
    label = "\n".join(textwrap.wrap(found.component.label.text(), 80))
    axes.set_title(f"{label}\nblue: more of it raises the estimate; red: lowers it", fontsize=9, loc="left")
    return figure


def _map(surface: Surface, finding: Finding) -> Any:
    """Probability that the component holds over two numbers, with the limits of the verdict."""
    found = next(f for f in finding.components if f.component.id == surface.component)
    figure, grid = new_figure(7.6, 5.4)
    axes = grid[0, 0]
    mesh = axes.pcolormesh(
        surface.x_grid, surface.y_grid, surface.probability, cmap="cividis", vmin=0.0, vmax=1.0, shading="gouraud"
    )
    bar = figure.colorbar(mesh, ax=axes)
    bar.set_label("Probability that the claim's rule is met", fontsize=9)
    levels = sorted({1.0 - found.component.certainty, 0.5, found.component.certainty})
    inside = [level for level in levels if surface.probability.min() < level < surface.probability.max()]
    if inside:
        lines = axes.contour(
            surface.x_grid, surface.y_grid, surface.probability, levels=inside, colors="white", linewidths=1.2
        )
        axes.clabel(lines, fmt="%.2f", fontsize=8)
    axes.plot([surface.x_now], [surface.y_now], "D", color="white", markeredgecolor="#222222", markersize=7)
    axes.set_xlabel(surface.x, fontsize=9)
    axes.set_ylabel(surface.y, fontsize=9)
    axes.tick_params(labelsize=8)
    label = "\n".join(textwrap.wrap(found.component.label.text(), 70))
    axes.set_title(
        f"{label}\ndiamond: medians of the two; everything else as uncertain as it is", fontsize=9, loc="left"
    )
    return figure


def _needed(plane: Needed, bound: Bound) -> Any:
    """Five-year survival over how many become resectable and how durable the operation is."""
    figure, grid = new_figure(7.6, 5.2)
    axes = grid[0, 0]
    values = 100.0 * plane.survival
    image = axes.imshow(values, origin="lower", aspect="auto", cmap="cividis", vmin=0.0, vmax=max(40.0, values.max()))
    figure.colorbar(image, ax=axes).set_label("Five-year survival of all who start, %", fontsize=9)
    middle = 0.6 * max(40.0, values.max())
    for row in range(values.shape[0]):
        for column in range(values.shape[1]):
            reached = plane.survival[row, column] > plane.target
            axes.text(
                column, row, f"{values[row, column]:.0f}", ha="center", va="center", fontsize=9,
                color="#222222" if values[row, column] > middle else "white", fontweight="bold" if reached else "normal",
            )  # fmt: skip
    ticks = [f"x{odds:g}\n{100 * share:.0f} %" for odds, share in zip(plane.odds, plane.share, strict=True)]
    axes.set_xticks(range(len(ticks)), ticks, fontsize=8)
    axes.set_yticks(range(len(plane.recurrence)), [f"x{factor:g}" for factor in plane.recurrence], fontsize=8)
    axes.set_xlabel("Odds of becoming resectable, times; below: share operated", fontsize=9)
    axes.set_ylabel("Recurrence after the operation, times", fontsize=9)
    axes.set_title(
        f"{bound.label}: what would have to be true for {100 * plane.target:g} % (bold where it is)\n"
        f"all other numbers at their base values; Monte-Carlo error {100 * plane.mcse.max():.1f} points at most",
        fontsize=9, loc="left",
    )  # fmt: skip
    return figure


def _contributions(bounds: Sequence[Bound]) -> Any:
    """What each element adds to five-year survival, by population."""
    figure, grid = new_figure(8.2, 1.4 + 1.0 * len(bounds))
    axes = grid[0, 0]
    parts = (
        ("base", "first line alone", "#BBBBBB"),
        ("local", "local therapy", "#88CCEE"),
        ("resection", "resection", "#117733"),
        ("together", "together beyond the sum", "#DDCC77"),
    )
    for row, bound in enumerate(bounds[::-1]):
        left = 0.0
        for name, words, colour in parts:
            width = 100.0 * bound.parts[name].mean
            axes.barh(row, width, left=left, color=colour, height=0.55, label=words if row == 0 else None)
            left += width
        every = bound.parts["all"]
        axes.errorbar(
            100 * every.mean, row, xerr=[[100 * (every.mean - every.lower)], [100 * (every.upper - every.mean)]],
            color="#222222", capsize=3, linewidth=1.2,
        )  # fmt: skip
    axes.axvline(30.0, color="#CC6677", linestyle=(0, (4, 2)), linewidth=1.2)
    axes.set_yticks(range(len(bounds)), [bound.label for bound in bounds][::-1], fontsize=9)
    tidy(axes)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("Five-year survival of all who start, % (line: 95 % interval over draws; dashed: 30 %)", fontsize=9)
    axes.legend(fontsize=8, frameon=False, ncols=4, loc="lower left", bbox_to_anchor=(0.0, 1.0))
    return figure
