"""The group: every command's help, what is loaded for it, exit statuses, and where it looks."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner
from processes import write_config

import relayd.cli.commands
from relayd import __version__
from relayd.cli import COMMANDS, cli
from relayd.cli.other_names import OTHER_NAMES


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RELAYD_CONFIG", raising=False)


def load(name: str) -> click.Command:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    return command


def walk(path: list[str], command: click.Command) -> Iterator[tuple[list[str], click.Command]]:
    """Yield a command, and what stands below it."""
    yield path, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from walk([*path, name], inner)


def test_the_walk_finds_what_stands_below_a_group() -> None:
    found = [" ".join(path) for path, _ in walk(["spool"], load("spool"))]
    assert found == ["spool", "spool sql", "spool create", "spool status"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_that_fits(name: str) -> None:
    for path, command in walk([name], load(name)):
        shown = CliRunner().invoke(cli, [*path, "--help"], prog_name="relayd", terminal_width=80)
        assert shown.exit_code == 0, shown.output
        lines = shown.output.splitlines()
        called = f"relayd {' '.join(path)}"
        assert lines[0].startswith(f"Usage: {called}")
        assert max(map(len, lines)) <= 80
        assert lines[2].strip()  # the sentence that says what it does
        titles = [i for i, line in enumerate(lines) if line.strip() in {"Example:", "Examples:"}]
        assert len(titles) == 1, path
        assert any(called in line for line in lines[titles[0] :])
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help or parameter.show_default, (path, parameter.name)


def examples(command: click.Command) -> Iterator[list[str]]:
    """Yield the words of each example behind `relayd`, without what follows in a pipe."""
    for line in (command.epilog or "").replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if "relayd" not in words:
            continue
        words = words[words.index("relayd") + 1 :]
        end = next((n for n, word in enumerate(words) if word in {"|", ">", ">>"}), len(words))
        yield words[:end]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_in_help_are_right(name: str, tmp_path: Path) -> None:
    write_config(tmp_path, {"first": {"url": "http://127.0.0.1:1"}})
    for path, command in walk([name], load(name)):
        tried = 0
        for first, *words in examples(command):
            called = load(first)
            while isinstance(called, click.Group):
                called = called.commands[words.pop(0)]
            for file in (word for word in words if word.endswith(".json")):
                (tmp_path / file).write_text("{}")
            # Parses the arguments, and runs nothing. Raises where an option or value is wrong.
            with called.make_context("relayd", words):
                tried += 1
        assert tried > 0, path


def test_help_lists_each_command_once_with_its_summary() -> None:
    shown = CliRunner().invoke(cli, ["--help"], terminal_width=80)
    for name, summary in COMMANDS.items():
        assert f"  {name} " in shown.output
        assert summary in shown.output
    assert max(map(len, shown.output.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (["--help"], {"trio", "httpx", "pydantic", "rich", "yaml", "sqlite3"}),
        (["--version"], {"trio", "httpx", "pydantic", "rich", "yaml", "sqlite3"}),
        (["sign", os.devnull, "--secret", "x"], {"trio", "httpx", "pydantic", "rich", "yaml"}),
        (["types"], {"trio", "httpx", "pydantic", "yaml"}),
        (["completion", "zsh"], {"trio", "httpx", "pydantic", "rich", "yaml"}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_command_loads_no_more_than_it_needs(arguments: list[str], unwanted: set[str]) -> None:
    code = (
        "import sys, atexit\n"
        "atexit.register(lambda: sys.stderr.write(' '.join(sys.modules)))\n"
        "from relayd.cli import main\nmain()"
    )
    completed = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert not unwanted & set(completed.stderr.split())


def test_the_version() -> None:
    assert CliRunner().invoke(cli, ["--version"]).output == f"relayd {__version__}\n"


def test_a_mistyped_command_is_a_usage_error_that_suggests() -> None:
    shown = CliRunner().invoke(cli, ["chek"])
    assert shown.exit_code == 2
    assert "There is no command 'chek'. Did you mean check?" in shown.output
    assert CliRunner().invoke(cli, ["xyzzy"]).exit_code == 2


def test_a_failure_is_one_line_with_status_1() -> None:
    shown = CliRunner().invoke(cli, ["types", "nothing.such"])
    assert shown.exit_code == 1
    assert shown.stderr.startswith("relayd: there is no nothing.such")
    assert shown.stdout == ""


def test_each_problem_of_a_configuration_is_a_line_with_status_78(tmp_path: Path) -> None:
    config = write_config(tmp_path, {"a": {"url": "ftp://x"}}, name="bad.yaml", quue=1)
    shown = CliRunner().invoke(cli, ["check", "--config", str(config)])
    assert shown.exit_code == 78
    lines = shown.stderr.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"{config}:") for line in lines)


def test_where_the_configuration_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def used(*arguments: str) -> str:
        shown = CliRunner().invoke(cli, [*arguments, "--json"])
        assert shown.exit_code == 0, shown.output
        return Path(json.loads(shown.stdout)["config"]).name

    given = str(write_config(tmp_path, name="given.yaml"))
    before = str(write_config(tmp_path, name="before.yaml"))
    variable = str(write_config(tmp_path, name="variable.yaml"))
    shown = CliRunner().invoke(cli, ["check"])
    assert shown.exit_code == 78
    assert "there is no configuration: neither config.yaml nor" in shown.stderr
    write_config(tmp_path)
    assert used("check") == "config.yaml"
    monkeypatch.setenv("RELAYD_CONFIG", variable)
    assert used("check") == "variable.yaml"
    assert used("--config", before, "check") == "before.yaml"
    assert used("--config", before, "check", "--config", given) == "given.yaml"
    # An empty variable is as good as none.
    monkeypatch.setenv("RELAYD_CONFIG", "")
    assert used("check") == "config.yaml"


def completed(words: list[str], incomplete: str) -> set[str]:
    complete = ShellComplete(cli, {}, "relayd", "_RELAYD_COMPLETE")
    return {item.value for item in complete.get_completions(words, incomplete)}


def test_the_shell_completes_commands_names_and_types(tmp_path: Path) -> None:
    assert completed([], "de") == {"demo", "deliveries"}
    assert completed(["types"], "payment.") == {
        "payment.succeeded",
        "payment.failed",
        "payment.refunded",
    }
    assert completed(["listen", "--subscription"], "") == set()
    write_config(tmp_path, {"shop": {"url": "ftp://wrong"}, "books": {}})
    assert completed(["listen", "--subscription"], "b") == {"books"}
    write_config(tmp_path, {"other": {}}, name="named.yaml")
    named = ["listen", "--config", str(tmp_path / "named.yaml"), "--subscription"]
    assert completed(named, "") == {"other"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_call_relayd(shell: str) -> None:
    script = CliRunner().invoke(cli, ["completion", shell]).output
    assert f"_RELAYD_COMPLETE={shell}_complete" in script


def test_no_colours_where_they_are_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["types", "order.created"]
    assert "\x1b[" in CliRunner().invoke(cli, arguments, color=True).output
    assert "\x1b[" not in CliRunner().invoke(cli, arguments).output
    monkeypatch.setenv("NO_COLOR", "1")
    undecided: Any = None
    assert "\x1b[" not in CliRunner().invoke(cli, arguments, color=undecided).output
    # As on a terminal: the context decides there, and NO_COLOR decides for it.
    context = cli.make_context("relayd", ["types"])
    assert cli.callback is not None
    with context:
        context.invoke(cli.callback)
    assert context.color is False


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_root_reads_no_file_of_anothers_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = write_config(tmp_path)
    os.chown(config, 65_534, 65_534)
    monkeypatch.setattr("relayd.cli.options.PLACES", (Path("config.yaml"), tmp_path / "etc.yaml"))
    refused = CliRunner().invoke(cli, ["check"])
    assert refused.exit_code == 78
    assert (
        "config.yaml: belongs to user nobody, and root does not read another user's"
        in refused.stderr
    )
    # Not the next one in its place: it is not what was meant.
    shutil.copy(config, tmp_path / "etc.yaml")
    os.chown(tmp_path / "etc.yaml", 65_534, 65_534)
    assert CliRunner().invoke(cli, ["check"]).exit_code == 78
    # A command that can do without goes on, and says so.
    signed = CliRunner().invoke(cli, ["sign", "-", "--secret", "x" * 32], input="{}")
    assert signed.exit_code == 0, signed.output
    assert "Note: config.yaml belongs to user nobody" in signed.stderr
    for named in (["check", "--config", "config.yaml"], ["--config", "config.yaml", "check"]):
        assert CliRunner().invoke(cli, named).exit_code == 0
    monkeypatch.setenv("RELAYD_CONFIG", "config.yaml")
    assert CliRunner().invoke(cli, ["check"]).exit_code == 0
    monkeypatch.delenv("RELAYD_CONFIG")
    # In /etc it is the administrator's, also where one stands in that folder.
    config.unlink()
    (tmp_path / "etc.yaml").rename(config)
    monkeypatch.setattr("relayd.cli.options.PLACES", (Path("config.yaml"), config))
    assert CliRunner().invoke(cli, ["check"]).exit_code == 0


def test_every_command_that_prints_a_document_takes_the_usual_options() -> None:
    plain = CliRunner().invoke(cli, ["schema"]).stdout
    assert CliRunner().invoke(cli, ["schema", "--json", "--config", "nowhere"]).stdout == plain


def test_each_command_is_found_under_its_name() -> None:
    folder = Path(relayd.cli.commands.__file__).parent
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert modules <= set(COMMANDS)
    elsewhere = set(COMMANDS) - modules
    assert elsewhere == {"resume"}  # in `pause`
    for name in COMMANDS:
        callback = load(name).callback
        assert callback is not None
        assert callback.__module__ in {f"relayd.cli.commands.{name}", "relayd.cli.commands.pause"}


def test_replay_and_cancel_choose_deliveries_by_the_same_options() -> None:
    def options(name: str) -> dict[str, str | None]:
        shown = {each.name or "": each for each in load(name).params if each.name != "state"}
        return {
            name: each.help if isinstance(each, click.Option) else each.metavar
            for name, each in shown.items()
        }

    cancel, replay = options("cancel"), options("replay")
    assert replay.pop("backfill") is not None
    assert cancel == replay
    assert next(iter(cancel)) == "targets"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("start", "systemctl start relayd"),
        ("stop", "systemctl stop relayd"),
        ("serve", "relayd run"),
        ("logs", "journalctl -u relayd"),
        ("send", "relayd emit"),
        ("publish", "relayd emit"),
        ("resend", "relayd replay"),
        ("validate", "relayd check"),
        ("lint", "relayd check"),
        ("list", "relayd deliveries"),
    ],
)
def test_a_name_of_other_programs_gets_the_right_one(name: str, meant: str) -> None:
    shown = CliRunner().invoke(cli, [name])
    assert shown.exit_code == 2
    assert meant in shown.stderr


def test_other_names_name_commands_that_there_are() -> None:
    for name, words in OTHER_NAMES.items():
        assert name not in COMMANDS
        assert set(re.findall(r"`relayd ([a-z]+)", words)) <= set(COMMANDS)


def test_check_takes_the_file_as_its_argument(tmp_path: Path) -> None:
    config = str(write_config(tmp_path, name="other.yaml"))
    assert f"{config}: OK" in CliRunner().invoke(cli, ["check", config]).output
    assert CliRunner().invoke(cli, ["check", config, "--config", config]).exit_code == 0
    both = CliRunner().invoke(cli, ["check", config, "--config", "another.yaml"])
    assert both.exit_code == 2
    assert "Name one configuration" in both.stderr


@pytest.mark.parametrize(
    ("name", "hint"),
    [("evt_1", "`relayd explain evt_1`"), ("dlv_ab_1", "show"), ("exhausted", "--state exhausted")],
)
def test_deliveries_says_what_was_meant(name: str, hint: str, tmp_path: Path) -> None:
    config = str(write_config(tmp_path))
    shown = CliRunner().invoke(cli, ["deliveries", name, "--config", config])
    assert shown.exit_code == 2
    assert hint in shown.stderr


def test_no_summary_in_a_groups_help_is_cut() -> None:
    for name in ("rejected", "spool"):
        group = cli.get_command(click.Context(cli), name)
        assert isinstance(group, click.Group)
        shown = group.get_help(click.Context(group, info_name=name, terminal_width=80))
        assert "..." not in shown.partition("Commands:")[2]
