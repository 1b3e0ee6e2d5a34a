"""The strings of the package: what relayd logs, prints or raises, each with its place."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Text:
    """A piece of text that users see, with its place."""

    place: str
    text: str


def strings_of(path: Path) -> Iterator[Text]:
    """Yield a module's strings; docstrings and SQL's comments are not among them."""
    tree = ast.parse(path.read_text())
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    inner: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inner |= {id(each) for each in node.values}
            parts = (str(each.value) if isinstance(each, ast.Constant) else "…" for each in node.values)  # fmt: skip
            text = "".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = "" if id(node) in docstrings | inner else node.value
        else:
            continue
        words = " ".join(re.sub(r"-- .*", "", text).split())
        yield Text(f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}", words)
