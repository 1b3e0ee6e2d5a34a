"""Change a subscription in the file that `add` wrote: validate, replace and reload, or change nothing."""

from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import structlog
import trio

from relayd.commands.requests import Answer, RefusedError, Request, text_of
from relayd.commands.subscription_file_refusals import (
    added_file,
    cannot_write,
    changed_meanwhile,
    refused_answer,
)
from relayd.commands.subscription_files import as_it_was, masked_yaml, with_problem
from relayd.config.added_subscription import (
    Added,
    NotWritableError,
    added,
    new_secret,
    wants_secret,
)
from relayd.config.config import Config
from relayd.config.included_file import (
    ChangedMeanwhileError,
    put_again,
    put_in_place,
    read_whole,
    remove,
)
from relayd.config.problem import ConfigError
from relayd.config.shown_keys import shown_keys
from relayd.config_loader import ConfigLoader, NotReadError

_log = structlog.get_logger()

_NOT_KEYS: Final = frozenset({"command", "subscription", "check", "whole", "rotate"})


class SubscriptionEditCommand:
    """Replaces included files, one at a time: `turn` is held meanwhile, as when one is added or removed.

    `reload` is the daemon's own; `in_force` returns the configuration in force.
    """

    def __init__(
        self,
        in_force: Callable[[], Config],
        loader: ConfigLoader,
        reload: Callable[[], Awaitable[dict[str, object]]],
        turn: trio.Lock,
    ) -> None:
        self._in_force = in_force
        self._loader = loader
        self._reload = reload
        self._turn = turn

    async def edit(self, request: Request) -> Answer:
        """Change `subscription`; the request's other keys are those of the configuration.

        A key that is given replaces the file's, null removes it, and others stay. With `whole`, others
        are removed, but for `secret`, and null is a value that no key may have, as by `add`. With `rotate` a new secret is made, and the old one stays beside it
        as `previous_secret`. A secret that was made is returned, as by `add`, which also has the codes of
        refusals; `not_added`: the file is one that `add` did not write. Answers as `reload` does, with the
        `file` and its `yaml`, in which secrets are masked. A refusal leaves the file as it was.

        With `check`, nothing is changed: answers with the `file`, its `keys` and `yaml`, masked.
        """
        name = text_of(request, "subscription")
        async with self._turn:
            path = await trio.to_thread.run_sync(
                lambda: added_file(name, self._in_force(), to="change")
            )
            try:
                keys, digest = await self._loader.written_keys(path, name)
            except NotReadError as error:
                raise RefusedError("failed", str(error)) from None
            made: str | None = None
            if not request.get("check"):
                keys, made = _changed(keys, request)
            try:
                # Of much text it takes long.
                file = await trio.to_thread.run_sync(added, name, keys, path)
                yaml = await trio.to_thread.run_sync(masked_yaml, name, keys)
            except NotWritableError as error:
                raise RefusedError("invalid", f"a value {error}") from None
            if request.get("check"):
                shown = {"keys": shown_keys(keys), "yaml": yaml}
                return {"subscription": name, "file": str(path), **shown}
            answer = await self._edit(file, path, digest)
        if answer.get("ok", True):
            answer |= {"yaml": yaml} if made is None else {"yaml": yaml, "secret": made}
        return answer

    async def _edit(self, file: Added, path: Path, digest: bytes) -> Answer:
        try:
            known = self._in_force()
            await self._loader.load(known.path, known, added=file)
        except ConfigError as error:
            return refused_answer(file.name, error.problems)
        except NotReadError as error:
            raise RefusedError("failed", str(error)) from None
        with trio.CancelScope(shield=True):
            try:
                aside = await trio.to_thread.run_sync(put_in_place, path, file.raw, digest)
            except ChangedMeanwhileError:
                raise changed_meanwhile(path) from None
            except OSError as error:
                raise await trio.to_thread.run_sync(cannot_write, path, error) from None
        reloaded: Answer = {}
        try:
            reloaded = await self._reload()
        finally:
            # By what is in force: another reload may have read the file before this one.
            done = self._has(path, file.raw)
            with trio.CancelScope(shield=True):
                problem = await trio.to_thread.run_sync(_settle, aside, path, file.raw, done)
        if not done:
            if reloaded.get("ok"):
                raise RefusedError("failed", f"{path} was written again meanwhile")
            return with_problem(reloaded, problem)
        _log.info("subscription_edited", subscription=file.name, file=str(path))
        if not reloaded.get("ok"):
            reloaded = {"ok": True, "changes": [], "warnings": reloaded.get("problems", [])}
        return {**with_problem(reloaded, problem), "subscription": file.name, "file": str(path)}

    def _has(self, path: Path, raw: bytes) -> bool:
        """Return whether this text of a file is in force."""
        read = as_it_was(path, self._in_force())
        return read is not None and read.digest == sha256(raw).digest()


def _changed(keys: Mapping[str, object], request: Request) -> tuple[dict[str, Any], str | None]:
    """Return a file's keys with what a request changes, and the secret that was made, if one was."""
    whole = request.get("whole") is True
    found: dict[str, Any] = {k: v for k, v in keys.items() if not whole or k == "secret"}
    for key, value in request.items():
        if key not in _NOT_KEYS and (value is not None or whole):
            found[key] = value
        elif key not in _NOT_KEYS:
            found.pop(key, None)
    if request.get("rotate") is True and "secret" in found:
        found["previous_secret"] = found.pop("secret")
    made = new_secret() if wants_secret(found) else None
    return (found, None) if made is None else ({**found, "secret": made}, made)


def _settle(aside: Path, path: Path, raw: bytes, done: bool) -> str | None:
    """Remove the old file, or put it back where nobody has written another; return what went wrong."""
    try:
        if done or read_whole(path) != raw:
            remove(aside)
        else:
            put_again(aside, path)
    except OSError as error:
        return f"{path} was {aside} before, which stays there: {error.strerror}"
    return None
