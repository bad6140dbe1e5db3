"""Holds what is shown of runs and jobs to what is stored, and removal to leaving nothing."""

from pathlib import Path

import pytest
import trio

from control.core.offsets import OffsetTracker
from control.model.errors import Conflict, NotFound, StoreFailed
from control.model.states import State
from control.model.times import to_rfc3339
from store import doctor, views
from store.database.reader import Reader
from store.retention import delete_run, prune
from store.revision_cache import Outlines
from store.views import RunFilter, Views
from tests.store.world import NOW_MS, World, pipeline

SHOWN = Views(Outlines())


def ids(world: World, wanted: RunFilter, below: int | None = None, limit: int = 50) -> list[int]:
    return [run.id for run in SHOWN.runs(world.conn, wanted, below=below, limit=limit)[0]]


def sound(world: World) -> bool:
    return not doctor.examine(world.conn, lambda text: OffsetTracker.decode(text).watermark)


def test_a_run_shows_its_stages(world: World) -> None:
    [run] = world.submit(pipeline(), "ann")
    shown = SHOWN.run(world.conn, run.id)
    assert (shown.pipeline, shown.revision, shown.client) == ("nightly", 1, "ann")
    assert bytes(shown.input) == b'{"a":1}'
    assert shown.created_at == to_rfc3339(NOW_MS)
    assert [(stage.name, stage.counts) for stage in shown.stages] == [
        ("a", {State.READY: 2}),
        ("b", {State.READY: 1}),
    ]
    world.cancel(run.id)
    assert SHOWN.runs_among(world.conn, [run.id])[0].stages[1].counts == {State.CANCELLED: 1}


def test_jobs_come_in_the_order_of_the_definition(world: World) -> None:
    [run] = world.submit(pipeline(), "ann")
    first, more = SHOWN.jobs(world.conn, run.id, after=0, limit=2)
    rest, none = SHOWN.jobs(world.conn, run.id, after=more or 0, limit=2)
    assert [job.name for job in first + rest] == ["j0", "j1", "last"]
    assert none is None
    assert SHOWN.job(world.conn, first[0].id) == first[0]
    assert SHOWN.jobs_among(world.conn, [first[1].id]) == [first[1]]
    links = SHOWN.links(world.conn, rest[0].id)
    assert (links.idx, links.states) == (2, (State.READY,) * 3)


def test_pages_are_newest_first_and_join_up(world: World) -> None:
    runs = [run.id for run in world.submit(pipeline(), "ann", count=5)]
    seen: list[int] = []
    below: int | None = None
    while True:
        page, below = SHOWN.runs(world.conn, RunFilter(), below=below, limit=2)
        seen += [run.id for run in page]
        if below is None:
            break
    assert seen == runs[::-1]


def test_filters_combine(world: World) -> None:
    a = world.submit(pipeline("a"), "ann", at_ms=NOW_MS)[0].id
    b = world.submit(pipeline("b"), "ann", at_ms=NOW_MS + 100_000)[0].id
    c = world.submit(pipeline("a"), "bob", at_ms=NOW_MS + 200_000)[0].id
    world.cancel(a)
    assert ids(world, RunFilter(pipeline="a")) == [c, a]
    assert ids(world, RunFilter(client="ann")) == [b, a]
    assert ids(world, RunFilter(state=State.CANCELLED)) == [a]
    assert ids(world, RunFilter(state=State.READY)) == [c, b]
    assert ids(world, RunFilter(state=State.READY, client="ann", pipeline="b")) == [b]
    assert ids(world, RunFilter(state=State.DONE)) == []
    assert ids(world, RunFilter(since_ms=NOW_MS + 100_000)) == [c, b]
    assert ids(world, RunFilter(since_ms=NOW_MS + 200_001)) == []
    assert ids(world, RunFilter(pipeline="none")) == []


def test_a_page_looks_at_a_bounded_number_of_rows(world: World) -> None:
    wanted = world.submit(pipeline("rare"), "ann")[0].id
    world.conn.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25000) "
        "INSERT INTO runs (revision_id, pipeline, client_id, trigger, state, reason, priority, "
        "created_ms, first_job_id, job_count) "
        "SELECT 1, 'rare', 'bob', 'api', 'DONE', '', 1, ?, 1, 0 FROM n",
        (NOW_MS,),
    )
    filtered = RunFilter(pipeline="rare", client="ann")
    page, below = SHOWN.runs(world.conn, filtered, below=None, limit=10)
    assert page == []
    assert below is not None
    assert ids(world, filtered, below=below) == [wanted]


