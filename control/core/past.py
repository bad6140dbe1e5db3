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
        # Job to its last attempt that ended, how far it had been put back, and its run.
        self._ended: OrderedDict[int, tuple[int, float | None, int]] = OrderedDict()
        self._cancelled: OrderedDict[tuple[int, int], None] = OrderedDict()

    def ended(
        self, run_id: int, job_id: int, attempt: int, put_back_s: float | None = None
    ) -> None:
        """An attempt is over. The next one keeps its place in the order."""
        self._cancelled.pop((job_id, attempt), None)
        known = self._ended.get(job_id)
        if known is not None and known[0] > attempt and known[2] == run_id:
            return  # An older end, delivered again.
        if put_back_s is None and known is not None:
            put_back_s = known[1]
        self._ended[job_id] = (attempt, put_back_s, run_id)
        self._ended.move_to_end(job_id)
        if len(self._ended) > _ENDED_MAX:
            self._ended.popitem(last=False)

    def has_ended(self, job_id: int, attempt: int, run_id: int | None = None) -> bool:
        """Whether this attempt, or a later one, is over.

        `run_id`: the job's, where it is known. An end that names another run is foreign.
        """
        known = self._ended.get(job_id)
        return known is not None and attempt <= known[0] and run_id in {None, known[2]}

    def put_back_s(self, job_id: int) -> float | None:
        """How far its last attempt had been put back; None: that is not known."""
        known = self._ended.get(job_id)
        return None if known is None else known[1]

    def cancel(self, job_id: int, attempt: int) -> None:
        """An attempt was cancelled that may be still to come."""
        self._cancelled[job_id, attempt] = None
        if len(self._cancelled) > limits.SUBSCRIPTION_RECORDS_MAX:
            self._cancelled.popitem(last=False)

    def was_cancelled(self, job_id: int, attempt: int) -> bool:
        """Whether it was; asked once, when it comes."""
        return self._cancelled.pop((job_id, attempt), self) is None
