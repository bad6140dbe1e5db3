"""Owns the programs of a real Kubernetes control plane: built once per machine, in `.kubernetes`.

API server, controller manager, and scheduler are built by Go from the modules that go.mod pins; so
is kwok, which simulates nodes. etcd comes out of Debian's package: it is unpacked, not installed.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

SOURCES: Final = Path(__file__).resolve().parent
CACHE: Final = SOURCES.parents[2] / ".kubernetes"
_PINNED: Final = ("go.mod", "go.sum", "tools.go")
_KUBERNETES: Final = (
    "k8s.io/kubernetes/cmd/kube-apiserver",
    "k8s.io/kubernetes/cmd/kube-controller-manager",
    "k8s.io/kubernetes/cmd/kube-scheduler",
)
_KWOK: Final = "sigs.k8s.io/kwok/cmd/kwok@v0.7.0"
_ETCD: Final = "etcd-server"
# Not optimized, and without what debuggers need: that halves the time to build them.
_FLAGS: Final = ("-trimpath", "-gcflags=all=-N -l -dwarf=false", "-ldflags=-s -w")
_LINES_SHOWN: Final = 15


class NoCluster(Exception):
    """A control plane cannot be had or does not start here; the message says what is missing."""


def obtain(cache: Path = CACHE) -> Path:
    """The directory of the programs; the first call builds them, for some minutes."""
    pinned = b"".join((SOURCES / name).read_bytes() for name in _PINNED)
    key = hashlib.sha256(pinned + _KWOK.encode()).hexdigest()[:16]
    programs = cache / key
    if programs.is_dir():
        return programs
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not programs.is_dir():
            # Moved there when complete, so that half of it is never used.
            with tempfile.TemporaryDirectory(dir=cache) as building:
                _build(Path(building))
                os.rename(Path(building) / "bin", programs)
    return programs


def _build(directory: Path) -> None:
    go = shutil.which("go")
    if go is None:
        raise NoCluster("a real Kubernetes needs go, which is not on the PATH")
    programs = directory / "bin"
    programs.mkdir()
    _fetch_etcd(directory / "etcd", programs)
    for name in _PINNED:
        shutil.copy(SOURCES / name, directory)
    _run([go, "build", "-mod=readonly", *_FLAGS, "-o", f"{programs}/", *_KUBERNETES], directory)
    _run([go, "install", *_FLAGS, _KWOK], directory, GOBIN=str(programs))


def _fetch_etcd(directory: Path, programs: Path) -> None:
    """Unpack Debian's package; its lists are fetched when they do not know it."""
    for name in ("apt-get", "dpkg-deb"):
        if shutil.which(name) is None:
            raise NoCluster(f"a real Kubernetes needs etcd, and {name} to fetch it")
    directory.mkdir()
    # apt's own user may not write there, so root fetches: without a word of warning about it.
    fetch = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", _ETCD]
    if subprocess.run(fetch, cwd=directory, capture_output=True, check=False).returncode:
        _run(["apt-get", "-q", "update"], directory)
        _run(fetch, directory)
    (package,) = directory.glob("*.deb")
    _run(["dpkg-deb", "-x", str(package), "unpacked"], directory)
    shutil.copy(directory / "unpacked" / "usr" / "bin" / "etcd", programs / "etcd")


def _run(command: Sequence[str], directory: Path, **environment: str) -> None:
    env: Mapping[str, str] = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", **environment}
    result = subprocess.run(
        command,
        cwd=directory,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if result.returncode:
        words = "\n".join(result.stdout.splitlines()[-_LINES_SHOWN:])
        raise NoCluster(f"{' '.join(command)} failed:\n{words}")


if __name__ == "__main__":
    sys.stdout.write(f"{obtain()}\n")
