"""SIGHUP under load: good, bad, half-written and missing files lose nothing and stop nothing."""

import signal
from pathlib import Path
from typing import Any

import trio
from processes import RelaydProcess, make_spool, running, write_config
from torture.recording import Produced, Receiver, SpoolProducer

SECRET = "a-secret-for-reloading"


def config(folder: Path, receiver: Receiver, name: str = "config.yaml", **more: object) -> Path:
    subscription = {
        "url": receiver.url,
        "secret": SECRET,
        "rate_limit": "100000/s",
        "retry": ["200ms"] * 10,
        **more,
    }
    return write_config(folder, {"books": subscription}, name=name)


async def hang_up(relayd: RelaydProcess, expected: str) -> dict[str, Any]:
    """Send SIGHUP, and return the log's line about it."""
    seen = len(relayd.lines)
    relayd.signal(signal.SIGHUP)
    with trio.fail_after(10):
        return await relayd.logged(expected, after=seen)


async def more_arrives(receiver: Receiver, than: int) -> None:
    with trio.fail_after(10):
        while len(receiver.requests) <= than:
            await trio.sleep(0.01)


async def test_reloads_under_load_lose_nothing(tmp_path: Path) -> None:
    receiver = Receiver(SECRET, seed=7, failing=0.2)
    produced = Produced()
    producer = SpoolProducer(make_spool(tmp_path / "spool.db"), produced, pause_s=0.002)
    path = config(tmp_path, receiver)
    good = path.read_text()
    bad = good.replace("url:", "ulr:")
    files: list[tuple[str | None, str]] = [
        (good, "configuration_reloaded"),
        (bad, "reload_refused"),
        (good[: len(good) // 2], "reload_refused"),
        ("", "reload_refused"),
        (None, "reload_refused"),
        ("\x00\xff\x00", "reload_refused"),
        (good.replace("200ms", "100ms"), "configuration_reloaded"),
    ]
    try:
        async with running(path) as relayd:
            producer.start()
            for _ in range(3):
                for text, expected in files:
                    if text is None:
                        path.unlink()
                    else:
                        path.write_text(text)
                    await hang_up(relayd, expected)
                    await more_arrives(receiver, than=len(receiver.requests) + 5)
            assert any("ulr" in line["detail"] for line in relayd.events("reload_refused"))
            producer.stopping.set()
            await trio.to_thread.run_sync(producer.join)
            taken: set[str] = set()
            with trio.fail_after(30):
                while produced.committed - taken:
                    await trio.sleep(0.05)
                    taken = {each.event_id for each in receiver.requests if each.status == 200}
            relayd.signal(signal.SIGTERM)
            assert await relayd.wait() == 0
    finally:
        producer.stopping.set()
        receiver.close()
    assert len(produced.committed) > 100
    delivered = [each.event_id for each in receiver.requests if each.status == 200]
    assert len(delivered) == len(set(delivered)), "nothing was sent twice"
    assert all(each.signature_ok for each in receiver.requests)


async def test_what_waits_follows_its_subscription_to_a_new_url_and_secret(
    tmp_path: Path,
) -> None:
    old = Receiver("the-first-secret-of-two", seed=1, failing=1.0)
    new = Receiver("the-second-secret-of-two", seed=1, failing=0.0)
    produced = Produced()
    producer = SpoolProducer(make_spool(tmp_path / "spool.db"), produced, pause_s=0.01)
    try:
        path = config(tmp_path, old, secret="the-first-secret-of-two", retry=["1s"] * 20)
        async with running(path) as relayd:
            producer.start()
            await more_arrives(old, than=5)
            producer.stopping.set()
            await trio.to_thread.run_sync(producer.join)
            config(tmp_path, new, secret="the-second-secret-of-two", retry=["1s"] * 20)
            line = await hang_up(relayd, "configuration_reloaded")
            assert any("books" in change for change in line["changes"])
            await more_arrives(new, than=len(produced.committed) - 1)
            assert "the-second-secret" not in str(relayd.lines)
    finally:
        producer.stopping.set()
        old.close()
        new.close()
    assert {each.event_id for each in new.requests} == produced.committed
    assert all(each.signature_ok for each in new.requests)
    assert max(each.attempt for each in new.requests) > 1, "some had failed at the old one"


async def test_what_a_reload_releases_is_signed_as_the_new_file_says(tmp_path: Path) -> None:
    """Also at an endpoint that is busy while a large configuration is gone over to."""
    receiver = Receiver("the-second-secret-of-two", seed=1, failing=1.0)
    produced = Produced()
    producer = SpoolProducer(make_spool(tmp_path / "spool.db"), produced, pause_s=0.001)
    others = {
        f"a{number}": {"url": f"http://127.0.0.1:{number}/", "events": "user.deleted"}
        for number in range(1, 400)
    }

    def write(secret: str) -> Path:
        common = {"rate_limit": "100000/s", "retry": ["1h"], "secret": secret}
        return write_config(tmp_path, {**others, "books": {"url": receiver.url, **common}})

    try:
        async with running(write("the-first-secret-of-two")) as relayd:
            producer.start()
            await more_arrives(receiver, than=60)
            receiver.meek = True  # an endpoint that is failing gets one attempt at a time
            await more_arrives(receiver, than=len(receiver.requests) + 60)
            retried = {each.event_id for each in receiver.requests if each.status != 200}
            write("the-second-secret-of-two")
            seen = len(receiver.requests)
            await hang_up(relayd, "configuration_reloaded")
            with trio.fail_after(30):
                while retried - {each.event_id for each in receiver.requests[seen:]}:
                    await trio.sleep(0.01)
            producer.stopping.set()
            await trio.to_thread.run_sync(producer.join)
    finally:
        producer.stopping.set()
        receiver.close()
    assert all(each.signature_ok for each in receiver.requests[seen:] if each.attempt > 1)


async def test_a_secret_in_a_file_is_rotated_by_sighup(tmp_path: Path) -> None:
    receiver = Receiver("the-second-secret-of-two", seed=1, failing=0.0)
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text("the-first-secret-of-two\n")
    produced = Produced()
    producer = SpoolProducer(make_spool(tmp_path / "spool.db"), produced, pause_s=0.01)
    try:
        path = config(tmp_path, receiver, secret={"file": str(secret)})
        async with running(path) as relayd:
            producer.start()
            await more_arrives(receiver, than=3)
            assert not any(each.signature_ok for each in receiver.requests)
            secret.write_text("the-second-secret-of-two\n")
            await hang_up(relayd, "configuration_reloaded")
            before = len(receiver.requests)
            await more_arrives(receiver, than=before + 20)
            assert all(each.signature_ok for each in receiver.requests[before + 10 :])
    finally:
        producer.stopping.set()
        receiver.close()
