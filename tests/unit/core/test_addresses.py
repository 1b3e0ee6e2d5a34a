"""The addresses that may be dialled, and the many ways to write one that may not."""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.core.addresses import ipv6_text, literal_address, refusal

REFUSED = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.7",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:100.64.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b::6440:1",
    "64:ff9b:1::808:808",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::1",
    "2001:1ff::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
]

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.1",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2606:4700:4700::1111",
    "2a00::1",
    "3ffe::1",
]


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_not_public_is_refused(text: str) -> None:
    reason = refusal(ip_address(text), (), scheme="https")
    assert reason is not None
    assert reason.words.startswith(f"{ip_address(text)} is not public")


@pytest.mark.parametrize("text", PUBLIC)
def test_what_is_public_is_dialled_over_https_only(text: str) -> None:
    assert refusal(ip_address(text), (), scheme="https") is None
    assert refusal(ip_address(text), (), scheme="http") is not None


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("text", REFUSED)
def test_an_allowed_network_wins_over_the_tables(text: str, scheme: str) -> None:
    address = ip_address(text)
    allowed = [ip_network(f"{text.partition('%')[0]}/{address.max_prefixlen}")]
    assert refusal(address, allowed, scheme=scheme) is None
    elsewhere = [ip_network("192.168.77.0/24"), ip_network("fd12:3456::/32")]
    assert refusal(address, elsewhere, scheme=scheme) is not None


def test_a_mapped_address_is_allowed_with_the_one_inside_it() -> None:
    allowed = [ip_network("127.0.0.0/8")]
    assert refusal(ip_address("::ffff:127.0.0.1"), allowed, scheme="http") is None
    assert refusal(ip_address("::ffff:10.0.0.1"), allowed, scheme="http") is not None
    # A translator far away would dial its own 127.0.0.1: that is not the one that was allowed.
    assert refusal(ip_address("64:ff9b::7f00:1"), allowed, scheme="https") is not None


@given(st.ip_addresses(v=4))
def test_an_embedded_ipv4_address_is_judged_as_itself(address: IPv4Address) -> None:
    verdict = refusal(address, (), scheme="https") is None
    mapped = IPv6Address(0xFFFF_0000_0000 | int(address))
    translated = IPv6Address(int(IPv6Address("64:ff9b::")) | int(address))
    assert (refusal(mapped, (), scheme="https") is None) == verdict
    assert (refusal(translated, (), scheme="https") is None) == verdict


@given(st.ip_addresses(v=6))
def test_nothing_outside_2000_3_is_public_but_what_embeds_ipv4(address: IPv6Address) -> None:
    embeds = address.ipv4_mapped is not None or address in ip_network("64:ff9b::/96")
    if address not in ip_network("2000::/3") and not embeds:
        assert refusal(address, (), scheme="https") is not None


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("127.0.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("0X7F.1", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("017700000001", "127.0.0.1"),
        ("0", "0.0.0.0"),
        ("0x", "0.0.0.0"),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("fe80::1%25eth0", "fe80::1%eth0"),
        ("fe80::1%25", "fe80::1"),
        ("::1%25", "::1"),
        ("::1%a%b", "::1"),
    ],
)
def test_the_odd_forms_of_an_address_are_known(host: str, address: str) -> None:
    assert literal_address(host) == ip_address(address)


@pytest.mark.parametrize(
    "host",
    [
        "example.com",
        "1.2.3.4.5",
        "256.1.1.1",
        "1.2.3.256",
        "4294967296",
        "08.1.1.1",
        "1..2",
        "",
        ".",
        "0xg",
        "127.0.0.1..",
        "\N{ARABIC-INDIC DIGIT ONE}.1.1.1",
        "zz::1",
        "9" * 5000,
        "1_0.1.1.1",
        "-1",
    ],
)
def test_a_name_is_no_address(host: str) -> None:
    assert literal_address(host) is None


@given(st.from_regex(r"\A(0x)?[0-9a-f]{1,10}(\.(0x)?[0-9a-f]{1,4}){0,4}\Z"))
def test_odd_forms_are_read_as_the_system_reads_them(host: str) -> None:
    try:
        expected = IPv4Address(socket.inet_aton(host))
    except OSError:
        assert literal_address(host) is None
    else:
        assert literal_address(host) == expected


@pytest.mark.parametrize(
    ("text", "hexadecimal"),
    [
        ("::ffff:127.0.0.1", "::ffff:7f00:1"),
        ("::ffff:0:0", "::ffff:0:0"),
        ("::ffff:255.255.255.255", "::ffff:ffff:ffff"),
        ("64:ff9b::7f00:1", "64:ff9b::7f00:1"),
        ("::", "::"),
    ],
)
def test_an_ipv6_address_is_written_alike_by_every_python(text: str, hexadecimal: str) -> None:
    assert ipv6_text(IPv6Address(text)) == hexadecimal
