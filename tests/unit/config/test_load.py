"""A configuration file, good or bad: what it means, or everything that is wrong with it."""

from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path

import pytest

from relayd.config.config import Config
from relayd.config.load import ConfigError, load_config, parse_config
from relayd.config.problem import MAX_PROBLEMS
from relayd.config.sections import LogConfig, QueueConfig, SocketConfig, SpoolConfig
from relayd.core.catalogue import EVENT_TYPES, RELAYD_TYPES
from relayd.core.endpoint import Endpoint
from relayd.core.matching import Selection, compile_where
from relayd.core.queue_files import QUEUE_SIDES
from relayd.core.secret import Secret, SourcedSecret
from relayd.core.subscription import Subscription
from relayd.core.token_bucket import Rate

FILE = Path("/etc/relayd/config.yaml")
SECRET = "hunter2-hunter2-hunter2"
WHSEC = "whsec_hunter2Xhunter2Xhunter2Xhunter2X"
OLD_WHSEC = "whsec_oldoldXXhunter2Xhunter2Xhunter2X"

BASE = f"""\
market_id: market_1
spools:
  market: {{path: spool.db}}
queue: {{path: queue.db}}
subscriptions:
  shop:
    url: https://shop.example/
    events: [order.created]
    secret: {SECRET}
"""


def parse(text: str, environ: Mapping[str, str] | None = None) -> Config:
    return parse_config(text.encode(), FILE, environ=environ or {})


def problems(text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, environ)
    shown = str(caught.value)
    assert "hunter2" not in shown + repr(caught.value) + repr(caught.value.problems)
    assert shown == "\n".join(map(str, caught.value.problems))
    return [line.removeprefix(f"{FILE}:") for line in shown.splitlines()]


def test_the_least_configuration() -> None:
    directory = FILE.parent
    url = "https://shop.example/"
    assert parse(BASE) == Config(
        path=FILE,
        market_id="market_1",
        api_version="2024-01-01",
        spools=(
            SpoolConfig("market", directory / "spool.db", "relayd_spool", "market_1", "2024-01-01"),
        ),
        socket=None,
        queue=QueueConfig(directory / "queue.db", 30 * 86_400.0),
        log=LogConfig("info", "auto"),
        web=None,
        allow_networks=(),
        event_types=frozenset(EVENT_TYPES) | frozenset(RELAYD_TYPES),
        subscriptions={
            "shop": Subscription(
                name="shop",
                url=url,
                selection=Selection(("order.created",), ()),
                active=True,
                secret=SourcedSecret(Secret(SECRET), "text"),
                previous_secret=None,
                signature="locallygrown",
                timeout_s=10.0,
                retry=(120.0, 600.0, 2700.0, 14_400.0, 68_400.0),
                headers=(),
            )
        },
        endpoints={url: Endpoint(url, Rate(100, 60.0), 8)},
        warnings=(),
    )
    assert parse(BASE).warnings == ()


FULL = """\
market_id: market_1
api_version: "2025-01-01"
spools:
  b: {path: b.db, markets: "*"}
  a:
    path: /srv/a.db
    table: own_table
    market_id: market_2
    markets: [market_3, market_4]
    api_version: "2026-01-01"
socket: {path: run/relayd.sock, mode: "0600", market_id: market_5, markets: [market_6]}
queue: {path: /srv/queue.db, retention: 40d, max_size: 1.5GB}
log: {level: debug, format: json}
allow_networks: [10.0.0.0/8, "::1/128"]
event_types: [basket.abandoned]
defaults:
  timeout: 5s
  rate_limit: 50/s
  retry: []
  max_in_flight: 3
  signature: standard
  headers: {X-From: everybody, X-Other: default}
subscriptions:
  second:
    url: http://10.1.2.3:8080/hook
    events: basket.*
    where: {data.object.total: {gte: 5}, data.object.note: null}
    active: false
    secret: {env: SHOP_SECRET}
    previous_secret: {env: OLD_SECRET}
    timeout: 1s
    rate_limit: 7/h
    retry: [500ms, 1.5h]
    max_in_flight: 1
    signature: locallygrown
    headers: {x-other: own, Authorization: {env: TOKEN}}
  first:
    url: http://10.1.2.3:8080/hook
    events: ["*", order.*, relayd.*, "*"]
    secret: {env: SHOP_SECRET}
    rate_limit: 7/h
    max_in_flight: 1
"""
ENVIRON = {"SHOP_SECRET": WHSEC, "OLD_SECRET": OLD_WHSEC, "TOKEN": "Bearer " + SECRET}


