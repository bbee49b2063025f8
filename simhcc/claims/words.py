"""Estimates, rules and probabilities as a clinician reads them."""

from __future__ import annotations

import numpy as np

from simhcc.claims.registry import Component, Estimand


def number(value: float, estimand: Estimand, signed: bool = False) -> str:
    """An estimate in its own words: percent, points, months, a ratio, money; no minus before a zero."""
    text = _number(value, estimand, signed)
    shown = text.split(" ", 1)[0].replace(",", "")
    return text.removeprefix("-") if shown.startswith("-") and float(shown) == 0.0 else text


def _number(value: float, estimand: Estimand, signed: bool = False) -> str:
    """An estimate in its own words: percent, points, months, a ratio, money."""
    if not np.isfinite(value):
        return "not estimable"
    sign = "+" if signed and value >= 0.0 else ""
    difference = estimand.kind in ("difference", "margin")
    if estimand.scale == "share":
        return f"{sign}{100.0 * value:.1f} {'points' if difference else '%'}"
    if estimand.scale == "months":
        return f"{sign}{value:.2f} months"
    if estimand.scale == "years":
        return f"{sign}{value:.2f}"
    if estimand.scale == "money":
        return f"{sign}{value:,.0f} CNY"
    return f"{value:.2f}"


def rule_words(component: Component) -> str:
    """The rule with its unit."""
    rule, estimand = component.rule, component.estimand
    if np.isinf(rule.high):
        return f"above {number(rule.low, estimand)}"
    if np.isinf(rule.low):
        return f"below {number(rule.high, estimand)}"
    return f"between {number(rule.low, estimand)} and {number(rule.high, estimand)}"


def probability_text(value: float) -> str:
    """A probability, never rounded up to certainty."""
    return "<0.005" if value < 0.005 else ">0.995" if value > 0.995 else f"{value:.2f}"


def probability_words(value: float, mcse: float) -> str:
    """A probability with its Monte-Carlo error, never rounded up to certainty."""
    shown = probability_text(value)
    return f"{shown} ±{mcse:.2f}" if mcse >= 0.005 else f"{shown} ±<0.01"


__all__ = ["number", "probability_text", "probability_words", "rule_words"]
