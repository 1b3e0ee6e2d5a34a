"""`POST /in/NAME`: a provider's webhook is verified, and answered 200 only once it is durable.

Logs `webhook_refused`, at most once a minute of each kind for each entry, with how many there were.
"""

import json
import math
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, Final

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from relayd.core.inbound.entry import Inbound
from relayd.core.inbound.receive import receive
from relayd.core.inbound.verdict import (
    Headers,
    ProviderEvent,
    RefusalCode,
    Refused,
    Unmappable,
    Verified,
)
from relayd.core.login_limits import LoginLimits
from relayd.core.same_site import limited_as
from relayd.core.token_bucket import Rate
from relayd.core.webhook import KEPT_RAW_BYTES, head_of, token_digest
from relayd.web.access import client_of
from relayd.web.body import Bodies
from relayd.web.followed_document import document_of
from relayd.web.intake_link import Head, IntakeLink
from relayd.web.problem import ProblemError
from relayd.web.webhook_counts import Result, WebhookCounts

_log = structlog.get_logger()

MOST_BYTES: Final = 2 * 1024 * 1024
"""Of a webhook."""

REFUSED_OF_ONE: Final = Rate(3_000, 600.0)
REFUSED_OF_ALL: Final = Rate(30_000, 600.0)
"""So many with a bad signature are looked at, of an address and of all. A signature of 2 MiB takes some 5 ms."""

SMALL_BYTES: Final = 64 * 1024
"""A body that is looked at however many have failed: it takes 0.1 ms, and one of Mailgun's 1.5 ms at worst."""

_NEVER_KEPT: Final = frozenset({"defect"})
"""The daemon's refusals that are not of the event: the provider sends it again."""


