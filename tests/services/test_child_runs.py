"""Decides how jobs of the kind `Pipeline` become runs of other pipelines, and end with them."""

from pathlib import Path

import msgspec
import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from control.model.bus.child_messages import ChildEnded
from control.model.names import Topic
from control.model.numbers import RunId
from control.model.pipelines import JobSpec
from control.model.state_rows import JobRow, RunRow
from control.model.states import Outcome, State, When
from tests.services.hands import Hands, served
from tests.services.plane import Plane, job, opened, pipeline


def child_job(name: str = "call", stage: str = "s", **fields: object) -> JobSpec:
    """A job that is a run of the pipeline `child`, unless its params say otherwise."""
    params = fields.pop("params", {"name": "child", "input": {"day": "${{ run.a }}"}})
    raw = msgspec.Raw(msgspec.json.encode(params))
    return job(name, stage, kind="Pipeline", params=raw, **fields)


async def read(plane: Plane) -> None:
    """Wait until the trigger has read everything."""
    while plane.unread(Topic.TASK_RUN_EVENTS) or plane.unread(Topic.TASK_RUN_RESULTS):
        await trio.lowlevel.checkpoint()


def states(run: RunRow) -> list[State]:
    return [each.state for each in run.jobs]


def of(plane: Plane, run_id: int) -> tuple[State, JobRow]:
    """A run's state, and its first job."""
    run = plane.run(run_id)
    return run.state, run.jobs[0]


