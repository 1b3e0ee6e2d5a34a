"""The subscriptions of the file's models, with their secrets, and the endpoints they share."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from relayd.config.build_secrets import SecretBuilder
from relayd.config.exposure import Producers
from relayd.config.findings import Findings
from relayd.config.problem import MAX_PROBLEMS, KeyPath
from relayd.config.secrets import mistakes
from relayd.config.subscription_models import (
    DEFAULT_MAX_IN_FLIGHT,
    DEFAULT_RATE_LIMIT,
    DEFAULT_RETRY,
    DEFAULT_SIGNATURE,
    DEFAULT_TIMEOUT,
    DefaultsSection,
    SecretSource,
    SignatureSection,
    SubscriptionSection,
    TlsSection,
)
from relayd.config.tls_files import TlsReader
from relayd.config.urls import PLACEHOLDER, BadUrl, doubt, family_of, normal_url
from relayd.config.values import parse_duration, parse_rate
from relayd.core.addresses import Network
from relayd.core.catalogue import suggest
from relayd.core.endpoint import Endpoint, IpVersion
from relayd.core.matching import Condition, ConditionErrors, Selection, compile_where
from relayd.core.order import OrderBy, order_by, order_problem
from relayd.core.patterns import is_pattern
from relayd.core.secret import Secret, SourcedSecret
from relayd.core.signature import DEFAULT_HEADERS, RESERVED_HEADERS
from relayd.core.subscription import HeaderSignature, SignatureScheme, Subscription
from relayd.core.tls import Tls
from relayd.core.token_bucket import Rate

# h11 sends no other characters; what is not ASCII would be read in different ways.
_HEADER_VALUE = re.compile(r"[\x20-\x7e\t]*")

_LONGEST_TYPE: Final = 128

_NO_SECRET: Final = SourcedSecret(Secret(""), "none")
_NO_RATE: Final = Rate(1, 1.0)
"""These stand in while there are errors; a Config with them is never used."""


class SubscriptionBuilder:
    """Builds one subscription after the other; errors go to `findings`.

    `event_types` is None while the known types are in doubt: then no pattern is held to them.
    """

    def __init__(
        self,
        *,
        defaults: DefaultsSection,
        directory: Path,
        environ: Mapping[str, str],
        allowed: Sequence[Network],
        event_types: frozenset[str] | None,
        producers: Producers,
        findings: Findings,
    ) -> None:
        self.subscriptions: dict[str, Subscription] = {}
        self.endpoints: dict[str, Endpoint] = {}
        self._defaults = defaults
        self._allowed = allowed
        self._directory = directory
        self._tls = TlsReader(producers)
        self._patterns = None if event_types is None else matching_patterns(event_types)
        self._findings = findings
        self._secrets = SecretBuilder(
            directory=directory, environ=environ, producers=producers, findings=findings
        )
        self._first_of: dict[str, str] = {}
        self._default_headers = self._headers(defaults.headers, ("defaults", "headers"))

    def add(self, name: str, section: SubscriptionSection) -> None:
        """Add one subscription and its endpoint."""
        path: KeyPath = ("subscriptions", name)
        defaults = self._defaults
        signature = self._signature(section, path)
        secret = self._secrets.secret(section.secret, (*path, "secret"))
        previous = (
            None
            if section.previous_secret is None
            else self._secrets.secret(section.previous_secret, (*path, "previous_secret"))
        )
        if signature == "standard":
            self._secrets.check_standard(secret, (*path, "secret"))
            self._secrets.check_standard(previous, (*path, "previous_secret"))
        if secret is not None and previous is not None and secret.secret == previous.secret:
            self._findings.warning(
                (*path, "previous_secret"), "is the same as `secret`", "it can be left out"
            )
        if previous is not None and isinstance(signature, HeaderSignature):
            self._findings.warning(
                (*path, "previous_secret"),
                f"does not sign {signature.header}, which is made with `secret` alone",
                "its receivers take up the new secret at the moment of the reload, or refuse"
                " deliveries until they do; those are retried",
            )
        url, url_source = self._url(section.url, (*path, "url"))
        retry = defaults.retry if section.retry is None else section.retry
        self.subscriptions[name] = Subscription(
            name=name,
            url=url,
            selection=Selection(
                self._events(section.events, (*path, "events")),
                self._where(section.where, (*path, "where")),
                self._order_by(section, path),
            ),
            active=section.active,
            secret=secret or _NO_SECRET,
            previous_secret=previous,
            signature=signature,
            timeout_s=_seconds(section.timeout or defaults.timeout or DEFAULT_TIMEOUT),
            retry=tuple(map(_seconds, DEFAULT_RETRY if retry is None else retry)),
            headers=self._merged_headers(section, path, signature),
            url_source=url_source,
        )
        self._add_endpoint(name, section, url)

    def _signature(
        self, section: SubscriptionSection, path: KeyPath
    ) -> SignatureScheme | HeaderSignature:
        given = section.signature or self._defaults.signature or DEFAULT_SIGNATURE
        if not isinstance(given, SignatureSection):
            return given
        place: KeyPath = (*(path if section.signature else ("defaults",)), "signature", "header")
        if given.header.lower() in RESERVED_HEADERS | DEFAULT_HEADERS:
            self._findings.error(
                place, "is a header that relayd sets itself", "name the one that receivers verify"
            )
        return HeaderSignature(given.header, given.prefix, given.encoding)

    def _add_endpoint(self, name: str, section: SubscriptionSection, url: str) -> None:
        rate = section.rate_limit or self._defaults.rate_limit or DEFAULT_RATE_LIMIT
        in_flight = section.max_in_flight or self._defaults.max_in_flight or DEFAULT_MAX_IN_FLIGHT
        path: KeyPath = ("subscriptions", name)
        if self._findings.is_doubtful((*path, "url")):
            return
        tls, ip = self._tls_of(section, url, path), self._ip(section, url, path)
        endpoint = Endpoint(url, parse_rate(rate) or _NO_RATE, in_flight, ip, tls)
        if self._limits_in_doubt(path, section):
            return
        known = self.endpoints.setdefault(url, endpoint)
        first = self._first_of.setdefault(url, name)
        if known.rate != endpoint.rate:
            self._complain_of(path, first, "rate_limit", str(known.rate), str(endpoint.rate))
        if known.max_in_flight != endpoint.max_in_flight:
            self._complain_of(
                path, first, "max_in_flight", str(known.max_in_flight), str(endpoint.max_in_flight)
            )
        if known.tls != endpoint.tls:
            self._complain_of(path, first, "tls", _shown(known.tls), _shown(endpoint.tls))
        if known.ip != endpoint.ip:
            self._complain_of(path, first, "ip", _shown(known.ip), _shown(endpoint.ip))

    def _tls_of(self, section: SubscriptionSection, url: str, path: KeyPath) -> Tls | None:
        """Return the private authority and the client certificate; None without any, or an error."""
        given = self._defaults.tls if section.tls is None else section.tls
        if given is None or given == TlsSection():
            return None
        place: KeyPath = (*(("defaults",) if section.tls is None else path), "tls")
        if url.startswith("http:"):
            if section.tls is not None:
                self._findings.error(
                    place, "is for https, and the URL is http", "leave it out", at_key=True
                )
            return None
        if self._findings.is_doubtful(place):
            return None
        files = self._tls.read(
            *(
                None if file is None else self._directory / file
                for file in (given.ca, given.certificate, given.key)
            )
        )
        for key, problem in files.errors:
            self._findings.error((*place, key), problem.message, problem.hint)
        for key, problem in files.warnings:
            self._findings.warning((*place, key), problem.message, problem.hint)
        return files.tls

    def _ip(self, section: SubscriptionSection, url: str, path: KeyPath) -> IpVersion | None:
        ip = section.ip or self._defaults.ip
        family = family_of(url)
        if section.ip is not None and family not in {None, section.ip}:
            self._findings.error(
                (*path, "ip"),
                f"is {section.ip}, and the URL has an IPv{family} address",
                "leave it out, or write another address",
            )
        # An address is what it is: a default is about names.
        return None if family is not None else ip

    def _limits_in_doubt(self, path: KeyPath, section: SubscriptionSection) -> bool:
        return any(
            self._findings.is_doubtful((*path, key))
            or (own is None and self._findings.is_doubtful(("defaults", key)))
            for key, own in (
                ("rate_limit", section.rate_limit),
                ("max_in_flight", section.max_in_flight),
                ("tls", section.tls),
                ("ip", section.ip),
            )
        )

    def _complain_of(self, path: KeyPath, first: str, key: str, theirs: str, ours: str) -> None:
        # It may stand in the defaults: then the place is the subscription's.
        place = (*path, key)
        where = self._findings.place_words(("subscriptions", first))
        shared = "connections" if key in {"tls", "ip"} else "limits"
        self._findings.error(
            place,
            f"is {ours} here and {theirs} for the same URL in {where}",
            f"subscriptions with one URL share its {shared}: write the same in both",
            at_key=True,
        )

    def _url(self, given: str | SecretSource, path: KeyPath) -> tuple[str, str]:
        """Return a URL in its normal form, and where it was read from.

        No message quotes it: for many services it is a secret.
        """
        text, source = given, "text"
        if not isinstance(given, str):
            read = self._secrets.read(given, path)
            if read is None:
                return "", "none"
            text, source = read.secret.reveal(), read.source
            for mistake in mistakes(read):
                self._findings.error(path, f"{source} {mistake.message}", mistake.hint)
        assert isinstance(text, str)
        where = "" if source == "text" else f"the URL in {source}: "
        url = normal_url(text, self._allowed)
        if isinstance(url, BadUrl):
            self._findings.error(path, where + url.message, url.hint)
            return text, source
        doubtful = doubt(url, self._allowed)
        if doubtful is not None:
            self._findings.warning(path, where + doubtful.message, doubtful.hint)
        return url, source

    def _events(self, patterns: Sequence[str], path: KeyPath) -> tuple[str, ...]:
        for position, pattern in enumerate(patterns):
            place = (*path, position)
            if not is_pattern(pattern):
                self._findings.error(
                    place,
                    "is not an event type or a pattern",
                    self._type_hint(pattern) or 'as order.created, order.* or "*"',
                )
            elif self._patterns is not None and pattern not in self._patterns:
                self._findings.error(
                    place,
                    f"{pattern} matches no known event type",
                    self._type_hint(pattern) or "declare your own types under event_types:",
                )
        return tuple(dict.fromkeys(patterns))

    def _type_hint(self, pattern: str) -> str:
        if self._patterns is None or len(self._findings.errors) > MAX_PROBLEMS:
            return ""
        meant = suggest(pattern.lower()[:_LONGEST_TYPE], self._patterns)
        return "" if meant is None else f"did you mean {meant}? Your own: under event_types:"

    def _where(self, where: Mapping[str, object] | None, path: KeyPath) -> tuple[Condition, ...]:
        try:
            return compile_where(where or {})
        except ConditionErrors as errors:
            for location, message in errors.problems:
                self._findings.error((*path, *location), message)
            return ()

    def _order_by(self, section: SubscriptionSection, path: KeyPath) -> OrderBy | None:
        if section.order_by is None:
            if section.on_exhausted is not None:
                self._findings.error(
                    (*path, "on_exhausted"),
                    "is about events in order, and this subscription has no order_by",
                    "add `order_by: data.object.id`, or remove it",
                    at_key=True,
                )
            return None
        problem = order_problem(section.order_by)
        if problem is not None:
            self._findings.error((*path, "order_by"), problem)
            return None
        return order_by(section.order_by, hold=section.on_exhausted == "hold")

    def _merged_headers(
        self,
        section: SubscriptionSection,
        path: KeyPath,
        signature: SignatureScheme | HeaderSignature,
    ) -> tuple[tuple[str, str], ...]:
        own = self._headers(section.headers, (*path, "headers"))
        merged = {**self._default_headers, **own}
        if isinstance(signature, HeaderSignature) and signature.header.lower() in merged:
            name, _ = merged[signature.header.lower()]
            place: KeyPath = path if signature.header.lower() in own else ("defaults",)
            other = (*(path if section.signature else ("defaults",)), "signature")
            self._findings.error(
                (*place, "headers", name),
                "is also the header of the signature:"
                f" {self._findings.place_words((*other, 'header'))}",
                "keep one",
                at_key=True,
            )
        return tuple(merged.values())

    def _headers(
        self, headers: Mapping[str, str | SecretSource] | None, path: KeyPath
    ) -> dict[str, tuple[str, str]]:
        """Return names and values by the name in lower case, as HTTP compares them."""
        found: dict[str, tuple[str, str]] = {}
        for name, given in (headers or {}).items():
            place = (*path, name)
            if name.lower() in RESERVED_HEADERS:
                self._findings.error(
                    place, "is a header that relayd sets itself", "remove it", at_key=True
                )
            elif name.lower() in found:
                self._findings.error(
                    place, "is given twice, in different case", "keep one", at_key=True
                )
            value = given if isinstance(given, str) else self._secrets.text(given, place)
            if isinstance(given, str) and PLACEHOLDER.search(given):
                self._findings.error(
                    place,
                    "contains a placeholder, which is not expanded",
                    "write {env: NAME} or {file: PATH}, whose text is the whole value",
                )
            if not _HEADER_VALUE.fullmatch(value):
                self._findings.error(
                    place,
                    "holds a line break, or a character that is not ASCII",
                    "a header is one line of ASCII",
                )
            found[name.lower()] = (name, value.strip())
        return found


def _shown(setting: Tls | IpVersion | None) -> str:
    return "not set" if setting is None else f"`{setting}`"


def matching_patterns(event_types: Iterable[str]) -> Mapping[str, None]:
    """Return every pattern that matches one of the types: looked up, not tried type by type.

    A mapping with nothing in it, for its order: the types come first, as suggestions should.
    """
    words = [each.split(".") for each in sorted(event_types)]
    groups = [".".join([*each[:count], "*"]) for each in words for count in range(1, len(each))]
    return dict.fromkeys([*(".".join(each) for each in words), *groups, "*"])


def _seconds(text: str) -> float:
    # The models have checked the text.
    seconds = parse_duration(text)
    assert seconds is not None
    return seconds
