"""The endpoints of the file's models: the limits and the TLS that subscriptions with one URL share."""

from pathlib import Path
from typing import Final

from relayd.config.exposure import Producers
from relayd.config.findings import Findings
from relayd.config.problem import KeyPath
from relayd.config.subscription_models import (
    DEFAULT_MAX_IN_FLIGHT,
    DEFAULT_RATE_LIMIT,
    DefaultsSection,
    SubscriptionSection,
    TlsSection,
)
from relayd.config.tls_files import TlsReader
from relayd.config.urls import family_of
from relayd.config.values import parse_rate
from relayd.core.endpoint import Endpoint, IpVersion
from relayd.core.smtp import Smtp, is_mailto
from relayd.core.tls import Tls
from relayd.core.token_bucket import Rate

_NO_RATE: Final = Rate(1, 1.0)
"""Used while there are errors; a Config with it is never used."""


class EndpointBuilder:
    """Builds the endpoint of one subscription after the other; errors go to `findings`."""

    def __init__(
        self,
        *,
        defaults: DefaultsSection,
        directory: Path,
        producers: Producers,
        findings: Findings,
        smtp: Smtp | None,
    ) -> None:
        self._smtp = smtp
        self.endpoints: dict[str, Endpoint] = {}
        self._defaults = defaults
        self._directory = directory
        self._tls = TlsReader(producers)
        self._findings = findings
        self._first_of: dict[str, str] = {}

    def add(self, name: str, section: SubscriptionSection, url: str) -> None:
        """Add the endpoint of one subscription, or compare it with that of the same URL."""
        rate = section.rate_limit or self._defaults.rate_limit or DEFAULT_RATE_LIMIT
        in_flight = section.max_in_flight or self._defaults.max_in_flight or DEFAULT_MAX_IN_FLIGHT
        path: KeyPath = ("subscriptions", name)
        if self._findings.is_doubtful((*path, "url")):
            return
        if is_mailto(url):
            # What the defaults say of connections is about receivers.
            endpoint = Endpoint(url, parse_rate(rate) or _NO_RATE, 1, smtp=self._smtp)
        else:
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


def _shown(setting: Tls | IpVersion | None) -> str:
    return "not set" if setting is None else f"`{setting}`"
