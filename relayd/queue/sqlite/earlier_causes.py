"""The causes of attempts that a relayd before version 7 of the queue recorded in words alone.

Nothing else reads a failure's words. Newer attempts have their cause in a column.
"""

import re
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final

from relayd.core.addresses import CLOUD_METADATA, Address
from relayd.core.outcome import MAIL_CAUSES, Cause, Failure

_MAIL_SERVER: Final = "mail server"
_REFUSED_ADDRESS: Final = re.compile(r"([0-9a-fA-F.:]+) is (?:not public \(|this machine's own)")
_TLS_WORDS: Final[Sequence[tuple[str, Cause]]] = (
    ("certificate has expired", Cause.CERTIFICATE_EXPIRED),
    ("certificate is not for", Cause.CERTIFICATE_NAME),
    ("certificate is self-signed", Cause.CERTIFICATE_AUTHORITY),
    ("certificate comes from an authority", Cause.CERTIFICATE_AUTHORITY),
    ("does not speak TLS on this port", Cause.NO_TLS),
)


def earlier_cause(failure: str, detail: str) -> tuple[str, str]:
    """Return the cause and the subject of a failure of which only its kind and its words were kept."""
    if _MAIL_SERVER in detail and failure in MAIL_CAUSES:
        return MAIL_CAUSES[Failure(failure)], ""
    if failure == Failure.TLS:
        found = (cause for words, cause in _TLS_WORDS if words in detail)
        return next(found, failure), ""
    if failure == Failure.ADDRESS:
        return _address_cause(detail)
    return failure, ""


def _address_cause(detail: str) -> tuple[str, str]:
    if "is public, and http:" in detail:
        return Cause.PUBLIC_HTTP, ""
    addresses = [each for text in _REFUSED_ADDRESS.findall(detail) for each in _addresses(text)]
    if not addresses:
        return Failure.ADDRESS, ""
    metadata = any(each in network for each in addresses for network in CLOUD_METADATA)
    cause = Cause.METADATA_ADDRESS if metadata else Cause.PRIVATE_ADDRESS
    return cause, " ".join(map(str, addresses))


def _addresses(text: str) -> list[Address]:
    try:
        return [ip_address(text)]
    except ValueError:
        return []