def test_every_key_has_its_effect() -> None:
    config = parse(FULL, ENVIRON)
    assert config.spools == (
        SpoolConfig("b", Path("/etc/relayd/b.db"), "relayd_spool", "market_1", "2025-01-01", None),
        SpoolConfig(
            "a",
            Path("/srv/a.db"),
            "own_table",
            "market_2",
            "2026-01-01",
            frozenset({"market_3", "market_4"}),
        ),
    )
    assert config.socket == SocketConfig(
        Path("/etc/relayd/run/relayd.sock"), 0o600, "market_5", frozenset({"market_6"})
    )
    assert config.queue == QueueConfig(Path("/srv/queue.db"), 40 * 86_400.0, 1_500_000_000)
    assert config.queue.control_path == Path("/srv/queue.db.control")
    assert config.queue.lock_path == Path("/srv/queue.db.lock")
    assert config.log == LogConfig("debug", "json")
    assert config.allow_networks == (ip_network("10.0.0.0/8"), ip_network("::1/128"))
    assert "basket.abandoned" in config.event_types
    url = "http://10.1.2.3:8080/hook"
    assert list(config.subscriptions) == ["second", "first"]
    second, first = config.subscriptions.values()
    assert second == Subscription(
        name="second",
        url=url,
        selection=Selection(
            ("basket.*",),
            compile_where({"data.object.total": {"gte": 5}, "data.object.note": None}),
        ),
        active=False,
        secret=SourcedSecret(Secret(WHSEC), "env SHOP_SECRET"),
        previous_secret=SourcedSecret(Secret(OLD_WHSEC), "env OLD_SECRET"),
        signature="locallygrown",
        timeout_s=1.0,
        retry=(0.5, 5400.0),
        headers=(
            ("X-From", "everybody"),
            ("x-other", "own"),
            ("Authorization", f"Bearer {SECRET}"),
        ),
    )
    assert first.selection.events == ("*", "order.*", "relayd.*")
    assert (first.timeout_s, first.retry, first.signature) == (5.0, (), "standard")
    assert first.headers == (("X-From", "everybody"), ("X-Other", "default"))
    assert config.endpoints == {url: Endpoint(url, Rate(7, 3600.0), 1)}
    assert [warning.key for warning in config.warnings] == ["allow_networks[1]"]


def test_no_secret_stands_in_a_configurations_text() -> None:
    assert "hunter2" not in repr(parse(FULL, ENVIRON)) + str(parse(FULL, ENVIRON))


def test_equal_urls_share_an_endpoint() -> None:
    text = (
        BASE
        + f"""\
  other:
    url: HTTPS://SHOP.example:443
    events: ["*"]
    secret: {SECRET}
"""
    )
    assert list(parse(text).endpoints) == ["https://shop.example/"]


BAD = """\
market_id: 123
markt: x
rate_limit: 4/s
spools:
  market: {path: spool.db, tabel: x}
  two: {path: ./spool.db}
socket: {path: queue.db.control, mode: 0660}
queue: {path: queue.db, retention: 3, max_size: 20}
log: {level: warn}
defaults:
  retry: 2m
  headers: {X-Foo: "hunter2\\nb", Host: x, "Authorization: hunter2": }
subscriptions:
  a:
    url: https://127.1/
    events: [order.create, Order.created, "ordr.*", on]
    secret: {hunter2: }
  b:
    url:
    events: order.*
    where: {data.object.total: {gtee: 5}, object.x: 1}
    secret: {env: NOPE}
    active: "yes"
    max_in_flight: 0
  c:
    url: https://x.example/
    events: ["*"]
    secret: {file: nope, env: X}
    signature: foo
    rate_limit: 5/s
  d:
    url: https://X.example
    events: ["*"]
    secret: ${hunter2}
    rate_limit: 6/s
    url: https://y.example
  "e f": {}
  g:
    events: []
    secret: hunter2
    signature: standard
    retry: [2m, 1y]
"""


