"""Decides that the broker of the tests is real, keeps what it was given, and says what it lacks."""

from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from bench.servers.broker import Broker, NoBroker, obtain

# A test waits for the broker, not for a clock: this only ends one that would wait forever.
PATIENCE_S = 60.0


def create(broker: Broker, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": broker.address})
    for created in admin.create_topics([NewTopic(topic, 1, 1)]).values():
        created.result(PATIENCE_S)


def write(broker: Broker, topic: str, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": broker.address})
    producer.produce(topic, value)
    assert producer.flush(PATIENCE_S) == 0


def read(broker: Broker, topic: str, count: int) -> list[bytes | None]:
    consumer = Consumer({"bootstrap.servers": broker.address, "group.id": topic})
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        return [message.value() for message in consumer.consume(count, PATIENCE_S)]
    finally:
        consumer.close()


def java(directory: Path, version: str) -> str:
    """A PATH on which there is only a java that claims to be of this version."""
    program = directory / "java"
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n", encoding="utf-8")
    program.chmod(0o755)
    return str(directory)


@pytest.mark.kafka
@pytest.mark.slow
def test_keeps_what_was_written(broker: Broker, prefix: str) -> None:
    create(broker, prefix)
    write(broker, prefix, b"one")
    write(broker, prefix, b"two")
    assert read(broker, prefix, 2) == [b"one", b"two"]


@pytest.mark.kafka
@pytest.mark.slow
def test_returns_with_its_port_and_its_data(own_broker: Broker, prefix: str) -> None:
    address, process = own_broker.address, own_broker.pid
    create(own_broker, prefix)
    write(own_broker, prefix, b"before")

    own_broker.kill()
    own_broker.start()
    write(own_broker, prefix, b"after a kill")

    own_broker.pause()
    own_broker.stop()
    own_broker.start()
    write(own_broker, prefix, b"after a stop")

    assert own_broker.address == address
    assert own_broker.pid != process
    assert read(own_broker, prefix, 3) == [b"before", b"after a kill", b"after a stop"]


@pytest.mark.kafka
@pytest.mark.slow
def test_answers_again_after_a_pause(own_broker: Broker, prefix: str) -> None:
    create(own_broker, prefix)
    own_broker.pause()
    producer = Producer({"bootstrap.servers": own_broker.address})
    producer.produce(prefix, b"patient")
    assert producer.flush(0.1) == 1
    own_broker.resume()
    assert producer.flush(PATIENCE_S) == 0


@pytest.mark.kafka
def test_says_why_it_does_not_start(broker_jars: Path, tmp_path: Path) -> None:
    broker = Broker(broker_jars, tmp_path, {"process.roles": "no such role"})
    with pytest.raises(NoBroker, match="no such role"):
        broker.start()


def test_says_that_java_is_missing(tmp_path: Path) -> None:
    with pytest.raises(NoBroker, match="needs java, which is not on the PATH"):
        obtain(tmp_path, path=str(tmp_path))


def test_says_that_java_is_too_old(tmp_path: Path) -> None:
    with pytest.raises(NoBroker, match=r"needs Java 17 or newer; .*1\.8\.0_292"):
        obtain(tmp_path, path=java(tmp_path, "1.8.0_292"))


def test_says_that_maven_is_missing(tmp_path: Path) -> None:
    with pytest.raises(NoBroker, match="needs mvn, which is not on the PATH"):
        obtain(tmp_path, path=java(tmp_path, "17.0.15"))


def test_says_that_maven_could_not_fetch_and_leaves_nothing(tmp_path: Path) -> None:
    maven = tmp_path / "mvn"
    maven.write_text("#!/bin/sh\necho '[ERROR] no network'\nexit 1\n", encoding="utf-8")
    maven.chmod(0o755)
    cache = tmp_path / "cache"
    with pytest.raises(NoBroker, match=r"could not fetch Apache Kafka: .*no network"):
        obtain(cache, path=java(tmp_path, "17.0.15"))
    assert [found.name for found in cache.iterdir()] == ["lock"]
