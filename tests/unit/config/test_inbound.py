"""`inbound:`: what is read, what is wrong with it, and which of it goes where."""

import json
import re
from ipaddress import ip_address
from pathlib import Path

import pytest

from relayd.config.config import Config
from relayd.config.difference import difference
from relayd.config.load import parse_config
from relayd.config.problem import ConfigError
from relayd.config.schema import json_schema
from relayd.config.transfer import pieces_of, received
from relayd.core.inbound.entry import HmacScheme, Inbound, Place, Provider
from relayd.core.parts import whole
from relayd.core.secret import Secret
from relayd.views.configuration import configuration_document
from relayd.views.web_document import read_web_document, web_document

FILE = Path("/etc/relayd/config.yaml")
STRIPE = "whsec_c3RyaXBlLXNlY3JldC1vZi10aGUtc3VpdGU="
OTHER = "whsec_b3RoZXItc2VjcmV0LW9mLXRoZS1zdWl0ZQ=="
SIGNED = "s0123456789abcdef"
HTTP = "http: {listen: 127.0.0.1:8787, token: none, base_url: https://relay.example}\n"
BASE = """\
market_id: market_1
queue: {path: queue.db}
subscriptions:
  shop: {url: "https://shop.example/", events: %s, secret: s0123456789abcdef}
"""


def parse(inbound: str, *, events: str = '"*"', http: str = HTTP, more: str = "") -> Config:
    return parse_config(
        (BASE % events + http + more + inbound).encode(), FILE, environ={"ONE": OTHER}
    )


