"""Comparing signatures, and signed times: in constant time, and to the letter."""

import base64
import hmac
import re
from collections.abc import Iterable, Sequence
from typing import Final, Literal

from relayd.core.inbound.request import NotVerifiedError
from relayd.core.inbound.verdict import RefusalCode
from relayd.core.secret import Secret

MOST_SIGNATURES: Final = 16
"""Signatures in one request. A provider that rotates its secrets sends two or three."""

FUTURE_S: Final = 300.0
"""How far ahead of now a signed time may be, at most: a provider's clock is right."""

_SECONDS: Final = re.compile(r"[0-9]{1,11}", re.ASCII)


def mac(
    secret: Secret,
    signed: Sequence[bytes],
    algorithm: Literal["sha1", "sha256", "sha512"] = "sha256",
) -> bytes:
    """Return the HMAC of these bytes, one after the other, under the secret's text."""
    if algorithm == "sha256":
        return secret.mac(*signed).digest()
    return hmac.digest(secret.key, b"".join(signed), algorithm)


def written(digest: bytes, encoding: Literal["hex", "base64"]) -> str:
    """Return how a digest is written: lower-case hex, or base64 with its padding."""
    return digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()


def check_signature(expected: Iterable[str], given: Sequence[str], *, hint: str) -> None:
    """Raise `NotVerifiedError` unless one of the expected signatures was given, to the letter.

    Each is compared with each, so that the time taken does not tell which one was right, or where
    two differ.
    """
    if len(given) > MOST_SIGNATURES:
        raise NotVerifiedError(
            RefusalCode.WRONG_SIGNATURE, f"the request has more than {MOST_SIGNATURES} signatures"
        )
    known = [text.encode() for text in expected]
    came = [text.encode("utf-8", "surrogatepass") for text in given]
    matches = [hmac.compare_digest(one, other) for one in known for other in came]
    if not any(matches):
        raise NotVerifiedError(
            RefusalCode.WRONG_SIGNATURE, f"the signature is wrong under each secret here; {hint}"
        )


def signed_seconds(text: str) -> int:
    """Return a signed time in Unix seconds. Raises `NotVerifiedError` where it is another text."""
    if not _SECONDS.fullmatch(text):
        raise NotVerifiedError(
            RefusalCode.WRONG_SIGNATURE, "the signed time is not a number of Unix seconds"
        )
    return int(text)


def check_time(seconds: float, now: float, tolerance_s: float) -> None:
    """Raise `NotVerifiedError` where a signed time is too far from now, before or after it."""
    age = now - seconds
    ahead = min(tolerance_s, FUTURE_S)
    if -ahead <= age <= tolerance_s:
        return
    where = f"{age:.0f} s old" if age > 0 else f"{-age:.0f} s ahead of this machine's clock"
    limit = tolerance_s if age > 0 else ahead
    raise NotVerifiedError(
        RefusalCode.STALE,
        f"the signature is right, and its time is {where}; up to {limit:.0f} s are allowed. It was"
        " sent again by somebody, held up on its way, or a clock is wrong",
    )
