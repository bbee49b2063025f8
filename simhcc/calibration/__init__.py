"""Calibration: the parameters that no trial reports, fitted to what trials did report; and what that is worth."""

from simhcc.calibration.command import Found, Request, run_calibration, run_recovery
from simhcc.calibration.fit import Fit, Options, run_fit
from simhcc.calibration.specification import Module, list_modules, load_module

__all__ = [
    "Fit",
    "Found",
    "Module",
    "Options",
    "Request",
    "list_modules",
    "load_module",
    "run_calibration",
    "run_fit",
    "run_recovery",
]
