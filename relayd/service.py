"""Notifies systemd (sd_notify(3)) and takes its sockets (sd_listen_fds(3)); without it, does nothing."""

import os
import socket
import time
from collections.abc import Mapping
from typing import Final

_FIRST_PASSED: Final = 3
_SEND_TIMEOUT_S: Final = 1.0


class Service:
    """The service manager that started this process, as its environment describes it.

    `passed` holds the listening Unix sockets that it opened. They stay open for the life of the
    process, so that a socket dropped by one reload can be used again after the next; listeners use a
    duplicate.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]
        self._stopping = False
        self.watchdog_s = _watchdog_s(environ)
        self.passed = _passed_sockets(environ)

    def ready(self, status: str) -> None:
        """Report that events are accepted and delivered; after `stopping` this does nothing."""
        if not self._stopping:
            self._send(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """Report that the configuration is being reloaded; `ready` ends the reload."""
        if not self._stopping:
            self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def alive(self) -> None:
        """Ping the watchdog: without this, systemd kills the process after `watchdog_s` seconds."""
        self._send("WATCHDOG=1")

    def stopping(self, status: str) -> None:
        """Report that the process is about to end."""
        self._stopping = True
        self._send(f"STOPPING=1\nSTATUS={status}")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            # A service manager that is gone or does not read must not stop deliveries.
            sender.settimeout(_SEND_TIMEOUT_S)
            try:
                sender.sendto(message.encode(), self._address)
            except OSError:
                return


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    """Return the watchdog's interval in seconds, or None when there is none (sd_watchdog_enabled(3))."""
    if not _is_for_us(environ, "WATCHDOG_PID", default=True):
        return None
    try:
        interval_us = int(environ.get("WATCHDOG_USEC", ""))
    except ValueError:
        return None
    return interval_us / 1e6 if interval_us > 0 else None


def _passed_sockets(environ: Mapping[str, str]) -> tuple[socket.socket, ...]:
    if not _is_for_us(environ, "LISTEN_PID", default=False):
        return ()
    try:
        count = int(environ.get("LISTEN_FDS", ""))
    except ValueError:
        return ()
    passed = []
    for descriptor in range(_FIRST_PASSED, _FIRST_PASSED + count):
        try:
            os.set_inheritable(descriptor, False)
            one = socket.socket(fileno=descriptor)
        except OSError:
            continue  # not a socket, though LISTEN_FDS counts it
        if _listens(one):
            passed.append(one)
        else:
            one.detach()  # not usable here, and not ours to close
    return tuple(passed)


def _listens(one: socket.socket) -> bool:
    return (
        one.family == socket.AF_UNIX
        and one.type == socket.SOCK_STREAM
        and bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    )


def _is_for_us(environ: Mapping[str, str], key: str, *, default: bool) -> bool:
    """Return whether a variable refers to this process, and not to the one that started it."""
    pid = environ.get(key)
    return default if pid is None else pid == str(os.getpid())
