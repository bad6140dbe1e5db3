"""Owns the words for states, roles, triggers, and classes; no other module spells one."""

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where a job or a run stands. `DONE`, `CANCELLED`, and `ERROR` are final."""

    READY = "READY"
    IN_PROGRESS = "IN_PROGRESS"
    DONE = "DONE"
    CANCELLED = "CANCELLED"
    ERROR = "ERROR"


FINAL: Final = frozenset({State.DONE, State.CANCELLED, State.ERROR})


class Outcome(StrEnum):
    """How one attempt ended, as its worker or its dispatcher reports it."""

    DONE = "done"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    LOST = "lost"  # Its worker went away; costs no retry.


class When(StrEnum):
    """Which ends of the jobs before it let a job (or a triggered pipeline) start."""

    ON_SUCCESS = "on_success"
    ON_FAILURE = "on_failure"
    ALWAYS = "always"


class Trigger(StrEnum):
    """What made a run."""

    MANUAL = "manual"
    API = "api"
    SCHEDULE = "schedule"
    HOOK = "hook"
    PIPELINE = "pipeline"


class Role(StrEnum):
    """What a client may do; `control/api/auth/permissions.py` has the table."""

    ADMIN = "admin"
    OPERATOR = "operator"
    SUBMITTER = "submitter"
    VIEWER = "viewer"
    WORKER = "worker"


class Speed(StrEnum):
    """The class of a partition, and of a job by its learned expected duration."""

    SLOW = "slow"
    FAST = "fast"


class Missed(StrEnum):
    """What a schedule does about the nominal times that passed during an outage."""

    NONE = "none"
    LAST = "last"
    ALL = "all"


class Overlap(StrEnum):
    """What a schedule does when its earlier run has not ended at the next nominal time."""

    ALLOW = "allow"
    SKIP = "skip"
    QUEUE = "queue"
    REPLACE = "replace"


class Gap(StrEnum):
    """What happens to a nominal local time that the clocks jump over."""

    SKIP = "skip"
    NEXT = "next"


class Fold(StrEnum):
    """Which of the two instants of a repeated local time counts."""

    FIRST = "first"
    SECOND = "second"
    BOTH = "both"
