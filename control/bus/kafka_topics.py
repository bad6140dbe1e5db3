"""Decides what each topic of the bus must be in a Kafka cluster, and makes or checks it."""

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Final

import msgspec
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from control.bus.kafka_client import Cluster, error_of
from control.model import limits
from control.model.errors import ConfigError
from control.model.names import Topic

_DAY_MS: Final = limits.DAY_MS
_FOR_EVER: Final = -1
_REPLICAS_MAX: Final = 3
_RUNS_PARTITIONS_MAX: Final = 4


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

    def ensure(self, admin: AdminClient) -> None:
        """Blocks. Raises `ConfigError` for what an operator must mend, else `KafkaException`."""
        found = admin.list_topics(timeout=limits.KAFKA_CALL_S)
        names = {self._cluster.topic(topic): layout for topic, layout in self._layouts.items()}
        missing = [name for name in names if name not in found.topics]
        if missing:
            replicas = min(_REPLICAS_MAX, len(found.brokers))
            self._make(admin, missing, names, replicas)
            raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))  # Look once more.
        for name, layout in names.items():
            partitions = found.topics[name].partitions
            self._check_partitions(name, layout, len(partitions))
            if any(partition.leader < 0 for partition in partitions.values()):
                raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
        self._check_settings(admin, list(names))

    def _make(
        self, admin: AdminClient, missing: Sequence[str], names: dict[str, Layout], replicas: int
    ) -> None:
        fresh = [
            NewTopic(
                name,
                num_partitions=names[name].partitions,
                replication_factor=replicas,
                config={
                    "retention.ms": str(names[name].retention_ms),
                    "max.message.bytes": str(limits.RECORD_BYTES_MAX),
                    "min.insync.replicas": str(max(replicas - 1, 1)),
                },
            )
            for name in missing
        ]
        made: dict[str, Future[None]] = admin.create_topics(fresh)
        for future in made.values():
            try:
                future.result()
            except KafkaException as failure:
                if error_of(failure).code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise  # Otherwise another process of ours was faster.

    def _check_partitions(self, name: str, layout: Layout, partitions: int) -> None:
        if partitions == layout.partitions:
            return
        servers = self._cluster.servers
        if partitions < layout.partitions:
            mend = (
                f"add them: kafka-topics.sh --bootstrap-server {servers} --alter --topic {name} "
                f"--partitions {layout.partitions}"
            )
        else:
            mend = (
                f"start with --partitions {partitions}, or another prefix"
                if layout.partitions > 1
                else f"delete the topic while nothing runs: kafka-topics.sh --bootstrap-server "
                f"{servers} --delete --topic {name}"
            )
        message = f"the topic {name} has {partitions} partitions, not {layout.partitions}; {mend}"
        raise ConfigError(message)

    def _check_settings(self, admin: AdminClient, names: Sequence[str]) -> None:
        resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in names]
        for resource, future in admin.describe_configs(resources).items():
            size = int(future.result()["max.message.bytes"].value)
            if size < limits.RECORD_BYTES_MAX:
                message = (
                    f"the topic {resource.name} takes records of {size} bytes only; allow more: "
                    f"kafka-configs.sh --bootstrap-server {self._cluster.servers} --alter "
                    f"--entity-type topics --entity-name {resource.name} "
                    f"--add-config max.message.bytes={limits.RECORD_BYTES_MAX}"
                )
                raise ConfigError(message)
