"""Decides that recorded attempts are played again in the order and at the times they came."""

from hypothesis import given
from hypothesis import strategies as st

from control.core.simulation.replay_history import PastAttempt, played_jobs
from control.model.numbers import JobId, RunId
from control.model.states import Outcome


def past(
    job_id: int,
    ready_ms: int,
    seconds: float | None,
    *,
    run_id: int = 1,
    attempt: int = 1,
    stage: str = "s",
    outcome: Outcome = Outcome.DONE,
    final: bool = True,
    finished_ms: int | None = None,
) -> PastAttempt:
    ended_ms = ready_ms + round(1000 * (seconds or 0))
    return PastAttempt(
        run_id=RunId(run_id),
        job_id=JobId(job_id),
        attempt=attempt,
        pipeline="p",
        job=f"j{job_id}",
        stage=stage,
        client="ann",
        outcome=outcome,
        final=final,
        ready_ms=ready_ms,
        duration_seconds=seconds,
        finished_ms=ended_ms if finished_ms is None else finished_ms,
    )


def test_nothing_is_nothing() -> None:
    assert played_jobs([]) == []
    assert played_jobs([past(1, 0, None, outcome=Outcome.CANCELLED)]) == []


def test_the_first_comes_at_0_s_and_the_others_after_it() -> None:
    found = played_jobs([past(2, 9_500, 0.25, run_id=2), past(1, 8_000, 3.0)])
    assert [(job.run, job.at_s, job.arrival_s, job.after) for job in found] == [
        (1, 0.0, 0.0, None),
        (2, 1.5, 1.5, None),
    ]
    assert [(job.pipeline, job.name, job.client, job.seconds) for job in found] == [
        ("p", "j1", "ann", 3.0),
        ("p", "j2", "ann", 0.25),
    ]


def test_a_stage_follows_the_job_whose_end_let_it_begin() -> None:
    found = played_jobs(
        [
            past(1, 0, 2.0, stage="build"),
            past(2, 0, 5.0, stage="build"),
            past(3, 5_001, 1.0, stage="test"),
            past(4, 5_001, 1.0, stage="test"),
            past(5, 6_001, 1.0, stage="ship"),
        ]
    )
    assert [job.after for job in found] == [None, None, 1, 1, 3]
    assert [job.stages_left for job in found] == [3, 3, 2, 2, 1]
    assert {job.arrival_s for job in found} == {0.0}


def test_what_is_ready_while_nothing_has_ended_comes_by_itself() -> None:
    found = played_jobs([past(1, 0, 9.0), past(2, 1_000, 1.0)])
    assert [job.after for job in found] == [None, None]


def test_jobs_that_arrive_with_their_run_follow_nobody() -> None:
    # The first ended within the millisecond in which both became ready.
    found = played_jobs([past(1, 0, 0.0), past(2, 0, 1.0)])
    assert [job.after for job in found] == [None, None]


def test_an_attempt_follows_the_one_before_it() -> None:
    found = played_jobs(
        [
            past(1, 0, 1.0, outcome=Outcome.FAILED, final=False),
            past(2, 0, 3.0),
            past(1, 4_000, 1.0, attempt=2),
            past(3, 5_000, 1.0, stage="t"),
        ]
    )
    assert [(job.after, job.fails) for job in found] == [
        (None, True),
        (None, False),
        (0, False),
        (2, False),
    ]


def test_what_was_lost_with_its_worker_runs_once_and_from_the_start() -> None:
    found = played_jobs(
        [
            past(1, 0, 0.0, outcome=Outcome.LOST, final=False, finished_ms=4_000),
            past(1, 4_000, 2.0, attempt=2),
        ]
    )
    assert [(job.at_s, job.seconds, job.after, job.fails) for job in found] == [
        (0.0, 2.0, None, False)
    ]


@given(
    st.lists(
        st.tuples(
            st.integers(1, 3),
            st.integers(1, 4),
            st.integers(0, 9),
            st.integers(0, 9),
            st.booleans(),
        )
    )
)
def test_what_a_job_follows_is_earlier_whatever_the_rows(
    rows: list[tuple[int, int, int, int, bool]],
) -> None:
    attempts = [
        past(job, ready, 0.001, run_id=run, attempt=place, final=final, finished_ms=ended)
        for place, (run, job, ready, ended, final) in enumerate(rows)
    ]
    found = played_jobs(attempts)
    assert len(found) == len(rows)
    assert [job.at_s for job in found] == sorted(job.at_s for job in found)
    for place, job in enumerate(found):
        assert job.stages_left >= 1
        assert job.arrival_s <= job.at_s
        if job.after is not None:
            assert job.after < place
            assert found[job.after].run == job.run
