"""`emit`: hands over an event, as a market's own programs do."""

import secrets
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import click

from relayd.cli.event_data import file_data, object_data, sample_data, with_fields
from relayd.cli.options import WholeNumber, config_option, json_option
from relayd.cli.producer_client import HandedOver, HandoverError, Outgoing, hand_over
from relayd.cli.terminal import print_json
from relayd.config.moments import MOMENT_FORMS, parse_seconds
from relayd.config.partial import read_places
from relayd.core.catalogue import suggest
from relayd.core.event import Event, EventDefaults, Rejection, SpoolRow
from relayd.core.event_input import event_from_row
from relayd.core.patterns import is_known
from relayd.core.samples import SAMPLES

MAX_COUNT = 1_000_000


@click.command(
    epilog="""\b
Examples:
  relayd emit order.created --sample
  relayd emit order.created --object '{"id":"order_456","total":2500}'
  relayd emit order.created --set data.object.total=9900
  jq -c . order.json | relayd emit order.created --file -
  relayd emit payment_intent.succeeded --as stripe
""",
)
@click.argument("event_type", metavar="TYPE")
@click.option(
    "--as",
    "provider",
    metavar="PROVIDER",
    help="Send it to the web process as a provider's webhook: stripe or mailgun, or the name of an entry of"
    " inbound:. TYPE is then relayd's or the provider's; without data, one of its samples is sent.",
)
@click.option("--to", "url", metavar="URL", help="With --as: where to. Default: `http.listen`.")
@click.option("--data", metavar="JSON", help="The event's data: a JSON object.")
@click.option("--object", "object_text", metavar="JSON", help="What the data has under `object`.")
@click.option("--file", type=click.File("rb"), help="A file that holds the data; - for stdin.")
@click.option("--sample", "use_sample", is_flag=True, help="The catalogue's sample of this type.")
@click.option(
    "--set",
    "fields",
    multiple=True,
    metavar="PATH=VALUE",
    help="Set a field of the data, such as data.object.total=9900 (repeatable). VALUE is JSON, or else"
    " text. Without other data, of the catalogue's sample.",
)
@click.option("--id", "event_id", metavar="ID", help="The event's id. Default: a new one.")
@click.option("--created", metavar="TIME", help=f"The event's time: {MOMENT_FORMS}.")
@click.option(
    "--count",
    type=WholeNumber(1, MAX_COUNT),
    default=1,
    help="Hand over this many, each with its own id.",
)
@click.option(
    "--via",
    type=click.Choice(["socket", "spool"]),
    help="Default: the socket where relayd listens, or else the spool.",
)
@click.option(
    "--spool", "spool_name", metavar="NAME", help="The spool to use, if there are several."
)
@json_option
@config_option
def emit(
    *,
    event_type: str,
    provider: str | None,
    url: str | None,
    data: str | None,
    object_text: str | None,
    file: BinaryIO | None,
    use_sample: bool,
    fields: tuple[str, ...],
    event_id: str | None,
    created: str | None,
    count: int,
    via: str | None,
    spool_name: str | None,
    as_json: bool,
    config_path: Path,
) -> None:
    """Hand over an event, and print its id once it is durable.

    Through the socket, relayd has accepted it by then; in a spool, it is pending until relayd does.
    """
    if event_id is not None and count > 1:
        raise click.UsageError("--id is for one event: with --count each one has its own.")
    if provider is not None:
        if via is not None or spool_name is not None:
            raise click.UsageError("--as sends to the web process: leave out --via and --spool.")
        bare = data is None and object_text is None and file is None
        given = None
        if fields or use_sample or not bare:
            given = _data_text(
                event_type, data, object_text, file, use_sample=use_sample, fields=fields
            )
        # Loaded here: httpx takes four times as long to load as an event takes to hand over.
        from relayd.cli.provider_emission import emit_as  # noqa: PLC0415 - see above

        sent = emit_as(
            provider,
            event_type,
            given,
            created=_created(created),
            url=url,
            event_id=event_id,
            count=count,
            config_path=config_path,
        )
        _print(sent, "http", as_json=as_json)
        return
    if url is not None:
        raise click.UsageError("--to needs --as PROVIDER.")
    text = _data_text(event_type, data, object_text, file, use_sample=use_sample, fields=fields)
    if via == "socket" and spool_name is not None:
        raise click.UsageError("--spool cannot be used with --via socket.")
    moment = _created(created)
    events = [Outgoing(event_id or _new_id(), event_type, text, moment) for _ in range(count)]
    _check(events[0])
    places = read_places(config_path, "spools", "socket")
    if not is_known(event_type, places.event_types, places.type_prefixes):
        _warn_of_unknown_type(event_type, places.event_types)
    try:
        way, taken = hand_over(
            events,
            places.socket,
            places.spools,
            via="spool" if spool_name else via,
            name=spool_name,
        )
        _print(taken, way, as_json=as_json)
    except HandoverError as error:
        raise click.ClickException(str(error)) from error


def _data_text(
    event_type: str,
    data: str | None,
    object_text: str | None,
    file: BinaryIO | None,
    *,
    use_sample: bool,
    fields: Sequence[str],
) -> str:
    given = [data is not None, object_text is not None, file is not None, use_sample]
    if sum(given) > 1 or not (any(given) or fields):
        raise click.UsageError("Give the data by one of --data, --object, --file and --sample.")
    if data is not None:
        text = data
    elif object_text is not None:
        text = object_data(object_text)
    elif file is not None:
        text = file_data(file)
    elif use_sample or event_type in SAMPLES:
        text = sample_data(event_type)
    else:
        text = '{"object":{}}'
    return with_fields(text, fields) if fields else text


def _created(text: str | None) -> int:
    now = time.time()
    seconds = int(now) if text is None else parse_seconds(text, now)
    if seconds is None:
        raise click.BadParameter(
            f"{text!r} is not a time: give {MOMENT_FORMS}", param_hint="--created"
        )
    return seconds


def _check(event: Outgoing) -> None:
    """Refuse here what relayd would refuse, before it is in anybody's hands."""
    row = SpoolRow(
        seq=0,
        id=event.id.encode("utf-8", "surrogateescape"),
        type=event.type.encode("utf-8", "surrogateescape"),
        data=event.data.encode("utf-8", "surrogateescape"),
        created=event.created,
        market_id=None,
        api_version=None,
    )
    match event_from_row(row, EventDefaults("market", "version", None), now=event.created):
        case Rejection(code=code, reason=reason):
            raise click.ClickException(f"{reason.replace('the row', 'the event')} ({code})")
        case Event(unfaithful=fields) if fields:
            click.echo(f"Note: not every receiver carries {', '.join(fields)} unchanged.", err=True)
        case _:
            pass


def _warn_of_unknown_type(event_type: str, known: frozenset[str]) -> None:
    near = suggest(event_type, known)
    hint = f"did you mean {near}?" if near else "is it spelt right?"
    click.echo(
        f"Note: {event_type} is not a known event type; {hint} "
        "Declare your own types under event_types: in the configuration.",
        err=True,
    )


def _print(taken: Iterator[HandedOver], way: str, *, as_json: bool) -> None:
    if as_json:
        events = [{"id": each.id, "duplicate": each.duplicate} for each in taken]
        print_json({"via": way, "events": events})
        return
    for each in taken:
        click.echo(each.id)
        if each.duplicate:
            # A provider's id alone decides: its content may have been another.
            same = "" if way == "http" else ", with the same content"
            click.echo(f"Note: {each.id} had been accepted before{same}.", err=True)


def _new_id() -> str:
    return f"evt_{secrets.token_hex(16)}"
