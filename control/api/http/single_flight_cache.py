"""Owns answers that are dear: each is found once for all who ask, and given again for a while."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import msgspec
import trio

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class CachedAnswer(msgspec.Struct, Generic[V], frozen=True):
    """An answer. `at`: when it was found, by trio's clock; `until`: how long it is given again."""

    value: V
    at: float
    until: float


class _CacheSlot(Generic[V]):
    """One question. Who asks it while it is answered waits for the lock."""

    def __init__(self) -> None:
        self.lock = trio.Lock()
        self.found: CachedAnswer[V] | None = None


class SingleFlightCache(Generic[K, V]):
    """Answers by question, the `most` that were asked for last. Failures are not kept."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._slots: OrderedDict[K, _CacheSlot[V]] = OrderedDict()

    async def get(
        self, question: K, find: Callable[[], Awaitable[tuple[V, float]]]
    ) -> CachedAnswer[V]:
        """The answer, now or from before. `find` gives it, and for how many seconds it is kept."""
        slot = self._slots.setdefault(question, _CacheSlot())
        self._slots.move_to_end(question)
        if len(self._slots) > self._most:
            self._slots.popitem(last=False)
        async with slot.lock:
            if slot.found is None or trio.current_time() >= slot.found.until:
                slot.found = None
                value, keep_s = await find()
                now = trio.current_time()
                slot.found = CachedAnswer(value, now, now + keep_s)
            return slot.found
