"""`simhcc check` and `simhcc why`: numbers with their origin, strategies in words, and what uses a number."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from simhcc.errors import InputError
from simhcc.expressions import Expression, leaves
from simhcc.graph import (
    AdministrationReward,
    MarkReward,
    Pathway,
    Reward,
    Strategy,
    TimeToDeathReward,
    expressions_of,
)
from simhcc.inputs import Parameter, ParameterName, ParameterSet, Scenario, list_inputs, list_scenarios, load_scenario
from simhcc.inputs.uncertainty import Value
from simhcc.report.record import parameter_table
from simhcc.report.terminal import broken, broken_lines

LONGEST_VECTOR = 6
RECALLED = "recalled"


# ---------------------------------------------------------------------------------------------------------------------
# check


def value_words(parameter: Parameter) -> str:
    """A value with its unit; a long vector by its first numbers and its length."""
    if isinstance(parameter.value, tuple):
        shown = ", ".join(f"{x:g}" for x in parameter.value[:LONGEST_VECTOR])
        more = f", ... ({len(parameter.value)} numbers)" if len(parameter.value) > LONGEST_VECTOR else ""
        return f"[{shown}{more}] {parameter.unit}"
    return f"{parameter.value:g} {parameter.unit}"


def check_numbers(parameters: ParameterSet, width: int | None) -> str:
    """Every resolved number, one a line: name, value, grade, source; recalled figures are flagged.

    Lines are broken to `width`; None leaves each number on one line, for other programs.
    """
    lines = []
    for group, members in itertools.groupby(parameters, key=lambda name: name.partition(".")[0]):
        names = list(members)
        first = max(len(name) for name in names)
        second = min(max(len(value_words(parameters[name])) for name in names), 30)
        lines += ["", f"{group}:"]
        for name in names:
            found = parameters[name]
            origin = ", ".join(found.source) or found.reason or found.formula or found.run or ""
            flag = f" ({RECALLED})" if found.recalled else ""
            text = f"{name.ljust(first)}  {value_words(found).ljust(second)}  {found.grade}{flag}: {origin}"
            if found.layer > 0:
                text += f" [set at {found.place}]"
            lines += broken(f"  {text}", width, " " * 6)
    return "\n".join([*lines[1:], "", *_counts(parameters)]) + "\n"


def _counts(parameters: ParameterSet) -> list[str]:
    grades = [found.grade for found in parameters.values()]
    parts = [f"{grades.count(grade)} {grade}" for grade in ("published", "derived", "calibrated", "assumed")]
    recalled = sum(found.recalled for found in parameters.values())
    uncertain = len(parameters.uncertain())
    return [
        f"{len(parameters)} numbers for {parameters.country}: {', '.join(parts)}; {recalled} recalled, not yet confirmed;",
        f"{uncertain} vary in a probabilistic run.",
    ]


def check_strategies(
    scenario: Scenario, graph: Pathway, strategies: Sequence[Strategy], only: str | None = None
) -> str:
    """The pathway in words: whole for the comparator, and for the others what differs; whole for `only`."""
    by_id = {strategy.id: strategy for strategy in strategies}
    if only is not None:
        return graph.describe(by_id[scenario.strategy(only).id])
    base = graph.describe(by_id[scenario.comparator])
    known = set(_blocks(base))
    parts = [base]
    for name, strategy in by_id.items():
        if name == scenario.comparator:
            continue
        blocks = [block for block in _blocks(graph.describe(strategy)) if block not in known]
        head = f"Strategy: {strategy.label or name}. What differs from {scenario.comparator}:"
        # The first block of a description holds its title and the name of the strategy.
        parts.append("\n\n".join([head, *blocks[1:]]) if len(blocks) > 1 else f"{head} nothing.")
    return ("\n" + "-" * 40 + "\n\n").join(part.rstrip("\n") + "\n" for part in parts)


def _blocks(text: str) -> list[str]:
    return text.rstrip("\n").split("\n\n")


def check_object(scenario: Scenario | None, parameters: ParameterSet, texts: Mapping[str, str]) -> dict[str, Any]:
    """What `simhcc check --json` prints."""
    return {
        "scenario": None if scenario is None else scenario.id,
        "country": parameters.country,
        "parameters": parameter_table(parameters).to_dict("records"),
        "strategies": dict(texts),
    }


# ---------------------------------------------------------------------------------------------------------------------
# why


def why_object(
    name: str,
    parameters: ParameterSet,
    scenarios: Iterable[Scenario],
    rewards: Sequence[str] = (),
    changes: Sequence[str] = (),
) -> dict[str, Any]:
    """Everything known about a number: value, origin, distribution and what uses it.

    `rewards` are the rewards that name it, `changes` what the assembly computes from it. Raises InputError with the nearest
    name.
    """
    found = parameters.find(name)
    uncertainty = found.uncertainty
    intervals = uncertainty.intervals() if uncertainty is not None else ()
    return {
        "name": name,
        "value": list(found.value) if isinstance(found.value, tuple) else found.value,
        "unit": found.unit,
        "label": found.label.text() if found.label else None,
        "note": found.note,
        "place": str(found.place),
        "replaces": None if found.replaces is None else str(found.replaces),
        "grade": found.grade,
        "recalled": found.recalled,
        "formula": found.formula,
        "reason": found.reason,
        "run": found.run,
        "sources": [_source_words(parameters, source) for source in found.source],
        "distribution": None if uncertainty is None else {uncertainty.kind: dict(uncertainty.given)},
        "interval95": [list(pair) for pair in intervals],
        "drawn_with": _drawn_with(name, parameters),
        "used_by": [*used_by(name, scenarios), *rewards],
        "changes": list(changes),
    }


def why_text(content: Mapping[str, Any], width: int | None) -> str:
    """The same in words."""
    value = content["value"]
    shown = f"[{', '.join(f'{x:g}' for x in value)}]" if isinstance(value, list) else f"{value:g}"
    lines = [f"{content['name']} = {shown} {content['unit']}"]
    for key in ("label", "note"):
        if content[key]:
            lines.append(f"  {content[key]}")
    lines.append(f"  stands at {content['place']}")
    if content["replaces"]:
        lines.append(f"  replaces the value at {content['replaces']}")
    flag = "; RECALLED: the figure was not confirmed against its source" if content["recalled"] else ""
    lines.append(f"  grade: {content['grade']}{flag}")
    for key, words in (("formula", "formula"), ("reason", "reason"), ("run", "calibrated by")):
        if content[key]:
            lines.append(f"  {words}: {content[key]}")
    lines += [f"  source: {text}" for text in content["sources"]]
    if content["distribution"] is None:
        lines.append("  does not vary in a probabilistic run" + (" by itself" if content["drawn_with"] else ""))
    else:
        kind, arguments = next(iter(content["distribution"].items()))
        words = ", ".join(f"{key} {item}" for key, item in arguments.items())
        spans = "; ".join(f"{low:.4g} to {high:.4g}" for low, high in content["interval95"][:LONGEST_VECTOR])
        lines.append(f"  distribution: {kind} ({words}); central 95 % {spans}")
    lines += [f"  drawn together with {text}" for text in content["drawn_with"]]
    used = content["used_by"]
    lines.append("  used by:" if used else "  nothing names it")
    lines += [f"    {text}" for text in used]
    if content["changes"]:
        lines.append("  the model computes from it:")
        lines += [f"    {text}" for text in content["changes"]]
    elif not used:
        lines.append("  changing it changes nothing in these scenarios")
    return broken_lines("\n".join(lines), width) + "\n"


def _source_words(parameters: ParameterSet, name: str) -> str:
    source = parameters.sources[name]
    parts = [f"[{name}] {source.citation}"]
    if source.doi:
        parts.append(f"doi:{source.doi}")
    if source.pmid:
        parts.append(f"PMID {source.pmid}")
    if source.url:
        parts.append(source.url)
    return " ".join(parts)


def _drawn_with(name: str, parameters: ParameterSet) -> list[str]:
    groups = [
        ", ".join(o for o in group.parameters if o != name)
        for group in parameters.correlations
        if name in group.parameters
    ]
    return groups + [f"the posterior {found.id}" for found in parameters.posteriors if name in found.parameters]


def rewards_of(name: str, scenario: Scenario, parameters: ParameterSet) -> list[str]:
    """Rewards and discounting that name a parameter, in words."""
    from simhcc.report.command import assembled

    evaluation = assembled(replace(scenario, patients=64, iterations=1), parameters)[0]
    found: dict[str, None] = {}
    for channel in evaluation.channels:
        if name in _names_in(channel.discount):
            found[f"discounting of {channel.id}"] = None
        if any(name in _names_in(item) for band in channel.age_bands for item in band):
            found[f"age bands of {channel.id}"] = None
    for reward in evaluation.rewards:
        if any(name in _names_in(getattr(reward, field.name)) for field in fields(reward)):
            found[f"{reward.channel}: {_paid_for(reward)}"] = None
    return list(found)


def _names_in(value: object) -> set[str]:
    return _names(value) if isinstance(value, Expression) else set()


def _paid_for(reward: Reward) -> str:
    """What a reward is given for."""
    if isinstance(reward, AdministrationReward):
        return ", ".join([f"each administration of {reward.treatment}", *_levels(reward.tags)])
    if isinstance(reward, MarkReward):
        return f"each event {reward.mark}"
    if isinstance(reward, TimeToDeathReward):
        return "the last months of life"
    parts = [("in", reward.states), ("on", reward.systemic), ("with", reward.local)]
    words = [f"{word} {' or '.join(names)}" for word, names in parts if names] + _levels(reward.tags)
    return f"time {', '.join(words)}" if words else "all time"


def _levels(tags: Mapping[str, tuple[str, ...]]) -> list[str]:
    return [f"{tag}: {' or '.join(levels)}" for tag, levels in tags.items()]


def used_by(name: str, scenarios: Iterable[Scenario]) -> list[str]:
    """Places that name a parameter: pathway, strategies' thresholds, willingness to pay, overrides, populations."""
    from simhcc.pathway.strategies import to_graph
    from simhcc.pathway.whole import pathway

    graph = pathway()
    found: dict[str, None] = {}
    for scenario in scenarios:
        for strategy in scenario.strategies:
            rows = {
                f"{node}/row {k + 1}": row for node, table in strategy.tables.items() for k, row in enumerate(table)
            }
            for place, row in rows.items():
                if any(isinstance(c.value, ParameterName) and c.value == name for c in row.when):
                    found[f"strategy {strategy.id}: {place} ({row.place})"] = None
            for place, expression in expressions_of(graph, to_graph(strategy)):
                if "/row " not in place and name in _names(expression):
                    found[f"pathway: {place}"] = None
        if name in [str(amount) for amount in scenario.wtp]:
            found[f"scenario {scenario.id}: willingness to pay"] = None
        if name in scenario.overrides:
            found[f"scenario {scenario.id}: overrides it"] = None
    for population, path in list_inputs("population").items():
        if name in path.read_text(encoding="utf-8"):
            found[f"population {population}"] = None
    if name == _frailty():
        found["population: every patient's frailty"] = None
    return list(found)


