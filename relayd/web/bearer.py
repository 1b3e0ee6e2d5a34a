"""The token that a request brings along in its `Authorization` header."""

from typing import Final

from starlette.requests import Request

from relayd.core.web_access import Holder
from relayd.web.followed_document import document_of

_BEARER: Final = "bearer "


def token_holder(request: Request) -> Holder | None:
    """Return whose token the request has, or None: no browser sends one by itself."""
    given = request.headers.get("authorization", "")
    if not given.lower().startswith(_BEARER):
        return None
    return document_of(request).access.holder(given[len(_BEARER) :].strip())
