"""Owns schedules and the runs planned for them, unique by schedule and nominal time."""

import sqlite3
from collections.abc import Iterable, Sequence

import msgspec

from control.model.errors import NotFound
from control.model.pipelines import ScheduleSpec
from control.model.rows import Standing
from control.model.states import Role
from store.queries import Statements

_SQL = Statements("schedules")
_PLAN = _SQL.bulk("plan")


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """One schedule of a stored pipeline."""

    id: int
    pipeline: str
    spec: ScheduleSpec
    paused: bool
    planned_until_ms: int
    revision_id: int
    owner: Standing  # The pipeline's: its runs are theirs.
    next_due_ms: int | None = None
    next_nominal_ms: int | None = None

    @property
    def client(self) -> str:
        """The pipeline's owner."""
        return self.owner.client_id


class Upcoming(msgspec.Struct, frozen=True, kw_only=True):
    """One run that is planned."""

    due_ms: int
    schedule_id: int
    nominal_ms: int
    pipeline: str
    waiting: bool
    backfill: bool
    client: str  # The pipeline's owner.
    revision_id: int  # What it would run.


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """When a pipeline's planned runs are due, in order."""

    pipeline: str
    revision_id: int
    times_ms: list[int]


def sync(
    conn: sqlite3.Connection, pipeline: str, specs: Sequence[ScheduleSpec], *, now_ms: int
) -> None:
    """Make the schedules of a pipeline those of its new revision.

    One with the same cron, time zone, and input stays the same schedule, with its id.
    """
    present: dict[tuple[str, str, bytes], list[tuple[int, str, int]]] = {}
    for schedule_id, text, _paused, until_ms in conn.execute(_SQL["of_pipeline"], (pipeline,)):
        spec = msgspec.json.decode(text, type=ScheduleSpec)
        present.setdefault(_identity(spec), []).append((schedule_id, text, until_ms))
    for spec in specs:
        text = msgspec.json.encode(spec).decode()
        same = present.get(_identity(spec))
        if not same:
            (schedule_id,) = conn.execute(_SQL["next_id"]).fetchone()
            conn.execute(_SQL["insert"], (schedule_id, pipeline, text, now_ms, now_ms))
            continue
        schedule_id, before, until_ms = same.pop(0)
        if before != text:  # Planned anew by the new rules.
            conn.execute(_SQL["forget_planned"], (schedule_id, now_ms))
            until_ms = min(until_ms, now_ms)
            conn.execute(_SQL["update"], (text, until_ms, schedule_id))
    for left in present.values():
        for schedule_id, _, _ in left:
            conn.execute(_SQL["delete"], (schedule_id,))


def get(conn: sqlite3.Connection, schedule_id: int) -> Schedule:
    """One schedule; raises `NotFound`."""
    row = conn.execute(_SQL["get"], (schedule_id,)).fetchone()
    if row is None:
        message = f"there is no schedule {schedule_id}"
        raise NotFound(message)
    return _schedule(row)


def listing(
    conn: sqlite3.Connection,
    *,
    after: int,
    limit: int,
    pipeline: str | None = None,
    client: str | None = None,
) -> list[Schedule]:
    """Schedules by id; `client`: only of its pipelines."""
    rows = conn.execute(_SQL["list"], (after, pipeline, limit, client))
    return [_schedule(row) for row in rows]


def set_paused(
    conn: sqlite3.Connection, schedule_id: int, *, paused: bool, now_ms: int
) -> Schedule:
    """Pause or resume. A paused schedule plans nothing and has missed nothing when it resumes."""
    schedule = get(conn, schedule_id)
    if schedule.paused != paused:
        conn.execute(_SQL["forget_planned"], (schedule_id, 0))
        conn.execute(_SQL["set_paused"], (paused, now_ms, schedule_id))
    return get(conn, schedule_id)


def hold(conn: sqlite3.Connection, schedule_id: int) -> bool:
    """Unplan a schedule whose client may start nothing now. False: nothing was planned.

    It is planned again, by its rule `missed`, from the first time that it did not see to. What
    was asked for or waits stays, and wakes nobody up until then.
    """
    conn.execute(_SQL["plan_again_from"], (schedule_id,))
    gone = conn.execute(_SQL["unplan"], (schedule_id,)).rowcount
    return bool(gone + conn.execute(_SQL["wait_all"], (schedule_id,)).rowcount)


def hold_all(conn: sqlite3.Connection, client_id: str) -> None:
    """Unplan all schedules of a client's pipelines."""
    for (schedule_id,) in conn.execute(_SQL["of_client"], (client_id,)).fetchall():
        hold(conn, schedule_id)


