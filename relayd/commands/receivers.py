"""Send a sample event to a receiver, past the queue."""

import secrets
from collections.abc import Callable
from typing import Final

import structlog
import trio

from relayd.commands.requests import Answer, RefusedError, Request, configured, text_of
from relayd.config.config import Config
from relayd.core.event import EventDefaults
from relayd.core.hold import Hold
from relayd.core.outcome import Outcome
from relayd.delivery.dispatch import Dispatch, MakeTransport
from relayd.delivery.sample_attempt import attempt_sample, sample_event, sample_type
from relayd.queue.interface import QueueWriter

_log = structlog.get_logger()

_TOKEN_WAIT_S: Final = 15.0


class ReceiverCommands:
    """Tries receivers. `clock` gives Unix seconds."""

    def __init__(
        self,
        config: Config,
        queue: QueueWriter,
        dispatch: Dispatch,
        make_transport: MakeTransport,
        clock: Callable[[], float],
    ) -> None:
        self.config = config
        self._queue = queue
        self._dispatch = dispatch
        self._make_transport = make_transport
        self._clock = clock

    async def test(self, request: Request) -> Answer:
        """Send a sample of `type`, or of one that the subscription wants, and say what came back.

        It takes a token of the endpoint's bucket, so that the limit is kept, and also goes to a
        subscription that is held. One that succeeds lifts a hold of the endpoint and releases the
        subscription's retries: `released` counts those that wait, of a backlog of `waiting`. `hold`
        is why they stay all the same, `held_until` until when the endpoint is held back, in Unix
        seconds, or None.
        """
        name = await self._configured(request)
        url = ""
        # Again after each wait: a reload may have brought another URL, which has its own limit.
        while url != (now_at := self.config.subscriptions[configured(request, self.config)].url):
            await self._take_token(url := now_at)
        config = self.config
        subscription = config.subscriptions[configured(request, config)]
        chosen = sample_type(subscription.selection.events)
        event_type = text_of(request, "type") if request.get("type") is not None else chosen
        tag = secrets.token_hex(8)
        now = self._clock()
        defaults = EventDefaults(config.market_id, config.api_version)
        try:
            event = sample_event(event_type, tag=tag, now=int(now), defaults=defaults)
        except ValueError as error:
            raise RefusedError("invalid_type", str(error)) from None
        endpoint = config.endpoints[subscription.url]
        async with self._make_transport(endpoint, config.allow_networks) as transport:
            sent = await attempt_sample(
                subscription,
                event,
                tag,
                transport=transport,
                templates=self._dispatch.templates,
                now=now,
            )
        result = sent.outcome
        _log.info(
            "subscription_tested",
            subscription=name,
            status=result.status,
            failure=result.failure,
            detail=result.detail,
        )
        released = await self._release(name, subscription.url, result)
        waiting = (await self._queue.looks.waiting([name])).get(name)
        return {
            **sent.document(),
            "released": released,
            "waiting": 0 if waiting is None else waiting.count,
            "hold": self._queue.holds.get(name),
            "held_until": self._dispatch.held_until(subscription.url),
        }

    async def _configured(self, request: Request) -> str:
        """Return the name of a subscription of the configuration; say of one that was removed what it left."""
        name = text_of(request, "subscription")
        removed = self._queue.holds.get(name) is Hold.REMOVED
        if name in self.config.subscriptions or not removed:
            return configured(request, self.config)
        waiting = (await self._queue.looks.waiting([name])).get(name)
        reason = f"{name} is gone from the configuration"
        if waiting is not None and waiting.count:
            reason += (
                f", and holds {waiting.count:,} pending: put it back and `relayd reload`, or hand them"
                f" over by `relayd rename {name} NEW`"
            )
        raise RefusedError("unknown", reason)

    async def _release(self, name: str, url: str, outcome: Outcome) -> int:
        """Release what waits for a subscription after a success; return how many retries."""
        subscription = self.config.subscriptions.get(name)
        # What succeeded says nothing of another URL, which a reload may have brought meanwhile.
        if not outcome.succeeded or subscription is None or subscription.url != url:
            return 0
        released = await self._queue.release(name)
        await self._dispatch.after_test(url, outcome)
        if released:
            self._dispatch.attempt_released([name])
        return released

    async def _take_token(self, url: str) -> None:
        with trio.move_on_after(_TOKEN_WAIT_S) as waiting:
            await self._dispatch.take_token(url)
        if waiting.cancelled_caught:
            raise RefusedError(
                "rate_limit", "the endpoint's rate limit leaves no room for a test; try again"
            )
