"""Owns how gateway and dispatcher meet: what workers say, and a queue for each worker's answers."""

import msgspec
import trio

from control.model import limits
from control.model.worker import wire


class Peer:
    """One worker's connection, as the dispatcher sees it."""

    def __init__(self, worker: str) -> None:
        self.worker = worker
        self._waiting: list[wire.ToWorker] = []
        self._arrived = trio.Event()
        self._closed = False

    def send(self, frames: list[wire.ToWorker]) -> None:
        """Queue frames; bounded by the leases a worker can hold."""
        self._waiting += frames
        self._arrived.set()

    def close(self) -> None:
        """Close the socket once what is queued has been sent."""
        self._closed = True
        self._arrived.set()

    async def take(self) -> list[wire.ToWorker]:
        """Wait for frames to send; none when the peer was closed."""
        while not self._waiting and not self._closed:
            self._arrived = trio.Event()
            await self._arrived.wait()
        frames = self._waiting[: limits.FRAME_MESSAGES_MAX]
        del self._waiting[: limits.FRAME_MESSAGES_MAX]
        return frames


class Connected(msgspec.Struct, frozen=True):
    """A worker said hello. `client`: whose credentials it came with."""

    peer: Peer
    hello: wire.Hello
    client: str = ""


class WorkerFrames(msgspec.Struct, frozen=True):
    """A worker's frames, in order."""

    peer: Peer
    frames: list[wire.FromWorker]


class Quiet(msgspec.Struct, frozen=True):
    """A worker has said nothing for `limits.QUIET_S`; what it says next ends that."""

    peer: Peer


class Disconnected(msgspec.Struct, frozen=True):
    """A worker's socket is closed."""

    peer: Peer
    reason: str


Arrival = Connected | WorkerFrames | Quiet | Disconnected
