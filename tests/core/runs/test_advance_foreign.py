"""Decides that what is reported of a job's attempt counts only if it can be of that attempt."""

import msgspec
import pytest

from control.model.errors import NotFound
from control.model.numbers import JobId
from control.model.states import Outcome, State
from tests.core.runs.advancing import again, begin, end, job, result, row, start


def test_a_job_of_another_run_is_not_one_of_the_first_from_the_end() -> None:
    step = again(start(job("a"), job("b")))
    for job_id in (99, 102, 98, 2**53):
        with pytest.raises(NotFound, match=f"job {job_id} is not of run 7"):
            step.job(JobId(job_id))


@pytest.mark.parametrize("field", ["pipeline", "name", "kind", "client"])
def test_a_result_of_another_job_with_the_same_ids_is_foreign(field: str) -> None:
    """Another installation on the same topics numbers its jobs as this one does."""
    step = again(start(job("a1")))
    other = msgspec.structs.replace(result(step, "a1"), **{field: "other"})
    with pytest.raises(NotFound, match=f"{field} 'other', and job 100 has"):
        step.finished(other, jitter=0.0)
    assert not step.changed
    assert end(step, "a1").run.state == State.DONE


def test_a_job_that_was_not_published_neither_begins_nor_ends() -> None:
    step = again(start(job("a1", retry_attempt=1, retry_delay=10), job("b1", "b")))
    assert not step.started(begin(step, "b1"))
    assert not step.finished(result(step, "b1"), jitter=0.0)
    step = end(step, "a1", Outcome.FAILED)
    assert row(step, "a1").delayed
    assert not step.started(begin(step, "a1"))
    assert not step.finished(result(step, "a1"), jitter=0.0)
    assert row(step, "b1").state == row(step, "a1").state == State.READY


def test_no_attempt_begins_before_its_job_was_ready() -> None:
    step = again(start(job("a1"), job("a2")))
    early = msgspec.structs.replace(begin(step, "a1"), started_ms=10)
    assert step.started(early)
    ended = msgspec.structs.replace(result(step, "a2"), started_ms=10, finished_ms=20)
    assert step.finished(ended, jitter=0.0)
    a1, a2 = row(step, "a1"), row(step, "a2")
    assert (a1.started_ms, a2.started_ms, a2.finished_ms) == (1_000, 1_000, 1_000)
