"""The pages' receivers: they take what relayd sends, and survive what anybody may send."""

import hashlib
import hmac
import http.client
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
from processes import command, running, write_config
from snippets import (
    LIBRARIES,
    PYTHON,
    needs,
    needs_library,
    program_environment,
    served,
    snippets,
    unused_port,
)

SECRET, OLD_SECRET = "0b5d0c53a3f9e7d2", "6c1d5a0e9b8f7a64"
RECEIVERS = sorted(name for name in snippets() if name.startswith("receiver"))

_DJANGO = """
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIServer, make_server
from django.conf import settings
from django.urls import path
settings.configure(ROOT_URLCONF=__name__, DEBUG=False, ALLOWED_HOSTS=["*"],
                   MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware"])
import webhooks
urlpatterns = [path("webhooks", webhooks.webhook)]
from django.core.wsgi import get_wsgi_application
class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
make_server("127.0.0.1", {port}, get_wsgi_application(), Server).serve_forever()
"""
_TRANSPILE = """
const typescript = require("typescript");
const options = { module: "commonjs", target: "es2022", experimentalDecorators: true,
                  emitDecoratorMetadata: true, esModuleInterop: true };
const code = require("fs").readFileSync("receiver_nest.ts", "utf8");
const done = typescript.transpileModule(code, { compilerOptions: options, reportDiagnostics: true });
if (done.diagnostics.length) throw new Error(JSON.stringify(done.diagnostics[0].messageText));
require("fs").writeFileSync("receiver_nest.js", done.outputText);
"""


def node(folder: Path, name: str, _port: int) -> list[str]:
    needs("node")
    return ["node", str(folder / name)]


def express(folder: Path, name: str, port: int) -> list[str]:
    needs_library("express", "node", "-e", 'require("express")')
    return node(folder, name, port)


def nest(folder: Path, name: str, port: int) -> list[str]:
    needs_library("NestJS", "node", "-e", 'require("@nestjs/core"); require("typescript")')
    subprocess.run(
        ["node", "-e", _TRANSPILE], cwd=folder, env=program_environment(), check=True, timeout=60
    )
    return node(folder, name.replace(".ts", ".js"), port)


def python(folder: Path, name: str, _port: int) -> list[str]:
    return ["python3", str(folder / name)]


def flask(folder: Path, name: str, _port: int) -> list[str]:
    needs_library("Flask", PYTHON, "-c", "import flask")
    return [str(PYTHON), str(folder / name)]


def django(folder: Path, name: str, port: int) -> list[str]:
    needs_library("Django", PYTHON, "-c", "import django")
    (folder / name).rename(folder / "webhooks.py")
    (folder / "serve.py").write_text(_DJANGO.format(port=port))
    return [str(PYTHON), str(folder / "serve.py")]


def php(folder: Path, name: str, port: int) -> list[str]:
    needs("php")
    return ["php", "-S", f"127.0.0.1:{port}", str(folder / name)]


def rack(folder: Path, name: str, port: int) -> list[str]:
    needs_library("Rack", "ruby", "-e", 'require "rack"; require "webrick"')
    needs("rackup")
    return ["rackup", "-s", "webrick", "-o", "127.0.0.1", "-p", str(port), str(folder / name)]


def go(folder: Path, name: str, _port: int) -> list[str]:
    needs_library("Go", "go", "version")
    built = folder / "receiver"
    environment = program_environment({"CGO_ENABLED": "0"})
    subprocess.run(
        ["go", "build", "-o", built, folder / name], check=True, timeout=300, env=environment
    )
    return [str(built)]


COMMANDS: dict[str, Callable[[Path, str, int], list[str]]] = {
    "receiver.js": node,
    "receiver_express.js": express,
    "receiver_nest.ts": nest,
    "receiver.py": python,
    "receiver_flask.py": flask,
    "receiver_django.py": django,
    "receiver.php": php,
    "receiver.ru": rack,
    "receiver.go": go,
}
EACH = pytest.mark.parametrize("name", RECEIVERS)
ANSWERS_LATER = {"receiver.php"}
"""Without a secret, this one answers 500: it does not run between requests."""


def prepared(folder: Path, name: str, port: int) -> list[str]:
    (folder / name).write_text(snippets()[name].replace("8080", str(port)))
    return COMMANDS[name](folder, name, port)


@dataclass
class Receiver:
    """A running receiver of the pages."""

    process: trio.Process
    port: int
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/webhooks"

    @property
    def printed(self) -> str:
        return (self.folder / "printed.txt").read_text(errors="replace")

    async def post(self, body: bytes, signature: str | bytes | None) -> int:
        return await self.request("POST", body, signature)

    async def request(
        self, method: str, body: bytes = b"", signature: str | bytes | None = None
    ) -> int:
        """Return the status, or 0 where the connection was closed instead: a refusal too."""
        return await trio.to_thread.run_sync(self._request, method, body, signature)

    def _request(self, method: str, body: bytes, signature: str | bytes | None) -> int:
        headers: dict[str, str | bytes] = {"Content-Type": "application/json"}
        if signature is not None:
            given = signature.encode() if isinstance(signature, str) else signature
            headers["X-LocallyGrown-Signature"] = given
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            try:
                connection.request(method, "/webhooks", body, headers)
                return connection.getresponse().status
            except (ConnectionError, http.client.HTTPException):
                return 0


