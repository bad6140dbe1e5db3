"""Speaks the worker protocol for many workers at once, in one process; their jobs take no time.

Each worker has a websocket of its own, tells that a job began, then in another message that it
ended, and sends its heartbeat: to the control plane it is like any other.
"""

import base64
import os
import time
from typing import Annotated

import trio
import typer
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url

from control.model import limits
from control.model.states import Outcome
from control.model.worker import wire
from control.model.worker.wire import Assign, Beat, Began, Ended, FromWorker, Hello, Welcome

READY = "crowd ready"
_CONNECTING_MAX = 50
_SLOTS_MAX = 4


def main(
    gateway: Annotated[str, typer.Option(help="Such as ws://127.0.0.1:8701.")],
    workers: Annotated[int, typer.Option(help="How many.")] = 1_000,
) -> None:
    """Connect workers with 1 to 4 slots each, until SIGTERM. TP_CLIENT_ID and -SECRET: whose."""
    user = f"{os.environ['TP_CLIENT_ID']}:{os.environ['TP_CLIENT_SECRET']}".encode()
    headers = [(b"Authorization", b"Basic " + base64.b64encode(user))]
    trio.run(_connect_all, gateway, workers, headers)


async def _connect_all(gateway: str, workers: int, headers: list[tuple[bytes, bytes]]) -> None:
    gate = trio.CapacityLimiter(_CONNECTING_MAX)
    async with trio.open_nursery() as connected:
        async with trio.open_nursery() as connecting:
            for number in range(workers):

                async def connect(number: int = number) -> None:
                    async with gate:
                        await connected.start(_work, gateway, number, headers)

                connecting.start_soon(connect)
        print(READY, flush=True)


async def _work(
    gateway: str,
    number: int,
    headers: list[tuple[bytes, bytes]],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    async with open_websocket_url(
        gateway,
        subprotocols=[wire.SUBPROTOCOL],
        extra_headers=headers,
        max_message_size=limits.FRAME_BYTES_MAX,
    ) as socket:
        hello = Hello(
            version=wire.VERSION,
            worker=f"crowd-{number:04}",
            host=f"host-{number // 8:03}",
            slots=1 + number % _SLOTS_MAX,
            kinds={"Sleep": ("1.0.0",)},
            now_ms=_now_ms(),
        )
        await socket.send_message(wire.ENCODER.encode([hello]))
        (welcome,) = wire.TO_WORKER.decode(await socket.get_message())
        if not isinstance(welcome, Welcome):
            message = f"{hello.worker} is not welcome: {welcome}"
            raise SystemExit(message)
        task_status.started()
        try:
            await _serve(socket, number)
        except* ConnectionClosed:  # The control plane has ended. Who measures counts workers.
            pass


async def _serve(socket: WebSocketConnection, number: int) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_beat, socket, number)
        while True:
            frames = wire.TO_WORKER.decode(await socket.get_message())
            jobs = [frame for frame in frames if isinstance(frame, Assign)]
            if jobs:
                await _execute(socket, jobs)


async def _execute(socket: WebSocketConnection, jobs: list[Assign]) -> None:
    now_ms = _now_ms()
    began: list[FromWorker] = [Began(lease=job.lease, started_ms=now_ms) for job in jobs]
    await socket.send_message(wire.ENCODER.encode(began))
    ended: list[FromWorker] = [
        Ended(
            lease=job.lease,
            outcome=Outcome.DONE,
            started_ms=now_ms,
            finished_ms=now_ms,
            duration=0.0,
        )
        for job in jobs
    ]
    await socket.send_message(wire.ENCODER.encode(ended))


async def _beat(socket: WebSocketConnection, number: int) -> None:
    # Not all at once.
    await trio.sleep(limits.HEARTBEAT_S * (number % 100) / 100)
    while True:
        await socket.send_message(wire.ENCODER.encode([Beat(now_ms=_now_ms())]))
        await trio.sleep(limits.HEARTBEAT_S)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    typer.run(main)
