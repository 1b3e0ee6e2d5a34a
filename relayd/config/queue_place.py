"""Where the queue is, found without checking all of the configuration.

Checking takes pydantic and httpx, which take three times as long to load as a status takes to show.
"""

import os
from pathlib import Path

from relayd.config.reading import FileContent, read_file
from relayd.config.sections import QueueConfig
from relayd.config.yaml_nodes import Document, YamlError
from relayd.config.yaml_text import MAX_BYTES, parse_yaml


def queue_place(config_path: Path) -> QueueConfig:
    """Return the queue's place; its retention only where it had to be checked.

    Raises `ConfigError` where the file does not say it well.
    """
    content = read_file(config_path, MAX_BYTES)
    if isinstance(content, FileContent) and (path := _plain_path(content.raw)) is not None:
        directory = os.path.dirname(os.path.abspath(config_path))  # noqa: PTH100, PTH120 - as config.load has it
        return QueueConfig(Path(directory) / path, 0.0)
    from relayd.config.partial import read_places  # noqa: PLC0415 - see above

    return read_places(config_path, "queue").queue


def _plain_path(raw: bytes) -> str | None:
    try:
        return queue_path_in(parse_yaml(raw))
    except YamlError:
        return None


def queue_path_in(document: Document) -> str | None:
    """Return what `queue.path` says in a document; None where that is not certain."""
    section = document.root.children.get("queue")
    node = None if section is None else section.children.get("path")
    if node is None or not isinstance(node.data, str) or not node.data:
        return None
    return None if any(fault.path[:1] == ("queue",) for fault in document.faults) else node.data
