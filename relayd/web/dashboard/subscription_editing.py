"""Add webhook, and the same form to change one that was added: the daemon judges, writes and reloads."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from relayd.config.added_subscription import is_name
from relayd.config.values import NAME_RULE
from relayd.web.dashboard.acting import Acting, NotDoneError
from relayd.web.dashboard.subscription_actions import changes_of
from relayd.web.dashboard.subscription_form import (
    Given,
    errors_of,
    given_of,
    groups_of,
    keys_of,
    read_form,
)
from relayd.web.dashboard.visitor import Visitor
from relayd.web.in_force import in_force_of

CHECK_TIMEOUT_S: Final = 20.0


class SubscriptionEditing:
    """Answers `/add` and `/subscriptions/NAME/edit`."""

    def __init__(self, acting: Acting) -> None:
        self._acting = acting

    async def new(self, request: Request, visitor: Visitor) -> Response:
        """Show the empty form."""
        return await self._form(request, visitor, Given(), {})

    async def add(self, request: Request, visitor: Visitor) -> Response:
        """Add what was filled in; show the form again with what is wrong with it."""
        given = read_form(await self._acting.form(request, visitor))
        keys, wrong = keys_of(given)
        if not is_name(given.name):
            wrong["name"] = [NAME_RULE]
        if not given.url:
            wrong["url"] = ["Where do its deliveries go?"]
        command: dict[str, Any] = {"command": "add", "subscription": given.name}
        command |= {key: value for key, value in keys.items() if value is not None}
        if wrong:
            wrong = {**await self._also_wrong(command, wrong), **wrong}
            return await self._form(request, visitor, given, wrong)
        try:
            answer = await self._acting.reloaded(request, command)
        except NotDoneError as error:
            return await self._form(request, visitor, given, _wrong(error), status=error.status)
        return await self._written(visitor, answer, f"{given.name} was added")

    async def _also_wrong(
        self, command: Mapping[str, Any], wrong: Mapping[str, Any]
    ) -> dict[str, list[str]]:
        """Return what else the daemon would find wrong, so that all of it is said at once."""
        named = {"subscription": "webhook"} if "name" in wrong else {}
        try:
            await self._acting.ask(
                {**command, **named, "check": True}, timeout_s=CHECK_TIMEOUT_S, long=True
            )
        except NotDoneError as error:
            found = errors_of(error.answer.get("details") or ())
            return {field: words for field, words in found.items() if field}
        return {}

    async def edit(self, request: Request, visitor: Visitor) -> Response:
        """Show the form with what the file has."""
        name = request.path_params["name"]
        found = await self._found(name)
        known = in_force_of(request).settings["event_types"]
        return await self._form(request, visitor, given_of(name, found["keys"], known), {}, found)

    async def change(self, request: Request, visitor: Visitor) -> Response:
        """Change what was filled in. Keys that the form does not have stay as they are."""
        form = await self._acting.form(request, visitor)
        name = request.path_params["name"]
        given = read_form(form)
        keys, wrong = keys_of(given)
        if wrong:
            return await self._form(request, visitor, given, wrong, await self._found(name))
        if keys["url"] is None:
            del keys["url"]
        command = {"command": "edit", "subscription": name, **keys}
        if given.signing == "rotate":
            command["rotate"] = True
        elif "end_previous" in form:
            command["previous_secret"] = None
        try:
            answer = await self._acting.reloaded(request, command)
        except NotDoneError as error:
            found = await self._found(name)
            wrong = _wrong(error)
            return await self._form(request, visitor, given, wrong, found, status=error.status)
        return await self._written(visitor, answer, f"{name} was changed")

    async def _found(self, name: str) -> Mapping[str, Any]:
        command = {"command": "edit", "subscription": name, "check": True}
        return await self._acting.ask(command, long=True)

    async def _form(
        self,
        request: Request,
        visitor: Visitor,
        given: Given,
        wrong: Mapping[str, Sequence[str]],
        found: Mapping[str, Any] | None = None,
        *,
        status: HTTPStatus = HTTPStatus.UNPROCESSABLE_ENTITY,
    ) -> Response:
        settings = in_force_of(request).settings
        known = settings["event_types"]
        standing = await self._acting.site.standing()
        return await self._acting.site.render(
            visitor,
            "subscription_form.html",
            standing,
            {
                "here": "/configuration",
                "given": given,
                "wrong": wrong,
                "found": found,
                "groups": groups_of(known),
            },
            status if wrong else HTTPStatus.OK,
        )

    async def _written(self, visitor: Visitor, answer: Mapping[str, Any], title: str) -> Response:
        standing = await self._acting.site.standing()
        name = answer["subscription"]
        released = sum(answer.get("released", {}).values())
        return await self._acting.site.render(
            visitor,
            "written.html",
            standing,
            {
                "here": "/configuration",
                "title": title,
                "name": name,
                "file": answer["file"],
                "yaml": answer["yaml"],
                "secret": answer.get("secret"),
                "changes": changes_of(answer, name),
                "released": released,
            },
        )


def _wrong(error: NotDoneError) -> dict[str, list[str]]:
    details = error.answer.get("details")
    if details:
        return errors_of(details)
    return {"name" if error.answer.get("code") == "exists" else "": list(error.reasons)}
