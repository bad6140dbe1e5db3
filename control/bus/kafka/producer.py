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

from control.bus.kafka.client import Cluster, Trouble, abandonable, error_of
from control.bus.kafka.consumer_groups import GroupMember, committed
from control.bus.kafka.offsets import PartitionProgress
from control.core.records.headers import Headers, headers_of
from control.model import limits
from control.model.bus.messages import ENCODER
from control.model.bus.records import Record
from control.model.names import Group, Topic

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
    headers: Headers


def outgoing(record: Record) -> Outgoing:
    """Encode a record."""
    message = record.message
    value, headers = ENCODER.encode(message), headers_of(message)
    return Outgoing(record.topic, record.partition, record.key, value, headers)


class Relayed(NamedTuple):
    """How far the outbox is published with a piece: kept as the offset of a group of its own."""

    group: str
    row: int
    note: str


class InDoubt(Exception):
    """A connection broke while a transaction was under way: whether it counts must be looked up."""


class GroupRefused(Exception):
    """A group refused the progress of this member in this generation."""

    def __init__(self, group: Group, generation: bytes) -> None:
        super().__init__(group)
        self.group = group
        self.generation = generation


class Carry(NamedTuple):
    """Open records of a lane that are to be published once more."""

    lane: PartitionProgress
    topic: Topic
    partition: int
    records: list[tuple[int, Outgoing]]  # Their offsets now, and what is written.


class TransactionalProducer:
    """One producer; `name` tells a process's producers apart."""

    def __init__(
        self,
        name: str,
        cluster: Cluster,
        partitions_of: Callable[[Topic], int],
        members: Mapping[Group, GroupMember],
        trouble: Trouble,
    ) -> None:
        self._name = name
        self.cluster = cluster
        self._partitions_of = partitions_of
        self.members = members
        self.trouble = trouble
        self._producer: Producer | None = None
        self._shaken = False  # A connection failed since the transaction began.
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
        producer.poll(0)
        committing, self._shaken = False, False
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
            producer.commit_transaction(limits.KAFKA_CALL_S)
        except KafkaException as failure:
            if not committing or error_of(failure).txn_requires_abort():
                self._take_back(producer, failure)
                raise
            self._producer = None
            raise InDoubt from failure
        except GroupRefused:
            raise
        except BaseException:
            self._producer = None  # Cancelled on the way: Kafka takes it back by itself.
            raise
        producer.poll(0)
        if self._shaken:
            self._producer = None
            raise InDoubt
        return moved

    def relayed_row(self, group: str) -> Relayed:
        """How far an outbox is published; blocks, raises `KafkaException`.

        Also while a transaction of it is not ended yet.
        """
        consumer = Consumer(self.cluster.consumer(group, self.trouble))
        try:
            place = TopicPartition(self.cluster.topic(Topic.TASK_COMMANDS), 0)
            (found,) = committed(consumer, [place])
            return Relayed(group, max(found.offset, 0), found.metadata or "")
        finally:
            consumer.close()

    def ensure_open(self) -> Producer:
        """The client, open; what it left unfinished when it died is ended by that."""
        if self._producer is None:
            producer = Producer(self.cluster.producer(self._name, self._heard))
            self._again(producer.init_transactions)
            self._sweep(producer)
            self._producer = producer
        return self._producer

    def _produce(
        self,
        producer: Producer,
        record: Outgoing,
        delivered: Callable[[KafkaError | None, KafkaMessage], None] | None = None,
    ) -> None:
        partition = record.partition
        if partition is None:
            # Not by the client's choice: it would use added partitions at once, and
            # readers begin with them at their next start only.
            partition = (record.key or 0) % self._partitions_of(record.topic)
        while True:
            try:
                producer.produce(
                    self.cluster.topic(record.topic),
                    record.value,
                    None if record.key is None else str(record.key).encode(),
                    partition,
                    on_delivery=delivered,
                    headers=record.headers,
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

        for old, record in carry.records:
            self._produce(producer, record, partial(delivered, old))
        self._again(producer.flush)
        if len(places) < len(carry.records):
            raise KafkaException(KafkaError(KafkaError._STATE))  # noqa: SLF001 - The client's name.
        trio.from_thread.run_sync(carry.lane.expect, places.values())
        return places

    def _send_offsets(
        self, producer: Producer, group: Group, positions: list[TopicPartition]
    ) -> None:
        generation = self.members[group].generation
        try:
            send = partial(producer.send_offsets_to_transaction, positions, generation)
            self._again(abandonable(send))
        except KafkaException as failure:
            if error_of(failure).code() not in _TAKEN_FOR_DEAD:
                raise
            self._take_back(producer, failure)
            raise GroupRefused(group, generation) from failure

    def _keep_row(self, producer: Producer, relayed: Relayed) -> None:
        if not self._notes:
            consumer = Consumer(self.cluster.consumer(relayed.group, self.trouble))
            self._notes = consumer.consumer_group_metadata()
            consumer.close()
        place = TopicPartition(
            self.cluster.topic(Topic.TASK_COMMANDS), 0, relayed.row, relayed.note
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
                self.trouble(error)
            else:
                return

    def _take_back(self, producer: Producer, failure: KafkaException) -> None:
        if error_of(failure).txn_requires_abort():
            try:
                self._again(producer.abort_transaction)
            except KafkaException:
                self._producer = None
        else:  # Only a new producer can go on, and it ends what this one began.
            self._producer = None

    def _sweep(self, producer: Producer) -> None:
        """Leave nothing open of what earlier producers of this name began.

        A broker that is coming up may say that a transaction has ended, and leave it open in some
        partitions: it skips those that have no leader yet (Kafka 4.4). Who reads there, or asks how
        far the group is, would wait for ever. A transaction that touches everything and is taken
        back ends what is still open there.
        """
        found = producer.list_topics(timeout=limits.KAFKA_CALL_S).topics
        producer.begin_transaction()
        for topic in Topic:
            known = found.get(self.cluster.topic(topic))
            if known is None:  # It was deleted.
                raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
            for partition in known.partitions:
                self._produce(producer, Outgoing(topic, partition, None, b"", []))
        while producer.flush(limits.KAFKA_POLL_S):
            trio.from_thread.check_cancelled()
        try:
            self._keep_row(producer, Relayed(self.cluster.group(self._name), 0, ""))
        except KafkaException as failure:
            if not error_of(failure).txn_requires_abort():
                raise
        # Otherwise its members would not have it from us: what counts is that it was touched.
        self._again(producer.abort_transaction)

    def _heard(self, error: KafkaError) -> None:
        """A connection failed."""
        self._shaken = True
        self.trouble(error)
