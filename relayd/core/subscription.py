"""A subscription: which events go to which URL, and how."""

from dataclasses import dataclass, field
from typing import Literal

from relayd.core.matching import Selection
from relayd.core.secret import SourcedSecret

SignatureScheme = Literal["locallygrown", "standard"]
"""`locallygrown` sends the `X-LocallyGrown-*` headers; `standard` adds those of the Standard
Webhooks specification."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """A named entry of the configuration, ready to use.

    `url` also names its endpoint. `retry` holds the waits before each retry, in seconds.
    """

    name: str
    url: str
    selection: Selection
    active: bool
    secret: SourcedSecret
    previous_secret: SourcedSecret | None
    signature: SignatureScheme
    timeout_s: float
    retry: tuple[float, ...]
    headers: tuple[tuple[str, str], ...] = field(repr=False)  # a value may be a secret
