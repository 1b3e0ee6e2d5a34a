"""relayd, broken on purpose: it marks a delivery as delivered before it sends it.

The harness must find what this loses, or it would prove nothing of the real one.
"""

import sys

from relayd.cli import main
from relayd.core.delivery import Delivery, decide
from relayd.core.outcome import Outcome
from relayd.core.subscription import Subscription
from relayd.delivery.endpoint_task import EndpointTask
from relayd.queue.records import Recording


async def _mark_then_send(
    self: EndpointTask, delivery: Delivery, subscription: Subscription
) -> None:
    now = self._clock()
    delivered = decide(delivery, Outcome(0.0, status=200), (), started_at=now, now=now, jitter=0.0)
    await self._record(Recording(delivered, subscription.url, None))
    await self._outcome(delivery, subscription, now)


if __name__ == "__main__":
    EndpointTask._attempt = _mark_then_send  # type: ignore[method-assign]  # that is the defect
    sys.argv[0] = "relayd"
    main()
