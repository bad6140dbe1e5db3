"""Decides what any bus promises: at least once, an exact forward, order within a partition."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
import trio.lowlevel
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from control.bus.interface import Bus, Subscription
from control.bus.tailing import follow
from control.model import limits
from control.model.bus.messages import JobReady, LogChunk, Message, Placed
from control.model.bus.records import Delivery, Receipts, Record
from control.model.errors import BusUnavailable
from control.model.names import Group, Topic
from control.model.numbers import JobId
from tests.conformance.buses import BUSES, OpenBus, kafka, log_rows
from tests.core.dispatcher.leasing import placed

JOBS, PLACED = Topic.TASK_RUNS, Topic.TASK_RUNS_LOAD_BALANCED


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def open_bus(request: pytest.FixtureRequest) -> OpenBus:
    if request.param == "kafka":
        return kafka(request.getfixturevalue("broker"))
    return BUSES[request.param]


def message(topic: Topic, number: int) -> Message:
    """One of those that belong there, with a number to know it by."""
    if topic == PLACED:
        return placed(number, "w")
    if topic == JOBS:
        return placed(number, "w").job
    return LogChunk(job_id=JobId(number), attempt=1, offset=0, text="")


def records(numbers: Sequence[int], topic: Topic = JOBS, partition: int = 0) -> list[Record]:
    return [Record(topic, message(topic, n), n, partition) for n in numbers]


def receipts(found: Sequence[Delivery], group: Group = Group.BALANCER) -> list[Receipts]:
    lanes = {(d.topic, d.partition) for d in found}
    return [
        Receipts(
            group,
            topic,
            partition,
            [d.offset for d in found if (d.topic, d.partition) == (topic, partition)],
        )
        for topic, partition in lanes
    ]


def numbers(found: Sequence[Delivery]) -> list[int]:
    got: list[int] = []
    for delivery in found:
        known = delivery.message
        if isinstance(known, Placed):
            known = known.job
        assert isinstance(known, JobReady | LogChunk)
        got.append(known.job_id)
    return got


async def take(subscription: Subscription, count: int) -> list[Delivery]:
    found: list[Delivery] = []
    with trio.fail_after(30):
        while len(found) < count:
            found += await subscription.receive()
    return found


async def nothing_more(bus: Bus, subscription: Subscription) -> None:
    """What is published now is the next thing to come."""
    await bus.publish(records([999_999]))
    assert numbers(await take(subscription, 1)) == [999_999]


async def test_a_group_gets_records_in_order(open_bus: OpenBus, tmp_path: Path) -> None:
    async with open_bus(tmp_path) as bus:
        jobs = await bus.subscribe(JOBS, Group.BALANCER)
        await bus.publish(records([1, 2]))
        await bus.publish(records([3]))
        assert numbers(await take(jobs, 3)) == [1, 2, 3]


async def test_what_was_not_acknowledged_comes_again(open_bus: OpenBus, tmp_path: Path) -> None:
    async with open_bus(tmp_path) as bus:
        jobs = await bus.subscribe(JOBS, Group.BALANCER)
        await bus.publish(records(range(10)))
        found = await take(jobs, 10)
        await bus.forward(receipts([found[at] for at in (0, 1, 5, 9)]), [])
    async with open_bus(tmp_path) as bus:
        jobs = await bus.subscribe(JOBS, Group.BALANCER)
        assert numbers(await take(jobs, 6)) == [2, 3, 4, 6, 7, 8]
        await nothing_more(bus, jobs)


async def test_a_forward_is_one_thing(open_bus: OpenBus, tmp_path: Path) -> None:
    async with open_bus(tmp_path) as bus:
        jobs = await bus.subscribe(JOBS, Group.BALANCER)
        await bus.subscribe(PLACED, Group.DISPATCHER)
        await bus.publish(records([1, 2]))
        found = await take(jobs, 2)
        await bus.forward(receipts(found[:1]), records([11], PLACED, 3))
    async with open_bus(tmp_path) as bus:
        jobs = await bus.subscribe(JOBS, Group.BALANCER)
        placed = await bus.subscribe(PLACED, Group.DISPATCHER)
        assert numbers(await take(jobs, 1)) == [2]
        (delivery,) = await take(placed, 1)
        assert (numbers([delivery]), delivery.partition) == ([11], 3)


async def test_groups_do_not_take_from_each_other(open_bus: OpenBus, tmp_path: Path) -> None:
    async with open_bus(tmp_path) as bus:
        one = await bus.subscribe(JOBS, Group.BALANCER)
        other = await bus.subscribe(JOBS, Group.TRIGGER)
        await bus.publish(records([1, 2, 3]))
        await bus.forward(receipts(await take(one, 3)), [])
    async with open_bus(tmp_path) as bus:
        other = await bus.subscribe(JOBS, Group.TRIGGER)
        assert numbers(await take(other, 3)) == [1, 2, 3]


async def test_partitions_have_offsets_of_their_own(open_bus: OpenBus, tmp_path: Path) -> None:
    async with open_bus(tmp_path) as bus:
        placed = await bus.subscribe(PLACED, Group.DISPATCHER)
        await bus.publish(records([1, 2], PLACED, 0) + records([3, 4], PLACED, 7))
        found = await take(placed, 4)
        seven = [delivery for delivery in found if delivery.partition == 7]
        assert numbers(seven) == [3, 4]
        await bus.forward(receipts(seven[1:], Group.DISPATCHER), [])
    async with open_bus(tmp_path) as bus:
        placed = await bus.subscribe(PLACED, Group.DISPATCHER)
        assert sorted(numbers(await take(placed, 3))) == [1, 2, 3]


async def test_a_tail_gets_only_what_is_new(open_bus: OpenBus, tmp_path: Path) -> None:
    async with open_bus(tmp_path) as bus:
        await bus.subscribe(JOBS, Group.BALANCER)
        await bus.publish(records([1]))
        tail = await bus.tail(JOBS)
        await bus.publish(records([2]))
        assert numbers(await take(tail, 1)) == [2]


async def test_a_tail_that_falls_behind_is_told(open_bus: OpenBus, tmp_path: Path) -> None:
    async with open_bus(tmp_path) as bus:
        tail = await bus.tail(Topic.TASK_RUN_LOGS)
        portion = 50_000
        for _ in range(limits.SUBSCRIPTION_RECORDS_MAX // portion + 1):
            await bus.publish(records(range(portion), Topic.TASK_RUN_LOGS))
        with pytest.raises(BusUnavailable, match="missed records"):
            await take(tail, 2 * limits.SUBSCRIPTION_RECORDS_MAX)


async def test_a_slow_reader_of_a_group_misses_nothing(open_bus: OpenBus, tmp_path: Path) -> None:
    count, portion = limits.SUBSCRIPTION_RECORDS_MAX + 25_000, 25_000
    async with open_bus(tmp_path) as bus:
        jobs = await bus.subscribe(JOBS, Group.BALANCER)
        for first in range(0, count, portion):
            await bus.publish(records(range(first, first + portion)))
        assert numbers(await take(jobs, count)) == list(range(count))
        await nothing_more(bus, jobs)


async def test_what_is_published_during_a_catch_up_comes_once(
    open_bus: OpenBus, tmp_path: Path
) -> None:
    backlog, more = limits.RECEIVE_RECORDS_MAX * 3, 200

    async def publish(bus: Bus) -> None:
        for number in range(backlog, backlog + more):
            await bus.publish(records([number]))

    for turn in range(3):
        directory = tmp_path / str(turn)
        directory.mkdir()
        async with open_bus(directory) as bus:
            await bus.subscribe(JOBS, Group.BALANCER)
            await bus.publish(records(range(backlog)))
        async with open_bus(directory) as bus, trio.open_nursery() as nursery:
            jobs = await bus.subscribe(JOBS, Group.BALANCER)
            nursery.start_soon(publish, bus)
            assert numbers(await take(jobs, backlog + more)) == list(range(backlog + more))
            await nothing_more(bus, jobs)


async def test_cancellation_loses_no_record(open_bus: OpenBus, tmp_path: Path) -> None:
    async with open_bus(tmp_path) as bus:
        jobs = await bus.subscribe(JOBS, Group.BALANCER)
        found: list[Delivery] = []
        for number in range(50):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(bus.publish, records([number]))
                with trio.CancelScope() as scope:
                    if number % 2:
                        scope.cancel()
                    found += await jobs.receive()
        with trio.fail_after(5):
            while len(found) < 50:
                found += await jobs.receive()
        assert numbers(found) == list(range(50))


async def test_receipts_twice_change_nothing(open_bus: OpenBus, tmp_path: Path) -> None:
    async with open_bus(tmp_path) as bus:
        jobs = await bus.subscribe(JOBS, Group.BALANCER)
        await bus.publish(records([1, 2]))
        found = await take(jobs, 2)
        for _ in range(3):
            await bus.forward(receipts(found[1:]), [])
    async with open_bus(tmp_path) as bus:
        jobs = await bus.subscribe(JOBS, Group.BALANCER)
        assert numbers(await take(jobs, 1)) == [1]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(st.integers(1, 20), st.lists(st.integers(0, 200), max_size=20)), max_size=6
    )
)
async def test_restarts_lose_and_double_nothing(
    open_bus: OpenBus,
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[int, list[int]]],
) -> None:
    directory = tmp_path_factory.mktemp("bus")
    published, done = 0, set[int]()
    for count, acked in steps:
        async with open_bus(directory) as bus:
            jobs = await bus.subscribe(JOBS, Group.BALANCER)
            await bus.publish(records(range(published, published + count)))
            published += count
            left = [number for number in range(published) if number not in done]
            found = await take(jobs, len(left))
            assert numbers(found) == left
            chosen = [delivery for delivery in found if numbers([delivery])[0] in acked]
            await bus.forward(receipts(chosen), [])
            done.update(numbers(chosen))


async def test_the_embedded_log_shrinks_when_all_groups_are_done(tmp_path: Path) -> None:
    async with BUSES["embedded"](tmp_path) as bus:
        jobs = await bus.subscribe(JOBS, Group.BALANCER)
        for first in range(0, 100, 10):
            await bus.publish(records(range(first, first + 10)))
        found = await take(jobs, 100)
        await bus.forward(receipts(found[1:]), [])
        assert log_rows(tmp_path) == 10
        await bus.forward(receipts(found[:1]), [])
        assert log_rows(tmp_path) == 0
    async with BUSES["embedded"](tmp_path) as bus:
        jobs = await bus.subscribe(JOBS, Group.BALANCER)
        await bus.publish(records([100]))
        (delivery,) = await take(jobs, 1)
        assert delivery.offset == 100


async def test_a_group_that_joins_late_does_not_keep_the_log(tmp_path: Path) -> None:
    async with BUSES["embedded"](tmp_path) as bus:
        jobs = await bus.subscribe(JOBS, Group.BALANCER)
        await bus.publish(records(range(10)))
        await bus.forward(receipts(await take(jobs, 10)), [])
        late = await bus.subscribe(JOBS, Group.STATISTICS)
        await bus.publish(records([10]))
        await bus.forward(receipts(await take(jobs, 1)), [])
        found = await take(late, 1)
        assert numbers(found) == [10]
        await bus.forward(receipts(found, Group.STATISTICS), [])
        assert log_rows(tmp_path) == 0


async def test_a_tail_that_was_told_it_is_behind_keeps_nothing_more(
    open_bus: OpenBus, tmp_path: Path
) -> None:
    """Its reader takes a new one; nobody would ever empty the old."""
    async with open_bus(tmp_path) as bus:
        tail = await bus.tail(Topic.TASK_RUN_LOGS)
        await bus.publish(records(range(limits.SUBSCRIPTION_RECORDS_MAX + 1), Topic.TASK_RUN_LOGS))
        with pytest.raises(BusUnavailable, match="missed records"):
            await tail.receive()
        await bus.publish(records([7], Topic.TASK_RUN_LOGS))
        with pytest.raises(BusUnavailable, match="missed records"):
            await tail.receive()


async def test_who_follows_a_topic_gets_the_answers_to_what_it_asks_after_a_gap(
    open_bus: OpenBus, tmp_path: Path
) -> None:
    topic, calls = Topic.TASK_RUN_LOGS, list[str]()
    async with open_bus(tmp_path) as bus:

        async def ask() -> None:
            calls.append("gap")
            await bus.publish(records([7], topic))

        followed = await follow(bus, topic, "test", ask, lambda: calls.append("loss"))
        await bus.publish(records([1], topic))
        with trio.fail_after(30):
            assert await followed.receive() == [message(topic, 1)]
            assert not calls
            await bus.publish(records(range(limits.SUBSCRIPTION_RECORDS_MAX + 1), topic))
            assert await followed.receive() == [message(topic, 7)]
        assert calls == ["loss", "gap"]


async def test_who_follows_a_topic_and_asks_for_nothing_goes_on(tmp_path: Path) -> None:
    topic = Topic.TASK_RUN_LOGS
    async with BUSES["embedded"](tmp_path) as bus, trio.open_nursery() as nursery:
        followed = await follow(bus, topic, "test", None)
        await bus.publish(records(range(limits.SUBSCRIPTION_RECORDS_MAX + 1), topic))

        async def go_on() -> None:
            assert await followed.receive() == [message(topic, 8)]

        nursery.start_soon(go_on)
        await wait_all_tasks_blocked()
        await bus.publish(records([8], topic))


async def test_receiving_lets_others_run(open_bus: OpenBus, tmp_path: Path) -> None:
    async with open_bus(tmp_path) as bus:
        tail = await bus.tail(JOBS)
        await bus.publish(records(range(4 * limits.RECEIVE_RECORDS_MAX)))
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            for _ in range(4):
                await tail.receive()
            assert turns > 1
            nursery.cancel_scope.cancel()


async def test_one_commit_may_be_larger_than_a_row(tmp_path: Path) -> None:
    """SQLite refuses a blob of a gigabyte, and would refuse it again at each new try."""
    text = "x" * limits.MIB
    chunks = [
        Record(JOBS, LogChunk(job_id=JobId(n), attempt=1, offset=0, text=text), n)
        for n in range(3 * limits.BUS_ROW_BYTES_MAX // limits.MIB)
    ]
    async with BUSES["embedded"](tmp_path) as bus:
        await bus.subscribe(JOBS, Group.BALANCER)
        await bus.publish(chunks)
    with sqlite3.connect(tmp_path / "state.db") as conn:
        largest = conn.execute("SELECT max(length(body)) FROM bus_log").fetchone()[0]
    conn.close()
    assert largest <= limits.BUS_ROW_BYTES_MAX
    async with BUSES["embedded"](tmp_path) as bus:
        jobs = await bus.subscribe(JOBS, Group.BALANCER)
        found = await take(jobs, len(chunks))
        assert [delivery.offset for delivery in found] == list(range(len(chunks)))
        assert [delivery.message for delivery in found] == [each.message for each in chunks]
        await bus.forward(receipts(found), [])
        assert log_rows(tmp_path) == 0
