"""Owns the dispatcher: placed jobs go to workers, what workers say goes to the bus.

Decisions are in `control.core.dispatcher.leases`; here each batch is decided, published
with its receipts, and only then acknowledged to the workers.
"""

import math
from collections.abc import Sequence

import structlog
import trio

from control.bus.interface import Bus, Subscription
from control.core.dispatcher.effects import StepEffects
from control.core.dispatcher.leases import Leases
from control.core.dispatcher.worker_names import Admissions, Admitted, NamePending, NameRefusal
from control.model import limits
from control.model.bus.messages import Announce, CancelJob, DrainWorker, Loads, Placed, WorkerQuiet
from control.model.bus.records import Record, receipts_of
from control.model.clock import Clock
from control.model.names import Group, Service, Topic
from control.model.states import Speed
from control.model.worker import wire
from control.worker_channel import Arrival, Connected, Disconnected, Peer, Quiet, WorkerFrames

LOG = structlog.get_logger("dispatcher")


class Dispatcher:
    """One dispatcher with its workers."""

    def __init__(
        self,
        name: str,
        bus: Bus,
        classes: Sequence[Speed],
        arrivals: trio.MemoryReceiveChannel[Arrival],
        clock: Clock,
    ) -> None:
        self._name = name
        self._bus = bus
        self._classes = classes
        self._arrivals = arrivals
        self._clock = clock
        self._peers: dict[str, Peer] = {}
        self._quiet: set[str] = set()  # Of these it was told that they say nothing.
        self._applicants: dict[str, Connected] = {}  # They wait for a name that may be in use.
        self._changed = trio.Event()
        self.leases = Leases(name, classes, clock.steady_ms())
        self._admissions = Admissions(self.leases)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. May be called again after `PartitionsLost`: all starts anew."""
        returning = [*self.leases.links]  # They live, whatever others have taken us for.
        for peer in (*self._peers.values(), *(each.peer for each in self._applicants.values())):
            peer.close()
        self._peers.clear()
        self._applicants.clear()
        self._quiet.clear()
        placed = await self._bus.subscribe(Topic.TASK_RUNS_LOAD_BALANCED, Group.DISPATCHER)
        commands = await self._bus.tail(Topic.TASK_COMMANDS)
        news = await self._bus.tail(Topic.TASK_NEWS)
        # After this the bus is reached: what workers claim has its time from then on.
        await self._bus.publish([Record(Topic.TASK_COMMANDS, Announce(by=Service.DISPATCHER))])
        now_ms = self._clock.steady_ms()
        self.leases = Leases(self._name, self._classes, now_ms, placed.partitions, returning)
        self._admissions = Admissions(self.leases)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._place, placed)
            nursery.start_soon(self._listen)
            nursery.start_soon(self._obey, commands)
            nursery.start_soon(self._heed, news)
            nursery.start_soon(self._expire)
            out = StepEffects()
            self.leases.announce(out)
            await self._carry_out(out)
            task_status.started()

    async def _place(self, subscription: Subscription) -> None:
        while True:
            deliveries = await subscription.receive()
            out, now_ms, partitions = StepEffects(), self._now_ms(), subscription.partitions
            if partitions is not None and partitions != self.leases.partitions:
                self.leases.repartition(partitions, out, now_ms)
                LOG.info("dispatcher.partitions", partitions=sorted(partitions))
            for delivery in deliveries:
                if isinstance(delivery.message, Placed):
                    self.leases.place(delivery.message, delivery.place, out, now_ms)
                else:
                    out.receipts.append(delivery.place)  # Nothing that we could do.
            if out.recovered:  # The balancer may have asked before it was read back.
                self.leases.announce(out)
            await self._carry_out(out)

    async def _listen(self) -> None:
        async for first in self._arrivals:
            out, now_ms = StepEffects(), self._now_ms()
            self._hear(first, out, now_ms)
            while True:  # Everything that has arrived shares one commit.
                try:
                    self._hear(self._arrivals.receive_nowait(), out, now_ms)
                except (trio.WouldBlock, trio.EndOfChannel):
                    break
            await self._carry_out(out)

    async def _obey(self, commands: Subscription) -> None:
        while True:
            deliveries = await commands.receive()
            out = StepEffects()
            for delivery in deliveries:
                match delivery.message:
                    case CancelJob() as message:
                        self.leases.cancel(message, out)
                    case DrainWorker(worker=worker):
                        self.leases.drain(worker, out)
                    case Announce():
                        self.leases.announce(out)
                    case _:
                        pass  # For others.
            await self._carry_out(out)

    async def _heed(self, news: Subscription) -> None:
        while True:
            deliveries = await news.receive()
            out, now_ms = StepEffects(), self._now_ms()
            for delivery in deliveries:
                if isinstance(delivery.message, Loads):
                    self._classify(delivery.message, out)
                self.leases.heard(delivery.message, out, now_ms)
                self._admissions.apply_announcement(delivery.message)
            for worker in self._peers.keys() - self.leases.links.keys():
                self._peers.pop(worker).close()  # It is connected elsewhere.
                self._quiet.discard(worker)
            self._decide(out, now_ms)
            await self._carry_out(out)

    def _classify(self, told: Loads, out: StepEffects) -> None:
        classes = {load.partition: load.speed for load in told.loads}
        everywhere = range(len(self._classes))
        if classes.keys() == set(everywhere):  # Else it was set up otherwise than we are.
            self._classes = [classes[at] for at in everywhere]
            self.leases.classify(self._classes, out)

    async def _expire(self) -> None:
        while True:
            self._changed = trio.Event()
            times = (self.leases.next_ms(), self._admissions.next_ms())
            next_ms = min((at_ms for at_ms in times if at_ms is not None), default=None)
            wait_s = math.inf if next_ms is None else max(next_ms - self._now_ms(), 0) / 1000
            with trio.move_on_after(wait_s):
                await self._changed.wait()
                continue
            out, now_ms = StepEffects(), self._now_ms()
            self.leases.expire(out, now_ms)
            self._decide(out, now_ms)
            await self._carry_out(out)

    def _now_ms(self) -> int:
        """The steady clock; what is said of times is the wall clock's."""
        self.leases.ahead_ms = self._clock.ahead_ms()
        return self._clock.steady_ms()

    def _hear(self, arrival: Arrival, out: StepEffects, now_ms: int) -> None:
        peer = arrival.peer
        match arrival:
            case Connected():
                self._apply(arrival, out, now_ms)
            case Disconnected(reason=reason):
                if self._peers.get(peer.worker) is peer:
                    del self._peers[peer.worker]
                    self._quiet.discard(peer.worker)
                    self.leases.disconnected(peer.worker, reason, out, now_ms)
                    LOG.info("worker.disconnected", worker=peer.worker, reason=reason)
                    self._decide(out, now_ms)
                elif (waited := self._applicants.get(peer.worker)) and waited.peer is peer:
                    del self._applicants[peer.worker]
                    self._admissions.withdraw(peer.worker)
            case WorkerFrames(frames=frames):
                if self._peers.get(peer.worker) is peer:
                    self._speaks(peer.worker, out)
                    if (refusal := self._admissions.message_received(peer.worker)) is not None:
                        self._refuse(self._applicants.pop(peer.worker), refusal.reason)
                    self._frames(peer, frames, out, now_ms)
            case Quiet():
                if self._peers.get(peer.worker) is peer:
                    self._quiet.add(peer.worker)
                    self._tell(
                        peer.worker, self._clock.wall_ms() - round(limits.QUIET_S * 1000), out
                    )
                    waited = self._applicants.get(peer.worker)
                    if waited is not None:  # The first one is dead: it has proved silent.
                        self._apply(waited, out, now_ms)

    def _apply(self, arrival: Connected, out: StepEffects, now_ms: int) -> None:
        """Admit, refuse, or park a connecting worker."""
        worker, hello = arrival.hello.worker, arrival.hello
        verdict = self._admissions.apply(
            worker, arrival.client, hello.instance, now_ms=now_ms, quiet=worker in self._quiet
        )
        match verdict:
            case Admitted():
                self._admit(arrival, out, now_ms)
            case NameRefusal(reason=reason):
                self._refuse(arrival, reason)
            case NamePending(ask=ask):
                former = self._applicants.get(worker)
                if former is not None and former is not arrival:  # The same, connected again.
                    former.peer.close()
                self._applicants[worker] = arrival
                if ask:
                    record = Record(Topic.TASK_COMMANDS, Announce(by=Service.DISPATCHER))
                    out.records.append(record)

    def _decide(self, out: StepEffects, now_ms: int) -> None:
        """Let in, or refuse, those whose name has become free, or proved to be taken."""
        for worker, verdict in self._admissions.due(now_ms):
            arrival = self._applicants[worker]
            if isinstance(verdict, NameRefusal):
                del self._applicants[worker]
                self._refuse(arrival, verdict.reason)
            else:
                self._admit(arrival, out, now_ms)

    def _admit(self, arrival: Connected, out: StepEffects, now_ms: int) -> None:
        peer, hello = arrival.peer, arrival.hello
        former, waited = self._peers.get(peer.worker), self._applicants.pop(peer.worker, None)
        if former is not None:  # It came back before its old socket was seen to close.
            former.close()
        if waited is not None and waited is not arrival:
            waited.peer.close()
        self._peers[peer.worker] = peer
        self.leases.connected(hello, out, now_ms, arrival.client)
        self._speaks(peer.worker, out)
        LOG.info("worker.connected", worker=peer.worker, slots=hello.slots)

    def _refuse(self, arrival: Connected, reason: str) -> None:
        hello = arrival.hello
        LOG.warning(
            "worker.refused",
            worker=hello.worker,
            client=arrival.client,
            host=hello.host,
            reason=reason,
        )
        arrival.peer.send([wire.Refused(reason=reason)])
        arrival.peer.close()

    def _speaks(self, worker: str, out: StepEffects) -> None:
        if worker in self._quiet:
            self._quiet.remove(worker)
            self._tell(worker, None, out)

    def _tell(self, worker: str, quiet_since_ms: int | None, out: StepEffects) -> None:
        news = WorkerQuiet(worker=worker, dispatcher=self._name, since_ms=quiet_since_ms)
        out.news(news)

    def _frames(
        self, peer: Peer, frames: Sequence[wire.FromWorker], out: StepEffects, now_ms: int
    ) -> None:
        leases, worker = self.leases, peer.worker
        for frame in frames:
            match frame:
                case wire.Ended():
                    leases.ended(worker, frame, out, now_ms)
                case wire.Began():
                    leases.began(worker, frame, out, now_ms)
                case wire.Log():
                    leases.logged(worker, frame, out)
                case wire.Progress():
                    leases.progressed(worker, frame, out)
                case wire.HandedBack():
                    leases.handed_back(worker, frame.leases, out)
                case wire.Leaving():
                    leases.leaving(worker, out)
                case wire.Sick(reason=reason):
                    LOG.warning("worker.sick", worker=worker, reason=reason or "well again")
                    leases.sick(worker, reason, out)
                case wire.Hello():
                    LOG.warning("worker.dropped", worker=worker, reason="a second hello")
                    peer.close()
                case wire.Beat(now_ms=sent_ms):
                    leases.beat(worker, sent_ms, now_ms)

    async def _carry_out(self, out: StepEffects) -> None:
        """Publish, then tell the workers. Assignments need not wait for what is published here."""
        for worker, frames in out.frames.items():
            peer = self._peers.get(worker)
            if peer is not None:
                peer.send(frames)
        acked = receipts_of(Group.DISPATCHER, Topic.TASK_RUNS_LOAD_BALANCED, out.receipts)
        if acked or out.records:
            await self._bus.forward(acked, out.records)
        for worker, leases in out.acks.items():
            peer = self._peers.get(worker)
            if peer is not None:
                peer.send([wire.Ack(leases=tuple(leases))])
        self._changed.set()
