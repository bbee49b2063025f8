"""Set simhcc up from nothing and run it, its tests or its benchmarks, with nothing but Python >= 3.11.

python3 make.py run [SCENARIO ...] [OPTIONS]   simulate the resectable, intermediate and advanced settings
python3 make.py test [PYTEST OPTIONS]          style, types and tests
python3 make.py slow [PYTEST OPTIONS]          the longer statistical checks
python3 make.py bench [OPTIONS]                speed, beside other programs
python3 make.py lowest [PYTEST OPTIONS]        the tests with the oldest libraries that pyproject.toml allows
python3 make.py setup                          only install

On Windows write `py make.py run`. The first call creates the folder .venv and downloads what is needed into it; later
calls reuse it until pyproject.toml or Python changes. SIMHCC_VENV names another folder for it. What make.py itself
has to say goes to standard error, and the exit code is that of the command it ran.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# An older Python must reach this message, so the file keeps to syntax that Python 3.6 can read.
OLDEST = (3, 11)
if sys.version_info < OLDEST:
    sys.exit(
        f"simhcc needs Python 3.11 or newer; this is Python {platform.python_version()} ({sys.executable}).\n"
        "Install a newer one from https://www.python.org/downloads/ or your system's packages, then call it by name,\n"
        "for example: python3.12 make.py run   (Windows: py -3.12 make.py run)"
    )

ROOT = Path(__file__).resolve().parent
SETTINGS = ("resectable", "intermediate", "advanced")
EXTRAS = {"run": "tables", "test": "test", "slow": "test", "bench": "benchmark", "lowest": "test", "setup": "tables"}
STAMP = "simhcc-setup.json"
NO_NETWORK = (
    "failed to establish a new connection",
    "temporary failure in name resolution",
    "name or service not known",
    "getaddrinfo failed",
    "nodename nor servname",
    "network is unreachable",
    "connection timed out",
    "connecttimeouterror",
    "cannot connect to proxy",
    "connection refused",
    "certificate_verify_failed",
    "(from versions: none)",  # all that pip says when it is told not to try again
)


class SetupError(Exception):
    """The set-up cannot go on; the message says why and what to do."""


def say(text: str) -> None:
    """Print one line of progress on standard error, so that standard output stays the command's own."""
    print(f"[make.py] {text}", file=sys.stderr, flush=True)


def venv_folder() -> Path:
    """The folder of the virtual environment: SIMHCC_VENV if it is set, otherwise .venv beside this file."""
    named = os.environ.get("SIMHCC_VENV")
    return Path(named).expanduser().resolve() if named else ROOT / ".venv"


def declared_project() -> dict:
    """pyproject.toml as a dictionary."""
    import tomllib  # Python 3.11 is the first to have it: at the top it would hide the message about the version

    with open(ROOT / "pyproject.toml", "rb") as file:
        return tomllib.load(file)


def lowest_versions() -> list[str]:
    """A pin `name==version` for each lower bound `name>=version` that pyproject.toml declares."""
    project = declared_project()["project"]
    requirements = [
        *project["dependencies"],
        *(text for group in project["optional-dependencies"].values() for text in group),
    ]
    bounds = [re.match(r"([A-Za-z0-9_.-]+)\s*>=\s*([0-9.]+)", text) for text in requirements]
    return [f"{bound[1]}=={bound[2]}" for bound in bounds if bound]


def program(folder: Path, name: str) -> Path:
    """The path of a program inside the virtual environment `folder`, as this system spells it."""
    return folder / "Scripts" / f"{name}.exe" if os.name == "nt" else folder / "bin" / name


def interpreter_version(folder: Path) -> tuple[int, ...] | None:
    """The version of the Python in `folder`, or None where there is none that runs with a working pip."""
    python = program(folder, "python")
    if not python.exists():
        return None
    code = "import sys, pip; print(*sys.version_info[:3])"
    try:
        done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return tuple(int(part) for part in done.stdout.split()) if done.returncode == 0 else None


def check_can_create() -> None:
    """Raise SetupError where this Python came without the modules that make a virtual environment."""
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        raise SetupError(
            f"this Python ({sys.executable}) came without its module {' and '.join(missing)}.\n"
            f"On Debian and Ubuntu: sudo apt install python{version}-venv\n"
            "Elsewhere: install Python from https://www.python.org/downloads/, which has it."
        )


