"""The options that describe a subscription, as its keys in the configuration, and back again."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

_OPTIONS: Final = {"subscription": "NAME", "secret": "--secret-file"}
_EXAMPLES: Final = {
    "--timeout": "--timeout 10s",
    "--rate-limit": "--rate-limit 100/min",
    "--retry": "--retry 2m,10m,1h",
}
_PLACE: Final = re.compile(r"retry\[([0-9]+)\]")


def keys_of(
    *,
    url: str,
    events: tuple[str, ...],
    secret_file: Path | None,
    where: tuple[str, ...],
    timeout: str | None,
    rate_limit: str | None,
    retry: str | None,
) -> dict[str, object]:
    """Return the subscription's keys in the configuration.

    Raises `click.UsageError` for a condition that is not one, and for no waits at all.
    """
    waits = None if retry is None else [] if retry.strip() in {"none", "[]"} else _listed([retry])
    if waits == [] and retry is not None and retry.strip() not in {"none", "[]"}:
        # As from a shell's variable that is not set: without retries a failed attempt is the last one.
        raise click.UsageError(
            f"--retry {retry!r}: there is no wait in it, for example {_EXAMPLES['--retry']}; `--retry none` for"
            " no retries."
        )
    secret = None if secret_file is None else {"file": os.path.abspath(secret_file)}  # noqa: PTH100 - keeps `..`
    keys = {
        "url": url,
        "events": _listed(events),
        "where": _conditions(where) or None,
        "secret": secret,
        "timeout": timeout,
        "rate_limit": rate_limit,
        "retry": waits,
    }
    return {key: value for key, value in keys.items() if value is not None}


def in_options(detail: Mapping[str, Any]) -> str:
    """Return what is wrong with a key, in terms of the option that gave it."""
    hint = f" ({detail['hint']})" if detail["hint"] else ""
    key = detail["key"]
    if key is None:
        place = "" if detail["line"] is None else f":{detail['line']}:{detail['column']}"
        return f"{detail['file']}{place}: {detail['message']}{hint}"
    head = re.split(r"[.\[]", key)[0]
    option = _OPTIONS.get(head, f"--{head.replace('_', '-')}")
    within = key.removeprefix(head).lstrip(".") if head == "where" else ""
    if (nth := _PLACE.match(key)) is not None:
        within = f"wait {int(nth[1]) + 1}"
    shape = option in _EXAMPLES and detail["message"].startswith("must be")
    example = f"; for example {_EXAMPLES[option]}" if shape else ""
    return f"{option}: {f'{within}: ' if within else ''}{detail['message']}{hint}{example}"


def _listed(given: Sequence[str]) -> list[str]:
    """Return what is between the commas."""
    return [each for text in given for each in re.split(r"[,\s]+", text.strip("[] \t")) if each]


def _conditions(given: Sequence[str]) -> dict[str, object]:
    """Return the conditions that these texts, each YAML, have together."""
    if not given:
        return {}
    # Only where there is a condition: PyYAML takes as long to load as all else here.
    from relayd.config.written_conditions import (  # noqa: PLC0415 - see above
        NotConditionsError,
        conditions_of,
    )

    try:
        return conditions_of(given)
    except NotConditionsError as error:
        raise click.UsageError(f"--where{error}") from None
