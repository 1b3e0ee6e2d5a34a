"""Prints the part of the lock that relayd needs when it runs: pinned, with hashes."""  # noqa: INP001 - a script

import re
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def needed(dependencies: list[str]) -> set[str]:
    """Return the names of these packages and of those that they need, as installed here."""
    found: set[str] = set()
    waiting = [(text, frozenset[str]()) for text in dependencies]
    while waiting:
        text, extras = waiting.pop()
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        marker = requirement.marker
        if marker is not None and not any(
            marker.evaluate({"extra": extra}) for extra in extras or {""}
        ):
            continue
        if name not in found:
            found.add(name)
            below = frozenset(requirement.extras)
            waiting += [(each, below) for each in requires(name) or ()]
    return found


def main() -> None:
    """Read pyproject.toml and the lock, whose paths are the arguments; the names of extras follow."""
    project, lock = (Path(path).read_text() for path in sys.argv[1:3])
    extras = sys.argv[3:]
    entries = re.findall(r"^[a-z0-9][^\\\n]*(?:\\\n[^\\\n]*)*", lock, re.MULTILINE)
    parts = tomllib.loads(project)["project"]
    wanted = needed(
        parts["dependencies"]
        + [each for extra in extras for each in parts["optional-dependencies"][extra]]
    )
    kept = [each for each in entries if re.split(r"[\[=]", each)[0] in wanted]
    missing = wanted - {re.split(r"[\[=]", each)[0] for each in kept}
    if missing:
        sys.exit(f"not in the lock: {', '.join(sorted(missing))}")
    sys.stdout.write("\n".join(kept) + "\n")


main()
