"""Owns the gateways that tests of the worker talk to: a pure one, and one behind a real socket."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import msgspec
import trio
from msgspec import Raw
from trio_websocket import (
    ConnectionClosed,
    WebSocketConnection,
    WebSocketRequest,
    serve_websocket,
)

from control.model import limits
from control.model.numbers import JobId, RunId
from control.model.worker import wire
from control.model.worker.wire import (
    Ack,
    Assign,
    Ended,
    FromWorker,
    Hello,
    Lease,
    ToWorker,
    Welcome,
)

F = TypeVar("F")


def lease(job_id: int, attempt: int = 1, epoch: int = 1) -> Lease:
    """A lease of a job's first attempt, if nothing else is said."""
    return Lease(JobId(job_id), attempt, epoch)


def assign(
    job_id: int,
    params: object = None,
    *,
    kind: str = "Sleep",
    timeout: float | None = None,
    env: dict[str, str] | None = None,
    job_input: object = None,
) -> Assign:
    """An assignment; without params, of a job that does nothing."""
    work = {"params": {"seconds": 0} if params is None else params, "env": env or {}}
    return Assign(
        lease=lease(job_id),
        run_id=RunId(1000 + job_id),
        name=f"job-{job_id}",
        kind=kind,
        version="1.0.0",
        timeout=timeout,
        work=Raw(msgspec.json.encode(work)),
        input=Raw(msgspec.json.encode(job_input or {"run": None, "jobs": {}})),
    )


def encoded(*frames: ToWorker) -> bytes:
    """One message of the gateway."""
    return wire.ENCODER.encode(list(frames))


def decoded(message: bytes | str) -> list[FromWorker]:
    """What one message of the worker says; fails if it breaks a limit."""
    frames = wire.FROM_WORKER.decode(message)
    assert len(frames) <= limits.FRAME_MESSAGES_MAX
    assert len(message) <= limits.FRAME_BYTES_MAX
    return frames


WELCOME = Welcome(version=wire.VERSION, dispatcher="d-1")


class Gateway:
    """A gateway that does what a test says, and remembers all it was told."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 101
        self.refuse: str | None = None
        self.acks = True
        self.drop: tuple[Lease, ...] = ()
        self.hellos: list[Hello] = []
        self.headers: list[dict[bytes, bytes]] = []
        self.frames: list[FromWorker] = []
        self._socket: WebSocketConnection | None = None
        self._news = trio.Event()

    @property
    def is_connected(self) -> bool:
        """Whether a worker was welcomed, and is there."""
        return self._socket is not None

    async def send(self, *frames: ToWorker) -> None:
        """Send one message to the worker that is connected."""
        assert self._socket is not None
        await self._socket.send_message(encoded(*frames))

    async def until(self, what: Callable[[], F | None]) -> F:
        """Wait until something holds, looking whenever the worker said something."""
        with trio.fail_after(60):
            while not (found := what()):
                news = self._news
                await news.wait()
        return found

    async def disconnect(self) -> None:
        """Break the connection without a word."""
        assert self._socket is not None
        socket, self._socket = self._socket, None
        await socket._stream.aclose()  # noqa: SLF001 - A broken wire has no public name.

    def of(self, kind: type[F]) -> list[F]:
        """All frames of one type, in order."""
        return [frame for frame in self.frames if isinstance(frame, kind)]

    def result(self, job_id: int) -> Ended | None:
        """The last result of a job's first attempt."""
        found = [ended for ended in self.of(Ended) if ended.lease.job_id == job_id]
        return found[-1] if found else None

    async def serve(self, request: WebSocketRequest) -> None:
        """Serve one connection to its end."""
        self.headers.append(dict(request.headers))
        if self.status != 101:
            await request.reject(self.status)
            self._tell()
            return
        socket = await request.accept(subprotocol=wire.SUBPROTOCOL)
        try:
            (hello,) = decoded(await socket.get_message())
            assert isinstance(hello, Hello)
            self.hellos.append(hello)
            if self.refuse is not None:
                await socket.send_message(encoded(wire.Refused(reason=self.refuse)))
                self._tell()
                return
            welcome = Welcome(version=wire.VERSION, dispatcher="d-1", drop=self.drop)
            await socket.send_message(encoded(welcome))
            self._socket = socket
            while True:
                self._tell()
                frames = decoded(await socket.get_message())
                self.frames += frames
                ended = tuple(frame.lease for frame in frames if isinstance(frame, Ended))
                if ended and self.acks:
                    await socket.send_message(encoded(Ack(leases=ended)))
        except ConnectionClosed:
            self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, trio.Event()
        news.set()


@asynccontextmanager
async def running_gateway(gateway: Gateway) -> AsyncIterator[Gateway]:
    """Listen on a free port of this host while the block runs."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            partial(serve_websocket, gateway.serve, "127.0.0.1", 0, ssl_context=None)
        )
        gateway.url = f"ws://127.0.0.1:{server.port}"
        yield gateway
        nursery.cancel_scope.cancel()
