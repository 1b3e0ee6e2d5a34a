"""An event, what it comes from, and why something cannot be one.

`event_input` makes events of what producers hand over.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from relayd.core.event_fields import checked_data
from relayd.core.js_json import JsonProblem, Parsed, parse_json
from relayd.core.json_text import JsonValue
from relayd.core.parts import Parts
from relayd.core.sliced_body import parse_in_slices
from relayd.core.value import value

MAX_BODY_BYTES: Final = 1_048_576
"""A body's largest size: 1 MiB, at which it is still delivered."""

MAX_INPUT_BYTES: Final = 4 * MAX_BODY_BYTES
"""A longer text is not even parsed. Escapes and spaces shrink on the way to a body: three times
where a producer writes Cyrillic letters or emoji as escapes, as Python does by default."""


@value
class Event:
    """A valid event. Made by `event_input`, which sees to it that its parts agree.

    `created` is in Unix seconds. `body` is what receivers get. `data` is None where it was read by
    another process and is only in the body; `values` then has what that process found at the paths
    that conditions need, by path. `unfaithful` names the fields that not every receiver can carry
    unchanged, as `Parsed` does. `digest` is the SHA-256 of the type, NUL
    and the data as it stands in the body: it tells the same id with the same content from the
    same id with other content. `object_id` is what is at `data.object.id`: see `core.object_id`.
    """

    id: str
    type: str
    created: int
    data: dict[str, JsonValue] | None = field(repr=False)
    market_id: str
    api_version: str
    body: bytes = field(repr=False)
    unfaithful: tuple[str, ...]
    digest: bytes = field(repr=False)
    values: Mapping[str, list[object]] = field(default_factory=dict, repr=False, compare=False)
    object_id: str | None = field(default=None, repr=False)

    @property
    def envelope(self) -> dict[str, JsonValue]:
        """The event under its keys, as its body has them. Parses the body where `data` is None.

        Raises ValueError when another process made a body that is not what it says.
        """
        if self.data is None:
            return self._with_data(parse_json(self.body.decode()))
        return self._envelope(self.data)

    def envelope_in_slices(self) -> Parts[dict[str, JsonValue]]:
        """Return the envelope, as a body that was not parsed yet has it, in slices."""
        parsed = yield from parse_in_slices(self.body.decode())
        return self._with_data(parsed)

    def _with_data(self, parsed: Parsed | JsonProblem) -> dict[str, JsonValue]:
        if isinstance(parsed, Parsed) and isinstance(parsed.value, dict):
            return self._envelope(checked_data(parsed.value.get("data")))
        raise ValueError(f"the body of {self.id} is not an event's")

    def _envelope(self, data: dict[str, JsonValue]) -> dict[str, JsonValue]:
        return {
            "id": self.id,
            "type": self.type,
            "created": self.created,
            "data": data,
            "market_id": self.market_id,
            "api_version": self.api_version,
        }

    @property
    def head(self) -> dict[str, JsonValue]:
        """The event under its keys, without its data."""
        return {
            "id": self.id,
            "type": self.type,
            "created": self.created,
            "market_id": self.market_id,
            "api_version": self.api_version,
        }


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why something cannot be an event.

    `code` is for programs: `invalid_json`, `invalid_text` (not UTF-8), `too_deep`, `too_large`,
    `not_an_object`, `unknown_key`, `missing_key`, `wrong_market`, or `invalid_` and the key; later on
    `id_conflict` (see `Acceptance`) and `quarantined` (see `core.quarantine`). `reason` is a sentence for
    people: what is wrong, and what would be right.
    """

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class EventDefaults:
    """What a source gives an event that does not say it itself, and what the event may say.

    `markets` are the markets that an event may name beside `market_id`; None lets it name any.
    """

    market_id: str
    api_version: str
    markets: frozenset[str] | None = frozenset()


Column = bytes | int | float | None


@value
class SpoolRow:
    """A row as SQLite has it: text as its bytes, since it may be no UTF-8, or hold NUL."""

    seq: int
    id: Column
    type: Column
    data: Column = field(repr=False)
    created: Column
    market_id: Column
    api_version: Column
