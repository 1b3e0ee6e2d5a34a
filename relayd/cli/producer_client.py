"""Hands events over as any producer does: through the socket, or into a spool."""

import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from relayd.config.sections import SocketConfig, SpoolConfig
from relayd.permissions import NOBODY, become, owner_to_become, user_name
from relayd.spool.files import spool_problem
from relayd.spool.insertion import NotInsertedError, insert

AT_ONCE = 100
"""Lines that are written before their answers are read, and rows in one transaction."""

_ANSWER_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An event to hand over. `data` is the text of a JSON object; `created` is in Unix seconds."""

    id: str
    type: str
    data: str = field(repr=False)
    created: int


@dataclass(frozen=True, slots=True)
class HandedOver:
    """An event that was taken. With `duplicate`, its id had been accepted before."""

    id: str
    duplicate: bool = False


class HandoverError(Exception):
    """An event was not taken; says why, and what to do."""


class NobodyListensError(HandoverError):
    """The socket cannot be reached; another way may be open."""


def hand_over(
    events: Sequence[Outgoing],
    there: SocketConfig | None,
    spools: Sequence[SpoolConfig],
    *,
    via: str | None,
    name: str | None,
) -> tuple[str, Iterator[HandedOver]]:
    """Choose the way, and start on it: returns `socket` or `spool NAME`, and what is taken.

    Raises `HandoverError`, also while what is taken is iterated over.
    """
    if via == "socket" and there is None:
        raise HandoverError("the configuration has no socket: add `socket: {path: …}`")
    if there is not None and via != "spool":
        try:
            connection = connect(there.path)
        except NobodyListensError:
            if via == "socket" or not spools:
                raise
        else:
            return "socket", over_socket(connection, there.path, events)
    spool = choose_spool(spools, name)
    return spool.source, into_spool(spool, events)


def choose_spool(spools: Sequence[SpoolConfig], name: str | None) -> SpoolConfig:
    """Return the spool of this name, or the only one. Raises `HandoverError`."""
    if not spools:
        raise HandoverError("the configuration has no spool: add one under `spools:`")
    names = ", ".join(spool.name for spool in spools)
    if name is None:
        if len(spools) > 1:
            raise HandoverError(f"there are several spools: choose one with --spool ({names})")
        return spools[0]
    for spool in spools:
        if spool.name == name:
            return spool
    raise HandoverError(f"there is no spool {name}; the configuration has {names}")


def connect(path: Path) -> socket.socket:
    """Connect to the producers' socket. Raises `NobodyListensError`."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(_ANSWER_TIMEOUT_S)
    try:
        connection.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        raise NobodyListensError(
            f"nothing is listening at {path}: is `relayd run` running with this configuration?"
        ) from None
    except PermissionError:
        connection.close()
        raise NobodyListensError(
            f"user {user_name()} may not use the socket {path}; "
            "its group and `socket.mode` in the configuration decide who may"
        ) from None
    except OSError as error:
        connection.close()
        raise NobodyListensError(f"{path}: {error.strerror or error}") from None
    return connection


def over_socket(
    connection: socket.socket, path: Path, events: Sequence[Outgoing]
) -> Iterator[HandedOver]:
    """Write events, and yield each once it is durable. Closes the connection.

    Raises `HandoverError` at the first one that is refused; the batch that it came in was written
    whole, so later ones may have been taken.
    """
    with closing(connection), connection.makefile("rwb") as stream:
        try:
            for start in range(0, len(events), AT_ONCE):
                batch = events[start : start + AT_ONCE]
                for event in batch:
                    stream.write(_line(event))
                stream.flush()
                for _ in batch:
                    yield _answered(stream.readline())
        except TimeoutError:
            raise HandoverError(
                f"relayd did not answer at {path} within {_ANSWER_TIMEOUT_S:g} s; the event may "
                "have been taken: emit it again with the same --id, which is never accepted twice"
            ) from None
        except OSError as error:
            raise HandoverError(f"{path}: {error.strerror or error}") from None


def _line(event: Outgoing) -> bytes:
    head = json.dumps({"id": event.id, "type": event.type, "created": event.created})
    # The producer's own text, since parsing it here could change its numbers. Line breaks stand
    # only between its values: JSON has none inside text.
    data = event.data.replace("\n", " ").replace("\r", " ")
    return f'{head[:-1]}, "data": {data}}}\n'.encode()


def _answered(line: bytes) -> HandedOver:
    if not line.endswith(b"\n"):
        raise HandoverError(
            "relayd closed the connection before it answered; the event may have been accepted: "
            "emit it again with the same --id, which is never accepted twice"
        )
    answer = json.loads(line)
    if not answer["ok"]:
        raise HandoverError(f"relayd refused the event: {answer['error']} ({answer['code']})")
    return HandedOver(answer["id"], duplicate=answer.get("duplicate", False))


def into_spool(spool: SpoolConfig, events: Sequence[Outgoing]) -> Iterator[HandedOver]:
    """Insert events into a spool, and yield each once it is durable there.

    In another user's folder, root becomes that user, for good. Raises `HandoverError`, also where
    relayd could not take what is inserted; what was yielded before stays inserted.
    """
    if owner := owner_to_become(spool.path):
        try:
            become(owner)
        except OSError as error:
            raise HandoverError(f"cannot act as user {owner.name}: {error.strerror}") from None
    if problem := spool_problem(spool.path):
        if owner is not None and owner.uid == NOBODY:
            problem = (
                f"{spool.path}: others may write in its folder, so root opens nothing there as"
                " root;"
                " run the command as a user who may write to it"
            )
        raise HandoverError(problem)
    batches = (events[start : start + AT_ONCE] for start in range(0, len(events), AT_ONCE))
    rows = ([(each.id, each.type, each.data, each.created) for each in batch] for batch in batches)
    try:
        for ids in insert(spool.path, spool.table, rows):
            yield from map(HandedOver, ids)
    except NotInsertedError as error:
        raise HandoverError(str(error)) from error
