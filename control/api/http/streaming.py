"""Owns how a body of unknown length is sent: piece by piece, until its end, or one of ours."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import ClassVar

import trio
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Send


class Streamed(ASGIResponse):
    """An answer whose source is closed in every case, also when the client goes away."""

    _should_set_content_length: ClassVar[bool] = False

    def __init__(
        self, source: AsyncGenerator[bytes, None], closing: trio.Event, media_type: str
    ) -> None:
        headers = {"content-type": media_type, "x-content-type-options": "nosniff"}
        super().__init__(headers=headers)
        self._source = source
        self._closing = closing

    async def send_body(self, send: Send, receive: Receive) -> None:
        """Send what comes."""
        async with aclosing(self._source) as pieces, trio.open_nursery() as nursery:
            nursery.start_soon(_until_gone, receive, nursery.cancel_scope)
            nursery.start_soon(_until_closing, self._closing, nursery.cancel_scope)
            async for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            nursery.cancel_scope.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def _until_closing(closing: trio.Event, scope: trio.CancelScope) -> None:
    await closing.wait()
    scope.cancel()
