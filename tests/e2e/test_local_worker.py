"""Decides how long the worker of `tpctl up --workers` lives: as long as that, started again."""

import os
import signal
import subprocess
import time
import tomllib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from bench.servers.system import System, start_control
from tests.workers.marked import Mark, children_of, lives

pytestmark = pytest.mark.e2e


class Plane:
    """A control plane with a local worker, and a client of it."""

    def __init__(self, directory: Path, process: subprocess.Popen[str]) -> None:
        system = System(directory, [process.pid])
        self.pid = process.pid
        self.client = httpx.Client(base_url=system.url, auth=system.auth, timeout=60)

    def submit(self, command: str) -> int:
        job = {"name": "j", "stage": "a", "kind": "Shell", "params": {"command": command}}
        body = {"pipeline": {"name": "p", "stages": ["a"], "jobs": [job]}}
        number: int = self.client.post("/v1/runs", json=body).raise_for_status().json()["id"]
        return number

    def state(self, run: int) -> str:
        return str(self.client.get(f"/v1/runs/{run}").json()["state"])

    def worker(self) -> int | None:
        """The process of the worker."""
        for pid in children_of(self.pid):
            with suppress(OSError):  # It may have ended just now.
                if b"workers" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid
        return None


def until(what: Callable[[], object]) -> None:
    """Ask until it is so, for two minutes at most."""
    end_s = time.monotonic() + 120
    while not what():
        assert time.monotonic() < end_s


def test_a_local_worker_that_was_killed_is_started_again(tmp_path: Path) -> None:
    mark = Mark(tmp_path)
    with start_control(tmp_path / "data", "--workers", "4") as process:
        plane = Plane(tmp_path / "data", process)
        run = plane.submit(f"{mark.escape('setsid')}; exec sleep 300")
        until(mark.pids)
        former = plane.worker()
        assert former is not None
        killed = {former}
        os.kill(former, signal.SIGKILL)

        def said() -> bool:
            answer = plane.client.get("/v1/health").json()
            worker = plane.worker()
            if answer["status"] == "ok" and worker is not None and worker not in killed:
                killed.add(worker)  # It came back too soon to be missed; the pause gets longer.
                os.kill(worker, signal.SIGKILL)
            return "was killed by signal 9; it is started again in" in answer["parts"]["worker"]

        until(said)
        until(lambda: plane.client.get("/v1/health").json()["status"] == "ok")
        other = plane.submit("true")
        until(lambda: plane.state(other) == "DONE")
        assert len(mark.pids()) <= 1  # Of the new attempt.
        plane.client.post(f"/v1/runs/{run}/cancel").raise_for_status()
        plane.client.close()


def test_the_worker_of_a_control_plane_that_was_killed_ends_and_has_an_heir(tmp_path: Path) -> None:
    mark = Mark(tmp_path)
    with start_control(tmp_path / "data", "--workers", "4") as process:
        plane = Plane(tmp_path / "data", process)
        plane.submit(f"{mark.escape('setsid')}; exec sleep 300")
        until(mark.pids)
        former = plane.worker()
        assert former is not None
        process.kill()
        process.wait()
        plane.client.close()
        until(lambda: not lives(former))
        until(lambda: not mark.pids())
    with start_control(tmp_path / "data", "--workers", "4") as process:
        plane = Plane(tmp_path / "data", process)
        run = plane.submit("true")
        until(lambda: plane.state(run) == "DONE")
        names = [row["id"] for row in plane.client.get("/v1/workers").json()["items"]]
        assert names == ["local"]
        plane.client.close()
    assert tomllib.loads((tmp_path / "data" / "credentials.toml").read_text())["url"]
