"""Decides that child runs go on, and attempts have one end each, whatever is lost or comes late."""

from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from control.bus.interface import Subscription
from control.core.offsets import OffsetTracker
from control.model import limits
from control.model.bus.child_messages import ChildEnded, StopChild
from control.model.bus.messages import Finished
from control.model.bus.records import Record
from control.model.bus.reports import RecordsLost
from control.model.names import Group, Topic
from control.model.numbers import RunId
from control.model.states import Outcome, State, When
from store import children, retention, runs
from tests.services.hands import Hands, served
from tests.services.plane import Plane, job, opened, pipeline
from tests.services.test_child_runs import child_job, of, read


async def test_records_that_are_lost_start_no_second_run(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with served(tmp_path) as (plane, hands):
        await plane.put(pipeline("child", job("one")))
        (parent,) = await plane.submit(pipeline("p", child_job()))
        await hands.take()
        await lose(plane, Topic.TASK_RUN_RESULTS)
        await read(plane)
        one = await hands.take()
        await hands.end(one, Outcome.DONE)
        await read(plane)
        assert of(plane, parent)[0] == State.DONE
        assert len(plane.runs()) == 2


async def lose(plane: Plane, topic: Topic) -> None:
    """Records of a topic are gone that the trigger has not read."""
    lost = RecordsLost(topic=topic, group=Group.TRIGGER, partition=0, below=100)
    await plane.bus.publish([Record(Topic.TASK_RUN_EVENTS, lost, 0)])


def forget(plane: Plane) -> None:
    """Delete what the trigger has not read of its events."""
    topic = (Topic.TASK_RUN_EVENTS,)
    sql = "SELECT max(first_offset + count) FROM bus_log WHERE topic = ?"
    (end,) = plane.conn.execute(sql, topic).fetchone()
    plane.conn.execute("DELETE FROM bus_log WHERE topic = ?", topic)
    progress = OffsetTracker(end).encode()
    plane.conn.execute("UPDATE bus_groups SET progress = ? WHERE topic = ?", (progress, *topic))


async def test_orders_that_are_lost_are_given_again(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with served(tmp_path) as (plane, _):
        await plane.put(pipeline("child", job("one")))
    async with opened(tmp_path) as (plane, nursery):
        hands = await Hands.join(plane)
        (parent,) = await plane.submit(pipeline("p", child_job(), job("other")))
        other = await hands.take()
        await plane.writer.write(lambda _: forget(plane))
        await nursery.start(plane.trigger.run)
        await lose(plane, Topic.TASK_RUN_EVENTS)
        one = await hands.take()
        assert (one.name, other.attempt, plane.run(parent).jobs[1].attempt) == ("one", 1, 1)
    async with opened(tmp_path) as (plane, nursery):
        await cancel(plane, parent)
        await plane.writer.write(lambda _: forget(plane))
        await nursery.start(plane.trigger.run)
        await lose(plane, Topic.TASK_RUN_EVENTS)
        await trio.sleep(1)
        assert plane.run(one.run_id).state == State.CANCELLED


async def cancel(plane: Plane, run_id: int) -> None:
    await plane.writer.write(
        lambda tx: plane.ledger.cancel_run(tx, RunId(run_id), "ann asked for it", now_ms=0)
    )


async def ends_of(plane: Plane, run_id: int, results: Subscription) -> list[tuple[int, Outcome]]:
    """The ends of a run's attempts that were published."""
    await read(plane)
    with trio.move_on_after(1):
        found = [each.message for each in await results.receive()]
        return [
            (each.attempt, each.outcome)
            for each in found
            if isinstance(each, ChildEnded) and each.run_id == run_id
        ]
    return []


@pytest.mark.parametrize("then", ["cancel the child", "delete", "retry", "nothing"])
async def test_an_attempt_that_is_cancelled_has_one_end_whatever_follows(
    tmp_path: Path, autojump_clock: MockClock, then: str
) -> None:
    """Before the trigger reads that the child is to be stopped."""
    async with served(tmp_path) as (plane, hands):
        await plane.put(pipeline("child", job("one")))
        (parent,) = await plane.submit(pipeline("p", child_job()))
        one = await hands.take()
    async with opened(tmp_path) as (plane, nursery):
        results = await plane.bus.tail(Topic.TASK_RUN_RESULTS)
        await cancel(plane, parent)
        if then == "cancel the child":
            await cancel(plane, one.run_id)
        elif then == "delete":
            await plane.writer.write(lambda tx: retention.delete_run(tx.conn, RunId(parent)))
        elif then == "retry":
            await plane.writer.write(lambda tx: plane.ledger.retry_run(tx, RunId(parent), now_ms=0))
        await nursery.start(plane.trigger.run)
        ends = await ends_of(plane, parent, results)
        assert ends == ([] if then == "delete" else [(1, Outcome.CANCELLED)])
        assert (plane.run(one.run_id).state == State.CANCELLED) == (then != "retry")


async def test_a_child_that_was_retried_by_hand_is_not_started_twice(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with served(tmp_path) as (plane, hands):
        await plane.put(pipeline("child", job("one")))
        call = child_job(retry_attempt=1, retry_delay=60.0)
        (parent,) = await plane.submit(pipeline("p", call))
        one = await hands.take()
        await hands.end(one, Outcome.FAILED, error="no")
        await plane.writer.write(lambda tx: plane.ledger.retry_run(tx, one.run_id, now_ms=0))
        again = await hands.take()
        await trio.sleep(61)
        await read(plane)
        assert of(plane, parent)[1].state == State.IN_PROGRESS
        await hands.end(again, Outcome.DONE)
        await read(plane)
        assert of(plane, parent)[0] == State.DONE
        assert len(plane.runs()) == 2


async def test_the_time_out_of_a_lost_attempt_stops_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with served(tmp_path) as (plane, hands):
        await plane.put(pipeline("child", job("one")))
        (parent,) = await plane.submit(pipeline("p", child_job(timeout=10.0)))
        one = await hands.take()
        await read(plane)
    await trio.sleep(20)
    async with opened(tmp_path) as (plane, nursery):
        # As after a restore: the next attempt is published, and the deadline has passed.
        await plane.writer.write(
            lambda tx: plane.ledger.restart_open(tx, lambda attempt: attempt + 2_000, now_ms=0)
        )
        await nursery.start(plane.trigger.run)
        await trio.sleep(5)
        assert plane.run(one.run_id).state in {State.READY, State.IN_PROGRESS}
        assert of(plane, parent)[1].reason == f"waits for run {one.run_id} of child"
        await trio.sleep(6)
        assert of(plane, parent)[1].reason == "the time-out of 10 s was reached"


async def test_values_that_nest_deeper_and_deeper_are_refused(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with served(tmp_path) as (plane, hands):
        deep: object = "${{ run }}"
        for _ in range(limits.VALUE_DEPTH_MAX - 4):
            deep = [deep]
        for at in range(20):
            params = {"name": f"p{at + 1}", "input": deep}
            await plane.put(pipeline(f"p{at}", child_job(params=params)))
        await plane.put(pipeline("p20", job("one")))
        (first,) = await plane.submit(
            pipeline("p0", child_job(params={"name": "p1", "input": deep}))
        )
        await read(plane)
        assert "nested more than" in of(plane, first)[1].reason
        await hands.nothing(10)


async def test_an_end_that_was_lost_is_published_again(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with served(tmp_path) as (plane, hands):
        await plane.put(pipeline("child", job("one")))
        (parent,) = await plane.submit(pipeline("p", child_job()))
        one = await hands.take()

        def end(tx: object) -> None:  # The child ends; its parent never hears of it.
            plane.conn.execute("UPDATE runs SET state = 'DONE' WHERE id = ?", (one.run_id,))
            plane.conn.execute("UPDATE jobs SET state = 'DONE' WHERE id = ?", (one.job_id,))
            children.answered(plane.conn, one.run_id)

        await plane.writer.write(end)
        await lose(plane, Topic.TASK_RUN_RESULTS)
        await read(plane)
        assert of(plane, parent)[0] == State.DONE


async def test_a_child_whose_jobs_are_all_skipped_is_not_waited_for(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with served(tmp_path) as (plane, hands):
        await plane.put(pipeline("child", job("mend", when=When.ON_FAILURE)))
        (parent,) = await plane.submit(pipeline("p", child_job()))
        await read(plane)
        assert of(plane, parent)[0] == State.DONE
        await hands.nothing(100)


async def test_outputs_that_are_too_large_fail_the_job_in_words(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with served(tmp_path) as (plane, hands):
        await plane.put(pipeline("child", job("one"), job("two")))
        (parent,) = await plane.submit(pipeline("p", child_job(retry_attempt=5)))
        half = msgspec.Raw(msgspec.json.encode("x" * (limits.OUTPUT_BYTES_MAX // 2)))
        for _ in range(2):
            await hands.end(await hands.take(), Outcome.DONE, output=half)
        await read(plane)
        state, call = of(plane, parent)
        assert (state, call.attempt) == (State.ERROR, 1)
        assert "more than 1 MiB together" in call.reason


async def test_each_attempt_has_one_end(tmp_path: Path, autojump_clock: MockClock) -> None:
    """The child ends after the attempt was answered: nothing more is published."""
    async with served(tmp_path) as (plane, hands):
        await plane.put(pipeline("child", job("one")))
        (parent,) = await plane.submit(pipeline("p", child_job(timeout=5.0)))
        one = await hands.take()
        results = await plane.bus.tail(Topic.TASK_RUN_RESULTS)
        await trio.sleep(5.1)
        await hands.end(one, Outcome.DONE)
        await read(plane)
        found = [each.message for each in await results.receive()]
        ends = [each for each in found if isinstance(each, ChildEnded | Finished)]
        assert [(each.run_id, each.outcome) for each in ends if each.run_id == parent] == [
            (parent, Outcome.TIMED_OUT)
        ]
        assert runs.outputs(plane.conn, [of(plane, parent)[1].id]) == {}


async def test_an_attempt_that_was_replaced_has_no_end(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Its job is cancelled before the next attempt takes its child over."""
    async with served(tmp_path) as (plane, hands):
        await plane.put(pipeline("child", job("one")))
        (parent,) = await plane.submit(pipeline("p", child_job()))
        one = await hands.take()
    async with opened(tmp_path) as (plane, nursery):
        results = await plane.bus.tail(Topic.TASK_RUN_RESULTS)
        restart = partial(plane.ledger.restart_open, number=lambda _: 2001, now_ms=0)
        await plane.writer.write(restart)
        await cancel(plane, parent)
        await nursery.start(plane.trigger.run)
        assert await ends_of(plane, parent, results) == []
        assert plane.run(one.run_id).state == State.CANCELLED


async def test_an_order_to_stop_that_names_another_run_stops_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with served(tmp_path) as (plane, hands):
        await plane.put(pipeline("child", job("one")))
        (parent,) = await plane.submit(pipeline("p", child_job()))
        one = await hands.take()
        call = of(plane, parent)[1]
        stop = StopChild(
            run_id=RunId(900),
            job_id=call.id,
            attempt=1,
            pipeline="p",
            name="call",
            kind="Pipeline",
            client="ann",
            reason="of another installation",
        )
        await plane.bus.publish([Record(Topic.TASK_RUN_EVENTS, stop, 900)])
        await read(plane)
        assert plane.run(one.run_id).state == State.READY


async def test_an_input_that_cannot_be_read_fails_the_job(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A worker of another version may have let it pass."""
    async with served(tmp_path) as (plane, hands):
        await plane.put(pipeline("child", job("one")))
        call = child_job(stage="t", params={"name": "child", "input": "${{ jobs.a }}"})
        (parent,) = await plane.submit(pipeline("p", job("a"), call))
        await hands.end(await hands.take(), Outcome.DONE, output=msgspec.Raw(b"1e999"))
        await read(plane)
        ended = plane.run(parent).jobs[1]
        assert (ended.state, ended.attempt) == (State.ERROR, 1)
        assert "out of range" in ended.reason
