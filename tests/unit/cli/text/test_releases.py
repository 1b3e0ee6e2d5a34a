"""What `retry` says of what it released, and of what it cannot."""

from relayd.cli.text.releases import Backlog, next_words


def test_what_an_exhausted_one_blocks_names_what_sends_it_again_or_gives_it_up() -> None:
    one = Backlog(1, behind=1, first="dlv_1", blocked=True)
    assert next_words("books", one, {}, {}) == (
        "books: its turn comes after dlv_1, which is exhausted: `relayd replay dlv_1` sends that again,"
        " `relayd cancel dlv_1` gives it up."
    )
    waiting = Backlog(1, behind=1, first="dlv_1")
    assert next_words("books", waiting, {}, {}) == (
        "books: its turn comes after dlv_1: `relayd explain dlv_1`."
    )


def test_a_whole_backlog_says_that_exhausted_ones_hold_some_of_it() -> None:
    whole = Backlog(5, behind=3, blocking=2)
    assert next_words("books", whole, {"books": 2}, {}).endswith(
        "3 behind others in their order, each sent in its turn; 2 exhausted ones hold some of them: `relayd"
        " replay books` sends what is exhausted again, `relayd cancel ID` gives one up."
    )
