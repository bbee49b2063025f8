"""make.py: sets up once, says what is missing, and passes exit codes on."""

from __future__ import annotations

import importlib.util
import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A fresh copy of make.py as a module, for the default folder of the virtual environment."""
    monkeypatch.delenv("SIMHCC_VENV", raising=False)
    spec = importlib.util.spec_from_file_location("make_under_test", ROOT / "make.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def calls(make: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that make.py would run; a command whose text holds "fails" ends with exit code 3."""
    seen: list[list[str]] = []

    def call(command: list[str]) -> int:
        seen.append(command[1:])
        return 3 if "fails" in " ".join(command) else 0

    monkeypatch.setattr(make, "call", call)
    return seen


def test_an_old_python_is_told_which_one_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 13, "final", 0))
    with pytest.raises(SystemExit, match=r"needs Python 3\.11 or newer"):
        runpy.run_path(str(ROOT / "make.py"))


def test_make_is_readable_by_python_3_6() -> None:
    # The message above is no use if an old interpreter cannot parse the file: no `match`, no `:=`, no later grammar.
    import ast

    ast.parse((ROOT / "make.py").read_text(encoding="utf-8"), feature_version=(3, 6))


def test_a_python_without_venv_is_told_the_debian_package(make: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make.importlib.util, "find_spec", lambda name: None if name == "ensurepip" else object())
    with pytest.raises(make.SetupError, match=rf"apt install python3\.{sys.version_info[1]}-venv"):
        make.check_can_create()


def test_no_network_and_other_failures_of_pip_are_told_apart(make: ModuleType) -> None:
    refused = "WARNING: Retrying ... NewConnectionError: Failed to establish a new connection: [Errno 111]"
    silent = "ERROR: Could not find a version that satisfies the requirement hatchling>=1.21 (from versions: none)"
    assert "HTTPS_PROXY" in make.why_pip_failed(refused, 1)
    assert "HTTPS_PROXY" in make.why_pip_failed(silent, 1)
    assert "exit code 1" in make.why_pip_failed("ERROR: Failed building wheel for numba", 1)