def problems(inbound: str, **given: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(inbound, **given)
    shown = str(caught.value)
    assert STRIPE not in shown
    assert SIGNED not in shown
    return [line.removeprefix(f"{FILE}:") for line in shown.splitlines()]


ALL = f"""\
inbound:
  stripe:
    provider: stripe
    secret: [{{env: ONE}}, {STRIPE}]
    market_id: market_9
    tolerance: 10m
    allow_from: [192.0.2.0/24, "2001:db8::/32"]
    allow_test_mode: true
    types: {{invoice.paid: payment.succeeded, payout.paid: stripe.paid_out}}
  mg: {{provider: mailgun, secret: {SIGNED}}}
  Clerk-users: {{provider: standard, secret: {STRIPE}}}
  slack:
    provider: hmac
    secret: {SIGNED}
    scheme:
      header: X-Slack-Signature
      prefix: v0=
      signed: "v0:{{timestamp}}:{{body}}"
      timestamp: X-Slack-Request-Timestamp
      id: {{path: event_id}}
      type: {{path: event.type}}
      time: {{path: event_time}}
  square:
    provider: hmac
    secret: {SIGNED}
    scheme:
      header: x-square-hmacsha256-signature
      encoding: base64
      signed: "{{url}}{{body}}"
      id: {{header: X-Id}}
      type: [{{header: X-Topic}}, {{path: action}}]
"""


def test_all_of_it() -> None:
    inbound = parse(ALL).inbound
    assert list(inbound) == ["stripe", "mg", "Clerk-users", "slack", "square"]
    stripe = inbound["stripe"]
    assert stripe.provider is Provider.STRIPE
    assert stripe.secrets == (Secret(OTHER), Secret(STRIPE))
    assert stripe.secrets_from == ("env ONE", "text")
    assert (stripe.market_id, stripe.tolerance_s, stripe.allow_test_mode) == ("market_9", 600, True)
    assert stripe.admits(ip_address("192.0.2.7"))
    assert stripe.admits(ip_address("2001:db8::1"))
    assert not stripe.admits(ip_address("198.51.100.1"))
    assert stripe.types == {"invoice.paid": "payment.succeeded", "payout.paid": "stripe.paid_out"}
    assert (stripe.path, stripe.source, stripe.prefix) == (
        "/in/stripe",
        "inbound stripe",
        "stripe.",
    )
    mailgun = inbound["mg"]
    assert (mailgun.market_id, mailgun.tolerance_s) == ("market_1", 43_200)
    assert (mailgun.prefix, mailgun.events_of) == ("mailgun.", "mailgun")
    assert mailgun.admits(ip_address("198.51.100.1"))
    assert inbound["Clerk-users"].prefix == "clerk_users."
    assert inbound["slack"].scheme == HmacScheme(
        header="x-slack-signature",
        prefix="v0=",
        signed="v0:{timestamp}:{body}",
        timestamp="x-slack-request-timestamp",
        id=Place(path="event_id"),
        type=(Place(path="event.type"),),
        time=Place(path="event_time"),
    )
    square = inbound["square"].scheme
    assert square is not None
    assert square.url == "https://relay.example/in/square"
    assert square.type == (Place(header="x-topic"), Place(path="action"))


def test_the_examples_part_is_a_configuration() -> None:
    text = (Path(__file__).parents[3] / "config.example.yaml").read_text()
    start = text.index("#   inbound:\n")
    lines = re.match(r"(#.*\n)+", text[start:])
    assert lines is not None
    example = lines[0].replace("#   ", "", 1).replace("\n#   ", "\n")
    example = re.sub(r"\{(credential|file): [^}]*\}", STRIPE, example)
    example = re.sub(r"\[\{file: …\}, \{file: …\}\]", "", example)
    inbound = parse(example).inbound
    assert list(inbound) == ["stripe", "github"]
    assert inbound["stripe"].tolerance_s == 300


@pytest.mark.parametrize(
    ("inbound", "problem"),
    [
        ("inbound: {a: {provider: stripe}}", "inbound.a.secret: is missing"),
        (
            f"inbound: {{a: {{secret: {STRIPE}}}}}",
            "inbound.a.provider: is missing (write `provider: stripe`)",
        ),
        (
            f"inbound: {{a: {{provider: strip, secret: {STRIPE}}}}}",
            "inbound.a.provider: must be stripe, mailgun, standard or hmac (did you mean stripe?)",
        ),
        (
            f"inbound: {{a: {{provider: stripe, secrets: {STRIPE}}}}}",
            "inbound.a.secrets: unknown key (did you mean `secret`?)",
        ),
        (
            "inbound: {a: {provider: stripe, secret: []}}",
            "inbound.a.secret: is empty",
        ),
        (
            "inbound: {a: {provider: stripe, secret: [{flie: x}]}}",
            "inbound.a.secret: unknown key",
        ),
        (
            f"inbound: {{a: {{provider: stripe, secret: [{STRIPE}, {{env: TWO}}]}}}}",
            "inbound.a.secret: the environment variable TWO is not set",
        ),
        (
            "inbound: {a: {provider: stripe, secret: sk_live_0123456789abcdef}}",
            "inbound.a.secret: is an API key of Stripe's",
        ),
        (
            f"inbound: {{a: {{provider: standard, secret: {SIGNED}}}}}",
            "inbound.a.secret: must be whsec_ and base64",
        ),
        (
            f"inbound: {{a: {{provider: stripe, secret: {STRIPE}, tolerance: 5}}}}",
            "inbound.a.tolerance: must be text, and is a number (add a unit, as 5m)",
        ),
        (
            f"inbound: {{a: {{provider: stripe, secret: {STRIPE}, tolerance: 25h}}}}",
            "inbound.a.tolerance: must be between 1s and 1d",
        ),
        (
            f"inbound: {{a: {{provider: stripe, secret: {STRIPE}, allow_from: [10.0.0.1/8]}}}}",
            "inbound.a.allow_from[0]: has bits set behind its prefix",
        ),
        (
            f"inbound: {{a: {{provider: mailgun, secret: {SIGNED}, allow_test_mode: true}}}}",
            "inbound.a.allow_test_mode: is for provider: stripe",
        ),
        (
            f"inbound: {{a: {{provider: mailgun, secret: {SIGNED}, scheme: {{header: X-A}}}}}}",
            "inbound.a.scheme: is for provider: hmac",
        ),
        (
            f"inbound: {{a: {{provider: hmac, secret: {SIGNED}}}}}",
            "inbound.a: provider: hmac needs",
        ),
        (
            f"inbound: {{stripe: {{provider: hmac, secret: {SIGNED}, scheme: {{header: X-A}}}}}}",
            "inbound.stripe: its events are named after it, and stripe.* are those of another",
        ),
        (
            f"inbound: {{order: {{provider: hmac, secret: {SIGNED}, scheme: {{header: X-A}}}}}}",
            "inbound.order: its events are named after it, and order.* are those of another",
        ),
        (
            f"inbound: {{Relayd: {{provider: standard, secret: {STRIPE}}}}}",
            "inbound.Relayd: its events are named after it",
        ),
        (
            f"inbound: {{{'a' * 64}: {{provider: standard, secret: {STRIPE}}}}}",
            "the name has more than 63 characters",
        ),
        (
            f"inbound: {{a: {{provider: stripe, secret: {STRIPE}, types: {{x: payment.paid}}}}}}",
            "inbound.a.types.x: payment.paid is not a known event type",
        ),
        (
            f"inbound: {{a: {{provider: stripe, secret: {STRIPE}, types: {{x: relayd.x}}}}}}",
            "inbound.a.types.x: begins with relayd.",
        ),
        (
            f"inbound: {{a: {{provider: stripe, secret: {STRIPE}, types: {{x: Paid}}}}}}",
            "inbound.a.types.x: must be lower-case words",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(inbound: str, problem: str) -> None:
    found = problems(f"{inbound}\n")
    # Where a key has another name, the right one is missing as well.
    assert len(found) == (2 if "secrets" in inbound else 1), found
    place, _, words = found[-1].partition(": ")
    assert re.fullmatch(r"\d+:\d+", place)
    assert problem in words


@pytest.mark.parametrize(
    ("scheme", "problem"),
    [
        ("{}", "scheme.header: is missing"),
        ("{header: X-A, hash: sha1}", "scheme.hash: unknown key"),
        ("{header: X-A, algorithm: md5}", "scheme.algorithm: must be sha1, sha256 or sha512"),
        ("{header: X-A, signed: '{timestamp}'}", "scheme.signed: has no {body}"),
        ("{header: X-A, signed: '{timestamp}{body}'}", "scheme.signed: {timestamp} is in a header"),
        ("{header: X-A, signed: '{when}{body}'}", "scheme.signed: {when} stands for nothing"),
        ("{header: X-A, signed: '{id}{body}'}", "scheme.signed: {id} is in a header"),
        ("{header: X-A, signed: '{id}{body}', id: {path: id}}", "scheme.signed: {id} is in a"),
        ("{header: X-A, timestamp: X-B}", "scheme.timestamp: is not signed"),
        ("{header: X-A, id: {header: X-B, path: a}}", "scheme.id: must have exactly one"),
        ("{header: X-A, id: {}}", "scheme.id: must have exactly one"),
        (
            "{header: X-A, id: {heade: X-B}}",
            "scheme.id.heade: unknown key (did you mean `header`?)",
        ),
        ("{header: X-A, type: [{header: X-B}, {}]}", "scheme.type[1]: must have exactly one"),
        ("{header: X-A, type: x}", "scheme.type: must be keys and values, and is text"),
    ],
)
def test_what_is_wrong_with_a_scheme(scheme: str, problem: str) -> None:
    found = problems(f"inbound: {{a: {{provider: hmac, secret: {SIGNED}, scheme: {scheme}}}}}\n")
    assert problem in found[0].replace("inbound.a.", "")
    assert len(found) == 1, found


def test_a_tolerance_needs_a_signed_time() -> None:
    [found] = problems(
        f"inbound: {{a: {{provider: hmac, secret: {SIGNED}, tolerance: 5m, scheme: {{header: X}}}}}}\n"
    )
    assert "inbound.a.tolerance: is for a signed time" in found


def test_the_url_must_be_known_where_it_is_signed() -> None:
    scheme = "{header: X-A, signed: '{url}{body}'}"
    [found] = problems(
        f"inbound: {{a: {{provider: hmac, secret: {SIGNED}, scheme: {scheme}}}}}\n",
        http="http: {listen: 127.0.0.1:8787, token: none}\n",
    )
    assert "scheme.signed: {url} is the URL that the provider was given" in found


def test_it_is_for_the_web_process() -> None:
    [found] = problems(f"inbound: {{a: {{provider: stripe, secret: {STRIPE}}}}}\n", http="")
    assert "inbound: is for the web process, and there is no `http:`" in found


def test_a_stripe_secret_of_another_form_is_doubtful() -> None:
    [warning] = parse(f"inbound: {{a: {{provider: stripe, secret: {SIGNED}}}}}\n").warnings
    assert "does not begin with whsec_" in warning.message


def test_a_tolerance_under_which_mailguns_retries_are_refused_is_doubtful() -> None:
    text = "inbound: {a: {provider: mailgun, secret: s0123456789abcdef, tolerance: %s}}\n"
    [warning] = parse(text % "5m").warnings
    assert "is shorter than Mailgun tries again" in warning.message
    assert parse(text % "9h").warnings == ()


@pytest.mark.parametrize(
    ("events", "warned"),
    [
        ("[order.created]", ["stripe", "shop"]),
        ("[payment.failed]", ["shop"]),
        ("['stripe.charge.*']", ["shop"]),
        ("[order.created, 'payment.*', 'shop.*']", []),
        ('"*"', []),
        ("[order.completed]", ["stripe"]),
    ],
)
def test_an_entry_whose_events_go_nowhere_is_doubtful(events: str, warned: list[str]) -> None:
    inbound = f"""\
inbound:
  stripe: {{provider: stripe, secret: {STRIPE}}}
  shop: {{provider: standard, secret: {STRIPE}, types: {{done: order.completed}}}}
"""
    warnings = parse(inbound, events=events).warnings
    assert [each.key for each in warnings] == [f"inbound.{name}" for name in warned]
    assert all("no subscription selects its events" in each.message for each in warnings)


@pytest.mark.parametrize(
    ("events", "known"),
    [
        ("[stripe.charge.succeeded, 'stripe.*', 'stripe.charge.*']", True),
        ("[email.bounced, 'email.*']", True),
        ("['mailgun.*']", False),
        ("['github.*']", False),
        ("[stripe]", False),
    ],
)
def test_a_providers_types_are_known(events: str, known: bool) -> None:
    inbound = f"inbound: {{a: {{provider: stripe, secret: {STRIPE}}}}}\n"
    if known:
        assert parse(inbound, events=events).type_prefixes == ("stripe.",)
    else:
        [found] = problems(inbound, events=events)
        assert "matches no known event type" in found


def test_a_fault_in_an_entry_puts_no_type_in_doubt_aloud() -> None:
    found = problems("inbound: {github: {provider: hmac}}\n", events="['github.*']")
    assert not [each for each in found if "known event type" in each]


def test_a_reload_names_the_entry_that_changed() -> None:
    old, new = parse(ALL), parse(ALL.replace("tolerance: 10m", "tolerance: 9m"))
    assert difference(old, new).lines() == ["inbound stripe: tolerance changed"]
    assert difference(old, parse(ALL)).lines() == []
    assert difference(old, parse(ALL.replace(STRIPE, OTHER))).inbound.changed == {
        "stripe": ("secret",),
        "Clerk-users": ("secret",),
    }


def test_it_arrives_whole_from_the_process_that_read_it() -> None:
    config = parse(ALL)
    came = whole(received(memoryview(b"".join(pieces_of(config)))))
    assert came == config
    assert came.inbound["stripe"].secrets == config.inbound["stripe"].secrets


def test_the_web_process_gets_it_with_its_secrets_and_shows_none() -> None:
    config = parse(ALL)
    raw = whole(web_document(config, loaded_at=1.0))
    document = read_web_document(raw)
    assert document.inbound == config.inbound
    assert STRIPE in raw.decode(), "what it verifies with"
    shown = json.dumps(document.settings) + repr(document)
    assert STRIPE not in shown
    assert SIGNED not in shown


def test_the_document_of_a_daemon_from_before_has_none() -> None:
    settings = json.loads(whole(web_document(parse(ALL), loaded_at=1.0)))
    del settings["inbound"], settings["inbound_secrets"]
    assert read_web_document(json.dumps(settings).encode()).inbound == {}


def test_check_shows_it_without_secrets() -> None:
    document = configuration_document(parse(ALL), ())
    shown = json.dumps(document)
    assert STRIPE not in shown
    assert SIGNED not in shown
    entries = document["inbound"]
    assert isinstance(entries, list)
    assert entries[0] == {
        "name": "stripe",
        "path": "/in/stripe",
        "provider": "stripe",
        "secrets_from": ["env ONE", "text"],
        "market_id": "market_9",
        "tolerance_s": 600.0,
        "allow_from": ["192.0.2.0/24", "2001:db8::/32"],
        "allow_test_mode": True,
        "types": {"invoice.paid": "payment.succeeded", "payout.paid": "stripe.paid_out"},
        "scheme": None,
    }
    assert isinstance(parse(ALL).inbound["mg"], Inbound)


def test_the_schema_has_it() -> None:
    schema = json_schema()
    assert schema["$defs"]["InboundSection"]["additionalProperties"] is False
    assert set(schema["$defs"]["InboundSection"]["required"]) == {"provider", "secret"}
