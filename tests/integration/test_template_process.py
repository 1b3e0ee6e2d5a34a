"""The process that renders templates: what a bad template costs is its own rendering."""

import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog.testing
import trio

from relayd.core.template import Template
from relayd.delivery import template_process
from relayd.delivery.template_process import TemplateFailedError, TemplateProcess
from relayd.template_sandbox import _environment

BODY = json.dumps(
    {
        "id": "evt_1",
        "type": "order.created",
        "created": 1640995200,
        "data": {"object": {"id": "order_456", "items": [1, 2]}},
        "market_id": "market_123",
        "api_version": "2024-01-01",
    }
).encode()

ENDED = "t.j2 took more than 1 s or 64 MB, and its process was ended"


@pytest.fixture
async def process() -> AsyncIterator[TemplateProcess]:
    async with TemplateProcess() as made:
        yield made
    assert made.children() == []


def template(text: str, name: str = "t.j2") -> Template:
    return Template(f"/etc/relayd/{name}", text)


async def failure(process: TemplateProcess, text: str) -> str:
    with pytest.raises(TemplateFailedError) as caught:
        await process.render(template(text), BODY)
    return str(caught.value)


async def test_it_renders(process: TemplateProcess) -> None:
    made = await process.render(template("{{ id }} {{ data.object.items|sum }} é"), BODY)
    assert made == "evt_1 3 é".encode()
    largest = await process.render(template("{{ 'x' * 1048576 }}"), BODY)
    assert len(largest) == 1024 * 1024


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
         {"t.j2, line 2: takes more than 1 s"}),
        # One step of Python, in which no signal is seen.
        ("{{ 9 ** (9 ** 9) }}", {ENDED, "t.j2, takes more than 1 s", "t.j2, line 1: takes more than 1 s"}),
        ("{{ 'x' * 1000000000 }}", {"t.j2, takes more memory than it may have"}),
        ("{% set x = namespace(l='x') %}{% for _ in range(99) %}{% set x.l = x.l + x.l %}{% endfor %}",
         {"t.j2, takes more memory than it may have"}),
        ("{{ 'x' * 2097152 }}", {"t.j2, renders more than 1 MiB"}),
        ("\n{{ data.object.gone }}", {"t.j2, line 2: 'dict object' has no attribute 'gone'"}),
        ("{{ ''.__class__.__mro__ }}",
         {"t.j2, line 1: access to attribute '__class__' of 'str' object is unsafe"}),
    ],
)  # fmt: skip
async def test_a_bad_template_fails_alone(
    process: TemplateProcess, text: str, said: set[str]
) -> None:
    await process.render(template("{{ id }}"), BODY)
    (before,) = process.children()
    assert await failure(process, text) in said
    assert await process.render(template("{{ id }}"), BODY) == b"evt_1"
    assert process.children() == [before]


async def test_others_go_on_meanwhile(process: TemplateProcess) -> None:
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    done: list[str] = []

    async def fail() -> None:
        await failure(process, endless)
        done.append("endless")

    async with trio.open_nursery() as nursery:
        for _ in range(3):  # of one file: one after the other
            nursery.start_soon(fail)
        await trio.sleep(0.1)
        await process.render(template("{{ id }}", "other.j2"), BODY)
        assert done == []
        nursery.cancel_scope.cancel()
    assert await process.render(template("{{ id }}"), BODY) == b"evt_1"


async def test_it_is_started_again_when_it_was_killed(process: TemplateProcess) -> None:
    await process.render(template("{{ id }}"), BODY)
    (first,) = process.children()
    os.kill(first, signal.SIGKILL)
    assert await process.render(template("{{ id }}"), BODY) == b"evt_1"
    (second,) = process.children()
    assert second != first


async def test_nobody_is_blamed_when_the_whole_process_is_killed(process: TemplateProcess) -> None:
    slow = "{% for a in range(500) %}{% for b in range(1000) %}{% endfor %}{% endfor %}{{ id }}"
    made: list[bytes] = []

    async def render(name: str) -> None:
        made.append(await process.render(template(slow, name), BODY))

    await process.render(template("{{ id }}"), BODY)
    async with trio.open_nursery() as nursery:
        for name in ("a.j2", "b.j2", "c.j2"):
            nursery.start_soon(render, name)
        await trio.sleep(0.01)
        (pid,) = process.children()
        os.kill(pid, signal.SIGKILL)
    assert made == [b"evt_1"] * 3
    assert process.children() != [pid]


async def test_one_that_is_stopped_is_replaced(
    process: TemplateProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template_process, "TAKE_S", 1.5)
    made: list[bytes] = []

    async def render(name: str) -> None:
        made.append(await process.render(template("{{ id }}", name), BODY))

    await process.render(template("{{ id }}"), BODY)
    (stopped,) = process.children()
    os.kill(stopped, signal.SIGSTOP)
    with structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            for number in range(7):  # more than at once
                nursery.start_soon(render, f"{number}.j2")
    assert made == [b"evt_1"] * 7
    assert process.children() != [stopped]
    assert [(each["event"], each["pid"]) for each in logs] == [("template_process_stuck", stopped)]


