"""Figures of sensitivity analyses, as PNG and SVG, in colours that are told apart with every common colour blindness."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from simhcc.report.figures import _caption, new_figure, save, tidy
from simhcc.report.plain import shortened
from simhcc.uncertainty.command import Kind

LOW, HIGH, DARK, GREY = "#4477AA", "#EE7733", "#222222", "#999999"
SHOWN = 15
MOST_PANELS = 12
LABEL = 44


def draw(kind: Kind, folder: Path, found: Any, record: Mapping[str, Any]) -> None:
    """Write the figures of one analysis into a new folder."""
    folder.mkdir(parents=True)
    _DRAW[kind](folder, found, record)


def _tornado(folder: Path, found: Any, record: Mapping[str, Any]) -> None:
    table = found.table[(found.table["below"] != 0.0) | (found.table["above"] != 0.0)].head(SHOWN).iloc[::-1]
    height = 1.7 + 0.36 * max(len(table), 2)
    figure, grid = new_figure(10.5, height)
    axes = grid[0, 0]
    for place, row in enumerate(table.to_dict("records")):
        pale = 0.45 if row["noise"] else 1.0
        for end, colour, error in (("below", LOW, "below_mcse"), ("above", HIGH, "above_mcse")):
            axes.barh(place, row[end], left=found.base, height=0.7, color=colour, alpha=pale, linewidth=0, zorder=2)
            axes.plot(
                [found.base + row[end] - 1.96 * row[error], found.base + row[end] + 1.96 * row[error]],
                [place, place], color=DARK, linewidth=1.0, zorder=3,
            )  # fmt: skip
    axes.axvline(found.base, color=DARK, linewidth=1.0, zorder=4)
    _target_line(axes, found, vertical=True)
    names = shortened(table["parameter"].tolist(), LABEL)
    labels = [
        f"{name}  {_few(row['low'])} to {_few(row['high'])}"
        for name, row in zip(names, table.to_dict("records"), strict=True)
    ]
    axes.set_yticks(range(len(table)), labels, fontsize=8.5)
    tidy(axes, "x")
    axes.set_xlabel(_unit(found), fontsize=10)
    _numbers(axes.xaxis, found)
    handles = [_patch(LOW, "at the low end of the range"), _patch(HIGH, "at the high end")]
    corner = (0.99, 1 - 0.28 / height)
    figure.legend(handles=handles, loc="upper right", bbox_to_anchor=corner, ncols=2, fontsize=8.5, frameon=False)
    _finish(
        figure, height, found, record, left=0.43,
        text="Vertical line: base case. Black marks: 95 % Monte-Carlo interval of the change; pale bars cannot be told "
        "from no change.",
    )  # fmt: skip
    save(figure, folder / "tornado")


def _one_way(folder: Path, found: Any, record: Mapping[str, Any]) -> None:
    names = list(found.axes)
    for page, start in enumerate(range(0, len(names), MOST_PANELS)):
        part = names[start : start + MOST_PANELS]
        suffix = "" if len(names) <= MOST_PANELS else f"_{page + 1}"
        _curves(folder / f"one_way{suffix}", found, part, record)


def _curves(path: Path, found: Any, names: list[str], record: Mapping[str, Any]) -> None:
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    height = 1.5 + 2.5 * rows
    figure, grid = _panels(max(6.5, 3.6 * columns), height, rows, columns)
    table = found.table
    for position, name in enumerate(names):
        axes = grid[position // columns, position % columns]
        part = table[table["parameter"] == name]
        x, y, error = (part[key].to_numpy() for key in ("x", "value", "mcse"))
        axes.fill_between(x, y - 1.96 * error, y + 1.96 * error, color=LOW, alpha=0.18, linewidth=0)
        axes.plot(x, y, color=LOW, linewidth=1.8, marker="o", markersize=3)
        base = found.axes[name].base
        axes.plot([base], [found.base], marker="D", color=DARK, markersize=6, linestyle="none", zorder=5)
        _target_line(axes, found)
        axes.set_title("\n".join(_wrapped(name, 36)), loc="left", fontsize=9)
        axes.set_xlabel(found.axes[name].unit, fontsize=8.5)
        tidy(axes)
        _numbers(axes.yaxis, found)
    for position in range(len(names), rows * columns):
        grid[position // columns, position % columns].set_visible(False)
    for row in range(rows):
        grid[row, 0].set_ylabel(_unit(found), fontsize=9)
    _finish(
        figure, height, found, record, left=0.9 / figure.get_size_inches()[0], space=True,
        text="Diamond: base case. Band: 95 % Monte-Carlo interval. The range is the 95 % interval of the parameter unless given.",
    )  # fmt: skip
    save(figure, path)


def _two_way(folder: Path, found: Any, record: Mapping[str, Any]) -> None:
    wide = found.table.pivot(index="y", columns="x", values="value")
    x, y, z = wide.columns.to_numpy(), wide.index.to_numpy(), wide.to_numpy()
    height = 6.0
    figure, grid = new_figure(7.8, height)
    axes = grid[0, 0]
    reach = float(np.nanmax(np.abs(z - found.target))) or 1.0
    shown = axes.pcolormesh(
        x, y, z, cmap="PuOr_r", vmin=found.target - reach, vmax=found.target + reach, shading="gouraud"
    )
    bar = figure.colorbar(shown, ax=axes)
    bar.ax.tick_params(labelsize=8.5)
    bar.set_label(_unit(found), fontsize=9)
    _numbers(bar.ax.yaxis, found)
    if np.nanmin(z) < found.target < np.nanmax(z):
        lines = axes.contour(x, y, z, levels=[found.target], colors=[DARK], linewidths=1.8)
        axes.clabel(lines, fmt=lambda value: f"{value:,.4g}", fontsize=9)
        note = f"Black line: {found.outcome.id} is {found.target:,.4g}."
    else:
        side = "above" if np.nanmin(z) >= found.target else "below"
        note = f"{found.outcome.id} is {side} {found.target:,.4g} everywhere: no threshold within these ranges."
    axes.plot([found.first.base], [found.second.base], marker="D", color=DARK, markerfacecolor="white", markersize=8)
    axes.set_xlabel("\n".join(_wrapped(f"{found.first.name} ({found.first.unit})", 60)), fontsize=9.5)
    axes.set_ylabel("\n".join(_wrapped(f"{found.second.name} ({found.second.unit})", 50)), fontsize=9.5)
    axes.tick_params(labelsize=9)
    worst = float(found.table["mcse"].max())
    _finish(
        figure, height, found, record, left=0.13,
        text=f"{note} Diamond: base case. Largest Monte-Carlo standard error {worst:,.3g}.",
    )  # fmt: skip
    save(figure, folder / "two_way")


def _thresholds(folder: Path, found: Any, record: Mapping[str, Any]) -> None:
    names = list(found.axes)
    for page, start in enumerate(range(0, len(names), MOST_PANELS)):
        part = names[start : start + MOST_PANELS]
        columns = min(3, len(part))
        rows = -(-len(part) // columns)
        height = 1.5 + 2.5 * rows
        figure, grid = _panels(max(6.5, 3.6 * columns), height, rows, columns)
        for position, name in enumerate(part):
            axes = grid[position // columns, position % columns]
            curve = found.curve[found.curve["parameter"] == name]
            x, y, error = (curve[key].to_numpy() for key in ("x", "value", "mcse"))
            axes.fill_between(x, y - 1.96 * error, y + 1.96 * error, color=LOW, alpha=0.18, linewidth=0)
            axes.plot(x, y, color=LOW, linewidth=1.8)
            axes.axhline(found.target, color=HIGH, linewidth=1.3, linestyle=(0, (5, 2)))
            axes.axvline(found.axes[name].base, color=GREY, linewidth=1.0, linestyle=(0, (1.5, 1.5)))
            hits = found.table[(found.table["parameter"] == name) & (found.table["status"] == "threshold")]
            for row in hits.to_dict("records"):
                axes.axvspan(row["lower"], row["upper"], color=HIGH, alpha=0.15, linewidth=0)
                axes.plot([row["threshold"]], [found.target], marker="o", color=HIGH, markersize=7, zorder=5)
                far = row["threshold"] > 0.5 * (x[0] + x[-1])
                axes.annotate(
                    _few(row["threshold"]), (row["threshold"], found.target), xytext=(-8 if far else 8, 8),
                    textcoords="offset points", fontsize=9, color=DARK, ha="right" if far else "left",
                )  # fmt: skip
            if hits.empty:
                axes.text(
                    0.03, 0.1, "no threshold within the range", transform=axes.transAxes, fontsize=8.5, color=DARK
                )
            axes.set_title("\n".join(_wrapped(name, 36)), loc="left", fontsize=9)
            axes.set_xlabel(found.axes[name].unit, fontsize=8.5)
            tidy(axes)
            _numbers(axes.yaxis, found)
        for position in range(len(part), rows * columns):
            grid[position // columns, position % columns].set_visible(False)
        for row_ in range(rows):
            grid[row_, 0].set_ylabel(_unit(found), fontsize=9)
        _finish(
            figure, height, found, record, left=0.9 / figure.get_size_inches()[0], space=True,
            text="Dashed: target. Dotted: base value. Shaded: values that cannot be told from the threshold with these "
            "patients (95 %).",
        )  # fmt: skip
        save(figure, folder / ("thresholds" if len(names) <= MOST_PANELS else f"thresholds_{page + 1}"))


def _morris(folder: Path, found: Any, record: Mapping[str, Any]) -> None:
    table = found.table.head(SHOWN)
    _bars(
        folder / "morris", found, record, table["factor"].tolist(), [("mu_star", "mu_star_conf", LOW, "mean absolute effect")],
        table, "Whiskers: 95 % interval over trajectories.",
    )  # fmt: skip
    if not table["sigma"].notna().all():
        return
    height = 6.2
    figure, grid = new_figure(8.6, height)
    axes = grid[0, 0]
    largest = float(max(table["mu_star"].max(), table["sigma"].max())) or 1.0
    axes.plot([0, largest], [0, largest], color=GREY, linewidth=1.0, linestyle=(0, (5, 2)))
    for place, row in enumerate(table.to_dict("records")):
        axes.plot([row["mu_star"]], [row["sigma"]], marker="o", color=LOW, markersize=6)
        axes.annotate(
            str(place + 1), (row["mu_star"], row["sigma"]), xytext=(5, 4), textcoords="offset points", fontsize=9
        )
    tidy(axes)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"mean absolute effect ({_unit(found)})", fontsize=10)
    axes.set_ylabel(f"spread of the effect ({_unit(found)})", fontsize=10)
    _numbers(axes.xaxis, found)
    _numbers(axes.yaxis, found)
    words = [f"{k:>2} {name}" for k, name in enumerate(shortened(table["factor"].tolist(), LABEL), start=1)]
    figure.text(0.66, 0.86, "\n".join(words), fontsize=7.5, va="top", color=DARK, linespacing=1.5)
    _finish(
        figure, height, found, record, left=0.11, right=0.64,
        text="Above the dashed line the effect depends more on the other factors than on its own size.",
    )  # fmt: skip
    save(figure, folder / "morris_spread")


def _sobol(folder: Path, found: Any, record: Mapping[str, Any]) -> None:
    table = found.table.head(SHOWN)
    _bars(
        folder / "sobol", found, record, table["factor"].tolist(),
        [("S1", "S1_conf", LOW, "alone (S1)"), ("ST", "ST_conf", HIGH, "with interactions (ST)")], table,
        f"Whiskers: 95 % interval over {found.samples:,} samples. {found.noise:.1%} of the variance is noise of the finite "
        "number of patients.",
        unit="share of the variance",
    )  # fmt: skip


def _structural(folder: Path, found: Any, record: Mapping[str, Any]) -> None:
    table = found.table.iloc[::-1]
    height = 1.7 + 0.4 * max(len(table), 2)
    figure, grid = new_figure(10.0, height)
    axes = grid[0, 0]
    for place, row in enumerate(table.to_dict("records")):
        low, high = (row["change"] + k * 1.96 * row["change_mcse"] for k in (-1, 1))
        colour = GREY if row["noise"] else LOW if row["change"] < 0 else HIGH
        axes.plot([found.base, found.base + row["change"]], [place, place], color=colour, linewidth=2.2, zorder=2)
        axes.plot([found.base + low, found.base + high], [place, place], color=DARK, linewidth=0.9, zorder=3)
        axes.plot([found.base + row["change"]], [place], marker="o", color=colour, markersize=7, zorder=4)
    axes.axvline(found.base, color=DARK, linewidth=1.0)
    if np.isfinite(found.mixed):
        axes.axvline(found.mixed, color=DARK, linewidth=1.0, linestyle=(0, (5, 2)))
    _target_line(axes, found, vertical=True)
    labels = [
        row["alternative"] + (f" ({row['weight']:.2f})" if np.isfinite(row["weight"]) else "")
        for row in table.to_dict("records")
    ]
    axes.set_yticks(range(len(table)), labels, fontsize=9)
    tidy(axes, "x")
    axes.set_xlabel(_unit(found), fontsize=10)
    _numbers(axes.xaxis, found)
    mixed = " Dashed: mean over the weights in brackets." if np.isfinite(found.mixed) else ""
    _finish(
        figure, height, found, record, left=0.34,
        text=f"Line: base case.{mixed} Black: 95 % Monte-Carlo interval of the change; grey cannot be told from no change.",
    )  # fmt: skip
    save(figure, folder / "structural")


def _bars(
    path: Path, found: Any, record: Mapping[str, Any], names: list[str], series: list[tuple[str, str, str, str]], table: Any,
    text: str, unit: str | None = None,
) -> None:  # fmt: skip
    height = 1.7 + 0.42 * max(len(names), 2)
    figure, grid = new_figure(9.5, height)
    axes = grid[0, 0]
    size = 0.8 / len(series)
    for k, (value, half, colour, label) in enumerate(series):
        at = np.arange(len(names))[::-1] + (0.4 - size * (k + 0.5))
        axes.barh(at, table[value], height=0.9 * size, color=colour, linewidth=0, label=label, zorder=2)
        low, high = table[value] - table[half], table[value] + table[half]
        axes.hlines(at, low, high, color=DARK, linewidth=1.0, zorder=3)
    axes.axvline(0.0, color=DARK, linewidth=0.8)
    axes.set_yticks(np.arange(len(names))[::-1], shortened(list(names), LABEL), fontsize=8.5)
    tidy(axes, "x")
    axes.set_xlabel(unit or _unit(found), fontsize=10)
    if unit is None:
        _numbers(axes.xaxis, found)
    if len(series) > 1:
        figure.legend(loc="upper right", bbox_to_anchor=(0.99, 1 - 0.28 / height), ncols=2, fontsize=8.5, frameon=False)
    _finish(figure, height, found, record, left=0.37, text=text)
    save(figure, path)


# ---------------------------------------------------------------------------------------------------------------------
# Parts


def _finish(
    figure: Any, height: float, found: Any, record: Mapping[str, Any], *, left: float, text: str, right: float = 0.97,
    space: bool = False,
) -> None:  # fmt: skip
    figure.suptitle(found.outcome.words, x=0.012, y=1 - 0.09 / height, ha="left", va="top", fontsize=11.5)
    figure.subplots_adjust(left=left, right=right, top=1 - 0.62 / height, bottom=1.0 / height)
    if space:
        figure.subplots_adjust(hspace=0.75, wspace=0.34, top=1 - 0.75 / height, bottom=1.05 / height)
    wtp = (
        f" Willingness to pay {found.outcome.wtp:,.0f} {found.outcome.currency} per QALY." if found.outcome.wtp else ""
    )
    width = int(figure.get_size_inches()[0] * 14.5)
    sizes = f"Scenario {record['scenario']}, {record['patients']:,} patients at every point, common random numbers."
    _caption(figure, f"{sizes}{wtp} {text}", width)


def _panels(width: float, height: float, rows: int, columns: int) -> tuple[Any, Any]:
    """A figure of panels that share the outcome's axis; each has its own parameter."""
    figure, grid = new_figure(width, height, rows, columns, share=False)
    for axes in grid.ravel()[1:]:
        axes.sharey(grid[0, 0])
    return figure, grid


