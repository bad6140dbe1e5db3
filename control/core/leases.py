"""Decides what a dispatcher does: who holds which attempt, what counts, what comes back.

A lease is (job, attempt, epoch); the epoch is made of the partition and the offset of the job's
`Placed`, so it is never used twice, also after a restart. The receipt of that offset is published
together with the attempt's one result (or with the job going back to the balancer): that is what
makes every attempt count once. No I/O: `Outbox` collects what the shell must send and publish.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from control.core.results import assign_frame, clock_skew_ms, hold_of, instant_ms, result_records
from control.core.speed import slot_partitions
from control.model import limits, wire
from control.model.messages import (
    CancelJob,
    DispatcherUp,
    JobReady,
    LogChunk,
    Message,
    Overran,
    Placed,
    Progressed,
    Started,
    WorkerDown,
    WorkerUp,
)
from control.model.names import Topic
from control.model.records import Record
from control.model.states import Outcome, Speed
from control.model.wire import Lease


class Held(msgspec.Struct):
    """One lease: a placed job that has not ended."""

    placed: Placed
    offset: int
    lease: Lease
    since_ms: int
    worker: str | None  # None: adrift, until its worker claims it or the grace ends.
    started_ms: int | None = None
    overrun: bool = False
    stop: str | None = None  # Why it was cancelled: said again to a worker that comes back.


class Link(msgspec.Struct):
    """A connected worker."""

    info: WorkerUp
    skew_ms: int  # What to add to its clock.
    holds: dict[Lease, Held]


class Outbox:
    """What the shell must do after a step: publish (with receipts), then send."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.receipts: defaultdict[int, list[int]] = defaultdict(list)
        self.frames: defaultdict[str, list[wire.ToWorker]] = defaultdict(list)
        self.recovered = False  # A lease of before the start was found again.
        self.acks: defaultdict[str, list[Lease]] = defaultdict(list)  # After the commit.

    def event(self, message: Message, key: int | None = None) -> None:
        """Publish on the topic of events."""
        self.records.append(Record(Topic.TASK_RUN_EVENTS, message, key))


