"""Makes and restores backups of a data directory: state, facts, logs, and credentials.

The state is copied first: what the facts and logs have beyond it, a start that follows a restore
forgets (`core/epochs.py`).
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Final

import structlog

from control.core.epochs import last_unwitnessed
from control.model import limits
from control.model.errors import ConfigError, StoreFailed
from control.model.life import DatabasePosition
from control.model.names import (
    CREDENTIALS_FILE,
    FACTS_FILE,
    LOGS_FOLDER,
    RESTORE_FILE,
    STATE_FILE,
)
from control.model.times import to_rfc3339
from control.process import data_directory
from store import archive, state_file
from store.archive import ArchiveWriter, Manifest
from store.epoch import Witness
from store.facts.database import Facts
from store.facts.file import exported_jobs

LOG = structlog.get_logger("backup")
ExportFacts = Callable[[Path], None]
"""Writes all facts as Parquet to a file."""

_LATELY_MS: Final = 60_000  # Statistics are never further behind for long.
_NEW: Final = "restore.new"
# More commits than a database ever has: the one beside it is another.
_RESTORED: Final = 2**62


def create(
    directory: Path,
    target: Path,
    export_facts: ExportFacts,
    *,
    version: str,
    now_ms: int,
    pause: Callable[[float], None] | None = None,
) -> Manifest:
    """Write a backup of a data directory, which may be in use, and check it.

    `pause`: waits so many seconds, where facts are still being written; None: none are.
    Raises `ConfigError` where it cannot be written; then there is no file of this name.
    """
    if target.exists():
        message = f"{target} exists; give another name, or delete it"
        raise ConfigError(message)
    try:
        with ExitStack() as stack:
            work = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=directory)))
            part = target.with_name(f"{target.name}.part")
            stack.callback(part.unlink, missing_ok=True)
            life = state_file.copy(directory / STATE_FILE, work / STATE_FILE)
            ended = state_file.jobs_ended_since(work / STATE_FILE, now_ms - _LATELY_MS)
            _export(export_facts, work / archive.FACTS, ended, pause)
            part.unlink(missing_ok=True)
            with os.fdopen(
                os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb"
            ) as file:
                writer = ArchiveWriter(file)
                writer.add(STATE_FILE, work / STATE_FILE)
                writer.add(archive.FACTS, work / archive.FACTS)
                if (directory / CREDENTIALS_FILE).exists():
                    writer.add(CREDENTIALS_FILE, directory / CREDENTIALS_FILE)
                for log in sorted((directory / LOGS_FOLDER).glob("*/*/*.log")):
                    with suppress(FileNotFoundError):  # Its run was deleted meanwhile.
                        writer.add(str(log.relative_to(directory)), log)
                writer.close(
                    Manifest(
                        format=archive.FORMAT,
                        version=version,
                        created_at=to_rfc3339(now_ms),
                        epoch=life[0],
                        last_run_id=life[1],
                        files=writer.files,
                    )
                )
                file.flush()
                os.fsync(file.fileno())
            manifest = archive.read(part)
            part.rename(target)
            return manifest
    except (OSError, StoreFailed) as error:
        message = f"the backup {target} could not be written: {error}"
        raise ConfigError(message) from error


def restore(path: Path, directory: Path, *, now_ms: int) -> tuple[Manifest, Path | None]:
    """Put a backup into a data directory that is not in use; gives where the old files are now.

    Raises `ConfigError`; before anything was moved, all is as it was.
    """
    with data_directory.locked(directory, restoring=True):
        fresh = directory / _NEW
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            fresh.mkdir(mode=0o700)
            manifest = archive.read(path, fresh)
            if problem := state_file.problem_of(fresh / STATE_FILE):
                message = f"{path}: {problem}"
                raise ConfigError(message)
            with closing(Facts(fresh / FACTS_FILE)) as facts:
                facts.load(fresh / archive.FACTS)
            (fresh / LOGS_FOLDER).mkdir(mode=0o700, exist_ok=True)
            aside = _swap(directory, fresh, manifest, now_ms)
        except (OSError, StoreFailed) as error:
            message = f"{path} could not be restored: {error}"
            raise ConfigError(message) from error
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    LOG.info("backup.restored", path=str(path), last_run=manifest.last_run_id)
    return manifest, aside


@contextmanager
def facts_of_stopped(directory: Path) -> Iterator[ExportFacts | None]:
    """How to export the facts of a directory that is not in use; None: a control plane uses it.

    Raises `ConfigError` where there is no state.
    """
    if not (directory / STATE_FILE).exists():
        message = f"there is nothing to back up: {directory} has no {STATE_FILE}"
        raise ConfigError(message)
    with ExitStack() as stack:
        try:
            stack.enter_context(data_directory.locked(directory))
        except ConfigError:
            yield None
            return
        facts = stack.enter_context(closing(Facts(directory / FACTS_FILE)))

        def export(path: Path) -> None:
            facts.export(path, "parquet")

        yield export


def _export(
    export_facts: ExportFacts,
    target: Path,
    ended: Collection[int],
    pause: Callable[[float], None] | None,
) -> None:
    """Export the facts, again until these jobs have theirs: statistics are behind the state.

    Kafka does not deliver again, after a restore, what they read after the export.
    """
    for left in reversed(range(limits.BACKUP_TRIES_MAX)):
        target.unlink(missing_ok=True)
        export_facts(target)
        if pause is None:
            return
        missing = set(ended) - exported_jobs(target, ended)
        if not missing:
            return
        if left:
            pause(limits.FACTS_FLUSH_S)
    LOG.warning("backup.facts_missing", jobs=len(missing))


def _swap(directory: Path, fresh: Path, manifest: Manifest, now_ms: int) -> Path | None:
    """Move what is there aside and the new files in; a start in between is refused."""
    data_directory.write_private(directory / RESTORE_FILE, f"{to_rfc3339(now_ms)}\n")
    witness = Witness(directory)
    known = witness.read()
    names = [STATE_FILE, f"{STATE_FILE}-wal", f"{STATE_FILE}-shm", FACTS_FILE]
    names += [f"{FACTS_FILE}.wal", LOGS_FOLDER, CREDENTIALS_FILE]
    old = [name for name in names if (directory / name).exists()]
    aside = directory / f"before-restore-{to_rfc3339(now_ms).replace(':', '')}"
    if old:
        aside.mkdir(mode=0o700, exist_ok=True)
    for name in old:
        (directory / name).rename(aside / name)
    for name in (FACTS_FILE, LOGS_FOLDER, CREDENTIALS_FILE, STATE_FILE):
        if (fresh / name).exists():
            (fresh / name).rename(directory / name)
    last = max(manifest.epoch, last_unwitnessed(now_ms) if known is None else known.epoch)
    witness.write(DatabasePosition(last, _RESTORED))
    witness.close()
    (directory / RESTORE_FILE).unlink()
    return aside if old else None