def plan(
    conn: sqlite3.Connection,
    schedule_id: int,
    rows: Iterable[tuple[int, int]],
    *,
    backfill: bool = False,
) -> int:
    """Plan runs: nominal and due times. Those planned or started before are left alone."""
    values = [(schedule_id, nominal_ms, due_ms, backfill) for nominal_ms, due_ms in rows]
    return _PLAN.run(conn, values)


def planned_until(conn: sqlite3.Connection, schedule_id: int, until_ms: int) -> None:
    """Remember how far a schedule is planned."""
    conn.execute(_SQL["planned_until"], (until_ms, schedule_id))


def next_due_ms(conn: sqlite3.Connection) -> int | None:
    """When the next planned run is due, of those not told to wait."""
    due_ms: int | None = conn.execute(_SQL["next_due"]).fetchone()[0]
    return due_ms


def due_schedules(conn: sqlite3.Connection, now_ms: int) -> list[int]:
    """The schedules that have due runs."""
    return [row[0] for row in conn.execute(_SQL["due_schedules"], (now_ms,))]


def due(conn: sqlite3.Connection, schedule_id: int, now_ms: int) -> list[tuple[int, int, bool]]:
    """All due runs of a schedule: nominal time, due time, and whether late is on purpose."""
    rows = conn.execute(_SQL["due"], (schedule_id, now_ms))
    return [(nominal_ms, due_ms, bool(on_purpose)) for nominal_ms, due_ms, on_purpose in rows]


def told_to_wait(conn: sqlite3.Connection, schedule_id: int, nominal_ms: int) -> None:
    """Keep a due run until an earlier one has ended."""
    conn.execute(_SQL["wait"], (schedule_id, nominal_ms))


def remove(conn: sqlite3.Connection, schedule_id: int, nominal_ms: int) -> None:
    """A planned run was started, or skipped."""
    conn.execute(_SQL["remove"], (schedule_id, nominal_ms))


def active_runs(conn: sqlite3.Connection, schedule_id: int) -> list[int]:
    """The runs of a schedule that have not ended."""
    return [row[0] for row in conn.execute(_SQL["active_runs"], (schedule_id,))]


def upcoming(
    conn: sqlite3.Connection,
    *,
    until_ms: int,
    after: tuple[int, int, int],
    limit: int,
    client: str | None = None,
) -> list[Upcoming]:
    """Planned runs by due time; `after`: due time, schedule, and nominal time of the last seen.

    `client`: only of its pipelines.
    """
    return [
        Upcoming(
            due_ms=row[0],
            schedule_id=row[1],
            nominal_ms=row[2],
            pipeline=row[3],
            waiting=bool(row[4]),
            backfill=bool(row[5]),
            client=row[6],
            revision_id=row[7],
        )
        for row in conn.execute(_SQL["upcoming"], (until_ms, *after, limit, client))
    ]


def due_times(
    conn: sqlite3.Connection, *, until_ms: int, limit: int, client: str | None = None
) -> tuple[list[Due], int]:
    """When runs are due, by pipeline, and until when this is all: earlier after `limit` of them.

    `client`: only of its pipelines.
    """
    ids_text, times_text = conn.execute(_SQL["due_times"], (until_ms, limit)).fetchone()
    ids = msgspec.json.decode(ids_text, type=list[int])
    times = msgspec.json.decode(times_text, type=list[int])
    known: dict[int, Due] = {}
    by_pipeline: dict[str, Due] = {}
    wanted = msgspec.json.encode(sorted(set(ids))).decode()
    for schedule_id, pipeline, revision_id, owner in conn.execute(_SQL["planning"], (wanted,)):
        due = Due(pipeline=pipeline, revision_id=revision_id, times_ms=[])
        # What is another's is counted where nobody looks.
        known[schedule_id] = (
            by_pipeline.setdefault(pipeline, due) if client in {None, owner} else due
        )
    for schedule_id, at_ms in zip(ids, times, strict=True):
        known[schedule_id].times_ms.append(at_ms)
    return list(by_pipeline.values()), times[-1] if len(times) == limit else until_ms


def _identity(spec: ScheduleSpec) -> tuple[str, str, bytes]:
    return (spec.cron, spec.timezone, bytes(spec.input))


def _schedule(
    row: tuple[int, str, str, int, int, int, str, str | None, int | None, int | None, int | None],
) -> Schedule:
    role, enabled = row[7], row[8]
    return Schedule(
        id=row[0],
        pipeline=row[1],
        spec=msgspec.json.decode(row[2], type=ScheduleSpec),
        paused=bool(row[3]),
        planned_until_ms=row[4],
        revision_id=row[5],
        owner=Standing(
            client_id=row[6], role=None if role is None else Role(role), enabled=bool(enabled)
        ),
        next_due_ms=row[9],
        next_nominal_ms=row[10],
    )
