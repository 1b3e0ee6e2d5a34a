"""`listen --forward`: passes a delivery on, as it came, and returns what was answered to it."""

from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final

import httpx
import trio

from relayd.cli.dev_receiver.receiver import Answer, Request

TIMEOUT_S: Final = 10.0
MOST_BYTES: Final = 16 * 1024
"""Of an answer's body that is passed back, which is as much as relayd reads."""

# RFC 9110, 7.6.1: of one connection alone, and so are those that Connection names. The client writes Host
# and Content-Length itself.
_NOT_PASSED: Final = frozenset(
    {
        "host",
        "content-length",
        "connection",
        "proxy-connection",
        "keep-alive",
        "transfer-encoding",
        "te",
        "trailer",
        "upgrade",
        "expect",
    }
)
_PASSED_BACK: Final = frozenset({"content-type", "content-encoding", "retry-after", "location"})


class Forwarder:
    """Passes requests on to `url`, and whatever their own path and query were.

    Raises ValueError where that is not a URL.
    """

    def __init__(self, url: str) -> None:
        try:
            self._url = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise ValueError(str(error)) from error
        # No proxy of the environment's, no redirect, no cookie of an answer before, and no header that
        # the delivery does not have: what comes, and what is answered, is as relayd would have it.
        self._client = httpx.Client(
            trust_env=False,
            timeout=TIMEOUT_S,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )
        for name in ("Accept", "Accept-Encoding", "User-Agent"):
            del self._client.headers[name]

    async def forward(self, request: Request) -> Answer:
        """Return the answer to a request; 502, with the reason, where there is none, 504 when it is late."""
        return await trio.to_thread.run_sync(self._exchange, request, abandon_on_cancel=True)

    def _exchange(self, request: Request) -> Answer:
        try:
            with self._client.stream(
                request.method, self._url, content=request.body, headers=_passed_on(request)
            ) as response:
                body = b""
                for chunk in response.iter_raw():
                    body += chunk
                    if len(body) >= MOST_BYTES:
                        break
        except httpx.TimeoutException:
            return Answer(504, b"relayd listen: no answer from where it forwards to\n")
        except httpx.RemoteProtocolError as error:
            # Also a 101: nothing that would lead to one is passed on.
            return _bad_gateway(f"its answer is not one to an HTTP request ({error})")
        except httpx.HTTPError as error:
            return _bad_gateway(str(error))
        back = tuple(
            (name, value.decode("latin-1"))
            for raw, value in response.headers.raw
            if (name := raw.decode("latin-1").lower()) in _PASSED_BACK
        )
        return Answer(response.status_code, body[:MOST_BYTES], back)

    def close(self) -> None:
        """Close its connections."""
        self._client.close()


def _passed_on(request: Request) -> list[tuple[bytes, bytes]]:
    named = {
        each.strip().lower()
        for key, value in request.headers
        if key == "connection"
        for each in value.split(",")
    }
    return [
        (key.encode("ascii"), value.encode("latin-1"))
        for key, value in request.headers
        if key not in _NOT_PASSED and key not in named
    ]


def _bad_gateway(why: str) -> Answer:
    return Answer(502, f"relayd listen: cannot forward: {why}\n".encode())
