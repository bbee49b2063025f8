"""`simhcc reference`: the results that the documentation quotes, from nothing, by one command.

For each scenario a base case and a probabilistic analysis are run; small tables and a few figures go to
`results/reference/SCENARIO/`, and `docs/results.md` says in words what they show. Every sentence of it is made here from
the tables, so that it stays true when numbers change.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from simhcc.errors import InputError
from simhcc.report import command
from simhcc.report.voi import Request as VoiRequest
from simhcc.report.voi import value_of_information
from simhcc.runner import publish

SCENARIOS = ("resectable", "intermediate", "advanced", "resectable_us", "intermediate_us", "advanced_us")

FIGURES = ("ceac", "frontier", "survival_os")
OUTCOMES = ("os_12m", "os_36m", "os_60m", "median_os_months", "ly", "qaly", "cost")
KEPT = {
    "nmb": "nmb.csv",
    "evpi": "evpi.csv",
    "price_thresholds": "price_thresholds.csv",
    "noise": "noise.csv",
    "strata": "strata.csv",
    "budget": "budget.csv",
    "ceac": "ceac.csv",
}
DRIVERS = 3
"""parts of a difference and groups of parameters that the words name"""
UNCERTAIN = 0.9
"""a probability of being best below this is called open"""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to run and where to write."""

    scenarios: Sequence[str] = SCENARIOS
    patients: int
    iterations: int
    patients_per_iteration: int
    reference: Path = Path("results/reference")
    document: Path = Path("docs/results.md")
    threads: int | None = None
    overwrite: bool = False


@dataclass(frozen=True, eq=False)
class Setting:
    """One scenario's results as the words need them."""

    name: str
    record: dict[str, Any]
    about: dict[str, Any]
    base: pd.DataFrame
    base_icer: pd.DataFrame
    summary: pd.DataFrame
    icer: pd.DataFrame
    tables: dict[str, pd.DataFrame]
    waterfall: pd.DataFrame
    voi: dict[str, Any]


def generate(request: Request, *, quiet: bool = False, say: Callable[[str], None] = lambda text: None) -> list[Path]:
    """Run everything and write both places; returns what was written. Nothing is written before all runs are done.

    Raises InputError for sizes below what a probabilistic analysis needs and for places that are taken.
    """
    if request.iterations < 100:
        raise InputError(f"{request.iterations} iterations", "at least 100", key="--iterations")
    for place in (request.reference, request.document):
        if place.exists() and not request.overwrite:
            raise InputError(f"{place}, which is there already", "--overwrite, or another place", key="--overwrite")
    with tempfile.TemporaryDirectory(prefix="simhcc-reference-") as scratch:
        settings = []
        for name in request.scenarios:
            say(f"{name}: base case and {request.iterations:,} iterations")
            settings.append(_ran(name, request, Path(scratch), quiet, say))

        def fill(folder: Path) -> None:
            for setting in settings:
                _write(folder / setting.name, setting, Path(scratch))

        request.reference.parent.mkdir(parents=True, exist_ok=True)
        publish(request.reference.parent, request.reference.name, fill, replace=request.overwrite)
    text = document(settings, request)
    request.document.parent.mkdir(parents=True, exist_ok=True)
    request.document.write_text(text, encoding="utf-8")
    return [request.reference, request.document]


def _ran(name: str, request: Request, scratch: Path, quiet: bool, say: Callable[[str], None]) -> Setting:
    base_folder, psa_folder = scratch / name / "base", scratch / name / "psa"
    common: dict[str, Any] = {"scenario": name, "threads": request.threads}
    base = command.run_scenario(
        command.Request(patients=request.patients, iterations=1, subgroups=False, out=base_folder, **common),
        quiet=quiet,
        say=say,
    )
    psa = command.run_scenario(
        command.Request(
            patients=request.patients_per_iteration, iterations=request.iterations, out=psa_folder, **common
        ),
        quiet=quiet,
        say=say,
    )
    found = value_of_information(VoiRequest(results=psa_folder), quiet=quiet)
    economics = psa_folder / "economics"
    tables = {key: pd.read_csv(economics / file) for key, file in KEPT.items() if (economics / file).exists()}
    return Setting(
        name=name,
        record=dict(psa.record),
        about=json.loads((psa_folder / "psa" / "meta.json").read_text(encoding="utf-8")),
        base=base.tables.of("summary", "all"),
        base_icer=base.tables.of("icer", "all"),
        summary=psa.tables.of("summary", "all"),
        icer=psa.tables.of("icer", "all"),
        tables=tables,
        waterfall=pd.read_csv(economics / "waterfall.csv"),
        voi=found.as_object(),
    )


