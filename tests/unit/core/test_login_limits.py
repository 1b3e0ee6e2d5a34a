"""How often a token may be tried."""

from relayd.core.login_limits import FOR_ALL, FOR_ONE, MOST_ADDRESSES, LoginLimits


def test_who_fails_must_wait_and_nobody_else() -> None:
    limits = LoginLimits()
    for _ in range(FOR_ONE.burst):
        assert limits.wait_s("1.2.3.4", 100.0) == 0
        limits.failed("1.2.3.4", 100.0)
    assert 10 < limits.wait_s("1.2.3.4", 100.0) < 20
    assert limits.wait_s("1.2.3.5", 100.0) == 0
    assert limits.wait_s("1.2.3.4", 120.0) == 0


def test_a_success_forgets_the_failures_before_it() -> None:
    limits = LoginLimits()
    for _ in range(FOR_ONE.burst):
        limits.failed("1.2.3.4", 100.0)
    limits.succeeded("1.2.3.4")
    assert limits.wait_s("1.2.3.4", 100.0) == 0


def test_many_addresses_share_a_limit_and_do_not_lock_out_who_was_in() -> None:
    limits = LoginLimits()
    limits.succeeded("9.9.9.9")
    for number in range(FOR_ALL.burst):
        limits.failed(f"1.2.3.{number}", 100.0)
    assert limits.wait_s("1.2.4.1", 100.0) > 0
    assert limits.wait_s("9.9.9.9", 100.0) == 0


def test_what_is_remembered_is_bounded() -> None:
    limits = LoginLimits()
    for number in range(3 * MOST_ADDRESSES):
        limits.failed(str(number), 100.0)
        limits.succeeded(f"in {number}")
    assert len(limits._by_address) <= MOST_ADDRESSES
    assert len(limits._known) <= MOST_ADDRESSES
