"""The example, the first configuration and the JSON Schema say what the code does."""

import re
from pathlib import Path

import jsonschema
import pytest
import trustme
from pydantic import BaseModel

from relayd.config.config import Config
from relayd.config.http_models import HttpSection, ProducerSection
from relayd.config.inbound_models import InboundSection, PlaceSection, SchemeSection
from relayd.config.load import parse_config
from relayd.config.models import (
    File,
    LogSection,
    QueueSection,
    SmtpSection,
    SocketSection,
    SpoolSection,
)
from relayd.config.schema import json_schema
from relayd.config.subscription_models import (
    DefaultsSection,
    SecretSource,
    SignatureSection,
    SubscriptionSection,
    TlsSection,
)
from relayd.config.template import first_config
from relayd.config.yaml_text import parse_yaml
from relayd.core.secret import Secret, SourcedSecret

EXAMPLE = (Path(__file__).parents[3] / "config.example.yaml").read_text()
COMMENTED_OUT = re.compile(r"^( *)#([a-z_]+:)", re.MULTILINE)


def parse(text: str) -> Config:
    return parse_config(text.encode(), Path("/etc/relayd/config.yaml"), environ={})


def section(name: str) -> str:
    """Return the example's text from one top-level key to the next."""
    start = EXAMPLE.index(f"\n{name}:")
    following = re.compile(r"\n[a-z_]+:").search(EXAMPLE, start + 1)
    return EXAMPLE[start : following.start() if following else None]


def test_the_example_loads_as_it_is() -> None:
    config = parse(EXAMPLE)
    assert list(config.subscriptions) == ["bookkeeping", "large-orders", "partner", "chat", "ops"]
    warnings = {each.key.split(".", 2)[2]: each.message for each in config.warnings}
    expected = "is the text of an example, which everybody knows"
    assert len(config.warnings) == 4, "each secret in it, and nothing else"
    assert warnings == {"secret": expected, "previous_secret": expected}


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (File, EXAMPLE),
        (SpoolSection, section("spools")),
        (SocketSection, section("socket")),
        (QueueSection, section("queue")),
        (LogSection, section("log")),
        (HttpSection, EXAMPLE),
        (ProducerSection, EXAMPLE),
        (InboundSection, EXAMPLE),
        (SchemeSection, EXAMPLE),
        (PlaceSection, EXAMPLE),
        (SmtpSection, section("smtp")),
        (DefaultsSection, section("defaults")),
        (SubscriptionSection, section("subscriptions")),
        (SecretSource, section("subscriptions")),
        (SignatureSection, section("subscriptions")),
        (TlsSection, section("subscriptions")),
    ],
)
def test_every_key_stands_in_the_example(model: type[BaseModel], text: str) -> None:
    for name, field in model.model_fields.items():
        key = field.alias or name
        assert (
            re.search(rf"(^ *#? *|{{|, ){key}: ", text + " ", re.MULTILINE)
            or re.search(rf"^{key}:$", text, re.MULTILINE)
            or re.search(rf"^#? +{key}:$", text, re.MULTILINE)
        ), key
        assert field.description, key


def test_what_is_commented_out_is_the_default() -> None:
    shown = COMMENTED_OUT.findall(EXAMPLE)
    assert len(shown) >= 16
    assert parse(COMMENTED_OUT.sub(r"\1\2", EXAMPLE)) == parse(EXAMPLE)


