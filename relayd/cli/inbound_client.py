"""Sends requests to an entry of `inbound:`, as its provider would."""

import json
import socket
import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

import httpx

from relayd.core.inbound.entry import Inbound
from relayd.core.inbound.sample_request import SampleRequest
from relayd.core.web_access import Listen, WebAccess

_TIMEOUT_S: Final = 30.0

_NEXT: Final[Mapping[int, str]] = {
    404: "`relayd check` shows the path of each entry",
    413: "a webhook has at most 2 MiB",
    429: "try again in a while",
    503: "`relayd status` says whether the daemon runs",
}
"""What to do about an answer of which the log of the web process has no more."""


class NotTakenError(Exception):
    """The request was not answered 200; says why."""


class InboundClient:
    """Sends to `url`, or to where the web process listens. Raises `NotTakenError` where it does nowhere."""

    def __init__(self, url: str | None, entry: Inbound, web: WebAccess | None) -> None:
        transport = None
        if url is None:
            if web is None:
                raise NotTakenError("the configuration has no `http:`, and so no web process")
            transport = httpx.HTTPTransport(uds=web.listen.path) if web.listen.path else None
            url = f"http://{_host(web.listen)}{entry.path}"
        self._url = url
        # No proxy of the environment's: what is sent is signed, and meant for this host alone.
        self._client = httpx.Client(transport=transport, trust_env=False, timeout=_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._client.close()

    def send(self, request: SampleRequest) -> tuple[str | None, bool]:
        """Return the event's id, where the answer says it, and whether it was accepted before.

        Raises `NotTakenError`.
        """
        try:
            response = self._client.post(
                self._url, content=request.body, headers=list(request.headers)
            )
        except httpx.ReadTimeout as error:
            raise NotTakenError(
                f"{self._url} did not answer within {_TIMEOUT_S:.0f} s; `relayd events` shows whether it"
                " was accepted"
            ) from error
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise NotTakenError(f"nothing was sent to {self._url}: {_why(error)}") from error
        answer = _answer(response)
        if response.status_code != httpx.codes.OK:
            detail = answer.get("detail") or answer.get("title") or "no reason was given"
            raise NotTakenError(
                f"{self._url} answered {response.status_code}: {json.dumps(detail)[1:-1]};"
                f" {_NEXT.get(response.status_code, 'the log of `relayd web` has the reason')}"
            )
        if answer.get("rejected"):
            raise NotTakenError(
                "its signature is right, and it cannot be an event: `relayd rejected list` has it"
            )
        taken = answer.get("id")
        return taken if isinstance(taken, str) else None, bool(answer.get("duplicate"))


def _why(error: httpx.TransportError | httpx.InvalidURL) -> str:
    """Return what failed, and what to do about it."""
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
        return "that is not a URL of HTTP; write --to as https://HOST/in/NAME"
    if isinstance(error, httpx.ConnectTimeout):
        return "it cannot be reached within 30 s; correct --to, or the firewall"
    cause: BaseException | None = error
    while cause is not None:
        if (words := _cause_words(cause)) is not None:
            return words
        cause = cause.__cause__ or cause.__context__
    return f"{error}; is `relayd web` running there?"


def _cause_words(cause: BaseException) -> str | None:
    match cause:
        case socket.gaierror():
            return "no such host is known (the name does not resolve); correct --to, or the DNS"
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {cause.verify_message}; correct the proxy's"
        case ssl.SSLError():
            return f"no TLS can be made with it ({cause.reason}); does it speak plain http://?"
        case ConnectionRefusedError() | FileNotFoundError():
            return "nothing listens there; is `relayd web` running there?"
    return None


def _answer(response: httpx.Response) -> dict[str, object]:
    try:
        found = response.json()
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _host(listen: Listen) -> str:
    """Return where a program on this machine reaches what listens there."""
    if listen.path:
        return "localhost"
    # What listens at every address is reached at loopback.
    text = str(listen)
    return text.replace("0.0.0.0:", "127.0.0.1:").replace("[::]:", "[::1]:")
