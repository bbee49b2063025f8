"""`simhcc claims`: from claim files to verdicts, a page with figures for each, and a record that knows what is stale."""

from __future__ import annotations

import datetime
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import simhcc
from simhcc.claims import anatomy
from simhcc.claims.examine import ComponentFinding, Finding, changes, examine, fingerprints
from simhcc.claims.experiments import Sizes
from simhcc.claims.registry import Claim, list_claims, load_claim
from simhcc.claims.verdict import NOT_SUPPORTED, SUPPORTED, UNDETERMINED
from simhcc.claims.words import number, probability_text, probability_words, rule_words
from simhcc.errors import InputError
from simhcc.inputs import ParameterSet, load_parameters
from simhcc.report.claim_figures import draw_claim
from simhcc.runner import console_progress, publish

ITERATIONS = 300
PATIENTS = 1000
SEED = 1
MAX_SEED = 2**64 - 1
SURER = 0.1
"""difference of the model's probability from that of the published interval that a page points out"""
RECORD = "record.json"
PAGE = "page.md"
DEFAULT_FOLDER = Path("results") / "claims"
BASIS = {
    "retrodicted": "retrodicted: the model was fitted to the trial it speaks of",
    "held_out": "held out: the figures it speaks of were not used in the fit",
    "conjecture": "conjecture: no figure to compare with",
}
VERDICT_ZH = {SUPPORTED: "支持", NOT_SUPPORTED: "不支持", UNDETERMINED: "未定"}


@dataclass(frozen=True, kw_only=True)
class ClaimsRequest:
    """What the user asked for; None is the default."""

    ids: Sequence[str] = ()
    out: Path | None = None
    docs: Path | None = None
    patients: int | None = None
    iterations: int | None = None
    seed: int | None = None
    threads: int | None = None
    list_only: bool = False
    quiet: bool = False


@dataclass(frozen=True)
class Status:
    """A claim's last verdict and what has changed since; `verdict` is None where there was none."""

    claim: str
    statement: str
    verdict: str | None
    date: str | None
    changed: tuple[str, ...]

    @property
    def stale(self) -> bool:
        """Whether what the verdict rests on has changed."""
        return bool(self.changed)


@dataclass(frozen=True)
class Claims:
    """Verdicts, or with `list_only` the state of the last ones."""

    findings: tuple[Finding, ...]
    statuses: tuple[Status, ...]
    folder: Path
    before: Mapping[str, Status]

    def as_object(self) -> dict[str, Any]:
        """For machines."""
        if not self.findings:
            return {
                "claims": [
                    {
                        "id": s.claim,
                        "verdict": s.verdict,
                        "date": s.date,
                        "stale": s.stale,
                        "changed": list(s.changed),
                    }
                    for s in self.statuses
                ]
            }
        objects = []
        for finding in self.findings:
            last = self.before.get(finding.claim.id)
            found = finding.as_object()
            found["since"] = None
            if last is not None and last.verdict is not None:
                found["since"] = {"verdict": last.verdict, "date": last.date, "changed": list(last.changed)}
            objects.append(found)
        return {"claims": objects, "results": str(self.folder)}

    def as_text(self) -> str:
        """For people."""
        if not self.findings:
            return "".join(_status_lines(status) for status in self.statuses)
        return "".join(_finding_lines(finding, self.before.get(finding.claim.id)) for finding in self.findings)


def run_claims(request: ClaimsRequest, say: Callable[[str], None] = lambda text: None) -> Claims:
    """Examine claims, write their pages and the record. Raises InputError before anything is run or written."""
    sizes = _sizes(request)
    parameters = load_parameters()
    names = list(request.ids) or list(list_claims())
    claims = [load_claim(name, parameters=parameters) for name in names]
    ids = [claim.id for claim in claims]
    for name in ids:
        if ids.count(name) > 1:
            raise InputError(f"the claim {name} twice", "each claim once", "ID")
    folder = request.out or DEFAULT_FOLDER
    _check_folder(folder)
    record = read_record(folder)
    statuses = {claim.id: _status(claim, parameters, record) for claim in claims}
    if request.list_only:
        return Claims((), tuple(statuses.values()), folder, {})
    progress = console_progress(quiet=request.quiet)
    work = folder / ".work"
    findings: list[Finding] = []
    for claim in claims:
        say(f"{claim.id} ({len(findings) + 1} of {len(claims)})")
        finding = examine(claim, parameters, sizes, folder=work, progress=progress)
        _write(folder, finding, statuses[claim.id])
        record = _recorded(record, finding)
        _write_json(folder / RECORD, record)
        findings.append(finding)
        shutil.rmtree(work, ignore_errors=True)
    if request.docs is not None:
        write_docs(request.docs, findings)
    return Claims(tuple(findings), tuple(statuses.values()), folder, statuses)


