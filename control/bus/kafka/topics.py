"""Decides what each topic of the bus must be in a Kafka cluster, and makes or checks it."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Final

import msgspec
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from control.bus.kafka.client import Cluster, error_of, is_no_topic
from control.model import limits
from control.model.errors import ConfigError
from control.model.names import Topic

_DAY_MS: Final = limits.DAY_MS
_FOR_EVER: Final = -1
_REPLICAS_MAX: Final = 3
_RUNS_PARTITIONS_MAX: Final = 4
_DIVIDED: Final = Topic.TASK_RUNS_LOAD_BALANCED  # Has as many partitions as every process says.


class Layout(msgspec.Struct, frozen=True):
    """What a topic must be."""

    partitions: int
    retention_ms: int


def layouts(partitions: int) -> dict[Topic, Layout]:
    """The layout of every topic; `partitions`: lanes for jobs.

    Jobs stay until they are done, however long that takes: the bus deletes what all have read.
    What has one reader, which sees it in one order, has one partition: each partition that a
    transaction touches costs the brokers a mark of its own. Only jobs that wait, perhaps for long
    and in no order, have a few, as each keeps a text of what is finished among them.
    """
    return {
        Topic.TASK_RUNS: Layout(min(partitions, _RUNS_PARTITIONS_MAX), _FOR_EVER),
        Topic.TASK_RUNS_LOAD_BALANCED: Layout(partitions, _FOR_EVER),
        Topic.TASK_RUN_EVENTS: Layout(1, 7 * _DAY_MS),
        Topic.TASK_RUN_RESULTS: Layout(1, 7 * _DAY_MS),
        Topic.QUERY_TASK_RUN_RESULTS: Layout(partitions, 7 * _DAY_MS),
        Topic.NOTIFICATION_TASK_RUN_RESULTS: Layout(partitions, 7 * _DAY_MS),
        Topic.TASK_RUN_LOGS: Layout(1, _DAY_MS),
        Topic.TASK_COMMANDS: Layout(1, 7 * _DAY_MS),
        Topic.TASK_NEWS: Layout(1, _DAY_MS),
        Topic.TASK_DEAD_LETTERS: Layout(1, 30 * _DAY_MS),
    }


class Topics:
    """Makes the topics that are missing, and refuses those that are not as they must be."""

    def __init__(self, cluster: Cluster, partitions: int) -> None:
        self._cluster = cluster
        self._layouts = layouts(partitions)
        self._ids: dict[Topic, str] = {}
        self._made: set[Topic] = set()

    def ensure(self, admin: AdminClient) -> None:
        """Blocks. Raises `ConfigError` for what an operator must mend, else `KafkaException`."""
        found = admin.list_topics(timeout=limits.KAFKA_CALL_S)
        names = {topic: self._cluster.topic(topic) for topic in self._layouts}
        missing = [topic for topic, name in names.items() if name not in found.topics]
        if missing:
            self._make(admin, missing, min(_REPLICAS_MAX, len(found.brokers)))
            raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))  # Look once more.
        counts = {}
        for topic, name in names.items():
            partitions = found.topics[name].partitions
            if any(partition.leader < 0 for partition in partitions.values()):
                raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
            counts[topic] = len(partitions)
        problems = [*self._wrong_counts(counts), *self.wrong_settings(admin)]
        if problems:
            raise ConfigError("; ".join(problems))

    def changed(self, admin: AdminClient) -> list[Topic]:
        """The topics that were replaced by others of their names since this was asked last.

        Blocks, raises `KafkaException`.
        """
        before, self._ids = self._ids, self._ids_now(admin)
        return [topic for topic, found in self._ids.items() if before.get(topic, found) != found]

    def are_the_same(self, admin: AdminClient) -> bool:
        """Whether all topics are there, and none was replaced; blocks, raises `KafkaException`."""
        try:
            return self._ids_now(admin) == self._ids
        except KafkaException as failure:
            if is_no_topic(error_of(failure)):
                return False
            raise

    def _ids_now(self, admin: AdminClient) -> dict[Topic, str]:
        names = {self._cluster.topic(topic): topic for topic in self._layouts}
        described = admin.describe_topics(
            TopicCollection([*names]), request_timeout=limits.KAFKA_CALL_S
        )
        return {names[name]: str(future.result().topic_id) for name, future in described.items()}

    def take_made(self) -> list[Topic]:
        """The topics that this process has made since this was asked last."""
        made, self._made = sorted(self._made), set()
        return made

    def wrong_settings(self, admin: AdminClient) -> Iterator[str]:
        """What is wrong with the topics' settings, and the command that mends it; blocks."""
        topics = {self._cluster.topic(topic): topic for topic in self._layouts}
        resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in topics]
        described = admin.describe_configs(resources, request_timeout=limits.KAFKA_CALL_S)
        for resource, future in described.items():
            found = {name: entry.value for name, entry in future.result().items()}
            yield from self._wrong(topics[resource.name], found)

    def _wrong(self, topic: Topic, found: Mapping[str, str]) -> Iterator[str]:
        name = self._cluster.topic(topic)
        size = int(found["max.message.bytes"])
        if size < limits.RECORD_BYTES_MAX:
            yield self._mend(
                f"the topic {name} takes records of {size} bytes only; allow more",
                name,
                f"max.message.bytes={limits.RECORD_BYTES_MAX}",
            )
        if found["cleanup.policy"] != "delete":
            yield self._mend(
                f"the topic {name} is compacted, which deletes records that are needed",
                name,
                "cleanup.policy=delete",
            )
        if self._layouts[topic].retention_ms != _FOR_EVER:
            return
        for setting in ("retention.ms", "retention.bytes"):
            if int(found[setting]) != _FOR_EVER:
                yield self._mend(
                    f"the topic {name} has {setting}={found[setting]}, which deletes jobs that "
                    "wait; they are deleted when they are done",
                    name,
                    f"{setting}={_FOR_EVER}",
                )

    def _mend(self, problem: str, name: str, setting: str) -> str:
        return (
            f"{problem}: kafka-configs.sh --bootstrap-server {self._cluster.servers} --alter "
            f"--entity-type topics --entity-name {name} --add-config {setting}"
        )

    def _make(self, admin: AdminClient, missing: Sequence[Topic], replicas: int) -> None:
        fresh = {
            self._cluster.topic(topic): NewTopic(
                self._cluster.topic(topic),
                num_partitions=self._layouts[topic].partitions,
                replication_factor=replicas,
                config={
                    "cleanup.policy": "delete",
                    "retention.ms": str(self._layouts[topic].retention_ms),
                    "max.message.bytes": str(limits.RECORD_BYTES_MAX),
                    "min.insync.replicas": str(max(replicas - 1, 1)),
                },
            )
            for topic in missing
        }
        made: dict[str, Future[None]] = admin.create_topics([*fresh.values()])
        for topic in missing:
            try:
                made[self._cluster.topic(topic)].result()
            except KafkaException as failure:
                if error_of(failure).code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise  # Otherwise another process of ours was faster.
            else:
                self._made.add(topic)

    def _wrong_counts(self, counts: Mapping[Topic, int]) -> Iterator[str]:
        """Where partitions are missing, or are more than the dispatchers divide.

        Elsewhere more than there must be are left alone: no record is written there.
        """
        divided = counts[_DIVIDED]
        if divided > self._layouts[_DIVIDED].partitions:
            yield (
                f"the topic {self._cluster.topic(_DIVIDED)} has {divided} partitions, not "
                f"{self._layouts[_DIVIDED].partitions}; start every process with --partitions "
                f"{divided}"
            )
            return
        for topic, layout in self._layouts.items():
            if counts[topic] < layout.partitions:
                name = self._cluster.topic(topic)
                yield (
                    f"the topic {name} has {counts[topic]} partitions, not {layout.partitions}; "
                    f"add them: kafka-topics.sh --bootstrap-server {self._cluster.servers} --alter "
                    f"--topic {name} --partitions {layout.partitions}"
                )
