"""A request's body, whole, within a limit."""

from http import HTTPStatus

from starlette.requests import ClientDisconnect, Request

from relayd.web.problem import ProblemError


async def whole_body(request: Request, limit: int) -> bytes:
    """Return the body. Raises `ProblemError`, without reading on, where it is larger than `limit`."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise _too_large(limit)
    except ClientDisconnect as error:
        raise ProblemError(
            HTTPStatus.BAD_REQUEST, "incomplete", "the body ended too early"
        ) from error
    return bytes(body)


def _too_large(limit: int) -> ProblemError:
    return ProblemError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "too_large",
        f"the body is larger than {limit:,} bytes",
        {"Connection": "close"},
    )
