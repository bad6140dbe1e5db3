"""Decides what is published again when records are gone from the bus before they were read."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from control.model.bus_reports import RecordsLost
from control.model.names import Group, Topic

# By topic and its reader: whether jobs that have begun are concerned too. Of all other topics
# nothing that is open depends on what was lost.
_CONCERNS: Final[Mapping[tuple[Topic, Group], bool]] = MappingProxyType(
    {
        (Topic.TASK_RUNS, Group.BALANCER): False,
        (Topic.TASK_RUNS_LOAD_BALANCED, Group.DISPATCHER): True,
        (Topic.TASK_RUN_RESULTS, Group.TRIGGER): True,
    }
)


def begun_too(lost: Iterable[RecordsLost]) -> bool | None:
    """Whether jobs that have begun are published again too; None: nothing is."""
    found = [_CONCERNS[each.topic, each.group] for each in lost if _is_open(each)]
    return any(found) if found else None


def _is_open(lost: RecordsLost) -> bool:
    return (lost.topic, lost.group) in _CONCERNS
