"""Decides what a member of a consumer group has finished in one partition, and how that is kept.

Kafka keeps an offset and a text for each partition of a group. The offset is the watermark; the
text holds what is finished above it. Offsets that Kafka uses for its own marks, and records that
transactions have taken back, are never delivered: they count as finished.
"""

import base64
import binascii
from collections.abc import Iterable, Sequence

from control.core.offsets import OffsetTracker
from control.model import limits
from control.model.bus.records import Delivery
from control.model.errors import Rejected


class PartitionProgress:
    """One partition, as far as this member has it. `start`: where its group stands."""

    def __init__(self, start: int, tracker: OffsetTracker) -> None:
        self._tracker = tracker
        self._next = start  # What is delivered next, if nothing is missing in between.
        self._end = start  # Of the log, as it was seen last.
        self.stored = start  # The watermark that is committed: below it everybody has finished.
        self._open: dict[int, Delivery] = {}  # Delivered and not finished, by offset.
        # Records that were published again: from the offset the service knows to the new one.
        self._carried: dict[int, int] = {}
        self._expected: set[int] = set()  # Their new offsets, until they are read: not delivered.

    @classmethod
    def restored(cls, offset: int, text: str | None) -> "PartitionProgress":
        """The lane as it was committed; below 0: it never was."""
        if offset < 0:  # A group that has finished nothing yet has committed nothing either.
            return cls(0, OffsetTracker())
        # Committed by other means, such as Kafka's own tools, the offset is what counts.
        return cls(offset, _tracker(offset, text) or OffsetTracker(offset))

    @staticmethod
    def fits(offset: int, text: str | None) -> bool:
        """Whether this can have been committed by a lane."""
        return offset < 0 or _tracker(offset, text) is not None

    @property
    def unfinished(self) -> int:
        """How many records are left, as far as the end of the log is known."""
        tracker = self._tracker
        return max(self._end - tracker.watermark - tracker.finished_above, 0)

    def ends_at(self, offset: int) -> None:
        """The log goes so far."""
        self._end = offset

    @property
    def position(self) -> int:
        """From where to read."""
        return self._next

    def begin_within(self, first: int, end: int) -> bool:
        """The log has offsets from `first` to `end`; said before anything is read.

        True: others have deleted records that the group had not finished, or the whole topic.
        """
        self._end = end
        if self._next > end:
            self._start_at(first)  # It is another log.
            return True
        if self._next >= first:
            return False
        # The first offset is open, or it would not be the watermark.
        self._tracker.skip(self._next, first)
        self._next = max(self._tracker.watermark, first)
        return True

    def reached_end(self, offset: int) -> None:
        """All that is delivered below this offset was taken in: others are Kafka's own marks."""
        self._end = offset
        if offset > self._next:
            self._tracker.skip(self._next, offset)
            self._next = offset

    def _start_at(self, offset: int) -> None:
        self._tracker, self._next, self.stored = OffsetTracker(offset), offset, offset

    def take_in(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Those of a batch of this partition, in order, that are not finished."""
        fresh = []
        tracker = self._tracker
        for delivery in deliveries:
            offset = delivery.offset
            if offset < self._next:
                continue  # Read again after the client lost its place.
            if offset > self._next:
                tracker.skip(self._next, offset)
            self._next = offset + 1
            if offset in self._expected:
                self._expected.discard(offset)
            elif not tracker.is_finished(offset):
                self._open[offset] = delivery
                fresh.append(delivery)
        return fresh

    def finish(self, offsets: Iterable[int]) -> None:
        """The service is done with these."""
        for offset in offsets:
            now = self._carried.pop(offset, offset)
            self._open.pop(now, None)
            self._tracker.finish((now,))

    def committed(self, carrying: Iterable[int] = ()) -> tuple[int, str]:
        """What to commit, offset and text, when `carrying` is published again with it."""
        tracker = self._tracker
        if carrying:
            tracker = OffsetTracker.decode(tracker.encode())
            tracker.finish(carrying)
        return tracker.watermark, base64.b85encode(tracker.encode()).decode()

    def too_long(self) -> list[tuple[int, Delivery]]:
        """The oldest open records, to be published again, when the text gets too long.

        Each with the offset where it stands now, which is not its own if it was carried before.

        A record that stays open for very long would else let the text grow beyond what Kafka
        takes. Written again at the end of the log, it no longer holds the watermark back.
        """
        below, found = self._tracker.watermark, list[int]()
        while below < self._next and len(self.committed(found)[1]) > limits.PROGRESS_CHARS_MAX:
            below = (below + self._next + 1) // 2
            found = sorted(offset for offset in self._open if offset < below)
        return [(offset, self._open[offset]) for offset in found]

    def expect(self, offsets: Iterable[int]) -> None:
        """Records were published again here, in a transaction that is not committed yet."""
        self._expected.update(offsets)

    def carried(self, moved: dict[int, int]) -> None:
        """That transaction is committed: open records stand at new offsets, by their old ones."""
        known = {now: first for first, now in self._carried.items()}
        for old, new in moved.items():
            self._open[new] = self._open.pop(old)
            self._carried[known.get(old, old)] = new
        self._tracker.finish(moved)


def _tracker(offset: int, text: str | None) -> OffsetTracker | None:
    try:
        tracker = OffsetTracker.decode(base64.b85decode(text or ""))
    except (Rejected, ValueError, binascii.Error):
        return None
    return tracker if tracker.watermark == offset else None
