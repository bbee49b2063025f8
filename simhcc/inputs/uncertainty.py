"""What a number is drawn from: the distribution of a parameter, read, solved and kept inside its unit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhcc import distributions as dist
from simhcc.inputs.models import DISTRIBUTIONS, FORMS, forms_words, validate
from simhcc.inputs.reader import Document, FrozenMap, KeyPath
from simhcc.inputs.units import UNITS, range_words

Floats = NDArray[np.float64]
Value = float | tuple[float, ...]

# A distribution may pass the limits of its unit with this probability; the draws are cut there.
MASS_OUTSIDE = 1e-3
# The outermost uniform number that a draw can meet.
FIRST_UNIFORM = 2.0**-53


@dataclass(frozen=True)
class Uncertainty:
    """What a parameter is drawn from.

    `kind` and `given` are as written in the file; `marginals` holds one distribution per element of the value, or
    `concentration` the Dirichlet concentrations (0 where a share is fixed at 0).
    """

    kind: str
    given: Mapping[str, Any]
    marginals: tuple[dist.Distribution, ...] = ()
    concentration: tuple[float, ...] = ()

    def intervals(self) -> tuple[tuple[float, float], ...]:
        """The central 95 % interval of each element."""
        marginals = self.marginals
        if self.concentration:
            total = sum(self.concentration)
            pairs = [(a, total - a) for a in self.concentration]
            return tuple(dist.central_interval(dist.Beta(a, b)) if a > 0.0 else (0.0, 0.0) for a, b in pairs)
        return tuple(dist.central_interval(marginal) for marginal in marginals)


def read_uncertainty(document: Document, key: KeyPath, given: Any, value: Value, unit: str) -> Uncertainty | None:
    """The distribution of a leaf, solved; None for a fixed parameter."""
    if given is None or given == "fixed":
        return None
    kind = next(iter(given))
    inside = (*key, kind)
    arguments = _distribution_arguments(document, inside, kind)
    try:
        if kind == "dirichlet":
            uncertainty = _dirichlet(value, arguments)
        else:
            elements = value if isinstance(value, tuple) else (value,)
            with np.errstate(all="ignore"):  # what is beyond all numbers is refused in words
                marginals = [
                    _marginal(
                        kind, element, _arguments_of(arguments, position, len(elements), isinstance(value, tuple)), unit
                    )
                    for position, element in enumerate(elements)
                ]
            uncertainty = Uncertainty(kind, FrozenMap(arguments), tuple(marginals))
    except (ValueError, ArithmeticError, RuntimeError) as reason:
        # Arithmetic beyond the range of numbers, or no solution: the arguments are at fault all the same.
        found = str(reason) if type(reason) is ValueError else "numbers too large or too small to solve"
        raise document.error(
            _blamed(document, inside, arguments),
            found,
            f"one of {forms_words(DISTRIBUTIONS[kind])}, or another distribution",
        ) from None
    return uncertainty


def _blamed(document: Document, inside: KeyPath, arguments: Mapping[str, Any]) -> KeyPath:
    """The single argument of a distribution when there is one, else the distribution."""
    return (*inside, next(iter(arguments))) if len(arguments) == 1 else inside


def _distribution_arguments(document: Document, key: KeyPath, kind: str) -> dict[str, Any]:
    model = DISTRIBUTIONS[kind]
    validate(model, document, key, f"the arguments of {kind}")
    arguments: dict[str, Any] = document.get(key)
    if not any(set(form) == set(arguments) for form in FORMS[model]):
        found = ", ".join(arguments) or "no arguments"
        raise document.error(key, f"{kind} with {found}", f"one of {forms_words(model)}")
    return arguments


def _arguments_of(arguments: Mapping[str, Any], position: int, size: int, vector: bool) -> dict[str, Any]:
    """The arguments of one element: lists are read by position, single numbers hold for all elements."""
    mine = {}
    for name, given in arguments.items():
        per_element = isinstance(given, list) and (name != "ci95" or isinstance(given[0], list))
        if per_element and not vector:
            raise ValueError(f"a list for {name}, but one number as value")
        if per_element and len(given) != size:
            raise ValueError(f"{len(given)} entries in {name}, but {size} in value")
        mine[name] = given[position] if per_element else given
    return mine


def _marginal(kind: str, value: float, a: dict[str, Any], unit: str) -> dist.Distribution:
    """The distribution of one element, inside the limits of its unit. ValueError says what is wrong."""
    if "mean" in a and kind != "lognormal" and not math.isclose(a["mean"], value, rel_tol=0.01, abs_tol=1e-12):
        raise ValueError(f"mean {a['mean']:g} beside value {value:g}; they are the same thing")
    if kind == "lognormal" and "mean" in a and not math.isclose(a["mean"], value, rel_tol=0.01):
        raise ValueError(f"mean {a['mean']:g} beside value {value:g}; with mean and sd the value is the mean")
    made = _make(kind, value, a)
    start, stop = (
        dist.central_interval(made, 0.95)
        if kind not in ("uniform", "triangular", "truncated_normal")
        else (made.low, made.high)
    )
    if not start <= value <= stop:
        raise ValueError(f"value {value:g} outside the central 95 % of its distribution, {start:.4g} to {stop:.4g}")
    low, high = UNITS[unit].low, UNITS[unit].high
    outside = dist.mass_outside(made, low, high)
    if outside > MASS_OUTSIDE:
        raise ValueError(f"{outside:.1%} of the draws outside {range_words(low, high)}, the range of unit {unit}")
    limited = dist.Limited(made, low, high) if outside > 0.0 else made
    first, last = (float(limited.ppf(np.array([u]))[0]) for u in (FIRST_UNIFORM, 1.0 - FIRST_UNIFORM))
    if not (math.isfinite(first) and math.isfinite(last) and start < stop):
        raise ValueError(f"draws from {first:g} to {last:g}, which cannot be told apart or are beyond all numbers")
    return limited


def _make(kind: str, value: float, a: dict[str, Any]) -> dist.Distribution:
    if kind == "beta":
        if "alpha" in a:
            return dist.Beta(a["alpha"], a["beta"])
        return dist.beta_from_ci95(value, *a["ci95"]) if "ci95" in a else dist.beta_from_mean_sd(value, a["sd"])
    if kind == "gamma":
        if "shape" in a:
            return dist.Gamma(a["shape"], a["rate"])
        return dist.gamma_from_ci95(value, *a["ci95"]) if "ci95" in a else dist.gamma_from_mean_sd(value, a["sd"])
    if kind == "lognormal":
        if "ci95" in a:
            return dist.lognormal_from_ci95(value, *a["ci95"])
        if "mean" in a:
            return dist.lognormal_from_mean_sd(a["mean"], a["sd"])
        if "meanlog" not in a and value <= 0.0:
            raise ValueError(f"value {value:g}; that of a lognormal distribution is above 0")
        return dist.LogNormal(a["meanlog"] if "meanlog" in a else math.log(value), a["sdlog"])
    if kind == "normal":
        return dist.normal_from_ci95(value, *a["ci95"]) if "ci95" in a else dist.Normal(value, a["sd"])
    if kind == "uniform":
        return dist.Uniform(a["low"], a["high"])
    if kind == "triangular":
        return dist.Triangular(a["low"], a.get("mode", value), a["high"])
    return dist.TruncatedNormal(value, a["sd"], a["low"], a["high"])


def _dirichlet(value: Value, arguments: dict[str, Any]) -> Uncertainty:
    if not isinstance(value, tuple):
        raise ValueError("a Dirichlet distribution of one number; the value must be a list of shares")
    if len(value) < 2:
        raise ValueError("a Dirichlet distribution of length one")
    if abs(sum(value) - 1.0) > 1e-6:
        raise ValueError(f"shares that add up to {sum(value):g}; those of a Dirichlet distribution add up to 1")
    if "n" in arguments:
        if not arguments["n"] > 0:
            raise ValueError(f"n {arguments['n']:g}; it must be above 0")
        concentration = tuple(arguments["n"] * share for share in value)
    else:
        given = arguments["concentration"]
        if not isinstance(given, list) or len(given) != len(value):
            raise ValueError(
                f"concentration for {len(given) if isinstance(given, list) else 1} shares, but {len(value)} in value"
            )
        concentration = tuple(float(a) for a in given)
        if min(concentration) < 0.0 or sum(concentration) <= 0.0:
            raise ValueError("a concentration below 0")
        total = sum(concentration)
        for share, a in zip(value, concentration, strict=True):
            if abs(a / total - share) > 0.01:
                raise ValueError(f"concentration {a:g} of {total:g} beside share {share:g}; they must agree")
    if sum(a > 0.0 for a in concentration) < 2:
        raise ValueError("a Dirichlet distribution with fewer than two shares above 0")
    if sum(concentration) < dist.LEAST_CONCENTRATION:
        raise ValueError(
            f"concentrations that add up to {sum(concentration):.3g}; they must come to {dist.LEAST_CONCENTRATION:g} or more"
        )
    return Uncertainty("dirichlet", FrozenMap(arguments), (), concentration)


# ---------------------------------------------------------------------------------------------------------------------
# Draws


def purpose(name: str) -> str:
    """The name under which the draws of a parameter are addressed."""
    return f"parameter/{name}"


def addressed(seed: int, iterations: NDArray[np.intp], purpose: str, entry: int = 0) -> Floats:
    """Addressed uniforms of some iterations: iterations take the place of patients, luck is 0."""
    # Compiled code is loaded only where numbers are drawn: reading and checking files stays quick.
    from simhcc.engine.rng import uniforms

    return np.asarray(uniforms(seed, 0, iterations, purpose, entry=entry), float)


def draw(
    name: str,
    value: Value,
    uncertainty: Uncertainty,
    seed: int,
    iterations: NDArray[np.intp],
    joint: Floats | None = None,
) -> Floats:
    """Draws of one parameter, shape (n,) or (n, k); `joint` holds its uniforms where a copula has made them."""
    what = purpose(name)
    if not isinstance(value, tuple):
        u = joint if joint is not None else addressed(seed, iterations, what)
        return np.asarray(uncertainty.marginals[0].ppf(u), float)
    size = len(value)
    if uncertainty.concentration:
        positive = [position for position in range(size) if uncertainty.concentration[position] > 0.0]
        each = np.column_stack([addressed(seed, iterations, what, entry) for entry in positive])
        draws = np.zeros((len(iterations), size))
        draws[:, positive] = dist.dirichlet_draws([uncertainty.concentration[entry] for entry in positive], each)
        return draws
    columns = [uncertainty.marginals[entry].ppf(addressed(seed, iterations, what, entry)) for entry in range(size)]
    return np.column_stack(columns).astype(float)
