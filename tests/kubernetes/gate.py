"""Owns a connection to the API server that a test can cut and mend."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


class Gate:
    """Forwards connections to a port of this host, while it is open."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._open = True
        self._connections: set[trio.CancelScope] = set()
        self.port = 0
        self.refused = trio.Event()  # A client has tried since the last `cut`.

    def cut(self) -> None:
        """End all connections, and take no others."""
        self._open = False
        self.refused = trio.Event()
        for scope in self._connections:
            scope.cancel()

    def mend(self) -> None:
        """Take connections again."""
        self._open = True

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Forward until cancelled."""
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        await trio.serve_listeners(self._serve, [listener], task_status=task_status)  # type: ignore[arg-type]

    async def _serve(self, near: trio.SocketStream) -> None:
        async with near:
            if not self._open:
                self.refused.set()
                return
            async with await trio.open_tcp_stream("127.0.0.1", self._target) as far:
                async with trio.open_nursery() as nursery:
                    self._connections.add(nursery.cancel_scope)
                    nursery.start_soon(self._carry, near, far, nursery.cancel_scope)
                    nursery.start_soon(self._carry, far, near, nursery.cancel_scope)
                self._connections.discard(nursery.cancel_scope)

    async def _carry(
        self, source: trio.SocketStream, sink: trio.SocketStream, both: trio.CancelScope
    ) -> None:
        try:
            while data := await source.receive_some():
                await sink.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        both.cancel()


@asynccontextmanager
async def gate(target: int) -> AsyncIterator[Gate]:
    """A gate, while the block runs."""
    made = Gate(target)
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run)
        yield made
        nursery.cancel_scope.cancel()
