"""Data -> the models of the file, with a message of our own for everything that does not fit.

What does not fit is taken out, or replaced by something that fits, so that all that is right can
be checked further in the same run. Its place counts as bad, and nothing more is said of it.
"""

from difflib import get_close_matches
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from relayd.config.fields import WRONG_VALUE
from relayd.config.findings import SECRET_KEYS, Findings
from relayd.config.http_models import HttpSection, ProducerSection
from relayd.config.inbound_models import InboundSection, PlaceSection, SchemeSection
from relayd.config.models import (
    File,
    LogSection,
    QueueSection,
    SmtpSection,
    SocketSection,
    SpoolSection,
)
from relayd.config.problem import MAX_PROBLEMS, KeyPath
from relayd.config.stand_ins import EXAMPLES, ITEM_STAND_INS, STAND_INS
from relayd.config.subscription_models import (
    TAGS,
    DefaultsSection,
    SecretSource,
    SignatureSection,
    SubscriptionSection,
    TlsSection,
)

_ROUNDS: Final = 4
"""Taking a value out can make a required key missing, which is replaced in the next round."""

_LONGEST_WORD: Final = 100

NOTHING_MEANS_ABSENT: Final = frozenset(
    {
        "include",
        "spools",
        "log",
        "allow_networks",
        "event_types",
        "inbound",
        "types",
        "defaults",
        "subscriptions",
        "headers",
        "where",
    }
)
"""Sections whose every line may be commented out."""

_NUMBER_HINTS: Final = {
    "timeout": "add a unit, as 10s",
    "retention": "add a unit, as 30d",
    "max_size": "add a unit, as 2GB",
    "retry": "add a unit, as 2m",
    "tolerance": "add a unit, as 5m",
    "rate_limit": "add a period, as 100/min",
}
_TYPES: Final = {
    "int_type": ("a whole number", ""),
    "bool_type": ("true or false", ""),
    "list_type": ("a list", "as [first, second]"),
    "dict_type": ("keys and values", ""),
    "model_type": ("keys and values", ""),
}
_LIMITS: Final = {
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
    "too_long": "holds more than {max_length}",
    "too_short": "is empty",
}
_SECTIONS: Final[dict[str, type[BaseModel]]] = {
    "socket": SocketSection,
    "queue": QueueSection,
    "http": HttpSection,
    "log": LogSection,
    "smtp": SmtpSection,
    "defaults": DefaultsSection,
}
_SUBSECTIONS: Final[dict[str, type[BaseModel]]] = {
    **dict.fromkeys((*SECRET_KEYS, "headers"), SecretSource),
    "signature": SignatureSection,
    "tls": TlsSection,
    "scheme": SchemeSection,
}
_NAMED_SECTIONS: Final[dict[str, type[BaseModel]]] = {
    "producers": ProducerSection,
    "inbound": InboundSection,
    "spools": SpoolSection,
    "subscriptions": SubscriptionSection,
}


def read_shape(findings: Findings) -> File | None:
    """Return the file's models, with every error noted in `findings`.

    None when there is nothing that could be checked further.
    """
    data = findings.value(())
    if not isinstance(data, dict):
        findings.error((), "must be keys and values", "as `market_id: market_123`")
        return None
    data = _without_nulls(data, (), findings)
    for _ in range(_ROUNDS):
        try:
            return File.model_validate(data)
        except ValidationError as error:
            if error.error_count() > MAX_PROBLEMS * 10:
                findings.error((), "does not look like a configuration of relayd")
                return None
            for details in error.errors(include_url=False, include_input=False):
                _note(details, findings)
                _mend(data, details)
    return None


def _without_nulls(data: dict[str, Any], path: KeyPath, findings: Findings) -> dict[str, Any]:
    """Return a copy without keys that have no value. Aliased parts are no longer shared."""
    copy: dict[str, Any] = {}
    for key, value in data.items():
        here = (*path, key)
        if value is None:
            if key not in NOTHING_MEANS_ABSENT:
                findings.error(here, "has no value", "write one, or remove the key", at_key=True)
        elif isinstance(value, dict) and not _is_where(here):
            copy[key] = _without_nulls(value, here, findings)
        else:
            copy[key] = list(value) if isinstance(value, list) else value
    return copy


def _is_where(path: KeyPath) -> bool:
    # In a condition `null` is a value to compare with.
    return len(path) == 3 and path[0] == "subscriptions" and path[2] == "where"


def _location(details: ErrorDetails) -> tuple[KeyPath, bool]:
    """Return where in the data an error is, and whether the key itself is wrong."""
    loc = details["loc"]
    path = tuple(part for part in loc if part not in TAGS)
    return (path[:-1], True) if path and path[-1] == "[key]" else (path, False)


