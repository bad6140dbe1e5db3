"""Owns this process's part in consumer groups: which partitions it has, and what it finished there.

There are three ways. The dispatchers divide the partitions of one topic (Kafka's incremental
cooperative rebalance). Of the balancers one at a time reads everything: Kafka gives the one
partition of a topic to one of them, and that is the election. All other groups belong to the
owner of the state, of which there is one: they have no members, only progress.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final, Protocol

import structlog
import trio
import trio.from_thread
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from control.bus.kafka.client import Cluster
from control.bus.kafka.consumer_thread import Feed, Inbox, PolledBatch, insist
from control.bus.kafka.offsets import PartitionProgress
from control.model import limits
from control.model.bus.records import Delivery, Receipts
from control.model.bus.reports import DeadLetter
from control.model.errors import BusUnavailable, PartitionsLost
from control.model.names import Group, Topic

LOG = structlog.get_logger("bus")
_DOUBTED_S: Final = (0.05, 0.1, 0.2, 0.4, 0.8)  # Pauses between questions after an odd answer.
_ELECTED: Final = Topic.TASK_COMMANDS  # Whoever has its one partition is the one.


class GroupHost(Protocol):
    """What groups need of the bus."""

    @property
    def cluster(self) -> Cluster:
        """Where the bus is."""

    def trouble(self, error: KafkaError) -> None:
        """Something did not work; from any thread."""

    def doubt(self) -> None:
        """A topic seems to be gone; from any thread."""

    def partitions_of(self, topic: Topic) -> int:
        """How many partitions a topic has."""

    async def settled(self, group: Group) -> None:
        """Wait until everything that a group's services handed in before is committed."""

    def set_aside(self, group: Group, garbage: Delivery) -> bool:
        """Put a foreign record where it is kept. False: another group does that."""

    def records_lost(self, group: Group, topic: Topic, partition: int, below: int) -> None:
        """Records that this group had not finished were deleted: tell the state's owner."""


def serving(nursery: trio.Nursery | None) -> trio.Nursery:
    """The nursery, if it takes tasks; raises `BusUnavailable` while it ends."""
    assert nursery is not None
    if nursery.cancel_scope.cancel_called:
        raise BusUnavailable("this process's part of the bus is ending")
    return nursery


class GroupMember:
    """One group's state in this process; `lanes` by topic and partition. Lost once, never back."""

    def __init__(self, group: Group, bus: GroupHost) -> None:
        self.group = group
        self.bus = bus
        self.lanes: dict[tuple[Topic, int], PartitionProgress] = {}
        self.subscriptions: dict[Topic, GroupSubscription] = {}
        self.lost = False
        self._scope = trio.CancelScope()
        self._nursery: trio.Nursery | None = None
        # Who we are in which generation of the group: every transaction with its progress says so.
        # Only the thread that polls a consumer may ask it for this, any other blocks for ever.
        self.generation = b""

    @property
    def name(self) -> str:
        """The group's name in the cluster."""
        return self.bus.cluster.group(self.group)

    def check(self, receipts: Receipts) -> None:
        """Raise `PartitionsLost` unless the partition is ours."""
        if self.lost or (receipts.topic, receipts.partition) not in self.lanes:
            raise PartitionsLost

    def finish(self, receipts: Receipts) -> None:
        """The service is done with these."""
        self.lanes[receipts.topic, receipts.partition].finish(receipts.offsets)

    def lose(self) -> None:
        """Others have taken this member for dead, or nobody knows what was committed."""
        if not self.lost:
            self.lost = True
            LOG.warning("bus.partitions_lost", group=self.group)
            for subscription in self.subscriptions.values():
                subscription.inbox.wake()
            self._scope.cancel()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled or lost."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._begin(nursery)
                task_status.started()
                await trio.sleep_forever()

    def _begin(self, nursery: trio.Nursery) -> None:
        """Start what being a member takes, besides reading."""

    async def join(self, topic: Topic) -> "GroupSubscription":
        """Read a topic from where the group stands."""
        subscription = GroupSubscription(topic, self)
        self.subscriptions[topic] = subscription
        await self._start(subscription)
        return subscription

    async def _start(self, subscription: "GroupSubscription") -> None:
        feed = self._feed(subscription, partial(self._assigned_all, subscription.topic))
        self.start_soon(feed.run)
        await trio.lowlevel.checkpoint()

    def _feed(self, subscription: "GroupSubscription", opened: Callable[[], Consumer]) -> Feed:
        inbox = subscription.inbox
        return Feed(
            subscription.topic,
            opened,
            subscription.offer,
            inbox.room,
            cut=self.lose,
            bus=self.bus,
        )

    def consumer(self) -> Consumer:
        """A new consumer of this group."""
        unhurried = self.group == Group.STATISTICS
        cluster = self.bus.cluster
        settings = cluster.consumer(self.name, self.bus.trouble, unhurried=unhurried)
        return Consumer(settings | {"enable.partition.eof": True})

    def start_soon(self, task: Callable[[], Awaitable[object]]) -> None:
        """Run a task until this member is lost."""
        serving(self._nursery).start_soon(task)

    def _assigned_all(self, topic: Topic) -> Consumer:
        """A consumer of all partitions of a topic, from the group's progress; in a thread."""
        consumer = self.consumer()
        self.generation = self.generation or consumer.consumer_group_metadata()
        name = self.bus.cluster.topic(topic)
        everywhere = [TopicPartition(name, p) for p in range(self.bus.partitions_of(topic))]
        lanes = restored(consumer, everywhere)
        # (Any question about the topic: who begins to read without one waits for a second.)
        gone = begin_within(consumer, name, lanes)
        trio.from_thread.run_sync(
            self.lanes.update, {(topic, partition): lane for partition, lane in lanes.items()}
        )
        trio.from_thread.run_sync(self.say_lost, topic, gone)
        consumer.assign([TopicPartition(name, p, lane.position) for p, lane in lanes.items()])
        return consumer

    def say_lost(self, topic: Topic, gone: Mapping[int, int]) -> None:
        """Records of these partitions, below these offsets, were deleted before they were done."""
        for partition, below in gone.items():
            self.bus.records_lost(self.group, topic, partition, below)


