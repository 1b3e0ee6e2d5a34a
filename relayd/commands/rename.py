"""Hand a subscription's backlog and history over to its new name in the configuration.

What comes for the new name meanwhile is accepted. Where that is in an order, none of it is attempted before all
that the old name has is handed over: it is behind that.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog
import trio

from relayd.commands.requests import Answer, RefusedError, Request, text_of, unknown
from relayd.config.config import Config
from relayd.config.problem import ConfigError
from relayd.config_loader import ConfigLoader, NotReadError
from relayd.delivery.dispatch import Dispatch
from relayd.queue.interface import QueueUnavailable, QueueWriter
from relayd.queue.values import HandoverStep

_log = structlog.get_logger()

PATIENCE_S: Final = 75.0
"""How long attempts under way are waited for: the longest may take 60 s."""

_PAUSE_S: Final = 0.25

_NOT_IN_FORCE: Final = "reload"
"""The code of a refusal where only a reload is missing."""


@dataclass(slots=True)
class _Total:
    """What all steps did; `kept` and `in_flight` are those of the last look at all deliveries."""

    moved: int = 0
    waiting: int = 0
    released: int = 0
    kept: int = 0
    in_flight: int = 0

    def add(self, step: HandoverStep) -> None:
        """Add what a step did."""
        self.moved += step.moved
        self.waiting += step.waiting
        self.released += step.released
        self.kept += step.kept
        self.in_flight += step.in_flight


def _so_far(total: _Total, new: str) -> str:
    """Return what was done before a refusal, and how to go on; nothing where nothing was."""
    if not total.moved:
        return ""
    return (
        f". {total.moved:,} deliveries were handed over to {new} before that, {total.waiting:,} of them"
        " pending, and stay there; `relayd rename` hands over the rest when it is run again"
    )


class RenameCommand:
    """Gives what one subscription left behind to another, one pair at a time.

    `in_force` returns the configuration in force, `reload` is the daemon's own. `changing` is held during each
    step, so that no reload comes in between.
    """

    def __init__(
        self,
        in_force: Callable[[], Config],
        *,
        queue: QueueWriter,
        dispatch: Dispatch,
        loader: ConfigLoader,
        changing: trio.Lock,
        reload: Callable[[], Awaitable[dict[str, object]]],
    ) -> None:
        self._in_force = in_force
        self._queue = queue
        self._dispatch = dispatch
        self._loader = loader
        self._changing = changing
        self._reload = reload
        self._turn = trio.Lock()

    async def rename(self, request: Request) -> Answer:
        """Hand all deliveries of the subscription `old` over to `new`, after a reload where that is missing.

        Answers with the `changes` of that reload, how many deliveries were `moved`, `waiting` of them and
        `released`, how many were `kept` or are still `in_flight`, and the hold of `new`. Where the
        reload is refused, its answer is this one. What is refused or fails half way says what was moved. `new` must be in the file, and `old` not.
        """
        old, new = text_of(request, "old"), text_of(request, "new")
        async with self._turn:
            try:
                async with self._changing:
                    await self._check(old, new)
                in_force = True
            except RefusedError as refused:
                if refused.code != _NOT_IN_FORCE:
                    raise
                in_force = False
            changes: object = []
            total = _Total()
            self._dispatch.keep_back(new)
            try:
                if not in_force:
                    reloaded = await self._reload()
                    if not reloaded.get("ok"):
                        return reloaded
                    changes = reloaded["changes"]
                if self._is_ordered(new):
                    await self._hand_over(old, new, total)
            finally:
                self._dispatch.keep_back("")
                with trio.CancelScope(shield=True):
                    async with self._changing:
                        self._dispatch.apply(self._in_force())
            if not self._is_ordered(new):
                await self._hand_over(old, new, total)
        subscription = self._in_force().subscriptions.get(new)
        url = "" if subscription is None else subscription.url
        return {
            "changes": changes,
            "moved": total.moved,
            "waiting": total.waiting,
            "released": total.released,
            "kept": total.kept,
            "in_flight": total.in_flight,
            "hold": self._queue.holds.get(new),
            "held_until": self._dispatch.held_until(url),
        }

    def _is_ordered(self, name: str) -> bool:
        subscription = self._in_force().subscriptions.get(name)
        return subscription is not None and subscription.selection.order_by is not None

    async def _hand_over(self, old: str, new: str, total: _Total) -> None:
        """Hand over what there is now, and what is in flight once its attempt has ended."""
        patience = trio.current_time() + PATIENCE_S
        while True:
            total.kept = total.in_flight = 0
            after, end = 0, None
            while end is None or after < end:
                try:
                    step = await self._step(old, new, after)
                except RefusedError as refused:
                    raise RefusedError(refused.code, f"{refused}{_so_far(total, new)}") from None
                except QueueUnavailable as error:
                    raise RefusedError(
                        "unavailable",
                        f"relayd cannot write to its queue now ({error.reason}); try again later"
                        f"{_so_far(total, new)}",
                    ) from None
                total.add(step)
                # What is accepted meanwhile is not `old`'s.
                after, end = step.through, step.last if end is None else end
            if not total.in_flight or trio.current_time() > patience:
                return
            await trio.sleep(_PAUSE_S)

    async def _step(self, old: str, new: str, after: int) -> HandoverStep:
        """Do one step, going on behind delivery `after`."""
        # No reload in between: `old` must stay out of the configuration.
        async with self._changing:
            await self._check(old, new)
            # Nothing of `old` is claimed any more, since it is not in the configuration: what is in
            # flight can only end.
            step = await self._queue.hand_over(
                old, new, after=after, in_flight=self._dispatch.in_flight_of(old)
            )
            if step.holds_moved:
                self._dispatch.apply(self._in_force())
        if step.moved:
            _log.info(
                "subscription_renamed",
                old=old,
                subscription=new,
                deliveries=step.moved,
                waiting=step.waiting,
                released=step.released,
                hold=self._queue.holds[new],
            )
            self._dispatch.wake([new])
        return step

    async def _check(self, old: str, new: str) -> None:
        if old == new:
            raise RefusedError("bad_request", "the two names are the same")
        known = self._queue.holds
        if old not in known:
            raise unknown(old, known)
        config = self._in_force()
        names = config.subscriptions
        if new in names and old not in names:
            return
        try:
            file = await self._loader.load(config.path, config)
        except ConfigError as error:
            raise RefusedError("configuration", str(error)) from None
        except NotReadError as error:
            raise RefusedError("failed", str(error)) from None
        on_disk = file.subscriptions
        if old in on_disk:
            where = file.included.get(old, config.path)
            raise RefusedError(
                "in_use", f"{old} is still in {where}: change its name there to {new} first"
            )
        if new not in on_disk:
            also = ", or in a file that it includes" if file.include else ""
            reason = f"there is no subscription {new!r} in {config.path}{also}"
            raise RefusedError("unknown", reason)
        reason = f"{config.path} is not in force yet: `relayd reload` first"
        raise RefusedError(_NOT_IN_FORCE, reason)
