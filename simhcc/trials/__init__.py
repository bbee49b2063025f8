"""Virtual trials: what a trial would have reported about the simulated patients."""

from simhcc.inputs.trials import Trial, list_trials, load_trial
from simhcc.trials.expected import Expected, expected
from simhcc.trials.pools import Pool, fitted_level, simulate_trial
from simhcc.trials.rows import Row, rows_of

__all__ = [
    "Expected",
    "Pool",
    "Row",
    "Trial",
    "expected",
    "fitted_level",
    "list_trials",
    "load_trial",
    "rows_of",
    "simulate_trial",
]