def test_everything_wrong_is_told_in_one_go() -> None:
    assert problems(BAD) == [
        "1:12: market_id: must be text, and is a number (put it in quotes)",
        "2:1: markt: unknown key (did you mean `market_id`?)",
        "3:1: rate_limit: unknown key (it belongs under `defaults:`)",
        "5:28: spools.market.tabel: unknown key (did you mean `table`?)",
        "6:15: spools.two.path: the same table is already a spool: spools.market, line 5",
        "7:16: socket.path: is the queue's or a spool's file (choose another)",
        (
            "7:40: socket.mode: some programs read a number that begins with 0 as octal"
            " (put it in quotes, or write it without the 0)"
        ),
        "8:36: queue.retention: must be text, and is a number (add a unit, as 30d)",
        "8:49: queue.max_size: must be text, and is a number (add a unit, as 2GB)",
        "9:14: log.level: must be debug, info, warning or error (did you mean warning?)",
        "11:10: defaults.retry: must be a list, and is text (as [first, second])",
        (
            "12:20: defaults.headers.X-Foo: holds a line break, or a character that is not ASCII"
            " (a header is one line of ASCII)"
        ),
        "12:34: defaults.headers.Host: is a header that relayd sets itself (remove it)",
        "12:43: defaults.headers: has no value (write one, or remove the key)",
        (
            "15:10: subscriptions.a.url: 127.0.0.1 is not public (this machine)"
            " (to reach it, add 127.0.0.1/32 to allow_networks)"
        ),
        (
            "16:14: subscriptions.a.events[0]: order.create matches no known event type"
            " (did you mean order.created? Your own: under event_types:)"
        ),
        (
            "16:28: subscriptions.a.events[1]: is not an event type or a pattern"
            " (did you mean order.created? Your own: under event_types:)"
        ),
        (
            "16:43: subscriptions.a.events[2]: ordr.* matches no known event type"
            " (did you mean order.*? Your own: under event_types:)"
        ),
        (
            "16:53: subscriptions.a.events[3]: some programs read this word as true or false"
            " (write true or false, or put it in quotes)"
        ),
        "17:14: subscriptions.a.secret: has no value (write one, or remove the key)",
        "19:5: subscriptions.b.url: has no value (write one, or remove the key)",
        (
            "21:39: subscriptions.b.where.data.object.total.gtee:"
            " gtee is not an operator; did you mean gte?"
        ),
        (
            "21:53: subscriptions.b.where.object.x: object is not a key of an event, which has id, type,"
            " created, data, market_id and api_version; its fields are below data,"
            " as in data.object.x"
        ),
        (
            "22:13: subscriptions.b.secret: the environment variable NOPE is not set"
            " (set it where relayd is started)"
        ),
        "23:13: subscriptions.b.active: must be true or false, and is text",
        "24:20: subscriptions.b.max_in_flight: must be 1 or more",
        (
            "28:13: subscriptions.c.secret: must have exactly one of file, env and credential"
            " (as {file: PATH}, or the text itself)"
        ),
        "29:16: subscriptions.c.signature: must be locallygrown or standard",
        (
            "34:13: subscriptions.d.secret: is a placeholder, which is not expanded"
            " (write {env: NAME} for an environment variable)"
        ),
        (
            "36:5: subscriptions.d.url: duplicate key, first defined at line 32, column 5"
            " (keep one of them)"
        ),
        "37:3: subscriptions.e f: a name is 1 to 64 letters, digits, `_` or `-`, and begins with no `-`",
        "38:3: subscriptions.g.url: is missing (write `url: https://your-app.com/webhooks`)",
        "39:13: subscriptions.g.events: is empty",
        (
            "40:13: subscriptions.g.secret: must be whsec_ and base64, for"
            " `signature: standard` (`echo whsec_$(openssl rand -base64 32)` makes one)"
        ),
        (
            "42:17: subscriptions.g.retry[1]: must be a number and a unit"
            " (as 500ms, 10s, 2m, 1.5h or 30d)"
        ),
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "market_id: market_1\n",
            "",
            ["1:1: market_id: is missing (write `market_id: market_123`)"],
        ),
        (
            "queue: {path: queue.db}\n",
            "",
            ["1:1: queue: is missing (write `queue: {path: queue.db}`)"],
        ),
        ("queue.db}", "spool.db}", [
            ("3:18: spools.market.path: is a file of the queue's"
            " (a spool needs its own database)"),
        ]),
        ("{path: spool.db}", "spool.db", [
            "3:11: spools.market: must be keys and values, and is text",
        ]),
        ("spools:\n  market: {path: spool.db}\n", "", [
            ("1:1: no source of events"
            " (add `spools: {market: {path: spool.db}}` or `socket:`)"),
        ]),
        ("spool.db", "~/spool.db", [
            ("3:18: spools.market.path: `~` is not replaced by a home directory here"
            " (write the whole path)"),
        ]),
        ("queue.db", "q" * 100, [
            ("4:15: queue.path: makes the control socket's path 120 bytes long;"
            " the maximum is 107 (choose a shorter one)"),
        ]),
        ("queue:", f"socket: {{path: /{'x' * 107}}}\nqueue:", [
            ("4:16: socket.path: makes a socket's path 108 bytes long;"
            " the maximum is 107 (choose a shorter one)"),
        ]),
        ("queue:", 'socket: {path: s, mode: "0460"}\nqueue:', [
            ("4:25: socket.mode: must be a file mode that lets the owner read and write"
            ' (as "0660")'),
        ]),
        ("queue:", "allow_networks: [10.0.0.1/8, all]\nqueue:", [
            "4:18: allow_networks[0]: has bits set behind its prefix (write 10.0.0.0/8)",
            ("4:30: allow_networks[1]: must be a network of IP addresses"
            " (as 127.0.0.0/8, 10.1.2.3/32 or fd00::/8)"),
        ]),
        ("queue:", "event_types: [relayd.own, Own]\nqueue:", [
            "4:15: event_types[0]: begins with relayd., which is reserved for relayd's own events (rename it)",
            ("4:27: event_types[1]: must be lower-case words joined by dots"
            " (as basket.abandoned)"),
        ]),
        ("queue:", "defaults: {timeout: 99ms, rate_limit: 100/m, max_in_flight: 1001}\nqueue:", [
            "4:21: defaults.timeout: must be between 100ms and 1m",
            ("4:39: defaults.rate_limit: must be a whole number, from 1 to 1,000,000, and a period"
            " (as 100/min, 5/s, 1000/h or 500/d)"),
            "4:61: defaults.max_in_flight: must be 1000 or less",
        ]),
        ("queue:", f"defaults: {{timeout: 10, retry: [{'1s, ' * 51}]}}\nqueue:", [
            "4:21: defaults.timeout: must be text, and is a number (add a unit, as 10s)",
            "4:32: defaults.retry: holds more than 50",
        ]),
        ("queue:", "defaults: {secret: x}\nqueue:", [
            ("4:12: defaults.secret: unknown key (known here: timeout, rate_limit, retry,"
            " max_in_flight, signature, tls, ip,"
                " headers)"),
        ]),
        ("    url", "    queue: x\n    url", [
            "7:5: subscriptions.shop.queue: unknown key (it belongs at the file's left edge)",
        ]),
        ("https:", "http:", [
            ("7:10: subscriptions.shop.url: http: is not encrypted, and only for networks in"
            " allow_networks (write https://, or add the receiver's network to allow_networks)"),
        ]),
        (f"secret: {SECRET}", "secret: 12345678901234567890", [
            ("9:13: subscriptions.shop.secret: must be text, and is a number"
            " (put it in quotes, or write {file: PATH})"),
        ]),
        (f"secret: {SECRET}", "secret: [hunter2]", [
            "9:13: subscriptions.shop.secret: must be text, and is a list",
        ]),
        (f"secret: {SECRET}", "secret: {fiel: hunter2}", [
            "9:14: subscriptions.shop.secret: unknown key (did you mean `file`?)",
        ]),
        (f"secret: {SECRET}", "secret: {file: /nonexistent/secret}", [
            "9:13: subscriptions.shop.secret: file /nonexistent/secret does not exist",
        ]),
        (f"secret: {SECRET}", 'secret: ""', [
            "9:13: subscriptions.shop.secret: is empty (write the text, or {file: PATH})",
        ]),
        (f"secret: {SECRET}", "secret: whsec_hunter2\n    signature: standard", [
            ("9:13: subscriptions.shop.secret: must contain base64 after whsec_, for"
            " `signature: standard` (`echo whsec_$(openssl rand -base64 32)` makes one)"),
        ]),
        (f"secret: {SECRET}", f"secret: {SECRET}\n    signature: standard", [
            ("9:13: subscriptions.shop.secret: must be whsec_ and base64, for"
            " `signature: standard` (`echo whsec_$(openssl rand -base64 32)` makes one)"),
        ]),
        (f"secret: {SECRET}", f"secret: {WHSEC}\n    signature: standard\n    previous_secret: hunter2", [
            ("11:22: subscriptions.shop.previous_secret: must be whsec_ and base64, for"
            " `signature: standard` (`echo whsec_$(openssl rand -base64 32)` makes one)"),
        ]),
        (f"secret: {SECRET}", f"secret: {WHSEC[:-4]}\n    signature: standard", [
            ("9:13: subscriptions.shop.secret: must be the base64 of 24 to 64 bytes after whsec_,"
            " not of 21, for `signature: standard`"
            " (`echo whsec_$(openssl rand -base64 32)` makes one)"),
        ]),
        (f"secret: {SECRET}", f"secret: {SECRET}\n    headers: {{X-A: a, x-a: b, X B: c}}", [
            "10:23: subscriptions.shop.headers.x-a: is given twice, in different case (keep one)",
            "10:31: subscriptions.shop.headers: is not a valid header name",
        ]),
        ("url: https://shop.example/", "<<: {}", [
            ("7:5: subscriptions.shop: merge keys are not read"
            " (what all subscriptions share: `defaults:`)"),
        ]),
    ],
)  # fmt: skip
def test_one_mistake_at_a_time(old: str, new: str, expected: list[str]) -> None:
    assert old in BASE
    assert problems(BASE.replace(old, new, 1)) == expected


