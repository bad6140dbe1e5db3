"""Decides how a command ends that cannot write: in words, with a code that is no run's."""

import subprocess
import sys
from pathlib import Path

import pytest

TPCTL = Path(sys.executable).with_name("tpctl")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "stdout"),
    [("kind list", ">/dev/full"), ("kind list -o json", ">&-"), ("--help", ">/dev/full")],
)
def test_a_stdout_that_cannot_be_written_is_an_error(command: str, stdout: str) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$0" {command} {stdout}', TPCTL],
        check=False,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("tpctl: cannot write to standard output: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_closed_stderr_is_no_reason_to_fail() -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", '"$0" kind list 2>&-', TPCTL],
        check=False,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 0
    assert "Shell" in done.stdout
