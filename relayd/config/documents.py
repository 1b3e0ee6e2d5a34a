"""Reads the configuration file and those that it includes, as one document with each value's place."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from relayd.config.added_subscription import DUPLICATE, Added, no_place
from relayd.config.findings import Findings, fault_problem
from relayd.config.included import IncludedReader, NotIncluded, file_for, files_of
from relayd.config.problem import ConfigError, Problem, in_one_line
from relayd.config.queue_place import queue_path_in
from relayd.config.reading import FileContent, Unreadable, absolute, read_file
from relayd.config.yaml_nodes import Document, EmptyError, Node, YamlError
from relayd.config.yaml_text import MAX_BYTES, MAX_NODES, parse_yaml
from relayd.permissions import relayds_user

_LONGEST_PATH: Final = 400
_SUBSCRIPTIONS: Final = "subscriptions"


def read_documents(path: Path, added: Added | None = None) -> Findings:
    """Read the file at `path`, and those that it includes, with what is wrong in the YAML of each.

    Raises `ConfigError` where the file itself cannot be read. Blocks on the disk.
    """
    return documents_of(_read_main(path), path, added)


def documents_of(content: FileContent, path: Path, added: Added | None = None) -> Findings:
    """Return the same of what was read of the file itself."""
    document = _parsed(content, path)
    patterns = _patterns(document)
    file = None
    if added is not None:
        file = added.replaces or file_for(added.name, patterns, path.parent)
        if file is None:
            raise ConfigError([no_place(path)])
    joined = _Joined(document, path, content, _reader(document, path) if patterns else None)
    for each in files_of(patterns, path.parent):
        if isinstance(each, NotIncluded):
            joined.refuse(each)
        elif added is not None and each == added.replaces:
            joined.add_new(each, added.raw)
            file = None
        else:
            joined.read(each)
    if added is not None and file is not None:
        if added.replaces is None:
            joined.add_new(file, added.raw)
        else:
            joined.refuse(NotIncluded(file, "is not there any more, or not included"))
    return joined.findings


def place_of(name: str, path: Path) -> Path | None:
    """Return the file for a new subscription of the configuration at `path`, or None where none is.

    Raises `ConfigError`. Blocks on the disk.
    """
    document = _parsed(_read_main(path), path)
    return file_for(name, _patterns(document), path.parent)


def _read_main(path: Path) -> FileContent:
    # Where the working directory changes later, the daemon still finds the file.
    content = read_file(absolute(path), MAX_BYTES)
    if isinstance(content, Unreadable):
        hint = "`relayd init` writes a first one" if content.missing else "name a file to read"
        raise ConfigError([Problem(str(path), None, None, "", content.reason, hint)])
    return content


def _parsed(content: FileContent, path: Path) -> Document:
    try:
        return parse_yaml(content.raw)
    except YamlError as error:
        raise ConfigError([fault_problem(str(path), fault) for fault in error.faults]) from None


def _patterns(document: Document) -> list[str]:
    """Return what `include` says, as far as it is right; the rest is an error of its shape."""
    node = document.root.children.get("include")
    given = None if node is None else node.data
    values: Iterable[object] = given if isinstance(given, list) else [given]
    return [each for each in values if isinstance(each, str) and each and "\0" not in each]


def _reader(document: Document, path: Path) -> IncludedReader:
    queue = queue_path_in(document)
    return IncludedReader(path, relayds_user(None if queue is None else path.parent / queue))


class _Joined:
    """The documents read so far."""

    def __init__(
        self, document: Document, path: Path, content: FileContent, reader: IncludedReader | None
    ) -> None:
        own = document.root.children.get(_SUBSCRIPTIONS)
        self._section: Node | None = None
        root = document.root
        if own is None or own.data is None or isinstance(own.data, dict):
            # Copies: an alias may share what is in the file with another place.
            section = self._section = Node({}, root.place, (_SUBSCRIPTIONS,))
            if own is not None and isinstance(own.data, dict):
                section.place, section.data = own.place, dict(own.data)
                section.children, section.key_places = dict(own.children), dict(own.key_places)
        self.findings = Findings(str(path), document)
        self.findings.readable_by_all = content.readable_by_all
        self._path = path
        self._root = root
        self._reader = reader
        self._left = MAX_BYTES - len(content.raw)
        self._nodes = root.size
        self._full = False

    def refuse(self, what: NotIncluded) -> None:
        """Note that a file, or a folder, does not count: the configuration is incomplete."""
        self.findings.miss(
            Problem(_shown(what.path), None, None, "", in_one_line(what.message, 400), what.hint)
        )

    def read(self, path: Path) -> None:
        """Read one file, and join what is in it."""
        assert self._reader is not None
        if self._full:
            return
        content = self._reader.read(path, self._left)
        if isinstance(content, NotIncluded):
            self.refuse(content)
        else:
            self.add(path, content)

    def add_new(self, path: Path, raw: bytes) -> None:
        """Join what is to be in one file."""
        assert self._reader is not None
        if problem := self._reader.place_problem(path):
            self.refuse(problem)
        else:
            self.add(path, FileContent(raw, 0o600, 0, 0))

    def add(self, path: Path, content: FileContent) -> None:
        """Join what is in one file."""
        file = _shown(path)
        self._left -= len(content.raw)
        if self._left < 0:
            self._end(path, f"all files together are larger than {MAX_BYTES // 2**20} MiB")
            return
        try:
            document = parse_yaml(content.raw)
        except EmptyError:
            return  # all of it is a comment
        except YamlError as error:
            for fault in error.faults:
                self.findings.miss(fault_problem(file, fault))
            return
        self._nodes += document.root.size
        if self._nodes > MAX_NODES:
            self._end(path, f"more than {MAX_NODES} keys and values in all files together")
            return
        self._join(document, path, content)

    def _end(self, path: Path, message: str) -> None:
        self._full = True
        self.refuse(NotIncluded(path, message))

    def _join(self, document: Document, path: Path, content: FileContent) -> None:
        file, root = _shown(path), document.root
        if not isinstance(root.data, dict):
            self.findings.miss(
                _problem(file, root, "must be keys and values", "as `subscriptions: {…}`")
            )
            return
        for key, place in root.key_places.items():
            if key != _SUBSCRIPTIONS:
                self.findings.errors.append(
                    Problem(
                        file,
                        place.line,
                        place.column,
                        in_one_line(str(key), 100),
                        "an included file holds `subscriptions:` only",
                        f"move it to {_shown(self._path)}",
                    )
                )
        section = root.children.get(_SUBSCRIPTIONS)
        names: Iterable[str | int] = ()
        if section is not None and section.data is not None:
            if not isinstance(section.data, dict):
                problem = _problem(file, section, "must be keys and values", "", _SUBSCRIPTIONS)
                self.findings.miss(problem)
                return
            names = section.children
            for name in names:
                self._take(str(name), section, path, content)
        self.findings.note_faults(file, document.faults)

    def _take(self, name: str, section: Node, path: Path, content: FileContent) -> None:
        mine = self._section
        if mine is None:
            return  # what `subscriptions` is in the file itself is wrong, and an error
        place = section.key_places[name]
        if name in mine.children:
            key = ("subscriptions", name)
            self.findings.errors.append(
                Problem(
                    _shown(path),
                    place.line,
                    place.column,
                    f"subscriptions.{in_one_line(name, 100)}",
                    f"{DUPLICATE}, first defined at {self.findings.whole_place(key)}",
                    "rename or remove one of them",
                )
            )
            return
        assert isinstance(mine.data, dict)
        child = section.children[name]
        mine.data[name], mine.children[name] = child.data, child
        mine.key_places[name] = place
        # Only where there is something to join does the document have another section than its own.
        assert isinstance(self._root.data, dict)
        self._root.children[_SUBSCRIPTIONS] = mine
        self._root.data[_SUBSCRIPTIONS] = mine.data
        self._root.key_places.setdefault(_SUBSCRIPTIONS, self._root.place)
        self.findings.include(name, path, _shown(path), by_all=content.readable_by_all)


def _problem(file: str, node: Node, message: str, hint: str, key: str = "") -> Problem:
    return Problem(file, node.place.line, node.place.column, key, message, hint)


def _shown(path: Path) -> str:
    return in_one_line(str(path), _LONGEST_PATH)