class Leases:
    """One dispatcher's leases and workers."""

    def __init__(self, name: str, classes: Sequence[Speed], now_ms: int) -> None:
        self.name = name
        self._classes = classes
        self.links: dict[str, Link] = {}
        self._held: dict[Lease, Held] = {}
        self._by_job: dict[int, Held] = {}
        self._adrift: dict[Lease, int] = {}  # When the grace of each ends.
        # After a start, workers may know leases whose records have not been read back yet.
        self._restart_ends_ms = now_ms + round(limits.RESTART_GRACE_S * 1000)
        self._claims: dict[Lease, str] = {}
        self._early: dict[Lease, tuple[str, wire.Ended]] = {}
        self._cancels: dict[tuple[int, int], str] = {}  # By job and attempt.
        self._looked_ms = now_ms
        self.refused = 0  # Late or second results.

    # From the bus.

    def place(self, placed: Placed, offset: int, out: Outbox, now_ms: int) -> None:
        """The balancer placed a job here."""
        job = placed.job
        epoch = offset * limits.PARTITIONS_MAX + placed.partition
        lease = Lease(job.job_id, job.attempt, epoch)
        held = Held(placed=placed, offset=offset, lease=lease, since_ms=now_ms, worker=None)
        held.stop = self._cancels.pop((job.job_id, job.attempt), None)
        self._held[lease] = self._by_job[job.job_id] = held
        claimed = self._claims.pop(lease, None)
        early = self._early.pop(lease, None)
        if early is not None:
            held.worker = early[0]
            self.ended(early[0], early[1], out, now_ms)
        elif claimed is not None and claimed in self.links:
            self._give(held, claimed, out)
            held.started_ms = now_ms
            out.recovered = True
        elif placed.worker in self.links:
            out.frames[placed.worker].append(assign_frame(held.placed.job, held.lease))
            self._give(held, placed.worker, out)
        elif now_ms < self._restart_ends_ms:
            held.started_ms = now_ms  # Perhaps: nobody who is here knows.
            self._adrift[lease] = self._restart_ends_ms
            out.recovered = True
        else:
            self._hand_back(held, out)

    def cancel(self, message: CancelJob, out: Outbox, now_ms: int) -> None:
        """Stop a job if it is here, or as soon as it is."""
        held = self._by_job.get(message.job_id)
        if held is None:
            if now_ms < self._restart_ends_ms:  # Later, a job that begins all the same is told.
                self._cancels[message.job_id, message.attempt] = message.reason
        elif held.lease.attempt == message.attempt:
            held.stop = message.reason
            self._stop(held, out)

    def drain(self, worker: str, out: Outbox) -> None:
        """Give a worker nothing new."""
        link = self.links.get(worker)
        if link is not None:
            self._drained(link, out)
            out.frames[worker].append(wire.Drain())

    def announce(self, out: Outbox) -> None:
        """Tell the balancer everything."""
        message = DispatcherUp(
            dispatcher=self.name,
            partitions=tuple(range(len(self._classes))),
            workers=tuple(self._info(link) for link in self.links.values()),
            adrift=tuple(
                hold_of(held.placed, held.started_ms)
                for held in map(self._held.__getitem__, self._adrift)
            ),
        )
        out.event(message)

    # From workers.

    def connected(self, hello: wire.Hello, out: Outbox, now_ms: int) -> None:
        """A worker came, or came back."""
        name = hello.worker
        drop = []
        kept: dict[Lease, Held] = {}
        for lease in hello.holding:
            held = self._held.get(lease)
            if held is not None and held.worker in {None, name}:
                kept[lease] = held
            elif held is None and now_ms < self._restart_ends_ms:
                self._claims[lease] = name
            else:
                drop.append(lease)
        previous = self.links.pop(name, None)
        if previous is not None:
            for lease, held in previous.holds.items():
                if lease not in kept:
                    self._set_adrift(held, now_ms)  # It has forgotten it.
        partitions = slot_partitions(self._slots_used(), hello.slots, self._classes)
        info = WorkerUp(
            worker=name,
            dispatcher=self.name,
            host=hello.host,
            slots=hello.slots,
            labels=hello.labels,
            kinds=tuple(sorted(hello.kinds.items())),
            partitions=tuple(partitions),
            draining=hello.draining,
            connected_ms=now_ms,
        )
        link = Link(info=info, skew_ms=clock_skew_ms(now_ms - hello.now_ms), holds={})
        self.links[name] = link
        out.frames[name].append(
            wire.Welcome(version=wire.VERSION, dispatcher=self.name, drop=tuple(drop))
        )
        for held in kept.values():
            self._adrift.pop(held.lease, None)
            self._give(held, name, out)
        # What it was sent but never got, it will not run: back to the balancer at once.
        for lease in [le for le in self._adrift if self._held[le].placed.worker == name]:
            self._adrift[lease] = now_ms
        out.event(self._info(link))

    def disconnected(self, worker: str, reason: str, out: Outbox, now_ms: int) -> None:
        """A worker's socket closed, or it fell silent."""
        link = self.links.pop(worker, None)
        if link is None:
            return
        for held in link.holds.values():
            self._set_adrift(held, now_ms)
        out.event(WorkerDown(worker=worker, dispatcher=self.name, reason=reason))

    def began(self, worker: str, frame: wire.Began, out: Outbox, now_ms: int) -> None:
        """An attempt began."""
        held = self._held.get(frame.lease)
        if held is None or held.worker != worker:
            if frame.lease not in self._claims:
                reason = "its lease has ended"
                out.frames[worker].append(wire.Cancel(lease=frame.lease, reason=reason))
            return
        job = held.placed.job
        skew_ms = self.links[worker].skew_ms
        held.started_ms = instant_ms(frame.started_ms + skew_ms, job.ready_ms, now_ms)
        message = Started(
            run_id=job.run_id,
            job_id=job.job_id,
            attempt=job.attempt,
            worker=worker,
            partition=held.placed.partition,
            started_ms=held.started_ms,
        )
        out.event(message, job.run_id)

    def progressed(self, worker: str, frame: wire.Progress, out: Outbox) -> None:
        """An attempt told how far it is."""
        held = self._held.get(frame.lease)
        if held is not None and held.worker == worker:
            job = held.placed.job
            message = Progressed(
                run_id=job.run_id,
                job_id=job.job_id,
                attempt=job.attempt,
                progress=frame.progress,
            )
            out.event(message, job.run_id)

    def logged(self, worker: str, frame: wire.Log, out: Outbox) -> None:
        """An attempt wrote to its log."""
        held = self._held.get(frame.lease)
        if held is not None and held.worker == worker:
            chunk = LogChunk(
                job_id=frame.lease.job_id,
                attempt=frame.lease.attempt,
                offset=frame.offset,
                text=frame.text,
            )
            out.records.append(Record(Topic.TASK_RUN_LOGS, chunk, held.placed.job.run_id))

    def ended(self, worker: str, frame: wire.Ended, out: Outbox, now_ms: int) -> None:
        """An attempt ended. Only the lease's holder is believed, and only once."""
        held = self._held.get(frame.lease)
        if held is None and self._claims.pop(frame.lease, None) is not None:
            self._early[frame.lease] = (worker, frame)  # Its record is still to be read back.
            return
        if frame.lease in self._early:
            return  # Told again after another reconnect; acknowledged when it counts.
        out.acks[worker].append(frame.lease)
        if held is None or held.worker != worker:
            self.refused += 1
            return
        link = self.links.get(worker)
        self._finish(held, frame, link.skew_ms if link else 0, out, now_ms)

    def handed_back(self, worker: str, leases: Iterable[Lease], out: Outbox) -> None:
        """A worker gave back what it had not begun."""
        for lease in leases:
            held = self._held.get(lease)
            if held is not None and held.worker == worker:
                self._hand_back(held, out)

    def leaving(self, worker: str, out: Outbox) -> None:
        """A worker drains."""
        link = self.links.get(worker)
        if link is not None:
            self._drained(link, out)

    # Time.

    def expire(self, out: Outbox, now_ms: int) -> None:
        """End the grace of leases whose worker did not come back; call back what waits."""
        for lease in [lease for lease, at_ms in self._adrift.items() if at_ms <= now_ms]:
            held = self._held[lease]
            if held.started_ms is None:
                self._hand_back(held, out)
            else:
                self._lose(held, out, now_ms)
        if self._claims and now_ms >= self._restart_ends_ms:
            for lease, worker in self._claims.items():
                if worker in self.links:
                    reason = "its lease ended while the control plane was down"
                    out.frames[worker].append(wire.Cancel(lease=lease, reason=reason))
            self._claims.clear()
        if self._early and now_ms >= self._restart_ends_ms:
            for lease, (worker, _) in self._early.items():  # They had counted before the restart.
                out.acks[worker].append(lease)
                self.refused += 1
            self._early.clear()
        if now_ms >= self._restart_ends_ms:
            self._cancels.clear()
        self._looked_ms = now_ms
        late_ms = now_ms - round(limits.OVERRUN_S * 1000)
        for name, link in self.links.items():
            self._call_back(name, link, late_ms, out)

    def next_ms(self) -> int | None:
        """When to call `expire` next; None: not before something happens."""
        due = list(self._adrift.values())
        if self._claims or self._early or self._cancels:
            due.append(self._restart_ends_ms)
        if any(len(link.holds) > link.info.slots for link in self.links.values()):
            due.append(self._looked_ms + round(limits.OVERRUN_S * 1000))
        return min(due, default=None)

    def _call_back(self, name: str, link: Link, late_ms: int, out: Outbox) -> None:
        if len(link.holds) <= link.info.slots:
            return
        late = [
            held
            for held in link.holds.values()
            if held.started_ms is None and held.since_ms <= late_ms and not held.overrun
        ]
        if not late:
            return
        for held in late:
            held.overrun = True
        out.frames[name].append(wire.TakeBack(leases=tuple(held.lease for held in late)))
        running = [held for held in link.holds.values() if held.started_ms is not None]
        job_ids = tuple(held.lease.job_id for held in running)
        out.event(Overran(worker=name, job_ids=job_ids))

    def _give(self, held: Held, worker: str, out: Outbox) -> None:
        held.worker = worker
        self.links[worker].holds[held.lease] = held
        self._stop(held, out)

    def _stop(self, held: Held, out: Outbox) -> None:
        if held.stop is not None and held.worker is not None:
            out.frames[held.worker].append(wire.Cancel(lease=held.lease, reason=held.stop))

    def _set_adrift(self, held: Held, now_ms: int) -> None:
        held.worker = None
        self._adrift[held.lease] = now_ms + round(limits.RECONNECT_GRACE_S * 1000)

    def _forget(self, held: Held, out: Outbox) -> JobReady:
        lease = held.lease
        del self._held[lease]
        self._adrift.pop(lease, None)
        if self._by_job.get(lease.job_id) is held:
            del self._by_job[lease.job_id]
        if held.worker is not None and held.worker in self.links:
            self.links[held.worker].holds.pop(lease, None)
        out.receipts[held.placed.partition].append(held.offset)
        return held.placed.job

    def _hand_back(self, held: Held, out: Outbox) -> None:
        job = self._forget(held, out)
        out.records.append(Record(Topic.TASK_RUNS, job, job.run_id))

    def _lose(self, held: Held, out: Outbox, now_ms: int) -> None:
        frame = wire.Ended(
            lease=held.lease,
            outcome=Outcome.LOST,
            started_ms=held.started_ms,
            finished_ms=now_ms,
            duration=0.0,
            error=f"its worker {held.placed.worker} was lost",
        )
        self._finish(held, frame, 0, out, now_ms)

    def _finish(
        self, held: Held, frame: wire.Ended, skew_ms: int, out: Outbox, now_ms: int
    ) -> None:
        self._forget(held, out)
        started_ms = held.started_ms
        if frame.started_ms is not None:
            ready_ms = held.placed.job.ready_ms
            started_ms = instant_ms(frame.started_ms + skew_ms, ready_ms, now_ms)
        worker = held.worker or held.placed.worker
        out.records += result_records(
            held.placed, frame, worker=worker, started_ms=started_ms, now_ms=now_ms
        )

    def _drained(self, link: Link, out: Outbox) -> None:
        if not link.info.draining:
            link.info = msgspec.structs.replace(link.info, draining=True)
            out.event(self._info(link))

    def _slots_used(self) -> list[int]:
        used = [0] * len(self._classes)
        for link in self.links.values():
            for partition in link.info.partitions:
                used[partition] += 1
        return used

    def _info(self, link: Link) -> WorkerUp:
        holds = tuple(hold_of(held.placed, held.started_ms) for held in link.holds.values())
        return msgspec.structs.replace(link.info, holds=holds)