def _sizes(request: ClaimsRequest) -> Sizes:
    limits = (("iterations", ITERATIONS, 2, 10**6), ("patients", PATIENTS, 2, 1 << 26), ("seed", SEED, 0, MAX_SEED))
    chosen = {}
    for name, default, low, high in limits:
        number = getattr(request, name)
        if number is not None and not low <= number <= high:
            raise InputError(str(number), f"a whole number from {low} to {high}", f"--{name}")
        chosen[name] = default if number is None else number
    if request.threads is not None and request.threads < 1:
        raise InputError(str(request.threads), "a whole number from 1, or nothing for all cores", "--threads")
    return Sizes(threads=request.threads, **chosen)


def _check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"the file {folder}", "the name of a folder", "--out")
    if folder.is_dir() and not (folder / RECORD).exists():
        others = [path for path in folder.iterdir() if path.name != ".work"]
        if others:
            raise InputError(f"{folder}, which holds something else than verdicts", "another folder", "--out")


# ---------------------------------------------------------------------------------------------------------------------
# The record


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a folder of verdicts; empty where there is none. Raises InputError for one that cannot be read."""
    path = folder / RECORD
    if not path.exists():
        return {"claims": {}}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        assert isinstance(found["claims"], dict)
    except (OSError, ValueError, KeyError, TypeError, AssertionError):
        raise InputError(
            "a record that cannot be read", "a folder of verdicts, or another one", "--out", str(path)
        ) from None
    return dict(found)


def _recorded(record: Mapping[str, Any], finding: Finding) -> dict[str, Any]:
    """The record with this finding; numbers that several claims share are kept once."""
    claims = dict(record["claims"])
    sets = dict(record.get("inputs", {}))
    key = _input_key(finding.inputs)
    sets[key] = dict(finding.inputs)
    claims[finding.claim.id] = {
        **finding.as_object(),
        "statement": finding.claim.statement.en,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "version": simhcc.__version__,
        "iterations": finding.sizes.iterations,
        "patients": finding.sizes.patients,
        "seed": finding.sizes.seed,
        "inputs": key,
    }
    used = {claim["inputs"] for claim in claims.values()}
    return {"claims": dict(sorted(claims.items())), "inputs": {k: v for k, v in sets.items() if k in used}}


def _input_key(inputs: Mapping[str, str]) -> str:
    import hashlib

    return hashlib.sha256(json.dumps(dict(inputs), sort_keys=True).encode()).hexdigest()[:16]


def _status(claim: Claim, parameters: ParameterSet, record: Mapping[str, Any]) -> Status:
    last = record["claims"].get(claim.id)
    statement = claim.statement.text()
    if last is None:
        return Status(claim.id, statement, None, None, ())
    before = record.get("inputs", {}).get(last.get("inputs"), {})
    return Status(
        claim.id, statement, last["verdict"], last["date"], tuple(changes(before, fingerprints(claim, parameters)))
    )


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_text(json.dumps(finite(content), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    os.replace(new, path)


def finite(value: Any) -> Any:
    """NaN and infinity are not JSON."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value


# ---------------------------------------------------------------------------------------------------------------------
# Words


def _interval(found: ComponentFinding) -> str:
    estimand, judged = found.component.estimand, found.judged
    unit = number(judged.estimate, estimand).split(" ", 1)
    low, high = (number(value, estimand).split(" ", 1)[0] for value in (judged.lower, judged.upper))
    return f"{unit[0]} ({low} to {high}){' ' + unit[1] if len(unit) > 1 else ''}"


