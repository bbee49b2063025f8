"""The generated parts of docs/model.md: the diagram of the pathway and the table of all parameters.

    python -m simhcc.report.model_page [--check] [PAGE]

Writes the parts anew between their marks, or with `--check` only says whether the page is current (exit code 1 if not). PAGE is
docs/model.md of the folder it is run in unless another file is named.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from simhcc.errors import InputError
from simhcc.inputs import Parameter, ParameterSet, load_parameters
from simhcc.pathway.whole import pathway

MARKS = {name: (f"<!-- {name}: begin, generated -->", f"<!-- {name}: end -->") for name in ("diagram", "parameters")}


def page_with_parts(text: str) -> str:
    """The page with its generated parts made anew. Raises InputError where a pair of marks is missing."""
    parts = {"diagram": f"```mermaid\n{pathway().mermaid()}```\n", "parameters": table(load_parameters())}
    for name, (begin, end) in MARKS.items():
        if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
            raise InputError(f"no pair of marks for the {name}", f"a line {begin} and below it a line {end}", name)
        head, rest = text.split(begin)
        text = f"{head}{begin}\n\n{parts[name]}\n{end}{rest.split(end)[1]}"
    return text


def table(parameters: ParameterSet) -> str:
    """All parameters as Markdown, a heading and a table for each first part of their names."""
    counts = {grade: 0 for grade in ("published", "derived", "calibrated", "assumed")}
    for found in parameters.values():
        counts[found.grade] += 1
    recalled = sum(found.recalled for found in parameters.values())
    lines = [
        f"{len(parameters)} parameters of the base case (country pack China): "
        + ", ".join(f"{number} {grade}" for grade, number in counts.items())
        + f"; {recalled} rest on a recalled figure, marked \\*. The interval is the central 95 % of the distribution; without "
        "one the number is not varied. `simhcc why NAME` gives reasons, formulas and citations.",
        "",
    ]
    for group, names in groupby(sorted(parameters), key=lambda name: name.split(".")[0]):
        lines += [
            f"### {group}",
            "",
            "| parameter | value | unit | 95 % interval | grade | source |",
            "|---|---|---|---|---|---|",
        ]
        lines += [_row(name, parameters[name]) for name in names]
        lines.append("")
    return "\n".join(lines)


def _row(name: str, found: Parameter) -> str:
    values = found.value if isinstance(found.value, tuple) else (found.value,)
    intervals = (
        "" if found.uncertainty is None else "; ".join(_interval(*pair) for pair in found.uncertainty.intervals())
    )
    grade = found.grade + ("\\*" if found.recalled else "")
    cells = (
        f"`{name}`",
        ", ".join(f"{value:.4g}" for value in values),
        found.unit,
        intervals,
        grade,
        ", ".join(found.source),
    )
    return f"| {' | '.join(cells)} |"


def _interval(low: float, high: float) -> str:
    return f"{low:.3g} to {high:.3g}"


def _words(arguments: list[str] | None) -> Iterator[str]:
    parser = argparse.ArgumentParser(prog="python -m simhcc.report.model_page", description=__doc__)
    parser.add_argument("page", nargs="?", default="docs/model.md")
    parser.add_argument("--check", action="store_true", help="only say whether the page is current")
    given = parser.parse_args(arguments)
    path = Path(given.page)
    if not path.is_file():
        raise InputError(f"no page at {path}", "the path of docs/model.md", file=str(path))
    text = path.read_text(encoding="utf-8")
    current = page_with_parts(text)
    if text == current:
        yield f"{path} is current"
    elif given.check:
        raise SystemExit(f"{path} is not current; python -m simhcc.report.model_page writes it anew")
    else:
        path.write_text(current, encoding="utf-8")
        yield f"{path} written anew"


def main(arguments: list[str] | None = None) -> int:
    """Carry out the command; 0 done or current, 1 not current, 2 wrong input."""
    try:
        for line in _words(arguments):
            print(line)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
