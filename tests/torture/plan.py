"""What is done to relayd in one run, and when: all of it from one seed.

Faults happen to it one after the other. The operator acts at the same time, in an order of its own.
"""

import random
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

OPERATIONS = 500
SHORT_RETENTION_S, LONG_RETENTION_S = 60.0, 3600.0
"""With the short one, events are removed during a long run. With the long one, what was not
delivered can be backfilled and replayed at its end, so that each event must arrive everywhere."""


class Fault(StrEnum):
    """What can be done to it."""

    KILL = "SIGKILL at a random moment"
    KILL_AT_START = "SIGKILL while it starts"
    KILL_AT_SYNC = "SIGKILL at the Nth sync"
    KILL_AT_RELOAD = "SIGKILL while it reloads"
    TERMINATE = "SIGTERM, and a new start"
    RELOAD = "SIGHUP with another good file"
    BAD_RELOAD = "SIGHUP with a bad file"
    STOP = "SIGSTOP, and SIGCONT"
    OUTAGE = "a receiver refuses all connections"
    LOCK_SPOOL = "a spool is locked by a producer"
    LOCK_QUEUE = "the queue is locked by another program"
    FILL_DISK = "the disk is full"
    KILL_READER = "SIGKILL for a spool's reader"


KILLS = frozenset({Fault.KILL, Fault.KILL_AT_START, Fault.KILL_AT_SYNC, Fault.KILL_AT_RELOAD})

INTERRUPTING = KILLS | {Fault.FILL_DISK, Fault.TERMINATE}
"""Those that may end the process. Without them nothing may be cut off."""

_WEIGHTS = {
    Fault.KILL: 8,
    Fault.KILL_AT_START: 3,
    Fault.KILL_AT_SYNC: 3,
    Fault.KILL_AT_RELOAD: 2,
    Fault.TERMINATE: 1,
    Fault.RELOAD: 2,
    Fault.BAD_RELOAD: 1,
    Fault.STOP: 1,
    Fault.OUTAGE: 2,
    Fault.LOCK_SPOOL: 1,
    Fault.LOCK_QUEUE: 1,
    Fault.FILL_DISK: 1,
    Fault.KILL_READER: 2,
}


class Act(StrEnum):
    """What an operator can do."""

    MOVE = "reload: URLs moved, swapped, merged, split"
    LIMIT = "reload: another rate_limit"
    IN_FLIGHT = "reload: another max_in_flight"
    ACTIVE = "reload: active changed"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel by id"
    REPLAY = "replay"
    RETRY = "retry by id"
    BACKFILL = "backfill"
    TEST = "test"
    RESUBMIT = "rejected resubmit, twice at once"
    COMMAND_LINE = "a command of the command line"


_ACT_WEIGHTS = {
    Act.MOVE: 10,
    Act.LIMIT: 4,
    Act.IN_FLIGHT: 4,
    Act.ACTIVE: 3,
    Act.PAUSE: 4,
    Act.RESUME: 6,
    Act.CANCEL: 6,
    Act.REPLAY: 4,
    Act.RETRY: 3,
    Act.BACKFILL: 1,
    Act.TEST: 2,
    Act.RESUBMIT: 3,
    Act.COMMAND_LINE: 1,
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One act of the operator, `wait_s` after the one before; `seed` chooses its particulars."""

    wait_s: float
    act: Act
    seed: int


@dataclass(frozen=True, slots=True)
class Step:
    """One fault, `wait_s` after the one before. What `amount` (0 to 1) scales is the fault's own."""

    wait_s: float
    fault: Fault
    amount: float


@dataclass(frozen=True, slots=True)
class Plan:
    """A run's steps, and the seeds of those who take part in it.

    The operator does `operations` over and over until the last step is done. `retention_s` is the
    queue's.
    """

    seed: int
    steps: tuple[Step, ...]
    seeds: tuple[int, ...]
    operations: tuple[Operation, ...] = ()
    retention_s: float = SHORT_RETENTION_S


def make_plan(
    seed: int,
    count: int,
    without: Iterable[Fault] = (),
    longest_wait_s: float = 0.9,
    *,
    acts: Collection[Act] = (),
) -> Plan:
    """Return the plan of `count` faults that this seed stands for, and of an operator who does `acts`.

    A fault that cannot be made here is left out, so that a seed stands for a plan together with
    what the machine can do.
    """
    chosen = random.Random(seed)
    faults = [fault for fault in _WEIGHTS if fault not in set(without)]
    weights = [_WEIGHTS[fault] for fault in faults]
    plan = _plan(seed, chosen, chosen.choices(faults, weights, k=count), longest_wait_s)
    return with_operator(plan, acts) if acts else plan


def with_operator(plan: Plan, acts: Collection[Act] = tuple(Act)) -> Plan:
    """Return the plan with an operator who does such acts meanwhile."""
    chosen = random.Random(f"operator {plan.seed}")
    retention_s = chosen.choice([SHORT_RETENTION_S, LONG_RETENTION_S])
    weights = {act: weight for act, weight in _ACT_WEIGHTS.items() if act in acts}
    if retention_s == SHORT_RETENTION_S:
        # An inactive subscription gets no deliveries, and an event without any is removed: nobody
        # could tell afterwards whether one was lost.
        weights.pop(Act.ACTIVE, None)
    operations = tuple(
        # Often in a quick row: what changes again before the last change has settled.
        Operation(chosen.choice([0.0, 0.02, 0.05, 0.1, 0.4]), act, chosen.randrange(2**32))
        for act in chosen.choices(list(weights), list(weights.values()), k=OPERATIONS)
    )
    return replace(plan, operations=operations, retention_s=retention_s)


def each_once(seed: int, without: Iterable[Fault] = ()) -> Plan:
    """Return the plan that does each fault once, in this seed's order."""
    chosen = random.Random(seed)
    faults = [fault for fault in _WEIGHTS if fault not in set(without)]
    return _plan(seed, chosen, chosen.sample(faults, len(faults)), 0.9)


def _plan(seed: int, chosen: random.Random, faults: Iterable[Fault], longest_wait_s: float) -> Plan:
    # A start takes about half a second.
    steps = tuple(
        Step(chosen.uniform(0.1, longest_wait_s), fault, chosen.random()) for fault in faults
    )
    return Plan(seed, steps, tuple(chosen.randrange(2**32) for _ in range(16)))
