"""Owns one connection to the API: Hypercorn's HTTP/1.1 and websockets, over a socket of ours.

The library reads for as long as a client takes, and buffers what it refuses. Here a head has a
time limit, a piece of an answer has one, an idle connection too; a websocket's frames are measured
by their headers before the library sees a byte of their payload. HTTP/2 is not spoken.
"""

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import h11
import structlog
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol, H11WSConnection
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import (
    AppWrapper,
    ASGIReceiveEvent,
    ASGISendEvent,
    ConnectionState,
    H11SendableEvent,
    Scope,
)
from wsproto.utilities import ProtocolError

from control.admission.door import AcceptedConnection
from control.admission.tally import LimitCounters
from control.core.fair_use.frame_meter import CLOSE_TOO_LARGE, FrameMeter, FrameVerdict
from control.model import limits
from control.model.names import Bound

LOG = structlog.get_logger("api")
_Put = Callable[[ASGIReceiveEvent], Awaitable[None]]
_QUEUE: Final = 2  # Pieces of a body between the socket and the call.
_TOO_LATE: Final = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_CLIENT_ERROR_MAX: Final = 431
_MALFORMED: Final = (ValueError, h11.ProtocolError, ProtocolError)


class Connection:
    """Serves one connection until the client closes it, it is too slow, or the server stops."""

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        guest: AcceptedConnection,
        tally: LimitCounters,
    ) -> None:
        self._app = app
        self._config = config
        self._context = context
        self._guest = guest
        self._stream = guest.stream
        self._tally = tally
        self._sending = trio.Lock()
        self._meter = FrameMeter(limits.EVENT_FRAME_BYTES_MAX, limits.EVENT_FRAME_COMPRESSED_MAX)
        self._reading = trio.CancelScope()
        self._idle = True  # No request is under way.
        self._due = trio.current_time() + limits.CONNECTION_HEAD_S
        self._partial = False  # A head has begun to arrive.
        self._closed = False

    async def run(self) -> None:
        """Serve it."""
        socket = self._stream.socket
        try:
            client, server = socket.getpeername()[:2], socket.getsockname()[:2]
        except OSError:  # It has gone already.
            return
        async with trio.open_nursery() as watching:
            watching.start_soon(self._leave_when_stopping)
            async with trio.open_nursery() as calls:
                protocol = _Protocol(
                    self._app,
                    self._config,
                    self._context,
                    _Apps(calls),  # type: ignore[arg-type]  # What it uses of a task group.
                    ConnectionState({}),
                    False,
                    client,
                    server,
                    self._send,
                )
                await self._read(protocol)
                self._close()
                with suppress(*_MALFORMED):
                    await protocol.handle(Closed())  # Running calls get a disconnect.
            watching.cancel_scope.cancel()

    async def _read(self, protocol: H11Protocol) -> None:
        data = b"first"
        while data and not self._closed:
            data = await self._receive()
            websocket = isinstance(protocol.connection, H11WSConnection)
            if websocket and self._meter.feed(data) is FrameVerdict.TOO_LARGE:
                self._tally.refused(Bound.FRAMES, address=self._guest.host)
                await self._write(CLOSE_TOO_LARGE)
                return
            if self._idle and data and not self._partial:
                self._partial = True
                self._due = min(self._due, trio.current_time() + limits.CONNECTION_HEAD_S)
            try:
                await protocol.handle(RawData(data))
            except _MALFORMED as error:
                LOG.info("request.malformed", address=self._guest.host, reason=str(error))
                return
            except Exception:  # A stranger's bytes must not end the process.
                LOG.exception("connection.failed", address=self._guest.host)
                return

    async def _receive(self) -> bytes:
        """The next bytes; empty at the end, or when they are too late."""
        with trio.CancelScope(deadline=self._due) as self._reading:
            try:
                return bytes(await self._stream.receive_some(limits.CONNECTION_PIECE_BYTES))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return b""
        if self._partial and self._idle and not self._closed:
            self._tally.refused(Bound.REQUEST_PACE, address=self._guest.host)
            await self._write(_TOO_LATE)
        self._close()
        return b""

    async def _leave_when_stopping(self) -> None:
        await self._context.terminated.wait()
        if self._idle:
            self._close()

    async def _send(self, event: Event) -> None:
        if isinstance(event, RawData):
            await self._write(event.data)
            if event.data[:1] == CLOSE_TOO_LARGE[:1] and event.data[2:4] == CLOSE_TOO_LARGE[2:]:
                self._close()  # The library would go on taking in what it has refused.
        elif isinstance(event, Closed):
            self._close()
        elif isinstance(event, Updated):
            self._idle = event.idle
            self._partial = False
            if event.idle:
                self._due = trio.current_time() + limits.CONNECTION_IDLE_S
            else:
                self._guest.established()
                self._due = math.inf
            self._reading.deadline = self._due

    async def _write(self, data: bytes) -> None:
        """Send it in pieces: one that is not taken in time ends the connection.

        Shielded, as half a piece would spoil what follows; each piece has its limit.
        """
        async with self._sending:
            view = memoryview(data)
            for at in range(0, len(view), limits.CONNECTION_PIECE_BYTES):
                if self._closed:
                    return
                taken = False
                with (
                    trio.move_on_after(limits.CONNECTION_SEND_S, shield=True),
                    suppress(trio.BrokenResourceError, trio.ClosedResourceError),
                ):
                    await self._stream.send_all(view[at : at + limits.CONNECTION_PIECE_BYTES])
                    taken = True
                if not taken:
                    self._close()

    def _close(self) -> None:
        """Neither read nor write any more; the door closes the socket when all has ended."""
        self._closed = True
        self._reading.cancel()


class _Protocol(H11Protocol):
    async def _check_protocol(self, event: h11.Request) -> None:
        """Ignore offers of HTTP/2, as a server may (RFC 9110, section 7.8)."""

    async def _send_h11_event(self, event: H11SendableEvent) -> None:
        try:
            await super()._send_h11_event(event)
        except h11.LocalProtocolError:  # After what the client sent nothing can be answered.
            await self.send(Closed())

    async def _send_error_response(self, status_code: int) -> None:
        # What a client sent is never an error of the server's: not 501 for a transfer coding.
        await super()._send_error_response(status_code if status_code <= _CLIENT_ERROR_MAX else 400)


class _Apps:
    """Starts the application's side of a request; the part of a task group that is used."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._spawn_in = nursery

    async def spawn_app(
        self,
        app: AppWrapper,
        _config: Config,
        scope: Scope,
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
    ) -> _Put:
        """Start it; gives how it is handed what arrives."""
        put, take = trio.open_memory_channel[ASGIReceiveEvent](_QUEUE)

        async def receive() -> ASGIReceiveEvent:
            try:
                return await take.receive()
            except trio.EndOfChannel:
                return _gone(scope)

        async def deliver(event: ASGIReceiveEvent) -> None:
            if event["type"] in {"http.disconnect", "websocket.disconnect"}:
                put.close()  # Never waits for room.
                return
            # What arrives after the call has ended is for nobody.
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await put.send(event)

        async def run() -> None:
            with take:
                try:
                    await app(scope, receive, send, trio.to_thread.run_sync, trio.from_thread.run)
                except* Exception:  # One call's defect ends that call only.
                    LOG.exception("request.failed")
            await send(None)

        self._spawn_in.start_soon(run)
        return deliver


def _gone(scope: Scope) -> ASGIReceiveEvent:
    if scope["type"] == "http":
        return {"type": "http.disconnect"}
    return {"type": "websocket.disconnect", "code": 1006}
