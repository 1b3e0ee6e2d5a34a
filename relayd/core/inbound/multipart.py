"""A multipart form: its fields and files, by python-multipart's parser, within bounds of ours.

Only the parser itself is used: it calls back with positions, and writes nothing to a disk. What it
reads byte by byte, spaces after a boundary and what only begins as one, is bounded before.
"""

from dataclasses import dataclass, field
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from relayd.core.inbound.request import NotMappableError
from relayd.core.json_text import JsonValue

MOST_PARTS: Final = 200
_LONGEST_NAME: Final = 256
_LONGEST_HEADER: Final = 1024


@dataclass(slots=True)
class _Part:
    headers: dict[bytes, bytes] = field(default_factory=dict)
    content: list[bytes] = field(default_factory=list)
    name: bytes = b""
    value: bytes = b""


def parts_of_form(content_type: str, body: bytes) -> tuple[list[tuple[str, str]], list[JsonValue]]:
    """Return the fields, as names and texts, and the files: `name`, `filename`, `content_type`, `size`.

    `content_type` is the header's value, with the boundary. Raises `NotMappableError` for what is
    no form, also where its end is missing.
    """
    if len(content_type) > _LONGEST_HEADER:
        raise _invalid("its Content-Type is too long")
    try:
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise _invalid("its Content-Type has no boundary")
        delimiter = b"--" + boundary
        if body.count(delimiter) > MOST_PARTS + 1:
            raise _too_many()
        # RFC 2046, 5.1.1 allows them, and nobody sends them.
        if delimiter + b" " in body or delimiter + b"\t" in body:
            raise _invalid("it has spaces behind a boundary")
        parts = _parts(boundary, body)
    except FormParserError:
        raise _invalid("it is not as the specification says") from None
    fields: list[tuple[str, str]] = []
    files: list[JsonValue] = []
    for part in parts:
        disposition = part.headers.get(b"content-disposition", b"")
        # How long its parameters take to read grows with the square of their length.
        if len(disposition) > _LONGEST_HEADER:
            raise _invalid("a Content-Disposition is too long")
        said = parse_options_header(disposition)[1]
        name = _text(said.get(b"name", b""))[:_LONGEST_NAME]
        content = b"".join(part.content)
        if b"filename" not in said:
            fields.append((name, _text(content)))
            continue
        files.append(
            {
                "name": name,
                "filename": _text(said[b"filename"])[:_LONGEST_NAME],
                "content_type": _text(part.headers.get(b"content-type", b""))[:_LONGEST_NAME],
                "size": len(content),
            }
        )
    return fields, files


def _parts(boundary: bytes, body: bytes) -> list[_Part]:
    parts: list[_Part] = []
    ended = False

    def part_begin() -> None:
        if len(parts) == MOST_PARTS:
            raise _too_many()
        parts.append(_Part())

    def header_field(data: bytes, start: int, end: int) -> None:
        parts[-1].name += data[start:end]

    def header_value(data: bytes, start: int, end: int) -> None:
        parts[-1].value += data[start:end]

    def header_end() -> None:
        part = parts[-1]
        part.headers.setdefault(part.name.lower(), part.value)
        part.name = part.value = b""

    def part_data(data: bytes, start: int, end: int) -> None:
        parts[-1].content.append(data[start:end])

    def at_end() -> None:
        nonlocal ended
        ended = True

    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": part_begin,
            "on_header_field": header_field,
            "on_header_value": header_value,
            "on_header_end": header_end,
            "on_part_data": part_data,
            "on_end": at_end,
        },
    )
    # It logs a warning for each body that is not a form: whoever sends these could fill a log.
    parser.logger.disabled = True
    parser.write(body)
    if not ended:
        raise _invalid("its end is missing")
    return parts


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _too_many() -> NotMappableError:
    return _invalid(f"it has more than {MOST_PARTS} parts")


def _invalid(reason: str) -> NotMappableError:
    return NotMappableError("invalid_form", f"the body is not a multipart form: {reason}")
