"""Owns a small world of dispatchers: a partitioned log with one group, news, workers, and time.

Real parts: `Leases` and the worker's protocol. The world is strict about what a dispatcher may do:
it answers each record once, and only records of partitions that are its own.
"""

from collections.abc import Iterator

from control.core.dispatcher.effects import StepEffects
from control.core.dispatcher.leases import Leases
from control.model import limits
from control.model.bus.messages import CancelJob, Finished, JobReady, Message, Placed, Started
from control.model.names import Topic
from control.model.states import Outcome
from control.model.worker import wire
from control.model.worker.wire import Lease
from tests.core.dispatcher.leasing import CLASSES, place_of, placed
from tests.core.dispatcher.members import Connection, Dispatcher, Worker

PARTITIONS = range(len(CLASSES))
SESSION_MS = 10_000  # After so long the group takes a silent member for dead.
GRACE_MS = round(limits.RECONNECT_GRACE_S * 1000)


class PartitionsLost(Exception):
    """As the bus says it."""


class World:
    """Everything, and all that must always hold."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.log: dict[int, list[Placed]] = {at: [] for at in PARTITIONS}
        self.unanswered: set[int] = set()
        self.news: list[Message] = []
        self.owners: dict[int, Dispatcher | None] = dict.fromkeys(PARTITIONS)
        self.wanted: dict[int, str] = dict.fromkeys(PARTITIONS, "d1")
        self.members = {name: Dispatcher(name) for name in ("d1", "d2", "d3")}
        self.former: list[Dispatcher] = []  # Dead, and the group has not noticed.
        self.workers = {name: Worker(name) for name in "abc"}
        self.jobs = 0
        self.answers: dict[int, list[Message]] = {}  # By job.
        self.cancelled: set[int] = set()

    # What the balancer and the operators do.

    def place(self, worker: str, partition: int) -> None:
        self.jobs += 1
        nonce = 1_000_003 * self.jobs if self.jobs % 2 else 0  # 0: as an earlier version wrote it.
        message = placed(self.jobs, worker, partition=partition, owner="wk", nonce=nonce)
        self._append(message, partition)

    def cancel(self, job_id: int) -> None:
        self.cancelled.add(job_id)
        for member in self.members.values():
            if member.alive:
                member.commands.append(CancelJob(job_id=job_id, attempt=1, reason="by order"))

    def _append(self, message: Placed, partition: int) -> None:
        self.log[partition].append(message)
        self.unanswered.add(place_of(len(self.log[partition]) - 1, partition))

    # Dispatchers.

    def start(self, member: Dispatcher) -> None:
        """A process starts, or starts over."""
        for connection in member.links.values():
            self._close(connection)
        arrivals = [] if not member.alive else member.arrivals
        member.__init__(member.name)  # type: ignore[misc]
        member.alive, member.arrivals, member.news = True, arrivals, len(self.news)
        member.leases = Leases(member.name, CLASSES, self.now_ms, frozenset())
        for other in self.members.values():
            other.commands.append(None)

    def kill(self, member: Dispatcher) -> None:
        if not member.alive:
            return
        for worker in self.workers.values():
            if worker.connection is not None and worker.connection.to is member:
                self._cut(worker)
        dead = Dispatcher(member.name)
        dead.partitions = frozenset(at for at in PARTITIONS if self.owners[at] is member)
        for at in dead.partitions:
            self.owners[at] = dead
        self.former.append(dead)
        member.__init__(member.name)  # type: ignore[misc]

    def _evict(self, member: Dispatcher) -> None:
        """The group gives a member's partitions to others."""
        live = [m.name for m in self.members.values() if m.serves]
        for at, owner in self.owners.items():
            if owner is member:
                self.owners[at] = None
            if live and self.wanted[at] not in live:
                self.wanted[at] = live[at % len(live)]

    def work(self, member: Dispatcher) -> bool:
        """Everything that can be done now by one dispatcher; False: there was nothing."""
        if not member.alive or member.paused:
            return False
        try:
            return any([self.heed(member), self.hear(member), self.receive(member)])
        except PartitionsLost:
            self.start(member)
            return True

    def heed(self, member: Dispatcher) -> bool:
        """News and commands."""
        messages, commands = self.news[member.news :], member.commands
        if not messages and not commands:
            return False
        out = StepEffects()
        member.news, member.commands = len(self.news), []
        for message in messages:
            member.leases.heard(message, out, self.now_ms)
        for worker in member.links.keys() - member.leases.links.keys():
            self._close(member.links.pop(worker))
        for command in commands:
            if command is None:
                member.leases.announce(out)
            else:
                member.leases.cancel(command, out)
        self._carry_out(member, out)
        return True

    def hear(self, member: Dispatcher) -> bool:
        """What workers say."""
        arrivals, member.arrivals = member.arrivals, []
        out = StepEffects()
        for connection, frames in arrivals:
            self._heard(member, connection, frames, out)
        self._carry_out(member, out)
        return bool(arrivals)

    def _heard(
        self,
        member: Dispatcher,
        connection: Connection,
        frames: list[wire.FromWorker] | None,
        out: StepEffects,
    ) -> None:
        worker, leases, now_ms = connection.worker.name, member.leases, self.now_ms
        known = member.links.get(worker) is connection
        if frames is None:
            if known:
                del member.links[worker]
                leases.disconnected(worker, "closed", out, now_ms)
            return
        for frame in frames:
            if isinstance(frame, wire.Hello):
                former = member.links.get(worker)
                if former is not None:
                    self._close(former)
                member.links[worker], known = connection, True
                leases.connected(frame, out, now_ms, "wk")
            elif known and isinstance(frame, wire.Began):
                leases.began(worker, frame, out, now_ms)
            elif known and isinstance(frame, wire.Ended):
                leases.ended(worker, frame, out, now_ms)
            elif known and isinstance(frame, wire.HandedBack):
                leases.handed_back(worker, frame.leases, out)

    def receive(self, member: Dispatcher) -> bool:
        """One call of the subscription's `receive`, and what follows it."""
        if member.lost:
            raise PartitionsLost
        for at in member.releasing:
            self.owners[at] = None
        member.releasing.clear()
        gone = {at for at in member.partitions if self.wanted[at] != member.name}
        come = {
            at for at in PARTITIONS if self.wanted[at] == member.name and self.owners[at] is None
        }
        out = StepEffects()
        if gone or come:
            member.partitions = member.partitions - gone | come
            member.releasing = gone
            for at in come:
                self.owners[at] = member
                member.read[at] = 0
            member.leases.repartition(member.partitions, out, self.now_ms)
        for at in member.partitions - come:
            for offset, message in list(enumerate(self.log[at]))[member.read[at] :]:
                place = place_of(offset, at)
                if place in self.unanswered:
                    member.leases.place(message, place, out, self.now_ms)
            member.read[at] = len(self.log[at])
        if out.recovered:
            member.leases.announce(out)
        self._carry_out(member, out)
        return bool(gone or come or out.receipts or out.frames)

    def _carry_out(self, member: Dispatcher, out: StepEffects) -> None:
        for name, frames in out.frames.items():
            self._send(member, name, frames)
        if member.lost and (out.records or out.receipts):
            raise PartitionsLost
        for place in out.receipts:
            assert self.owners[place % limits.PARTITIONS_MAX] is member, "not its own to answer"
            assert place % limits.PARTITIONS_MAX in member.partitions, "it was taken away"
            self.unanswered.remove(place)  # Raises when answered twice.
        answers = 0
        for record in out.records:
            if isinstance(record.message, Placed):
                assert record.partition is not None
                assert record.message.epoch is not None
                self._append(record.message, record.partition)
                answers += 1
            elif isinstance(record.message, JobReady | Finished):
                self._answered(record.message)
                answers += 1
            elif isinstance(record.message, Started):
                if record.message.job_id in self.cancelled:
                    self.cancel(record.message.job_id)  # As the trigger does.
            elif record.topic == Topic.TASK_NEWS:
                self.news.append(record.message)
        assert answers == len(out.receipts)
        for name, leases in out.acks.items():
            self._send(member, name, [wire.Ack(leases=tuple(leases))])

    def _answered(self, message: Finished | JobReady) -> None:
        job_id = message.job_id
        assert job_id not in self.answers, f"job {job_id} was answered for twice"
        self.answers[job_id] = [message]
        if isinstance(message, JobReady) or message.outcome == Outcome.LOST:
            for worker in self.workers.values():
                for lease in worker.knows - worker.strayed:
                    assert lease.job_id != job_id, f"{worker.name} was there all the time"

    # Workers.

    def connect(self, worker: Worker, member: Dispatcher) -> None:
        """Leave whatever there was; say hello."""
        if not member.alive:
            return
        self._cut(worker)
        connection = worker.connection = Connection(worker, member)
        frames = wire.FROM_WORKER.decode(worker.protocol.hello(self.now_ms))
        member.arrivals.append((connection, frames))

    def restart(self, worker: Worker, *, with_disk: bool) -> None:
        """The process dies and starts again."""
        self._cut(worker)
        if not with_disk:
            worker.disk.clear()
        worker.strayed.clear()
        worker.start()

    def notice(self, worker: Worker) -> None:
        """Its dispatcher sees that the socket is closed, if it is."""
        for member in self.members.values():
            for connection in member.links.values():
                if connection.worker is worker and not connection.open:
                    member.arrivals.append((connection, None))

    def speak(self, worker: Worker) -> bool:
        connection = worker.connection
        message = worker.protocol.take()
        if connection is None or message is None:
            return False
        connection.to.arrivals.append((connection, wire.FROM_WORKER.decode(message)))
        return True

    def _cut(self, worker: Worker) -> None:
        if worker.connection is not None:
            worker.connection.open = False
            worker.connection.closed_ms = self.now_ms
            worker.connection = None
            worker.protocol.disconnected()

    def _close(self, connection: Connection) -> None:
        """The dispatcher closes it: its worker sees that at once."""
        if connection.worker.connection is connection:
            self._cut(connection.worker)

    def _send(self, member: Dispatcher, name: str, frames: list[wire.ToWorker]) -> None:
        connection = member.links.get(name)
        if connection is not None and connection.open:
            connection.worker.take_in(frames, self.now_ms)

    # Time.

    def settle(self) -> None:
        """Let everything that can happen now happen."""
        for _ in range(200):
            did = [self.speak(worker) for worker in self.workers.values()]
            did += [self.work(member) for member in self.members.values()]
            if not any(did):
                return
        message = "it never comes to rest"
        raise AssertionError(message)

    def pass_time(self, step_ms: int) -> None:
        self.settle()
        self.now_ms += step_ms
        for dead in list(self.former):
            dead.silent_ms += step_ms
            if dead.silent_ms >= SESSION_MS:
                self.former.remove(dead)
                self._evict(dead)
        for member in self.members.values():
            member.silent_ms = member.silent_ms + step_ms if member.paused else 0
            if member.silent_ms >= SESSION_MS and not member.lost:
                member.lost = True
                self._evict(member)
            for connection in member.links.values():
                if not connection.open and self.now_ms - (connection.closed_ms or 0) >= 10_000:
                    member.arrivals.append((connection, None))
        self._note_strays(step_ms)
        for member in self.members.values():
            if member.alive and not member.paused:
                out = StepEffects()
                member.leases.expire(out, self.now_ms)
                try:
                    self._carry_out(member, out)
                except PartitionsLost:
                    self.start(member)

    def _note_strays(self, step_ms: int) -> None:
        """A lease may be lost whose worker nobody who can get its record has heard for a while."""
        for worker in self.workers.values():
            to = worker.connection.to if worker.connection is not None else None
            heard = to is not None and to.serves and to.partitions
            worker.away_ms = 0 if heard else worker.away_ms + step_ms
            if worker.away_ms >= GRACE_MS:
                worker.strayed |= worker.knows

    def running(self) -> Iterator[tuple[Worker, Lease]]:
        for worker in self.workers.values():
            for lease in sorted(worker.running, key=lambda lease: lease.epoch):
                yield worker, lease

    def come_to_an_end(self) -> None:
        """No more trouble: everything is answered for, nothing stays anywhere."""
        for member in self.members.values():
            member.paused = False
            if not member.alive:
                self.start(member)
        for _ in range(240):
            for worker in self.workers.values():
                if worker.connection is None:
                    self.connect(worker, self.members["d1"])
                worker.begin(self.now_ms)
            for worker, lease in list(self.running()):
                if lease.job_id not in self.cancelled:
                    worker.end(lease, self.now_ms)
            self.pass_time(250)
        assert not self.unanswered
        assert self.answers.keys() == set(range(1, self.jobs + 1))
        for worker in self.workers.values():
            assert worker.protocol.finished, f"{worker.name} still has {worker.knows}"
        for member in self.members.values():
            assert member.leases.next_ms() is None
            assert not member.leases._held  # noqa: SLF001
