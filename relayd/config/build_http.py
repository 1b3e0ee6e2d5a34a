"""The file's `http:` and its tokens -> what the web process needs of them."""

from ipaddress import ip_network
from pathlib import Path
from typing import Final

from relayd.config.build_secrets import SecretBuilder
from relayd.config.findings import Findings
from relayd.config.http_models import ProducerSection
from relayd.config.markets import markets_of
from relayd.config.models import File
from relayd.config.problem import KeyPath
from relayd.config.subscription_models import SecretValue
from relayd.core.web_access import (
    SHORTEST_TOKEN,
    Holder,
    Listen,
    Role,
    WebAccess,
    WebProducer,
    digest,
    parse_listen,
)

OPEN: Final = "none"
"""What `http.token` says where everybody who reaches `listen` may do everything."""


def build_access(
    file: File, directory: Path, secrets: SecretBuilder, findings: Findings
) -> WebAccess | None:
    """Return who may do what of the web process; None without `http:`. Errors go to `findings`."""
    section = file.http
    tokens = _Tokens(secrets, findings)
    if section is None:
        _complain_of_feeds(file, findings)
        return None
    listen = _listen(section.listen, directory)
    is_open = section.token == OPEN
    if is_open and not listen.is_private and not findings.is_doubtful(("http", "listen")):
        findings.error(
            ("http", "token"),
            f"none lets everybody do everything at {listen}, which others reach as well",
            "write {file: PATH}, or listen at 127.0.0.1 or a Unix socket",
        )
    if not is_open:
        tokens.add(section.token, ("http", "token"), Holder(Role.EVERYTHING))
    tokens.add(section.read_token, ("http", "read_token"), Holder(Role.READ))
    for name, producer in section.producers.items():
        here = ("http", "producers", name, "token")
        tokens.add(producer.token, here, Holder(Role.PRODUCER, name))
    for name, subscription in file.subscriptions.items():
        feed = ("subscriptions", name, "feed_token")
        tokens.add(subscription.feed_token, feed, Holder(Role.FEED, name))
    return WebAccess(
        listen=listen,
        public=None if section.public is None else _listen(section.public, directory),
        base_url=section.base_url,
        trusted_proxies=tuple(map(ip_network, section.trusted_proxies)),
        open=is_open,
        tokens=tokens.found,
        producers={
            name: _producer(name, each, file, findings) for name, each in section.producers.items()
        },
    )


def _listen(text: str, directory: Path) -> Listen:
    # The model has checked the text.
    listen = parse_listen(text)
    assert listen is not None
    return Listen(path=str(directory / listen.path)) if listen.path else listen


def _producer(name: str, section: ProducerSection, file: File, findings: Findings) -> WebProducer:
    return WebProducer(
        section.market_id or file.market_id,
        markets_of(("http", "producers", name, "markets"), section.markets, findings),
    )


def _complain_of_feeds(file: File, findings: Findings) -> None:
    for name, subscription in file.subscriptions.items():
        if subscription.feed_token is not None:
            findings.error(
                ("subscriptions", name, "feed_token"),
                "is for the web process, and there is no `http:`",
                "add `http: {listen: 127.0.0.1:8787}`, or remove it",
                at_key=True,
            )


class _Tokens:
    """Reads tokens, each of which is one holder's."""

    def __init__(self, secrets: SecretBuilder, findings: Findings) -> None:
        self.found: dict[str, Holder] = {}
        self._places: dict[str, KeyPath] = {}
        self._secrets = secrets
        self._findings = findings

    def add(self, given: SecretValue | None, place: KeyPath, holder: Holder) -> None:
        """Read one token, if it is set."""
        if given is None or (read := self._secrets.secret(given, place)) is None:
            return
        token = read.secret.reveal()
        hashed = digest(token)
        if len(token) < SHORTEST_TOKEN:
            self._findings.error(
                place,
                f"is shorter than {SHORTEST_TOKEN} characters, and could be guessed",
                "`openssl rand -hex 32` makes a good one",
            )
        elif not token.isascii() or not token.isprintable() or " " in token:
            self._findings.error(
                place,
                "has characters that no Authorization header can carry",
                "use letters and digits",
            )
        elif (first := self._places.get(hashed)) is not None:
            self._findings.error(
                place,
                f"is the same token as that of {self._findings.place_words(first)}",
                "give each its own",
            )
        else:
            self.found[hashed] = holder
            self._places[hashed] = place
