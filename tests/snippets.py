"""The programs of the README and of docs/, by the names in their marks, and what runs them.

A program stands behind a mark such as `<!-- snippet: producer.py -->`. Libraries that some of them need
(`make snippets` installs them) are in build/snippets; without one, its test is skipped.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

import pytest
import trio

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LIBRARIES = Path(os.environ.get("RELAYD_SNIPPETS", ROOT / "build" / "snippets"))
PYTHON = LIBRARIES / "venv" / "bin" / "python"

_SNIPPET = re.compile(r"^<!-- snippet: (\S+) -->\n+```\w+\n(.*?)^```", re.DOTALL | re.MULTILINE)


@cache
def snippets() -> dict[str, str]:
    """Return the programs by name. A name is in one page only."""
    found: dict[str, str] = {}
    for page in PAGES:
        for name, code in _SNIPPET.findall(page.read_text()):
            assert found.get(name, code) == code, f"{name} differs between two pages"
            found[name] = code
    return found


def needs(*programs: str) -> None:
    """Skip the test unless these programs are installed."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


@cache
def _installed(program: str, *arguments: str) -> bool:
    environment = program_environment()
    done = subprocess.run([program, *arguments], capture_output=True, check=False, env=environment)
    return done.returncode == 0


def needs_library(name: str, program: str | Path, *arguments: str) -> None:
    """Skip the test unless this command, which loads the library, succeeds."""
    if shutil.which(program) is None or not _installed(str(program), *arguments):
        pytest.skip(f"{name} is not installed")


def program_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a program of the pages; its `relayd` is the one under test."""
    path = f"{Path(sys.executable).parent}:/usr/local/go/bin:/usr/local/bin:/usr/bin:/bin"
    inherited = {
        key: os.environ[key] for key in ("HOME", "GOFLAGS", "GOPROXY") if key in os.environ
    }
    return {**inherited, "PATH": path, "NODE_PATH": str(LIBRARIES / "node_modules"), **(more or {})}


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@asynccontextmanager
async def served(
    arguments: list[str], port: int, folder: Path, environment: Mapping[str, str]
) -> AsyncIterator[trio.Process]:
    """Run a program that serves `port`, once it does; its output is in `printed.txt`."""
    with (folder / "printed.txt").open("wb") as output:
        process = await trio.lowlevel.open_process(
            arguments,
            stdout=output,
            stderr=output,
            cwd=folder,
            env=program_environment(environment),
        )
    try:
        await _accepts_connections(port, process)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _accepts_connections(port: int, process: trio.Process) -> None:
    with trio.fail_after(60):
        while True:
            assert process.returncode is None, "it ended before it served"
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                await trio.sleep(0.05)
            else:
                await stream.aclose()
                return
