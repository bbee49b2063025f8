"""Trial files are read whole, and a wrong one is refused at its line; the shipped ones say what they should."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_inputs_strategies import schema_problems

from simhcc.errors import InputError
from simhcc.inputs import load_parameters, read_yaml, read_yaml_bytes
from simhcc.inputs.trials import EVENTS, list_trials, load_trial
from simhcc.trials.pools import MARKS, plan
from simhcc.trials.rows import rows_of

GOOD = """\
id: mine
title: A trial of mine
setting: advanced
design:
  phase: "3"
  n: 300
  allocation: [1, 1]
  masking: open-label
  accrual_months: 20
  drop_out_per_month: 0.005
  analyses:
    - {name: interim, follow_up_months: 10, endpoint: PFS}
    - {name: final, follow_up_months: 24}
  assessment:
    segments:
      - {from_months: 0, every_months: 1.5}
      - {from_months: 12, every_months: 3}
    window_days: 7
    assumed: true
  strata: ["afp >= 400", "ecog >= 1"]
population: imbrave150
time_zero: {event: randomise, description: Randomisation.}
arms:
  - id: new
    n: 150
    strategy: atezo_bev
  - id: old
    n: 150
    mix: {lenvatinib: 0.85, sorafenib: 0.15}
    subsequent: {any: 0.5, immunotherapy: 0.2}
    numbers: {tace.max_sessions: 4}
endpoints:
  PFS: {events: [progression, death], definition: Progression or death.}
  TTP: {events: [progression], censoring: [death], definition: Progression.}
  OS: {events: [death], definition: Death.}
response: {criteria: RECIST 1.1}
subgroups:
  heavy: "afp >= 400"
sequential:
  - {endpoint: OS, arm: new, reference: old, final_events: 200, fractions: [0.5, 1], alpha: 0.025, planned_hr: 0.7, confirmed: true}
targets:
  - {arm: new, endpoint: OS, statistic: median, value: 19.2, ci95: [17.0, null], confirmed: true, use: show}
  - {arm: new, endpoint: OS, statistic: landmark, time_months: 12, value: 0.67, confirmed: true, use: show}
  - {arm: new, endpoint: OS, statistic: landmark, time_months: 24, value: 0.43, confirmed: true, use: fit}
  - {arm: new, endpoint: response, statistic: orr, value: 0.3, confirmed: false, use: show}
contrasts:
  - {endpoint: OS, arm: new, reference: old, hr: 0.66, ci95: [0.52, 0.85], confirmed: true, use: fit, subgroup: heavy}
