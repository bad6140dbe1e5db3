"""Owns what services hand to the bus and get from it: records, deliveries, receipts."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from control.model import limits
from control.model.bus.messages import Message
from control.model.names import Group, Topic


class Record(msgspec.Struct, frozen=True):
    """A message on its way to the bus. `partition` None: by `key`, or the topic's only one."""

    topic: Topic
    message: Message
    key: int | None = None
    partition: int | None = None


class Delivery(msgspec.Struct, frozen=True):
    """A message as a subscriber gets it. (topic, partition, offset) names it for ever."""

    message: Message
    topic: Topic
    partition: int
    offset: int

    @property
    def place(self) -> int:
        """Partition and offset as one number, which names the record in its topic for ever."""
        return self.offset * limits.PARTITIONS_MAX + self.partition


class Receipts(msgspec.Struct, frozen=True):
    """Offsets that a group has finished with, in any order."""

    group: Group
    topic: Topic
    partition: int
    offsets: Sequence[int]


def receipts_of(group: Group, topic: Topic, places: Iterable[int]) -> list[Receipts]:
    """The receipts of records that are named by their places."""
    offsets: defaultdict[int, list[int]] = defaultdict(list)
    for place in places:
        offset, partition = divmod(place, limits.PARTITIONS_MAX)
        offsets[partition].append(offset)
    return [Receipts(group, topic, partition, found) for partition, found in offsets.items()]
