"""The process from which all readers descend: it forks one when the daemon asks, and buries it.

It is executed, not forked from the daemon, which has threads and secrets. It has all that a reader
needs loaded, so that a reader shares its memory and can be confined before it opens a file. It
ends when the daemon does, and its readers with it.

The daemon and the template exchange JSON messages over a socket that keeps them apart:

    {"start": 7} with two descriptors, the reader's channel and its page → {"started": 7, "pid": …}
                                                                     or → {"failed": 7, "error": …}
    {"kill": 7}                                                        → (its end is reported)
                                                                       → {"ended": 7, "status": …}

`status` is an exit status, or minus the number of the signal that killed the reader.
"""

import gc
import json
import os
import select
import signal
import socket
import sys
from typing import Any, Final

from relayd.malloc import return_large_blocks
from relayd.spool.confinement import end_with_parent, name_process
from relayd.spool.reader_main import read_spool

MESSAGE_BYTES: Final = 4096
_DEAF_TO: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE)
"""Signals to the whole group of processes, as at a terminal or from systemd: the daemon decides."""

_LARGE_BYTES: Final = 2 * 1024 * 1024
"""Larger than the values of events, but for those of which most is escapes."""


def main(daemon_pid: int, descriptor: int) -> None:
    """Serve the daemon, whose socket is at this descriptor, until it closes it."""
    end_with_parent(daemon_pid)
    name_process("relayd-template")
    for number in _DEAF_TO:
        signal.signal(number, signal.SIG_IGN)
    return_large_blocks(_LARGE_BYTES)
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=descriptor) as control:
        _Template(control).run()


class _Template:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._pid = os.getpid()
        self._numbers: dict[int, int] = {}
        """The reader's number of each process."""

    def run(self) -> None:
        """Fork and bury until the daemon closes the socket."""
        woken, wakes = socket.socketpair()
        wakes.setblocking(False)
        woken.setblocking(False)
        signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(woken, select.POLLIN)
        self._inherited = (self._control, woken, wakes)
        while True:
            ready = dict(poll.poll())
            if woken.fileno() in ready:
                woken.recv(4096)
                self._bury()
            if self._control.fileno() in ready and not self._obey():
                return

    def _obey(self) -> bool:
        """Do what the daemon's next message asks; return False when there will be no more."""
        try:
            raw, descriptors, *_ = socket.recv_fds(self._control, MESSAGE_BYTES, 2)
        except OSError:  # the daemon was killed with something of ours unread
            return False
        if not raw:
            return False
        message = json.loads(raw)
        try:
            if "start" in message:
                self._start(message["start"], *descriptors)
            else:
                self._kill(message["kill"])
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _start(self, number: int, channel: int, page: int) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            self._say({"failed": number, "error": error.strerror})
            return
        if pid == 0:
            os._exit(self._be_reader(channel, page))
        self._numbers[pid] = number
        self._say({"started": number, "pid": pid})

    def _be_reader(self, channel: int, page: int) -> int:
        try:
            end_with_parent(self._pid)
            name_process("relayd-reader")
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for each in self._inherited:
                each.close()
            nothing = os.open(os.devnull, os.O_RDWR)
            for standard in range(3):
                os.dup2(nothing, standard)
            os.close(nothing)
            return read_spool(socket.socket(fileno=channel), page)
        except BaseException:  # noqa: BLE001 - it must not come back as a second template
            return 1

    def _kill(self, number: int) -> None:
        for pid, each in self._numbers.items():
            if each == number:
                os.kill(pid, signal.SIGKILL)

    def _bury(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            number = self._numbers.pop(pid, None)
            if number is not None:
                self._say({"ended": number, "status": os.waitstatus_to_exitcode(status)})

    def _say(self, message: dict[str, Any]) -> None:
        try:
            self._control.sendall(json.dumps(message).encode())
        except OSError:
            sys.exit(0)  # the daemon has ended
