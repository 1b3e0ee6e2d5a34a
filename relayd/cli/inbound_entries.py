"""The entries of `inbound:` for commands that act as a provider: which one is meant."""

import os
from pathlib import Path

import click

from relayd.config.config import Config
from relayd.config.load import load_config
from relayd.core.inbound.entry import Inbound


def check_id(text: str | None) -> None:
    """End the command where an id may not be in a header."""
    if text is not None and not (text and text.isascii() and text.isprintable()):
        raise click.UsageError(
            "--id: with --as, write printable ASCII; some providers have it in a header."
        )


def loaded_entry(name: str, config_path: Path | None) -> tuple[Config, Inbound]:
    """Return the configuration, and its entry of this name, or the only one of this provider.

    Ends the command where there is none, or where there are several of the provider.
    """
    if config_path is None:
        raise click.UsageError("--as NAME needs a configuration: name it with --config FILE.")
    config = load_config(config_path, environ=os.environ)
    if (entry := config.inbound.get(name)) is not None:
        return config, entry
    of_provider = [each for each in config.inbound.values() if each.provider == name]
    if len(of_provider) == 1:
        return config, of_provider[0]
    if of_provider:
        names = ", ".join(each.name for each in of_provider)
        raise click.UsageError(f"--as {name}: several entries are of {name}; name one of {names}.")
    there = ", ".join(config.inbound) or "none"
    raise click.ClickException(
        f"there is no entry {name!r} under inbound: in {config_path}; there are: {there}"
    )