@asynccontextmanager
async def receiving(folder: Path, name: str, secret: str = SECRET) -> AsyncIterator[Receiver]:
    port = unused_port()
    arguments = prepared(folder, name, port)
    async with served(arguments, port, folder, {"WEBHOOK_SECRET": secret}) as process:
        yield Receiver(process, port, folder)


def signed(body: bytes, secret: str = SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def body_of(event_id: str, note: str = "") -> bytes:
    event = {
        "id": event_id,
        "type": "order.created",
        "created": 1640995200,
        "data": {"object": {"id": f"order_{event_id}", "note": note}},
        "market_id": "market_123",
        "api_version": "2024-01-01",
    }
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()


def test_each_receiver_is_run() -> None:
    assert sorted(COMMANDS) == RECEIVERS


@EACH
async def test_a_receiver_takes_what_relayd_sends_and_up_to_a_mebibyte(
    tmp_path: Path, name: str
) -> None:
    async with receiving(tmp_path, name) as receiver:
        subscriptions = {"books": {"url": receiver.url, "secret": SECRET, "rate_limit": "6000/min"}}
        config = write_config(tmp_path, subscriptions)
        await command("spool", "create", str(tmp_path / "spool.db"))
        async with running(config) as relayd:
            await command("emit", "order.created", "--sample", config=config)
            # Text that Python, PHP and Go write otherwise: an escape, a slash, a float, an emoji.
            odd = {"object": {"z": 1, "a": "</b> é 🥕 \u2028", "n": 1e21, "f": 4250.5}}
            await command("emit", "order.updated", "--data", json.dumps(odd), config=config)
            large = {"object": {"id": "order_1", "note": "x" * 1_000_000}}
            text = json.dumps(large)
            await command("emit", "order.completed", "--file", "-", config=config, stdin=text)
            with trio.fail_after(30):
                while len(relayd.events("attempt_succeeded")) < 3:
                    assert not relayd.events("attempt_failed"), relayd.events("attempt_failed")
                    await trio.sleep(0.02)
        for event_type in ("order.created", "order.updated", "order.completed"):
            assert event_type in receiver.printed


@EACH
async def test_a_receiver_survives_any_request(tmp_path: Path, name: str) -> None:
    good = body_of("evt_good")
    async with receiving(tmp_path, name) as receiver:
        refused = {400, 401, 403, 405, 411, 413, 415}
        for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS"):
            status = await receiver.request(method)
            assert status // 100 != 2 or method == "OPTIONS", (method, status)
        junk = [b"", b"{}", b"null", b"[", b"\xff\xfe\x00", b'{"id":' * 10_000, good[:-1], good]
        signatures: list[str | bytes | None] = [
            None,
            "",
            "sha256=",
            "sha256=" + "0" * 64,
            ("sha256=" + "0" * 63 + "é").encode("latin-1"),
            ("sha256=" + "é" * 32).encode(),
            b"sha256=" + b"\xe9" * 64,
            b"\xff" * 71,
            "sha1=" + "0" * 40,
            signed(good, "another secret"),
            signed(b""),
            signed(good)[:-1],
            signed(good).upper(),
            signed(good) + "0",
        ]
        for body in junk:
            for signature in signatures:
                if signature == signed(body):
                    continue
                status = await receiver.post(body, signature)
                assert status in refused, (body[:20], signature, status)
        # Signed, and nevertheless junk.
        for body in (b"null", b"[]", b'"x"', b"{}", b"not JSON", b"\xff"):
            await receiver.post(body, signed(body))
        assert await receiver.post(b"x" * 3_000_000, signed(good)) in {0, *refused}
        await _speak_badly(receiver.port)
        assert receiver.process.returncode is None, receiver.printed
        assert "order_evt_good" not in receiver.printed
        assert await receiver.post(good, signed(good)) == 204
        assert await receiver.post(good, signed(good)) == 204
        with trio.fail_after(5):
            while "order_evt_good" not in receiver.printed:
                await trio.sleep(0.02)


async def _speak_badly(port: int) -> None:
    """Send what is not HTTP, a length that is none, and requests that end or stop in the middle."""
    head = b"POST /webhooks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    streams: list[trio.SocketStream] = []
    for sent in (
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"\r\n\r\n",
        b"POST /webhooks HTTP/1.1\r\n",
        head + b"Content-Length: -1\r\n\r\n",
        head + b"Content-Length: x\r\n\r\n",
        head + b"Content-Length: 99999999999999999999\r\n\r\n",
        head + b"Content-Length: 100\r\n\r\n{",
        head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        head + b"X-LocallyGrown-Signature: \xff\xfe\r\nContent-Length: 2\r\n\r\n{}",
    ):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(sent)
        if len(streams) % 2:
            await stream.aclose()
        streams.append(stream)
    await trio.sleep(0.2)
    for stream in streams:
        await stream.aclose()


@EACH
async def test_a_receiver_skips_what_it_has_seen(tmp_path: Path, name: str) -> None:
    if name in ANSWERS_LATER:
        pytest.skip("PHP runs once for each request: its memory is your database")
    body = body_of("evt_twice")
    async with receiving(tmp_path, name) as receiver:
        for _ in range(2):
            assert await receiver.post(body, signed(body)) == 204
        last = body_of("evt_last")
        assert await receiver.post(last, signed(last)) == 204
        with trio.fail_after(5):
            while "order_evt_last" not in receiver.printed:
                await trio.sleep(0.02)
        assert receiver.printed.count("order_evt_twice") == 1


@EACH
async def test_a_receiver_accepts_two_secrets_while_one_changes(tmp_path: Path, name: str) -> None:
    async with receiving(tmp_path, name, f"{SECRET} {OLD_SECRET}") as receiver:
        for secret, status in ((SECRET, 204), (OLD_SECRET, 204), ("another", 401), ("", 401)):
            body = body_of(f"evt_{secret}")
            assert await receiver.post(body, signed(body, secret)) == status, secret
        both = body_of("evt_both")
        assert await receiver.post(both, signed(both, f"{SECRET} {OLD_SECRET}")) == 401


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("receiver_express.js", '    limit: "2mb",\n'),
        ("receiver_nest.ts", '  app.useBodyParser("json", { limit: "2mb" });\n'),
    ],
)
async def test_without_the_pages_limit_100_kb_are_refused(
    tmp_path: Path, name: str, line: str
) -> None:
    code = snippets()[name]
    assert line in code
    port = unused_port()
    (tmp_path / name).write_text(code.replace(line, "").replace("8080", str(port)))
    arguments = COMMANDS[name](tmp_path, name, port)
    async with served(arguments, port, tmp_path, {"WEBHOOK_SECRET": SECRET}) as process:
        receiver = Receiver(process, port, tmp_path)
        for length, status in ((100_000, 204), (110_000, 413)):
            body = body_of(f"evt_{length}", "x" * length)
            assert await receiver.post(body, signed(body)) == status