def _target_line(axes: Any, found: Any, vertical: bool = False) -> None:
    """Zero, where a difference can change its sign."""
    if found.outcome.comparator is None:
        return
    low, high = axes.get_xlim() if vertical else axes.get_ylim()
    if low <= 0.0 <= high:
        (axes.axvline if vertical else axes.axhline)(0.0, color=GREY, linewidth=1.0, linestyle=(0, (5, 2)), zorder=1)


def _unit(found: Any) -> str:
    """What an axis counts: shares are drawn as percent, their differences as points."""
    if found.outcome.unit != "fraction":
        return str(found.outcome.unit)
    return "percentage points" if found.outcome.comparator else "percent"


def _numbers(axis: Any, found: Any) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(5))
    if found.outcome.unit == "fraction":
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g}"))
    else:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))


def _patch(colour: str, label: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(facecolor=colour, label=label)


def _wrapped(text: str, width: int) -> list[str]:
    """A dotted name in lines of at most `width`, broken behind dots and underscores."""
    lines = [""]
    for part in re.findall(r"[^._]*[._]?", text):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return lines


def _few(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10000 else f"{value:.3g}"


_DRAW: dict[Kind, Callable[[Path, Any, Mapping[str, Any]], None]] = {
    Kind.TORNADO: _tornado,
    Kind.ONE_WAY: _one_way,
    Kind.TWO_WAY: _two_way,
    Kind.THRESHOLD: _thresholds,
    Kind.MORRIS: _morris,
    Kind.SOBOL: _sobol,
    Kind.STRUCTURAL: _structural,
}
