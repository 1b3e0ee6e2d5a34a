"""What is shown of a subscription's keys: nothing that may be secret, however it is written."""

import pytest

from relayd.config.shown_keys import MASK, shown_keys


@pytest.mark.parametrize("key", ["secret", "previous_secret", "feed_token"])
def test_where_a_secret_is_read_from_is_shown_and_nothing_else(key: str) -> None:
    for place in ({"file": "/a"}, {"env": "A"}, {"credential": "a"}):
        assert shown_keys({key: place}) == {key: place}
    for value in (
        "hidden",
        12345678,
        ["hidden"],
        {"text": "hidden"},
        {"file": "/a", "x": "hidden"},
    ):
        assert shown_keys({key: value}) == {key: MASK}


@pytest.mark.parametrize(
    "keys",
    [
        {"url": "https://user:hidden@shop.example/hidden?hidden"},
        {"url": "hidden/hidden"},
        {"url": "https://[hidden/hidden"},
        {"url": ["https://shop.example/hidden"]},
        {"headers": {"X-Key": "hidden", "X-Number": 12345678, "X-List": ["hidden"]}},
        {"headers": ["X-Key: hidden"]},
        {"headers": "hidden"},
    ],
)
def test_no_path_and_no_headers_value_is_shown(keys: dict[str, object]) -> None:
    shown = str(shown_keys(keys))
    assert "hidden" not in shown
    assert "12345678" not in shown


def test_the_others_are_shown_as_they_are() -> None:
    keys = {"events": ["*"], "timeout": "5s", "headers": {"X-Key": {"env": "KEY"}}}
    assert shown_keys({**keys, "url": {"file": "/a"}}) == {**keys, "url": {"file": "/a"}}