def test_only_what_has_ended_is_deleted_and_then_all_of_it(world: World) -> None:
    [run, other] = world.submit(pipeline(), "ann", count=2)
    with pytest.raises(Conflict):
        delete_run(world.conn, run.id)
    world.cancel(run.id)
    removed = delete_run(world.conn, run.id)
    assert (removed.first_job_id, removed.job_count) == (run.jobs[0].id, 3)
    with pytest.raises(NotFound):
        SHOWN.run(world.conn, run.id)
    with pytest.raises(NotFound):
        delete_run(world.conn, run.id)
    with pytest.raises(NotFound):
        SHOWN.job(world.conn, run.jobs[0].id)
    assert views.client_of_run(world.conn, other.id) == "ann"
    assert sound(world)


def test_pruning_takes_the_oldest_that_ended(world: World) -> None:
    old = world.submit(pipeline(), "ann", count=3)
    new = world.submit(pipeline(), "ann", at_ms=NOW_MS + 1_000)
    for run in (*old[:2], *new):
        world.cancel(run.id, at_ms=NOW_MS + 2_000)
    assert prune(world.conn, NOW_MS + 2_000, 10) == []
    assert [gone.run_id for gone in prune(world.conn, NOW_MS + 3_000, 1)] == [old[0].id]
    gone = prune(world.conn, NOW_MS + 3_000, 10)
    assert [each.run_id for each in gone] == [old[1].id, new[0].id]
    assert ids(world, RunFilter()) == [old[2].id]
    assert sound(world)


def test_the_doctor_says_what_is_wrong(world: World) -> None:
    [run] = world.submit(pipeline(), "ann")
    assert sound(world)
    first = run.jobs[0].id
    world.conn.executescript(
        f"UPDATE clients SET waiting = 9 WHERE client_id = 'ann';"
        f"UPDATE runs SET state = 'DONE' WHERE id = {run.id};"
        f"DELETE FROM jobs WHERE id = {first + 1};"
        f"INSERT INTO outputs VALUES (999, 'null');"
    )
    found = doctor.examine(world.conn, lambda text: OffsetTracker.decode(text).watermark)
    assert {finding.rule for finding in found} == {
        "waiting",
        "ended_with_open_jobs",
        "job_ranges",
        "outputs_without_job",
    }


async def test_readers_see_commits_and_cannot_write(world: World, tmp_path: Path) -> None:
    reader = Reader(tmp_path / "state.db", trio.to_thread.run_sync)
    [run] = world.submit(pipeline(), "ann")
    assert (await reader.read(lambda conn: SHOWN.run(conn, run.id))).id == run.id
    with pytest.raises(NotFound):
        await reader.read(lambda conn: SHOWN.run(conn, 99))
    with pytest.raises(StoreFailed):
        await reader.read(lambda conn: conn.execute("DELETE FROM runs"))
    assert await reader.read(views.open_runs) == 1
    assert await reader.read(views.waiting_jobs) == 3
    reader.close()


def test_plans_use_the_indexes(world: World) -> None:
    for wanted, index in (
        (RunFilter(pipeline="a"), "runs_by_pipeline"),
        (RunFilter(client="a"), "runs_by_client"),
        (RunFilter(state=State.READY), "runs_open"),
        (RunFilter(state=State.ERROR), "runs_failed"),
    ):
        steps: list[str] = []
        world.conn.set_trace_callback(steps.append)
        ids(world, wanted)
        world.conn.set_trace_callback(None)
        scanned = next(step for step in steps if "INDEXED BY" in step)
        assert index in scanned
        plan = world.conn.execute(f"EXPLAIN QUERY PLAN {scanned}").fetchall()
        assert not any("TEMP B-TREE" in row[3] for row in plan), plan


def test_the_open_jobs_of_runs_come_together(world: World) -> None:
    first, second, ended = world.submit(pipeline(), "ann", count=3)
    world.cancel(ended.id)
    found = SHOWN.open_jobs(world.conn, [second.id, first.id, ended.id, 10**9])
    each = [("a", "j0"), ("a", "j1"), ("b", "last")]
    jobs = [(stage, name, State.READY, None) for stage, name in each]
    assert found == {second.id: jobs, first.id: jobs, ended.id: [], 10**9: []}
    assert SHOWN.open_jobs(world.conn, []) == {}
