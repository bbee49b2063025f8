"""Figures of the economic evaluation. One colour for a strategy in all of them (`figures.styles`), PNG and SVG."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from simhcc.report.economics import Economics
from simhcc.report.figures import new_figure, save, styles, tidy
from simhcc.report.tables import EVERYONE

MOST_CLOUD = 400
"""points of a cloud drawn for each strategy; the ellipse stands for all"""
MOST_PARTS = 10
SMALLEST_PART = 0.005
"""parts below this share of the largest one are drawn together"""
UP, DOWN, TOTAL = "#CC6677", "#4477AA", "#555555"
GREY = "#999999"


def draw(folder: Path, found: Economics, labels: Mapping[str, str], scenario: str) -> None:
    """Write the figures of a run's decision into an existing folder."""
    main, whole = found.stored[EVERYONE], found.whole
    chosen = styles(list(labels))
    by = {name: (labels[name] or name, chosen[name]) for name in labels}
    where = f"{scenario}, comparator {main.comparator}"
    money = main.currency or "money"
    noise = "patients' noise removed"
    if len(whole.frontier):
        frontier(folder / "frontier", whole.icer, by, where, money, main.wtp)
    if len(whole.ceac):
        curves(
            folder / "ceac",
            whole.ceac,
            "Proportion",
            by,
            f"Acceptability: {scenario}",
            "probability of highest net benefit",
            money,
            main.wtp,
            noise,
            whole.ceaf,
        )
        curves(
            folder / "expected_loss",
            whole.loss,
            "Expected_Loss",
            by,
            f"Expected loss: {scenario}",
            f"{money} per patient",
            money,
            main.wtp,
            f"{noise}; the lowest line is EVPI",
            log=True,
        )
        one_curve(
            folder / "evpi",
            whole.evpi,
            "EVPI",
            f"EVPI: {scenario}",
            money,
            main.wtp,
            f"grey: with patients' noise; band: 1.96 standard errors; otherwise {noise}",
            found.population.size() if found.population else None,
        )
    if len(whole.inmb):
        curves(
            folder / "inmb",
            whole.inmb,
            "mean",
            by,
            f"Net benefit against {main.comparator}: {scenario}",
            f"INMB, {money} per patient",
            money,
            main.wtp,
            f"band: central 95 % of draws, {noise}",
            band=True,
        )
    if len(whole.plane):
        plane(folder / "ce_plane", whole.plane, whole.ellipse, by, where, money, main.wtp)
    if len(whole.convergence):
        convergence(folder / "convergence", whole.convergence, by, where, money)
    if len(found.waterfall):
        for name in _told(found):
            waterfall(folder / f"waterfall_{name}", found.waterfall, name, by, where, money)
    if len(found.budget):
        budget(folder / "budget", found.budget, by, where, money, found.patients_per_year or 0.0)


def _told(found: Economics) -> list[str]:
    """Strategies whose waterfall is drawn: those on the frontier and the best ones, at most six; all are in the table."""
    main, whole = found.stored[EVERYONE], found.whole
    names = [*whole.frontier["Strategy"], *whole.nmb.sort_values("Rank")["Strategy"]]
    return [name for name in dict.fromkeys(names) if name != main.comparator][:6]


def _legend(figure: Any, axes: Any, x: float = 0.70) -> None:
    handles, words = axes.get_legend_handles_labels()
    words = [textwrap.fill(text, 32) for text in words]
    figure.legend(handles, words, loc="upper left", bbox_to_anchor=(x, 0.925), fontsize=8, frameon=False)
    figure.subplots_adjust(left=0.105, right=x - 0.015, top=0.92, bottom=0.19)


def note(figure: Any, text: str, width: int = 135) -> None:
    """A caption at the foot of a figure."""
    figure.text(0.012, 0.012, textwrap.fill(text, width), fontsize=8, color="#444444", va="bottom", ha="left")


