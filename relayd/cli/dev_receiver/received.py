"""A delivery as it arrived at a receiver for development, and how that is printed."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import click

from relayd.cli.dev_receiver.receiver import Answer, Request
from relayd.cli.secret_options import Key
from relayd.cli.terminal import printable, width
from relayd.cli.verification import Verdict, over_both
from relayd.core.js_json import Parsed, parse_json
from relayd.core.json_text import JsonValue, stringify
from relayd.core.secret import Secret
from relayd.core.shown_json import json_indented
from relayd.core.signature import (
    ATTEMPT,
    DELIVERY,
    EVENT,
    SIGNATURE,
    STANDARD_ID,
    STANDARD_SIGNATURE,
    STANDARD_TIMESTAMP,
    verify,
    verify_header,
    verify_standard,
)
from relayd.views.moments import clock_time, iso


@dataclass(frozen=True, slots=True)
class Received:
    """A request with what could be read of it. `at` is in Unix seconds.

    `verdict` is that of X-LocallyGrown-Signature, `standard` that of webhook-signature, `own` that
    of the header `own_header`, which `signature: {header: …}` names; None where no secret was given,
    or the header is not there. `signed_with` says `secret`, or `previous_secret` where only that
    fits.
    """

    request: Request
    at: float
    event_id: str | None
    verdict: Verdict | None
    standard: Verdict | None
    signed_with: str = "secret"
    event: JsonValue = field(repr=False, default=None)
    own: Verdict | None = None
    own_header: str = ""

    @property
    def refused(self) -> bool:
        """Whether a signature is there that is wrong for every receiver."""
        return any(
            each is not None and not (each.raw or each.stringified)
            for each in (self.verdict, self.own)
        )


def received(request: Request, key: Key | None, now: float) -> Received:
    """Read and verify a request. `now` is in Unix seconds."""
    parsed = parse_json(request.body.decode(errors="replace"))
    event = parsed.value if isinstance(parsed, Parsed) else None
    event_id = event.get("id") if isinstance(event, dict) else None
    verdict, standard, own, signed_with = None, None, None, "secret"
    if key is not None:
        verdict = _verdict(request, key.secret)
        standard = _standard_verdict(request, key.secret, now)
        own = _own_verdict(request, key, key.secret)
        if key.previous is not None and not verdict.raw:
            before = _verdict(request, key.previous)
            if before.raw:
                verdict, signed_with = before, "previous_secret"
                standard = _standard_verdict(request, key.previous, now)
                own = _own_verdict(request, key, key.previous)
    return Received(
        request,
        now,
        event_id if isinstance(event_id, str) else None,
        verdict,
        standard,
        signed_with,
        event,
        own,
        "" if key is None or key.header is None else key.header.header,
    )


def _own_verdict(request: Request, key: Key, secret: Secret) -> Verdict | None:
    header = key.header
    signature = None if header is None else request.header(header.header)
    if header is None or signature is None:
        return None
    return over_both(request.body, lambda form: verify_header(form, signature, header, secret))


def _verdict(request: Request, secret: Secret) -> Verdict:
    signature = request.header(SIGNATURE) or ""
    return over_both(request.body, lambda form: verify(form, signature, secret))


def _standard_verdict(request: Request, secret: Secret, now: float) -> Verdict | None:
    signatures = request.header(STANDARD_SIGNATURE)
    if signatures is None:
        return None
    name = request.header(STANDARD_ID) or ""
    timestamp = request.header(STANDARD_TIMESTAMP) or ""
    return over_both(
        request.body,
        lambda form: verify_standard(form, name, timestamp, signatures, secret, now=now),
    )


def answered_document(came: Received, answer: Answer | None) -> dict[str, object]:
    """Return what came and how it was answered, for programs; `body` is the text as it came."""
    request = came.request
    return {
        "number": request.number,
        "received_at": iso(came.at),
        "received_at_unix": came.at,
        "path": request.target,
        "event_id": came.event_id,
        "event_type": request.header(EVENT),
        "delivery_id": request.header(DELIVERY),
        "attempt": _attempt(request),
        "verified": _verified(came.verdict),
        "verified_standard": _verified(came.standard),
        "verified_header": _verified(came.own),
        "signed_with": None if came.verdict is None else came.signed_with,
        "answered": None if answer is None else answer.status,
        "body": request.body.decode(errors="replace"),
    }


def _verified(verdict: Verdict | None) -> dict[str, bool] | None:
    return None if verdict is None else {"raw": verdict.raw, "stringified": verdict.stringified}


def _attempt(request: Request) -> int | None:
    text = (request.header(ATTEMPT) or "")[:9]
    return int(text) if text.isascii() and text.isdigit() else None


def answered_lines(came: Received, answer: Answer | None, *, whole: bool) -> Iterator[str]:
    """Yield what came and how it was answered, for people: the body cut to one line, or `whole`."""
    request = came.request
    kind = printable(request.header(EVENT) or "no event type")
    number = _attempt(request)
    attempt = "" if number is None else f", attempt {number}"
    yield (
        f"{clock_time(came.at)[11:19]}  {click.style(kind, bold=True)}{attempt}"
        f"  ->  {_answer_words(answer)}"
    )
    ids = (came.event_id, request.header(DELIVERY))
    yield "          " + printable("  ".join(each for each in ids if each))
    for words in signature_lines(came):
        yield f"          {words}"
    if whole:
        text = (
            request.body.decode(errors="replace")
            if came.event is None
            else json_indented(stringify(came.event))
        )
        for line in text.split("\n"):
            yield f"          {printable(line)}"
    else:
        body = printable(request.body.decode(errors="replace"))
        room = width() - 10
        yield "          " + (body if len(body) <= room else f"{body[: room - 1]}…")


def _answer_words(answer: Answer | None) -> str:
    if answer is None:
        return click.style("the sender was gone before the answer", fg="red")
    return click.style(str(answer.status), fg="green" if 200 <= answer.status < 300 else "red")


def signature_lines(came: Received) -> Iterator[str]:
    """Yield what came of verifying, a line for each header, with colours."""
    if came.verdict is None:
        yield "signature not verified (no secret given)"
        return
    if came.request.header(SIGNATURE) is None:
        yield click.style("not signed", fg="red")
        return
    words = _verdict_words("signature", came.verdict)
    if came.signed_with != "secret":
        words += f", under {came.signed_with}"
    yield words
    if came.standard is not None:
        yield _verdict_words("standard", came.standard)
    if came.own is not None:
        yield _verdict_words(printable(came.own_header), came.own)
    elif came.own_header:
        yield f"no {printable(came.own_header)}"


def _verdict_words(name: str, verdict: Verdict) -> str:
    if verdict.both:
        return click.style(f"{name} valid", fg="green") + ": raw body, and re-stringified body"
    if verdict.raw:
        return click.style(f"{name} valid", fg="yellow") + ": raw body only"
    if verdict.stringified:
        return click.style(f"{name} valid", fg="yellow") + ": re-stringified body only"
    return click.style(f"{name} invalid", fg="red")
