"""What a reload tells that it changed."""

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from relayd.config.config import Config
from relayd.config.difference import Difference, difference
from relayd.config.load import parse_config
from relayd.core.subscription import Subscription

BASE = """\
market_id: market_1
spools:
  market: {path: spool.db}
socket: {path: relayd.sock}
queue: {path: queue.db}
subscriptions:
  shop:
    url: https://shop.example/
    events: [order.created]
    secret: whsec_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
  books:
    url: https://books.example/
    events: ["*"]
    secret: 4f1c9a7d2be84d6fa5c0
"""


def config(text: str) -> Config:
    return parse_config(text.encode(), Path("/etc/relayd/config.yaml"), environ={})


def changed(old: str, new: str, text: str = BASE) -> Difference:
    assert old in text
    return difference(config(text), config(text.replace(old, new, 1)))


def test_equal_files_do_not_differ() -> None:
    none = difference(config(BASE), config("# other words\n" + BASE))
    assert not none
    assert none.lines() == []
    assert config(BASE) == config("# other words\n" + BASE)


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ("https://shop.example/", "https://new.example/", ["subscription shop: url changed"]),
        (
            "secret: whsec_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n  books",
            "secret: ROTATED-ROTATED-ROTATED\n    previous_secret: 4f1c9a7d2be84d6fa5c0\n  books",
            ["subscription shop: secret, previous_secret changed"],
        ),
        (
            "events: [order.created]",
            "events: [order.*]\n    where: {data.object.total: 5}",
            ["subscription shop: events, where changed"],
        ),
        ("  shop:\n", "  shop:\n    active: false\n", ["subscription shop: active changed"]),
        (
            "  shop:\n",
            "  shop:\n    headers: {Authorization: ROTATED-ROTATED}\n",
            ["subscription shop: headers changed"],
        ),
        (
            "  shop:\n",
            """\
  shop:
    timeout: 1s
    retry: [1s]
    signature: standard
    max_in_flight: 1
    rate_limit: 1/s
""",
            ["subscription shop: signature, timeout, rate_limit, max_in_flight, retry changed"],
        ),
        (
            "  shop:",
            "  new-name:",
            ["subscription new-name: added", "subscription shop: removed"],
        ),
        (
            "  market: {path: spool.db}",
            "  market: {path: spool.db, table: other, market_id: m2}\n  more: {path: more.db}",
            ["spool more: added", "spool market: table, market_id changed"],
        ),
        ("relayd.sock}", 'relayd.sock, mode: "0600"}', ["socket.mode changed"]),
        ("queue.db}", "queue.db, retention: 40d}", ["queue.retention changed"]),
        ("queue.db}", "queue.db, max_size: 2GB}", ["queue.max_size changed"]),
        (
            "market_id: market_1",
            "market_id: market_2",
            [
                "spool market: market_id changed",
                "market_id changed",
                "socket.market_id changed",
            ],
        ),
        (
            "market_id:",
            "log: {level: debug}\nallow_networks: [10.0.0.0/8]\nevent_types: [own]\nmarket_id:",
            ["log.level changed", "allow_networks changed", "event_types changed"],
        ),
        (
            "subscriptions:",
            "defaults: {timeout: 3s, rate_limit: 9/s}\nsubscriptions:",
            [
                "subscription shop: timeout, rate_limit changed",
                "subscription books: timeout, rate_limit changed",
            ],
        ),
    ],
)
def test_changes_are_told_by_the_names_of_keys(old: str, new: str, lines: list[str]) -> None:
    told = changed(old, new)
    assert told.lines() == lines
    assert bool(told)
    assert told.needs_restart == ()
    assert "ROTATED" not in repr(told)


INBOUND = """inbound:
  stripe: {provider: stripe, secret: whsec_b3Jkcm5lci1vZi10aGUtc3VpdGU=}
"""


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ("", INBOUND, ["inbound stripe: added"]),
        (INBOUND, "", ["inbound stripe: removed"]),
        (
            INBOUND,
            INBOUND.replace("  stripe:", "  pay:"),
            ["inbound pay: added", "inbound stripe: removed"],
        ),
        (
            INBOUND,
            INBOUND.replace(
                "secret:", "allow_from: [10.0.0.0/8], secret: ROTATED-ROTATED,", 1
            ).replace("ROTATED, whsec_b3Jkcm5lci1vZi10aGUtc3VpdGU=", "ROTATED-ROTATED-ROTATED"),
            ["inbound stripe: secret, allow_from changed"],
        ),
    ],
)
def test_an_entry_of_inbound_is_named(old: str, new: str, lines: list[str]) -> None:
    base = f"{BASE}http: {{listen: '127.0.0.1:8787', token: none}}\n"
    told = difference(config(base + old), config(base + new))
    assert told.lines() == lines
    assert bool(told)
    assert "ROTATED" not in repr(told)


