"""YAML text -> plain data, with the place of every key and value.

PyYAML's loaders drop duplicate keys, follow aliases without end, recurse, and read YAML 1.1, in
which `no` is a boolean and `1:30` is ninety. So only its parser is used, and the data is built
here: scalars as in YAML 1.2's core schema, with an error where 1.1 would read something else.
Keys are always text. Aliases share what they name, so data is never copied; how large it is when
walked is counted, and bounded.
"""

import math
import re
from dataclasses import dataclass, field
from typing import Final, NoReturn, Protocol

import yaml

from relayd.config.problem import KeyPath

MAX_BYTES: Final = 4 * 1024 * 1024
MAX_NODES: Final = 100_000
"""Values in the file with every alias followed. The largest sensible configuration has a tenth."""
MAX_DEPTH: Final = 32
MAX_DIGITS: Final = 100

# libyaml is ten times faster, and not in every build of PyYAML.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS: Final = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}

_AS_TEXT = "put it in quotes if it is text"
_TRAPS: Final = (
    (
        re.compile(r"yes|no|on|off|y|n", re.IGNORECASE),
        "some programs read this word as true or false",
        "write true or false, or put it in quotes",
    ),
    (
        re.compile(r"[-+]?0[0-9_]+"),
        "some programs read a number that begins with 0 as octal",
        "put it in quotes, or write it without the 0",
    ),
    (
        re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"),
        "some programs read this as a number in base 60",
        "put it in quotes",
    ),
    (re.compile(r"[-+]?0b[01_]+"), "some programs read this as a binary number", _AS_TEXT),
    (
        re.compile(r"[-+]?(0x[0-9a-fA-F]*_[0-9a-fA-F_]*|[0-9]+_[0-9_]*(\.[0-9_]*)?)"),
        "some programs read this as a number",
        "write a number without _, or put it in quotes if it is text",
    ),
    (_NOT_FINITE, "an event cannot hold this number", _AS_TEXT),
)

# What the parser may read: YAML 1.2, section 5.1.
_UNREADABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_PLAIN_WORDS: Final = (
    ("found character '\\t'", "a tab stands where only spaces may", "indent with spaces"),
    (
        "mapping values are not allowed",
        "there is a colon too many, or a line is indented wrongly",
        "put text with a colon in quotes, and line up the keys of one section",
    ),
    (
        "could not find expected ':'",
        "a key without its colon",
        "write `key: value`, with a space after the colon",
    ),
    (
        "alphabetic or numeric character",
        "`*` and `&` have a meaning of their own in YAML",
        'put it in quotes: "*"',
    ),
    ("unexpected end of stream", "the closing quote is missing", ""),
    ("unknown escape character", "a \\ in double quotes that means nothing", "use single quotes"),
    ("that cannot start any token", "a value cannot begin with this", "put it in quotes"),
    (
        "did not find expected key",
        "the indentation does not fit the lines above, or a quote ended too early",
        "line up the keys of one section",
    ),
    (
        "expected <block end>",
        "the indentation does not fit the lines above, or a quote ended too early",
        "line up the keys of one section",
    ),
    (
        "block sequence entries are not allowed",
        "a list cannot begin here",
        "begin each `- item` on a line of its own",
    ),
    ("did not find expected '-'", "the indentation of this list changes", "line up its dashes"),
    ("did not find expected ',' or", "a bracket is not closed, or a comma is missing", ""),
    ("expected ',' or", "a bracket is not closed, or a comma is missing", ""),
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in the file; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong in the YAML itself."""

    place: Place | None
    path: KeyPath
    message: str
    hint: str = ""


class YamlError(Exception):
    """The text is no YAML that relayd reads. Holds every fault that was found."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        super().__init__("; ".join(fault.message for fault in faults))


@dataclass(slots=True, eq=False)
class Node:
    """A value with its place. `data` is what it means; an aliased node has several parents.

    `size` counts the nodes in it with aliases followed, `height` the levels below it. `path` is
    where it was first met.
    """

    data: object
    place: Place
    path: KeyPath
    children: dict[str | int, "Node"] = field(default_factory=dict, repr=False)
    key_places: dict[str | int, Place] = field(default_factory=dict, repr=False)
    size: int = 1
    height: int = 0
    anchor: str | None = None
    pending_key: tuple[str, Place] | None = None

    def place_of(self, path: KeyPath) -> Place:
        """Return where the value at `path` stands, or the nearest place above it that exists."""
        node = self
        for part in path:
            child = node.children.get(part)
            if child is None:
                return node.place
            node = child
        return node.place

    def place_of_key(self, path: KeyPath) -> Place:
        """Return where the last key of `path` stands, or the nearest place above it."""
        node, place = self, self.place
        for part in path:
            place = node.key_places.get(part, node.place)
            child = node.children.get(part)
            if child is None:
                return place
            node = child
        return place


def parse_yaml(raw: bytes) -> Node:
    """Return the one document in `raw`, a mapping or otherwise.

    Raises `YamlError`: with one fault where the text cannot be parsed, with all of them where
    single values or keys are at fault. Time and memory are bounded by `MAX_BYTES` and `MAX_NODES`.
    """
    if len(raw) > MAX_BYTES:
        raise YamlError([Fault(None, (), f"the file is larger than {MAX_BYTES // 2**20} MiB")])
    text = _decode(raw)
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        raise YamlError([*builder.faults, _syntax_fault(error)]) from None
    except yaml.YAMLError:
        raise YamlError([Fault(None, (), "this is not YAML")]) from None
    if builder.root is None:
        raise YamlError([Fault(None, (), "the file is empty", "`relayd init` writes a first one")])
    if builder.faults:
        raise YamlError(builder.faults)
    return builder.root


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


def _syntax_fault(error: yaml.MarkedYAMLError) -> Fault:
    place = _place(error.problem_mark or error.context_mark)
    problem = error.problem or error.context or ""
    for sign, message, hint in _PLAIN_WORDS:
        if sign in problem:
            return Fault(place, (), message, hint)
    # The parser quotes what it found, which could be part of a secret.
    return Fault(place, (), "YAML syntax: " + re.sub(r"'[^']{2,}'|\"[^\"]{2,}\"", "…", problem))


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
            self._stop(event, f"more than {MAX_NODES} values, with all aliases followed")
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
            self._fault(
                place, path, "merge keys are not read", "what all subscriptions share: `defaults:`"
            )
        first = parent.key_places.get(key)
        if first is not None:
            self._fault(
                place,
                path,
                f"the key stands twice: here and in line {first.line}, column {first.column}",
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
            self._stop(event, "an alias inside what it names")
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
        """Return what a plain scalar means in YAML 1.2's core schema."""
        if text in _NULL:
            return None
        if text in _BOOLEANS:
            return _BOOLEANS[text]
        for trap, message, hint in _TRAPS:
            if trap.fullmatch(text):
                self._fault(place, path, message, hint)
                return text
        return self._resolve_number(text, place, path)

    def _resolve_number(self, text: str, place: Place, path: KeyPath) -> object:
        number: object = text
        if len(text) > MAX_DIGITS:
            if _INT.fullmatch(text):
                self._fault(place, path, f"a number of more than {MAX_DIGITS} digits", _AS_TEXT)
        elif _INT.fullmatch(text):
            base = {"0x": 16, "0o": 8}.get(text[:2], 10)
            number = int(text, base)
        elif _FLOAT.fullmatch(text):
            number = float(text)
            if not math.isfinite(number):
                self._fault(place, path, "the number is too large", _AS_TEXT)
        return number
