"""Owns forgetting: runs, facts, logs, and used idempotency keys that are older than is kept."""

from collections.abc import Awaitable, Callable, Sequence

import structlog
import trio

from control.model import limits
from control.model.clock import Clock
from store import catalog, retention
from store.database.writer import Writer
from store.retention import Removed

LOG = structlog.get_logger("pruner")


class Pruner:
    """Looks once an hour; works in small portions, so that no other transaction waits for it.

    `may_forget`: whether the time of day may be trusted with it.
    """

    def __init__(
        self,
        writer: Writer,
        keep_days: float,
        clock: Clock,
        may_forget: Callable[[], bool],
        *,
        forget_logs: Callable[[Sequence[Removed]], Awaitable[None]],
        forget_facts: Callable[[int], Awaitable[None]],
    ) -> None:
        self._writer = writer
        self._keep_ms = round(keep_days * limits.DAY_MS)
        self._clock = clock
        self._may_forget = may_forget
        self._forget_logs = forget_logs
        self._forget_facts = forget_facts

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        task_status.started()
        while True:
            if self._may_forget():  # Not by a clock that was set a moment ago.
                await self.run_once(self._clock.wall_ms())
            await trio.sleep(limits.PRUNE_EVERY_S)

    async def run_once(self, now_ms: int) -> int:
        """Forget what is too old now; gives how many runs went."""
        before_ms = now_ms - self._keep_ms
        gone, portion = 0, limits.PRUNE_PORTION_MAX
        while True:
            removed = await self._writer.insist(
                lambda tx: retention.prune(tx.conn, before_ms, portion)
            )
            await self._forget_logs(removed)
            gone += len(removed)
            if len(removed) < portion:
                break
        while portion == await self._writer.insist(
            lambda tx: catalog.forget(tx.conn, now_ms=self._clock.steady_ms(), limit=portion)
        ):
            pass
        await self._forget_facts(before_ms)
        if gone:
            LOG.info("runs.pruned", runs=gone)
        return gone