def _finding_lines(finding: Finding, last: Status | None) -> str:
    lines = [f"\n{finding.claim.id}: {finding.verdict.upper()}   ({finding.claim.basis})"]
    lines.append(f"  {finding.claim.statement.text()}")
    lines.append(f"  {finding.reason}")
    for found in finding.components:
        mark = " " if found.component.decides else "."
        fact = f", published {found.component.fact:g}" if found.component.fact is not None else ""
        alone = f", from the published interval alone {found.published:.2f}" if found.published is not None else ""
        chance = probability_words(found.judged.probability, found.judged.mcse)
        lines.append(
            f"  {mark} {found.component.label.text()}: {_interval(found)}; P({rule_words(found.component)}) = {chance}{alone}{fact}"
            f" -> {found.verdict}"
        )
    head = finding.head
    if head.drivers:
        shares = ", ".join(f"{d.name} {100 * d.share:.0f} %" for d in head.drivers[:4])
        lines.append(f"  driven by (share of variance): {shares}")
    flips = [f"{d.name} at {d.flips_at:.3g} -> {d.towards}" for d in head.drivers if d.flips_at is not None]
    if head.margin is not None:
        flips.insert(0, f"a limit of {number(head.margin, head.component.estimand)} would just be met")
    if flips:
        lines.append(f"  flips: {'; '.join(flips[:3])}")
    if last is not None and last.verdict is not None:
        what = f"{len(last.changed)} inputs changed: {'; '.join(last.changed[:3])}" if last.changed else "same inputs"
        lines.append(f"  before: {last.verdict} ({last.date}); {what}")
    return "\n".join(lines) + "\n"


def _status_lines(status: Status) -> str:
    if status.verdict is None:
        state = "never examined"
    elif status.stale:
        state = f"{status.verdict} ({status.date}), STALE"
    else:
        state = f"{status.verdict} ({status.date}), fresh"
    lines = [f"{status.claim}: {state}", f"  {status.statement}"]
    lines += [f"    changed: {change}" for change in status.changed[:12]]
    if len(status.changed) > 12:
        lines.append(f"    and {len(status.changed) - 12} more")
    return "\n".join(lines) + "\n"


# ---------------------------------------------------------------------------------------------------------------------
# Pages


def _write(folder: Path, finding: Finding, last: Status) -> None:
    """The page of a claim with its figures and the draws behind it, complete or not at all."""

    def fill(new: Path) -> None:
        names = draw_claim(new, finding)
        (new / PAGE).write_text(page(finding, last, names), encoding="utf-8")
        columns = {f.component.id: pd.Series(f.draws) for f in finding.components}
        pd.DataFrame(columns).rename_axis("iteration").to_csv(new / "draws.csv")
        _write_json(new / "finding.json", finding.as_object())

    publish(folder, finding.claim.id, fill, replace=True)


def page(finding: Finding, last: Status | None, figures: Sequence[str], prefix: str = "") -> str:
    """The page of a claim in Markdown; `prefix` stands before the names of its figures."""
    claim, head = finding.claim, finding.head
    lines = [f"# {claim.id}: {finding.verdict}", "", f"> {claim.statement.en}", "", f"> {claim.statement.zh}", ""]
    lines += [*section(finding, prefix, figures)]
    if last is not None and last.verdict is not None:
        lines += ["", "## Since the last verdict", "", f"Last: {last.verdict}, {last.date}."]
        lines += [f"- {change}" for change in last.changed] or ["No input has changed."]
    lines += ["", "## How it was run", ""]
    lines.append(
        f"{finding.sizes.iterations} draws of all uncertain numbers, {finding.sizes.patients} patients per strategy in each, "
        f"seed {finding.sizes.seed}; structural scenarios with half the draws. Strategies meet the same patients and luck. "
        "Draws of every component are in `draws.csv`."
    )
    if head.judged.noise_share > 0.0:
        lines.append(
            f"Patients' luck is {100 * head.judged.noise_share:.0f} % of the variance over draws of the component that decides; "
            "it is taken out before probabilities are read."
        )
    return "\n".join(lines) + "\n"


