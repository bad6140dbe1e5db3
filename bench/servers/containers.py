"""Owns a real container engine for tests: podman, installed with apt-get, and a busybox image.

Nothing of it is outside the folder that a test session gives it, and it needs neither a network nor
cgroups of its own, so that it works inside of a container as well.
"""

import fcntl
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Final

CACHE: Final = Path(__file__).resolve().parents[2] / ".containers"
IMAGE: Final = "docker.io/library/busybox:1.37"  # As the documentation calls it.
_PACKAGES: Final = ("podman", "runc")
_BUSYBOX: Final = "busybox-static"
_APPLETS: Final = ("cat", "echo", "env", "false", "id", "ls", "mkdir", "sh", "sleep", "true", "yes")


class NoEngine(Exception):
    """Podman cannot be had or does not run here; the message says what is missing."""


def obtain(cache: Path = CACHE) -> Path:
    """The image's file, made at first use, as podman is installed then."""
    image = cache / "busybox.tar"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = [name for name in _PACKAGES if shutil.which(name) is None]
        if missing:
            _from_debian(["install", "--yes", "--no-install-recommends", *missing])
        if not image.exists():
            _make_image(image)
    return image


class Podman:
    """One store of images and containers, in a directory of its own."""

    def __init__(self, image: Path, directory: Path) -> None:
        """Make the store, with the image in it as `IMAGE`."""
        self._store = (
            *("--runtime=runc", "--storage-driver=vfs", "--cgroup-manager=cgroupfs"),
            *("--events-backend=none", f"--root={directory / 'root'}"),
            *(f"--runroot={directory / 'run'}", f"--tmpdir={directory / 'tmp'}"),
        )
        _run(["podman", *self._store, "import", str(image), IMAGE])

    @property
    def arguments(self) -> tuple[str, ...]:
        """What `[container] arguments` of a worker has to be."""
        bounds = ("--ulimit=nofile=1024:4096", "--ulimit=nproc=4096:4096")
        return (*self._store, "create", "--network=none", "--cgroups=no-conmon", *bounds)

    def containers(self, *more: str) -> list[str]:
        """The names of all containers there are, running or not."""
        return _run(["podman", *self._store, "ps", "--all", "--format={{.Names}}", *more]).split()

    def kill(self, name: str) -> None:
        """End a container as another process would."""
        _run(["podman", *self._store, "kill", name])


def _make_image(image: Path) -> None:
    """Make it beside its place and move it there when complete."""
    with tempfile.TemporaryDirectory(dir=image.parent) as name:
        work = Path(name)
        _from_debian(["download", _BUSYBOX], work)
        (package,) = work.glob("*.deb")
        _run(["dpkg-deb", "--extract", str(package), "unpacked"], work)
        root = work / "root"
        for folder in ("bin", "etc", "tmp"):
            (root / folder).mkdir(parents=True)
        shutil.copy2(work / "unpacked" / "bin" / "busybox", root / "bin")
        for applet in _APPLETS:
            (root / "bin" / applet).symlink_to("busybox")
        (root / "etc" / "passwd").write_text("root:x:0:0::/:/bin/sh\n")
        with tarfile.open(work / "image.tar", "w") as tar:
            tar.add(root, arcname=".")
        os.rename(work / "image.tar", image)


def _from_debian(arguments: list[str], cwd: Path | None = None) -> None:
    """Have apt-get do something, with fresh lists of packages if it cannot by those that it has."""
    try:
        _run(["apt-get", *arguments], cwd)
    except NoEngine:
        _run(["apt-get", "update"])
        _run(["apt-get", *arguments], cwd)


def _run(command: list[str], cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )
    except OSError as error:
        raise NoEngine(f"{command[0]} cannot be executed: {error}") from error
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
        raise NoEngine(f"{' '.join(command[:3])} failed: {' | '.join(last)}")
    return done.stdout
