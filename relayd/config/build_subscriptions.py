"""The subscriptions of the file's models, with their secrets."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from relayd.config.build_endpoints import EndpointBuilder
from relayd.config.build_headers import HeaderBuilder
from relayd.config.build_secrets import SecretBuilder
from relayd.config.build_smtp import check_mail, normal_mailto
from relayd.config.exposure import Producers
from relayd.config.findings import Findings
from relayd.config.problem import MAX_PROBLEMS, KeyPath
from relayd.config.reading import absolute
from relayd.config.secrets import NoSecret, mistakes
from relayd.config.subscription_models import (
    DEFAULT_MAIL_TIMEOUT,
    DEFAULT_RETRY,
    DEFAULT_SIGNATURE,
    DEFAULT_TIMEOUT,
    DefaultsSection,
    SecretSource,
    SignatureSection,
    SubscriptionSection,
)
from relayd.config.template_files import TemplateReader
from relayd.config.urls import BadUrl, doubt, normal_url
from relayd.config.values import parse_duration
from relayd.core.addresses import Network
from relayd.core.catalogue import suggest
from relayd.core.endpoint import Endpoint
from relayd.core.matching import Condition, ConditionErrors, Selection, compile_where
from relayd.core.order import OrderBy, order_by, order_problem
from relayd.core.patterns import is_known, is_pattern
from relayd.core.secret import Secret, SourcedSecret
from relayd.core.signature import DEFAULT_HEADERS, RESERVED_HEADERS
from relayd.core.smtp import MAILTO, Smtp, is_mailto
from relayd.core.subscription import HeaderSignature, SignatureScheme, Subscription
from relayd.core.template import Template

_LONGEST_TYPE: Final = 128

_NO_SECRET: Final = SourcedSecret(Secret(""), "none")
"""Used while there are errors; a Config with it is never used."""


class SubscriptionBuilder:
    """Builds one subscription after the other; errors go to `findings`.

    `event_types` is None while the known types are in doubt: then no pattern is held to them.
    """

    def __init__(
        self,
        *,
        defaults: DefaultsSection,
        directory: Path,
        allowed: Sequence[Network],
        event_types: frozenset[str] | None,
        type_prefixes: tuple[str, ...] = (),
        producers: Producers,
        findings: Findings,
        secrets: SecretBuilder,
        smtp: Smtp | None,
    ) -> None:
        self._smtp = smtp
        self.subscriptions: dict[str, Subscription] = {}
        self._defaults = defaults
        self._directory = directory
        self._templates = TemplateReader(producers)
        self._allowed = allowed
        self._endpoints = EndpointBuilder(
            defaults=defaults,
            directory=directory,
            producers=producers,
            findings=findings,
            smtp=smtp,
        )
        self._type_prefixes = type_prefixes
        self._patterns = None if event_types is None else matching_patterns(event_types)
        self._findings = findings
        self._secrets = secrets
        self._headers = HeaderBuilder(defaults.headers, secrets, findings)

    @property
    def endpoints(self) -> Mapping[str, Endpoint]:
        """The endpoints of the subscriptions, by URL."""
        return self._endpoints.endpoints

    def add(self, name: str, section: SubscriptionSection) -> None:
        """Add one subscription and its endpoint."""
        path: KeyPath = ("subscriptions", name)
        defaults = self._defaults
        url, url_source = self._url(section.url, (*path, "url"))
        mail = is_mailto(url)
        if mail:
            check_mail(section, path, self._smtp, self._findings)
        signature = self._signature(section, path, mail=mail)
        secret = self._secret(section, path, mail=mail)
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
            secret=secret if section.secret is None else secret or _NO_SECRET,
            previous_secret=previous,
            signature=signature,
            timeout_s=_seconds(
                # What the defaults say is about receivers.
                section.timeout
                or (DEFAULT_MAIL_TIMEOUT if mail else defaults.timeout or DEFAULT_TIMEOUT)
            ),
            retry=tuple(map(_seconds, DEFAULT_RETRY if retry is None else retry)),
            headers=() if mail else self._headers.merged(section, path, signature),
            url_source=url_source,
            format="mail" if mail else section.format,
            mail_from="" if self._smtp is None or not mail else self._smtp.sender,
            template=None if mail else self._template(section, path),
        )
        self._endpoints.add(name, section, url)

    def _secret(
        self, section: SubscriptionSection, path: KeyPath, *, mail: bool
    ) -> SourcedSecret | None:
        """Return what to sign with. Chats and mail verify nothing: with them it may be absent."""
        if section.secret is not None:
            return self._secrets.secret(section.secret, (*path, "secret"))
        if mail:
            return None
        place: KeyPath = (*path, "secret")
        doubtful = any(self._findings.is_doubtful((*path, key)) for key in ("format", "url"))
        if section.format is None and not doubtful:
            self._findings.error(place, "is missing", "write `secret: {file: PATH}`", at_key=True)
        for key in ("previous_secret", "signature"):
            if getattr(section, key) is not None:
                self._findings.error(
                    (*path, key),
                    "is about a signature, and there is no secret",
                    "add `secret:`, or remove it",
                    at_key=True,
                )
        return None

    def _signature(
        self, section: SubscriptionSection, path: KeyPath, *, mail: bool
    ) -> SignatureScheme | HeaderSignature:
        if mail:
            return DEFAULT_SIGNATURE
        given = section.signature or self._defaults.signature or DEFAULT_SIGNATURE
        if not isinstance(given, SignatureSection):
            return given
        place: KeyPath = (*(path if section.signature else ("defaults",)), "signature", "header")
        if given.header.lower() in RESERVED_HEADERS | DEFAULT_HEADERS:
            self._findings.error(
                place, "is a header that relayd sets itself", "name the one that receivers verify"
            )
        return HeaderSignature(given.header, given.prefix, given.encoding)

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
        if text[: len(MAILTO)].lower() == MAILTO:
            url = normal_mailto(text)
        else:
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
            elif self._patterns is not None and not is_known(
                pattern, self._patterns, self._type_prefixes
            ):
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

    def _template(self, section: SubscriptionSection, path: KeyPath) -> Template | None:
        place: KeyPath = (*path, "template")
        if section.template is None or self._findings.is_doubtful(place):
            return None
        if section.format is not None:
            self._findings.error(
                place, "and `format` cannot both say what is sent", "remove one", at_key=True
            )
        read = self._templates.read(absolute(self._directory / section.template))
        if isinstance(read, NoSecret):
            self._findings.error(place, read.message, read.hint)
            return None
        return read


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
