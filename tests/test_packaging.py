"""What a user installs is complete, says its version once, and needs nothing that is not declared."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

import simhcc

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# Distributions whose import name is not their own name in lower case with underscores.
IMPORT_NAMES = {"salib": "SALib", "ruamel-yaml": "ruamel", "scikit-learn": "sklearn"}

# What a declared library brings at exactly its own version, and documents as part of itself.
PARTS = {"pydantic_core": "pydantic", "llvmlite": "numba", "dask": "distributed"}


def import_name(requirement: str) -> str:
    """The name that code imports for a requirement such as "ruamel.yaml>=0.18"."""
    name = re.split(r"[<>=!~;\[ ]", requirement, maxsplit=1)[0].lower().replace("_", "-").replace(".", "-")
    return IMPORT_NAMES.get(name, name.replace("-", "_"))


def library_imports(path: Path) -> list[tuple[str, bool]]:
    """Libraries that one module imports, each with True where the import happens as the module is loaded.

    An import inside a function, under TYPE_CHECKING or in a `try` that catches ImportError is not needed to load it.
    """
    found: list[tuple[str, bool]] = []

    def visit(node: ast.AST, needed: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend((alias.name.partition(".")[0], needed) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.append((node.module.partition(".")[0], needed))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            needed = False
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            needed = False
        if isinstance(node, ast.Try) and any("ImportError" in ast.unparse(h.type) for h in node.handlers if h.type):
            needed = False
        for child in ast.iter_child_nodes(node):
            visit(child, needed)

    visit(ast.parse(path.read_text(encoding="utf-8")), True)
    return [(name, needed) for name, needed in found if name != "simhcc" and name not in sys.stdlib_module_names]


def undeclared(package: Path) -> list[str]:
    """One line for each library that the package imports without declaring it where it is needed."""
    core = {import_name(text) for text in PROJECT["dependencies"]}
    extras = {
        import_name(text)
        for name, group in PROJECT["optional-dependencies"].items()
        if name not in {"test", "benchmark"}
        for text in group
    }
    faults = []
    for path in sorted(package.rglob("*.py")):
        for name, needed in library_imports(path):
            name = PARTS.get(name, name)
            if name not in core and (needed or name not in extras):
                faults.append(f"{path.name} imports {name}")
    return faults


def test_every_library_that_is_imported_is_declared() -> None:
    assert undeclared(ROOT / "simhcc") == []


def test_a_planted_undeclared_library_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import numpy, polars\nimport pyarrow\n\n\ndef f():\n    import pyarrow, pytest\n")
    assert undeclared(tmp_path) == ["a.py imports polars", "a.py imports pyarrow", "a.py imports pytest"]


def test_the_version_is_the_same_everywhere() -> None:
    assert simhcc.__version__ == PROJECT["version"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[([^\]]+)\]", changelog, flags=re.MULTILINE)
    assert simhcc.__version__ == next(name for name in headings if name != "Unreleased")


def test_readme_and_ci_agree_on_the_test_command() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "`python3 make.py test`" in readme
    assert ci.rstrip().endswith('"$python" make.py test')


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of this working tree, built without the network."""
    if find_spec("hatchling") is None:
        pytest.skip("hatchling is not installed: the wheel cannot be built without the network")
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return zipfile.ZipFile(built)


def test_the_wheel_holds_every_module_and_the_type_marker(wheel: zipfile.ZipFile) -> None:
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "simhcc").rglob("*.py")}
    assert modules | {"simhcc/py.typed"} <= set(wheel.namelist())


def test_the_wheel_holds_the_parameters_and_scenarios(wheel: zipfile.ZipFile) -> None:
    data = {
        f"simhcc/data/{path.relative_to(ROOT).as_posix()}"
        for folder in ("params", "scenarios")
        for path in (ROOT / folder).rglob("*.yaml")
    }
    assert data
    assert data <= set(wheel.namelist())


def test_the_wheel_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    assert {name.partition("/")[0].partition("-")[0] for name in wheel.namelist()} == {"simhcc"}
    compiled = (".pyc", ".nbi", ".nbc")
    assert not [name for name in wheel.namelist() if "cache__" in name or name.endswith(compiled)]


def test_the_wheel_declares_version_python_and_command(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    metadata = wheel.read(next(name for name in names if name.endswith("METADATA"))).decode()
    commands = wheel.read(next(name for name in names if name.endswith("entry_points.txt"))).decode()
    assert f"\nVersion: {simhcc.__version__}\n" in metadata
    assert "\nRequires-Python: >=3.11\n" in metadata
    assert "simhcc = simhcc.cli:main" in commands
