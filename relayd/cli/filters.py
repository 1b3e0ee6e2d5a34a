"""Which deliveries a command is about: options for their state, type and time, and their checks."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, TypeVar

import click

from relayd.cli.options import complete_subscriptions
from relayd.cli.terminal import printable
from relayd.config.moments import MOMENT_FORMS, parse_moment
from relayd.core.delivery import State
from relayd.core.patterns import is_pattern
from relayd.queue.snapshot import Snapshot
from relayd.queue.snapshot_values import SeveralMarketsError
from relayd.views.moments import clock_time

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def moment(_: click.Context, parameter: click.Parameter, text: str | None) -> float | None:
    """Read an option's time."""
    if text is None:
        return None
    found = parse_moment(text, time.time())
    if found is None:
        raise click.BadParameter(f"{text!r} is not a time: give {MOMENT_FORMS}", param=parameter)
    return found


def patterns(
    _: click.Context, parameter: click.Parameter, given: tuple[str, ...]
) -> tuple[str, ...]:
    """Check an option's patterns of event types."""
    for pattern in given:
        if not is_pattern(pattern):
            raise click.BadParameter(
                f"{pattern!r} is not a pattern: give order.created, order.* or *", param=parameter
            )
    return given


class _State(click.Choice[str]):
    """A state among those that a command takes; for others, `hints` names the command that takes them."""

    def __init__(self, states: Sequence[str], hints: Mapping[State, str]) -> None:
        super().__init__(states)
        self._hints = hints

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str:
        """See `click.Choice`."""
        for state, hint in self._hints.items():
            if value == state:
                self.fail(f"{value!r} is not for this command: {hint}.", param, ctx)
        return super().convert(value, param, ctx)


def filter_options(
    states: Iterable[State], hints: Mapping[State, str] = MappingProxyType({})
) -> Callable[[Decorated], Decorated]:
    """Give a command the options that `deliveries` has, with these states to choose from.

    `hints` says of other states which command is for them.
    """
    options = (
        click.option(
            "--subscription",
            multiple=True,
            metavar="NAME",
            help="Only of this subscription (repeatable).",
            shell_complete=complete_subscriptions,
        ),
        click.option(
            "--state",
            type=_State([state.value for state in states], hints),
            multiple=True,
            help="Only in this state (repeatable).",
        ),
        click.option(
            "--type",
            "types",
            multiple=True,
            metavar="PATTERN",
            callback=patterns,
            help="Only of this event type, such as order.created or order.* (repeatable).",
        ),
        click.option(
            "--since", metavar="TIME", callback=moment, help=f"Accepted since: {MOMENT_FORMS}."
        ),
        click.option(
            "--until", metavar="TIME", callback=moment, help="Accepted before: in the same forms."
        ),
    )

    def decorate(command: Decorated) -> Decorated:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


object_option = click.option(
    "--object",
    "object_id",
    metavar="ID",
    help="Only of events about this object: data.object.id, such as order_456.",
)

market_option = click.option(
    "--market",
    metavar="MARKET",
    help="The market of the event, if several markets have used the id.",
)


@contextmanager
def one_market() -> Iterator[None]:
    """End the command where an id stands for events of several markets; show them, and ask which."""
    try:
        yield
    except SeveralMarketsError as several:
        lines = [f"{several.identifier} is the id of {len(several.events)} events:"]
        lines += [
            f"  market {printable(each.market_id) or 'unknown'}: {each.type}, accepted at"
            f" {clock_time(each.accepted_at)} from {printable(each.source)}"
            for each in several.events
        ]
        raise click.ClickException("\n".join([*lines, "Specify one with --market."])) from None


def known(reading: Snapshot, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names, all of which the queue knows; end the command where it does not."""
    for name in names:
        if name not in reading.subscriptions:
            from relayd.core.catalogue import suggest  # noqa: PLC0415 - only a mistake needs it

            near = suggest(name, reading.subscriptions)
            hint = f"did you mean {near}?" if near else "`relayd status` lists them"
            raise click.ClickException(f"the queue has no subscription {name!r}; {hint}")
    return names
