"""What the YAML of a file says: each value with its place, and what is wrong in the YAML itself."""

from dataclasses import dataclass, field

from relayd.config.problem import KeyPath


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
    """The text is no YAML that relayd reads. Holds every fault up to where reading stopped."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        super().__init__("; ".join(fault.message for fault in faults))


class EmptyError(YamlError):
    """There is nothing in the text but comments and spaces."""


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
        """Return where the last key of `path` stands, or the last of its keys that exists."""
        node, place = self, self.place
        for part in path:
            child = node.children.get(part)
            if child is None:
                return place
            place = node.key_places.get(part, child.place)
            node = child
        return place


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says, and what is wrong with single keys and values in it."""

    root: Node
    faults: tuple[Fault, ...]
