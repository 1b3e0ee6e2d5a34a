"""The file's `inbound:` -> what verifies and maps each provider's webhooks."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_network
from typing import Final

from relayd.config.build_secrets import SecretBuilder
from relayd.config.findings import Findings
from relayd.config.inbound_models import InboundSection, PlaceSection, SchemeSection
from relayd.config.models import File
from relayd.config.problem import KeyPath
from relayd.config.values import parse_duration
from relayd.core.catalogue import EVENT_TYPES, suggest
from relayd.core.inbound import mailgun, stripe
from relayd.core.inbound.entry import (
    NAMED_BY_ENTRY,
    HmacScheme,
    Inbound,
    Place,
    Provider,
    default_tolerance_s,
)
from relayd.core.patterns import OWN_PREFIX, pattern_matches
from relayd.core.secret import STANDARD_PREFIX, SourcedSecret
from relayd.core.subscription import Subscription

LONGEST_NAME: Final = 63
"""An event's id may be the name, `-` and a SHA-256: 128 characters."""

MAILGUN_RETRIES_S: Final = 8.5 * 3600
"""How long Mailgun tries again: 8 h 5 min by the longer one of the two series that are documented."""

_OF_PROVIDER: Final = {Provider.STRIPE: stripe.TYPES, Provider.MAILGUN: mailgun.TYPES}

_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
_KNOWN: Final = ("body", "timestamp", "id", "url")
_API_KEY: Final = re.compile(r"(sk|rk|pk)_(live|test)_")


def build_inbound(
    file: File, secrets: SecretBuilder, event_types: frozenset[str] | None, findings: Findings
) -> Mapping[str, Inbound]:
    """Return the entries by name. `event_types` is None while the known types are in doubt."""
    if file.inbound and file.http is None and not findings.is_doubtful(("http",)):
        findings.error(
            ("inbound",),
            "is for the web process, and there is no `http:`",
            "add `http: {listen: 127.0.0.1:8787}`, or remove it",
            at_key=True,
        )
    builder = _Builder(file, secrets, event_types, findings)
    return {name: builder.entry(name, section) for name, section in file.inbound.items()}


def type_prefixes(entries: Mapping[str, Inbound]) -> tuple[str, ...]:
    """Return what known types may begin with, beside those that are known by name."""
    return tuple(dict.fromkeys(each.prefix for each in entries.values()))


def warn_of_unselected(
    entries: Mapping[str, Inbound], subscriptions: Iterable[Subscription], findings: Findings
) -> None:
    """Warn of entries whose events go nowhere. Without any subscription, that has been said."""
    if findings.errors:
        return  # a subscription may be missing
    patterns = {pattern for each in subscriptions for pattern in each.selection.events}
    for entry in entries.values() if patterns else ():
        types = {*entry.types.values(), *_OF_PROVIDER.get(entry.provider, {}).values()}
        if not any(
            pattern == "*"
            or pattern.startswith(entry.prefix)
            or any(pattern_matches(pattern, each) for each in types)
            for pattern in patterns
        ):
            findings.warning(
                ("inbound", entry.name),
                "no subscription selects its events: they are kept, and go nowhere",
                f"write events: [{entry.prefix}*] in one",
            )


def _seconds(duration: str | None) -> float:
    found = None if duration is None else parse_duration(duration)
    return math.inf if found is None else found


