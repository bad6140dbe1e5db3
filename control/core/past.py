"""Decides what is old news: topics do not wait for each other, and a bus may say a thing twice."""

from collections import OrderedDict
from typing import Final

from control.model import limits

_ENDED_MAX: Final = (
    50_000  # How many ends are remembered, against news that is older than they are.
)


class Past:
    """The attempts that ended lately, and those that were cancelled before they came."""

    def __init__(self) -> None:
        # By run and job, as an end that names another run is foreign: the last attempt that
        # ended, and the seconds by which its rank was lowered.
        self._ended: OrderedDict[tuple[int, int], tuple[int, float | None]] = OrderedDict()
        self._runs: dict[int, int] = {}  # By job: the run of its latest end.
        self._cancelled: OrderedDict[tuple[int, int], None] = OrderedDict()

    def ended(
        self, run_id: int, job_id: int, attempt: int, put_back_s: float | None = None
    ) -> None:
        """An attempt is over. The next one keeps its place in the order."""
        self._cancelled.pop((job_id, attempt), None)
        key = run_id, job_id
        known = self._ended.get(key)
        if known is not None and known[0] > attempt:
            return  # An older end, delivered again.
        if put_back_s is None and known is not None:
            put_back_s = known[1]
        self._ended[key] = (attempt, put_back_s)
        self._ended.move_to_end(key)
        self._runs[job_id] = run_id
        if len(self._ended) > _ENDED_MAX:
            (run_id, job_id), _ = self._ended.popitem(last=False)
            if self._runs.get(job_id) == run_id:
                del self._runs[job_id]

    def has_ended(self, job_id: int, attempt: int, run_id: int | None = None) -> bool:
        """Whether this attempt, or a later one, is over. `run_id` None: the run is not known."""
        if run_id is None:
            run_id = self._runs.get(job_id, 0)
        known = self._ended.get((run_id, job_id))
        return known is not None and attempt <= known[0]

    def put_back_s(self, run_id: int, job_id: int) -> float | None:
        """How far its last attempt had been put back; None: that is not known."""
        known = self._ended.get((run_id, job_id))
        return None if known is None else known[1]

    def cancel(self, job_id: int, attempt: int) -> None:
        """An attempt was cancelled that may be still to come."""
        self._cancelled[job_id, attempt] = None
        if len(self._cancelled) > limits.SUBSCRIPTION_RECORDS_MAX:
            self._cancelled.popitem(last=False)

    def was_cancelled(self, job_id: int, attempt: int) -> bool:
        """Whether it was; asked once, when it comes."""
        return self._cancelled.pop((job_id, attempt), self) is None
