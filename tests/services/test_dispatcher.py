"""Decides what workers are told, and that nothing is acknowledged before it is on the disk."""

from collections.abc import Sequence
from pathlib import Path

import trio
from trio.testing import MockClock

from control.model import limits
from control.model.bus.messages import (
    Announce,
    DispatcherUp,
    DrainWorker,
    Loads,
    SplitChanged,
    WorkerQuiet,
)
from control.model.bus.records import Record
from control.model.names import Service, Topic
from control.model.states import Outcome, State
from control.model.worker import wire
from control.worker_channel import Arrival, Connected, Disconnected, Peer, Quiet, WorkerFrames
from store.database.writer import Tx
from tests.services.plane import PARTITIONS, Plane, now_ms, opened, pipeline


def hello(*holding: wire.Lease, name: str = "w") -> wire.Hello:
    return wire.Hello(
        version=1,
        worker=name,
        host="h",
        slots=2,
        kinds={"Sleep": ("1.0.0",)},
        holding=holding,
        now_ms=now_ms(),
        instance="aa",
    )


async def connect(plane: Plane, *holding: wire.Lease) -> Peer:
    peer = Peer("w")
    await plane.arrivals.send(Connected(peer, hello(*holding)))
    return peer


async def frames(peer: Peer, kind: type[wire.ToWorker]) -> Sequence[wire.ToWorker]:
    """What the worker is told next, of this kind."""
    with trio.fail_after(60):
        while True:
            found = [frame for frame in await peer.take() if isinstance(frame, kind)]
            if found:
                return found


async def assigned(peer: Peer) -> wire.Lease:
    (frame,) = await frames(peer, wire.Assign)
    assert isinstance(frame, wire.Assign)
    return frame.lease


async def start(plane: Plane, nursery: trio.Nursery) -> None:
    for service in (plane.trigger, plane.dispatcher, plane.balancer):
        await nursery.start(service.run)


def ended(lease: wire.Lease) -> wire.Ended:
    return wire.Ended(lease=lease, outcome=Outcome.DONE, finished_ms=now_ms(), duration=0.1)


async def test_it_is_told_since_when_a_worker_says_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        news = await plane.bus.tail(Topic.TASK_NEWS)
        await nursery.start(plane.dispatcher.run)

        async def told(*arrivals: Arrival) -> list[int | None]:
            for arrival in arrivals:
                await plane.arrivals.send(arrival)
            found: list[int | None] = []
            with trio.move_on_after(1):
                while True:
                    for message in [each.message for each in await news.receive()]:
                        if isinstance(message, WorkerQuiet):
                            assert (message.worker, message.dispatcher) == ("w", "d")
                            found.append(message.since_ms)
            return found

        peer, stranger, beat = Peer("w"), Peer("w"), WorkerFrames(Peer("w"), [wire.Beat(now_ms=1)])
        since_ms = now_ms() - round(limits.QUIET_S * 1000)
        assert await told(Connected(peer, hello()), Quiet(peer)) == [since_ms]
        assert await told(Quiet(stranger), beat) == []  # They are of another connection.
        spoken = WorkerFrames(peer, [wire.Beat(now_ms=1)])
        assert await told(spoken, spoken) == [None]
        again = Connected(stranger, hello())
        since_ms = now_ms() - round(limits.QUIET_S * 1000)
        assert await told(Quiet(peer), again) == [since_ms, None]
        assert len(await told(Quiet(stranger), Disconnected(stranger, "silent"))) == 1
        assert await told(Connected(peer, hello()), spoken) == []


