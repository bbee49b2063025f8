"""Progress over all shards: one callback, which commands and analyses share.

A callback takes a `Step`. `console_progress` makes the one for people: a bar with the time left on a terminal, plain
lines elsewhere, and nothing but notes when quiet. It writes to standard error, so that `--json` keeps standard output.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn


@dataclass(frozen=True)
class Step:
    """What has happened to a job.

    `kind` is "start", "advance", "note" (something to tell, in `text`), or one of the ends "finished", "stopped" (by
    Ctrl-C or by the caller) and "failed". `done` counts finished shards of `total`, those of an earlier run included.
    `seconds_left` is the time left at the speed of this run, None before there is one.
    """

    kind: Literal["start", "advance", "note", "finished", "stopped", "failed"]
    job: str
    done: int
    total: int
    seconds_left: float | None = None
    text: str = ""


ProgressCallback = Callable[[Step], None]
ENDS = ("finished", "stopped", "failed")


def duration(seconds: float | None) -> str:
    """Seconds as a person says them: "42 s", "3 min 05 s", "2 h 07 min"; "?" for None."""
    if seconds is None:
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def console_progress(
    quiet: bool = False,
    stream: TextIO | None = None,
    every_seconds: float = 10.0,
    clock: Callable[[], float] = time.monotonic,
) -> ProgressCallback:
    """A callback that shows progress on `stream` (standard error when None).

    On a terminal it is a bar. Elsewhere it is a plain line at the start, at every tenth of the work but no more often
    than every `every_seconds` by `clock`, and at the end. `quiet` leaves only notes and a run that did not finish.
    """
    target = stream if stream is not None else sys.stderr
    if quiet:
        return _Lines(target, every_seconds, clock, only_news=True)
    console = Console(file=target)
    return _Bar(console) if console.is_terminal else _Lines(target, every_seconds, clock, only_news=False)


def _ending(step: Step) -> str:
    return f"{step.job}: {step.kind} at {step.done} of {step.total} shards" + (f"; {step.text}" if step.text else "")


class _Lines:
    """Plain lines for files and pipes."""

    def __init__(self, stream: TextIO, every_seconds: float, clock: Callable[[], float], only_news: bool) -> None:
        self.stream = stream
        self.every_seconds = every_seconds
        self.clock = clock
        self.only_news = only_news
        self.tenth = 0
        self.last = 0.0

    def __call__(self, step: Step) -> None:
        if step.kind == "note":
            self._say(f"{step.job}: {step.text}")
        elif step.kind in ("stopped", "failed"):
            self._say(_ending(step))
        elif self.only_news:
            return
        elif step.kind == "finished":
            self._say(f"{step.job}: finished, {step.total} shards")
        elif step.kind == "start":
            self._start(step)
        elif step.done * 10 // step.total > self.tenth and self.clock() - self.last >= self.every_seconds:
            self._mark(step)
            self._say(f"{step.job}: {step.done} of {step.total} shards, {duration(step.seconds_left)} left")

    def _start(self, step: Step) -> None:
        self._mark(step)
        earlier = f", {step.done} finished earlier" if step.done else ""
        self._say(f"{step.job}: {step.total} shards{earlier}")

    def _mark(self, step: Step) -> None:
        self.tenth = step.done * 10 // step.total
        self.last = self.clock()

    def _say(self, text: str) -> None:
        print(text, file=self.stream, flush=True)


class _Bar:
    """A bar with the time left, for a terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bar: Progress | None = None
        self.task = TaskID(0)

    def __call__(self, step: Step) -> None:
        left = f"{duration(step.seconds_left)} left" if step.seconds_left is not None else ""
        if step.kind == "note":
            self.console.print(f"{step.job}: {step.text}", markup=False, highlight=False)
            return
        if self.bar is None:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[left]}"),
            )
            self.bar = Progress(*columns, console=self.console)
            self.task = self.bar.add_task(step.job, total=step.total, left="")
            self.bar.start()
        self.bar.update(self.task, completed=step.done, left=left)
        if step.kind in ENDS:
            self.bar.stop()
            self.bar = None
            if step.kind != "finished":
                self.console.print(_ending(step), markup=False, highlight=False)
