"""The web process beside a daemon: real processes, and a client as programs have one."""

import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from click.testing import CliRunner
from grafana_queries import queries
from operating import asked
from processes import command, running, write_config
from prometheus_grammar import Family, read_exposition
from receivers import answer, open_receiver, unused_port
from web_process import EVENT, READ, SHOP, TOKEN, Web, serving, with_token

from relayd.cli import cli, options


async def post(
    client: httpx.AsyncClient, body: object, token: str | None = SHOP, **headers: str
) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await client.post(
        "/v1/events",
        content=content,
        headers={**with_token(token), **{k.replace("_", "-"): v for k, v in headers.items()}},
    )


async def test_it_lowers_its_own_priority_so_that_deliveries_come_first(tmp_path: Path) -> None:
    async with serving(tmp_path) as web:
        assert os.getpriority(os.PRIO_PROCESS, web.relayd.process.pid) < 15
        assert os.getpriority(os.PRIO_PROCESS, web.process.process.pid) == 15


async def test_it_says_whether_relayd_is_well_and_why_not_to_those_who_may_read(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as web:
        for path in ("/healthz", "/readyz"):
            found = await web.private.get(path)
            assert (found.status_code, found.json()) == (200, {"ok": True})
            assert (await web.public.get(path)).status_code == 404
        with web.config.open("a") as file:
            file.write("# another file than the one in force\n")
        await trio.sleep(1.1)  # what was found holds for a second
        found = await web.private.get("/readyz", headers=with_token(READ))
        assert (found.status_code, found.json()["reasons"]) == (
            200,
            ["config.yaml changed but not loaded"],
        )
        web.relayd.process.kill()
        await web.relayd.wait()
        await trio.sleep(1.1)
        found = await web.private.get("/healthz")
        assert (found.status_code, found.json()) == (503, {"ok": False})
        for token in (TOKEN, READ):
            found = await web.private.get("/readyz", headers=with_token(token))
            assert found.json() == {"ok": False, "reasons": ["the daemon is not running"]}
        for other in (SHOP, "nobody's"):
            found = await web.private.get("/readyz", headers=with_token(other))
            assert found.json() == {"ok": False}


def test_with_its_queue_named_it_looks_for_no_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its unit starts it, which takes /etc/relayd from it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(options, "PLACES", (Path("config.yaml"), tmp_path / "nowhere.yaml"))
    said = CliRunner().invoke(cli, ["web", "--queue", "queue.db"])
    assert f"there is no {tmp_path}/queue.db.web" in said.output
    assert "there is no configuration" in CliRunner().invoke(cli, ["web"]).output


async def subscribe(web: Web, url: str) -> None:
    """Give it a subscription to every event."""
    text = web.config.read_text().replace(
        "subscriptions: {}",
        f"subscriptions: {{books: {{url: '{url}', events: '*', secret: {TOKEN}}}}}",
    )
    web.config.write_text(text)
    await command("reload", config=web.config)


async def test_a_program_hands_over_an_event_and_it_is_delivered(tmp_path: Path) -> None:
    async with open_receiver(answer(200)) as books:
        async with serving(tmp_path) as web:
            await subscribe(web, books.url)
            taken = await post(web.public, EVENT, idempotency_key="evt_7")
            assert (taken.status_code, taken.json()) == (202, {"id": "evt_7"})
            with trio.fail_after(10):
                await web.relayd.logged("attempt_succeeded", event_id="evt_7")
        [request] = books.requests
        body = json.loads(request.body)
        assert (body["id"], body["market_id"], body["data"]) == ("evt_7", "market_9", EVENT["data"])


async def test_what_comes_twice_is_taken_once_and_what_differs_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as web:
        answers: list[httpx.Response] = []

        async def hand_over() -> None:
            answers.append(await post(web.public, EVENT, idempotency_key="evt_1"))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(hand_over)
        assert [each.status_code for each in answers] == [202] * 5
        assert sum("duplicate" in each.json() for each in answers) == 4
        other = {**EVENT, "data": {}}
        conflict = await post(web.public, other, idempotency_key="evt_1")
        assert (conflict.status_code, conflict.json()["code"]) == (409, "id_conflict")
        assert conflict.headers["content-type"] == "application/problem+json"
        assert len((await asked("events", config=web.config))["events"]) == 1


async def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    cases: list[tuple[object, str | None, dict[str, str], int, str]] = [
        (EVENT, None, {}, 401, "no_token"),
        (EVENT, "nobody's", {}, 401, "no_token"),
        (EVENT, READ, {}, 403, "wrong_token"),
        (b"{", SHOP, {}, 422, "invalid_json"),
        (b'{"type":"a\nb","data":{}}'.replace(b"\\n", b"\n"), SHOP, {}, 422, "invalid_json"),
        ([EVENT], SHOP, {}, 422, "not_an_object"),
        ({**EVENT, "id": "x"}, SHOP, {"idempotency_key": "y"}, 422, "two_ids"),
        (EVENT, SHOP, {"idempotency_key": "a.b"}, 422, "invalid_id"),
        ({**EVENT, "market_id": "other"}, SHOP, {}, 422, "wrong_market"),
        ({**EVENT, "data": {"a": "x" * 1_100_000}}, SHOP, {}, 413, "too_large"),
        (b" " * 9_000_000, SHOP, {}, 413, "too_large"),
        (EVENT, SHOP, {"content_type": "application/x-ndjson", "idempotency_key": "y"}, 400, "one_event_only"),
    ]  # fmt: skip
    async with serving(tmp_path) as web:
        for body, token, headers, status, code in cases:
            found = await post(web.public, body, token, **headers)
            assert (found.status_code, found.json()["code"]) == (status, code), str(body)[:80]
        assert (await asked("events", config=web.config))["events"] == []


async def test_many_lines_have_a_result_each(tmp_path: Path) -> None:
    lines = [
        b'{"type":"order.created","data":{},"id":"a"}',
        b"{",
        b"",
        b'\t{"type":"order.created",\t"data":{},"id":"b"}\r',
        b'{"type":"order.created","data":{},"id":"a"}',
    ]
    async with serving(tmp_path) as web:
        found = await post(
            web.public, b"\n".join(lines), content_type="application/x-ndjson; charset=utf-8"
        )
        assert found.status_code == 200
        results: list[dict[str, Any]] = [json.loads(line) for line in found.text.splitlines()]
        assert [each["ok"] for each in results] == [True, False, True, True]
        assert [each.get("id") for each in results] == ["a", None, "b", "a"]
        assert results[3]["duplicate"] is True
        thousands = b"\n".join(
            b'{"type":"order.created","data":{"n":%d}}' % number for number in range(5_000)
        )
        found = await post(web.public, thousands, content_type="application/x-ndjson")
        assert found.text.count('"ok":true') == 5_000, (
            "as on the socket, for programs that look for it"
        )


async def test_without_a_daemon_programs_are_asked_to_come_again(tmp_path: Path) -> None:
    async with serving(tmp_path) as web:
        web.relayd.process.kill()
        await web.relayd.wait()
        found = await post(web.public, EVENT)
        assert found.status_code == 503
        assert int(found.headers["retry-after"]) > 0
        async with running(web.config):
            assert (await post(web.public, EVENT)).status_code == 202


async def test_tokens_are_those_of_the_last_reload(tmp_path: Path) -> None:
    async with serving(tmp_path) as web:
        text = web.config.read_text()
        web.config.write_text(text.replace(SHOP, "another-0123456789"))
        await command("reload", config=web.config)
        with trio.fail_after(10):
            await web.process.logged("web_file_read")
        assert (await post(web.public, EVENT)).status_code == 401
        assert (await post(web.public, EVENT, "another-0123456789")).status_code == 202
        document = (tmp_path / "queue.db.web").read_text()
        assert all(token not in document for token in (TOKEN, READ, "another-0123456789"))
        assert (tmp_path / "queue.db.web").stat().st_mode & 0o777 == 0o600


async def test_it_says_what_it_lacks(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    assert "http:" in await command("web", config=config, status=1)


async def test_it_stops_when_told_while_the_daemon_goes_on(tmp_path: Path) -> None:
    async with serving(tmp_path) as web:
        assert await web.process.stop() == 0
        assert (await asked("status", config=web.config))["running"] is True


async def scraped(web: Web, accept: str = "", token: str | None = READ) -> httpx.Response:
    headers = {**with_token(token), **({"Accept": accept} if accept else {})}
    return await web.private.get("/metrics", headers=headers)


async def scraped_until(web: Web, *, up: float) -> dict[str, Family]:
    """Scrape until the daemon is up or down: what was scraped holds for a while."""
    with trio.fail_after(20):
        while True:
            families = read_exposition((await scraped(web)).content)
            if families["relayd_up"].samples["relayd_up", ""] == up:
                return families
            await trio.sleep(0.2)


async def test_a_scrape_says_what_happened_and_its_counters_survive_restarts(
    tmp_path: Path,
) -> None:
    async with open_receiver(answer(200), answer(500)) as books, serving(tmp_path) as web:
        subscription = f"{{url: {books.url}?key=T0PS3CRET, events: '*', secret: {TOKEN}}}"
        text = web.config.read_text()
        web.config.write_text(
            text.replace("subscriptions: {}", f"subscriptions: {{books: {subscription}}}")
        )
        await command("reload", config=web.config)
        for number in (1, 2):
            event = {**EVENT, "id": f"evt_{number}"}
            assert (await post(web.public, event)).status_code == 202
        with trio.fail_after(10):
            await web.relayd.logged("attempt_succeeded")
            await web.relayd.logged("attempt_failed")
        found = await scraped(web)
        assert found.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        families = read_exposition(found.content)
        other = await scraped(web, "application/openmetrics-text; version=1.0.0")
        assert other.headers["content-type"].startswith("application/openmetrics-text")
        assert len(read_exposition(other.content, openmetrics=True)) == len(families)
        assert b"T0PS3CRET" not in found.content
        values = {
            (name, labels): value
            for family in families.values()
            for (name, labels), value in family.samples.items()
        }
        attempts = {
            labels: value
            for (name, labels), value in values.items()
            if name == "relayd_attempts_total"
        }
        failed = 'subscription="books",cause="status_500"'
        assert values["relayd_failed_attempts_total", failed] == 1
        assert attempts == {
            'subscription="books",outcome="delivered"': 1,
            'subscription="books",outcome="retrying"': 1,
            'subscription="books",outcome="exhausted"': 0,
        }
        label = 'source="http:shop"'
        assert values["relayd_events_accepted_total", label] == 2
        assert values["relayd_deliveries", 'subscription="books",state="retrying"'] == 1
        assert values["relayd_up", ""] == values["relayd_config_loaded", ""] == 1
        web.relayd.process.kill()
        await web.relayd.wait()
        await scraped_until(web, up=0)
        async with running(web.config):
            families = await scraped_until(web, up=1)
            accepted = families["relayd_events_accepted_total"].samples
            assert accepted["relayd_events_accepted_total", label] == 2


async def test_only_those_who_may_read_may_scrape(tmp_path: Path) -> None:
    async with serving(tmp_path) as web:
        for token, status in (
            (None, 401),
            (SHOP, 403),
            ("nobody's", 401),
            (READ, 200),
            (TOKEN, 200),
        ):
            found = await scraped(web, token=token)
            assert found.status_code == status
            assert (b"relayd_up" in found.content) == (status == 200)
        assert (await web.public.get("/metrics", headers=with_token(TOKEN))).status_code == 404


async def test_many_who_scrape_at_once_cost_the_daemon_one_answer(tmp_path: Path) -> None:
    async with serving(tmp_path) as web:
        bodies: list[bytes] = []

        async def scrape() -> None:
            bodies.append((await scraped(web)).content)

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(scrape)
        assert len(set(bodies)) <= 2, "but for those on both sides of a second's end"


@pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="prometheus is not installed",
)
async def test_prometheus_scrapes_it_and_answers_the_dashboard_s_queries(tmp_path: Path) -> None:
    async with open_receiver(answer(200)) as books, serving(tmp_path) as web:
        await subscribe(web, books.url)
        assert (await post(web.public, EVENT)).status_code == 202
        await trio.run_process(["promtool", "check", "metrics"], stdin=(await scraped(web)).content)
        async with prometheus(tmp_path, web) as client:
            found = await answered(client, "relayd_events_accepted_total{source='http:shop'}")
            assert found[0]["value"][1] == "1"
            # Until there were two scrapes, and a delivery.
            with trio.move_on_after(20):
                while empty := {
                    place
                    for place, query in queries().items()
                    if place not in SOMETIMES and not await answered(client, query)
                }:
                    await trio.sleep(0.5)
            assert not empty


SOMETIMES = {
    "Success A",
    "Webhooks A",
    "Webhooks by entry A",
    "Failed attempts by cause A",
    "Failed attempts by subscription A",
    "Response time, p50 and p95 C",
    "Size C",
    "Rows kept C",
    "Configuration loaded",
    "Daemon started",
}
"""What the dashboard shows only where something was attempted or loaded just now, is set, or is a spool."""


@asynccontextmanager
async def prometheus(folder: Path, web: Web) -> AsyncIterator[httpx.AsyncClient]:
    """Run a Prometheus that scrapes the web process, once it has done so."""
    (folder / "token").write_text(READ)
    job = {
        "job_name": "relayd",
        "authorization": {"credentials_file": str(folder / "token")},
        "static_configs": [{"targets": [str(web.private.base_url.netloc.decode())]}],
    }
    settings = {"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}
    (folder / "prometheus.yml").write_text(json.dumps(settings))
    port = unused_port()
    async with (
        trio.open_nursery() as nursery,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        process = await nursery.start(
            trio.run_process,
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=error",
            ],
        )
        with trio.fail_after(30):
            while not await answered(client, "relayd_up == 1", starting=True):
                await trio.sleep(0.2)
        yield client
        process.terminate()
        with trio.fail_after(10):
            await process.wait()


async def answered(client: httpx.AsyncClient, query: str, *, starting: bool = False) -> Any:
    """Return what Prometheus finds for a query; nothing while it is `starting`."""
    try:
        found = await client.get("/api/v1/query", params={"query": query})
    except httpx.TransportError:
        assert starting
        return []
    if starting and found.status_code != 200:
        return []
    assert found.status_code == 200, found.text
    return found.json()["data"]["result"]


async def test_where_its_queue_is_named_it_needs_no_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its unit makes /etc/relayd inaccessible."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RELAYD_CONFIG", raising=False)
    said = await command("web", "--queue", str(tmp_path / "queue.db"), status=1)
    assert f"there is no {tmp_path / 'queue.db.web'}" in said