def test_limits_that_disagree_for_one_url_name_both_places() -> None:
    text = (
        BASE
        + f"""\
    rate_limit: 5/s
  other:
    url: https://SHOP.example
    events: ["*"]
    secret: {SECRET}
    max_in_flight: 2
"""
    )
    hint = "subscriptions with one URL share its limits: write the same in both"
    assert problems(text) == [
        (
            "11:3: subscriptions.other.rate_limit: is 100/min here and 5/s for the same URL in"
            f" subscriptions.shop, line 6 ({hint})"
        ),
        (
            "15:5: subscriptions.other.max_in_flight: is 2 here and 8 for the same URL in"
            f" subscriptions.shop, line 6 ({hint})"
        ),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty (`relayd init` writes a first one)"),
        ("- a\n", "1:1: must be keys and values (as `market_id: market_123`)"),
        ("just words", "1:1: must be keys and values (as `market_id: market_123`)"),
        ("a: [", "2:1: a bracket is not closed, or a value is missing"),
    ],
)
def test_what_is_no_configuration_at_all(text: str, said: str) -> None:
    assert [line.strip() for line in problems(text)] == [said]


def test_a_foreign_file_is_not_told_line_by_line() -> None:
    some = problems("".join(f"key{n}: 1\n" for n in range(300)))
    assert len(some) == MAX_PROBLEMS + 1
    assert some[-1].strip() == "and 203 more problems after these"
    assert problems("".join(f"key{n}: 1\n" for n in range(20_000))) == [
        "1:1: does not look like a configuration of relayd"
    ]


