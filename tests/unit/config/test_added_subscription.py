"""The file that `relayd add` writes: it says what was given, whatever that was, and carries its marker."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.config.added_subscription import MARKER, NotWritableError, added, is_ours, new_secret
from relayd.config.secrets import standard_problem
from relayd.config.yaml_text import parse_yaml
from relayd.core.secret import Secret, SourcedSecret

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = TEXT | st.integers(-(10**12), 10**12) | st.booleans() | st.none()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(TEXT.filter(lambda key: key != "<<"), VALUES, max_size=5))
def test_it_reads_as_it_was_given(keys: dict[str, Any]) -> None:
    document = parse_yaml(added("shop", keys).raw)
    assert document.faults == ()
    expected = keys or None
    assert document.root.data == {"subscriptions": {"shop": expected}}


@pytest.mark.parametrize(
    "name", ["no", "true", "null", "1", "0x1", "1e3", "_", "-", "007", "~x"[1:]]
)
def test_a_name_stays_the_name(name: str) -> None:
    document = parse_yaml(added(name, {"url": "https://x.example/"}).raw)
    assert document.faults == ()
    assert document.root.data == {"subscriptions": {name: {"url": "https://x.example/"}}}


def test_it_is_written_for_people() -> None:
    keys = {
        "url": "https://shop.example/hooks",
        "events": ["order.*", "user.created"],
        "where": {"data.object.total": {"gte": 5000}},
        "timeout": "5s",
    }
    assert added("shop", keys).raw.decode() == (
        f"{MARKER}\n"
        "subscriptions:\n"
        "  shop:\n"
        "    url: https://shop.example/hooks\n"
        '    events: ["order.*", user.created]\n'
        "    where:\n"
        "      data.object.total: {gte: 5000}\n"
        "    timeout: 5s\n"
    )


def test_what_cannot_be_in_a_file_is_refused() -> None:
    deep: object = 1
    for _ in range(100):
        deep = [deep]
    for value in (deep, "\ud83d", object(), math.inf, [{"gte": math.nan}]):
        with pytest.raises(NotWritableError):
            added("shop", {"url": value})


def test_the_marker_says_whose_it_is() -> None:
    assert is_ours(added("shop", {}).raw)
    assert not is_ours(f" {MARKER}\n".encode())
    assert not is_ours(f"{MARKER} no\n".encode())
    assert not is_ours(b"")


def test_a_new_secret_works_with_each_scheme() -> None:
    secret = new_secret()
    assert standard_problem(SourcedSecret(Secret(secret), "text")) is None
    assert new_secret() != secret
