"""How everything stands, for people."""

from collections.abc import Iterator
from typing import Final

import click

from relayd.cli.terminal import printable, wrapped
from relayd.cli.text.holds import HOLD_STATES
from relayd.cli.text.rejected import removed_lines
from relayd.config.values import format_size
from relayd.core.absence import Absence
from relayd.core.endpoint import Health, endpoint_name
from relayd.queue.overview_values import (
    Contents,
    EndpointStanding,
    Overview,
    SubscriptionStanding,
    Tally,
)
from relayd.views.moments import about, clock_time
from relayd.views.status import Live, bucket_of, endpoint_state

_ABSENT: Final = {
    Absence.NOT_RUNNING: "relayd is not running: this is what its queue says.",
    Absence.NOT_PERMITTED: "This is what relayd's queue says; whether it runs is not known.",
    Absence.NOT_ANSWERING: "relayd runs, but did not answer: this is what its queue says.",
}


def status_lines(
    overview: Overview,
    live: Live | None,
    path: str,
    now: float,
    *,
    absence: Absence = Absence.NOT_RUNNING,
) -> Iterator[str]:
    """Yield how everything stands, for a person. `absence` says why nothing is `live`."""
    if live is None:
        yield click.style(_ABSENT[absence], fg="red")
    else:
        since = about(live["uptime_s"])
        yield f"relayd {live['version']}, up {since} (pid {live['pid']})"
    for endpoint in overview.endpoints:
        yield ""
        yield from _endpoint_lines(endpoint, live, now)
    if not overview.endpoints:
        yield ""
        yield "There is no subscription."
    yield ""
    for source in [] if live is None else live["sources"]:
        if source["waits_for"] is None:
            undeleted = source.get("undeleted")
            count = f", {undeleted:,} accepted rows not deleted yet" if undeleted else ""
            yield f"{source['name']}: ready{count}"
        else:
            text = f"waits for: {source['waits_for']}"
            yield click.style(wrapped(text, "  ", first=f"{source['name']} "), fg="yellow")
        if source.get("not_confined") is not None:
            text = f"{source['name']}: reader not confined: {source['not_confined']}"
            yield click.style(wrapped(text, "  "), fg="yellow")
    yield from _queue_lines(overview, live, path)


def _endpoint_lines(endpoint: EndpointStanding, live: Live | None, now: float) -> Iterator[str]:
    yield click.style(printable(endpoint_name(endpoint.url)), bold=True)
    colour = {"healthy": "green", "failing": "red"}.get(endpoint_state(endpoint, now), "yellow")
    yield click.style(wrapped(_health_words(endpoint, now), "  "), fg=colour)
    active = [each.name for each in endpoint.subscriptions if each.hold is None]
    if endpoint.health.failures and active:
        yield wrapped(
            f"next: `relayd test {active[0]}` tries it now, and says what to do", "    ", first="  "
        )
    for each in endpoint.subscriptions:
        yield wrapped(_waiting_words(each, now), "      ", first="  ")
    bucket = bucket_of(endpoint, live)
    if bucket is not None:
        yield (
            f"  {int(bucket['tokens'])} of {bucket['burst']} attempts left in the bucket"
            f" ({bucket['rate_limit']}), {bucket['in_flight']} of"
            f" {bucket['allowed_in_flight']} in flight"
        )
    tallies = endpoint.tallies
    yield wrapped(_tally_words(tallies.last_hour), "    ", first="  last hour: ")
    yield wrapped(_tally_words(tallies.last_day), "    ", first="  last day:  ")


