"""What commands print and ask: text that no terminal takes for a command, tables, JSON, questions."""

import json
import os
import re
import select
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Sequence

import click

from relayd.cli.command_error import CommandError
from relayd.core.shown_json import json_printable

# A command in backticks is one word: it is copied whole.
_WORDS = re.compile(r"(?:`(?:sudo )?relayd [^`\n]*`|\S)+")


def print_json(document: object) -> None:
    """Print one JSON document: keys in the order given, characters as they are, if printable."""
    click.echo(json_text(document, indent=2))


def print_json_line(document: object) -> None:
    """Print one JSON document in one line."""
    click.echo(json_text(document))


def json_text(document: object, indent: int | None = None) -> str:
    r"""Return a JSON document in which what is not printable is escaped, as `\u001b`."""
    return json_printable(json.dumps(document, indent=indent, ensure_ascii=False))


def printable(text: str) -> str:
    r"""Return text as a terminal may show it: what is not printable is escaped, as `\x1b`."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )


def sentence(text: str) -> str:
    """Return text with a full stop, unless it ends with a question mark."""
    return text if text.endswith("?") else f"{text}."


def width() -> int:
    """Return how many columns there are to print in: 80 where nobody looks, at most 100."""
    return min(shutil.get_terminal_size().columns, 100)


def wrapped(text: str, indent: str = "", *, first: str | None = None) -> str:
    """Return printable text broken into lines that fit, each behind `indent`.

    `first` stands before the first line in place of `indent`. A word is text without a space, or a command
    in backticks: long ones stay whole, so that they can be copied, except for text in other scripts, which may
    have no spaces.
    """
    columns = width()
    line = indent if first is None else first
    lines: list[str] = []
    used, empty = columns_of(line), True
    for word in _words(printable(text), columns - columns_of(indent)):
        size = columns_of(word)
        if not empty and used + 1 + size > columns:
            lines.append(line)
            line, used, empty = indent, columns_of(indent), True
        if not empty:
            line, used = f"{line} ", used + 1
        line, used, empty = line + word, used + size, False
    lines.append(line)
    return "\n".join(lines)


def packed(parts: Iterable[str], indent: str = "") -> list[str]:
    """Return printable parts, two spaces between them, in lines that fit. No part is broken."""
    columns = width()
    lines: list[str] = []
    for part in map(printable, parts):
        if lines and columns_of(lines[-1]) + 2 + columns_of(part) <= columns:
            lines[-1] += f"  {part}"
        else:
            lines.append(indent + part)
    return lines


def columns_of(text: str) -> int:
    """Return how many columns of a terminal a text takes: Chinese characters and most emoji take two."""
    if text.isascii():
        return len(text)
    # Loaded where it is needed: most of what commands print is ASCII.
    from rich.cells import cell_len  # noqa: PLC0415 - see above

    return cell_len(text)


def padded(text: str, columns: int) -> str:
    """Return text with spaces behind it, up to so many columns."""
    return text + " " * (columns - columns_of(text))


def _words(text: str, most: int) -> Iterator[str]:
    for word in _WORDS.findall(text):
        if word.isascii() or columns_of(word) <= most:
            yield word
        else:
            yield from _pieces(word, max(2, most))


def _pieces(word: str, most: int) -> Iterator[str]:
    from rich.cells import chop_cells  # noqa: PLC0415 - see columns_of

    yield from chop_cells(word, most)


def pause(seconds: float) -> bool:
    """Wait, and tell whether anybody still reads what is printed: a pipe may be closed meanwhile."""
    try:
        descriptor = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):  # closed, or no file at all
        time.sleep(seconds)
        return True
    poll = select.poll()
    poll.register(descriptor, 0)  # errors and hang-ups are told without being asked for
    return not poll.poll(seconds * 1000)


def print_lines(lines: Iterable[str]) -> None:
    """Print lines, each when it is there."""
    for line in lines:
        click.echo(line)


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under a header: as wide as the terminal allows there, aligned text elsewhere.

    Columns whose cells are all numbers are aligned to the right.
    """
    shown = [[printable(cell) for cell in row] for row in rows]
    right = [
        bool(shown) and all(re.fullmatch(r"[\d.,]*", row[column]) for row in shown)
        for column in range(len(header))
    ]
    if sys.stdout.isatty():
        _print_rich_table(header, shown, right)
        return
    widths = [max(map(columns_of, column)) for column in zip(header, *shown, strict=True)]
    for row in (header, *shown):
        cells = [
            cell.rjust(size) if at_right else padded(cell, size)
            for cell, size, at_right in zip(row, widths, right, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())


def _print_rich_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool]
) -> None:
    # Loaded here, since few commands print tables, and most of a command's start would be rich's.
    from rich.console import Console  # noqa: PLC0415 - see above
    from rich.table import Table  # noqa: PLC0415 - see above
    from rich.text import Text  # noqa: PLC0415 - see above

    style = "" if os.environ.get("NO_COLOR") else "bold"
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=style)
    for name, at_right in zip(header, right, strict=True):
        table.add_column(name, justify="right" if at_right else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console(highlight=False).print(table)


def confirm(question: str, *, yes: bool) -> None:
    """Ask on a terminal, unless `yes`; refuse where nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Cannot ask for confirmation here: use --yes.")
    if not click.confirm(question, err=True):
        raise CommandError("nothing was changed", code="declined")
