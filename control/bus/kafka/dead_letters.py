"""Owns the records that were set aside: which are left, and what an operator does with them.

A group of its own keeps which of them are done with, as other groups do with jobs. Everything
blocks, and raises `BusUnavailable` where no broker answers.
"""

import base64
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from control.bus.kafka.client import Cluster, Value, error_of, in_words
from control.bus.kafka.consumer_groups import begin_within, committed
from control.bus.kafka.offsets import PartitionProgress
from control.core.records.foreign import Foreign, read
from control.core.records.headers import headers_of
from control.model import limits
from control.model.bus.messages import Message
from control.model.bus.records import Delivery
from control.model.bus.reports import DeadLetter
from control.model.errors import BusUnavailable, Conflict, NotFound
from control.model.names import Topic

_GROUP: Final = "dead-letters"
_TO_THE_END: Final[dict[str, Value]] = {"enable.partition.eof": True, "fetch.wait.max.ms": 10}


class SetAside(NamedTuple):
    """A dead letter; its offset is its id."""

    id: int
    letter: DeadLetter


class DeadLetters:
    """Those of one prefix of a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._name = cluster.topic(Topic.TASK_DEAD_LETTERS)

    def left(self) -> list[SetAside]:
        """Those that were not dropped or replayed, oldest first."""
        with self._consumer() as consumer:
            return self._read(consumer)[0]

    def drop(self, ids: Collection[int]) -> None:
        """Be done with these; raises `NotFound`."""
        with self._consumer() as consumer:
            found, lane = self._read(consumer)
            _chosen(found, ids)
            consumer.commit(offsets=[self._done(lane, ids)], asynchronous=False)

    def replay(self, ids: Collection[int]) -> None:
        """Put these on their topics again and be done with them, all or none.

        Raises `NotFound`, and `Conflict` for one that this version cannot use either.
        """
        with self._consumer() as consumer:
            found, lane = self._read(consumer)
            records = [(each, *self._readable(each)) for each in _chosen(found, ids)]
            producer = Producer(self._cluster.producer(_GROUP, _ignore))
            producer.init_transactions(limits.KAFKA_CALL_S)
            producer.begin_transaction()
            for (_, letter), value, message in records:
                producer.produce(
                    self._cluster.topic(self._topic(letter)),
                    value,
                    None if letter.key is None else letter.key.encode(),
                    letter.partition,
                    headers=headers_of(message),
                )
            done, member = self._done(lane, ids), consumer.consumer_group_metadata()
            producer.send_offsets_to_transaction([done], member, limits.KAFKA_CALL_S)
            producer.commit_transaction(limits.KAFKA_CALL_S)

    def _readable(self, aside: SetAside) -> tuple[bytes, Message]:
        """The whole record; raises `Conflict` where it is of no use, or only its begin is left."""
        letter = aside.letter
        value = letter.value.encode()
        if letter.encoding == "base64":
            value = base64.b64decode(value)
        whole = letter.size or (len(value) if len(value) < limits.DEAD_LETTER_BYTES_MAX else -1)
        topic = self._topic(letter)
        if whole != len(value):
            value = self._original(topic, letter)
        try:
            message = read(topic, value)
        except Foreign as error:
            why = (
                f"dead letter {aside.id} cannot be used by this version either: {error}; drop it, "
                "or replay it with the version that wrote it"
            )
            raise Conflict(why) from error
        return value, message

    def _topic(self, letter: DeadLetter) -> Topic:
        name = letter.topic.removeprefix(self._cluster.prefix)  # Earlier versions wrote it too.
        try:
            return Topic(name)
        except ValueError:
            message = f"a dead letter of {name}, which is no topic of this version: drop it"
            raise Conflict(message) from None

    def _original(self, topic: Topic, letter: DeadLetter) -> bytes:
        """The record itself, where it still is; raises `Conflict`."""
        place = TopicPartition(self._cluster.topic(topic), letter.partition, letter.offset)
        with self._consumer() as consumer:
            consumer.assign([place])
            found = consumer.poll(limits.KAFKA_CALL_S)
        if found is None or found.error() is not None or found.offset() != letter.offset:
            message = (
                f"only the first {limits.DEAD_LETTER_BYTES_MAX:,} bytes of the record were kept, "
                f"and {topic}[{letter.partition}]@{letter.offset} is no more there"
            )
            raise Conflict(message)
        return found.value() or b""

    def _read(self, consumer: Consumer) -> tuple[list[SetAside], PartitionProgress]:
        place = TopicPartition(self._name, 0)
        (progress,) = committed(consumer, [place])
        lane = PartitionProgress.restored(progress.offset, progress.metadata)
        begin_within(consumer, self._name, {0: lane})
        consumer.assign([TopicPartition(self._name, 0, lane.position)])
        deliveries: list[Delivery] = []
        while True:
            found = consumer.poll(limits.KAFKA_CALL_S)
            if found is None:
                raise KafkaException(KafkaError(KafkaError.REQUEST_TIMED_OUT))
            error, offset, value = found.error(), found.offset(), found.value() or b""
            assert offset is not None
            if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
                raise KafkaException(error)
            if error is not None:
                lane.reached_end(offset)
                break
            try:
                message = read(Topic.TASK_DEAD_LETTERS, value)
            except Foreign:
                continue  # Not written by us.
            deliveries += lane.take_in([Delivery(message, Topic.TASK_DEAD_LETTERS, 0, offset)])
        return [
            SetAside(each.offset, each.message)
            for each in deliveries
            if isinstance(each.message, DeadLetter)
        ], lane

    def _done(self, lane: PartitionProgress, ids: Collection[int]) -> TopicPartition:
        lane.finish(ids)
        offset, text = lane.committed()
        if len(text) > limits.PROGRESS_CHARS_MAX:
            message = "too many older dead letters are left between these: begin with the oldest"
            raise Conflict(message)
        return TopicPartition(self._name, 0, offset, text)

    @contextmanager
    def _consumer(self) -> Iterator[Consumer]:
        settings = self._cluster.consumer(self._cluster.group(_GROUP), _ignore)
        consumer = Consumer(settings | _TO_THE_END)
        try:
            yield consumer
        except KafkaException as failure:
            message = f"{self._cluster.servers}: {in_words(error_of(failure))}"
            raise BusUnavailable(message) from failure
        finally:
            consumer.close()


def _chosen(found: Sequence[SetAside], ids: Collection[int]) -> list[SetAside]:
    missing = sorted(set(ids) - {each.id for each in found})
    if missing:
        message = f"there is no dead letter {missing[0]}"
        raise NotFound(message)
    return [each for each in found if each.id in ids]


def _ignore(_: KafkaError) -> None:
    """A call that fails says so itself."""
