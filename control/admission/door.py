"""Owns how connections are accepted: bounded in all and by address, never out of descriptors.

What the bounds let in is decided in `core/fair_use/connections`; a pending connection that has to
make room is cut. When the system has no descriptor left, accepting pauses, and one line says so.
"""

import errno
import itertools
import os
import resource
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NoReturn

import structlog
import trio

from control.admission.tally import LimitCounters
from control.core.fair_use.connections import Connections
from control.core.fair_use.rates import network_of
from control.model import limits
from control.model.names import Bound

LOG = structlog.get_logger("fair_use")
_FULL: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
_DOORS: Final = 2


class AcceptedConnection:
    """One accepted connection."""

    def __init__(
        self, stream: trio.SocketStream, host: str, established: Callable[[], None]
    ) -> None:
        self.stream = stream
        self.host = host
        self.established = established
        """To be called once it has made a request: from then on it is not cut for others."""


Serve = Callable[[AcceptedConnection], Awaitable[None]]


class ConnectionLimiter:
    """Accepts for one port. `most`: connections at once; of one address half of it."""

    def __init__(self, bound: Bound, tally: LimitCounters, most: int) -> None:
        self._bound = bound
        self._tally = tally
        self._connections = Connections(total=most, each=max(most // 2, 1))
        self._scopes: dict[int, trio.CancelScope] = {}
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._connections)

    async def accept(
        self, listeners: Sequence[trio.SocketListener], serve: Serve, handlers: trio.Nursery
    ) -> NoReturn:
        """Accept until cancelled; each connection is served in `handlers`."""
        async with trio.open_nursery() as nursery:
            for listener in listeners:
                nursery.start_soon(self._accept, listener, serve, handlers)
        raise AssertionError  # A listener never ends by itself.

    async def _accept(
        self, listener: trio.SocketListener, serve: Serve, handlers: trio.Nursery
    ) -> None:
        pause_s = limits.ACCEPT_PAUSE_S
        async with listener:
            while True:
                try:
                    stream = await listener.accept()
                except OSError as error:
                    if error.errno not in _FULL:
                        raise
                    reason = f"accepting fails: {os.strerror(error.errno)}"
                    self._tally.refused(self._bound, reason=reason)
                    await trio.sleep(pause_s)
                    pause_s = min(2 * pause_s, limits.ACCEPT_PAUSE_MAX_S)
                    continue
                pause_s = limits.ACCEPT_PAUSE_S
                if not self._admit(stream, serve, handlers):
                    await trio.aclose_forcefully(stream)

    def _admit(self, stream: trio.SocketStream, serve: Serve, handlers: trio.Nursery) -> bool:
        try:
            host = str(stream.socket.getpeername()[0])
        except OSError:  # It has gone already.
            return False
        number = next(self._numbers)
        admitted, evicted = self._connections.admit(number, network_of(host))
        if evicted is not None:
            self._scopes[evicted].cancel()
        if evicted is not None or not admitted:
            self._tally.refused(self._bound, address=host, open=str(len(self._connections)))
        if admitted:
            scope = self._scopes[number] = trio.CancelScope()
            handlers.start_soon(self._serve, number, stream, host, serve, scope)
        return admitted

    async def _serve(
        self,
        number: int,
        stream: trio.SocketStream,
        host: str,
        serve: Serve,
        scope: trio.CancelScope,
    ) -> None:
        def established() -> None:
            self._connections.established(number)

        try:
            with scope:
                await serve(AcceptedConnection(stream, host, established))
        finally:
            del self._scopes[number]
            self._connections.remove(number)
            # Also when it was cut: nothing is waited for.
            await trio.aclose_forcefully(stream)


def raise_descriptor_limit() -> int:
    """Raise the soft limit of descriptors to the hard one; gives how many there may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 2**20 if hard == resource.RLIM_INFINITY else min(hard, 2**20)
    if soft not in {resource.RLIM_INFINITY, most} and soft < most:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        except (OSError, ValueError):  # Some systems allow less than their hard limit says.
            return soft
        return most
    return soft if soft != resource.RLIM_INFINITY else most


def connections_of(wanted: int, descriptors: int) -> int:
    """How many connections a door may have, so that the store always has descriptors."""
    room = max(descriptors - limits.DESCRIPTORS_RESERVED, descriptors // 2) // _DOORS
    most = max(min(wanted, room), 2)
    if most < wanted:
        LOG.warning("fair_use.few_descriptors", wanted=wanted, connections=most)
    return most
