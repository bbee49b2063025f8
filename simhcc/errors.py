"""The exceptions a user of simhcc meets, each with what a person needs to mend the cause."""

from __future__ import annotations

from dataclasses import dataclass


class SimhccError(Exception):
    """Base of every error that simhcc raises on purpose."""


@dataclass
class InputError(SimhccError):
    """Wrong input: the command stops before anything is simulated or written (exit code 2).

    `file` and `line` (1-based) say where, `key` names the entry, `found` what stands there and `expected` what is
    allowed. Fields that do not apply are None.
    """

    found: str
    expected: str = ""
    key: str | None = None
    file: str | None = None
    line: int | None = None

    def __reduce__(self) -> tuple[object, ...]:
        # An exception is pickled by its positional arguments, and these fields may have been given by name.
        return InputError, (self.found, self.expected, self.key, self.file, self.line), dict(self.__dict__)

    def __str__(self) -> str:
        place = self.file or ""
        if self.line is not None:
            place += f":{self.line}"
        head = ": ".join(part for part in (place, self.key or "") if part)
        lines = [head] if head else []
        lines.append(f"  found {self.found}" if head else f"found {self.found}")
        if self.expected:
            lines.append(f"  expected {self.expected}" if head else f"expected {self.expected}")
        return "\n".join(lines)


class ModelError(SimhccError):
    """A pathway graph or its numbers cannot be run; the message names the thing and the remedy (exit code 2)."""


class SimulationError(SimhccError):
    """A run was stopped by the engine; the message names the patient, so that patient can be run alone (exit code 1)."""


class CheckFailed(SimhccError):
    """A check of the model's results failed (exit code 1)."""