def _health_words(endpoint: EndpointStanding, now: float) -> str:
    health = endpoint.health
    words = "healthy"
    if health.failing_since is not None:
        words = (
            f"failing since {clock_time(health.failing_since)}"
            f" ({about(now - health.failing_since)}): {_failed_words(health)}, the latest:"
            f" {health.last_failure}"
        )
        if health.succeeded_at is not None:
            words += f"; the last ones have succeeded since {clock_time(health.succeeded_at)}"
    elif health.failures:
        words = f"its last attempt failed: {health.last_failure}"
    if health.held_until > now:
        words += (
            f"; held back until {clock_time(health.held_until)} by its answer, 429 or 503"
            f" (in {about(health.held_until - now)})"
        )
    return words


def _failed_words(health: Health) -> str:
    if not health.recent:  # an older relayd saw it fail, and kept the failures in a row alone
        return f"{health.failures:,} attempts in a row failed"
    return f"{health.failed_of_recent} of its last {len(health.recent)} attempts failed"


def _waiting_words(each: SubscriptionStanding, now: float) -> str:
    held = f" is {HOLD_STATES[each.hold]}" if each.hold is not None else ""
    if not each.waiting or each.oldest_accepted_at is None:
        return f"{each.name}{held}: nothing waits"
    words = f"{each.name}{held}: {each.waiting:,} wait, the oldest"
    words += f" since {about(now - each.oldest_accepted_at)}"
    if each.behind:
        words += f"; {each.behind:,} of them are behind others in their order"
    if each.blocking:
        many = "1 exhausted delivery holds" if each.blocking == 1 else f"{each.blocking:,} hold"
        words += (
            f", and {many} them until it is replayed or cancelled: `relayd deliveries"
            f" --subscription {each.name} --state exhausted`"
        )
    if each.next_due_at is None:
        return words
    coming = each.next_due_at - now
    return f"{words}; next attempt " + (f"in {about(coming)}" if coming > 0 else "is due")


def _tally_words(tally: Tally) -> str:
    rate = tally.success_rate
    if rate is None:
        return "no attempts"
    # 100 % only where nothing failed.
    share = f"{min(rate * 100, 100 if tally.failed == 0 else 99.9):.1f}".removesuffix(".0")
    counted = "1 attempt" if tally.attempts == 1 else f"{tally.attempts:,} attempts"
    words = f"{counted}, {share} % succeeded"
    if tally.exhausted:
        words += f", {tally.exhausted:,} exhausted"
    half, most = tally.response_s(0.5), tally.response_s(0.95)
    if half is None or most is None:
        return f"{words}, no answers"
    return f"{words}, p50 {_duration(half)}, p95 {_duration(most)}"


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _contents_words(contents: Contents) -> str:
    parts = {
        "events": contents.events,
        "attempts": contents.attempts,
        "rejected input": contents.rejected,
        "deliveries and indexes": contents.other,
    }
    named = sorted(parts.items(), key=lambda each: -each[1])
    words = ", ".join(f"{what} {format_size(size)}" for what, size in named if size)
    return f"filled by (about): {words or 'nothing'}; free {format_size(contents.free)}"


def _queue_lines(overview: Overview, live: Live | None, path: str) -> Iterator[str]:
    queue = overview.queue
    oldest = queue.oldest_event_at
    since = "" if oldest is None else f" of events since {clock_time(oldest)[:10]}"
    yield wrapped(
        f"queue: {queue.deliveries:,} deliveries{since}, of which {queue.waiting:,} wait;"
        f" {format_size(queue.size_bytes)} in {path}",
        "  ",
        first="",
    )
    yield wrapped(_contents_words(queue.contents), "    ", first="  ")
    most = None if live is None else live["queue"]["max_size_bytes"]
    if live is not None and live["queue"]["too_large"] and most is not None:
        text = (
            f"it is larger than queue.max_size ({format_size(most)}), and nothing is left in it"
            " that has ended"
        )
        yield click.style(wrapped(text, "  ", first="  "), fg="yellow")
    if queue.rejected:
        text = f"rejected input: {queue.rejected:,} (see `relayd rejected list`)"
        yield click.style(text, fg="yellow")
    for line in removed_lines(queue.removed):
        yield click.style(line, fg="yellow")
