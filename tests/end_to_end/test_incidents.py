"""An operator's incidents: one command names the cause and the next step, and that step repairs it.

Each step is taken to the letter: the command that was printed is run, or the key that was named is
changed.
"""

import hashlib
import hmac
import re
import shlex
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
import yaml
from certificates import authority_file
from operating import Switch, asked, emit, logged
from processes import RelaydProcess, command, make_spool, run_command, running, write_config
from receivers import Conversation, answer, open_receiver, server_tls, unused_port

BOOKS = {"events": "order.*", "retry": ["1h", "1h"]}


async def said(*arguments: str, config: Path) -> str:
    """Return what a command printed, in one line, whatever its exit status is."""
    done = await run_command(*arguments, config=config)
    return " ".join((done.stdout + done.stderr).decode().split())


async def follow(text: str, wanted: str, config: Path, *more: str) -> str:
    """Run the command that a text names, which begins with `wanted`, and return what it printed.

    `more` is `--yes` where a terminal is asked.
    """
    named = [each for each in re.findall(r"`(relayd [^`]+)`", text) if each.startswith(wanted)]
    assert named, f"{wanted} is not in: {text}"
    _, *arguments = shlex.split(named[0])
    return await command(*arguments, *more, config=config)


def change(config: Path, **keys: Any) -> None:
    file = yaml.safe_load(config.read_text())
    books, without = keys.pop("books", {}), keys.pop("without", ())
    file["subscriptions"]["books"] |= books
    for key in without:
        del file["subscriptions"]["books"][key]
    config.write_text(yaml.safe_dump(file | keys, sort_keys=False))


async def delivered(relayd: RelaydProcess) -> None:
    await logged(relayd, "attempt_succeeded", subscription="books")


async def failed(relayd: RelaydProcess, config: Path) -> str:
    """Hand over an event, wait until it fails, and return what `explain` says of it."""
    await emit(config, "evt_1")
    await logged(relayd, "attempt_failed")
    await until_waiting(config)
    return await said("explain", "evt_1", config=config)


async def until_waiting(config: Path) -> None:
    with trio.fail_after(15):
        while (await asked("explain", "evt_1", config=config))["subscriptions"][0]["attempts"] == 0:
            await trio.sleep(0.05)


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return make_spool(tmp_path / "spool.db")


async def test_a_receiver_that_is_down(tmp_path: Path, spool: Path) -> None:
    port = unused_port()
    config = write_config(tmp_path, {"books": {"url": f"http://127.0.0.1:{port}/", **BOOKS}})
    async with running(config) as relayd:
        text = await failed(relayd, config)
        assert f"nothing is listening at 127.0.0.1:{port} (connection refused)" in text
        assert "next: is the receiver running" in text
        async with open_receiver(port=port):
            await follow(text, "relayd retry dlv_", config)
            await delivered(relayd)


async def test_a_secret_that_differs(tmp_path: Path, spool: Path) -> None:
    theirs = "the-secret-that-the-receiver-has"

    async def verifies(conversation: Conversation) -> None:
        request = await conversation.read_request()
        right = hmac.new(theirs.encode(), request.body, hashlib.sha256).hexdigest()
        given = request.header("X-LocallyGrown-Signature")
        status = b"200 OK" if given == f"sha256={right}" else b"401 Unauthorized"
        await conversation.send(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")

    async with open_receiver(verifies) as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url, **BOOKS}})
        async with running(config) as relayd:
            text = await failed(relayd, config)
            assert "answered 401 Unauthorized" in text
            assert "next: do both sides have the same secret?" in text
            # The receiver's log has the signature that it expects; the command says that it is not ours.
            body = tmp_path / "body.json"
            body.write_bytes(receiver.requests[0].body)
            expected = hmac.new(theirs.encode(), body.read_bytes(), hashlib.sha256).hexdigest()
            named = re.search(r"`(relayd verify [^`]+)`", text)
            assert named is not None
            step = named[1].replace("BODY", str(body)).replace("TEXT", f"sha256={expected}")
            assert "not the signature of this body under this secret" in await said(
                *shlex.split(step)[1:], config=config
            )
            change(config, books={"secret": theirs})
            await follow(text, "relayd reload", config)
            await delivered(relayd)


