"""Figures of a run: survival curves by endpoint, state occupancy by strategy."""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from simhcc.report.tables import EVERYONE, Tables
from simhcc.report.terminal import ENDPOINTS

# Tol's "muted" scheme and black, told apart with every common colour blindness (P. Tol, Colour Schemes, SRON/EPS/TN/09-002).
COLOURS = (
    "#222222", "#332288", "#CC6677", "#117733", "#88CCEE", "#882255", "#999933", "#44AA99", "#AA4499", "#DDCC77",
)  # fmt: skip
DASHES: tuple[Any, ...] = ("solid", (0, (5, 1.6)), (0, (1.2, 1.2)))
SETTING_ORDER = (
    (
        "surgery_alone", "perioperative_camre_rivo", "adjuvant_sorafenib", "adjuvant_atezo_bev", "adjuvant_pembrolizumab",
        "adjuvant_tace", "perioperative_mpr_guided",
    ),
    (
        "tace_sequential", "tace_len_pembro", "tace_durva_bev", "burden_stratified", "tace_atezo_bev", "systemic_first",
        "haic_systemic", "conversion_resection", "resectability_then_burden", "tace_camre_rivo", "tace_stride",
        "tace_stride_len", "conversion_no_surgery", "haic_alone", "tace_then_len_pembro", "tace_then_camre_rivo",
        "burden_cutoffs",
    ),
    (
        "sorafenib", "atezo_bev", "response_adapted", "conversion_surgery", "lenvatinib", "stride", "len_pembro", "nivo_ipi",
        "on_demand_local", "camre_rivo", "best_supportive_care", "sintilimab_bev", "atezo_bev_tiragolumab",
        "atezo_bev_ipilimumab", "run_in_then_resection", "run_in_then_continued", "response_cutoffs",
    ),
    ("pathway_usual_2020", "pathway_review_2025"),
)  # fmt: skip
"""strategies of the four settings; the place in its tuple gives a strategy its colour and line, in every figure"""
WORDS = {
    "os": "Overall survival",
    "rfs": "Recurrence-free survival",
    "efs": "Event-free survival",
    "pfs": "Progression-free survival",
    "ttf": "Time to treatment failure",
    "tace_pfs": "TACE progression-free survival",
}
YEARS_SHOWN = 10.0
SMALLEST_SHARE = 0.02
DPI = 150


class Style(NamedTuple):
    """Colour and dashes of a strategy."""

    colour: str
    dashes: Any


