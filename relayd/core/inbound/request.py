"""A provider's request while it is judged: its headers and body, and what stops the judging."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from relayd.core.inbound.verdict import Headers, RefusalCode

RawHeaders = Sequence[tuple[bytes, bytes]]
"""As ASGI has them: values without the spaces around them. Names count in any case."""

_KEPT: Final = frozenset({"content-type", "user-agent"})
_LONGEST_KEPT: Final = 1024


class NotVerifiedError(Exception):
    """The request is refused. `reason` quotes nothing of it."""

    def __init__(self, code: RefusalCode, reason: str) -> None:
        super().__init__(code)
        self.code = code
        self.reason = reason


class NotMappableError(Exception):
    """The request is verified and cannot be an event. `provider_id` is its id, where it has one."""

    def __init__(self, code: str, reason: str, provider_id: str | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.reason = reason
        self.provider_id = provider_id


@dataclass(frozen=True, slots=True)
class Request:
    """What came. `now` is in Unix seconds."""

    headers: RawHeaders = field(repr=False)
    body: bytes = field(repr=False)
    now: float

    def first(self, name: str) -> str | None:
        """Return the value of a header that nothing is verified with; None without it."""
        return next(self._values(name), None)

    def only(self, name: str) -> str | None:
        """Return the value of a header that the signature is made of; None without it.

        Raises `NotVerifiedError` where it stands twice: which of them was signed is not known.
        """
        values = self._values(name)
        first = next(values, None)
        if next(values, None) is not None:
            raise NotVerifiedError(
                RefusalCode.WRONG_SIGNATURE, f"the request has more than one header {name}"
            )
        return first

    def kept(self, *names: str) -> Headers:
        """Return the headers that are kept with the event: these, and what kind of body it is."""
        wanted = _KEPT.union(names)
        found = []
        for raw, value in self.headers:
            name = raw.decode("latin-1").lower()
            if name in wanted:
                found.append((name, value.decode("latin-1")[:_LONGEST_KEPT]))
        return tuple(found[: 2 * len(wanted)])

    def _values(self, name: str) -> Iterator[str]:
        wanted = name.encode("latin-1")
        return (
            value.decode("latin-1") for header, value in self.headers if header.lower() == wanted
        )
