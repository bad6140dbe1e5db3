"""Decides what is published again when records are gone from the bus before they were read."""

from collections.abc import Iterable, Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from control.model.bus.reports import RecordsLost
from control.model.names import Group, Topic


class Reach(IntEnum):
    """Which open jobs are published again; each includes those before it."""

    CHILDREN = 1  # Those that wait for their child runs to be started.
    WAITING = 2  # All that have not begun.
    BEGUN = 3


# By topic and its reader. Of all other topics nothing that is open depends on what was lost.
_REACH: Final[Mapping[tuple[Topic, Group], Reach]] = MappingProxyType(
    {
        (Topic.TASK_RUN_EVENTS, Group.TRIGGER): Reach.CHILDREN,
        (Topic.TASK_RUNS, Group.BALANCER): Reach.WAITING,
        (Topic.TASK_RUNS_LOAD_BALANCED, Group.DISPATCHER): Reach.BEGUN,
        (Topic.TASK_RUN_RESULTS, Group.TRIGGER): Reach.BEGUN,
    }
)


def reach_of(lost: Iterable[RecordsLost]) -> Reach | None:
    """Which jobs are published again; None: none is."""
    found = [_REACH[key] for each in lost if (key := (each.topic, each.group)) in _REACH]
    return max(found, default=None)
