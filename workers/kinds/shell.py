"""Owns the kind `Shell`: a command in a process group of its own, of which nothing outlives it."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec
import trio
from msgspec import Meta, Raw

from control.model import limits, names
from control.model.errors import JobFailed
from control.model.kinds import Job, Kind, Process, Reporter, Result
from control.model.surroundings.base import Surroundings
from control.model.surroundings.shell import ShellCommand
from workers.kinds.processes import (
    OutputPump,
    describe_exit,
    end_group,
    inherited_environment,
    job_environment,
    launcher_of,
)
from workers.trouble import starting

_Argument = Annotated[str, Meta(max_length=limits.PIPELINE_BYTES_MAX)]


class ShellParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to run, and where."""

    command: Annotated[
        Annotated[str, Meta(min_length=1)] | Annotated[list[_Argument], Meta(min_length=1)],
        Meta(
            description="A text for /bin/sh -c, or a program and its arguments for no shell.",
            examples=["make pull", ["make", "pull"]],
        ),
    ]
    cwd: Annotated[
        str | None,
        Meta(
            description="The directory to run in. Default: an empty one, removed afterwards.",
            examples=["/srv/reports"],
        ),
    ] = None


class Shell(Kind[ShellParams]):
    """Runs a command; exit code 0 is success."""

    name: ClassVar[str] = "Shell"
    version: ClassVar[str] = "1.0.0"
    summary: ClassVar[str] = "Run a command; its output is the JSON that it writes to $TP_OUTPUT."
    params = ShellParams
    surroundings: ClassVar[Mapping[str, Surroundings]] = {"command": ShellCommand()}
    wants_directory: ClassVar[bool] = True

    async def run(self, job: Job, params: ShellParams, report: Reporter) -> Result:
        """Run the command to its end; SIGTERM and then SIGKILL when cancelled."""
        output = job.directory / "output.json"
        with starting("the command"):
            (job.directory / "input.json").write_bytes(job.document)
            (job.directory / "work").mkdir()
            process, pipe = await _start(job, params, output)
        try:
            pump = OutputPump(pipe, report)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pump.run)
                try:
                    await process.wait()
                finally:
                    with trio.CancelScope(shield=True):
                        await end_group(process, pump)
                    pump.stop()
        finally:
            os.close(pipe)
        assert process.returncode is not None
        if process.returncode:
            words, exit_code = describe_exit(process.returncode)
            raise JobFailed(f"the command {words}", exit_code=exit_code)
        return Result(output=_read_output(output), exit_code=0)


async def _start(job: Job, params: ShellParams, output: Path) -> tuple[Process, int]:
    """Start the command; returns it, and the pipe of its output. Raises what launchers raise."""
    given = params.command
    command = ["/bin/sh", "-c", given] if isinstance(given, str) else given
    # As UTF-8, whatever this host's locale is: values arrive byte for byte.
    own = {name: os.fsdecode(value.encode()) for name, value in job.env.items()}
    env = {**inherited_environment(), **own, **job_environment(job)}
    env[names.ENV_INPUT] = str(job.directory / "input.json")
    env[names.ENV_OUTPUT] = str(output)
    pipe, child_end = os.pipe()
    try:
        process = await launcher_of(job).start(
            command,
            directory=job.directory,
            cwd=params.cwd or job.directory / "work",
            env=env,
            output=child_end,
        )
    except BaseException:
        os.close(pipe)
        raise
    finally:
        os.close(child_end)
    return process, pipe


def _read_output(path: Path) -> Raw:
    """Read what the command wrote to $TP_OUTPUT; raises JobFailed if that is not JSON."""
    name = f"${names.ENV_OUTPUT}"
    try:
        # Were it a named pipe by now, reading it would stop the worker; were it a link, the worker
        # would read for the job what the job itself may not.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(path, flags)
    except FileNotFoundError:
        return Raw(b"null")
    except OSError as error:
        raise JobFailed(f"{name} cannot be read: {error.strerror}", exit_code=0) from error
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise JobFailed(f"{name} is not a file any more", exit_code=0)
    with open(file, "rb") as reader:
        data = reader.read(limits.OUTPUT_BYTES_MAX + 1).strip()
    if len(data) > limits.OUTPUT_BYTES_MAX:
        msg = f"{name} has more than {limits.OUTPUT_BYTES_MAX} bytes"
        raise JobFailed(msg, exit_code=0)
    if not data:
        return Raw(b"null")
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        msg = f"what the command wrote to {name} is not JSON: {error}"
        raise JobFailed(msg, exit_code=0) from error
    return Raw(data)
