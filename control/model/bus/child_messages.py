"""Owns what is written to the bus of jobs that are runs of other pipelines (*child runs*)."""

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta, Raw

from control.model.bus.job_identity import AttemptMessage, JobIdentity
from control.model.numbers import Instant
from control.model.raw import null
from control.model.states import Outcome


class StartChild(AttemptMessage, frozen=True, kw_only=True, tag="start_child"):
    """A job that is a run of another pipeline may start; the trigger starts that run.

    `input` as of `JobReady`. `ended_attempt`: the last one of which an end is known; 0: none.
    """

    pipeline: str
    name: str
    kind: str
    client: str
    input: Raw
    ended_attempt: Annotated[int, Meta(ge=0)] = 0


class StopChild(AttemptMessage, frozen=True, kw_only=True, tag="stop_child"):
    """A job that is a run of another pipeline was cancelled, so that run is."""

    pipeline: str
    name: str
    kind: str
    client: str
    reason: str


class ChildEnded(JobIdentity, frozen=True, kw_only=True, tag="child_ended"):
    """How an attempt at a job ended that is a run of another pipeline. It had no worker."""

    worker: ClassVar[None] = None
    partition: ClassVar[None] = None
    speed: ClassVar[None] = None
    expected: ClassVar[None] = None
    exit_code: ClassVar[None] = None
    log_bytes: ClassVar[int] = 0

    outcome: Outcome
    final: bool
    ready_ms: Instant
    started_ms: Instant
    finished_ms: Instant
    error: str | None = None
    output: Raw = msgspec.field(default_factory=null)

    @property
    def wait_seconds(self) -> float:
        """From when the job might start until its child run was there."""
        return (self.started_ms - self.ready_ms) / 1000

    @property
    def duration_seconds(self) -> float:
        """From then until its end."""
        return (self.finished_ms - self.started_ms) / 1000


ChildMessage = StartChild | StopChild | ChildEnded
