"""Add a subscription as an included file, or remove one: validate, write and reload, or change nothing."""

import os
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

import structlog
import trio

from relayd.commands.requests import Answer, RefusedError, Request, text_of
from relayd.commands.subscription_file_refusals import (
    added_file,
    cannot_write,
    changed_meanwhile,
    refused_answer,
)
from relayd.config.added_subscription import (
    Added,
    NotWritableError,
    added,
    is_name,
    new_secret,
    wants_secret,
)
from relayd.config.config import Config
from relayd.config.included_file import put_back, read_whole, remove, set_aside, write_new
from relayd.config.problem import ConfigError
from relayd.config.reading import FileRead
from relayd.config.shown_keys import shown_keys
from relayd.config.values import NAME_RULE
from relayd.config_loader import ConfigLoader, NotReadError
from relayd.queue.interface import QueueWriter

_log = structlog.get_logger()

_NOT_KEYS: Final = frozenset({"command", "subscription", "check"})

Reloading = Callable[[], Awaitable[dict[str, object]]]


class SubscriptionFileCommands:
    """Writes and removes included files, one at a time.

    `reload` is the daemon's own; `in_force` returns the configuration in force.
    """

    def __init__(
        self,
        in_force: Callable[[], Config],
        queue: QueueWriter,
        loader: ConfigLoader,
        reload: Reloading,
    ) -> None:
        self._in_force = in_force
        self._queue = queue
        self._loader = loader
        self._reload = reload
        self.turn = trio.Lock()
        """Held while a file is written or removed."""

    async def add(self, request: Request) -> Answer:
        """Add `subscription`; the request's other keys are those of the configuration.

        Without a `secret` one is made, and returned. Answers as `reload` does, and with the `file`
        and its `yaml`, in which secrets are masked.
        A refusal leaves no file. Its code is `invalid` where the request's keys are at fault: then
        `details` has each problem with its `key`. `exists`: there is one of that name. `no_include`:
        the configuration includes no file of a new name. `configuration`: what is wrong is elsewhere.
        With `check`, it is judged, and nothing is changed: answers with the `yaml`.
        """
        name = text_of(request, "subscription")
        if not is_name(name):
            raise RefusedError("invalid", NAME_RULE)
        keys = {key: value for key, value in request.items() if key not in _NOT_KEYS}
        made = new_secret() if wants_secret(keys) else None
        if made is not None:
            keys["secret"] = made
        try:
            # Of 4 MB of text it takes 0.4 s.
            file = await trio.to_thread.run_sync(added, name, keys)
            yaml = await trio.to_thread.run_sync(masked_yaml, name, keys)
        except NotWritableError as error:
            raise RefusedError("invalid", f"a value {error}") from None
        async with self.turn:
            answer = await self._add(file, check=request.get("check") is True)
        if answer.get("ok", True):
            answer |= {} if made is None or request.get("check") else {"secret": made}
            answer["yaml"] = yaml
        return answer

    async def _add(self, file: Added, *, check: bool) -> Answer:
        try:
            known = self._in_force()
            judged = await self._loader.load(known.path, known, added=file)
        except ConfigError as error:
            return refused_answer(file.name, error.problems)
        except NotReadError as error:
            raise RefusedError("failed", str(error)) from None
        path = judged.included[file.name]
        if check:
            return {"subscription": file.name}
        with trio.CancelScope(shield=True):
            try:
                await trio.to_thread.run_sync(write_new, path, file.raw)
            except OSError as error:
                raise await trio.to_thread.run_sync(cannot_write, path, error) from None
        try:
            reloaded = await self._reload()
        except BaseException:
            if not self._has(file.name, path):
                await _take_back(path, file.raw)
            raise
        # Another reload may have read the file before this one, or have left it out.
        if not self._has(file.name, path):
            problem = await _take_back(path, file.raw)
            if reloaded.get("ok"):
                reason = f"{path} is not included any more: `include:` was changed meanwhile"
                reloaded = {"ok": False, "code": "configuration", "problems": [reason]}
            return with_problem(reloaded, problem)
        _log.info("subscription_added", subscription=file.name, file=str(path))
        return {**_done(reloaded), "subscription": file.name, "file": str(path)}

    def _has(self, name: str, path: Path) -> bool:
        """Return whether the subscription of this file is in force."""
        return self._in_force().included.get(name) == path

    async def remove(self, request: Request) -> Answer:
        """Remove the file of `subscription`, if `add` wrote it, and reload.

        With `check`, nothing is changed. Answers as `reload` does, with the `file`, and the number of
        waiting deliveries, `waiting`: they are held from then on. The code of a refusal is `unknown`,
        or `not_added` where the subscription is in a file that `add` did not write.
        """
        name = text_of(request, "subscription")
        async with self.turn:
            try:
                known = self._in_force()
                on_disk = await self._loader.load(known.path, known)
            except ConfigError as error:
                problems = [str(each) for each in error.problems]
                return {"ok": False, "code": "configuration", "problems": problems}
            except NotReadError as error:
                raise RefusedError("failed", str(error)) from None
            path = await trio.to_thread.run_sync(added_file, name, on_disk)
            waiting = (await self._queue.looks.waiting([name])).get(name)
            found = {"subscription": name, "file": str(path)}
            count = {"waiting": 0 if waiting is None else waiting.count}
            if request.get("check"):
                return {**found, **count}
            reloaded = await self._remove(name, path, as_it_was(path, on_disk))
        if not reloaded.get("ok"):
            return reloaded
        _log.info("subscription_removed", subscription=name, file=str(path))
        return {**reloaded, **found, **count}

    async def _remove(self, name: str, path: Path, judged: FileRead | None) -> Answer:
        with trio.CancelScope(shield=True):
            try:
                aside = await trio.to_thread.run_sync(set_aside, path)
            except OSError as error:
                raise await trio.to_thread.run_sync(cannot_write, path, error) from None
            # Only now can nobody change it any more: somebody may have since it was judged.
            if await trio.to_thread.run_sync(is_changed, aside, judged):
                problem = await trio.to_thread.run_sync(_settle, aside, path, False)
                raise changed_meanwhile(path, problem)
        reloaded: Answer = {}
        try:
            reloaded = await self._reload()
        finally:
            # By what is in force: another reload may have seen that it has gone.
            done = not self._has(name, path)
            with trio.CancelScope(shield=True):
                problem = await trio.to_thread.run_sync(_settle, aside, path, done)
        if self._has(name, path) and reloaded.get("ok"):
            raise RefusedError("failed", f"{path} was written again meanwhile, and is in force")
        if not self._has(name, path):
            reloaded = _done(reloaded)
        return with_problem(reloaded, problem)


