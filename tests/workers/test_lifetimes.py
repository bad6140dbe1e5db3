"""Decides what outlives what: no process its attempt, no attempt its worker."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from control.model import limits
from control.model.errors import JobFailed
from control.model.states import Outcome
from control.model.worker.wire import Cancel
from tests.workers.gateways import Gateway, assign, lease, running_gateway
from tests.workers.kind_runs import Runs
from tests.workers.marked import Mark, children_of, kill_all
from tests.workers.test_tpworker import Worker
from workers.isolation.child import GuardedProcess
from workers.isolation.launcher import GuardedLauncher
from workers.kinds.shell import Shell
from workers.trouble import WorkerTrouble

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sys.platform != "linux", reason="guards need Linux"),
]

WAYS = {
    "in its group": "",
    "in a session of its own": "setsid",
    "without any environment": "env -i setsid",
    "deaf": 'setsid env sh -c \'trap "" TERM HUP INT; exec "$@"\' deaf',
}


@pytest.fixture
def mark(tmp_path: Path) -> Mark:
    return Mark(tmp_path)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Runs]:
    launcher = GuardedLauncher()
    (tmp_path / "jobs").mkdir()
    yield Runs(Shell(), tmp_path / "jobs", launcher)  # type: ignore[arg-type]
    launcher.close()


def all_ways(mark: Mark) -> str:
    return "; ".join(mark.escape(way, number) for number, way in enumerate(WAYS.values()))


@pytest.mark.parametrize("way", WAYS)
async def test_nothing_outlives_a_normal_end(shell: Runs, mark: Mark, way: str) -> None:
    await shell(command=f"{mark.escape(WAYS[way])}; echo $PPID")
    assert mark.pids() == []


async def test_nothing_outlives_a_failure(shell: Runs, mark: Mark) -> None:
    with pytest.raises(JobFailed, match="exit code 3"):
        await shell(command=f"{all_ways(mark)}; exit 3")
    assert mark.pids() == []


async def test_nothing_outlives_a_stop(shell: Runs, mark: Mark) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shell.raw, {"command": f"{all_ways(mark)}; exec sleep 300"})
        await mark.until(len(WAYS))
        nursery.cancel_scope.cancel()
    assert mark.pids() == []


async def test_what_a_job_puts_into_the_background_lives_as_long_as_the_job(
    shell: Runs, mark: Mark, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    async with trio.open_nursery() as nursery:
        waits = f"{all_ways(mark)}; while ! [ -e {go} ]; do sleep 0.01; done"
        nursery.start_soon(shell.raw, {"command": waits})
        await mark.until(len(WAYS))
        await shell(command="true")  # Another job's end concerns nobody else's processes.
        await mark.until(len(WAYS))
        go.touch()
    assert mark.pids() == []


async def test_a_tree_that_grows_while_it_is_ended(shell: Runs, mark: Mark) -> None:
    bomb = f"f() {{ setsid sh -c 'sleep 0.01; sleep 300' {mark.name} & }}"
    bomb += "; n=0; while [ $n -lt 300 ]; do f; n=$((n + 1)); done; sleep 300"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shell.raw, {"command": bomb})
        with trio.fail_after(60):
            while len(mark.pids()) < 20:
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert mark.pids() == []


async def test_a_job_that_kills_its_guard_has_killed_itself(shell: Runs, mark: Mark) -> None:
    with pytest.raises(JobFailed, match="SIGKILL"):
        await shell(command=f"{all_ways(mark)}; kill -9 $PPID; sleep 300")
    await mark.until(0)
    await shell(command="true")


async def test_a_spawner_that_was_killed_is_started_again(shell: Runs, mark: Mark) -> None:
    launcher = shell.launcher
    assert isinstance(launcher, GuardedLauncher)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shell.raw, {"command": f"{all_ways(mark)}; exec sleep 300"})
        await mark.until(len(WAYS))
        launcher._spawner.kill()  # noqa: SLF001 - Nobody else kills it.
        launcher._spawner.wait()  # noqa: SLF001
        await shell(command="true")
        await mark.until(len(WAYS))  # What runs goes on.
        nursery.cancel_scope.cancel()
    assert mark.pids() == []


async def test_a_worker_that_was_killed_leaves_nothing(tmp_path: Path, mark: Mark) -> None:
    async with running_gateway(Gateway()) as gateway:
        with Worker(tmp_path, "--url", gateway.url) as worker:
            await gateway.until(lambda: gateway.is_connected)
            command = {"command": f"{all_ways(mark)}; exec sleep 300"}
            await gateway.send(assign(1, command, kind="Shell"))
            await mark.until(len(WAYS))
            worker.signal(signal.SIGKILL)
            await worker.exit_code()
        await mark.until(0)


async def test_a_call_whose_worker_was_killed_is_killed(tmp_path: Path, mark: Mark) -> None:
    async with running_gateway(Gateway()) as gateway:
        with Worker(tmp_path, "--url", gateway.url) as worker:
            await gateway.until(lambda: gateway.is_connected)
            call = {"call": "os:system", "args": [f"{all_ways(mark)}; exec sleep 300"]}
            await gateway.send(assign(1, call, kind="Python"))
            await mark.until(len(WAYS))
            worker.signal(signal.SIGKILL)
            await worker.exit_code()
        await mark.until(0)


async def test_what_died_with_its_guards_is_ended_at_the_next_start(
    tmp_path: Path, mark: Mark
) -> None:
    async with running_gateway(Gateway()) as gateway:
        with Worker(tmp_path, "--url", gateway.url) as worker:
            await gateway.until(lambda: gateway.is_connected)
            command = {"command": f"{mark.escape('setsid')}; echo $$; exec sleep 300"}
            await gateway.send(assign(1, command, kind="Shell"))
            await mark.until(1)
            (spawner,) = children_of(worker.process.pid)
            kill_all([worker.process.pid, spawner, *children_of(spawner)])
            await worker.exit_code()
        await mark.until(1)
        with Worker(tmp_path, "--url", gateway.url):
            await gateway.until(lambda: len(gateway.hellos) == 2)
            assert mark.pids() == []


async def test_a_job_of_the_worker_is_ended_before_its_end_is_said(
    tmp_path: Path, mark: Mark
) -> None:
    async with running_gateway(Gateway()) as gateway:
        with Worker(tmp_path, "--url", gateway.url):
            await gateway.until(lambda: gateway.is_connected)
            stays = {"command": f"{all_ways(mark)}; exec sleep 300"}
            await gateway.send(assign(1, stays, kind="Shell"))
            await mark.until(len(WAYS))
            await gateway.send(Cancel(lease=lease(1), reason="enough"))
            ended = await gateway.until(lambda: gateway.result(1))
            assert (ended.outcome, mark.pids()) == (Outcome.CANCELLED, [])


async def test_a_worker_ends_with_the_process_that_started_it(tmp_path: Path, mark: Mark) -> None:
    async with running_gateway(Gateway()) as gateway:
        with Worker(tmp_path, "--url", gateway.url, "--parent", str(os.getpid())):
            await gateway.until(lambda: gateway.is_connected)
            await gateway.send(
                assign(1, {"command": f"{all_ways(mark)}; exec sleep 300"}, kind="Shell")
            )
            await mark.until(len(WAYS))
        await mark.until(0)
        with Worker(tmp_path, "--url", gateway.url, "--parent", "1") as orphan:
            assert await orphan.exit_code() == 1


async def test_a_spawner_that_stands_still_is_killed_and_started_again(
    shell: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = shell.launcher
    assert isinstance(launcher, GuardedLauncher)
    former = launcher._spawner  # noqa: SLF001 - As above.
    await shell(command="true")
    former.send_signal(signal.SIGSTOP)
    monkeypatch.setattr(limits, "SPAWNER_READS_S", 0.1)
    with trio.fail_after(60):
        with pytest.raises(WorkerTrouble, match=r"took no order for 0\.1 s"):
            await shell(command="true")
        monkeypatch.undo()
        await shell(command="true")
    assert former.returncode == -signal.SIGKILL


async def test_a_guard_whose_worker_died_with_messages_unread(
    shell: Runs, mark: Mark, tmp_path: Path
) -> None:
    """Such a channel is not closed but reset."""
    launcher = shell.launcher
    assert isinstance(launcher, GuardedLauncher)
    with (tmp_path / "output").open("wb") as output:
        process = await launcher.start(
            ["/bin/sh", "-c", all_ways(mark)],
            directory=tmp_path,
            cwd=tmp_path,
            env=dict(os.environ),
            output=output.fileno(),
        )
    assert isinstance(process, GuardedProcess)
    await trio.lowlevel.wait_readable(process._channel)  # noqa: SLF001 - The end was reported.
    await mark.until(len(WAYS))
    launcher._spawner.kill()  # noqa: SLF001 - Which would do what the guard does not.
    launcher._spawner.wait()  # noqa: SLF001
    process._channel.close()  # noqa: SLF001
    await mark.until(0)


async def test_a_spawner_whose_worker_died_with_an_answer_unread(
    shell: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = shell.launcher
    assert isinstance(launcher, GuardedLauncher)
    monkeypatch.setattr("workers.isolation.launcher.READ", b"")
    await shell(command="true")
    launcher.close()
    assert launcher._spawner.returncode == 0  # noqa: SLF001 - It has waited for its guards.


async def test_the_worker_signals_no_number_that_may_be_anothers(
    shell: Runs, mark: Mark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the guard knows whether its child was buried."""
    signals: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda _, number: signals.append(number))
    script = (
        f"{all_ways(mark)}; trap 'touch {tmp_path}/asked; exit' TERM; while :; do sleep 0.1; done"
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shell.raw, {"command": script})
        await mark.until(len(WAYS))
        nursery.cancel_scope.cancel()
    assert (tmp_path / "asked").exists()
    assert mark.pids() == []
    assert set(signals) <= {0}  # Which only asks.


async def test_a_relative_directory_alone_needs_the_workers_own(
    shell: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    await shell(command="true")
    monkeypatch.chdir(tmp_path)


_BURIED = """
import os, signal, sys, time
from workers.isolation.guard import adopt_orphans, end_descendants, wakeup_pipe
adopt_orphans()
wakeups = wakeup_pipe()
def child():
    pid = os.fork()
    if pid == 0:
        time.sleep(300)
    return pid
kept, buried, other = child(), child(), child()
os.kill(buried, signal.SIGKILL)
os.waitid(os.P_PID, buried, os.WEXITED | os.WNOWAIT)
children = {kept, buried}
end_descendants(wakeups, children)
assert children == {kept}, children
os.kill(kept, 0)
os.kill(kept, signal.SIGKILL)
"""


def test_a_child_that_was_buried_is_kept_no_more() -> None:
    """Its number may be another's, which would be spared then."""
    subprocess.run([sys.executable, "-c", _BURIED], check=True, timeout=60)
