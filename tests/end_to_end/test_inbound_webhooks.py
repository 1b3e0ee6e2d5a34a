"""Providers' webhooks, from `/in/NAME` to a verified delivery: real processes, signed as providers sign."""

import json
import re
import time
from pathlib import Path
from typing import Any

import httpx
import trio
from inbound_requests import INBOUND, mailgun_post, stripe_post
from operating import asked
from processes import command, running
from providers import MAILGUN_KEY, SECRET, mailgun_event, stripe_event, stripe_header
from queue_file import rows_of
from receivers import Received, open_receiver
from web_process import TOKEN, serving, with_token

from relayd.core.secret import Secret
from relayd.core.signature import verify

RECEIVER = "receivers-secret-0123456789"


def file_with(port: int, **more: Any) -> dict[str, Any]:
    url = f"http://127.0.0.1:{port}/hooks"
    return {
        "inbound": INBOUND,
        "allow_networks": ["127.0.0.0/8"],
        "subscriptions": {"books": {"url": url, "events": ["*"], "secret": RECEIVER}},
        **more,
    }


async def send(
    client: httpx.AsyncClient, entry: str, made: tuple[bytes, dict[str, str]], **headers: str
) -> httpx.Response:
    body, own = made
    return await client.post(f"/in/{entry}", content=body, headers={**own, **headers})


def verified(received: Received) -> dict[str, Any]:
    """Return the event of a delivery whose signature is right."""
    header = received.header("X-LocallyGrown-Signature")
    assert header is not None
    assert verify(received.body, header, Secret(RECEIVER))
    document: dict[str, Any] = json.loads(received.body)
    return document


async def test_a_stripe_event_and_a_mailgun_event_become_verified_deliveries(
    tmp_path: Path,
) -> None:
    async with open_receiver() as books, serving(tmp_path, file=file_with(books.port)) as web:
        paid = stripe_event(data={"object": {"id": "pi_1", "amount": 4250}})
        for client in (web.public, web.private):
            found = await send(client, "stripe", stripe_post(paid))
            assert found.status_code == 200
        assert found.json() == {"id": paid["id"], "duplicate": True}
        bounced = mailgun_event("failed", severity="permanent", id="mg-1")
        assert (await send(web.public, "mailgun", mailgun_post(bounced))).status_code == 200
        with trio.fail_after(20):
            while len(books.requests) < 2:
                await trio.sleep(0.01)
        got = {event["type"]: event for event in map(verified, books.requests)}
        assert got["payment.succeeded"]["id"] == paid["id"]
        assert got["payment.succeeded"]["data"]["object"] == {"id": "pi_1", "amount": 4250}
        assert got["payment.succeeded"]["api_version"] == paid["api_version"]
        assert got["email.bounced"]["id"] == "mg-1"
        logged = json.dumps(web.process.lines + web.relayd.lines)
        assert SECRET not in logged
        assert MAILGUN_KEY not in logged
        assert "4250" not in logged


async def test_five_at_once_arrive_once_at_whatever_entry(tmp_path: Path) -> None:
    async with open_receiver() as books, serving(tmp_path, file=file_with(books.port)) as web:
        answers: list[dict[str, Any]] = []

        async def one(number: int) -> None:
            # What changes between Stripe's retries, and between two endpoints of one account.
            event = stripe_event(pending_webhooks=number)
            entry = "stripe" if number % 2 else "stripe-too"
            found = await send(web.public, entry, stripe_post(event))
            assert found.status_code == 200
            answers.append(found.json())

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(one, number)
        assert sum("duplicate" not in each for each in answers) == 1
        await trio.sleep(0.5)
        assert len(books.requests) == 1
        document = await asked("deliveries", config=web.config)
        assert len(document["deliveries"]) == 1


async def test_what_is_not_the_providers_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, file=file_with(9)) as web:
        body, headers = stripe_post(stripe_event())
        wrong = [
            (body, {}),
            (body + b" ", headers),
            stripe_post(stripe_event(), secret="whsec_another"),
            (body, {"Stripe-Signature": stripe_header(body, at=int(time.time()) - 400).decode()}),
        ]
        for made in wrong:
            found = await send(web.public, "stripe", made)
            assert found.status_code == 401
            assert "signature" not in found.text
        assert (await send(web.public, "nobody", (body, headers))).status_code == 404
        large = await web.public.post("/in/stripe", content=b"x" * (2 * 1024 * 1024 + 1))
        assert large.status_code == 413
        assert (await web.public.get("/in/stripe")).status_code == 405
        test_mode = stripe_post(stripe_event(livemode=False, id="evt_test_1"))
        assert (await send(web.public, "stripe", test_mode)).status_code == 403
        document = await asked("events", config=web.config)
        assert document["events"] == []
        refused = web.process.events("webhook_refused")
        assert {each["code"] for each in refused} == {
            "no_signature",
            "wrong_signature",
            "stale",
            "test_mode",
        }


