"""Reads from a Kafka cluster what checks need: a topic's records, and what a group has left."""

from collections.abc import Iterator
from contextlib import closing

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka import Message as KafkaMessage

from control.bus.kafka.consumer_groups import restored
from control.model.bus.messages import DECODER, Finished
from control.model.bus.records import Delivery
from control.model.names import Group, Topic

_CALL_S = 10.0


class SystemTopics:
    """The topics of one system."""

    def __init__(self, address: str, prefix: str) -> None:
        self._address = address
        self._prefix = prefix

    def records(self, topic: Topic) -> list[KafkaMessage]:
        """Every committed record."""
        with closing(self._consumer("checks")) as consumer:
            return [
                record
                for partition in range(self._partitions(consumer, topic))
                for record in self._from(consumer, topic, partition, 0)
            ]

    def unfinished(self, topic: Topic, group: Group) -> list[Delivery]:
        """What a group has not finished with."""
        found = []
        name = f"{self._prefix}{topic}"
        with closing(self._consumer(f"taskplane-{group}")) as consumer:
            partitions = range(self._partitions(consumer, topic))
            lanes = restored(consumer, [TopicPartition(name, at) for at in partitions])
            for partition, lane in lanes.items():
                for record in self._from(consumer, topic, partition, lane.position):
                    offset, value = record.offset(), record.value()
                    assert offset is not None
                    message = DECODER.decode(value or b"")
                    found += lane.take_in([Delivery(message, topic, partition, offset)])
        return found

    def results(self) -> list[Finished]:
        """The results of all attempts."""
        found = [DECODER.decode(each.value() or b"") for each in self.records(_RESULTS)]
        return [message for message in found if isinstance(message, Finished)]

    def _consumer(self, group: str) -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self._address,
                "group.id": f"{self._prefix}{group}",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
            }
        )

    def _partitions(self, consumer: Consumer, topic: Topic) -> int:
        name = f"{self._prefix}{topic}"
        return len(consumer.list_topics(name, timeout=_CALL_S).topics[name].partitions)

    def _from(
        self, consumer: Consumer, topic: Topic, partition: int, offset: int
    ) -> Iterator[KafkaMessage]:
        consumer.assign([TopicPartition(f"{self._prefix}{topic}", partition, offset)])
        while (message := consumer.poll(_CALL_S)) is not None and message.error() is None:
            yield message


_RESULTS = Topic.TASK_RUN_RESULTS
