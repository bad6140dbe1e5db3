"""Owns the transaction that makes a pipeline's schedules those of its new revision."""

from collections.abc import Sequence

from control.core.schedules.plan import match_schedules
from control.model.pipelines import ScheduleSpec
from store import schedules
from store.database.connection import Connection


def sync(conn: Connection, pipeline: str, specs: Sequence[ScheduleSpec], *, now_ms: int) -> int:
    """Store the schedules of a pipeline. One that was edited stays the same one, paused if it was.

    Gives how many runs are dropped whose time had come: they waited, and their schedule is gone
    or disabled now.
    """
    present = schedules.of_pipeline(conn, pipeline)
    matched = match_schedules([stored.spec for stored in present], specs)
    dropped = 0
    for spec, at in zip(specs, matched, strict=True):
        if at is None:
            schedules.add(conn, pipeline, spec, now_ms=now_ms)
            continue
        stored = present[at]
        if stored.spec == spec:
            continue
        if not spec.enabled:
            dropped += schedules.drop_all(conn, stored.id, now_ms=now_ms)
        schedules.change(conn, stored.id, spec, now_ms=now_ms)
    for at, stored in enumerate(present):
        if at not in matched:
            dropped += schedules.drop_all(conn, stored.id, now_ms=now_ms)
            schedules.delete(conn, stored.id)
    return dropped
