"""Owns a heap of offers of which only each offerer's last one counts."""

import heapq
from collections.abc import Callable, Iterator
from typing import Final, Generic, Protocol, TypeVar

_SLACK: Final = 64


class Offerer(Protocol):
    """Who offers: it keeps the number of its last offer. 0: nothing is offered."""

    entry: int


T = TypeVar("T", bound=Offerer)


class Offers(Generic[T]):
    """Finds who offers the most. Old entries are dropped when they surface, or swept.

    `numbers`: shared by heaps that the same offerers may be in, so that one offer counts in all.
    """

    def __init__(self, numbers: Iterator[int]) -> None:
        self._numbers = numbers
        self._heap: list[tuple[float, int, T]] = []
        self._live = 0  # Entries that counted when it was swept last.

    def offer(self, who: T, rank: float) -> None:
        """The smaller the rank the sooner it is found; replaces what it offered before."""
        who.entry = next(self._numbers)
        heapq.heappush(self._heap, (rank, who.entry, who))
        if len(self._heap) > 2 * self._live + _SLACK:
            self._heap = [entry for entry in self._heap if entry[1] == entry[2].entry]
            heapq.heapify(self._heap)
            self._live = len(self._heap)

    def first(self, fits: Callable[[T], bool]) -> T | None:
        """The first one that fits; those before it that do not stay where they are."""
        heap = self._heap
        unfit: list[tuple[float, int, T]] = []
        found: T | None = None
        while heap:
            _, seq, who = heap[0]
            if seq != who.entry:
                heapq.heappop(heap)
                continue
            if fits(who):
                found = who
                break
            unfit.append(heapq.heappop(heap))
        for entry in unfit:
            heapq.heappush(heap, entry)
        return found

    def first_of_all(self) -> T | None:
        """The first one, whether or not it fits anything."""
        return self.first(_anything)


def _anything(_: object) -> bool:
    return True
