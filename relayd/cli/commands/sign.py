"""`sign`: signs a body as relayd does, and prints the headers."""

import time
from typing import BinaryIO

import click

from relayd.cli.event_data import file_bytes
from relayd.cli.options import WholeNumber, json_option
from relayd.cli.secret_options import (
    Key,
    header_needed,
    needed,
    secret_options,
    standard_needed,
)
from relayd.cli.terminal import print_json
from relayd.cli.verification import STRINGIFIED, id_in, stringified
from relayd.core.signature import (
    SIGNATURE,
    STANDARD_ID,
    STANDARD_SIGNATURE,
    STANDARD_TIMESTAMP,
    sign_header,
    sign_standard,
)
from relayd.core.signature import sign as signature_of


@click.command(
    epilog="""\b
Examples:
  relayd sign event.json --secret-env WEBHOOK_SECRET
  relayd sign event.json --subscription bookkeeping --json
  relayd sign event.json --secret-env WEBHOOK_SECRET --header X-Signature
  relayd sign event.json --secret-file ./secret \\
    | curl -H @- --data-binary @event.json http://127.0.0.1:8080/
  relayd sign event.json --as stripe --secret-env STRIPE_SECRET
  relayd sign event.json --as mailgun \\
    | curl --json @- http://127.0.0.1:8787/in/mailgun
""",
)
@click.argument("body_file", type=click.File("rb"), default="-", metavar="[FILE]")
@click.option(
    "--scheme",
    type=click.Choice(["locallygrown", "standard", "header"]),
    help="Which headers; standard: those of Standard Webhooks; header: that of --header, or of the"
    " subscription. Default: header with --header, else locallygrown.",
)
@click.option(
    "--as",
    "provider",
    metavar="PROVIDER",
    help="As a provider of inbound webhooks signs: stripe, mailgun or standard, or the name of an entry"
    " of inbound:, whose secret it is then by default. Mailgun signs inside the body: the whole body"
    " is printed.",
)
@click.option("--id", "message_id", metavar="ID", help="standard: webhook-id. Default: the body's.")
@click.option(
    "--timestamp", type=WholeNumber(0), help="standard, --as: Unix seconds. Default: now."
)
@json_option
@secret_options
def sign(
    key: Key | None,
    *,
    body_file: BinaryIO,
    scheme: str | None,
    provider: str | None,
    message_id: str | None,
    timestamp: int | None,
    as_json: bool,
) -> None:
    """Sign the body in FILE, or from standard input, and print the headers that carry it.

    The bytes are signed as they are, including a line break at the end.
    """
    moment = int(time.time()) if timestamp is None else timestamp
    if provider is not None:
        if scheme is not None or (key is not None and key.header is not None):
            raise click.UsageError("--as says the scheme: leave out --scheme and --header.")
        # Loaded here, with the providers' schemes, which few need.
        from relayd.cli.provider_signature import signed_as  # noqa: PLC0415 - see above

        # `secret_options` takes the option for itself.
        config_path = click.get_current_context().params["config_path"]
        body = file_bytes(body_file)
        signed = signed_as(provider, key, body, config_path, message_id=message_id, now=moment)
        if signed.body is not None:
            click.echo(signed.body)
            return
        _print(signed.headers, as_json=as_json)
        return
    named = needed(key)
    secret = named.secret
    body = file_bytes(body_file)
    if scheme is None:
        given = named.subscription is None or named.header is not named.subscription.signature
        scheme = "header" if named.header is not None and given else "locallygrown"
    if scheme != "standard" and (message_id is not None or timestamp is not None):
        raise click.UsageError("--id and --timestamp need --scheme standard.")
    if scheme == "locallygrown":
        headers = {SIGNATURE: signature_of(body, secret)}
    elif scheme == "header":
        form = header_needed(named)
        headers = {form.header: sign_header(body, form, secret)}
    else:
        standard_needed(secret)
        name = message_id or id_in(body)
        headers = {
            STANDARD_ID: name,
            STANDARD_TIMESTAMP: str(moment),
            STANDARD_SIGNATURE: sign_standard(body, name, moment, secret),
        }
    _print(headers, as_json=as_json)
    _warn(body)


def _print(headers: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        print_json({"headers": headers})
        return
    for header, value in headers.items():
        click.echo(f"{header}: {value}")


def _warn(body: bytes) -> None:
    if body.endswith(b"\n"):
        note = "Note: the body ends with a line break, which is signed as part of it."
    elif (other := stringified(body)) is None:
        note = "Note: the body is not JSON."
    elif other != body:
        note = f"Note: {STRINGIFIED} gives other bytes; receivers that verify it will refuse."
    else:
        return
    click.echo(note, err=True)
