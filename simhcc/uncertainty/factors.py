"""How parameters are moved: one number along its range, or several together through their quantile functions.

Two kinds of move. An `Axis` is one number for tornado, one-way, two-way and threshold analyses; what depends on it (shares
of the same Dirichlet, partners in a correlated group or a posterior) moves along. A `Factor` is what a global analysis
varies as one: a parameter, or everything that is drawn together, with independent uniforms in and parameter values out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from simhcc import distributions as dist
from simhcc.errors import InputError
from simhcc.inputs import UNITS, CorrelationGroup, Parameter, ParameterSet, Posterior, nearest
from simhcc.inputs.units import range_words

Floats = NDArray[np.float64]

LEVEL = 0.95
"""central share of a parameter's distribution that its range covers"""
EDGE = 1e-9
"""uniforms are kept this far inside 0 and 1, where quantiles are infinite"""


# ---------------------------------------------------------------------------------------------------------------------
# One number


@dataclass(frozen=True)
class Axis:
    """One number with the range it is moved over.

    `name` is the parameter's, with `.k` for element k of a vector. `distributed` says whether the number has a
    distribution; `basis` says in words where the range comes from.
    """

    name: str
    parameter: str
    element: int | None
    base: float
    low: float
    high: float
    unit: str
    distributed: bool
    basis: str
    moves: str
    """what moves along, in words; empty where nothing does"""

    def values(self, numbers: ParameterSet, x: Floats) -> dict[str, Floats]:
        """Parameter values with this number at each of `x` (shape (n,)) and what depends on it moved along."""
        parameter = numbers[self.parameter]
        group = _group_of(numbers, self.parameter)
        posterior = posterior_of(numbers, self.parameter)
        if posterior is not None:
            return _along_posterior(numbers, posterior, self.parameter, self.element, x)
        if group is not None:
            return _along_copula(numbers, group, self.parameter, x)
        if self.element is None:
            return {self.parameter: np.asarray(x, dtype=np.float64)}
        base = np.asarray(parameter.value, dtype=np.float64)
        vectors = np.repeat(base[None, :], len(x), axis=0)
        if parameter.uncertainty is not None and parameter.uncertainty.concentration:
            rest = 1.0 - base[self.element]
            # The other shares keep their proportions.
            vectors *= ((1.0 - x) / rest)[:, None] if rest > 0.0 else 1.0
        vectors[:, self.element] = x
        return {self.parameter: vectors}

    def probability_below(self, numbers: ParameterSet, x: float) -> float:
        """Probability, by its distribution, that the number is at or below `x`; NaN without a distribution."""
        posterior = posterior_of(numbers, self.parameter)
        if posterior is not None:
            column = _posterior_column(numbers, posterior, self.parameter, self.element)
            return float((column <= x).mean())
        marginal = _marginal(numbers[self.parameter], self.element)
        return float("nan") if marginal is None else float(marginal.cdf(x))


def axes_of(
    numbers: ParameterSet,
    asked: Sequence[str],
    ranges: Mapping[str, tuple[float, float]],
    used: frozenset[str],
) -> list[Axis]:
    """The axes of the parameters that are asked for: names, vector elements (`NAME.k`) or groups (`utility`).

    Without `asked`, every uncertain parameter that is used, and those with a range. A group stands for its uncertain
    members. A parameter without a distribution needs a range. Raises InputError for an unknown name, a name that the
    question does not use, a missing or impossible range.
    """
    chosen: dict[str, None] = {}
    if not asked:
        # What only a structural alternative moves has no range: it is shown by the structural analysis.
        chosen |= dict.fromkeys(name for name in numbers.uncertain() if name in used and _has_range(numbers, name))
        chosen |= dict.fromkeys(ranges)
    for name in asked:
        chosen |= dict.fromkeys(_expanded(numbers, name, used))
    found: dict[str, Axis] = {}
    for name in chosen:
        parameter, element = _named(numbers, name)
        if parameter.name not in used:
            raise InputError(
                f"{name}, which nothing in this comparison uses",
                "a parameter of its strategies, costs or utilities (baseline patients and the horizon are drawn once: "
                "vary them with overrides of a scenario)",
                "--parameters",
            )
        elements = range(len(parameter.value)) if isinstance(parameter.value, tuple) and element is None else [element]
        for k in elements:
            axis = _axis(numbers, parameter, k, ranges)
            if axis is not None:
                found[axis.name] = axis
    for name in ranges:
        if name not in found:
            raise InputError(f"a range for {name}, which is not varied", "one of --parameters", "--range")
    return list(found.values())