async def test_a_mailgun_token_is_good_for_one_event(tmp_path: Path) -> None:
    async with serving(tmp_path, file=file_with(9)) as web:
        first, other = mailgun_event(id="mg-1"), mailgun_event(id="mg-2")
        assert (await send(web.public, "mailgun", mailgun_post(first, "t" * 50))).status_code == 200
        again = await send(web.public, "mailgun", mailgun_post(first, "t" * 50))
        assert (again.status_code, again.json()["duplicate"]) == (200, True)
        nameless = {"event": "delivered"}
        taken = await send(web.public, "mailgun", mailgun_post(nameless, "n" * 50))
        assert (taken.status_code, taken.json()["id"]) == (200, "n" * 50)
        broken = await send(web.public, "mailgun", mailgun_post({"event": 7}, "n" * 50))
        assert (broken.status_code, broken.json()) == (200, {"duplicate": True})
        stolen = await send(web.public, "mailgun", mailgun_post(other, "t" * 50))
        assert stolen.status_code == 401
        odd = {"event": 7, "id": "mg-3"}
        assert (await send(web.public, "mailgun", mailgun_post(odd, "t" * 50))).status_code == 401
        assert (await send(web.public, "mailgun", mailgun_post(other, "u" * 50))).status_code == 200


async def test_what_cannot_be_mapped_is_kept_with_its_raw_body_and_answered_200(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, file=file_with(9)) as web:
        odd = stripe_event(type=7, id="evt_odd")
        for _ in range(2):
            found = await send(web.public, "stripe", stripe_post(odd))
            assert (found.status_code, found.json()) == (200, {"rejected": True})
        document = await asked("rejected", "list", config=web.config)
        [listed] = document["rejected"]
        assert listed["source"] == "inbound stripe"
        explained = await command("explain", "evt_odd", config=web.config, status=1)
        assert f"`relayd rejected show {listed['number']}`" in " ".join(explained.split())
        shown = await asked("rejected", "show", str(listed["number"]), config=web.config)
        assert shown["row"]["id"] == "evt_odd"
        assert json.loads(shown["row"]["data"])["type"] == 7
        number = str(listed["number"])
        refused = await command("rejected", "resubmit", number, config=web.config, status=1)
        assert "has no `type`" in " ".join(refused.split())
        mended = ("--type", "payment.succeeded", "--data", '{"object":{"id":"pi_9"}}')
        done = await asked("rejected", "resubmit", number, *mended, config=web.config)
        assert done["resubmitted"][0]["id"] == "evt_odd"
        again = await send(web.public, "stripe-too", stripe_post(odd | {"type": "charge.refunded"}))
        assert again.json() == {"id": "evt_odd", "duplicate": True}
        raw = await command("show", "--raw", "evt_odd", config=web.config)
        assert json.loads(raw)["type"] == 7


async def test_a_type_alone_is_enough_where_the_body_has_the_rest(tmp_path: Path) -> None:
    async with serving(tmp_path, file=file_with(9)) as web:
        paid = {"object": {"id": "pi_9", "amount": 4250}}
        odd = stripe_event(type=7, id="evt_odd", data=paid)
        broken = b"{]"
        signature = stripe_header(broken, at=int(time.time())).decode()
        for made in (stripe_post(odd), (broken, {"Stripe-Signature": signature})):
            assert (await send(web.public, "stripe", made)).json() == {"rejected": True}
        standing = await asked("status", config=web.config)
        [stripe] = [each for each in standing["inbound"] if each["name"] == "stripe"]
        assert (stripe["accepted"], stripe["rejected"], stripe["last_rejected"]) == (0, 2, 2)
        text = await command("rejected", "show", "2", config=web.config)
        assert "raw body    {]" in text
        assert "`relayd rejected resubmit 2` maps it again" in " ".join(text.split())
        page = await web.private.get("/rejected/2", headers=with_token(TOKEN))
        assert "Raw body, as it came" in page.text
        assert re.search(r'name="data"[^>]*></textarea>', page.text), "the body is not the data"
        refused = await command("rejected", "resubmit", "1", config=web.config, status=1)
        assert "Resubmit it with a type (--type) of your own" in " ".join(refused.split())
        done = await asked(
            "rejected", "resubmit", "1", "--type", "payment.succeeded", config=web.config
        )
        assert done["resubmitted"][0]["id"] == "evt_odd"
        [(body,)] = rows_of(tmp_path / "queue.db", "SELECT body FROM events WHERE id = 'evt_odd'")
        assert isinstance(body, bytes)
        event = json.loads(body)
        assert (event["type"], event["data"]["object"]) == ("payment.succeeded", paid["object"])
        assert event["api_version"] == odd["api_version"]
        for given in ((), ("--type", "payment.succeeded")):
            words = await command("rejected", "resubmit", "2", *given, config=web.config, status=1)
            wanted = "data (--data)" if given else "a type (--type) and data (--data)"
            assert f"Resubmit it with {wanted} of your own" in " ".join(words.split())


