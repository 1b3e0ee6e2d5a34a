"""A configuration on its way from the process that read it to the daemon: in small pieces.

Each piece is pickled by itself, so that none takes long to read: unpickling a whole configuration
at once would stop the event loop for as long. Both ends are the same program, and nobody else can
write to what is between them. The TLS settings come first, each once: thousands of endpoints may
share one of 200 KB.
"""

import copyreg
import io
import pickle
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import IO, Any, Final, TypeVar

from relayd.config.config import Config
from relayd.config.problem import ConfigError, Problem
from relayd.core.endpoint import Endpoint
from relayd.core.parts import Parts
from relayd.core.secret import Secret
from relayd.core.subscription import Subscription
from relayd.core.tls import Tls

T = TypeVar("T")

_AT_ONCE: Final = 16  # 0.4 ms of unpickling
_SIZE: Final = struct.Struct("=I")


class LoaderDefectError(Exception):
    """Reading the configuration failed by a defect of relayd: its text says where, for the log."""


class IncompleteError(Exception):
    """The pieces end before the configuration does."""


class _Pickler(pickle.Pickler):
    # A Secret refuses to be pickled anywhere else.
    dispatch_table: dict[type, Callable[[Any], Any]] = {  # noqa: RUF012 - as pickle has it
        **copyreg.dispatch_table,
        Secret: lambda secret: (Secret, (secret.reveal(),)),
    }

    def __init__(self, file: IO[bytes], *, whole_tls: bool = False) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._whole_tls = whole_tls

    def persistent_id(self, obj: object) -> bytes | None:
        """Return what stands for an object that came before: a TLS setting's digest."""
        return obj.digest if isinstance(obj, Tls) and not self._whole_tls else None


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes], tls: Mapping[bytes, Tls]) -> None:
        super().__init__(file)
        self._tls = tls

    def persistent_load(self, pid: bytes) -> Tls:
        """Return the TLS setting with this digest."""
        return self._tls[pid]


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
        "allow_networks": config.allow_networks,
        "event_types": config.event_types,
        "warnings": config.warnings,
    }
    shared = {each.tls.digest: each.tls for each in config.endpoints.values() if each.tls}
    for setting in shared.values():
        yield _piece("tls", setting, whole_tls=True)
    for kind, things in (
        ("subscription", list(config.subscriptions.values())),
        ("endpoint", list(config.endpoints.values())),
    ):
        for start in range(0, len(things), _AT_ONCE):
            yield _piece(kind, things[start : start + _AT_ONCE])
    yield _piece("config", head)


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
    known_subscriptions = {} if known is None else known.subscriptions
    known_endpoints = {} if known is None else known.endpoints
    known_tls = {each.tls.digest: each.tls for each in known_endpoints.values() if each.tls}
    tls: dict[bytes, Tls] = {}
    while raw:
        kind, value, raw = _next_piece(raw, tls)
        match kind:
            case "tls":
                tls[value.digest] = known_tls.get(value.digest, value)
            case "subscription":
                for each in value:
                    subscriptions[each.name] = _same(known_subscriptions.get(each.name), each)
            case "endpoint":
                for each in value:
                    endpoints[each.url] = _same(known_endpoints.get(each.url), each)
            case "problems":
                raise ConfigError(value)
            case "defect":
                raise LoaderDefectError(value)
            case _:
                return Config(
                    **value,
                    subscriptions=MappingProxyType(subscriptions),
                    endpoints=MappingProxyType(endpoints),
                )
        yield
    raise IncompleteError


def _same(known: T | None, new: T) -> T:
    return known if known is not None and known == new else new


def _piece(kind: str, value: object, *, whole_tls: bool = False) -> bytes:
    buffer = io.BytesIO()
    buffer.write(bytes(_SIZE.size))
    _Pickler(buffer, whole_tls=whole_tls).dump((kind, value))
    size = buffer.tell() - _SIZE.size
    buffer.seek(0)
    buffer.write(_SIZE.pack(size))
    return buffer.getvalue()


def _next_piece(raw: memoryview, tls: Mapping[bytes, Tls]) -> tuple[str, Any, memoryview]:
    if len(raw) < _SIZE.size:
        raise IncompleteError
    (size,) = _SIZE.unpack_from(raw)
    end = _SIZE.size + size
    if len(raw) < end:
        raise IncompleteError
    # From this very program.
    kind, value = _Unpickler(io.BytesIO(raw[_SIZE.size : end]), tls).load()
    return kind, value, raw[end:]
