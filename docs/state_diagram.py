"""Writes the states of deliveries and of holds into docs/architecture.md, from relayd/core.

`make docs` runs it. With `--check` it changes nothing, and fails when the page is not up to date.
"""  # noqa: INP001 - a script

import ast
import difflib
import inspect
import sys
import textwrap
from enum import StrEnum
from pathlib import Path

from relayd.core.delivery import ENDED, TRANSITIONS, WAITING, Change, State
from relayd.core.hold import HOLD_TRANSITIONS, Hold, HoldChange

PAGE = Path(__file__).with_name("architecture.md")
BEGIN, END = "<!-- states: written by make docs -->\n", "<!-- /states -->\n"
_WIDTH = 108


def descriptions(members: type[StrEnum]) -> dict[str, str]:
    """Return what is written below each member of an enumeration, in one line each."""
    [definition] = ast.parse(inspect.getsource(members)).body
    assert isinstance(definition, ast.ClassDef)
    found, name = {}, ""
    for node in definition.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = members[node.targets[0].id].value
        elif name and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            found[name] = " ".join(str(node.value.value).split())
    missing = [member.value for member in members if member.value not in found]
    if missing:
        raise ValueError(f"{members.__name__}: no description below {', '.join(missing)}")
    return found


def diagram() -> str:
    """Return the deliveries' transitions as a Mermaid diagram, which can be read as text as well."""
    ways: dict[tuple[State, State], list[Change]] = {}
    for (origin, change), target in TRANSITIONS.items():
        ways.setdefault((origin, target), []).append(change)
    origins = {origin for origin, _ in TRANSITIONS}
    lines = [f"    [*] --> {State.PENDING}: make"]
    lines += [f"    {a} --> {b}: {', '.join(changes)}" for (a, b), changes in ways.items()]
    lines += [f"    {state} --> [*]: retention" for state in State if state in ENDED]
    unknown = origins - WAITING - ENDED
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: neither waiting nor ended")
    return _drawn(lines)


def hold_diagram() -> str:
    """Return the holds' transitions in the same way. Where a hold begins and ends, there is none."""
    ways: dict[tuple[str, str], list[HoldChange]] = {}
    for (origin, change), target in HOLD_TRANSITIONS.items():
        ways.setdefault((origin or "[*]", target or "[*]"), []).append(change)
    return _drawn([f"    {a} --> {b}: {', '.join(changes)}" for (a, b), changes in ways.items()])


def _drawn(lines: list[str]) -> str:
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"])


def section() -> str:
    """Return what belongs between the page's two marks."""
    first = {"make": "The delivery is made with its event, or later by `relayd replay --backfill`."}
    return "\n".join(
        [
            diagram(),
            "",
            _list({**first, **descriptions(Change)}),
            "",
            "What each state means, who moves a delivery on, and what a crash leaves:",
            "",
            _list(descriptions(State)),
            "",
            "A subscription's holds. Each begins and ends by itself, and nothing is held where there is none:",
            "",
            hold_diagram(),
            "",
            _list(descriptions(HoldChange)),
            "",
            "What each hold means, what ends it, and what a crash leaves. Of several in force at once, the first",
            "in this order is shown:",
            "",
            _list(descriptions(Hold)),
            "",
        ]
    )


def _list(entries: dict[str, str]) -> str:
    return "\n".join(
        textwrap.fill(
            f"- `{name}`: {text}",
            _WIDTH,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for name, text in entries.items()
    )


def updated(page: str) -> str:
    """Return the page with its section as it should be."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks {BEGIN.strip()} or {END.strip()}")
    return f"{before}{begin}\n{section()}\n{end}{after}"


def main(arguments: list[str]) -> int:
    """Update the page, or compare it: `[--check] [PAGE]`."""
    check = "--check" in arguments
    [path] = [Path(each) for each in arguments if each != "--check"] or [PAGE]
    page = path.read_text()
    wanted = updated(page)
    if not check:
        path.write_text(wanted)
        return 0
    changes = difflib.unified_diff(page.splitlines(), wanted.splitlines(), lineterm="", n=0)
    for line in changes:
        print(line)  # noqa: T201 - a script
    return int(page != wanted)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
