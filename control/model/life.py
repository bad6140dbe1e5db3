"""What a state database says of the life of its data that it is in (`core/epochs.py`)."""

import msgspec


class Position(msgspec.Struct, frozen=True):
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
