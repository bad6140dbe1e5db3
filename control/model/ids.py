"""Owns the types of the identifiers, so that a job's id is never passed where a run's is meant."""

from typing import NewType

RunId = NewType("RunId", int)
JobId = NewType("JobId", int)
ScheduleId = NewType("ScheduleId", int)
HookId = NewType("HookId", int)
RevisionId = NewType("RevisionId", int)

ClientId = NewType("ClientId", str)
WorkerId = NewType("WorkerId", str)
PipelineName = NewType("PipelineName", str)
