"""`/v1/subscriptions`: what is in force and how it stands, and what `add`, `remove`, `pause`, `resume` and `test` do."""

import json
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request

from relayd.control import NoDaemonError, RefusedByDaemonError
from relayd.core.catalogue import suggest
from relayd.views.subscription_changes import (
    added_document,
    held_document,
    removed_document,
    tested_document,
)
from relayd.views.subscriptions import subscriptions_document
from relayd.web.api.refusals import no_answer, not_done
from relayd.web.api.service import Answer, Service
from relayd.web.body import Bodies
from relayd.web.followed_document import document_of, look_again
from relayd.web.operation import JSON
from relayd.web.problem import ProblemError
from relayd.web.query import check_names, refused, text

MOST_BYTES: Final = 256 * 1024
"""Of a subscription."""

RELOAD_S: Final = 240.0
"""More than the daemon gives the reading of the file: it says what came of it."""
TEST_S: Final = 90.0
"""The longest attempt, and the wait for a place in the rate limit."""
QUICK_S: Final = 2.0

_NOT_KEYS: Final = frozenset({"command", "subscription", "check", "whole", "rotate"})
"""Of the control socket's request; none is a key of a subscription."""


class Subscriptions:
    """Answers what is asked of subscriptions."""

    def __init__(self, service: Service, bodies: Bodies) -> None:
        self._service = service
        self._bodies = bodies

    async def show_all(self, request: Request) -> Answer:
        """List the subscriptions in force."""
        check_names(request.query_params, (), ())
        return Answer(await self._found(document_of(request).settings["subscriptions"]))

    async def show_one(self, request: Request) -> Answer:
        """Show one of them."""
        check_names(request.query_params, (), ())
        name = request.path_params["name"]
        configured = document_of(request).settings["subscriptions"]
        found = await self._found([each for each in configured if each["name"] == name])
        if not found["subscriptions"]:
            near = suggest(name, [each["name"] for each in configured])
            hint = f"; did you mean {near}?" if near else ""
            raise ProblemError(
                HTTPStatus.NOT_FOUND, "unknown", f"there is no such subscription in force{hint}"
            )
        return Answer(found["subscriptions"][0])

    async def _found(self, configured: list[Mapping[str, Any]]) -> dict[str, Any]:
        now = time.time()
        overview = await self._service.look(lambda each: each.overview(now=now, tallied=False))
        return await self._service.run(lambda: subscriptions_document(configured, overview))

    async def put(self, request: Request) -> Answer:
        """Add a subscription as a file, or replace the file that was added, and reload."""
        check_names(request.query_params, (), ())
        only_new = _is_for_new(request)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
            raise ProblemError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "not_json", f"send a subscription as {JSON}"
            )
        async with self._bodies.whole(request, MOST_BYTES, "PUT") as body:
            keys = _keys(body)
        asked = {**keys, "subscription": request.path_params["name"]}
        with self._service.long_request():
            try:
                answer, created = await self._ask({**asked, "command": "add"}), True
            except RefusedByDaemonError as error:
                if error.code != "exists":
                    raise not_done(error) from error
                if only_new:
                    raise _failed_precondition("exists", str(error)) from error
                answer, created = await self._replace(asked, error), False
        await look_again(request)
        status = HTTPStatus.CREATED if created else HTTPStatus.OK
        headers = {"Location": f"/v1/subscriptions/{asked['subscription']}"} if created else None
        return Answer(added_document(answer, in_force=True), status, headers)

    async def _replace(
        self, asked: Mapping[str, object], exists: RefusedByDaemonError
    ) -> dict[str, Any]:
        try:
            return await self._ask({**asked, "command": "edit", "whole": True})
        except RefusedByDaemonError as error:
            # Something else has the name, as a file that is not in force.
            raise not_done(exists if error.code == "unknown" else error) from error

    async def _ask(self, request: Mapping[str, object]) -> dict[str, Any]:
        """Return the daemon's answer. Raises `RefusedByDaemonError`, and `ProblemError` for none."""
        try:
            return await self._service.daemon.ask(request, timeout_s=RELOAD_S)
        except (NoDaemonError, TimeoutError) as error:
            raise no_answer(error, RELOAD_S) from error

    async def delete(self, request: Request) -> Answer:
        """Remove a subscription that was added, and reload."""
        check_names(request.query_params, (), ())
        with self._service.long_request():
            answer = await self._service.ask(_command("remove", request), timeout_s=RELOAD_S)
        await look_again(request)
        return Answer(removed_document(answer, in_force=True))

    async def pause(self, request: Request) -> Answer:
        """Hold its deliveries."""
        return await self._hold("pause", request)

    async def resume(self, request: Request) -> Answer:
        """Let its deliveries go on."""
        return await self._hold("resume", request)

    async def _hold(self, command: str, request: Request) -> Answer:
        check_names(request.query_params, (), ())
        answer = await self._service.ask(_command(command, request))
        return Answer(held_document(request.path_params["name"], answer))

    async def test(self, request: Request) -> Answer:
        """Send a sample event now, and say what came back."""
        check_names(request.query_params, ("type",), ())
        event_type = text(request.query_params, "type", 128)
        asked = {**_command("test", request), "type": event_type}
        with self._service.long_request():
            sent = await self._service.ask(asked, timeout_s=TEST_S)
        return Answer(tested_document(sent, await self._in_force()))

    async def _in_force(self) -> dict[str, Any] | None:
        """Return whether what was tested is what is on disk; None where the daemon cannot say so in time."""
        try:
            return await self._service.daemon.ask({"command": "in_force"}, timeout_s=QUICK_S)
        except (NoDaemonError, RefusedByDaemonError, TimeoutError):
            return None


def _is_for_new(request: Request) -> bool:
    """Return whether nothing is to be replaced. Raises `ProblemError` for a condition that cannot be checked."""
    # Whoever sends one counts on it: a change must not be lost since it was ignored.
    if "if-match" in request.headers:
        raise _failed_precondition("precondition", "If-Match is not known: documents have no ETag")
    given = request.headers.get("if-none-match")
    if given is not None and given.strip() != "*":
        raise refused("If-None-Match is `*`, or is left out: documents have no ETag")
    return given is not None


def _failed_precondition(code: str, detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.PRECONDITION_FAILED, code, detail)


def _command(name: str, request: Request) -> dict[str, object]:
    return {"command": name, "subscription": request.path_params["name"]}


def _keys(body: bytes) -> dict[str, object]:
    """Return a subscription's keys. What they mean is judged by the daemon."""
    try:
        keys = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ProblemError(
            HTTPStatus.BAD_REQUEST, "invalid_json", "the body is not valid JSON"
        ) from error
    if not isinstance(keys, dict):
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", "a subscription is a JSON object"
        )
    for key in _NOT_KEYS.intersection(keys):
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", f"{key}: unknown key")
    return keys


def _refuse_constant(name: str) -> object:
    raise ValueError(name)  # NaN and Infinity are not JSON
