"""Owns `/v1/health` and `/metrics` of a process that has no API: a balancer's, a dispatcher's.

It asks for no credentials, which such hosts do not have, and tells nothing of any client.
"""

from functools import partial
from typing import Final

import msgspec
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.trio.worker_context import WorkerContext

from control.admission.door import AcceptedConnection
from control.admission.fair_use import FairUse
from control.api.http.asgi_guard import HEALTH, Event, Receive, Send
from control.api.http.connection import Connection
from control.api.metrics import MEDIA, render_process
from control.api.ports import ProcessHealth
from control.api.server import http_config, listen
from control.model.names import Bound

_METRICS: Final = "/metrics"
_JSON: Final = b"application/json"
_READING: Final = frozenset({"GET", "HEAD"})


class Status:
    """The small listener."""

    def __init__(self, health: ProcessHealth, fair: FairUse, *, host: str, port: int) -> None:
        self._health = health
        self._tally = fair.tally
        self._hosts = fair.hosts
        self._door = fair.door(Bound.API_CONNECTIONS)
        self._host = host
        self._port = port

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; `started` gives the port. Raises `ConfigError`."""
        listener = listen(self._host, self._port, "--metrics")
        port: int = listener.getsockname()[1]
        accepting = [trio.SocketListener(trio.socket.from_stdlib_socket(listener))]
        serve = partial(self._serve, WorkerContext(None))
        async with trio.open_nursery() as handlers:
            task_status.started(port)
            await self._door.accept(accepting, serve, handlers)

    async def _serve(self, context: WorkerContext, guest: AcceptedConnection) -> None:
        app = ASGIWrapper(self._answer)  # type: ignore[arg-type]  # Two spellings of the same ASGI.
        await Connection(app, http_config(), context, guest, self._tally).run()

    async def _answer(self, scope: Event, _receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        status, media, body = self._found(scope, headers.get(b"host"))
        if scope["method"] == "HEAD":
            body = b""
        fields = [(b"content-type", media), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": fields})
        await send({"type": "http.response.body", "body": body})

    def _found(self, scope: Event, host: bytes | None) -> tuple[int, bytes, bytes]:
        refusal = self._hosts.refusal(None if host is None else host.decode("latin-1"), None)
        if refusal is not None:
            return 403, b"text/plain", f"{refusal}\n".encode()
        if scope["method"] not in _READING or scope["path"] not in {HEALTH, _METRICS}:
            return 404, b"text/plain", f"there are {HEALTH} and {_METRICS}\n".encode()
        if scope["path"] == _METRICS:
            body = render_process(self._health.counts(), self._health.lags())
            return 200, MEDIA.encode(), body
        parts = self._health.parts()
        down = sorted(name for name, problem in parts.items() if problem)
        found = {
            "status": f"down: {', '.join(down)}" if down else "ok",
            "parts": {name: problem or "ok" for name, problem in parts.items()},
        }
        return (503 if down else 200), _JSON, msgspec.json.encode(found)
