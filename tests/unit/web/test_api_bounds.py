"""How much of the API is under way at a time, for all and for one token; and what becomes of refusals."""

import asyncio
import gc
import threading
import weakref
from contextlib import AbstractContextManager
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

import pytest
from starlette.requests import Request

from relayd.control import NoDaemonError, RefusedByDaemonError
from relayd.core.absence import Absence
from relayd.core.web_access import Holder, Role
from relayd.queue.snapshot import QueueReader
from relayd.queue.snapshot_values import QueueUnreadableError
from relayd.web.api import service as under_test
from relayd.web.api.refusals import no_answer, not_done
from relayd.web.api.service import REQUESTS_EACH, SENT_BYTES_EACH, SNAPSHOTS, Answer, Service
from relayd.web.daemon_link import DaemonLink
from relayd.web.problem import ProblemError

TOKEN = Holder(Role.EVERYTHING)
READ = Holder(Role.READ)


class Queue:
    """A queue that cannot be read."""

    def snapshot(self, *, limit_s: float | None = None) -> AbstractContextManager[None]:
        assert limit_s == 2.0
        raise QueueUnreadableError(Path("queue.db"), "interrupted")


def service() -> Service:
    return Service(DaemonLink(Path("/nowhere")), cast("QueueReader", Queue()))


