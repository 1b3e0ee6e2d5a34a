"""`add`: adds a subscription as a file of its own, and puts it in force."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from relayd.cli.command_error import CommandError
from relayd.cli.daemon_client import RELOAD_TIMEOUT_S, DaemonClient, daemon_if_running, refusal
from relayd.cli.options import config_option, json_option
from relayd.cli.subscription_options import in_options, keys_of
from relayd.cli.terminal import print_json, printable, wrapped
from relayd.config.added_subscription import is_name, new_secret, wants_secret
from relayd.config.included import command_to_make
from relayd.config.problem import ConfigError, in_one_line
from relayd.config.queue_place import queue_place
from relayd.config.values import NAME_RULE
from relayd.permissions import relayds_user
from relayd.views.subscription_changes import added_document

INCLUDE_LINE: Final = "include: subscriptions.d/*.yaml"


class _WrongOptionsError(CommandError):
    """What the options say cannot be: exit status 2, as for other errors of the command line."""

    exit_code = 2

    def show(self, file: Any = None) -> None:  # noqa: ANN401, ARG002 - as click has it
        """Print each problem in a line."""
        for problem in self.problems:
            click.echo(wrapped(f"relayd: {problem}", "  "), err=True)


@click.command(
    short_help="Add a subscription as a file.",
    epilog="""\b
Examples:
  relayd add shop --url https://shop.example/hooks --events 'order.*' --test
  relayd add books --url https://books.example/hooks \\
      --events order.created,payment.succeeded \\
      --where 'data.object.total: {gte: 5000}'
