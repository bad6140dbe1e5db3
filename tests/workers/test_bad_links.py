"""Decides that slow links and links that break bring all results and all of each log."""

from collections import defaultdict
from pathlib import Path

import msgspec
import pytest
import trio
from msgspec import Raw

from bench.servers.bad_links import BadLink, bad_link
from control.model import limits
from control.model.states import Outcome
from control.model.worker import wire
from control.model.worker.wire import Ack, Assign, Began, Ended, Lease, Log, Welcome
from control.worker_channel import Connected, Disconnected, WorkerFrames
from tests.services.gateways import World, opened
from tests.workers.gateways import assign, lease
from tests.workers.test_gateway_connection import Side
from workers.logs import AttemptLog

TEXT = "".join(f"line {number} of the log\n" for number in range(20_000))
WELCOME = Welcome(version=wire.VERSION, dispatcher="d-1")


class Dispatcher:
    """What stands behind the real gateway: it welcomes, notes, and acknowledges."""

    def __init__(self, world: World, *assigned: Assign) -> None:
        self._world = world
        self._assigned = assigned
        self._news = trio.Event()
        self.lost = 0
        self.results: dict[Lease, Ended] = {}
        self.began: list[Lease] = []
        self.logs: defaultdict[Lease, bytearray] = defaultdict(bytearray)

    async def run(self) -> None:
        async for arrival in self._world.arrivals:
            match arrival:
                case Connected(peer=peer, hello=hello):
                    known = {*hello.holding, *self.results}
                    peer.send([WELCOME, *(job for job in self._assigned if job.lease not in known)])
                case Disconnected():
                    self.lost += 1
                case WorkerFrames(peer=peer, frames=frames):
                    for frame in frames:
                        self._take(frame)
                    done = tuple(frame.lease for frame in frames if isinstance(frame, Ended))
                    if done:
                        peer.send([Ack(leases=done)])
            news, self._news = self._news, trio.Event()
            news.set()

    async def until_ended(self, number: int) -> None:
        with trio.fail_after(120):
            while len(self.results) < number:
                await self._news.wait()

    def _take(self, frame: object) -> None:
        match frame:
            case Ended():
                self.results[frame.lease] = frame
            case Began():
                self.began.append(frame.lease)
            case Log():
                log, data = self.logs[frame.lease], frame.text.encode()
                assert frame.offset <= len(log)  # No gap.
                log[frame.offset :] = data + bytes(log[frame.offset + len(data) :])


async def execute(side: Side, number: int, output: bytes, text: str) -> None:
    """Do in the executor's place what it does with so many jobs."""
    for _ in range(number):
        with trio.fail_after(120):
            while (job := side.protocol.begin(0)) is None:
                await trio.lowlevel.checkpoint()
        log = AttemptLog(job.lease, side.protocol.logs)
        for line in text.splitlines(keepends=True):
            await log.write(line)
        log.finish()
        side.protocol.end(
            Ended(
                lease=job.lease,
                outcome=Outcome.DONE,
                finished_ms=1,
                duration=1.0,
                log_bytes=log.size,
                output=Raw(output),
            )
        )
        side.bell.ring()


def make_side(directory: Path, port: int) -> Side:
    return Side(directory, f"ws://127.0.0.1:{port}", client=("w", "s:e"))


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is silent for a second is lost: no link of these tests needs less for a message."""
    monkeypatch.setattr(limits, "SILENCE_S", 1.0)
    monkeypatch.setattr(limits, "QUIET_S", 0.5)
    monkeypatch.setattr(limits, "HEARTBEAT_S", 0.2)


@pytest.mark.usefixtures("_impatient")
async def test_a_slow_link_brings_a_large_input_a_long_log_and_a_large_output(
    tmp_path: Path,
) -> None:
    value = "x" * 400_000
    output = msgspec.json.encode(value)
    job = assign(1, job_input={"run": value, "jobs": {}})
    async with opened() as world, trio.open_nursery() as nursery:
        dispatcher = Dispatcher(world, job)
        nursery.start_soon(dispatcher.run)
        async with bad_link(BadLink(world.port, bytes_per_s=200_000)) as link:
            side = make_side(tmp_path, link.port)
            await nursery.start(side.link.run)
            await execute(side, 1, output, TEXT)
            await dispatcher.until_ended(1)
            assert bytes(dispatcher.results[lease(1)].output) == output
            assert dispatcher.logs[lease(1)].decode() == TEXT
        nursery.cancel_scope.cancel()


async def test_a_link_that_breaks_all_the_time_brings_everything(tmp_path: Path) -> None:
    output = msgspec.json.encode("x" * 20_000)
    jobs = [assign(number) for number in range(20)]
    text = TEXT[:100_000]
    async with opened() as world, trio.open_nursery() as nursery:
        dispatcher = Dispatcher(world, *jobs)
        nursery.start_soon(dispatcher.run)
        async with bad_link(BadLink(world.port, cut_after=400_000)) as link:
            side = make_side(tmp_path, link.port)
            await nursery.start(side.link.run)
            await execute(side, len(jobs), output, text)
            await dispatcher.until_ended(len(jobs))
            assert link.cuts > 1
            for job in jobs:
                assert bytes(dispatcher.results[job.lease].output) == output
                assert dispatcher.logs[job.lease].decode() == text
            with trio.fail_after(60):
                while side.spool.results or side.protocol.logs:
                    await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()


async def test_a_result_that_no_connection_can_carry_comes_in_parts(tmp_path: Path) -> None:
    """As large as an output may be, of characters of several bytes, beside small results."""
    large = msgspec.json.encode("äx" * 340_000)
    small = msgspec.json.encode("x" * 1_000)
    async with opened() as world, trio.open_nursery() as nursery:
        dispatcher = Dispatcher(world, assign(1), assign(2))
        nursery.start_soon(dispatcher.run)
        async with bad_link(BadLink(world.port, cut_after=100_000)) as link:
            side = make_side(tmp_path, link.port)
            await nursery.start(side.link.run)
            await execute(side, 1, large, TEXT[:300_000])
            await execute(side, 1, small, "")
            await dispatcher.until_ended(2)
            assert link.cuts > len(large) // 100_000
            assert bytes(dispatcher.results[lease(1)].output) == large
            assert bytes(dispatcher.results[lease(2)].output) == small
            assert list(dispatcher.results) == [lease(2), lease(1)]
            assert dispatcher.logs[lease(1)].decode() == TEXT[:300_000]
        nursery.cancel_scope.cancel()


async def test_a_worker_that_only_answers_pings_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SILENCE_S", 0.5)
    monkeypatch.setattr(limits, "QUIET_S", 0.2)
    monkeypatch.setattr(limits, "HEARTBEAT_S", 0.05)
    async with opened() as world, trio.open_nursery() as nursery:
        dispatcher = Dispatcher(world)
        nursery.start_soon(dispatcher.run)
        side = make_side(tmp_path, world.port)
        side.alive = False
        await nursery.start(side.link.run)
        with trio.fail_after(60):
            while not dispatcher.lost:
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
