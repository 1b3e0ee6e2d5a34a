"""`listen --forward`: passes a delivery on, as it came, and returns what was answered to it."""

from typing import Final

import httpx
import trio

from relayd.cli.dev_receiver.receiver import Answer, Request

TIMEOUT_S: Final = 10.0
MOST_BYTES: Final = 16 * 1024
"""Of an answer's body that is passed back, which is as much as relayd reads."""

# RFC 9110, 7.6.1: of one connection alone. The client writes the others itself.
_NOT_PASSED: Final = frozenset(
    {
        "host",
        "content-length",
        "connection",
        "keep-alive",
        "transfer-encoding",
        "te",
        "trailer",
        "upgrade",
        "expect",
    }
)
_PASSED_BACK: Final = ("content-type", "retry-after", "location")


class Forwarder:
    """Passes requests on to `url`, and whatever their own path and query were."""

    def __init__(self, url: str) -> None:
        self._url = url
        # No proxy of the environment's, and no redirect: the answer is what relayd would have got.
        self._client = httpx.Client(trust_env=False, timeout=TIMEOUT_S)

    async def forward(self, request: Request) -> Answer:
        """Return the answer to a request; 502, with the reason, where there is none, 504 when it is late."""
        return await trio.to_thread.run_sync(self._exchange, request, abandon_on_cancel=True)

    def _exchange(self, request: Request) -> Answer:
        headers = [
            (key.encode("ascii"), value.encode("latin-1"))
            for key, value in request.headers
            if key not in _NOT_PASSED
        ]
        try:
            with self._client.stream(
                request.method, self._url, content=request.body, headers=headers
            ) as response:
                body = b""
                for chunk in response.iter_raw():
                    body += chunk
                    if len(body) >= MOST_BYTES:
                        break
        except httpx.TimeoutException:
            return Answer(504, b"relayd listen: no answer from where it forwards to\n")
        except httpx.HTTPError as error:
            return Answer(502, f"relayd listen: cannot forward: {error}\n".encode())
        back = [(name, response.headers[name]) for name in _PASSED_BACK if name in response.headers]
        return Answer(response.status_code, body[:MOST_BYTES], tuple(back))

    def close(self) -> None:
        """Close its connections."""
        self._client.close()
