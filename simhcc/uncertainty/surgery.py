"""Changes of a pathway for verification: who may die, who may progress, and how fast. Structure in, structure out."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from simhcc.expressions import Operand, as_expression, where
from simhcc.graph import Branch, Chance, Decision, Edge, End, Node, Pathway, State, Transition, exponential

Change = Callable[[Transition], Transition]
Chosen = Callable[[Edge], bool]


def ends_of(pathway: Pathway) -> frozenset[str]:
    """Ends, and chance or decision nodes all of whose ways lead to ends."""
    found = {node.name for node in pathway.nodes if isinstance(node, End)}
    while True:
        more = {
            node.name
            for node in pathway.nodes
            if node.name not in found
            and isinstance(node, Chance | Decision)
            and all(edge.to in found for edge in _ways(node))
        }
        if not more:
            return frozenset(found)
        found |= more


def _ways(node: Chance | Decision) -> Collection[Edge]:
    return node.branches if isinstance(node, Chance) else list(node.actions.values())


def deadly(pathway: Pathway) -> Chosen:
    """Whether an edge leads to death and nowhere else."""
    ends = ends_of(pathway)
    return lambda edge: edge.to in ends


def marked(*marks: str) -> Chosen:
    """Whether an edge leaves one of these marks."""
    return lambda edge: edge.mark in marks


def without(pathway: Pathway, chosen: Chosen) -> Pathway:
    """The pathway in which the chosen transitions never fire, and chosen branches are never taken."""
    ends = ends_of(pathway)
    return replace(pathway, nodes=tuple(_closed(node, chosen, ends) for node in pathway.nodes))


def _closed(node: Node, chosen: Chosen, ends: frozenset[str]) -> Node:
    if isinstance(node, State):
        never = exponential(0.0)
        return replace(
            node,
            transitions=tuple(replace(t, hazard=never) if chosen(t) else t for t in node.transitions),
            scheduled=tuple(s for s in node.scheduled if not chosen(s)),
        )
    if isinstance(node, Chance) and node.name not in ends and any(chosen(branch) for branch in node.branches):
        return replace(node, branches=_shut(node.branches, chosen))
    return node


def _shut(branches: tuple[Branch, ...], chosen: Chosen) -> tuple[Branch, ...]:
    """The chosen branches with weight 0, the others scaled up to a sum of one. All stay, so that all nodes are reached.

    Whoever had only chosen branches before him takes one that leads to the same place, or else the last of the others.
    """
    rest = [branch for branch in branches if not chosen(branch)]
    if not rest:
        return branches
    shut = {branch.to for branch in branches if chosen(branch)}
    instead = next((branch for branch in rest if branch.to in shut), rest[-1])
    total = as_expression(rest[0].weight)
    for branch in rest[1:]:
        total = total + branch.weight

    def weight(branch: Branch) -> Operand:
        if chosen(branch):
            return 0.0
        return where(total > 0.0, branch.weight / total, 1.0 if branch is instead else 0.0)

    return tuple(replace(branch, weight=weight(branch)) for branch in branches)


def faster(pathway: Pathway, chosen: Chosen, log_ratio: float) -> Pathway:
    """The pathway in which the chosen transitions have a hazard exp(log_ratio) times as high."""

    def one(transition: Transition) -> Transition:
        if not chosen(transition):
            return transition
        before = transition.log_multiplier
        return replace(transition, log_multiplier=log_ratio if before is None else as_expression(before) + log_ratio)

    nodes: list[Node] = []
    for node in pathway.nodes:
        if isinstance(node, State):
            node = replace(node, transitions=tuple(one(transition) for transition in node.transitions))
        nodes.append(node)
    return replace(pathway, nodes=tuple(nodes))
