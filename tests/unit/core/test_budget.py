"""What everybody shares, and each one's share of it."""

from relayd.core.budget import Budget


def test_a_user_gets_its_share_and_all_together_get_no_more_than_there_is() -> None:
    budget = Budget(10, 4)
    assert budget.take("a", 4)
    assert not budget.take("a", 1)
    assert budget.take("b", 4)
    assert not budget.take("c", 3)
    assert budget.take("c", 2)
    budget.give_back("a", 3)
    assert budget.take("c", 2)
    assert not budget.take("c", 1)
    budget.give_back("nobody", 0)
    assert budget.take("a", 1)
    assert not budget.take("d", 1)