async def test_a_job_is_a_run_of_another_pipeline(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with served(tmp_path) as (plane, hands):
        await plane.put(pipeline("child", job("one"), job("two", "t")))
        (parent,) = await plane.submit(pipeline("p", child_job(), job("after", "t")))
        one = await hands.take()
        child = plane.run(one.run_id)
        assert (child.pipeline, child.trigger, child.depth) == ("child", "pipeline", 1)
        assert msgspec.json.decode(one.input)["run"] == {"day": 1}
        state, call = of(plane, parent)
        assert (state, call.state, call.worker) == (State.IN_PROGRESS, State.IN_PROGRESS, None)
        assert call.reason == f"waits for run {child.id} of child"
        await hands.end(one, Outcome.DONE, output=msgspec.Raw(b'{"rows":3}'))
        await read(plane)
        assert of(plane, parent)[1].progress == 0.5
        await hands.end(await hands.take(), Outcome.DONE)
        after = await hands.take()
        assert (after.run_id, after.name) == (parent, "after")
        assert msgspec.json.decode(after.input)["jobs"]["call"] == {
            "run_id": child.id,
            "state": "DONE",
            "jobs": {"one": {"rows": 3}, "two": None},
        }
        await hands.end(after, Outcome.DONE)
        assert plane.run(parent).state == State.DONE


@pytest.mark.parametrize(
    ("outcome", "state"), [(Outcome.FAILED, State.ERROR), (Outcome.CANCELLED, State.CANCELLED)]
)
async def test_a_job_ends_as_its_run_does(
    tmp_path: Path, autojump_clock: MockClock, outcome: Outcome, state: State
) -> None:
    async with served(tmp_path) as (plane, hands):
        await plane.put(pipeline("child", job("one")))
        (parent,) = await plane.submit(pipeline("p", child_job(retry_attempt=0)))
        one = await hands.take()
        await hands.end(one, outcome, error="no disk")
        await read(plane)
        found, call = of(plane, parent)
        assert (found, call.state) == (state, state)
        assert call.reason == f"run {one.run_id} of child is {state}: one: no disk"


async def test_a_retry_goes_through_the_child(tmp_path: Path, autojump_clock: MockClock) -> None:
    """By itself and by hand: what was done in the child's run is not done again."""
    async with served(tmp_path) as (plane, hands):
        await plane.put(pipeline("child", job("one"), job("two", "t")))
        (parent,) = await plane.submit(pipeline("p", child_job(retry_attempt=1)))
        await hands.end(await hands.take(), Outcome.DONE)
        for _ in range(2):
            two = await hands.take()
            assert two.name == "two"
            await hands.end(two, Outcome.FAILED, error="no")
        await read(plane)
        state, call = of(plane, parent)
        assert (state, call.attempt) == (State.ERROR, 2)
        await plane.writer.write(lambda tx: plane.ledger.retry_run(tx, RunId(parent), now_ms=0))
        two = await hands.take()
        assert (two.name, two.attempt) == ("two", 3)
        await hands.end(two, Outcome.DONE)
        await read(plane)
        assert of(plane, parent)[0] == State.DONE
        assert len(plane.runs()) == 2


async def test_a_pipeline_that_was_mended_is_run_anew(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with served(tmp_path) as (plane, hands):
        await plane.put(pipeline("child", job("one")))
        (parent,) = await plane.submit(pipeline("p", child_job()))
        await hands.end(await hands.take(), Outcome.FAILED, error="no")
        await read(plane)
        await plane.put(pipeline("child", job("mended")))
        await plane.writer.write(lambda tx: plane.ledger.retry_run(tx, RunId(parent), now_ms=0))
        mended = await hands.take()
        assert mended.name == "mended"
        await hands.end(mended, Outcome.DONE)
        await read(plane)
        assert of(plane, parent)[0] == State.DONE
        assert len(plane.runs()) == 3


async def test_who_cancels_a_run_cancels_its_children(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with served(tmp_path) as (plane, hands):
        await plane.put(
            pipeline("grandchild", job("deep"), job("clean", when=When.ALWAYS, needs=()))
        )
        await plane.put(pipeline("child", child_job(params={"name": "grandchild"})))
        (parent,) = await plane.submit(pipeline("p", child_job()))
        names = {(await hands.take()).name for _ in range(2)}
        assert names == {"deep", "clean"}
        await plane.writer.write(
            lambda tx: plane.ledger.cancel_run(tx, RunId(parent), "ann asked for it", now_ms=0)
        )
        await read(plane)
        found = plane.runs()
        assert [each.state for each in found] == [
            State.CANCELLED,
            State.CANCELLED,
            State.READY,  # Its clean-up runs.
        ]
        assert found[2].jobs[0].state == State.CANCELLED
        assert found[2].ending == "cancel"


async def test_one_job_of_a_run_is_cancelled_with_its_child(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with served(tmp_path) as (plane, hands):
        await plane.put(pipeline("child", job("one")))
        (parent,) = await plane.submit(pipeline("p", child_job(), job("other")))
        await hands.take()
        await hands.take()
        call = plane.run(parent).jobs[0]
        results = await plane.bus.tail(Topic.TASK_RUN_RESULTS)
        await plane.writer.write(
            lambda tx: plane.ledger.cancel_job(tx, call.id, "not needed", now_ms=0)
        )
        await read(plane)
        assert states(plane.run(parent)) == [State.CANCELLED, State.READY]
        assert plane.runs()[1].state == State.CANCELLED
        ends = [each.message for each in await results.receive()]
        assert [type(each) for each in ends].count(ChildEnded) == 1


async def test_a_job_waits_no_longer_than_its_time_out(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with served(tmp_path) as (plane, hands):
        await plane.put(pipeline("child", job("one")))
        (parent,) = await plane.submit(pipeline("p", child_job(timeout=5.0)))
        one = await hands.take()
        await trio.sleep(4.9)
        assert of(plane, parent)[0] == State.IN_PROGRESS
        await trio.sleep(0.2)
        await read(plane)
        assert of(plane, parent)[1].reason == "the time-out of 5 s was reached"
        child = plane.run(one.run_id)
        assert (child.state, child.reason) == (
            State.CANCELLED,
            "the time-out of the job that started it was reached",
        )


async def test_a_retry_waits_until_its_run_has_cleaned_up(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with served(tmp_path) as (plane, hands):
        await plane.put(pipeline("child", job("one"), job("tidy", "t", when=When.ALWAYS)))
        call = child_job(timeout=5.0, retry_attempt=1)
        (parent,) = await plane.submit(pipeline("p", call))
        one = await hands.take()
        await trio.sleep(5.1)
        await hands.end(one, Outcome.CANCELLED)
        tidy = await hands.take()
        await read(plane)
        waiting = of(plane, parent)[1]
        assert (waiting.state, waiting.attempt) == (State.READY, 2)
        assert waiting.reason == f"waits until run {one.run_id} has ended, to retry it"
        await hands.end(tidy, Outcome.DONE)
        again = await hands.take()
        assert (again.run_id, again.job_id, again.attempt) == (one.run_id, one.job_id, 2)
        await hands.end(again, Outcome.DONE)
        await read(plane)
        assert of(plane, parent)[0] == State.DONE


async def test_a_job_that_is_cancelled_while_it_waits_to_retry_starts_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with served(tmp_path) as (plane, hands):
        await plane.put(pipeline("child", job("one"), job("tidy", "t", when=When.ALWAYS)))
        call = child_job(timeout=5.0, retry_attempt=1)
        (parent,) = await plane.submit(pipeline("p", call))
        await hands.end(await hands.take(), Outcome.FAILED)
        tidy = await hands.take()
        await trio.sleep(5.1)
        await read(plane)
        await plane.writer.write(
            lambda tx: plane.ledger.cancel_run(tx, RunId(parent), "x", now_ms=0)
        )
        await hands.end(tidy, Outcome.DONE)
        await hands.nothing(5)
        assert [run.state for run in plane.runs()] == [State.CANCELLED, State.CANCELLED]


async def test_a_job_that_does_not_wait_is_done_at_once(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with served(tmp_path) as (plane, hands):
        await plane.put(pipeline("child", job("one")))
        call = child_job(params={"name": "child", "wait": False})
        (parent,) = await plane.submit(pipeline("p", call, job("after", "t")))
        found = [await hands.take(), await hands.take()]
        after = next(each for each in found if each.name == "after")
        output = msgspec.json.decode(after.input)["jobs"]["call"]
        assert output == {"run_id": parent + 1, "state": "READY", "jobs": {}}
        await plane.writer.write(
            lambda tx: plane.ledger.cancel_run(tx, RunId(parent), "x", now_ms=0)
        )
        await read(plane)
        assert plane.run(parent + 1).state == State.READY


REFUSED = [
    ({"name": "none"}, "there is no pipeline none to start"),
    ({"name": "p"}, "its runs would start each other without end: p -> p"),
    ({"name": "theirs"}, "theirs was not started: it belongs to another client"),
    ({"name": "${{ run.b }}"}, "run.b"),
    ({"name": "${{ run.a }}"}, "the params do not fit: Expected `str`, got `int`"),
]


@pytest.mark.parametrize(("params", "reason"), REFUSED)
async def test_what_cannot_be_started_is_said_in_words(
    tmp_path: Path, autojump_clock: MockClock, params: object, reason: str
) -> None:
    async with served(tmp_path) as (plane, hands):
        plane.client("bob")
        await plane.put(pipeline("theirs", job("one")), "bob")
        (parent,) = await plane.submit(pipeline("p", child_job(params=params, retry_attempt=3)))
        await read(plane)
        state, call = of(plane, parent)
        assert (state, call.state, call.attempt) == (State.ERROR, State.ERROR, 1)
        assert reason in call.reason
        await hands.nothing(100)


async def test_pipelines_that_start_each_other_end(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with served(tmp_path) as (plane, _):
        await plane.put(pipeline("b", child_job(params={"name": "c"})))
        await plane.put(pipeline("c", child_job(params={"name": "a"})))
        (first,) = await plane.submit(pipeline("a", child_job(params={"name": "b"})))
        await read(plane)
        assert [each.state for each in plane.runs()] == [State.ERROR] * 3
        assert "a -> b -> c -> a" in of(plane, first)[1].reason


async def test_a_full_queue_is_tried_again(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann", max_queued=2)
        await nursery.start(plane.trigger.run)
        hands = await Hands.join(plane)
        await plane.put(pipeline("child", job("one"), job("two")))
        call = child_job(retry_attempt=1, retry_delay=5.0)
        (parent,) = await plane.submit(pipeline("p", call, job("other")))
        other = await hands.take()
        await read(plane)
        assert "child was not started" in of(plane, parent)[1].reason
        await hands.end(other, Outcome.DONE)
        assert {(await hands.take()).name for _ in range(2)} == {"one", "two"}
