"""The request of one attempt that sends something instead of the event: `format:`, `template:`."""

from dataclasses import replace
from typing import Any, Final

import httpx

from relayd.core.delivery import Delivery
from relayd.core.form import Formed, formed
from relayd.core.js_json import Parsed
from relayd.core.mail import mail_about
from relayd.core.outcome import Cause, Failure, Outcome, failed_outcome
from relayd.core.signature import signed_headers
from relayd.core.sliced_body import parse_in_slices
from relayd.core.smtp import MAILTO
from relayd.core.subscription import Subscription
from relayd.delivery.template_process import TemplateFailedError, TemplateProcess
from relayd.pacing import paced
from relayd.transport.request import AnotherToken, Request, build_request

MOST_READ: Final = 65_536
"""A larger body is not read for its sentence, which says less then: of 1 MiB it may take 5 s and 40 MB,
within the attempt's time, and at several endpoints at once. relayd's own events are far below."""


async def formed_request(
    url: httpx.URL,
    delivery: Delivery,
    subscription: Subscription,
    *,
    templates: TemplateProcess,
    now: float,
    another_token: AnotherToken | None = None,
) -> Request | Outcome:
    """Return the POST, or the mail, of what a subscription with a format or a template sends.

    Where its template does not render, return what came of the attempt. What is posted is what is
    signed; a mail is not signed.

    `now` is in Unix seconds. Besides a template's process, nothing is awaited but pauses, in which
    others run.
    """
    if subscription.format == "mail":
        message = mail_about(
            await _event(delivery),
            delivery,
            sender=subscription.mail_from,
            recipient=subscription.url.removeprefix(MAILTO),
            now=now,
        )
        return Request(url, [], message)
    if subscription.template is not None:
        try:
            body = await templates.render(subscription.template, delivery.body)
        except TemplateFailedError as failed:
            return failed_outcome(0.0, Failure.TEMPLATE, str(failed))
        made = Formed(body, subscription.template.content_type)
    else:
        assert subscription.format is not None
        made = formed(await _event(delivery), subscription.format)
    sent = replace(delivery, body=made.body)
    headers = signed_headers(sent, subscription, attempt=delivery.attempts + 1, now=now)
    own = list(subscription.headers)
    if not any(name.lower() == "content-type" for name, _ in own):
        own.append(("Content-Type", made.content_type))
        headers.append(own[-1])
    return build_request(url, headers, made.body, another_token, own=own)


def not_formed(timeout_s: float) -> Outcome:
    """Return what came of an attempt whose time was over before its request was made."""
    words = f"what it sends was not made within {timeout_s:g} s: relayd is overloaded"
    return failed_outcome(timeout_s, Cause.NOT_MADE, words)


async def _event(delivery: Delivery) -> dict[str, Any]:
    """Return the event, or of a large one what the delivery itself has of it."""
    if len(delivery.body) > MOST_READ:
        return {"id": delivery.event_id, "type": delivery.event_type}
    parsed = await paced(parse_in_slices(delivery.body.decode()))
    if isinstance(parsed, Parsed) and isinstance(parsed.value, dict):
        return parsed.value
    raise ValueError(f"the body of {delivery.event_id} is not an event's")
