"""One attempt over a transport: from a request to an Outcome.

`attempt` puts one deadline over everything from the name's look-up to the answer's last byte, and
gives a network failure as a value. A complete head decides: nothing that happens to the body after
it changes whether the attempt succeeded.
"""

from http import HTTPStatus

import httpx
import trio

from relayd.core.outcome import Cause, Failure, Outcome, failed_outcome
from relayd.core.retry_after import parse_retry_after
from relayd.transport.client import Transport
from relayd.transport.errors import named, shown_location
from relayd.transport.mail import MailTransport
from relayd.transport.request import Request
from relayd.transport.response import MAX_ANSWER_BYTES, Answer

KEPT_ANSWER_BYTES = 1_024
"""So much of an answer's body is kept in its outcome."""


async def attempt(
    transport: httpx.AsyncBaseTransport, request: Request, *, timeout_s: float, now: float
) -> Outcome:
    """Make one attempt within `timeout_s`, and return what came of it: see `exchange`.

    The deadline lies over the whole of it: name, connection, TLS, request and answer.
    """
    with trio.move_on_after(timeout_s):
        return await exchange(transport, request, now=now)
    return timed_out(request, timeout_s, now=now)


async def exchange(transport: httpx.AsyncBaseTransport, request: Request, *, now: float) -> Outcome:
    """Make one attempt and return what came of it. Never raises for what the network does.

    There is no time limit: whoever cancels it for one gets the outcome from `timed_out`. `now` is
    in Unix seconds, for a Retry-After that names a date. Cancellation passes through; so does an
    exception that no network failure explains.
    """
    started = trio.current_time()
    try:
        if isinstance(transport, (Transport, MailTransport)):
            answer = await transport.send(request)
        else:
            answer = await _sent_by(transport, request)
    except httpx.TransportError as error:
        failed = named(error)
        duration_s = trio.current_time() - started
        subject = failed.subject or request.url.host
        return failed_outcome(duration_s, failed.why, failed.detail, subject)
    return _judged(request, answer, trio.current_time() - started, now)


def timed_out(request: Request, timeout_s: float, *, now: float) -> Outcome:
    """Return what came of an attempt that was cancelled after `timeout_s`.

    A head that was complete by then has decided it. `now` is as in `exchange`.
    """
    if request.response is not None:
        return _judged(request, request.response.so_far(), timeout_s, now)
    words = f"no {request.waiting_for} within {timeout_s:g} s"
    if request.mail_server is not None:
        return failed_outcome(timeout_s, Cause.MAIL_TIMEOUT, words, request.mail_server)
    return failed_outcome(timeout_s, Failure.TIMEOUT, words, request.url.host)


async def _sent_by(transport: httpx.AsyncBaseTransport, request: Request) -> Answer:
    """Send a request by another transport of httpx's: a mock, say."""
    response = await transport.handle_async_request(
        httpx.Request(
            "POST",
            request.url,
            headers=request.headers,
            stream=httpx.ByteStream(request.body),
            extensions={"relayd.request": request},
        )
    )
    return Answer(response.status_code, response.headers.raw, await _beginning(response))


async def _beginning(response: httpx.Response) -> bytes:
    """Read the raw body, MAX_ANSWER_BYTES of it at most, and return what is kept of it."""
    assert isinstance(response.stream, httpx.AsyncByteStream)
    kept = b""
    read = 0
    try:
        async for chunk in response.stream:
            kept = (kept + chunk)[:KEPT_ANSWER_BYTES]
            read += len(chunk)
            if read > MAX_ANSWER_BYTES:
                break
    except httpx.TransportError:
        pass  # The head was complete: nothing that happens to the body undoes it.
    finally:
        await response.aclose()
    return kept


def _judged(request: Request, answer: Answer, duration_s: float, now: float) -> Outcome:
    """Return what an answer makes of its attempt: a 2xx succeeds, all else fails, a redirect too."""
    status, kept = answer.status, answer.body[:KEPT_ANSWER_BYTES]
    if 200 <= status < 300:
        return Outcome(duration_s, status, answer=kept)
    headers = httpx.Headers(answer.headers)
    retry_after_s = None
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        value = headers.get("retry-after")
        retry_after_s = None if value is None else parse_retry_after(value, now)
    failure = Failure.STATUS
    # The phrase is the standard's: the receiver's own could hold anything.
    detail = f"answered {status} {httpx.codes.get_reason_phrase(status)}".rstrip()
    if 300 <= status < 400:
        failure = Failure.REDIRECT
        location = headers.get("location")
        if location is not None:
            detail = f"redirected to {shown_location(location, str(request.url))} (not followed)"
    return Outcome(duration_s, status, failure, detail, kept, retry_after_s)
