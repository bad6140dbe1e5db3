"""Owns a transactional producer of the Kafka client; everything here blocks, in a thread of trio's.

What can be tried again is; what a transaction cannot survive takes it back, or, where even that
fails, makes a new producer, whose start ends what the old one began.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

import trio
import trio.from_thread
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka import Message as KafkaMessage

from control.bus.kafka_client import Cluster, Trouble, abandonable, error_of, in_words
from control.bus.kafka_groups import Member
from control.bus.kafka_progress import Lane
from control.model import limits
from control.model.messages import ENCODER
from control.model.names import Group, Topic
from control.model.records import Record

_TAKEN_FOR_DEAD: Final = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.FENCED_INSTANCE_ID,
    }
)


class Outgoing(NamedTuple):
    """A record as Kafka takes it."""

    topic: Topic
    partition: int | None
    key: int | None
    value: bytes


def outgoing(record: Record) -> Outgoing:
    """Encode a record."""
    return Outgoing(record.topic, record.partition, record.key, ENCODER.encode(record.message))


class Relayed(NamedTuple):
    """How far the outbox is published with a piece: kept as the offset of a group of its own."""

    group: str
    row: int
    note: str


class InDoubt(Exception):
    """The connection broke while a transaction was being committed."""


class GroupRefused(Exception):
    """A group refused the progress of this member in this generation."""

    def __init__(self, group: Group, generation: bytes) -> None:
        super().__init__(group)
        self.group = group
        self.generation = generation


class Carry(NamedTuple):
    """Open records of a lane that are to be published once more."""

    lane: Lane
    topic: Topic
    partition: int
    records: list[tuple[int, bytes]]  # Their offsets now, and what they say.


class TransactionalProducer:
    """One producer; `name` tells a process's producers apart."""

    def __init__(
        self, name: str, cluster: Cluster, members: Mapping[Group, Member], trouble: Trouble
    ) -> None:
        self._name = name
        self._cluster = cluster
        self._members = members
        self._trouble = trouble
        self._producer: Producer | None = None
        self._notes = b""  # The group that the outbox's progress is kept in.

    def transact(
        self,
        records: Sequence[Outgoing],
        offsets: Mapping[Group, list[TopicPartition]],
        carries: Sequence[Carry],
        relayed: Relayed | None,
    ) -> list[dict[int, int]]:
        """One transaction: records, progress, open records once more; gives their new offsets.

        Raises `GroupRefused`, `InDoubt`, or `KafkaException` where it was taken back.
        """
        producer = self.ensure_open()
        committing = False
        try:
            producer.begin_transaction()
            for record in records:
                self._produce(producer, record)
            moved = [self._produce_again(producer, carry) for carry in carries]
            for group, positions in offsets.items():
                self._send_offsets(producer, group, positions)
            if relayed is not None:
                self._keep_row(producer, relayed)
            committing = True
            self._again(producer.commit_transaction)
        except KafkaException as failure:
            self._take_back(producer, failure, committing=committing)
            raise
        except GroupRefused:
            raise
        except BaseException:
            self._producer = None  # Cancelled on the way: Kafka takes it back by itself.
            raise
        return moved

    def kept_row(self, group: str) -> Relayed:
        """How far an outbox is published; blocks, raises `KafkaException`.

        Also while a transaction of it is not ended yet.
        """
        consumer = Consumer(self._cluster.consumer(group, self._trouble))
        try:
            place = TopicPartition(self._cluster.topic(Topic.TASK_COMMANDS), 0)
            (found,) = consumer.committed([place], timeout=limits.KAFKA_CALL_S)
            if found.error is not None:
                raise KafkaException(found.error)
            return Relayed(group, max(found.offset, 0), found.metadata or "")
        finally:
            consumer.close()

    def ensure_open(self) -> Producer:
        """The client, open; what it left unfinished when it died is ended by that."""
        if self._producer is None:
            producer = Producer(self._cluster.producer(self._name, self._trouble))
            self._again(producer.init_transactions)
            self._producer = producer
        return self._producer

    def _produce(
        self,
        producer: Producer,
        record: Outgoing,
        delivered: Callable[[KafkaError | None, KafkaMessage], None] | None = None,
    ) -> None:
        while True:
            try:
                producer.produce(
                    self._cluster.topic(record.topic),
                    record.value,
                    None if record.key is None else str(record.key).encode(),
                    -1 if record.partition is None else record.partition,
                    on_delivery=delivered,
                )
            except BufferError:  # The client's own queue is full: it empties while we wait.
                trio.from_thread.check_cancelled()
                producer.poll(limits.KAFKA_POLL_S)
            else:
                return

    def _produce_again(self, producer: Producer, carry: Carry) -> dict[int, int]:
        """Publish open records once more; gives their new offsets by their old ones."""
        places: dict[int, int] = {}

        def delivered(old: int, error: KafkaError | None, message: KafkaMessage) -> None:
            offset = message.offset()
            if error is None and offset is not None:
                places[old] = offset

        for old, value in carry.records:
            record = Outgoing(carry.topic, carry.partition, None, value)
            self._produce(producer, record, partial(delivered, old))
        self._again(producer.flush)
        if len(places) < len(carry.records):
            raise KafkaException(KafkaError(KafkaError._STATE))  # noqa: SLF001 - The client's name.
        trio.from_thread.run_sync(carry.lane.expect, places.values())
        return places

    def _send_offsets(
        self, producer: Producer, group: Group, positions: list[TopicPartition]
    ) -> None:
        generation = self._members[group].generation
        try:
            send = partial(producer.send_offsets_to_transaction, positions, generation)
            self._again(abandonable(send))
        except KafkaException as failure:
            if error_of(failure).code() not in _TAKEN_FOR_DEAD:
                raise
            self._take_back(producer, failure, committing=False)
            raise GroupRefused(group, generation) from failure

    def _keep_row(self, producer: Producer, relayed: Relayed) -> None:
        if not self._notes:
            consumer = Consumer(self._cluster.consumer(relayed.group, self._trouble))
            self._notes = consumer.consumer_group_metadata()
            consumer.close()
        place = TopicPartition(
            self._cluster.topic(Topic.TASK_COMMANDS), 0, relayed.row, relayed.note
        )
        send = partial(producer.send_offsets_to_transaction, [place], self._notes)
        self._again(abandonable(send))

    def _again(self, call: Callable[[float], object]) -> None:
        """Call until the cluster has answered; what it says otherwise is raised."""
        while True:
            trio.from_thread.check_cancelled()
            try:
                call(limits.KAFKA_CALL_S)
            except KafkaException as failure:
                error = error_of(failure)
                if not error.retriable() or error.txn_requires_abort():
                    raise
                self._trouble(in_words(error))
            else:
                return

    def _take_back(self, producer: Producer, failure: KafkaException, *, committing: bool) -> None:
        error = error_of(failure)
        if error.txn_requires_abort():
            try:
                self._again(producer.abort_transaction)
            except KafkaException:
                self._producer = None
            return
        # Fatal: only a new producer can go on, and it ends what this one began. If this happened
        # while committing, that may have been done before.
        self._producer = None
        if committing:
            raise InDoubt from failure
