"""A secret's text, kept out of every log, error and `repr`."""

import hmac
from dataclasses import dataclass
from typing import NoReturn


class Secret:
    """Text that only `reveal` shows. Equal secrets are compared in constant time."""

    __slots__ = ("_mac", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._mac: hmac.HMAC | None = None

    def reveal(self) -> str:
        """Return the text itself. Callers sign or compare with it, and never print it."""
        return self._text

    @property
    def key(self) -> bytes:
        """The text as the bytes to sign with; those of an environment that is not UTF-8 as well."""
        return self._text.encode("utf-8", "surrogateescape")

    def mac(self, body: bytes) -> hmac.HMAC:
        """Return the HMAC-SHA256 of `body` under the key.

        The key is worked in once. `hmac.digest` does it each time, and gives up Python's lock
        meanwhile, which under load takes longer than to sign.
        """
        if self._mac is None:
            self._mac = hmac.new(self.key, digestmod="sha256")
        mac = self._mac.copy()
        mac.update(body)
        return mac

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


@dataclass(frozen=True, slots=True)
class SourcedSecret:
    """A secret with the place that it was read from, which may be shown.

    `source` is one of `text`, `file PATH`, `env NAME` or `credential NAME`.
    """

    secret: Secret
    source: str
