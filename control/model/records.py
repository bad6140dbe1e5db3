"""Owns what services hand to the bus and get from it: records, deliveries, receipts."""

from collections.abc import Sequence

import msgspec

from control.model.messages import Message
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


class Receipts(msgspec.Struct, frozen=True):
    """Offsets that a group has finished with, in any order."""

    group: Group
    topic: Topic
    partition: int
    offsets: Sequence[int]
