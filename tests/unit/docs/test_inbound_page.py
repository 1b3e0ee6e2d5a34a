"""docs/inbound.md: its entries are accepted as printed, and its tables say what the code does."""

import re
from pathlib import Path

from relayd.config.load import parse_config
from relayd.core.inbound import mailgun, stripe
from relayd.core.inbound.entry import Inbound, Provider

PAGE = (Path(__file__).parents[3] / "docs" / "inbound.md").read_text()
BASE = """\
market_id: market_1
queue: {path: queue.db}
http: {listen: 127.0.0.1:8787, token: none, base_url: https://relay.market.example}
subscriptions: {shop: {url: "https://shop.example/", events: "*", secret: s0123456789abcdef}}
"""


def entries() -> dict[str, Inbound]:
    found: dict[str, Inbound] = {}
    for block in re.findall(r"^```yaml\n(inbound:\n.*?)^```", PAGE, re.DOTALL | re.MULTILINE):
        text = re.sub(r"\{file: [^}]*\}", "whsec_dGhlLXNlY3JldC1vZi10aGUtcGFnZXMtdGVzdHM=", block)
        found |= parse_config((BASE + text).encode(), Path("/c.yaml"), environ={}).inbound
    return found


def test_its_entries_are_accepted() -> None:
    found = entries()
    assert set(found) == {
        "stripe",
        "mailgun",
        "github",
        "shopify",
        "woocommerce",
        "square",
        "slack",
    }
    assert sum(each.provider is Provider.HMAC for each in found.values()) == 5
    square = found["square"].scheme
    assert square is not None
    assert square.url == "https://relay.market.example/in/square"


def test_its_tables_have_each_type_that_becomes_another() -> None:
    for theirs, ours in stripe.TYPES.items():
        assert f"| `{theirs}` | `{ours}` |" in PAGE
    for theirs, ours in mailgun.TYPES.items():
        rows = [row for row in PAGE.splitlines() if f"`{theirs}`" in row and row.startswith("|")]
        assert any(f"`{ours}`" in row or "`email.` and the same" in row for row in rows), theirs
