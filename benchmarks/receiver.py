"""The receiver: Debian's nginx on 127.0.0.1, which answers 204 and notes when each event arrived.

nginx reads the body only for a handler that wants it. `mirror` does, and costs the least; what it
mirrors to answers at once. `empty_gif` refuses a POST with 405, which becomes the 204.
"""

import bisect
import os
import re
import resource
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from benchmarks.errors import RefusedError
from benchmarks.processes import Program, run_whole

_CONFIG = """\
daemon off;
{user}
worker_processes 1;
worker_rlimit_nofile {open_files};
pid {folder}/nginx.pid;
error_log {folder}/nginx-errors.log warn;
events {{ worker_connections 16384; }}
http {{
  map $request_body $event_id {{ default "-"; "~^.\\"id\\":\\"(?<found>[^\\"]+)\\"" $found; }}
  log_format arrivals '$msec $event_id $uri';
  access_log {folder}/arrivals.log arrivals buffer=64k flush=10ms;
  keepalive_requests 1000000000;
  keepalive_timeout 65s;
  client_body_buffer_size 1100k;
  client_max_body_size 2m;
  client_body_temp_path {folder}/bodies;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} backlog=16384;
    location / {{ mirror /nowhere; empty_gif; error_page 405 =204 @taken; }}
    location @taken {{ return 204; }}
    location = /nowhere {{ internal; return 204; }}
  }}
}}
"""

_CLOCK_STEP_S = 0.0005
"""nginx's clock counts whole milliseconds and rounds down: on average so much is lost."""

_WRK = """\
wrk.method = "POST"
wrk.body = '{body}'
wrk.headers["Content-Type"] = "application/json"
"""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that came. `at` is in Unix seconds, `path` that of its URL."""

    event_id: str
    at: float
    path: str


class Arrivals:
    """What arrives from a moment on."""

    def __init__(self, log: Path) -> None:
        self._log = log.open("rb")
        self._log.seek(0, os.SEEK_END)
        self._read: list[bytes] = []
        self.count = 0

    def look(self) -> int:
        """Return how many requests came so far; nginx writes them down within 10 ms."""
        chunk = self._log.read()
        if chunk:
            self._read.append(chunk)
            self.count += chunk.count(b"\n")
        return self.count

    def all(self) -> list[Arrival]:
        """Return what came so far, in order of time."""
        self.look()
        lines = (line.split(" ") for line in b"".join(self._read).decode().splitlines())
        found = [Arrival(words[1], float(words[0]) + _CLOCK_STEP_S, words[2]) for words in lines]
        return sorted(found, key=lambda arrival: arrival.at)

    def wait(
        self,
        count: int,
        *,
        timeout_s: float,
        check: Callable[[], object] = lambda: None,
        every_s: float = 0.01,
    ) -> None:
        """Wait for so many requests. `check` is called now and then, and may raise."""
        until = time.monotonic() + timeout_s
        while self.look() < count:
            check()
            if time.monotonic() > until:
                raise RefusedError(f"only {self.count} of {count} came within {timeout_s:g} s")
            time.sleep(every_s)

    def first_times(self, ids: Iterable[str]) -> dict[str, float]:
        """Return when each of these events arrived first. Refuses to go on when one did not."""
        arrived: dict[str, float] = {}
        for arrival in self.all():
            arrived.setdefault(arrival.event_id, arrival.at)
        wanted = list(ids)
        lost = [event_id for event_id in wanted if event_id not in arrived]
        if lost:
            raise RefusedError(f"{len(lost)} of {len(wanted)} events never arrived")
        return {event_id: arrived[event_id] for event_id in wanted}

    def close(self) -> None:
        """Stop looking."""
        self._log.close()


class Receiver:
    """A running nginx. `url` leads to it, with any path behind."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        config = folder / "nginx.conf"
        config.write_text(
            _CONFIG.format(
                folder=folder,
                port=self.port,
                open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
                user="user root;" if os.geteuid() == 0 else "",
            )
        )
        self._log = folder / "arrivals.log"
        self._program = Program(
            ["nginx", "-c", str(config), "-e", f"{folder}/nginx-errors.log"],
            log=folder / "nginx.log",
        )
        self._wait_until_open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._program.stop()

    def arrivals(self) -> Arrivals:
        """Begin to note what arrives from now on."""
        time.sleep(0.05)  # What came before is written down by then.
        return Arrivals(self._log)

    def ceiling(self, body: str, seconds: int) -> float:
        """Return how many such requests a second wrk gets through, on 64 connections."""
        script = self._folder / "wrk.lua"
        script.write_text(_WRK.format(body=body.replace("'", "\\'")))
        arguments = ["wrk", "-t1", "-c64", f"-d{seconds}s", "-s", str(script), f"{self.url}/"]
        printed = run_whole(arguments, timeout_s=seconds + 10)
        found = re.search(r"Requests/sec:\s+([\d.]+)", printed)
        if found is None or "Non-2xx" in printed:
            raise RefusedError(f"wrk: {printed}")
        return float(found[1])

    def _wait_until_open(self) -> None:
        until = time.monotonic() + 10
        while True:
            self._program.check()
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if time.monotonic() > until:
                raise RefusedError(f"nginx does not listen: {self._program.last_lines()}")
            time.sleep(0.01)


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def busiest(times: list[float], window_s: float) -> int:
    """Return the most of these ordered moments that lie within any window of that length."""
    return max(
        (bisect.bisect_left(times, at + window_s) - index for index, at in enumerate(times)),
        default=0,
    )
