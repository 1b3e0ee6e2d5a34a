"""The dashboard in a real browser: its pages, as they are looked at.

What axe-core finds is looked at where axe-playwright-python is installed, too.
"""

from typing import Any

import pytest
from browser_site import Site

PAGES = ("/", "/deliveries", "/events", "/problems", "/configuration")
HOSTILE = "<img src=x onerror=alert(1)><script>alert(1)</script>\u202e"


def hand_over(site: Site, identifier: str) -> str:
    return site.hand_over("order.created", {"object": {"id": identifier, HOSTILE: HOSTILE}})


def test_each_page_fits_a_phone_and_breaks_no_policy(page: Any, site: Site) -> None:
    hand_over(site, HOSTILE)
    for path in PAGES:
        page.goto(site.url + path)
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(wide) <= 0, path
        assert page.locator("h1").count() == 1


CUT_OFF = """() => [...document.querySelectorAll("#main th, #main td, #main dd, #main a, #main time, #main .badge")]
  .filter((each) => !each.closest("thead, pre") && each.getBoundingClientRect().width)
  .filter((each) => {
    const card = each.closest(".card, body").getBoundingClientRect();
    const spills = each.matches("th, td, dd") && each.scrollWidth > each.clientWidth + 1;
    return spills || each.getBoundingClientRect().right > Math.min(card.right, innerWidth) + 1;
  }).map((each) => each.textContent.trim())"""


@pytest.mark.parametrize("width", [360, 704, 720, 800, 960, 1165, 1172, 1440])
def test_nothing_is_cut_off_at_any_width(page: Any, site: Site, width: int) -> None:
    hand_over(site, "an-object-with-a-rather-long-name-for-what-it-is")
    page.set_viewport_size({"width": width, "height": 900})
    for path in (*PAGES, "/subscriptions/books", "/rejected"):
        page.goto(site.url + path)
        assert page.evaluate(CUT_OFF) == [], path


def test_an_event_that_comes_in_is_shown_without_a_click(page: Any, site: Site) -> None:
    page.goto(f"{site.url}/events")
    event = hand_over(site, "order_live")
    page.wait_for_selector(f"text={event}", timeout=15_000)
    page.click(f"th:has-text('{event}') a")
    page.wait_for_selector("text=What each subscription did")
    page.click("#subscriptions a")
    page.wait_for_selector("text=Attempt 1: 500", timeout=15_000)


def test_the_keyboard_reaches_the_content_first(page: Any, site: Site) -> None:
    page.goto(site.url)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(page: Any, site: Site, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not there")
    hand_over(site, "order_axe")
    page.emulate_media(color_scheme=scheme)
    page.goto(f"{site.url}/deliveries")
    one = page.locator("tbody a").first.get_attribute("href")
    for path in (*PAGES, one):
        page.goto(site.url + path)
        found = axe.Axe().run(page).response["violations"]
        serious = [
            (path, each["id"], [node["target"] for node in each["nodes"]])
            for each in found
            if each["impact"] in {"serious", "critical"}
        ]
        assert not serious
