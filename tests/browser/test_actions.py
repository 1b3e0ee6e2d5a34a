"""The dashboard in a real browser: what it changes, by clicks, with and without scripts."""

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from browser_site import PATIENCE_MS, READ, TOKEN, Site, log_in


def until(what: Callable[[], object]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + PATIENCE_MS / 1000
    while not what():
        assert time.monotonic() < end, "it does not come to that"
        time.sleep(0.2)


def states(site: Site, name: str) -> list[str]:
    found = json.loads(site.relayd("deliveries", "--subscription", name, "--json"))
    return sorted(each["state"] for each in found["deliveries"])


@pytest.fixture
def plain_page(browser: Any, site: Site) -> Iterator[Any]:
    """A page in a browser that runs no script."""
    context = browser.new_context(java_script_enabled=False)
    context.set_default_timeout(PATIENCE_MS)
    opened = context.new_page()
    log_in(opened, site, TOKEN)
    yield opened
    context.close()


def add(page: Any, site: Site, name: str, url: str, *events: str) -> str:
    """Fill in the form, and return the secret that was made."""
    page.goto(site.url)
    page.click("text=Add webhook")
    page.fill("[name=name]", name)
    page.fill("[name=url]", url)
    for each in events:
        page.check(f"input[value='{each}']")
    page.click("text=Add 1 webhook")
    page.wait_for_selector(f"h1:has-text('{name} was added')")
    return str(page.inner_text(".once code"))


def is_signed(headers: dict[str, str], body: bytes, secret: str) -> bool:
    """Verify as a receiver does."""
    made = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(headers["X-LocallyGrown-Signature"], f"sha256={made}")


def test_a_webhook_that_was_added_gets_a_verified_delivery(page: Any, site: Site) -> None:
    page.goto(f"{site.url}/add")
    # The catalogue is searched.
    page.fill("[data-filter]", "refund")
    assert page.locator(".types label:visible").all_inner_texts()[0].startswith("payment.refunded")
    page.fill("[data-filter]", "")
    secret = add(page, site, "shop", f"{site.receiver.url}/200?path=secret", "order.*")
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    shown = page.content()
    assert shown.count(secret) == 1
    assert "path=secret" not in shown
    assert 'events: ["order.*"]' in page.inner_text("pre")
    page.click("text=Send 1 sample now")
    page.wait_for_selector("h1:has-text('Accepted: 200')")
    event = site.hand_over("order.created", {"object": {"id": "order_1"}})

    def mine() -> list[tuple[str, dict[str, str], bytes]]:
        return [each for each in site.receiver.seen if each[0].startswith("/200?")]

    until(lambda: len(mine()) == 2)
    for _, headers, body in mine():
        assert is_signed(headers, body, secret)
    assert json.loads(mine()[1][2])["id"] == event
    assert "OK" in site.relayd("check")
    file = site.config.parent / "subs.d" / "shop.yaml"
    assert yaml.safe_load(file.read_text())["subscriptions"]["shop"]["secret"] == secret
    # Changed, and removed.
    page.goto(f"{site.url}/subscriptions/shop")
    page.click("text=Edit")
    page.fill("[name=timeout]", "4s")
    page.uncheck("[name=active]")
    page.click("text=Save 1 webhook")
    page.wait_for_selector("h1:has-text('shop was changed')")
    page.click("text=Configuration >> nth=0")
    page.click("#main >> text=shop")
    page.wait_for_selector("text=4s")
    page.wait_for_selector("text=inactive")
    page.click("text=Remove…")
    page.click("button:has-text('Remove')")
    page.wait_for_selector("h1:has-text('shop removed')")
    assert not file.exists()


def test_what_is_wrong_is_beside_its_field_without_scripts(plain_page: Any, site: Site) -> None:
    page = plain_page
    page.goto(f"{site.url}/add")
    page.fill("[name=name]", "a b")
    page.fill("[name=url]", "ftp://x")
    page.fill("[name=timeout]", "soon")
    page.click("text=Add 1 webhook")
    for name in ("name", "url", "timeout"):
        field = page.locator(f"[name={name}]")
        assert field.get_attribute("aria-invalid") == "true", name
        [first, *_] = (field.get_attribute("aria-describedby") or "").split()
        assert page.inner_text(f"#{first}"), name
    assert page.locator("#events[aria-invalid]").count() == 1
    page.fill("[name=name]", "plain")
    page.fill("[name=url]", f"{site.receiver.url}/204")
    page.fill("[name=timeout]", "")
    page.check("input[value='user.*']")
    page.click("text=Add 1 webhook")
    page.wait_for_selector("h1:has-text('plain was added')")
    page.click("text=Send 1 sample now")
    page.wait_for_selector("h1:has-text('Accepted: 204')")


def test_deliveries_are_retried_cancelled_and_replayed(page: Any, site: Site) -> None:
    site.hand_over("product.created", {"object": {"id": "product_1"}})
    until(lambda: "retrying" in states(site, "books"))
    page.goto(f"{site.url}/deliveries?subscription=books&type=product.*")
    page.click("tbody a")
    page.click("text=Retry now…")
    page.click("button:has-text('Retry 1 delivery')")
    page.wait_for_selector("h1:has-text('1 retry released')")
    page.click("#main a.button:has-text('Back')")
    page.wait_for_selector("text=Attempt 2: 500")
    page.click("text=Cancel…")
    page.click("button:has-text('Cancel 1 delivery')")
    page.wait_for_selector("h1:has-text('1 delivery cancelled')")
    until(lambda: "cancelled" in states(site, "books"))
    page.goto(f"{site.url}/deliveries?subscription=books&state=cancelled")
    page.click("text=Replay…")
    page.click("button:has-text('Replay 1 delivery')")
    page.wait_for_selector("h1:has-text('1 delivery due again')")
    until(lambda: "cancelled" not in states(site, "books"))


def test_a_subscription_is_paused_and_resumed(page: Any, site: Site) -> None:
    page.goto(site.url)
    page.click("tbody >> text=books")
    page.click("text=Pause…")
    page.wait_for_selector("h1:has-text('Pause books?')")
    page.click("text=Not now")
    page.click("text=Pause…")
    page.click("button:has-text('Pause')")
    page.wait_for_selector("h1:has-text('books is paused')")
    page.click("#main a.button:has-text('books')")
    page.wait_for_selector(".badge:has-text('paused')")
    page.click("text=Resume…")
    page.click("button:has-text('Resume')")
    page.wait_for_selector("h1:has-text('books is resumed')")


def test_who_may_look_sees_no_button(browser: Any, site: Site) -> None:
    site.hand_over("product.updated", {"object": {"id": "product_2"}})
    context = browser.new_context()
    page = context.new_page()
    log_in(page, site, READ)
    page.goto(f"{site.url}/deliveries?subscription=books")
    one = page.locator("tbody a").first.get_attribute("href")
    for path in ("/", "/configuration", "/subscriptions/books", "/rejected", "/deliveries", one):
        page.goto(f"{site.url}{path}")
        assert page.locator("nav").first.is_visible()
        texts = page.locator("a.button, button").all_inner_texts()
        other = re.compile("Log out|Filter|Clear|Compare|Stop refreshing")
        assert [each for each in texts if not other.match(each)] == [], path
    assert page.goto(f"{site.url}/add").status == 403
    context.close()


def test_a_page_of_another_site_cannot_act(page: Any, site: Site) -> None:
    """Another origin of this machine posts a form with the browser's cookie, and without it."""
    port = site.receiver.server_port
    answer = page.request.post(
        f"{site.url}/subscriptions/books/pause",
        headers={"Origin": f"http://127.0.0.1:{port}"},
        form={"form_key": "guessed"},
    )
    assert answer.status == 403
    answer = page.request.post(f"{site.url}/subscriptions/books/pause", form={})
    assert answer.status == 403
    assert '"hold": null' in site.relayd("status", "--json")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_where_something_is_changed(
    page: Any, site: Site, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not there")
    page.emulate_media(color_scheme=scheme)
    site.hand_over("product.deleted", {"object": {"id": "product_3"}})

    def check(where: str) -> None:
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(wide) <= 0, where
        found = axe.Axe().run(page).response["violations"]
        serious = [
            (where, each["id"], [node["target"] for node in each["nodes"]])
            for each in found
            if each["impact"] in {"serious", "critical"}
        ]
        assert not serious

    for path in (
        "/add", "/subscriptions/books", "/subscriptions/books/pause", "/subscriptions/books/test",
        "/act/cancel?subscription=books", "/act/replay?type=user.*", "/rejected", "/rejected/resubmit",
    ):  # fmt: skip
        page.goto(f"{site.url}{path}")
        check(path)
    add(page, site, f"axe-{scheme}", f"{site.receiver.url}/200", "user.created")
    check("what was written")
    page.goto(f"{site.url}/subscriptions/axe-{scheme}/edit")
    check("the form to change it")
    page.goto(f"{site.url}/subscriptions/axe-{scheme}/remove")
    check("the question")
    page.click("button:has-text('Remove')")
    page.wait_for_selector("h1:has-text('removed')")
    check("what came of it")
