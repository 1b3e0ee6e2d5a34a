"""The form that describes a subscription: its fields as keys of the configuration, and back again."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.datastructures import QueryParams

from relayd.core.catalogue import EVENT_TYPES, RELAYD_TYPES, description

_FIELDS: Final = {"subscription": "name", "previous_secret": "secret"}
"""The field of a key, where it has another name."""

_NAMED: Final = frozenset(
    {"name", "url", "events", "where", "active", "timeout", "retry", "rate_limit", "secret"}
)


@dataclass(frozen=True, slots=True)
class Given:
    """What the form has. `events` are those of its list, `others` what was written beside it.

    `signing` says which secret: `make` or `own` for a new subscription; `keep`, `rotate` or `own` for another.
    """

    name: str = ""
    url: str = ""
    events: tuple[str, ...] = ()
    others: str = ""
    where: str = ""
    active: bool = True
    timeout: str = ""
    retry: str = ""
    rate_limit: str = ""
    signing: str = "make"
    own_secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Group:
    """Event types of one kind: `pattern` stands for all of them, `types` has each with what it means."""

    pattern: str
    types: Sequence[tuple[str, str]]


def read_form(form: QueryParams) -> Given:
    """Return what was filled in."""

    def text(name: str) -> str:
        return form.get(name, "").strip()

    return Given(
        text("name"),
        text("url"),
        tuple(dict.fromkeys(form.getlist("events"))),
        text("others"),
        text("where"),
        "active" in form,
        text("timeout"),
        text("retry"),
        text("rate_limit"),
        text("secret"),
        text("own_secret"),
    )


def keys_of(given: Given) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Return the keys, None where the configuration has none, and what is wrong, by field."""
    from relayd.config.written_conditions import (  # noqa: PLC0415 - it loads PyYAML
        NotConditionsError,
        conditions_of,
    )

    wrong: dict[str, list[str]] = {}
    where = None
    try:
        where = conditions_of([line for line in given.where.splitlines() if line.strip()]) or None
    except NotConditionsError as error:
        wrong["where"] = [str(error).lstrip(": ")]
    events = [*given.events, *_listed(given.others)]
    if not events:
        wrong["events"] = ["Choose at least one."]
    waits: list[str] | None = _listed(given.retry) or None
    if given.retry.strip("[] ").lower() == "none":
        waits = []
    keys = {
        "url": given.url or None,
        "events": "*" if events == ["*"] else events,
        "where": where,
        "active": None if given.active else False,
        "timeout": given.timeout or None,
        "retry": waits,
        "rate_limit": given.rate_limit or None,
    }
    if given.signing == "own":
        keys["secret"] = given.own_secret
        if not given.own_secret:
            wrong["secret"] = ["is empty"]
    return keys, wrong


def given_of(name: str, keys: Mapping[str, Any], known: Iterable[str]) -> Given:
    """Return the form of a subscription with these keys, whose URL and secret are not shown.

    What is not of the right kind, as a person may have written it, is left empty.
    """
    written = keys.get("events")
    events = [written] if isinstance(written, str) else _list(written)
    listed = {"*"}
    for group in groups_of(known):
        listed |= {group.pattern, *(name for name, _ in group.types)}
    where, retry = keys.get("where"), keys.get("retry")
    conditions = where.items() if isinstance(where, dict) else ()
    return Given(
        name=name,
        events=tuple(each for each in events if each in listed),
        others=", ".join(each for each in events if each not in listed),
        where="\n".join(
            f"{path}: {json.dumps(test, ensure_ascii=False)}" for path, test in conditions
        ),
        active=keys.get("active", True) is not False,
        timeout=str(keys.get("timeout") or ""),
        retry="none" if retry == [] else ", ".join(_list(retry)),
        rate_limit=str(keys.get("rate_limit") or ""),
        signing="keep",
    )


def errors_of(details: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the problems that the daemon found, by field; those of no field under nothing."""
    found: dict[str, list[str]] = defaultdict(list)
    for each in details:
        key = each["key"]
        hint = f" ({each['hint']})" if each["hint"] else ""
        words = f"{each['message']}{hint}"
        head = "" if key is None else re.split(r"[.\[]", key)[0]
        head = _FIELDS.get(head, head)
        if key is None:
            line = "" if each["line"] is None else f":{each['line']}"
            words = f"{each['file']}{line}: {words}"
        elif head == "where" and (path := key.removeprefix("where").lstrip(".")):
            words = f"{path}: {words}"
        elif head not in _NAMED:
            words = f"{key}: {words}"
        found[head if head in _NAMED else ""].append(words)
    return dict(found)


def groups_of(known: Iterable[str]) -> list[Group]:
    """Return the event types to choose from, by their first word; the catalogue's come first."""
    groups: dict[str, list[tuple[str, str]]] = {}
    catalogue = (*EVENT_TYPES, *RELAYD_TYPES)
    own = [each for each in known if each not in catalogue]
    for each in (*EVENT_TYPES, *sorted(own), *RELAYD_TYPES):
        words = description(each) if each in catalogue else ""
        groups.setdefault(each.partition(".")[0], []).append((each, words))
    return [Group(f"{word}.*", types) for word, types in groups.items()]


def _list(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []


def _listed(text: str) -> list[str]:
    return [each for each in re.split(r"[,\s]+", text.strip("[] \t\r\n")) if each]
