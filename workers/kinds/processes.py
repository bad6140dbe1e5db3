"""Owns how user code runs beside the worker: its environment, its output, and its certain end."""

import codecs
import contextlib
import os
import signal
from fnmatch import fnmatchcase
from typing import Final

import trio

from control.model import limits, names
from control.model.kinds import Job, Launcher, Process, Reporter
from control.model.this import variables
from workers.isolation.launcher import OpenLauncher

# What user code inherits; in particular not the worker's own credentials.
_INHERITED: Final = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR"}
)
_READ_BYTES: Final = 64 * limits.KIB
_LAST_READS_MAX: Final = 16  # As much as a pipe holds; who writes later is not ours.
_GROUP_POLL_S: Final = 0.05
_SIGNAL_BASE: Final = 128  # A shell's exit code after a signal is this and its number.


def inherited_environment() -> dict[str, str]:
    """The part of the worker's environment that user code gets.

    The operator adds to it with `TP_PASS_ENV`: names or patterns, separated by commas. The
    worker's own variables never pass.
    """
    asked = [part.strip() for part in os.environ.get(names.ENV_PASS, "").split(",")]
    patterns = [*_INHERITED, "LC_*", *filter(None, asked)]
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("TP_") and any(fnmatchcase(name, each) for each in patterns)
    }


def job_environment(job: Job) -> dict[str, str]:
    """The variables that name the attempt and its run to user code."""
    return variables(job.this)


def launcher_of(job: Job) -> Launcher:
    """What starts the processes of this job."""
    return job.launcher or OpenLauncher()


class OutputPump:
    """Carries what arrives in a pipe into an attempt's log."""

    def __init__(self, pipe: int, report: Reporter) -> None:
        os.set_blocking(pipe, False)
        self._pipe = pipe
        self._report = report
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stopping = False
        self.ended = False  # No process has the pipe's other end open any more.
        self._waiting = trio.CancelScope()

    async def run(self) -> None:
        """Carry until the pipe ends or `stop` is called, and then what is in the pipe already.

        Cancellation does not end it, so that the last words of a stopped job are not lost.
        """
        with trio.CancelScope(shield=True):
            reads_left = _LAST_READS_MAX
            while reads_left:
                data = self._read()
                if data is None and not self._stopping:
                    with trio.CancelScope() as self._waiting:
                        await trio.lowlevel.wait_readable(self._pipe)
                    continue
                reads_left -= self._stopping
                await self._log(data or b"", final=not data)
                if not data:
                    self.ended = data is not None
                    return

    def stop(self) -> None:
        """Let `run` end when it has carried what is there."""
        self._stopping = True
        self._waiting.cancel()

    def _read(self) -> bytes | None:
        """Return what is there, nothing at the pipe's end, None when one would have to wait."""
        try:
            return os.read(self._pipe, _READ_BYTES)
        except BlockingIOError:
            return None

    async def _log(self, data: bytes, *, final: bool) -> None:
        text = self._decoder.decode(data, final)
        if text:
            await self._report.log(text)


async def end_group(process: Process, pump: OutputPump) -> None:
    """Leave nothing of a process and what it started: ask if it still runs, then kill.

    Children that were asked have time to end until the output is closed: a dead child that no
    process has buried yet still counts as a member of its group.
    """
    if process.returncode is None:
        process.signal(signal.SIGTERM)
        with trio.move_on_after(limits.SHELL_KILL_S):
            await process.wait()
            while _group_lives(process.pid) and not pump.ended:  # noqa: ASYNC110 - There is no signal for the end of a group.
                await trio.sleep(_GROUP_POLL_S)
    await process.settle()


def describe_exit(returncode: int) -> tuple[str, int]:
    """Say how a process ended, and the exit code a shell would give it."""
    if returncode < 0:
        return f"was killed by {_signal_name(-returncode)}", _SIGNAL_BASE - returncode
    number = returncode - _SIGNAL_BASE
    if number in {*signal.Signals}:
        return f"ended with exit code {returncode} (as after {_signal_name(number)})", returncode
    return f"ended with exit code {returncode}", returncode


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return f"signal {number} ({signal.Signals(number).name})"
    return f"signal {number}"


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
