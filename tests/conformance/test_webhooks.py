"""What every queue promises of events that came by inbound webhooks."""

import pytest
from queues_under_test import UnderTest
from webhooks import inbound, unmappable, webhook

from relayd.core.acceptance import Acceptance, NewEvent
from relayd.queue.values import Horizon

A, B = webhook("mailgun:a", "token-1"), webhook("mailgun:b", "token-1")


async def taken(queue: UnderTest, *news: NewEvent) -> list[Acceptance]:
    return list(await queue.queue.accept(list(news)))


async def test_the_providers_id_alone_decides_what_is_a_duplicate(queue: UnderTest) -> None:
    first = inbound("evt_1", webhook(raw=b"1"), "books")
    assert await taken(queue, first) == [Acceptance.ACCEPTED]
    # Another entry, with other content, and with another id where the provider's was none for relayd.
    again = inbound("other-id", webhook(raw=b"2"), "books", text="y")
    assert await taken(queue, again, again) == [Acceptance.DUPLICATE] * 2
    assert len(await queue.rows()) == 1


async def test_of_those_that_come_together_the_first_is_accepted(queue: UnderTest) -> None:
    five = [inbound("evt_1", webhook(raw=str(n).encode()), "books", text=str(n)) for n in range(5)]
    assert await taken(queue, *five) == [Acceptance.ACCEPTED] + [Acceptance.DUPLICATE] * 4
    assert len(await queue.rows()) == 1


async def test_an_id_that_another_source_gave_to_something_else_is_a_conflict(
    queue: UnderTest,
) -> None:
    plain = inbound("evt_1", webhook("github:9"), "books", text="other")
    assert await taken(queue, plain, inbound("evt_1", webhook())) == [
        Acceptance.ACCEPTED,
        Acceptance.CONFLICT,
    ]


@pytest.mark.parametrize("together", [False, True])
async def test_a_token_may_come_again_with_the_same_event_and_with_no_other(
    queue: UnderTest, together: bool
) -> None:
    news = [inbound("evt_a", A), inbound("evt_b", B), inbound("evt_a", A)]
    found = await taken(queue, *news) if together else [(await taken(queue, n))[0] for n in news]
    assert found == [Acceptance.ACCEPTED, Acceptance.TOKEN_REUSED, Acceptance.DUPLICATE]


async def test_a_token_that_came_with_a_duplicate_is_used_up(queue: UnderTest) -> None:
    await taken(queue, inbound("evt_a", A))
    assert await taken(queue, inbound("evt_a", webhook("mailgun:a", "token-2"))) == [
        Acceptance.DUPLICATE
    ]
    assert await taken(queue, inbound("evt_c", webhook("mailgun:c", "token-2"))) == [
        Acceptance.TOKEN_REUSED
    ]


async def test_a_token_whose_event_was_not_taken_is_not_used_up(queue: UnderTest) -> None:
    await taken(queue, inbound("evt_a", webhook("github:1"), text="other"))
    assert await taken(queue, inbound("evt_a", A)) == [Acceptance.CONFLICT]
    assert await taken(queue, inbound("evt_b", B)) == [Acceptance.ACCEPTED]


async def test_what_cannot_be_mapped_is_kept_once_and_uses_its_token_up(queue: UnderTest) -> None:
    first = unmappable(A)
    assert (await queue.queue.reject([first])).new == [first]
    again = unmappable(webhook("mailgun:a", "token-1", b"another body"))
    assert (await queue.queue.reject([again])).new == []
    other = unmappable(B)
    found = await queue.queue.reject([other])
    assert (list(found.new), list(found.refused)) == ([], [other])
    assert await taken(queue, inbound("evt_b", B)) == [Acceptance.TOKEN_REUSED]


async def test_resubmitted_it_is_its_event_and_its_retry_a_duplicate(queue: UnderTest) -> None:
    await queue.queue.reject([unmappable(A)])
    again = inbound("evt_a", A, "books")
    assert await queue.queue.resubmit(again, 1) is Acceptance.ACCEPTED
    assert await queue.queue.resubmit(again, 1) is None
    assert await taken(queue, again) == [Acceptance.DUPLICATE]
    assert len(await queue.rows()) == 1


async def test_what_was_accepted_is_not_rejected_after_that(queue: UnderTest) -> None:
    # A form of Mailgun's has its token as its id: with it, a broken body is the same again.
    await taken(queue, inbound("evt_a", A))
    broken = unmappable(webhook("mailgun:a", "token-1", b"broken"))
    found = await queue.queue.reject([broken])
    assert (list(found.new), list(found.refused), list(found.duplicates)) == ([], [], [broken])
    assert await queue.queue.looks.rejected(1) is None


async def test_a_token_makes_one_event_or_one_rejected_row_and_never_both(queue: UnderTest) -> None:
    # Whoever saw one request may send other bodies with its token, for as long as its time is allowed.
    for number in range(20):
        await queue.queue.reject([unmappable(webhook("mailgun:x", "token-1", b"%d" % number))])
        await queue.queue.reject([unmappable(webhook(f"mailgun:{number}", "token-1"))])
        await taken(queue, inbound(f"evt_{number}", webhook(f"mailgun:e{number}", "token-1")))
    kept = [await queue.queue.looks.rejected(seq) for seq in range(1, 60)]
    assert sum(each is not None for each in kept) == 1
    assert not await queue.rows()


async def test_its_key_is_known_as_long_as_its_id(queue: UnderTest) -> None:
    await taken(queue, inbound("evt_1", webhook()))
    queue.now += 1000.0
    assert await queue.queue.prune(Horizon(queue.now, queue.now - 2000.0), [1]) == 1
    assert await taken(queue, inbound("evt_x", webhook())) == [Acceptance.DUPLICATE]
    assert await queue.queue.prune(Horizon(queue.now, queue.now), [1]) == 1
    assert await taken(queue, inbound("evt_1", webhook())) == [Acceptance.ACCEPTED]
