"""Both ends of a relay under torture: producers and a receiver that write down what they saw."""

import hashlib
import json
import random
import socket
import sqlite3
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from relayd.core.secret import Secret
from relayd.core.signature import verify


@dataclass(frozen=True, slots=True)
class Request:
    """One complete request, as the receiver saw it. `at` is a monotonic time in seconds."""

    at: float
    event_id: str
    delivery_id: str
    attempt: int
    body_hash: str
    signature_ok: bool
    status: int


class Receiver:
    """A receiver that fails a share of its requests by a seeded plan, and records all of them."""

    def __init__(self, secret: str, *, seed: int, failing: float) -> None:
        self.requests: list[Request] = []
        self._secret = Secret(secret)
        self._plan = random.Random(seed)
        self._failing = failing
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = receiver.record(self.headers, body)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *_: Any) -> None:
                # The relay was killed with a connection open: that is the point.
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def record(self, headers: Any, body: bytes) -> int:
        with self._lock:
            status = 500 if self._plan.random() < self._failing else 200
            self.requests.append(
                Request(
                    at=time.monotonic(),
                    event_id=json.loads(body)["id"],
                    delivery_id=headers["X-LocallyGrown-Delivery"],
                    attempt=int(headers["X-LocallyGrown-Attempt"]),
                    body_hash=hashlib.sha256(body).hexdigest(),
                    signature_ok=verify(body, headers["X-LocallyGrown-Signature"], self._secret),
                    status=status,
                )
            )
        return status

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@dataclass(slots=True)
class Produced:
    """What producers know: `committed` events are in the spool, or acknowledged on the socket.

    `in_doubt` were written to a socket that broke before its answer: they may be either.
    """

    committed: set[str] = field(default_factory=set)
    in_doubt: set[str] = field(default_factory=set)


def _data(number: int) -> dict[str, Any]:
    return {"object": {"id": f"order_{number}", "total": number, "name": "Tomatoes, größer ☂"}}


class SpoolProducer(threading.Thread):
    """Inserts events into the spool, one transaction each, until stopped."""

    def __init__(self, spool: Path, produced: Produced, pause_s: float) -> None:
        super().__init__()
        self._spool = spool
        self._produced = produced
        self._pause_s = pause_s
        self.stopping = threading.Event()

    def run(self) -> None:
        db = sqlite3.connect(self._spool, isolation_level=None, timeout=30)
        number = 0
        while not self.stopping.wait(self._pause_s):
            number += 1
            [(event_id,)] = db.execute(
                "INSERT INTO relayd_spool (type, data) VALUES ('order.created', ?) RETURNING id",
                (json.dumps(_data(number)),),
            ).fetchall()
            self._produced.committed.add(event_id)
        db.close()


class SocketProducer(threading.Thread):
    """Writes events to the socket and waits for each answer; connects anew when it breaks."""

    def __init__(self, path: Path, produced: Produced, pause_s: float) -> None:
        super().__init__()
        self._path = path
        self._produced = produced
        self._pause_s = pause_s
        self.stopping = threading.Event()

    def run(self) -> None:
        number = 0
        while not self.stopping.is_set():
            try:
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.settimeout(30)
                    connection.connect(str(self._path))
                    answers = connection.makefile("rb")
                    while not self.stopping.wait(self._pause_s):
                        number += 1
                        self._hand_over(connection, answers, number)
            except (OSError, EOFError):
                self.stopping.wait(0.02)

    def _hand_over(self, connection: socket.socket, answers: Any, number: int) -> None:
        event_id = f"evt_socket_{number}"
        event = {"id": event_id, "type": "order.created", "data": _data(number)}
        self._produced.in_doubt.add(event_id)
        connection.sendall(json.dumps(event).encode() + b"\n")
        line = answers.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        assert json.loads(line) == {"ok": True, "id": event_id}, line
        self._produced.committed.add(event_id)
        self._produced.in_doubt.discard(event_id)
