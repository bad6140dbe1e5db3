"""Decides which reason is shown of jobs that may run and do not: the balancer's, of the first few.

The state has only that they wait for a slot; the balancer knows whether there can be one.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from control.api.ports import Balancing
from control.core.runs.advance import WAITS
from control.model.api.views import JobView
from control.model.errors import BalancerSilent
from control.model.states import State
from control.model.times import from_rfc3339

_ASKED_MAX: Final = 5  # Jobs of one answer: the balancer looks for a job's rank each time.


async def with_reasons(balancing: Balancing, jobs: Sequence[JobView], now_ms: int) -> list[JobView]:
    """These jobs, the first few that may run with the balancer's reason in place of the state's."""
    shown: list[JobView] = []
    asked = 0
    for job in jobs:
        if asked < _ASKED_MAX and _may_run(job, now_ms):
            asked += 1
            try:
                waits = await balancing.waits(job.id)
            except BalancerSilent:
                return list(jobs)
            if waits is not None:
                reason = job.reason.removesuffix(WAITS) + waits.why
                job = msgspec.structs.replace(job, reason=reason)  # noqa: PLW2901 - as it is shown.
        shown.append(job)
    return shown


def _may_run(job: JobView, now_ms: int) -> bool:
    return (
        job.state == State.READY
        and job.ready_at is not None
        and from_rfc3339(job.ready_at) <= now_ms
        and job.reason.endswith(WAITS)
    )
