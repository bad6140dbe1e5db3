"""Owns the live events: one reading of what changed serves all who listen.

Only what somebody wants is read, and nothing while nobody listens, but once in ten seconds how
many jobs wait.
"""

import math
from collections.abc import MutableMapping
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
import structlog
import trio

from control.api.auth.authentication import Caller
from control.api.live.dirty_set import WantedChanges
from control.api.live.fleet_delta import Differences
from control.api.live.projection import Live
from control.api.live.subscriber import Listener, Share
from control.api.ports import Parts
from control.core.fair_use.rates import Rates
from control.model import limits
from control.model.api.live import Frame
from control.model.api.views import JobView, RunView
from control.model.errors import Busy, QueueFull, StoreFailed
from control.model.names import Bound
from control.model.numbers import JobId, RunId
from control.model.raw import NULL
from control.model.states import FINAL, State
from control.model.times import to_rfc3339
from store import views
from store.views import RunFilter

K = TypeVar("K", bound=int)
LOG = structlog.get_logger("api")
_OPEN_MAX: Final = 100  # Runs of each open state in a snapshot.


class _LiveState(NamedTuple):
    """What one look at the database, and at what is live, has found."""

    runs: dict[RunId, RunView]  # Newest first.
    changed: frozenset[RunId]
    jobs: dict[JobId, JobView]
    runs_more: int
    fleet: dict[str, Any]  # Fields of a frame.
    notes: int  # How many there have been.


