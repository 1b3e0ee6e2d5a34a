"""The TLS settings of an endpoint: a private authority, a client certificate, or both."""

from dataclasses import dataclass, field

from relayd.core.secret import Secret


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A client certificate, with its chain, as PEM; and its private key, as PEM too."""

    chain: bytes = field(repr=False)
    key: Secret = field(repr=False)


@dataclass(frozen=True, slots=True)
class Tls:
    """What connections to an endpoint are made with, as it was read from the files.

    `digest` is of all contents: two are equal when those are, whatever the files' names.
    `authorities` are DER certificates, one after the other; None trusts the public authorities.
    `ca`, `certificate` and `key` are the files' paths, to be shown.
    """

    digest: bytes = field(repr=False)
    ca: str | None = field(compare=False)
    certificate: str | None = field(compare=False)
    key: str | None = field(compare=False)
    authorities: bytes | None = field(compare=False, repr=False)
    client: ClientCertificate | None = field(compare=False, repr=False)

    def __str__(self) -> str:
        """Return the files, as the configuration names them: `ca FILE, certificate FILE`."""
        named = (("ca", self.ca), ("certificate", self.certificate), ("key", self.key))
        return ", ".join(f"{name} {path}" for name, path in named if path is not None)
