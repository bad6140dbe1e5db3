"""Decides that no worker takes another one's name or leases: real sockets, gateway, dispatcher."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from control.bus.interface import Subscription
from control.model.bus.messages import Finished, WorkerUp
from control.model.names import Topic
from control.model.states import Outcome, Role
from control.model.worker import wire
from control.services.gateway import Gateway
from tests.services.gateways import basic, connected
from tests.services.plane import Plane, now_ms, opened, pipeline
from tests.workers.test_tpworker import Worker

SEEDS = range(3)
T = TypeVar("T")


@asynccontextmanager
async def gateway(folder: Path) -> AsyncIterator[tuple[Plane, int]]:
    """A control plane whose gateway lets every client in, and its port."""

    async def role_of(_client: str, _secret: str, _address: str) -> Role | None:
        await trio.lowlevel.checkpoint()
        return Role.WORKER

    async with opened(folder) as (plane, nursery):
        plane.client("ann")
        for service in (plane.trigger, plane.dispatcher, plane.balancer):
            await nursery.start(service.run)
        door = Gateway("127.0.0.1", 0, role_of, plane.arrivals)
        yield plane, await nursery.start(door.run)


def hello(instance: str, *holding: wire.Lease, worker: str = "w") -> wire.Hello:
    return wire.Hello(
        version=1,
        worker=worker,
        host="h",
        slots=2,
        kinds={"Sleep": ("1.0.0",)},
        holding=holding,
        now_ms=now_ms(),
        instance=instance,
    )


@asynccontextmanager
async def worker(
    port: int, client: str, instance: str, *holding: wire.Lease
) -> AsyncIterator[WebSocketConnection]:
    async with connected(port, basic(client, "s"), wire.SUBPROTOCOL) as socket:
        await say(socket, hello(instance, *holding))
        yield socket


async def say(socket: WebSocketConnection, *frames: wire.FromWorker) -> None:
    await socket.send_message(wire.ENCODER.encode(frames))


async def told(socket: WebSocketConnection) -> list[wire.ToWorker]:
    with trio.fail_after(30):
        return wire.TO_WORKER.decode(await socket.get_message())


async def lease_of(socket: WebSocketConnection) -> wire.Lease:
    while True:
        for frame in await told(socket):
            if isinstance(frame, wire.Assign):
                return frame.lease


async def said(news: Subscription, kind: type[T]) -> T:
    """The next message of this kind."""
    with trio.fail_after(60):
        while True:
            for delivery in await news.receive():
                if isinstance(delivery.message, kind):
                    return delivery.message


def result(lease: wire.Lease) -> wire.Ended:
    return wire.Ended(
        lease=lease, outcome=Outcome.DONE, started_ms=1, finished_ms=2, duration=0.001
    )


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_worker_of_another_client_gets_neither_name_nor_lease(
    tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    async with gateway(tmp_path) as (plane, port), worker(port, "wk", "aa") as first:
        assert isinstance((await told(first))[0], wire.Welcome)
        results = await plane.bus.tail(Topic.TASK_RUN_RESULTS)
        (run_id,) = await plane.submit(pipeline("p"))
        lease = await lease_of(first)
        guesses = [lease, *(wire.Lease(lease.job_id, 1, chance.getrandbits(63)) for _ in "abc")]
        async with worker(port, "wk2", chance.choice(["aa", "bb", ""]), *guesses) as thief:
            (frame,) = await told(thief)
            assert isinstance(frame, wire.Refused)
            assert "another client" in frame.reason
            with pytest.raises(ConnectionClosed):
                await told(thief)
        await say(first, result(lease))
        assert any(isinstance(frame, wire.Ack) for frame in await told(first))
        finished = await said(results, Finished)
        assert (finished.run_id, finished.outcome) == (run_id, Outcome.DONE)
        assert plane.dispatcher.leases.refused == 0


async def test_leases_of_one_batch_tell_nothing_of_each_other(tmp_path: Path) -> None:
    async with gateway(tmp_path) as (plane, port), worker(port, "wk", "aa") as socket:
        await plane.submit(pipeline("p"), count=2)
        first, second = await lease_of(socket), None
        for held in plane.dispatcher.leases.links["w"].holds:
            if held != first:
                second = held
        assert second is None or abs(second.epoch - first.epoch) > 1_000_000
        assert first.epoch > 1_000_000


async def test_a_second_process_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    async with gateway(tmp_path) as (plane, port), worker(port, "wk", "aa") as first:
        await told(first)
        async with worker(port, "wk", "bb") as second:
            await say(first, wire.Beat(now_ms=now_ms()))
            while plane.dispatcher.leases.links["w"].info.instance == "aa":
                # Whatever comes first, hello or heartbeat: the next heartbeat decides.
                with trio.move_on_after(0.1):
                    (frame,) = await told(second)
                    break
                await say(first, wire.Beat(now_ms=now_ms()))
            assert isinstance(frame, wire.Refused)
            assert "connected already, from h" in frame.reason
        assert plane.dispatcher.leases.links["w"].info.instance == "aa"


async def test_a_process_that_comes_back_has_its_name_at_once(tmp_path: Path) -> None:
    """Its former socket is half open: nobody has seen it close."""
    async with gateway(tmp_path) as (plane, port), worker(port, "wk", "aa") as first:
        await plane.submit(pipeline("p"))
        lease = await lease_of(first)
        async with worker(port, "wk", "aa", lease) as again:
            with trio.fail_after(2):
                (frame,) = await told(again)
            assert isinstance(frame, wire.Welcome)
            assert frame.drop == ()


@pytest.mark.slow
async def test_a_new_process_gets_in_when_the_first_proves_silent(tmp_path: Path) -> None:
    async with gateway(tmp_path) as (_, port), worker(port, "wk", "aa") as first:
        await told(first)
        async with worker(port, "wk", "bb") as second:
            with trio.fail_after(6):
                (frame,) = await told(second)
            assert isinstance(frame, wire.Welcome)


@pytest.mark.e2e
async def test_a_second_tpworker_of_a_name_ends_and_says_why(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    async with gateway(tmp_path) as (plane, port):
        flags = ("--url", f"ws://127.0.0.1:{port}", "--name", "same", "--kind", "Sleep")
        news = await plane.bus.tail(Topic.TASK_NEWS)
        with Worker(folders[0], *flags) as first:
            instance = (await said(news, WorkerUp)).instance
            with Worker(folders[1], *flags) as second:
                assert await second.exit_code() == 3
                words = second.stderr.read_text()
            assert "a worker with the name same is connected already" in words
            assert plane.dispatcher.leases.links["same"].info.instance == instance
            assert first.process.poll() is None
