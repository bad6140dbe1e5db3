"""Decides what a run's messages and templates say about which run and job they are for."""

from control.core.runs.graph import Graph
from control.model.bus.job_identity import IdentityFields
from control.model.state_rows import JobRow, RunRow
from control.model.this import Subject


def identity_of(
    run: RunRow, graph: Graph, job: JobRow, attempt: int | None = None
) -> IdentityFields:
    """The identity of an attempt at a job; None: of its newest one."""
    spec = graph.pipeline.jobs[job.idx]
    return {
        "run_id": run.id,
        "job_id": job.id,
        "attempt": job.attempt if attempt is None else attempt,
        "pipeline": run.pipeline,
        "name": spec.name,
        "stage": spec.stage,
        "client": run.client,
        "kind": spec.kind,
        "version": spec.version,
    }


def subject_of(run: RunRow, graph: Graph, stage: str = "") -> Subject:
    """What `this` in a template says of a run; `stage`: of the job that has the template."""
    return Subject(
        pipeline=run.pipeline,
        stage=stage,
        trigger=run.trigger,
        created_ms=run.created_ms,
        revision=graph.revision,
        scheduled_ms=run.scheduled_for_ms,
    )