async def test_a_receiver_that_answered_410(tmp_path: Path, spool: Path) -> None:
    switch = Switch(410)
    async with open_receiver(switch) as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url, **BOOKS}})
        async with running(config) as relayd:
            text = await failed(relayd, config)
            assert "its receiver answered 410 Gone" in text
            switch.status = 200
            await follow(text, "relayd resume books", config)
            await delivered(relayd)


async def test_a_condition_that_excludes(tmp_path: Path, spool: Path) -> None:
    async with open_receiver() as receiver:
        where = {"data.object.total": {"gte": 1_000_000}}
        config = write_config(tmp_path, {"books": {"url": receiver.url, **BOOKS, "where": where}})
        async with running(config) as relayd:
            await emit(config, "evt_1")
            text = await said("explain", "evt_1", config=config)
            assert "not matched" in text
            assert "data.object.total" in text
            assert "change what `books` wants, then" in text
            change(config, books={"where": {"data.object.total": {"gte": 1}}})
            await follow(text, "relayd reload", config)
            # As it was printed, and as it is printed now that it would be wanted.
            again = await said("explain", "evt_1", config=config)
            assert "`relayd replay --backfill books evt_1`" in again
            await follow(text, "relayd replay --backfill books evt_1", config, "--yes")
            await delivered(relayd)


async def test_a_subscription_that_is_paused(tmp_path: Path, spool: Path) -> None:
    async with open_receiver() as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url, **BOOKS}})
        async with running(config) as relayd:
            await command("pause", "books", config=config)
            await emit(config, "evt_1")
            text = await said("explain", "evt_1", config=config)
            assert "it was paused" in text
            await follow(text, "relayd resume books", config)
            await delivered(relayd)


async def test_a_receiver_that_limits(tmp_path: Path, spool: Path) -> None:
    throttled = answer(429, headers=[("Retry-After", "3600")])
    async with open_receiver(throttled, answer(200)) as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url, **BOOKS}})
        async with running(config) as relayd:
            await failed(relayd, config)
            # Another one waits for the same, though it is due.
            await emit(config, "evt_2")
            text = await said("explain", "evt_2", config=config)
            assert re.search(r"answered 429 or 503 and is held back until \S+ \S+ UTC \(in", text)
            await follow(text, "relayd retry books", config)
            await delivered(relayd)


async def test_a_certificate_that_has_expired(tmp_path: Path, spool: Path) -> None:
    authority = trustme.CA()
    ended = datetime.now(UTC) - timedelta(days=3)
    old = authority.issue_cert("localhost", not_before=ended - timedelta(days=90), not_after=ended)
    port = unused_port()
    tls = {"ca": str(authority_file(tmp_path, authority))}
    url = f"https://localhost:{port}/"
    config = write_config(tmp_path, {"books": {"url": url, "tls": tls, "ip": 4, **BOOKS}})
    async with running(config) as relayd:
        async with open_receiver(tls=server_tls(old), port=port):
            text = await failed(relayd, config)
        assert f"certificate has expired (on {ended:%Y-%m-%d at %H:%M} UTC)" in text
        assert "next: the receiver's certificate must be renewed" in text
        renewed = server_tls(authority.issue_cert("localhost"))
        async with open_receiver(tls=renewed, port=port):
            await follow(text, "relayd retry dlv_", config)
            await delivered(relayd)


async def test_a_private_authority(tmp_path: Path, spool: Path) -> None:
    authority = trustme.CA()
    server = server_tls(authority.issue_cert("localhost"))
    async with open_receiver(tls=server, name="localhost") as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url, "ip": 4, **BOOKS}})
        async with running(config) as relayd:
            text = await failed(relayd, config)
            assert "authority that is not trusted here" in text
            assert "`tls: {ca: FILE}` of books, then `relayd reload`" in text
            change(config, books={"tls": {"ca": str(authority_file(tmp_path, authority))}})
            await follow(text, "relayd reload", config)
            await delivered(relayd)


async def test_a_private_address(tmp_path: Path, spool: Path) -> None:
    async with open_receiver(name="localhost") as receiver:
        config = write_config(
            tmp_path, {"books": {"url": receiver.url, "ip": 4, **BOOKS}}, allow_networks=[]
        )
        text = await said("check", config=config)
        assert "subscriptions.books.url: localhost is this machine" in text
        named = re.search(r"add (\S+) to allow_networks", text)
        assert named is not None
        change(config, allow_networks=[named[1]])
        async with running(config) as relayd:
            await emit(config, "evt_1")
            await delivered(relayd)