def test_a_folder_that_holds_something_else_is_refused_and_left_alone(make: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("do not lose", encoding="utf-8")
    with pytest.raises(make.SetupError, match="not empty"):
        make.ensure_venv(tmp_path)
    assert (tmp_path / "thesis.txt").read_text(encoding="utf-8") == "do not lose"


@pytest.mark.parametrize(("minor", "refused"), [(sys.version_info[1], False), (sys.version_info[1] + 1, True)])
def test_an_environment_of_another_python_is_not_taken_for_this_one(
    make: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, minor: int, refused: bool
) -> None:
    monkeypatch.setattr(make, "interpreter_version", lambda folder: (3, minor, 0))
    if refused:
        with pytest.raises(make.SetupError, match=rf"holds Python 3\.{minor}"):
            make.ensure_venv(tmp_path)
    else:
        make.ensure_venv(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_simhcc_venv_names_the_folder(make: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert make.venv_folder() == ROOT / ".venv"
    monkeypatch.setenv("SIMHCC_VENV", str(tmp_path / "elsewhere"))
    assert make.venv_folder() == (tmp_path / "elsewhere").resolve()


@pytest.fixture
def installs(make: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[set[str]]:
    """The extras of each installation that make.py asks pip for, in a project of its own with a made-up environment."""
    seen: list[set[str]] = []
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / ".venv").mkdir()
    monkeypatch.setattr(make, "ROOT", tmp_path)
    monkeypatch.setattr(make, "ensure_venv", lambda folder: None)
    monkeypatch.setattr(make, "pip_install", lambda folder, extras, pins: seen.append(extras))
    return seen


def edit(folder: Path, old: str, new: str) -> None:
    text = (folder / "pyproject.toml").read_text(encoding="utf-8")
    assert old in text
    (folder / "pyproject.toml").write_text(text.replace(old, new), encoding="utf-8")


def test_an_installation_is_reused_until_a_dependency_changes(
    make: ModuleType, installs: list[set[str]], tmp_path: Path
) -> None:
    make.set_up("tables")
    make.set_up("tables")
    assert installs == [{"tables"}]
    edit(tmp_path, "line-length = 120", "line-length = 100")
    make.set_up("tables")
    assert installs == [{"tables"}]
    edit(tmp_path, '"numpy>=', '"numpy>2,>=')
    make.set_up("tables")
    assert installs == [{"tables"}, {"tables"}]


def test_another_extra_is_added_to_those_that_are_there(make: ModuleType, installs: list[set[str]]) -> None:
    make.set_up("tables")
    make.set_up("test")
    make.set_up("tables")
    assert installs == [{"tables"}, {"tables", "test"}]


def test_an_installation_that_broke_off_is_done_again(
    make: ModuleType, installs: list[set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    make.set_up("tables")

    def breaks_off(folder: Path, extras: set[str], pins: list[str]) -> None:
        raise make.SetupError("no connection")

    good = make.pip_install
    monkeypatch.setattr(make, "pip_install", breaks_off)
    with pytest.raises(make.SetupError):
        make.set_up("test")
    monkeypatch.setattr(make, "pip_install", good)
    make.set_up("tables")
    assert len(installs) == 2


def test_a_damaged_stamp_counts_as_none(make: ModuleType, tmp_path: Path) -> None:
    for text in ("", "[]", '{"fingerprint": 1}'):
        (tmp_path / make.STAMP).write_text(text, encoding="utf-8")
        assert make.read_stamp(tmp_path) == ("", set())


def test_the_lowest_versions_are_those_of_the_project_file(
    make: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(make, "ROOT", tmp_path)
    (tmp_path / "pyproject.toml").write_text(
        '[project]\ndependencies = ["numpy>=2.0", "ruamel.yaml >= 0.18.6"]\n'
        '[project.optional-dependencies]\ntest = ["ruff>=0.17,<0.18", "simhcc[tables]"]\n',
        encoding="utf-8",
    )
    assert make.lowest_versions() == ["numpy==2.0", "ruamel.yaml==0.18.6", "ruff==0.17"]


def test_every_dependency_has_a_lower_bound(make: ModuleType) -> None:
    project = make.declared_project()["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    requirements = [text for group in groups for text in group if not text.startswith("simhcc[")]
    assert len(make.lowest_versions()) == len(requirements)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder whose `simhcc` prints its arguments, and is slow or fails for what is named so."""
    if os.name == "nt":
        pytest.skip("a program of a few lines is a script here")
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "simhcc"
    script.write_text(
        f"#!{sys.executable}\n"
        "import os, sys, time\n"
        "print(*sys.argv[1:], flush=True)\n"
        "print('width', os.environ.get('COLUMNS'), file=sys.stderr, flush=True)\n"
        "if 'slow' in sys.argv[2]:\n"
        "    time.sleep(600)\n"
        "sys.exit(3 if 'fails' in sys.argv[2] else 0)\n",
        encoding="utf-8",
    )
    script.chmod(0o755)
    return tmp_path


def test_run_takes_all_settings_and_passes_options_on(
    make: ModuleType, installed: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "93")
    assert make.run(installed, ["--iterations", "10"]) == 0
    shown = capfd.readouterr()
    settings = ("resectable", "intermediate", "advanced")
    assert shown.out.splitlines() == [f"run {setting} --iterations 10" for setting in settings]
    assert shown.err.count("width 93") == 3


def test_run_takes_named_scenarios_and_stops_at_the_first_failure(
    make: ModuleType, installed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # The third would go on for ten minutes: it is ended.
    assert make.run(installed, ["advanced", "fails.yaml", "slow", "--seed", "1"]) == 3
    assert capfd.readouterr().out.splitlines() == ["run advanced --seed 1", "run fails.yaml --seed 1"]


@pytest.mark.parametrize("option", [["--out", "here"], ["--out=here"]])
def test_runs_that_write_to_one_folder_go_one_after_another(
    make: ModuleType, installed: Path, monkeypatch: pytest.MonkeyPatch, option: list[str]
) -> None:
    monkeypatch.setattr(make, "Behind", None)
    assert make.run(installed, ["advanced", "national", *option]) == 0


def test_test_runs_every_check_and_returns_the_first_failure(
    make: ModuleType, calls: list[list[str]], tmp_path: Path
) -> None:
    assert make.test(tmp_path, ["-x"]) == 0
    assert [call[1] for call in calls] == ["ruff", "ruff", "mypy", "pytest"]
    assert make.test(tmp_path / "fails", []) == 3
    assert len(calls) == 8


def test_a_child_that_was_killed_has_the_exit_code_of_the_shell(make: ModuleType) -> None:
    if sys.platform == "win32":
        pytest.skip("Windows has no signals of this kind")
    assert make.call([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]) == 137


@pytest.mark.parametrize(
    ("words", "code"), [([], 2), (["deploy"], 2), (["setup", "now"], 2), (["--help"], 0), (["-h"], 0)]
)
def test_wrong_commands_end_with_exit_code_2(words: list[str], code: int) -> None:
    done = subprocess.run([sys.executable, str(ROOT / "make.py"), *words], capture_output=True, text=True)
    assert done.returncode == code
    assert "make.py" in done.stdout + done.stderr
