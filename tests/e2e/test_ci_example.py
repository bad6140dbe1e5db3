"""Decides that the example of CI checks, builds, installs, and tries out these sources."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from bench.servers.system import script, start_control, start_worker

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
SOURCES = ("control", "workers", "store", "tui", "bench")
FILES = ("pyproject.toml", "constraints.txt", "README.md", "LICENSE")
# One file of quick tests stands for all of them, which run elsewhere.
TESTS = Path("tests", "core", "test_epochs.py")


@pytest.fixture
def build_tool(tmp_path: Path) -> Path:
    """Its wheels. Where pip cannot get them the test is skipped, but not on CI."""
    wheels = tmp_path / "wheels"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(wheels)]
    command += ["--constraint", str(ROOT / "constraints.txt"), "hatchling"]
    got = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if got.returncode and not os.environ.get("CI"):
        pytest.skip(f"pip cannot download the build tool: {got.stderr}")
    assert not got.returncode, got.stderr
    return wheels


@pytest.fixture
def dependencies(tmp_path: Path) -> Path:
    """What is installed here, but for us: what the clean environment need not download again."""
    folder = tmp_path / "dependencies"
    folder.mkdir()
    for installed in Path(sysconfig.get_path("purelib")).iterdir():
        if "taskplane" not in installed.name:
            (folder / installed.name).symlink_to(installed)
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The sources, without most of the tests."""
    source = tmp_path / "source"
    for folder in SOURCES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, source / folder, ignore=ignored)
    for file in (*FILES, TESTS):
        (source / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, source / file)
    return source


def test_the_example_of_ci_runs(
    tmp_path: Path, build_tool: Path, dependencies: Path, source: Path
) -> None:
    data_dir, workspace = tmp_path / "data", tmp_path / "workspace"
    workspace.mkdir()
    where = {"source": str(source), "python": sys.executable, "workspace": str(workspace)}
    environ = {
        "TP_PASS_ENV": "PIP_*,PYTHONPATH",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(build_tool),
        "PYTHONPATH": str(dependencies),
    }
    command = [script("tpctl"), "--data-dir", str(data_dir), "run", "submit"]
    command += [str(ROOT / "examples" / "ci.yaml"), "--input", json.dumps(where)]
    with start_control(data_dir), start_worker(data_dir, slots=4, name="ci", environ=environ):
        ran = subprocess.run(
            [*command, "--wait", "--logs"],
            capture_output=True,
            text=True,
            timeout=600,  # Only ends what would wait for ever.
            check=False,
        )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "tests passed, the wheel has" in ran.stdout
    assert (workspace / "clean" / "bin" / "tpctl").exists()
