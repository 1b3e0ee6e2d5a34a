"""`POST /v1/events`: a program hands over one event, or many, a line each."""

import re
from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from relayd.core.event import MAX_INPUT_BYTES
from relayd.core.json_text import encoded, plain_text
from relayd.core.web_access import Role
from relayd.web.access import holder_of
from relayd.web.body import Bodies
from relayd.web.followed_document import document_of
from relayd.web.intake_link import Head, IntakeLink
from relayd.web.problem import ProblemError

NDJSON: Final = "application/x-ndjson"
MOST_BYTES: Final = 8 * 1024 * 1024
"""Of a request with many events."""
MOST_EVENTS: Final = 10_000

KEY_PATTERN: Final = r'^([A-Za-z0-9_:-]{1,128}|"[A-Za-z0-9_:-]{1,128}")$'

_STATUS: Final = {
    "too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "id_conflict": HTTPStatus.CONFLICT,
    "defect": HTTPStatus.INTERNAL_SERVER_ERROR,
}


class EventsIn:
    """Takes events from the holders of `http.producers` tokens."""

    def __init__(self, intake: IntakeLink, bodies: Bodies) -> None:
        self._intake = intake
        self._bodies = bodies

    async def post(self, request: Request) -> Response:
        """Answer 202 once the event is durable, or for NDJSON 200 with a result for each line."""
        head = self._head(request)
        if request.headers.get("content-type", "").partition(";")[0].strip() == NDJSON:
            if head.id:
                raise ProblemError(
                    HTTPStatus.BAD_REQUEST,
                    "one_event_only",
                    "Idempotency-Key is the id of one event; give each line its own id",
                )
            async with self._bodies.whole(request, MOST_BYTES, head.source) as body:
                return await self._many(body, head)
        async with self._bodies.whole(request, MAX_INPUT_BYTES, head.source) as body:
            return await self._one(body, head)

    def _head(self, request: Request) -> Head:
        holder = holder_of(request)
        if holder is None:
            raise ProblemError(
                HTTPStatus.UNAUTHORIZED,
                "no_token",
                "send the token of a producer, as Authorization: Bearer TOKEN",
                {"WWW-Authenticate": "Bearer"},
            )
        key = _key(request)
        settings = document_of(request)
        if holder.role is Role.EVERYTHING:
            return Head("http", settings.settings["market_id"], None, key)
        if holder.role is not Role.PRODUCER:
            raise ProblemError(
                HTTPStatus.FORBIDDEN, "wrong_token", "this token may not hand over events"
            )
        producer = settings.access.producers[holder.name]
        return Head(f"http:{holder.name}", producer.market_id, producer.markets, key)

    async def _one(self, body: bytes, head: Head) -> Response:
        # A line holds no line break. In its place a tab is as much a space between tokens, and as wrong
        # within a text: what is not JSON does not become it.
        line = body.replace(b"\n", b"\t").replace(b"\r", b"\t")
        [answer] = await self._intake.hand_over(head, [line])
        if not answer.get("ok"):
            raise _refused(answer)
        return JSONResponse(
            {key: value for key, value in answer.items() if key != "ok"}, HTTPStatus.ACCEPTED
        )

    async def _many(self, body: bytes, head: Head) -> Response:
        lines = [line for line in body.split(b"\n") if line.strip()]
        if len(lines) > MOST_EVENTS:
            raise ProblemError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "too_many",
                f"more than {MOST_EVENTS:,} events in one request",
            )
        answers = await self._intake.hand_over(head, lines)
        return Response(
            b"".join(encoded(plain_text(answer)) + b"\n" for answer in answers), media_type=NDJSON
        )


def _key(request: Request) -> str:
    """Return the id that the header gives, which may be in quotes; nothing without the header."""
    if "idempotency-key" not in request.headers:
        return ""
    text = request.headers["idempotency-key"].strip()
    match = re.fullmatch(KEY_PATTERN, text)
    if match is None or len(request.headers.getlist("idempotency-key")) > 1:
        # Who sends it would take an event without it for one that may be sent again.
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "invalid_id",
            "Idempotency-Key must be one id: 1 to 128 letters of a-z and A-Z, digits, _, - or :",
        )
    return text.strip('"')


def _refused(answer: dict[str, Any]) -> ProblemError:
    code = str(answer.get("code", "refused"))
    status = _STATUS.get(code, HTTPStatus.UNPROCESSABLE_ENTITY)
    headers = {"Retry-After": "5"} if status is HTTPStatus.SERVICE_UNAVAILABLE else {}
    return ProblemError(status, code, str(answer.get("error", "relayd refused it")), headers)
