"""Decides how the worker's socket behaves towards gateways that refuse, break, and come back."""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from control.model import limits
from control.model.states import Outcome
from control.model.worker.wire import Beat, Ended, Log, Refused
from tests.workers.gateways import Gateway, assign, lease, running_gateway
from workers.gateway_connection import GatewayConnection, NotWelcome, pause_s
from workers.logs import LogBuffer
from workers.protocol import WorkerIdentity, WorkerProtocol
from workers.protocol_events import ProtocolEvent
from workers.spool import Spool
from workers.wakeup import Doorbell


class Side:
    """The worker's side: a link, with a test in the place of the executor."""

    def __init__(
        self, directory: Path, *urls: str, client: tuple[str, str] = ("ada", "pass:word")
    ) -> None:
        self.events: list[ProtocolEvent] = []
        self.bell = Doorbell()
        self.log_bell = Doorbell()
        self.spool = Spool(directory)
        identity = WorkerIdentity(worker="w", host="h", slots=2, labels=(), kinds={})
        self.protocol = WorkerProtocol(identity, LogBuffer(self.log_bell), self.spool.results)
        self.alive = True
        self.link = GatewayConnection(
            urls=urls,
            client_id=client[0],
            client_secret=client[1],
            protocol=self.protocol,
            spool=self.spool,
            bell=self.bell,
            log_bell=self.log_bell,
            deliver=self.events.append,
            pulse=lambda: self.alive,
            now_ms=lambda: 0,
            random=lambda: 0.5,
        )

    def end(self, job_id: int) -> None:
        ended = Ended(lease=lease(job_id), outcome=Outcome.DONE, finished_ms=1, duration=0.0)
        self.protocol.end(ended)
        self.bell.ring()


@asynccontextmanager
async def connected(directory: Path, gateway: Gateway, *others: str) -> AsyncIterator[Side]:
    side = Side(directory, *others, gateway.url)
    async with trio.open_nursery() as nursery:
        await nursery.start(side.link.run)
        await gateway.until(lambda: gateway.hellos)
        yield side
        nursery.cancel_scope.cancel()


async def assigned(gateway: Gateway, side: Side, job_id: int) -> None:
    await gateway.send(assign(job_id))
    with trio.fail_after(60):
        while not side.protocol.waiting:
            await trio.lowlevel.checkpoint()


async def test_results_are_sent_and_forgotten_when_acknowledged(tmp_path: Path) -> None:
    async with running_gateway(Gateway()) as gateway, connected(tmp_path, gateway) as side:
        await gateway.until(lambda: gateway.is_connected)
        assert gateway.headers[0][b"authorization"] == b"Basic YWRhOnBhc3M6d29yZA=="
        await assigned(gateway, side, 1)
        side.protocol.begin(0)
        side.end(1)
        await gateway.until(lambda: gateway.result(1))
        with trio.fail_after(60):
            while side.spool.results:
                await trio.lowlevel.checkpoint()


async def test_what_ends_while_disconnected_is_sent_after_the_reconnect(tmp_path: Path) -> None:
    async with running_gateway(Gateway()) as gateway, connected(tmp_path, gateway) as side:
        await gateway.until(lambda: gateway.is_connected)
        await assigned(gateway, side, 1)
        side.protocol.begin(0)
        await gateway.disconnect()
        side.end(1)
        await gateway.until(lambda: gateway.result(1))
        assert [hello.holding for hello in gateway.hellos] == [(), (lease(1),)]
        assert len(gateway.of(Ended)) == 1


async def test_an_unacknowledged_result_is_sent_again(tmp_path: Path) -> None:
    gateway = Gateway()
    gateway.acks = False
    async with running_gateway(gateway), connected(tmp_path, gateway) as side:
        await gateway.until(lambda: gateway.is_connected)
        await assigned(gateway, side, 1)
        side.protocol.begin(0)
        side.end(1)
        await gateway.until(lambda: gateway.result(1))
        await gateway.disconnect()
        await gateway.until(lambda: len(gateway.of(Ended)) == 2)
        assert Spool(tmp_path).results.keys() == {lease(1)}


async def test_log_text_is_sent_without_a_result(tmp_path: Path) -> None:
    async with running_gateway(Gateway()) as gateway, connected(tmp_path, gateway) as side:
        await gateway.until(lambda: gateway.is_connected)
        side.protocol.logs.add(lease(1), 0, "one\n", 4)
        side.protocol.logs.add(lease(1), 4, "two\n", 4)
        (log,) = await gateway.until(lambda: gateway.of(Log))
        assert log.text == "one\ntwo\n"


async def test_beats_stop_when_the_job_loop_is_deaf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HEARTBEAT_S", 0.01)
    async with running_gateway(Gateway()) as gateway, connected(tmp_path, gateway) as side:
        await gateway.until(lambda: gateway.of(Beat))
        side.alive = False
        await gateway.disconnect()
        gateway.frames.clear()
        await gateway.until(lambda: len(gateway.hellos) == 2 and gateway.is_connected)
        await assigned(gateway, side, 1)
        side.protocol.begin(0)
        side.end(1)
        await gateway.until(lambda: gateway.result(1))
        assert not gateway.of(Beat)


# trio-websocket leaves the socket of a rejected handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "its secret"), (403, "its secret"), (404, "no worker gateway at this address")],
)
async def test_a_wrong_secret_or_address_ends_the_first_try(
    tmp_path: Path, status: int, words: str
) -> None:
    gateway = Gateway()
    gateway.status = status
    async with running_gateway(gateway):
        side = Side(tmp_path, gateway.url)
        with pytest.raises(NotWelcome, match=f"{words}.*{status}"):
            await side.link.run()
    gc.collect()


async def test_a_refusal_ends_the_first_try(tmp_path: Path) -> None:
    gateway = Gateway()
    gateway.refuse = "your version is too old"
    async with running_gateway(gateway):
        side = Side(tmp_path, gateway.url)
        with pytest.raises(NotWelcome, match="too old"):
            await side.link.run()


async def test_a_later_refusal_is_waited_out(tmp_path: Path) -> None:
    async with running_gateway(Gateway()) as gateway, connected(tmp_path, gateway):
        await gateway.until(lambda: gateway.is_connected)
        gateway.refuse = "starting"
        await gateway.disconnect()
        await gateway.until(lambda: len(gateway.hellos) >= 2)
        gateway.refuse = None
        await gateway.until(lambda: gateway.is_connected)


async def test_gateways_are_tried_in_turn(tmp_path: Path) -> None:
    async with (
        running_gateway(Gateway()) as gateway,
        connected(tmp_path, gateway, "ws://127.0.0.1:1") as side,
    ):
        with trio.fail_after(60):
            while side.link.url != gateway.url:
                await trio.lowlevel.checkpoint()


async def test_a_gateway_that_breaks_the_protocol_is_left(tmp_path: Path) -> None:
    async with running_gateway(Gateway()) as gateway, connected(tmp_path, gateway):
        await gateway.until(lambda: gateway.is_connected)
        await gateway.send(Refused(reason="too late for that"))
        await gateway.until(lambda: len(gateway.hellos) == 2)


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_pauses_grow_to_a_limit(tries: int, chance: float) -> None:
    assert limits.RECONNECT_MIN_S / 2 <= pause_s(tries, chance) <= limits.RECONNECT_MAX_S
    assert pause_s(tries, chance) <= pause_s(tries + 1, 1.0)
