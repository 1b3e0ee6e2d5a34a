"""What to do about a failed attempt."""

import re
from ipaddress import ip_address

import pytest

from relayd.core.addresses import refusal
from relayd.core.advice import FAILURE_ADVICE, MAIL_ADVICE, STATUS_ADVICE, next_step
from relayd.core.outcome import Failure


def advice(status: int | None, failure: Failure, detail: str = "") -> str:
    found = next_step(status, failure, detail, "books")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "`relayd verify BODY --subscription books --signature TEXT`"),
        (403, "do both sides have the same secret?"),
        (404, "is the path of the `url` right?"),
        (405, "takes no POST"),
        (413, 'express.json({ limit: "2mb" })'),
        (429, "lower `rate_limit` of books"),
        (500, "its log says why"),
        (502, "is the receiver running?"),
        (521, "Cloudflare's answer"),
        (526, "certificate of the server behind it"),
        (599, "its log says why"),
    ],
)
def test_a_status_has_its_next_step(status: int, words: str) -> None:
    assert words in advice(status, Failure.STATUS)


def test_each_failure_has_a_next_step() -> None:
    # A status and an address say it by what they are, TLS by its words, and nothing is said twice.
    told = {*FAILURE_ADVICE, *MAIL_ADVICE, Failure.STATUS, Failure.TLS, Failure.ADDRESS}
    assert told == set(Failure)


@pytest.mark.parametrize("text", [*STATUS_ADVICE.values(), *FAILURE_ADVICE.values()])
def test_a_next_step_is_one_sentence_that_can_be_filled_in(text: str) -> None:
    filled = text.format(name="books")
    assert not re.search(r"\{name\}|\{\{", filled)
    assert not filled.endswith(".")


@pytest.mark.parametrize(
    ("detail", "words"),
    [
        ("certificate has expired (on 2026-11-24 at 01:48 UTC)", "must be renewed"),
        ("certificate is not for a.example, only for b.example", "names into `url`"),
        ("certificate is self-signed, so it is not trusted", "`tls: {ca: FILE}` of books"),
        ("certificate comes from an authority that is not trusted here", "`tls: {ca: FILE}`"),
    ],
)
def test_a_certificate_has_its_next_step(detail: str, words: str) -> None:
    assert words in advice(None, Failure.TLS, detail)


@pytest.mark.parametrize(
    ("address", "network"),
    [("10.0.0.5", "10.0.0.5/32"), ("127.0.0.1", "127.0.0.1/32"), ("fd12::1", "fd12::1/128")],
)
def test_a_private_address_names_what_to_allow(address: str, network: str) -> None:
    reason = refusal(ip_address(address), (), scheme="https")
    found = advice(None, Failure.ADDRESS, f"shop.example may not be dialled: {reason}")
    assert f"add {network} to `allow_networks`" in found


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "168.63.129.16", "fe80::1", "fd00:ec2::254"]
)
def test_nobody_is_led_to_allow_what_hands_out_secrets(address: str) -> None:
    reason = refusal(ip_address(address), (), scheme="https")
    found = advice(None, Failure.ADDRESS, f"shop.example may not be dialled: {reason}")
    assert "add " not in found
    assert "correct `url` of books" in found


def test_a_401_for_what_javascript_does_not_carry_names_the_field() -> None:
    found = next_step(401, "status", "answered 401", "books", unfaithful=["data.object.total"])
    assert found is not None
    assert "data.object.total" in found
    assert "raw body" in found


STATUSES = [(status, Failure.STATUS, "") for status in STATUS_ADVICE]
OTHERS = [(None, failure, "") for failure in FAILURE_ADVICE]
TLS = [
    (None, Failure.TLS, "certificate has expired (on 2026-11-24 at 01:48 UTC)"),
    (None, Failure.SMTP, "mail server a.example:25 answered 550"),
    (None, Failure.ADDRESS, "a.example may not be dialled: 10.0.0.5 is not public ("),
]


@pytest.mark.parametrize(("status", "failure", "detail"), [*STATUSES, *OTHERS, *TLS])
def test_what_is_exhausted_is_not_said_to_go_on(
    status: int | None, failure: Failure, detail: str
) -> None:
    found = next_step(status, failure, detail, "books", exhausted=True)
    assert found is not None
    assert "by itself" not in found
    assert "Nothing is to be done" not in found
    assert "relayd retry" not in found
    assert not found.endswith((".", ";", " "))


def test_what_will_be_attempted_again_is_said_to_go_on() -> None:
    assert "relayd goes on by itself" in advice(503, Failure.STATUS)
    assert "relayd goes on by itself" in advice(*TLS[0])
    assert "Nothing is to be done here" in advice(500, Failure.STATUS)
    assert "`relayd retry books` lifts the wait" in advice(429, Failure.STATUS)


def test_a_success_has_none() -> None:
    assert next_step(200, None, "", "books") is None
