"""The keys of a subscription in a file that `relayd add` wrote, read back so that they can be changed."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Final

from relayd.config.included_file import read_whole
from relayd.config.yaml_nodes import YamlError
from relayd.config.yaml_text import parse_yaml

MOST_BYTES: Final = 256 * 1024
"""Of a file that is changed by a command. What people write, or a form, is far smaller."""


def written_keys(path: Path, name: str) -> bytes:
    """Return, as JSON, `keys` and the `digest` of the file in hex; or the `problem`, why there are none.

    Blocks on the disk.
    """
    try:
        raw = read_whole(path)
    except OSError as error:
        return _problem(f"{path} cannot be read: {error.strerror}")
    if len(raw) > MOST_BYTES:
        return _problem(f"{path} is larger than {MOST_BYTES // 1024} KiB: change it in an editor")
    try:
        document = parse_yaml(raw)
        faults = list(document.faults)
    except YamlError as error:
        faults = error.faults
    if faults:
        return _problem(f"{path}: {faults[0].message}")
    found = document.root.data
    keys = None
    match found:
        case {"subscriptions": {**section}, **others} if set(section) == {name} and not others:
            keys = section[name]
    if not isinstance(keys, dict):
        return _problem(f"{path} holds something else than the subscription {name}")
    return json.dumps({"keys": keys, "digest": sha256(raw).hexdigest()}).encode()


def _problem(words: str) -> bytes:
    return json.dumps({"problem": words}).encode()