async def test_a_result_is_acknowledged_once_it_is_stored(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        await start(plane, nursery)
        await plane.submit(pipeline("p"))
        peer = await connect(plane)
        lease = await assigned(peer)
        plane.conn.execute("PRAGMA query_only = ON")  # Nothing can be written now.
        await plane.arrivals.send(WorkerFrames(peer, [ended(lease)]))
        with trio.move_on_after(30) as scope:
            await frames(peer, wire.Ack)
        assert scope.cancelled_caught
        plane.conn.execute("PRAGMA query_only = OFF")
        assert await frames(peer, wire.Ack) == [wire.Ack(leases=(lease,))]
        await trio.sleep(1)
        assert plane.runs()[0].state == State.DONE


async def test_a_result_outlives_a_plane_that_dies_before_storing_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        await start(plane, nursery)
        await plane.submit(pipeline("p"))
        peer = await connect(plane)
        lease = await assigned(peer)
        plane.die()
        await plane.arrivals.send(WorkerFrames(peer, [ended(lease)]))
        await trio.sleep(1)
    async with opened(tmp_path) as (plane, nursery):
        await start(plane, nursery)
        peer = await connect(plane, lease)
        await plane.arrivals.send(WorkerFrames(peer, [ended(lease)]))
        assert await frames(peer, wire.Ack) == [wire.Ack(leases=(lease,))]
        await trio.sleep(1)
        (run,) = plane.runs()
        assert (run.state, run.jobs[0].attempt) == (State.DONE, 1)


async def test_a_second_connection_of_one_name_closes_the_first(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        await start(plane, nursery)
        await plane.submit(pipeline("p"))
        first = await connect(plane)
        lease = await assigned(first)
        began = wire.Began(lease=lease, started_ms=now_ms())
        await plane.arrivals.send(WorkerFrames(first, [began]))
        second = await connect(plane, lease)
        assert await first.take() == []
        await plane.arrivals.send(
            WorkerFrames(first, [ended(lease)])
        )  # It has nothing to say any more.
        await plane.arrivals.send(Disconnected(first, "closed"))
        await trio.sleep(10 * limits.RECONNECT_GRACE_S)
        (run,) = plane.runs()
        assert (run.state, run.jobs[0].attempt) == (State.IN_PROGRESS, 1)
        await plane.arrivals.send(WorkerFrames(second, [ended(lease)]))
        await trio.sleep(1)
        assert plane.runs()[0].state == State.DONE


async def test_a_cancelled_run_is_stopped_at_its_worker(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        await start(plane, nursery)
        (run_id,) = await plane.submit(pipeline("p"))
        peer = await connect(plane)
        lease = await assigned(peer)

        def cancel(tx: Tx) -> None:
            plane.ledger.cancel_run(tx, run_id, "by order", now_ms=now_ms())

        await plane.writer.write(cancel)
        assert await frames(peer, wire.Cancel) == [wire.Cancel(lease=lease, reason="by order")]


async def test_a_cancel_while_the_dispatcher_is_down_reaches_the_running_job(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        await nursery.start(plane.trigger.run)
        await nursery.start(plane.balancer.run)
        async with trio.open_nursery() as life:
            await life.start(plane.dispatcher.run)
            (run_id,) = await plane.submit(pipeline("p"))
            peer = await connect(plane)
            lease = await assigned(peer)
            began = wire.Began(lease=lease, started_ms=now_ms())
            await plane.arrivals.send(WorkerFrames(peer, [began]))
            await trio.sleep(1)
            life.cancel_scope.cancel()
        (started,) = (job.started_ms for job in plane.run(run_id).jobs)
        await plane.writer.write(
            lambda tx: plane.ledger.cancel_run(tx, run_id, "by order", now_ms=now_ms())
        )
        await trio.sleep(1)
        await nursery.start(plane.dispatcher.run)
        assert await peer.take() == []  # Closed: it has to say hello again.
        peer = await connect(plane, lease)
        await plane.arrivals.send(WorkerFrames(peer, [began]))
        assert await frames(peer, wire.Cancel) == [wire.Cancel(lease=lease, reason="by order")]
        assert [job.started_ms for job in plane.run(run_id).jobs] == [started]


async def test_what_nobody_understands_is_finished_with(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        await nursery.start(plane.dispatcher.run)
        odd = DrainWorker(worker="nobody")
        for topic in (Topic.TASK_RUNS_LOAD_BALANCED, Topic.TASK_COMMANDS, Topic.TASK_NEWS):
            await plane.bus.publish([Record(topic, odd, partition=0)])
        await trio.sleep(1)
        assert plane.unread(Topic.TASK_RUNS_LOAD_BALANCED) == 0


async def test_a_dispatcher_says_that_it_is_there_and_asks_who_else_is(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        commands = await plane.bus.tail(Topic.TASK_COMMANDS)
        news = await plane.bus.tail(Topic.TASK_NEWS)
        await nursery.start(plane.dispatcher.run)
        (asked,) = await commands.receive()
        assert asked.message == Announce(by=Service.DISPATCHER)
        told = (await news.receive())[0].message
        assert isinstance(told, DispatcherUp)
        assert told.partitions == tuple(range(PARTITIONS))
        assert not told.workers


async def test_slots_are_divided_by_the_classes_that_the_balancer_tells(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        await start(plane, nursery)
        peer = await connect(plane)
        await frames(peer, wire.Welcome)
        for share, chosen in ((0.0, (0, 1)), (0.5, (0, 2)), (0.7, (0, 1))):
            split = SplitChanged(slow_share=share)
            await plane.bus.publish([Record(Topic.TASK_COMMANDS, split)])
            await trio.sleep(10 * limits.LOADS_EVERY_S)
            assert sorted(plane.dispatcher.leases.links["w"].info.partitions) == list(chosen)
            used = [load.partition for load in plane.balancer.partitions() if load.slots]
            assert used == list(chosen)


async def test_a_balancer_with_other_partitions_changes_nothing_here(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        await start(plane, nursery)
        await frames(await connect(plane), wire.Welcome)
        before = plane.dispatcher.leases.links["w"].info
        told = Loads(loads=tuple(plane.balancer.partitions()[:1]), rules=plane.balancer.rules())
        await plane.bus.publish([Record(Topic.TASK_NEWS, told)])
        await trio.sleep(1)
        assert plane.dispatcher.leases.links["w"].info == before
