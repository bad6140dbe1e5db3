"""Owns the web server of the console in a browser: textual-serve's, for pages of this host only.

Imported only where textual-serve is installed. It answers every client, whatever name it asked
for: a stranger's page could so open the console in the user's own browser. Hence the look at Host
and Origin. Its own page asks a font server on the internet and takes no keys before a click; ours
does neither. And when it ends, it would wait a minute for open pages: theirs are ended first.
"""

import asyncio
import logging
import secrets
from typing import Final

import typer
from aiohttp import web
from aiohttp.typedefs import Handler
from textual_serve.server import Server, to_int

from control.cli.console.page import page, policy

HOST: Final = "127.0.0.1"
_FONT_SIZE: Final = 16


class GuardedServer(Server):
    """Serves a command on this host; raises `OSError` where it cannot listen."""

    def __init__(self, command: str, port: int) -> None:
        super().__init__(command, host=HOST, port=port, title="tpctl")
        self._visits: set[asyncio.Task[object]] = set()

    def initialize_logging(self) -> None:
        """Only errors are logged."""
        logging.basicConfig(level=logging.WARNING, format="%(message)s")

    async def on_startup(self, app: web.Application) -> None:
        """Say where it is."""
        del app
        typer.echo(f"the console is at {self.public_url}; ctrl+c ends it", err=True)

    async def on_shutdown(self, app: web.Application) -> None:
        """End the consoles of pages that are still open."""
        del app
        for visit in self._visits:
            visit.cancel()
        if self._visits:
            await asyncio.wait(self._visits, timeout=5)

    async def handle_index(self, request: web.Request) -> web.Response:
        """Our page; `?fontsize=` in pixels."""
        size, nonce = to_int(request.query.get("fontsize", ""), _FONT_SIZE), secrets.token_urlsafe()
        return web.Response(
            text=page(request.host, size, nonce),
            content_type="text/html",
            headers={
                "Content-Security-Policy": policy(request.host, nonce),
                "Referrer-Policy": "no-referrer",
            },
        )

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()
        app.middlewares.append(self._guard)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        host, origin = request.headers.get("Host"), request.headers.get("Origin")
        if not is_own(host, origin, self.port):
            raise web.HTTPForbidden(text="this console is only for browsers on its own host")
        visit = asyncio.current_task()
        if visit is None or request.path != "/ws":
            return await handler(request)
        self._visits.add(visit)
        try:
            return await handler(request)
        finally:
            self._visits.discard(visit)


def is_own(host: str | None, origin: str | None, port: int) -> bool:
    """Whether a request comes from a page of this server's, or from none."""
    hosts = {f"{name}:{port}" for name in (HOST, "localhost")}
    return host in hosts and (origin is None or origin in {f"http://{each}" for each in hosts})
