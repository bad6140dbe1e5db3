"""Owns answers that are dear: each is found once for all who ask, and given again for a while."""

import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import trio

from control.model import limits

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Slot(Generic[V]):
    """One question. `found`: one answer or none."""

    def __init__(self) -> None:
        self.lock = trio.Lock()
        self.found: list[V] = []
        self.until = -math.inf


class Kept(Generic[K, V]):
    """Answers by question, the `most` that were asked for last.

    However many ask, finding one answer takes at most one part in `KEPT_FOR` of the time, unless
    it would become older than its question allows. Whoever asks while it is found waits for it.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._slots: OrderedDict[K, _Slot[V]] = OrderedDict()

    async def get(
        self, question: K, find: Callable[[], Awaitable[V]], *, least_s: float, most_s: float
    ) -> V:
        """The answer; `least_s` and `most_s`: for how long it is kept. Raises what `find` does."""
        slot = self._slots.setdefault(question, _Slot())
        self._slots.move_to_end(question)
        if len(self._slots) > self._most:
            self._slots.popitem(last=False)
        async with slot.lock:
            begin = trio.current_time()
            if not slot.found or begin >= slot.until:
                slot.found = []
                slot.found = [await find()]
                end = trio.current_time()
                slot.until = end + min(max(limits.KEPT_FOR * (end - begin), least_s), most_s)
            return slot.found[0]
