"""Owns the embedded bus's log: what is appended, what each group has finished, what may go.

`persist`, `join`, and `read` run in the writer's thread, inside its transaction; nothing here is
touched from two threads at once, because the writer runs one group of pieces at a time.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Protocol

from control.core.offsets import OffsetTracker
from control.model import limits
from control.model.bus.messages import BATCH_DECODER, ENCODER, Message
from control.model.bus.records import Delivery, Receipts, Record
from control.model.names import Group, Topic
from store.database.connection import Connection

Lane = tuple[Topic, int]
Offer = Callable[[int, Sequence[Delivery]], None]


class UnitOfWork(Protocol):
    """What one piece of work published and acknowledged."""

    @property
    def published(self) -> Sequence[Record]:
        """In order."""

    @property
    def acked(self) -> Sequence[Receipts]:
        """In any order."""


class LogRows(Protocol):
    """The bus's tables. `store/bus_log.py` has them in SQLite."""

    def append(
        self, conn: Connection, lane: tuple[str, int], first: int, count: int, body: bytes
    ) -> None:
        """Add one batch."""

    def batches(self, conn: Connection, lane: tuple[str, int]) -> Sequence[tuple[int, int]]:
        """First offset and count of every batch kept, in order."""

    def bodies(
        self, conn: Connection, lane: tuple[str, int], offset: int
    ) -> Sequence[tuple[int, bytes]]:
        """A few batches that hold `offset` or later ones: first offset and body, in order."""

    def drop(self, conn: Connection, lane: tuple[str, int], below: int) -> None:
        """Delete the batches whose first offset is below `below`."""

    def save(self, conn: Connection, group: str, lane: tuple[str, int], progress: bytes) -> None:
        """Keep a group's progress."""

    def groups(self, conn: Connection) -> Sequence[tuple[str, str, int, bytes]]:
        """Every group's progress: group, topic, partition, progress."""

    def lanes(self, conn: Connection) -> Sequence[tuple[str, int]]:
        """Every topic and partition that has batches."""