"""

CONTRAST = "- {endpoint: OS, arm: new, reference: old, hr"
MEDIAN = "- {arm: new, endpoint: OS, statistic: median"

# What is changed in the good file, and words that the message must hold. The line is that of the changed text.
WRONG = {
    "unknown endpoint": ("new, endpoint: response", "new, endpoint: RFS", "the endpoint 'RFS'"),
    "endpoint of a contrast": (CONTRAST, CONTRAST.replace("OS", "OSS"), "OS (the nearest"),
    "missing strategy": ("strategy: atezo_bev", "strategy: atezo_bew", "no strategy called 'atezo_bew'"),
    "missing strategy of a mix": ("lenvatinib: 0.85", "lenvatinip: 0.85", "lenvatinib"),
    "negative accrual": ("accrual_months: 20", "accrual_months: -20", "above 0"),
    "no accrual": ("accrual_months: 20", "accrual_months: 0", "above 0"),
    "landmarks that rise": ("time_months: 24, value: 0.43", "time_months: 24, value: 0.83", "landmarks that fall"),
    "interval without its estimate": ("hr: 0.66", "hr: 0.86", "does not contain 0.86"),
    "half interval without its estimate": ("value: 19.2", "value: 16.9", "does not contain 16.9"),
    "interval turned round": ("[0.52, 0.85]", "[0.85, 0.52]", "lower limit comes first"),
    "unknown event": ("TTP: {events: [progression]", "TTP: {events: [progresion]", "the event 'progresion'"),
    "event that censors itself": ("censoring: [death]", "censoring: [progression]", "an event as well"),
    "endpoint without events": ("OS: {events: [death], definition", "OS: {definition", "without events"),
    "unknown arm": (MEDIAN, MEDIAN.replace("new", "nwe"), "the arm 'nwe'"),
    "unknown reference": ("reference: old, hr", "reference: odl, hr", "the arm 'odl'"),
    "arm against itself": ("reference: old, hr", "reference: new, hr", "another arm"),
    "arm twice": ("  - id: old", "  - id: new", "which stands in line"),
    "unknown key": ("    window_days: 7", "    windo_days: 7", "window_days?"),
    "share above 1": ("value: 0.3,", "value: 30,", "between 0 and 1"),
    "landmark without time": ("time_months: 12, value", "value", "landmark without time_months"),
    "median with time": ("statistic: median,", "statistic: median, time_months: 3,", "median with time_months"),
    "recalled and fitted": ("value: 0.3, confirmed: false, use: show", "value: 0.3, confirmed: false, use: fit", "recalled"),
    "unknown subgroup": ("subgroup: heavy}", "subgroup: light}", "the subgroup 'light'"),
    "unknown analysis": ("use: fit}\n", "use: fit, analysis: third}\n", "the analysis 'third'"),
    "patients beyond the design": ("n: 300", "n: 299", "at least 300"),
    "allocation of three": ("allocation: [1, 1]", "allocation: [1, 1, 1]", "one for each arm"),
    "look without time": ("{name: final, follow_up_months: 24}", "{name: final}", "follow_up_months"),
    "look at an unknown endpoint": ("10, endpoint: PFS", "10, endpoint: PSF", "the endpoint 'PSF'"),
    "event-driven without events": ("follow_up_months: 10, endpoint", "event_driven: true, endpoint", "without events"),
    "scans that begin late": ("from_months: 0,", "from_months: 1,", "month 0"),
    "scans out of order": ("from_months: 12,", "from_months: 0,", "in the order of time"),
    "third pace of scans": ("    window_days: 7", "      - {from_months: 24, every_months: 6}\n    window_days: 7", "at most two"),
    "mix that does not add up": ("sorafenib: 0.15", "sorafenib: 0.25", "add up to 1"),
    "strategy and mix": ("    mix:", "    strategy: sorafenib\n    mix:", "one of them"),
    "more immune therapy than any": ("immunotherapy: 0.2", "immunotherapy: 0.6", "at most `any`"),
    "unknown option": ("strategy: atezo_bev", "strategy: atezo_bev\n    options: {bakbone: stride}", "no option 'bakbone'"),
    "run-in without selection": ("event: randomise,", "event: randomise_after_run_in,", "run-in"),
    "unknown population": ("population: imbrave150", "population: imbrave151", "no population called"),
    "fractions that fall": ("fractions: [0.5, 1]", "fractions: [0.5, 0.4, 1]", "rise to 1"),
    "alpha of two sides": ("alpha: 0.025", "alpha: 0.5", "one-sided"),
    "published look that is none": ("planned_hr: 0.7", "planned_hr: 0.7, published_fraction: 0.6", "one of the fractions"),
    "response as a contrast": (CONTRAST, CONTRAST.replace("OS", "response"), "hazard ratio of response"),
    "months turned round": ("subgroup: heavy}", "subgroup: heavy, period: [12, 6]}", "two months that rise"),
    "subgroup nobody uses": ("subgroups:", "subgroups:\n  other: \"ecog >= 1\"", "which no figure uses"),
    "unknown criteria": ("response: {criteria: RECIST 1.1}", "response: {criteria: RECIST 2}", "RECIST 1.1"),
}  # fmt: skip

# Names of the model are checked when the patients are prepared, still before anything runs.
WRONG_FOR_THE_MODEL = {
    "unknown parameter": ("tace.max_sessions: 4", "tace.max_session: 4", "tace.max_sessions?"),
    "vector": ("tace.max_sessions: 4", "tace.response_low: 4", "a list of numbers"),
    "unknown attribute in strata": ('"ecog >= 1"]', '"ecok >= 1"]', "the name 'ecok'"),
    "unknown level in a subgroup": ('heavy: "afp >= 400"', 'heavy: "cnlc == Ix"', "'Ix' for cnlc"),
    "wrong restriction": ("title: A", 'population_restriction: "afp => 400"\ntitle: A', "NAME OP VALUE"),
}  # fmt: skip


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def changed(change: tuple[str, str, str]) -> tuple[str, set[int]]:
    """The file with a change, and the lines it touches."""
    old, new, _ = change
    assert GOOD.count(old) == 1, old
    first = GOOD[: GOOD.index(old)].count("\n") + 1
    return GOOD.replace(old, new), set(range(first, first + new.count("\n") + 1))


def test_the_good_file_is_good(tmp_path):
    trial = load_trial(written(tmp_path, GOOD))
    assert [label for label, _ in trial.strategies] == ["new", "old/lenvatinib", "old/sorafenib"]
    assert [row.name for row in rows_of(trial)] == [
        "new OS median",
        "new OS landmark 12",
        "new OS landmark 24",
        "new response orr",
        "new : old OS hr [heavy]",
    ]
    assert plan(trial, load_parameters(), patients=8, seed=1, luck=0).draws == 1


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_refused_at_its_line(case, tmp_path):
    text, lines = changed(WRONG[case])
    with pytest.raises(InputError) as refused:
        load_trial(written(tmp_path, text))
    error = refused.value
    assert WRONG[case][2] in str(error), str(error)
    assert error.file is not None
    assert error.file.endswith("mine.yaml")
    # A key that is gone is missed at the mapping that should hold it.
    near = {line - 1 for line in lines} | lines
    assert error.line in (near if case in ("arm twice",) else lines), (error.line, lines, str(error))


@pytest.mark.parametrize("case", WRONG_FOR_THE_MODEL)
def test_names_the_model_does_not_know_are_refused_at_their_line(case, tmp_path):
    text, lines = changed(WRONG_FOR_THE_MODEL[case])
    trial = load_trial(written(tmp_path, text))
    with pytest.raises(InputError) as refused:
        plan(trial, load_parameters(), patients=8, seed=1, luck=0)
    assert WRONG_FOR_THE_MODEL[case][2] in str(refused.value)
    assert refused.value.line in lines


@pytest.mark.parametrize("name", list_trials())
def test_shipped_trials_can_be_prepared_and_follow_the_schema(name):
    trial = load_trial(name)
    assert schema_problems("trial", read_yaml(list_trials()[name]).tree) == []
    ready = plan(trial, load_parameters(), patients=16, seed=1, luck=0)
    assert len(ready.parts) == len(trial.strategies)
    # A file that names strata or numbers that are then not used would be a file that lies.
    assert len(ready.strata) == 16
    for arm in trial.content.arms:
        if arm.caps is not None and arm.caps.max_tace_sessions is not None:
            numbers = next(part.numbers for part in ready.parts if part.arm == arm.id)
            assert numbers["tace.max_sessions"] == arm.caps.max_tace_sessions


@pytest.mark.parametrize(
    "case", ["unknown key", "negative accrual", "share above 1", "alpha of two sides", "interval turned round"]
)
def test_the_schema_refuses_what_it_can(case):
    text, _ = changed(WRONG[case])
    problems = schema_problems("trial", read_yaml_bytes(text.encode(), "mine.yaml").tree)
    # Shares of landmarks and the order of limits need more than one entry: those are left to the reader.
    assert bool(problems) == (case not in ("share above 1", "interval turned round"))


def test_every_event_has_marks():
    assert set(EVENTS) == set(MARKS)


def test_a_packaged_id_must_be_the_name_of_its_file(tmp_path, monkeypatch):
    folder = tmp_path / "params" / "trials"
    folder.mkdir(parents=True)
    (folder / "other.yaml").write_text(GOOD, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="id: other"):
        load_trial("other")
    assert load_trial(folder / "other.yaml").id == "mine"
