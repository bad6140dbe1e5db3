"""Owns the threads of a process: what must go on never shares one with what may wait.

Each lane has its own few threads. What is not taken up yet waits in trio, where it can be
cancelled; what is being done for longest is known, so that health can be measured.
"""

from collections.abc import Callable
from typing import TypeVar

import outcome
import trio

from control.model import limits

T = TypeVar("T")


class ThreadPool:
    """A few threads for one purpose; called like `trio.to_thread.run_sync`."""

    def __init__(self, threads: int) -> None:
        self._limiter = trio.CapacityLimiter(threads)
        self._since: dict[object, float] = {}

    async def __call__(self, sync_fn: Callable[[], T], /) -> T:
        """Call it in a thread and give its value back; once begun it is not cancelled."""
        ticket = object()
        self._since[ticket] = trio.current_time()
        try:
            return await trio.to_thread.run_sync(sync_fn, limiter=self._limiter)
        finally:
            del self._since[ticket]

    def oldest_s(self) -> float:
        """For how long the oldest piece of work has been waiting or running."""
        begun = next(iter(self._since.values()), None)
        return 0.0 if begun is None else trio.current_time() - begun


class AdmissionQueues:
    """All lanes of the state's owner."""

    def __init__(self) -> None:
        self.writer = ThreadPool(1)
        self.readers = ThreadPool(limits.READERS_MAX)
        self.logins = ThreadPool(1)
        self.hashes = ThreadPool(limits.HASHES_MAX)
        self.facts = ThreadPool(1)  # What is appended, and removed.
        self.reports = ThreadPool(1)
        self.exports = ThreadPool(1)  # Facts, written out: all of them may take minutes.
        self.snapshots = ThreadPool(1)  # Facts, copied for users' queries.
        self.logs = ThreadPool(1)  # What is appended.
        self.log_reading = ThreadPool(2)
        self.examinations = ThreadPool(1)
        self.files = ThreadPool(1)  # Of exports, while they are sent.
        self.computing = ThreadPool(1)  # Forecasts, nominal times.
        self.parsing = ThreadPool(limits.PARSING_MAX)
        self.expensive_parsing = ThreadPool(limits.EXPENSIVE_PARSING_MAX)


async def interruptible(
    work: Callable[[], T], lane: ThreadPool, interrupt: Callable[[], None]
) -> T:
    """Run work in a lane of one thread; a cancellation interrupts it, or it does not begin."""
    running = cancelled = False

    def run() -> outcome.Outcome[T] | None:
        nonlocal running
        running = True  # First this, then the look: one of the two sides sees the other.
        try:
            return None if cancelled else outcome.capture(work)
        finally:
            running = False

    async def interrupt_when_cancelled() -> None:
        nonlocal cancelled
        try:
            await trio.sleep_forever()
        finally:
            cancelled = True
            with trio.CancelScope(shield=True):
                while running:  # It may be just before what can be interrupted.
                    interrupt()
                    await trio.sleep(limits.INTERRUPT_AGAIN_S)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(interrupt_when_cancelled)
        found = await lane(run)
        await trio.lowlevel.checkpoint_if_cancelled()  # What an interruption raised is no result.
        nursery.cancel_scope.cancel()
    assert found is not None
    return found.unwrap()
