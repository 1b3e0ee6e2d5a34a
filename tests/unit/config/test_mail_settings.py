"""`smtp:` and `mailto:` URLs in the configuration: what is accepted, and what is said of the rest."""

from pathlib import Path

import pytest

from relayd.config.config import Config
from relayd.config.difference import difference
from relayd.config.load import load_config, parse_config
from relayd.config.problem import ConfigError
from relayd.config.transfer import pieces_of, received
from relayd.core.endpoint import endpoint_name
from relayd.core.parts import whole

SMTP = "smtp: {host: mail.example, from: relayd@market.example}"


def parse(*lines: str, smtp: str = SMTP) -> Config:
    text = "\n".join(
        (
            "market_id: m",
            "queue: {path: q.db}",
            "socket: {path: s}",
            smtp,
            "subscriptions:",
            "  ops:",
            "    events: [order.created]",
            *(f"    {line}" for line in lines or ("url: mailto:ops@market.example",)),
        )
    )
    return parse_config(text.encode(), Path("/etc/relayd/config.yaml"), environ={"PW": "secret-pw"})


def problems(*lines: str, smtp: str = SMTP) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(*lines, smtp=smtp)
    return [str(each) for each in caught.value.problems]


def test_mail_goes_by_the_server_one_at_a_time() -> None:
    config = parse("url: MAILTO:Ops+x@Market.Example", "timeout: 30s")
    (endpoint,) = config.endpoints.values()
    assert endpoint.url == "mailto:Ops+x@market.example"
    assert (endpoint.max_in_flight, endpoint.smtp) == (1, config.smtp)
    assert config.smtp is not None
    assert (config.smtp.host, config.smtp.port, config.smtp.tls) == (
        "mail.example",
        587,
        "starttls",
    )
    subscription = config.subscriptions["ops"]
    assert (subscription.format, subscription.mail_from) == ("mail", "relayd@market.example")
    assert subscription.secret is None
    assert endpoint_name(endpoint.url) == "mailto:…@market.example"
    assert "ops" not in repr(endpoint).lower()


@pytest.mark.parametrize(("tls", "port"), [("starttls", 587), ("implicit", 465), ("none", 25)])
def test_the_port_follows_from_tls(tls: str, port: int) -> None:
    config = parse(smtp=f"smtp: {{host: a.example, from: a@b.example, tls: {tls}}}")
    assert config.smtp is not None
    assert config.smtp.port == port


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mailto:a@b.example,c@d.example", "must have one address"),
        ("mailto:a@b.example?cc=c@d.example", "must have one address"),
        ("mailto:a@b.example?subject=x", "an address and nothing else"),
        ("'mailto:'", "one plain e-mail address"),
        ("mailto:ops", "one plain e-mail address"),
        ("'mailto:a b@c.example'", "one plain e-mail address"),
        ('"mailto:a@b.example\\r\\nRCPT TO:<c>"', "one plain e-mail address"),
        ("mailto:a..b@c.example", "one plain e-mail address"),
        ("mailto:müller@c.example", "one plain e-mail address"),
        ("'mailto:<a>@c.example'", "one plain e-mail address"),
    ],
)
def test_what_is_not_one_address(url: str, words: str) -> None:
    (problem,) = problems(f"url: {url}")
    assert problem.startswith("/etc/relayd/config.yaml:8:10")
    assert words in problem


@pytest.mark.parametrize(
    "line",
    [
        "format: text",
        "signature: standard",
        "headers: {X-A: b}",
        "tls: {}",
        "ip: 4",
        "max_in_flight: 1",
        "previous_secret: a-long-enough-secret",
    ],
)
def test_what_is_for_http_alone(line: str) -> None:
    (problem,) = problems("url: mailto:ops@market.example", line)
    assert problem.startswith("/etc/relayd/config.yaml:9:5")
    assert "is for http" in problem


