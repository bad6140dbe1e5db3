"""Decides how a job's process is kept apart from the worker, its secrets, and other jobs.

Rights are given up by the thread that starts the process: a fresh one each time, because a thread
never gets them back. So neither code between fork and exec nor a second program is needed.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import trio

from control.model.errors import ConfigError
from control.model.isolation import ALWAYS_OPEN, Isolation, IsolationMode
from control.model.kinds import Process
from workers.isolation import landlock, mounts, seccomp
from workers.isolation.child import ChildProcess
from workers.isolation.hidden import HiddenPaths, OpenEntries, directories_above

T = TypeVar("T")
_TEMPORARY: Final = "TMPDIR"
_AS_ROOT: Final = (
    "jobs run as root, whom this contains only in part: give `tpctl up --worker-user NAME`, or "
    "start tpworker as another user"
)
_HOME_CLOSED: Final = (
    "jobs can neither list {home} nor make anything new directly in it (~/.gitconfig, ~/.npm), "
    "because what is hidden from them is below: give --data-dir and --state-dir another place, or "
    "switch isolation off"
)
_FILES: Final = "files of the control plane, of the worker, and of other jobs"
_PROCESSES: Final = "memory, environment, and open files of other processes"
_LIMITS: Final = "limits and priorities of other processes"
_SCOPED: Final = "signals to other processes, and their abstract sockets"


class OpenLauncher:
    """Starts the processes of jobs without anything between them and the worker's user."""

    def closed_directories(self) -> list[str]:
        """The directories that jobs can neither list nor make something in: none."""
        return []

    async def start(
        self,
        command: Sequence[str],
        *,
        directory: Path,  # noqa: ARG002 - The interface of all launchers.
        cwd: Path | str,
        env: Mapping[str, str],
        output: int,
        pass_fds: Collection[int] = (),
    ) -> Process:
        """Start a process; raises OSError or ValueError."""
        return await trio.lowlevel.open_process(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=tuple(pass_fds),
            cwd=cwd,
            env=env,
            start_new_session=True,
        )


class IsolatingLauncher:
    """Starts each process in a Landlock domain of its own. `covers`: whether mounts are at hand."""

    def __init__(self, hidden: HiddenPaths, *, abi: int, covers: bool) -> None:
        self._hidden = hidden
        self._abi = abi
        self._covers = covers
        self._entries = OpenEntries()

    def closed_directories(self) -> list[str]:
        """The directories that jobs can neither list nor make something in."""
        return [] if self._covers else sorted(directories_above(self._hidden.current()))

    async def start(
        self,
        command: Sequence[str],
        *,
        directory: Path,
        cwd: Path | str,
        env: Mapping[str, str],
        output: int,
        pass_fds: Collection[int] = (),
    ) -> Process:
        """Start a process to which only `directory` is open of what is hidden.

        Raises OSError or ValueError.
        """
        work = partial(
            self._start,
            command,
            directory=directory,
            cwd=cwd,
            env=dict(env),
            output=output,
            pass_fds=pass_fds,
        )
        return ChildProcess(await trio.to_thread.run_sync(_in_fresh_thread, work))

    def _start(
        self,
        command: Sequence[str],
        *,
        directory: Path,
        cwd: Path | str,
        env: dict[str, str],
        output: int,
        pass_fds: Collection[int],
    ) -> subprocess.Popen[bytes]:
        hidden = self._hidden.current()
        if self._covers:
            mounts.leave_shared_mounts()
            mounts.cover(hidden, directory)
            hidden = []
        else:
            _provide_temporary(env, directory, directories_above(hidden))
        landlock.restrict_thread(self._abi, self._allowed(hidden, directory))
        seccomp.restrict_thread()
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=tuple(pass_fds),
            cwd=cwd,
            env=env,
            start_new_session=True,
        )

    def _allowed(self, hidden: Sequence[str], directory: Path) -> Iterator[tuple[int, bool]]:
        whole = directory if hidden else "/"
        descriptor = os.open(whole, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield descriptor, True
        finally:
            os.close(descriptor)
        yield from self._entries.open(hidden)


Launcher = OpenLauncher | IsolatingLauncher


def choose_launcher(mode: IsolationMode, hidden: HiddenPaths) -> tuple[Launcher, Isolation]:
    """The launcher for what is asked and what this kernel has, and what that means, in words.

    Raises ConfigError where more is asked for than there is.
    """
    missing = lacking()
    if mode is IsolationMode.REQUIRED and missing:
        msg = f"isolation is required, but {'; '.join(missing)}"
        raise ConfigError(msg)
    abi = landlock.abi()
    if mode is IsolationMode.NONE or abi < landlock.ABI_MIN:
        off = ("isolation is switched off",) if mode is IsolationMode.NONE else tuple(missing)
        if os.geteuid() == 0:
            off += (_AS_ROOT,)
        return OpenLauncher(), Isolation(
            open=(_FILES, _PROCESSES, _SCOPED, _LIMITS, *ALWAYS_OPEN), warnings=off
        )
    covers = can_cover()
    scoped = abi >= landlock.ABI_SCOPES
    held = ((_SCOPED, scoped), (_LIMITS, seccomp.is_available()))
    warnings = list(missing)
    if os.geteuid() == 0:
        warnings.append(_AS_ROOT)
    launcher = IsolatingLauncher(hidden, abi=abi, covers=covers)
    home = os.path.expanduser("~")
    if home in launcher.closed_directories():
        warnings.append(_HOME_CLOSED.format(home=home))
    return launcher, Isolation(
        isolated=(_FILES, _PROCESSES, *(words for words, holds in held if holds)),
        open=(*(words for words, holds in held if not holds), *ALWAYS_OPEN),
        warnings=tuple(warnings),
    )


def lacking() -> list[str]:
    """What this kernel does not have, in words."""
    if sys.platform != "linux":
        return ["jobs are isolated on Linux only"]
    abi = landlock.abi()
    if abi < landlock.ABI_MIN:
        return ["this kernel has no Landlock that can be used (Linux 5.19 or newer, switched on)"]
    if abi < landlock.ABI_SCOPES:
        return ["this kernel does not keep jobs from sending signals (Linux 6.12 does)"]
    return []


def can_cover() -> bool:
    """Whether hidden paths can be covered: as root, where nothing forbids it."""
    if os.geteuid() != 0:
        return False
    try:
        _in_fresh_thread(mounts.leave_shared_mounts)
    except OSError:
        return False
    return True


def _provide_temporary(env: dict[str, str], directory: Path, closed: set[str]) -> None:
    """Give the job a directory for temporary files where the usual one is closed to it."""
    if os.path.realpath(env.get(_TEMPORARY) or "/tmp") in closed:
        own = directory / "tmp"
        own.mkdir(mode=0o700, exist_ok=True)
        env[_TEMPORARY] = str(own)


def _in_fresh_thread(work: Callable[[], T]) -> T:
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - It is raised where the work was asked for.
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
