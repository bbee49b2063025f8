"""docs/tutorial.md, followed word by word from an empty folder: every block is executed, in order."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

from simhcc import cli

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "tutorial.md"
KINDS = {"install", "sh", "yaml", "python"}


class Block(NamedTuple):
    """A fenced block: its kind and its text."""

    kind: str
    text: str


def blocks() -> list[Block]:
    text = PAGE.read_text(encoding="utf-8")
    found = [Block(kind, body) for kind, body in re.findall(r"^```(\S*)\n(.*?)^```$", text, re.M | re.S)]
    assert text.count("```") == 2 * len(found)
    return found


def file_of(block: Block) -> tuple[str, str]:
    """(name, text) of a block that is a file."""
    name, _, text = block.text.partition("\n")
    assert name.startswith("# ") and name.endswith(".yaml"), name
    return name.removeprefix("# "), text


def test_every_block_is_of_a_kind_that_is_executed() -> None:
    assert {block.kind for block in blocks()} == KINDS
    for block in blocks():
        if block.kind == "python":
            compile(block.text, "tutorial", "exec")
            assert block.text.startswith("import simhcc\n"), "a block is run by itself"
        if block.kind == "yaml":
            file_of(block)


def test_the_installation_is_that_of_the_readme() -> None:
    (block,) = [block for block in blocks() if block.kind == "install"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = block.text.splitlines()
    assert lines[0] == "python3 -m venv simhcc-env" and lines[0] in readme
    extras = re.findall(r"pip install \"\.\[(.*)\]\"", lines[2])[0].split(",")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for extra in extras:
        assert re.search(rf"^{extra} = \[", project, re.M)


def programs(folder: Path) -> Path:
    """A folder with the commands that an installation puts on the path: simhcc, dask, python."""
    folder.mkdir()
    for name, module in (("simhcc", "simhcc"), ("dask", "dask")):
        path = folder / name
        path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m {module} "$@"\n', encoding="utf-8")
        path.chmod(0o755)
    return folder


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_following_the_tutorial_works(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    folder = tmp_path / "empty"
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    path = f"{programs(tmp_path / 'bin')}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    servers: list[subprocess.Popen[bytes]] = []
    try:
        for block in blocks():
            if block.kind == "yaml":
                name, text = file_of(block)
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, encoding="utf-8")
                continue
            if block.kind == "install":
                continue  # test_the_installation_is_that_of_the_readme, and the tests of the wheel
            if block.kind == "python":
                run([sys.executable, "-c", block.text], folder, environment, block.text)
                continue
            # Another port than the page's, so that two tests at a time do not meet.
            for line in block.text.replace("8786", port).splitlines():
                if line.endswith("&"):
                    words = shlex.split(line.removesuffix("&"))
                    servers.append(
                        subprocess.Popen(
                            words, cwd=folder, env=environment, start_new_session=True, stderr=subprocess.DEVNULL
                        )
                    )
                else:
                    run(["bash", "-c", line], folder, environment, line)
    finally:
        for server in servers:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait()
    assert (folder / "results/mine-psa/report.html").stat().st_size > 100_000
    assert 'lang="zh-Hans"' in (folder / "mine.html").read_text(encoding="utf-8")
    # Nothing is written but what the page says.
    assert {path.name for path in folder.iterdir()} == {"scenarios", "results", "my-trial.yaml", "mine.html"}


def run(words: list[str], folder: Path, environment: dict[str, str], shown: str) -> None:
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, f"{shown}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"


def test_the_package_offers_few_names() -> None:
    code = (
        "import sys, simhcc; loaded = [m for m in sys.modules if m.startswith('simhcc.')]; assert not loaded, loaded\n"
        "assert dir(simhcc) == sorted(simhcc.__all__) and len(dir(simhcc)) == 7\n"
        "assert all(callable(getattr(simhcc, n)) for n in simhcc.__all__ if n != '__version__')\n"
        "try: simhcc.nothing\n"
        "except AttributeError as error: assert 'nothing' in str(error)\n"
        "else: raise SystemExit(1)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run([sys.executable, "-c", code], ROOT, environment, code)


def test_the_readmes_link_each_other_and_name_every_command() -> None:
    english, chinese = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh.md"))
    assert "(README.zh.md)" in english and "(README.md)" in chinese
    commands = [set(re.findall(r"`simhcc ([a-z][a-z-]*)", text)) for text in (english, chinese)]
    group: Any = typer.main.get_command(cli.app)
    assert commands[0] == commands[1] == set(group.list_commands(None)), commands
    sections = [re.findall(r"^(#+) ", text, re.M) for text in (english, chinese)]
    assert sections[0] == sections[1]
    for text in (english, chinese):
        for link in re.findall(r"\]\(([^)#]+)\)", text):
            assert link.startswith("https://") or (ROOT / link).exists(), link
