"""`url: mailto:` with the real process, and a real mail server."""

import json
import ssl
import time
from pathlib import Path

import pytest
import trio
import trustme
import yaml
from mail_server import PASSWORD, USER, mail_server
from operating import asked, emit, logged
from processes import command, make_spool, run_command, running, write_config
from snippets import snippets

pytestmark = pytest.mark.filterwarnings("ignore:Session.login_data:DeprecationWarning")

OPS = {"ops": {"url": "mailto:ops@market.example", "events": "order.*"}}


def local(port: int, **more: object) -> dict[str, object]:
    return {
        "host": "127.0.0.1",
        "port": port,
        "tls": "none",
        "from": "relayd@market.example",
        **more,
    }


async def test_a_mail_arrives_with_the_sentence(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    with mail_server() as server:
        config = write_config(tmp_path, OPS, smtp=local(server.port))
        async with running(config) as relayd:
            await emit(config, "evt_1")
            await logged(relayd, "attempt_succeeded", subscription="ops", status=250)
            assert "Accepted: 250" in await command("test", "ops", config=config)
            (delivery,) = (await asked("show", "evt_1", config=config))["deliveries"]
            status = await command("status", config=config)
            shown = json.dumps([*map(str, relayd.events("attempt_succeeded"))])
    letter, _ = server.letters
    assert letter["Subject"] == "order.created: A customer placed an order: order_456"
    assert letter["To"] == "ops@market.example"
    assert letter["From"] == "relayd <relayd@market.example>"
    assert letter["Message-ID"] == f"<{delivery['id']}@market.example>"
    assert abs(letter["Date"].datetime.timestamp() - time.time()) < 60
    assert letter["Auto-Submitted"] == "auto-generated"
    assert letter.get_content().splitlines() == [
        "A customer placed an order: order_456 (order.created in market_123, event evt_1).",
        "",
        "Event:    evt_1",
        f"Delivery: {delivery['id']}",
        "More:     relayd explain evt_1",
    ]
    assert "mailto:…@market.example" in status
    assert "ops@market" not in status + shown


async def test_nothing_in_an_event_makes_a_header_or_ends_the_message(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    hostile = "x\r\nBcc: all@market.example\r\n\r\n.\r\nMAIL FROM:<a@b>\r\n grüße 🎉"
    with mail_server() as server:
        config = write_config(tmp_path, OPS, smtp=local(server.port))
        file = tmp_path / "data.json"
        file.write_text(json.dumps({"object": {"id": hostile}}))
        async with running(config) as relayd:
            await command("emit", "order.created", "--file", str(file), config=config)
            await logged(relayd, "attempt_succeeded", status=250)
    (letter,) = server.letters
    assert letter["Bcc"] is None
    assert letter["Subject"].startswith("order.created: A customer placed an order: x Bcc: all@")
    assert "grüße 🎉" in letter["Subject"]
    assert "grüße 🎉" in letter.get_content()
    assert server.raw[0].isascii()


async def test_a_refused_recipient_is_retried_and_explained(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    with mail_server() as server:
        server.refusals["RCPT"] = ["410 <ops@market.example> went away"]
        ops = {"ops": {**OPS["ops"], "retry": ["500ms"]}}
        config = write_config(tmp_path, ops, smtp=local(server.port))
        async with running(config) as relayd:
            await emit(config, "evt_1")
            failed = await relayd.logged("attempt_failed")
            await logged(relayd, "attempt_succeeded", status=250)
            explained = await command("explain", "evt_1", config=config)
    assert (failed.get("status"), failed["failure"]) == (None, "smtp")
    assert "answered 410 to RCPT TO: <…@market.example> went away" in failed["detail"]
    assert "delivered" in explained
    assert len(server.letters) == 1


async def test_a_corrected_server_releases_the_backlog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_spool(tmp_path / "spool.db")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    password = tmp_path / "password"
    password.write_text("a-wrong-password\n")
    password.chmod(0o400)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with mail_server(tls=context, login=True) as server:
        login = {"user": USER, "password": {"file": str(password)}}
        smtp = local(server.port, **login) | {"host": "localhost", "tls": "starttls"}
        config = write_config(tmp_path, OPS, smtp=smtp)
        async with running(config) as relayd:
            await emit(config, "evt_1")
            failed = await relayd.logged("attempt_failed")
            assert "answered 535 to the login" in failed["detail"]
            password.chmod(0o600)
            password.write_text(f"{PASSWORD}\n")
            password.chmod(0o400)
            assert "subscription ops: smtp changed" in await command("reload", config=config)
            with trio.fail_after(20):
                await logged(relayd, "attempt_succeeded", status=250)
    assert len(server.letters) == 1


async def test_without_a_daemon_too(tmp_path: Path) -> None:
    with mail_server() as server:
        config = write_config(tmp_path, OPS, smtp=local(server.port))
        assert "Accepted: 250" in await command("test", "ops", config=config)
    (letter,) = server.letters
    assert letter["To"] == "ops@market.example"


async def test_check_says_what_is_missing_and_where(tmp_path: Path) -> None:
    config = write_config(tmp_path, OPS)
    completed = await run_command("check", config=config)
    assert completed.returncode == 78
    said = (completed.stdout + completed.stderr).decode()
    line = config.read_text().splitlines().index("    url: mailto:ops@market.example") + 1
    assert f"config.yaml:{line}:10" in said
    assert "there is no `smtp:`" in " ".join(said.split())


@pytest.mark.parametrize("name", sorted(each for each in snippets() if each.startswith("mail_")))
async def test_the_page_s_subscriptions_arrive(tmp_path: Path, name: str) -> None:
    file = yaml.safe_load(snippets()[name])
    with mail_server() as server:
        file["smtp"] = local(server.port)
        config = write_config(tmp_path)
        config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | file))
        await command("test", *file["subscriptions"], config=config)
    (letter,) = server.letters
    assert letter["To"] == file["subscriptions"]["ops-mail"]["url"].removeprefix("mailto:")
    assert letter["Subject"].startswith("relayd.")
