"""Decides when attempts follow each other, what is refused, and what a run's end starts."""

from pathlib import Path

import msgspec
import pytest
import trio
import trio.lowlevel
import trio.testing
from trio.testing import MockClock

from control.model import limits
from control.model.bus.messages import (
    Announce,
    ClientChanged,
    Finished,
    Skipped,
    SplitChanged,
    Started,
)
from control.model.bus.records import Record
from control.model.names import Service, Topic
from control.model.pipelines import TriggerSpec
from control.model.states import Outcome, State, When
from control.transactions import split
from store.database.writer import Tx
from tests.services.hands import Hands, result, served
from tests.services.plane import job, now_ms, opened, pipeline


async def test_retries_come_when_their_delay_is_over(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    spec = job("a", retry_attempt=4, retry_delay=2.0, retry_delay_max=5.0)
    async with served(tmp_path) as (plane, hands):
        await plane.submit(pipeline("p", spec))
        waits = []
        for attempt in range(1, 6):
            before = trio.current_time()
            ready = await hands.take()
            assert ready.attempt == attempt
            waits.append(round(trio.current_time() - before, 2))
            await hands.end(ready, Outcome.FAILED, error="no")
        assert waits == [0, 2, 4, 5, 5]
        (run,) = plane.runs()
        assert (run.state, run.jobs[0].reason) == (State.ERROR, "no")
        await hands.nothing(100)


async def test_a_retry_that_came_while_nobody_was_there_is_not_lost(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        await nursery.start(plane.trigger.run)
        hands = await Hands.join(plane)
        await plane.submit(pipeline("p", job("a", retry_attempt=1, retry_delay=5.0)))
        await hands.end(await hands.take(), Outcome.FAILED)
    await trio.sleep(60)
    async with opened(tmp_path) as (plane, nursery):
        await nursery.start(plane.trigger.run)
        hands = await Hands.join(plane)
        with trio.fail_after(1):
            assert (await hands.take()).attempt == 2
        await hands.nothing(100)


async def test_a_retry_is_published_once_though_another_is_due_later(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    jobs = (job("a", retry_attempt=1, retry_delay=1.0), job("b", retry_attempt=1, retry_delay=3.0))
    async with served(tmp_path) as (plane, hands):
        await plane.submit(pipeline("p", *jobs))
        for _ in jobs:
            await hands.end(await hands.take(), Outcome.FAILED)
        assert [(await hands.take()).name for _ in jobs] == ["a", "b"]
        await hands.nothing(100)


@pytest.mark.parametrize("restart_at", [None, 5.0, 15.0])
async def test_a_run_that_takes_too_long_ends(
    tmp_path: Path, autojump_clock: MockClock, restart_at: float | None
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        await nursery.start(plane.trigger.run)
        await plane.submit(pipeline("p", job("a"), timeout=10.0))
        await trio.sleep(restart_at or 9.9)
        assert plane.runs()[0].state == State.READY or restart_at == 15.0
        if restart_at is None:
            await trio.sleep(0.2)
            assert plane.runs()[0].state == State.ERROR
    async with opened(tmp_path) as (plane, nursery):
        await nursery.start(plane.trigger.run)
        await trio.sleep(10)
        (run,) = plane.runs()
        assert (run.state, run.jobs[0].state) == (State.ERROR, State.CANCELLED)
        assert run.reason == "the run's time-out of 10 s was reached"


async def test_a_job_knows_how_those_before_it_ended(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with served(tmp_path) as (plane, hands):
        await plane.submit(
            pipeline(
                "p", job("a"), job("skipped", "t"), job("b", "u", when=When.ALWAYS), job("c", "u")
            )
        )
        ended = {"exit_code": 3, "error": "no disk"}
        await hands.end(await hands.take(), Outcome.FAILED, **ended)
        states = msgspec.json.decode((await hands.take()).input)["states"]
        assert list(states) == ["a", "skipped"]
        a = states["a"]
        assert (a["state"], a["reason"], a["exit_code"], a["attempt"]) == ("ERROR", "no disk", 3, 1)
        assert a["started_at"] <= a["finished_at"]
        assert states["skipped"]["state"] == "CANCELLED"
        assert states["skipped"]["started_at"] is None


async def test_an_attempt_may_adopt_what_lost_ones_left(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with served(tmp_path) as (plane, hands):
        await plane.submit(pipeline("p", job("a", retry_attempt=1)))
        adopts = []
        lost = Outcome.LOST
        for outcome in (lost, lost, Outcome.FAILED, lost, Outcome.DONE):
            ready = await hands.take()
            adopts.append(ready.subject.first_attempt)
            assert (ready.subject.trigger, ready.subject.revision) == ("api", 1)
            assert len(ready.subject.installation) == 16
            await hands.end(ready, outcome)
        assert adopts == [None, 1, 1, None, 4]


async def test_late_results_are_refused(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with served(tmp_path) as (plane, hands):
        await plane.submit(pipeline("p", job("a", retry_attempt=1)))
        first = await hands.take()
        await hands.end(first, Outcome.FAILED)
        await hands.end(first, Outcome.DONE)  # The attempt had ended.
        second = await hands.take()
        await hands.end(second, Outcome.DONE)
        await hands.end(second, Outcome.FAILED)
        assert plane.trigger.refused == 2
        (run,) = plane.runs()
        assert (run.state, run.jobs[0].attempt) == (State.DONE, 2)


async def test_what_was_cancelled_on_its_way_is_stopped(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with served(tmp_path) as (plane, hands):
        (run_id,) = await plane.submit(pipeline("p"))
        ready = await hands.take()

        def cancel(tx: Tx) -> None:
            plane.ledger.cancel_run(tx, run_id, "by order", now_ms=now_ms())

        await plane.writer.write(cancel)
        commands = await plane.bus.tail(Topic.TASK_COMMANDS)
        started = Started(
            run_id=run_id,
            job_id=ready.job_id,
            attempt=1,
            worker="w",
            partition=0,
            started_ms=now_ms(),
        )
        await plane.bus.publish([Record(Topic.TASK_RUN_EVENTS, started, run_id)])
        with trio.fail_after(1):
            (stop,) = await commands.receive()
        assert getattr(stop.message, "job_id", None) == ready.job_id


async def test_pipelines_that_start_each_other_come_to_an_end(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    again = TriggerSpec(pipeline="p", when=When.ALWAYS)
    async with served(tmp_path) as (plane, hands):
        await plane.submit(pipeline("p", triggers=(again,)))
        for depth in range(limits.TRIGGER_DEPTH_MAX + 1):
            await hands.end(await hands.take(), (Outcome.DONE, Outcome.FAILED)[depth % 2])
        await hands.nothing(10)
        found = plane.runs()
        assert [run.depth for run in found] == list(range(limits.TRIGGER_DEPTH_MAX + 1))
        assert "have started each other already" in found[-1].reason


@pytest.mark.parametrize(
    ("when", "outcome", "starts"),
    [
        (When.ON_SUCCESS, Outcome.DONE, True),
        (When.ON_SUCCESS, Outcome.FAILED, False),
        (When.ON_FAILURE, Outcome.FAILED, True),
        (When.ON_FAILURE, Outcome.DONE, False),
        (When.ALWAYS, Outcome.CANCELLED, True),
    ],
)
async def test_a_runs_end_starts_what_it_should(
    tmp_path: Path, autojump_clock: MockClock, when: When, outcome: Outcome, starts: bool
) -> None:
    async with served(tmp_path) as (plane, hands):
        await plane.put(pipeline("next"))
        await plane.submit(pipeline("p", triggers=(TriggerSpec(pipeline="next", when=when),)))
        await hands.end(await hands.take(), outcome)
        if starts:
            ready = await hands.take()
            assert ready.pipeline == "next"
            document = msgspec.json.decode(ready.input)
            assert document == {"run": document["run"], "jobs": {}, "states": {}}
            origin = document["run"].pop("from")
            assert document["run"] == {"run": {"a": 1}, "jobs": {"only": None}}
            assert (origin["pipeline"], origin["run_id"] > 0) == ("p", True)
            assert origin["state"] == str(plane.run(origin["run_id"]).state)
        else:
            await hands.nothing(10)


async def test_a_job_that_kills_its_workers_ends(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with served(tmp_path) as (plane, hands):
        await plane.submit(pipeline("p"))
        for _ in range(limits.ATTEMPT_LOST_MAX):
            await hands.end(await hands.take(), Outcome.LOST)
        (run,) = plane.runs()
        assert (run.state, run.jobs[0].failures) == (State.ERROR, 0)


async def test_who_starts_and_asks_is_told_of_all_clients(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann", max_running=3)
        plane.client("bob")
        commands = await plane.bus.tail(Topic.TASK_COMMANDS)

        async def told() -> list[tuple[str, int | None]]:
            found: list[tuple[str, int | None]] = []
            with trio.move_on_after(1):
                while True:
                    messages = [delivery.message for delivery in await commands.receive()]
                    found += [
                        (message.client, message.max_running)
                        for message in messages
                        if isinstance(message, ClientChanged)
                    ]
            return found

        await nursery.start(plane.trigger.run)
        assert await told() == [("ann", 3), ("bob", None)]  # To who had asked before.
        for by in Service:
            await plane.bus.publish([Record(Topic.TASK_COMMANDS, Announce(by=by))])
            wanted = {Service.BALANCER, Service.DISPATCHER}
            assert await told() == ([("ann", 3), ("bob", None)] if by in wanted else [])


async def test_a_balancer_that_starts_is_told_of_the_split_that_was_set(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    told = SplitChanged(slow_share=0.3)
    async with opened(tmp_path) as (plane, _):
        await plane.writer.write(lambda tx: split.put(tx, told.slow_share))
    async with opened(tmp_path) as (plane, nursery):
        commands = await plane.bus.tail(Topic.TASK_COMMANDS)
        await nursery.start(plane.trigger.run)
        asked = Announce(by=Service.BALANCER)
        await trio.sleep(1)
        await plane.bus.publish([Record(Topic.TASK_COMMANDS, asked)])
        await trio.sleep(1)
        heard = [delivery.message for delivery in await commands.receive()]
        assert heard == [told, asked, told]  # First to who had asked before.


async def test_results_of_several_partitions_count_and_are_acknowledged(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        hands = await Hands.join(plane)
        await plane.submit(pipeline("p", job("one"), job("two"), job("three")))
        records = []
        for partition in (0, 2, 5):
            ready = await hands.take()
            ended = result(ready, Outcome.DONE)
            records.append(Record(Topic.TASK_RUN_RESULTS, ended, ready.run_id, partition))
        await nursery.start(plane.trigger.run)
        await plane.bus.publish(records)
        await trio.sleep(1)
        assert plane.run(1).state == State.DONE
        assert not plane.unread(Topic.TASK_RUN_RESULTS)


async def test_how_a_job_ended_that_was_cancelled_while_it_ran_is_said_by_the_state(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    # Its worker was lost, say: an end that is tried again, for whoever only hears of that.
    async with served(tmp_path) as (plane, hands):
        results = await plane.bus.tail(Topic.TASK_RUN_RESULTS)
        (run_id,) = await plane.submit(pipeline("p"))
        ready = await hands.take()
        started = Started(
            run_id=run_id,
            job_id=ready.job_id,
            attempt=1,
            worker="w",
            partition=0,
            started_ms=now_ms(),
        )
        await plane.bus.publish([Record(Topic.TASK_RUN_EVENTS, started, run_id)])
        await trio.testing.wait_all_tasks_blocked()

        def cancel(tx: Tx) -> None:
            plane.ledger.cancel_run(tx, run_id, "by order", now_ms=now_ms())

        await plane.writer.write(cancel)
        await hands.end(ready, Outcome.LOST, final=False)
        with trio.fail_after(1):
            found = [each.message for each in await results.receive()]
            while len(found) < 2:
                found += [each.message for each in await results.receive()]
        lost, said = found
        assert isinstance(lost, Finished)
        assert isinstance(said, Skipped)
        assert (said.job_id, said.attempt, said.reason) == (ready.job_id, 1, "by order")
