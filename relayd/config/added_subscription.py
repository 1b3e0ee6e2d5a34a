"""A subscription as `relayd add` writes it: a file of its own, with a line that says who wrote it.

Loads nothing that only reading the configuration needs: the daemon writes such files.
"""

import base64
import json
import math
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from relayd.config.problem import Problem
from relayd.config.values import NAME_PATTERN
from relayd.config.yaml_scalars import plain_value
from relayd.core.secret import STANDARD_PREFIX
from relayd.core.smtp import is_mailto

MARKER: Final = "# Written by `relayd add`; `relayd remove` removes this file."
"""The file's first line: only a file with it is ever removed."""

DUPLICATE: Final = "duplicate name"
"""How an error begins where two files have a subscription of one name."""

_NO_PLACE: Final = "no `include:` leaves the name of a new file open"
_NAME: Final = re.compile(NAME_PATTERN.removeprefix("^").removesuffix("$"))
_DEEPEST: Final = 30
_PLAIN = re.compile(
    r"[A-Za-z][A-Za-z0-9_./-]*(://[A-Za-z0-9_.-][A-Za-z0-9_./-]*)?|[1-9][0-9]*[a-z]+"
)
_SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Added:
    """A file to be judged as if it were there: a subscription's name, and the text.

    `replaces` is the file in whose place it is to be; None where there is none yet.
    """

    name: str
    raw: bytes
    replaces: Path | None = None


class NotWritableError(ValueError):
    """What was asked for cannot be in such a file; says why."""


def no_place(path: Path) -> Problem:
    """Return the problem that the configuration at `path` includes no file of any new name."""
    return Problem(
        str(path), None, None, "include", _NO_PLACE, "add `include: subscriptions.d/*.yaml`"
    )


def is_no_place(problem: Problem) -> bool:
    """Tell whether a problem is that one."""
    return problem.message == _NO_PLACE


def is_name(name: str) -> bool:
    """Tell whether a text can be a subscription's name. Each one can be the name of a file, too."""
    return _NAME.fullmatch(name) is not None


def wants_secret(keys: Mapping[str, object]) -> bool:
    """Tell whether a secret is made for these keys of a subscription: there is none, and http is signed."""
    url = keys.get("url")
    return "secret" not in keys and not (isinstance(url, str) and is_mailto(url.lower()))


def new_secret() -> str:
    """Return a secret that works with each scheme."""
    random = secrets.token_bytes(_SECRET_BYTES)
    return STANDARD_PREFIX + base64.b64encode(random).decode()


def added(name: str, keys: Mapping[str, object], replaces: Path | None = None) -> Added:
    """Return the file of a subscription with these keys of the configuration, in place of another one.

    Raises `NotWritableError`. What the keys mean is judged when the file is read.
    """
    lines = [MARKER, "subscriptions:", f"  {_scalar(name)}:"]
    for key, value in keys.items():
        if key == "where" and isinstance(value, dict) and value:
            lines.append("    where:")
            lines += [f"      {_scalar(path)}: {_flow(each, 1)}" for path, each in value.items()]
        else:
            lines.append(f"    {_scalar(key)}: {_flow(value, 0)}")
    try:
        return Added(name, ("\n".join(lines) + "\n").encode(), replaces)
    except UnicodeEncodeError:
        raise NotWritableError("contains half of a surrogate pair") from None


def is_ours(raw: bytes) -> bool:
    """Tell whether `relayd add` wrote a file."""
    return raw.startswith(f"{MARKER}\n".encode())


def _flow(value: object, depth: int) -> str:
    if depth > _DEEPEST:
        raise NotWritableError(f"is nested more than {_DEEPEST} levels deep")
    if isinstance(value, dict):
        pairs = (f"{_scalar(str(key))}: {_flow(each, depth + 1)}" for key, each in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list):
        return f"[{', '.join(_flow(each, depth + 1) for each in value)}]"
    if isinstance(value, str):
        return _scalar(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise NotWritableError("is a number that is too large")  # it would be read as text
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    raise NotWritableError("is neither text, a number, true, false, a list nor a mapping")


def _scalar(text: str) -> str:
    if _PLAIN.fullmatch(text) and plain_value(text) == text:
        return text
    return f'"{"".join(_escaped(text))}"'


def _escaped(text: str) -> Iterator[str]:
    for char in text:
        code = ord(char)
        if char in '"\\':
            yield f"\\{char}"
        elif char.isprintable() or 0xD800 <= code <= 0xDFFF:  # a surrogate is refused as a whole
            yield char
        else:
            # YAML takes some of these for line breaks, and cannot hold others.
            yield f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
