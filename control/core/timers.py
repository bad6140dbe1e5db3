"""Decides which runs must be looked at when: a heap of instants."""

import heapq


class Timers:
    """Instants with the runs they concern. An instant that no longer matters does no harm."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int]] = []

    def add(self, at_ms: int, run_id: int) -> None:
        """Look at this run then."""
        heapq.heappush(self._heap, (at_ms, run_id))

    def next_ms(self) -> int | None:
        """The earliest instant."""
        return self._heap[0][0] if self._heap else None

    def due(self, now_ms: int) -> list[int]:
        """The runs whose instant has come, each once; they are forgotten."""
        found: dict[int, None] = {}
        while self._heap and self._heap[0][0] <= now_ms:
            found[heapq.heappop(self._heap)[1]] = None
        return list(found)
