"""Owns how this process follows topics: each is read once, for all who tail it."""

import weakref
from typing import Final, Protocol

import trio
from confluent_kafka import Consumer, KafkaError, TopicPartition

from control.bus.kafka.client import Cluster
from control.bus.kafka.consumer_thread import Feed, Inbox, PolledBatch
from control.model import limits
from control.model.bus.records import Delivery, Receipts
from control.model.bus.reports import DeadLetter
from control.model.errors import BusUnavailable
from control.model.names import Topic

# Only shown to people, ten times a second at most.
_UNHURRIED: Final = frozenset(
    {
        Topic.TASK_RUNS,
        Topic.TASK_RUNS_LOAD_BALANCED,
        Topic.TASK_RUN_EVENTS,
        Topic.TASK_RUN_LOGS,
    }
)


class Following(Protocol):
    """What tails need of the bus."""

    @property
    def cluster(self) -> Cluster:
        """Where the bus is."""

    def trouble(self, error: KafkaError) -> None:
        """Something did not work; from any thread."""

    def doubt(self) -> None:
        """A topic seems to be gone; from any thread."""

    def partitions_of(self, topic: Topic) -> int:
        """How many partitions a topic has."""

    def bury(self, garbage: Delivery, *receipts: Receipts) -> None:
        """Publish a dead letter."""


class TailedTopic:
    """One topic that this process follows: read once, for all its tails."""

    def __init__(self, topic: Topic, bus: Following, *, keeps: bool) -> None:
        self._topic = topic
        self._bus = bus
        self._keeps = keeps
        # Weakly: a service that starts over takes new ones, and says no goodbye to the old.
        self._tails = weakref.WeakSet[Tail]()
        inbox = Inbox()  # Its room: a tail is told that it fell behind, so none ever waits.
        self.feed = Feed(topic, self._opened, self._offer, inbox.room, cut=self._cut, bus=bus)

    def add(self, first: dict[int, int]) -> "Tail":
        """A tail of what comes at or after these offsets."""
        tail = Tail(self._topic, first)
        self._tails.add(tail)
        return tail

    def ends(self) -> dict[int, int]:
        """Where each partition ends now; blocks, raises `KafkaException`."""
        consumer = self._consumer()  # Not the one that is polled: that would wait for ever.
        try:
            return self._ends(consumer)
        finally:
            consumer.close()

    def restart(self) -> None:
        """The topic is another one now: read that, from its end; every tail has a gap."""
        self._cut()
        self.feed.restart()

    def _cut(self) -> None:
        for tail in list(self._tails):
            tail.fall_behind()
        self._tails.clear()

    def _opened(self) -> Consumer:
        consumer, name = self._consumer(), self._bus.cluster.topic(self._topic)
        ends = self._ends(consumer)
        consumer.assign([TopicPartition(name, p, offset) for p, offset in ends.items()])
        return consumer

    def _consumer(self) -> Consumer:
        cluster = self._bus.cluster
        group = cluster.group(f"tail-{cluster.member}")  # It never joins it.
        unhurried = self._topic in _UNHURRIED
        return Consumer(cluster.consumer(group, self._bus.trouble, unhurried=unhurried))

    def _ends(self, consumer: Consumer) -> dict[int, int]:
        name = self._bus.cluster.topic(self._topic)
        return {
            partition: consumer.get_watermark_offsets(
                TopicPartition(name, partition), timeout=limits.KAFKA_CALL_S
            )[1]
            for partition in range(self._bus.partitions_of(self._topic))
        }

    def _offer(self, batch: PolledBatch) -> None:
        for partition, deliveries in batch.deliveries.items():
            kept = [each for each in deliveries if type(each.message) is not DeadLetter]
            if self._keeps and len(kept) < len(deliveries):
                for each in deliveries:
                    if type(each.message) is DeadLetter:
                        self._bus.bury(each)
            for tail in list(self._tails):
                tail.offer(partition, kept, batch.ends[partition])
                if tail.overrun:
                    self._tails.discard(tail)


class Tail:
    """What one reader gets of a topic from some moment on."""

    def __init__(self, topic: Topic, first: dict[int, int]) -> None:
        self._topic = topic
        self._first = first
        self._inbox = Inbox()
        self.overrun = False

    @property
    def partitions(self) -> None:
        """All there are."""

    def offer(self, partition: int, deliveries: list[Delivery], end: int) -> None:
        """Take in what was read; the partition's log goes to `end`."""
        first = self._first.get(partition, 0)
        if deliveries and deliveries[0].offset < first:
            deliveries = [each for each in deliveries if each.offset >= first]
        if not deliveries:
            return
        self._inbox.put(deliveries)
        waiting = len(self._inbox) + end - deliveries[-1].offset - 1
        if waiting > limits.SUBSCRIPTION_RECORDS_MAX:
            self.fall_behind()

    def fall_behind(self) -> None:
        """It has missed records: its reader gets an error, and subscribes again."""
        self.overrun = True
        self._inbox.keep(lambda _: False)
        self._inbox.wake()

    async def receive(self) -> list[Delivery]:
        """Wait for records; at least one."""
        await trio.lowlevel.checkpoint()
        while not self._inbox:
            if self.overrun:
                message = f"a reader of {self._topic} fell behind and has missed records"
                raise BusUnavailable(message)
            self._inbox.arrived = trio.Event()
            await self._inbox.arrived.wait()
        return self._inbox.take()
