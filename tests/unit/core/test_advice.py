"""What to do about a failed attempt."""

import re
from ipaddress import ip_address

import pytest

from relayd.core.addresses import refusal
from relayd.core.advice import CAUSE_ADVICE, FAILURE_ADVICE, STATUS_ADVICE, next_step
from relayd.core.outcome import MAIL_CAUSES, Cause, Failure


def advice(status: int | None, why: Failure | Cause, subject: str = "") -> str:
    found = next_step(status, why, "books", subject=subject)
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


def test_each_failure_and_each_cause_has_a_next_step() -> None:
    # A status says it by its number, TLS by its cause where that is known, and a client certificate by
    # its words; an address by what it is. SMTP is always a mail server's.
    without = {Failure.TLS, Cause.CLIENT_CERTIFICATE}
    by_subject = {Failure.STATUS, Failure.ADDRESS, Failure.SMTP, *ADDRESSES}
    told = {*FAILURE_ADVICE, *CAUSE_ADVICE, *without, *by_subject}
    assert told == {*Failure, *Cause}


def test_causes_are_told_from_kinds_by_their_names() -> None:
    assert not {str(each) for each in Cause} & {str(each) for each in Failure}


def test_a_mail_server_has_one_cause_of_each_kind() -> None:
    of_mail = [each for each in Cause if each.startswith("mail_")]
    assert sorted(MAIL_CAUSES.values()) == sorted(of_mail)


def test_no_kind_or_cause_without_a_next_step_stops_anything() -> None:
    assert next_step(None, Cause.CLIENT_CERTIFICATE, "books") is None
    assert next_step(None, "of a later relayd", "books") is None


@pytest.mark.parametrize(
    "text", [*STATUS_ADVICE.values(), *FAILURE_ADVICE.values(), *CAUSE_ADVICE.values()]
)
def test_a_next_step_is_one_sentence_that_can_be_filled_in(text: str) -> None:
    filled = text.format(name="books")
    assert not re.search(r"\{name\}|\{\{", filled)
    assert not filled.endswith(".")


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (Cause.CERTIFICATE_EXPIRED, "must be renewed"),
        (Cause.CERTIFICATE_NAME, "names into `url`"),
        (Cause.CERTIFICATE_AUTHORITY, "`tls: {ca: FILE}` of books"),
        (Cause.NO_TLS, "or is it http?"),
    ],
)
def test_a_certificate_has_its_next_step(cause: Cause, words: str) -> None:
    assert words in advice(None, cause)


ADDRESSES = (Cause.PRIVATE_ADDRESS, Cause.OWN_ADDRESS)


@pytest.mark.parametrize("cause", ADDRESSES)
@pytest.mark.parametrize(
    ("subject", "networks"),
    [
        ("10.0.0.5", "10.0.0.5/32"),
        ("fd12::1", "fd12::1/128"),
        ("10.0.0.5 fd12::1", "10.0.0.5/32 and fd12::1/128"),
        ("", "its address"),
    ],
)
def test_a_private_address_names_what_to_allow(cause: Cause, subject: str, networks: str) -> None:
    assert f"add {networks} to `allow_networks`" in advice(None, cause, subject)


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "168.63.129.16", "fe80::1", "fd00:ec2::254"]
)
def test_nobody_is_led_to_allow_what_hands_out_secrets(address: str) -> None:
    found = refusal(ip_address(address), (), scheme="https")
    assert found is not None
    said = advice(None, found.cause, address)
    assert "add " not in said
    assert "correct `url` of books" in said


def test_a_401_for_what_javascript_does_not_carry_names_the_field() -> None:
    found = next_step(401, "status", "books", unfaithful=["data.object.total"])
    assert found is not None
    assert "data.object.total" in found
    assert "raw body" in found


STATUSES = [(status, Failure.STATUS) for status in STATUS_ADVICE]
OTHERS = [(None, why) for why in (*FAILURE_ADVICE, *CAUSE_ADVICE, *ADDRESSES)]


@pytest.mark.parametrize(("status", "why"), [*STATUSES, *OTHERS])
def test_what_is_exhausted_is_not_said_to_go_on(status: int | None, why: Failure | Cause) -> None:
    found = next_step(status, why, "books", exhausted=True)
    assert found is not None
    assert "by itself" not in found
    assert "Nothing is to be done" not in found
    assert "relayd retry" not in found
    assert not found.endswith((".", ";", " "))


def test_what_will_be_attempted_again_is_said_to_go_on() -> None:
    assert "relayd goes on by itself" in advice(503, Failure.STATUS)
    assert "relayd goes on by itself" in advice(None, Cause.CERTIFICATE_EXPIRED)
    assert "Nothing is to be done here" in advice(500, Failure.STATUS)
    assert "`relayd retry books` lifts the wait" in advice(429, Failure.STATUS)


def test_a_success_has_none() -> None:
    assert next_step(200, None, "books") is None
