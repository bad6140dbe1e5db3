"""Decides which released jobs may run now, and the input that each of them gets.

A job whose input would be too large fails here, before any of it is read.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from control.core.runs.advance import Advance
from control.core.runs.expand import ended_state, job_input, released
from control.model import limits
from control.model.bus.records import Record
from control.model.raw import NULL
from control.model.state_rows import JobRow

OUTPUTS_ALWAYS_FIT: Final = limits.JOB_INPUT_BYTES_MAX // limits.OUTPUT_BYTES_MAX
"""So many outputs fit into one input, however large each of them is."""

_NULL: Final = bytes(NULL)


class DueJob(NamedTuple):
    """A job that may run, its run, and the indexes of the jobs that it has waited for."""

    step: Advance
    job: JobRow
    before: tuple[int, ...]

    @property
    def predecessors(self) -> list[int]:
        """The ids of the jobs that it has waited for."""
        return [self.step.run.jobs[at].id for at in self.before]


def due_jobs(steps: Iterable[Advance], published: Container[int]) -> list[DueJob]:
    """The released jobs that may run now; `published`: ids of those that were handed over."""
    return [
        DueJob(step, job, step.graph.before(job.idx))
        for step in steps
        for job in step.released
        if not job.delayed and job.id not in published
    ]


def of_unknown_size(due: Iterable[DueJob]) -> set[int]:
    """The ids of the jobs whose outputs' sizes must be known before the outputs are read."""
    return {
        job_id
        for each in due
        if len(each.before) > OUTPUTS_ALWAYS_FIT
        for job_id in each.predecessors
    }


def without_too_large(due: Sequence[DueJob], sizes: Mapping[int, int]) -> list[DueJob]:
    """Those whose outputs fit; the others fail. `sizes`: bytes of an output, by job id."""
    fits: list[DueJob] = []
    for each in due:
        if sum(sizes.get(job_id, 0) for job_id in each.predecessors) > limits.JOB_INPUT_BYTES_MAX:
            _fail_too_large(each)
        else:
            fits.append(each)
    return fits


def record_of(
    due: DueJob,
    *,
    run_input: bytes,
    outputs: Mapping[int, bytes],
    installation: str,
    ended_attempt: int,
) -> Record | None:
    """The message that lets a job run, with its input; None: that is too large, and it fails.

    `outputs`: JSON by job id. `installation`, `ended_attempt`: as for `expand.job_ready`.
    """
    jobs, specs = due.step.run.jobs, due.step.graph.pipeline.jobs
    known = {specs[at].name: outputs.get(jobs[at].id, _NULL) for at in due.before}
    states = {specs[at].name: ended_state(jobs[at]) for at in due.before}
    value = job_input(run_input, known, states)
    if len(bytes(value)) > limits.JOB_INPUT_BYTES_MAX:
        _fail_too_large(due)
        return None
    return released(due.step, due.job, value, installation, ended_attempt)


def _fail_too_large(due: DueJob) -> None:
    allowed = limits.JOB_INPUT_BYTES_MAX // limits.MIB
    reason = f"the outputs it waited for are more than {allowed} MiB together"
    due.step.fail_unstarted(due.job, reason)
    due.step.settle()
