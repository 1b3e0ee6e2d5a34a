"""Standard Webhooks: against its own library, and what its events become."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from providers import NOW, SECRET, entry, standard_request
from standardwebhooks.webhooks import Webhook

from relayd.core.inbound.entry import Provider
from relayd.core.inbound.receive import receive
from relayd.core.inbound.request import RawHeaders
from relayd.core.inbound.verdict import RefusalCode, Refused, Unmappable, Verified

CLERK = entry(Provider.STANDARD, name="clerk")
DOCUMENT = {
    "type": "user.created",
    "timestamp": "2026-09-21T13:33:18.5Z",
    "data": {"id": "user_1", "email": "rosa@example.com"},
}


def verified(headers: RawHeaders, body: bytes, to: Any = CLERK) -> dict[str, Any]:
    came = receive(to, headers, body, now=NOW)
    assert isinstance(came, Verified), came
    line: dict[str, Any] = json.loads(came.line)
    return line


def test_an_event() -> None:
    assert verified(*standard_request(DOCUMENT)) == {
        "id": "msg_2KWPBgLlAfxdpx2AI",
        "type": "clerk.user.created",
        "created": 1_789_997_598,
        "data": {"object": {"id": "user_1", "email": "rosa@example.com"}},
    }


def test_what_the_library_signs_is_verified() -> None:
    body = json.dumps(DOCUMENT)
    signature = Webhook(SECRET).sign("msg_1", datetime.fromtimestamp(NOW, UTC), body)
    headers = [
        (b"Webhook-Id", b"msg_1"),
        (b"Webhook-Timestamp", str(NOW).encode()),
        (b"Webhook-Signature", b"v1a,c2ln v1,AAAA " + signature.encode()),
    ]
    assert verified(headers, body.encode())["id"] == "msg_1"


def test_svixs_own_names_of_the_headers() -> None:
    headers, body = standard_request(DOCUMENT)
    svix = [(name.replace(b"webhook-", b"svix-"), value) for name, value in headers]
    assert verified(svix, body)["id"] == "msg_2KWPBgLlAfxdpx2AI"


def test_what_stands_beside_the_data_is_kept() -> None:
    line = verified(*standard_request(DOCUMENT | {"object": "event", "instance_id": "ins_1"}))
    assert line["data"] == {
        "object": DOCUMENT["data"],
        "envelope": {"object": "event", "instance_id": "ins_1"},
    }
    flat = {"type": "ping", "n": 1}
    line = verified(*standard_request(flat))
    assert (line["data"], line["created"]) == ({"object": flat}, NOW)


def test_the_mapping_can_be_extended() -> None:
    to = entry(Provider.STANDARD, name="clerk", types={"user.created": "user.created"})
    assert verified(*standard_request(DOCUMENT), to=to)["type"] == "user.created"


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        (b"webhook-id", None, RefusalCode.NO_SIGNATURE),
        (b"webhook-timestamp", None, RefusalCode.NO_SIGNATURE),
        (b"webhook-signature", None, RefusalCode.NO_SIGNATURE),
        (b"webhook-id", b"msg_other", RefusalCode.WRONG_SIGNATURE),
        (b"webhook-id", b"", RefusalCode.NO_SIGNATURE),
        (b"webhook-timestamp", b"%d" % (NOW + 1), RefusalCode.WRONG_SIGNATURE),
        (b"webhook-timestamp", b"%d.0" % NOW, RefusalCode.WRONG_SIGNATURE),
        (b"webhook-signature", b"v1,", RefusalCode.WRONG_SIGNATURE),
    ],
)
def test_a_damaged_header_is_refused(name: bytes, value: bytes | None, code: RefusalCode) -> None:
    headers, body = standard_request(DOCUMENT)
    changed = [(each, value if each == name else was) for each, was in headers]
    kept = [(each, given) for each, given in changed if given is not None]
    came = receive(CLERK, kept, body, now=NOW)
    assert isinstance(came, Refused)
    assert came.code is code


def test_a_header_that_stands_twice_is_refused() -> None:
    headers, body = standard_request(DOCUMENT)
    for twice in headers[1:]:
        came = receive(CLERK, [*headers, twice], body, now=NOW)
        assert isinstance(came, Refused)


def test_an_old_one_is_refused() -> None:
    came = receive(CLERK, *standard_request(DOCUMENT, at=NOW - 301), now=NOW)
    assert isinstance(came, Refused)
    assert came.code is RefusalCode.STALE


def test_without_a_type_it_is_kept() -> None:
    odd: tuple[Any, ...] = ({"data": {}}, [], "text")
    for document in odd:
        came = receive(CLERK, *standard_request(document), now=NOW)
        assert isinstance(came, Unmappable)
        assert came.of.key == "clerk:msg_2KWPBgLlAfxdpx2AI"
