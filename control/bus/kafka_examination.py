"""Decides what `tpctl doctor` says of a Kafka cluster: brokers, members, set-aside records."""

from collections.abc import Iterator
from typing import Final

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from control.bus.kafka_client import Cluster, error_of, in_words
from control.model import limits
from control.model.messages import DeadLetter
from control.model.names import Group, Topic
from control.model.views import CheckView

_DECODER: Final = msgspec.json.Decoder(DeadLetter)


class Examination:
    """One look at a cluster. `partitions`: lanes for jobs. Everything blocks."""

    def __init__(self, cluster: Cluster, partitions: int) -> None:
        self._cluster = cluster
        self._partitions = partitions

    def run(self) -> list[CheckView]:
        """All checks; what cannot be looked at is one that says so."""
        found: list[CheckView] = []
        try:
            found.extend(self._checks())
        except KafkaException as failure:
            found.append(CheckView(check="bus", ok=False, detail=in_words(error_of(failure))))
        return found

    def _checks(self) -> Iterator[CheckView]:
        admin = AdminClient(self._cluster.admin())
        brokers = admin.list_topics(timeout=limits.KAFKA_CALL_S).brokers
        detail = f"{self._cluster.servers} answers, {len(brokers)} brokers"
        yield CheckView(check="bus", ok=True, detail=detail)
        yield self._members(admin, Group.BALANCER, "nothing new is started")
        yield self._members(admin, Group.DISPATCHER, "no worker is given anything")
        yield self._dead_letters()

    def _members(self, admin: AdminClient, group: Group, without: str) -> CheckView:
        name = self._cluster.group(group)
        (future,) = admin.describe_consumer_groups([name]).values()
        members = future.result().members
        held = [len(member.assignment.topic_partitions) for member in members]
        check = f"bus, {group}s"
        if not any(held):
            return CheckView(check=check, ok=False, detail=f"none is there: {without}")
        if group == Group.BALANCER:
            idle = f", {len(members) - 1} ready to take over" if len(members) > 1 else ""
            return CheckView(check=check, ok=True, detail=f"1 is active{idle}")
        detail = f"{len(members)} share {sum(held)} of {self._partitions} partitions"
        return CheckView(check=check, ok=sum(held) == self._partitions, detail=detail)

    def _dead_letters(self) -> CheckView:
        """How many records were set aside, and the newest ones."""
        topic = self._cluster.topic(Topic.TASK_DEAD_LETTERS)
        settings = self._cluster.consumer(self._cluster.group("doctor"), lambda _: None)
        consumer = Consumer(settings | {"enable.partition.eof": True})
        try:
            place = TopicPartition(topic, 0)
            low, high = consumer.get_watermark_offsets(place, timeout=limits.KAFKA_CALL_S)
            # Each is a transaction of its own, whose mark takes an offset too.
            first = max(low, high - 2 * limits.DEAD_LETTERS_SHOWN_MAX)
            consumer.assign([TopicPartition(topic, 0, first)])
            found = list(self._read(consumer)) if high > low else []
        finally:
            consumer.close()
        shown = found[-limits.DEAD_LETTERS_SHOWN_MAX :]
        if not shown:
            return CheckView(
                check="bus, dead letters", ok=True, detail="every record could be read"
            )
        places = "; ".join(
            f"{letter.topic}[{letter.partition}]@{letter.offset}: {letter.error}"
            for letter in reversed(shown)
        )
        more = "the newest " if first > low else ""
        detail = f"{more}{len(shown)} set aside in {topic}: {places}"
        return CheckView(check="bus, dead letters", ok=False, detail=detail)

    def _read(self, consumer: Consumer) -> Iterator[DeadLetter]:
        while (message := consumer.poll(limits.KAFKA_CALL_S)) is not None:
            if message.error() is not None:
                return  # The end of the topic.
            try:
                yield _DECODER.decode(message.value() or b"")
            except msgspec.MsgspecError:
                continue  # Not written by us.
