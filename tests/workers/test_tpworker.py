"""Decides what the command `tpworker` promises: exit codes, its drain, its return from death."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import pytest
import trio

from control.model.states import Outcome
from control.model.worker.wire import Began, HandedBack, Leaving
from tests.workers.gateways import Gateway, assign, lease, running_gateway

pytestmark = pytest.mark.e2e

COMMAND = (sys.executable, "-c", "from workers.cli import main; main()")


class Worker:
    """One `tpworker` process."""

    def __init__(self, directory: Path, *flags: str, env: Mapping[str, str] | None = None) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TP_")}
        credentials = {"TP_CLIENT_ID": "w", "TP_CLIENT_SECRET": "s3cret"}
        self.stderr = directory / "stderr"
        with self.stderr.open("ab") as stderr:
            self.process = subprocess.Popen(
                [*COMMAND, "--data-dir", str(directory / "data"), *flags],
                env=clean | (credentials if env is None else dict(env)),
                stderr=stderr,
            )

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def exit_code(self) -> int:
        with trio.fail_after(60):
            return await trio.to_thread.run_sync(self.process.wait, 60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.process.kill()
        self.process.wait()


async def test_a_drain_finishes_what_runs_and_hands_back_the_rest(tmp_path: Path) -> None:
    go = tmp_path / "go"
    command = {"command": f"while ! [ -e {go} ]; do sleep 0.01; done; echo done"}
    async with running_gateway(Gateway()) as gateway:
        with Worker(tmp_path, "--url", gateway.url, "--slots", "1", "--label", "gpu") as worker:
            await gateway.until(lambda: gateway.is_connected)
            assert gateway.hellos[0].labels == ("gpu",)
            assert set(gateway.hellos[0].kinds) >= {"HTTP", "Python", "Shell", "Sleep"}
            await gateway.send(assign(1, command, kind="Shell"), assign(2))
            await gateway.until(lambda: gateway.of(Began))
            worker.signal(signal.SIGTERM)
            await gateway.until(lambda: gateway.of(Leaving))
            assert gateway.of(HandedBack) == [HandedBack(leases=(lease(2),))]
            go.touch()
            ended = await gateway.until(lambda: gateway.result(1))
            assert (ended.outcome, ended.exit_code) == (Outcome.DONE, 0)
            assert await worker.exit_code() == 0
    stderr = worker.stderr.read_text()
    assert "worker ready" in stderr
    assert gateway.url in stderr
    assert "s3cret" not in stderr


async def test_a_second_signal_kills(tmp_path: Path) -> None:
    async with running_gateway(Gateway()) as gateway:
        with Worker(tmp_path, "--url", gateway.url) as worker:
            await gateway.until(lambda: gateway.is_connected)
            await gateway.send(assign(1, {"command": "exec sleep 300"}, kind="Shell"))
            await gateway.until(lambda: gateway.of(Began))
            worker.signal(signal.SIGINT)
            await gateway.until(lambda: gateway.of(Leaving))
            worker.signal(signal.SIGINT)
            assert await worker.exit_code() == 130
    assert gateway.result(1) is None


async def test_results_survive_the_death_of_the_worker(tmp_path: Path) -> None:
    gateway = Gateway()
    gateway.acks = False
    async with running_gateway(gateway):
        with Worker(tmp_path, "--url", gateway.url) as worker:
            await gateway.until(lambda: gateway.is_connected)
            await gateway.send(*(assign(number) for number in range(50)))
            await gateway.until(lambda: gateway.result(49))
            worker.signal(signal.SIGKILL)
            await worker.exit_code()
        gateway.frames.clear()
        gateway.acks = True
        with Worker(tmp_path, "--url", gateway.url) as again:
            await gateway.until(lambda: gateway.result(49))
            assert set(gateway.hellos[1].holding) == {lease(number) for number in range(50)}
            assert gateway.hellos[0].worker == gateway.hellos[1].worker
            again.signal(signal.SIGTERM)
            assert await again.exit_code() == 0


async def test_two_workers_of_one_host_have_two_names(tmp_path: Path) -> None:
    async with running_gateway(Gateway()) as gateway:
        with Worker(tmp_path, "--url", gateway.url):
            await gateway.until(lambda: len(gateway.hellos) == 1)
            with Worker(tmp_path, "--url", gateway.url):
                await gateway.until(lambda: len(gateway.hellos) == 2)
                first, second = (hello.worker for hello in gateway.hellos)
                assert second == f"{first}-2"
                with Worker(tmp_path, "--url", gateway.url, "--name", second) as third:
                    assert await third.exit_code() == 2
                    assert "another worker uses" in third.stderr.read_text()


async def test_credentials_of_the_data_directory(tmp_path: Path) -> None:
    async with running_gateway(Gateway()) as gateway:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "credentials.toml").write_text(
            f'url = "http://x"\ngateway = "{gateway.url}"\nclient_id = "a"\nclient_secret = "b"\n'
        )
        with Worker(tmp_path, env={"PATH": os.environ["PATH"]}) as worker:
            await gateway.until(lambda: gateway.is_connected)
            assert gateway.headers[0][b"authorization"] == b"Basic YTpi"
            worker.signal(signal.SIGTERM)
            assert await worker.exit_code() == 0


async def test_not_allowed_is_exit_code_3(tmp_path: Path) -> None:
    gateway = Gateway()
    gateway.status = 401
    async with running_gateway(gateway):
        with Worker(tmp_path, "--url", gateway.url) as worker:
            assert await worker.exit_code() == 3
            assert "refuses this worker" in worker.stderr.read_text()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), "no gateway"),
        (("--url", "http://x"), "no gateway's address"),
        (("--url", "ws://x", "--kind", "Nothing"), "no kind 'Nothing'"),
        (("--url", "ws://x", "--name", "a b"), "no worker's name"),
        (("--slots", "0"), "slots"),
    ],
)
async def test_wrong_usage_is_exit_code_2(
    tmp_path: Path, flags: tuple[str, ...], words: str
) -> None:
    with Worker(tmp_path, *flags) as worker:
        assert await worker.exit_code() == 2
        assert words in worker.stderr.read_text()
