"""A configuration on its way: in pieces that are small, and none of which compiles anything."""

import re
from pathlib import Path
from typing import Any

import pytest
from processes import write_config

from relayd.config.config import Config
from relayd.config.load import load_config
from relayd.config.transfer import pieces_of, received
from relayd.core.matching import Matcher
from relayd.core.parts import whole
from relayd.views.configuration import conditions_as_written

LARGEST = 32 * 1024
"""Bytes of a piece: 0.5 ms of unpickling."""

WHERES: dict[str, dict[str, Any]] = {
    "globs": {f"data.object.f{n}": {"glob": f"*shop-{n}-[a-z]*@*.example"} for n in range(20)},
    "conditions": {f"data.object.f{n}": {"gte": n, "not": {"lt": 2 * n}} for n in range(900)},
    "values": {"data.object.id": [f"value_{n}" for n in range(6_000)]},
    "negated": {"data.object.id": {"not": {"not": [n if n % 2 else f"{n}" for n in range(3_000)]}}},
    "both": {f"data.object.f{n}": [f"v{k}" for k in range(700)] for n in range(45)},
    "kinds": {"data.object.id": [*range(600), True, None, 1.5, "1", False]},
}


def configured(folder: Path, where: dict[str, Any], count: int = 3) -> Config:
    subscription = {"url": "http://127.0.0.1:9/", "where": where}
    path = write_config(folder, {f"s{n}": subscription for n in range(count)})
    return load_config(path, environ={})


@pytest.mark.parametrize("kind", WHERES)
def test_large_parts_of_a_subscription_come_in_small_pieces(tmp_path: Path, kind: str) -> None:
    config = configured(tmp_path, WHERES[kind], 1 if kind == "both" else 3)
    pieces = list(pieces_of(config))
    assert max(map(len, pieces)) < LARGEST
    came = whole(received(memoryview(b"".join(pieces))))
    assert came == config
    for name, each in config.subscriptions.items():
        came_where = came.subscriptions[name].selection.where
        assert conditions_as_written(came_where) == conditions_as_written(each.selection.where)
    assert (
        whole(received(memoryview(b"".join(pieces)), config)).subscriptions["s0"]
        is (config.subscriptions["s0"])
    )


def test_receiving_compiles_no_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = b"".join(pieces_of(configured(tmp_path, WHERES["globs"])))
    compiled: list[str] = []
    really = vars(re)["_compile"]  # called by `re.compile`, and where a pattern is unpickled

    def count(pattern: str, flags: int = 0) -> "re.Pattern[str]":
        compiled.extend([pattern] if "shop" in pattern else [])
        return really(pattern, flags)  # type: ignore[no-any-return]  # private, so it has no type

    monkeypatch.setattr(re, "_compile", count)
    came = whole(received(memoryview(raw)))
    assert compiled == []
    # Each is compiled in a part of its own, before the first event comes.
    selections = {name: each.selection for name, each in came.subscriptions.items()}
    before = 0
    for _ in Matcher.in_parts(selections):
        assert len(compiled) - before <= 1
        before = len(compiled)
    assert len(compiled) == 60


def test_a_matcher_looks_at_some_values_at_a_time(tmp_path: Path) -> None:
    few = configured(tmp_path, {"data.object.id": ["a"]}, 1)
    many = configured(tmp_path, WHERES["values"], 1)
    parts = [
        sum(1 for _ in Matcher.in_parts({"s0": each.subscriptions["s0"].selection}))
        for each in (few, many)
    ]
    assert parts[1] >= parts[0] + 3 * 6_000 // 500
