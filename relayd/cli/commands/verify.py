"""`verify`: tries a body and its signature as receivers do, and says what went wrong."""

import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Final

import click

from relayd.cli.event_data import file_bytes
from relayd.cli.options import json_option
from relayd.cli.secret_options import (
    Key,
    header_needed,
    needed,
    secret_options,
    standard_needed,
)
from relayd.cli.terminal import print_json, wrapped
from relayd.cli.verification import STRINGIFIED, Verdict, id_in, over_both
from relayd.core.secret import Secret
from relayd.core.signature import (
    SIGNATURE,
    STANDARD_SIGNATURE,
    STANDARD_TOLERANCE_S,
    verify_header,
    verify_standard,
)
from relayd.core.signature import verify as is_signature_of


@dataclass(frozen=True, slots=True)
class _Result:
    """What came of verifying: a code for programs, and a sentence for people."""

    verified: bool
    code: str
    text: str
    verdict: Verdict


@click.command(
    epilog="""\b
Examples:
  relayd verify body.json --subscription bookkeeping --signature sha256=4f1c…
  relayd verify body.json --secret-env WEBHOOK_SECRET --signature bm90… \\
    --header X-Signature --encoding base64
  relayd verify body.json --secret-env WEBHOOK_SECRET --signature v1,bm90… \\
    --id evt_1 --timestamp 1640995200
""",
)
@click.argument("body_file", type=click.File("rb"), default="-", metavar="[FILE]")
@click.option(
    "--signature",
    required=True,
    metavar="TEXT",
    help=f"What came in {SIGNATURE}, or in {STANDARD_SIGNATURE}.",
)
@click.option(
    "--scheme",
    type=click.Choice(["locallygrown", "standard", "header"]),
    help="Default: standard for a signature that begins with v1,; header where --header or the"
    " subscription names one; else locallygrown.",
)
@click.option("--id", "message_id", metavar="ID", help="standard: the value of webhook-id.")
@click.option("--timestamp", metavar="SECONDS", help="standard: the value of webhook-timestamp.")
@click.option("--any-age", is_flag=True, help="standard: accept an old timestamp as well.")
@json_option
@secret_options
def verify(
    key: Key | None,
    *,
    body_file: BinaryIO,
    signature: str,
    scheme: str | None,
    message_id: str | None,
    timestamp: str | None,
    any_age: bool,
    as_json: bool,
) -> None:
    """Verify the signature of the body in FILE, or from standard input.

    If it does not match the raw bytes, other forms of the body are tried, to show what went wrong.
    Exit status: 0 if it is valid, 1 if it is not.
    """
    secrets = needed(key)
    body = file_bytes(body_file)
    if scheme is None:
        scheme = _scheme_of(signature, secrets)
    if scheme == "header":
        header = header_needed(secrets)
        result = _verified(
            body, secrets, lambda form, secret: verify_header(form, signature, header, secret)
        )
    elif scheme == "locallygrown":
        result = _verified(
            body, secrets, lambda form, secret: is_signature_of(form, signature, secret)
        )
    else:
        given = _Standard(message_id or id_in(body), _digits(timestamp), signature)
        standard_needed(secrets.secret)
        result = _verified_standard(body, secrets, given, any_age=any_age)
    if as_json:
        print_json(
            {
                "verified": result.verified,
                "code": result.code,
                "detail": result.text,
                "raw": result.verdict.raw,
                "stringified": result.verdict.stringified,
                "scheme": scheme,
            }
        )
    else:
        word = "valid" if result.verified else "invalid"
        click.echo(
            click.style(f"{word}: ", fg="green" if result.verified else "red", bold=True)
            + wrapped(result.text, first=" " * (len(word) + 2)).lstrip()
        )
    sys.exit(0 if result.verified else 1)


def _scheme_of(signature: str, key: Key) -> str:
    if signature.startswith("v1,"):
        return "standard"
    if key.header is None:
        return "locallygrown"
    # A subscription has two headers, and this may be either's.
    own = _LOCALLYGROWN.fullmatch(signature.strip()) and key.header.prefix != "sha256="
    return "locallygrown" if own else "header"


_LOCALLYGROWN: Final = re.compile(r"sha256=[0-9a-f]{64}")


def _verified(body: bytes, key: Key, is_right: Callable[[bytes, Secret], bool]) -> _Result:
    verdict = over_both(body, lambda form: is_right(form, key.secret))
    if verdict.both:
        return _Result(
            True, "right", f"it is the signature of the body, and of {STRINGIFIED}.", verdict
        )
    if verdict.raw:
        text = f"it is the signature of the body; {STRINGIFIED} would be other bytes."
        return _Result(True, "raw_only", text, verdict)
    stripped = body.rstrip(b"\r\n")
    if stripped != body and is_right(stripped, key.secret):
        text = "it is the signature of the body without the line break at its end."
        return _Result(False, "line_break", text, verdict)
    if verdict.stringified:
        text = (
            f"it is not the signature of these bytes, only of {STRINGIFIED}: "
            "the body was serialized again on its way, with other spaces, order or escapes."
        )
        return _Result(False, "stringified_only", text, verdict)
    if key.previous is not None and is_right(body, key.previous):
        text = "it was made with the subscription's previous_secret."
        return _Result(False, "previous_secret", text, verdict)
    text = "it is not the signature of this body under this secret."
    return _Result(False, "wrong", text, verdict)


@dataclass(frozen=True, slots=True)
class _Standard:
    """The three headers of Standard Webhooks."""

    message_id: str
    timestamp: str
    signatures: str


def _digits(timestamp: str | None) -> str:
    if timestamp is None or not (timestamp.isascii() and timestamp.isdigit()):
        raise click.UsageError("--timestamp is needed: the value of webhook-timestamp.")
    return timestamp


def _verified_standard(body: bytes, key: Key, given: _Standard, *, any_age: bool) -> _Result:
    seconds = int(given.timestamp[:20])

    def is_right(form: bytes, secret: Secret) -> bool:
        return verify_standard(
            form, given.message_id, given.timestamp, given.signatures, secret, now=seconds
        )

    result = _verified(body, key, is_right)
    age_s = time.time() - seconds
    if result.verified and abs(age_s) > STANDARD_TOLERANCE_S and not any_age:
        which = "old" if age_s > 0 else "in the future"
        text = (
            f"the signature fits, but its timestamp is {abs(age_s):.0f} s {which}; receivers "
            f"accept {STANDARD_TOLERANCE_S} s. --any-age ignores this."
        )
        return _Result(False, "timestamp", text, result.verdict)
    return result
