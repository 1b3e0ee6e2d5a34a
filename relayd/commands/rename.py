"""Hand a subscription's backlog and history over to its new name in the configuration."""

import structlog
import trio

from relayd.commands.requests import Answer, RefusedError, Request, text_of, unknown
from relayd.config.config import Config
from relayd.config.problem import ConfigError
from relayd.config_loader import ConfigLoader, NotReadError
from relayd.delivery.dispatch import Dispatch
from relayd.queue.interface import QueueWriter

_log = structlog.get_logger()


class RenameCommand:
    """Gives what one subscription left behind to another. `changing` is held meanwhile."""

    def __init__(
        self,
        config: Config,
        queue: QueueWriter,
        dispatch: Dispatch,
        loader: ConfigLoader,
        changing: trio.Lock,
    ) -> None:
        self.config = config
        self._queue = queue
        self._dispatch = dispatch
        self._loader = loader
        self._changing = changing

    async def rename(self, request: Request) -> Answer:
        """Do one step from the subscription `old` to `new`, going on behind delivery `after`.

        Answers with the step's numbers, and the hold of `new`; with `check`, only whether it can be
        done. `new` must be in the configuration in force, and `old` not; where it is the file on
        the disk that says so, the code is `reload`.
        """
        old, new = text_of(request, "old"), text_of(request, "new")
        after = request.get("after", 0)
        if type(after) is not int or not 0 <= after < 2**63:
            raise RefusedError("bad_request", "after must be the number of a delivery")
        # No reload in between: `old` must stay out of the configuration.
        async with self._changing:
            await self._check(old, new)
            if request.get("check"):
                return {}
            # Nothing of `old` is claimed any more, since it is not in the configuration: what is in
            # flight can only end.
            step = await self._queue.hand_over(
                old, new, after=after, in_flight=self._dispatch.in_flight_of(old)
            )
            hold = self._queue.holds[new]
            held_until = self._dispatch.held_until(self.config.subscriptions[new].url)
            if step.holds_moved:
                self._dispatch.apply(self.config)
        if step.moved:
            _log.info(
                "subscription_renamed",
                old=old,
                subscription=new,
                deliveries=step.moved,
                waiting=step.waiting,
                released=step.released,
                hold=hold,
            )
            self._dispatch.wake([new])
        return {
            "moved": step.moved,
            "waiting": step.waiting,
            "released": step.released,
            "kept": step.kept,
            "in_flight": step.in_flight,
            "through": step.through,
            "last": step.last,
            "hold": hold,
            "held_until": held_until,
        }

    async def _check(self, old: str, new: str) -> None:
        if old == new:
            raise RefusedError("bad_request", "the two names are the same")
        known = self._queue.holds
        if old not in known:
            raise unknown(old, known)
        names = self.config.subscriptions
        if new in names and old not in names:
            return
        path = self.config.path
        try:
            file = await self._loader.load(path, self.config)
        except ConfigError as error:
            raise RefusedError("configuration", str(error)) from None
        except NotReadError as error:
            raise RefusedError("failed", str(error)) from None
        on_disk = file.subscriptions
        if old in on_disk:
            raise RefusedError(
                "in_use", f"{old} is still in {path}: change its name there to {new} first"
            )
        if new not in on_disk:
            raise RefusedError("unknown", f"there is no subscription {new!r} in {path}")
        raise RefusedError("reload", f"{path} is not in force yet: `relayd reload` first")
