"""Reading back what `relayd add` wrote, whatever somebody made of it meanwhile."""

import json
from hashlib import sha256
from pathlib import Path

import pytest

from relayd.config.added_keys import MOST_BYTES, written_keys
from relayd.config.added_subscription import added


def test_what_was_written_comes_back_with_its_digest(tmp_path: Path) -> None:
    keys = {"url": "https://shop.example/", "events": ["*"], "where": {"data.a": {"gte": 0.00001}}}
    path = tmp_path / "shop.yaml"
    path.write_bytes(added("shop", keys).raw)
    found = json.loads(written_keys(path, "shop"))
    assert found == {"keys": keys, "digest": sha256(path.read_bytes()).hexdigest()}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a",
        "subscriptions: 5",
        "subscriptions:\n  shop:\n",
        "subscriptions: {shop: a-secret}",
        "subscriptions: {shop: [a-secret]}",
        "subscriptions: {shop: {}, other: {}}",
        "subscriptions: {other: {}}",
        "subscriptions: {shop: {}}\nmarket_id: m",
        "subscriptions: {shop: {secret: a-secret, secret: a-secret}}",
        "subscriptions: {shop: {secret: a-secret",
        f"subscriptions: {{shop: {{secret: {'a' * MOST_BYTES}}}}}",
    ],
)
def test_anything_else_is_a_problem_that_shows_nothing_of_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text(text)
    [(key, words)] = json.loads(written_keys(path, "shop")).items()
    assert key == "problem"
    assert words.startswith(str(path))
    assert "a-secret" not in words
