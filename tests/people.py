"""Real users, as which real processes run: made by root for a test, and removed after it.

`relayd` stands for the daemon's user, `market` for an application in relayd's group, `stranger` for
everybody else on the machine.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

NEEDED = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("useradd", "setpriv"))),
    reason="users can be made by root alone, with useradd and setpriv",
)


@dataclass(frozen=True)
class User:
    name: str
    group: str

    @property
    def under(self) -> tuple[str, ...]:
        """The beginning of a command that runs what follows as this user."""
        return ("setpriv", "--reuid", self.name, "--regid", self.group, "--init-groups", "--")

    def runs(self, *command: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*self.under, *command],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd="/",
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": f"{Path(__file__).parents[1]}:{Path(__file__).parent}",
            },
        )

    def python(self, script: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
        return self.runs(sys.executable, "-c", script, *map(str, arguments))

    def relayd(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return self.runs(sys.executable, "-m", "relayd", *arguments)


@dataclass(frozen=True)
class People:
    relayd: User
    market: User
    stranger: User


def admin(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def give(path: Path, user: User, mode: int) -> None:
    shutil.chown(path, user.name, user.group)
    path.chmod(mode)


@contextmanager
def made_people() -> Iterator[People]:
    """Make the users; skip where they could not run relayd."""
    tag = f"rt{os.getpid() % 100_000}"
    relayd = User(f"{tag}relayd", f"{tag}relayd")
    market = User(f"{tag}market", f"{tag}market")
    stranger = User(f"{tag}other", f"{tag}other")
    try:
        for user in (relayd, market, stranger):
            admin("useradd", "--system", "--user-group", "--no-create-home", user.name)
        admin("usermod", "--append", "--groups", relayd.group, market.name)
        tried = stranger.python("import relayd.daemon")
        if tried.returncode != 0:
            pytest.skip(f"other users cannot run {sys.executable}: {tried.stderr[-100:]}")
        yield People(relayd, market, stranger)
    finally:
        # A group that still has members outlives its user.
        for user in (market, relayd, stranger):
            for remove in (["userdel", "--force", user.name], ["groupdel", user.group]):
                subprocess.run(remove, check=False, capture_output=True, timeout=60)
