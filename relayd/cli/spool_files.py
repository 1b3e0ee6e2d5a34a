"""Spools as files: making one, and looking into one without changing anything."""

import os
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Final

from relayd.config.sections import QueueConfig, SpoolConfig
from relayd.core.queue_files import SQLITE_SIDES, queue_beside
from relayd.permissions import (
    ActingError,
    Identity,
    acting_as,
    identity_of,
    owner_to_become,
    run_as,
    user_name,
)
from relayd.queue.sqlite.schema import is_queue_file
from relayd.spool.files import spool_problem
from relayd.spool.look import BUSY_TIMEOUT_S, WITHIN_S, SpoolLook, look_into_spool
from relayd.spool.table import empty_spool

_FOLDER_MODE: Final = 0o2770


class SpoolFileError(Exception):
    """A spool cannot be made; says why, and what to do."""


def create_spool(path: Path, table: str, mode: int, group: int | None = None) -> None:
    """Make a SQLite file with a spool's table. `mode` is the file's, as 0o660.

    With a `group`, by its number, the file is that group's, and a folder that is not there is made
    for it. In a folder of another user's, root makes both for that user. Raises `SpoolFileError`,
    and leaves nothing half made. What is there stays as it is.
    """
    _check_name(path)
    made = group is not None and _make_folder(path.parent, group)
    try:
        _create(path, table, mode, group)
    except SpoolFileError:
        if made:
            with acting_as(owner_to_become(path.parent, making=True)):
                path.parent.rmdir()
        raise


def _check_name(path: Path) -> None:
    for side in SQLITE_SIDES:
        if path.name.endswith(side):
            raise SpoolFileError(
                f"{path}: SQLite uses names that end in {side} for its own files; choose another"
            )
    queue = queue_beside(str(path))
    if queue is not None and is_queue_file(Path(queue)):
        raise SpoolFileError(f"{path} is the name of a file of the queue {queue}; choose another")


def _create(path: Path, table: str, mode: int, group: int | None) -> None:
    owner = owner_to_become(path, making=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with acting_as(owner):
            descriptor = os.open(path, flags, 0o600)
    except FileExistsError:
        raise SpoolFileError(
            f"{path} already exists and was not changed. In your own database, create the table "
            f"in a migration: `relayd spool sql` prints it"
        ) from None
    except OSError as error:
        raise SpoolFileError(
            f"user {owner.name if owner else user_name()} cannot make {path}: {error.strerror}"
        ) from None
    try:
        # By its descriptor: whoever may write in the folder decides what is at the path.
        with os.fdopen(descriptor, "wb") as file:
            file.write(empty_spool(table))
            file.flush()
            if group is not None:
                os.fchown(descriptor, -1, group)
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
    except OSError as error:
        with acting_as(owner):
            path.unlink()
        if isinstance(error, PermissionError):
            raise SpoolFileError(f"user {user_name()} is not in that group: use sudo") from None
        raise SpoolFileError(f"cannot make {path}: {error.strerror}") from None


def _make_folder(folder: Path, group: int) -> bool:
    """Make a folder in which a group's programs can use a spool; False where there is one."""
    owner = owner_to_become(folder, making=True)
    try:
        with acting_as(owner):
            folder.mkdir(0o700)
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileExistsError:
        return False
    except OSError as error:
        raise SpoolFileError(
            f"user {owner.name if owner else user_name()} cannot make {folder}: {error.strerror}"
        ) from None
    try:
        # It may have been exchanged since: nobody else's folder is given away.
        if os.fstat(descriptor).st_uid != (owner.uid if owner else os.geteuid()):
            raise SpoolFileError(f"{folder} was replaced while it was being created")
        os.fchown(descriptor, -1, group)
        os.fchmod(descriptor, _FOLDER_MODE)
    except OSError as error:
        with acting_as(owner):
            folder.rmdir()
        raise SpoolFileError(
            f"user {user_name()} cannot give {folder} to that group ({error.strerror}): use sudo"
        ) from None
    finally:
        os.close(descriptor)
    return True


def is_shared_folder(folder: Path, group: int) -> bool:
    """Tell whether a group's programs can use a spool in this folder, whoever of them is first.

    SQLite's files beside the spool must come to belong to the group, not to who makes them.
    """
    found = folder.stat()
    return found.st_gid == group and found.st_mode & _FOLDER_MODE == _FOLDER_MODE


def look_into(spool: SpoolConfig, queue: QueueConfig) -> SpoolLook:
    """Count what waits in a spool, and say what is wrong with it. Changes nothing.

    Root looks as the spool's owner, and says what keeps relayd's user out, whose `queue` is.
    """
    try:
        found = run_as(
            owner_to_become(spool.path),
            lambda: asdict(look_into_spool(spool.path, spool.table)),
            WITHIN_S + BUSY_TIMEOUT_S,
        )
        look = SpoolLook(**found)
        if look.problem is None and (relayd := relayd_user(queue)) is not None:
            user = relayd if relayd.uid != os.geteuid() else None
            problem = run_as(user, partial(spool_problem, spool.path), WITHIN_S)
            look = SpoolLook(look.waiting, look.oldest, problem, look.differences, look.fix)
    except ActingError as error:
        return SpoolLook(None, None, str(error), [])
    return look


def table_words(look: SpoolLook) -> list[str]:
    """Return how the table differs from the one that was meant, and what to do about it."""
    return [*look.differences, *([] if look.fix is None else [look.fix])]


def relayd_user(queue: QueueConfig) -> Identity | None:
    """Return the user who owns the queue, which is relayd's; None where this one cannot act as it."""
    for path in (queue.path, queue.path.parent):
        try:
            found = path.stat()
        except OSError:
            continue
        if os.geteuid() in (0, found.st_uid):
            return identity_of(found.st_uid, found.st_gid)
        return None
    return None
