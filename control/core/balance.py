"""Decides which waiting job goes to which partition and worker next, and when.

The events of BALANCING.md section 7 map so: `submit(job, now)` is `submit`, `started` needs no
part here, `done(…)` is `finished`, `room`, `lane_up` and `lane_down` are `worker_up` and
`worker_down` (a lane is a worker's slots in one partition), and `assign` gives the assignments to
send now. Jobs stay here until a slot is free (late binding), so priority is global to the last
moment. Slow jobs leave a reserve of slots free, so a fast one always finds one soon.
"""

from collections import OrderedDict

import msgspec

from control.core.estimates import Estimates
from control.core.roster import Changes, Roster
from control.core.slots import WINDOW_S, Lane, Shape, Slots, loads
from control.core.speed import Threshold, partition_classes
from control.core.waiting import Cause, WaitingJobs
from control.model import limits
from control.model.messages import (
    DispatcherUp,
    Finished,
    Hold,
    JobReady,
    LoadOfPartition,
    PriorityKey,
    WorkerUp,
)
from control.model.states import Outcome, Speed


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What operators set."""

    partitions: int = 10
    slow_share: float = 0.6
    slow_threshold_s: float | None = None  # None: learned ("auto").
    lend: bool = True
    reserve_share: float = 0.05


class Assignment(msgspec.Struct, frozen=True):
    """A job to send now, and the place that is finished with that."""

    job: JobReady
    place: int
    partition: int
    worker: str
    speed: Speed
    expected_s: float


class _Outstanding(msgspec.Struct):
    attempt: int
    client: str
    speed: Speed
    expected_s: float
    lane: Lane | None  # None: nobody is known to have it; its dispatcher waits for its worker.
    placed_ms: int


OVERRUN_EXPECTED_S = 1.0  # Of a short job that has overrun; nothing better is known.
_UPDATE_EVERY = 32  # Ends between two looks at the threshold.
_ENDED_MAX = 50_000  # How many ends are remembered, against news that is older than they are.


class Balancer:
    """The whole policy, without I/O. Places are those of the topic the jobs came from.

    `estimates` and `threshold`: what an earlier one has learned.
    """

    def __init__(
        self,
        policy: Policy,
        estimates: Estimates | None = None,
        threshold: Threshold | None = None,
    ) -> None:
        self.policy = policy
        self.classes = partition_classes(policy.partitions, policy.slow_share)
        self.estimates = estimates or Estimates()
        self.threshold = threshold or Threshold(policy.slow_threshold_s)
        self.slots = Slots(self.classes)
        self._roster = Roster()
        self.waiting = WaitingJobs(self.estimates.index)
        self._outstanding: dict[int, _Outstanding] = {}
        self._slow_running = 0
        self._client_running: dict[str, int] = {}
        self._client_max: dict[str, int | None] = {}
        # Of clients that were told of: newer than what a job says that is read back or given back.
        self._client_priority: dict[str, int] = {}
        self.superseded: list[int] = []  # Places whose jobs have a newer attempt.
        self._ended: OrderedDict[int, int] = OrderedDict()  # Job to its last attempt that ended.
        self._cancelled: OrderedDict[tuple[int, int], None] = OrderedDict()
        self._moving: dict[int, PriorityKey] = {}  # Jobs on their way back to a new place.
        self._ends = 0

    # What happened.

    def submit(self, job: JobReady, place: int) -> bool:
        """A job may run. False: it was cancelled already, or is old news; its place is finished.

        An older attempt that still waits (it was given back after its end) makes room: its place
        is in `superseded`.
        """
        if self._moving and job.job_id in self._moving:  # Perhaps once more since it left.
            job = msgspec.structs.replace(job, order=self._moving.pop(job.job_id))
        known, waiting = self._outstanding.get(job.job_id), self.waiting.jobs.get(job.job_id)
        if known is not None and known.attempt > job.attempt:
            return False
        if self._cancelled.pop((job.job_id, job.attempt), self) is None:
            self._settle(job.job_id)
            self._remember_end(job.job_id, job.attempt)
            return False
        if waiting is not None:
            if waiting.job.attempt >= job.attempt:
                return False  # The bus may say a thing twice.
            self.waiting.remove(waiting)
            self.superseded.append(waiting.place)
        # A job that a dispatcher gave back unstarted comes again while it counts as placed.
        self._settle(job.job_id)
        priority = self._client_priority.get(job.client)
        if priority is None:
            self._client_max[job.client] = job.max_running
        elif priority != job.order[0]:  # It was said before the client changed.
            job = _with_priority(job, priority)
        self.waiting.add(job, place)
        return True

    def cancel(self, job_id: int, attempt: int) -> int | None:
        """A job was cancelled; gives its place if it waited here."""
        waiting = self.waiting.jobs.get(job_id)
        if waiting is None or waiting.job.attempt != attempt:
            # Its message may be still to come, for the first time or because it is given back.
            self._cancelled[job_id, attempt] = None
            if len(self._cancelled) > limits.SUBSCRIPTION_RECORDS_MAX:
                self._cancelled.popitem(last=False)
        if waiting is None or waiting.job.attempt > attempt:
            return None
        self.waiting.remove(waiting)
        return waiting.place

    def reorder(self, job_id: int, order: PriorityKey) -> tuple[JobReady, int] | None:
        """A waiting job's place in the order changed: what to publish, and what is finished then.

        It leaves and comes back with its new place, which would else be forgotten at a restart.
        """
        waiting = self.waiting.jobs.get(job_id)
        if waiting is None:
            if job_id in self._moving:
                self._moving[job_id] = order
            return None
        self.waiting.remove(waiting)
        self._moving[job_id] = order
        return msgspec.structs.replace(waiting.job, order=order), waiting.place

    def client_changed(self, client: str, priority: int, max_running: int | None) -> None:
        """A client's limits changed; they hold for what waits already."""
        self._client_max[client], self._client_priority[client] = max_running, priority
        for waiting in [w for w in self.waiting.jobs.values() if w.job.client == client]:
            if waiting.job.order[0] != priority:
                self.waiting.remove(waiting)
                self.waiting.add(_with_priority(waiting.job, priority), waiting.place)
        self._room()

    def finished(self, message: Finished) -> None:
        """An attempt ended (or was lost)."""
        known = self._outstanding.get(message.job_id)
        if known is not None and known.attempt == message.attempt:
            self._settle(message.job_id)
        self._cancelled.pop((message.job_id, message.attempt), None)
        self._remember_end(message.job_id, message.attempt)
        if message.outcome == Outcome.DONE:
            key = (message.pipeline, message.name)
            before = self._length(self.estimates.expected(key))
            self.estimates.learn(key, message.duration_seconds)
            if self._length(self.estimates.expected(key)) != before:
                self.waiting.release(key)
            self._ends += 1
            if self._ends % _UPDATE_EVERY == 0:
                self.threshold.update(self.estimates.samples())

    def worker_up(self, info: WorkerUp) -> None:
        """A worker connected or changed. What it holds counts as placed with it."""
        self._workers_changed(self._roster.worker_up(info))

    def overran(self, name: str, job_ids: tuple[int, ...]) -> None:
        """These jobs take far longer than expected: each holds its slot until it ends."""
        worker = self.slots.workers.get(name)
        for job_id in job_ids:
            known = self._outstanding.get(job_id)
            if worker is None or known is None or known.expected_s > WINDOW_S:
                continue
            if known.lane is not None and known.lane.worker is worker:
                worker.overran(known.expected_s)
                known.expected_s = OVERRUN_EXPECTED_S

    def worker_down(self, name: str, dispatcher: str) -> None:
        """A worker is gone; its jobs come back one by one, as ends or as ready again."""
        self._workers_changed(self._roster.worker_down(name, dispatcher))

    def drain(self, name: str) -> None:
        """A worker takes nothing new."""
        self._roster.drain(name)
        self.slots.drain(name)

    def dispatcher_up(self, message: DispatcherUp) -> None:
        """A dispatcher told all it knows: replaces what was known of it."""
        changes = self._roster.dispatcher_up(message)
        for hold in message.adrift:
            if hold.job_id not in self._outstanding and not self._is_over(hold):
                self._hold(hold, None)
        self._workers_changed(changes)

    # What follows.

    def assign(self, now_ms: int, limit: int) -> list[Assignment]:
        """The assignments to send now, at most `limit`, in order."""
        made: list[Assignment] = []
        for waiting in self.waiting.heads():
            queue = waiting.queue
            expected_s = self.estimates.expected(queue.key)
            speed = self.threshold.speed(expected_s)
            found = self._place(queue.client, queue.shape, speed, expected_s)
            if isinstance(found, Cause):
                self.waiting.park(queue, found)
                continue
            self.waiting.remove(waiting)
            job = waiting.job
            lane = found
            lane.worker.take(lane, expected_s)
            self.slots.offer(lane)
            self._count(
                job.job_id,
                _Outstanding(job.attempt, job.client, speed, expected_s, lane, now_ms),
            )
            made.append(
                Assignment(
                    job,
                    waiting.place,
                    lane.partition,
                    lane.worker.info.worker,
                    speed,
                    expected_s,
                )
            )
            if len(made) >= limit:
                break
        return made

    def why(self, job_id: int) -> str | None:
        """Why a job waits, in words; None when it does not wait here."""
        waiting = self.waiting.jobs.get(job_id)
        if waiting is None:
            return None
        queue = waiting.queue
        expected_s = self.estimates.expected(queue.key)
        speed = self.threshold.speed(expected_s)
        # Looked at anew: a queue keeps the cause it was parked for while nobody comes to it.
        found = self._place(queue.client, queue.shape, speed, expected_s)
        return self._in_words(queue.client, queue.shape, found)

    def _in_words(self, client: str, shape: Shape, found: Lane | Cause) -> str:
        if not isinstance(found, Cause):
            return "its turn comes next"
        if found.why == "client":
            running = self._client_running.get(client, 0)
            return f"{client} is at max_running: {running} of {self._client_max.get(client)}"
        if not self.slots.workers:
            return "no worker is connected"
        if not self.slots.any_can(shape):
            kind, version, labels = shape
            needs = f"{kind} {version}" + (f" with labels {', '.join(labels)}" if labels else "")
            return f"no connected worker can run {needs}"
        if found.why == "reserve" and self.slots.total:
            return f"slow jobs hold {self._slow_running} slots; the rest is kept for fast ones"
        return "no free slot"

    def partitions(self) -> list[LoadOfPartition]:
        """Every partition's load, as far as jobs have been placed there."""
        placed = [
            (known.lane, known.expected_s, known.placed_ms)
            for known in self._outstanding.values()
            if known.lane is not None
        ]
        return loads(self.classes, self.slots.workers.values(), placed)

    def _workers_changed(self, changes: Changes) -> None:
        for info in changes.gone:
            self.slots.remove(info.worker)
        for info in changes.came:
            self._connect(info)
        self._room()

    def _connect(self, info: WorkerUp) -> None:
        self.slots.remove(info.worker)
        worker = self.slots.add(info)
        for known in self._outstanding.values():
            if known.lane is not None and known.lane.worker.info.worker == info.worker:
                first = next(iter(worker.lanes.values()), None)
                known.lane = worker.lanes.get(known.lane.partition, first)
                if known.lane is not None:
                    worker.take(known.lane, known.expected_s)
        for hold in info.holds:
            lane = worker.emptiest()
            if self._is_over(hold):
                continue
            if hold.job_id not in self._outstanding:
                self._hold(hold, lane)
            elif (known := self._outstanding[hold.job_id]).lane is None and lane is not None:
                known.lane = lane
                worker.take(lane, known.expected_s)
        for lane in worker.lanes.values():
            self.slots.offer(lane)

    def _place(self, client: str, shape: Shape, speed: Speed, expected_s: float) -> Lane | Cause:
        length = self._length(expected_s)
        if self._is_full(client):
            return Cause("client", length, shape, client)
        if speed == Speed.SLOW and self._slow_running >= self._slow_limit():
            return Cause("reserve", length, shape)
        other = Speed.FAST if speed == Speed.SLOW else Speed.SLOW
        lane = self.slots.free_lane(speed, shape)
        if lane is None and self.policy.lend:
            lane = self.slots.free_lane(other, shape)
        if lane is None and speed == Speed.FAST:
            lane = self.slots.window_lane(shape, expected_s)
        return lane if lane is not None else Cause("slots", length, shape)

    def _length(self, expected_s: float) -> str:
        return "short" if expected_s <= WINDOW_S else self.threshold.speed(expected_s)

    def _slow_limit(self) -> int:
        total = self.slots.total
        if total <= 1:
            return total
        return total - max(round(total * self.policy.reserve_share), 1)

    def _remember_end(self, job_id: int, attempt: int) -> None:
        self._ended[job_id] = attempt
        self._ended.move_to_end(job_id)
        if len(self._ended) > _ENDED_MAX:
            self._ended.popitem(last=False)

    def _is_over(self, hold: Hold) -> bool:
        """Whether it ended, or came back, before this older news of it: topics do not wait for
        each other."""
        ended = self._ended.get(hold.job_id, 0)
        return hold.attempt <= ended or hold.job_id in self.waiting.jobs

    def _hold(self, hold: Hold, lane: Lane | None) -> None:
        if lane is not None:
            lane.worker.take(lane, hold.expected)
        self._count(
            hold.job_id,
            _Outstanding(
                hold.attempt, hold.client, hold.speed, hold.expected, lane, hold.started_ms or 0
            ),
        )

    def _count(self, job_id: int, known: _Outstanding) -> None:
        self._outstanding[job_id] = known
        self._client_running[known.client] = self._client_running.get(known.client, 0) + 1
        self._slow_running += known.speed == Speed.SLOW

    def _settle(self, job_id: int) -> None:
        known = self._outstanding.pop(job_id, None)
        if known is None:
            return
        left = self._client_running[known.client] - 1
        if left:
            self._client_running[known.client] = left
        else:
            del self._client_running[known.client]
        self._slow_running -= known.speed == Speed.SLOW
        lane = known.lane
        if lane is not None:
            lane.worker.give(lane, known.expected_s)
            self.slots.offer(lane)
        self._room()

    def _room(self) -> None:
        for cause in self.waiting.causes():
            if not self._is_full(cause.client):
                self.waiting.wake(cause)

    def _is_full(self, client: str) -> bool:
        allowed = self._client_max.get(client)
        return allowed is not None and self._client_running.get(client, 0) >= allowed


def _with_priority(job: JobReady, priority: int) -> JobReady:
    return msgspec.structs.replace(job, order=(priority, *job.order[1:]))
