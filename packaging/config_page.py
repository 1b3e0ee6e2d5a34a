"""Prints config.yaml(5) in man's own form, made from the configuration's schema and its example."""  # noqa: INP001 - a script

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# Beside this script: Python finds it there, and mypy does not.
from man_page import escaped, listed, paragraphs  # type: ignore[import-not-found]

from relayd import __version__
from relayd.config.schema import json_schema

_EXAMPLE = Path(__file__).parents[1] / "config.example.yaml"
_DESCRIPTION = """\
relayd(1) reads one YAML file: where events come from, where they go, and how. A file with an error is refused
as a whole, and the configuration in force stays. An unknown key is an error. Relative paths are taken from the
file's directory. Durations are numbers with a unit: 500ms, 10s, 2m, 4h, 30d.

After a change: `relayd check`, then `relayd reload` or `systemctl reload relayd`. `relayd schema` prints the
file's JSON Schema, for editors.
"""
_FILES = {
    "--config FILE, $RELAYD_CONFIG": "The file that a command is given.",
    "./config.yaml": "Otherwise this one; as root only if it is root's.",
    "/etc/relayd/config.yaml": "Otherwise this one, which the Debian package installs.",
    "/usr/share/relayd/config.example.yaml": "The example above.",
    "/usr/share/relayd/config.schema.json": "The JSON Schema.",
}


class _Keys:
    """The keys of a JSON Schema, in its order, with the sections that they lead to."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = schema

    def resolved(self, described: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a description with its references followed; null is only for an empty section."""
        if reference := described.get("$ref"):
            target = self._schema["$defs"][reference.rpartition("/")[2]]
            return {**self.resolved(target), **_without(described, "$ref")}
        either = [each for each in described.get("anyOf", ()) if each != {"type": "null"}]
        if len(either) == 1:
            return {**self.resolved(either[0]), **_without(described, "anyOf")}
        return described

    def section(self, described: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
        """Return what a key's section adds to the path, and the section; None where it has no keys."""
        found = self.resolved(described)
        if "properties" in found:
            return "", found
        for named in (*found.get("patternProperties", {}).values(), found.get("additionalProperties")):  # fmt: skip
            if isinstance(named, dict) and "properties" in (section := self.resolved(named)):
                return ".NAME", section
        return None

    def entries(self, section: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
        """Yield each key's path with its text, without what is in sections of its own."""
        required = section.get("required", ())
        for key, described in section["properties"].items():
            found = self.resolved(described)
            text = [found.get("description", "")]
            if values := _values(found):
                text.append(values)
            default = described.get("default", found.get("default"))
            if default is not None and "Default:" not in text[0] and not self.section(described):
                text.append(f"Default: {json.dumps(default)}.")
            if key in required:
                text.append("Required.")
            yield path + key, " ".join(filter(None, text))

    def sections(
        self, section: Mapping[str, Any], path: str = ""
    ) -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
        """Yield the sections below one: path, description and entries."""
        for key, described in section["properties"].items():
            if inner := self.section(described):
                more, found = inner
                below = f"{path}{key}{more}"
                yield below, found.get("description", ""), list(self.entries(found))
                yield from self.sections(found, f"{below}.")

    def sources(self, section: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
        """Yield the path of each key that may be text or a mapping, and that mapping's name."""
        for key, described in section["properties"].items():
            text = json.dumps(_without(self.resolved(described), "properties"))
            if inner := self.section(described):
                yield from self.sources(inner[1], f"{path}{key}{inner[0]}.")
            elif found := re.search(r'"oneOf": .*"\$ref": "#/\$defs/(\w+)"', text):
                named = ".NAME" if "patternProperties" in text else ""
                yield f"{path}{key}{named}", found[1]


def _without(described: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in described.items() if name != key}


def _values(found: Mapping[str, Any]) -> str:
    """Return which values a key takes, where its description's own words may not say it."""
    if enum := found.get("enum"):
        return f"One of: {', '.join(map(str, enum))}."
    if found.get("type") == "boolean":
        return "true or false."
    if found.get("type") == "array":
        return "A list."
    return ""


def page() -> Iterator[str]:
    """Yield the page's lines."""
    schema = json_schema()
    keys = _Keys(schema)
    yield f'.TH CONFIG.YAML 5 "" "relayd {__version__}" "File Formats"'
    yield ".SH NAME\nconfig.yaml \\- the configuration of relayd"
    yield ".SH SYNOPSIS\n.I /etc/relayd/config.yaml"
    yield ".SH DESCRIPTION"
    yield from paragraphs(_DESCRIPTION)
    yield ".SH KEYS"
    yield from listed(dict(keys.entries(schema)))
    for path, description, entries in keys.sections(schema):
        yield f'.SS "{escaped(path)}"\n{escaped(description)}'
        yield from listed(dict(entries))
    sources = dict(keys.sources(schema))
    for name in dict.fromkeys(sources.values()):
        section = schema["$defs"][name]
        paths = ", ".join(path for path, source in sources.items() if source == name)
        yield f".SS Mappings in place of text\n{escaped(section['description'])}"
        yield escaped(f"It may be the value of {paths}.")
        yield from listed(dict(keys.entries(section)))
    yield ".SH EXAMPLE\nEvery key, with its default:\n.PP\n.nf"
    yield escaped(_EXAMPLE.read_text().rstrip("\n"))
    yield ".fi\n.SH FILES"
    yield from listed(_FILES)
    yield '.SH "SEE ALSO"\n.BR relayd (1),\n.BR systemd.exec (5)'


if __name__ == "__main__":
    sys.stdout.write("\n".join(page()) + "\n")
