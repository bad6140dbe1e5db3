"""Owns how tests find every process that they have started, wherever it went: by an argument."""

import os
import uuid
from contextlib import suppress
from pathlib import Path

import trio


class Mark:
    """An argument that only processes of one test have."""

    def __init__(self, directory: Path) -> None:
        self.name = f"tp-mark-{uuid.uuid4().hex}"
        self._directory = directory

    def escape(self, way: str, number: int = 0) -> str:
        """A shell command after which a process of this mark runs; `way`: what starts it."""
        there = self._directory / f"{self.name}-{number}"
        script = f"touch {there}; while :; do sleep 300; done"
        return f'({way} sh -c "{script}" {self.name} &) ; while ! [ -e {there} ]; do :; done'

    def pids(self) -> list[int]:
        """Its processes that have not ended, and what they have started."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                arguments = (folder / "cmdline").read_bytes().split(b"\0")
                state = (folder / "stat").read_bytes().rpartition(b")")[2].split()[0]
                if self.name.encode() in arguments and state not in b"ZX":
                    found.append(int(folder.name))
        return found

    async def until(self, number: int) -> None:
        """Wait until so many of its processes run."""
        with trio.fail_after(60):
            while len(self.pids()) != number:
                await trio.lowlevel.checkpoint()


def lives(pid: int) -> bool:
    """Whether a process has not ended; one that nobody has buried has."""
    with suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
        return state not in b"ZX"
    return False


def children_of(pid: int) -> list[int]:
    """The processes that are children of this one, without dead ones."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, parent, *_ = (folder / "stat").read_bytes().rpartition(b")")[2].split()
            if int(parent) == pid and state not in b"ZX":
                found.append(int(folder.name))
    return found


def kill_all(pids: list[int]) -> None:
    """Kill these processes together, so that none of them can do anything about the others."""
    for number in (19, 9):  # SIGSTOP, SIGKILL.
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
