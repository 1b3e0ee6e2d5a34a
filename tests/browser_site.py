"""What the browser's tests know of the site that they look at: where it is, and a receiver."""

import http.server
import json
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TOKEN = "t-0123456789abcdef"
READ = "r-0123456789abcdef"
PATIENCE_MS = 60_000


class Receiver(http.server.ThreadingHTTPServer):
    """Answers each request with its path's status, such as `/500`, and remembers it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.seen: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answer(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Receiver)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path, dict(self.headers.items()), body))
        self.send_response(int(self.path.strip("/").partition("?")[0] or 200))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Site:
    """Where the dashboard is, its configuration, and the producers' socket."""

    url: str
    config: Path
    receiver: Receiver
    wrong: list[str] = field(default_factory=list)

    def hand_over(self, kind: str, data: object) -> str:
        """Hand an event over as a producer does; return its id."""
        with socket.socket(socket.AF_UNIX) as producer:
            producer.connect(str(self.config.parent / "in.sock"))
            producer.sendall(json.dumps({"type": kind, "data": data}).encode() + b"\n")
            answer = json.loads(producer.makefile().readline())
        assert answer["ok"], answer
        return str(answer["id"])

    def relayd(self, *arguments: str) -> str:
        """Run a command, which must succeed; return what it prints."""
        return subprocess.run(
            [sys.executable, "-m", "relayd", *arguments, "--config", str(self.config)],
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        ).stdout


def log_in(page: Any, site: Site, token: str) -> None:
    """Log in, and see the overview."""
    page.goto(site.url)
    page.fill("input[name=token]", token)
    page.click("button.main")
    page.wait_for_selector("nav")
