"""The keys of a subscription as they may be shown: no secret, no header's value, and no URL's path."""

from collections.abc import Mapping
from typing import Final

from relayd.core.endpoint import endpoint_name

MASK: Final = "••••••"

_SECRETS: Final = frozenset({"secret", "previous_secret", "feed_token"})
_PLACES: Final = frozenset({"file", "env", "credential"})


def shown_keys(keys: Mapping[str, object]) -> dict[str, object]:
    """Return the keys with what is secret masked. Where a secret is read from stays, as `{file: …}`.

    What is not as it must be, as a person may have written it, is masked as well.
    """
    return {key: _shown(key, value) for key, value in keys.items()}


def _shown(key: str, value: object) -> object:
    if key in _SECRETS:
        return _place_or_mask(value)
    if key == "url":
        return _host_of(value) if isinstance(value, str) else _place_or_mask(value)
    if key == "headers":
        if not isinstance(value, dict):
            return MASK
        return {name: _place_or_mask(each) for name, each in value.items()}
    return value


def _host_of(url: str) -> str:
    try:
        return endpoint_name(url)
    except ValueError:  # half of an IPv6 address
        return MASK


def _place_or_mask(value: object) -> object:
    return value if isinstance(value, dict) and value.keys() <= _PLACES else MASK
