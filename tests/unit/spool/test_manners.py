import pytest

from relayd.spool.manners import (
    BUSY_INTERVAL_S,
    HUNT_S,
    INTERVAL_S,
    MANY,
    OVERDUE_S,
    PATIENCE_S,
    QUIET_S,
    Manners,
)


def test_where_nobody_else_writes_all_is_deleted_at_once() -> None:
    manners = Manners()
    for now in (0.0, 0.001, 0.002):
        manners.due(now)
        assert manners.may_delete(now, 1, fresh=False)
        manners.deleted(now, rest=False)


def test_a_lone_commit_is_followed_by_a_deletion_once_it_is_quiet() -> None:
    manners = Manners()
    manners.commit_seen(100.0)
    manners.due(100.01)
    assert not manners.may_delete(100.01, 1, fresh=False)
    assert manners.next_at <= 100.01 + QUIET_S
    assert manners.may_delete(100.0 + QUIET_S, 1, fresh=False)


def test_while_others_write_deletions_are_rare_and_right_behind_a_commit() -> None:
    manners = Manners()
    deletions = list[float]()
    now = 0.0
    while now < 60.0:
        manners.commit_seen(now)
        for passed_s in (0.0, 0.002, 0.004):
            manners.due(now)
            if manners.may_delete(now + passed_s, 100, fresh=passed_s == 0):
                deletions.append(now + passed_s)
                manners.deleted(now + passed_s, rest=False)
        now += 0.005
    assert 60 / INTERVAL_S - 2 <= len(deletions) <= 60 / INTERVAL_S + 1
    # Never in the middle of what follows the commit.
    assert all(round(at * 1000) % 5 == 0 for at in deletions)


def test_without_a_fresh_commit_a_deletion_comes_all_the_same() -> None:
    manners = Manners()
    manners.commit_seen(0.0)
    manners.due(0.0)
    now = 0.0
    while not manners.may_delete(now, 1, fresh=False):
        manners.commit_seen(now)
        assert now <= manners.next_at <= now + QUIET_S
        now += 0.01
    assert HUNT_S - 0.02 < now < HUNT_S + QUIET_S


def test_many_rows_are_deleted_once_a_second() -> None:
    manners = Manners()
    manners.commit_seen(0.0)
    manners.due(0.0)
    assert manners.may_delete(0.001, MANY, fresh=False)
    manners.deleted(0.001, rest=True)
    manners.commit_seen(0.002)
    manners.due(0.002)
    assert not manners.may_delete(0.9, MANY, fresh=True)
    manners.commit_seen(1.0)
    assert manners.may_delete(0.002 + BUSY_INTERVAL_S, MANY, fresh=False)


def test_what_one_deletion_left_is_deleted_a_second_later() -> None:
    manners = Manners()
    manners.commit_seen(0.0)
    manners.deleted(0.0, rest=True)
    manners.commit_seen(BUSY_INTERVAL_S)
    assert manners.may_delete(BUSY_INTERVAL_S, 1, fresh=True)
    manners.deleted(BUSY_INTERVAL_S, rest=False)
    manners.commit_seen(2 * BUSY_INTERVAL_S)
    assert not manners.may_delete(2 * BUSY_INTERVAL_S, 1, fresh=True)


def test_a_lock_is_waited_for_only_when_deletion_is_overdue() -> None:
    manners = Manners()
    assert manners.patience_s(1000.0) == 0.0
    manners.due(1000.0)
    assert manners.patience_s(1000.0 + OVERDUE_S - 0.1) == 0.0
    assert manners.patience_s(1000.0 + OVERDUE_S) == PATIENCE_S
    manners.deleted(1006.0, rest=True)
    assert manners.patience_s(1006.1) == 0.0


def test_attempts_at_a_lock_become_rarer() -> None:
    for commit, longest_s in ((False, 0.1), (True, 1.0)):
        manners = Manners()
        now, pauses = 0.0, list[float]()
        for _ in range(12):
            manners.lock_refused(now, commit=commit)
            assert not manners.may_delete(now, 1, fresh=True)
            pauses.append(manners.next_at - now)
            now = manners.next_at
        assert pauses[0] == 0.005
        assert pauses == sorted(pauses[:8]) + pauses[8:]
        assert pauses[-1] == pytest.approx(longest_s)


def test_after_a_failure_nothing_is_tried_whatever_others_do() -> None:
    manners = Manners()
    manners.failed(0.0, 8.0)
    manners.commit_seen(4.0)
    assert not manners.may_delete(4.0, MANY, fresh=True)
    assert manners.may_delete(8.5, MANY, fresh=True)