class ElectedMember(GroupMember):
    """A group with one member at a time: whoever is elected."""

    def __init__(self, group: Group, bus: GroupHost) -> None:
        super().__init__(group, bus)
        self._elected = trio.Event()

    def _begin(self, nursery: trio.Nursery) -> None:
        stand = partial(trio.to_thread.run_sync, limiter=trio.CapacityLimiter(1))
        nursery.start_soon(stand, self._stand)

    async def _start(self, subscription: "GroupSubscription") -> None:
        await self._elected.wait()
        if self.lost:
            raise PartitionsLost
        await super()._start(subscription)

    def lose(self) -> None:
        """As for any member; one that still waits to be elected here starts over."""
        super().lose()
        self._elected.set()

    def _stand(self) -> None:
        consumer, closing = self.consumer(), False

        def assigned(_: Consumer, partitions: list[TopicPartition]) -> None:
            self.generation = consumer.consumer_group_metadata()
            consumer.incremental_assign(partitions)
            consumer.pause(partitions)  # It is the seat that counts, not what lies there.
            if partitions:
                trio.from_thread.run_sync(self._elected.set)

        def taken(_: Consumer, partitions: list[TopicPartition]) -> None:
            if partitions and not closing:
                trio.from_thread.run_sync(self.lose)

        topic = self.bus.cluster.topic(_ELECTED)
        consumer.subscribe([topic], on_assign=assigned, on_revoke=taken, on_lost=taken)
        try:
            while True:
                trio.from_thread.check_cancelled()
                consumer.poll(limits.KAFKA_POLL_S)
        finally:
            closing = True
            consumer.close()


