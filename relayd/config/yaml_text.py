"""YAML text -> plain data, with the place of every key and value.

PyYAML's loaders drop duplicate keys, follow aliases without end, recurse, and read YAML 1.1, in
which `no` is a boolean and `1:30` is ninety. So only its parser is used, and the data is built
here: scalars as in YAML 1.2's core schema, with an error where 1.1 would read something else.
Keys are always text. Aliases share what they name, so data is never copied; how large it is when
walked is counted, and bounded.
"""

import re
from typing import Final, NoReturn, Protocol

import yaml

from relayd.config.problem import KeyPath
from relayd.config.yaml_nodes import Document, EmptyError, Fault, Node, Place, YamlError
from relayd.config.yaml_scalars import Refused, plain_value
from relayd.config.yaml_words import plain_words

MAX_BYTES: Final = 4 * 1024 * 1024
MAX_NODES: Final = 200_000
"""Keys and values in the file with every alias followed: 10,000 subscriptions have half of it."""
MAX_DEPTH: Final = 32

# libyaml is ten times faster, and not in every build of PyYAML.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# What the parser may read: YAML 1.2, section 5.1.
_UNREADABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def parse_yaml(raw: bytes) -> Document:
    """Return the one document in `raw`.

    Raises `YamlError` where it cannot be understood as a whole: syntax, encoding, size, aliases
    without end. A value or key that is refused stays in the data as text, so that the rest can be
    checked. Time and memory are bounded by `MAX_BYTES` and `MAX_NODES`.
    """
    if len(raw) > MAX_BYTES:
        raise YamlError([Fault(None, (), f"the file is larger than {MAX_BYTES // 2**20} MiB")])
    text = _decode(raw)
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        raise YamlError([*builder.faults, _syntax_fault(error, text)]) from None
    except yaml.YAMLError:
        raise YamlError([Fault(None, (), "this is not YAML")]) from None
    if builder.root is None:
        raise EmptyError([Fault(None, (), "the file is empty", "`relayd init` writes a first one")])
    return Document(builder.root, tuple(builder.faults))


