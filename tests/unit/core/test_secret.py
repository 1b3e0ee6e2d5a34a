"""A secret's text comes out by `reveal` alone."""

import copy
import dataclasses
import json
import pickle
import pprint
import traceback
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.core.secret import Secret, SourcedSecret

TEXT = "whsec_hunter2"
SECRET = Secret(TEXT)


def test_reveal_shows_it() -> None:
    assert SECRET.reveal() == TEXT


@pytest.mark.parametrize(
    "shown",
    [
        repr(SECRET),
        str(SECRET),
        f"{SECRET}",
        f"{SECRET!r}",
        f"{SECRET!s}",
        f"{SECRET!a}",
        "{}".format(SECRET),  # noqa: UP032 - another way to the same method
        "%s %r" % (SECRET, SECRET),  # noqa: UP031 - another way to the same method
        ascii(SECRET),
        repr([SECRET]),
        repr({"secret": SECRET}),
        pprint.pformat([SECRET]),
        repr(SourcedSecret(SECRET, "file /etc/relayd/secrets/bookkeeping")),
        str(SourcedSecret(SECRET, "env BOOKKEEPING")),
    ],
)
def test_no_way_to_print_it_shows_it(shown: str) -> None:
    assert "hunter2" not in shown
    assert "Secret(" in shown or "\\u2026" in shown


def test_where_it_came_from_may_be_shown() -> None:
    assert "env BOOKKEEPING" in repr(SourcedSecret(SECRET, "env BOOKKEEPING"))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_is_not_pickled(protocol: int) -> None:
    for value in (SECRET, SourcedSecret(SECRET, "text"), [SECRET]):
        with pytest.raises(TypeError, match="not written anywhere"):
            pickle.dumps(value, protocol)


def test_it_is_not_copied() -> None:
    for duplicate in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not written anywhere"):
            duplicate(SECRET)
    with pytest.raises(TypeError, match="not written anywhere"):
        dataclasses.asdict(SourcedSecret(SECRET, "text"))


def test_errors_about_it_do_not_show_it() -> None:
    attempts: list[Callable[[], object]] = [
        lambda: json.dumps(SECRET),
        lambda: f"{SECRET:>20}",
        lambda: SECRET + "x",  # type: ignore[operator] # must fail
        lambda: len(SECRET),  # type: ignore[arg-type] # must fail
        lambda: SECRET.hunter,  # type: ignore[attr-defined] # must fail
        lambda: vars(SECRET),
        lambda: pickle.dumps(SECRET),
    ]
    for attempt in attempts:
        with pytest.raises((TypeError, AttributeError)) as caught:
            attempt()
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))
        assert "hunter2" not in repr(caught.value)


def test_it_has_no_attributes_to_dump() -> None:
    assert not hasattr(SECRET, "__dict__")


@given(st.text(), st.text())
def test_equality_is_the_texts(one: str, other: str) -> None:
    assert (Secret(one) == Secret(other)) == (one == other)
    assert Secret(one) == Secret(one)
    assert hash(Secret(one)) == hash(Secret(one))


def test_a_secret_is_no_text() -> None:
    assert SECRET != TEXT
    assert TEXT != SECRET
    # Not even its hash is the text's, by which a table of known texts would find it.
    assert hash(SECRET) != hash(TEXT)


def test_sourced_secrets_are_equal_by_text_and_source() -> None:
    """A reload compares them to tell what changed."""
    assert SourcedSecret(Secret("a"), "text") == SourcedSecret(Secret("a"), "text")
    assert SourcedSecret(Secret("a"), "text") != SourcedSecret(Secret("b"), "text")
    assert SourcedSecret(Secret("a"), "text") != SourcedSecret(Secret("a"), "env A")
