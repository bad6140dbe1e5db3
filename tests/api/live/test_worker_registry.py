"""Holds what is told of workers to what they are, whatever jobs they are given and end."""

from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from control.api.live.activity import Notes
from control.api.live.worker_registry import Crew
from control.model.api.fleet import WorkerView
from control.model.bus.messages import WorkerDown, WorkerQuiet
from control.model.numbers import JobId
from tests.api.live.test_projection import HOLD, PLACED, STARTED, WORKER
from tests.api.serving import NOW_MS

_WORKERS = ("w1", "w2", "w3")
_STEPS = st.tuples(
    st.sampled_from(("up", "holds", "quiet", "down", "place", "start", "end", "take", "join")),
    st.sampled_from(_WORKERS),
    st.integers(1, 4),
)


def _crew() -> Crew:
    crew = Crew(Notes(NOW_MS), lambda: NOW_MS)
    crew.listening = True
    for name in _WORKERS:
        crew.worker_up(replace(WORKER, worker=name))
    return crew


def _place(crew: Crew, worker: str, job_id: int, attempt: int = 1) -> None:
    job = replace(PLACED.job, job_id=job_id, attempt=attempt)
    crew.placed(replace(PLACED, worker=worker, job=job))


def _tell(crew: Crew, pictures: list[dict[str, WorkerView]]) -> None:
    told, _ = crew.take_workers()
    for picture in pictures:
        picture.update((each.id, each) for each in told)


@given(st.lists(_STEPS, max_size=40))
@example(
    [
        ("place", "w1", 1),
        ("take", "w1", 1),
        ("place", "w2", 1),
        ("take", "w1", 1),
        ("place", "w1", 2),
        ("end", "w1", 2),
    ]
)
def test_who_hears_all_that_is_told_knows_every_worker_as_it_is(
    steps: list[tuple[str, str, int]],
) -> None:
    crew = _crew()
    attempts: dict[int, int] = {}
    pictures: list[dict[str, WorkerView]] = [{}]
    _tell(crew, pictures)
    for step, worker, job_id in steps:
        attempt = attempts.setdefault(job_id, 1)
        match step:
            case "up":
                crew.worker_up(replace(WORKER, worker=worker, slots=job_id))
            case "holds":
                hold = replace(HOLD, job_id=job_id, attempt=attempt)
                crew.worker_up(replace(WORKER, worker=worker, holds=(hold,)))
            case "quiet":
                since_ms = NOW_MS if job_id % 2 else None
                crew.quiet(WorkerQuiet(worker=worker, dispatcher="d1", since_ms=since_ms))
            case "down":
                crew.worker_down(
                    WorkerDown(worker=worker, dispatcher="d1", reason="it was told to")
                )
            case "place":
                _place(crew, worker, job_id, attempt)
            case "start":
                crew.started(replace(STARTED, worker=worker, job_id=job_id, attempt=attempt))
            case "end":
                crew.ended(JobId(job_id), attempt)
                attempts[job_id] += 1
            case "take":
                _tell(crew, pictures)
            case _:
                crew.tell_anew()
                pictures.append({each.id: each for each in crew.workers()})
    _tell(crew, pictures)
    truth = {each.id: each for each in crew.workers()}
    assert all(picture == truth for picture in pictures)


def test_who_was_idle_and_is_again_is_not_told_of() -> None:
    crew = _crew()
    crew.take_workers()
    _place(crew, "w1", 1)
    _place(crew, "w2", 2)
    crew.ended(JobId(1), 1)
    assert [each.id for each in crew.take_workers()[0]] == ["w2"]
    crew.ended(JobId(2), 1)
    assert [each.id for each in crew.take_workers()[0]] == ["w2"]
    assert crew.take_workers() == ([], [])


def _crew_of_one() -> Crew:
    crew = _crew()
    _place(crew, "w1", 1)
    return crew


def _running(crew: Crew) -> list[int]:
    return [each.job_id for worker in crew.workers() for each in worker.running]


def test_a_job_that_came_back_is_nobodys_in_whichever_order_it_is_told() -> None:
    back = replace(PLACED.job, job_id=1, returned=1)
    crew = _crew_of_one()
    crew.ready(replace(PLACED.job, job_id=1))  # As it was first, but read late.
    assert _running(crew) == [1]
    crew.ready(back)
    assert _running(crew) == []
    crew.placed(replace(PLACED, worker="w2", job=back))
    crew.ready(back)
    assert _running(crew) == [1]
    late = _crew()
    late.ready(back)
    _place(late, "w1", 1)
    assert _running(late) == []


def test_a_worker_that_fell_silent_and_moved_is_silent_no_more() -> None:
    """Its new dispatcher hears it, and has no reason to say so."""
    crew = _crew()
    crew.quiet(WorkerQuiet(worker="w1", dispatcher=WORKER.dispatcher, since_ms=NOW_MS))
    assert [each.id for each in crew.workers() if each.silent_since] == ["w1"]
    moved = replace(WORKER, worker="w1", dispatcher="d2", connected_ms=WORKER.connected_ms + 1)
    crew.worker_up(moved)
    assert [each.id for each in crew.workers() if each.silent_since] == []
