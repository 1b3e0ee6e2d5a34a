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
from relayd.web.followed_document import document_of

CHECK_TIMEOUT_S: Final = 20.0
_ROUNDS: Final = 3
_RIGHT: Final[Mapping[str, Any]] = {
    "subscription": "not-a-name-of-yours",
    "url": "https://webhook.invalid/",
    "events": "*",
}
"""What stands in for a key that is wrong, and cannot be left out."""


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
            return await self._form(request, visitor, given, await self._all_wrong(command, wrong))
        try:
            answer = await self._acting.reloaded(request, command)
        except NotDoneError as error:
            wrong = await self._all_wrong(command, _wrong(error))
            return await self._form(request, visitor, given, wrong, status=error.status)
        return await self._written(visitor, answer, f"{given.name} was added")

    async def _all_wrong(
        self, command: Mapping[str, Any], wrong: Mapping[str, list[str]]
    ) -> dict[str, list[str]]:
        """Return what is wrong, with what else the daemon would find, so that all of it is said at once.

        It looks no further where something is not of the right kind. So it is asked again with something
        right in the place of what is wrong.
        """
        found = dict(wrong)
        for _ in range(_ROUNDS):
            if not found or "" in found:  # the files on disk are at fault, or there is no daemon
                break
            asked = {key: value for key, value in command.items() if _field(key) not in found}
            asked = {**{key: _RIGHT[key] for key in _RIGHT if _field(key) in found}, **asked}
            try:
                await self._acting.ask(
                    {**asked, "check": True}, timeout_s=CHECK_TIMEOUT_S, long=True
                )
            except NotDoneError as error:
                more = errors_of(error.answer.get("details") or ())
                new = {each: words for each, words in more.items() if each and each not in found}
                if new:
                    found |= new
                    continue
            break
        return found

    async def edit(self, request: Request, visitor: Visitor) -> Response:
        """Show the form with what the file has."""
        name = request.path_params["name"]
        found = await self._found(name)
        known = document_of(request).settings["event_types"]
        return await self._form(request, visitor, given_of(name, found["keys"], known), {}, found)

    async def change(self, request: Request, visitor: Visitor) -> Response:
        """Change what was filled in. Keys that the form does not have stay as they are."""
        form = await self._acting.form(request, visitor)
        name = request.path_params["name"]
        given = read_form(form)
        keys, wrong = keys_of(given)
        if wrong:
            wrong = await self._all_wrong(_as_new(keys), wrong)
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
        settings = document_of(request).settings
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


def _field(key: str) -> str:
    return "name" if key == "subscription" else key


def _as_new(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Return the command that judges what was filled in, as if it were another subscription's.

    Of a URL that is given, the limits are those of its other subscriptions: they are not judged then.
    """
    left_out = {"rate_limit"} if keys["url"] is not None else set()
    given = {key: value for key, value in keys.items() if value is not None and key not in left_out}
    return {**_RIGHT, **given, "command": "add"}


def _wrong(error: NotDoneError) -> dict[str, list[str]]:
    details = error.answer.get("details")
    if details:
        return errors_of(details)
    return {"name" if error.answer.get("code") == "exists" else "": list(error.reasons)}
