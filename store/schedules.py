"""Owns schedules and the runs planned for them, unique by schedule and nominal time."""

import sqlite3
from collections.abc import Iterable, Sequence

import msgspec

from control.model.errors import NotFound
from control.model.pipelines import ScheduleSpec
from control.model.state_rows import Active, ClientStanding, PlannedRun
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
    owner: ClientStanding  # The pipeline's: its runs are theirs.
    next_due_ms: int | None = None
    next_nominal_ms: int | None = None

    @property
    def client(self) -> str:
        """The pipeline's owner."""
        return self.owner.client_id


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule as it stood before its pipeline's new revision."""

    id: int
    spec: ScheduleSpec


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


class Sums(msgspec.Struct, frozen=True):
    """What a schedule has planned, in numbers. `shortest_ms`: between two nominal times."""

    runs: int = 0
    shortest_ms: int | None = None


class PlannedTimes(msgspec.Struct, frozen=True, kw_only=True):
    """When a pipeline's planned runs are due, in order."""

    pipeline: str
    revision_id: int
    times_ms: list[int]


def of_pipeline(conn: sqlite3.Connection, pipeline: str) -> list[Stored]:
    """The schedules of a pipeline, by id."""
    return [
        Stored(id=row[0], spec=msgspec.json.decode(row[1], type=ScheduleSpec))
        for row in conn.execute(_SQL["of_pipeline"], (pipeline,)).fetchall()
    ]


def add(conn: sqlite3.Connection, pipeline: str, spec: ScheduleSpec, *, now_ms: int) -> None:
    """A new schedule, of which nothing is planned yet."""
    (schedule_id,) = conn.execute(_SQL["next_id"]).fetchone()
    conn.execute(_SQL["insert"], (schedule_id, pipeline, _text(spec), now_ms, now_ms))


def change(conn: sqlite3.Connection, schedule_id: int, spec: ScheduleSpec, *, now_ms: int) -> None:
    """Other rules for a schedule: it is planned again by them from now on."""
    conn.execute(_SQL["forget_planned"], (schedule_id, now_ms))
    conn.execute(_SQL["update"], (_text(spec), now_ms, schedule_id))


def delete(conn: sqlite3.Connection, schedule_id: int) -> None:
    """A schedule goes, with all that it has planned."""
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
) -> tuple[Schedule, int]:
    """Pause or resume. A paused schedule plans nothing and has missed nothing when it resumes.

    Gives how many runs are dropped whose time had come: they waited.
    """
    schedule, dropped = get(conn, schedule_id), 0
    if schedule.paused != paused:
        if paused:
            dropped = drop_all(conn, schedule_id, now_ms=now_ms)
        conn.execute(_SQL["set_paused"], (paused, now_ms, schedule_id))
    return get(conn, schedule_id), dropped


def drop_all(conn: sqlite3.Connection, schedule_id: int, *, now_ms: int) -> int:
    """Forget all planned runs; gives of how many the time had come."""
    (dropped,) = conn.execute(_SQL["due_count"], (schedule_id, now_ms)).fetchone()
    conn.execute(_SQL["forget_all"], (schedule_id,))
    return int(dropped)


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


def count_missing(conn: sqlite3.Connection, schedule_id: int, nominals_ms: Sequence[int]) -> int:
    """Of how many of these times a run is neither planned nor was started."""
    (count,) = conn.execute(_SQL["count_missing"], (schedule_id, _json(nominals_ms))).fetchone()
    return int(count)


def planned_until(conn: sqlite3.Connection, schedule_id: int, until_ms: int) -> None:
    """Remember how far a schedule is planned."""
    conn.execute(_SQL["planned_until"], (until_ms, schedule_id))


def to_plan(
    conn: sqlite3.Connection, *, until_ms: int, after: tuple[int, int], limit: int
) -> list[Schedule]:
    """Schedules whose plan ends before that time, the shortest plan first.

    `after`: where the plan of the last seen ended, and its id.
    """
    return [_schedule(row) for row in conn.execute(_SQL["to_plan"], (until_ms, *after, limit))]


def plan_again(conn: sqlite3.Connection, *, from_ms: int, beyond_ms: int) -> int:
    """Forget the plans that reach beyond that time, from `from_ms` on; gives how many they were."""
    conn.execute(_SQL["unplan_beyond"], (from_ms, beyond_ms))
    return conn.execute(_SQL["plan_from"], (from_ms, beyond_ms)).rowcount


def next_due_ms(conn: sqlite3.Connection, after_ms: int = -1) -> int | None:
    """When the next planned run is due after that time, of those that do not wait."""
    due_ms: int | None = conn.execute(_SQL["next_due"], (after_ms,)).fetchone()[0]
    return due_ms


def due_schedules(conn: sqlite3.Connection, now_ms: int, *, waiting: bool) -> list[int]:
    """The schedules that have due runs, by id; with those whose runs wait for others to end."""
    found = {row[0] for row in conn.execute(_SQL["due_schedules"], (now_ms,))}
    if waiting:
        found.update(row[0] for row in conn.execute(_SQL["waiting_schedules"]))
    return sorted(found)