def test_endpoints_are_named_by_url() -> None:
    told = changed("https://shop.example/", "https://new.example/")
    assert told.endpoints.added == ("https://new.example/",)
    assert told.endpoints.removed == ("https://shop.example/",)
    limits = changed("  shop:\n", "  shop:\n    rate_limit: 1/s\n").endpoints
    assert limits.changed == {"https://shop.example/": ("rate_limit",)}
    assert not limits.added
    assert not limits.removed


def test_a_socket_that_comes_or_goes() -> None:
    gone = changed("socket: {path: relayd.sock}\n", "")
    assert gone.lines() == [
        f"socket.{key} changed" for key in ("path", "mode", "market_id", "markets")
    ]


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("queue.db", "other.db", "queue.path"),
        ("market_id: ", "log: {format: json}\nmarket_id: ", "log.format"),
    ],
)
def test_what_only_a_restart_changes(old: str, new: str, key: str) -> None:
    assert changed(old, new).needs_restart == (key,)


WHOLE = (
    BASE
    + "http: {listen: '127.0.0.1:8080', token: 4f1c9a7d2be84d6fa5c04f1c9a7d2be8}\n"
    + "inbound: {stripe: {provider: stripe, secret: whsec_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}}\n"
)
"""With a section for each part of the configuration that has fields."""

FOLLOWS = {
    # What a changed field comes with: the name that a thing is under, or another field that is compared.
    "Subscription": {"name", "url", "url_source", "selection", "mail_from"},
    "Selection": set[str](),
    "Endpoint": {"url"},
    "SpoolConfig": {"name"},
    "Inbound": {"name"},
    "Config": {
        "spools",
        "socket",
        "queue",
        "log",
        "web",
        "subscriptions",
        "endpoints",
        "type_prefixes",
    },
    "WebAccess": {"open", "tokens"},
}


def altered() -> Iterator[tuple[str, Config]]:
    """Yield the configuration with another value for each of its fields in turn."""
    whole = config(WHOLE)
    shop, spool = whole.subscriptions["shop"], whole.spools[0]
    assert whole.socket is not None
    assert whole.web is not None

    def others(part: Any, put: Callable[[Any], Config]) -> Iterator[tuple[str, Config]]:
        kind = type(part).__name__
        for each in fields(part):
            if each.compare and each.name not in FOLLOWS.get(kind, ()):
                yield f"{kind}.{each.name}", put(replace(part, **{each.name: Other()}))

    def subscribed(each: Subscription) -> Config:
        return replace(whole, subscriptions={**whole.subscriptions, "shop": each})

    yield from others(shop, subscribed)
    yield from others(shop.selection, lambda part: subscribed(replace(shop, selection=part)))
    yield from others(
        whole.endpoints[shop.url],
        lambda part: replace(whole, endpoints={**whole.endpoints, shop.url: part}),
    )
    yield from others(spool, lambda part: replace(whole, spools=(part,)))
    yield from others(
        whole.inbound["stripe"], lambda part: replace(whole, inbound={"stripe": part})
    )
    yield from others(whole.socket, lambda part: replace(whole, socket=part))
    yield from others(whole.queue, lambda part: replace(whole, queue=part))
    yield from others(whole.log, lambda part: replace(whole, log=part))
    yield from others(whole.web, lambda part: replace(whole, web=part))
    yield from others(whole, lambda part: part)


class Other(dict[Any, Any]):
    """Unlike each value; and like an empty mapping, or an order that holds."""

    path = hold = "other"

    def __init__(self) -> None:
        super().__init__({"other": "other"})


@pytest.mark.parametrize(
    ("field", "other"), [pytest.param(*each, id=each[0]) for each in altered()]
)
def test_no_field_of_the_configuration_changes_unnoticed(field: str, other: Config) -> None:
    assert difference(config(WHOLE), other), f"a changed {field} is reported as nothing"