class Journal:
    """The log of all topics, and every group's progress in it."""

    def __init__(self, rows: LogRows) -> None:
        self._rows = rows
        self._loaded = False
        self._groups: defaultdict[Topic, dict[Group, dict[int, OffsetTracker]]] = defaultdict(dict)
        self._batches: defaultdict[Lane, deque[tuple[int, int]]] = defaultdict(deque)
        self._ends: defaultdict[Lane, int] = defaultdict(int)
        self._offers: defaultdict[Topic, list[Offer]] = defaultdict(list)

    def attach(self, topic: Topic, offer: Offer) -> None:
        """From now on hand committed records of the topic to this subscriber."""
        self._offers[topic].append(offer)

    def detach(self, topic: Topic, offer: Offer) -> None:
        """Hand this subscriber nothing more."""
        if offer in self._offers[topic]:
            self._offers[topic].remove(offer)

    # In the writer's thread from here on.

    def join(self, conn: Connection, topic: Topic, group: Group) -> dict[int, int]:
        """Register a group; gives, for each partition, the first offset it may lack."""
        self._load(conn)
        trackers = self._groups[topic].setdefault(group, {})
        for lane in [lane for lane in self._ends if lane[0] == topic]:
            self._tracker(trackers, lane)
        for partition in list(trackers) or [0]:
            tracker = self._tracker(trackers, (topic, partition))
            self._rows.save(conn, group, (topic, partition), tracker.encode())
        return {partition: tracker.watermark for partition, tracker in trackers.items()}

    def persist(self, conn: Connection, pieces: Sequence[UnitOfWork]) -> Callable[[], None]:
        """Write everything the pieces did; the returned call hands the records out."""
        self._load(conn)
        fresh: defaultdict[Lane, list[Delivery]] = defaultdict(list)
        touched: dict[tuple[Group, Lane], OffsetTracker] = {}
        for piece in pieces:
            for record in piece.published:
                lane = (record.topic, record.partition or 0)
                offset = self._ends[lane]
                self._ends[lane] = offset + 1
                fresh[lane].append(Delivery(record.message, record.topic, lane[1], offset))
            for receipts in piece.acked:
                lane = (receipts.topic, receipts.partition)
                tracker = self._tracker(self._groups[receipts.topic][receipts.group], lane)
                tracker.finish(receipts.offsets)
                touched[receipts.group, lane] = tracker
        for lane, deliveries in fresh.items():
            if self._groups[lane[0]]:  # Nobody durable reads it otherwise.
                for at in range(0, len(deliveries), limits.BUS_ROW_RECORDS_MAX):
                    part = deliveries[at : at + limits.BUS_ROW_RECORDS_MAX]
                    self._append(conn, lane, part)
        for (group, lane), tracker in touched.items():
            self._rows.save(conn, group, lane, tracker.encode())
        for lane in {lane for _, lane in touched}:
            self._drop_finished(conn, lane)
        return lambda: self._hand_out(fresh)

    def end(self, conn: Connection, topic: Topic) -> int:
        """The offset of the next record on the topic's first partition."""
        self._load(conn)
        return self._ends[topic, 0]

    def left(self, conn: Connection, topic: Topic, group: Group) -> int:
        """How many records are behind the first one that a group has not finished; 0: none."""
        self._load(conn)
        trackers = self._groups[topic].get(group)
        if trackers is None:
            return 0
        lanes = [lane for lane in self._ends if lane[0] == topic]
        return sum(self._ends[lane] - self._tracker(trackers, lane).watermark for lane in lanes)

    def unread(self, conn: Connection, topic: Topic, group: Group) -> list[Message]:
        """What a group has not finished."""
        positions, more = self.join(conn, topic, group), True
        messages: list[Message] = []
        while more:
            found, positions, more = self.read(conn, topic, group, positions)
            messages += [delivery.message for delivery in found]
        return messages

    def rolled_back(self) -> None:
        """Nothing since the last commit happened: read the tables again before going on."""
        self._loaded = False

    def read(
        self, conn: Connection, topic: Topic, group: Group, wanted: dict[int, int]
    ) -> tuple[list[Delivery], dict[int, int], bool]:
        """Records from the log that the group has not finished; where that got, and if more."""
        self._load(conn)
        found: list[Delivery] = []
        reached = dict(wanted)
        trackers = self._groups[topic][group]
        for partition in {*wanted, *(lane[1] for lane in self._ends if lane[0] == topic)}:
            lane = (topic, partition)
            tracker = self._tracker(trackers, lane)
            position = wanted.get(partition, 0)
            while position < self._ends[lane] and len(found) < limits.RECEIVE_RECORDS_MAX:
                bodies = self._rows.bodies(conn, lane, position)
                if not bodies:
                    position = self._ends[lane]
                for first, body in bodies:
                    for offset, message in enumerate(BATCH_DECODER.decode(body), first):
                        if offset >= position and not tracker.is_finished(offset):
                            found.append(Delivery(message, topic, partition, offset))
                    position = max(position, offset + 1)
            reached[partition] = position
        more = any(reached[p] < self._ends[topic, p] for p in reached)
        return found, reached, more

    def _append(self, conn: Connection, lane: Lane, deliveries: list[Delivery]) -> None:
        first, count = deliveries[0].offset, len(deliveries)
        body = ENCODER.encode([delivery.message for delivery in deliveries])
        if len(body) > limits.BUS_ROW_BYTES_MAX and count > 1:
            # Hundreds of jobs with megabytes of input each would be more than a row can hold.
            del body
            self._append(conn, lane, deliveries[: count // 2])
            self._append(conn, lane, deliveries[count // 2 :])
            return
        self._rows.append(conn, lane, first, count, body)
        self._batches[lane].append((first, count))

    def _load(self, conn: Connection) -> None:
        if self._loaded:
            return
        self._ends.clear()
        self._batches.clear()
        for members in self._groups.values():
            for trackers in members.values():
                trackers.clear()
        for topic, partition in self._rows.lanes(conn):
            lane = (Topic(topic), partition)
            self._batches[lane].extend(self._rows.batches(conn, lane))
            first, count = self._batches[lane][-1]
            self._ends[lane] = first + count
        for group, topic, partition, progress in self._rows.groups(conn):
            tracker = OffsetTracker.decode(progress)
            lane = (Topic(topic), partition)
            self._groups[lane[0]].setdefault(Group(group), {})[partition] = tracker
            self._ends[lane] = max(self._ends[lane], tracker.watermark)
        self._loaded = True

    def _tracker(self, trackers: dict[int, OffsetTracker], lane: Lane) -> OffsetTracker:
        if lane[1] not in trackers:
            kept = self._batches[lane]
            trackers[lane[1]] = OffsetTracker(kept[0][0] if kept else self._ends[lane])
        return trackers[lane[1]]

    def _drop_finished(self, conn: Connection, lane: Lane) -> None:
        batches = self._batches[lane]
        groups = self._groups[lane[0]].values()
        lowest = min(self._tracker(trackers, lane).watermark for trackers in groups)
        gone = False
        while batches and sum(batches[0]) <= lowest:
            batches.popleft()
            gone = True
        if gone:
            below = batches[0][0] if batches else self._ends[lane]
            self._rows.drop(conn, lane, below)

    def _hand_out(self, fresh: dict[Lane, list[Delivery]]) -> None:
        for (topic, partition), deliveries in fresh.items():
            for offer in self._offers[topic]:
                offer(partition, deliveries)
