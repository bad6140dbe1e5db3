"""Owns the live events: one reading of what changed serves all who listen.

Nothing is read while nobody listens. A listener that is too slow loses frames, not memory: its
next frame is a new snapshot that says `gap`.
"""

from collections import deque
from typing import Final, Literal

import msgspec
import structlog
import trio
from msgspec import UNSET, UnsetType

from control.api.live import Live
from control.api.ports import Parts
from control.model import limits
from control.model.errors import QueueFull, StoreFailed
from control.model.fleet import PartitionView, WorkerView, show_partition
from control.model.live import Counts
from control.model.messages import NULL
from control.model.states import State
from control.model.times import to_rfc3339
from control.model.views import JobView, RunView
from store import views
from store.views import RunFilter

LOG = structlog.get_logger("api")
_FLEET_S: Final = 0.5  # Workers, partitions, and counts are large, and nobody reads faster.
_FRAMES_MAX: Final = 8  # Kept for a listener that is slow.
_OPEN_MAX: Final = 100  # Runs of each open state in a snapshot.


class _Frame(msgspec.Struct, frozen=True, kw_only=True):
    """One frame without its `seq`, which each listener counts for itself."""

    time: str
    kind: Literal["snapshot", "changes"]
    gap: bool = False
    counts: Counts | UnsetType = UNSET
    runs: list[RunView] = []
    jobs: list[JobView] = []
    workers: list[WorkerView] | UnsetType = UNSET
    partitions: list[PartitionView] | UnsetType = UNSET


class Listener:
    """One websocket's view of the stream."""

    def __init__(self) -> None:
        self._frames: deque[bytes] = deque()
        self._arrived = trio.Event()
        self._behind = True  # Nothing was sent yet: it needs a snapshot.
        self._seq = 0

    def offer(self, frame: bytes) -> None:
        """Take a frame of changes, unless a snapshot is due anyway."""
        if self._behind:
            return
        if len(self._frames) >= _FRAMES_MAX:
            self.fall_behind()
            return
        self._frames.append(frame)
        self._arrived.set()

    def fall_behind(self) -> None:
        """Frames were lost: only a snapshot helps."""
        self._frames.clear()
        self._behind = True
        self._arrived.set()

    async def next_frame(self, events: "Events") -> bytes:
        """The next frame to send."""
        while not self._frames and not self._behind:
            self._arrived = trio.Event()
            await self._arrived.wait()
        if self._behind:
            self._behind = False  # What changes from here on is offered again.
            frame = await events.snapshot(gap=self._seq > 0)
        else:
            frame = self._frames.popleft()
        numbered = b'{"seq":%d,' % self._seq + frame[1:]
        self._seq += 1
        return numbered


