"""Owns the demo's calls of the API, and which runs it was answered for.

A call that breaks off is repeated once the control plane is up again. What starts runs has an
`Idempotency-Key`, so a run that was stored before the answer was lost is not started twice.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Final

import httpx
import msgspec
import trio

from bench.demo.processes import DemoSystem
from control.cli.client import JSON, YAML, Row, refusal, row_of

_AGAIN_S: Final = 0.1


class _Stored(msgspec.Struct, frozen=True):
    name: str
    jobs: int


class _Begun(msgspec.Struct, frozen=True):
    id: int


class _BatchBegun(msgspec.Struct, frozen=True):
    runs: list[_Begun]


class DemoCalls:
    """Calls the API. `runs`: the answered ones, each with how many jobs it has."""

    def __init__(self, system: DemoSystem, http: httpx.AsyncClient) -> None:
        self._system = system
        self._http = http
        self._jobs: dict[str, int] = {}  # Of a run of each pipeline.
        self._keys = 0
        self.runs: dict[int, int] = {}

    @property
    def url(self) -> str:
        """Where the live events are."""
        return f"ws{self._system.login.url.removeprefix('http')}/v1/events"

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Who we are, for a websocket."""
        login = self._system.login
        text = f"{login.client_id}:{login.client_secret}"
        return [(b"Authorization", b"Basic " + base64.b64encode(text.encode()))]

    async def store(self, name: str, content: bytes) -> None:
        """Store a pipeline, as `tpctl pipeline apply` does."""
        answer = await self._call("PUT", f"/v1/pipelines/{name}", content=content, media=YAML)
        stored = msgspec.convert(answer, _Stored)
        self._jobs[stored.name] = stored.jobs

    async def start(self, pipeline: str, *, priority: int | None = None) -> int:
        """Start a run, as `tpctl run start` does; gives its id."""
        body = {"input": self._input(), "priority": priority}
        run = msgspec.convert(await self._post(f"/v1/pipelines/{pipeline}/runs", body), _Begun).id
        self.runs[run] = self._jobs[pipeline]
        return run

    async def start_many(self, pipeline: str, seconds: Sequence[float]) -> None:
        """Start a run for each of these inputs: all or none."""
        runs = [{"pipeline": pipeline, "input": self._input(seconds=each)} for each in seconds]
        answer = msgspec.convert(await self._post("/v1/runs:batch", {"runs": runs}), _BatchBegun)
        self.runs |= dict.fromkeys((run.id for run in answer.runs), self._jobs[pipeline])

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Row:
        """What the API shows."""
        return await self._call("GET", path, query=query)

    async def facts(self, sql: str, limit: int) -> Row:
        """Ask the statistics, as `tpctl stats sql` does."""
        return await self._post("/v1/stats/sql", {"sql": sql, "limit": limit})

    def _input(self, **more: float) -> dict[str, object]:
        return {"directory": str(self._system.journal), **more}

    async def _post(self, path: str, body: object) -> Row:
        self._keys += 1
        return await self._call("POST", path, content=msgspec.json.encode(body), key=self._keys)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        media: str = JSON,
        key: int | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Row:
        headers = {} if content is None else {"content-type": media}
        if key is not None:
            headers["idempotency-key"] = f"demo-{key}"
        while True:
            await self._system.up.wait()
            try:
                answer = await self._http.request(
                    method, path, content=content, headers=headers, params=query
                )
            except httpx.TransportError:
                await trio.sleep(_AGAIN_S)
                continue
            if answer.is_success:
                return row_of(answer.content)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                raise refusal(self._system.login, answer.status_code, answer.content, None)
            await trio.sleep(_AGAIN_S)
