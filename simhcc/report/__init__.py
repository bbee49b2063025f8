"""Tables, figures and results folders: the only place, beside the runner, that writes files."""

from simhcc.report.folder import read_folder, run_object, write_folder
from simhcc.report.record import currency_of, fingerprint, run_record, unpriced_drugs
from simhcc.report.tables import EVERYONE, Tables, make_tables
from simhcc.report.terminal import render

__all__ = [
    "EVERYONE",
    "Tables",
    "currency_of",
    "fingerprint",
    "make_tables",
    "read_folder",
    "render",
    "run_object",
    "run_record",
    "unpriced_drugs",
    "write_folder",
]
