"""URLs in their normal form, and those that nothing is delivered to."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.config.urls import BadUrl, normal_url

LOOPBACK = [ip_network("127.0.0.0/8")]


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("https://your-app.com/webhooks", "https://your-app.com/webhooks"),
        ("HTTPS://Your-App.COM:443", "https://your-app.com/"),
        ("https://your-app.com:8443/a?b=%2F", "https://your-app.com:8443/a?b=%2F"),
        ("https://your-app.com?b", "https://your-app.com/?b"),
        (
            "https://m\N{LATIN SMALL LETTER U WITH DIAERESIS}nchen.example/",
            "https://xn--mnchen-3ya.example/",
        ),
        ("https://8.8.8.8/", "https://8.8.8.8/"),
        ("https://134744072/", "https://8.8.8.8/"),
        ("https://[2606:4700:0:0::1]:443/x", "https://[2606:4700::1]/x"),
        ("https://under_score.example/", "https://under_score.example/"),
        ("https://A.example.:443/", "https://a.example/"),
        ("https://" + "a." * 126 + "a./", "https://" + "a." * 126 + "a/"),
        ("https://Your-App.com./x", "https://your-app.com/x"),
        ("https://your-app.com\N{IDEOGRAPHIC FULL STOP}:443/x", "https://your-app.com/x"),
        ("https://8.8.8.8./", "https://8.8.8.8/"),
    ],
)
def test_equal_urls_have_one_form(text: str, normal: str) -> None:
    assert normal_url(text, ()) == normal
    assert normal_url(normal, ()) == normal


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("your-app.com/webhooks", "must begin with https://"),
        ("ftp://your-app.com/", "must begin with https://"),
        ("", "must begin with https://"),
        ("https:///x", "has no host"),
        ("https://a:b@c.example/", "user or password"),
        ("https://a.example/#x", "fragment"),
        ("https://a.example/#", "fragment"),
        ("https://a.example:0/", "the port"),
        ("https://a.example:65536/", "the port"),
        ("https://a.example:abc/", "not a valid URL"),
        ("https://a.example/a b", "spaces"),
        ("https://a.example/\n", "spaces"),
        ("https://a.example\\b/", "backslash"),
        ("https://${HOST}/", "placeholder"),
        ("https://{{ host }}/", "placeholder"),
        ("https://*.example/", "not a valid host name"),
        ("https://a..example/", "not a valid host name"),
        ("https://a.example../", "not a valid host name"),
        ("https://./", "has no host"),
        ("https://localhost./", "this machine"),
        ("https://shop.localhost./", "this machine"),
        ("https://" + "a" * 64 + ".example/", "not a valid host name"),
        ("https://a.example/" + "a" * 2048, "longer than"),
        ("http://a.example/", "only for networks in allow_networks"),
        ("http://8.8.8.8/", "not encrypted"),
        ("https://localhost/", "this machine"),
        ("https://shop.localhost/", "this machine"),
        ("https://127.1/", "127.0.0.1 is not public"),
        ("https://2130706433/", "127.0.0.1 is not public"),
        ("https://0x7f000001/", "127.0.0.1 is not public"),
        ("https://127.0.0.1./", "127.0.0.1 is not public"),
        ("https://127\N{IDEOGRAPHIC FULL STOP}0.0.1/", "127.0.0.1 is not public"),
        ("https://[::ffff:127.0.0.1]/", "not public"),
        ("https://[::127.0.0.1]/", "not public"),
        ("https://[64:ff9b::7f00:1]/", "not public"),
        ("https://[2002:7f00:1::]/", "not public"),
        ("https://[fec0::1]/", "not public"),
        ("https://[fe80::1%25eth0]/", "zone"),
        ("https://169.254.169.254/latest/meta-data", "not public"),
        ("https://100.64.0.1/", "not public"),
    ],
)
def test_bad_urls_are_refused_with_a_reason(text: str, said: str) -> None:
    refused = normal_url(text, ())
    assert isinstance(refused, BadUrl)
    assert said in refused.message


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("http://127.0.0.1:8080/webhooks", "http://127.0.0.1:8080/webhooks"),
        ("http://127.1", "http://127.0.0.1/"),
        ("http://localhost:80/", "http://localhost/"),
        ("http://receiver.internal/", "http://receiver.internal/"),
        ("https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/"),
    ],
)
def test_an_allowed_network_opens_http(text: str, normal: str) -> None:
    assert normal_url(text, LOOPBACK) == normal


def test_the_hint_names_the_network_to_allow() -> None:
    refused = normal_url("https://[::ffff:10.0.0.1]/", ())
    assert isinstance(refused, BadUrl)
    assert refused.hint == "to reach it, add 10.0.0.1/32 to allow_networks"


@given(st.text(max_size=40), st.sampled_from(["", "https://", "http://", "https://["]))
def test_any_text_is_judged(text: str, start: str) -> None:
    result = normal_url(start + text, LOOPBACK)
    if isinstance(result, str):
        assert normal_url(result, LOOPBACK) == result
