"""Makes the transport to an endpoint, as its configuration says."""

from collections.abc import Sequence

import httpx

from relayd.core.addresses import Network
from relayd.core.endpoint import Endpoint
from relayd.transport.client import Transport
from relayd.transport.dialer import AddressGuard
from relayd.transport.resolver import Resolver
from relayd.transport.tls_contexts import EndpointTls, TlsContexts


class Transports:
    """Makes transports that share TLS contexts and a resolver. Raises ConfigError: see TlsContexts."""

    def __init__(self) -> None:
        self._contexts = TlsContexts()
        self._resolver = Resolver()

    def make(self, endpoint: Endpoint, networks: Sequence[Network]) -> Transport:
        """Return a transport that may also dial into these networks, beyond the public ones."""
        guard = AddressGuard(networks, resolve=self._resolver.resolve, ip=endpoint.ip)
        tls = (
            self._contexts.public
            if endpoint.tls is None
            else EndpointTls(self._contexts, endpoint.tls)
        )
        return Transport(httpx.URL(endpoint.url), guard=guard, tls=tls)
