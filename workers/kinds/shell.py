"""Owns the kind `Shell`: a command in a process group of its own, of which nothing outlives it."""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Annotated, ClassVar, Literal

import msgspec
import trio
from msgspec import Meta

from control.model import limits, names
from control.model.errors import JobFailed
from control.model.kinds import Job, Kind, Process, Reporter, Result
from control.model.surroundings.base import Surroundings
from control.model.surroundings.shell import ShellCommand
from workers.kinds.exchange import read_output
from workers.kinds.processes import (
    OutputPump,
    describe_exit,
    end_group,
    inherited_environment,
    job_environment,
    launcher_of,
)
from workers.kinds.progress import ProgressPipe
from workers.trouble import starting

_Argument = Annotated[str, Meta(max_length=limits.PIPELINE_BYTES_MAX)]


class ShellParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to run, and where."""

    command: Annotated[
        Annotated[str, Meta(min_length=1)] | Annotated[list[_Argument], Meta(min_length=1)],
        Meta(
            description="A text for a shell with -e, or a program and its arguments for no shell.",
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
    shell: Annotated[
        Literal["sh", "bash"],
        Meta(description="Which shell executes a text.", examples=["bash"]),
    ] = "sh"

    def __post_init__(self) -> None:
        """Refuse a shell that would have nothing to do."""
        if self.shell != "sh" and not isinstance(self.command, str):
            raise ValueError(f"shell: {self.shell} executes a text, but command is a list")


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
        with ExitStack() as stack:
            with starting("the command"):
                (job.directory / "input.json").write_bytes(job.document)
                (job.directory / "work").mkdir()
                progress = ProgressPipe(job.directory / "progress")
                stack.callback(progress.close)
                process, pipe = await _start(job, params)
                stack.callback(os.close, pipe)
            pump = OutputPump(pipe, report)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pump.run)
                try:
                    async with progress.reported(report):
                        await process.wait()
                finally:
                    with trio.CancelScope(shield=True):
                        await end_group(process, pump)
                    pump.stop()
        assert process.returncode is not None
        if process.returncode:
            words, exit_code = describe_exit(process.returncode)
            raise JobFailed(f"the command {words}", exit_code=exit_code)
        return Result(output=read_output(job.directory / "output.json"), exit_code=0)


async def _start(job: Job, params: ShellParams) -> tuple[Process, int]:
    """Start the command; returns it, and the pipe of its output. Raises what launchers raise."""
    command = params.command
    if isinstance(command, str):
        # The first command that fails ends it, so that none of its failures is overlooked.
        program = "/bin/sh" if params.shell == "sh" else params.shell
        command = [program, "-e", "-c", command]
    # As UTF-8, whatever this host's locale is: values arrive byte for byte.
    own = {name: os.fsdecode(value.encode()) for name, value in job.env.items()}
    env = {**inherited_environment(), **own, **job_environment(job)}
    env[names.ENV_INPUT] = str(job.directory / "input.json")
    env[names.ENV_OUTPUT] = str(job.directory / "output.json")
    env[names.ENV_PROGRESS] = str(job.directory / "progress")
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
