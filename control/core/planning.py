"""Decides when a schedule's runs are planned, and which of the due ones start.

The planner fills `scheduled_runs` with `plan`; the publisher empties it with `decide_due`.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

from control.core import cron
from control.model import limits
from control.model.pipelines import ScheduleSpec
from control.model.states import Missed, Overlap
from control.model.times import to_rfc3339

# A cron of seconds must not hold up the writer or the event loop: about 25 ms of planning.
ROWS_PER_PLAN_MAX: Final = 2_000
# With `overlap: queue` a schedule that is due faster than its runs end would queue for ever.
WAITING_MAX: Final = 1_000


class PlannedRun(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `scheduled_runs`: the nominal time, and when to start inside its window."""

    nominal_ms: int
    due_ms: int
    # Told to wait by an earlier `decide_due`: seen in time, so it is never counted as missed.
    waiting: bool = False


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The rows to add, and how far the schedule is planned once they are."""

    rows: tuple[PlannedRun, ...]
    planned_until_ms: int


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """Start a run for this nominal time."""

    nominal_ms: int


class Skip(msgspec.Struct, frozen=True, kw_only=True):
    """Remove the row without a run."""

    nominal_ms: int
    reason: str


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """Keep the row, marked as waiting, and ask again when a run of the schedule has ended."""

    nominal_ms: int
    reason: str


class Replace(msgspec.Struct, frozen=True, kw_only=True):
    """Cancel the schedule's active runs, then start one for this nominal time."""

    nominal_ms: int


Decision = Start | Skip | Wait | Replace


def offset_ms(schedule_id: int, nominal_ms: int, window_s: float) -> int:
    """Where inside [0, window) a run starts; the same in every process and after a restart."""
    window_ms = int(window_s * 1000)
    digest = hashlib.blake2b(f"{schedule_id}:{nominal_ms}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) * window_ms >> 64


def plan(schedule_id: int, spec: ScheduleSpec, *, planned_until_ms: int, now_ms: int) -> Plan:
    """The next rows, at most `ROWS_PER_PLAN_MAX`; call again until `rows` is empty.

    A schedule that is not enabled lets time pass: it will not have missed anything later.
    """
    horizon_ms = now_ms + limits.PLAN_AHEAD_MS
    start_ms = max(planned_until_ms, now_ms)
    if not spec.enabled:
        return Plan(rows=(), planned_until_ms=start_ms)
    past = _past(spec, after_ms=planned_until_ms, now_ms=now_ms)
    room = ROWS_PER_PLAN_MAX - len(past)
    future = cron.nominal_times(spec, after_ms=start_ms, until_ms=horizon_ms, limit=room)
    rows = tuple(
        PlannedRun(
            nominal_ms=nominal_ms,
            due_ms=nominal_ms + offset_ms(schedule_id, nominal_ms, spec.window),
        )
        for nominal_ms in (*past, *future)
    )
    reached_ms = future[-1] if len(future) == room else max(horizon_ms, start_ms)
    return Plan(rows=rows, planned_until_ms=reached_ms)


def idle_reason(spec: ScheduleSpec, *, paused: bool, bar: str | None) -> str | None:
    """Why a schedule starts nothing by itself; None: it does. `bar`: why its client may not."""
    if bar is not None:
        return bar
    if paused:
        return "it is paused"
    return None if spec.enabled else "its pipeline's file says `enabled: false`"


def decide_due(
    spec: ScheduleSpec,
    due: Sequence[PlannedRun],
    *,
    now_ms: int,
    late_after_ms: int,
    active: int,
) -> list[Decision]:
    """One decision for each due row, in order of due time.

    `due` has to hold all due rows of the schedule, or `missed: last` would keep the newest of
    each portion. `active` counts the schedule's runs that are not final. Whoever carries out a
    `Wait` marks the row as `waiting`: a row that grew old in the queue was not missed.
    """
    rows = sorted(due, key=lambda row: (row.due_ms, row.nominal_ms))
    missed = [row for row in rows if not row.waiting and row.due_ms < now_ms - late_after_ms]
    dropped = _dropped(spec.missed, missed)
    kept = [row for row in rows if row.nominal_ms not in dropped]
    decisions: dict[int, Decision] = {
        nominal_ms: Skip(nominal_ms=nominal_ms, reason=reason)
        for nominal_ms, reason in dropped.items()
    }
    for decision in _overlapping(spec.overlap, kept, active):
        decisions[decision.nominal_ms] = decision
    return [decisions[row.nominal_ms] for row in rows]


def _past(spec: ScheduleSpec, *, after_ms: int, now_ms: int) -> list[int]:
    """The nominal times to make up for that passed before they could be planned."""
    most = {Missed.NONE: 0, Missed.LAST: 1, Missed.ALL: limits.MISSED_ALL_MAX}[spec.missed]
    return cron.newest_nominal_times(spec, after_ms=after_ms, until_ms=now_ms, limit=most)


def _dropped(rule: Missed, missed: Sequence[PlannedRun]) -> dict[int, str]:
    """The reasons by nominal time of the missed rows that will not run."""
    if rule is Missed.ALL or not missed:
        return {}
    newest_ms = max(row.nominal_ms for row in missed)
    instead = f"the one of {to_rfc3339(newest_ms)} makes up for it"
    reasons = {}
    for row in missed:
        was_due = f"it was due at {to_rfc3339(row.due_ms)} and nothing could start it then"
        if rule is Missed.NONE:
            reasons[row.nominal_ms] = f"{was_due} (missed: none)"
        elif row.nominal_ms != newest_ms:
            reasons[row.nominal_ms] = f"{was_due}; {instead} (missed: last)"
    return reasons


def _overlapping(rule: Overlap, rows: Sequence[PlannedRun], active: int) -> list[Decision]:
    """What becomes of rows that are to run, beside the active runs and one another."""
    if not rows:
        return []
    if rule is Overlap.ALLOW:
        return [Start(nominal_ms=row.nominal_ms) for row in rows]
    if rule is Overlap.REPLACE:
        return _replacing(rows, active)
    head: list[Decision] = [] if active else [Start(nominal_ms=rows[0].nominal_ms)]
    rest = rows[len(head) :]
    if rule is Overlap.SKIP:
        reason = "an earlier run of this schedule has not ended (overlap: skip)"
        return head + [Skip(nominal_ms=row.nominal_ms, reason=reason) for row in rest]
    waiting = "an earlier run of this schedule has not ended (overlap: queue)"
    full = f"{WAITING_MAX} runs of this schedule already wait (overlap: queue)"
    return (
        head
        + [Wait(nominal_ms=row.nominal_ms, reason=waiting) for row in rest[:WAITING_MAX]]
        + [Skip(nominal_ms=row.nominal_ms, reason=full) for row in rest[WAITING_MAX:]]
    )


def _replacing(rows: Sequence[PlannedRun], active: int) -> list[Decision]:
    """Only the last may live; the others are not started just to be cancelled at once."""
    *older, last = rows
    reason = f"the run of {to_rfc3339(last.nominal_ms)} takes its place (overlap: replace)"
    decisions: list[Decision] = [Skip(nominal_ms=row.nominal_ms, reason=reason) for row in older]
    new = Replace if active else Start
    return [*decisions, new(nominal_ms=last.nominal_ms)]