def _write(folder: Path, setting: Setting, scratch: Path) -> None:
    """Small tables and figures of one scenario."""
    folder.mkdir(parents=True)
    wtp = setting.about["wtp"]

    def keep(name: str, table: pd.DataFrame) -> None:
        if len(table):
            table.to_csv(folder / name, index=False, lineterminator="\n", float_format="%.6g")

    keep("base_summary.csv", setting.base[setting.base["outcome"].isin(OUTCOMES)].drop(columns="subgroup"))
    keep("base_icer.csv", setting.base_icer.drop(columns="subgroup"))
    keep("psa_summary.csv", setting.summary[setting.summary["outcome"].isin(OUTCOMES)].drop(columns="subgroup"))
    keep("psa_icer.csv", setting.icer.drop(columns="subgroup"))
    for key, table in setting.tables.items():
        some = table[table["subgroup"] == "all"] if "subgroup" in table.columns and key != "nmb" else table
        if key in ("ceac", "evpi"):
            some = some[some["WTP"].isin(wtp)]
        keep(f"psa_{KEPT[key]}", some)
    parts = setting.waterfall[setting.waterfall["Split"].isin(["part", "line"])]
    keep("psa_waterfall.csv", parts)
    keep("psa_evppi.csv", pd.DataFrame(setting.voi["evppi"]))
    keep("psa_evppi_single.csv", pd.DataFrame(setting.voi["evppi_single"]).head(20))
    for name in FIGURES:
        source = scratch / setting.name / "psa" / "figures" / f"{name}.png"
        if source.exists():
            shutil.copyfile(source, folder / source.name)
    about = setting.about | {"command": setting.record["command"], "versions": setting.record["versions"]}
    (folder / "about.json").write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


# ---------------------------------------------------------------------------------------------------------------------
# Words

HEAD = """\
# Results

Written by `simhcc reference`; do not edit. Everything here comes from the tables in `results/reference/`, which the same
command writes. {sizes}

Read it with this in mind. What the numbers rest on stands in `simhcc check SCENARIO`: {grades}. Trials are compared with
what they published in `docs/trials.md` and `docs/model.md`; where the model misses them, its decisions inherit the miss.
Costs and QALYs are discounted. "Best" means the highest expected net monetary benefit at the stated willingness to pay
among strategies whose drugs have a price. Intervals are the central 95 % over the uncertain numbers; patients' luck has been
taken out of probabilities, expected loss and EVPI. Prices are known to whoever decides: they are fixed here and changed
with `simhcc reprice`.
"""


def document(settings: Sequence[Setting], request: Request) -> str:
    """The page `docs/results.md`."""
    from simhcc.inputs import load_parameters

    found = load_parameters()
    counts = pd.Series([p.grade for p in found.values()]).value_counts()
    grades = ", ".join(f"{count} {grade}" for grade, count in counts.items())
    recalled = sum(1 for p in found.values() if p.recalled)
    sizes = (
        f"Base cases: {request.patients:,} patients a strategy. Probabilistic: {request.iterations:,} draws of "
        f"{request.patients_per_iteration:,} patients."
    )
    parts = [HEAD.format(sizes=sizes, grades=f"{grades}; {recalled} of them recalled and not yet checked")]
    for setting in settings:
        parts.append(_section(setting))
    return "\n".join(parts)


