"""Runs the tests with the Pythons of other Debian releases, each in a tree, as `make test-pythons` does.

RELAYD_TREES names a folder that keeps the trees before relayd's dependencies are in them. The
arguments are pytest's. Exits with 1 if a test failed with any Python; a Python's own failure to
install counts as one.
"""

import shutil
import sys
from pathlib import Path

from trees.tree import AUTHORITIES, Tree, fresh

ROOT = Path(__file__).parents[2]

# By their own package names, since the unstable release's `python3` moves on.
PYTHONS = {"trixie": "python3.13", "sid": "python3.14"}

# What the tests use if it is there, apart from other languages.
PROGRAMS = ("make", "ca-certificates", "systemd", "sqlite3", "strace", "faketime")

_SOURCE = "/srv/relayd"
_IGNORED = shutil.ignore_patterns(".*", "build", "dist", "__pycache__", "*.egg-info")


def passes(tree: Tree, python: str, arguments: list[str]) -> bool:
    """Set relayd up in the tree, as everywhere, and run its tests there."""
    shutil.copytree(ROOT, tree.path / _SOURCE.lstrip("/"), ignore=_IGNORED)
    tree.write("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")
    tree.trust_as_here()
    there = ("env", "-C", _SOURCE)
    tests = (".venv/bin/python", "-m", "pytest", *arguments)
    return all(
        tree.follow(*there, *command, env={"PIP_CERT": str(AUTHORITIES)}) == 0
        for command in (("make", f"PYTHON={python}", ".venv/ready"), tests)
    )


def main() -> None:
    """Run the tests in each tree, one after the other."""
    failed = []
    for suite, python in PYTHONS.items():
        print(f"{python} ({suite})", flush=True)
        with fresh(suite, python, f"{python}-venv", *PROGRAMS) as tree:
            if not passes(tree, python, sys.argv[1:]):
                failed.append(python)
    if failed:
        sys.exit(f"tests failed with {', '.join(failed)}")


if __name__ == "__main__":
    main()
