"""One sentence about an event: what it means, and what to do. `explain`, mail and chats say the same.

Each of relayd's own events has a function here; `own_events` says which facts they have. What an
event holds goes through `Show`, so that each form can escape it; the text around it is relayd's.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from relayd.core.catalogue import EVENT_TYPES, description
from relayd.core.object_id import id_text

Show = Callable[[str], str]
"""Makes text from an event fit to stand in a message."""

LONGEST_VALUE: Final = 200
"""Characters of one value from an event."""

_MOST_NAMED: Final = 5
_REPAIR: Final = re.compile(r"(.+?)(; then| Then) `relayd replay [^`]*`", re.DOTALL)
_IN_COMMANDS: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_:-]{0,127}")
# Control characters, and those that turn the direction of the text around them or take no room.
_UNSEEN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]+"
)


@dataclass(frozen=True, slots=True)
class Sentence:
    """`short` says what happened; `rest` when, why and what to do. Neither has a full stop at its end."""

    short: str
    rest: str = ""

    def __str__(self) -> str:
        """Return the whole of it."""
        return f"{self.short}{self.rest}."


def plain(text: str) -> str:
    """Return a text on one line, without what is not seen, and of `LONGEST_VALUE` characters at most.

    Backticks are relayd's own: what is between them is a command that it advises.
    """
    # The cut first: a value may have a megabyte.
    seen = _UNSEEN.sub(" ", text[: 2 * LONGEST_VALUE]).replace("`", "'").strip()
    return seen if len(seen) <= LONGEST_VALUE else f"{seen[: LONGEST_VALUE - 1]}…"


def sentence_about(event: Mapping[str, object], show: Show = plain) -> Sentence:
    """Return the sentence about an event, given under its body's keys. `show` gets what `plain` gave.

    Anything may be missing from the event: then the sentence says less.
    """

    def shown(value: object) -> str:
        return show(plain(_text(value)))

    event_type = _text(event.get("type"))
    data = event.get("data")
    thing = data.get("object") if isinstance(data, Mapping) else None
    about = _OWN.get(event_type)
    if about is not None and isinstance(thing, Mapping):
        return about(_Facts(thing, shown))
    number = id_text(thing.get("id")) if isinstance(thing, Mapping) else None
    known = event_type in EVENT_TYPES
    short = description(event_type).removesuffix(".") if known else shown(event_type)
    where = shown(event_type) if known else ""
    if event.get("market_id") is not None:  # a large event is not read
        where += f" in {shown(event['market_id'])}"
    number_of = f"event {shown(event.get('id'))}"
    where = f"{where.strip()}, {number_of}" if where else number_of
    return Sentence(short if number is None else f"{short}: {shown(number)}", f" ({where})")


class _Facts:
    """What one of relayd's own events says, fit to stand in a message."""

    def __init__(self, thing: Mapping[Any, Any], shown: Callable[[object], str]) -> None:
        self._thing = thing
        self._shown = shown

    def __getitem__(self, key: str) -> str:
        return self._shown(self._thing.get(key, "unknown"))

    def __contains__(self, key: str) -> bool:
        return self._thing.get(key) is not None

    def reason(self, key: str, lead: str = ": ") -> str:
        """Return why, behind `lead`; nothing where it is not known."""
        # Some are sentences of their own.
        text = _text(self._thing.get(key, "")).strip().rstrip(".")
        return f"{lead}{self._shown(text)}" if text else ""

    def number(self, key: str) -> int:
        """Return a count; 1 where there is none."""
        value = self._thing.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else 1

    def repair(self) -> str:
        """Return what comes before the command in `next`, with `then` at its end; nothing where nothing does."""
        found = _REPAIR.fullmatch(_text(self._thing.get("next", "")))
        return "" if found is None else f"{self._shown(found[1])}{found[2]} "

    def time(self, key: str) -> str:
        """Return a moment, in UTC: who reads it may be anywhere."""
        value = self._thing.get(key)
        if isinstance(value, int | float) and 0 <= value < 253_402_300_800:
            return datetime.fromtimestamp(int(value), UTC).strftime("%Y-%m-%d %H:%M UTC")
        return "an unknown time"

    def for_command(self, key: str, otherwise: str) -> str:
        """Return a name as a command takes it: in a command nothing can be escaped."""
        text = _text(self._thing.get(key, ""))
        return text if _IN_COMMANDS.fullmatch(text) else otherwise

    def names(self, key: str) -> Sequence[str]:
        """Return the first names of a list, or the one that it is."""
        value = self._thing.get(key)
        listed = value if isinstance(value, list | tuple) else [] if value is None else [value]
        return [self._shown(each) for each in listed[:_MOST_NAMED]]

    def first(self, key: str, otherwise: str) -> str:
        """Return the first name of a list, as a command takes it."""
        value = self._thing.get(key)
        text = _text(value[0]) if isinstance(value, list) and value else ""
        return text if _IN_COMMANDS.fullmatch(text) else otherwise

    def of_subscriptions(self) -> str:
        """Return an endpoint's subscriptions in brackets."""
        names = self.names("subscriptions")
        every = self._thing.get("subscriptions")
        count = len(every) if isinstance(every, list) else len(names)
        more = max(self.number("subscription_count"), count) - len(names)
        listed = ", ".join(names) + (f" and {more} more" if names and more > 0 else "")
        return f" ({listed})" if listed else ""


