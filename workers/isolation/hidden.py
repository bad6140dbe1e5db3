"""Decides what of the file tree jobs may use when some paths must stay hidden from them.

Landlock knows only what is allowed, with all that is beneath. So of each directory above a hidden
path everything else that is in it is allowed, and the directory itself is not: it cannot be listed,
and nothing can be made in it.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

_OPEN: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC if hasattr(os, "O_PATH") else 0


class HiddenPaths:
    """Files and directories that jobs must not see, wherever they have been moved to."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = tuple(dict.fromkeys(path.absolute() for path in paths))
        self._held: dict[Path, int] = {}

    def current(self) -> list[str]:
        """Where those that exist are now, without what is inside another one of them."""
        found: set[str] = set()
        for path in self._paths:
            found.add(os.path.realpath(path))
            # Somebody may have renamed a directory above it, to see it under another name.
            with suppress(OSError):
                if path not in self._held:
                    self._held[path] = os.open(path, os.O_PATH | os.O_CLOEXEC)
                found.add(os.readlink(f"/proc/self/fd/{self._held[path]}"))
        outermost: list[str] = []
        for place in sorted(found):
            if not os.path.lexists(place) or place == "/":
                continue
            if not any(place.startswith(f"{outer}/") for outer in outermost) and _is_ours(place):
                outermost.append(place)
        return outermost

    def close(self) -> None:
        """Release the descriptors."""
        while self._held:
            os.close(self._held.popitem()[1])


def _is_ours(place: str) -> bool:
    """Whether this user could use it at all, or let himself use it."""
    return os.stat(place).st_uid == os.geteuid() or any(
        os.access(place, right) for right in (os.R_OK, os.W_OK, os.X_OK)
    )


def directories_above(hidden: Sequence[str]) -> set[str]:
    """The directories that cannot be listed, or have something made in them, because of these."""
    return {str(parent) for path in hidden for parent in Path(path).parents}


def open_others(hidden: Sequence[str]) -> Iterator[tuple[int, bool]]:
    """Descriptors of all that is beside these paths and above them, and whether it is a directory.

    The caller closes each before it asks for the next one. Links are left out: what they point to
    is allowed or hidden where it is itself.
    """
    above = directories_above(hidden)
    left_out = above | set(hidden)
    for directory in above:
        try:
            folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue  # What this user cannot list, his jobs cannot either.
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if os.path.join(directory, entry.name) in left_out or entry.is_symlink():
                        continue
                    with suppress(FileNotFoundError, NotADirectoryError):
                        descriptor = os.open(entry.name, _OPEN, dir_fd=folder)
                        yield descriptor, entry.is_dir(follow_symlinks=False)
        finally:
            os.close(folder)
