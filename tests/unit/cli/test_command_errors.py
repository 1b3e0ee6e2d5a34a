"""What ends a command: one form of errors over all commands, for people and for programs."""

import ast
import errno
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from processes import make_spool, write_config

from relayd.cli import COMMANDS, cli
from relayd.cli.command_error import CODES, TRACEBACK
from relayd.core.absence import Absence

PACKAGE = Path(__file__).parents[3] / "relayd"

NOT_UTF_8 = "\udcff"
NEEDING_THE_DAEMON = (
    "reload",
    "check --diff",
    "pause a",
    "resume a",
    "rename a b",
    "replay a",
    "cancel a",
    "rejected drop 1",
    "rejected resubmit 1",
)


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield each command with its name as typed, those below groups too."""

    def walk(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
        if isinstance(command, click.Group):
            for inner, each in command.commands.items():
                yield from walk(f"{name} {inner}", each)
        else:
            yield name, command

    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        yield from walk(name, command)


ALL = dict(commands())
WITH_JSON = [
    name for name, each in ALL.items() if any(option.name == "as_json" for option in each.params)
]
WITH_CONFIG = [
    name
    for name in WITH_JSON
    if any(option.name == "config_path" for option in ALL[name].params)
    and name not in {"types", "sign", "verify", "listen", "schema"}  # which can do without
]


def filled(name: str) -> list[str]:
    """Return a command line with something for each argument that is needed."""
    line = name.split()
    for each in ALL[name].params:
        if isinstance(each, click.Argument) and each.required:
            line.append("1" if isinstance(each.type, click.types.IntParamType) else "a")
    others = {"emit": ["--data", "{}", "--id", "a"], "replay": ["a"], "cancel": ["a"]}
    others["add"] = ["--url", "https://a.example/", "--events", "*"]
    return ["emit", "a.b", *others[name]] if name == "emit" else [*line, *others.get(name, [])]


def run(*line: str) -> Result:
    return CliRunner().invoke(cli, line, prog_name="relayd", catch_exceptions=False)


def document(shown: Result) -> dict[str, object]:
    """Return the one JSON object, in one line, which is all of standard output."""
    assert shown.stdout.endswith("\n")
    assert shown.stdout.count("\n") == 1
    found: dict[str, object] = json.loads(shown.stdout)
    assert found["ok"] is False
    return found


def test_the_walk_finds_most_commands() -> None:
    assert {"status", "rejected drop", "spool create", "listen"} <= set(WITH_JSON)
    assert len(WITH_JSON) > 20
    assert set(ALL) - set(WITH_JSON) == {"demo", "init", "run", "spool sql", "completion", "web"}


@pytest.mark.parametrize("name", WITH_JSON)
@pytest.mark.parametrize("order", ["before", "after"])
def test_a_wrong_command_line_is_json_too(name: str, order: str) -> None:
    line = ["--json", "--nosuch"] if order == "before" else ["--nosuch", "--json"]
    shown = run(*name.split(), *line)
    assert shown.exit_code == 2
    found = document(shown)
    assert found.keys() == {"ok", "code", "error"}
    assert found["code"] == "usage"
    assert str(found["error"]).startswith("No such option '--nosuch'.")
    assert "No such option" in shown.stderr
    assert run(*name.split(), "--nosuch").stdout == ""


@pytest.mark.parametrize("name", WITH_CONFIG)
def test_a_wrong_configuration_is_json_too(name: str, tmp_path: Path) -> None:
    line = [*filled(name), "--config", str(tmp_path / "none.yaml")]
    shown = run(*line, "--json")
    assert shown.exit_code == run(*line).exit_code == 78, shown.output
    found = document(shown)
    assert found["code"] == "configuration"
    assert found["problems"] == shown.stderr.splitlines()[-1:]
    assert "does not exist" in str(found["error"])


@pytest.mark.parametrize("line", NEEDING_THE_DAEMON)
def test_that_relayd_does_not_run_is_json_too(line: str, tmp_path: Path) -> None:
    config = write_config(tmp_path)
    shown = run(*line.split(), "--config", str(config), "--json")
    assert shown.exit_code == 1
    found = document(shown)
    assert found["code"] == "not_running"
    assert shown.stderr == f"relayd: {found['error']}\n"


@pytest.mark.parametrize("line", ["status", "show 1", "explain 1", "deliveries", "rejected list"])
def test_that_the_queue_cannot_be_read_is_json_too(line: str, tmp_path: Path) -> None:
    config = write_config(tmp_path)
    shown = run(*line.split(), "--config", str(config), "--json")
    assert (shown.exit_code, document(shown)["code"]) == (1, "queue_unreadable")


def test_json_as_the_value_of_another_option_asks_for_none(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    shown = run("emit", "a.b", "--data", "--json", "--config", str(config))
    assert (shown.exit_code, shown.stdout) == (1, "")


def broken(*_: object, **__: object) -> object:
    raise ValueError("a payload")


def test_a_defect_is_a_sentence_that_can_be_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_spool(tmp_path / "spool.db")
    config = write_config(tmp_path)
    monkeypatch.setattr("relayd.cli.commands.deliveries.reading_queue", broken)
    line = ["deliveries", "--config", str(config)]
    shown = run(*line, "--json")
    assert shown.exit_code == run(*line).exit_code == 1
    found = document(shown)
    assert found["code"] == "internal_error"
    sentence = str(found["error"])
    assert sentence.startswith("internal error in `relayd deliveries`")
    assert "ValueError at relayd/cli/commands/deliveries.py:" in sentence
    assert TRACEBACK in sentence
    assert "payload" not in sentence
    assert shown.stderr == f"relayd: {sentence}\n"
    monkeypatch.setenv(TRACEBACK, "1")
    with pytest.raises(ValueError, match="a payload"):
        run(*line)


# What each option takes


@pytest.mark.parametrize("name", ALL)
def test_each_text_is_utf_8_and_each_number_is_finite(name: str) -> None:
    context = click.Context(ALL[name])
    for each in ALL[name].params:
        if isinstance(each.type, click.types.StringParamType):
            with pytest.raises(click.BadParameter, match="not text in UTF-8"):
                each.type.convert(NOT_UTF_8, each, context)
            assert each.type.convert("é", each, context) == "é"
        if isinstance(each.type, click.types.FloatParamType):
            for number in ("nan", "inf", "-inf"):
                with pytest.raises(click.BadParameter):
                    each.type_cast_value(context, number)


def relayd(*line: str | bytes, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a command as a process, with no standard input."""
    return subprocess.run(
        ["/bin/sh", "-c", 'exec "$0" -m relayd "$@" <&-', sys.executable, *line],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=folder,
    )