async def test_a_secret_changes_as_the_page_says(tmp_path: Path) -> None:
    new = "7f3a9c5e1b2d4f60"
    name = "receiver.py"
    secret_file = tmp_path / "secret"
    secret_file.write_text(SECRET)
    secret_file.chmod(0o400)
    async with receiving(tmp_path, name, f"{new} {SECRET}") as receiver:
        subscription = {"url": receiver.url, "secret": {"file": str(secret_file)}}
        config = write_config(tmp_path, {"books": subscription})
        await command("spool", "create", str(tmp_path / "spool.db"))
        async with running(config) as relayd:
            await command("emit", "order.created", "--sample", config=config)
            with trio.fail_after(20):
                await relayd.logged("attempt_succeeded")
            secret_file.chmod(0o600)
            secret_file.write_text(new)
            secret_file.chmod(0o400)
            await command("check", config=config)
            await command("reload", config=config)
            assert "204" in await command("test", "books", config=config)
            await command("emit", "order.updated", "--sample", config=config)
            with trio.fail_after(20):
                while len(relayd.events("attempt_succeeded")) < 2:
                    await trio.sleep(0.02)
            assert not relayd.events("attempt_failed")
    # The last step: the new one alone.
    async with receiving(tmp_path, name, new) as receiver:
        body = body_of("evt_1")
        assert await receiver.post(body, signed(body, new)) == 204
        assert await receiver.post(body, signed(body, SECRET)) == 401


@EACH
async def test_a_receiver_does_not_start_without_a_secret(tmp_path: Path, name: str) -> None:
    port = unused_port()
    arguments = prepared(tmp_path, name, port)
    if name in ANSWERS_LATER:
        async with served(arguments, port, tmp_path, {}) as process:
            receiver = Receiver(process, port, tmp_path)
            body = body_of("evt_1")
            assert await receiver.post(body, signed(body, "")) == 500
            assert "order_evt_1" not in receiver.printed
        return
    for environment in ({}, {"WEBHOOK_SECRET": " "}):
        with trio.fail_after(60):
            done = await trio.run_process(
                arguments,
                cwd=tmp_path,
                env=program_environment(environment),
                check=False,
                capture_stdout=True,
                capture_stderr=True,
            )
        assert done.returncode != 0
        assert b"WEBHOOK_SECRET is not set" in done.stdout + done.stderr


def test_libraries_are_looked_for_where_they_are_installed() -> None:
    if not LIBRARIES.exists():
        pytest.skip("`make snippets` installs them")
    assert shutil.which(PYTHON), "a virtual environment"
    assert (LIBRARIES / "node_modules" / "express").is_dir()
