"""`sign --as` and `emit --as`: requests as a provider of inbound webhooks makes them."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import stripe
from click.testing import CliRunner, Result
from processes import write_config
from providers import MAILGUN_KEY, SECRET

from relayd.cli import cli
from relayd.config.load import load_config
from relayd.core.inbound.entry import Inbound
from relayd.core.inbound.receive import receive
from relayd.core.inbound.verdict import Verified

EVENT = '{"id":"evt_1","type":"charge.refunded","livemode":true,"data":{"object":{"id":"ch_1"}}}'


def run(*arguments: str, body: str = "", status: int = 0) -> Result:
    result = CliRunner().invoke(cli, list(arguments), input=body)
    assert result.exit_code == status, result.output
    return result


def configured(folder: Path, port: int = 8787) -> Path:
    scheme = {
        "header": "X-Signature",
        "signed": "{timestamp}.{body}",
        "timestamp": "X-Time",
        "id": {"header": "X-Id"},
        "type": {"path": "kind"},
    }
    return write_config(
        folder,
        http={"listen": f"127.0.0.1:{port}", "token": "none"},
        inbound={
            "stripe": {"provider": "stripe", "secret": SECRET},
            "mg": {"provider": "mailgun", "secret": MAILGUN_KEY},
            "clerk": {"provider": "standard", "secret": SECRET},
            "users": {"provider": "standard", "secret": SECRET},
            "shop": {"provider": "hmac", "secret": "s0123456789abcdef", "scheme": scheme},
        },
    )


def entry_of(config: Path, name: str) -> Inbound:
    return load_config(config, environ=os.environ).inbound[name]


def raw(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


# -- sign ----------------------------------------------------------------------------------------------


def test_sign_as_stripe_is_what_the_stripe_package_accepts() -> None:
    result = run("sign", "--as", "stripe", "--secret", SECRET, body=EVENT)
    name, _, value = result.stdout.strip().partition(": ")
    assert name == "Stripe-Signature"
    assert stripe.Webhook.construct_event(EVENT, value, SECRET)["id"] == "evt_1"


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("stripe", EVENT),
        ("clerk", '{"type":"user.created","data":{}}'),
        ("shop", '{"kind":"order.created"}'),
    ],
)
def test_sign_as_an_entry_has_its_secret_and_scheme(tmp_path: Path, name: str, body: str) -> None:
    config = configured(tmp_path)
    arguments = ["sign", "--as", name, "--id", "e1", "--json", "--config", str(config)]
    headers = json.loads(run(*arguments, body=body).stdout)["headers"]
    came = receive(entry_of(config, name), raw(headers), body.encode(), now=time.time())
    assert isinstance(came, Verified), came


def test_sign_as_mailgun_prints_the_body(tmp_path: Path) -> None:
    config = configured(tmp_path)
    event = '{"event":"opened","id":"e1"}'
    for body in (event, f'{{"event-data":{event}}}'):
        printed = run("sign", "--as", "mailgun", "--config", str(config), body=body).stdout
        came = receive(entry_of(config, "mg"), [], printed.strip().encode(), now=time.time())
        assert isinstance(came, Verified), came
        assert came.type == "email.opened"
    run("sign", "--as", "mailgun", "--secret", MAILGUN_KEY, body="[]", status=1)


@pytest.mark.parametrize(
    ("arguments", "words", "status"),
    [
        (["--as", "paypal"], "there is no entry 'paypal'", 1),
        (["--as", "standard"], "several entries are of standard; name one of clerk, users", 2),
        (["--as", "stripe", "--scheme", "header"], "leave out --scheme", 2),
        (["--as", "standard", "--secret", "no-whsec-at-all-here"], "takes whsec_ and base64", 1),
        (["--as", "shop", "--id", "€"], "write printable ASCII", 2),
    ],
)
def test_what_sign_refuses(tmp_path: Path, arguments: list[str], words: str, status: int) -> None:
    config = configured(tmp_path)
    result = run("sign", *arguments, "--config", str(config), body=EVENT, status=status)
    assert words in result.stderr


# -- emit ----------------------------------------------------------------------------------------------


@contextmanager
def answering(answer: Callable[[str, Any, bytes], tuple[int, Any]]) -> Iterator[int]:
    """Answer requests at a free port as `answer` does of path, headers and body; yield the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = [(name.encode(), value.encode()) for name, value in self.headers.items()]
            status, document = answer(self.path, headers, body)
            text = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("name", "kind", "entry", "ours"),
    [
        ("stripe", "payment_intent.succeeded", "stripe", "payment.succeeded"),
        ("stripe", "payment.failed", "stripe", "payment.failed"),
        ("mailgun", "email.bounced", "mg", "email.bounced"),
        ("mg", "failed.temporary", "mg", "email.delayed"),
        ("users", "user.created", "users", "users.user.created"),
        ("shop", "order.created", "shop", "shop.order.created"),
    ],
)
def test_emit_sends_what_the_entry_takes(
    tmp_path: Path, name: str, kind: str, entry: str, ours: str
) -> None:
    came: list[Verified] = []

    def take(path: str, headers: Any, body: bytes) -> tuple[int, Any]:
        verdict = receive(
            entry_of(config, path.removeprefix("/in/")), headers, body, now=time.time()
        )
        assert isinstance(verdict, Verified), verdict
        came.append(verdict)
        assert path == f"/in/{entry}"
        return 200, {"id": verdict.event_id}

    with answering(take) as port:
        config = configured(tmp_path, port)
        arguments = ["emit", kind, "--as", name, "--count", "2", "--config", str(config)]
        result = run(*arguments)
        run(*arguments[:-4], "--object", '{"id":"x1"}', "--id", "mine-1", "--config", str(config))
    assert [each.type for each in came] == [ours] * 3
    assert result.stdout.split() == [each.event_id for each in came[:2]]
    assert len({each.of.key for each in came}) == 3
    assert came[2].event_id == "mine-1"
    data = json.loads(came[2].line)["data"]["object"]
    assert data["id"] == ("mine-1" if entry == "mg" else "x1")