def _decode(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8", "replace")
        raise YamlError(
            [Fault(_place_after(before), (), "this is not text in UTF-8", "save it as UTF-8")]
        ) from None
    unreadable = _UNREADABLE.search(text)
    if unreadable is not None:
        code = f"U+{ord(unreadable[0]):04X}"
        place = _place_after(text[: unreadable.start()])
        raise YamlError([Fault(place, (), f"a character that YAML cannot hold ({code})")])
    return text


def _place_after(text: str) -> Place:
    return Place(text.count("\n") + 1, len(text) - text.rfind("\n"))


class _Mark(Protocol):
    """What the marks of both of PyYAML's parsers have."""

    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


def _place(mark: _Mark | None) -> Place:
    return Place(1, 1) if mark is None else Place(mark.line + 1, mark.column + 1)


def _syntax_fault(error: yaml.MarkedYAMLError, text: str) -> Fault:
    place = _place(error.problem_mark or error.context_mark)
    lines = text.split("\n")
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    message, hint = plain_words(error.problem or error.context or "", line[place.column - 1 :][:1])
    return Fault(place, (), message, hint)


class _Builder:
    """Builds nodes from the parser's events, with a stack of its own: depth costs no recursion."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self.faults: list[Fault] = []
        self._open: list[Node] = []
        self._anchors: dict[str, Node] = {}
        self._size = 0
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        """Take one event. Raises `YamlError` where going on makes no sense."""
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    self._stop(event, "a second document begins here", "keep one, without `---`")
            case yaml.AliasEvent():
                self._take_alias(event)
            case yaml.ScalarEvent():
                self._take_scalar(event)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._take_start(event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._close()
            case _:
                pass

    def _stop(self, event: yaml.Event, message: str, hint: str = "") -> NoReturn:
        fault = Fault(_place(event.start_mark), self._path(), message, hint)
        raise YamlError([*self.faults, fault])

    def _fault(self, place: Place, path: KeyPath, message: str, hint: str = "") -> None:
        self.faults.append(Fault(place, path, message, hint))

    def _path(self) -> KeyPath:
        """Return the path of the value that comes next."""
        if not self._open:
            return ()
        parent = self._open[-1]
        if isinstance(parent.data, list):
            return (*parent.path, len(parent.data))
        return parent.path if parent.pending_key is None else (*parent.path, parent.pending_key[0])

    def _at_key(self) -> bool:
        return (
            bool(self._open)
            and isinstance(self._open[-1].data, dict)
            and self._open[-1].pending_key is None
        )

    def _count(self, event: yaml.Event, size: int, height: int) -> None:
        self._size += size
        if self._size > MAX_NODES:
            self._stop(event, f"more than {MAX_NODES} keys and values, with all aliases followed")
        if len(self._open) + height > MAX_DEPTH:
            self._stop(event, f"nested more than {MAX_DEPTH} levels deep")

    def _take_scalar(self, event: yaml.ScalarEvent) -> None:
        self._count(event, 1, 0)
        place = _place(event.start_mark)
        if event.tag is not None and event.tag != "!":
            self._refuse_tag(event)
        if self._at_key():
            self._take_key(event, place)
            return
        path = self._path()
        # The tag "!" means: not to be resolved, as quotes do.
        plain = event.implicit[0] and event.tag is None
        data = self._resolve(event.value, place, path) if plain else event.value
        self._attach(Node(data, place, path, anchor=event.anchor))

    def _take_key(self, event: yaml.ScalarEvent, place: Place) -> None:
        parent = self._open[-1]
        key, path = event.value, (*parent.path, event.value)
        if event.value == "<<" and event.implicit[0]:
            # What would be merged is missing in the section: the fault is the whole section's.
            self._fault(
                place,
                parent.path,
                "merge keys are not read",
                "what all subscriptions share: `defaults:`",
            )
        first = parent.key_places.get(key)
        if first is not None:
            self._fault(
                place,
                path,
                f"duplicate key, first defined at line {first.line}, column {first.column}",
                "keep one of them",
            )
        parent.pending_key = (key, place)
        if event.anchor is not None:
            self._anchors[event.anchor] = Node(key, place, path)

    def _take_start(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        if event.tag is not None and event.tag != "!":
            self._refuse_tag(event)
        if self._at_key():
            self._stop(
                event,
                "a key must be plain text",
                "a template that was not filled in? Put text with { or [ in quotes",
            )
        self._count(event, 1, 1)
        data: object = {} if isinstance(event, yaml.MappingStartEvent) else []
        node = Node(data, _place(event.start_mark), self._path(), anchor=event.anchor)
        if event.anchor is not None:
            # Known from here, so that an alias inside it is seen to be a circle.
            self._anchors[event.anchor] = node
        self._open.append(node)

    def _take_alias(self, event: yaml.AliasEvent) -> None:
        node = self._anchors.get(event.anchor or "")
        if node is None:
            self._stop(
                event,
                "`*` begins an alias, and no anchor has this name",
                "put text with * in quotes",
            )
        if node in self._open:
            self._stop(event, "an alias inside its own anchor")
        if self._at_key():
            self._stop(event, "an alias cannot be a key")
        self._count(event, node.size, node.height)
        self._attach(node)

    def _refuse_tag(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        self._fault(
            _place(event.start_mark),
            self._path(),
            "tags (a word that begins with !) are not read",
            "put text that begins with ! in quotes",
        )

    def _close(self) -> None:
        self._attach(self._open.pop())

    def _attach(self, node: Node) -> None:
        """Put a finished node into the one that is open."""
        if node.anchor is not None:
            self._anchors[node.anchor] = node
        if not self._open:
            self.root = node
            return
        parent = self._open[-1]
        position: str | int
        if isinstance(parent.data, list):
            position = len(parent.data)
            parent.data.append(node.data)
        elif isinstance(parent.data, dict) and parent.pending_key is not None:
            position, key_place = parent.pending_key
            parent.pending_key = None
            parent.data[position] = node.data
            # The first of two equal keys keeps its place: a third is told where the first is.
            parent.key_places.setdefault(position, key_place)
        parent.children[position] = node
        parent.size += node.size
        parent.height = max(parent.height, node.height + 1)

    def _resolve(self, text: str, place: Place, path: KeyPath) -> object:
        value = plain_value(text)
        if isinstance(value, Refused):
            self._fault(place, path, value.message, value.hint)
            return text
        return value
