"""Owns the kind `Python`: calls a function in a child interpreter, which the next call uses, too.

A child in which a call has left a thread, a process, or another environment is ended.

A crash, `exit()`, or a stop costs that child and nothing else. Children are shared only by jobs of
one client with the same interpreter, path, and environment; module globals live as long as their
child. Each child has a directory, and the jobs that it runs have theirs in it.
"""

import os
import signal
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, TypeAlias

import msgspec
import trio
from msgspec import Meta, Raw

from control.model import limits, names
from control.model.errors import JobFailed
from control.model.kinds import Job, Kind, Process, Reporter, Result
from control.model.surroundings.base import Code, Surroundings
from workers.directories import remove_directory
from workers.kinds.processes import (
    OutputPump,
    describe_exit,
    inherited_environment,
    job_environment,
    launcher_of,
)
from workers.kinds.progress import ProgressPipe
from workers.trouble import starting

_CHILD: Final = find_spec("workers.kinds.python_child")
_ERROR_BYTES_MAX: Final = 64 * limits.KIB  # What a reply may have besides an output.
# Client, interpreter, path, environment.
Key: TypeAlias = tuple[str | None, str, tuple[str, ...], tuple[tuple[str, str], ...]]


class PythonParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which function to call, with what, and in which interpreter."""

    call: Annotated[
        str,
        Meta(
            pattern=r"^[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*$",
            description="module:function.",
            examples=["reports.daily:build"],
        ),
    ]
    args: Annotated[list[Any], Meta(description="Positional.", examples=[[1, "two"]])] = []
    kwargs: Annotated[dict[str, Any], Meta(description="Named.", examples=[{"day": 1}])] = {}
    python: Annotated[
        str | None,
        Meta(
            description="The interpreter, 3.8 or newer. Default: the worker's.",
            examples=["/srv/reports/.venv/bin/python"],
        ),
    ] = None
    path: Annotated[
        str | list[str],
        Meta(description="Folders to import from, before all others.", examples=["/srv/reports"]),
    ] = []


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    call: str
    args: list[Any]
    kwargs: dict[str, Any]
    env: dict[str, str]
    directory: str
    output_bytes_max: int


class _Reply(msgspec.Struct, frozen=True, kw_only=True):
    output: Raw = Raw(b"")  # Empty: there is none.
    error: str | None = None
    stale: bool = False  # A module has changed since the child loaded it: ask another child.
    leaves: bool = False  # Something of the call stays: the child must not be used again.


_reply = msgspec.json.Decoder(_Reply)


class _Child:
    """One child interpreter, its directory, where `progress` is, and our ends of its pipes."""

    def __init__(
        self,
        process: Process,
        progress: ProgressPipe,
        requests: int,
        replies: int,
        output: int,
    ) -> None:
        self.process = process
        self.directory = progress.path.parent
        self._progress = progress
        self.output = output
        self._too_long = False  # The reply has more bytes than any may have.
        self._requests = trio.lowlevel.FdStream(requests)
        self._replies = trio.lowlevel.FdStream(replies)

    async def call(self, request: _Request, report: Reporter) -> _Reply:
        """Make one call; raises JobFailed if the child does not live to see its end."""
        reply: bytes | None = None
        bytes_max = request.output_bytes_max + _ERROR_BYTES_MAX
        pump = OutputPump(self.output, report)
        self._progress.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pump.run)
            try:
                async with self._progress.reported(report), trio.open_nursery() as race:
                    # What the child forked may keep the pipes open, so both are watched.
                    race.start_soon(self._watch, race.cancel_scope)
                    reply = await self._exchange(msgspec.json.encode(request) + b"\n", bytes_max)
                    race.cancel_scope.cancel()
            finally:
                if reply is None:
                    self.process.signal(signal.SIGKILL)
                pump.stop()
        if reply is None:
            with trio.CancelScope(shield=True):
                words, exit_code = describe_exit(await self.process.wait())
            msg = f"the interpreter {words} before the function returned"
            if self._too_long:
                msg = f"what the function returned or raised has over {bytes_max} bytes"
            raise JobFailed(msg, exit_code=exit_code)
        return _reply.decode(reply)

    async def aclose(self) -> None:
        """Kill it and everything it started."""
        with trio.CancelScope(shield=True):
            await self.process.settle()
            await self._requests.aclose()
            await self._replies.aclose()
        os.close(self.output)
        self._progress.close()
        await remove_directory(self.directory)

    async def _watch(self, scope: trio.CancelScope) -> None:
        await self.process.wait()
        scope.cancel()

    async def _exchange(self, line: bytes, bytes_max: int) -> bytes | None:
        """Send a request and return its reply; None if the child closed a pipe."""
        try:
            await self._requests.send_all(line)
            reply = bytearray()
            while not reply.endswith(b"\n"):
                data = await self._replies.receive_some()
                self._too_long = len(reply) > bytes_max
                if self._too_long:
                    self.process.signal(signal.SIGKILL)
                if self._too_long or not data:
                    await self.process.wait()
                    return None
                reply += data
        except trio.BrokenResourceError:
            await self.process.wait()
            return None
        return bytes(reply)


class Python(Kind[PythonParams]):
    """Calls functions in child interpreters."""

    name: ClassVar[str] = "Python"
    version: ClassVar[str] = "1.0.0"
    summary: ClassVar[str] = "Call a Python function; the output is what it returns."
    params = PythonParams
    surroundings: ClassVar[Mapping[str, Surroundings]] = {
        "call": Code("which function is called", "pass the value in args or kwargs"),
        "python": Code("which interpreter is started", "write the interpreter's path"),
        "path": Code("which modules are imported", "write the path, or use one job for each"),
    }

    def __init__(self, output_bytes_max: int = limits.OUTPUT_BYTES_MAX) -> None:
        self._output_bytes_max = output_bytes_max
        self._idle: OrderedDict[_Child, Key] = OrderedDict()  # Longest idle first.

    async def run(self, job: Job, params: PythonParams, report: Reporter) -> Result:
        """Call the function; the child is killed when cancelled."""
        path = (params.path,) if isinstance(params.path, str) else tuple(params.path)
        python = params.python or sys.executable
        key = (job.client, python, path, tuple(sorted(job.env.items())))
        child = self._take_idle(key) or await _start_child(key, job)
        reply = await self._call(child, key, job, params, report)
        if reply.stale:
            reply = await self._call(await _start_child(key, job), key, job, params, report)
        if not bytes(reply.output):
            raise JobFailed(reply.error)
        return Result(output=reply.output)

    async def aclose(self) -> None:
        """Kill the idle children."""
        while self._idle:
            child, _ = self._idle.popitem()
            await child.aclose()

    async def _call(
        self, child: _Child, key: Key, job: Job, params: PythonParams, report: Reporter
    ) -> _Reply:
        reply = None
        directory = child.directory / f"{job.job_id}-{job.attempt}"
        try:
            with starting("the call"):
                directory.mkdir(mode=0o700)
            request = _Request(
                call=params.call,
                args=params.args,
                kwargs=params.kwargs,
                env=job_environment(job),
                directory=str(directory),
                output_bytes_max=self._output_bytes_max,
            )
            reply = await child.call(request, report)
        finally:
            if reply is None or reply.stale or reply.leaves:
                await child.aclose()
            else:
                await remove_directory(directory)
        if not (reply.stale or reply.leaves):
            self._idle[child] = key
            if len(self._idle) > limits.PYTHON_IDLE_MAX:
                oldest, _ = self._idle.popitem(last=False)
                await oldest.aclose()
        return reply

    def _take_idle(self, key: Key) -> _Child | None:
        for child in reversed(self._idle):
            if self._idle[child] == key and child.process.poll() is None:
                del self._idle[child]
                return child
        return None


async def _start_child(key: Key, job: Job) -> _Child:
    """Start a child interpreter; raises JobFailed if there is none, or WorkerTrouble."""
    with starting(f"the interpreter {key[1]}"):
        return await _start(key, job)


async def _start(key: Key, job: Job) -> _Child:
    _, python, path, env = key
    assert _CHILD is not None
    assert _CHILD.origin is not None
    directory = Path(tempfile.mkdtemp(prefix="python-", dir=job.directory))
    ours: list[int] = []
    theirs: list[int] = []
    progress = None
    try:
        progress = ProgressPipe(directory / "progress")
        for reads in (False, True, True):
            read_end, write_end = os.pipe()
            ours.append(read_end if reads else write_end)
            theirs.append(write_end if reads else read_end)
        requests, replies, output = theirs
        process = await launcher_of(job).start(
            [python, "-u", _CHILD.origin, str(requests), str(replies), *path],
            directory=directory,
            cwd=directory,
            env={**inherited_environment(), **dict(env), names.ENV_PROGRESS: str(progress.path)},
            output=output,
            pass_fds=(requests, replies),
            adopts=True,
        )
    except BaseException:
        for pipe in ours:
            os.close(pipe)
        if progress is not None:
            progress.close()
        await remove_directory(directory)
        raise
    finally:
        for pipe in theirs:
            os.close(pipe)
    return _Child(process, progress, *ours)
