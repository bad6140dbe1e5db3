"""Runs the main job from end to end, as `make demo`: a control plane, a worker, a real pipeline."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.servers.system import start_control, start_worker

ROOT = Path(__file__).parent.parent
SLOTS = 4
# The build and the installation in the pipeline use pip, which is configured by the environment.
PASSED_ON = "PIP_*,SSL_CERT_*,*_proxy,*_PROXY"


def main() -> int:
    """Run `examples/ci.yaml` over this repository; gives the run's exit code."""
    begin = time.perf_counter()
    with TemporaryDirectory(prefix="taskplane-demo-") as directory:
        data_dir = Path(directory) / "data"
        workspace = Path(directory) / "workspace"
        source = Path(directory) / "source"
        workspace.mkdir()
        _copy_sources(source)
        say("starting a control plane and a worker on free ports")
        with (
            start_control(data_dir),
            start_worker(data_dir, slots=SLOTS, name="demo", environ={"TP_PASS_ENV": PASSED_ON}),
        ):
            given = {
                "source": str(source),
                "python": sys.executable,
                "workspace": str(workspace),
            }
            say("submitting examples/ci.yaml")
            code = tpctl(
                data_dir,
                *("run", "submit", str(ROOT / "examples" / "ci.yaml")),
                *("--input", json.dumps(given), "--wait", "--logs"),
            )
            say("what ran, and how long it took")
            tpctl(data_dir, "run", "show", "1")
            tpctl(data_dir, "stats", "summary", "--window", "15m")
            say("stopping")
    say(f"{'done' if code == 0 else 'failed'} after {time.perf_counter() - begin:.0f} s")
    return code


def tpctl(data_dir: Path, *arguments: str) -> int:
    """Run a command of tpctl on our terminal; gives its exit code."""
    command = [str(Path(sys.executable).parent / "tpctl"), "--data-dir", str(data_dir), *arguments]
    return subprocess.run(command, check=False).returncode


def say(text: str) -> None:
    """Tell what happens next."""
    print(f"\n== {text}", file=sys.stderr, flush=True)


def _copy_sources(target: Path) -> None:
    """What the pipeline works on: the sources as they are now, without what is built from them."""
    skipped = shutil.ignore_patterns(
        ".venv", ".git", "dist", "build", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info"
    )
    shutil.copytree(ROOT, target, ignore=skipped)


if __name__ == "__main__":
    sys.exit(main())
