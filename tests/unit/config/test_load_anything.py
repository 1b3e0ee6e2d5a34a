"""Whatever stands in the file: a configuration or a ConfigError, soon, and no secret in it."""

import string
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relayd.config.build_subscriptions import matching_patterns
from relayd.config.load import ConfigError, parse_config
from relayd.core.patterns import is_pattern, pattern_matches

EXAMPLE = (Path(__file__).parents[3] / "config.example.yaml").read_text()
FILE = Path("/etc/relayd/config.yaml")

# Without its comments, and short: most mutations hit something.
SHORT = """\
market_id: market_1
api_version: "2024-01-01"
spools:
  market: {path: spool.db, table: relayd_spool, market_id: m, api_version: "1"}
socket: {path: relayd.sock, mode: "0660"}
queue: {path: queue.db, retention: 30d}
log: {level: info, format: auto}
http: {listen: 127.0.0.1:8787, token: none}
inbound:
  stripe: {provider: stripe, secret: [hunter2-hunter2-hunter2, {env: HOME}], types: {a: own}}
  git:
    provider: hmac
    secret: hunter2-hunter2-hunter2
    scheme: {header: X-A, signed: "{timestamp}{body}", timestamp: X-B, type: [{path: a}]}
allow_networks: [127.0.0.0/8, "::1/128"]
event_types: [own]
defaults: {timeout: 10s, rate_limit: 100/min, retry: [2m, 10m], headers: {A: b}}
subscriptions:
  shop:
    url: https://shop.example/
    events: [order.*, "*"]
    where: {data.object.total: {gte: 5000, not: [1, 2]}, type: {glob: "order.*"}}
    active: true
    secret: hunter2-hunter2-hunter2
    previous_secret: {env: HOME}
    headers: {Authorization: hunter2-hunter2}
    max_in_flight: 8
"""

PIECES = st.sampled_from(
    [
        "", "{", "}", "[", "]", ":", ": ", ",", "\n", "\n  ", "- ", "*", "&a ", "*a", "!", "!!str ",
        "? ", "|", ">", "'", '"', "%", "@", "`", "#", "---\n", "...\n", "<<: ", "~", "null", "no",
        "012", "1:30", "1", "1.5", "-1", "1e999", "9" * 400, ".nan", "true", "[]", "{}", "[[]]",
        "{a: b}", "\t", "\r", "\0", "\x85", "\u2028", "\ufeff", "\U0001f600", "/", "..", "$", "\\",
        "0x7f000001", "https://", "http://[", "::", "%25", "a" * 300, "secret", "file", "env",
        "relayd.", "order.created", "2m", "1/s",
    ]
)  # fmt: skip


def attempt(raw: bytes) -> None:
    try:
        config = parse_config(raw, FILE, environ={"HOME": "/root/secret-of-home"})
    except ConfigError as error:
        refused = error
    else:
        assert "hunter2" not in repr(config)
        assert all(str(warning) for warning in config.warnings)
        return
    assert refused.problems
    assert all(problem.message for problem in refused.problems)
    assert len(str(refused).splitlines()) == len(refused.problems)
    places = [(each.line, each.column or 0) for each in refused.problems if each.line is not None]
    assert places == sorted(places)


@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    attempt(text.encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=200))
def test_any_bytes(raw: bytes) -> None:
    attempt(raw)


@given(
    st.lists(
        st.tuples(st.integers(0, len(SHORT)), st.integers(0, 30), PIECES), min_size=1, max_size=4
    )
)
def test_any_mutant_of_a_good_file(mutations: list[tuple[int, int, str]]) -> None:
    text = SHORT
    for start, length, piece in mutations:
        text = text[:start] + piece + text[start + length :]
    attempt(text.encode())


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(string.ascii_letters + "*./:-", max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(string.ascii_lowercase + "._", max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.integers(0, SHORT.count(": ") - 1), VALUES)
def test_any_value_under_any_key(position: int, value: object) -> None:
    before, after = SHORT.split(": ")[: position + 1], SHORT.split(": ")[position + 1 :]
    end = min((at for mark in (",", "}", "]", "\n") if (at := after[0].find(mark)) >= 0), default=0)
    attempt(
        (": ".join(before) + f": {_flow(value)}" + ": ".join([after[0][end:], *after[1:]])).encode()
    )


def _flow(value: object) -> str:
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case str():
            return f'"{value}"'
        case list():
            return f"[{', '.join(map(_flow, value))}]"
        case dict():
            return "{" + ", ".join(f'"{key}": {_flow(each)}' for key, each in value.items()) + "}"
        case _:
            return str(value)


@pytest.mark.parametrize("line", range(len(EXAMPLE.splitlines())))
def test_the_example_without_any_one_of_its_lines(line: int) -> None:
    lines = EXAMPLE.splitlines(keepends=True)
    attempt("".join(lines[:line] + lines[line + 1 :]).encode())
    attempt("".join([*lines[:line], lines[line].lstrip(), *lines[line + 1 :]]).encode())


@pytest.mark.parametrize(
    "text",
    [
        "secret: hunter2: x",
        "secret: {hunter2}",
        "secret: {file: hunter2}",
        "secret: [hunter2]",
        "secret: *hunter2",
        "secret: !hunter2 x",
        "secret: hunter2\x07",
        "secret: 'hunter2",
        "secret: {hunter2: {hunter2: 1}}",
        "secret: {? [hunter2] : 1}",
        "secret: {hunter2: no}",
        "secret: {hunter2: 1, hunter2: 2}",
        "secret: %hunter2",
        "secret: |hunter2",
        "previous_secret: {hunter2: no}",
        "headers: hunter2",
        "headers: [hunter2]",
        "headers: {'Authorization: hunter2'}",
        "headers: {Authorization: {hunter2: no}}",
        "headers: {Authorization: 'hunter2\\\n\n x'}",
        "headers: {Authorization: [hunter2]}",
        "headers: {Authorization: \N{SNOWMAN}hunter2}",
    ],
)
def test_a_mistake_around_a_secret_does_not_show_it(text: str) -> None:
    whole = SHORT.replace("    active: true", f"    {text}").replace("hunter2-", "other-")
    with pytest.raises(ConfigError) as caught:
        parse_config(whole.encode(), FILE, environ={})
    if "file: hunter2" not in text:  # The path of a file is no secret.
        assert "hunter2" not in f"{caught.value!r} {caught.value} {caught.value.problems!r}"


PATTERNS = st.from_regex(r"\A(\*|[ab](\.[ab]){0,2}(\.\*)?|relayd\.[ab*])\Z")
TYPES = st.from_regex(r"\A([ab](\.[ab]){0,2}|relayd\.[ab])\Z")


@given(PATTERNS, st.sets(TYPES, max_size=4))
@example("*", {"relayd.a"})
@example("*", set())
def test_known_patterns_are_those_that_match_something(pattern: str, known: set[str]) -> None:
    assert is_pattern(pattern)
    matches = any(pattern_matches(pattern, each) for each in known)
    # `*` is every market's, whatever the catalogue holds.
    assert (pattern in matching_patterns(known)) == (matches or pattern == "*")