def section(finding: Finding, prefix: str, figures: Sequence[str]) -> list[str]:
    """Verdict, reasons, drivers, structures, weak points: what the page and the documentation share."""
    claim = finding.claim
    lines = [f"**Verdict: {finding.verdict}** ({VERDICT_ZH[finding.verdict]}). Basis: {BASIS[claim.basis]}.", ""]
    lines += [finding.reason, ""]
    if claim.note:
        lines += [claim.note, ""]
    lines += ["| component | estimate (95 %) | rule | probability | needed | verdict |", "|---|---|---|---|---|---|"]
    for found in finding.components:
        component = found.component
        extra = []
        if found.against:
            extra.append(f"best other in expectation: `{found.against}`")
        if found.published is not None:
            extra.append(f"from the published interval alone: {found.published:.2f}")
        if component.fact is not None:
            extra.append(f"published: {component.fact:g}")
        label = component.label.text() + (f" ({'; '.join(extra)})" if extra else "")
        certainty = f"{component.certainty:g}" if component.decides else "shown only"
        chance = probability_words(found.judged.probability, found.judged.mcse)
        lines.append(
            f"| {label} | {_interval(found)} | {rule_words(found.component)} | {chance} | {certainty} | {found.verdict} |"
        )
    lines += ["", *_why(finding), ""]
    if finding.bounds:
        lines += [*_anatomy(finding), ""]
    lines += [f"![{name}]({prefix}{name}.png)" for name in figures]
    if claim.evidence:
        lines += ["", "Evidence that bears on it:", ""]
        lines += [f"- `{source}`: {says}" for source, says in claim.evidence]
    if claim.weak_points:
        lines += ["", "Weak points:", ""]
        lines += [f"- {point}" for point in claim.weak_points]
    return lines


def _why(finding: Finding) -> list[str]:
    head = finding.head
    estimand = head.component.estimand
    lines = []
    if head.drivers:
        lines += [
            f"What drives it (component *{head.component.label.text()}*):",
            "",
            "| number of the model | share of variance | value of knowing it | P at its 5 % and 95 % | flips at |",
            "|---|---|---|---|---|",
        ]
        for driver in head.drivers:
            flip = "nowhere in its range" if driver.flips_at is None else f"{driver.flips_at:.3g}: {driver.towards}"
            lines.append(
                f"| `{driver.name}` ({driver.direction}) | {100 * driver.share:.0f} % | "
                f"{driver.information:.3f} ±{driver.information_se:.3f} | "
                f"{driver.low_probability:.2f}, {driver.high_probability:.2f} | {flip} |"
            )
        lines += [
            "",
            "The value of knowing a number is the expected gain in the chance of calling the claim right.",
        ]
    else:
        lines.append("No single number of the model explains more of the estimate than chance would.")
    if head.margin is not None:
        lines += ["", f"A limit of {number(head.margin, estimand)} would just be met with the certainty asked for."]
    if head.groups:
        lines += ["", "Which evidence would settle it:", ""]
        lines += ["| evidence on | gain in the chance of calling it right | share of variance |", "|---|---|---|"]
        for name, (value, error, share) in sorted(head.groups.items(), key=lambda item: (-item[1][0], -item[1][2])):
            lines.append(f"| {name} | {value:.3f} ±{error:.3f} | {100 * share:.0f} % |")
        if all(value == 0.0 for value, _, _ in head.groups.values()):
            lines += ["", "The claim is decided in every draw, so no evidence of these kinds would change the call."]
    if head.structures:
        lines += ["", "Under another structure of the model:", ""]
        for name, other in head.structures.items():
            label = next(s.label.text() for s in finding.claim.structures if s.id == name)
            lines.append(
                f"- {label}: {number(other.estimate, estimand)}, P = {probability_words(other.probability, other.mcse)}, "
                f"{other.verdict}"
            )
    for found in finding.deciding:
        if found.published is not None and abs(found.judged.probability - found.published) > SURER:
            lines += [
                "",
                f"*{found.component.label.text()}*: the model says {probability_text(found.judged.probability)}, the published "
                f"interval alone {found.published:.2f}. What the model adds to it comes from numbers that are in part assumed.",
            ]
    lost = [name for name, same in head.survives.items() if not same]
    if head.survives:
        kept = [name for name, same in head.survives.items() if same]
        if lost:
            lines += [
                "",
                f"At the 5 % or 95 % value of {', '.join(f'`{n}`' for n in lost)} the verdict would be another.",
            ]
        if kept:
            lines += ["", f"It is the same at the 5 % and 95 % values of {', '.join(f'`{n}`' for n in kept)}."]
    return lines


