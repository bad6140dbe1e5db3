"""Decides what of the file tree jobs may use when some paths must stay hidden from them.

Landlock knows only what is allowed, with all that is beneath. So of each directory above a hidden
path everything else that is in it is allowed, and the directory itself is not: it cannot be listed,
and nothing can be made in it.
"""

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

_OPEN: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC if hasattr(os, "O_PATH") else 0


class _Held(NamedTuple):
    """A hidden path that exists: what it is, and where that was when it was opened."""

    descriptor: int
    place: str


class HiddenPaths:
    """Files and directories that jobs must not see, wherever they have been moved to."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = tuple(dict.fromkeys(path.absolute() for path in paths))
        self._held: dict[Path, _Held] = {}
        self._lock = threading.Lock()  # Each process is started by a thread of its own.

    def names(self) -> list[str]:
        """The paths as they were named, existing or not."""
        return list(map(str, self._paths))

    def current(self) -> list[str]:
        """Where those that exist are now, without what is inside another one of them."""
        paths: set[str] = set()
        with self._lock:
            for path in self._paths:
                paths |= self._locations(path)
        outermost: list[str] = []
        for place in sorted(paths):
            if any(place.startswith(f"{outer}/") for outer in outermost) or place == "/":
                continue
            with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                if _is_ours(place):
                    outermost.append(place)
        return outermost

    def close(self) -> None:
        """Release the descriptors."""
        while self._held:
            os.close(self._held.popitem()[1].descriptor)

    def _locations(self, path: Path) -> set[str]:
        """The path's current locations: by name, and by the open descriptor after a rename."""
        places: set[str] = set()
        held = self._held.get(path)
        if held is not None:
            with suppress(OSError):
                places.add(os.readlink(f"/proc/self/fd/{held.descriptor}"))
            if held.place in places and held.place == str(path):
                return places  # As it was, and no link on the way.
        places.add(os.path.realpath(path))
        if held is None:
            with suppress(OSError):
                descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
                self._held[path] = _Held(descriptor, os.path.realpath(path))
        return places


def _is_ours(place: str) -> bool:
    """Whether this user can use it, or could change its mode to use it."""
    return os.stat(place).st_uid == os.geteuid() or any(
        os.access(place, right) for right in (os.R_OK, os.W_OK, os.X_OK)
    )


def directories_above(hidden: Sequence[str]) -> set[str]:
    """The directories that cannot be listed, or have something made in them, because of these."""
    return {str(parent) for path in hidden for parent in Path(path).parents}


class _DirectoryReading(NamedTuple):
    """What was in a directory that had changed last at this time."""

    changed_ns: int
    entries: list[tuple[str, bool]]
    is_settled: bool


class OpenEntries:
    """What is beside hidden paths and above them. Directories are read when they have changed."""

    def __init__(self) -> None:
        self._read: dict[str, _DirectoryReading] = {}

    def open(self, hidden: Sequence[str]) -> Iterator[tuple[int, bool]]:
        """A descriptor of each entry, and whether it is a directory; closed when asked for more.

        Links are left out: what they point to is allowed or hidden where it is itself.
        """
        above = directories_above(hidden)
        left_out = above | set(hidden)
        for directory in above:
            try:
                folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError:
                continue  # What this user cannot list, his jobs cannot either.
            try:
                for name, is_directory in self._entries(directory, folder):
                    if f"{directory.rstrip('/')}/{name}" in left_out:
                        continue
                    try:
                        entry = os.open(name, _OPEN, dir_fd=folder)
                    except OSError:
                        continue  # It is gone.
                    try:
                        yield entry, is_directory
                    finally:
                        os.close(entry)
            finally:
                os.close(folder)

    def _entries(self, directory: str, folder: int) -> list[tuple[str, bool]]:
        """Names, and whether each is a directory."""
        changed_ns = os.fstat(folder).st_mtime_ns
        known = self._read.get(directory)
        if known is not None and known.changed_ns == changed_ns and known.is_settled:
            return known.entries
        with os.scandir(folder) as listing:
            entries = [
                (entry.name, entry.is_dir(follow_symlinks=False))
                for entry in listing
                if not entry.is_symlink()
            ]
        # One tick of the clock may see two changes, so a directory is read once more.
        is_settled = known is not None and known.changed_ns == changed_ns
        self._read[directory] = _DirectoryReading(changed_ns, entries, is_settled)
        return entries
