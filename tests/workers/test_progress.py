"""Decides what of `$TP_PROGRESS` is reported, and that nothing a job does with it does harm."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import trio

from control.model import limits
from control.model.errors import JobFailed
from tests.workers.kind_runs import Recorder, Runs
from workers.kinds.progress import ProgressPipe
from workers.kinds.python import Python
from workers.kinds.shell import Shell

MODULE = """
import os, subprocess
from taskplane_job import progress
def steps(*fractions):
    for fraction in fractions:
        progress(fraction)
def through_a_program(): subprocess.run(["sh", "-c", "echo 0.25 > $TP_PROGRESS"], check=True)
def many():
    for number in range(20_000):
        progress(number / 20_000)
    progress(1)
def unread():
    os.unlink(os.environ["TP_PROGRESS"])
    progress(0.5)
    return "done"
"""


@pytest.fixture
def shell(tmp_path: Path) -> Runs:
    return Runs(Shell(), tmp_path)  # type: ignore[arg-type]


@pytest.fixture
async def python(tmp_path: Path) -> AsyncIterator[Runs]:
    (tmp_path / "steps.py").write_text(MODULE)
    kind = Python()
    yield Runs(kind, tmp_path)  # type: ignore[arg-type]
    await kind.aclose()


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[ProgressPipe]:
    with closing(ProgressPipe(tmp_path / "progress")) as pipe:
        yield pipe


async def test_a_command_writes_a_number(shell: Runs) -> None:
    await shell(command='echo 0.4 > "$TP_PROGRESS"')
    assert shell.report.fractions == [0.4]
    assert shell.report.text == ""


async def test_a_command_that_fails_has_come_so_far(shell: Runs) -> None:
    with pytest.raises(JobFailed, match="exit code 3"):
        await shell(command='printf 0.75 > "$TP_PROGRESS"; exit 3')
    assert shell.report.fractions == [0.75]


async def test_progress_is_reported_while_the_command_runs(shell: Runs, tmp_path: Path) -> None:
    go = tmp_path / "go"
    reported = trio.Event()
    record = shell.report.progress

    async def progress(fraction: float) -> None:
        await record(fraction)
        reported.set()

    shell.report.progress = progress  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery:
        command = f"echo 0.5 > $TP_PROGRESS; while ! [ -e {go} ]; do sleep 0.01; done"
        nursery.start_soon(shell.raw, {"command": command})
        with trio.fail_after(60):
            await reported.wait()
        go.touch()
    assert shell.report.fractions == [0.5]


@pytest.mark.parametrize(
    "written", ["halfway", "nan", "-0.1", "1.01", "50", "inf", "0x1", "\\033[2J", "1" * 5000]
)
async def test_what_is_no_number_from_0_to_1_is_said_once(shell: Runs, written: str) -> None:
    await shell(command=f"printf '%b\\n' '{written}' > $TP_PROGRESS")
    assert shell.report.fractions == []
    assert shell.report.text.startswith("[$TP_PROGRESS: ")
    assert shell.report.text.endswith(" is no number from 0 to 1]\n")
    assert len(shell.report.text) < 200
    assert "\033" not in shell.report.text


@pytest.mark.parametrize(
    "replace",
    [
        "ln -s /etc/passwd $TP_PROGRESS",
        "mkdir $TP_PROGRESS",
        "echo 0.9 > $TP_PROGRESS",
        "mkfifo $TP_PROGRESS",
    ],
)
async def test_what_is_put_in_its_place_is_not_opened(shell: Runs, replace: str) -> None:
    with trio.fail_after(60):
        await shell(command=f"rm $TP_PROGRESS; {replace}")
    assert (shell.report.fractions, shell.report.text) == ([], "")


async def test_a_flood_is_reported_as_its_newest_number(
    pipe: ProgressPipe, autojump_clock: trio.testing.MockClock
) -> None:
    """Of all that is written between two looks one number counts, and a writer may wait."""
    report = Recorder()
    async with pipe.reported(report):
        with pipe.path.open("wb", buffering=0) as writer:
            writer.write(b"0.1\n" * 10_000 + b"0.2\n")
            await trio.sleep(limits.PROGRESS_EVERY_S / 2)
            assert report.fractions == [0.2]
            for number in range(3_000, 10_000):
                writer.write(b"0.%d\n" % number)
            assert report.fractions == [0.2]
            await trio.sleep(limits.PROGRESS_EVERY_S)
    assert report.fractions == [0.2, 0.9999]


async def test_a_failure_inside_is_that_failure_and_has_come_so_far(pipe: ProgressPipe) -> None:
    report = Recorder()

    async def fail() -> None:
        async with pipe.reported(report):
            pipe.path.write_text("0.5\n")
            raise JobFailed("it broke")

    with pytest.raises(JobFailed, match=r"^it broke$"):
        await fail()
    assert report.fractions == [0.5]


async def test_a_job_that_writes_without_end_is_slowed_and_can_be_stopped(shell: Runs) -> None:
    reports = 0
    enough = trio.Event()

    async def progress(fraction: float) -> None:
        nonlocal reports
        reports += 1
        if reports == 3:
            enough.set()

    shell.report.progress = progress  # type: ignore[method-assign]
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shell.raw, {"command": "yes 0.5 > $TP_PROGRESS"})
        with trio.fail_after(60):
            await enough.wait()
        assert trio.current_time() - began >= 2 * limits.PROGRESS_EVERY_S
        nursery.cancel_scope.cancel()


async def test_a_function_calls_a_function(python: Runs, tmp_path: Path) -> None:
    await python(call="steps:steps", args=[0, 0.5, 1], path=str(tmp_path))
    assert python.report.fractions[-1] == 1
    assert python.report.text == ""


async def test_what_a_function_starts_writes_a_number(python: Runs, tmp_path: Path) -> None:
    await python(call="steps:through_a_program", path=str(tmp_path))
    assert python.report.fractions == [0.25]


async def test_thousands_of_calls_are_few_reports(python: Runs, tmp_path: Path) -> None:
    await python(call="steps:many", path=str(tmp_path))
    assert python.report.fractions[-1] == 1
    assert len(python.report.fractions) < 1_000


@pytest.mark.parametrize("fraction", [1.5, -1, "much"])
async def test_a_function_is_refused_what_is_no_progress(
    python: Runs, tmp_path: Path, fraction: object
) -> None:
    with pytest.raises(JobFailed, match="ValueError"):
        await python(call="steps:steps", args=[fraction], path=str(tmp_path))
    assert python.report.fractions == []


async def test_the_next_call_of_a_child_begins_anew(python: Runs, tmp_path: Path) -> None:
    await python(call="steps:steps", args=[0.5], path=str(tmp_path))
    await python(call="steps:steps", path=str(tmp_path))
    assert python.report.fractions == [0.5]


async def test_a_pipe_that_is_gone_does_not_keep_the_work(python: Runs, tmp_path: Path) -> None:
    assert await python(call="steps:unread", path=str(tmp_path)) == "done"


def test_only_the_owner_may_write_unless_others_may(tmp_path: Path) -> None:
    for name, mode in (("own", 0o600), ("shared", 0o666)):
        with closing(ProgressPipe(tmp_path / name, mode=mode)):
            assert os.stat(tmp_path / name).st_mode & 0o777 == mode
