"""Decides what becomes of containers whose worker has died: they are removed.

A container belongs to its engine, not to the worker, and so it would go on. A process that waits
for the worker's end removes what the worker leaves; if that was killed too, the next worker of the
same directory does, which finds there the engines that were used.
"""

import os
import secrets
import subprocess
from pathlib import Path
from typing import Final

import msgspec
import structlog
import trio

from workers.kinds.container_engine import Engine, engine_environment

_log = structlog.get_logger()
_FILE: Final = "containers.json"  # In the worker's directory, while an engine may have containers.
_WORKER: Final = "taskplane.worker"  # The same for all processes that had this directory,
_PROCESS: Final = "taskplane.process"  # and one process of a worker.
# `read` returns when the worker has closed its end of the pipe, or is dead.
_REMOVE: Final = """\
read -r _
label=$1; shift
ids=$("$@" ps --all --quiet --filter "label=$label") || exit
[ -z "$ids" ] || exec "$@" rm --force --volumes $ids
"""


class _Used(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    command: tuple[str, ...]


class _LeftoverRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the next worker of a directory has to know. `worker`: by what its containers are known.

    That is random: workers of several hosts may use one engine, and directories of the same path.
    """

    worker: str
    engines: tuple[_Used, ...]


_record: Final = msgspec.json.Decoder(_LeftoverRecord)


class Leftovers:
    """What one worker process does about containers that it, or its predecessor, leaves."""

    def __init__(self, process: str) -> None:
        """`process`: a name that no other process has."""
        self._process = process
        self._worker = secrets.token_hex(8)
        self._file: Path | None = None
        self._engines: dict[tuple[str, ...], Engine] = {}  # Those that may have containers of ours.
        self._watchers: dict[tuple[str, ...], trio.Process] = {}
        self._lock = trio.Lock()

    @property
    def labels(self) -> dict[str, str]:
        """By which containers of this worker process are known."""
        return {_WORKER: self._worker, _PROCESS: self._process}

    async def begin(self, directory: Path) -> None:
        """Remove what former workers of this directory have left; what stays is logged."""
        self._file = directory / _FILE
        try:
            record = _record.decode(self._file.read_bytes())
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError) as error:
            _log.warning("container.leftovers_unknown", path=str(self._file), reason=str(error))
            return
        self._worker = record.worker
        for each in record.engines:
            engine = Engine(each.name, each.command[0], each.command[1:])
            if not await self._remove(engine):
                self._engines[engine.command] = engine
        self._save()

    async def watch(self, engine: Engine) -> None:
        """See to it that containers of this engine do not outlive this worker; raises OSError."""
        async with self._lock:
            watcher = self._watchers.get(engine.command)
            if watcher is not None and watcher.poll() is None:
                return
            self._engines[engine.command] = engine
            self._save()
            self._watchers[engine.command] = await trio.lowlevel.open_process(
                ["/bin/sh", "-c", _REMOVE, "sh", f"{_PROCESS}={self._process}", *engine.command],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=engine_environment(),
                start_new_session=True,
            )

    async def aclose(self) -> None:
        """End the watchers, and remove what is left; the caller bounds it."""
        for watcher in self._watchers.values():
            assert watcher.stdin is not None
            await watcher.stdin.aclose()
            await watcher.wait()
        for engine in [*self._engines.values()]:
            if await self._remove(engine):  # Also what a former process has left.
                self._engines.pop(engine.command)
        self._save()

    def _save(self) -> None:
        """Write, in one step, which engines the next worker here has to ask for what."""
        if self._file is None:
            return
        if not self._engines:
            self._file.unlink(missing_ok=True)
            return
        used = tuple(_Used(name=each.name, command=each.command) for each in self._engines.values())
        fresh = self._file.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(msgspec.json.encode(_LeftoverRecord(worker=self._worker, engines=used)))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._file)

    async def _remove(self, engine: Engine) -> bool:
        shown = await engine.call(
            "ps", "--all", "--quiet", f"--filter=label={_WORKER}={self._worker}"
        )
        trouble = shown.stderr.decode(errors="replace") if shown.returncode else None
        containers = shown.stdout.decode().split()
        if containers:
            _log.warning("container.leftovers", engine=engine.name, containers=containers)
            trouble = await engine.remove(*containers)
        if trouble:
            _log.error("container.leftovers_stay", engine=engine.name, reason=trouble)
        return not trouble
