"""Owns how a worker notices that its gateway is there: by every byte that passes, in or out."""

import socket as sockets
from typing import Final

import trio

# Bytes that the system takes from us before they are sent: what waits there shows no progress.
_UNSENT_BYTES: Final = 64 * 1024


class LiveStream(trio.abc.Stream):
    """A stream that knows when bytes have passed last."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._passed_s = trio.current_time()
        below = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        if isinstance(below, trio.SocketStream) and hasattr(sockets, "TCP_NOTSENT_LOWAT"):
            below.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)

    def silent_s(self) -> float:
        """For how long nothing has passed, in seconds."""
        return trio.current_time() - self._passed_s

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive, as of any stream."""
        data = await self._stream.receive_some(max_bytes)
        self._passed_s = trio.current_time()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send, as of any stream."""
        await self._stream.send_all(data)
        self._passed_s = trio.current_time()

    async def wait_send_all_might_not_block(self) -> None:
        """As of any stream."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """As of any stream."""
        await self._stream.aclose()
