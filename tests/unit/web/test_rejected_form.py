"""What a form of rejected input changes: nothing where a browser sends back what it was shown."""

from dataclasses import replace

import pytest

from relayd.core.event import SpoolRow
from relayd.queue.snapshot_values import RejectedInput
from relayd.views.rejected import columns_of
from relayd.web.dashboard.rejected import changes_of


def rejected(data: bytes) -> RejectedInput:
    row = SpoolRow(7, b"order_1", b"order.created", data, 1_700_000_000, b"market_1", None)
    return RejectedInput(
        7, "inbound shop", 1_700_000_000.0, "invalid_type", "no type", row, b"f" * 32
    )


def sent_back(found: RejectedInput) -> dict[str, str]:
    """Return the fields as a browser sends them: HTML has each line's end as LF, and no NUL; a form CR LF."""
    columns = {name: "" if each is None else str(each) for name, each in columns_of(found).items()}
    shown = columns["data"].replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")
    return {**columns, "data": shown.replace("\n", "\r\n")}


@pytest.mark.parametrize(
    "data",
    [
        b'{"object": {\n  "id": 1}}\n',
        b'{"object": {\r\n  "id": 1}}\r\n',
        b'{"object":\r {"id": 1}}',
        b"\r\n--B\r\nContent-Disposition: form-data; name=a; filename=b\r\n\r\n\x00\xff\r\r\n\n--B--\r\n",
    ],
)
def test_what_nobody_changed_is_resubmitted_as_it_came(data: bytes) -> None:
    found = rejected(data)
    assert changes_of(sent_back(found), found) == {}


def test_what_was_changed_is_sent_with_the_line_ends_of_a_form_taken_off() -> None:
    found = rejected(b'{"object":\r 1}')
    form = {**sent_back(found), "data": '{"object":\r\n {}}', "type": " order.updated "}
    assert changes_of(form, found) == {"data": '{"object":\n {}}', "type": "order.updated"}


def test_the_raw_body_of_a_webhook_is_not_the_data_of_an_event() -> None:
    found = replace(rejected(b'{"type": 7}'), webhook="{}")
    form = {**sent_back(found), "data": ""}
    assert changes_of(form, found) == {}
    changed = form | {"data": '{"object": {}}', "type": "a.b"}
    assert changes_of(changed, found) == {"type": "a.b", "data": '{"object": {}}'}