def _expanded(numbers: ParameterSet, name: str, used: frozenset[str]) -> list[str]:
    """A name itself, or the uncertain and used members of a group."""
    if name in numbers or _is_element(numbers, name):
        return [name]
    below = [other for other in numbers if other.startswith(f"{name}.")]
    if not below:
        near = nearest(name, numbers)
        raise InputError(
            f"no parameter or group called {name!r}",
            f"a name of `simhcc check`{f', for example {near}' if near else ''}",
            "--parameters",
        )
    inside = [other for other in below if other in used and other in numbers.uncertain() and _has_range(numbers, other)]
    if not inside:
        raise InputError(f"the group {name}, in which nothing is uncertain and used", "another group", "--parameters")
    return inside


def _has_range(numbers: ParameterSet, name: str) -> bool:
    """Whether a number is drawn from a distribution or a posterior."""
    return numbers[name].uncertainty is not None or posterior_of(numbers, name) is not None


def _is_element(numbers: ParameterSet, name: str) -> bool:
    head, _, tail = name.rpartition(".")
    if not tail.isdigit() or head not in numbers:
        return False
    value = numbers[head].value
    return isinstance(value, tuple) and int(tail) < len(value)


def _named(numbers: ParameterSet, name: str) -> tuple[Parameter, int | None]:
    if name in numbers:
        return numbers[name], None
    if _is_element(numbers, name):
        head, _, tail = name.rpartition(".")
        return numbers[head], int(tail)
    near = nearest(name, numbers)
    raise InputError(
        f"no parameter called {name!r}",
        f"a name of `simhcc check`{f', for example {near}' if near else ''}",
        "--parameters",
    )


