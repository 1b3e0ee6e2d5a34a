"""Who looks at the dashboard, and what may be done with a form of it."""

import hmac
import secrets
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from relayd.core.same_site import limited_as
from relayd.core.web_access import Role, WebAccess
from relayd.web.access import client_of, holder_of
from relayd.web.dashboard.sessions import Sessions
from relayd.web.followed_document import document_of
from relayd.web.problem import ProblemError

COOKIE: Final = "relayd"
SECURE_COOKIE: Final = "__Host-relayd"
_HTTPS_PORT: Final = ":443"
"""A browser leaves it out of `Host`."""
_LOOKS: Final = frozenset({Role.EVERYTHING, Role.READ})


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks for a page. `form_key` is what a form must bring back; `logged_in` by a cookie."""

    role: Role
    form_key: str = field(repr=False)
    logged_in: bool

    @property
    def may_act(self) -> bool:
        """Whether the visitor may change something."""
        return self.role is Role.EVERYTHING


class Visitors:
    """Knows visitors by their cookies, or by the token that a program sends."""

    def __init__(self) -> None:
        self.sessions = Sessions()
        self._form_key = secrets.token_urlsafe(32)

    def who(self, request: Request) -> Visitor | None:
        """Return who asks, if they may look; None for all others."""
        access = document_of(request).access
        by_itself = "x-refresh" in request.headers  # an open page, which nobody may look at
        session = self.sessions.find(cookie_of(request), used=not by_itself)
        if session is not None:
            holder = access.tokens.get(session.token)
            if holder is not None and holder.role in _LOOKS:
                return Visitor(holder.role, session.form_key, logged_in=True)
        holder = holder_of(request)
        if holder is not None and holder.role in _LOOKS:
            return Visitor(holder.role, self._form_key, logged_in=False)
        return None


def check_form(visitor: Visitor, given: object, *, acts: bool = True) -> None:
    """Raise `ProblemError` where a form is not one of this visitor's, or they may not do what it does."""
    if not isinstance(given, str) or not hmac.compare_digest(
        given.encode(), visitor.form_key.encode()
    ):
        raise ProblemError(
            HTTPStatus.FORBIDDEN, "wrong_form", "this form is too old; open its page again"
        )
    if acts and not visitor.may_act:
        raise ProblemError(HTTPStatus.FORBIDDEN, "read_only", "this token may only look")


def address_of(request: Request) -> str:
    """Return as what this client's logins are limited."""
    return limited_as(client_of(request))


def cookie_of(request: Request) -> str:
    """Return what this browser's cookie has, or nothing."""
    return request.cookies.get(cookie_name(request), "")


def cookie_name(request: Request) -> str:
    """Return the cookie's name: over HTTPS one that only this host can set."""
    return SECURE_COOKIE if _is_secure(request, document_of(request).access) else COOKIE


def set_cookie(request: Request, response: Response, value: str) -> None:
    """Give the browser its cookie, or take it away where `value` is empty."""
    name = cookie_name(request)
    response.set_cookie(
        name,
        value,
        max_age=None if value else 0,
        path="/",
        secure=name == SECURE_COOKIE,
        httponly=True,
        samesite="strict",
    )


def _is_secure(request: Request, access: WebAccess) -> bool:
    """Return whether the browser came to `base_url`, and that is https."""
    host = request.headers.get("host", "").lower().removesuffix(_HTTPS_PORT)
    own = (access.base_url or "").lower().rstrip("/").removesuffix(_HTTPS_PORT)
    return own == f"https://{host}"
