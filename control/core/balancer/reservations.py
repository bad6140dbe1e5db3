"""Decides which worker's lane each placed job holds, as workers come, change, and go."""

from collections.abc import Callable, Iterable

from control.core.balancer.in_flight import Outstanding, Placed
from control.core.balancer.slots import WINDOW_S, Lane, Slots
from control.model.bus.messages import Hold, WorkerUp


class Fleet:
    """Keeps slots and what is outstanding in step. `is_over`: whether a hold is old news."""

    def __init__(
        self, slots: Slots, outstanding: Outstanding, is_over: Callable[[Hold], bool]
    ) -> None:
        self._slots = slots
        self._outstanding = outstanding
        self._is_over = is_over

    def hold(self, job_id: int, placed: Placed) -> None:
        """A job is placed, in a lane if one is known."""
        self._outstanding.add(job_id, placed)
        if placed.lane is not None:
            self._slots.take(placed.lane, placed.expected_s)

    def settle(self, job_id: int) -> Placed | None:
        """It is placed no more; None: it was not."""
        placed = self._outstanding.remove(job_id)
        if placed is not None and placed.lane is not None:
            self._slots.give(placed.lane, placed.expected_s)
        return placed

    def connect(self, info: WorkerUp) -> None:
        """A worker connected or changed; what it holds counts as placed with it."""
        self._slots.remove(info.worker)
        worker = self._slots.add(info)
        first = next(iter(worker.lanes.values()), None)
        for job_id in self._outstanding.of_worker(info.worker):
            known = self._outstanding.jobs[job_id]
            assert known.lane is not None
            self._move(job_id, worker.lanes.get(known.lane.partition, first))
        for hold in info.holds:
            if self._is_over(hold):
                continue
            held = self._outstanding.jobs.get(hold.job_id)
            if held is None:
                self._hold_on(hold, worker.emptiest())
            elif held.lane is None:
                self._move(hold.job_id, worker.emptiest())

    def adrift(self, hold: Hold) -> None:
        """A dispatcher keeps a job for a worker that is not there."""
        if hold.job_id not in self._outstanding.jobs and not self._is_over(hold):
            self._hold_on(hold, None)

    def overran(self, name: str, job_ids: Iterable[int]) -> None:
        """These jobs of a worker take far longer than expected: each holds its slot to its end."""
        worker = self._slots.workers.get(name)
        for job_id in job_ids:
            known = self._outstanding.jobs.get(job_id)
            if worker is None or known is None or known.expected_s > WINDOW_S:
                continue
            if known.lane is not None and known.lane.worker is worker:
                self._slots.overran(worker, known.expected_s)
                self._outstanding.overran(job_id)

    def _move(self, job_id: int, lane: Lane | None) -> None:
        self._outstanding.move(job_id, lane)
        if lane is not None:
            self._slots.take(lane, self._outstanding.jobs[job_id].expected_s)

    def _hold_on(self, hold: Hold, lane: Lane | None) -> None:
        placed = Placed(
            hold.attempt,
            (hold.pipeline, hold.name),
            hold.client,
            hold.speed,
            hold.expected,
            lane,
            hold.started_ms or 0,
        )
        self.hold(hold.job_id, placed)