class SharingMember(GroupMember):
    """A group whose members divide the partitions of one topic."""

    async def _start(self, subscription: "GroupSubscription") -> None:
        subscription.divided = frozenset()
        self._opening = subscription
        self._shared = self._feed(subscription, self._joined)
        self.start_soon(self._shared.run)
        await trio.lowlevel.checkpoint()

    def _joined(self) -> Consumer:
        consumer, topic = self.consumer(), self.bus.cluster.topic(self._opening.topic)
        consumer.subscribe(
            [topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._all_lost
        )
        return consumer

    def _assigned(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        self.generation = consumer.consumer_group_metadata()
        lanes = insist(partial(restored, consumer, partitions), self.bus.trouble)
        topic = self._opening.topic
        name = self.bus.cluster.topic(topic)
        gone = insist(partial(begin_within, consumer, name, lanes), self.bus.trouble)
        trio.from_thread.run_sync(self._opening.gain, lanes)
        trio.from_thread.run_sync(self.say_lost, topic, gone)
        consumer.incremental_assign(
            [
                TopicPartition(place.topic, place.partition, lanes[place.partition].position)
                for place in partitions
            ]
        )

    def _revoked(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        self.generation = consumer.consumer_group_metadata()
        if not self._shared.closing:
            gone = frozenset(place.partition for place in partitions)
            trio.from_thread.run(self._opening.give_up, gone)
        consumer.incremental_unassign(list(partitions))

    def _all_lost(self, _consumer: Consumer, _partitions: Sequence[TopicPartition]) -> None:
        trio.from_thread.run_sync(self.lose)


class GroupSubscription:
    """What one member gets of one topic."""

    def __init__(self, topic: Topic, member: GroupMember) -> None:
        self.topic = topic
        self.inbox = Inbox()
        self.divided: frozenset[int] | None = None
        self._member = member
        self._changed = False
        self._came_back = trio.Event()  # The reader has seen the last change.

    @property
    def partitions(self) -> frozenset[int] | None:
        """The partitions this member has now; None: all."""
        return self.divided

    async def receive(self) -> list[Delivery]:
        """Wait for records, or for other partitions."""
        await trio.lowlevel.checkpoint()
        if not self._changed:
            self._came_back.set()
        while True:
            if self._member.lost:
                raise PartitionsLost
            if self._changed:
                self._changed = False
                return []
            if self.inbox:
                return self.inbox.take()
            self.inbox.arrived = trio.Event()
            await self.inbox.arrived.wait()

    def offer(self, batch: PolledBatch) -> None:
        """Take in what was read."""
        for partition, deliveries in batch.deliveries.items():
            lane = self._member.lanes.get((self.topic, partition))
            if lane is None:
                continue  # Given up meanwhile.
            fresh = lane.take_in(deliveries)
            lane.ends_at(batch.ends[partition])
            kept = [each for each in fresh if type(each.message) is not DeadLetter]
            if len(kept) < len(fresh):
                for each in fresh:
                    if type(each.message) is DeadLetter and not self._member.bus.set_aside(
                        self._member.group, each
                    ):
                        lane.finish((each.offset,))
            self.inbox.put(kept)
        for partition, offset in batch.reached.items():
            lane = self._member.lanes.get((self.topic, partition))
            if lane is not None:
                lane.reached_end(offset)

    def gain(self, lanes: dict[int, PartitionProgress]) -> None:
        """These partitions are ours now."""
        assert self.divided is not None
        for partition, lane in lanes.items():
            self._member.lanes[self.topic, partition] = lane
        self.divided |= lanes.keys()
        self._tell()

    async def give_up(self, partitions: frozenset[int]) -> None:
        """Others shall have these: once the reader knows, and its last receipts are committed."""
        assert self.divided is not None
        self.divided -= partitions
        self.inbox.keep(lambda each: each.partition not in partitions)
        self._came_back = trio.Event()
        self._tell()
        await self._came_back.wait()
        await self._member.bus.settled(self._member.group)
        for partition in partitions:
            self._member.lanes.pop((self.topic, partition), None)

    def _tell(self) -> None:
        self._changed = True
        self.inbox.wake()


def restored(consumer: Consumer, places: Sequence[TopicPartition]) -> dict[int, PartitionProgress]:
    """Where the group stands in these partitions; blocks, raises `KafkaException`.

    Whatever we commit has a text with it. An offset without one that fits is asked for again before
    it is believed: without the text, what was finished above the offset would be done twice.
    """
    found = committed(consumer, places)
    for pause_s in _DOUBTED_S:
        doubtful = [
            each for each in found if not PartitionProgress.fits(each.offset, each.metadata)
        ]
        if not doubtful:
            break
        for each in doubtful:
            LOG.warning(
                "bus.progress_doubtful",
                topic=each.topic,
                partition=each.partition,
                offset=each.offset,
                text=each.metadata,
            )
        trio.from_thread.run(trio.sleep, pause_s)
        found = committed(consumer, places)
    return {
        place.partition: PartitionProgress.restored(place.offset, place.metadata) for place in found
    }


def begin_within(
    consumer: Consumer, name: str, lanes: Mapping[int, PartitionProgress]
) -> dict[int, int]:
    """Let lanes begin within what the logs have; blocks, raises `KafkaException`.

    Gives the partitions of which unfinished records are gone, and below which offset.
    """
    gone = {}
    for partition, lane in lanes.items():
        place = TopicPartition(name, partition)
        found = consumer.get_watermark_offsets(place, timeout=limits.KAFKA_CALL_S)
        if found is None:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001 - Its name.
        if lane.begin_within(*found):
            gone[partition] = found[0]
    return gone


def committed(consumer: Consumer, places: Sequence[TopicPartition]) -> list[TopicPartition]:
    """What the group has committed there; blocks, raises `KafkaException`."""
    if not places:
        return []
    found = consumer.committed(list(places), timeout=limits.KAFKA_CALL_S)
    for place in found:
        if place.error is not None:
            raise KafkaException(place.error)
    return found
