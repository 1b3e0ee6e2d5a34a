"""The data of an event, from the options `--object`, `--file`, `--sample` and `--set`."""

import json
import math
from collections.abc import Sequence
from typing import Any, BinaryIO, NoReturn

import click

from relayd.core.catalogue import EVENT_TYPES, sample, suggest
from relayd.core.js_json import JsonProblem, parse_json


def object_data(text: str) -> str:
    """Return data that has this JSON under `object`; end the command where it is not valid JSON."""
    # Checked by itself, so that `1}, "id": {` cannot slip out of the object.
    if isinstance(found := parse_json(text), JsonProblem):
        raise click.ClickException(f"--object: {found.reason}")
    return f'{{"object":{text}}}'


def file_bytes(file: BinaryIO) -> bytes:
    """Return what a file, or standard input, holds; end the command where it cannot be read."""
    try:
        return file.read()
    except OSError as error:
        raise click.ClickException(f"{file.name} cannot be read: {error.strerror}") from None


def file_data(file: BinaryIO) -> str:
    """Return the text of a file; end the command where it is not UTF-8."""
    try:
        return file_bytes(file).decode()
    except UnicodeDecodeError as error:
        raise click.ClickException(f"the file is not text in UTF-8: {error}") from error


def sample_data(event_type: str) -> str:
    """Return the catalogue's sample of this type; end the command where there is none."""
    try:
        return json.dumps(sample(event_type), ensure_ascii=False)
    except KeyError:
        near = suggest(event_type, EVENT_TYPES)
        hint = f"did you mean {near}?" if near else "`relayd types` lists those that have one"
        raise click.ClickException(f"there is no sample of {event_type}; {hint}") from None


def with_fields(text: str, fields: Sequence[str]) -> str:
    """Return data in which these fields are set, each as `data.object.total=9900`.

    What is behind the sign is JSON, or else text. Objects on the way are made where they are missing;
    a number is a place in a list. Ends the command where that cannot be done.
    """
    if isinstance(found := parse_json(text), JsonProblem):
        raise click.ClickException(f"the data is not valid JSON: {found.reason}")
    data = _loaded(text)
    for field in fields:
        _set(data, field)
    return json.dumps(data, ensure_ascii=False)


def _set(data: object, field: str) -> None:
    path, sign, written = field.partition("=")
    first, *keys = path.split(".")
    if not sign or first != "data" or not keys or "" in keys:
        raise click.UsageError(
            f"--set {field}: give a path and a value, as data.object.total=9900."
        )
    try:
        value = _loaded(written)
    except (ValueError, RecursionError):
        value = written
    here: Any = data
    for depth, key in enumerate(keys):
        at = ".".join(("data", *keys[:depth]))
        last = depth == len(keys) - 1
        if isinstance(here, dict):
            if last:
                here[key] = value
            else:
                here = here.setdefault(key, {})
        elif isinstance(here, list) and key.isascii() and key.isdigit() and len(key) < 10:
            if int(key) >= len(here):
                raise click.UsageError(f"--set {path}: {at} has {len(here)} elements, from 0 on.")
            if last:
                here[int(key)] = value
            else:
                here = here[int(key)]
        else:
            what = (
                "a list, whose elements have numbers" if isinstance(here, list) else "not an object"
            )
            raise click.UsageError(f"--set {path}: {at} is {what}.")


def _loaded(text: str) -> Any:  # noqa: ANN401 - any JSON
    return json.loads(text, parse_constant=_not_json, parse_float=_number)


def _not_json(name: str) -> NoReturn:
    raise ValueError(name)


def _number(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise click.UsageError(f"--set cannot be used with a number as large as {text[:20]}.")
    return number
