"""Who asks: the token of a request, and what its holder may do.

A token that is not known is as none: 401. One that is known and may not do this is answered 403.
"""

from http import HTTPStatus
from typing import Final

from starlette.requests import Request

from relayd.core.same_site import client_address
from relayd.core.web_access import Holder, Role
from relayd.web.bearer import token_holder
from relayd.web.followed_document import document_of
from relayd.web.own_host import foreign
from relayd.web.problem import ProblemError

_EVERYBODY: Final = Holder(Role.EVERYTHING)
_LOOKS: Final = frozenset({Role.EVERYTHING, Role.READ})


def holder_of(request: Request) -> Holder | None:
    """Return whose token the request has, or None; with `token: none`, everybody may do everything."""
    access = document_of(request).access
    if access.open and request.app.state.may_be_open and foreign(request) is None:
        return _EVERYBODY
    return token_holder(request)


def client_of(request: Request) -> str:
    """Return the address of who asks, behind trusted proxies; `unix` where it is not known."""
    access = document_of(request).access
    peer = None if request.client is None else request.client.host
    forwarded = ",".join(request.headers.getlist("x-forwarded-for"))
    return client_address(peer or None, forwarded, access.trusted_proxies)


def reads(request: Request) -> bool:
    """Return whether who asks may look at everything."""
    holder = holder_of(request)
    return holder is not None and holder.role in _LOOKS


def looker_of(request: Request) -> Holder:
    """Return who asks, who may look at everything. Raises `ProblemError` for all others."""
    holder = holder_of(request)
    if holder is None:
        raise ProblemError(
            HTTPStatus.UNAUTHORIZED,
            "no_token",
            "send http.token or http.read_token, as Authorization: Bearer TOKEN",
            {"WWW-Authenticate": "Bearer"},
        )
    if holder.role not in _LOOKS:
        raise ProblemError(HTTPStatus.FORBIDDEN, "wrong_token", "this token may not do this")
    return holder
