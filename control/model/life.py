"""What a state database says of the life of its data that it is in (`core/epochs.py`)."""

from collections.abc import Collection, Sequence

import msgspec


class DatabasePosition(msgspec.Struct, frozen=True):
    """How far a database has come: in which epoch it is, and how often it has committed."""

    epoch: int
    commits: int


class Life(msgspec.Struct, frozen=True):
    """The life that a database is in. `began_ms`: when it was restored; None: it never was.

    `last_run_id`, `last_job_id`: the last ones of the backup that began it. `jobs_to_publish`:
    whether the jobs that were open in it have to be published again.
    """

    epoch: int
    began_ms: int | None
    last_run_id: int
    last_job_id: int
    jobs_to_publish: bool


class KnownAttempts(msgspec.Struct, frozen=True):
    """Which attempt a job is at by the state, and which are recorded as over.

    `skipped`: the job was cancelled before the current one began.
    """

    current: int
    over: Collection[int]
    skipped: bool = False


class Lost(msgspec.Struct, frozen=True, kw_only=True):
    """Which facts a state database that was restored must not have. Attempts: job ids with numbers.

    Of an open job, the attempts before its last one were over when the backup was made.
    """

    last_job_id: int  # Of its backup.
    last_id: int  # Before the first one of its epoch.
    open_jobs: Sequence[tuple[int, int]]  # With their last attempts,
    counted: Sequence[tuple[int, int]]  # but for those that had ended, which the bus still knows.
    # Attempts of which the bus brings, or leads to, an end again: the job's without an attempt,
    skipped_again: Sequence[tuple[int, int]]
    ended_again: Sequence[tuple[int, int]]  # or a worker's;
    beyond: Sequence[tuple[int, int]]  # and those that its jobs have not come to.
    from_start: bool  # Whether the offsets of its bus have restarted.
