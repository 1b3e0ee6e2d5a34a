"""The keys of a subscription as they may be shown: no secret, no header's value, and no URL's path."""

from collections.abc import Mapping
from typing import Final

from relayd.core.endpoint import endpoint_name

MASK: Final = "••••••"

_SECRETS: Final = frozenset({"secret", "previous_secret", "feed_token"})


def shown_keys(keys: Mapping[str, object]) -> dict[str, object]:
    """Return the keys with what is secret masked. Where a secret is read from stays, as `{file: …}`."""
    return {key: _shown(key, value) for key, value in keys.items()}


def _shown(key: str, value: object) -> object:
    if key in _SECRETS and isinstance(value, str):
        return MASK
    if key == "url" and isinstance(value, str):
        return endpoint_name(value)
    if key == "headers" and isinstance(value, dict):
        return {name: MASK if isinstance(each, str) else each for name, each in value.items()}
    return value
