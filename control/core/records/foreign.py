"""Decides whether a record on a topic is one of ours, and how one that is not is set aside.

Whatever comes from a topic may be wrong: written by another program, another version, or for
another database. A *foreign record* is one that cannot be read, has a schema or a type that does
not belong on its topic, holds numbers that fit nowhere, or names a job that is not of its run. It
indexes nothing and stops nothing: it becomes a dead letter.
"""

import base64
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from control.model import limits
from control.model.bus.child_messages import ChildEnded, StartChild, StopChild
from control.model.bus.messages import (
    DECODER,
    ENCODER,
    Announce,
    AskQueues,
    AskWhy,
    CancelJob,
    ClientChanged,
    Deadline,
    DispatcherUp,
    DrainWorker,
    Finished,
    JobReady,
    Learned,
    Loads,
    LogChunk,
    Message,
    Overran,
    Placed,
    Progressed,
    ReorderJob,
    Skipped,
    SplitChanged,
    Started,
    ToldQueues,
    ToldWhy,
    Unstarted,
    WorkerDown,
    WorkerQuiet,
    WorkerUp,
)
from control.model.bus.records import Delivery, Record
from control.model.bus.reports import SCHEMA, DeadLetter, RecordsLost
from control.model.errors import Rejected
from control.model.names import Topic

CARRIES: Final[Mapping[Topic, frozenset[type]]] = MappingProxyType(
    {
        Topic.TASK_RUNS: frozenset({JobReady}),
        Topic.TASK_RUNS_LOAD_BALANCED: frozenset({Placed}),
        Topic.TASK_RUN_EVENTS: frozenset(
            {Started, Unstarted, Progressed, StartChild, StopChild, RecordsLost}
        ),
        Topic.TASK_RUN_RESULTS: frozenset({Finished, Skipped, ChildEnded}),
        Topic.QUERY_TASK_RUN_RESULTS: frozenset({Finished}),
        Topic.NOTIFICATION_TASK_RUN_RESULTS: frozenset({Finished}),
        Topic.TASK_RUN_LOGS: frozenset({LogChunk}),
        Topic.TASK_COMMANDS: frozenset(
            {
                Announce,
                CancelJob,
                ClientChanged,
                Deadline,
                DrainWorker,
                ReorderJob,
                SplitChanged,
            }
        ),
        Topic.TASK_NEWS: frozenset(
            {
                AskQueues,
                AskWhy,
                DispatcherUp,
                Learned,
                Loads,
                Overran,
                ToldQueues,
                ToldWhy,
                WorkerDown,
                WorkerQuiet,
                WorkerUp,
            }
        ),
        Topic.TASK_DEAD_LETTERS: frozenset({DeadLetter}),
    }
)
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)


class Foreign(Rejected):
    """The record is not one of ours."""


def read(topic: Topic, value: bytes) -> Message:
    """What a record of this topic says; raises `Foreign`, in words."""
    try:
        # As text: what stays undecoded inside must be valid UTF-8 as well.
        message: Message = DECODER.decode(value.decode())
    except _UNREADABLE as failure:
        raise Foreign(str(failure)) from failure
    if message.schema != SCHEMA:
        raise Foreign(f"its schema is {message.schema}; this version reads schema {SCHEMA}")
    if type(message) not in CARRIES[topic]:
        tag = message.__struct_config__.tag
        raise Foreign(f"a record of type {tag} does not belong on {topic}")
    return message


def dead_letter(
    place: tuple[Topic, int, int], key: str | None, value: bytes, error: str, at_ms: int
) -> DeadLetter:
    """What is kept of a foreign record. `place`: topic, partition, offset."""
    kept = value[: limits.DEAD_LETTER_BYTES_MAX]
    try:
        text, encoding = kept.decode(), "utf-8"
    except UnicodeDecodeError:
        text, encoding = base64.b64encode(kept).decode(), "base64"
    topic, partition, offset = place
    return DeadLetter(
        topic=topic,
        partition=partition,
        offset=offset,
        key=key,
        value=text,
        encoding=encoding,
        size=len(value),
        error=error[: limits.TEXT_CHARS_MAX],
        at_ms=min(max(at_ms, 0), limits.TIME_MS_MAX),
    )


def set_aside(delivery: Delivery, key: int, error: str, now_ms: int) -> Record:
    """The dead letter of a record that could be read, and does not fit what is stored."""
    place = (delivery.topic, delivery.partition, delivery.offset)
    value = ENCODER.encode(delivery.message)
    return Record(Topic.TASK_DEAD_LETTERS, dead_letter(place, str(key), value, error, now_ms))
