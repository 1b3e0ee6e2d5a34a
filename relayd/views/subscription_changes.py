"""What `pause`, `resume`, `test`, `add` and `remove` did to a subscription, as their documents.

The keys are part of the contract. All of it is made of the daemon's answers.
"""

from collections.abc import Mapping
from typing import Any

from relayd.views.in_force import Answer, in_force_document


def held_document(name: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `pause` or `resume` did to one subscription."""
    return _without_ok({"name": name, **answer})


def tested_document(sent: Mapping[str, Any], in_force: Answer | None) -> dict[str, Any]:
    """Return what came back from a `test`; `in_force` is the daemon's answer to that command."""
    return {**_without_ok(sent), "in_force": in_force_document(in_force)}


def _without_ok(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key != "ok"}


def added_document(answer: Mapping[str, Any], *, in_force: bool) -> dict[str, object]:
    """Return what `add` did. `secret` is the one that was made, None where one was given."""
    return {
        "subscription": answer["subscription"],
        "file": answer["file"],
        "in_force": in_force,
        "secret": answer.get("secret"),
        "changes": answer["changes"],
        "warnings": answer["warnings"],
    }


def removed_document(answer: Mapping[str, Any], *, in_force: bool) -> dict[str, object]:
    """Return what `remove` did; `held` counts the deliveries that wait for the subscription's return."""
    return {
        "subscription": answer["subscription"],
        "file": answer["file"],
        "in_force": in_force,
        "held": answer["waiting"],
        "changes": answer["changes"],
        "warnings": answer["warnings"],
    }
