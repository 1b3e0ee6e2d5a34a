"""A template: the text of which the body is rendered that a subscription sends instead of the event."""

import struct
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Final

from relayd.core.form import JSON_TYPE, TEXT_TYPE

VARIABLES: Final = ("id", "type", "created", "data", "market_id", "api_version", "sentence")
"""The names that a template knows: the event's keys, and the sentence that `format:` sends."""

MAX_TEMPLATE_BYTES: Final = 64 * 1024
MAX_OUTPUT_BYTES: Final = 1024 * 1024
RENDER_S: Final = 1.0
"""Of a processor, for one rendering."""
RENDER_MB: Final = 64

# What the daemon and a renderer say to each other: see `template_renderer`.
JOB: Final = struct.Struct("=II")
RESULT: Final = struct.Struct("=BI")
OUTPUT: Final = 1
FAULT: Final = 2
MAX_FAULT_BYTES: Final = 1000
READY: Final = b"r"
TAKEN: Final = b"t"

_JSON_NAMES: Final = (".json", ".json.j2", ".json.jinja")


@dataclass(frozen=True)
class Template:
    """A template's text, as it was when the configuration was read from `file`."""

    file: str
    text: str = field(repr=False)

    @cached_property
    def digest(self) -> bytes:
        """The SHA-256 of the text."""
        return sha256(self.text.encode()).digest()

    @property
    def content_type(self) -> str:
        """What its output is, unless `headers:` say so: the file's name tells."""
        return JSON_TYPE if self.file.lower().endswith(_JSON_NAMES) else TEXT_TYPE
