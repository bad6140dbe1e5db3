"""Decides that no container outlives its attempt, or its worker, however that ended."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from bench.servers.containers import IMAGE, Podman
from control.model.states import Outcome
from control.model.worker.wire import Cancel, Log
from tests.workers.gateways import Gateway, assign, lease, running_gateway
from tests.workers.marked import children_of, kill_all
from tests.workers.test_tpworker import Worker

pytestmark = pytest.mark.e2e

STAYS = "trap 'exit 0' TERM; echo here; while :; do sleep 0.05; done"


@pytest.fixture(autouse=True)
def _nothing_is_left(podman: Podman) -> Iterator[None]:
    yield
    assert podman.containers() == []


def config(podman: Podman, tmp_path: Path) -> list[str]:
    path = tmp_path / "worker.toml"
    arguments = json.dumps(podman.arguments)
    path.write_text(f'[container]\nengine = "podman"\narguments = {arguments}\n')
    return ["--config", str(path), "--kind", "Container"]


def logged(gateway: Gateway) -> str:
    return "".join(frame.text for frame in gateway.of(Log))


async def gone(podman: Podman) -> None:
    with trio.fail_after(60):
        while podman.containers():
            await trio.lowlevel.checkpoint()


async def test_it_is_removed_before_its_end_is_reported(tmp_path: Path, podman: Podman) -> None:
    async with running_gateway(Gateway()) as gateway:
        with Worker(tmp_path, "--url", gateway.url, *config(podman, tmp_path)):
            await gateway.until(lambda: gateway.is_connected)
            await gateway.send(assign(1, {"image": IMAGE, "command": STAYS}, kind="Container"))
            await gateway.until(lambda: "here" in logged(gateway))
            await gateway.send(Cancel(lease=lease(1), reason="enough"))
            ended = await gateway.until(lambda: gateway.result(1))
            assert (ended.outcome, podman.containers()) == (Outcome.CANCELLED, [])


async def test_a_worker_that_was_killed_leaves_nothing(tmp_path: Path, podman: Podman) -> None:
    async with running_gateway(Gateway()) as gateway:
        with Worker(tmp_path, "--url", gateway.url, *config(podman, tmp_path)) as worker:
            await gateway.until(lambda: gateway.is_connected)
            await gateway.send(assign(1, {"image": IMAGE, "command": STAYS}, kind="Container"))
            await gateway.until(lambda: "here" in logged(gateway))
            worker.signal(signal.SIGKILL)
            await worker.exit_code()
        await gone(podman)


async def test_what_was_killed_with_its_watcher_is_removed_at_the_next_start(
    tmp_path: Path, podman: Podman
) -> None:
    async with running_gateway(Gateway()) as gateway:
        with Worker(tmp_path, "--url", gateway.url, *config(podman, tmp_path)) as worker:
            await gateway.until(lambda: gateway.is_connected)
            await gateway.send(assign(1, {"image": IMAGE, "command": STAYS}, kind="Container"))
            await gateway.until(lambda: "here" in logged(gateway))
            kill_all([worker.process.pid, *children_of(worker.process.pid)])
            await worker.exit_code()
        assert len(podman.containers()) == 1
        with Worker(tmp_path, "--url", gateway.url, *config(podman, tmp_path)):
            await gateway.until(lambda: len(gateway.hellos) == 2)
            assert podman.containers() == []
