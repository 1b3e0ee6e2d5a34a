"""What `retry`, `replay` and `cancel` did, as their documents.

The keys are part of the contract. `matched` counts what was found, `changed` what the daemon changed.
"""

from collections.abc import Iterable, Mapping

from relayd.queue.selection import Selection
from relayd.views.refusals import refusal_document


def retried_document(
    selection: Selection,
    changed: int,
    held: Mapping[str, str],
    lifted: Iterable[str],
    behind: Mapping[str, int],
) -> dict[str, object]:
    """Return what `retry` did; `held`, `lifted` and `behind` are by subscription."""
    return {
        "matched": len(selection.seqs),
        "changed": changed,
        "to_retry": dict(selection.counts),
        "held": dict(held),
        "lifted": sorted(lifted),
        "behind": {name: count for name, count in behind.items() if count},
        "refused": _refused("retry", selection),
    }


def replayed_document(
    selection: Selection,
    matched: int,
    changed: int,
    held: Mapping[str, str],
    to_make: Mapping[str, int],
) -> dict[str, object]:
    """Return what `replay` did; `to_make` counts what a backfill makes, which `matched` includes."""
    return {
        "matched": matched,
        "changed": changed,
        "to_replay": dict(selection.counts),
        "to_make": dict(to_make),
        "held": dict(held),
        "refused": _refused("replay", selection),
    }


def cancelled_document(selection: Selection, changed: int, in_flight: int) -> dict[str, object]:
    """Return what `cancel` did; `in_flight` counts those that are delivered if their attempts succeed."""
    return {
        "matched": len(selection.seqs),
        "changed": changed,
        "in_flight": in_flight,
        "to_cancel": dict(selection.counts),
        "refused": _refused("cancel", selection),
    }


def _refused(command: str, selection: Selection) -> list[dict[str, object]]:
    return [refusal_document(command, each) for each in selection.others]