def ensure_venv(folder: Path) -> None:
    """Make `folder` a virtual environment of this Python; leave a good one as it is.

    Raises SetupError for a folder that holds something else: nothing that this file did not make is deleted.
    """
    ours = folder in (ROOT / ".venv", ROOT / "build" / "lowest") or (folder / STAMP).exists()
    version = interpreter_version(folder)
    if version is not None:
        if version[:2] == sys.version_info[:2]:
            return
        if not ours:
            raise SetupError(
                f"{folder} holds Python {version[0]}.{version[1]}, this is {platform.python_version()}.\n"
                f"Call make.py with {program(folder, 'python')}, or name another folder in SIMHCC_VENV."
            )
        say(f"{folder} holds Python {version[0]}.{version[1]} and is made again for {platform.python_version()}")
    check_can_create()
    if folder.exists() and not folder.is_dir():
        raise SetupError(f"{folder} is a file; name a folder in SIMHCC_VENV.")
    if folder.exists() and any(folder.iterdir()) and not ours:
        raise SetupError(f"{folder} is not empty and no working virtual environment; delete it or name another folder.")
    if Path(sys.prefix).resolve() == folder.resolve():
        raise SetupError(f"this Python lives in {folder}, which has to be made again; call make.py with another one.")
    say(f"creating the virtual environment {folder}")
    # In a child process: what venv cannot do it prints, and an interrupted one leaves no state in this process.
    done = subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], stdout=sys.stderr)
    if done.returncode != 0 or interpreter_version(folder) is None:
        raise SetupError(f"the virtual environment {folder} could not be made; the lines above say why.")


