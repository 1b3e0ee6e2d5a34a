"""The mail about an event: the sentence, the event's id, and the command that says more.

Everything in it is ASCII: what is not is encoded, so that any mail server takes it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Final

from relayd.core.delivery import Delivery
from relayd.core.sentence import sentence_about

SUBJECT_CHARACTERS: Final = 160
TEXT_CHARACTERS: Final = 8_000

_LAST_MOMENT: Final = 253_402_300_800
"""The year 10000, which a date cannot say."""


def mail_about(
    event: Mapping[str, object], delivery: Delivery, *, sender: str, recipient: str, now: float
) -> bytes:
    """Return a whole message with its headers, in lines that end with CRLF.

    `event` is given under its body's keys. The Message-ID is the delivery's id, so that a mail program
    shows a repeated message once. `now`, in Unix seconds, is used where the event has no time.
    """
    sentence = sentence_about(event)
    message = EmailMessage(policy=SMTP)
    message["From"] = Address("relayd", addr_spec=sender)
    message["To"] = Address(addr_spec=recipient)
    message["Subject"] = _subject(delivery.event_type, sentence.short)
    message["Date"] = format_datetime(_moment(event.get("created"), now))
    message["Message-ID"] = f"<{delivery.id}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence answers it
    text = _cut(str(sentence), TEXT_CHARACTERS)
    # An id may begin with a dash.
    separator = "-- " if delivery.event_id.startswith("-") else ""
    lines = (
        text,
        "",
        f"Event:    {delivery.event_id}",
        f"Delivery: {delivery.id}",
        f"More:     relayd explain {separator}{delivery.event_id}",
    )
    message.set_content("\n".join(lines) + "\n", charset="utf-8", cte="quoted-printable")
    return message.as_bytes()


def _subject(event_type: str, short: str) -> str:
    said = short if short.startswith(event_type) else f"{event_type}: {short}"
    return _cut(said, SUBJECT_CHARACTERS)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _moment(created: object, now: float) -> datetime:
    known = isinstance(created, int) and not isinstance(created, bool)
    at = created if known and isinstance(created, int) and 0 <= created < _LAST_MOMENT else int(now)
    return datetime.fromtimestamp(at, UTC)