def test_keys_cannot_write_to_the_terminal() -> None:
    (line,) = problems(BASE + '"\\e[2Jx\\ny": 1\n')
    assert line.startswith("10:1: \\x1b[2Jx\\ny: unknown key")


def test_sections_may_be_commented_out_as_a_whole() -> None:
    empty = "".join(f"{key}:\n" for key in ("log", "allow_networks", "event_types", "defaults"))
    text = BASE + "    headers:\n    where:\n" + empty
    assert parse(text) == parse(BASE)
    config = parse(BASE[: BASE.index("  shop:")])
    (warning,) = config.warnings
    assert str(warning) == (
        f"{FILE}:5:15: subscriptions: no subscriptions (events are kept, but not delivered)"
    )
    assert config.subscriptions == {}


def test_warnings() -> None:
    text = BASE.replace(SECRET, "short\n    previous_secret: short")
    config = parse_config(text.encode(), FILE, environ={}, readable_by_all=True)
    assert [str(each).removeprefix(f"{FILE}:") for each in config.warnings] == [
        (
            "9:13: subscriptions.shop.secret: is shorter than 16 characters, and could be guessed"
            " (`openssl rand -hex 32` makes a good one)"
        ),
        (
            "9:13: subscriptions.shop.secret: is in a file that everybody on this machine may"
            f" read (chmod o= {FILE}, or write {{file: PATH}})"
        ),
        (
            "10:22: subscriptions.shop.previous_secret: is shorter than 16 characters,"
            " and could be guessed (`openssl rand -hex 32` makes a good one)"
        ),
        "10:22: subscriptions.shop.previous_secret: is the same as `secret` (it can be left out)",
    ]


