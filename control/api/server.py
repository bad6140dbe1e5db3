"""Owns the API's socket, and the service that serves it: each connection in a nursery of ours."""

import socket
from functools import partial
from typing import Final

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext

from control.admission.door import AcceptedConnection
from control.api.app import all_routes, make_app
from control.api.http.asgi_guard import Edge
from control.api.http.connection import Connection
from control.api.live.broadcaster import Events
from control.api.live.projection import Live
from control.api.metrics import Metrics
from control.api.ports import Parts
from control.model import limits
from control.model.errors import ConfigError
from control.model.names import Bound

_BACKLOG: Final = 1_024


class Api:
    """The REST API, `/metrics`, and `/v1/events` on one socket."""

    def __init__(self, parts: Parts, *, host: str, port: int, version: str) -> None:
        self.metrics = Metrics()
        self.live = Live(parts.bus, self.metrics, parts.now_ms)
        self.events = Events(parts, self.live, version)
        self._tally = parts.fair.tally
        self._door = parts.fair.door(Bound.API_CONNECTIONS)
        self._host = host
        self._port = port
        self.routes = all_routes(parts, self.live, self.events, self.metrics, version)
        app = make_app(self.routes, parts, self.events, self.metrics)
        operations = [route.operation for route in self.routes]
        self._app = Edge(app, operations, parts.fair)  # type: ignore[arg-type]  # Two spellings of ASGI.

    def close(self) -> None:
        """Take no new requests; `run` returns when those under way have ended, or soon after."""
        self.events.closing.set()

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until closed or cancelled; `started` gives the port."""
        listener = listen(self._host, self._port, "--listen")
        port: int = listener.getsockname()[1]
        async with trio.open_nursery() as nursery:
            await nursery.start(self.live.run)
            await nursery.start(self.events.run)
            context = WorkerContext(None)
            serve = partial(self._serve, context, http_config())
            async with trio.open_nursery() as handlers:
                async with trio.open_nursery() as accepting:
                    accepting.start_soon(
                        self._door.accept,
                        [trio.SocketListener(trio.socket.from_stdlib_socket(listener))],
                        serve,
                        handlers,
                    )
                    task_status.started(port)
                    await self.events.closing.wait()
                    accepting.cancel_scope.cancel()
                await context.terminated.set()  # Idle connections are closed.
                handlers.cancel_scope.deadline = trio.current_time() + limits.API_GRACE_S
            nursery.cancel_scope.cancel()

    async def _serve(
        self, context: WorkerContext, config: Config, guest: AcceptedConnection
    ) -> None:
        app = ASGIWrapper(self._app)  # type: ignore[arg-type]  # Two spellings of the same ASGI.
        await Connection(app, config, context, guest, self._tally).run()


def http_config() -> Config:
    """How connections are served."""
    config = Config()
    config.loglevel = "WARNING"
    config.keep_alive_max_requests = 1_000_000
    config.include_server_header = False
    # Subscribers say little; what is a bit too large is refused in words.
    config.websocket_max_message_size = limits.EVENT_FRAME_BYTES_MAX
    return config


def listen(host: str, port: int, flag: str) -> socket.socket:
    """Take the address before anything else starts; raises `ConfigError`, which names the flag."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # A client that vanished is found by the system.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        # A client that takes nothing is given up by the system, too.
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            patience_ms = round(limits.EVENT_SEND_S * 1000)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience_ms)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        where = f"cannot listen on {host}:{port}: {error.strerror}"
        message = f"{where}; give {flag} another one (port 0: a free one)"
        raise ConfigError(message) from error
    listener.setblocking(False)
    return listener
