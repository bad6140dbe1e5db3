"""Owns the kind `Container`: a container that a worker's engine runs, and of which nothing is left.

Engines need the worker's rights, so their commands are started by the worker, without the isolation
of other kinds: a container is isolation itself. What a job may choose is therefore checked here.
"""

import secrets
from collections.abc import Mapping
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Annotated, ClassVar, Final

import msgspec
import structlog
import trio
from msgspec import Meta

from control.model import limits
from control.model.errors import ConfigError, JobFailed
from control.model.kinds import Job, Kind, Reporter, Result
from control.model.surroundings.base import Code, Surroundings
from control.model.surroundings.image import IMAGE
from control.model.surroundings.shell import ShellCommand
from control.model.worker.settings import ContainerTable, EngineName, Pull, WorkerSettings
from workers.kinds.container_engine import Engine, EngineState, choose_engine
from workers.kinds.container_leftovers import Leftovers
from workers.kinds.container_options import (
    AllowedMount,
    Exchange,
    allowed_mounts,
    checked_mounts,
    create_arguments,
)
from workers.kinds.exchange import read_output
from workers.kinds.processes import describe_exit
from workers.kinds.progress import ProgressPipe
from workers.trouble import starting

_log = structlog.get_logger()
_KILLED: Final = 137  # By SIGKILL.
_REPOSITORY: Final = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
# No name of a transport (`dir:`), by which podman would read files of the host.
_IMAGE: Final = (
    r"^(?!(?:atomic|containers-storage|dir|docker|docker-archive|docker-daemon|oci|oci-archive"
    r"|ostree|sif|tarball):)"
    rf"(?:[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{{1,5}})?/)?{_REPOSITORY}(?:/{_REPOSITORY})*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(?:@sha256:[0-9a-f]{64})?$"
)
_Argument = Annotated[str, Meta(max_length=limits.PIPELINE_BYTES_MAX)]


class ContainerParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which image, what to execute in it, and what of the host it sees."""

    image: Annotated[
        str, Meta(pattern=_IMAGE, max_length=512, examples=["docker.io/library/alpine:3.22"])
    ]
    command: Annotated[
        Annotated[str, Meta(min_length=1)] | Annotated[list[_Argument], Meta(min_length=1)] | None,
        Meta(
            description="A text for the image's /bin/sh with -e, or a program and its arguments. "
            "Default: what the image says.",
            examples=["make pull", ["make", "pull"]],
        ),
    ] = None
    workdir: Annotated[
        Annotated[str, Meta(pattern="^/")] | None,
        Meta(description="Where it runs. Default: what the image says.", examples=["/srv/app"]),
    ] = None
    mounts: Annotated[
        list[Annotated[str, Meta(pattern=r"^/[^:]*:/[^:]*(?::(?:ro|rw))?$")]],
        Meta(
            description="Files and folders of the host, if the worker's config allows them.",
            examples=[["/srv/reports:/reports:ro"]],
        ),
    ] = []
    network: Annotated[
        Annotated[
            str,
            Meta(pattern=r"^(?!(?:host|container|ns|private)$)[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$"),
        ]
        | None,
        Meta(
            description="none, or a network of the engine; not host. Default: the engine's own.",
            examples=["none"],
        ),
    ] = None
    pull: Annotated[
        Pull | None,
        Meta(
            description="When the image is fetched. Default: missing. The worker's config decides "
            "if it says anything.",
            examples=["always"],
        ),
    ] = None
    engine: Annotated[
        EngineName | None,
        Meta(description="Default: whichever the worker has.", examples=["podman"]),
    ] = None

    def __post_init__(self) -> None:
        """Refuse a command without a program: engines would execute something else."""
        if isinstance(self.command, list) and not self.command[0]:
            raise ValueError("command: the first of the list is the program, and must not be empty")


class Container(Kind[ContainerParams]):
    """Runs a container; exit code 0 is success."""

    name: ClassVar[str] = "Container"
    version: ClassVar[str] = "1.0.0"
    summary: ClassVar[str] = "Run a container; its output is the JSON that it writes to $TP_OUTPUT."
    params = ContainerParams
    surroundings: ClassVar[Mapping[str, Surroundings]] = {
        "image": IMAGE,
        "command": ShellCommand(),
        "mounts": Code("what of the host is open", "write the paths, or pass the value in env"),
        "network": Code("what can be reached", "write the network's name"),
        "engine": Code("which program is started", "write podman or docker"),
    }
    wants_directory: ClassVar[bool] = True

    def __init__(self) -> None:
        self._settings = ContainerTable()
        self._mounts: tuple[AllowedMount, ...] = ()
        self._process = secrets.token_hex(8)
        self._numbers = count(1)
        self._leftovers = Leftovers(self._process)

    def configure(self, settings: WorkerSettings) -> None:
        """Take in engine, arguments, and mounts; raises ConfigError."""
        self._settings = settings.container
        self._mounts = allowed_mounts(settings.container.mounts)
        if settings.container.arguments and settings.container.engine is None:
            raise ConfigError("container.arguments: say of which engine, with container.engine")

    async def begin(self, directory: Path) -> None:
        """Remove the containers of a former worker that had this directory."""
        await self._leftovers.begin(directory)

    async def run(self, job: Job, params: ContainerParams, report: Reporter) -> Result:
        """Run the container to its end; SIGTERM and then SIGKILL when cancelled."""
        engine = choose_engine(self._settings, params.engine)
        mounts = checked_mounts(params.mounts, self._mounts)
        name = f"taskplane-{self._process}-{next(self._numbers)}"
        async with AsyncExitStack() as stack:
            with starting("the container"):
                exchange = Exchange(job)
                progress = ProgressPipe(exchange.progress, mode=0o666)
                stack.callback(progress.close)
                await self._leftovers.watch(engine)
            arguments = create_arguments(
                image=params.image,
                command=params.command,
                workdir=params.workdir,
                network=params.network,
                pull=self._settings.pull or params.pull or "missing",
                mounts=mounts,
                labels=_labels(job) | self._leftovers.labels,
                exchange=exchange,
                more=engine.create_arguments,
            )
            stack.push_async_callback(_remove, engine, name, report)
            await engine.create(
                name, arguments, env=exchange.passed, image=params.image, report=report
            )
            async with progress.reported(report):
                state = await engine.execute(name, report)
        _check(state)
        return Result(output=read_output(exchange.output), exit_code=0)

    async def aclose(self) -> None:
        """End what watches for the end of this worker."""
        await self._leftovers.aclose()


async def _remove(engine: Engine, name: str, report: Reporter) -> None:
    """Leave nothing of a container, whether it was created, started, or neither."""
    with trio.CancelScope(shield=True):
        trouble = await engine.remove(name)
        if trouble is not None:
            _log.error("container.stays", engine=engine.name, container=name, reason=trouble)
            await report.log(f"[the container {name} could not be removed: {trouble}]\n")


def _labels(job: Job) -> dict[str, str]:
    ids = {
        "installation": job.installation,
        "run": job.run_id,
        "job": job.job_id,
        "attempt": job.attempt,
    }
    return {f"taskplane.{name}": str(value) for name, value in ids.items()}


def _check(state: EngineState) -> None:
    """Raise JobFailed, in words, unless the container has ended well."""
    if not state.exit_code:
        return
    words, exit_code = describe_exit(state.exit_code)
    if state.oom_killed:
        words += ": its memory ran out"
    elif exit_code == _KILLED:
        words += ": killed by hand, or because memory ran out"
    raise JobFailed(f"the container {words}", exit_code=exit_code)