class Asked:
    """Requests of one token to one operation."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, holder: Holder) -> None:
        monkeypatch.setattr(under_test, "holder_of", lambda _: holder)
        monkeypatch.setattr(under_test, "looker_of", lambda _: holder)
        self.sent: list[Any] = []
        self.waiting = 0

    async def began(self, count: int) -> None:
        while self.waiting < count:
            await asyncio.sleep(0.01)

    async def receive(self) -> Any:
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)


SCOPE = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}


def test_one_token_does_not_take_all_places(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        served = service()
        done = asyncio.Event()

        async def waits(_: Request) -> Answer:
            await done.wait()
            return Answer({})

        app = served.looks(waits)
        many = Asked(monkeypatch, READ)
        tasks = [
            asyncio.ensure_future(app(dict(SCOPE), many.receive, many.send))
            for _ in range(REQUESTS_EACH)
        ]
        await asyncio.sleep(0)
        with pytest.raises(ProblemError) as refused:
            await app(dict(SCOPE), many.receive, many.send)
        assert refused.value.status == HTTPStatus.TOO_MANY_REQUESTS
        assert refused.value.headers == {"Retry-After": "1"}
        other = Asked(monkeypatch, TOKEN)
        task = asyncio.ensure_future(app(dict(SCOPE), other.receive, other.send))
        done.set()
        await asyncio.gather(task, *tasks)
        assert other.sent[0]["status"] == 200
        again = Asked(monkeypatch, READ)
        await app(dict(SCOPE), again.receive, again.send)
        assert again.sent[0]["status"] == 200, "the places were given back"

    asyncio.run(run())


class Document(dict[str, Any]):
    """A document that can be watched."""


def test_a_document_is_not_kept_for_as_long_as_a_client_reads_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run() -> None:
        documents: list[weakref.ref[Document]] = []

        async def answers(_: Request) -> Answer:
            document = Document(a="b")
            documents.append(weakref.ref(document))
            return Answer(document, HTTPStatus.CREATED, {"Location": "/here"})

        app = service().looks(answers)
        asked = Asked(monkeypatch, READ)
        reads = asyncio.Event()

        async def waits(message: Any) -> None:
            asked.waiting += 1
            await reads.wait()
            await asked.send(message)

        tasks = [asyncio.ensure_future(app(dict(SCOPE), asked.receive, waits)) for _ in range(12)]
        await asyncio.wait_for(asked.began(12), 10)
        gc.collect()
        # An idle thread has what it worked on last.
        assert sum(each() is not None for each in documents) <= SNAPSHOTS
        reads.set()
        await asyncio.gather(*tasks)
        heads = [each for each in asked.sent if each["type"] == "http.response.start"]
        assert [each["status"] for each in heads] == [201] * 12
        assert all((b"location", b"/here") in each["headers"] for each in heads)

    asyncio.run(run())


def test_answers_that_nobody_reads_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        served = service()
        answer = Answer(b"x" * (SENT_BYTES_EACH // 2))

        async def answers(_: Request) -> Answer:
            return answer

        app = served.looks(answers)
        asked = Asked(monkeypatch, READ)
        reads = asyncio.Event()

        async def waits(_: Any) -> None:
            asked.waiting += 1
            await reads.wait()

        tasks = [asyncio.ensure_future(app(dict(SCOPE), asked.receive, waits)) for _ in range(2)]
        await asyncio.wait({asyncio.create_task(asked.began(2))}, timeout=5)
        with pytest.raises(ProblemError) as refused:
            await asyncio.wait_for(app(dict(SCOPE), asked.receive, asked.send), 5)
        assert refused.value.status == HTTPStatus.TOO_MANY_REQUESTS
        reads.set()
        await asyncio.gather(*tasks)
        asked.sent.clear()
        await app(dict(SCOPE), asked.receive, asked.send)
        parts = [each["body"] for each in asked.sent if each["type"] == "http.response.body"]
        assert b"".join(parts) == answer.document
        assert max(map(len, parts)) == 64 * 1024

    asyncio.run(run())


def test_few_wait_long() -> None:
    served = service()
    with (
        served.long_request(),
        served.long_request(),
        served.long_request(),
        pytest.raises(ProblemError),
        served.long_request(),
    ):
        raise AssertionError
    with served.long_request():
        pass


def test_two_snapshots_at_a_time() -> None:
    async def run() -> None:
        served = service()
        running, most, lock = 0, 0, threading.Lock()
        release = threading.Event()

        def work() -> None:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            release.wait(0.02)
            with lock:
                running -= 1

        await asyncio.gather(*(served.run(work) for _ in range(8)))
        assert most == 2

    asyncio.run(run())


def test_a_queue_that_takes_too_long_is_a_503_and_is_logged_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def run() -> None:
        served = service()
        for _ in range(3):
            with pytest.raises(ProblemError) as refused:
                await served.look(lambda _: None)
            assert refused.value.status == HTTPStatus.SERVICE_UNAVAILABLE
            assert refused.value.headers == {"Retry-After": "5"}
            assert refused.value.detail.endswith(": interrupted")
            assert "queue.db" not in refused.value.detail

    asyncio.run(run())
    assert capsys.readouterr().out.count("api_without_queue") == 1


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("unknown", 404), ("not_added", 409), ("exists", 409), ("no_include", 409), ("configuration", 409),
        ("invalid", 422), ("invalid_type", 422), ("failed", 409), ("rate_limit", 429), ("busy", 429),
        ("unavailable", 503), ("defect", 500), ("bad_request", 400), ("new_one", 409), ("", 409),
    ],
)  # fmt: skip
def test_each_refusal_has_a_status(code: str, status: int) -> None:
    answer = {"ok": False, "code": code, "error": "why", "problems": ["a", "b"], "secret": "x"}
    problem = not_done(RefusedByDaemonError(answer))
    assert (problem.status, problem.code) == (status, code or "refused")
    assert problem.detail == "a; b"
    assert problem.more == {"problems": ["a", "b"]}, "and nothing else of the answer"
    assert (problem.headers is not None) == (status in {429, 503})


def test_no_answer_says_whether_it_may_have_been_done() -> None:
    assert no_answer(TimeoutError(), 30).status == HTTPStatus.GATEWAY_TIMEOUT
    assert "may still do it" in no_answer(TimeoutError(), 30).detail
    for absence, words in {
        Absence.NOT_RUNNING: "nothing was done",
        Absence.NOT_PERMITTED: "nothing was done",
        Absence.NOT_ANSWERING: "may have been done",
    }.items():
        problem = no_answer(NoDaemonError("x", absence), 30)
        assert (problem.status, problem.code) == (HTTPStatus.SERVICE_UNAVAILABLE, absence)
        assert words in problem.detail
