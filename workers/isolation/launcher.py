"""Decides how a job's process is isolated from the worker, its secrets, and other jobs.

On Linux a small process starts them (`spawner.py`), each under a guard that outlives what it guards
(`guard.py`). It drops rights between fork and exec there.
"""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from array import array
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import trio

from control.model import limits
from control.model.errors import ConfigError
from control.model.kinds import Process
from control.model.names import ENV_MARK
from control.model.worker.isolation import ALWAYS_OPEN, Isolation, IsolationMode
from workers.isolation import landlock, mounts, seccomp, spawner
from workers.isolation.child import GuardedProcess
from workers.isolation.hidden import HiddenPaths, directories_above
from workers.isolation.spawner import HEADER, READ

T = TypeVar("T")
# What the process that starts processes needs of the worker's environment.
_FOR_PYTHON: Final = (
    *("PATH", "PYTHONPATH", "PYTHONHOME", "PYTHONUTF8", "LD_LIBRARY_PATH"),
    *("LANG", "LC_ALL", "LC_CTYPE", "TZ"),
)
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


class _OpenProcess:
    """A process without a guard: what leaves its group is not ended with it."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    def poll(self) -> int | None:
        return self._process.poll()

    async def wait(self) -> int:
        return await self._process.wait()

    def signal(self, number: int) -> None:
        if self._process.poll() is not None:
            return
        # Gone, or (for a child with another user's rights) not ours to signal.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    async def settle(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        await self.wait()


class OpenLauncher:
    """Starts the processes of jobs with nothing between them and the worker's user."""

    def closed_directories(self) -> list[str]:
        """The directories that jobs can neither list nor make something in: none."""
        return []

    def close(self) -> None:
        """Nothing is left to close."""

    async def start(
        self,
        command: Sequence[str],
        *,
        directory: Path,  # noqa: ARG002 - The interface of all launchers.
        cwd: Path | str,
        env: Mapping[str, str],
        output: int,
        pass_fds: Collection[int] = (),
        adopts: bool = False,  # noqa: ARG002 - As above.
    ) -> Process:
        """Start a process; raises OSError or ValueError."""
        process = await trio.lowlevel.open_process(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=tuple(pass_fds),
            cwd=cwd,
            env=env,
            start_new_session=True,
        )
        return _OpenProcess(process)


class GuardedLauncher:
    """Starts each process under a guard, so that nothing of it outlives its attempt or worker.

    The process that starts the guards is started here, and again if it was killed.
    """

    def __init__(self, settings: Mapping[str, object] | None = None, *, mark: str = "") -> None:
        """`settings`: of the spawner; None: nothing is hidden, no right dropped.

        `mark`: by which processes are known as this worker's in their environment.
        """
        self._mark = {ENV_MARK: mark} if mark else {}
        self._settings = json.dumps(settings or {"hidden": [], "abi": 0, "covers": False})
        self._lock = trio.Lock()  # One order after the other.
        self._begin()

    def closed_directories(self) -> list[str]:
        """The directories that jobs can neither list nor make something in: none."""
        return []

    def close(self) -> None:
        """End all that was started from here; returns when it is gone, or will not go."""
        self._orders.close()
        try:
            self._spawner.wait(limits.GRACE_S)
        except subprocess.TimeoutExpired:
            self._spawner.kill()
            self._spawner.wait()

    async def start(
        self,
        command: Sequence[str],
        *,
        directory: Path,
        cwd: Path | str,
        env: Mapping[str, str],
        output: int,
        pass_fds: Collection[int] = (),
        adopts: bool = False,
    ) -> Process:
        """Start a process to which only `directory` is open of what is hidden.

        Raises OSError or ValueError.
        """
        order = {
            "command": [os.fspath(each) for each in command],
            "directory": str(directory),
            # Ours may be gone: it is asked for only where it matters.
            "cwd": os.fspath(cwd if os.path.isabs(cwd) else Path.cwd() / cwd),
            "env": {**env, **self._mark},
            "targets": list(pass_fds),
            "adopts": adopts,
        }
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                await self._send(order, [theirs.fileno(), output, *pass_fds])
            except BaseException:
                ours.close()
                raise
        process = GuardedProcess(ours)
        await process.begin()
        return process

    async def _send(self, order: Mapping[str, object], descriptors: Sequence[int]) -> None:
        data = json.dumps(order).encode()
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))
        async with self._lock:
            # Half an order would spoil the next one.
            with trio.move_on_after(limits.SPAWNER_READS_S, shield=True) as scope:
                if self._spawner.poll() is not None:
                    self._orders.close()
                    self._begin()
                orders = trio.socket.from_stdlib_socket(self._orders)
                await orders.sendmsg([HEADER.pack(len(data))], [rights])
                while data:
                    data = data[await orders.send(data) :]
                await orders.recv(len(READ))
            if scope.cancelled_caught:
                self._spawner.kill()  # It was stopped, say. The next order starts another.
                self._spawner.wait()
                words = f"what starts processes took no order for {limits.SPAWNER_READS_S:g} s"
                raise OSError(errno.ECONNRESET, words)

    def _begin(self) -> None:
        self._orders, theirs = socket.socketpair()
        with theirs:
            number = theirs.fileno()
            self._spawner = subprocess.Popen(
                [sys.executable, "-P", "-m", spawner.__name__, str(number), self._settings],
                pass_fds=(number,),
                stdin=subprocess.DEVNULL,
                # Jobs of the same user might read what it has.
                env={name: os.environ[name] for name in _FOR_PYTHON if name in os.environ},
                start_new_session=True,
            )


class IsolatingLauncher(GuardedLauncher):
    """Starts each process in a Landlock domain of its own. `covers`: whether mounts are at hand."""

    def __init__(self, hidden: HiddenPaths, *, abi: int, covers: bool, mark: str = "") -> None:
        super().__init__({"hidden": hidden.names(), "abi": abi, "covers": covers}, mark=mark)
        self._hidden = hidden
        self._covers = covers

    def closed_directories(self) -> list[str]:
        """The directories that jobs can neither list nor make something in."""
        return [] if self._covers else sorted(directories_above(self._hidden.current()))


Launcher = OpenLauncher | GuardedLauncher


def choose_launcher(
    mode: IsolationMode, hidden: HiddenPaths, mark: str = ""
) -> tuple[Launcher, Isolation]:
    """The launcher for what is asked and what this kernel has, and what that means, in words.

    `mark`: see `GuardedLauncher`.
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
        launcher = GuardedLauncher(mark=mark) if sys.platform == "linux" else OpenLauncher()
        return launcher, Isolation(
            open=(_FILES, _PROCESSES, _SCOPED, _LIMITS, *ALWAYS_OPEN), warnings=off
        )
    covers = can_cover()
    scoped = abi >= landlock.ABI_SCOPES
    held = ((_SCOPED, scoped), (_LIMITS, seccomp.is_available()))
    warnings = list(missing)
    if os.geteuid() == 0:
        warnings.append(_AS_ROOT)
    launcher = IsolatingLauncher(hidden, abi=abi, covers=covers, mark=mark)
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
