"""Resolves host names in a bounded number of threads, for all endpoints together.

The system's resolver blocks a thread, for half a minute when no DNS server answers, and cannot be
cancelled. So a name has at most one thread, which all attempts that need the name share; there are
at most `THREADS`; and names that hung the last time get `FOR_HANGING` of them, names that were
never resolved `FOR_NEW`. A name that answered the last time finds a thread that those cannot take.
While others wait, the latest is served first: the oldest is the next to time out.

An address in its plain form needs no look-up (see `dialer`). These threads are not those of `trio.to_thread`, and none of SQLite's.
"""

import errno
import socket
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum
from ipaddress import ip_address
from typing import Final

import trio

from relayd.core.addresses import Address
from relayd.core.endpoint import IpVersion

THREADS: Final = 64
FOR_NEW: Final = 52
FOR_HANGING: Final = 40
"""Threads for names that were never resolved, and of those for names that hung the last time."""

HANGS_S: Final = 1.0
"""A look-up that takes longer hangs: the next one of its name is served after others."""

_REMEMBERED: Final = 10_000


class _Standing(IntEnum):
    """What is known of a name; the lower ones are served first."""

    ANSWERED = 0
    NEW = 1
    HUNG = 2


_MOST: Final = {
    _Standing.ANSWERED: THREADS, _Standing.NEW: FOR_NEW, _Standing.HUNG: FOR_HANGING
}  # fmt: skip


_Name = tuple[str, IpVersion | None]
"""A host, and the one family of addresses that is looked up; None for both."""


class _LookUp:
    """One look-up of a name, which waits for a thread or runs in one."""

    def __init__(self, name: _Name, standing: _Standing) -> None:
        self.name = name
        self.standing = standing
        self.started_at: float | None = None
        self.wanted_by = 0
        self.done = trio.Event()
        self.found: list[str] = []
        self.error: Exception | None = None


class Resolver:
    """Resolves names. Used within one trio run.

    `look_up` is called in a thread, with a host and the family of addresses; it returns addresses as
    text, or raises OSError.
    """

    def __init__(self, look_up: Callable[[str, IpVersion | None], list[str]] | None = None) -> None:
        self._look_up = _system_addresses if look_up is None else look_up
        self._look_ups: dict[_Name, _LookUp] = {}
        self._waiting: dict[_Standing, dict[_Name, _LookUp]] = {each: {} for each in _Standing}
        self._running = dict.fromkeys(_Standing, 0)
        self._standings: dict[_Name, _Standing] = {}

    @property
    def threads(self) -> int:
        """How many threads are in use now, with those that nobody waits for any more."""
        return sum(self._running.values())

    async def resolve(self, host: str, _port: int, *, ip: IpVersion | None = None) -> list[Address]:
        """Return a host's addresses. Raises OSError, as getaddrinfo does, and UnicodeError.

        With `ip`, only addresses of that family are looked up.

        Cancelled, a look-up that runs goes on, and others that want the name wait for it.
        """
        name = (host, ip)
        look_up = self._look_ups.get(name)
        if look_up is None:
            look_up = _LookUp(name, self._standings.get(name, _Standing.NEW))
            self._look_ups[name] = self._waiting[look_up.standing][name] = look_up
            self._start()
        look_up.wanted_by += 1
        try:
            await look_up.done.wait()
        finally:
            look_up.wanted_by -= 1
            if not look_up.wanted_by and look_up.started_at is None:
                self._look_ups.pop(name, None)
                self._waiting[look_up.standing].pop(name, None)
        if look_up.error is not None:
            raise look_up.error.with_traceback(None)
        return [ip_address(text) for text in look_up.found]

    def _start(self) -> None:
        """Give threads to those that wait, as far as there are any for their standing."""
        for standing, waiting in self._waiting.items():
            while waiting and self._has_thread_for(standing):
                _, latest = waiting.popitem()
                self._run(latest)

    def _has_thread_for(self, standing: _Standing) -> bool:
        like_it = sum(count for each, count in self._running.items() if each >= standing)
        return like_it < _MOST[standing] and self.threads < THREADS

    def _run(self, look_up: _LookUp) -> None:
        token = trio.lowlevel.current_trio_token()
        look_up.started_at = trio.current_time()
        self._running[look_up.standing] += 1

        def in_thread() -> None:
            try:
                look_up.found = self._look_up(*look_up.name)
            except Exception as error:  # noqa: BLE001 - it is raised in all that wait for it
                look_up.error = error

        def ended(_: object) -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(self._ended, look_up)

        try:
            trio.lowlevel.start_thread_soon(in_thread, ended)
        except RuntimeError:
            look_up.error = OSError(errno.EAGAIN, "no thread is left for it")
            token.run_sync_soon(self._ended, look_up)

    def _ended(self, look_up: _LookUp) -> None:
        assert look_up.started_at is not None
        hung = trio.current_time() - look_up.started_at >= HANGS_S
        self._running[look_up.standing] -= 1
        del self._look_ups[look_up.name]
        self._standings.pop(look_up.name, None)
        self._standings[look_up.name] = _Standing.HUNG if hung else _Standing.ANSWERED
        if len(self._standings) > _REMEMBERED:
            del self._standings[next(iter(self._standings))]
        look_up.done.set()
        self._start()


_FAMILIES: Final[dict[IpVersion | None, int]] = {
    None: socket.AF_UNSPEC, 4: socket.AF_INET, 6: socket.AF_INET6
}  # fmt: skip


def _system_addresses(host: str, ip: IpVersion | None) -> list[str]:
    # As bytes, so that Python's own IDNA codec keeps out of what the URL parser has encoded.
    family = _FAMILIES[ip]
    found = socket.getaddrinfo(host.encode("ascii"), None, family, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]
