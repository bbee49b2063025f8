"""Structural alternatives: read strictly, drawn by their weights, shown one by one; what lies beyond the last landmark."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cli_project import HR, RATE, assembled, invoke, use
from test_sensitivity import Made, uncertain_project

from simhcc.errors import InputError
from simhcc.inputs import Scenario, load_scenario, read_topics
from simhcc.inputs.parameters import ParameterSet, load_parameters
from simhcc.report import command, sensitivity_figures
from simhcc.uncertainty import extrapolation
from simhcc.uncertainty.factors import axes_of, blocks_of, factors_of
from simhcc.uncertainty.outcome import Outcome
from simhcc.uncertainty.question import Question, ask
from simhcc.uncertainty.structural import structural

TOPICS = """\
- id: effect
  label: {en: Effect}
  weights: {base: 0.5, strong: 0.3, none: 0.2}
  grade: assumed
  source: [trial-one]
  reason: judged
"""
STRONG = f"id: strong\nlabel: {{en: Strong}}\nnumbers: {{{HR}: 0.3, {RATE}: 0.004}}\n"
NONE = f"id: none\nlabel: {{en: None}}\nnumbers: {{{HR}: 1.0}}\n"


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def add_structures(root: Path) -> Path:
    write(root, "params/structures.yaml", TOPICS)
    write(root, "scenarios/structures/strong.yaml", STRONG)
    write(root, "scenarios/structures/none.yaml", NONE)
    scenario = root / "scenarios" / "question.yaml"
    scenario.write_text(scenario.read_text(encoding="utf-8") + "structure: all\n", encoding="utf-8")
    return root


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sensitivity_figures, "draw", lambda kind, folder, found, record: folder.mkdir())
    return add_structures(uncertain_project(tmp_path, monkeypatch))


@pytest.fixture
def question(project: Path) -> Question:
    scenario = load_scenario("question")
    return ask(scenario, scenario.load_parameters(), 4096, assembled)


def test_draws_mix_the_alternatives_by_their_weights(project: Path) -> None:
    numbers = load_scenario("question").load_parameters()
    plain = load_parameters()
    n = 20_000
    draws, without = numbers.sample(n, 3), plain.sample(n, 3)
    strong, none = draws[HR] == 0.3, draws[HR] == 1.0
    # Shares 0.3 and 0.2 with standard errors of 0.0032 and 0.0028: five of them, one false alarm in a million.
    assert abs(strong.mean() - 0.3) < 0.0162 and abs(none.mean() - 0.2) < 0.0142
    # One alternative sets both of its numbers; the base case, and what no alternative sets, is drawn as ever.
    assert (draws[RATE][strong] == 0.004).all()
    assert np.array_equal(draws[RATE][~strong], without[RATE][~strong])
    assert np.array_equal(draws[HR][~strong & ~none], without[HR][~strong & ~none])
    # An iteration keeps its alternative whatever the number of iterations.
    assert np.array_equal(numbers.sample(100, 3, first_iteration=500)[HR], draws[HR][500:600])
    assert numbers.fingerprint() != plain.fingerprint()
    assert {HR, RATE} <= set(numbers.uncertain())
    assert [name for name, _ in numbers.files if "structures" in name] == [
        "params/structures.yaml", "scenarios/structures/strong.yaml", "scenarios/structures/none.yaml",
    ]  # fmt: skip


def test_the_base_case_is_left_alone(project: Path) -> None:
    assert load_scenario("question").load_parameters().base_values()[HR] == 0.59


def test_a_topic_is_one_factor_with_the_draws_it_replaces(question: Question) -> None:
    (block,) = [b for b in blocks_of(question.parameters, question.used()) if b.kind == "structure"]
    assert set(block.members) == {HR, RATE} and block.size == 3
    (factor,) = factors_of(question.parameters, question.used(), [HR], [])
    u = np.array([[0.2, 0.5, 0.5], [0.6, 0.5, 0.5], [0.9, 0.5, 0.5]])
    values = factor.values(question.parameters, u)
    median = float(question.parameters[HR].uncertainty.marginals[0].ppf(0.5))  # type: ignore[union-attr]
    assert values[HR] == pytest.approx([median, 0.3, 1.0])
    assert values[RATE][1] == 0.004 and values[RATE][0] == values[RATE][2] != 0.004
    # One number at a time still moves along its own distribution.
    assert [axis.name for axis in axes_of(question.parameters, [HR], {}, question.used())] == [HR]


def test_alternatives_one_by_one_and_weighted_by_hand(question: Question) -> None:
    run = Made(question, lambda v: 10.0 * v[HR] + 1000.0 * v[RATE])
    found = structural(question, Outcome("y", "s"), question.parameters.structures, (), run)
    base = 5.9 + 8.0
    assert found.base == pytest.approx(base)
    table = found.table.set_index("alternative")
    assert table.loc["strong", "change"] == pytest.approx(3.0 + 4.0 - base)
    assert table.loc["none", "change"] == pytest.approx(4.1)
    assert found.mixed == pytest.approx(base + 0.3 * (7.0 - base) + 0.2 * 4.1)
    assert table["weight"].tolist() == [0.3, 0.2] and run.calls == [3]


def test_the_command_shows_them(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "assembled", assembled)
    asked = ("sensitivity", "structural", "question", "--outcome", "ly", "--strategy", "by_burden_len", "--quiet")
    done = invoke(*asked, "--patients", 4096, "--out", "found", "--json")
    assert done.exit_code == 0, done.stderr
    rows = {row["alternative"]: row for row in json.loads(done.stdout)["structural"]}
    assert rows["strong"]["change"] > 0.0 > rows["none"]["change"]
    assert set(pd.read_csv(project / "found" / "structural.csv")["alternative"]) == {"strong", "none"}


def test_a_probabilistic_run_draws_them(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from simhcc.report import decision_figures, figures

    monkeypatch.setattr(command, "assembled", assembled)
    monkeypatch.setattr(figures, "draw_figures", lambda folder, tables, record: folder.mkdir())
    monkeypatch.setattr(decision_figures, "draw", lambda folder, found, labels, scenario: None)
    asked = ("run", "question", "--patients", 200, "--iterations", 40, "--out", "found", "--quiet")
    assert invoke(*asked).exit_code == 0
    draws = pd.read_csv(project / "found" / "inputs" / "draws.csv")
    assert {0.3, 1.0} <= set(draws[HR]) and len(set(draws[HR])) > 10


@pytest.mark.parametrize(
    ("file", "old", "new", "line", "words"),
    [
        ("params/structures.yaml", "none: 0.2", "none: 0.3", 3, "add up to 1.1"),
        ("params/structures.yaml", "strong: 0.3", "weak: 0.3", 3, "weak"),
        ("params/structures.yaml", "base: 0.5, ", "", 3, "base"),
        ("params/structures.yaml", "strong: 0.3", "strong: -0.3", 3, "from 0 to 1"),
        ("params/structures.yaml", "trial-one", "trial-nine", 5, "trial-nine"),
        ("params/structures.yaml", "  reason: judged\n", "", 1, "reason"),
        ("scenarios/structures/strong.yaml", HR, "recurrence.no_such", 3, "recurrence.no_such"),
        ("scenarios/structures/strong.yaml", "0.3,", "-0.3,", 3, "hazard_ratio"),
        ("scenarios/question.yaml", "structure: all", "structure: [effect, effect]", None, "twice"),
        ("scenarios/question.yaml", "structure: all", "structure: [affect]", None, "effect"),
        ("scenarios/question.yaml", "structure: all", "structure: some", None, "all, or a list"),
        ("scenarios/question.yaml", "structure: all", f"structure: all\noverrides: {{{HR}: 0.5}}", None, "leave out"),
    ],
)
def test_wrong_files_are_refused_with_their_place(
    project: Path, file: str, old: str, new: str, line: int | None, words: str
) -> None:
    path = project / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(InputError) as refused:
        load_scenario("question").load_parameters()
    assert words in str(refused.value)
    assert refused.value.file == file and (line is None or refused.value.line == line)


def test_two_topics_may_not_set_the_same_number(project: Path) -> None:
    path = project / "params" / "structures.yaml"
    path.write_text(TOPICS + TOPICS.replace("id: effect", "id: other"), encoding="utf-8")
    with pytest.raises(InputError, match="the topic effect sets too"):
        read_topics("all", load_parameters(), project)


def test_the_packaged_topics_reach_their_scenarios() -> None:
    for name, fewest in (("advanced", 5), ("intermediate", 4), ("resectable", 3)):
        scenario = load_scenario(name)
        numbers = scenario.load_parameters()
        found = ask(
            replace(scenario, strategies=scenario.strategies[:2], comparator=scenario.strategies[0].id),
            numbers,
            4096,
            command.assembled,
        )
        used = found.used()
        assert sum(bool(set(topic.names) & used) for topic in numbers.structures) >= fewest
        assert all(each.numbers for topic in numbers.structures for each in topic.alternatives[1:])


# ---------------------------------------------------------------------------------------------------------------------
# Beyond the last landmark


def tail_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = use(tmp_path, monkeypatch)
    write(
        root,
        "params/extrapolation.yaml",
        "extrapolation:\n  last_landmark_months:\n    intermediate: "
        "{value: 60, unit: months, grade: assumed, reason: test}\n",
    )
    write(root, "params/structures.yaml", TOPICS.replace("id: effect", "id: tail"))
    write(root, "scenarios/structures/strong.yaml", STRONG)
    write(root, "scenarios/structures/none.yaml", NONE)
    return root


def longer(scenario: Scenario, numbers: ParameterSet) -> Any:
    return assembled(scenario, numbers)


def test_the_share_beyond_the_landmark_is_what_a_shorter_horizon_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tail_project(tmp_path, monkeypatch)
    scenario = load_scenario("question")
    numbers = scenario.load_parameters()
    found = extrapolation.extrapolations(scenario, numbers, longer, threads=1)
    assert found is not None and found.months == 60.0
    assert list(dict.fromkeys(found.table["case"])) == ["model", "strong", "none"]
    from simhcc.simulation import simulate

    evaluation, values, cohort = assembled(replace(scenario, patients=4096, iterations=1), numbers)
    cohort = {name: column[:4096] for name, column in cohort.items()}
    whole = simulate(evaluation, values, cohort, patients=4096, luck=0)
    bare = replace(evaluation, horizon=60.0, landmarks=(), restrictions=())
    short = simulate(bare, values, cohort, patients=4096, luck=0)
    row = found.table[(found.table["strategy"] == scenario.comparator) & (found.table["case"] == "model")]
    k = whole.strategies.index(scenario.comparator)
    for outcome in ("ly", "qaly", "cost"):
        mean = whole.means[0, k, whole.column(outcome)]
        part = row[row["outcome"] == outcome].iloc[0]
        assert part["mean"] == pytest.approx(mean)
        assert part["beyond"] == pytest.approx(1.0 - short.means[0, k, short.column(outcome)] / mean)
    changes = found.table[(found.table["case"] == "none") & (found.table["outcome"] == "ly")]["change"]
    assert (changes < 0.0).all()
    assert set(found.incremental["strategy"]) == {s.id for s in scenario.strategies} - {scenario.comparator}


def test_without_a_last_landmark_there_is_nothing_beyond(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(tmp_path, monkeypatch)
    scenario = load_scenario("question")
    assert extrapolation.extrapolations(scenario, scenario.load_parameters(), assembled) is None


def test_a_run_prints_and_writes_the_continuations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from simhcc.report import decision_figures, figures

    monkeypatch.setattr(figures, "draw_figures", lambda folder, tables, record: folder.mkdir())
    monkeypatch.setattr(decision_figures, "draw", lambda folder, found, labels, scenario: None)
    root = tail_project(tmp_path, monkeypatch)
    done = invoke("run", "question", "--patients", 300, "--iterations", 1, "--out", "found", "--quiet")
    assert done.exit_code == 0, done.stderr
    assert "Beyond the last published landmark (60 months" in done.stdout
    table = pd.read_csv(root / "found" / "extrapolations.csv")
    assert set(table["case"]) == {"model", "strong", "none"} and (table["months"] == 60).all()