class _Builder:
    def __init__(
        self,
        file: File,
        secrets: SecretBuilder,
        event_types: frozenset[str] | None,
        findings: Findings,
    ) -> None:
        self._file = file
        self._secrets = secrets
        self._event_types = event_types
        self._findings = findings

    def entry(self, name: str, section: InboundSection) -> Inbound:
        here: KeyPath = ("inbound", name)
        provider = Provider(section.provider)
        read = list(self._read_secrets(section, provider, here))
        entry = Inbound(
            name=name,
            provider=provider,
            market_id=section.market_id or self._file.market_id,
            secrets=tuple(each.secret for each in read),
            secrets_from=tuple(each.source for each in read),
            tolerance_s=parse_duration(section.tolerance or "") or default_tolerance_s(provider),
            networks=tuple(map(ip_network, section.allow_from)),
            types=dict(section.types),
            allow_test_mode=section.allow_test_mode,
            scheme=self._scheme(name, section, here),
        )
        self._check_name(entry, here)
        if not self._findings.is_doubtful((*here, "provider")):
            self._check_keys(section, provider, here)
        self._check_types(entry, here)
        return entry

    def _check_name(self, entry: Inbound, here: KeyPath) -> None:
        if len(entry.name) > LONGEST_NAME:
            self._findings.error(
                here, f"the name has more than {LONGEST_NAME} characters", at_key=True
            )
        taken = {Provider.STRIPE.value, Provider.MAILGUN.value, OWN_PREFIX.removesuffix(".")}
        taken |= {each.partition(".")[0] for each in EVENT_TYPES}  # else a misspelled one is known
        if entry.provider in NAMED_BY_ENTRY and entry.prefix.removesuffix(".") in taken:
            self._findings.error(
                here,
                f"its events are named after it, and {entry.prefix}* are those of another",
                "choose another name",
                at_key=True,
            )

    def _check_keys(self, section: InboundSection, provider: Provider, here: KeyPath) -> None:
        if section.allow_test_mode and provider is not Provider.STRIPE:
            self._unused(here, "allow_test_mode", "is for provider: stripe")
        if provider is Provider.MAILGUN and _seconds(section.tolerance) < MAILGUN_RETRIES_S:
            self._findings.warning(
                (*here, "tolerance"),
                "is shorter than Mailgun tries again, with the same time: what is older is refused, and"
                " lost where Mailgun gives up",
                "leave it out, or write 9h or more",
            )
        if section.scheme is None:
            if provider is Provider.HMAC:
                self._findings.error(
                    here,
                    "provider: hmac needs a scheme",
                    "add `scheme: {header: X-Hub-Signature-256}`",
                    at_key=True,
                )
            return
        if provider is not Provider.HMAC:
            self._unused(here, "scheme", "is for provider: hmac; this one's is known")
        elif section.scheme.timestamp is None and section.tolerance is not None:
            self._unused(here, "tolerance", "is for a signed time, and the scheme has none")

    def _unused(self, here: KeyPath, key: str, why: str) -> None:
        self._findings.error((*here, key), why, "leave it out", at_key=True)

    def _check_types(self, entry: Inbound, here: KeyPath) -> None:
        for theirs, ours in entry.types.items():
            place = (*here, "types", theirs)
            if ours.startswith(OWN_PREFIX):
                self._findings.error(
                    place, f"begins with {OWN_PREFIX}, which is reserved for relayd's own events"
                )
            elif (
                self._event_types is not None
                and ours not in self._event_types
                and not ours.startswith(entry.prefix)
            ):
                near = suggest(ours, self._event_types)
                self._findings.error(
                    place,
                    f"{ours} is not a known event type",
                    f"did you mean {near}?" if near else "declare your own under event_types:",
                )

    def _read_secrets(
        self, section: InboundSection, provider: Provider, here: KeyPath
    ) -> Iterator[SourcedSecret]:
        place: KeyPath = (*here, "secret")
        given = section.secret
        for position, each in enumerate(given if isinstance(given, list) else [given]):
            at = (*place, position) if isinstance(given, list) else place
            read = self._secrets.provided(each, at)
            if read is None:
                continue
            if provider is Provider.STANDARD:
                self._check_standard(read, at)
            elif provider is Provider.STRIPE:
                self._check_stripe(read, at)
            yield read

    def _check_standard(self, read: SourcedSecret, place: KeyPath) -> None:
        # How long it is, is the provider's affair.
        if read.secret.standard_key is None:
            self._findings.error(
                place,
                "must be whsec_ and base64, as the provider of a Standard Webhook shows it",
                "where it shows another form, its scheme may be one for `provider: hmac`",
            )

    def _check_stripe(self, read: SourcedSecret, place: KeyPath) -> None:
        text = read.secret.reveal()
        if _API_KEY.match(text):
            self._findings.error(
                place,
                "is an API key of Stripe's, and no signing secret",
                "take the endpoint's, which begins with whsec_",
            )
        elif not text.startswith(STANDARD_PREFIX):
            self._findings.warning(
                place, "does not begin with whsec_, as Stripe's signing secrets do"
            )

    def _scheme(self, name: str, section: InboundSection, here: KeyPath) -> HmacScheme | None:
        given = section.scheme
        if given is None:
            return None
        place: KeyPath = (*here, "scheme")
        self._check_signed(given, place)
        base = None if self._file.http is None else self._file.http.base_url
        if "{url}" in given.signed and base is None:
            self._findings.error(
                (*place, "signed"),
                "{url} is the URL that the provider was given, which is not known",
                "add `base_url: https://relay.market.example` under `http:`",
            )
        types = [] if given.type is None else given.type
        listed = types if isinstance(types, list) else [types]
        return HmacScheme(
            header=given.header.lower(),
            algorithm=given.algorithm,
            encoding=given.encoding,
            prefix=given.prefix,
            signed=given.signed,
            url=f"{base}/in/{name}" if "{url}" in given.signed else "",
            timestamp=(given.timestamp or "").lower(),
            id=self._place(given.id, (*place, "id")),
            type=tuple(
                found
                for position, each in enumerate(listed)
                if (
                    found := self._place(
                        each,
                        (*place, "type", position) if isinstance(types, list) else (*place, "type"),
                    )
                )
            ),
            time=self._place(given.time, (*place, "time")),
        )

    def _check_signed(self, given: SchemeSection, place: KeyPath) -> None:
        at = (*place, "signed")
        names = _PLACEHOLDER.findall(given.signed)
        for name in names:
            if name not in _KNOWN:
                self._findings.error(
                    at,
                    f"{{{name[:40]}}} stands for nothing",
                    "write {body}, {timestamp}, {id} or {url}",
                )
        if "body" not in names:
            self._findings.error(at, "has no {body}: the signature would say nothing of it")
        if "timestamp" in names and given.timestamp is None:
            self._findings.error(
                at, "{timestamp} is in a header", "add `timestamp: X-Request-Timestamp`"
            )
        if "timestamp" not in names and given.timestamp is not None:
            self._findings.error(
                (*place, "timestamp"),
                "is not signed, so that anybody can change it",
                'write it into `signed`, as "{timestamp}.{body}", or leave it out',
            )
        if "id" in names and (given.id is None or given.id.header is None):
            self._findings.error(
                at,
                "{id} is in a header: nothing of the body is read before it is verified",
                "add `id: {header: X-Request-Id}`",
            )

    def _place(self, given: PlaceSection | None, place: KeyPath) -> Place | None:
        if given is None or self._findings.is_doubtful(place):
            return None
        if (given.header is None) == (given.path is None):
            self._findings.error(
                place, "must have exactly one of header and path", "as {header: X-GitHub-Event}"
            )
        return Place(header=(given.header or "").lower(), path=given.path or "")
