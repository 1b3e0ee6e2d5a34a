"""Sends an answer in parts: of one that its client does not read, little is in the socket's buffer."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from starlette.types import Send

PART_BYTES: Final = 64 * 1024


def parts_of(body: bytes) -> Iterator[bytes]:
    """Yield a body that is whole in parts."""
    for start in range(0, len(body), PART_BYTES):
        yield body[start : start + PART_BYTES]


async def send_parts(
    send: Send, status: int, headers: Sequence[tuple[bytes, bytes]], parts: Iterable[bytes]
) -> None:
    """Send an answer. Each part waits until the client has read of those before it."""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for part in parts:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
