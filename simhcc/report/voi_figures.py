"""Figures of the value of information: bars of EVPPI, curves of EVPI, EVSI and ENBS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from simhcc.report.decision_figures import note, one_curve, thousands
from simhcc.report.figures import new_figure, save, tidy
from simhcc.report.plain import shortened
from simhcc.report.voi import worth_showing

BARS = 20
BLUE, GREY, GREEN = "#332288", "#999999", "#117733"


def draw(folder: Path, found: Any) -> None:
    """Write the figures into an existing folder."""
    money = found.stored.currency or "money"
    people = found.population.size() if found.population is not None else None
    one_curve(
        folder / "evpi",
        found.evpi,
        "EVPI",
        "Expected value of perfect information",
        money,
        [found.wtp],
        "grey: with patients' noise; band: 1.96 standard errors",
        people,
    )
    perfect = float(found.evpi.loc[found.evpi["WTP"] == found.wtp, "EVPI"].iloc[0])
    for name, table, title in (
        ("evppi", found.groups, "Value of knowing a group of parameters"),
        ("evppi_single", found.singles, "Value of knowing one parameter"),
    ):
        if len(table):
            some = worth_showing(table)
            table = some if len(some) else table[table["SE"].notna()]
        if len(table):
            bars(folder / name, table.head(BARS), f"{title}, {found.wtp:,.0f} {money} per QALY", money, perfect)
    if found.trial is not None:
        trial(folder / "evsi", found, money, perfect)


def bars(path: Path, table: pd.DataFrame, title: str, money: str, perfect: float) -> None:
    """EVPPI with 1.96 standard errors, largest first; the dashed line is EVPI."""
    figure, grid = new_figure(9.0, 1.6 + 0.3 * len(table))
    axes = grid[0, 0]
    places = np.arange(len(table))[::-1]
    values, errors = table["EVPPI"].to_numpy(), 1.96 * table["SE"].to_numpy()
    axes.barh(places, values, color=BLUE, height=0.66)
    # An error below nothing cannot be.
    axes.errorbar(
        values,
        places,
        xerr=[np.minimum(errors, values), errors],
        fmt="none",
        ecolor="#222222",
        elinewidth=1.0,
        capsize=2,
    )
    axes.axvline(perfect, color=GREY, linestyle=(0, (3, 2)), linewidth=1.2)
    axes.set_yticks(places, shortened([str(name) for name in table["Group"]]), fontsize=8)
    axes.set_xlim(left=0.0)
    tidy(axes, "x")
    thousands(axes.xaxis)
    axes.set_xlabel(f"{money} per patient", fontsize=10)
    axes.set_title(title, loc="left", fontsize=11)
    height = float(figure.get_size_inches()[1])
    figure.subplots_adjust(left=0.42, right=0.97, top=1 - 0.45 / height, bottom=0.95 / height)
    note(figure, "Bars: EVPPI; lines: 1.96 standard errors; dashed: EVPI, patients' noise removed.", 120)
    save(figure, path)


def trial(path: Path, found: Any, money: str, perfect: float) -> None:
    """EVSI per patient and, where the population is known, the expected net benefit of sampling."""
    table, net = found.trial.evsi, found.trial.enbs
    figure, grid = new_figure(10.0 if len(net) else 6.0, 4.6, 1, 2 if len(net) else 1, share=False)
    axes = grid[0, 0]
    axes.errorbar(
        table["n"],
        table["EVSI"],
        yerr=1.96 * table["SE"],
        color=BLUE,
        marker="o",
        markersize=5,
        linewidth=1.6,
        capsize=2,
    )
    axes.axhline(perfect, color=GREY, linestyle=(0, (3, 2)), linewidth=1.2)
    axes.set_ylim(bottom=0.0)
    axes.set_ylabel(f"EVSI, {money} per patient", fontsize=10)
    axes.set_title(f"Trial {found.trial.id}", loc="left", fontsize=11)
    if len(net):
        other = grid[0, 1]
        other.plot(
            net["n"],
            net["Population_EVSI"] / 1e6,
            color=BLUE,
            marker="o",
            markersize=4,
            linewidth=1.2,
            label="EVSI of all patients",
        )
        other.plot(
            net["n"],
            net["Study_Cost"] / 1e6,
            color=GREY,
            linewidth=1.2,
            linestyle=(0, (4, 2)),
            label="cost of the trial",
        )
        other.plot(
            net["n"],
            net["ENBS"] / 1e6,
            color=GREEN,
            marker="s",
            markersize=4,
            linewidth=2.0,
            label="net benefit (ENBS)",
        )
        other.axhline(0.0, color="#222222", linewidth=0.8)
        other.set_ylabel(f"million {money}", fontsize=10)
        other.legend(fontsize=8.5, frameon=False)
        other.set_title(f"at {found.wtp:,.0f} {money} per QALY", loc="left", fontsize=11)
    for each in grid[0]:
        tidy(each)
        thousands(each.yaxis)
        thousands(each.xaxis)
        each.set_xlabel("randomised patients", fontsize=10)
    figure.subplots_adjust(left=0.1 if len(net) else 0.15, right=0.98, top=0.9, bottom=0.22, wspace=0.3)
    note(
        figure,
        f"Lines: 1.96 standard errors; dashed: EVPI. The trial reports after {found.trial.delay_years:.1f} years.",
        130,
    )
    save(figure, path)
