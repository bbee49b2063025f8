"""The report: one HTML file, in English or Chinese, that opens without a network."""

from simhcc.report.page.build import Request, Written, write_report

__all__ = ["Request", "Written", "write_report"]
