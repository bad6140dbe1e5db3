"""Decides that states, groups of jobs, time steps, and critical paths are told rightly."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.model.api.views import JobView
from control.model.states import State
from tests.tui.samples import NOW, a_job, a_run, a_stage, at
from tui.core.axis_ticks import step_of, written
from tui.core.critical_path import critical_path
from tui.core.spans import paragraph
from tui.core.state_symbols import STATE_SIGNS, done_of, look_of, stage_signs, together
from tui.core.tables.cells import Scale, blank, joined, paint
from tui.core.tables.groups import grouped, shown_part
from tui.core.timestamps import instant, jobs_seconds, run_seconds, zone_of

STAGES = ["build", "test", "publish"]


def test_every_state_has_a_sign_of_its_own() -> None:
    assert set(STATE_SIGNS) == set(State)
    assert len(set(STATE_SIGNS.values())) == len(State)
    assert all(look_of(state) for state in State)


@pytest.mark.parametrize(
    ("counts", "state"),
    [
        ({}, State.READY),
        ({State.READY: 2}, State.READY),
        ({State.DONE: 1, State.READY: 2}, State.IN_PROGRESS),
        ({State.DONE: 1, State.IN_PROGRESS: 2, State.ERROR: 0}, State.IN_PROGRESS),
        ({State.IN_PROGRESS: 2, State.ERROR: 1}, State.ERROR),
        ({State.DONE: 3}, State.DONE),
        ({State.CANCELLED: 3}, State.CANCELLED),
        ({State.CANCELLED: 1, State.DONE: 3}, State.CANCELLED),
    ],
)
def test_jobs_together(counts: dict[State, int], state: State) -> None:
    assert together(counts) is state


def test_a_run_in_signs() -> None:
    run = a_run(
        stages=[
            a_stage("a", {State.DONE: 3}),
            a_stage("b", {State.DONE: 1, State.READY: 4}),
            a_stage("c", {State.READY: 2}),
        ]
    )
    assert "".join(text for text, _ in stage_signs(run)) == "✓●○"
    assert done_of(run) == (4, 10)


def finished(job_id: int, stage: str, ready: float, started: float, ended: float) -> JobView:
    return a_job(job_id, f"job-{job_id}", stage, ready=ready, started=started, finished=ended)


def test_the_path_goes_back_from_what_is_under_way() -> None:
    jobs = [
        finished(1, "build", -100, -99, -80),
        finished(2, "build", -100, -98, -60),
        finished(3, "test", -60, -58, -30),
        a_job(4, "slow", "test", ready=-60, started=-50),
        a_job(5, "later", "publish"),
    ]
    assert critical_path(jobs, STAGES) == [2, 4]


def test_the_path_goes_back_from_the_last_end() -> None:
    jobs = [
        finished(1, "build", -100, -99, -60),
        finished(2, "build", -100, -98, -80),
        finished(3, "test", -60, -58, -30),
        finished(4, "test", -60, -58, -40),
        finished(5, "publish", -30, -29, -10),
    ]
    assert critical_path(jobs, STAGES) == [1, 3, 5]
    assert critical_path([], STAGES) == []
    assert critical_path(jobs, []) == []


def test_what_waits_for_a_slot_holds_the_run_up_too() -> None:
    jobs = [finished(1, "build", -100, -99, -60), a_job(2, "waits", "test", ready=-60)]
    assert critical_path(jobs, STAGES) == [1, 2]


@given(st.lists(st.tuples(st.integers(0, 2), *[st.integers(0, 50)] * 3), max_size=12))
def test_a_path_is_a_chain(found: list[tuple[int, int, int, int]]) -> None:
    jobs = {
        job_id: finished(
            job_id, STAGES[stage], ready - 200, ready + wait - 200, ready + wait + work - 200
        )
        for job_id, (stage, ready, wait, work) in enumerate(found)
    }
    path = critical_path(list(jobs.values()), STAGES)
    assert bool(path) == bool(jobs)
    for before, after in pairwise(jobs[job_id] for job_id in path):
        assert STAGES.index(before.stage) < STAGES.index(after.stage)
        assert (instant(before.finished_at) or 0) <= (instant(after.ready_at) or 0)


def test_jobs_share_rows_only_where_there_are_too_few() -> None:
    jobs = [a_job(number, f"unit-{number:02}", "test") for number in range(20)]
    jobs.append(a_job(40, "lint", "test"))
    assert [group.label for group in grouped(jobs, 21, None)][:2] == ["unit-00", "unit-01"]
    assert [group.label for group in grouped(jobs, 20, None)] == ["unit ×20", "lint"]
    labels = [group.label for group in grouped(jobs, 5, 7)]
    assert labels == ["unit ×19", "unit-07", "lint"]


def test_names_of_digits_stay_as_they_are() -> None:
    jobs = [a_job(number, str(number), "test") for number in range(3)]
    jobs += [a_job(9, "only-1", "test")]
    assert [group.label for group in grouped(jobs, 1, None)] == ["0", "1", "2", "only-1"]


@given(st.integers(0, 50), st.integers(-2, 60), st.data())
def test_the_chosen_row_is_shown(count: int, room: int, data: st.DataObject) -> None:
    chosen = data.draw(st.none() | st.integers(0, count - 1)) if count else None
    part = shown_part(count, room, chosen)
    assert len(part) == min(max(room, 0), count)
    assert part.start >= 0
    assert part.stop <= count
    assert chosen is None or not part or chosen in part


def test_steps_of_an_axis() -> None:
    assert [step_of(value) for value in (0.0, 0.3, 7, 61, 100_000, 500_000)] == [
        *(0.1, 0.5, 10, 120, 172_800, 518_400)
    ]
    shown = [written(value) for value in (0, 0.5, 30, 60, 90, 5400, 172_800)]
    assert shown == ["0s", "0.5s", "30s", "1m", "1m30s", "1h30m", "2d"]


def test_cells() -> None:
    scale = Scale(begin_ms=0, end_ms=100, cells=10)
    assert [scale.cell(value) for value in (-1, 0, 9, 10, 100)] == [-1, 0, 0, 1, 10]
    assert [scale.at(cell) for cell in (0, 3, 10)] == [0, 30, 100]
    row = blank(4)
    paint(row, -5, 2, "x", "good")
    paint(row, 3, 99, "y")
    assert joined(row) == (("xx", "good"), (" y", ""))


def test_moments() -> None:
    assert instant("nonsense") is None
    assert instant(None) is None
    assert run_seconds(a_run(), NOW) == 252
    assert run_seconds(a_run(started_at=None), NOW) is None
    assert run_seconds(a_run(finished_at=at(-52)), NOW) == 200
    jobs = [finished(1, "build", -100, -90, -60), finished(2, "build", -100, -80, -50)]
    assert jobs_seconds(jobs, NOW) == 40
    assert jobs_seconds([*jobs, a_job(3, "c", "build", ready=-9, started=-5)], NOW) == 90
    assert jobs_seconds([a_job(3, "c", "build", ready=-9)], NOW) is None
    assert str(zone_of("Europe/Paris")) == "Europe/Paris"


def test_a_paragraph_has_whole_words_and_an_end() -> None:
    def rows(text: str, width: int) -> list[str]:
        return ["".join(piece for piece, _ in spans) for spans in paragraph(text, width)]

    assert rows("nothing needs your attention", 16) == ["  nothing needs", "  your", "  attention"]
    assert rows("語" * 10, 11) == ["  " + "語" * 4, "  " + "語" * 4, "  " + "語" * 2]
    assert len(rows("x" * 10**6, 20)) <= 13
    assert rows("", 20) == ["  "]
