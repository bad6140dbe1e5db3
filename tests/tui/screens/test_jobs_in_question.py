"""Decides which job `x` explains, and `l` shows the log of, on the overview and among runs."""

from typing import Any

import pytest
from textual.pilot import Pilot

from control.model.api.explanation import Explanation
from control.model.api.views import Page
from control.model.states import Speed, State
from tests.tui.samples import (
    a_group,
    a_job,
    a_partition,
    a_run,
    a_running,
    a_worker,
    some_counts,
    some_queues,
)
from tests.tui.sources import Canned, Hand, drawn, drive, press, snapshot, until
from tui.app import Console
from tui.core.alerts import job_of
from tui.core.worst import worst
from tui.screens.run import RunDetail
from tui.screens.text_screens import Explained
from tui.widgets.table import Table


def _source() -> Canned:
    jobs = [
        a_job(7, "one", "build", state=State.DONE, ready=-9),
        a_job(8, "two", "build", state=State.ERROR, ready=-9),
    ]
    return Canned(
        snapshot(
            runs=[a_run(id=90412)],
            counts=some_counts(),
            workers=[a_worker(running=[a_running(81190)])],
        ),
        answers={
            "/v1/queues": some_queues(a_group(job_id=55, reason="no free slot")),
            "/v1/runs": Page(items=[a_run(id=90412)]),
            "/v1/runs/90412": a_run(id=90412),
            "/v1/runs/90412/jobs": Page(items=jobs),
            "/v1/jobs/81190": a_job(81190, "two", "build", run_id=90412, ready=-9),
            "/v1/jobs/8/explain": Explanation(reason="two failed", steps=[]),
            "/v1/jobs/55/explain": Explanation(reason="fifty-five waits", steps=[]),
            "/v1/jobs/81190/explain": Explanation(reason="the slow one", steps=[]),
        },
    )


@pytest.mark.parametrize(
    ("view", "pane", "words"),
    [
        ("1", "attention", "the slow one"),
        ("1", "reasons", "fifty-five waits"),
        ("1", "running", "two failed"),
        ("4", "runs", "two failed"),
    ],
)
def test_what_is_explained(view: str, pane: str, words: str) -> None:
    clock = Hand()

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: app.store.frame_ms is not None)
        await press(pilot, view)
        table = app.screen.query_one(f"#{pane}", Table)

        def there() -> bool:
            clock.ms += 300  # What is wrong is looked for once a second.
            app.flush_view()
            return bool(table.rows.order)

        await until(pilot, there, "the row")
        table.focus()
        await press(pilot, "x")
        await until(pilot, lambda: isinstance(app.screen, Explained), "the explanation")

        def said() -> bool:
            app.flush_view()
            return app.store.value("explanation", Explanation) is not None

        await until(pilot, said, "its answer")
        assert any(words in each for each in await drawn(app, pilot))
        await press(pilot, "escape", "l")
        await until(pilot, lambda: isinstance(app.screen, RunDetail) or view == "1", "the log")
        assert not any("no job" in each.text for each in app.notices.all)

    drive(_source(), body, now_ms=clock)


def test_events_have_no_job_under_a_cursor() -> None:
    async def body(app: Console, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: app.store.frame_ms is not None)
        app.screen.query_one("#events").focus()
        await drawn(app, pilot)
        offered = {each.binding.action for each in app.screen.active_bindings.values()}
        assert not {"explain", "log"} & {
            active.binding.action
            for active in app.screen.active_bindings.values()
            if active.enabled
        }, offered

    drive(_source(), body)


def test_the_job_of_a_concern() -> None:
    workers = {"w": a_worker("w", running=[a_running(1, started=-9), a_running(2, started=-99)])}
    lanes = {9: a_partition(9, head=a_running(3)), 8: a_partition(8, head=None)}
    groups = [a_group(job_id=4, speed=Speed.SLOW), a_group(job_id=5, speed=Speed.FAST)]
    found = {
        ("job", 17): 17,
        ("worker", "w"): 2,
        ("worker", "gone"): None,
        ("partition", 9): 3,
        ("partition", 8): None,
        ("class", "fast"): 5,
        ("schedule", 7): None,
    }
    for about, job_id in found.items():
        assert job_of(about, workers, lanes, groups) == job_id  # type: ignore[arg-type]


def test_the_worst_job() -> None:
    failed = a_job(3, "c", "s", state=State.ERROR, ready=-9)
    runs = a_job(2, "b", "s", state=State.IN_PROGRESS, ready=-9, started=-3)
    longer = a_job(4, "d", "s", state=State.IN_PROGRESS, ready=-9, started=-5)
    later, waits = a_job(5, "e", "s", state=State.READY), a_job(6, "f", "s", ready=-1)
    found = [worst(each) for each in ([runs, failed], [runs, longer, waits], [later, waits], [])]
    assert found == [failed, longer, waits, None]
