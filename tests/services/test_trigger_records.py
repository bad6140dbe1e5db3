"""Decides what the trigger does with records that name what is not there, or that are lost."""

from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from control.core.records.foreign import read
from control.model.bus.messages import CancelJob, Message, Progressed, Started
from control.model.bus.records import Record
from control.model.bus.reports import DeadLetter, RecordsLost
from control.model.names import Group, Topic
from control.model.numbers import RunId
from control.model.states import Outcome, State
from tests.services.hands import Hands, result
from tests.services.plane import job, now_ms, opened, pipeline


@pytest.mark.parametrize("beside", [-1, 2, 10_000])
async def test_what_names_a_job_of_another_run_is_set_aside_and_moves_nothing(
    tmp_path: Path, autojump_clock: MockClock, beside: int
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        await nursery.start(plane.trigger.run)
        letters = await plane.bus.tail(Topic.TASK_DEAD_LETTERS)
        hands = await Hands.join(plane)
        run_id = (await plane.submit(pipeline("p", job("a"), job("b")), count=3))[1]
        before, first = plane.runs(), plane.run(run_id).jobs[0].id
        ready = await hands.take()
        while ready.job_id != first:
            ready = await hands.take()
        wrong = msgspec.structs.replace(ready, job_id=first + beside)
        started = Started(
            run_id=RunId(run_id),
            job_id=wrong.job_id,
            attempt=1,
            worker="w",
            partition=0,
            started_ms=now_ms(),
        )
        told = Progressed(run_id=RunId(run_id), job_id=wrong.job_id, attempt=1, progress=0.5)
        await plane.bus.publish([Record(Topic.TASK_RUN_EVENTS, each) for each in (started, told)])
        await hands.end(wrong, Outcome.DONE, output=msgspec.Raw(b"1"))
        found = [each.message for each in await letters.receive()]
        while len(found) < 3:
            found += [each.message for each in await letters.receive()]
        assert plane.runs() == before
        for letter in found:
            assert isinstance(letter, DeadLetter)
            assert letter.error == f"job {wrong.job_id} is not of run {run_id}"
            assert read(Topic(letter.topic), letter.value.encode()) in [
                started,
                told,
                result(wrong, Outcome.DONE, output=msgspec.Raw(b"1")),
            ]
        await hands.end(ready, Outcome.DONE)
        assert plane.run(run_id).jobs[0].state == State.DONE


async def test_what_is_open_is_published_again_when_its_records_are_gone(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        await nursery.start(plane.trigger.run)
        commands = await plane.bus.tail(Topic.TASK_COMMANDS)
        hands = await Hands.join(plane)
        await plane.submit(pipeline("p", job("a")), count=3)
        ended, runs_, waits = [await hands.take() for _ in range(3)]
        await hands.end(ended, Outcome.DONE)
        began = Started(
            run_id=runs_.run_id,
            job_id=runs_.job_id,
            attempt=1,
            worker="w",
            partition=0,
            started_ms=now_ms(),
        )
        lost = [
            RecordsLost(topic=topic, group=group, partition=0, below=5)
            for topic, group in (
                (Topic.TASK_RUN_RESULTS, Group.STATISTICS),  # Nothing of a run depends on it.
                (Topic.TASK_COMMANDS, Group.BALANCER),
                (Topic.TASK_RUNS, Group.BALANCER),
            )
        ]
        told: list[Message] = [began, *lost]
        await plane.bus.publish([Record(Topic.TASK_RUN_EVENTS, each) for each in told])
        again = await hands.take()
        assert (again.job_id, again.attempt) == (waits.job_id, 2)
        assert plane.run(runs_.run_id).jobs[0].attempt == 1
        stopped = CancelJob(
            job_id=waits.job_id, attempt=1, reason="another attempt has taken its place"
        )
        assert stopped in [each.message for each in await commands.receive()]

        gone = RecordsLost(topic=Topic.TASK_RUN_RESULTS, group=Group.TRIGGER, partition=0, below=5)
        await plane.bus.publish([Record(Topic.TASK_RUN_EVENTS, gone)])
        found = [await hands.take(), await hands.take()]
        assert [(each.job_id, each.attempt) for each in found] == [
            (runs_.job_id, 2),
            (waits.job_id, 3),
        ]
        await trio.testing.wait_all_tasks_blocked()
        assert not plane.unread(Topic.TASK_RUN_EVENTS)
        for each in found:
            await hands.end(each, Outcome.DONE)
        assert {run.state for run in plane.runs()} == {State.DONE}
