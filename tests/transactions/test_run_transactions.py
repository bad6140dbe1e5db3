"""Decides that every job that may run is told to, whatever becomes of those beside it."""

from functools import partial
from pathlib import Path

import pytest

from control.model import limits
from control.model.bus.messages import JobReady
from control.model.names import Topic
from control.model.pipelines import TriggerSpec
from control.model.states import State, When
from store import retention, runs
from store.database.writer import Tx
from tests.services.plane import Plane, job, now_ms, opened, pipeline

pytestmark = pytest.mark.usefixtures("autojump_clock")


async def finish(plane: Plane, run_id: int, outputs: dict[int, str]) -> list[int]:
    """End all jobs that may run as done; gives the ids of the jobs that were told to run."""

    def work(tx: Tx) -> list[int]:
        (step,) = plane.ledger.load(tx, [run_id], now_ms=now_ms()).values()
        for row in step.run.jobs:
            if row.state == State.READY and row.ready_ms is not None:
                row.state = State.DONE
                step.changed[row.idx] = row
        runs.insert_outputs(tx.conn, list(outputs.items()))
        plane.ledger.save(tx, [step])
        return [
            record.message.job_id
            for record in tx.published
            if record.topic == Topic.TASK_RUNS and isinstance(record.message, JobReady)
        ]

    return await plane.writer.write(work)


async def test_what_follows_a_job_whose_input_is_too_large_is_told_to_run(tmp_path: Path) -> None:
    count = limits.JOB_INPUT_BYTES_MAX // limits.OUTPUT_BYTES_MAX + 1
    sources = [job(f"a{at}") for at in range(count)]
    names = tuple(spec.name for spec in sources)
    definition = pipeline(
        "p",
        *sources,
        job("large", "t", needs=names),
        job("sorry", "t", needs=("large",), when=When.ON_FAILURE),
    )
    async with opened(tmp_path) as (plane, _):
        plane.client("ann")
        (run_id,) = await plane.submit(definition)
        first = plane.run(run_id).jobs[0].id
        text = '"' + "x" * (limits.OUTPUT_BYTES_MAX - 2) + '"'
        told = await finish(plane, run_id, dict.fromkeys(range(first, first + count), text))
        large, sorry = plane.run(run_id).jobs[count:]
        assert large.state == State.ERROR
        assert sorry.state == State.READY
        assert told == [sorry.id]


async def test_pipelines_that_trigger_each_other_do_not_multiply_without_end(
    tmp_path: Path,
) -> None:
    many = tuple(TriggerSpec(pipeline="p", when=when) for when in (When.ALWAYS, When.ON_SUCCESS))
    async with opened(tmp_path, queue_size=10) as (plane, _):
        plane.client("ann")
        (run_id,) = await plane.submit(pipeline("p", job("a"), triggers=many))
        # `finish` leaves the counter of waiting jobs alone, so the queue only fills.
        while run_id <= len(plane.runs()):
            await finish(plane, run_id, {})
            run_id += 1
        assert len(plane.runs()) == 10
        assert "jobs wait already" in plane.runs()[-1].reason
        assert plane.ledger.descendants.triggers_refused == 11
        assert {run.root_run_id for run in plane.runs()} == {1}


async def test_what_one_run_starts_through_triggers_is_bounded(tmp_path: Path) -> None:
    many = tuple(TriggerSpec(pipeline="p", when=when) for when in (When.ALWAYS, When.ON_SUCCESS))
    async with opened(tmp_path) as (plane, _):
        plane.client("ann")
        (run_id,) = await plane.submit(pipeline("p", job("a"), triggers=many))
        plane.conn.execute(
            "INSERT INTO families (root_run_id, runs) VALUES (?, ?)",
            (run_id, limits.FAMILY_RUNS_MAX - 1),
        )
        await finish(plane, run_id, {})
        assert [run.depth for run in plane.runs()] == [0, 1]
        assert f"has started {limits.FAMILY_RUNS_MAX} runs already" in plane.run(run_id).reason
        (other,) = await plane.submit(pipeline("p", job("a"), triggers=many))
        await finish(plane, other, {})
        assert sum(run.root_run_id == other for run in plane.runs()) == 3  # Another family.


async def test_a_family_is_forgotten_with_its_last_run(tmp_path: Path) -> None:
    async with opened(tmp_path) as (plane, _):
        plane.client("ann")
        await plane.put(pipeline("next"))
        first = pipeline("p", job("a"), triggers=(TriggerSpec(pipeline="next"),))
        (run_id,) = await plane.submit(first)
        await finish(plane, run_id, {})
        await finish(plane, run_id + 1, {})
        families = "SELECT count(*) FROM families"
        for gone, left in ((run_id, 1), (run_id + 1, 0)):
            await plane.writer.write(partial(_delete, run_id=gone))
            assert plane.conn.execute(families).fetchone()[0] == left


def _delete(tx: Tx, *, run_id: int) -> None:
    retention.delete_run(tx.conn, run_id)
