"""Owns the network between workers and the plane: what is sent arrives late, in portions, or never.

A connection that breaks loses what is under way, or part of it: the plane may hear the rest of an
old connection when the next one is there already.
"""

import random
from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

import trio

from control.model.worker import wire
from control.worker_channel import Connected, Disconnected, Peer, WorkerFrames
from tests.services.plane import Plane

T = TypeVar("T")
_UNDER_WAY_MAX: Final = 4  # Messages in the buffers of a slow link.
_SLOWEST_S: Final = 0.4  # A portion takes up to so long.


class Network:
    """Which plane can be reached now. `nursery`: of what is under way, which outlives workers."""

    def __init__(self) -> None:
        self.plane: Plane | None = None
        self.arrived = trio.Event()
        self.nursery: trio.Nursery | None = None

    def up(self, plane: Plane) -> None:
        """A plane accepts connections."""
        self.plane = plane
        self.arrived.set()

    def down(self) -> None:
        """There is none."""
        self.plane = None
        self.arrived = trio.Event()

    async def reach(self) -> Plane:
        """Wait for one."""
        while self.plane is None:
            await self.arrived.wait()
        return self.plane

    def connect(self, peer: Peer, plane: Plane, rng: random.Random) -> "Link":
        """A new connection of a worker."""
        assert self.nursery is not None
        link = Link(peer, plane, rng)
        self.nursery.start_soon(link.carry)
        return link


class Link:
    """One connection. It ends with the plane, or when the worker's side breaks it."""

    def __init__(self, peer: Peer, plane: Plane, rng: random.Random) -> None:
        self._peer = peer
        self._plane = plane
        self._rng = rng
        self._is_slow = rng.random() < 0.3
        self._room = _UNDER_WAY_MAX if self._is_slow else 0
        self._send, self._receive = trio.open_memory_channel[Connected | list[wire.FromWorker]](
            self._room
        )

    async def send(self, sent: Connected | list[wire.FromWorker]) -> None:
        """Hand in what the worker says; waits while the buffers are full."""
        await self._send.send(sent)

    async def take(self) -> list[wire.ToWorker]:
        """What the plane says, as it arrives; none: it has closed the connection."""
        frames = await self._peer.take()
        await self._delay()
        return frames

    def split(self, frames: Sequence[T]) -> Iterator[list[T]]:
        """The portions in which frames arrive."""
        at = 0
        while at < len(frames):
            size = self._rng.randint(1, 3) if self._is_slow else len(frames)
            yield list(frames[at : at + size])
            at += size

    def cut(self) -> None:
        """The worker's side is gone: what is in the buffers may still arrive."""
        self._send.close()
        if self._rng.random() < 0.5:
            while True:
                try:
                    self._receive.receive_nowait()
                except (trio.WouldBlock, trio.EndOfChannel):
                    break

    async def carry(self) -> None:
        """Bring the worker's frames to the plane, and then tell it that the socket has closed."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end_with_plane, nursery.cancel_scope)
            greeted = False
            async for sent in self._receive:
                await self._delay()
                if isinstance(sent, Connected):
                    await self._plane.arrivals.send(sent)
                    greeted = True
                    continue
                for portion in self.split(sent):
                    await self._plane.arrivals.send(WorkerFrames(self._peer, portion))
                    await self._delay()
            if greeted:
                await trio.sleep(self._rng.choice((0.0, 0.0, 0.2, 1.0)))
                await self._plane.arrivals.send(Disconnected(self._peer, "it was closed"))
            nursery.cancel_scope.cancel()

    async def _delay(self) -> None:
        if self._is_slow:
            await trio.sleep(self._rng.uniform(0.0, _SLOWEST_S))

    async def _end_with_plane(self, scope: trio.CancelScope) -> None:
        await self._plane.died.wait()
        scope.cancel()
