"""The process that renders templates: it forks for each rendering, and knows no secret.

It is executed, not forked from the daemon, and confined before it is asked for anything: it can open no
file. A rendering has its own process, which can open nothing at all, has bounded memory and time, and takes nobody with
it when it ends.

It sends one byte once it is ready, and one for each rendering that it has taken: where they stay away, it
hangs or is stopped, and the daemon starts another one.

For each rendering the daemon sends one byte with a descriptor, a socket of that rendering alone. On it
come the lengths of the template's text and of the event's body, and these; back goes a kind, a length
and as many bytes: the output, or why there is none. Where the socket ends without, the kernel ended the process.
"""

import gc
import json
import os
import resource
import signal
import socket
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Final

from relayd.core.template import (
    FAULT,
    JOB,
    MAX_FAULT_BYTES,
    MAX_OUTPUT_BYTES,
    MAX_TEMPLATE_BYTES,
    OUTPUT,
    READY,
    RENDER_MB,
    RENDER_S,
    RESULT,
    TAKEN,
)
from relayd.spool.confinement import UnconfinedError, confine, end_with_parent, name_process
from relayd.template_sandbox import TemplateFaultError, current_line, rendered

_NICENESS: Final = 5
_OPEN_FILES: Final = 16
_DEAF_TO: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE)
"""Signals to the whole group of processes, as at a terminal or from systemd: the daemon decides."""


def main(daemon_pid: int, descriptor: int) -> None:
    """Fork a renderer whenever the daemon asks, whose socket is at this descriptor, until it closes it."""
    end_with_parent(daemon_pid)
    name_process("relayd-render")
    for number in _DEAF_TO:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries them
    with suppress(OSError):  # where a system call filter or a read-only /proc refuses it
        os.nice(_NICENESS)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    _load_all()
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    memory = pages * resource.getpagesize() + RENDER_MB * 1024 * 1024
    _bound({resource.RLIMIT_NOFILE: _OPEN_FILES, resource.RLIMIT_FSIZE: 0, resource.RLIMIT_CORE: 0})
    with suppress(UnconfinedError, OSError):  # then a rendering still can open nothing
        confine(None)
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=descriptor) as control:
        _serve(control, memory)


def _load_all() -> None:
    """Have Python and Jinja load what they load at its first use: later no file can be opened."""
    used = (
        "{{ data|tojson }}{{ data|pprint }}{{ sentence|wordwrap|urlize|striptags }}{{ 'é'|title }}"
    )
    rendered(used, {"data": {"a": 1}})
    with suppress(TemplateFaultError):
        rendered("{{ data.a.b }}", {"data": {"a": 1}})


def _serve(control: socket.socket, memory: int) -> None:
    own = os.getpid()
    _tell(control, READY)
    while True:
        try:
            raw, descriptors, *_ = socket.recv_fds(control, 1, 1)
        except OSError:  # the daemon was killed
            return
        if not raw:
            return
        for descriptor in descriptors:
            with socket.socket(fileno=descriptor) as job:
                try:
                    pid = os.fork()
                except OSError as error:
                    with suppress(OSError):
                        _answer(
                            job, FAULT, f"no process could be started: {error.strerror}".encode()
                        )
                    pid = -1
                if pid == 0:
                    os._exit(_render(job, control, own, memory))
            _tell(control, TAKEN)


def _tell(control: socket.socket, what: bytes) -> None:
    with suppress(OSError):  # the daemon reads what there is before it hands over the next one
        control.send(what, socket.MSG_DONTWAIT)


def _render(job: socket.socket, control: socket.socket, parent: int, memory: int) -> int:
    try:
        end_with_parent(parent)
        control.close()
        text_size, body_size = JOB.unpack(_exactly(job, JOB.size))
        if text_size > MAX_TEMPLATE_BYTES:
            return 1
        text = _exactly(job, text_size).decode()
        body = _exactly(job, body_size)
        _bound(
            {
                # With no number left for one, no file and no socket can be opened.
                resource.RLIMIT_NOFILE: 0,
                resource.RLIMIT_NPROC: 0,
                resource.RLIMIT_AS: memory,
                # Where one step of Python takes too long, the signal below is not seen in time.
                resource.RLIMIT_CPU: int(RENDER_S) + 1,
            }
        )
        signal.signal(signal.SIGPROF, lambda _, frame: _out_of_time(job, frame))
        signal.setitimer(signal.ITIMER_PROF, RENDER_S)
        kind, answer = _result(text, body)
        signal.setitimer(signal.ITIMER_PROF, 0)
        _answer(job, kind, answer)
    except BaseException:  # noqa: BLE001 - it must not come back as a second one that forks
        return 1
    return 0


def _result(text: str, body: bytes) -> tuple[int, bytes]:
    try:
        output = rendered(text, json.loads(body))
    except TemplateFaultError as fault:
        return FAULT, _fault(str(fault), fault.line)
    except MemoryError:
        return FAULT, _fault("takes more memory than it may have", None)
    except RecursionError:
        return FAULT, _fault("recurses without end", None)
    return OUTPUT, output


def _out_of_time(job: socket.socket, frame: FrameType | None) -> None:
    with suppress(OSError):
        _answer(job, FAULT, _fault(f"takes more than {RENDER_S:g} s", current_line(frame)))
    os._exit(1)


def _fault(message: str, line: int | None) -> bytes:
    return (message if line is None else f"line {line}: {message}").encode(errors="replace")


def _answer(job: socket.socket, kind: int, content: bytes) -> None:
    most = MAX_OUTPUT_BYTES if kind == OUTPUT else MAX_FAULT_BYTES
    content = content[:most]
    job.sendall(RESULT.pack(kind, len(content)))
    job.sendall(content)


def _exactly(job: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = job.recv(min(size - len(parts), 65_536))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def _bound(limits: dict[int, int]) -> None:
    for what, most in limits.items():
        _, hard = resource.getrlimit(what)
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (least, least))
