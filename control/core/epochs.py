"""Decides which life of its data a database is in.

A data directory lives on from start to start. A backup that is put into its position begins another
life: it knows nothing of what happened since it was made, while topics, facts, logs, workers, and
consoles may. Each life has a number, its *epoch*, and ids of its own, so nothing of one life is
ever taken for something of another.
"""

from typing import Final

from control.model.life import DatabasePosition, KnownAttempts

IDS_EACH: Final = 1_000_000_000  # Run and job ids of an epoch; the first one begins at 1.
_ATTEMPTS_EACH: Final = 1_000
_COUNTED_FROM_MS: Final = 1_767_225_600_000  # 2026-01-01.
_COUNTED_EACH_MS: Final = 600_000  # So that ids and attempts fit into numbers for 40 years.
_COUNTED_MAX: Final = 2_000_000


def is_restored(stored: DatabasePosition, witnessed: DatabasePosition | None) -> bool:
    """Whether a database is not the one that was used last in its directory.

    `stored`: what it says itself. `witnessed`: what was written beside it after each commit; None:
    there is nothing beside it.
    """
    if witnessed is None:
        return stored.commits > 0
    return stored.epoch != witnessed.epoch or stored.commits < witnessed.commits


def next_epoch(
    stored: DatabasePosition, witnessed: DatabasePosition | None, last_id: int, now_ms: int
) -> int:
    """The epoch of a database that was restored; `last_id`: the greatest run or job id it has.

    `now_ms`: by the wall clock.
    """
    known = last_unwitnessed(now_ms) if witnessed is None else witnessed.epoch
    return max(stored.epoch, known, last_id // IDS_EACH) + 1


def last_unwitnessed(now_ms: int) -> int:
    """What stands for the last epoch where no file records which ones there were.

    That is where a backup is restored on another host: an earlier life, restored from the same
    backup on a third one, may have the next number. So these epochs are counted by the clock.
    """
    count = (now_ms - _COUNTED_FROM_MS) // _COUNTED_EACH_MS
    return min(max(count, 1), _COUNTED_MAX)


def last_id_before(epoch: int) -> int:
    """The id before the first one of an epoch."""
    return 0 if epoch == 1 else epoch * IDS_EACH


def attempt_in(epoch: int, attempt: int) -> int:
    """The number of a job's next attempt when it was open in the backup that began the epoch."""
    return epoch * _ATTEMPTS_EACH + attempt % _ATTEMPTS_EACH


def number_in_backup(epoch: int, attempt: int, last_over: int) -> int:
    """The attempt that an open job was at when the backup was made that began the epoch.

    It may have been published again since (`attempt_in`). `last_over`: the last attempt of it that
    is recorded as over; 0: none.
    """
    if attempt < epoch * _ATTEMPTS_EACH:
        return attempt
    return max(attempt % _ATTEMPTS_EACH, last_over + 1)


def is_of_this_life(attempt: int, known: KnownAttempts | None) -> bool:
    """Whether the end of an attempt belongs to the life that its job is in.

    `known`: what the state knows of the job's attempts; None: it does not know the job.
    """
    if known is None:
        return False
    epoch = known.current // _ATTEMPTS_EACH  # In which it was published again, if it ever was.
    return epoch <= 1 or attempt >= epoch * _ATTEMPTS_EACH or attempt in known.over


def next_attempt(epoch: int, job_id: int, attempt: int) -> int:
    """The number after `attempt`, of a job that is tried again after its end.

    A job of an earlier life may have had more attempts there than its backup knows of.
    """
    of_this_life = job_id > last_id_before(epoch) or attempt >= epoch * _ATTEMPTS_EACH
    return attempt + 1 if of_this_life else attempt_in(epoch, attempt + 1)
