"""Owns what a hostile job tries; run as a program it says of each try what came of it.

    python intruder.py TARGETS.json > RESULT.json

A result begins with `refused`, or says what was got.
"""

import ctypes
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

Try = tuple[str, Callable[[], object]]
_PTRACE_ATTACH = 16
_MS_BIND = 4096
_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> int:
    result: int = getattr(_libc, name)(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(200)


def _listed(path: str) -> list[str]:
    found = os.listdir(path)
    if not found:
        raise FileNotFoundError(path)  # Covered with an empty one.
    return found


def _through_symlink(path: str, name: str) -> bytes:
    os.symlink(path, name)
    return _read(name)


def _through_hard_link(path: str, name: str) -> bytes:
    os.link(path, name)
    return _read(name)


def _planted(path: str) -> str:
    Path(path).write_text("planted")
    return path


def _connected(name: str) -> str:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect("\0" + name)
    return name


def _moved(path: str, target: str) -> str:
    os.rename(path, target)
    return target


def _opened(path: str) -> str:
    with open(path, "ab"):
        return path


def _signalled(pid: int, number: int) -> str:
    os.kill(pid, number)
    return "sent"


def _entered(pid: int) -> int:
    space = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
    return _call("setns", space, 0)


def _bound(path: str) -> int:
    target = os.path.abspath("input.json").encode()
    return _call("mount", path.encode(), target, None, _MS_BIND, None)


def _file_tries(file: str) -> Iterator[Try]:
    name = file.replace("/", "_")
    yield f"absolute {file}", partial(_read, file)
    yield f"relative {file}", partial(_read, os.path.relpath(file))
    yield f"symlink {file}", partial(_through_symlink, file, f"soft{name}")
    yield f"hard link {file}", partial(_through_hard_link, file, f"hard{name}")
    yield f"rename {file}", partial(_moved, file, f"moved{name}")
    yield f"append {file}", partial(_opened, file)
    yield f"bind mount {file}", partial(_bound, file)


def _directory_tries(directory: str) -> Iterator[Try]:
    yield f"list {directory}", partial(_listed, directory)
    yield f"plant in {directory}", partial(_planted, f"{directory}/planted")
    yield f"rename {directory}", partial(_moved, directory, f"{directory}.moved")
    yield f"umount {directory}", partial(_call, "umount2", directory.encode(), 2)


def _process_tries(pid: int) -> Iterator[Try]:
    for name in ("environ", "mem", "maps", "auxv", "fd/0", "fd/1", "fd/2", "fd/3"):
        yield f"{name} of {pid}", partial(_read, f"/proc/{pid}/{name}")
    for name in ("root", "cwd"):
        yield f"{name} of {pid}", partial(_listed, f"/proc/{pid}/{name}/")
    yield f"ptrace {pid}", partial(_call, "ptrace", _PTRACE_ATTACH, pid, None, None)
    yield f"namespace of {pid}", partial(_entered, pid)
    yield f"limit of {pid}", partial(resource.prlimit, pid, resource.RLIMIT_CPU, (600, 600))
    yield f"priority of {pid}", partial(os.setpriority, os.PRIO_PROCESS, pid, 1)
    yield f"cores of {pid}", partial(os.sched_setaffinity, pid, os.sched_getaffinity(0))
    yield (
        f"scheduling of {pid}",
        partial(os.sched_setscheduler, pid, os.SCHED_OTHER, os.sched_param(0)),
    )
    for number in (0, signal.SIGSTOP, signal.SIGKILL):
        yield f"signal {int(number)} to {pid}", partial(_signalled, pid, number)


def main() -> None:
    """Try everything."""
    targets = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    tries: list[Try] = [("inherited descriptors", _inherited)]
    for file in targets["files"]:
        tries += _file_tries(file)
    for directory in targets["directories"]:
        tries += _directory_tries(directory)
    for pid in targets["processes"]:
        tries += _process_tries(pid)
    for name in targets["sockets"]:
        tries.append((f"socket {name}", partial(_connected, name)))
    results = {}
    for what, attempt in tries:
        try:
            results[what] = f"got {attempt()!r}"
        except OSError as error:
            results[what] = f"refused: {error.strerror or error}"
    json.dump(results, sys.stdout)


def _inherited() -> list[str]:
    # The one more is that of the listing itself.
    others = [name for name in os.listdir("/proc/self/fd") if int(name) > 2]
    if len(others) == 1:
        raise FileNotFoundError("only stdin, stdout, and stderr")
    return [os.readlink(f"/proc/self/fd/{name}") for name in others[:-1]]


if __name__ == "__main__":
    main()