def styles(strategies: Sequence[str]) -> dict[str, Style]:
    """The fixed style of each strategy; a user's own gets one from its name, the next free one if that is taken."""
    places = len(COLOURS) * len(DASHES)
    known = {name: place for group in SETTING_ORDER for place, name in enumerate(group)}
    taken: dict[str, int] = {}
    for name in (*(n for n in strategies if n in known), *(n for n in strategies if n not in known)):
        place = known.get(name, int.from_bytes(hashlib.blake2s(name.encode()).digest()[:2], "little") % len(COLOURS))
        while place in taken.values() and len(taken) < places:
            place = (place + 1) % places
        taken[name] = place
    return {
        name: Style(COLOURS[p % len(COLOURS)], DASHES[p // len(COLOURS) % len(DASHES)]) for name, p in taken.items()
    }


def draw_figures(folder: Path, tables: Tables, record: Mapping[str, Any]) -> None:
    """Write the figures of a run as PNG and SVG into a new folder."""
    folder.mkdir(parents=True)
    endpoints = ("os", *ENDPOINTS.get(str(record["setting"]), ()))
    for group in tables.groups.to_dict("records"):
        name = str(group["subgroup"])
        curves = tables.of("curves", name)
        for endpoint in endpoints if name == EVERYONE else ("os",):
            chosen = curves[curves["endpoint"] == endpoint]
            if not chosen.empty:
                suffix = "" if name == EVERYONE else f"_{name}"
                place = "" if name == EVERYONE else f", {group['label']}"
                _survival(
                    folder / f"survival_{endpoint}{suffix}", chosen, endpoint, record, place, int(group["patients"])
                )
    occupancy = tables.of("occupancy", EVERYONE)
    if not occupancy.empty:
        _occupancy(folder / "occupancy", occupancy, record)


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, *, share: bool = True) -> tuple[Any, Any]:
    """A figure without pyplot: nothing global, no window system."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI)
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, sharex=share, sharey=share)


def save(figure: Any, path: Path) -> None:
    """Write PATH.png and PATH.svg."""
    import matplotlib as mpl

    # Without dates and random ids, so that the same results give the same files.
    with mpl.rc_context({"svg.hashsalt": "simhcc", "svg.fonttype": "none"}):
        figure.savefig(path.with_suffix(".png"), metadata={"Software": None})
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None, "Creator": "simhcc"})


def tidy(axes: Any, lines: str = "y") -> None:
    """Light axes: no box, thin lines along one axis."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis=lines, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9)


def _percent(value: float, _: Any = None) -> str:
    return f"{100 * value:.0f} %"


def _years_shown(months: pd.Series, share: pd.Series) -> float:
    """Up to ten years; less where almost everybody has had the event before."""
    left = months[share > SMALLEST_SHARE]
    last = float(left.max()) if len(left) else 12.0
    return float(min(YEARS_SHOWN, max(1.0, np.ceil(last / 12.0)), float(months.max()) / 12.0))


def _survival(
    path: Path, curves: pd.DataFrame, endpoint: str, record: Mapping[str, Any], place: str, patients: int
) -> None:
    from matplotlib.ticker import FuncFormatter

    labels: Mapping[str, str] = record["strategies"]
    chosen = styles(list(labels))
    figure, grid = new_figure(9.0, 5.4)
    axes = grid[0, 0]
    years = _years_shown(curves["months"], curves["free"])
    several = int(record["iterations"]) > 1
    worst = 0.0
    for name in [n for n in labels if n in set(curves["strategy"])]:
        curve = curves[(curves["strategy"] == name) & (curves["months"] <= 12.0 * years)]
        x, y, error = (curve[column].to_numpy() for column in ("months", "free", "mcse"))
        half = 1.96 * (curve["sd"].to_numpy() if several else error)
        style = chosen[name]
        # The comparator is drawn wide and below, so that it shows where another curve lies on it.
        width, order = (3.4, 1.9) if name == record["comparator"] else (1.7, 2.0)
        line = {"color": style.colour, "linestyle": style.dashes, "linewidth": width, "zorder": order}
        axes.plot(x / 12.0, y, label=labels[name] or name, **line)
        low, high = np.clip(y - half, 0.0, 1.0), np.clip(y + half, 0.0, 1.0)
        axes.fill_between(x / 12.0, low, high, color=style.colour, alpha=0.12, linewidth=0)
        worst = max(worst, float(np.nanmax(error)))
    tidy(axes)
    axes.set_xlim(0, years)
    axes.set_ylim(0, 1.005)
    axes.xaxis.set_major_locator(_whole_years(years))
    axes.yaxis.set_major_formatter(FuncFormatter(_percent))
    axes.set_xlabel("years", fontsize=10)
    axes.set_title(f"{WORDS.get(endpoint, endpoint)}: {record['scenario']}{place}", loc="left", fontsize=12)
    handles, words = axes.get_legend_handles_labels()
    words = [textwrap.fill(text, 30) for text in words]
    figure.legend(handles, words, loc="upper left", bbox_to_anchor=(0.695, 0.925), fontsize=8.5, frameon=False)
    figure.subplots_adjust(left=0.075, right=0.68, top=0.92, bottom=0.17)
    each = f" in each of {record['iterations']:,} iterations" if several else ""
    band = "1.96 standard deviations over iterations" if several else "95 % Monte-Carlo interval"
    caption = (
        f"{patients:,} simulated patients per strategy{each}, common random numbers. Band: {band}; "
        f"Monte-Carlo standard error of a point at most {_significant(100 * worst)} percentage points."
    )
    _caption(figure, caption, 125)
    save(figure, path)


def _significant(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def _whole_years(years: float) -> Any:
    from matplotlib.ticker import MultipleLocator

    return MultipleLocator(1.0 if years <= 10 else 5.0)


def _caption(figure: Any, text: str, width: int) -> None:
    figure.text(0.012, 0.012, textwrap.fill(text, width), fontsize=8, color="#444444", va="bottom", ha="left")


STATE_COLOURS = {
    "awaiting_curative": "#66CCEE",
    "disease_free": "#4477AA",
    "local_control": "#228833",
    "systemic": "#CCBB44",
    "untreated_tumour": "#EE6677",
    "supportive": "#AA3377",
}
OTHER_COLOURS = ("#99DDAA", "#DDAA77", "#7788CC", "#BBCC99", "#888888")


def _occupancy(path: Path, table: pd.DataFrame, record: Mapping[str, Any]) -> None:
    from matplotlib.ticker import FuncFormatter

    labels: Mapping[str, str] = record["strategies"]
    names = [name for name in labels if name in set(table["strategy"])]
    states = [s for s in dict.fromkeys(table["state"]) if table.loc[table["state"] == s, "share"].max() > 0.0]
    alive = table.groupby(["strategy", "months"], sort=False)["share"].sum().reset_index()
    years = _years_shown(alive["months"], alive["share"])
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure, grid = new_figure(max(7.0, 3.2 * columns), 1.1 + 2.3 * rows, rows, columns)
    handles: list[Any] = []
    for position, name in enumerate(names):
        axes = grid[position // columns, position % columns]
        part = table[(table["strategy"] == name) & (table["months"] <= 12.0 * years)]
        wide = part.pivot(index="months", columns="state", values="share")[states]
        handles = axes.stackplot(
            wide.index.to_numpy() / 12.0,
            wide.to_numpy().T,
            colors=_state_colours(states),
            linewidth=0.3,
            edgecolor="white",
        )
        tidy(axes)
        axes.set_xlim(0, years)
        axes.set_ylim(0, 1.0)
        axes.xaxis.set_major_locator(_whole_years(years))
        axes.yaxis.set_major_formatter(FuncFormatter(_percent))
        axes.set_title(textwrap.fill(labels[name] or name, 38), loc="left", fontsize=9)
        if position + columns >= len(names):
            axes.set_xlabel("years", fontsize=9)
            axes.tick_params(labelbottom=True)
    for position in range(len(names), rows * columns):
        grid[position // columns, position % columns].set_visible(False)
    height = figure.get_size_inches()[1]
    figure.suptitle(
        f"Where patients are: {record['scenario']}", x=0.012, y=1 - 0.1 / height, ha="left", va="top", fontsize=12
    )
    figure.legend(
        handles[::-1],
        [state.replace("_", " ") for state in states][::-1],
        loc="lower left",
        bbox_to_anchor=(0.005, 0.3 / height),
        ncols=min(4, len(states)),
        fontsize=8.5,
        frameon=False,
    )
    legend_rows = -(-len(states) // min(4, len(states)))
    figure.subplots_adjust(
        left=0.55 / figure.get_size_inches()[0],
        right=0.985,
        top=1 - 0.62 / height,
        bottom=(0.85 + 0.2 * legend_rows) / height,
        hspace=0.42,
        wspace=0.1,
    )
    _caption(figure, f"{record['patients']:,} simulated patients per strategy; the white part above has died.", 120)
    save(figure, path)


def _state_colours(states: Sequence[str]) -> list[str]:
    """A state of the disease model has its colour in every figure; others take what is left, in order."""
    others = [state for state in states if state not in STATE_COLOURS]
    return [STATE_COLOURS.get(s) or OTHER_COLOURS[others.index(s) % len(OTHER_COLOURS)] for s in states]
