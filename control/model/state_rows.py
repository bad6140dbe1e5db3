"""Owns the shapes in which the state of runs and jobs leaves and enters the store.

The mutable ones are one transaction's working copies: read, decided upon, written back, dropped.
"""

import msgspec

from control.model.raw import NULL
from control.model.states import Outcome, Role, State


class ClientStanding(msgspec.Struct, frozen=True, kw_only=True):
    """What a client is now. `role` None: there is no such client (any more)."""

    client_id: str
    role: Role | None
    enabled: bool = True


class JobRow(msgspec.Struct, array_like=True):
    """A job's state. What never changes (name, stage, kind) is in its revision, by `idx`."""

    id: int
    idx: int
    state: State
    reason: str
    priority: int
    attempt: int
    failures: int = 0
    lost: int = 0
    worker: str | None = None
    partition: int | None = None
    progress: float | None = None
    error: str | None = None
    exit_code: int | None = None
    log_bytes: int = 0
    ready_ms: int | None = None  # None: it still waits for other jobs.
    delayed: bool = False  # A retry that is not due before `ready_ms`.
    started_ms: int | None = None
    finished_ms: int | None = None


class RunRow(msgspec.Struct, array_like=True):
    """A run's state with its jobs and what its client may do now."""

    id: int
    revision_id: int
    pipeline: str
    client: str
    client_priority: int
    max_running: int | None
    state: State
    reason: str
    priority: int
    trigger: str
    allowed_failures: int
    created_ms: int
    started_ms: int | None
    finished_ms: int | None
    deadline_ms: int | None
    schedule_id: int | None
    scheduled_for_ms: int | None
    depth: int
    root_run_id: int  # The run whose triggers led to this one; its own id where none did.
    # How it ends once its clean-up jobs have: "cancel" or "fail"; None: as its jobs do.
    ending: str | None
    jobs: list[JobRow]


class NewRun(msgspec.Struct, frozen=True, kw_only=True):
    """What is to become a run."""

    revision_id: int
    client: str
    client_priority: int
    max_running: int | None
    trigger: str
    created_ms: int
    priority: int | None = None  # None: the pipeline's.
    input: msgspec.Raw = NULL
    schedule_id: int | None = None
    scheduled_for_ms: int | None = None
    depth: int = 0
    root_run_id: int | None = None  # None: nothing triggered it.


class AttemptRow(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that another one follows."""

    job_id: int
    attempt: int
    outcome: Outcome
    worker: str | None
    partition: int | None
    error: str | None
    exit_code: int | None
    log_bytes: int
    started_ms: int | None
    finished_ms: int


class PlannedRun(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `scheduled_runs`: the nominal time, and when to start inside its window."""

    nominal_ms: int
    due_ms: int
    # An earlier `decide_due` let it wait: seen in time, so it is never counted as missed.
    waiting: bool = False
    backfill: bool = False  # A person asked for it later.


class Active(msgspec.Struct, frozen=True, kw_only=True):
    """The runs of a schedule that have not ended."""

    planned: tuple[int, ...] = ()
    asked: tuple[int, ...] = ()  # Started by hand.
    backfill: tuple[int, ...] = ()
