"""Owns the simulated workers: the real protocol, invented jobs, and a network that breaks."""

import random
from collections.abc import Callable
from typing import Final

import msgspec
import trio

from control.bus.peers import Connected, Disconnected, Peer, Said
from control.model import limits, wire
from control.model.states import Outcome
from control.model.wire import Assign, Ended, Lease
from tests.services.plane import Plane, now_ms
from workers.doorbell import Doorbell
from workers.logs import LogBuffer
from workers.protocol import Assigned, Identity, Stop, WorkerProtocol

KINDS: Final = {"Sleep": ("1.0.0",)}
Say = Callable[[str], None]


class Network:
    """Which plane can be reached now."""

    def __init__(self) -> None:
        self.plane: Plane | None = None
        self.arrived = trio.Event()

    def up(self, plane: Plane) -> None:
        """A plane accepts connections."""
        self.plane = plane
        self.arrived.set()

    def down(self) -> None:
        """There is none."""
        self.plane = None
        self.arrived = trio.Event()

    async def reach(self) -> Plane:
        """Wait for one."""
        while self.plane is None:
            await self.arrived.wait()
        return self.plane


class SimWorker:
    """One worker's process over all its lives. What is in `disk` outlives a crash."""

    def __init__(self, name: str, slots: int, network: Network, rng: random.Random) -> None:
        self.name = name
        self.slots = slots
        self.disk: dict[Lease, bytes] = {}
        self.produced: dict[tuple[int, int], set[bytes]] = {}
        self._network = network
        self._rng = rng
        self._life = trio.CancelScope()
        self._link = trio.CancelScope()
        self._frozen_until = 0.0
        self._begin()

    def _begin(self) -> None:
        identity = Identity(
            worker=self.name,
            host="sim",
            slots=self.slots,
            labels=(),
            kinds=KINDS,
            instance=self._rng.randbytes(8).hex(),  # Of this life.
        )
        self.protocol = WorkerProtocol(identity, LogBuffer(Doorbell()), self.disk)
        self._running: dict[Lease, trio.CancelScope] = {}
        self._bell = trio.Event()

    # Faults.

    def crash(self, *, with_disk: bool) -> None:
        """The process dies; sometimes its disk is gone as well."""
        if not with_disk:
            self.disk.clear()
        self._life.cancel()

    def drop(self) -> None:
        """The connection breaks; the process goes on."""
        self._link.cancel()

    def freeze(self, seconds: float) -> None:
        """Say nothing and hear nothing for so long; jobs go on."""
        self._frozen_until = trio.current_time() + seconds

    def drain(self) -> None:
        """Take nothing new, end when all is said; then another process takes its place."""
        self.protocol.drain()
        self._bell.set()

    # Its life.

    async def run(self) -> None:
        """Live, crash, and live again."""
        while True:
            with trio.CancelScope() as self._life:
                async with trio.open_nursery() as jobs:
                    while True:
                        await self._connect(jobs)
                        await trio.sleep(self._rng.uniform(0.05, 0.8))
            self._begin()
            await trio.sleep(self._rng.uniform(0.1, 3.0))

    async def _connect(self, jobs: trio.Nursery) -> None:
        plane = await self._network.reach()
        peer = Peer(self.name)
        (hello,) = wire.FROM_WORKER.decode(self.protocol.hello(now_ms()))
        assert isinstance(hello, wire.Hello)
        greeted = False
        try:
            with trio.CancelScope() as self._link:
                async with trio.open_nursery() as session:
                    session.start_soon(self._until_gone, plane, session.cancel_scope)
                    await plane.arrivals.send(Connected(peer, hello, self.name))
                    greeted = True
                    session.start_soon(self._hear, peer, jobs, session.cancel_scope)
                    session.start_soon(self._speak, plane, peer)
                    session.start_soon(self._notice_silence, session.cancel_scope)
        finally:
            self.protocol.disconnected()
            if greeted and not plane.died.is_set():
                with trio.CancelScope(shield=True):
                    await self._report(plane, peer)

    async def _report(self, plane: Plane, peer: Peer) -> None:
        """The gateway sees the socket close."""
        with trio.move_on_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._until_gone, plane, nursery.cancel_scope)
                await trio.sleep(self._rng.choice((0.0, 0.0, 0.2, 1.0)))
                await plane.arrivals.send(Disconnected(peer, "the connection was closed"))
                nursery.cancel_scope.cancel()

    async def _until_gone(self, plane: Plane, scope: trio.CancelScope) -> None:
        await plane.died.wait()
        scope.cancel()

    async def _notice_silence(self, scope: trio.CancelScope) -> None:
        while True:
            await trio.sleep(limits.HEARTBEAT_S)
            if self._frozen_until - trio.current_time() > limits.SILENCE_S:
                await trio.sleep(limits.SILENCE_S)
                scope.cancel()

    async def _thaw(self) -> None:
        await trio.sleep_until(self._frozen_until)
        await trio.sleep(self._rng.choice((0.0, 0.001, 0.001, 0.02)))

    async def _speak(self, plane: Plane, peer: Peer) -> None:
        while True:
            self._bell = trio.Event()
            self.disk.update(self.protocol.unkept())
            await self._thaw()
            message = self.protocol.take()
            if message is None:
                if self.protocol.draining and self.protocol.finished:
                    self._life.cancel()
                await self._bell.wait()
                continue
            await plane.arrivals.send(Said(peer, wire.FROM_WORKER.decode(message)))

    async def _hear(self, peer: Peer, jobs: trio.Nursery, scope: trio.CancelScope) -> None:
        while frames := await peer.take():
            await self._thaw()
            for event in self.protocol.receive(wire.ENCODER.encode(frames), now_ms()):
                if isinstance(event, Stop) and event.lease in self._running:
                    self._running[event.lease].cancel()
                elif isinstance(event, Assigned):
                    self._fill(jobs)
            for frame in frames:
                if isinstance(frame, wire.Ack):
                    for lease in frame.leases:
                        self.disk.pop(lease, None)
                elif isinstance(frame, wire.Welcome):
                    for lease in frame.drop:
                        self.disk.pop(lease, None)
            self._bell.set()
        scope.cancel()

    def _fill(self, jobs: trio.Nursery) -> None:
        while len(self._running) < self.slots:
            assign = self.protocol.begin(now_ms())
            if assign is None:
                return
            self._running[assign.lease] = trio.CancelScope()
            jobs.start_soon(self._execute, assign, jobs)

    async def _execute(self, assign: Assign, jobs: trio.Nursery) -> None:
        rng, lease, began = self._rng, assign.lease, trio.current_time()
        started_ms = now_ms()
        seconds = rng.choice((0.0, 0.002, 0.01, 0.05, 0.3, 1.5, 5.0))
        if assign.timeout is not None:
            seconds = min(seconds, assign.timeout)
        self._bell.set()
        with self._running[lease] as stopped:
            await trio.sleep(seconds)
        outcome, output = Outcome.DONE, b"null"
        if stopped.cancelled_caught:
            outcome = Outcome.CANCELLED
        elif seconds == assign.timeout:
            outcome = Outcome.TIMED_OUT
        elif rng.random() < 0.15:
            outcome = Outcome.FAILED
        else:
            output = msgspec.json.encode([lease.job_id, lease.attempt, rng.randrange(10**6)])
            self.produced.setdefault((lease.job_id, lease.attempt), set()).add(output)
        del self._running[lease]
        self.protocol.end(
            Ended(
                lease=lease,
                outcome=outcome,
                started_ms=started_ms,
                finished_ms=now_ms(),
                duration=trio.current_time() - began,
                error=None if outcome == Outcome.DONE else str(outcome),
                output=msgspec.Raw(output),
            )
        )
        self._bell.set()
        self._fill(jobs)
