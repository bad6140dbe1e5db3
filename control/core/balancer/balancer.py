"""Decides which waiting job goes to which partition and worker next, and when.

The policy is docs/balancing.md; its section 12 lists the events: a job may run (`submit`), an
attempt ended (`finished`), a worker connected, changed, or left (`worker_up`, `worker_down`), and
`assign` returns the assignments to send now. The service drives it in real time, the simulator in
virtual time. Jobs stay here until a slot is free, so priority is global to the last moment. Slow
jobs leave a reserve of slots free for fast jobs.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from control.core.balancer import wait_reasons
from control.core.balancer.dedup import Past, owner_of
from control.core.balancer.estimates import Estimates, Key
from control.core.balancer.in_flight import InFlight, InFlightJob
from control.core.balancer.job_queue import Cause, Queue, WaitingJobs
from control.core.balancer.learning import Learning
from control.core.balancer.partition_loads import loads
from control.core.balancer.placement import Placing
from control.core.balancer.policy import SLOW_SHARE, Assignment, Policy
from control.core.balancer.quotas import Quotas, with_priority
from control.core.balancer.rivals import Rivals
from control.core.balancer.slots import WINDOW_S, Lane, Slots
from control.core.balancer.slow_threshold import Threshold
from control.core.balancer.split import PartitionSplit
from control.core.fleet.worker_registry import WorkerChanges, WorkerRegistry
from control.model.api.balancer import ClassChange, LoadOfPartition, Rules, Waits
from control.model.bus.messages import DispatcherUp, Finished, Hold, JobReady, PriorityKey, WorkerUp
from control.model.numbers import JobId
from control.model.states import Outcome, Speed

_WEIGHED_ANEW_MAX: Final = 50_000  # More would take too long at once.


class Balancer:
    """The whole policy, without I/O. Places are those of the topic the jobs came from."""

    def __init__(
        self,
        policy: Policy,
        estimates: Estimates | None = None,
        threshold: Threshold | None = None,
    ) -> None:
        """`estimates` and `threshold`: what an earlier one has learned."""
        self.policy = policy
        self._split = PartitionSplit(policy.partitions, policy.slow_share, SLOW_SHARE)
        self.estimates = Estimates() if estimates is None else estimates
        self.threshold = threshold or Threshold(policy.slow_threshold_s)
        self.learning = Learning(self.estimates, self.threshold, self._split)
        self.slots = Slots(self._split.classes)
        self._registry = WorkerRegistry()
        self.waiting = WaitingJobs(self._index)
        self.outstanding = InFlight(self.slots, self._is_over)
        self._past = Past()
        self._rivals = Rivals()
        self._quotas = Quotas(self.outstanding)
        self._placing = Placing(
            self.slots,
            self.outstanding,
            self._quotas,
            lend=policy.lend,
            reserve_share=policy.reserve_share,
        )
        self.superseded: list[int] = []  # Places whose jobs have a newer attempt.
        self._recalled = False  # Statistics have told something that is not heeded yet.
        self._moving: dict[int, PriorityKey] = {}  # Jobs on their way back to a new place.

    @property
    def classes(self) -> tuple[Speed, ...]:
        """The class of each partition."""
        return self._split.classes

    # What happened.

    def submit(self, job: JobReady, place: int) -> bool:
        """A job may run. False: it was cancelled already, or is old news; its place is finished.

        An older attempt that still waits (it was given back after its end) makes room: its place
        is in `superseded`.
        """
        if self._moving and job.job_id in self._moving:  # Perhaps once more since it left.
            job = msgspec.structs.replace(job, order=self._moving.pop(job.job_id))
        if self._past.has_ended(job.job_id, job.attempt, owner_of(job)):
            return False
        known, waiting = self.outstanding.jobs.get(job.job_id), self.waiting.jobs.get(job.job_id)
        if self._rivals.hold(job, place, waiting, known):
            return True
        if known is not None and known.attempt > job.attempt:
            return False
        if self._past.was_cancelled(job.job_id, job.attempt):
            self._settle(job.job_id)
            self._past.ended(owner_of(job), job.job_id, job.attempt)
            return False
        if waiting is not None:
            if waiting.job.attempt >= job.attempt:
                return False  # The bus may say a thing twice.
            self.waiting.remove(waiting)
            self.superseded.append(waiting.place)
        # A job that a dispatcher gave back unstarted comes again while it counts as placed.
        put_back_s = self._settle(job.job_id)
        if waiting is not None:
            put_back_s = waiting.put_back_s
        if put_back_s is None:
            put_back_s = self._past.put_back_s(owner_of(job), job.job_id)
        before = self._quotas.max_running(job.client)
        priority = self._quotas.priority(job.client, job.max_running)
        if self._quotas.max_running(job.client) != before:
            self._wake(lambda cause: cause.client == job.client)
        if priority is not None and priority != job.order[0]:
            job = with_priority(job, priority)  # It was said before the client changed.
        self._add(job, place, put_back_s)
        return True

    def cancel(self, job_id: JobId, attempt: int) -> int | None:
        """A job was cancelled; gives its place if it waited here."""
        waiting = self.waiting.jobs.get(job_id)
        if waiting is None or waiting.job.attempt != attempt:
            # Its message may be still to come, for the first time or because it is given back.
            self._past.cancel(job_id, attempt)
        if waiting is None or waiting.job.attempt > attempt:
            return None
        self.waiting.remove(waiting)
        self._submit_rivals(job_id, attempt)
        return waiting.place

    def reorder(self, job_id: JobId, order: PriorityKey) -> tuple[JobReady, int] | None:
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
        self._quotas.told(client, priority, max_running)
        for waiting in self.waiting.requeue(client, priority):
            job = with_priority(waiting.job, priority)
            self._add(job, waiting.place, waiting.put_back_s)
        self._wake_all()

    def split(self, slow_share: float | None) -> None:
        """This share of the partitions is for slow jobs; None: it follows the mix."""
        self._split.set(slow_share)
        self._divided()

    def finished(self, message: Finished, now_ms: int) -> None:
        """An attempt ended (or was lost)."""
        known, put_back_s = self.outstanding.jobs.get(message.job_id), None
        if known is not None and known.owner not in {None, owner_of(message)}:
            return  # It is foreign: the job is another one.
        if known is not None and known.attempt == message.attempt:
            put_back_s = self._settle(message.job_id)
        self._past.ended(owner_of(message), message.job_id, message.attempt, put_back_s)
        self._submit_rivals(message.job_id)
        if message.outcome != Outcome.DONE:
            return
        connected = message.worker in self.slots.workers
        keys = self.waiting.keys
        lesson = self.learning.done(message, now_ms, connected=connected, waiting_keys=keys)
        key = (message.pipeline, message.name)
        self.waiting.relearned(key, other_length=lesson.length)
        if lesson.others:
            self._look_anew()
        elif lesson.length and self.outstanding.of_key(key):
            self._reclassify([key])
        if lesson.stragglers:
            self.slots.slow_down(self.learning.slowness)
            self._wake_all()
        if lesson.classes:
            self._divided()

    def recall(self, durations: Iterable[tuple[str, str, Sequence[float]]]) -> None:
        """What statistics tell of earlier jobs: heeded by the next `assign`, for all of it once."""
        for pipeline, name, seconds in durations:
            if self.estimates.recall((pipeline, name), seconds):
                self.waiting.relearned((pipeline, name), other_length=True)
                self._recalled = True

    def worker_up(self, info: WorkerUp) -> None:
        """A worker connected or changed. What it holds counts as placed with it."""
        self._workers_changed(self._registry.worker_up(info))

    def overran(self, name: str, job_ids: tuple[JobId, ...]) -> None:
        """These jobs take far longer than expected: each holds its slot until it ends."""
        self.outstanding.overran(name, job_ids)

    def worker_down(self, name: str, dispatcher: str) -> None:
        """A worker is gone; its jobs come back one by one, as ends or as ready again."""
        self._workers_changed(self._registry.worker_down(name, dispatcher))

    def drain(self, name: str) -> None:
        """A worker takes nothing new."""
        self._registry.drain(name)
        self.slots.drain(name)

    def dispatcher_up(self, message: DispatcherUp) -> None:
        """A dispatcher told all it knows: replaces what was known of it."""
        changes = self._registry.dispatcher_up(message)
        for hold in message.adrift:
            self.outstanding.adrift(hold)
        self._workers_changed(changes)

    def clock_set_back(self, now_ms: int) -> None:
        """Re-rank: jobs of a time still to come would wait for all that come until then."""
        for waiting in self.waiting.take_all():
            created_ms = min(waiting.job.created_ms, now_ms)
            job = msgspec.structs.replace(waiting.job, created_ms=created_ms)
            self._add(job, waiting.place, waiting.put_back_s)

    # What follows.

    def assign(self, now_ms: int, limit: int) -> list[Assignment]:
        """The assignments to send now, at most `limit`, in order."""
        if self._recalled:
            self._heed_recalled()
        made = self._assign(now_ms, limit)
        if len(self.outstanding.jobs) < self.slots.total and self.learning.is_unheeded:
            # What waits is looked at anew after some ends, and with free slots none may come.
            self.learning.heed(self.waiting.keys)
            self._look_anew()
            made += self._assign(now_ms, limit - len(made))
        return made

    def _assign(self, now_ms: int, limit: int) -> list[Assignment]:
        made: list[Assignment] = []
        if self.slots.straggling:  # What may go there follows from all that waits and runs.
            self._wake(lambda cause: cause.why == "straggler")
        for waiting in self.waiting.heads():
            queue, job = waiting.queue, waiting.job
            expected_s = self.estimates.expected(queue.key)
            speed = self.learning.speed(queue.key, expected_s)
            lane = self._place(queue, speed, expected_s)
            if isinstance(lane, Cause):
                self.waiting.park(queue, lane, now_ms)
                continue
            self.waiting.remove(waiting)
            placed = InFlightJob(job.attempt, job.key, job.client, speed, expected_s, lane, now_ms)
            placed.put_back_s, placed.run_id = waiting.put_back_s, job.run_id
            self.outstanding.add(job.job_id, placed)
            to = lane.worker.info
            sent = (job, waiting.place, lane.partition, to.worker, speed, expected_s, to.client)
            made.append(Assignment(*sent))
            if len(made) >= limit:
                break
        return made

    def waits(self, job_id: JobId) -> Waits | None:
        """Why a job waits and where in the order; None when it does not wait here."""
        waiting = self.waiting.jobs.get(job_id)
        if waiting is None:
            return None
        queue = waiting.queue
        expected_s = self.estimates.expected(queue.key)
        speed = self.learning.speed(queue.key, expected_s)
        # Looked at anew: a queue keeps the cause it was parked for while nobody comes to it.
        found = self._place(queue, speed, expected_s)
        ahead, at_least = self.waiting.ahead(waiting)
        refused, refused_ms = queue.refused or (None, None)
        return Waits(
            why=self.in_words(queue, found if isinstance(found, Cause) else None),
            speed=speed,
            expected_s=expected_s,
            known=self.estimates.is_known(queue.key),
            sent_ahead=expected_s <= WINDOW_S,
            ahead=ahead,
            at_least=at_least,
            refused=None if refused is None else self.in_words(queue, refused),
            refused_ms=refused_ms,
        )

    def rules(self) -> Rules:
        """What is gone by now."""
        return Rules(
            slow_share=self._split.share,
            split_auto=self._split.auto,
            threshold_s=self.threshold.seconds,
            threshold_auto=self.policy.slow_threshold_s is None,
            lend=self.policy.lend,
            slots=self.slots.total,
            reserve=self._placing.reserve,
            slow_running=self.outstanding.slow,
            waiting=len(self.waiting.jobs),
            stragglers=tuple(sorted(self.learning.slowness.items())),
            changes=tuple(self.learning.classes.last),
        )

    def partitions(self) -> list[LoadOfPartition]:
        """Every partition's load, as far as jobs have been placed there."""
        return loads(self.classes, self.slots.workers.values(), self.outstanding.in_lanes())

    def take_changes(self) -> list[ClassChange]:
        """The changes of class since this was asked last."""
        classes = self.learning.classes
        changes, classes.changed = classes.changed, []
        return changes

    def in_words(self, queue: Queue, cause: Cause | None) -> str:
        """Why the head of a queue is not placed."""
        most = self._quotas.max_running(queue.client)
        return wait_reasons.in_words(cause, queue, self.slots, self.outstanding, most)

    def _reclassify(self, keys: Iterable[Key]) -> None:
        slow = self.outstanding.slow
        expected = self.estimates.expected
        self.outstanding.reclassify({key: self.learning.speed(key, expected(key)) for key in keys})
        if self.outstanding.slow < slow:
            self._wake(lambda cause: cause.why == "reserve")

    def _divided(self) -> None:
        self.slots.divide(self._split.classes)
        self._wake_all()

    def _heed_recalled(self) -> None:
        self._recalled = False
        if self.learning.look():
            self._divided()
        self._look_anew()
        self._weigh_anew()

    def _look_anew(self) -> None:
        """All that waits and runs may have another class than it had."""
        self.waiting.reclassified(self.learning.length)
        self._reclassify(self.outstanding.keys())

    def _weigh_anew(self) -> None:
        """What was read back before workers and lengths were known was put back by guesses."""
        if self.slots.total and len(self.waiting.jobs) <= _WEIGHED_ANEW_MAX:
            for waiting in self.waiting.take_all():
                self._add(waiting.job, waiting.place)

    def _workers_changed(self, changes: WorkerChanges) -> None:
        had_slots = self.slots.total > 0
        for info in changes.gone:
            self.slots.remove(info.worker)
            self.learning.forget_worker(info.worker)
        if changes.gone:  # Who comes again under such a name is no straggler.
            self.slots.slow_down(self.learning.slowness)
        for info in changes.came:
            self.outstanding.connect(info)
        if not had_slots:
            self._weigh_anew()
        self._wake_all()

    def _place(self, queue: Queue, speed: Speed, expected_s: float) -> Lane | Cause:
        return self._placing.place(queue, speed, expected_s, len(self.waiting.jobs))

    def _index(self, key: Key) -> float:
        return self.learning.index(key, self.outstanding.of_key)

    def _is_over(self, hold: Hold) -> bool:
        """Whether it ended or came back before this older news: topics do not wait."""
        return self._past.has_ended(hold.job_id, hold.attempt) or hold.job_id in self.waiting.jobs

    def _add(self, job: JobReady, place: int, put_back_s: float | None = None) -> None:
        expected_s = self.estimates.expected(job.key)
        self.waiting.add(job, place, expected_s, self.slots.total, put_back_s)

    def _submit_rivals(self, job_id: JobId, cancelled: int | None = None) -> None:
        for job, place in self._rivals.take(job_id):
            if job.attempt == cancelled or not self.submit(job, place):
                self.superseded.append(place)

    def _settle(self, job_id: JobId) -> float | None:
        """It is placed no more; gives how far it had been put back, if it was placed here."""
        placed = self.outstanding.remove(job_id)
        if placed is None:
            return None
        lane = placed.lane
        if not self.estimates.is_known(placed.key):  # Perhaps it told nothing: the next one may.
            self.waiting.relearned(placed.key, other_length=False)
        slow = placed.speed == Speed.SLOW

        def concerned(cause: Cause) -> bool:
            if cause.why == "client":
                return cause.client == placed.client
            if cause.why == "reserve" and self._placing.slow_are_full:
                return slow
            return lane is None or lane.worker.can(cause.shape)

        self._wake(concerned)
        return placed.put_back_s

    def _wake_all(self) -> None:
        self._wake(lambda cause: not cause.client or not self._quotas.is_full(cause.client))

    def _wake(self, concerned: Callable[[Cause], bool]) -> None:
        for cause in self.waiting.causes():
            if concerned(cause):
                self.waiting.wake(cause)
