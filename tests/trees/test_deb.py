"""The Debian package in a fresh tree: installed, upgraded, removed, purged."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from trees.tree import SUITES, Tree, fresh

INSERT = """
import sqlite3, sys
db = sqlite3.connect("/var/lib/relayd/spool/spool.db")
db.execute("INSERT INTO relayd_spool (id, type, data) VALUES (?, 'order.created', '{}')", sys.argv[1:])
db.commit()
"""
COUNT = """
import sqlite3
db = sqlite3.connect("/var/lib/relayd/spool/spool.db")
print(db.execute("SELECT count(*) FROM relayd_spool").fetchone()[0])
"""


@pytest.fixture(params=SUITES)
def tree(request: pytest.FixtureRequest) -> Iterator[Tree]:
    with fresh(request.param) as made:
        yield made


def owned(tree: Tree, path: str) -> str:
    return tree.run("stat", "-c", "%U:%G %a", path).strip()


def traces(tree: Tree) -> set[str]:
    found = tree.run("find", "/", "-xdev", "-iname", "*relayd*", "-not", "-path", "/proc/*")
    return set(found.split()) - {"/root/relayd.deb"}


@pytest.mark.timeout(900)
def test_installed_upgraded_removed_and_purged(tree: Tree) -> None:
    assert not traces(tree)
    tree.install()
    assert owned(tree, "/etc/relayd/config.yaml") == "relayd:relayd 600"
    assert owned(tree, "/etc/relayd/secrets") == "relayd:relayd 700"
    assert owned(tree, "/var/lib/relayd") == "relayd:relayd 750"
    assert owned(tree, "/var/lib/relayd/spool") == "relayd:relayd 2770"
    assert owned(tree, "/var/lib/relayd/spool/spool.db") == "relayd:relayd 660"
    for unit in ("relayd.service", "relayd.socket"):
        assert tree.run("systemctl", "is-enabled", unit) == "enabled\n"
    for name in (
        "share/man/man1/relayd.1.gz",
        "share/man/man5/config.yaml.5.gz",
        "share/bash-completion/completions/relayd",
        "share/zsh/vendor-completions/_relayd",
        "share/fish/vendor_completions.d/relayd.fish",
        "share/relayd/config.schema.json",
        "share/relayd/config.example.yaml",
    ):
        # Trees and containers may leave man pages out.
        assert (tree.path / "usr" / name).exists() or "/man/" in name, name
    # Its own Python, and no other's: a package of the same name elsewhere does not come between.
    tree.write("/root/trio.py", "raise RuntimeError")
    said = tree.run("sh", "-c", "cd /root && PYTHONPATH=/root relayd --version")
    assert said.startswith("relayd 0.")
    assert ": OK" in tree.run("relayd", "check")
    # The whole path, by a user without any rights, in the tree's own Python.
    nobody = ("setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups")
    assert "verif" in tree.run(*nobody, "env", "HOME=/tmp", "relayd", "demo")
    # The market, in the group, with relayd stopped.
    tree.run("useradd", "--system", "--user-group", "--groups", "relayd", "market")
    tree.run("useradd", "--system", "--user-group", "stranger")
    tree.python(INSERT, "evt_1", user="market")
    tree.python(INSERT, "evt_2", user="stranger", status=1)

    with (tree.path / "etc/relayd/config.yaml").open("a") as config:
        config.write("# mine\n")
    before = (tree.path / "etc/relayd/config.yaml").read_text()
    tree.install()
    assert (tree.path / "etc/relayd/config.yaml").read_text() == before
    assert tree.python(COUNT) == "1\n"

    # The web process's package: what it needs, and nothing that is the other package's.
    assert "install relayd-web" in tree.run("relayd", "web", status=1)
    tree.install_web()
    assert tree.run("systemctl", "is-enabled", "relayd-web.service") == "enabled\n"
    assert "there is no /var/lib/relayd/queue.db.web" in tree.run("relayd", "web", status=1)
    tree.run("apt-get", "purge", "-y", "relayd-web")
    assert "install relayd-web" in tree.run("relayd", "web", status=1)
    assert not [each for each in traces(tree) if "relayd-web" in each]

    # Another python3: what was compiled for the last one is compiled for it.
    compiled = list(tree.path.glob("usr/lib/relayd/any/relayd/__pycache__/*.pyc"))
    assert compiled
    for each in compiled:
        each.unlink()
    tree.run("dpkg-trigger", "--by-package=python3-minimal", "/usr/bin/python3")
    tree.run("dpkg", "--triggers-only", "--pending")
    assert all(each.exists() for each in compiled)

    tree.run("apt-get", "remove", "-y", "relayd")
    assert not (tree.path / "usr/lib/relayd").exists()
    assert not (tree.path / "usr/bin/relayd").exists()
    assert tree.python(COUNT) == "1\n"
    assert (tree.path / "etc/relayd/config.yaml").read_text() == before

    tree.install()
    assert tree.run("systemctl", "is-enabled", "relayd.service") == "enabled\n"
    assert (tree.path / "etc/relayd/config.yaml").read_text() == before
    assert tree.python(COUNT) == "1\n"
    assert stat.S_IMODE(Path(tree.path, "etc/relayd/config.yaml").stat().st_mode) == 0o600

    tree.run("apt-get", "purge", "-y", "relayd")
    assert not traces(tree)
    assert "relayd:" in tree.run("getent", "passwd", "relayd"), "files elsewhere may be its own"
