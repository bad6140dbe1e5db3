"""Owns the websocket of the live events: who may listen, what a listener says, what it is sent."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio
from litestar import WebSocket
from litestar.handlers import WebsocketRouteHandler

from control.api.auth.authentication import Caller
from control.api.auth.permissions import ROLES, check_role
from control.api.http import problems
from control.api.http.refusal import refuse
from control.api.live.broadcaster import Events
from control.api.live.subscriber import Listener
from control.api.ports import Parts
from control.core.fair_use.rates import network_of
from control.model import limits
from control.model.errors import Busy, TaskplaneError, Unavailable

Socket = WebSocket[Any, Any, Any]
_REASON_BYTES_MAX: Final = 123  # A closing frame has no room for more.
_POLICY: Final = 1008
_GOING_AWAY: Final = 1001


def socket_handler(parts: Parts, events: Events, path: str) -> WebsocketRouteHandler:
    """The route of the live events."""
    allowed = ROLES["GET", path]
    assert allowed is not None

    async def handle(socket: Socket) -> None:
        async def identified() -> Caller:
            address = network_of(socket.client.host if socket.client else "")
            found = await parts.gate.identify(socket.headers.get("authorization"), address)
            check_role(found, allowed)
            return found

        try:
            who = await identified()
            listener = events.join(who)
        except TaskplaneError as error:
            send: Callable[[Any], Awaitable[None]] = socket.send
            await refuse(send, error, "websocket.http.response")
            return
        try:
            await socket.accept()
            await _Session(socket, events, listener, identified).run()
        finally:
            events.leave(listener)

    return WebsocketRouteHandler(path)(handle)


class _Session:
    """One listener's websocket, once it was let in."""

    def __init__(
        self,
        socket: Socket,
        events: Events,
        listener: Listener,
        identified: Callable[[], Awaitable[Caller]],
    ) -> None:
        self._socket = socket
        self._events = events
        self._listener = listener
        self._identified = identified
        self._fault: str | None = None

    async def run(self) -> None:
        """Send and listen until one side has had enough."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen, nursery.cancel_scope)
            nursery.start_soon(self._until_closing, nursery.cancel_scope)
            nursery.start_soon(self._feed)
            nursery.start_soon(self._until_refused, nursery.cancel_scope)
        if self._fault is not None:
            await self._socket.close(code=_POLICY, reason=_cut(self._fault))
        elif self._events.closing.is_set():
            await self._socket.close(code=_GOING_AWAY, reason="the control plane stops")

    async def _listen(self, scope: trio.CancelScope) -> None:
        receive: Callable[[], Awaitable[Any]] = self._socket.receive
        while (said := await receive())["type"] != "websocket.disconnect":
            try:
                self._events.heed(self._listener, said.get("text"))
            except problems.Malformed as error:
                self._fault = str(error)
                break
        scope.cancel()

    async def _until_closing(self, scope: trio.CancelScope) -> None:
        await self._events.closing.wait()
        scope.cancel()

    async def _until_refused(self, scope: trio.CancelScope) -> None:
        """A client that was deleted, or may not look any more, is not told for days."""
        while True:
            await trio.sleep(limits.LISTENERS_CHECKED_S)
            try:
                await self._identified()
            except (Unavailable, Busy):
                continue  # The server has trouble, which says nothing of the client.
            except TaskplaneError as error:
                self._fault = str(error)
                break
        scope.cancel()

    async def _feed(self) -> None:
        while True:
            frame = await self._events.next_frame(self._listener)
            text = frame.decode()
            await self._socket.send({"type": "websocket.send", "bytes": None, "text": text})


def _cut(reason: str) -> str:
    return reason.encode()[:_REASON_BYTES_MAX].decode(errors="ignore")