async def test_one_that_is_stopped_is_replaced_though_each_attempt_gives_up_sooner(
    process: TemplateProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template_process, "TAKE_S", 1.5)
    await process.render(template("{{ id }}"), BODY)
    (stopped,) = process.children()
    os.kill(stopped, signal.SIGSTOP)
    made = b""
    with trio.fail_after(20):
        while not made:
            with trio.move_on_after(0.7):
                made = await process.render(template("{{ id }}"), BODY)
    assert made == b"evt_1"
    assert process.children() != [stopped]


async def test_one_that_is_stopped_before_it_is_ready_is_replaced(
    process: TemplateProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template_process, "START_S", 5.0)
    process.start_early()
    (stopped,) = process.children()
    os.kill(stopped, signal.SIGSTOP)
    assert await process.render(template("{{ id }}"), BODY) == b"evt_1"
    assert process.children() != [stopped]


async def test_one_that_goes_on_in_time_is_kept(process: TemplateProcess) -> None:
    await process.render(template("{{ id }}"), BODY)
    (pid,) = process.children()
    os.kill(pid, signal.SIGSTOP)
    with trio.move_on_after(0.3):
        await process.render(template("{{ id }}"), BODY)
    os.kill(pid, signal.SIGCONT)
    for _ in range(3):
        assert await process.render(template("{{ id }}"), BODY) == b"evt_1"
    assert process.children() == [pid]


async def test_a_long_rendering_is_no_reason_to_replace_it(
    process: TemplateProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template_process, "TAKE_S", 0.6)
    await process.render(template("{{ id }}"), BODY)
    (pid,) = process.children()
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    assert "takes more than 1 s" in await failure(process, endless)
    assert process.children() == [pid]


async def test_more_renderings_than_its_socket_holds(process: TemplateProcess) -> None:
    await process.render(template("{{ id }}"), BODY)
    (stopped,) = process.children()
    os.kill(stopped, signal.SIGSTOP)

    with trio.fail_after(20):
        while process.children() == [stopped]:
            with trio.move_on_after(0.002):
                await process.render(template("{{ id }}"), BODY)
    assert await process.render(template("{{ id }}"), BODY) == b"evt_1"


async def test_signals_to_the_group_do_not_end_it(process: TemplateProcess) -> None:
    await process.render(template("{{ id }}"), BODY)
    (pid,) = process.children()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        os.kill(pid, number)
    assert await process.render(template("{{ id }}"), BODY) == b"evt_1"
    assert process.children() == [pid]


async def test_it_has_no_more_than_it_needs(
    process: TemplateProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELAYD_SECRET", "hunter2")
    await process.render(template("{{ id }}"), BODY)
    (pid,) = process.children()
    folder = Path(f"/proc/{pid}")
    assert b"RELAYD_SECRET" not in (folder / "environ").read_bytes()
    # Standard input, output, error, and the socket; that of the rendering is closed soon after it.
    # Python 3.14 keeps the library of ctypes open, to read.
    opened: list[str] = []
    with trio.move_on_after(5):
        while len(opened) != 4:
            await trio.sleep(0.01)
            links = [str(each.readlink()) for each in (folder / "fd").iterdir()]
            opened = [each for each in links if "/libffi.so" not in each]
    assert len(opened) == 4, opened
    limits = (folder / "limits").read_text()
    assert [
        line.split()[3] for line in limits.splitlines() if line.startswith("Max file size")
    ] == ["0"]


def test_what_a_rendering_has_opened_cannot_grow() -> None:
    # The same limits, with what a template that broke out of the sandbox would do.
    pid = os.fork()
    if pid == 0:
        from relayd.template_renderer import _bound  # noqa: PLC0415

        _bound({7: 0})  # RLIMIT_NOFILE
        status = 0
        for attack in (lambda: open("/etc/passwd"), socket.socket, os.pipe):  # noqa: PTH123, SIM115
            try:
                attack()
                status = 1
            except OSError:
                pass
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


async def test_a_rendering_that_nobody_waits_for_ends(process: TemplateProcess) -> None:
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    await process.render(template("{{ id }}"), BODY)
    (pid,) = process.children()
    with trio.move_on_after(0.2):
        await process.render(template(endless), BODY)
    with trio.fail_after(10):
        while Path(f"/proc/{pid}/task/{pid}/children").read_text():
            await trio.sleep(0.05)


async def test_no_filter_needs_a_file_by_then(process: TemplateProcess) -> None:
    """Python loads some modules when they are first used, and a rendering can open none."""
    rendered: set[str] = set()
    failures: set[str] = set()
    for name in sorted(_environment().filters):
        for given in ("", "(1)", "('a')", "('a', 'b')", "('int')", "(attribute='a')"):
            for value in ("[{'a': 1}]", "'a b'", "{'a': 1}", "3.5"):
                if name in rendered:
                    continue
                # What makes no list is printed as it is.
                for end in ("|list", ""):
                    try:
                        await process.render(
                            template(f"{{{{ {value}|{name}{given}{end} }}}}"), BODY
                        )
                        rendered.add(name)
                    except TemplateFailedError as failed:
                        failures.add(str(failed))
    assert not [each for each in failures if "OSError" in each or "Import" in each]
    assert len(rendered) > 45
