"""Whether what is on disk is what is in force: the words and the document of every command that says so.

All of it is made of the daemon's answer to `in_force`; None is no answer, and says nothing.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from relayd.views.moments import clock_time, moment_fields

Answer = Mapping[str, Any]
"""What the daemon answered: see `relayd.commands.in_force`. Beside that, `other_file` is the file that a
command was given, where the daemon runs with another one."""

_PHRASES: Final = {
    "changed": "changed but not loaded",
    "new": "not loaded",
    "missing": "gone but still in force",
    "unreadable": "not readable by relayd but still in force",
}
_MOST_NAMED: Final = 2


def not_in_force(answer: Answer | None) -> str | None:
    """Return a phrase for a summary, as `config.yaml changed but not loaded`; None where all is in force."""
    if answer is None:
        return None
    if answer.get("other_file") is not None:
        return "relayd runs with another file"
    if answer["reloading"]:
        return None  # what comes of it is seen when it has ended
    changed = answer["changed"]
    if not changed:
        return None if answer["refused"] is None else "last reload refused"
    words = ", ".join(_changed_phrases(changed, answer["changed_count"] - len(changed)))
    return f"{words} (reload refused)" if answer["refused"] is not None else words


def _changed_phrases(changed: Sequence[Mapping[str, str]], unnamed: int) -> Iterator[str]:
    """Yield a phrase for each kind of change, with the first files that changed so."""
    for change in dict.fromkeys(each["change"] for each in changed):
        # The daemon's words, not paths of ours.
        names = [os.path.basename(each["path"]) for each in changed if each["change"] == change]  # noqa: PTH119 - see above
        yield f"{_few(names)} {_PHRASES[change]}"
    if unnamed:
        yield f"{_more_files(unnamed)} not as loaded"


def _few(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    if more <= 0:
        return " and ".join(names)
    return f"{', '.join(names[:_MOST_NAMED])} and {_more_files(more)}"


def _more_files(count: int) -> str:
    return f"{count:,} more file{'' if count == 1 else 's'}"


def in_force_words(answer: Answer | None) -> Iterator[str]:
    """Yield what is not in force, and what to do about it: a sentence each."""
    if answer is None:
        return
    if (other := answer.get("other_file")) is not None:
        yield (
            f"{other} is not in force: relayd runs with {answer['config']}, which `relayd reload` reads"
            " again; give that one as --config, or start relayd with this one"
        )
        return
    if answer["reloading"]:
        if answer["changed"]:
            yield "a reload is in progress; what it changes is not in force yet"
        return
    changed, refused = answer["changed"], answer["refused"]
    if changed:
        names = ", ".join(f"{each['path']} ({_word(each)})" for each in changed)
        more = answer["changed_count"] - len(changed)
        others = f" and {more:,} more" if more else ""
        yield f"not in force: {names}{others}"
    if refused is not None:
        count = refused["problems"] - 1
        others = f" (and {count:,} more)" if count else ""
        yield (
            f"the last reload was refused at {clock_time(refused['at'])}:"
            f" {refused['problem']}{others}"
        )
        yield "relayd goes on with what it had: correct it, `relayd check`, then `relayd reload`"
    elif any(each["change"] in {"missing", "unreadable"} for each in changed):
        yield "put it back, or `relayd check --diff` says what a reload would do without it"
    elif changed:
        yield "`relayd check --diff` shows what a reload would change, `relayd reload` loads it"


def _word(each: Mapping[str, str]) -> str:
    words = {
        "changed": "changed",
        "new": "new",
        "missing": "gone",
        "unreadable": "relayd may not read it",
    }
    return words[each["change"]]


def in_force_document(answer: Answer | None) -> dict[str, object] | None:
    """Return it for programs; None where it is not known."""
    if answer is None:
        return None
    refused = answer["refused"]
    return {
        "config": answer["config"],
        "in_force": not answer["changed"] and answer.get("other_file") is None,
        "reloading": answer["reloading"],
        "changed": list(answer["changed"]),
        "changed_count": answer["changed_count"],
        "reload_refused": None
        if refused is None
        else {
            **moment_fields("at", refused["at"]),
            "problem": refused["problem"],
            "problems": refused["problems"],
        },
    }
