"""Decides that one walks from a job to the run that it is, and back."""

from functools import partial
from typing import Any

from textual.pilot import Pilot

from control.model.api.views import Page
from control.model.states import State
from tests.tui.made_up import made_up, opened
from tests.tui.samples import a_job, a_run
from tests.tui.sources import drive, press, until
from tests.tui.test_filters_live import _shows as shows
from tui.app import Console
from tui.screens.run import RunDetail


def test_one_walks_between_a_job_and_its_run() -> None:
    source = made_up()
    call = a_job(5, "call", "build", kind="Pipeline", worker=None, child_run_id=90413, ready=-9)
    source.answers |= {
        "/v1/runs/90412": a_run(id=90412, pipeline="parent", state=State.IN_PROGRESS),
        "/v1/runs/90412/jobs": Page(items=[call]),
        "/v1/jobs/5": call,
        "/v1/runs/90413": a_run(id=90413, pipeline="child", parent_run_id=90412, parent_job_id=5),
        "/v1/runs/90413/jobs": Page(items=[a_job(9, "deep", "build", run_id=90413, ready=-5)]),
    }

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        await opened(app, pilot, "1")
        app.navigation.open_run(90412, 5)
        await until(pilot, partial(shows, app, "is run 90413"), "the job says so")
        await press(pilot, "enter")
        await until(pilot, partial(shows, app, "of run 90412"), "the child says so")
        assert isinstance(app.screen, RunDetail)
        assert app.screen.run_id == 90413
        await press(pilot, "u")
        await until(pilot, partial(shows, app, "is run 90413"), "back at the job")
        assert isinstance(app.screen, RunDetail)
        assert (app.screen.run_id, app.screen.job_id()) == (90412, 5)

    drive(source, body)
