"""Owns what workers have been given, and how workers and their jobs are shown."""

from collections.abc import Iterable

import msgspec

from control.model.fleet import RunningView, WorkerView
from control.model.messages import WorkerUp
from control.model.times import to_rfc3339


class Given(msgspec.Struct):
    """A job that a worker has been given."""

    job_id: int
    attempt: int
    worker: str
    partition: int | None
    pipeline: str
    name: str
    expected: float
    run_id: int | None = None
    started_ms: int | None = None
    tried: int = 0  # Which try this is, and of how many; 0: not known since a restart.
    tries: int = 0


class Lost(msgspec.Struct, frozen=True):
    """A worker that is gone."""

    info: WorkerUp
    reason: str
    at_ms: int


def show_worker(
    info: WorkerUp, given: Iterable[Given], silent_since_ms: int | None, lost: Lost | None = None
) -> WorkerView:
    """A worker as it is shown."""
    return WorkerView(
        id=info.worker,
        host=info.host,
        dispatcher=info.dispatcher,
        state="lost" if lost else "draining" if info.draining else "connected",
        reason=lost.reason if lost else info.sick,
        slots=info.slots,
        labels=info.labels,
        kinds=dict(info.kinds),
        partitions=info.partitions,
        running=[show_given(each) for each in given],
        connected_at=to_rfc3339(info.connected_ms),
        silent_since=None if silent_since_ms is None else to_rfc3339(silent_since_ms),
        lost_at=to_rfc3339(lost.at_ms) if lost else None,
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
        started_at=None if given.started_ms is None else to_rfc3339(given.started_ms),
    )
