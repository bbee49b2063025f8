"""Tables of a fit: each parameter's prior and posterior, each fitted figure's published and predicted value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simhcc.calibration.fit import PRIOR_DRIVEN, Fit

Floats = NDArray[np.float64]

LIMITS = (0.025, 0.975)


def parameter_table(fit: Fit) -> pd.DataFrame:
    """One row per fitted parameter: prior and posterior mean, sd and 95 % limits, and posterior sd over prior sd.

    The ratio is that of the normal scores (see docs/calibration.md); `information` says prior-driven above 0.8.
    """
    rng = np.random.default_rng(0)
    prior = fit.module.values(rng.standard_normal((4000, len(fit.module.fitted))))
    rows: list[dict[str, Any]] = []
    for one, ratio in zip(fit.module.fitted, fit.shrinkage(), strict=True):
        row: dict[str, Any] = {"module": fit.module.id, "parameter": one.name}
        for label, values in (("prior", prior[one.name]), ("posterior", fit.values[one.name])):
            lower, upper = np.quantile(values, LIMITS)
            row |= {
                f"{label}_mean": values.mean(),
                f"{label}_sd": values.std(ddof=1),
                f"{label}_lower": lower,
                f"{label}_upper": upper,
            }
        row |= {
            "posterior_sd_over_prior_sd": ratio,
            "information": "prior-driven" if ratio > PRIOR_DRIVEN else "informed",
            "identified_by": one.identified_by,
        }
        rows.append(row)
    return pd.DataFrame(rows)


def figure_table(fit: Fit) -> pd.DataFrame:
    """One row per fitted figure, on its natural scale.

    `fitted` is the posterior mean with the trial's own random effect, `population` without it; `lower` and `upper` the 95 %
    predictive interval of such a trial (posterior, the trial's effect, discrepancy and sampling); `residual` published minus
    fitted in standard deviations of the published figure; `width` the predictive interval over the published one.
    """
    rows: list[dict[str, Any]] = []
    for term, one in zip(fit.terms, fit.figures, strict=True):
        own, drawn = predictive(fit, term.trial)
        sd = np.sqrt(np.diag(term.sampling))
        mean, population = own.mean(axis=0), fit.predicted[term.trial].mean(axis=0)
        lower, upper = np.quantile(drawn, LIMITS, axis=0)
        published, natural = one.natural(term.observed), one.natural
        for k, name in enumerate(term.names):
            rows.append(
                {
                    "module": fit.module.id,
                    "trial": term.trial,
                    "figure": name,
                    "published": published[k],
                    "fitted": natural(mean)[k],
                    "population": natural(population)[k],
                    "lower": natural(lower)[k],
                    "upper": natural(upper)[k],
                    "residual": (term.observed[k] - mean[k]) / sd[k],
                    "inside": bool(lower[k] <= term.observed[k] <= upper[k]),
                    "width": drawn[:, k].std(ddof=1) / sd[k],
                    "emulator_bias": fit.emulator_miss[term.trial][0, k],
                    "emulator_sd": fit.emulator_miss[term.trial][1, k],
                }
            )
    return pd.DataFrame(rows)


def predictive(fit: Fit, trial: str, seed: int = 0) -> tuple[Floats, Floats]:
    """Expected figures of a fitted trial with its own effect, and figures that such a trial would report: (draws, figures).

    Both on the figures' scales; the second adds discrepancy and sampling.
    """
    term = next(t for t in fit.terms if t.trial == trial)
    rng = np.random.default_rng([seed, len(trial)])
    own = fit.predicted[trial] + fit.effects[trial] @ term.jacobian.T
    noise = rng.standard_normal(own.shape) @ np.linalg.cholesky(term.sampling).T
    other = fit.delta[:, None] * rng.standard_normal(own.shape)
    return own, own + noise + other


def correlation_table(fit: Fit) -> pd.DataFrame:
    """Posterior correlations of the parameters' normal scores."""
    names = list(fit.module.names)
    matrix = np.corrcoef(fit.x[:, :-2], rowvar=False).reshape(len(names), len(names))
    return pd.DataFrame(matrix, index=names, columns=names)
