"""The options that say which secret to sign or verify with, and reading it from there."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, Final, Literal, ParamSpec, TypeVar

import click

from relayd.cli.options import complete_subscriptions, optional_config_option
from relayd.config.secrets import STANDARD_HINT, NoSecret, env_secret, file_secret, text_secret
from relayd.core.catalogue import suggest
from relayd.core.secret import Secret, SourcedSecret
from relayd.core.subscription import HeaderSignature, Subscription

P = ParamSpec("P")
R = TypeVar("R")

HEADER_NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}"


@dataclass(frozen=True, slots=True)
class Key:
    """What to sign or verify with. `previous` and `subscription` come from a configuration.

    `header` is the header of `signature: {header: …}`, of the subscription or the command line.
    """

    secret: Secret
    previous: Secret | None = None
    subscription: Subscription | None = None
    header: HeaderSignature | None = None


def secret_options(command: Callable[Concatenate[Key | None, P], R]) -> Callable[..., R]:
    """Give a command the options, and pass it the key that they name, None without any of them."""

    @click.option(
        "--secret-file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="A file that holds the secret.",
    )
    @click.option(
        "--secret-env", metavar="NAME", help="An environment variable that holds the secret."
    )
    @click.option(
        "--subscription",
        shell_complete=complete_subscriptions,
        metavar="NAME",
        help="The secret of this subscription of the configuration.",
    )
    @click.option(
        "--secret",
        metavar="TEXT",
        help="The secret itself. Careful: everybody on this machine sees it in the process list, "
        "and your shell keeps it in its history.",
    )
    @click.option(
        "--header",
        metavar="NAME",
        help="The header of `signature: {header: …}`, if no subscription names it.",
    )
    @click.option("--prefix", metavar="TEXT", help="With --header: what precedes the signature.")
    @click.option(
        "--encoding",
        type=click.Choice(["hex", "base64"]),
        help="With --header: how it is written. Default: hex.",
    )
    @optional_config_option
    @wraps(command)
    def with_key(
        *args: Any,  # noqa: ANN401 - passed on as they are
        secret_file: Path | None,
        secret_env: str | None,
        subscription: str | None,
        secret: str | None,
        header: str | None,
        prefix: str | None,
        encoding: Literal["hex", "base64"] | None,
        config_path: Path | None,
        **kwargs: Any,  # noqa: ANN401 - passed on as they are
    ) -> R:
        given = (secret_file, secret_env, subscription, secret)
        if sum(each is not None for each in given) > 1:
            raise click.UsageError(
                "Give one of --secret-file, --secret-env, --subscription and --secret."
            )
        key: Key | None = None
        if subscription is not None:
            key = _key_of(subscription, config_path)
        elif secret_file is not None:
            key = _key(file_secret(secret_file.absolute()))
        elif secret_env is not None:
            key = _key(env_secret(secret_env, os.environ))
        elif secret is not None:
            key = _key(text_secret(secret))
        named = _header(header, prefix, encoding)
        if named is not None and key is not None:
            key = replace(key, header=named)
        return command(key, *args, **kwargs)

    return with_key


def needed(key: Key | None) -> Key:
    """Return the key, or end the command where none was named."""
    if key is None:
        raise click.UsageError(
            "Specify the secret: --secret-file, --secret-env, --subscription or --secret."
        )
    return key


def standard_needed(secret: Secret) -> None:
    """End the command where Standard Webhooks cannot be signed with the secret."""
    if secret.standard_key is None:
        raise click.ClickException(
            f"the secret: Standard Webhooks takes whsec_ and base64 ({STANDARD_HINT})"
        )


def _header(
    name: str | None, prefix: str | None, encoding: Literal["hex", "base64"] | None
) -> HeaderSignature | None:
    if name is None:
        if prefix is not None or encoding is not None:
            raise click.UsageError("--prefix and --encoding need --header NAME.")
        return None
    if not re.fullmatch(HEADER_NAME, name):
        raise click.UsageError(f"--header: {name!r} is not a valid header name.")
    return HeaderSignature(name, prefix or "", encoding or "hex")


def header_needed(key: Key) -> HeaderSignature:
    """Return the header of `signature: {header: …}`, or end the command where none was named."""
    if key.header is None:
        raise click.UsageError(
            "Specify the header: --header, or a --subscription with `signature: {header: …}`."
        )
    return key.header


def _key(read: SourcedSecret | NoSecret) -> Key:
    if isinstance(read, NoSecret):
        hint = f" ({read.hint})" if read.hint else ""
        raise click.ClickException(f"the secret: {read.message}{hint}")
    return Key(read.secret)


def _key_of(name: str, config_path: Path | None) -> Key:
    # Loaded here: pydantic and httpx take four times as long to load as signing needs in all.
    from relayd.config.load import load_config  # noqa: PLC0415 - see above

    if config_path is None:
        raise click.UsageError("--subscription needs a configuration: name it with --config FILE.")
    config = load_config(config_path, environ=os.environ)
    subscription = config.subscriptions.get(name)
    if subscription is None:
        near = suggest(name, config.subscriptions)
        there = ", ".join(config.subscriptions) or "none"
        hint = f"did you mean {near}?" if near else f"there are: {there}"
        raise click.ClickException(f"there is no subscription {name!r} in {config_path}; {hint}")
    if subscription.secret is None:
        raise click.ClickException(
            f"subscription {name} has no secret: its deliveries are not signed"
        )
    previous = subscription.previous_secret
    scheme = subscription.signature
    return Key(
        subscription.secret.secret,
        None if previous is None else previous.secret,
        subscription,
        scheme if isinstance(scheme, HeaderSignature) else None,
    )
