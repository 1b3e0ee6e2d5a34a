"""One attempt with a sample event, past the queue, to see whether a receiver takes it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx
import trio

from relayd.core.catalogue import EVENT_TYPES, RELAYD_TYPES, sample
from relayd.core.delivery import Delivery, State
from relayd.core.endpoint import endpoint_name
from relayd.core.event import Event, EventDefaults, SpoolRow
from relayd.core.event_input import event_from_row, own_event
from relayd.core.outcome import Outcome
from relayd.core.patterns import OWN_PREFIX, pattern_matches
from relayd.core.signature import signed_headers
from relayd.core.subscription import Subscription
from relayd.delivery.formed_request import formed_request, not_formed
from relayd.delivery.template_process import TemplateProcess
from relayd.transport.exchange import attempt
from relayd.transport.request import Request, build_request


@dataclass(frozen=True, slots=True)
class SampleAttempt:
    """What was sent, and what came back."""

    event: Event
    delivery_id: str
    subscription: str
    url: str = field(repr=False)  # its path may be a secret
    outcome: Outcome

    def document(self) -> dict[str, object]:
        """Return it as the control socket and `--json` have it."""
        outcome = self.outcome
        return {
            "event_id": self.event.id,
            "event_type": self.event.type,
            "delivery_id": self.delivery_id,
            "subscription": self.subscription,
            "url": endpoint_name(self.url),
            "succeeded": outcome.succeeded,
            "status": outcome.status,
            "failure": outcome.failure,
            "cause": outcome.why,
            "subject": outcome.subject or None,
            "detail": outcome.detail or None,
            "duration_ms": round(outcome.duration_s * 1000, 1),
            "answer": outcome.answer.decode(errors="replace"),
        }


def sample_type(patterns: Sequence[str]) -> str:
    """Return an event type that one of a subscription's patterns matches."""
    known = (*EVENT_TYPES, *RELAYD_TYPES)
    for pattern in patterns:
        for event_type in known:
            if pattern_matches(pattern, event_type):
                return event_type
    # A type of the market's own: as it stands, or the first word of a pattern for several.
    return patterns[0].removesuffix(".*")


def sample_event(event_type: str, *, tag: str, now: int, defaults: EventDefaults) -> Event:
    """Make a sample event of a type; its id shows that it is one. Raises ValueError for no type."""
    event_id = f"evt_test_{tag}"
    try:
        data = sample(event_type)
    except KeyError:
        data = {"object": {"id": f"test_{tag}"}}
    if event_type.startswith(OWN_PREFIX):
        return own_event(event_type, data, event_id=event_id, created=now, defaults=defaults)
    row = SpoolRow(
        seq=0,
        id=event_id.encode(),
        type=event_type.encode(),
        data=json.dumps(data).encode(),
        created=now,
        market_id=None,
        api_version=None,
    )
    event = event_from_row(row, defaults, now=now)
    if not isinstance(event, Event):
        raise ValueError(event.reason)  # noqa: TRY004 - not about types
    return event


async def attempt_sample(
    subscription: Subscription,
    event: Event,
    tag: str,
    *,
    transport: httpx.AsyncBaseTransport,
    templates: TemplateProcess,
    now: float,
) -> SampleAttempt:
    """Send the event as the subscription's deliveries are sent, once."""
    delivery = Delivery(
        seq=0,
        id=f"dlv_test_{tag}",
        subscription=subscription.name,
        event_id=event.id,
        event_type=event.type,
        state=State.PENDING,
        attempts=0,
        step=0,
        due_at=now,
        body=event.body,
    )
    url = httpx.URL(subscription.url)
    if subscription.format is None and subscription.template is None:
        headers = signed_headers(delivery, subscription, attempt=1, now=now)
        made: Request | Outcome = build_request(
            url, headers, delivery.body, own=subscription.headers
        )
    else:
        made = not_formed(subscription.timeout_s)
        with trio.move_on_after(subscription.timeout_s):
            made = await formed_request(url, delivery, subscription, templates=templates, now=now)
    outcome = (
        made
        if isinstance(made, Outcome)
        else await attempt(transport, made, timeout_s=subscription.timeout_s, now=now)
    )
    return SampleAttempt(event, delivery.id, subscription.name, subscription.url, outcome)
