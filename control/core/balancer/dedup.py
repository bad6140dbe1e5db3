"""Decides what is old news: topics do not wait for each other, and a bus may say a thing twice."""

from collections import OrderedDict
from typing import Final

from control.model import limits
from control.model.bus.messages import Finished, JobReady
from control.model.numbers import JobId

# Whose a job is: its run, pipeline, and name. An id alone may be another installation's job's, too.
Owner = tuple[int, str, str]

_ENDED_MAX: Final = (
    50_000  # How many ends are remembered, against news that is older than they are.
)


def owner_of(message: JobReady | Finished) -> Owner:
    """Whose job the message is about."""
    return (message.run_id, message.pipeline, message.name)


class Past:
    """The attempts that ended lately, and those that were cancelled before they came."""

    def __init__(self) -> None:
        # By job, with its owner: the last attempt that ended, and the seconds by which its rank
        # was lowered.
        self._ended: OrderedDict[tuple[JobId, Owner], tuple[int, float | None]] = OrderedDict()
        self._owners: dict[JobId, Owner] = {}  # By job: whose its latest end is.
        self._cancelled: OrderedDict[tuple[JobId, int], None] = OrderedDict()

    def ended(
        self, owner: Owner, job_id: JobId, attempt: int, put_back_s: float | None = None
    ) -> None:
        """An attempt is over. The next one keeps its place in the order."""
        self._cancelled.pop((job_id, attempt), None)
        key = job_id, owner
        known = self._ended.get(key)
        if known is not None and known[0] > attempt:
            return  # An older end, delivered again.
        if put_back_s is None and known is not None:
            put_back_s = known[1]
        self._ended[key] = (attempt, put_back_s)
        self._ended.move_to_end(key)
        self._owners[job_id] = owner
        if len(self._ended) > _ENDED_MAX:
            (job_id, owner), _ = self._ended.popitem(last=False)
            if self._owners.get(job_id) == owner:
                del self._owners[job_id]

    def has_ended(self, job_id: JobId, attempt: int, owner: Owner | None = None) -> bool:
        """Whether this attempt, or a later one, is over. `owner` None: that is not known."""
        if owner is None:
            owner = self._owners.get(job_id)
        known = None if owner is None else self._ended.get((job_id, owner))
        return known is not None and attempt <= known[0]

    def put_back_s(self, owner: Owner, job_id: JobId) -> float | None:
        """How far its last attempt had been put back; None: that is not known."""
        known = self._ended.get((job_id, owner))
        return None if known is None else known[1]

    def cancel(self, job_id: JobId, attempt: int) -> None:
        """An attempt was cancelled that may be still to come."""
        self._cancelled[job_id, attempt] = None
        if len(self._cancelled) > limits.SUBSCRIPTION_RECORDS_MAX:
            self._cancelled.popitem(last=False)

    def was_cancelled(self, job_id: JobId, attempt: int) -> bool:
        """Whether it was; asked once, when it comes."""
        return self._cancelled.pop((job_id, attempt), self) is None
