"""`http:` and its tokens: what is read, and what is wrong with it."""

from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path

import pytest

from relayd.config.config import Config
from relayd.config.difference import difference
from relayd.config.load import parse_config
from relayd.config.problem import ConfigError
from relayd.config.transfer import pieces_of, received
from relayd.core.parts import whole
from relayd.core.web_access import Holder, Listen, Role, digest, parse_listen

FILE = Path("/etc/relayd/config.yaml")
TOKEN = "t0123456789abcdef"
OTHER = "o0123456789abcdef"
BASE = """\
market_id: market_1
spools: {market: {path: spool.db}}
queue: {path: queue.db}
subscriptions:
  shop: {url: "https://shop.example/", events: "*", secret: s0123456789abcdef%s}
"""


def parse(http: str, subscription: str = "", environ: Mapping[str, str] | None = None) -> Config:
    return parse_config((BASE % subscription + http).encode(), FILE, environ=environ or {})


def problems(http: str, subscription: str = "") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(http, subscription)
    shown = str(caught.value)
    assert TOKEN not in shown
    assert OTHER not in shown
    return [line.removeprefix(f"{FILE}:") for line in shown.splitlines()]


def test_all_of_it() -> None:
    web = parse(
        f"""\
http:
  listen: unix:web.sock
  public: "[::]:8788"
  base_url: https://relay.market.example/
  trusted_proxies: [127.0.0.1/32]
  token: {{env: TOKEN}}
  read_token: {OTHER}
  producers:
    shop: {{token: p0123456789abcdef, market_id: market_9, markets: "*"}}
    till: {{token: q0123456789abcdef}}
""",
        ", feed_token: f0123456789abcdef",
        {"TOKEN": TOKEN},
    ).web
    assert web is not None
    assert web.listen == Listen(path="/etc/relayd/web.sock")
    assert web.public == Listen("::", 8788)
    assert (web.base_url, web.open) == ("https://relay.market.example", False)
    assert web.trusted_proxies == (ip_network("127.0.0.1/32"),)
    assert web.holder(TOKEN) == Holder(Role.EVERYTHING)
    assert web.holder(OTHER) == Holder(Role.READ)
    assert web.holder("p0123456789abcdef") == Holder(Role.PRODUCER, "shop")
    assert web.holder("f0123456789abcdef") == Holder(Role.FEED, "shop")
    assert web.holder("") is None
    assert (web.producers["shop"].market_id, web.producers["shop"].markets) == ("market_9", None)
    assert (web.producers["till"].market_id, web.producers["till"].markets) == (
        "market_1",
        frozenset(),
    )
    assert TOKEN not in repr(web)
    assert digest(TOKEN) not in repr(web)


@pytest.mark.parametrize(
    ("http", "subscription", "problem"),
    [
        ("http: {}", "", "6:1: http.listen: is missing (write `listen: 127.0.0.1:8787`)"),
        ("http: {listen: 8787}", "", "6:16: http.listen: must be text, and is a number"),
        ("http: {listen: localhost:8787}", "", "http.listen: must be an IP address and a port"),
        ("http: {listen: 127.0.0.1:0}", "", "http.listen: must be an IP address and a port"),
        (
            "http: {listen: 10.0.0.1:8787, token: none}",
            "",
            "http.token: none lets everybody do everything at 10.0.0.1:8787",
        ),
        ("http: {listen: 127.0.0.1:8787, token: short}", "", "http.token: is shorter than 16"),
        (
            "http: {listen: 127.0.0.1:8787, token: 'with a space in it'}",
            "",
            "http.token: has characters that no Authorization header can carry",
        ),
        (
            f"http: {{listen: 127.0.0.1:8787, token: {TOKEN}, read_token: {TOKEN}}}",
            "",
            "http.read_token: is the same token as that of http.token, line 6",
        ),
        (
            f"http: {{listen: 127.0.0.1:8787, token: {TOKEN}}}",
            f", feed_token: {TOKEN}",
            "subscriptions.shop.feed_token: is the same token as that of http.token",
        ),
        ("", f", feed_token: {TOKEN}", "is for the web process, and there is no `http:`"),
        (
            "http: {listen: 127.0.0.1:8787, base_url: https://market.example/relay}",
            "",
            "http.base_url: has a path",
        ),
        (
            "http: {listen: 127.0.0.1:8787, producers: {shop: {}}}",
            "",
            "http.producers.shop.token: is missing",
        ),
        (
            f"http: {{listen: 127.0.0.1:8787, token: {{{TOKEN}: x}}}}",
            "",
            "http.token: unknown key",
        ),
        ("http: {listen: 127.0.0.1:8787, token: {file: nowhere}}", "", "nowhere does not exist"),
    ],
)
def test_what_is_wrong_is_said_at_its_place(http: str, subscription: str, problem: str) -> None:
    found = problems(http, subscription)
    assert any(problem in line for line in found), found
    assert len(found) == 1, found


@pytest.mark.parametrize("listen", ["127.0.0.1:8787", "[::1]:8787", "unix:web.sock"])
def test_no_token_is_needed_where_only_this_machine_listens(listen: str) -> None:
    web = parse(f"http: {{listen: '{listen}', token: none}}").web
    assert web is not None
    assert web.open
    assert not web.tokens


@pytest.mark.parametrize(
    "text",
    ["", "unix:", "127.0.0.1", "127.0.0.1:99999", "[127.0.0.1]:80", "::1:80", "1.2.3:80", "a:1"],
)
def test_what_is_no_address(text: str) -> None:
    assert parse_listen(text) is None


@pytest.mark.parametrize("text", ["127.0.0.1:1", "[::]:65535", "unix:/a b"])
def test_an_address_is_shown_as_it_is_written(text: str) -> None:
    listen = parse_listen(text)
    assert str(listen) == text


def test_it_crosses_to_the_daemon_and_a_change_is_named() -> None:
    config = parse(f"http: {{listen: 127.0.0.1:8787, token: {TOKEN}}}")
    crossed = whole(received(memoryview(b"".join(pieces_of(config)))))
    assert crossed == config
    other = parse(f"http: {{listen: 127.0.0.1:8787, token: {OTHER}}}")
    assert difference(config, other).lines() == ["http.token changed"]
    assert difference(config, config).lines() == []
    feed = parse(
        f"http: {{listen: 127.0.0.1:8788, token: {TOKEN}}}", ", feed_token: f0123456789abcdef"
    )
    assert difference(config, feed).lines() == [
        "subscription shop: feed_token changed",
        "http.listen changed",
    ]


def test_a_first_section_changes_what_it_sets_alone() -> None:
    none = parse("")
    assert difference(none, parse("http: {listen: 127.0.0.1:8787}")).lines() == [
        "http.listen changed"
    ]
    some = parse(f"http: {{listen: 127.0.0.1:8787, token: {TOKEN}, base_url: https://a.example}}")
    lines = ["http.listen changed", "http.base_url changed", "http.token changed"]
    assert sorted(difference(none, some).lines()) == sorted(lines)
    assert difference(some, none).lines() == lines
