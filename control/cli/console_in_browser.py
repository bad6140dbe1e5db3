"""Owns `tpctl tui --serve`: the same console in a browser on this host, one process per visitor.

textual-serve answers whoever asks, whatever name they asked for. A page of a stranger's could so
open the console in the user's own browser; hence the look at Host and Origin.
"""

import shlex
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from control.model.errors import ConfigError

_HOST: Final = "127.0.0.1"
_OWN: Final = {"--serve": 0, "--port": 1}  # Options that the served command goes without.


def serve(arguments: Sequence[str], port: int) -> None:
    """Serve until interrupted. `arguments`: of this process, with the program's name first.

    Raises `ConfigError`.
    """
    try:
        from aiohttp import web  # noqa: PLC0415 - an extra, which need not be there.
        from textual_serve.server import Server  # noqa: PLC0415
    except ImportError as error:
        message = "--serve needs textual-serve: pip install 'taskplane[browser]'"
        raise ConfigError(message) from error

    @web.middleware
    async def guard(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if not is_own(request.headers.get("Host"), request.headers.get("Origin"), port):
            raise web.HTTPForbidden(text="this console is only for browsers on its own host")
        return await handler(request)

    class Guarded(Server):
        """textual-serve's server, for this host only."""

        async def _make_app(self) -> web.Application:
            app = await super()._make_app()
            app.middlewares.append(guard)
            return app

    try:
        Guarded(served(arguments), host=_HOST, port=port, title="tpctl").serve()
    except OSError as error:
        message = f"cannot listen on {_HOST}:{port}: {error.strerror}"
        raise ConfigError(message) from error


def served(arguments: Sequence[str]) -> str:
    """The command line whose console is shown: this one, but in a terminal."""
    program, *rest = arguments
    kept = [str(Path(program).absolute()) if "/" in program else program]
    skipped = 0
    for each in rest:
        if skipped:
            skipped -= 1
        elif each in _OWN:
            skipped = _OWN[each]
        elif not each.startswith("--port="):
            kept.append(each)
    return shlex.join(kept)


def is_own(host: str | None, origin: str | None, port: int) -> bool:
    """Whether a request comes from a page of this server's, or from none."""
    hosts = {f"{name}:{port}" for name in (_HOST, "localhost")}
    return host in hosts and (origin is None or origin in {f"http://{each}" for each in hosts})
