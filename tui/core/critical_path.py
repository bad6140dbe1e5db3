"""Decides which chain of jobs determines when a run ends."""

from collections.abc import Sequence

from control.model.api.views import JobView
from control.model.numbers import JobId
from tui.core.timestamps import instant


def critical_path(jobs: Sequence[JobView], stages: Sequence[str]) -> list[JobId]:
    """The ids of that chain's jobs, first to last; `stages`: in running order.

    It is walked from its end: the job that keeps the run from ending (the oldest that is under
    way, or else the last that ended), then the job of an earlier stage whose end released it.
    """
    place = {name: at for at, name in enumerate(stages)}
    known = [job for job in jobs if job.stage in place and instant(job.ready_at) is not None]
    ended = sorted(
        (job for job in known if job.started_at and instant(job.finished_at) is not None),
        key=lambda job: (instant(job.finished_at) or 0, job.id),
        reverse=True,
    )
    open_ = [job for job in known if job.finished_at is None]
    if open_:
        job = min(open_, key=lambda each: (instant(each.ready_at) or 0, each.id))
    elif ended:
        job = ended[0]
    else:
        return []
    path = [job.id]
    for earlier in ended:  # Whatever released an earlier job ended before it, so one pass will do.
        ready_ms, finished_ms = instant(job.ready_at), instant(earlier.finished_at)
        if ready_ms is None or finished_ms is None:
            continue
        if place[earlier.stage] < place[job.stage] and finished_ms <= ready_ms:
            job = earlier
            path.append(job.id)
    return path[::-1]