def _frailty() -> str:
    from simhcc.population.cohort import FRAILTY_PARAMETER

    return FRAILTY_PARAMETER


def _names(expression: Expression) -> set[str]:
    return {*leaves(expression, "parameter"), *leaves(expression, "lookup")}


def changes_of(name: str, scenario: Scenario, parameters: ParameterSet) -> list[str]:
    """What the assembled model computes differently when a number is moved: its own values, patients, horizon.

    The number is moved by a hundredth, or by a hundredth of the way to a limit of its unit.
    """
    from simhcc.analysis import packed
    from simhcc.report.command import assembled

    small = replace(scenario, patients=64, iterations=1)
    moved = _moved(name, parameters)
    if moved is None:
        return []
    before, after = assembled(small, parameters), assembled(small, moved)
    found = [
        other
        for other in after[1]
        if other != name
        and not np.array_equal(np.asarray(before[1].get(other)), np.asarray(after[1][other]), equal_nan=True)
    ]
    if packed(before[0]) != packed(after[0]):
        found.append("the evaluation itself (horizon, rewards or landmarks)")
    if any(not np.array_equal(np.asarray(before[2][k]), np.asarray(after[2][k])) for k in before[2]):
        found.append("the baseline patients")
    return found


def _moved(name: str, parameters: ParameterSet) -> ParameterSet | None:
    value = parameters[name].value
    for factor, shift in ((1.01, 0.0), (0.99, 0.0), (1.0, 0.01), (1.0, -0.01)):
        changed = _changed(value, factor, shift)
        if changed == _changed(value, 1.0, 0.0):
            continue
        try:
            return parameters.override({name: changed})
        except InputError:
            continue
    return None


def _changed(value: Value, factor: float, shift: float) -> float | list[float]:
    return [x * factor + shift for x in value] if isinstance(value, tuple) else value * factor + shift


def scenarios_asked(name: str | None) -> list[Scenario]:
    """The scenario of a name, or all that can be found."""
    return [load_scenario(name)] if name is not None else [load_scenario(other) for other in list_scenarios()]


def write_text(path: Path, text: str, overwrite: bool) -> None:
    """Write one file whole or not at all. Raises InputError where there is one already, or where it cannot be."""
    from simhcc.runner.store import write_durably

    if path.exists() and not overwrite:
        raise InputError(f"{path}, which exists", "--overwrite to replace it, or another name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, text.encode())
    except OSError as error:
        raise InputError(f"{path}, which cannot be written ({error.strerror})", "a place that can be written") from None
