"""Owns a gateway for tests, and sockets to it as a worker would open them."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
import trio
from trio_websocket import ConnectionRejected, WebSocketConnection, wrap_client_stream

from control.model import limits
from control.model.errors import Unavailable
from control.model.numbers import JobId
from control.model.states import Role
from control.model.worker import wire
from control.services.gateway import Gateway
from control.worker_channel import Arrival, Connected, Disconnected

ROLES = {"w": Role.WORKER, "root": Role.ADMIN, "v": Role.VIEWER}
HELLO = wire.Hello(version=1, worker="w-1", host="h", slots=2, now_ms=1)
LEASE = wire.Lease(JobId(1), 1, 1)
BEAT = b'{"t":"beat","now_ms":1}'


@asynccontextmanager
async def connected(
    port: int, authorization: bytes, *subprotocols: str
) -> AsyncIterator[WebSocketConnection]:
    """A client's end whose stream is closed however the connection ends."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    headers = [(b"Authorization", authorization)]
    try:
        async with trio.open_nursery() as nursery:
            yield await wrap_client_stream(
                nursery,
                stream,
                "x",
                "/",
                subprotocols=subprotocols,
                extra_headers=headers,
                max_message_size=limits.FRAME_BYTES_MAX,
            )
            nursery.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(stream)


async def rejected(port: int, authorization: bytes, *subprotocols: str) -> ConnectionRejected:
    """The answer to who is not let in."""
    with pytest.RaisesGroup(ConnectionRejected) as refused:
        async with connected(port, authorization, *subprotocols):
            pass
    (answer,) = refused.value.exceptions
    assert isinstance(answer, ConnectionRejected)
    return answer


def basic(client: str, secret: str) -> bytes:
    return b"Basic " + base64.b64encode(f"{client}:{secret}".encode())


class World:
    """A gateway on a free port, and what it hands to the dispatcher."""

    def __init__(self) -> None:
        send, self.arrivals = trio.open_memory_channel[Arrival](limits.ARRIVALS_MAX)
        self.gateway = Gateway("127.0.0.1", 0, self._role_of, send)
        self.verified = trio.Event()
        self.verified.set()
        self.port = 0

    async def _role_of(self, client: str, secret: str, _address: str) -> Role | None:
        await self.verified.wait()
        if client == "early":
            message = "the clients are not known yet; try again"
            raise Unavailable(message)
        return ROLES.get(client) if secret == "s:e" else None

    @asynccontextmanager
    async def socket(
        self, client: str = "w", secret: str = "s:e", *subprotocols: str
    ) -> AsyncIterator[WebSocketConnection]:
        names = subprotocols or (wire.SUBPROTOCOL,)
        async with connected(self.port, basic(client, secret), *names) as socket:
            yield socket

    async def next(self) -> Arrival:
        with trio.fail_after(30):
            return await self.arrivals.receive()

    async def works(self) -> None:
        """Whatever happened before, the next worker is served."""
        async with self.socket() as socket:
            await socket.send_message(wire.ENCODER.encode([HELLO]))
            assert isinstance(await self.next(), Connected)
        assert isinstance(await self.next(), Disconnected)


@asynccontextmanager
async def opened() -> AsyncIterator[World]:
    world = World()
    async with trio.open_nursery() as nursery:
        world.port = await nursery.start(world.gateway.run)
        yield world
        nursery.cancel_scope.cancel()


def result(output: bytes, **fields: object) -> bytes:
    values: dict[str, object] = {
        "t": "result",
        "lease": [1, 1, 1],
        "outcome": "done",
        "finished_ms": 1,
        "duration": 1.0,
        "output": msgspec.Raw(output),
    }
    return msgspec.json.encode(values | fields)
