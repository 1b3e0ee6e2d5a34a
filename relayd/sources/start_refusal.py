"""Answers producers that wait at a socket of the service manager's when relayd cannot start.

Left alone, they would wait for a start that does not come, and systemd would start relayd for them
again and again.
"""

import contextlib
import json
import select
import socket
import time
from collections.abc import Iterable
from typing import Final

ANSWER: Final = (
    json.dumps(
        {
            "ok": False,
            "code": "unavailable",
            "error": "relayd cannot start, since its configuration is wrong; its log says more",
        }
    ).encode()
    + b"\n"
)
_MOST: Final = 4096
_AT_ONCE: Final = 256
_LINGER_S: Final = 0.5
"""So long they have to read the answer, and to close."""


def turn_away(passed: Iterable[socket.socket]) -> int:
    """Answer and close the connections that wait now, at most 4,096; return how many. Blocks.

    Those that come later wait on, or are refused, as the service manager has it.
    """
    count = 0
    for listener in passed:
        while count < _MOST and (waiting := _accepted(listener)):
            count += len(waiting)
            _answer(waiting)
    return count


def _accepted(listener: socket.socket) -> list[socket.socket]:
    accepted: list[socket.socket] = []
    # It is not ours alone: its mode stays as it is.
    while len(accepted) < _AT_ONCE and select.select([listener], [], [], 0)[0]:
        try:
            accepted.append(listener.accept()[0])
        except OSError:
            break
    return accepted


def _answer(connections: list[socket.socket]) -> None:
    poll = select.poll()
    left = {each.fileno(): each for each in connections}
    for each in connections:
        each.setblocking(False)
        with contextlib.suppress(OSError):
            each.send(ANSWER)
            each.shutdown(socket.SHUT_WR)
        poll.register(each, select.POLLIN)
    # What a producer still sends is read: a closed connection would break its write, before it has
    # read the answer.
    deadline = time.monotonic() + _LINGER_S
    while left and (wait_s := deadline - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(wait_s * 1000):
            if not _goes_on(left[descriptor]):
                poll.unregister(descriptor)
                del left[descriptor]
    for each in connections:
        each.close()


def _goes_on(connection: socket.socket) -> bool:
    """Read what came, and tell whether more may come."""
    try:
        return bool(connection.recv(65_536))
    except BlockingIOError:
        return True
    except OSError:
        return False
