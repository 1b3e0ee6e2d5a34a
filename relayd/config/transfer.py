"""A configuration on its way from the process that read it to the daemon: in small pieces.

Each piece is pickled by itself, so that none takes long to read: unpickling a whole configuration
at once would stop the event loop for as long. What one subscription has many of (conditions, values
of a condition) goes ahead of it in pieces of its own, to which it refers by number; so does each TLS
setting, which may have 200 KB, and which thousands of endpoints may share, and each template. Both ends are the same
program, and nobody else can write to what is between them.
"""

import copyreg
import io
import pickle
import struct
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from types import MappingProxyType
from typing import Any, Final, TypeVar

from relayd.config.config import Config
from relayd.config.problem import ConfigError, Problem
from relayd.config.reading import FileRead
from relayd.core.conditions import Among, Condition, Operators, Scalar, key_of
from relayd.core.endpoint import Endpoint
from relayd.core.parts import Parts
from relayd.core.secret import Secret
from relayd.core.subscription import Subscription
from relayd.core.template import Template
from relayd.core.tls import Tls

T = TypeVar("T")

_AT_ONCE: Final = 16  # subscriptions with few conditions: 0.4 ms of unpickling
_CONDITIONS: Final = 40  # all of these together in a piece
_VALUES: Final = 500
_FILES: Final = 100
_SIZE: Final = struct.Struct("=I")


class LoaderDefectError(Exception):
    """Reading the configuration failed by a defect of relayd: its text says where, for the log."""


class IncompleteError(Exception):
    """The pieces end before the configuration does."""


class _Pickler(pickle.Pickler):
    """Pickles a piece. What is in `ahead` is not in it: its number is."""

    def __init__(self, buffer: io.BytesIO, ahead: dict[int, int]) -> None:
        super().__init__(buffer, pickle.HIGHEST_PROTOCOL)
        self._ahead = ahead

    def persistent_id(self, value: object) -> int | None:
        goes = isinstance(value, Among | Condition | Tls | Template)
        return self._ahead.get(id(value)) if goes else None

    # A Secret refuses to be pickled anywhere else.
    dispatch_table: dict[type, Callable[[Any], Any]] = {  # noqa: RUF012 - as pickle has it
        **copyreg.dispatch_table,
        Secret: lambda secret: (Secret, (secret.reveal(),)),
    }


def pieces_of(config: Config) -> Iterator[bytes]:
    """Return what `received` makes the configuration of."""
    head = {
        "path": config.path,
        "market_id": config.market_id,
        "api_version": config.api_version,
        "spools": config.spools,
        "socket": config.socket,
        "queue": config.queue,
        "log": config.log,
        "web": config.web,
        "smtp": config.smtp,
        "allow_networks": config.allow_networks,
        "event_types": config.event_types,
        "type_prefixes": config.type_prefixes,
        "inbound": dict(config.inbound),
        "warnings": config.warnings,
        "include": config.include,
        "included": dict(config.included),
        "lines": dict(config.lines),
    }
    ahead: dict[int, int] = {}
    """What has gone ahead: its `id`, as `config` keeps it alive, and its number."""
    batch: list[Subscription] = []
    conditions = 0
    for each in config.subscriptions.values():
        if (template := each.template) is not None:
            yield from _shared_ahead(template, ahead)
        where = each.selection.where
        yield from _pieces_ahead(where, ahead)
        conditions += sum(id(condition) not in ahead for condition in where)
        if batch and (len(batch) == _AT_ONCE or conditions > _CONDITIONS):
            yield _piece("subscription", batch, ahead)
            batch, conditions = [], len(where)
        batch.append(each)
    if batch:
        yield _piece("subscription", batch, ahead)
    endpoints = list(config.endpoints.values())
    for endpoint in endpoints:
        if (tls := endpoint.tls) is not None:
            yield from _shared_ahead(tls, ahead)
    for start in range(0, len(endpoints), _AT_ONCE):
        yield _piece("endpoint", endpoints[start : start + _AT_ONCE], ahead)
    for start in range(0, len(config.files), _FILES):
        yield _piece("files", config.files[start : start + _FILES])
    yield _piece("config", head)


def _shared_ahead(value: Tls | Template, ahead: dict[int, int]) -> Iterator[bytes]:
    if id(value) not in ahead:
        yield _piece("shared", (len(ahead), value))
        ahead[id(value)] = len(ahead)


def _pieces_ahead(where: Sequence[Condition], ahead: dict[int, int]) -> Iterator[bytes]:
    for condition in where:
        for among in _lists_in(condition.test):
            if len(among.written) > _VALUES:
                number = ahead[id(among)] = len(ahead)
                for start in range(0, len(among.written), _VALUES):
                    yield _piece("values", among.written[start : start + _VALUES])
                yield _piece("list", number)
    if len(where) > _CONDITIONS:
        for start in range(0, len(where), _CONDITIONS):
            chunk = where[start : start + _CONDITIONS]
            first = len(ahead)
            yield _piece("conditions", (first, chunk), ahead)
            ahead.update((id(each), first + n) for n, each in enumerate(chunk))


