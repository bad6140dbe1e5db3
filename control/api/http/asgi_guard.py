"""Decides what happens around the framework: which methods a path has, what becomes of a body.

Hypercorn hands a body on through a short queue. When a request is refused before its body was
read, that queue fills up, the connection stands still, and the client never sees the refusal. So
the rest of a body is taken in before the answer goes out.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from typing import Any, Final

import trio

from control.admission.fair_use import FairUse
from control.api.http.problems import TooSlow
from control.api.http.refusal import refuse
from control.api.http.request import Operation
from control.api.http.shares import SCOPE_KEY, Holds
from control.model import limits
from control.model.errors import Forbidden, NotFound, TaskplaneError
from control.model.names import Bound

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Application = Callable[[Any, Receive, Send], Awaitable[None]]

HEALTH: Final = "/v1/health"
EVENTS: Final = "/v1/events"
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_PARAMETER: Final = re.compile(r"\\\{\w+\\\}")


class Edge:
    """An ASGI application around the framework's."""

    def __init__(self, inner: Application, operations: Sequence[Operation], fair: FairUse) -> None:
        self._inner = inner
        self._fair = fair
        self._methods: dict[re.Pattern[str], set[str]] = {}
        for operation in operations:
            pattern = re.compile(_PARAMETER.sub("[^/]+", re.escape(operation.path)))
            self._methods.setdefault(pattern, {"OPTIONS"}).update(operation.methods)

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        headers = dict(scope["headers"])
        refusal = self._refusal(scope, headers)
        if scope["type"] != "http":
            if refusal is None:
                await self._inner(scope, receive, send)
            else:
                await refuse(send, refusal, "websocket.http.response")
            return
        body = _IncomingBody(receive, headers.get(b"content-length", b""))

        async def answer(event: Event) -> None:
            if event["type"] == "http.response.start":
                await body.drain()
            await send(event)

        if refusal is not None:
            await refuse(answer, refusal, "http.response")
            return
        allowed = self._allowed(scope["path"])
        if scope["method"] == "OPTIONS" and allowed:
            # The framework would list the methods of only one handler.
            head = [(b"allow", ", ".join(sorted(allowed)).encode())]
            await answer({"type": "http.response.start", "status": 204, "headers": head})
            await answer({"type": "http.response.body", "body": b""})
            return
        holds = scope[SCOPE_KEY] = Holds()
        try:
            await self._inner(scope, body.take, answer)
        finally:
            holds.release()

    def _refusal(self, scope: Event, headers: Mapping[bytes, bytes]) -> TaskplaneError | None:
        """Why this request is not even looked at; None: it is."""
        if scope["path"] == HEALTH:  # A probe asks an address by any name, and learns no more.
            return None
        host, origin = headers.get(b"host"), headers.get(b"origin")
        if scope["type"] == "http" and scope["method"] in _SAFE:
            origin = None
        words = self._fair.hosts.refusal(_text(host), _text(origin))
        if words is not None:
            self._fair.tally.refused(Bound.ORIGINS, reason=words)
            return Forbidden(words)
        if scope["type"] == "websocket" and scope["path"] != EVENTS:
            # The framework would answer with 403, which a worker takes for its secret's fault.
            message = "no websocket is here; workers connect to the gateway, which has its own port"
            return NotFound(message)
        return None

    def _allowed(self, path: str) -> set[str]:
        # A word beats a parameter: `/v1/pipelines/validate` is a call, before it is a pipeline.
        found = [
            (pattern.pattern.count("[^/]+"), methods)
            for pattern, methods in self._methods.items()
            if pattern.fullmatch(path)
        ]
        return min(found, key=lambda each: each[0])[1] if found else set()


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


class _IncomingBody:
    """A request's body on its way in."""

    def __init__(self, receive: Receive, announced: bytes) -> None:
        self._receive = receive
        self._left = limits.BODY_BYTES_MAX
        self._due = trio.current_time() + limits.BODY_PATIENCE_S
        # What says itself that it is too large is not waited for.
        self._more = not (announced.isdigit() and int(announced) > self._left)

    async def take(self) -> Event:
        """The next piece; raises `TooSlow` when the body does not keep its pace."""
        if not self._more:  # What follows is only that the client goes away.
            return await self._receive()
        with trio.CancelScope(deadline=self._due) as scope:
            event = await self._receive()
        if scope.cancelled_caught:
            self._more = False
            message = f"the body arrives at less than {limits.BODY_BYTES_PER_S_MIN} bytes a second"
            raise TooSlow(message)
        self._due += len(event.get("body", b"")) / limits.BODY_BYTES_PER_S_MIN
        self._left -= len(event.get("body", b""))
        self._more = bool(event.get("more_body", False))
        return event

    async def drain(self) -> None:
        with suppress(TooSlow), trio.move_on_after(limits.ACK_S):
            while self._more and self._left > 0:
                await self.take()
