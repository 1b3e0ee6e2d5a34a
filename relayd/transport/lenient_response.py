"""An HTTP/1.1 answer that llhttp refuses, read as leniently as curl, Go and httpx read it, by h11.

It accepts header lines that are folded, Content-Length more than once with the same value or
beside Transfer-Encoding (which then counts), and lines that end with a bare LF. Two lengths that
differ, and a NUL or a bare CR in a header, are refused here, too.
"""

from collections.abc import Iterator

import h11


class LenientAnswer:
    """Takes an answer's bytes from its first one on, and gives h11's events."""

    __slots__ = ("_http",)

    def __init__(self, max_header_bytes: int) -> None:
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=max_header_bytes)
        # Any request without a method of its own rules does: h11 reads only what follows one.
        self._http.send(h11.Request(method="POST", target="/", headers=[("Host", "receiver")]))
        self._http.send(h11.EndOfMessage())

    def events(self, data: bytes) -> Iterator[h11.Event]:
        """Give what comes of these bytes, too. Raises h11.RemoteProtocolError."""
        self._http.receive_data(data)
        while True:
            event = self._http.next_event()
            if isinstance(event, type):  # NEED_DATA, or PAUSED behind the answer's end
                return
            yield event
            if isinstance(event, h11.EndOfMessage):
                return
