"""The dashboard in a real browser: Debian's Chromium, by Playwright (pip install playwright).

What axe-core finds is looked at where axe-playwright-python is installed, too.
"""

import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")

TOKEN = "t-0123456789abcdef"
PAGES = ("/", "/deliveries", "/events", "/problems", "/configuration")
HOSTILE = "<img src=x onerror=alert(1)><script>alert(1)</script>\u202e"


class Receiver(http.server.BaseHTTPRequestHandler):
    """Fails each request."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(500)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def _port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Run a daemon with its web process; return its address, and the producers' socket."""
    folder = tmp_path_factory.mktemp("site")
    receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    port = _port()
    config = folder / "config.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "market_id": "market_123",
                "socket": {"path": str(folder / "in.sock")},
                "queue": {"path": str(folder / "queue.db")},
                "allow_networks": ["127.0.0.0/8"],
                "http": {"listen": f"127.0.0.1:{port}", "token": TOKEN},
                "subscriptions": {
                    "books": {
                        "url": f"http://127.0.0.1:{receiver.server_port}/",
                        "events": "*",
                        "secret": "a-secret-of-books-0123456789",
                    }
                },
            }
        )
    )
    environ = {**os.environ, "PYTHONUNBUFFERED": "1"}
    running = []
    for what, needed in (("run", "queue.db.web"), ("web", None)):
        running.append(
            subprocess.Popen(
                [sys.executable, "-m", "relayd", what, "--config", str(config)],
                env=environ,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
        until = time.monotonic() + 30
        while time.monotonic() < until:
            if needed is None:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
            elif (folder / needed).exists():
                break
            time.sleep(0.1)
    try:
        yield f"http://127.0.0.1:{port}", folder / "in.sock"
    finally:
        for each in reversed(running):
            each.terminate()
            each.wait(30)
        receiver.shutdown()
        receiver.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, site: tuple[str, Path]) -> Iterator[Any]:
    """A page of somebody who is logged in; at the end nothing may have gone wrong on it."""
    context = browser.new_context(viewport={"width": 390, "height": 844})
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("dialog", lambda dialog: wrong.append(f"a dialog: {dialog.message}"))
    opened.on(
        "console",
        lambda message: wrong.append(message.text) if message.type == "error" else None,
    )
    opened.goto(site[0])
    opened.fill("input[name=token]", TOKEN)
    opened.click("button.main")
    yield opened
    context.close()
    assert not wrong


def hand_over(path: Path, identifier: str) -> str:
    with socket.socket(socket.AF_UNIX) as producer:
        producer.connect(str(path))
        event = {"type": "order.created", "data": {"object": {"id": identifier, HOSTILE: HOSTILE}}}
        producer.sendall(json.dumps(event).encode() + b"\n")
        answer = json.loads(producer.makefile().readline())
    assert answer["ok"]
    return str(answer["id"])


def test_each_page_fits_a_phone_and_breaks_no_policy(page: Any, site: tuple[str, Path]) -> None:
    hand_over(site[1], HOSTILE)
    for path in PAGES:
        page.goto(site[0] + path)
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(wide) <= 0, path
        assert page.locator("h1").count() == 1


def test_an_event_that_comes_in_is_shown_without_a_click(page: Any, site: tuple[str, Path]) -> None:
    page.goto(f"{site[0]}/events")
    event = hand_over(site[1], "order_live")
    page.wait_for_selector(f"text={event}", timeout=15_000)
    page.click(f"th:has-text('{event}') a")
    page.wait_for_selector("text=What each subscription did")
    page.click("#subscriptions a")
    page.wait_for_selector("text=Attempt 1: 500", timeout=15_000)


def test_the_keyboard_reaches_the_content_first(page: Any, site: tuple[str, Path]) -> None:
    page.goto(site[0])
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(page: Any, site: tuple[str, Path], scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not there")
    hand_over(site[1], "order_axe")
    page.emulate_media(color_scheme=scheme)
    page.goto(f"{site[0]}/deliveries")
    one = page.locator("tbody a").first.get_attribute("href")
    for path in (*PAGES, one):
        page.goto(site[0] + path)
        found = axe.Axe().run(page).response["violations"]
        serious = [
            (path, each["id"], [node["target"] for node in each["nodes"]])
            for each in found
            if each["impact"] in {"serious", "critical"}
        ]
        assert not serious