def _axis(
    numbers: ParameterSet, parameter: Parameter, element: int | None, ranges: Mapping[str, tuple[float, float]]
) -> Axis | None:
    name = parameter.name if element is None else f"{parameter.name}.{element}"
    base = float(parameter.value if element is None else parameter.value[element])  # type: ignore[arg-type,index]
    posterior = posterior_of(numbers, parameter.name)
    marginal = _marginal(parameter, element)
    limits = UNITS[parameter.unit]
    dirichlet = parameter.uncertainty is not None and bool(parameter.uncertainty.concentration)
    if name in ranges:
        low, high = ranges[name]
        if not low < high:
            raise InputError(f"{name}={low:g}:{high:g}", "the lower limit first, and two different limits", "--range")
        top = min(limits.high, 1.0) if dirichlet else limits.high
        if low < limits.low or high > top:
            raise InputError(f"{name}={low:g}:{high:g}", f"{parameter.unit}: {range_words(limits.low, top)}", "--range")
        basis = "given"
    elif posterior is not None:
        column = _posterior_column(numbers, posterior, parameter.name, element)
        low, high = (float(q) for q in np.quantile(column, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
        basis = "95 % of the posterior draws"
    elif marginal is not None:
        low, high = dist.central_interval(marginal, LEVEL)
        basis = "95 % interval of its distribution"
    elif element is not None and parameter.uncertainty is not None:
        return None  # a share fixed at 0
    else:
        raise InputError(f"{name}, which has no distribution", f"--range {name}=LOW:HIGH", "--range")
    moves = ""
    if dirichlet:
        moves = "the other shares, in proportion"
    elif posterior is not None:
        moves = f"the posterior {posterior.id}, along its dependence"
    elif (group := _group_of(numbers, parameter.name)) is not None:
        moves = f"{', '.join(n for n in group.parameters if n != parameter.name)}, along their correlation"
    distributed = marginal is not None or posterior is not None
    return Axis(name, parameter.name, element, base, low, high, parameter.unit, distributed, basis, moves)


def _marginal(parameter: Parameter, element: int | None) -> dist.Distribution | None:
    if parameter.uncertainty is None:
        return None
    if parameter.uncertainty.concentration:
        a = parameter.uncertainty.concentration
        k = element or 0
        return dist.Beta(a[k], sum(a) - a[k]) if a[k] > 0.0 else None
    return parameter.uncertainty.marginals[element or 0]


def _group_of(numbers: ParameterSet, name: str) -> CorrelationGroup | None:
    if name not in numbers or numbers[name].uncertainty is None:
        return None
    return next((group for group in numbers.correlations if name in group.parameters), None)


def posterior_of(numbers: ParameterSet, name: str) -> Posterior | None:
    """The posterior that a number is drawn from; None where it has none, or was set above it."""
    for posterior in numbers.posteriors:
        if name in posterior.parameters and numbers[name].layer <= posterior.layer:
            return posterior
    return None


def _posterior_column(numbers: ParameterSet, posterior: Posterior, name: str, element: int | None) -> Floats:
    at = posterior.columns(numbers)[name]
    column = posterior.draws[:, at]
    return np.asarray(column if column.ndim == 1 else column[:, element or 0], dtype=np.float64)


def _score(marginal: dist.Distribution, x: Floats | float) -> Floats:
    return np.asarray(special.ndtri(np.clip(marginal.cdf(x), EDGE, 1.0 - EDGE)))


def _along_copula(numbers: ParameterSet, group: CorrelationGroup, name: str, x: Floats) -> dict[str, Floats]:
    """The number at `x`, its partners at their conditional median: base score + correlation x the change of its score."""
    found = {name: np.asarray(x, dtype=np.float64)}
    at = group.parameters.index(name)
    own = _marginal(numbers[name], None)
    assert own is not None
    change = _score(own, x) - _score(own, float(numbers[name].base()))
    for k, other in enumerate(group.parameters):
        marginal = _marginal(numbers[other], None)
        if other == name or marginal is None:
            continue
        base = _score(marginal, float(numbers[other].base()))
        u = np.clip(special.ndtr(base + group.matrix[at][k] * change), EDGE, 1.0 - EDGE)
        found[other] = np.asarray(marginal.ppf(u), dtype=np.float64)
    return found


def _along_posterior(
    numbers: ParameterSet, posterior: Posterior, name: str, element: int | None, x: Floats
) -> dict[str, Floats]:
    """The number at `x`, the rest of the posterior moved by the correlation of normal scores of its draws."""
    draws = posterior.draws
    places = posterior.columns(numbers)
    mine = places[name]
    column = (mine.start + (element or 0)) if isinstance(mine, slice) else mine
    ordered = np.sort(draws, axis=0)
    n = len(draws)
    ranks = np.argsort(np.argsort(draws, axis=0, kind="stable"), axis=0, kind="stable")
    scores = special.ndtri((ranks + 0.5) / n)
    with np.errstate(all="ignore"):
        correlation = np.nan_to_num(np.corrcoef(scores, rowvar=False).reshape(draws.shape[1], -1)[column])
    levels = (np.arange(n) + 0.5) / n

    def score(k: int, value: Floats | float) -> Floats:
        return np.asarray(special.ndtri(np.interp(value, ordered[:, k], levels)))

    start = _posterior_base(numbers, posterior)
    change = score(column, x) - score(column, start[column])
    moved = np.empty((len(x), draws.shape[1]))
    for k in range(draws.shape[1]):
        moved[:, k] = np.interp(special.ndtr(score(k, start[k]) + correlation[k] * change), levels, ordered[:, k])
        # At the base the number keeps its own value, which need not be a quantile of the draws.
        moved[:, k] = np.where(change == 0.0, start[k], moved[:, k])
    moved[:, column] = x
    return {other: moved[:, at] for other, at in places.items() if posterior_of(numbers, other) is posterior}


def _posterior_base(numbers: ParameterSet, posterior: Posterior) -> Floats:
    parts = [np.atleast_1d(np.asarray(numbers[name].base(), dtype=np.float64)) for name in posterior.parameters]
    return np.concatenate(parts)


# ---------------------------------------------------------------------------------------------------------------------
# Everything that is drawn together


@dataclass(frozen=True)
class Factor:
    """What a global analysis varies as one: `size` independent uniforms give the values of `members`.

    `blocks` are the parts that are drawn together: a parameter, a correlated group, a posterior.
    """

    name: str
    blocks: tuple[_Block, ...]

    @property
    def size(self) -> int:
        """Number of uniforms."""
        return sum(block.size for block in self.blocks)

    @property
    def divisible(self) -> bool:
        """Whether its uniforms mean something one by one: a single parameter, or the shares of one vector."""
        return self.size == 1 or (len(self.blocks) == 1 and self.blocks[0].kind == "parameter")

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the parameters it sets."""
        return tuple(name for block in self.blocks for name in block.members)

    def values(self, numbers: ParameterSet, u: Floats) -> dict[str, Floats]:
        """Parameter values for uniforms of shape (n, size)."""
        u = np.clip(u, EDGE, 1.0 - EDGE)
        found: dict[str, Floats] = {}
        start = 0
        for block in self.blocks:
            found |= block.values(numbers, u[:, start : start + block.size])
            start += block.size
        return found


@dataclass(frozen=True)
class _Block:
    name: str
    members: tuple[str, ...]
    size: int
    kind: str
    """parameter, correlated, posterior, structure"""
    inner: tuple[_Block, ...] = ()
    """what a structural topic would otherwise draw"""

    def values(self, numbers: ParameterSet, u: Floats) -> dict[str, Floats]:
        if self.kind == "structure":
            topic = next(t for t in numbers.structures if t.id == self.name)
            found = {n: np.repeat(np.asarray(numbers[n].base())[None], len(u), axis=0) for n in topic.names}
            start = 1
            for block in self.inner:
                found |= block.values(numbers, u[:, start : start + block.size])
                start += block.size
            return found | topic.applied(found, topic.chosen(u[:, 0]))
        if self.kind == "posterior":
            posterior = next(p for p in numbers.posteriors if p.id == self.name)
            rows = _ordered_rows(posterior)[
                np.minimum((u[:, 0] * len(posterior.draws)).astype(int), len(posterior.draws) - 1)
            ]
            places = posterior.columns(numbers)
            return {name: np.asarray(posterior.draws[rows][:, places[name]]) for name in self.members}
        if self.kind == "correlated":
            group = next(g for g in numbers.correlations if g.parameters[0] == self.name)
            # A member that an override fixed still lends its uniform: the others keep the dependence among themselves.
            joint = dist.copula_uniforms(u, group.root)
            return {
                name: np.asarray(_sure(numbers, name).ppf(joint[:, group.parameters.index(name)]))
                for name in self.members
            }
        (name,) = self.members
        parameter = numbers[name]
        uncertainty = parameter.uncertainty
        assert uncertainty is not None
        if not parameter.is_vector:
            return {name: np.asarray(uncertainty.marginals[0].ppf(u[:, 0]))}
        if uncertainty.concentration:
            positive = [k for k, a in enumerate(uncertainty.concentration) if a > 0.0]
            draws = np.zeros((len(u), len(uncertainty.concentration)))
            draws[:, positive] = dist.dirichlet_draws([uncertainty.concentration[k] for k in positive], u)
            return {name: draws}
        return {name: np.column_stack([m.ppf(u[:, k]) for k, m in enumerate(uncertainty.marginals)])}


def _sure(numbers: ParameterSet, name: str) -> dist.Distribution:
    marginal = _marginal(numbers[name], None)
    assert marginal is not None
    return marginal


def _ordered_rows(posterior: Posterior) -> NDArray[np.intp]:
    """Rows of the posterior by their first principal component, so that near uniforms give like draws."""
    draws = posterior.draws
    sd = draws.std(axis=0)
    scaled = (draws - draws.mean(axis=0)) / np.where(sd > 0.0, sd, 1.0)
    _, _, axes = np.linalg.svd(scaled, full_matrices=False)
    along = axes[0] * np.sign(axes[0][np.abs(axes[0]).argmax()])
    order: NDArray[np.intp] = np.argsort(scaled @ along, kind="stable")
    return order


def blocks_of(numbers: ParameterSet, used: frozenset[str]) -> list[_Block]:
    """Everything uncertain that the question uses, in pieces that are drawn together."""
    found: list[_Block] = []
    done: set[str] = set()
    touched = {name for topic in numbers.structures for name in topic.names}
    for name in numbers.uncertain():
        if name in done or (name not in used and name not in touched) or not _has_range(numbers, name):
            continue
        posterior, group = posterior_of(numbers, name), _group_of(numbers, name)
        if posterior is not None:
            members = tuple(n for n in posterior.parameters if posterior_of(numbers, n) is posterior)
            found.append(_Block(posterior.id, members, 1, "posterior"))
        elif group is not None:
            members = tuple(n for n in group.parameters if numbers[n].uncertainty is not None)
            found.append(_Block(group.parameters[0], members, len(group.parameters), "correlated"))
        else:
            parameter = numbers[name]
            uncertainty = parameter.uncertainty
            assert uncertainty is not None
            size = 1
            if parameter.is_vector:
                concentration = uncertainty.concentration
                size = sum(a > 0.0 for a in concentration) if concentration else len(uncertainty.marginals)
            members = (name,)
            found.append(_Block(name, members, size, "parameter"))
        done |= set(members)
    for topic in numbers.structures:
        # A topic draws its alternative, and with it all that its numbers are otherwise drawn with.
        inner = tuple(block for block in found if set(block.members) & set(topic.names))
        if not set(topic.names) & used:
            continue
        found = [block for block in found if block not in inner]
        members = tuple(dict.fromkeys([*topic.names, *(n for block in inner for n in block.members)]))
        size = 1 + sum(block.size for block in inner)
        found.append(_Block(topic.id, members, size, "structure", inner))
    return [block for block in found if set(block.members) & used]


def factors_of(
    numbers: ParameterSet,
    used: frozenset[str],
    parameters: Sequence[str],
    groups: Sequence[str],
    by_evidence: bool = True,
) -> list[Factor]:
    """The factors of a global analysis.

    `parameters` gives each parameter (or each member of a named group) a factor of its own; `groups` makes one factor of
    everything uncertain below a name, or in a list of names joined by `+`. With neither, `by_evidence` makes one of each
    evidence group (the first part of the name; regimens and unit costs: the first two), else each parameter is one. A
    correlated group or a calibrated block is never torn apart: who names a member gets the block. Raises InputError for
    names that are unknown, hold nothing uncertain, or overlap.
    """
    blocks = blocks_of(numbers, used)
    by_member = {name: block for block in blocks for name in block.members}

    def chosen(name: str) -> list[_Block]:
        members: list[str] = []
        for part in name.split("+"):
            members += _expanded(numbers, part, used)
        found = dict.fromkeys(by_member[n] for n in members if n in by_member)
        if not found:
            raise InputError(
                f"{name}, which is not uncertain in this comparison", "an uncertain parameter", "--parameters"
            )
        return list(found)

    factors: list[Factor] = []
    if not parameters and not groups:
        together: dict[str, list[_Block]] = {}
        for block in blocks:
            group = f"structure.{block.name}" if block.kind == "structure" else evidence_group(block.name)
            together.setdefault(group if by_evidence else block.name, []).append(block)
        factors = [Factor(name, tuple(parts)) for name, parts in together.items()]
    for name in parameters:
        factors += [Factor(block.name, (block,)) for block in chosen(name)]
    for name in groups:
        factors.append(Factor(name, tuple(chosen(name))))
    factors = list({factor.name: factor for factor in factors}.values())
    taken: dict[str, str] = {}
    for factor in factors:
        for name in factor.members:
            if taken.setdefault(name, factor.name) != factor.name:
                raise InputError(
                    f"{name} in both {taken[name]} and {factor.name}", "each parameter in one factor", "--groups"
                )
    return factors


def evidence_group(name: str) -> str:
    """The group that a parameter's evidence belongs to: the first part of its name, two for regimens and unit costs."""
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] in ("treatments", "costs") and len(parts) > 2 else parts[0]


def parse_ranges(given: Sequence[str]) -> dict[str, tuple[float, float]]:
    """`NAME=LOW:HIGH` texts as a mapping. Raises InputError for anything else."""
    found: dict[str, tuple[float, float]] = {}
    for text in given:
        name, equals, limits = text.partition("=")
        low, colon, high = limits.partition(":")
        try:
            if not (name and equals and colon):
                raise ValueError
            found[name] = (float(low), float(high))
        except ValueError:
            raise InputError(repr(text), "NAME=LOW:HIGH, for example utility.disease_free=0.7:0.9", "--range") from None
    return found