class WebhooksIn:
    """Takes the webhooks of the entries of `inbound:`."""

    def __init__(self, intake: IntakeLink, bodies: Bodies, counts: WebhookCounts) -> None:
        self._intake = intake
        self._bodies = bodies.of_webhooks()
        self._of_strangers = self._bodies.of_strangers()
        self._counts = counts
        self._limits = LoginLimits(REFUSED_OF_ONE, REFUSED_OF_ALL)

    async def post(self, request: Request) -> Response:
        """Answer 200 once it is durable, now or before."""
        entry = document_of(request).inbound.get(request.path_params["name"])
        if entry is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, "no_such_entry", "there is no such entry")
        try:
            result, response = await self._answer(request, entry)
        except ProblemError as problem:
            self._counts.add(entry.name, Result.of_problem(problem.code))
            raise
        self._counts.add(entry.name, result)
        return response

    async def _answer(self, request: Request, entry: Inbound) -> tuple[Result, Response]:
        client = client_of(request)
        address = limited_as(client)
        if not _admits(entry, client):
            raise self._refused(
                entry, HTTPStatus.FORBIDDEN, "address", "its allow_from: does not have it"
            )
        known, now = self._limits.is_known(address), time.monotonic()
        if not known and (own_wait_s := self._limits.own_wait_s(address, now)) > 0:
            raise _too_many(own_wait_s)
        # Whoever holds back the ends of bodies keeps out others like them, and no provider: none that is
        # known, and none whose networks the entry names.
        vouched = known or bool(entry.networks)
        bodies = self._bodies if vouched else self._of_strangers
        wait_s = 0.0 if vouched else self._limits.wait_s(address, now)
        async with self._body(bodies, request, address, wait_s) as body:
            verdict = receive(entry, request.headers.raw, body, now=time.time())
            if isinstance(verdict, Refused):
                if verdict.code is not RefusalCode.TEST_MODE:
                    self._limits.failed(address, time.monotonic())
                raise self._refused(entry, HTTPStatus(verdict.status), verdict.code, verdict.reason)
            self._limits.succeeded(address)
            if isinstance(verdict, Verified):
                return await self._event(entry, verdict, body)
            return await self._keep(entry, verdict, body)

    @asynccontextmanager
    async def _body(
        self, bodies: Bodies, request: Request, address: str, wait_s: float
    ) -> AsyncIterator[bytes]:
        """Give the body. While strangers have to wait, one that is small is looked at all the same.

        A provider may come from an address that is new here, and to look costs less than to refuse it.
        """
        most = SMALL_BYTES if wait_s > 0 else MOST_BYTES
        async with AsyncExitStack() as stack:
            try:
                body = await stack.enter_async_context(bodies.whole(request, most, address))
            except ProblemError as problem:
                if wait_s > 0 and problem.code == "too_large":
                    raise _too_many(wait_s) from problem
                raise
            yield body

    async def _event(
        self, entry: Inbound, verdict: Verified, body: bytes
    ) -> tuple[Result, Response]:
        webhook = _webhook(verdict.of, verdict.headers, body)
        raw = body if len(body) <= KEPT_RAW_BYTES else b""
        line = _line(entry, {"webhook": webhook}, verdict.line, raw)
        answer = await self._intake.patiently(entry.source, line)
        if answer.get("ok"):
            duplicate = bool(answer.get("duplicate"))
            found = {"id": answer.get("id"), **({"duplicate": True} if duplicate else {})}
            return Result.DUPLICATE if duplicate else Result.ACCEPTED, JSONResponse(found)
        code, reason = str(answer.get("code")), str(answer.get("error"))
        self._check(entry, code)
        return await self._kept(entry, webhook, (code, reason), body)

    async def _keep(
        self, entry: Inbound, verdict: Unmappable, body: bytes
    ) -> tuple[Result, Response]:
        why = verdict.rejection.code, verdict.rejection.reason
        return await self._kept(entry, _webhook(verdict.of, verdict.headers, body), why, body)

    async def _kept(
        self, entry: Inbound, webhook: dict[str, object], why: tuple[str, str], body: bytes
    ) -> tuple[Result, Response]:
        """Have it kept as rejected input: an odd event must not have the provider give up on the endpoint."""
        line = _line(entry, {"webhook": webhook, "reject": why}, b"", body)
        answer = await self._intake.patiently(entry.source, line)
        if not answer.get("ok"):
            self._check(entry, str(answer.get("code")), kept=False)
        if answer.get("duplicate"):
            return Result.DUPLICATE, JSONResponse({"duplicate": True})
        return Result.REJECTED, JSONResponse({"rejected": True})

    def _check(self, entry: Inbound, code: str, *, kept: bool = True) -> None:
        """Raise `ProblemError` for what the daemon refused and is not to be kept."""
        if code == "token_reused":
            raise self._refused(
                entry,
                HTTPStatus.UNAUTHORIZED,
                code,
                "the token of its signature came with another event before",
            )
        if not kept or code in _NEVER_KEPT:
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "defect",
                "internal error at this event; relayd's log has it",
                {"Retry-After": "60"},
            )

    def _refused(self, entry: Inbound, status: HTTPStatus, code: str, reason: str) -> ProblemError:
        """Return what the sender is answered, which says nothing of why; the log does."""
        if (count := self._counts.refused(entry.name, code)) is not None:
            _log.warning(
                "webhook_refused", entry=entry.name, code=str(code), count=count, detail=reason
            )
        return ProblemError(status, "refused", "this request is not accepted")


def _too_many(wait_s: float) -> ProblemError:
    return ProblemError(
        HTTPStatus.TOO_MANY_REQUESTS,
        "busy",
        "too many requests without a right signature",
        {"Retry-After": str(math.ceil(wait_s))},
    )


def _admits(entry: Inbound, client: str) -> bool:
    if not entry.networks:
        return True
    try:
        address = ip_address(client)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return entry.admits(mapped or address)


def _webhook(of: ProviderEvent, headers: Headers, body: bytes) -> dict[str, object]:
    token = "" if of.token is None else token_digest(of.provider, of.token)
    return head_of(of.key, token, headers, body)


def _line(entry: Inbound, more: dict[str, Any], event: bytes, raw: bytes) -> bytes:
    """Return the line that the intake socket takes: see `sources.web_intake`."""
    head = json.loads(Head(entry.source, entry.market_id, frozenset()).line()) | more
    return b"\t".join((json.dumps(head).encode(), event, b64encode(raw)))
