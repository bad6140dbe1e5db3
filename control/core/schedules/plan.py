"""Decides when a schedule's runs are planned, and which of the due ones start.

The planner fills `scheduled_runs` with `plan`; the publisher empties it with `decide_due`.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from control.core.schedules import cron
from control.model import limits
from control.model.pipelines import ScheduleSpec
from control.model.state_rows import Active, PlannedRun
from control.model.states import Missed, Overlap
from control.model.times import to_rfc3339

# With `overlap: queue` a schedule that is due faster than its runs end would queue for ever.
WAITING_MAX: Final = 1_000

_BACKFILL_RUNS: Final = "a run of a backfill has not ended"
_BACKFILL_WAITS: Final = "runs of a backfill start one after the other"


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
    """Keep the row, marked as waiting, until a run of the schedule has ended."""

    nominal_ms: int
    reason: str


class Replace(msgspec.Struct, frozen=True, kw_only=True):
    """Cancel the schedule's active planned runs, then start one for this nominal time."""

    nominal_ms: int


Decision = Start | Skip | Wait | Replace


def offset_ms(schedule_id: int, nominal_ms: int, window_s: float) -> int:
    """Where inside [0, window) a run starts; the same in every process and after a restart."""
    window_ms = int(window_s * 1000)
    digest = hashlib.blake2b(f"{schedule_id}:{nominal_ms}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) * window_ms >> 64


def plan(
    schedule_id: int, spec: ScheduleSpec, *, planned_until_ms: int, now_ms: int, ahead_ms: int
) -> Plan:
    """The next rows until `ahead_ms` from now, at most `limits.PLAN_ROWS_MAX` of them.

    Call again while the plan does not reach that far. What passed unplanned is made up for as
    `missed` says. A plan reaches to its next nominal time, though only by `limits.PLAN_SKIP_MS`:
    a schedule that fires once a week is not looked at each minute. A schedule that is not enabled
    lets time pass: it will not have missed anything later.
    """
    horizon_ms = now_ms + min(ahead_ms, _dense_ms(spec))
    skip_ms = horizon_ms + limits.PLAN_SKIP_MS
    if not spec.enabled:
        return Plan(rows=(), planned_until_ms=max(planned_until_ms, skip_ms))
    past = _past(schedule_id, spec, after_ms=planned_until_ms, now_ms=now_ms)[
        : limits.PLAN_ROWS_MAX
    ]
    room = limits.PLAN_ROWS_MAX - len(past)
    start_ms = max(planned_until_ms, now_ms)
    future = cron.nominal_times(spec, after_ms=start_ms, until_ms=horizon_ms, limit=room)
    rows = tuple(
        PlannedRun(
            nominal_ms=nominal_ms,
            due_ms=nominal_ms + offset_ms(schedule_id, nominal_ms, spec.window),
        )
        for nominal_ms in (*past, *future)
    )
    if len(rows) == limits.PLAN_ROWS_MAX:
        return Plan(rows=rows, planned_until_ms=rows[-1].nominal_ms)
    reached_ms = max(horizon_ms, start_ms)
    after = cron.nominal_times(spec, after_ms=reached_ms, until_ms=skip_ms, limit=1)
    reached_ms = max(after[0] - 1 if after else skip_ms, reached_ms)
    return Plan(rows=rows, planned_until_ms=reached_ms)


def match_schedules(
    before: Sequence[ScheduleSpec], after: Sequence[ScheduleSpec]
) -> list[int | None]:
    """Which schedule each one of a new revision was before; None: it is a new one.

    The same cron, time zone, and input are the same schedule. Of the others, those are edits of
    each other that differ least: a schedule that is paused must not run because it was edited.
    """
    matched: list[int | None] = [None] * len(after)
    left = dict(enumerate(before))
    for alike in _ALIKE:
        for at, spec in enumerate(after):
            if matched[at] is not None:
                continue
            found = next((was for was, old in left.items() if alike(old) == alike(spec)), None)
            if found is not None:
                matched[at] = found
                del left[found]
    return matched


def idle_reason(spec: ScheduleSpec, *, paused: bool, bar: str | None) -> str | None:
    """Why a schedule starts nothing by itself; None: it does. `bar`: why its client may not."""
    if bar is not None:
        return bar
    if paused:
        return "it is paused"
    return None if spec.enabled else "its pipeline's file says `enabled: false`"


def decide_due(
    spec: ScheduleSpec, due: Sequence[PlannedRun], *, now_ms: int, since_ms: int, active: Active
) -> list[Decision]:
    """One decision for each due row, in order of due time.

    `due` has to hold all due rows of the schedule, or `missed: last` would take the newest of
    each portion. `since_ms`: since when nothing has kept due runs from being started (the end of
    an outage). The publisher carries out a `Wait` and marks the row as `waiting`: a row that grew
    old in the queue was not missed.
    """
    rows = sorted(due, key=lambda row: (row.due_ms, row.nominal_ms))
    planned = [row for row in rows if not row.backfill]
    dropped = _dropped(spec, planned, now_ms, since_ms)
    stay = [row for row in planned if row.nominal_ms not in dropped]
    decisions: dict[int, Decision] = {
        nominal_ms: Skip(nominal_ms=nominal_ms, reason=reason)
        for nominal_ms, reason in dropped.items()
    }
    starting = _overlapping(spec.overlap, stay, active)
    # The oldest first, whenever it was asked for.
    asked_for = sorted((row for row in rows if row.backfill), key=lambda row: row.nominal_ms)
    starts = any(isinstance(decision, Start) for decision in starting)
    for decision in (*starting, *_backfilling(spec.overlap, asked_for, active, starts=starts)):
        decisions[decision.nominal_ms] = decision
    return [decisions[row.nominal_ms] for row in rows]


def depends_on_active(spec: ScheduleSpec, active: Active) -> bool:
    """Whether a due row would be lost, or a run be ended, because runs have not ended."""
    if spec.overlap is Overlap.SKIP:
        return bool(active.planned or active.asked)
    return spec.overlap is Overlap.REPLACE and bool(active.planned)


def _dense_ms(spec: ScheduleSpec) -> int:
    """How far ahead a plan of `limits.PLANNED_ROWS_MAX` rows reaches, at least."""
    return limits.PLANNED_ROWS_MAX * limits.DAY_MS // cron.times_a_day(spec)


def _past(schedule_id: int, spec: ScheduleSpec, *, after_ms: int, now_ms: int) -> list[int]:
    """The nominal times to make up for that passed before they could be planned."""
    if spec.missed is not Missed.NONE:
        most = 1 if spec.missed is Missed.LAST else limits.MISSED_ALL_MAX
        return cron.newest_nominal_times(spec, after_ms=after_ms, until_ms=now_ms, limit=most)
    reach_ms = limits.LATE_MAX_MS + round(spec.window * 1000)
    after_ms = max(after_ms, now_ms - reach_ms - 1)
    times = cron.nominal_times(
        spec, after_ms=after_ms, until_ms=now_ms, limit=limits.MISSED_ALL_MAX
    )
    return [
        at_ms
        for at_ms in times
        if now_ms - at_ms - offset_ms(schedule_id, at_ms, spec.window) <= _grace_ms(spec, at_ms)
    ]


def _dropped(
    spec: ScheduleSpec, rows: Sequence[PlannedRun], now_ms: int, since_ms: int
) -> dict[int, str]:
    """The reasons by nominal time of the missed rows that will not run."""
    fresh = [row for row in rows if not row.waiting]
    if spec.missed is Missed.ALL or not fresh:
        return {}
    missed = [row.nominal_ms for row in fresh if _is_missed(spec, row, now_ms, since_ms)]
    if spec.missed is Missed.NONE:
        reason = "nothing could start it when it was due (missed: none)"
        return dict.fromkeys(missed, reason)
    # The newest one, even if that is on time: it makes up for all that were missed before it.
    newest_ms = max(row.nominal_ms for row in fresh)
    reason = (
        "nothing could start it when it was due; the run of "
        f"{to_rfc3339(newest_ms)} makes up for it (missed: last)"
    )
    return {nominal_ms: reason for nominal_ms in missed if nominal_ms != newest_ms}


def _is_missed(spec: ScheduleSpec, row: PlannedRun, now_ms: int, since_ms: int) -> bool:
    """Being late is not being missed; being due in an outage is, unless it was nearly over."""
    if now_ms - row.due_ms > limits.LATE_MAX_MS:
        return True
    if row.due_ms >= since_ms:
        return False
    return since_ms - row.due_ms > _grace_ms(spec, row.nominal_ms)


def _grace_ms(spec: ScheduleSpec, nominal_ms: int) -> int:
    """By how much a run that was due in an outage may be late and was not missed."""
    until_ms = nominal_ms + limits.LATE_MAX_MS * limits.LATE_PART
    following = cron.nominal_times(spec, after_ms=nominal_ms, until_ms=until_ms, limit=1)
    return (following[0] - nominal_ms) // limits.LATE_PART if following else limits.LATE_MAX_MS


def _overlapping(rule: Overlap, rows: Sequence[PlannedRun], active: Active) -> list[Decision]:
    """What becomes of planned rows that are to run, beside the active runs and one another."""
    if not rows:
        return []
    if rule is Overlap.ALLOW:
        return [Start(nominal_ms=row.nominal_ms) for row in rows]
    if rule is Overlap.REPLACE:
        return _replacing(rows, active)
    if active.planned or active.asked:
        return _behind(rule, rows)
    if active.backfill:  # It delays what is planned, and takes nothing of it away.
        return [_wait(rows[0], _BACKFILL_RUNS), *_behind(rule, rows[1:])]
    return [Start(nominal_ms=rows[0].nominal_ms), *_behind(rule, rows[1:])]


def _behind(rule: Overlap, rows: Sequence[PlannedRun]) -> list[Decision]:
    """What becomes of rows that come after a run that has not ended."""
    reason = f"an earlier run of this schedule has not ended (overlap: {rule})"
    if rule is Overlap.SKIP:
        return [Skip(nominal_ms=row.nominal_ms, reason=reason) for row in rows]
    full = f"{WAITING_MAX} runs of this schedule already wait (overlap: queue)"
    return [
        *(_wait(row, reason) for row in rows[:WAITING_MAX]),
        *(Skip(nominal_ms=row.nominal_ms, reason=full) for row in rows[WAITING_MAX:]),
    ]


def _backfilling(
    rule: Overlap, rows: Sequence[PlannedRun], active: Active, *, starts: bool
) -> list[Decision]:
    """What becomes of rows that were asked for: all will run, mostly one after the other.

    They never take anything away from what is planned. `starts`: a planned run starts right now.
    """
    if rule is Overlap.ALLOW:
        return [Start(nominal_ms=row.nominal_ms) for row in rows]
    busy = bool(active.backfill)
    if rule is not Overlap.REPLACE:
        busy = busy or starts or bool(active.planned or active.asked)
    decisions: list[Decision] = [_wait(row, _BACKFILL_WAITS) for row in rows]
    if rows and not busy:
        decisions[0] = Start(nominal_ms=rows[0].nominal_ms)
    return decisions


def _replacing(rows: Sequence[PlannedRun], active: Active) -> list[Decision]:
    """Only the last may live; the others are not started just to be cancelled at once."""
    *older, last = rows
    reason = f"the run of {to_rfc3339(last.nominal_ms)} takes its place (overlap: replace)"
    decisions: list[Decision] = [Skip(nominal_ms=row.nominal_ms, reason=reason) for row in older]
    new = Replace if active.planned else Start
    return [*decisions, new(nominal_ms=last.nominal_ms)]


def _wait(row: PlannedRun, reason: str) -> Wait:
    return Wait(nominal_ms=row.nominal_ms, reason=reason)


# From alike in all that tells schedules apart to not at all.
_ALIKE: Final[Sequence[Callable[[ScheduleSpec], object]]] = (
    lambda spec: (spec.cron, spec.timezone, bytes(spec.input)),
    lambda spec: (spec.cron, bytes(spec.input)),
    lambda spec: (spec.cron, spec.timezone),
    lambda spec: spec.cron,
    lambda spec: (spec.timezone, bytes(spec.input)),
    lambda spec: bytes(spec.input),
    lambda _: None,
)
