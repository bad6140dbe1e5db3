"""Owns what Kafka holds of a database that nobody serves now: what is left there, for whom.

Used to move jobs from one bus to another. Nothing here joins a group.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeVar

import msgspec
import trio
from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from control.bus.kafka.bus import OUTBOX
from control.bus.kafka.client import Cluster, Value, error_of, in_words
from control.bus.kafka.consumer_groups import restored
from control.bus.kafka.consumer_thread import delivery_of, insist
from control.bus.kafka.offsets import PartitionProgress
from control.bus.kafka.producer import Relayed, TransactionalProducer
from control.bus.kafka.topics import Topics
from control.core.offsets import OffsetTracker
from control.core.records.moved import READERS
from control.model import limits
from control.model.bus.records import Delivery
from control.model.errors import BusUnavailable
from control.model.names import Group, Topic

T = TypeVar("T")
# From where a group stands, or else from where the log begins, to its end.
_READS_ALL: Final[dict[str, Value]] = {
    "auto.offset.reset": "earliest",
    "enable.partition.eof": True,
    "fetch.wait.max.ms": 10,
}
# By topic and group, by partition.
Progress = Mapping[Topic, Mapping[Group, Mapping[int, PartitionProgress]]]
_GROUPS: Final = tuple(dict.fromkeys(group for groups in READERS.values() for group in groups))


class UnfinishedRecord(msgspec.Struct, frozen=True):
    """A record, and the groups that have not finished it."""

    delivery: Delivery
    groups: frozenset[Group]


class Handover:
    """One prefix of a cluster. All but `ask` blocks, and raises `KafkaException`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._said = "no broker answers"
        # One for all questions: an answer whose client is gone never comes.
        self._admin = AdminClient(cluster.admin())

    async def ask(self, call: Callable[[], T], patience_s: float = limits.MOVE_REACH_S) -> T:
        """Call in a thread until the cluster answers; raises `BusUnavailable` if it does not."""
        with trio.move_on_after(patience_s):
            return await trio.to_thread.run_sync(insist, call, self._trouble)
        message = f"{self._cluster.servers} cannot be used: {self._said}"
        raise BusUnavailable(message)

    def prepare(self, partitions: int) -> None:
        """Make the topics that are missing; raises `ConfigError` when one is not as it must be."""
        Topics(self._cluster, partitions).ensure(self._admin)

    def is_there(self) -> bool:
        """Whether there are such topics."""
        found = self._admin.list_topics(timeout=limits.KAFKA_CALL_S).topics
        return all(self._cluster.topic(topic) in found for topic in READERS)

    def outbox(self) -> Relayed:
        """Whose records are there, and the last row of its outbox that is."""
        outbox = TransactionalProducer(OUTBOX, self._cluster, lambda _: 1, {}, self._trouble)
        return outbox.relayed_row(self._cluster.group(OUTBOX))

    def claim(self, known: Relayed, owner: str) -> None:
        """From now on the topics are this database's, also before it has published anything."""
        place = TopicPartition(self._cluster.topic(Topic.TASK_COMMANDS), 0, known.row, owner)
        self._commit(OUTBOX, [place])

    def members(self) -> list[str]:
        """Who serves jobs there now."""
        names = {self._cluster.group(group): group for group in _GROUPS}
        described = self._admin.describe_consumer_groups(
            list(names), request_timeout=limits.KAFKA_CALL_S
        )
        return [
            f"{names[name]} {member.client_id} on {member.host.removeprefix('/')}"
            for name, future in described.items()
            for member in future.result().members
        ]

    def require_settled(self) -> None:
        """Raise while a transaction is under way, such as that of a process that has died."""
        ends = self._ends(IsolationLevel.READ_UNCOMMITTED)
        if self._ends(IsolationLevel.READ_COMMITTED) != ends:
            raise KafkaException(KafkaError(KafkaError.CONCURRENT_TRANSACTIONS))
        self.progress()  # Of one that has no records, only this shows that it is open.

    def progress(self) -> Progress:
        """Where every group stands; fails while a transaction with such progress is open."""
        return {
            topic: {group: self._lanes(topic, group) for group in groups}
            for topic, groups in READERS.items()
        }

    def finish_all(self) -> None:
        """Let every group begin at the ends of its topics: what is there is old."""
        ends = self._ends(IsolationLevel.READ_UNCOMMITTED)
        for group in _GROUPS:
            lanes = {
                (topic, partition): PartitionProgress(end, OffsetTracker(end))
                for (topic, partition), end in ends.items()
                if group in READERS[topic]
            }
            self._commit(group, self._places(lanes))

    def finish(self, topic: Topic, group: Group, reached: Mapping[int, int]) -> None:
        """Let a group be done with all up to these offsets."""
        lanes = self._lanes(topic, group)
        for partition, offset in reached.items():
            if partition in lanes:
                lane = lanes[partition]
                lane.finish(range(lane.position, offset + 1))
        self._commit(group, self._places({(topic, p): lane for p, lane in lanes.items()}))

    def left(self, topic: Topic, progress: Progress) -> Iterator[list[UnfinishedRecord]]:
        """What some group has not finished, in order; a `DeadLetter` where nobody can read it.

        Raises `BusUnavailable`, also in between.
        """
        settings = self._cluster.consumer(self._cluster.group("moving"), self._trouble)
        try:
            consumer = Consumer(settings | _READS_ALL)
            try:
                yield from self._read(consumer, topic, progress[topic])
            finally:
                consumer.close()
        except KafkaException as failure:
            message = f"{self._cluster.servers}: {in_words(error_of(failure))}"
            raise BusUnavailable(message) from failure

    def _read(
        self,
        consumer: Consumer,
        topic: Topic,
        lanes: Mapping[Group, Mapping[int, PartitionProgress]],
    ) -> Iterator[list[UnfinishedRecord]]:
        name = self._cluster.topic(topic)
        to_read = set(range(self._partitions(topic)))
        first = {p: min(found[p].position for found in lanes.values()) for p in to_read}
        # Any question about the topic: who begins to read without one waits for a second.
        consumer.get_watermark_offsets(TopicPartition(name, 0), timeout=limits.KAFKA_CALL_S)
        consumer.assign([TopicPartition(name, p, offset) for p, offset in first.items()])
        while to_read:
            one = consumer.poll(limits.KAFKA_CALL_S)
            if one is None:
                raise KafkaException(KafkaError(KafkaError.REQUEST_TIMED_OUT))
            portion = []
            for message in (one, *consumer.consume(limits.RECEIVE_RECORDS_MAX - 1, 0)):
                error, partition = message.error(), message.partition()
                assert partition is not None
                if error is None:
                    left = _left(delivery_of(topic, message), lanes)
                    if left.groups:
                        portion.append(left)
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - Its name.
                    to_read.discard(partition)
                else:
                    raise KafkaException(error)
            yield portion

    def _ends(self, isolation: IsolationLevel) -> dict[tuple[Topic, int], int]:
        topics = {self._cluster.topic(topic): topic for topic in READERS}
        places = {
            TopicPartition(name, partition): OffsetSpec.latest()  # type: ignore[no-untyped-call]  # Its own stub lacks it.
            for name, topic in topics.items()
            for partition in range(self._partitions(topic))
        }
        found = self._admin.list_offsets(
            places, isolation_level=isolation, request_timeout=limits.KAFKA_CALL_S
        )
        return {
            (topics[place.topic], place.partition): future.result().offset
            for place, future in found.items()
        }

    def _partitions(self, topic: Topic) -> int:
        name = self._cluster.topic(topic)
        found = self._admin.list_topics(name, timeout=limits.KAFKA_CALL_S).topics[name]
        if found.error is not None:
            raise KafkaException(found.error)
        return len(found.partitions)

    def _lanes(self, topic: Topic, group: Group) -> dict[int, PartitionProgress]:
        name = self._cluster.topic(topic)
        places = [TopicPartition(name, p) for p in range(self._partitions(topic))]
        consumer = self._consumer(group)
        try:
            return restored(consumer, places)
        finally:
            consumer.close()

    def _places(self, lanes: Mapping[tuple[Topic, int], PartitionProgress]) -> list[TopicPartition]:
        return [
            TopicPartition(self._cluster.topic(topic), partition, *lane.committed())
            for (topic, partition), lane in lanes.items()
        ]

    def _commit(self, group: Group | str, places: list[TopicPartition]) -> None:
        consumer = self._consumer(group)
        try:
            for place in consumer.commit(offsets=places, asynchronous=False) or ():
                if place.error is not None:
                    raise KafkaException(place.error)
        finally:
            consumer.close()

    def _consumer(self, group: Group | str) -> Consumer:
        return Consumer(self._cluster.consumer(self._cluster.group(group), self._trouble))

    def _trouble(self, error: KafkaError) -> None:
        self._said = in_words(error)


def _left(
    delivery: Delivery, lanes: Mapping[Group, Mapping[int, PartitionProgress]]
) -> UnfinishedRecord:
    groups = set()
    for group, found in lanes.items():
        lane = found[delivery.partition]
        if lane.take_in([delivery]):
            groups.add(group)
            lane.finish((delivery.offset,))  # It need not remember it.
    return UnfinishedRecord(delivery, frozenset(groups))