@pytest.mark.parametrize(
    "default",
    [
        '#api_version: "2024-01-01"',
        "    #table: relayd_spool",
        '  #mode: "0660"',
        "  #retention: 30d",
        "  #max_size: unlimited",
        "  #level: info",
        "#allow_networks: []",
        "#event_types: []",
        "  #timeout: 10s",
        "  #rate_limit: 100/min",
        "  #retry: [2m, 10m, 45m, 4h, 19h]",
        "  #max_in_flight: 8",
        "  #signature: locallygrown",
        "  #tls: {}",
        "  #headers: {}",
        "    #active: true",
    ],
)
def test_another_value_than_the_default_would_be_noticed(default: str, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(trustme.CA().cert_pem.bytes())
    key, _, value = default.replace("#", "", 1).partition(": ")
    other = {
        '"2024-01-01"': '"2"',
        "relayd_spool": "other",
        '"0660"': '"0600"',
        "30d": "31d",
        "unlimited": "2GB",
        "info": "debug",
        "10s": "9s",
        "100/min": "99/min",
        "[2m, 10m, 45m, 4h, 19h]": "[2m]",
        "8": "9",
        "locallygrown": "standard",
        "{}": "{X-A: b}" if "headers" in key else f"{{ca: {ca}}}",
        "true": "false",
        "[]": "[10.0.0.0/8]" if "networks" in key else "[own]",
    }[value]
    assert f"\n{default}\n" in EXAMPLE
    # `standard` takes no other secrets.
    example = EXAMPLE.replace(
        "secret: replace-me-4f1c9a7d2be84d6fa5c0", f"secret: whsec_{'a' * 32}"
    )
    assert parse(example.replace(f"\n{default}\n", f"\n{key}: {other}\n")) != parse(example)


def test_the_schema_is_valid_and_takes_the_example() -> None:
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    uncommented = COMMENTED_OUT.sub(r"\1\2", EXAMPLE)
    for text in (EXAMPLE, uncommented, first_config("x" * 20)):
        validator.validate(parse_yaml(text.encode()).root.data)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("market_id:", "markt_id:"),
        ("queue.db\n", "queue.db\n  size: 5\n"),
        ("timeout: 5s", "timeout: 5"),
        ("rate_limit: 30/min", "rate_limit: 30/m"),
        ("active: true\n    secret", "active:\n    secret"),
        ("signature: standard", "signature: other"),
        ("max_in_flight: 2", "max_in_flight: 0"),
        ("\n    ip: 4", "\n    ip: 5"),
        ("\n    tls: {}", "\n    tls: {cert: a}"),
        ("encoding: hex}", "encoding: base46}"),
        ("{header: X-Hub-Signature-256", "{header: X Sig"),
        ('prefix: "sha256=", ', 'prefix: " a", '),
        ("{header: X-Hub-Signature-256, ", "{"),
        ("url: https://partner.example/hooks/market", "url: {path: a}"),
        ("url: https://partner.example/hooks/market", "url: {file: a, env: B}"),
        ("{gte: 5000}", "{min: 5000}"),
        ("  bookkeeping:", "  book keeping:"),
        ("X-Source: ", "X Source: "),
        ("secret: replace-me-4f1c9a7d2be84d6fa5c0", "secret: {file: a, env: B}"),
        ("secret: replace-me-4f1c9a7d2be84d6fa5c0", "secret: {}"),
    ],
)
def test_the_schema_refuses_what_is_wrong(old: str, new: str) -> None:
    assert old in EXAMPLE
    data = parse_yaml(EXAMPLE.replace(old, new, 1).encode()).root.data
    assert not jsonschema.Draft202012Validator(json_schema()).is_valid(data)


@pytest.mark.parametrize(
    "secret", ["4f1c9a7d2be84d6fa5c0", 'quotes " and \\ and $HOME: # x', "  padded-secret  "]
)
def test_the_first_configuration_loads(secret: str) -> None:
    text = first_config(secret, "my market: 1")
    config = parse(text)
    assert config.market_id == "my market: 1"
    assert config.subscriptions["first"].secret == SourcedSecret(Secret(secret), "text")
    assert config.subscriptions["first"].url == "http://127.0.0.1:8080/webhooks"
    assert config.queue.path == Path("/etc/relayd/queue.db")
    assert len(text.splitlines()) <= 22
    assert first_config(secret) != text