def _note(details: ErrorDetails, findings: Findings) -> None:
    path, at_key = _location(details)
    if isinstance(path[-1], int) and isinstance(findings.value(path[:-1]), str):
        path = path[:-1]  # a text in place of a list of one
    context = details.get("ctx", {})
    match details["type"]:
        case "missing":
            message, at_key = "is missing", True
            key = str(path[-1])
            hint = f"write `{key}: {EXAMPLES[key]}`" if key in EXAMPLES else ""
        case "extra_forbidden":
            message, hint, at_key = "unknown key", _key_hint(path), True
        case kind if kind == WRONG_VALUE:
            message, hint = str(context["message"]), str(context["hint"])
        case "literal_error":
            message, hint = _literal_words(str(context["expected"]), findings.value(path))
        case kind:
            message, hint = _type_words(kind, context, path, findings.value(path))
    findings.error(path, message, hint, at_key=at_key)


def _section_at(path: KeyPath) -> type[BaseModel]:
    """Return the model of the section at `path`, of which something inside was at fault."""
    if not path:
        return File
    head = str(path[0])
    below = path[1 if head in {"defaults", "smtp"} else 2 :]
    if len(below) > 1 and below[0] == "scheme":
        return PlaceSection
    if below and below[0] in _SUBSECTIONS:
        return _SUBSECTIONS[str(below[0])]
    return _NAMED_SECTIONS[head] if head in _NAMED_SECTIONS else _SECTIONS[head]


def _key_hint(path: KeyPath) -> str:
    fields = _section_at(path[:-1]).model_fields
    known = [field.alias or name for name, field in fields.items()]
    key = str(path[-1])
    meant = _nearest(key, known)
    if meant is not None:
        return f"did you mean `{meant}`?"
    if len(path) == 1:
        for name, section in (_SECTIONS | _NAMED_SECTIONS).items():
            if key in section.model_fields:
                return f"it belongs under `{name}:`"
    if len(path) > 1 and key in File.model_fields:
        return "it belongs at the file's left edge"
    return f"known here: {', '.join(known)}"


def _literal_words(expected: str, value: object) -> tuple[str, str]:
    options = expected.replace("'", "")
    if isinstance(value, str) and value in expected.split(" or "):
        return f"must be {options}, and is text", "leave out the quotes"
    if not isinstance(value, str):
        return f"must be {options}, and is {_described(value)}", ""
    meant = _nearest(value, options.replace(" or ", ", ").split(", "))
    return f"must be {options}", "" if meant is None else f"did you mean {meant}?"


def _nearest(word: str, known: list[str]) -> str | None:
    return next(iter(get_close_matches(word[:_LONGEST_WORD], known, n=1)), None)


def _type_words(
    kind: str, context: dict[str, Any], path: KeyPath, value: object
) -> tuple[str, str]:
    if kind == "string_type":
        return f"must be text, and is {_described(value)}", _text_hint(path, value)
    if kind in _TYPES:
        wanted, hint = _TYPES[kind]
        if path[-1] == "where":
            hint = "as {data.object.total: {gte: 5000}}"
        return f"must be {wanted}, and is {_described(value)}", hint
    if kind in _LIMITS:
        return _LIMITS[kind].format_map(context), ""
    return "cannot be used here", ""


def _text_hint(path: KeyPath, value: object) -> str:
    if isinstance(value, list | dict):
        return ""
    if path[-1] in SECRET_KEYS:
        return "put it in quotes, or write {file: PATH}"
    key = next((part for part in reversed(path) if isinstance(part, str)), "")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return _NUMBER_HINTS.get(key, "put it in quotes") if is_number else "put it in quotes"


def _described(value: object) -> str:
    match value:
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case dict():
            return "keys and values"
        case _:
            return "nothing"


def _mend(data: dict[str, Any], details: ErrorDetails) -> None:
    """Take what an error is about out of `data`, or replace it by something that fits."""
    path, _ = _location(details)
    parent: Any = data
    for part in path[:-1]:
        if isinstance(parent, dict) and part not in parent:
            return  # Taken out already, with what it is in.
        if isinstance(parent[part], str):
            parent[part] = [parent[part]]  # a text in place of a list of one
        parent = parent[part]
    last = path[-1]
    if isinstance(parent, list):
        parent[int(last)] = ITEM_STAND_INS.get(path[-2], "stand-in")
    elif details["type"] == "missing":
        parent[last] = STAND_INS[str(last)]
    else:
        parent.pop(last, None)
