"""Owns what workers have been given, and how workers and their jobs are shown."""

from collections.abc import Iterable
from typing import Literal

import msgspec

from control.model.api.fleet import RunningView, WorkerView
from control.model.bus.messages import WorkerUp
from control.model.numbers import JobId, RunId
from control.model.times import to_rfc3339, to_rfc3339_or_none


class Given(msgspec.Struct):
    """A job that a worker has been given."""

    job_id: JobId
    attempt: int
    worker: str
    partition: int | None
    pipeline: str
    name: str
    expected: float
    run_id: RunId | None = None
    started_ms: int | None = None
    tried: int = 0  # Which try this is, and of how many; 0: not known since a restart.
    tries: int = 0
    returned: int = 0  # How often the attempt had come back before.


class Gone(msgspec.Struct, frozen=True):
    """A worker that is gone. `drained`: as it was asked to, else it is missed."""

    info: WorkerUp
    reason: str
    at_ms: int
    drained: bool

    @property
    def state(self) -> Literal["drained", "lost"]:
        """As it is shown."""
        return "drained" if self.drained else "lost"


def show_worker(
    info: WorkerUp, given: Iterable[Given], silent_since_ms: int | None, gone: Gone | None = None
) -> WorkerView:
    """A worker as it is shown."""
    return WorkerView(
        id=info.worker,
        host=info.host,
        dispatcher=info.dispatcher,
        state=gone.state if gone else "draining" if info.draining else "connected",
        reason=gone.reason if gone else info.sick,
        slots=info.slots,
        labels=info.labels,
        kinds=dict(info.kinds),
        partitions=info.partitions,
        running=[show_given(each) for each in given],
        connected_at=to_rfc3339(info.connected_ms),
        silent_since=to_rfc3339_or_none(silent_since_ms),
        lost_at=to_rfc3339(gone.at_ms) if gone and not gone.drained else None,
        drained_at=to_rfc3339(gone.at_ms) if gone and gone.drained else None,
        isolation=info.isolation,
        sick=info.sick or None,
    )


def show_given(given: Given) -> RunningView:
    """A job as it is shown with its worker or partition."""
    return RunningView(
        job_id=given.job_id,
        run_id=given.run_id,
        attempt=given.attempt,
        pipeline=given.pipeline,
        name=given.name,
        worker=given.worker,
        partition=given.partition,
        expected=given.expected,
        started_at=to_rfc3339_or_none(given.started_ms),
    )
