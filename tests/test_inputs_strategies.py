"""Strategies and scenarios: inheritance, options, overlays; and the JSON Schemas of all files."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
from inputs_project import FOLDER, use_project

from simhcc.claims.schema import claim_schemas
from simhcc.errors import InputError
from simhcc.inputs import (
    UNITS,
    Condition,
    ParameterName,
    Row,
    json_schema,
    list_scenarios,
    list_strategies,
    load_scenario,
    load_strategy,
    packaged_folder,
    read_when,
    read_yaml,
    read_yaml_bytes,
    with_options,
)
from simhcc.inputs.models import (
    DISTRIBUTIONS,
    FORMS,
    SCENARIO_REQUIRED,
    LeafModel,
    RowModel,
    ScenarioModel,
    SourceModel,
    StrategyEntryModel,
    StrategyModel,
    SubgroupModel,
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return use_project(tmp_path, monkeypatch)


def strategy(root: Path, name: str, tables: str, head: str = "") -> Path:
    path = root / f"scenarios/strategies/{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"id: {name}\nlabel: {{en: {name}}}\nsetting: advanced\n{head}tables:\n{tables}", encoding="utf-8")
    return path


def scenario(root: Path, name: str, text: str) -> Path:
    path = root / f"scenarios/{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"id: {name}\n{text}", encoding="utf-8")
    return path


# ---------------------------------------------------------------------------------------------------------------------
# Strategies


def test_rows_are_frozen_typed_and_placed(root):
    found = load_strategy("by_burden")
    first, last = found.tables["adjuvant"]
    assert first == Row(
        (
            Condition("burden_score", "gt", ParameterName("cutoffs.burden_low")),
            Condition("burden_score", "le", ParameterName("cutoffs.burden_high")),
            Condition("child_pugh", "in", ("A5", "A6")),
        ),
        "start_systemic",
        "atezo_bev",
        "none",
        (("line", 1),),
    )
    assert isinstance(first.when[0].value, ParameterName) and first.place == ("scenarios/strategies/by_burden.yaml", 6)
    assert last == Row((), "nothing") and last.place == ("scenarios/strategies/standard_care.yaml", 12)
    assert found.lineage == ("standard_care",) and found.setting == "intermediate"
    assert found.tables["next_line"] == load_strategy("standard_care").tables["next_line"]
    assert sorted(found.parameters_named()) == ["cutoffs.burden_high", "cutoffs.burden_low"]
    error = first.error("start_systemic", "another action")
    assert (error.file, error.line) == ("scenarios/strategies/by_burden.yaml", 6)
    assert pickle.loads(pickle.dumps(found)) == found
    with pytest.raises(AttributeError):
        first.action = "other"


@pytest.mark.parametrize(
    "written, read",
    [
        ("3", [("eq", 3)]),
        ("true", [("eq", True)]),
        ("no", [("eq", "no")]),
        ("[a, b]", [("in", ("a", "b"))]),
        ("{not_in: [1, 2]}", [("not_in", (1, 2))]),
        ("{ne: a}", [("ne", "a")]),
        ("{gt: 1, le: 2.5}", [("gt", 1), ("le", 2.5)]),
        ("{lt: x.y, ge: 0}", [("lt", "x.y"), ("ge", 0)]),
        ("{gt: 12, lt: x.y}", [("gt", 12), ("lt", "x.y")]),
        ("{ge: 1, le: 1}", [("ge", 1), ("le", 1)]),
    ],
)
def test_conditions(written, read):
    document = read_yaml_bytes(f"when: {{a: {written}}}".encode(), "f.yaml")
    assert [(condition.op, condition.value) for condition in read_when(document, ("when",))] == read


@pytest.mark.parametrize("written", ["{gt: 1, lt: 1}", "{ge: 1, lt: 1}", "{gt: 2, le: 1}", "{gt: 1, ge: 0, le: 1}"])
def test_bounds_that_no_number_meets(written):
    document = read_yaml_bytes(f"when: {{a: {written}}}".encode(), "f.yaml")
    with pytest.raises(InputError, match="no number meets"):
        read_when(document, ("when",))


def test_a_table_replaces_or_continues_the_inherited_one(root):
    front = "  next_line:\n    - when: {line: 3}\n      do: supportive\n"
    strategy(root, "replacing", front + "    - do: stop\n")
    strategy(root, "continuing", front + "    - inherit: true\n")
    standard = load_strategy("standard_care").tables["next_line"]
    assert [row.action for row in load_strategy("replacing").tables["next_line"]] == ["supportive", "stop"]
    continuing = load_strategy("continuing").tables["next_line"]
    assert continuing[1:] == standard and continuing[0].when == (Condition("line", "eq", 3),)
    # Tables that are not named are inherited whole.
    assert load_strategy("replacing").tables["adjuvant"] == load_strategy("standard_care").tables["adjuvant"]


def test_inheritance_goes_on_over_generations(root):
    strategy(root, "parent", "  adjuvant:\n    - when: {a: 1}\n      do: one\n    - inherit: true\n")
    strategy(
        root, "child", "  adjuvant:\n    - when: {a: 2}\n      do: two\n    - inherit: true\n", "inherits: parent\n"
    )
    child = load_strategy("child")
    assert [row.action for row in child.tables["adjuvant"]] == ["two", "one", "nothing"]
    assert child.lineage == ("parent", "standard_care")


def test_a_strategy_may_inherit_nothing(root):
    strategy(root, "alone", "  adjuvant:\n    - do: nothing\n", "inherits: none\n")
    alone = load_strategy("alone")
    assert set(alone.tables) == {"adjuvant"} and alone.lineage == () and dict(alone.options) == {}


def test_a_long_circle_is_named(root):
    for name, parent in (("aa", "bb"), ("bb", "cc"), ("cc", "aa")):
        strategy(root, name, "  adjuvant:\n    - do: nothing\n", f"inherits: {parent}\n")
    with pytest.raises(InputError, match="aa -> bb -> cc -> aa"):
        load_strategy("aa")


def test_options_fill_inherited_rows_too(root):
    standard = load_strategy("standard_care")
    other = with_options(standard, backbone="len_pembro")
    assert (
        other.tables["next_line"][1].systemic == "len_pembro"
        and standard.tables["next_line"][1].systemic == "atezo_bev"
    )
    assert other.options["backbone"] == "len_pembro" and other.id == "standard_care"
    strategy(root, "child", "  adjuvant:\n    - do: nothing\n", "options: {backbone: stride}\n")
    assert load_strategy("child").tables["next_line"][1].systemic == "stride"
    # An inherited option that no row uses any more is not an option of the strategy.
    strategy(root, "without", "  next_line:\n    - do: supportive\n")
    assert dict(load_strategy("without").options) == {}
    with pytest.raises(InputError, match=r"no option 'backbone'"):
        with_options(load_strategy("without"), backbone="x")
    with pytest.raises(InputError, match=r"no option 'bakbone'"):
        with_options(standard, bakbone="x")
    # The same option twice is the same strategy: only a name differs.
    assert with_options(standard, backbone="atezo_bev") == standard


def test_options_keep_their_type_or_join_text(root):
    rows = (
        "  adjuvant:\n    - when: {months: {ge: '${months}'}, who: ['${who}']}\n      do: give_${drug}\n"
        "      set: {left: '${months}'}\n    - do: nothing\n"
    )
    strategy(root, "typed", rows, "options: {months: 12, who: all, drug: stride}\n")
    row = load_strategy("typed").tables["adjuvant"][0]
    assert row.when == (Condition("months", "ge", 12), Condition("who", "in", ("all",)))
    assert row.action == "give_stride" and row.set == (("left", 12),)
    # A threshold option may name a parameter.
    named = with_options(load_strategy("typed"), months="cutoffs.burden_low").parameters_named()
    assert named["cutoffs.burden_low"].place.line == 7
    with pytest.raises(InputError, match="dotted name"):
        with_options(load_strategy("typed"), months="soon")


def test_the_users_strategies_win(root, tmp_path):
    mine = tmp_path / "mine"
    strategy(mine, "by_burden", "  adjuvant:\n    - do: mine\n")
    strategy(mine, "another", "  adjuvant:\n    - do: another\n", "inherits: by_burden\n")
    assert load_strategy("by_burden", mine).tables["adjuvant"][0].action == "mine"
    assert load_strategy("another", mine).lineage == ("by_burden", "standard_care")
    assert set(list_strategies(mine)) == {"standard_care", "by_burden", "another"}
    assert set(list_strategies()) == {"standard_care", "by_burden"}
    # By path the file may have any name.
    copy = mine / "copy.yaml"
    copy.write_bytes((mine / "scenarios/strategies/another.yaml").read_bytes())
    assert load_strategy(copy, mine).id == "another"


# ---------------------------------------------------------------------------------------------------------------------
# Scenarios


def test_a_scenario_is_resolved(root):
    found = load_scenario("question")
    assert (found.id, found.setting, found.comparator, found.country) == (
        "question",
        "intermediate",
        "standard_care",
        "china",
    )
    assert (found.patients, found.iterations, found.seed, found.horizon_years) == (1000, 10, 7, None)
    assert found.perspective == "healthcare_system" and found.wtp == (100000.0,)
    assert found.population == root / "params/populations/people.yaml"
    assert [each.id for each in found.strategies] == ["standard_care", "by_burden_len"]
    assert found.strategy("by_burden_len").tables["adjuvant"][0].systemic == "len_pembro"
    assert found.strategy("standard_care").tables["next_line"][1].systemic == "atezo_bev"
    assert found.subgroups[0].id == "young" and found.subgroups[0].when == (Condition("age", "lt", 65),)
    parameters = found.load_parameters()
    assert parameters["recurrence.hr_perioperative"].value == 0.7
    assert parameters["recurrence.hr_perioperative"].place == ("scenarios/question.yaml", 18)
    assert parameters["recurrence.hr_perioperative"].reason == "set by scenarios/question.yaml"
    with pytest.raises(InputError, match=r"by_burden_len"):
        found.strategy("by_burden")
    again = pickle.loads(pickle.dumps(found))
    assert again == found and again.load_parameters() == parameters


def test_the_files_of_a_scenario_are_listed(root):
    files = dict(load_scenario("question").files)
    assert set(files) == {
        "scenarios/question.yaml",
        "scenarios/strategies/standard_care.yaml",
        "scenarios/strategies/by_burden.yaml",
        "params/populations/people.yaml",
    }
    raw = (root / "scenarios/question.yaml").read_bytes()
    assert files["scenarios/question.yaml"] == hashlib.sha256(raw).hexdigest()


def test_an_extended_scenario_replaces_keys_and_joins_overrides(root):
    scenario(
        root,
        "more",
        "extends: question\npatients: 5\noverrides: {cost.visit: 1}\ncountry: elsewhere\nhorizon_years: 20\n",
    )
    found = load_scenario("more")
    assert (found.patients, found.iterations, found.country, found.horizon_years) == (5, 10, "elsewhere", 20.0)
    assert found.extends == ("question",) and found.label.text("zh") == "一个问题"
    assert dict(found.overrides) == {"recurrence.hr_perioperative": 0.7, "cost.visit": 1}
    parameters = found.load_parameters()
    assert parameters["cost.visit"].value == 1.0 and parameters["cost.visit"].place.file == "scenarios/more.yaml"
    assert parameters["recurrence.hr_perioperative"].place.file == "scenarios/question.yaml"
    # The nearer file wins where both name a number.
    scenario(root, "most", "extends: more\noverrides: {cost.visit: 2, recurrence.hr_perioperative: 0.9}\n")
    parameters = load_scenario("most").load_parameters()
    assert parameters["cost.visit"].value == 2.0 and parameters["recurrence.hr_perioperative"].value == 0.9


def test_errors_in_an_extended_scenario_name_its_own_file(root):
    scenario(root, "more", "extends: question\ncomparator: by_burdn\n")
    with pytest.raises(InputError) as caught:
        load_scenario("more")
    assert (caught.value.file, caught.value.line) == ("scenarios/more.yaml", 3)
    (root / "scenarios/more.yaml").unlink()
    scenario(root, "more", "extends: question\nlabel: {en: More}\noverrides: {cost.visits: 2}\n")
    with pytest.raises(InputError) as caught:
        load_scenario("more").load_parameters()
    assert (caught.value.file, caught.value.line, caught.value.key) == (
        "scenarios/more.yaml",
        4,
        "overrides.cost.visits",
    )


def test_overrides_with_a_distribution_are_drawn(root):
    scenario(
        root, "drawn", "extends: question\noverrides:\n  cost.visit: {value: 10, distribution: {gamma: {sd: 1}}}\n"
    )
    parameters = load_scenario("drawn").load_parameters()
    assert parameters["cost.visit"].uncertainty.marginals[0].mean == pytest.approx(10.0)
    scenario(
        root,
        "drawn",
        "extends: question\noverrides:\n  cost.visit:\n    value: 10\n    distribution: {gamma: {sd: -1}}\n",
    )
    with pytest.raises(InputError) as caught:
        load_scenario("drawn").load_parameters()
    assert caught.value.line == 6 and caught.value.key == "overrides.cost.visit.distribution.gamma.sd"


def test_extra_files_are_named_from_the_scenario(root):
    (root / "scenarios/extra.yaml.txt").write_text("x")
    extra = root / "extra/numbers.yaml"
    extra.parent.mkdir()
    extra.write_text("cost:\n  visit: {value: 4, unit: cny, grade: assumed, reason: extra}\n")
    scenario(root, "with_extra", "extends: question\nparameters: [../extra/numbers.yaml]\n")
    assert load_scenario("with_extra").load_parameters()["cost.visit"].value == 4.0


def test_a_threshold_must_name_a_parameter_of_one_number(root):
    scenario(root, "named", "extends: question\nstrategies: [standard_care, tested]\n")
    strategy(root, "tested", "  adjuvant:\n    - when: {score: {gt: cutoffs.burdn_low}}\n      do: a\n    - do: b\n")
    with pytest.raises(InputError) as caught:
        load_scenario("named").load_parameters()
    assert (caught.value.file, caught.value.line) == ("scenarios/strategies/tested.yaml", 6)
    assert "cutoffs.burden_low" in caught.value.expected
    strategy(
        root,
        "tested",
        "  adjuvant:\n    - when: {score: {gt: recurrence.shares_of_extent}}\n      do: a\n    - do: b\n",
    )
    with pytest.raises(InputError, match="which is a vector"):
        load_scenario("named").load_parameters()


def test_wtp_may_name_a_parameter(root):
    scenario(root, "wtp", "extends: question\nwtp: [cost.visit, 5]\n")
    found = load_scenario("wtp")
    assert found.wtp == (ParameterName("cost.visit"), 5.0) and isinstance(found.wtp[0], ParameterName)
    assert found.load_parameters()["cost.visit"].value == 300.0


def test_the_users_scenarios_win_and_paths_work(root, tmp_path, monkeypatch):
    mine = tmp_path / "mine"
    path = scenario(
        mine, "question", (root / "scenarios/question.yaml").read_text().split("\n", 1)[1].replace("1000", "3")
    )
    assert load_scenario("question", mine).patients == 3 and load_scenario("question").patients == 1000
    assert load_scenario(path).patients == 3
    assert set(list_scenarios(mine)) == {"question"}
    scenario(mine, "own", "extends: question\npatients: 4\n")
    assert load_scenario("own", mine).patients == 4
    # The numbers of the user's folder are found from anywhere, once the scenario is read.
    numbers = mine / "params/numbers.yaml"
    numbers.parent.mkdir()
    numbers.write_text("cost:\n  visit: {value: 4, unit: cny, grade: assumed, reason: mine}\n")
    monkeypatch.chdir(mine)
    here = load_scenario("own")
    monkeypatch.chdir(tmp_path)
    assert here.load_parameters()["cost.visit"].value == 4.0


def test_a_strategy_may_be_named_by_its_path(root):
    path = strategy(root / "elsewhere", "pathed", "  adjuvant:\n    - do: nothing\n")
    relative = f"../{path.relative_to(root).as_posix()}"
    scenario(root, "pathed", f"extends: question\nstrategies: [standard_care, {relative}]\n")
    assert load_scenario("pathed").strategies[1].id == "pathed"


def test_a_renamed_strategy_has_the_same_rows(root):
    scenario(
        root,
        "twins",
        "extends: question\nstrategies:\n  - standard_care\n  - {id: standard_care, as: twin, label: {en: Twin}}\n",
    )
    first, second = load_scenario("twins").strategies
    assert (second.id, second.label.en) == ("twin", "Twin") and first.tables == second.tables


# ---------------------------------------------------------------------------------------------------------------------
# JSON Schema: a small independent validator, which refuses keywords that it does not know

KINDS_OF_TYPE: dict[str, Any] = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "null": lambda v: v is None,
}
LIMITS: dict[str, Any] = {
    "minimum": lambda value, rule: value < rule,
    "exclusiveMinimum": lambda value, rule: value <= rule,
    "maximum": lambda value, rule: value > rule,
    "exclusiveMaximum": lambda value, rule: value >= rule,
    "pattern": lambda value, rule: re.search(rule, value) is None,
    "minLength": lambda value, rule: len(value) < rule,
}
IGNORED = {"title", "description", "$schema", "$defs", "default", "then", "else", "properties"}


def problems(value: Any, schema: Any, root_schema: Any, where: str = "") -> list[str]:
    """What a JSON Schema finds wrong with a value."""

    def inside(part: Any, sub: Any, name: object) -> list[str]:
        return problems(part, sub, root_schema, f"{where}/{name}")

    found: list[str] = []
    for keyword, rule in schema.items():
        if keyword == "$ref":
            target = root_schema
            for part in rule.removeprefix("#/").split("/"):
                target = target[part]
            found += inside(value, target, "")
        elif keyword == "type":
            if not any(KINDS_OF_TYPE[kind](value) for kind in ([rule] if isinstance(rule, str) else rule)):
                found.append(f"{where}: not {rule}")
        elif keyword == "enum":
            found += [] if value in rule else [f"{where}: not in {rule}"]
        elif keyword == "const":
            found += [] if value == rule else [f"{where}: not {rule}"]
        elif keyword == "anyOf":
            each = [problems(value, option, root_schema, where) for option in rule]
            found += [] if not all(each) else [f"{where}: none of {len(rule)} forms ({min(each, key=len)[0]})"]
        elif keyword == "if":
            branch = "else" if problems(value, rule, root_schema) else "then"
            found += problems(value, schema.get(branch, {}), root_schema, where)
        elif keyword in LIMITS:
            if isinstance(value, str) != (keyword in ("pattern", "minLength")) or isinstance(value, list | dict | bool):
                continue
            wrong = LIMITS[keyword]
            found += [f"{where}: {keyword} {rule}"] if wrong(value, rule) else []
        elif keyword in ("minItems", "maxItems", "items"):
            if isinstance(value, list):
                if keyword == "items":
                    found += [text for n, item in enumerate(value) for text in inside(item, rule, n)]
                elif (len(value) < rule) if keyword == "minItems" else (len(value) > rule):
                    found.append(f"{where}: {keyword} {rule}")
        elif keyword in ("minProperties", "maxProperties", "required", "propertyNames", "additionalProperties"):
            if not isinstance(value, dict):
                continue
            known = schema.get("properties", {})
            if keyword == "required":
                found += [f"{where}: no {name}" for name in rule if name not in value]
            elif keyword == "propertyNames":
                found += [text for name in value for text in inside(name, rule, name)]
            elif keyword == "additionalProperties":
                others = [name for name in value if name not in known]
                if rule is False:
                    found += [f"{where}: unknown {name}" for name in others]
                elif rule is not True:
                    found += [text for name in others for text in inside(value[name], rule, name)]
            elif (len(value) < rule) if keyword == "minProperties" else (len(value) > rule):
                found.append(f"{where}: {keyword} {rule}")
        elif keyword not in IGNORED:
            raise AssertionError(f"unknown keyword {keyword}")
    if isinstance(value, dict):
        for name, rule in schema.get("properties", {}).items():
            if name in value:
                found += inside(value[name], rule, name)
    return found


SCHEMAS = json_schema() | claim_schemas()


def schema_problems(kind: str, tree: Any) -> list[str]:
    schema = SCHEMAS[kind]
    return problems(tree, schema, schema)


BASE = {
    "params/sources.yaml": "sources",
    "params/numbers.yaml": "params",
    "params/countries/china/costs.yaml": "params",
    "scenarios/strategies/standard_care.yaml": "strategy",
    "scenarios/strategies/by_burden.yaml": "strategy",
    "scenarios/question.yaml": "scenario",
}


@pytest.mark.parametrize("name", sorted(BASE))
def test_the_schema_accepts_the_good_files(name):
    assert schema_problems(BASE[name], read_yaml(FOLDER / "base" / name).tree) == []


# Wrong in a way that only reading finds: other files, sums, solved distributions, order of rows, names of parameters.
BEYOND_THE_SCHEMA = {
    "params": """unknown_source published_without_source derived_without_formula calibrated_without_run
        assumed_without_reason negative_cost utility_above_1 share_above_1 defined_twice inside_a_parameter
        new_in_packaged_file limits_swapped value_outside_ci95 lopsided_ci95 zero_lower_limit beta_too_wide negative_sd
        mean_beside_value normal_outside_unit gamma_for_a_share value_outside_uniform uniform_turned_round
        triangle_turned_round dirichlet_of_one dirichlet_of_a_number dirichlet_not_adding_up dirichlet_other_length
        dirichlet_without_weight
        list_for_one_number list_of_other_length source_twice currency_without_rate
        lognormal_without_end""",
    "sources": "",
    "correlations": """not_positive_definite not_symmetric matrix_of_other_size correlated_unknown correlated_fixed
        correlated_vector correlated_twice""",
    "strategies": """strategy_other_id strategy_unknown_parent strategy_circle strategy_falls_through
        strategy_unreachable strategy_same_conditions strategy_inherit_first strategy_inherit_nothing
        strategy_word_as_threshold strategy_impossible_bounds strategy_undeclared_option strategy_unused_option
        strategy_name_with_space""",
    "scenarios": """scenario_comparator scenario_unknown_strategy scenario_strategy_twice scenario_unknown_option
        scenario_unknown_population scenario_population_path scenario_unknown_country scenario_wtp scenario_wtp_unknown
        scenario_extends_unknown scenario_circle scenario_override_unknown scenario_override_range
        scenario_override_length scenario_parameters_missing scenario_subgroup_twice scenario_subgroup_option""",
}
SCHEMA_OF = {
    "params": "params",
    "sources": "sources",
    "correlations": "correlations",
    "strategies": "strategy",
    "scenarios": "scenario",
}


@pytest.mark.parametrize("kind", sorted(SCHEMA_OF))
def test_the_schema_refuses_the_wrong_files_it_can_see(kind):
    accepted = set()
    for path in sorted((FOLDER / kind).glob("*.yaml")):
        try:
            tree = read_yaml(path).tree
        except InputError:
            continue
        if not schema_problems(SCHEMA_OF[kind], tree):
            accepted.add(path.stem)
    assert accepted == set(BEYOND_THE_SCHEMA[kind].split())


def test_the_schema_of_the_small_files():
    assert schema_problems("correlations", [{"parameters": ["a.b", "c.d"], "matrix": [[1, 0.5], [0.5, 1]]}]) == []
    good = {"parameters": ["a.b"], "draws": 2, "sha256": "x", "run": "calibrate"}
    assert schema_problems("posterior", good) == []
    assert schema_problems("posterior", {**good, "more": 1}) == [": unknown more"]


def test_a_scenario_needs_all_its_keys_unless_it_extends_another():
    whole = read_yaml(FOLDER / "base/scenarios/question.yaml").tree
    for key in SCENARIO_REQUIRED:
        part = {name: value for name, value in whole.items() if name != key}
        assert schema_problems("scenario", part), key
        assert schema_problems("scenario", {**part, "extends": "another"}) == []


def test_the_schemas_are_json():
    assert json.loads(json.dumps(json_schema())) == json_schema()


def test_the_schema_accepts_the_shipped_files():
    checked = 0
    for tree in ("params", "scenarios"):
        for path in sorted(packaged_folder(tree).rglob("*.yaml")):
            folder = path.relative_to(packaged_folder(tree)).parts[0]
            if tree == "params":
                kinds = {"sources.yaml": "sources", "correlations.yaml": "correlations", "posterior": "posterior"}
                kinds |= {"structures.yaml": "structures"}
                kinds |= {"trials": "trial", "populations": None, "calibration": None}
                kind = kinds.get(folder, "params")
            else:
                kinds = {
                    "strategies": "strategy",
                    "claims": "claim",
                    "structures": "structure",
                    "forecasts": "forecast",
                }
                kind = "trial" if path.parent.name == "trials" else kinds.get(folder, "scenario")
            if kind is not None:
                assert schema_problems(kind, read_yaml(path).tree) == [], path
                checked += 1
    assert checked >= 10


def test_the_schemas_of_claims_and_forecasts_see_what_is_misspelt():
    claim = read_yaml(packaged_folder("scenarios") / "claims" / "perioperative-os.yaml").tree
    for path in (
        ("statment",),
        ("components", 0, "rul"),
        ("experiments", next(iter(claim["experiments"])), "populaton"),
    ):
        wrong = json.loads(json.dumps(claim))
        place = wrong
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = "x"
        assert any(path[-1] in text for text in schema_problems("claim", wrong)), path
    forecast = read_yaml(packaged_folder("scenarios") / "forecasts" / "talentop-os.yaml").tree
    assert schema_problems("forecast", forecast | {"cutoff": 3}) == [": unknown cutoff"]
    assert schema_problems("forecast", forecast | {"cutoff_months": -3}) != []


# ---------------------------------------------------------------------------------------------------------------------
# The page for users

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "inputs.md").read_text(encoding="utf-8")


def test_the_page_names_every_unit_key_and_distribution():
    for unit in UNITS:
        assert f"`{unit}`" in PAGE, unit
    for model in (LeafModel, ScenarioModel, StrategyModel, StrategyEntryModel, SubgroupModel, RowModel, SourceModel):
        for name, field in model.model_fields.items():
            word = field.alias or name
            assert re.search(rf"\b{word}\b", PAGE), f"{model.__name__}.{word}"
    for kind, model in DISTRIBUTIONS.items():
        for form in FORMS[model]:
            assert "{" + ", ".join(form) + "}" in next(
                line for line in PAGE.splitlines() if line.startswith(f"| `{kind}`")
            )
    for unit in UNITS:
        negative = unit in ("number", "score", "correlation", "log10_ng_per_ml") or unit.startswith("log_")
        assert (UNITS[unit].low < 0) == (negative and unit != "log_sd"), unit


def test_the_examples_on_the_page_are_good_files():
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
    kinds = ["params", "correlations", "posterior", "sources", "scenario", "strategy"]
    assert len(blocks) == len(kinds)
    for kind, block in zip(kinds, blocks, strict=True):
        assert schema_problems(kind, read_yaml_bytes(block.encode(), kind).tree) == [], kind
