"""Owns a backup's file: a tar archive with a manifest, in which each file has its digest.

Everything here blocks. What is read from an archive is a stranger's: names, sizes, and contents are
checked before anything is used.
"""

import hashlib
import io
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

import msgspec

from control.model.errors import ConfigError
from control.model.names import CREDENTIALS_FILE, STATE_FILE

MANIFEST: Final = "manifest.json"
FACTS: Final = "facts.parquet"
FORMAT: Final = 1
_NAMES: Final = re.compile(
    rf"{re.escape(STATE_FILE)}|{re.escape(FACTS)}|{re.escape(CREDENTIALS_FILE)}"
    r"|logs/[0-9]{1,13}/[0-9]{1,16}/[0-9]{1,19}\.[0-9]{1,19}\.log"
)
_REQUIRED: Final = frozenset({STATE_FILE, FACTS})
_PIECE: Final = 1 << 20
_MANIFEST_BYTES_MAX: Final = 1 << 28


class ArchiveMember(msgspec.Struct, frozen=True):
    """One file of an archive."""

    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What an archive holds. `version`: of Taskplane; `last_run_id`: the newest run it knows."""

    format: int
    version: str
    created_at: str
    epoch: int
    last_run_id: int
    files: dict[str, ArchiveMember]


class ArchiveWriter:
    """Writes an archive: files first, the manifest last. Raises OSError."""

    def __init__(self, file: IO[bytes]) -> None:
        self._tar = tarfile.open(fileobj=file, mode="w:gz", compresslevel=1)  # noqa: SIM115 - `close`.
        self.files: dict[str, ArchiveMember] = {}

    def add(self, name: str, path: Path) -> None:
        """Add a file as it is now: what is appended meanwhile is left out."""
        with path.open("rb") as source:
            size = os.fstat(source.fileno()).st_size
            reader = _Digest(source, size)
            self._tar.addfile(_info(name, size), reader)
            self._tar.members.clear()  # type: ignore[attr-defined]  # It would keep millions.
        self.files[name] = ArchiveMember(size, reader.digest.hexdigest())

    def close(self, manifest: Manifest) -> None:
        """Write the manifest and end the archive."""
        body = msgspec.json.encode(manifest)
        self._tar.addfile(_info(MANIFEST, len(body)), io.BytesIO(body))
        self._tar.close()


def read(path: Path, into: Path | None = None) -> Manifest:
    """Check an archive from its begin to its end; raises `ConfigError` when it is not whole.

    `into`: a directory in which its files are written, 0600, while they are checked.
    """
    seen: dict[str, ArchiveMember] = {}
    manifest: Manifest | None = None
    try:
        with tarfile.open(path, mode="r:gz") as tar:
            while (info := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # As above.
                source = tar.extractfile(info) if info.isreg() else None
                if source is None or manifest is not None:
                    raise _broken(path, f"{info.name} is nothing that belongs into a backup")
                if info.name == MANIFEST:
                    body = source.read(_MANIFEST_BYTES_MAX)
                    manifest = msgspec.json.decode(body, type=Manifest)
                elif _NAMES.fullmatch(info.name) is None or info.name in seen:
                    raise _broken(path, f"{info.name} is nothing that belongs into a backup")
                else:
                    seen[info.name] = _take(source, None if into is None else into / info.name)
    except (OSError, EOFError, tarfile.TarError, msgspec.MsgspecError, ValueError) as error:
        raise _broken(path, str(error)) from error
    if manifest is None:
        raise _broken(path, "its end is missing")
    if manifest.format != FORMAT:
        message = f"{path} has the format {manifest.format}; this version reads {FORMAT}"
        raise ConfigError(message)
    for name in manifest.files.keys() | seen.keys() | _REQUIRED:
        if manifest.files.get(name) is None or manifest.files.get(name) != seen.get(name):
            raise _broken(path, f"{name} is not as it was written")
    return manifest


def _take(source: IO[bytes], target: Path | None) -> ArchiveMember:
    digest, size = hashlib.sha256(), 0
    file: IO[bytes] | None = None
    if target is not None:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.fdopen(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")
    try:
        for piece in _pieces(source):
            digest.update(piece)
            size += len(piece)
            if file is not None:
                file.write(piece)
        if file is not None:
            file.flush()
            os.fsync(file.fileno())
    finally:
        if file is not None:
            file.close()
    return ArchiveMember(size, digest.hexdigest())


def _pieces(source: IO[bytes]) -> Iterator[bytes]:
    while piece := source.read(_PIECE):
        yield piece


class _Digest:
    """A file of so many bytes, digested while it is read."""

    def __init__(self, source: IO[bytes], size: int) -> None:
        self._source = source
        self._left = size
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        wanted = self._left if size < 0 else min(size, self._left)
        piece = self._source.read(wanted)
        self._left -= len(piece)
        self.digest.update(piece)
        return piece


def _info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    return info


def _broken(path: Path, why: str) -> ConfigError:
    return ConfigError(f"{path} is no whole backup: {why}")
