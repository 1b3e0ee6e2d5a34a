"""A daemon with its web process, and Debian's Chromium by Playwright (pip install playwright)."""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from browser_site import PATIENCE_MS, READ, TOKEN, Receiver, Site, log_in

CHROMIUM = shutil.which("chromium")


def _port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Run a daemon with its web process."""
    folder = tmp_path_factory.mktemp("site")
    receiver = Receiver()
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    port = _port()
    (folder / "subs.d").mkdir(mode=0o700)
    config = folder / "config.yaml"
    subscription = {"events": "*", "secret": "a-secret-of-books-0123456789"}
    config.write_text(
        yaml.safe_dump(
            {
                "market_id": "market_123",
                "include": "subs.d/*.yaml",
                "socket": {"path": str(folder / "in.sock")},
                "queue": {"path": str(folder / "queue.db")},
                "allow_networks": ["127.0.0.0/8"],
                "http": {"listen": f"127.0.0.1:{port}", "token": TOKEN, "read_token": READ},
                "subscriptions": {"books": {"url": f"{receiver.url}/500", **subscription}},
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
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if needed is None:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
            elif (folder / needed).exists():
                break
            time.sleep(0.1)
    try:
        yield Site(f"http://127.0.0.1:{port}", config, receiver)
    finally:
        for each in reversed(running):
            each.terminate()
            each.wait(30)
        receiver.shutdown()
        receiver.server_close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium; skips without it, or without Playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no chromium")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, site: Site) -> Iterator[Any]:
    """A page of somebody who is logged in; at the end nothing may have gone wrong on it."""
    context = browser.new_context(viewport={"width": 390, "height": 844})
    context.set_default_timeout(PATIENCE_MS)
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("dialog", lambda dialog: wrong.append(f"a dialog: {dialog.message}"))
    opened.on(
        "console",
        lambda message: wrong.append(message.text) if message.type == "error" else None,
    )
    log_in(opened, site, TOKEN)
    yield opened
    context.close()
    assert not wrong
