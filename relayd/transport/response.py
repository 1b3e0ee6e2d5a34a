"""One HTTP/1.1 answer out of bytes: httptools (llhttp, Node's parser), with bounds around it.

What a receiver can make it hold or do is bounded: the header block, the number of 1xx answers, the
body's length, and the bytes taken for one answer in all.

llhttp is strict. A head that it refuses is read again by `lenient_response`, as curl, Go and httpx
read it; the connection is closed afterwards, so that what stands behind is never taken for another
answer. Once the head is complete, the answer counts: a body that breaks off or is not valid ends
where it does.
"""

import h11
import httptools

from relayd.core.outcome import Failure
from relayd.core.value import value
from relayd.transport.errors import AttemptFailed
from relayd.transport.lenient_response import LenientAnswer

MAX_ANSWER_BYTES = 16_384
"""So much of an answer's body is read; the connection is closed when there is more."""

MAX_HEADER_BYTES = 65_536
"""A header block that is not complete after so many bytes is refused."""

MAX_RECEIVED_BYTES = 262_144
"""All that is read for one answer, 1xx answers and chunk headers included: without it, one byte of
body in each long chunk header would keep relayd parsing until the deadline."""

MAX_INFORMATIONAL = 8
"""So many 1xx answers may come before the real one."""

Headers = list[tuple[bytes, bytes]]


@value
class Answer:
    """An answer, whole or as far as it came: MAX_ANSWER_BYTES of its body at most."""

    status: int
    headers: Headers
    body: bytes


class AnswerReader:
    """Takes the bytes of one answer as they come.

    `answer` is there once enough was fed. `keep_alive` then tells whether another request may
    follow on the connection: the answer was whole, nothing came after it, and the receiver keeps
    it open. `in_body` tells that the head is through: `so_far` then has what came.
    """

    __slots__ = (
        "_after",
        "_before_body",
        "_body",
        "_body_bytes",
        "_head",
        "_headers",
        "_informational",
        "_lenient",
        "_parser",
        "_refusal",
        "_status",
        "answer",
        "in_body",
        "keep_alive",
        "received",
    )

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._lenient: LenientAnswer | None = None
        self._refusal = ""
        self._head: list[bytes] = []
        self._headers: Headers = []
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._before_body = 0
        self._informational = 0
        self._status = 0
        self._after = False
        self.answer: Answer | None = None
        self.keep_alive = False
        self.in_body = False
        self.received = 0

    def feed(self, data: bytes) -> None:
        """Take what came. Raises AttemptFailed (PROTOCOL) when no valid answer can come of it."""
        self.received += len(data)
        if not self.in_body:
            self._before_body += len(data)
            self._head.append(data)
        if self._lenient is None:
            self._feed_strictly(data)
        else:
            self._feed_leniently(data)
        if self._after:
            self.keep_alive = False
        if self.answer is None:
            self._check_bounds()

    def end(self) -> None:
        """Take the stream's end. Raises AttemptFailed (RESET) when the head is not complete."""
        if self.in_body:
            self._finish()
            return
        when = "in the middle of its answer" if self.received else "before it answered"
        raise AttemptFailed(Failure.RESET, f"the receiver closed the connection {when}")

    def so_far(self) -> Answer:
        """Return the answer as far as it came; its head must be complete."""
        body = b"".join(self._body)[:MAX_ANSWER_BYTES]
        return Answer(self._status, self._headers, body)

    def _feed_strictly(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            if isinstance(error.__context__, AttemptFailed):
                raise error.__context__ from None
            raise
        except httptools.HttpParserUpgrade:
            raise _invalid("it changes the protocol, which nobody asked for") from None
        except httptools.HttpParserError as error:
            # llhttp's words are of its own, and quote nothing.
            self._refusal = str(error).lower()
        else:
            return
        if self.answer is not None:
            # What stands behind a whole answer is nobody's.
            self._after = True
        elif self.in_body:
            self._finish()
        else:
            self._read_again()

    def _read_again(self) -> None:
        head = b"".join(self._head)
        if not head.startswith(b"HTTP/"):  # Nothing that follows makes HTTP of it.
            raise _invalid(self._refusal)
        self._lenient = LenientAnswer(MAX_HEADER_BYTES)
        self._headers, self._informational = [], 0
        self._feed_leniently(head)

    def _feed_leniently(self, data: bytes) -> None:
        assert self._lenient is not None
        try:
            for event in self._lenient.events(data):
                if isinstance(event, h11.InformationalResponse):
                    self._count_informational()
                elif isinstance(event, h11.Response):
                    self._status, self._headers = event.status_code, list(event.headers)
                    self.in_body = True
                elif isinstance(event, h11.Data):
                    self.on_body(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage):
                    self._finish()
        except h11.RemoteProtocolError:
            if not self.in_body:
                raise _invalid(self._refusal) from None
            self._finish()

    def _check_bounds(self) -> None:
        if self.in_body:
            if self._body_bytes > MAX_ANSWER_BYTES or self.received > MAX_RECEIVED_BYTES:
                self._finish()
        elif self._before_body > MAX_HEADER_BYTES:
            words = f"the answer's headers are longer than {MAX_HEADER_BYTES // 1024} KiB"
            raise AttemptFailed(Failure.PROTOCOL, words)
        elif self.received > MAX_RECEIVED_BYTES:
            words = f"more than {MAX_RECEIVED_BYTES // 1024} KiB came, and no whole answer"
            raise AttemptFailed(Failure.PROTOCOL, words)

    def _count_informational(self) -> None:
        self._informational += 1
        if self._informational > MAX_INFORMATIONAL:
            words = f"more than {MAX_INFORMATIONAL} answers of 1xx, and no other"
            raise AttemptFailed(Failure.PROTOCOL, words)

    def _finish(self) -> None:
        if self.answer is None:
            self.answer = self.so_far()

    # httptools calls these by their names.

    def on_message_begin(self) -> None:  # noqa: D102 - see above
        if self.answer is not None:
            self._after = True

    def on_header(self, name: bytes, value: bytes) -> None:  # noqa: D102 - see above
        if not self.in_body:  # Behind the body, trailers come: nobody asked for them.
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:  # noqa: D102 - see above
        if self.answer is None:
            self._status = self._parser.get_status_code()
            self.in_body = self._status >= 200

    def on_body(self, body: bytes) -> None:  # noqa: D102 - see above
        if self.answer is None and self._body_bytes <= MAX_ANSWER_BYTES:
            self._body.append(body)
            self._body_bytes += len(body)

    def on_message_complete(self) -> None:  # noqa: D102 - see above
        if self.answer is not None:
            return
        if not self.in_body:
            self._count_informational()
            self._headers = []
            self._before_body = 0
            return
        self.keep_alive = self._parser.should_keep_alive() and self._body_bytes <= MAX_ANSWER_BYTES
        self._finish()


def _invalid(what: str) -> AttemptFailed:
    return AttemptFailed(Failure.PROTOCOL, f"the answer is not valid HTTP/1.1: {what}")
