"""`simhcc report`: the page is whole, says the tables' numbers, speaks two languages, fetches nothing and trusts no name."""

from __future__ import annotations

import inspect
import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from string import Formatter
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cli_project import invoke, use

from simhcc.inputs import list_scenarios, list_strategies, load_scenario, load_strategy
from simhcc.pathway.whole import pathway
from simhcc.report.described import baseline_table
from simhcc.report.page import build, cheers, sections, strategies
from simhcc.report.page.content import read_content
from simhcc.report.page.markup import VOID, Markup, el, json_script
from simhcc.report.page.words import LANGUAGES, Words, catalogue
from simhcc.report.page.workbook import report_sheets
from simhcc.report.record import strategy_content

CJK = re.compile("[\u4e00-\u9fff]")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small probabilistic run with everything that may lie beside it."""
    with pytest.MonkeyPatch.context() as patch:
        root = use(tmp_path_factory.mktemp("report"), patch)
        made = invoke("run", "question", "--patients", 100, "--iterations", 12, "--out", "psa", "--quiet")
        assert made.exit_code == 0, made.output
        made = invoke(
            "run", "question", "--patients", 100, "--iterations", 1, "--out", "base", "--quiet", "--no-subgroups"
        )
        assert made.exit_code == 0, made.output
    yield root


@pytest.fixture(scope="module")
def full(results: Path) -> Path:
    """The run with a sensitivity analysis, trials, verdicts and a value of information, as their commands write them."""
    folder = results / "full"
    shutil.copytree(results / "psa", folder)
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    bar = {"parameter": "recurrence.rate", "unit": "per_month", "base": 0.1, "low": 0.05, "high": 0.2, "below": 300.0,
           "below_mcse": 7.0, "above": -450.0, "above_mcse": 8.0}  # fmt: skip
    answer = {"kind": "tornado", "scenario": record["scenario"], "outcome": "inmb", "unit": record["currency"],
              "strategy": list(record["strategies"])[-1], "comparator": record["comparator"],
              "base": {"value": 1000.0, "mcse": 12.0}, "tornado": [bar]}  # fmt: skip
    figure = {"arm": "a", "endpoint": "PFS", "statistic": "median", "time_months": None, "published": 8.25, "ci_low": 6.5,
              "ci_high": 11.5, "predicted": 10.75, "lower": 9.25, "upper": 13.5, "inside": False, "fitted": True,
              "confirmed": False, "subgroup": None, "not_predicted": None}  # fmt: skip
    trial = {"command": "simhcc trial a", "parameters": record["parameters"]["fingerprint"],
             "trials": [{"id": "a", "title": "A trial", "replicates": 50, "targets": [figure], "contrasts": []}]}  # fmt: skip
    claim = {"statement": "A claim of somebody.", "verdict": "undetermined", "probability": 0.625, "mcse": 0.0125,
             "basis": "conjecture", "robust": False, "drivers": [{"name": "recurrence.rate"}], "date": "2026-01-02"}  # fmt: skip
    voi = {
        "wtp": 5000.0,
        "currency": "CNY",
        "evpi": [{"EVPI": 77.0}],
        "evppi": [{"Group": "recurrence", "EVPPI": 55.0, "SE": 3.0}],
    }
    for place, content in (
        ("tornado/sensitivity.json", {"answer": answer, "record": record, "text": "x"}),
        ("trials/trial.json", trial),
        ("claims/record.json", {"claims": {"mine": claim}}),
        ("voi/voi.json", voi),
    ):
        path = folder / place
        path.parent.mkdir()
        path.write_text(json.dumps(content), encoding="utf-8")
    return folder


def text_of(folder: Path, language: str = "en") -> str:
    return build.page(read_content(folder), language)


class Parsed(HTMLParser):
    """Elements of a page with their attributes and text; every start has its end, in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[dict[str, Any]] = []
        self.all: list[dict[str, Any]] = []
        self.feed(text)
        self.close()
        assert self.open == [], [item["tag"] for item in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, names)
        item = {
            "tag": tag,
            "at": dict(attrs),
            "text": "",
            "parents": [x["tag"] for x in self.open],
            "inside": list(self.open),
        }
        self.all.append(item)
        if tag not in VOID:
            self.open.append(item)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1]["tag"] == tag, (tag, [x["tag"] for x in self.open[-4:]])
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for item in self.open:
            item["text"] += data

    def of(self, *tags: str) -> list[dict[str, Any]]:
        return [item for item in self.all if item["tag"] in tags]