async def test_a_name_that_leads_to_a_private_address(tmp_path: Path, spool: Path) -> None:
    env = {"RELAYD_NAMES": "shop.example=127.0.0.1"}
    authority = trustme.CA()
    server = server_tls(authority.issue_cert("shop.example"))
    async with open_receiver(tls=server) as receiver:
        url = receiver.url.replace("127.0.0.1", "shop.example")
        tls = {"ca": str(authority_file(tmp_path, authority))}
        books = {"url": url, "tls": tls, **BOOKS}
        config = write_config(tmp_path, {"books": books}, allow_networks=[])
        async with running(config, env=env, module="faults.leads_names") as relayd:
            text = await failed(relayd, config)
            named = re.search(r"add (\S+) to `allow_networks`, then `relayd reload`", text)
            assert named is not None
            change(config, allow_networks=[named[1]])
            await follow(text, "relayd reload", config)
            await follow(text, "relayd retry books", config)
            await delivered(relayd)


async def test_a_malformed_row(tmp_path: Path, spool: Path) -> None:
    async with open_receiver() as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url, **BOOKS}})
        async with running(config) as relayd:
            with closing(sqlite3.connect(spool)) as market, market:
                market.execute(
                    "INSERT INTO relayd_spool (type, data) VALUES ('Order Created', '{}')"
                )
            await logged(relayd, "input_rejected")
            text = await said("rejected", "list", config=config)
            assert "invalid_type" in text
            named = re.search(r"`(relayd rejected resubmit [0-9]+)` \(--type", text)
            assert named is not None
            fix = [*shlex.split(named[1])[1:], "--type", "order.created"]
            await command(*fix, config=config)
            await delivered(relayd)


async def test_a_reload_that_is_refused(tmp_path: Path, spool: Path) -> None:
    async with open_receiver() as receiver, open_receiver() as other:
        config = write_config(tmp_path, {"books": {"url": receiver.url, **BOOKS}})
        async with running(config) as relayd:
            change(config, books={"url": other.url, "retri": ["1m"]}, without=["retry"])
            refused = await run_command("reload", "--config", str(config))
            assert refused.returncode == 78
            text = refused.stderr.decode()
            assert text == (await run_command("check", "--config", str(config))).stderr.decode()
            stands = await said("status", config=config)
            assert stands.startswith("config.yaml changed but not loaded (reload refused)")
            assert "`relayd check`, then `relayd reload`" in stands
            # The line, the key, and the one that is right.
            place = re.search(r"config\.yaml:([0-9]+):.*retri\b.*did you mean `retry`", text)
            assert place is not None, text
            lines = config.read_text().splitlines()
            assert lines[int(place[1]) - 1].strip() == "retri:"
            # The old configuration is in force.
            await emit(config, "evt_1")
            await delivered(relayd)
            assert (len(receiver.requests), len(other.requests)) == (1, 0)
            # At that line, the one that it means; then the commands that `status` names.
            right = re.search(r"did you mean `(\w+)`", text)
            assert right is not None
            at = int(place[1]) - 1
            lines[at] = lines[at].replace("retri", right[1])
            config.write_text("\n".join(lines) + "\n")
            await follow(stands, "relayd check", config)
            await follow(stands, "relayd reload", config)
            await emit(config, "evt_2")
            await logged(relayd, "attempt_succeeded", event_id="evt_2")
            assert len(other.requests) == 1


async def test_a_file_that_was_changed_and_not_loaded(tmp_path: Path, spool: Path) -> None:
    async with open_receiver() as receiver, open_receiver() as other:
        config = write_config(tmp_path, {"books": {"url": receiver.url, **BOOKS}})
        async with running(config) as relayd:
            change(config, books={"url": other.url})
            stands = await said("status", config=config)
            assert stands.startswith("config.yaml changed but not loaded")
            text = await follow(stands, "relayd check --diff", config)
            assert "books" in text
            assert "url" in text
            await follow(stands, "relayd reload", config)
            await emit(config, "evt_1")
            await delivered(relayd)
            assert (len(receiver.requests), len(other.requests)) == (0, 1)
