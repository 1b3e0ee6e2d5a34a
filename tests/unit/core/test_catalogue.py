"""The catalogue: complete, each sample a valid event."""

import json
import time
from pathlib import Path

import pytest

from relayd.core.catalogue import EVENT_TYPES, RELAYD_TYPES, description, sample, suggest
from relayd.core.event import Event, EventDefaults
from relayd.core.event_input import event_from_line, own_event
from relayd.core.json_text import stringify
from relayd.core.samples import SAMPLES

DEFAULTS = EventDefaults("market_123", "2024-01-01")
ORDER_CREATED = Path(__file__).with_name("order.created.json").read_bytes().strip()


def test_the_sample_of_a_new_order_is_the_contracts_own_byte_for_byte() -> None:
    line = json.dumps(
        {
            "type": "order.created",
            "data": sample("order.created"),
            "id": "evt_order_created_123",
            "created": 1640995200,
        }
    )
    event = event_from_line(line.encode(), DEFAULTS, new_id="evt_new", now=1)
    assert isinstance(event, Event)
    assert event.body == ORDER_CREATED


def test_a_real_event_goes_through_unchanged() -> None:
    event = event_from_line(ORDER_CREATED, EventDefaults("m", "v", None), new_id="evt_new", now=1)
    assert isinstance(event, Event)
    assert event.body == ORDER_CREATED
    assert event.unfaithful == ()


def test_the_catalogue_is_complete() -> None:
    assert len(EVENT_TYPES) == 17 + 9
    assert not set(EVENT_TYPES) & set(RELAYD_TYPES)
    assert set(SAMPLES) == {*EVENT_TYPES, *RELAYD_TYPES}


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_each_sample_of_a_market_is_a_valid_event(event_type: str) -> None:
    line = stringify({"type": event_type, "data": sample(event_type)})
    event = event_from_line(line.encode(), DEFAULTS, new_id="evt_new", now=1)
    assert isinstance(event, Event)
    assert event.unfaithful == ()
    assert list(event.data or ()) == ["object"]


@pytest.mark.parametrize("event_type", RELAYD_TYPES)
def test_each_sample_of_relayd_is_an_event_of_its_own(event_type: str) -> None:
    event = own_event(
        event_type, sample(event_type), event_id="evt_1", created=1, defaults=DEFAULTS
    )
    assert event.type == event_type


@pytest.mark.parametrize("event_type", [*EVENT_TYPES, *RELAYD_TYPES])
def test_each_description_is_one_sentence(event_type: str) -> None:
    words = description(event_type)
    assert words.endswith(".")
    assert words[0].isupper()
    assert "\n" not in words
    assert len(words) < 80


def test_a_sample_is_the_callers_own() -> None:
    first = sample("order.created")
    first["object"] = None
    again = sample("order.created")
    assert again["object"] is not None
    items = again["object"]["items"]  # type: ignore[index,call-overload]  # it is an object
    items.clear()  # type: ignore[union-attr]  # and these a list
    assert sample("order.updated")["object"]["items"]  # type: ignore[index,call-overload]  # as above


def test_unknown_types_have_neither() -> None:
    with pytest.raises(KeyError):
        sample("order.eaten")
    with pytest.raises(KeyError):
        description("order.eaten")


@pytest.mark.parametrize(
    ("event_type", "nearest"),
    [
        ("order.create", "order.created"),
        ("orders.created", "order.created"),
        ("payment.success", "payment.succeeded"),
        ("inventory.update", "inventory.updated"),
        ("weather.changed", None),
        ("x", None),
    ],
)
def test_the_nearest_type_is_suggested(event_type: str, nearest: str | None) -> None:
    assert suggest(event_type, frozenset(EVENT_TYPES)) == nearest


def test_of_many_names_the_nearest_is_suggested_in_little_time() -> None:
    names = [f"customer-{number:05}-of-the-market" for number in range(10_000)]
    began = time.process_time()
    assert suggest("customer-04711-of-the-markt", names) == "customer-04711-of-the-market"
    assert suggest("nothing-like-that", names) is None
    assert time.process_time() - began < 0.15


def test_only_known_types_are_suggested() -> None:
    assert suggest("order.create", ["csa.renewed"]) is None
    assert suggest("csa.renew", ["csa.renewed", *EVENT_TYPES]) == "csa.renewed"