SECRET = ("--secret", "a-secret-for-tests-only")


@pytest.mark.parametrize(
    "line",
    [
        ("emit", "order.created", "--file", "-"),
        ("match", "-"),
        ("match", "order.created", "--file", "-"),
        ("sign", *SECRET),
        ("verify", "--signature", "sha256=00", *SECRET),
    ],
)
def test_a_closed_standard_input_is_an_error(tmp_path: Path, line: tuple[str, ...]) -> None:
    write_config(tmp_path)
    done = relayd(*line, "--json", folder=tmp_path)
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"] == "standard input cannot be read: it is closed"
    assert done.stderr == "relayd: standard input cannot be read: it is closed\n"


@pytest.mark.parametrize("host", ["a..b", "...", "a" * 70, ".a", "a" * 300])
def test_a_host_that_is_no_name_is_a_wrong_command_line(tmp_path: Path, host: str) -> None:
    done = relayd("listen", "--host", host, "--port", "0", "--json", folder=tmp_path)
    assert done.returncode == 2
    assert "neither an address nor a host's name" in json.loads(done.stdout)["error"]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("line", ["show", "explain", "replay -y", "cancel -y", "pause", "test"])
def test_an_id_that_is_not_utf_8_is_a_wrong_command_line(tmp_path: Path, line: str) -> None:
    write_config(tmp_path)
    done = relayd(*line.split(), b"\xff", folder=tmp_path)
    assert (done.returncode, "is not text in UTF-8" in done.stderr) == (2, True)


def test_a_file_may_have_any_name(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(bytes(tmp_path) + b"/\xff?%#"))
    folder.mkdir()
    config = write_config(folder, name=os.fsdecode(b"\xfe.yaml"))
    make_spool(folder / "spool.db")
    written = relayd(
        "emit", "order.created", "--sample", "--config", bytes(config), folder=tmp_path
    )
    assert written.returncode == 0, written.stderr
    shown = relayd("spool", "status", "--json", "--config", bytes(config), folder=tmp_path)
    assert json.loads(shown.stdout)["spools"][0]["waiting"] == 1


# Not running, not permitted, not answering


def answers(line: str, config: Path) -> dict[str, object]:
    return document(run(*line.split(), "--config", str(config), "--json"))


@pytest.mark.parametrize("line", [*NEEDING_THE_DAEMON, "test a"])
def test_that_the_user_may_not_ask_is_not_that_relayd_does_not_run(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(socket.socket, "connect", refuse)
    found = answers(line, write_config(tmp_path))
    assert found["code"] == "not_permitted"
    assert "may not ask the daemon" in str(found["error"])
    assert "running?" not in str(found["error"])


@pytest.mark.parametrize("line", [*NEEDING_THE_DAEMON, "test a"])
def test_that_relayd_does_not_answer_is_not_that_it_does_not_run(line: str, tmp_path: Path) -> None:
    """As many as the kernel lets wait at the control socket of a daemon that hangs."""
    config = write_config(tmp_path)
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(tmp_path / "queue.db.control"))
        listener.listen(0)
        with suppress(BlockingIOError):
            while True:
                waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
                waiting.setblocking(False)
                waiting.connect(str(tmp_path / "queue.db.control"))
        found = answers(line, config)
    assert found["code"] == "not_answering"
    assert "does not answer" in str(found["error"])


def test_a_daemon_that_ends_while_it_is_asked_does_not_answer(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "queue.db.control"))
        listener.listen()

        def end() -> None:
            listener.accept()[0].close()

        thread = threading.Thread(target=end)
        thread.start()
        found = answers("reload", config)
        thread.join()
    assert (found["code"], found["error"]) == ("not_answering", "relayd ended before it answered")


def test_each_code_that_a_command_can_end_with_is_documented() -> None:
    operating = (PACKAGE.parent / "docs" / "operating.md").read_text()
    table = operating.partition("| code | meaning |")[2].partition("\n\n")[0]
    documented = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert sorted(documented) == sorted(CODES)
    used = {*Absence, "failed"}
    for path in (PACKAGE / "cli").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                used |= {
                    constant.value
                    for each in node.keywords
                    if each.arg == "code"
                    for constant in ast.walk(each.value)
                    if isinstance(constant, ast.Constant) and isinstance(constant.value, str)
                }
                if getattr(node.func, "id", "") == "_document":
                    used |= {each.value for each in node.args if isinstance(each, ast.Constant)}
    assert used == set(CODES)
