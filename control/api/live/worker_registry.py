"""Owns which workers there are, what they were given, and which of them have changed."""

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import Final

from control.api.live.activity import Notes
from control.api.live.assigned_job import Given, Gone, show_given, show_worker
from control.core.fleet.worker_registry import WorkerChanges, WorkerRegistry
from control.model import limits
from control.model.api.fleet import RunningView, WorkerView
from control.model.bus.messages import (
    DispatcherUp,
    Finished,
    Hold,
    JobReady,
    Placed,
    Started,
    WorkerDown,
    WorkerQuiet,
    WorkerUp,
)
from control.model.numbers import JobId

# Topics overtake each other: a placement read after its result must not stay for ever.
_ENDED_MAX: Final = 20_000
_RETURNED_MAX: Final = 20_000  # Nor must one that is read after the job has come back.


class Crew:
    """All workers. `notes` hears who came and went."""

    def __init__(self, notes: Notes, now_ms: Callable[[], int]) -> None:
        self._notes = notes
        self._now_ms = now_ms
        self._registry = WorkerRegistry()
        self._gone: OrderedDict[str, Gone] = OrderedDict()
        self._known: set[str] = set()  # Workers whose joining is no news.
        self._given: dict[int, Given] = {}
        self._ended: OrderedDict[tuple[int, int], None] = OrderedDict()
        self._returned: OrderedDict[tuple[int, int], int] = OrderedDict()
        self.listening = False  # Only then it is kept who has changed.
        self._dirty: set[str] = set()  # Workers that are other than when they were taken last.
        self._moved: set[str] = set()  # Workers whose jobs came or went since then.
        self._told_busy: set[str] = set()  # Workers that somebody was told have jobs.
        self._unlisted: set[str] = set()

    def workers(self) -> list[WorkerView]:
        """All workers, those gone lately last."""
        self._forget_gone()
        return self._shown([*sorted(self._registry.workers), *self._gone], self._by_worker())

    def take_workers(self) -> tuple[list[WorkerView], list[str]]:
        """Workers that changed since this was asked last, and those that are listed no more."""
        self._forget_gone()
        listed = self._registry.workers.keys() | self._gone.keys()
        by_worker = self._by_worker()
        # Who was idle, and is again, is as it was told, however many short jobs it had meanwhile.
        moved = self._moved & (self._told_busy | by_worker.keys())
        changed, gone = sorted((self._dirty | moved) & listed), sorted(self._unlisted - listed)
        for seen in (self._dirty, self._moved, self._unlisted):
            seen.clear()
        self._told_busy.difference_update(changed)
        self._told_busy.update(by_worker.keys() & changed)
        return self._shown(changed, by_worker), gone

    def tell_anew(self) -> None:
        """Somebody was told all as it is now, which may change back before the others hear."""
        self._told_busy.update(given.worker for given in self._given.values())

    def touch_workers(self) -> None:
        """Somebody wants to hear of all of them."""
        self._dirty.update(self._registry.workers, self._gone)

    def forget_changes(self) -> None:
        """Nobody listens any more."""
        self.listening = False
        for seen in (self._dirty, self._moved, self._unlisted, self._told_busy):
            seen.clear()

    def forget_given(self) -> None:
        """Messages were missed; the dispatchers say again what they hold."""
        self._given.clear()

    def has_worker(self, name: str) -> bool:
        """Whether a worker of this name is connected."""
        return name in self._registry.workers

    def heads(self) -> dict[int, RunningView]:
        """For each partition the job that has run longest."""
        found: dict[int, Given] = {}
        for given in self._given.values():
            if given.started_ms is None or given.partition is None:
                continue
            head = found.get(given.partition)
            if head is None or given.started_ms < (head.started_ms or 0):
                found[given.partition] = given
        return {partition: show_given(given) for partition, given in found.items()}

    def given_in(self, partition: int) -> list[Given]:
        """What was placed in a partition, in the order of placing."""
        return [given for given in self._given.values() if given.partition == partition]

    def running(self) -> int:
        """How many jobs run."""
        return sum(given.started_ms is not None for given in self._given.values())

    def totals(self) -> tuple[int, int, int]:
        """How many jobs run, workers are connected, and slots they have."""
        workers = self._registry.workers.values()
        return self.running(), len(workers), sum(up.slots for up in workers)

    def tries(self, message: Finished) -> tuple[int, int]:
        """Which try of a job has ended, and how many it has; 0: not known."""
        given = self._given.get(message.job_id)
        known = given is not None and given.attempt == message.attempt
        return (given.tried, given.tries) if given is not None and known else (0, 0)

    def placed(self, message: Placed) -> None:
        """A job was given to a worker."""
        job = message.job
        attempt = (job.job_id, job.attempt)
        if attempt in self._ended or job.returned < self._returned.get(attempt, 0):
            return
        tried = job.attempt - job.lost  # Lost workers cost no try.
        self._leaves(job.job_id)
        self._given[job.job_id] = Given(
            job_id=job.job_id,
            attempt=job.attempt,
            worker=message.worker,
            partition=message.partition,
            pipeline=job.pipeline,
            name=job.name,
            expected=message.expected,
            run_id=job.run_id,
            tried=tried,
            tries=tried + job.retries_left,
            returned=job.returned,
        )
        self._move(message.worker)

    def ready(self, job: JobReady) -> None:
        """A job may run; if it comes back from a worker, that one has it no more."""
        if not job.returned:
            return
        self._returned[job.job_id, job.attempt] = job.returned
        if len(self._returned) > _RETURNED_MAX:
            self._returned.popitem(last=False)
        given = self._given.get(job.job_id)
        if given is not None and given.attempt == job.attempt and given.returned < job.returned:
            del self._given[job.job_id]
            self._move(given.worker)

    def started(self, message: Started) -> None:
        """A worker began with a job."""
        given = self._given.get(message.job_id)
        if given is not None and given.attempt == message.attempt:
            given.started_ms, given.run_id = message.started_ms, message.run_id
            self._move(given.worker)

    def ended(self, job_id: JobId, attempt: int) -> bool:
        """A worker has it no more. False: this attempt had ended already, and counts once."""
        if (job_id, attempt) in self._ended:
            return False
        self._ended[job_id, attempt] = None
        if len(self._ended) > _ENDED_MAX:
            self._ended.popitem(last=False)
        given = self._given.get(job_id)
        if given is not None and given.attempt <= attempt:
            del self._given[job_id]
            self._move(given.worker)
        return True

    def worker_up(self, message: WorkerUp) -> None:
        """A worker connected or changed."""
        self._changed(self._registry.worker_up(message), "")

    def worker_down(self, message: WorkerDown) -> None:
        """A worker is gone."""
        changes = self._registry.worker_down(message.worker, message.dispatcher)
        self._changed(changes, message.reason, drained=message.drained)

    def quiet(self, message: WorkerQuiet) -> None:
        """A worker says nothing, or speaks again."""
        if self._registry.worker_quiet(message):
            self._touch(message.worker)

    def dispatcher_up(self, message: DispatcherUp) -> None:
        """A dispatcher told all it knows."""
        changes = self._registry.dispatcher_up(message)
        here = {up.worker for up in changes.came if up.dispatcher == message.dispatcher}
        held = {hold.job_id for up in message.workers for hold in up.holds}
        held |= {hold.job_id for hold in message.adrift}
        self._given = {
            job_id: given
            for job_id, given in self._given.items()
            if job_id in held or given.worker not in here
        }
        self._changed(changes, "its dispatcher is gone, or does not have it any more")

    def _changed(self, changes: WorkerChanges, reason: str, *, drained: bool = False) -> None:
        now_ms = self._now_ms()
        for info in changes.gone:
            self._gone[info.worker] = Gone(info, reason, now_ms, drained)
            self._touch(info.worker)
            self._notes.left(info.worker, reason, now_ms)
            self._known.discard(info.worker)
            if len(self._gone) > limits.GONE_WORKERS_MAX:
                self._unlist()
        for info in changes.came:
            self._gone.pop(info.worker, None)
            self._hold(info.worker, info.holds)
            self._touch(info.worker)
            if info.worker not in self._known:
                self._known.add(info.worker)
                self._notes.joined(info, now_ms)

    def _hold(self, worker: str, holds: tuple[Hold, ...]) -> None:
        for hold in holds:
            known = self._given.get(hold.job_id)
            if (hold.job_id, hold.attempt) in self._ended:
                continue
            self._leaves(hold.job_id)
            self._given[hold.job_id] = Given(
                job_id=hold.job_id,
                attempt=hold.attempt,
                worker=worker,
                partition=None if known is None else known.partition,
                pipeline=hold.pipeline,
                name=hold.name,
                expected=hold.expected,
                run_id=None if known is None else known.run_id,
                started_ms=hold.started_ms,
                tried=0 if known is None else known.tried,
                tries=0 if known is None else known.tries,
                returned=self._returned.get((hold.job_id, hold.attempt), 0),
            )

    def _leaves(self, job_id: JobId) -> None:
        """A job is given to a worker: another one that had it has it no more, whatever was said."""
        before = self._given.get(job_id)
        if before is not None:
            self._move(before.worker)

    def _by_worker(self) -> dict[str, list[Given]]:
        """What each worker that has anything was given."""
        found: dict[str, list[Given]] = {}
        for given in self._given.values():
            found.setdefault(given.worker, []).append(given)
        return found

    def _shown(
        self, names: Collection[str], by_worker: Mapping[str, list[Given]]
    ) -> list[WorkerView]:
        """These workers, connected or gone, in this order."""
        shown: list[WorkerView] = []
        for name in names:
            gone = self._gone.get(name)
            info = gone.info if gone else self._registry.workers[name]
            silent_since_ms = None if gone else self._registry.quiet_since_ms(name)
            shown.append(show_worker(info, by_worker.get(name, []), silent_since_ms, gone))
        return shown

    def _forget_gone(self) -> None:
        oldest_ms = self._now_ms() - limits.GONE_WORKERS_MS
        while self._gone and next(iter(self._gone.values())).at_ms < oldest_ms:
            self._unlist()

    def _unlist(self) -> None:
        name, _ = self._gone.popitem(last=False)
        if self.listening:
            self._unlisted.add(name)

    def _touch(self, worker: str) -> None:
        if self.listening:
            self._dirty.add(worker)

    def _move(self, worker: str) -> None:
        if self.listening:
            self._moved.add(worker)
