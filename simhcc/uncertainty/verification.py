"""`verify`: run the checks of the TECH-VER checklist on a scenario."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simhcc.errors import InputError, SimhccError
from simhcc.uncertainty.bench import Bench, Failed, NotApplicable
from simhcc.uncertainty.checks import CHECKS


@dataclass(frozen=True)
class Verdict:
    """What came of a check: `passed`, `failed` or `not applicable`, with the reason."""

    id: str
    title: str
    expected: str
    status: str
    detail: str


def verify(
    bench: Bench, checks: Sequence[str] = (), progress: Callable[[int, int], None] = lambda done, total: None
) -> list[Verdict]:
    """Run the checks (all by default) and say what came of each.

    A check that the model cannot even run, because the engine or the inputs refuse it, has failed. Raises InputError for
    an unknown id.
    """
    known = {check.id: check for check in CHECKS}
    for name in checks:
        if name not in known:
            raise InputError(f"no check called {name!r}", f"one of {', '.join(known)}", "--checks")
    chosen = [check for check in CHECKS if not checks or check.id in checks]
    # What the scenario itself gets wrong is wrong input, not a failed check.
    _ = bench.base
    verdicts = []
    for position, check in enumerate(chosen):
        try:
            status, detail = "passed", check.test(bench)
        except NotApplicable as reason:
            status, detail = "not applicable", str(reason)
        except Failed as reason:
            status, detail = "failed", str(reason)
        except SimhccError as reason:
            status, detail = "failed", f"refused by the model: {str(reason).splitlines()[0]}"
        verdicts.append(Verdict(check.id, check.title, check.expected, status, detail))
        progress(position + 1, len(chosen))
    return verdicts
