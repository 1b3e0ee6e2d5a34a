"""Readers that somebody else has taken over: each does what its spool's table is named after."""

import json
import mmap
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from relayd.spool import reader_main, template
from relayd.spool.exit_status import PAGE_BYTES
from relayd.spool.frames import HEAD, Kind

BODY = (
    b'{"id":"evt_lie","type":"order.created","created":7,"data":{},'
    b'"market_id":"market_123","api_version":"2024-01-01"}'
)


def events(channel: socket.socket, number: int, **changes: object) -> None:
    entry = {"id": "evt_lie", "type": "order.created", "created": 7, "market": None}
    entry |= {
        "version": None,
        "size": len(BODY),
        "flaws": None,
        "object": None,
        "values": 0,
        **changes,
    }
    text = json.dumps([0, [list(entry.values())]]).encode()
    blob = bytes(32) + BODY
    channel.sendall(HEAD.pack(Kind.EVENTS, number, len(text), len(blob)) + text + blob)


def state(channel: socket.socket) -> None:
    text = json.dumps({"waits_for": None, "undeleted": 0, "unconfined": None}).encode()
    channel.sendall(HEAD.pack(Kind.STATE, 0, len(text), 0) + text)


def noise(channel: socket.socket) -> None:
    channel.sendall(os.urandom(100_000))


def another_id(channel: socket.socket) -> None:
    events(channel, 1, id="evt_truth")


def own_type(channel: socket.socket) -> None:
    events(channel, 1, type="relayd.endpoint.failing")


def too_large(channel: socket.socket) -> None:
    channel.sendall(HEAD.pack(Kind.EVENTS, 1, 10, 2**31))


def deep(channel: socket.socket) -> None:
    text = b"[" * 400_000
    channel.sendall(HEAD.pack(Kind.EVENTS, 1, len(text), 0) + text)


def half_a_frame(channel: socket.socket) -> None:
    channel.sendall(HEAD.pack(Kind.REJECTED, 1, 400_000, 16_000_000) + b"[")
    time.sleep(600)


def silence(channel: socket.socket) -> None:
    time.sleep(600)


def chatter(channel: socket.socket) -> None:
    while True:
        state(channel)


def reads_nothing(channel: socket.socket) -> None:
    for number in range(1, 1_000_000):
        events(channel, number)


def cuts_its_page(_: socket.socket) -> None:
    os.ftruncate(3, 0)
    os.kill(os.getpid(), signal.SIGKILL)


def blames_a_delivery(_: socket.socket) -> None:
    # A row's key is negative; a delivery's is its own number.
    os.pwrite(3, (1).to_bytes(8, sys.byteorder), 0)
    os.kill(os.getpid(), signal.SIGKILL)


def answers_of_its_own(channel: socket.socket) -> None:
    text = b"[]"
    channel.sendall(HEAD.pack(Kind.DONE, 1, len(text), 0) + text)


LIES: dict[str, Callable[[socket.socket], None]] = {
    each.__name__: each
    for each in (
        noise, another_id, own_type, too_large, deep, half_a_frame, silence, chatter,
        reads_nothing, cuts_its_page, blames_a_delivery, answers_of_its_own,
    )
}  # fmt: skip


def lie_or_read(channel: socket.socket, page: int) -> int:
    raw = channel.recv(65_536, socket.MSG_PEEK)
    _, _, size, _ = HEAD.unpack(raw[: HEAD.size])
    settings: dict[str, Any] = json.loads(raw[HEAD.size : HEAD.size + size])
    if settings["table"] not in LIES:
        return reader_main.read_spool(channel, page)
    with mmap.mmap(page, PAGE_BYTES):
        os.dup2(page, 3)
        LIES[settings["table"]](channel)
    time.sleep(600)
    return 0


def main(daemon_pid: int, descriptor: int) -> None:
    setattr(template, "read_spool", lie_or_read)  # noqa: B010 - it is an import there
    template.main(daemon_pid, descriptor)
