"""What `check` finds around the configuration: spools, folders, the queue, and one file for two."""

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import combinations
from pathlib import Path

from relayd.cli.spool_files import look_into, table_words
from relayd.config.config import Config
from relayd.config.included import without_match
from relayd.core.queue_files import queue_files, sqlite_files
from relayd.permissions import ActingError, owner_to_become, relayds_user, run_as
from relayd.queue.sqlite.file_problem import unusable

_WITHIN_S = 5.0


def file_notes(config: Config) -> list[str]:
    """Return what is right in the file, and not (yet) so around it. Changes nothing."""
    notes = [*_same_files(config), *_within_reach(config)]
    for spool in config.spools:
        look = look_into(spool, config.queue)
        if look.problem is not None:
            notes.append(f"spool {spool.name}: {look.problem}")
        notes += [f"spool {spool.name}: {words}" for words in table_words(look)]
    folders = {config.queue.path.parent: "the queue"}
    if config.socket is not None:
        folders.setdefault(config.socket.path.parent, "the socket")
    for folder, what in folders.items():
        if not os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir raises where it may not look
            notes.append(f"{what} needs the directory {folder}, which does not exist")
    user = relayds_user(config.queue.path)
    notes += filter(None, (without_match(pattern, user) for pattern in config.include))
    if (problem := _queue_problem(config.queue.path)) is not None:
        notes.append(f"queue {problem}")
    return notes


def _same_files(config: Config) -> Iterator[str]:
    """Find what is one file under two names, through links. Equal names are errors of the file."""
    spools = config.spools
    for one, other in combinations(spools, 2):
        if one.table.lower() == other.table.lower() and _leads(one.path, [other.path]):
            yield (
                f"spools {one.name} and {other.name} are the same table: {one.path} and"
                f" {other.path}"
                " lead to the same file; remove one of them"
            )
    queue = [Path(name) for name in queue_files(str(config.queue.path))]
    queue += [Path(name) for name in queue_files(os.path.realpath(config.queue.path))]
    for spool in spools:
        for name in (*sqlite_files(str(spool.path)), *sqlite_files(os.path.realpath(spool.path))):
            if _leads(Path(name), queue):
                yield (
                    f"spool {spool.name} and the queue are the same file: {name} leads to a file of"
                    f" {config.queue.path}; a spool needs its own database"
                )
                break
    if config.socket is not None:
        others = queue + [Path(name) for each in spools for name in sqlite_files(str(each.path))]
        if _leads(config.socket.path, others):
            yield f"the socket {config.socket.path} leads to the queue's or a spool's file"


def _within_reach(config: Config) -> Iterator[str]:
    """Find what a spool's reader may write to beside its spool: all that is beneath its folder."""
    secrets = (
        each
        for subscription in config.subscriptions.values()
        for each in (subscription.secret, subscription.previous_secret)
        if each is not None
    )
    urls = (subscription.url_source for subscription in config.subscriptions.values())
    keys = (each.tls.key for each in config.endpoints.values() if each.tls is not None)
    others = {f"the queue {config.queue.path}": config.queue.path}
    others[f"the configuration {config.path}"] = config.path
    others.update(
        (f"the configuration {each}", each) for each in dict.fromkeys(config.included.values())
    )
    for source in (*(each.source for each in secrets), *urls):
        kind, _, name = source.partition(" ")
        if kind == "file":
            others[f"the secret {name}"] = Path(name)
    others.update((f"the private key {key}", Path(key)) for key in keys if key is not None)
    for spool in config.spools:
        real = Path(os.path.realpath(spool.path))
        beside = {f"the spool {each.name}": each.path for each in config.spools}
        found = [
            what
            for what, path in (others | beside).items()
            if real.parent in (there := Path(os.path.realpath(path))).parents and there != real
        ]
        if found:
            yield (
                f"spool {spool.name}: its folder {real.parent} also holds {', '.join(found)}; the"
                " process that reads the spool may write to everything in its folder: give the"
                " spool its own folder"
            )


def _leads(path: Path, others: list[Path]) -> bool:
    """Tell whether a path leads to the same file as one of the others, whether it is there or not."""
    real = os.path.realpath(path)
    for other in others:
        if real == os.path.realpath(other):
            return True
        with suppress(OSError):
            if os.path.samefile(path, other):  # noqa: PTH121 - Path.samefile raises the same
                return True
    return False


def _queue_problem(path: Path) -> str | None:
    """Say why this relayd cannot use the queue. One that is not there is made when it starts."""
    try:
        problem = run_as(
            owner_to_become(path), lambda: unusable(path, within_s=_WITHIN_S), 2 * _WITHIN_S
        )
    except ActingError as error:
        return f"{path}: {error}"
    return None if problem is None else f"{path}: {problem}"
