"""Owns the simulated workers: the real protocol, and invented jobs."""

import random
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import trio

from control.model import limits
from control.model.states import Outcome
from control.model.worker import wire
from control.model.worker.wire import Assign, Ended, Lease
from control.worker_channel import Connected, Peer
from tests.services.plane import now_ms
from tests.sim.links import Link, Network
from tests.sim.processes import GUARD_S, Process, Processes
from workers.logs import LogBuffer
from workers.protocol import WorkerIdentity, WorkerProtocol
from workers.protocol_events import Assigned, Phase, Stop
from workers.wakeup import Doorbell

KINDS: Final = {"Sleep": ("1.0.0",)}
_NOTHING: Final = b"null"
SECONDS: Final = (0.0, 0.002, 0.01, 0.05, 0.3, 1.5, 5.0)


class SimWorker:
    """One worker's process over all its lives. What is in `disk` outlives a crash.

    `seconds`: what its jobs take, one of these each.
    """

    def __init__(
        self,
        name: str,
        network: Network,
        processes: Processes,
        rng: random.Random,
        stepped_ms: Callable[[], int],
        *,
        seconds: Sequence[float] = SECONDS,
    ) -> None:
        """`stepped_ms`: how far the machine's wall clock has been set."""
        self.name = name
        self.slots = rng.randint(1, 4)
        self.disk: dict[Lease, bytes] = {}
        self.marks: dict[str, Lease] = {}  # What each result has of its own, and of which lease.
        self._network = network
        self._processes = processes
        self._rng = rng
        self._stepped_ms = stepped_ms
        self._seconds = seconds
        self._life = trio.CancelScope()
        self._cut = trio.CancelScope()
        self._frozen_until = 0.0
        self._homes = 0  # State directories that are gone.
        self._was_connected = False  # When it died.
        self._begin()

    def _begin(self) -> None:
        identity = WorkerIdentity(
            worker=self.name,
            host="sim",
            slots=self.slots,
            labels=(),
            kinds=KINDS,
            instance=self._rng.randbytes(8).hex(),  # Of this life.
        )
        self._orphans = False
        self._ahead_ms = self._stepped_ms()  # Its own steady clock begins at the wall clock's time.
        self._home = f"{self.name}.{self._homes}"
        self._processes.end_leftovers(self._home)
        self.protocol = WorkerProtocol(identity, LogBuffer(Doorbell()), self.disk)
        self._running: dict[Lease, trio.CancelScope] = {}
        self._bell = trio.Event()

    def _now_ms(self) -> int:
        return now_ms() + self._ahead_ms

    # Faults.

    def crash(self, *, with_disk: bool = False, with_guards: bool = False) -> None:
        """The process dies; sometimes its disk is gone as well, or its guards die with it."""
        if with_disk:
            self.disk.clear()
            self._homes += 1
        self._orphans = with_guards
        self._was_connected = (
            self.protocol.phase is Phase.OPEN
            and self._frozen_until <= trio.current_time()
            and self._network.plane is not None
        )
        self._life.cancel()

    def drop(self) -> None:
        """The connection breaks; the process goes on."""
        self._cut.cancel()

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
            await trio.sleep(self._rng.uniform(0.1, 3.0))
            self._begin()

    async def _connect(self, jobs: trio.Nursery) -> None:
        plane = await self._network.reach()
        peer = Peer(self.name)
        (hello,) = wire.FROM_WORKER.decode(self.protocol.hello(self._now_ms()))
        assert isinstance(hello, wire.Hello)
        link = self._network.connect(peer, plane, self._rng)
        try:
            with trio.CancelScope() as self._cut:
                async with trio.open_nursery() as session:
                    session.start_soon(_then_cancel, plane.died, session.cancel_scope)
                    await link.send(Connected(peer, hello, self.name))
                    session.start_soon(self._hear, link, jobs, session.cancel_scope)
                    session.start_soon(self._speak, link)
                    session.start_soon(self._notice_silence, session.cancel_scope)
        finally:
            self.protocol.disconnected()
            link.cut()

    async def _notice_silence(self, scope: trio.CancelScope) -> None:
        while True:
            await trio.sleep(limits.HEARTBEAT_S)
            if self._frozen_until - trio.current_time() > limits.SILENCE_S:
                await trio.sleep(limits.SILENCE_S)
                scope.cancel()

    async def _thaw(self) -> None:
        await trio.sleep_until(self._frozen_until)
        await trio.sleep(self._rng.choice((0.0, 0.001, 0.001, 0.02)))

    async def _speak(self, link: Link) -> None:
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
            await link.send(wire.FROM_WORKER.decode(message))

    async def _hear(self, link: Link, jobs: trio.Nursery, scope: trio.CancelScope) -> None:
        while frames := await link.take():
            for portion in link.split(frames):
                await self._thaw()
                self._take_in(portion, jobs)
        scope.cancel()

    def _take_in(self, frames: list[wire.ToWorker], jobs: trio.Nursery) -> None:
        for event in self.protocol.receive(wire.ENCODER.encode(frames), self._now_ms()):
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

    def _fill(self, jobs: trio.Nursery) -> None:
        while len(self._running) < self.slots:
            assign = self.protocol.begin(self._now_ms())
            if assign is None:
                return
            self._running[assign.lease] = trio.CancelScope()
            jobs.start_soon(self._execute, assign, jobs)

    async def _execute(self, assign: Assign, jobs: trio.Nursery) -> None:
        rng, lease, began, started_ms = self._rng, assign.lease, trio.current_time(), self._now_ms()
        seconds = rng.choice(self._seconds)
        if assign.timeout is not None:
            seconds = min(seconds, assign.timeout)
        self._bell.set()
        process = self._processes.begin(self._home, lease, assign.run_id)
        try:
            with self._running[lease] as stopped:
                await trio.sleep(seconds)
            if stopped.cancelled_caught:  # Some heed no signal.
                await trio.sleep(rng.choice((0.0, 0.0, 0.1, 2.0)))
        except trio.Cancelled:
            self._died(process, began + seconds, stopped=stopped.cancel_called)
            raise
        process.until = trio.current_time()
        outcome, output, error = Outcome.DONE, _NOTHING, None
        mark = f"{self.name}:{len(self.marks)}"
        if stopped.cancelled_caught:
            outcome = Outcome.CANCELLED
        elif seconds == assign.timeout:
            outcome = Outcome.TIMED_OUT
        elif rng.random() < 0.15:
            outcome = Outcome.FAILED
        else:
            output = msgspec.json.encode(mark)
        if outcome is not Outcome.DONE:
            error = mark
        self.marks[mark] = lease
        del self._running[lease]
        self.protocol.end(
            Ended(
                lease=lease,
                outcome=outcome,
                started_ms=started_ms,
                finished_ms=self._now_ms(),
                duration=trio.current_time() - began,
                error=error,
                output=msgspec.Raw(output),
            )
        )
        self._bell.set()
        self._fill(jobs)

    def _died(self, process: Process, would_end: float, *, stopped: bool) -> None:
        """The worker died first: guards end its attempts at once, unless they died with it."""
        now = trio.current_time()
        if self._orphans:
            process.until = max(would_end, now)
            return
        process.until = now + self._rng.uniform(0.0, GUARD_S)
        # Who has ordered it to stop may have started its successor.
        process.guarded = self._was_connected and not stopped


async def _then_cancel(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
