"""What the log says of an attempt, of its delivery, and of its endpoint."""

import time
from collections.abc import Collection

import structlog

from relayd.core.delivery import AttemptRecord, Delivery, State
from relayd.core.endpoint import Health
from relayd.core.own_events import named


def tell(
    log: structlog.typing.FilteringBoundLogger,
    record: AttemptRecord,
    subscriptions: Collection[str],
    before: Health,
    after: Health,
    *,
    as_decided: bool,
    held: bool,
) -> None:
    """Tell what one attempt came to. `before` and `after` are the endpoint's health around it.

    `subscriptions` are the endpoint's: its name alone may be that of several. `as_decided` says
    that the delivery is as the record has it: the operator changed nothing meanwhile. `held` says
    that its subscription is held now.
    """
    outcome = record.outcome
    fields = identity(record.delivery)
    result = {"status": outcome.status, "duration_ms": round(outcome.duration_s * 1000, 1)}
    if outcome.succeeded:
        log.info("attempt_succeeded", **fields, **result)
    else:
        log.warning(
            "attempt_failed", **fields, **result, failure=outcome.failure, detail=outcome.detail
        )
    if outcome.gone and held:
        log.error(
            "subscription_gone",
            subscription=record.delivery.subscription,
            detail="its receiver answered 410 Gone: its deliveries are held until it is "
            "resumed or its url changes",
        )
    elif not as_decided:
        pass  # what comes next is the operator's, and was logged
    elif record.state is State.RETRYING:
        extra = {} if record.delivery.extra is None else {"extra": record.delivery.extra}
        log.info("retry_scheduled", **fields, **extra, due_at=_iso(record.due_at))
    elif record.state is State.EXHAUSTED:
        log.error(
            "delivery_exhausted",
            **fields,
            detail=outcome.detail if outcome.final else "no attempt is left",
        )
    now = record.decided_at
    if after.held_until > now and (
        before.held_until <= now or after.held_long(now) > before.held_long(now)
    ):
        log.warning(
            "endpoint_throttled",
            **named(subscriptions),
            status=outcome.status,
            until=_iso(after.held_until),
            detail="no attempt until then; `relayd resume` of a subscription of it lifts that",
        )
    tell_health(log, subscriptions, before, after)


def tell_health(
    log: structlog.typing.FilteringBoundLogger,
    subscriptions: Collection[str],
    before: Health,
    after: Health,
) -> None:
    """Tell when an endpoint began to fail, or recovered."""
    if after.failing and not before.failing:
        log.error("endpoint_failing", **named(subscriptions), detail=after.last_failure)
    elif before.failing and not after.failing:
        log.info(
            "endpoint_recovered",
            **named(subscriptions),
            failing_since=_iso(before.failing_since),
        )


def identity(delivery: Delivery) -> dict[str, object]:
    """Return what names a delivery's next attempt in a log."""
    return {
        "event_id": delivery.event_id,
        "event_type": delivery.event_type,
        "delivery_id": delivery.id,
        "subscription": delivery.subscription,
        "attempt": delivery.attempts + 1,
    }


def _iso(moment: float | None) -> str | None:
    if moment is None:
        return None
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
