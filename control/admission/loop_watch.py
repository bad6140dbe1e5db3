"""Owns the measure of the event loop: how late it wakes a task that only sleeps."""

import trio

from control.model import limits


class LoopWatch:
    """`late_s`: how late the loop is, the worst of its last looks and of the one under way."""

    def __init__(self) -> None:
        self._looked_at: float | None = None
        self._late_s = 0.0

    def late_s(self) -> float:
        """How late the loop is now or was a moment ago."""
        if self._looked_at is None:
            return 0.0
        under_way_s = trio.current_time() - self._looked_at - limits.LOOP_LOOK_S
        return max(self._late_s, under_way_s)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            begin = self._looked_at = trio.current_time()
            await trio.sleep(limits.LOOP_LOOK_S)
            late_s = trio.current_time() - begin - limits.LOOP_LOOK_S
            self._late_s = max(late_s, self._late_s / 2)
