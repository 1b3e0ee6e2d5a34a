"""`check`, `match` and `types`: what a configuration means, where an event goes, which there are."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from processes import SECRET, make_spool, write_config

from relayd.cli import cli
from relayd.cli.text.configuration import retry_words, secret_words
from relayd.core.catalogue import EVENT_TYPES, RELAYD_TYPES
from relayd.core.secret import Secret, SourcedSecret


def run(*arguments: str, stdin: str = "", config: Path | None = None) -> Result:
    more = [] if config is None else ["--config", str(config)]
    return CliRunner().invoke(cli, [*arguments, *more], input=stdin)


def document(*arguments: str, stdin: str = "", config: Path | None = None) -> Any:
    result = run(*arguments, "--json", stdin=stdin, config=config)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize(
    ("retry", "words"),
    [
        (
            (120.0, 600.0, 2700.0, 14_400.0, 68_400.0),
            "after 2m, 10m, 45m, 4h, 19h: 6 attempts over 24h",
        ),
        ((), "none: 1 attempt"),
        ((30.0, 300.0, 3600.0), "after 30s, 5m, 1h: 4 attempts over 66m"),
        ((1.0, 2.0), "after 1s, 2s: 3 attempts over 3s"),
        ((86_400.0,) * 7, f"after {', '.join(['1d'] * 7)}: 8 attempts over 7d"),
    ],
)
def test_retries_in_words(retry: tuple[float, ...], words: str) -> None:
    assert retry_words(retry) == words


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("text", "in this file, read again on reload"),
        ("file /a b/c", "from the file /a b/c, read again on reload"),
        ("env NAME", "from the variable NAME, fixed until a restart"),
        ("credential books", "from the credential books, fixed until a restart"),
    ],
)
def test_where_a_secret_comes_from(source: str, words: str) -> None:
    assert secret_words(SourcedSecret(Secret("x"), source)) == words


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BOOKS_SECRET", f"whsec_{'b' * 32}")
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "spool").mkdir()
    make_spool(tmp_path / "spool/spool.db")
    url = "http://127.0.0.1:9/hook?token=not-for-everybody"
    path = write_config(
        tmp_path,
        {
            "books": {
                "url": url,
                "events": ["order.*", "basket.left"],
                "where": {"data.object.total": {"gte": 5000, "not": [7, 8]}},
                "secret": {"env": "BOOKS_SECRET"},
                "previous_secret": f"whsec_{'a' * 32}",
                "headers": {"X-Key": "not-for-everybody"},
                "signature": "standard",
            },
            "board": {"url": url, "events": "*", "retry": []},
            "asleep": {"url": "http://127.0.0.1:8/", "events": "order.created", "active": False},
        },
        event_types=["basket.left"],
        spools={"market": {"path": "spool/spool.db"}},
    )
    path.chmod(0o600)
    return path


def test_check_says_what_the_file_means(config: Path) -> None:
    result = run("check", config=config)
    assert result.exit_code == 0, result.output
    for words in (
        "config.yaml: OK",
        "events     order.*, basket.left",
        'where      data.object.total: {"gte": 5000, "not": [7, 8]}',
        "limits     100/min, 8 at a time, shared with board; 10s for an attempt",
        "retries    after 2m, 10m, 45m, 4h, 19h: 6 attempts over 24h",
        "secret     from the variable BOOKS_SECRET, fixed until a restart",
        "previous   in this file",
        "headers    X-Key",
        "retries    none: 1 attempt",
        "asleep  inactive: gets no new events",
        "http://127.0.0.1:9/hook?…",
    ):
        assert words in result.stdout, result.stdout
    lines = [line for line in result.stdout.splitlines() if str(config.parent) not in line]
    assert max(map(len, lines)) <= 80


def test_check_for_programs(config: Path) -> None:
    found = document("check", config=config)
    books, board, asleep = found["subscriptions"]
    assert books["where"] == {"data.object.total": {"gte": 5000, "not": [7, 8]}}
    assert (books["secret_from"], books["previous_secret_from"]) == ("env BOOKS_SECRET", "text")
    assert (books["attempts"], board["attempts"], board["retry_s"]) == (6, 1, [])
    assert (board["active"], asleep["active"]) == (True, False)
    assert found["warnings"] == []


def test_check_never_prints_what_is_secret(config: Path) -> None:
    for arguments in (["check"], ["check", "--json"]):
        printed = run(*arguments, config=config).output
        for secret in (SECRET, "the-one-before", "not-for-everybody"):
            assert secret not in printed


def test_check_warns_of_what_is_not_there(tmp_path: Path) -> None:
    config = write_config(
        tmp_path,
        {"a": {"url": "http://127.0.0.1", "secret": "short"}},
        spools={"market": {"path": "none/spool.db"}},
        queue={"path": "nowhere/queue.db"},
    )
    config.chmod(0o600)
    result = run("check", config=config)
    assert result.exit_code == 0
    text = " ".join(result.stdout.split())
    assert "could be guessed" in text
    assert "is not there; `relayd spool create" in text
    assert "the queue needs the directory" in text
    assert "short" not in text.replace("is shorter than", "")
    assert len(document("check", config=config)["warnings"]) == 3


def test_check_of_a_wrong_file_prints_every_problem(tmp_path: Path) -> None:
    config = write_config(tmp_path, {"a": {"url": "ftp://x", "timeout": "1 h"}}, nonsense=1)
    result = run("check", config=config)
    assert (result.exit_code, result.stdout) == (78, "")
    assert len(result.stderr.splitlines()) == 3


def test_match_says_where_an_event_goes_and_why_not(config: Path) -> None:
    data = '{"id":"order_1","total":5500}'
    found = document("match", "order.created", "--object", data, config=config)
    assert found["matched"] == ["books", "board"]
    reasons = {each["name"]: each["reason"] for each in found["subscriptions"]}
    assert reasons["asleep"] == "it is inactive (active: false), but matches order.created"
    found = document("match", "order.created", "--object", '{"total":4999}', config=config)
    assert found["matched"] == ["board"]
    reasons = {each["name"]: each["reason"] for each in found["subscriptions"]}
    assert reasons["books"] == "data.object.total is 4999, and must be at least 5000"
    human = run("match", "order.created", "--object", '{"total":4999}', config=config).stdout
    would, would_not = human.split("It would not go to:")
    assert "board" in would
    assert "books   data.object.total is 4999, and must be at least 5000" in would_not


def test_match_takes_the_event_from_anywhere(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "data.json"
    file.write_text('{"object":{"total":9000}}')
    for arguments, stdin in (
        (["order.updated", "--file", str(file)], ""),
        (["order.updated", "--file", "-"], file.read_text()),
        (["order.updated", "--data", file.read_text()], ""),
        (["-"], '{"type":"order.updated","data":{"object":{"total":9000}}}\n'),
    ):
        found = document("match", *arguments, stdin=stdin, config=config)
        assert found["matched"] == ["books", "board"], arguments
    # Without data: the sample, whose total is 4250; a type without one has no data.
    assert document("match", "order.updated", config=config)["matched"] == ["board"]
    assert "with the catalogue's sample" in run("match", "order.updated", config=config).stdout
    found = document("match", "basket.left", config=config)
    assert (found["matched"], found["known_type"]) == (["board"], True)


def test_match_of_an_unknown_type_warns(config: Path) -> None:
    printed = run("match", "order.craeted", config=config).stdout
    assert "did you mean order.created?" in printed
    assert document("match", "order.craeted", config=config)["known_type"] is False
    refused = run("match", "relayd.endpoint.failing", config=config)
    assert refused.exit_code == 1  # no producer's type


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["order.created", "--data", "{}", "--sample"], 2, "Give the data once"),
        (["-", "--data", "{}"], 2, "Give the data once"),
        (["order.created", "--data", "[]"], 1, "data is a list"),
        (["order.created", "--data", "{"], 1, "the event's data cannot be read"),
        (["order.created", "--object", '1}, "x": {'], 1, "not valid JSON"),
        (["Order Created", "--data", "{}"], 1, "lower-case words joined by dots"),
        (["-"], 1, "this is not an event"),
        (["basket.left", "--sample"], 1, "there is no sample of basket.left"),
    ],
)
def test_match_refuses_what_is_no_event(
    config: Path, arguments: list[str], status: int, words: str
) -> None:
    result = run("match", *arguments, config=config)
    assert (result.exit_code, words in result.stderr) == (status, True), result.output


def test_match_of_an_event_that_nobody_wants(tmp_path: Path) -> None:
    config = write_config(tmp_path, {"a": {"url": "http://127.0.0.1", "events": "user.*"}})
    result = run("match", "order.created", config=config)
    assert result.exit_code == 0
    assert "its events are user.*, this is order.created" in result.stdout
    assert "No subscription matches it" in result.stdout


def test_types_lists_the_catalogue_and_the_markets_own(config: Path) -> None:
    listed = document("types", config=config)["types"]
    assert [each["type"] for each in listed] == [*EVENT_TYPES, *RELAYD_TYPES, "basket.left"]
    assert {each["from"] for each in listed} == {
        "market",
        "relayd",
        "inbound",
        "configuration",
    }
    assert list(listed[0]["sample"]) == [
        *("id", "type", "created", "data", "market_id", "api_version")
    ]
    printed = run("types", config=config).stdout
    for each in (*EVENT_TYPES, "basket.left"):
        assert f"\n{each} " in printed


@pytest.mark.parametrize("event_type", [*EVENT_TYPES, *RELAYD_TYPES])
def test_each_sample_is_shown(event_type: str) -> None:
    printed = run("types", event_type).stdout
    body = printed[printed.index("{") : printed.rindex("}") + 1]
    assert json.loads(body) == document("types", event_type)["sample"]
    # relayd's own events are nobody's to hand over.
    assert ("relayd emit" in printed) is (event_type in EVENT_TYPES)


def test_types_goes_on_without_a_configuration_that_can_be_read(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("a: [")
    result = run("types", config=wrong)
    assert result.exit_code == 0
    assert "its own types are left out" in result.stderr
    assert "order.created" in result.stdout


def test_an_unknown_type_is_suggested() -> None:
    result = run("types", "order.craeted")
    assert (result.exit_code, "did you mean order.created?" in result.stderr) == (1, True)


def test_check_shows_who_may_do_what_over_http(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    config = write_config(
        tmp_path,
        {"shop": {"url": "https://shop.example/", "feed_token": "f0123456789abcdef"}},
        http={
            "listen": "127.0.0.1:8787",
            "public": "[::1]:8788",
            "token": "t0123456789abcdef",
            "producers": {
                "shop": {
                    "token": "p0123456789abcdef",
                    "market_id": "market_9",
                    "markets": ["market_8"],
                }
            },
        },
    )
    shown = run("check", config=config).stdout
    assert (
        "  http       127.0.0.1:8787: token; to others [::1]:8788, /v1/events and /in/\n" in shown
    )
    assert "  producer   shop, market market_9, also market_8\n" in shown
    assert "  feed       read with its feed_token\n" in shown
    found = document("check", config=config)["http"]
    assert found == {
        "listen": "127.0.0.1:8787",
        "public": "[::1]:8788",
        "base_url": None,
        "trusted_proxies": [],
        "open": False,
        "token": True,
        "read_token": False,
        "producers": [{"name": "shop", "market_id": "market_9", "markets": ["market_8"]}],
        "feeds": ["shop"],
    }
    assert "0123456789" not in shown + str(found)


@pytest.mark.parametrize(
    ("http", "words"),
    [
        ({"token": "none"}, "everybody who reaches it may do everything"),
        (
            {
                "token": "t0123456789abcdef",
                "read_token": "r0123456789abcdef",
                "base_url": "https://m.example",
            },
            "token and read_token; browsers reach it at https://m.example",
        ),
        ({"public": "127.0.0.1:8788"}, "no token for the dashboard and /metrics; to others 127.0"),
    ],
)
def test_check_shows_the_tokens_that_there_are(
    tmp_path: Path, http: dict[str, str], words: str
) -> None:
    make_spool(tmp_path / "spool.db")
    config = write_config(tmp_path, http={"listen": "127.0.0.1:8787", **http})
    assert words in " ".join(run("check", config=config).stdout.split())


def test_check_does_not_speak_of_http_without_it(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    config = write_config(tmp_path)
    assert "  http " not in run("check", config=config).stdout
    assert document("check", config=config)["http"] is None
