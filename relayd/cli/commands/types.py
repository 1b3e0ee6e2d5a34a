"""`types`: the catalogue of event types, each with a sample."""

from pathlib import Path

import click

from relayd.cli.options import complete_event_types, json_option, optional_config_option
from relayd.cli.terminal import print_json, printable
from relayd.cli.terminal import print_table as table_of
from relayd.config.problem import ConfigError
from relayd.core.catalogue import (
    EMAIL_TYPES,
    EVENT_TYPES,
    RELAYD_TYPES,
    description,
    sample,
    suggest,
)
from relayd.core.json_text import JsonValue

SAMPLE_ID = "evt_0b6e2a9b51e3f1a5ef1b77f0b3d3a9c1"
_FROM = dict.fromkeys(RELAYD_TYPES, "relayd") | dict.fromkeys(EMAIL_TYPES, "inbound")
SAMPLE_CREATED = 1_704_882_600


@click.command(
    epilog="""\b
Examples:
  relayd types
  relayd types order.created
  relayd types --json
""",
)
@click.argument("event_type", metavar="[TYPE]", required=False, shell_complete=complete_event_types)
@json_option
@optional_config_option
def types(event_type: str | None, as_json: bool, config_path: Path | None) -> None:
    """List the event types, or show one with a sample event as receivers get it.

    With a configuration, your market's own types (event_types:) are listed as well.
    """
    if event_type is not None:
        _show(event_type, as_json=as_json)
        return
    own, prefixes = _own_types(config_path)
    if as_json:
        print_json(
            {
                "types": [*map(_document, (*EVENT_TYPES, *RELAYD_TYPES)), *map(_own, own)],
                "patterns": prefixes,
            }
        )
        return
    rows = [(each, description(each)) for each in (*EVENT_TYPES, *RELAYD_TYPES)]
    rows += [(each, "Your own: event_types:") for each in own]
    rows += [(each, "All that inbound: takes and does not rename.") for each in prefixes]
    table_of(("TYPE", "MEANING"), rows)
    click.echo()
    click.echo("`relayd types TYPE` shows a sample. The types relayd.* are relayd's own events,")
    click.echo('which "*" does not match.')


def _show(event_type: str, *, as_json: bool) -> None:
    known = (*EVENT_TYPES, *RELAYD_TYPES)
    if event_type not in known:
        near = suggest(event_type, known)
        hint = f"did you mean {near}?" if near else "`relayd types` lists them"
        raise click.ClickException(f"there is no {printable(event_type)} in the catalogue; {hint}")
    if as_json:
        print_json(_document(event_type))
        return
    click.echo(f"{click.style(event_type, bold=True)}: {description(event_type)}")
    click.echo()
    print_json(_event(event_type))
    if event_type in EVENT_TYPES:
        click.echo(f"\nTo hand it over: relayd emit {event_type} --sample")


def _document(event_type: str) -> dict[str, JsonValue]:
    return {
        "type": event_type,
        "description": description(event_type),
        "from": _FROM.get(event_type, "market"),
        "sample": _event(event_type),
    }


def _own(event_type: str) -> dict[str, JsonValue]:
    return {"type": event_type, "description": None, "from": "configuration", "sample": None}


def _event(event_type: str) -> dict[str, JsonValue]:
    """Return a sample of the whole event, with the keys in the order of the wire."""
    return {
        "id": SAMPLE_ID,
        "type": event_type,
        "created": SAMPLE_CREATED,
        "data": sample(event_type),
        "market_id": "market_123",
        "api_version": "2024-01-01",
    }


def _own_types(config_path: Path | None) -> tuple[list[str], list[str]]:
    """Return the types that the configuration declares, and the patterns of those that inbound: takes."""
    if config_path is None:
        return [], []
    # Loaded here: the configuration's parts take longer to load than the catalogue to print.
    from relayd.config.partial import read_places  # noqa: PLC0415 - see above

    try:
        places = read_places(config_path)
    except ConfigError:
        click.echo(
            f"Note: {config_path} cannot be read (`relayd check` shows why); "
            "its own types are left out.",
            err=True,
        )
        return [], []
    known = places.event_types - {*EVENT_TYPES, *RELAYD_TYPES}
    return sorted(known), [f"{each}*" for each in places.type_prefixes]
