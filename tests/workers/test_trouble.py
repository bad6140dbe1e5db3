"""Decides whose fault it is that nothing can be started: a sick worker costs no job anything."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from control.model import limits
from control.model.errors import JobFailed
from control.model.kinds import Process
from control.model.states import Outcome
from control.model.worker.wire import Began, Ended, HandedBack, Sick
from tests.workers.gateways import assign, lease
from tests.workers.kind_runs import Runs
from tests.workers.test_executor import Bench, bench
from workers.kinds.container import Container
from workers.kinds.http import HTTP
from workers.kinds.python import Python
from workers.kinds.shell import Shell
from workers.trouble import WorkerTrouble


class FailingLauncher:
    """Starts nothing, for a reason."""

    def __init__(self, number: int) -> None:
        self.number = number

    async def start(self, *_: object, **__: object) -> Process:
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EAGAIN, errno.ENOMEM, errno.ENOSPC])
@pytest.mark.parametrize(
    ("kind", "params"), [(Shell, {"command": "true"}), (Python, {"call": "math:sqrt"})]
)
async def test_what_the_worker_lacks_is_its_own_fault(
    tmp_path: Path, kind: type, params: dict[str, object], number: int
) -> None:
    descriptors = os.listdir("/dev/fd")
    with pytest.raises(WorkerTrouble, match="could not be started: "):
        await Runs(kind(), tmp_path, FailingLauncher(number))(**params)
    assert len(os.listdir("/dev/fd")) == len(descriptors)


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.E2BIG, errno.ENOEXEC])
async def test_what_the_job_asks_for_in_vain_is_its_fault(tmp_path: Path, number: int) -> None:
    with pytest.raises(JobFailed, match="could not be started"):
        await Runs(Shell(), tmp_path, FailingLauncher(number))(command="true")  # type: ignore[arg-type]


async def test_without_descriptors_no_request_is_a_failed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def socket(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    runs = Runs(HTTP(), tmp_path)  # type: ignore[arg-type]
    monkeypatch.setattr(trio, "open_tcp_stream", socket)
    with pytest.raises(WorkerTrouble, match="Too many open files"):
        await runs(url="http://127.0.0.1:1/")
    await runs.kind.aclose()


ENGINE = """\
#!/bin/sh
case $1 in start) echo here; exec sleep 600;; esac
"""


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An engine's program, of which no container comes to an end."""
    program = tmp_path / "bin" / "podman"
    program.parent.mkdir()
    program.write_text(ENGINE)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return program


@pytest.mark.usefixtures("engine")
async def test_a_container_that_the_worker_cannot_start_is_handed_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start: Any = trio.lowlevel.open_process

    async def exhausted(command: list[str], **options: object) -> object:
        if "start" in command:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return await start(command, **options)

    monkeypatch.setattr(trio.lowlevel, "open_process", exhausted)
    kind = Container()
    with pytest.raises(WorkerTrouble, match="podman could not be started: "):
        await Runs(kind, tmp_path)(image="a/b", command="true")  # type: ignore[arg-type]
    await kind.aclose()


async def test_an_engine_that_cannot_be_called_any_more_leaves_no_process(
    tmp_path: Path, engine: Path
) -> None:
    kind = Container()
    runs = Runs(kind, tmp_path)  # type: ignore[arg-type]
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runs.raw, {"image": "a/b", "command": "true"})
            while "here" not in runs.report.text:
                await trio.lowlevel.checkpoint()
            os.unlink(engine)
            nursery.cancel_scope.cancel()
        assert "podman could not be started: " in runs.report.text  # To remove the container.
        await kind.aclose()


def told(made: Bench, kind: type) -> list[object]:
    return [frame for frame in made.told if isinstance(frame, kind)]


async def test_a_sick_worker_hands_back_and_says_so_and_tries_again_later(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with bench(tmp_path, slots=1) as made:
        made.receive(*(assign(number, {"command": "sick"}, kind="Probe") for number in range(3)))
        await made.settled()
        given_back = {each for frame in told(made, HandedBack) for each in frame.leases}  # type: ignore[attr-defined]
        assert given_back == {lease(number) for number in range(3)}
        assert told(made, Sick) == [Sick(reason="the probe could not be started: [Errno 28] full")]
        assert not told(made, Ended)
        made.receive(assign(3))
        await made.settled()
        assert told(made, HandedBack)[-1] == HandedBack(leases=(lease(3),))
        for pause_s in (1, 2, 4):
            await trio.sleep(pause_s - 0.1)
            await made.settled()
            assert told(made, Sick)[-1] != Sick(reason="")
            await trio.sleep(0.2)
            await made.settled()
            assert told(made, Sick)[-1] == Sick(reason="")
            if pause_s < 4:
                made.receive(assign(10 + pause_s, {"command": "sick"}, kind="Probe"))
                await made.settled()
        made.receive(assign(20))
        assert (await made.result(20)).outcome is Outcome.DONE
        assert made.executor._sick_s == limits.SICK_MIN_S  # noqa: SLF001 - Well again.
        assert not [each for each in told(made, Began) if each.lease == lease(0)]  # type: ignore[attr-defined]


async def test_what_runs_goes_on_while_a_worker_is_sick(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with bench(tmp_path, slots=2) as made:
        made.receive(assign(1, {"seconds": 30}))
        await made.settled()
        made.receive(assign(2, {"command": "sick"}, kind="Probe"))
        assert (await made.result(1)).outcome is Outcome.DONE
