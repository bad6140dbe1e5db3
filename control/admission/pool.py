"""Owns how requests wait for a share: in trio, cancellable, in a bounded line, for a bounded time.

Nothing that waits here holds a thread. Who may hold how much is decided in `core/fair_use/shares`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from control.admission.tally import LimitCounters
from control.core.fair_use.shares import Ask, Shares
from control.model import limits
from control.model.errors import Busy
from control.model.names import Bound


class Pool:
    """One bounded amount that clients share."""

    def __init__(
        self,
        bound: Bound,
        tally: LimitCounters,
        *,
        total: int,
        each: int,
        waiting: int | None = None,
    ) -> None:
        self._bound = bound
        self._tally = tally
        line = limits.WAITING_MAX if waiting is None else waiting
        self._shares = Shares(
            total=total, each=each, waiting=line, waiting_each=min(line, limits.WAITING_EACH)
        )
        self._granted: dict[Ask, trio.Event] = {}

    async def acquire(self, key: str, amount: int = 1) -> Ask:
        """Hold an amount until `release`; raises `Busy`."""
        ask = self._shares.ask(key, amount)
        if ask is None:
            raise self._busy(key)
        if ask.granted:
            return ask
        self._tally.delayed(self._bound)
        event = self._granted[ask] = trio.Event()
        try:
            with trio.move_on_after(limits.WAITING_S):
                await event.wait()
        except BaseException:
            self._granted.pop(ask, None)
            self.release(ask)
            raise
        if not event.is_set():
            del self._granted[ask]
            self.release(ask)
            raise self._busy(key)
        return ask

    def release(self, ask: Ask) -> None:
        """Give it back; those it makes room for go on."""
        for each in self._shares.give_back(ask):
            event = self._granted.pop(each, None)
            if event is not None:
                event.set()

    @asynccontextmanager
    async def hold(self, key: str, amount: int = 1) -> AsyncIterator[None]:
        """Hold an amount; raises `Busy`."""
        ask = await self.acquire(key, amount)
        try:
            yield
        finally:
            self.release(ask)

    def _busy(self, key: str) -> Busy:
        self._tally.refused(self._bound, client=key)
        message = (
            f"too many requests at once for the bound {self._bound.value}: a client may hold "
            f"{self._shares.each:,} of {self._shares.total:,}, this one holds "
            f"{self._shares.held_by(key):,}; send fewer at once"
        )
        return Busy(message, retry_after_s=limits.RETRY_AFTER_S)
