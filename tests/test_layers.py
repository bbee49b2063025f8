"""Imports go down the list of layers only; the engine knows numpy, numba and nothing of the disease."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "simhcc"

# Top to bottom: a module may import from its own layer and from those below it. `__main__` only starts `cli`.
LAYERS = (
    "__main__",
    "cli",
    "usage",
    "report",
    "claims",
    "uncertainty",
    "calibration",
    "trials",
    "economics",
    "analysis",
    "runner",
    "assembly",
    "simulation",
    "cohort",
    "outcomes",
    "model",
    "pathway",
    "population",
    "staging",
    "inputs",
    "graph",
    "expressions",
    "distributions",
    "engine",
    "errors",
)
ENGINE_LIBRARIES = {"numpy", "numba"}
# The module that keeps compiled code on disk also needs a lock between processes and, from numba's own llvmlite, the
# name of the processor.
CACHE_MODULE = "simhcc.engine.compiled"
CACHE_LIBRARIES = {"filelock", "llvmlite"}


class Import(NamedTuple):
    """One imported name: who imports, what, and where it says so."""

    importer: str
    imported: str
    place: str


def module_name(path: Path, package: Path) -> str:
    """The dotted name of the module in `path`, for example simhcc.engine.rng; a package goes by its folder's name."""
    parts = list(path.relative_to(package.parent).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path, package: Path) -> Iterator[Import]:
    """Every import statement of one module, also those inside functions and under TYPE_CHECKING."""
    name = module_name(path, package)
    home = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = home[: len(home) - node.level + 1] if node.level else []
            source = ".".join([*base, *(node.module.split(".") if node.module else [])])
            # `from simhcc import trials` names a module; `from simhcc.trials import x` lives in simhcc.trials.
            targets = [f"{source}.{alias.name}" for alias in node.names] if source == package.name else [source]
        else:
            continue
        for target in targets:
            yield Import(name, target, f"{path.relative_to(package.parent)}:{node.lineno}")


def all_imports(package: Path) -> list[Import]:
    return [found for path in sorted(package.rglob("*.py")) for found in imports_of(path, package)]


def layer_of(module: str) -> str:
    """The layer of a dotted name below simhcc, or "" for the package itself."""
    return module.partition(".")[2].partition(".")[0]


def upward_imports(package: Path) -> list[str]:
    """One line for each import that points up the list, or to a module that is not on it."""
    faults = []
    bare = {package.name, f"{package.name}.__version__", f"{package.name}.__file__", f"{package.name}.__path__"}
    for found in all_imports(package):
        # The bare package is below everything: it holds the version and the place of the files, and imports nothing.
        if found.imported.partition(".")[0] != package.name or found.imported in bare:
            continue
        above, below = layer_of(found.importer), layer_of(found.imported)
        if above == "":
            # The package's own __init__ is imported before everything else, so what it imports everybody imports.
            if below != "errors":
                faults.append(f"{found.place}: the package itself imports {found.imported}; only simhcc.errors may be")
        elif above not in LAYERS or below not in LAYERS:
            faults.append(
                f"{found.place}: {found.importer} imports {found.imported}; one of them has no place in LAYERS"
            )
        elif LAYERS.index(above) > LAYERS.index(below):
            faults.append(f"{found.place}: {found.importer} imports {found.imported}, which stands above it")
    return faults


def foreign_imports_of_engine(package: Path) -> list[str]:
    """One line for each import of the engine that is neither the standard library, numpy, numba nor the engine."""
    faults = []
    for found in all_imports(package):
        if layer_of(found.importer) != "engine":
            continue
        top = found.imported.partition(".")[0]
        allowed = top in sys.stdlib_module_names or top in ENGINE_LIBRARIES
        allowed = allowed or (top == package.name and layer_of(found.imported) in {"engine", "errors"})
        allowed = allowed or (top in CACHE_LIBRARIES and found.importer == CACHE_MODULE)
        if not allowed:
            faults.append(f"{found.place}: the engine imports {found.imported}")
    return faults


def yaml_readers(package: Path) -> list[str]:
    """One line for each import of a YAML library outside the inputs."""
    return [
        f"{found.place}: {found.importer} imports {found.imported}; only simhcc.inputs reads YAML"
        for found in all_imports(package)
        if found.imported.partition(".")[0] in {"ruamel", "yaml"} and layer_of(found.importer) != "inputs"
    ]


def test_every_module_has_a_place_in_the_layers() -> None:
    modules = {layer_of(module_name(path, PACKAGE)) for path in PACKAGE.rglob("*.py")} - {""}
    assert modules <= set(LAYERS)


def test_imports_point_down() -> None:
    assert upward_imports(PACKAGE) == []


def test_the_engine_needs_numpy_and_numba_only() -> None:
    assert foreign_imports_of_engine(PACKAGE) == []


def test_only_the_inputs_read_yaml() -> None:
    assert yaml_readers(PACKAGE) == []


def plant(folder: Path, module: str, statement: str) -> Path:
    """A package like simhcc with one module that holds one statement."""
    package = folder / "simhcc"
    for name in ("engine", "trials"):
        (package / name).mkdir(parents=True)
        (package / name / "__init__.py").touch()
    (package / "__init__.py").write_text('__version__ = "1"\n', encoding="utf-8")
    (package / module).write_text(statement + "\n", encoding="utf-8")
    return package


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("economics.py", "from simhcc.runner import run\nfrom simhcc.trials.cox import hazard_ratio"),
        ("economics.py", "from simhcc import trials"),
        ("economics.py", "import simhcc.claims as claims"),
        ("economics.py", "def late():\n    from .trials import cox"),
        ("engine/kernel.py", "from ..graph import State"),
        ("errors.py", "from simhcc.inputs import load"),
        ("__init__.py", "from simhcc.simulation import simulate"),
        ("helpers.py", "from simhcc.engine import rng"),
        ("cli.py", "from simhcc.helpers import anything"),
    ],
)
def test_a_planted_upward_import_is_found(tmp_path: Path, module: str, statement: str) -> None:
    assert len(upward_imports(plant(tmp_path, module, statement))) == 1


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("cli.py", "from simhcc import __version__, report"),
        ("inputs.py", "import simhcc"),
        ("trials/cox.py", "from . import logrank\nfrom ..economics import frontier\nimport numpy, scipy.stats"),
        ("engine/kernel.py", "from .rng import philox\nfrom simhcc.errors import SimulationError"),
    ],
)
def test_a_downward_import_passes(tmp_path: Path, module: str, statement: str) -> None:
    assert upward_imports(plant(tmp_path, module, statement)) == []


@pytest.mark.parametrize(
    ("module", "statement", "faults"),
    [
        ("engine/kernel.py", "import scipy.special", 1),
        ("engine/kernel.py", "def f():\n    import pandas as pd", 1),
        ("engine/kernel.py", "from filelock import FileLock", 1),
        ("engine/kernel.py", "from simhcc.distributions import Weibull", 1),
        (
            "engine/compiled.py",
            "from filelock import FileLock\nimport os, numba\nimport simhcc.errors",
            0,
        ),
    ],
)
def test_a_planted_library_in_the_engine_is_found(tmp_path: Path, module: str, statement: str, faults: int) -> None:
    assert len(foreign_imports_of_engine(plant(tmp_path, module, statement))) == faults


@pytest.mark.parametrize(("module", "faults"), [("model.py", 1), ("inputs.py", 0)])
def test_a_planted_yaml_reader_is_found(tmp_path: Path, module: str, faults: int) -> None:
    assert len(yaml_readers(plant(tmp_path, module, "from ruamel.yaml import YAML"))) == faults
