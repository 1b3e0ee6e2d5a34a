"""What is done to relayd in one run, and when: all of it from one seed."""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


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


KILLS = frozenset({Fault.KILL, Fault.KILL_AT_START, Fault.KILL_AT_SYNC, Fault.KILL_AT_RELOAD})

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
}


@dataclass(frozen=True, slots=True)
class Step:
    """One fault, `wait_s` after the one before. What `amount` (0 to 1) scales is the fault's own."""

    wait_s: float
    fault: Fault
    amount: float


@dataclass(frozen=True, slots=True)
class Plan:
    """A run's steps, and the seeds of those who take part in it."""

    seed: int
    steps: tuple[Step, ...]
    seeds: tuple[int, ...]


def make_plan(
    seed: int, count: int, without: Iterable[Fault] = (), longest_wait_s: float = 0.9
) -> Plan:
    """Return the plan of `count` faults that this seed stands for.

    A fault that cannot be made here is left out, so that a seed stands for a plan together with
    what the machine can do.
    """
    chosen = random.Random(seed)
    faults = [fault for fault in _WEIGHTS if fault not in set(without)]
    weights = [_WEIGHTS[fault] for fault in faults]
    return _plan(seed, chosen, chosen.choices(faults, weights, k=count), longest_wait_s)


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