def test_a_file_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.yaml"
    with pytest.raises(ConfigError) as caught:
        load_config(path, environ={})
    assert str(caught.value) == f"{path}: does not exist (`relayd init` writes a first one)"
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path, environ={})
    assert str(caught.value) == f"{tmp_path}: is a directory (name a file to read)"

    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "secret").chmod(0o600)
    path.write_text(BASE.replace(SECRET, "{file: secret}"))
    path.chmod(0o644)
    monkeypatch.chdir(tmp_path)
    config = load_config(Path("config.yaml"), environ={})
    assert config.path == path
    assert config.queue.path == tmp_path / "queue.db"
    assert config.warnings == ()
    secret = config.subscriptions["shop"].secret
    assert secret == SourcedSecret(Secret(SECRET), f"file {tmp_path}/secret")

    path.write_text(BASE)
    (warning,) = load_config(path, environ={}).warnings
    assert "everybody" in warning.message
    path.chmod(0o640)
    assert load_config(path, environ={}).warnings == ()


HTTP = (
    BASE.replace("https://shop.example/", "http://{url}/")
    .replace("market_id: market_1\n", "market_id: market_1\nallow_networks: [{networks}]\n")
    .replace("{path:", "{{path:")
    .replace("db}", "db}}")
)


@pytest.mark.parametrize(
    ("networks", "url", "said"),
    [
        (
            "10.0.0.0/8",
            "shop.example",
            "is http, which works only while shop.example leads into 10.",
        ),
        ("10.0.0.0/8", "shop", "only while shop leads into 10.0.0.0/8"),
        ("10.0.0.0/8", "10.1.2.3", None),
        ("127.0.0.0/8", "localhost:8080", None),
        ('"::1/128"', "[::1]", None),
        ("10.0.0.0/8, 127.0.0.0/8", "10.1.2.3", "no URL leads into 127.0.0.0/8"),
        ('10.0.0.0/8, "::1/128"', "shop.internal", "only while shop.internal leads into"),
        ("0.0.0.0/0", "10.1.2.3", "allows every address"),
        ("10.0.0.0/8", "[::ffff:10.1.2.3]", None),
    ],
)
def test_http_and_networks_that_may_not_fit_are_warned_of(
    networks: str, url: str, said: str | None
) -> None:
    found = list(map(str, parse(HTTP.format(networks=networks, url=url)).warnings))
    assert len(found) == (said is not None), found
    assert said is None or said in found[0]


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("https://shop.example/", True),
        ("https://8.8.8.8/", True),
        ("https://shop.internal/", False),
        ("https://shop/", False),
        ("https://10.1.2.3/", False),
    ],
)
def test_networks_that_a_public_set_up_does_not_need(url: str, warned: bool) -> None:
    text = BASE.replace("https://shop.example/", url)
    text = text.replace(
        "market_id: market_1\n", "market_id: market_1\nallow_networks: [10.0.0.0/8]\n"
    )
    found = list(map(str, parse(text).warnings))
    assert bool(found) is warned
    assert not warned or "no URL leads into 10.0.0.0/8" in found[0]