def due(
    conn: sqlite3.Connection, schedule_id: int, now_ms: int, limit: int = -1
) -> list[PlannedRun]:
    """The due runs of a schedule, and those that wait, by nominal time; -1: all of them."""
    return [
        PlannedRun(nominal_ms=row[0], due_ms=row[1], waiting=bool(row[2]), backfill=bool(row[3]))
        for row in conn.execute(_SQL["due"], (schedule_id, now_ms, limit))
    ]


def let_wait(conn: sqlite3.Connection, schedule_id: int, nominals_ms: Sequence[int]) -> None:
    """Let due runs wait until an earlier one has ended."""
    conn.execute(_SQL["wait"], (schedule_id, _json(nominals_ms)))


def remove(conn: sqlite3.Connection, schedule_id: int, nominals_ms: Sequence[int]) -> None:
    """Planned runs were started, or skipped."""
    conn.execute(_SQL["remove"], (schedule_id, _json(nominals_ms)))


def active_runs(conn: sqlite3.Connection, schedule_id: int) -> Active:
    """The runs of a schedule that have not ended."""
    planned: list[int] = []
    asked: list[int] = []
    backfill: list[int] = []
    for run_id, by_hand, of_backfill in conn.execute(_SQL["active_runs"], (schedule_id,)):
        (asked if by_hand else backfill if of_backfill else planned).append(run_id)
    return Active(planned=tuple(planned), asked=tuple(asked), backfill=tuple(backfill))


def note_backfill(conn: sqlite3.Connection, run_id: int) -> None:
    """This run was asked for by a backfill."""
    conn.execute(_SQL["backfill_run"], (run_id,))


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


def plan_sums(conn: sqlite3.Connection, ids: Sequence[int]) -> dict[int, Sums]:
    """What these schedules have planned, in numbers."""
    return {row[0]: Sums(*row[1:]) for row in conn.execute(_SQL["plan_sums"], (_json(ids),))}


def plan_next(
    conn: sqlite3.Connection, ids: Sequence[int], limit: int
) -> dict[int, list[PlannedRun]]:
    """The next planned runs of each of these schedules."""
    found: dict[int, list[PlannedRun]] = {}
    for row in conn.execute(_SQL["plan_next"], (_json(ids), limit)):
        run = PlannedRun(
            nominal_ms=row[1], due_ms=row[2], waiting=bool(row[3]), backfill=bool(row[4])
        )
        found.setdefault(row[0], []).append(run)
    return found


def plan_stretches(
    conn: sqlite3.Connection, ids: Sequence[int], *, now_ms: int, until_ms: int, bucket_ms: int
) -> dict[int, list[tuple[int, int]]]:
    """For each stretch of `bucket_ms` when its first run is due, and how many are, by schedule."""
    found: dict[int, list[tuple[int, int]]] = {}
    rows = conn.execute(_SQL["plan_stretches"], (_json(ids), now_ms, until_ms, bucket_ms))
    for schedule_id, first_ms, runs in rows:
        found.setdefault(schedule_id, []).append((first_ms, runs))
    return found


def due_times(
    conn: sqlite3.Connection, *, until_ms: int, limit: int, client: str | None = None
) -> tuple[list[PlannedTimes], int]:
    """When runs are due, by pipeline, and until when this is all: earlier after `limit` of them.

    `client`: only of its pipelines.
    """
    ids_text, times_text = conn.execute(_SQL["due_times"], (until_ms, limit)).fetchone()
    ids = msgspec.json.decode(ids_text, type=list[int])
    times = msgspec.json.decode(times_text, type=list[int])
    known: dict[int, PlannedTimes] = {}
    by_pipeline: dict[str, PlannedTimes] = {}
    wanted = msgspec.json.encode(sorted(set(ids))).decode()
    for schedule_id, pipeline, revision_id, owner in conn.execute(_SQL["planning"], (wanted,)):
        due = PlannedTimes(pipeline=pipeline, revision_id=revision_id, times_ms=[])
        # What is another's is counted where nobody looks.
        known[schedule_id] = (
            by_pipeline.setdefault(pipeline, due) if client in {None, owner} else due
        )
    for schedule_id, at_ms in zip(ids, times, strict=True):
        known[schedule_id].times_ms.append(at_ms)
    return list(by_pipeline.values()), times[-1] if len(times) == limit else until_ms


def _text(spec: ScheduleSpec) -> str:
    return msgspec.json.encode(spec).decode()


def _json(numbers: Sequence[int]) -> str:
    return msgspec.json.encode(numbers).decode()


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
        owner=ClientStanding(
            client_id=row[6], role=None if role is None else Role(role), enabled=bool(enabled)
        ),
        next_due_ms=row[9],
        next_nominal_ms=row[10],
    )
