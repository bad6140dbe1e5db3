"""Decides what balancers tell others on the bus, and what they learn there."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from control.bus.embedded.bus import EmbeddedBus
from control.bus.interface import Subscription
from control.core.balancer.policy import Policy
from control.model import limits
from control.model.bus.messages import (
    Announce,
    AskQueues,
    AskWhy,
    JobReady,
    Learned,
    Loads,
    Message,
    SplitChanged,
    ToldQueues,
    ToldWhy,
    WorkerDown,
    WorkerUp,
)
from control.model.bus.records import Record
from control.model.names import Service, Topic
from control.model.numbers import JobId, RunId
from control.model.states import Speed
from control.services.balancer import BalancerService
from tests.api.live.test_projection import FINISHED
from tests.services.plane import PARTITIONS, Plane, now_ms, opened, pipeline

WORKER = WorkerUp(
    worker="w",
    dispatcher="elsewhere",
    host="h",
    slots=PARTITIONS,
    labels=(),
    kinds=(("Sleep", ("1.0.0",)),),
    partitions=tuple(range(PARTITIONS)),
    draining=False,
    connected_ms=1,
)


Told = Loads | ToldWhy | ToldQueues


class Listener:
    """Somebody who hears the news."""

    def __init__(self, plane: Plane, news: Subscription) -> None:
        self._plane = plane
        self._news = news
        self.times: list[float] = []

    @classmethod
    async def join(cls, plane: Plane) -> "Listener":
        return cls(plane, await plane.bus.tail(Topic.TASK_NEWS))

    async def say(self, *messages: Message, topic: Topic = Topic.TASK_NEWS) -> None:
        await self._plane.bus.publish([Record(topic, message) for message in messages])
        await wait_all_tasks_blocked()

    async def heard(self, seconds: float) -> Sequence[Message]:
        """What the balancer says in this time."""
        found: list[Message] = []
        self.times.clear()
        with trio.move_on_after(seconds):
            while True:
                deliveries = await self._news.receive()
                fresh = [d.message for d in deliveries if isinstance(d.message, Told)]
                found += fresh
                self.times += [trio.current_time()] * len(fresh)
        return found


def slots(message: Message) -> int:
    assert isinstance(message, Loads)
    return sum(load.slots for load in message.loads)


async def test_loads_are_told_when_they_change_and_once_a_second_at_most(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        listener = await Listener.join(plane)
        await nursery.start(plane.balancer.run)
        assert [slots(each) for each in await listener.heard(60)] == [0]
        down = WorkerDown(worker="w", dispatcher="elsewhere", reason="so")
        for _ in range(10):
            await listener.say(WORKER)
            await listener.say(down)
        assert [slots(each) for each in await listener.heard(60)] == [PARTITIONS, 0]
        assert listener.times[1] - listener.times[0] == pytest.approx(limits.LOADS_EVERY_S)
        assert not await listener.heard(3_600)
        await listener.say(Announce(by=Service.API), topic=Topic.TASK_COMMANDS)
        assert [slots(each) for each in await listener.heard(60)] == [0]


async def test_it_says_why_a_job_waits(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        await nursery.start(plane.balancer.run)
        await plane.submit(pipeline("p"))
        listener = await Listener.join(plane)
        await listener.say(
            AskWhy(job_id=JobId(1)), AskWhy(job_id=JobId(2)), AskWhy(job_id=JobId(1))
        )
        answers = [each for each in await listener.heard(1) if isinstance(each, ToldWhy)]
        waits = await plane.balancer.waits(JobId(1))
        assert waits is not None
        assert (waits.why, waits.known, waits.ahead) == ("no worker is connected", False, 0)
        assert answers == [
            ToldWhy(job_id=JobId(1), waits=waits),
            ToldWhy(job_id=JobId(2), waits=None),
        ]


async def test_it_says_what_waits(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        await nursery.start(plane.balancer.run)
        await plane.submit(pipeline("p"), count=3)
        listener = await Listener.join(plane)
        asked = AskQueues(limit=5, client=None)
        await listener.say(asked, asked, AskQueues(limit=5, client="bob"))
        answers = [each for each in await listener.heard(1) if isinstance(each, ToldQueues)]
        found = await plane.balancer.queues(5, None)
        assert [(group.pipeline, group.jobs) for group in found.items] == [("p", 3)]
        assert [(each.client, len(each.queues.items)) for each in answers] == [
            (None, 1),
            ("bob", 0),
        ]


class SlowBus:
    """A bus on which everything that is said takes a while."""

    def __init__(self, bus: EmbeddedBus, seconds: float) -> None:
        self._bus = bus
        self._seconds = seconds
        self.subscribe = bus.subscribe
        self.tail = bus.tail
        self.forward = bus.forward

    async def publish(self, records: Sequence[Record]) -> None:
        await trio.sleep(self._seconds)
        await self._bus.publish(records)


async def test_it_answers_one_by_one_and_nobody_who_waits_no_more(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        slow = SlowBus(plane.bus, 0.4 * limits.ANSWER_S)
        balancer = BalancerService(Policy(partitions=PARTITIONS), slow, now_ms)
        await nursery.start(balancer.run)
        await plane.submit(pipeline("p"), count=2)
        listener = await Listener.join(plane)
        await listener.heard(60)
        await listener.say(*(AskWhy(job_id=JobId(job_id)) for job_id in range(1, 6)))
        # Each answer tells how things are when it is given, not when the first one was.
        await plane.writer.write(lambda tx: plane.ledger.cancel_job(tx, JobId(2), "so", now_ms=0))
        found = [each for each in await listener.heard(60) if isinstance(each, ToldWhy)]
        assert [(each.job_id, each.waits is None) for each in found] == [
            (1, False),
            (2, True),
            (3, True),
        ]


async def test_changes_of_class_are_told_once_and_to_who_comes_new(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        listener = await Listener.join(plane)
        await nursery.start(plane.balancer.run)

        async def changes(*messages: Message, topic: Topic = Topic.TASK_NEWS) -> object:
            await listener.say(*messages, topic=topic)
            *_, told = await listener.heard(60)
            assert isinstance(told, Loads)
            return told.rules.changes

        announced = Announce(by=Service.API)
        assert await changes(announced, topic=Topic.TASK_COMMANDS) == ()
        assert await changes(WORKER) is None
        slower = msgspec.structs.replace(FINISHED, duration_seconds=900.0)
        changed = await changes(FINISHED, *[slower] * 5, topic=Topic.TASK_RUN_RESULTS)
        assert changed == plane.balancer.rules().changes != ()
        assert await changes(WorkerDown(worker="w", dispatcher="elsewhere", reason="so")) is None
        assert await changes(announced, topic=Topic.TASK_COMMANDS) == changed


async def test_it_tells_its_rules_and_follows_the_split(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        listener = await Listener.join(plane)
        await nursery.start(plane.balancer.run)
        await listener.heard(60)
        for share, slow in ((0.0, 0), (0.5, PARTITIONS // 2), (1.0, PARTITIONS)):
            await listener.say(SplitChanged(slow_share=share), topic=Topic.TASK_COMMANDS)
            *_, told = await listener.heard(60)
            assert isinstance(told, Loads)
            assert (told.rules.slow_share, told.rules.split_auto) == (share, False)
            assert [load.speed for load in told.loads].count(Speed.SLOW) == slow
            assert plane.balancer.rules() == msgspec.structs.replace(told.rules, changes=())
        await listener.say(SplitChanged(slow_share=None), topic=Topic.TASK_COMMANDS)
        assert plane.balancer.rules().split_auto
        assert not plane.unread()


async def test_it_learns_what_it_does_not_know_and_keeps_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        async with trio.open_nursery() as first:
            await first.start(plane.balancer.run)
            listener = await Listener.join(plane)
            assert plane.balancer.expected("p", "only") is None
            await listener.say(Learned(durations=(("p", "only", (2.0, 2.0)), ("q", "j", ()))))
            await listener.say(Learned(durations=(("p", "only", (90.0,)),)))
            assert plane.balancer.expected("p", "only") == pytest.approx(2.0, rel=0.5)
            assert plane.balancer.expected("q", "j") is None
            await listener.say(WORKER)
            assert sum(load.slots for load in plane.balancer.partitions()) == PARTITIONS
            first.cancel_scope.cancel()
        await nursery.start(plane.balancer.run)
        assert plane.balancer.expected("p", "only") == pytest.approx(2.0, rel=0.5)
        assert sum(load.slots for load in plane.balancer.partitions()) == 0


async def test_what_it_learns_counts_for_what_is_there_already(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        await nursery.start(plane.balancer.run)
        listener = await Listener.join(plane)
        one_slot = msgspec.structs.replace(WORKER, slots=1, partitions=(0,))
        await plane.submit(pipeline("p"), count=2)
        await listener.say(one_slot)
        assert plane.balancer.rules().slow_running == 1  # Nothing was known of it.
        await listener.say(Learned(durations=(("p", "only", (0.01,) * 9),)))
        assert plane.balancer.rules().slow_running == 0


async def test_what_is_not_for_it_is_acknowledged_at_once(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        listener = await Listener.join(plane)
        await nursery.start(plane.balancer.run)
        await listener.say(AskWhy(job_id=JobId(1)), WORKER, topic=Topic.TASK_RUNS)
        await listener.say(AskWhy(job_id=JobId(1)), WORKER, topic=Topic.TASK_COMMANDS)
        assert not plane.unread()
        assert sum(load.slots for load in plane.balancer.partitions()) == 0


async def test_jobs_of_all_partitions_are_taken_and_acknowledged(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        listener = await Listener.join(plane)
        await nursery.start(plane.balancer.run)
        jobs = [
            JobReady(
                run_id=RunId(number),
                job_id=JobId(number),
                attempt=1,
                pipeline="p",
                name="only",
                stage="s",
                client="ann",
                kind="Sleep",
                version="1.0.0",
                order=(10, 10, 0, 10),
                created_ms=now_ms(),
                ready_ms=now_ms(),
            )
            for number in range(3)
        ]
        records = [Record(Topic.TASK_RUNS, job, None, 2 * job.job_id) for job in jobs]
        await plane.bus.publish(records)
        await listener.say(Learned(durations=(("p", "only", (1.0,)),)), WORKER)
        await wait_all_tasks_blocked()
        assert not plane.unread(Topic.TASK_RUNS)
        assert sum(load.running for load in plane.balancer.partitions()) == len(jobs)
