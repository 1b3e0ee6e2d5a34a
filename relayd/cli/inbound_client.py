"""Sends a request to an entry of `inbound:`, as its provider would."""

import json

import httpx

from relayd.core.inbound.entry import Inbound
from relayd.core.inbound.sample_request import SampleRequest
from relayd.core.web_access import WebAccess

_TIMEOUT_S = 30.0


class NotTakenError(Exception):
    """The request was not answered 200; says why."""


def send(
    request: SampleRequest, url: str | None, entry: Inbound, web: WebAccess | None
) -> tuple[str | None, bool]:
    """Send a request to `url`, or to where the web process listens.

    Returns the event's id, where the answer says it, and whether it was accepted before. Raises `NotTakenError`.
    """
    transport = None
    if url is None:
        if web is None:
            raise NotTakenError("the configuration has no `http:`, and so no web process")
        transport = httpx.HTTPTransport(uds=web.listen.path) if web.listen.path else None
        url = (
            f"http://{'localhost' if web.listen.path else _reachable(str(web.listen))}{entry.path}"
        )
    # No proxy of the environment's: what is sent is signed, and meant for this host alone.
    with httpx.Client(transport=transport, trust_env=False, timeout=_TIMEOUT_S) as client:
        try:
            response = client.post(url, content=request.body, headers=list(request.headers))
        except httpx.TransportError as error:
            raise NotTakenError(f"{url}: {error}; is `relayd web` running there?") from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise NotTakenError(f"{url}: {error}") from error
    try:
        found = response.json()
    except (ValueError, UnicodeDecodeError):
        found = {}
    answer = found if isinstance(found, dict) else {}
    if response.status_code != httpx.codes.OK:
        detail = answer.get("detail") or answer.get("title") or "no reason was given"
        raise NotTakenError(f"{url} answered {response.status_code}: {json.dumps(detail)[1:-1]}")
    if answer.get("rejected"):
        raise NotTakenError(
            "its signature is right, and it cannot be an event: `relayd rejected list` has it"
        )
    taken = answer.get("id")
    return taken if isinstance(taken, str) else None, bool(answer.get("duplicate"))


def _reachable(listen: str) -> str:
    """Return an address at which a program on this machine reaches what listens at all of them."""
    return listen.replace("0.0.0.0:", "127.0.0.1:").replace("[::]:", "[::1]:")