def _section(s: Setting) -> str:
    about, wtp = s.about, float(s.about["wtp"][0])
    money = about["currency"]
    labels = s.record["strategies"]
    lines = [
        f"## {s.record['label']}",
        "",
        f"`{s.name}`: population `{about['population']}`, {str(about['perspective']).replace('_', ' ')} perspective, {money} of "
        f"{about['price_year']:.0f}, {about['price_panel']} prices, {100 * about['discount_rate_costs']:.0f} % for costs and "
        f"{100 * about['discount_rate_effects']:.0f} % for effects, comparator `{about['comparator']}`, willingness to pay "
        f"{wtp:,.0f} per QALY.",
        "",
        *_table(s, wtp, money),
        "",
        *(line for sentence in _reading(s, wtp, money, labels) for line in (sentence, "")),
        f"![Acceptability](../results/reference/{s.name}/ceac.png)",
        "",
    ]
    return "\n".join(lines)


def _table(s: Setting, wtp: float, money: str) -> list[str]:
    base = s.base.pivot(index="strategy", columns="outcome", values="mean")
    error = s.base.pivot(index="strategy", columns="outcome", values="mcse")
    nmb = s.tables["nmb"]
    nmb = nmb[(nmb["subgroup"] == "all") & (nmb["WTP"] == wtp)].set_index("Strategy")
    ceac = s.tables["ceac"]
    ceac = ceac[(ceac["subgroup"] == "all") & (ceac["WTP"] == wtp)].set_index("Strategy")
    status = s.base_icer.set_index("Strategy")["Status"]
    head = ["strategy", "OS 1 y", "OS 3 y", "OS 5 y", "QALYs", f"cost ({money})", "status", "INMB (PSA)", "P(best)"]
    rows = []
    for name in s.record["strategies"]:
        row = [f"`{name}`"]
        row += [f"{100 * base.loc[name, key]:.1f} %" for key in ("os_12m", "os_36m", "os_60m")]
        row.append(f"{base.loc[name, 'qaly']:.2f} ±{error.loc[name, 'qaly']:.2f}")
        cost = base.loc[name, "cost"]
        row.append("-" if pd.isna(cost) else f"{cost:,.0f}")
        row.append(str(status.get(name, "-")))
        if name in nmb.index and not pd.isna(nmb.loc[name, "INMB"]):
            found = nmb.loc[name]
            row.append(f"{found['INMB']:+,.0f} [{found['lower']:,.0f}, {found['upper']:,.0f}]")
        else:
            row.append("comparator" if name == s.about["comparator"] else "-")
        row.append(f"{100 * ceac.loc[name, 'Proportion']:.0f} %" if name in ceac.index else "-")
        rows.append(row)
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return [
        *lines,
        "",
        "Survival, QALYs (± Monte-Carlo standard error) and costs: base case. Status: ND on the frontier, D dominated, ED "
        "extended dominance.",
    ]


def _reading(s: Setting, wtp: float, money: str, labels: dict[str, str]) -> list[str]:
    """What drives the decision, in sentences made of the tables."""
    nmb = s.tables["nmb"]
    nmb = nmb[(nmb["subgroup"] == "all") & (nmb["WTP"] == wtp)].sort_values("Rank")
    ceac = s.tables["ceac"]
    chances = ceac[(ceac["subgroup"] == "all") & (ceac["WTP"] == wtp)].set_index("Strategy")["Proportion"]
    best, second = nmb["Strategy"].iloc[0], nmb["Strategy"].iloc[1]
    gap = float(nmb["NMB"].iloc[0] - nmb["NMB"].iloc[1])
    chance = float(chances[best])
    sure = "clearly" if chance >= UNCERTAIN else "not surely"
    lines = [
        f"**What the tables say.** {labels[best] or best} has the highest expected net benefit, {sure}: it is best in "
        f"{100 * chance:.0f} % of draws, {gap:,.0f} {money} ahead of {labels[second] or second}.",
    ]
    lines += _icer_words(s, labels, money)
    about = best if best != s.about["comparator"] else second
    lines += [_drivers(s, about, labels, money)]
    lines += _information_words(s, money)
    lines += _threshold_words(s, labels, money)
    if "strata" in s.tables and len(s.tables["strata"]):
        row = s.tables["strata"].iloc[0]
        gain, error = float(row["Value"]), float(row["MCSE"])
        if gain > 2.0 * error:
            lines.append(f"Choosing by subgroup would gain {gain:,.0f} ±{error:,.0f} {money} per patient.")
        else:
            lines.append("The same strategy is best in every subgroup, as far as the draws can tell.")
    return lines


