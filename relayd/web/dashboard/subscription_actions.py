"""Pause, resume and test a subscription, and remove one that was added: a question first."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from relayd.core.advice import next_step
from relayd.core.outcome import Failure
from relayd.views.counts import deliveries_in_words, pending_in_words
from relayd.views.hold_changes import paused_words, resumed_words
from relayd.views.moments import clock_time
from relayd.views.sample_result import moves_words
from relayd.web.dashboard.acting import RELOAD_TIMEOUT_S, Acting, Done, Question, no_subscription
from relayd.web.dashboard.subscription_rows import Everything
from relayd.web.dashboard.visitor import Visitor
from relayd.web.followed_document import document_of

TEST_TIMEOUT_S: Final = 90.0
"""The longest attempt, and the wait for a place in the rate limit."""


class SubscriptionActions:
    """Answers `/subscriptions/NAME/pause`, `…/resume`, `…/test` and `…/remove`."""

    def __init__(self, acting: Acting, look: Callable[[], Awaitable[Everything]]) -> None:
        self._acting = acting
        self._look = look

    async def ask_pause(self, request: Request, visitor: Visitor) -> Response:
        """Ask whether to hold its deliveries."""
        name, waiting = await self._waiting(request)
        return await self._acting.question(
            visitor,
            Question(
                f"Pause {name}?",
                _page(name),
                _page(name, "pause"),
                "Pause",
                [
                    pending_in_words(
                        waiting,
                        one=f": it is held until {name} is resumed.",
                        more=f": they are held until {name} is resumed.",
                    ),
                    "It goes on accepting events and holds them, too. Attempts in flight finish.",
                ],
            ),
        )

    async def pause(self, request: Request, visitor: Visitor) -> Response:
        """Hold them."""
        name, answer = await self._change(request, visitor, "pause")
        return await self._done(visitor, name, f"{name} is paused", [paused_words(name, answer)])

    async def ask_resume(self, request: Request, visitor: Visitor) -> Response:
        """Ask whether to let it go on."""
        name, waiting = await self._waiting(request)
        return await self._acting.question(
            visitor,
            Question(
                f"Resume {name}?",
                _page(name),
                _page(name, "resume"),
                "Resume",
                [
                    pending_in_words(
                        waiting,
                        one=". It goes out within the rate limit.",
                        more=". They go out within the rate limit.",
                    ),
                    "Each retry that waits gets an attempt now, beside its schedule.",
                    "What a receiver's 410, 429 or 503 held back is lifted.",
                ],
            ),
        )

    async def resume(self, request: Request, visitor: Visitor) -> Response:
        """Let it go on."""
        name, answer = await self._change(request, visitor, "resume")
        title, *more = resumed_words(name, answer)
        return await self._done(visitor, name, title.rstrip("."), more)

    async def ask_test(self, request: Request, visitor: Visitor) -> Response:
        """Ask which sample to send."""
        name, waiting = await self._waiting(request)
        return await self._acting.question(
            visitor,
            Question(
                f"Send a sample to {name}?",
                _page(name),
                _page(name, "test"),
                "Send a sample",
                [
                    "It is sent now, past the queue, signed as deliveries are.",
                    "It is neither retried nor recorded; its id begins with `evt_test_`.",
                    "If the receiver accepts it, each pending retry gets an attempt now, and a hold by 429 ends.",
                    pending_in_words(waiting),
                ],
                types=document_of(request).settings["event_types"],
            ),
        )

    async def test(self, request: Request, visitor: Visitor) -> Response:
        """Send it."""
        form = await self._acting.form(request, visitor)
        name = request.path_params["name"]
        chosen = form.get("type", "").strip() or None
        command = {"command": "test", "subscription": name, "type": chosen}
        sent = await self._acting.ask(command, timeout_s=TEST_TIMEOUT_S, long=True)
        return await self._acting.done(visitor, test_result(name, sent))

    async def ask_remove(self, request: Request, visitor: Visitor) -> Response:
        """Ask whether to remove its file."""
        name = request.path_params["name"]
        found = await self._acting.ask(
            {"command": "remove", "subscription": name, "check": True},
            timeout_s=RELOAD_TIMEOUT_S,
            long=True,
        )
        follows = [f"The file `{found['file']}` is removed, with its secret if that is in it."]
        follows.append("Its history is kept. Other changes on disk come into force, too.")
        if found["waiting"]:
            follows.append(
                pending_in_words(
                    found["waiting"],
                    one=f": it is held from then on. Cancel it, or hand it over by `relayd rename {name} NEW`.",
                    more=": they are held from then on. Cancel them, or hand them over by"
                    f" `relayd rename {name} NEW`.",
                )
            )
        return await self._acting.question(
            visitor,
            Question(
                f"Remove {name}?",
                _page(name),
                _page(name, "remove"),
                "Remove",
                follows,
                danger=True,
            ),
        )

    async def remove(self, request: Request, visitor: Visitor) -> Response:
        """Remove it."""
        await self._acting.form(request, visitor)
        name = request.path_params["name"]
        answer = await self._acting.reloaded(request, {"command": "remove", "subscription": name})
        sentences = [f"The file `{answer['file']}` is gone.", *changes_of(answer, name)]
        links = [("/", "Overview")]
        if answer["waiting"]:
            sentences.append(f"{deliveries_in_words(answer['waiting'])} held.")
            links.insert(0, (f"/act/cancel?subscription={quote(name)}", "Cancel them"))
        done = Done(f"{name} removed", sentences, links=links, here="/configuration")
        return await self._acting.done(visitor, done)

    async def _change(
        self, request: Request, visitor: Visitor, command: str
    ) -> tuple[str, Mapping[str, Any]]:
        await self._acting.form(request, visitor)
        name = request.path_params["name"]
        return name, await self._acting.ask({"command": command, "subscription": name})

    async def _waiting(self, request: Request) -> tuple[str, int]:
        """Return a subscription's name, and its backlog. Raises `NotDoneError` where there is none."""
        name = request.path_params["name"]
        waiting = (await self._look()).waiting(name)
        if waiting is None:
            raise no_subscription(name)
        return name, waiting

    async def _done(
        self, visitor: Visitor, name: str, title: str, sentences: list[str]
    ) -> Response:
        links = ((_page(name), name), ("/", "Overview"))
        return await self._acting.done(visitor, Done(title, sentences, links=links))


