"""`simhcc reference`: the results that the documentation quotes, from nothing, by one command.

For each scenario a base case and a probabilistic analysis are run; small tables and a few figures go to
`results/reference/SCENARIO/`, and `docs/results.md` says in words what they show. Every sentence of it is made here from
the tables, so that it stays true when numbers change.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from simhcc.calibration.store import PRIOR_DRIVEN
from simhcc.economics import ceac
from simhcc.errors import InputError
from simhcc.inputs import Scenario, load_scenario
from simhcc.report import command
from simhcc.report.economics import STORED
from simhcc.report.folder import read_folder
from simhcc.report.tables import EVERYONE, UNPRICED
from simhcc.report.voi import Request as VoiRequest
from simhcc.report.voi import value_of_information
from simhcc.runner import publish
from simhcc.uncertainty.decision import without_noise
from simhcc.uncertainty.extrapolation import MODEL
from simhcc.uncertainty.question import FEWEST_PATIENTS as BEYOND_PATIENTS
from simhcc.uncertainty.question import names_in
from simhcc.uncertainty.stored import PANELS, StoredPsa, load

SCENARIOS = ("resectable", "intermediate", "advanced", "resectable_us", "intermediate_us", "advanced_us")

FIGURES = ("ceac", "frontier")
OUTCOMES = ("os_12m", "os_36m", "os_60m", "median_os_months", "ly", "qaly", "cost")
SURVIVAL = OUTCOMES[:3]
KEPT = {
    "nmb": "nmb.csv",
    "evpi": "evpi.csv",
    "price_thresholds": "price_thresholds.csv",
    "noise": "noise.csv",
    "strata": "strata.csv",
    "budget": "budget.csv",
    "ceac": "ceac.csv",
    "ceaf": "ceaf.csv",
    "loss": "expected_loss.csv",
}
CURVES = ("ceac", "ceaf", "loss", "evpi")
AMOUNTS = (0.5, 1.0, 2.0, 3.0)
"""multiples of the first willingness to pay at which curves are told"""
DRIVERS = 3
"""parts of a difference that the words name"""
GROUPS = 5
"""groups of parameters in a table"""
SURE, EVEN = 0.9, 0.5
"""probabilities of being best from which a decision is called clear, and more likely right than wrong"""
RARE = 0.95
"""share of draws without a price from which the band over the others says nothing"""
ERRORS = 2.0
"""standard errors within which nothing is called a difference"""


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


@dataclass(frozen=True)
class Lead:
    """The strategy with the highest expected net benefit, its chance, and how far it is ahead of the next one.

    `mcse` is the standard error of the mean over draws, patients' noise included; `lower` and `upper` hold 95 % of the
    draws without that noise.
    """

    best: str
    second: str
    chance: float
    chance_mcse: float
    gap: float
    mcse: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Origin:
    """Where the numbers that a scenario uses come from: how many of each grade, and what a calibration says of itself."""

    used: int
    uncertain: int
    grades: dict[str, int]
    recalled: int
    members: dict[str, dict[str, int]]
    """grades of the uncertain numbers in each evidence group"""
    calibrations: dict[str, list[str]]
    """stored posteriors that are drawn from -> what in them stayed prior-driven"""


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
    tails: pd.DataFrame
    """`extrapolations.csv` of the base case"""
    lead: Lead
    panels: dict[str, Lead]
    """the same draws at each panel of drug prices"""
    origin: Origin
    question: str
    note: str


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
    base, psa = scratch / name / "base", scratch / name / "psa"
    common: dict[str, Any] = {"scenario": name, "threads": request.threads}
    sizes: dict[str, Any] = {"patients": request.patients, "iterations": 1, "subgroups": False}
    command.run_scenario(command.Request(out=base, **sizes, **common), quiet=quiet, say=say)
    sizes = {"patients": request.patients_per_iteration, "iterations": request.iterations}
    command.run_scenario(command.Request(out=psa, **sizes, **common), quiet=quiet, say=say)
    value_of_information(VoiRequest(results=psa), quiet=quiet)
    return gathered(name, base, psa)


def gathered(name: str, base: Path, psa: Path) -> Setting:
    """What the words need, from the folders of a base case and of a probabilistic run with its value of information."""
    economics = psa / "economics"
    plain, record = read_folder(base)
    tables, record = read_folder(psa)
    found = json.loads((psa / "voi" / "voi.json").read_text(encoding="utf-8"))
    stored = load(economics / STORED)
    scenario = load_scenario(name)
    return Setting(
        name=name,
        record=dict(record),
        about=json.loads((psa / "psa" / "meta.json").read_text(encoding="utf-8")),
        base=plain.of("summary", EVERYONE),
        base_icer=plain.of("icer", EVERYONE),
        summary=tables.of("summary", EVERYONE),
        icer=tables.of("icer", EVERYONE),
        tables={key: pd.read_csv(economics / file) for key, file in KEPT.items() if (economics / file).exists()},
        waterfall=pd.read_csv(economics / "waterfall.csv"),
        voi=found,
        tails=_read(base / "extrapolations.csv"),
        lead=_lead(stored),
        panels={panel: _lead(stored.with_panel(panel)) for panel in PANELS},
        origin=_origin(scenario, [str(row["Group"]) for row in found["evppi"]]),
        question=scenario.question or "",
        note=scenario.note or "",
    )


def _read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path) if path.exists() else pd.DataFrame()


def _lead(stored: StoredPsa) -> Lead:
    """Who is best at the first willingness to pay, by how much, how surely."""
    wtp, raw, clean = stored.wtp[0], stored.psa(), without_noise(stored)
    benefit, smooth = wtp * raw.effects - raw.costs, wtp * clean.effects - clean.costs
    order = benefit.mean().sort_values(ascending=False).index
    best, second = str(order[0]), str(order[1])
    gap, spread = benefit[best] - benefit[second], smooth[best] - smooth[second]
    chances = _by(ceac(clean, [wtp]), "Strategy")
    low, high = np.quantile(spread.to_numpy(), [0.025, 0.975])
    return Lead(
        best,
        second,
        float(chances[best]["Proportion"]),
        float(chances[best]["MCSE"]),
        float(gap.mean()),
        float(gap.std(ddof=1) / np.sqrt(stored.draws)),
        float(low),
        float(high),
    )


def _origin(scenario: Scenario, groups: Sequence[str]) -> Origin:
    """Grades of the numbers that a scenario's question refers to."""
    parameters = scenario.load_parameters()
    evaluation, _, _ = command.assembled(replace(scenario, patients=64, iterations=1), parameters)
    named = names_in(evaluation)
    used = [name for name in parameters if name in named]
    uncertain = set(parameters.uncertain())

    def grades(names: Sequence[str]) -> dict[str, int]:
        counts = Counter(parameters[name].grade for name in names)
        return {grade: counts[grade] for grade in sorted(counts, key=lambda g: -counts[g])}

    drawn = [n for n in used if n in uncertain]
    return Origin(
        used=len(used),
        uncertain=len(drawn),
        grades=grades(used),
        recalled=sum(parameters[name].recalled for name in used),
        members={g: grades([n for n in drawn if n == g or n.startswith(f"{g}.")]) for g in groups},
        calibrations={
            found.id: [str(n) for n in (found.manifest.get("fit") or {}).get("prior_driven", ()) if n in used]
            for found in parameters.posteriors
            if set(found.parameters) & set(used)
        },
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
        if key in CURVES:
            some = some[some["WTP"].isin([*wtp, *_amounts(setting)])]
        keep(f"psa_{KEPT[key]}", some)
    parts = setting.waterfall[setting.waterfall["Split"].isin(["part", "line"])]
    keep("psa_waterfall.csv", parts)
    keep("base_beyond_last_landmark.csv", setting.tails)
    panels = [{"Panel": panel} | asdict(lead) for panel, lead in setting.panels.items()]
    keep("psa_price_panels.csv", pd.DataFrame(panels))
    keep("psa_evppi.csv", pd.DataFrame(setting.voi["evppi"]))
    keep("psa_evppi_single.csv", pd.DataFrame(setting.voi["evppi_single"]).head(20))
    for name in FIGURES:
        source = scratch / setting.name / "psa" / "figures" / f"{name}.png"
        if source.exists():
            shutil.copyfile(source, folder / source.name)
    # The commit that holds these files cannot be named in them; the fingerprint says which inputs they come from.
    about = {key: value for key, value in setting.about.items() if key != "git_commit"}
    about |= {"numbers": asdict(setting.origin)}
    about |= {"command": setting.record["command"], "versions": setting.record["versions"]}
    (folder / "about.json").write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


# ---------------------------------------------------------------------------------------------------------------------
# Words

HEAD = """\
# Results

Written by `simhcc reference`; do not edit. Every number and every sentence on results is made from the tables in
`results/reference/`, which the same command writes:

```
{command}
```

{sizes}

How to read it:

- "Best" is the highest expected net monetary benefit (NMB) at the stated willingness to pay, among strategies whose drugs all
  have a price. P(best) is the share of draws in which a strategy is. A decision is called *clear* where P(best) less two standard
  errors is at least {sure:.0f} %.
- ± is a Monte-Carlo standard error: of simulated patients in a base case, of draws and patients in a mean over draws. [ ] holds
  95 % of the draws: what is not known about the numbers. Patients' luck is removed from [ ], P(best), expected loss, EVPI and
  EVPPI.
- Costs and QALYs are discounted, over a lifetime. Prices are known to whoever decides: they are fixed over the draws, and shown at
  both panels. `simhcc reprice` changes them.
{calibrated}
- What the model says of trials, and where it misses them, stands in `docs/trials.md`, `docs/trial-arms.md` and
  `docs/validation.md`: a decision inherits the misses of its arms. `simhcc why NAME` tells where a number comes from.
"""


def document(settings: Sequence[Setting], request: Request) -> str:
    """The page `docs/results.md`."""
    sizes = (
        f"Base cases: {request.patients:,} patients a strategy, the same for all. Probabilistic: {request.iterations:,} draws\n"
        f"of all uncertain numbers together, {request.patients_per_iteration:,} patients each."
    )
    asked = f"simhcc reference --iterations {request.iterations} --patients {request.patients}"
    asked += f" --patients-per-iteration {request.patients_per_iteration}"
    parts = [
        HEAD.format(command=asked, sizes=sizes, sure=100 * SURE, calibrated=_bullet(_calibrated(settings))),
        *_short(settings),
    ]
    parts += [_section(setting) for setting in settings]
    return "\n".join(parts)


def _bullet(text: str) -> str:
    """A point of a list, in lines that a page of Markdown has."""
    return textwrap.fill(f"- {text}", 128, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _calibrated(settings: Sequence[Setting]) -> str:
    """What was fitted to trials and what was not, over all scenarios."""
    found: dict[str, list[str]] = {}
    for setting in settings:
        for name, prior in setting.origin.calibrations.items():
            found.setdefault(name, [])
            found[name] += [n for n in prior if n not in found[name]]
    if not found:
        return "**No number has been fitted jointly to the trials**: draws come from the priors in `params/`, independently."
    words = [
        f"Draws of the calibrated numbers are those of the posteriors {', '.join(f'`{n}`' for n in found)}, with their"
    ]
    words.append("correlations (`docs/calibration.md`).")
    prior = [f"`{n}`" for names in found.values() for n in names]
    if prior:
        words.append(
            f"Still driven by their priors (posterior sd above {PRIOR_DRIVEN:g} of the prior's): {', '.join(dict.fromkeys(prior))}."
        )
    return " ".join(words)


def _short(settings: Sequence[Setting]) -> list[str]:
    """One line a setting."""
    rows = []
    for s in settings:
        lead, money = s.lead, s.about["currency"]
        others = [p for p in s.panels if p != s.about["price_panel"]]
        groups = _leading(s)
        rows.append(
            [
                f"[{s.record['label']}](#{_anchor(s.record['label'])})",
                f"`{lead.best}`",
                f"{100 * lead.chance:.0f} ±{100 * lead.chance_mcse:.0f} %",
                f"`{lead.second}`, {lead.gap:,.0f} ±{lead.mcse:,.0f} {money}",
                ", ".join(f"`{s.panels[p].best}` ({100 * s.panels[p].chance:.0f} %)" for p in others),
                f"{s.voi['evpi'][0]['EVPI']:,.0f} ±{s.voi['evpi'][0]['MCSE']:,.0f} {money}",
                f"`{groups[0]['Group']}`" if groups else "nothing by itself",
            ]
        )
    panel = {p for s in settings for p in s.panels if p != s.about["price_panel"]}
    head = [
        "setting",
        "best",
        "P(best)",
        "ahead of, by",
        f"best at {' or '.join(sorted(panel))} prices",
        "EVPI per patient",
    ]
    return ["## In short", "", *_markdown([*head, "hangs most on"], rows), ""]


def _anchor(title: str) -> str:
    """The anchor that Markdown gives to a heading."""
    kept = "".join(c for c in title.lower() if c.isalnum() or c in " -_")
    return kept.replace(" ", "-")


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def _section(s: Setting) -> str:
    about, wtp = s.about, float(s.about["wtp"][0])
    money = about["currency"]
    labels = {name: text or name for name, text in s.record["strategies"].items()}
    paragraphs = [
        f"## {s.record['label']}",
        " ".join(
            f"{s.question} `{s.name}`: population `{about['population']}`, {str(about['perspective']).replace('_', ' ')} "
            f"perspective, {money} of {about['price_year']:.0f}, {about['price_panel']} prices, "
            f"{100 * about['discount_rate_costs']:g} % discounting of costs and {100 * about['discount_rate_effects']:g} % of "
            f"effects, {about['horizon_years']:g} years, comparator `{about['comparator']}`, willingness to pay {wtp:,.0f} per "
            f"QALY. {s.note}".split()
        ),
        _origin_words(s.origin),
        "\n".join(_health(s)),
        "\n".join(_ratios(s, money)),
        "\n".join(_decision(s, wtp, money)),
        "**What the tables say.** " + " ".join(_verdict(s, labels, wtp, money)),
        *_drivers(s, labels, money),
        *_elsewhere(s, wtp, money),
        *_information(s, money),
        *_thresholds(s, labels, money),
        f"![Acceptability](../results/reference/{s.name}/ceac.png)",
    ]
    return "\n\n".join(part for part in paragraphs if part) + "\n"


def _origin_words(origin: Origin) -> str:
    grades = ", ".join(f"{count} {grade}" for grade, count in origin.grades.items())
    return (
        f"Its {origin.used} numbers: {grades}; {origin.recalled} of them recalled and not yet checked against the source. "
        f"{origin.uncertain} vary in the draws."
    )


def _health(s: Setting) -> list[str]:
    """Survival, life years, QALYs and cost of the base case."""
    mean, error = _cells(s.base, "mean"), _cells(s.base, "mcse")
    rows = []
    for name in s.record["strategies"]:
        row = [f"`{name}`", *(f"{100 * mean[name][key]:.1f} %" for key in SURVIVAL)]
        median = mean[name]["median_os_months"]
        row.append("not reached" if pd.isna(median) else f"{median:.1f}")
        row += [f"{mean[name][key]:.2f} ±{error[name][key]:.2f}" for key in ("ly", "qaly")]
        cost = mean[name]["cost"]
        row.append("no price" if pd.isna(cost) else f"{cost:,.0f} ±{error[name]['cost']:,.0f}")
        rows.append(row)
    worst = 100.0 * max(row[key] for row in error.values() for key in SURVIVAL)
    head = [
        "base case",
        "OS 1 y",
        "OS 3 y",
        "OS 5 y",
        "median OS, months",
        "LY",
        "QALYs",
        f"cost, {s.about['currency']}",
    ]
    return [
        *_markdown(head, rows),
        "",
        f"Monte-Carlo standard errors of survival: at most {worst:.2f} percentage points.",
    ]


def _ratios(s: Setting, money: str) -> list[str]:
    """The table of ICERs, means over draws."""
    error = _cells(s.summary, "mcse")
    rows = []
    for row in s.icer.to_dict("records"):
        name = str(row["Strategy"])
        known = not pd.isna(row["Cost"])
        rows.append(
            [
                f"`{name}`",
                f"{row['Cost']:,.0f} ±{error[name]['cost']:,.0f}" if known else "no price",
                f"{row['Effect']:.3f} ±{error[name]['qaly']:.3f}",
                "" if pd.isna(row["Inc_Cost"]) else f"{row['Inc_Cost']:,.0f}",
                "" if pd.isna(row["Inc_Effect"]) else f"{row['Inc_Effect']:.3f}",
                "" if pd.isna(row["ICER"]) else f"{row['ICER']:,.0f}",
                str(row["Note"])
                if row["Status"] == UNPRICED
                else ": ".join(filter(None, (str(row["Status"]), row["Note"]))),
            ]
        )
    head = ["mean over draws", f"cost, {money}", "QALYs", "more cost", "more QALYs", "ICER", "status"]
    means = s.summary[s.summary["outcome"] == "qaly"].set_index("strategy")["mean"]
    base = s.base[s.base["outcome"] == "qaly"].set_index("strategy")["mean"]
    gap = (means - base) / base
    most = str(gap.abs().idxmax())
    return [
        *_markdown(head, rows),
        "",
        "ND: on the frontier, each ICER against the one before; D: dominated, ED: dominated by a mix of two others. "
        f"Means over draws contain the structural alternatives, the base case does not: QALYs differ from it by up to "
        f"{100 * gap[most]:+.1f} % (`{most}`).",
    ]


def _decision(s: Setting, wtp: float, money: str) -> list[str]:
    """Net benefit, chances and losses at the first willingness to pay."""
    nmb = _at(s.tables["nmb"], wtp)
    chance, loss = (_by(_at(s.tables[key], wtp), "Strategy") for key in ("ceac", "loss"))
    rows = []
    for row in nmb.to_dict("records"):
        name = str(row["Strategy"])
        inmb = "comparator"
        if not pd.isna(row["INMB"]):
            inmb = f"{row['INMB']:+,.0f} ±{row['mcse']:,.0f} [{row['lower']:,.0f}, {row['upper']:,.0f}]"
        rows.append(
            [
                f"`{name}`",
                inmb,
                "" if pd.isna(row["P_Positive"]) else f"{100 * row['P_Positive']:.0f} %",
                f"{100 * chance[name]['Proportion']:.0f} ±{100 * chance[name]['MCSE']:.0f} %",
                f"{loss[name]['Expected_Loss']:,.0f}",
            ]
        )
    head = [f"at {wtp:,.0f} per QALY", f"INMB against `{s.about['comparator']}`, {money}", "P(INMB > 0)", "P(best)"]
    noise = s.tables["noise"]
    ratio = noise[(noise["subgroup"] == EVERYONE) & noise["Outcome"].str.startswith("inmb")].sort_values("Noise_Ratio")
    words = "Patients' noise, as a share of the variance of INMB between draws: "
    words += f"{100 * ratio['Noise_Ratio'].median():.1f} % in the middle, at most {100 * ratio['Noise_Ratio'].iloc[-1]:.1f} % "
    return [*_markdown([*head, "expected loss"], rows), "", f"{words}(`{ratio['Strategy'].iloc[-1]}`)."]


def _cells(table: pd.DataFrame, column: str) -> dict[str, dict[str, Any]]:
    """Strategy -> outcome -> number."""
    found: dict[str, dict[str, Any]] = {}
    for row in table.to_dict("records"):
        found.setdefault(str(row["strategy"]), {})[str(row["outcome"])] = row[column]
    return found


def _by(table: pd.DataFrame, key: str) -> dict[str, dict[Any, Any]]:
    """Rows by what stands in one column."""
    return {str(row[key]): row for row in table.to_dict("records")}


def _at(table: pd.DataFrame, wtp: float, group: str = EVERYONE) -> pd.DataFrame:
    """Rows of one population at one willingness to pay."""
    return table[(table["subgroup"] == group) & (table["WTP"] == wtp)]


def _verdict(s: Setting, labels: dict[str, str], wtp: float, money: str) -> list[str]:
    """Who is best, how surely, at what ratio."""
    lead = s.lead
    best, second = labels[lead.best], labels[lead.second]
    low, high = (lead.chance + side * ERRORS * lead.chance_mcse for side in (-1.0, 1.0))
    if low >= SURE:
        sure = "the decision is clear"
    elif low >= EVEN:
        sure = "more likely right than wrong, but not clear"
    elif high >= EVEN:
        sure = "an open decision"
    else:
        sure = "an open decision: every strategy is more likely not to be best than to be"
    ahead = f"{lead.gap:,.0f} ±{lead.mcse:,.0f} {money} per patient ahead of {second} [{lead.lower:,.0f}, {lead.upper:,.0f}]"
    lines = [
        f"{best} has the highest expected net benefit and is best in {100 * lead.chance:.0f} % of draws: {sure}.",
        f"It is {ahead}{', which cannot be told from nothing' if lead.gap <= ERRORS * lead.mcse else ''}.",
    ]
    if lead.best == s.about["comparator"]:
        lines.append("It is the comparator: nothing else is worth its cost here, in expectation.")
    front = s.icer[s.icer["Status"] == "ND"].sort_values("Cost")
    first = labels[front["Strategy"].iloc[0]]
    steps = [
        f"{labels[row['Strategy']]} at {row['ICER']:,.0f}"
        for row in front.to_dict("records")
        if not pd.isna(row["ICER"])
    ]
    if steps:
        lines.append(
            f"From {first}, the cheapest on the frontier, the next steps are {', then '.join(steps)} {money} per QALY."
        )
    else:
        lines.append(f"{first} costs least and does most: it dominates all others.")
    return lines


def _drivers(s: Setting, labels: dict[str, str], money: str) -> list[str]:
    """Which parts make the difference between the best and its rivals: the comparator, and the runner-up."""
    lead, base = s.lead, str(s.about["comparator"])
    rivals = [name for name in dict.fromkeys((lead.second, base)) if name != lead.best]
    words = []
    for rival in rivals:
        cost, qaly = (_amounts_between(s, lead.best, rival, outcome) for outcome in ("cost", "qaly"))
        more = f"costs {_largest(cost, money, 0)} and brings {_largest(qaly, 'QALYs', 3)}"
        lines = _amounts_between(s, lead.best, rival, "cost", "line").drop("total", errors="ignore")
        by_line = ", ".join(f"{line} {value:+,.0f}" for line, value in lines.items() if round(value))
        words.append(
            f"Against {labels[rival]}, {labels[lead.best]} {more}{f'; cost by line: {by_line}' if by_line else ''}."
        )
    if not words:
        return []
    return [f"**What drives it.** {' '.join(words)} The largest parts stand in brackets; all parts add up exactly."]


def _amounts_between(s: Setting, one: str, other: str, outcome: str, split: str = "part") -> pd.Series[float]:
    """Difference of two strategies by part; both stand against the comparator in the waterfall."""
    table = s.waterfall[(s.waterfall["Split"] == split) & (s.waterfall["Outcome"] == outcome)]
    parts = table.pivot_table(index="Part", columns="Strategy", values="Increment", aggfunc="sum", fill_value=0.0)
    zero = pd.Series(0.0, index=parts.index)
    difference: pd.Series[float] = parts.get(one, zero) - parts.get(other, zero)
    return difference


def _largest(parts: pd.Series[float], unit: str, places: int) -> str:
    inner = parts.drop("total")
    named = inner.reindex(inner.abs().sort_values(ascending=False).index).head(DRIVERS)
    some = ", ".join(
        f"{str(part).removeprefix('quality of life: ')} {value:+,.{places}f}" for part, value in named.items()
    )
    return f"{parts['total']:+,.{places}f} {unit} ({some})"


def _elsewhere(s: Setting, wtp: float, money: str) -> list[str]:
    """What stays of the decision at other amounts, prices, subgroups and continuations."""
    return [
        text
        for text in (
            _by_amount(s, money),
            *_by_price(s),
            _by_subgroup(s, money),
            _by_tail(s, wtp, money),
            _budget(s, money),
        )
        if text
    ]


def _amounts(s: Setting) -> list[float]:
    """Points of the curves nearest to the multiples of the first willingness to pay."""
    grid = np.sort(s.tables["ceaf"]["WTP"].unique())
    wanted = [k * float(s.about["wtp"][0]) for k in AMOUNTS]
    inside = [w for w in wanted if w <= grid[-1] * (1.0 + 1e-9)]
    return sorted({float(grid[np.abs(grid - w).argmin()]) for w in inside})


def _by_amount(s: Setting, money: str) -> str:
    frontier, worth = s.tables["ceaf"], s.tables["evpi"]
    rows = []
    for amount in _amounts(s):
        at, loss = _at(frontier, amount).iloc[0], _at(worth, amount).iloc[0]
        rows.append(
            [
                f"{amount:,.0f}",
                f"`{at['Strategy']}`",
                f"{100 * at['Proportion']:.0f} ±{100 * at['MCSE']:.0f} %",
                f"{loss['EVPI']:,.0f} ±{loss['MCSE']:,.0f}",
            ]
        )
    return "\n".join(_markdown([f"willingness to pay, {money}", "best", "P(best)", "EVPI"], rows))


def _by_price(s: Setting) -> list[str]:
    here = str(s.about["price_panel"])
    words = []
    for panel, lead in s.panels.items():
        if panel == here:
            continue
        same = "still" if lead.best == s.lead.best else "then"
        words.append(f"At {panel} prices `{lead.best}` is {same} best, in {100 * lead.chance:.0f} % of draws.")
    return [f"**Prices.** {' '.join(words)}"] if words else []


def _budget(s: Setting, money: str) -> str:
    """What the best strategy would cost all patients together, where params/ say how many there are."""
    table = s.tables.get("budget", pd.DataFrame())
    mine = table[table["New"] == s.lead.best] if len(table) else table
    if mine.empty:
        return ""
    last = mine.sort_values("Year").iloc[-1]
    return (
        f"**Budget.** Until {last['Year']:.0f}, `{s.lead.best}` in place of `{s.about['comparator']}` for "
        f"{s.about['patients_per_year']:,.0f} new patients a year, at the uptake assumed in `params/`, would change spending by "
        f"{last['Cumulative'] / 1e6:+,.0f} million {money} (undiscounted)."
    )


def _by_subgroup(s: Setting, money: str) -> str:
    nmb = s.tables["nmb"]
    best = nmb[(nmb["WTP"] == float(s.about["wtp"][0])) & (nmb["Rank"] == 1) & (nmb["subgroup"] != "all")]
    if best.empty:
        return ""
    wtp, told = float(s.about["wtp"][0]), []
    for row in best.to_dict("records"):
        group, name = str(row["subgroup"]), str(row["Strategy"])
        chance = _by(_at(s.tables["ceac"], wtp, group), "Strategy")[name]["Proportion"]
        told.append(f"{group} `{name}` ({100 * chance:.0f} %)")
    words = f"**Subgroups.** Best, with P(best): {', '.join(told)}."
    if len(s.tables.get("strata", ())):
        value = s.tables["strata"].iloc[0]
        gain, error = float(value["Value"]), float(value["MCSE"])
        words += f" Choosing by subgroup is worth {gain:,.0f} ±{error:,.0f} {money} per patient"
        words += "." if gain > ERRORS * error else ", which cannot be told from nothing."
    return words


def _by_tail(s: Setting, wtp: float, money: str) -> str:
    """Who would be best if the time beyond the last published landmark went otherwise."""
    if s.tails.empty:
        return ""
    level = s.tails[s.tails["comparator"].isna()]
    labels_of = dict(zip(level["case"], level["label"], strict=True))
    benefit: dict[str, dict[str, float]] = {}
    for case in labels_of:
        mine = level[level["case"] == case]
        qaly, cost = (_cells(mine[mine["outcome"] == key], "mean") for key in ("qaly", "cost"))
        benefit[case] = {name: wtp * qaly[name]["qaly"] - cost[name]["cost"] for name in qaly if name in cost}
    if len(benefit[MODEL]) < 2:
        return ""
    beyond = level.loc[(level["outcome"] == "qaly") & (level["case"] == MODEL), "beyond"]
    words = [
        f"**Beyond the last published landmark** ({level['months'].iloc[0]:g} months) lie {100 * beyond.min():.0f} to "
        f"{100 * beyond.max():.0f} % of the QALYs (base case, {BEYOND_PATIENTS:,} patients)."
    ]
    order = {case: sorted(found, key=lambda name, found=found: -found[name]) for case, found in benefit.items()}  # type: ignore[misc]
    for case, (first, second, *_) in order.items():
        if case != MODEL:
            gap = benefit[case][first] - benefit[case][second]
            told = f"{labels_of[case]}: `{first}` is best, {gap:,.0f} {money} ahead of `{second}`"
            words.append(
                f"{told}{', which is within error' if gap <= ERRORS * _error(s, case, first, second, wtp) else ''}."
            )
    if {names[0] for names in order.values()} == {order[MODEL][0]}:
        words.append("That is the best by the model's own hazards too.")
    else:
        words.append(
            f"By the model's own hazards it is `{order[MODEL][0]}`: **the decision hangs on what comes later.**"
        )
    return " ".join(words)


def _error(s: Setting, case: str, one: str, other: str, wtp: float) -> float:
    """No less than the Monte-Carlo error of the net benefit between two strategies, whose errors stand against a third."""
    mine = s.tails[(s.tails["case"] == case) & s.tails["comparator"].notna() & s.tails["strategy"].isin([one, other])]
    qaly, cost = (mine.loc[mine["outcome"] == key, "mcse"].sum() for key in ("qaly", "cost"))
    return float(wtp * qaly + cost)


def _leading(s: Setting) -> list[dict[str, Any]]:
    """Groups of numbers worth more than two standard errors, the most valuable first."""
    rows = [row for row in s.voi["evppi"] if row["EVPPI"] and row["SE"] and row["EVPPI"] > ERRORS * row["SE"]]
    return sorted(rows, key=lambda row: -row["EVPPI"])


def _information(s: Setting, money: str) -> list[str]:
    perfect = s.voi["evpi"][0]
    whole = s.voi["population"]
    text = f"**Value of information.** Knowing everything would be worth {perfect['EVPI']:,.0f} ±{perfect['MCSE']:,.0f} {money} "
    text += "per patient (EVPI)"
    if whole and "Population_EVPI" in perfect:
        text += (
            f", {perfect['Population_EVPI'] / 1e6:,.0f} million {money} for the {whole:,.0f} who will face the decision"
        )
    groups = _leading(s)[:GROUPS]
    if not groups:
        return [f"{text}. No single group of numbers is worth more than {ERRORS:g} of its standard errors."]
    rows = [
        [
            f"`{row['Group']}`",
            f"{row['EVPPI']:,.0f} ±{row['SE']:,.0f}",
            f"{100 * row['EVPPI'] / perfect['EVPI']:.0f} %" if perfect["EVPI"] > 0.0 else "",
            ", ".join(f"{count} {grade}" for grade, count in s.origin.members.get(str(row["Group"]), {}).items()),
        ]
        for row in groups
    ]
    head = ["evidence group", f"EVPPI, {money} per patient", "of EVPI", "its uncertain numbers"]
    return [f"{text}. The decision hangs on:", "\n".join(_markdown(head, rows))]


def _thresholds(s: Setting, labels: dict[str, str], money: str) -> list[str]:
    """At what price of which drug each strategy would be best, and what a drug without a price may cost."""
    table = s.tables.get("price_thresholds", pd.DataFrame())
    if table.empty:
        return []
    wtp = float(s.about["wtp"][0])
    table = table[(table["subgroup"] == "all") & (table["WTP"] == wtp)]
    unpriced = s.about["strategies_without_price"]
    rows = []
    for name in s.record["strategies"]:
        for against in ("all", s.about["comparator"]):
            mine = table[(table["Strategy"] == name) & (table["Against"] == against)]
            # A price that would have to rise is no lever: others use more of the drug.
            mine = mine[mine["From"].isna() | (mine["From"] <= 0.0)]
            # A priced strategy that is best needs no lower price, and its prices against the comparator say little more.
            if mine.empty or (name not in unpriced and (against != "all" or name == s.lead.best)):
                continue
            # The drug whose price does it most often.
            row = mine.sort_values(["P_Never", "Threshold"], ascending=[True, False]).iloc[0]
            price = "no price" if name in unpriced else f"{row['Price']:,.0f}"
            at = "at no price" if pd.isna(row["Threshold"]) else f"{row['Threshold']:,.0f}"
            band = "" if row["P_Never"] > RARE else f" [{row['lower']:,.0f}, {row['upper']:,.0f}]".replace("inf", "any")
            many = ", both, per patient" if name in unpriced and len(unpriced[name]) > 1 else ""
            drug = f"{row['Drug']}{many}" if row["P_Never"] < 1.0 or len(mine) == 1 else "any one drug"
            price = price if row["P_Never"] < 1.0 or len(mine) == 1 else ""
            rivals = "all" if against == "all" else f"`{against}`"
            rows.append([f"`{name}`", drug, rivals, price, f"{at}{band}", f"{100 * row['P_Never']:.0f} %"])
    if not rows:
        return []
    head = ["strategy", "unit of", "against", f"price, {money}", "best up to", "at no price, share of draws"]
    words = "**Prices at which other strategies would be best.** In expectation; [ ] over the draws in which a price does it."
    return [words, "\n".join(_markdown(head, rows))]
