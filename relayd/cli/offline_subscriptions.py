"""Adds a subscription as an included file, or removes one, while no daemon runs: as the folder's owner."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import click

from relayd.cli.command_error import CommandError
from relayd.cli.daemon_client import RELOAD_TIMEOUT_S, DaemonClient, daemon_if_running
from relayd.cli.terminal import wrapped
from relayd.commands.requests import Answer, RefusedError
from relayd.commands.subscription_file_refusals import (
    added_file,
    cannot_write,
    changed_meanwhile,
    refused_answer,
)
from relayd.commands.subscription_files import is_changed
from relayd.config.added_subscription import NotWritableError, added, no_place
from relayd.config.documents import place_of
from relayd.config.included_file import locked_folder, put_back, remove, set_aside, write_new
from relayd.config.partial import read_doubtful
from relayd.config.problem import ConfigError
from relayd.config.queue_place import queue_place
from relayd.config.reading import absolute, recorded_reads
from relayd.permissions import acting_as, become, name_of, owner_to_become, relayds_user


def add_offline(config_path: Path, name: str, keys: Mapping[str, object]) -> Answer:
    """Validate and write the file; return the answer that the daemon would give.

    What is wrong elsewhere in the configuration, such as a variable that only the daemon has, is
    returned in `elsewhere`, and refuses nothing. Raises `ConfigError`, or ends the command.
    """
    path = place_of(name, config_path)
    if path is None:
        return refused_answer(name, [no_place(config_path)])
    try:
        file = added(name, keys)
    except NotWritableError as error:
        raise CommandError(f"a value {error}", code="invalid") from None
    _check_owner(path, config_path)
    _become_owner(path)
    try:
        with locked_folder(path.parent):
            _, findings = read_doubtful(config_path, os.environ, file)
            mine = f"subscriptions.{name}"
            of_it = [
                each
                for each in findings.errors
                if each.key == mine or each.key.startswith(f"{mine}.") or each.file == str(path)
            ]
            if of_it:
                return refused_answer(name, of_it)
            write_new(path, file.raw)
    except OSError as error:
        _refuse(cannot_write(path, error))
    warnings = [str(each) for each in findings.warnings if each.file == str(path)]
    return {
        "ok": True,
        "subscription": name,
        "file": os.path.abspath(path),  # noqa: PTH100 - as config.load has it
        "changes": [],
        "warnings": warnings,
        "elsewhere": [str(each) for each in findings.errors],
    }


def file_to_remove(config_path: Path, name: str) -> Path:
    """Return the file of a subscription that `relayd add` wrote. Raises `ConfigError`."""
    config = read_doubtful(config_path)[0]
    try:
        # A link in another user's folder may lead to what only root may read.
        with acting_as(owner_to_become(config.included.get(name, config_path))):
            return added_file(name, config)
    except RefusedError as refused:
        _refuse(refused)


def remove_offline(config_path: Path, name: str, path: Path) -> None:
    """Remove that file; end the command where the disk refuses it.

    Also where it is another one by now: the question may have waited for hours.
    """
    _become_owner(path)
    try:
        with locked_folder(path.parent):
            with recorded_reads() as files:
                if added_file(name, read_doubtful(config_path)[0]) != path:
                    raise changed_meanwhile(path)
            aside = set_aside(path)
            # An editor takes no lock: what is removed is what was judged.
            if is_changed(aside, files.get(str(absolute(path)))):
                put_back(aside, path)
                raise changed_meanwhile(path)
            remove(aside)
    except RefusedError as refused:
        _refuse(refused)
    except OSError as error:
        _refuse(cannot_write(path, error))


def reload_if_running(config_path: Path, done: str) -> Mapping[str, Any] | None:
    """Reload where a daemon was started meanwhile, which may have read the files before.

    Returns its answer, or None where nothing runs. Where it cannot be asked, or refuses, that is said on
    stderr: the file is `done` all the same.
    """
    try:
        with daemon_if_running(queue_place(config_path)) as daemon:
            if isinstance(daemon, DaemonClient):
                return daemon.ask("reload", timeout_s=RELOAD_TIMEOUT_S)
    except (ConfigError, CommandError) as error:
        click.echo(wrapped(f"Note: the file is {done}, but {error}"), err=True)
    return None


def _check_owner(path: Path, config_path: Path) -> None:
    """End the command where relayd's own user could not read what is written there."""
    user, folder = relayds_user(queue_place(config_path).path), path.parent
    try:
        owner = folder.stat().st_uid
    except OSError:
        return  # what is wrong with it is said where the file is judged
    if user is not None and owner != user:
        right = f"chown {name_of(user)} {shlex.quote(str(folder))}"
        reason = f"{folder} belongs to user {name_of(owner)}, and must belong to {name_of(user)}"
        _refuse(RefusedError("failed", f"{reason}, as which relayd runs ({right})"))


def _become_owner(path: Path) -> None:
    if owner := owner_to_become(path, making=True):
        # What root makes in another user's folder, that user could not use.
        become(owner)


def _refuse(refused: RefusedError) -> NoReturn:
    raise CommandError(str(refused), code=refused.code) from None
