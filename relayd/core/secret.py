"""A secret's text, kept out of every log, error and `repr`."""

import base64
import binascii
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NoReturn

STANDARD_PREFIX: Final = "whsec_"


class Secret:
    """Text that only `reveal` shows. Equal secrets are compared in constant time."""

    __slots__ = ("_mac", "_standard_mac", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._mac: hmac.HMAC | None = None
        self._standard_mac: hmac.HMAC | None = None

    def reveal(self) -> str:
        """Return the text itself. Callers sign or compare with it, and never print it."""
        return self._text

    @property
    def key(self) -> bytes:
        """The text as the bytes to sign with; those of an environment that is not UTF-8 as well."""
        return self._text.encode("utf-8", "surrogateescape")

    @property
    def standard_key(self) -> bytes | None:
        """The Standard Webhooks key: the bytes whose base64 follows `whsec_`; None for other text.

        Only base64 with its padding, as its libraries in Python, JavaScript and Go all read it.
        It is never empty.
        """
        if not self._text.startswith(STANDARD_PREFIX):
            return None
        written = self._text.removeprefix(STANDARD_PREFIX)
        try:
            key = base64.b64decode(written, validate=True)
        except (binascii.Error, ValueError):
            return None
        return key or None

    def mac(self, *signed: bytes) -> hmac.HMAC:
        """Return the HMAC-SHA256 of these bytes, one after the other, under the key.

        The key is worked in once. `hmac.digest` does it each time, and gives up Python's lock
        meanwhile, which under load takes longer than to sign.
        """
        if self._mac is None:
            self._mac = hmac.new(self.key, digestmod="sha256")
        return _of(self._mac, signed)

    def standard_mac(self, *signed: bytes) -> hmac.HMAC:
        """Return the same under the Standard Webhooks key. Raises ValueError where there is none."""
        if self._standard_mac is None:
            key = self.standard_key
            if key is None:
                raise ValueError("the secret is not whsec_ and base64")
            self._standard_mac = hmac.new(key, digestmod="sha256")
        return _of(self._standard_mac, signed)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.key, other.key)

    def __hash__(self) -> int:
        return hash(("relayd.Secret", self._text))

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not written anywhere")


def _of(keyed: hmac.HMAC, signed: Iterable[bytes]) -> hmac.HMAC:
    mac = keyed.copy()
    for part in signed:
        mac.update(part)
    return mac


@dataclass(frozen=True, slots=True)
class SourcedSecret:
    """A secret with the place that it was read from, which may be shown.

    `source` is one of `text`, `file PATH`, `env NAME` or `credential NAME`.
    """

    secret: Secret
    source: str
