"""Decides what happens around the framework: which methods a path has, what becomes of a body.

Hypercorn hands a body on through a short queue. When a request is refused before its body was
read, that queue fills up, the connection stands still, and the client never sees the refusal. So
the rest of a body is taken in before the answer goes out.
"""

import re
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final

import trio

from control.api.calls import Operation
from control.model import limits

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Application = Callable[[Any, Receive, Send], Awaitable[None]]

_PARAMETER: Final = re.compile(r"\\\{\w+\\\}")


class Edge:
    """An ASGI application around the framework's."""

    def __init__(self, inner: Application, operations: Sequence[Operation]) -> None:
        self._inner = inner
        self._methods: dict[re.Pattern[str], set[str]] = {}
        for operation in operations:
            pattern = re.compile(_PARAMETER.sub("[^/]+", re.escape(operation.path)))
            self._methods.setdefault(pattern, {"OPTIONS"}).add(operation.method)

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        body = _Body(receive, dict(scope["headers"]).get(b"content-length", b""))

        async def answer(event: Event) -> None:
            if event["type"] == "http.response.start":
                await body.drain()
            await send(event)

        allowed = self._allowed(scope["path"])
        if scope["method"] == "OPTIONS" and allowed:
            # The framework would list the methods of only one handler.
            head = [(b"allow", ", ".join(sorted(allowed)).encode())]
            await answer({"type": "http.response.start", "status": 204, "headers": head})
            await answer({"type": "http.response.body", "body": b""})
            return
        await self._inner(scope, body.take, answer)

    def _allowed(self, path: str) -> set[str]:
        # A word beats a parameter: `/v1/pipelines/validate` is a call, before it is a pipeline.
        found = [
            (pattern.pattern.count("[^/]+"), methods)
            for pattern, methods in self._methods.items()
            if pattern.fullmatch(path)
        ]
        return min(found, key=lambda each: each[0])[1] if found else set()


class _Body:
    """A request's body on its way in."""

    def __init__(self, receive: Receive, announced: bytes) -> None:
        self._receive = receive
        self._left = limits.BODY_BYTES_MAX
        # What says itself that it is too large is not waited for.
        self._more = not (announced.isdigit() and int(announced) > self._left)

    async def take(self) -> Event:
        event = await self._receive()
        self._left -= len(event.get("body", b""))
        self._more = bool(event.get("more_body", False))
        return event

    async def drain(self) -> None:
        with trio.move_on_after(limits.ACK_S):
            while self._more and self._left > 0:
                await self.take()
