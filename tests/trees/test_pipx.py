"""`pipx install .` in fresh Debian trees, as a user does it, with Debian's own pipx."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from trees.tree import AUTHORITIES, SUITES, Tree, fresh

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=SUITES)
def tree(request: pytest.FixtureRequest) -> Iterator[Tree]:
    with fresh(request.param, "python3", "python3-venv", "pipx", "ca-certificates") as made:
        yield made


@pytest.mark.timeout(900)
def test_pipx_installs_what_runs(tree: Tree) -> None:
    source = tree.path / "home/market/relayd"
    tree.run("useradd", "--create-home", "market")
    for name in ("relayd", "pyproject.toml", "README.md", "LICENSE", "constraints.txt"):
        found = ROOT / name
        if found.is_dir():
            shutil.copytree(found, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(found, source / name)
    tree.trust_as_here()
    tree.run("chown", "-R", "market:market", "/home/market")
    as_market = ("setpriv", "--reuid", "market", "--regid", "market", "--init-groups", "env")
    home = ("HOME=/home/market", f"PIP_CERT={AUTHORITIES}", "sh", "-c")
    tree.run(
        *as_market,
        *home,
        'cd ~/relayd && pipx install --pip-args="--constraint $PWD/constraints.txt" .',
    )
    said = tree.run(*as_market, *home, "cd && ~/.local/bin/relayd demo")
    assert "verif" in said
    assert "All of it happened" in said
