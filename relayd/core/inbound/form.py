"""A form in a request's body, URL-encoded or multipart, as the object of its fields; bounded.

Files that come with a form are named, with their sizes; their contents stay in the raw body.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote_plus

from relayd.core.inbound.request import NotMappableError, Request
from relayd.core.json_text import JsonValue

URL_ENCODED: Final = "application/x-www-form-urlencoded"
MULTIPART: Final = "multipart/form-data"
FORM_TYPES: Final = frozenset({URL_ENCODED, MULTIPART})

MOST_FIELDS: Final = 1000
_LONGEST_NAMED: Final = 1024


@dataclass(frozen=True, slots=True)
class Form:
    """Its fields, each a text, or a list of texts where it came more than once; and its files."""

    fields: dict[str, JsonValue] = field(repr=False)
    files: list[JsonValue] = field(repr=False)


def content_type(request: Request) -> str:
    """Return the body's media type, in lower case, without its parameters; empty without one."""
    return (request.first("content-type") or "").partition(";")[0].strip().lower()


def named_fields(request: Request, names: Collection[str]) -> dict[str, JsonValue]:
    """Return these fields of a form that nobody vouches for yet, as `form_object` has them.

    Of a URL-encoded one nothing else is decoded: that takes half a second for each MiB. Raises
    `NotMappableError`.
    """
    if content_type(request) == MULTIPART:
        fields = form_object(request).fields
        return {name: fields[name] for name in names if name in fields}
    pairs = request.body.split(b"&", MOST_FIELDS)
    if len(pairs) > MOST_FIELDS:
        raise _too_many()
    wanted = {name.encode(): name for name in names}
    found: list[tuple[str, str]] = []
    for pair in pairs:
        written, _, value = pair.partition(b"=")
        if (name := wanted.get(written)) is not None and len(value) <= _LONGEST_NAMED:
            found.append((name, unquote_plus(value.decode("latin-1"), errors="replace")))
    return _joined(found)


def form_object(request: Request) -> Form:
    """Return the form that the body is, as its media type says. Raises `NotMappableError`."""
    if content_type(request) == MULTIPART:
        # Loaded here: it belongs to relayd[web], and few providers send such forms.
        from relayd.core.inbound.multipart import parts_of_form  # noqa: PLC0415 - see above

        pairs, files = parts_of_form(request.first("content-type") or "", request.body)
    else:
        pairs, files = _url_encoded(request.body), []
    return Form(_joined(pairs), files)


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, JsonValue]:
    found: dict[str, JsonValue] = {}
    for name, value in pairs:
        before = found.get(name)
        if before is None:
            found[name] = value
        elif isinstance(before, list):
            before.append(value)
        else:
            found[name] = [before, value]
    return found


def _url_encoded(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            encoding="utf-8",
            errors="replace",
            max_num_fields=MOST_FIELDS,
        )
    except UnicodeDecodeError:
        raise NotMappableError(
            "invalid_form", "the form holds bytes that are not escaped"
        ) from None
    except ValueError:
        raise _too_many() from None


def _too_many() -> NotMappableError:
    return NotMappableError("invalid_form", f"the form has more than {MOST_FIELDS} fields")
