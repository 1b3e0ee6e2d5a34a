"""Signatures of a body, and the headers that carry them to a receiver.

Three schemes: the `X-LocallyGrown-*` headers that every attempt has; beside them, with `signature:
standard`, those of the Standard Webhooks specification 1.0.0, or a header of the operator's choice.
"""

import base64
import hmac

from relayd.core.delivery import Delivery
from relayd.core.secret import Secret
from relayd.core.subscription import HeaderSignature, Subscription

SIGNATURE = "X-LocallyGrown-Signature"
SIGNATURE_PREVIOUS = "X-LocallyGrown-Signature-Previous"
EVENT = "X-LocallyGrown-Event"
DELIVERY = "X-LocallyGrown-Delivery"
ATTEMPT = "X-LocallyGrown-Attempt"
SEQUENCE = "X-LocallyGrown-Sequence"
STANDARD_ID = "webhook-id"
STANDARD_TIMESTAMP = "webhook-timestamp"
STANDARD_SIGNATURE = "webhook-signature"

RESERVED_HEADERS = frozenset(
    name.lower()
    for name in (
        SIGNATURE,
        SIGNATURE_PREVIOUS,
        EVENT,
        DELIVERY,
        ATTEMPT,
        SEQUENCE,
        STANDARD_ID,
        STANDARD_TIMESTAMP,
        STANDARD_SIGNATURE,
        "Host",
        "Content-Length",
        # These belong to the connection, which is relayd's.
        "Accept-Encoding",
        "Connection",
        "Keep-Alive",
        "Transfer-Encoding",
        "Upgrade",
        "TE",
        "Trailer",
        "Expect",
        "Proxy-Authorization",
        "Proxy-Connection",
    )
)
"""Headers, in lower case, that a subscription's own `headers:` cannot set."""

DEFAULT_HEADERS = frozenset({"accept", "content-type", "user-agent"})
"""Headers, in lower case, that they can set instead of relayd."""

STANDARD_TOLERANCE_S = 300
"""How old or how far ahead a Standard Webhooks timestamp may be, as its reference libraries say."""


def sign(body: bytes, secret: Secret) -> str:
    """Return `sha256=` and the hex HMAC-SHA256 of `body` under the secret's UTF-8 text."""
    return "sha256=" + secret.mac(body).hexdigest()


def verify(body: bytes, signature: str, secret: Secret) -> bool:
    """Tell whether `sign` gave this signature. Takes the same time wherever the two differ."""
    return _same(sign(body, secret), signature.strip())


def sign_standard(body: bytes, event_id: str, timestamp: int, secret: Secret) -> str:
    """Return `v1,` and the base64 HMAC-SHA256 of `id.timestamp.body`. `timestamp`: Unix seconds.

    Raises ValueError for a secret that has no `standard_key`.
    """
    mac = secret.standard_mac(f"{event_id}.{timestamp}.".encode(), body)
    return "v1," + base64.b64encode(mac.digest()).decode()


def verify_standard(
    body: bytes, event_id: str, timestamp: str, signatures: str, secret: Secret, *, now: float
) -> bool:
    """Tell whether one of the space-separated signatures is right and its time is near `now`.

    None is right under a secret that has no `standard_key`: no library would verify it.
    """
    if secret.standard_key is None:
        return False
    if not (timestamp.isascii() and timestamp.isdigit()):
        return False
    if abs(now - int(timestamp[:20])) > STANDARD_TOLERANCE_S:
        return False
    expected = sign_standard(body, event_id, int(timestamp[:20]), secret)
    # Every signature is compared, so that the time taken does not tell which one was right.
    matches = [_same(expected, given) for given in signatures.split()]
    return any(matches)


def sign_header(body: bytes, scheme: HeaderSignature, secret: Secret) -> str:
    """Return the value of the scheme's header: its prefix, and the body's HMAC-SHA256."""
    mac = secret.mac(body)
    if scheme.encoding == "hex":
        return scheme.prefix + mac.hexdigest()
    return scheme.prefix + base64.b64encode(mac.digest()).decode()


def verify_header(body: bytes, signature: str, scheme: HeaderSignature, secret: Secret) -> bool:
    """Tell whether `sign_header` gave this signature; takes the same time wherever they differ."""
    return _same(sign_header(body, scheme, secret), signature.strip())


def _same(expected: str, given: str) -> bool:
    # What is given may be any text, half of a surrogate pair too.
    return hmac.compare_digest(expected.encode(), given.encode(errors="surrogatepass"))


def signed_headers(
    delivery: Delivery, subscription: Subscription, *, attempt: int, now: float
) -> list[tuple[str, str]]:
    """Return the headers that name and sign one attempt, the operator's own behind them.

    `now` is in Unix seconds and becomes the Standard Webhooks timestamp. Without a secret nothing is
    signed.
    """
    body = delivery.body
    secret, previous = subscription.secret, subscription.previous_secret
    headers = [
        (EVENT, delivery.event_type),
        (DELIVERY, delivery.id),
        (ATTEMPT, str(attempt)),
    ]
    if delivery.sequence is not None:
        headers.append((SEQUENCE, str(delivery.sequence)))
    if secret is None:
        headers += subscription.headers
        return headers
    headers.insert(0, (SIGNATURE, sign(body, secret.secret)))
    if previous is not None:
        headers.append((SIGNATURE_PREVIOUS, sign(body, previous.secret)))
    scheme = subscription.signature
    if isinstance(scheme, HeaderSignature):
        headers.append((scheme.header, sign_header(body, scheme, secret.secret)))
    elif scheme == "standard":
        timestamp = int(now)
        secrets = [secret, *([previous] if previous is not None else [])]
        signatures = [
            sign_standard(body, delivery.event_id, timestamp, sourced.secret) for sourced in secrets
        ]
        headers += [
            (STANDARD_ID, delivery.event_id),
            (STANDARD_TIMESTAMP, str(timestamp)),
            (STANDARD_SIGNATURE, " ".join(signatures)),
        ]
    headers += subscription.headers
    return headers
