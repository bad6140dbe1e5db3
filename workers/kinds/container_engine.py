"""Owns how a container engine, podman or docker, is called, and what its errors mean."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Final

import msgspec
import trio

from control.model import limits
from control.model.display_text import clean
from control.model.errors import JobFailed
from control.model.kinds import Reporter
from control.model.worker.settings import ContainerTable
from workers.kinds.processes import OutputPump
from workers.trouble import starting

_CREATE: Final = "create"  # In the operator's arguments: what follows it is for this command.
_TAIL_CHARS: Final = 4_000
_LINE_CHARS: Final = 500
_NOT_STARTED: Final = frozenset({"created", "configured", "initialized"})
_NO_CONTAINER: Final = re.compile(r"no such container|no container with", re.IGNORECASE)
_NOISE: Final = re.compile(
    r"^(?:Error: |docker: |Error response from daemon: |(?:WARN|ERRO|INFO)\[\d+\] ?)+"
)
_HINTS: Final = re.compile(r"^(?:See '|Run '|Usage:|For more help|\s*$)")
# What engines say, and what it means; `{image}`, `{engine}`.
_MEANINGS: Final = (
    (
        r"permission denied.*(?:sock|daemon)|(?:sock|daemon).*permission denied",
        "the worker's user may not use {engine}; an operator has to let it",
    ),
    (
        r"cannot connect to (?:the docker daemon|podman)|daemon running",
        "{engine} does not answer; an operator has to start it",
    ),
    (
        r"image not known|no such image",
        "this worker does not have the image {image}, and may not fetch it (`pull: never`)",
    ),
    (
        r"unauthori[sz]ed|authentication required|denied: |access denied",
        "the registry does not let this worker have the image {image}",
    ),
    (
        r"manifest unknown|not found: manifest|repository .* not found",
        "the registry has no image {image}",
    ),
    (
        r"registry|initializing source|short-name|pull|dial tcp|no such host|i/o timeout",
        "the image {image} could not be fetched",
    ),
)


class EngineState(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What an engine says of a container."""

    status: str = ""
    running: bool = False
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = msgspec.field(default=False, name="OOMKilled")


_state: Final = msgspec.json.Decoder(EngineState)


