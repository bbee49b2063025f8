"""Speed and memory of simhcc beside other programs; `python -m benchmarks.competitors` runs the other programs."""

import json
from collections.abc import Mapping


def show(report: Mapping[str, float], as_json: bool) -> None:
    """Print what was measured: a line for each figure, or one JSON object."""
    if as_json:
        print(json.dumps(dict(report)))
        return
    width = max(len(name) for name in report)
    for name, value in report.items():
        print(f"{name:<{width}}{value:12.3f}")
