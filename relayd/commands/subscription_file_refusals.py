"""Why an included file is not written, or not removed: refusals that say what to do."""

import errno
import os
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from relayd.commands.requests import Answer, RefusedError, unknown
from relayd.config.added_subscription import DUPLICATE, is_no_place, is_ours
from relayd.config.config import Config
from relayd.config.included_file import read_whole
from relayd.config.problem import Problem
from relayd.permissions import user_name


def changed_meanwhile(path: Path, problem: str | None = None) -> RefusedError:
    """Return the refusal to remove or replace what somebody else has written."""
    reason = f"{path} was changed meanwhile, and is left as it is; try again"
    return RefusedError("failed", reason if problem is None else f"{reason}; {problem}")


def added_file(name: str, config: Config, *, to: str = "remove") -> Path:
    """Return the file of a subscription, which `relayd add` wrote. Raises `RefusedError`.

    `to` says in a word what is to be done with it.
    """
    if name not in config.subscriptions:
        raise unknown(name, config.subscriptions)
    path = config.included.get(name)
    if path is None:
        raise RefusedError(
            "not_added",
            f"{name} is in {config.path}, which `relayd add` did not write: {to} it there, then"
            " `relayd reload`",
        )
    others = [each for each, file in config.included.items() if file == path and each != name]
    try:
        # A link is never what `relayd add` wrote, and is not followed: its target is somebody else's.
        ours = not os.path.islink(path) and is_ours(read_whole(path))  # noqa: PTH114 - Path.is_symlink raises where it may not look
    except OSError as error:
        raise RefusedError("failed", f"{path} cannot be read: {error.strerror}") from None
    if not ours:
        raise RefusedError(
            "not_added",
            f"{name} is in {path}, which `relayd add` did not write: {to} it there, then `relayd"
            " reload`",
        )
    if others:
        raise RefusedError(
            "not_added",
            f"{path} has {', '.join(others)} in it, too: {to} {name} there, then `relayd reload`",
        )
    return path


def refused_answer(name: str, problems: Iterable[Problem]) -> Answer:
    """Return why a subscription cannot be added: its own keys, or what is wrong elsewhere."""
    problems = list(problems)
    if any(map(is_no_place, problems)):
        return {"ok": False, "code": "no_include", "problems": [str(problems[0])]}
    details = [_detail(name, each) for each in problems]
    own = [each for each in details if each["key"] is not None]
    exists = next((each for each in own if str(each["message"]).startswith(DUPLICATE)), None)
    if exists is not None:
        place = str(exists["message"]).removeprefix(f"{DUPLICATE}, first defined at ")
        reason = f"there is a subscription {name} already: {place}"
        return {"ok": False, "code": "exists", "error": reason, "problems": [reason]}
    said = [f"{each['key']}: {_words(each)}" for each in own]
    said += [
        str(each) for each, detail in zip(problems, details, strict=True) if detail["key"] is None
    ]
    code = "invalid" if own else "configuration"
    return {"ok": False, "code": code, "problems": said, "details": details}


def _detail(name: str, problem: Problem) -> dict[str, Any]:
    """Return a problem for programs; `key` is the request's, or None where it is elsewhere."""
    prefix = f"subscriptions.{name}"
    key = None
    if problem.key == prefix:
        key = "subscription"
    elif problem.key.startswith(f"{prefix}."):
        key = problem.key.removeprefix(f"{prefix}.")
    return {
        "key": key,
        "message": problem.message,
        "hint": problem.hint,
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
    }


def _words(detail: Mapping[str, Any]) -> str:
    return f"{detail['message']} ({detail['hint']})" if detail["hint"] else str(detail["message"])


def cannot_write(path: Path, error: OSError) -> RefusedError:
    """Return the refusal of what the disk refused. Blocks on the disk, and looks up a user."""
    if isinstance(error, FileExistsError):
        return RefusedError("exists", f"{path} exists already, and was not changed")
    if isinstance(error, FileNotFoundError) and not os.path.lexists(path.parent):
        return RefusedError("failed", f"the folder {path.parent} does not exist: make it first")
    reason = f"cannot write {path}: {error.strerror}"
    if error.errno == errno.EROFS:
        reason += f"; under systemd, the unit needs ReadWritePaths=-{path.parent} (`systemctl edit relayd`)"
    elif error.errno in {errno.EACCES, errno.EPERM}:
        reason += f"; {_right_folder(path.parent)}"
    return RefusedError("failed", reason)


def _right_folder(folder: Path) -> str:
    """Say how a folder must be, so that this user may write in it, and what makes it so."""
    try:
        found = folder.stat()
    except OSError:
        found = None
    if found is not None and found.st_uid == os.geteuid() and found.st_mode & 0o300 != 0o300:
        return f"its owner may not write there (chmod u+wx {shlex.quote(str(folder))})"
    return f"{folder} must belong to user {user_name()}"
