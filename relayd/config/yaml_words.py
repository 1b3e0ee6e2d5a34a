"""PyYAML's syntax errors in plain words. Its two parsers, libyaml and its own, word them apart."""

import re
from typing import Final

_QUOTED = re.compile(r"'[^']{2,}'|\"[^\"]{2,}\"")

_PLAIN_WORDS: Final = (
    (
        "mapping values are not allowed",
        "there is a colon too many, or a line is indented wrongly",
        "put text with a colon in quotes, and line up the keys of one section",
    ),
    (
        "could not find expected ':'",
        "a key without its colon",
        "write `key: value`, with a space after the colon",
    ),
    (
        "alphabetic or numeric character",
        "`*` and `&` have a meaning of their own in YAML",
        'put it in quotes: "*"',
    ),
    ("unexpected end of stream", "the closing quote is missing", ""),
    (
        "unknown escape character",
        "a \\ in double quotes that is not an escape",
        "use single quotes",
    ),
    ("cannot start any token", "a value cannot begin with this", "put it in quotes"),
    (
        "did not find expected key",
        "the indentation does not fit the lines above, or a quote ended too early",
        "line up the keys of one section",
    ),
    (
        "expected <block end>",
        "the indentation does not fit the lines above, or a quote ended too early",
        "line up the keys of one section",
    ),
    (
        "block sequence entries are not allowed",
        "a list cannot begin here",
        "begin each `- item` on its own line",
    ),
    ("did not find expected '-'", "the indentation of this list changes", "line up its dashes"),
    ("did not find expected ',' or", "a bracket is not closed, or a comma is missing", ""),
    ("did not find expected node content", "a bracket is not closed, or a value is missing", ""),
    ("expected the node content", "a bracket is not closed, or a value is missing", ""),
    ("expected ',' or", "a bracket is not closed, or a comma is missing", ""),
)


def plain_words(problem: str, character: str) -> tuple[str, str]:
    """Return what a parser's message means, and a hint. Nothing from the file stands in it.

    `character` is the one at the place of the error, or empty: only one of the parsers names it.
    """
    if character == "\t" and "cannot start any token" in problem:
        return "a tab where only spaces are allowed", "indent with spaces"
    for sign, message, hint in _PLAIN_WORDS:
        if sign in problem:
            return message, hint
    # The parser quotes what it found, which could be part of a secret.
    return "YAML syntax: " + _QUOTED.sub("…", problem), ""
