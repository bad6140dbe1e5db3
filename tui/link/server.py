"""Owns the talk with a control plane: httpx for what is asked once, websockets for what lives."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

import httpx
import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from control.model.api.live import Watch
from control.model.display_text import clean
from control.model.json_values import Json
from tui.link.source import UNREADABLE, Away, ConsoleTarget, LinkError, RequestRefused

_CONNECT_S: Final = 5.0
_ANSWER_S: Final = 20.0
_PING_S: Final = 5.0
_PONG_S: Final = 3.0
_FRAME_BYTES_MAX: Final = 64 * 1024 * 1024
_TIMEOUT: Final = httpx.Timeout(_ANSWER_S, connect=_CONNECT_S)
_STREAMING: Final = httpx.Timeout(_ANSWER_S, connect=_CONNECT_S, read=None)


class _Problem(msgspec.Struct, frozen=True):
    """What is read of an answer of `application/problem+json`."""

    title: str = ""
    detail: str = ""


class ServerSource:
    """A `Source`: a control plane over the network."""

    def __init__(self, target: ConsoleTarget, version: str) -> None:
        self.target = target
        auth = None
        if target.client_id and target.client_secret:
            auth = httpx.BasicAuth(target.client_id, target.client_secret)
        self._auth = auth
        # The server takes a call as a person's by the name of the tool.
        self._agent = f"tpctl/{version}"
        self._http = httpx.AsyncClient(
            base_url=target.url,
            auth=auth,
            headers={"user-agent": self._agent, "accept": "application/json"},
            timeout=_TIMEOUT,
            trust_env=not target.direct,
        )
        self._wanted: Watch | None = None
        self._socket: ClientConnection | None = None

    async def aclose(self) -> None:
        """Hang up."""
        await self._http.aclose()

    async def watch(self, wanted: Watch) -> None:
        """What the frames shall tell of from now on, also after a new connection."""
        if wanted == self._wanted:
            return
        self._wanted = wanted
        if self._socket is not None:
            try:
                await self._socket.send(msgspec.json.encode(wanted).decode())
            except (OSError, WebSocketException):
                return  # Who reads the frames hears of it, and says it again when connected.

    @asynccontextmanager
    async def frames(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """The live events; raises `LinkError`."""
        try:
            async with connect(
                _events_of(self.target.url),
                additional_headers=self._headers(),
                user_agent_header=self._agent,
                open_timeout=_CONNECT_S,
                ping_interval=_PING_S,
                ping_timeout=_PONG_S,
                close_timeout=1,
                max_size=_FRAME_BYTES_MAX,
                compression=None,  # It would cost the control plane more than all the rest.
                max_queue=4,
                proxy=None if self.target.direct else True,
            ) as socket:
                self._socket = socket
                if self._wanted is not None:
                    await socket.send(msgspec.json.encode(self._wanted).decode())
                yield _received(socket)
        except InvalidStatus as error:
            response = error.response
            raise self._refusal(response.status_code, response.body) from error
        except (OSError, TimeoutError, WebSocketException) as error:
            raise Away(self._unreachable(error)) from error
        finally:
            self._socket = None

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json = None,
    ) -> bytes:
        """One call of the API; raises `LinkError`."""
        try:
            answer = await self._http.request(
                method,
                path,
                params=dict(query or {}),
                content=None if body is None else msgspec.json.encode(body),
                headers={} if body is None else {"content-type": "application/json"},
            )
        except httpx.HTTPError as error:
            raise Away(self._unreachable(error)) from error
        if not answer.is_success:
            raise self._refusal(answer.status_code, answer.content)
        return answer.content

    @asynccontextmanager
    async def log(self, job_id: int, attempt: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """A job's log as it grows; raises `LinkError`."""
        query = {"follow": "true", "attempt": str(attempt)}
        path = f"/v1/jobs/{job_id}/logs"
        try:
            async with self._http.stream("GET", path, params=query, timeout=_STREAMING) as answer:
                if not answer.is_success:
                    raise self._refusal(answer.status_code, await answer.aread())
                yield answer.aiter_bytes()
        except httpx.HTTPError as error:
            raise Away(self._unreachable(error)) from error

    def _headers(self) -> dict[str, str]:
        if self._auth is None:
            return {}
        request = next(self._auth.auth_flow(httpx.Request("GET", self.target.url)))
        return {"authorization": request.headers["authorization"]}

    def _unreachable(self, error: Exception) -> str:
        why = clean(str(error)) or type(error).__name__
        return f"cannot reach {self.target.url}: {why}"

    def _refusal(self, status: int, body: bytes | bytearray | None) -> LinkError:
        try:
            problem = msgspec.json.decode(bytes(body or b""), type=_Problem)
        except UNREADABLE:
            problem = _Problem()
        why = clean(problem.detail or problem.title) or HTTPStatus(status).phrase
        if status == HTTPStatus.UNAUTHORIZED and not self.target.client_id:
            why = "no credentials: set TP_CLIENT_ID and TP_CLIENT_SECRET, or give --data-dir"
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return Away(f"{self.target.url}: {why} ({status})")
        return RequestRefused(f"{why} ({status})", status)


def _events_of(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{'wss' if scheme == 'https' else 'ws'}://{rest}/v1/events"


async def _received(socket: ClientConnection) -> AsyncIterator[bytes]:
    async for message in socket:
        yield message.encode() if isinstance(message, str) else message
