"""A form in a request's body, URL-encoded or multipart, as the object of its fields; bounded.

Files that come with a form are named, with their sizes; their contents stay in the raw body.
"""

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

from relayd.core.inbound.request import NotMappableError, Request
from relayd.core.json_text import JsonValue

URL_ENCODED: Final = "application/x-www-form-urlencoded"
MULTIPART: Final = "multipart/form-data"
FORM_TYPES: Final = frozenset({URL_ENCODED, MULTIPART})

MOST_FIELDS: Final = 1000


@dataclass(frozen=True, slots=True)
class Form:
    """Its fields, each a text, or a list of texts where it came more than once; and its files."""

    fields: dict[str, JsonValue] = field(repr=False)
    files: list[JsonValue] = field(repr=False)


def content_type(request: Request) -> str:
    """Return the body's media type, in lower case, without its parameters; empty without one."""
    return (request.first("content-type") or "").partition(";")[0].strip().lower()


def form_object(request: Request) -> Form:
    """Return the form that the body is, as its media type says. Raises `NotMappableError`."""
    if content_type(request) == MULTIPART:
        # Loaded here: it belongs to relayd[web], and few providers send such forms.
        from relayd.core.inbound.multipart import parts_of_form  # noqa: PLC0415 - see above

        pairs, files = parts_of_form(request.first("content-type") or "", request.body)
    else:
        pairs, files = _url_encoded(request.body), []
    found: dict[str, JsonValue] = {}
    for name, value in pairs:
        before = found.get(name)
        if before is None:
            found[name] = value
        elif isinstance(before, list):
            before.append(value)
        else:
            found[name] = [before, value]
    return Form(found, files)


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
        reason = "the form holds bytes that are not escaped"
    except ValueError:
        reason = f"the form has more than {MOST_FIELDS} fields"
    raise NotMappableError("invalid_form", reason)
