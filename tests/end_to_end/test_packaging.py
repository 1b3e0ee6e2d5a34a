"""What is packed with relayd says what relayd does. `make test-deb` installs the package itself."""

import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import click
import jsonschema
import pytest
import yaml
from packaging.specifiers import SpecifierSet

from relayd.cli import COMMANDS, cli
from relayd.config.load import parse_config
from relayd.config.schema import json_schema

ROOT = Path(__file__).parents[2]
PACKAGING = ROOT / "packaging"
EXTRAS = ("templates", "web")


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, PACKAGING / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def man_page() -> str:
    return "\n".join(script("man_page").page()) + "\n"


def below(name: str, command: click.Command) -> list[tuple[str, click.Command]]:
    found = [(name, command)]
    if isinstance(command, click.Group):
        with click.Context(command) as context:
            for each in command.list_commands(context):
                inner = command.get_command(context, each)
                assert inner is not None
                found += below(f"{name} {each}", inner)
    return found


def test_every_command_and_option_is_in_the_man_page(man_page: str) -> None:
    plain = man_page.replace("\\-", "-").replace("\\&", "")
    for name in COMMANDS:
        with click.Context(cli) as context:
            command = cli.get_command(context, name)
        assert command is not None
        for each, inner in below(name, command):
            _, begins, rest = plain.partition(f'.SS "{each} ')
            assert begins, each
            section = re.split(r"^\.S[SH] ", rest, maxsplit=1, flags=re.MULTILINE)[0]
            for parameter in inner.params:
                if isinstance(parameter, click.Option) and not parameter.hidden:
                    assert parameter.opts[-1] in section, (each, parameter.opts)


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not there")
def test_man_can_show_it(man_page: str) -> None:
    shown = subprocess.run(
        ["groff", "-man", "-ww", "-K", "utf8", "-T", "utf8", "-P", "-c"],
        input=man_page,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert shown.stderr == ""
    text = re.sub(r".\x08", "", shown.stdout)
    assert "relayd - a webhook relay for one machine" in text
    assert "  relayd check --config /etc/relayd/config.yaml --json" in text


def test_the_packages_first_configuration_is_right() -> None:
    text = (PACKAGING / "config.yaml").read_text()
    config = parse_config(text.encode(), Path("/etc/relayd/config.yaml"), environ={})
    assert [each.message for each in config.warnings] == ["no subscriptions"]
    validator = jsonschema.Draft202012Validator(json_schema())
    validator.validate(yaml.safe_load(text))
    # The example in its comment is one.
    commented = re.sub(
        r"^#(   .*|)$", r"\1", text.split("Which events go where")[1], flags=re.MULTILINE
    )
    example = "subscriptions:\n" + "\n".join(
        line for line in commented.splitlines()[1:] if line.startswith("   ")
    )
    validator.validate(yaml.safe_load(text) | yaml.safe_load(example))
    assert list(yaml.safe_load(example)["subscriptions"]) == ["bookkeeping"]
    # The paths are those of the units, and of the folders that are made for them.
    folders = (ROOT / "systemd/relayd.tmpfiles.conf").read_text()
    [spool] = config.spools
    assert re.search(rf"^d {spool.path.parent} +2770 relayd relayd$", folders, re.MULTILINE)
    assert re.search(rf"^d {config.queue.path.parent} +0750 relayd relayd$", folders, re.MULTILINE)
    assert config.socket is not None
    socket_unit = (ROOT / "systemd/relayd.socket").read_text()
    assert f"ListenStream={config.socket.path}\n" in socket_unit
    assert "StateDirectoryMode=0750\n" in (ROOT / "systemd/relayd.service").read_text()


def test_the_package_takes_the_locked_versions_of_what_runs() -> None:
    project, lock = ROOT / "pyproject.toml", ROOT / "requirements-dev.lock"
    printed = subprocess.run(
        [sys.executable, PACKAGING / "runtime_requirements.py", project, lock],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    names = set(re.findall(r"^([a-z0-9-]+)==", printed, re.MULTILINE))
    packed = subprocess.run(
        [sys.executable, PACKAGING / "runtime_requirements.py", project, lock, *EXTRAS],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    packed_names = set(re.findall(r"^([a-z0-9-]+)==", packed, re.MULTILINE))
    assert packed_names - names == {
        "jinja2",
        "markupsafe",
        "python-multipart",
        "starlette",
        "uvicorn",
    }
    dependencies = tomllib.loads(project.read_text())["project"]["dependencies"]
    direct = {re.split(r"[^a-z0-9-]", each.lower())[0] for each in dependencies}
    assert names >= direct
    assert {"sniffio", "typing-extensions"} <= names, "what these need, too"
    assert not names & {"pytest", "ruff", "mypy", "hatchling", "hypothesis"}
    assert printed.count("--hash=sha256:") > len(names)
    readme = (ROOT / "README.md").read_text().partition("## What it is built on")[2]
    told = set(re.findall(r"[a-z0-9-]+", readme.partition("`make test`")[0].lower()))
    assert names <= told, f"the README does not say what brings in {names - told}"
    assert f"is {len(names)} packages" in readme
    locked = lock.read_text()
    assert all(line in locked for line in printed.splitlines())


def test_the_constraints_are_the_locks_versions() -> None:
    """`make constraints` writes them: without hashes, since pip takes none for a folder."""
    pinned = re.compile(r"^([a-z0-9-]+)==([^ ;\\\n]+)( *;[^\\\n]*[^ \\\n])?", re.MULTILINE)
    lock = pinned.findall((ROOT / "requirements-dev.lock").read_text())
    assert len(lock) > 30
    text = (ROOT / "constraints.txt").read_text()
    assert pinned.findall(text) == lock
    assert "--hash" not in text
    assert "\\" not in text


def test_the_supported_pythons_are_those_that_it_is_tested_with() -> None:
    tested = [11, 12, 13, 14]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    supported = SpecifierSet(project["requires-python"])
    assert [minor for minor in range(9, 17) if f"3.{minor}.1" in supported] == tested
    named = [each for each in project["classifiers"] if each.startswith("Programming Language ::")]
    assert named[1:] == [f"Programming Language :: Python :: 3.{minor}" for minor in tested]


@pytest.mark.parametrize("folder", ["", "web"])
@pytest.mark.parametrize("name", ["postinst", "prerm", "postrm"])
def test_the_packages_scripts_are_plain_shell(name: str, folder: str) -> None:
    shell = shutil.which("dash") or "sh"
    subprocess.run([shell, "-n", PACKAGING / folder / name], check=True, timeout=60)
