"""Owns a producer: pieces of work wait together and become one Kafka transaction.

As in the state's writer, what is handed in while one transaction is under way shares the next one.
Each group has a producer of its own, so that none waits for the transaction of another. A
transaction that was taken back is tried again; one whose end is not known makes the groups whose
progress it held start over from what Kafka has.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

import structlog
import trio
import trio.from_thread
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka import Message as KafkaMessage

from control.bus.kafka_client import Cluster, Trouble, abandonable, error_of, in_words
from control.bus.kafka_feed import insist
from control.bus.kafka_groups import Member
from control.bus.kafka_progress import Lane
from control.model import limits
from control.model.errors import PartitionsLost, Unavailable
from control.model.messages import ENCODER
from control.model.names import Group, Topic
from control.model.records import Receipts, Record

LOG = structlog.get_logger("bus")
_TAKEN_FOR_DEAD: Final = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.FENCED_INSTANCE_ID,
    }
)


class Outgoing(NamedTuple):
    """A record as Kafka takes it."""

    topic: Topic
    partition: int | None
    key: int | None
    value: bytes


def outgoing(record: Record) -> Outgoing:
    """Encode a record."""
    return Outgoing(record.topic, record.partition, record.key, ENCODER.encode(record.message))


class Relayed(NamedTuple):
    """How far the outbox is published with a piece: kept as the offset of a group of its own."""

    group: str
    row: int
    note: str


class Piece:
    """What is published and acknowledged together."""

    def __init__(
        self,
        records: Sequence[Outgoing] = (),
        receipts: Sequence[Receipts] = (),
        relayed: Relayed | None = None,
    ) -> None:
        self.records = records
        self.receipts = receipts
        self.relayed = relayed
        self.done = trio.Event()
        self.error: Exception | None = None


class _InDoubt(Exception):
    """The connection broke while a transaction was being committed."""


class _GroupRefused(Exception):
    """A group refused the progress of this member in this generation."""

    def __init__(self, group: Group, generation: bytes) -> None:
        super().__init__(group)
        self.group = group
        self.generation = generation


class _Carry(NamedTuple):
    lane: Lane
    topic: Topic
    partition: int
    records: list[tuple[int, bytes]]  # Their offsets now, and what they say.


class Transactions:
    """Runs pieces in groups. One instance, one producer, one task; `name` tells them apart."""

    def __init__(
        self, name: str, cluster: Cluster, members: Mapping[Group, Member], trouble: Trouble
    ) -> None:
        self._name = name
        self._cluster = cluster
        self._members = members
        self._trouble = trouble
        self._producer: Producer | None = None
        self._notes = b""  # The group that the outbox's progress is kept in.
        self._waiting: deque[Piece] = deque()
        self._arrived = trio.Event()
        self._room = trio.CapacityLimiter(limits.WRITER_QUEUE_MAX)
        self._stopped = False
        # A transaction that is under way when the process ends may take a little longer.
        self._patience = trio.CancelScope(shield=True)

    async def commit(self, piece: Piece) -> None:
        """Carry a piece out; it is committed when this returns, or raises.

        Its place in the order is taken before any other task runs, while there is room.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            self._room.acquire_on_behalf_of_nowait(piece)
        except trio.WouldBlock:
            await self._room.acquire_on_behalf_of(piece)
        try:
            self.hand_in(piece)
            with trio.CancelScope(shield=True):
                await piece.done.wait()
        finally:
            self._room.release_on_behalf_of(piece)
        if piece.error is not None:
            raise piece.error

    def hand_in(self, piece: Piece) -> None:
        """Have a piece carried out, and do not wait for it."""
        if self._stopped:
            piece.error = _stopped()
            piece.done.set()
            return
        self._waiting.append(piece)
        self._arrived.set()

    async def run(self) -> None:
        """Serve until cancelled; the transaction that is under way then is ended, if it can be."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._serve)
            try:
                await trio.sleep_forever()
            finally:
                self._patience.deadline = trio.current_time() + limits.ACK_S

    async def _serve(self) -> None:
        group: list[Piece] = []
        try:
            # What this process left unfinished when it died ends with this, for all its readers.
            await trio.to_thread.run_sync(insist, self._ensure_open, self._trouble)
            while True:
                await self._arrived.wait()
                self._arrived = trio.Event()
                while self._waiting:
                    count = min(len(self._waiting), limits.WRITER_GROUP_MAX)
                    group = [self._waiting.popleft() for _ in range(count)]
                    self._patience = trio.CancelScope(shield=True)
                    with self._patience:
                        await self._carry_out(group)
                        group = []
                    await trio.lowlevel.checkpoint_if_cancelled()
        finally:
            # Those who wait are shielded: without an answer, nobody would get past them.
            self._stopped = True
            for piece in (*group, *self._waiting):
                piece.error = _stopped()
                piece.done.set()

    async def _carry_out(self, pieces: Sequence[Piece]) -> None:
        pause_s = limits.KAFKA_POLL_S
        applied = False
        while True:
            pieces = self._unless_lost(pieces, applied=applied)
            applied = True
            try:
                await self._try(pieces)
            except _GroupRefused as refused:
                member = self._members[refused.group]
                # The group may have moved on with us, and we hear of it at our next poll.
                await trio.sleep(2 * limits.KAFKA_POLL_S)
                if member.generation == refused.generation:
                    member.lose()
                continue
            except _InDoubt:
                pieces = await self._unless_relayed(pieces)
                for group in {receipt.group for piece in pieces for receipt in piece.receipts}:
                    self._members[group].lose()
                continue
            except KafkaException as failure:
                self._trouble(in_words(error_of(failure)))
                await trio.sleep(pause_s)
                pause_s = min(2 * pause_s, limits.KAFKA_RETRY_MAX_S)
                continue
            for piece in pieces:
                piece.done.set()
            return

    def _unless_lost(self, pieces: Sequence[Piece], *, applied: bool) -> list[Piece]:
        """Those that still can be; the others are told that their partitions are lost."""
        kept = []
        for piece in pieces:
            try:
                for receipts in piece.receipts:
                    member = self._members[receipts.group]
                    member.check(receipts)
                    if not applied:
                        member.finish(receipts)
            except PartitionsLost as error:
                piece.error = error
                piece.done.set()
            else:
                kept.append(piece)
        return kept

    async def _unless_relayed(self, pieces: Sequence[Piece]) -> list[Piece]:
        """Those that were not committed after all, as far as the outbox's progress tells."""
        kept = []
        for piece in pieces:
            if piece.relayed is not None:
                ask = partial(insist, partial(self.kept_row, piece.relayed.group), self._trouble)
                await trio.to_thread.run_sync(insist, self._ensure_open, self._trouble)
                found = await trio.to_thread.run_sync(ask)
                if found.row >= piece.relayed.row:
                    piece.done.set()
                    continue
            kept.append(piece)
        return kept

    async def _try(self, pieces: Sequence[Piece]) -> None:
        lanes = {
            (receipts.group, receipts.topic, receipts.partition)
            for piece in pieces
            for receipts in piece.receipts
        }
        offsets: defaultdict[Group, list[TopicPartition]] = defaultdict(list)
        carries = []
        for group, topic, partition in lanes:
            lane = self._members[group].lanes[topic, partition]
            again = [(each.offset, ENCODER.encode(each.message)) for each in lane.too_long()]
            if again:
                carries.append(_Carry(lane, topic, partition, again))
            offset, text = lane.committed(old for old, _ in again)
            name = self._cluster.topic(topic)
            offsets[group].append(TopicPartition(name, partition, offset, text))
        records = [record for piece in pieces for record in piece.records]
        rows = [piece.relayed for piece in pieces if piece.relayed is not None]
        if not (records or offsets):
            return
        work = partial(self._transact, records, offsets, carries, rows[-1] if rows else None)
        moved = await trio.to_thread.run_sync(work)
        for carry, places in zip(carries, moved, strict=True):
            LOG.info("bus.carried_over", topic=carry.topic, records=len(places))
            carry.lane.carried(places)

    # In a thread from here on.

    def _transact(
        self,
        records: Sequence[Outgoing],
        offsets: Mapping[Group, list[TopicPartition]],
        carries: Sequence[_Carry],
        relayed: Relayed | None,
    ) -> list[dict[int, int]]:
        producer = self._ensure_open()
        committing = False
        try:
            producer.begin_transaction()
            for record in records:
                self._produce(producer, record)
            moved = [self._produce_again(producer, carry) for carry in carries]
            for group, positions in offsets.items():
                self._send_offsets(producer, group, positions)
            if relayed is not None:
                self._keep_row(producer, relayed)
            committing = True
            self._again(producer.commit_transaction)
        except KafkaException as failure:
            self._take_back(producer, failure, committing=committing)
            raise
        except _GroupRefused:
            raise
        except BaseException:
            self._producer = None  # Cancelled on the way: Kafka takes it back by itself.
            raise
        return moved

    def kept_row(self, group: str) -> Relayed:
        """How far an outbox is published; blocks, raises `KafkaException`.

        Also while a transaction of it is not ended yet.
        """
        consumer = Consumer(self._cluster.consumer(group, self._trouble))
        try:
            place = TopicPartition(self._cluster.topic(Topic.TASK_COMMANDS), 0)
            (found,) = consumer.committed([place], timeout=limits.KAFKA_CALL_S)
            if found.error is not None:
                raise KafkaException(found.error)
            return Relayed(group, max(found.offset, 0), found.metadata or "")
        finally:
            consumer.close()

    def _ensure_open(self) -> Producer:
        if self._producer is None:
            producer = Producer(self._cluster.producer(self._name, self._trouble))
            self._again(producer.init_transactions)
            self._producer = producer
        return self._producer

    def _produce(
        self,
        producer: Producer,
        record: Outgoing,
        delivered: Callable[[KafkaError | None, KafkaMessage], None] | None = None,
    ) -> None:
        while True:
            try:
                producer.produce(
                    self._cluster.topic(record.topic),
                    record.value,
                    None if record.key is None else str(record.key).encode(),
                    -1 if record.partition is None else record.partition,
                    on_delivery=delivered,
                )
            except BufferError:  # The client's own queue is full: it empties while we wait.
                trio.from_thread.check_cancelled()
                producer.poll(limits.KAFKA_POLL_S)
            else:
                return

    def _produce_again(self, producer: Producer, carry: _Carry) -> dict[int, int]:
        """Publish open records once more; gives their new offsets by their old ones."""
        places: dict[int, int] = {}

        def delivered(old: int, error: KafkaError | None, message: KafkaMessage) -> None:
            offset = message.offset()
            if error is None and offset is not None:
                places[old] = offset

        for old, value in carry.records:
            record = Outgoing(carry.topic, carry.partition, None, value)
            self._produce(producer, record, partial(delivered, old))
        self._again(producer.flush)
        if len(places) < len(carry.records):
            raise KafkaException(KafkaError(KafkaError._STATE))  # noqa: SLF001 - The client's name.
        trio.from_thread.run_sync(carry.lane.expect, places.values())
        return places

    def _send_offsets(
        self, producer: Producer, group: Group, positions: list[TopicPartition]
    ) -> None:
        generation = self._members[group].generation
        try:
            send = partial(producer.send_offsets_to_transaction, positions, generation)
            self._again(abandonable(send))
        except KafkaException as failure:
            if error_of(failure).code() not in _TAKEN_FOR_DEAD:
                raise
            self._take_back(producer, failure, committing=False)
            raise _GroupRefused(group, generation) from failure

    def _keep_row(self, producer: Producer, relayed: Relayed) -> None:
        if not self._notes:
            consumer = Consumer(self._cluster.consumer(relayed.group, self._trouble))
            self._notes = consumer.consumer_group_metadata()
            consumer.close()
        place = TopicPartition(
            self._cluster.topic(Topic.TASK_COMMANDS), 0, relayed.row, relayed.note
        )
        send = partial(producer.send_offsets_to_transaction, [place], self._notes)
        self._again(abandonable(send))

    def _again(self, call: Callable[[float], object]) -> None:
        """Call until the cluster has answered; what it says otherwise is raised."""
        while True:
            trio.from_thread.check_cancelled()
            try:
                call(limits.KAFKA_CALL_S)
            except KafkaException as failure:
                error = error_of(failure)
                if not error.retriable() or error.txn_requires_abort():
                    raise
                self._trouble(in_words(error))
            else:
                return

    def _take_back(self, producer: Producer, failure: KafkaException, *, committing: bool) -> None:
        error = error_of(failure)
        if error.txn_requires_abort():
            try:
                self._again(producer.abort_transaction)
            except KafkaException:
                self._producer = None
            return
        # Fatal: only a new producer can go on, and it ends what this one began. If this happened
        # while committing, that may have been done before.
        self._producer = None
        if committing:
            raise _InDoubt from failure


def _stopped() -> Unavailable:
    return Unavailable("the control plane has stopped")