def _failing(facts: _Facts) -> Sentence:
    name = facts.first("subscriptions", "SUBSCRIPTION")
    return Sentence(
        f"Endpoint {facts['url']}{facts.of_subscriptions()} is failing",
        f" since {facts.time('failing_since')}: {facts['failures']} of its last {facts['attempts']}"
        f" attempts failed{facts.reason('last_failure', ', the last one: ')}. Its deliveries are kept"
        f" and retried, one at a time; `relayd test {name}` tries it now",
    )


def _recovered(facts: _Facts) -> Sentence:
    return Sentence(
        f"Endpoint {facts['url']}{facts.of_subscriptions()} has recovered",
        f"; it was failing since {facts.time('failing_since')}. Each retry that is waiting is"
        " attempted now, within the rate limit; nothing has to be done",
    )


def _throttled(facts: _Facts) -> Sentence:
    name = facts.first("subscriptions", "SUBSCRIPTION")
    return Sentence(
        f"Endpoint {facts['url']}{facts.of_subscriptions()} asked for no attempt until"
        f" {facts.time('until')}",
        f": it answered {facts['status']}. Its deliveries are kept; `relayd resume {name}` lifts that",
    )


def _exhausted(facts: _Facts) -> Sentence:
    name = facts.for_command("subscription", "SUBSCRIPTION")
    last = facts.reason("last_failure", "; the last failure: ")
    last = last or facts.reason("reason", "; the last failure: ")
    count = facts.number("count")
    repair = facts.repair()
    lead = f" Next: {repair}" if repair else " "
    if count > 1:
        ids = ", ".join(facts.names("ids"))
        listed = f" ({ids}{', …' if count > len(facts.names('ids')) else ''})" if ids else ""
        return Sentence(
            f"{count} deliveries to {facts['subscription']} are exhausted",
            f" since {facts.time('since')}{listed}: no attempt is left{last}."
            f"{lead}`relayd replay {name} --state exhausted` sends them again",
        )
    tried = facts.number("attempts")
    attempts = "1 attempt" if tried == 1 else f"{tried} attempts"
    after = f" after {attempts}" if "attempts" in facts else ""
    of = f" of {facts['event_type']}" if "event_type" in facts else ""
    of += f" {facts['event_id']}" if "event_id" in facts else ""
    named = facts.for_command("id", facts.first("ids", f"{name} --state exhausted"))
    return Sentence(
        f"The delivery{of} to {facts['subscription']} is exhausted",
        f"{after}: no attempt is left{last}.{lead}`relayd replay {named}` sends it again",
    )


def _rejected(facts: _Facts) -> Sentence:
    count = facts.number("count")
    one = count == 1
    since = f" since {facts.time('since')}" if "since" in facts and count > 1 else ""
    return Sentence(
        f"{'1 input' if one else f'{count} inputs'} from {facts['source']}"
        f" {'was' if one else 'were'} rejected",
        f"{since}{facts.reason('reason')}. {'It is' if one else 'They are'} kept: `relayd rejected`"
        f" lists {'it' if one else 'them'}, and resubmits or drops {'it' if one else 'them'}",
    )


def _held(facts: _Facts) -> Sentence:
    name = facts.for_command("subscription", "SUBSCRIPTION")
    return Sentence(
        f"Subscription {facts['subscription']} is held",
        f"{facts.reason('reason')}. Its deliveries are kept, and none is attempted;"
        f" `relayd resume {name}`, or another url and a reload, ends that",
    )


def _refused(facts: _Facts) -> Sentence:
    times = facts.number("refusals")
    often = f" {times} times since {facts.time('since')}" if times > 1 else ""
    return Sentence(
        f"The configuration was not reloaded{often}",
        f"{facts.reason('reason')}. The one in force stays; `relayd check` says what is wrong,"
        " `relayd reload` tries again",
    )


def _unavailable(facts: _Facts) -> Sentence:
    return Sentence(
        f"No event can be taken from {facts['source']}",
        f" since {facts.time('since')}{facts.reason('reason')}. Nothing is lost: its events wait"
        " there; `relayd status` says what it waits for",
    )


def _available(facts: _Facts) -> Sentence:
    since = f"; none could be since {facts.time('since')}" if "since" in facts else ""
    return Sentence(
        f"Events are taken from {facts['source']} again", f"{since}. Nothing has to be done"
    )


_OWN: Final[Mapping[str, Callable[[_Facts], Sentence]]] = {
    "relayd.endpoint.failing": _failing,
    "relayd.endpoint.recovered": _recovered,
    "relayd.endpoint.throttled": _throttled,
    "relayd.delivery.exhausted": _exhausted,
    "relayd.input.rejected": _rejected,
    "relayd.subscription.held": _held,
    "relayd.reload.refused": _refused,
    "relayd.source.unavailable": _unavailable,
    "relayd.source.recovered": _available,
}


def _text(value: object) -> str:
    if value is None or isinstance(value, Mapping | list | tuple):
        return "unknown"
    return value if isinstance(value, str) else str(value)