def _lists_in(test: Among | Operators | None) -> Iterator[Among]:
    while isinstance(test, Operators):
        test = test.negated
    if test is not None:
        yield test


def pieces_of_problems(problems: Sequence[Problem]) -> Iterator[bytes]:
    """Return what `received` raises a `ConfigError` for."""
    yield _piece("problems", tuple(problems))


def pieces_of_defect(where: str) -> Iterator[bytes]:
    """Return what `received` raises a `LoaderDefectError` for."""
    yield _piece("defect", where)


def received(raw: memoryview, known: Config | None = None) -> Parts[Config]:
    """Make a configuration of its pieces, in parts.

    What is equal in the configuration `known` is taken from there, as the very same object: so what
    is unchanged is known at a glance, and in memory once. Raises `ConfigError`,
    `LoaderDefectError`, or `IncompleteError` where the other process ended early.
    """
    subscriptions: dict[str, Subscription] = {}
    endpoints: dict[str, Endpoint] = {}
    files: list[FileRead] = []
    known_subscriptions = {} if known is None else known.subscriptions
    known_endpoints = {} if known is None else known.endpoints
    ahead = _Ahead(
        {
            *(each.tls for each in known_endpoints.values() if each.tls is not None),
            *(each.template for each in known_subscriptions.values() if each.template is not None),
        }
    )
    while raw:
        kind, value, raw = _next_piece(raw, ahead)
        match kind:
            case "values" | "list" | "conditions" | "shared":
                ahead.take(kind, value)
            case "subscription":
                for each in value:
                    subscriptions[each.name] = _same(known_subscriptions.get(each.name), each)
            case "endpoint":
                for each in value:
                    endpoints[each.url] = _same(known_endpoints.get(each.url), each)
            case "files":
                files += value
            case "problems":
                raise ConfigError(value)
            case "defect":
                raise LoaderDefectError(value)
            case _:
                return Config(
                    **value,
                    subscriptions=MappingProxyType(subscriptions),
                    endpoints=MappingProxyType(endpoints),
                    files=tuple(files),
                )
        yield
    raise IncompleteError


class _Ahead:
    """What went ahead, by its number. TLS settings and templates in `known` are taken from there."""

    def __init__(self, known: Iterable[Tls | Template]) -> None:
        self._known: dict[Tls | Template, Tls | Template] = {each: each for each in known}
        self._keys: set[Hashable] = set()
        self._written: list[Scalar] = []
        self._found: dict[int, Among | Condition | Tls | Template] = {}

    def take(self, kind: str, value: Any) -> None:  # noqa: ANN401 - as the kind has it
        """Take some of a list's values, the number of the list that they make, or what has numbers."""
        if kind == "values":
            self._keys.update(map(key_of, value))
            self._written += value
        elif kind == "list":
            self._found[value] = Among(frozenset(self._keys), tuple(self._written))
            self._keys, self._written = set(), []
        elif kind == "shared":
            number, setting = value
            self._found[number] = self._known.get(setting, setting)
        else:
            first, conditions = value
            self._found.update(enumerate(conditions, start=first))

    def __getitem__(self, number: int) -> Among | Condition | Tls | Template:
        return self._found[number]


class _Unpickler(pickle.Unpickler):
    def __init__(self, raw: memoryview, ahead: _Ahead) -> None:
        super().__init__(io.BytesIO(raw))
        self._ahead = ahead

    def persistent_load(self, number: int) -> Among | Condition | Tls | Template:
        return self._ahead[number]


def _same(known: T | None, new: T) -> T:
    return known if known is not None and known == new else new


def _piece(kind: str, value: object, ahead: dict[int, int] | None = None) -> bytes:
    buffer = io.BytesIO()
    buffer.write(bytes(_SIZE.size))
    _Pickler(buffer, ahead or {}).dump((kind, value))
    size = buffer.tell() - _SIZE.size
    buffer.seek(0)
    buffer.write(_SIZE.pack(size))
    return buffer.getvalue()


def _next_piece(raw: memoryview, ahead: _Ahead) -> tuple[str, Any, memoryview]:
    if len(raw) < _SIZE.size:
        raise IncompleteError
    (size,) = _SIZE.unpack_from(raw)
    end = _SIZE.size + size
    if len(raw) < end:
        raise IncompleteError
    kind, value = _Unpickler(raw[_SIZE.size : end], ahead).load()
    return kind, value, raw[end:]