class Engine:
    """One engine, with the arguments that the worker's operator has set."""

    def __init__(self, name: str, program: str, arguments: Sequence[str] = ()) -> None:
        """`arguments`: before the engine's command, and behind the word `create` for that one."""
        self.name = name
        at = arguments.index(_CREATE) if _CREATE in arguments else len(arguments)
        self.command = (program, *arguments[:at])
        self.create_arguments = tuple(arguments[at + 1 :])

    async def create(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str],
        image: str,
        report: Reporter,
    ) -> None:
        """Create a container, and fetch its image; raises JobFailed, in words."""
        own = ["--http-proxy=false"] if self.name == "podman" else []  # Not the worker's own proxy.
        command = [_CREATE, f"--name={name}", *own, *arguments]
        exit_code, tail = await self._logged(command, report, env=env, stdout=subprocess.DEVNULL)
        if exit_code:
            raise JobFailed(_meaning(_last_line(tail), image=image, engine=self.name))

    async def execute(self, name: str, report: Reporter) -> EngineState:
        """Start a container, log what it writes, and wait for its end; stop it when cancelled.

        Raises JobFailed if it did not start.
        """
        command = ["start", "--attach", "--sig-proxy=false", name]
        _, tail = await self._logged(command, report, container=name)
        shown = await self.call("inspect", "--type=container", "--format={{json .State}}", name)
        try:
            state = _state.decode(shown.stdout)
        except msgspec.DecodeError as error:
            words = _last_line(shown.stderr.decode(errors="replace"))
            raise JobFailed(f"how the container ended is not known: {words}") from error
        if state.running:
            raise JobFailed(
                f"{self.name} does not follow the container any more: {_last_line(tail)}"
            )
        if state.status.lower() in _NOT_STARTED:
            raise JobFailed(
                f"the container could not be started: {_last_line(state.error or tail)}"
            )
        return state

    async def remove(self, *names: str) -> str | None:
        """Kill and remove containers; returns in words why that was not possible, if it was not."""
        shown = await self.call("rm", "--force", "--volumes", *names)
        words = shown.stderr.decode(errors="replace")
        return _last_line(words) if shown.returncode and not _NO_CONTAINER.search(words) else None

    async def call(self, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
        """Carry out one of its commands within `ENGINE_CALL_S`.

        One that cannot be started has failed, too: a container may have run already, and so its
        attempt is not handed back for that.
        """
        try:
            with trio.move_on_after(limits.ENGINE_CALL_S):
                return await trio.run_process(
                    [*self.command, *arguments],
                    env=engine_environment(),
                    check=False,
                    capture_stdout=True,
                    capture_stderr=True,
                    start_new_session=True,
                )
            words = f"{self.name} took longer than {limits.ENGINE_CALL_S:g} s"
        except OSError as error:
            words = f"{self.name} could not be started: {error}"
        return subprocess.CompletedProcess(arguments, 1, b"", words.encode())

    async def _logged(
        self,
        arguments: Sequence[str],
        report: Reporter,
        *,
        env: Mapping[str, str] | None = None,
        stdout: int | None = None,
        container: str | None = None,
    ) -> tuple[int, str]:
        """Carry out a command, and log what it writes; returns its exit code and last words.

        `container`: what is to be stopped first when this is cancelled.
        """
        tail = _Tail(report)
        with ExitStack() as stack:
            with starting(self.name), ExitStack() as theirs:
                pipe, end = os.pipe()
                stack.callback(os.close, pipe)
                theirs.callback(os.close, end)
                process = await trio.lowlevel.open_process(
                    [*self.command, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=end if stdout is None else stdout,
                    stderr=end,
                    env={**engine_environment(), **(env or {})},
                    start_new_session=True,
                )
            pump = OutputPump(pipe, tail)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pump.run)
                try:
                    await process.wait()
                finally:
                    with trio.CancelScope(shield=True):
                        await self._end(process, container)
                    pump.stop()
        assert process.returncode is not None
        return process.returncode, tail.text

    async def _end(self, process: trio.Process, container: str | None) -> None:
        try:
            if process.returncode is None and container is not None:
                await self.call("stop", f"-t={limits.SHELL_KILL_S:.0f}", container)
                with trio.move_on_after(limits.SHELL_KILL_S):
                    await process.wait()
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()


class _Tail:
    """A reporter that remembers the last words."""

    def __init__(self, report: Reporter) -> None:
        self._report = report
        self.text = ""

    async def log(self, text: str) -> None:
        self.text = (self.text + text)[-_TAIL_CHARS:]
        await self._report.log(text)

    async def progress(self, fraction: float) -> None:
        await self._report.progress(fraction)


def choose_engine(settings: ContainerTable, asked: str | None) -> Engine:
    """The engine of this worker that a job may use; raises JobFailed if there is none."""
    if settings.engine is not None and asked not in {None, settings.engine}:
        raise JobFailed(f"this worker runs containers with {settings.engine}, not with {asked}")
    wanted = settings.engine or asked
    for name in [wanted] if wanted else ["podman", "docker"]:
        program = shutil.which(name)
        if program is not None:
            return Engine(name, program, settings.arguments)
    missing = f"{wanted} is not" if wanted else "neither podman nor docker is"
    raise JobFailed(f"this worker has no container engine: {missing} on its PATH")


def engine_environment() -> dict[str, str]:
    """The worker's environment, as engines need it, without what is Taskplane's."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TP_")}


def _meaning(line: str, *, image: str, engine: str) -> str:
    for pattern, meaning in _MEANINGS:
        if re.search(pattern, line, re.IGNORECASE):
            return f"{meaning.format(image=image, engine=engine)}: {line}"
    return f"the container could not be created: {line}"


def _last_line(text: str) -> str:
    """The last line of what an engine wrote that says something, without ornaments."""
    lines = [line.strip() for line in text.splitlines()]
    reasons = [line for line in lines if not _HINTS.match(line)]
    return _cut(clean(_NOISE.sub("", reasons[-1]))) if reasons else "it gives no reason"


def _cut(text: str) -> str:
    return text if len(text) <= _LINE_CHARS else text[: _LINE_CHARS - 1] + "…"
