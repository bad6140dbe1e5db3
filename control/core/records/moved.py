"""Decides what goes along when the jobs of a database change buses, and as what."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from control.model.bus.messages import JobReady, Placed
from control.model.bus.records import Delivery, Record
from control.model.names import Group, Topic

# Whose progress decides what a topic still has to give. All others only follow.
READERS: Final[Mapping[Topic, tuple[Group, ...]]] = MappingProxyType(
    {
        Topic.TASK_RUNS: (Group.BALANCER,),
        Topic.TASK_RUNS_LOAD_BALANCED: (Group.DISPATCHER,),
        Topic.TASK_RUN_EVENTS: (Group.TRIGGER,),
        Topic.TASK_RUN_RESULTS: (Group.TRIGGER, Group.STATISTICS),
        Topic.TASK_COMMANDS: (Group.BALANCER,),
    }
)


def moved(delivery: Delivery, partitions: int) -> Record:
    """The record that takes its place on a bus with so many lanes for jobs.

    A placed job keeps its lease: whoever runs it goes on with it.
    """
    message = delivery.message
    match message:
        case JobReady(run_id=run_id):
            return Record(delivery.topic, message, run_id)
        case Placed(job=job):
            epoch = message.epoch_at(delivery.place)
            partition = delivery.partition % partitions
            kept = msgspec.structs.replace(message, partition=partition, epoch=epoch)
            return Record(delivery.topic, kept, job.run_id, partition)
        case _:
            return Record(delivery.topic, message)
