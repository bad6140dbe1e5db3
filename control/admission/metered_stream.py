"""Owns a websocket's socket on our side: what is announced too large is cut, before it is read.

`frames` measures what comes after the head of the handshake; messages that are large need a share
of the memory for such before more of them is read.
"""

from collections import deque
from contextlib import suppress
from typing import Final

import trio

from control.admission.door import AcceptedConnection
from control.admission.pool import Pool
from control.admission.tally import LimitCounters
from control.core.fair_use.frame_meter import CLOSE_TOO_LARGE, FrameMeter, FrameVerdict
from control.core.fair_use.shares import Ask
from control.model import limits
from control.model.names import Bound

_HEAD_END: Final = b"\r\n\r\n"


class _Arriving:
    """A message of which more than one piece comes: what is held for it, and its bytes so far."""

    __slots__ = ("shares", "size")

    def __init__(self) -> None:
        self.shares: list[Ask] = []
        self.size = 0


class MeteredStream(trio.abc.Stream):
    """The stream of one connection. Until `welcome` a message has HELLO_BYTES_MAX at most."""

    def __init__(self, guest: AcceptedConnection, tally: LimitCounters, large: Pool) -> None:
        self._guest = guest
        self._stream = guest.stream
        self._tally = tally
        self._sending = trio.Lock()
        self._meter = FrameMeter(limits.HELLO_BYTES_MAX)
        self._head: bytearray | None = bytearray()  # None: it has ended.
        self._before_answer = 0  # Bytes that came before the handshake was answered.
        self._accepted = False
        self._cut = False
        self._welcome = False
        self._large = large  # Bytes of large messages, of all connections.
        self._held: deque[_Arriving] = deque()  # Of each large message, until it is taken.
        self._taken: list[Ask] = []  # Of messages that are being handled.
        self._holding = 0  # Of the message that is arriving.
        self._due = trio.current_time() + limits.CONNECTION_HEAD_S
        self._reading = trio.CancelScope()
        self.alive_s = trio.current_time()  # When a message, or much of one, has come last.
        self._alive_bytes = 0  # Of messages, until then.

    @property
    def host(self) -> str:
        """The address of the other side."""
        return self._guest.host

    def accept(self) -> None:
        """The client was let in: what follows are frames."""
        self._accepted = True

    def welcome(self, largest: int) -> None:
        """From now on messages may have so many bytes, and the connection stays."""
        self._welcome = True
        self._meter.largest = largest
        self._reading.deadline = float("inf")
        self._guest.established()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes; empty at the end, when something is too large, or comes too late."""
        if self._cut:
            return b""
        deadline = float("inf") if self._welcome else self._due
        data = b""
        with trio.CancelScope(deadline=deadline) as self._reading:
            data = bytes(await self._stream.receive_some(max_bytes))
        if self._reading.cancelled_caught:
            self._cut = True
            self._tally.refused(Bound.REQUEST_PACE, address=self._guest.host)
            return b""
        if self._measure(data) is FrameVerdict.TOO_LARGE:
            self._cut = True
            self._tally.refused(Bound.FRAMES, address=self._guest.host)
            if self._accepted:
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await self.send_all(CLOSE_TOO_LARGE)
            await trio.aclose_forcefully(self._stream)
            return b""
        self._note_life()
        await self._hold()
        return data

    def take(self, message: bytes | str) -> None:
        """A message is taken: what is held for it is in use until `handled`."""
        if not self._held:
            return
        size = len(message) if isinstance(message, bytes) else len(message.encode())
        if size == self._held[0].size:  # Those that came in one piece hold nothing.
            self._taken += self._held.popleft().shares

    def handled(self) -> None:
        """What was taken has been handled."""
        while self._taken:
            self._large.release(self._taken.pop())

    def release(self) -> None:
        """The connection has ended."""
        while self._held:
            self._taken += self._held.popleft().shares
        self.handled()

    def _note_life(self) -> None:
        come = self._meter.payload_bytes
        ended = self._meter.announced == 0 and come > self._alive_bytes
        if ended or come - self._alive_bytes >= limits.LIFE_BYTES_MIN:
            self._alive_bytes, self.alive_s = come, trio.current_time()

    async def _hold(self) -> None:
        """Before more of a large message is read there has to be room for all of it."""
        if self._holding and self._meter.ended:  # Only the first of them may have begun before.
            self._held[-1].size = self._meter.ended[0]
            self._holding = 0
        announced = self._meter.announced
        if announced > max(limits.BODY_FREE_BYTES, self._holding):
            if self._holding == 0:
                self._held.append(_Arriving())
            missing, self._holding = announced - self._holding, announced
            arriving = self._held[-1]
            arriving.size = announced
            arriving.shares.append(await self._large.acquire(self._guest.host, missing))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send it."""
        async with self._sending:
            await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there may be room."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close it."""
        await self._stream.aclose()

    def _measure(self, data: bytes) -> FrameVerdict:
        if not self._accepted:
            self._before_answer += len(data)
            if self._before_answer > limits.HANDSHAKE_BYTES_MAX:
                return FrameVerdict.TOO_LARGE
        if self._head is None:
            return self._meter.feed(data)
        self._head += data
        end = self._head.find(_HEAD_END)
        if end < 0:
            return FrameVerdict.FINE
        frames = bytes(self._head[end + len(_HEAD_END) :])
        self._head = None
        return self._meter.feed(frames)