@pytest.mark.parametrize(
    ("answered", "words"),
    [
        ((401, {"title": "wrong_signature"}), "answered 401: wrong_signature"),
        ((500, ["a"]), "answered 500: no reason was given; the log of `relayd web` has the reason"),
        (
            (404, {"detail": "there is no such entry"}),
            "`relayd check` shows the path of each entry",
        ),
        ((503, {}), "`relayd status` says whether the daemon runs"),
        ((200, {"rejected": True}), "`relayd rejected list` has it"),
    ],
)
def test_emit_says_what_was_answered(tmp_path: Path, answered: tuple[int, Any], words: str) -> None:
    with answering(lambda *_: answered) as port:
        config = configured(tmp_path, port)
        result = run("emit", "ping", "--as", "stripe", "--config", str(config), status=1)
    assert words in result.stderr


def test_emit_to_where_nobody_speaks_tls(tmp_path: Path) -> None:
    with answering(lambda *_: (200, {})) as port:
        url = f"https://127.0.0.1:{port}/in/stripe"
        config = configured(tmp_path)
        result = run(
            "emit", "ping", "--as", "stripe", "--to", url, "--config", str(config), status=1
        )
    assert "no TLS can be made with it" in result.stderr
    assert "does it speak plain http://?" in result.stderr


def test_emit_elsewhere_and_duplicates(tmp_path: Path) -> None:
    paths = []

    def take(path: str, _: Any, __: bytes) -> tuple[int, Any]:
        paths.append(path)
        return 200, {"id": "evt_1", "duplicate": True}

    with answering(take) as port:
        url = f"http://127.0.0.1:{port}/hooks/stripe"
        result = run(
            "emit", "ping", "--as", "stripe", "--to", url, "--config", str(configured(tmp_path))
        )
    assert paths == ["/hooks/stripe"]
    assert "accepted before" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words", "status"),
    [
        (["--as", "stripe", "--via", "socket"], "leave out --via", 2),
        (["--to", "http://127.0.0.1/", "--sample"], "--to needs --as", 2),
        (["--as", "stripe", "--data", '{"a":1}'], "--object takes the object alone", 1),
        (["--as", "stripe", "--to", "nowhere"], "write --to as https://HOST/in/NAME", 1),
        (["--as", "stripe", "--to", "http://a b/"], "no such host is known", 1),
        (["--as", "stripe", "--to", "http://a:x/"], "write --to as https://HOST/in/NAME", 1),
        (["--as", "stripe", "--to", "http://host.invalid/in/a"], "no such host is known", 1),
        (["--as", "stripe"], "is `relayd web` running there?", 1),
        (["--as", "other"], "there is no entry 'other'", 1),
        (["--as", "users", "--id", "é"], "write printable ASCII", 2),
        (["--as", "shop", "--id", "a\nb"], "write printable ASCII", 2),
        (["--as", "users", "--created", "253402300799999"], "looks like milliseconds", 2),
    ],
)
def test_what_emit_refuses(tmp_path: Path, arguments: list[str], words: str, status: int) -> None:
    with answering(lambda *_: (200, {})) as port:
        config = configured(tmp_path, port)
    result = run("emit", "order.created", *arguments, "--config", str(config), status=status)
    assert words in result.stderr
