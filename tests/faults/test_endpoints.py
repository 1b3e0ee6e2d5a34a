"""Receivers that misbehave, all at once and end to end: each attempt ends, none delays another."""

import gzip
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio
from faults.producing import peak_memory, producer, states, until
from processes import command, make_spool, running, started, write_config
from queue_file import age_endpoints
from receivers import (
    Act,
    Conversation,
    Receiver,
    answer,
    chunked,
    close_early,
    drip,
    endless,
    half_close,
    head,
    huge_headers,
    never,
    open_receiver,
    raw_answer,
    reset,
    server_tls,
    unused_port,
)
from trustme import CA

TIMEOUT_S = 3.0
BOMB = gzip.compress(b"\0" * 300_000_000, 9)  # 292 KB


async def silent_after_accept(conversation: Conversation) -> None:
    await trio.sleep_forever()


MISBEHAVING: dict[str, tuple[Act, str]] = {
    "drips": (drip(head(200) + b"x" * 1000, interval_s=0.5), "timeout"),
    "drips_a_refusal": (
        drip(b"x" * 1000, interval_s=0.1, after=head(500, [("Content-Length", "1000")])),
        "status",
    ),
    "never_answers": (never(), "timeout"),
    "never_reads": (never(read=False), "timeout"),
    "informs_for_ever": (endless(head(102)), "protocol"),
    "informs_slowly": (endless(head(102), interval_s=0.5), "timeout"),
    "headers_for_ever": (endless(b"X-Filler: " + b"f" * 1000 + b"\r\n", after=b"HTTP/1.1 200 OK\r\n"), "protocol"),
    "huge_headers": (huge_headers(300_000), "protocol"),
    "resets": (reset(), "reset"),
    "resets_unread": (reset(read=False), "reset"),
    "resets_within": (reset(after=head(200)[:-2]), "reset"),
    "half_closes": (half_close(b"HTTP/1.1 200 OK\r\n"), "reset"),
    "two_lengths": (raw_answer(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"), "protocol"),
    "no_http": (raw_answer(b"220 mail.example ESMTP\r\n"), "protocol"),
    "redirects": (answer(302, headers=[("Location", "http://127.0.0.1:1/")]), "redirect"),
    "asks_for_ages": (answer(503, headers=[("Retry-After", "1000000000")]), "status"),
    "asks_for_junk": (answer(503, headers=[("Retry-After", "soon")]), "status"),
    "fails": (answer(500), "status"),
}  # fmt: skip

SUCCEEDING: dict[str, Act] = {
    "well": answer(200),
    "endless_body": endless(b"x" * 65_536, after=head(200)),
    "endless_chunks": chunked(*[b"y" * 1000] * 30),
    "bomb": answer(200, BOMB, headers=[("Content-Encoding", "gzip")]),
    "answers_unread": close_early(head(200, [("Content-Length", "0")])),
    "created": answer(201, b""),
    "drips_its_body": drip(
        b"x" * 1000, interval_s=0.1, after=head(200, [("Content-Length", "1000")])
    ),
    "resets_its_body": reset(after=head(200, [("Content-Length", "100")]) + b"x"),
    "too_short": raw_answer(head(200, [("Content-Length", "100")]) + b"x", close=True),
    "folds": raw_answer(b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n"),
}


@asynccontextmanager
async def receivers() -> AsyncIterator[dict[str, Receiver]]:
    acts = {name: act for name, (act, _) in MISBEHAVING.items()} | SUCCEEDING
    async with AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(open_receiver(act)) for name, act in acts.items()
        }


async def test_each_attempt_ends_as_it_must_and_delays_no_other(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    async with receivers() as found:
        config = write_config(
            tmp_path,
            {
                name: {
                    "url": receiver.url,
                    "rate_limit": "1000/s",
                    "timeout": f"{TIMEOUT_S:g}s",
                    "retry": [],
                }
                for name, receiver in found.items()
            },
        )
        async with running(config) as relayd, producer(tmp_path) as each:
            for number in range(8):
                assert (await each.hand_over(f"evt_{number}"))["ok"]
            # While all the others hang: what works goes on as if it were alone.
            sent = []
            for number in range(20):
                sent.append(trio.current_time())
                assert (await each.hand_over(f"evt_while_{number}"))["ok"]
            well = found["well"].requests
            await until(lambda: len(well) == 28, 10)
            waits = [request.at - at for request, at in zip(well[8:], sent, strict=True)]
            lines = {}
            with trio.fail_after(30):
                for name in found:
                    event = "attempt_failed" if name in MISBEHAVING else "attempt_succeeded"
                    lines[name] = await relayd.logged(event, subscription=name)
            memory = peak_memory(relayd.pid)
    # Here, outside of the many nurseries, in which a failure would be hard to read.
    assert max(waits) < TIMEOUT_S * 2 / 3
    assert memory < 150_000_000
    assert not relayd.events("attempt_internal_error")
    assert "\x1b" not in str(relayd.lines)
    for name, line in lines.items():
        assert line["duration_ms"] < TIMEOUT_S * 1000 + 1500, (name, line)
        if name in MISBEHAVING:
            assert line["failure"] == MISBEHAVING[name][1], (name, line)
    for name, receiver in found.items():
        requests = receiver.requests
        assert all(each.header("Accept-Encoding") == "identity" for each in requests), name


@pytest.mark.parametrize("act", [never(), never(read=False), silent_after_accept])
async def test_a_hanging_endpoint_is_tried_less_and_holds_up_nobody(
    tmp_path: Path, act: Act
) -> None:
    make_spool(tmp_path / "spool.db")
    async with open_receiver(act) as hung, open_receiver() as well:
        limits = {"rate_limit": "1000/s", "retry": ["1s"] * 20, "timeout": "3s"}
        config = write_config(
            tmp_path, {"hung": {"url": hung.url, **limits}, "well": {"url": well.url, **limits}}
        )
        async with running(config) as relayd, producer(tmp_path) as each:
            sent = []
            for number in range(150):
                sent.append(trio.current_time())
                assert (await each.hand_over(f"evt_{number}"))["ok"]
                await trio.sleep(0.01)
            await until(lambda: len(well.requests) == 150, 5)
            waits = sorted(
                received.at - at for received, at in zip(well.requests, sent, strict=True)
            )
            assert waits[int(len(waits) * 0.99)] < 1.5
            await until(lambda: len(relayd.events("attempt_failed")) >= 3, 15)
            status = json.loads(await command("status", "--json", config=config))
            [allowed] = [
                each["allowed_in_flight"]
                for each in status["endpoints"]
                if each["subscriptions"][0]["name"] == "hung"
            ]
            assert allowed == 1
            assert hung.accepted <= 20, "tried one at a time, once three attempts failed"


async def test_one_failing_certificate_says_why(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    trusted, strange = CA(), CA()
    bundle = tmp_path / "bundle.pem"
    trusted.cert_pem.write_to_path(str(bundle))
    contexts: dict[str, ssl.SSLContext] = {
        "good": server_tls(trusted.issue_cert("localhost")),
        "strange": server_tls(strange.issue_cert("localhost")),
        "other_name": server_tls(trusted.issue_cert("elsewhere.example")),
    }
    async with AsyncExitStack() as stack:
        found = {
            name: await stack.enter_async_context(open_receiver(tls=tls, name="localhost"))
            for name, tls in contexts.items()
        }
        config = write_config(
            tmp_path,
            {
                name: {"url": each.url, "rate_limit": "1000/s", "retry": []}
                for name, each in found.items()
            },
        )
        async with running(config, env={"SSL_CERT_FILE": str(bundle)}) as relayd:
            async with producer(tmp_path) as each:
                assert (await each.hand_over("evt_1"))["ok"]
            with trio.fail_after(10):
                await relayd.logged("attempt_succeeded", subscription="good")
                strange_line = await relayd.logged("attempt_failed", subscription="strange")
                other = await relayd.logged("attempt_failed", subscription="other_name")
    assert strange_line["failure"] == other["failure"] == "tls"
    assert "not trusted" in strange_line["detail"]
    assert "not for localhost" in other["detail"]


async def test_certificates_that_are_named_and_missing_are_a_wrong_configuration(
    tmp_path: Path,
) -> None:
    config = write_config(tmp_path, {"books": {"url": "https://a.example/hook"}})
    missing = str(tmp_path / "missing.pem")
    async with started(config, env={"SSL_CERT_FILE": missing}) as relayd:
        assert await relayd.wait() == 78
    assert missing in relayd.errors
    assert "SSL_CERT_FILE" in relayd.errors
    assert "Traceback" not in relayd.errors


async def test_an_outage_and_its_end(tmp_path: Path) -> None:
    """The minutes that decide are made to pass between two runs."""
    make_spool(tmp_path / "spool.db")
    port = unused_port()
    config = write_config(
        tmp_path,
        {
            "books": {
                "url": f"http://127.0.0.1:{port}/hook",
                "rate_limit": "1200/min",
                "retry": ["1h"],
            }
        },
    )
    async with running(config) as relayd:
        async with producer(tmp_path) as each:
            for number in range(40):
                assert (await each.hand_over(f"evt_{number}"))["ok"]
        with trio.fail_after(20):
            for number in range(40):
                await relayd.logged("retry_scheduled", event_id=f"evt_{number}")
        assert relayd.events("endpoint_failing") == []
        await relayd.stop()
    age_endpoints(tmp_path / "queue.db", 61)
    async with running(config) as relayd, producer(tmp_path) as each:
        assert (await each.hand_over("evt_40"))["ok"]
        with trio.fail_after(20):
            await relayd.logged("endpoint_failing")
        async with open_receiver(port=port) as receiver:
            assert (await each.hand_over("evt_41"))["ok"]
            with trio.fail_after(20):
                await relayd.logged("attempt_succeeded", event_id="evt_41")
            await trio.sleep(1.0)
            assert len(receiver.requests) == 1, "a lucky success releases nothing"
            await relayd.stop()
    age_endpoints(tmp_path / "queue.db", 61)
    async with open_receiver(port=port) as receiver, running(config) as relayd:
        with trio.fail_after(30):
            await relayd.logged("endpoint_recovered")
        # What was put off for an hour is due at once, through the bucket: 12 at once and
        # 19.8 a second.
        await until(lambda: len(receiver.requests) == 41, 30)
        times = [each.at for each in receiver.requests]
        for begin in times:
            assert sum(begin <= at < begin + 1.0 for at in times) <= 12 + 20 + 2
    assert set(states(tmp_path / "queue.db").values()) == {"delivered"}


async def test_410_holds_and_says_so_once(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    async with open_receiver(answer(410)) as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url, "rate_limit": "1000/s"}})
        async with running(config) as relayd, producer(tmp_path) as each:
            for number in range(20):
                assert (await each.hand_over(f"evt_{number}"))["ok"]
            with trio.fail_after(10):
                line = await relayd.logged("subscription_held")
            assert line["level"] == "error"
            await trio.sleep(0.5)
            assert len(receiver.requests) <= 8, "no more than were in flight"
            assert len(relayd.events("subscription_held")) <= 8
    assert set(states(tmp_path / "queue.db").values()) <= {"pending", "retrying"}
