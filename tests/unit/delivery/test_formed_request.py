"""An attempt whose sentence was not made in time."""

from relayd.core.delivery import Delivery, State
from relayd.core.matching import Selection
from relayd.core.outcome import Failure
from relayd.core.subscription import Subscription
from relayd.delivery.attempt import Attempt


def test_an_attempt_that_was_cut_off_before_its_request_is_a_timeout() -> None:
    delivery = Delivery(1, "dlv_1", "chat", "evt_1", "a.b", State.PENDING, 0, 0, 0.0, b"{}")
    subscription = Subscription(
        "chat", "https://a.example/", Selection(("*",), ()), active=True, secret=None,
        previous_secret=None, signature="locallygrown", timeout_s=0.1, retry=(), headers=(),
        format="text",
    )  # fmt: skip
    outcome = Attempt(delivery, subscription, 0, 0.0).result()
    assert outcome.failure is Failure.TIMEOUT
    assert outcome.detail == "what it sends was not made within 0.1 s: relayd is overloaded"
