"""Owns what the bus says of itself (records set aside, records lost), and every message's base."""

from typing import Final

import msgspec

from control.model.names import Group, Topic
from control.model.numbers import Count, Instant, Partition

SCHEMA: Final = 1  # Of all messages; a newer service may add fields, and change none.


class Versioned(msgspec.Struct, frozen=True, kw_only=True):
    """What every message has."""

    schema: int = SCHEMA


class DeadLetter(Versioned, frozen=True, kw_only=True, tag="dead_letter"):
    """A record that no reader could use, and its position. `value`: its text, cut off.

    What is no text stands there in base64, and `encoding` says so. `size`: bytes of all of it; 0:
    of an earlier version, which did not say. (Such a one names the topic with its prefix.)
    """

    topic: str
    partition: Partition
    offset: Count
    key: str | None
    value: str
    encoding: str
    size: int = 0
    error: str
    at_ms: Instant


class RecordsLost(Versioned, frozen=True, kw_only=True, tag="records_lost"):
    """Records below this offset are gone from a topic, and this group had not finished them all.

    They were deleted, or the topic was. The state's owner publishes again what is open.
    """

    topic: Topic
    group: Group
    partition: Partition
    below: Count
