"""Owns one attempt's processes, from a process that is their ancestor: none of them outlives it.

The guard is the subreaper (prctl(2)) of what it starts: whatever loses its parent in there becomes
its child, in whichever session it is. It reports how the first process ended, and ends all others
when the worker closes the channel, or has died, which closes it too. Linux only; one thread only.
"""

import ctypes
import fcntl
import json
import os
import select
import signal
import socket
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from control.model import limits
from workers.isolation import landlock, mounts, seccomp

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_CANNOT_START: Final = 127
_SIGNALS_MAX: Final = 64  # Read from the channel at once.
# Python ignores or handles these; a program shall find them as any other does.
_RESTORED: Final = ("SIGPIPE", "SIGXFSZ", "SIGINT", "SIGTERM", "SIGHUP", "SIGCHLD")

_libc: Final = ctypes.PyDLL(None, use_errno=True)


class _Process(NamedTuple):
    """Numbers are used again; together with its start one stands for one process."""

    pid: int
    started: int  # Ticks of the system since its start.


class Rights(NamedTuple):
    """What an attempt's processes give up before their program begins."""

    ruleset: int  # Of Landlock.
    covered: Sequence[str]  # Paths that mounts hide,
    directory: str  # but for this one.
    covers: bool


class SpawnRequest(NamedTuple):
    """A program to start. Descriptors: as they are here, `targets`: as the program finds them."""

    command: Sequence[str]
    cwd: str
    env: dict[str, str]
    output: int
    passed: Sequence[int]
    targets: Sequence[int]
    rights: Rights | None
    adopts: bool


