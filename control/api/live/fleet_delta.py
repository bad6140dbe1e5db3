"""Decides what is told of everything but runs and jobs: what is other than it was told last."""

from typing import Any, Final

import msgspec
import trio

from control.api.live.projection import Live
from control.api.ports import Parts
from control.model import limits
from control.model.api.balancer import LoadOfPartition
from control.model.api.fleet import PartitionView, RunningView, WorkerView
from control.model.api.live import Counts, Pulse
from control.model.times import to_rfc3339

_EVERY_S: Final = 1.0  # Workers, partitions, and counts are large, and nobody reads faster.
_EVERY_MAX_S: Final = 4.0
_WORKERS_PER_S: Final = 250.0  # Of a large fleet all changes all the time: it is told less often.


class Differences:
    """What those who listen were told last of workers, partitions, counts, and the pulse."""

    def __init__(self, parts: Parts, live: Live) -> None:
        self._parts = parts
        self._live = live
        self._changes_seen = -1
        self._due = self._settled = 0.0
        self._counts: Counts | None = None
        self._partitions: dict[int, tuple[object, ...]] = {}
        self._pulse: Pulse | None = None

    def look(self) -> bool:
        """Note whether anything happened: whether it is time to `take` what has changed."""
        now = trio.current_time()
        if self._live.changes != self._changes_seen:
            # What messages say may be stored a little later than they are read.
            self._changes_seen = self._live.changes
            self._settled = max(now, self._due) + limits.SETTLE_S + _EVERY_S
        return now >= self._due and (now <= self._settled or self._pulse_is_over())

    @property
    def patience_s(self) -> float:
        """For how long nothing can be due, unless something changes."""
        now = trio.current_time()
        return (
            min(max(self._due - now, 0.0), limits.SETTLE_S)
            if now <= self._settled
            else limits.SETTLE_S
        )

    def tell_anew(self) -> None:
        """Somebody was told all as it is now, which may change back before the others hear."""
        self._counts = None
        self._partitions.clear()
        self._live.crew.tell_anew()

    def take(self, open_runs: int, waiting: int) -> dict[str, Any]:
        """What changed, as fields of a frame; from now on it is told."""
        live = self._live
        live.pulses.waiting = waiting
        found: dict[str, Any] = {}
        counts = self.counts(open_runs, waiting)
        if counts != self._counts:
            self._counts = found["counts"] = counts
        workers, gone = live.crew.take_workers()
        pause_s = min(max(_EVERY_S, len(workers) / _WORKERS_PER_S), _EVERY_MAX_S)
        self._due = trio.current_time() + pause_s
        if workers:
            found["workers"] = _written(workers)
        if gone:
            found["workers_gone"] = gone
        partitions = self._changed_partitions()
        if partitions:
            found["partitions"] = _written(partitions)
        pulses = live.pulses.since(self._pulse, counts.running)
        if pulses:
            self._pulse, found["pulses"] = pulses[-1], pulses
        return found

    def counts(self, open_runs: int, waiting: int) -> Counts:
        """How much there is of everything."""
        running, workers, slots = self._live.crew.totals()
        return Counts(
            open_runs=open_runs,
            waiting=waiting,
            running=running,
            workers=workers,
            slots=slots,
            queue_size=self._parts.ledger.queue_size,
        )

    def _changed_partitions(self) -> list[PartitionView]:
        """Those that are other than they were told last; that time goes on does not count."""
        live = self._live
        loads, heads = self._parts.balancing.partitions(), live.crew.heads()
        changed: list[LoadOfPartition] = []
        for load in loads:
            head = heads.get(load.partition)
            seen = (load, _head(head), live.pulses.per_minute(load.partition))
            if self._partitions.get(load.partition) != seen:
                self._partitions[load.partition] = seen
                changed.append(load)
        return live.partitions(changed) if changed else []

    def _pulse_is_over(self) -> bool:
        begin_ms = self._live.pulses.end_ms - limits.PULSE_MS
        return self._pulse is None or self._pulse.at != to_rfc3339(begin_ms)


def _written(views: list[WorkerView] | list[PartitionView]) -> msgspec.Raw:
    """In JSON: several frames hold the same ones."""
    return msgspec.Raw(msgspec.json.encode(views))


def _head(running: RunningView | None) -> tuple[object, ...]:
    return () if running is None else (running.job_id, running.attempt, running.started_at)
