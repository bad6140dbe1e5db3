"""Decides that Ctrl-C on a terminal lets the jobs of a local worker end."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from control.cli.main import app
from tests.cli.calling import TPCTL

pytestmark = pytest.mark.e2e

_JOB = """\
name: patient
stages: [a]
jobs:
  - name: waits
    stage: a
    kind: Shell
    params:
      command: |
        echo begun > ${{ run.begun }}
        read word < ${{ run.go }}
        echo "$word" > ${{ run.ended }}
"""


def test_a_running_job_ends_before_the_control_plane_does(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()  # Beside the data directory jobs may not be let make anything.
    begun, go, ended = (tmp_path / "place" / name for name in ("begun", "go", "ended"))
    os.mkfifo(begun)
    os.mkfifo(go)
    file = tmp_path / "patient.yaml"
    file.write_text(_JOB)
    address, data_dir = "127.0.0.1:0", str(tmp_path / "data")
    with subprocess.Popen(
        [
            *(*TPCTL, "up", "--data-dir", data_dir, "--workers", "1"),
            *("--listen", address, "--gateway", address),
        ],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        assert any("ready" in line for line in process.stderr)
        given = f'{{"begun": "{begun}", "go": "{go}", "ended": "{ended}"}}'
        with pytest.raises(SystemExit) as called:
            app(["--data-dir", data_dir, "run", "submit", str(file), "--input", given])
        assert not called.value.code
        assert begun.read_text() == "begun\n"
        os.killpg(process.pid, signal.SIGINT)  # As a terminal does: to everybody in front of it.
        assert any(line.startswith("stopping") for line in process.stderr)
        assert any("worker.draining" in line for line in process.stderr)
        with go.open("r+b", buffering=0) as words:  # Without a reader too, if the job is gone.
            words.write(b"done\n")
            rest = process.stderr.read()
    assert process.returncode == 0
    assert "worker.killed" not in rest
    assert ended.read_text() == "done\n"