def test_http_to_a_public_address_is_an_error_whatever_is_allowed() -> None:
    [problem] = problems(HTTP.format(networks="10.0.0.0/8", url="8.8.8.8"))
    assert "8.8.8.8 is public, and http: is not encrypted" in problem


def test_a_host_with_a_dot_at_its_end_is_the_same_endpoint() -> None:
    config = parse(f"""\
{BASE}  other:
    url: https://Shop.example.:443/
    events: [order.created]
    secret: {SECRET}
""")
    assert list(config.endpoints) == ["https://shop.example/"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("queue.db", "$HOME/queue.db", "queue.path: contains a placeholder"),
        ("queue.db", "'${STATE}/queue.db'", "queue.path: contains a placeholder"),
        ("queue.db", "'%S/queue.db'", "queue.path: contains a placeholder"),
        (
            f"secret: {SECRET}",
            "secret: {file: $CREDENTIALS_DIRECTORY/shop}",
            "contains a placeholder",
        ),
        (
            f"secret: {SECRET}",
            f"secret: {SECRET}\n    headers: {{Authorization: 'Bearer ${{TOKEN}}'}}",
            "headers.Authorization: contains a placeholder, which is not expanded",
        ),
    ],
)
def test_placeholders_that_nothing_replaces_are_refused(old: str, new: str, said: str) -> None:
    text = BASE.replace(old, new)
    assert text != BASE
    assert any(said in problem for problem in problems(text))


@pytest.mark.parametrize(
    "path", ["price$list/queue.db", "a%20b/queue.db", "100%/queue.db", "$/q.db"]
)
def test_paths_may_hold_such_signs(path: str) -> None:
    assert parse(BASE.replace("queue.db", path)).queue.path == FILE.parent / path


@pytest.mark.parametrize(
    ("section", "place"),
    [
        ("spools: {market: {path: s.db, markets: ['*']}}", "spools.market.markets"),
        ("socket: {path: s.sock, markets: [a, '*']}", "socket.markets"),
    ],
)
def test_a_list_with_a_star_is_not_taken_for_any_market(section: str, place: str) -> None:
    text = f"market_id: m\nqueue: {{path: q.db}}\nsubscriptions: {{}}\n{section}\n"
    (line,) = problems(text)
    assert place in line
    assert 'markets: "*"' in line


WITH_SOCKET = f"socket: {{path: a.sock}}\n{BASE}"


def test_spools_have_a_limit_since_each_has_a_process() -> None:
    spools = "".join(f"  s{number}: {{path: {number}.db}}\n" for number in range(201))
    text = BASE.replace("  market: {path: spool.db}\n", spools)
    [problem] = problems(text)[:1]
    assert problem.endswith("spools: holds more than 200")
    assert len(parse(text.replace("  s200: {path: 200.db}\n", "")).spools) == 200


@pytest.mark.parametrize("side", QUEUE_SIDES)
def test_no_file_of_the_queues_is_a_spool_or_the_socket(side: str) -> None:
    for old, key in (("path: spool.db", "spools.market.path"), ("path: a.sock", "socket.path")):
        [problem] = problems(WITH_SOCKET.replace(old, f"path: ./queue.db{side}"))
        assert key in problem


@pytest.mark.parametrize("side", ["-wal", "-shm", "-journal"])
def test_no_file_of_a_spools_is_the_queue_or_the_socket(side: str) -> None:
    for old in ("path: queue.db", "path: a.sock"):
        assert len(problems(WITH_SOCKET.replace(old, f"path: spool.db{side}"))) == 1
