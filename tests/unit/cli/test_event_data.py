"""Data for an event: fields that `--set` sets."""

import json

import click
import pytest

from relayd.cli.event_data import with_fields

DATA = '{"object":{"id":"order_1","total":1,"items":[{"n":1},{"n":2}]}}'


@pytest.mark.parametrize(
    ("field", "path", "value"),
    [
        ("data.object.total=9900", ("object", "total"), 9900),
        ("data.object.status=paid", ("object", "status"), "paid"),
        ('data.object.id="7"', ("object", "id"), "7"),
        ("data.object.paid=true", ("object", "paid"), True),
        ("data.object.items.1.n=null", ("object", "items", 1, "n"), None),
        ("data.object.a.b=[1]", ("object", "a", "b"), [1]),
        ("data.object.note=a=b", ("object", "note"), "a=b"),
        ("data.object.note=", ("object", "note"), ""),
        ("data.object.note=NaN", ("object", "note"), "NaN"),
    ],
)
def test_a_field_is_set(field: str, path: tuple[str | int, ...], value: object) -> None:
    found = json.loads(with_fields(DATA, [field]))
    for key in path:
        found = found[key]
    assert found == value


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("data.object.total", "give a path and a value"),
        ("total=1", "give a path and a value"),
        ("data=1", "give a path and a value"),
        ("data..x=1", "give a path and a value"),
        ("data.object.items.2.n=1", "has 2 elements"),
        ("data.object.items.n=1", "is a list"),
        ("data.object.total.x=1", "is not an object"),
        ("data.object.total=1e999", "as large as 1e999"),
    ],
)
def test_what_cannot_be_set_is_said(field: str, words: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        with_fields(DATA, [field])
    assert words in caught.value.message


def test_data_that_is_not_json_is_refused() -> None:
    with pytest.raises(click.ClickException, match="not valid JSON"):
        with_fields("{", ["data.object.total=1"])
