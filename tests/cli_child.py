"""`cli_child.py ROOT [--hold-at N | --die-at N | --interrupt-at N] -- ARGUMENTS`: the command line, in a process of its own.

With `--hold-at` nothing is stored after N shards, however long the run is left alone; with `--die-at` the process kills
itself then; with `--interrupt-at` it presses Ctrl-C. So what a test finds does not depend on the speed of the machine.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path


def use_small_project(root: Path) -> None:
    """Make the small project in `root` the packaged one, for the rest of this process, and work there."""
    import cli_project

    from simhcc import analysis
    from simhcc.inputs import locate, parameters
    from simhcc.report import command, figures

    for module in (locate, parameters):
        module.packaged_folder = lambda tree: root / tree  # type: ignore[attr-defined]
    command.assembled = cli_project.assembled
    figures.draw_figures = lambda folder, tables, record: folder.mkdir()
    analysis.SHARD_PATIENT_STRATEGIES = 4096
    os.chdir(root)


def stop_at(how: str, shards: int) -> None:
    """Let this process stop in one of the three ways when so many shards are stored."""
    from simhcc.runner.store import ShardFolder

    write, left, pressed = ShardFolder.write, [shards], threading.Event()

    def interrupted(number: int, frame: object) -> None:
        pressed.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupted)

    def write_and_stop(self: ShardFolder, batch: list[tuple[int, bytearray]]) -> None:
        for item in batch:
            if left[0] == 0:
                if how == "--die-at":
                    os.kill(os.getpid(), signal.SIGKILL)
                elif how == "--interrupt-at":
                    os.kill(os.getpid(), signal.SIGINT)
                    pressed.wait()
                else:
                    time.sleep(600)
            write(self, [item])
            left[0] -= 1

    ShardFolder.write = write_and_stop  # type: ignore[method-assign]


if __name__ == "__main__":
    own, arguments = sys.argv[1 : sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1 :]
    use_small_project(Path(own[0]))
    if len(own) > 1:
        stop_at(own[1], int(own[2]))
    from simhcc import cli

    sys.argv = ["simhcc", *arguments]
    cli.main()
