"""Owns the demo's processes: a control plane and workers, in one directory, on loopback only."""

import os
import shutil
import sys
from io import FileIO
from pathlib import Path
from subprocess import DEVNULL
from typing import Final

import httpx
import trio

from bench.servers.system import System, script
from control.cli.client import options
from control.cli.credentials import Login, load_login

CONTROL: Final = "control"
SLOTS: Final = 8
_STOP_S: Final = 15.0  # A worker that drains waits for its jobs for 10 s.
_READ_BYTES: Final = 65_536


class DemoFailed(Exception):
    """The demo cannot go on, for a reason that is not the product's promise."""


class DemoSystem:
    """The processes by their names, and where everything of them is."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data_dir = directory / "data"
        self.journal = directory / "jobs"  # Jobs may not write into the data directory.
        self.logs = directory / "logs"
        self.up = trio.Event()  # Set while the control plane is ready.
        self._processes: dict[str, trio.Process] = {}
        self.journal.mkdir()
        self.logs.mkdir()

    @property
    def login(self) -> Login:
        """The control plane's address, with the administrator's credentials."""
        return load_login(url=None, data_dir=self.data_dir, environ={})

    @property
    def pids(self) -> list[int]:
        """The processes that have not ended: workers first, for they report when they stop."""
        names = sorted(self._processes, key=lambda name: name == CONTROL)
        found = [self._processes[name] for name in names]
        return [process.pid for process in found if process.returncode is None]

    def http(self) -> httpx.AsyncClient:
        """A client of the API, set up as that of tpctl is."""
        return httpx.AsyncClient(**options(self.login))

    async def start_control(self) -> None:
        """Start `tpctl up`, the first time on free ports, later on the same; wait until ready."""
        listen = gateway = "127.0.0.1:0"
        if CONTROL in self._processes:
            stored = System(self.data_dir, [])
            listen, gateway = (each.partition("//")[2] for each in (stored.url, stored.gateway))
        command = [script("tpctl"), "up", "--data-dir", str(self.data_dir)]
        command += ["--listen", listen, "--gateway", gateway, "--log-level", "warning"]
        # Learned from the mix without this, which takes some dozens of jobs.
        command += ["--slow-threshold", "1"]
        await self._start(CONTROL, command, ready=b"ready")
        self.up.set()

    async def start_worker(self, name: str, *flags: str) -> None:
        """Start a `tpworker`; wait until it is connected."""
        command = [script("tpworker"), "--data-dir", str(self.data_dir), "--name", name]
        command += ["--state-dir", str(self.directory / name), "--slots", str(SLOTS), *flags]
        await self._start(name, command, ready=b"worker ready")

    async def kill(self, name: str) -> None:
        """kill -9."""
        if name == CONTROL:
            self.up = trio.Event()
        process = self._processes[name]
        process.kill()
        await process.wait()

    async def stop(self) -> None:
        """Stop all processes, cleanly if they do so in time: workers first, for they report."""
        with trio.CancelScope(shield=True):
            with trio.move_on_after(_STOP_S):
                async with trio.open_nursery() as nursery:
                    for name, process in self._processes.items():
                        if name != CONTROL:
                            nursery.start_soon(_end, process)
                if CONTROL in self._processes:
                    await _end(self._processes[CONTROL])
            for process in self._processes.values():
                process.kill()
                await process.wait()

    def remove(self) -> None:
        """Remove the directory of processes that have stopped."""
        shutil.rmtree(self.directory)

    async def _start(self, name: str, command: list[str], *, ready: bytes) -> None:
        ours, theirs = os.pipe()
        try:
            # In a session of its own: a Ctrl-C is for the demo, which then stops all of them.
            process = await trio.lowlevel.open_process(
                command, stdin=DEVNULL, stdout=DEVNULL, stderr=theirs, start_new_session=True
            )
            self._processes[name] = process
            os.close(theirs)
            theirs = -1
            begun = await _read_until(ready, ours)
            if ready not in begun:
                message = f"{name} ended before it was ready: {begun.decode(errors='replace')}"
                raise DemoFailed(message)
            # What reads on must outlive us, if the processes shall.
            with _appending(self.logs / f"{name}.log") as log:
                log.write(begun)
                await trio.lowlevel.open_process(
                    ["cat"], stdin=ours, stdout=log, stderr=DEVNULL, start_new_session=True
                )
        finally:
            os.close(ours)
            if theirs != -1:
                os.close(theirs)


async def _end(process: trio.Process) -> None:
    process.terminate()
    await process.wait()


def _appending(path: Path) -> FileIO:
    return FileIO(path, "a")


async def _read_until(wanted: bytes, pipe: int) -> bytes:
    found = b""
    while wanted not in found:
        await trio.lowlevel.wait_readable(pipe)
        data = os.read(pipe, _READ_BYTES)
        if not data:
            break
        found += data
    return found


def shown(path: Path) -> str:
    """As a person would type it: below the present directory without what leads there."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def tool(name: str) -> str:
    """A command of ours, as a person would type it."""
    return shown(Path(sys.executable).parent / name)
