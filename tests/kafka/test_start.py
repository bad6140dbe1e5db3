"""Decides that what an operator must mend at Kafka is an error at the start; its advice works."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import trio
from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
)

from bench.servers.broker import Broker
from bench.servers.fleet import control_plane
from control.bus.kafka.bus import KafkaBus
from control.bus.kafka.client import Cluster, error_of, passes
from control.bus.kafka.startup_check import StartupCheck
from control.bus.kafka.topics import Topics
from control.model.errors import BusUnavailable, ConfigError
from control.model.names import Group, Topic

pytestmark = pytest.mark.kafka

PATIENCE_S = 60.0


def check(
    broker: Broker, prefix: str, partitions: int = 4, properties: Mapping[str, str] = {}
) -> None:
    """What each start begins with, until the cluster has answered."""
    cluster = Cluster(servers=broker.address, member="m", prefix=prefix, properties=properties)
    found = StartupCheck(cluster, Topics(cluster, partitions))
    while True:
        try:
            found.run()
        except KafkaException as failure:
            if not passes(error_of(failure)):
                raise
        else:
            return


def admin_of(broker: Broker) -> AdminClient:
    return AdminClient({"bootstrap.servers": broker.address})


def enlarge(broker: Broker, name: str, partitions: int) -> None:
    admin = admin_of(broker)
    for future in admin.create_partitions([NewPartitions(name, partitions)]).values():
        future.result(PATIENCE_S)


def alter(broker: Broker, name: str, setting: str, value: str) -> None:
    entry = ConfigEntry(setting, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=[entry])
    admin = admin_of(broker)
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(PATIENCE_S)


def eventually_refused(look: Callable[[], None]) -> str:
    """What is wrong, as soon as brokers know of a change."""
    while True:
        try:
            look()
        except ConfigError as error:
            return str(error)


def test_topics_that_are_made_pass_their_own_check(broker: Broker, prefix: str) -> None:
    check(broker, prefix)
    check(broker, prefix)


def test_more_lanes_than_asked_for_are_refused_with_advice_that_works(
    broker: Broker, prefix: str
) -> None:
    check(broker, prefix, 2)
    lanes = f"{prefix}{Topic.TASK_RUNS_LOAD_BALANCED}"
    enlarge(broker, lanes, 6)
    error = eventually_refused(lambda: check(broker, prefix, 2))
    assert f"the topic {lanes} has 6 partitions, not 2" in error
    assert "start every process with --partitions 6" in error
    error = eventually_refused(lambda: check(broker, prefix, 6))
    wanted = [part.split(" --partitions ") for part in error.split("--topic ")[1:]]
    assert len(wanted) == 3  # All of them at once.
    for name, count in wanted:
        enlarge(broker, name, int(count.partition(";")[0]))
    while True:
        try:
            check(broker, prefix, 6)
        except ConfigError:
            continue  # The broker does not know of it yet.
        break


@pytest.mark.parametrize("topic", [Topic.TASK_RUNS, Topic.TASK_RUN_RESULTS, Topic.TASK_NEWS])
def test_partitions_that_nobody_needs_are_left_alone(
    broker: Broker, prefix: str, topic: Topic
) -> None:
    check(broker, prefix)
    enlarge(broker, f"{prefix}{topic}", 9)
    check(broker, prefix)


def test_a_prefix_that_collides_is_refused(broker: Broker, prefix: str) -> None:
    check(broker, prefix)
    with pytest.raises(ConfigError, match=r"collides.*give another --topic-prefix"):
        check(broker, prefix.replace(".", "_"))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("session.timeout.ms", "500", "session.timeout.ms is 500, and the brokers allow 1000"),
        ("transaction.timeout.ms", "99999999", "check transaction.timeout.ms"),
    ],
)
def test_a_setting_that_only_the_broker_refuses_is_refused(
    broker: Broker, prefix: str, name: str, value: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        check(broker, prefix, properties={name: value})


@pytest.mark.parametrize(
    ("setting", "value", "mend"),
    [
        ("retention.ms", "60000", "retention.ms=-1"),
        ("retention.bytes", "1000000", "retention.bytes=-1"),
        ("cleanup.policy", "compact", "cleanup.policy=delete"),
        ("max.message.bytes", "1000", "max.message.bytes=20971520"),
    ],
)
def test_settings_that_delete_or_refuse_jobs_are_refused(
    broker: Broker, prefix: str, setting: str, value: str, mend: str
) -> None:
    check(broker, prefix)
    name = f"{prefix}{Topic.TASK_RUNS}"
    alter(broker, name, setting, value)
    error = eventually_refused(lambda: check(broker, prefix))
    assert f"--entity-name {name} --add-config {mend}" in error
    alter(broker, name, *mend.split("="))
    check(broker, prefix)


@pytest.mark.e2e
@pytest.mark.slow
def test_a_control_plane_that_is_refused_ends_before_it_is_ready(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    check(broker, prefix, 2)
    flags = ("--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0", "--partitions", "1")
    plane = control_plane(tmp_path / "plane", broker.address, prefix, *flags)
    with pytest.raises(SystemExit):
        plane.start()
    assert plane.exit_code() == 2
    assert "start every process with --partitions 2" in plane.said()
    assert "ready  " not in plane.said()


async def test_a_service_that_starts_while_the_bus_ends_is_refused_in_words(
    broker: Broker, prefix: str
) -> None:
    await trio.to_thread.run_sync(check, broker, prefix, 2)
    cluster = Cluster(servers=broker.address, member="m", prefix=prefix)
    bus = KafkaBus(cluster, 1, owns_state=True)
    with pytest.raises(ExceptionGroup) as refused:
        await bus.run()
    assert refused.group_contains(ConfigError)
    for topic in (Topic.TASK_RUNS_LOAD_BALANCED, Topic.TASK_RUN_RESULTS):
        with pytest.raises(BusUnavailable):
            await bus.subscribe(topic, Group.DISPATCHER)
    with pytest.raises(BusUnavailable):
        await bus.tail(Topic.TASK_NEWS)
