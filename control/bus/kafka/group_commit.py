"""Decides what shares a transaction: pieces of work wait together and become one Kafka transaction.

As in the state's writer, what is handed in while one transaction is under way shares the next one.
Each group has a producer of its own, so that none waits for the transaction of another. A
transaction that was taken back is tried again; one whose end is not known makes the groups whose
progress it held start over from what Kafka has.
"""

from collections import defaultdict, deque
from collections.abc import Sequence
from functools import partial

import msgspec
import structlog
import trio
from confluent_kafka import KafkaException, TopicPartition

from control.bus.kafka.client import error_of, is_fenced
from control.bus.kafka.consumer_thread import insist
from control.bus.kafka.member_claim import check_claim
from control.bus.kafka.producer import (
    Carry,
    GroupRefused,
    InDoubt,
    Outgoing,
    Relayed,
    TransactionalProducer,
    outgoing,
)
from control.model import limits
from control.model.bus.messages import Placed
from control.model.bus.records import Delivery, Receipts, Record
from control.model.errors import PartitionsLost, Unavailable
from control.model.names import Group, Topic

LOG = structlog.get_logger("bus")


class KafkaUnitOfWork:
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


class Transactions:
    """Runs pieces in groups, in transactions of a producer that only this instance uses."""

    def __init__(self, producer: TransactionalProducer) -> None:
        self.producer = producer
        self._cluster = producer.cluster
        self._members = producer.members
        self._trouble = producer.trouble
        self._waiting: deque[KafkaUnitOfWork] = deque()
        self._arrived = trio.Event()
        self._awaited = trio.Event()  # Somebody waits for one of them.
        self._room = trio.CapacityLimiter(limits.WRITER_QUEUE_MAX)
        self._stopped = False
        self._carrying: set[Group] = set()  # Whose open records the last try published again.
        self._calm = trio.Event()  # Nothing is under way.
        self._calm.set()
        self._began = 0.0  # When what is under way was begun.
        # A transaction that is under way when the process ends may take a little longer.
        self._patience = trio.CancelScope(shield=True)

    def under_way_s(self) -> float:
        """For how many seconds one transaction has been tried; 0: there is none."""
        return 0.0 if self._calm.is_set() else trio.current_time() - self._began

    async def calm(self) -> None:
        """Wait until what is under way now is committed."""
        await self._calm.wait()

    async def commit(self, piece: KafkaUnitOfWork) -> None:
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
            self._awaited.set()
            with trio.CancelScope(shield=True):
                await piece.done.wait()
        finally:
            self._room.release_on_behalf_of(piece)
        if piece.error is not None:
            await trio.lowlevel.checkpoint_if_cancelled()  # It is all over: nobody needs to know.
            raise piece.error

    def hand_in(self, piece: KafkaUnitOfWork) -> None:
        """Have a piece carried out, and do not wait for it: it may wait for others."""
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
        group: list[KafkaUnitOfWork] = []
        try:
            # What this process left unfinished when it died ends with this, for all its readers.
            await self._reopen()
            while True:
                await self._arrived.wait()
                with trio.move_on_after(limits.UNHURRIED_S):
                    await self._awaited.wait()
                self._arrived, self._awaited = trio.Event(), trio.Event()
                while self._waiting:
                    count = min(len(self._waiting), limits.WRITER_GROUP_MAX)
                    group = [self._waiting.popleft() for _ in range(count)]
                    self._patience = trio.CancelScope(shield=True)
                    self._calm, self._began = trio.Event(), trio.current_time()
                    with self._patience:
                        await self._carry_out(group)
                        group = []
                    self._calm.set()
                    await trio.lowlevel.checkpoint_if_cancelled()
        finally:
            self._waiting.extendleft(reversed(group))
            self.stop()

    def stop(self) -> None:
        """Answer those who wait, who are shielded: nobody would get past them; take no more."""
        self._stopped = True
        for piece in self._waiting:
            piece.error = _stopped()
            piece.done.set()
        self._waiting.clear()

    async def _carry_out(self, pieces: Sequence[KafkaUnitOfWork]) -> None:
        pause_s = limits.KAFKA_POLL_S
        applied = False
        while True:
            pieces = self._unless_lost(pieces, applied=applied)
            applied = True
            try:
                await self._try(pieces)
            except GroupRefused as refused:
                member = self._members[refused.group]
                # The group may have moved on with us, and we hear of it at our next poll.
                await trio.sleep(2 * limits.KAFKA_POLL_S)
                if member.generation == refused.generation:
                    member.lose()
                continue
            except InDoubt as doubt:
                await self._check_claim(doubt.__cause__)
                await self._reopen()
                pieces = await self._unless_relayed(pieces)
                # Progress alone can be committed twice. What it was published with cannot.
                doubtful = [piece for piece in pieces if piece.records]
                groups = {receipts.group for piece in doubtful for receipts in piece.receipts}
                for group in groups | self._carrying:
                    self._members[group].lose()
                continue
            except KafkaException as failure:
                await self._check_claim(failure)
                self._trouble(error_of(failure))
                await trio.sleep(pause_s)
                pause_s = min(2 * pause_s, limits.KAFKA_RETRY_MAX_S)
                await self._reopen()
                continue
            for piece in pieces:
                piece.done.set()
            return

    async def _check_claim(self, failure: BaseException | None) -> None:
        """Raise `ConfigError` if it failed because another process has this one's name now.

        A new producer, as follows otherwise, would stop that one in its turn.
        """
        if isinstance(failure, KafkaException) and is_fenced(failure):
            check = partial(insist, partial(check_claim, self._cluster), self._trouble)
            await trio.to_thread.run_sync(check)

    async def _reopen(self) -> None:
        """Even when nothing is left to be done: others wait for what was left open to be ended."""
        await trio.to_thread.run_sync(insist, self.producer.ensure_open, self._trouble)

    def _unless_lost(
        self, pieces: Sequence[KafkaUnitOfWork], *, applied: bool
    ) -> list[KafkaUnitOfWork]:
        """Those that still can be; the others are told that their partitions are lost."""
        kept = []
        for piece in pieces:
            try:
                for receipts in piece.receipts:
                    self._members[receipts.group].check(receipts)
            except PartitionsLost as error:
                piece.error = error
                piece.done.set()
                continue
            kept.append(piece)
            if not applied:
                for receipts in piece.receipts:
                    self._members[receipts.group].finish(receipts)
        return kept

    async def _unless_relayed(self, pieces: Sequence[KafkaUnitOfWork]) -> list[KafkaUnitOfWork]:
        """Those that were not committed after all, as far as the outbox's progress tells."""
        kept = []
        for piece in pieces:
            if piece.relayed is not None:
                ask = partial(
                    insist, partial(self.producer.relayed_row, piece.relayed.group), self._trouble
                )
                found = await trio.to_thread.run_sync(ask)
                if found.row >= piece.relayed.row:
                    piece.done.set()
                    continue
            kept.append(piece)
        return kept

    async def _try(self, pieces: Sequence[KafkaUnitOfWork]) -> None:
        lanes = {
            (receipts.group, receipts.topic, receipts.partition)
            for piece in pieces
            for receipts in piece.receipts
        }
        offsets: defaultdict[Group, list[TopicPartition]] = defaultdict(list)
        stored: dict[tuple[Group, Topic, int], int] = {}
        carries = []
        self._carrying = set()
        for group, topic, partition in lanes:
            lane = self._members[group].lanes[topic, partition]
            again = [(offset, _once_more(each)) for offset, each in lane.too_long()]
            if again:
                carries.append(Carry(lane, topic, partition, again))
                self._carrying.add(group)
            offset, text = lane.committed(old for old, _ in again)
            stored[group, topic, partition] = offset
            name = self._cluster.topic(topic)
            offsets[group].append(TopicPartition(name, partition, offset, text))
        records = [record for piece in pieces for record in piece.records]
        rows = [piece.relayed for piece in pieces if piece.relayed is not None]
        if not (records or offsets or rows):
            return
        work = partial(
            self.producer.transact, records, offsets, carries, rows[-1] if rows else None
        )
        moved = await trio.to_thread.run_sync(work)
        for carry, places in zip(carries, moved, strict=True):
            LOG.info("bus.carried_over", topic=carry.topic, records=len(places))
            carry.lane.carried(places)
        for (group, topic, partition), watermark in stored.items():
            committed = self._members[group].lanes.get((topic, partition))
            if committed is not None:  # Else it was given up meanwhile.
                committed.stored = watermark


def _once_more(delivery: Delivery) -> Outgoing:
    """What is published again in place of an open record: a lease keeps its epoch."""
    message = delivery.message
    if isinstance(message, Placed) and message.epoch is None:
        message = msgspec.structs.replace(message, epoch=message.epoch_at(delivery.place))
    return outgoing(Record(delivery.topic, message, None, delivery.partition))


def _stopped() -> Unavailable:
    return Unavailable("the control plane has stopped")
