"""A request's body, whole, within a limit."""

from http import HTTPStatus
from typing import Final

from starlette.requests import ClientDisconnect, Request

from relayd.web.problem import ProblemError

DROPPED_BYTES: Final = 32 * 1024 * 1024
"""Of a body that is too large, so much is still read: a client that sends has no eye for the answer,
and a connection that is closed with unread bytes is reset, answer and all (RFC 9112, 9.6)."""


async def whole_body(request: Request, limit: int) -> bytes:
    """Return the body. Raises `ProblemError`, also where it is larger than `limit`."""
    body = bytearray()
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size <= limit:
                body += chunk
            elif size > DROPPED_BYTES:
                break
    except ClientDisconnect as error:
        raise ProblemError(
            HTTPStatus.BAD_REQUEST, "incomplete", "the body ended too early"
        ) from error
    if size > limit:
        raise ProblemError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "too_large",
            f"the body is larger than {limit:,} bytes",
            {"Connection": "close"},
        )
    return bytes(body)
