"""Reports what happens at one endpoint: the log lines, and relayd's own events.

Each thing that happens is one call. relayd's own events are returned, since they are written in one
transaction with what they report.
"""

from collections.abc import Collection, Sequence
from datetime import datetime

import structlog

from relayd.core.delivery import AttemptRecord, Delivery, State
from relayd.core.endpoint import Health, endpoint_name
from relayd.core.own_events import OwnEvent, Report, after_attempt, after_change, named

_log = structlog.get_logger()

DEFECT_DETAIL = "relayd itself failed; its log has the traceback"


class Observer:
    """What an endpoint's task reports to. `serving` are the names of its subscriptions, as they are."""

    def __init__(self, url: str, serving: Collection[str]) -> None:
        self._name = endpoint_name(url)
        self._serving = serving
        self._log = _log.bind(endpoint=self._name)

    def own_events(
        self, record: AttemptRecord, before: Health, after: Health
    ) -> tuple[Report, ...]:
        """Return the own events that an attempt causes, to be written with its record."""
        if record.state is not State.EXHAUSTED and before is after:
            return ()
        events = after_attempt(record, self._name, self._serving, before=before, after=after)
        return tuple(events)

    def attempt_finished(
        self,
        record: AttemptRecord,
        before: Health,
        after: Health,
        *,
        as_decided: bool,
        held: bool,
    ) -> None:
        """Report the result of an attempt. `before` and `after` are the endpoint's health around it.

        `as_decided` says that the delivery is as the record has it: the operator changed nothing in
        the meantime. `held` says that its subscription is held now.
        """
        outcome = record.outcome
        fields = _identity(record.delivery)
        result = {"status": outcome.status, "duration_ms": round(outcome.duration_s * 1000, 1)}
        if outcome.failure is None:
            fields |= result
            self._log.info("attempt_succeeded", **fields)
            if before is after:
                return
        else:
            self._log.warning(
                "attempt_failed", **fields, **result, failure=outcome.failure, detail=outcome.detail
            )
        if outcome.gone and held:
            self._log.error(
                "subscription_held",
                subscription=record.delivery.subscription,
                detail="its receiver answered 410 Gone: its deliveries are held until it is "
                "resumed or its url changes",
            )
        elif not as_decided:
            pass  # what comes next is the operator's, and was logged
        elif record.state is State.RETRYING:
            extra = {} if record.delivery.extra is None else {"extra": record.delivery.extra}
            self._log.info("retry_scheduled", **fields, **extra, due_at=_iso(record.due_at))
        elif record.state is State.EXHAUSTED:
            self._log.error(
                "delivery_exhausted",
                **fields,
                detail=outcome.detail if outcome.final else "no attempt is left",
            )
        now = record.decided_at
        if after.held_until > now and (
            before.held_until <= now or after.held_long(now) > before.held_long(now)
        ):
            self._log.warning(
                "endpoint_throttled",
                **named(self._serving),
                status=outcome.status,
                until=_iso(after.held_until),
                detail="no attempt until then; `relayd retry` of a subscription of it lifts that",
            )
        self._health_changed(before, after)

    def recovered(self, now: float, before: Health, after: Health) -> Sequence[OwnEvent]:
        """Report that the endpoint has recovered; return the own events, to be written with it."""
        self._health_changed(before, after)
        return after_change(self._name, self._serving, int(now), before=before, after=after)

    def queue_unavailable(self, error: Exception, delivery: Delivery | None = None) -> None:
        """Report that the queue could not be used, for the endpoint or for one delivery's record."""
        if delivery is not None:
            self._log.warning("queue_unavailable", detail=str(error), **_identity(delivery))
        else:
            names = list(self._serving)
            self._log.warning("queue_unavailable", subscriptions=names, detail=str(error))

    def claim_defect(self, defect: Exception, subscriptions: Sequence[str]) -> None:
        """Report that a defect kept the queue from saying what is due."""
        self._log.error("claim_internal_error", subscriptions=list(subscriptions), exc_info=defect)

    def attempt_defect(self, delivery: Delivery, defect: Exception) -> None:
        """Report a defect in an attempt, or in what follows once it is recorded."""
        self._log.error("attempt_internal_error", **_identity(delivery), exc_info=defect)

    def not_recorded(self, delivery: Delivery, defect: Exception) -> None:
        """Report that an attempt's result cannot be written."""
        self._log.error("attempt_not_recorded", **_identity(delivery), exc_info=defect)

    def quarantined(self, delivery: Delivery) -> None:
        """Report that a delivery was ended because its attempt cannot be recorded."""
        self._log.error("delivery_exhausted", **_identity(delivery), detail=DEFECT_DETAIL)

    def not_quarantined(self, delivery: Delivery, defect: Exception) -> None:
        """Report that a delivery stays in flight until relayd ends, since it cannot be ended."""
        self._log.error("delivery_not_quarantined", delivery=delivery.seq, exc_info=defect)

    def _health_changed(self, before: Health, after: Health) -> None:
        if after.failing and not before.failing:
            self._log.error("endpoint_failing", **named(self._serving), detail=after.last_failure)
        elif before.failing and not after.failing:
            since = _iso(before.failing_since)
            self._log.info("endpoint_recovered", **named(self._serving), failing_since=since)


def _identity(delivery: Delivery) -> dict[str, object]:
    """Return what names a delivery's next attempt in a log."""
    return {
        "event_id": delivery.event_id,
        "event_type": delivery.event_type,
        "delivery_id": delivery.id,
        "subscription": delivery.subscription,
        "attempt": delivery.attempts + 1,
    }


def _iso(moment: float | None) -> str | None:
    """Return a moment for people: in the machine's zone, with its offset."""
    if moment is None:
        return None
    return datetime.fromtimestamp(moment).astimezone().isoformat(timespec="seconds")