class Events:
    """Reads what changed, at most ten times a second, and hands it to the listeners."""

    def __init__(self, parts: Parts, live: Live, version: str) -> None:
        self._parts = parts
        self._live = live
        self._version = version
        self._listeners: set[Listener] = set()
        self.closing = trio.Event()  # Listeners leave, so that nobody has to wait for them.
        self._joined = trio.Event()
        self._joining = Rates(
            per_s=limits.EVENT_STREAMS_PER_S,
            burst=limits.EVENT_STREAMS_MAX,
            keys_max=limits.LOGIN_KEYS_MAX,
        )
        self._sent_runs: dict[RunId, bytes] = {}
        self._sent_jobs: dict[JobId, bytes] = {}
        self._differences = Differences(parts, live)

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    def join(self, who: Caller) -> Listener:
        """A new listener; raises `QueueFull`."""
        if len(self._listeners) >= limits.EVENT_STREAMS_MAX:
            self._parts.fair.tally.refused(Bound.EVENT_STREAMS, client=who.client_id)
            message = f"{limits.EVENT_STREAMS_MAX} consoles listen already"
            raise QueueFull(message, retry_after_s=limits.RETRY_AFTER_S)
        now = trio.current_time()
        wait_s = self._joining.wait_s(who.client_id, now)
        if wait_s > 0:
            self._parts.fair.tally.refused(Bound.EVENT_STREAMS, client=who.client_id)
            message = f"{who.client_id} begins to listen too often; each time costs a snapshot"
            raise Busy(message, retry_after_s=math.ceil(wait_s))
        self._joining.take(who.client_id, now)
        own = sum(1 for each in self._listeners if each.who.client_id == who.client_id)
        if own >= limits.EVENT_STREAMS_EACH:
            self._parts.fair.tally.refused(Bound.EVENT_STREAMS, client=who.client_id)
            message = f"{own} consoles of {who.client_id} listen already"
            raise Busy(message, retry_after_s=limits.RETRY_AFTER_S)
        listener = Listener(who)
        self._listeners.add(listener)
        self._live.listen()
        self._want()
        self._joined.set()
        return listener

    def leave(self, listener: Listener) -> None:
        """This one listens no more."""
        self._listeners.discard(listener)
        if self._listeners:
            self._want()
        else:
            self._live.forget_changes()

    def heed(self, listener: Listener, text: str | None) -> None:
        """A listener says what it wants; raises `Malformed`."""
        had_workers = listener.watch.workers
        fresh = listener.heed(text)
        self._want()
        self._live.marks.want(fresh, trio.current_time())
        if listener.watch.workers and not had_workers:
            self._live.crew.touch_workers()
        self._joined.set()  # It may have been said while nothing happens.

    async def next_frame(self, listener: Listener) -> bytes:
        """The next frame to send."""
        frame = await listener.ready()
        return listener.numbered(await self.snapshot(listener) if frame is None else frame)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        task_status.started()
        gaps = self._live.gaps
        while True:
            self._joined, changed = trio.Event(), self._live.changed()
            if not self._listeners:
                await self._rest()
                continue
            rows = await self._serve()
            if gaps != self._live.gaps:
                gaps = self._live.gaps
                for listener in self._listeners:
                    listener.fall_behind()
            pause_s = rows / limits.EVENT_ROWS_PER_SECOND_MAX
            await trio.sleep(max(pause_s, 1 / limits.EVENTS_PER_SECOND_MAX))
            if not changed.is_set() and not self._live.marks.waiting:
                await self._until(changed)

    async def snapshot(self, listener: Listener) -> bytes:
        """Everything a console begins with."""
        shown = self._parts.views
        started, waiting, newest, open_runs, queued = await self._parts.reader.read(
            lambda conn: (
                shown.runs(conn, RunFilter(state=State.IN_PROGRESS), below=None, limit=_OPEN_MAX),
                shown.runs(conn, RunFilter(state=State.READY), below=None, limit=_OPEN_MAX),
                shown.runs(conn, RunFilter(), below=None, limit=1),
                views.open_runs(conn),
                views.waiting_jobs(conn),
            )
        )
        live = self._live
        live.roll()
        live.pulses.waiting = queued
        runs = [_slim(run) for run in started[0] + waiting[0]]
        newest_run = newest[0][0].id if newest[0] else 0
        owed = listener.began(runs, newest_run=newest_run, notes=live.notes.told)
        self._want()
        live.marks.want(owed, trio.current_time())
        self._differences.tell_anew()
        frame = Frame(
            seq=0,
            time=to_rfc3339(self._parts.now_ms()),
            kind="snapshot",
            gap=listener.started,
            version=self._version,
            client_id=listener.who.client_id,
            role=listener.who.role,
            life=self._parts.life,
            counts=self._differences.counts(open_runs, queued),
            runs=runs,
            workers=live.crew.workers() if listener.watch.workers else msgspec.UNSET,
            partitions=live.partitions(self._parts.balancing.partitions()),
            pulses=live.pulses.all(live.crew.running()),
            notes=live.notes.all(),
        )
        return msgspec.json.encode(frame)

    async def _rest(self) -> None:
        """Nobody listens: only the pulse goes on."""
        left_ms = self._live.pulses.end_ms - self._parts.now_ms()
        with trio.move_on_after(min(max(left_ms, 100), limits.PULSE_MS) / 1000):
            await self._joined.wait()
            return
        try:
            self._live.pulses.waiting = await self._parts.reader.read(views.waiting_jobs)
        except StoreFailed as error:
            LOG.warning("events.unreadable", reason=str(error))
        self._live.roll()

    async def _until(self, changed: trio.Event) -> None:
        """Wait for a change, for what it says to be stored, or for what is looked at again."""
        with trio.move_on_after(self._differences.patience_s):
            async with trio.open_nursery() as nursery:
                for event in (changed, self._joined):
                    nursery.start_soon(_cancel_after, event, nursery.cancel_scope)
            await trio.sleep(limits.EVENT_GATHER_S)

    async def _serve(self) -> int:
        """Tell all who listen what changed; gives how many rows were read."""
        live, now = self._live, trio.current_time()
        live.roll()
        fleet = self._differences.look()
        taken = live.marks.take(now)
        if not taken.runs and not taken.jobs and not fleet:
            return 0
        shown = self._parts.views
        try:
            runs, jobs, open_runs, waiting = await self._parts.reader.read(
                lambda conn: (
                    shown.runs_among(conn, taken.runs) if taken.runs else [],
                    shown.jobs_among(conn, taken.jobs) if taken.jobs else [],
                    views.open_runs(conn) if fleet else 0,
                    views.waiting_jobs(conn) if fleet else 0,
                )
            )
        except StoreFailed as error:
            LOG.warning("events.unreadable", reason=str(error))
            live.marks.put_back(taken, now)
            return 0
        live.marks.settled(
            (run.id for run in runs if run.state in FINAL),
            (job.id for job in jobs if job.state in FINAL),
        )
        found = {run.id: _slim(run) for run in runs}
        self._hand_out(
            _LiveState(
                runs=found,
                changed=frozenset(
                    run_id for run_id, run in found.items() if _is_new(self._sent_runs, run_id, run)
                ),
                jobs={job.id: job for job in jobs if _is_new(self._sent_jobs, job.id, job)},
                runs_more=taken.runs_more,
                fleet=self._differences.take(open_runs, waiting) if fleet else {},
                notes=live.notes.told,
            )
        )
        return len(taken.runs) + len(taken.jobs)

    def _hand_out(self, look: _LiveState) -> None:
        """Each listener gets its share; those with the same share get the same frame."""
        made: dict[Share, bytes] = {}
        for listener in self._listeners:
            if listener.behind:
                continue
            share = listener.share(
                list(look.runs.values()),
                look.changed,
                list(look.jobs.values()),
                runs_more=look.runs_more,
                fleet=bool(look.fleet),
                notes=look.notes,
            )
            if share.empty:
                continue
            frame = made.get(share)
            if frame is None:
                frame = made[share] = self._frame(look, share)
            listener.offer(frame)

    def _frame(self, look: _LiveState, share: Share) -> bytes:
        fleet = dict(look.fleet)
        if not share.workers:
            fleet.pop("workers", None)
        frame = Frame(
            seq=0,
            time=to_rfc3339(self._parts.now_ms()),
            kind="changes",
            runs=[look.runs[run_id] for run_id in share.runs],
            runs_more=share.runs_more,
            jobs=[look.jobs[job_id] for job_id in share.jobs],
            notes=self._live.notes.since(share.notes_after),
            **fleet,
        )
        return msgspec.json.encode(frame)

    def _want(self) -> None:
        """Say which changes are worth looking at."""
        watches = [listener.watch for listener in self._listeners]
        self._live.marks.wanted = WantedChanges(
            watched=frozenset[RunId]().union(*(each.watched for each in self._listeners)),
            all_runs=any(watch.runs is None for watch in watches),
            new_above=min((listener.new_above for listener in self._listeners), default=0),
            jobs_of=frozenset(RunId(each.jobs_of) for each in watches if each.jobs_of),
            all_jobs=any(watch.jobs_of is None for watch in watches),
        )


async def _cancel_after(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


def _slim(run: RunView) -> RunView:
    # An input may be a megabyte, and no list shows it.
    return run if run.input == NULL else msgspec.structs.replace(run, input=NULL)


def _is_new(sent: MutableMapping[K, bytes], key: K, shown: RunView | JobView) -> bool:
    """Whether this was not sent before just like this; remembers it."""
    encoded = msgspec.json.encode(shown)
    if sent.get(key) == encoded:
        return False
    if len(sent) >= limits.SENT_KEPT_MAX:
        del sent[next(iter(sent))]
    sent[key] = encoded
    return True