class Events:
    """Reads what changed, at most ten times a second, and hands it to the listeners."""

    def __init__(self, parts: Parts, live: Live) -> None:
        self._parts = parts
        self._live = live
        self._listeners: set[Listener] = set()
        self.closing = trio.Event()  # Listeners leave, so that nobody has to wait for them.
        self._joined = trio.Event()
        self._sent_runs: dict[int, bytes] = {}
        self._sent_jobs: dict[int, bytes] = {}
        self._fleet_seen = -1
        self._fleet_due = 0.0

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    def join(self) -> Listener:
        """A new listener; raises `QueueFull`."""
        if len(self._listeners) >= limits.EVENT_STREAMS_MAX:
            message = f"{limits.EVENT_STREAMS_MAX} consoles listen already"
            raise QueueFull(message, retry_after_s=limits.RETRY_AFTER_S)
        listener = Listener()
        self._listeners.add(listener)
        self._live.listening = True
        self._joined.set()
        return listener

    def leave(self, listener: Listener) -> None:
        """This one listens no more."""
        self._listeners.discard(listener)
        if not self._listeners:
            self._live.listening = False
            self._live.changed_runs.clear()
            self._live.changed_jobs.clear()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        task_status.started()
        gaps = self._live.gaps
        while True:
            if not self._listeners:
                self._joined = trio.Event()
                await self._joined.wait()
            changed = self._live.changed()
            try:
                frame = await self._changes()
            except StoreFailed as error:
                LOG.warning("events.unreadable", reason=str(error))
                frame = None
            if gaps != self._live.gaps:
                gaps = self._live.gaps
                for listener in self._listeners:
                    listener.fall_behind()
            elif frame is not None:
                for listener in self._listeners:
                    listener.offer(frame)
            await trio.sleep(1 / limits.EVENTS_PER_SECOND_MAX)
            if not self._live.changed_runs and not self._live.changed_jobs:
                with trio.move_on_after(limits.SETTLE_S):
                    await changed.wait()

    async def snapshot(self, *, gap: bool) -> bytes:
        """Everything a console begins with."""
        shown = self._parts.views
        started, waiting, open_runs, queued = await self._parts.reader.read(
            lambda conn: (
                shown.runs(conn, RunFilter(state=State.IN_PROGRESS), below=None, limit=_OPEN_MAX),
                shown.runs(conn, RunFilter(state=State.READY), below=None, limit=_OPEN_MAX),
                views.open_runs(conn),
                views.waiting_jobs(conn),
            )
        )
        frame = _Frame(
            time=to_rfc3339(self._parts.now_ms()),
            kind="snapshot",
            counts=self._counts(open_runs, queued),
            runs=[_slim(run) for run in started[0] + waiting[0]],
            workers=self._live.workers(),
            partitions=self._partitions(),
            gap=gap,
        )
        return msgspec.json.encode(frame)

    async def _changes(self) -> bytes | None:
        """What changed since the last frame; None: nothing."""
        run_ids, job_ids = list(self._live.changed_runs), list(self._live.changed_jobs)
        now = trio.current_time()
        fleet = self._fleet_seen != self._live.fleet_changes and now >= self._fleet_due
        if not run_ids and not job_ids and not fleet:
            return None
        shown = self._parts.views
        runs, jobs, open_runs, waiting = await self._parts.reader.read(
            lambda conn: (
                shown.runs_among(conn, run_ids),
                shown.jobs_among(conn, job_ids),
                views.open_runs(conn) if fleet else 0,
                views.waiting_jobs(conn) if fleet else 0,
            )
        )
        # A message may be read before the trigger has stored what it says: look once more.
        for marked in (self._live.changed_runs, self._live.changed_jobs):
            for key in [key for key, at in marked.items() if at < now - limits.SETTLE_S]:
                del marked[key]
        fresh_runs = [run for run in map(_slim, runs) if _is_new(self._sent_runs, run.id, run)]
        fresh_jobs = [job for job in jobs if _is_new(self._sent_jobs, job.id, job)]
        if fleet:
            self._fleet_seen, self._fleet_due = self._live.fleet_changes, now + _FLEET_S
        if not fresh_runs and not fresh_jobs and not fleet:
            return None
        frame = _Frame(
            time=to_rfc3339(self._parts.now_ms()),
            kind="changes",
            counts=self._counts(open_runs, waiting) if fleet else UNSET,
            runs=fresh_runs,
            jobs=fresh_jobs,
            workers=self._live.workers() if fleet else UNSET,
            partitions=self._partitions() if fleet else UNSET,
        )
        return msgspec.json.encode(frame)

    def _counts(self, open_runs: int, waiting: int) -> Counts:
        running, workers, slots = self._live.totals()
        return Counts(
            open_runs=open_runs, waiting=waiting, running=running, workers=workers, slots=slots
        )

    def _partitions(self) -> list[PartitionView]:
        now_ms, heads = self._parts.now_ms(), self._live.heads()
        return [
            show_partition(load, heads.get(load.partition), now_ms)
            for load in self._parts.balancing.partitions()
        ]


def _slim(run: RunView) -> RunView:
    # An input may be a megabyte, and no list shows it.
    return run if run.input == NULL else msgspec.structs.replace(run, input=NULL)


def _is_new(sent: dict[int, bytes], key: int, shown: RunView | JobView) -> bool:
    """Whether this was not sent before just like this; remembers it."""
    encoded = msgspec.json.encode(shown)
    if sent.get(key) == encoded:
        return False
    if len(sent) >= 2 * limits.CHANGED_RUNS_MAX:
        del sent[next(iter(sent))]
    sent[key] = encoded
    return True
