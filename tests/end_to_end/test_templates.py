"""`template:` with the real process: what is rendered is what is signed and sent."""

import hashlib
import hmac
import json
import os
import signal
from pathlib import Path

import trio
import yaml
from operating import asked, emit, logged
from processes import SECRET, command, make_spool, running, write_config
from receivers import answer, open_receiver
from snippets import snippets

ORDER = '{"text":{{ sentence|tojson }},"total":"{{ \'%.2f\'|format(data.object.total / 100) }}"}'


async def test_what_is_rendered_is_signed_and_sent(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    (tmp_path / "order.json.j2").write_text(ORDER)
    async with open_receiver(answer(500), answer(200)) as service:
        hook = {"url": service.url, "template": "order.json.j2", "retry": ["1s"]}
        config = write_config(tmp_path, {"hook": hook})
        async with running(config) as relayd:
            await emit(config, "evt_1")
            await logged(relayd, "attempt_succeeded", event_id="evt_1")
            assert "Accepted" in await command("test", "hook", config=config)
            shown = await asked("check", config=config)
    first, second, sample = service.requests
    assert first.body == second.body
    body = json.loads(second.body)
    assert body["text"].startswith("A customer placed an order: ")
    assert float(body["total"]) > 0
    assert json.loads(sample.body)["text"].startswith("A customer placed an order: ")
    for request in service.requests:
        mac = hmac.new(SECRET.encode(), request.body, hashlib.sha256).hexdigest()
        assert request.header("X-LocallyGrown-Signature") == f"sha256={mac}"
        assert request.header("Content-Type") == "application/json"
    assert shown["subscriptions"][0]["template"] == str(tmp_path / "order.json.j2")


async def test_a_failed_rendering_is_a_failed_attempt_and_correcting_it_repairs_it(
    tmp_path: Path,
) -> None:
    make_spool(tmp_path / "spool.db")
    template = tmp_path / "note.j2"
    template.write_text("{{ id }}\n{{ data.object.gone }}")
    async with open_receiver() as service:
        config = write_config(
            tmp_path,
            {
                "note": {"url": service.url, "template": "note.j2"},
                "other": {"url": service.url.replace("127.0.0.1", "localhost")},
            },
        )
        async with running(config) as relayd:
            await emit(config, "evt_1")
            await logged(relayd, "attempt_succeeded", subscription="other")
            failed = await relayd.logged("attempt_failed", subscription="note")
            assert failed["failure"] == "template"
            assert failed["detail"] == "note.j2, line 2: 'dict object' has no attribute 'gone'"
            explained = await command("explain", "evt_1", config=config)
            assert "note.j2, line 2" in explained
            assert "correct the template of note" in " ".join(explained.split())
            tested = await command("test", "note", config=config, status=1)
            assert "Did not send order.created" in tested
            assert "Not rendered: note.j2, line 2: " in tested
            template.write_text("{{ id }}")
            assert "note.j2 changed but not loaded" in await command("status", config=config)
            changed = await command("reload", config=config)
            assert "subscription note: template changed" in changed
            await logged(relayd, "attempt_succeeded", subscription="note")
    assert [each.body for each in service.requests][-1] == b"evt_1"


async def test_what_the_template_does_is_its_own_affair(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    (tmp_path / "loop.j2").write_text(
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    )
    (tmp_path / "good.j2").write_text("{{ id }}")
    async with open_receiver() as service:
        config = write_config(
            tmp_path,
            {
                "loop": {"url": service.url, "template": "loop.j2"},
                "good": {"url": f"{service.url}other", "template": "good.j2"},
            },
        )
        async with running(config) as relayd:
            await emit(config, "evt_1")
            await logged(relayd, "attempt_succeeded", subscription="good")
            failed = await relayd.logged("attempt_failed", subscription="loop")
            assert "takes more than 1 s" in str(failed["detail"])
    assert [each.body for each in service.requests] == [b"evt_1"]


async def test_a_template_process_that_was_stopped_costs_no_attempt(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    (tmp_path / "good.j2").write_text("{{ id }}")
    async with open_receiver() as service:
        config = write_config(tmp_path, {"good": {"url": service.url, "template": "good.j2"}})
        async with running(config) as relayd:
            await emit(config, "evt_1")
            await logged(relayd, "attempt_succeeded", event_id="evt_1")
            stopped = renderer_of(relayd.pid)
            os.kill(stopped, signal.SIGSTOP)
            await emit(config, "evt_2")
            with trio.fail_after(30):
                await relayd.logged("attempt_succeeded", event_id="evt_2")
            [stuck] = relayd.events("template_process_stuck")
            assert stuck["pid"] == stopped
            assert not relayd.events("attempt_failed")
    assert [each.body for each in service.requests] == [b"evt_1", b"evt_2"]


def renderer_of(pid: int) -> int:
    """Return the number of a daemon's process that renders templates."""
    children = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    [found] = [
        each for each in children if Path(f"/proc/{each}/comm").read_text() == "relayd-render\n"
    ]
    return found


async def test_the_page_s_templates_render(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    file = yaml.safe_load(snippets()["template_teams.yaml"])
    (subscription,) = file["subscriptions"].values()
    (tmp_path / "teams.json.j2").write_text(snippets()["template_teams.json"])
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "secret").chmod(0o400)
    async with open_receiver() as service:
        own = {"url": service.url, "template": "teams.json.j2", "secret": {"file": "secret"}}
        config = write_config(tmp_path, {"teams": {**subscription, **own}})
        async with running(config):
            assert "Accepted" in await command("test", "teams", config=config)
    (request,) = service.requests
    (attachment,) = json.loads(request.body)["attachments"]
    assert attachment["content"]["body"][0]["text"].endswith(".")
    assert request.header("Content-Type") == "application/json"
