"""Owns the thread that reads from Kafka, and the bounded inbox it fills.

One feed has one consumer. The thread polls, decodes, and hands batches to the event loop; while an
inbox is full it pauses its partitions but goes on polling, because the client's rebalances and
errors come from there.
"""

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

import msgspec
import trio
import trio.from_thread
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from control.bus.kafka.client import Trouble, error_of, is_no_topic, passes
from control.core.records.foreign import Foreign, dead_letter, read
from control.model import limits
from control.model.bus.messages import Message
from control.model.bus.records import Delivery
from control.model.names import Topic

T = TypeVar("T")
_PASSES_S: Final = 1.0


class Troubled(Protocol):
    """Receives errors; called from any thread."""

    def trouble(self, error: KafkaError) -> None:
        """Something did not work; it is tried again."""

    def doubt(self) -> None:
        """A topic seems to be gone."""


class PolledBatch(msgspec.Struct, frozen=True):
    """What one poll found, by partition and in order, and how far each log goes.

    `reached`: partitions of which all was found that is there, up to this offset.

    A foreign record is there as a `DeadLetter`.
    """

    deliveries: dict[int, list[Delivery]]
    ends: dict[int, int]
    reached: dict[int, int] = {}


class Inbox:
    """Deliveries for one reader, and whether there is room for more."""

    def __init__(self) -> None:
        self._records: deque[Delivery] = deque()
        self.arrived = trio.Event()
        self.room = threading.Event()
        self.room.set()

    def __len__(self) -> int:
        return len(self._records)

    def put(self, deliveries: Sequence[Delivery]) -> None:
        """Take in a batch."""
        self._records.extend(deliveries)
        if len(self._records) > limits.SUBSCRIPTION_RECORDS_MAX:
            self.room.clear()
        if deliveries:
            self.arrived.set()

    def wake(self) -> None:
        """Something else than records is to be told."""
        self.arrived.set()

    def take(self) -> list[Delivery]:
        """What there is, up to a batch."""
        count = min(len(self._records), limits.RECEIVE_RECORDS_MAX)
        taken = [self._records.popleft() for _ in range(count)]
        if not self.room.is_set() and len(self._records) < limits.SUBSCRIPTION_RECORDS_MAX // 2:
            self.room.set()
        return taken

    def keep(self, wanted: Callable[[Delivery], bool]) -> None:
        """Drop all others."""
        self._records = deque(filter(wanted, self._records))
        self.room.set()


class Feed:
    """Reads with one consumer until it is cancelled. `take` is called on the event loop.

    `cut`: what it wanted to read next is no more in the log; it opens a new consumer after that.
    """

    def __init__(
        self,
        topic: Topic,
        open_consumer: Callable[[], Consumer],
        take: Callable[[PolledBatch], None],
        room: threading.Event,
        *,
        cut: Callable[[], None],
        bus: Troubled,
    ) -> None:
        self._topic = topic
        self._open = open_consumer
        self._take = take
        self._room = room
        self._cut = cut
        self._bus = bus
        self.opened = trio.Event()
        self._another = threading.Event()  # The topic is another one now.
        self.closing = False  # Nobody waits for what happens to partitions then.

    async def run(self) -> None:
        """Serve until cancelled; then the consumer leaves its group."""
        await trio.to_thread.run_sync(self._read, limiter=trio.CapacityLimiter(1))

    def restart(self) -> None:
        """Open a new consumer: the topic is another one now."""
        self._another.set()

    def _read(self) -> None:
        again = False
        while True:
            self._another.clear()
            consumer = insist(self._open, self._bus.trouble)
            self.closing = False
            try:
                trio.from_thread.run_sync(self.opened.set)
                if again:  # Records published before it was open may be missed as well.
                    trio.from_thread.run_sync(self._cut)
                self._follow(consumer)
            finally:
                self.closing = True
                consumer.close()
            trio.from_thread.run_sync(self._cut)
            again = True

    def _follow(self, consumer: Consumer) -> None:
        """Read until what comes next is no more there."""
        paused = gone = False
        while not (gone or self._another.is_set()):
            trio.from_thread.check_cancelled()
            if paused == self._room.is_set():
                paused = not paused
                (consumer.pause if paused else consumer.resume)(consumer.assignment())
            found = consumer.poll(limits.KAFKA_POLL_S)
            if found is not None:
                rest = consumer.consume(limits.RECEIVE_RECORDS_MAX - 1, 0)
                gone = self._hand_over(consumer, [found, *rest])

    def _hand_over(self, consumer: Consumer, found: Sequence[KafkaMessage]) -> bool:
        """Give what was found to the event loop. True: what would come next is gone."""
        deliveries: defaultdict[int, list[Delivery]] = defaultdict(list)
        reached: dict[int, int] = {}
        gone = False
        for message in found:
            error = message.error()
            if error is None:
                delivery = delivery_of(self._topic, message)
                deliveries[delivery.partition].append(delivery)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - Its name.
                partition, offset = message.partition(), message.offset()
                assert partition is not None
                assert offset is not None
                reached[partition] = offset
            elif error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001
                gone = True
            elif is_no_topic(error):
                self._bus.doubt()
            elif not passes(error):
                self._bus.trouble(error)
        if deliveries or reached:
            name = next(name for each in found if (name := each.topic()) is not None)
            ends = {
                partition: consumer.get_watermark_offsets(
                    TopicPartition(name, partition), cached=True
                )[1]
                for partition in deliveries
            }
            trio.from_thread.run_sync(self._take, PolledBatch(deliveries, ends, reached))
        return gone


def delivery_of(topic: Topic, message: KafkaMessage) -> Delivery:
    """A message of Kafka's as one of ours; a foreign one as its `DeadLetter`."""
    partition, offset, value = message.partition(), message.offset(), message.value() or b""
    assert partition is not None
    assert offset is not None
    decoded: Message
    try:
        decoded = read(topic, value)
    except Foreign as failure:
        key, place = message.key(), (topic, partition, offset)
        text = None if key is None else key.decode(errors="replace")
        decoded = dead_letter(place, text, value, str(failure), message.timestamp()[1])
    return Delivery(decoded, topic, partition, offset)


def insist(call: Callable[[], T], trouble: Trouble) -> T:
    """Call until the cluster answers; in a thread of trio's, so that it ends when cancelled."""
    pause_s = limits.KAFKA_POLL_S
    while True:
        trio.from_thread.check_cancelled()
        try:
            return call()
        except KafkaException as failure:
            error = error_of(failure)
            if pause_s >= _PASSES_S or not passes(error):
                trouble(error)
        trio.from_thread.run(trio.sleep, pause_s)
        pause_s = min(2 * pause_s, limits.KAFKA_RETRY_MAX_S)
