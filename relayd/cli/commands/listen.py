"""`listen`: a receiver that prints and verifies what arrives, and can fail or be slow on purpose."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click
import trio

from relayd.cli.dev_receiver.received import Received, answered_document, answered_lines
from relayd.cli.dev_receiver.receiver import Answer
from relayd.cli.dev_receiver.session import Script, Session
from relayd.cli.options import FiniteRange, WholeNumber, json_option
from relayd.cli.secret_options import Key, secret_options
from relayd.cli.terminal import print_json_line
from relayd.config.values import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from relayd.cli.dev_receiver.forwarding import Forwarder

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080


def _duration(_: click.Context, parameter: click.Parameter, text: str | None) -> float | None:
    """Return the seconds that a number, or a number with a unit, stands for."""
    if text is None:
        return None
    seconds = parse_duration(text)
    if seconds is None:
        seconds = parse_duration(f"{text}s")
    if seconds is None:
        raise click.BadParameter("write a duration: 500ms, 2s or 1m.", param=parameter)
    return seconds


@click.command(
    epilog="""\b
Examples:
  relayd listen --subscription first
  relayd listen --port 0 --fail 2 --delay 500ms --count 5
  relayd listen --status 503 --retry-after 30s
  relayd listen --secret-file ./secret --fail-rate 0.3 --json
  relayd listen --subscription first --forward http://127.0.0.1:3000/webhooks
""",
)
@click.option(
    "--host", help=f"The address to listen at. Default: {DEFAULT_HOST}, or the subscription's."
)
@click.option(
    "--port",
    type=WholeNumber(0, 65_535),
    help=f"0 picks a free one. Default: {DEFAULT_PORT}, or the subscription's.",
)
@click.option("--fail", type=WholeNumber(0), metavar="N", help="Fail the first N requests.")
@click.option(
    "--fail-rate",
    type=FiniteRange(0, 1),
    metavar="PART",
    help="Fail this share of the requests, at random: 0.3.",
)
@click.option(
    "--status",
    type=WholeNumber(200, 599),
    help="The status of failed requests. Default: 500. On its own, all requests get it.",
)
@click.option(
    "--retry-after",
    callback=_duration,
    metavar="TIME",
    help="Send a Retry-After with each failure.",
)
@click.option(
    "--delay", callback=_duration, default="0s", metavar="TIME", help="Wait before each answer: 2s."
)
@click.option(
    "--forward",
    metavar="URL",
    help="Pass each request on to this URL, as it is, and its answer back; not those that fail on"
    " purpose, or whose signature is wrong.",
)
@click.option("--count", type=WholeNumber(1), metavar="N", help="End after N requests.")
@click.option("--body", "whole", is_flag=True, help="Print each body in full, indented.")
@json_option
@secret_options
def listen(
    key: Key | None,
    *,
    host: str | None,
    port: int | None,
    fail: int | None,
    fail_rate: float | None,
    status: int | None,
    retry_after: float | None,
    delay: float,
    forward: str | None,
    count: int | None,
    whole: bool,
    as_json: bool,
) -> None:
    """Receive deliveries, print each, and verify its signature.

    It is verified over the body as received, and over JSON.stringify(JSON.parse(body)). A request
    whose signature is wrong is answered 401; without a secret, none is verified. With
    --subscription, it listens where that one delivers to, if that is on this machine. --json
    prints one document a line; the first has the URL.
    """
    there = _place_of(key)
    fails_all = status is not None and fail is None and fail_rate is None
    script = Script(
        fail=fail or 0,
        fail_rate=1.0 if fails_all else fail_rate or 0.0,
        status=500 if status is None else status,
        retry_after_s=retry_after,
        delay_s=delay,
    )
    printer = _Printer(as_json=as_json, whole=whole)
    forwarder = _forwarder(forward)
    session = Session(
        key, script, count, printer.answered, None if forwarder is None else forwarder.forward
    )
    host, port = host or there[0], there[1] if port is None else port
    try:
        trio.run(_listen, session, host, port, printer.listening, forwarder)
    except UnicodeError:  # the resolver's encoding of names
        raise click.BadParameter(
            f"{host!r} is neither an address nor a host's name.", param_hint="--host"
        ) from None
    except OSError as error:
        raise click.ClickException(
            f"cannot listen at {host}, port {port}: {error.strerror}; --port 0 picks a free one"
        ) from error
    printer.ended(session)


def _forwarder(url: str | None) -> Forwarder | None:
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise click.BadParameter(
            "write a URL: http://127.0.0.1:3000/webhooks.", param_hint="--forward"
        )
    # Loaded here: httpx takes as long to load as the rest of the command.
    from relayd.cli.dev_receiver.forwarding import Forwarder  # noqa: PLC0415 - see above

    try:
        return Forwarder(url)
    except ValueError as error:
        raise click.BadParameter(f"{url!r} is not a URL: {error}", param_hint="--forward") from None


async def _listen(
    session: Session,
    host: str,
    port: int,
    listening: Callable[[str], None],
    forwarder: Forwarder | None,
) -> None:
    """Run a session until it has what it wants, or is told to end. Raises `OSError` at the start."""
    listeners = await trio.open_tcp_listeners(port, host=host)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def obey() -> None:
                async for _ in signals:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(obey)
            await session.run(listeners, listening)
            if forwarder is not None:
                forwarder.close()
            nursery.cancel_scope.cancel()


def _place_of(key: Key | None) -> tuple[str, int]:
    """Return the host and port that a subscription delivers to on this machine, or the defaults."""
    url = urlsplit("" if key is None or key.subscription is None else key.subscription.url)
    if url.scheme == "http" and url.hostname in {"127.0.0.1", "::1", "localhost"}:
        return url.hostname, url.port or 80
    return DEFAULT_HOST, DEFAULT_PORT


class _Printer:
    """Prints what a session tells, for people or for programs."""

    def __init__(self, *, as_json: bool, whole: bool) -> None:
        self._as_json = as_json
        self._whole = whole

    def listening(self, url: str) -> None:
        if self._as_json:
            print_json_line({"listening": url})
        else:
            click.echo(f"Listening at {url} (Ctrl-C ends it)")

    def answered(self, came: Received, answer: Answer | None) -> None:
        if self._as_json:
            print_json_line(answered_document(came, answer))
            return
        for line in answered_lines(came, answer, whole=self._whole):
            click.echo(line)

    def ended(self, session: Session) -> None:
        if not self._as_json:
            click.echo(f"Requests: {session.requests}; answered 2xx: {session.answered_2xx}.")
