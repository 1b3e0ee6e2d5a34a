"""One HTTP/1.1 answer out of bytes: httptools (llhttp, Node's parser), with bounds around it.

What a receiver can make it hold or do is bounded: the header block, the number of 1xx answers, the
body's length, and the bytes taken for one answer in all.
"""

from dataclasses import dataclass

import httptools

from relayd.core.outcome import Failure
from relayd.delivery.failures import AttemptFailed

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


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, or its beginning where the body is longer than MAX_ANSWER_BYTES."""

    status: int
    headers: Headers
    body: bytes


class AnswerReader:
    """Takes the bytes of one answer as they come.

    `answer` is there once enough was fed. `keep_alive` then tells whether another request may
    follow on the connection: the answer was whole, nothing came after it, and the receiver keeps
    it open. `in_body` tells that the head is through.
    """

    __slots__ = (
        "_after",
        "_before_body",
        "_body",
        "_body_bytes",
        "_headers",
        "_informational",
        "_parser",
        "_status",
        "answer",
        "in_body",
        "keep_alive",
        "received",
    )

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
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
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            if isinstance(error.__context__, AttemptFailed):
                raise error.__context__ from None
            raise
        except httptools.HttpParserUpgrade:
            raise _invalid("it changes the protocol, which nobody asked for") from None
        except httptools.HttpParserError as error:
            if self.answer is None:
                # llhttp's words are of its own, and quote nothing.
                raise _invalid(str(error).lower()) from None
            # What stands behind a whole answer is nobody's.
            self._after = True
        if self._after:
            self.keep_alive = False
        if self.answer is None:
            self._check_bounds()

    def end(self) -> None:
        """Take the stream's end. Raises AttemptFailed (RESET) when the answer is not whole."""
        names = {name.lower() for name, _ in self._headers}
        # RFC 9112, 6.3: without a length of its own, a body ends with the connection.
        if self.in_body and not names & {b"content-length", b"transfer-encoding"}:
            self._finish()
            return
        when = "in the middle of its answer" if self.received else "before it answered"
        raise AttemptFailed(Failure.RESET, f"the receiver closed the connection {when}")

    def _check_bounds(self) -> None:
        if self._body_bytes > MAX_ANSWER_BYTES:
            self._finish()
        elif not self.in_body and self._before_body > MAX_HEADER_BYTES:
            words = f"the answer's headers are longer than {MAX_HEADER_BYTES // 1024} KiB"
            raise AttemptFailed(Failure.PROTOCOL, words)
        elif self.received > MAX_RECEIVED_BYTES:
            words = f"more than {MAX_RECEIVED_BYTES // 1024} KiB came, and no whole answer"
            raise AttemptFailed(Failure.PROTOCOL, words)

    def _finish(self) -> None:
        body = b"".join(self._body)[:MAX_ANSWER_BYTES]
        self.answer = Answer(self._status, self._headers, body)

    # httptools calls these by their names.

    def on_message_begin(self) -> None:  # noqa: D102 - see above
        if self.answer is not None:
            self._after = True

    def on_header(self, name: bytes, value: bytes) -> None:  # noqa: D102 - see above
        if self.answer is None:
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
            self._informational += 1
            if self._informational > MAX_INFORMATIONAL:
                words = f"more than {MAX_INFORMATIONAL} answers of 1xx, and no other"
                raise AttemptFailed(Failure.PROTOCOL, words)
            self._headers = []
            self._before_body = 0
            return
        self.keep_alive = self._parser.should_keep_alive() and self._body_bytes <= MAX_ANSWER_BYTES
        self._finish()


def _invalid(what: str) -> AttemptFailed:
    return AttemptFailed(Failure.PROTOCOL, f"the answer is not valid HTTP/1.1: {what}")
