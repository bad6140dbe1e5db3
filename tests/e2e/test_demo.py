"""Decides that `make demo` shows what it says, leaves up what it should, and nothing else."""

import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
ALL_DONE = re.compile(r"^(\d+) of \1 done, 0 lost, 0 twice \(\d+ s\)$", re.MULTILINE)


@contextmanager
def demo(directory: Path, *flags: str) -> Iterator[subprocess.Popen[str]]:
    """The demo, with its directory in this one; what it leaves up is killed."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.demo", *flags],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(directory)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()
            for pid in processes_of(directory):
                os.kill(pid, signal.SIGKILL)


def processes_of(directory: Path) -> list[int]:
    """Those that have this directory in their command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(directory) in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:  # It has ended meanwhile.
            continue
    return found


def end_of(process: subprocess.Popen[str]) -> str:
    """The rest of what it prints."""
    text, _ = process.communicate(timeout=200)  # Only ends what would wait for ever.
    return text


def test_the_demo_loses_nothing_and_does_nothing_twice(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        text = end_of(process)
        assert process.returncode == 0, text
        (jobs,) = ALL_DONE.findall(text)
        assert int(jobs) > 200
        for part in ("priority 1", "exit code 3", "have the label gpu", "fast p95 wait"):
            assert part in text
        assert text.count("kill -9 of") == 3  # The title, and two sections.
        assert "`make demo KEEP=1`" in text
        assert not processes_of(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_demo_that_is_left_up_can_be_looked_at_and_stopped(tmp_path: Path) -> None:
    with demo(tmp_path, "--keep", "--scale", "0.1") as process:
        text = end_of(process)
        assert process.returncode == 0, text
        assert ALL_DONE.search(text)
        (look,) = re.findall(r"^ +Look around: +(.+) tui$", text, re.MULTILINE)
        runs = subprocess.run(
            [*look.split(), "run", "list", "--limit", "1", "-o", "name"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert runs.stdout.strip(), runs.stderr
        (stop,) = re.findall(r"^ +Stop it: +kill ([\d ]+)$", text, re.MULTILINE)
        ends = [os.pidfd_open(int(pid)) for pid in stop.split()]
        assert len(ends) == 3
        subprocess.run(["kill", *stop.split()], check=True)
        for end in ends:
            assert select.select([end], [], [], 60)[0]
            os.close(end)
        assert not processes_of(tmp_path)


def test_ctrl_c_ends_all_of_it(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        assert process.stdout is not None
        assert any("fast runs a second" in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
        assert "nothing is left running" in end_of(process)
        assert process.returncode == 130
        assert not processes_of(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("keep", "flag"), [("KEEP=1", " --keep"), ("KEEP=0", ""), ("", "")])
def test_make_passes_on_whether_to_leave_it_up(keep: str, flag: str) -> None:
    command = ["make", "--dry-run", "--no-print-directory", "demo", *filter(None, [keep])]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1].rstrip() == f".venv/bin/python -m bench.demo{flag}"