# -- markup


def test_markup_escapes_text_and_keeps_markup() -> None:
    assert el("p", "<b> & \"'", class_="a") == '<p class="a">&lt;b&gt; &amp; &quot;&#x27;</p>'
    assert el("p", el("b", 1), None, ["<", Markup("<i>")]) == "<p><b>1</b>&lt;<i></p>"
    assert el("input", value='"><x', hidden=False, checked=True) == '<input value="&quot;&gt;&lt;x" checked>'
    data = {"a": "</script><!--<script>&\u2028"}
    text = json_script(data, "d")
    assert text.count("<") == 2 and json.loads(text[text.index(">") + 1 : text.rindex("<")]) == data


# -- the page


@pytest.mark.parametrize("language", list(LANGUAGES))
@pytest.mark.parametrize("name", ["full", "base"])
def test_the_page_is_well_formed_and_complete_in_itself(full: Path, name: str, language: str) -> None:
    text = text_of(full.parent / name, language)
    page = Parsed(text)
    assert text.startswith("<!DOCTYPE html>") and page.of("html")[0]["at"]["lang"] == LANGUAGES[language]
    ids = [item["at"]["id"] for item in page.all if "id" in item["at"]]
    assert len(ids) == len(set(ids))
    assert not page.of("link", "img", "iframe", "object", "embed", "base", "form")
    for item in page.all:
        assert "src" not in item["at"] and not any(key.startswith("on") for key in item["at"])
        for key in ("href", "xlink:href"):
            assert item["at"].get(key, "#").startswith("#")
        if item["tag"] == "a":
            assert item["at"]["href"][1:] in ids
        if item["tag"] == "label" and "for" in item["at"]:
            assert item["at"]["for"] in ids
    style = page.of("style")[0]["text"]
    assert "@import" not in style and not re.findall(r"url\((?!#)", style + text.replace('"', ""))
    scripts = "".join(item["text"] for item in page.of("script") if item["at"].get("type") is None)
    assert set(re.findall(r"https?://[^\s\"']+", scripts)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\b(fetch|XMLHttpRequest|WebSocket|import|eval)\s*\(", scripts)


@pytest.mark.parametrize("language", list(LANGUAGES))
def test_the_page_can_be_read_without_seeing_it(full: Path, language: str) -> None:
    page = Parsed(text_of(full, language))
    for item in page.of("svg"):
        named = item["at"].get("aria-label") or item["at"].get("aria-hidden") == "true"
        assert named, item
    assert all(item["at"].get("aria-label") for item in page.all if item["at"].get("role") == "img")
    assert all(item["at"].get("scope") for item in page.of("th"))
    for item in page.of("table"):
        assert any(x["tag"] == "caption" and item in x["inside"] for x in page.of("caption"))
    for item in page.of("input", "select"):
        assert "label" in item["parents"] or item["at"].get("id") in {x["at"].get("for") for x in page.of("label")}


def test_numbers_are_those_of_the_tables(full: Path) -> None:
    page = Parsed(text_of(full))
    summary = pd.read_csv(full / "summary.csv", float_precision="round_trip")
    means = set(summary[summary["mean"].notna()]["mean"])
    shown = [
        float(i["at"]["data-value"]) for i in page.of("td") if "data-value" in i["at"] and _class_of(i, "outcomes")
    ]
    differences = pd.read_csv(full / "differences.csv", float_precision="round_trip")
    assert len(shown) > 30 and set(shown) <= means | set(differences["mean"])
    everyone = summary[summary["subgroup"] == "all"].set_index(["strategy", "outcome"])["mean"]
    assert set(everyone[:, "qaly"]) <= set(shown) and set(everyone[:, "os_60m"].dropna()) <= set(shown)
    icer = pd.read_csv(full / "icer.csv", float_precision="round_trip")
    values = {float(i["at"]["data-value"]) for i in page.of("td") if "data-value" in i["at"] and _class_of(i, "icer")}
    assert set(icer["Cost"].dropna()) <= values and set(icer["ICER"].dropna()) <= values


def _class_of(item: dict[str, Any], name: str) -> bool:
    return any(x["tag"] == "table" and name in (x["at"].get("class") or "").split() for x in item["inside"])


def test_a_cell_says_mean_error_and_interval(full: Path) -> None:
    page = sections.Page(read_content(full), Words("en"))
    row = {"mean": 0.1234, "mcse": 0.0051, "lower": 0.05, "upper": 0.25}
    text = Parsed(page.cell("os_60m", row)).of("td")[0]["text"]
    assert text == "12.3\u202f% ±0.5\u202f%5.0\u202f% to 25.0\u202f%"
    assert Parsed(page.cell("cost", row | {"mean": -12345.6}, plus=True)).of("b")[0]["text"] == "\u221212,346"
    assert Parsed(page.cell("qaly", row, plus=True)).of("b")[0]["text"] == "+0.123"
    assert "not reached" in page.cell("median_os_months", row | {"mean": float("nan")})


def test_the_script_is_given_the_economic_tables(full: Path) -> None:
    content = read_content(full)
    data = build.script_data(sections.Page(content, Words("en")), content.ids)
    json.dumps(data, allow_nan=False)
    ceac = pd.read_csv(full / "economics" / "ceac.csv")
    ceac = ceac[ceac["subgroup"] == "all"]
    for row in ceac.to_dict("records"):
        at = data["wtp"].index(row["WTP"])
        assert abs(data["ceac"][row["Strategy"]][at] - row["Proportion"]) < 1e-5
    icer = pd.read_csv(full / "icer.csv", float_precision="round_trip")
    for row in icer[(icer["subgroup"] == "all") & (icer["Status"] != "unpriced")].to_dict("records"):
        assert data["points"][row["Strategy"]] == [row["Cost"], row["Effect"]]
    nmb = pd.read_csv(full / "economics" / "nmb.csv")
    for row in nmb[nmb["subgroup"] == "all"].to_dict("records"):
        cost, effect = data["points"][row["Strategy"]]
        assert np.isclose(row["WTP"] * effect - cost, row["NMB"], rtol=1e-6)
    occupancy = pd.read_csv(full / "occupancy.csv")
    for s in content.ids:
        for k in range(len(data["states"]["months"])):
            assert abs(sum(shares[k] for shares in data["states"]["shares"][s].values()) - 1.0) < 1e-3
    first = occupancy[(occupancy["subgroup"] == "all") & (occupancy["months"] == 12)].iloc[0]
    at = data["states"]["months"].index(12)
    assert abs(data["states"]["shares"][first["strategy"]][first["state"]][at] - first["share"]) < 1e-4
    assert {point for s in data["plane"].values() for point in map(tuple, s["points"])}


def test_further_analyses_are_told(full: Path) -> None:
    text = Parsed(text_of(full)).of("main")[0]["text"]
    for words in ("A trial", "8.25", "6.50 to 11.50", "10.75", "9.25 to 13.50", "outside", "recalled, unconfirmed"):
        assert words in text
    assert "0 of 1 published figures inside; 50 simulated trials" in text
    assert "A claim of somebody." in text and "0.625" in text and "undetermined" in text
    assert "recurrence.rate at 0.05: change 300 ±7" in text and "recurrence.rate at 0.2: change \u2212450 ±8" in text
    assert "EVPI: 77 CNY per patient." in text
    assert "other inputs" not in text


def test_an_analysis_of_other_inputs_is_flagged_and_of_another_scenario_left_out(full: Path, tmp_path: Path) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(full, folder)
    path = folder / "trials" / "trial.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"parameters": "', '"parameters": "0'), encoding="utf-8")
    assert text_of(folder).count("Made from other inputs than this run") == 1
    path = folder / "tornado" / "sensitivity.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["answer"]["scenario"] = "elsewhere"
    path.write_text(json.dumps(content), encoding="utf-8")
    text = text_of(folder)
    assert "A sensitivity analysis of another scenario (elsewhere)" in text and "change 300" not in text


def test_the_workbook_tells_the_same(full: Path, tmp_path: Path) -> None:
    pytest.importorskip("xlsxwriter")
    openpyxl = pytest.importorskip("openpyxl")
    done = invoke("report", full, "--excel", "--lang", "zh", "--out", tmp_path / "a.html", "--json")
    assert done.exit_code == 0 and json.loads(done.stdout)["workbook"] == str(tmp_path / "a.xlsx"), done.output
    assert {path.name for path in tmp_path.iterdir()} == {"a.html", "a.xlsx"}
    book = openpyxl.load_workbook(tmp_path / "a.xlsx", read_only=True)
    rows = {sheet.title: [list(row) for row in sheet.iter_rows(values_only=True)] for sheet in book}
    summary = pd.read_csv(full / "summary.csv", float_precision="round_trip")
    assert len(rows["summary"]) == 3 + len(summary) and rows["summary"][2] == list(summary.columns)
    assert {*FILES_OF_A_REPORT} <= set(rows), set(rows)
    (bar,) = rows["sensitivity"][3:]
    assert "recurrence.rate" in bar and -450.0 in bar
    assert [row[-1] for row in rows["evppi"][2:]] == ["SE", 3.0] and 10.75 in rows["validation"][3]
    assert "A claim of somebody." in rows["claims"][3] and 0.625 in rows["claims"][3]
    assert len(rows["cheers"]) == 3 + 28 and CJK.search(rows["cheers"][3][1])
    numbers = pd.read_csv(full / "inputs" / "parameters.csv")
    assert len(rows["inputs"]) == 3 + len(numbers)
    assert any("其他情况" in row for row in rows["strategies"])
    # The page is not written without its workbook, nor over somebody's.
    (tmp_path / "a.html").unlink()
    again = invoke("report", full, "--excel", "--out", tmp_path / "a.html")
    assert again.exit_code == 2 and "--overwrite" in again.stderr and not (tmp_path / "a.html").exists()
    assert invoke("report", full, "--out", tmp_path / "b.html").exit_code == 0 and not (tmp_path / "b.xlsx").exists()


FILES_OF_A_REPORT = (
    "about", "strategies", "population", "survival", "occupancy", "summary", "differences", "icer", "nmb", "ceac", "evpi",
    "events", "sensitivity", "evppi", "validation", "claims", "inputs", "sources", "cheers",
)  # fmt: skip


def test_net_benefits_of_a_base_case_are_lines_through_its_means(results: Path) -> None:
    content = read_content(results / "base")
    data = build.script_data(sections.Page(content, Words("en")), content.ids)
    icer = content.table("icer").set_index("Strategy")
    base, wtp = icer.loc[content.record["comparator"]], data["wtp"]
    assert content.wtp[0] in wtp and wtp[0] == 0 and len(wtp) > 50 and data["inmb"]
    for s, line in data["inmb"].items():
        for w, value in zip(wtp, line["mean"], strict=True):
            by_hand = w * (icer.loc[s, "Effect"] - base["Effect"]) - (icer.loc[s, "Cost"] - base["Cost"])
            assert abs(value - by_hand) < 0.01


def test_a_standard_error_never_reads_as_none(full: Path) -> None:
    page = sections.Page(read_content(full), Words("en"))
    assert page.error("os_60m", 0.0051) == "0.5\u202f%" and page.error("os_60m", 0.0004) == "0.04\u202f%"
    assert page.error("os_60m", 0.0) == "0.0\u202f%" and page.error("cost", 0.031) == "0.03"
    assert page.error("qaly", 1e-12) == "0.000000" and page.error("median_os_months", 0.0499) == "0.05"
    never = {"mean": 0.0, "mcse": 0.0, "lower": 0.0, "upper": 0.0}
    assert Parsed(page.cell("cost_procedure", never)).of("td")[0]["text"] == "0"


def test_skewed_numbers_of_the_baseline_have_quartiles() -> None:
    values = np.r_[np.full(25, 1.0), np.full(50, 20.0), np.full(25, 4000.0)]
    table = baseline_table({"afp": values, "age": np.linspace(40, 80, 100)}).set_index(["attribute", "statistic"])
    row = table.loc[("afp", "median")]
    assert (row["value"], row["lower"], row["upper"]) == (20.0, 15.25, 1015.0)
    assert ("age", "mean") in table.index and ("age", "median") not in table.index


def test_a_trial_of_the_same_files_is_not_flagged(full: Path, tmp_path: Path) -> None:
    folder = tmp_path / "same"
    shutil.copytree(full, folder)
    path = folder / "trials" / "trial.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    files = json.loads((folder / "run.json").read_text(encoding="utf-8"))["files"]
    numbers = {name: digest for name, digest in files.items() if "params" in name}
    assert numbers
    for more, flagged in (({}, 0), ({"params/other.yaml": "0"}, 1), (dict.fromkeys(numbers, "0"), 1)):
        # Another fingerprint: a trial has levels of its own and no overrides of a scenario.
        path.write_text(json.dumps(content | {"parameters": "0", "parameter_files": numbers | more}), encoding="utf-8")
        assert text_of(folder).count("Made from other inputs than this run") == flagged


def test_what_is_missing_says_so(results: Path) -> None:
    content = read_content(results / "base")
    text = Parsed(build.page(content, "en")).of("main")[0]["text"]
    for key in ("tornado", "evppi", "validation", "claims", "psa", "subgroups"):
        assert catalogue()[f"missing.{key}"]["en"] in text
    assert [words.split()[0] for words in build.missing(content)] == [
        "validation",
        "claims",
        "EVPPI",
        "tornado",
        "acceptability",
    ]
    for file in ("population.csv", "survival.csv", "occupancy.csv"):
        (results / "base" / file).rename(results / "base" / f"_{file}")
    less = Parsed(text_of(results / "base")).of("main")[0]["text"]
    for file in ("population.csv", "survival.csv", "occupancy.csv"):
        (results / "base" / f"_{file}").rename(results / "base" / file)
    for key in ("population", "survival", "states"):
        assert catalogue()[f"missing.{key}"]["en"] in less and catalogue()[f"missing.{key}"]["en"] not in text


def test_the_tail_is_told_and_whether_it_decides(results: Path, full: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tail"
    shutil.copytree(full, folder)
    content = read_content(folder)
    first, second = content.ids[:2]
    # By the model's own hazards the first leads: 2 x WTP - 100 against 1 x WTP; when the cured live on, the second.
    means = {
        (first, "model"): (3.0, 2.0, 100.0), (second, "model"): (2.0, 1.0, 0.0),
        (first, "tail_durable"): (3.0, 2.0, 100.0), (second, "tail_durable"): (6.0, 4.0, 0.0),
    }  # fmt: skip
    labels = {"model": "the model's own hazards", "tail_durable": "Long control is cure"}
    rows = [
        {
            "months": 48.0, "strategy": s, "comparator": "", "case": case, "label": labels[case], "outcome": outcome,
            "mean": value, "mcse": 0.25, "change": value - means[s, "model"][k], "change_mcse": 0.125,
            "beyond": 0.37 if case == "model" else None,
        }
        for (s, case), values in means.items()
        for k, (outcome, value) in enumerate(zip(("ly", "qaly", "cost"), values, strict=True))
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "extrapolations.csv", index=False)
    names = sections.Page(read_content(folder), Words("en")).names
    for language, cure in (("en", "Long control is cure"), ("zh", "长期控制即治愈")):
        parsed = Parsed(build.page(read_content(folder), language))
        (told,) = [each for each in parsed.of("section") if each["at"]["id"] == "extrapolation"]
        assert cure in told["text"] and "48" in told["text"] and "37" in told["text"] and "+3.000" in told["text"]
        assert Words(language)("missing.extrapolation") not in told["text"]
    (told,) = [each for each in Parsed(text_of(folder)).of("section") if each["at"]["id"] == "extrapolation"]
    table = told["text"][
        told["text"].index("Does the continuation decide?") : told["text"].index("Share of each result")
    ]
    own, cured = table.index("The model's own hazards"), table.index("Long control is cure")
    assert names[first] in table[own:cured] and names[second] in table[cured:]
    assert "extrapolations" in report_sheets(read_content(folder), "en")
    # Without it the section says why.
    (without,) = [each for each in Parsed(text_of(full)).of("section") if each["at"]["id"] == "extrapolation"]
    assert Words("en")("missing.extrapolation") in without["text"]


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{name}"


def test_hostile_names_stay_text(full: Path, tmp_path: Path) -> None:
    folder = tmp_path / "hostile"
    shutil.copytree(full, folder)
    known = len(Parsed(text_of(full)).all)
    for place in (
        "run.json",
        "inputs/scenario.json",
        "inputs/strategies.json",
        "trials/trial.json",
        "claims/record.json",
    ):
        path = folder / place
        content = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(_poisoned(content, place)), encoding="utf-8")
    table = pd.read_csv(folder / "inputs" / "parameters.csv", dtype=str, keep_default_na=False)
    table["unit"] = table["basis"] = table["note"] = HOSTILE
    table.to_csv(folder / "inputs" / "parameters.csv", index=False)
    for language in LANGUAGES:
        text = text_of(folder, language)
        page = Parsed(text)
        assert "alert(1)" in text and len(page.of("script")) == 2 and not page.of("img")
        assert not any("alert" in item["text"] for item in page.of("script") if item["at"].get("type") is None)
    assert len(page.all) >= known - 200


def _poisoned(content: Any, place: str) -> Any:
    free = {"label", "title", "statement", "question", "note", "command", "endpoint", "arm", "en", "zh", "date"}
    if isinstance(content, dict):
        if place == "run.json" and "strategies" in content:
            return content | {
                "strategies": dict.fromkeys(content["strategies"], HOSTILE),
                "command": HOSTILE,
                "population": HOSTILE,
            }
        return {k: HOSTILE if k in free and isinstance(v, str) else _poisoned(v, place) for k, v in content.items()}
    return [_poisoned(item, place) for item in content] if isinstance(content, list) else content


# -- the command


def test_the_command_writes_one_file_and_tells_of_it(full: Path) -> None:
    done = invoke("report", full, "--json")
    found = json.loads(done.stdout)
    assert done.exit_code == 0 and found["report"] == str(full / "report.html")
    assert found["bytes"] == (full / "report.html").stat().st_size and found["missing"] == []
    assert sum(found["cheers"].values()) == 28 and found["sections"] == list(sections.ORDER)
    done = invoke("report", full, "--lang", "zh")
    assert done.exit_code == 0 and 'lang="zh-Hans"' in (full / "report.zh.html").read_text(encoding="utf-8")
    # A report in the folder is made anew; a file elsewhere is not replaced unless that is said.
    assert invoke("report", full).exit_code == 0
    other = full.parent / "other.html"
    assert invoke("report", full, "--out", other).exit_code == 0
    assert invoke("report", full, "--out", other).exit_code == 2
    assert invoke("report", full, "--out", other, "--overwrite").exit_code == 0


def test_analyses_elsewhere_are_named(full: Path, results: Path) -> None:
    done = invoke(
        "report",
        results / "psa",
        "--with",
        full / "trials",
        "--with",
        full / "claims",
        "--out",
        results / "w.html",
        "--json",
    )
    assert done.exit_code == 0, done.output
    assert [words.split()[0] for words in json.loads(done.stdout)["missing"]] == ["EVPPI", "tornado"]


def test_wrong_requests_are_refused(results: Path, tmp_path: Path) -> None:
    for words, message in (
        (("report", tmp_path), "no results folder of a run"),
        (("report", results / "psa", "--lang", "zhh"), "zh"),
        (("report", results / "psa", "--with", tmp_path), "which holds no trials"),
        (("report", results / "psa", "--out", tmp_path), "the name of a file"),
    ):
        done = invoke(*words)
        assert done.exit_code == 2 and message in done.output, done.output
    broken = tmp_path / "broken"
    shutil.copytree(results / "psa", broken)
    (broken / "inputs" / "strategies.json").write_text("{", encoding="utf-8")
    done = invoke("report", broken)
    assert done.exit_code == 2 and not (broken / "report.html").exists()


# -- languages


def test_the_catalogue_is_complete() -> None:
    empty = {("script.large", "en")}
    for key, found in catalogue().items():
        assert set(found) == set(LANGUAGES), key
        for language, text in found.items():
            assert text or (key, language) in empty, key
        names = [{name for _, name, _, _ in Formatter().parse(text) if name} for text in found.values()]
        if not key.startswith("text."):
            assert names[0] == names[1], key
    translated = [found for key, found in catalogue().items() if CJK.search(found["zh"])]
    assert len(translated) > 0.95 * len(catalogue())


def test_every_key_that_the_code_names_is_there() -> None:
    source = "".join(inspect.getsource(module) for module in (build, cheers, sections, strategies))
    keys = re.findall(r"words\(\s*\"([a-z_.0-9]+)\"", source)
    assert len(keys) > 120
    missing = [f"missing.{key}" for key in re.findall(r"page\.missing\(\"([a-z]+)\"", source)]
    known = set(catalogue())
    assert set(keys) | set(missing) <= known, sorted((set(keys) | set(missing)) - known)
    assert {f"section.{name}" for name in sections.ORDER} <= known
    assert {f"script.{name}" for name in build.SCRIPT_WORDS} <= known
    script = build._asset("report.js")
    assert set(re.findall(r"\bT\.([a-z_]+)", script)) == set(build.SCRIPT_WORDS)


def test_everything_that_ships_has_words_in_both_languages() -> None:
    known = set(catalogue())
    shipped: dict[str, Any] = {}
    for name in list_scenarios():
        scenario = load_scenario(name)
        if scenario.question:
            assert f"text.{scenario.question}" in known, scenario.question
        assert f"setting.{scenario.setting}" in known and f"perspective.{scenario.perspective}" in known
        assert f"country.{scenario.country or 'china'}" in known
        shipped |= {strategy.id: strategy for strategy in scenario.strategies}
    wanted = {f"text.{note}" for name in list_strategies() if (note := load_strategy(name).note)}
    for strategy in shipped.values():
        assert strategy.label.en and strategy.label.zh
        for node, rows in strategy_content(strategy)["tables"].items():
            wanted.add(f"node.{node}")
            for row in rows:
                wanted.add(f"do.{row['do']}")
                wanted |= {f"drug.{row['systemic']}"} if row["systemic"] else set()
                wanted |= {f"text.{row['note']}"} if row["note"] else set()
                for attribute, op, value in row["when"]:
                    if isinstance(value, bool) and op in ("eq", "ne"):
                        wanted |= {f"attr.{attribute}.{answer}" for answer in ("yes", "no")}
                    else:
                        wanted.add(f"attr.{attribute}")
    graph = pathway()
    wanted |= {f"state.{node.name}" for node in graph.nodes if type(node).__name__ == "State"}
    assert wanted <= known, sorted(wanted - known)
    assert set(list_strategies())


@pytest.mark.parametrize("tag", ["h2", "h3", "h4", "caption", "button", "legend", "dt", "figcaption"])
def test_the_chinese_page_has_no_english_label(full: Path, tag: str) -> None:
    page = Parsed(text_of(full, "zh"))
    items = [item for item in page.of(tag) if item["text"].strip()]
    assert items or tag == "h4"
    for item in items:
        # Names of the project's own strategies, nodes and trials stand as they are written.
        own = item["text"].isascii() and (tag in ("h4", "figcaption") or item["text"].startswith("a: "))
        assert own or CJK.search(item["text"]), item["text"]


def test_a_decision_is_said_in_words(full: Path) -> None:
    content = read_content(full)
    row = {"when": [["child_pugh", "ge", 8], ["milan", "eq", False], ["observed_response", "in", ["stable", "partial"]]],
           "do": "start_systemic", "systemic": "atezo_bev", "note": None}  # fmt: skip
    assert strategies.row_words(Words("en"), row, content) == (
        "Child-Pugh points ≥ 8 and outside Milan and best response seen is stable or partial",
        "start systemic therapy: atezolizumab + bevacizumab",
    )
    assert strategies.row_words(Words("zh"), row, content) == (
        "Child-Pugh评分 ≥ 8，且超出米兰标准，且最佳疗效为稳定或部分缓解",
        "开始系统治疗：阿替利珠单抗+贝伐珠单抗",
    )
    # A number is a number where it is no level's code, and a level's name where it is.
    assert strategies.condition_words(Words("en"), ["observed_response", "ge", 3], content).endswith("≥ partial")
    own = {"when": [["my_score", "lt", 2.5]], "do": "my_action", "systemic": None, "note": None}
    assert strategies.row_words(Words("zh"), own, content) == ("my score < 2.5", "my action")


# -- CHEERS


def test_the_checklist_says_what_the_folder_holds(full: Path, results: Path) -> None:
    whole = {item.number: item.status for item in cheers.checklist(read_content(full))}
    assert list(whole) == list(range(1, 29))
    assert whole[20] == whole[24] == whole[18] == whole[5] == cheers.REPORTED and whole[26] == cheers.PARTLY
    base = {item.number: item.status for item in cheers.checklist(read_content(results / "base"))}
    assert base[20] == base[24] == base[18] == cheers.MISSING and base[26] == cheers.AUTHORS
    psa = {item.number: item.status for item in cheers.checklist(read_content(results / "psa"))}
    assert psa[20] == cheers.PARTLY
    # What a run cannot know is never said to be reported.
    assert {whole[k] for k in (2, 4, 21, 25, 27, 28)} == {cheers.AUTHORS}


# -- a real browser


def chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium, where there is one."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = chromium()
    if path is None:
        pytest.skip("no Chromium")
    with playwright.sync_playwright() as p:
        found = p.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.mark.parametrize("language", list(LANGUAGES))
def test_the_page_works_in_a_browser(browser: Any, full: Path, language: str) -> None:
    path = full / f"browser.{language}.html"
    path.write_text(text_of(full, language), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    trouble: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: trouble.append(message.text))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready=yes]")
    assert asked == [path.as_uri()]
    # Charts are drawn: lines of both axes, and a line or an area for each strategy or state.
    for chart, least in (("survival", 2), ("states", 2), ("plane", 1), ("ceac", 2), ("evpi", 1), ("inmb", 1)):
        assert page.locator(f"#plot-{chart} svg path").count() >= least, chart
        box = page.locator(f"#plot-{chart} svg").bounding_box()
        assert box["width"] > 400 and box["height"] > 150
    # No text leaves its drawing.
    out = page.evaluate(
        "() => [...document.querySelectorAll('.plot > svg')].flatMap(s => { const b = s.getBoundingClientRect();"
        " return [...s.querySelectorAll('text')].filter(t => { const r = t.getBoundingClientRect();"
        " return r.left < b.left - 1 || r.right > b.right + 1 }).map(t => t.textContent) })"
    )
    assert out == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 1200
    # The slider changes the table, which says what the run's tables say at that amount.
    wtp = json.loads(page.locator("#data").text_content())["wtp"]
    before = page.locator("#wtp-table").inner_text()
    page.locator("#wtp").fill(str(len(wtp) - 1))
    after = page.locator("#wtp-table").inner_text()
    assert after != before and f"{wtp[-1]:,.0f} / QALY" in page.locator("#wtp-value").inner_text()
    icer = pd.read_csv(full / "icer.csv")
    priced = icer[(icer["subgroup"] == "all") & (icer["Status"] != "unpriced")].set_index("Strategy")
    net = (wtp[-1] * priced["Effect"] - priced["Cost"]).sort_values(ascending=False)
    rows = page.locator("#wtp-table tbody tr")
    assert [rows.nth(k).get_attribute("data-strategy") for k in range(rows.count())] == list(net.index)
    first = rows.nth(0).locator("td").nth(0).inner_text()
    assert first == sections.signed(f"{net.iloc[0]:,.0f}") and rows.nth(0).get_attribute("class") == "best"
    ceac = pd.read_csv(full / "economics" / "ceac.csv")
    at = ceac[(ceac["subgroup"] == "all") & np.isclose(ceac["WTP"], wtp[-1]) & (ceac["Strategy"] == net.index[0])]
    assert rows.nth(0).locator("td").nth(2).inner_text() == f"{100 * at['Proportion'].iloc[0]:.1f}\u202f%"
    # Strategies can be chosen, the keyboard reads values, Escape lets go.
    boxes = page.locator("#strategy-choice input")
    lines = page.locator("#plot-survival svg path").count()
    boxes.nth(0).uncheck()
    assert page.locator("#plot-survival svg path").count() == lines - 1
    page.locator("#all-strategies").click()
    assert page.locator("#plot-survival svg path").count() == lines
    page.locator("#plot-survival").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.locator("#plot-survival .tip").is_visible() and "±" in page.locator("#plot-survival .tip").inner_text()
    page.keyboard.press("Escape")
    assert not page.locator("#plot-survival .tip").is_visible()
    page.locator("#plot-ceac").hover()
    assert "%" in page.locator("#plot-ceac .tip").inner_text()
    choice = page.locator("#pathway-choice option")
    page.locator("#pathway-choice").select_option(choice.nth(choice.count() - 1).get_attribute("value"))
    assert page.locator("#pathways figure:visible").count() == 1
    # The filter of the inputs leaves what was asked for.
    page.locator("#filter").fill("recurrence")
    names = page.locator("#parameters tbody tr:visible th").all_inner_texts()
    assert names and len(names) < page.locator("#parameters tbody tr").count()
    page.locator("#filter").fill("")
    # On paper: controls are gone, charts stay, text is dark on white.
    page.emulate_media(media="print")
    assert not page.locator("nav.toc").is_visible() and not page.locator("#wtp").is_visible()
    assert page.locator("#plot-survival svg").is_visible()
    page.emulate_media(media="screen")
    assert page.pdf()[:5] == b"%PDF-"
    # A telephone: nothing makes the page wider than the screen.
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert trouble == []
    page.close()


def test_colours_of_text_have_contrast() -> None:
    """WCAG 2.1: at least 4.5 to 1 for text on white and on the wash of tables."""

    def light(colour: str) -> float:
        parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        r, g, b = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    style = build._asset("report.css")
    named = dict(re.findall(r"--([a-z]+):(#[0-9a-f]{6})", style))
    colours = {named[name] for name in ("ink", "soft", "accent", "good", "bad")} | set(
        re.findall(r"[{; ]color: (#[0-9a-f]{6})", style)
    )
    on_dark = {"#d5e1ec"}
    assert len(colours) > 6
    for colour in colours - on_dark:
        for ground in ("#ffffff", named["wash"]):
            pair = sorted((light(colour), light(ground)))
            assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, (colour, ground)