def masked_yaml(name: str, keys: Mapping[str, object]) -> str:
    """Return a subscription's file with what is secret masked. Raises `NotWritableError`."""
    return added(name, shown_keys(keys)).raw.decode()


def as_it_was(path: Path, config: Config) -> FileRead | None:
    """Return a file as it was when this configuration was read; None where that is not known."""
    return next((each for each in config.files if each.path == str(path)), None)


def is_changed(aside: Path, judged: FileRead | None) -> bool:
    """Return whether a file, wherever it is by now, holds something else than when it was judged."""
    if judged is None:
        return False
    try:
        return sha256(read_whole(aside)).digest() != judged.digest
    except OSError:
        return True


async def _take_back(path: Path, raw: bytes) -> str | None:
    """Remove a file that was written, and say why it stays where it does. Is not interrupted."""
    problem: str | None = None
    with trio.CancelScope(shield=True):
        problem = await trio.to_thread.run_sync(_taken_back, path, raw)
    return problem  # noqa: RET504 - mypy takes a scope for one that may swallow what is raised


def _taken_back(path: Path, raw: bytes) -> str | None:
    try:
        if read_whole(path) != raw:
            return f"{path} was changed meanwhile, and stays"
        remove(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{path} was written, and cannot be removed: {error.strerror}"
    return None


def _settle(aside: Path, path: Path, done: bool) -> str | None:
    """Remove what was set aside, or put it back where nothing is by now; return what went wrong."""
    try:
        if done or os.path.lexists(path):
            remove(aside)
        else:
            put_back(aside, path)
    except OSError as error:
        return f"{path} is {aside} now, and stays there: {error.strerror}"
    return None


def _done(reloaded: Answer) -> Answer:
    """Return the answer where the change is in force, whatever this reload came to."""
    if reloaded.get("ok"):
        return reloaded
    return {"ok": True, "changes": [], "warnings": reloaded.get("problems", [])}


def with_problem(answer: Answer, problem: str | None) -> Answer:
    """Return the answer with one more thing that went wrong."""
    if problem is None:
        return answer
    key = "warnings" if answer.get("ok") else "problems"
    found = answer.get(key)
    return {**answer, key: [*(found if isinstance(found, list) else []), problem]}
