"""Prints relayd(1) in man's own form, made from what `--help` says."""  # noqa: INP001 - a script

import inspect
import sys
from collections.abc import Iterator

import click

from relayd import __version__
from relayd.cli import SECTIONS, cli

_FILES = {
    "/etc/relayd/config.yaml": "The configuration. /usr/share/relayd/config.example.yaml has every"
    " key with its default.",
    "/etc/relayd/secrets/": "For secrets in files of their own, which only relayd may read.",
    "/var/lib/relayd/queue.db": "The queue: what was accepted, with every delivery and attempt.",
    "/var/lib/relayd/spool/spool.db": "The spool, in which programs insert events.",
    "/run/relayd/relayd.sock": "The socket, to which programs write events.",
}
_ENVIRONMENT = {
    "RELAYD_CONFIG": "The configuration, where no --config is given.",
    "NO_COLOR": "Print without colours.",
    "RELAYD_TRACEBACK": "1: an error in relayd itself prints its traceback.",
    "SSL_CERT_FILE, SSL_CERT_DIR": "A file, or folders, of authorities to trust in addition to the public ones.",
}
_EXIT_STATUS = {
    "0": "Done.",
    "1": "It failed.",
    "2": "The command line is wrong.",
    "78": "The configuration is wrong.",
}


def escaped(text: str) -> str:
    """Return text as man shows it as it is."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    return "\n".join(f"\\&{line}" if line[:1] in {".", "'"} else line for line in text.split("\n"))


def paragraphs(text: str) -> Iterator[str]:
    r"""Yield click's help: paragraphs, of which those behind `\b` keep their lines."""
    for block in inspect.cleandoc(text).split("\n\n"):
        yield ".PP"
        if block.startswith("\b"):
            yield ".nf"
            yield escaped(block.removeprefix("\b").strip("\n"))
            yield ".fi"
        else:
            yield escaped(" ".join(block.split()))


def listed(items: dict[str, str]) -> Iterator[str]:
    """Yield a list of words, each with what it means."""
    for word, meaning in items.items():
        yield f".TP\n.B {escaped(word)}\n{escaped(meaning)}"


def command_lines(name: str, command: click.Command) -> Iterator[str]:
    """Yield a command, and the commands below it."""
    with click.Context(command, info_name=name) as context:
        pieces = " ".join(command.collect_usage_pieces(context))
        yield f'.SS "{escaped(name)} {escaped(pieces)}"'
        yield from paragraphs(command.help or "")
        options_only = [each for each in command.params if isinstance(each, click.Option)]
        records = [each.get_help_record(context) for each in options_only]
        options = {
            first: second for first, second in filter(None, records) if "--help" not in first
        }
        yield from listed(options)
        yield from paragraphs(command.epilog or "")
        if isinstance(command, click.Group):
            for below in command.list_commands(context):
                found = command.get_command(context, below)
                assert found is not None
                yield from command_lines(f"{name} {below}", found)


def page() -> Iterator[str]:
    """Yield the page's lines."""
    yield f'.TH RELAYD 1 "" "relayd {__version__}" "User Commands"'
    yield ".SH NAME\nrelayd \\- a webhook relay for one machine"
    yield ".SH SYNOPSIS\n.B relayd\n.I COMMAND\n[\\fIOPTIONS\\fR]"
    yield ".SH DESCRIPTION"
    yield escaped(
        "relayd takes events from programs on this machine, and delivers them to the URLs that"
        " subscribed to them: signed, and with retries. `relayd run` is the daemon; the other commands"
        " show what it does, and control it."
    )
    with click.Context(cli, info_name="relayd") as context:
        for heading, section in SECTIONS.items():
            yield f'.SH "{escaped(heading.upper())}"'
            for name in section:
                command = cli.get_command(context, name)
                assert command is not None
                yield from command_lines(name, command)
    yield ".SH FILES"
    yield from listed(_FILES)
    yield ".SH ENVIRONMENT"
    yield from listed(_ENVIRONMENT)
    yield '.SH "EXIT STATUS"'
    yield from listed(_EXIT_STATUS)
    yield '.SH "SEE ALSO"\n.BR config.yaml (5),\n.BR systemctl (1),\n.BR journalctl (1),\n.BR sqlite3 (1)'


if __name__ == "__main__":
    sys.stdout.write("\n".join(page()) + "\n")
