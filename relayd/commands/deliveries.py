"""Replay, retry, cancel and backfill deliveries, say which are in flight; pause and resume subscriptions."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeVar

import structlog
import trio

from relayd.commands.requests import (
    Answer,
    RefusedError,
    Request,
    configured,
    numbers_of,
    text_of,
    unknown,
)
from relayd.config.config import Config
from relayd.core.endpoint import endpoint_name
from relayd.core.js_json import Parsed, parse_json
from relayd.core.matching import Matcher
from relayd.delivery.dispatch import Dispatch
from relayd.queue.interface import QueueWriter

_log = structlog.get_logger()

T = TypeVar("T")

_BODIES_AT_ONCE: Final = 1024 * 1024


class DeliveryCommands:
    """Changes deliveries by their numbers, and holds by names.

    `changing` is held while the configuration changes.
    """

    def __init__(
        self,
        config: Config,
        queue: QueueWriter,
        dispatch: Dispatch,
        changing: trio.Lock,
    ) -> None:
        self.config = config
        self._queue = queue
        self._dispatch = dispatch
        self._changing = changing

    async def replay(self, request: Request) -> Answer:
        """Make ended `deliveries` due again, with their whole retry schedule.

        What was delivered is sent again only where `delivered` is true. `held` says for which of
        their subscriptions they are held all the same, and by what.
        """
        seqs = numbers_of(request, "deliveries")
        changed = await self._queue.replay(seqs, delivered=request.get("delivered") is True)
        if changed.count:
            names = sorted(changed.subscriptions)
            _log.info("deliveries_replayed", deliveries=changed.count, subscriptions=names)
        self._dispatch.outdate(changed.subscriptions)
        self._dispatch.wake(changed.subscriptions)
        return {"changed": changed.count, "held": self._held(changed.subscriptions)}

    async def retry(self, request: Request) -> Answer:
        """Release the retries of a `subscription`, or those among `deliveries`, each alone.

        Also lifts a hold of their endpoints, whether or not they are pending: `lifted` names the
        subscriptions whose endpoints had one. `changed` counts the retries. `held` says for which
        subscriptions they stay held, and by what.
        """
        if "subscription" in request:
            name = text_of(request, "subscription")
            if name not in (known := self._queue.holds):
                raise unknown(name, known)
            names, count = [name], await self._queue.release(name)
        else:
            changed = await self._queue.retry(numbers_of(request, "deliveries"))
            names, count = sorted(changed.subscriptions), changed.count
        if count:
            self._dispatch.attempt_released(names)
        lifted = await self._lift_holds(names)
        if count or lifted:
            _log.info("deliveries_released", deliveries=count, subscriptions=names, lifted=lifted)
        return {"changed": count, "held": self._held(names), "lifted": lifted}

    async def _lift_holds(self, names: Iterable[str]) -> list[str]:
        """Lift what holds the endpoints of these subscriptions back; return those that had it."""
        by_url: dict[str, list[str]] = {}
        for name in names:
            if (subscription := self.config.subscriptions.get(name)) is not None:
                by_url.setdefault(subscription.url, []).append(name)
        return [
            name
            for url, here in by_url.items()
            if await self._dispatch.lift_hold(url)
            for name in here
        ]

    async def cancel(self, request: Request) -> Answer:
        """End waiting `deliveries`; `in_flight` counts those that are being attempted."""
        seqs = numbers_of(request, "deliveries")
        changed = await self._queue.cancel(seqs)
        # A claim that was under way may have found them due.
        self._dispatch.outdate(changed.subscriptions)
        # What was behind one of them in its order may have its turn.
        self._dispatch.wake(changed.subscriptions)
        if changed.count:
            names = sorted(changed.subscriptions)
            _log.warning("deliveries_cancelled", deliveries=changed.count, subscriptions=names)
        return {"changed": changed.count, "in_flight": self._dispatch.in_flight(seqs)}

    async def backfill(self, request: Request) -> Answer:
        """Make the deliveries that a subscription did not get, of the `events` that it wants now.

        Answers with the events that it wants, and how many deliveries were made: none with
        `dry_run`.
        """
        seqs = numbers_of(request, "events")
        # Not while a reload brings another configuration, which may want other events.
        async with self._changing:
            name = configured(request, self.config)
            if not self.config.subscriptions[name].active:
                raise RefusedError("inactive", f"{name} has active: false, and takes no new events")
            wanted = await self._wanted(name, seqs)
            if request.get("dry_run"):
                return {"events": wanted, "changed": 0}
            made = await self._queue.backfill(name, wanted)
        if made:
            _log.info("deliveries_backfilled", deliveries=made, subscriptions=[name])
        self._dispatch.wake([name])
        return {"events": wanted, "changed": made, "held": self._held([name] if made else [])}

    async def in_flight(self, request: Request) -> Answer:
        """Say which of `deliveries` are in flight, by their numbers.

        Each has its `endpoint`, without the URL's path; `left` tells whether the subscription has
        another URL by now, as a reload leaves it while an attempt goes on.
        """
        found = self._dispatch.attempted_at(frozenset(numbers_of(request, "deliveries")))
        return {
            "in_flight": {
                str(seq): {"endpoint": endpoint_name(place.url), "left": place.left}
                for seq, place in found.items()
            }
        }

    def _held(self, names: Iterable[str]) -> Answer:
        """Return those of these subscriptions that are held, and by what."""
        holds = self._queue.holds
        return {name: hold for name in sorted(names) if (hold := holds.get(name)) is not None}

    async def _wanted(self, name: str, event_seqs: Sequence[int]) -> list[int]:
        matcher = Matcher({name: self.config.subscriptions[name].selection})
        wanted: list[int] = []
        left = sorted(set(event_seqs))
        while rows := await self._bodies(left):
            for seq, body in rows:
                parsed = parse_json(body.decode())
                if isinstance(parsed, Parsed) and isinstance(parsed.value, dict):
                    wanted += [seq] if matcher.match(parsed.value) else []
            last = rows[-1][0]
            left = [seq for seq in left if seq > last]
        return wanted

    async def _bodies(self, seqs: Sequence[int]) -> list[tuple[int, bytes]]:
        return await self._queue.looks.bodies(seqs, _BODIES_AT_ONCE)

    async def pause(self, request: Request) -> Answer:
        """Hold a subscription's deliveries from now on."""
        name = text_of(request, "subscription")
        changed = await self._hold(name, self._queue.pause)
        hold = self._queue.holds[name]
        if changed:
            _log.warning("subscription_paused", subscription=name, hold=hold)
        return {"changed": changed, "hold": hold}

    async def resume(self, request: Request) -> Answer:
        """Take back a pause, and a receiver's 410; another hold may remain.

        Also releases each retry that waits (`released` counts them), and lifts a hold of the
        endpoint (`lifted` tells whether there was one), whatever was held.
        """
        name = text_of(request, "subscription")
        changed, released = await self._hold(name, self._queue.resume)
        hold = self._queue.holds[name]
        if released:
            self._dispatch.attempt_released([name])
        subscription = self.config.subscriptions.get(name)
        lifted = subscription is not None and await self._dispatch.lift_hold(subscription.url)
        if changed or released or lifted:
            _log.warning(
                "subscription_resumed",
                subscription=name,
                hold=hold,
                released=released,
                lifted=lifted,
            )
        return {"changed": changed, "hold": hold, "released": released, "lifted": lifted}

    async def _hold(self, name: str, change: Callable[[str], Awaitable[T]]) -> T:
        # Not while a reload brings another configuration: holds and configuration go together.
        async with self._changing:
            changed = await change(name)
            holds = self._queue.holds
            if name not in holds:
                raise unknown(name, holds)
            # Of a claim that is under way nothing is started any more, held or released.
            self._dispatch.outdate([name])
            self._dispatch.apply(self.config)
        return changed
