"""Decides whether schedules have fired once for each nominal time, wherever the clock was set."""

from collections import Counter
from typing import Final

import msgspec

from tests.services.plane import EPOCH_MS, Plane

EVERY_MS: Final = 20_000
_SETTLED_MS: Final = 4_000  # After a start, or after the clock was set, something may be late.


class Timetable(msgspec.Struct):
    """The times through which the wall clock went while a plane was there."""

    spans: list[tuple[int, int]] = []
    since_ms: int | None = None  # Of the span that goes on.

    def begin(self, wall_ms: int) -> None:
        """A plane is there, or its clock was set to this."""
        self.since_ms = wall_ms

    def end(self, wall_ms: int) -> None:
        """The plane dies, or its clock is set."""
        if self.since_ms is not None:
            self.spans.append((self.since_ms, wall_ms))
        self.since_ms = None

    def at(self, wall_ms: int) -> "Timetable":
        """As it is now, for a backup."""
        found = Timetable([*self.spans], self.since_ms)
        found.end(wall_ms)
        return found

    def check(self, plane: Plane, *, none_missed: bool) -> None:
        """Each nominal time has fired once. `none_missed`: also those of outages."""
        sql = "SELECT schedule_id, scheduled_for_ms, created_ms FROM runs WHERE schedule_id > 0"
        rows = plane.conn.execute(sql).fetchall()
        twice = [key for key, n in Counter((at, for_ms) for at, for_ms, _ in rows).items() if n > 1]
        assert not twice, f"fired twice: {twice}"
        if none_missed:  # Else the clock may have been set back right after it was looked at.
            early = [row for row in rows if row[2] < row[1]]
            assert not early, f"fired too early: {early}"
        found = sorted(for_ms for at, for_ms, _ in rows if at == 1)
        if none_missed:
            first = EPOCH_MS + EVERY_MS
            assert found == list(range(first, first + EVERY_MS * len(found), EVERY_MS))
            assert len(found) >= 2, found
        for since_ms, until_ms in self.spans:
            at_ms = -(-(since_ms + _SETTLED_MS) // EVERY_MS) * EVERY_MS
            while at_ms < until_ms - _SETTLED_MS:
                assert at_ms in found, f"{at_ms} has not fired, of {since_ms} to {until_ms}"
                at_ms += EVERY_MS