def _anatomy(finding: Finding) -> list[str]:
    head = " | ".join(one.label for one in finding.bounds)
    lines = ["Where the gain comes from (means over draws, 95 % interval):", "", f"| | {head} |"]
    lines.append("|---|" + "---|" * len(finding.bounds))
    for name, words in anatomy.PARTS.items():
        cells = []
        for one in finding.bounds:
            part = one.parts[name]
            cells.append(f"{100 * part.mean:.1f} % ({100 * part.lower:.1f} to {100 * part.upper:.1f})")
        lines.append(f"| {words} | {' | '.join(cells)} |")
    for one, plane in zip(finding.bounds, finding.needed, strict=True):
        possible = one.contour[:, 1] <= 1.0
        at_model = one.parts["operated"].mean
        need = (finding.claim.anatomy.target - one.parts["base"].mean - one.parts["local"].mean) / max(  # type: ignore[union-attr]
            at_model - one.parts["counterfactual"].mean, 1e-9
        )
        reach = (
            "cannot be reached by resection"
            if not possible.any() or need > 1.0
            else f"needs {100 * need:.0f} % to be operated"
        )
        best = float(plane.survival.max())
        lines.append("")
        lines.append(
            f"{one.label}: with the survival that the operated have, {100 * plane.target:g} % {reach} "
            f"(model: {100 * one.parts['share'].mean:.1f} %). The best corner of the plane below, with the odds of becoming "
            f"resectable times {plane.odds[-1]:g} and no recurrence after surgery, gives {100 * best:.1f} %."
        )
    return lines


def write_docs(folder: Path, findings: Sequence[Finding]) -> None:
    """docs/claims.md with its figures: every verdict with reasons and weak points."""
    folder.mkdir(parents=True, exist_ok=True)

    def fill(new: Path) -> None:
        for finding in findings:
            draw_claim(new, finding, f"{finding.claim.id}-", formats=("png",))

    publish(folder, "claims", fill, replace=True)
    sizes = findings[0].sizes
    lines = [
        "# Claims: what clinicians say, tested",
        "",
        "Generated by `simhcc claims --docs docs`; do not edit. "
        f"{sizes.iterations} draws of all uncertain numbers, {sizes.patients} patients per strategy in each, seed {sizes.seed}, "
        f"simhcc {simhcc.__version__}.",
        "",
        "A component is *supported* if its probability less two Monte-Carlo errors reaches what was asked for beforehand, *not "
        "supported* if the probability of the opposite does, else *undetermined*. A claim takes its weakest deciding component. A "
        "verdict that another structure of the model, or the 5-95 % range of an assumed number that carries it, would change is "
        "undetermined. Everything rests on numbers of which many are assumed: `simhcc why NAME` tells where each comes from.",
        "",
        "| claim | basis | verdict | probability | decides |",
        "|---|---|---|---|---|",
    ]
    for finding in findings:
        head = finding.head
        chance = probability_words(head.judged.probability, head.judged.mcse)
        lines.append(
            f"| [{finding.claim.id}](#{finding.claim.id}) | {finding.claim.basis} | {finding.verdict} | {chance} | "
            f"{head.component.label.text()}: {_interval(head)} |"
        )
    for finding in findings:
        names = draw_names(finding)
        lines += [
            "",
            f"## {finding.claim.id}",
            "",
            f"> {finding.claim.statement.en}",
            "",
            f"> {finding.claim.statement.zh}",
            "",
        ]
        lines += section(finding, f"claims/{finding.claim.id}-", names)
    path = folder / "claims.md"
    new = path.with_name(".claims.md.new")
    new.write_text("\n".join(lines) + "\n", encoding="utf-8")
    os.replace(new, path)


def draw_names(finding: Finding) -> list[str]:
    """Names of a claim's figures, without drawing them."""
    return [
        "components",
        *(["drivers"] if finding.head.drivers else []),
        *(f"map-{k + 1}" for k in range(len(finding.maps))),
        *(f"needed-{plane.experiment}" for plane in finding.needed),
        *(["contributions"] if finding.bounds else []),
    ]


__all__ = ["Claims", "ClaimsRequest", "Status", "finite", "page", "read_record", "run_claims", "write_docs"]
