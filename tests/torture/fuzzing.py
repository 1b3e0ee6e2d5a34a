"""Random bytes and mutants for the three parsers: the configuration, the socket's line, the row.

Each must return, in a bounded time, what it read or why not; an exception is a defect. What one
finds becomes a test in `tests/unit`.
"""

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from relayd.config.load import ConfigError, parse_config
from relayd.core.event import Column, Event, EventDefaults, Rejection, SpoolRow
from relayd.core.event_input import event_from_line, event_from_row

_DEFAULTS = EventDefaults("market_123", "2024-01-01")
_SLOW_S = 2.0

_PIECES = [
    b"{", b"}", b"[", b"]", b'"', b":", b",", b"\\u0000", b"\\ud800", b"\\udc00", b"\x00", b"\xff",
    b"\xc3\xa9", b"\xed\xa0\x80", b"1e999", b"-0", b"9007199254740993", b"NaN", b"null", b"true",
    b" ", b"\n", b"\t", b"\xef\xbb\xbf", b"*a", b"&a", b"<<: ", b"!!python/none ", b"- ", b"? ", b"| ",
    b"%YAML 1.1\n", b"---\n", b"...\n", b"#", b"on", b"012", b"1:30", b"\x1b[2J", b"'", b"\\", b"\r",
]  # fmt: skip

_LINE = json.dumps(
    {
        "id": "evt_1",
        "type": "order.created",
        "created": 1640995200,
        "data": {"object": {"id": "order_456", "total": 42.5, "tags": ["a", None, True]}},
        "market_id": "market_123",
        "api_version": "2024-01-01",
    }
).encode()


@dataclass(frozen=True, slots=True)
class Finding:
    """An input that a parser did not bear."""

    parser: str
    seed: int
    number: int
    data: bytes
    error: str


def mutant(source: bytes, plan: random.Random) -> bytes:
    """Return the source with a few random changes."""
    data = bytearray(source)
    for _ in range(plan.randint(1, 12)):
        at = plan.randint(0, len(data))
        match plan.randrange(6):
            case 0:
                data[at:at] = plan.choice(_PIECES) * plan.choice((1, 1, 1, 2, 50, 3000))
            case 1:
                del data[at : at + plan.randint(1, 40)]
            case 2 if data:
                data[min(at, len(data) - 1)] ^= 1 << plan.randrange(8)
            case 3:
                data[at:at] = data[: plan.randint(0, len(data))]
            case 4:
                data[at:at] = plan.randbytes(plan.randint(1, 20))
            case _:
                other = plan.randint(0, len(data))
                data[min(at, other) : max(at, other)] = plan.choice(_PIECES)
    return bytes(data[:2_000_000])


def _configuration(data: bytes) -> None:
    try:
        parse_config(data, Path("/nowhere/config.yaml"), environ={"HOME": "/root"})
    except ConfigError as error:
        texts = [str(problem) for problem in error.problems]
    else:
        return
    assert texts
    assert all(text.isprintable() for text in texts), texts


def _line(data: bytes) -> None:
    _judge(event_from_line(data, _DEFAULTS, new_id="evt_new", now=1_700_000_000))


def _row(data: bytes) -> None:
    fields = data.split(b"\xfe", 5)
    values: list[Column] = [
        int(each) if each.isdigit() and len(each) < 18 else each for each in fields
    ]
    values += [None] * (6 - len(values))
    _judge(event_from_row(SpoolRow(1, *values), _DEFAULTS, now=1_700_000_000))


def _judge(found: Event | Rejection) -> None:
    if isinstance(found, Rejection):
        assert found.reason.isprintable(), repr(found.reason)
        return
    parsed = json.loads(found.body)
    assert list(parsed) == ["id", "type", "created", "data", "market_id", "api_version"]


def parsers(example: bytes) -> dict[str, tuple[Callable[[bytes], None], list[bytes]]]:
    """Return each parser with what its mutants are made of."""
    row = b"\xfe".join(
        [b"evt_1", b"order.created", b'{"object":{"id":"order_456"}}', b"1640995200"]
    )
    return {
        "configuration": (_configuration, [example]),
        "line": (_line, [_LINE]),
        "row": (_row, [row]),
    }


def fuzz(name: str, seconds: float, seed: int, example: bytes) -> tuple[int, Finding | None]:
    """Feed a parser for so long; return how many inputs it had, and what it did not bear."""
    parse, sources = parsers(example)[name]
    plan = random.Random(seed)
    end = time.monotonic() + seconds
    number = 0
    data = b""
    while time.monotonic() < end:
        number += 1
        # Mutants of mutants, too: they get further from what is expected.
        source = data if data and plan.random() < 0.3 else plan.choice(sources)
        data = mutant(source, plan)
        began = time.monotonic()
        try:
            parse(data)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
            return number, Finding(name, seed, number, data, repr(error)[:300])
        if (took_s := time.monotonic() - began) > _SLOW_S:
            return number, Finding(name, seed, number, data, f"took {took_s:.1f} s")
    return number, None
