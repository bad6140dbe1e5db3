"""Decides with which options a container is created, and what of the host it sees."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from control.model import limits, names
from control.model.errors import ConfigError, JobFailed
from control.model.json_values import cut
from control.model.kinds import Job
from workers.kinds.processes import job_environment

# Where a container finds what belongs to its attempt.
_INSIDE: Final = "/taskplane"
_ENV_LINE_BYTES_MAX: Final = 60 * limits.KIB  # Engines read lines of 64 KiB.
# What an engine's own command, or what it is made with, takes from its environment.
_OF_ENGINES: Final = re.compile(
    r"(LD|DOCKER|BUILDAH|BUILDKIT|CONTAINERS?|PODMAN|STORAGE|XDG|REGISTRY|SSL|DBUS|GO[A-Z]*)(_.*)?"
    r"|PATH|HOME|USER|LOGNAME|TMPDIR|SHELL|TERM|LANG|LC_.*|GNUPGHOME|NOTIFY_SOCKET|LISTEN_.*"
    r"|(.*_)?PROXY",
    re.IGNORECASE,
)
_READ_ONLY: Final = ":ro"


class AllowedMount(NamedTuple):
    """What the worker's config lets jobs mount: a folder with all below it, or a file."""

    path: Path
    read_only: bool


class Mount(NamedTuple):
    """A file or folder of the host, resolved, and where the container sees it."""

    source: str
    target: str
    mode: str


class Exchange:
    """The files through which a container gets its input, and gives its output and progress.

    Each is mounted by itself, so that a container leaves no other file in the worker's directory.
    """

    def __init__(self, job: Job) -> None:
        """Write them; raises OSError, or JobFailed for an environment that no engine takes."""
        self._input = job.directory / "input.json"
        self.output = job.directory / "output.json"
        self.progress = job.directory / "progress"
        self.env_file = job.directory / "env"
        env = {
            **job.env,
            **job_environment(job),
            names.ENV_INPUT: f"{_INSIDE}/input.json",
            names.ENV_OUTPUT: f"{_INSIDE}/output.json",
            names.ENV_PROGRESS: f"{_INSIDE}/progress",
        }
        # Not as arguments, which every user of the host can read; what does not fit into a line of
        # a file comes through the environment of the engine's command.
        self.passed = {name: value for name, value in env.items() if _needs_passing(name, value)}
        lines = [f"{name}={value}\n" for name, value in env.items() if name not in self.passed]
        self._write(self.env_file, "".join(lines).encode(), 0o600)
        # The user of the image may be any; others of this host do not reach the directory.
        self._write(self._input, job.document, 0o644)
        self._write(self.output, b"", 0o666)

    def mounts(self) -> list[Mount]:
        """What the container gets of it. `z`: a label for hosts with SELinux."""
        files = ((self._input, "ro"), (self.output, "rw"), (self.progress, "rw"))
        return [Mount(str(path), f"{_INSIDE}/{path.name}", f"{mode},z") for path, mode in files]

    @staticmethod
    def _write(path: Path, data: bytes, mode: int) -> None:
        path.write_bytes(data)
        path.chmod(mode)


def allowed_mounts(written: Sequence[str]) -> tuple[AllowedMount, ...]:
    """Read `mounts` of a worker's config: paths, read-only with `:ro`; raises ConfigError."""
    allowed = []
    for each in written:
        path = Path(each.removesuffix(_READ_ONLY))
        if not path.is_absolute() or ":" in str(path):
            msg = f"container.mounts: {each!r} is no absolute path; write it like /srv/data"
            raise ConfigError(msg)
        allowed.append(AllowedMount(path, each.endswith(_READ_ONLY)))
    return tuple(allowed)


def checked_mounts(asked: Sequence[str], allowed: Sequence[AllowedMount]) -> list[Mount]:
    """The mounts of a job; raises JobFailed for one that the worker's config does not allow."""
    return [_checked(each, allowed) for each in asked]


def _checked(asked: str, allowed: Sequence[AllowedMount]) -> Mount:
    written, target, *modes = asked.split(":")
    mode = modes[0] if modes else "rw"
    if _INSIDE in {target, *(str(each) for each in Path(target).parents)} or target == "/":
        msg = f"nothing can be mounted at {cut(target)}; choose another path"
        raise JobFailed(msg, final=True)
    try:
        # A link counts as what it points to. Only that is mounted.
        source = os.path.realpath(written, strict=True)
    except OSError as error:
        raise JobFailed(f"{cut(written)} cannot be mounted: {error.strerror}") from error
    fitting = [each for each in allowed if Path(source).is_relative_to(os.path.realpath(each.path))]
    shown = cut(written) if source == written else f"{cut(written)}, which is {cut(source)},"
    if not fitting or ":" in source:
        may = ", ".join(str(each.path) for each in allowed) or "nothing"
        raise JobFailed(
            f"{shown} may not be mounted: this worker's config ([container] mounts) allows {may}"
        )
    nearest = max(fitting, key=lambda each: len(each.path.parts))
    if nearest.read_only and mode != "ro":
        raise JobFailed(f"{shown} may only be mounted read-only: write {cut(asked)}:ro")
    return Mount(source, target, mode)


def create_arguments(
    *,
    image: str,
    command: str | Sequence[str] | None,
    workdir: str | None,
    network: str | None,
    pull: str,
    mounts: Sequence[Mount],
    labels: Mapping[str, str],
    exchange: Exchange,
    more: Sequence[str],
) -> list[str]:
    """The arguments of an engine's `create`. `more`: the operator's own, which win."""
    options = [
        f"--pull={pull}",
        "--log-driver=none",  # The attempt's log is the only one.
        "--security-opt=no-new-privileges",
        f"--env-file={exchange.env_file}",
    ]
    for name in exchange.passed:
        options += ["--env", name]
    for name, value in labels.items():
        options += ["--label", f"{name}={value}"]
    for mount in (*exchange.mounts(), *mounts):
        options += ["--volume", f"{mount.source}:{mount.target}:{mount.mode}"]
    if workdir is not None:
        options.append(f"--workdir={workdir}")
    if network is not None:
        options.append(f"--network={network}")
    if isinstance(command, str):
        # The first command that fails ends it, as with the kind `Shell`.
        return [*options, "--entrypoint=/bin/sh", *more, image, "-e", "-c", command]
    if command is not None:
        return [*options, f"--entrypoint={command[0]}", *more, image, *command[1:]]
    return [*options, *more, image]


def _needs_passing(name: str, value: str) -> bool:
    """Whether a variable fits into no line of a file; raises JobFailed if it cannot be passed."""
    if "\0" in value:
        msg = f"the variable {name} contains a NUL character, which none can"
        raise JobFailed(msg, final=True)
    if not {"\n", "\r"} & {*value} and len(value.encode()) <= _ENV_LINE_BYTES_MAX:
        return False
    if _OF_ENGINES.fullmatch(name):
        raise JobFailed(
            f"the variable {name} has a line break, or over {_ENV_LINE_BYTES_MAX} bytes, and would "
            "change how the engine works: give it another name",
            final=True,
        )
    return True
