"""Owns the logs of attempts: takes their text from the bus into files, and lets it be read.

A reader that follows is woken, by text and by results; nothing is polled.
"""

from collections import OrderedDict, defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import TypeVar

import structlog
import trio

from control.bus.interface import Bus
from control.bus.tailing import Followed, follow
from control.model import limits
from control.model.bus.child_messages import ChildEnded
from control.model.bus.messages import Finished, LogChunk, Message, Skipped
from control.model.errors import StoreFailed
from control.model.names import Topic
from store.database.writer import Offload
from store.log_files import Key, LogFiles
from store.retention import Removed

T = TypeVar("T")
LOG = structlog.get_logger("job_logs")


class _Follower:
    """Somebody who reads an attempt's log while it grows."""

    def __init__(self) -> None:
        self.woken = trio.Event()
        self.total: int | None = None  # How many bytes there will be, once that is known.

    def wake(self) -> None:
        self.woken.set()


class JobLogs:
    """Writes and reads the logs."""

    def __init__(
        self, bus: Bus, files: LogFiles, offload: Offload, reading: Offload | None = None
    ) -> None:
        """`reading`: where readers read, so that what is appended never waits for them."""
        self._bus = bus
        self._files = files
        self._offload = offload
        self._reading = reading or offload
        self._followers: defaultdict[Key, set[_Follower]] = defaultdict(set)
        # Ended lately, and how long its log is: the state may not say so yet.
        self._ended: OrderedDict[Key, int] = OrderedDict()
        # Files are used by one thread at a time: descriptors may be closed by the next caller.
        self._lock = trio.Lock()
        self.failing: str | None = None  # Why no log can be written, if so.

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        # What was missed shows as a gap in the logs.
        chunks = await follow(self._bus, Topic.TASK_RUN_LOGS, "job_logs", None)
        results = await follow(self._bus, Topic.TASK_RUN_RESULTS, "job_logs", None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._take_in, chunks, self._append)
            nursery.start_soon(self._take_in, results, self._end)
            task_status.started()

    async def read(self, job_id: int, attempt: int) -> AsyncGenerator[bytes, None]:
        """What there is of an attempt's log, in pieces."""
        at = 0
        while piece := await self._piece((job_id, attempt), at):
            at += len(piece)
            yield piece

    async def check(self, job_id: int, attempt: int) -> None:
        """Raise `StoreFailed` where an attempt's log cannot be read."""
        await self._read(lambda: self._files.require_readable((job_id, attempt)))

    async def follow(
        self, job_id: int, attempt: int, log_bytes: Callable[[], Awaitable[int | None]]
    ) -> AsyncGenerator[bytes, None]:
        """The log from its begin, until the attempt has ended and all of it has come.

        `log_bytes` gives how long the log of an attempt that has ended is; None: it has not.
        """
        key, at = (job_id, attempt), 0
        follower = _Follower()
        self._followers[key].add(follower)
        try:
            total = await log_bytes()
            if total is None:
                total = self._ended.get(key)
            if total is not None:  # The result may have come in while this was looked up.
                follower.total = total
            last = False
            while not last:
                woken = follower.woken = trio.Event()
                last = await self._is_complete(key, follower)
                while piece := await self._piece(key, at):
                    at += len(piece)
                    yield piece
                if last:
                    return
                # The last text may still be on its way when the result is here; or be lost.
                wait_s = float("inf") if follower.total is None else limits.LOG_LAST_S
                with trio.move_on_after(wait_s) as limit:
                    await woken.wait()
                last = limit.cancelled_caught
        finally:
            self._followers[key].discard(follower)
            if not self._followers[key]:
                del self._followers[key]

    async def forget(self, removed: Sequence[Removed]) -> None:
        """Delete the logs of runs that are gone."""
        if removed:
            await self._locked(lambda: self._files.forget(removed))

    async def _take_in(
        self, topic: Followed, take: Callable[[list[Message]], Awaitable[None]]
    ) -> None:
        while True:
            await take(await topic.receive())

    async def _append(self, messages: list[Message]) -> None:
        chunks: defaultdict[Key, list[LogChunk]] = defaultdict(list)
        for message in messages:
            if isinstance(message, LogChunk):
                chunks[message.job_id, message.attempt].append(message)
        try:
            await self._locked(lambda: self._files.append(chunks))
            self.failing = None
        except OSError as error:
            # A full disk must not stop the jobs; the files will say what is missing.
            LOG.warning("job_logs.unwritten", attempts=len(chunks), reason=str(error))
            self.failing = f"logs cannot be written: {error}"
        for key in chunks:
            self._wake(key)

    async def _end(self, messages: list[Message]) -> None:
        await trio.lowlevel.checkpoint()
        for message in messages:
            if isinstance(message, Finished | Skipped | ChildEnded):
                key = (message.job_id, message.attempt)
                total = message.log_bytes if isinstance(message, Finished) else 0
                self._ended[key] = total
                if len(self._ended) > limits.LOGS_ENDED_MAX:
                    self._ended.popitem(last=False)
                for follower in self._followers.get(key, ()):
                    follower.total = total
                self._wake(key)

    async def _is_complete(self, key: Key, follower: _Follower) -> bool:
        total = follower.total
        if total is None:
            return False
        return await self._locked(lambda: self._files.reached(key)) >= total

    async def _piece(self, key: Key, at: int) -> bytes:
        return await self._read(lambda: self._files.read(key, at))

    async def _read(self, work: Callable[[], T]) -> T:
        try:
            return await self._reading(work)
        except OSError as error:
            message = f"the log cannot be read: {error}"
            raise StoreFailed(message) from error

    async def _locked(self, work: Callable[[], T]) -> T:
        async with self._lock:
            return await self._offload(work)

    def _wake(self, key: Key) -> None:
        for follower in self._followers.get(key, ()):
            follower.wake()
