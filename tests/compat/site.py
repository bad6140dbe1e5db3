"""Owns one system of the upgrade tests: its processes, of whichever version, and its API."""

import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import trio

from bench.servers.system import System, start_control, start_worker
from tests.compat.versions import Version

_LOOK_S = 0.1
_LOOKS = 600


class Site:
    """A data directory with the processes that use it; it keeps its addresses over restarts."""

    def __init__(self, directory: Path, stack: ExitStack, flags: Sequence[str]) -> None:
        self.directory = directory / "data"
        self._stack = stack
        self._flags = ["--partitions", "4", *flags]
        self._addresses: list[str] = []
        self._client = stack.enter_context(httpx.Client(timeout=60))

    def up(self, version: Version) -> "subprocess.Popen[str]":
        """Start the control plane."""
        flags = [*self._addresses, *self._flags]
        control = start_control(self.directory, *flags, environ=version.environ)
        process = self._stack.enter_context(control)
        if not self._addresses:
            system = System(self.directory, [])
            api, gateway = (each.rpartition("/")[2] for each in (system.url, system.gateway))
            self._addresses = ["--listen", api, "--gateway", gateway]
        return process

    def work(
        self, version: Version, name: str, *labels: str, slots: int = 1
    ) -> "subprocess.Popen[str]":
        """Start a worker."""
        flags = [part for label in labels for part in ("--label", label)]
        worker = start_worker(
            self.directory, *flags, slots=slots, name=name, environ=version.environ
        )
        return self._stack.enter_context(worker)

    def call(
        self, method: str, path: str, body: object = None, auth: tuple[str, str] | None = None
    ) -> httpx.Response:
        """Ask the API, as its admin or as `auth`; raises `httpx.HTTPStatusError`."""
        system = System(self.directory, [])
        url = f"{system.url}{path}"
        answer = self._client.request(method, url, json=body, auth=auth or system.auth)
        return answer.raise_for_status()

    def get(self, path: str) -> Any:  # noqa: ANN401 - What JSON gives.
        """An answer's value, if it is JSON; else its text."""
        answer = self.call("GET", path)
        return answer.json() if "json" in answer.headers["content-type"] else answer.text

    def store(self, definition: Mapping[str, Any], auth: tuple[str, str] | None = None) -> None:
        """Store a pipeline."""
        self.call("PUT", f"/v1/pipelines/{definition['name']}", definition, auth)

    def start(self, pipeline: str, auth: tuple[str, str] | None = None) -> int:
        """Start a run with the input `{"n": 7}`; its id."""
        made = self.call("POST", f"/v1/pipelines/{pipeline}/runs", {"input": {"n": 7}}, auth)
        return int(made.json()["id"])

    def runs_of(self, pipeline: str) -> list[int]:
        """The runs of a pipeline, the first one first."""
        return sorted(run["id"] for run in self.get(f"/v1/runs?pipeline={pipeline}")["items"])

    def jobs(self, run: int) -> list[dict[str, Any]]:
        """Its jobs, in order."""
        found: list[dict[str, Any]] = self.get(f"/v1/runs/{run}/jobs")["items"]
        return found

    def log(self, run: int, job: int = 0) -> str:
        """The whole log of a job, once it has ended."""
        text: str = self.get(f"/v1/jobs/{self.jobs(run)[job]['id']}/logs?follow=true")
        return text

    def wait_until_it_runs(self, run: int) -> None:
        """Until the first job has said something."""
        system = System(self.directory, [])
        url = f"{system.url}/v1/jobs/{self.jobs(run)[0]['id']}/logs?follow=true"
        with self._client.stream("GET", url, auth=system.auth) as answer:
            assert next(answer.iter_text())

    def wait_until_it_ends(self, run: int) -> None:
        """Until the last job has."""
        self.log(run, -1)

    def wait_until_counted(self, jobs: int) -> None:
        """Until the statistics have so many."""
        for _ in range(_LOOKS):
            found = self.get("/v1/stats/summary?window=1d")
            if found["jobs"] == jobs:
                return
            trio.run(trio.sleep, _LOOK_S)
        raise AssertionError(found)
