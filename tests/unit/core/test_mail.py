"""The mail about an event: its headers, its text, and what nothing in an event can change."""

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.config.added_subscription import wants_secret
from relayd.core.advice import next_step
from relayd.core.delivery import Delivery, State
from relayd.core.mail import mail_about
from relayd.core.outcome import MAIL_CAUSES, Cause
from relayd.core.smtp import is_address

HEADERS = {
    "from", "to", "subject", "date", "message-id", "auto-submitted", "content-type",
    "content-transfer-encoding", "mime-version",
}  # fmt: skip


def made(event: dict[str, object], event_id: str = "evt_1") -> tuple[bytes, EmailMessage]:
    kind = str(event.get("type", "order.created"))
    delivery = Delivery(1, "dlv_1", "ops", event_id, kind, State.PENDING, 0, 0, 0.0, b"{}")
    raw = mail_about(
        event, delivery, sender="relayd@a.example", recipient="ops@b.example", now=1_700_000_000.5
    )
    letter = message_from_bytes(raw, policy=default)
    assert isinstance(letter, EmailMessage)
    return raw, letter


@given(st.text(max_size=300), st.text(max_size=300), st.integers() | st.text() | st.none())
def test_whatever_an_event_says_is_one_plain_message(
    market: str, number: str, created: object
) -> None:
    event = {
        "id": "evt_1",
        "type": "order.created",
        "market_id": market,
        "created": created,
        "data": {"object": {"id": number}},
    }
    raw, letter = made(event)
    assert {name.lower() for name in letter} == HEADERS
    assert raw.isascii()
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert b"\r" not in raw.replace(b"\r\n", b"")
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert not letter.is_multipart()
    assert "Event:    evt_1" in letter.get_content()


def test_a_type_of_the_market_s_own_is_said_once() -> None:
    _, letter = made({"id": "evt_1", "type": "basket.left", "data": {"object": {"id": "b_1"}}})
    assert letter["Subject"] == "basket.left: b_1"


@pytest.mark.parametrize(
    ("created", "date"),
    [
        (1_640_995_200, "Sat, 01 Jan 2022 00:00:00 +0000"),
        (None, "Tue, 14 Nov 2023 22:13:20 +0000"),
        (10**15, "Tue, 14 Nov 2023 22:13:20 +0000"),
        (True, "Tue, 14 Nov 2023 22:13:20 +0000"),
    ],
)
def test_the_date_is_the_event_s(created: object, date: str) -> None:
    _, letter = made({"id": "evt_1", "type": "a.b", "created": created})
    assert letter["Date"] == date


def test_an_id_that_begins_with_a_dash() -> None:
    _, letter = made({"id": "-x", "type": "a.b"}, "-x")
    assert "relayd explain -- -x" in letter.get_content()


@pytest.mark.parametrize("text", ["a@b.example", "a+b@localhost", "a.b-c_d@x.y.example"])
def test_addresses(text: str) -> None:
    assert is_address(text)


@pytest.mark.parametrize(
    "text",
    ["", "a", "@b", "a@", "a@b@c", "a@b\n", "a b@c", "a@-b", "a@b..c", f"{'a' * 65}@b", ".a@b"],
)
def test_what_is_no_address(text: str) -> None:
    assert not is_address(text)


@pytest.mark.parametrize("cause", list(MAIL_CAUSES.values()))
def test_what_to_do_is_about_the_mail_server(cause: Cause) -> None:
    step = next_step(None, cause, "ops", subject="a.example:25")
    assert step is not None
    assert "receiver" not in step
    assert "`url`" not in step


def test_no_secret_is_made_for_mail() -> None:
    assert not wants_secret({"url": "Mailto:a@b.example"})
    assert not wants_secret({"url": "https://a.example/", "secret": {"file": "s"}})
    assert wants_secret({"url": "https://a.example/"})
