"""A small complete set of input files (tests/bad_inputs/base) that stands in for the packaged ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from simhcc.inputs import locate, parameters

FOLDER = Path(__file__).resolve().parent / "bad_inputs"


def use_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy the base files to `tmp_path/packaged`, let them be the packaged ones, and work in `tmp_path/packaged`."""
    root = tmp_path / "packaged"
    shutil.copytree(FOLDER / "base", root)
    take_for_packaged(root, monkeypatch)
    return root


def take_for_packaged(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the files below `root` be the packaged ones, and work there."""
    for module in (locate, parameters):
        monkeypatch.setattr(module, "packaged_folder", lambda tree: root / tree)
    monkeypatch.chdir(root)
