"""Decides which job of a run is to be seen first: what failed, else what runs, waits, ended."""

from collections.abc import Iterable
from typing import Final

from control.model.api.views import JobView
from control.model.states import State

_ORDER: Final = (State.ERROR, State.IN_PROGRESS, State.READY, State.CANCELLED, State.DONE)


def worst(jobs: Iterable[JobView]) -> JobView | None:
    """The first that failed, else that has run longest, may run next, or has ended; None: none."""

    def rank(job: JobView) -> tuple[int, bool, str, int]:
        since = job.ready_at if job.state == State.READY else job.started_at
        return (_ORDER.index(job.state), since is None, since or "", job.id)

    return min(jobs, key=rank, default=None)
