"""Owns a way to call `tpctl` as a user does, and a control plane for it to talk to."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from control.cli.main import app
from tests.cli.calling import FAILING, PIPELINE, TPCTL, WAITING, Result, Tpctl


@pytest.fixture(autouse=True)
def _nobody_at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings of whoever runs the tests."""
    for name in ("TP_URL", "TP_CLIENT_ID", "TP_CLIENT_SECRET", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TP_DATA_DIR", str(tmp_path / "nothing"))


@pytest.fixture
def tpctl(capsys: pytest.CaptureFixture[str]) -> Tpctl:
    """The command, its server being whatever the environment says."""

    def call(*args: str | int | Path) -> Result:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            app([str(arg) for arg in args], prog_name="tpctl")
        said = capsys.readouterr()
        code = ended.value.code
        assert code is None or isinstance(code, int)
        return Result(code=code or 0, out=said.out, err=said.err)

    return call


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data directory of a control plane that runs, with a worker of two slots."""
    directory = tmp_path_factory.mktemp("plane")
    flags = ("--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0", "--log-level", "error")
    with subprocess.Popen(
        [*TPCTL, "up", *flags, "--data-dir", str(directory), "--workers", "2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert any("ready" in line for line in process.stderr), "the control plane did not start"
        yield directory
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
    assert process.returncode == 0


@pytest.fixture
def online(plane: Path, monkeypatch: pytest.MonkeyPatch, tpctl: Tpctl) -> Tpctl:
    """The command with that control plane as its server."""
    monkeypatch.setenv("TP_DATA_DIR", str(plane))
    return tpctl


@pytest.fixture
def nightly(online: Tpctl, tmp_path: Path) -> str:
    """A pipeline that is stored."""
    return _stored(online, tmp_path, PIPELINE)


@pytest.fixture
def failing(online: Tpctl, tmp_path: Path) -> str:
    """A pipeline whose runs fail."""
    return _stored(online, tmp_path, FAILING)


@pytest.fixture
def waiting(online: Tpctl, tmp_path: Path) -> Iterator[int]:
    """A run that waits until the test is over."""
    name = _stored(online, tmp_path, WAITING)
    run_id = int(online("run", "start", name, "-o", "name").out)
    yield run_id
    online("run", "cancel", run_id)


def _stored(online: Tpctl, folder: Path, text: str) -> str:
    file = folder / "stored.yaml"
    file.write_text(text)
    applied = online("pipeline", "apply", file, "-o", "name")
    assert applied.code == 0, applied.err
    return applied.out.strip()
