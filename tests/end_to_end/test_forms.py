"""`format:` with the real process, and servers that refuse what Slack, Discord or ntfy would refuse."""

import hashlib
import hmac
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import yaml
from operating import asked, emit, logged
from processes import SECRET, command, make_spool, running, write_config
from receivers import Act, Conversation, Received, answer, head, open_receiver
from snippets import snippets

SENTENCE = "A customer placed an order: order_456 (order.created in market_123, event {id})."


def slack(request: Received) -> bool:
    """Tell whether Slack's incoming webhooks take it: a JSON object with a text."""
    message = json.loads(request.body)
    return (
        request.header("Content-Type") == "application/json"
        and list(message) == ["text"]
        and isinstance(message["text"], str)
        and 0 < len(message["text"]) <= 40_000
    )


def discord(request: Received) -> bool:
    """Tell whether Discord's do, and whether nobody is mentioned."""
    message = json.loads(request.body)
    return (
        request.header("Content-Type") == "application/json"
        and sorted(message) == ["allowed_mentions", "content"]
        and message["allowed_mentions"] == {"parse": []}
        and 0 < len(message["content"]) <= 2_000
    )


def text(request: Received) -> bool:
    """Tell whether ntfy shows it as a message."""
    kind = request.header("Content-Type")
    return kind == "text/plain; charset=utf-8" and 0 < len(request.body) <= 4_096


def accepting(fits: Callable[[Received], bool], *first: Act, status: int = 200) -> list[Act]:
    """Return what a service does: acts of its own, then it takes what fits, and refuses all else."""

    async def act(conversation: Conversation) -> None:
        fit = fits(await conversation.read_request())
        body = b"" if status == 204 else b"ok" if fit else b"invalid_payload"
        length = ("Content-Length", str(len(body)))
        await conversation.send(head(status if fit else 400, [length]) + body)

    return [*first, act]


def said(request: Received, format_name: str) -> str:
    if format_name == "text":
        return request.body.decode()
    message = json.loads(request.body)
    if format_name == "slack":
        return str(message["text"])
    return re.sub(r"\\(.)", r"\1", message["content"])


@pytest.mark.parametrize(
    ("format_name", "fits", "status"),
    [("slack", slack, 200), ("discord", discord, 204), ("text", text, 200)],
)
async def test_a_service_takes_the_sentence(
    tmp_path: Path, format_name: str, fits: Callable[[Received], bool], status: int
) -> None:
    make_spool(tmp_path / "spool.db")
    async with open_receiver(*accepting(fits, status=status)) as service:
        config = write_config(
            tmp_path,
            {
                "chat": {"url": service.url, "format": format_name},
                "unsigned": {"url": service.url, "format": format_name, "secret": None},
            },
        )
        config.write_text(config.read_text().replace("    secret: null\n", ""))
        async with running(config) as relayd:
            await emit(config, "evt_1")
            for name in ("chat", "unsigned"):
                await logged(relayd, "attempt_succeeded", subscription=name, status=status)
            assert "Accepted" in await command("test", "unsigned", config=config)
    *delivered, sample = service.requests
    for request in delivered:
        assert said(request, format_name) == SENTENCE.format(id="evt_1")
        mac = hmac.new(SECRET.encode(), request.body, hashlib.sha256).hexdigest()
        assert request.header("X-LocallyGrown-Signature") in {f"sha256={mac}", None}
    signed = [each for each in delivered if each.header("X-LocallyGrown-Signature")]
    assert (len(delivered), len(signed)) == (2, 1)
    assert sample.header("X-LocallyGrown-Signature") is None


@pytest.mark.parametrize("name", sorted(each for each in snippets() if each.startswith("notify")))
async def test_the_page_s_subscriptions_arrive(tmp_path: Path, name: str) -> None:
    make_spool(tmp_path / "spool.db")
    file = yaml.safe_load(snippets()[name])
    (subscription,) = file["subscriptions"].values()
    fits = {"slack": slack, "discord": discord, "text": text}[subscription["format"]]
    async with open_receiver(*accepting(fits)) as service:
        url = tmp_path / "url"
        url.write_text(f"{service.url}\n")
        url.chmod(0o400)
        subscription["url"]["file"] = str(url)
        config = write_config(tmp_path)
        config.write_text(
            yaml.safe_dump(
                yaml.safe_load(config.read_text()) | {"subscriptions": file["subscriptions"]}
            )
        )
        async with running(config):
            await command("test", *file["subscriptions"], config=config)
    (request,) = service.requests
    assert said(request, subscription["format"]).endswith(".")
    for header, value in subscription.get("headers", {}).items():
        assert request.header(header) == value


async def test_discord_says_when_it_had_too_much(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    busy = answer(429, headers=[("Retry-After", "1.5")], body=b'{"retry_after": 1.5}')
    async with open_receiver(*accepting(discord, busy, status=204)) as service:
        chat = {"url": service.url, "format": "discord", "retry": ["1s"]}
        config = write_config(tmp_path, {"chat": chat})
        async with running(config) as relayd:
            await emit(config, "evt_1")
            held = await relayd.logged("endpoint_throttled")
            await logged(relayd, "attempt_succeeded", status=204)
            assert held["status"] == 429
    first, second = service.requests
    assert second.at - first.at >= 1.4


async def test_a_backlog_goes_out_in_the_new_format_at_once(tmp_path: Path) -> None:
    """A chat got events, and refused them; `format` repairs that, and nothing else is needed."""
    make_spool(tmp_path / "spool.db")
    async with open_receiver(*accepting(slack)) as service:
        config = write_config(tmp_path, {"chat": {"url": service.url}})
        async with running(config) as relayd:
            await emit(config, "evt_1")
            await logged(relayd, "attempt_failed", status=400)
            config.write_text(
                config.read_text().replace("  chat:\n", "  chat:\n    format: slack\n")
            )
            assert "subscription chat: format changed" in await command("reload", config=config)
            await logged(relayd, "attempt_succeeded", event_id="evt_1")
            shown = await asked("check", config=config)
    assert shown["subscriptions"][0]["format"] == "slack"


async def test_an_event_of_a_mebibyte_is_one_sentence(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    async with open_receiver(*accepting(slack)) as service:
        config = write_config(tmp_path, {"chat": {"url": service.url, "format": "slack"}})
        async with running(config) as relayd:
            file = tmp_path / "data.json"
            hostile = {"object": {"id": "<!channel>", "items": [{"a": 1}] * 100_000}}
            file.write_text(json.dumps(hostile))
            await command("emit", "order.created", "--file", str(file), config=config)
            with trio.fail_after(30):
                await relayd.logged("attempt_succeeded")
    (request,) = service.requests
    # It is not read: what it holds may take seconds, and is not said.
    said = json.loads(request.body)["text"]
    assert re.fullmatch(r"A customer placed an order \(order\.created, event [\w:-]+\)\.", said), (
        said
    )
