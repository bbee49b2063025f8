"""`python -m simhcc.population FILE...`: fit populations to their targets and rewrite the `fitted` part of each file.

With `--check` nothing is written; the targets and what the stored adjustments achieve are printed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from simhcc.population.definition import read_population
from simhcc.population.fit import Fit, evaluate, fit_population

MARK = "fitted:\n"


def main(arguments: list[str]) -> None:
    """Fit or check each file in turn; print what each target asks and gets."""
    check = "--check" in arguments
    for name in arguments:
        if name == "--check":
            continue
        path = Path(name)
        population = read_population(path)
        if population.template:
            continue
        fit = evaluate(population) if check else fit_population(population)
        print(f"{population.id}: {fit.rounds} rounds")
        for target, value in fit.achieved:
            print(f"  {value:8.3f}  target {target.value:8.3f}  {target.label}", flush=True)
        if not check:
            rewrite(path, fit)


def rewrite(path: Path, fit: Fit) -> None:
    """Replace the `fitted` part, which is the last of the file, or add it."""
    text = path.read_text(encoding="utf-8")
    start = text.find("\n" + MARK)
    head = text if start < 0 else text[: start + 1]
    block = "\n" + fit.block() if fit.population.adjustments else ""
    path.write_text(head.rstrip("\n") + "\n" + block, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
