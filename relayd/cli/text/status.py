"""How everything stands, for people."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import click

from relayd.cli.terminal import printable, wrapped
from relayd.cli.text.inbound import inbound_lines
from relayd.cli.text.rejected import removed_lines
from relayd.config.values import format_size
from relayd.core.absence import Absence
from relayd.core.endpoint import Health, endpoint_name
from relayd.core.hold import Hold
from relayd.core.summary import concerns, summary
from relayd.queue.overview_values import (
    Contents,
    EndpointStanding,
    Overview,
    SubscriptionStanding,
    Tally,
)
from relayd.views.counts import deliveries_in_words
from relayd.views.holds import HOLD_ADVICE, HOLD_STATES
from relayd.views.in_force import Answer, in_force_words
from relayd.views.moments import about, clock_time
from relayd.views.status import Live, bucket_of, endpoint_state, facts_of

_KEPT_BACK: Final = (
    "kept back by `relayd rename`, which hands an older name's backlog over to it in its order: no attempt"
    " starts before the older name's attempts in flight have ended, for 75 s at most"
)


def status_lines(
    overview: Overview,
    live: Live | None,
    path: str,
    now: float,
    *,
    absence: Absence = Absence.NOT_RUNNING,
    in_force: Answer | None = None,
    due: Mapping[str, int] | None = None,
) -> Iterator[str]:
    """Yield how everything stands, for a person: one line of summary first.

    `absence` says why nothing is `live`, `in_force` is the daemon's answer to that command, `due`
    counts what is due at each URL.
    """
    facts = facts_of(overview, live, now, absence=absence, in_force=in_force)
    bad = next(concerns(facts), None) is not None
    colour = "green" if not bad else "red" if any(e.alarm for e in concerns(facts)) else "yellow"
    yield click.style(wrapped(summary(facts)), fg=colour, bold=True)
    for sentence in in_force_words(in_force):
        yield click.style(wrapped(sentence, "    ", first="  "), fg="yellow")
    if live is None:
        # Why, the summary has said.
        yield click.style("This is what relayd's queue says.", fg="red")
    else:
        since = about(live["uptime_s"])
        yield f"relayd {live['version']}, up {since} (pid {live['pid']})"
    for endpoint in overview.endpoints:
        yield ""
        yield from _endpoint_lines(endpoint, live, now, (due or {}).get(endpoint.url, 0))
    if not overview.endpoints:
        yield ""
        yield "No subscriptions."
    yield ""
    for source in [] if live is None else live["sources"]:
        if source["waits_for"] is None:
            undeleted = source.get("undeleted")
            count = f", {undeleted:,} accepted rows not deleted yet" if undeleted else ""
            yield wrapped(f"{source['name']}: ready{count}", "  ", first="")
        else:
            text = f"waits for: {source['waits_for']}"
            yield click.style(wrapped(text, "  ", first=f"{source['name']} "), fg="yellow")
        if source.get("not_confined") is not None:
            text = f"{source['name']}: reader not confined: {source['not_confined']}"
            yield click.style(wrapped(text, "  "), fg="yellow")
    yield from inbound_lines(overview, live, now)
    yield from _queue_lines(overview, live, path)


def _endpoint_lines(
    endpoint: EndpointStanding, live: Live | None, now: float, due: int
) -> Iterator[str]:
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
        if live is not None and live.get("kept_back") == each.name:
            yield click.style(wrapped(_KEPT_BACK, "      ", first="    "), fg="yellow")
        for advice in _advice(each):
            yield click.style(wrapped(advice, "      ", first="    "), fg="yellow")
    bucket = bucket_of(endpoint, live)
    if bucket is not None:
        yield wrapped(
            f"{int(bucket['tokens'])} of {bucket['burst']} attempts left in the bucket"
            f" ({bucket['rate_limit']}), {bucket['in_flight']} of"
            f" {bucket['allowed_in_flight']} in flight",
            "    ",
            first="  ",
        )
        if (held_back := _rate_words(endpoint, bucket, due, now)) is not None:
            yield wrapped(held_back, "    ", first="  ")
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
            if health.succeeded_at is None
            else f"failing since {clock_time(health.failing_since)}, and succeeding since"
            f" {clock_time(health.succeeded_at)}: {_failed_words(health)}; a minute without a"
            f" failure, and it has recovered. Its last failure: {health.last_failure}"
        )
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
        return f"{each.name}{held}: nothing pending"
    words = f"{each.name}{held}: {each.waiting:,} pending, oldest"
    words += f" {about(now - each.oldest_accepted_at)}"
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


def _advice(each: SubscriptionStanding) -> Iterator[str]:
    """Yield what is to be done about what does not go on by itself: a sentence each."""
    name = printable(each.name)
    if each.hold is Hold.REMOVED:
        left = "its backlog" if each.waiting else "its exhausted deliveries"
        if each.waiting and each.exhausted:
            left = f"its backlog and {each.exhausted:,} exhausted"
        yield (
            f"put it back and `relayd reload`, or `relayd rename {name} NEW` hands {left} over to"
            f" another name"
            + (f"; `relayd cancel {name}` gives the backlog up" if each.waiting else "")
        )
        return
    if each.hold is not None and (each.waiting or each.exhausted or each.hold is Hold.GONE):
        yield HOLD_ADVICE[each.hold].format(name=name)
    if each.exhausted:
        which = "it" if each.exhausted == 1 else "them"
        done = f"sends {which} again" if each.hold is None else f"makes {which} due, and held"
        yield f"{each.exhausted:,} exhausted: `relayd replay {name} --state exhausted` {done}"


def _rate_words(
    endpoint: EndpointStanding, bucket: Mapping[str, Any], due: int, now: float
) -> str | None:
    """Say what the rate limit holds back, and until when; None where it holds nothing back."""
    beyond = due - int(bucket["tokens"])
    refill_per_s = bucket.get("refill_per_s")
    # A failing one gets one attempt at a time, and one that asked to wait none: neither is the limit's.
    if beyond <= 0 or not refill_per_s or endpoint_state(endpoint, now) != "healthy":
        return None
    until = now + beyond / refill_per_s
    return (
        f"{due:,} due: the rate limit holds {beyond:,} back, the last until about"
        f" {clock_time(until)} (in {about(until - now)})"
    )


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
        f"queue: {deliveries_in_words(queue.deliveries)}{since}, {queue.waiting:,} pending;"
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
