"""Both ends of a relay under torture: producers and receivers that write down what they saw."""

import hashlib
import json
import math
import random
import socket
import sqlite3
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from relayd.core.secret import Secret
from relayd.core.signature import verify

PAYLOAD = "Tomatoes, größer ☂"
"""Stands in every event, and in no line of a log."""

TYPES = {
    "c": "order.created",
    "d": "order.completed",
    "u": "user.created",
    "i": "inventory.updated",
    "p": "product.updated",
    "y": "payment.succeeded",
}
_SHARES = (40, 54, 5, 1, 10, 10)

LANES = 23
"""Events of one lane are in order, for the subscription that asks for it."""

SUBSCRIPTION_HEADER = "X-Subscription"
"""Names the subscription in its requests, where several share a receiver."""

HUNG_S = 3.0
"""How long a receiver hangs: longer than the timeout that it is delivered with."""


def event_type(event_id: str) -> str:
    """Return the type of an event that a producer here made: its id ends with a letter for it."""
    return TYPES[event_id[-1]]


@dataclass(slots=True)
class Request:
    """One complete request, as the receiver saw it. `at` is a monotonic time in seconds.

    `status` is the answer's; 0 where none was sent. `ended` is when the answer began, or the
    connection was closed.
    """

    at: float
    event_id: str
    delivery_id: str
    attempt: int
    body_hash: str
    signature_ok: bool
    status: int
    subscription: str = ""
    sequence: int = 0
    """The event's number, 0 where it has none."""
    lane: str = ""
    """What the event is ordered by, where a subscription does."""
    closed: bool = False
    """Whether the connection was closed at once, without a byte of an answer."""
    ended: float = math.inf

    @property
    def delivery_seq(self) -> int:
        """The delivery's number in the queue."""
        return int(self.delivery_id.rpartition("_")[2])

    @property
    def is_test(self) -> bool:
        """Whether it is a sample, sent by the operator past the queue."""
        return self.delivery_id.startswith("dlv_test_")


class Act:
    """What a receiver does with a request."""

    TAKE, SLOW, LAST, FAIL, WAIT, ELSEWHERE, RESET, HANG, GARBAGE, GONE = range(10)


STATUS = {
    Act.TAKE: 200,
    Act.SLOW: 200,
    Act.LAST: 200,
    Act.FAIL: 500,
    Act.WAIT: 503,
    Act.ELSEWHERE: 302,
    Act.GONE: 410,
}

UNRULY: Mapping[int, int] = {
    Act.TAKE: 700, Act.SLOW: 30, Act.LAST: 60, Act.FAIL: 120, Act.WAIT: 3, Act.ELSEWHERE: 20,
    Act.RESET: 40, Act.HANG: 3, Act.GARBAGE: 24,
}  # fmt: skip
"""How often a receiver of no manners does what, of 1,000."""

BUSY: Mapping[int, int] = {
    Act.TAKE: 890, Act.SLOW: 20, Act.LAST: 20, Act.FAIL: 40, Act.WAIT: 2, Act.RESET: 20,
    Act.HANG: 2, Act.GARBAGE: 5, Act.GONE: 1,
}  # fmt: skip
"""What the receivers do between which the operator moves subscriptions."""


class Receiver:
    """A receiver that misbehaves by a seeded plan, and records all requests.

    `failing` is the share of plain failures; `acts` has weights of whatever it does instead.
    Each answer takes `delay_s`. `down` has it close what comes, unread; `meek` has it take
    everything, at once, from then on.
    """

    def __init__(
        self,
        secret: str,
        *,
        seed: int,
        failing: float = 0.0,
        acts: Mapping[int, int] | None = None,
        delay_s: float = 0.0,
    ) -> None:
        self.requests: list[Request] = []
        self.taken = 0
        self.down = False
        self.meek = False
        self._delay_s = delay_s
        self._secret = Secret(secret)
        self._plan = random.Random(seed)
        weights = acts or {Act.TAKE: round((1 - failing) * 1000), Act.FAIL: round(failing * 1000)}
        self._acts, self._weights = list(weights), list(weights.values())
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                if receiver.down:
                    self.close_connection = True
                    return
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.perform(*receiver.record(self.headers, body))

            def perform(self, act: int, request: Request) -> None:
                if pause_s := receiver.pause_s(act):
                    time.sleep(pause_s)
                # Before the first byte: the next request may come before this thread runs again.
                request.ended = time.monotonic()
                if act in (Act.HANG, Act.RESET):
                    self.close_connection = True
                    return
                if act == Act.GARBAGE:
                    self.wfile.write(b"220 not HTTP at all\r\n\r\n")
                    self.close_connection = True
                    return
                self.send_response(STATUS[act])
                if act == Act.WAIT:
                    self.send_header("Retry-After", "1")
                if act == Act.ELSEWHERE:
                    self.send_header("Location", "http://127.0.0.1:9/")
                if act == Act.LAST:
                    self.send_header("Connection", "close")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def verify_request(self, *_: Any) -> bool:
                return not receiver.down

            def handle_error(self, *_: Any) -> None:
                # The relay was killed with a connection open: that is the point.
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def pause_s(self, act: int) -> float:
        """Return how long to wait before an answer."""
        if act == Act.HANG:
            return HUNG_S
        return (0.0 if self.meek else self._delay_s) + (0.2 if act == Act.SLOW else 0.0)

    def record(self, headers: Any, body: bytes) -> tuple[int, Request]:
        """Write down a request, and return what to do with it."""
        at = time.monotonic()
        event = json.loads(body)
        signature_ok = verify(body, headers["X-LocallyGrown-Signature"], self._secret)
        with self._lock:
            [act] = self._plan.choices(self._acts, self._weights)
            if self.meek:
                act = Act.TAKE
            self.taken += STATUS.get(act) == 200
            request = Request(
                at=at,
                event_id=event["id"],
                delivery_id=headers["X-LocallyGrown-Delivery"],
                attempt=int(headers["X-LocallyGrown-Attempt"]),
                body_hash=hashlib.sha256(body).hexdigest(),
                signature_ok=signature_ok,
                status=STATUS.get(act, 0),
                subscription=headers.get(SUBSCRIPTION_HEADER, ""),
                sequence=int(headers.get("X-LocallyGrown-Sequence", "0")),
                lane=event["data"]["object"].get("lane", ""),
                closed=act == Act.RESET,
            )
            self.requests.append(request)
        return act, request

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@dataclass(slots=True)
class Produced:
    """What producers know: `committed` events are in the spool, or acknowledged on the socket.

    `in_doubt` were written to a socket that broke before its answer: they may be either.
    `refused` counts those that relayd, or a full disk, did not take.
    """

    committed: set[str] = field(default_factory=set)
    in_doubt: set[str] = field(default_factory=set)
    count: int = 0
    """How many of the committed ones everybody but the operator's subscriptions may want."""
    refused: int = 0
    resubmitted: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """For each row that was made to be rejected, the ids under which it was resubmitted: it becomes
    one event, under one of them."""

    def commit(self, event_ids: Iterable[str]) -> None:
        """Note that these are committed."""
        for event_id in event_ids:
            self.committed.add(event_id)
            self.count += event_id[-1] in "cdui"


