"""Which requests come from the web process's own pages, and who sends them."""

from ipaddress import ip_network

import pytest

from relayd.core.same_site import client_address, is_own_host, is_own_origin, limited_as, own_path
from relayd.core.web_access import Listen, WebAccess

TCP = WebAccess(Listen("127.0.0.1", 8787))
NAMED = WebAccess(Listen("127.0.0.1", 8787), base_url="https://relay.market.example")
UNIX = WebAccess(Listen(path="/run/web.sock"))


@pytest.mark.parametrize(
    ("host", "access", "own"),
    [
        ("127.0.0.1:8787", TCP, True),
        ("[::1]:8787", TCP, True),
        ("192.168.1.7", TCP, True),
        ("localhost:9000", TCP, True),
        ("relay.localhost", TCP, True),
        ("evil.example", TCP, False),
        ("evil.example:8787", NAMED, False),
        ("127.0.0.1.evil.example", TCP, False),
        ("localhost.evil.example", TCP, False),
        ("", TCP, False),
        ("[", TCP, False),
        ("relay.market.example", NAMED, True),
        ("RELAY.market.example:443", NAMED, True),
        ("relay", UNIX, True),
    ],
)
def test_a_name_that_another_site_can_point_here_is_not_ours(
    host: str, access: WebAccess, own: bool
) -> None:
    assert is_own_host(host, access) is own


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ({}, True),
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"origin": "null"}, False),
        ({"origin": "http://127.0.0.1:8787", "host": "127.0.0.1:8787"}, True),
        ({"origin": "http://127.0.0.1:9999", "host": "127.0.0.1:8787"}, False),
        ({"origin": "https://evil.example", "host": "127.0.0.1:8787"}, False),
        ({"origin": "https://relay.market.example", "host": "127.0.0.1:8787"}, True),
        ({"origin": "http://relay.market.example", "host": "127.0.0.1:8787"}, False),
    ],
)
def test_a_form_of_another_site_is_not_ours(headers: dict[str, str], own: bool) -> None:
    assert is_own_origin(headers, NAMED) is own


@pytest.mark.parametrize(
    ("path", "onward"),
    [
        ("/events?type=a", "/events?type=a"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("/\r\nSet-Cookie: a", "/"),
        ("", "/"),
    ],
)
def test_a_login_goes_on_within_the_site(path: str, onward: str) -> None:
    assert own_path(path) == onward


def test_only_a_trusted_proxy_says_who_asks() -> None:
    trusted = (ip_network("127.0.0.1/32"), ip_network("10.0.0.0/8"))
    assert client_address("127.0.0.1", "6.6.6.6, 1.2.3.4", trusted) == "1.2.3.4"
    assert client_address("127.0.0.1", "1.2.3.4, 10.0.0.9", trusted) == "1.2.3.4"
    assert client_address("5.5.5.5", "1.2.3.4", trusted) == "5.5.5.5"
    assert client_address("127.0.0.1", "nonsense", trusted) == "127.0.0.1"
    assert client_address(None, "6.6.6.6, 1.2.3.4", ()) == "1.2.3.4"
    assert client_address(None, "", ()) == "unix"


def test_a_network_of_ipv6_is_limited_as_one() -> None:
    assert limited_as("2001:db8::1") == limited_as("2001:db8::ffff") == "2001:db8::/64"
    assert limited_as("::ffff:1.2.3.4") == limited_as("1.2.3.4") == "1.2.3.4"
    assert limited_as("unix") == "unix"
