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
        self._ended: OrderedDict[int, int] = OrderedDict()  # Job to its last attempt that ended.
        self._cancelled: OrderedDict[tuple[int, int], None] = OrderedDict()

    def ended(self, job_id: int, attempt: int) -> None:
        """An attempt is over."""
        self._cancelled.pop((job_id, attempt), None)
        self._ended[job_id] = attempt
        self._ended.move_to_end(job_id)
        if len(self._ended) > _ENDED_MAX:
            self._ended.popitem(last=False)

    def has_ended(self, job_id: int, attempt: int) -> bool:
        """Whether this attempt, or a later one, is over."""
        return attempt <= self._ended.get(job_id, 0)

    def cancel(self, job_id: int, attempt: int) -> None:
        """An attempt was cancelled that may be still to come."""
        self._cancelled[job_id, attempt] = None
        if len(self._cancelled) > limits.SUBSCRIPTION_RECORDS_MAX:
            self._cancelled.popitem(last=False)

    def was_cancelled(self, job_id: int, attempt: int) -> bool:
        """Whether it was; asked once, when it comes."""
        return self._cancelled.pop((job_id, attempt), self) is None
