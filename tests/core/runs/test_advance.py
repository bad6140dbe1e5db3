"""Decides that a run ends as its pipeline says, whatever happens to its jobs in which order."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.core.runs.expand import job_ready
from control.core.runs.lifecycle import LifecycleEvent
from control.core.runs.lost_records import Reach
from control.model import limits
from control.model.bus.messages import Started, Unstarted
from control.model.errors import Conflict, IllegalTransition
from control.model.pipelines import JobSpec
from control.model.states import FINAL, Outcome, State, When
from tests.core.runs.advancing import again, begin, end, job, names, result, row, start


def test_stages_run_one_after_the_other() -> None:
    step = start(job("a1"), job("a2"), job("b1", "b"))
    assert names(step, step.released) == ["a1", "a2"]
    assert step.waiting_delta == 3
    step = end(step, "a1")
    assert not step.released
    step = end(step, "a2")
    assert names(step, step.released) == ["b1"]
    step = end(step, "b1")
    assert step.ended
    assert step.run.state == State.DONE


def test_needs_replace_stages() -> None:
    step = start(job("a1"), job("a2"), job("b1", "b", needs=["a2"]), job("b2", "b", needs=[]))
    assert names(step, step.released) == ["a1", "a2", "b2"]
    step = end(step, "a2")
    assert names(step, step.released) == ["b1"]


def test_a_failure_skips_what_follows_and_runs_what_cleans_up() -> None:
    step = start(
        job("a1"),
        job("b1", "b"),
        job("rollback", "c", when="on_failure"),
        job("report", "c", when="always"),
        job("publish", "d"),
    )
    step = end(step, "a1", Outcome.FAILED)
    assert row(step, "b1").state == State.CANCELLED
    assert names(step, step.released) == ["rollback", "report"]
    step = end(end(step, "rollback"), "report")
    assert row(step, "publish").state == State.CANCELLED
    assert step.run.state == State.ERROR
    assert step.run.reason == "a1: exit code 1"


def test_what_runs_only_on_failure_stands_in_no_ones_way() -> None:
    step = start(job("a1"), job("rollback", "b", when="on_failure"), job("publish", "c"))
    step = end(step, "a1")
    assert row(step, "rollback").state == State.CANCELLED
    assert names(step, step.released) == ["publish"]
    assert end(step, "publish").run.state == State.DONE


def test_allowed_failures_are_counted() -> None:
    step = start(job("lint", allow_failure=True), job("b1", "b"))
    step = end(step, "lint", Outcome.FAILED)
    assert names(step, step.released) == ["b1"]
    step = end(step, "b1")
    assert (step.run.state, step.run.allowed_failures) == (State.DONE, 1)


def test_a_retry_waits_longer_each_time_and_keeps_the_old_attempt() -> None:
    step = start(job("a1", retry_attempt=2, retry_delay=10))
    step = end(step, "a1", Outcome.TIMED_OUT)
    found = row(step, "a1")
    assert (found.state, found.attempt, found.ready_ms) == (State.READY, 2, 12_000)
    assert step.archived[0].outcome == Outcome.TIMED_OUT
    again(step, 12_000).release_due()
    step = end(step, "a1", Outcome.FAILED)
    assert row(step, "a1").ready_ms == 22_000
    again(step, 22_000).release_due()
    step = end(step, "a1", Outcome.FAILED)
    assert row(step, "a1").state == State.ERROR
    assert step.run.state == State.ERROR


def test_what_would_fail_again_is_not_retried() -> None:
    step = again(start(job("a1", retry_attempt=2)))
    failed = result(step, "a1", Outcome.FAILED)
    assert step.finished(msgspec.structs.replace(failed, final=True), jitter=0.0)
    assert row(step, "a1").state == State.ERROR


def test_a_lost_worker_costs_no_retry_up_to_a_cap() -> None:
    step = start(job("a1"))
    for lost in range(1, limits.ATTEMPT_LOST_MAX):
        step = end(step, "a1", Outcome.LOST)
        assert (row(step, "a1").state, row(step, "a1").attempt) == (State.READY, lost + 1)
    step = end(step, "a1", Outcome.LOST)
    assert row(step, "a1").state == State.ERROR
    assert "lost its worker 5 times" in row(step, "a1").reason


def test_late_and_second_results_are_refused() -> None:
    step = again(start(job("a1", retry_attempt=1), job("a2")))
    late = result(step, "a1", Outcome.FAILED)
    assert step.finished(late, jitter=0.0)
    assert not step.finished(late, jitter=0.0)
    assert step.finished(result(step, "a1"), jitter=0.0)
    assert not step.finished(result(step, "a1"), jitter=0.0)
    assert row(step, "a1").state == State.DONE


def test_cancelling_stops_what_runs_and_skips_the_rest() -> None:
    step = again(start(job("a1"), job("b1", "b")))
    found = row(step, "a1")
    began = Started(run_id=7, job_id=found.id, attempt=1, worker="w", partition=0, started_ms=1_500)
    assert step.started(began)
    step = again(step)
    step.cancel("by ann")
    assert names(step, step.stopped) == ["a1"]
    assert names(step, step.skipped) == ["b1"]
    assert step.run.state == State.CANCELLED
    assert not again(step).started(began)
    with pytest.raises(Conflict, match="CANCELLED already"):
        again(step).cancel("again")


def test_a_timed_out_run_is_an_error() -> None:
    step = again(start(job("a1"), timeout=5))
    assert step.run.deadline_ms == 6_000
    step.time_out()
    assert (step.run.state, row(step, "a1").state) == (State.ERROR, State.CANCELLED)
    assert "time-out of 5 s" in step.run.reason


def test_a_retry_by_hand_takes_only_what_failed() -> None:
    step = start(job("a1"), job("a2"), job("b1", "b"))
    step = end(end(step, "a1"), "a2", Outcome.FAILED)
    assert step.run.state == State.ERROR
    step = again(step)
    step.retry()
    step.settle()
    assert names(step, step.released) == ["a2"]
    assert row(step, "a2").attempt == 2
    assert row(step, "a1").state == State.DONE
    assert end(end(step, "a2"), "b1").run.state == State.DONE
    with pytest.raises(Conflict, match="nothing to retry"):
        again(step).retry()


def test_a_run_that_went_well_is_not_retried_for_what_it_skipped() -> None:
    # Its end would be written again, and what it triggers would start a second time.
    step = end(start(job("a1"), job("b1", "b", when="on_failure")), "a1")
    assert (step.run.state, row(step, "b1").state) == (State.DONE, State.CANCELLED)
    with pytest.raises(Conflict, match="nothing to retry"):
        again(step).retry()
    allowed = end(start(job("a1", allow_failure=True)), "a1", Outcome.FAILED)
    with pytest.raises(Conflict, match="nothing to retry"):
        again(allowed).retry()


def test_each_end_of_a_job_has_an_attempt_of_its_own() -> None:
    step = end(start(job("a1"), job("b1", "b")), "a1", Outcome.FAILED)
    assert row(step, "b1").attempt == 1  # Skipped: that is this attempt's final fact.
    step = again(step)
    step.retry()
    assert row(step, "b1").attempt == 2


@st.composite
def pipelines(draw: st.DrawFn) -> list[JobSpec]:
    count = draw(st.integers(1, 7))
    stages = sorted(draw(st.lists(st.sampled_from("abc"), min_size=count, max_size=count)))
    made = []
    for at, stage in enumerate(stages):
        before = [f"j{other}" for other in range(at)]
        needs = draw(st.none() | st.lists(st.sampled_from(before or ["-"]), unique=True))
        made.append(
            job(
                f"j{at}",
                stage,
                needs=needs if before or not needs else None,
                when=draw(st.sampled_from(list(When))),
                allow_failure=draw(st.booleans()),
                retry_attempt=draw(st.integers(0, 1)),
            )
        )
    return made


@given(jobs=pipelines(), data=st.data())
def test_every_run_ends_and_the_counts_add_up(jobs: list[JobSpec], data: st.DataObject) -> None:
    step = start(*jobs)
    waiting = step.waiting_delta
    ready = list(step.released)
    for _ in range(200):
        if step.run.state in FINAL:
            break
        assert ready, "a run that has not ended has something to run"
        found = ready.pop(data.draw(st.integers(0, len(ready) - 1)))
        outcome = data.draw(st.sampled_from(list(Outcome)))
        name = step.graph.pipeline.jobs[found.idx].name
        final_before = {r.id: r.state for r in step.run.jobs if r.state in FINAL}
        step = again(step)
        assert step.finished(result(step, name, outcome), jitter=0.0)
        step.settle()
        ready += step.released
        waiting += step.waiting_delta
        assert waiting == sum(r.state == State.READY for r in step.run.jobs)
        for known in step.run.jobs:
            assert final_before.get(known.id, known.state) == known.state
    assert step.run.state in FINAL
    assert all(found.state in FINAL for found in step.run.jobs)
    assert waiting == 0


def test_an_illegal_move_changes_nothing() -> None:
    step = end(start(job("a1")), "a1")
    before = msgspec.json.encode(step.run)
    with pytest.raises(IllegalTransition):
        step._move(row(step, "a1"), LifecycleEvent.START, "no")  # noqa: SLF001
    assert msgspec.json.encode(step.run) == before


def test_a_job_says_how_many_stages_its_run_still_has() -> None:
    """The balancer orders by what is left of a run, so the message must tell it."""
    step = start(job("first", "a"), job("second", "b", needs=[]), job("third", "c", needs=[]))
    said = [job_ready(step.run, step.graph, each, msgspec.Raw(b"{}")) for each in step.run.jobs]
    assert [each.stages_left for each in said] == [3, 2, 1]


def test_jobs_whose_records_are_gone_get_a_new_attempt_and_the_old_one_is_stopped() -> None:
    step = start(job("waits"), job("runs"), job("later", "b"), job("retries", retry_attempt=1))
    step = again(step)
    for name in ("runs", "retries"):
        step.started(begin(step, name))
    step.finished(result(step, "retries", Outcome.FAILED), jitter=0.0)
    step = again(step)
    step.publish_again(Reach.WAITING)
    assert [each.idx for each in step.released] == [0, 3]
    assert row(step, "waits").attempt == 2
    assert row(step, "runs").state == State.IN_PROGRESS
    assert [(each.job_id, each.attempt) for each in step.superseded] == [(100, 1), (103, 2)]

    step = again(step)
    step.publish_again(Reach.BEGUN)
    running = row(step, "runs")
    assert (running.state, running.attempt, running.worker) == (State.READY, 2, None)
    assert [(each.job_id, each.outcome) for each in step.archived] == [(101, Outcome.LOST)]
    assert row(step, "later").attempt == 1  # It waits for others, and was nowhere.
    assert running.lost == 0  # No worker was.
    before = result(step, "runs")
    assert not again(step).finished(msgspec.structs.replace(before, attempt=1), jitter=0.0)
    for name in ("waits", "runs", "retries", "later"):
        step = end(step, name)
    assert step.run.state == State.DONE


def test_an_attempt_that_did_not_begin_after_all_waits_again() -> None:
    step = start(job("a1"))
    step.settle()
    at = row(step, "a1")

    def began(worker: str) -> Started:
        return Started(
            run_id=7, job_id=at.id, attempt=1, worker=worker, partition=0, started_ms=1_500
        )

    step = again(step)
    assert step.started(began("w1"))
    waiting = step.waiting_delta
    late = Unstarted(run_id=7, job_id=at.id, attempt=1, worker="w0", reason="no disk")
    step.unstarted(late)
    assert at.state == State.IN_PROGRESS
    step.unstarted(msgspec.structs.replace(late, worker="w1"))
    assert (at.state, at.worker, at.started_ms, at.attempt) == (State.READY, None, None, 1)
    assert at.reason == "worker w1 could not start it: no disk; waits for a free slot"
    assert (at.failures, at.lost, step.waiting_delta) == (0, 0, waiting + 1)
    assert not step.released  # Whoever got it back has put it on its way already.
    assert step.started(began("w2"))
    assert at.worker == "w2"
