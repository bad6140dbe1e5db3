"""Owns the fields with which every message about one attempt at a job begins."""

from typing import TypedDict

from control.model.bus.reports import Versioned
from control.model.numbers import Attempt, Id


class IdentityFields(TypedDict):
    """The fields of `JobIdentity`, to be passed on: `Finished(**job.identity(), …)`."""

    run_id: int
    job_id: int
    attempt: int
    pipeline: str
    name: str
    stage: str
    client: str
    kind: str
    version: str


class AttemptMessage(Versioned, frozen=True, kw_only=True):
    """A message about one attempt at one job of one run."""

    run_id: Id
    job_id: Id
    attempt: Attempt


class JobIdentity(AttemptMessage, frozen=True, kw_only=True):
    """Which attempt at which job of which run, whose it is, and the version of its kind.

    `name`: of the job in its pipeline. `client`: the owner of the run.
    """

    pipeline: str
    name: str
    stage: str
    client: str
    kind: str
    version: str

    def identity(self) -> IdentityFields:
        """The identity alone, for another message about the same attempt."""
        return {
            "run_id": self.run_id,
            "job_id": self.job_id,
            "attempt": self.attempt,
            "pipeline": self.pipeline,
            "name": self.name,
            "stage": self.stage,
            "client": self.client,
            "kind": self.kind,
            "version": self.version,
        }
