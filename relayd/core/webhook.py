"""What an event, or rejected input, that came by an inbound webhook was made of, as the queue keeps it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

KEPT_RAW_BYTES: Final = 512 * 1024
"""A raw body that is larger is not kept beside its event: its SHA-256 is."""

MOST_KEY_CHARACTERS: Final = 256


@dataclass(frozen=True, slots=True)
class Webhook:
    """`key` names the provider and its id, which alone decide what is a duplicate.

    `token` is the digest of a token that came with the signature, and empty where none did: it may
    come again with the same key, and with no other. `headers` is a JSON object. `raw` is the body as it
    came, None where only its size and SHA-256 are known.
    """

    key: str
    token: str
    headers: str = field(repr=False)
    raw: bytes | None = field(repr=False)
    raw_bytes: int
    raw_sha256: bytes = field(repr=False)

    @property
    def provider_id(self) -> str:
        """The provider's id, as the key has it."""
        return self.key.partition(":")[2]

    @property
    def fingerprint(self) -> bytes:
        """Which one it is on the rejected list: a retry is the same, whatever else of it changed."""
        return sha256(f"webhook {self.key}".encode()).digest()


def token_digest(provider: str, token: str) -> str:
    """Return what a provider's token is remembered as: 32 hexadecimal digits."""
    return sha256(f"{provider}\0{token}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def webhook_from(found: Mapping[str, Any], raw: bytes) -> Webhook:
    """Read what the head of a line says of a webhook; `raw` is its body, empty where it is left out.

    Raises ValueError, TypeError or KeyError for what no web process writes.
    """
    key, token, size = found["key"], found["token"], found["bytes"]
    digest = bytes.fromhex(found["sha256"])
    headers = {str(name): str(value) for name, value in found["headers"]}
    if (
        not isinstance(key, str)
        or not 0 < len(key) <= MOST_KEY_CHARACTERS
        or not isinstance(token, str)
        or not isinstance(size, int)
        or len(digest) != sha256().digest_size
        or (raw and (len(raw) != size or sha256(raw).digest() != digest))
    ):
        raise ValueError("not a webhook's head")
    return Webhook(key, token, json.dumps(headers), raw if raw or not size else None, size, digest)


def head_of(
    key: str, token: str, headers: tuple[tuple[str, str], ...], raw: bytes
) -> dict[str, object]:
    """Return what the head of a line says of a webhook: see `webhook_from`."""
    return {
        "key": key,
        "token": token,
        "headers": [list(each) for each in headers],
        "bytes": len(raw),
        "sha256": sha256(raw).hexdigest(),
    }
