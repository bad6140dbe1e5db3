"""Owns who takes part in the world of dispatchers: processes, their sockets, and workers."""

from control.core.dispatcher.leases import Leases
from control.model.bus.messages import CancelJob
from control.model.states import Outcome
from control.model.worker import wire
from control.model.worker.wire import Lease
from tests.core.dispatcher.leasing import CLASSES
from workers.logs import LogBuffer
from workers.protocol import WorkerIdentity, WorkerProtocol
from workers.protocol_events import Stop
from workers.wakeup import Doorbell


class Connection:
    """One socket: what is on its way to the worker, and whether the worker still listens."""

    def __init__(self, worker: "Worker", to: "Dispatcher") -> None:
        self.worker = worker
        self.to = to
        self.open = True  # At the worker's end.
        self.closed_ms: int | None = None  # When the worker's end closed.


class Worker:
    """One worker; its process may die, with or without its disk."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.disk: dict[Lease, bytes] = {}
        self.connection: Connection | None = None
        self.strayed: set[Lease] = set()  # Known while nobody could hear of them for too long.
        self.away_ms = 0
        self.start()

    def start(self) -> None:
        identity = WorkerIdentity(
            worker=self.name, host="h", slots=2, labels=(), kinds={"Sleep": ("1.0.0",)}
        )
        self.protocol = WorkerProtocol(identity, LogBuffer(Doorbell()), self.disk)
        self.running: set[Lease] = set()
        self.waiting: set[Lease] = set()

    @property
    def knows(self) -> set[Lease]:
        return self.running | self.waiting | set(self.disk)

    def begin(self, now_ms: int) -> None:
        if len(self.running) < 2:
            assign = self.protocol.begin(now_ms)
            if assign is not None:
                self.waiting.discard(assign.lease)
                self.running.add(assign.lease)

    def end(self, lease: Lease, now_ms: int, outcome: Outcome = Outcome.DONE) -> None:
        if lease in self.running:
            self.running.discard(lease)
            self.protocol.end(
                wire.Ended(
                    lease=lease, outcome=outcome, started_ms=0, finished_ms=now_ms, duration=0.0
                )
            )
            self.disk.update(self.protocol.unkept())

    def take_in(self, frames: list[wire.ToWorker], now_ms: int) -> None:
        for event in self.protocol.receive(wire.ENCODER.encode(frames), now_ms):
            if isinstance(event, Stop):
                self.end(event.lease, now_ms, Outcome.CANCELLED)
        for frame in frames:
            match frame:
                case wire.Assign(lease=lease):
                    if lease not in self.knows:
                        self.waiting.add(lease)
                case wire.Ack(leases=leases) | wire.Welcome(drop=leases):
                    for lease in leases:
                        self.disk.pop(lease, None)
                        self.running.discard(lease)
                        self.waiting.discard(lease)
                case wire.Cancel(lease=lease):
                    self.waiting.discard(lease)
                case wire.TakeBack(leases=leases):
                    self.waiting.difference_update(leases)
        self.disk.update(self.protocol.unkept())


class Dispatcher:
    """One process: alive, paused, or dead. `partitions`: as its subscription shows them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.leases = Leases(name, CLASSES, 0, frozenset())
        self.partitions: frozenset[int] = frozenset()
        self.releasing: set[int] = set()  # Taken away; released at the next call of `receive`.
        self.alive = False
        self.paused = False
        self.lost = False  # The group has given it up, and it does not know.
        self.silent_ms = 0
        self.read: dict[int, int] = {}  # Position in each partition.
        self.news = 0  # Position.
        self.commands: list[CancelJob | None] = []  # None: announce.
        self.arrivals: list[tuple[Connection, list[wire.FromWorker] | None]] = []
        self.links: dict[str, Connection] = {}

    @property
    def serves(self) -> bool:
        return self.alive and not self.paused and not self.lost