def thousands(axis: Any) -> None:
    """Numbers with separators on an axis."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _wtp_lines(axes: Any, wtp: Sequence[float]) -> None:
    for amount in wtp:
        axes.axvline(amount, color=GREY, linewidth=0.8, linestyle=(0, (2, 2)), zorder=0)


def frontier(
    path: Path, icer: pd.DataFrame, by: Mapping[str, Any], where: str, money: str, wtp: Sequence[float]
) -> None:
    """Costs against QALYs with the efficiency frontier; the label of each strategy beside its point."""
    figure, grid = new_figure(9.0, 5.6)
    axes = grid[0, 0]
    table = icer[icer["Cost"].notna()]
    on = table[table["Status"] == "ND"].sort_values("Cost")
    axes.plot(on["Effect"], on["Cost"], color="#222222", linewidth=1.2, zorder=1, label="efficiency frontier")
    for row in table.to_dict("records"):
        words, style = by[row["Strategy"]]
        filled = row["Status"] == "ND"
        axes.scatter(
            row["Effect"],
            row["Cost"],
            s=55,
            color=style.colour if filled else "white",
            edgecolor=style.colour,
            linewidth=1.6,
            zorder=3,
            marker=_marker(style),
            label=f"{words} ({row['Status']})",
        )
    thousands(axes.yaxis)
    tidy(axes)
    axes.set_xlabel("QALYs per patient, discounted", fontsize=10)
    axes.set_title(f"Cost and QALYs: {where}, {money} per patient", loc="left", fontsize=11)
    _legend(figure, axes)
    note(
        figure,
        "Filled: on the frontier (ND). Open: D dominated, ED extended dominance. Strategies with a drug without a price "
        "are left out.",
    )
    save(figure, path)


def _marker(style: Any) -> str:
    """Three marks for the three line styles, so that points differ as lines do."""
    if isinstance(style.dashes, str):
        return "o"
    return "s" if style.dashes[1][0] > 2 else "^"


def curves(
    path: Path,
    table: pd.DataFrame,
    column: str,
    by: Mapping[str, Any],
    title: str,
    what: str,
    money: str,
    wtp: Sequence[float],
    words_below: str,
    front: pd.DataFrame | None = None,
    band: bool = False,
    log: bool = False,
) -> None:
    """A line for each strategy over willingness to pay; `front` marks the frontier on acceptability curves."""
    figure, grid = new_figure(9.0, 5.4)
    axes = grid[0, 0]
    top = float(table[column].abs().max())
    for name in dict.fromkeys(table["Strategy"]):
        part = table[table["Strategy"] == name]
        words, style = by[name]
        shown = part[column].to_numpy()
        # A strategy that is never in question only crowds the legend.
        if column == "Proportion" and shown.max() < 0.01:
            continue
        axes.plot(part["WTP"], shown, color=style.colour, linestyle=style.dashes, linewidth=1.8, label=words)
        if band:
            axes.fill_between(part["WTP"], part["lower"], part["upper"], color=style.colour, alpha=0.10, linewidth=0)
    if front is not None:
        axes.plot(
            front["WTP"],
            front["Proportion"],
            color="#222222",
            linewidth=5,
            alpha=0.18,
            zorder=1,
            label="frontier: highest expected net benefit",
        )
        axes.set_ylim(0, 1.01)
    if band:
        axes.axhline(0.0, color="#222222", linewidth=0.8)
    if log and top > 0.0:
        positive = table.loc[table[column] > 0.0, column]
        axes.set_yscale("log")
        axes.set_ylim(max(float(positive.quantile(0.02)), top * 1e-5), top * 1.5)
    _wtp_lines(axes, wtp)
    tidy(axes)
    thousands(axes.xaxis)
    if column != "Proportion":
        thousands(axes.yaxis)
    axes.set_xlim(0, float(table["WTP"].max()))
    axes.set_xlabel(f"willingness to pay, {money} per QALY", fontsize=10)
    axes.set_ylabel(what, fontsize=10)
    axes.set_title(title, loc="left", fontsize=11)
    _legend(figure, axes)
    dropped = " Strategies below 1 % everywhere are not drawn." if column == "Proportion" else ""
    note(figure, f"{words_below[0].upper()}{words_below[1:]}. Dashed: the scenario's willingness to pay.{dropped}")
    save(figure, path)


def one_curve(
    path: Path,
    table: pd.DataFrame,
    column: str,
    title: str,
    money: str,
    wtp: Sequence[float],
    words_below: str,
    people: float | None,
) -> None:
    """EVPI over willingness to pay, per patient and for all who face the decision."""
    figure, grid = new_figure(8.0, 5.0)
    axes = grid[0, 0]
    x, y, error = (table[name].to_numpy() for name in ("WTP", column, "MCSE"))
    axes.plot(x, table[f"{column}_Raw"], color=GREY, linewidth=1.2)
    axes.plot(x, y, color="#332288", linewidth=2.0)
    axes.fill_between(x, np.maximum(y - 1.96 * error, 0.0), y + 1.96 * error, color="#332288", alpha=0.15, linewidth=0)
    _wtp_lines(axes, wtp)
    tidy(axes)
    axes.set_xlim(0, float(x.max()))
    axes.set_ylim(bottom=0)
    thousands(axes.xaxis)
    thousands(axes.yaxis)
    axes.set_xlabel(f"willingness to pay, {money} per QALY", fontsize=10)
    axes.set_ylabel(f"{money} per patient", fontsize=10)
    axes.set_title(title, loc="left", fontsize=11)
    if people:
        low, high = axes.get_ylim()
        other = axes.twinx()
        other.set_ylim(low * people / 1e6, high * people / 1e6)
        thousands(other.yaxis)
        other.set_ylabel(f"million {money} for {people:,.0f} patients (discounted)", fontsize=10)
        other.spines["top"].set_visible(False)
        other.tick_params(labelsize=9)
    figure.subplots_adjust(left=0.11, right=0.88, top=0.92, bottom=0.18)
    amounts = " and ".join(f"{amount:,.0f}" for amount in wtp)
    dashed = f" Dashed: a willingness to pay of {amounts} {money}." if amounts else ""
    note(figure, f"{words_below[0].upper()}{words_below[1:]}.{dashed}", 115)
    save(figure, path)


def plane(
    path: Path,
    draws: pd.DataFrame,
    ellipse: pd.DataFrame,
    by: Mapping[str, Any],
    where: str,
    money: str,
    wtp: Sequence[float],
) -> None:
    """The cost-effectiveness plane: the comparator at the origin, a cloud, its mean and an ellipse for each strategy."""
    figure, grid = new_figure(9.0, 5.8)
    axes = grid[0, 0]
    for name in dict.fromkeys(draws["Strategy"]):
        words, style = by[name]
        cloud = draws[draws["Strategy"] == name]
        few = cloud.iloc[:: max(len(cloud) // MOST_CLOUD, 1)]
        outline = ellipse[ellipse["Strategy"] == name]
        axes.scatter(few["Inc_Effect"], few["Inc_Cost"], s=4, color=style.colour, alpha=0.25, linewidth=0)
        axes.plot(outline["Inc_Effect"], outline["Inc_Cost"], color=style.colour, linestyle=style.dashes, linewidth=1.3)
        axes.scatter(
            cloud["Inc_Effect"].mean(),
            cloud["Inc_Cost"].mean(),
            s=50,
            color=style.colour,
            marker=_marker(style),
            edgecolor="white",
            linewidth=0.8,
            zorder=4,
            label=words,
        )
    axes.axhline(0.0, color="#222222", linewidth=0.8)
    axes.axvline(0.0, color="#222222", linewidth=0.8)
    limits = axes.get_xlim(), axes.get_ylim()
    for amount in wtp:
        x = np.array(limits[0])
        axes.plot(x, amount * x, color=GREY, linewidth=1.0, linestyle=(0, (4, 2)), zorder=0)
    axes.set_xlim(*limits[0])
    axes.set_ylim(*limits[1])
    tidy(axes)
    thousands(axes.yaxis)
    axes.set_xlabel("QALYs gained per patient", fontsize=10)
    axes.set_title(f"Cost-effectiveness plane: {where}, {money} more per patient", loc="left", fontsize=11)
    _legend(figure, axes)
    note(
        figure,
        "Ellipse: 95 % of draws, patients' noise removed. Dashed: willingness to pay; below it a strategy is worth its cost "
        "against the comparator.",
    )
    save(figure, path)


def convergence(path: Path, table: pd.DataFrame, by: Mapping[str, Any], where: str, money: str) -> None:
    """Running mean of INMB minus its last value: has it settled?"""
    figure, grid = new_figure(9.0, 5.0)
    axes = grid[0, 0]
    last = table[table["Draws"] == table["Draws"].max()].set_index("Strategy")
    for name in dict.fromkeys(table["Strategy"]):
        part = table[table["Strategy"] == name]
        words, style = by[name]
        axes.plot(
            part["Draws"],
            part["mean"] - last.loc[name, "mean"],
            color=style.colour,
            linestyle=style.dashes,
            linewidth=1.4,
            label=words,
        )
    widest = table[table["Strategy"] == last["mcse"].idxmax()]
    axes.fill_between(
        widest["Draws"], -1.96 * widest["mcse"], 1.96 * widest["mcse"], color=GREY, alpha=0.15, linewidth=0
    )
    tidy(axes)
    thousands(axes.yaxis)
    thousands(axes.xaxis)
    shown = 4.0 * 1.96 * float(last["mcse"].max())
    if shown > 0.0:
        axes.set_ylim(-shown, shown)
    axes.set_xlabel("draws", fontsize=10)
    axes.set_ylabel(f"running mean of INMB minus its last, {money}", fontsize=10)
    axes.set_title(f"Convergence: {where}", loc="left", fontsize=11)
    _legend(figure, axes)
    note(
        figure,
        f"Grey: 1.96 standard errors of the mean of the strategy with the largest error. INMB at "
        f"{table['WTP'].iloc[0]:,.0f} {money} per QALY.",
    )
    save(figure, path)


def waterfall(path: Path, table: pd.DataFrame, name: str, by: Mapping[str, Any], where: str, money: str) -> None:
    """What makes the difference in cost and in QALYs; parts add up to the total."""
    panels = [(o, what) for o, what in (("cost", f"cost, {money}"), ("qaly", "QALYs")) if (table["Outcome"] == o).any()]
    chosen = {
        o: _steps(table[(table["Outcome"] == o) & (table["Split"] == "part") & (table["Strategy"] == name)])
        for o, _ in panels
    }
    chosen = {o: steps for o, steps in chosen.items() if steps}
    if not chosen:
        return
    rows = max(len(steps) for steps in chosen.values())
    figure, grid = new_figure(11.0, 1.6 + 0.34 * rows, 1, len(chosen), share=False)
    for axes, (outcome, what) in zip(grid[0], [p for p in panels if p[0] in chosen], strict=True):
        steps = chosen[outcome]
        places = np.arange(len(steps))[::-1]
        for place, (words, start, end) in zip(places, steps, strict=True):
            colour = TOTAL if words == "total" else UP if end > start else DOWN
            axes.barh(place, end - start, left=start, color=colour, height=0.66)
            axes.text(
                max(start, end), place, f" {end - start:+,.{0 if outcome == 'cost' else 3}f}", va="center", fontsize=8
            )
        axes.set_yticks(places, [textwrap.shorten(words, 40) for words, _, _ in steps], fontsize=8)
        axes.axvline(0.0, color="#222222", linewidth=0.8)
        low, high = axes.get_xlim()
        axes.set_xlim(low, high + 0.18 * (high - low))
        tidy(axes, "x")
        if outcome == "cost":
            thousands(axes.xaxis)
            axes.tick_params(axis="x", labelrotation=20)
        axes.set_title(what, loc="left", fontsize=10)
    height = float(figure.get_size_inches()[1])
    figure.suptitle(f"{by[name][0]}: {where}", x=0.012, y=1 - 0.08 / height, ha="left", va="top", fontsize=11)
    figure.subplots_adjust(left=0.21, right=0.985, top=1 - 0.62 / height, bottom=0.85 / height, wspace=0.75)
    note(
        figure,
        "Paired patients: the parts add up to the total. Drug costs by drug, care by state, the rest by event. Red adds, blue "
        "takes away.",
        150,
    )
    save(figure, path)


def _steps(part: pd.DataFrame) -> list[tuple[str, float, float]]:
    """The largest parts, the rest in one, and the total: (words, start, end)."""
    rows = part[part["Part"] != "total"].to_dict("records")
    total = part[part["Part"] == "total"]
    if not rows or total.empty:
        return []
    # Categories whose name says all are not said twice.
    steps: list[tuple[str, float, float]] = []
    largest = max(abs(row["Increment"]) for row in rows)
    drawn = [row for row in rows[:MOST_PARTS] if abs(row["Increment"]) >= SMALLEST_PART * largest]
    for row in drawn:
        first, _, second = str(row["Part"]).partition(": ")
        words = second if first in ("quality of life", "time", second) and second else str(row["Part"])
        steps.append((words, row["Start"], row["End"]))
    if len(rows) > len(drawn):
        steps.append((f"{len(rows) - len(drawn)} more", steps[-1][2], rows[-1]["End"]))
    return [*steps, ("total", 0.0, float(total["Increment"].iloc[0]))]


def budget(path: Path, table: pd.DataFrame, by: Mapping[str, Any], where: str, money: str, patients: float) -> None:
    """Budget impact by calendar year, each strategy alone replacing the comparator."""
    from matplotlib.ticker import MaxNLocator

    figure, grid = new_figure(9.0, 5.0)
    axes = grid[0, 0]
    for name in dict.fromkeys(table["New"]):
        part = table[table["New"] == name]
        words, style = by[name]
        axes.plot(
            part["Year"],
            part["Budget_Impact"] / 1e6,
            color=style.colour,
            linestyle=style.dashes,
            linewidth=1.8,
            marker=_marker(style),
            markersize=5,
            label=words,
        )
    axes.axhline(0.0, color="#222222", linewidth=0.8)
    tidy(axes)
    thousands(axes.yaxis)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(f"million {money} a year", fontsize=10)
    axes.set_title(f"Budget impact: {where}", loc="left", fontsize=11)
    _legend(figure, axes)
    note(
        figure,
        f"Undiscounted. {patients:,.0f} new patients a year; each strategy alone takes patients from the comparator as "
        "inputs/ say.",
    )
    save(figure, path)
