"""Owns the process that starts a worker's guards: small, of one thread, and without secrets.

A worker has threads and much memory, so it does not fork. It sends each order through a socket,
with the descriptors that the program gets; what becomes of it goes through a channel of its own.

    python -m workers.isolation.spawner DESCRIPTOR SETTINGS
"""

import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from control.model.secrecy import keep_memory_private
from workers.isolation import landlock
from workers.isolation.guard import (
    Rights,
    SpawnRequest,
    adopt_orphans,
    drain,
    end_descendants,
    guard,
    report_failure,
    wakeup_pipe,
)
from workers.isolation.hidden import HiddenPaths, OpenEntries, directories_above

HEADER: Final = struct.Struct("=Q")  # The size of the order that follows.
READ: Final = b"\n"  # What answers an order that was read.
DESCRIPTORS_MAX: Final = 16  # With one order.
_TEMPORARY: Final = "TMPDIR"
# They end with their worker, and so do their jobs: not by a signal that a whole group gets.
_IGNORED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Isolation:
    """What the processes of jobs give up."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._abi: int = settings["abi"]  # Of Landlock; 0: they give up nothing.
        self._covers: bool = settings["covers"]
        self._hidden = HiddenPaths(map(Path, settings["hidden"]))
        self._hidden.current()  # From now on they are known wherever they are moved to.
        self._entries = OpenEntries()

    def rights(self, directory: str, env: dict[str, str]) -> Rights | None:
        """What is left to a job that may use this of the hidden directories; raises OSError."""
        if not self._abi:
            return None
        hidden = self._hidden.current()
        covered: Sequence[str] = ()
        if self._covers:
            covered, hidden = hidden, []
        else:
            _provide_temporary(env, directory, directories_above(hidden))
        ruleset = landlock.make_ruleset(self._abi, self._allowed(hidden, directory))
        return Rights(ruleset, covered, directory, self._covers)

    def _allowed(self, hidden: Sequence[str], directory: str) -> Iterator[tuple[int, bool]]:
        whole = directory if hidden else "/"
        descriptor = os.open(whole, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield descriptor, True
        finally:
            os.close(descriptor)
        yield from self._entries.open(hidden)


class _Spawner:
    def __init__(self, orders: socket.socket, isolation: _Isolation, wakeups: int) -> None:
        self._orders = orders
        self._isolation = isolation
        self._wakeups = wakeups
        self._guards: set[int] = set()

    def run(self) -> None:
        """Carry out orders until the worker is gone, and then until all that it had is gone."""
        poll = select.poll()
        poll.register(self._orders, select.POLLIN)
        poll.register(self._wakeups, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if self._wakeups in ready:
                drain(self._wakeups)
                self._bury(os.WNOHANG)
            try:
                if self._orders.fileno() in ready and not self._carry_out():
                    break
            except ConnectionError:  # The worker was killed before it had read an answer.
                break
        while self._guards:
            self._bury(0)

    def _carry_out(self) -> bool:
        """Start what is ordered. False: nothing more will be."""
        header, passed, _, _ = socket.recv_fds(
            self._orders, HEADER.size, DESCRIPTORS_MAX, socket.MSG_CMSG_CLOEXEC
        )
        if len(header) < HEADER.size:
            return False
        (size,) = HEADER.unpack(header)
        data = bytearray()
        while len(data) < size:
            more = self._orders.recv(size - len(data))
            if not more:
                return False
            data += more
        self._orders.send(READ)
        channel_end, output, *rest = passed
        with socket.socket(fileno=channel_end) as channel:
            self._start(json.loads(data), output, rest, channel)
        for descriptor in (output, *rest):
            os.close(descriptor)
        return True

    def _start(
        self, asked: dict[str, Any], output: int, passed: list[int], channel: socket.socket
    ) -> None:
        rights = None
        try:
            rights = self._isolation.rights(asked["directory"], asked["env"])
            order = SpawnRequest(
                command=asked["command"],
                cwd=asked["cwd"],
                env=asked["env"],
                output=output,
                passed=passed,
                targets=asked["targets"],
                rights=rights,
                adopts=asked["adopts"],
            )
            pid = os.fork()
            if pid == 0:
                self._become_guard(order, channel)
            self._guards.add(pid)
        except OSError as error:
            report_failure(channel, error)
        finally:
            if rights is not None:
                os.close(rights.ruleset)

    def _become_guard(self, order: SpawnRequest, channel: socket.socket) -> NoReturn:
        try:
            self._orders.close()
            guard(order, channel)
        except BaseException:  # noqa: BLE001 - A defect; what it has left is ended by us.
            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    def _bury(self, options: int) -> None:
        """Bury guards. What one that was killed has left has become ours: it is ended."""
        orphaned = False
        while True:
            try:
                pid, status = os.waitpid(-1, options)
            except ChildProcessError:
                self._guards.clear()
                return
            if pid == 0:
                break
            orphaned = orphaned or status != 0 or pid not in self._guards
            self._guards.discard(pid)
            options = os.WNOHANG
        if orphaned:
            end_descendants(self._wakeups, self._guards)


def _provide_temporary(env: dict[str, str], directory: str, closed: set[str]) -> None:
    """Give the job a directory for temporary files where the usual one is closed to it."""
    if os.path.realpath(env.get(_TEMPORARY) or "/tmp") in closed:
        own = Path(directory) / "tmp"
        own.mkdir(mode=0o700, exist_ok=True)
        env[_TEMPORARY] = str(own)


def main() -> None:
    """Serve one worker to its end."""
    keep_memory_private()
    adopt_orphans()
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    wakeups = wakeup_pipe()
    orders = socket.socket(fileno=int(sys.argv[1]))
    spawner = _Spawner(orders, _Isolation(json.loads(sys.argv[2])), wakeups)
    gc.freeze()  # What is here now is shared with all guards.
    spawner.run()


if __name__ == "__main__":
    main()