def adopt_orphans() -> None:
    """Let processes below this one that lose their parent become its children."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def guard(order: SpawnRequest, channel: socket.socket) -> None:
    """Start the program, report its number and its end, and end what it has left."""
    if select.select([channel], [], [], 0)[0]:
        return  # The worker does not want it any more: its attempt was stopped meanwhile.
    adopt_orphans()
    wakeups = wakeup_pipe()
    reads, writes = os.pipe()
    guard_pid = os.getpid()
    try:
        leader = os.fork()
    except OSError as error:
        report_failure(channel, error)
        return
    if leader == 0:
        _become(order, writes, guard_pid)
    for descriptor in {writes, order.output, *order.passed}:
        os.close(descriptor)
    with open(reads, "rb") as failures:
        failure = failures.read()
    try:
        with suppress(ConnectionError):  # The worker is gone, perhaps with messages unread.
            channel.sendall(failure or b'{"pid":%d}\n' % leader)
            if not failure:
                _watch(leader, channel, wakeups)
    finally:
        end_descendants(wakeups, set())


def report_failure(channel: socket.socket, error: BaseException) -> None:
    """Say why nothing was started."""
    with suppress(ConnectionError):
        channel.sendall(_described(error))


def end_descendants(wakeups: int, spared: set[int]) -> None:
    """Kill all processes below this one, however they are nested, but not these children.

    `wakeups`: readable when a child has ended. What no signal ends is left alone after a while.
    Children that are buried here are removed from `spared`: their numbers are free for others.
    """
    while _reap(spared):
        stopped: set[_Process] = set()
        while fresh := set(_descendants(spared)) - stopped:
            _signal_all(fresh, signal.SIGSTOP)  # What is stopped starts nothing new meanwhile.
            stopped |= fresh
        _signal_all(stopped, signal.SIGKILL)
        if not stopped or not select.select([wakeups], [], [], limits.SHELL_KILL_S)[0]:
            return
        drain(wakeups)


def wakeup_pipe() -> int:
    """A descriptor that is readable when a signal has come."""
    reads, writes = os.pipe()
    for end in (reads, writes):
        os.set_blocking(end, False)
    signal.signal(
        signal.SIGCHLD, lambda *_: None
    )  # Without a handler the wake-up descriptor stays silent.
    signal.set_wakeup_fd(writes, warn_on_full_buffer=False)
    return reads


def drain(wakeups: int) -> None:
    """Let it be readable again only when another signal comes."""
    with suppress(BlockingIOError):
        os.read(wakeups, 4096)


def _reap(spared: set[int]) -> bool:
    """Bury dead children. False: there are no others."""
    with suppress(ChildProcessError):
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            spared.discard(pid)
        return True
    return False


def _watch(leader: int, channel: socket.socket, wakeups: int) -> None:
    """Report the leader's end; returns when the worker needs its processes no more.

    What the worker sends are numbers of signals, for the leader's group while the leader lives.
    """
    lives = True
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    poll.register(wakeups, select.POLLIN)
    while True:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == leader:
                    lives = False
                    code = os.waitstatus_to_exitcode(ended[1])
                    channel.sendall(b'{"returncode":%d}\n' % code)
        ready = {descriptor for descriptor, _ in poll.poll()}
        if channel.fileno() in ready:
            signals = channel.recv(_SIGNALS_MAX)
            if not signals:
                return
            for number in signals if lives else b"":
                # Gone, or of another user's rights.
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(leader, number)
        drain(wakeups)


def _become(order: SpawnRequest, writes: int, guard_pid: int) -> NoReturn:
    """Turn this process into the program, or say why that cannot be."""
    of_job = False
    try:
        os.setsid()
        if order.rights is not None:
            _give_up(order.rights)
        if order.adopts:
            adopt_orphans()
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != guard_pid:
            os._exit(_CANNOT_START)
        above = max(order.targets, default=2) + 1
        output, writes, *passed = (
            fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, max(above, 3))
            for each in (order.output, writes, *order.passed)
        )
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        for source, target in zip(passed, order.targets, strict=True):
            os.dup2(source, target)
        signal.set_wakeup_fd(-1)
        for name in _RESTORED:
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        of_job = True  # From here on it depends on paths that the job names.
        os.chdir(order.cwd)
        _execute(order)
    except BaseException as error:  # noqa: BLE001 - It is reported to the worker.
        os.write(writes, _described(error, of_job=of_job))
    os._exit(_CANNOT_START)


def _give_up(rights: Rights) -> None:
    if rights.covers:
        mounts.leave_shared_mounts()
        mounts.cover(rights.covered, Path(rights.directory))
    landlock.restrict_process(rights.ruleset)
    seccomp.restrict_thread()


def _execute(order: SpawnRequest) -> None:
    try:
        os.execvpe(order.command[0], list(order.command), order.env)
    except OSError as error:
        # Not the last of the places where it was looked for.
        raise OSError(error.errno, error.strerror, order.command[0]) from error


def _described(error: BaseException, *, of_job: bool = False) -> bytes:
    number = error.errno if isinstance(error, OSError) else None
    words = error.strerror if isinstance(error, OSError) else str(error)
    path = error.filename if isinstance(error, OSError) else None
    report = {"errno": number, "error": words, "path": path, "of_job": of_job}
    return json.dumps(report).encode() + b"\n"


def _descendants(spared: Collection[int]) -> Iterator[_Process]:
    """All processes below this one, but not these children and what is below them."""
    children: dict[int, list[_Process]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (stat := _stat(int(name))) is not None:
            parent, process = stat
            children.setdefault(parent, []).append(process)
    below = [process for process in children.get(os.getpid(), ()) if process.pid not in spared]
    while below:
        process = below.pop()
        yield process
        below += children.get(process.pid, ())


def _stat(pid: int) -> tuple[int, _Process] | None:
    """A process and its parent's number; None: there is none of this number."""
    with suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
        return int(fields[1]), _Process(pid, int(fields[19]))
    return None


def _signal_all(processes: Collection[_Process], number: signal.Signals) -> None:
    for process in processes:
        # Gone, or of another user's rights.
        with suppress(ProcessLookupError, PermissionError):
            _signal(process, number)


def _signal(process: _Process, number: signal.Signals) -> None:
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    except OSError:  # A kernel before 5.3, or a container that forbids it.
        os.kill(process.pid, number)
        return
    try:
        # Its parent may have buried it meanwhile, and the number be another's.
        stat = _stat(process.pid)
        if stat is not None and stat[1] == process:
            signal.pidfd_send_signal(descriptor, number)
    finally:
        os.close(descriptor)