async def test_what_was_taken_under_another_id_keeps_its_numbers(tmp_path: Path) -> None:
    async with serving(tmp_path, file=file_with(9)) as web:
        taken = mailgun_post(mailgun_event(id="evt_1"))
        assert (await send(web.public, "mailgun", taken)).status_code == 200
        body, _ = stripe_post(stripe_event(id="evt_1", data={"object": {"id": "x", "n": "N"}}))
        body = body.replace(b'"N"', b"1" * 5000).replace(b'"x"', b"1e400")
        headers = {"Stripe-Signature": stripe_header(body, at=int(time.time())).decode()}
        found = await send(web.public, "stripe", (body, headers))
        assert (found.status_code, found.json()) == (200, {"rejected": True})
        await command("rejected", "resubmit", "1", "--id", "evt_2", config=web.config)
        [(kept,)] = rows_of(tmp_path / "queue.db", "SELECT body FROM events WHERE id = 'evt_2'")
        assert isinstance(kept, bytes)
        assert b'{"id":1e400,"n":' + b"1" * 5000 + b"}" in kept


async def test_while_the_daemon_is_down_it_is_answered_503_and_then_sent_again(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, file=file_with(9)) as web:
        web.public.timeout = httpx.Timeout(30.0)
        web.relayd.process.kill()
        await web.relayd.wait()
        made = stripe_post(stripe_event(id="evt_late"))
        began = trio.current_time()
        found = await send(web.public, "stripe", made)
        assert (found.status_code, found.headers["Retry-After"]) == (503, "5")
        assert trio.current_time() - began >= 4.5, "a restart is waited for"
        async with running(web.config):
            again = await send(web.public, "stripe", stripe_post(stripe_event(id="evt_late")))
            assert again.status_code == 200, again.text


async def test_only_the_networks_of_an_entry_may_send_behind_a_proxy_too(tmp_path: Path) -> None:
    only = {"stripe": {**INBOUND["stripe"], "allow_from": ["198.51.100.0/24"]}}
    file = file_with(9, inbound=only)
    async with serving(tmp_path, file=file, trusted_proxies=["127.0.0.1"]) as web:
        made = stripe_post(stripe_event())
        assert (await send(web.public, "stripe", made)).status_code == 403
        forged = {"X-Forwarded-For": "198.51.100.7, 203.0.113.9"}
        assert (await send(web.public, "stripe", made, **forged)).status_code == 403
        right = {"X-Forwarded-For": "203.0.113.9, 198.51.100.7"}
        assert (await send(web.public, "stripe", made, **right)).status_code == 200


async def test_a_flood_of_bad_signatures_holds_up_its_sender_alone(tmp_path: Path) -> None:
    file = file_with(9)
    async with serving(tmp_path, file=file, trusted_proxies=["127.0.0.1"]) as web:
        bad = stripe_post(stripe_event(), secret="whsec_another")
        attacker = {"X-Forwarded-For": "203.0.113.9"}
        found: list[int] = []

        async def one() -> None:
            found.append((await send(web.public, "stripe", bad, **attacker)).status_code)

        # However slow the machine is: 30 are looked at, and 5 more a second.
        with trio.fail_after(90):
            while 429 not in found:
                async with trio.open_nursery() as nursery:
                    for _ in range(40):
                        nursery.start_soon(one)
        assert set(found) == {401, 429}
        good = stripe_post(stripe_event())
        other = {"X-Forwarded-For": "198.51.100.7"}
        assert (await send(web.public, "stripe", good, **other)).status_code == 200
        assert len(web.process.events("webhook_refused")) == 1
