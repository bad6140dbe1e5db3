"""Owns what the console asks of a control plane, or of a recording of one."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol
from urllib.parse import unquote, urlsplit, urlunsplit

import msgspec

from control.model.api.live import Watch
from control.model.json_values import Json

UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding bytes from anywhere may raise."""


class ConsoleTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A control plane, and as whom it is asked. `guarded`: one where a mistake is expensive."""

    name: str
    url: str
    client_id: str | None = None
    client_secret: str | None = None
    direct: bool = False  # On this host: no proxy stands between.
    guarded: bool = False


def apart(url: str) -> tuple[str, str | None, str | None]:
    """An address without its user and password, and those two: no address shows a secret."""
    parts = urlsplit(url)
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    user, password = parts.username, parts.password
    return bare, None if user is None else unquote(user), password and unquote(password)


class LinkError(Exception):
    """What was asked for did not come; the text says why, and what to do."""


class Away(LinkError):
    """Nobody answered: it may be there again soon."""


class RequestRefused(LinkError):
    """The control plane answered, and says no. `status`: of HTTP."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Outdated(LinkError):
    """The control plane speaks another version of the protocol."""


def decoded(raw: bytes, shape: Any) -> Any:  # noqa: ANN401 - whatever the shape is.
    """An answer as a value of this shape; raises `Outdated`."""
    try:
        return msgspec.json.decode(raw, type=shape)
    except UNREADABLE as error:
        message = f"the server's answer has another shape than expected: {error}"
        raise Outdated(message) from error


class Source(Protocol):
    """Where the console gets everything from."""

    @property
    def target(self) -> ConsoleTarget:
        """What it is connected to."""

    def frames(self) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The live events: the first frame is a snapshot. Raises `LinkError`."""

    async def watch(self, wanted: Watch) -> None:
        """What the frames shall tell of from now on, also after a new connection."""

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json = None,
    ) -> bytes:
        """One call of the API; raises `LinkError`."""

    def log(self, job_id: int, attempt: int) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """A job's log, from its begin, as it grows. Raises `LinkError`."""

    async def aclose(self) -> None:
        """Hang up."""
