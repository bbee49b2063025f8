"""Where the pieces of an unfinished analysis lie, and who may work there."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import InputError
from .store import HOLDER, LOCK, hold, make_folder


def work_of(target: Path) -> Path:
    """The folder beside `target` that holds the pieces of an unfinished analysis."""
    return target.parent / f".{target.name}.work"


@contextmanager
def unfinished(
    target: Path, *, resume: bool, overwrite: bool, again: str, say: Callable[[str], None]
) -> Iterator[Path]:
    """Hold the folder for the pieces of an analysis whose results will be `target`, and give its path.

    It is there from the start to the end, so that nobody else works on the same results. When the block ends well it goes
    away; when it does not, finished shards stay and `say` is told the command `again`, which continues them. Folders that
    were made for nothing go away. Raises `InputError` when another process holds it, when it cannot be written, and
    when it has shards of an earlier analysis and neither `resume` nor `overwrite` is said.
    """
    work = work_of(target)
    new_parents = [folder for folder in target.parents if not folder.exists()]
    try:
        with workplace(work):
            if not resume and _has_shards(work):
                if not overwrite:
                    found, remedy = (
                        f"{target}, where an earlier run was interrupted",
                        "--resume to continue it, or --overwrite",
                    )
                    raise InputError(found, remedy, key="--out")
                empty(work)
            try:
                yield work
            except BaseException as error:
                if not _has_shards(work):
                    with suppress(OSError):  # a disk that fails is no reason to hide the error
                        empty(work)
                elif not isinstance(error, InputError):
                    say(f"what is finished is kept; to go on: {again}")
                raise
            empty(work)
    except BaseException:
        with suppress(OSError):  # a folder that holds something stays
            for folder in new_parents:
                folder.rmdir()
        raise


def _has_shards(folder: Path) -> bool:
    return any(folder.rglob("*.shard"))


@contextmanager
def workplace(folder: Path) -> Iterator[None]:
    """Hold a folder for work that is not finished, which appears now if it was not there.

    When the block ends it goes away, if it is empty by then. Raises `InputError` naming the process that holds it.
    """
    while True:
        make_folder(folder)
        try:
            lock = hold(folder)
        except InputError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            continue  # its last holder took it away meanwhile
        break
    try:
        yield
    finally:
        lock.release()
        with suppress(OSError):  # another process may have taken it already
            folder.rmdir()


def empty(folder: Path) -> None:
    """Remove everything from a folder that this process holds, but the lock."""
    for path in folder.iterdir():
        if path.name in (LOCK, HOLDER):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
