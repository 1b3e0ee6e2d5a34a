"""What systemd is told (sd_notify(3)) and what it passes (sd_listen_fds(3)); nothing without it."""

import os
import socket
import time
from collections.abc import Mapping
from typing import Final

_FIRST_PASSED: Final = 3
_SEND_TIMEOUT_S: Final = 1.0


class Service:
    """The service manager that started this process, as its environment describes it.

    `passed` holds the listening Unix sockets that it opened before. They stay open as long as the
    process lives, so that one that a reload gave up can be used again; whoever listens takes a
    copy.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]
        self._stopping = False
        self.watchdog_s = _watchdog_s(environ)
        self.passed = _passed_sockets(environ)

    def ready(self, status: str) -> None:
        """Say that events are accepted and delivered; after `stopping` it says nothing."""
        if not self._stopping:
            self._send(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """Say that the configuration is read again; `ready` ends it."""
        if not self._stopping:
            self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def alive(self) -> None:
        """Feed the watchdog: without this, systemd ends the process after `watchdog_s` seconds."""
        self._send("WATCHDOG=1")

    def stopping(self, status: str) -> None:
        """Say that the process is about to end."""
        self._stopping = True
        self._send(f"STOPPING=1\nSTATUS={status}")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            # A service manager that is gone, or reads nothing, is no reason not to deliver.
            sender.settimeout(_SEND_TIMEOUT_S)
            try:
                sender.sendto(message.encode(), self._address)
            except OSError:
                return


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    """Return how often the watchdog must be fed, None where nobody watches (sd_watchdog_enabled)."""
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
            continue  # no socket at all, though we were told so
        if _listens(one):
            passed.append(one)
        else:
            one.detach()  # of no use to us, and not ours to close
    return tuple(passed)


def _listens(one: socket.socket) -> bool:
    return (
        one.family == socket.AF_UNIX
        and one.type == socket.SOCK_STREAM
        and bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    )


def _is_for_us(environ: Mapping[str, str], key: str, *, default: bool) -> bool:
    """Tell whether a variable means this process, and not one that started it."""
    pid = environ.get(key)
    return default if pid is None else pid == str(os.getpid())