@pytest.mark.parametrize(
    ("line", "defaults", "timeout_s"),
    [("", "", 60.0), ("", "defaults: {timeout: 5s}", 60.0), ("timeout: 20s", "", 20.0)],
)
def test_a_mail_server_may_take_a_minute(line: str, defaults: str, timeout_s: float) -> None:
    config = parse("url: mailto:ops@market.example", line, smtp=f"{SMTP}\n{defaults}")
    assert config.subscriptions["ops"].timeout_s == timeout_s


def test_the_defaults_are_about_receivers() -> None:
    defaults = "defaults: {headers: {X-A: b}, signature: standard, max_in_flight: 5, ip: 4}"
    config = parse(smtp=f"{SMTP}\n{defaults}")
    assert config.subscriptions["ops"].headers == ()
    (endpoint,) = config.endpoints.values()
    assert (endpoint.max_in_flight, endpoint.ip) == (1, None)


def test_no_server() -> None:
    (problem,) = problems(smtp="")
    assert problem.startswith("/etc/relayd/config.yaml:8:10")
    assert "there is no `smtp:`" in problem
    assert "add `smtp: {host: localhost" in problem


@pytest.mark.parametrize(
    ("smtp", "words"),
    [
        ("from: a@b.example", "smtp.host: is missing"),
        ("host: a.example", "smtp.from: is missing"),
        ("host: 'a.example:25', sender: a@b.example", "did you mean"),
        ("host: a.example, from: Ops <a@b.example>", "one plain e-mail address"),
        ("host: a b, from: a@b.example", "a host name or an address"),
        ("host: a.example, from: a@b.example, port: 0", "must be 1 or more"),
        ("host: a.example, from: a@b.example, tls: ssl", "must be starttls, implicit or none"),
        ("host: a.example, from: a@b.example, user: me", "has no password"),
        ("host: a.example, from: a@b.example, password: me", "has no user"),
        (
            "host: a.example, from: a@b.example, user: me, password: {env: PW}, tls: none",
            "a login is sent only over TLS",
        ),
        (
            "host: a.example, from: a@b.example, user: me, password: {env: UNSET}",
            "UNSET is not set",
        ),
    ],
)
def test_what_is_wrong_with_the_server(smtp: str, words: str) -> None:
    found = problems(smtp=f"smtp: {{{smtp}}}")
    assert any(words in each for each in found), found
    assert all(each.startswith("/etc/relayd/config.yaml:4:") for each in found), found


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "'::1'"])
def test_a_login_in_clear_to_this_machine(host: str) -> None:
    login = "user: me, password: {env: PW}, tls: none"
    config = parse(smtp=f"smtp: {{host: {host}, from: a@b.example, {login}}}")
    assert config.smtp is not None
    assert config.smtp.password is not None
    assert "secret-pw" not in repr(config)


def test_another_server_or_password_releases_the_backlog() -> None:
    before = parse()
    login = "user: me, password: {env: PW}"
    after = parse(smtp=f"smtp: {{host: mail.example, from: relayd@market.example, {login}}}")
    changes = difference(before, after)
    assert changes.released == {"ops"}
    assert changes.lines() == ["subscription ops: smtp changed", "smtp changed"]
    marks = {
        config.subscriptions["ops"].made_with(b"k", *config.endpoints.values())
        for config in (before, after)
    }
    assert len(marks) == 2


def test_it_reaches_the_daemon_whole() -> None:
    login = "user: me, password: {env: PW}"
    config = parse(smtp=f"smtp: {{host: mail.example, from: relayd@market.example, {login}}}")
    raw = memoryview(b"".join(pieces_of(config)))
    assert whole(received(raw)) == config


def test_a_password_that_everybody_may_read(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "market_id: m\nqueue: {path: q.db}\nsocket: {path: s}\n"
        "smtp: {host: a.example, from: a@b.example, user: me, password: a-password-of-ours}\n"
    )
    path.chmod(0o644)
    warned = {each.key for each in load_config(path, environ={}).warnings}
    assert "smtp.password" in warned
    path.chmod(0o600)
    assert "smtp.password" not in {each.key for each in load_config(path, environ={}).warnings}
