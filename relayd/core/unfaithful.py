"""What of a JSON value not every receiver can carry unchanged, and where it is in the value."""

import re
from collections.abc import Iterator
from typing import Final

from relayd.core.json_text import HugeNumber, JsonValue, is_carried
from relayd.core.parts import STEPS

MAX_NAMED: Final = 20
"""How many unfaithful fields are named at most, so that a warning stays readable."""

HALF: Final = re.compile("[\ud800-\udfff]")


class Noted:
    """What a decoder found that JavaScript cannot carry unchanged.

    It knows nothing of the decoder or the text: a cycle of references would keep a text, which may
    take 16 MiB, until the garbage collector comes, and that counts objects, not bytes.
    """

    def __init__(self) -> None:
        self.unusual = False
        # The object is kept beside its keys, so that its id stays its own.
        self.duplicates: dict[int, tuple[JsonValue, list[str]]] = {}

    def note(self, value: JsonValue, keys: list[str]) -> None:
        """Note an unusual value; `keys` are those that stand twice in it, where it is an object."""
        self.unusual = True
        if keys:
            self.duplicates[id(value)] = (value, keys)


def unfaithful_paths(
    value: JsonValue,
    path: tuple[str, ...],
    duplicates: dict[int, tuple[JsonValue, list[str]]],
) -> Iterator[str]:
    """Yield the dotted paths of what is unfaithful in a value that is at `path`."""
    if isinstance(value, dict):
        _, keys = duplicates.get(id(value), (None, []))
        yield from (".".join((*path, shown_key(key))) for key in keys)
        for key, each in value.items():
            if HALF.search(key) is not None:
                yield ".".join((*path, shown_key(key)))
            yield from unfaithful_paths(each, (*path, shown_key(key)), duplicates)
    elif isinstance(value, list):
        for position, each in enumerate(value):
            yield from unfaithful_paths(each, (*path, str(position)), duplicates)
    elif is_unfaithful(value):
        yield ".".join(path)


def is_unfaithful(value: JsonValue) -> bool:
    """Return whether a number or a text is one that not every receiver carries unchanged."""
    if isinstance(value, str):
        return HALF.search(value) is not None
    return isinstance(value, HugeNumber) or (isinstance(value, int) and not is_carried(value))


def shown_key(key: str) -> str:
    """Return a key as a path shows it."""
    return key if len(key) <= 64 and key.isprintable() else f"{key[:64]!r}…"


def unfaithful_paths_in_slices(
    value: JsonValue, duplicates: dict[int, tuple[JsonValue, list[str]]]
) -> Iterator[str | None]:
    """Yield what `unfaithful_paths` yields, in its order, and None now and then."""
    # The part of the path that leads to each value, the value, and whether its key holds half a pair.
    open_: list[Iterator[tuple[str, JsonValue, bool]]] = [iter([("", value, False)])]
    path: list[str] = []
    seen = 0
    while open_:
        part, value, half = next(open_[-1], _NO_MORE)
        if part is None:
            open_.pop()
            if path:
                path.pop()
            continue
        seen += 1
        if seen % STEPS == 0:
            yield None
        path.append(part)
        if half:
            yield ".".join(path[1:])
        if isinstance(value, dict):
            _, keys = duplicates.get(id(value), (None, []))
            yield from (".".join((*path[1:], shown_key(key))) for key in keys)
            open_.append(
                (shown_key(key), each, HALF.search(key) is not None) for key, each in value.items()
            )
            continue
        if isinstance(value, list):
            open_.append((str(number), each, False) for number, each in enumerate(value))
            continue
        if is_unfaithful(value):
            yield ".".join(path[1:])
        path.pop()


_NO_MORE: Final = (None, None, False)
