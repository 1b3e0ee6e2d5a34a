"""The data of an event, from the options `--object`, `--file` and `--sample`."""

import json
from typing import BinaryIO

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
