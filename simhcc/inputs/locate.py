"""Where input files are found: a path, the user's own folders, then the packaged data."""

from __future__ import annotations

import re
from pathlib import Path

import simhcc
from simhcc.errors import InputError
from simhcc.inputs.reader import Place, nearest, one_of, shown_path

# Folder of each kind of named file, and the packaged tree it belongs to.
FOLDERS = {
    "scenario": "scenarios",
    "strategy": "scenarios/strategies",
    "claim": "scenarios/claims",
    "structure": "scenarios/structures",
    "forecast": "scenarios/forecasts",
    "population": "params/populations",
    "trial": "params/trials",
    "calibration": "params/calibration",
    "country": "params/countries",
}

ID = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,79}\Z")
ID_WORDS = "a letter, then letters, digits, _ or - (at most 80)"


def packaged_folder(tree: str) -> Path:
    """The packaged `params` or `scenarios` folder: inside an installed simhcc, or at the top of a source checkout."""
    package = Path(simhcc.__file__).resolve().parent
    for folder in (package / "data" / tree, package.parent / tree):
        if folder.is_dir():
            return folder
    raise InputError(f"no packaged {tree} folder", "a complete installation of simhcc (reinstall it)")


def user_folder(tree: str, user_dir: str | Path | None) -> Path | None:
    """The user's own `params` or `scenarios` under `user_dir` (None: the working folder).

    None when there is none or when it is the packaged one (the working folder is a source checkout).
    """
    if user_dir is not None and not Path(user_dir).is_dir():
        raise InputError(f"{user_dir}, which is not a folder", "the folder that holds your params/ and scenarios/")
    folder = Path.cwd() / tree if user_dir is None else Path(user_dir) / tree
    if not folder.is_dir() or folder.resolve() == packaged_folder(tree).resolve():
        return None
    return folder


def is_path(name: str) -> bool:
    """Whether a name given by a user is a path rather than an id."""
    return "/" in name or "\\" in name or name.endswith((".yaml", ".yml"))


def is_file(path: Path) -> bool:
    """Whether there is a regular file; False also for what no file system takes as a name (too long, a zero in it)."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def find_input(kind: str, name: str, user_dir: str | Path | None = None, relative_to: Path | None = None) -> Path:
    """The file of a scenario, strategy, claim, population or trial, given its id or a path.

    A path is taken from `relative_to` (default: the working folder); an id is looked up in the user's own folder, then
    in the packaged one. Raises InputError with the nearest id.
    """
    if is_path(name):
        path = Path(name) if relative_to is None else relative_to / name
        if not is_file(path):
            origin = (
                "" if Path(name).is_absolute() else f" (relative to {shown_path(relative_to or Path.cwd()) or '.'})"
            )
            raise InputError(f"the path {name}{origin}, where there is no file", f"the path of a {kind} file, or an id")
        return path
    known = list_inputs(kind, user_dir)
    if name not in known:
        near = nearest(name, known)
        hint = f"; did you mean {near}?" if near else ""
        raise InputError(f"no {kind} called {name!r}{hint}", f"{one_of(known)}, or a path to a {kind} file")
    return known[name]


def list_inputs(kind: str, user_dir: str | Path | None = None) -> dict[str, Path]:
    """Id -> file of every scenario, strategy, claim, population or trial; the user's own files win."""
    tree, *rest = FOLDERS[kind].split("/")
    found: dict[str, Path] = {}
    for root in (packaged_folder(tree), user_folder(tree, user_dir)):
        folder = root.joinpath(*rest) if root is not None else None
        if folder is not None and folder.is_dir():
            found |= {path.stem: path for path in yaml_files(folder, recursive=False)}
    return dict(sorted(found.items()))


def yaml_files(folder: Path, recursive: bool = True) -> list[Path]:
    """The .yaml files of a folder in a fixed order; a .yml file is refused, because it would go unread."""
    names = folder.rglob("*") if recursive else folder.glob("*")
    files = sorted(path for path in names if path.is_file() and not path.name.startswith("."))
    for path in files:
        if path.suffix.lower() == ".yml" or (path.suffix.lower() == ".yaml" and path.suffix != ".yaml"):
            raise InputError(f"a file ending in {path.suffix}", "the ending .yaml", file=file_name(path))
    return [path for path in files if path.suffix == ".yaml"]


def file_name(path: Path) -> str:
    """A file's name in messages and records: packaged files by their place in simhcc, others as the user sees them."""
    shown = shown_path(path)
    if not Path(shown).is_absolute():
        return shown
    for tree in ("params", "scenarios"):
        root = packaged_folder(tree).resolve()
        if path.resolve().is_relative_to(root):
            inside = path.resolve().relative_to(root).as_posix()
            return f"{'simhcc/data/' if root.parent.name == 'data' else ''}{tree}/{inside}"
    return shown


def at(place: Place, key: str | None, error: InputError) -> InputError:
    """`error` with the place that caused it, where it has none."""
    if error.file is not None:
        return error
    return InputError(error.found, error.expected, key, place.file, place.line)
