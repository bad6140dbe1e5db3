"""Decides what becomes of two jobs with one id: a record of another installation may name ours.

Only the state knows which of them is foreign, and the trigger refuses that one's end. So both are
executed, one after the other, and neither is taken for the other.
"""

from collections import defaultdict

from control.core.balancer.dedup import owner_of
from control.core.balancer.in_flight import InFlightJob
from control.core.balancer.job_queue import WaitingJob
from control.model.bus.messages import JobReady
from control.model.numbers import JobId


class Rivals:
    """The jobs whose id another job has, until that one has ended. With their places."""

    def __init__(self) -> None:
        self._held: defaultdict[int, list[tuple[JobReady, int]]] = defaultdict(list)

    def hold(
        self, job: JobReady, place: int, waiting: WaitingJob | None, placed: InFlightJob | None
    ) -> bool:
        """Hold the job back if its id is another one's, by what waits and what is placed."""
        owner = owner_of(waiting.job) if waiting is not None else placed and placed.owner
        if owner in {None, owner_of(job)}:
            return False
        self._held[job.job_id].append((job, place))
        return True

    def take(self, job_id: JobId) -> list[tuple[JobReady, int]]:
        """Those with this id, which may be submitted now."""
        return self._held.pop(job_id, [])
