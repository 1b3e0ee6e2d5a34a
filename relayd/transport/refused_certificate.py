"""What a certificate that was not accepted says of itself: until when it is valid, and for whom.

Python gives a peer's certificate only once it is verified. OpenSSL keeps what came, and the object
below `ssl.SSLObject` returns it; where a Python has no such thing, nothing is known.
"""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_MOST_NAMES: Final = 3
_NAME: Final = re.compile(r"[A-Za-z0-9*_.:-]{1,100}")
"""Names as certificates have them. They are the receiver's words: others are not shown."""


@dataclass(frozen=True, slots=True)
class RefusedCertificate:
    """A receiver's own certificate. `ends` is in Unix seconds; `names` are those it is valid for."""

    ends: float | None = None
    names: tuple[str, ...] = ()

    @property
    def names_in_words(self) -> str:
        """The first names, and how many others there are; nothing where there is none."""
        shown = ", ".join(self.names[:_MOST_NAMES])
        more = len(self.names) - _MOST_NAMES
        return f"{shown} and {more:,} more" if more > 0 else shown


def refused_certificate(tls: ssl.SSLObject) -> RefusedCertificate:
    """Return the certificate that came in a handshake which has failed, as far as it is known."""
    # Public from Python 3.13 on, in DER; below it, get_info reads the fields since 3.10.
    below = getattr(tls, "_sslobj", None)
    try:
        chain = below.get_unverified_chain()  # type: ignore[union-attr]  # AttributeError is caught
        return _read(chain[0].get_info())
    except (AttributeError, IndexError, TypeError, ValueError, ssl.SSLError):
        return RefusedCertificate()


def _read(fields: Mapping[str, Any]) -> RefusedCertificate:
    ends = fields.get("notAfter")
    names = tuple(
        value
        for kind, value in fields.get("subjectAltName", ())
        if kind in {"DNS", "IP Address"} and _NAME.fullmatch(value)
    )
    return RefusedCertificate(
        None if ends is None else float(ssl.cert_time_to_seconds(ends)), names
    )
