"""Owns how a request is refused outside of the framework: RFC 9457 problem details over ASGI."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Literal

import msgspec

from control.api.http import problems
from control.model.errors import TaskplaneError

Answers = Literal["http.response", "websocket.http.response"]


async def refuse(
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    error: TaskplaneError,
    kind: Answers,
) -> None:
    """Answer a request, or a websocket's handshake, with an error and the headers it asks for."""
    shown = problems.details(error)
    headers = {"content-type": problems.MEDIA, **problems.headers(error)}
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": f"{kind}.start", "status": shown.status, "headers": encoded})
    await send({"type": f"{kind}.body", "body": msgspec.json.encode(shown)})
