"""What commands say of a delivery while its attempt goes on, also at a URL that a reload left."""

from pathlib import Path

import trio
from faults.producing import until
from operating import Switch, asked, emit, logged
from processes import command, running, write_config
from receivers import answer, open_receiver

PATIENT = {"retry": ["1h"], "timeout": "60s"}  # five commands run during one attempt


async def test_an_attempt_at_a_url_that_the_subscription_has_left(tmp_path: Path) -> None:
    switch = Switch(500)
    switch.release = trio.Event()
    async with open_receiver(switch) as old, open_receiver(answer(200)) as new:
        config = write_config(tmp_path, {"books": {"url": old.url, **PATIENT}})
        async with running(config) as relayd:
            await emit(config, "evt_1")
            await until(lambda: old.acts_begun == 1)
            here = await asked("explain", "evt_1", config=config)
            assert here["subscriptions"][0]["in_flight"] is True
            assert here["subscriptions"][0]["in_flight_at_old_url"] is False
            write_config(tmp_path, {"books": {"url": new.url, **PATIENT}})
            await command("reload", config=config)

            explained = await command("explain", "evt_1", config=config)
            listed = await command("deliveries", config=config)
            shown = await command("show", "evt_1", config=config)
            assert "a URL that its subscription has left" in " ".join(explained.split())
            assert "in flight, old URL" in listed
            assert "a URL that its subscription has left" in " ".join(shown.split())
            for text in (explained, listed, shown):
                assert "due" not in text
            [document] = (await asked("deliveries", config=config))["deliveries"]
            name = old.url.split("/")[2]
            assert document["in_flight_at"] == f"http://{name}/…"
            assert document["in_flight_at_old_url"] is True

            # It fails there, and then goes to the new URL.
            switch.release.set()
            await logged(relayd, "attempt_succeeded", event_id="evt_1", attempt=2)
            [document] = (await asked("deliveries", config=config))["deliveries"]
            assert document["state"] == "delivered"
            assert document["in_flight"] is False
            assert document["in_flight_at"] is None
