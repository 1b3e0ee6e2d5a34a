"""Who asks: the token of a request, and what its holder may do."""

from typing import Final

from starlette.requests import Request

from relayd.core.same_site import is_own_host, is_own_origin
from relayd.core.web_access import Holder, Role
from relayd.views.web_document import WebDocument
from relayd.web.in_force import InForce

_BEARER: Final = "bearer "
_EVERYBODY: Final = Holder(Role.EVERYTHING)


def holder_of(request: Request) -> Holder | None:
    """Return whose token the request has, or None."""
    access = in_force_of(request).access
    if access.open and not request.app.state.is_public:
        # Another site's page can send requests here too, from a browser on this machine.
        own = is_own_host(request.headers.get("host", ""), access)
        safe = request.method in {"GET", "HEAD"} or is_own_origin(request.headers, access)
        return _EVERYBODY if own and safe else None
    given = request.headers.get("authorization", "")
    if not given.lower().startswith(_BEARER):
        return None
    return access.holder(given[len(_BEARER) :].strip())


def reads(request: Request) -> bool:
    """Return whether who asks may look at everything."""
    holder = holder_of(request)
    return holder is not None and holder.role in {Role.EVERYTHING, Role.READ}


def in_force_of(request: Request) -> WebDocument:
    """Return what the daemon has said of the configuration in force."""
    in_force: InForce = request.app.state.in_force
    return in_force.document
