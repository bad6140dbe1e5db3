"""Owns links as they are far from data centers: slow ones, and ones that break all the time."""

import math
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import trio

_BUFFER_BYTES = 8 * 1024  # What the link itself holds, in each direction.
_STEP_BYTES = 2 * 1024


class BadLink:
    """Forwards connections to a port of this host.

    `cut_after`: bytes of one connection, `cut_after_s`: seconds.
    """

    def __init__(
        self,
        port: int,
        *,
        bytes_per_s: float = math.inf,
        cut_after: float = math.inf,
        cut_after_s: float = math.inf,
    ) -> None:
        self._target = port
        self._bytes_per_s = bytes_per_s
        self._cut_after = cut_after
        self._cut_after_s = cut_after_s
        self.cuts = 0
        self.port = 0

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Forward until cancelled."""
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self.port = listener.socket.getsockname()[1]
        await trio.serve_listeners(self._serve, [listener], task_status=task_status)  # type: ignore[arg-type]

    async def _serve(self, near: trio.SocketStream) -> None:
        async with near:
            with suppress(OSError):  # The other end may have gone before us.
                async with await trio.open_tcp_stream("127.0.0.1", self._target) as far:
                    for stream in (near, far):
                        stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
                    with trio.move_on_after(self._cut_after_s) as time:
                        async with trio.open_nursery() as nursery:
                            nursery.start_soon(self._carry, near, far, nursery.cancel_scope)
                            nursery.start_soon(self._carry, far, near, nursery.cancel_scope)
                    self.cuts += time.cancelled_caught

    async def _carry(
        self, source: trio.SocketStream, sink: trio.SocketStream, both: trio.CancelScope
    ) -> None:
        carried = 0
        try:
            while data := await source.receive_some(_STEP_BYTES):
                await sink.send_all(data)
                carried += len(data)
                if carried > self._cut_after:
                    self.cuts += 1
                    break
                await trio.sleep(len(data) / self._bytes_per_s)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        both.cancel()


@asynccontextmanager
async def bad_link(link: BadLink) -> AsyncIterator[BadLink]:
    """The link, while the block runs."""
    async with trio.open_nursery() as nursery:
        await nursery.start(link.run)
        yield link
        nursery.cancel_scope.cancel()