def test_result(name: str, sent: Mapping[str, Any]) -> Done:
    """Return what a sample came to."""
    took = f"{sent['duration_ms']:.0f} ms"
    if sent["succeeded"]:
        title = f"Accepted: {sent['status']} after {took}"
    elif sent["failure"] == Failure.TEMPLATE:
        title = "Not rendered"
    else:
        title = f"Not accepted (after {took})"
    sentences = [f"{sent['event_type']} ({sent['event_id']}), to {name} at `{sent['url']}`."]
    if not sent["succeeded"]:
        sentences.append(f"{sent['detail']}.")
        # A daemon from before an upgrade gives no cause.
        why = sent.get("cause", sent["failure"])
        step = next_step(sent["status"], why, name, subject=sent.get("subject") or "")
        if step is not None:
            sentences.append(f"Next: {step}")
        if sent["held_until"] is not None:
            until = clock_time(sent["held_until"])
            sentences.append(
                f"The endpoint stays held back until {until} (429 or 503); retry lifts that."
            )
    sentences.append(moves_words(sent))
    return Done(
        title,
        sentences,
        "good" if sent["succeeded"] else "bad",
        sent["answer"],
        ((_page(name, "test"), "Send another"), (_page(name), name)),
    )


def changes_of(answer: Mapping[str, Any], name: str) -> list[str]:
    """Return what a reload changed beside one subscription, and what it warned of in its file."""
    others = [each for each in answer["changes"] if not each.startswith(f"subscription {name}: ")]
    return others + [
        f"Warning: {each}" for each in answer["warnings"] if each.startswith(f"{answer['file']}:")
    ]


def _page(name: str, action: str = "") -> str:
    return f"/subscriptions/{quote(name, safe='')}{f'/{action}' if action else ''}"
