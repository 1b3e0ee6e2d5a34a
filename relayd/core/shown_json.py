"""JSON as a person may be shown it: in lines, and with what is not printable escaped.

In such text nothing is a command to a terminal, and nothing changes the direction of what is around it.
"""

import re
from typing import Final

_UNUSUAL: Final = re.compile(r"[^\n -~]+")
_PARTS: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"|\[\]|\{\}|[\[\]{},:]|[^\s"\[\]{},:]+')


def json_printable(text: str) -> str:
    """Return JSON that may be shown: what is not printable is escaped, as JSON escapes."""
    return _UNUSUAL.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return "".join(
        char if char.isprintable() else "".join(f"\\u{unit:04x}" for unit in _units(char))
        for char in found[0]
    )


def _units(char: str) -> list[int]:
    raw = char.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(raw[index : index + 2]) for index in range(0, len(raw), 2)]


def json_indented(text: str) -> str:
    """Return valid JSON without spaces as lines that are indented. No number or text is changed."""
    depth = 0
    pieces: list[str] = []
    for part in _PARTS.findall(text):
        if part in ("[]", "{}"):
            pieces.append(part)
        elif part in "[{":
            depth += 1
            pieces.append(f"{part}\n{'  ' * depth}")
        elif part in "]}":
            depth -= 1
            pieces.append(f"\n{'  ' * depth}{part}")
        elif part == ",":
            pieces.append(f",\n{'  ' * depth}")
        else:
            pieces.append(": " if part == ":" else part)
    return "".join(pieces)