""",
)
@click.argument("name", metavar="NAME")
@click.option("--url", required=True, metavar="URL", help="Where its deliveries go.")
@click.option(
    "--events",
    required=True,
    multiple=True,
    metavar="TYPES",
    help="Event types or patterns, with commas between them; may be repeated.",
)
@click.option(
    "--secret-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A file with its secret. Default: a new secret, which is printed once.",
)
@click.option(
    "--where",
    multiple=True,
    metavar="CONDITION",
    help="A condition as the configuration has it, as 'data.object.total: {gte: 5000}'; may be"
    " repeated.",
)
@click.option("--timeout", metavar="DURATION", help="How long one attempt may take.")
@click.option("--rate-limit", metavar="RATE", help="Attempts in a period, as 100/min.")
@click.option(
    "--retry", metavar="WAITS", help="The waits before each retry, as 2m,10m,1h; or none."
)
@click.option("--test", "with_test", is_flag=True, help="Send a sample event afterwards.")
@json_option
@config_option
def add(
    *,
    name: str,
    with_test: bool,
    as_json: bool,
    config_path: Path,
    **given: Any,  # noqa: ANN401 - what the subscription is to have
) -> None:
    """Add a subscription NAME as a file of its own, where `include:` of the configuration says.

    While the daemon runs, it is in force when the command ends; an invalid subscription leaves no file. Other changes of the configuration that were not reloaded yet come into force, too. Otherwise
    the file is written, and read at the next start. `relayd remove NAME` removes it.
    """
    if not is_name(name):
        raise click.UsageError(f"`{in_one_line(name, 80)}`: {NAME_RULE}.")
    answer, running = _add(config_path, name, keys_of(**given))
    if not as_json:
        _print(answer, running=running)
    tested: Mapping[str, Any] | None = None
    if with_test:
        try:
            tested = _test(config_path, name)
        except (CommandError, ConfigError) as error:
            if not as_json:
                raise
            # The document has the secret, which nothing prints again.
            tested = {"succeeded": False, "detail": str(error)}
    if as_json:
        print_json(_document(answer, tested, running=running))
    elif tested is not None:
        from relayd.cli.commands.test import print_sent  # noqa: PLC0415 - only here

        click.echo()
        print_sent(tested)
        if not tested["succeeded"]:
            click.echo(wrapped(f"{name} was added all the same; `relayd test {name}` tries again."))
    sys.exit(0 if tested is None or tested["succeeded"] else 1)


def _add(config_path: Path, name: str, keys: dict[str, object]) -> tuple[Mapping[str, Any], bool]:
    """Return what was done, and whether it is in force; end the command where it is refused."""
    answer: Mapping[str, Any]
    with daemon_if_running(queue_place(config_path)) as daemon:
        running = isinstance(daemon, DaemonClient)
        if isinstance(daemon, DaemonClient):
            arguments: dict[str, Any] = {"subscription": name, **keys}
            answer = _answer(daemon, arguments)
        else:
            answer = _add_offline(config_path, name, keys)
    if not answer.get("ok"):
        raise _refused(answer, config_path)
    if running:
        return answer, True
    from relayd.cli.offline_subscriptions import reload_if_running  # noqa: PLC0415 - as above

    reloaded = reload_if_running(config_path, "written")
    return (answer, False) if reloaded is None else ({**answer, **reloaded}, True)


def _answer(daemon: DaemonClient, arguments: dict[str, Any]) -> Mapping[str, Any]:
    try:
        return daemon.answer("add", timeout_s=RELOAD_TIMEOUT_S, **arguments)
    except CommandError as error:
        # It may have been written before; the secret that was made is printed nowhere else.
        raise CommandError(
            f"{error}. `relayd check` says whether {arguments['subscription']} was added, and its file,"
            " which has the secret",
            code=error.code,
        ) from error


def _add_offline(config_path: Path, name: str, keys: dict[str, object]) -> Mapping[str, Any]:
    # Loaded where it is needed: with a daemon, nothing of it is.
    from relayd.cli.offline_subscriptions import add_offline  # noqa: PLC0415 - see above

    made = new_secret() if wants_secret(keys) else None
    if made is not None:
        keys["secret"] = made
    answer = add_offline(config_path, name, keys)
    return {**answer, "secret": made} if made is not None and answer["ok"] else answer


def _test(config_path: Path, name: str) -> Mapping[str, Any]:
    from relayd.cli.commands.test import TEST_TIMEOUT_S, send_by_itself  # noqa: PLC0415 - only here

    with daemon_if_running(queue_place(config_path)) as daemon:
        if isinstance(daemon, DaemonClient):
            arguments: dict[str, Any] = {"subscription": name, "type": None}
            return daemon.ask("test", timeout_s=TEST_TIMEOUT_S, **arguments)
    return send_by_itself(config_path, name, None)


def _refused(answer: Mapping[str, Any], config_path: Path) -> CommandError:
    """Return the error that a refusal is: what is wrong with the options in terms of these."""
    problems = [str(each) for each in answer.get("problems", ())]
    match answer.get("code"):
        case "no_include":
            return CommandError(_no_include(config_path), code="no_include", problems=problems)
        case "invalid" if answer.get("details"):
            said = list(map(in_options, answer["details"]))
            return _WrongOptionsError("; ".join(said), code="invalid", problems=said)
        case "exists":
            return CommandError(str(answer["error"]), code="exists")
        case "configuration":
            click.echo("relayd: nothing was added, since the configuration is wrong:", err=True)
    return refusal(answer)


def _no_include(config_path: Path) -> str:
    folder = Path(os.path.abspath(config_path)).parent / "subscriptions.d"  # noqa: PTH100 - keeps `..`
    lines = [
        f"{config_path} has no `include:` for new files. Put this line into it, at its left edge:",
        "",
        f"  {INCLUDE_LINE}",
        "",
    ]
    if not os.path.exists(folder):  # noqa: PTH110 - Path.exists raises where it may not look
        lines += [
            "make the folder, which belongs to relayd's user:",
            "",
            f"  {command_to_make(folder, relayds_user(queue_place(config_path).path))}",
            "",
        ]
    return "\n".join([*lines, "and run this command again."])


def _document(
    answer: Mapping[str, Any], tested: Mapping[str, Any] | None, *, running: bool
) -> dict[str, object]:
    document = added_document(answer, in_force=running)
    if tested is not None:
        document["test"] = {key: value for key, value in tested.items() if key != "ok"}
    return document


def _print(answer: Mapping[str, Any], *, running: bool) -> None:
    name = answer["subscription"]
    click.echo(wrapped(f"{name} added: {answer['file']}"))
    others = [each for each in answer["changes"] if each != f"subscription {name}: added"]
    for change in others:
        click.echo(wrapped(change, "    ", first="  "))
    for warning in answer["warnings"]:
        if running and not warning.startswith(f"{answer['file']}:"):
            continue  # about what was there before
        click.echo(wrapped(f"warning: {warning}", "  "), err=True)
    elsewhere = answer.get("elsewhere") or []
    if elsewhere:
        more = f" and {len(elsewhere) - 1} more" if len(elsewhere) > 1 else ""
        click.echo(
            wrapped(
                f"Note: `relayd check`, run as this user, finds something elsewhere: {elsewhere[0]}"
                f"{more}",
            ),
            err=True,
        )
    if not running:
        click.echo("relayd is not running; it is in force from the next start on.")
    secret = answer.get("secret")
    if secret is not None:
        click.echo("Its secret, for the receiver, is printed only now:")
        click.echo(f"  {printable(secret)}")