def fingerprint(folder: Path) -> str:
    """A digest of what the installation depends on: the package's declaration, its place and the Python."""
    declared = declared_project()
    parts = {
        "project": declared["project"],
        "build": [declared["build-system"], declared.get("tool", {}).get("hatch")],
        "root": str(ROOT),
        "python": interpreter_version(folder),
        "machine": [sys.platform, platform.machine()],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def read_stamp(folder: Path) -> tuple[str, set[str]]:
    """The fingerprint and extras of the last completed installation in `folder`; empty where there is none."""
    try:
        stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
        return str(stamp["fingerprint"]), {str(extra) for extra in stamp["extras"]}
    except (OSError, ValueError, KeyError, TypeError):
        return "", set()


def why_pip_failed(output: str, code: int) -> str:
    """What to tell a person when pip printed `output` and ended with exit code `code`."""
    if any(sign in output.lower() for sign in NO_NETWORK):
        return (
            "the packages could not be downloaded: the package index does not answer.\n"
            "Check the network. Behind a proxy set HTTPS_PROXY. On a machine without network, copy the wheels to a\n"
            "folder and set PIP_NO_INDEX=1 and PIP_FIND_LINKS=FOLDER. Then call the same command again."
        )
    return (
        f"pip could not install simhcc (exit code {code}); the lines above say why.\n"
        f"This is Python {platform.python_version()}; tested are 3.11, 3.12 and 3.13."
    )


def pip_install(folder: Path, extras: set[str], pins: list[str]) -> None:
    """Install the package from this folder, editable, with `extras`; pip's own lines are shown as they come.

    `pins` are versions that pip must take where it needs the library at all.
    """
    command = [str(program(folder, "python")), "-m", "pip", "install", "--no-input", "--progress-bar", "off"]
    command += ["--disable-pip-version-check", "--editable", f"{ROOT}[{','.join(sorted(extras))}]"]
    if pins:
        constraints = folder / "constraints.txt"
        constraints.write_text("\n".join(pins) + "\n", encoding="utf-8")
        command += ["--constraint", str(constraints)]
    lines = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            print(f"  {line}", end="", file=sys.stderr, flush=True)
            lines.append(line)
    if pip.returncode != 0:
        raise SetupError(why_pip_failed("".join(lines), pip.returncode))


def set_up(extra: str, lowest: bool = False) -> Path:
    """Make sure that simhcc is installed with `extra` and return the folder of its virtual environment.

    With `lowest` that is a folder of its own, which holds the oldest libraries that are allowed.
    """
    folder = ROOT / "build" / "lowest" if lowest else venv_folder()
    ensure_venv(folder)
    wanted = fingerprint(folder)
    installed, extras = read_stamp(folder)
    if installed == wanted and extra in extras:
        return folder
    extras = extras | {extra}
    say(f"installing simhcc [{', '.join(sorted(extras))}] into {folder}; the first time this downloads some 200 MB")
    started = time.monotonic()
    # An installation that breaks off must not look complete, so the stamp goes first and comes back last.
    (folder / STAMP).unlink(missing_ok=True)
    pip_install(folder, extras, lowest_versions() if lowest else [])
    (folder / STAMP).write_text(json.dumps({"fingerprint": wanted, "extras": sorted(extras)}), encoding="utf-8")
    say(f"installed in {time.monotonic() - started:.0f} s")
    return folder


def announce(command: list[str]) -> None:
    """Say which command's output follows."""
    say("$ " + " ".join(Path(part).stem if i == 0 else part for i, part in enumerate(command)))


def exit_code(code: int) -> int:
    """A child ended by a signal has a negative code, which a shell reports as 128 + signal."""
    return 128 - code if code < 0 else code


def call(command: list[str]) -> int:
    """Run one command in the repository's folder and return its exit code."""
    announce(command)
    return exit_code(subprocess.call(command, cwd=ROOT))


class Behind:
    """A command that runs while others show their output; its own is kept until its turn comes."""

    def __init__(self, command: list[str]) -> None:
        self.command = command
        self.output, self.errors = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 (see `stop`)
        # Tables are as wide as the terminal, which the child does not see.
        environment = dict(os.environ, COLUMNS=str(shutil.get_terminal_size().columns))
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=self.output, stderr=self.errors, env=environment)

    def finish(self) -> int:
        """Wait for its end, show what it printed and return its exit code."""
        announce(self.command)
        code = self.process.wait()
        for kept, stream in ((self.errors, sys.stderr), (self.output, sys.stdout)):
            kept.seek(0)
            stream.flush()
            shutil.copyfileobj(kept, stream.buffer)
            stream.flush()
        return exit_code(code)

    def stop(self) -> None:
        """End it if it still runs."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()
        self.output.close()
        self.errors.close()


def run(folder: Path, arguments: list[str]) -> int:
    """Run `simhcc run` on each scenario named first in `arguments` (default: all three settings).

    They run side by side, for much of a run keeps one core busy, and show their output one after another; unless they are
    to write to one folder. The first that fails ends the others.
    """
    first_option = next((i for i, text in enumerate(arguments) if text.startswith("-")), len(arguments))
    scenarios, options = arguments[:first_option] or list(SETTINGS), arguments[first_option:]
    commands = [[str(program(folder, "simhcc")), "run", scenario, *options] for scenario in scenarios]
    together = not any(option.split("=")[0] == "--out" for option in options)
    behind: list[Behind] = []
    try:
        behind = [Behind(command) for command in commands[1:]] if together else []
        code = call(commands[0])
        for place, command in enumerate(commands[1:]):
            if code != 0:
                break
            code = behind[place].finish() if together else call(command)
        return code
    finally:
        for one in behind:
            one.stop()


def test(folder: Path, arguments: list[str]) -> int:
    """Run every check a reviewer would run, all of them even when one fails; the first failure is the exit code."""
    python = str(program(folder, "python"))
    checks = {
        "ruff check": [python, "-m", "ruff", "check", "."],
        "ruff format": [python, "-m", "ruff", "format", "--check", "."],
        "mypy": [python, "-m", "mypy", "simhcc"],
        "pytest": [python, "-m", "pytest", *arguments],
    }
    codes = {name: call(command) for name, command in checks.items()}
    failed = [name for name, code in codes.items() if code != 0]
    if failed:
        say(f"failed: {', '.join(failed)}")
    return next((code for code in codes.values() if code != 0), 0)


def main() -> int:
    """Read the command line, set up, run the command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="make.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, add_help=False
    )
    parser.add_argument("command", nargs="?", choices=sorted(EXTRAS), metavar="run|test|slow|bench|lowest|setup")
    parser.add_argument("-h", "--help", action="store_true")
    # Only the words before the command are read here; all that follows it belongs to the command.
    options = parser.parse_args(sys.argv[1:2])
    arguments = sys.argv[2:]
    if options.help or options.command is None:
        parser.print_help()
        return 0 if options.help else 2
    if options.command == "setup" and arguments:
        parser.error(f"setup takes no arguments; found {' '.join(arguments)}")
    try:
        folder = set_up(EXTRAS[options.command], lowest=options.command == "lowest")
    except SetupError as error:
        say(f"cannot set up: {error}")
        return 1
    python = str(program(folder, "python"))
    if options.command == "run":
        return run(folder, arguments)
    if options.command == "test":
        return test(folder, arguments)
    if options.command == "lowest":
        return call([python, "-m", "pytest", *arguments])
    if options.command == "slow":
        return call([python, "-m", "pytest", "-m", "slow", *arguments])
    if options.command == "bench":
        return call([python, "-m", "benchmarks.competitors", *arguments])
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("interrupted")
        sys.exit(130)
