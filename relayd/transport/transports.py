"""Makes the transport to an endpoint, as its configuration says."""

from collections.abc import Sequence

import httpx
import trio

from relayd.core.addresses import Network
from relayd.core.endpoint import Endpoint
from relayd.transport.client import Transport
from relayd.transport.dialer import AddressGuard
from relayd.transport.mail import MailTransport
from relayd.transport.resolver import Resolver
from relayd.transport.tls_contexts import EndpointTls, TlsContexts

EndpointTransport = Transport | MailTransport
"""What delivers to one endpoint."""


class Transports:
    """Makes transports that share TLS contexts and a resolver. Raises ConfigError: see TlsContexts."""

    def __init__(self) -> None:
        self._contexts = TlsContexts()
        self._resolver = Resolver()
        self._mail_turn = trio.Lock()

    def make(self, endpoint: Endpoint, networks: Sequence[Network]) -> EndpointTransport:
        """Return a transport that may also dial into these networks, beyond the public ones.

        One that sends mail connects to the operator's mail server alone.
        """
        if endpoint.smtp is not None:
            return MailTransport(
                endpoint.url,
                endpoint.smtp,
                resolve=self._resolver.resolve,
                turn=self._mail_turn,
                context=self._contexts.mail,
            )
        guard = AddressGuard(networks, resolve=self._resolver.resolve, ip=endpoint.ip)
        tls = (
            self._contexts.public
            if endpoint.tls is None
            else EndpointTls(self._contexts, endpoint.tls)
        )
        return Transport(httpx.URL(endpoint.url), guard=guard, tls=tls)
