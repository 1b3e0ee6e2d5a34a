"""From when until when a certificate is valid: the one field of X.509 that relayd reads itself.

Python's `ssl` tells it of authorities and of the other side's certificate alone, not of a client
certificate that is about to be used.
"""

from datetime import UTC, datetime
from typing import Final, NamedTuple

_SEQUENCE: Final = 0x30
_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17
_GENERALIZED_TIME: Final = 0x18


class Validity(NamedTuple):
    """When a certificate becomes valid and when it expires, in Unix seconds."""

    begins: float
    ends: float


def validity(der: bytes) -> Validity:
    """Return when a certificate in DER is valid (RFC 5280, 4.1). Raises ValueError for others."""
    certificate, _ = _value(der, _SEQUENCE)
    fields, _ = _value(certificate, _SEQUENCE)
    if fields[:1] == bytes([_VERSION]):
        fields = _rest(fields)
    for _ in ("serialNumber", "signature", "issuer"):
        fields = _rest(fields)
    both, _ = _value(fields, _SEQUENCE)
    begins, after = _time(both)
    ends, _ = _time(after)
    return Validity(begins, ends)


def _time(der: bytes) -> tuple[float, bytes]:
    """Return the time that begins here, and what follows it."""
    tag = der[:1]
    if tag == bytes([_UTC_TIME]):
        text, rest = _value(der, _UTC_TIME)
        # Two digits of a year: 1950 to 2049 (RFC 5280, 4.1.2.5.1).
        century = b"19" if text[:2] >= b"50" else b"20"
        text = century + text
    else:
        text, rest = _value(der, _GENERALIZED_TIME)
    moment = datetime.strptime(text.decode("ascii"), "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    return moment.timestamp(), rest


def _rest(der: bytes) -> bytes:
    """Return what follows the element that begins here."""
    _, start, length = _head(der)
    return der[start + length :]


def _value(der: bytes, tag: int) -> tuple[bytes, bytes]:
    """Return the content of the element that begins here, and what follows it."""
    found, start, length = _head(der)
    if found != tag:
        raise ValueError("not a certificate")
    return der[start : start + length], der[start + length :]


def _head(der: bytes) -> tuple[int, int, int]:
    """Return the tag of the element that begins here, where its content begins, and its length."""
    if len(der) < 2:
        raise ValueError("not a certificate")
    tag, length, start = der[0], der[1], 2
    if length & 0x80:
        count = length & 0x7F
        if not 1 <= count <= 4:
            raise ValueError("not a certificate")
        start += count
        length = int.from_bytes(der[2:start], "big")
    if start + length > len(der):
        raise ValueError("not a certificate")
    return tag, start, length
