"""Plays a workload with the real balancer in virtual time: what would have waited, and how long.

The events of a farm (`core/simulation/workload.py`) become the balancer's own messages. A worker
runs what it has been sent in the order in which it came; what waits there behind a job that
overruns is handed back, as dispatchers do. What a lost worker had comes again after the
farm's grace.
"""

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Final

from control.core.balancer.balancer import Balancer
from control.core.balancer.estimates import Estimates
from control.core.balancer.policy import Assignment, Policy
from control.core.balancer.slots import WINDOW_S
from control.core.fleet.partition_classes import slot_partitions
from control.core.simulation.workload import Farm, Played, PlayedJob, WorkerFault
from control.model import limits
from control.model.bus.messages import Finished, JobReady, WorkerUp
from control.model.states import Outcome

_KIND: Final = "Any"
_VERSION: Final = "1"
_DISPATCHER: Final = "dispatcher"


class _SimulatedWorker:
    """A worker's slots. `era`: counts its lives, so that what an earlier one began ends nowhere."""

    __slots__ = ("era", "free", "has", "info", "name", "queue", "slowness", "there")

    def __init__(self, info: WorkerUp) -> None:
        self.info = info
        self.name = info.worker
        self.free = info.slots
        self.queue: deque[Assignment] = deque()
        self.has: dict[int, Assignment] = {}  # Placed with it and not told of as ended.
        self.slowness = 1.0
        self.there = True
        self.era = 0


def play(
    jobs: Sequence[PlayedJob], farm: Farm, policy: Policy, estimates: Estimates | None = None
) -> Played:
    """What becomes of these jobs; `estimates`: what is known of their durations before."""
    return _Player(jobs, farm, policy, estimates).play()


