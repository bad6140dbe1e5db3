"""Decides whether jobs that run, or have ended uncounted, while the bus changes go on once."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from bench.servers.broker import Broker
from bench.servers.system import System, start_control, start_worker
from control.bus_migration.migrate import MigrationResult, demote, promote
from control.process.control_plane import run_alone, this_world
from tests.kafka.test_migrate import quiet, settings, submit

pytestmark = pytest.mark.kafka

HOLD = "echo $TP_JOB_ID >> {ran}; until [ -e {gates}/${{{{ run.phase }}}} ]; do sleep 0.05; done"


@pytest.fixture
def plane(tmp_path: Path) -> Iterator["Plane"]:
    with ExitStack() as stack:
        plane = Plane(tmp_path, stack)
        try:
            yield plane
        finally:
            for phase in (1, 2, 3):
                plane.open(phase)


class Plane:
    """Processes of a control plane that is stopped and started on another bus."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self.directory = path / "data"
        self.ran, self.gates = path / "ran", path / "gates"
        self.gates.mkdir()
        self._stack = stack
        self._flags: list[str] = []

    def up(self, *flags: str) -> subprocess.Popen[str]:
        """Start it, at the addresses that it had."""
        flags = ("--partitions", "4", *flags)
        process = self._stack.enter_context(start_control(self.directory, *self._flags, *flags))
        if not self._flags:
            system = System(self.directory, [])
            ports = [address.rpartition("/")[2] for address in (system.url, system.gateway)]
            self._flags = ["--listen", ports[0], "--gateway", ports[1]]
        return process

    def work(self, slots: int) -> None:
        self._stack.enter_context(start_worker(self.directory, slots=slots, name="w"))

    def submit(self, *phases: int) -> None:
        command = HOLD.format(ran=self.ran, gates=self.gates)
        submit(System(self.directory, []), command, [{"phase": phase} for phase in phases])

    def open(self, phase: int) -> None:
        (self.gates / str(phase)).touch()

    def wait(self, path: str, done: Callable[[httpx.Response], bool]) -> None:
        system = System(self.directory, [])
        with httpx.Client(base_url=system.url, auth=system.auth, timeout=60) as client:
            for _ in range(600):
                answer = client.get(path)
                answer.raise_for_status()
                if done(answer):
                    return
                trio.run(trio.sleep, 0.05)
        pytest.fail(f"{path}: {answer.text}")

    def wait_running(self) -> None:
        """Until the one worker runs something."""

        def runs(found: httpx.Response) -> bool:
            return any(worker["running"] for worker in found.json()["items"])

        self.wait("/v1/workers", runs)

    def wait_counted(self, jobs: int) -> None:
        """Until the statistics have so many, all DONE."""

        def counted(found: httpx.Response) -> bool:
            figures = found.json()
            return bool(figures["jobs"] == figures["done"] == jobs)

        self.wait("/v1/stats/summary?window=1d", counted)

    def runs_once(self) -> list[int]:
        """The jobs that ran, in order."""
        return sorted(int(line) for line in self.ran.read_text().split())


def move(plane: Plane, broker: Broker, prefix: str, *, back: bool) -> MigrationResult:
    work = demote if back else promote
    config = settings(plane.directory, broker, prefix)
    return run_alone(partial(work, config, this_world(), quiet))


def stopped(process: subprocess.Popen[str]) -> None:
    process.terminate()
    assert process.wait(30) == 0


@pytest.mark.slow
def test_running_jobs_go_on_at_their_workers_on_either_bus(
    plane: Plane, broker: Broker, prefix: str
) -> None:
    kafka = ("--bus", f"kafka://{broker.address}", "--topic-prefix", prefix)
    control = plane.up()
    plane.work(slots=2)
    plane.submit(*[1] * 4, *[2] * 4, *[3] * 4)
    plane.wait_running()
    stopped(control)
    there = move(plane, broker, prefix, back=False)
    assert there.waiting + there.placed == 12
    assert there.placed
    control = plane.up(*kafka)
    plane.wait_running()
    plane.open(1)
    plane.wait_counted(4)
    plane.wait_running()
    stopped(control)
    back = move(plane, broker, prefix, back=True)
    assert back.waiting + back.placed == 8
    assert back.placed
    plane.up()
    plane.wait_running()
    plane.open(2)
    plane.open(3)
    plane.wait_counted(12)
    assert plane.runs_once() == list(range(1, 13))


@pytest.mark.slow
def test_what_a_killed_plane_had_not_counted_is_counted_once(
    plane: Plane, broker: Broker, prefix: str
) -> None:
    kafka = ("--bus", f"kafka://{broker.address}", "--topic-prefix", prefix)
    plane.open(1)
    control = plane.up()
    plane.work(slots=8)
    plane.submit(*[1] * 30)
    plane.wait("/v1/runs?state=DONE&limit=100", lambda found: len(found.json()["items"]) >= 5)
    control.kill()
    control.wait()
    move(plane, broker, prefix, back=False)
    control = plane.up(*kafka)
    plane.wait_counted(30)
    plane.submit(*[1] * 30)
    plane.wait("/v1/runs?state=DONE&limit=100", lambda found: len(found.json()["items"]) >= 35)
    control.kill()
    control.wait()
    move(plane, broker, prefix, back=True)
    plane.up()
    plane.wait_counted(60)
    assert plane.runs_once() == list(range(1, 61))
