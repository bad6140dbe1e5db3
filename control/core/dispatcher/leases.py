"""Decides what a dispatcher does: who holds which attempt, what counts, what comes back.

A lease is (job, attempt, epoch); the epoch is the random number in the job's `Placed`, so none is
used twice, also after a restart, and only the worker that was assigned the job can name its lease.
(Dicts look leases up by a hash of all three parts: time tells nothing about a part nearly right.)
The receipt of a placement is published together with the attempt's one result, or with the job
going back to the balancer, or with the same placement on another dispatcher's partition: that
makes every attempt count once, and one dispatcher hold a lease.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from control.core.dispatcher.claims import Claim, Claims, is_foreign
from control.core.dispatcher.effects import StepEffects
from control.core.dispatcher.lease_messages import (
    assign_frame,
    instant_ms,
    log_record,
    lost_frame,
    progressed_message,
    result_records,
    started_message,
    unstarted_message,
    worker_down,
    worker_up,
)
from control.core.dispatcher.lease_table import Held, Holdings, WorkerConnection
from control.core.dispatcher.overruns import call_back
from control.core.dispatcher.peer_dispatchers import PeerDispatchers, gives_way
from control.model import limits
from control.model.bus.messages import CancelJob, JobReady, Message, Placed
from control.model.bus.records import Record
from control.model.names import Topic
from control.model.states import Speed
from control.model.worker import wire
from control.model.worker.wire import Lease

_ENDED: Final = "its lease has ended"


class Leases:
    """One dispatcher's leases, by the steady clock; what it reports is the wall clock's."""

    def __init__(
        self,
        name: str,
        classes: Sequence[Speed],
        now_ms: int,
        partitions: frozenset[int] | None = None,
        returning: Iterable[str] = (),
    ) -> None:
        self.name = name
        self.holdings = Holdings(classes, partitions)
        self.links = self.holdings.links
        self._held = self.holdings.held
        # Until then a partition's records may be of leases whose workers are still to come.
        self._restart_ends_ms = now_ms + _ms(limits.RESTART_GRACE_S)
        self._settled_ms: dict[int, int] = {}  # Of partitions that came later.
        # Of workers that were connected until we were taken for dead: as long as of silent ones.
        self._returning = dict.fromkeys(returning, now_ms + _ms(limits.SILENCE_S))
        self._claims = Claims()
        self.peers = PeerDispatchers(name, len(classes))
        self._looked_ms = now_ms
        self.refused = 0  # Late or second results.
        self.ahead_ms = 0  # The wall clock, of the steady one; the dispatcher writes it.

    @property
    def partitions(self) -> frozenset[int] | None:
        """The partitions that are ours now; None: all, for good."""
        return self.holdings.partitions

    # From the bus.

    def place(self, placed: Placed, place: int, out: StepEffects, now_ms: int) -> None:
        """The balancer placed a job here, or another dispatcher sent its lease on."""
        job, partition = placed.job, place % limits.PARTITIONS_MAX
        lease = Lease(job.job_id, job.attempt, placed.epoch_at(place))
        if lease in self._held:
            return  # Said again; it is answered for once.
        if placed.partition != partition:
            placed = msgspec.structs.replace(placed, partition=partition)
        held = Held(placed=placed, place=place, lease=lease, since_ms=now_ms)
        self.holdings.add(held)
        claim = self._claims.take(lease, placed.owner)
        link = self.links.get(placed.worker)
        if claim is not None and claim.result is not None:
            held.worker = claim.worker
            self.ended(claim.worker, claim.result, out, now_ms)
        elif claim is not None and claim.worker in self.links:
            self._recover(held, claim, out, now_ms)
        elif link is not None and not is_foreign(link.info.client, placed.owner):
            names_client = link.info.isolation is not None
            frame = assign_frame(
                job, lease, names_client=names_client, has_subject=link.has_subject
            )
            out.frames[placed.worker].append(frame)
            self._give(held, placed.worker, out)
        elif not self._send_on(held, out):
            settled_ms = self._settled_ms.get(partition, self._restart_ends_ms)
            if claim is not None or placed.epoch is not None:  # Somebody has had it.
                settled_ms = now_ms + _ms(limits.RESTART_GRACE_S)
            grace_ms = max(settled_ms, self._returning.get(placed.worker, 0))
            if now_ms < grace_ms:
                self._perhaps_began(held, now_ms)  # No connected worker has reported it.
                self.holdings.set_adrift(held, grace_ms)
                out.recovered = True
            else:
                self._hand_back(held, out)

    def repartition(self, partitions: frozenset[int], out: StepEffects, now_ms: int) -> None:
        """We have these partitions now; the records of those we lost go to others.

        Whoever gets a lease of a worker that is connected here sends it on to us.
        """
        before = self.partitions or frozenset()
        claim_ends_ms = now_ms + _ms(limits.CLAIM_GRACE_S)
        for held in list(self._held.values()):
            if held.placed.partition not in partitions:
                self.holdings.drop(held)
                if held.worker is not None:
                    client = self.links[held.worker].info.client
                    claim = Claim(held.worker, client, claim_ends_ms, held.started_ms)
                    self._claims.keep(held.lease, claim)
        for partition in partitions - before:
            self._settled_ms[partition] = now_ms + _ms(limits.RESTART_GRACE_S)
        self.peers.taken(partitions)
        self.holdings.partitions = partitions
        self.holdings.redivide()
        self.announce(out)

    def heard(self, message: Message, out: StepEffects, now_ms: int) -> None:
        """Somebody told of their workers: leases that wait for one of them follow it."""
        for info in self.peers.apply(message):
            link = self.links.get(info.worker)
            if link is not None and gives_way(link.info, info):
                reason = f"it has connected to {info.dispatcher}"
                self.disconnected(info.worker, reason, out, now_ms)
        for lease in list(self.holdings.adrift):
            self._send_on(self._held[lease], out)

    def classify(self, classes: Sequence[Speed], out: StepEffects) -> None:
        """The balancer has these classes now: each shall have its part of the slots again."""
        if list(classes) != list(self.holdings.classes):
            self.holdings.classes = classes
            self.holdings.redivide()
            self.announce(out)

    def cancel(self, message: CancelJob, out: StepEffects) -> None:
        """Stop a job if it is here; one that begins later, or is found again, is told of then."""
        held = self.holdings.of_attempt(message.job_id, message.attempt)
        if held is not None:
            held.stop = message.reason
            self._stop(held, out)

    def drain(self, worker: str, out: StepEffects) -> None:
        """Give a worker nothing new."""
        if worker in self.links:
            self._drained(self.links[worker], out)
            out.frames[worker].append(wire.Drain())

    def announce(self, out: StepEffects) -> None:
        """Tell everything: to the balancer, and to the other dispatchers."""
        out.news(self.holdings.up(self.name))

    # From workers.

    def connected(self, hello: wire.Hello, out: StepEffects, now_ms: int, client: str = "") -> None:
        """A worker came, or came back. `client`: whose it is; `Admissions` gave it its name."""
        name = hello.worker
        drop, claimed = [], []
        kept: dict[Lease, Held] = {}
        claim_ends_ms = self._restart_ends_ms
        if self.partitions is not None:  # Others may have had it; their records come in time.
            claim_ends_ms = now_ms + _ms(limits.CLAIM_GRACE_S)
        for lease in hello.holding:
            held = self._held.get(lease)
            if held is not None and held.worker in {None, name} and held.is_for(client):
                kept[lease] = held
            elif held is None and now_ms < claim_ends_ms:
                claimed.append(lease)
            else:
                drop.append(lease)
        self._claims.replace(name, client, claimed, claim_ends_ms)
        self.peers.is_here(name)
        previous = self.links.pop(name, None)
        if previous is not None:
            for lease, held in previous.holds.items():
                if lease not in kept:
                    self._set_adrift(held, now_ms)  # It has forgotten it.
        partitions = self.holdings.divide(hello.slots)
        info = worker_up(hello, self.name, client, partitions, self._wall(now_ms))
        link = WorkerConnection(info=info, has_subject=hello.subject)
        link.hear_clock(now_ms - hello.now_ms)
        self.links[name] = link
        # What this batch had for its former connection would come before the welcome.
        welcome = wire.Welcome(version=wire.VERSION, dispatcher=self.name, drop=tuple(drop))
        out.frames[name] = [welcome]
        for held in kept.values():
            self._give(held, name, out)
        # What it was sent but never got, it will not run: back to the balancer at once.
        for held in map(self._held.__getitem__, self.holdings.adrift):
            if held.placed.worker == name and held.is_for(client):
                self.holdings.set_adrift(held, now_ms)
        out.news(link.up())

    def disconnected(self, worker: str, reason: str, out: StepEffects, now_ms: int) -> None:
        """A worker's socket closed, or it fell silent."""
        link = self.links.pop(worker, None)
        if link is None:
            return
        down = worker_down(link.info, reason, idle=not link.holds)
        for held in link.holds.values():
            self._set_adrift(held, now_ms)
            self._send_on(held, out)
        out.news(down)

    def began(self, worker: str, frame: wire.Began, out: StepEffects, now_ms: int) -> None:
        """An attempt began."""
        started_ms = self._wall(frame.started_ms + self.links[worker].skew_ms)
        held = self._held.get(frame.lease)
        if held is not None and held.worker == worker:
            self._begin(held, started_ms, out, now_ms)
        elif not self._claims.began(worker, frame.lease, started_ms):
            out.frames[worker].append(wire.Cancel(lease=frame.lease, reason=_ENDED))

    def progressed(self, worker: str, frame: wire.Progress, out: StepEffects) -> None:
        """An attempt told how far it is."""
        held = self._held.get(frame.lease)
        if held is not None and held.worker == worker:
            message = progressed_message(held.placed, frame.progress)
            out.event(message, message.run_id)

    def logged(self, worker: str, frame: wire.Log, out: StepEffects) -> None:
        """An attempt wrote to its log."""
        held = self._held.get(frame.lease)
        if held is not None and held.worker == worker:
            out.records.append(log_record(held.placed, frame))

    def ended(self, worker: str, frame: wire.Ended, out: StepEffects, now_ms: int) -> None:
        """An attempt ended. Only the lease's holder is believed, and only once."""
        held = self._held.get(frame.lease)
        if held is None and self._claims.ended(worker, frame):
            return  # Its record is still to come; it is acknowledged when it counts.
        out.acks[worker].append(frame.lease)
        if held is None or held.worker != worker:
            self.refused += 1
            return
        link = self.links.get(worker)
        self._finish(held, frame, link.skew_ms if link else 0, out, now_ms)

    def handed_back(self, worker: str, leases: Iterable[Lease], out: StepEffects) -> None:
        """A worker gave back what it had not begun."""
        for lease in leases:
            held = self._held.get(lease)
            if held is not None and held.worker == worker:
                if held.started_ms is not None:
                    info = self.links[worker].info
                    message = unstarted_message(
                        held.placed, worker, info.sick or "it did not begin"
                    )
                    out.event(message, message.run_id)
                self._hand_back(held, out)

    def sick(self, worker: str, reason: str, out: StepEffects) -> None:
        """A worker cannot start attempts, or (no reason) can again."""
        link = self.links.get(worker)
        if link is not None and link.info.sick != reason:
            link.info = msgspec.structs.replace(link.info, sick=reason)
            out.news(link.up())

    def beat(self, worker: str, sent_ms: int, now_ms: int) -> None:
        """A worker lives, and its clock said this when it said so."""
        if worker in self.links:
            self.links[worker].hear_clock(now_ms - sent_ms)

    def leaving(self, worker: str, out: StepEffects) -> None:
        """A worker drains."""
        if worker in self.links:
            self._drained(self.links[worker], out)

    # Time.

    def expire(self, out: StepEffects, now_ms: int) -> None:
        """End the grace of leases whose worker did not come back; call back what waits."""
        adrift = self.holdings.adrift
        for lease in [lease for lease, at_ms in adrift.items() if at_ms <= now_ms]:
            held = self._held[lease]
            if held.started_ms is None:
                self._hand_back(held, out)
            else:
                self._lose(held, out, now_ms)
        for lease, claim in self._claims.due(now_ms):
            if claim.result is not None:  # It had counted before.
                out.acks[claim.worker].append(lease)
                self.refused += 1
            elif claim.worker in self.links:
                out.frames[claim.worker].append(wire.Cancel(lease=lease, reason=_ENDED))
        self._looked_ms = now_ms
        for name, link in self.links.items():
            call_back(name, link, now_ms - _ms(limits.OVERRUN_S), out)

    def next_ms(self) -> int | None:
        """When to call `expire` next; None: not before something happens."""
        due = list(self.holdings.adrift.values())
        claims_ms = self._claims.next_ms()
        if claims_ms is not None:
            due.append(claims_ms)
        if any(len(link.holds) > link.info.slots for link in self.links.values()):
            due.append(self._looked_ms + _ms(limits.OVERRUN_S))
        return min(due, default=None)

    def _give(self, held: Held, worker: str, out: StepEffects) -> None:
        self.holdings.give(held, worker)
        self._stop(held, out)

    def _begin(self, held: Held, stated_ms: int, out: StepEffects, now_ms: int) -> None:
        """Say that it began. Who finds that it should not have, orders its end (again)."""
        job = held.placed.job
        held.started_ms = instant_ms(stated_ms, job.ready_ms, self._wall(now_ms))
        worker = held.worker or held.placed.worker
        out.event(started_message(held.placed, worker, held.started_ms), job.run_id)

    def _perhaps_began(self, held: Held, now_ms: int) -> None:
        wall_ms = self._wall(now_ms)
        held.started_ms = instant_ms(wall_ms, held.placed.job.ready_ms, wall_ms)

    def _recover(self, held: Held, claim: Claim, out: StepEffects, now_ms: int) -> None:
        """Its worker has had it all the time."""
        self._give(held, claim.worker, out)
        out.recovered = True
        if claim.started_ms is None:
            self._perhaps_began(held, now_ms)  # It is reported after each hello.
        else:  # Its cancellation may have passed unheard while nobody held it.
            self._begin(held, claim.started_ms, out, now_ms)

    def _send_on(self, held: Held, out: StepEffects) -> bool:
        """Let the lease follow its worker to another dispatcher."""
        worker, job = held.placed.worker, held.placed.job
        partition = self.peers.partition_for(worker, job.job_id, held.placed.owner)
        if worker in self.links or partition is None:
            return False
        self._forget(held, out)
        epoch = held.lease.epoch
        placed = msgspec.structs.replace(held.placed, partition=partition, epoch=epoch)
        topic = Topic.TASK_RUNS_LOAD_BALANCED
        out.records.append(Record(topic, placed, job.run_id, partition))
        return True

    def _stop(self, held: Held, out: StepEffects) -> None:
        if held.stop is not None and held.worker is not None:
            out.frames[held.worker].append(wire.Cancel(lease=held.lease, reason=held.stop))

    def _set_adrift(self, held: Held, now_ms: int) -> None:
        self.holdings.set_adrift(held, now_ms + _ms(limits.RECONNECT_GRACE_S))

    def _forget(self, held: Held, out: StepEffects) -> JobReady:
        self.holdings.drop(held)
        out.receipts.append(held.place)
        return held.placed.job

    def _hand_back(self, held: Held, out: StepEffects) -> None:
        job = self._forget(held, out)
        job = msgspec.structs.replace(job, returned=job.returned + 1)
        out.records.append(Record(Topic.TASK_RUNS, job, job.run_id))

    def _lose(self, held: Held, out: StepEffects, now_ms: int) -> None:
        self._finish(held, lost_frame(held.placed, held.lease, now_ms), 0, out, now_ms)

    def _finish(
        self, held: Held, frame: wire.Ended, skew_ms: int, out: StepEffects, now_ms: int
    ) -> None:
        self._forget(held, out)
        started_ms, wall_ms = held.started_ms, self._wall(now_ms)
        if frame.started_ms is not None:
            ready_ms = held.placed.job.ready_ms
            started_ms = instant_ms(self._wall(frame.started_ms + skew_ms), ready_ms, wall_ms)
        worker = held.worker or held.placed.worker
        out.records += result_records(
            held.placed,
            frame,
            worker=worker,
            started_ms=started_ms,
            now_ms=wall_ms,
            stopped=held.stop is not None,
        )

    def _wall(self, steady_ms: int) -> int:
        return steady_ms + self.ahead_ms

    def _drained(self, link: WorkerConnection, out: StepEffects) -> None:
        if not link.info.draining:
            link.info = msgspec.structs.replace(link.info, draining=True)
            out.news(link.up())


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
