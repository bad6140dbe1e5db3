"""Owns the API's socket, and the service that serves it: Hypercorn in a nursery of ours."""

import socket
from functools import partial

import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from control.api.app import all_routes, make_app
from control.api.edge import Edge
from control.api.events import Events
from control.api.live import Live
from control.api.metrics import Metrics
from control.api.ports import Parts
from control.model import limits
from control.model.errors import ConfigError


class Api:
    """The REST API, `/metrics`, and `/v1/events` on one socket."""

    def __init__(self, parts: Parts, *, host: str, port: int, version: str) -> None:
        self.metrics = Metrics()
        self.live = Live(parts.bus, self.metrics, parts.now_ms)
        self.events = Events(parts, self.live, version)
        self._host = host
        self._port = port
        self.routes = all_routes(parts, self.live, self.events, self.metrics, version)
        app = make_app(self.routes, parts, self.events, self.metrics)
        operations = [route.operation for route in self.routes]
        self._app = Edge(app, operations)  # type: ignore[arg-type]  # Two spellings of ASGI.

    def close(self) -> None:
        """Take no new requests; `run` returns when those under way have ended, or soon after."""
        self.events.closing.set()

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until closed or cancelled; `started` gives the port."""
        listener = _listen(self._host, self._port)
        config = Config()
        config.bind = [f"fd://{listener.fileno()}"]
        config.loglevel = "WARNING"
        config.graceful_timeout = limits.API_GRACE_S
        config.keep_alive_timeout = 75
        config.keep_alive_max_requests = 1_000_000
        config.include_server_header = False
        # Listeners say little; what is a bit too large is refused in words.
        config.websocket_max_message_size = 4 * limits.WATCH_BYTES_MAX
        port: int = listener.getsockname()[1]
        listener.detach()  # Hypercorn owns the file descriptor from here on.
        async with trio.open_nursery() as nursery:
            await nursery.start(self.live.run)
            await nursery.start(self.events.run)
            async with trio.open_nursery() as door:
                await door.start(
                    partial(
                        serve,
                        self._app,  # type: ignore[arg-type]  # Two spellings of the same ASGI.
                        config,
                        shutdown_trigger=self.events.closing.wait,
                        mode="asgi",
                    )
                )
                task_status.started(port)
            nursery.cancel_scope.cancel()


def _listen(host: str, port: int) -> socket.socket:
    """Take the address before anything else starts; raises `ConfigError`."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # A listener that vanished is found by the system; Hypercorn's pings would outlive their
        # socket and hold up the end.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        # Hypercorn's sends cannot be cancelled: the system has to give up on who takes nothing.
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            patience_ms = round(limits.EVENT_SEND_S * 1000)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience_ms)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(address)
    except OSError as error:
        where = f"cannot listen on {host}:{port}: {error.strerror}"
        message = f"{where}; give --listen another one (port 0: a free one)"
        raise ConfigError(message) from error
    listener.setblocking(False)
    return listener
