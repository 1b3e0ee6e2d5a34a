"""The options that describe a subscription, as its keys in the configuration, and back again."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

_A_CONDITION: Final = "write a path, a colon, a space and a value, as 'data.object.currency: usd'"
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
    # Only where there is a condition: PyYAML takes as long to load as all else here.
    from relayd.config.yaml_nodes import YamlError  # noqa: PLC0415 - see above
    from relayd.config.yaml_text import parse_yaml  # noqa: PLC0415 - see above

    found: dict[str, object] = {}
    for text in given:
        if not text.strip():
            raise click.UsageError(f"--where {text!r}: {_A_CONDITION}")
        try:
            document = parse_yaml(text.encode(errors="surrogateescape"))
            faults = list(document.faults)
        except YamlError as error:
            faults = error.faults
        if faults:
            where = "" if faults[0].place is None else f" at column {faults[0].place.column}"
            hint = f" ({faults[0].hint})" if faults[0].hint else ""
            raise click.UsageError(f"--where {text!r}{where}: {faults[0].message}{hint}")
        conditions = document.root.data
        # `path=value`, or what is left of a list of fields, would be a condition that never holds.
        if not isinstance(conditions, dict) or any(set("={}<>") & set(each) for each in conditions):
            raise click.UsageError(f"--where {text!r}: {_A_CONDITION}")
        for path, wanted in conditions.items():
            if path in found:
                raise click.UsageError(f"--where: there are two conditions on {path}")
            found[path] = wanted
    return found