class _Player:
    def __init__(
        self,
        jobs: Sequence[PlayedJob],
        farm: Farm,
        policy: Policy,
        estimates: Estimates | None,
    ) -> None:
        self._jobs = jobs
        self._farm = farm
        self._balancer = Balancer(policy, estimates)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._now = 0.0
        nothing = [0.0] * len(jobs)
        self._played = Played(ready=[*nothing], started=[*nothing], ended=[*nothing])
        self._lost_s = 0.0
        self._told_something = False  # To the balancer, since it assigned.
        self._followers: dict[int, list[int]] = {}
        for place, job in enumerate(jobs):
            if job.after is not None:
                self._followers.setdefault(job.after, []).append(place)
        self._workers = self._connect()

    def _connect(self) -> dict[str, _SimulatedWorker]:
        classes = self._balancer.classes
        taken = [0] * len(classes)
        workers = {}
        for number, slots in enumerate(self._farm.slots):
            partitions = slot_partitions(taken, slots, classes)
            for partition in partitions:
                taken[partition] += 1
            info = WorkerUp(
                worker=f"worker-{number}",
                dispatcher=_DISPATCHER,
                host="farm",
                slots=slots,
                labels=(),
                kinds=((_KIND, (_VERSION,)),),
                partitions=tuple(partitions),
                draining=False,
                connected_ms=0,
            )
            workers[info.worker] = _SimulatedWorker(info)
            self._balancer.worker_up(info)
        return workers

    def play(self) -> Played:
        """Run until nothing is left to happen."""
        jobs, events, balancer = self._jobs, self._events, self._balancer
        for fault in self._farm.faults:
            self._at(fault.at_s, partial(self._fault, fault))
        first = sorted(
            (place for place, job in enumerate(jobs) if job.after is None),
            key=lambda place: jobs[place].at_s,
        )
        arriving = 0
        while arriving < len(first) or events:
            at = jobs[first[arriving]].at_s if arriving < len(first) else float("inf")
            if events and events[0][0] < at:
                at = events[0][0]
            self._now = at
            while arriving < len(first) and jobs[first[arriving]].at_s <= at:
                self._ready(first[arriving], 1)
                arriving += 1
            while events and events[0][0] <= at:
                heapq.heappop(events)[2]()
            if not self._told_something:
                continue
            self._told_something = False
            for made in balancer.assign(round(at * 1000), len(jobs)):
                worker = self._workers[made.worker]
                worker.has[made.job.job_id] = made
                self._at(at + self._farm.delay_s, partial(self._arrive, made, worker.era))
        played = self._played
        return Played(
            ready=played.ready, started=played.started, ended=played.ended, lost_s=self._lost_s
        )

    def _at(self, at_s: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (at_s, next(self._order), happen))

    # At the control plane.

    def _ready(self, place: int, attempt: int) -> None:
        job = self._jobs[place]
        if attempt == 1:
            self._played.ready[place] = self._now
        message = JobReady(
            run_id=job.run,
            job_id=place,
            attempt=attempt,
            pipeline=job.pipeline,
            name=job.name,
            stage="",
            client=job.client,
            kind=_KIND,
            version=_VERSION,
            order=job.order,
            created_ms=round(job.arrival_s * 1000),
            ready_ms=round(self._now * 1000),
            stages_left=job.stages_left,
        )
        self._balancer.submit(message, place)
        self._told_something = True

    def _told(self, made: Assignment, era: int, seconds: float, outcome: Outcome) -> None:
        """The news of an end have come."""
        worker, job = self._workers[made.worker], made.job
        if era != worker.era:
            return
        del worker.has[job.job_id]
        self._finished(made, seconds, outcome)
        if outcome != Outcome.LOST:
            for place in self._followers.get(job.job_id, ()):
                self._ready(place, 1)

    def _finished(self, made: Assignment, seconds: float, outcome: Outcome) -> None:
        job, now_ms = made.job, round(self._now * 1000)
        message = Finished(
            **job.identity(),
            worker=made.worker,
            partition=made.partition,
            speed=made.speed,
            outcome=outcome,
            final=outcome != Outcome.LOST,
            expected=made.expected_s,
            ready_ms=job.ready_ms,
            started_ms=None,
            finished_ms=now_ms,
            wait_seconds=0.0,
            duration_seconds=seconds,
        )
        self._balancer.finished(message, now_ms)
        self._told_something = True

    def _mourn(self, name: str, era: int) -> None:
        """The worker has been away for too long: what it had is given to others."""
        worker = self._workers[name]
        if era != worker.era:
            return
        self._give_up(worker)
        self._balancer.worker_down(name, _DISPATCHER)
        self._told_something = True

    def _give_up(self, worker: _SimulatedWorker) -> None:
        lost, worker.has = list(worker.has.values()), {}
        for made in lost:
            self._finished(made, 0.0, Outcome.LOST)
            self._ready(made.job.job_id, made.job.attempt + 1)

    # At the workers.

    def _arrive(self, made: Assignment, era: int) -> None:
        worker = self._workers[made.worker]
        if era != worker.era or not worker.there:
            return
        if worker.free:
            self._start(worker, made)
        else:
            worker.queue.append(made)

    def _start(self, worker: _SimulatedWorker, made: Assignment) -> None:
        worker.free -= 1
        place = made.job.job_id
        job = self._jobs[place]
        self._played.started[place] = self._now
        seconds = job.seconds * worker.slowness
        self._at(self._now + seconds, partial(self._end, worker, made, worker.era, seconds))
        if made.expected_s <= WINDOW_S and seconds > limits.OVERRUN_S:
            self._at(self._now + limits.OVERRUN_S, partial(self._overrun, worker, made, worker.era))

    def _end(self, worker: _SimulatedWorker, made: Assignment, era: int, seconds: float) -> None:
        if era != worker.era or not worker.there:
            return
        place = made.job.job_id
        self._played.ended[place] = self._now
        outcome = Outcome.FAILED if self._jobs[place].fails else Outcome.DONE
        self._at(self._now + self._farm.delay_s, partial(self._told, made, era, seconds, outcome))
        worker.free += 1
        if worker.queue:
            self._start(worker, worker.queue.popleft())

    def _overrun(self, worker: _SimulatedWorker, made: Assignment, era: int) -> None:
        if era != worker.era or not worker.there:
            return
        self._balancer.overran(worker.name, (made.job.job_id,))
        self._told_something = True
        while worker.queue:  # It was sent ahead of a slot that does not come free.
            back = worker.queue.popleft()
            del worker.has[back.job.job_id]
            self._balancer.submit(back.job, back.place)

    def _fault(self, fault: WorkerFault) -> None:
        worker = self._workers[f"worker-{fault.worker}"]
        if fault.slowness is not None:
            worker.slowness = fault.slowness
            if not worker.there:
                self._give_up(worker)
                worker.there, worker.free = True, worker.info.slots
                worker.era += 1
                self._balancer.worker_up(worker.info)
                self._told_something = True
        elif worker.there:
            for made in worker.has.values():
                began = self._played.started[made.job.job_id]
                if made not in worker.queue and began:
                    self._lost_s += self._now - began
            worker.there = False
            worker.queue.clear()
            self._at(self._now + self._farm.grace_s, partial(self._mourn, worker.name, worker.era))
