"""What came of one attempt, as a value: a network failure is no exception here."""

from enum import StrEnum

from relayd.core.value import value


class Failure(StrEnum):
    """Why an attempt failed. The names stand in logs, in the queue and in `--json`."""

    STATUS = "status"
    """An answer that is not 2xx."""
    REDIRECT = "redirect"
    """A 3xx answer, which is not followed."""
    TIMEOUT = "timeout"
    """No complete head of an answer within the subscription's timeout."""
    NAME = "name"
    """The host name could not be resolved."""
    ADDRESS = "address"
    """The host name led to no address that relayd may dial."""
    CONNECT = "connect"
    """No connection: refused, or no route."""
    TLS = "tls"
    """No trusted TLS connection: certificate, name or protocol."""
    RESET = "reset"
    """The connection broke off before the head of an answer was complete."""
    PROTOCOL = "protocol"
    """The answer was no valid HTTP."""
    SMTP = "smtp"
    """The mail server refused the message, or a step before it."""
    TEMPLATE = "template"
    """The subscription's template did not render: nothing was sent."""
    DEFECT = "defect"
    """relayd itself failed; the log has the traceback."""
    POISON = "quarantined"
    """relayd died at this delivery too often to try it again: see `core.quarantine`."""


@value
class Outcome:
    """The result of one attempt.

    `status` is the answer's, where one came; `failure` is None exactly when the attempt succeeded.
    `detail` says in words what failed (no payload, no secret). `answer` is the beginning of the
    answer's body, 1 KiB at most. `retry_after_s` is what the receiver asked for.
    """

    duration_s: float
    status: int | None = None
    failure: Failure | None = None
    detail: str = ""
    answer: bytes = b""
    retry_after_s: float | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the receiver took the event."""
        return self.failure is None

    @property
    def final(self) -> bool:
        """Whether no other attempt may be made, whatever the schedule allows."""
        return self.failure is Failure.POISON

    @property
    def gone(self) -> bool:
        """Whether the receiver wants no more of this subscription (410 Gone)."""
        return self.status == 410
