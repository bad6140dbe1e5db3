"""Decides what `tpctl doctor` says of a Kafka cluster: brokers, members, set-aside records."""

from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from control.bus.kafka.client import Cluster, error_of, in_words
from control.bus.kafka.consumer_groups import begin_within, restored
from control.bus.kafka.dead_letters import DeadLetters
from control.bus.kafka.topics import Topics
from control.core.records.moved import READERS
from control.model import limits
from control.model.api.views import CheckView
from control.model.errors import BusUnavailable
from control.model.names import Group, Topic


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
        except BusUnavailable as failure:
            found.append(CheckView(check="bus", ok=False, detail=str(failure)))
        return found

    def _checks(self) -> Iterator[CheckView]:
        admin = AdminClient(self._cluster.admin())
        brokers = admin.list_topics(timeout=limits.KAFKA_CALL_S).brokers
        detail = f"{self._cluster.servers} answers, {len(brokers)} brokers"
        yield CheckView(check="bus", ok=True, detail=detail)
        yield self._members(admin, Group.BALANCER, "nothing new is started")
        yield self._members(admin, Group.DISPATCHER, "no worker is given anything")
        yield self._left_to_do()
        wrong = list(Topics(self._cluster, self._partitions).wrong_settings(admin))
        detail = "; ".join(wrong) or "all are as they must be"
        yield CheckView(check="bus, topics", ok=not wrong, detail=detail)
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

    def _left_to_do(self) -> CheckView:
        """How many records each group has not finished, as far as it has committed what it did.

        Kafka's own marks count until then; a process's metrics do not have them.
        """
        found = []
        for group in Group:
            consumer = Consumer(self._cluster.consumer(self._cluster.group(group), _ignore))
            try:
                topics = [topic for topic, readers in READERS.items() if group in readers]
                counts = [
                    f"up to {self._unfinished(consumer, topic)} of {topic}" for topic in topics
                ]
            finally:
                consumer.close()
            found.append(f"{group}: {', '.join(counts)}")
        return CheckView(check="bus, left to do", ok=True, detail="; ".join(found))

    def _unfinished(self, consumer: Consumer, topic: Topic) -> int:
        name = self._cluster.topic(topic)
        partitions = consumer.list_topics(name, timeout=limits.KAFKA_CALL_S).topics[name].partitions
        lanes = restored(consumer, [TopicPartition(name, at) for at in partitions])
        begin_within(consumer, name, lanes)
        return sum(lane.unfinished for lane in lanes.values())

    def _dead_letters(self) -> CheckView:
        """How many records were set aside, and the newest ones."""
        check = "bus, dead letters"
        left = DeadLetters(self._cluster).left()
        if not left:
            return CheckView(check=check, ok=True, detail="every record could be used")
        newest = left[-limits.DEAD_LETTERS_SHOWN_MAX :]
        places = "; ".join(
            f"{letter.topic}[{letter.partition}]@{letter.offset}: {letter.error}"
            for _, letter in reversed(newest)
        )
        more = f"; the newest {len(newest)}" if len(newest) < len(left) else ""
        detail = f"{len(left)} set aside (tpctl bus dead-letters list){more}: {places}"
        return CheckView(check=check, ok=False, detail=detail)


def _ignore(_: KafkaError) -> None:
    """A call that fails says so itself."""