class _Producer(threading.Thread):
    """Makes events by a seeded plan until `stopping` is set, and none while `held`.

    `error` is what ended it early.
    """

    def __init__(self, name: str, produced: Produced, pause_s: float, seed: int) -> None:
        super().__init__(name=name, daemon=True)
        self.stopping = threading.Event()
        self.held = False
        self.error: Exception | None = None
        self._produced = produced
        self._pause_s = pause_s
        self._plan = random.Random(seed)
        self._number = 0

    def run(self) -> None:
        try:
            self._produce()
        except Exception as error:  # noqa: BLE001 - the harness tells it
            self.error = error

    def _produce(self) -> None:
        raise NotImplementedError

    def _new_events(self, most: int) -> list[tuple[str, str, dict[str, Any]]]:
        """Return the ids, types and data of up to `most` new events."""
        letters = self._plan.choices(list(TYPES), _SHARES, k=self._plan.randint(1, most))
        events = []
        for letter in letters:
            self._number += 1
            data = {
                "object": {
                    "id": f"order_{self._number}",
                    "lane": f"lane_{self._number % LANES}",
                    "total": self._number,
                    "name": PAYLOAD,
                }
            }
            if self._plan.random() < 0.01:
                data["object"]["notes"] = "x" * self._plan.randrange(100_000)
            events.append((f"evt_{self.name}_{self._number}_{letter}", TYPES[letter], data))
        return events


class SpoolProducer(_Producer):
    """Inserts events into a spool, some in one transaction, until stopped."""

    def __init__(
        self,
        spool: Path,
        produced: Produced,
        pause_s: float,
        *,
        name: str = "spool",
        seed: int = 0,
        most: int = 1,
    ) -> None:
        super().__init__(name, produced, pause_s, seed)
        self._spool = spool
        self._most = most

    def _produce(self) -> None:
        db = sqlite3.connect(self._spool, isolation_level=None, timeout=30)
        while not self.stopping.wait(self._pause_s):
            if self.held:
                continue
            events = self._new_events(self._most)
            try:
                db.execute("BEGIN IMMEDIATE")
                db.executemany(
                    "INSERT INTO relayd_spool (id, type, data) VALUES (?, ?, ?)",
                    [(event_id, kind, json.dumps(data)) for event_id, kind, data in events],
                )
                db.execute("COMMIT")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
                    raise
                # Nothing of it is in the spool.
                if db.in_transaction:
                    db.execute("ROLLBACK")
                self._produced.refused += len(events)
                self.stopping.wait(0.2)
                continue
            self._produced.commit(event_id for event_id, _, _ in events)
        db.close()


class SocketProducer(_Producer):
    """Writes events to the socket and waits for the answers; connects anew when it breaks."""

    def __init__(
        self,
        path: Path,
        produced: Produced,
        pause_s: float,
        *,
        name: str = "socket",
        seed: int = 0,
        most: int = 1,
    ) -> None:
        super().__init__(name, produced, pause_s, seed)
        self._path = path
        self._most = most

    def _produce(self) -> None:
        while not self.stopping.is_set():
            try:
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.settimeout(30)
                    connection.connect(str(self._path))
                    answers = connection.makefile("rb")
                    while not self.stopping.wait(self._pause_s):
                        if not self.held:
                            self._hand_over(connection, answers)
            except (OSError, EOFError):
                self.stopping.wait(0.02)

    def _hand_over(self, connection: socket.socket, answers: Any) -> None:
        events = self._new_events(self._most)
        ids = [event_id for event_id, _, _ in events]
        self._produced.in_doubt.update(ids)
        lines = [
            json.dumps({"id": event_id, "type": kind, "data": data})
            for event_id, kind, data in events
        ]
        connection.sendall("".join(f"{line}\n" for line in lines).encode())
        for event_id in ids:
            line = answers.readline()
            if not line.endswith(b"\n"):
                raise EOFError
            answer = json.loads(line)
            self._produced.in_doubt.discard(event_id)
            if answer == {"ok": True, "id": event_id}:
                self._produced.commit([event_id])
                continue
            assert answer["code"] == "unavailable", answer
            self._produced.refused += 1
