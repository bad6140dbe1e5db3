"""Owns which process a member's name belongs to: the one that has claimed it last.

A data directory holds the process's name in Kafka. Two that run on copies of one would stop each
other in turns; so each claims the name at its start, and whose producer is fenced looks whether it
still has it. (One that was only frozen has, and goes on.) The claim is a note of a group of its
own, beside an offset that says nothing.
"""

from confluent_kafka import Consumer, KafkaException, TopicPartition

from control.bus.kafka.client import Cluster
from control.bus.kafka.consumer_groups import committed
from control.model.errors import ConfigError
from control.model.names import Topic


def claim(cluster: Cluster) -> None:
    """The name is this process's from now on; blocks, raises `KafkaException`."""
    consumer = _consumer(cluster)
    try:
        place = TopicPartition(cluster.topic(Topic.TASK_COMMANDS), 0, 0, cluster.instance)
        for found in consumer.commit(offsets=[place], asynchronous=False) or ():
            if found.error is not None:
                raise KafkaException(found.error)
    finally:
        consumer.close()


def check_claim(cluster: Cluster) -> None:
    """Raise `ConfigError` when another process has claimed the name; blocks."""
    consumer = _consumer(cluster)
    try:
        place = TopicPartition(cluster.topic(Topic.TASK_COMMANDS), 0)
        (found,) = committed(consumer, [place])
    finally:
        consumer.close()
    if (found.metadata or "") not in {"", cluster.instance}:
        message = (
            f"another process on {cluster.servers} has taken the name {cluster.member} of this "
            "one: its data directory is a copy. Stop that one, or, if it shall go on, delete the "
            "file `member` here to be a process of your own; one copy only may own the state"
        )
        raise ConfigError(message)


def _consumer(cluster: Cluster) -> Consumer:
    group = cluster.group(f"process-{cluster.member}")
    return Consumer(cluster.consumer(group, lambda _: None))