def _icer_words(s: Setting, labels: dict[str, str], money: str) -> list[str]:
    icer = s.icer[s.icer["Status"] == "ND"].sort_values("Cost")
    steps = [
        f"{labels[row['Strategy']] or row['Strategy']} at {row['ICER']:,.0f}"
        for row in icer.to_dict("records")
        if not pd.isna(row["ICER"])
    ]
    first = icer["Strategy"].iloc[0]
    if not steps:
        return [f"{labels[first] or first} costs least and does most: it dominates all others."]
    return [f"From {labels[first] or first} the frontier goes to {', then '.join(steps)} {money} per QALY gained."]


def _drivers(s: Setting, name: str, labels: dict[str, str], money: str) -> str:
    table = s.waterfall[(s.waterfall["Strategy"] == name) & (s.waterfall["Split"] == "part")]
    words = []
    for outcome, unit, places in (("cost", money, 0), ("qaly", "QALYs", 2)):
        part = table[(table["Outcome"] == outcome) & (table["Part"] != "total")]
        total = table[(table["Outcome"] == outcome) & (table["Part"] == "total")]
        if part.empty or total.empty:
            continue
        largest = part.reindex(part["Increment"].abs().sort_values(ascending=False).index).head(DRIVERS)
        named = ", ".join(
            f"{str(row['Part']).removeprefix('quality of life: ')} {row['Increment']:+,.{places}f}"
            for row in largest.to_dict("records")
        )
        words.append(f"{total['Increment'].iloc[0]:+,.{places}f} {unit} ({named})")
    if not words:
        return ""
    return f"Against `{s.about['comparator']}`, {labels[name] or name} makes a difference of {' and '.join(words)}."


def _information_words(s: Setting, money: str) -> list[str]:
    perfect = s.voi["evpi"][0]
    worth = perfect["EVPI"]
    lines = [f"Knowing everything would be worth {worth:,.0f} ±{perfect['MCSE']:,.0f} {money} per patient (EVPI)"]
    groups = [row for row in s.voi["evppi"] if row["EVPPI"] and row["SE"] and row["EVPPI"] > row["SE"]][:DRIVERS]
    if groups and worth > 0.0:
        named = ", ".join(f"`{row['Group']}` {row['EVPPI']:,.0f} ±{row['SE']:,.0f}" for row in groups)
        lines[0] += f"; the decision hangs most on {named}."
    else:
        lines[0] += "; no single group of numbers stands out."
    return lines


def _threshold_words(s: Setting, labels: dict[str, str], money: str) -> list[str]:
    unpriced = s.about["strategies_without_price"]
    table = s.tables.get("price_thresholds", pd.DataFrame())
    lines: list[str] = []
    for name, drugs in unpriced.items():
        for against in ("all", s.about["comparator"]):
            rows = table[(table["Strategy"] == name) & (table["Against"] == against)] if len(table) else table
            if rows.empty:
                continue
            row = rows.iloc[0]
            rivals = "all priced strategies" if against == "all" else f"`{against}`"
            what = "for both, per patient" if len(drugs) > 1 else f"a unit of {drugs[0]}"
            never = 100.0 * row["P_Never"]
            if pd.isna(row["Threshold"]):
                words = f"it would not be better even for nothing ({never:.0f} % of draws)"
            else:
                words = (
                    f"it would be better up to {row['Threshold']:,.0f} [{row['lower']:,.0f}, {row['upper']:,.0f}] {money} "
                    f"{what} (at no price in {never:.0f} % of draws)"
                )
            lines.append(f"{labels[name] or name} has no price for {' and '.join(drugs)}; against {rivals} {words}.")
    return lines
